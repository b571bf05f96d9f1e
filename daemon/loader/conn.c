/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection's socket: deadlines, framing, sending, refusing, and its end. */
#include <event2/buffer.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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

static int waits_for_peer(enum kl_conn_state state)
{
    return state == KL_CONN_FIRST || state == KL_CONN_RANDOMS || state == KL_CONN_LOADED ||
           state == KL_CONN_KEYS_SENT;
}

static void arm_timer(struct kl_conn *conn)
{
    const struct kl_config *config = conn->config;
    int64_t now = kl_clock_ms();
    int64_t deadline = conn->started_ms + (int64_t)config->handshake_timeout * 1000;
    struct timeval tv;

    if (conn->state == KL_CONN_CLOSING) {
        deadline = now + LINGER_MS;
    } else if (waits_for_peer(conn->state)) {
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
    deadline = deadline > now ? deadline - now : 0;
    tv.tv_sec = (time_t)(deadline / 1000);
    tv.tv_usec = (suseconds_t)(deadline % 1000) * 1000;
    evtimer_add(conn->timer, &tv);
}

void kl_conn_enter(struct kl_conn *conn, enum kl_conn_state state)
{
    int64_t now = kl_clock_us();

    if (conn->since_us > 0) {
        kl_histogram_add(&conn->service->metrics.state_time[conn->state], KL_HISTOGRAM_TIME,
                         now - conn->since_us);
    }
    conn->since_us = now;
    conn->state = state;
    conn->heard_ms = kl_clock_ms();
    arm_timer(conn);
}

/* ---- Sending ---- */

static void half_close(struct kl_conn *conn)
{
    if (evbuffer_get_length(bufferevent_get_output(conn->bev)) == 0) {
        shutdown(bufferevent_getfd(conn->bev), SHUT_WR);
    }
}

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

void kl_conn_end_admitted(const struct kl_conn *conn)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_conn *other;

    (void)kl_err_set(&err, KL_ERR_BUSY, "another load of this terminal came first");
    TAILQ_FOREACH(other, &conn->service->conns, link)
    {
        if (other != conn &&
            (other->state == KL_CONN_ADMITTING || other->state == KL_CONN_RANDOMS) &&
            strcmp(other->serial, conn->serial) == 0) {
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
    half_close(conn);
}

enum kl_rc kl_conn_send_der(struct kl_conn *conn, const uint8_t *der, size_t len,
                            struct kl_err *err)
{
    struct evbuffer *output = bufferevent_get_output(conn->bev);
    uint8_t header[KL_FRAME_HEADER];

    kl_frame_header(len, header);
    if (evbuffer_expand(output, sizeof(header) + len) != 0 ||
        evbuffer_add(output, header, sizeof(header)) != 0 || evbuffer_add(output, der, len) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "output buffer");
    }
    return KL_OK;
}

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

/* ---- Receiving ---- */

static enum kl_rc read_message(struct kl_conn *conn, struct evbuffer *input, int *again,
                               struct kl_err *err)
{
    uint8_t header[KL_FRAME_HEADER];
    size_t len;
    const uint8_t *bytes;
    enum kl_rc rc;

    *again = 0;
    if (!waits_for_peer(conn->state)) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "the peer spoke before its turn");
    }
    if (evbuffer_copyout(input, header, sizeof(header)) < (ev_ssize_t)sizeof(header)) {
        return KL_OK;
    }
    rc = kl_frame_length(header, conn->config->message_size, &len, err);
    conn->service->metrics.malformed += rc != KL_OK;
    if (rc != KL_OK || evbuffer_get_length(input) < sizeof(header) + len) {
        return rc;
    }
    bytes = evbuffer_pullup(input, (ev_ssize_t)(sizeof(header) + len));
    if (bytes == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "input buffer");
    }
    rc = kl_handshake_message(conn, bytes + sizeof(header), len, err);
    evbuffer_drain(input, sizeof(header) + len);
    *again = rc == KL_OK;
    return rc;
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct kl_conn *conn = arg;
    struct evbuffer *input = bufferevent_get_input(bev);
    int again = 1;

    while (again && conn->state != KL_CONN_CLOSING && evbuffer_get_length(input) > 0) {
        struct kl_err err = KL_ERR_INIT;
        if (read_message(conn, input, &again, &err) != KL_OK) {
            kl_conn_refuse(conn, &err);
        }
    }
    if (conn->state == KL_CONN_CLOSING) {
        evbuffer_drain(input, evbuffer_get_length(input));
    }
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct kl_conn *conn = arg;

    (void)bev;
    if (conn->state == KL_CONN_CLOSING) {
        half_close(conn);
    }
}

