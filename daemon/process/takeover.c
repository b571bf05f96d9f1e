/* SPDX-License-Identifier: BSD-2-Clause */
/* The new daemon's side of a hand-over. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/process/handover_impl.h"

#define ANSWER_S 10 /* to TAKE */
#define SLACK_S 20  /* beyond the old one's drain-timeout: its last commit, and its goodbye */

enum stage { CONNECTED, ASKED, COMMITTED, RELEASED, CLAIMED };

struct kl_takeover {
    struct kl_takeover_events events;
    struct event *readable;
    struct event *deadline;
    int fd;
    enum stage stage;
};

static void wait_for(struct kl_takeover *takeover, unsigned seconds)
{
    const struct timeval tv = {.tv_sec = (time_t)seconds};

    evtimer_add(takeover->deadline, &tv);
}

static void hang_up(struct kl_takeover *takeover)
{
    event_del(takeover->readable);
    event_del(takeover->deadline);
    if (takeover->fd >= 0) {
        close(takeover->fd);
        takeover->fd = -1;
    }
}

static void fail(struct kl_takeover *takeover, const struct kl_err *err)
{
    hang_up(takeover); /* by which the old one knows that it is to go on */
    takeover->events.failed(err, takeover->events.arg);
}

/* The old one ended before its time, or as it should. Either way nobody has the store now. */
static void gone(struct kl_takeover *takeover, const struct kl_err *err)
{
    enum stage stage = takeover->stage;

    hang_up(takeover);
    if (stage == CLAIMED) {
        takeover->events.ended(takeover->events.arg);
    } else if (stage == ASKED || stage == COMMITTED) {
        kl_log(KL_LOG_WARN, "takeover-alone", KL_LOG_ERR(err));
        takeover->stage = RELEASED;
        takeover->events.released(takeover->events.arg);
    }
}

static enum kl_rc say(struct kl_takeover *takeover, enum kl_handover_kind kind, struct kl_err *err)
{
    const struct kl_handover_msg msg = kl_handover_msg(kind);

    return kl_handover_send(takeover->fd, &msg, NULL, err);
}

static enum kl_rc take_message(struct kl_takeover *takeover, const struct kl_handover_msg *msg,
                               struct kl_sockets *sockets, struct kl_err *err)
{
    if (msg->kind == KL_HANDOVER_REFUSED) {
        return kl_err_set(err, KL_ERR_REFUSED, "the daemon that serves refuses: %.190s", msg->text);
    }
    if (takeover->stage == ASKED && msg->kind == KL_HANDOVER_SOCKETS) {
        if (takeover->events.sockets(sockets, takeover->events.arg, err) != KL_OK) {
            return err->rc;
        }
        takeover->stage = COMMITTED;
        wait_for(takeover, msg->drain_seconds + SLACK_S);
        return say(takeover, KL_HANDOVER_COMMIT, err);
    }
    if (takeover->stage == COMMITTED && msg->kind == KL_HANDOVER_RELEASED) {
        takeover->stage = RELEASED;
        event_del(takeover->deadline);
        takeover->events.released(takeover->events.arg);
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_PROTOCOL, "message %u does not belong here", msg->kind);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct kl_takeover *takeover = arg;
    struct kl_handover_msg msg;
    struct kl_sockets sockets = KL_SOCKETS_NONE;
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = kl_handover_receive(fd, &msg, &sockets, &err);

    (void)what;
    if (rc == KL_ERR_BUSY) {
        return;
    }
    if (rc == KL_OK) {
        rc = take_message(takeover, &msg, &sockets, &err);
        kl_sockets_wipe(&sockets); /* what is left of them */
    }
    if (rc == KL_ERR_CLOSED) {
        gone(takeover, &err);
    } else if (rc != KL_OK) {
        fail(takeover, &err);
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct kl_err err = KL_ERR_INIT;

    (void)fd;
    (void)what;
    (void)kl_err_set(&err, KL_ERR_TIMEOUT, "the daemon that serves did not let go in time");
    fail(arg, &err);
}

static enum kl_rc dial(const char *store, int *out, struct kl_err *err)
{
    struct kl_handover_place place;
    struct sockaddr_un address;
    pid_t pid;
    int fd = -1;
    enum kl_rc rc = kl_handover_place(store, &place, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_handover_address(&place, place.name, &address, err);
    if (rc == KL_OK && (fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) < 0) {
        rc = kl_err_errno(err, "socket", "take-over");
    }
    if (rc == KL_OK && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        rc = errno == ENOENT || errno == ECONNREFUSED
                 ? kl_err_set(err, KL_ERR_NOT_FOUND,
                              "--take-over: no daemon serves %s: start without it", store)
                 : kl_err_errno(err, "connect", "--take-over: %s", place.name);
    }
    if (rc == KL_OK) {
        rc = kl_handover_peer(fd, &pid, err);
    }
    if (rc == KL_OK) {
        kl_log(KL_LOG_INFO, "taking-over", KL_NUM("pid", pid));
    }
    close(place.dir);
    if (rc == KL_OK) {
        *out = fd;
    } else if (fd >= 0) {
        close(fd);
    }
    return rc;
}

enum kl_rc kl_takeover_new(struct event_base *base, const char *store,
                           const struct kl_takeover_events *events, struct kl_takeover **out,
                           struct kl_err *err)
{
    struct kl_takeover *takeover = calloc(1, sizeof(*takeover));

    if (takeover == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "take-over");
    }
    takeover->events = *events;
    takeover->fd = -1;
    if (dial(store, &takeover->fd, err) != KL_OK) {
        goto fail;
    }
    takeover->readable = event_new(base, takeover->fd, EV_READ | EV_PERSIST, on_readable, takeover);
    takeover->deadline = evtimer_new(base, on_deadline, takeover);
    if (takeover->readable == NULL || takeover->deadline == NULL ||
        event_add(takeover->readable, NULL) != 0) {
        (void)kl_err_set(err, KL_ERR_MEMORY, "take-over");
        goto fail;
    }
    *out = takeover;
    return KL_OK;
fail:
    kl_takeover_free(takeover);
    return err->rc;
}

void kl_takeover_ask(struct kl_takeover *takeover)
{
    struct kl_err err = KL_ERR_INIT;

    takeover->stage = ASKED;
    wait_for(takeover, ANSWER_S);
    (void)kl_err_set(&err, KL_ERR_CLOSED, "the other keyloaderd has gone away");
    if (takeover->fd < 0 || say(takeover, KL_HANDOVER_TAKE, &err) != KL_OK) {
        gone(takeover, &err);
    }
}

void kl_takeover_claimed(struct kl_takeover *takeover)
{
    struct kl_err err = KL_ERR_INIT;

    takeover->stage = CLAIMED;
    if (takeover->fd < 0 || say(takeover, KL_HANDOVER_CLAIMED, &err) != KL_OK) {
        gone(takeover, &err);
    }
}

void kl_takeover_free(struct kl_takeover *takeover)
{
    if (takeover == NULL) {
        return;
    }
    if (takeover->readable != NULL) {
        event_free(takeover->readable);
    }
    if (takeover->deadline != NULL) {
        event_free(takeover->deadline);
    }
    if (takeover->fd >= 0) {
        close(takeover->fd);
    }
    free(takeover);
}
