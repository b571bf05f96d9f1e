/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Idle terminals: connections on which nothing is ever said, as of terminals that hang or of
 * networks that half work. What the loader closes is connected again.
 */
#include <stdlib.h>

#include "terminal-sim/fleet/fleet_impl.h"

#define CONNECTING_MAX 256 /* at once, so that the loader's backlog is not all theirs */
#define AGAIN_US 1000000.0 /* and up to as much more */

struct idler {
    struct kl_fleet_idlers *all;
    struct kl_fleet_conn *conn;
    struct event again;
    int up, tried;
};

struct kl_fleet_idlers {
    struct kl_fleet *fleet;
    uint64_t count, next, tried; /* tried: how many have been, opened or not */
    unsigned connecting;
    struct event more;
    struct idler idler[];
};

static void connect_one(struct idler *idler);

static void connect_more(struct kl_fleet_idlers *all)
{
    while (all->next < all->count && all->connecting < CONNECTING_MAX) {
        connect_one(&all->idler[all->next++]);
    }
}

/* Not from within a call of connect_one, which would go deep. */
static void on_more(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    connect_more(arg);
}

static void try_again_later(struct idler *idler)
{
    double us = AGAIN_US * (1 + kl_fleet_random_share(&idler->all->fleet->random));
    struct timeval after = {(time_t)(us / 1e6), (suseconds_t)((int64_t)us % 1000000)};

    evtimer_add(&idler->again, &after);
}

/* An attempt to connect is over. */
static void tried(struct idler *idler)
{
    struct kl_fleet_idlers *all = idler->all;

    all->connecting--;
    all->tried += !idler->tried;
    idler->tried = 1;
    if (all->tried == all->count) {
        kl_fleet_wake(all->fleet);
    }
    event_active(&all->more, EV_TIMEOUT, 0);
}

static void failed(struct idler *idler, const struct kl_err *err)
{
    struct kl_fleet *fleet = idler->all->fleet;
    enum kl_fleet_kind kind = kl_fleet_kind_of(err->rc);

    fleet->result.idle_failed[kind]++;
    kl_fleet_stats_attempt(fleet->stats, kind, err->text);
    tried(idler);
}

static void on_opened(void *arg)
{
    struct idler *idler = arg;

    idler->up = 1;
    kl_fleet_conn_stay(idler->conn);
    idler->all->fleet->result.idle_opened++;
    idler->all->fleet->result.idle_open++;
    tried(idler);
}

static void on_message(void *arg, const uint8_t *der, size_t len)
{
    (void)arg; /* why the loader is about to close */
    (void)der;
    (void)len;
}

static void on_ended(void *arg, const struct kl_err *err)
{
    struct idler *idler = arg;
    struct kl_fleet_result *result = &idler->all->fleet->result;

    if (idler->up) {
        idler->up = 0;
        result->idle_closed++;
        result->idle_open--;
    } else {
        failed(idler, err);
    }
    kl_fleet_conn_free(idler->conn);
    idler->conn = NULL;
    try_again_later(idler);
}

static void connect_one(struct idler *idler)
{
    struct kl_fleet_idlers *all = idler->all;
    struct kl_fleet_dial dial = {.opened = on_opened,
                                 .message = on_message,
                                 .ended = on_ended,
                                 .arg = idler};
    struct kl_err err = KL_ERR_INIT;

    all->connecting++;
    if (kl_fleet_dial(all->fleet, all->fleet->config->terminals + (uint64_t)(idler - all->idler),
                      &dial, &idler->conn, &err)) {
        failed(idler, &err);
        try_again_later(idler);
    }
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    connect_one(arg);
}

enum kl_rc kl_fleet_idle_new(struct kl_fleet *fleet, struct kl_fleet_idlers **out,
                             struct kl_err *err)
{
    uint64_t count = fleet->config->idle;
    struct kl_fleet_idlers *all = calloc(1, sizeof(*all) + count * sizeof(all->idler[0]));

    if (!all) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for idle terminals");
    }
    all->fleet = fleet;
    all->count = count;
    evtimer_assign(&all->more, fleet->base, on_more, all);
    for (uint64_t i = 0; i < count; i++) {
        all->idler[i].all = all;
        evtimer_assign(&all->idler[i].again, fleet->base, on_again, &all->idler[i]);
    }
    *out = all;
    return KL_OK;
}

void kl_fleet_idle_free(struct kl_fleet_idlers *all)
{
    if (!all) {
        return;
    }
    event_del(&all->more);
    for (uint64_t i = 0; i < all->count; i++) {
        event_del(&all->idler[i].again);
        kl_fleet_conn_free(all->idler[i].conn);
    }
    free(all);
}

void kl_fleet_idle_start(struct kl_fleet_idlers *all)
{
    connect_more(all);
}

int kl_fleet_idle_ready(const struct kl_fleet_idlers *all)
{
    return all->tried == all->count;
}
