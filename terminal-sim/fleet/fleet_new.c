/* SPDX-License-Identifier: BSD-2-Clause */
/* Making a fleet: what it takes of the system, and giving that back. */
#include <inttypes.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "proto/secret.h"
#include "terminal-sim/fleet/fleet_impl.h"
#include "terminal-sim/transceiver.h"

#define CONNECTIONS_DEFAULT 20000
#define DESCRIPTORS 64                 /* beside connections */
#define CALLBACKS_MAX 32               /* of connections, before the fleet's own get their turn */
#define SECRETS_MORE ((size_t)1 << 16) /* bytes, beside PIN pads */

enum kl_alg kl_fleet_alg(const struct kl_fleet_config *config, uint64_t index)
{
    return (enum kl_alg)kl_fleet_mix_pick(&config->algs, KL_FLEET_SALT_ALG, index);
}

/* As many descriptors as there may be, as the superuser also beyond the hard limit: how many that
 * is. */
static uint64_t raise_descriptors(uint64_t wanted)
{
    struct rlimit limit, more;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return wanted;
    }
    more = (struct rlimit){wanted, limit.rlim_max > wanted ? limit.rlim_max : wanted};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0) {
        return wanted;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : 0;
}

/* How many connections there may be at once. Where nobody said it, fewer will do in an open loop:
 * what waits for one is measured from its intended start. */
static enum kl_rc find_connections(struct kl_fleet *fleet, struct kl_err *err)
{
    const struct kl_fleet_config *config = fleet->config;
    uint64_t wanted = config->connections, given, beside = config->idle + DESCRIPTORS;

    if (config->mode == KL_FLEET_CLOSED) {
        wanted = config->concurrency;
    } else if (wanted == 0) {
        wanted = config->terminals < CONNECTIONS_DEFAULT ? config->terminals : CONNECTIONS_DEFAULT;
    }
    given = raise_descriptors(wanted + beside);
    fleet->result.connections = wanted;
    if (given >= wanted + beside) {
        return KL_OK;
    }
    if (config->mode != KL_FLEET_CLOSED && config->connections == 0 && given > beside) {
        fleet->result.connections = given - beside;
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_SYSTEM,
                      "%" PRIu64 " connections take %" PRIu64 " descriptors, and %" PRIu64
                      " are allowed: raise the limit (ulimit -Hn %" PRIu64
                      " as root, or LimitNOFILE= in a unit), or have fewer",
                      wanted + config->idle, wanted + beside, given, wanted + beside);
}

/* An address that is malformed, or that this host has not, is a wrong command line. */
static enum kl_rc blame(const char *option, struct kl_err *err)
{
    if (err->rc == KL_ERR_INPUT) {
        err->rc = KL_ERR_USAGE;
    }
    return kl_err_context(err, "%s", option);
}

static enum kl_rc resolve(struct kl_fleet *fleet, struct kl_err *err)
{
    struct addrinfo *list = NULL;
    enum kl_rc rc = kl_transceiver_resolve(fleet->config->connect, &list, err);

    if (rc) {
        return blame("--connect", err);
    }
    memcpy(&fleet->to, list->ai_addr, list->ai_addrlen);
    fleet->to_len = list->ai_addrlen;
    freeaddrinfo(list);
    if (fleet->config->source &&
        kl_fleet_source_parse(fleet->config->source, (const struct sockaddr *)&fleet->to,
                              &fleet->source, err)) {
        return blame("--source", err);
    }
    return KL_OK;
}

static enum kl_rc make_ring(struct kl_fleet_ring *ring, uint64_t capacity, struct kl_err *err)
{
    ring->capacity = capacity;
    ring->index = calloc(capacity, sizeof(*ring->index));
    return ring->index ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for terminals");
}

static enum kl_rc make_terminals(struct kl_fleet *fleet, struct kl_err *err)
{
    uint64_t count = fleet->config->terminals;
    enum kl_rc rc = make_ring(&fleet->loads, count, err);

    if (!rc) {
        rc = make_ring(&fleet->sign_ins, count, err);
    }
    fleet->terminals = calloc(count, sizeof(*fleet->terminals));
    if (fleet->config->concurrency) {
        fleet->workers = calloc(fleet->config->concurrency, sizeof(*fleet->workers));
    }
    fleet->stats = kl_fleet_stats_new(err);
    if (rc || !fleet->terminals || !fleet->stats ||
        (fleet->config->concurrency && !fleet->workers)) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for terminals");
    }
    return KL_OK;
}

