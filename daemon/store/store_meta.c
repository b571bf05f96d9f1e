/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: what it knows of itself (meta), and requests that wait for a second
 * operator.
 */

#include "daemon/store/store_sqlite.h"

/* ---- Meta ---- */

static enum kl_rc read_meta(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                            struct kl_err *err)
{
    return kl_sql_text(stmt, 0, out, KL_META_MAX) ? KL_OK : kl_sql_damaged(store, "meta", err);
}

enum kl_rc kl_store_meta_get(struct kl_store *store, const char *name, char out[KL_META_MAX + 1],
                             struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc =
        kl_sql_keep(store, KL_SQL_META_GET, "SELECT value FROM meta WHERE name = ?1", &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, name);
    rc = kl_sql_get(store, stmt, read_meta, out, &found, err);
    if (rc == KL_OK && !found) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND, "the store has no \"%.64s\"", name);
    }
    return rc;
}

enum kl_rc kl_store_meta_put(struct kl_store *store, const char *name, const char *value,
                             struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_META_PUT,
                                  "INSERT INTO meta (name, value) VALUES (?1, ?2)"
                                  " ON CONFLICT (name) DO UPDATE SET value = ?2",
                                  &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, name);
    kl_sql_bind_text(stmt, 2, value);
    return kl_sql_write(store, stmt, err);
}

/* ---- Requests ---- */

#define REQUEST_COLUMNS \
    "id, kind, params, requester_uid, requester, created, expires, state, approver_uid, " \
    "approver, decided, outcome"

const char *kl_request_state_name(enum kl_request_state state)
{
    static const char *const names[] = {
        [KL_REQUEST_PENDING] = "pending",   [KL_REQUEST_APPROVED] = "approved",
        [KL_REQUEST_REJECTED] = "rejected", [KL_REQUEST_DONE] = "done",
        [KL_REQUEST_EXPIRED] = "expired",   [KL_REQUEST_FAILED] = "failed",
    };

    return state >= KL_REQUEST_PENDING && state <= KL_REQUEST_FAILED ? names[state] : "?";
}

static enum kl_rc read_request(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                               struct kl_err *err)
{
    struct kl_request *r = out;
    int64_t id, state;

    if (!kl_sql_number(stmt, 0, 1, INT64_MAX, &id) ||
        !kl_sql_text(stmt, 1, r->kind, KL_REQUEST_KIND_MAX) ||
        !kl_sql_text(stmt, 2, r->params, KL_REQUEST_PARAMS_MAX) ||
        !kl_sql_number(stmt, 3, 0, UINT32_MAX, &r->requester_uid) ||
        !kl_sql_text(stmt, 4, r->requester, KL_AUDIT_ACTOR_MAX) ||
        !kl_sql_number(stmt, 5, INT64_MIN, INT64_MAX, &r->created) ||
        !kl_sql_number(stmt, 6, INT64_MIN, INT64_MAX, &r->expires) ||
        !kl_sql_number(stmt, 7, KL_REQUEST_PENDING, KL_REQUEST_FAILED, &state) ||
        !kl_sql_number(stmt, 8, -1, UINT32_MAX, &r->approver_uid) ||
        !kl_sql_text(stmt, 9, r->approver, KL_AUDIT_ACTOR_MAX) ||
        !kl_sql_number(stmt, 10, INT64_MIN, INT64_MAX, &r->decided) ||
        !kl_sql_text(stmt, 11, r->outcome, KL_REQUEST_OUTCOME_MAX)) {
        return kl_sql_damaged(store, "request", err);
    }
    r->id = (uint64_t)id;
    r->state = (enum kl_request_state)state;
    return KL_OK;
}

enum kl_rc kl_store_request_add(struct kl_store *store, const struct kl_request *request,
                                uint64_t *id, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_REQUEST_ADD,
                                  "INSERT INTO request (kind, params, requester_uid, requester,"
                                  " created, expires, state, approver_uid, approver, decided,"
                                  " outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, -1, '', 0, '')",
                                  &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, request->kind);
    kl_sql_bind_text(stmt, 2, request->params);
    sqlite3_bind_int64(stmt, 3, request->requester_uid);
    kl_sql_bind_text(stmt, 4, request->requester);
    sqlite3_bind_int64(stmt, 5, request->created);
    sqlite3_bind_int64(stmt, 6, request->expires);
    if ((rc = kl_sql_write(store, stmt, err)) == KL_OK) {
        *id = (uint64_t)sqlite3_last_insert_rowid(store->db);
    }
    return rc;
}

static enum kl_rc no_request(uint64_t id, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_NOT_FOUND, "there is no request %llu", (unsigned long long)id);
}

enum kl_rc kl_store_request_get(struct kl_store *store, uint64_t id, struct kl_request *out,
                                struct kl_err *err)
{
    struct kl_request request;
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc =
        kl_sql_keep(store, KL_SQL_REQUEST_GET,
                    "SELECT " REQUEST_COLUMNS " FROM request WHERE id = ?1", &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, (int64_t)id);
    if ((rc = kl_sql_get(store, stmt, read_request, &request, &found, err)) != KL_OK) {
        return rc;
    }
    if (!found) {
        return no_request(id, err);
    }
    *out = request;
    return KL_OK;
}

enum kl_rc kl_store_request_update(struct kl_store *store, const struct kl_request *request,
                                   enum kl_request_state from, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_REQUEST_UPDATE,
                                  "UPDATE request SET state = ?2, approver_uid = ?3, approver = ?4,"
                                  " decided = ?5, outcome = ?6 WHERE id = ?1 AND state = ?7",
                                  &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, (int64_t)request->id);
    sqlite3_bind_int64(stmt, 2, request->state);
    sqlite3_bind_int64(stmt, 3, request->approver_uid);
    kl_sql_bind_text(stmt, 4, request->approver);
    sqlite3_bind_int64(stmt, 5, request->decided);
    kl_sql_bind_text(stmt, 6, request->outcome);
    sqlite3_bind_int64(stmt, 7, from);
    rc = kl_sql_write(store, stmt, err);
    if (rc == KL_OK && sqlite3_changes(store->db) == 0) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND, "there is no request %llu that is %s",
                        (unsigned long long)request->id, kl_request_state_name(from));
    }
    return rc;
}

static enum kl_rc take_request(struct kl_store *store, sqlite3_stmt *stmt,
                               const struct kl_sql_row *row, struct kl_err *err)
{
    struct kl_request request;
    enum kl_rc rc = read_request(store, stmt, &request, err);

    return rc == KL_OK ? row->fn.request(&request, row->arg, err) : rc;
}

enum kl_rc kl_store_request_each(struct kl_store *store, enum kl_request_state state,
                                 uint64_t after, kl_request_fn fn, void *arg, struct kl_err *err)
{
    struct kl_sql_row row = {.take = take_request,
                             .fn.request = fn,
                             .arg = arg,
                             .after = (int64_t)after};

    return kl_sql_each(store, KL_SQL_REQUEST_EACH,
                       "SELECT " REQUEST_COLUMNS " FROM request WHERE id > ?3"
                       " AND (?2 = 0 OR state = ?2) ORDER BY id",
                       NULL, state, &row, err);
}
