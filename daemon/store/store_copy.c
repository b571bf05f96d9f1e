/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: a copy of it, made while it may be in use, through SQLite's backup
 * interface, which copies one state of the whole. A new file is written under a name that nobody
 * takes for a store, and gets its own when it is whole and durable.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/cli.h"
#include "daemon/store/store_sqlite.h"

#define PAGES_AT_ONCE 256
#define BUSY_MS 5000

/* As a name of its own: "." with all that is before the path's last part. Cut if that is too long.
 */
static void folder_of(const char *path, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%.*s.", (int)(kl_file_name(path) - path), path);
}

/* Of the store, or of the folder where it is to be. */
static int look_for_owner(const char *path, struct stat *st)
{
    char folder[PATH_MAX];

    if (stat(path, st) == 0) {
        return 1;
    }
    folder_of(path, folder);
    return stat(folder, st) == 0;
}

void kl_sql_give(const char *path, int fd)
{
    struct stat own, st;

    /* Root's: what it makes beside a store is the store's owner's. Should it fail, the owner is
     * told when it cannot open the file. A file that has other names, too, is none that was made
     * here: whoever owns the folder may have given it this one. */
    if (geteuid() == 0 && fstat(fd, &own) == 0 && own.st_nlink == 1 && look_for_owner(path, &st) &&
        fchown(fd, st.st_uid, st.st_gid) != 0) {
        return;
    }
}

/* ---- From one connection to another ---- */

struct copying {
    const char *from_path, *to_path;
    sqlite3 *from, *to;
    kl_copy_fn tell;
    void *arg;
};

/* Whichever of the two connections failed. */
static enum kl_rc failed(const struct copying *copying, int code, struct kl_err *err)
{
    int of_copy = copying->to != NULL && sqlite3_extended_errcode(copying->to) == code;
    struct kl_store at = {.path = (char *)(of_copy ? copying->to_path : copying->from_path),
                          .db = of_copy ? copying->to : copying->from};

    return kl_sql_err(&at, "sqlite3_backup_step", err);
}

static void end(struct copying *copying)
{
    sqlite3_close(copying->from);
    sqlite3_close(copying->to);
}

/* Connections of their own: the store's may be in a transaction, of which nothing is copied. What
 * is read is one state of the whole, held by a transaction: without that each commit of others
 * would make the copying begin anew. */
static int begin(struct copying *copying, int flags_to, const char *vfs_to)
{
    const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int code =
        sqlite3_open_v2(copying->from_path, &copying->from, flags | SQLITE_OPEN_READONLY, NULL);

    if (code == SQLITE_OK) {
        code = sqlite3_open_v2(copying->to_path, &copying->to,
                               flags | flags_to | SQLITE_OPEN_READWRITE, vfs_to);
    }
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(copying->from, BUSY_MS);
        sqlite3_busy_timeout(copying->to, BUSY_MS);
        code = sqlite3_exec(copying->from, "BEGIN; SELECT count(*) FROM sqlite_schema", NULL, NULL,
                            NULL);
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

/* What is being copied into a folder, whatever it will be called: so that any copy into that folder
 * finds what another that was killed has left. */
#define PART "keyloader-copy.part-"
#define RANDOM "XXXXXX" /* mkostemp's */

/* The path, without a link in its folder's. */
static enum kl_rc straighten(const char *path, char out[PATH_MAX], struct kl_err *err)
{
    char folder[PATH_MAX], straight[PATH_MAX];

    folder_of(path, folder);
    if (strlen(path) < PATH_MAX && !realpath(folder, straight)) {
        return kl_err_errno(err, "realpath", "%s: the copy cannot be made", path);
    }
    if (strlen(path) >= PATH_MAX ||
        (size_t)snprintf(out, PATH_MAX, "%s/%s", straight, kl_file_name(path)) >= PATH_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "%.100s...: the path is too long", path);
    }
    return KL_OK;
}

static enum kl_rc part_path(const char *path, const char *random, char out[PATH_MAX],
                            struct kl_err *err)
{
    if ((size_t)snprintf(out, PATH_MAX, "%.*s" PART "%s", (int)(kl_file_name(path) - path), path,
                         random) >= PATH_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "%.100s...: the path is too long", path);
    }
    return KL_OK;
}

/* The file last: while it is there, the others are found. */
static void remove_part(const char *part)
{
    static const char *const suffixes[] = {"-journal", "-wal", "-shm", ""};
    char file[PATH_MAX + 16];

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        snprintf(file, sizeof(file), "%s%s", part, suffixes[i]);
        (void)unlink(file);
    }
}

/* One that nobody has locked is a killed copy's. */
static void sweep_part(const char *part)
{
    int fd = open(part, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0) {
        return;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        remove_part(part);
    }
    close(fd);
}

