/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One peer of the control socket. It is read from only while nothing of its is under way, so that
 * it never has more than one request, one response and one line waiting.
 */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/control/control_impl.h"
#include "daemon/control/params.h"
#include "daemon/run.h"

#define IDLE_S 60  /* between requests */
#define LINE_S 5   /* for the rest of a line that has begun */
#define DRAIN_S 20 /* for a response to be read */

/* ---- A request in a store thread ---- */

struct kl_control_unit {
    struct kl_unit unit;
    TAILQ_ENTRY(kl_control_unit) link;
    /* The loop's: who waits for it; NULL: gone, and the control socket with it */
    struct kl_control_peer *peer;
    struct kl_control *control;
    const struct kl_admin_op *op;
    struct kl_admin_ask ask;
    char actor[KL_AUDIT_ACTOR_MAX + 1];
    json_t *params, *result;
};

static int approves(const struct kl_admin_op *op)
{
    return strcmp(op->name, "request-approve") == 0;
}

static enum kl_rc unit_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct kl_control_unit *u = (struct kl_control_unit *)unit;

    u->ask.now = (int64_t)time(NULL);
    return kl_admin_run(u->op, store, &u->ask, &u->result, err);
}

/* An approved request of many steps goes on by itself. */
static void carry_on(const struct kl_control_unit *u)
{
    const char *state = json_string_value(json_object_get(u->result, "state"));
    const char *kind = json_string_value(json_object_get(u->result, "kind"));
    struct kl_err err = KL_ERR_INIT;

    if (state && strcmp(state, "approved") == 0 && kind && strcmp(kind, "terminal-arm-all") == 0 &&
        kl_control_work_begin(u->control,
                              (uint64_t)json_integer_value(json_object_get(u->result, "id")),
                              &err) != KL_OK) {
        kl_log(KL_LOG_ERROR, "request-not-begun", KL_LOG_ERR(&err));
    }
}

static void unit_done(struct kl_unit *unit)
{
    struct kl_control_unit *u = (struct kl_control_unit *)unit;

    if (u->control) {
        TAILQ_REMOVE(&u->control->units, u, link);
        if (approves(u->op)) {
            u->control->approving = 0;
        }
        if (unit->rc == KL_OK && approves(u->op)) {
            carry_on(u);
        }
        if (u->op->kind == KL_ADMIN_DECIDE && unit->rc == KL_ERR_REFUSED) {
            kl_control_alarm(u->control, u->actor, u->op->name, &unit->err);
        }
    }
    if (u->peer) {
        u->peer->unit = NULL;
        kl_control_reply(u->peer, unit->rc == KL_OK ? json_incref(u->result) : NULL,
                         unit->rc == KL_OK ? NULL : &unit->err);
    }
    json_decref(u->params);
    json_decref(u->result);
    free(u);
}

void kl_control_forget_units(struct kl_control *control)
{
    struct kl_control_unit *u;

    TAILQ_FOREACH(u, &control->units, link)
    {
        u->control = NULL;
    }
    TAILQ_INIT(&control->units);
}

/* The store's work for a peer; takes nothing. */
static enum kl_rc submit(struct kl_control_peer *peer, const struct kl_admin_op *op, json_t *params,
                         struct kl_err *err)
{
    struct kl_control *control = peer->control;
    struct kl_control_unit *u;
    enum kl_rc rc;

    if (approves(op) && (control->work || control->approving)) {
        return kl_err_set(err, KL_ERR_BUSY, "another request is being carried out; try again");
    }
    if (!(u = calloc(1, sizeof(*u)))) {
        return kl_err_set(err, KL_ERR_MEMORY, "request");
    }
    u->unit.run = unit_run;
    u->unit.done = unit_done;
    u->peer = peer;
    u->control = control;
    u->op = op;
    u->params = json_incref(params);
    memcpy(u->actor, peer->id.actor, sizeof(u->actor));
    u->ask = (struct kl_admin_ask){.params = u->params,
                                   .uid = peer->id.uid,
                                   .role = peer->role,
                                   .by_socket = 1,
                                   .actor = u->actor};
    kl_admin_policy(control->service->config, &u->ask);
    rc = kl_committer_submit(op->kind == KL_ADMIN_READ ? control->reader
                                                       : control->service->committer,
                             &u->unit, err);
    if (rc != KL_OK) {
        json_decref(u->params);
        free(u);
        return rc;
    }
    TAILQ_INSERT_TAIL(&control->units, u, link);
    control->approving |= approves(op);
    peer->unit = u;
    return KL_OK;
}

