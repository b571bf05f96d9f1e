/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor's HTTP side. evhttp bounds sizes and the silence of a client; the time of a whole
 * connection and their number are bounded here, by a reference to each one's bufferevent: one that
 * evhttp has done with has no callback argument any more.
 */
#include "daemon/monitor/monitor_http.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/monitor/exposition.h"
#include "daemon/monitor/status_page.h"
#include "daemon/process/thread.h"
#include "proto/clock.h"

#define TICK_MS 100
#define IDLE_S 5 /* of a client */
#define NICE 10  /* terminals come first */
#define BODY_MAX 0

struct slot {
    struct bufferevent *bev; /* a reference; NULL = free */
    int64_t since_us;
};

struct kl_monitor_http {
    struct event_base *base; /* and what follows: the thread's alone, once it runs */
    struct evhttp *server;
    struct evconnlistener *listener; /* borrowed from server */
    struct event *tick, *stop;
    struct slot slots[KL_MONITOR_CONNECTIONS];
    int is_unix;
    int stop_pipe[2]; /* to the thread */
    pthread_t thread;
    int running;
    char policy[KL_STATUS_PAGE_POLICY_MAX];
    pthread_mutex_t lock; /* guards view */
    struct kl_monitor_view *view;
};

/* ---- Views ---- */

void kl_monitor_view_unref(struct kl_monitor_view *view)
{
    if (view != NULL && atomic_fetch_sub(&view->references, 1) == 1) {
        free(view->metrics);
        free(view->status);
        free(view->readiness);
        free(view);
    }
}

static struct kl_monitor_view *view_get(struct kl_monitor_http *http)
{
    struct kl_monitor_view *view;

    pthread_mutex_lock(&http->lock);
    view = http->view;
    atomic_fetch_add(&view->references, 1);
    pthread_mutex_unlock(&http->lock);
    return view;
}

void kl_monitor_http_publish(struct kl_monitor_http *http, struct kl_monitor_view *view)
{
    struct kl_monitor_view *old;

    pthread_mutex_lock(&http->lock);
    old = http->view;
    http->view = view;
    pthread_mutex_unlock(&http->lock);
    kl_monitor_view_unref(old);
}

static int is_stale(const struct kl_monitor_view *view)
{
    return kl_clock_us() - view->made_us > KL_MONITOR_STALE_S * (int64_t)1000000;
}

/* ---- Connections ---- */

static int slot_over(const struct slot *slot)
{
    void *arg = NULL;

    bufferevent_getcb(slot->bev, NULL, NULL, NULL, &arg);
    return arg == NULL;
}

/* Lets go of what evhttp has done with, ends what has had its time. How many are left. */
static size_t look_at_slots(struct kl_monitor_http *http)
{
    int64_t now = kl_clock_us();
    size_t used = 0;

    for (size_t i = 0; i < KL_MONITOR_CONNECTIONS; i++) {
        struct slot *slot = &http->slots[i];
        if (slot->bev == NULL) {
            continue;
        }
        if (slot_over(slot)) {
            bufferevent_decref(slot->bev);
            slot->bev = NULL;
            continue;
        }
        if (now - slot->since_us > KL_MONITOR_SECONDS * (int64_t)1000000) {
            (void)shutdown(bufferevent_getfd(slot->bev), SHUT_RDWR);
        }
        used++;
    }
    return used;
}

static void watch_slots(struct kl_monitor_http *http)
{
    const struct timeval period = {.tv_usec = TICK_MS * 1000};
    size_t used = look_at_slots(http);

    if (used == KL_MONITOR_CONNECTIONS) {
        evconnlistener_disable(http->listener);
    } else {
        evconnlistener_enable(http->listener);
    }
    if (used > 0) {
        evtimer_add(http->tick, &period);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    watch_slots(arg);
}

/* Out of descriptors: a listening socket that stays readable would spin the thread. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct kl_monitor_http *http = arg;
    const struct timeval pause = {.tv_sec = 1};

    evconnlistener_disable(listener);
    evtimer_add(http->tick, &pause);
}

/* evhttp has accepted a connection, and wants its bufferevent. */
static struct bufferevent *make_connection(struct event_base *base, void *arg)
{
    struct kl_monitor_http *http = arg;
    struct bufferevent *bev = bufferevent_socket_new(base, -1, 0);

    if (bev == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < KL_MONITOR_CONNECTIONS; i++) {
        struct slot *slot = &http->slots[i];
        if (slot->bev == NULL) {
            bufferevent_incref(bev);
            *slot = (struct slot){bev, kl_clock_us()};
            /* Not slot_over yet: evhttp sets its argument before it comes back to the loop. */
            bufferevent_setcb(bev, NULL, NULL, NULL, http);
            break;
        }
    }
    watch_slots(http);
    return bev;
}

/* ---- Requests ---- */

int kl_monitor_host_ok(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(host, names[i], len) == 0 &&
            (host[len] == '\0' || (host[len] == ':' && host[len + 1] != '\0' &&
                                   host[len + 1 + strspn(host + len + 1, "0123456789")] == '\0'))) {
            return 1;
        }
    }
    return 0;
}

