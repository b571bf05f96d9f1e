/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The operations that suites are made of, each one PKCS#11 call or a few. Key objects are named
 * by handle; those made here are session objects unless said otherwise, sensitive, and carry
 * exactly one use (enum kl_key_use), with every usage flag named in the template.
 *
 * Outputs are written only on success: a handle that a module leaves behind as it fails may be
 * another object's. Secrets and random bytes alone (kl_op_random, kl_op_decrypt_oaep,
 * kl_op_decrypt_tdes) go straight to the caller's memory, which may then be half written.
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
#include "proto/secret.h"
#include "proto/suite.h"

/* The one thing a secret key may do. */
enum kl_key_use {
    KL_USE_DERIVE,  /* Rnd1, the ECDH secret, a session key */
    KL_USE_WRAP,    /* the loader's K_wrap, the terminal's K_ecies; a TMK at a sign-in */
    KL_USE_UNWRAP,  /* the terminal's K_wrap, the loader's K_ecies; a TMK in the PIN pad, and a TDES
                       one in the loader, of a session key */
    KL_USE_ENCRYPT, /* the terminal's K_nonce; a TDES TMK at a sign-in where the host helps */
    KL_USE_DECRYPT, /* the loader's K_nonce; a TDES TMK for the session key where the host helps */
    KL_USE_MAC,     /* K_ack, K_done, K_keys: C_Sign only */
    KL_USE_KCV,     /* a key that is about to be wrapped: encrypt (TDES) or sign (AES) */
};

/* That use as KL_CAN_ bits of pkcs11/tmpl.h. For the other files of this room. */
unsigned kl_op_can(enum kl_key_use use, int is_aes);

/* CKK_DES2, CKK_DES3 or CKK_AES. For the other files of this room. */
CK_KEY_TYPE kl_op_key_type(enum kl_alg alg);

/* C_DestroyObject; failure is ignored, as the session's end destroys it too. 0 is ignored. */
void kl_op_destroy(struct kl_session *session, CK_OBJECT_HANDLE *handle);

/* Random bytes from the token. */
enum kl_rc kl_op_random(struct kl_session *session, uint8_t *out, size_t len,
                        struct kl_err *err) KL_MUST_CHECK;

/* A fresh AES key of 16, 24 or 32 bytes that only derives, extractable, as it is about to be
 * wrapped: Rnd1 in a PIN pad (32), the session key under an AES TMK in the loader (24 or 16). */
enum kl_rc kl_op_generate_base(struct kl_session *session, size_t len, CK_OBJECT_HANDLE *out,
                               struct kl_err *err) KL_MUST_CHECK;
/* Of KL_RND1_LEN bytes. */
enum kl_rc kl_op_generate_rnd1(struct kl_session *session, CK_OBJECT_HANDLE *rnd1,
                               struct kl_err *err) KL_MUST_CHECK;

/* S5 inside a PIN pad: Rnd1 wrapped by RSA-OAEP under a public key that is imported as a session
 * object. out gets the modulus length. */
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

/* The same by AES key wrap, of a key of key_len bytes: Rnd1' under K_ecies in hardened-ec, and a
 * session key under an AES TMK. */
enum kl_rc kl_op_unwrap_base(struct kl_session *session, CK_OBJECT_HANDLE unwrapping_key,
                             size_t key_len, const uint8_t *wrapped, size_t len,
                             CK_OBJECT_HANDLE *out, struct kl_err *err) KL_MUST_CHECK;

/* The session key under a TDES TMK, inside the token: C_UnwrapKey(CKM_DES3_ECB), AES-128. */
enum kl_rc kl_op_unwrap_base_tdes(struct kl_session *session, CK_OBJECT_HANDLE unwrapping_key,
                                  const uint8_t wrapped[KL_SESSION_INPUT_LEN],
                                  CK_OBJECT_HANDLE *out, struct kl_err *err) KL_MUST_CHECK;

/* classic's S6: RSA-OAEP by C_Decrypt into *out, which has room for KL_RSA_MAX bytes and gets
 * exactly want_len. Whatever is wrong with the peer's bytes, the block or the length of what is in
 * it, is one and the same KL_ERR_VERIFY. */
enum kl_rc kl_op_decrypt_oaep(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                              enum kl_oaep_hash hash, const uint8_t *in, size_t len,
                              size_t want_len, struct kl_secret *out,
                              struct kl_err *err) KL_MUST_CHECK;

/* How a token takes the other side's point in CKM_ECDH1_DERIVE: PKCS#11 v2.40, 2.3.11, allows
 * both; what a token does with each, the self-test learns. */
enum kl_point_form {
    KL_POINT_RAW, /* 04 || X || Y */
    KL_POINT_DER, /* the same in an OCTET STRING */
};

/* CKM_ECDH1_DERIVE with CKD_NULL: the trailing KL_ECDH_LEN bytes of the shared X coordinate as an
 * AES-256 key that only derives. The point is checked to lie on the curve before it reaches the
 * module: KL_ERR_VERIFY. */
enum kl_rc kl_op_ecdh(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                      const struct kl_curve *curve, enum kl_point_form form, const uint8_t *point,
                      size_t point_len, CK_OBJECT_HANDLE *out, struct kl_err *err) KL_MUST_CHECK;

/* An ephemeral pair on that curve, two session objects; the private key only derives. point holds
 * KL_EC_POINT_MAX bytes: the public key, uncompressed. The caller destroys the private key; the
 * public one is gone already. */
enum kl_rc kl_op_generate_ephemeral(struct kl_session *session, const struct kl_curve *curve,
                                    CK_OBJECT_HANDLE *private_key, uint8_t *point,
                                    size_t *point_len, struct kl_err *err) KL_MUST_CHECK;

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

