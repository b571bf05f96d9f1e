/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: a copy of it, made while it may be in use, through SQLite's backup
 * interface, which copies one state of the whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/cli.h"
#include "daemon/store_sqlite.h"

#define PAGES_AT_ONCE 256

void kl_sql_give(const struct kl_store *store, int fd)
{
    struct stat st;

    /* Root's: what it makes beside a store is the store's owner's. Should it fail, the owner is
     * told when it cannot open the file. */
    if (geteuid() == 0 && stat(store->path, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) != 0) {
        return;
    }
}

static enum kl_rc make_file(const struct kl_store *store, const char *path, struct kl_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        return kl_err_errno(err, "open", "%s: the copy cannot be made", path);
    }
    kl_sql_give(store, fd);
    close(fd);
    return KL_OK;
}

/* Of the copy's connection, or of the store's: whichever failed. */
static enum kl_rc copy_failed(int code, const char *path, struct kl_err *err)
{
    const char *hint;
    enum kl_rc rc = kl_sql_rc(code, &hint);

    return kl_err_native(err, rc, KL_ERR_SOURCE_SQLITE, (unsigned long)code, "sqlite3_backup_step",
                         "%s: the copy: %s (%s)", path, hint, sqlite3_errstr(code));
}

static enum kl_rc copy_pages(sqlite3 *from, sqlite3 *to, const char *path, struct kl_err *err)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    int code;

    if (!backup) {
        return copy_failed(sqlite3_extended_errcode(to), path, err);
    }
    do {
        code = sqlite3_backup_step(backup, PAGES_AT_ONCE);
    } while (code == SQLITE_OK);
    (void)sqlite3_backup_finish(backup);
    /* One file, without the WAL that the original has. */
    if (code == SQLITE_DONE) {
        code = sqlite3_exec(to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    }
    return code == SQLITE_OK ? KL_OK : copy_failed(code, path, err);
}

/* The file, then the directory that names it. */
static enum kl_rc make_durable(const char *path, struct kl_err *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    enum kl_rc rc = KL_OK;

    if (fd < 0 || fsync(fd) != 0) {
        rc = kl_err_errno(err, "fsync", "%s: the copy cannot be made durable", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc == KL_OK ? kl_file_sync_dir(path, err) : rc;
}

static enum kl_rc copy_all(const struct kl_store *store, const char *path, struct kl_err *err)
{
    const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    sqlite3 *from = NULL, *to = NULL;
    enum kl_rc rc;
    int code;

    /* Connections of their own: the store's may be in a transaction, of which nothing is copied. */
    if ((code = sqlite3_open_v2(store->path, &from, flags | SQLITE_OPEN_READONLY, NULL)) !=
            SQLITE_OK ||
        (code = sqlite3_open_v2(path, &to, flags | SQLITE_OPEN_READWRITE, NULL)) != SQLITE_OK) {
        rc = copy_failed(code, path, err);
    } else {
        rc = copy_pages(from, to, path, err);
    }
    sqlite3_close(from);
    code = sqlite3_close(to);
    return rc == KL_OK && code != SQLITE_OK ? copy_failed(code, path, err) : rc;
}

enum kl_rc kl_store_copy(const struct kl_store *store, const char *path, struct kl_err *err)
{
    enum kl_rc rc = make_file(store, path, err);

    if (rc != KL_OK) {
        return rc;
    }
    if ((rc = copy_all(store, path, err)) == KL_OK) {
        rc = make_durable(path, err);
    }
    if (rc != KL_OK) {
        (void)unlink(path);
    }
    return rc;
}
