/* SPDX-License-Identifier: BSD-2-Clause */
/* Module 102: framing over a non-blocking socket, each wait a poll up to the one deadline. */
#include "terminal-sim/transceiver.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/cli.h"
#include "proto/clock.h"
#include "proto/frame.h"

#define HOST_MAX 256

struct kl_transceiver {
    int fd;
    int64_t deadline_ms; /* of CLOCK_MONOTONIC */
    FILE *record;
};

/* Waits until the socket is ready for `events` or the deadline has come. */
static enum kl_rc wait_for(const struct kl_transceiver *t, short events, const char *what,
                           struct kl_err *err)
{
    struct pollfd pfd = {.fd = t->fd, .events = events};
    int64_t left;
    int n;

    do {
        left = t->deadline_ms - kl_clock_ms();
        if (left <= 0) {
            return kl_err_set(err, KL_ERR_TIMEOUT, "time ran out while %s", what);
        }
        n = poll(&pfd, 1, left > 60000 ? 60000 : (int)left);
    } while (n == 0 || (n < 0 && errno == EINTR));
    return n < 0 ? kl_err_errno(err, "poll", "while %s", what) : KL_OK;
}

enum kl_rc kl_transceiver_take_timeout(const char *value, void *seconds, struct kl_err *err)
{
    return kl_parse_duration(value, 1, KL_TRANSCEIVER_SECONDS_MAX, seconds, err);
}

/* *port borrows from address. */
static enum kl_rc split(const char *address, char *host, size_t size, const char **port,
                        struct kl_err *err)
{
    const char *colon = strrchr(address, ':'), *begin = address, *end = colon;
    uint64_t number;

    if (colon && address[0] == '[' && colon > address + 1 && colon[-1] == ']') {
        begin++;
        end--;
    } else if (colon && memchr(address, ':', (size_t)(colon - address))) {
        colon = NULL; /* an IPv6 address without its brackets */
    }
    if (!colon || end == begin || (size_t)(end - begin) >= size ||
        kl_parse_number(colon + 1, 1, 65535, &number, err)) {
        return kl_err_set(err, KL_ERR_INPUT, "'%s' is not HOST:PORT or [IPV6]:PORT", address);
    }
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *port = colon + 1;
    return KL_OK;
}

/* One address. Leaves t->fd open on success only. */
static enum kl_rc connect_one(struct kl_transceiver *t, const struct addrinfo *ai,
                              const char *address, struct kl_err *err)
{
    int on = 1, failure = 0;
    socklen_t size = sizeof(failure);
    enum kl_rc rc = KL_OK;

    t->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (t->fd < 0) {
        return kl_err_errno(err, "socket", "connecting to %s", address);
    }
    if (connect(t->fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        failure = errno;
        if (failure == EINPROGRESS) {
            rc = wait_for(t, POLLOUT, "connecting to the loader", err);
            if (!rc && getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0) {
                failure = errno;
            }
        }
        if (!rc && failure) {
            rc = kl_err_native(err, KL_ERR_UNAVAILABLE, KL_ERR_SOURCE_ERRNO, (unsigned long)failure,
                               "connect", "no key loader at %s: %s", address, strerror(failure));
        }
    }
    if (rc) {
        close(t->fd);
        t->fd = -1;
        return rc;
    }
    setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* only speed depends on it */
    return KL_OK;
}

enum kl_rc kl_transceiver_resolve(const char *address, struct addrinfo **out, struct kl_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char host[HOST_MAX];
    const char *port = NULL;
    int gai;
    enum kl_rc rc = split(address, host, sizeof(host), &port, err);

    if (rc) {
        return rc;
    }
    gai = getaddrinfo(host, port, &hints, out);
    return gai == 0 ? KL_OK
                    : kl_err_set(err, KL_ERR_UNAVAILABLE, "'%s' is no host: %s", host,
                                 gai_strerror(gai));
}

enum kl_rc kl_transceiver_open(const char *address, uint64_t seconds, FILE *record,
                               struct kl_transceiver **out, struct kl_err *err)
{
    struct addrinfo *list = NULL, *ai;
    struct kl_transceiver *t;
    enum kl_rc rc;

    t = calloc(1, sizeof(*t));
    if (!t) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a connection");
    }
    t->fd = -1;
    t->record = record;
    t->deadline_ms = kl_clock_ms() + (int64_t)seconds * 1000;
    rc = kl_transceiver_resolve(address, &list, err);
    for (ai = list; ai && t->fd < 0; ai = ai->ai_next) {
        rc = connect_one(t, ai, address, err);
    }
    if (list) {
        freeaddrinfo(list);
    }
    if (rc) {
        free(t);
    } else {
        *out = t;
    }
    return rc;
}

enum kl_rc kl_transceiver_adopt(int fd, uint64_t seconds, struct kl_transceiver **out,
                                struct kl_err *err)
{
    struct kl_transceiver *t = calloc(1, sizeof(*t));
    int flags = fcntl(fd, F_GETFL);

    if (!t || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        free(t);
        close(fd);
        return kl_err_set(err, KL_ERR_SYSTEM, "a connection cannot be taken over");
    }
    t->fd = fd;
    t->deadline_ms = kl_clock_ms() + (int64_t)seconds * 1000;
    *out = t;
    return KL_OK;
}

