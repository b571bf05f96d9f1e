/* SPDX-License-Identifier: BSD-2-Clause */
/* Logarithmic buckets, each doubling divided evenly. */
#include "terminal-sim/fleet/fleet_latency.h"

#include <math.h>

#define SUB 64  /* buckets of a doubling */
#define SHIFT 6 /* its logarithm */
/* The first two doublings' worth are one microsecond each; the last one is bit 31's. */
_Static_assert(KL_LATENCY_BUCKETS == 2 * SUB + (31 - SHIFT) * SUB, "every time has its bucket");

static size_t bucket_of(uint64_t us)
{
    unsigned shift;

    if (us < 2 * (uint64_t)SUB) {
        return us;
    }
    shift = 63 - (unsigned)__builtin_clzll(us) - SHIFT;
    return (size_t)shift * SUB + (us >> shift);
}

/* The longest time that falls into it. */
static int64_t upper_end(size_t bucket)
{
    size_t shift;

    if (bucket < 2 * (size_t)SUB) {
        return (int64_t)bucket;
    }
    shift = bucket / SUB - 1;
    return (int64_t)(((uint64_t)(bucket - shift * SUB) + 1) << shift) - 1;
}

void kl_latency_add(struct kl_latency *latency, int64_t us)
{
    int64_t amount = us < 0 ? 0 : us > KL_LATENCY_TOP ? KL_LATENCY_TOP : us;

    if (latency->count == 0 || amount < latency->min) {
        latency->min = amount;
    }
    if (amount > latency->max) {
        latency->max = amount;
    }
    latency->count++;
    latency->sum += (uint64_t)amount;
    latency->bucket[bucket_of((uint64_t)amount)]++;
}

int64_t kl_latency_quantile(const struct kl_latency *latency, double share)
{
    double rank = ceil(share * (double)latency->count);
    uint64_t wanted = rank < 1 ? 1 : (uint64_t)rank, seen = 0;

    for (size_t i = 0; i < KL_LATENCY_BUCKETS; i++) {
        seen += latency->bucket[i];
        if (seen >= wanted) {
            int64_t end = upper_end(i);
            return end < latency->max ? end : latency->max;
        }
    }
    return latency->max;
}

double kl_latency_mean(const struct kl_latency *latency)
{
    return latency->count ? (double)latency->sum / (double)latency->count : 0;
}
