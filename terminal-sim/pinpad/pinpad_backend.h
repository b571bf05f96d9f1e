/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a kind of PIN pad provides; only the pinpad*.c files include this. Contracts are those of
 * pinpad.h, with what is the same for every kind (bounds, order of calls, labels, the list of TMKs
 * to look a version up in) already done by pinpad.c and pinpad_work.c.
 */
#ifndef KL_TERMINAL_SIM_PINPAD_PINPAD_BACKEND_H
#define KL_TERMINAL_SIM_PINPAD_PINPAD_BACKEND_H

#include "terminal-sim/pinpad/pinpad.h"

/* Labels of the keys that are derived from Rnd1 or a session key, by enum kl_purpose. */
struct kl_pinpad_labels {
    uint8_t of[KL_PURPOSE_COUNT][KL_HASH_LEN];
};

struct kl_pinpad_ops {
    const char *kind;
    void (*free)(struct kl_pinpad *pad);
    enum kl_rc (*random)(struct kl_pinpad *pad, uint8_t *out, size_t len, struct kl_err *err);

    enum kl_rc (*start_rsa)(struct kl_pinpad *pad, struct kl_pubkey *work, enum kl_oaep_hash hash,
                            const struct kl_pinpad_labels *labels, uint8_t *c_rnd1,
                            size_t *c_rnd1_len, struct kl_err *err);
    enum kl_rc (*start_ec)(struct kl_pinpad *pad, struct kl_pubkey *work,
                           const struct kl_curve *curve, const uint8_t *t0,
                           const struct kl_pinpad_labels *labels, uint8_t *point, size_t *point_len,
                           uint8_t *c_rnd1, struct kl_err *err);
    enum kl_rc (*start_classic)(struct kl_pinpad *pad, struct kl_pubkey *work,
                                enum kl_oaep_hash hash, const struct kl_pinpad_labels *labels,
                                const uint8_t *rnd2, uint8_t *c_rnd1, size_t *c_rnd1_len,
                                struct kl_err *err);
    enum kl_rc (*seal)(struct kl_pinpad *pad, const uint8_t *iv, const uint8_t *t0,
                       const uint8_t *rnd2, uint8_t *out, struct kl_err *err);
    enum kl_rc (*kcv)(struct kl_pinpad *pad, enum kl_alg alg, const uint8_t *ctmk, size_t ctmk_len,
                      size_t kcv_len, uint8_t *kcv, struct kl_err *err);
    enum kl_rc (*keep)(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk, const uint8_t *ctmk,
                       size_t ctmk_len, struct kl_err *err);
    enum kl_rc (*mac)(struct kl_pinpad *pad, enum kl_purpose purpose, const uint8_t *in, size_t len,
                      uint8_t *mac, struct kl_err *err);
    void (*end)(struct kl_pinpad *pad);
    /* In any order; KL_ERR_KEY if there are more than KL_PINPAD_TMK_MAX. */
    enum kl_rc (*list)(struct kl_pinpad *pad, struct kl_pinpad_tmk *out, size_t *count,
                       struct kl_err *err);
    /* tmk is one that list gave; so below. */
    enum kl_rc (*destroy)(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                          struct kl_err *err);

    enum kl_rc (*start_session)(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                const struct kl_pinpad_labels *labels, const uint8_t *c_session,
                                size_t len, struct kl_err *err);
    enum kl_rc (*working_kcv)(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                              enum kl_alg alg, const uint8_t *wrapped, size_t len, size_t kcv_len,
                              uint8_t *kcv, struct kl_err *err);
    enum kl_rc (*highest_pair)(struct kl_pinpad *pad, uint32_t *number, struct kl_err *err);
    enum kl_rc (*keep_pair)(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                            const struct kl_pinpad_pair *pair, const struct kl_bytes *pik,
                            const struct kl_bytes *mak, struct kl_err *err);
    enum kl_rc (*has_pair)(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int *yes,
                           struct kl_err *err);
    enum kl_rc (*prune)(struct kl_pinpad *pad, uint32_t keep, struct kl_err *err);
    /* The following three: of a pair that the pad may have lost (KL_ERR_KEY). */
    enum kl_rc (*encrypt)(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int mak,
                          const uint8_t *in, uint8_t *out, struct kl_err *err);
    /* TDES: CBC under K1 alone over whole blocks; chain is the iv before, the last block after. */
    enum kl_rc (*chain)(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, const uint8_t *in,
                        size_t len, uint8_t *chain, struct kl_err *err);
    enum kl_rc (*cmac)(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, const uint8_t *in,
                       size_t len, uint8_t *mac, struct kl_err *err);

    enum kl_rc (*device_generate)(struct kl_pinpad *pad, enum kl_key_type type, unsigned bits,
                                  EVP_PKEY **out, struct kl_err *err);
    /* Also what is left of one that was cut short; none there is KL_OK. */
    enum kl_rc (*device_destroy)(struct kl_pinpad *pad, struct kl_err *err);
    enum kl_rc (*device_public)(struct kl_pinpad *pad, EVP_PKEY **out, struct kl_err *err);
    enum kl_rc (*device_request)(struct kl_pinpad *pad, X509_REQ *req, struct kl_err *err);
    enum kl_rc (*device_sign)(struct kl_pinpad *pad, const uint8_t *in, size_t len, uint8_t *sig,
                              size_t *sig_len, struct kl_err *err);
};

enum kl_pinpad_busy {
    KL_PINPAD_IDLE,
    KL_PINPAD_LOAD,
    KL_PINPAD_CLASSIC, /* a load of classic */
    KL_PINPAD_SESSION,
};

struct kl_pinpad { /* first member of every kind's own struct */
    const struct kl_pinpad_ops *ops;
    enum kl_pinpad_busy busy; /* a start function has succeeded and kl_pinpad_end was not called */
};

/* For pinpad_work.c. The TMK of that version: KL_ERR_NOT_FOUND if the pad does not hold it. */
enum kl_rc kl_pinpad_find(struct kl_pinpad *pad, uint32_t version, struct kl_pinpad_tmk *out,
                          struct kl_err *err) KL_MUST_CHECK;

#endif
