/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker pool. A slot is a place for one worker; there is one slot more than the configured
 * number, so that a worker due for recycling goes on serving until its replacement is ready.
 *
 *   EMPTY -> STARTING -> IDLE <-> BUSY -> LEAVING (its socket is closed) -> EMPTY (reaped)
 *
 * A worker is asked to leave, not killed, wherever that can be: SoftHSM 2.6.1 rewrites its token's
 * own file in C_Login, and a process killed in the middle of that leaves an empty file and takes
 * every key of the token along.
 */
#include "daemon/pool.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/worker.h"

#define START_TRIES 6        /* before the first worker is up; then the daemon gives up */
#define BACKOFF_MIN_MS 100   /* between two starts after a failure */
#define BACKOFF_MAX_MS 10000 /* at run time a token may come back at any time */
#define START_TIMEOUT_S 60   /* module load, login, self-test */
#define LEAVE_TIMEOUT_S 10   /* from the end of its socket to its end */

enum slot_state { SLOT_EMPTY, SLOT_STARTING, SLOT_IDLE, SLOT_BUSY, SLOT_LEAVING };

struct kl_ticket {
    TAILQ_ENTRY(kl_ticket) link;
    struct kl_pool *pool;
    int queued;           /* 1 until a worker has it */
    kl_pool_done_fn done; /* NULL once cancelled */
    void *arg;
    uint64_t id;
    struct kl_job *job; /* only its used bytes are allocated */
};

struct slot {
    struct kl_pool *pool;
    enum slot_state state;
    pid_t pid;
    int fd;
    struct event *readable;
    struct event *deadline;
    struct kl_ticket *ticket; /* when BUSY */
    uint64_t loads;
    int retiring; /* due for recycling: gets no further load */
};

TAILQ_HEAD(ticket_list, kl_ticket);

struct kl_pool {
    struct event_base *base;
    const struct kl_config *config;
    kl_pool_start_fn start;
    void *start_arg;
    struct event *retry;   /* next start after a failure */
    struct event *sigchld; /* reaps */
    struct slot *slots;
    size_t slot_count;
    struct ticket_list queue;
    size_t queued;
    uint64_t next_id;
    unsigned failures; /* starts failed in a row */
    int started;       /* the first worker has been ready */
    /* Unless KL_OK: the PIN was refused or start-up given up, and no more starts are made. */
    struct kl_err barred;
    struct kl_job_ready ready;
    struct kl_job *in; /* receive buffer */
};

static void start_next(struct kl_pool *pool);
static void dispatch(struct kl_pool *pool);

static void ticket_free(struct kl_ticket *ticket)
{
    if (ticket != NULL) {
        free(ticket->job);
        free(ticket);
    }
}

static void queue_add(struct kl_pool *pool, struct kl_ticket *ticket)
{
    TAILQ_INSERT_TAIL(&pool->queue, ticket, link);
    ticket->queued = 1;
    pool->queued++;
}

static void queue_remove(struct kl_pool *pool, struct kl_ticket *ticket)
{
    TAILQ_REMOVE(&pool->queue, ticket, link);
    ticket->queued = 0;
    pool->queued--;
}

/* Tells whoever waits, if anybody does, and ends the ticket. */
static void ticket_done(struct kl_ticket *ticket, struct kl_job_result *result)
{
    if (ticket->done != NULL) {
        ticket->done(result, ticket->arg);
    }
    ticket_free(ticket);
}

static void ticket_fail(struct kl_ticket *ticket, enum kl_rc rc, const char *text)
{
    struct kl_job_result *result = calloc(1, sizeof(*result));

    if (result == NULL) {
        abort(); /* 17 KiB: nothing sensible is left to do, and the store is safe */
    }
    result->id = ticket->id;
    (void)kl_err_set(&result->err, rc, "%s", text);
    ticket_done(ticket, result);
    free(result);
}

static void after(struct event *timer, unsigned long ms)
{
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};

    evtimer_add(timer, &tv);
}

/* Ends the conversation with a worker, which makes it end; its pid stays ours. */
static void slot_hang_up(struct slot *slot)
{
    if (slot->readable != NULL) {
        event_free(slot->readable);
        slot->readable = NULL;
    }
    if (slot->fd >= 0) {
        close(slot->fd);
        slot->fd = -1;
    }
}

