/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: statements and columns. Values go in by bound parameters only, and what
 * comes out is checked as strictly as what comes from a peer: a file can be damaged or exchanged.
 */
#include <string.h>

#include "daemon/store/store_sqlite.h"

/* ---- Statements ---- */

enum kl_rc kl_sql_keep(struct kl_store *store, enum kl_sql which, const char *sql,
                       sqlite3_stmt **out, struct kl_err *err)
{
    if (!store->kept[which] && sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                                  &store->kept[which], NULL) != SQLITE_OK) {
        return kl_sql_err(store, "sqlite3_prepare_v3", err);
    }
    *out = store->kept[which];
    return KL_OK;
}

/* Without a transaction around it, it would commit by itself: what is left of a unit of work whose
 * transaction SQLite has undone must not. */
enum kl_rc kl_sql_writer(struct kl_store *store, enum kl_sql which, const char *sql,
                         sqlite3_stmt **out, struct kl_err *err)
{
    if (sqlite3_get_autocommit(store->db)) {
        return kl_err_set(err, KL_ERR_STORE, "%s: no transaction, or it has been undone",
                          store->path);
    }
    return kl_sql_keep(store, which, sql, out, err);
}

/* No lock and no key material stays in it. */
void kl_sql_let_go(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

/* Binding to a statement of ours fails for lack of memory only, and then the step fails too: the
 * missing value is NULL, which no column takes. */
void kl_sql_bind_text(sqlite3_stmt *stmt, int column, const char *text)
{
    sqlite3_bind_text(stmt, column, text, -1, SQLITE_STATIC);
}

void kl_sql_bind_blob(sqlite3_stmt *stmt, int column, const void *data, size_t len)
{
    sqlite3_bind_blob(stmt, column, data, (int)len, SQLITE_STATIC);
}

enum kl_rc kl_sql_write(struct kl_store *store, sqlite3_stmt *stmt, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    if (sqlite3_step(stmt) != SQLITE_DONE) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    kl_sql_let_go(stmt);
    return rc;
}

enum kl_rc kl_sql_get(struct kl_store *store, sqlite3_stmt *stmt, kl_sql_read_fn read, void *out,
                      int *found, struct kl_err *err)
{
    int step = sqlite3_step(stmt);
    enum kl_rc rc = KL_OK;

    if (step == SQLITE_ROW) {
        rc = read(store, stmt, out, err);
    } else if (step != SQLITE_DONE) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    kl_sql_let_go(stmt);
    if (rc == KL_OK) {
        *found = step == SQLITE_ROW;
    }
    return rc;
}

enum kl_rc kl_sql_each(struct kl_store *store, enum kl_sql which, const char *sql, const char *text,
                       int64_t number, const struct kl_sql_row *row, struct kl_err *err)
{
    int nested = store->kept[which] && sqlite3_stmt_busy(store->kept[which]);
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = KL_OK;
    int step = SQLITE_DONE;

    if (!nested) {
        rc = kl_sql_keep(store, which, sql, &stmt, err);
    } else if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        rc = kl_sql_err(store, "sqlite3_prepare_v2", err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (sqlite3_bind_parameter_index(stmt, "?1")) {
        kl_sql_bind_text(stmt, 1, text);
    }
    if (sqlite3_bind_parameter_index(stmt, "?2")) {
        sqlite3_bind_int64(stmt, 2, number);
    }
    if (sqlite3_bind_parameter_index(stmt, "?3")) {
        sqlite3_bind_int64(stmt, 3, row->after);
    }
    if (sqlite3_bind_parameter_index(stmt, "?4")) {
        sqlite3_bind_int64(stmt, 4, row->but);
    }
    while (rc == KL_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        rc = row->take(store, stmt, row, err);
    }
    if (rc == KL_OK && step != SQLITE_DONE) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    if (nested) {
        sqlite3_finalize(stmt);
    } else {
        kl_sql_let_go(stmt);
    }
    return rc;
}

/* ---- Columns ---- */

int kl_sql_text(sqlite3_stmt *stmt, int column, char *out, size_t max)
{
    const unsigned char *text = sqlite3_column_text(stmt, column);
    size_t len = (size_t)sqlite3_column_bytes(stmt, column);

    if (!text || len > max || memchr(text, 0, len)) {
        return 0;
    }
    memcpy(out, text, len);
    out[len] = '\0';
    return 1;
}

int kl_sql_blob(sqlite3_stmt *stmt, int column, uint8_t *out, size_t min, size_t max, size_t *len)
{
    const void *data = sqlite3_column_blob(stmt, column);
    size_t n = (size_t)sqlite3_column_bytes(stmt, column);

    if (n < min || n > max || (n > 0 && !data)) {
        return 0;
    }
    if (n > 0) {
        memcpy(out, data, n);
    }
    *len = n;
    return 1;
}

int kl_sql_number(sqlite3_stmt *stmt, int column, int64_t min, int64_t max, int64_t *out)
{
    *out = sqlite3_column_int64(stmt, column);
    return sqlite3_column_type(stmt, column) == SQLITE_INTEGER && *out >= min && *out <= max;
}

enum kl_rc kl_sql_damaged(struct kl_store *store, const char *table, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_STORE,
                      "%s: a row of %s is damaged: restore the store from a backup", store->path,
                      table);
}
