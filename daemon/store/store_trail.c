/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: the audit trail as a whole, for who verifies, signs, forwards and archives
 * it. Nothing that is read here is trusted to be as we have written it.
 */
#include <string.h>

#include "daemon/store/store_sqlite.h"

/* ---- How far it goes ---- */

static const char state_sql[] =
    "SELECT archived_to, archived_hash, forwarded,"
    " coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'audit'), 0) FROM audit_state";

static enum kl_rc take_state(struct kl_store *store, sqlite3_stmt *stmt,
                             const struct kl_sql_row *row, struct kl_err *err)
{
    struct kl_audit_state *state = row->arg;
    int64_t archived, forwarded, given;
    size_t len;

    if (!kl_sql_number(stmt, 0, 0, INT64_MAX - 1, &archived) ||
        !kl_sql_blob(stmt, 1, state->archived_hash, KL_HASH_LEN, KL_HASH_LEN, &len) ||
        !kl_sql_number(stmt, 2, 0, INT64_MAX, &forwarded) ||
        !kl_sql_number(stmt, 3, 0, INT64_MAX, &given)) {
        return kl_sql_damaged(store, "audit_state", err);
    }
    state->archived_to = (uint64_t)archived;
    state->forwarded = (uint64_t)forwarded;
    state->given = (uint64_t)given;
    return KL_OK;
}

enum kl_rc kl_store_audit_state(struct kl_store *store, struct kl_audit_state *out,
                                struct kl_err *err)
{
    struct kl_audit_state state = {.forwarded = UINT64_MAX};
    struct kl_sql_row row = {.take = take_state, .arg = &state};
    enum kl_rc rc = kl_sql_each(store, KL_SQL_AUDIT_STATE, state_sql, NULL, 0, &row, err);

    if (rc == KL_OK && state.forwarded == UINT64_MAX) {
        rc = kl_sql_damaged(store, "audit_state", err); /* there is no row */
    }
    if (rc == KL_OK) {
        *out = state;
    }
    return rc;
}

/* ---- Checkpoints ---- */

#define CHECKPOINT_COLUMNS "id, time, hash, key, signature"

static int get_checkpoint(sqlite3_stmt *stmt, struct kl_checkpoint *out)
{
    int64_t id;
    size_t len;

    if (!kl_sql_number(stmt, 0, 1, INT64_MAX, &id) ||
        !kl_sql_number(stmt, 1, INT64_MIN, INT64_MAX, &out->time) ||
        !kl_sql_blob(stmt, 2, out->hash, KL_HASH_LEN, KL_HASH_LEN, &len) ||
        !kl_sql_blob(stmt, 3, out->key, KL_HASH_LEN, KL_HASH_LEN, &len) ||
        !kl_sql_blob(stmt, 4, out->signature, 1, KL_AUDIT_SIGNATURE_MAX, &out->signature_len)) {
        return 0;
    }
    out->id = (uint64_t)id;
    return 1;
}

static enum kl_rc read_checkpoint(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                                  struct kl_err *err)
{
    return get_checkpoint(stmt, out) ? KL_OK : kl_sql_damaged(store, "audit_checkpoint", err);
}

enum kl_rc kl_store_checkpoint_add(struct kl_store *store, const struct kl_checkpoint *checkpoint,
                                   struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_CHECKPOINT_ADD,
                                  "INSERT INTO audit_checkpoint (" CHECKPOINT_COLUMNS ")"
                                  " VALUES (?1, ?2, ?3, ?4, ?5)",
                                  &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, (int64_t)checkpoint->id);
    sqlite3_bind_int64(stmt, 2, checkpoint->time);
    kl_sql_bind_blob(stmt, 3, checkpoint->hash, KL_HASH_LEN);
    kl_sql_bind_blob(stmt, 4, checkpoint->key, KL_HASH_LEN);
    kl_sql_bind_blob(stmt, 5, checkpoint->signature, checkpoint->signature_len);
    return kl_sql_write(store, stmt, err);
}