static void slot_clear(struct slot *slot)
{
    slot_hang_up(slot);
    if (slot->deadline != NULL) {
        event_free(slot->deadline);
        slot->deadline = NULL;
    }
    slot->state = SLOT_EMPTY;
    slot->pid = 0;
    slot->loads = 0;
    slot->retiring = 0;
}

/* Lets a worker go; it is killed if it has not ended in time. */
static void slot_leave(struct slot *slot)
{
    if (slot->pid <= 0 || slot->deadline == NULL) {
        slot_clear(slot); /* it has ended, or never was */
        return;
    }
    slot_hang_up(slot);
    slot->state = SLOT_LEAVING;
    after(slot->deadline, LEAVE_TIMEOUT_S * 1000UL);
}

static unsigned long backoff_ms(unsigned failures)
{
    unsigned long ms = BACKOFF_MIN_MS;

    for (unsigned i = 1; i < failures && ms < BACKOFF_MAX_MS; i++) {
        ms *= 2;
    }
    return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

static int worth_retrying(enum kl_rc rc, int started)
{
    if (rc == KL_ERR_PIN) {
        return 0; /* another try could lock the token */
    }
    if (started) {
        return 1;
    }
    return rc == KL_ERR_TOKEN || rc == KL_ERR_HSM || rc == KL_ERR_CLOSED;
}

/* A worker did not get as far as READY. */
static void start_failed(struct kl_pool *pool, const struct kl_err *err)
{
    pool->failures++;
    kl_log(KL_LOG_ERROR, "worker-start-failed", KL_LOG_ERR(err),
           KL_NUM("failures", pool->failures));
    if (worth_retrying(err->rc, pool->started) && (pool->started || pool->failures < START_TRIES)) {
        after(pool->retry, backoff_ms(pool->failures));
        return;
    }
    pool->barred = *err;
    if (pool->started) {
        kl_log(KL_LOG_ERROR, "hsm-barred",
               KL_STR("detail", "the token refused the PIN: no worker is started any more, and "
                                "keyloaderd ends with the last one; correct the PIN source"));
    }
}

static size_t count_state(const struct kl_pool *pool, enum slot_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < pool->slot_count; i++) {
        count += pool->slots[i].state == state;
    }
    return count;
}

/* Nobody can serve the queue: tell those who wait at once rather than let them time out. */
static void fail_queue_if_dead(struct kl_pool *pool)
{
    struct kl_ticket *ticket;

    if (count_state(pool, SLOT_IDLE) + count_state(pool, SLOT_BUSY) > 0) {
        return;
    }
    if (pool->barred.rc != KL_OK && count_state(pool, SLOT_STARTING) == 0) {
        pool->start(NULL, &pool->barred, pool->start_arg);
    }
    while ((ticket = TAILQ_FIRST(&pool->queue)) != NULL) {
        queue_remove(pool, ticket);
        ticket_fail(ticket, KL_ERR_UNAVAILABLE, "no HSM worker is up");
    }
}

/* A worker ended without our asking, or had to be killed. */
static void slot_lost(struct slot *slot, const struct kl_err *err)
{
    struct kl_pool *pool = slot->pool;
    struct kl_ticket *ticket = slot->ticket;
    int starting = slot->state == SLOT_STARTING;

    if (!starting) {
        kl_log(KL_LOG_WARN, "worker-lost", KL_NUM("pid", slot->pid), KL_NUM("loads", slot->loads),
               KL_LOG_ERR(err));
    }
    slot->ticket = NULL;
    slot_leave(slot);
    if (ticket != NULL) {
        /* Not given to another worker: what felled this one may be the peer's bytes. */
        ticket_fail(ticket, KL_ERR_HSM, "the HSM worker was lost during this load");
    }
    if (starting) {
        start_failed(pool, err);
    } else {
        pool->failures++;
        after(pool->retry, backoff_ms(pool->failures));
    }
    fail_queue_if_dead(pool);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct slot *slot = arg;
    struct kl_err err = KL_ERR_INIT;

    (void)fd;
    (void)what;
    if (slot->pid > 0) {
        kill(slot->pid, SIGKILL);
    }
    if (slot->state == SLOT_LEAVING) {
        kl_log(KL_LOG_WARN, "worker-killed", KL_NUM("pid", slot->pid),
               KL_STR("detail", "it did not end when its socket was closed"));
        return; /* its end is noticed by on_sigchld */
    }
    (void)kl_err_set(&err, KL_ERR_TIMEOUT, "HSM worker did not answer in time and was killed");
    slot_lost(slot, &err);
}

