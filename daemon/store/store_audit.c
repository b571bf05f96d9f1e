/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: the audit trail. A record's hash covers the one before it, which is read
 * from the database once in each transaction: between them other programs append as well.
 */
#include <string.h>

#include "daemon/audit/audit_event.h"
#include "daemon/store/store_sqlite.h"

void kl_store_set_actor(struct kl_store *store, const char *actor)
{
    size_t len = strnlen(actor, KL_AUDIT_ACTOR_MAX);

    memcpy(store->actor, actor, len);
    store->actor[len] = '\0';
}

/* ---- The last record ---- */

/* Without a record of its own: what was archived last, or nothing yet. */
static const char head_sql[] =
    "SELECT s.archived_to, s.archived_hash, coalesce(a.id, s.archived_to),"
    " coalesce(a.hash, s.archived_hash),"
    " coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'audit'), 0)"
    " FROM audit_state s LEFT JOIN audit a ON a.id = (SELECT max(id) FROM audit)";

static enum kl_rc read_head(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                            struct kl_err *err)
{
    struct kl_audit_head *head = out;
    int64_t archived, id, given;
    uint8_t ignored[KL_HASH_LEN];
    size_t len;

    if (!kl_sql_number(stmt, 0, 0, INT64_MAX, &archived) ||
        !kl_sql_blob(stmt, 1, ignored, KL_HASH_LEN, KL_HASH_LEN, &len) ||
        !kl_sql_number(stmt, 2, archived, INT64_MAX - 1, &id) ||
        !kl_sql_blob(stmt, 3, head->hash, KL_HASH_LEN, KL_HASH_LEN, &len) ||
        !kl_sql_number(stmt, 4, 0, INT64_MAX - 1, &given)) {
        return kl_sql_damaged(store, "audit", err);
    }
    head->id = (uint64_t)id;
    head->given = (uint64_t)given;
    return KL_OK;
}

static enum kl_rc get_head(struct kl_store *store, struct kl_audit_head *out, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc = kl_sql_keep(store, KL_SQL_AUDIT_HEAD, head_sql, &stmt, err);

    if (rc == KL_OK) {
        rc = kl_sql_get(store, stmt, read_head, out, &found, err);
    }
    return rc == KL_OK && !found ? kl_sql_damaged(store, "audit_state", err) : rc;
}

enum kl_rc kl_store_audit_head(struct kl_store *store, uint64_t *id, uint8_t hash[KL_HASH_LEN],
                               struct kl_err *err)
{
    struct kl_audit_head head;
    enum kl_rc rc = get_head(store, &head, err);

    if (rc == KL_OK) {
        *id = head.id;
        memcpy(hash, head.hash, KL_HASH_LEN);
    }
    return rc;
}

/* ---- Records ---- */

enum kl_rc kl_sql_audit_put(struct kl_store *store, const struct kl_audit *record,
                            struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_AUDIT_ADD,
                                  "INSERT INTO audit (" KL_SQL_AUDIT_COLUMNS ")"
                                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                                  &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, (int64_t)record->id);
    sqlite3_bind_int64(stmt, 2, record->time);
    kl_sql_bind_text(stmt, 3, record->event);
    kl_sql_bind_text(stmt, 4, record->serial);
    kl_sql_bind_text(stmt, 5, record->detail);
    kl_sql_bind_text(stmt, 6, record->actor);
    kl_sql_bind_blob(stmt, 7, record->hash, KL_HASH_LEN);
    return kl_sql_write(store, stmt, err);
}

/* What is longer is cut, not refused: nothing goes unrecorded for its length. */
static void put_text(char *out, size_t max, const char *text)
{
    size_t len = strnlen(text, max);

    memcpy(out, text, len);
    out[len] = '\0';
}

