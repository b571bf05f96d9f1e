/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The relay: one thread that accepts a connection, joins it to the target, and pumps whole frames
 * until either side ends. A wake pipe ends every wait when the test is done.
 */
#include "tests/support/relay.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/proc.h"

#define HEADER 2

struct relay {
    struct relay_plan plan;
    int listener;
    uint16_t port, target;
    int wake[2]; /* readable at [0] = stop */
    FILE *record;
    uint8_t edited[RELAY_FRAME_MAX];
    pthread_t thread;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    int held, released, stopping;
};

struct side { /* bytes on their way from one socket to the other */
    int from, to;
    size_t have;
    uint8_t buf[RELAY_FRAME_MAX];
};

static int send_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return 0;
        }
        data += n;
        len -= (size_t)n;
    }
    return 1;
}

/* Waits for the wake pipe; 1 if the relay is to stop. */
static int stopped_within(const struct relay *relay, int ms)
{
    struct pollfd p = {.fd = relay->wake[0], .events = POLLIN};
    return poll(&p, 1, ms) > 0;
}

/* 1 if the relay may go on after the hold. */
static int hold(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    relay->held = 1;
    pthread_cond_broadcast(&relay->changed);
    while (!relay->released && !relay->stopping) {
        pthread_cond_wait(&relay->changed, &relay->lock);
    }
    int go_on = !relay->stopping;
    pthread_mutex_unlock(&relay->lock);
    return go_on;
}

static int drip(const struct relay *relay, int to, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (stopped_within(relay, 1000) || !send_all(to, data + i, 1)) {
            return 0;
        }
    }
    return 1;
}

static int edit(struct relay *relay, unsigned number, int to, const uint8_t *frame, size_t len)
{
    memcpy(relay->edited, frame, len);
    len = relay->plan.edit(relay->plan.arg, number, relay->edited, len);
    return send_all(to, relay->edited, len);
}

/* Passes on message number `number` as the plan wants it; 0 = the connection ends. */
static int pass(struct relay *relay, unsigned number, int to, uint8_t *frame, size_t len)
{
    const struct relay_plan *plan = &relay->plan;
    if (plan->act == RELAY_DROP && number >= plan->message) {
        return 1;
    }
    if (plan->act == RELAY_EDIT) {
        return edit(relay, number, to, frame, len);
    }
    if (number != plan->message) {
        return send_all(to, frame, len);
    }
    switch (plan->act) {
    case RELAY_FLIP:
        if (plan->byte < len) {
            frame[plan->byte] ^= (uint8_t)(1u << (plan->bit & 7));
        }
        return send_all(to, frame, len);
    case RELAY_REPLACE:
        return send_all(to, plan->data, plan->len);
    case RELAY_HOLD_BEFORE:
        return hold(relay) && send_all(to, frame, len);
    case RELAY_HOLD_AFTER:
        return send_all(to, frame, len) && hold(relay);
    case RELAY_CUT:
        return 0;
    case RELAY_DRIP:
        return drip(relay, to, frame, len);
    default:
        return send_all(to, frame, len);
    }
}

static void record(const struct relay *relay, const uint8_t *data, size_t len)
{
    if (relay->record != NULL) {
        fwrite(data, 1, len, relay->record);
        fflush(relay->record);
    }
}

/* Takes every whole frame out of side->buf; 0 = the connection ends. */
static int take_frames(struct relay *relay, struct side *side, unsigned *number)
{
    size_t len;
    while (side->have >= HEADER &&
           side->have >= (len = HEADER + (size_t)(side->buf[0] << 8 | side->buf[1]))) {
        record(relay, side->buf, len);
        if (!pass(relay, (*number)++, side->to, side->buf, len)) {
            return 0;
        }
        side->have -= len;
        memmove(side->buf, side->buf + len, side->have);
    }
    return 1;
}

/* Reads once; 0 = the side has ended (what is left of it is passed on as it is). */
static int read_side(struct relay *relay, struct side *side, unsigned *number)
{
    ssize_t n = recv(side->from, side->buf + side->have, RELAY_FRAME_MAX - side->have, 0);
    if (n < 0 && errno == EINTR) {
        return 1;
    }
    if (n <= 0) {
        record(relay, side->buf, side->have);
        if (relay->plan.act != RELAY_DROP) {
            (void)send_all(side->to, side->buf, side->have);
        }
        return 0;
    }
    side->have += (size_t)n;
    return take_frames(relay, side, number);
}

