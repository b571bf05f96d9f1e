/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The token of p11.h with one mechanism more: it wraps and unwraps by TDES-ECB, which SoftHSM does
 * not. For that it knows the values of the keys that are made on it, and sees to it that a key of
 * one use is put to no other.
 */
#ifndef KL_TESTS_SUPPORT_TDES_TOKEN_H
#define KL_TESTS_SUPPORT_TDES_TOKEN_H

#include "pkcs11/loader.h"

/* From now on, until the token is closed. It also knows the value of that key of the store, which
 * may be made later; both are borrowed. */
void tdes_token(const struct kl_stored_key *stored, const uint8_t *value);

/* It says CKR_OK, and what it gives is something else. */
void tdes_token_lies(int when_wrapping, int when_unwrapping);

#endif
