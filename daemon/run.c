/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The network process: puts certificates, store thread, worker pool and listener together, in
 * that order, and takes them apart in reverse. Terminals are accepted only once the first HSM
 * worker has passed its self-test and holds the keys of the installed certificates.
 */
#include "daemon/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/audit/hsm_trail.h"
#include "daemon/audit/trail.h"
#include "daemon/control/control.h"
#include "daemon/hsm/worker.h"
#include "daemon/loader/conn.h"
#include "daemon/loader/listener.h"
#include "daemon/loader/trust.h"
#include "daemon/monitor/census.h"
#include "daemon/monitor/monitor.h"
#include "daemon/process/clockwatch.h"
#include "daemon/process/handover.h"
#include "daemon/process/manager.h"
#include "daemon/process/process.h"
#include "daemon/reload.h"
#include "daemon/service.h"
#include "daemon/store/committer.h"
#include "daemon/store/store_wrap.h"

#define SWEEP_PERIOD_S 30
#define SIGNALS 3

struct kl_daemon {
    struct kl_service service;
    const struct kl_run_options *options;
    struct kl_sockets sockets;
    struct kl_listener *listener;
    struct kl_control *control;   /* NULL = none */
    struct kl_handover *handover; /* to the next daemon */
    struct kl_takeover *takeover; /* from the one before */
    struct kl_manager *manager;
    struct kl_clockwatch *clock;
    struct kl_pidfile *pidfile;
    struct kl_hsm_trail hsm_trail;
    int handing_over;
    struct event *signals[SIGNALS]; /* SIGTERM, SIGINT, SIGHUP */
    struct kl_census_taker *census;
    struct kl_monitor *monitor; /* NULL = none */
    struct event *sweep;
    struct event *look; /* at what the HSMs' modules let through */
    struct event *drain_timer;
    struct kl_err err; /* why the loop ended, KL_OK for a drain */
};

/* ---- Start and stop ---- */

static void stop(struct kl_daemon *daemon, const struct kl_err *err)
{
    if (err != NULL) {
        daemon->err = *err;
    }
    event_base_loopbreak(daemon->service.base);
}

static enum kl_rc on_pool_check(const struct kl_job_ready *ready, void *arg, struct kl_err *err)
{
    struct kl_daemon *daemon = arg;
    enum kl_rc rc = kl_reload_check(daemon->service.reload, ready, err);

    /* Once the pool has taken it: what its module lets through goes on record. */
    if (rc == KL_OK) {
        event_active(daemon->look, EV_TIMEOUT, 0);
    }
    return rc;
}

static void on_pool_rolled(const struct kl_err *err, void *arg)
{
    kl_reload_rolled(((struct kl_daemon *)arg)->service.reload, err);
}

static void on_pool_down(const struct kl_err *err, void *arg)
{
    stop(arg, err);
}

/* ---- The store, and who asks for it ---- */

/* The service manager's socket stays ours over a hand-over that comes to nothing. */
static enum kl_rc start_control(struct kl_daemon *daemon, struct kl_err *err)
{
    int fd = daemon->sockets.fd[kl_sockets_place(KL_SOCKET_CONTROL)];

    if (fd >= 0 && (fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0) {
        return kl_err_errno(err, "fcntl", "the socket '" KL_SOCKET_CONTROL "'");
    }
    return kl_control_new(&daemon->service, fd, &daemon->control, err);
}

static enum kl_rc start_store(struct kl_daemon *daemon, struct kl_err *err)
{
    struct kl_service *service = &daemon->service;
    struct kl_store *store = NULL;
    int missing = access(service->config->store, F_OK) != 0 && errno == ENOENT;
    enum kl_rc rc = kl_store_open(service->config->store, KL_STORE_CREATE, &store, err);

