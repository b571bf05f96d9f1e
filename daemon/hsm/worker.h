/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An HSM worker process: keyloaderd executed again with `--hsm-worker`, its ends of two socketpairs
 * as descriptors 3 and 4. It loads the module, reads the PIN, logs in once, and serves one job at a
 * time until the other end closes. It owns no network socket and no store.
 */
#ifndef KL_DAEMON_HSM_WORKER_H
#define KL_DAEMON_HSM_WORKER_H

#include <sys/types.h>

#include "daemon/config.h"
#include "daemon/hsm/job.h"
#include "proto/err.h"

#define KL_WORKER_JOBS_FD 3
#define KL_WORKER_ANSWERS_FD 4
#define KL_WORKER_OPTION "hsm-worker"

/* The network process's descriptors of a worker, all close-on-exec; -1: none. Closing jobs and
 * unread ends the worker, and answers then reads as closed. */
struct kl_worker_link {
    int jobs;   /* to send jobs to; non-blocking */
    int unread; /* the worker's own end of that: what it has not read can be taken back from here */
    int answers; /* to receive from; non-blocking */
};
#define KL_WORKER_LINK_INIT \
    { \
        -1, -1, -1 \
    }
/* Closes what is open; may be called again. */
void kl_worker_hang_up(struct kl_worker_link *link);

/* In the network process: starts a worker. *link, of KL_WORKER_LINK_INIT, is the caller's to hang
 * up, also when this fails. */
enum kl_rc kl_worker_spawn(struct kl_worker_link *link, pid_t *pid,
                           struct kl_err *err) KL_MUST_CHECK;

/* In a process of its own and without a worker: opens that HSM as a worker would, self-test
 * included, and says which keys it has found; what `keyloaderd -t` does. */
enum kl_rc kl_worker_check(const struct kl_config *config, size_t hsm,
                           const struct kl_job_wants *work_keys, struct kl_job_ready *ready,
                           struct kl_err *err) KL_MUST_CHECK;

/* In the worker process: serves until the other end closes; returns the exit status. */
int kl_worker_main(void);

#endif
