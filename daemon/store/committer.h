/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store thread: runs units of work on the store in the order they were queued, as many in one
 * transaction as are waiting, and reports each back to the loop only after the commit that made it
 * durable. One fsync serves all loads that wait for it.
 */
#ifndef KL_DAEMON_STORE_COMMITTER_H
#define KL_DAEMON_STORE_COMMITTER_H

#include <event2/event.h>
#include <sys/queue.h>

#include "daemon/monitor/histogram.h"
#include "daemon/store/store.h"
#include "proto/err.h"

/* A unit of work, embedded as the first member of the caller's own struct. From submit until done
 * it belongs to the committer; run and done must not touch anything shared but the struct. */
struct kl_unit {
    /* In the store thread, inside a transaction and a savepoint of its own: anything but KL_OK
     * undoes what this unit wrote, and only that. */
    enum kl_rc (*run)(struct kl_unit *unit, struct kl_store *store, struct kl_err *err);
    /* In the loop thread, exactly once. unit->rc is KL_OK only if the work is durable. */
    void (*done)(struct kl_unit *unit);
    /* For how long, in us, its transaction may wait for other units to share the commit with. A
     * unit without patience (0) takes all that wait along at once. */
    int64_t patience_us;
    enum kl_rc rc;
    struct kl_err err;
    int64_t queued_us;         /* the committer's */
    TAILQ_ENTRY(kl_unit) link; /* the committer's */
};

struct kl_committer;

/* On success takes store (freed by kl_committer_free) and starts the thread. Callbacks run in
 * base's loop. */
enum kl_rc kl_committer_new(struct event_base *base, struct kl_store *store,
                            struct kl_committer **out, struct kl_err *err) KL_MUST_CHECK;
/* Finishes what is queued, ends the thread, reports what is still to report, closes the store.
 * Loop thread; takes NULL. */
void kl_committer_free(struct kl_committer *committer);

/* Queues a unit. Loop thread; never blocks on the store. KL_ERR_BUSY if KL_COMMITTER_MAX wait
 * already, KL_ERR_UNAVAILABLE if committer is NULL (the store is another daemon's, by now or for
 * now): the unit stays the caller's. */
#define KL_COMMITTER_MAX 16384
enum kl_rc kl_committer_submit(struct kl_committer *committer, struct kl_unit *unit,
                               struct kl_err *err) KL_MUST_CHECK;

/* Milliseconds for which the thread has been at the present transaction, or has not looked at what
 * waits; 0 if there is nothing to do. Loop thread; takes NULL. */
int64_t kl_committer_stuck_ms(struct kl_committer *committer);

/* ---- A store that takes nothing more ---- */

/* A disk without room (or a limit of the system's), or one that fails, undoes whole transactions.
 * From then on the committer writes an audit record of its own every second, later less often,
 * until one is durable: then all is well again. */
enum kl_store_state {
    KL_STORE_OK,
    KL_STORE_FULL,
    KL_STORE_FAILING, /* reading or writing fails */
};
const char *kl_store_state_name(enum kl_store_state state); /* "ok", "full", "failing" */

struct kl_store_health {
    enum kl_store_state state;
    int64_t since;      /* Unix time of the last change of state; of the start */
    uint64_t failed;    /* units that came to nothing since then, for that reason */
    struct kl_err last; /* why; KL_OK while all is well */
};
/* Loop thread; of NULL it is KL_STORE_OK. */
void kl_committer_health(struct kl_committer *committer, struct kl_store_health *out);

/* How it has gone since the start. */
struct kl_store_times {
    struct kl_histogram unit;   /* from submit to done */
    struct kl_histogram commit; /* from begin to durable, of transactions that got there */
    struct kl_histogram batch;  /* units in such a transaction (KL_HISTOGRAM_COUNT) */
    uint64_t failed;            /* transactions that did not */
    size_t waiting;             /* units, now */
};
/* Loop thread. */
void kl_committer_times(struct kl_committer *committer, struct kl_store_times *out);

/* For what may wait, before it is begun: KL_ERR_FULL or KL_ERR_IO unless the store is well,
 * KL_ERR_UNAVAILABLE as above. Loop thread. */
enum kl_rc kl_committer_ready(struct kl_committer *committer, struct kl_err *err) KL_MUST_CHECK;

#endif