/* ---- Deadlines and the end ---- */

static void set_deadline(struct kl_control_peer *peer, int seconds)
{
    const struct timeval tv = {.tv_sec = seconds};

    evtimer_add(peer->timer, &tv);
}

/* Not before the response is out: without terminals, the daemon ends at once. */
static void drain_if_asked(struct kl_control_peer *peer)
{
    if (peer->drains) {
        peer->drains = 0;
        kl_run_drain(peer->control->service, peer->id.actor);
    }
}

void kl_control_peer_free(struct kl_control_peer *peer)
{
    TAILQ_REMOVE(&peer->control->peers, peer, link);
    peer->control->peer_count--;
    if (peer->unit) {
        peer->unit->peer = NULL;
    }
    drain_if_asked(peer);
    if (peer->reloading) {
        kl_reload_forget(peer->control->service->reload, peer);
    }
    event_free(peer->timer);
    bufferevent_free(peer->bev);
    kl_peer_id_wipe(&peer->id);
    free(peer);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    kl_control_peer_free(arg);
}

/* ---- Responses ---- */

static char *response(json_t *result, const struct kl_err *err)
{
    json_t *json =
        err ? json_pack("{s:b, s:s, s:s}", "ok", 0, "rc", kl_rc_name(err->rc), "text", err->text)
            : json_pack("{s:b, s:O}", "ok", 1, "result", result);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);
    if (text && strlen(text) > KL_CONTROL_RESULT_MAX) {
        free(text);
        return NULL;
    }
    return text;
}

void kl_control_reply(struct kl_control_peer *peer, json_t *result, const struct kl_err *err)
{
    static const char no_room[] =
        "{\"ok\":false,\"rc\":\"internal\",\"text\":\"the result is too large, or memory short\"}";
    char *text = response(result, err);

    json_decref(result);
    peer->busy = 1;
    set_deadline(peer, DRAIN_S);
    if (bufferevent_write(peer->bev, text ? text : no_room, strlen(text ? text : no_room)) != 0 ||
        bufferevent_write(peer->bev, "\n", 1) != 0) {
        peer->closing = 1;
        set_deadline(peer, 0);
    }
    free(text);
}

static void refuse(struct kl_control_peer *peer, const char *what, const struct kl_err *err)
{
    if (err->rc == KL_ERR_PERMISSION) {
        kl_control_alarm(peer->control, peer->id.actor, what, err);
    } else {
        kl_log(KL_LOG_DEBUG, "control-error", KL_STR("actor", peer->id.actor), KL_LOG_ERR(err));
    }
    kl_control_reply(peer, NULL, err);
}

/* ---- Requests ---- */

static enum kl_rc read_request(const char *line, size_t len, json_t **out, const char **name,
                               json_t **params, struct kl_err *err)
{
    const struct kl_param table[] = {{"do", KL_PARAM_TEXT, 1, name, 0, 64},
                                     {"params", KL_PARAM_OBJECT, 1, params, 0, 0},
                                     {0}};
    enum kl_rc rc = kl_params_parse(line, len, out, err);

    return rc == KL_OK ? kl_params_read(*out, table, err) : rc;
}

/* The role is judged anew for each request: the configuration may have changed. */
static enum kl_rc serve(struct kl_control_peer *peer, const char *name, json_t *params,
                        struct kl_err *err)
{
    const struct kl_admin_op *op = kl_admin_find(name);
    int known = 0;
    enum kl_rc rc = kl_control_role(peer->control, &peer->id, &peer->role, err);

