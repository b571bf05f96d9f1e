/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pool's inside, shared by pool.c (tickets, the queue, the change of keys) and pool_worker.c
 * (slots and their processes). Nobody else includes this.
 *
 * A slot is a place for one worker; there is one slot more than the configured number, so that a
 * worker that is to be replaced goes on serving until its replacement is ready.
 *
 *   EMPTY -> STARTING -> IDLE <-> BUSY -> LEAVING (its socket is closed) -> EMPTY (reaped)
 */
#ifndef KL_DAEMON_POOL_IMPL_H
#define KL_DAEMON_POOL_IMPL_H

#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/pool.h"

#define KL_POOL_LEAVE_S 10 /* from the end of a worker's socket to its end */

enum kl_slot_state { SLOT_EMPTY, SLOT_STARTING, SLOT_IDLE, SLOT_BUSY, SLOT_LEAVING };

struct kl_ticket {
    TAILQ_ENTRY(kl_ticket) link;
    struct kl_pool *pool;
    int queued;           /* 1 until a worker has it */
    kl_pool_done_fn done; /* NULL once cancelled */
    void *arg;
    uint64_t id;
    struct kl_job *job; /* only its used bytes are allocated */
};
TAILQ_HEAD(kl_ticket_list, kl_ticket);

struct kl_slot {
    struct kl_pool *pool;
    enum kl_slot_state state;
    pid_t pid;
    int fd;
    struct event *readable;
    struct event *deadline;
    struct kl_ticket *ticket; /* when BUSY */
    uint64_t jobs;
    uint64_t generation; /* of the keys that it was told to open */
    int retiring;        /* due for replacement: gets no further job if another is idle */
};

struct kl_pool {
    struct event_base *base;
    const struct kl_config *config;      /* a reference */
    const struct kl_config *next_config; /* while rolling, a reference: what new workers are told */
    struct kl_pool_events events;
    struct event *retry;   /* next start after a failure */
    struct event *sigchld; /* reaps */
    struct kl_slot *slots;
    size_t slot_count;
    struct kl_ticket_list queue;
    size_t queued;
    uint64_t next_id;
    unsigned failures; /* starts failed in a row */
    int started;       /* the first worker has been ready */
    /* Unless KL_OK: the PIN was refused or start-up given up, and no more starts are made. */
    struct kl_err barred;
    struct kl_job_wants work_keys, old_keys; /* the latter while rolling: to go back to */
    uint64_t generation;                     /* of work_keys */
    int rolling;
    unsigned roll_failures;
    struct kl_job *buffer; /* what is received, and SETUP */
};

/* ---- pool.c ---- */

/* Gives idle workers what is queued. */
void kl_pool_dispatch(struct kl_pool *pool);
/* Nobody can serve the queue: tells those who wait at once rather than let them time out. */
void kl_pool_fail_if_dead(struct kl_pool *pool);
/* Tells whoever waits, if anybody does, and ends the ticket. */
void kl_ticket_done(struct kl_ticket *ticket, struct kl_job_result *result);
void kl_ticket_fail(struct kl_ticket *ticket, enum kl_rc rc, const char *text);
/* The change of keys: it may be complete now; a worker with the new ones could not be started. */
void kl_pool_roll_progress(struct kl_pool *pool);
void kl_pool_roll_failed(struct kl_pool *pool, const struct kl_err *err);

/* ---- pool_worker.c ---- */

/* Workers that are up, with a job or without. */
size_t kl_pool_up(const struct kl_pool *pool);
/* Starts a worker if one is wanted and none is starting. */
void kl_pool_start_next(struct kl_pool *pool);
/* 1 if a start that failed like this is worth another try. */
int kl_pool_worth_retrying(enum kl_rc rc);
/* When too many failures in a row are enough. */
#define KL_POOL_START_TRIES 6
size_t kl_pool_count(const struct kl_pool *pool, enum kl_slot_state state);
struct kl_slot *kl_pool_idle(struct kl_pool *pool); /* NULL if none is */
/* Sends the ticket's job to an idle worker. */
void kl_slot_give(struct kl_slot *slot, struct kl_ticket *ticket);
/* Ends every worker and waits for that; the loop is over by now. */
void kl_pool_end_workers(struct kl_pool *pool);
/* The events that pool_worker.c has on the pool itself. */
enum kl_rc kl_pool_watch(struct kl_pool *pool, struct kl_err *err) KL_MUST_CHECK;
/* Starts a timer. */
void kl_pool_after(struct event *timer, unsigned long ms);

#endif
