/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The HSM worker processes as the network process sees them: a bounded queue of jobs in, results
 * out. Starts workers one at a time, replaces those that crash, hang or have served their number of
 * jobs, and never starts one again after the token refused the PIN. Loop thread only.
 */
#ifndef KL_DAEMON_POOL_H
#define KL_DAEMON_POOL_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/job.h"
#include "proto/err.h"

struct kl_pool;

/* Called once in the loop for every submitted job that was not cancelled. result->err says how it
 * went; result is wiped when the call returns. */
typedef void (*kl_pool_done_fn)(const struct kl_job_result *result, void *arg);

/* All called in the loop. */
struct kl_pool_events {
    /* Has a worker that is ready the keys that it must have? If not, it is not used, as if it had
     * failed to start with that error. */
    enum kl_rc (*check)(const struct kl_job_ready *ready, void *arg, struct kl_err *err);
    /* The first worker is ready; once. */
    void (*up)(void *arg);
    /* It is clear that there will be none any more, at start or later, and the last one is gone:
     * PIN refused, key missing, operation missing, token still absent after the retries. */
    void (*down)(const struct kl_err *err, void *arg);
    /* How kl_pool_roll ended: err NULL if every worker has the new keys. Else why one of them could
     * not be started; the pool goes back to the old keys and configuration. */
    void (*rolled)(const struct kl_err *err, void *arg);
    void *arg;
};

/* Starts the first worker. Takes a reference to config, of kl_config_new; the rest is copied. */
enum kl_rc kl_pool_new(struct event_base *base, const struct kl_config *config,
                       const struct kl_job_wants *work_keys, const struct kl_pool_events *events,
                       struct kl_pool **out, struct kl_err *err) KL_MUST_CHECK;
/* Kills the workers, drops what is queued without calling back; takes NULL. */
void kl_pool_free(struct kl_pool *pool);

/* Replaces the workers one by one with such that have these keys and that configuration; the old
 * ones go on until the replacement is ready. Ends with events.rolled; not before `up`, and one at a
 * time. */
void kl_pool_roll(struct kl_pool *pool, const struct kl_config *config,
                  const struct kl_job_wants *work_keys);
/* The same for workers that are started from now on, whenever that is; the others stay. Not while
 * it rolls. */
void kl_pool_update(struct kl_pool *pool, const struct kl_config *config,
                    const struct kl_job_wants *work_keys);

struct kl_ticket; /* a job on its way; dead once done was called or it was cancelled */

/* Queues a LOAD, SIGN_IN or CHECKPOINT, whose id is set here; its used bytes are copied.
 * KL_ERR_BUSY: the queue is full; KL_ERR_UNAVAILABLE: no worker is up. */
enum kl_rc kl_pool_submit(struct kl_pool *pool, const struct kl_job *job, kl_pool_done_fn done,
                          void *arg, struct kl_ticket **ticket, struct kl_err *err) KL_MUST_CHECK;
/* Nobody waits for this any more: it leaves the queue (0), or a worker has it already and its
 * result will be wiped and dropped (1). */
int kl_pool_cancel(struct kl_ticket *ticket);

#endif
