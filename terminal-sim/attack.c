/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions, their ends and what they mean; the controls around them. See attack.h. */
#include "terminal-sim/attack.h"

#include <inttypes.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/clock.h"
#include "terminal-sim/attack_impl.h"
#include "terminal-sim/field.h"
#include "terminal-sim/refusal.h"

#define TURNS_MAX 40  /* messages in one session */
#define BUSY_TRIES 40 /* of a session that is told busy, and of a probe */
#define BUSY_WAIT_MS 100
#define VARIANTS_MAX 400 /* of a sweep */

const char *kl_attack_outcome_name(enum kl_attack_outcome outcome)
{
    static const char *const names[] = {"held", "broken", "inconclusive"};

    return names[outcome];
}

void kl_attack_say(struct kl_attack_result *out, enum kl_attack_outcome outcome, const char *fmt,
                   ...)
{
    va_list args;

    out->outcome = outcome;
    va_start(args, fmt);
    vsnprintf(out->detail, sizeof(out->detail), fmt, args);
    va_end(args);
}

void kl_attack_pause(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

/* ---- The parties of a session ---- */

/* The terminal as it offers itself in that session. */
static void fill_params(const struct kl_attack *attack, const struct kl_sc_session *s,
                        struct kl_pinpad *pad, struct kl_terminal_load_params *out)
{
    static const uint8_t suites[] = {KL_SUITE_HARDENED_EC, KL_SUITE_HARDENED_RSA};
    const int real = s->loader == KL_SC_REAL;

    *out = (struct kl_terminal_load_params){.pad = pad, .now = time(NULL), .alg_count = 5};
    out->serial = s->serial[0] ? s->serial : real ? kl_terminal_serial(attack->home) : "T-ROGUE";
    out->pinpad_serial = s->pinpad_serial[0] ? s->pinpad_serial
                         : real              ? kl_terminal_pinpad_serial(attack->home)
                                             : "P-ROGUE";
    out->roots = real ? kl_terminal_roots(attack->home) : attack->pki.roots;
    for (size_t i = 0; i < out->alg_count; i++) {
        out->algs[i] = (enum kl_alg)(KL_ALG_TDES2 + i);
    }
    out->suite_count = s->suite_count ? s->suite_count : sizeof(suites);
    memcpy(out->suites, s->suite_count ? s->suites : suites, out->suite_count);
    out->chain_count = real ? kl_terminal_chain(attack->home, out->chain) : 0;
}

static enum kl_rc open_terminal(const struct kl_attack *attack, struct kl_run *run,
                                struct kl_party **out, struct kl_err *err)
{
    const struct kl_sc_session *s = run->session;
    const struct kl_candidate *of = &run->all[s->of]->candidate;

    fill_params(attack, s, run->pad, &run->params);
    if (s->kind == KL_SC_SIGN_IN) {
        run->signin = (struct kl_signin_params){.serial = run->params.serial,
                                                .pinpad_serial = run->params.pinpad_serial,
                                                .pad = run->pad,
                                                .format = KL_FORMAT_KEYS,
                                                .tmk = {.version = of->version,
                                                        .alg = of->alg,
                                                        .kcv_len = of->loaded.kcv_len}};
        memcpy(run->signin.tmk.kcv, of->loaded.kcv, of->loaded.kcv_len);
        return kl_party_sign_in(&run->signin, out, err);
    }
    return kl_party_load(&run->params, s->kind == KL_SC_CONFIRM ? of : NULL, out, err);
}

/* The rogue loader goes on from what it did in the session that this one is about; its TMK's
 * version is one that the terminal has not had. */
static enum kl_rc open_rogue(struct kl_attack *attack, struct kl_run *run, struct kl_party **out,
                             struct kl_err *err)
{
    const struct kl_sc_session *s = run->session;
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t count = 0;
    enum kl_rc rc =
        kl_rogue_pki_loader(&attack->pki, s->suite_count ? s->suites[0] : KL_SUITE_HARDENED_RSA,
                            s->cert, &run->rogue, err);

    if (!rc && s->kind == KL_SC_LOAD) {
        rc = run->pad ? kl_pinpad_list(run->pad, tmks, &count, err) : KL_OK;
        run->rogue.version = count ? tmks[count - 1].version + 1 : 1;
    } else if (!rc) {
        const struct kl_rogue *before = &run->all[s->of]->rogue;

        memcpy(run->rogue.t0, before->t0, sizeof(before->t0));
        memcpy(run->rogue.t2, before->t2, sizeof(before->t2));
        memcpy(run->rogue.rnd1, before->rnd1, sizeof(before->rnd1));
        memcpy(run->rogue.kcv, before->kcv, sizeof(before->kcv));
        run->rogue.version = before->version;
    }
    run->rogue.edit_tbs = kl_tamper_tbs;
    run->rogue.edit_arg = &run->tampering;
    return rc ? rc : kl_party_rogue(&run->rogue, out, err);
}

enum kl_rc kl_attack_open_loader(struct kl_attack *attack, struct kl_run *run,
                                 struct kl_party **out, struct kl_err *err)
{
    struct kl_transceiver *transceiver;
    unsigned seconds = run->session->seconds ? run->session->seconds : attack->target->seconds;
    enum kl_rc rc;

    if (run->session->loader == KL_SC_ROGUE) {
        return open_rogue(attack, run, out, err);
    }
    rc = kl_transceiver_open(attack->target->loader, seconds, NULL, &transceiver, err);
    return rc ? rc : kl_party_remote(transceiver, out, err);
}

/* ---- A session ---- */

static void end_of_speaker(struct kl_run *run, enum kl_rc rc, int terminal_speaks, int is_remote,
                           const struct kl_err *err)
{
    struct kl_end *end = &run->end;

    end->err = *err;
    if (rc == KL_ERR_CLOSED) {
        end->kind =
            terminal_speaks ? (run->done_heard ? KL_END_UNSEEN : KL_END_TERMINAL) : KL_END_CLOSED;
    } else if (rc == KL_ERR_TIMEOUT || (rc == KL_ERR_NOT_FOUND && !is_remote)) {
        end->kind = KL_END_SILENCE;
    } else {
        end->kind = KL_END_TROUBLE;
    }
}

/* What a message itself ends, or shows. */
static void look(struct kl_run *run, const uint8_t *der, size_t len, int terminal_speaks)
{
    struct kl_msg msg;
    struct kl_err ignored = KL_ERR_INIT;

    if (kl_msg_decode(der, len, &msg, &ignored)) {
        return; /* whoever hears it says so */
    }
    run->kept->of[msg.type].len = len;
    memcpy(run->kept->of[msg.type].der, der, len);
    if ((int)msg.type == run->session->breaks) {
        run->end.breached = 1;
    }
    if (msg.type == KL_MSG_ERROR && !terminal_speaks) {
        run->end.kind = KL_END_ERROR;
        run->end.code = msg.u.error.code;
    }
    if (msg.type == KL_MSG_FAILED && terminal_speaks) {
        run->end.kind = KL_END_TERMINAL;
        kl_err_set(&run->end.err, KL_ERR_PEER, "the terminal sent Failed %s",
                   kl_wire_name(msg.u.failed.reason));
    }
    run->done_heard |= msg.type == KL_MSG_DONE && !terminal_speaks;
}

/* A terminal of ours may have come to its end by what it heard. It tells the loader why. */
static void look_at_terminal(struct kl_run *run, struct kl_party *terminal, struct kl_party *loader)
{
    uint8_t frame[KL_FRAME_MAX];
    struct kl_err ignored = KL_ERR_INIT;
    const struct kl_err *why;
    size_t len;
    enum kl_party_state state = kl_party_state(terminal, &run->end.verdict, &why);

    if (state == KL_PARTY_ON || run->end.kind != KL_END_NOT_YET) {
        return;
    }
    run->end.kind = state == KL_PARTY_DONE ? KL_END_DONE : KL_END_TERMINAL;
    if (state == KL_PARTY_REFUSED) {
        run->end.err = *why;
        if (!run->remote_terminal &&
            kl_party_say(terminal, frame + KL_FRAME_HEADER, &len, &ignored) == KL_OK) {
            kl_frame_header(len, frame);
            if (kl_party_hear(loader, frame, len + KL_FRAME_HEADER, 0, &ignored)) {
                return; /* a courtesy */
            }
        }
    }
}

void kl_attack_converse(struct kl_run *run, struct kl_party *terminal, struct kl_party *loader)
{
    struct kl_parcel *parcel = malloc(sizeof(*parcel));
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_MSG_MAX];
    size_t len = 0;
    int terminal_speaks = 1;
    enum kl_rc rc = parcel ? KL_OK : kl_err_set(&err, KL_ERR_MEMORY, "no memory for a message");

    for (int turn = 0; !rc && turn < TURNS_MAX && run->end.kind == KL_END_NOT_YET; turn++) {
        struct kl_party *speaker = terminal_speaks ? terminal : loader,
                        *hearer = terminal_speaks ? loader : terminal;

        rc = kl_party_say(speaker, der, &len, &err);
        if (rc) {
            end_of_speaker(run, rc, terminal_speaks,
                           terminal_speaks ? run->remote_terminal
                                           : run->session->loader == KL_SC_REAL,
                           &err);
            break;
        }
        look(run, der, len, terminal_speaks);
        rc = kl_tamper(&run->tampering, (enum kl_msg_type)(der[0] & 0x1f), der, len, parcel, &err);
        if (!rc && parcel->closed) {
            run->end.kind = run->end.kind == KL_END_NOT_YET ? KL_END_STOPPED : run->end.kind;
            break;
        }
        if (!rc && parcel->delay_ms) {
            kl_attack_pause(parcel->delay_ms);
        }
        if (!rc && !parcel->dropped) {
            rc = kl_party_hear(parcel->reflected ? speaker : hearer, parcel->bytes, parcel->len,
                               parcel->drip_ms, &err);
            rc = rc == KL_ERR_CLOSED ? KL_OK : rc; /* why, may be waiting to be read */
        }
        if (rc) {
            run->end.kind = run->end.kind == KL_END_NOT_YET ? KL_END_TROUBLE : run->end.kind;
            run->end.err = err;
            break;
        }
        look_at_terminal(run, terminal, loader);
        terminal_speaks ^= !parcel->reflected;
    }
    if (run->end.kind == KL_END_NOT_YET) {
        run->end.kind = KL_END_TROUBLE;
        if (!rc) {
            kl_err_set(&run->end.err, KL_ERR_PROTOCOL, "they talk on for ever");
        }
    }
    run->has_candidate = kl_party_candidate(terminal, &run->candidate);
    free(parcel);
}

