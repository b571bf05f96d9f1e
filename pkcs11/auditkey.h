/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit key: a pair in the HSM (KL_PAIR_AUDIT) that signs nothing but checkpoints of the audit
 * trail. What is signed is the caller's; signatures are as kl_pubkey_verify takes them.
 */
#ifndef KL_PKCS11_AUDITKEY_H
#define KL_PKCS11_AUDITKEY_H

#include <openssl/evp.h>
#include <stdint.h>

#include "pkcs11/token.h"
#include "proto/err.h"
#include "proto/message.h"

#define KL_AUDIT_SIGNATURE_MAX 512 /* bytes: RSA-4096 */

/* Makes it on P-256, or where the token has no EC as RSA-3072. KL_ERR_EXISTS. The caller frees
 * *public_key. */
enum kl_rc kl_audit_key_generate(struct kl_session *session, const char *label,
                                 EVP_PKEY **public_key, struct kl_err *err) KL_MUST_CHECK;

struct kl_audit_key; /* borrows the session */
/* KL_ERR_KEY if there is none, or one with the wrong attributes. */
enum kl_rc kl_audit_key_open(struct kl_session *session, const char *label,
                             struct kl_audit_key **out, struct kl_err *err) KL_MUST_CHECK;
void kl_audit_key_close(struct kl_audit_key *key);                /* takes NULL */
EVP_PKEY *kl_audit_key_public(const struct kl_audit_key *key);    /* borrowed */
const uint8_t *kl_audit_key_hash(const struct kl_audit_key *key); /* KL_HASH_LEN: kl_pubkey_hash */

enum kl_rc kl_audit_key_sign(const struct kl_audit_key *key, const uint8_t *in, size_t in_len,
                             uint8_t out[KL_AUDIT_SIGNATURE_MAX], size_t *len,
                             struct kl_err *err) KL_MUST_CHECK;

#endif