    if (rc == KL_OK && peer->role == KL_ROLE_NONE) {
        rc = kl_err_set(err, KL_ERR_PERMISSION, "you are neither operator nor auditor any more");
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (!op) {
        rc = kl_control_do(peer, name, params, &known, err);
        return known ? rc : kl_err_set(err, KL_ERR_INPUT, "'%.40s' is unknown", name);
    }
    if ((rc = kl_admin_may(op, peer->role, err)) != KL_OK) {
        return rc;
    }
    kl_log(op->kind == KL_ADMIN_READ ? KL_LOG_DEBUG : KL_LOG_INFO, "control", KL_STR("op", name),
           KL_STR("actor", peer->id.actor));
    return submit(peer, op, params, err);
}

static void take_line(struct kl_control_peer *peer, const char *line, size_t len)
{
    struct kl_err err = KL_ERR_INIT;
    json_t *request = NULL, *params = NULL;
    const char *name = "request";

    peer->busy = 1;
    bufferevent_disable(peer->bev, EV_READ);
    event_del(peer->timer);
    if (read_request(line, len, &request, &name, &params, &err) != KL_OK) {
        /* Who speaks no JSON is not waited for again. */
        peer->closing = request == NULL;
        refuse(peer, "request", &err);
    } else if (serve(peer, name, params, &err) != KL_OK) {
        refuse(peer, name, &err);
    }
    json_decref(request);
}

/* Takes the next line, if one is there whole. */
static void take_next(struct kl_control_peer *peer)
{
    struct evbuffer *input = bufferevent_get_input(peer->bev);
    struct kl_err err = KL_ERR_INIT;
    size_t len = 0, have = evbuffer_get_length(input);
    char *line = evbuffer_readln(input, &len, EVBUFFER_EOL_LF);

    if (line) {
        take_line(peer, line, len);
        free(line);
        return;
    }
    if (have > KL_CONTROL_LINE_MAX) {
        kl_err_set(&err, KL_ERR_INPUT, "a request is at most %d bytes", KL_CONTROL_LINE_MAX);
        bufferevent_disable(peer->bev, EV_READ);
        peer->closing = 1;
        refuse(peer, "request", &err);
        return;
    }
    if (peer->ended) {
        set_deadline(peer, 0);
        return;
    }
    /* The deadline of a line is its beginning's: a byte now and then is not enough. */
    if (have == 0 || !peer->in_line) {
        set_deadline(peer, have ? LINE_S : IDLE_S);
    }
    peer->in_line = have > 0;
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct kl_control_peer *peer = arg;

    (void)bev;
    if (!peer->busy) {
        take_next(peer);
    }
}

/* All has gone out. */
static void on_written(struct bufferevent *bev, void *arg)
{
    struct kl_control_peer *peer = arg;

    if (evbuffer_get_length(bufferevent_get_output(bev)) > 0 || !peer->busy || peer->unit ||
        peer->reloading) {
        return;
    }
    drain_if_asked(peer);
    if (peer->closing) {
        kl_control_peer_free(peer);
        return;
    }
    peer->busy = 0;
    peer->in_line = 0;
    if (!peer->ended) {
        bufferevent_enable(bev, EV_READ);
    }
    take_next(peer);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct kl_control_peer *peer = arg;

    (void)bev;
    /* Who has closed its side may still read what it has asked for. */
    if ((what & BEV_EVENT_EOF) && !(what & BEV_EVENT_ERROR)) {
        peer->ended = 1;
        if (!peer->busy) {
            take_next(peer);
        }
        return;
    }
    kl_control_peer_free(peer);
}

void kl_control_peer_new(struct kl_control *control, int fd, struct kl_peer_id *id,
                         enum kl_role role)
{
    struct kl_control_peer *peer = calloc(1, sizeof(*peer));
    struct event_base *base = control->service->base;

    if (!peer || !(peer->timer = evtimer_new(base, on_timer, peer)) ||
        !(peer->bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE))) {
        if (peer && peer->timer) {
            event_free(peer->timer);
        }
        free(peer);
        kl_peer_id_wipe(id);
        close(fd);
        return;
    }
    peer->control = control;
    peer->id = *id;
    *id = (struct kl_peer_id){0};
    peer->role = role;
    TAILQ_INSERT_TAIL(&control->peers, peer, link);
    control->peer_count++;
    bufferevent_setcb(peer->bev, on_read, on_written, on_event, peer);
    bufferevent_setwatermark(peer->bev, EV_READ, 0, KL_CONTROL_LINE_MAX + 1);
    set_deadline(peer, IDLE_S);
    bufferevent_enable(peer->bev, EV_READ | EV_WRITE);
}
