/* SPDX-License-Identifier: BSD-2-Clause */
/* See tamper.h. */
#include "terminal-sim/attack/tamper.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "terminal-sim/attack/field.h"
#include "terminal-sim/attack/forge.h"
#include "terminal-sim/transceiver.h"

struct message { /* being changed */
    size_t len;
    uint8_t der[KL_MSG_MAX];
};

static enum kl_rc fill(const struct kl_sc_value *value, uint8_t out[KL_SC_VALUE_MAX],
                       struct kl_err *err)
{
    memcpy(out, value->data, value->len);
    if (value->fill == KL_SC_RANDOM && value->len && RAND_bytes(out, (int)value->len) != 1) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "RAND_bytes", "a random value");
    }
    return KL_OK;
}

/* ---- Fields ---- */

static enum kl_rc flip(const struct kl_sc_rule *rule, struct message *m, struct kl_err *err)
{
    struct kl_span span;
    size_t at = 0;
    enum kl_rc rc = kl_field_find(m->der, m->len, rule->field, &span, err);

    if (rc) {
        return rc;
    }
    switch (rule->part) {
    case KL_SC_PART_TAG:
        at = span.at;
        break;
    case KL_SC_PART_LENGTH:
        at = span.at + span.header - 1;
        break;
    case KL_SC_PART_FIRST:
        at = span.at + span.header;
        break;
    case KL_SC_PART_MIDDLE:
        at = span.at + span.header + span.len / 2;
        break;
    case KL_SC_PART_LAST:
        at = span.at + span.header + (span.len ? span.len - 1 : 0);
        break;
    case KL_SC_PART_NUMBER:
        at = span.at + span.header + rule->number;
        break;
    }
    if (at >= span.at + span.header + span.len && rule->part > KL_SC_PART_LENGTH) {
        return kl_err_set(err, KL_ERR_INPUT, "%s has only %zu bytes", rule->field, span.len);
    }
    m->der[at] ^= rule->mask;
    return KL_OK;
}

static enum kl_rc kept_message(const struct kl_tampering *t, const struct kl_sc_ref *ref,
                               const struct kl_tampered_message **out, struct kl_err *err)
{
    const struct kl_kept *kept = t->kept[ref->session];

    if (!kept || !kept->of[ref->message].len) {
        return kl_err_set(err, KL_ERR_NOT_FOUND, "no %s has passed in that session",
                          kl_msg_name(ref->message));
    }
    *out = &kept->of[ref->message];
    return KL_OK;
}

static enum kl_rc copy(const struct kl_tampering *t, const struct kl_sc_rule *rule,
                       struct message *m, struct kl_err *err)
{
    const struct kl_tampered_message *from = NULL;
    struct kl_span span;
    enum kl_rc rc = kept_message(t, &rule->ref, &from, err);

    if (!rc) {
        rc = kl_field_find(from->der, from->len, rule->field, &span, err);
    }
    return rc ? rc
              : kl_field_set(m->der, &m->len, rule->field, from->der + span.at + span.header,
                             span.len, err);
}

static enum kl_rc edit_field(const struct kl_tampering *t, const struct kl_sc_rule *rule,
                             struct message *m, struct kl_err *err)
{
    uint8_t value[KL_SC_VALUE_MAX];
    enum kl_rc rc;

    switch (rule->act) {
    case KL_SC_FLIP:
        return flip(rule, m, err);
    case KL_SC_SET:
        rc = fill(&rule->value, value, err);
        return rc ? rc : kl_field_set(m->der, &m->len, rule->field, value, rule->value.len, err);
    case KL_SC_REMOVE:
        return kl_field_remove(m->der, &m->len, rule->field, err);
    default:
        return copy(t, rule, m, err);
    }
}

int kl_tamper_tbs(void *arg, uint8_t der[KL_TBS_MAX], size_t *len)
{
    const struct kl_tampering *t = arg;
    struct message m = {.len = *len};
    struct kl_err err = KL_ERR_INIT;

    memcpy(m.der, der, *len);
    for (size_t i = 0; i < t->session->rule_count; i++) {
        const struct kl_sc_rule *rule = &t->session->rules[i];

        if (rule->before_signing && edit_field(t, rule, &m, &err)) {
            return 0;
        }
    }
    if (m.len > KL_TBS_MAX) {
        return 0;
    }
    memcpy(der, m.der, m.len);
    *len = m.len;
    return 1;
}

/* ---- Whole messages ---- */

