/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: its tables, and how those of an older version become these. The database
 * repeats the rules that must hold whatever a program does: one active TMK at most, no version
 * twice, no cryptogram in a destroyed TMK, no device key of two terminals, no audit record changed,
 * and none deleted that is not in an archive up to a signed checkpoint.
 */
#include <limits.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/cli.h"
#include "conf/log.h"
#include "daemon/control/actor.h"
#include "daemon/store/store_sqlite.h"

#define APPLICATION_ID 0x4b4c4431 /* "KLD1" */
#define COPIES_A_SECOND 10        /* of a store whose migrations are cut off */
#define TEXT_OF(x) #x
#define NUMBER_TEXT(x) TEXT_OF(x)

/* Columns that came with version 3: last in their tables, where ALTER TABLE puts them. */
#define FLOOR_COLUMN \
    "version_floor INTEGER NOT NULL DEFAULT 0 CHECK (version_floor BETWEEN 0 AND 2147483647)"
#define WRAP_COLUMN "wrap INTEGER NOT NULL DEFAULT 1 CHECK (wrap >= 1)"

static const char key_tables[] =
    "CREATE TABLE terminal ("
    " serial TEXT NOT NULL PRIMARY KEY CHECK (length(serial) BETWEEN 1 AND 32),"
    " pinpad TEXT NOT NULL CHECK (length(pinpad) <= 32),"
    " alg INTEGER NOT NULL CHECK (alg BETWEEN 1 AND 5),"
    " blocked INTEGER NOT NULL CHECK (blocked IN (0, 1)),"
    " armed_until INTEGER NOT NULL CHECK (armed_until >= 0),"
    " attempts_left INTEGER NOT NULL CHECK (attempts_left >= 0),"
    " accept_imported INTEGER NOT NULL CHECK (accept_imported IN (0, 1)),"
    " device_key BLOB NOT NULL CHECK (length(device_key) IN (0, 32)),"
    " created INTEGER NOT NULL,"
    " " FLOOR_COLUMN ") STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX terminal_device_key ON terminal (device_key) WHERE device_key != x'';"
    "CREATE TABLE tmk ("
    " serial TEXT NOT NULL REFERENCES terminal (serial),"
    " version INTEGER NOT NULL CHECK (version BETWEEN 1 AND 2147483647),"
    " state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 6),"
    " pinpad TEXT NOT NULL CHECK (length(pinpad) BETWEEN 1 AND 32),"
    " alg INTEGER NOT NULL CHECK (alg BETWEEN 1 AND 5),"
    " kcv BLOB NOT NULL CHECK (length(kcv) BETWEEN 3 AND 4),"
    " cryptogram BLOB NOT NULL CHECK (length(cryptogram) <= 40),"
    " ack_mac BLOB NOT NULL CHECK (length(ack_mac) = 16),"
    " active_mac BLOB NOT NULL CHECK (length(active_mac) = 16),"
    " drop_mac BLOB NOT NULL CHECK (length(drop_mac) = 16),"
    " created INTEGER NOT NULL,"
    " expires INTEGER NOT NULL,"
    " activated INTEGER NOT NULL,"
    " imported INTEGER NOT NULL CHECK (imported IN (0, 1)),"
    " device_key BLOB NOT NULL CHECK (length(device_key) IN (0, 32)),"
    " superseded INTEGER NOT NULL,"
    " binding BLOB NOT NULL CHECK (length(binding) IN (0, 16)),"
    " digest BLOB NOT NULL CHECK (length(digest) = 32)," /* of the cryptogram, for ever */
    " " WRAP_COLUMN ","
    " PRIMARY KEY (serial, version),"
    " CHECK ((length(cryptogram) = 0) = (state IN (4, 5, 6))),"
    " CHECK ((length(cryptogram) = 0) = (length(binding) = 0))"
    ") STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX tmk_one_active ON tmk (serial) WHERE state = 2;"
    "CREATE INDEX tmk_pending ON tmk (expires) WHERE state = 1;"
    "CREATE INDEX tmk_superseded ON tmk (superseded) WHERE state = 3;"
    "CREATE INDEX tmk_live ON tmk (cryptogram) WHERE cryptogram != x'';"
    "CREATE INDEX tmk_digest ON tmk (digest);"
    "CREATE TABLE imported ("
    " serial TEXT NOT NULL PRIMARY KEY REFERENCES terminal (serial),"
    " alg INTEGER NOT NULL CHECK (alg BETWEEN 1 AND 5),"
    " kcv BLOB NOT NULL CHECK (length(kcv) BETWEEN 3 AND 4),"
    " cryptogram BLOB NOT NULL UNIQUE CHECK (length(cryptogram) BETWEEN 24 AND 40),"
    " binding BLOB NOT NULL CHECK (length(binding) = 16),"
    " created INTEGER NOT NULL,"
    " origin TEXT NOT NULL CHECK (length(CAST(origin AS BLOB)) <= 96),"
    " " WRAP_COLUMN ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE working ("
    " serial TEXT NOT NULL PRIMARY KEY,"
    " tmk_version INTEGER NOT NULL,"
    " pik_alg INTEGER NOT NULL CHECK (pik_alg BETWEEN 1 AND 5),"
    " pik_cryptogram BLOB NOT NULL CHECK (length(pik_cryptogram) BETWEEN 24 AND 40),"
    " pik_kcv BLOB NOT NULL CHECK (length(pik_kcv) BETWEEN 3 AND 4),"
    " pik_binding BLOB NOT NULL CHECK (length(pik_binding) = 16),"
    " mak_alg INTEGER NOT NULL CHECK (mak_alg BETWEEN 1 AND 5),"
    " mak_cryptogram BLOB NOT NULL CHECK (length(mak_cryptogram) BETWEEN 24 AND 40),"
    " mak_kcv BLOB NOT NULL CHECK (length(mak_kcv) BETWEEN 3 AND 4),"
    " mak_binding BLOB NOT NULL CHECK (length(mak_binding) = 16),"
    " created INTEGER NOT NULL,"
    " " WRAP_COLUMN ","
    " FOREIGN KEY (serial, tmk_version) REFERENCES tmk (serial, version)"
    ") STRICT, WITHOUT ROWID;";

static const char audit_table[] = "CREATE TABLE audit ("
                                  " id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,"
                                  " time INTEGER NOT NULL,"
                                  " event TEXT NOT NULL,"
                                  " serial TEXT NOT NULL,"
                                  " detail TEXT NOT NULL,"
                                  " actor TEXT NOT NULL,"
                                  " hash BLOB NOT NULL CHECK (length(hash) = 32)"
                                  ") STRICT;";

/* What came with version 3. The checkpoint up to which records are archived stays: it says that
 * what is gone was signed. */
static const char audit_rules[] =
    "CREATE TABLE audit_state (" /* one row */
    " one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),"
    " archived_to INTEGER NOT NULL CHECK (archived_to >= 0)," /* a record's id */
    " archived_hash BLOB NOT NULL CHECK (length(archived_hash) = 32),"
    " forwarded INTEGER NOT NULL CHECK (forwarded >= 0)" /* to syslog: a record's id */
    ") STRICT;"
    "CREATE TABLE audit_checkpoint ("
    " id INTEGER NOT NULL PRIMARY KEY," /* of the last record that it covers */
    " time INTEGER NOT NULL,"
    " hash BLOB NOT NULL CHECK (length(hash) = 32),"
    " key BLOB NOT NULL CHECK (length(key) = 32)," /* SHA-256 of its SubjectPublicKeyInfo */
    " signature BLOB NOT NULL CHECK (length(signature) BETWEEN 1 AND 512)"
    ") STRICT;"
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit"
    " BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END;"
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit"
    " WHEN OLD.id > (SELECT archived_to FROM audit_state)"
    " BEGIN SELECT RAISE(ABORT, 'audit records are never deleted before they are archived'); END;"
    "CREATE TRIGGER audit_state_stays BEFORE DELETE ON audit_state"
    " BEGIN SELECT RAISE(ABORT, 'the state of the audit trail is never deleted'); END;"
    "CREATE TRIGGER audit_state_grows BEFORE UPDATE ON audit_state"
    " WHEN NEW.one != OLD.one OR NEW.archived_to < OLD.archived_to"
    " OR NEW.forwarded < OLD.forwarded"
    " OR (NEW.archived_to = OLD.archived_to AND NEW.archived_hash != OLD.archived_hash)"
    " OR (NEW.archived_to > OLD.archived_to AND NOT EXISTS (SELECT 1 FROM audit_checkpoint c"
    " JOIN audit a ON a.id = c.id AND a.hash = c.hash"
    " WHERE c.id = NEW.archived_to AND c.hash = NEW.archived_hash))"
    " BEGIN SELECT RAISE(ABORT, 'the audit trail is archived up to a checkpoint, and forward "
    "only'); END;"
    "CREATE TRIGGER checkpoint_no_update BEFORE UPDATE ON audit_checkpoint"
    " BEGIN SELECT RAISE(ABORT, 'checkpoints are never changed'); END;"
    "CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON audit_checkpoint"
    " WHEN OLD.id >= (SELECT archived_to FROM audit_state)"
    " BEGIN SELECT RAISE(ABORT, 'checkpoints are never deleted before they are archived'); END;"
    "CREATE TABLE request ("
    " id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,"
    " kind TEXT NOT NULL CHECK (length(kind) BETWEEN 1 AND 32),"
    " params TEXT NOT NULL CHECK (length(CAST(params AS BLOB)) <= 4096)," /* canonical JSON */
    " requester_uid INTEGER NOT NULL CHECK (requester_uid >= 0),"
    " requester TEXT NOT NULL,"
    " created INTEGER NOT NULL,"
    " expires INTEGER NOT NULL,"
    " state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 6),"
    " approver_uid INTEGER NOT NULL CHECK (approver_uid >= -1)," /* -1 = nobody yet */
    " approver TEXT NOT NULL,"
    " decided INTEGER NOT NULL,"
    " outcome TEXT NOT NULL CHECK (length(CAST(outcome AS BLOB)) <= 512)"
    ") STRICT;"
    "CREATE INDEX request_open ON request (state) WHERE state IN (1, 2);"
    "CREATE TABLE meta ("
    " name TEXT NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),"
    " value TEXT NOT NULL CHECK (length(CAST(value AS BLOB)) <= 4096)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER store_id_stays BEFORE UPDATE ON meta WHEN OLD.name = 'store-id'"
    " BEGIN SELECT RAISE(ABORT, 'a store keeps its id'); END;"
    "CREATE TRIGGER store_id_remains BEFORE DELETE ON meta WHEN OLD.name = 'store-id'"
    " BEGIN SELECT RAISE(ABORT, 'a store keeps its id'); END;";

static const char version_text[] = "PRAGMA application_id = " NUMBER_TEXT(
    APPLICATION_ID) "; PRAGMA user_version = " NUMBER_TEXT(KL_STORE_VERSION);

int kl_schema_rules(sqlite3 *db)
{
    int code = sqlite3_exec(db, audit_table, NULL, NULL, NULL);

    return code == SQLITE_OK ? sqlite3_exec(db, audit_rules, NULL, NULL, NULL) : code;
}

/* ---- Which version ---- */

static enum kl_rc query_number(struct kl_store *store, const char *sql, int64_t *out,
                               struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = KL_OK;

    if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    } else {
        *out = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return rc;
}

enum kl_rc kl_schema_check(struct kl_store *store, int *out, struct kl_err *err)
{
    int64_t id = 0, version = 0, objects = 0;
    enum kl_rc rc;

    if ((rc = query_number(store, "PRAGMA application_id", &id, err)) != KL_OK ||
        (rc = query_number(store, "PRAGMA user_version", &version, err)) != KL_OK ||
        (rc = query_number(store, "SELECT count(*) FROM sqlite_schema", &objects, err)) != KL_OK) {
        return rc;
    }
    if (id == 0 && version == 0 && objects == 0) {
        *out = 0;
        return KL_OK;
    }
    if (id != APPLICATION_ID) {
        return kl_err_set(err, KL_ERR_STORE, "%s: is not a keyloader store", store->path);
    }
    if (version > KL_STORE_VERSION) {
        return kl_err_set(err, KL_ERR_STORE,
                          "%s: has schema version %lld, of a newer keyloader; this program knows "
                          "%d: use the newer one, or the copy of the store that it kept",
                          store->path, (long long)version, KL_STORE_VERSION);
    }
    if (version < KL_SCHEMA_OLDEST) {
        return kl_err_set(err, KL_ERR_STORE,
                          "%s: has schema version %lld, and this program knows %d and %d; use the "
                          "program that made it",
                          store->path, (long long)version, KL_SCHEMA_OLDEST, KL_STORE_VERSION);
    }
    *out = (int)version;
    return KL_OK;
}

/* ---- A new one ---- */

/* The store's id, and the state of an audit trail from which nothing is archived. */
static enum kl_rc begin_trail(struct kl_store *store, uint8_t genesis[KL_HASH_LEN],
                              struct kl_err *err)
{
    uint8_t id[KL_STORE_ID_LEN];
    char id_text[KL_STORE_ID_TEXT], hash_text[2 * KL_HASH_LEN + 1], sql[200];
    enum kl_rc rc;

    if (RAND_bytes(id, sizeof(id)) != 1) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "RAND_bytes", "the store's id");
    }
    if ((rc = kl_audit_genesis(id, genesis, err)) != KL_OK) {
        return rc;
    }
    kl_hex_format(id, sizeof(id), id_text);
    kl_hex_format(genesis, KL_HASH_LEN, hash_text);
    snprintf(sql, sizeof(sql), "INSERT INTO audit_state VALUES (1, 0, x'%s', 0)", hash_text);
    if ((rc = kl_store_meta_put(store, KL_META_STORE_ID, id_text, err)) != KL_OK) {
        return rc;
    }
    return kl_sql_exec(store, sql, "INSERT", err);
}