    if (rc == KL_OK && missing) {
        kl_log(KL_LOG_WARN, "store-made", KL_STR("file", service->config->store),
               KL_STR("means", "there was none: no terminal is registered"));
    }
    if (rc == KL_OK) {
        rc = kl_store_claim(store, err);
    }
    if (rc == KL_OK) {
        rc = kl_store_wrap_start(store, service->config->storage_key, err);
    }
    if (rc == KL_OK) {
        rc = kl_store_wal_aside(store, err);
    }
    if (rc == KL_OK) {
        rc = kl_committer_new(service->base, store, &service->committer, err);
    }
    if (rc != KL_OK) {
        kl_store_free(store);
        return rc;
    }
    return start_control(daemon, err);
}

static void stop_store(struct kl_daemon *daemon)
{
    kl_control_free(daemon->control);
    daemon->control = NULL;
    kl_committer_free(daemon->service.committer);
    daemon->service.committer = NULL;
}

/* ---- To the next daemon ---- */

static enum kl_rc on_lend(struct kl_sockets *out, void *arg, struct kl_err *err)
{
    const struct kl_daemon *daemon = arg;

    if (daemon->listener == NULL || daemon->service.draining) {
        return kl_err_set(err, KL_ERR_UNAVAILABLE, "it is starting or draining");
    }
    out->fd[kl_sockets_place(KL_SOCKET_LAN)] = kl_listener_fd(daemon->listener);
    return KL_OK;
}

static void on_handover_drained(void *arg)
{
    struct kl_daemon *daemon = arg;

    evtimer_del(daemon->drain_timer);
    event_del(daemon->sweep);
    kl_monitor_free(daemon->monitor); /* its place is the next one's, as the operators' socket's */
    daemon->monitor = NULL;
    stop_store(daemon);
    kl_handover_released(daemon->handover);
}

static void on_handover_drain(void *arg)
{
    struct kl_daemon *daemon = arg;
    const struct timeval limit = {.tv_sec = (time_t)daemon->service.config->drain_timeout};

    daemon->service.draining = daemon->handing_over = 1;
    evtimer_add(daemon->drain_timer, &limit);
    kl_listener_drain(daemon->listener, 1, on_handover_drained, daemon);
}

/* What there is one of: the store, the operators' socket, the monitor's. */
static enum kl_rc retake(struct kl_daemon *daemon, struct kl_err *err)
{
    enum kl_rc rc = start_store(daemon, err);

    return rc == KL_OK ? kl_monitor_new(&daemon->service, &daemon->monitor, err) : rc;
}

static void on_handover_resume(void *arg)
{
    struct kl_daemon *daemon = arg;
    const struct timeval period = {.tv_sec = SWEEP_PERIOD_S};
    struct kl_err err = KL_ERR_INIT;

    evtimer_del(daemon->drain_timer);
    if (daemon->service.committer == NULL && retake(daemon, &err) != KL_OK) {
        stop(daemon, &err);
        return;
    }
    daemon->service.draining = daemon->handing_over = 0;
    event_add(daemon->sweep, &period);
    kl_listener_resume(daemon->listener);
}

static void on_handover_over(pid_t pid, void *arg)
{
    kl_manager_replaced((long)pid);
    stop(arg, NULL);
}

static enum kl_rc start_handover(struct kl_daemon *daemon, struct kl_err *err)
{
    const struct kl_config *config = daemon->service.config;
    const struct kl_handover_events events = {
        .lend = on_lend,
        .drain = on_handover_drain,
        .resume = on_handover_resume,
        .over = on_handover_over,
        .arg = daemon,
    };

    return kl_handover_new(daemon->service.base, config->store, (unsigned)config->drain_timeout,
                           &events, &daemon->handover, err);
}

/* ---- Serving ---- */

/* With a store that is ours: accepts. */
static enum kl_rc begin_to_accept(struct kl_daemon *daemon, struct kl_err *err)
{
    int given = 0, fd;

