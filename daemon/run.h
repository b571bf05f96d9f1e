/* SPDX-License-Identifier: BSD-2-Clause */
/* The network process, from an accepted configuration to its end. */
#ifndef KL_DAEMON_RUN_H
#define KL_DAEMON_RUN_H

#include "daemon/config.h"
#include "daemon/process/sockets.h"
#include "daemon/service.h"
#include "proto/err.h"

/* Checks certificates against each other and the clock, opens the store, and does with the HSM what
 * a worker does at its start (one login, the self-test). What `keyloaderd -t` does. */
enum kl_rc kl_run_check(const struct kl_config *config, struct kl_err *err) KL_MUST_CHECK;

struct kl_run_options {
    const char *config_path; /* which a reload reads again */
    int take_over;           /* from the daemon that serves the store */
    const char *pidfile;     /* if take_over: made once that one has ended; else NULL */
};

/* Serves until SIGTERM, SIGINT or kl_run_drain has drained the daemon, or another one has taken
 * over (KL_OK), or it cannot start or go on. config is of kl_config_new; takes sockets. */
enum kl_rc kl_run(const struct kl_run_options *options, const struct kl_config *config,
                  struct kl_sockets *sockets, struct kl_err *err) KL_MUST_CHECK;

/* Accepts no more and lets loads under way finish, at most [limits] drain-timeout; then kl_run
 * returns. why: for the log, who wanted it. Again: no effect. Loop thread. */
void kl_run_drain(struct kl_service *service, const char *why);

#endif