static void run_once(struct kl_attack *attack, struct kl_run *run)
{
    struct kl_party *terminal = NULL, *loader = NULL;
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = kl_pinpad_list(run->pad, tmks, &run->held_before, &err);

    memset(&run->end, 0, sizeof(run->end));
    memset(run->kept, 0, sizeof(*run->kept));
    run->has_candidate = run->done_heard = 0;
    kl_rogue_drop(&run->rogue);
    if (!rc) {
        rc = open_terminal(attack, run, &terminal, &err);
    }
    if (!rc) {
        rc = kl_attack_open_loader(attack, run, &loader, &err);
    }
    if (rc) {
        run->end.kind = KL_END_TROUBLE;
        run->end.err = err;
    } else {
        kl_attack_converse(run, terminal, loader);
    }
    kl_party_free(loader);
    kl_party_free(terminal);
    if (!rc && kl_pinpad_list(run->pad, tmks, &run->held_after, &err)) {
        run->held_after = run->held_before;
    }
}

/* A loader that is busy, with the session before this one perhaps, is asked again. */
static void run_session(struct kl_attack *attack, struct kl_run *run)
{
    for (int i = 0; i < BUSY_TRIES; i++) {
        run_once(attack, run);
        if (run->end.kind != KL_END_ERROR || run->end.code != KL_WIRE_BUSY ||
            run->session->codes & 1u << KL_WIRE_BUSY) {
            return;
        }
        kl_attack_pause(BUSY_WAIT_MS);
    }
}

