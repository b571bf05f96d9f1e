/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the SQLite store share: the connection, how its errors are told, statements
 * and columns. store_sqlite.c opens, locks and commits; store_schema.c has the tables,
 * store_migrate.c brings older ones up to date, store_copy.c copies the whole, store_wal.c keeps
 * the WAL short; store_sql.c has what is below under "Statements"; store_rows.c (terminals, TMKs),
 * store_keys.c (imported keys, working keys, who has which key), store_audit.c, store_trail.c (the
 * audit trail as a whole), store_meta.c (meta, requests) and store_census.c (how many there are)
 * read and write rows.
 */
#ifndef KL_DAEMON_STORE_STORE_SQLITE_H
#define KL_DAEMON_STORE_STORE_SQLITE_H

#include <sqlite3.h>

#include "daemon/store/store.h"
#include "proto/err.h"

/* Statements that are prepared once and kept. */
enum kl_sql {
    KL_SQL_TERMINAL_ADD,
    KL_SQL_TERMINAL_GET,
    KL_SQL_TERMINAL_UPDATE,
    KL_SQL_ARMINGS_SHORTEN,
    KL_SQL_DEVICE_KEY_OWNER,
    KL_SQL_TMK_ADD,
    KL_SQL_TMK_GET,
    KL_SQL_TMK_SET_STATE,
    KL_SQL_TMK_SET_GONE,
    KL_SQL_TMK_LAST_VERSION,
    KL_SQL_TMK_EXPIRED,
    KL_SQL_TMK_SUPERSEDED,
    KL_SQL_IMPORT_PUT,
    KL_SQL_IMPORT_GET,
    KL_SQL_IMPORT_REMOVE,
    KL_SQL_WORKING_PUT,
    KL_SQL_WORKING_GET,
    KL_SQL_WORKING_REMOVE,
    KL_SQL_KEY_HOLDER,
    KL_SQL_KEY_HOLDER_OTHER,
    KL_SQL_AUDIT_ADD,
    KL_SQL_AUDIT_HEAD,
    KL_SQL_AUDIT_FORWARDED,
    KL_SQL_CHECKPOINT_ADD,
    KL_SQL_CHECKPOINT_LAST,
    KL_SQL_TERMINAL_FLOOR,
    KL_SQL_META_GET,
    KL_SQL_META_PUT,
    KL_SQL_REQUEST_ADD,
    KL_SQL_REQUEST_GET,
    KL_SQL_REQUEST_UPDATE,
    KL_SQL_DIGEST_HOLDER,
    KL_SQL_REWRAP_TMK,
    KL_SQL_REWRAP_WORKING,
    KL_SQL_REWRAP_IMPORT,
    KL_SQL_CENSUS,
    KL_SQL_BEGIN,
    KL_SQL_BEGIN_WRITER,
    KL_SQL_COMMIT,
    KL_SQL_SAVEPOINT,
    KL_SQL_RELEASE,
    KL_SQL_TERMINAL_EACH,
    KL_SQL_TMK_EACH_OF_ONE,
    KL_SQL_TMK_EACH,
    KL_SQL_IMPORT_EACH,
    KL_SQL_SHARE_EACH,
    KL_SQL_AUDIT_EACH,
    KL_SQL_AUDIT_FROM,
    KL_SQL_AUDIT_STATE,
    KL_SQL_REQUEST_EACH,
    KL_SQL_COUNT,
};

/* The last record of the audit trail. given: the highest id that was ever given to one. */
struct kl_audit_head {
    uint64_t id, given;
    uint8_t hash[KL_HASH_LEN];
};

struct kl_store {
    sqlite3 *db;
    sqlite3_stmt *kept[KL_SQL_COUNT];
    char *path;
    int lock_fd; /* -1 = not claimed */
    int writable;
    char actor[KL_AUDIT_ACTOR_MAX + 1];
    /* What this transaction has appended last: nobody else can, until it ends. */
    struct kl_audit_head head;
    int has_head;
    struct kl_wal *wal;      /* NULL: no thread of its own moves the WAL */
    struct kl_store *holder; /* a reader beside each pass over the WAL; NULL before the first */
};

/* ---- Schema (store_schema.c, store_migrate.c) ---- */

#define KL_SCHEMA_OLDEST 2 /* that can be brought up to date */

/* *out: the version of the database's schema, KL_SCHEMA_OLDEST to KL_STORE_VERSION; 0: the file is
 * empty, as it is before the schema is made, or when that was cut off. */
