/* SPDX-License-Identifier: BSD-2-Clause */
/* Counting what the store holds. */
#include "daemon/monitor/census.h"

#include <stdlib.h>
#include <time.h>

#include "conf/log.h"
#include "proto/clock.h"

struct kl_census_taker {
    struct kl_unit unit; /* first: the committer's view of this */
    struct kl_service *service;
    struct event *timer;
    struct kl_census census;
    int64_t took_us;
};

static enum kl_rc take(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct kl_census_taker *taker = (struct kl_census_taker *)unit;
    struct kl_census *census = &taker->census;
    uint8_t hash[KL_HASH_LEN];
    int64_t began = kl_clock_us();
    enum kl_rc rc;

    census->time = (int64_t)time(NULL);
    rc = kl_store_census(store, census->time, &census->rows, err);
    if (rc == KL_OK) {
        rc = kl_store_audit_head(store, &census->audit_last, hash, err);
    }
    if (rc == KL_OK) {
        rc = kl_store_space(store, &census->store_bytes, &census->free_bytes, &census->disk_bytes,
                            err);
    }
    taker->took_us = kl_clock_us() - began;
    return rc;
}

static void plan(struct kl_census_taker *taker)
{
    int64_t pause = taker->took_us * KL_CENSUS_SHARE;
    struct timeval tv = {.tv_sec = KL_CENSUS_PERIOD_S};

    if (pause > KL_CENSUS_PERIOD_S * (int64_t)1000000) {
        tv.tv_sec = (time_t)(pause / 1000000);
    }
    evtimer_add(taker->timer, &tv);
}

static void taken(struct kl_unit *unit)
{
    struct kl_census_taker *taker = (struct kl_census_taker *)unit;

    if (unit->rc == KL_OK) {
        taker->service->metrics.census = taker->census;
    } else if (unit->rc != KL_ERR_FULL && unit->rc != KL_ERR_IO) { /* which is told elsewhere */
        kl_log(KL_LOG_ERROR, "census-failed", KL_LOG_ERR(&unit->err));
    }
    plan(taker);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct kl_census_taker *taker = arg;
    struct kl_err err = KL_ERR_INIT;

    (void)fd;
    (void)what;
    if (kl_committer_submit(taker->service->committer, &taker->unit, &err) != KL_OK) {
        plan(taker);
    }
}

enum kl_rc kl_census_new(struct kl_service *service, struct kl_census_taker **out,
                         struct kl_err *err)
{
    struct kl_census_taker *taker = calloc(1, sizeof(*taker));

    if (taker == NULL || (taker->timer = evtimer_new(service->base, on_timer, taker)) == NULL) {
        free(taker);
        return kl_err_set(err, KL_ERR_MEMORY, "census");
    }
    taker->unit.run = take;
    taker->unit.done = taken;
    taker->service = service;
    event_active(taker->timer, EV_TIMEOUT, 0);
    *out = taker;
    return KL_OK;
}

void kl_census_free(struct kl_census_taker *taker)
{
    if (taker != NULL) {
        event_free(taker->timer);
        free(taker);
    }
}
