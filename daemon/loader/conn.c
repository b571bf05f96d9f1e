/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection: its deadlines, who else is there of its terminal, refusing, and its end. */
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/log.h"
#include "daemon/loader/conn_impl.h"
#include "proto/clock.h"
#include "proto/frame.h"

#define LINGER_MS 2000 /* for the peer to read our last message and close */

int64_t kl_conn_age_ms(const struct kl_conn *conn)
{
    return kl_clock_ms() - conn->started_ms;
}

/* ---- Deadlines ---- */

int kl_conn_waits_for_peer(enum kl_conn_state state)
{
    return state == KL_CONN_FIRST || state == KL_CONN_RANDOMS || state == KL_CONN_LOADED ||
           state == KL_CONN_KEYS_SENT;
}

static int64_t find_deadline(const struct kl_conn *conn, int64_t now)
{
    const struct kl_config *config = conn->config;
    int64_t deadline = conn->started_ms + (int64_t)config->handshake_timeout * 1000;

    if (conn->state == KL_CONN_CLOSING) {
        return now + LINGER_MS;
    }
    if (kl_conn_waits_for_peer(conn->state)) {
        int64_t idle = conn->heard_ms + (int64_t)config->idle_timeout * 1000;
        deadline = idle < deadline ? idle : deadline;
        if (conn->state == KL_CONN_FIRST && conn->service->draining) {
            deadline = now + KL_CONN_HURRY_MS < deadline ? now + KL_CONN_HURRY_MS : deadline;
        }
    } else if (conn->state == KL_CONN_HSM) {
        /* Nobody times Randoms so that what the HSM does for it comes too late to be counted. */
        int64_t job = now + (int64_t)config->job_timeout * 1000;
        deadline = job > deadline ? job : deadline;
    }
    return deadline;
}

static void arm_timer(struct kl_conn *conn, int64_t now)
{
    int64_t wait = conn->deadline_ms > now ? conn->deadline_ms - now : 0;
    const struct timeval tv = {(time_t)(wait / 1000), (suseconds_t)(wait % 1000) * 1000};

    conn->armed_ms = conn->deadline_ms;
    evtimer_add(&conn->timer, &tv);
}

/* A load has many deadlines, nearly all of them later than the one before: a timer that comes too
 * early is set anew then, not each time. */
static void set_deadline(struct kl_conn *conn, int64_t now)
{
    conn->deadline_ms = find_deadline(conn, now);
    if (conn->armed_ms == 0 || conn->deadline_ms < conn->armed_ms) {
        arm_timer(conn, now);
    }
}

/* A load that is admitted or about to be, and its job not yet submitted. */
static size_t is_coming(enum kl_conn_state state)
{
    return state == KL_CONN_ADMITTING || state == KL_CONN_RANDOMS;
}

void kl_conn_enter(struct kl_conn *conn, enum kl_conn_state state)
{
    int64_t now = kl_clock_us();

    if (conn->since_us > 0) {
        kl_histogram_add(&conn->service->metrics.state_time[conn->state], KL_HISTOGRAM_TIME,
                         now - conn->since_us);
    }
    conn->since_us = now;
    conn->service->coming += is_coming(state) - is_coming(conn->state);
    conn->state = state;
    conn->heard_ms = now / 1000;
    set_deadline(conn, conn->heard_ms);
}

/* ---- Of one serial ---- */

static int compare_serials(const void *a, const void *b)
{
    return strcmp(((const struct kl_conn *)a)->serial, ((const struct kl_conn *)b)->serial);
}

static void **working_tree(const struct kl_conn *conn)
{
    return conn->signing != NULL ? &conn->service->signing_in : &conn->service->loading;
}

int kl_conn_claim_serial(struct kl_conn *conn)
{
    struct kl_conn *const *holder = tsearch(conn, working_tree(conn), compare_serials);

    conn->holds_serial = holder != NULL && *holder == conn;
    return conn->holds_serial;
}

