/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loader's side of a suite: one table of functions each, so that loader.c, which does what
 * all suites share, names no suite. For this room only.
 */
#ifndef KL_PKCS11_SUITE_H
#define KL_PKCS11_SUITE_H

#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>

#include "pkcs11/loader.h"
#include "pkcs11/ops.h"

struct kl_loader {
    struct kl_session *session;
    CK_OBJECT_HANDLE work_key;    /* AcquireWCRT_Prk */
    CK_OBJECT_HANDLE storage_key; /* wraps TMKs for the store */
    EVP_PKEY *public_key;         /* AcquireWCRT_Pu */
    enum kl_key_type key_type;
    unsigned key_bits;
    enum kl_oaep_hash oaep_hash;
    int strength_enforce;
    int64_t next_check; /* CLOCK_MONOTONIC in ms: see loader.c */
};

/* The session keys of one load, all destroyed at its end. K_nonce is no longer needed when S6 is
 * done, so it is not among them. */
struct kl_load_keys {
    CK_OBJECT_HANDLE rnd1; /* derives only */
    CK_OBJECT_HANDLE wrap; /* wraps only */
    CK_OBJECT_HANDLE ack;  /* MACs only */
    CK_OBJECT_HANDLE done; /* MACs only */
    CK_OBJECT_HANDLE tmk;
};

struct kl_suite_loader {
    enum kl_suite id;

    /* May this loader's work key carry a TMK of that algorithm? KL_ERR_STRENGTH. */
    enum kl_rc (*strength)(const struct kl_loader *loader, enum kl_alg alg, struct kl_err *err);

    /* S6: from C_rnd1_rnd2 the key Rnd1' (into keys->rnd1) and Rnd2'. T0 is the transcript's hash
     * after Certificate. KL_ERR_VERIFY: the peer's bytes are bad. */
    enum kl_rc (*recover)(struct kl_loader *loader, const struct kl_randoms *randoms,
                          const uint8_t t0[KL_HASH_LEN], struct kl_load_keys *keys,
                          uint8_t rnd2[KL_RND2_LEN], struct kl_err *err);

    /* S7: applies AcquireWCRT_Prk to tbs and encodes the MasterKey message. */
    enum kl_rc (*seal)(struct kl_loader *loader, const struct kl_tbs *tbs, uint8_t out[KL_MSG_MAX],
                       size_t *out_len, struct kl_err *err);
};

extern const struct kl_suite_loader kl_suite_loader_hardened_rsa;

/* Derives the key of one purpose from Rnd1'. */
enum kl_rc kl_loader_derive(struct kl_loader *loader, CK_OBJECT_HANDLE rnd1,
                            const uint8_t t0[KL_HASH_LEN], enum kl_purpose purpose,
                            enum kl_key_use use, CK_OBJECT_HANDLE *out,
                            struct kl_err *err) KL_MUST_CHECK;

/* kl_loader_run, but KL_ERR_VERIFY may be the token's own fault. */
enum kl_rc kl_loader_load(struct kl_loader *loader, const struct kl_load_in *in,
                          struct kl_load_out *out, struct kl_err *err) KL_MUST_CHECK;

/* The whole loader side of hardened-rsa against the loader's own public key; sets
 * loader->oaep_hash. KL_ERR_HSM_LACKS names the first operation that the token cannot do. */
enum kl_rc kl_loader_selftest(struct kl_loader *loader, struct kl_err *err) KL_MUST_CHECK;

/* Its first part, and at any time later the way to tell a bad peer from a lost token: does the
 * token take a known Rnd1 by OAEP with that hash, and derive and MAC as everybody does? */
enum kl_rc kl_loader_known_answer(struct kl_loader *loader, enum kl_oaep_hash hash,
                                  struct kl_err *err) KL_MUST_CHECK;

/* Its loads: one load of each algorithm that the work key may carry, this token playing the
 * terminal's PIN pad too, so that no key of either side is ever outside. */
enum kl_rc kl_loader_selftest_loads(struct kl_loader *loader, struct kl_err *err) KL_MUST_CHECK;

#endif
