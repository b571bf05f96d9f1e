/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pool's HSMs: which of them is in what state, when a worker of one is started, and what
 * operators are told.
 */
#include <event2/util.h>
#include <string.h>
#include <time.h>

#include "conf/log.h"
#include "daemon/hsm/pool_impl.h"
#include "proto/clock.h"

static uint32_t draw(void)
{
    uint32_t number;

    evutil_secure_rng_get_bytes(&number, sizeof(number));
    return number;
}

/* Slots in that state; hsm NULL: of all HSMs. */
static size_t count_slots(const struct kl_pool *pool, const struct kl_pool_hsm *hsm,
                          enum kl_slot_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < pool->slot_count; i++) {
        const struct kl_slot *slot = &pool->slots[i];
        count += slot->state == state && (hsm == NULL || slot->hsm == hsm);
    }
    return count;
}

/* ---- States ---- */

/* OPEN and PROBING change places for as long as an HSM is out: that is said once. */
static void log_state(const struct kl_pool_hsm *hsm, enum kl_breaker_state before)
{
    static const char *const details[] = {
        [KL_BREAKER_UP] = "in use",
        [KL_BREAKER_OPEN] = "left alone until it answers again",
        [KL_BREAKER_PROBING] = "",
        [KL_BREAKER_BARRED] = "not tried any more: correct the cause, then reload or hsm retry",
    };
    enum kl_breaker_state now = hsm->breaker.state;

    if (now != before && (now == KL_BREAKER_UP || now == KL_BREAKER_BARRED ||
                          (now == KL_BREAKER_OPEN && before == KL_BREAKER_UP))) {
        kl_log(now == KL_BREAKER_UP ? KL_LOG_INFO : KL_LOG_ERROR, "hsm-state",
               KL_STR("hsm", kl_config_hsm_name(hsm->index)), KL_STR("state", kl_breaker_name(now)),
               KL_STR("detail", details[now]));
    }
}

void kl_hsm_good(struct kl_pool_hsm *hsm)
{
    enum kl_breaker_state before = hsm->breaker.state;

    kl_breaker_good(&hsm->breaker, kl_clock_ms());
    log_state(hsm, before);
}

int kl_pool_worth_retrying(enum kl_rc rc)
{
    return rc == KL_ERR_TOKEN || rc == KL_ERR_HSM || rc == KL_ERR_CLOSED || rc == KL_ERR_TIMEOUT;
}

/* Before the first worker of all is up, what time does not mend is reported as soon as it is clear;
 * later an HSM may come back at any time. A refused PIN is final in either case. */
static int is_final(const struct kl_pool *pool, const struct kl_pool_hsm *hsm, enum kl_rc rc)
{
    if (rc == KL_ERR_PIN) {
        return 1; /* another try could lock the token */
    }
    return !pool->started &&
           (!kl_pool_worth_retrying(rc) || hsm->breaker.failures + 1 >= KL_POOL_START_TRIES);
}

void kl_hsm_bad(struct kl_pool *pool, struct kl_pool_hsm *hsm, const struct kl_err *err,
                int starting)
{
    enum kl_breaker_state before = hsm->breaker.state;

    hsm->count.last = *err;
    hsm->count.last_at = (int64_t)time(NULL);
    if (starting && is_final(pool, hsm, err->rc)) {
        kl_breaker_bar(&hsm->breaker, kl_clock_ms());
    } else {
        kl_breaker_bad(&hsm->breaker, kl_clock_ms(), draw());
    }
    log_state(hsm, before);
}

void kl_pool_started(struct kl_pool *pool)
{
    pool->started = 1;
    for (size_t i = 0; i < pool->hsm_count; i++) {
        struct kl_pool_hsm *hsm = &pool->hsms[i];
        if (hsm->breaker.state == KL_BREAKER_BARRED && hsm->count.last.rc != KL_ERR_PIN) {
            kl_breaker_reset(&hsm->breaker, kl_clock_ms());
        }
    }
}

/* The HSM of that section, or (NULL) all: how many. */
static int reset(struct kl_pool *pool, const char *name)
{
    int count = 0;

    for (size_t i = 0; i < pool->hsm_count; i++) {
        struct kl_pool_hsm *hsm = &pool->hsms[i];
        if (name == NULL || strcmp(name, kl_config_hsm_name(hsm->index)) == 0) {
            kl_breaker_reset(&hsm->breaker, kl_clock_ms());
            count++;
        }
    }
    return count;
}

void kl_pool_reset(struct kl_pool *pool)
{
    (void)reset(pool, NULL);
}

enum kl_rc kl_pool_retry(struct kl_pool *pool, const char *name, struct kl_err *err)
{
    if (reset(pool, name) == 0) {
        return kl_err_set(err, KL_ERR_NOT_FOUND, "no HSM \"%.20s\" is configured", name);
    }
    kl_pool_after(pool->retry, 0);
    return KL_OK;
}

