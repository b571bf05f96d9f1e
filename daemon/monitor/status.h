/* SPDX-License-Identifier: BSD-2-Clause */
/* How the daemon is, for operators and their programs. Loop thread only. */
#ifndef KL_DAEMON_MONITOR_STATUS_H
#define KL_DAEMON_MONITOR_STATUS_H

#include <jansson.h>

#include "daemon/service.h"

/* The HSMs alone, as the status has them. The caller frees with json_decref. Loop thread. */
json_t *kl_status_hsms(const struct kl_service *service);

/* All of it as one object: version, uptime, sessions, loads, HSMs and their queue, certificates and
 * CRLs, store, audit trail, terminals, the last refusals. The caller owns it; NULL: out of memory.
 * docs/operations.md, section 8, has the members. */
json_t *kl_status_json(const struct kl_service *service);

/* {"ready": true, "reasons": []}, or why new loads cannot be served just now. The caller owns it;
 * NULL: out of memory. */
json_t *kl_status_ready(const struct kl_service *service);

#endif
