/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PIN pad: the only holder of Rnd1, of the keys derived from it, of the terminal's TMKs, of its
 * working keys and of its device key. Keys go in and never come out; what can be read of one is
 * what it is (version, algorithm, KCV) or its public half. A key is written once and never changed:
 * whether it is in use is not the pad's to know but the terminal's (terminal.h). Two kinds: a
 * PKCS#11 token of its own, and memory (OpenSSL), whose keys die with it.
 *
 * A pad serves one load or sign-in at a time: the start functions make its keys, kl_pinpad_end
 * forgets them; in between each key does its one job. Not thread-safe.
 */
#ifndef KL_TERMINAL_SIM_PINPAD_PINPAD_H
#define KL_TERMINAL_SIM_PINPAD_PINPAD_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/alg.h"
#include "proto/err.h"
#include "proto/message.h"
#include "proto/pubkey.h"
#include "proto/suite.h"

#define KL_PINPAD_TMK_MAX 4 /* TMKs at once: the active one and what awaits its Done */

struct kl_pinpad_tmk {
    uint32_t version;
    enum kl_alg alg;
    size_t kcv_len;
    uint8_t kcv[KL_KCV_LEN_MAX];
};

struct kl_pinpad;

/* An empty PIN pad in memory. */
enum kl_rc kl_pinpad_memory_new(struct kl_pinpad **out, struct kl_err *err) KL_MUST_CHECK;

/* The same, but its device key is that of another pad, which is borrowed and signs for it: for who
 * needs many pads of one terminal. NULL = it has none. */
enum kl_rc kl_pinpad_memory_lent(struct kl_pinpad *signer, struct kl_pinpad **out,
                                 struct kl_err *err) KL_MUST_CHECK;

/* The PIN pad in the token that `uri` names, of the PKCS#11 module at `module`, which is started
 * with init_reserved (kl_module_load; NULL or "": none). Reads the PIN from pin_source
 * (kl_pin_read) and logs in once. One such pad in a process. */
enum kl_rc kl_pinpad_token_open(const char *module, const char *init_reserved, const char *uri,
                                const char *pin_source, struct kl_pinpad **out,
                                struct kl_err *err) KL_MUST_CHECK;

void kl_pinpad_free(struct kl_pinpad *pad);              /* wipes; takes NULL */
const char *kl_pinpad_kind(const struct kl_pinpad *pad); /* "token" or "memory" */

/* Random bytes from the pad's generator. */
enum kl_rc kl_pinpad_random(struct kl_pinpad *pad, uint8_t *out, size_t len,
                            struct kl_err *err) KL_MUST_CHECK;

/* ---- A load ---- */

/* S5: draws Rnd1, encrypts it under `work` (AcquireWCRT_Pu, borrowed), derives K_wrap, K_nonce,
 * K_ack and K_done from it by their labels over t0, and forgets Rnd1. Ends what was in progress. */
enum kl_rc kl_pinpad_start_rsa(struct kl_pinpad *pad, struct kl_pubkey *work,
                               enum kl_oaep_hash hash, const uint8_t t0[KL_HASH_LEN],
                               uint8_t c_rnd1[KL_RSA_MAX], size_t *c_rnd1_len,
                               struct kl_err *err) KL_MUST_CHECK;

/* The same by ECIES with an ephemeral key, whose public half point gets. c_rnd1 gets
 * KL_C_RND1_EC_LEN bytes. */
enum kl_rc kl_pinpad_start_ec(struct kl_pinpad *pad, struct kl_pubkey *work,
                              const uint8_t t0[KL_HASH_LEN], uint8_t point[KL_EC_POINT_MAX],
                              size_t *point_len, uint8_t c_rnd1[KL_C_RND1_EC_LEN],
                              struct kl_err *err) KL_MUST_CHECK;

/* The same by one OAEP block of Rnd1 || rnd2. K_wrap is Rnd1 itself, and there is no K_nonce; but
 * K_keys. */
