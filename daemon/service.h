/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every connection shares: set up by kl_run before the first accept, then only read, except
 * for the members whose thread is named. Owned by kl_run.
 */
#ifndef KL_DAEMON_SERVICE_H
#define KL_DAEMON_SERVICE_H

#include <event2/event.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/alarm.h"
#include "daemon/committer.h"
#include "daemon/config.h"
#include "daemon/life.h"
#include "daemon/pool.h"
#include "daemon/trust.h"

struct kl_conn;
TAILQ_HEAD(kl_conn_list, kl_conn);

struct kl_service {
    struct event_base *base;
    const struct kl_config *config;
    struct kl_pool *pool;
    struct kl_committer *committer;
    struct kl_life_policy policy;
    struct kl_alarms alarms;   /* store thread only */
    struct kl_conn_list conns; /* loop thread only: every open connection */
    /* Loop thread only: tsearch trees, by serial, of those for whose load or sign-in the HSM works
     */
    void *loading, *signing_in;
    uint64_t working_keys_sent; /* loop thread only: how many */
    struct kl_quota log_quota;  /* loop thread only: lines about peers */
    struct kl_trust *trust;     /* loop thread only: in force for new sessions */
};

/* One log line about a peer's doing, within a budget; serial "" if it has not said. Loop thread. */
#define KL_SERVICE_LOG_MAX 600 /* lines a minute */
void kl_service_log_peer(struct kl_service *service, const char *event, const char *address,
                         const char *serial, const struct kl_err *err);

#endif
