/* SPDX-License-Identifier: BSD-2-Clause */
/* A non-blocking connection with one event for its socket and one for its deadline. */
#include "terminal-sim/fleet/fleet_conn.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/frame.h"

struct kl_fleet_conn {
    struct kl_fleet_dial dial;
    int fd;
    int connected;
    struct event io, deadline;
    uint8_t *kept; /* what came of a message that is not whole yet, or behind one; NULL = nothing */
    size_t kept_len;
    uint8_t *rest; /* of a message that the system did not take whole; NULL = none */
    size_t rest_len;
};

/* What has come and is being looked at: one connection's at a time. */
static uint8_t input[KL_FRAME_MAX];

static void end(struct kl_fleet_conn *conn, const struct kl_err *err)
{
    event_del(&conn->io);
    event_del(&conn->deadline);
    conn->dial.ended(conn->dial.arg, err);
}

static void end_errno(struct kl_fleet_conn *conn, const char *op, int number)
{
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = KL_ERR_SYSTEM;

    if (number == ECONNRESET || number == EPIPE) {
        rc = KL_ERR_CLOSED;
    } else if (strcmp(op, "connect") == 0 && number != EADDRNOTAVAIL) {
        rc = KL_ERR_UNAVAILABLE;
    }
    kl_err_native(&err, rc, KL_ERR_SOURCE_ERRNO, (unsigned long)number, op, "%s: %s", op,
                  strerror(number));
    end(conn, &err);
}

static void end_closed(struct kl_fleet_conn *conn)
{
    struct kl_err err = KL_ERR_INIT;

    kl_err_set(&err, KL_ERR_CLOSED, "the loader closed the connection");
    end(conn, &err);
}

static void watch(struct kl_fleet_conn *conn, short events, event_callback_fn callback)
{
    event_del(&conn->io);
    event_assign(&conn->io, conn->dial.base, conn->fd, (short)(events | EV_PERSIST), callback,
                 conn);
    event_add(&conn->io, NULL);
    if (conn->kept) {
        event_active(&conn->io, EV_READ, 0); /* deleted above, if it had been before */
    }
}

/* ---- Reading ---- */

/* Is the frame that begins input whole? Then *len is its body's. -1: there is no such frame, and
 * the connection has ended. */
static int is_whole(struct kl_fleet_conn *conn, size_t have, size_t *len)
{
    struct kl_err err = KL_ERR_INIT;

    if (have < KL_FRAME_HEADER) {
        return 0;
    }
    if (kl_frame_length(input, KL_MSG_MAX, len, &err)) {
        end(conn, &err);
        return -1;
    }
    return have >= KL_FRAME_HEADER + *len;
}

/* 0: it is over. */
static int keep(struct kl_fleet_conn *conn, const uint8_t *data, size_t len)
{
    struct kl_err err = KL_ERR_INIT;

    free(conn->kept);
    conn->kept = len > 0 ? malloc(len) : NULL;
    conn->kept_len = len;
    if (len > 0 && !conn->kept) {
        kl_err_set(&err, KL_ERR_MEMORY, "no memory for a message");
        end(conn, &err);
        return 0;
    }
    if (len > 0) {
        memcpy(conn->kept, data, len);
    }
    return 1;
}

/* Adds to the `have` bytes of input; 0: nothing came, or it is over. */
static size_t receive(struct kl_fleet_conn *conn, size_t have)
{
    ssize_t n;

    do {
        n = recv(conn->fd, input + have, sizeof(input) - have, 0);
    } while (n < 0 && errno == EINTR);
    if (n == 0) {
        end_closed(conn);
    } else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        end_errno(conn, "recv", errno);
    }
    return n > 0 ? (size_t)n : 0;
}

/* One message at most; what is behind it has its turn by an event of its own, since whoever gets
 * the message may free the connection. */
static void read_some(struct kl_fleet_conn *conn)
{
    size_t have = conn->kept_len, len = 0, more;
    int whole;

    if (have > 0) {
        memcpy(input, conn->kept, have);
    }
    whole = is_whole(conn, have, &len);
    if (whole == 0) {
        more = receive(conn, have);
        if (more == 0) {
            return;
        }
        have += more;
        whole = is_whole(conn, have, &len);
    }
    if (whole == 0) {
        (void)keep(conn, input, have);
    } else if (whole == 1) {
        more = have - KL_FRAME_HEADER - len;
        if (!keep(conn, input + have - more, more)) {
            return;
        }
        if (more > 0) {
            event_active(&conn->io, EV_READ, 0);
        }
        conn->dial.message(conn->dial.arg, input + KL_FRAME_HEADER, len);
    }
}

/* ---- Writing ---- */

static void on_ready(evutil_socket_t fd, short what, void *arg);

static enum kl_rc keep_rest(struct kl_fleet_conn *conn, const uint8_t *data, size_t len,
                            struct kl_err *err)
{
    conn->rest = malloc(len);
    if (!conn->rest) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a message");
    }
    memcpy(conn->rest, data, len);
    conn->rest_len = len;
    watch(conn, EV_READ | EV_WRITE, on_ready);
    return KL_OK;
}