/* ---- What an end means ---- */

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

/* ---- Controls ---- */

static const struct kl_sc_session honest_rogue = {.name = "control",
                                                  .loader = KL_SC_ROGUE,
                                                  .breaks = -1,
                                                  .expect = KL_SC_EXPECT_DONE};

/* A load of our terminal from the rogue loader, without any attack: on that pad, or a new one. */
static enum kl_rc control_terminal(struct kl_attack *attack, struct kl_pinpad *pad,
                                   struct kl_err *err)
{
    struct kl_kept *kept = calloc(1, sizeof(*kept));
    struct kl_run run = {.session = &honest_rogue, .kept = kept, .pad = pad}, *all[] = {&run};
    struct kl_attack_result result;
    enum kl_rc rc = kept ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for a session");

    run.all = all;
    run.tampering = (struct kl_tampering){.session = &honest_rogue, .kept = &run.kept};
    if (!rc && !pad) {
        rc = kl_pinpad_memory_new(&run.pad, err);
    }
    if (!rc) {
        run_session(attack, &run);
        kl_attack_judge(&run, &result);
        rc = result.outcome == KL_ATTACK_HELD
                 ? KL_OK
                 : kl_err_set(err, KL_ERR_VERIFY, "an honest load by our own terminal: %.200s",
                              result.detail);
    }
    kl_rogue_drop(&run.rogue);
    if (!pad) {
        kl_pinpad_free(run.pad);
    }
    free(kept);
    return rc;
}

