/* SPDX-License-Identifier: BSD-2-Clause */
/* C_rnd1_rnd2 as no PIN pad would make it: of an Rnd1 that somebody chose. */
#ifndef KL_TERMINAL_SIM_ATTACK_FORGE_H
#define KL_TERMINAL_SIM_ATTACK_FORGE_H

#include "terminal-sim/attack/tamper.h"

/* Makes the Randoms in der (KL_MSG_MAX bytes) anew, for the Hello and Certificate that are kept,
 * with that Rnd1 and an Rnd2 of zeros. One that was signed is signed again, by signer's device key.
 * KL_ERR_INPUT: the suite takes no Rnd1 of that length (hardened-ec: a multiple of 8, at least 16).
 */
enum kl_rc kl_forge_randoms(const struct kl_kept *kept, const uint8_t *rnd1, size_t rnd1_len,
                            struct kl_pinpad *signer, uint8_t *der, size_t *len,
                            struct kl_err *err) KL_MUST_CHECK;

#endif
