/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrival times, one after the other. */
#include "terminal-sim/fleet/fleet_schedule.h"

#include <math.h>

void kl_fleet_schedule_rate(struct kl_fleet_schedule *schedule, double rate,
                            enum kl_fleet_spacing spacing, uint64_t count, uint64_t seed)
{
    *schedule = (struct kl_fleet_schedule){.random = {seed},
                                           .spacing = spacing,
                                           .gap_us = 1e6 / rate,
                                           .count = count};
}

void kl_fleet_schedule_storm(struct kl_fleet_schedule *schedule, double spread_us, uint64_t count,
                             uint64_t seed)
{
    *schedule = (struct kl_fleet_schedule){.random = {seed},
                                           .spread_us = spread_us,
                                           .count = count,
                                           .left = 1};
}

int kl_fleet_schedule_next(struct kl_fleet_schedule *schedule, int64_t *at_us)
{
    if (schedule->given == schedule->count) {
        return 0;
    }
    if (schedule->gap_us > 0) {
        schedule->at_us +=
            kl_fleet_random_spacing(&schedule->random, schedule->spacing, schedule->gap_us);
    } else {
        /* The smallest of n evenly spread times, then the smallest of the n - 1 that are left:
         * sorted without a list of them. */
        schedule->left *= pow(kl_fleet_random_share(&schedule->random),
                              1.0 / (double)(schedule->count - schedule->given));
        schedule->at_us = schedule->spread_us * (1 - schedule->left);
    }
    schedule->given++;
    *at_us = (int64_t)schedule->at_us;
    return 1;
}
