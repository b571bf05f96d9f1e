/* SPDX-License-Identifier: BSD-2-Clause */
/* What a run of attacks came to: as text, TAP, JSON or JUnit XML, and as an exit status. */
#ifndef KL_TERMINAL_SIM_ATTACK_RESULTS_H
#define KL_TERMINAL_SIM_ATTACK_RESULTS_H

#include <stdio.h>

#include "proto/err.h"
#include "terminal-sim/attack/attack.h"

struct kl_results {
    size_t count, room;
    struct kl_attack_result *of;
    int strict; /* 1: what is inconclusive counts as failed */
};

enum kl_rc kl_results_add(struct kl_results *results, const struct kl_attack_result *result,
                          struct kl_err *err) KL_MUST_CHECK;
void kl_results_wipe(struct kl_results *results);

/* 0 all held, or some held and, unless strict, the rest inconclusive (what is not tried does
 * not count); 1 one is broken; 2 neither.
 */
#define KL_RESULTS_HELD 0
#define KL_RESULTS_BROKEN 1
#define KL_RESULTS_INCONCLUSIVE 2
int kl_results_status(const struct kl_results *results);

/* Text and TAP go line by line: the head (of TAP: how many there will be), each result, the sums.
 */
void kl_results_text(FILE *out, const struct kl_attack_result *result);
void kl_results_text_end(FILE *out, const struct kl_results *results);
void kl_results_tap_begin(FILE *out, size_t count);
void kl_results_tap(FILE *out, const struct kl_results *results, size_t number); /* from 0 */

enum kl_rc kl_results_json(const struct kl_results *results, struct kl_err *err) KL_MUST_CHECK;
void kl_results_junit(FILE *out, const struct kl_results *results);

#endif
