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
#include "proto/alg.h"
#include "proto/err.h"
#include "proto/suite.h"

/* Which of our key pairs this is: decides the template. */
enum kl_pair_role {
    KL_PAIR_WORK,         /* AcquireWCRT_Prk of hardened-rsa: CKA_UNWRAP and CKA_SIGN only,
                             CKA_UNWRAP_TEMPLATE, CKA_ALLOWED_MECHANISMS = RSA-OAEP and
                             RSA-PSS-SHA-256 */
    KL_PAIR_WORK_CLASSIC, /* of classic: RSA, CKA_DECRYPT and CKA_SIGN only; RSA-OAEP, RSA-PKCS and
                             SHA256-RSA-PKCS */
    KL_PAIR_WORK_EC,   /* of hardened-ec: EC, CKA_DERIVE and CKA_SIGN only; ECDH1-DERIVE, ECDSA */
    KL_PAIR_CA,        /* AcquireRCRT_Prk: RSA or EC, CKA_SIGN only */
    KL_PAIR_TRANSPORT, /* unwraps TMKs that come under its public half: RSA, CKA_UNWRAP only,
                          CKA_UNWRAP_TEMPLATE = kl_tmk_demands; RSA-OAEP */
    KL_PAIR_DEVICE,    /* a terminal's device key: RSA or EC, CKA_SIGN only; RSA-PSS-SHA-256 or
                          ECDSA */
    KL_PAIR_AUDIT,     /* signs checkpoints of the audit trail: EC or RSA, CKA_SIGN only; as a
                          device key */
};
/* The role of a suite's work key, and the reverse. */
enum kl_pair_role kl_pair_role_of(enum kl_suite suite);

/* S1/S2: generates a pair of that type and size (RSA of 2048, 3072 or 4096 bits, EC on P-256,
 * P-384 or P-521) as private, sensitive, unextractable,
 * unmodifiable token objects labelled `label`, with one random CKA_ID for both (it cannot be a hash
 * of the key, which is not known before and cannot be changed after). KL_ERR_EXISTS if there is a
 * key of that label. *public_key: the caller frees with EVP_PKEY_free. */
enum kl_rc kl_pair_generate(struct kl_session *session, enum kl_pair_role role, const char *label,
                            enum kl_key_type type, unsigned bits, EVP_PKEY **public_key,
                            struct kl_err *err) KL_MUST_CHECK;

/* S1 "or imports": the same from a private key that is in host memory already, as the same token
 * objects with the same attributes (but CKA_LOCAL, CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE,
 * which are false: it has been outside). Key type and size must be the role's; the private key is
 * checked to be a pair with its public half. KL_ERR_EXISTS also if the token holds that key under
 * another label. */
enum kl_rc kl_pair_import(struct kl_session *session, enum kl_pair_role role, const char *label,
                          EVP_PKEY *private_key, struct kl_err *err) KL_MUST_CHECK;

/* Finds the pair by label; checks the private key's attributes against its role (that
 * CKA_UNWRAP_TEMPLATE binds is for the self-test to see; CKA_ALLOWED_MECHANISMS may be absent).
 * KL_ERR_KEY if there is none, several, or one with the wrong attributes (named in the text). */
enum kl_rc kl_pair_find(struct kl_session *session, enum kl_pair_role role, const char *label,
                        CK_OBJECT_HANDLE *private_key, EVP_PKEY **public_key,
                        struct kl_err *err) KL_MUST_CHECK;

/* The same for a work key of whichever suite: what it may do says which. */
enum kl_rc kl_pair_find_work(struct kl_session *session, const char *label, enum kl_suite *suite,
                             CK_OBJECT_HANDLE *private_key, EVP_PKEY **public_key,
                             struct kl_err *err) KL_MUST_CHECK;

/* Destroys both halves of a pair: what `key generate --replace` does first. KL_ERR_KEY if none. */
enum kl_rc kl_pair_destroy(struct kl_session *session, const char *label,
                           struct kl_err *err) KL_MUST_CHECK;

/* Destroys one token object, which a find above has found. */
enum kl_rc kl_key_destroy(struct kl_session *session, CK_OBJECT_HANDLE key, const char *label,
                          struct kl_err *err) KL_MUST_CHECK;

/* 1 if the token holds CKA_ALLOWED_MECHANISMS of that key; 0: its usage flags alone bound its use.
 * (Whether they bind, the self-test and `hsm check` try.) */
int kl_key_names_mechanisms(struct kl_session *session, CK_OBJECT_HANDLE key);

/* The storage key: AES-256, wrap and unwrap only, unextractable token object; CKA_UNWRAP_TEMPLATE
 * makes what it unwraps a sensitive session key, CKA_ALLOWED_MECHANISMS = AES key wrap. */
enum kl_rc kl_storage_key_generate(struct kl_session *session, const char *label,
                                   struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_storage_key_find(struct kl_session *session, const char *label,
                               CK_OBJECT_HANDLE *handle, struct kl_err *err) KL_MUST_CHECK;

/* The binding key (pkcs11/binding.h): AES-256, MACs only (CKA_SIGN), unextractable token object;
 * CKA_ALLOWED_MECHANISMS = AES-CMAC. */
enum kl_rc kl_binding_key_generate(struct kl_session *session, const char *label,
                                   struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_binding_key_find(struct kl_session *session, const char *label,
                               CK_OBJECT_HANDLE *handle, struct kl_err *err) KL_MUST_CHECK;

/* A zone key (ZMK), shared with another party, works in one direction: TMKs come in under one
 * (CKA_UNWRAP only, CKA_UNWRAP_TEMPLATE = kl_tmk_demands) or go out under one (CKA_WRAP only).
 * AES of 128, 192 or 256 bits, unextractable token object; CKA_ALLOWED_MECHANISMS = AES key wrap
 * without and with padding. */
enum kl_zmk_use { KL_ZMK_IMPORT, KL_ZMK_EXPORT };
/* From its value (the components' sum), key_len bytes. KL_ERR_EXISTS. */
enum kl_rc kl_zmk_create(struct kl_session *session, enum kl_zmk_use use, const char *label,
                         struct kl_secret *value, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_zmk_find(struct kl_session *session, enum kl_zmk_use use, const char *label,
                       CK_OBJECT_HANDLE *handle, unsigned *bits, struct kl_err *err) KL_MUST_CHECK;

#endif
