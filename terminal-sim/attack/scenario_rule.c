/* SPDX-License-Identifier: BSD-2-Clause */
/* What is done to a message: "ACTION ARGUMENTS", words with blanks between them. */
#include <stdio.h>
#include <string.h>

#include "conf/cli.h"
#include "terminal-sim/attack/field.h"
#include "terminal-sim/attack/scenario.h"

#define WORDS_MAX 5
#define TEXT_MAX 1000

struct words {
    size_t count;
    char *at[WORDS_MAX];
    char copy[TEXT_MAX + 1];
};

static enum kl_rc split(const char *text, struct words *out, struct kl_err *err)
{
    char *save = NULL, *word;

    out->count = 0;
    snprintf(out->copy, sizeof(out->copy), "%s", text);
    for (word = strtok_r(out->copy, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
        if (out->count == WORDS_MAX) {
            return kl_err_set(err, KL_ERR_CONFIG, "more than %d words", WORDS_MAX);
        }
        out->at[out->count++] = word;
    }
    return out->count ? KL_OK : kl_err_set(err, KL_ERR_CONFIG, "say what is to be done with it");
}

static enum kl_rc parse_number(const char *text, uint64_t max, size_t *out, struct kl_err *err)
{
    uint64_t number = 0;
    enum kl_rc rc = kl_parse_number(text, 0, max, &number, err);

    *out = (size_t)number;
    return rc ? (err->rc = KL_ERR_CONFIG) : KL_OK;
}

/* "250ms", "2s". */
static enum kl_rc parse_wait(const char *text, size_t *ms, struct kl_err *err)
{
    size_t len = strlen(text), scale = 0;
    char digits[16];

    if (len > 2 && strcmp(text + len - 2, "ms") == 0) {
        scale = 1;
        len -= 2;
    } else if (len > 1 && text[len - 1] == 's') {
        scale = 1000;
        len -= 1;
    }
    if (!scale || len >= sizeof(digits)) {
        return kl_err_set(err, KL_ERR_CONFIG, "'%.40s' is no time: write it as 250ms or 2s", text);
    }
    snprintf(digits, sizeof(digits), "%.*s", (int)len, text);
    if (parse_number(digits, KL_SC_WAIT_MAX_MS / scale, ms, err)) {
        return err->rc;
    }
    *ms *= scale;
    return KL_OK;
}

static enum kl_rc parse_hex(const char *text, struct kl_sc_value *out, struct kl_err *err)
{
    size_t len = strlen(text);

    if (len == 0 || len % 2 || len / 2 > KL_SC_VALUE_MAX ||
        !kl_hex_parse(text, out->data, len / 2)) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "'%.40s' is not 1 to %d bytes in lower-case hexadecimal", text,
                          KL_SC_VALUE_MAX);
    }
    out->len = len / 2;
    return KL_OK;
}

/* The shortest two's complement of a number that is not negative: an INTEGER's value. */
static void put_integer(size_t number, struct kl_sc_value *out)
{
    size_t shift = sizeof(number) * 8;

    out->len = 0;
    while (shift > 8 && (number >> (shift - 9) & 0x1ff) == 0) {
        shift -= 8;
    }
    for (; shift > 0; shift -= 8) {
        out->data[out->len++] = (uint8_t)(number >> (shift - 8));
    }
}

/* hex:00ff, text:T-1, number:7, zeros:32, random:32 */
static enum kl_rc parse_value(const char *text, struct kl_sc_value *out, struct kl_err *err)
{
    const char *colon = strchr(text, ':'), *rest = colon ? colon + 1 : "";
    size_t kind = colon ? (size_t)(colon - text) : 0, number;
    enum kl_rc rc = KL_OK;

