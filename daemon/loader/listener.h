/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The listening socket: accepts, and turns away what is over the limits (connections in all, and
 * for each address) with Error busy. Loop thread only.
 */
#ifndef KL_DAEMON_LOADER_LISTENER_H
#define KL_DAEMON_LOADER_LISTENER_H

#include <event2/util.h>

#include "daemon/service.h"
#include "proto/err.h"

struct kl_listener;

/* Starts accepting on fd, which it takes (also when this fails): bound, and if `listens` is 0 made
 * to listen. KL_ERR_SYSTEM or KL_ERR_BUSY naming address and port. Logs event=listening with the
 * port. */
enum kl_rc kl_listener_new(struct kl_service *service, evutil_socket_t fd, int listens,
                           struct kl_listener **out, struct kl_err *err) KL_MUST_CHECK;
evutil_socket_t kl_listener_fd(const struct kl_listener *listener);

/* The configuration has changed, or it is the start: makes room for as many connections as it
 * says. */
void kl_listener_configure(struct kl_listener *listener);

/* Accepts no more; open connections go on, but for those on which nothing begins at once. drained
 * is called (once, from the loop) when the last of them is over. keep 1: the socket stays open, and
 * who connects waits in it. */
void kl_listener_drain(struct kl_listener *listener, int keep, void (*drained)(void *arg),
                       void *arg);
/* Accepts again, if the socket was kept. */
void kl_listener_resume(struct kl_listener *listener);

/* Closes what is open; takes NULL. */
void kl_listener_free(struct kl_listener *listener);

#endif
