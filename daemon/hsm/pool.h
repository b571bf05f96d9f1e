/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The HSM worker processes as the network process sees them: a bounded queue of jobs in, results
 * out. Each HSM has workers of its own; whichever is idle gets the next job, and a busy one the one
 * after that. Replaces workers that crash, hang, lose their session or have served their number of
 * jobs; leaves an HSM alone that fails (daemon/hsm/breaker.h), and one that refused the PIN until
 * an operator says otherwise. Loop thread only.
 */
#ifndef KL_DAEMON_HSM_POOL_H
#define KL_DAEMON_HSM_POOL_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/hsm/breaker.h"
#include "daemon/hsm/job.h"
#include "proto/err.h"

struct kl_pool;

/* Called once in the loop for every submitted job that was not cancelled. result->err says how it
 * went; result is wiped when the call returns. */
typedef void (*kl_pool_done_fn)(const struct kl_job_result *result, void *arg);

/* A job that an HSM was given has ended. */
struct kl_pool_served {
    size_t hsm; /* index in the configuration */
    enum kl_job_kind kind;
    int64_t ms; /* from the moment that the worker had it */
    enum kl_rc rc;
};

/* All called in the loop. */
struct kl_pool_events {
    /* Has a worker that is ready the keys that it must have? If not, it is not used, as if it had
     * failed to start with that error. */
    enum kl_rc (*check)(const struct kl_job_ready *ready, void *arg, struct kl_err *err);
    /* The first worker is ready; once. */
    void (*up)(void *arg);
    /* No HSM could be opened at the start: PIN refused, key missing, operation missing, token still
     * absent after the retries. Never after `up`: from then on HSMs are waited for. */
    void (*down)(const struct kl_err *err, void *arg);
    /* How kl_pool_roll ended: err NULL if every worker has the new keys (an HSM that is out gets
     * them when it is back). Else why one of them could not be started; the pool goes back to the
     * old keys and configuration. */
    void (*rolled)(const struct kl_err *err, void *arg);
    void (*served)(const struct kl_pool_served *served, void *arg); /* may be NULL */
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

/* Is there room for a job of that kind that will be submitted soon? A peer that is told Busy before
 * anything else costs next to nothing. coming: others of which the same is expected; they count
 * once three quarters of the queue are full, which sign-ins alone cannot bring about: so who only
 * announces jobs keeps nobody out of the rest. KL_ERR_BUSY: no room, or the job's turn would come
 * later than handshake-timeout. Sign-ins have half of the queue. */
enum kl_rc kl_pool_room(const struct kl_pool *pool, enum kl_job_kind kind, size_t coming,
                        struct kl_err *err) KL_MUST_CHECK;

struct kl_ticket; /* a job on its way; dead once done was called or it was cancelled */

/* Queues a LOAD, SIGN_IN or CHECKPOINT, whose id is set here; its used bytes are copied.
 * KL_ERR_BUSY: as kl_pool_room says when none are coming;
 * KL_ERR_UNAVAILABLE: no HSM is up. What is queued when the last HSM goes ends so, too. */
enum kl_rc kl_pool_submit(struct kl_pool *pool, const struct kl_job *job, kl_pool_done_fn done,
                          void *arg, struct kl_ticket **ticket, struct kl_err *err) KL_MUST_CHECK;
/* How long what is queued will keep the workers that are up, in us, by how long jobs took of late;
 * 0 if nothing is queued, no worker is up, or none has served a job yet. */
int64_t kl_pool_wait_us(const struct kl_pool *pool);
/* Nobody waits for this any more. 0: no worker has read it, and none will. 1: one has read it: if
 * it is at it, the result is wiped and dropped; if it waits to be done again, it is not. */
int kl_pool_cancel(struct kl_ticket *ticket);

/* ---- For operators ---- */

struct kl_pool_hsm_report {
    const char *name; /* its section; static */
    enum kl_breaker_state state;
    int64_t since;                        /* Unix time at which the state began */
    unsigned weak;                        /* KL_WEAK_BITs of its module, once a worker was up */
    size_t workers;                       /* configured */
    size_t idle, busy, starting, leaving; /* worker processes */
    uint64_t jobs;                        /* answered */
    uint64_t starts, start_failures;      /* of workers */
    uint64_t lost;                        /* workers that ended unasked, hung or had HSM trouble */
    uint64_t recycled;
    uint64_t trips;     /* times that it went from up to open */
    uint64_t retried;   /* jobs done again elsewhere after a lost session */
    struct kl_err last; /* the last trouble; KL_OK: none yet */
    int64_t last_at;    /* Unix time of that */
};
struct kl_pool_report {
    size_t hsm_count;
    struct kl_pool_hsm_report hsm[KL_HSM_MAX];
    size_t queued; /* jobs that no worker has begun */
    uint64_t queue_max;
    int64_t service_ms; /* how long a job takes, on average of late; 0: not known yet */
    int serving;        /* 1: a job that is submitted now would be taken */
};
void kl_pool_report(const struct kl_pool *pool, struct kl_pool_report *out);

/* Tries the HSM of that section (NULL: all) at once, with its PIN read anew, also after the PIN was
 * refused: once more for that. KL_ERR_NOT_FOUND: no such HSM. */
enum kl_rc kl_pool_retry(struct kl_pool *pool, const char *name, struct kl_err *err) KL_MUST_CHECK;

#endif
