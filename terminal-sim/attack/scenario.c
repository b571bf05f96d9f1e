/* SPDX-License-Identifier: BSD-2-Clause */
/* Scenario files: sections [scenario] and [session NAME]; see scenario.h. */
#include "terminal-sim/attack/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"
#include "conf/ini.h"
#include "terminal-sim/attack/field.h"

static const char *const cert_names[] = {
#define CERT_NAME(id, name) name,
    KL_SC_CERTS(CERT_NAME)
#undef CERT_NAME
        NULL};

struct parsing {
    struct kl_scenario *scenario;
    unsigned tries_line, cheats_line; /* 0 = not yet */
    unsigned expect_line[KL_SC_SESSIONS_MAX];
};

static struct kl_sc_session *last(const struct parsing *p)
{
    return &p->scenario->sessions[p->scenario->session_count - 1];
}

int kl_scenario_message(const char *name)
{
    for (unsigned i = 0; i < KL_MSG_TYPE_COUNT; i++) {
        if (strcmp(kl_msg_name(i), name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

enum kl_rc kl_scenario_session(const struct kl_scenario *scenario, const char *name, size_t *out,
                               struct kl_err *err)
{
    for (size_t i = 0; i < scenario->session_count; i++) {
        if (strcmp(scenario->sessions[i].name, name) == 0) {
            *out = i;
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_CONFIG, "there is no session '%.40s' above", name);
}

static enum kl_rc earlier_session(const struct parsing *p, const char *name, size_t *out,
                                  struct kl_err *err)
{
    enum kl_rc rc = kl_scenario_session(p->scenario, name, out, err);

    if (!rc && *out + 1 == p->scenario->session_count) {
        rc = kl_err_set(err, KL_ERR_CONFIG, "'%.40s' is this very session: name one above", name);
    }
    return rc;
}

static enum kl_rc copy_text(const char *value, char *out, size_t size, struct kl_err *err)
{
    if (value[0] == '\0' || strlen(value) >= size) {
        return kl_err_set(err, KL_ERR_CONFIG, "it has 1 to %zu characters", size - 1);
    }
    strcpy(out, value);
    return KL_OK;
}

static enum kl_rc choose(const char *value, const char *const *names, size_t *out,
                         struct kl_err *err)
{
    char list[256] = "";

    for (size_t i = 0; names[i]; i++) {
        size_t used = strlen(list);

        if (strcmp(names[i], value) == 0) {
            *out = i;
            return KL_OK;
        }
        snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", names[i]);
    }
    return kl_err_set(err, KL_ERR_CONFIG, "'%.40s' must be one of %s", value, list);
}

/* ---- [scenario] ---- */

static enum kl_rc take_needs(struct kl_scenario *scenario, const char *value, struct kl_err *err)
{
    static const char *const needs[] = {"certificate", "arm", NULL};
    char copy[64], *name, *save = NULL;
    size_t which;

    if (snprintf(copy, sizeof(copy), "%s", value) >= (int)sizeof(copy) || !value[0]) {
        return kl_err_set(err, KL_ERR_CONFIG, "write certificate, or arm, or both");
    }
    for (name = strtok_r(copy, ", ", &save); name; name = strtok_r(NULL, ", ", &save)) {
        if (choose(name, needs, &which, err)) {
            return err->rc;
        }
        *(which ? &scenario->needs_arm : &scenario->needs_certificate) = 1;
    }
    return KL_OK;
}

static enum kl_rc take_head(struct parsing *p, const char *key, const char *value, unsigned line,
                            struct kl_err *err)
{
    static const char *const victims[] = {"loader", "terminal", NULL};
    size_t which;
    enum kl_rc rc;

    if (p->scenario->session_count) {
        return kl_err_set(err, KL_ERR_CONFIG, "[scenario] comes first, before the sessions");
    }
    if (strcmp(key, "tries") == 0 && !p->tries_line) {
        p->tries_line = line;
        return copy_text(value, p->scenario->tries, sizeof(p->scenario->tries), err);
    }
    if (strcmp(key, "cheats") == 0 && !p->cheats_line) {
        p->cheats_line = line;
        rc = choose(value, victims, &which, err);
        p->scenario->cheats_terminal = !rc && which == 1;
        return rc;
    }
    if (strcmp(key, "needs") == 0) {
        return take_needs(p->scenario, value, err);
    }
    return kl_err_set(err, KL_ERR_CONFIG,
                      strcmp(key, "tries") == 0 || strcmp(key, "cheats") == 0
                          ? "it is said already"
                          : "unknown key: [scenario] has tries, cheats and needs");
}

/* ---- [session NAME] ---- */

static enum kl_rc begin_session(struct parsing *p, const char *name, unsigned line,
                                struct kl_err *err)
{
    struct kl_scenario *scenario = p->scenario;
    struct kl_sc_session *session;
    size_t len = strlen(name), ignored;

    if (len == 0 || len >= 32 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "a session's name has 1 to 31 of a-z, 0-9 and -: [session first]");
    }
    if (kl_scenario_session(scenario, name, &ignored, err) == KL_OK) {
        return kl_err_set(err, KL_ERR_CONFIG, "there is a session '%s' already", name);
    }
    if (scenario->session_count == KL_SC_SESSIONS_MAX) {
        return kl_err_set(err, KL_ERR_CONFIG, "a scenario has %d sessions at most",
                          KL_SC_SESSIONS_MAX);
    }
    session = &scenario->sessions[scenario->session_count];
    strcpy(session->name, name);
    session->line = line;
    session->pad = scenario->session_count++;
    session->breaks = -1;
    return KL_OK;
}

static enum kl_rc take_codes(struct kl_sc_session *session, char *save, struct kl_err *err)
{
    const char *name;

    while ((name = strtok_r(NULL, " \t", &save))) {
        unsigned code = KL_WIRE_INTERNAL;

        while (code <= KL_WIRE_TIMEOUT && strcmp(kl_wire_name(code), name) != 0) {
            code++;
        }
        if (code > KL_WIRE_TIMEOUT) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "'%.40s' is no code of Error: internal, protocol, unsupported, "
                              "refused, busy or timeout",
                              name);
        }
        session->codes |= 1u << code;
    }
    return KL_OK;
}

static enum kl_rc take_expect(struct kl_sc_session *session, const char *value, struct kl_err *err)
{
    static const char *const words[] = {"done",    "drop",    "error",   "closed", "terminal",
                                        "refused", "stopped", "silence", NULL};
    char copy[KL_SC_TEXT_MAX], *save = NULL;
    const char *word, *rest = value + strcspn(value, " \t");
    size_t which = 0;
    enum kl_rc rc = copy_text(value, copy, sizeof(copy), err);

    word = rc ? NULL : strtok_r(copy, " \t", &save);
    if (!rc) {
        rc = word ? choose(word, words, &which, err)
                  : kl_err_set(err, KL_ERR_CONFIG, "say how the session must end");
    }
    if (rc) {
        return rc;
    }
    session->expect = (enum kl_sc_expect)which;
    rest += strspn(rest, " \t");
    if (session->expect == KL_SC_EXPECT_TERMINAL) {
        snprintf(session->text, sizeof(session->text), "%s", rest);
        return rest[0] ? KL_OK
                       : kl_err_set(err, KL_ERR_CONFIG,
                                    "write behind 'terminal' some of what the terminal must say");
    }
    if (session->expect == KL_SC_EXPECT_ERROR || session->expect == KL_SC_EXPECT_CLOSED) {
        return take_codes(session, save, err);
    }
    return rest[0] ? kl_err_set(err, KL_ERR_CONFIG, "nothing goes behind '%s'", word) : KL_OK;
}

static enum kl_rc take_suites(struct kl_sc_session *session, const char *value, struct kl_err *err)
{
    char copy[64], *name, *save = NULL;
    unsigned suite;

    snprintf(copy, sizeof(copy), "%s", value);
    for (name = strtok_r(copy, ", ", &save); name; name = strtok_r(NULL, ", ", &save)) {
        suite = kl_suite_by_name(name);
        if (!suite || memchr(session->suites, (int)suite, session->suite_count)) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "write some of hardened-rsa, hardened-ec, classic, each once");
        }
        session->suites[session->suite_count++] = (uint8_t)suite;
    }
    return session->suite_count ? KL_OK : kl_err_set(err, KL_ERR_CONFIG, "name a suite");
}