    if (kl_sockets_bind(&daemon->sockets, daemon->service.config, err) != KL_OK) {
        return err->rc;
    }
    fd = kl_sockets_take(&daemon->sockets, KL_SOCKET_LAN, &given);
    if (kl_listener_new(&daemon->service, fd, given, &daemon->listener, err) != KL_OK) {
        return err->rc;
    }
    kl_manager_ready();
    kl_process_ready();
    event_active(daemon->sweep, EV_TIMEOUT, 0);
    kl_reload_up(daemon->service.reload);
    return KL_OK;
}

static void on_pool_up(void *arg)
{
    struct kl_daemon *daemon = arg;
    struct kl_err err = KL_ERR_INIT;

    if (daemon->takeover != NULL) {
        kl_takeover_ask(daemon->takeover);
    } else if (begin_to_accept(daemon, &err) != KL_OK || start_handover(daemon, &err) != KL_OK) {
        stop(daemon, &err);
    }
}

/* ---- From the daemon before ---- */

static enum kl_rc on_takeover_sockets(struct kl_sockets *sockets, void *arg, struct kl_err *err)
{
    struct kl_daemon *daemon = arg;

    if (sockets->fd[kl_sockets_place(KL_SOCKET_LAN)] < 0) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "the daemon that serves gave no socket");
    }
    if (kl_sockets_check(sockets, daemon->service.config, err) != KL_OK) {
        return err->rc;
    }
    kl_sockets_wipe(&daemon->sockets);
    daemon->sockets = *sockets;
    *sockets = KL_SOCKETS_NONE;
    return KL_OK;
}

static void on_takeover_released(void *arg)
{
    struct kl_daemon *daemon = arg;
    struct kl_err err = KL_ERR_INIT;

    if (retake(daemon, &err) != KL_OK || begin_to_accept(daemon, &err) != KL_OK) {
        stop(daemon, &err); /* by which the other one serves on */
        return;
    }
    kl_takeover_claimed(daemon->takeover);
    if (start_handover(daemon, &err) != KL_OK) { /* too late to go back */
        kl_log(KL_LOG_ERROR, "handover-unavailable", KL_LOG_ERR(&err));
    }
}

static void on_takeover_failed(const struct kl_err *err, void *arg)
{
    stop(arg, err);
}

/* Only now the other one has let go of the pid file. */
static void on_takeover_ended(void *arg)
{
    struct kl_daemon *daemon = arg;
    const struct kl_run_options *options = daemon->options;
    struct kl_err err = KL_ERR_INIT;

    kl_log(KL_LOG_INFO, "taken-over", KL_STR("detail", "the daemon before has ended"));
    if (options->pidfile != NULL &&
        kl_pidfile_new(options->pidfile, geteuid(), getegid(), &daemon->pidfile, &err) != KL_OK) {
        kl_log(KL_LOG_ERROR, "pidfile-failed", KL_LOG_ERR(&err));
    }
}

static enum kl_rc start_takeover(struct kl_daemon *daemon, struct kl_err *err)
{
    const struct kl_takeover_events events = {
        .sockets = on_takeover_sockets,
        .released = on_takeover_released,
        .failed = on_takeover_failed,
        .ended = on_takeover_ended,
        .arg = daemon,
    };

    return kl_takeover_new(daemon->service.base, daemon->service.config->store, &events,
                           &daemon->takeover, err);
}

/* ---- Draining ---- */

static void on_finished(void *arg)
{
    stop(arg, NULL);
}

static void on_pool_served(const struct kl_pool_served *served, void *arg)
{
    struct kl_daemon *daemon = arg;
    enum kl_job_group group = served->kind == KL_JOB_LOAD      ? KL_JOBS_LOAD
                              : served->kind == KL_JOB_SIGN_IN ? KL_JOBS_SIGN_IN
                                                               : KL_JOBS_OTHER;

    kl_histogram_add(&daemon->service.metrics.job_time[served->hsm][group], KL_HISTOGRAM_TIME,
                     served->ms * 1000);
}

static void on_drained(void *arg)
{
    kl_trail_finish(((struct kl_daemon *)arg)->service.trail, on_finished, arg);
}

static void on_drain_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct kl_daemon *daemon = arg;

    (void)fd;
    (void)what;
    kl_log(KL_LOG_WARN, "drain-timeout", KL_STR("detail", "loads under way are cut off"));
    if (daemon->handing_over) {
        kl_conn_close_all(&daemon->service); /* then it is drained */
    } else {
        stop(daemon, NULL);
    }
}

