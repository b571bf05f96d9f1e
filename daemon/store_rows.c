/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: rows. Values go in by bound parameters only, and what comes out is checked
 * as strictly as what comes from a peer: a file can be damaged or exchanged.
 */
#include <string.h>

#include "daemon/store_sqlite.h"

#define TERMINAL_COLUMNS "serial, pinpad, alg, blocked, armed_until, attempts_left, created"
#define TMK_COLUMNS \
    "serial, version, state, alg, kcv, cryptogram, ack_mac, active_mac, drop_mac, created, " \
    "expires, activated, pinpad"

static const char *const kept_sql[KL_SQL_COUNT] = {
    [KL_SQL_TERMINAL_ADD] =
        "INSERT INTO terminal (" TERMINAL_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [KL_SQL_TERMINAL_GET] = "SELECT " TERMINAL_COLUMNS " FROM terminal WHERE serial = ?1",
    [KL_SQL_TERMINAL_UPDATE] = "UPDATE terminal SET pinpad = ?2, alg = ?3, blocked = ?4,"
                               " armed_until = ?5, attempts_left = ?6 WHERE serial = ?1",
    [KL_SQL_TMK_ADD] = "INSERT INTO tmk (" TMK_COLUMNS ")"
                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [KL_SQL_TMK_GET] = "SELECT " TMK_COLUMNS " FROM tmk WHERE serial = ?1 AND version = ?2",
    [KL_SQL_TMK_SET_STATE] = "UPDATE tmk SET state = ?3, activated = ?4, cryptogram ="
                             " CASE WHEN ?3 IN (4, 5) THEN x'' ELSE cryptogram END"
                             " WHERE serial = ?1 AND version = ?2",
    [KL_SQL_TMK_LAST_VERSION] = "SELECT coalesce(max(version), 0) FROM tmk WHERE serial = ?1",
    [KL_SQL_TMK_EXPIRED] = "SELECT " TMK_COLUMNS " FROM tmk WHERE state = 1 AND expires <= ?1"
                           " ORDER BY expires LIMIT ?2",
    [KL_SQL_AUDIT_ADD] = "INSERT INTO audit (time, event, serial, detail) VALUES (?1, ?2, ?3, ?4)",
};

const char *kl_tmk_state_name(enum kl_tmk_state state)
{
    switch (state) {
    case KL_TMK_PENDING:
        return "pending";
    case KL_TMK_ACTIVE:
        return "active";
    case KL_TMK_SUPERSEDED:
        return "superseded";
    case KL_TMK_DESTROYED:
        return "destroyed";
    case KL_TMK_EXPIRED:
        return "expired";
    }
    return "?";
}

/* ---- Statements ---- */

static enum kl_rc keep(struct kl_store *store, enum kl_sql which, sqlite3_stmt **out,
                       struct kl_err *err)
{
    if (!store->kept[which] &&
        sqlite3_prepare_v3(store->db, kept_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                           &store->kept[which], NULL) != SQLITE_OK) {
        return kl_sql_err(store, "sqlite3_prepare_v3", err);
    }
    *out = store->kept[which];
    return KL_OK;
}

/* A statement that writes. Without a transaction around it, it would commit by itself: what is left
 * of a unit of work whose transaction SQLite has undone must not. */
static enum kl_rc keep_writer(struct kl_store *store, enum kl_sql which, sqlite3_stmt **out,
                              struct kl_err *err)
{
    if (sqlite3_get_autocommit(store->db)) {
        return kl_err_set(err, KL_ERR_STORE, "%s: no transaction, or it has been undone",
                          store->path);
    }
    return keep(store, which, out, err);
}

