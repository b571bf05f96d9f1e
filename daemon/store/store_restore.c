/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Restoring the store. All work is done on a copy of the backup, STORE.restore, which a crash
 * leaves lying and the next restore removes. Then there are two ways into place:
 *
 * - The file that is there can be written to by SQLite (it may be as damaged as it likes
 * otherwise): its contents are replaced in one transaction. Nothing is renamed: a WAL that belongs
 * to the old contents could otherwise meet the new ones, and whoever has the file open goes on with
 * it.
 * - It cannot. Then nobody has it open either. It gets a second name, a text that is no database
 *   takes its place, its WAL is removed, and the copy is renamed into place: until that, there is
 *   nothing that anybody could take for a store.
 */
#include "daemon/store/store_restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf/cli.h"
#include "conf/log.h"
#include "daemon/store/store_sqlite.h"

#define SUFFIX ".restore"

static enum kl_rc name(char out[PATH_MAX], const char *path, const char *suffix, struct kl_err *err)
{
    if ((size_t)snprintf(out, PATH_MAX, "%s%s", path, suffix) >= PATH_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "%.100s...: the path is too long", path);
    }
    return KL_OK;
}

static int exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* ---- The copy that is worked on ---- */

/* It, and what SQLite, or bringing it up to date, may have left beside it. */
static int is_of_copy(const char *rest)
{
    return *rest == '\0' || strchr("-.", *rest) != NULL;
}

/* Nothing of the file that was handed in is trusted before this. */
static enum kl_rc verify(struct kl_store *store, struct kl_restore *restore, struct kl_err *err)
{
    enum kl_rc rc = kl_store_check(store, &restore->check, err);

    if (rc == KL_OK && restore->check.findings > 0) {
        *err = restore->check.first;
        rc = err->rc = restore->check.worst;
        return kl_err_context(err, "%s is not good", restore->backup);
    }
    return rc;
}

/* The store that is to be replaced, if that can still be read. */
static struct kl_store *open_past(const char *path)
{
    struct kl_err why = KL_ERR_INIT;
    struct kl_store *past = NULL;
    uint8_t hash[KL_HASH_LEN];
    uint64_t id;

    if (kl_store_open(path, KL_STORE_READ, &past, &why) == KL_OK &&
        kl_store_audit_head(past, &id, hash, &why) != KL_OK) {
        kl_store_free(past);
        past = NULL;
    }
    return past;
}

static enum kl_rc make_fit(struct kl_store *store, struct kl_restore *restore,
                           struct kl_store *replaced, struct kl_err *err)
{
    const struct kl_restore_past past = {replaced, kl_file_name(restore->kept)};
    enum kl_rc rc = kl_store_begin(store, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_store_set_actor(store, restore->actor);
    rc = kl_life_restored(store, &past, restore->now, &restore->restored, err);
    if (rc == KL_OK) {
        return kl_store_commit(store, err);
    }
    kl_store_rollback(store);
    return rc;
}

/* A store that is too damaged for its past to be read is as good as none. */
static enum kl_rc fit_with_past(struct kl_store *store, struct kl_restore *restore,
                                struct kl_err *err)
{
    struct kl_store *past = open_past(restore->path);
    int readable = past != NULL;
    enum kl_rc rc = make_fit(store, restore, past, err);

    kl_store_free(past);
    return readable && (rc == KL_ERR_STORE || rc == KL_ERR_IO) ? make_fit(store, restore, NULL, err)
                                                               : rc;
}

/* Whole in one file again. */
static enum kl_rc settle(struct kl_store *store, struct kl_err *err)
{
    return kl_sql_exec(store, "PRAGMA journal_mode = DELETE", "journal_mode", err);
}

/* What is put there as it is takes no record: the trail that is left does, and is kept. */
static enum kl_rc record_leaving(const struct kl_restore *restore, struct kl_err *err)
{
    const struct kl_log_field fields[] = {KL_STR("for", kl_file_name(restore->backup)),
                                          KL_STR("kept", kl_file_name(restore->kept))};
    char detail[KL_AUDIT_DETAIL_MAX + 1];
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_store_open(restore->path, KL_STORE_WRITE, &store, err);

