/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A visit: what one terminal wants of the loader, with all the connections that it takes. A load
 * whose terminal has a candidate left begins with a Confirm, as a real terminal's does; that may be
 * all. After busy, a timeout or a lost connection it may try again.
 */
#include <stdlib.h>
#include <time.h>

#include "proto/clock.h"
#include "terminal-sim/fleet/fleet_impl.h"

#define PAUSE_S 1 /* before another attempt, where the loader does not say */

/* ---- The machine of this connection ---- */

static enum kl_rc start_load(struct kl_fleet_visit *visit, uint8_t out[KL_MSG_MAX], size_t *len,
                             struct kl_err *err)
{
    const struct kl_fleet_config *config = visit->fleet->config;
    const struct kl_terminal_load_params params = {
        .serial = visit->serial,
        .pinpad_serial = visit->pinpad_serial,
        .roots = config->roots,
        .memo = visit->fleet->memo,
        .pad = visit->terminal->pad,
        .suites = {(uint8_t)kl_fleet_mix_pick(&config->suites, KL_FLEET_SALT_SUITE, visit->index)},
        .suite_count = 1,
        .algs = {kl_fleet_alg(config, visit->index)},
        .alg_count = 1,
        .now = time(NULL),
        .record = kl_fleet_terminal_record,
        .forget = kl_fleet_terminal_forget,
        .arg = visit->terminal,
    };
    enum kl_rc rc = kl_terminal_load_new(&params, &visit->load, err);

    if (!rc && visit->confirming) {
        return kl_terminal_load_confirm(visit->load, visit->terminal->candidate, out, len, err);
    }
    return rc ? rc : kl_terminal_load_hello(visit->load, out, len, err);
}

static enum kl_rc start_sign_in(struct kl_fleet_visit *visit, uint8_t out[KL_MSG_MAX], size_t *len,
                                struct kl_err *err)
{
    const struct kl_signin_params params = {
        .serial = visit->serial,
        .pinpad_serial = visit->pinpad_serial,
        .pad = visit->terminal->pad,
        .tmk = visit->terminal->active,
        .format = KL_FORMAT_KEYS,
    };
    enum kl_rc rc = kl_signin_new(&params, &visit->sign_in, err);

    return rc ? rc : kl_signin_begin(visit->sign_in, out, len, err);
}

static enum kl_rc step(struct kl_fleet_visit *visit, const uint8_t *in, size_t in_len,
                       uint8_t out[KL_MSG_MAX], size_t *len, struct kl_err *err)
{
    return visit->load ? kl_terminal_load_step(visit->load, in, in_len, out, len, err)
                       : kl_signin_step(visit->sign_in, in, in_len, out, len, err);
}

static void free_machine(struct kl_fleet_visit *visit)
{
    kl_terminal_load_free(visit->load);
    kl_signin_free(visit->sign_in);
    visit->load = NULL;
    visit->sign_in = NULL;
}

/* ---- The end of a connection ---- */

static void hang_up(struct kl_fleet_visit *visit)
{
    if (visit->conn) {
        kl_fleet_conn_free(visit->conn);
        visit->conn = NULL;
        visit->fleet->open--;
        kl_fleet_wake(visit->fleet); /* there is room for another */
    }
    free_machine(visit);
}

static int worth_another(const struct kl_fleet_visit *visit, enum kl_fleet_kind kind)
{
    return visit->attempts <= visit->fleet->config->retries &&
           visit->fleet->phase == KL_FLEET_ARRIVALS &&
           (kind == KL_FLEET_BUSY || kind == KL_FLEET_TIMEOUT || kind == KL_FLEET_CONNECT ||
            kind == KL_FLEET_RESET);
}

/* The attempt has failed. Up to a quarter more than the loader asked for, so that those who were
 * sent away together do not come back together. */
static void failed(struct kl_fleet_visit *visit, const struct kl_err *why, uint32_t retry_after)
{
    struct kl_fleet *fleet = visit->fleet;
    struct kl_err ignored = KL_ERR_INIT;
    double seconds =
        (retry_after ? retry_after : PAUSE_S) * (1 + kl_fleet_random_share(&fleet->random) / 4);
    const struct timeval pause = {(time_t)seconds,
                                  (suseconds_t)((int64_t)(seconds * 1e6) % 1000000)};

    visit->last = kl_fleet_kind_of(why->rc);
    if (visit->last == KL_FLEET_BUSY) {
        kl_latency_add(&fleet->stats->busy, kl_clock_us() - visit->began);
    }
    if (visit->sign_in) {
        /* What the pad has of a sign-in that came to nothing. In memory that cannot fail. */
        (void)!kl_fleet_terminal_keys(visit->terminal, NULL, &ignored);
    }
    hang_up(visit);
    kl_fleet_stats_attempt(fleet->stats, visit->last, why->text);
    if (!worth_another(visit, visit->last)) {
        kl_fleet_visit_over(visit, visit->last);
        return;
    }
    fleet->stats->retries++;
    visit->state = KL_VISIT_PAUSING;
    evtimer_add(&visit->pause, &pause);
}

