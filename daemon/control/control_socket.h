/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket's file. Who may connect at all is the file system's to say (mode 0660, group
 * operators, and auditors by an access list); who may do what is judged again for each peer.
 */
#ifndef KL_DAEMON_CONTROL_CONTROL_SOCKET_H
#define KL_DAEMON_CONTROL_CONTROL_SOCKET_H

#include <sys/types.h>

#include "daemon/control/roles.h"
#include "proto/err.h"

#define KL_CONTROL_PATH_MAX 107 /* bytes, sun_path's */

/* What was made, so that nothing else is ever removed. */
struct kl_control_file {
    char path[KL_CONTROL_PATH_MAX + 1]; /* "" = none */
    dev_t dev;
    ino_t ino;
};

/* Makes and listens at path; *out is non-blocking. The directory must be root's or our own, and
 * writable to nobody else (KL_ERR_PERMISSION). A socket of ours at which nobody listens any more
 * makes way; KL_ERR_BUSY: a live one is there; KL_ERR_EXISTS: something else is, or somebody
 * else's. */
enum kl_rc kl_control_bind(const char *path, const struct kl_roles *roles, int *out,
                           struct kl_control_file *file, struct kl_err *err) KL_MUST_CHECK;
/* Removes it, if it is still the one that was made. */
void kl_control_remove(struct kl_control_file *file);

/* That a descriptor which was handed over is a listening UNIX stream socket; makes it
 * non-blocking. */
enum kl_rc kl_control_adopt(int fd, struct kl_err *err) KL_MUST_CHECK;

#endif
