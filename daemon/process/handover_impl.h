/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages of a hand-over, shared by handover.c (the old daemon) and takeover.c (the new one).
 * Nobody else includes this. */
#ifndef KL_DAEMON_PROCESS_HANDOVER_IMPL_H
#define KL_DAEMON_PROCESS_HANDOVER_IMPL_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/process/handover.h"

enum kl_handover_kind {
    KL_HANDOVER_TAKE = 1,
    KL_HANDOVER_SOCKETS,
    KL_HANDOVER_COMMIT,
    KL_HANDOVER_RELEASED,
    KL_HANDOVER_CLAIMED,
    KL_HANDOVER_REFUSED,
};

#define KL_HANDOVER_MAGIC 0x4b4c484fu /* "KLHO" */
#define KL_HANDOVER_VERSION 1

struct kl_handover_msg {
    uint32_t magic, version, kind;
    uint32_t drain_seconds; /* SOCKETS: RELEASED may take that long */
    uint32_t present;       /* SOCKETS: bit n = the n-th name's descriptor comes along */
    uint32_t reserved;
    char text[200]; /* REFUSED: why; NUL-terminated */
};

/* A zeroed message of that kind, to be filled in. */
struct kl_handover_msg kl_handover_msg(enum kl_handover_kind kind);
/* sockets may be NULL. KL_ERR_CLOSED: nobody is there any more. */
enum kl_rc kl_handover_send(int fd, const struct kl_handover_msg *msg,
                            const struct kl_sockets *sockets, struct kl_err *err) KL_MUST_CHECK;
/* fd is non-blocking: KL_ERR_BUSY, nothing there; KL_ERR_CLOSED; KL_ERR_PROTOCOL: no message of
 * ours, and no descriptor of it is kept. *sockets: the caller's. */
enum kl_rc kl_handover_receive(int fd, struct kl_handover_msg *msg, struct kl_sockets *sockets,
                               struct kl_err *err) KL_MUST_CHECK;
/* Is the peer of our user, or root? *pid: it. KL_ERR_PERMISSION. */
enum kl_rc kl_handover_peer(int fd, pid_t *pid, struct kl_err *err) KL_MUST_CHECK;

/* Where a store's hand-over is: the directory, opened, and the name in it. A path of any length
 * fits into an address that goes by the descriptor. */
struct kl_handover_place {
    int dir;
    char name[256];
    char next[256]; /* where a new socket is made before it takes the name */
};
enum kl_rc kl_handover_place(const char *store, struct kl_handover_place *out,
                             struct kl_err *err) KL_MUST_CHECK;
/* The address of place->name, or of place->next. */
enum kl_rc kl_handover_address(const struct kl_handover_place *place, const char *name,
                               struct sockaddr_un *out, struct kl_err *err) KL_MUST_CHECK;

#endif