/* Done with a kept statement: no lock and no key material stays in it. */
static void let_go(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

/* Binding to a statement of ours fails for lack of memory only, and then the step fails too: the
 * missing value is NULL, which no column takes. */
static void bind_text(sqlite3_stmt *stmt, int column, const char *text)
{
    sqlite3_bind_text(stmt, column, text, -1, SQLITE_STATIC);
}

static void bind_blob(sqlite3_stmt *stmt, int column, const void *data, size_t len)
{
    sqlite3_bind_blob(stmt, column, data, (int)len, SQLITE_STATIC);
}

static enum kl_rc write_row(struct kl_store *store, sqlite3_stmt *stmt, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    if (sqlite3_step(stmt) != SQLITE_DONE) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    let_go(stmt);
    return rc;
}

/* ---- Columns ---- */

static int get_text(sqlite3_stmt *stmt, int column, char *out, size_t max)
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

static int get_blob(sqlite3_stmt *stmt, int column, uint8_t *out, size_t min, size_t max,
                    size_t *len)
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

static int get_number(sqlite3_stmt *stmt, int column, int64_t min, int64_t max, int64_t *out)
{
    *out = sqlite3_column_int64(stmt, column);
    return sqlite3_column_type(stmt, column) == SQLITE_INTEGER && *out >= min && *out <= max;
}

static enum kl_rc damaged(struct kl_store *store, const char *table, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_STORE,
                      "%s: a row of %s is damaged: restore the store from a backup", store->path,
                      table);
}

static enum kl_rc read_terminal(struct kl_store *store, sqlite3_stmt *stmt, struct kl_terminal *out,
                                struct kl_err *err)
{
    struct kl_terminal t = {0};
    int64_t alg, blocked, attempts;

    if (!get_text(stmt, 0, t.serial, KL_SERIAL_MAX) ||
        !get_text(stmt, 1, t.pinpad_serial, KL_SERIAL_MAX) ||
        !get_number(stmt, 2, 1, KL_ALG_COUNT, &alg) || !get_number(stmt, 3, 0, 1, &blocked) ||
        !get_number(stmt, 4, 0, INT64_MAX, &t.armed_until) ||
        !get_number(stmt, 5, 0, UINT32_MAX, &attempts) ||
        !get_number(stmt, 6, INT64_MIN, INT64_MAX, &t.created)) {
        return damaged(store, "terminal", err);
    }
    t.alg = (enum kl_alg)alg;
    t.blocked = (int)blocked;
    t.attempts_left = (uint32_t)attempts;
    *out = t;
    return KL_OK;
}

static enum kl_rc read_tmk(struct kl_store *store, sqlite3_stmt *stmt, struct kl_tmk *out,
                           struct kl_err *err)
{
    struct kl_tmk t = {0};
    int64_t version, state, alg;
    size_t len;

    if (!get_text(stmt, 0, t.serial, KL_SERIAL_MAX) ||
        !get_number(stmt, 1, 1, KL_VERSION_MAX, &version) ||
        !get_number(stmt, 2, KL_TMK_PENDING, KL_TMK_EXPIRED, &state) ||
        !get_number(stmt, 3, 1, KL_ALG_COUNT, &alg) ||
        !get_blob(stmt, 4, t.kcv, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX, &t.kcv_len) ||
        !get_blob(stmt, 5, t.cryptogram, 0, sizeof(t.cryptogram), &t.cryptogram_len) ||
        !get_blob(stmt, 6, t.ack_mac, KL_MAC_LEN, KL_MAC_LEN, &len) ||
        !get_blob(stmt, 7, t.active_mac, KL_MAC_LEN, KL_MAC_LEN, &len) ||
        !get_blob(stmt, 8, t.drop_mac, KL_MAC_LEN, KL_MAC_LEN, &len) ||
        !get_number(stmt, 9, INT64_MIN, INT64_MAX, &t.created) ||
        !get_number(stmt, 10, INT64_MIN, INT64_MAX, &t.expires) ||
        !get_number(stmt, 11, INT64_MIN, INT64_MAX, &t.activated) ||
        !get_text(stmt, 12, t.pinpad_serial, KL_SERIAL_MAX)) {
        return damaged(store, "tmk", err);
    }
    t.version = (uint32_t)version;
    t.state = (enum kl_tmk_state)state;
    t.alg = (enum kl_alg)alg;
    *out = t;
    return KL_OK;
}