static enum kl_rc create(struct kl_store *store, struct kl_err *err)
{
    uint8_t genesis[KL_HASH_LEN];
    const char *const parts[] = {key_tables, audit_table, audit_rules, version_text};
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == KL_OK; i++) {
        rc = kl_sql_exec(store, parts[i], "CREATE", err);
    }
    return rc == KL_OK ? begin_trail(store, genesis, err) : rc;
}

/* Ends a transaction the way its work went. */
static enum kl_rc finish(struct kl_store *store, enum kl_rc rc, struct kl_err *err)
{
    if (rc == KL_OK) {
        return kl_store_commit(store, err);
    }
    kl_store_rollback(store);
    return rc;
}

enum kl_rc kl_schema_make(struct kl_store *store, struct kl_err *err)
{
    int version;
    enum kl_rc rc = kl_store_begin(store, err);

    if (rc != KL_OK) {
        return rc;
    }
    /* Somebody else may have made it while we waited for the lock. */
    rc = kl_schema_check(store, &version, err);
    if (rc == KL_OK && version == 0) {
        rc = create(store, err);
    }
    return finish(store, rc, err);
}

/* ---- From version 2 ---- */

/* The audit trail of version 2, record by record; each gets its place in the chain. */
static const char v2_records[] = "SELECT id, time, event, serial, detail FROM audit_2 ORDER BY id";
static const char v2_columns[] = "ALTER TABLE terminal ADD COLUMN " FLOOR_COLUMN ";"
                                 "ALTER TABLE tmk ADD COLUMN " WRAP_COLUMN ";"
                                 "ALTER TABLE imported ADD COLUMN " WRAP_COLUMN ";"
                                 "ALTER TABLE working ADD COLUMN " WRAP_COLUMN ";"
                                 "ALTER TABLE audit RENAME TO audit_2";
