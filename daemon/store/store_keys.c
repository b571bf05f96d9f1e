/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: imported TMKs that wait, working keys, and who has which key.
 */

#include "daemon/store/store_sqlite.h"

#define WRAPPED_MIN 24 /* bytes of the shortest key under RFC 3394 */

/* ---- A stored key: four columns (alg, cryptogram, kcv, binding) ---- */

int kl_sql_stored_key(sqlite3_stmt *stmt, int column, struct kl_stored_key *out)
{
    int64_t alg;
    size_t len;

    if (!kl_sql_number(stmt, column, 1, KL_ALG_COUNT, &alg) ||
        !kl_sql_blob(stmt, column + 1, out->cryptogram, WRAPPED_MIN, sizeof(out->cryptogram),
                     &out->cryptogram_len) ||
        !kl_sql_blob(stmt, column + 2, out->kcv, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX, &out->kcv_len) ||
        !kl_sql_blob(stmt, column + 3, out->binding, KL_MAC_LEN, KL_MAC_LEN, &len)) {
        return 0;
    }
    out->alg = (enum kl_alg)alg;
    return 1;
}

static void bind_key(sqlite3_stmt *stmt, int column, const struct kl_stored_key *key)
{
    sqlite3_bind_int64(stmt, column, key->alg);
    kl_sql_bind_blob(stmt, column + 1, key->cryptogram, key->cryptogram_len);
    kl_sql_bind_blob(stmt, column + 2, key->kcv, key->kcv_len);
    kl_sql_bind_blob(stmt, column + 3, key->binding, sizeof(key->binding));
}

/* ---- Imported TMKs ---- */

#define IMPORT_COLUMNS "serial, alg, cryptogram, kcv, binding, created, origin"

static enum kl_rc read_import(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                              struct kl_err *err)
{
    struct kl_import import = {0};

    if (!kl_sql_text(stmt, 0, import.serial, KL_SERIAL_MAX) ||
        !kl_sql_stored_key(stmt, 1, &import.key) ||
        !kl_sql_number(stmt, 5, INT64_MIN, INT64_MAX, &import.created) ||
        !kl_sql_text(stmt, 6, import.origin, KL_ORIGIN_MAX)) {
        return kl_sql_damaged(store, "imported", err);
    }
    *(struct kl_import *)out = import;
    return KL_OK;
}

enum kl_rc kl_store_import_put(struct kl_store *store, const struct kl_import *import,
                               struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_IMPORT_PUT,
                                  "INSERT INTO imported (" IMPORT_COLUMNS ", wrap)"
                                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, " KL_SQL_GENERATION ")"
                                  " ON CONFLICT (serial) DO UPDATE SET alg = ?2, cryptogram = ?3,"
                                  " kcv = ?4, binding = ?5, created = ?6, origin = ?7,"
                                  " wrap = excluded.wrap",
                                  &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, import->serial);
    bind_key(stmt, 2, &import->key);
    sqlite3_bind_int64(stmt, 6, import->created);
    kl_sql_bind_text(stmt, 7, import->origin);
    return kl_sql_write(store, stmt, err);
}

static enum kl_rc no_import(const char *serial, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_NOT_FOUND, "no imported TMK waits for terminal %.32s", serial);
}

enum kl_rc kl_store_import_get(struct kl_store *store, const char *serial, struct kl_import *out,
                               struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc =
        kl_sql_keep(store, KL_SQL_IMPORT_GET,
                    "SELECT " IMPORT_COLUMNS " FROM imported WHERE serial = ?1", &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, serial);
    rc = kl_sql_get(store, stmt, read_import, out, &found, err);
    return rc == KL_OK && !found ? no_import(serial, err) : rc;
}

enum kl_rc kl_store_import_remove(struct kl_store *store, const char *serial, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_IMPORT_REMOVE,
                                  "DELETE FROM imported WHERE serial = ?1", &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, serial);
    rc = kl_sql_write(store, stmt, err);
    return rc == KL_OK && sqlite3_changes(store->db) == 0 ? no_import(serial, err) : rc;
}

static enum kl_rc take_import(struct kl_store *store, sqlite3_stmt *stmt,
                              const struct kl_sql_row *row, struct kl_err *err)
{
    struct kl_import import;
    enum kl_rc rc = read_import(store, stmt, &import, err);

    return rc == KL_OK ? row->fn.import(&import, row->arg, err) : rc;
}

enum kl_rc kl_store_import_from(struct kl_store *store, const char *after, kl_import_fn fn,
                                void *arg, struct kl_err *err)
{
    struct kl_sql_row row = {.take = take_import, .fn.import = fn, .arg = arg};

    return kl_sql_each(store, KL_SQL_IMPORT_EACH,
                       "SELECT " IMPORT_COLUMNS " FROM imported WHERE serial > ?1 ORDER BY serial",
                       after, 0, &row, err);
}