static void let_go(const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    kl_monitor_view_unref(arg);
}

/* Answers with text that view (whose reference is taken; NULL: static) holds. */
static void reply(struct kl_monitor_http *http, struct evhttp_request *request, int status,
                  const char *type, const char *text, size_t len, struct kl_monitor_view *view)
{
    const struct {
        const char *name, *value;
    } headers[] = {
        {"Content-Type", type},
        {"Content-Security-Policy", http->policy},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cache-Control", "no-store"},
        {"Connection", "close"},
    };
    struct evkeyvalq *out = evhttp_request_get_output_headers(request);
    struct evbuffer *body = evbuffer_new();

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        (void)evhttp_add_header(out, headers[i].name, headers[i].value);
    }
    if (body == NULL ||
        evbuffer_add_reference(body, text, len, view != NULL ? let_go : NULL, view) != 0) {
        kl_monitor_view_unref(view);
        evhttp_send_error(request, HTTP_SERVUNAVAIL, NULL);
    } else {
        evhttp_send_reply(request, status, NULL, body);
    }
    if (body != NULL) {
        evbuffer_free(body);
    }
}

static void reply_text(struct kl_monitor_http *http, struct evhttp_request *request, int status,
                       const char *text)
{
    reply(http, request, status, "text/plain; charset=utf-8", text, strlen(text), NULL);
}

/* 0, and the client has its answer: whoever comes by another name than loopback's. */
static int is_for_us(struct kl_monitor_http *http, struct evhttp_request *request)
{
    const char *host = evhttp_find_header(evhttp_request_get_input_headers(request), "Host");

    if (http->is_unix || (host != NULL && kl_monitor_host_ok(host))) {
        return 1;
    }
    reply_text(http, request, 403, "Ask for it by 127.0.0.1, [::1] or localhost.\n");
    return 0;
}

#define JSON "application/json"

static void get_metrics(struct evhttp_request *request, void *arg)
{
    struct kl_monitor_view *view;

    if (is_for_us(arg, request)) {
        view = view_get(arg);
        reply(arg, request, HTTP_OK, KL_EXPOSITION_TYPE, view->metrics, view->metrics_len, view);
    }
}

static void get_status(struct evhttp_request *request, void *arg)
{
    struct kl_monitor_view *view;

    if (is_for_us(arg, request)) {
        view = view_get(arg);
        reply(arg, request, HTTP_OK, JSON, view->status, strlen(view->status), view);
    }
}

static void get_ready(struct evhttp_request *request, void *arg)
{
    static const char hangs[] = "{\"ready\": false, \"reasons\": [\"the event loop hangs\"]}";
    struct kl_monitor_view *view;

    if (!is_for_us(arg, request)) {
        return;
    }
    view = view_get(arg);
    if (is_stale(view)) {
        kl_monitor_view_unref(view);
        reply(arg, request, HTTP_SERVUNAVAIL, JSON, hangs, strlen(hangs), NULL);
        return;
    }
    reply(arg, request, view->ready ? HTTP_OK : HTTP_SERVUNAVAIL, JSON, view->readiness,
          strlen(view->readiness), view);
}

static void get_health(struct evhttp_request *request, void *arg)
{
    struct kl_monitor_view *view;
    int stale;

    if (is_for_us(arg, request)) {
        view = view_get(arg);
        stale = is_stale(view);
        kl_monitor_view_unref(view);
        reply_text(arg, request, stale ? HTTP_SERVUNAVAIL : HTTP_OK,
                   stale ? "the event loop hangs\n" : "ok\n");
    }
}

static void get_page(struct evhttp_request *request, void *arg)
{
    if (is_for_us(arg, request)) {
        reply(arg, request, HTTP_OK, "text/html; charset=utf-8", kl_status_page, kl_status_page_len,
              NULL);
    }
}

static void get_other(struct evhttp_request *request, void *arg)
{
    if (is_for_us(arg, request)) {
        reply_text(arg, request, HTTP_NOTFOUND,
                   "There are /, /metrics, /healthz, /readyz and /status.json.\n");
    }
}

