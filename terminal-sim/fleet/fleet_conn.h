/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection of a fleet on an event loop: framing, and nothing of what the messages mean. It
 * takes a few hundred bytes, and a message's length while one is arriving. Loop thread; no call
 * back comes from within a call, and each may free the connection.
 */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_CONN_H
#define KL_TERMINAL_SIM_FLEET_FLEET_CONN_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proto/err.h"

struct kl_fleet_dial { /* what it points to is borrowed until kl_fleet_conn_free */
    struct event_base *base;
    const struct sockaddr *to;
    socklen_t to_len;
    const struct sockaddr *from; /* NULL: the system chooses. Borrowed for the call alone */
    socklen_t from_len;
    const struct timeval *deadline; /* for the whole connection, from now; NULL: none */

    void (*opened)(void *arg);
    /* One message's DER, borrowed for the call. */
    void (*message)(void *arg, const uint8_t *der, size_t len);
    /* It is over and can only be freed. KL_ERR_UNAVAILABLE: nobody listens; KL_ERR_TIMEOUT: the
     * deadline; KL_ERR_CLOSED: the peer closed it or reset it; KL_ERR_PROTOCOL: a frame that is
     * empty or too long; KL_ERR_MEMORY, KL_ERR_SYSTEM. */
    void (*ended)(void *arg, const struct kl_err *err);
    void *arg;
};

struct kl_fleet_conn;

/* Begins to connect. KL_ERR_SYSTEM: no descriptor or no port left, or the source address is not
 * this host's; KL_ERR_UNAVAILABLE: refused at once; KL_ERR_MEMORY. */
enum kl_rc kl_fleet_conn_open(const struct kl_fleet_dial *dial, struct kl_fleet_conn **out,
                              struct kl_err *err) KL_MUST_CHECK;
void kl_fleet_conn_free(struct kl_fleet_conn *conn); /* closes; takes NULL */

/* The deadline is no more: it is to stay for as long as the peer lets it. */
void kl_fleet_conn_stay(struct kl_fleet_conn *conn);

/* Sends a message of len bytes (1 to KL_MSG_MAX) with its header, in one write if the system takes
 * it so; one at a time. A connection that the peer has closed is no error: what it said before is
 * still read. */
enum kl_rc kl_fleet_conn_send(struct kl_fleet_conn *conn, const uint8_t *der, size_t len,
                              struct kl_err *err) KL_MUST_CHECK;

#endif
