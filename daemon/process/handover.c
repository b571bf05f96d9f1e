/* SPDX-License-Identifier: BSD-2-Clause */
/* The old daemon's side of a hand-over. One taker at a time; whoever is not of our user gets to
 * know that, and nothing else. */
#include "daemon/process/handover.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/process/handover_impl.h"

#define BACKLOG 4

enum stage { IDLE, CONNECTED, OFFERED, DRAINING, RELEASED };

struct kl_handover {
    struct kl_handover_events events;
    struct kl_handover_place place;
    struct stat made; /* the socket's file */
    int is_theirs;    /* the next daemon has claimed the store: the name is, or will be, its own */
    int fd;
    struct event *accept;
    unsigned drain_seconds;
    enum stage stage;
    int peer;
    pid_t peer_pid;
    struct event *readable;
    struct event_base *base;
};

/* ---- The taker ---- */

static void let_go(struct kl_handover *handover)
{
    if (handover->readable != NULL) {
        event_free(handover->readable);
        handover->readable = NULL;
    }
    if (handover->peer >= 0) {
        close(handover->peer);
        handover->peer = -1;
    }
    handover->stage = IDLE;
}

/* The taker is gone, or does what it must not. */
static void give_up(struct kl_handover *handover, const struct kl_err *why)
{
    enum stage stage = handover->stage;

    let_go(handover);
    if (stage != CONNECTED) {
        kl_log(KL_LOG_WARN, "handover-failed", KL_NUM("pid", handover->peer_pid), KL_LOG_ERR(why),
               KL_STR("consequence", "this process goes on serving"));
    }
    if (stage == DRAINING || stage == RELEASED) {
        handover->events.resume(handover->events.arg);
    }
}

static void refuse(int fd, const struct kl_err *why)
{
    struct kl_handover_msg msg = kl_handover_msg(KL_HANDOVER_REFUSED);
    struct kl_err ignored = KL_ERR_INIT;

    snprintf(msg.text, sizeof(msg.text), "%.190s", why->text);
    kl_log(KL_LOG_WARN, "handover-refused", KL_LOG_ERR(why));
    if (kl_handover_send(fd, &msg, NULL, &ignored) != KL_OK) {
        kl_log(KL_LOG_DEBUG, "handover-refused", KL_LOG_ERR(&ignored));
    }
}

static enum kl_rc offer(struct kl_handover *handover, struct kl_err *err)
{
    struct kl_handover_msg msg = kl_handover_msg(KL_HANDOVER_SOCKETS);
    struct kl_sockets sockets = KL_SOCKETS_NONE;

    if (handover->events.lend(&sockets, handover->events.arg, err) != KL_OK) {
        refuse(handover->peer, err);
        return err->rc;
    }
    msg.drain_seconds = handover->drain_seconds;
    handover->stage = OFFERED;
    kl_log(KL_LOG_INFO, "handover-offered", KL_NUM("pid", handover->peer_pid));
    return kl_handover_send(handover->peer, &msg, &sockets, err);
}

static enum kl_rc take_message(struct kl_handover *handover, const struct kl_handover_msg *msg,
                               struct kl_err *err)
{
    if (handover->stage == CONNECTED && msg->kind == KL_HANDOVER_TAKE) {
        return offer(handover, err);
    }
    if (handover->stage == OFFERED && msg->kind == KL_HANDOVER_COMMIT) {
        handover->stage = DRAINING;
        kl_log(KL_LOG_INFO, "handover", KL_NUM("pid", handover->peer_pid));
        handover->events.drain(handover->events.arg);
        return KL_OK;
    }
    if (handover->stage == RELEASED && msg->kind == KL_HANDOVER_CLAIMED) {
        pid_t pid = handover->peer_pid;
        kl_log(KL_LOG_INFO, "handed-over", KL_NUM("pid", pid));
        handover->is_theirs = 1;
        handover->events.over(pid, handover->events.arg);
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_PROTOCOL, "message %u does not belong here", msg->kind);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct kl_handover *handover = arg;
    struct kl_handover_msg msg;
    struct kl_sockets none = KL_SOCKETS_NONE;
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = kl_handover_receive(fd, &msg, &none, &err);