/* Hello, and a Certificate that the terminal verifies: the loader is there, serves this terminal,
 * and is the one that it trusts. It costs no attempt. */
static enum kl_rc probe_once(struct kl_attack *attack, struct kl_err *err)
{
    static const struct kl_sc_session honest = {.name = "probe", .breaks = -1};
    struct kl_terminal_load_params params;
    struct kl_terminal_load *load = NULL;
    struct kl_transceiver *transceiver = NULL;
    struct kl_pinpad *pad = NULL;
    uint8_t out[KL_MSG_MAX], in[KL_MSG_MAX];
    size_t out_len, in_len;
    enum kl_rc rc = kl_pinpad_memory_lent(attack->signer, &pad, err);

    if (!rc) {
        fill_params(attack, &honest, pad, &params);
        rc = kl_terminal_load_new(&params, &load, err);
    }
    if (!rc) {
        rc = kl_terminal_load_hello(load, out, &out_len, err);
    }
    if (!rc) {
        rc = kl_transceiver_open(attack->target->loader, attack->target->seconds, NULL,
                                 &transceiver, err);
    }
    if (!rc) {
        rc = kl_transceiver_send(transceiver, out, out_len, err);
    }
    if (!rc || rc == KL_ERR_CLOSED) {
        rc = kl_transceiver_receive(transceiver, in, &in_len, err);
    }
    if (!rc) {
        rc = kl_terminal_load_step(load, in, in_len, out, &out_len, err);
    }
    kl_transceiver_free(transceiver);
    kl_terminal_load_free(load);
    kl_pinpad_free(pad);
    return rc;
}

enum kl_rc kl_attack_probe(struct kl_attack *attack, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    for (int i = 0; i < BUSY_TRIES; i++) {
        rc = probe_once(attack, err);
        if (rc != KL_ERR_BUSY && rc != KL_ERR_CLOSED) {
            return rc;
        }
        kl_attack_pause(BUSY_WAIT_MS);
    }
    return rc;
}

/* Before: 1 if the attack can be made; else *out says why not. */
int kl_attack_ready(struct kl_attack *attack, struct kl_attack_result *out)
{
    struct kl_err err = KL_ERR_INIT;

    if (!attack->target->loader || !attack->home) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE,
                      "it needs a loader (--loader) and a terminal of it (--terminal)");
        return 0;
    }
    if (kl_attack_arm(attack, &err) || kl_attack_probe(attack, &err)) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE,
                      "not made, as the loader does not serve terminal %s: %s",
                      kl_terminal_serial(attack->home), err.text);
        return 0;
    }
    return 1;
}

/* After: a loader that served before and does not now has been broken by it; one that refuses this
 * terminal alone, perhaps only disarmed it. */
