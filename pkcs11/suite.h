/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loader's side of a suite: one table of functions each, so that loader.c, which does what
 * all suites share, names no suite. With it comes the terminal's side, as far as the self-test
 * needs somebody to talk to. For this room only.
 */
#ifndef KL_PKCS11_SUITE_H
#define KL_PKCS11_SUITE_H

#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>

#include "pkcs11/loader.h"
#include "pkcs11/ops.h"
#include "pkcs11/weakness.h"

struct kl_work { /* a work key that is served */
    char label[KL_KEY_LABEL_MAX + 1];
    const struct kl_suite_loader *suite;
    CK_OBJECT_HANDLE token_key; /* AcquireWCRT_Prk on the token */
    CK_OBJECT_HANDLE handle;    /* the same, or the session copy of it that is used */
    EVP_PKEY *public_key;       /* AcquireWCRT_Pu; owned */
    enum kl_key_type type;
    unsigned bits;
    enum kl_oaep_hash oaep_hash;   /* of RSA keys; else KL_OAEP_SHA1, which is what is announced */
    enum kl_point_form point_form; /* of EC keys */
};

struct kl_loader {
    struct kl_session *session;
    struct kl_work work[KL_LOADER_KEYS_MAX];
    size_t work_count;
    CK_OBJECT_HANDLE storage_key;                          /* wraps TMKs for the store */
    CK_OBJECT_HANDLE binding_key;                          /* binds them to their owners there */
    CK_OBJECT_HANDLE storage_token_key, binding_token_key; /* the same on the token */
    const char *audit_key; /* label for the self-test, borrowed while it runs; NULL: none */
    int strength_enforce;
    int host_fallback;
    unsigned oaep_hash;        /* of kl_loader_config */
    unsigned accept;           /* KL_WEAK_BITs that an operator has accepted */
    struct kl_weaknesses weak; /* found by the self-test */
    int wraps_tdes;     /* the token wraps and unwraps by CKM_DES3_ECB: learnt by the self-test */
    int64_t next_check; /* CLOCK_MONOTONIC in ms: see loader.c */
};

/* The session keys of one load, all destroyed at its end. What else S6 needed is gone by then. */
struct kl_load_keys {
    CK_OBJECT_HANDLE rnd1; /* derives only */
    CK_OBJECT_HANDLE wrap; /* wraps only: the TMK for the terminal */
    CK_OBJECT_HANDLE ack;  /* MACs only */
    CK_OBJECT_HANDLE done; /* MACs only */
    CK_OBJECT_HANDLE tmk;
};

/* The PIN pad of the self-test: session keys of the same token, in the terminal's uses. */
struct kl_self_pad {
    CK_OBJECT_HANDLE rnd1;   /* derives only */
    CK_OBJECT_HANDLE unwrap; /* unwraps only: what the loader's keys.wrap wraps */
    uint8_t rnd2[KL_RND2_LEN];
};

struct kl_suite_loader {
    enum kl_suite id;
    int recovers; /* 1: the signature gives Ctmk and Rnd2' back, so they are not beside it */
    int unwraps;  /* 1: the work key unwraps, so its CKA_UNWRAP_TEMPLATE must bind */

    /* How tokens differ: sets the nth way, from 0, of doing what recover does, the best first; 0
     * when there is none left. */
    int (*choose)(struct kl_work *work, unsigned nth);

    /* S6: from C_rnd1_rnd2 the keys Rnd1' (keys->rnd1) and K_wrap (keys->wrap), and Rnd2'. T0 is
     * the transcript's hash after Certificate. KL_ERR_VERIFY: the peer's bytes are bad. */
    enum kl_rc (*recover)(struct kl_loader *loader, const struct kl_work *work,
                          const struct kl_randoms *randoms, const uint8_t t0[KL_HASH_LEN],
                          struct kl_load_keys *keys, uint8_t rnd2[KL_RND2_LEN], struct kl_err *err);

    /* S7: applies AcquireWCRT_Prk to tbs, whose encoding is tbs_der (as it is sent). */
    enum kl_rc (*sign)(struct kl_loader *loader, const struct kl_work *work,
                       const struct kl_tbs *tbs, struct kl_bytes tbs_der, uint8_t sig[KL_SIG_MAX],
                       size_t *sig_len, struct kl_err *err);

    /* Where that does not cover tbs: its MAC, by a key derived from Rnd1'; the terminal's S8
     * computes the same. NULL in the other suites. */
    enum kl_rc (*mac)(struct kl_loader *loader, CK_OBJECT_HANDLE rnd1,
                      const uint8_t t0[KL_HASH_LEN], struct kl_bytes tbs_der,
                      uint8_t mac[KL_MAC_LEN], struct kl_err *err);

    /* The terminal's S5 over randoms that are known, by OpenSSL; and in the token's PIN pad, over
     * fresh ones. Both fill *out. */
    enum kl_rc (*enclose_known)(const struct kl_work *work, const uint8_t t0[KL_HASH_LEN],
                                const uint8_t rnd1[KL_RND1_LEN], const uint8_t rnd2[KL_RND2_LEN],
                                struct kl_randoms *out, struct kl_err *err);
    enum kl_rc (*enclose)(struct kl_loader *loader, const struct kl_work *work,
                          const uint8_t t0[KL_HASH_LEN], struct kl_self_pad *pad,
                          struct kl_randoms *out, struct kl_err *err);

    /* The terminal's S8: checks the signature, and fills in what it gives back. */
    enum kl_rc (*open)(const struct kl_work *work, struct kl_master_key *master_key,
                       struct kl_err *err);
};

extern const struct kl_suite_loader kl_suite_loader_hardened_rsa, kl_suite_loader_classic,
    kl_suite_loader_hardened_ec;

