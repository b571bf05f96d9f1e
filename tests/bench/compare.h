/* SPDX-License-Identifier: BSD-2-Clause */
/* Two reports of make bench (bench.json), figure by figure: what a change of the code changed. */
#ifndef KL_TESTS_BENCH_COMPARE_H
#define KL_TESTS_BENCH_COMPARE_H

#include <jansson.h>
#include <stdio.h>

#include "proto/err.h"

/* Prints a line for each figure: both medians, their difference in percent, and what that means.
 * It is beyond the spread if the samples of the two do not overlap: whatever was lowest in one is
 * higher than what was highest in the other. Only with a target is it known which way is better.
 * *worse: how many figures with a target are worse beyond the spread. KL_ERR_INPUT if one is not
 * such a report; nothing is printed then. */
enum kl_rc compare_reports(const json_t *before, const json_t *after, FILE *out, unsigned *worse,
                           struct kl_err *err) KL_MUST_CHECK;

/* The same with files, to stdout: exit status of `bench --compare`. */
int compare_files(const char *before, const char *after);

#endif
