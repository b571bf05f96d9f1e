/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: how many there are of what, and how much room they take. TMKs are counted in
 * the partial indices of their states, which are small against the rows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "daemon/store/store_sqlite.h"

static const char census_sql[] =
    "SELECT coalesce(sum(blocked), 0),"
    " coalesce(sum(NOT blocked AND armed_until > ?1 AND attempts_left > 0), 0), count(*),"
    " (SELECT count(*) FROM tmk WHERE state = 1), (SELECT count(*) FROM tmk WHERE state = 2),"
    " (SELECT count(*) FROM tmk WHERE state = 3), (SELECT count(*) FROM tmk),"
    " (SELECT count(*) FROM imported), (SELECT count(*) FROM working),"
    " (SELECT count(*) FROM request WHERE state = 1)"
    " FROM terminal";
enum {
    BLOCKED,
    ARMED,
    TERMINALS,
    PENDING,
    ACTIVE,
    SUPERSEDED,
    TMKS,
    IMPORTED,
    WORKING,
    REQUESTS,
    NUMBERS
};

static enum kl_rc read_census(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                              struct kl_err *err)
{
    int64_t n[NUMBERS];

    for (int i = 0; i < NUMBERS; i++) {
        if (!kl_sql_number(stmt, i, 0, INT64_MAX, &n[i])) {
            return kl_sql_damaged(store, "terminal", err);
        }
    }
    *(struct kl_store_census *)out = (struct kl_store_census){
        .blocked = (uint64_t)n[BLOCKED],
        .armed = (uint64_t)n[ARMED],
        .idle = (uint64_t)(n[TERMINALS] - n[BLOCKED] - n[ARMED]),
        .pending = (uint64_t)n[PENDING],
        .active = (uint64_t)n[ACTIVE],
        .superseded = (uint64_t)n[SUPERSEDED],
        .ended = (uint64_t)(n[TMKS] - n[PENDING] - n[ACTIVE] - n[SUPERSEDED]),
        .imported = (uint64_t)n[IMPORTED],
        .working = (uint64_t)n[WORKING],
        .requests = (uint64_t)n[REQUESTS],
    };
    return KL_OK;
}

enum kl_rc kl_store_census(struct kl_store *store, int64_t now, struct kl_store_census *out,
                           struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc = kl_sql_keep(store, KL_SQL_CENSUS, census_sql, &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, now);
    rc = kl_sql_get(store, stmt, read_census, out, &found, err);
    return rc == KL_OK && !found ? kl_sql_damaged(store, "terminal", err) : rc;
}

enum kl_rc kl_store_space(const struct kl_store *store, uint64_t *bytes, uint64_t *free_bytes,
                          uint64_t *disk_bytes, struct kl_err *err)
{
    struct statvfs fs;
    struct stat database, wal;
    char *name = NULL;
    enum kl_rc rc = KL_OK;

    if (asprintf(&name, "%s-wal", store->path) < 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "path");
    }
    if (stat(store->path, &database) != 0 || statvfs(store->path, &fs) != 0) {
        rc = kl_err_errno(err, "stat", "%s", store->path);
        goto out;
    }
    if (stat(name, &wal) != 0) {
        wal.st_size = 0; /* none just now */
    }
    *bytes = (uint64_t)database.st_size + (uint64_t)wal.st_size;
    *free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    *disk_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
out:
    free(name);
    return rc;
}
