/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether two tokens hold the same storage and binding keys, without either key leaving its token:
 * values that follow from the keys, are always the same for the same key, and are of no other use.
 */
#ifndef KL_PKCS11_KEY_CHECK_H
#define KL_PKCS11_KEY_CHECK_H

#include <p11-kit/pkcs11.h>
#include <stdint.h>

#include "pkcs11/token.h"
#include "proto/err.h"
#include "proto/message.h"

#define KL_KEY_CHECK_LEN KL_MAC_LEN /* bytes */

/* Of a storage key, which only wraps: the first bytes of SHA-256 over a known key under it (RFC
 * 3394 is deterministic). HSM trouble by kl_rv_err. */
enum kl_rc kl_storage_key_check(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                                uint8_t out[KL_KEY_CHECK_LEN], struct kl_err *err) KL_MUST_CHECK;

/* Of a binding key: its AES-CMAC over a text that no binding begins with (pkcs11/binding.h). */
enum kl_rc kl_binding_key_check(struct kl_session *session, CK_OBJECT_HANDLE binding_key,
                                uint8_t out[KL_KEY_CHECK_LEN], struct kl_err *err) KL_MUST_CHECK;

#endif
