/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Session copies of token keys: some modules take a token key out of their database for every call
 * (NSS softokn: 32 ms against 1.3 ms). For this room only.
 */
#ifndef KL_PKCS11_KEY_COPY_H
#define KL_PKCS11_KEY_COPY_H

#include <p11-kit/pkcs11.h>

#include "pkcs11/token.h"
#include "proto/err.h"

/* Copies a sensitive, unextractable key into a session object, which lives as long as the session.
 * KL_ERR_KEY if the copy has lost one of these attributes, or may do more than the key; what else
 * binds the key is for the self-test to try with the copy. `what` is the key in words. */
enum kl_rc kl_key_copy(struct kl_session *session, CK_OBJECT_HANDLE key, const char *what,
                       CK_OBJECT_HANDLE *copy, struct kl_err *err) KL_MUST_CHECK;

#endif
