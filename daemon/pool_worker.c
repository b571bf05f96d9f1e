/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pool's workers: started one at a time, replaced when they crash, hang, have served their
 * number of jobs or have keys of the past.
 *
 * A worker is asked to leave, not killed, wherever that can be: SoftHSM 2.6.1 rewrites its token's
 * own file in C_Login, and a process killed in the middle of that leaves an empty file and takes
 * every key of the token along.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/pool_impl.h"
#include "daemon/worker.h"
#include "proto/secret.h"

#define BACKOFF_MIN_MS 100   /* between two starts after a failure */
#define BACKOFF_MAX_MS 10000 /* at run time a token may come back at any time */
#define START_TIMEOUT_S 60   /* module load, login, self-test */

void kl_pool_after(struct event *timer, unsigned long ms)
{
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};

    evtimer_add(timer, &tv);
}

/* Ends the conversation with a worker, which makes it end; its pid stays ours. */
static void slot_hang_up(struct kl_slot *slot)
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

static void slot_clear(struct kl_slot *slot)
{
    slot_hang_up(slot);
    if (slot->deadline != NULL) {
        event_free(slot->deadline);
        slot->deadline = NULL;
    }
    slot->state = SLOT_EMPTY;
    slot->pid = 0;
    slot->jobs = 0;
    slot->retiring = 0;
}

/* Lets a worker go; it is killed if it has not ended in time. */
static void slot_leave(struct kl_slot *slot)
{
    if (slot->pid <= 0 || slot->deadline == NULL) {
        slot_clear(slot); /* it has ended, or never was */
        return;
    }
    slot_hang_up(slot);
    slot->state = SLOT_LEAVING;
    kl_pool_after(slot->deadline, KL_POOL_LEAVE_S * 1000UL);
}

static unsigned long backoff_ms(unsigned failures)
{
    unsigned long ms = BACKOFF_MIN_MS;

    for (unsigned i = 1; i < failures && ms < BACKOFF_MAX_MS; i++) {
        ms *= 2;
    }
    return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

int kl_pool_worth_retrying(enum kl_rc rc)
{
    return rc == KL_ERR_TOKEN || rc == KL_ERR_HSM || rc == KL_ERR_CLOSED;
}

static int try_again(const struct kl_pool *pool, enum kl_rc rc)
{
    if (rc == KL_ERR_PIN) {
        return 0; /* another try could lock the token */
    }
    return pool->started || (kl_pool_worth_retrying(rc) && pool->failures < KL_POOL_START_TRIES);
}

/* A worker did not get as far as READY. */
static void start_failed(struct kl_pool *pool, int with_new_keys, const struct kl_err *err)
{
    pool->failures++;
    kl_log(KL_LOG_ERROR, "worker-start-failed", KL_LOG_ERR(err),
           KL_NUM("failures", pool->failures));
    if (try_again(pool, err->rc)) {
        kl_pool_after(pool->retry, backoff_ms(pool->failures));
    } else {
        pool->barred = *err;
        if (pool->started) {
            kl_log(KL_LOG_ERROR, "hsm-barred",
                   KL_STR("detail", "the token refused the PIN: no worker is started any more, and "
                                    "keyloaderd ends with the last one; correct the PIN source"));
        }
    }
    if (with_new_keys) {
        kl_pool_roll_failed(pool, err);
    }
}

size_t kl_pool_count(const struct kl_pool *pool, enum kl_slot_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < pool->slot_count; i++) {
        count += pool->slots[i].state == state;
    }
    return count;
}

size_t kl_pool_up(const struct kl_pool *pool)
{
    return kl_pool_count(pool, SLOT_IDLE) + kl_pool_count(pool, SLOT_BUSY);
}

