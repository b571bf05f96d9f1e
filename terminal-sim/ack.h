/* SPDX-License-Identifier: BSD-2-Clause */
/* Loaded and Done, the same in every suite and in a sign-in: MACs under the PIN pad's K_ack and
 * K_done over T2 and the outcome. */
#ifndef KL_TERMINAL_SIM_ACK_H
#define KL_TERMINAL_SIM_ACK_H

#include "proto/err.h"
#include "proto/message.h"
#include "terminal-sim/pinpad/pinpad.h"

/* Loaded for a key of that KCV (KL_KCV_LEN_MIN to _MAX bytes). */
enum kl_rc kl_ack_loaded(struct kl_pinpad *pad, const uint8_t t2[KL_HASH_LEN], const uint8_t *kcv,
                         size_t kcv_len, struct kl_loaded *out, struct kl_err *err) KL_MUST_CHECK;

/* The MAC of the Done that says so. */
enum kl_rc kl_ack_done_mac(struct kl_pinpad *pad, const uint8_t t2[KL_HASH_LEN],
                           enum kl_verdict verdict, uint8_t mac[KL_MAC_LEN],
                           struct kl_err *err) KL_MUST_CHECK;

#endif