void kl_transceiver_free(struct kl_transceiver *t)
{
    if (!t) {
        return;
    }
    close(t->fd);
    free(t);
}

int kl_transceiver_has_ended(const struct kl_transceiver *t)
{
    struct pollfd pfd = {.fd = t->fd, .events = POLLIN};

    return poll(&pfd, 1, 0) > 0;
}

static enum kl_rc record_one(const struct kl_transceiver *t, int direction,
                             const uint8_t header[KL_FRAME_HEADER], const uint8_t *der, size_t len,
                             struct kl_err *err)
{
    if (!t->record) {
        return KL_OK;
    }
    if (fputc(direction, t->record) == EOF ||
        fwrite(header, 1, KL_FRAME_HEADER, t->record) != KL_FRAME_HEADER ||
        fwrite(der, 1, len, t->record) != len || fflush(t->record) != 0) {
        return kl_err_errno(err, "fwrite", "the recording cannot be written");
    }
    return KL_OK;
}

static enum kl_rc send_all(struct kl_transceiver *t, const uint8_t *bytes, size_t total,
                           struct kl_err *err)
{
    size_t done = 0;
    ssize_t n;
    enum kl_rc rc = KL_OK;

    while (!rc && done < total) {
        rc = wait_for(t, POLLOUT, "sending to the loader", err);
        if (rc) {
            break;
        }
        n = send(t->fd, bytes + done, total - done, MSG_NOSIGNAL);
        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            rc = kl_err_native(err, KL_ERR_CLOSED, KL_ERR_SOURCE_ERRNO, (unsigned long)errno,
                               "send", "the loader closed the connection");
        } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
            rc = kl_err_errno(err, "send", "sending to the loader");
        }
    }
    return rc;
}

enum kl_rc kl_transceiver_send(struct kl_transceiver *t, const uint8_t *der, size_t len,
                               struct kl_err *err)
{
    uint8_t frame[KL_FRAME_MAX];
    enum kl_rc rc;

    if (len == 0 || len > KL_MSG_MAX) {
        return kl_err_set(err, KL_ERR_INTERNAL, "a message of %zu bytes cannot be sent", len);
    }
    kl_frame_header(len, frame);
    memcpy(frame + KL_FRAME_HEADER, der, len);
    /* Recorded before it goes out: what a crash cut off may have arrived. */
    rc = record_one(t, '>', frame, der, len, err);
    return rc ? rc : send_all(t, frame, len + KL_FRAME_HEADER, err);
}

enum kl_rc kl_transceiver_send_bytes(struct kl_transceiver *t, const uint8_t *bytes, size_t len,
                                     unsigned drip_ms, struct kl_err *err)
{
    struct pollfd pfd = {.fd = t->fd, .events = POLLIN};
    enum kl_rc rc = KL_OK;

    if (!drip_ms) {
        return send_all(t, bytes, len, err);
    }
    for (size_t i = 0; !rc && i < len && poll(&pfd, 1, (int)drip_ms) == 0; i++) {
        rc = send_all(t, bytes + i, 1, err);
    }
    return rc;
}

static enum kl_rc read_exactly(struct kl_transceiver *t, uint8_t *out, size_t len,
                               struct kl_err *err)
{
    size_t done = 0;
    ssize_t n;
    enum kl_rc rc;

    while (done < len) {
        rc = wait_for(t, POLLIN, "waiting for the loader", err);
        if (rc) {
            return rc;
        }
        n = recv(t->fd, out + done, len - done, 0);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno == ECONNRESET) {
            return kl_err_set(err, KL_ERR_CLOSED, "the loader closed the connection");
        } else if (errno != EINTR && errno != EAGAIN) {
            return kl_err_errno(err, "recv", "reading from the loader");
        }
    }
    return KL_OK;
}

enum kl_rc kl_transceiver_receive(struct kl_transceiver *t, uint8_t der[KL_MSG_MAX], size_t *len,
                                  struct kl_err *err)
{
    uint8_t header[KL_FRAME_HEADER];
    size_t n;
    enum kl_rc rc = read_exactly(t, header, sizeof(header), err);

    if (!rc) {
        rc = kl_frame_length(header, KL_MSG_MAX, &n, err);
    }
    if (!rc) {
        rc = read_exactly(t, der, n, err);
    }
    if (!rc) {
        rc = record_one(t, '<', header, der, n, err);
    }
    if (!rc) {
        *len = n;
    }
    return rc;
}

enum kl_rc kl_transceiver_read_record(FILE *record, int *direction, uint8_t der[KL_MSG_MAX],
                                      size_t *len, struct kl_err *err)
{
    uint8_t header[KL_FRAME_HEADER];
    size_t n;
    int first = fgetc(record);
    enum kl_rc rc;

    if (first == EOF && !ferror(record)) {
        *direction = 0;
        return KL_OK;
    }
    if ((first != '>' && first != '<') ||
        fread(header, 1, sizeof(header), record) != sizeof(header)) {
        return kl_err_set(err, KL_ERR_INPUT, "not a recording of terminal-sim");
    }
    rc = kl_frame_length(header, KL_MSG_MAX, &n, err);
    if (rc) {
        return rc;
    }
    if (fread(der, 1, n, record) != n) {
        return kl_err_set(err, KL_ERR_INPUT, "the recording is cut short");
    }
    *direction = first;
    *len = n;
    return KL_OK;
}
