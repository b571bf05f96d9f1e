/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: opening and checking the file, the daemon's claim on it, transactions. WAL
 * with synchronous=FULL makes every commit one fsync, and lets operators read while a daemon
 * writes.
 */
#include "daemon/store/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUSY_MS 5000
#define LOOK_MS 10 /* between tries to claim */
#define LOOK_TRIES 10

/* ---- Errors ---- */

enum kl_rc kl_sql_rc(int code, const char **hint)
{
    if (code == SQLITE_CONSTRAINT_PRIMARYKEY) {
        *hint = "it is there already";
        return KL_ERR_EXISTS;
    }
    if (code == SQLITE_CONSTRAINT_FOREIGNKEY) {
        *hint = "the terminal is not in the store";
        return KL_ERR_NOT_FOUND;
    }
    switch (code == SQLITE_IOERR_NOMEM ? SQLITE_NOMEM : code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        *hint = "another program is writing to the store; try again";
        return KL_ERR_BUSY;
    case SQLITE_NOMEM:
        *hint = "out of memory";
        return KL_ERR_MEMORY;
    case SQLITE_FULL:
        *hint = "the disk is full: nothing was changed; make room";
        return KL_ERR_FULL;
    case SQLITE_READONLY:
        *hint = "the store or its directory is read-only";
        return KL_ERR_PERMISSION;
    case SQLITE_PERM:
        *hint = "cannot be opened";
        return KL_ERR_PERMISSION;
    case SQLITE_CANTOPEN:
        *hint = "cannot be opened: check that its directory exists and may be written to";
        return KL_ERR_STORE;
    case SQLITE_NOTADB:
        *hint = "is not a keyloader store";
        return KL_ERR_STORE;
    case SQLITE_CORRUPT:
        *hint = "the store is damaged: restore it from a backup";
        return KL_ERR_STORE;
    case SQLITE_IOERR:
        *hint = "reading or writing the disk failed: nothing was changed";
        return KL_ERR_IO;
    case SQLITE_CONSTRAINT:
        *hint = "the store refuses a change that breaks its rules";
        return KL_ERR_STORE;
    default:
        *hint = "the store failed";
        return KL_ERR_STORE;
    }
}

/* SQLite tells of ENOSPC alone that it is a full disk. Of a quota and of a limit on the size of
 * files it says that writing failed; which errno that was, it does not always know. */
static int is_limit(int code, int number)
{
    struct rlimit limit;

    return number == ENOSPC || number == EDQUOT || number == EFBIG ||
           (code == SQLITE_IOERR_WRITE && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
            limit.rlim_cur != RLIM_INFINITY);
}

enum kl_rc kl_sql_err(struct kl_store *store, const char *op, struct kl_err *err)
{
    int code = sqlite3_extended_errcode(store->db);
    int number = (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_IOERR
                     ? sqlite3_system_errno(store->db)
                     : 0;
    const char *hint;
    enum kl_rc rc = kl_sql_rc(code, &hint);

    if (number == EACCES || number == EPERM || number == EROFS) {
        rc = KL_ERR_PERMISSION;
    } else if (is_limit(code, number)) {
        rc = kl_sql_rc(SQLITE_FULL, &hint);
    }
    return kl_err_native(err, rc, KL_ERR_SOURCE_SQLITE, (unsigned long)code, op, "%s: %s (%s)",
                         store->path, hint,
                         number != 0 ? strerror(number) : sqlite3_errmsg(store->db));
}

enum kl_rc kl_sql_exec(struct kl_store *store, const char *sql, const char *op, struct kl_err *err)
{
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return kl_sql_err(store, op, err);
    }
    return KL_OK;
}

/* ---- The file ---- */

/* SQLite would make the file with the umask's mode; secrets or not, it is nobody else's. Its -wal
 * and -shm take the mode over. */
static enum kl_rc make_file(const char *path, struct kl_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 && errno == EEXIST) {
        return KL_OK;
    }
    if (fd < 0) {
        return kl_err_errno(err, "open", "%s: the store cannot be made", path);
    }
    close(fd);
    return KL_OK;
}

/* A user by name, or by number if it has none. */
static void user_name(uid_t uid, char out[64])
{
    struct passwd entry, *found = NULL;
    char buf[1024];

    if (getpwuid_r(uid, &entry, buf, sizeof(buf), &found) == 0 && found) {
        snprintf(out, 64, "%.60s", entry.pw_name);
    } else {
        snprintf(out, 64, "%lu", (unsigned long)uid);
    }
}

static enum kl_rc check_access(const char *path, const struct stat *st, int writable,
                               struct kl_err *err)
{
    char owner[64], us[64];
    int number;

