/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a kind of PIN pad provides; only the pinpad*.c files include this. Contracts are those of
 * pinpad.h, with what is the same for every kind (bounds, order of calls, the list of TMKs to look
 * a version up in) already done by pinpad.c.
 */
#ifndef KL_TERMINAL_SIM_PINPAD_BACKEND_H
#define KL_TERMINAL_SIM_PINPAD_BACKEND_H

#include "terminal-sim/pinpad.h"

struct kl_pinpad_ops {
    const char *kind;
    void (*free)(struct kl_pinpad *pad);
    enum kl_rc (*random)(struct kl_pinpad *pad, uint8_t *out, size_t len, struct kl_err *err);
    enum kl_rc (*start)(struct kl_pinpad *pad, EVP_PKEY *work, enum kl_oaep_hash hash,
                        const struct kl_pinpad_labels *labels, uint8_t *c_rnd1, size_t *c_rnd1_len,
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
    /* tmk is one that list gave. */
    enum kl_rc (*destroy)(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                          struct kl_err *err);
};

struct kl_pinpad { /* first member of every kind's own struct */
    const struct kl_pinpad_ops *ops;
    int loading; /* kl_pinpad_start has succeeded and kl_pinpad_end was not called */
};

#endif
