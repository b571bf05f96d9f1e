/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A candidate: a TMK that the loader has not yet confirmed, with what is needed to ask again (its
 * Loaded) and to believe the answer (the MAC of each possible Done). And the record: which TMK and
 * which working keys are in use, and every candidate.
 */
#ifndef KL_TERMINAL_SIM_CANDIDATE_H
#define KL_TERMINAL_SIM_CANDIDATE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"
#include "terminal-sim/pinpad/pinpad.h"

#define KL_CANDIDATES_MAX (KL_PINPAD_TMK_MAX - 1)

struct kl_candidate {
    int whole;        /* 0: about to be written, or destroyed, so it may be there only in part */
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

/* Every candidate's version is higher than that of the TMK in use; the oldest comes first. */
struct kl_record {
    struct kl_pinpad_tmk active; /* the TMK in use; version 0 = none yet */
    struct kl_pinpad_pair keys;  /* the working keys in use, of that TMK; number 0 = none */
    int keys_in_doubt;           /* 1: Loaded of a sign-in under that TMK went out, and no Done came
                                    since: the loader may have other keys, or none, as current */
    uint32_t abandoned; /* the last candidate that was given up without the loader's word, so
                           that the loader may count it as active; 0 = none */
    size_t count;
    struct kl_candidate candidates[KL_CANDIDATES_MAX];
};

/* File form: a line for the TMK in use, one for its working keys, one if they are in doubt, one for
 * what was given up, one for each candidate, and "end". A record of nothing is no text at all, and
 * no file. */
#define KL_RECORD_TEXT_MAX 1024
size_t kl_record_format(const struct kl_record *record, char out[KL_RECORD_TEXT_MAX]);
enum kl_rc kl_record_parse(const char *text, struct kl_record *out,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
