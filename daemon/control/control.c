/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket: listening, who may connect, and work that outlives a peer. */
#include "daemon/control/control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/control/admin_request.h"
#include "daemon/control/control_impl.h"
#include "proto/clock.h"

#define ACCEPT_PAUSE_S 1
#define SWEEP_PERIOD_S 30
#define ALARMS_MAX 20 /* records of refused peers, a minute */

/* ---- Records ---- */

struct record_unit {
    struct kl_unit unit;
    char actor[KL_AUDIT_ACTOR_MAX + 1], event[KL_AUDIT_EVENT_MAX + 1];
    char detail[KL_AUDIT_DETAIL_MAX + 1];
};

static enum kl_rc record_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    const struct record_unit *record = (struct record_unit *)unit;
    enum kl_rc rc;

    kl_store_set_actor(store, record->actor);
    rc = kl_store_audit(store, (int64_t)time(NULL), record->event, "", record->detail, err);
    kl_store_set_actor(store, "");
    return rc;
}

static void record_done(struct kl_unit *unit)
{
    if (unit->rc != KL_OK) {
        kl_log(KL_LOG_ERROR, "control-not-recorded", KL_LOG_ERR(&unit->err));
    }
    free(unit);
}

void kl_control_record(struct kl_control *control, const char *actor, const char *event,
                       const char *detail)
{
    struct record_unit *record = calloc(1, sizeof(*record));
    struct kl_err err = KL_ERR_INIT;

    if (!record) {
        return;
    }
    record->unit.run = record_run;
    record->unit.done = record_done;
    snprintf(record->actor, sizeof(record->actor), "%s", actor);
    snprintf(record->event, sizeof(record->event), "%s", event);
    snprintf(record->detail, sizeof(record->detail), "%s", detail);
    if (kl_committer_submit(control->service->committer, &record->unit, &err) != KL_OK) {
        kl_log(KL_LOG_ERROR, "control-not-recorded", KL_LOG_ERR(&err));
        free(record);
    }
}

void kl_control_alarm(struct kl_control *control, const char *actor, const char *what,
                      const struct kl_err *err)
{
    char detail[KL_AUDIT_DETAIL_MAX + 1];
    const struct kl_log_field fields[] = {KL_STR("op", what), KL_STR("rc", kl_rc_name(err->rc)),
                                          KL_STR("detail", err->text)};
    uint64_t suppressed = kl_quota_roll(&control->alarms, (int64_t)time(NULL));

    if (suppressed > 0) {
        kl_log(KL_LOG_WARN, "control-lines-suppressed", KL_NUM("count", suppressed));
    }
    if (!kl_quota_take(&control->alarms, ALARMS_MAX)) {
        return;
    }
    kl_log(KL_LOG_WARN, "control-refused", KL_STR("actor", actor), KL_STR("op", what),
           KL_LOG_ERR(err));
    kl_log_format(detail, sizeof(detail), fields, sizeof(fields) / sizeof(fields[0]));
    kl_control_record(control, actor, "control-refused", detail);
}

/* ---- Work of many steps ---- */

struct kl_control_work {
    struct kl_unit unit;
    struct kl_control *control; /* NULL: the daemon ends */
    struct kl_admin_work admin;
    char why[KL_REQUEST_OUTCOME_MAX + 1]; /* "" unless it has failed */
};

static enum kl_rc work_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct kl_control_work *work = (struct kl_control_work *)unit;

    if (work->why[0]) {
        return kl_admin_request_fail(store, work->admin.id, work->why, (int64_t)time(NULL), err);
    }
    return kl_admin_request_step(store, &work->admin, (int64_t)time(NULL), err);
}

static void work_end(struct kl_control_work *work)
{
    if (work->control) {
        work->control->work = NULL;
    }
    free(work);
}

static void work_done(struct kl_unit *unit)
{
    struct kl_control_work *work = (struct kl_control_work *)unit;
    struct kl_err err = unit->err;
    int failing = work->why[0] != '\0';

    if (unit->rc == KL_OK && !failing && work->control && work->admin.more) {
        if (kl_committer_submit(work->control->service->committer, &work->unit, &err) == KL_OK) {
            return;
        }
        unit->rc = err.rc;
    }
    if (unit->rc != KL_OK && !failing && work->control) {
        kl_log(KL_LOG_ERROR, "request-failed", KL_NUM("request", work->admin.id), KL_LOG_ERR(&err));
        snprintf(work->why, sizeof(work->why), "armed %" PRIu64 ", then: %s", work->admin.armed,
                 err.text);
        if (kl_committer_submit(work->control->service->committer, &work->unit, &err) == KL_OK) {
            return;
        }
    }
    work_end(work);
}

enum kl_rc kl_control_work_begin(struct kl_control *control, uint64_t id, struct kl_err *err)
{
    struct kl_control_work *work;
    enum kl_rc rc;

