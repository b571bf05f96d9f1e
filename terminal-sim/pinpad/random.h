/* SPDX-License-Identifier: BSD-2-Clause */
/* Module 105, random: what the terminal draws outside the PIN pad's keys, Rnd2 and the GCM iv. */
#ifndef KL_TERMINAL_SIM_PINPAD_RANDOM_H
#define KL_TERMINAL_SIM_PINPAD_RANDOM_H

#include <stdint.h>

#include "proto/err.h"
#include "proto/suite.h"
#include "terminal-sim/pinpad/pinpad.h"

/* S4: fresh for each load, from the PIN pad's generator. KL_ERR_INTERNAL if that is plainly broken
 * (two halves of one draw are equal). */
enum kl_rc kl_random_rnd2(struct kl_pinpad *pad, uint8_t rnd2[KL_RND2_LEN],
                          struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_random_iv(struct kl_pinpad *pad, uint8_t iv[KL_GCM_IV_LEN],
                        struct kl_err *err) KL_MUST_CHECK;

#endif