    if (faccessat(AT_FDCWD, path, R_OK | (writable ? W_OK : 0), AT_EACCESS) == 0) {
        return KL_OK;
    }
    if (st->st_uid == geteuid()) {
        return kl_err_errno(err, "access", "%s: the store is %s to its owner (mode %04o)", path,
                            st->st_mode & S_IRUSR ? "read-only" : "closed",
                            (unsigned)(st->st_mode & 07777));
    }
    number = errno;
    user_name(st->st_uid, owner);
    user_name(geteuid(), us);
    errno = number;
    return kl_err_errno(err, "access", "%s: the store belongs to %s, and this runs as %s", path,
                        owner, us);
}

/* By name: opening and closing an existing file here would drop the locks that SQLite may hold on
 * it in this process (fcntl locks are a process's, not a descriptor's). */
static enum kl_rc check_file(const char *path, int writable, struct kl_err *err)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        return kl_err_errno(err, "stat",
                            errno == ENOENT
                                ? "%s: there is no store yet (one that is lost: keyloaderctl store "
                                  "restore takes a backup); keyloaderctl terminal add makes it in "
                                  "a directory that exists"
                                : "%s: the store cannot be reached",
                            path);
    }
    if (!S_ISREG(st.st_mode)) {
        return kl_err_set(err, KL_ERR_STORE, "%s: the store must be a regular file", path);
    }
    if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        return kl_err_set(err, KL_ERR_STORE, "%s: mode %04o lets others at the store; chmod 600 it",
                          path, (unsigned)(st.st_mode & 07777));
    }
    return check_access(path, &st, writable, err);
}

static enum kl_rc set_wal(struct kl_store *store, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = KL_OK;

    if (sqlite3_prepare_v2(store->db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW) {
        rc = kl_sql_err(store, "journal_mode", err);
    } else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") != 0) {
        rc = kl_err_set(err, KL_ERR_STORE,
                        "%s: its file system does not take SQLite's WAL mode; use a local disk",
                        store->path);
    }
    sqlite3_finalize(stmt);
    return rc;
}

static enum kl_rc configure(struct kl_store *store, struct kl_err *err)
{
    sqlite3_busy_timeout(store->db, BUSY_MS);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return kl_sql_exec(
        store,
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;"
        "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY",
        "PRAGMA", err);
}

static enum kl_rc open_database(struct kl_store *store, enum kl_store_mode mode, struct kl_err *err)
{
    int flags = mode == KL_STORE_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    int schema;
    enum kl_rc rc;

    if (sqlite3_open_v2(store->path, &store->db,
                        flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL) != SQLITE_OK) {
        if (!store->db) {
            return kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", store->path);
        }
        return kl_sql_err(store, "sqlite3_open_v2", err);
    }
    /* SQLite opens what it may not write read-only instead of failing. */
    if (store->writable && sqlite3_db_readonly(store->db, "main") == 1) {
        return kl_err_set(err, KL_ERR_PERMISSION, "%s: the store is read-only", store->path);
    }
    if (store->writable) {
        kl_sql_wal_begin(store);
    }
    if ((rc = configure(store, err)) != KL_OK ||
        (rc = kl_schema_check(store, &schema, err)) != KL_OK) {
        return rc;
    }
    if (schema == 0 && mode != KL_STORE_CREATE) {
        return kl_err_set(err, KL_ERR_STORE,
                          "%s: is empty; keyloaderctl terminal add makes the store", store->path);
    }
    if (schema > 0 && schema < KL_STORE_VERSION && !store->writable) {
        return kl_err_set(err, KL_ERR_STORE,
                          "%s: has schema version %d, of an older keyloader: keyloaderctl store "
                          "migrate brings the store up to date, and keeps a copy; keyloaderctl "
                          "store restore takes a backup, and looks through it first",
                          store->path, schema);
    }
    if (store->writable && (rc = set_wal(store, err)) != KL_OK) {
        return rc;
    }
    if (schema == 0) {
        return kl_schema_make(store, err);
    }
    return schema < KL_STORE_VERSION ? kl_schema_migrate(store, err) : KL_OK;
}

/* SQLite's count of its memory, of which nobody asks, takes a lock at each allocation. Refused, and
 * no matter, where SQLite is in use already. */
static void set_up(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

enum kl_rc kl_store_open(const char *path, enum kl_store_mode mode, struct kl_store **out,
                         struct kl_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct kl_store *store = calloc(1, sizeof(*store));
    enum kl_rc rc;

    pthread_once(&once, set_up);
    if (!store) {
        return kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", path);
    }
    store->lock_fd = -1;
    store->writable = mode != KL_STORE_READ;
    if (!(store->path = strdup(path))) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", path);
        goto out;
    }
    if (mode == KL_STORE_CREATE && (rc = make_file(path, err)) != KL_OK) {
        goto out;
    }
    if ((rc = check_file(path, store->writable, err)) != KL_OK ||
        (rc = open_database(store, mode, err)) != KL_OK) {
        goto out;
    }
    *out = store;
    store = NULL;
out:
    kl_store_free(store);
    return rc;
}

