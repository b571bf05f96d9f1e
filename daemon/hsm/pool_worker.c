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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/hsm/pool_impl.h"
#include "daemon/hsm/worker.h"
#include "proto/clock.h"
#include "proto/secret.h"

void kl_pool_after(struct event *timer, int64_t ms)
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
    kl_worker_hang_up(&slot->link);
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

void kl_slot_leave(struct kl_slot *slot)
{
    if (slot->pid <= 0 || slot->deadline == NULL) {
        slot_clear(slot); /* it has ended, or never was */
        return;
    }
    slot_hang_up(slot);
    slot->state = SLOT_LEAVING;
    kl_pool_after(slot->deadline, KL_POOL_LEAVE_S * 1000);
}

/* A worker did not get as far as READY. */
static void start_failed(struct kl_slot *slot, int with_new_keys, const struct kl_err *err)
{
    struct kl_pool *pool = slot->pool;
    struct kl_pool_hsm *hsm = slot->hsm;

    hsm->count.start_failures++;
    kl_log(KL_LOG_ERROR, "worker-start-failed", KL_STR("hsm", kl_config_hsm_name(hsm->index)),
           KL_LOG_ERR(err), KL_NUM("failures", hsm->breaker.failures + 1));
    kl_hsm_bad(pool, hsm, err, 1);
    if (with_new_keys) {
        kl_pool_roll_failed(pool, hsm, err);
    }
}

void kl_slot_lost(struct kl_slot *slot, const struct kl_err *err)
{
    struct kl_pool *pool = slot->pool;
    struct kl_ticket *ticket;
    int starting = slot->state == SLOT_STARTING;
    int with_new_keys = pool->rolling && slot->generation == pool->generation;

    if (!starting) {
        slot->hsm->count.lost++;
        kl_log(KL_LOG_WARN, "worker-lost", KL_STR("hsm", kl_config_hsm_name(slot->hsm->index)),
               KL_NUM("pid", slot->pid), KL_NUM("jobs", slot->jobs), KL_LOG_ERR(err));
    }
    kl_slot_take_all_back(slot);
    ticket = slot->ticket;
    kl_slot_take_next(slot);
    kl_slot_leave(slot);
    if (ticket != NULL) {
        /* Not given to another worker: what felled this one may be the peer's bytes. */
        kl_ticket_fail(ticket, KL_ERR_HSM, "the HSM worker was lost during this job");
    }
    if (starting) {
        start_failed(slot, with_new_keys, err);
    } else {
        kl_hsm_bad(pool, slot->hsm, err, 0);
    }
    kl_pool_after(pool->retry, 0);
    kl_pool_roll_progress(pool);
    kl_pool_fail_if_dead(pool);
    kl_pool_dispatch(pool); /* a job may have come back to the queue */
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
    kl_slot_lost(slot, &err);
}

/* More are up than should be, since a replacement is: those that are due go as soon as they are
 * idle; without such (a start that was slow came in after all) any other. */
static void release_surplus(struct kl_pool *pool, struct kl_pool_hsm *hsm, int retiring)
{
    size_t up = kl_hsm_up(pool, hsm);

    for (size_t i = 0; i < pool->slot_count && up > hsm->workers; i++) {
        struct kl_slot *slot = &pool->slots[i];
        if (slot->hsm == hsm && slot->retiring == retiring && slot->state == SLOT_IDLE) {
            hsm->count.recycled++;
            kl_log(KL_LOG_INFO, "worker-recycled", KL_NUM("pid", slot->pid),
                   KL_NUM("jobs", slot->jobs));
            kl_slot_leave(slot);
            up--;
        }
    }
}

static void release_retired(struct kl_pool *pool, struct kl_pool_hsm *hsm)
{
    int due = 0;

    for (size_t i = 0; i < pool->slot_count; i++) {
        due |= pool->slots[i].hsm == hsm && pool->slots[i].retiring;
    }
    release_surplus(pool, hsm, due);
}

/* The first worker's keys of the store are taken for right, for as long as this runs. */
static enum kl_rc check_store_keys(struct kl_pool *pool, const struct kl_job_ready *ready,
                                   struct kl_err *err)
{
    if (pool->first == NULL) {
        pool->first = malloc(sizeof(*pool->first));
        if (pool->first == NULL) {
            return kl_err_set(err, KL_ERR_MEMORY, "keys of an HSM");
        }
        *pool->first = *ready;
    }
    return kl_job_same_store_keys(pool->first, ready, err);
}

