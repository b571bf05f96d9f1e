/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the daemon counts while it serves, for the monitor (daemon/monitor/monitor.h) and for
 * status. All of it is one struct in fixed memory: counting allocates nothing and cannot fail. Loop
 * thread only; an all-zero one is a start.
 */
#ifndef KL_DAEMON_MONITOR_METRICS_H
#define KL_DAEMON_MONITOR_METRICS_H

#include <stdint.h>

#include "daemon/config.h"
#include "daemon/monitor/histogram.h"
#include "daemon/store/store.h"
#include "proto/rc.h"
#include "proto/suite.h"

/* What a connection was there for. */
enum kl_session_kind {
    KL_SESSION_NONE, /* it has not said */
    KL_SESSION_LOAD,
    KL_SESSION_SIGN_IN,
    KL_SESSION_CONFIRM, /* of a load of before */
    KL_SESSION_KINDS,
};

/* How it ended. X(enum, name) */
#define KL_OUTCOME_LIST(X) \
    X(KL_OUTCOME_DONE, "done")           /* Done said active */ \
    X(KL_OUTCOME_DROPPED, "dropped")     /* Done said drop */ \
    X(KL_OUTCOME_REFUSED, "refused")     /* by the rules, or by a check */ \
    X(KL_OUTCOME_BUSY, "busy")           /* told to come again later */ \
    X(KL_OUTCOME_TIMEOUT, "timeout")     /* too slow */ \
    X(KL_OUTCOME_FAILED, "failed")       /* the terminal gave up */ \
    X(KL_OUTCOME_ABANDONED, "abandoned") /* the peer closed or vanished */ \
    X(KL_OUTCOME_ERROR, "error")         /* trouble of our own */

enum kl_outcome {
#define KL_OUTCOME_ENUM(code, name) code,
    KL_OUTCOME_LIST(KL_OUTCOME_ENUM)
#undef KL_OUTCOME_ENUM
        KL_OUTCOMES,
};
const char *kl_outcome_name(enum kl_outcome outcome);
/* Of a session that was refused for that reason. */
enum kl_outcome kl_outcome_of(enum kl_rc rc);

enum kl_turned_away {
    KL_AWAY_CONNECTIONS,
    KL_AWAY_PER_ADDRESS,
    KL_AWAY_NOT_ALLOWED,
    KL_AWAY_SYSTEM, /* no memory, no descriptors */
    KL_AWAYS,
};
const char *kl_turned_away_name(enum kl_turned_away why);

/* Jobs of an HSM. */
enum kl_job_group {
    KL_JOBS_LOAD,
    KL_JOBS_SIGN_IN,
    KL_JOBS_OTHER, /* of the daemon's own */
    KL_JOBS,
};
const char *kl_job_group_name(enum kl_job_group group); /* "load", ... */

#define KL_METRICS_STATES 16   /* of a connection: more than there are */
#define KL_METRICS_REFUSALS 32 /* that are remembered */

struct kl_refusal {
    int64_t time; /* Unix; 0 = none */
    enum kl_rc rc;
    char serial[KL_SERIAL_MAX + 1]; /* "" = it has not said */
    char address[64];
};

/* What the store holds, counted now and then (daemon/monitor/census.h). */
struct kl_census {
    int64_t time; /* Unix; 0 = not yet */
    struct kl_store_census rows;
    uint64_t audit_last;             /* record */
    uint64_t store_bytes;            /* database and write-ahead log */
    uint64_t free_bytes, disk_bytes; /* of its file system; free: for who is not root */
};

struct kl_metrics {
    int64_t started;                                                      /* Unix */
    int64_t started_us;                                                   /* kl_clock_us() */
    uint64_t sessions[KL_SESSION_KINDS][KL_OUTCOMES][KL_SUITE_COUNT + 1]; /* suite 0: none yet */
    struct kl_histogram session_time[KL_SESSION_KINDS]; /* of those that are done */
    struct kl_histogram state_time[KL_METRICS_STATES];  /* in each state of a connection */
    struct kl_histogram job_time[KL_HSM_MAX][KL_JOBS]; /* from a worker's having it to its answer */
    uint64_t refusals[KL_RC_COUNT];
    uint64_t alarms[2][KL_RC_COUNT]; /* by enum kl_alarm_of; recorded or suppressed */
    uint64_t malformed;
    uint64_t accepted, turned_away[KL_AWAYS];
    uint64_t clock_steps;                        /* of the wall clock, noticed */
    uint64_t reloads[2];                         /* that failed, that did not */
    struct kl_refusal last[KL_METRICS_REFUSALS]; /* a ring */
    uint64_t last_count;
    struct kl_census census;
};

void kl_metrics_init(struct kl_metrics *metrics);

/* A session is over. suite 0: none was chosen. */
void kl_metrics_session(struct kl_metrics *metrics, enum kl_session_kind kind,
                        enum kl_outcome outcome, enum kl_suite suite, int64_t us);
/* A peer was refused; serial and address are copied. */
void kl_metrics_refused(struct kl_metrics *metrics, enum kl_rc rc, const char *serial,
                        const char *address);
/* The i-th of the remembered refusals, 0 = the latest; NULL if there are no more. */
const struct kl_refusal *kl_metrics_refusal(const struct kl_metrics *metrics, size_t i);

#endif
