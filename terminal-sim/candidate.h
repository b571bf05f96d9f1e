/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A candidate: a TMK that the loader has not yet confirmed, with what is needed to ask again (its
 * Loaded) and to believe the answer (the MAC of each possible Done).
 */
#ifndef KL_TERMINAL_SIM_CANDIDATE_H
#define KL_TERMINAL_SIM_CANDIDATE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"
#include "terminal-sim/pinpad.h"

#define KL_CANDIDATES_MAX (KL_PINPAD_TMK_MAX - 1)

struct kl_candidate {
    int whole;        /* 0: the PIN pad is about to write it, so it may be there only in part */
    uint32_t version; /* of the TMK */
    enum kl_alg alg;
    struct kl_loaded loaded;
    uint8_t active_mac[KL_MAC_LEN]; /* Done.mac that proves KL_VERDICT_ACTIVE */
    uint8_t drop_mac[KL_MAC_LEN];
};

/* What a Done says about the candidate: *verdict, only if version and MAC are right (constant-time
 * compare). KL_ERR_VERIFY otherwise: the candidate must stay as it is. */
enum kl_rc kl_candidate_judge(const struct kl_candidate *candidate, const struct kl_done *done,
                              enum kl_verdict *verdict, struct kl_err *err) KL_MUST_CHECK;

/* File form: a line for each candidate, oldest first. */
#define KL_CANDIDATE_TEXT_MAX 1024
size_t kl_candidate_format(const struct kl_candidate *list, size_t count,
                           char out[KL_CANDIDATE_TEXT_MAX]);
enum kl_rc kl_candidate_parse(const char *text, struct kl_candidate list[KL_CANDIDATES_MAX],
                              size_t *count, struct kl_err *err) KL_MUST_CHECK;

#endif
