/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Group commit. Two lists under one lock: `waiting` (loop -> thread) and `finished` (thread ->
 * loop, with an eventfd to wake the loop). The lock is never held while the store works.
 */
#include "daemon/committer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "conf/log.h"

#define BATCH_MAX 512 /* units in one transaction */

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
    struct unit_list finished;
    int stopping;
};

static void run_one(struct kl_store *store, struct kl_unit *unit)
{
    struct kl_err undo = KL_ERR_INIT;

    unit->rc = kl_store_savepoint(store, &unit->err);
    if (unit->rc != KL_OK) {
        return;
    }
    unit->rc = unit->run(unit, store, &unit->err);
    if (unit->rc == KL_OK) {
        unit->rc = kl_store_release(store, &unit->err);
    }
    if (unit->rc != KL_OK && kl_store_undo(store, &undo) != KL_OK) {
        kl_log(KL_LOG_ERROR, "store-undo-failed", KL_LOG_ERR(&undo));
    }
}

static void fail_all(struct unit_list *batch, const struct kl_err *err)
{
    struct kl_unit *unit;

    TAILQ_FOREACH(unit, batch, link)
    {
        if (unit->rc == KL_OK) {
            unit->rc = err->rc;
            unit->err = *err;
        }
    }
}

static void run_batch(struct kl_store *store, struct unit_list *batch)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_unit *unit;

    TAILQ_FOREACH(unit, batch, link)
    {
        unit->rc = KL_OK;
    }
    if (kl_store_begin(store, &err) != KL_OK) {
        fail_all(batch, &err);
        return;
    }
    TAILQ_FOREACH(unit, batch, link)
    {
        run_one(store, unit);
    }
    if (kl_store_commit(store, &err) != KL_OK) {
        kl_log(KL_LOG_ERROR, "store-commit-failed", KL_LOG_ERR(&err));
        fail_all(batch, &err);
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
    while (count < BATCH_MAX && (unit = TAILQ_FIRST(&committer->waiting)) != NULL) {
        TAILQ_REMOVE(&committer->waiting, unit, link);
        TAILQ_INSERT_TAIL(batch, unit, link);
        count++;
    }
    committer->waiting_count -= (size_t)count;
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
        run_batch(committer->store, &batch);
        pthread_mutex_lock(&committer->lock);
        TAILQ_CONCAT(&committer->finished, &batch, link);
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
        unit->done(unit);
    }
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    uint64_t count;

    (void)what;
    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    report_finished(arg);
}

/* Signals are the loop's business. */
static int start_thread(struct kl_committer *committer)
{
    sigset_t all, old;
    int fail;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    fail = pthread_create(&committer->thread, NULL, thread_main, committer);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return fail;
}

enum kl_rc kl_committer_new(struct event_base *base, struct kl_store *store,
                            struct kl_committer **out, struct kl_err *err)
{
    struct kl_committer *committer = calloc(1, sizeof(*committer));
    enum kl_rc rc;
    int fail;

    if (committer == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "store thread");
    }
    TAILQ_INIT(&committer->waiting);
    TAILQ_INIT(&committer->finished);
    pthread_mutex_init(&committer->lock, NULL);
    pthread_cond_init(&committer->work, NULL);
    committer->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (committer->wake_fd < 0) {
        rc = kl_err_errno(err, "eventfd", "store thread");
        goto fail;
    }
    committer->wake = event_new(base, committer->wake_fd, EV_READ | EV_PERSIST, on_wake, committer);
    if (committer->wake == NULL || event_add(committer->wake, NULL) != 0) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "store thread");
        goto fail;
    }
    committer->store = store;
    fail = start_thread(committer);
    if (fail != 0) {
        errno = fail;
        rc = kl_err_errno(err, "pthread_create", "store thread");
        goto fail;
    }
    *out = committer;
    return KL_OK;
fail:
    if (committer->wake != NULL) {
        event_free(committer->wake);
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
    close(committer->wake_fd);
    pthread_cond_destroy(&committer->work);
    pthread_mutex_destroy(&committer->lock);
    kl_store_free(committer->store);
    free(committer);
}

enum kl_rc kl_committer_submit(struct kl_committer *committer, struct kl_unit *unit,
                               struct kl_err *err)
{
    int full;

    pthread_mutex_lock(&committer->lock);
    full = committer->waiting_count >= KL_COMMITTER_MAX;
    if (!full) {
        TAILQ_INSERT_TAIL(&committer->waiting, unit, link);
        committer->waiting_count++;
        pthread_cond_signal(&committer->work);
    }
    pthread_mutex_unlock(&committer->lock);
    return full ? kl_err_set(err, KL_ERR_BUSY, "%d units wait for the store already",
                             KL_COMMITTER_MAX)
                : KL_OK;
}
