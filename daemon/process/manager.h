/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The service manager (systemd, or whatever else set NOTIFY_SOCKET): that we are alive, as often as
 * WATCHDOG_USEC wants to hear it, and a line of status. Alive is a loop that turns and a store
 * thread that gets on; HSM workers have a watch of their own, and a slow HSM is no reason to end.
 * Loop thread only.
 */
#ifndef KL_DAEMON_PROCESS_MANAGER_H
#define KL_DAEMON_PROCESS_MANAGER_H

#include "daemon/service.h"
#include "proto/err.h"

struct kl_manager;

enum kl_rc kl_manager_new(struct kl_service *service, struct kl_manager **out,
                          struct kl_err *err) KL_MUST_CHECK;
void kl_manager_free(struct kl_manager *manager); /* takes NULL */

/* It serves; this process does, whatever the service manager thought to be the main one. */
void kl_manager_ready(void);
/* It ends, which may take as long as that. */
void kl_manager_stopping(uint64_t seconds);
/* Process pid serves in our place. */
void kl_manager_replaced(long pid);

#endif
