/* SPDX-License-Identifier: BSD-2-Clause */
/* SplitMix64 (Steele, Lea, Flood 2014). */
#include "terminal-sim/fleet/fleet_random.h"

#include <math.h>

#define STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t next(struct kl_fleet_random *random)
{
    random->state += STEP;
    return mix(random->state);
}

double kl_fleet_random_share(struct kl_fleet_random *random)
{
    return (double)((next(random) >> 11) + 1) / 9007199254740992.0; /* 2^53 */
}

double kl_fleet_random_spacing(struct kl_fleet_random *random, enum kl_fleet_spacing spacing,
                               double mean)
{
    switch (spacing) {
    case KL_FLEET_UNIFORM:
        return 2 * mean * kl_fleet_random_share(random);
    case KL_FLEET_EXPONENTIAL:
        return -mean * log(kl_fleet_random_share(random));
    case KL_FLEET_FIXED:
        break;
    }
    return mean;
}

uint64_t kl_fleet_random_hash(uint64_t salt, uint64_t index)
{
    return mix(mix(salt + STEP) + index * STEP);
}