/* How many bytes the system took; a peer that is gone takes all. -1: errno. */
static ssize_t write_some(const struct kl_fleet_conn *conn, const uint8_t *data, size_t len)
{
    ssize_t n;

    do {
        n = send(conn->fd, data, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
        return (ssize_t)len; /* its reason (Error) may be waiting to be read */
    }
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : n;
}

enum kl_rc kl_fleet_conn_send(struct kl_fleet_conn *conn, const uint8_t *der, size_t len,
                              struct kl_err *err)
{
    uint8_t frame[KL_FRAME_MAX];
    size_t total = KL_FRAME_HEADER + len;
    ssize_t n;

    if (conn->rest || len == 0 || len > KL_MSG_MAX) {
        return kl_err_set(err, KL_ERR_INTERNAL, "a message of %zu bytes cannot be sent", len);
    }
    kl_frame_header(len, frame);
    memcpy(frame + KL_FRAME_HEADER, der, len);
    n = write_some(conn, frame, total);
    if (n < 0) {
        kl_err_errno(err, "send", "sending to the loader");
        return err->rc = KL_ERR_SYSTEM;
    }
    return (size_t)n == total ? KL_OK : keep_rest(conn, frame + n, total - (size_t)n, err);
}

static void write_rest(struct kl_fleet_conn *conn)
{
    ssize_t n = write_some(conn, conn->rest, conn->rest_len);

    if (n < 0) {
        end_errno(conn, "send", errno);
        return;
    }
    memmove(conn->rest, conn->rest + n, conn->rest_len - (size_t)n);
    conn->rest_len -= (size_t)n;
    if (conn->rest_len == 0) {
        free(conn->rest);
        conn->rest = NULL;
        watch(conn, EV_READ, on_ready);
    }
}

/* ---- Events ---- */

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct kl_fleet_conn *conn = arg;

    (void)fd;
    if ((what & EV_WRITE) && conn->rest) {
        write_rest(conn);
        return; /* what is to be read makes the event come again */
    }
    if (what & EV_READ) {
        read_some(conn);
    }
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
    struct kl_fleet_conn *conn = arg;
    int failure = 0, on = 1;
    socklen_t size = sizeof(failure);

    (void)what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0) {
        failure = errno;
    }
    if (failure) {
        end_errno(conn, "connect", failure);
        return;
    }
    conn->connected = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* only speed depends on it */
    watch(conn, EV_READ, on_ready);
    conn->dial.opened(conn->dial.arg);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct kl_fleet_conn *conn = arg;
    struct kl_err err = KL_ERR_INIT;

    (void)fd;
    (void)what;
    kl_err_set(&err, KL_ERR_TIMEOUT, "time ran out %s",
               conn->connected ? "waiting for the loader" : "connecting to the loader");
    end(conn, &err);
}

/* ---- Opening and freeing ---- */

static enum kl_rc begin_connect(const struct kl_fleet_dial *dial, int fd, struct kl_err *err)
{
    int on = 1;
    enum kl_rc rc = KL_OK;

    if (dial->from) {
        /* The port is chosen at connect, so that one may serve several destinations and sources. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (bind(fd, dial->from, dial->from_len) != 0) {
            kl_err_errno(err, "bind", "the source address cannot be used");
            return err->rc = KL_ERR_SYSTEM;
        }
    }
    if (connect(fd, dial->to, dial->to_len) != 0 && errno != EINPROGRESS) {
        rc = errno == ECONNREFUSED ? KL_ERR_UNAVAILABLE : KL_ERR_SYSTEM;
        kl_err_errno(err, "connect", "connecting to the loader");
        err->rc = rc;
    }
    return rc;
}

enum kl_rc kl_fleet_conn_open(const struct kl_fleet_dial *dial, struct kl_fleet_conn **out,
                              struct kl_err *err)
{
    struct kl_fleet_conn *conn;
    int fd = socket(dial->to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    enum kl_rc rc;

    if (fd < 0) {
        kl_err_errno(err, "socket", "a connection");
        return err->rc = KL_ERR_SYSTEM;
    }
    rc = begin_connect(dial, fd, err);
    conn = rc ? NULL : calloc(1, sizeof(*conn));
    if (!rc && !conn) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "no memory for a connection");
    }
    if (rc) {
        close(fd);
        return rc;
    }
    conn->dial = *dial;
    conn->dial.from = NULL; /* was borrowed for this call */
    conn->fd = fd;
    event_assign(&conn->io, dial->base, fd, EV_WRITE, on_connected, conn);
    event_add(&conn->io, NULL);
    evtimer_assign(&conn->deadline, dial->base, on_deadline, conn);
    if (dial->deadline) {
        event_add(&conn->deadline, dial->deadline);
    }
    *out = conn;
    return KL_OK;
}

void kl_fleet_conn_free(struct kl_fleet_conn *conn)
{
    if (!conn) {
        return;
    }
    event_del(&conn->io);
    event_del(&conn->deadline);
    close(conn->fd);
    free(conn->kept);
    free(conn->rest);
    free(conn);
}

void kl_fleet_conn_stay(struct kl_fleet_conn *conn)
{
    event_del(&conn->deadline);
}