static enum kl_rc take_breaks(struct kl_sc_session *session, const char *value, struct kl_err *err)
{
    session->breaks = kl_scenario_message(value);
    return session->breaks >= 0
               ? KL_OK
               : kl_err_set(err, KL_ERR_CONFIG, "there is no message '%.40s'", value);
}

/* "SESSION.Message FIELD" */
static enum kl_rc take_differs(const struct parsing *p, const char *value, struct kl_err *err)
{
    struct kl_sc_session *session = last(p);
    char name[KL_SC_NAME_MAX], message[KL_SC_NAME_MAX], field[KL_SC_FIELD_MAX], more[2];
    int type, n = sscanf(value, "%39[^. ].%39[A-Za-z] %39s %1s", name, message, field, more);
    enum kl_rc rc;

    if (n != 3) {
        return kl_err_set(err, KL_ERR_CONFIG, "write it as SESSION.Message FIELD");
    }
    type = kl_scenario_message(message);
    if (type < 0 || !kl_field_known((enum kl_msg_type)type, field)) {
        return kl_err_set(err, KL_ERR_CONFIG, "there is no field %s of a message %s", field,
                          message);
    }
    rc = earlier_session(p, name, &session->differs_of, err);
    session->differs = 1;
    session->differs_message = (enum kl_msg_type)type;
    strcpy(session->differs_field, field);
    return rc;
}

