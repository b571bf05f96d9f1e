/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: a copy of it, made while it may be in use, through SQLite's backup
 * interface, which copies one state of the whole.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/cli.h"
#include "daemon/store/store_sqlite.h"

#define PAGES_AT_ONCE 256
#define BUSY_MS 5000

void kl_sql_give(const struct kl_store *store, int fd)
{
    struct stat st;

    /* Root's: what it makes beside a store is the store's owner's. Should it fail, the owner is
     * told when it cannot open the file. */
    if (geteuid() == 0 && stat(store->path, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) != 0) {
        return;
    }
}

static enum kl_rc make_file(const char *beside, const char *path, struct kl_err *err)
{
    const struct kl_store at = {.path = (char *)beside};
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        return kl_err_errno(err, "open", "%s: the copy cannot be made", path);
    }
    kl_sql_give(&at, fd);
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

/* ---- From one connection to another ---- */

struct copying {
    sqlite3 *from, *to;
    kl_copy_fn tell;
    void *arg;
};

static void end(struct copying *copying)
{
    sqlite3_close(copying->from);
    sqlite3_close(copying->to);
}

/* Connections of their own: the store's may be in a transaction, of which nothing is copied. What
 * is read is one state of the whole, held by a transaction: without that each commit of others
 * would make the copying begin anew. */
static int begin(const char *from, const char *to, struct copying *out)
{
    const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(from, &out->from, flags | SQLITE_OPEN_READONLY, NULL);

    if (code == SQLITE_OK) {
        code = sqlite3_open_v2(to, &out->to, flags | SQLITE_OPEN_READWRITE, NULL);
    }
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(out->from, BUSY_MS);
        sqlite3_busy_timeout(out->to, BUSY_MS);
        code =
            sqlite3_exec(out->from, "BEGIN; SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
    }
    return code;
}

static int copy_pages(const struct copying *copying)
{
    sqlite3_backup *backup = sqlite3_backup_init(copying->to, "main", copying->from, "main");
    int code;

    if (!backup) {
        return sqlite3_extended_errcode(copying->to);
    }
    do {
        code = sqlite3_backup_step(backup, PAGES_AT_ONCE);
        if (copying->tell && (code == SQLITE_OK || code == SQLITE_DONE)) {
            int total = sqlite3_backup_pagecount(backup);
            copying->tell((uint64_t)(total - sqlite3_backup_remaining(backup)), (uint64_t)total,
                          copying->arg);
        }
    } while (code == SQLITE_OK);
    /* Undoes what is not whole. */
    (void)sqlite3_backup_finish(backup);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* ---- A new file ---- */

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

enum kl_rc kl_store_copy_file(const char *from, const char *path, kl_copy_fn tell, void *arg,
                              struct kl_err *err)
{
    struct copying copying = {.tell = tell, .arg = arg};
    enum kl_rc rc = make_file(from, path, err);
    int code;

    if (rc != KL_OK) {
        return rc;
    }
    code = begin(from, path, &copying);
    if (code == SQLITE_OK) {
        code = copy_pages(&copying);
    }
    /* One file, without the WAL that the original has. */
    if (code == SQLITE_OK) {
        code = sqlite3_exec(copying.to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    }
    rc = code == SQLITE_OK ? KL_OK : copy_failed(code, path, err);
    end(&copying);
    if (rc == KL_OK) {
        rc = make_durable(path, err);
    }
    if (rc != KL_OK) {
        (void)unlink(path);
    }
    return rc;
}

enum kl_rc kl_store_copy(const struct kl_store *store, const char *path, struct kl_err *err)
{
    return kl_store_copy_file(store->path, path, NULL, NULL, err);
}

/* ---- In place of another ---- */

enum kl_rc kl_store_replace(const char *from, const char *path, struct kl_err *err)
{
    struct copying copying = {0};
    int code = begin(from, path, &copying);
    enum kl_rc rc = KL_OK;

    if (code == SQLITE_OK) {
        code = sqlite3_exec(copying.to, "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON",
                            NULL, NULL, NULL);
    }
    if (code == SQLITE_OK) {
        code = copy_pages(&copying);
    }
    if (code != SQLITE_OK) {
        rc = copy_failed(code, path, err);
    } else {
        /* What was there is overwritten now, not some time. Durable it is already. */
        (void)sqlite3_exec(copying.to, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    }
    end(&copying);
    return rc;
}