enum kl_rc kl_store_checkpoint_last(struct kl_store *store, uint64_t up_to,
                                    struct kl_checkpoint *out, struct kl_err *err)
{
    struct kl_checkpoint checkpoint;
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc = kl_sql_keep(store, KL_SQL_CHECKPOINT_LAST,
                                "SELECT " CHECKPOINT_COLUMNS " FROM audit_checkpoint"
                                " WHERE id <= ?1 ORDER BY id DESC LIMIT 1",
                                &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, up_to == 0 || up_to > INT64_MAX ? INT64_MAX : (int64_t)up_to);
    rc = kl_sql_get(store, stmt, read_checkpoint, &checkpoint, &found, err);
    if (rc == KL_OK && !found) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND, "the audit trail has no checkpoint there");
    }
    if (rc == KL_OK) {
        *out = checkpoint;
    }
    return rc;
}

/* ---- From end to end ---- */

struct walker {
    struct kl_store *store;
    const struct kl_audit_walk *walk;
    sqlite3_stmt *checkpoints;
    int more; /* 1: it stands on a checkpoint that has not been told */
};

static enum kl_rc step(struct walker *w, sqlite3_stmt *stmt, int *row, struct kl_err *err)
{
    int code = sqlite3_step(stmt);

    *row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? KL_OK
                                                     : kl_sql_err(w->store, "sqlite3_step", err);
}

/* The checkpoints up to that id. */
static enum kl_rc tell_checkpoints(struct walker *w, int64_t up_to, struct kl_err *err)
{
    struct kl_checkpoint checkpoint;
    enum kl_rc rc = KL_OK;

    while (rc == KL_OK && w->more && sqlite3_column_int64(w->checkpoints, 0) <= up_to) {
        if (!get_checkpoint(w->checkpoints, &checkpoint)) {
            rc = w->walk->damaged("audit_checkpoint",
                                  (uint64_t)sqlite3_column_int64(w->checkpoints, 0), w->walk->arg,
                                  err);
        } else if (w->walk->checkpoint) {
            rc = w->walk->checkpoint(&checkpoint, w->walk->arg, err);
        }
        if (rc == KL_OK) {
            rc = step(w, w->checkpoints, &w->more, err);
        }
    }
    return rc;
}

static enum kl_rc tell_records(struct walker *w, sqlite3_stmt *records, struct kl_err *err)
{
    struct kl_audit record = {0};
    int row = 0;
    enum kl_rc rc = step(w, w->checkpoints, &w->more, err);

    while (rc == KL_OK && (rc = step(w, records, &row, err)) == KL_OK && row) {
        int64_t id = sqlite3_column_int64(records, 0);
        if ((rc = tell_checkpoints(w, id - 1, err)) != KL_OK) {
            break;
        }
        rc = kl_sql_audit_get(records, &record)
                 ? w->walk->record(&record, w->walk->arg, err)
                 : w->walk->damaged("audit", (uint64_t)id, w->walk->arg, err);
        if (rc == KL_OK) {
            rc = tell_checkpoints(w, id, err);
        }
    }
    return rc == KL_OK ? tell_checkpoints(w, INT64_MAX, err) : rc;
}

