/* SPDX-License-Identifier: BSD-2-Clause */
/* A fleet's counters, and its series, whose points are merged in pairs when there are too many. */
#include "terminal-sim/fleet/fleet_stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *meaning;
} kinds[] = {
#define KIND_ROW(symbol, name, meaning) {name, meaning},
    KL_FLEET_KINDS(KIND_ROW)
#undef KIND_ROW
};
_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == KL_FLEET_KIND_COUNT, "every kind is counted");

const char *kl_fleet_kind_name(enum kl_fleet_kind kind)
{
    return kinds[kind].name;
}

const char *kl_fleet_kind_meaning(enum kl_fleet_kind kind)
{
    return kinds[kind].meaning;
}

unsigned kl_fleet_kind_by_name(const char *name)
{
    for (unsigned i = KL_FLEET_OK + 1; i < KL_FLEET_KIND_COUNT; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return i;
        }
    }
    return 0;
}

enum kl_fleet_kind kl_fleet_kind_of(enum kl_rc rc)
{
    switch ((int)rc) {
    case KL_OK:
        return KL_FLEET_OK;
    case KL_ERR_BUSY:
        return KL_FLEET_BUSY;
    case KL_ERR_PEER:
        return KL_FLEET_REFUSED;
    case KL_ERR_TIMEOUT:
        return KL_FLEET_TIMEOUT;
    case KL_ERR_UNAVAILABLE:
        return KL_FLEET_CONNECT;
    case KL_ERR_CLOSED:
        return KL_FLEET_RESET;
    case KL_ERR_PROTOCOL:
    case KL_ERR_UNSUPPORTED:
        return KL_FLEET_PROTOCOL;
    case KL_ERR_VERIFY:
    case KL_ERR_CERT:
    case KL_ERR_REVOKED:
    case KL_ERR_STRENGTH:
        return KL_FLEET_CHECK;
    default:
        return KL_FLEET_OWN;
    }
}

const char *kl_fleet_step_name(enum kl_fleet_step step)
{
    static const char *const names[KL_FLEET_STEP_COUNT] = {"connect", "certificate", "master-key",
                                                           "done"};

    return names[step];
}

struct kl_fleet_stats *kl_fleet_stats_new(struct kl_err *err)
{
    struct kl_fleet_stats *stats = calloc(1, sizeof(*stats));

    if (!stats) {
        kl_err_set(err, KL_ERR_MEMORY, "no memory for statistics");
        return NULL;
    }
    stats->every = 1;
    return stats;
}

void kl_fleet_stats_attempt(struct kl_fleet_stats *stats, enum kl_fleet_kind kind, const char *text)
{
    if (stats->attempts[kind]++ == 0) {
        snprintf(stats->sample[kind], KL_FLEET_SAMPLE_MAX, "%s", text);
    }
}

void kl_fleet_stats_end(struct kl_fleet_stats *stats, enum kl_fleet_action action,
                        enum kl_fleet_kind kind, int64_t us)
{
    stats->ended[action][kind]++;
    if (kind != KL_FLEET_OK) {
        stats->recent_failed++;
        return;
    }
    stats->recent_good++;
    kl_latency_add(&stats->whole[action], us);
    if (action == KL_FLEET_LOAD) {
        kl_latency_add(&stats->recent, us);
    }
}

static void merge(struct kl_fleet_point *into, const struct kl_fleet_point *from)
{
    into->good += from->good;
    into->failed += from->failed;
    into->p50 = from->p50 > into->p50 ? from->p50 : into->p50;
    into->p99 = from->p99 > into->p99 ? from->p99 : into->p99;
    into->max = from->max > into->max ? from->max : into->max;
    into->open = from->open > into->open ? from->open : into->open;
}

/* Half as many points, each of twice as many ticks. */
static void coarsen(struct kl_fleet_stats *stats)
{
    for (size_t i = 0; i < stats->points / 2; i++) {
        stats->point[i] = stats->point[2 * i];
        merge(&stats->point[i], &stats->point[2 * i + 1]);
    }
    stats->points /= 2;
    memset(&stats->point[stats->points], 0, sizeof(stats->point[0]));
    stats->every *= 2;
}

void kl_fleet_stats_tick(struct kl_fleet_stats *stats, uint32_t open)
{
    const struct kl_fleet_point now = {.good = stats->recent_good,
                                       .failed = stats->recent_failed,
                                       .p50 = kl_latency_quantile(&stats->recent, 0.5),
                                       .p99 = kl_latency_quantile(&stats->recent, 0.99),
                                       .max = stats->recent.max,
                                       .open = open};

    merge(&stats->point[stats->points], &now);
    memset(&stats->recent, 0, sizeof(stats->recent));
    stats->recent_good = stats->recent_failed = 0;
    if (++stats->ticks < stats->every) {
        return;
    }
    stats->ticks = 0;
    if (++stats->points == KL_FLEET_SERIES_MAX) {
        coarsen(stats);
    } else {
        memset(&stats->point[stats->points], 0, sizeof(stats->point[0]));
    }
}

uint64_t kl_fleet_stats_ended(const struct kl_fleet_stats *stats, enum kl_fleet_kind kind)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < KL_FLEET_ACTION_COUNT; i++) {
        sum += stats->ended[i][kind];
    }
    return sum;
}