void kl_run_drain(struct kl_service *service, const char *why)
{
    struct kl_daemon *daemon = service->daemon;
    const struct timeval limit = {.tv_sec = (time_t)service->config->drain_timeout};

    if (service->draining) {
        return;
    }
    kl_log(KL_LOG_INFO, "draining", KL_STR("reason", why));
    kl_manager_stopping(service->config->drain_timeout);
    service->draining = 1;
    if (daemon->listener == NULL) {
        stop(daemon, NULL);
        return;
    }
    evtimer_add(daemon->drain_timer, &limit);
    kl_listener_drain(daemon->listener, 0, on_drained, daemon);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct kl_daemon *daemon = arg;

    (void)what;
    if (daemon->service.draining) {
        stop(daemon, NULL); /* asked twice: now */
        return;
    }
    kl_run_drain(&daemon->service, fd == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
    const struct kl_daemon *daemon = arg;

    (void)fd;
    (void)what;
    kl_reload_request(daemon->service.reload, NULL, NULL);
}

/* ---- TMKs whose time is over ---- */

/* Candidates that nobody confirmed, and TMKs that have been superseded for long enough. */
struct sweep_unit {
    struct kl_unit unit;
    uint64_t grace;
    size_t expired, retired;
};

static enum kl_rc sweep_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct sweep_unit *sweep = (struct sweep_unit *)unit;
    int64_t now = (int64_t)time(NULL);
    enum kl_rc rc = kl_life_expire(store, now, &sweep->expired, err);

    return rc == KL_OK ? kl_life_retire(store, sweep->grace, now, &sweep->retired, err) : rc;
}

static void sweep_done(struct kl_unit *unit)
{
    struct sweep_unit *sweep = (struct sweep_unit *)unit;

    if (unit->rc == KL_ERR_FULL || unit->rc == KL_ERR_IO) {
        kl_log(KL_LOG_DEBUG, "sweep-failed",
               KL_LOG_ERR(&unit->err)); /* the committer has said so */
    } else if (unit->rc != KL_OK) {
        kl_log(KL_LOG_ERROR, "sweep-failed", KL_LOG_ERR(&unit->err));
    } else {
        if (sweep->expired > 0) {
            kl_log(KL_LOG_INFO, "tmk-expired", KL_NUM("count", sweep->expired));
        }
        if (sweep->retired > 0) {
            kl_log(KL_LOG_INFO, "tmk-retired", KL_NUM("count", sweep->retired));
        }
    }
    free(sweep);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct kl_daemon *daemon = arg;

    (void)fd;
    (void)what;
    if (daemon->service.committer != NULL) {
        kl_hsm_trail_look(&daemon->hsm_trail, &daemon->service);
    }
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct kl_daemon *daemon = arg;
    struct sweep_unit *sweep = calloc(1, sizeof(*sweep));
    struct kl_err err = KL_ERR_INIT;

    on_look(fd, what, arg); /* what could not be recorded before */
    if (sweep == NULL) {
        return; /* next time */
    }
    sweep->unit.run = sweep_run;
    sweep->unit.done = sweep_done;
    sweep->grace = daemon->service.config->superseded_grace;
    if (kl_committer_submit(daemon->service.committer, &sweep->unit, &err) != KL_OK) {
        free(sweep);
    }
}

/* ---- The wall clock ---- */

struct clock_unit {
    struct kl_unit unit;
    int64_t seconds;
    size_t armings;
};

static enum kl_rc clock_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct clock_unit *step = (struct clock_unit *)unit;

    return kl_life_clock_stepped(store, step->seconds, (int64_t)time(NULL), &step->armings, err);
}

static void clock_done(struct kl_unit *unit)
{
    struct clock_unit *step = (struct clock_unit *)unit;

    if (unit->rc != KL_OK) {
        kl_log(KL_LOG_ERROR, "clock-step-failed", KL_LOG_ERR(&unit->err));
    } else if (step->armings > 0) {
        kl_log(KL_LOG_WARN, "armings-shortened", KL_NUM("count", step->armings),
               KL_NUM("seconds", -step->seconds));
    }
    free(step);
}