enum kl_rc kl_store_audit(struct kl_store *store, int64_t now, const char *event,
                          const char *serial, const char *detail, struct kl_err *err)
{
    struct kl_audit record = {.time = now};
    struct kl_audit_head head;
    enum kl_rc rc;

    if (!kl_audit_event_known(event)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "\"%.40s\" is no event of the audit trail", event);
    }
    /* A transaction that a failed statement has undone is one no more. */
    if (store->has_head && !sqlite3_get_autocommit(store->db)) {
        head = store->head;
    } else if ((rc = get_head(store, &head, err)) != KL_OK) {
        return rc;
    }
    store->has_head = 0;
    /* An id is never given twice: where records were removed from the end, the gap shows it. */
    record.id = (head.given > head.id ? head.given : head.id) + 1;
    put_text(record.event, KL_AUDIT_EVENT_MAX, event);
    put_text(record.serial, KL_SERIAL_MAX, serial);
    put_text(record.detail, KL_AUDIT_DETAIL_MAX, detail);
    put_text(record.actor, KL_AUDIT_ACTOR_MAX, store->actor);
    if ((rc = kl_audit_hash(head.hash, &record, record.hash, err)) != KL_OK ||
        (rc = kl_sql_audit_put(store, &record, err)) != KL_OK) {
        return rc;
    }
    store->head = (struct kl_audit_head){.id = record.id, .given = record.id};
    memcpy(store->head.hash, record.hash, KL_HASH_LEN);
    store->has_head = 1;
    return KL_OK;
}

int kl_sql_audit_get(sqlite3_stmt *stmt, struct kl_audit *out)
{
    int64_t id;
    size_t len;

    if (!kl_sql_number(stmt, 0, 1, INT64_MAX, &id) ||
        !kl_sql_number(stmt, 1, INT64_MIN, INT64_MAX, &out->time) ||
        !kl_sql_text(stmt, 2, out->event, KL_AUDIT_EVENT_MAX) ||
        !kl_sql_text(stmt, 3, out->serial, KL_SERIAL_MAX) ||
        !kl_sql_text(stmt, 4, out->detail, KL_AUDIT_DETAIL_MAX) ||
        !kl_sql_text(stmt, 5, out->actor, KL_AUDIT_ACTOR_MAX) ||
        !kl_sql_blob(stmt, 6, out->hash, KL_HASH_LEN, KL_HASH_LEN, &len)) {
        return 0;
    }
    out->id = (uint64_t)id;
    return 1;
}

static enum kl_rc take_audit(struct kl_store *store, sqlite3_stmt *stmt,
                             const struct kl_sql_row *row, struct kl_err *err)
{
    struct kl_audit record;

    return kl_sql_audit_get(stmt, &record) ? row->fn.audit(&record, row->arg, err)
                                           : kl_sql_damaged(store, "audit", err);
}

enum kl_rc kl_store_audit_each(struct kl_store *store, uint64_t last, kl_audit_fn fn, void *arg,
                               struct kl_err *err)
{
    struct kl_sql_row row = {.take = take_audit, .fn.audit = fn, .arg = arg};
    /* A negative limit is none. */
    int64_t limit = last == 0 || last > INT64_MAX ? -1 : (int64_t)last;

    return kl_sql_each(store, KL_SQL_AUDIT_EACH,
                       "SELECT * FROM (SELECT " KL_SQL_AUDIT_COLUMNS " FROM audit"
                       " ORDER BY id DESC LIMIT ?2) ORDER BY id",
                       NULL, limit, &row, err);
}

enum kl_rc kl_store_audit_from(struct kl_store *store, uint64_t after, kl_audit_fn fn, void *arg,
                               struct kl_err *err)
{
    struct kl_sql_row row = {.take = take_audit,
                             .fn.audit = fn,
                             .arg = arg,
                             .after = (int64_t)after};

    return kl_sql_each(store, KL_SQL_AUDIT_FROM,
                       "SELECT id, time, event, serial, detail, actor, hash FROM audit"
                       " WHERE id > ?3 ORDER BY id",
                       NULL, 0, &row, err);
}
