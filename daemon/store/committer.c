/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Group commit. Two lists under one lock: `waiting` (loop -> thread) and `finished` (thread ->
 * loop, with an eventfd to wake the loop). The lock is never held while the store works.
 */
#include "daemon/store/committer.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/process/thread.h"
#include "proto/clock.h"

#define BATCH_MAX 512 /* units in one transaction */
#define NS_PER_US INT64_C(1000)
#define US_PER_S INT64_C(1000000)
#define PROBE_MIN 1 /* seconds between tries of a store that takes nothing */
#define PROBE_MAX 60
#define CALM 60 /* seconds after which a recovery was one */

TAILQ_HEAD(unit_list, kl_unit);

struct kl_committer {
    struct kl_store *store; /* the thread's alone */
    struct event *wake;
    int wake_fd;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work;
    struct unit_list waiting;
    size_t waiting_count;
    int64_t begin_by_us; /* when the first of those that wait is out of patience */
    struct unit_list finished;
    int stopping;
    int64_t since_ms; /* when the present transaction began, or what waits began to; 0 = neither */
    struct kl_store_health health;
    struct kl_histogram commit, batch;
    uint64_t failed;
    /* Of the loop alone */
    struct kl_histogram unit;
    struct kl_unit probe; /* the audit record that says that all is well again */
    struct event *probe_timer;
    int probing;
    time_t probe_after, recovered; /* seconds; Unix time of the last recovery, 0 = none */
};

/* ---- Health ---- */

const char *kl_store_state_name(enum kl_store_state state)
{
    static const char *const names[] = {"ok", "full", "failing"};

    return names[state];
}

/* Is it the disk? Then the whole transaction is undone, whoever met it. */
static int is_disk(enum kl_rc rc)
{
    return rc == KL_ERR_FULL || rc == KL_ERR_IO;
}

/* Store thread. Said once, not for each unit. */
static void note_trouble(struct kl_committer *committer, const struct kl_err *cause, size_t units)
{
    struct kl_store_health *health = &committer->health;
    enum kl_store_state state = cause->rc == KL_ERR_FULL ? KL_STORE_FULL : KL_STORE_FAILING;
    int news;

    pthread_mutex_lock(&committer->lock);
    news = health->state != state;
    if (news) {
        health->since = (int64_t)time(NULL);
    }
    if (health->state == KL_STORE_OK) {
        health->failed = 0;
    }
    health->state = state;
    health->failed += units;
    health->last = *cause;
    pthread_mutex_unlock(&committer->lock);
    if (news) {
        kl_log(KL_LOG_ERROR, "store-trouble", KL_STR("state", kl_store_state_name(state)),
               KL_STR("means", "no new loads and sign-ins until it has passed"), KL_LOG_ERR(cause));
    }
}

void kl_committer_health(struct kl_committer *committer, struct kl_store_health *out)
{
    if (committer == NULL) {
        *out = (struct kl_store_health){.state = KL_STORE_OK};
        return;
    }
    pthread_mutex_lock(&committer->lock);
    *out = committer->health;
    pthread_mutex_unlock(&committer->lock);
}

void kl_committer_times(struct kl_committer *committer, struct kl_store_times *out)
{
    if (committer == NULL) {
        memset(out, 0, sizeof(*out));
        return;
    }
    pthread_mutex_lock(&committer->lock);
    out->commit = committer->commit;
    out->batch = committer->batch;
    out->failed = committer->failed;
    out->waiting = committer->waiting_count;
    pthread_mutex_unlock(&committer->lock);
    out->unit = committer->unit;
}

enum kl_rc kl_committer_ready(struct kl_committer *committer, struct kl_err *err)
{
    struct kl_store_health health;

    if (committer == NULL) {
        return kl_err_set(err, KL_ERR_UNAVAILABLE, "the store is another daemon's just now");
    }
    kl_committer_health(committer, &health);
    if (health.state == KL_STORE_OK) {
        return KL_OK;
    }
    return kl_err_set(err, health.last.rc, "the store is %s", kl_store_state_name(health.state));
}

static enum kl_rc probe_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct kl_committer *committer =
        (struct kl_committer *)((char *)unit - offsetof(struct kl_committer, probe));
    struct kl_store_health health;
    char detail[KL_AUDIT_DETAIL_MAX + 1];

    kl_committer_health(committer, &health);
    kl_log_format(detail, sizeof(detail),
                  (const struct kl_log_field[]){KL_STR("was", kl_store_state_name(health.state)),
                                                KL_NUM("since", health.since),
                                                KL_NUM("failed", health.failed)},
                  3);
    return kl_store_audit(store, (int64_t)time(NULL), "store-recovered", "", detail, err);
}

