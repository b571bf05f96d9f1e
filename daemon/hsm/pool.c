/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker pool: jobs on their way, the queue of those that wait, and the change of keys. The
 * workers themselves are in pool_worker.c, jobs that busy ones are sent ahead in pool_ahead.c.
 */
#include "daemon/hsm/pool.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/hsm/pool_impl.h"
#include "pkcs11/rv.h"
#include "proto/clock.h"

/* ---- Tickets ---- */

static void ticket_free(struct kl_ticket *ticket)
{
    if (ticket != NULL) {
        free(ticket->job);
        free(ticket);
    }
}

/* In the order in which they were submitted; what comes back is among the first. */
static void queue_add(struct kl_pool *pool, struct kl_ticket *ticket)
{
    struct kl_ticket *last = TAILQ_LAST(&pool->queue, kl_ticket_list);

    if (last == NULL || last->id < ticket->id) {
        TAILQ_INSERT_TAIL(&pool->queue, ticket, link);
    } else {
        struct kl_ticket *after = TAILQ_FIRST(&pool->queue);
        while (after->id < ticket->id) {
            after = TAILQ_NEXT(after, link);
        }
        TAILQ_INSERT_BEFORE(after, ticket, link);
    }
    ticket->queued = 1;
    pool->queued++;
}

static void queue_remove(struct kl_pool *pool, struct kl_ticket *ticket)
{
    TAILQ_REMOVE(&pool->queue, ticket, link);
    ticket->queued = 0;
    pool->queued--;
}

void kl_ticket_done(struct kl_ticket *ticket, struct kl_job_result *result)
{
    if (ticket->done != NULL) {
        ticket->done(result, ticket->arg);
    }
    ticket_free(ticket);
}

void kl_ticket_fail(struct kl_ticket *ticket, enum kl_rc rc, const char *text)
{
    struct kl_job_result *result = calloc(1, sizeof(*result));

    if (result == NULL) {
        abort(); /* 2 KiB: nothing sensible is left to do, and the store is safe */
    }
    result->id = ticket->id;
    (void)kl_err_set(&result->err, rc, "%s", text);
    kl_ticket_done(ticket, result);
    free(result);
}

int kl_ticket_again(struct kl_ticket *ticket, const struct kl_err *err)
{
    if (ticket->done == NULL || ticket->tries >= KL_POOL_TRIES_MAX ||
        err->source != KL_ERR_SOURCE_PKCS11 || !kl_rv_is_loss(err->native)) {
        return 0;
    }
    queue_add(ticket->pool, ticket);
    return 1;
}

void kl_ticket_return(struct kl_ticket *ticket)
{
    ticket->tries--;
    if (ticket->done == NULL) {
        ticket_free(ticket);
        return;
    }
    queue_add(ticket->pool, ticket);
}

/* ---- The queue ---- */

size_t kl_pool_waiting(const struct kl_pool *pool)
{
    return pool->queued + pool->ahead;
}

void kl_pool_fail_if_dead(struct kl_pool *pool)
{
    struct kl_ticket *ticket;
    struct kl_err err = KL_ERR_INIT;

    if (kl_pool_up(pool) > 0) {
        pool->down_since_ms = 0;
        return;
    }
    if (kl_pool_given_up(pool, &err)) {
        pool->events.down(&err, pool->events.arg);
    }
    if (pool->down_since_ms == 0) {
        pool->down_since_ms = kl_clock_ms();
        kl_pool_after(pool->grace, KL_POOL_GRACE_MS);
    }
    if (kl_pool_in_grace(pool)) {
        return;
    }
    while ((ticket = TAILQ_FIRST(&pool->queue)) != NULL) {
        queue_remove(pool, ticket);
        kl_ticket_fail(ticket, KL_ERR_UNAVAILABLE, "no HSM is up");
    }
}

void kl_pool_dispatch(struct kl_pool *pool)
{
    struct kl_ticket *ticket;
    struct kl_slot *slot;
    int sent = 1;

    while (kl_pool_waiting(pool) > 0 && (slot = kl_pool_idle(pool)) != NULL &&
           (pool->queued > 0 || kl_pool_take_back(pool))) {
        ticket = TAILQ_FIRST(&pool->queue);
        queue_remove(pool, ticket);
        kl_slot_give(slot, ticket);
    }
    while (sent && (ticket = TAILQ_FIRST(&pool->queue)) != NULL &&
           (slot = kl_pool_busy(pool)) != NULL) {
        queue_remove(pool, ticket);
        sent = kl_slot_give_ahead(slot, ticket);
    }
}

static void set_id(struct kl_job *job, uint64_t id)
{
    if (job->kind == KL_JOB_LOAD) {
        job->u.load.id = id;
    } else if (job->kind == KL_JOB_CHECKPOINT) {
        job->u.checkpoint.id = id;
    } else {
        job->u.sign_in.id = id;
    }
}

/* Anybody can ask for a sign-in; a load takes an operator's arming. So sign-ins have half of the
 * queue at most. */
static uint64_t room_for(const struct kl_pool *pool, enum kl_job_kind kind)
{
    uint64_t queue = pool->config->queue;

    return kind == KL_JOB_SIGN_IN ? (queue + 1) / 2 : queue;
}