static void on_clock_step(int64_t seconds, void *arg)
{
    struct kl_daemon *daemon = arg;
    struct clock_unit *step = calloc(1, sizeof(*step));
    struct kl_err err = KL_ERR_INIT;

    kl_log(KL_LOG_WARN, "clock-stepped", KL_NUM("seconds", seconds));
    daemon->service.metrics.clock_steps++;
    kl_trust_warn(daemon->service.trust, time(NULL));
    if (step == NULL) {
        kl_log(KL_LOG_ERROR, "clock-step-failed", KL_STR("detail", "out of memory"));
        return;
    }
    step->unit.run = clock_run;
    step->unit.done = clock_done;
    step->seconds = seconds;
    if (kl_committer_submit(daemon->service.committer, &step->unit, &err) != KL_OK) {
        kl_log(KL_LOG_ERROR, "clock-step-failed", KL_LOG_ERR(&err));
        free(step);
    }
}

/* ---- The whole ---- */

static enum kl_rc make_events(struct kl_daemon *daemon, struct kl_err *err)
{
    struct event_base *base = event_base_new();
    const struct timeval period = {.tv_sec = SWEEP_PERIOD_S};

    daemon->service.base = base;
    if (base == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "event loop");
    }
    daemon->signals[0] = evsignal_new(base, SIGTERM, on_signal, daemon);
    daemon->signals[1] = evsignal_new(base, SIGINT, on_signal, daemon);
    daemon->signals[2] = evsignal_new(base, SIGHUP, on_hangup, daemon);
    daemon->drain_timer = evtimer_new(base, on_drain_timeout, daemon);
    daemon->sweep = event_new(base, -1, EV_PERSIST, on_sweep, daemon);
    daemon->look = evtimer_new(base, on_look, daemon);
    for (size_t i = 0; i < SIGNALS; i++) {
        if (daemon->signals[i] == NULL || evsignal_add(daemon->signals[i], NULL) != 0) {
            return kl_err_set(err, KL_ERR_MEMORY, "event loop");
        }
    }
    if (daemon->drain_timer == NULL || daemon->sweep == NULL || daemon->look == NULL ||
        event_add(daemon->sweep, &period) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "event loop");
    }
    return KL_OK;
}

static void event_release(struct event *event)
{
    if (event != NULL) {
        event_free(event);
    }
}

static void daemon_wipe(struct kl_daemon *daemon)
{
    struct kl_service *service = &daemon->service;

    kl_handover_free(daemon->handover); /* first: the next daemon sees at once that we end */
    kl_takeover_free(daemon->takeover);
    kl_control_free(daemon->control);
    kl_monitor_free(daemon->monitor);
    kl_trail_stop(service->trail);
    kl_listener_free(daemon->listener);
    kl_sockets_wipe(&daemon->sockets);
    kl_manager_free(daemon->manager);
    kl_clockwatch_free(daemon->clock);
    kl_pidfile_free(daemon->pidfile);
    kl_pool_free(service->pool);
    kl_reload_free(daemon->service.reload);
    kl_committer_free(service->committer);
    kl_census_free(daemon->census);
    kl_trail_free(service->trail);
    for (size_t i = 0; i < SIGNALS; i++) {
        event_release(daemon->signals[i]);
    }
    event_release(daemon->sweep);
    event_release(daemon->look);
    event_release(daemon->drain_timer);
    if (service->base != NULL) {
        event_base_free(service->base);
    }
    kl_trust_free(service->trust);
    kl_config_unref(service->config);
}

/* Every HSM, one after the other; their keys must be the same ones. */
static enum kl_rc check_hsms(const struct kl_config *config, struct kl_trust *trust,
                             struct kl_job_ready *ready, struct kl_err *err)
{
    struct kl_job_wants wants;
    enum kl_rc rc = KL_OK;

    kl_reload_wants(trust, NULL, &wants);
    for (size_t i = 0; rc == KL_OK && i < kl_config_hsm_count(config); i++) {
        rc = kl_worker_check(config, i, &wants, &ready[i], err);
        if (rc == KL_OK) {
            rc = kl_reload_bind(trust, config, &ready[i], err);
        }
        if (rc == KL_OK) {
            rc = kl_job_same_store_keys(&ready[0], &ready[i], err);
        }
        if (rc != KL_OK) {
            rc = kl_err_context(err, "[%s]", kl_config_hsm_name(i));
        }
    }
    return rc;
}