void kl_store_free(struct kl_store *store)
{
    if (!store) {
        return;
    }
    kl_store_rollback(store);
    kl_sql_wal_end(store);
    kl_store_free(store->holder); /* before who may write: the last one takes the WAL away */
    for (size_t i = 0; i < KL_SQL_COUNT; i++) {
        sqlite3_finalize(store->kept[i]);
    }
    sqlite3_close(store->db);
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
    }
    free(store->path);
    free(store);
}

/* A file beside it, so that no lock of ours meets SQLite's own on the database. */
static enum kl_rc lock_path(const char *path, char out[PATH_MAX], struct kl_err *err)
{
    if ((size_t)snprintf(out, PATH_MAX, "%s.lock", path) >= PATH_MAX) {
        return kl_err_set(err, KL_ERR_STORE, "%.100s...: the path is too long", path);
    }
    return KL_OK;
}

/* kl_store_claimed holds the lock for a moment too: that one is waited for. */
static int lock_now(int fd)
{
    const struct timespec pause = {0, LOOK_MS * 1000000L};

    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK || i == LOOK_TRIES) {
            return 0;
        }
        nanosleep(&pause, NULL);
    }
    return 1;
}

enum kl_rc kl_store_claim(struct kl_store *store, struct kl_err *err)
{
    char path[PATH_MAX];
    enum kl_rc rc;
    int fd;

    if (store->lock_fd >= 0) {
        return KL_OK;
    }
    if ((rc = lock_path(store->path, path, err)) != KL_OK) {
        return rc;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return kl_err_errno(err, "open", "%s: the store cannot be claimed", path);
    }
    kl_sql_give(store->path, fd);
    if (!lock_now(fd)) {
        rc = errno == EWOULDBLOCK
                 ? kl_err_set(err, KL_ERR_BUSY, "%s: another daemon serves this store", path)
                 : kl_err_errno(err, "flock", "%s: the store cannot be claimed", path);
        close(fd);
        return rc;
    }
    store->lock_fd = fd;
    return KL_OK;
}

void kl_sql_unclaim(struct kl_store *store)
{
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
        store->lock_fd = -1;
    }
}

enum kl_rc kl_store_claimed(const char *store_path, int *claimed, struct kl_err *err)
{
    char path[PATH_MAX];
    enum kl_rc rc = lock_path(store_path, path, err);
    int fd, locked;

    if (rc != KL_OK) {
        return rc;
    }
    /* Never made here: the file is the daemon's user's. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        *claimed = 0;
        return KL_OK;
    }
    if (fd < 0) {
        return kl_err_errno(err, "open", "%s: whether a daemon runs cannot be seen", path);
    }
    locked = flock(fd, LOCK_SH | LOCK_NB) == 0;
    if (locked || errno == EWOULDBLOCK) {
        *claimed = !locked;
    } else {
        rc = kl_err_errno(err, "flock", "%s: whether a daemon runs cannot be seen", path);
    }
    close(fd);
    return rc;
}

/* ---- Transactions ---- */

static enum kl_rc run(struct kl_store *store, enum kl_sql which, const char *sql,
                      struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_keep(store, which, sql, &stmt, err);

    return rc == KL_OK ? kl_sql_write(store, stmt, err) : rc;
}

enum kl_rc kl_store_begin(struct kl_store *store, struct kl_err *err)
{
    store->has_head = 0;
    /* A writer takes the write lock at once: waiting for it is only safe before anything is read.
     */
    return store->writable ? run(store, KL_SQL_BEGIN_WRITER, "BEGIN IMMEDIATE", err)
                           : run(store, KL_SQL_BEGIN, "BEGIN", err);
}

enum kl_rc kl_store_commit(struct kl_store *store, struct kl_err *err)
{
    enum kl_rc rc;

    if (sqlite3_get_autocommit(store->db)) {
        return kl_err_set(err, KL_ERR_STORE,
                          "%s: an earlier failure has already undone the transaction", store->path);
    }
    rc = run(store, KL_SQL_COMMIT, "COMMIT", err);
    if (rc != KL_OK) {
        kl_store_rollback(store);
    }
    return rc;
}

void kl_store_rollback(struct kl_store *store)
{
    /* It may be gone already: SQLite undoes it by itself on some errors. */
    if (store->db && !sqlite3_get_autocommit(store->db)) {
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
}

enum kl_rc kl_store_savepoint(struct kl_store *store, struct kl_err *err)
{
    /* Outside a transaction SQLite would begin one here, and commit it at the release. */
    if (sqlite3_get_autocommit(store->db)) {
        return kl_err_set(err, KL_ERR_STORE, "%s: no transaction, or it has been undone",
                          store->path);
    }
    return run(store, KL_SQL_SAVEPOINT, "SAVEPOINT part", err);
}

enum kl_rc kl_store_release(struct kl_store *store, struct kl_err *err)
{
    return run(store, KL_SQL_RELEASE, "RELEASE part", err);
}

enum kl_rc kl_store_undo(struct kl_store *store, struct kl_err *err)
{
    store->has_head = 0;
    return kl_sql_exec(store, "ROLLBACK TO part; RELEASE part", "ROLLBACK TO", err);
}
