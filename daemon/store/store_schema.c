/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: its tables. The database repeats the rules that must hold whatever a program
 * does: one active TMK at most, no version twice, no cryptogram in a destroyed TMK, no device key
 * of two terminals, no audit record changed, and none deleted that is not in an archive up to a
 * signed checkpoint. Each index costs a load a page that is written: there is none without a
 * reader.
 */
#include "daemon/store/store_schema.h"

#include <openssl/rand.h>
#include <stdio.h>

#include "conf/cli.h"

#define APPLICATION_ID 0x4b4c4431 /* "KLD1" */
#define TEXT_OF(x) #x
#define NUMBER_TEXT(x) TEXT_OF(x)

static const char terminal_table[] =
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
    " " KL_SCHEMA_FLOOR_COLUMN ") STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX terminal_device_key ON terminal (device_key) WHERE device_key != x'';";

/* The state's range has no list in it: of one that is longer than two SQLite makes a temporary
 * table, at each check. */
const char kl_schema_tmk[] =
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
    " " KL_SCHEMA_WRAP_COLUMN ","
    " PRIMARY KEY (serial, version),"
    " CHECK ((length(cryptogram) = 0) = (state >= 4)),"
    " CHECK ((length(cryptogram) = 0) = (length(binding) = 0))"
    ") STRICT, WITHOUT ROWID;";

const char kl_schema_tmk_indices[] =
    "CREATE UNIQUE INDEX tmk_one_active ON tmk (serial) WHERE state = 2;"
    "CREATE INDEX tmk_pending ON tmk (expires) WHERE state = 1;"
    "CREATE INDEX tmk_superseded ON tmk (superseded) WHERE state = 3;"
    "CREATE INDEX tmk_digest ON tmk (digest);";

static const char other_key_tables[] =
    "CREATE TABLE imported ("
    " serial TEXT NOT NULL PRIMARY KEY REFERENCES terminal (serial),"
    " alg INTEGER NOT NULL CHECK (alg BETWEEN 1 AND 5),"
    " kcv BLOB NOT NULL CHECK (length(kcv) BETWEEN 3 AND 4),"
    " cryptogram BLOB NOT NULL UNIQUE CHECK (length(cryptogram) BETWEEN 24 AND 40),"
    " binding BLOB NOT NULL CHECK (length(binding) = 16),"
    " created INTEGER NOT NULL,"
    " origin TEXT NOT NULL CHECK (length(CAST(origin AS BLOB)) <= 96),"
    " " KL_SCHEMA_WRAP_COLUMN ") STRICT, WITHOUT ROWID;"
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
    " " KL_SCHEMA_WRAP_COLUMN ","
    " FOREIGN KEY (serial, tmk_version) REFERENCES tmk (serial, version)"
    ") STRICT, WITHOUT ROWID;";

const char kl_schema_audit[] = "CREATE TABLE audit ("
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
const char kl_schema_audit_rules[] =
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

const char kl_schema_version[] = "PRAGMA application_id = " NUMBER_TEXT(
    APPLICATION_ID) "; PRAGMA user_version = " NUMBER_TEXT(KL_STORE_VERSION);

int kl_schema_rules(sqlite3 *db)
{
    int code = sqlite3_exec(db, kl_schema_audit, NULL, NULL, NULL);

    return code == SQLITE_OK ? sqlite3_exec(db, kl_schema_audit_rules, NULL, NULL, NULL) : code;
}

/* ---- Which version ---- */

enum kl_rc kl_schema_number(struct kl_store *store, const char *sql, int64_t *out,
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

    if ((rc = kl_schema_number(store, "PRAGMA application_id", &id, err)) != KL_OK ||
        (rc = kl_schema_number(store, "PRAGMA user_version", &version, err)) != KL_OK ||
        (rc = kl_schema_number(store, "SELECT count(*) FROM sqlite_schema", &objects, err)) !=
            KL_OK) {
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
                          "%d: use the newer one, or go back to the copy that it kept, by its "
                          "keyloaderctl store restore --keep-schema",
                          store->path, (long long)version, KL_STORE_VERSION);
    }
    if (version < KL_SCHEMA_OLDEST) {
        return kl_err_set(err, KL_ERR_STORE,
                          "%s: has schema version %lld, and this program knows %d to %d; use the "
                          "program that made it",
                          store->path, (long long)version, KL_SCHEMA_OLDEST, KL_STORE_VERSION);
    }
    *out = (int)version;
    return KL_OK;
}

/* ---- A new one ---- */

enum kl_rc kl_schema_begin_trail(struct kl_store *store, uint8_t genesis[KL_HASH_LEN],
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
    const char *const parts[] = {terminal_table,   kl_schema_tmk,   kl_schema_tmk_indices,
                                 other_key_tables, kl_schema_audit, kl_schema_audit_rules,
                                 kl_schema_version};
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == KL_OK; i++) {
        rc = kl_sql_exec(store, parts[i], "CREATE", err);
    }
    return rc == KL_OK ? kl_schema_begin_trail(store, genesis, err) : rc;
}

enum kl_rc kl_schema_finish(struct kl_store *store, enum kl_rc rc, struct kl_err *err)
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
    return kl_schema_finish(store, rc, err);
}