void kl_attack_still_serves(struct kl_attack *attack, int rearm, struct kl_attack_result *out)
{
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = rearm ? kl_attack_arm(attack, &err) : KL_OK;

    if (out->outcome != KL_ATTACK_HELD) {
        return;
    }
    if (rc) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "afterwards: %s", err.text);
        return;
    }
    rc = kl_attack_probe(attack, &err);
    if (rc == KL_ERR_PEER) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE,
                      "the loader refused it, and afterwards the terminal itself: its attempts may "
                      "be used up; arm it for more, or give --arm");
    } else if (rc) {
        kl_attack_say(out, KL_ATTACK_BROKEN, "the loader served before, and not afterwards: %s",
                      err.text);
    }
}

/* ---- Scenarios ---- */

static enum kl_rc open_runs(struct kl_attack *attack, const struct kl_scenario *scenario,
                            struct kl_runs *runs, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; !rc && i < scenario->session_count; i++) {
        const struct kl_sc_session *s = &scenario->sessions[i];
        struct kl_run *run = &runs->of[i];

        run->session = s;
        run->all = runs->all;
        runs->all[i] = run;
        runs->kept[i] = run->kept = calloc(1, sizeof(*run->kept));
        run->tampering = (struct kl_tampering){.session = s,
                                               .kept = runs->kept,
                                               .self = i,
                                               .signer = attack->signer};
        if (!run->kept) {
            rc = kl_err_set(err, KL_ERR_MEMORY, "no memory for a session");
        } else if (s->pad != i) {
            run->pad = runs->of[s->pad].pad;
        } else {
            rc = kl_pinpad_memory_lent(attack->signer, &run->pad, err);
        }
    }
    return rc;
}

static void close_runs(const struct kl_scenario *scenario, struct kl_runs *runs)
{
    for (size_t i = 0; i < scenario->session_count; i++) {
        kl_rogue_drop(&runs->of[i].rogue);
        if (scenario->sessions[i].pad == i) {
            kl_pinpad_free(runs->of[i].pad);
        }
        free(runs->kept[i]);
    }
}

static int sweeps(const struct kl_sc_session *s)
{
    for (size_t i = 0; i < s->rule_count; i++) {
        if (s->rules[i].act == KL_SC_SWEEP) {
            return 1;
        }
    }
    return 0;
}

/* The last session again and again, each time on a new PIN pad, unless it is about another's. */
static void run_sweep(struct kl_attack *attack, struct kl_run *run, struct kl_attack_result *out)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_pinpad *pad = run->pad;
    char detail[sizeof(out->detail)];
    const int own = run->session->kind == KL_SC_LOAD;
    size_t variant = 0;

    do {
        run->tampering.variant = variant;
        run->tampering.variants = 0;
        if (own && kl_pinpad_memory_lent(attack->signer, &run->pad, &err)) {
            kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "%s", err.text);
            break;
        }
        run_session(attack, run);
        kl_attack_judge(run, out);
        if (own) {
            kl_pinpad_free(run->pad);
        }
        variant++;
    } while (out->outcome == KL_ATTACK_HELD && variant < run->tampering.variants &&
             variant < VARIANTS_MAX);
    run->pad = pad;
    out->variants = (unsigned)variant;
    if (out->outcome == KL_ATTACK_HELD && run->tampering.variants == 0) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "the message that was to be swept never came");
    } else if (out->outcome == KL_ATTACK_HELD) {
        kl_attack_say(out, KL_ATTACK_HELD, "each of %zu changed bytes was refused", variant);
    } else {
        strcpy(detail, out->detail);
        kl_attack_say(out, out->outcome, "%s (%s)", run->tampering.changed, detail);
    }
}

static void run_sessions(struct kl_attack *attack, const struct kl_scenario *scenario,
                         struct kl_runs *runs, struct kl_attack_result *out)
{
    char detail[sizeof(out->detail)];