static void on_ready(struct kl_slot *slot, const struct kl_job_ready *ready)
{
    struct kl_pool *pool = slot->pool;
    struct kl_err err = KL_ERR_INIT;
    int first = !pool->started;

    if (slot->generation != pool->generation) {
        kl_slot_leave(slot); /* the keys have changed while it started */
        kl_pool_after(pool->retry, 0);
        return;
    }
    if (pool->events.check(ready, pool->events.arg, &err) != KL_OK ||
        check_store_keys(pool, ready, &err) != KL_OK) {
        kl_slot_lost(slot, &err);
        return;
    }
    evtimer_del(slot->deadline);
    slot->state = SLOT_IDLE;
    slot->since_ms = kl_clock_ms();
    slot->hsm->count.weak = ready->weak;
    kl_hsm_good(slot->hsm);
    kl_log(KL_LOG_INFO, "worker-ready", KL_STR("hsm", kl_config_hsm_name(slot->hsm->index)),
           KL_NUM("pid", slot->pid));
    pool->down_since_ms = 0;
    if (first) {
        kl_pool_started(pool);
        pool->events.up(pool->events.arg);
    }
    release_retired(pool, slot->hsm);
    kl_pool_roll_progress(pool);
    kl_pool_after(pool->retry, 0); /* the next one, unless the caller has ended the loop */
    kl_pool_dispatch(pool);
}

static void average(int64_t *us, int64_t ms)
{
    *us += (ms * 1000 - *us) / 16;
}

/* What a job took, for who waits and who watches. */
static void took(const struct kl_slot *slot, enum kl_job_kind kind, enum kl_rc rc)
{
    struct kl_pool *pool = slot->pool;
    const struct kl_pool_served served = {slot->hsm->index, kind, kl_clock_ms() - slot->since_ms,
                                          rc};

    if (kind == KL_JOB_LOAD) {
        average(&pool->service_us, served.ms);
        average(&slot->hsm->service_us, served.ms);
    }
    if (pool->events.served != NULL) {
        pool->events.served(&served, pool->events.arg);
    }
}

/* The HSM is in trouble. The worker goes before anybody is told, who could have another job for it.
 */
static void on_fatal(struct kl_slot *slot, struct kl_ticket *ticket, struct kl_job_result *result)
{
    int again = kl_ticket_again(ticket, &result->err);

    slot->hsm->count.retried += (uint64_t)again;
    kl_slot_lost(slot, &result->err);
    if (!again) {
        kl_ticket_done(ticket, result);
    }
}

/* A worker that stays gets its next job before the result of this one is dealt with. What is called
 * until then may need the pool's buffer: so *result is a copy. */
static void on_result(struct kl_slot *slot, struct kl_job_result *result)
{
    struct kl_pool *pool = slot->pool;
    struct kl_ticket *ticket = slot->ticket;

    took(slot, ticket->job->kind, result->err.rc);
    slot->since_ms = kl_clock_ms();
    kl_slot_take_next(slot);
    if (slot->ticket != NULL) {
        kl_pool_after(slot->deadline, (int64_t)pool->config->job_timeout * 1000);
    } else {
        slot->state = SLOT_IDLE;
        evtimer_del(slot->deadline);
    }
    slot->jobs++;
    slot->hsm->count.jobs++;
    if (result->fatal != 0) {
        on_fatal(slot, ticket, result);
        return;
    }
    kl_hsm_good(slot->hsm);
    if (slot->jobs >= pool->config->recycle_after && !slot->retiring) {
        slot->retiring = 1;
        kl_pool_start_next(pool);
    }
    if (!slot->retiring && !pool->rolling) {
        kl_pool_dispatch(pool);
    }
    kl_ticket_done(ticket, result);
    release_retired(pool, slot->hsm);
    kl_pool_roll_progress(pool);
    kl_pool_dispatch(pool);
}

static void on_pong(struct kl_slot *slot, const struct kl_job_pong *pong)
{
    struct kl_err err = pong->err;

    evtimer_del(slot->deadline);
    took(slot, KL_JOB_PING, err.rc);
    slot->state = SLOT_IDLE;
    slot->since_ms = kl_clock_ms();
    if (err.rc != KL_OK) {
        kl_slot_lost(slot, &err);
        return;
    }
    kl_hsm_good(slot->hsm);
    release_retired(slot->pool, slot->hsm);
    kl_pool_dispatch(slot->pool);
}

/* 1 if job is the answer to what the worker was given. */
static int is_answer(const struct kl_slot *slot, const struct kl_job *job)
{
    uint32_t wanted;

    if (slot->state != SLOT_BUSY || slot->ticket == NULL) {
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
        struct kl_job_result result = job->u.result;

        kl_wipe(&job->u.result, sizeof(job->u.result));
        on_result(slot, &result);
        kl_wipe(&result, sizeof(result));
        return;
    }
    if (rc == KL_OK && slot->state == SLOT_BUSY && slot->ticket == NULL &&
        job->kind == KL_JOB_PONG && job->u.pong.id == slot->ping_id) {
        on_pong(slot, &job->u.pong);
        return;
    }
    if (rc == KL_OK && slot->state == SLOT_STARTING && job->kind == KL_JOB_FAILED &&
        job->u.failed.rc != KL_OK) {
        err = job->u.failed;
    } else if (rc == KL_OK) {
        (void)kl_err_set(&err, KL_ERR_PROTOCOL, "HSM worker sent an unexpected message (kind %u)",
                         job->kind);
    }
    kl_slot_lost(slot, &err);
}

