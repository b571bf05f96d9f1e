/* SPDX-License-Identifier: BSD-2-Clause */
/* One session: its two parties, and the messages between them. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/frame.h"
#include "terminal-sim/attack/attack_impl.h"

#define TURNS_MAX 40 /* messages in one session */

/* ---- The parties of a session ---- */

/* The terminal as it offers itself in that session. */
void kl_attack_params(const struct kl_attack *attack, const struct kl_sc_session *s,
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

    kl_attack_params(attack, s, run->pad, &run->params);
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
void kl_attack_session(struct kl_attack *attack, struct kl_run *run)
{
    for (int i = 0; i < KL_ATTACK_BUSY_TRIES; i++) {
        run_once(attack, run);
        if (run->end.kind != KL_END_ERROR || run->end.code != KL_WIRE_BUSY ||
            run->session->codes & 1u << KL_WIRE_BUSY) {
            return;
        }
        kl_attack_pause(KL_ATTACK_BUSY_WAIT_MS);
    }
}
