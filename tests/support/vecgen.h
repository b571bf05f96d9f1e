/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests/tools/vectors makes the vectors of docs/protocol.md with: both sides' arithmetic by
 * OpenSSL and proto/ alone, with chosen values in place of random ones. Nothing here returns an
 * error: what fails ends the program.
 */
#ifndef KL_TESTS_SUPPORT_VECGEN_H
#define KL_TESTS_SUPPORT_VECGEN_H

#include <openssl/evp.h>
#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/alg.h"
#include "proto/message.h"
#include "proto/suite.h"

/* ---- The sets ---- */

/* What they all come from. */
struct vg {
    FILE *out;
    const char *dir;     /* tests/data */
    OSSL_LIB_CTX *fixed; /* its generator hands out what it was fed */
};

/* Every load, and every sign-in: each prints its heading and its values. */
void vg_loads(const struct vg *vg);
void vg_sign_ins(const struct vg *vg);

/* ---- This program runs to the end or not at all ---- */

void vg_need(int ok, const char *what);
void vg_need_rc(enum kl_rc rc, const struct kl_err *err);

/* ---- Files of tests/data ---- */

/* The DER in vector-NAME.pem, a certificate or a CRL; the caller frees with vg_free_der. */
struct kl_bytes vg_read_der(const struct vg *vg, const char *name);
void vg_free_der(struct kl_bytes *der);
/* The key in vector-NAME-key.pem; the caller frees with EVP_PKEY_free. */
EVP_PKEY *vg_read_key(const struct vg *vg, const char *name);

/* ---- Values ---- */

/* Byte i of a "random" value is `first` + i. */
void vg_choose(uint8_t first, uint8_t *out, size_t len);
/* A number below the order of any of our curves, as long as the curve's field. */
void vg_choose_scalar(uint8_t first, const struct kl_curve *curve, uint8_t out[KL_EC_FIELD_MAX]);
/* Hex of exactly len bytes. */
void vg_hex(const char *hex, uint8_t *out, size_t len);

void vg_print(FILE *out, const char *name, const void *value, size_t len);
/* The same under the name prefix || name. */
void vg_print_named(FILE *out, const char *prefix, const char *name, const void *value, size_t len);
void vg_print_heading(FILE *out, const char *name, const char *title, const char *serial,
                      const char *pinpad_serial);
void vg_print_end(FILE *out);
/* Encodes and prints a message; der holds KL_MSG_MAX bytes. */
size_t vg_print_message(FILE *out, const char *name, const struct kl_msg *msg, uint8_t *der);

/* ---- Arithmetic ---- */

void vg_sha256(const struct kl_bytes *parts, size_t count, uint8_t out[KL_HASH_LEN]);
/* One pass of a cipher without padding; the number of bytes that come out. */
size_t vg_cipher(const EVP_CIPHER *type, const uint8_t *key, const uint8_t *in, size_t in_len,
                 uint8_t *out);
/* A key or block under another key: AES key wrap under AES, ECB under TDES. */
size_t vg_under(const struct kl_alg_info *info, const uint8_t *key, const uint8_t *in,
                size_t in_len, uint8_t *out);
/* TDES-ECB, of whole blocks. */
void vg_decipher_tdes(const struct kl_alg_info *info, const uint8_t *key, const uint8_t *in,
                      size_t len, uint8_t *out);
/* AES-256-GCM of Rnd2, the tag at the end. */
void vg_gcm(const uint8_t *key, const uint8_t *iv, const uint8_t *aad, const uint8_t *in,
            uint8_t *out);
void vg_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len,
             uint8_t out[KL_MAC_LEN]);
/* The whole block of which the KCV is the beginning. */
void vg_kcv(const struct kl_alg_info *info, const uint8_t *key, uint8_t out[KL_MAC_LEN]);
/* The key of that purpose, printed after its label, from an AES key of base_len bytes. */
void vg_derive(FILE *out, enum kl_purpose purpose, const uint8_t *base, size_t base_len,
               const uint8_t t0[KL_HASH_LEN], uint8_t key[KL_HASH_LEN]);

/* Loaded, whose MAC this fills in, and Done, each with what its MAC covers. */
void vg_print_loaded(FILE *out, const uint8_t k_ack[KL_HASH_LEN], const uint8_t t2[KL_HASH_LEN],
                     struct kl_loaded *loaded);
void vg_print_done(FILE *out, const char *name, const uint8_t k_done[KL_HASH_LEN],
                   const uint8_t t2[KL_HASH_LEN], enum kl_verdict verdict, uint32_t version);

/* RSA; the seed or salt is what is random in it. The length of the modulus. */
size_t vg_oaep(const struct vg *vg, EVP_PKEY *key, enum kl_oaep_hash hash, const uint8_t *seed,
               size_t seed_len, const uint8_t *in, size_t in_len, uint8_t out[KL_RSA_MAX]);
size_t vg_pss(const struct vg *vg, EVP_PKEY *key, const uint8_t salt[KL_HASH_LEN],
              const uint8_t *in, size_t in_len, uint8_t out[KL_RSA_MAX]);
/* The private-key operation on a block of PKCS #1 v1.5, type 1, around in. */
size_t vg_rsa_pkcs1(const struct vg *vg, EVP_PKEY *key, const uint8_t *in, size_t in_len,
                    uint8_t out[KL_RSA_MAX]);

/* The curve of an EC key. */
const struct kl_curve *vg_curve(const EVP_PKEY *key);
/* scalar * base, uncompressed; base NULL: the curve's generator. */
size_t vg_point(const struct kl_curve *curve, const uint8_t *scalar, const EVP_PKEY *base,
                uint8_t out[KL_EC_POINT_MAX]);
/* ECDSA (FIPS 186-5, 6.4.1) with that k, as r || s. */
size_t vg_ecdsa(const EVP_PKEY *key, const uint8_t *k, const uint8_t *in, size_t in_len,
                uint8_t out[KL_SIG_MAX]);

#endif
