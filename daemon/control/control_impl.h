/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket's inside: control.c (listening, who may connect, work that outlives a peer),
 * control_peer.c (one peer: lines, deadlines) and control_ops.c (what is asked of the daemon rather
 * than of the store). Nobody else includes this.
 */
#ifndef KL_DAEMON_CONTROL_CONTROL_IMPL_H
#define KL_DAEMON_CONTROL_CONTROL_IMPL_H

#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <sys/queue.h>

#include "daemon/control/admin.h"
#include "daemon/control/control.h"
#include "daemon/control/control_socket.h"
#include "daemon/loader/quota.h"

struct kl_control_unit;
struct kl_control_peer;
struct kl_control_work;
TAILQ_HEAD(kl_control_peers, kl_control_peer);
TAILQ_HEAD(kl_control_units, kl_control_unit);

struct kl_control {
    struct kl_service *service;
    struct kl_committer *reader; /* a store thread that only reads */
    struct evconnlistener *listener;
    struct event *resume; /* after descriptors ran out */
    struct event *sweep;  /* requests that expire */
    struct kl_control_file file;
    /* What the groups of `judged_by` are (a reference; NULL: not looked up yet) */
    const struct kl_config *judged_by;
    struct kl_roles roles;
    struct kl_control_peers peers;
    size_t peer_count;
    struct kl_quota alarms;
    struct kl_control_units units; /* with the store threads */
    struct kl_control_work *work;  /* NULL = none */
    int approving;                 /* an approval is with the store thread */
};

struct kl_control_peer {
    TAILQ_ENTRY(kl_control_peer) link;
    struct kl_control *control;
    struct bufferevent *bev;
    struct event *timer;
    struct kl_peer_id id;
    enum kl_role role;
    struct kl_control_unit *unit; /* its request, in a store thread */
    int busy;                     /* a request is under way, or its response going out */
    int reloading;                /* it waits for a reload */
    int drains;                   /* the daemon is to drain once it knows */
    int in_line;                  /* a line has begun */
    int ended;                    /* it sends no more */
    int closing;                  /* it is closed once all has gone out */
};

/* ---- control.c ---- */

/* Who may do what, by the configuration in force. */
enum kl_rc kl_control_role(struct kl_control *control, const struct kl_peer_id *id,
                           enum kl_role *out, struct kl_err *err) KL_MUST_CHECK;
/* Logs a refusal and puts it on record, both within a budget. */
void kl_control_alarm(struct kl_control *control, const char *actor, const char *what,
                      const struct kl_err *err);
/* One audit record by that actor; a failure is logged. */
void kl_control_record(struct kl_control *control, const char *actor, const char *event,
                       const char *detail);
/* Goes on with an approved request of many steps. KL_ERR_BUSY: another one is under way. */
enum kl_rc kl_control_work_begin(struct kl_control *control, uint64_t id, struct kl_err *err);

/* ---- control_peer.c ---- */

/* Serves fd, which it takes (also on failure), of that peer, whose groups it takes. */
void kl_control_peer_new(struct kl_control *control, int fd, struct kl_peer_id *id,
                         enum kl_role role);
void kl_control_peer_free(struct kl_control_peer *peer);
/* Nobody waits any more for what is with the store threads. */
void kl_control_forget_units(struct kl_control *control);
/* The response to what it asked; takes result (NULL if err is not). */
void kl_control_reply(struct kl_control_peer *peer, json_t *result, const struct kl_err *err);

/* ---- control_ops.c ---- */

/* What the daemon itself is asked. *known 0: there is no such thing. Answers with kl_control_reply,
 * now or later; anything but KL_OK is for the caller to answer. */
enum kl_rc kl_control_do(struct kl_control_peer *peer, const char *name, const json_t *params,
                         int *known, struct kl_err *err) KL_MUST_CHECK;

#endif