enum kl_rc kl_store_import_each(struct kl_store *store, kl_import_fn fn, void *arg,
                                struct kl_err *err)
{
    return kl_store_import_from(store, "", fn, arg, err);
}

/* ---- Working keys ---- */

#define WORKING_COLUMNS \
    "serial, tmk_version, pik_alg, pik_cryptogram, pik_kcv, pik_binding, mak_alg, " \
    "mak_cryptogram, mak_kcv, mak_binding, created"

static enum kl_rc read_working(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                               struct kl_err *err)
{
    struct kl_working working = {0};
    int64_t version;

    if (!kl_sql_text(stmt, 0, working.serial, KL_SERIAL_MAX) ||
        !kl_sql_number(stmt, 1, 1, KL_VERSION_MAX, &version) ||
        !kl_sql_stored_key(stmt, 2, &working.pik) || !kl_sql_stored_key(stmt, 6, &working.mak) ||
        !kl_sql_number(stmt, 10, INT64_MIN, INT64_MAX, &working.created)) {
        return kl_sql_damaged(store, "working", err);
    }
    working.tmk_version = (uint32_t)version;
    *(struct kl_working *)out = working;
    return KL_OK;
}

enum kl_rc kl_store_working_put(struct kl_store *store, const struct kl_working *working,
                                struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc =
        kl_sql_writer(store, KL_SQL_WORKING_PUT,
                      "INSERT INTO working (" WORKING_COLUMNS ", wrap)"
                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,"
                      " " KL_SQL_GENERATION ")"
                      " ON CONFLICT (serial) DO UPDATE SET tmk_version = ?2, pik_alg = ?3,"
                      " pik_cryptogram = ?4, pik_kcv = ?5, pik_binding = ?6, mak_alg = ?7,"
                      " mak_cryptogram = ?8, mak_kcv = ?9, mak_binding = ?10, created = ?11,"
                      " wrap = excluded.wrap",
                      &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, working->serial);
    sqlite3_bind_int64(stmt, 2, working->tmk_version);
    bind_key(stmt, 3, &working->pik);
    bind_key(stmt, 7, &working->mak);
    sqlite3_bind_int64(stmt, 11, working->created);
    return kl_sql_write(store, stmt, err);
}

enum kl_rc kl_store_working_get(struct kl_store *store, const char *serial, struct kl_working *out,
                                struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc =
        kl_sql_keep(store, KL_SQL_WORKING_GET,
                    "SELECT " WORKING_COLUMNS " FROM working WHERE serial = ?1", &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, serial);
    if ((rc = kl_sql_get(store, stmt, read_working, out, &found, err)) == KL_OK && !found) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND, "terminal %.32s has no working keys", serial);
    }
    return rc;
}

enum kl_rc kl_store_working_remove(struct kl_store *store, const char *serial, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_WORKING_REMOVE,
                                  "DELETE FROM working WHERE serial = ?1", &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, serial);
    return kl_sql_write(store, stmt, err);
}

/* ---- Who has which key ---- */

static int get_holder(sqlite3_stmt *stmt, int column, struct kl_holder *out)
{
    int64_t version;

    if (!kl_sql_text(stmt, column, out->serial, KL_SERIAL_MAX) ||
        !kl_sql_number(stmt, column + 1, 0, KL_VERSION_MAX, &version)) {
        return 0;
    }
    out->version = (uint32_t)version;
    return 1;
}

static enum kl_rc read_holder(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                              struct kl_err *err)
{
    struct kl_holder holder = {0};

    if (!get_holder(stmt, 0, &holder)) {
        return kl_sql_damaged(store, "tmk", err);
    }
    *(struct kl_holder *)out = holder;
    return KL_OK;
}

/* By the digest, for which there is an index. Of others whatever they have ever had counts, which
 * the digest tells, and any will do: to put them in order would take a temporary table, for each
 * load. Of itself what is live. */
#define HOLDER_SQL(whose, has) \
    "SELECT serial, 0 AS version FROM imported WHERE cryptogram = ?2 AND serial " whose " ?1" \
    " UNION ALL SELECT serial, version FROM tmk WHERE digest = ?3 AND serial " whose " ?1" has
static const char others_sql[] = HOLDER_SQL("!=", " LIMIT 1"),
                  own_sql[] = HOLDER_SQL("=", " AND cryptogram = ?2 ORDER BY version LIMIT 1");

