/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection: the machine says what to send, the transceiver sends it and brings the answer. */
#include "terminal-sim/drive.h"

#include "terminal-sim/transceiver.h"

/* A machine's step: kl_terminal_load_step or kl_signin_step. */
typedef enum kl_rc step_fn(void *machine, const uint8_t *in, size_t in_len, uint8_t out[KL_MSG_MAX],
                           size_t *out_len, struct kl_err *err);

static enum kl_rc step_load(void *machine, const uint8_t *in, size_t in_len,
                            uint8_t out[KL_MSG_MAX], size_t *out_len, struct kl_err *err)
{
    return kl_terminal_load_step(machine, in, in_len, out, out_len, err);
}

static enum kl_rc step_sign_in(void *machine, const uint8_t *in, size_t in_len,
                               uint8_t out[KL_MSG_MAX], size_t *out_len, struct kl_err *err)
{
    return kl_signin_step(machine, in, in_len, out, out_len, err);
}

/* Connects, sends the first message, and steps the machine to its end. */
static enum kl_rc converse(const struct kl_drive *drive, step_fn *step, void *machine, uint8_t *out,
                           size_t out_len, struct kl_err *err)
{
    struct kl_transceiver *transceiver = NULL;
    uint8_t in[KL_MSG_MAX];
    struct kl_err ignored = KL_ERR_INIT;
    size_t in_len;
    enum kl_rc rc =
        kl_transceiver_open(drive->address, drive->seconds, drive->record, &transceiver, err);

    while (!rc && out_len > 0) {
        rc = kl_transceiver_send(transceiver, out, out_len, err);
        if (rc == KL_ERR_CLOSED) {
            rc = KL_OK; /* its reason (Error) may be waiting to be read */
        }
        if (!rc) {
            rc = kl_transceiver_receive(transceiver, in, &in_len, err);
        }
        if (rc) {
            break;
        }
        rc = step(machine, in, in_len, out, &out_len, err);
        /* Failed is a courtesy; what counts is why. */
        if (rc && out_len > 0 && kl_transceiver_send(transceiver, out, out_len, &ignored)) {
            out_len = 0;
        }
    }
    kl_transceiver_free(transceiver);
    return rc;
}

enum kl_rc kl_drive_run(const struct kl_drive *drive, const struct kl_terminal_load_params *params,
                        const struct kl_candidate *confirm, enum kl_verdict *verdict,
                        struct kl_candidate *out_candidate, struct kl_terminal_load_facts *facts,
                        struct kl_err *err)
{
    struct kl_terminal_load *load = NULL;
    uint8_t out[KL_MSG_MAX];
    size_t out_len = 0;
    enum kl_rc rc = kl_terminal_load_new(params, &load, err);

    if (!rc && confirm) {
        rc = kl_terminal_load_confirm(load, confirm, out, &out_len, err);
    } else if (!rc) {
        rc = kl_terminal_load_hello(load, out, &out_len, err);
    }
    if (!rc) {
        rc = converse(drive, step_load, load, out, out_len, err);
    }
    if (!rc) {
        *verdict = kl_terminal_load_verdict(load);
        if (out_candidate) {
            *out_candidate = *kl_terminal_load_candidate(load);
        }
        if (facts) {
            *facts = *kl_terminal_load_facts(load);
        }
    } else if (load && kl_terminal_load_has_candidate(load)) {
        kl_err_context(err, "TMK version %u awaits the loader's word and is kept; run 'confirm'",
                       (unsigned)kl_terminal_load_candidate(load)->version);
    }
    kl_terminal_load_free(load);
    return rc;
}

enum kl_rc kl_drive_signin(const struct kl_drive *drive, const struct kl_signin_params *params,
                           struct kl_pinpad_pair *pair, struct kl_err *err)
{
    struct kl_signin *sign_in = NULL;
    uint8_t out[KL_MSG_MAX];
    size_t out_len = 0;
    enum kl_rc rc = kl_signin_new(params, &sign_in, err);

    if (!rc) {
        rc = kl_signin_begin(sign_in, out, &out_len, err);
    }
    if (!rc) {
        rc = converse(drive, step_sign_in, sign_in, out, out_len, err);
    }
    if (!rc) {
        *pair = *kl_signin_pair(sign_in);
    }
    kl_signin_free(sign_in);
    return rc;
}