void kl_conn_release_serial(struct kl_conn *conn)
{
    if (conn->holds_serial) {
        tdelete(conn, working_tree(conn), compare_serials);
        conn->holds_serial = 0;
    }
}

static struct kl_conn_named *bucket_of(struct kl_service *service, const char *serial)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (; *serial; serial++) {
        hash = (hash ^ (uint8_t)*serial) * 16777619U;
    }
    return &service->named[hash % KL_SERVICE_BUCKETS];
}

void kl_conn_name(struct kl_conn *conn, const char *serial)
{
    snprintf(conn->serial, sizeof(conn->serial), "%s", serial);
    LIST_INSERT_HEAD(bucket_of(conn->service, serial), conn, same_bucket);
}

struct kl_conn *kl_conn_other(const struct kl_conn *conn, const struct kl_conn *after)
{
    struct kl_conn *other =
        after ? LIST_NEXT(after, same_bucket) : LIST_FIRST(bucket_of(conn->service, conn->serial));

    while (other != NULL && (other == conn || strcmp(other->serial, conn->serial) != 0)) {
        other = LIST_NEXT(other, same_bucket);
    }
    return other;
}

void kl_conn_end_admitted(const struct kl_conn *conn)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_conn *other = NULL;

    (void)kl_err_set(&err, KL_ERR_BUSY, "another load of this terminal came first");
    while ((other = kl_conn_other(conn, other)) != NULL) {
        if (is_coming(other->state)) {
            kl_conn_refuse(other, &err);
        }
    }
}

/* What the HSM has begun of a load costs an attempt, also if the peer does not wait for it: an
 * arming bounds what anybody can have it decrypt. Unless it was we who were too slow. */
static void cancel_job(struct kl_conn *conn)
{
    struct kl_err err = KL_ERR_INIT;

    if (kl_pool_cancel(conn->ticket) && !conn->timed_out && conn->signing == NULL) {
        (void)kl_err_set(&err, KL_ERR_PEER, "the connection ended while the HSM worked for it");
        kl_step_report(conn->service, KL_STEP_SPOILT, KL_ALARM_LOAD, conn->serial, &err);
        kl_conn_end_admitted(conn);
    }
    conn->ticket = NULL;
}

/* The load is over: what is under way for this connection comes back to nobody, and the serial is
 * free for another. */
static void detach(struct kl_conn *conn)
{
    if (conn->step != NULL) {
        conn->step->owner = NULL;
        conn->step = NULL;
    }
    if (conn->ticket != NULL) {
        cancel_job(conn);
    }
    kl_conn_release_serial(conn);
}

static enum kl_session_kind kind_of(const struct kl_conn *conn)
{
    if (conn->exchange != NULL) {
        return KL_SESSION_LOAD;
    }
    if (conn->signing != NULL) {
        return KL_SESSION_SIGN_IN;
    }
    return conn->state == KL_CONN_CONFIRMING ? KL_SESSION_CONFIRM : KL_SESSION_NONE;
}

void kl_conn_over(struct kl_conn *conn, enum kl_outcome outcome)
{
    const struct kl_exchange *x = conn->exchange;

    kl_metrics_session(&conn->service->metrics, kind_of(conn), outcome,
                       x != NULL && x->chain != NULL ? x->chain->suite : 0,
                       kl_conn_age_ms(conn) * 1000);
}

/* Our last message is queued (or none): send it, then wait briefly for the peer to close, since
 * closing with unread input would reset the connection and could take the message with it. */
void kl_conn_finish(struct kl_conn *conn)
{
    detach(conn);
    kl_conn_enter(conn, KL_CONN_CLOSING);
    kl_conn_half_close(conn);
}

/* ---- Answers ---- */

enum kl_rc kl_conn_send(struct kl_conn *conn, const struct kl_msg *msg, struct kl_err *err)
{
    uint8_t der[KL_MSG_MAX];
    size_t len;
    enum kl_rc rc = kl_msg_encode(msg, der, &len, err);

    return rc == KL_OK ? kl_conn_send_der(conn, der, len, err) : rc;
}

