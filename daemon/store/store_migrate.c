/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: how the tables of an older version become those of this one, in one
 * transaction, after a copy.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/cli.h"
#include "conf/log.h"
#include "daemon/control/actor.h"
#include "daemon/store/store_schema.h"

#define COPIES_A_SECOND 10 /* of a store whose migrations are cut off */

/* ---- From version 2 ---- */

/* The audit trail of version 2, record by record; each gets its place in the chain. */
static const char v2_records[] = "SELECT id, time, event, serial, detail FROM audit_2 ORDER BY id";
static const char v2_columns[] = "ALTER TABLE terminal ADD COLUMN " KL_SCHEMA_FLOOR_COLUMN ";"
                                 "ALTER TABLE tmk ADD COLUMN " KL_SCHEMA_WRAP_COLUMN ";"
                                 "ALTER TABLE imported ADD COLUMN " KL_SCHEMA_WRAP_COLUMN ";"
                                 "ALTER TABLE working ADD COLUMN " KL_SCHEMA_WRAP_COLUMN ";"
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
        kl_schema_number(store,
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

static enum kl_rc from_v2(struct kl_store *store, uint64_t *records, struct kl_err *err)
{
    uint8_t genesis[KL_HASH_LEN];
    enum kl_rc rc;

    if ((rc = kl_sql_exec(store, v2_columns, "ALTER TABLE", err)) != KL_OK ||
        (rc = kl_sql_exec(store, kl_schema_audit, "CREATE", err)) != KL_OK) {
        return rc;
    }
    /* Without the new triggers' table the old ones hold, of which the copy needs none. */
    if ((rc = kl_sql_exec(store,
                          "DROP TRIGGER IF EXISTS audit_no_update;"
                          "DROP TRIGGER IF EXISTS audit_no_delete",
                          "DROP", err)) != KL_OK ||
        (rc = kl_sql_exec(store, kl_schema_audit_rules, "CREATE", err)) != KL_OK ||
        (rc = kl_schema_begin_trail(store, genesis, err)) != KL_OK ||
        (rc = chain_records(store, genesis, records, err)) != KL_OK ||
        (rc = check_end(store, *records, err)) != KL_OK) {
        return rc;
    }
    return kl_sql_exec(store, v2_drop, "DROP TABLE", err);
}

/* ---- From version 3 ---- */

/* A table whose rules change is made anew; working keys refer to it by its name, which is taken
 * again at once. Its indices go with the old one, and make room for the new ones. */
static const char v3_rename[] = "PRAGMA legacy_alter_table = ON;"
                                "ALTER TABLE tmk RENAME TO tmk_3;"
                                "PRAGMA legacy_alter_table = OFF",
                  v3_copy[] = "INSERT INTO tmk SELECT * FROM tmk_3 ORDER BY serial, version",
                  v3_drop[] = "DROP TABLE tmk_3";

static enum kl_rc from_v3(struct kl_store *store, struct kl_err *err)
{
    int64_t strangers = 0;
    enum kl_rc rc;

    if ((rc = kl_sql_exec(store, v3_rename, "ALTER TABLE", err)) != KL_OK ||
        (rc = kl_sql_exec(store, kl_schema_tmk, "CREATE", err)) != KL_OK ||
        (rc = kl_sql_exec(store, v3_copy, "INSERT", err)) != KL_OK ||
        (rc = kl_sql_exec(store, v3_drop, "DROP TABLE", err)) != KL_OK ||
        (rc = kl_sql_exec(store, kl_schema_tmk_indices, "CREATE", err)) != KL_OK ||
        (rc = kl_schema_number(store, "SELECT count(*) FROM pragma_foreign_key_check", &strangers,
                               err)) != KL_OK) {
        return rc;
    }
    return strangers == 0 ? KL_OK
                          : kl_err_set(err, KL_ERR_VERIFY,
                                       "%s: %lld rows are of terminals or TMKs that are missing; "
                                       "migrate a store that has them, such as a backup",
                                       store->path, (long long)strangers);
}

/* ---- Either ---- */

/* In the transaction, from that version to this one. */
static enum kl_rc bring_up(struct kl_store *store, int version, const char *copy,
                           struct kl_err *err)
{
    char detail[KL_AUDIT_DETAIL_MAX + 1];
    uint64_t records = 0;
    enum kl_rc rc = version == 2 ? from_v2(store, &records, err) : KL_OK;

    if (rc != KL_OK || (rc = from_v3(store, err)) != KL_OK ||
        (rc = kl_sql_exec(store, kl_schema_version, "PRAGMA", err)) != KL_OK) {
        return rc;
    }
    kl_log_format(detail, sizeof(detail),
                  (const struct kl_log_field[]){KL_NUM("from", version),
                                                KL_NUM("to", KL_STORE_VERSION),
                                                KL_NUM("records", records),
                                                KL_STR("copy", kl_file_name(copy))},
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

/* A large store takes so long that whoever waits for the daemon wants to know what for. */
static void tell(const char *event, const struct kl_store *store, int from)
{
    kl_log(KL_LOG_INFO, event, KL_STR("file", store->path), KL_NUM("from", from),
           KL_NUM("to", KL_STORE_VERSION));
}

/* *from: the version that it was of, or as it was if there was nothing to do. */
static enum kl_rc migrate(struct kl_store *store, int *from, struct kl_err *err)
{
    char copy[PATH_MAX], actor[KL_AUDIT_ACTOR_MAX + 1];
    int version;
    enum kl_rc rc;

    if ((rc = kl_schema_check(store, &version, err)) != KL_OK || version == KL_STORE_VERSION) {
        return rc; /* somebody else has while we waited for the lock */
    }
    tell("store-migrating", store, version);
    if ((rc = make_copy(store, version, copy, err)) != KL_OK) {
        return rc;
    }
    kl_actor_format(geteuid(), actor);
    kl_store_set_actor(store, actor);
    rc = bring_up(store, version, copy, err);
    kl_store_set_actor(store, "");
    if (rc != KL_OK) {
        (void)unlink(copy);
    }
    *from = version;
    return rc;
}

/* While a table has another name, references to it are not held: from_v3 looks at all of them. It
 * takes that setting outside of a transaction only. Whoever opened the store closes it on failure.
 */
static enum kl_rc migrate_without_references(struct kl_store *store, struct kl_err *err)
{
    int from = KL_STORE_VERSION;
    enum kl_rc rc = kl_sql_exec(store, "PRAGMA foreign_keys = OFF", "PRAGMA", err);

    if (rc == KL_OK && (rc = kl_store_begin(store, err)) == KL_OK) {
        rc = kl_schema_finish(store, migrate(store, &from, err), err);
    }
    if (rc == KL_OK && from != KL_STORE_VERSION) {
        tell("store-migrated", store, from);
    }
    return rc == KL_OK ? kl_sql_exec(store, "PRAGMA foreign_keys = ON", "PRAGMA", err) : rc;
}

enum kl_rc kl_schema_migrate(struct kl_store *store, struct kl_err *err)
{
    enum kl_rc rc = kl_store_claim(store, err);

    if (rc == KL_ERR_BUSY) {
        return kl_err_set(err, rc,
                          "%s: is of an older version, and a daemon serves it: stop that first, "
                          "then it can be brought up to date (another program may be at that)",
                          store->path);
    }
    if (rc == KL_OK) {
        rc = migrate_without_references(store, err);
    }
    kl_sql_unclaim(store);
    return rc == KL_OK ? rc : kl_err_context(err, "the store was not migrated");
}
