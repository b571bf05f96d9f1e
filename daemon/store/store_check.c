/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking through a store; what is found is told, and never mended. */
#include "daemon/store/store_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf/cli.h"
#include "daemon/audit/audit_check.h"
#include "daemon/store/store_sqlite.h"
#include "daemon/store/store_wrap.h"

void kl_check_found(struct kl_check *check, enum kl_rc kind, const char *fmt, ...)
{
    char text[sizeof(check->first.text)];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (check->findings++ == 0) {
        (void)kl_err_set(&check->first, kind, "%s", text);
    }
    if (check->worst != KL_ERR_STORE) {
        check->worst = kind;
    }
    if (check->findings <= KL_CHECK_FINDINGS_MAX && check->tell) {
        check->tell(kind, text, check->arg);
    }
}

/* What a function of the store says of a damaged row is a finding, not a failure of ours. */
static enum kl_rc take_damage(struct kl_check *check, enum kl_rc rc, const struct kl_err *err)
{
    if (rc == KL_ERR_STORE) {
        kl_check_found(check, KL_ERR_STORE, "%s", err->text);
        return KL_OK;
    }
    return rc;
}

/* ---- Statements whose rows are findings ---- */

static const char *text_at(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);

    return text ? text : "?";
}

/* Each row is one: its first two columns, after `what`. "ok" alone is none. */
static enum kl_rc each_finding(struct kl_store *store, struct kl_check *check, const char *sql,
                               int64_t number, enum kl_rc kind, const char *what,
                               struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int step = SQLITE_DONE;
    enum kl_rc rc = KL_OK;

    if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return take_damage(check, kl_sql_err(store, "sqlite3_prepare_v2", err), err);
    }
    if (sqlite3_bind_parameter_count(stmt) > 0) {
        sqlite3_bind_int64(stmt, 1, number);
    }
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (strcmp(text_at(stmt, 0), "ok") == 0) {
            continue;
        }
        kl_check_found(check, kind, "%s: %.200s%s%.40s", what, text_at(stmt, 0),
                       sqlite3_column_count(stmt) > 1 ? ", " : "",
                       sqlite3_column_count(stmt) > 1 ? text_at(stmt, 1) : "");
    }
    if (step != SQLITE_DONE) {
        rc = take_damage(check, kl_sql_err(store, "sqlite3_step", err), err);
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* ---- Schema ---- */

/* Tables that were brought up to date have another text than new ones. */
static const char objects_sql[] =
    "SELECT type || ' ' || name || CASE type WHEN 'table' THEN '' ELSE ' ' || sql END"
    " FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1";

/* Tells what `one` has and `other` has not, by type and name. */
static enum kl_rc compare_objects(struct kl_check *check, sqlite3 *one, sqlite3 *other,
                                  const char *what, struct kl_err *err)
{
    static const char has_sql[] =
        "SELECT count(*) FROM (SELECT type || ' ' || name || CASE type WHEN 'table' THEN ''"
        " ELSE ' ' || sql END AS it FROM sqlite_schema) WHERE it = ?1";
    sqlite3_stmt *list = NULL, *has = NULL;
    enum kl_rc rc = KL_OK;
    int code, step = SQLITE_DONE;

    if ((code = sqlite3_prepare_v2(one, objects_sql, -1, &list, NULL)) == SQLITE_OK) {
        code = sqlite3_prepare_v2(other, has_sql, -1, &has, NULL);
    }
    while (code == SQLITE_OK && (step = sqlite3_step(list)) == SQLITE_ROW) {
        sqlite3_bind_text(has, 1, text_at(list, 0), -1, SQLITE_TRANSIENT);
        code = sqlite3_step(has) == SQLITE_ROW ? SQLITE_OK : sqlite3_errcode(other);
        if (code == SQLITE_OK && sqlite3_column_int(has, 0) == 0) {
            kl_check_found(check, KL_ERR_VERIFY, "schema: %.60s... %s", text_at(list, 0), what);
        }
        sqlite3_reset(has);
    }
    if (code != SQLITE_OK || step != SQLITE_DONE) {
        rc = kl_err_set(err, KL_ERR_STORE, "the schema cannot be read");
    }
    sqlite3_finalize(list);
    sqlite3_finalize(has);
    return rc;
}

/* Against one that is made now, in memory. */
static enum kl_rc check_schema(struct kl_store *store, struct kl_check *check, struct kl_err *err)
{
    struct kl_store fresh = {.lock_fd = -1, .writable = 1, .path = (char *)"(schema)"};
    enum kl_rc rc = KL_OK;

    if (sqlite3_open(":memory:", &fresh.db) != SQLITE_OK) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "a schema to compare with");
    }
    if (rc == KL_OK) {
        rc = kl_schema_make(&fresh, err);
    }
    if (rc == KL_OK) {
        rc = compare_objects(check, fresh.db, store->db, "is missing or another", err);
    }
    if (rc == KL_OK) {
        rc = compare_objects(check, store->db, fresh.db, "is none of keyloader's", err);
    }
    for (size_t i = 0; i < KL_SQL_COUNT; i++) {
        sqlite3_finalize(fresh.kept[i]);
    }
    sqlite3_close(fresh.db);
    return take_damage(check, rc, err);
}