/* ---- Terminals ---- */

static void bind_terminal(sqlite3_stmt *stmt, const struct kl_terminal *terminal)
{
    bind_text(stmt, 1, terminal->serial);
    bind_text(stmt, 2, terminal->pinpad_serial);
    sqlite3_bind_int64(stmt, 3, terminal->alg);
    sqlite3_bind_int64(stmt, 4, terminal->blocked != 0);
    sqlite3_bind_int64(stmt, 5, terminal->armed_until);
    sqlite3_bind_int64(stmt, 6, terminal->attempts_left);
}

enum kl_rc kl_store_terminal_add(struct kl_store *store, const struct kl_terminal *terminal,
                                 struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = keep_writer(store, KL_SQL_TERMINAL_ADD, &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    bind_terminal(stmt, terminal);
    sqlite3_bind_int64(stmt, 7, terminal->created);
    rc = write_row(store, stmt, err);
    if (rc == KL_ERR_EXISTS) {
        kl_err_set(err, rc, "terminal %s is registered already", terminal->serial);
    }
    return rc;
}

static enum kl_rc no_terminal(const char *serial, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_NOT_FOUND, "terminal %.32s is not registered", serial);
}

enum kl_rc kl_store_terminal_get(struct kl_store *store, const char *serial,
                                 struct kl_terminal *out, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = keep(store, KL_SQL_TERMINAL_GET, &stmt, err);
    int step;

    if (rc != KL_OK) {
        return rc;
    }
    bind_text(stmt, 1, serial);
    step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        rc = read_terminal(store, stmt, out, err);
    } else if (step == SQLITE_DONE) {
        rc = no_terminal(serial, err);
    } else {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    let_go(stmt);
    return rc;
}

enum kl_rc kl_store_terminal_update(struct kl_store *store, const struct kl_terminal *terminal,
                                    struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = keep_writer(store, KL_SQL_TERMINAL_UPDATE, &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    bind_terminal(stmt, terminal);
    rc = write_row(store, stmt, err);
    if (rc == KL_OK && sqlite3_changes(store->db) == 0) {
        rc = no_terminal(terminal->serial, err);
    }
    return rc;
}

/* What an iteration does with one row. */
struct row_fn {
    enum kl_rc (*take)(struct kl_store *store, sqlite3_stmt *stmt, const struct row_fn *row,
                       struct kl_err *err);
    union {
        kl_terminal_fn terminal;
        kl_tmk_fn tmk;
        kl_audit_fn audit;
    } fn;
    void *arg;
};

/* Iterations have statements of their own, as one may be started from within another. ?1 is text,
 * ?2 a number; what the statement does not name is not bound. */
static enum kl_rc each(struct kl_store *store, const char *sql, const char *text, int64_t number,
                       const struct row_fn *row, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = KL_OK;
    int step = SQLITE_DONE;

    if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return kl_sql_err(store, "sqlite3_prepare_v2", err);
    }
    if (sqlite3_bind_parameter_index(stmt, "?1")) {
        bind_text(stmt, 1, text);
    }
    if (sqlite3_bind_parameter_index(stmt, "?2")) {
        sqlite3_bind_int64(stmt, 2, number);
    }
    while (rc == KL_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        rc = row->take(store, stmt, row, err);
    }
    if (rc == KL_OK && step != SQLITE_DONE) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    sqlite3_finalize(stmt);
    return rc;
}

static enum kl_rc take_terminal(struct kl_store *store, sqlite3_stmt *stmt,
                                const struct row_fn *row, struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = read_terminal(store, stmt, &terminal, err);

    return rc == KL_OK ? row->fn.terminal(&terminal, row->arg, err) : rc;
}