static void want_connection(struct kl_fleet_visit *visit)
{
    visit->state = KL_VISIT_QUEUED;
    TAILQ_INSERT_TAIL(&visit->fleet->queued, visit, queue);
    kl_fleet_wake(visit->fleet);
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    want_connection(arg);
}

/* The machine is at its end, and the loader's word is proven. */
static void succeeded(struct kl_fleet_visit *visit)
{
    struct kl_fleet *fleet = visit->fleet;
    struct kl_err err = KL_ERR_INIT;
    enum kl_verdict verdict = KL_VERDICT_ACTIVE;
    enum kl_rc rc;

    if (visit->sign_in) {
        rc = kl_fleet_terminal_keys(visit->terminal, kl_signin_pair(visit->sign_in), &err);
    } else {
        verdict = kl_terminal_load_verdict(visit->load);
        rc = kl_fleet_terminal_settle(visit->terminal, verdict, &err);
    }
    if (rc) {
        failed(visit, &err, 0);
        return;
    }
    hang_up(visit);
    if (visit->settling) {
        fleet->result.settled_active += verdict == KL_VERDICT_ACTIVE;
        fleet->result.settled_dropped += verdict != KL_VERDICT_ACTIVE;
    } else if (verdict != KL_VERDICT_ACTIVE && visit->confirming) {
        want_connection(visit); /* the candidate is gone: now the load itself */
        return;
    } else if (verdict != KL_VERDICT_ACTIVE) {
        kl_fleet_stats_attempt(fleet->stats, KL_FLEET_VOIDED, "the loader voided the TMK in Done");
        kl_fleet_visit_over(visit, KL_FLEET_VOIDED);
        return;
    } else if (visit->confirming) {
        fleet->stats->confirmed++;
    } else if (visit->action == KL_FLEET_LOAD) {
        kl_latency_add(&fleet->stats->attempt, kl_clock_us() - visit->began);
    }
    kl_fleet_stats_attempt(fleet->stats, KL_FLEET_OK, "");
    kl_fleet_visit_over(visit, KL_FLEET_OK);
}

/* ---- A connection ---- */

/* A step of a load is over, and the next begins. */
static void time_step(struct kl_fleet_visit *visit)
{
    int64_t now = kl_clock_us();

    if (visit->action == KL_FLEET_LOAD && !visit->confirming && visit->step < KL_FLEET_STEP_COUNT) {
        kl_latency_add(&visit->fleet->stats->step[visit->step], now - visit->step_began);
        visit->step++;
    }
    visit->step_began = now;
}

static void say(struct kl_fleet_visit *visit, const uint8_t *der, size_t len)
{
    struct kl_err err = KL_ERR_INIT;

    visit->step_began = kl_clock_us();
    if (kl_fleet_conn_send(visit->conn, der, len, &err)) {
        failed(visit, &err, 0);
    }
}

static void on_opened(void *arg)
{
    struct kl_fleet_visit *visit = arg;
    struct kl_err err = KL_ERR_INIT;
    uint8_t out[KL_MSG_MAX];
    size_t len = 0;
    enum kl_rc rc;

    time_step(visit);
    rc = visit->action == KL_FLEET_LOAD ? start_load(visit, out, &len, &err)
                                        : start_sign_in(visit, out, &len, &err);
    if (rc) {
        failed(visit, &err, 0);
    } else {
        say(visit, out, len);
    }
}

/* When the loader would have us come again, in seconds; 0: it does not say. */
static uint32_t retry_after(const uint8_t *der, size_t len)
{
    struct kl_err ignored = KL_ERR_INIT;
    struct kl_msg msg;

    if (kl_msg_decode(der, len, &msg, &ignored) || msg.type != KL_MSG_ERROR) {
        return 0;
    }
    return msg.u.error.retry_after;
}

