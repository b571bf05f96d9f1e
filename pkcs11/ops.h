/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The operations that suites are made of, each one PKCS#11 call or a few. Key objects are named
 * by handle; those made here are session objects unless said otherwise, sensitive, and carry
 * exactly one use (enum kl_key_use), with every usage flag named in the template.
 */
#ifndef KL_PKCS11_OPS_H
#define KL_PKCS11_OPS_H

#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11/token.h"
#include "proto/alg.h"
#include "proto/err.h"
#include "proto/message.h"
#include "proto/suite.h"

/* The one thing a secret key may do. */
enum kl_key_use {
    KL_USE_DERIVE,  /* Rnd1 */
    KL_USE_WRAP,    /* the loader's K_wrap */
    KL_USE_UNWRAP,  /* the terminal's K_wrap; a TMK in the PIN pad */
    KL_USE_ENCRYPT, /* the terminal's K_nonce */
    KL_USE_DECRYPT, /* the loader's K_nonce */
    KL_USE_MAC,     /* K_ack, K_done: C_Sign only */
    KL_USE_KCV,     /* a TMK that is about to be wrapped: encrypt (TDES) or sign (AES) */
};

/* C_DestroyObject; failure is ignored, as the session's end destroys it too. 0 is ignored. */
void kl_op_destroy(struct kl_session *session, CK_OBJECT_HANDLE *handle);

/* Random bytes from the token. */
enum kl_rc kl_op_random(struct kl_session *session, uint8_t *out, size_t len,
                        struct kl_err *err) KL_MUST_CHECK;

/* A fresh AES-256 Rnd1 (derive-only), wrapped by RSA-OAEP under a public key that is imported as
 * a session object: S5 inside a PIN pad. c_rnd1 gets the modulus length. */
enum kl_rc kl_op_generate_rnd1(struct kl_session *session, CK_OBJECT_HANDLE *rnd1,
                               struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_op_import_rsa_public(struct kl_session *session, const EVP_PKEY *key,
                                   CK_OBJECT_HANDLE *handle, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_op_wrap_oaep(struct kl_session *session, CK_OBJECT_HANDLE public_key,
                           CK_OBJECT_HANDLE key, enum kl_oaep_hash hash, uint8_t *out,
                           size_t capacity, size_t *len, struct kl_err *err) KL_MUST_CHECK;

/* For the other files of this room: OAEP with that hash, MGF1 with the same, no label. */
CK_RSA_PKCS_OAEP_PARAMS kl_op_oaep_params(enum kl_oaep_hash hash);

/* S6: C_UnwrapKey of Rnd1' straight into a derive-only AES-256 session key. What the peer's
 * bytes may have caused is KL_ERR_VERIFY. */
enum kl_rc kl_op_unwrap_rnd1(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                             enum kl_oaep_hash hash, const uint8_t *c_rnd1, size_t len,
                             CK_OBJECT_HANDLE *rnd1, struct kl_err *err) KL_MUST_CHECK;

/* CKM_AES_ECB_ENCRYPT_DATA over a label: an AES-256 key with one use. */
enum kl_rc kl_op_derive(struct kl_session *session, CK_OBJECT_HANDLE base,
                        const uint8_t label[KL_HASH_LEN], enum kl_key_use use,
                        CK_OBJECT_HANDLE *out, struct kl_err *err) KL_MUST_CHECK;

/* AES-256-GCM, 96-bit iv, 128-bit tag at the end; aad must not be empty. */
enum kl_rc kl_op_gcm_encrypt(struct kl_session *session, CK_OBJECT_HANDLE key,
                             const uint8_t iv[KL_GCM_IV_LEN], const uint8_t *aad, size_t aad_len,
                             const uint8_t *in, size_t in_len, uint8_t *out, /* in_len + 16 */
                             struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_op_gcm_decrypt(struct kl_session *session, CK_OBJECT_HANDLE key,
                             const uint8_t iv[KL_GCM_IV_LEN], const uint8_t *aad, size_t aad_len,
                             const uint8_t *in, size_t in_len, uint8_t *out, /* in_len - 16 */
                             struct kl_err *err) KL_MUST_CHECK;

/* S7: a fresh TMK as an extractable session key with KL_USE_KCV, to be wrapped and destroyed. */
enum kl_rc kl_op_generate_tmk(struct kl_session *session, enum kl_alg alg, CK_OBJECT_HANDLE *out,
                              struct kl_err *err) KL_MUST_CHECK;

/* RFC 3394 AES key wrap (CKM_AES_KEY_WRAP). *len is key length + 8. */
enum kl_rc kl_op_wrap(struct kl_session *session, CK_OBJECT_HANDLE wrapping_key,
                      CK_OBJECT_HANDLE key, uint8_t out[KL_CTMK_LEN_MAX], size_t *len,
                      struct kl_err *err) KL_MUST_CHECK;

/* Its reverse: a TMK with KL_USE_KCV (session object) or KL_USE_UNWRAP. label NULL: a session
 * object; else a private, unextractable token object of that CKA_LABEL and CKA_ID (4 bytes, the
 * version, big-endian). */
enum kl_rc kl_op_unwrap_tmk(struct kl_session *session, CK_OBJECT_HANDLE unwrapping_key,
                            enum kl_alg alg, const uint8_t *wrapped, size_t len,
                            enum kl_key_use use, const char *label, uint32_t version,
                            CK_OBJECT_HANDLE *out, struct kl_err *err) KL_MUST_CHECK;

/* The KCV of a key that has KL_USE_KCV, by its algorithm's method; kcv_len 3 or 4. */
enum kl_rc kl_op_kcv(struct kl_session *session, CK_OBJECT_HANDLE key, enum kl_alg alg,
                     size_t kcv_len, uint8_t *kcv, struct kl_err *err) KL_MUST_CHECK;

/* AES-CMAC, 16 bytes. */
enum kl_rc kl_op_cmac(struct kl_session *session, CK_OBJECT_HANDLE key, const uint8_t *in,
                      size_t len, uint8_t mac[KL_MAC_LEN], struct kl_err *err) KL_MUST_CHECK;

/* RSASSA-PSS, SHA-256, MGF1-SHA-256, 32-byte salt. *len is the modulus length. */
enum kl_rc kl_op_sign_pss(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                          const uint8_t *in, size_t in_len, uint8_t *out, size_t capacity,
                          size_t *len, struct kl_err *err) KL_MUST_CHECK;
/* RSASSA-PKCS1-v1_5, SHA-256: X.509 signatures of a CA key. */
enum kl_rc kl_op_sign_pkcs1(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                            const uint8_t *in, size_t in_len, uint8_t *out, size_t capacity,
                            size_t *len, struct kl_err *err) KL_MUST_CHECK;

#endif
