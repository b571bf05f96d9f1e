/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fleet as its files share it; only fleet.c, fleet_new.c, fleet_visit.c, fleet_idle.c and
 * fleet_show.c include this. Everything is the loop thread's.
 */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_IMPL_H
#define KL_TERMINAL_SIM_FLEET_FLEET_IMPL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "terminal-sim/fleet/fleet.h"
#include "terminal-sim/fleet/fleet_conn.h"
#include "terminal-sim/fleet/fleet_schedule.h"
#include "terminal-sim/fleet/fleet_source.h"
#include "terminal-sim/load.h"
#include "terminal-sim/signin.h"

enum kl_fleet_phase {
    KL_FLEET_WARM_UP,  /* idle connections come up */
    KL_FLEET_ARRIVALS, /* loads and sign-ins begin */
    KL_FLEET_DRAIN,    /* none begins any more; those under way end */
    KL_FLEET_SETTLE,   /* candidates of unknown fate are confirmed */
    KL_FLEET_OVER,
};

struct kl_fleet_ring { /* terminals that wait for work: a queue of each at most once */
    uint32_t *index;
    size_t capacity, at, count;
};

struct kl_fleet_worker { /* closed loop: one after the other */
    struct kl_fleet *fleet;
    struct event pause;
    int parked; /* waits for a terminal to be free */
};

/* One load, sign-in or Confirm, with all its attempts. */
struct kl_fleet_visit {
    struct kl_fleet *fleet;
    struct kl_fleet_terminal *terminal;
    struct kl_fleet_worker *worker; /* NULL in an open loop */
    uint32_t index;                 /* of the terminal */
    enum kl_fleet_action action;
    int settling;     /* only a Confirm, at the end of the run */
    int confirming;   /* this connection is a Confirm */
    int64_t intended; /* kl_clock_us() */
    int64_t began;    /* of this attempt */
    int64_t step_began;
    enum kl_fleet_step step;
    unsigned attempts;
    enum kl_fleet_kind last; /* how the last attempt ended */
    enum { KL_VISIT_CONNECTED, KL_VISIT_QUEUED, KL_VISIT_PAUSING } state;
    char serial[KL_SERIAL_MAX + 1], pinpad_serial[KL_SERIAL_MAX + 1];
    struct kl_fleet_conn *conn;
    struct kl_terminal_load *load; /* or else */
    struct kl_signin *sign_in;
    struct event pause; /* before another attempt */
    LIST_ENTRY(kl_fleet_visit) all;
    TAILQ_ENTRY(kl_fleet_visit) queue;
};

struct kl_fleet_idlers;

struct kl_fleet {
    const struct kl_fleet_config *config;
    struct kl_fleet_stats *stats;
    struct kl_fleet_result result;
    struct event_base *base;
    struct sockaddr_storage to;
    socklen_t to_len;
    struct kl_fleet_source source;
    const struct timeval *deadline; /* of each connection */
    struct kl_fleet_random random;

    struct kl_auth_memo *memo; /* NULL without roots: then nobody loads */
    struct kl_fleet_terminal *terminals;
    struct kl_fleet_ring loads, sign_ins;
    LIST_HEAD(, kl_fleet_visit) visits;  /* under way */
    TAILQ_HEAD(, kl_fleet_visit) queued; /* of them, those that wait for a connection */
    uint64_t under_way, begun;
    uint32_t open; /* connections of visits */

    enum kl_fleet_phase phase;
    int64_t began, ended; /* kl_clock_us() of arrivals, and of the last visit's end */
    struct kl_fleet_schedule schedule;
    int has_due; /* an arrival is next, at `due` */
    int64_t due; /* kl_clock_us() */
    struct kl_fleet_worker *workers;
    uint64_t working, parked; /* workers that are not done */
    uint64_t settle_at;       /* the next terminal to look at */
    struct kl_fleet_idlers *idlers;

    struct event *pump, *arrival, *tick, *finish, *interrupt, *terminate;
    int signals;
    int show; /* progress on stderr */
};

/* ---- fleet.c ---- */

/* The last part of kl_fleet_new: events, and every terminal is free. */
enum kl_rc kl_fleet_prepare(struct kl_fleet *fleet, struct kl_err *err) KL_MUST_CHECK;

/* Looks after what may begin now, from the event loop, soon. */
void kl_fleet_wake(struct kl_fleet *fleet);
/* The visit is over; kind says how. It is freed. */
void kl_fleet_visit_over(struct kl_fleet_visit *visit, enum kl_fleet_kind kind);
/* A connection from the index-th terminal's address, with the given callbacks in dial. */
enum kl_rc kl_fleet_dial(struct kl_fleet *fleet, uint64_t index, struct kl_fleet_dial *dial,
                         struct kl_fleet_conn **out, struct kl_err *err) KL_MUST_CHECK;

/* ---- fleet_visit.c ---- */

/* Begins a visit whose terminal is not busy, and connects it if there may be another connection; it
 * may be over on return. KL_ERR_MEMORY: nothing was begun. */
enum kl_rc kl_fleet_visit_begin(struct kl_fleet *fleet, uint32_t index, enum kl_fleet_action action,
                                int64_t intended, struct kl_fleet_worker *worker,
                                struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_fleet_visit_settle(struct kl_fleet *fleet, uint32_t index,
                                 struct kl_err *err) KL_MUST_CHECK;
/* Connects a queued one. */
void kl_fleet_visit_connect(struct kl_fleet_visit *visit);
/* Ends one that has no connection, as its last attempt ended. */
void kl_fleet_visit_give_up(struct kl_fleet_visit *visit);
/* Frees it as it is, with connection and machine. */
void kl_fleet_visit_free(struct kl_fleet_visit *visit);

/* ---- fleet_idle.c ---- */

enum kl_rc kl_fleet_idle_new(struct kl_fleet *fleet, struct kl_fleet_idlers **out,
                             struct kl_err *err) KL_MUST_CHECK;
void kl_fleet_idle_free(struct kl_fleet_idlers *idlers); /* takes NULL */
/* Begins to connect them; what closes is connected again after a second or two. */
void kl_fleet_idle_start(struct kl_fleet_idlers *idlers);
/* 1 once each has been tried. */
int kl_fleet_idle_ready(const struct kl_fleet_idlers *idlers);

/* ---- fleet_show.c ---- */

void kl_fleet_show(const struct kl_fleet *fleet, int last);

#endif