/* A worker ended without our asking, or had to be killed. */
static void slot_lost(struct kl_slot *slot, const struct kl_err *err)
{
    struct kl_pool *pool = slot->pool;
    struct kl_ticket *ticket = slot->ticket;
    int starting = slot->state == SLOT_STARTING;
    int with_new_keys = pool->rolling && slot->generation == pool->generation;

    if (!starting) {
        kl_log(KL_LOG_WARN, "worker-lost", KL_NUM("pid", slot->pid), KL_NUM("jobs", slot->jobs),
               KL_LOG_ERR(err));
    }
    slot->ticket = NULL;
    slot_leave(slot);
    if (ticket != NULL) {
        /* Not given to another worker: what felled this one may be the peer's bytes. */
        kl_ticket_fail(ticket, KL_ERR_HSM, "the HSM worker was lost during this job");
    }
    if (starting) {
        start_failed(pool, with_new_keys, err);
    } else {
        pool->failures++;
        kl_pool_after(pool->retry, backoff_ms(pool->failures));
    }
    kl_pool_roll_progress(pool);
    kl_pool_fail_if_dead(pool);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct kl_slot *slot = arg;
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
    size_t up = kl_pool_up(pool);

    for (size_t i = 0; i < pool->slot_count && up > pool->config->workers; i++) {
        struct kl_slot *slot = &pool->slots[i];
        if (slot->retiring && slot->state == SLOT_IDLE) {
            kl_log(KL_LOG_INFO, "worker-recycled", KL_NUM("pid", slot->pid),
                   KL_NUM("jobs", slot->jobs));
            slot_leave(slot);
            up--;
        }
    }
}

static void on_ready(struct kl_slot *slot, const struct kl_job_ready *ready)
{
    struct kl_pool *pool = slot->pool;
    struct kl_err err = KL_ERR_INIT;
    int first = !pool->started;

    if (slot->generation != pool->generation) {
        slot_leave(slot); /* the keys have changed while it started */
        kl_pool_after(pool->retry, 0);
        return;
    }
    if (pool->events.check(ready, pool->events.arg, &err) != KL_OK) {
        slot_lost(slot, &err);
        return;
    }
    evtimer_del(slot->deadline);
    slot->state = SLOT_IDLE;
    pool->failures = 0;
    kl_log(KL_LOG_INFO, "worker-ready", KL_NUM("pid", slot->pid));
    if (first) {
        pool->started = 1;
        pool->events.up(pool->events.arg);
    }
    release_retired(pool);
    kl_pool_roll_progress(pool);
    kl_pool_after(pool->retry, 0); /* the next one, unless the caller has ended the loop */
    kl_pool_dispatch(pool);
}

static void on_result(struct kl_slot *slot, struct kl_job_result *result)
{
    struct kl_pool *pool = slot->pool;
    struct kl_ticket *ticket = slot->ticket;
    struct kl_err err = result->err;
    int fatal = result->fatal != 0;

    evtimer_del(slot->deadline);
    slot->ticket = NULL;
    slot->state = SLOT_IDLE;
    slot->jobs++;
    kl_ticket_done(ticket, result);
    kl_wipe(result, sizeof(*result));
    if (fatal) {
        slot_lost(slot, &err);
        return;
    }
    pool->failures = 0;
    if (slot->jobs >= pool->config->recycle_after && !slot->retiring) {
        slot->retiring = 1;
        kl_pool_start_next(pool);
    }
    release_retired(pool);
    kl_pool_roll_progress(pool);
    kl_pool_dispatch(pool);
}