    if (control->work) {
        return kl_err_set(err, KL_ERR_BUSY, "another request is being carried out");
    }
    if (!(work = calloc(1, sizeof(*work)))) {
        return kl_err_set(err, KL_ERR_MEMORY, "request");
    }
    work->unit.run = work_run;
    work->unit.done = work_done;
    work->control = control;
    work->admin.id = id;
    if ((rc = kl_committer_submit(control->service->committer, &work->unit, err)) != KL_OK) {
        free(work);
        return rc;
    }
    control->work = work;
    return KL_OK;
}

/* ---- Requests whose time is over ---- */

struct sweep_unit {
    struct kl_unit unit;
    int first; /* at the start: what was under way has failed */
};

static enum kl_rc sweep_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    int64_t now = (int64_t)time(NULL);
    enum kl_rc rc = KL_OK;

    if (((struct sweep_unit *)unit)->first) {
        rc = kl_admin_request_interrupted(store, now, err);
    }
    return rc == KL_OK ? kl_admin_request_expire(store, now, err) : rc;
}

static void sweep_done(struct kl_unit *unit)
{
    if (unit->rc != KL_OK) {
        kl_log(KL_LOG_DEBUG, "request-sweep-failed", KL_LOG_ERR(&unit->err));
    }
    free(unit);
}

static enum kl_rc sweep(struct kl_control *control, int first, struct kl_err *err)
{
    struct sweep_unit *unit = calloc(1, sizeof(*unit));
    enum kl_rc rc;

    if (!unit) {
        return kl_err_set(err, KL_ERR_MEMORY, "requests");
    }
    unit->unit.run = sweep_run;
    unit->unit.done = sweep_done;
    unit->first = first;
    if ((rc = kl_committer_submit(control->service->committer, &unit->unit, err)) != KL_OK) {
        free(unit);
    }
    return rc;
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct kl_control *control = arg;
    struct kl_err err = KL_ERR_INIT;

    (void)fd;
    (void)what;
    /* What an approval has set going is not overdue while it goes on. */
    if (!control->work) {
        (void)(sweep(control, 0, &err) == KL_OK); /* or next time */
    }
}

/* ---- Peers ---- */

/* Looked up once for each configuration: the system's groups may be somewhere slow. */
static enum kl_rc find_roles(struct kl_control *control, struct kl_err *err)
{
    const struct kl_config *config = control->service->config;
    struct kl_roles roles = {0};
    enum kl_rc rc = KL_OK;

    if (control->judged_by != config && (rc = kl_roles_find(config, &roles, err)) == KL_OK) {
        kl_config_unref(control->judged_by);
        control->judged_by = kl_config_ref(config);
        control->roles = roles;
    }
    return rc;
}

enum kl_rc kl_control_role(struct kl_control *control, const struct kl_peer_id *id,
                           enum kl_role *out, struct kl_err *err)
{
    static const struct kl_roles nobody;
    enum kl_rc rc = find_roles(control, err);

    /* Without groups there are root and the daemon's own user. */
    *out = kl_role_of(rc == KL_OK ? &control->roles : &nobody, id);
    return *out == KL_ROLE_NONE ? rc : KL_OK;
}

static size_t peers_of(const struct kl_control *control, uid_t uid)
{
    const struct kl_control_peer *peer;
    size_t count = 0;

    TAILQ_FOREACH(peer, &control->peers, link)
    {
        count += peer->id.uid == uid;
    }
    return count;
}

