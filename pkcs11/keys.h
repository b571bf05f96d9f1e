/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Token keys: making, finding and describing them. Templates are those of docs/security.md,
 * "Keys and their attributes"; finding checks that a key has them, so that a key made by hand
 * with too much power is refused, not used.
 */
#ifndef KL_PKCS11_KEYS_H
#define KL_PKCS11_KEYS_H

#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>

#include "pkcs11/token.h"
#include "proto/err.h"

/* Which of our key pairs this is: decides the template. */
enum kl_pair_role {
    KL_PAIR_WORK, /* AcquireWCRT_Prk: CKA_UNWRAP and CKA_SIGN only, CKA_UNWRAP_TEMPLATE,
                     CKA_ALLOWED_MECHANISMS = RSA-OAEP and RSA-PSS-SHA-256 */
    KL_PAIR_CA,   /* AcquireRCRT_Prk: CKA_SIGN only */
};

/* S1/S2: generates an RSA pair of 2048, 3072 or 4096 bits as private, sensitive, unextractable,
 * unmodifiable token objects labelled `label`, with one random CKA_ID for both (it cannot be a hash
 * of the key, which is not known before and cannot be changed after). KL_ERR_EXISTS if there is a
 * key of that label. *public_key: the caller frees with EVP_PKEY_free. */
enum kl_rc kl_pair_generate(struct kl_session *session, enum kl_pair_role role, const char *label,
                            unsigned bits, EVP_PKEY **public_key, struct kl_err *err) KL_MUST_CHECK;

/* Finds the pair by label; checks the private key's attributes against its role (that
 * CKA_UNWRAP_TEMPLATE binds is for the self-test to see; CKA_ALLOWED_MECHANISMS may be absent).
 * KL_ERR_KEY if there is none, several, or one with the wrong attributes (named in the text). */
enum kl_rc kl_pair_find(struct kl_session *session, enum kl_pair_role role, const char *label,
                        CK_OBJECT_HANDLE *private_key, EVP_PKEY **public_key,
                        struct kl_err *err) KL_MUST_CHECK;

/* Destroys both halves of a pair: what `key generate --replace` does first. KL_ERR_KEY if none. */
enum kl_rc kl_pair_destroy(struct kl_session *session, const char *label,
                           struct kl_err *err) KL_MUST_CHECK;

/* The storage key: AES-256, wrap and unwrap only, unextractable token object; CKA_UNWRAP_TEMPLATE
 * makes what it unwraps a sensitive session key, CKA_ALLOWED_MECHANISMS = AES key wrap. */
enum kl_rc kl_storage_key_generate(struct kl_session *session, const char *label,
                                   struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_storage_key_find(struct kl_session *session, const char *label,
                               CK_OBJECT_HANDLE *handle, struct kl_err *err) KL_MUST_CHECK;

#endif