    memset(out, 0, sizeof(*out));
    if (kind == 3 && strncmp(text, "hex", 3) == 0) {
        return parse_hex(rest, out, err);
    }
    if (kind == 4 && strncmp(text, "text", 4) == 0) {
        out->len = strlen(rest);
        if (out->len > KL_SC_VALUE_MAX) {
            return kl_err_set(err, KL_ERR_CONFIG, "a text has %d bytes at most", KL_SC_VALUE_MAX);
        }
        memcpy(out->data, rest, out->len);
        return KL_OK;
    }
    if (kind == 6 && strncmp(text, "number", 6) == 0) {
        rc = parse_number(rest, INT64_MAX, &number, err);
        put_integer(rc ? 0 : number, out);
        return rc;
    }
    if ((kind == 5 && strncmp(text, "zeros", 5) == 0) ||
        (kind == 6 && strncmp(text, "random", 6) == 0)) {
        out->fill = text[0] == 'z' ? KL_SC_SPELLED : KL_SC_RANDOM;
        return parse_number(rest, KL_SC_VALUE_MAX, &out->len, err);
    }
    return kl_err_set(err, KL_ERR_CONFIG,
                      "'%.40s' is no value: write hex:.., text:.., number:N, zeros:N or random:N",
                      text);
}

static enum kl_rc parse_field(const struct kl_sc_rule *rule, const char *name, char *out,
                              struct kl_err *err)
{
    if (strlen(name) >= KL_SC_FIELD_MAX || !kl_field_known(rule->at, name)) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "%s has no field '%.40s': see docs/protocol.md for their names",
                          kl_msg_name(rule->at), name);
    }
    strcpy(out, name);
    return KL_OK;
}

static enum kl_rc parse_part(const char *text, struct kl_sc_rule *rule, struct kl_err *err)
{
    static const char *const parts[] = {"tag", "length", "first", "middle", "last"};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strcmp(text, parts[i]) == 0) {
            rule->part = (enum kl_sc_part)i;
            return KL_OK;
        }
    }
    rule->part = KL_SC_PART_NUMBER;
    if (parse_number(text, KL_MSG_MAX, &rule->number, err)) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "'%.40s' is no part of a field: tag, length, first, middle, last or the "
                          "number of a byte",
                          text);
    }
    return KL_OK;
}

/* SESSION.Message, file:PATH#N, error:CODE */
static enum kl_rc parse_ref(const struct kl_scenario *scenario, const char *text,
                            struct kl_sc_ref *out, struct kl_err *err)
{
    const char *mark;
    char session[KL_SC_NAME_MAX];
    size_t number;
    int message;

    if (strncmp(text, "error:", 6) == 0) {
        out->from = KL_SC_FROM_ERROR;
        for (out->number = KL_WIRE_INTERNAL; out->number <= KL_WIRE_TIMEOUT; out->number++) {
            if (strcmp(text + 6, kl_wire_name(out->number)) == 0) {
                return KL_OK;
            }
        }
        return kl_err_set(err, KL_ERR_CONFIG,
                          "'%.40s' is no code of Error: internal, protocol, unsupported, refused, "
                          "busy or timeout",
                          text + 6);
    }
    if (strncmp(text, "file:", 5) == 0) {
        mark = strrchr(text, '#');
        out->from = KL_SC_FROM_FILE;
        if (!mark || mark == text + 5 || (size_t)(mark - text) - 5 >= sizeof(out->path) ||
            parse_number(mark + 1, 100, &number, err) || number == 0) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "'%.60s' is not file:PATH#N, N the message's number from 1", text);
        }
        out->number = (unsigned)number;
        snprintf(out->path, sizeof(out->path), "%.*s", (int)(mark - text - 5), text + 5);
        return KL_OK;
    }
    mark = strchr(text, '.');
    if (!mark || (size_t)(mark - text) >= sizeof(session)) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "'%.60s' names no message: SESSION.Message, file:PATH#N or error:CODE",
                          text);
    }
    snprintf(session, sizeof(session), "%.*s", (int)(mark - text), text);
    message = kl_scenario_message(mark + 1);
    if (message < 0) {
        return kl_err_set(err, KL_ERR_CONFIG, "there is no message '%.40s'", mark + 1);
    }
    out->from = KL_SC_FROM_SESSION;
    out->message = (enum kl_msg_type)message;
    return kl_scenario_session(scenario, session, &out->session, err);
}

