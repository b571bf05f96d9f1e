/* SPDX-License-Identifier: BSD-2-Clause */
/* Loaded and the MACs of the Dones that may follow: see ack.h. */
#include "terminal-sim/ack.h"

#include <string.h>

enum kl_rc kl_ack_loaded(struct kl_pinpad *pad, const uint8_t t2[KL_HASH_LEN], const uint8_t *kcv,
                         size_t kcv_len, struct kl_loaded *out, struct kl_err *err)
{
    uint8_t in[KL_ACK_INPUT_MAX];
    size_t len = kl_suite_ack_input(t2, kcv, kcv_len, in);

    out->kcv_len = kcv_len;
    memcpy(out->kcv, kcv, kcv_len);
    return kl_pinpad_mac(pad, KL_PURPOSE_ACK, in, len, out->mac, err);
}

enum kl_rc kl_ack_done_mac(struct kl_pinpad *pad, const uint8_t t2[KL_HASH_LEN],
                           enum kl_verdict verdict, uint8_t mac[KL_MAC_LEN], struct kl_err *err)
{
    uint8_t in[KL_DONE_INPUT_LEN];

    kl_suite_done_input(t2, verdict, in);
    return kl_pinpad_mac(pad, KL_PURPOSE_DONE, in, sizeof(in), mac, err);
}
