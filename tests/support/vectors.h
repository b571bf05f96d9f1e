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
#define VEC_LOADS 3

struct vec_value {
    char name[24];
    size_t len;
    uint8_t data[VEC_VALUE_MAX];
};

/* What stands under one "### name" of the document: the root, or a load. */
struct vec_set {
    char name[16];
    size_t count;
    struct vec_value values[VEC_SET_MAX];
};

extern struct vec_set vec_root, vec_loads[VEC_LOADS];
extern EVP_PKEY *vec_keys[VEC_LOADS]; /* AcquireWCRT_Prk of each */

/* What each load must be about. */
struct vec_expected {
    const char *name;
    enum kl_alg alg;
    uint32_t version;
    enum kl_oaep_hash oaep_hash;
    const char *key; /* file in tests/data */
};
extern const struct vec_expected vec_expected[VEC_LOADS];

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

/* A hash over parts one after another. */
void vec_digest(const EVP_MD *md, const struct kl_bytes *parts, size_t count, uint8_t *out);
void vec_cmac(struct kl_bytes key, struct kl_bytes in, uint8_t out[16]);
/* One pass of a cipher without padding, either way; how many bytes come out, 0 if it says no. */
size_t vec_pass(const char *name, int encrypt, const uint8_t *key, struct kl_bytes in,
                uint8_t *out);
/* The whole block of which the KCV is the beginning. */
void vec_kcv(enum kl_alg alg, const uint8_t *tmk, uint8_t out[16]);

#endif