static void pump(struct relay *relay, int client, int server)
{
    unsigned number = 0;
    struct side *up = calloc(1, sizeof *up), *down = calloc(1, sizeof *down);
    if (up == NULL || down == NULL) {
        goto out;
    }
    *up = (struct side){.from = client, .to = server};
    *down = (struct side){.from = server, .to = client};
    for (;;) {
        struct pollfd p[] = {{.fd = client, .events = POLLIN},
                             {.fd = server, .events = POLLIN},
                             {.fd = relay->wake[0], .events = POLLIN}};
        if (poll(p, 3, -1) < 0 && errno != EINTR) {
            break;
        }
        /* What was sent before the relay is stopped still goes through: a terminal's last word. */
        if (p[2].revents != 0 && p[0].revents == 0 && p[1].revents == 0) {
            break;
        }
        /* The server's side first: its last message must not be lost to the client's ending. */
        if (p[1].revents != 0 && !read_side(relay, down, &number)) {
            break;
        }
        if (p[0].revents != 0 && !read_side(relay, up, &number)) {
            break;
        }
    }
out:
    free(up);
    free(down);
}

static int dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void *serve(void *arg)
{
    struct relay *relay = arg;
    const int on = 1;
    for (;;) {
        struct pollfd p[] = {{.fd = relay->listener, .events = POLLIN},
                             {.fd = relay->wake[0], .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR) {
            break;
        }
        if (p[1].revents != 0) {
            break;
        }
        int client = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0) {
            continue;
        }
        int server = dial(relay->target);
        if (server >= 0) {
            setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            pump(relay, client, server);
            close(server);
        }
        close(client);
    }
    return NULL;
}

static int listen_on(uint16_t port, uint16_t *bound)
{
    const int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        close(fd);
        return -1;
    }
    *bound = ntohs(at.sin_port);
    return fd;
}

static void release_all(struct relay *relay)
{
    if (relay->record != NULL) {
        fclose(relay->record);
    }
    if (relay->listener >= 0) {
        close(relay->listener);
    }
    if (relay->wake[0] >= 0) {
        close(relay->wake[0]);
    }
    if (relay->wake[1] >= 0) {
        close(relay->wake[1]);
    }
    pthread_cond_destroy(&relay->changed);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}

struct relay *relay_start(uint16_t port, uint16_t target, const struct relay_plan *plan)
{
    struct relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL) {
        return NULL;
    }
    relay->plan = *plan;
    relay->target = target;
    relay->wake[0] = relay->wake[1] = -1;
    pthread_mutex_init(&relay->lock, NULL);
    pthread_cond_init(&relay->changed, NULL);
    relay->listener = listen_on(port, &relay->port);
    if (relay->listener < 0 || pipe2(relay->wake, O_CLOEXEC) != 0) {
        goto fail;
    }
    if (plan->record != NULL && (relay->record = fopen(plan->record, "we")) == NULL) {
        goto fail;
    }
    if (pthread_create(&relay->thread, NULL, serve, relay) != 0) {
        goto fail;
    }
    return relay;
fail:
    release_all(relay);
    return NULL;
}

void relay_stop(struct relay *relay)
{
    if (relay == NULL) {
        return;
    }
    pthread_mutex_lock(&relay->lock);
    relay->stopping = 1;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->lock);
    while (write(relay->wake[1], "", 1) < 0 && errno == EINTR) {
        ;
    }
    pthread_join(relay->thread, NULL);
    release_all(relay);
}

uint16_t relay_port(const struct relay *relay)
{
    return relay->port;
}

int relay_wait_hold(struct relay *relay, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&relay->lock);
    while (!relay->held && pthread_cond_timedwait(&relay->changed, &relay->lock, &until) == 0) {
        ;
    }
    int held = relay->held;
    pthread_mutex_unlock(&relay->lock);
    return held;
}

void relay_release(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    relay->released = 1;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->lock);
}

int relay_next_frame(const uint8_t *data, size_t size, size_t *at, const uint8_t **der, size_t *len)
{
    if (size - *at < HEADER) {
        return 0;
    }
    size_t n = (size_t)(data[*at] << 8 | data[*at + 1]);
    if (size - *at - HEADER < n) {
        return 0;
    }
    *der = data + *at + HEADER;
    *len = n;
    *at += HEADER + n;
    return 1;
}

void relay_frame_of(const char *record, unsigned number, uint8_t **data, const uint8_t **der,
                    size_t *len)
{
    size_t size, at = 0;

    *data = (uint8_t *)file_read(record, &size);
    for (unsigned i = 0; i <= number; i++) {
        ck_assert(relay_next_frame(*data, size, &at, der, len));
    }
}