/* 1 if job is the answer to what the worker was given. */
static int is_answer(const struct kl_slot *slot, const struct kl_job *job)
{
    uint32_t wanted;

    if (slot->state != SLOT_BUSY) {
        return 0;
    }
    wanted = slot->ticket->job->kind == KL_JOB_LOAD         ? KL_JOB_RESULT
             : slot->ticket->job->kind == KL_JOB_CHECKPOINT ? KL_JOB_SIGNED
                                                            : KL_JOB_KEYS;
    return job->kind == wanted && job->u.result.id == slot->ticket->id;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct kl_slot *slot = arg;
    struct kl_pool *pool = slot->pool;
    struct kl_job *job = pool->buffer;
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
    if (rc == KL_OK && is_answer(slot, job)) {
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

static enum kl_rc slot_open(struct kl_slot *slot, struct kl_err *err)
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

static void start_one(struct kl_slot *slot)
{
    struct kl_pool *pool = slot->pool;
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = slot_open(slot, &err);

    slot->state = SLOT_STARTING;
    slot->generation = pool->generation;
    if (rc == KL_OK) {
        rc = kl_job_from_config(pool->rolling ? pool->next_config : pool->config, &pool->work_keys,
                                pool->buffer, &err);
    }
    if (rc == KL_OK) {
        rc = kl_job_send(slot->fd, pool->buffer, &err);
    }
    if (rc != KL_OK) {
        slot_lost(slot, &err);
        return;
    }
    kl_pool_after(slot->deadline, START_TIMEOUT_S * 1000UL);
}

/* Starts a worker if one is wanted and none is starting: tokens dislike being opened twice at
 * once (SoftHSM 2.6.1 fails in 11 % of such starts). */
void kl_pool_start_next(struct kl_pool *pool)
{
    size_t useful = 0;
    struct kl_slot *empty = NULL;

    if (pool->barred.rc != KL_OK || kl_pool_count(pool, SLOT_STARTING) > 0 ||
        evtimer_pending(pool->retry, NULL)) {
        return;
    }
    for (size_t i = 0; i < pool->slot_count; i++) {
        struct kl_slot *slot = &pool->slots[i];
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
    kl_pool_start_next(arg);
}

/* Forgets the pid, so that nobody signals a number that may belong to somebody else by then.
 * 1 if the worker was on its way out. */
static int reaped(struct kl_pool *pool, pid_t pid)
{
    for (size_t i = 0; i < pool->slot_count; i++) {
        struct kl_slot *slot = &pool->slots[i];
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
    kl_pool_start_next(pool);
}

struct kl_slot *kl_pool_idle(struct kl_pool *pool)
{
    struct kl_slot *retiring = NULL;

    for (size_t i = 0; i < pool->slot_count; i++) {
        struct kl_slot *slot = &pool->slots[i];
        if (slot->state == SLOT_IDLE && !slot->retiring) {
            return slot;
        }
        if (slot->state == SLOT_IDLE) {
            retiring = slot; /* still better than a wait for its replacement */
        }
    }
    return retiring;
}

void kl_slot_give(struct kl_slot *slot, struct kl_ticket *ticket)
{
    struct kl_err err = KL_ERR_INIT;

    slot->ticket = ticket;
    slot->state = SLOT_BUSY;
    if (kl_job_send(slot->fd, ticket->job, &err) != KL_OK) {
        slot_lost(slot, &err);
        return;
    }
    kl_pool_after(slot->deadline, slot->pool->config->job_timeout * 1000UL);
}

enum kl_rc kl_pool_watch(struct kl_pool *pool, struct kl_err *err)
{
    pool->retry = evtimer_new(pool->base, on_retry, pool);
    pool->sigchld = evsignal_new(pool->base, SIGCHLD, on_sigchld, pool);
    if (pool->retry == NULL || pool->sigchld == NULL || evsignal_add(pool->sigchld, NULL) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "worker pool");
    }
    return KL_OK;
}

/* Waits for the workers to end by themselves, then no longer. */
static void wait_for_workers(struct kl_pool *pool)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    int patience = KL_POOL_LEAVE_S * 100;

    for (size_t i = 0; i < pool->slot_count; i++) {
        struct kl_slot *slot = &pool->slots[i];
        while (slot->pid > 0 && waitpid(slot->pid, NULL, WNOHANG) == 0) {
            if (patience-- <= 0) {
                kill(slot->pid, SIGKILL);
            }
            nanosleep(&pause, NULL);
        }
        slot->pid = 0;
    }
}

void kl_pool_end_workers(struct kl_pool *pool)
{
    for (size_t i = 0; i < pool->slot_count; i++) {
        struct kl_slot *slot = &pool->slots[i];
        if (slot->state == SLOT_BUSY && slot->pid > 0) {
            kill(slot->pid, SIGKILL); /* its job is nobody's any more, and it may hang */
        }
        slot_hang_up(slot);
    }
    wait_for_workers(pool);
    for (size_t i = 0; i < pool->slot_count; i++) {
        slot_clear(&pool->slots[i]);
    }
}
