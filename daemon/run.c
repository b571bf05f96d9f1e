/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The network process: puts certificates, store thread, worker pool and listener together, in
 * that order, and takes them apart in reverse. Terminals are accepted only once the first HSM
 * worker has passed its self-test and holds the keys of the installed certificates.
 */
#include "daemon/run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "conf/log.h"
#include "daemon/census.h"
#include "daemon/committer.h"
#include "daemon/control.h"
#include "daemon/listener.h"
#include "daemon/monitor.h"
#include "daemon/reload.h"
#include "daemon/service.h"
#include "daemon/store_wrap.h"
#include "daemon/trust.h"
#include "daemon/worker.h"

#define SWEEP_PERIOD_S 30
#define SIGNALS 3

struct kl_daemon {
    struct kl_service service;
    struct kl_listener *listener;
    struct kl_control *control;     /* NULL = none */
    struct event *signals[SIGNALS]; /* SIGTERM, SIGINT, SIGHUP */
    struct kl_census_taker *census;
    struct kl_monitor *monitor; /* NULL = none */
    struct event *sweep;
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
    return kl_reload_check(((struct kl_daemon *)arg)->service.reload, ready, err);
}

static void on_pool_rolled(const struct kl_err *err, void *arg)
{
    kl_reload_rolled(((struct kl_daemon *)arg)->service.reload, err);
}

static void on_pool_down(const struct kl_err *err, void *arg)
{
    stop(arg, err);
}

static void on_pool_up(void *arg)
{
    struct kl_daemon *daemon = arg;
    struct kl_err err = KL_ERR_INIT;

    if (!daemon->service.draining &&
        kl_listener_new(&daemon->service, &daemon->listener, &err) != KL_OK) {
        stop(daemon, &err);
        return;
    }
    (void)sd_notify(0, "READY=1");
    event_active(daemon->sweep, EV_TIMEOUT, 0);
    kl_reload_up(daemon->service.reload);
}

static void on_drained(void *arg)
{
    stop(arg, NULL);
}

static void on_drain_timeout(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    kl_log(KL_LOG_WARN, "drain-timeout", KL_STR("detail", "loads under way are cut off"));
    stop(arg, NULL);
}

void kl_run_drain(struct kl_service *service, const char *why)
{
    struct kl_daemon *daemon = service->daemon;
    const struct timeval limit = {.tv_sec = (time_t)service->config->drain_timeout};

    if (service->draining) {
        return;
    }
    kl_log(KL_LOG_INFO, "draining", KL_STR("reason", why));
    (void)sd_notify(0, "STOPPING=1");
    service->draining = 1;
    if (daemon->listener == NULL) {
        stop(daemon, NULL);
        return;
    }
    evtimer_add(daemon->drain_timer, &limit);
    kl_listener_drain(daemon->listener, on_drained, daemon);
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

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct kl_daemon *daemon = arg;
    struct sweep_unit *sweep = calloc(1, sizeof(*sweep));
    struct kl_err err = KL_ERR_INIT;

    (void)fd;
    (void)what;
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
    for (size_t i = 0; i < SIGNALS; i++) {
        if (daemon->signals[i] == NULL || evsignal_add(daemon->signals[i], NULL) != 0) {
            return kl_err_set(err, KL_ERR_MEMORY, "event loop");
        }
    }
    if (daemon->drain_timer == NULL || daemon->sweep == NULL ||
        event_add(daemon->sweep, &period) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "event loop");
    }
    return KL_OK;
}

static enum kl_rc start_store(struct kl_daemon *daemon, struct kl_err *err)
{
    struct kl_service *service = &daemon->service;
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_store_open(service->config->store, KL_STORE_CREATE, &store, err);

    if (rc == KL_OK) {
        rc = kl_store_claim(store, err);
    }
    if (rc == KL_OK) {
        rc = kl_store_wrap_start(store, service->config->storage_key, err);
    }
    if (rc == KL_OK) {
        rc = kl_committer_new(service->base, store, &service->committer, err);
    }
    if (rc != KL_OK) {
        kl_store_free(store);
    }
    return rc;
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

    kl_control_free(daemon->control);
    kl_monitor_free(daemon->monitor);
    kl_listener_free(daemon->listener);
    kl_pool_free(service->pool);
    kl_reload_free(daemon->service.reload);
    kl_committer_free(service->committer);
    kl_census_free(daemon->census);
    for (size_t i = 0; i < SIGNALS; i++) {
        event_release(daemon->signals[i]);
    }
    event_release(daemon->sweep);
    event_release(daemon->drain_timer);
    if (service->base != NULL) {
        event_base_free(service->base);
    }
    kl_trust_free(service->trust);
    kl_config_unref(service->config);
}

enum kl_rc kl_run_check(const struct kl_config *config, struct kl_err *err)
{
    struct kl_trust *trust = NULL;
    struct kl_store *store = NULL;
    struct kl_job_wants wants;
    struct kl_job_ready *ready = calloc(1, sizeof(*ready));
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
        kl_reload_wants(trust, NULL, &wants);
        rc = kl_worker_check(config, &wants, ready, err);
    }
    if (rc == KL_OK) {
        rc = kl_reload_bind(trust, config, ready, err);
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
        .arg = daemon,
    };
    struct kl_job_wants wants;

    kl_reload_wants(service->trust, NULL, &wants);
    return kl_pool_new(service->base, service->config, &wants, &events, &service->pool, err);
}

enum kl_rc kl_run(const char *path, const struct kl_config *config, struct kl_err *err)
{
    struct kl_daemon daemon = {.err = KL_ERR_INIT};
    struct kl_service *service = &daemon.service;
    enum kl_rc rc;

    service->daemon = &daemon;
    service->config_path = path;
    service->config = kl_config_ref(config);
    TAILQ_INIT(&service->conns);
    kl_metrics_init(&service->metrics);
    rc = kl_config_servable(config, err);
    if (rc == KL_OK) {
        rc = kl_trust_load(config, time(NULL), &service->trust, err);
    }
    if (rc == KL_OK) {
        rc = make_events(&daemon, err);
    }
    if (rc == KL_OK) {
        rc = kl_reload_new(service, &service->reload, err);
    }
    if (rc == KL_OK) {
        rc = start_store(&daemon, err);
    }
    if (rc == KL_OK) {
        rc = kl_census_new(service, &daemon.census, err);
    }
    if (rc == KL_OK) {
        rc = kl_control_new(service, -1, &daemon.control, err);
    }
    if (rc == KL_OK) {
        rc = start_pool(&daemon, err);
    }
    if (rc == KL_OK) {
        rc = kl_monitor_new(service, &daemon.monitor, err);
    }
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