enum kl_rc kl_schema_check(struct kl_store *store, int *out, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_schema_make(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;
/* From an older version to this one, in one transaction, after a copy. KL_ERR_BUSY while a daemon
 * serves the store; KL_ERR_VERIFY if audit records are missing. */
enum kl_rc kl_schema_migrate(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;

/* The texts that make the tables and triggers of the audit trail. */
int kl_schema_rules(sqlite3 *db); /* SQLite's code */

/* Commits of this connection keep the WAL short, in place of SQLite (store_wal.c). */
void kl_sql_wal_begin(struct kl_store *store);
/* Ends what kl_store_wal_aside began, if it did. */
void kl_sql_wal_end(struct kl_store *store);

/* Ends a claim (kl_store_claim). */
void kl_sql_unclaim(struct kl_store *store);
/* Root gives a file that it made beside the store at path to the store's owner, or to the folder's
 * where there is no store yet. */
void kl_sql_give(const char *path, int fd);

/* The generation of the storage key that what is written now is under (daemon/store/store_wrap.h),
 * as SQL has it. */
#define KL_META_GENERATION "wrap"
#define KL_SQL_GENERATION \
    "coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = '" KL_META_GENERATION "'), 1)"

/* What an extended SQLite code means to us; *hint says it to people. */
enum kl_rc kl_sql_rc(int code, const char **hint);

/* Fills err from the connection's last failure: path, hint and SQLite's own words. */
enum kl_rc kl_sql_err(struct kl_store *store, const char *op, struct kl_err *err);

/* ---- Statements ---- */

/* Texts without parameters and rows. */
enum kl_rc kl_sql_exec(struct kl_store *store, const char *sql, const char *op,
                       struct kl_err *err) KL_MUST_CHECK;

/* The kept statement, prepared from sql the first time. Borrowed; end its use with kl_sql_let_go
 * (kl_sql_write and kl_sql_get do). */
enum kl_rc kl_sql_keep(struct kl_store *store, enum kl_sql which, const char *sql,
                       sqlite3_stmt **out, struct kl_err *err) KL_MUST_CHECK;
/* One that writes: KL_ERR_STORE outside of a transaction. */
enum kl_rc kl_sql_writer(struct kl_store *store, enum kl_sql which, const char *sql,
                         sqlite3_stmt **out, struct kl_err *err) KL_MUST_CHECK;
void kl_sql_let_go(sqlite3_stmt *stmt);

/* Borrow until the statement is let go. */
void kl_sql_bind_text(sqlite3_stmt *stmt, int column, const char *text);
void kl_sql_bind_blob(sqlite3_stmt *stmt, int column, const void *data, size_t len);

/* Steps a statement that has no rows, and lets go of it. */
enum kl_rc kl_sql_write(struct kl_store *store, sqlite3_stmt *stmt, struct kl_err *err);

/* Reads one row's columns into *out, which is written only on success. */
typedef enum kl_rc (*kl_sql_read_fn)(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                                     struct kl_err *err);
/* Steps a statement that has one row or none, and lets go of it. *found: one. */
enum kl_rc kl_sql_get(struct kl_store *store, sqlite3_stmt *stmt, kl_sql_read_fn read, void *out,
                      int *found, struct kl_err *err) KL_MUST_CHECK;

/* What an iteration does with one row. */
struct kl_sql_row {
    enum kl_rc (*take)(struct kl_store *store, sqlite3_stmt *stmt, const struct kl_sql_row *row,
                       struct kl_err *err);
    union {
        kl_terminal_fn terminal;
        kl_tmk_fn tmk;
        kl_import_fn import;
        kl_share_fn share;
        kl_audit_fn audit;
        kl_request_fn request;
    } fn;
    void *arg;
    int64_t after, but; /* ?3 and ?4, if the statement names them */
};
/* Goes through the rows of a statement, the kept one unless this is called from within itself. ?1
 * is text, ?2 a number, ?3 row->after, ?4 row->but; what the statement does not name is not bound.
 */
enum kl_rc kl_sql_each(struct kl_store *store, enum kl_sql which, const char *sql, const char *text,
                       int64_t number, const struct kl_sql_row *row,
                       struct kl_err *err) KL_MUST_CHECK;

/* ---- Columns: 1 if the value is there and within bounds, else 0 ---- */

int kl_sql_text(sqlite3_stmt *stmt, int column, char *out, size_t max);
int kl_sql_blob(sqlite3_stmt *stmt, int column, uint8_t *out, size_t min, size_t max, size_t *len);
int kl_sql_number(sqlite3_stmt *stmt, int column, int64_t min, int64_t max, int64_t *out);

/* Four columns: algorithm, cryptogram, KCV, binding. */
int kl_sql_stored_key(sqlite3_stmt *stmt, int column, struct kl_stored_key *out);

enum kl_rc kl_sql_damaged(struct kl_store *store, const char *table, struct kl_err *err);

/* Columns id, time, event, serial, detail, actor, hash; 0 unless each is as it must be. */
int kl_sql_audit_get(sqlite3_stmt *stmt, struct kl_audit *out);
#define KL_SQL_AUDIT_COLUMNS "id, time, event, serial, detail, actor, hash"
/* One record, as it is, hash and all. */
enum kl_rc kl_sql_audit_put(struct kl_store *store, const struct kl_audit *record,
                            struct kl_err *err) KL_MUST_CHECK;

/* By which a key is known when its cryptogram is gone: SHA-256 of that. */
enum kl_rc kl_sql_digest(const uint8_t *cryptogram, size_t len, uint8_t out[KL_HASH_LEN],
                         struct kl_err *err) KL_MUST_CHECK;

#endif