static enum kl_rc take_of(const struct parsing *p, enum kl_sc_kind kind, const char *value,
                          struct kl_err *err)
{
    struct kl_sc_session *session = last(p);
    enum kl_rc rc = session->kind == KL_SC_LOAD ? earlier_session(p, value, &session->of, err)
                                                : kl_err_set(err, KL_ERR_CONFIG,
                                                             "a session is a load, a confirm or a "
                                                             "sign-in, once");

    session->kind = kind;
    if (!rc) {
        session->pad = p->scenario->sessions[session->of].pad;
    }
    return rc;
}

static enum kl_rc take_serial(const char *value, char *out, struct kl_err *err)
{
    if (kl_serial_check("it", value, err)) {
        return err->rc = KL_ERR_CONFIG;
    }
    strcpy(out, value);
    return KL_OK;
}

static enum kl_rc take_setting(struct parsing *p, const char *key, const char *value, unsigned line,
                               struct kl_err *err)
{
    static const char *const loaders[] = {"real", "rogue", NULL};
    static const char *const otherwise[] = {"inconclusive", "broken", NULL};
    struct kl_sc_session *session = last(p);
    size_t which = 0;
    uint64_t seconds = 0;
    enum kl_rc rc;

    if (strcmp(key, "loader") == 0) {
        rc = choose(value, loaders, &which, err);
        session->loader = (enum kl_sc_loader)which;
    } else if (strcmp(key, "certificate") == 0) {
        rc = session->loader == KL_SC_ROGUE
                 ? choose(value, cert_names, &which, err)
                 : kl_err_set(err, KL_ERR_CONFIG, "it needs 'loader = rogue' above it");
        session->cert = (enum kl_sc_cert)which;
    } else if (strcmp(key, "expect") == 0) {
        rc = p->expect_line[p->scenario->session_count - 1]
                 ? kl_err_set(err, KL_ERR_CONFIG, "it is said already, on line %u",
                              p->expect_line[p->scenario->session_count - 1])
                 : take_expect(session, value, err);
        p->expect_line[p->scenario->session_count - 1] = line;
    } else if (strcmp(key, "otherwise") == 0) {
        rc = choose(value, otherwise, &which, err);
        session->otherwise_broken = which == 1;
    } else if (strcmp(key, "breaks") == 0) {
        rc = take_breaks(session, value, err);
    } else if (strcmp(key, "differs") == 0) {
        rc = take_differs(p, value, err);
    } else if (strcmp(key, "confirm") == 0) {
        rc = take_of(p, KL_SC_CONFIRM, value, err);
    } else if (strcmp(key, "sign-in") == 0) {
        rc = take_of(p, KL_SC_SIGN_IN, value, err);
    } else if (strcmp(key, "pinpad-of") == 0) {
        rc = earlier_session(p, value, &which, err);
        session->pad = rc ? session->pad : p->scenario->sessions[which].pad;
    } else if (strcmp(key, "serial") == 0) {
        rc = take_serial(value, session->serial, err);
    } else if (strcmp(key, "pinpad-serial") == 0) {
        rc = take_serial(value, session->pinpad_serial, err);
    } else if (strcmp(key, "suites") == 0) {
        rc = take_suites(session, value, err);
    } else if (strcmp(key, "within") == 0) {
        rc = kl_parse_duration(value, 1, KL_SC_SECONDS_MAX, &seconds, err)
                 ? (err->rc = KL_ERR_CONFIG)
                 : KL_OK;
        session->seconds = (unsigned)seconds;
    } else {
        rc = kl_err_set(err, KL_ERR_CONFIG,
                        "unknown key: a session has loader, certificate, confirm, sign-in, "
                        "pinpad-of, serial, pinpad-serial, suites, within, expect, breaks, "
                        "otherwise, differs, and names of messages");
    }
    return rc;
}

