/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The listening socket: accepts, and turns away what is over the limits (connections in all, and
 * for each address) with Error busy. Loop thread only.
 */
#ifndef KL_DAEMON_LISTENER_H
#define KL_DAEMON_LISTENER_H

#include "daemon/service.h"
#include "proto/err.h"

struct kl_listener;

/* Binds service->config's address and port and starts accepting. KL_ERR_CONFIG, KL_ERR_PERMISSION
 * or KL_ERR_SYSTEM naming address and port. Logs event=listening with the port bound. */
enum kl_rc kl_listener_new(struct kl_service *service, struct kl_listener **out,
                           struct kl_err *err) KL_MUST_CHECK;

/* Accepts no more; open connections go on. drained is called (once, from the loop) when the last
 * of them is over. */
void kl_listener_drain(struct kl_listener *listener, void (*drained)(void *arg), void *arg);

/* Closes what is open; takes NULL. */
void kl_listener_free(struct kl_listener *listener);

#endif