/* S7: a fresh TMK (or PIK, or MAK) as an extractable session key with KL_USE_KCV, to be wrapped and
 * destroyed. */
enum kl_rc kl_op_generate_tmk(struct kl_session *session, enum kl_alg alg, CK_OBJECT_HANDLE *out,
                              struct kl_err *err) KL_MUST_CHECK;

/* RFC 3394 AES key wrap (CKM_AES_KEY_WRAP). *len is key length + 8. */
enum kl_rc kl_op_wrap(struct kl_session *session, CK_OBJECT_HANDLE wrapping_key,
                      CK_OBJECT_HANDLE key, uint8_t out[KL_CTMK_LEN_MAX], size_t *len,
                      struct kl_err *err) KL_MUST_CHECK;

/* Its reverse: a TMK as an unextractable session object, for KL_USE_KCV, KL_USE_UNWRAP or
 * KL_USE_DECRYPT. */
enum kl_rc kl_op_unwrap_tmk(struct kl_session *session, CK_OBJECT_HANDLE unwrapping_key,
                            enum kl_alg alg, const uint8_t *wrapped, size_t len,
                            enum kl_key_use use, CK_OBJECT_HANDLE *out,
                            struct kl_err *err) KL_MUST_CHECK;

/* A TMK out of the store, by the storage key, as a session key. KL_USE_KCV: extractable, to be
 * wrapped under another key; KL_USE_WRAP, KL_USE_ENCRYPT: to have working keys put under it. What
 * is wrong with the cryptogram is KL_ERR_STORE: it is no peer's. */
enum kl_rc kl_op_unwrap_stored(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                               enum kl_alg alg, const uint8_t *wrapped, size_t len,
                               enum kl_key_use use, CK_OBJECT_HANDLE *out,
                               struct kl_err *err) KL_MUST_CHECK;

/* A key whose value stands in host memory, as a session key of that use; extractable only with
 * KL_USE_KCV. value, which lies inside a struct kl_secret, has the algorithm's length. */
enum kl_rc kl_op_import_value(struct kl_session *session, enum kl_alg alg, const uint8_t *value,
                              enum kl_key_use use, CK_OBJECT_HANDLE *out,
                              struct kl_err *err) KL_MUST_CHECK;

/* A key under a TDES TMK, ECB, no padding: by C_WrapKey inside the token, where it does that; or by
 * C_Encrypt of len bytes (a multiple of 8, at most KL_TMK_LEN_MAX) that are in host memory. */
enum kl_rc kl_op_wrap_tdes(struct kl_session *session, CK_OBJECT_HANDLE tmk, CK_OBJECT_HANDLE key,
                           uint8_t out[KL_CTMK_LEN_MAX], size_t *len,
                           struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_op_encrypt_tdes(struct kl_session *session, CK_OBJECT_HANDLE tmk, const uint8_t *in,
                              size_t len, uint8_t *out, struct kl_err *err) KL_MUST_CHECK;
/* C_Decrypt, the reverse of that; out lies inside a struct kl_secret. */
enum kl_rc kl_op_decrypt_tdes(struct kl_session *session, CK_OBJECT_HANDLE tmk, const uint8_t *in,
                              size_t len, uint8_t *out, struct kl_err *err) KL_MUST_CHECK;

/* The KCV of a key that has KL_USE_KCV, by its algorithm's method; kcv_len 3 or 4. */
enum kl_rc kl_op_kcv(struct kl_session *session, CK_OBJECT_HANDLE key, enum kl_alg alg,
                     size_t kcv_len, uint8_t *kcv, struct kl_err *err) KL_MUST_CHECK;

/* AES-CMAC, 16 bytes. */
enum kl_rc kl_op_cmac(struct kl_session *session, CK_OBJECT_HANDLE key, const uint8_t *in,
                      size_t len, uint8_t mac[KL_MAC_LEN], struct kl_err *err) KL_MUST_CHECK;

/* C_Sign; name is what error texts call it. For the other files of this room. */
enum kl_rc kl_op_sign(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                      CK_MECHANISM *mechanism, const char *name, const uint8_t *in, size_t in_len,
                      uint8_t *out, size_t capacity, size_t *len, struct kl_err *err) KL_MUST_CHECK;

/* RSASSA-PSS, SHA-256, MGF1-SHA-256, 32-byte salt. *len is the modulus length. */
enum kl_rc kl_op_sign_pss(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                          const uint8_t *in, size_t in_len, uint8_t *out, size_t capacity,
                          size_t *len, struct kl_err *err) KL_MUST_CHECK;
/* classic's S7: RSASSA-PKCS1-v1_5 with message recovery (CKM_RSA_PKCS) over in itself. */
enum kl_rc kl_op_sign_recover(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                              const uint8_t *in, size_t in_len, uint8_t *out, size_t capacity,
                              size_t *len, struct kl_err *err) KL_MUST_CHECK;
/* ECDSA (CKM_ECDSA over the curve's SHA-2, computed here), r || s. *len is twice field_len. */
enum kl_rc kl_op_sign_ecdsa(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                            const struct kl_curve *curve, const uint8_t *in, size_t in_len,
                            uint8_t *out, size_t capacity, size_t *len,
                            struct kl_err *err) KL_MUST_CHECK;
/* RSASSA-PKCS1-v1_5, SHA-256: X.509 signatures of a CA key. */
enum kl_rc kl_op_sign_pkcs1(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                            const uint8_t *in, size_t in_len, uint8_t *out, size_t capacity,
                            size_t *len, struct kl_err *err) KL_MUST_CHECK;

#endif