static void plan_probe(struct kl_committer *committer)
{
    const struct timeval after = {.tv_sec = committer->probe_after};

    if (!committer->probing && evtimer_add(committer->probe_timer, &after) == 0) {
        committer->probing = 1;
    }
}

static void probe_done(struct kl_unit *unit)
{
    struct kl_committer *committer =
        (struct kl_committer *)((char *)unit - offsetof(struct kl_committer, probe));
    struct kl_store_health was;
    time_t now = time(NULL);

    committer->probing = 0;
    if (unit->rc != KL_OK) {
        committer->probe_after =
            committer->probe_after * 2 < PROBE_MAX ? committer->probe_after * 2 : PROBE_MAX;
        plan_probe(committer);
        return;
    }
    pthread_mutex_lock(&committer->lock);
    was = committer->health;
    committer->health = (struct kl_store_health){.state = KL_STORE_OK, .since = (int64_t)now};
    pthread_mutex_unlock(&committer->lock);
    committer->recovered = now;
    kl_log(KL_LOG_WARN, "store-recovered", KL_STR("was", kl_store_state_name(was.state)),
           KL_NUM("seconds", (int64_t)now - was.since), KL_NUM("failed", was.failed));
}

static void on_probe(evutil_socket_t fd, short what, void *arg)
{
    struct kl_committer *committer = arg;
    struct kl_err err = KL_ERR_INIT;

    (void)fd;
    (void)what;
    if (kl_committer_submit(committer, &committer->probe, &err) != KL_OK) {
        committer->probing = 0;
        plan_probe(committer);
    }
}

/* Loop thread, after units have come back: is there trouble to get out of? What came back soon
 * after a recovery is tried less often. */
static void watch_health(struct kl_committer *committer)
{
    struct kl_store_health health;

    kl_committer_health(committer, &health);
    if (health.state == KL_STORE_OK || committer->probing || committer->stopping) {
        return;
    }
    if (committer->recovered == 0 || health.since - committer->recovered > CALM) {
        committer->probe_after = PROBE_MIN;
    }
    plan_probe(committer);
}

/* ---- The thread ---- */

/* Its result is the unit's; an error, if what a failed one has written is still in the transaction,
 * or the transaction is no more. */
static enum kl_rc run_one(struct kl_store *store, struct kl_unit *unit, struct kl_err *err)
{
    unit->rc = kl_store_savepoint(store, &unit->err);
    if (unit->rc != KL_OK) {
        return KL_OK;
    }
    unit->rc = unit->run(unit, store, &unit->err);
    if (unit->rc == KL_OK) {
        unit->rc = kl_store_release(store, &unit->err);
    }
    return unit->rc == KL_OK ? KL_OK : kl_store_undo(store, err);
}

/* Those that did well come to nothing, too; so do those that only met an undone transaction
 * (KL_ERR_STORE). How many. */
static size_t fail_all(struct unit_list *batch, const struct kl_err *err)
{
    struct kl_unit *unit;
    size_t count = 0;

    TAILQ_FOREACH(unit, batch, link)
    {
        if (unit->rc == KL_OK || unit->rc == KL_ERR_STORE) {
            unit->rc = err->rc;
            unit->err = *err;
        }
        count += unit->rc == err->rc;
    }
    return count;
}

/* What a failed unit wrote must not be committed with the others. A statement that the disk fails
 * can undo the whole transaction; then nothing else can be undone, for no reason of its own. */
static enum kl_rc run_units(struct kl_store *store, struct unit_list *batch, struct kl_err *cause)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_unit *unit;
    enum kl_rc rc = KL_OK;

    for (unit = TAILQ_FIRST(batch); unit != NULL && rc == KL_OK; unit = TAILQ_NEXT(unit, link)) {
        rc = run_one(store, unit, &err);
        if (is_disk(unit->rc) && cause->rc == KL_OK) {
            *cause = unit->err;
        }
    }
    if (rc != KL_OK) {
        kl_store_rollback(store);
    } else {
        rc = kl_store_commit(store, &err);
    }
    if (rc != KL_OK && cause->rc == KL_OK) {
        *cause = err;
    }
    return rc;
}

