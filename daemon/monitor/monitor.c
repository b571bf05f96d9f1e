/* SPDX-License-Identifier: BSD-2-Clause */
/* The monitor's side in the daemon's loop: views, and where they are shown. */
#include "daemon/monitor/monitor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/monitor/metrics_text.h"
#include "daemon/monitor/monitor_http.h"
#include "daemon/monitor/monitor_where.h"
#include "daemon/monitor/status.h"
#include "proto/clock.h"

struct kl_monitor {
    struct kl_service *service;
    struct kl_monitor_http *http;
    struct event *timer;
    struct kl_monitor_where where; /* as bound */
};

/* ---- Views ---- */

/* With a newline at the end, as people read it in a terminal too. */
static char *as_text(json_t *object)
{
    char *json = object != NULL ? json_dumps(object, JSON_INDENT(1)) : NULL, *text = NULL;

    if (json != NULL && asprintf(&text, "%s\n", json) < 0) {
        text = NULL;
    }
    free(json);
    json_decref(object);
    return text;
}

/* NULL: out of memory; the one before goes on, and grows old. */
static struct kl_monitor_view *make_view(const struct kl_service *service)
{
    struct kl_monitor_view *view = calloc(1, sizeof(*view));
    json_t *readiness;

    if (view == NULL) {
        return NULL;
    }
    atomic_init(&view->references, 1);
    view->made_us = kl_clock_us();
    view->metrics = kl_metrics_text(service, &view->metrics_len);
    view->status = as_text(kl_status_json(service));
    readiness = kl_status_ready(service);
    view->ready = json_is_true(json_object_get(readiness, "ready"));
    view->readiness = as_text(readiness);
    if (view->metrics == NULL || view->status == NULL || view->readiness == NULL) {
        kl_monitor_view_unref(view);
        return NULL;
    }
    return view;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    const struct kl_monitor *monitor = arg;
    struct kl_monitor_view *view = make_view(monitor->service);

    (void)fd;
    (void)what;
    if (view != NULL) {
        kl_monitor_http_publish(monitor->http, view);
    }
}

/* ---- Life ---- */

static void log_where(const struct kl_monitor *monitor)
{
    const struct sockaddr_storage *at = &monitor->where.address.room;
    char text[INET6_ADDRSTRLEN] = "";

    if (monitor->where.family == AF_UNIX) {
        kl_log(KL_LOG_INFO, "monitoring",
               KL_STR("socket", monitor->where.address.unix_socket.sun_path));
        return;
    }
    inet_ntop(monitor->where.family,
              monitor->where.family == AF_INET
                  ? (const void *)&((const struct sockaddr_in *)(const void *)at)->sin_addr
                  : (const void *)&((const struct sockaddr_in6 *)(const void *)at)->sin6_addr,
              text, sizeof(text));
    kl_log(KL_LOG_INFO, "monitoring", KL_STR("address", text),
           /* sin_port and sin6_port stand in the same place (RFC 3493, section 3.3) */
           KL_NUM("port", ntohs(((const struct sockaddr_in *)(const void *)at)->sin_port)));
}

static enum kl_rc start(struct kl_monitor *monitor, struct kl_err *err)
{
    const struct timeval period = {.tv_sec = 1};
    struct kl_monitor_view *view;
    socklen_t len = sizeof(monitor->where.address.room);
    int fd;

    if (kl_monitor_bind(&monitor->where, &fd, err) != KL_OK) {
        return err->rc;
    }
    if (monitor->where.family != AF_UNIX) {
        (void)getsockname(fd, &monitor->where.address.any, &len);
    }
    monitor->timer = event_new(monitor->service->base, -1, EV_PERSIST, on_timer, monitor);
    view = make_view(monitor->service);
    if (monitor->timer == NULL || event_add(monitor->timer, &period) != 0 || view == NULL) {
        close(fd);
        kl_monitor_view_unref(view);
        return kl_err_set(err, KL_ERR_MEMORY, "monitor");
    }
    return kl_monitor_http_new(fd, monitor->where.family == AF_UNIX, view, &monitor->http, err);
}

enum kl_rc kl_monitor_new(struct kl_service *service, struct kl_monitor **out, struct kl_err *err)
{
    struct kl_monitor *monitor = calloc(1, sizeof(*monitor));

    if (monitor == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "monitor");
    }
    monitor->service = service;
    if (kl_monitor_parse(service->config->monitor_listen, &monitor->where, err) != KL_OK) {
        free(monitor);
        return kl_err_context(err, "[monitor] listen");
    }
    if (monitor->where.family == 0) {
        free(monitor);
        *out = NULL;
        return KL_OK;
    }
    if (start(monitor, err) != KL_OK) {
        monitor->where.family = 0; /* whatever is there is not ours */
        kl_monitor_free(monitor);
        return kl_err_context(err, "monitor");
    }
    log_where(monitor);
    *out = monitor;
    return KL_OK;
}

void kl_monitor_free(struct kl_monitor *monitor)
{
    if (monitor == NULL) {
        return;
    }
    kl_monitor_http_free(monitor->http);
    if (monitor->timer != NULL) {
        event_free(monitor->timer);
    }
    if (monitor->where.family == AF_UNIX) {
        (void)unlink(monitor->where.address.unix_socket.sun_path);
    }
    free(monitor);
}