/* ---- Audit trail ---- */

static void trail_finding(const char *source, uint64_t id, const char *what, void *arg)
{
    (void)source;
    if (id == 0) {
        kl_check_found(arg, KL_ERR_VERIFY, "audit trail: %s", what);
    } else {
        kl_check_found(arg, KL_ERR_VERIFY, "audit trail: record %" PRIu64 " %s", id, what);
    }
}

/* Its chain and its rules; signatures are for who has the audit key (keyloaderctl audit verify). */
static enum kl_rc check_trail(struct kl_store *store, struct kl_check *check, struct kl_err *err)
{
    struct kl_audit_known known = {0};
    struct kl_audit_check *trail = NULL;
    enum kl_rc rc = kl_audit_check_new(&known, trail_finding, check, &trail, err);

    if (rc == KL_OK) {
        rc = kl_audit_check_store(trail, store->path, store, err);
    }
    if (rc == KL_OK) {
        kl_audit_check_end(trail);
        check->records = kl_audit_check_result(trail)->records;
    }
    kl_audit_check_free(trail);
    return take_damage(check, rc, err);
}

/* ---- Rows ---- */

static enum kl_rc count_terminal(const struct kl_terminal *terminal, void *arg, struct kl_err *err)
{
    (void)terminal;
    (void)err;
    ((struct kl_check *)arg)->terminals++;
    return KL_OK;
}

static enum kl_rc check_tmk(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    struct kl_check *check = arg;
    int was_active = tmk->state == KL_TMK_ACTIVE || tmk->state == KL_TMK_SUPERSEDED;

    (void)err;
    check->tmks++;
    if ((was_active && tmk->activated == 0) ||
        (tmk->state == KL_TMK_PENDING && tmk->activated != 0) ||
        (tmk->state == KL_TMK_SUPERSEDED && tmk->superseded == 0)) {
        kl_check_found(check, KL_ERR_VERIFY, "terminal %s, TMK version %u: is %s at no time",
                       tmk->serial, (unsigned)tmk->version, kl_tmk_state_name(tmk->state));
    }
    return KL_OK;
}

static enum kl_rc check_import(const struct kl_import *import, void *arg, struct kl_err *err)
{
    (void)import;
    (void)arg;
    (void)err;
    return KL_OK; /* that it can be read */
}

static enum kl_rc check_digests(struct kl_store *store, struct kl_check *check, struct kl_err *err)
{
    uint8_t cryptogram[KL_CTMK_LEN_MAX], digest[KL_HASH_LEN], said[KL_HASH_LEN];
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = KL_OK;
    size_t len, n;
    int step = SQLITE_DONE;

