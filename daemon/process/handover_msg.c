/* SPDX-License-Identifier: BSD-2-Clause */
/* A hand-over's messages and its place beside the store. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/process/handover_impl.h"

#define SUFFIX "-handover"

union control { /* aligned as the macros want it */
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int) * KL_SOCKETS_MAX)];
};

struct kl_handover_msg kl_handover_msg(enum kl_handover_kind kind)
{
    return (struct kl_handover_msg){.magic = KL_HANDOVER_MAGIC,
                                    .version = KL_HANDOVER_VERSION,
                                    .kind = kind};
}

enum kl_rc kl_handover_send(int fd, const struct kl_handover_msg *msg,
                            const struct kl_sockets *sockets, struct kl_err *err)
{
    struct kl_handover_msg copy = *msg;
    struct iovec iov = {.iov_base = &copy, .iov_len = sizeof(copy)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    int fds[KL_SOCKETS_MAX];
    size_t count = 0;
    struct cmsghdr *cmsg;

    for (size_t i = 0; sockets != NULL && i < KL_SOCKETS_MAX; i++) {
        if (sockets->fd[i] >= 0) {
            copy.present |= 1u << i;
            fds[count++] = sockets->fd[i];
        }
    }
    if (count > 0) {
        memset(&control, 0, sizeof(control));
        header.msg_control = control.space;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
    }
    if (sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(copy)) {
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_CLOSED, "the other keyloaderd has gone away");
}

/* The descriptors that came along, whatever else came. How many. */
static size_t take_fds(struct msghdr *header, int fds[KL_SOCKETS_MAX])
{
    size_t count = 0;

    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL;
         cmsg = CMSG_NXTHDR(header, cmsg)) {
        size_t here = 0;

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        here = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
            if (count < KL_SOCKETS_MAX) {
                fds[count++] = fd;
            } else {
                close(fd);
            }
        }
    }
    return count;
}

static int is_ours(const struct kl_handover_msg *msg, ssize_t len, size_t fds)
{
    return len == (ssize_t)sizeof(*msg) && msg->magic == KL_HANDOVER_MAGIC &&
           msg->version == KL_HANDOVER_VERSION && msg->reserved == 0 &&
           memchr(msg->text, '\0', sizeof(msg->text)) != NULL &&
           msg->present < 1u << KL_SOCKETS_MAX && (size_t)__builtin_popcount(msg->present) == fds;
}

enum kl_rc kl_handover_receive(int fd, struct kl_handover_msg *msg, struct kl_sockets *sockets,
                               struct kl_err *err)
{
    struct iovec iov = {.iov_base = msg, .iov_len = sizeof(*msg)};
    union control control;
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof(control.space)};
    int fds[KL_SOCKETS_MAX];
    ssize_t len = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    size_t count, next = 0;

    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        return kl_err_set(err, KL_ERR_BUSY, "nothing there yet");
    }
    if (len <= 0) {
        return kl_err_set(err, KL_ERR_CLOSED, "the other keyloaderd has gone away");
    }
    count = take_fds(&header, fds);
    if (!is_ours(msg, len, count) || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        while (count > 0) {
            close(fds[--count]);
        }
        return kl_err_set(err, KL_ERR_PROTOCOL, "the other side is no keyloaderd of this kind");
    }
    *sockets = KL_SOCKETS_NONE;
    for (size_t i = 0; i < KL_SOCKETS_MAX; i++) {
        if (msg->present & 1u << i) {
            sockets->fd[i] = fds[next++];
            sockets->given[i] = 1;
        }
    }
    return KL_OK;
}

enum kl_rc kl_handover_peer(int fd, pid_t *pid, struct kl_err *err)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
        return kl_err_errno(err, "getsockopt", "who is on the other side cannot be seen");
    }
    if (peer.uid != geteuid() && peer.uid != 0) {
        return kl_err_set(err, KL_ERR_PERMISSION, "process %ld is of user %lu, not of ours",
                          (long)peer.pid, (unsigned long)peer.uid);
    }
    *pid = peer.pid;
    return KL_OK;
}

enum kl_rc kl_handover_place(const char *store, struct kl_handover_place *out, struct kl_err *err)
{
    char path[PATH_MAX], copy[PATH_MAX];
    const char *slash;

    snprintf(path, sizeof(path), "%s", store);
    snprintf(copy, sizeof(copy), "%s", store);
    slash = strrchr(path, '/'); /* the path is absolute: the configuration is checked */
    if (snprintf(out->name, sizeof(out->name), "%s" SUFFIX, slash + 1) >= (int)sizeof(out->name) ||
        snprintf(out->next, sizeof(out->next), "%s" SUFFIX "-%ld", slash + 1, (long)getpid()) >=
            (int)sizeof(out->next)) {
        return kl_err_set(err, KL_ERR_CONFIG, "[store] path: the file name is too long");
    }
    out->dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return out->dir < 0 ? kl_err_errno(err, "open", "the directory of %s", store) : KL_OK;
}

enum kl_rc kl_handover_address(const struct kl_handover_place *place, const char *name,
                               struct sockaddr_un *out, struct kl_err *err)
{
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    if (snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d/%s", place->dir, name) >=
        (int)sizeof(out->sun_path)) {
        return kl_err_set(err, KL_ERR_CONFIG, "[store] path: the file name is too long");
    }
    return KL_OK;
}
