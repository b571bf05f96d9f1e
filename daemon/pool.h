/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The HSM worker processes as the network process sees them: a bounded queue of loads in, results
 * out. Starts workers one at a time, replaces those that crash, hang or have served their number of
 * loads, and never starts one again after the token refused the PIN. Loop thread only.
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

/* Called once in the loop for every submitted load that was not cancelled. result->err says how it
 * went; result is wiped when the call returns. */
typedef void (*kl_pool_done_fn)(const struct kl_job_result *result, void *arg);

/* Called when the first worker is ready (err NULL); and when it is clear that there will be none,
 * at start or later, and the last one is gone (err says why: PIN refused, key missing, operation
 * missing, token still absent after the retries). */
typedef void (*kl_pool_start_fn)(const struct kl_job_ready *ready, const struct kl_err *err,
                                 void *arg);

/* Starts the first worker. config is borrowed and must outlive the pool. */
enum kl_rc kl_pool_new(struct event_base *base, const struct kl_config *config,
                       kl_pool_start_fn start, void *arg, struct kl_pool **out,
                       struct kl_err *err) KL_MUST_CHECK;
/* Kills the workers, drops what is queued without calling back; takes NULL. */
void kl_pool_free(struct kl_pool *pool);

struct kl_ticket; /* a load on its way; dead once done was called or it was cancelled */

/* Queues a load; `load`'s id is set here, its used bytes are copied. KL_ERR_BUSY: the queue is
 * full; KL_ERR_UNAVAILABLE: no worker is up. */
enum kl_rc kl_pool_submit(struct kl_pool *pool, const struct kl_job_load *load,
                          kl_pool_done_fn done, void *arg, struct kl_ticket **ticket,
                          struct kl_err *err) KL_MUST_CHECK;
/* Nobody waits for this any more: it leaves the queue (0), or a worker has it already and its
 * result will be wiped and dropped (1). */
int kl_pool_cancel(struct kl_ticket *ticket);

#endif