static enum kl_rc take_rule(struct parsing *p, enum kl_msg_type at, const char *value,
                            unsigned line, struct kl_err *err)
{
    struct kl_sc_session *session = last(p);
    struct kl_sc_rule *rule = &session->rules[session->rule_count];
    enum kl_rc rc;

    if (session->rule_count == KL_SC_RULES_MAX) {
        return kl_err_set(err, KL_ERR_CONFIG, "a session has %d actions at most", KL_SC_RULES_MAX);
    }
    rc = kl_scenario_rule(p->scenario, at, value, rule, err);
    if (!rc) {
        rule->line = line;
        session->rule_count++;
    }
    return rc;
}

static enum kl_rc take_line(void *user, const char *section, const char *key, const char *value,
                            unsigned line, struct kl_err *err)
{
    struct parsing *p = user;
    const char *name = section + strlen("session ");
    enum kl_rc rc = KL_OK;
    int message;

    if (strcmp(section, "scenario") == 0) {
        rc = take_head(p, key, value, line, err);
        return rc ? kl_err_context(err, "%.40s", key) : KL_OK;
    }
    if (strncmp(section, "session ", 8) != 0) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "unknown section '%.40s': there are [scenario] and [session NAME]",
                          section);
    }
    if (p->scenario->session_count == 0 || strcmp(last(p)->name, name) != 0) {
        rc = begin_session(p, name, line, err);
    }
    if (rc) {
        return rc;
    }
    message = kl_scenario_message(key);
    rc = message >= 0 ? take_rule(p, (enum kl_msg_type)message, value, line, err)
                      : take_setting(p, key, value, line, err);
    return rc ? kl_err_context(err, "[session %s] %.40s", name, key) : KL_OK;
}

/* ---- Whole files ---- */

static enum kl_rc check_sessions(const struct parsing *p, const char *path, struct kl_err *err)
{
    const struct kl_scenario *scenario = p->scenario;
    size_t sweeps = 0;

    for (size_t i = 0; i < scenario->session_count; i++) {
        const struct kl_sc_session *session = &scenario->sessions[i];

        if (!p->expect_line[i]) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "%s:%u: [session %s] must say 'expect': how it is to end", path,
                              session->line, session->name);
        }
        if (session->kind != KL_SC_LOAD &&
            scenario->sessions[session->of].loader != session->loader) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "%s:%u: [session %s] must be with the same loader as the load that "
                              "it is about",
                              path, session->line, session->name);
        }
        for (size_t r = 0; r < session->rule_count; r++) {
            sweeps += session->rules[r].act == KL_SC_SWEEP;
        }
        if (sweeps && i + 1 < scenario->session_count) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "%s:%u: a sweep belongs into the last session: the ones before it "
                              "are run once",
                              path, session->line);
        }
    }
    return sweeps > 1 ? kl_err_set(err, KL_ERR_CONFIG, "%s: one sweep is enough", path) : KL_OK;
}