    (void)what;
    if (rc == KL_ERR_BUSY) {
        return;
    }
    kl_sockets_wipe(&none); /* it has none to give */
    if (rc == KL_OK) {
        rc = take_message(handover, &msg, &err);
    }
    if (rc != KL_OK) {
        give_up(handover, &err);
    }
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct kl_handover *handover = arg;
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct kl_err err = KL_ERR_INIT;
    pid_t pid = 0;

    (void)what;
    if (peer < 0) {
        return;
    }
    if (kl_handover_peer(peer, &pid, &err) == KL_OK && handover->stage != IDLE) {
        (void)kl_err_set(&err, KL_ERR_BUSY, "process %ld takes over already",
                         (long)handover->peer_pid);
    }
    if (err.rc == KL_OK) {
        handover->readable =
            event_new(handover->base, peer, EV_READ | EV_PERSIST, on_readable, handover);
        if (handover->readable == NULL || event_add(handover->readable, NULL) != 0) {
            (void)kl_err_set(&err, KL_ERR_MEMORY, "event of a hand-over");
        }
    }
    if (err.rc != KL_OK) {
        refuse(peer, &err);
        close(peer);
        return;
    }
    handover->peer = peer;
    handover->peer_pid = pid;
    handover->stage = CONNECTED;
}

void kl_handover_released(struct kl_handover *handover)
{
    struct kl_handover_msg msg = kl_handover_msg(KL_HANDOVER_RELEASED);
    struct kl_err err = KL_ERR_INIT;

    handover->stage = RELEASED;
    if (kl_handover_send(handover->peer, &msg, NULL, &err) != KL_OK) {
        give_up(handover, &err);
    }
}

/* ---- The place ---- */

/* Made beside its name and then moved onto it: whoever looks finds the one daemon or the other. */
static enum kl_rc listen_at(struct kl_handover *handover, struct kl_err *err)
{
    const struct kl_handover_place *place = &handover->place;
    struct sockaddr_un address;
    enum kl_rc rc = kl_handover_address(place, place->next, &address, err);
    mode_t mask;
    int fail;

    if (rc != KL_OK) {
        return rc;
    }
    handover->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (handover->fd < 0) {
        return kl_err_errno(err, "socket", "hand-over");
    }
    mask = umask(0177);
    (void)unlinkat(place->dir, place->next, 0);
    fail = bind(handover->fd, (struct sockaddr *)&address, sizeof(address)) != 0;
    umask(mask);
    if (fail || listen(handover->fd, BACKLOG) != 0 ||
        fstatat(place->dir, place->next, &handover->made, AT_SYMLINK_NOFOLLOW) != 0 ||
        renameat(place->dir, place->next, place->dir, place->name) != 0) {
        return kl_err_errno(err, "bind", "%s, beside the store", place->name);
    }
    return KL_OK;
}

enum kl_rc kl_handover_new(struct event_base *base, const char *store, unsigned drain_seconds,
                           const struct kl_handover_events *events, struct kl_handover **out,
                           struct kl_err *err)
{
    struct kl_handover *handover = calloc(1, sizeof(*handover));

    if (handover == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "hand-over");
    }
    handover->base = base;
    handover->events = *events;
    handover->drain_seconds = drain_seconds;
    handover->fd = handover->peer = handover->place.dir = -1;
    if (kl_handover_place(store, &handover->place, err) != KL_OK ||
        listen_at(handover, err) != KL_OK) {
        goto fail;
    }
    handover->accept = event_new(base, handover->fd, EV_READ | EV_PERSIST, on_accept, handover);
    if (handover->accept == NULL || event_add(handover->accept, NULL) != 0) {
        (void)kl_err_set(err, KL_ERR_MEMORY, "hand-over");
        goto fail;
    }
    *out = handover;
    return KL_OK;
fail:
    kl_handover_free(handover);
    return err->rc;
}

void kl_handover_free(struct kl_handover *handover)
{
    struct stat now;

    if (handover == NULL) {
        return;
    }
    let_go(handover);
    if (handover->accept != NULL) {
        event_free(handover->accept);
    }
    if (handover->fd >= 0) {
        close(handover->fd);
    }
    if (handover->place.dir >= 0) {
        if (!handover->is_theirs &&
            fstatat(handover->place.dir, handover->place.name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
            now.st_ino == handover->made.st_ino && now.st_dev == handover->made.st_dev) {
            (void)unlinkat(handover->place.dir, handover->place.name, 0);
        }
        close(handover->place.dir);
    }
    free(handover);
}
