/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may do what over the control socket: by the user and the groups that the kernel says the peer
 * had when it connected (SO_PEERCRED, SO_PEERGROUPS), never by anything that it says itself.
 */
#ifndef KL_DAEMON_CONTROL_ROLES_H
#define KL_DAEMON_CONTROL_ROLES_H

#include <stddef.h>
#include <sys/types.h>

#include "daemon/audit/audit_chain.h"
#include "daemon/config.h"
#include "proto/err.h"

enum kl_role {
    KL_ROLE_NONE,
    KL_ROLE_AUDITOR,  /* reads */
    KL_ROLE_OPERATOR, /* reads and changes */
};
const char *kl_role_name(enum kl_role role); /* "none", "auditor", "operator" */

/* The groups that the configuration names. */
struct kl_roles {
    int has_operators, has_auditors; /* 0: that role is nobody's by a group */
    gid_t operators, auditors;
};
/* KL_ERR_CONFIG: there is no such group. */
enum kl_rc kl_roles_find(const struct kl_config *config, struct kl_roles *out,
                         struct kl_err *err) KL_MUST_CHECK;

struct kl_peer_id {
    uid_t uid;
    gid_t *groups; /* its group and its supplementary ones */
    size_t group_count;
    char actor[KL_AUDIT_ACTOR_MAX + 1]; /* as audit records name it */
};
/* Of a connected UNIX socket. End with kl_peer_id_wipe. */
enum kl_rc kl_peer_id_of(int fd, struct kl_peer_id *out, struct kl_err *err) KL_MUST_CHECK;
void kl_peer_id_wipe(struct kl_peer_id *peer);

/* Root and the daemon's own user, who have the store's file anyway, count as operators; else the
 * best role of the peer's groups. */
enum kl_role kl_role_of(const struct kl_roles *roles, const struct kl_peer_id *peer);

#endif