static enum kl_rc read_recorded(const struct kl_sc_ref *ref, struct message *out,
                                struct kl_err *err)
{
    FILE *file = fopen(ref->path, "rb");
    int direction = '>';
    enum kl_rc rc = KL_OK;

    if (!file) {
        return kl_err_errno(err, "fopen", "%s", ref->path);
    }
    for (unsigned i = 0; !rc && i < ref->number; i++) {
        rc = kl_transceiver_read_record(file, &direction, out->der, &out->len, err);
        if (!rc && !direction) {
            rc = kl_err_set(err, KL_ERR_INPUT, "it has only %u messages", i);
        }
    }
    fclose(file);
    return rc ? kl_err_context(err, "%s", ref->path) : KL_OK;
}

enum kl_rc kl_tamper_check(const struct kl_scenario *scenario, const char *path, struct kl_err *err)
{
    struct message recorded;

    for (size_t i = 0; i < scenario->session_count; i++) {
        const struct kl_sc_session *session = &scenario->sessions[i];
        for (size_t k = 0; k < session->rule_count; k++) {
            const struct kl_sc_rule *rule = &session->rules[k];
            if (rule->ref.from == KL_SC_FROM_FILE && read_recorded(&rule->ref, &recorded, err)) {
                return kl_err_context(err, "%s:%u: %s", path, rule->line, kl_msg_name(rule->at));
            }
        }
    }
    return KL_OK;
}

static enum kl_rc resolve(const struct kl_tampering *t, const struct kl_sc_ref *ref,
                          struct message *out, struct kl_err *err)
{
    const struct kl_tampered_message *kept = NULL;
    struct kl_msg error = {.type = KL_MSG_ERROR};
    enum kl_rc rc;

    switch (ref->from) {
    case KL_SC_FROM_FILE:
        return read_recorded(ref, out, err);
    case KL_SC_FROM_ERROR:
        error.u.error.code = ref->number;
        return kl_msg_encode(&error, out->der, &out->len, err);
    default:
        rc = kept_message(t, ref, &kept, err);
        if (!rc) {
            memcpy(out->der, kept->der, kept->len);
            out->len = kept->len;
        }
        return rc;
    }
}

/* ---- Sweeps: every TLV's tag, length, first, middle and last byte ---- */

#define SPANS_MAX 64
#define PLACES 5 /* in a TLV */

/* 1 if the TLVs in this one are in the list themselves. */
static int is_opened(const struct kl_span *spans, size_t count, const struct kl_span *s)
{
    for (size_t i = 0; i < count; i++) {
        if (spans[i].at == s->at + s->header) {
            return 1;
        }
    }
    return 0;
}

/* Where a TLV is changed; how many places. */
static size_t places_of(const struct kl_span *s, int opened, size_t out[PLACES])
{
    const size_t value = s->at + s->header;
    size_t n = 0;

    out[n++] = s->at;
    out[n++] = s->at + 1;
    if (!opened && s->len > 0) {
        out[n++] = value;
    }
    if (!opened && s->len > 2) {
        out[n++] = value + s->len / 2;
    }
    if (!opened && s->len > 1) {
        out[n++] = value + s->len - 1;
    }
    return n;
}

/* Leaves out the value of the field that the rule excepts, if it has one. */
static void sweep(struct kl_tampering *t, const struct kl_sc_rule *rule, struct message *m)
{
    struct kl_span spans[SPANS_MAX], except = {0};
    struct kl_err ignored = KL_ERR_INIT;
    size_t count = kl_field_walk(m->der, m->len, spans, SPANS_MAX);
    size_t places[PLACES], n, passed = 0, at = SIZE_MAX;
    const int has_except =
        rule->field[0] && kl_field_find(m->der, m->len, rule->field, &except, &ignored) == KL_OK;

    for (size_t i = 0; i < count; i++) {
        const int spared = has_except && spans[i].at == except.at;

        n = places_of(&spans[i], spared || is_opened(spans, count, &spans[i]), places);
        if (t->variant >= passed && t->variant < passed + n) {
            at = places[t->variant - passed];
        }
        passed += n;
    }
    t->variants = passed;
    if (at != SIZE_MAX) {
        snprintf(t->changed, sizeof(t->changed), "byte %zu of %zu: %02x to %02x", at, m->len,
                 m->der[at], m->der[at] ^ 1);
        m->der[at] ^= 1;
    }
}

/* ---- Frames ---- */