/* Its triggers go with it, and make room for the new ones of the same names. */
static const char v2_drop[] = "DROP TABLE audit_2";

static enum kl_rc read_v2(struct kl_store *store, sqlite3_stmt *stmt, uint64_t last,
                          struct kl_audit *out, struct kl_err *err)
{
    int64_t id;

    if (!kl_sql_number(stmt, 0, 1, INT64_MAX, &id) ||
        !kl_sql_number(stmt, 1, INT64_MIN, INT64_MAX, &out->time) ||
        !kl_sql_text(stmt, 2, out->event, KL_AUDIT_EVENT_MAX) ||
        !kl_sql_text(stmt, 3, out->serial, KL_SERIAL_MAX) ||
        !kl_sql_text(stmt, 4, out->detail, KL_AUDIT_DETAIL_MAX)) {
        return kl_sql_damaged(store, "audit", err);
    }
    out->id = (uint64_t)id;
    if (out->id != last + 1) {
        return kl_err_set(err, KL_ERR_VERIFY,
                          "%s: audit record %llu is missing: somebody has removed it; migrate a "
                          "store that has it, such as a backup",
                          store->path, (unsigned long long)last + 1);
    }
    return KL_OK;
}

static enum kl_rc chain_records(struct kl_store *store, const uint8_t genesis[KL_HASH_LEN],
                                uint64_t *count, struct kl_err *err)
{
    struct kl_audit record = {0};
    uint8_t before[KL_HASH_LEN];
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = KL_OK;
    int step = SQLITE_DONE;

    memcpy(before, genesis, sizeof(before));
    *count = 0;
    if (sqlite3_prepare_v2(store->db, v2_records, -1, &stmt, NULL) != SQLITE_OK) {
        return kl_sql_err(store, "sqlite3_prepare_v2", err);
    }
    while (rc == KL_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        if ((rc = read_v2(store, stmt, *count, &record, err)) == KL_OK &&
            (rc = kl_audit_hash(before, &record, record.hash, err)) == KL_OK &&
            (rc = kl_sql_audit_put(store, &record, err)) == KL_OK) {
            memcpy(before, record.hash, sizeof(before));
            *count = record.id;
        }
    }
    if (rc == KL_OK && step != SQLITE_DONE) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* Records that were removed from the end leave a trace in the sequence. */
static enum kl_rc check_end(struct kl_store *store, uint64_t count, struct kl_err *err)
{
    int64_t given = 0;
    enum kl_rc rc =
        query_number(store,
                     "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'audit_2'",
                     &given, err);

    if (rc == KL_OK && (uint64_t)given != count) {
        rc = kl_err_set(err, KL_ERR_VERIFY,
                        "%s: audit record %llu is missing: somebody has removed it; migrate a "
                        "store that has it, such as a backup",
                        store->path, (unsigned long long)count + 1);
    }
    return rc;
}

static enum kl_rc from_v2(struct kl_store *store, const char *copy, struct kl_err *err)
{
    const char *name = strrchr(copy, '/');
    char detail[KL_AUDIT_DETAIL_MAX + 1];
    uint8_t genesis[KL_HASH_LEN];
    uint64_t count = 0;
    enum kl_rc rc;

    if ((rc = kl_sql_exec(store, v2_columns, "ALTER TABLE", err)) != KL_OK ||
        (rc = kl_sql_exec(store, audit_table, "CREATE", err)) != KL_OK) {
        return rc;
    }
    /* Without the new triggers' table the old ones hold, of which the copy needs none. */
    if ((rc = kl_sql_exec(store,
                          "DROP TRIGGER IF EXISTS audit_no_update;"
                          "DROP TRIGGER IF EXISTS audit_no_delete",
                          "DROP", err)) != KL_OK ||
        (rc = kl_sql_exec(store, audit_rules, "CREATE", err)) != KL_OK ||
        (rc = begin_trail(store, genesis, err)) != KL_OK ||
        (rc = chain_records(store, genesis, &count, err)) != KL_OK ||
        (rc = check_end(store, count, err)) != KL_OK ||
        (rc = kl_sql_exec(store, v2_drop, "DROP TABLE", err)) != KL_OK ||
        (rc = kl_sql_exec(store, version_text, "PRAGMA", err)) != KL_OK) {
        return rc;
    }
    kl_log_format(detail, sizeof(detail),
                  (const struct kl_log_field[]){KL_NUM("from", 2), KL_NUM("to", KL_STORE_VERSION),
                                                KL_NUM("records", count),
                                                KL_STR("copy", name ? name + 1 : copy)},
                  4);
    return kl_store_audit(store, (int64_t)time(NULL), "store-migrated", "", detail, err);
}

/* Beside the store: FILE.schema-2.20261128T071500Z, or with -1, -2, ... if that is there. */
static enum kl_rc make_copy(struct kl_store *store, int version, char out[PATH_MAX],
                            struct kl_err *err)
{
    time_t now = time(NULL);
    char stamp[32], more[16] = "";
    enum kl_rc rc = KL_ERR_EXISTS;
    struct tm tm;

    if (!gmtime_r(&now, &tm) || strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm) == 0) {
        return kl_err_set(err, KL_ERR_SYSTEM, "the clock is out of its mind");
    }
    for (int i = 1; i <= COPIES_A_SECOND && rc == KL_ERR_EXISTS; i++) {
        if ((size_t)snprintf(out, PATH_MAX, "%s.schema-%d.%s%s", store->path, version, stamp,
                             more) >= PATH_MAX) {
            return kl_err_set(err, KL_ERR_STORE, "%.100s...: the path is too long", store->path);
        }
        rc = kl_store_copy(store, out, err);
        snprintf(more, sizeof(more), "-%d", i);
    }
    return rc;
}