/* Silent connections need no roots. */
static enum kl_rc make_memo(struct kl_fleet *fleet, struct kl_err *err)
{
    return sk_X509_num(fleet->config->roots) > 0
               ? kl_auth_memo_new(fleet->config->roots, &fleet->memo, err)
               : KL_OK;
}

static enum kl_rc make_loop(struct kl_fleet *fleet, struct kl_err *err)
{
    struct event_config *config = event_config_new();
    const struct timeval deadline = {(time_t)fleet->config->timeout_s, 0};

    if (config) {
        /* A busy loop's cached time would let deadlines and arrivals come too early. To come at the
         * microsecond costs a call of the system for each turn of the loop, which a closed loop,
         * that has no arrivals, can do without. */
        event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME |
                                          (fleet->config->mode == KL_FLEET_CLOSED
                                               ? 0
                                               : EVENT_BASE_FLAG_PRECISE_TIMER));
        /* Signals and arrivals do not wait for all that thousands of connections bring. */
        event_config_set_max_dispatch_interval(config, NULL, CALLBACKS_MAX, 1);
        fleet->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (!fleet->base) {
        return kl_err_set(err, KL_ERR_SYSTEM, "no event loop");
    }
    event_base_priority_init(fleet->base, 2); /* 0: the fleet's own, 1: connections' */
    fleet->deadline = event_base_init_common_timeout(fleet->base, &deadline);
    if (!fleet->deadline) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for events");
    }
    return kl_fleet_idle_new(fleet, &fleet->idlers, err);
}

/* Before random numbers are used. */
static enum kl_rc reserve_secrets(const struct kl_fleet *fleet, struct kl_err *err)
{
    const struct kl_fleet_config *config = fleet->config;
    size_t terminals =
        config->count && config->count < config->terminals ? config->count : config->terminals;

    return kl_secret_reserve(SECRETS_MORE +
                                 terminals * (KL_FLEET_SECRETS_TMK +
                                              (config->sign_in ? KL_FLEET_SECRETS_PAIR : 0)) +
                                 fleet->result.connections * KL_FLEET_SECRETS_CONNECTION,
                             err);
}

enum kl_rc kl_fleet_new(const struct kl_fleet_config *config, struct kl_fleet **out,
                        struct kl_err *err)
{
    struct kl_fleet *fleet = calloc(1, sizeof(*fleet));
    enum kl_rc rc;

    if (!fleet) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a fleet");
    }
    fleet->config = config;
    fleet->random.state = config->seed;
    LIST_INIT(&fleet->visits);
    TAILQ_INIT(&fleet->queued);
    rc = find_connections(fleet, err);
    if (!rc) {
        rc = reserve_secrets(fleet, err);
    }
    if (!rc) {
        rc = resolve(fleet, err);
    }
    if (!rc) {
        rc = make_terminals(fleet, err);
    }
    if (!rc) {
        rc = make_memo(fleet, err);
    }
    if (!rc) {
        rc = make_loop(fleet, err);
    }
    if (!rc) {
        rc = kl_fleet_prepare(fleet, err);
    }
    if (rc) {
        kl_fleet_free(fleet);
    } else {
        *out = fleet;
    }
    return rc;
}

static void free_event(struct event *event)
{
    if (event) {
        event_free(event);
    }
}

void kl_fleet_free(struct kl_fleet *fleet)
{
    if (!fleet) {
        return;
    }
    while (!LIST_EMPTY(&fleet->visits)) {
        kl_fleet_visit_free(LIST_FIRST(&fleet->visits));
    }
    kl_fleet_idle_free(fleet->idlers);
    for (uint64_t i = 0; fleet->terminals && i < fleet->config->terminals; i++) {
        kl_fleet_terminal_wipe(&fleet->terminals[i]);
    }
    free_event(fleet->pump);
    free_event(fleet->arrival);
    free_event(fleet->tick);
    free_event(fleet->finish);
    free_event(fleet->interrupt);
    free_event(fleet->terminate);
    if (fleet->base) {
        event_base_free(fleet->base);
    }
    kl_fleet_source_wipe(&fleet->source);
    kl_auth_memo_free(fleet->memo);
    free(fleet->loads.index);
    free(fleet->sign_ins.index);
    free(fleet->terminals);
    free(fleet->workers);
    free(fleet->stats);
    free(fleet);
}

const struct kl_fleet_stats *kl_fleet_stats_of(const struct kl_fleet *fleet)
{
    return fleet->stats;
}

const struct kl_fleet_result *kl_fleet_result_of(const struct kl_fleet *fleet)
{
    return &fleet->result;
}

const struct kl_fleet_terminal *kl_fleet_terminal_at(const struct kl_fleet *fleet, uint64_t index)
{
    return &fleet->terminals[index];
}
