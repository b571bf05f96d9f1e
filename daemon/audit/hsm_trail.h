/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * That an HSM serves although its module does not enforce some of key policy goes into the audit
 * trail: at the daemon's start, and whenever what was found changes.
 */
#ifndef KL_DAEMON_AUDIT_HSM_TRAIL_H
#define KL_DAEMON_AUDIT_HSM_TRAIL_H

#include "daemon/hsm/pool.h"
#include "daemon/service.h"

/* What was recorded last, as KL_WEAK_BITs; all zero at the start. Loop thread. */
struct kl_hsm_trail {
    unsigned recorded[KL_HSM_MAX];
};

/* Looks at the pool, and queues an audit record for each HSM that has become another. Called every
 * so often: what cannot be queued now is tried again. */
void kl_hsm_trail_look(struct kl_hsm_trail *trail, const struct kl_service *service);

#endif