static enum kl_rc migrate(struct kl_store *store, struct kl_err *err)
{
    char copy[PATH_MAX], actor[KL_AUDIT_ACTOR_MAX + 1];
    int version;
    enum kl_rc rc;

    if ((rc = kl_schema_check(store, &version, err)) != KL_OK || version == KL_STORE_VERSION) {
        return rc; /* somebody else has while we waited for the lock */
    }
    if ((rc = make_copy(store, version, copy, err)) != KL_OK) {
        return rc;
    }
    kl_actor_format(geteuid(), actor);
    kl_store_set_actor(store, actor);
    rc = from_v2(store, copy, err);
    kl_store_set_actor(store, "");
    if (rc != KL_OK) {
        (void)unlink(copy);
    }
    return rc;
}

enum kl_rc kl_schema_migrate(struct kl_store *store, struct kl_err *err)
{
    enum kl_rc rc = kl_store_claim(store, err);

    if (rc == KL_ERR_BUSY) {
        return kl_err_set(err, rc,
                          "%s: is of an older version, and a daemon serves it: stop that first, "
                          "then it can be brought up to date",
                          store->path);
    }
    if (rc == KL_OK && (rc = kl_store_begin(store, err)) == KL_OK) {
        rc = finish(store, migrate(store, err), err);
    }
    kl_sql_unclaim(store);
    return rc == KL_OK ? rc : kl_err_context(err, "the store was not migrated");
}
