/* SPDX-License-Identifier: BSD-2-Clause */
/* The network process, from an accepted configuration to its end. */
#ifndef KL_DAEMON_RUN_H
#define KL_DAEMON_RUN_H

#include "daemon/config.h"
#include "proto/err.h"

/* Checks certificates against each other and the clock, opens the store, and does with the HSM what
 * a worker does at its start (one login, the self-test). What `keyloaderd -t` does. */
enum kl_rc kl_run_check(const struct kl_config *config, struct kl_err *err) KL_MUST_CHECK;

/* Serves until SIGTERM or SIGINT has drained the daemon (KL_OK), or it cannot start or go on. */
enum kl_rc kl_run(const struct kl_config *config, struct kl_err *err) KL_MUST_CHECK;

#endif
