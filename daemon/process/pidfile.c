/* SPDX-License-Identifier: BSD-2-Clause */
/* The pid file: the lock on it says that the daemon lives, the number in it is for people and init
 * scripts. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/process/process.h"

#define TRIES 5 /* when others remove the file between our open and our lock */

struct kl_pidfile {
    int fd;
    char path[PATH_MAX];
};

static enum kl_rc held_by_another(int fd, const char *path, struct kl_err *err)
{
    char text[16] = "";
    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

    text[len > 0 ? len : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return kl_err_set(err, KL_ERR_BUSY, "%s: keyloaderd runs already, as process %s", path,
                      text[0] != '\0' ? text : "?");
}

/* 1 if what is open is what path names: the one before us may have removed it since. */
static int is_still_there(int fd, const char *path)
{
    struct stat ours, there;

    return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev &&
           ours.st_ino == there.st_ino;
}

static enum kl_rc open_locked(const char *path, uid_t uid, int *out, struct kl_err *err)
{
    for (int i = 0; i < TRIES; i++) {
        struct stat st;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
        enum kl_rc rc = KL_OK;

        if (fd < 0) {
            return kl_err_errno(err, "open", "--pidfile %s", path);
        }
        if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink > 1 ||
            (st.st_uid != geteuid() && st.st_uid != uid)) {
            rc = kl_err_set(err, KL_ERR_SYSTEM, "--pidfile %s is not a regular file of its own",
                            path);
        } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            rc = errno == EWOULDBLOCK ? held_by_another(fd, path, err)
                                      : kl_err_errno(err, "flock", "--pidfile %s", path);
        } else if (is_still_there(fd, path)) {
            *out = fd;
            return KL_OK;
        }
        close(fd);
        if (rc != KL_OK) {
            return rc;
        }
    }
    return kl_err_set(err, KL_ERR_BUSY, "--pidfile %s: others make and remove it", path);
}

enum kl_rc kl_pidfile_new(const char *path, uint32_t uid, uint32_t gid, struct kl_pidfile **out,
                          struct kl_err *err)
{
    struct kl_pidfile *pidfile = calloc(1, sizeof(*pidfile));
    char text[16];
    int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

    if (pidfile == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "pid file");
    }
    if (snprintf(pidfile->path, sizeof(pidfile->path), "%s", path) >= PATH_MAX) {
        free(pidfile);
        return kl_err_set(err, KL_ERR_USAGE, "--pidfile: the path is too long");
    }
    if (open_locked(path, uid, &pidfile->fd, err) != KL_OK) {
        free(pidfile);
        return err->rc;
    }
    if (ftruncate(pidfile->fd, 0) != 0 || pwrite(pidfile->fd, text, (size_t)len, 0) != len ||
        fchown(pidfile->fd, uid, gid) != 0) {
        (void)kl_err_errno(err, "write", "--pidfile %s", path);
        kl_pidfile_free(pidfile);
        return err->rc;
    }
    *out = pidfile;
    return KL_OK;
}

void kl_pidfile_free(struct kl_pidfile *pidfile)
{
    if (pidfile == NULL) {
        return;
    }
    if (is_still_there(pidfile->fd, pidfile->path) && unlink(pidfile->path) != 0) {
        (void)!ftruncate(pidfile->fd, 0);
    }
    close(pidfile->fd);
    free(pidfile);
}
