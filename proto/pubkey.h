/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What anybody can do with a public key: say what it is, encrypt to its owner, and verify the
 * owner's signatures. Mechanisms and their parameters are those of docs/protocol.md.
 */
#ifndef KL_PROTO_PUBKEY_H
#define KL_PROTO_PUBKEY_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"

/* Type and size of a public key; KL_ERR_CERT if it is neither RSA of 2048, 3072 or 4096 bits with
 * public exponent 65537 nor EC on P-256, P-384 or P-521, by the curve's name and with the point
 * uncompressed (RFC 5480 section 2). */
enum kl_rc kl_pubkey_type(const EVP_PKEY *key, enum kl_key_type *type, unsigned *bits,
                          struct kl_err *err) KL_MUST_CHECK;

/* SHA-256 over the DER of the SubjectPublicKeyInfo: what names a key, and a root in Hello.
 * KL_ERR_INTERNAL. */
enum kl_rc kl_pubkey_hash(const EVP_PKEY *key, uint8_t out[KL_HASH_LEN],
                          struct kl_err *err) KL_MUST_CHECK;

/* RSA-OAEP with that hash, MGF1 with the same, no label. *len is the modulus length.
 * KL_ERR_INTERNAL. */
enum kl_rc kl_rsa_oaep_encrypt(EVP_PKEY *key, enum kl_oaep_hash hash, const uint8_t *in,
                               size_t in_len, uint8_t out[KL_RSA_MAX], size_t *len,
                               struct kl_err *err) KL_MUST_CHECK;

/* The signature of a key over in. RSA: RSASSA-PSS, SHA-256, MGF1-SHA-256, a salt of exactly 32
 * bytes. EC: ECDSA with the curve's SHA-2, as r || s of exactly twice field_len bytes.
 * KL_ERR_VERIFY, also if kl_pubkey_type refuses the key. */
enum kl_rc kl_pubkey_verify(EVP_PKEY *key, const uint8_t *sig, size_t sig_len, const uint8_t *in,
                            size_t in_len, struct kl_err *err) KL_MUST_CHECK;

/*
 * A key that is used again and again: measured once, and OpenSSL's contexts for what is done with
 * it are kept. References are counted; one thread at a time.
 */
struct kl_pubkey;

/* Measures the key, of which it takes a reference of its own. KL_ERR_CERT as kl_pubkey_type;
 * KL_ERR_MEMORY. */
enum kl_rc kl_pubkey_new(EVP_PKEY *key, struct kl_pubkey **out, struct kl_err *err) KL_MUST_CHECK;
struct kl_pubkey *kl_pubkey_ref(struct kl_pubkey *key);
void kl_pubkey_free(struct kl_pubkey *key);           /* drops a reference; takes NULL */
EVP_PKEY *kl_pubkey_evp(const struct kl_pubkey *key); /* borrowed */
enum kl_key_type kl_pubkey_is(const struct kl_pubkey *key);
unsigned kl_pubkey_bits(const struct kl_pubkey *key);

/* As kl_rsa_oaep_encrypt (of an RSA key) and kl_pubkey_verify. */
enum kl_rc kl_pubkey_oaep(struct kl_pubkey *key, enum kl_oaep_hash hash, const uint8_t *in,
                          size_t in_len, uint8_t out[KL_RSA_MAX], size_t *len,
                          struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_pubkey_check(struct kl_pubkey *key, const uint8_t *sig, size_t sig_len,
                           const uint8_t *in, size_t in_len, struct kl_err *err) KL_MUST_CHECK;

/* The message inside an RSASSA-PKCS1-v1_5 signature with message recovery (block type 1, PKCS #1
 * v1.5 section 8), at most capacity bytes. KL_ERR_VERIFY: no such block, or a key that is not RSA
 * as kl_pubkey_type has it. */
enum kl_rc kl_rsa_recover(EVP_PKEY *key, const uint8_t *sig, size_t sig_len, uint8_t *out,
                          size_t capacity, size_t *len, struct kl_err *err) KL_MUST_CHECK;

/* ECDSA signatures between r || s (PKCS#11, and our wire) and DER (X.509). der holds
 * KL_ECDSA_DER_MAX bytes, raw 2 * KL_EC_FIELD_MAX. KL_ERR_VERIFY: not such a signature (r and s are
 * from 1 to the size of the field; whether they are below the curve's order shows when the
 * signature is verified). */
#define KL_ECDSA_DER_MAX 144
enum kl_rc kl_ecdsa_to_der(const struct kl_curve *curve, const uint8_t *raw, size_t raw_len,
                           uint8_t *der, size_t *der_len, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ecdsa_from_der(const struct kl_curve *curve, const uint8_t *der, size_t der_len,
                             uint8_t *raw, size_t *raw_len, struct kl_err *err) KL_MUST_CHECK;

/* Whether it is an uncompressed point that lies on that curve (and not at infinity): KL_ERR_VERIFY.
 * The curve's group is made at the first call and kept. Any thread. */
enum kl_rc kl_ec_point_check(const struct kl_curve *curve, const uint8_t *point, size_t len,
                             struct kl_err *err) KL_MUST_CHECK;

/* An EC public key from such a point, which is checked likewise. The caller frees with
 * EVP_PKEY_free. And the reverse: out holds KL_EC_POINT_MAX bytes; KL_ERR_VERIFY if kl_pubkey_type
 * does not find such a key. */
enum kl_rc kl_ec_from_point(const struct kl_curve *curve, const uint8_t *point, size_t len,
                            EVP_PKEY **out, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ec_to_point(const EVP_PKEY *key, uint8_t *out, size_t *len,
                          struct kl_err *err) KL_MUST_CHECK;

#endif
