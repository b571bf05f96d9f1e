/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An HSM worker process: keyloaderd executed again with `--hsm-worker`, its end of the socketpair
 * as descriptor 3. It loads the module, reads the PIN, logs in once, and serves one load at a
 * time until the other end closes. It owns no network socket and no store.
 */
#ifndef KL_DAEMON_HSM_WORKER_H
#define KL_DAEMON_HSM_WORKER_H

#include <sys/types.h>

#include "daemon/config.h"
#include "daemon/hsm/job.h"
#include "proto/err.h"

#define KL_WORKER_FD 3
#define KL_WORKER_OPTION "hsm-worker"

/* In the network process: starts a worker. *fd is our end of the socketpair, non-blocking and
 * close-on-exec; closing it ends the worker. */
enum kl_rc kl_worker_spawn(int *fd, pid_t *pid, struct kl_err *err) KL_MUST_CHECK;

/* In a process of its own and without a worker: opens that HSM as a worker would, self-test
 * included, and says which keys it has found; what `keyloaderd -t` does. */
enum kl_rc kl_worker_check(const struct kl_config *config, size_t hsm,
                           const struct kl_job_wants *work_keys, struct kl_job_ready *ready,
                           struct kl_err *err) KL_MUST_CHECK;

/* In the worker process: serves until the other end closes; returns the exit status. */
int kl_worker_main(void);

#endif