/* What so many jobs take the workers that are up, us. */
static int64_t time_of(const struct kl_pool *pool, size_t jobs)
{
    size_t up = kl_pool_up(pool);

    return up > 0 ? pool->service_us * (int64_t)jobs / (int64_t)up : 0;
}

int64_t kl_pool_wait_us(const struct kl_pool *pool)
{
    return time_of(pool, kl_pool_waiting(pool));
}

/* A terminal whose turn cannot come in time is better told so now; but if none waits, one must go
 * to learn how long it takes. */
static int comes_too_late(const struct kl_pool *pool)
{
    size_t waiting = kl_pool_waiting(pool);

    return waiting > 0 &&
           time_of(pool, waiting + 1) > (int64_t)pool->config->handshake_timeout * 1000000;
}

enum kl_rc kl_pool_room(const struct kl_pool *pool, enum kl_job_kind kind, size_t coming,
                        struct kl_err *err)
{
    uint64_t room = room_for(pool, kind), queue = pool->config->queue;
    size_t waiting = kl_pool_waiting(pool), counted = waiting > queue - queue / 4 ? coming : 0;

    if (waiting + counted >= room) {
        return kl_err_set(err, KL_ERR_BUSY, "%zu jobs wait for the HSM already%s", waiting,
                          counted > 0 ? ", others are coming" : "");
    }
    if (comes_too_late(pool)) {
        return kl_err_set(err, KL_ERR_BUSY,
                          "%zu jobs wait for the HSM, which takes %lld ms for each", waiting,
                          (long long)pool->service_us / 1000);
    }
    return KL_OK;
}

