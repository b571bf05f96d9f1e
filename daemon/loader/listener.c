/* SPDX-License-Identifier: BSD-2-Clause */
/* Accepting connections, within limits. */
#include "daemon/loader/listener.h"

#include <arpa/inet.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/loader/conn.h"
#include "daemon/process/process.h"
#include "proto/frame.h"

#define BACKLOG 65535    /* or as many as the system allows (net.core.somaxconn) */
#define TURN 32          /* connections taken before others get their turn */
#define ACCEPT_PAUSE_S 1 /* when out of descriptors */

/* How many connections an address has; IPv4 as mapped IPv6. An IPv6 peer is its /64: one host
 * owns all of that. */
struct origin {
    uint8_t key[16];
    uint64_t count;
    struct kl_listener *listener;
};

struct kl_listener {
    struct kl_service *service;
    struct evconnlistener *evl;
    struct event *resume;
    void *origins;       /* tsearch tree of struct origin */
    uint64_t open, room; /* connections there are, and may be */
    unsigned turn;       /* connections taken in this one */
    void (*drained)(void *arg);
    void *drained_arg;
    struct event *drained_event; /* so that the call never comes from inside a connection's end */
};

static int compare_origins(const void *a, const void *b)
{
    return memcmp(((const struct origin *)a)->key, ((const struct origin *)b)->key,
                  sizeof(((const struct origin *)a)->key));
}

static void origin_key(const struct sockaddr *address, uint8_t key[16])
{
    kl_allow_address(address, key);
    if (!IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)key)) {
        memset(key + 8, 0, 8);
    }
}

/* Finds or makes the origin; NULL when out of memory. */
static struct origin *origin_get(struct kl_listener *listener, const struct sockaddr *address)
{
    struct origin probe, *origin;
    struct origin *const *found;

    origin_key(address, probe.key);
    found = tfind(&probe, &listener->origins, compare_origins);
    if (found != NULL) {
        return *found;
    }
    origin = calloc(1, sizeof(*origin));
    if (origin == NULL) {
        return NULL;
    }
    memcpy(origin->key, probe.key, sizeof(origin->key));
    origin->listener = listener;
    if (tsearch(origin, &listener->origins, compare_origins) == NULL) {
        free(origin);
        return NULL;
    }
    return origin;
}

static void origin_put(struct origin *origin)
{
    if (origin->count == 0) {
        tdelete(origin, &origin->listener->origins, compare_origins);
        free(origin);
    }
}

static void report_if_drained(struct kl_listener *listener)
{
    if (listener->drained != NULL && listener->open == 0) {
        event_active(listener->drained_event, EV_TIMEOUT, 0);
    }
}

static void on_drained(evutil_socket_t fd, short what, void *arg)
{
    struct kl_listener *listener = arg;

    (void)fd;
    (void)what;
    listener->drained(listener->drained_arg);
}

static void on_closed(void *arg)
{
    struct origin *origin = arg;
    struct kl_listener *listener = origin->listener;

    origin->count--;
    origin_put(origin);
    listener->open--;
    report_if_drained(listener);
}

/* Tells the peer why, if its socket takes it at once, and closes. */
static void turn_away(struct kl_listener *listener, evutil_socket_t fd, const char *address,
                      enum kl_turned_away why)
{
    uint8_t frame[KL_FRAME_MAX];
    size_t len;
    struct kl_err err = KL_ERR_INIT;

    listener->service->metrics.turned_away[why]++;
    (void)kl_err_set(&err, KL_ERR_BUSY, "over the limit of %s", kl_turned_away_name(why));
    kl_service_log_peer(listener->service, "turned-away", address, "", &err);
    if (kl_conn_error_frame(listener->service->config, KL_ERR_BUSY, frame, &len, &err) == KL_OK) {
        (void)!send(fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    evutil_closesocket(fd);
}

/* No word to a peer of a foreign network: it learns that the port is open, and no more. */
static void shut_out(struct kl_listener *listener, evutil_socket_t fd, const char *address)
{
    struct kl_err err = KL_ERR_INIT;

    listener->service->metrics.turned_away[KL_AWAY_NOT_ALLOWED]++;
    (void)kl_err_set(&err, KL_ERR_REFUSED, "not of a network in [listen] allow");
    kl_service_log_peer(listener->service, "not-allowed", address, "", &err);
    evutil_closesocket(fd);
}

static void on_accept(struct evconnlistener *evl, evutil_socket_t fd, struct sockaddr *address,
                      int address_len, void *arg)
{
    struct kl_listener *listener = arg;
    const struct kl_config *config = listener->service->config;
    struct origin *origin;
    char text[INET6_ADDRSTRLEN] = "?";
    struct kl_err err = KL_ERR_INIT;

    (void)address_len;
    /* libevent takes what comes for as long as it comes. */
    if (++listener->turn == TURN) {
        evconnlistener_disable(evl);
        event_active(listener->resume, EV_TIMEOUT, 0);
    }
    inet_ntop(address->sa_family,
              address->sa_family == AF_INET
                  ? (const void *)&((struct sockaddr_in *)(void *)address)->sin_addr
                  : (const void *)&((struct sockaddr_in6 *)(void *)address)->sin6_addr,
              text, sizeof(text));
    if (!kl_allow_has(&config->allow, address)) {
        shut_out(listener, fd, text);
        return;
    }
    origin = origin_get(listener, address);
    if (origin == NULL) {
        turn_away(listener, fd, text, KL_AWAY_SYSTEM);
        return;
    }
    if (listener->open >= listener->room || origin->count >= config->connections_per_address) {
        turn_away(listener, fd, text,
                  listener->open >= listener->room ? KL_AWAY_CONNECTIONS : KL_AWAY_PER_ADDRESS);
        origin_put(origin);
        return;
    }
    if (kl_conn_new(listener->service, fd, text, on_closed, origin, &err) != KL_OK) {
        listener->service->metrics.turned_away[KL_AWAY_SYSTEM]++;
        kl_log(KL_LOG_ERROR, "accept-failed", KL_LOG_ERR(&err));
        origin_put(origin);
        return;
    }
    listener->service->metrics.accepted++;
    origin->count++;
    listener->open++;
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct kl_listener *listener = arg;

    (void)fd;
    (void)what;
    listener->turn = 0;
    if (listener->drained == NULL) {
        evconnlistener_enable(listener->evl);
    }
}

/* Out of descriptors or memory: a listening socket that stays readable would spin the loop. */
static void on_accept_error(struct evconnlistener *evl, void *arg)
{
    struct kl_listener *listener = arg;
    const struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S, .tv_usec = 0};
    int code = EVUTIL_SOCKET_ERROR();

    kl_log(KL_LOG_ERROR, "accept-failed", KL_STR("detail", strerror(code)), KL_NUM("errno", code));
    evconnlistener_disable(evl);
    evtimer_add(listener->resume, &pause);
}

static void log_listening(struct kl_listener *listener)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    uint16_t port = 0;