static struct kl_msg error_msg(const struct kl_config *config, enum kl_rc reason)
{
    enum kl_wire wire = kl_rc_wire(reason);
    struct kl_msg msg = {.type = KL_MSG_ERROR};

    msg.u.error.code = wire;
    snprintf(msg.u.error.text, sizeof(msg.u.error.text), "%s", kl_wire_name(wire));
    if (wire == KL_WIRE_BUSY || wire == KL_WIRE_INTERNAL) {
        msg.u.error.retry_after = (uint32_t)config->retry_after;
    }
    return msg;
}

enum kl_rc kl_conn_error_frame(const struct kl_config *config, enum kl_rc reason, uint8_t *out,
                               size_t *len, struct kl_err *err)
{
    struct kl_msg msg = error_msg(config, reason);

    return kl_frame_encode(&msg, out, len, err);
}

/* The one place where a load that went wrong is logged and answered. */
void kl_conn_refuse(struct kl_conn *conn, const struct kl_err *err)
{
    struct kl_msg msg = error_msg(conn->config, err->rc);
    struct kl_err send_err = KL_ERR_INIT, known = KL_ERR_INIT;

    kl_metrics_refused(&conn->service->metrics, err->rc, conn->serial, conn->address);
    kl_conn_over(conn, kl_outcome_of(err->rc));
    if (kl_committer_ready(conn->service->committer, &known) == err->rc && known.rc != KL_OK) {
        /* The store's trouble, which the committer has told of once. */
        kl_log(KL_LOG_DEBUG, "refused", KL_STR("serial", conn->serial), KL_LOG_ERR(err));
    } else {
        kl_service_log_peer(conn->service, "refused", conn->address, conn->serial, err);
    }
    if (kl_conn_send(conn, &msg, &send_err) != KL_OK) {
        kl_log(KL_LOG_WARN, "send-failed", KL_LOG_ERR(&send_err));
    }
    kl_conn_finish(conn);
}

/* ---- The store's part ---- */

enum kl_rc kl_conn_submit(struct kl_conn *conn, struct kl_step *step, enum kl_conn_state state,
                          struct kl_err *err)
{
    enum kl_rc rc = kl_step_submit(step, err);

    if (rc == KL_OK) {
        conn->step = step;
        kl_conn_enter(conn, state);
    }
    return rc;
}

int kl_conn_step_refused(struct kl_conn *conn, const struct kl_step *step)
{
    const struct kl_err *err = step->unit.rc != KL_OK ? &step->unit.err : &step->refusal_err;

    conn->step = NULL;
    if (err->rc == KL_OK) {
        return 0;
    }
    kl_conn_refuse(conn, err);
    return 1;
}

/* ---- Its end ---- */

static void conn_free(struct kl_conn *conn)
{
    detach(conn);
    conn->service->coming -= is_coming(conn->state);
    TAILQ_REMOVE(&conn->service->conns, conn, link);
    conn->closed(conn->arg);
    kl_exchange_free(conn->exchange);
    kl_conn_signin_free(conn->signing);
    if (conn->serial[0] != '\0') {
        LIST_REMOVE(conn, same_bucket);
    }
    event_del(&conn->timer);
    kl_conn_close_io(conn);
    kl_config_unref(conn->config);
    free(conn);
}

void kl_conn_lost(struct kl_conn *conn, const char *why)
{
    struct kl_err err = KL_ERR_INIT;

    if (conn->state != KL_CONN_CLOSING) {
        (void)kl_err_set(&err, KL_ERR_CLOSED, "%s", why);
        kl_service_log_peer(conn->service, "peer-closed", conn->address, conn->serial, &err);
        kl_conn_over(conn, KL_OUTCOME_ABANDONED);
    }
    conn_free(conn);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct kl_conn *conn = arg;
    struct kl_err err = KL_ERR_INIT;
    int64_t now = kl_clock_ms();

    (void)fd;
    (void)what;
    conn->armed_ms = 0;
    if (conn->deadline_ms > now) {
        arm_timer(conn, now);
        return;
    }
    if (conn->state == KL_CONN_CLOSING ||
        (conn->state == KL_CONN_FIRST && conn->service->draining)) {
        conn_free(conn);
        return;
    }
    (void)kl_err_set(&err, KL_ERR_TIMEOUT, "%s",
                     kl_conn_waits_for_peer(conn->state)
                         ? "the peer was too slow"
                         : "the load took longer than handshake-timeout");
    conn->timed_out = 1;
    kl_conn_refuse(conn, &err);
}

