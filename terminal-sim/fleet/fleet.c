/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fleet's course: who begins what and when, and the phases of a run. Everything that may begin
 * does so from one place, on_pump, which whatever frees a terminal or a connection wakes.
 */
#include "terminal-sim/fleet/fleet.h"

#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "proto/clock.h"
#include "terminal-sim/fleet/fleet_impl.h"

#define BURST 64        /* visits begun at a time, before those under way get their turn */
#define SETTLING_MAX 64 /* Confirms at once at the end */

/* ---- Who is free ---- */

static void ring_put(struct kl_fleet_ring *ring, uint32_t index)
{
    ring->index[(ring->at + ring->count++) % ring->capacity] = index;
}

static int ring_take(struct kl_fleet_ring *ring, uint32_t *index)
{
    if (ring->count == 0) {
        return 0;
    }
    *index = ring->index[ring->at];
    ring->at = (ring->at + 1) % ring->capacity;
    ring->count--;
    return 1;
}

static int has_load_left(const struct kl_fleet *fleet, const struct kl_fleet_terminal *terminal)
{
    return fleet->config->rounds == 0 || terminal->rounds < fleet->config->rounds;
}

/* Puts a terminal that is not busy where it may be found. */
static void offer(struct kl_fleet *fleet, uint32_t index)
{
    struct kl_fleet_terminal *terminal = &fleet->terminals[index];

    if (!terminal->queued_load && has_load_left(fleet, terminal)) {
        terminal->queued_load = 1;
        ring_put(&fleet->loads, index);
    }
    if (!terminal->queued_sign_in && fleet->config->sign_in && terminal->active.version) {
        terminal->queued_sign_in = 1;
        ring_put(&fleet->sign_ins, index);
    }
}

/* One that is busy with something else is offered again when that is over. */
static int find(struct kl_fleet *fleet, enum kl_fleet_action action, uint32_t *index)
{
    struct kl_fleet_ring *ring = action == KL_FLEET_LOAD ? &fleet->loads : &fleet->sign_ins;

    while (ring_take(ring, index)) {
        struct kl_fleet_terminal *terminal = &fleet->terminals[*index];

        if (action == KL_FLEET_LOAD) {
            terminal->queued_load = 0;
        } else {
            terminal->queued_sign_in = 0;
        }
        if (!terminal->busy) {
            return 1;
        }
    }
    return 0;
}

/* ---- What begins ---- */

enum begun { BEGUN, LATER, NEVER };

/* A load, or by chance a sign-in. Once no load is left there are only sign-ins, and only if
 * something else ends the run. */
static enum begun begin_one(struct kl_fleet *fleet, int64_t intended,
                            struct kl_fleet_worker *worker)
{
    const struct kl_fleet_config *config = fleet->config;
    enum kl_fleet_action action = KL_FLEET_LOAD;
    struct kl_err err = KL_ERR_INIT;
    uint32_t index;

    if (config->count && fleet->begun == config->count) {
        return NEVER;
    }
    if (config->sign_in && kl_fleet_random_share(&fleet->random) * 100 <= config->sign_in &&
        find(fleet, KL_FLEET_SIGN_IN, &index)) {
        action = KL_FLEET_SIGN_IN;
    } else if (!find(fleet, KL_FLEET_LOAD, &index)) {
        if (!(config->count || config->duration_us) || !find(fleet, KL_FLEET_SIGN_IN, &index)) {
            return fleet->under_way ? LATER : NEVER;
        }
        action = KL_FLEET_SIGN_IN;
    }
    fleet->begun++;
    if (kl_fleet_visit_begin(fleet, index, action, intended, worker, &err)) {
        kl_fleet_stats_attempt(fleet->stats, KL_FLEET_OWN, err.text);
        fleet->stats->started[action]++;
        kl_fleet_stats_end(fleet->stats, action, KL_FLEET_OWN, 0);
        fleet->terminals[index].rounds += action == KL_FLEET_LOAD;
        offer(fleet, index);
        if (worker) {
            const struct timeval second = {.tv_sec = 1};
            evtimer_add(&worker->pause, &second);
        }
        return BEGUN; /* it has had its turn */
    }
    return BEGUN;
}

static struct timeval from_us(double us)
{
    int64_t whole = us > 0 ? (int64_t)us : 0;

    return (struct timeval){whole / 1000000, whole % 1000000};
}