    if (getsockname(evconnlistener_get_fd(listener->evl), (struct sockaddr *)&bound, &len) == 0) {
        /* sin_port and sin6_port stand in the same place (RFC 3493, section 3.3) */
        port = ntohs(((struct sockaddr_in *)(void *)&bound)->sin_port);
    }
    kl_log(KL_LOG_INFO, "listening", KL_STR("address", listener->service->config->address),
           KL_NUM("port", port));
}

enum kl_rc kl_listener_new(struct kl_service *service, evutil_socket_t fd, int listens,
                           struct kl_listener **out, struct kl_err *err)
{
    struct kl_listener *listener = calloc(1, sizeof(*listener));
    int on = 1;

    if (listener == NULL) {
        close(fd);
        return kl_err_set(err, KL_ERR_MEMORY, "listener");
    }
    listener->service = service;
    /* What is accepted takes it over. Only speed depends on it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!listens && listen(fd, BACKLOG) != 0) {
        (void)kl_err_errno(err, "listen", "cannot listen on %s port %llu", service->config->address,
                           (unsigned long long)service->config->port);
        close(fd);
        goto fail;
    }
    listener->evl = evconnlistener_new(service->base, on_accept, listener,
                                       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (listener->evl == NULL) {
        close(fd);
    }
    listener->resume = evtimer_new(service->base, on_resume, listener);
    listener->drained_event = evtimer_new(service->base, on_drained, listener);
    if (listener->evl == NULL || listener->resume == NULL || listener->drained_event == NULL) {
        (void)kl_err_set(err, KL_ERR_MEMORY, "listener");
        goto fail;
    }
    kl_listener_configure(listener);
    evconnlistener_set_error_cb(listener->evl, on_accept_error);
    log_listening(listener);
    service->accepting = 1;
    service->listener = *out = listener;
    return KL_OK;
fail:
    kl_listener_free(listener);
    return err->rc;
}

evutil_socket_t kl_listener_fd(const struct kl_listener *listener)
{
    return evconnlistener_get_fd(listener->evl);
}

void kl_listener_configure(struct kl_listener *listener)
{
    const struct kl_config *config = listener->service->config;

    listener->room = kl_process_connections(config->connections, kl_config_workers(config));
}

void kl_listener_drain(struct kl_listener *listener, int keep, void (*drained)(void *arg),
                       void *arg)
{
    evtimer_del(listener->resume);
    if (keep) {
        evconnlistener_disable(listener->evl);
    } else {
        evconnlistener_free(listener->evl);
        listener->evl = NULL;
    }
    listener->service->accepting = 0;
    listener->drained = drained;
    listener->drained_arg = arg;
    kl_conn_hurry(listener->service);
    report_if_drained(listener);
}

void kl_listener_resume(struct kl_listener *listener)
{
    listener->drained = NULL;
    event_del(listener->drained_event);
    evconnlistener_enable(listener->evl);
    listener->service->accepting = 1;
}

void kl_listener_free(struct kl_listener *listener)
{
    if (listener == NULL) {
        return;
    }
    listener->drained = NULL;
    listener->service->listener = NULL;
    kl_conn_close_all(listener->service);
    if (listener->evl != NULL) {
        evconnlistener_free(listener->evl);
    }
    if (listener->resume != NULL) {
        event_free(listener->resume);
    }
    if (listener->drained_event != NULL) {
        event_free(listener->drained_event);
    }
    free(listener);
}
