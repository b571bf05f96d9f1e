/* SPDX-License-Identifier: BSD-2-Clause */
/* See party.h. */
#include "terminal-sim/attack/party.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

struct kl_party {
    /* One of these. */
    struct kl_terminal_load *load;
    struct kl_signin *sign_in;
    struct kl_rogue *rogue;
    struct kl_transceiver *remote;

    uint8_t out[KL_MSG_MAX]; /* what it is to say next */
    size_t out_len;          /* 0 = nothing */
    int closed;              /* rogue: once that is said */
    enum kl_party_state state;
    enum kl_verdict verdict;
    struct kl_err why;
};

static enum kl_rc make(struct kl_party **out, struct kl_err *err)
{
    *out = calloc(1, sizeof(**out));
    return *out ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for a session");
}

enum kl_rc kl_party_load(const struct kl_terminal_load_params *params,
                         const struct kl_candidate *confirm, struct kl_party **out,
                         struct kl_err *err)
{
    struct kl_party *party;
    enum kl_rc rc = make(&party, err);

    if (!rc) {
        rc = kl_terminal_load_new(params, &party->load, err);
    }
    if (!rc) {
        rc = confirm
                 ? kl_terminal_load_confirm(party->load, confirm, party->out, &party->out_len, err)
                 : kl_terminal_load_hello(party->load, party->out, &party->out_len, err);
    }
    if (rc) {
        kl_party_free(party);
        return rc;
    }
    *out = party;
    return KL_OK;
}

enum kl_rc kl_party_sign_in(const struct kl_signin_params *params, struct kl_party **out,
                            struct kl_err *err)
{
    struct kl_party *party;
    enum kl_rc rc = make(&party, err);

    if (!rc) {
        rc = kl_signin_new(params, &party->sign_in, err);
    }
    if (!rc) {
        rc = kl_signin_begin(party->sign_in, party->out, &party->out_len, err);
    }
    if (rc) {
        kl_party_free(party);
        return rc;
    }
    party->verdict = KL_VERDICT_ACTIVE; /* a sign-in has no other */
    *out = party;
    return KL_OK;
}

enum kl_rc kl_party_rogue(struct kl_rogue *loader, struct kl_party **out, struct kl_err *err)
{
    enum kl_rc rc = make(out, err);

    if (!rc) {
        (*out)->rogue = loader;
    }
    return rc;
}

enum kl_rc kl_party_remote(struct kl_transceiver *transceiver, struct kl_party **out,
                           struct kl_err *err)
{
    enum kl_rc rc = make(out, err);

    if (rc) {
        kl_transceiver_free(transceiver);
    } else {
        (*out)->remote = transceiver;
    }
    return rc;
}

void kl_party_free(struct kl_party *party)
{
    if (!party) {
        return;
    }
    kl_terminal_load_free(party->load);
    kl_signin_free(party->sign_in);
    kl_transceiver_free(party->remote);
    free(party);
}

enum kl_rc kl_party_say(struct kl_party *party, uint8_t der[KL_MSG_MAX], size_t *len,
                        struct kl_err *err)
{
    if (party->remote) {
        return kl_transceiver_receive(party->remote, der, len, err);
    }
    if (party->out_len) {
        memcpy(der, party->out, party->out_len);
        *len = party->out_len;
        party->out_len = 0;
        return KL_OK;
    }
    return party->closed ? kl_err_set(err, KL_ERR_CLOSED, "the rogue loader closed")
                         : kl_err_set(err, KL_ERR_NOT_FOUND, "nothing more is said");
}

/* ---- Our terminal ---- */

static void hear_terminal(struct kl_party *party, const uint8_t *der, size_t len)
{
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc =
        party->load
            ? kl_terminal_load_step(party->load, der, len, party->out, &party->out_len, &err)
            : kl_signin_step(party->sign_in, der, len, party->out, &party->out_len, &err);

    if (rc) {
        party->state = KL_PARTY_REFUSED;
        party->why = err;
    } else if (party->out_len == 0) {
        party->state = KL_PARTY_DONE;
        if (party->load) {
            party->verdict = kl_terminal_load_verdict(party->load);
        }
    }
}

static void refuse_frame(struct kl_party *party, const struct kl_err *err)
{
    party->state = KL_PARTY_REFUSED;
    party->why = *err;
}

/* ---- The rogue loader ---- */

static enum kl_rc check_loaded(const struct kl_rogue *loader, const struct kl_loaded *loaded,
                               struct kl_err *err)
{
    uint8_t mac[KL_MAC_LEN];
    enum kl_rc rc = kl_rogue_ack_mac(loader, mac, err);

