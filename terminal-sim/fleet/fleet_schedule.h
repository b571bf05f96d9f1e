/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When terminals arrive in an open loop: a sequence of intended times that nothing can change once
 * it has begun, however slow the loader is. One thread; no clock.
 */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_SCHEDULE_H
#define KL_TERMINAL_SIM_FLEET_FLEET_SCHEDULE_H

#include <stdint.h>

#include "terminal-sim/fleet/fleet_random.h"

struct kl_fleet_schedule {
    struct kl_fleet_random random;
    enum kl_fleet_spacing spacing;
    double gap_us;      /* mean time between arrivals; 0: a storm */
    double spread_us;   /* of a storm */
    uint64_t count;     /* arrivals there will be; UINT64_MAX: no end */
    uint64_t given;     /* of them, so far */
    double at_us, left; /* the last one's time; of a storm, the share of spread_us after it */
};

/* Arrivals at `rate` a second (above 0), spaced so: KL_FLEET_FIXED or KL_FLEET_EXPONENTIAL. */
void kl_fleet_schedule_rate(struct kl_fleet_schedule *schedule, double rate,
                            enum kl_fleet_spacing spacing, uint64_t count, uint64_t seed);

/* `count` arrivals, each at any time from 0 to spread_us, evenly; 0: all at once. */
void kl_fleet_schedule_storm(struct kl_fleet_schedule *schedule, double spread_us, uint64_t count,
                             uint64_t seed);

/* The next intended time in microseconds since the start, never before the last one; 0 = there is
 * none any more. */
int kl_fleet_schedule_next(struct kl_fleet_schedule *schedule, int64_t *at_us);

#endif
