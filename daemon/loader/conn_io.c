/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection's socket. Very many terminals are connected and say nothing, so a connection has
 * memory for bytes only while a message is incomplete on its way in or out; and each message goes
 * out by one call of the system, without waiting for an event, if the system takes it whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon/loader/conn_impl.h"
#include "proto/frame.h"

/* What has come in and is being looked at: the loop thread's, one connection's at a time. */
static uint8_t input[KL_FRAME_MAX];

static void on_ready(evutil_socket_t fd, short what, void *arg);

static void watch(struct kl_conn *conn, short events)
{
    event_del(&conn->io);
    event_assign(&conn->io, conn->service->base, conn->fd, (short)(events | EV_PERSIST), on_ready,
                 conn);
    event_add(&conn->io, NULL);
}

/* ---- Sending ---- */

void kl_conn_half_close(struct kl_conn *conn)
{
    if (conn->out_len == 0) {
        shutdown(conn->fd, SHUT_WR);
    }
}

/* How many bytes the system took. Of a connection that has failed all; reading tells of that, once
 * what the peer said before has been read. */
static size_t write_some(struct kl_conn *conn, const struct iovec *parts, size_t count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)parts, .msg_iovlen = count};
    size_t total = 0;
    ssize_t n;

    for (size_t i = 0; i < count; i++) {
        total += parts[i].iov_len;
    }
    do {
        n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    if (n < 0) {
        shutdown(conn->fd, SHUT_RDWR);
        return total;
    }
    return (size_t)n;
}

/* Keeps what is left of the parts from that byte on until the socket takes it. */
static enum kl_rc keep_rest(struct kl_conn *conn, const struct iovec *parts, size_t count,
                            size_t from, struct kl_err *err)
{
    size_t total = conn->out_len;
    uint8_t *out;

    for (size_t i = 0; i < count; i++) {
        total += parts[i].iov_len;
    }
    out = realloc(conn->out, total - from);
    if (out == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "output buffer");
    }
    for (size_t i = 0; i < count; i++) {
        size_t skip = from < parts[i].iov_len ? from : parts[i].iov_len;

        memcpy(out + conn->out_len, (const uint8_t *)parts[i].iov_base + skip,
               parts[i].iov_len - skip);
        conn->out_len += parts[i].iov_len - skip;
        from -= skip;
    }
    conn->out = out;
    watch(conn, EV_READ | EV_WRITE);
    return KL_OK;
}

enum kl_rc kl_conn_send_der(struct kl_conn *conn, const uint8_t *der, size_t len,
                            struct kl_err *err)
{
    uint8_t header[KL_FRAME_HEADER];
    const struct iovec parts[] = {{header, sizeof(header)}, {(uint8_t *)der, len}};
    size_t sent;

    kl_frame_header(len, header);
    sent = conn->out_len > 0 ? 0 : write_some(conn, parts, 2);
    if (sent < sizeof(header) + len && keep_rest(conn, parts, 2, sent, err) != KL_OK) {
        shutdown(conn->fd, SHUT_RDWR); /* nothing may follow half a message */
        return err->rc;
    }
    return KL_OK;
}

static void write_rest(struct kl_conn *conn)
{
    const struct iovec rest = {conn->out, conn->out_len};
    size_t n = write_some(conn, &rest, 1);

    conn->out_len -= n;
    memmove(conn->out, conn->out + n, conn->out_len);
    if (conn->out_len == 0) {
        free(conn->out);
        conn->out = NULL;
        watch(conn, EV_READ);
        if (conn->state == KL_CONN_CLOSING) {
            kl_conn_half_close(conn);
        }
    }
}

/* ---- Receiving ---- */

/* Handles the message at *at of `have` bytes, and moves *at behind it; leaves it, KL_OK, if it is
 * not whole yet. */
static enum kl_rc take_message(struct kl_conn *conn, size_t have, size_t *at, struct kl_err *err)
{
    const uint8_t *frame = input + *at;
    size_t len;
    enum kl_rc rc;

    if (!kl_conn_waits_for_peer(conn->state)) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "the peer spoke before its turn");
    }
    if (have - *at < KL_FRAME_HEADER) {
        return KL_OK;
    }
    rc = kl_frame_length(frame, conn->config->message_size, &len, err);
    conn->service->metrics.malformed += rc != KL_OK;
    if (rc != KL_OK || have - *at < KL_FRAME_HEADER + len) {
        return rc;
    }
    rc = kl_handshake_message(conn, frame + KL_FRAME_HEADER, len, err);
    *at += KL_FRAME_HEADER + len;
    return rc;
}

static enum kl_rc keep_input(struct kl_conn *conn, size_t have, size_t at, struct kl_err *err)
{
    if (have == at) {
        return KL_OK;
    }
    conn->in = malloc(have - at);
    if (conn->in == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "input buffer");
    }
    conn->in_len = have - at;
    memcpy(conn->in, input + at, conn->in_len);
    return KL_OK;
}

static void take_messages(struct kl_conn *conn, size_t have)
{
    struct kl_err err = KL_ERR_INIT;
    size_t at = 0, before;
    enum kl_rc rc = KL_OK;

    do {
        before = at;
        rc = take_message(conn, have, &at, &err);
    } while (rc == KL_OK && at > before && at < have && conn->state != KL_CONN_CLOSING);
    if (rc == KL_OK && conn->state != KL_CONN_CLOSING) {
        rc = keep_input(conn, have, at, &err);
    }
    if (rc != KL_OK) {
        kl_conn_refuse(conn, &err);
    }
}

/* What was kept of it comes first. No more than one message's size: the kernel holds what we have
 * no use for yet. */
static ssize_t read_some(struct kl_conn *conn, size_t *have)
{
    size_t room = KL_FRAME_HEADER + conn->config->message_size, kept = conn->in_len;
    ssize_t n;

    if (kept > 0) {
        memcpy(input, conn->in, kept);
    }
    do {
        n = recv(conn->fd, input + kept, room - kept, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        free(conn->in);
        conn->in = NULL;
        conn->in_len = 0;
        *have = kept + (size_t)n;
    }
    return n;
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct kl_conn *conn = arg;
    size_t have = 0;
    ssize_t n;

    (void)fd;
    if ((what & EV_WRITE) && conn->out_len > 0) {
        write_rest(conn);
    }
    if (!(what & EV_READ)) {
        return;
    }
    n = read_some(conn, &have);
    if (n > 0 && conn->state != KL_CONN_CLOSING) {
        take_messages(conn, have);
    } else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) {
        kl_conn_lost(conn, n == 0 ? "end of stream" : "connection error");
    }
}

/* ---- Beginning and end ---- */

void kl_conn_open_io(struct kl_conn *conn)
{
    event_assign(&conn->io, conn->service->base, conn->fd, EV_READ | EV_PERSIST, on_ready, conn);
    event_add(&conn->io, NULL);
}

void kl_conn_close_io(struct kl_conn *conn)
{
    event_del(&conn->io);
    close(conn->fd);
    free(conn->in);
    free(conn->out);
}