/* Says why, if the socket takes it at once, and closes. */
static void turn_away(int fd, const struct kl_err *err)
{
    char line[512];
    json_t *json =
        json_pack("{s:b, s:s, s:s}", "ok", 0, "rc", kl_rc_name(err->rc), "text", err->text);
    size_t len = json ? json_dumpb(json, line, sizeof(line) - 1, JSON_COMPACT) : 0;

    if (len > 0 && len < sizeof(line)) {
        line[len] = '\n';
        (void)send(fd, line, len + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    json_decref(json);
    close(fd);
}

static enum kl_rc admit(struct kl_control *control, const struct kl_peer_id *id, enum kl_role *role,
                        struct kl_err *err)
{
    enum kl_rc rc = kl_control_role(control, id, role, err);

    if (rc == KL_OK && *role == KL_ROLE_NONE) {
        rc = kl_err_set(err, KL_ERR_PERMISSION,
                        "you are neither operator nor auditor: [control] operators and auditors "
                        "name the groups");
    }
    if (rc != KL_OK) {
        kl_control_alarm(control, id->actor, "connect", err);
        return rc;
    }
    if (control->peer_count >= KL_CONTROL_PEERS ||
        peers_of(control, id->uid) >= KL_CONTROL_PEERS_USER) {
        return kl_err_set(err, KL_ERR_BUSY, "too many connections; try again");
    }
    return KL_OK;
}

static void on_accept(struct evconnlistener *evl, evutil_socket_t fd, struct sockaddr *address,
                      int address_len, void *arg)
{
    struct kl_control *control = arg;
    struct kl_err err = KL_ERR_INIT;
    struct kl_peer_id id = {0};
    enum kl_role role = KL_ROLE_NONE;

    (void)evl;
    (void)address;
    (void)address_len;
    if (kl_peer_id_of(fd, &id, &err) != KL_OK || admit(control, &id, &role, &err) != KL_OK) {
        turn_away(fd, &err);
        kl_peer_id_wipe(&id);
        return;
    }
    kl_control_peer_new(control, fd, &id, role);
}

static void on_accept_error(struct evconnlistener *evl, void *arg)
{
    struct kl_control *control = arg;
    const struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S};

    /* Out of descriptors, most likely: the one that waits would wake us again at once. */
    kl_log(KL_LOG_WARN, "control-accept-failed", KL_STR("cause", strerror(errno)));
    evconnlistener_disable(evl);
    evtimer_add(control->resume, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct kl_control *control = arg;

    (void)fd;
    (void)what;
    evconnlistener_enable(control->listener);
}

/* ---- The whole ---- */

static enum kl_rc start_reader(struct kl_control *control, struct kl_err *err)
{
    struct kl_service *service = control->service;
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_store_open(service->config->store, KL_STORE_READ, &store, err);

    if (rc == KL_OK &&
        (rc = kl_committer_new(service->base, store, &control->reader, err)) != KL_OK) {
        kl_store_free(store);
    }
    return rc;
}

static enum kl_rc start_listening(struct kl_control *control, int fd, struct kl_err *err)
{
    struct event_base *base = control->service->base;
    const struct timeval period = {.tv_sec = SWEEP_PERIOD_S};

    control->resume = evtimer_new(base, on_resume, control);
    control->sweep = event_new(base, -1, EV_PERSIST, on_sweep, control);
    control->listener = evconnlistener_new(base, on_accept, control,
                                           LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_CLOSE_ON_FREE, 0, fd);
    if (!control->listener) {
        close(fd);
    }
    if (!control->listener || !control->resume || !control->sweep ||
        event_add(control->sweep, &period) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "control socket");
    }
    evconnlistener_set_error_cb(control->listener, on_accept_error);
    return sweep(control, 1, err);
}

/* *fd becomes the listening socket. */
static enum kl_rc get_socket(struct kl_control *control, int *fd, struct kl_err *err)
{
    const struct kl_config *config = control->service->config;
    enum kl_rc rc = find_roles(control, err);

    if (rc != KL_OK) {
        return rc;
    }
    return *fd >= 0
               ? kl_control_adopt(*fd, err)
               : kl_control_bind(config->control_socket, &control->roles, fd, &control->file, err);
}

enum kl_rc kl_control_new(struct kl_service *service, int fd, struct kl_control **out,
                          struct kl_err *err)
{
    struct kl_control *control;
    enum kl_rc rc;

    *out = NULL;
    if (fd < 0 && !service->config->control_socket[0]) {
        return KL_OK;
    }
    if (!(control = calloc(1, sizeof(*control)))) {
        if (fd >= 0) {
            close(fd);
        }
        return kl_err_set(err, KL_ERR_MEMORY, "control socket");
    }
    TAILQ_INIT(&control->peers);
    TAILQ_INIT(&control->units);
    control->service = service;
    rc = get_socket(control, &fd, err);
    if (rc == KL_OK && (rc = start_reader(control, err)) == KL_OK) {
        rc = start_listening(control, fd, err); /* takes fd */
        fd = -1;
    }
    if (rc != KL_OK) {
        if (fd >= 0) {
            close(fd);
        }
        kl_control_free(control);
        return rc;
    }
    kl_log(KL_LOG_INFO, "control-listening",
           KL_STR("socket", control->file.path[0] ? control->file.path : "handed over"));
    *out = control;
    return KL_OK;
}

void kl_control_free(struct kl_control *control)
{
    struct kl_control_peer *peer;

    if (!control) {
        return;
    }
    if (control->listener) {
        evconnlistener_free(control->listener);
    }
    kl_control_remove(&control->file);
    while ((peer = TAILQ_FIRST(&control->peers)) != NULL) {
        kl_control_peer_free(peer);
    }
    kl_control_forget_units(control);
    if (control->work) {
        control->work->control = NULL; /* its unit is still to come back */
    }
    kl_committer_free(control->reader);
    if (control->resume) {
        event_free(control->resume);
    }
    if (control->sweep) {
        event_free(control->sweep);
    }
    kl_config_unref(control->judged_by);
    free(control);
}
