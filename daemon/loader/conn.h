/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One terminal's connection: the loader's state machine from Hello (or Confirm) to Done. Loop
 * thread only. It owns its socket and deadlines; store and HSM work is done elsewhere and comes
 * back by callback, or is dropped if the connection is gone by then.
 */
#ifndef KL_DAEMON_LOADER_CONN_H
#define KL_DAEMON_LOADER_CONN_H

#include <event2/util.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/service.h"
#include "proto/err.h"

/* Called once for each connection, when it is over and about to be freed. */
typedef void (*kl_conn_closed_fn)(void *arg);

/* Serves fd, which it takes (and closes even when this fails), until the connection is over; it is
 * then freed, and is in service->conns until then. address is the peer's, numeric, copied. */
enum kl_rc kl_conn_new(struct kl_service *service, evutil_socket_t fd, const char *address,
                       kl_conn_closed_fn closed, void *arg, struct kl_err *err) KL_MUST_CHECK;

/* What people may know of a connection; borrows from it. */
struct kl_conn_info {
    const char *address, *serial; /* serial "" = it has not said */
    const char *state;            /* "first", "hsm", ... */
    int64_t age_ms;
};
void kl_conn_describe(const struct kl_conn *conn, struct kl_conn_info *out);
/* The connection after that one, NULL: the first; NULL after the last. */
const struct kl_conn *kl_conn_next(const struct kl_service *service, const struct kl_conn *conn);

/* Draining (service->draining): a connection on which nothing has begun gets KL_CONN_HURRY_MS for
 * the Hello that may be on its way, then it is closed. */
#define KL_CONN_HURRY_MS 1000
void kl_conn_hurry(struct kl_service *service);
void kl_conn_close_all(struct kl_service *service);
unsigned kl_conn_open(const struct kl_service *service); /* those that are open */

/* The states of a connection, from 0: "first", "hsm", ...; NULL: there are no more. Static. */
const char *kl_conn_state_name(size_t state);
/* How many connections are in each of them. */
void kl_conn_count(const struct kl_service *service, uint64_t out[KL_METRICS_STATES]);

/* The bytes of an Error message with its header, for peers that are turned away at accept.
 * out holds KL_FRAME_MAX bytes. */
enum kl_rc kl_conn_error_frame(const struct kl_config *config, enum kl_rc reason, uint8_t *out,
                               size_t *len, struct kl_err *err) KL_MUST_CHECK;

#endif
