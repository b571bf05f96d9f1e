/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * That an HSM serves although its module does not enforce some of key policy goes into the audit
 * trail: at the daemon's start, and whenever what was found changes.
 */
#ifndef KL_DAEMON_AUDIT_HSM_TRAIL_H
#define KL_DAEMON_AUDIT_HSM_TRAIL_H

#include "daemon/hsm/pool.h"
#include "daemon/service.h"

/* What is durably recorded of each HSM, as KL_WEAK_BITs, and whether a record of it is on its way;
 * all zero at the start. Loop thread; outlives the committer. */
struct kl_hsm_trail {
    unsigned recorded[KL_HSM_MAX];
    int queued[KL_HSM_MAX];
};

/* Looks at the pool, and queues an audit record for each HSM that has become another. Called when a
 * worker is ready, and every so often: what could not be queued, or committed, is tried again. */
void kl_hsm_trail_look(struct kl_hsm_trail *trail, const struct kl_service *service);

#endif
