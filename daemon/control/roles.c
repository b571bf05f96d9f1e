/* SPDX-License-Identifier: BSD-2-Clause */
/* Roles of peers. */
#include "daemon/control/roles.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/cli.h"
#include "daemon/control/actor.h"

#define GROUPS_MAX 65537 /* NGROUPS_MAX and the group itself */
#define GROUP_BUF 65536  /* bytes of a group's members, which nobody reads */

const char *kl_role_name(enum kl_role role)
{
    static const char *const names[] = {"none", "auditor", "operator"};

    return names[role];
}

/* ---- The configuration's groups ---- */

static enum kl_rc find_group(const char *key, const char *name, int *has, gid_t *out,
                             struct kl_err *err)
{
    struct kl_err no_number = KL_ERR_INIT;
    struct group entry, *found = NULL;
    uint64_t number;
    char *buf;

    *has = name && name[0];
    if (!*has) {
        return KL_OK;
    }
    if (kl_parse_number(name, 0, UINT32_MAX - 1, &number, &no_number) == KL_OK) {
        *out = (gid_t)number;
        return KL_OK;
    }
    if (!(buf = malloc(GROUP_BUF))) {
        return kl_err_set(err, KL_ERR_MEMORY, "groups");
    }
    if (getgrnam_r(name, &entry, buf, GROUP_BUF, &found) == 0 && found) {
        *out = entry.gr_gid;
    }
    free(buf);
    return found ? KL_OK
                 : kl_err_set(err, KL_ERR_CONFIG, "[control] %s: there is no group '%.64s'", key,
                              name);
}

enum kl_rc kl_roles_find(const struct kl_config *config, struct kl_roles *out, struct kl_err *err)
{
    struct kl_roles roles = {0};
    enum kl_rc rc = find_group("operators", config->control_operators, &roles.has_operators,
                               &roles.operators, err);

    if (rc == KL_OK) {
        rc = find_group("auditors", config->control_auditors, &roles.has_auditors, &roles.auditors,
                        err);
    }
    if (rc == KL_OK) {
        *out = roles;
    }
    return rc;
}

/* ---- Peers ---- */

/* Supplementary groups; room for the group itself is left in front. */
static enum kl_rc get_groups(int fd, struct kl_peer_id *out, struct kl_err *err)
{
    socklen_t len = 0;

    /* First how many; the peer's were fixed when it connected. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) != 0 && errno != ERANGE) {
        return kl_err_errno(err, "getsockopt", "groups of the peer");
    }
    if (len > (GROUPS_MAX - 1) * sizeof(gid_t)) {
        return kl_err_set(err, KL_ERR_PERMISSION, "the peer is in too many groups");
    }
    out->groups = malloc(len + sizeof(gid_t));
    if (!out->groups) {
        return kl_err_set(err, KL_ERR_MEMORY, "groups of the peer");
    }
    if (len > 0 && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, out->groups + 1, &len) != 0) {
        return kl_err_errno(err, "getsockopt", "groups of the peer");
    }
    out->group_count = 1 + len / sizeof(gid_t);
    return KL_OK;
}

enum kl_rc kl_peer_id_of(int fd, struct kl_peer_id *out, struct kl_err *err)
{
    struct kl_peer_id peer = {0};
    struct ucred cred;
    socklen_t len = sizeof(cred);
    enum kl_rc rc;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0 || len != sizeof(cred)) {
        return kl_err_errno(err, "getsockopt", "credentials of the peer");
    }
    if ((rc = get_groups(fd, &peer, err)) != KL_OK) {
        kl_peer_id_wipe(&peer);
        return rc;
    }
    peer.uid = cred.uid;
    peer.groups[0] = cred.gid;
    kl_actor_format(peer.uid, peer.actor);
    *out = peer;
    return KL_OK;
}

void kl_peer_id_wipe(struct kl_peer_id *peer)
{
    free(peer->groups);
    *peer = (struct kl_peer_id){0};
}

static int is_in(const struct kl_peer_id *peer, gid_t group)
{
    for (size_t i = 0; i < peer->group_count; i++) {
        if (peer->groups[i] == group) {
            return 1;
        }
    }
    return 0;
}

enum kl_role kl_role_of(const struct kl_roles *roles, const struct kl_peer_id *peer)
{
    if (peer->uid == 0 || peer->uid == geteuid() ||
        (roles->has_operators && is_in(peer, roles->operators))) {
        return KL_ROLE_OPERATOR;
    }
    return roles->has_auditors && is_in(peer, roles->auditors) ? KL_ROLE_AUDITOR : KL_ROLE_NONE;
}
