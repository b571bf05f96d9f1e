/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TMKs into the HSM and out of it, under keys shared with others: a transport key pair or a zone
 * key, a zone key or a host's certificate. On its way a TMK is a sensitive session key; its value
 * never is in host memory, but where custodians type it in components. Each crossing checks the
 * strength of the carrying key (kl_alg_strength), the TMK's length and its KCV.
 *
 * TDES parity: nothing here can see the parity bits of a key that comes wrapped, nor whether two
 * parts of it are equal; only the token could, and few look. The KCV does not depend on them.
 */
#ifndef KL_PKCS11_IMPORT_H
#define KL_PKCS11_IMPORT_H

#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11/keys.h"
#include "pkcs11/loader.h"
#include "pkcs11/token.h"
#include "proto/alg.h"
#include "proto/err.h"
#include "proto/message.h"
#include "proto/secret.h"

/* How a zone key wraps. Equal lengths, as every TMK's is a multiple of 8. */
enum kl_wrap {
    KL_WRAP_KW,  /* RFC 3394, CKM_AES_KEY_WRAP */
    KL_WRAP_KWP, /* RFC 5649, CKM_AES_KEY_WRAP_PAD */
};
#define KL_WRAPPED_MAX KL_RSA_MAX /* bytes of a TMK under any carrier */

/* A key that carries TMKs in one direction. */
struct kl_carrier {
    CK_OBJECT_HANDLE handle; /* of a certificate's key: a session object */
    enum kl_key_type type;   /* KL_KEY_RSA: by OAEP; KL_KEY_AES: by wrap */
    unsigned bits;
    enum kl_oaep_hash oaep_hash;
    enum kl_wrap wrap;
    int outward; /* 0: TMKs come in under it; 1: they go out */
};

/* A transport key pair in the token. What the token can do of OAEP, is tried: the hash is the
 * strongest that it gets right, and what the other side has to use. */
enum kl_rc kl_carrier_transport(struct kl_session *session, const char *label,
                                struct kl_carrier *out, struct kl_err *err) KL_MUST_CHECK;

/* A zone key of that direction. KWP is proven first, against OpenSSL and with session keys, since
 * what modules mean by CKM_AES_KEY_WRAP_PAD differs: KL_ERR_HSM_LACKS. */
enum kl_rc kl_carrier_zmk(struct kl_session *session, enum kl_zmk_use use, const char *label,
                          enum kl_wrap wrap, struct kl_carrier *out,
                          struct kl_err *err) KL_MUST_CHECK;

/* A host's public RSA key, for export; the hash as above. kl_carrier_end when done. */
enum kl_rc kl_carrier_host(struct kl_session *session, const EVP_PKEY *key, struct kl_carrier *out,
                           struct kl_err *err) KL_MUST_CHECK;
void kl_carrier_end(struct kl_session *session, struct kl_carrier *carrier);

/* ---- In ---- */

/* A TMK from under an inward carrier, as an extractable session key with KL_USE_KCV.
 * KL_ERR_STRENGTH (if enforce); KL_ERR_INPUT: the cryptogram has not the length that it must have;
 * KL_ERR_VERIFY: it is not good, or made for another key. The caller destroys *tmk. */
enum kl_rc kl_tmk_unwrap(struct kl_session *session, const struct kl_carrier *carrier, int enforce,
                         enum kl_alg alg, const uint8_t *cryptogram, size_t len,
                         CK_OBJECT_HANDLE *tmk, struct kl_err *err) KL_MUST_CHECK;

/* Such a key into the store's form: its length must be the algorithm's (KL_ERR_INPUT), its KCV the
 * one that was told (KL_ERR_VERIFY; compared in constant time; kcv_len 3 or 4). out->kcv has
 * out_kcv_len bytes, 3 or 4. */
enum kl_rc kl_tmk_take(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                       CK_OBJECT_HANDLE tmk, enum kl_alg alg, const uint8_t *kcv, size_t kcv_len,
                       size_t out_kcv_len, struct kl_stored_key *out,
                       struct kl_err *err) KL_MUST_CHECK;

/* Both, for a key whose value custodians have typed (kl_ceremony_components). */
enum kl_rc kl_tmk_take_value(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                             enum kl_alg alg, struct kl_secret *value, const uint8_t *kcv,
                             size_t kcv_len, size_t out_kcv_len, struct kl_stored_key *out,
                             struct kl_err *err) KL_MUST_CHECK;

/* ---- Out ---- */

/* A stored key (a TMK, PIK or MAK) under an outward carrier. KL_ERR_STRENGTH (if enforce);
 * KL_ERR_STORE: the cryptogram is not the storage key's, or its KCV is another than the store says:
 * damaged or swapped. */
enum kl_rc kl_tmk_export(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                         const struct kl_carrier *carrier, int enforce,
                         const struct kl_stored_key *key, uint8_t out[KL_WRAPPED_MAX], size_t *len,
                         struct kl_err *err) KL_MUST_CHECK;

#endif