static void note_times(struct kl_committer *committer, int durable, int64_t began, int64_t units)
{
    pthread_mutex_lock(&committer->lock);
    if (durable) {
        kl_histogram_add(&committer->commit, KL_HISTOGRAM_TIME, kl_clock_us() - began);
        kl_histogram_add(&committer->batch, KL_HISTOGRAM_COUNT, units);
    } else {
        committer->failed++;
    }
    pthread_mutex_unlock(&committer->lock);
}

static void run_batch(struct kl_committer *committer, struct unit_list *batch)
{
    struct kl_err cause = KL_ERR_INIT;
    struct kl_unit *unit;
    size_t failed = 0;
    int64_t began = kl_clock_us(), units = 0;
    int durable;

    TAILQ_FOREACH(unit, batch, link)
    {
        units++;
        unit->rc = KL_OK;
        unit->err = (struct kl_err)KL_ERR_INIT;
    }
    durable = kl_store_begin(committer->store, &cause) == KL_OK &&
              run_units(committer->store, batch, &cause) == KL_OK;
    note_times(committer, durable, began, units);
    if (!durable) {
        failed = fail_all(batch, &cause);
    } else {
        TAILQ_FOREACH(unit, batch, link)
        {
            failed += is_disk(unit->rc); /* undone alone */
        }
    }
    if (is_disk(cause.rc)) {
        note_trouble(committer, &cause, failed);
    } else if (cause.rc != KL_OK) {
        kl_log(KL_LOG_ERROR, "store-commit-failed", KL_LOG_ERR(&cause));
    }
}

/* With the lock, which it gives away meanwhile: while all that wait have patience, others may come
 * and share their commit. */
static void gather(struct kl_committer *committer)
{
    while (!committer->stopping && committer->waiting_count < BATCH_MAX &&
           kl_clock_us() < committer->begin_by_us) {
        const struct timespec by = {.tv_sec = (time_t)(committer->begin_by_us / US_PER_S),
                                    .tv_nsec =
                                        (long)(committer->begin_by_us % US_PER_S * NS_PER_US)};

        (void)pthread_cond_timedwait(&committer->work, &committer->lock, &by);
    }
}

/* Moves up to BATCH_MAX waiting units to batch; waits for some. 0 when it is time to stop. */
static int take_batch(struct kl_committer *committer, struct unit_list *batch)
{
    struct kl_unit *unit;
    int count = 0;

    pthread_mutex_lock(&committer->lock);
    while (TAILQ_EMPTY(&committer->waiting) && !committer->stopping) {
        pthread_cond_wait(&committer->work, &committer->lock);
    }
    gather(committer);
    while (count < BATCH_MAX && (unit = TAILQ_FIRST(&committer->waiting)) != NULL) {
        TAILQ_REMOVE(&committer->waiting, unit, link);
        TAILQ_INSERT_TAIL(batch, unit, link);
        count++;
    }
    committer->waiting_count -= (size_t)count;
    committer->since_ms = kl_clock_ms();
    pthread_mutex_unlock(&committer->lock);
    return count;
}

