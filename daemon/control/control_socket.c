/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket's file. */
#include "daemon/control/control_socket.h"

#include <endian.h>
#include <errno.h>
#include <event2/util.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "conf/log.h"

#define BACKLOG 16

/* ---- Where ---- */

/* Opens and locks the directory that the socket is in: two daemons that start at once must not both
 * take the same dead socket away. */
static enum kl_rc open_directory(const char *path, int *out, struct kl_err *err)
{
    char dir[KL_CONTROL_PATH_MAX + 1];
    size_t len = (size_t)(strrchr(path, '/') - path);
    struct stat st;
    int fd;

    snprintf(dir, sizeof(dir), "%.*s", len ? (int)len : 1, path);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return kl_err_errno(err, "open", "%s", dir);
    }
    if (fstat(fd, &st) != 0) {
        kl_err_errno(err, "fstat", "%s", dir);
    } else if ((st.st_uid != 0 && st.st_uid != geteuid()) || st.st_mode & (S_IWGRP | S_IWOTH)) {
        kl_err_set(err, KL_ERR_PERMISSION,
                   "%s: others may put sockets there (owner %lu, mode %04o); it must be root's or "
                   "the daemon's, and writable to nobody else",
                   dir, (unsigned long)st.st_uid, (unsigned)(st.st_mode & 07777));
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        kl_err_set(err, KL_ERR_BUSY, "%s: another daemon is starting there", dir);
    } else {
        *out = fd;
        return KL_OK;
    }
    close(fd);
    return err->rc;
}

/* 1 if somebody listens there. */
static int is_live(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), live;

    if (fd < 0) {
        return 1; /* cannot tell: leave it alone */
    }
    live = connect(fd, (const struct sockaddr *)(const void *)address, sizeof(*address)) == 0 ||
           errno != ECONNREFUSED;
    close(fd);
    return live;
}

static enum kl_rc make_way(const struct sockaddr_un *address, struct kl_err *err)
{
    const char *path = address->sun_path;
    struct stat st;

    if (lstat(path, &st) != 0) {
        return errno == ENOENT ? KL_OK : kl_err_errno(err, "lstat", "%s", path);
    }
    if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid()) {
        return kl_err_set(err, KL_ERR_EXISTS, "%s: is there, and is no socket of this daemon's",
                          path);
    }
    if (is_live(address)) {
        return kl_err_set(err, KL_ERR_BUSY, "%s: another daemon listens there", path);
    }
    kl_log(KL_LOG_INFO, "control-stale-socket", KL_STR("path", path));
    return unlink(path) == 0 ? KL_OK : kl_err_errno(err, "unlink", "%s", path);
}

/* ---- Who may connect ---- */

/* The kernel's form of an access list (linux/posix_acl_xattr.h), little-endian. */
struct acl_entry {
    uint16_t tag, perm;
    uint32_t id;
};
struct acl {
    uint32_t version;
    struct acl_entry entry[5];
};
#define ACL_ENTRY(tag_, id_) \
    { \
        htole16(tag_), htole16((tag_) == 0x20 ? 0 : 6), htole32(id_) \
    }

/* Owner, group operators and group auditors may connect, others not. */
static int let_auditors_in(const char *path, gid_t auditors)
{
    const struct acl acl = {htole32(2),
                            {ACL_ENTRY(0x01, UINT32_MAX), ACL_ENTRY(0x04, UINT32_MAX),
                             ACL_ENTRY(0x08, auditors), ACL_ENTRY(0x10, UINT32_MAX),
                             ACL_ENTRY(0x20, UINT32_MAX)}};

    return setxattr(path, "system.posix_acl_access", &acl, sizeof(acl), 0);
}

/* The socket is made with mode 0600 (bind_private); its directory is nobody else's, so that the
 * path is the socket. */
static enum kl_rc open_up(const char *path, const struct kl_roles *roles, struct kl_err *err)
{
    int two = roles->has_operators && roles->has_auditors && roles->operators != roles->auditors;

