/* SPDX-License-Identifier: BSD-2-Clause */
/* Error and Failed: see refusal.h. */
#include "terminal-sim/refusal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum kl_rc kl_refusal_heard(const struct kl_error_msg *msg, struct kl_err *err)
{
    const char *name = kl_wire_name(msg->code);
    int says_more = msg->text[0] && strcmp(msg->text, name) != 0;
    char retry[48] = "";
    enum kl_rc rc = KL_ERR_PEER;

    if (msg->code == KL_WIRE_BUSY || msg->code == KL_WIRE_INTERNAL) {
        rc = KL_ERR_BUSY;
    } else if (msg->code == KL_WIRE_TIMEOUT) {
        rc = KL_ERR_TIMEOUT;
    }
    if (msg->retry_after) {
        snprintf(retry, sizeof(retry), "; it says to try again in %" PRIu32 " s", msg->retry_after);
    }
    return kl_err_set(err, rc, "the loader answered Error %s%s%s%s%s", name, says_more ? ": " : "",
                      says_more ? msg->text : "",
                      rc == KL_ERR_PEER ? "; see the loader's log for the reason" : "", retry);
}

enum kl_rc kl_refusal_or(enum kl_msg_type due, const uint8_t *in, size_t in_len, struct kl_msg *out,
                         struct kl_err *err)
{
    enum kl_rc rc = kl_msg_decode(in, in_len, out, err);

    if (rc != KL_OK || out->type == due) {
        return rc;
    }
    if (out->type == KL_MSG_ERROR) {
        return kl_refusal_heard(&out->u.error, err);
    }
    return kl_err_set(err, KL_ERR_PROTOCOL, "the loader sent %s where %s is due",
                      kl_msg_name(out->type), kl_msg_name(due));
}

/* Failed says no more than "malformed" or "refused", whatever the reason. */
size_t kl_refusal_answer(enum kl_rc rc, const uint8_t *in, size_t in_len, uint8_t out[KL_MSG_MAX])
{
    struct kl_err ignored = KL_ERR_INIT;
    struct kl_msg msg, failed = {.type = KL_MSG_FAILED};
    size_t len;

    if (kl_msg_decode(in, in_len, &msg, &ignored) == KL_OK && msg.type == KL_MSG_ERROR) {
        return 0;
    }
    failed.u.failed.reason = rc == KL_ERR_PROTOCOL ? KL_WIRE_PROTOCOL : KL_WIRE_REFUSED;
    return kl_msg_encode(&failed, out, &len, &ignored) ? 0 : len;
}