enum kl_rc kl_pinpad_start_classic(struct kl_pinpad *pad, struct kl_pubkey *work,
                                   enum kl_oaep_hash hash, const uint8_t t0[KL_HASH_LEN],
                                   const uint8_t rnd2[KL_RND2_LEN], uint8_t c_rnd1[KL_RSA_MAX],
                                   size_t *c_rnd1_len, struct kl_err *err) KL_MUST_CHECK;

/* S5: AES-256-GCM(K_nonce, iv, aad = t0, rnd2). */
enum kl_rc kl_pinpad_seal(struct kl_pinpad *pad, const uint8_t iv[KL_GCM_IV_LEN],
                          const uint8_t t0[KL_HASH_LEN], const uint8_t rnd2[KL_RND2_LEN],
                          uint8_t out[KL_RND2_LEN + KL_GCM_TAG_LEN],
                          struct kl_err *err) KL_MUST_CHECK;

/* S9: the KCV of the TMK in ctmk, which stays nowhere. KL_ERR_VERIFY if ctmk does not unwrap. */
enum kl_rc kl_pinpad_kcv(struct kl_pinpad *pad, enum kl_alg alg, const uint8_t *ctmk,
                         size_t ctmk_len, size_t kcv_len, uint8_t kcv[KL_KCV_LEN_MAX],
                         struct kl_err *err) KL_MUST_CHECK;

/* Whether kl_pinpad_keep would find room: KL_ERR_EXISTS if the pad holds that version,
 * KL_ERR_REFUSED if it is full. */
enum kl_rc kl_pinpad_room(struct kl_pinpad *pad, uint32_t version,
                          struct kl_err *err) KL_MUST_CHECK;

/* S9: writes the TMK in ctmk beside the others, as tmk describes it. Fails as kl_pinpad_room. A
 * crash in it may leave a TMK that the pad lists and cannot use. */
enum kl_rc kl_pinpad_keep(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                          const uint8_t *ctmk, size_t ctmk_len, struct kl_err *err) KL_MUST_CHECK;

/* AES-CMAC under K_ack or K_done; in a load of classic and in a sign-in also K_keys. */
enum kl_rc kl_pinpad_mac(struct kl_pinpad *pad, enum kl_purpose purpose, const uint8_t *in,
                         size_t len, uint8_t mac[KL_MAC_LEN], struct kl_err *err) KL_MUST_CHECK;

void kl_pinpad_end(struct kl_pinpad *pad); /* forgets the keys of a load or sign-in, no others */

/* What TMKs there are, lowest version first. What a crash left too broken to tell is none. */
enum kl_rc kl_pinpad_list(struct kl_pinpad *pad, struct kl_pinpad_tmk out[KL_PINPAD_TMK_MAX],
                          size_t *count, struct kl_err *err) KL_MUST_CHECK;

/* KL_ERR_NOT_FOUND if the pad does not hold that version. */
enum kl_rc kl_pinpad_destroy(struct kl_pinpad *pad, uint32_t version,
                             struct kl_err *err) KL_MUST_CHECK;

/* ---- Sign-in and working keys ---- */

/* PIK and MAK of one sign-in, as the pad knows them apart: by a number of its own. */
struct kl_pinpad_pair {
    uint32_t number; /* from 1; 0 = none */
    uint32_t tmk_version;
    enum kl_alg alg;
    size_t kcv_len;
    uint8_t pik_kcv[KL_KCV_LEN_MAX], mak_kcv[KL_KCV_LEN_MAX];
};

/* Opens the session key under the TMK of that version (AES key wrap; TDES-ECB under a TDES one),
 * derives K_keys, K_ack and K_done from it by their labels over hash, and forgets it. Ends what was
 * in progress. KL_ERR_NOT_FOUND: no such TMK. KL_ERR_VERIFY: also if it has not the length of a
 * session key under that TMK, or, under a TDES one, is not what kl_suite_session_input gives for
 * hash. */