enum kl_rc kl_store_audit_walk(struct kl_store *store, uint64_t after,
                               const struct kl_audit_walk *walk, struct kl_err *err)
{
    struct walker w = {.store = store, .walk = walk};
    sqlite3_stmt *records = NULL;
    enum kl_rc rc;

    if (sqlite3_prepare_v2(store->db,
                           "SELECT " KL_SQL_AUDIT_COLUMNS " FROM audit WHERE id > ?1 ORDER BY id",
                           -1, &records, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(store->db,
                           "SELECT " CHECKPOINT_COLUMNS " FROM audit_checkpoint WHERE id >= ?1"
                           " ORDER BY id",
                           -1, &w.checkpoints, NULL) != SQLITE_OK) {
        rc = kl_sql_err(store, "sqlite3_prepare_v2", err);
    } else {
        sqlite3_bind_int64(records, 1, (int64_t)after);
        sqlite3_bind_int64(w.checkpoints, 1, (int64_t)after);
        rc = tell_records(&w, records, err);
    }
    sqlite3_finalize(records);
    sqlite3_finalize(w.checkpoints);
    return rc;
}

/* ---- Its rules in the database ---- */

/* What there must be, and what there is. */
static const char rules_sql[] =
    "SELECT type, name, sql FROM sqlite_schema WHERE tbl_name IN ('audit', 'audit_state',"
    " 'audit_checkpoint', 'meta') AND sql IS NOT NULL ORDER BY type, name";

static int same_text(sqlite3_stmt *a, sqlite3_stmt *b, int column)
{
    const char *one = (const char *)sqlite3_column_text(a, column);
    const char *other = (const char *)sqlite3_column_text(b, column);

    return one && other && strcmp(one, other) == 0;
}

static enum kl_rc compare_rules(struct kl_store *store, sqlite3_stmt *want, sqlite3_stmt *got,
                                struct kl_err *err)
{
    int w = sqlite3_step(want), g = sqlite3_step(got);

    while (w == SQLITE_ROW && g == SQLITE_ROW && same_text(want, got, 0) &&
           same_text(want, got, 1) && same_text(want, got, 2)) {
        w = sqlite3_step(want);
        g = sqlite3_step(got);
    }
    if (w == SQLITE_DONE && g == SQLITE_DONE) {
        return KL_OK;
    }
    if ((w != SQLITE_ROW && w != SQLITE_DONE) || (g != SQLITE_ROW && g != SQLITE_DONE)) {
        return kl_sql_err(store, "sqlite3_step", err);
    }
    return kl_err_set(
        err, KL_ERR_VERIFY,
        "the database's rules for the audit trail were changed, at or before %s %.60s",
        w == SQLITE_ROW ? (const char *)sqlite3_column_text(want, 0) : "the end of",
        w == SQLITE_ROW ? (const char *)sqlite3_column_text(want, 1) : "the list");
}

enum kl_rc kl_store_audit_rules(struct kl_store *store, struct kl_err *err)
{
    sqlite3 *model = NULL;
    sqlite3_stmt *want = NULL, *got = NULL;
    enum kl_rc rc;

    if (sqlite3_open(":memory:", &model) != SQLITE_OK || kl_schema_rules(model) != SQLITE_OK ||
        sqlite3_prepare_v2(model, rules_sql, -1, &want, NULL) != SQLITE_OK) {
        rc = kl_err_set(err, KL_ERR_INTERNAL, "the audit trail's rules: %s",
                        model ? sqlite3_errmsg(model) : "out of memory");
    } else if (sqlite3_prepare_v2(store->db, rules_sql, -1, &got, NULL) != SQLITE_OK) {
        rc = kl_sql_err(store, "sqlite3_prepare_v2", err);
    } else {
        rc = compare_rules(store, want, got, err);
    }
    sqlite3_finalize(want);
    sqlite3_finalize(got);
    sqlite3_close(model);
    return rc;
}

/* ---- What has left ---- */

static enum kl_rc update(struct kl_store *store, const char *sql, uint64_t id,
                         const uint8_t hash[KL_HASH_LEN], struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = KL_OK;

    if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return kl_sql_err(store, "sqlite3_prepare_v2", err);
    }
    sqlite3_bind_int64(stmt, 1, (int64_t)id);
    if (hash) {
        kl_sql_bind_blob(stmt, 2, hash, KL_HASH_LEN);
    }
    if (sqlite3_step(stmt) != SQLITE_DONE) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    sqlite3_finalize(stmt);
    return rc;
}

enum kl_rc kl_store_audit_archived(struct kl_store *store, const struct kl_checkpoint *checkpoint,
                                   uint64_t *count, struct kl_err *err)
{
    enum kl_rc rc;

    if (sqlite3_get_autocommit(store->db)) {
        return kl_err_set(err, KL_ERR_STORE, "%s: no transaction, or it has been undone",
                          store->path);
    }
    /* The triggers see to it that the checkpoint is there and fits. */
    if ((rc = update(store, "UPDATE audit_state SET archived_to = ?1, archived_hash = ?2",
                     checkpoint->id, checkpoint->hash, err)) != KL_OK ||
        (rc = update(store, "DELETE FROM audit WHERE id <= ?1", checkpoint->id, NULL, err)) !=
            KL_OK) {
        return rc;
    }
    *count = (uint64_t)sqlite3_changes64(store->db);
    return update(store, "DELETE FROM audit_checkpoint WHERE id < ?1", checkpoint->id, NULL, err);
}

enum kl_rc kl_store_audit_forwarded(struct kl_store *store, uint64_t id, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc =
        kl_sql_writer(store, KL_SQL_AUDIT_FORWARDED,
                      "UPDATE audit_state SET forwarded = max(forwarded, ?1)", &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, (int64_t)id);
    return kl_sql_write(store, stmt, err);
}