enum kl_rc kl_store_key_holder(struct kl_store *store, const char *serial, int others,
                               const uint8_t *cryptogram, size_t cryptogram_len,
                               struct kl_holder *out, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    uint8_t digest[KL_HASH_LEN];
    int found = 0;
    enum kl_rc rc = kl_sql_digest(cryptogram, cryptogram_len, digest, err);

    if (rc == KL_OK) {
        rc = others ? kl_sql_keep(store, KL_SQL_KEY_HOLDER_OTHER, others_sql, &stmt, err)
                    : kl_sql_keep(store, KL_SQL_KEY_HOLDER, own_sql, &stmt, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, serial);
    kl_sql_bind_blob(stmt, 2, cryptogram, cryptogram_len);
    kl_sql_bind_blob(stmt, 3, digest, sizeof(digest));
    if ((rc = kl_sql_get(store, stmt, read_holder, out, &found, err)) == KL_OK && !found) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND, "no terminal has that key");
    }
    return rc;
}

enum kl_rc kl_store_digest_holder(struct kl_store *store, const char *serial,
                                  const uint8_t digest[KL_HASH_LEN], struct kl_holder *out,
                                  struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc = kl_sql_keep(store, KL_SQL_DIGEST_HOLDER,
                                "SELECT serial, version FROM tmk WHERE digest = ?2"
                                " AND serial != ?1 LIMIT 1",
                                &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, serial);
    kl_sql_bind_blob(stmt, 2, digest, KL_HASH_LEN);
    if ((rc = kl_sql_get(store, stmt, read_holder, out, &found, err)) == KL_OK && !found) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND, "no terminal had that key");
    }
    return rc;
}

enum kl_rc kl_store_key_digest(const struct kl_stored_key *key, uint8_t out[KL_HASH_LEN],
                               struct kl_err *err)
{
    return kl_sql_digest(key->cryptogram, key->cryptogram_len, out, err);
}

static enum kl_rc take_share(struct kl_store *store, sqlite3_stmt *stmt,
                             const struct kl_sql_row *row, struct kl_err *err)
{
    struct kl_holder one = {0}, other = {0};
    int64_t kind;

    if (!kl_sql_number(stmt, 0, KL_SHARE_TMK, KL_SHARE_KCV, &kind) || !get_holder(stmt, 1, &one) ||
        !get_holder(stmt, 3, &other)) {
        return kl_sql_damaged(store, "terminal or tmk", err);
    }
    return row->fn.share((enum kl_share)kind, &one, &other, row->arg, err);
}

/* What is bare beside min() in an aggregate comes from the row of the minimum (SQLite documents
 * it). A KCV of 4 bytes is compared with one of 3 by its first 3, one of TDES2 with those of TDES3:
 * a key of two parts is one of three whose last is the first again. */
_Static_assert(KL_ALG_TDES2 == 1 && KL_ALG_TDES3 == 2, "max(alg, 2) is one number for TDES");
static const char share_sql[] =
    "WITH live AS (SELECT serial, version, max(alg, 2) AS alg, substr(kcv, 1, 3) AS kcv,"
    "  cryptogram FROM tmk WHERE cryptogram != x'' UNION ALL"
    "  SELECT serial, 0, max(alg, 2), substr(kcv, 1, 3), cryptogram FROM imported),"
    " same_key AS (SELECT cryptogram, min(serial) AS serial, version FROM live"
    "  GROUP BY cryptogram HAVING count(DISTINCT serial) > 1),"
    " same_device AS (SELECT device_key, min(serial) AS serial FROM terminal"
    "  WHERE device_key != x'' GROUP BY device_key HAVING count(*) > 1),"
    " same_kcv AS (SELECT alg, kcv, min(serial) AS serial, version, cryptogram FROM live"
    "  GROUP BY alg, kcv HAVING count(DISTINCT serial) > 1 AND count(DISTINCT cryptogram) > 1)"
    " SELECT 1 AS kind, f.serial AS one, f.version, l.serial AS other, l.version AS version"
    "  FROM same_key f JOIN live l ON l.cryptogram = f.cryptogram WHERE l.serial != f.serial"
    " UNION ALL SELECT 2, f.serial, 0, t.serial, 0"
    "  FROM same_device f JOIN terminal t ON t.device_key = f.device_key"
    "  WHERE t.serial != f.serial"
    " UNION ALL SELECT 3, f.serial, f.version, l.serial, l.version"
    "  FROM same_kcv f JOIN live l ON l.alg = f.alg AND l.kcv = f.kcv"
    "  WHERE l.serial != f.serial AND l.cryptogram != f.cryptogram"
    " ORDER BY 1, 2, 4, 5";

enum kl_rc kl_store_share_each(struct kl_store *store, kl_share_fn fn, void *arg,
                               struct kl_err *err)
{
    struct kl_sql_row row = {.take = take_share, .fn.share = fn, .arg = arg};

    return kl_sql_each(store, KL_SQL_SHARE_EACH, share_sql, NULL, 0, &row, err);
}
