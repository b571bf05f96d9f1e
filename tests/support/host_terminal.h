/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A terminal made of nothing but OpenSSL, for tests of pkcs11/loader: S5, S8 and S9 of every suite
 * computed from the words of docs/protocol.md (proto/ only codes messages), against a loader on the
 * test's token (p11.h). What goes wrong here fails the test.
 */
#ifndef KL_TESTS_SUPPORT_HOST_TERMINAL_H
#define KL_TESTS_SUPPORT_HOST_TERMINAL_H

#include <stddef.h>
#include <stdint.h>

#include "pkcs11/loader.h"

/* A work key's suite and kind. */
struct ht_key {
    enum kl_suite suite;
    unsigned bits;
};

struct host_terminal {
    enum kl_suite suite;
    EVP_PKEY *public_key; /* AcquireWCRT_Pu; borrowed from the loader */
    EVP_PKEY *ephemeral;  /* of hardened-ec; set one before ht_randoms to have that one used */
    enum kl_oaep_hash oaep_hash;
    uint8_t rnd1[64], rnd2[32], iv[12];
    size_t rnd1_len;
    uint8_t hello[KL_MSG_MAX], certificate[KL_MSG_MAX], randoms[KL_MSG_MAX];
    size_t hello_len, certificate_len, randoms_len;
    uint8_t t0[32], t1[32], t2[32];
    struct kl_msg msg;    /* the message made last, for a test to spoil and encode again */
    struct kl_load_in in; /* the job */
    struct kl_load_out out;
};

extern struct kl_loader *loader;
extern struct kl_err err; /* of the last call, here or in a test that includes this */
extern struct host_terminal *term;

/* The token with a storage key and a work key "work" of that kind, the loader over it, and a
 * terminal that has said everything for a TMK of TDES2. */
void ht_setup(struct ht_key key);
void ht_teardown(void);
/* Another work key on the token. */
void ht_make_key(const char *label, struct ht_key key);
/* Closes the loader, if it is open, and opens it anew. */
void ht_open(const struct kl_loader_config *config);
/* The terminal turns to that work key of the loader. */
void ht_choose(const char *label);

/* All three messages; or one. ht_randoms leaves its own in term->msg. */
void ht_messages(enum kl_alg alg);
void ht_hello(const uint8_t *algs, size_t count);
void ht_certificate(enum kl_suite suite, enum kl_oaep_hash hash);
void ht_randoms(size_t rnd1_len);
/* Encodes term->msg, which is a Randoms, and makes it the job's. */
void ht_encode_randoms(void);
/* The same for a Hello that has been changed in term->msg. */
void ht_encode_hello(void);

enum kl_rc ht_run(void);
/* S8 and S9 over the result, its MACs, and the store's cryptogram with its binding. */
void ht_check_load(enum kl_alg alg);
/* ht_run() ends with rc; nothing is written, nothing left behind, and the HSM not blamed. */
void ht_refused(enum kl_rc rc);

/* ---- The arithmetic ---- */

void ht_sha256(const struct kl_bytes *parts, size_t count, uint8_t out[32]);
/* AES-ECB(base, SHA-256("keyloader/1 " purpose NUL t0)) */
void ht_derive(const uint8_t *base, size_t base_len, const char *purpose, const uint8_t t0[32],
               uint8_t key[32]);
/* One pass of a cipher, no padding, either way; how many bytes come out, 0 if it says no. */
size_t ht_pass(const char *cipher, int encrypt, const uint8_t *key, const uint8_t *in, size_t len,
               uint8_t *out);
void ht_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len, uint8_t mac[16]);
void ht_kcv(enum kl_alg alg, const uint8_t *key, uint8_t kcv[4]);
/* The shared X coordinate; returns its length. */
size_t ht_ecdh(EVP_PKEY *own, EVP_PKEY *theirs, uint8_t x[66]);

#endif