static void wake_loop(struct kl_committer *committer)
{
    uint64_t one = 1;

    /* Can only fail with EAGAIN, when the counter is full: then the loop is awake already. */
    while (write(committer->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

static void *thread_main(void *arg)
{
    struct kl_committer *committer = arg;
    struct unit_list batch = TAILQ_HEAD_INITIALIZER(batch);

    while (take_batch(committer, &batch) > 0) {
        run_batch(committer, &batch);
        pthread_mutex_lock(&committer->lock);
        TAILQ_CONCAT(&committer->finished, &batch, link);
        committer->since_ms = TAILQ_EMPTY(&committer->waiting) ? 0 : kl_clock_ms();
        pthread_mutex_unlock(&committer->lock);
        wake_loop(committer);
    }
    return NULL;
}

static void report_finished(struct kl_committer *committer)
{
    struct unit_list finished = TAILQ_HEAD_INITIALIZER(finished);
    struct kl_unit *unit;

    pthread_mutex_lock(&committer->lock);
    TAILQ_CONCAT(&finished, &committer->finished, link);
    pthread_mutex_unlock(&committer->lock);
    while ((unit = TAILQ_FIRST(&finished)) != NULL) {
        TAILQ_REMOVE(&finished, unit, link);
        kl_histogram_add(&committer->unit, KL_HISTOGRAM_TIME, kl_clock_us() - unit->queued_us);
        unit->done(unit);
    }
    watch_health(committer);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    uint64_t count;

    (void)what;
    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    report_finished(arg);
}

/* Waited for until a time of kl_clock_us. */
static void init_work(pthread_cond_t *work)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(work, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

enum kl_rc kl_committer_new(struct event_base *base, struct kl_store *store,
                            struct kl_committer **out, struct kl_err *err)
{
    struct kl_committer *committer = calloc(1, sizeof(*committer));
    enum kl_rc rc;

    if (committer == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "store thread");
    }
    TAILQ_INIT(&committer->waiting);
    TAILQ_INIT(&committer->finished);
    committer->health.since = (int64_t)time(NULL);
    committer->probe.run = probe_run;
    committer->probe.done = probe_done;
    pthread_mutex_init(&committer->lock, NULL);
    init_work(&committer->work);
    committer->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (committer->wake_fd < 0) {
        rc = kl_err_errno(err, "eventfd", "store thread");
        goto fail;
    }
    committer->wake = event_new(base, committer->wake_fd, EV_READ | EV_PERSIST, on_wake, committer);
    committer->probe_timer = evtimer_new(base, on_probe, committer);
    if (committer->wake == NULL || committer->probe_timer == NULL ||
        event_add(committer->wake, NULL) != 0) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "store thread");
        goto fail;
    }
    committer->store = store;
    rc = kl_thread_start(&committer->thread, thread_main, committer, "store thread", err);
    if (rc != KL_OK) {
        goto fail;
    }
    *out = committer;
    return KL_OK;
fail:
    if (committer->wake != NULL) {
        event_free(committer->wake);
    }
    if (committer->probe_timer != NULL) {
        event_free(committer->probe_timer);
    }
    if (committer->wake_fd >= 0) {
        close(committer->wake_fd);
    }
    pthread_cond_destroy(&committer->work);
    pthread_mutex_destroy(&committer->lock);
    free(committer);
    return rc;
}

void kl_committer_free(struct kl_committer *committer)
{
    if (committer == NULL) {
        return;
    }
    pthread_mutex_lock(&committer->lock);
    committer->stopping = 1;
    pthread_cond_signal(&committer->work);
    pthread_mutex_unlock(&committer->lock);
    pthread_join(committer->thread, NULL);
    report_finished(committer);
    event_free(committer->wake);
    event_free(committer->probe_timer);
    close(committer->wake_fd);
    pthread_cond_destroy(&committer->work);
    pthread_mutex_destroy(&committer->lock);
    kl_store_free(committer->store);
    free(committer);
}

int64_t kl_committer_stuck_ms(struct kl_committer *committer)
{
    int64_t since = 0;

    if (committer != NULL) {
        pthread_mutex_lock(&committer->lock);
        since = committer->since_ms;
        pthread_mutex_unlock(&committer->lock);
    }
    return since == 0 ? 0 : kl_clock_ms() - since;
}

/* With the lock. Whether the thread must be woken: it waits for a first unit, or for a time that is
 * sooner now, or for no more than this one. */
static int enqueue(struct kl_committer *committer, struct kl_unit *unit)
{
    int64_t begin_by_us = unit->queued_us + unit->patience_us;
    int sooner = committer->waiting_count == 0 || begin_by_us < committer->begin_by_us;

    TAILQ_INSERT_TAIL(&committer->waiting, unit, link);
    committer->waiting_count++;
    if (sooner) {
        committer->begin_by_us = begin_by_us;
    }
    committer->since_ms = committer->since_ms != 0 ? committer->since_ms : kl_clock_ms();
    return sooner || committer->waiting_count == BATCH_MAX;
}

enum kl_rc kl_committer_submit(struct kl_committer *committer, struct kl_unit *unit,
                               struct kl_err *err)
{
    int full, wake;

    if (committer == NULL) {
        return kl_committer_ready(committer, err);
    }
    unit->queued_us = kl_clock_us();
    pthread_mutex_lock(&committer->lock);
    full = committer->waiting_count >= KL_COMMITTER_MAX;
    wake = !full && enqueue(committer, unit);
    pthread_mutex_unlock(&committer->lock);
    if (wake) {
        pthread_cond_signal(&committer->work); /* who wakes finds the lock free */
    }
    return full ? kl_err_set(err, KL_ERR_BUSY, "%d units wait for the store already",
                             KL_COMMITTER_MAX)
                : KL_OK;
}
