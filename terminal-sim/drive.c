/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection: the machine says what to send, the transceiver sends it and brings the answer. */
#include "terminal-sim/drive.h"

#include <string.h>

#include "terminal-sim/transceiver.h"

static enum kl_rc converse(struct kl_terminal_load *load, struct kl_transceiver *transceiver,
                           uint8_t *out, size_t out_len, struct kl_err *err)
{
    uint8_t in[KL_MSG_MAX];
    struct kl_err ignored = KL_ERR_INIT;
    size_t in_len;
    enum kl_rc rc = KL_OK;

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
        rc = kl_terminal_step(load, in, in_len, out, &out_len, err);
        /* Failed is a courtesy; what counts is why. */
        if (rc && out_len > 0 && kl_transceiver_send(transceiver, out, out_len, &ignored)) {
            out_len = 0;
        }
    }
    return rc;
}

enum kl_rc kl_drive_run(const struct kl_drive *drive, const struct kl_terminal_params *params,
                        const struct kl_candidate *confirm, enum kl_verdict *verdict,
                        struct kl_candidate *out_candidate, char *subject, struct kl_err *err)
{
    struct kl_terminal_load *load = NULL;
    struct kl_transceiver *transceiver = NULL;
    uint8_t out[KL_MSG_MAX];
    size_t out_len = 0;
    enum kl_rc rc = kl_terminal_load_new(params, &load, err);

    if (!rc && confirm) {
        rc = kl_terminal_confirm(load, confirm, out, &out_len, err);
    } else if (!rc) {
        rc = kl_terminal_hello(load, out, &out_len, err);
    }
    if (!rc) {
        rc = kl_transceiver_open(drive->address, drive->seconds, drive->record, &transceiver, err);
    }
    if (!rc) {
        rc = converse(load, transceiver, out, out_len, err);
    }
    if (!rc) {
        *verdict = kl_terminal_verdict(load);
        if (out_candidate) {
            *out_candidate = *kl_terminal_candidate(load);
        }
        if (subject) {
            strcpy(subject, kl_terminal_work_subject(load));
        }
    } else if (load && kl_terminal_has_candidate(load)) {
        kl_err_context(err, "TMK version %u awaits the loader's word and is kept; run 'confirm'",
                       (unsigned)kl_terminal_candidate(load)->version);
    }
    kl_transceiver_free(transceiver);
    kl_terminal_load_free(load);
    return rc;
}