    kl_log_format(detail, sizeof(detail), fields, sizeof(fields) / sizeof(fields[0]));
    if (rc == KL_OK && (rc = kl_store_begin(store, err)) == KL_OK) {
        kl_store_set_actor(store, restore->actor);
        rc = kl_store_audit(store, restore->now, "store-left", "", detail, err);
        if (rc == KL_OK) {
            rc = kl_store_commit(store, err);
        }
    }
    kl_store_free(store);
    return rc;
}

static enum kl_rc make_copy(const struct kl_restore *restore, const char *copy, struct kl_err *err)
{
    const struct kl_store_copying what = {.from = restore->backup,
                                          .path = copy,
                                          .tell = restore->tell,
                                          .arg = restore->arg};

    kl_file_sweep(copy, is_of_copy);
    return kl_store_copy_file(&what, err);
}

/* A copy that opens without being brought up to date is of this version. */
static enum kl_rc check_older(const struct kl_restore *restore, const char *copy,
                              struct kl_err *err)
{
    struct kl_err why = KL_ERR_INIT;
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_store_open(copy, KL_STORE_READ, &store, &why);

    kl_store_free(store);
    return rc != KL_OK ? KL_OK
                       : kl_err_set(err, KL_ERR_INPUT,
                                    "%s: has the schema of this keyloader, not of an older one",
                                    restore->backup);
}

/* Brought up to date and looked through is a copy of the copy, which itself is put in place: not
 * the backup once more, which may be another file by then. */
static enum kl_rc prepare_older(struct kl_restore *restore, const char *copy, struct kl_err *err)
{
    struct kl_store *store = NULL;
    char newer[PATH_MAX];
    const struct kl_store_copying what = {.from = copy, .path = newer};
    enum kl_rc rc = check_older(restore, copy, err);

    if (rc == KL_OK && (rc = name(newer, copy, ".newer", err)) == KL_OK &&
        (rc = kl_store_copy_file(&what, err)) == KL_OK &&
        (rc = kl_store_open(newer, KL_STORE_WRITE, &store, err)) == KL_OK) {
        rc = verify(store, restore, err);
    }
    kl_store_free(store);
    return rc;
}

static enum kl_rc prepare(struct kl_restore *restore, const char *copy, struct kl_err *err)
{
    struct kl_store *store = NULL;
    enum kl_rc rc = make_copy(restore, copy, err);

    if (rc == KL_OK && restore->keep_schema) {
        return prepare_older(restore, copy, err);
    }
    if (rc != KL_OK || (rc = kl_store_open(copy, KL_STORE_WRITE, &store, err)) != KL_OK) {
        return rc;
    }
    if ((rc = verify(store, restore, err)) == KL_OK &&
        (rc = fit_with_past(store, restore, err)) == KL_OK) {
        rc = settle(store, err);
    }
    kl_store_free(store);
    return rc;
}

/* ---- Into place ---- */

/* KL_OK: done, and what was there is in `kept`. Else nothing has changed. */
static enum kl_rc by_contents(const struct kl_restore *restore, const char *copy,
                              struct kl_err *err)
{
    const struct kl_store_copying keep = {.from = restore->path, .path = restore->kept};
    enum kl_rc rc = kl_store_copy_file(&keep, err);

    return rc == KL_OK ? kl_store_replace(copy, restore->path, err) : rc;
}

static enum kl_rc second_name(const char *path, const char *other, struct kl_err *err)
{
    if (link(path, other) != 0 && errno != ENOENT) {
        return kl_err_errno(err, "link", "%s: it cannot be kept as %s", path, other);
    }
    return KL_OK;
}

static enum kl_rc move(const char *from, const char *to, struct kl_err *err)
{
    if (rename(from, to) != 0) {
        return kl_err_errno(err, "rename", "%s cannot take the place of %s", from, to);
    }
    return kl_file_sync_dir(to, err);
}

/* What belongs to contents that are no more. */
static enum kl_rc remove_beside(const char *path, const char *suffix, struct kl_err *err)
{
    char beside[PATH_MAX];
    enum kl_rc rc = name(beside, path, suffix, err);

    return rc == KL_OK ? kl_file_remove(beside, err) : rc;
}

/* By root the copy is the backup's owner's until then; the store stays whose it was. */
static void give(const struct kl_restore *restore, const char *copy)
{
    int fd = open(copy, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd >= 0) {
        kl_sql_give(restore->kept[0] ? restore->kept : restore->path, fd);
        close(fd);
    }
}

static enum kl_rc by_name(const struct kl_restore *restore, const char *copy, struct kl_err *err)
{
    static const char notice[] = "A restore of this store was cut off here: run keyloaderctl store "
                                 "restore again.\n";
    char wal[PATH_MAX], kept_wal[PATH_MAX], placeholder[PATH_MAX];
    enum kl_rc rc;

