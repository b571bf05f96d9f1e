/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor's HTTP side: a thread with an event loop of its own, which serves what the daemon's
 * loop has published last. So no client, however many and however hostile, takes any of the time in
 * which terminals are served; and a loop that hangs shows. A connection serves one request (GET
 * only), within bounds of size and time; there is a bounded number of them.
 */
#ifndef KL_DAEMON_MONITOR_MONITOR_HTTP_H
#define KL_DAEMON_MONITOR_MONITOR_HTTP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

#define KL_MONITOR_CONNECTIONS 16   /* at once; others wait in the socket's backlog */
#define KL_MONITOR_SECONDS 10       /* of a connection, from accept to its end */
#define KL_MONITOR_HEADERS_MAX 4096 /* bytes, request line included */
#define KL_MONITOR_STALE_S 5        /* so old, a view says that the loop hangs */

/* What is to be seen. Immutable once published; freed with its last reference. */
struct kl_monitor_view {
    _Atomic unsigned references;
    int64_t made_us; /* kl_clock_us() */
    int ready;
    char *metrics, *status, *readiness; /* malloc'ed; text, JSON, JSON */
    size_t metrics_len;
};
void kl_monitor_view_unref(struct kl_monitor_view *view); /* any thread; takes NULL */

struct kl_monitor_http;

/* Serves on fd, a listening socket (taken, also on failure), from now on. is_unix: no Host is
 * checked. view: the first one; takes the caller's reference, also on failure. */
enum kl_rc kl_monitor_http_new(int fd, int is_unix, struct kl_monitor_view *view,
                               struct kl_monitor_http **out, struct kl_err *err) KL_MUST_CHECK;
/* What is seen from now on; takes the caller's reference. Never waits for a client. */
void kl_monitor_http_publish(struct kl_monitor_http *http, struct kl_monitor_view *view);
/* Ends the thread; takes NULL. */
void kl_monitor_http_free(struct kl_monitor_http *http);

/* 1 if a Host header names this machine's loopback: what a page of another site, whose name was
 * made to resolve to it (DNS rebinding), cannot send. */
int kl_monitor_host_ok(const char *host);

#endif