enum kl_rc kl_pool_submit(struct kl_pool *pool, const struct kl_job *job, kl_pool_done_fn done,
                          void *arg, struct kl_ticket **out, struct kl_err *err)
{
    size_t size = kl_job_size(job);
    struct kl_ticket *ticket;

    if (kl_pool_up(pool) == 0 && !kl_pool_in_grace(pool)) {
        return kl_err_set(err, KL_ERR_UNAVAILABLE, "no HSM is up");
    }
    if (kl_pool_room(pool, job->kind, 0, err) != KL_OK) {
        return err->rc;
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
    memcpy(ticket->job, job, size);
    set_id(ticket->job, ticket->id);
    queue_add(pool, ticket);
    *out = ticket;
    kl_pool_dispatch(pool);
    return KL_OK;
}

int kl_pool_cancel(struct kl_ticket *ticket)
{
    if (ticket->queued) {
        int begun = ticket->tries > 0;
        queue_remove(ticket->pool, ticket); /* spares the HSM */
        ticket_free(ticket);
        return begun;
    }
    ticket->done = NULL;
    return !kl_pool_recall(ticket->pool, ticket);
}

/* ---- The change of keys ---- */

static int is_up(const struct kl_slot *slot)
{
    return slot->state == SLOT_IDLE || slot->state == SLOT_BUSY;
}

static void use_config(struct kl_pool *pool, const struct kl_config *config)
{
    const struct kl_config *old = pool->config;

    pool->config = kl_config_ref(config);
    kl_config_unref(old);
}

static void end_roll(struct kl_pool *pool)
{
    pool->rolling = 0;
    kl_config_unref(pool->next_config);
    pool->next_config = NULL;
}

/* 1 if it has as many workers with the new keys as it should, and none with the old ones. One that
 * is out of service holds nothing up: its workers get the new keys when it is back. */
static int has_rolled(const struct kl_pool *pool, const struct kl_pool_hsm *hsm, size_t *fresh)
{
    size_t new = 0, old = 0;

    for (size_t i = 0; i < pool->slot_count; i++) {
        const struct kl_slot *slot = &pool->slots[i];
        if (slot->hsm == hsm && is_up(slot)) {
            new += slot->generation == pool->generation;
            old += slot->generation != pool->generation;
        }
    }
    if (hsm->breaker.state != KL_BREAKER_UP) {
        return 1;
    }
    *fresh += new;
    return old == 0 && new >= hsm->workers;
}

/* What an HSM that is out still has with the old keys is of no use any more. */
static void leave_old(struct kl_pool *pool)
{
    for (size_t i = 0; i < pool->slot_count; i++) {
        struct kl_slot *slot = &pool->slots[i];
        if (slot->state == SLOT_IDLE && slot->generation != pool->generation) {
            kl_slot_leave(slot);
        }
    }
}

void kl_pool_roll_progress(struct kl_pool *pool)
{
    size_t fresh = 0;

    if (!pool->rolling) {
        return;
    }
    for (size_t i = 0; i < pool->hsm_count; i++) {
        if (!has_rolled(pool, &pool->hsms[i], &fresh)) {
            return;
        }
    }
    if (fresh > 0) {
        leave_old(pool);
        use_config(pool, pool->next_config);
        end_roll(pool);
        pool->events.rolled(NULL, pool->events.arg);
    }
}

/* Back to the old keys and configuration: workers that have them stay, others are replaced. */
static void roll_back(struct kl_pool *pool)
{
    pool->work_keys = pool->old_keys;
    for (size_t i = 0; i < pool->slot_count; i++) {
        struct kl_slot *slot = &pool->slots[i];
        slot->retiring = is_up(slot) && slot->generation == pool->generation;
        if (is_up(slot) && !slot->retiring) {
            slot->generation = pool->generation + 1;
        }
    }
    pool->generation++;
    end_roll(pool);
}

void kl_pool_roll_failed(struct kl_pool *pool, struct kl_pool_hsm *hsm, const struct kl_err *err)
{
    int lasting = !kl_pool_worth_retrying(err->rc);

    hsm->roll_failures++;
    if (!lasting && (hsm->roll_failures < KL_POOL_START_TRIES || kl_pool_up(pool) > 0)) {
        return; /* the next start comes in its time; another HSM may do in its place */
    }
    roll_back(pool);
    pool->events.rolled(err, pool->events.arg);
}

void kl_pool_roll(struct kl_pool *pool, const struct kl_config *config,
                  const struct kl_job_wants *work_keys)
{
    pool->next_config = kl_config_ref(config);
    pool->old_keys = pool->work_keys;
    pool->work_keys = *work_keys;
    pool->generation++;
    pool->rolling = 1;
    for (size_t i = 0; i < pool->hsm_count; i++) {
        pool->hsms[i].roll_failures = 0;
    }
    kl_pool_reset(pool); /* whoever asks for this may have mended what an HSM was barred for */
    for (size_t i = 0; i < pool->slot_count; i++) {
        pool->slots[i].retiring = is_up(&pool->slots[i]);
    }
    kl_pool_start_next(pool);
}

void kl_pool_update(struct kl_pool *pool, const struct kl_config *config,
                    const struct kl_job_wants *work_keys)
{
    use_config(pool, config);
    pool->work_keys = *work_keys;
    kl_pool_reset(pool);
    kl_pool_after(pool->retry, 0);
}

/* ---- The whole ---- */

static enum kl_rc make_slots(struct kl_pool *pool, struct kl_err *err)
{
    size_t next = 0;

    pool->hsm_count = kl_config_hsm_count(pool->config);
    for (size_t i = 0; i < pool->hsm_count; i++) {
        struct kl_pool_hsm *hsm = &pool->hsms[i];
        hsm->index = i;
        hsm->workers = (size_t)pool->config->hsm[i].workers;
        kl_breaker_init(&hsm->breaker, kl_clock_ms());
        pool->slot_count += hsm->workers + 1;
    }
    pool->slots = calloc(pool->slot_count, sizeof(*pool->slots));
    if (pool->slots == NULL) {
        pool->slot_count = 0;
        return kl_err_set(err, KL_ERR_MEMORY, "worker pool");
    }
    for (size_t i = 0; i < pool->hsm_count; i++) {
        for (size_t n = 0; n <= pool->hsms[i].workers; n++) {
            pool->slots[next].pool = pool;
            pool->slots[next].hsm = &pool->hsms[i];
            pool->slots[next].link = (struct kl_worker_link)KL_WORKER_LINK_INIT;
            next++;
        }
    }
    return KL_OK;
}

enum kl_rc kl_pool_new(struct event_base *base, const struct kl_config *config,
                       const struct kl_job_wants *work_keys, const struct kl_pool_events *events,
                       struct kl_pool **out, struct kl_err *err)
{
    struct kl_pool *pool = calloc(1, sizeof(*pool));

    if (pool == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "worker pool");
    }
    TAILQ_INIT(&pool->queue);
    pool->base = base;
    pool->config = kl_config_ref(config);
    pool->work_keys = *work_keys;
    pool->events = *events;
    pool->buffer = calloc(1, sizeof(*pool->buffer));
    if (pool->buffer == NULL) {
        kl_pool_free(pool);
        return kl_err_set(err, KL_ERR_MEMORY, "worker pool");
    }
    if (make_slots(pool, err) != KL_OK || kl_pool_watch(pool, err) != KL_OK) {
        kl_pool_free(pool);
        return err->rc;
    }
    *out = pool;
    /* from the loop, so that the caller has its pool before any callback */
    kl_pool_after(pool->retry, 0);
    return KL_OK;
}

static void free_events(struct kl_pool *pool)
{
    struct event *own[] = {pool->retry, pool->grace, pool->alive, pool->sigchld};

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (own[i] != NULL) {
            event_free(own[i]);
        }
    }
}

void kl_pool_free(struct kl_pool *pool)
{
    struct kl_ticket *ticket;

    if (pool == NULL) {
        return;
    }
    kl_pool_end_workers(pool);
    for (size_t i = 0; i < pool->slot_count; i++) {
        ticket_free(pool->slots[i].ticket);
        ticket_free(pool->slots[i].next);
    }
    while ((ticket = TAILQ_FIRST(&pool->queue)) != NULL) {
        queue_remove(pool, ticket);
        ticket_free(ticket);
    }
    free_events(pool);
    kl_config_unref(pool->next_config);
    kl_config_unref(pool->config);
    free(pool->slots);
    free(pool->first);
    free(pool->buffer);
    free(pool);
}