/* ---- Actions ---- */

struct parsing {
    const struct kl_scenario *scenario;
    struct kl_sc_rule *rule;
    char **word; /* after the action's name */
    size_t count;
};

static enum kl_rc parse_flip(struct parsing *p, struct kl_err *err)
{
    struct kl_sc_value mask;
    enum kl_rc rc = parse_field(p->rule, p->word[0], p->rule->field, err);

    if (!rc) {
        rc = parse_part(p->word[1], p->rule, err);
    }
    p->rule->mask = 1;
    if (!rc && p->count == 3) {
        rc = parse_hex(p->word[2], &mask, err);
        if (!rc && (mask.len != 1 || mask.data[0] == 0)) {
            rc = kl_err_set(err, KL_ERR_CONFIG, "a mask is one byte, and not 00");
        }
        p->rule->mask = mask.data[0];
    }
    return rc;
}

static enum kl_rc parse_set(struct parsing *p, struct kl_err *err)
{
    enum kl_rc rc = parse_field(p->rule, p->word[0], p->rule->field, err);

    return rc ? rc : parse_value(p->word[1], &p->rule->value, err);
}

static enum kl_rc parse_remove(struct parsing *p, struct kl_err *err)
{
    return parse_field(p->rule, p->word[0], p->rule->field, err);
}

static enum kl_rc parse_copy(struct parsing *p, struct kl_err *err)
{
    enum kl_rc rc = parse_field(p->rule, p->word[0], p->rule->field, err);

    if (!rc) {
        rc = parse_ref(p->scenario, p->word[1], &p->rule->ref, err);
    }
    if (!rc && p->rule->ref.from != KL_SC_FROM_SESSION) {
        rc = kl_err_set(err, KL_ERR_CONFIG, "copy takes SESSION.Message");
    }
    return rc;
}

static enum kl_rc parse_reference(struct parsing *p, struct kl_err *err)
{
    return parse_ref(p->scenario, p->word[0], &p->rule->ref, err);
}

static enum kl_rc parse_size(struct parsing *p, struct kl_err *err)
{
    return parse_number(p->word[0], UINT16_MAX, &p->rule->number, err);
}

static enum kl_rc parse_time(struct parsing *p, struct kl_err *err)
{
    return parse_wait(p->word[0], &p->rule->number, err);
}

static enum kl_rc parse_rnd1(struct parsing *p, struct kl_err *err)
{
    enum kl_rc rc = p->rule->at == KL_MSG_RANDOMS
                        ? KL_OK
                        : kl_err_set(err, KL_ERR_CONFIG, "Rnd1 is in Randoms alone");

    return rc ? rc : parse_value(p->word[0], &p->rule->value, err);
}

/* "sweep", "sweep except FIELD" */
static enum kl_rc parse_sweep(struct parsing *p, struct kl_err *err)
{
    if (p->count == 0) {
        return KL_OK;
    }
    return p->count == 2 && strcmp(p->word[0], "except") == 0
               ? parse_field(p->rule, p->word[1], p->rule->field, err)
               : kl_err_set(err, KL_ERR_CONFIG, "write it as 'sweep' or 'sweep except FIELD'");
}

static enum kl_rc parse_nothing(struct parsing *p, struct kl_err *err)
{
    (void)p;
    (void)err;
    return KL_OK;
}