static void retire(struct kl_fleet_worker *worker)
{
    event_del(&worker->pause);
    worker->fleet->parked -= (uint64_t)worker->parked;
    worker->parked = 0;
    worker->fleet->working--;
    kl_fleet_wake(worker->fleet);
}

static void work(struct kl_fleet_worker *worker)
{
    enum begun begun = worker->fleet->phase == KL_FLEET_ARRIVALS
                           ? begin_one(worker->fleet, kl_clock_us(), worker)
                           : NEVER;

    worker->fleet->parked -= (uint64_t)worker->parked;
    worker->parked = begun == LATER;
    worker->fleet->parked += (uint64_t)worker->parked;
    if (begun == NEVER) {
        retire(worker);
    }
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    work(arg);
}

static void start_workers(struct kl_fleet *fleet)
{
    const struct kl_fleet_config *config = fleet->config;

    fleet->working = config->concurrency;
    for (uint64_t i = 0; i < config->concurrency; i++) {
        struct kl_fleet_worker *worker = &fleet->workers[i];
        /* Not all at once, where they pause later. */
        const struct timeval pause =
            from_us((double)config->think_us * kl_fleet_random_share(&fleet->random));

        worker->fleet = fleet;
        evtimer_assign(&worker->pause, fleet->base, on_pause_over, worker);
        evtimer_add(&worker->pause, &pause);
    }
}

/* Those that found no free terminal. */
static void wake_workers(struct kl_fleet *fleet)
{
    for (uint64_t i = 0; fleet->parked > 0 && i < fleet->config->concurrency; i++) {
        struct kl_fleet_worker *worker = &fleet->workers[i];

        if (worker->parked) {
            work(worker);
            if (worker->parked) {
                return;
            }
        }
    }
}

static void next_arrival(struct kl_fleet *fleet)
{
    int64_t at = 0;

    fleet->has_due = kl_fleet_schedule_next(&fleet->schedule, &at);
    fleet->due = fleet->began + at;
}

/* What is due in an open loop. Where no connection is free it waits, and its clock runs on. */
static void arrivals(struct kl_fleet *fleet)
{
    int64_t now = kl_clock_us();

    for (int i = 0; fleet->has_due && fleet->due <= now; i++) {
        enum begun begun;

        if (fleet->open >= fleet->result.connections || !TAILQ_EMPTY(&fleet->queued)) {
            return;
        }
        if (i == BURST) {
            kl_fleet_wake(fleet);
            return;
        }
        begun = begin_one(fleet, fleet->due, NULL);
        if (begun == LATER) {
            return;
        }
        if (begun == NEVER) {
            fleet->has_due = 0;
            return;
        }
        next_arrival(fleet);
    }
    if (fleet->has_due) {
        const struct timeval until = from_us((double)(fleet->due - now));

        event_add(fleet->arrival, &until);
    }
}

/* ---- Phases ---- */

static void begin_arrivals(struct kl_fleet *fleet)
{
    const struct kl_fleet_config *config = fleet->config;
    uint64_t count = config->count ? config->count : UINT64_MAX;
    const struct timeval until = from_us((double)config->duration_us), second = {1, 0};

    fleet->phase = KL_FLEET_ARRIVALS;
    fleet->began = fleet->ended = kl_clock_us();
    event_add(fleet->tick, &second); /* points of the series begin here */
    if (config->duration_us) {
        event_add(fleet->finish, &until);
    }
    if (config->mode == KL_FLEET_CLOSED) {
        start_workers(fleet);
        return;
    }
    if (config->mode == KL_FLEET_OPEN) {
        kl_fleet_schedule_rate(&fleet->schedule, config->rate, config->arrivals, count,
                               config->seed);
    } else if (config->mode == KL_FLEET_STORM) {
        kl_fleet_schedule_storm(&fleet->schedule, (double)config->spread_us,
                                count < config->terminals ? count : config->terminals,
                                config->seed);
    }
    if (config->mode != KL_FLEET_SILENT) {
        next_arrival(fleet);
    }
}

/* No load or sign-in begins any more. Those that were due are counted: leaving them out would make
 * a loader that cannot keep up look better than it is. */