enum kl_rc kl_pinpad_start_session(struct kl_pinpad *pad, uint32_t tmk_version,
                                   const uint8_t hash[KL_HASH_LEN], const uint8_t *c_session,
                                   size_t len, struct kl_err *err) KL_MUST_CHECK;

/* The KCV of a working key under the TMK of that version; the key stays nowhere. */
enum kl_rc kl_pinpad_working_kcv(struct kl_pinpad *pad, uint32_t tmk_version, enum kl_alg alg,
                                 const uint8_t *wrapped, size_t len, size_t kcv_len,
                                 uint8_t kcv[KL_KCV_LEN_MAX], struct kl_err *err) KL_MUST_CHECK;

/* The lowest number that no pair in the pad has, nor any above it: for the next one. */
enum kl_rc kl_pinpad_next_pair(struct kl_pinpad *pad, uint32_t *number,
                               struct kl_err *err) KL_MUST_CHECK;

/* Writes a pair beside any other: a PIK that only enciphers blocks, a MAK that only makes MACs,
 * both unextractable. A crash in it may leave a part. KL_ERR_REFUSED: no room (see
 * kl_pinpad_prune). */
enum kl_rc kl_pinpad_keep_pair(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                               const struct kl_bytes *pik, const struct kl_bytes *mak,
                               struct kl_err *err) KL_MUST_CHECK;

/* *yes: whether the pad holds the whole of that very pair. */
enum kl_rc kl_pinpad_has_pair(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int *yes,
                              struct kl_err *err) KL_MUST_CHECK;

/* Destroys every working key, or part of one, but those of that number (0: all). */
enum kl_rc kl_pinpad_prune(struct kl_pinpad *pad, uint32_t keep, struct kl_err *err) KL_MUST_CHECK;

/* One block under the PIK: 8 bytes (TDES) or 16 (AES), in and out. KL_ERR_KEY: the pad does not
 * hold the pair. */
enum kl_rc kl_pinpad_encrypt_pin(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                                 const uint8_t *in, uint8_t *out, struct kl_err *err) KL_MUST_CHECK;

/* The MAC of len bytes under the MAK. AES: CMAC (SP 800-38B), 16 bytes. TDES: ISO 9797-1 algorithm
 * 3 (ANSI X9.19), 8 bytes; the message is padded already, from 1 block. A 3-key MAK ends with K3.
 */
enum kl_rc kl_pinpad_mac_message(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                                 const uint8_t *in, size_t len, uint8_t mac[KL_MAC_LEN],
                                 struct kl_err *err) KL_MUST_CHECK;

/* ---- Device key ---- */

/* One key pair that proves who the terminal is; it signs and does nothing else. KL_ERR_EXISTS if
 * there is one, unless replace, which destroys that first. *out: the caller frees. */
enum kl_rc kl_pinpad_device_generate(struct kl_pinpad *pad, enum kl_key_type type, unsigned bits,
                                     int replace, EVP_PKEY **out, struct kl_err *err) KL_MUST_CHECK;

/* Its public half, which the caller frees; KL_ERR_NOT_FOUND if there is none. */
enum kl_rc kl_pinpad_device_public(struct kl_pinpad *pad, EVP_PKEY **out,
                                   struct kl_err *err) KL_MUST_CHECK;

/* Signs a request that is complete but for algorithm and signature. */
enum kl_rc kl_pinpad_device_request(struct kl_pinpad *pad, X509_REQ *req,
                                    struct kl_err *err) KL_MUST_CHECK;

/* Signs in, as kl_pubkey_verify checks it. */
enum kl_rc kl_pinpad_device_sign(struct kl_pinpad *pad, const uint8_t *in, size_t len,
                                 uint8_t sig[KL_SIG_MAX], size_t *sig_len,
                                 struct kl_err *err) KL_MUST_CHECK;

#endif