/* ---- What suites and loader.c share ---- */

/* Derives the key of one purpose from Rnd1'. */
enum kl_rc kl_loader_derive(struct kl_loader *loader, CK_OBJECT_HANDLE rnd1,
                            const uint8_t t0[KL_HASH_LEN], enum kl_purpose purpose,
                            enum kl_key_use use, CK_OBJECT_HANDLE *out,
                            struct kl_err *err) KL_MUST_CHECK;

/* A TMK that can be wrapped, as an unextractable object of another use. What comes from under the
 * storage key neither unwraps nor decrypts, so it goes through a K_wrap, as in a load: single-use
 * keys that are gone afterwards. t0 is for their label. */
enum kl_rc kl_loader_turn_tmk(struct kl_loader *loader, CK_OBJECT_HANDLE tmk, enum kl_alg alg,
                              const uint8_t t0[KL_HASH_LEN], enum kl_key_use use,
                              CK_OBJECT_HANDLE *out, struct kl_err *err) KL_MUST_CHECK;

/* kl_loader_run, but KL_ERR_VERIFY may be the token's own fault. */
enum kl_rc kl_loader_load(struct kl_loader *loader, const struct kl_load_in *in,
                          struct kl_load_out *out, struct kl_err *err) KL_MUST_CHECK;

/* Decodes a message that must be of that type, else KL_ERR_PROTOCOL. */
enum kl_rc kl_loader_decode(struct kl_bytes der, enum kl_msg_type type, struct kl_msg *out,
                            struct kl_err *err) KL_MUST_CHECK;

/* After rc KL_ERR_VERIFY or KL_ERR_STORE: is it the bytes, or does this token refuse everything?
 * Returns rc, or KL_ERR_HSM. */
enum kl_rc kl_loader_blame(struct kl_loader *loader, const struct kl_work *work, enum kl_rc rc,
                           struct kl_err *err) KL_MUST_CHECK;

/* choose of the suites that have an RSA key: OAEP with SHA-256, then with SHA-1. */
int kl_choose_oaep(struct kl_work *work, unsigned nth);

/* ---- What the hardened suites share ---- */

/* From keys->rnd1: K_wrap, and Rnd2' by AES-256-GCM under K_nonce. */
enum kl_rc kl_hardened_recover(struct kl_loader *loader, const struct kl_randoms *randoms,
                               const uint8_t t0[KL_HASH_LEN], struct kl_load_keys *keys,
                               uint8_t rnd2[KL_RND2_LEN], struct kl_err *err) KL_MUST_CHECK;

/* The terminal's half of it: iv and c_rnd2; by OpenSSL, and in the token's PIN pad (which draws
 * Rnd2 and gets its K_wrap, too). */
enum kl_rc kl_hardened_enclose_known(const uint8_t t0[KL_HASH_LEN], const uint8_t rnd1[KL_RND1_LEN],
                                     const uint8_t rnd2[KL_RND2_LEN], struct kl_randoms *out,
                                     struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_hardened_enclose(struct kl_loader *loader, const uint8_t t0[KL_HASH_LEN],
                               struct kl_self_pad *pad, struct kl_randoms *out,
                               struct kl_err *err) KL_MUST_CHECK;

/* S8 of both: a signature over tbs_der. */
enum kl_rc kl_hardened_open(const struct kl_work *work, struct kl_master_key *master_key,
                            struct kl_err *err) KL_MUST_CHECK;

/* One pass of an OpenSSL cipher, padding off, for known answers. */
enum kl_rc kl_known_encrypt(const char *cipher, const uint8_t *key, const uint8_t *in, size_t len,
                            uint8_t *out, struct kl_err *err) KL_MUST_CHECK;

/* ---- Self-test ---- */

/* The whole loader side of each work key's suite against its own public key, the storage key, and
 * the sign-in; sets what they learn. KL_ERR_HSM_LACKS names the first operation that the token
 * cannot do. */
enum kl_rc kl_loader_selftest(struct kl_loader *loader, struct kl_err *err) KL_MUST_CHECK;

/* Its first part, and at any time later the way to tell a bad peer from a lost token: does the
 * token recover randoms that OpenSSL has enclosed, and derive and MAC as everybody does? */
enum kl_rc kl_loader_known_answer(struct kl_loader *loader, const struct kl_work *work,
                                  struct kl_err *err) KL_MUST_CHECK;

/* Its loads: one load of each algorithm that the work key may carry, this token playing the
 * terminal's PIN pad too, so that no key of either side is ever outside. */
enum kl_rc kl_loader_selftest_loads(struct kl_loader *loader, const struct kl_work *work,
                                    struct kl_err *err) KL_MUST_CHECK;

/* What attributes forbid, tried: the unwrap template and the mechanisms of a work key; the same of
 * storage and binding key, and the sealing of session keys. What a module lets through is noted in
 * loader->weak; KL_ERR_HSM_LACKS for what nobody may accept. */
enum kl_rc kl_loader_selftest_work_policy(struct kl_loader *loader, const struct kl_work *work,
                                          struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_loader_selftest_policy(struct kl_loader *loader, struct kl_err *err) KL_MUST_CHECK;

/* What our token keys, and the session copies of them that are used, must not give: their values,
 * another use, a copy that may do more. Noted likewise. */
enum kl_rc kl_loader_selftest_keys(struct kl_loader *loader, struct kl_err *err) KL_MUST_CHECK;

/* Sign-in: learns whether the token wraps by TDES-ECB; one sign-in with a TMK of each AES size. */
enum kl_rc kl_loader_selftest_sign_in(struct kl_loader *loader, struct kl_err *err) KL_MUST_CHECK;

#endif