    if (!rc && (loaded->kcv_len != loader->kcv_len ||
                memcmp(loaded->kcv, loader->kcv, loaded->kcv_len) != 0 ||
                CRYPTO_memcmp(loaded->mac, mac, KL_MAC_LEN) != 0)) {
        rc = kl_err_set(err, KL_ERR_VERIFY, "the rogue loader: Loaded is not authentic");
    }
    return rc;
}

static enum kl_rc say_done(struct kl_party *party, const struct kl_loaded *loaded,
                           struct kl_err *err)
{
    struct kl_msg done;
    enum kl_rc rc = check_loaded(party->rogue, loaded, err);

    if (!rc) {
        rc = kl_rogue_done(party->rogue, KL_VERDICT_ACTIVE, &done, err);
    }
    party->closed = 1;
    return rc ? rc : kl_msg_encode(&done, party->out, &party->out_len, err);
}

static enum kl_rc answer(struct kl_party *party, const uint8_t *der, size_t len, struct kl_err *err)
{
    struct kl_msg msg;
    enum kl_rc rc = kl_msg_decode(der, len, &msg, err);

    if (rc) {
        return rc;
    }
    switch (msg.type) {
    case KL_MSG_HELLO:
        return kl_rogue_certificate(party->rogue, der, len, party->out, &party->out_len, err);
    case KL_MSG_RANDOMS:
        return kl_rogue_master_key(party->rogue, der, len, party->out, &party->out_len, err);
    case KL_MSG_SIGN_IN:
        return kl_rogue_keys(party->rogue, der, len, party->out, &party->out_len, err);
    case KL_MSG_LOADED:
        return say_done(party, &msg.u.loaded, err);
    case KL_MSG_CONFIRM:
        return say_done(party, &msg.u.confirm.loaded, err);
    case KL_MSG_FAILED:
        party->closed = 1;
        return KL_OK;
    default:
        return kl_err_set(err, KL_ERR_PROTOCOL, "the rogue loader got %s", kl_msg_name(msg.type));
    }
}

static enum kl_rc hear_rogue(struct kl_party *party, const uint8_t *der, size_t len,
                             struct kl_err *err)
{
    struct kl_err why = KL_ERR_INIT;
    struct kl_msg error = {.type = KL_MSG_ERROR};

    if (party->closed) {
        return kl_err_set(err, KL_ERR_CLOSED, "the rogue loader has closed");
    }
    if (answer(party, der, len, &why) == KL_OK) {
        return KL_OK;
    }
    if (why.rc == KL_ERR_INTERNAL || why.rc == KL_ERR_MEMORY) {
        *err = why;
        return why.rc;
    }
    error.u.error.code = kl_rc_wire(why.rc);
    party->closed = 1;
    return kl_msg_encode(&error, party->out, &party->out_len, err);
}

/* Frame by frame; what is left of one that is not whole is waited for in vain. */
enum kl_rc kl_party_hear(struct kl_party *party, const uint8_t *bytes, size_t len, unsigned drip_ms,
                         struct kl_err *err)
{
    size_t frame = 0, at = 0;
    enum kl_rc rc = KL_OK;

    if (party->remote) {
        return kl_transceiver_send_bytes(party->remote, bytes, len, drip_ms, err);
    }
    while (!rc && len - at >= KL_FRAME_HEADER && party->state == KL_PARTY_ON) {
        struct kl_err bad = KL_ERR_INIT;

        if (kl_frame_length(bytes + at, KL_MSG_MAX, &frame, &bad)) {
            if (!party->rogue) {
                refuse_frame(party, &bad);
            }
            party->closed = 1;
            return KL_OK;
        }
        if (len - at - KL_FRAME_HEADER < frame) {
            return KL_OK;
        }
        if (party->rogue) {
            rc = hear_rogue(party, bytes + at + KL_FRAME_HEADER, frame, err);
        } else {
            hear_terminal(party, bytes + at + KL_FRAME_HEADER, frame);
        }
        at += KL_FRAME_HEADER + frame;
    }
    return rc;
}

enum kl_party_state kl_party_state(const struct kl_party *party, enum kl_verdict *verdict,
                                   const struct kl_err **why)
{
    *verdict = party->verdict;
    *why = &party->why;
    return party->state;
}

int kl_party_candidate(const struct kl_party *party, struct kl_candidate *out)
{
    if (!party->load || !kl_terminal_load_has_candidate(party->load)) {
        return 0;
    }
    *out = *kl_terminal_load_candidate(party->load);
    return 1;
}
