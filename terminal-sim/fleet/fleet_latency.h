/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A distribution of times whose percentiles are exact to 1.6 %: 64 buckets for each doubling, in
 * constant memory (14 KiB), whatever is recorded. (The daemon's histogram has the few fixed bounds
 * that a monitoring system can add up; percentiles of a load test need more.) An all-zero one is
 * empty. One thread.
 */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_LATENCY_H
#define KL_TERMINAL_SIM_FLEET_FLEET_LATENCY_H

#include <stddef.h>
#include <stdint.h>

#define KL_LATENCY_TOP \
    (((int64_t)1 << 32) - 1) /* microseconds, 71 minutes: more counts as this \
                              */
#define KL_LATENCY_BUCKETS 1728

struct kl_latency {
    uint64_t count, sum; /* microseconds */
    int64_t min, max;
    uint64_t bucket[KL_LATENCY_BUCKETS];
};

/* Microseconds; below 0 counts as 0. */
void kl_latency_add(struct kl_latency *latency, int64_t us);

/* The time that a share (0 to 1) of them does not exceed, in microseconds: the upper end of its
 * bucket, but never more than the longest; 0 for an empty one. */
int64_t kl_latency_quantile(const struct kl_latency *latency, double share);

double kl_latency_mean(const struct kl_latency *latency); /* microseconds; 0 for an empty one */

#endif