static enum kl_rc append_frame(const struct message *m, size_t claim, struct kl_parcel *out,
                               struct kl_err *err)
{
    if (m->len + KL_FRAME_HEADER > sizeof(out->bytes) - out->len) {
        return kl_err_set(err, KL_ERR_INPUT, "too many bytes to send at once");
    }
    out->bytes[out->len++] = (uint8_t)(claim >> 8);
    out->bytes[out->len++] = (uint8_t)claim;
    memcpy(out->bytes + out->len, m->der, m->len);
    out->len += m->len;
    return KL_OK;
}

struct framing { /* what the rules say of the frame, and not of what is in it */
    size_t padding, claim, cut;
    int has_claim, has_cut;
    const struct kl_sc_rule *then[KL_SC_RULES_MAX];
    size_t then_count;
};

static enum kl_rc apply(struct kl_tampering *t, const struct kl_sc_rule *rule, struct message *m,
                        struct framing *framing, struct kl_parcel *out, struct kl_err *err)
{
    uint8_t value[KL_SC_VALUE_MAX];
    enum kl_rc rc;

    switch (rule->act) {
    case KL_SC_FLIP:
    case KL_SC_SET:
    case KL_SC_REMOVE:
    case KL_SC_COPY:
        return edit_field(t, rule, m, err);
    case KL_SC_REPLACE:
        return resolve(t, &rule->ref, m, err);
    case KL_SC_RND1:
        rc = fill(&rule->value, value, err);
        return rc ? rc
                  : kl_forge_randoms(t->kept[t->self], value, rule->value.len, t->signer, m->der,
                                     &m->len, err);
    case KL_SC_SWEEP:
        sweep(t, rule, m);
        return KL_OK;
    case KL_SC_THEN:
    case KL_SC_REPEAT:
        framing->then[framing->then_count++] = rule;
        return KL_OK;
    case KL_SC_TRUNCATE:
        m->len = rule->number < m->len ? rule->number : m->len;
        return KL_OK;
    case KL_SC_PAD:
        framing->padding += rule->number;
        return KL_OK;
    case KL_SC_CLAIM:
        framing->has_claim = 1;
        framing->claim = rule->number;
        return KL_OK;
    case KL_SC_CUT:
        framing->has_cut = 1;
        framing->cut = rule->number;
        return KL_OK;
    case KL_SC_REFLECT:
        out->reflected = 1;
        return KL_OK;
    case KL_SC_DROP:
        out->dropped = 1;
        return KL_OK;
    case KL_SC_CLOSE:
        out->closed = 1;
        return KL_OK;
    case KL_SC_DRIP:
        out->drip_ms = (unsigned)rule->number;
        return KL_OK;
    case KL_SC_DELAY:
        out->delay_ms += (unsigned)rule->number;
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_INTERNAL, "an action that is unknown");
}

static enum kl_rc put_frames(const struct kl_tampering *t, const struct message *m,
                             const struct framing *framing, struct kl_parcel *out,
                             struct kl_err *err)
{
    struct message more;
    size_t total = m->len + framing->padding;
    enum kl_rc rc;

    if (framing->padding > UINT16_MAX || total > UINT16_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "a frame's header cannot say %zu", total);
    }
    rc = append_frame(m, framing->has_claim ? framing->claim : total, out, err);
    if (rc) {
        return rc;
    }
    memset(out->bytes + out->len, 0, framing->padding);
    out->len += framing->padding;
    for (size_t i = 0; !rc && i < framing->then_count; i++) {
        more = *m;
        if (framing->then[i]->act == KL_SC_THEN) {
            rc = resolve(t, &framing->then[i]->ref, &more, err);
        }
        if (!rc) {
            rc = append_frame(&more, more.len, out, err);
        }
    }
    if (!rc && framing->has_cut && framing->cut < out->len) {
        out->len = framing->cut;
    }
    return rc;
}

enum kl_rc kl_tamper(struct kl_tampering *t, enum kl_msg_type type, const uint8_t *der, size_t len,
                     struct kl_parcel *out, struct kl_err *err)
{
    struct message m = {.len = len};
    struct framing framing = {0};
    enum kl_rc rc = KL_OK;

    memcpy(m.der, der, len);
    out->len = 0;
    out->delay_ms = out->drip_ms = 0;
    out->dropped = out->closed = out->reflected = 0;
    for (size_t i = 0; !rc && i < t->session->rule_count; i++) {
        const struct kl_sc_rule *rule = &t->session->rules[i];

        if (rule->at == type && !rule->before_signing) {
            rc = apply(t, rule, &m, &framing, out, err);
            if (rc) {
                kl_err_context(err, "the action on line %u", rule->line);
            }
        }
    }
    return rc ? rc : put_frames(t, &m, &framing, out, err);
}
