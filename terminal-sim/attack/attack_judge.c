/* SPDX-License-Identifier: BSD-2-Clause */
/* What the end of a session means. */
#include <stdio.h>
#include <string.h>

#include "terminal-sim/attack/attack_impl.h"
#include "terminal-sim/attack/field.h"

static void describe(const struct kl_run *run, char out[KL_END_TEXT_MAX])
{
    const struct kl_end *end = &run->end;

    switch (end->kind) {
    case KL_END_DONE:
        snprintf(out, KL_END_TEXT_MAX, "it went through: Done, %s",
                 end->verdict == KL_VERDICT_ACTIVE ? "active" : "drop");
        break;
    case KL_END_ERROR:
        snprintf(out, KL_END_TEXT_MAX, "the loader answered Error %s", kl_wire_name(end->code));
        break;
    case KL_END_CLOSED:
        snprintf(out, KL_END_TEXT_MAX, "the loader closed the connection");
        break;
    case KL_END_TERMINAL:
        snprintf(out, KL_END_TEXT_MAX, "the terminal refused: %s", end->err.text);
        break;
    case KL_END_STOPPED:
        snprintf(out, KL_END_TEXT_MAX, "it was ended as planned");
        break;
    case KL_END_SILENCE:
        snprintf(out, KL_END_TEXT_MAX, "nothing came back");
        break;
    case KL_END_UNSEEN:
        snprintf(out, KL_END_TEXT_MAX,
                 "the terminal closed after Done: only it can say what it made of it");
        break;
    default:
        snprintf(out, KL_END_TEXT_MAX, "it could not be run: %s", end->err.text);
        break;
    }
}

static int error_is(const struct kl_sc_session *s, const struct kl_end *end)
{
    const unsigned trouble = 1u << KL_WIRE_BUSY | 1u << KL_WIRE_INTERNAL;

    return end->kind == KL_END_ERROR && end->code < 31 &&
           (s->codes ? s->codes : ~trouble) & 1u << end->code;
}

/* What a terminal that is not ours found wrong, it alone knows. */
static int terminal_says(const struct kl_run *run)
{
    return run->end.kind == KL_END_TERMINAL &&
           (run->remote_terminal || strstr(run->end.err.text, run->session->text) != NULL);
}

static int as_expected(const struct kl_run *run)
{
    const struct kl_sc_session *s = run->session;
    const struct kl_end *end = &run->end;

    switch (s->expect) {
    case KL_SC_EXPECT_DONE:
        return end->kind == KL_END_DONE && end->verdict == KL_VERDICT_ACTIVE;
    case KL_SC_EXPECT_DROP:
        return end->kind == KL_END_DONE && end->verdict == KL_VERDICT_DROP;
    case KL_SC_EXPECT_ERROR:
        return error_is(s, end);
    case KL_SC_EXPECT_CLOSED:
        return end->kind == KL_END_CLOSED || error_is(s, end);
    case KL_SC_EXPECT_TERMINAL:
        return terminal_says(run);
    case KL_SC_EXPECT_REFUSED:
        return end->kind == KL_END_CLOSED || end->kind == KL_END_TERMINAL || error_is(s, end);
    case KL_SC_EXPECT_STOPPED:
        return end->kind == KL_END_STOPPED;
    case KL_SC_EXPECT_SILENCE:
        return end->kind == KL_END_SILENCE;
    }
    return 0;
}

static int wants_done(const struct kl_sc_session *s)
{
    return s->expect == KL_SC_EXPECT_DONE || s->expect == KL_SC_EXPECT_DROP;
}

/* A terminal that refuses before Loaded has no TMK more, one that has said Loaded keeps it. */
static int pad_is_wrong(const struct kl_run *run)
{
    size_t more = run->session->kind == KL_SC_LOAD && run->has_candidate;

    return run->end.kind == KL_END_TERMINAL && !run->remote_terminal &&
           run->held_after != run->held_before + more;
}

/* *differs: 1 unless the field is what it was. */
static enum kl_rc compare(const struct kl_run *run, int *differs, struct kl_err *err)
{
    const struct kl_sc_session *s = run->session;
    const struct kl_tampered_message *now = &run->kept->of[s->differs_message],
                                     *then = &run->all[s->differs_of]->kept->of[s->differs_message];
    struct kl_span a, b;
    enum kl_rc rc = kl_field_find(now->der, now->len, s->differs_field, &a, err);

    if (!rc) {
        rc = kl_field_find(then->der, then->len, s->differs_field, &b, err);
    }
    *differs = !rc && (a.len != b.len ||
                       memcmp(now->der + a.at + a.header, then->der + b.at + b.header, a.len) != 0);
    return rc;
}

void kl_attack_judge(const struct kl_run *run, struct kl_attack_result *out)
{
    const struct kl_sc_session *s = run->session;
    char saw[KL_END_TEXT_MAX];
    struct kl_err err = KL_ERR_INIT;
    int differs = 1;

    describe(run, saw);
    if (run->end.breached) {
        kl_attack_say(out, KL_ATTACK_BROKEN, "session %s got as far as %s; %s", s->name,
                      kl_msg_name((unsigned)s->breaks), saw);
    } else if (pad_is_wrong(run)) {
        kl_attack_say(out, KL_ATTACK_BROKEN,
                      "session %s: %s, and yet its PIN pad has %zu TMKs where it had %zu", s->name,
                      saw, run->held_after, run->held_before);
    } else if (!as_expected(run)) {
        int broken = (run->end.kind == KL_END_DONE && !wants_done(s)) ||
                     (s->otherwise_broken && run->end.kind != KL_END_TROUBLE &&
                      run->end.kind != KL_END_STOPPED);

        kl_attack_say(out, broken ? KL_ATTACK_BROKEN : KL_ATTACK_INCONCLUSIVE, "session %s: %s%s",
                      s->name, saw, broken ? "" : "; that is not the end that it should have had");
    } else if (s->differs && compare(run, &differs, &err)) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "session %s: %s", s->name, err.text);
    } else if (!differs) {
        kl_attack_say(out, KL_ATTACK_BROKEN, "session %s: %s of %s is what it was in session %s",
                      s->name, s->differs_field, kl_msg_name(s->differs_message),
                      run->all[s->differs_of]->session->name);
    } else {
        kl_attack_say(out, KL_ATTACK_HELD, "%s", saw);
    }
}
