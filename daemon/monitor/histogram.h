/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A distribution in fixed buckets, in constant memory: what is needed for quantiles that can be
 * added up over time and over machines. Not thread-safe; an all-zero one is empty.
 */
#ifndef KL_DAEMON_MONITOR_HISTOGRAM_H
#define KL_DAEMON_MONITOR_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define KL_HISTOGRAM_BOUNDS 16

/* What the buckets' upper bounds are; the last bucket has none. */
enum kl_histogram_of {
    KL_HISTOGRAM_TIME,  /* microseconds; from 0.5 ms to 60 s */
    KL_HISTOGRAM_COUNT, /* of things; from 1 to 512 */
};

struct kl_histogram {
    uint64_t count, sum;
    uint64_t bucket[KL_HISTOGRAM_BOUNDS + 1]; /* each its own, not cumulative */
};

/* The bounds of that kind, *count of them (KL_HISTOGRAM_BOUNDS at most); static. */
const uint64_t *kl_histogram_bounds(enum kl_histogram_of of, size_t *count);

/* value < 0 counts as 0. */
void kl_histogram_add(struct kl_histogram *histogram, enum kl_histogram_of of, int64_t value);

/* The value that a share (0 < share <= 1) of them does not exceed, by straight lines within a
 * bucket; 0 for an empty one, the last bound for what is beyond it. */
double kl_histogram_quantile(const struct kl_histogram *histogram, enum kl_histogram_of of,
                             double share);

#endif
