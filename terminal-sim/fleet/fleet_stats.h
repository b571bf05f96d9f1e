/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a fleet counts and measures, in constant memory however long it runs: how each load and
 * sign-in ended, how long it took, and a series over time of at most KL_FLEET_SERIES_MAX points.
 * Loop thread.
 */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_STATS_H
#define KL_TERMINAL_SIM_FLEET_FLEET_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "terminal-sim/fleet/fleet_latency.h"

/* How a load or sign-in, or one attempt at it, ends. X(name in C, name for people, meaning) */
#define KL_FLEET_KINDS(X) \
    X(OK, "ok", "as it must") \
    X(BUSY, "busy", "the loader answered busy, or had trouble of its own") \
    X(REFUSED, "refused", "the loader refused") \
    X(TIMEOUT, "timeout", "it took too long, by our deadline or by the loader's") \
    X(CONNECT, "connect", "no connection: nobody listens there") \
    X(RESET, "reset", "the loader closed or reset the connection in the middle") \
    X(PROTOCOL, "protocol", "the loader broke the protocol") \
    X(CHECK, "check", "a check of the terminal's failed: certificate, signature, KCV") \
    X(VOIDED, "voided", "the loader said in Done that the TMK is to be dropped") \
    X(UNSTARTED, "unstarted", "due in the run, but no connection was free for it") \
    X(IN_DOUBT, "in-doubt", "a TMK whose Done never came: the loader may count it as active") \
    X(CUT_OFF, "cut-off", "under way when a second SIGINT or SIGTERM ended the run") \
    X(OWN, "own", "trouble of this program's host: descriptors, ports, memory")
enum kl_fleet_kind {
#define KL_FLEET_KIND_ENUM(symbol, name, meaning) KL_FLEET_##symbol,
    KL_FLEET_KINDS(KL_FLEET_KIND_ENUM)
#undef KL_FLEET_KIND_ENUM
};
#define KL_FLEET_KIND_COUNT 13

const char *kl_fleet_kind_name(enum kl_fleet_kind kind);
const char *kl_fleet_kind_meaning(enum kl_fleet_kind kind);
unsigned kl_fleet_kind_by_name(const char *name); /* 0 if it is no kind of failure */
enum kl_fleet_kind kl_fleet_kind_of(enum kl_rc rc);

enum kl_fleet_action {
    KL_FLEET_LOAD,
    KL_FLEET_SIGN_IN,
};
#define KL_FLEET_ACTION_COUNT 2

/* The steps of a load that the terminal waits for. */
enum kl_fleet_step {
    KL_FLEET_STEP_CONNECT,     /* until the connection is there */
    KL_FLEET_STEP_CERTIFICATE, /* from Hello to Certificate */
    KL_FLEET_STEP_MASTER_KEY,  /* from Randoms to MasterKey: the loader's HSM */
    KL_FLEET_STEP_DONE,        /* from Loaded to Done: the loader's store */
};
#define KL_FLEET_STEP_COUNT 4
const char *kl_fleet_step_name(enum kl_fleet_step step);

#define KL_FLEET_SERIES_MAX 600
struct kl_fleet_point { /* of the series; times in microseconds */
    uint64_t good, failed;
    int64_t p50, p99, max; /* of the loads that ended well in it; where points were merged, the
                              worst of them */
    uint32_t open;         /* connections at its end; of merged ones, the most */
};

#define KL_FLEET_SAMPLE_MAX 200
struct kl_fleet_stats {
    uint64_t started[KL_FLEET_ACTION_COUNT];
    uint64_t ended[KL_FLEET_ACTION_COUNT][KL_FLEET_KIND_COUNT]; /* loads and sign-ins */
    uint64_t attempts[KL_FLEET_KIND_COUNT];                     /* also those tried again */
    uint64_t retries;
    uint64_t confirmed;                                    /* loads that a Confirm ended */
    char sample[KL_FLEET_KIND_COUNT][KL_FLEET_SAMPLE_MAX]; /* the first error's text */

    struct kl_latency
        whole[KL_FLEET_ACTION_COUNT]; /* from its start, pauses and retries included */
    struct kl_latency attempt;        /* the load's attempt that went well, from connect to Done */
    struct kl_latency busy;           /* attempts that the loader was too busy for, from connect */
    struct kl_latency step[KL_FLEET_STEP_COUNT];
    struct kl_latency lag; /* from the intended to the actual start */

    struct kl_latency recent; /* loads since the last point */
    uint64_t recent_good, recent_failed;
    unsigned every; /* calls of kl_fleet_stats_tick in a point: a power of 2 */
    unsigned ticks; /* of the point that is being filled */
    size_t points;
    struct kl_fleet_point point[KL_FLEET_SERIES_MAX + 1]; /* the last one is being filled */
};

struct kl_fleet_stats *kl_fleet_stats_new(struct kl_err *err); /* NULL: KL_ERR_MEMORY */

void kl_fleet_stats_attempt(struct kl_fleet_stats *stats, enum kl_fleet_kind kind,
                            const char *text);
/* A load or sign-in has ended; us, which counts only if it went well: from its start. */
void kl_fleet_stats_end(struct kl_fleet_stats *stats, enum kl_fleet_action action,
                        enum kl_fleet_kind kind, int64_t us);
/* Once a second: closes what was recent into the series. */
void kl_fleet_stats_tick(struct kl_fleet_stats *stats, uint32_t open);

/* Of both actions. */
uint64_t kl_fleet_stats_ended(const struct kl_fleet_stats *stats, enum kl_fleet_kind kind);

#endif
