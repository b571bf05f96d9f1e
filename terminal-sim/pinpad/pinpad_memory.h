/* SPDX-License-Identifier: BSD-2-Clause */
/* The PIN pad in memory, as its two files share it; only pinpad_memory*.c include this. */
#ifndef KL_TERMINAL_SIM_PINPAD_PINPAD_MEMORY_H
#define KL_TERMINAL_SIM_PINPAD_PINPAD_MEMORY_H

#include "proto/secret.h"
#include "terminal-sim/pinpad/pinpad_backend.h"

#define KL_MEMORY_KEY_LEN 32 /* AES-256; also room for the longest TMK */
#define KL_MEMORY_PAIRS 2    /* working keys: in use, and of a sign-in under way */

/* Places for keys: the session's by enum kl_purpose, the TMKs, PIK and MAK of each pair. */
#define KL_MEMORY_TMK_SLOT(i) (KL_PURPOSE_COUNT + (i))
#define KL_MEMORY_PAIR_SLOT(i, mak) (KL_PURPOSE_COUNT + KL_PINPAD_TMK_MAX + 2 * (i) + ((mak) != 0))
#define KL_MEMORY_SLOTS KL_MEMORY_PAIR_SLOT(KL_MEMORY_PAIRS, 0)

struct kl_memory_pad {
    struct kl_pinpad base;
    struct kl_secret *keys[KL_MEMORY_SLOTS]; /* NULL = none there */
    int used[KL_PINPAD_TMK_MAX];
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    struct kl_pinpad_pair pairs[KL_MEMORY_PAIRS]; /* number 0 = none */
    EVP_PKEY *device;                             /* NULL = none */
    struct kl_pinpad *signer; /* NULL, or whose device key signs instead; borrowed */
};

struct kl_memory_pad *kl_memory_of(struct kl_pinpad *pad);
/* A place's KL_MEMORY_KEY_LEN bytes, to be written; taken from the locked heap if there is no key
 * yet. KL_ERR_MEMORY. */
enum kl_rc kl_memory_key_new(struct kl_memory_pad *self, size_t slot, uint8_t **key,
                             struct kl_err *err) KL_MUST_CHECK;
void kl_memory_key_drop(struct kl_memory_pad *self, size_t slot); /* wipes and gives back */
/* Of a TMK that the pad lists. */
uint8_t *kl_memory_tmk(struct kl_memory_pad *self, const struct kl_pinpad_tmk *tmk);

/* The session keys of these purposes, each AES-ECB(base, label); base has 16, 24 or 32 bytes. */
enum kl_rc kl_memory_derive(struct kl_memory_pad *self, enum kl_purpose from, enum kl_purpose to,
                            const uint8_t *base, size_t base_len,
                            const struct kl_pinpad_labels *labels,
                            struct kl_err *err) KL_MUST_CHECK;

/* ---- pinpad_memory_crypto.c ---- */

/* One-shot operations. ECB without padding, over whole blocks; ciphers are never freed. An AES key
 * has 16, 24 or 32 bytes. */
const EVP_CIPHER *kl_memory_aes_ecb(size_t key_len);
const EVP_CIPHER *kl_memory_ecb_of(enum kl_alg alg);
enum kl_rc kl_memory_ecb(const EVP_CIPHER *cipher, int encrypt, const uint8_t *key,
                         const uint8_t *in, size_t len, uint8_t *out,
                         struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_memory_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len,
                          uint8_t out[KL_MAC_LEN], struct kl_err *err) KL_MUST_CHECK;
/* RFC 3394; out holds in_len + KL_WRAP_OVERHEAD bytes. */
enum kl_rc kl_memory_wrap(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t in_len,
                          uint8_t *out, struct kl_err *err) KL_MUST_CHECK;
/* RFC 3394; out holds in_len - KL_WRAP_OVERHEAD bytes. KL_ERR_VERIFY: its check value is all that
 * says the input is genuine. */
enum kl_rc kl_memory_unwrap(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t in_len,
                            uint8_t *out, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_memory_compute_kcv(enum kl_alg alg, const uint8_t *key, size_t kcv_len, uint8_t *kcv,
                                 struct kl_err *err) KL_MUST_CHECK;

/* An ephemeral key, which the caller frees, and its point: KL_EC_POINT_MAX bytes at most. */
enum kl_rc kl_memory_ephemeral(const struct kl_curve *curve, EVP_PKEY **out, uint8_t *point,
                               size_t *point_len, struct kl_err *err) KL_MUST_CHECK;
/* ECDH of both keys, of one curve: the trailing KL_ECDH_LEN bytes of the shared X coordinate. */
enum kl_rc kl_memory_agree(EVP_PKEY *ephemeral, const struct kl_pubkey *work,
                           struct kl_secret **out, struct kl_err *err) KL_MUST_CHECK;

/* pinpad_memory_work.c's part of the table. */
enum kl_rc kl_memory_start_session(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                   const struct kl_pinpad_labels *labels, const uint8_t *c_session,
                                   size_t len, struct kl_err *err);
enum kl_rc kl_memory_working_kcv(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                 enum kl_alg alg, const uint8_t *wrapped, size_t len,
                                 size_t kcv_len, uint8_t *kcv, struct kl_err *err);
enum kl_rc kl_memory_highest_pair(struct kl_pinpad *pad, uint32_t *number, struct kl_err *err);
enum kl_rc kl_memory_keep_pair(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                               const struct kl_pinpad_pair *pair, const struct kl_bytes *pik,
                               const struct kl_bytes *mak, struct kl_err *err);
enum kl_rc kl_memory_has_pair(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int *yes,
                              struct kl_err *err);
enum kl_rc kl_memory_prune(struct kl_pinpad *pad, uint32_t keep, struct kl_err *err);
enum kl_rc kl_memory_encrypt(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int mak,
                             const uint8_t *in, uint8_t *out, struct kl_err *err);
enum kl_rc kl_memory_chain(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                           const uint8_t *in, size_t len, uint8_t *chain, struct kl_err *err);
enum kl_rc kl_memory_cmac_message(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                                  const uint8_t *in, size_t len, uint8_t *mac, struct kl_err *err);
enum kl_rc kl_memory_device_generate(struct kl_pinpad *pad, enum kl_key_type type, unsigned bits,
                                     EVP_PKEY **out, struct kl_err *err);
enum kl_rc kl_memory_device_destroy(struct kl_pinpad *pad, struct kl_err *err);
enum kl_rc kl_memory_device_public(struct kl_pinpad *pad, EVP_PKEY **out, struct kl_err *err);
enum kl_rc kl_memory_device_request(struct kl_pinpad *pad, X509_REQ *req, struct kl_err *err);
enum kl_rc kl_memory_device_sign(struct kl_pinpad *pad, const uint8_t *in, size_t len, uint8_t *sig,
                                 size_t *sig_len, struct kl_err *err);

#endif
