/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fleet: very many virtual terminals in one process and one thread, which drive loads and
 * sign-ins against a key loader through the same state machines as one terminal (load.h,
 * signin.h), over an event loop.
 */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_H
#define KL_TERMINAL_SIM_FLEET_FLEET_H

#include <openssl/x509.h>
#include <stdint.h>

#include "proto/err.h"
#include "terminal-sim/fleet/fleet_mix.h"
#include "terminal-sim/fleet/fleet_random.h"
#include "terminal-sim/fleet/fleet_stats.h"
#include "terminal-sim/fleet/fleet_terminal.h"

#define KL_FLEET_TERMINALS_MAX 1000000
#define KL_FLEET_CONNECTIONS_MAX 60000

enum kl_fleet_mode {
    KL_FLEET_CLOSED, /* so many at once; who is done pauses and begins again */
    KL_FLEET_OPEN,   /* so many a second, whatever becomes of those before */
    KL_FLEET_STORM,  /* every terminal, at once or spread over a time */
    KL_FLEET_SILENT, /* nobody loads; there are idle connections alone */
};

struct kl_fleet_config { /* borrowed, with all it points to, until kl_fleet_free */
    const char *connect; /* HOST:PORT */
    STACK_OF(X509) * roots;
    const char *prefix;               /* of serials: kl_fleet_serial */
    uint64_t first;                   /* number of the first terminal */
    uint64_t terminals;               /* 1 to KL_FLEET_TERMINALS_MAX */
    struct kl_fleet_mix suites, algs; /* each terminal offers one suite and one algorithm */

    enum kl_fleet_mode mode;
    uint64_t concurrency;           /* closed */
    int64_t think_us;               /* closed: mean pause */
    enum kl_fleet_spacing think;    /* closed: of pauses */
    double rate;                    /* open: arrivals a second */
    enum kl_fleet_spacing arrivals; /* open */
    int64_t spread_us;              /* storm */

    int64_t duration_us;  /* of arrivals; 0 = until the work is done */
    uint64_t count;       /* loads and sign-ins; 0 = no limit */
    unsigned rounds;      /* loads of each terminal; 0 = no limit */
    unsigned sign_in;     /* percent that are sign-ins of terminals that have a TMK */
    uint64_t idle;        /* connections that stay silent */
    uint64_t connections; /* open, storm: of loads and sign-ins at once; 0 = as many as descriptors
                             allow, up to 20000 */
    uint64_t timeout_s;   /* of each connection */
    unsigned retries;     /* of each load or sign-in after busy, timeout, connect, reset */
    const char *source;   /* kl_fleet_source_parse; NULL: the system chooses */
    uint64_t seed;
};

struct kl_fleet_result {
    int64_t started;    /* Unix time */
    int64_t elapsed_us; /* from the first intended start to the last end */
    int64_t cpu_us;     /* of this process meanwhile */
    uint64_t peak_rss_kib;
    int interrupted;                          /* by SIGINT or SIGTERM */
    uint64_t unfinished;                      /* cut off by a second one */
    uint64_t settled_active, settled_dropped; /* candidates that a Confirm at the end settled */
    uint64_t active, in_doubt;         /* terminals with a TMK; with a candidate of unknown fate */
    uint64_t idle_opened, idle_closed; /* idle connections, over the run */
    uint64_t idle_failed[KL_FLEET_KIND_COUNT]; /* that were not opened, and why */
    uint64_t idle_open;                        /* at its end */
    uint64_t connections; /* of loads and sign-ins at once that there might be */
    uint32_t open_max;    /* connections of loads and sign-ins at once */
};

/* The algorithm that the index-th terminal is registered with and offers; from 0. */
enum kl_alg kl_fleet_alg(const struct kl_fleet_config *config, uint64_t index);

struct kl_fleet;

/* Resolves the address, reserves memory, raises the limit of descriptors. KL_ERR_SYSTEM says how,
 * if it is too low; KL_ERR_USAGE of addresses, KL_ERR_UNAVAILABLE, KL_ERR_MEMORY. Before anything
 * else of the process uses secrets or random numbers (kl_secret_reserve). */
enum kl_rc kl_fleet_new(const struct kl_fleet_config *config, struct kl_fleet **out,
                        struct kl_err *err) KL_MUST_CHECK;
void kl_fleet_free(struct kl_fleet *fleet); /* takes NULL */

/* Runs it to its end: arrivals, what is under way, then a Confirm for each candidate whose Done did
 * not come. The first SIGINT or SIGTERM ends arrivals, a second one everything. Shows progress on
 * stderr if that is a terminal. */
enum kl_rc kl_fleet_run(struct kl_fleet *fleet, struct kl_err *err) KL_MUST_CHECK;

const struct kl_fleet_stats *kl_fleet_stats_of(const struct kl_fleet *fleet);
const struct kl_fleet_result *kl_fleet_result_of(const struct kl_fleet *fleet);
/* The index-th terminal, from 0. */
const struct kl_fleet_terminal *kl_fleet_terminal_at(const struct kl_fleet *fleet, uint64_t index);

#endif
