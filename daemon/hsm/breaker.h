/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What to do about one HSM that fails: a circuit breaker with back-off, as a state machine without
 * clock, timers or processes of its own.
 *
 *   UP --failures in a row--> OPEN --its time is over--> PROBING --answer--> UP
 *                              ^---------- failure ---------'
 *   any --the PIN is refused--> BARRED --reset (an operator's word, a reload)--> PROBING
 *
 * UP: it gets jobs. OPEN: it is left alone. PROBING: one worker tries whether it is back. BARRED:
 * each further try would count against the token's own limit of wrong PINs, so none is made.
 * Pauses double with each failure in a row, and are spread at random, so that several daemons do
 * not come back to one HSM at the same moment. Times are CLOCK_MONOTONIC in milliseconds.
 */
#ifndef KL_DAEMON_HSM_BREAKER_H
#define KL_DAEMON_HSM_BREAKER_H

#include <stdint.h>

enum kl_breaker_state {
    KL_BREAKER_UP,
    KL_BREAKER_OPEN,
    KL_BREAKER_PROBING,
    KL_BREAKER_BARRED,
};
const char *kl_breaker_name(enum kl_breaker_state state); /* "up", "open", "probing", "barred" */

#define KL_BREAKER_TRIP 3          /* failures in a row that open it */
#define KL_BREAKER_PAUSE_MIN 100   /* ms, after the first failure */
#define KL_BREAKER_PAUSE_MAX 10000 /* ms */

/* Begin it with kl_breaker_init: PROBING, as nothing is known of the HSM yet. */
struct kl_breaker {
    enum kl_breaker_state state;
    unsigned failures; /* in a row */
    int64_t until;     /* no start before that */
    int64_t since;     /* when the state began */
    uint64_t trips;    /* how often it has opened */
};

void kl_breaker_init(struct kl_breaker *breaker, int64_t now);

/* The HSM did something right: a worker is ready, a job or a keep-alive was answered. */
void kl_breaker_good(struct kl_breaker *breaker, int64_t now);
/* It failed. random is any number, for the pause: from half of its length to all of it. */
void kl_breaker_bad(struct kl_breaker *breaker, int64_t now, uint32_t random);
/* The PIN was refused, or whatever else no new try can mend. */
void kl_breaker_bar(struct kl_breaker *breaker, int64_t now);
/* An operator has done something about it: begin at once, as if nothing had been. Leaves one that
 * is UP as it is. */
void kl_breaker_reset(struct kl_breaker *breaker, int64_t now);

/* The time of an OPEN one may be over: PROBING then. */
void kl_breaker_tick(struct kl_breaker *breaker, int64_t now);

/* Milliseconds until a worker may be started (0: now), -1: not before a reset. */
int64_t kl_breaker_wait(const struct kl_breaker *breaker, int64_t now);

#endif