static void sweep(const char *path)
{
    char folder[PATH_MAX], part[PATH_MAX];
    struct kl_err err = KL_ERR_INIT;
    const struct dirent *entry;
    DIR *dir;

    folder_of(path, folder);
    if (!(dir = opendir(folder))) {
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, PART, strlen(PART)) == 0 &&
            strlen(entry->d_name) == strlen(PART RANDOM) &&
            part_path(path, entry->d_name + strlen(PART), part, &err) == KL_OK) {
            sweep_part(part);
        }
    }
    closedir(dir);
}

/* Its descriptor, or -1. The lock on it says that the copy is being made; before that somebody may
 * sweep the file away. */
static int make_part(const char *path, char part[PATH_MAX], struct kl_err *err)
{
    struct stat st = {.st_nlink = 0};
    int fd = -1;

    while (st.st_nlink == 0) {
        if (fd >= 0) {
            close(fd);
        }
        if (part_path(path, RANDOM, part, err) != KL_OK) {
            return -1;
        }
        if ((fd = mkostemp(part, O_CLOEXEC)) < 0) {
            (void)kl_err_errno(err, "mkostemp", "%s: the copy cannot be made", path);
            return -1;
        }
        (void)flock(fd, LOCK_SH); /* where there are none, nobody sweeps */
        (void)fstat(fd, &st);     /* of what is open it does not fail */
    }
    return fd;
}

/* Nobody else opens the file, and it is removed if this fails: SQLite needs no locks, which might
 * meet ours, and no journal. By a name that whoever owns the folder may have made a link meanwhile:
 * it is not followed, anywhere in the path. */
static enum kl_rc fill_part(const struct kl_store_copying *what, const char *part,
                            struct kl_err *err)
{
    struct copying copying = {.from_path = what->from,
                              .to_path = part,
                              .tell = what->tell,
                              .arg = what->arg};
    int code = begin(&copying, SQLITE_OPEN_NOFOLLOW, "unix-none");
    enum kl_rc rc = KL_OK;

    if (code == SQLITE_OK) {
        code = sqlite3_exec(copying.to,
                            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF;"
                            "PRAGMA synchronous = OFF",
                            NULL, NULL, NULL);
    }
    if (code == SQLITE_OK) {
        code = copy_pages(&copying);
    }
    /* One file, without the WAL that the original has. */
    if (code == SQLITE_OK) {
        code = sqlite3_exec(copying.to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    }
    if (code != SQLITE_OK) {
        rc = failed(&copying, code, err);
        (void)kl_err_context(err, "%s was not copied", what->from);
    }
    end(&copying);
    return rc;
}

/* At once and for good. */
static enum kl_rc give_name(const char *part, const char *path, int replace, struct kl_err *err)
{
    if (replace ? rename(part, path) != 0 : link(part, path) != 0) {
        return kl_err_errno(err, replace ? "rename" : "link", "%s: the copy cannot be made", path);
    }
    return kl_file_sync_dir(path, err);
}

enum kl_rc kl_store_copy_file(const struct kl_store_copying *what, struct kl_err *err)
{
    char straight[PATH_MAX], part[PATH_MAX];
    enum kl_rc rc = straighten(what->path, straight, err);
    int fd;

    if (rc != KL_OK) {
        return rc;
    }
    sweep(straight);
    if ((fd = make_part(straight, part, err)) < 0) {
        return err->rc;
    }
    kl_sql_give(what->from, fd);
    rc = fill_part(what, part, err);
    if (rc == KL_OK && fsync(fd) != 0) {
        rc = kl_err_errno(err, "fsync", "%s: the copy cannot be made durable", what->path);
    }
    if (rc == KL_OK && what->approve) {
        rc = what->approve(part, what->arg, err);
    }
    if (rc == KL_OK) {
        rc = give_name(part, what->path, what->replace, err);
    }
    remove_part(part);
    close(fd);
    return rc;
}

enum kl_rc kl_store_copy(const struct kl_store *store, const char *path, struct kl_err *err)
{
    return kl_store_copy_file(&(struct kl_store_copying){.from = store->path, .path = path}, err);
}

/* ---- In place of another ---- */

enum kl_rc kl_store_replace(const char *from, const char *path, struct kl_err *err)
{
    struct copying copying = {.from_path = from, .to_path = path};
    int code = begin(&copying, 0, NULL);
    enum kl_rc rc = KL_OK;

    if (code == SQLITE_OK) {
        code = sqlite3_exec(copying.to, "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON",
                            NULL, NULL, NULL);
    }
    if (code == SQLITE_OK) {
        code = copy_pages(&copying);
    }
    if (code != SQLITE_OK) {
        rc = failed(&copying, code, err);
    } else {
        /* What was there is overwritten now, not some time. Durable it is already. */
        (void)sqlite3_exec(copying.to, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    }
    end(&copying);
    return rc;
}
