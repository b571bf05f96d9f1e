/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the monitor listens, as the configuration says it: a loopback address or a UNIX socket. It
 * asks nobody for a password, so it is never reachable from another machine.
 */
#ifndef KL_DAEMON_MONITOR_MONITOR_WHERE_H
#define KL_DAEMON_MONITOR_MONITOR_WHERE_H

#include <sys/socket.h>
#include <sys/un.h>

#include "proto/err.h"

struct kl_monitor_where {
    int family; /* AF_INET, AF_INET6, AF_UNIX; 0 = nowhere */
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
        struct sockaddr_un unix_socket;
    } address;
};

/* "" (nowhere), "127.0.0.1:9477" (any of 127.0.0.0/8), "[::1]:9477" or "unix:/PATH"; port 0 takes
 * any free one. KL_ERR_CONFIG says what is wrong with any other text. */
enum kl_rc kl_monitor_parse(const char *text, struct kl_monitor_where *out,
                            struct kl_err *err) KL_MUST_CHECK;

/* Listens there; *fd is non-blocking and close-on-exec. A UNIX socket gets mode 0660; one at which
 * nobody listens any more makes way, KL_ERR_BUSY: a live one is there; KL_ERR_EXISTS: something
 * else is. */
enum kl_rc kl_monitor_bind(const struct kl_monitor_where *where, int *fd,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
