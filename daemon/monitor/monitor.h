/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor: metrics, health and a status page over HTTP, for this machine alone ([monitor]
 * listen). Once a second the loop makes a view of itself; all else is done by a thread that knows
 * only views (daemon/monitor/monitor_http.h). Loop thread only.
 */
#ifndef KL_DAEMON_MONITOR_MONITOR_H
#define KL_DAEMON_MONITOR_MONITOR_H

#include "daemon/service.h"
#include "proto/err.h"

struct kl_monitor;

/* Listens where service->config says, and logs event=monitoring; nowhere: *out = NULL. */
enum kl_rc kl_monitor_new(struct kl_service *service, struct kl_monitor **out,
                          struct kl_err *err) KL_MUST_CHECK;
/* Before anything that views tell of is freed; takes NULL. */
void kl_monitor_free(struct kl_monitor *monitor);

#endif