enum kl_rc kl_store_terminal_each(struct kl_store *store, kl_terminal_fn fn, void *arg,
                                  struct kl_err *err)
{
    struct row_fn row = {take_terminal, {.terminal = fn}, arg};

    return each(store, "SELECT " TERMINAL_COLUMNS " FROM terminal ORDER BY serial", NULL, 0, &row,
                err);
}

/* ---- TMKs ---- */

enum kl_rc kl_store_tmk_add(struct kl_store *store, const struct kl_tmk *tmk, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = keep_writer(store, KL_SQL_TMK_ADD, &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    bind_text(stmt, 1, tmk->serial);
    sqlite3_bind_int64(stmt, 2, tmk->version);
    sqlite3_bind_int64(stmt, 3, tmk->state);
    sqlite3_bind_int64(stmt, 4, tmk->alg);
    bind_blob(stmt, 5, tmk->kcv, tmk->kcv_len);
    bind_blob(stmt, 6, tmk->cryptogram, tmk->cryptogram_len);
    bind_blob(stmt, 7, tmk->ack_mac, KL_MAC_LEN);
    bind_blob(stmt, 8, tmk->active_mac, KL_MAC_LEN);
    bind_blob(stmt, 9, tmk->drop_mac, KL_MAC_LEN);
    sqlite3_bind_int64(stmt, 10, tmk->created);
    sqlite3_bind_int64(stmt, 11, tmk->expires);
    sqlite3_bind_int64(stmt, 12, tmk->activated);
    bind_text(stmt, 13, tmk->pinpad_serial);
    rc = write_row(store, stmt, err);
    if (rc == KL_ERR_EXISTS) {
        kl_err_set(err, rc, "terminal %s has a TMK of version %u already", tmk->serial,
                   (unsigned)tmk->version);
    }
    return rc;
}

static enum kl_rc no_tmk(const char *serial, uint32_t version, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_NOT_FOUND, "terminal %.32s has no TMK of version %u", serial,
                      (unsigned)version);
}

enum kl_rc kl_store_tmk_get(struct kl_store *store, const char *serial, uint32_t version,
                            struct kl_tmk *out, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = keep(store, KL_SQL_TMK_GET, &stmt, err);
    int step;

    if (rc != KL_OK) {
        return rc;
    }
    bind_text(stmt, 1, serial);
    sqlite3_bind_int64(stmt, 2, version);
    step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        rc = read_tmk(store, stmt, out, err);
    } else if (step == SQLITE_DONE) {
        rc = no_tmk(serial, version, err);
    } else {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    let_go(stmt);
    return rc;
}

enum kl_rc kl_store_tmk_set_state(struct kl_store *store, const char *serial, uint32_t version,
                                  enum kl_tmk_state state, int64_t activated, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = keep_writer(store, KL_SQL_TMK_SET_STATE, &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    bind_text(stmt, 1, serial);
    sqlite3_bind_int64(stmt, 2, version);
    sqlite3_bind_int64(stmt, 3, state);
    sqlite3_bind_int64(stmt, 4, activated);
    rc = write_row(store, stmt, err);
    if (rc == KL_OK && sqlite3_changes(store->db) == 0) {
        rc = no_tmk(serial, version, err);
    }
    return rc;
}

enum kl_rc kl_store_tmk_last_version(struct kl_store *store, const char *serial, uint32_t *out,
                                     struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = keep(store, KL_SQL_TMK_LAST_VERSION, &stmt, err);
    int64_t version;

    if (rc != KL_OK) {
        return rc;
    }
    bind_text(stmt, 1, serial);
    if (sqlite3_step(stmt) != SQLITE_ROW) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    } else if (!get_number(stmt, 0, 0, KL_VERSION_MAX, &version)) {
        rc = damaged(store, "tmk", err);
    } else {
        *out = (uint32_t)version;
    }
    let_go(stmt);
    return rc;
}

