/* SPDX-License-Identifier: BSD-2-Clause */
/* Distributions in fixed buckets. */
#include "daemon/monitor/histogram.h"

static const uint64_t time_bounds[] = {500,     1000,     2500,     5000,    10000,   25000,
                                       50000,   100000,   250000,   500000,  1000000, 2500000,
                                       5000000, 10000000, 30000000, 60000000};
static const uint64_t count_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
_Static_assert(sizeof(time_bounds) / sizeof(time_bounds[0]) == KL_HISTOGRAM_BOUNDS,
               "a histogram has not as many buckets as there are bounds");

const uint64_t *kl_histogram_bounds(enum kl_histogram_of of, size_t *count)
{
    *count = of == KL_HISTOGRAM_TIME ? sizeof(time_bounds) / sizeof(time_bounds[0])
                                     : sizeof(count_bounds) / sizeof(count_bounds[0]);
    return of == KL_HISTOGRAM_TIME ? time_bounds : count_bounds;
}

void kl_histogram_add(struct kl_histogram *histogram, enum kl_histogram_of of, int64_t value)
{
    size_t count, i = 0;
    const uint64_t *bounds = kl_histogram_bounds(of, &count);
    uint64_t amount = value > 0 ? (uint64_t)value : 0;

    while (i < count && amount > bounds[i]) {
        i++;
    }
    histogram->bucket[i]++;
    histogram->count++;
    histogram->sum += amount;
}

double kl_histogram_quantile(const struct kl_histogram *histogram, enum kl_histogram_of of,
                             double share)
{
    size_t count;
    const uint64_t *bounds = kl_histogram_bounds(of, &count);
    double wanted = share * (double)histogram->count, below = 0, from = 0;

    for (size_t i = 0; i < count; i++) {
        double here = (double)histogram->bucket[i];
        if (here > 0 && below + here >= wanted) {
            return from + ((double)bounds[i] - from) * (wanted - below) / here;
        }
        below += here;
        from = (double)bounds[i];
    }
    return histogram->count > 0 ? from : 0;
}