static void end_arrivals(struct kl_fleet *fleet)
{
    struct kl_fleet_visit *visit, *next;
    int64_t now = kl_clock_us();

    if (fleet->phase == KL_FLEET_ARRIVALS) {
        while (fleet->has_due && fleet->due <= now && fleet->loads.count > 0) {
            uint32_t index;

            if (!find(fleet, KL_FLEET_LOAD, &index)) {
                break;
            }
            fleet->stats->started[KL_FLEET_LOAD]++;
            kl_fleet_stats_end(fleet->stats, KL_FLEET_LOAD, KL_FLEET_UNSTARTED, 0);
            next_arrival(fleet);
        }
    }
    fleet->has_due = 0;
    fleet->phase = KL_FLEET_DRAIN;
    fleet->ended = now;
    for (uint64_t i = 0; fleet->working > 0 && i < fleet->config->concurrency; i++) {
        if (fleet->workers[i].parked || evtimer_pending(&fleet->workers[i].pause, NULL)) {
            retire(&fleet->workers[i]);
        }
    }
    for (visit = LIST_FIRST(&fleet->visits); visit; visit = next) {
        next = LIST_NEXT(visit, all);
        if (visit->state != KL_VISIT_CONNECTED) {
            kl_fleet_visit_give_up(visit);
        }
    }
    kl_fleet_wake(fleet);
}

/* A Confirm for each candidate whose Done did not come. */
static void settle(struct kl_fleet *fleet)
{
    struct kl_err err = KL_ERR_INIT;

    while (fleet->settle_at < fleet->config->terminals && fleet->under_way < SETTLING_MAX) {
        uint32_t index = (uint32_t)fleet->settle_at++;

        if (fleet->terminals[index].candidate && kl_fleet_visit_settle(fleet, index, &err)) {
            kl_fleet_stats_attempt(fleet->stats, KL_FLEET_OWN, err.text);
        }
    }
}

static int more_to_come(const struct kl_fleet *fleet)
{
    return fleet->has_due || fleet->working > 0 || fleet->config->mode == KL_FLEET_SILENT;
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
    struct kl_fleet *fleet = arg;

    (void)fd;
    (void)what;
    if (fleet->phase == KL_FLEET_WARM_UP && kl_fleet_idle_ready(fleet->idlers)) {
        begin_arrivals(fleet);
    }
    if (fleet->phase == KL_FLEET_SETTLE) {
        settle(fleet);
    }
    while (!TAILQ_EMPTY(&fleet->queued) && fleet->open < fleet->result.connections) {
        kl_fleet_visit_connect(TAILQ_FIRST(&fleet->queued));
    }
    if (fleet->phase == KL_FLEET_ARRIVALS) {
        wake_workers(fleet);
        arrivals(fleet);
    }
    if (fleet->phase == KL_FLEET_ARRIVALS && !more_to_come(fleet) && fleet->under_way == 0) {
        end_arrivals(fleet);
    } else if (fleet->phase == KL_FLEET_DRAIN && fleet->under_way == 0) {
        fleet->phase = KL_FLEET_SETTLE;
        kl_fleet_wake(fleet);
    } else if (fleet->phase == KL_FLEET_SETTLE && fleet->under_way == 0 &&
               fleet->settle_at == fleet->config->terminals) {
        fleet->phase = KL_FLEET_OVER;
        event_base_loopbreak(fleet->base);
    }
}

void kl_fleet_wake(struct kl_fleet *fleet)
{
    event_active(fleet->pump, EV_TIMEOUT, 0);
}

void kl_fleet_visit_over(struct kl_fleet_visit *visit, enum kl_fleet_kind kind)
{
    struct kl_fleet *fleet = visit->fleet;
    struct kl_fleet_worker *worker = visit->worker;
    uint32_t index = visit->index;
    int settling = visit->settling;

    if (!settling) {
        fleet->ended = kl_clock_us();
        kl_fleet_stats_end(fleet->stats, visit->action, kind, fleet->ended - visit->intended);
        fleet->terminals[index].rounds += visit->action == KL_FLEET_LOAD;
    }
    kl_fleet_visit_free(visit);
    if (!settling) {
        offer(fleet, index);
    }
    if (worker && fleet->phase != KL_FLEET_ARRIVALS) {
        retire(worker);
    } else if (worker) {
        const struct timeval pause =
            from_us(kl_fleet_random_spacing(&fleet->random, fleet->config->think,
                                            (double)fleet->config->think_us));

        evtimer_add(&worker->pause, &pause);
    }
    kl_fleet_wake(fleet);
}

enum kl_rc kl_fleet_dial(struct kl_fleet *fleet, uint64_t index, struct kl_fleet_dial *dial,
                         struct kl_fleet_conn **out, struct kl_err *err)
{
    struct sockaddr_in from;