static enum kl_rc take_tmk(struct kl_store *store, sqlite3_stmt *stmt, const struct row_fn *row,
                           struct kl_err *err)
{
    struct kl_tmk tmk;
    enum kl_rc rc = read_tmk(store, stmt, &tmk, err);

    return rc == KL_OK ? row->fn.tmk(&tmk, row->arg, err) : rc;
}

enum kl_rc kl_store_tmk_each(struct kl_store *store, const char *serial, enum kl_tmk_state state,
                             kl_tmk_fn fn, void *arg, struct kl_err *err)
{
    struct row_fn row = {take_tmk, {.tmk = fn}, arg};
    /* Two texts, so that the one with a serial goes by the primary key. */
    static const char of_one[] = "SELECT " TMK_COLUMNS " FROM tmk WHERE serial = ?1"
                                 " AND (?2 = 0 OR state = ?2) ORDER BY version";
    static const char of_all[] = "SELECT " TMK_COLUMNS " FROM tmk"
                                 " WHERE ?2 = 0 OR state = ?2 ORDER BY serial, version";

    return each(store, serial ? of_one : of_all, serial, state, &row, err);
}

enum kl_rc kl_store_tmk_expired(struct kl_store *store, int64_t now, struct kl_tmk *out, size_t max,
                                size_t *count, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = keep(store, KL_SQL_TMK_EXPIRED, &stmt, err);
    int step = SQLITE_DONE;
    size_t n = 0;

    if (rc != KL_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, now);
    sqlite3_bind_int64(stmt, 2, (int64_t)max);
    while (rc == KL_OK && n < max && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        rc = read_tmk(store, stmt, &out[n++], err);
    }
    if (rc == KL_OK && step != SQLITE_ROW && step != SQLITE_DONE) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    let_go(stmt);
    if (rc == KL_OK) {
        *count = n;
    }
    return rc;
}

/* ---- Audit ---- */

enum kl_rc kl_store_audit(struct kl_store *store, int64_t now, const char *event,
                          const char *serial, const char *detail, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = keep_writer(store, KL_SQL_AUDIT_ADD, &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, now);
    sqlite3_bind_text(stmt, 2, event, (int)strnlen(event, KL_AUDIT_EVENT_MAX), SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, serial, (int)strnlen(serial, KL_SERIAL_MAX), SQLITE_STATIC);
    sqlite3_bind_text(stmt, 4, detail, (int)strnlen(detail, KL_AUDIT_DETAIL_MAX), SQLITE_STATIC);
    return write_row(store, stmt, err);
}

static enum kl_rc take_audit(struct kl_store *store, sqlite3_stmt *stmt, const struct row_fn *row,
                             struct kl_err *err)
{
    struct kl_audit record;
    int64_t id;

    if (!get_number(stmt, 0, 1, INT64_MAX, &id) ||
        !get_number(stmt, 1, INT64_MIN, INT64_MAX, &record.time) ||
        !get_text(stmt, 2, record.event, KL_AUDIT_EVENT_MAX) ||
        !get_text(stmt, 3, record.serial, KL_SERIAL_MAX) ||
        !get_text(stmt, 4, record.detail, KL_AUDIT_DETAIL_MAX)) {
        return damaged(store, "audit", err);
    }
    record.id = (uint64_t)id;
    return row->fn.audit(&record, row->arg, err);
}

enum kl_rc kl_store_audit_each(struct kl_store *store, uint64_t last, kl_audit_fn fn, void *arg,
                               struct kl_err *err)
{
    struct row_fn row = {take_audit, {.audit = fn}, arg};
    /* A negative limit is none. */
    int64_t limit = last == 0 || last > INT64_MAX ? -1 : (int64_t)last;

    return each(store,
                "SELECT * FROM (SELECT id, time, event, serial, detail FROM audit"
                " ORDER BY id DESC LIMIT ?2) ORDER BY id",
                NULL, limit, &row, err);
}