/* A replacement is up: let one retiring worker go as soon as it is idle. */
static void release_retired(struct kl_pool *pool)
{
    size_t up = count_state(pool, SLOT_IDLE) + count_state(pool, SLOT_BUSY);

    for (size_t i = 0; i < pool->slot_count && up > pool->config->workers; i++) {
        struct slot *slot = &pool->slots[i];
        if (slot->retiring && slot->state == SLOT_IDLE) {
            kl_log(KL_LOG_INFO, "worker-recycled", KL_NUM("pid", slot->pid),
                   KL_NUM("loads", slot->loads));
            slot_leave(slot);
            up--;
        }
    }
}

static void on_ready(struct slot *slot, const struct kl_job_ready *ready)
{
    struct kl_pool *pool = slot->pool;
    int first = !pool->started;

    if (!first && (ready->spki_len != pool->ready.spki_len ||
                   memcmp(ready->spki, pool->ready.spki, ready->spki_len) != 0 ||
                   ready->oaep_hash != pool->ready.oaep_hash)) {
        struct kl_err err = KL_ERR_INIT;
        (void)kl_err_set(&err, KL_ERR_KEY,
                         "the work key is not the one this daemon started with; restart keyloaderd "
                         "after changing keys");
        slot_lost(slot, &err);
        return;
    }
    evtimer_del(slot->deadline);
    slot->state = SLOT_IDLE;
    pool->failures = 0;
    kl_log(KL_LOG_INFO, "worker-ready", KL_NUM("pid", slot->pid));
    if (first) {
        pool->ready = *ready;
        pool->started = 1;
        pool->start(&pool->ready, NULL, pool->start_arg);
    }
    release_retired(pool);
    after(pool->retry, 0); /* the next one, unless the caller has ended the loop */
    dispatch(pool);
}

static void on_result(struct slot *slot, struct kl_job_result *result)
{
    struct kl_pool *pool = slot->pool;
    struct kl_ticket *ticket = slot->ticket;
    struct kl_err err = result->err;
    int fatal = result->fatal != 0;

    evtimer_del(slot->deadline);
    slot->ticket = NULL;
    slot->state = SLOT_IDLE;
    slot->loads++;
    ticket_done(ticket, result);
    kl_wipe(result, sizeof(*result));
    if (fatal) {
        slot_lost(slot, &err);
        return;
    }
    pool->failures = 0;
    if (slot->loads >= pool->config->recycle_after && !slot->retiring) {
        slot->retiring = 1;
        start_next(pool);
    }
    release_retired(pool);
    dispatch(pool);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct slot *slot = arg;
    struct kl_pool *pool = slot->pool;
    struct kl_job *job = pool->in;
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = kl_job_receive(fd, job, &err);

    (void)what;
    if (rc == KL_ERR_BUSY) {
        return;
    }
    if (rc == KL_OK && slot->state == SLOT_STARTING && job->kind == KL_JOB_READY) {
        on_ready(slot, &job->u.ready);
        return;
    }
    if (rc == KL_OK && slot->state == SLOT_BUSY && job->kind == KL_JOB_RESULT &&
        job->u.result.id == slot->ticket->id) {
        on_result(slot, &job->u.result);
        return;
    }
    if (rc == KL_OK && slot->state == SLOT_STARTING && job->kind == KL_JOB_FAILED &&
        job->u.failed.rc != KL_OK) {
        err = job->u.failed;
    } else if (rc == KL_OK) {
        (void)kl_err_set(&err, KL_ERR_PROTOCOL, "HSM worker sent an unexpected message (kind %u)",
                         job->kind);
    }
    slot_lost(slot, &err);
}

static enum kl_rc slot_open(struct slot *slot, struct kl_err *err)
{
    struct kl_pool *pool = slot->pool;
    enum kl_rc rc = kl_worker_spawn(&slot->fd, &slot->pid, err);

    if (rc != KL_OK) {
        return rc;
    }
    slot->readable = event_new(pool->base, slot->fd, EV_READ | EV_PERSIST, on_readable, slot);
    slot->deadline = evtimer_new(pool->base, on_deadline, slot);
    if (slot->readable == NULL || slot->deadline == NULL || event_add(slot->readable, NULL) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "events of an HSM worker");
    }
    return KL_OK;
}