    if ((rc = name(wal, restore->path, "-wal", err)) != KL_OK ||
        (rc = name(kept_wal, restore->kept, "-wal", err)) != KL_OK ||
        (rc = name(placeholder, restore->path, SUFFIX ".notice", err)) != KL_OK) {
        return rc;
    }
    if (restore->kept[0] &&
        ((rc = second_name(restore->path, restore->kept, err)) != KL_OK ||
         (rc = second_name(wal, kept_wal, err)) != KL_OK ||
         (rc = kl_file_write(placeholder, notice, sizeof(notice) - 1, 0600, 1, err)) != KL_OK ||
         (rc = move(placeholder, restore->path, err)) != KL_OK)) {
        return rc;
    }
    if ((rc = remove_beside(restore->path, "-wal", err)) != KL_OK ||
        (rc = remove_beside(restore->path, "-shm", err)) != KL_OK ||
        (rc = remove_beside(restore->path, "-journal", err)) != KL_OK) {
        return rc;
    }
    give(restore, copy);
    return move(copy, restore->path, err);
}

static enum kl_rc put_in_place(struct kl_restore *restore, const char *copy, struct kl_err *err)
{
    struct kl_err why = KL_ERR_INIT;
    enum kl_rc rc = KL_ERR_STORE;

    if (restore->keep_schema && restore->kept[0]) {
        restore->unrecorded = record_leaving(restore, &why) != KL_OK;
    }
    if (restore->kept[0]) {
        rc = by_contents(restore, copy, &why);
    }
    if (rc == KL_OK) {
        return rc;
    }
    if (restore->kept[0]) {
        (void)unlink(restore->kept); /* a copy of what is there still */
    }
    if (rc == KL_ERR_STORE || rc == KL_ERR_IO) {
        return by_name(restore, copy, err);
    }
    *err = why;
    return rc;
}

/* STORE.before-restore-20260131T123456Z, and a number after it if that is taken. */
static enum kl_rc choose_kept(struct kl_restore *restore, struct kl_err *err)
{
    char suffix[64], when[32];
    time_t now = (time_t)restore->now;
    struct tm tm;
    enum kl_rc rc = KL_OK;

    restore->kept[0] = '\0';
    if (!exists(restore->path)) {
        return KL_OK;
    }
    if (!gmtime_r(&now, &tm)) {
        return kl_err_set(err, KL_ERR_SYSTEM, "the clock says no time");
    }
    strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
    for (int i = 1; i <= 100 && rc == KL_OK; i++) {
        snprintf(suffix, sizeof(suffix), ".before-restore-%s", when);
        if (i > 1) {
            snprintf(suffix, sizeof(suffix), ".before-restore-%s-%d", when, i);
        }
        rc = name(restore->kept, restore->path, suffix, err);
        if (rc == KL_OK && !exists(restore->kept)) {
            return KL_OK;
        }
    }
    return rc == KL_OK ? kl_err_set(err, KL_ERR_EXISTS, "%s and others exist", restore->kept) : rc;
}

enum kl_rc kl_store_restore(struct kl_restore *restore, struct kl_err *err)
{
    struct kl_store claim = {.path = (char *)restore->path, .lock_fd = -1};
    char copy[PATH_MAX];
    enum kl_rc rc = name(copy, restore->path, SUFFIX, err);

    if (rc == KL_OK && access(restore->backup, R_OK) != 0) {
        rc = kl_err_errno(err, "access", "%s", restore->backup);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if ((rc = kl_store_claim(&claim, err)) != KL_OK) {
        return rc == KL_ERR_BUSY ? kl_err_set(err, rc,
                                              "keyloaderd serves this store: stop it first "
                                              "(systemctl stop keyloaderd, or SIGTERM)")
                                 : rc;
    }
    if ((rc = choose_kept(restore, err)) == KL_OK && (rc = prepare(restore, copy, err)) == KL_OK) {
        rc = put_in_place(restore, copy, err);
    }
    kl_file_sweep(copy, is_of_copy);
    kl_sql_unclaim(&claim);
    return rc;
}