static enum kl_rc slot_open(struct kl_slot *slot, struct kl_err *err)
{
    struct kl_pool *pool = slot->pool;
    enum kl_rc rc = kl_worker_spawn(&slot->link, &slot->pid, err);

    if (rc != KL_OK) {
        return rc;
    }
    slot->readable =
        event_new(pool->base, slot->link.answers, EV_READ | EV_PERSIST, on_readable, slot);
    slot->deadline = evtimer_new(pool->base, on_deadline, slot);
    if (slot->readable == NULL || slot->deadline == NULL || event_add(slot->readable, NULL) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "events of an HSM worker");
    }
    return KL_OK;
}

void kl_slot_start(struct kl_slot *slot)
{
    struct kl_pool *pool = slot->pool;
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = slot_open(slot, &err);

    slot->state = SLOT_STARTING;
    slot->generation = pool->generation;
    slot->since_ms = kl_clock_ms();
    slot->hsm->count.starts++;
    if (rc == KL_OK) {
        rc = kl_job_from_config(pool->rolling ? pool->next_config : pool->config, slot->hsm->index,
                                &pool->work_keys, pool->buffer, &err);
    }
    if (rc == KL_OK) {
        rc = kl_job_send(slot->link.jobs, pool->buffer, &err);
    }
    if (rc != KL_OK) {
        kl_slot_lost(slot, &err);
        return;
    }
    kl_pool_after(slot->deadline, KL_POOL_START_TIMEOUT_S * 1000);
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

/* In turn, so that all HSMs have work. */
struct kl_slot *kl_pool_idle(struct kl_pool *pool)
{
    struct kl_slot *retiring = NULL;

    for (size_t n = 0; n < pool->slot_count; n++) {
        struct kl_slot *slot = &pool->slots[(pool->next_slot + n) % pool->slot_count];
        if (slot->state != SLOT_IDLE || slot->hsm->breaker.state != KL_BREAKER_UP) {
            continue;
        }
        if (!slot->retiring) {
            pool->next_slot = (size_t)(slot - pool->slots) + 1;
            return slot;
        }
        retiring = slot; /* still better than a wait for its replacement */
    }
    return retiring;
}

static void begin(struct kl_slot *slot, struct kl_job *job, uint64_t seconds)
{
    struct kl_err err = KL_ERR_INIT;

    slot->state = SLOT_BUSY;
    slot->since_ms = kl_clock_ms();
    if (kl_job_send(slot->link.jobs, job, &err) != KL_OK) {
        kl_slot_lost(slot, &err);
        return;
    }
    kl_pool_after(slot->deadline, (int64_t)seconds * 1000);
}

void kl_slot_give(struct kl_slot *slot, struct kl_ticket *ticket)
{
    slot->ticket = ticket;
    ticket->tries++;
    begin(slot, ticket->job, slot->pool->config->job_timeout);
}

/* Asks idle workers of which nothing was heard for keep-alive seconds. */
static void ping_idle(struct kl_pool *pool)
{
    int64_t quiet = (int64_t)pool->config->keep_alive * 1000;
    struct kl_job *job = pool->buffer;

    for (size_t i = 0; i < pool->slot_count && quiet > 0; i++) {
        struct kl_slot *slot = &pool->slots[i];
        if (slot->state == SLOT_IDLE && kl_clock_ms() - slot->since_ms >= quiet) {
            job->kind = KL_JOB_PING;
            job->u.ping.id = slot->ping_id = ++pool->next_id;
            begin(slot, job, KL_POOL_PING_S);
        }
    }
}

static void on_alive(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ping_idle(arg);
    kl_pool_take_back_stuck(arg);
    kl_pool_start_next(arg); /* beside a start that hangs */
}

static void on_grace(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    kl_pool_fail_if_dead(arg);
}

enum kl_rc kl_pool_watch(struct kl_pool *pool, struct kl_err *err)
{
    const struct timeval second = {.tv_sec = 1};

    pool->retry = evtimer_new(pool->base, on_retry, pool);
    pool->grace = evtimer_new(pool->base, on_grace, pool);
    pool->alive = event_new(pool->base, -1, EV_PERSIST, on_alive, pool);
    pool->sigchld = evsignal_new(pool->base, SIGCHLD, on_sigchld, pool);
    if (pool->retry == NULL || pool->grace == NULL || pool->alive == NULL ||
        pool->sigchld == NULL || evsignal_add(pool->sigchld, NULL) != 0 ||
        event_add(pool->alive, &second) != 0) {
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