static void on_message(void *arg, const uint8_t *der, size_t der_len)
{
    struct kl_fleet_visit *visit = arg;
    struct kl_err err = KL_ERR_INIT, ignored = KL_ERR_INIT;
    uint8_t out[KL_MSG_MAX];
    size_t len = 0;
    enum kl_rc rc;

    time_step(visit);
    rc = step(visit, der, der_len, out, &len, &err);
    if (rc) {
        /* Failed is a courtesy; what counts is why. */
        (void)!(len > 0 && kl_fleet_conn_send(visit->conn, out, len, &ignored));
        failed(visit, &err, retry_after(der, der_len));
    } else if (len > 0) {
        say(visit, out, len);
    } else {
        succeeded(visit);
    }
}

static void on_ended(void *arg, const struct kl_err *err)
{
    failed(arg, err, 0);
}

void kl_fleet_visit_connect(struct kl_fleet_visit *visit)
{
    struct kl_fleet *fleet = visit->fleet;
    struct kl_fleet_dial dial = {.opened = on_opened,
                                 .message = on_message,
                                 .ended = on_ended,
                                 .arg = visit};
    struct kl_err err = KL_ERR_INIT;

    TAILQ_REMOVE(&fleet->queued, visit, queue);
    visit->state = KL_VISIT_CONNECTED;
    visit->attempts++;
    visit->step = KL_FLEET_STEP_CONNECT;
    visit->confirming = visit->action == KL_FLEET_LOAD && visit->terminal->candidate != NULL;
    visit->began = visit->step_began = kl_clock_us();
    if (visit->attempts == 1 && !visit->settling) {
        kl_latency_add(&fleet->stats->lag, visit->began - visit->intended);
    }
    if (kl_fleet_dial(fleet, visit->index, &dial, &visit->conn, &err)) {
        failed(visit, &err, 0);
        return;
    }
    fleet->open++;
    if (fleet->open > fleet->result.open_max) {
        fleet->result.open_max = fleet->open;
    }
}

/* ---- Beginning and ending ---- */

static enum kl_rc begin(struct kl_fleet *fleet, uint32_t index, enum kl_fleet_action action,
                        struct kl_fleet_visit **out, struct kl_err *err)
{
    struct kl_fleet_visit *visit = calloc(1, sizeof(*visit));
    enum kl_rc rc;

    if (!visit) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a load");
    }
    visit->fleet = fleet;
    visit->index = index;
    visit->terminal = &fleet->terminals[index];
    visit->action = action;
    visit->last = KL_FLEET_UNSTARTED;
    kl_fleet_serial(fleet->config->prefix, fleet->config->first + index, visit->serial,
                    visit->pinpad_serial);
    evtimer_assign(&visit->pause, fleet->base, on_pause_over, visit);
    rc = kl_fleet_terminal_prepare(visit->terminal, err);
    if (rc) {
        free(visit);
        return rc;
    }
    visit->terminal->busy = 1;
    visit->state = KL_VISIT_QUEUED;
    fleet->under_way++;
    LIST_INSERT_HEAD(&fleet->visits, visit, all);
    TAILQ_INSERT_TAIL(&fleet->queued, visit, queue);
    *out = visit;
    return KL_OK;
}

static void connect_or_wait(struct kl_fleet_visit *visit)
{
    if (visit->fleet->open < visit->fleet->result.connections) {
        kl_fleet_visit_connect(visit);
    } else {
        kl_fleet_wake(visit->fleet);
    }
}

enum kl_rc kl_fleet_visit_begin(struct kl_fleet *fleet, uint32_t index, enum kl_fleet_action action,
                                int64_t intended, struct kl_fleet_worker *worker,
                                struct kl_err *err)
{
    struct kl_fleet_visit *visit = NULL;
    enum kl_rc rc = begin(fleet, index, action, &visit, err);

    if (!rc) {
        visit->intended = intended;
        visit->worker = worker;
        fleet->stats->started[action]++;
        connect_or_wait(visit);
    }
    return rc;
}

enum kl_rc kl_fleet_visit_settle(struct kl_fleet *fleet, uint32_t index, struct kl_err *err)
{
    struct kl_fleet_visit *visit = NULL;
    enum kl_rc rc = begin(fleet, index, KL_FLEET_LOAD, &visit, err);

    if (!rc) {
        visit->settling = 1;
        connect_or_wait(visit);
    }
    return rc;
}

void kl_fleet_visit_give_up(struct kl_fleet_visit *visit)
{
    kl_fleet_visit_over(visit, visit->last);
}

void kl_fleet_visit_free(struct kl_fleet_visit *visit)
{
    if (visit->state == KL_VISIT_QUEUED) {
        TAILQ_REMOVE(&visit->fleet->queued, visit, queue);
    }
    event_del(&visit->pause);
    hang_up(visit);
    visit->terminal->busy = 0;
    visit->fleet->under_way--;
    LIST_REMOVE(visit, all);
    free(visit);
}