static void start_one(struct slot *slot)
{
    struct kl_pool *pool = slot->pool;
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = slot_open(slot, &err);

    slot->state = SLOT_STARTING;
    if (rc == KL_OK) {
        rc = kl_job_from_config(pool->config, pool->in, &err);
    }
    if (rc == KL_OK) {
        rc = kl_job_send(slot->fd, pool->in, &err);
    }
    if (rc != KL_OK) {
        slot_lost(slot, &err);
        return;
    }
    after(slot->deadline, START_TIMEOUT_S * 1000UL);
}

/* Starts a worker if one is wanted and none is starting: tokens dislike being opened twice at
 * once (SoftHSM 2.6.1 fails in 11 % of such starts). */
static void start_next(struct kl_pool *pool)
{
    size_t useful = 0;
    struct slot *empty = NULL;

    if (pool->barred.rc != KL_OK || count_state(pool, SLOT_STARTING) > 0 ||
        evtimer_pending(pool->retry, NULL)) {
        return;
    }
    for (size_t i = 0; i < pool->slot_count; i++) {
        struct slot *slot = &pool->slots[i];
        if (slot->state == SLOT_EMPTY) {
            empty = slot;
        } else if (!slot->retiring) {
            useful++;
        }
    }
    if (useful < pool->config->workers && empty != NULL) {
        start_one(empty);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    start_next(arg);
}

/* Forgets the pid, so that nobody signals a number that may belong to somebody else by then.
 * 1 if the worker was on its way out. */
static int reaped(struct kl_pool *pool, pid_t pid)
{
    for (size_t i = 0; i < pool->slot_count; i++) {
        struct slot *slot = &pool->slots[i];
        if (slot->pid == pid && slot->state == SLOT_LEAVING) {
            slot_clear(slot);
            return 1;
        }
        if (slot->pid == pid) {
            slot->pid = 0;
            return 0;
        }
    }
    return 1;
}

/* The end of a worker that was not asked to leave is noticed by end of file on its socket; this
 * reaps. The daemon has no other children. */
static void on_sigchld(evutil_socket_t fd, short what, void *arg)
{
    struct kl_pool *pool = arg;
    pid_t pid;
    int status;

    (void)fd;
    (void)what;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        enum kl_log_level level = reaped(pool, pid) ? KL_LOG_DEBUG : KL_LOG_WARN;
        kl_log(level, "worker-exit", KL_NUM("pid", pid),
               KL_NUM("status", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
               KL_NUM("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
    }
    start_next(pool);
}

static struct slot *idle_slot(struct kl_pool *pool)
{
    struct slot *retiring = NULL;

    for (size_t i = 0; i < pool->slot_count; i++) {
        struct slot *slot = &pool->slots[i];
        if (slot->state == SLOT_IDLE && !slot->retiring) {
            return slot;
        }
        if (slot->state == SLOT_IDLE) {
            retiring = slot; /* still better than a wait for its replacement */
        }
    }
    return retiring;
}

static void dispatch(struct kl_pool *pool)
{
    struct kl_ticket *ticket;
    struct slot *slot;

    while ((ticket = TAILQ_FIRST(&pool->queue)) != NULL && (slot = idle_slot(pool)) != NULL) {
        struct kl_err err = KL_ERR_INIT;

        queue_remove(pool, ticket);
        slot->ticket = ticket;
        slot->state = SLOT_BUSY;
        if (kl_job_send(slot->fd, ticket->job, &err) != KL_OK) {
            slot_lost(slot, &err);
            continue;
        }
        after(slot->deadline, pool->config->job_timeout * 1000UL);
    }
}

enum kl_rc kl_pool_submit(struct kl_pool *pool, const struct kl_job_load *load,
                          kl_pool_done_fn done, void *arg, struct kl_ticket **out,
                          struct kl_err *err)
{
    size_t used = (size_t)load->hello_len + load->certificate_len + load->randoms_len;
    size_t size = offsetof(struct kl_job, u) + offsetof(struct kl_job_load, bytes) + used;
    struct kl_ticket *ticket;

    if (count_state(pool, SLOT_IDLE) + count_state(pool, SLOT_BUSY) == 0) {
        return kl_err_set(err, KL_ERR_UNAVAILABLE, "no HSM worker is up");
    }
    if (pool->queued >= pool->config->queue) {
        return kl_err_set(err, KL_ERR_BUSY, "%zu loads wait for the HSM already", pool->queued);
    }
    ticket = calloc(1, sizeof(*ticket));
    if (ticket == NULL || (ticket->job = calloc(1, size)) == NULL) {
        ticket_free(ticket);
        return kl_err_set(err, KL_ERR_MEMORY, "queue entry");
    }
    ticket->pool = pool;
    ticket->id = ++pool->next_id;
    ticket->done = done;
    ticket->arg = arg;
    ticket->job->kind = KL_JOB_LOAD;
    memcpy(&ticket->job->u.load, load, offsetof(struct kl_job_load, bytes) + used);
    ticket->job->u.load.id = ticket->id;
    queue_add(pool, ticket);
    *out = ticket;
    dispatch(pool);
    return KL_OK;
}

int kl_pool_cancel(struct kl_ticket *ticket)
{
    if (ticket->queued) {
        queue_remove(ticket->pool, ticket); /* spares the HSM */
        ticket_free(ticket);
        return 0;
    }
    ticket->done = NULL;
    return 1;
}

enum kl_rc kl_pool_new(struct event_base *base, const struct kl_config *config,
                       kl_pool_start_fn start, void *arg, struct kl_pool **out, struct kl_err *err)
{
    struct kl_pool *pool = calloc(1, sizeof(*pool));

    if (pool == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "worker pool");
    }
    TAILQ_INIT(&pool->queue);
    pool->base = base;
    pool->config = config;
    pool->start = start;
    pool->start_arg = arg;
    pool->slot_count = (size_t)config->workers + 1;
    pool->slots = calloc(pool->slot_count, sizeof(*pool->slots));
    for (size_t i = 0; pool->slots != NULL && i < pool->slot_count; i++) {
        pool->slots[i].pool = pool;
        pool->slots[i].fd = -1;
    }
    pool->in = calloc(1, sizeof(*pool->in));
    pool->retry = evtimer_new(base, on_retry, pool);
    pool->sigchld = evsignal_new(base, SIGCHLD, on_sigchld, pool);
    if (pool->slots == NULL || pool->in == NULL || pool->retry == NULL || pool->sigchld == NULL ||
        evsignal_add(pool->sigchld, NULL) != 0) {
        kl_pool_free(pool);
        return kl_err_set(err, KL_ERR_MEMORY, "worker pool");
    }
    *out = pool;
    after(pool->retry, 0); /* from the loop, so that the caller has its pool before any callback */
    return KL_OK;
}

/* Waits for the workers to end by themselves, then no longer. The loop is over by now. */
static void wait_for_workers(struct kl_pool *pool)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    int patience = LEAVE_TIMEOUT_S * 100;

    for (size_t i = 0; i < pool->slot_count; i++) {
        struct slot *slot = &pool->slots[i];
        while (slot->pid > 0 && waitpid(slot->pid, NULL, WNOHANG) == 0) {
            if (patience-- <= 0) {
                kill(slot->pid, SIGKILL);
            }
            nanosleep(&pause, NULL);
        }
        slot->pid = 0;
    }
}

void kl_pool_free(struct kl_pool *pool)
{
    struct kl_ticket *ticket;

    if (pool == NULL) {
        return;
    }
    for (size_t i = 0; pool->slots != NULL && i < pool->slot_count; i++) {
        struct slot *slot = &pool->slots[i];
        if (slot->state == SLOT_BUSY && slot->pid > 0) {
            kill(slot->pid, SIGKILL); /* its load is nobody's any more, and it may hang */
        }
        ticket_free(slot->ticket);
        slot_hang_up(slot);
    }
    if (pool->slots != NULL) {
        wait_for_workers(pool);
    }
    for (size_t i = 0; pool->slots != NULL && i < pool->slot_count; i++) {
        slot_clear(&pool->slots[i]);
    }
    while ((ticket = TAILQ_FIRST(&pool->queue)) != NULL) {
        queue_remove(pool, ticket);
        ticket_free(ticket);
    }
    if (pool->retry != NULL) {
        event_free(pool->retry);
    }
    if (pool->sigchld != NULL) {
        event_free(pool->sigchld);
    }
    free(pool->slots);
    free(pool->in);
    free(pool);
}
