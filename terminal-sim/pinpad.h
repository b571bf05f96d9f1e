/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PIN pad: the only holder of Rnd1, of the keys derived from it and of the terminal's TMKs.
 * Keys go in and never come out; what can be read of a TMK is its version, algorithm and KCV. A TMK
 * is written once and never changed: whether it is in use is not the pad's to know but the
 * terminal's (terminal.h). Two kinds: a PKCS#11 token of its own, and memory (OpenSSL), whose keys
 * die with it.
 *
 * A pad serves one load at a time. kl_pinpad_start makes the load's keys, kl_pinpad_end forgets
 * them; in between each key does its one job. Not thread-safe.
 */
#ifndef KL_TERMINAL_SIM_PINPAD_H
#define KL_TERMINAL_SIM_PINPAD_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/alg.h"
#include "proto/err.h"
#include "proto/message.h"
#include "proto/suite.h"

#define KL_PINPAD_TMK_MAX 4 /* TMKs at once: the active one and what awaits its Done */

struct kl_pinpad_tmk {
    uint32_t version;
    enum kl_alg alg;
    size_t kcv_len;
    uint8_t kcv[KL_KCV_LEN_MAX];
};

/* Labels of the keys that are derived from Rnd1 (kl_suite_label), by enum kl_purpose. */
struct kl_pinpad_labels {
    uint8_t of[KL_PURPOSE_DONE + 1][KL_HASH_LEN];
};

struct kl_pinpad;

/* An empty PIN pad in memory. */
enum kl_rc kl_pinpad_memory_new(struct kl_pinpad **out, struct kl_err *err) KL_MUST_CHECK;

/* The PIN pad in the token that `uri` names, of the PKCS#11 module at `module`. Reads the PIN from
 * pin_source (kl_pin_read) and logs in once. One such pad in a process. */
enum kl_rc kl_pinpad_token_open(const char *module, const char *uri, const char *pin_source,
                                struct kl_pinpad **out, struct kl_err *err) KL_MUST_CHECK;

void kl_pinpad_free(struct kl_pinpad *pad);              /* wipes; takes NULL */
const char *kl_pinpad_kind(const struct kl_pinpad *pad); /* "token" or "memory" */

/* Random bytes from the pad's generator. */
enum kl_rc kl_pinpad_random(struct kl_pinpad *pad, uint8_t *out, size_t len,
                            struct kl_err *err) KL_MUST_CHECK;

/* S5: draws Rnd1, encrypts it under `work` (AcquireWCRT_Pu, borrowed) into c_rnd1, derives K_wrap,
 * K_nonce, K_ack and K_done from it by their labels, and forgets Rnd1. Ends a load in progress. */
enum kl_rc kl_pinpad_start(struct kl_pinpad *pad, EVP_PKEY *work, enum kl_oaep_hash hash,
                           const struct kl_pinpad_labels *labels, uint8_t c_rnd1[KL_RSA_MAX],
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

/* AES-CMAC under K_ack or K_done. */
enum kl_rc kl_pinpad_mac(struct kl_pinpad *pad, enum kl_purpose purpose, const uint8_t *in,
                         size_t len, uint8_t mac[KL_MAC_LEN], struct kl_err *err) KL_MUST_CHECK;

void kl_pinpad_end(struct kl_pinpad *pad); /* forgets the load's keys, not the TMKs */

/* What TMKs there are, lowest version first. What a crash left too broken to tell is none. */
enum kl_rc kl_pinpad_list(struct kl_pinpad *pad, struct kl_pinpad_tmk out[KL_PINPAD_TMK_MAX],
                          size_t *count, struct kl_err *err) KL_MUST_CHECK;

/* KL_ERR_NOT_FOUND if the pad does not hold that version. */
enum kl_rc kl_pinpad_destroy(struct kl_pinpad *pad, uint32_t version,
                             struct kl_err *err) KL_MUST_CHECK;

#endif
