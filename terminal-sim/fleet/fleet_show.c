/* SPDX-License-Identifier: BSD-2-Clause */
/* A run's progress: one line on a terminal, once a second. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/clock.h"
#include "terminal-sim/fleet/fleet_impl.h"

static double ms(int64_t us)
{
    return (double)us / 1000;
}

void kl_fleet_show(const struct kl_fleet *fleet, int last)
{
    static const char *const phases[] = {"connecting idle terminals", "", "ending", "confirming",
                                         "over"};
    const struct kl_fleet_stats *stats = fleet->stats;

    if (!fleet->show) {
        return;
    }
    fprintf(stderr, "\r\033[K%.0fs %s ok %" PRIu64 " (%" PRIu64 "/s) open %" PRIu32,
            (double)(kl_clock_us() - fleet->began) / 1e6, phases[fleet->phase],
            kl_fleet_stats_ended(stats, KL_FLEET_OK), stats->recent_good, fleet->open);
    if (fleet->config->idle) {
        fprintf(stderr, " idle %" PRIu64, fleet->result.idle_open);
    }
    for (unsigned i = KL_FLEET_OK + 1; i < KL_FLEET_KIND_COUNT; i++) {
        uint64_t ended = kl_fleet_stats_ended(stats, (enum kl_fleet_kind)i);

        if (ended || stats->attempts[i]) {
            fprintf(stderr, " %s %" PRIu64, kl_fleet_kind_name((enum kl_fleet_kind)i),
                    ended > stats->attempts[i] ? ended : stats->attempts[i]);
        }
    }
    fprintf(stderr, " p50 %.1fms p99 %.1fms%s", ms(kl_latency_quantile(&stats->recent, 0.5)),
            ms(kl_latency_quantile(&stats->recent, 0.99)), last ? "\n" : "");
    fflush(stderr);
}
