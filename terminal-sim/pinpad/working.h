/* SPDX-License-Identifier: BSD-2-Clause */
/* What the working keys are for: a PIN block under the PIK, a MAC under the MAK. */
#ifndef KL_TERMINAL_SIM_PINPAD_WORKING_H
#define KL_TERMINAL_SIM_PINPAD_WORKING_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/secret.h"
#include "terminal-sim/pinpad/mac.h"
#include "terminal-sim/pinpad/pinblock.h"
#include "terminal-sim/pinpad/pinpad.h"

/* The PIN block of that ISO 9564 format, enciphered: 0 takes a TDES PIK, 4 an AES one
 * (KL_ERR_UNSUPPORTED otherwise). pin and pan are checked. out gets KL_PINBLOCK0_LEN or
 * KL_PINBLOCK4_LEN bytes. */
enum kl_rc kl_working_pin_block(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                                unsigned format, struct kl_secret *pin, const char *pan,
                                uint8_t out[KL_PINBLOCK4_LEN], size_t *len,
                                struct kl_err *err) KL_MUST_CHECK;

/* The MAC of a message: TDES by ISO 9797-1 algorithm 3 with that padding (8 bytes), AES by CMAC,
 * which pads by itself (16 bytes). */
enum kl_rc kl_working_mac(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                          enum kl_mac_padding padding, const uint8_t *in, size_t in_len,
                          uint8_t out[KL_MAC_LEN], size_t *len, struct kl_err *err) KL_MUST_CHECK;

#endif