/* ---- The thread ---- */

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(((struct kl_monitor_http *)arg)->base);
}

static void *thread_main(void *arg)
{
    struct kl_monitor_http *http = arg;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    event_base_dispatch(http->base);
    return NULL;
}

static int set_up_server(struct kl_monitor_http *http)
{
    static const struct {
        const char *path;
        void (*get)(struct evhttp_request *request, void *arg);
    } pages[] = {{"/", get_page},
                 {"/metrics", get_metrics},
                 {"/status.json", get_status},
                 {"/healthz", get_health},
                 {"/readyz", get_ready}};

    http->server = evhttp_new(http->base);
    if (http->server == NULL) {
        return 0;
    }
    evhttp_set_allowed_methods(http->server, EVHTTP_REQ_GET);
    evhttp_set_max_headers_size(http->server, KL_MONITOR_HEADERS_MAX);
    evhttp_set_max_body_size(http->server, BODY_MAX);
    evhttp_set_timeout(http->server, IDLE_S);
    evhttp_set_bevcb(http->server, make_connection, http);
    evhttp_set_gencb(http->server, get_other, http);
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (evhttp_set_cb(http->server, pages[i].path, pages[i].get, http) != 0) {
            return 0;
        }
    }
    return 1;
}

/* Takes fd once it is the server's. */
static int set_up_listener(struct kl_monitor_http *http, int *fd)
{
    struct evconnlistener *listener =
        evconnlistener_new(http->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0,
                           *fd);

    if (listener == NULL) {
        return 0;
    }
    *fd = -1;
    if (evhttp_bind_listener(http->server, listener) == NULL) {
        evconnlistener_free(listener);
        return 0;
    }
    evconnlistener_set_error_cb(listener, on_accept_error);
    http->listener = listener;
    return 1;
}

static int set_up(struct kl_monitor_http *http, int *fd)
{
    http->base = event_base_new();
    if (http->base == NULL || !set_up_server(http) || !set_up_listener(http, fd) ||
        pipe2(http->stop_pipe, O_CLOEXEC) != 0) {
        return 0;
    }
    http->tick = evtimer_new(http->base, on_tick, http);
    http->stop = event_new(http->base, http->stop_pipe[0], EV_READ, on_stop, http);
    return http->tick != NULL && http->stop != NULL && event_add(http->stop, NULL) == 0;
}

enum kl_rc kl_monitor_http_new(int fd, int is_unix, struct kl_monitor_view *view,
                               struct kl_monitor_http **out, struct kl_err *err)
{
    struct kl_monitor_http *http = calloc(1, sizeof(*http));

    if (http == NULL) {
        close(fd);
        kl_monitor_view_unref(view);
        return kl_err_set(err, KL_ERR_MEMORY, "monitor");
    }
    pthread_mutex_init(&http->lock, NULL);
    http->view = view;
    http->is_unix = is_unix;
    http->stop_pipe[0] = http->stop_pipe[1] = -1;
    if (kl_status_page_policy(http->policy, err) == KL_OK) {
        if (!set_up(http, &fd)) {
            (void)kl_err_set(err, KL_ERR_MEMORY, "monitor");
        } else if (kl_thread_start(&http->thread, thread_main, http, "the monitor's thread", err) ==
                   KL_OK) {
            http->running = 1;
            *out = http;
            return KL_OK;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    kl_monitor_http_free(http);
    return err->rc;
}

static void close_pipe(const struct kl_monitor_http *http)
{
    for (int i = 0; i < 2; i++) {
        if (http->stop_pipe[i] >= 0) {
            close(http->stop_pipe[i]);
        }
    }
}

void kl_monitor_http_free(struct kl_monitor_http *http)
{
    if (http == NULL) {
        return;
    }
    if (http->running) {
        (void)!write(http->stop_pipe[1], "", 1);
        pthread_join(http->thread, NULL);
    }
    if (http->server != NULL) {
        evhttp_free(http->server);
    }
    for (size_t i = 0; i < KL_MONITOR_CONNECTIONS; i++) {
        if (http->slots[i].bev != NULL) {
            bufferevent_decref(http->slots[i].bev);
        }
    }
    if (http->tick != NULL) {
        event_free(http->tick);
    }
    if (http->stop != NULL) {
        event_free(http->stop);
    }
    if (http->base != NULL) {
        event_base_free(http->base);
    }
    close_pipe(http);
    kl_monitor_view_unref(http->view);
    pthread_mutex_destroy(&http->lock);
    free(http);
}