static enum kl_rc name_of(const char *path, char out[KL_SC_NAME_MAX], struct kl_err *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t len = strlen(name);

    if (len > 4 && strcmp(name + len - 4, ".ini") == 0) {
        len -= 4;
    }
    if (len == 0 || len >= KL_SC_NAME_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") < len) {
        return kl_err_set(
            err, KL_ERR_CONFIG,
            "%s: a scenario's file is called NAME.ini, NAME 1 to %d of a-z, 0-9 and -", path,
            KL_SC_NAME_MAX - 1);
    }
    memcpy(out, name, len);
    out[len] = '\0';
    return KL_OK;
}

enum kl_rc kl_scenario_parse(const char *path, const char *text, size_t len,
                             struct kl_scenario *out, struct kl_err *err)
{
    struct kl_scenario *scenario = calloc(1, sizeof(*scenario));
    struct parsing p = {.scenario = scenario};
    enum kl_rc rc = scenario ? name_of(path, scenario->name, err)
                             : kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", path);

    if (!rc) {
        rc = kl_ini_parse(path, text, len, take_line, &p, err);
    }
    if (!rc && (!p.tries_line || !p.cheats_line)) {
        rc = kl_err_set(err, KL_ERR_CONFIG, "%s: [scenario] must say '%s'", path,
                        p.tries_line ? "cheats" : "tries");
    }
    if (!rc && scenario->session_count == 0) {
        rc = kl_err_set(err, KL_ERR_CONFIG, "%s: there is no [session NAME]", path);
    }
    if (!rc) {
        rc = check_sessions(&p, path, err);
    }
    if (!rc) {
        *out = *scenario;
    }
    free(scenario);
    return rc;
}

enum kl_rc kl_scenario_read(const char *path, struct kl_scenario *out, struct kl_err *err)
{
    char *text = NULL;
    size_t len;
    enum kl_rc rc = kl_file_read(path, KL_SC_FILE_MAX, &text, &len, err);

    if (!rc) {
        rc = kl_scenario_parse(path, text, len, out, err);
    }
    free(text);
    return rc;
}

/* ---- For people ---- */

int kl_scenario_needs_loader(const struct kl_scenario *scenario)
{
    for (size_t i = 0; i < scenario->session_count; i++) {
        if (scenario->sessions[i].loader == KL_SC_REAL) {
            return 1;
        }
    }
    return 0;
}

void kl_scenario_expects(const struct kl_scenario *scenario, char *out)
{
    static const char *const ends[] = {
        [KL_SC_EXPECT_DONE] = "all goes on as without it",
        [KL_SC_EXPECT_DROP] = "the loader says drop",
        [KL_SC_EXPECT_ERROR] = "the loader answers Error",
        [KL_SC_EXPECT_CLOSED] = "the loader closes",
        [KL_SC_EXPECT_TERMINAL] = "the terminal refuses: ",
        [KL_SC_EXPECT_REFUSED] = "one of them refuses",
        [KL_SC_EXPECT_STOPPED] = "what was got is worth nothing",
        [KL_SC_EXPECT_SILENCE] = "nothing comes back",
    };
    const struct kl_sc_session *session = &scenario->sessions[scenario->session_count - 1];
    size_t n = (size_t)snprintf(out, KL_SC_TEXT_MAX, "%s%s", ends[session->expect], session->text);

    for (unsigned code = KL_WIRE_INTERNAL; code <= KL_WIRE_TIMEOUT && n < KL_SC_TEXT_MAX; code++) {
        if (session->codes & 1u << code) {
            n += (size_t)snprintf(out + n, KL_SC_TEXT_MAX - n, " %s", kl_wire_name(code));
        }
    }
}
