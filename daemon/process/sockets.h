/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listening sockets that are there before what serves on them: bound while the daemon may still
 * bind a low port, given by the service manager (socket activation, by name), or by the daemon that
 * we take over from. Loop thread only.
 */
#ifndef KL_DAEMON_PROCESS_SOCKETS_H
#define KL_DAEMON_PROCESS_SOCKETS_H

#include "daemon/config.h"
#include "proto/err.h"

/* Names of sockets, in FileDescriptorName= of the socket units as well. */
#define KL_SOCKET_LAN "lan"         /* terminals: [listen] */
#define KL_SOCKET_CONTROL "control" /* operators */
#define KL_SOCKET_MONITOR "monitor" /* monitoring */
#define KL_SOCKETS_MAX 3

struct kl_sockets {
    int fd[KL_SOCKETS_MAX];    /* -1 = none; in the order of the names above */
    int given[KL_SOCKETS_MAX]; /* it listens already, and is not ours to remove */
};

/* Takes what the service manager has given (LISTEN_FDS; the variables are removed). KL_ERR_CONFIG:
 * there is one of a name that we do not have, or two of a name. */
enum kl_rc kl_sockets_from_manager(struct kl_sockets *out, struct kl_err *err) KL_MUST_CHECK;

/* What has been given must be what the configuration says: for "lan" a listening TCP socket of that
 * address and port (any, for port 0); for the others a listening UNIX or TCP socket. KL_ERR_CONFIG.
 */
enum kl_rc kl_sockets_check(const struct kl_sockets *sockets, const struct kl_config *config,
                            struct kl_err *err) KL_MUST_CHECK;

/* Binds "lan" if it has not been given; it does not listen yet. KL_ERR_PERMISSION, KL_ERR_SYSTEM or
 * KL_ERR_BUSY (somebody listens there) naming address and port. */
enum kl_rc kl_sockets_bind(struct kl_sockets *sockets, const struct kl_config *config,
                           struct kl_err *err) KL_MUST_CHECK;

/* The descriptor of that name, which becomes the caller's; -1 if there is none. */
int kl_sockets_take(struct kl_sockets *sockets, const char *name, int *given);
/* The place of that name, or -1. */
int kl_sockets_place(const char *name);

/* Closes what nobody took. */
void kl_sockets_wipe(struct kl_sockets *sockets);
#define KL_SOCKETS_NONE ((struct kl_sockets){{-1, -1, -1}, {0}})

#endif