static const struct {
    const char *name;
    enum kl_sc_act act;
    size_t min, max; /* words after it */
    enum kl_rc (*parse)(struct parsing *p, struct kl_err *err);
    const char *usage;
} actions[] = {
    {"flip", KL_SC_FLIP, 2, 3, parse_flip, "flip FIELD PART [MASK]"},
    {"set", KL_SC_SET, 2, 2, parse_set, "set FIELD VALUE"},
    {"remove", KL_SC_REMOVE, 1, 1, parse_remove, "remove FIELD"},
    {"copy", KL_SC_COPY, 2, 2, parse_copy, "copy FIELD SESSION.Message"},
    {"replace", KL_SC_REPLACE, 1, 1, parse_reference, "replace MESSAGE"},
    {"then", KL_SC_THEN, 1, 1, parse_reference, "then MESSAGE"},
    {"repeat", KL_SC_REPEAT, 0, 0, parse_nothing, "repeat"},
    {"reflect", KL_SC_REFLECT, 0, 0, parse_nothing, "reflect"},
    {"drop", KL_SC_DROP, 0, 0, parse_nothing, "drop"},
    {"close", KL_SC_CLOSE, 0, 0, parse_nothing, "close"},
    {"truncate", KL_SC_TRUNCATE, 1, 1, parse_size, "truncate BYTES"},
    {"pad", KL_SC_PAD, 1, 1, parse_size, "pad BYTES"},
    {"claim", KL_SC_CLAIM, 1, 1, parse_size, "claim BYTES"},
    {"cut", KL_SC_CUT, 1, 1, parse_size, "cut BYTES"},
    {"drip", KL_SC_DRIP, 1, 1, parse_time, "drip TIME"},
    {"delay", KL_SC_DELAY, 1, 1, parse_time, "delay TIME"},
    {"rnd1", KL_SC_RND1, 1, 1, parse_rnd1, "rnd1 VALUE"},
    {"sweep", KL_SC_SWEEP, 0, 2, parse_sweep, "sweep [except FIELD]"},
};
#define ACTION_COUNT (sizeof(actions) / sizeof(actions[0]))

static enum kl_rc check_signing(const struct kl_scenario *scenario, const struct kl_sc_rule *rule,
                                struct kl_err *err)
{
    const struct kl_sc_session *session = &scenario->sessions[scenario->session_count - 1];

    if (rule->act > KL_SC_COPY || rule->at != KL_MSG_MASTER_KEY ||
        strncmp(rule->field, "tbs.", 4) != 0 || session->loader != KL_SC_ROGUE) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "'signed' goes before flip, set, remove or copy of a field tbs.* of "
                          "MasterKey, in a session with 'loader = rogue' above it");
    }
    return KL_OK;
}

enum kl_rc kl_scenario_rule(const struct kl_scenario *scenario, enum kl_msg_type at,
                            const char *text, struct kl_sc_rule *out, struct kl_err *err)
{
    struct words words;
    struct kl_sc_rule rule = {.at = at};
    struct parsing p = {.scenario = scenario, .rule = &rule};
    size_t first = 0, i = 0;
    enum kl_rc rc = split(text, &words, err);

    if (rc) {
        return rc;
    }
    rule.before_signing = strcmp(words.at[0], "signed") == 0;
    first = rule.before_signing && words.count > 1 ? 1 : 0;
    while (i < ACTION_COUNT && strcmp(words.at[first], actions[i].name) != 0) {
        i++;
    }
    if (i == ACTION_COUNT) {
        return kl_err_set(
            err, KL_ERR_CONFIG,
            "'%.40s' is no action: flip, set, remove, copy, replace, then, repeat, "
            "reflect, drop, close, truncate, pad, claim, cut, drip, delay, rnd1, sweep",
            words.at[first]);
    }
    p.word = words.at + first + 1;
    p.count = words.count - first - 1;
    if (p.count < actions[i].min || p.count > actions[i].max) {
        return kl_err_set(err, KL_ERR_CONFIG, "write it as '%s'", actions[i].usage);
    }
    rule.act = actions[i].act;
    rc = actions[i].parse(&p, err);
    if (!rc && rule.before_signing) {
        rc = check_signing(scenario, &rule, err);
    }
    if (!rc) {
        *out = rule;
    }
    return rc;
}
