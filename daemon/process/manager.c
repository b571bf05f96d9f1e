/* SPDX-License-Identifier: BSD-2-Clause */
/* What the service manager hears of us. */
#include "daemon/process/manager.h"

#include <inttypes.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/loader/conn.h"

#define STATUS_S 10
#define GOODBYE_S 30 /* beyond the drain: workers, and the last transaction */

struct kl_manager {
    struct kl_service *service;
    struct event *watchdog, *status; /* NULL where nobody wants to know */
    int64_t stuck_max_ms;
    int withheld;
};

/* Half of the time that the manager gives us: what the store is at for longer is no transaction. */
static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    struct kl_manager *manager = arg;
    int64_t stuck = kl_committer_stuck_ms(manager->service->committer);

    (void)fd;
    (void)what;
    if (stuck < manager->stuck_max_ms) {
        manager->withheld = 0;
        (void)sd_notify(0, "WATCHDOG=1");
    } else if (!manager->withheld) {
        manager->withheld = 1;
        kl_log(KL_LOG_ERROR, "watchdog-withheld", KL_NUM("store-stuck-ms", stuck),
               KL_STR("detail", "the store thread does not get on: unless it does soon, the "
                                "service manager ends this process"));
    }
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
    const struct kl_manager *manager = arg;
    const struct kl_service *service = manager->service;

    (void)fd;
    (void)what;
    (void)sd_notifyf(0, "STATUS=%s, %u connections", service->draining ? "draining" : "serving",
                     kl_conn_open(service));
}

static struct event *every(struct kl_manager *manager, uint64_t usec, event_callback_fn fn)
{
    const struct timeval period = {.tv_sec = (time_t)(usec / 1000000),
                                   .tv_usec = (suseconds_t)(usec % 1000000)};
    struct event *event = event_new(manager->service->base, -1, EV_PERSIST, fn, manager);

    if (event != NULL && event_add(event, &period) != 0) {
        event_free(event);
        event = NULL;
    }
    return event;
}

enum kl_rc kl_manager_new(struct kl_service *service, struct kl_manager **out, struct kl_err *err)
{
    struct kl_manager *manager = calloc(1, sizeof(*manager));
    uint64_t usec = 0;
    int missing = 0;

    if (manager == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "service manager");
    }
    manager->service = service;
    if (sd_watchdog_enabled(0, &usec) > 0) {
        manager->stuck_max_ms = (int64_t)(usec / 2000);
        manager->watchdog = every(manager, usec / 4, on_watchdog);
        missing = manager->watchdog == NULL;
        (void)sd_notify(0, "WATCHDOG=1");
    }
    if (getenv("NOTIFY_SOCKET") != NULL) {
        manager->status = every(manager, (uint64_t)STATUS_S * 1000000, on_status);
        missing |= manager->status == NULL;
    }
    if (missing) {
        kl_manager_free(manager);
        return kl_err_set(err, KL_ERR_MEMORY, "service manager");
    }
    *out = manager;
    return KL_OK;
}

void kl_manager_free(struct kl_manager *manager)
{
    if (manager == NULL) {
        return;
    }
    if (manager->watchdog != NULL) {
        event_free(manager->watchdog);
    }
    if (manager->status != NULL) {
        event_free(manager->status);
    }
    free(manager);
}

void kl_manager_ready(void)
{
    (void)sd_notifyf(0, "READY=1\nMAINPID=%ld\nSTATUS=serving", (long)getpid());
}

void kl_manager_stopping(uint64_t seconds)
{
    (void)sd_notifyf(0, "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=%" PRIu64,
                     (seconds + GOODBYE_S) * 1000000);
}

void kl_manager_replaced(long pid)
{
    (void)sd_notifyf(0, "MAINPID=%ld\nSTATUS=handed over", pid);
}
