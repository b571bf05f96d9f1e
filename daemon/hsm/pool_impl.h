/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pool's inside, shared by pool.c (tickets, the queue, the change of keys), pool_hsm.c (which
 * HSM is in what state, and what is started when), pool_worker.c (slots and their processes) and
 * pool_ahead.c (jobs that busy workers are sent ahead). Nobody else but tests of the pool includes
 * this.
 *
 * A slot is a place for one worker; each HSM has one slot more than its configured number, so that
 * a worker that is to be replaced goes on serving until its replacement is ready.
 *
 *   EMPTY -> STARTING -> IDLE <-> BUSY -> LEAVING (its sockets are closed) -> EMPTY (reaped)
 *
 * A busy worker is sent its next job ahead, so that it need not sleep until we have seen that it is
 * done and have sent another. What it has not read can be taken back: for a worker that is idle
 * while nothing is queued, from one that takes long, and from one that is lost.
 */
#ifndef KL_DAEMON_HSM_POOL_IMPL_H
#define KL_DAEMON_HSM_POOL_IMPL_H

#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/hsm/pool.h"
#include "daemon/hsm/worker.h"

#define KL_POOL_LEAVE_S 10    /* from the end of a worker's sockets to its end */
#define KL_POOL_START_TRIES 6 /* failures in a row that are enough, at the start or in a roll */
#define KL_POOL_GRACE_MS 2000 /* that jobs wait for the replacement of the last worker */
#define KL_POOL_TRIES_MAX 3   /* of one job, when sessions are lost under it */
#define KL_POOL_PING_S 5      /* within which an idle worker must answer */
#define KL_POOL_AHEAD_MS 1000 /* what a worker may take for a job and be sent another ahead */
#define KL_POOL_SLOW_START_MS 10000 /* after which another start is tried beside it */
#define KL_POOL_START_TIMEOUT_S 60  /* module load, login, self-test */

enum kl_slot_state { SLOT_EMPTY, SLOT_STARTING, SLOT_IDLE, SLOT_BUSY, SLOT_LEAVING };

struct kl_ticket {
    TAILQ_ENTRY(kl_ticket) link;
    struct kl_pool *pool;
    int queued;           /* 1 until a worker is sent it */
    unsigned tries;       /* workers that have been sent it, and may have read it */
    kl_pool_done_fn done; /* NULL once cancelled */
    void *arg;
    uint64_t id;
    struct kl_job *job; /* only its used bytes are allocated */
};
TAILQ_HEAD(kl_ticket_list, kl_ticket);

struct kl_pool_hsm {
    size_t index; /* in the configuration */
    size_t workers;
    struct kl_breaker breaker;
    unsigned roll_failures;          /* starts with the new keys that failed */
    int64_t service_us;              /* of its loads, a moving average */
    struct kl_pool_hsm_report count; /* its counters, and the last trouble */
};

struct kl_slot {
    struct kl_pool *pool;
    struct kl_pool_hsm *hsm;
    enum kl_slot_state state;
    pid_t pid;
    struct kl_worker_link link;
    struct event *readable;
    struct event *deadline;
    struct kl_ticket *ticket; /* when BUSY with a job; NULL: with a keep-alive */
    struct kl_ticket *next;   /* sent ahead; NULL: none, as always without ticket */
    int64_t since_ms;         /* when it began what it does, or was last heard of */
    uint64_t jobs;
    uint64_t ping_id;
    uint64_t generation; /* of the keys that it was told to open */
    int retiring;        /* due for replacement: gets no further job if another is idle */
};

struct kl_pool {
    struct event_base *base;
    const struct kl_config *config;      /* a reference */
    const struct kl_config *next_config; /* while rolling, a reference: what new workers are told */
    struct kl_pool_events events;
    struct event *retry;   /* next start */
    struct event *grace;   /* when it has been without a worker for too long */
    struct event *alive;   /* keep-alive */
    struct event *sigchld; /* reaps */
    struct kl_pool_hsm hsms[KL_HSM_MAX];
    size_t hsm_count;
    struct kl_slot *slots;
    size_t slot_count, next_slot; /* the latter: where the search for an idle one begins */
    struct kl_ticket_list queue;
    size_t queued, ahead; /* jobs in the queue; sent ahead */
    uint64_t next_id;
    int started;                             /* the first worker has been ready */
    int64_t down_since_ms;                   /* when the last worker went; 0: one is up */
    int64_t service_us;                      /* of a job, a moving average */
    struct kl_job_wants work_keys, old_keys; /* the latter while rolling: to go back to */
    uint64_t generation;                     /* of work_keys */
    int rolling;
    struct kl_job_ready *first; /* of the first worker: its keys of the store */
    struct kl_job *buffer;      /* what is received, and SETUP and PING */
};

/* ---- pool.c ---- */