    dial->base = fleet->base;
    dial->to = (const struct sockaddr *)&fleet->to;
    dial->to_len = fleet->to_len;
    dial->deadline = fleet->deadline;
    if (kl_fleet_source_pick(&fleet->source, index, &from)) {
        dial->from = (const struct sockaddr *)&from;
        dial->from_len = sizeof(from);
    }
    return kl_fleet_conn_open(dial, out, err);
}

/* ---- Events ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct kl_fleet *fleet = arg;

    (void)fd;
    (void)what;
    kl_fleet_show(fleet, 0);
    if (fleet->phase == KL_FLEET_ARRIVALS || fleet->phase == KL_FLEET_DRAIN) {
        kl_fleet_stats_tick(fleet->stats, fleet->open);
    }
}

static void on_finish(evutil_socket_t fd, short what, void *arg)
{
    struct kl_fleet *fleet = arg;

    (void)fd;
    (void)what;
    if (fleet->phase == KL_FLEET_ARRIVALS) {
        arrivals(fleet); /* what was due a moment ago */
        end_arrivals(fleet);
    }
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct kl_fleet *fleet = arg;

    (void)fd;
    (void)what;
    fleet->result.interrupted = 1;
    if (++fleet->signals > 1) {
        fleet->phase = KL_FLEET_OVER;
        event_base_loopbreak(fleet->base);
    } else if (fleet->phase <= KL_FLEET_ARRIVALS) {
        end_arrivals(fleet);
    }
}

/* ---- A run ---- */

enum kl_rc kl_fleet_prepare(struct kl_fleet *fleet, struct kl_err *err)
{
    for (uint32_t i = 0; i < fleet->config->terminals; i++) {
        offer(fleet, i);
    }
    fleet->pump = evtimer_new(fleet->base, on_pump, fleet);
    fleet->arrival = evtimer_new(fleet->base, on_pump, fleet);
    fleet->tick = event_new(fleet->base, -1, EV_PERSIST, on_tick, fleet);
    fleet->finish = evtimer_new(fleet->base, on_finish, fleet);
    fleet->interrupt = evsignal_new(fleet->base, SIGINT, on_signal, fleet);
    fleet->terminate = evsignal_new(fleet->base, SIGTERM, on_signal, fleet);
    if (!fleet->pump || !fleet->arrival || !fleet->tick || !fleet->finish || !fleet->interrupt ||
        !fleet->terminate) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for events");
    }
    event_priority_set(fleet->pump, 0);
    event_priority_set(fleet->arrival, 0);
    event_priority_set(fleet->tick, 0);
    event_priority_set(fleet->finish, 0);
    event_priority_set(fleet->interrupt, 0);
    event_priority_set(fleet->terminate, 0);
    return KL_OK;
}

static int64_t cpu_us(uint64_t *peak_rss_kib)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    *peak_rss_kib = (uint64_t)usage.ru_maxrss;
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void sum_up(struct kl_fleet *fleet, int64_t cpu_before)
{
    struct kl_fleet_result *result = &fleet->result;

    result->cpu_us = cpu_us(&result->peak_rss_kib) - cpu_before;
    result->elapsed_us = fleet->ended - fleet->began;
    result->unfinished = 0;
    for (struct kl_fleet_visit *visit = LIST_FIRST(&fleet->visits); visit;
         visit = LIST_NEXT(visit, all)) {
        result->unfinished += !visit->settling;
    }
    for (uint64_t i = 0; i < fleet->config->terminals; i++) {
        result->active += fleet->terminals[i].active.version != 0;
        result->in_doubt += fleet->terminals[i].candidate != NULL;
    }
    kl_fleet_stats_tick(fleet->stats, fleet->open); /* the second that had begun */
}

enum kl_rc kl_fleet_run(struct kl_fleet *fleet, struct kl_err *err)
{
    const struct timeval second = {1, 0};
    uint64_t ignored;
    int64_t before = cpu_us(&ignored);

    fleet->result.started = (int64_t)time(NULL);
    fleet->began = fleet->ended = kl_clock_us();
    fleet->show = isatty(STDERR_FILENO);
    event_add(fleet->tick, &second);
    event_add(fleet->interrupt, NULL);
    event_add(fleet->terminate, NULL);
    kl_fleet_idle_start(fleet->idlers);
    kl_fleet_wake(fleet);
    if (event_base_dispatch(fleet->base) < 0) {
        return kl_err_set(err, KL_ERR_SYSTEM, "the event loop failed");
    }
    sum_up(fleet, before);
    kl_fleet_show(fleet, 1);
    return KL_OK;
}