enum kl_rc kl_run_check(const struct kl_config *config, struct kl_err *err)
{
    struct kl_trust *trust = NULL;
    struct kl_store *store = NULL;
    struct kl_job_ready *ready = calloc(KL_HSM_MAX, sizeof(*ready));
    enum kl_rc rc;

    if (ready == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "work keys");
    }
    rc = kl_trust_load(config, time(NULL), &trust, err);
    if (rc == KL_OK) {
        rc = kl_store_open(config->store, KL_STORE_READ, &store, err);
    }
    if (rc == KL_OK) {
        rc = kl_store_wrap_check(store, config->storage_key, err);
    }
    if (rc == KL_OK) {
        rc = check_hsms(config, trust, ready, err);
    }
    if (rc == KL_OK) {
        kl_trust_warn(trust, time(NULL));
    }
    kl_store_free(store);
    kl_trust_free(trust);
    free(ready);
    return rc;
}

static enum kl_rc start_pool(struct kl_daemon *daemon, struct kl_err *err)
{
    struct kl_service *service = &daemon->service;
    const struct kl_pool_events events = {
        .check = on_pool_check,
        .up = on_pool_up,
        .down = on_pool_down,
        .rolled = on_pool_rolled,
        .served = on_pool_served,
        .arg = daemon,
    };
    struct kl_job_wants wants;

    kl_reload_wants(service->trust, NULL, &wants);
    return kl_pool_new(service->base, service->config, &wants, &events, &service->pool, err);
}

static enum kl_rc start(struct kl_daemon *daemon, struct kl_err *err)
{
    struct kl_service *service = &daemon->service;
    enum kl_rc rc = kl_config_servable(service->config, err);

    if (rc == KL_OK) {
        rc = kl_trust_load(service->config, time(NULL), &service->trust, err);
    }
    if (rc == KL_OK) {
        rc = make_events(daemon, err);
    }
    if (rc == KL_OK) {
        rc = kl_manager_new(service, &daemon->manager, err);
    }
    if (rc == KL_OK) {
        rc = kl_clockwatch_new(service->base, on_clock_step, daemon, &daemon->clock, err);
    }
    if (rc == KL_OK) {
        rc = kl_reload_new(service, &service->reload, err);
    }
    if (rc == KL_OK) {
        rc = kl_census_new(service, &daemon->census, err);
    }
    if (rc == KL_OK) {
        rc = daemon->options->take_over ? start_takeover(daemon, err) : start_store(daemon, err);
    }
    if (rc == KL_OK) {
        rc = start_pool(daemon, err);
    }
    if (rc == KL_OK && !daemon->options->take_over) {
        rc = kl_monitor_new(service, &daemon->monitor, err);
    }
    if (rc == KL_OK) {
        rc = kl_trail_new(service, &service->trail, err);
    }
    return rc;
}

enum kl_rc kl_run(const struct kl_run_options *options, const struct kl_config *config,
                  struct kl_sockets *sockets, struct kl_err *err)
{
    struct kl_daemon daemon = {.err = KL_ERR_INIT, .options = options, .sockets = *sockets};
    struct kl_service *service = &daemon.service;
    enum kl_rc rc;

    *sockets = KL_SOCKETS_NONE;
    service->daemon = &daemon;
    service->config_path = options->config_path;
    service->config = kl_config_ref(config);
    TAILQ_INIT(&service->conns);
    kl_metrics_init(&service->metrics);
    rc = start(&daemon, err);
    if (rc != KL_OK) {
        goto out;
    }
    if (event_base_dispatch(daemon.service.base) < 0) {
        rc = kl_err_set(err, KL_ERR_INTERNAL, "the event loop failed");
        goto out;
    }
    rc = daemon.err.rc;
    if (rc != KL_OK) {
        *err = daemon.err;
    }
out:
    daemon_wipe(&daemon);
    kl_log(rc == KL_OK ? KL_LOG_INFO : KL_LOG_ERROR, "stopped", KL_STR("rc", kl_rc_name(rc)));
    return rc;
}
