/* SPDX-License-Identifier: BSD-2-Clause */
/* What the daemon counts. */
#include "daemon/monitor/metrics.h"

#include <stdio.h>
#include <time.h>

#include "proto/clock.h"

const char *kl_outcome_name(enum kl_outcome outcome)
{
    static const char *const names[] = {
#define NAME(code, name) [code] = (name),
        KL_OUTCOME_LIST(NAME)
#undef NAME
    };

    return names[outcome];
}

enum kl_outcome kl_outcome_of(enum kl_rc rc)
{
    switch (kl_rc_wire(rc)) {
    case KL_WIRE_BUSY:
        return KL_OUTCOME_BUSY;
    case KL_WIRE_TIMEOUT:
        return KL_OUTCOME_TIMEOUT;
    case KL_WIRE_INTERNAL:
        return KL_OUTCOME_ERROR;
    default:
        return KL_OUTCOME_REFUSED;
    }
}

const char *kl_turned_away_name(enum kl_turned_away why)
{
    static const char *const names[] = {
        [KL_AWAY_CONNECTIONS] = "connections",
        [KL_AWAY_PER_ADDRESS] = "connections-per-address",
        [KL_AWAY_NOT_ALLOWED] = "not-allowed",
        [KL_AWAY_SYSTEM] = "system",
    };

    return names[why];
}

const char *kl_job_group_name(enum kl_job_group group)
{
    static const char *const names[] = {
        [KL_JOBS_LOAD] = "load",
        [KL_JOBS_SIGN_IN] = "sign-in",
        [KL_JOBS_OTHER] = "other",
    };

    return names[group];
}

void kl_metrics_init(struct kl_metrics *metrics)
{
    *metrics = (struct kl_metrics){.started = (int64_t)time(NULL), .started_us = kl_clock_us()};
}

void kl_metrics_session(struct kl_metrics *metrics, enum kl_session_kind kind,
                        enum kl_outcome outcome, enum kl_suite suite, int64_t us)
{
    metrics->sessions[kind][outcome][suite]++;
    if (outcome == KL_OUTCOME_DONE) {
        kl_histogram_add(&metrics->session_time[kind], KL_HISTOGRAM_TIME, us);
    }
}

void kl_metrics_refused(struct kl_metrics *metrics, enum kl_rc rc, const char *serial,
                        const char *address)
{
    struct kl_refusal *last = &metrics->last[metrics->last_count++ % KL_METRICS_REFUSALS];

    metrics->refusals[rc]++;
    last->time = (int64_t)time(NULL);
    last->rc = rc;
    snprintf(last->serial, sizeof(last->serial), "%s", serial);
    snprintf(last->address, sizeof(last->address), "%s", address);
}

const struct kl_refusal *kl_metrics_refusal(const struct kl_metrics *metrics, size_t i)
{
    if (i >= KL_METRICS_REFUSALS || i >= metrics->last_count) {
        return NULL;
    }
    return &metrics->last[(metrics->last_count - 1 - i) % KL_METRICS_REFUSALS];
}
