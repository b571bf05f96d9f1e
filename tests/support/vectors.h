/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vectors of docs/protocol.md, read out of the document as a stranger would, and the arithmetic
 * of that document over OpenSSL. It shares nothing with the program that makes the vectors. What
 * goes wrong here fails the test.
 */
#ifndef KL_TESTS_SUPPORT_VECTORS_H
#define KL_TESTS_SUPPORT_VECTORS_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/alg.h"
#include "proto/message.h"

#define VEC_VALUE_MAX 1536
#define VEC_SET_MAX 48
#define VEC_ROOTS 2
#define VEC_LOADS 6
#define VEC_SIGN_INS 3
#define VEC_SETS (VEC_ROOTS + VEC_LOADS + VEC_SIGN_INS)

struct vec_value {
    char name[24];
    size_t len;
    uint8_t data[VEC_VALUE_MAX];
};

/* What stands under one "### name" of the document. */
struct vec_set {
    char name[24];
    size_t count;
    struct vec_value values[VEC_SET_MAX];
};

/* In order of the document, in one array: the roots, the loads, the sign-ins. */
extern struct vec_set vec_sets[VEC_SETS];
#define vec_roots vec_sets
#define vec_loads (vec_sets + VEC_ROOTS)
#define vec_sign_ins (vec_sets + VEC_ROOTS + VEC_LOADS)

extern EVP_PKEY *vec_keys[VEC_LOADS]; /* AcquireWCRT_Prk of each load */
extern EVP_PKEY *vec_device;          /* the device key */

/* What each load must be about. */
struct vec_expected {
    const char *name;
    enum kl_suite suite;
    enum kl_alg alg;
    uint32_t version;
    enum kl_oaep_hash oaep_hash;
    const char *key; /* file in tests/data */
    int root;        /* index in vec_roots */
    int has_crl, has_proof;
};
extern const struct vec_expected vec_expected[VEC_LOADS];

/* What each sign-in must be about. */
struct vec_expected_sign_in {
    const char *name;
    int load; /* after which it comes: index in vec_loads */
    enum kl_key_format format;
};
extern const struct vec_expected_sign_in vec_expected_sign_ins[VEC_SIGN_INS];

/* A fixture: reads all of the above. */
void vec_setup(void);
void vec_teardown(void);

/* A file of the source tree; static storage. */
const char *vec_in_tree(const char *path);

struct vec_value *vec_get(struct vec_set *set, const char *name);
struct kl_bytes vec_bytes(struct vec_set *set, const char *name);
/* 1 if the value of that name is these bytes. */
int vec_is(struct vec_set *set, const char *name, const void *data, size_t len);
/* 1 if the value of that name is a message; slices of the result point into set. */
int vec_decode(struct vec_set *set, const char *name, struct kl_msg *out);
/* 1 if it is one of that type that encodes to the same bytes again. */
int vec_coding(struct vec_set *set, const char *name, enum kl_msg_type type);

/* What must hold of the i-th load or sign-in; 1 if it does. A table is ended by NULL, the cheap
 * ones first: a flipped byte is to be found 20,000 times. */
typedef int (*vec_check)(struct vec_set *set, int i);
/* All of them must hold. */
void vec_all_hold(struct vec_set *set, int i, const vec_check *checks);
/* With each byte of each value changed in turn, one of them must not; all must in the end. */
void vec_every_byte_counts(struct vec_set *set, int i, const vec_check *checks);

/* ---- Cryptography, by the document ---- */

/* A hash over parts one after another. */
void vec_digest(const EVP_MD *md, const struct kl_bytes *parts, size_t count, uint8_t *out);
void vec_cmac(struct kl_bytes key, struct kl_bytes in, uint8_t out[16]);
/* One pass of a cipher without padding, either way; how many bytes come out, 0 if it says no. */
size_t vec_pass(const char *name, int encrypt, const uint8_t *key, struct kl_bytes in,
                uint8_t *out);
/* A key out of another one: AES key wrap under AES, ECB under TDES. */
size_t vec_open(enum kl_alg alg, const uint8_t *key, struct kl_bytes in, uint8_t *out);
/* The whole block of which the KCV is the beginning. */
void vec_kcv(enum kl_alg alg, const uint8_t *tmk, uint8_t out[16]);

/* The label of that purpose, and the key, from an AES key. tail: what the label covers besides. */
void vec_derive(const char *purpose, struct kl_bytes base, struct kl_bytes t0, struct kl_bytes tail,
                uint8_t label[32], uint8_t key[32]);
/* 1 if label_PURPOSE and k_PURPOSE are these. */
int vec_check_key(struct vec_set *set, const char *purpose, struct kl_bytes base,
                  struct kl_bytes t0, struct kl_bytes tail);
/* 1 if it is what cSession must be under a TDES TMK. */
int vec_is_session_input(struct kl_bytes c_session, struct kl_bytes t0);
/* 1 if NAME_input is T2 and what else the MAC covers, and NAME_mac that MAC: of Loaded, with that
 * KCV, and of a Done of that verdict. */
int vec_check_loaded_mac(struct vec_set *set, const char *kcv);
int vec_check_done_mac(struct vec_set *set, const char *name, enum kl_verdict verdict);

/* RSA without any padding: m^d or m^e. 1, or 0 if the number is not below the modulus. */
int vec_raw_rsa(EVP_PKEY *key, int private, struct kl_bytes in, uint8_t *out);
/* RFC 8017, B.2.1, exclusive-ored into data. */
void vec_mgf1_xor(const EVP_MD *md, struct kl_bytes seed, uint8_t *data, size_t len);

/* scalar * generator of the key's curve, uncompressed; the length. */
size_t vec_multiply(EVP_PKEY *key, struct kl_bytes scalar, uint8_t out[KL_EC_POINT_MAX]);
/* The X coordinate that ECDH gives; 0 if the point is not on the key's curve. */
size_t vec_ecdh(EVP_PKEY *key, struct kl_bytes point, uint8_t out[KL_EC_FIELD_MAX]);
/* 1 if sig, r || s, is the key's signature over in, and made with that k. */
int vec_check_ecdsa(EVP_PKEY *key, const EVP_MD *md, struct kl_bytes sig, struct kl_bytes k,
                    struct kl_bytes in);

#endif
