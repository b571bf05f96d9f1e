/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Chance for arrivals, pauses and mixes: the same numbers for the same seed on every machine, so
 * that a run can be repeated. Never for keys, whose random numbers are the PIN pad's.
 */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_RANDOM_H
#define KL_TERMINAL_SIM_FLEET_FLEET_RANDOM_H

#include <stdint.h>

struct kl_fleet_random {
    uint64_t state; /* the seed, before the first call */
};

/* Above 0 and at most 1, evenly. */
double kl_fleet_random_share(struct kl_fleet_random *random);

/* How long between two things that happen on average every `mean`. */
enum kl_fleet_spacing {
    KL_FLEET_FIXED,       /* mean */
    KL_FLEET_UNIFORM,     /* 0 to 2 * mean, evenly */
    KL_FLEET_EXPONENTIAL, /* as independent things do (Poisson) */
};
double kl_fleet_random_spacing(struct kl_fleet_random *random, enum kl_fleet_spacing spacing,
                               double mean);

/* A number that depends on both and on nothing else, well mixed. */
uint64_t kl_fleet_random_hash(uint64_t salt, uint64_t index);

#endif