    if (sqlite3_prepare_v2(store->db,
                           "SELECT serial, version, cryptogram, digest FROM tmk"
                           " WHERE cryptogram != x''",
                           -1, &stmt, NULL) != SQLITE_OK) {
        return take_damage(check, kl_sql_err(store, "sqlite3_prepare_v2", err), err);
    }
    while (rc == KL_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (!kl_sql_blob(stmt, 2, cryptogram, 1, sizeof(cryptogram), &len) ||
            !kl_sql_blob(stmt, 3, said, KL_HASH_LEN, KL_HASH_LEN, &n)) {
            rc = take_damage(check, kl_sql_damaged(store, "tmk", err), err);
        } else if ((rc = kl_sql_digest(cryptogram, len, digest, err)) == KL_OK &&
                   memcmp(digest, said, sizeof(digest)) != 0) {
            kl_check_found(check, KL_ERR_VERIFY,
                           "terminal %s, TMK version %d: its digest is of another cryptogram",
                           text_at(stmt, 0), sqlite3_column_int(stmt, 1));
        }
    }
    if (rc == KL_OK && step != SQLITE_DONE) {
        rc = take_damage(check, kl_sql_err(store, "sqlite3_step", err), err);
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* Each row that such a statement has is wrong. ?1 is the generation of the storage key. */
static const struct rule {
    const char *sql, *what;
} rules[] = {
    {"SELECT serial, tmk_version FROM working w WHERE NOT EXISTS (SELECT 1 FROM tmk t"
     " WHERE t.serial = w.serial AND t.version = w.tmk_version AND t.state = 2)",
     "working keys under a TMK that is not in use"},
    {"SELECT serial, count(*) FROM tmk WHERE state = 2 GROUP BY serial HAVING count(*) > 1",
     "a terminal with several TMKs in use"},
    {"SELECT serial, version FROM tmk WHERE cryptogram != x'' AND wrap != ?1"
     " AND NOT (wrap = ?1 + 1 AND coalesce((SELECT value FROM meta WHERE name = 'rotation-to'), '')"
     " != '')",
     "a TMK under another storage key than the store's"},
    {"SELECT serial, version FROM tmk WHERE wrap > ?1 + 1", "a TMK of a storage key to come"},
    {"SELECT serial, attempts_left FROM terminal WHERE attempts_left > 100 OR"
     " (blocked = 1 AND armed_until != 0)",
     "a terminal that is armed as none can be"},
};

static enum kl_rc check_rows(struct kl_store *store, struct kl_check *check, struct kl_err *err)
{
    struct kl_wrap_state state = {.generation = 1};
    enum kl_rc rc =
        take_damage(check, kl_store_terminal_each(store, count_terminal, check, err), err);

    if (rc == KL_OK) {
        rc = take_damage(check, kl_store_tmk_each(store, NULL, 0, check_tmk, check, err), err);
    }
    if (rc == KL_OK) {
        rc = take_damage(check, kl_store_import_each(store, check_import, NULL, err), err);
    }
    if (rc == KL_OK) {
        rc = check_digests(store, check, err);
    }
    if (rc == KL_OK) {
        rc = take_damage(check, kl_store_wrap_state(store, &state, err), err);
    }
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]) && rc == KL_OK; i++) {
        rc = each_finding(store, check, rules[i].sql, state.generation, KL_ERR_VERIFY,
                          rules[i].what, err);
    }
    return rc;
}

/* ---- All ---- */

static enum kl_rc look(struct kl_store *store, struct kl_check *check, struct kl_err *err)
{
    enum kl_rc rc = each_finding(store, check, "PRAGMA integrity_check(100)", 0, KL_ERR_STORE,
                                 "integrity", err);

    if (rc == KL_OK) {
        rc = each_finding(store, check, "PRAGMA foreign_key_check", 0, KL_ERR_STORE,
                          "a row refers to one that is not there", err);
    }
    if (rc == KL_OK) {
        rc = check_schema(store, check, err);
    }
    return rc == KL_OK ? check_rows(store, check, err) : rc;
}

enum kl_rc kl_store_check(struct kl_store *store, struct kl_check *check, struct kl_err *err)
{
    enum kl_rc rc;

    check->findings = check->terminals = check->tmks = check->records = 0;
    check->worst = KL_OK;
    check->first = (struct kl_err)KL_ERR_INIT;
    /* A reader's transaction, which holds one state; a writer's would keep others out. */
    if (sqlite3_exec(store->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK) {
        return kl_sql_err(store, "BEGIN", err);
    }
    rc = look(store, check, err);
    kl_store_rollback(store);
    return rc == KL_OK ? check_trail(store, check, err) : rc;
}