    if (!roles->has_operators && !roles->has_auditors) {
        return KL_OK;
    }
    if (lchown(path, (uid_t)-1, roles->has_operators ? roles->operators : roles->auditors) != 0) {
        return kl_err_errno(err, "lchown",
                            "%s: cannot be given to the group of [control] %s; the daemon's user "
                            "must be in it",
                            path, roles->has_operators ? "operators" : "auditors");
    }
    if (chmod(path, 0660) != 0) {
        return kl_err_errno(err, "chmod", "%s", path);
    }
    if (two && let_auditors_in(path, roles->auditors) != 0) {
        kl_log(KL_LOG_WARN, "control-no-access-list", KL_STR("path", path),
               KL_STR("cause", strerror(errno)),
               KL_STR("means", "auditors cannot connect: put the socket on a file system with "
                               "access lists"));
    }
    return KL_OK;
}

static enum kl_rc bind_private(int fd, const struct sockaddr_un *address, struct kl_err *err)
{
    mode_t before = umask(0177);
    enum kl_rc rc = KL_OK;

    if (bind(fd, (const struct sockaddr *)(const void *)address, sizeof(*address)) != 0) {
        rc = kl_err_errno(err, "bind", "%s", address->sun_path);
    }
    umask(before);
    return rc;
}

static enum kl_rc listen_at(const struct sockaddr_un *address, const struct kl_roles *roles,
                            int *out, struct kl_control_file *file, struct kl_err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;
    enum kl_rc rc;

    if (fd < 0) {
        return kl_err_errno(err, "socket", "control socket");
    }
    if ((rc = bind_private(fd, address, err)) != KL_OK) {
        goto out;
    }
    if (lstat(address->sun_path, &st) != 0) {
        rc = kl_err_errno(err, "lstat", "%s", address->sun_path);
        goto out;
    }
    *file = (struct kl_control_file){.dev = st.st_dev, .ino = st.st_ino};
    memcpy(file->path, address->sun_path, strlen(address->sun_path) + 1);
    if (listen(fd, BACKLOG) != 0) {
        rc = kl_err_errno(err, "listen", "%s", address->sun_path);
    } else {
        rc = open_up(address->sun_path, roles, err);
    }
    if (rc != KL_OK) {
        kl_control_remove(file);
        goto out;
    }
    *out = fd;
    fd = -1;
out:
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

enum kl_rc kl_control_bind(const char *path, const struct kl_roles *roles, int *out,
                           struct kl_control_file *file, struct kl_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    enum kl_rc rc;
    int dir = -1;

    if (strlen(path) > KL_CONTROL_PATH_MAX) {
        return kl_err_set(err, KL_ERR_CONFIG, "[control] socket: is longer than %d bytes",
                          KL_CONTROL_PATH_MAX);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    if ((rc = open_directory(path, &dir, err)) != KL_OK) {
        return kl_err_context(err, "[control] socket");
    }
    if ((rc = make_way(&address, err)) == KL_OK) {
        rc = listen_at(&address, roles, out, file, err);
    }
    close(dir); /* and the lock with it */
    return rc == KL_OK ? rc : kl_err_context(err, "[control] socket");
}

void kl_control_remove(struct kl_control_file *file)
{
    struct stat st;

    if (file->path[0] && lstat(file->path, &st) == 0 && st.st_dev == file->dev &&
        st.st_ino == file->ino) {
        (void)unlink(file->path);
    }
    *file = (struct kl_control_file){0};
}

enum kl_rc kl_control_adopt(int fd, struct kl_err *err)
{
    struct sockaddr_un address = {0};
    socklen_t len = sizeof(address), size = sizeof(int);
    int type = 0, listens = 0;

    if (getsockname(fd, (struct sockaddr *)(void *)&address, &len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0) {
        return kl_err_errno(err, "getsockname", "the control socket that was handed over");
    }
    if (address.sun_family != AF_UNIX || type != SOCK_STREAM || !listens) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "what was handed over as the control socket is no listening UNIX stream "
                          "socket");
    }
    if (evutil_make_socket_nonblocking(fd) != 0) {
        return kl_err_errno(err, "fcntl", "the control socket that was handed over");
    }
    return KL_OK;
}
