/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every connection shares: set up by kl_run before the first accept. Loop thread only, but for
 * the members whose thread is named. Owned by kl_run.
 */
#ifndef KL_DAEMON_SERVICE_H
#define KL_DAEMON_SERVICE_H

#include <event2/event.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/audit/alarm.h"
#include "daemon/config.h"
#include "daemon/hsm/pool.h"
#include "daemon/life/life.h"
#include "daemon/loader/trust.h"
#include "daemon/monitor/metrics.h"
#include "daemon/store/committer.h"

struct kl_conn;
struct kl_daemon;
struct kl_listener;
struct kl_reload;
struct kl_trail;
TAILQ_HEAD(kl_conn_list, kl_conn);
LIST_HEAD(kl_conn_named, kl_conn);
#define KL_SERVICE_BUCKETS 4096

struct kl_service {
    struct event_base *base;
    /* In force for what begins now; a reload swaps it. Whoever needs it later than in this call
     * takes a reference, or what it needs of it. */
    const struct kl_config *config;
    const char *config_path;
    struct kl_reload *reload;
    struct kl_daemon *daemon;     /* run.c's */
    int draining;                 /* it is about to end: nothing new begins */
    int accepting;                /* terminals can connect */
    struct kl_listener *listener; /* NULL until it accepts */
    struct kl_pool *pool;
    struct kl_committer *committer;
    struct kl_trail *trail;
    struct kl_alarms alarms;                        /* store thread only */
    struct kl_conn_list conns;                      /* every open connection */
    struct kl_conn_named named[KL_SERVICE_BUCKETS]; /* those of a known serial, by its hash */
    /* tsearch trees, by serial, of those for whose load or sign-in the HSM works */
    void *loading, *signing_in;
    size_t coming;              /* loads whose jobs will come to the pool soon, if all goes well */
    uint64_t working_keys_sent; /* how many */
    struct kl_metrics metrics;
    struct kl_quota log_quota; /* lines about peers */
    struct kl_trust *trust;    /* in force for new sessions */
};

/* One log line about a peer's doing, within a budget; serial "" if it has not said. Loop thread. */
#define KL_SERVICE_LOG_MAX 600 /* lines a minute */
void kl_service_log_peer(struct kl_service *service, const char *event, const char *address,
                         const char *serial, const struct kl_err *err);

#endif