int kl_pool_given_up(const struct kl_pool *pool, struct kl_err *err)
{
    if (pool->started || count_slots(pool, NULL, SLOT_STARTING) > 0) {
        return 0;
    }
    for (size_t i = 0; i < pool->hsm_count; i++) {
        if (pool->hsms[i].breaker.state != KL_BREAKER_BARRED) {
            return 0;
        }
    }
    *err = pool->hsms[0].count.last;
    if (pool->hsm_count > 1) {
        kl_err_context(err, "none of %zu HSMs; [%s]", pool->hsm_count, kl_config_hsm_name(0));
    }
    return 1;
}

/* ---- Workers by number ---- */

size_t kl_hsm_up(const struct kl_pool *pool, const struct kl_pool_hsm *hsm)
{
    return count_slots(pool, hsm, SLOT_IDLE) + count_slots(pool, hsm, SLOT_BUSY);
}

size_t kl_pool_up(const struct kl_pool *pool)
{
    size_t count = 0;

    for (size_t i = 0; i < pool->hsm_count; i++) {
        if (pool->hsms[i].breaker.state == KL_BREAKER_UP) {
            count += kl_hsm_up(pool, &pool->hsms[i]);
        }
    }
    return count;
}

int kl_pool_in_grace(const struct kl_pool *pool)
{
    if (pool->down_since_ms == 0 || kl_clock_ms() - pool->down_since_ms >= KL_POOL_GRACE_MS) {
        return 0;
    }
    for (size_t i = 0; i < pool->hsm_count; i++) {
        if (pool->hsms[i].breaker.state == KL_BREAKER_UP) {
            return 1;
        }
    }
    return 0;
}

/* ---- Starts ---- */

/* It hangs, most likely; what comes after it need not wait until it is killed. */
static int is_slow_start(const struct kl_slot *slot)
{
    return slot->state == SLOT_STARTING && kl_clock_ms() - slot->since_ms > KL_POOL_SLOW_START_MS;
}

/* A free slot, if that HSM has fewer workers than it should. */
static struct kl_slot *wanted(const struct kl_pool *pool, const struct kl_pool_hsm *hsm)
{
    struct kl_slot *empty = NULL;
    size_t useful = 0;

    for (size_t i = 0; i < pool->slot_count; i++) {
        struct kl_slot *slot = &pool->slots[i];
        if (slot->hsm != hsm) {
            continue;
        }
        if (slot->state == SLOT_EMPTY) {
            empty = slot;
        } else if (!slot->retiring && !is_slow_start(slot)) {
            useful++;
        }
    }
    return useful < hsm->workers ? empty : NULL;
}

/* 1 while a worker of the same module starts. */
static int module_is_opening(const struct kl_pool *pool, const struct kl_pool_hsm *hsm)
{
    const struct kl_config_hsm *all = pool->config->hsm;

    for (size_t i = 0; i < pool->slot_count; i++) {
        const struct kl_slot *slot = &pool->slots[i];
        if (slot->state == SLOT_STARTING && !is_slow_start(slot) &&
            strcmp(all[slot->hsm->index].module, all[hsm->index].module) == 0) {
            return 1;
        }
    }
    return 0;
}

void kl_pool_start_next(struct kl_pool *pool)
{
    int64_t soonest = -1;

    for (size_t i = 0; i < pool->hsm_count; i++) {
        struct kl_pool_hsm *hsm = &pool->hsms[i];
        struct kl_slot *slot = wanted(pool, hsm);
        int64_t wait;

        if (slot == NULL || module_is_opening(pool, hsm)) {
            continue; /* when that one is through, this comes again */
        }
        kl_breaker_tick(&hsm->breaker, kl_clock_ms());
        wait = kl_breaker_wait(&hsm->breaker, kl_clock_ms());
        if (wait == 0) {
            kl_slot_start(slot);
        } else if (wait > 0 && (soonest < 0 || wait < soonest)) {
            soonest = wait;
        }
    }
    if (soonest >= 0) {
        kl_pool_after(pool->retry, soonest);
    }
}

/* ---- For operators ---- */

static void report_hsm(const struct kl_pool *pool, const struct kl_pool_hsm *hsm,
                       struct kl_pool_hsm_report *out)
{
    *out = hsm->count;
    out->name = kl_config_hsm_name(hsm->index);
    out->state = hsm->breaker.state;
    out->since = (int64_t)time(NULL) - (kl_clock_ms() - hsm->breaker.since) / 1000;
    out->trips = hsm->breaker.trips;
    out->workers = hsm->workers;
    out->idle = count_slots(pool, hsm, SLOT_IDLE);
    out->busy = count_slots(pool, hsm, SLOT_BUSY);
    out->starting = count_slots(pool, hsm, SLOT_STARTING);
    out->leaving = count_slots(pool, hsm, SLOT_LEAVING);
}

void kl_pool_report(const struct kl_pool *pool, struct kl_pool_report *out)
{
    memset(out, 0, sizeof(*out));
    out->hsm_count = pool->hsm_count;
    for (size_t i = 0; i < pool->hsm_count; i++) {
        report_hsm(pool, &pool->hsms[i], &out->hsm[i]);
    }
    out->queued = kl_pool_waiting(pool);
    out->queue_max = pool->config->queue;
    out->service_ms = (pool->service_us + 999) / 1000;
    out->serving = kl_pool_up(pool) > 0 || kl_pool_in_grace(pool);
}
