/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PIN blocks before encipherment, ISO 9564-1:2017: format 0 for TDES, format 4 for AES. Bytes in,
 * bytes out; the PIN stays in locked memory, and so must what is made of it.
 */
#ifndef KL_TERMINAL_SIM_PINPAD_PINBLOCK_H
#define KL_TERMINAL_SIM_PINPAD_PINBLOCK_H

#include <stdint.h>

#include "proto/err.h"
#include "proto/secret.h"

#define KL_PIN_MIN 4 /* digits */
#define KL_PIN_MAX 12
#define KL_PAN_MIN 8 /* digits, check digit included (ISO/IEC 7812-1) */
#define KL_PAN_MAX 19
#define KL_PINBLOCK0_LEN 8
#define KL_PINBLOCK4_LEN 16
#define KL_PINBLOCK4_RANDOM 8 /* bytes of it that must be fresh */

/* KL_ERR_INPUT says what is wrong; the text never repeats a PIN or a PAN. */
enum kl_rc kl_pin_check(struct kl_secret *pin, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_pan_check(const char *pan, struct kl_err *err) KL_MUST_CHECK;

/* The rest take what the two above have passed, and cannot fail. */

/* Format 0 (9.3.1): PIN field 0 N P..P F..F, xor the right-most 12 digits of the PAN without its
 * check digit (zeros before a shorter one). */
void kl_pinblock0(struct kl_secret *pin, const char *pan, uint8_t out[KL_PINBLOCK0_LEN]);

/* Format 4 (9.4.2): plain text PIN field 4 N P..P A..A and 8 random bytes; plain text PAN field,
 * M (the digits beyond 12) and the PAN, zeros after it. The block is E(E(PIN field) xor PAN field).
 */
void kl_pinblock4_pin(struct kl_secret *pin, const uint8_t random[KL_PINBLOCK4_RANDOM],
                      uint8_t out[KL_PINBLOCK4_LEN]);
void kl_pinblock4_pan(const char *pan, uint8_t out[KL_PINBLOCK4_LEN]);

#endif