/* Jobs that no worker is known to have begun: in the queue, or sent ahead. */
size_t kl_pool_waiting(const struct kl_pool *pool);
/* Gives workers what is queued. */
void kl_pool_dispatch(struct kl_pool *pool);
/* Into the queue again, before all others: no worker has read it. Ends it if nobody waits. */
void kl_ticket_return(struct kl_ticket *ticket);
/* Nobody can serve the queue, nor soon will: tells those who wait at once rather than let them time
 * out. */
void kl_pool_fail_if_dead(struct kl_pool *pool);
/* Tells whoever waits, if anybody does, and ends the ticket. */
void kl_ticket_done(struct kl_ticket *ticket, struct kl_job_result *result);
void kl_ticket_fail(struct kl_ticket *ticket, enum kl_rc rc, const char *text);
/* 1: the job goes to another worker, since its session was lost under it. */
int kl_ticket_again(struct kl_ticket *ticket, const struct kl_err *err);
/* The change of keys: it may be complete now; a worker of that HSM with the new ones could not be
 * started. */
void kl_pool_roll_progress(struct kl_pool *pool);
void kl_pool_roll_failed(struct kl_pool *pool, struct kl_pool_hsm *hsm, const struct kl_err *err);

/* ---- pool_hsm.c ---- */

/* The HSM did something right, or failed; starting: a worker did not get as far as READY. */
void kl_hsm_good(struct kl_pool_hsm *hsm);
void kl_hsm_bad(struct kl_pool *pool, struct kl_pool_hsm *hsm, const struct kl_err *err,
                int starting);
/* The first worker of all is ready: HSMs that were given up meanwhile are tried on. */
void kl_pool_started(struct kl_pool *pool);
/* Operators have done something: all are tried anew. */
void kl_pool_reset(struct kl_pool *pool);
/* Starts workers where they are wanted. Of HSMs of one module one at a time: tokens dislike being
 * opened twice at once (SoftHSM 2.6.1 fails in 11 % of such starts). */
void kl_pool_start_next(struct kl_pool *pool);
/* 1 if no HSM is left to be tried, and no worker is starting: the end, before the first was up. */
int kl_pool_given_up(const struct kl_pool *pool, struct kl_err *err);
/* Workers that are up, with a job or without, of an HSM, and of all that get jobs. */
size_t kl_hsm_up(const struct kl_pool *pool, const struct kl_pool_hsm *hsm);
size_t kl_pool_up(const struct kl_pool *pool);
/* 1: the last worker has just gone, and a replacement is on its way. */
int kl_pool_in_grace(const struct kl_pool *pool);
/* 1 if a failure like this is worth another try. */
int kl_pool_worth_retrying(enum kl_rc rc);

/* ---- pool_worker.c ---- */

void kl_slot_start(struct kl_slot *slot);
struct kl_slot *kl_pool_idle(struct kl_pool *pool); /* of an HSM that is up; NULL if none is */
/* Sends the ticket's job to an idle worker. */
void kl_slot_give(struct kl_slot *slot, struct kl_ticket *ticket);
/* A worker ended without our asking, or had to be killed: its job fails, what was sent ahead is
 * queued again. */
void kl_slot_lost(struct kl_slot *slot, const struct kl_err *err);
/* Lets a worker go; it is killed if it has not ended in time. */
void kl_slot_leave(struct kl_slot *slot);
/* Ends every worker and waits for that; the loop is over by now. */
void kl_pool_end_workers(struct kl_pool *pool);
/* The events that the pool has on itself. */
enum kl_rc kl_pool_watch(struct kl_pool *pool, struct kl_err *err) KL_MUST_CHECK;
/* Starts a timer. */
void kl_pool_after(struct event *timer, int64_t ms);

/* ---- pool_ahead.c ---- */

struct kl_slot *kl_pool_busy(const struct kl_pool *pool); /* to be sent a job; NULL if none is */
/* Sends the ticket's job to a worker of kl_pool_busy. 0: it is in the queue again, since the system
 * leaves no room for it in the worker's socket (net.core.wmem_max), or the worker is lost. */
int kl_slot_give_ahead(struct kl_slot *slot, struct kl_ticket *ticket);
/* The job that was sent ahead is the worker's job now; none if none was. */
void kl_slot_take_next(struct kl_slot *slot);
/* All that a worker has not read, and never will, goes back into the queue. */
void kl_slot_take_all_back(struct kl_slot *slot);
/* Puts the oldest job that was sent ahead, and has not been read, into the queue, where nothing is.
 * 0: there is none. */
int kl_pool_take_back(struct kl_pool *pool);
/* What waits for a worker that takes long, and may hang, is taken back for others; also for none,
 * if its HSM is out by now. */
void kl_pool_take_back_stuck(struct kl_pool *pool);
/* Takes back a cancelled job, if it was sent ahead, and ends it. 0: not ahead, or was read. */
int kl_pool_recall(struct kl_pool *pool, const struct kl_ticket *ticket);

#endif