    for (size_t i = 0; i < scenario->session_count; i++) {
        struct kl_run *run = &runs->of[i];

        if (sweeps(run->session)) {
            run_sweep(attack, run, out);
        } else {
            run_session(attack, run);
            kl_attack_judge(run, out);
        }
        if (out->outcome == KL_ATTACK_INCONCLUSIVE && i + 1 < scenario->session_count) {
            strcpy(detail, out->detail);
            kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "the attack was not made: %s", detail);
        }
        if (out->outcome != KL_ATTACK_HELD) {
            return;
        }
    }
}

static int can_run(struct kl_attack *attack, const struct kl_scenario *scenario,
                   struct kl_attack_result *out)
{
    struct kl_bytes chain[KL_CHAIN_MAX];

    if (attack->control_failed.rc) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "not made: %s", attack->control_failed.text);
        return 0;
    }
    if (!kl_scenario_needs_loader(scenario)) {
        return 1;
    }
    if (!kl_attack_ready(attack, out)) {
        return 0;
    }
    if (scenario->needs_certificate && kl_terminal_chain(attack->home, chain) == 0) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE,
                      "it needs a terminal with a certificate (terminal-sim device-key), and a "
                      "loader that verifies them");
        return 0;
    }
    if (scenario->needs_arm && !attack->target->arm) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE,
                      "it needs --arm, as a load goes through and ends the arming");
        return 0;
    }
    return 1;
}

void kl_attack_begin(struct kl_attack_result *out, const char *name, const char *tries)
{
    memset(out, 0, sizeof(*out));
    snprintf(out->name, sizeof(out->name), "%s", name);
    snprintf(out->tries, sizeof(out->tries), "%s", tries);
    out->variants = 1;
}

void kl_attack_run(struct kl_attack *attack, const struct kl_scenario *scenario,
                   struct kl_attack_result *out)
{
    struct kl_runs *runs = calloc(1, sizeof(*runs));
    struct kl_err err = KL_ERR_INIT;
    int64_t began = kl_clock_ms();

    kl_attack_begin(out, scenario->name, scenario->tries);
    if (!runs || (runs && open_runs(attack, scenario, runs, &err))) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "not made: %s",
                      runs ? err.text : "no memory for sessions");
    } else if (can_run(attack, scenario, out)) {
        run_sessions(attack, scenario, runs, out);
        if (kl_scenario_needs_loader(scenario)) {
            kl_attack_still_serves(attack, scenario->needs_arm, out);
        } else if (out->outcome == KL_ATTACK_HELD && control_terminal(attack, NULL, &err)) {
            kl_attack_say(out, KL_ATTACK_BROKEN, "afterwards: %s", err.text);
        }
    }
    if (runs) {
        close_runs(scenario, runs);
    }
    free(runs);
    out->seconds = (double)(kl_clock_ms() - began) / 1000;
}

/* ---- A run of them ---- */

static enum kl_rc open_home(struct kl_attack *attack, struct kl_err *err)
{
    struct kl_bytes chain[KL_CHAIN_MAX];
    enum kl_rc rc =
        attack->target->dir ? kl_terminal_open(attack->target->dir, 0, &attack->home, err) : KL_OK;

    if (!rc && attack->home && kl_terminal_chain(attack->home, chain) > 0) {
        rc = kl_terminal_open_pinpad(attack->home, &attack->signer, err);
    }
    return rc;
}

enum kl_rc kl_attack_new(const struct kl_attack_target *target, struct kl_attack **out,
                         struct kl_err *err)
{
    struct kl_attack *attack = calloc(1, sizeof(*attack));
    enum kl_rc rc;

    if (!attack) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for attacks");
    }
    attack->target = target;
    rc = kl_rogue_pki_make(&attack->pki, err);
    if (!rc) {
        rc = open_home(attack, err);
    }
    if (rc) {
        kl_attack_free(attack);
        return rc;
    }
    if (control_terminal(attack, NULL, &attack->control_failed) == KL_OK) {
        attack->control_failed.rc = KL_OK;
    }
    *out = attack;
    return KL_OK;
}

void kl_attack_free(struct kl_attack *attack)
{
    if (!attack) {
        return;
    }
    kl_pinpad_free(attack->signer);
    kl_terminal_free(attack->home);
    kl_rogue_pki_wipe(&attack->pki);
    free(attack);
}
