/* SPDX-License-Identifier: BSD-2-Clause */
/* The network process, from an accepted configuration to its end. */
#ifndef KL_DAEMON_RUN_H
#define KL_DAEMON_RUN_H

#include "daemon/config.h"
#include "daemon/service.h"
#include "proto/err.h"

/* Checks certificates against each other and the clock, opens the store, and does with the HSM what
 * a worker does at its start (one login, the self-test). What `keyloaderd -t` does. */
enum kl_rc kl_run_check(const struct kl_config *config, struct kl_err *err) KL_MUST_CHECK;

/* Serves until SIGTERM, SIGINT or kl_run_drain has drained the daemon (KL_OK), or it cannot start
 * or go on. config, of kl_config_new, was read from path, which a reload reads again; both are
 * there until it returns. */
enum kl_rc kl_run(const char *path, const struct kl_config *config,
                  struct kl_err *err) KL_MUST_CHECK;

/* Accepts no more and lets loads under way finish, at most [limits] drain-timeout; then kl_run
 * returns. why: for the log, who wanted it. Again: no effect. Loop thread. */
void kl_run_drain(struct kl_service *service, const char *why);

#endif
