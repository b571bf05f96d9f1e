/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Module 104, judgement (S8): is the signed content of MasterKey an answer to this load, for this
 * terminal, with a key that it may take? The signature has been verified before.
 */
#ifndef KL_TERMINAL_SIM_JUDGE_H
#define KL_TERMINAL_SIM_JUDGE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/alg.h"
#include "proto/err.h"
#include "proto/message.h"

struct kl_judge { /* what the terminal knows; all borrowed */
    const uint8_t *t1;
    const uint8_t *rnd2;
    const char *serial;
    const enum kl_alg *algs; /* offered */
    size_t alg_count;
    enum kl_key_type work_type;
    unsigned work_bits;
    uint32_t version_floor; /* the highest TMK version that the PIN pad holds; 0 = none */
};

/* KL_ERR_VERIFY or KL_ERR_STRENGTH with a text, for the log only, that names the failed check. */
enum kl_rc kl_judge_tbs(const struct kl_judge *judge, const struct kl_tbs *tbs,
                        struct kl_err *err) KL_MUST_CHECK;

/* S9: the PIN pad's KCV against the loader's, both tbs->kcv_len bytes. */
enum kl_rc kl_judge_kcv(const struct kl_tbs *tbs, const uint8_t *kcv,
                        struct kl_err *err) KL_MUST_CHECK;

#endif