static void conn_free(struct kl_conn *conn)
{
    detach(conn);
    TAILQ_REMOVE(&conn->service->conns, conn, link);
    conn->closed(conn->arg);
    kl_exchange_free(conn->exchange);
    kl_conn_signin_free(conn->signing);
    event_free(conn->timer);
    bufferevent_free(conn->bev);
    kl_config_unref(conn->config);
    free(conn);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct kl_conn *conn = arg;
    struct kl_err err = KL_ERR_INIT;

    (void)bev;
    if (conn->state != KL_CONN_CLOSING) {
        (void)kl_err_set(&err, KL_ERR_CLOSED, "%s",
                         what & BEV_EVENT_EOF ? "end of stream" : "connection error");
        kl_service_log_peer(conn->service, "peer-closed", conn->address, conn->serial, &err);
        kl_conn_over(conn, KL_OUTCOME_ABANDONED);
    }
    conn_free(conn);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct kl_conn *conn = arg;
    struct kl_err err = KL_ERR_INIT;

    (void)fd;
    (void)what;
    if (conn->state == KL_CONN_CLOSING ||
        (conn->state == KL_CONN_FIRST && conn->service->draining)) {
        conn_free(conn);
        return;
    }
    (void)kl_err_set(&err, KL_ERR_TIMEOUT, "%s",
                     waits_for_peer(conn->state) ? "the peer was too slow"
                                                 : "the load took longer than handshake-timeout");
    conn->timed_out = 1;
    kl_conn_refuse(conn, &err);
}

/* ---- Life ---- */

enum kl_rc kl_conn_new(struct kl_service *service, evutil_socket_t fd, const char *address,
                       kl_conn_closed_fn closed, void *arg, struct kl_err *err)
{
    struct kl_conn *conn = calloc(1, sizeof(*conn));
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (conn == NULL) {
        goto fail;
    }
    conn->timer = evtimer_new(service->base, on_timer, conn);
    if (conn->timer == NULL) {
        goto fail;
    }
    conn->bev = bufferevent_socket_new(service->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (conn->bev == NULL) {
        goto fail;
    }
    conn->service = service;
    conn->config = kl_config_ref(service->config);
    conn->closed = closed;
    conn->arg = arg;
    snprintf(conn->address, sizeof(conn->address), "%s", address);
    conn->started_ms = kl_clock_ms();
    /* The kernel holds what we have no use for yet: one message, no more, in our memory. */
    bufferevent_setwatermark(conn->bev, EV_READ, 0, KL_FRAME_HEADER + conn->config->message_size);
    bufferevent_setcb(conn->bev, on_read, on_written, on_event, conn);
    bufferevent_enable(conn->bev, EV_READ | EV_WRITE);
    TAILQ_INSERT_TAIL(&service->conns, conn, link);
    kl_conn_enter(conn, KL_CONN_FIRST);
    return KL_OK;
fail:
    if (conn != NULL && conn->timer != NULL) {
        event_free(conn->timer);
    }
    free(conn);
    evutil_closesocket(fd);
    return kl_err_set(err, KL_ERR_MEMORY, "connection");
}

void kl_conn_hurry(struct kl_service *service)
{
    struct kl_conn *conn;

    TAILQ_FOREACH(conn, &service->conns, link)
    {
        if (conn->state == KL_CONN_FIRST) {
            arm_timer(conn);
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