/* ---- Life ---- */

enum kl_rc kl_conn_new(struct kl_service *service, evutil_socket_t fd, const char *address,
                       kl_conn_closed_fn closed, void *arg, struct kl_err *err)
{
    struct kl_conn *conn = calloc(1, sizeof(*conn));

    if (conn == NULL) {
        evutil_closesocket(fd);
        return kl_err_set(err, KL_ERR_MEMORY, "connection");
    }
    conn->service = service;
    conn->config = kl_config_ref(service->config);
    conn->closed = closed;
    conn->arg = arg;
    conn->fd = fd;
    snprintf(conn->address, sizeof(conn->address), "%s", address);
    conn->started_ms = kl_clock_ms();
    evtimer_assign(&conn->timer, service->base, on_timer, conn);
    kl_conn_open_io(conn);
    TAILQ_INSERT_TAIL(&service->conns, conn, link);
    kl_conn_enter(conn, KL_CONN_FIRST);
    return KL_OK;
}

void kl_conn_hurry(struct kl_service *service)
{
    struct kl_conn *conn;

    TAILQ_FOREACH(conn, &service->conns, link)
    {
        if (conn->state == KL_CONN_FIRST) {
            set_deadline(conn, kl_clock_ms());
        }
    }
}

unsigned kl_conn_open(const struct kl_service *service)
{
    const struct kl_conn *conn;
    unsigned count = 0;

    TAILQ_FOREACH(conn, &service->conns, link)
    {
        count++;
    }
    return count;
}

void kl_conn_close_all(struct kl_service *service)
{
    struct kl_conn *conn;

    while ((conn = TAILQ_FIRST(&service->conns)) != NULL) {
        conn->timed_out = 1; /* it is we who end it */
        conn_free(conn);
    }
}

/* ---- For people ---- */

const char *kl_conn_state_name(size_t state)
{
    static const char *const names[] = {
        [KL_CONN_FIRST] = "first",
        [KL_CONN_ADMITTING] = "admitting",
        [KL_CONN_RANDOMS] = "randoms",
        [KL_CONN_HSM] = "hsm",
        [KL_CONN_PENDING] = "pending",
        [KL_CONN_LOADED] = "loaded",
        [KL_CONN_CONFIRMING] = "confirming",
        [KL_CONN_KEYS_ADMITTING] = "keys-admitting",
        [KL_CONN_KEYS_HSM] = "keys-hsm",
        [KL_CONN_KEYS_SENT] = "keys-sent",
        [KL_CONN_KEYS_TAKING] = "keys-taking",
        [KL_CONN_CLOSING] = "closing",
    };

    return state < sizeof(names) / sizeof(names[0]) ? names[state] : NULL;
}

void kl_conn_count(const struct kl_service *service, uint64_t out[KL_METRICS_STATES])
{
    const struct kl_conn *conn;

    memset(out, 0, KL_METRICS_STATES * sizeof(*out));
    TAILQ_FOREACH(conn, &service->conns, link)
    {
        out[conn->state]++;
    }
}

void kl_conn_describe(const struct kl_conn *conn, struct kl_conn_info *out)
{
    *out = (struct kl_conn_info){.address = conn->address,
                                 .serial = conn->serial,
                                 .state = kl_conn_state_name(conn->state),
                                 .age_ms = kl_conn_age_ms(conn)};
}

const struct kl_conn *kl_conn_next(const struct kl_service *service, const struct kl_conn *conn)
{
    return conn ? TAILQ_NEXT(conn, link) : TAILQ_FIRST(&service->conns);
}
