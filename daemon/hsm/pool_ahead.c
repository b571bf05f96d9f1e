/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Jobs sent ahead: a busy worker has its next job in its socket when it is done with the one
 * before, and what it has not read there can be taken back.
 */
#include "daemon/hsm/pool_impl.h"
#include "proto/clock.h"

/* When a busy worker will be done, us, if its job takes as long as others of that HSM did. */
static int64_t done_at(const struct kl_slot *slot)
{
    return slot->since_ms * 1000 + slot->hsm->service_us;
}

/* The one that will be the first to be done. */
struct kl_slot *kl_pool_busy(const struct kl_pool *pool)
{
    int64_t oldest = kl_clock_ms() - KL_POOL_AHEAD_MS;
    struct kl_slot *first = NULL;

    for (size_t i = 0; i < pool->slot_count && !pool->rolling; i++) {
        struct kl_slot *slot = &pool->slots[i];
        if (slot->state == SLOT_BUSY && slot->ticket != NULL && slot->next == NULL &&
            !slot->retiring && slot->jobs + 1 < pool->config->recycle_after &&
            slot->hsm->breaker.state == KL_BREAKER_UP && slot->since_ms >= oldest &&
            (first == NULL || done_at(slot) < done_at(first))) {
            first = slot;
        }
    }
    return first;
}

int kl_slot_give_ahead(struct kl_slot *slot, struct kl_ticket *ticket)
{
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = kl_job_send(slot->link.jobs, ticket->job, &err);

    ticket->tries++;
    if (rc == KL_OK) {
        slot->next = ticket;
        slot->pool->ahead++;
        return 1;
    }
    kl_ticket_return(ticket);
    if (rc != KL_ERR_BUSY) {
        kl_slot_lost(slot, &err);
    }
    return 0;
}

void kl_slot_take_next(struct kl_slot *slot)
{
    slot->ticket = slot->next;
    slot->next = NULL;
    slot->pool->ahead -= slot->ticket != NULL;
}

static int is_job(const struct kl_ticket *ticket, uint64_t id)
{
    return ticket != NULL && ticket->id == id;
}

/* Reads from the worker's socket in its stead: the oldest of its jobs that it has not read, which
 * the caller deals with; NULL if there is none. */
static struct kl_ticket *read_unread(struct kl_slot *slot)
{
    uint64_t id;

    while (kl_job_take_back(slot->link.unread, &id)) {
        if (is_job(slot->ticket, id)) {
            return slot->ticket;
        }
        if (is_job(slot->next, id)) {
            return slot->next;
        }
    }
    return NULL;
}

static void give_back(struct kl_slot *slot, struct kl_ticket *ticket)
{
    if (ticket == slot->ticket) {
        kl_slot_take_next(slot);
    } else {
        slot->next = NULL;
        slot->pool->ahead--;
    }
    kl_ticket_return(ticket);
}

/* Takes the job back that was sent ahead. 0: there is none, or the worker has read it. */
static int take_back(struct kl_slot *slot)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_ticket *ticket = slot->next != NULL ? read_unread(slot) : NULL;

    if (ticket == NULL) {
        return 0;
    }
    if (ticket == slot->ticket) { /* which is before it, and not begun either */
        struct kl_ticket *second = read_unread(slot);
        if (second == NULL) {
            give_back(slot, ticket); /* the worker was quicker: it does what was behind it */
            return 0;
        }
        if (kl_job_send(slot->link.jobs, ticket->job, &err) != KL_OK) {
            kl_pool_after(slot->deadline, 0); /* the kernel has no memory; the worker is lost */
        }
        ticket = second;
    }
    give_back(slot, ticket);
    return 1;
}

void kl_slot_take_all_back(struct kl_slot *slot)
{
    struct kl_ticket *ticket;

    while ((ticket = read_unread(slot)) != NULL) {
        give_back(slot, ticket);
    }
}

/* The worker with the oldest job ahead that came after that one. */
static struct kl_slot *next_ahead(const struct kl_pool *pool, uint64_t id)
{
    struct kl_slot *first = NULL;

    for (size_t i = 0; i < pool->slot_count; i++) {
        struct kl_slot *slot = &pool->slots[i];
        if (slot->next != NULL && slot->next->id > id &&
            (first == NULL || slot->next->id < first->next->id)) {
            first = slot;
        }
    }
    return first;
}

int kl_pool_take_back(struct kl_pool *pool)
{
    struct kl_slot *slot;
    uint64_t id = 0;

    while (pool->queued == 0 && (slot = next_ahead(pool, id)) != NULL) {
        id = slot->next->id;
        (void)take_back(slot);
    }
    return pool->queued > 0;
}

int kl_pool_recall(struct kl_pool *pool, const struct kl_ticket *ticket)
{
    for (size_t i = 0; i < pool->slot_count; i++) {
        if (pool->slots[i].next == ticket) {
            int recalled = take_back(&pool->slots[i]);
            kl_pool_dispatch(pool); /* another may be sent in its place */
            return recalled;
        }
    }
    return 0;
}

void kl_pool_take_back_stuck(struct kl_pool *pool)
{
    for (size_t i = 0; i < pool->slot_count; i++) {
        struct kl_slot *slot = &pool->slots[i];
        if (kl_clock_ms() - slot->since_ms > KL_POOL_AHEAD_MS) {
            (void)take_back(slot);
        }
    }
    if (pool->queued > 0) {
        kl_pool_fail_if_dead(pool);
        kl_pool_dispatch(pool);
    }
}
