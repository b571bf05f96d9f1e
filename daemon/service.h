/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every connection shares: set up by main() before the first accept, then only read, except
 * for the members whose thread is named. Owned by main().
 */
#ifndef KL_DAEMON_SERVICE_H
#define KL_DAEMON_SERVICE_H

#include <event2/event.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/alarm.h"
#include "daemon/committer.h"
#include "daemon/config.h"
#include "daemon/life.h"
#include "daemon/pool.h"
#include "proto/message.h"

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
    /* What goes into every Certificate message. */
    enum kl_oaep_hash oaep_hash;
    size_t chain_count;
    struct kl_bytes chain[KL_CHAIN_MAX]; /* owned: OPENSSL_free */
};

#endif
