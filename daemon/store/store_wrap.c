/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: storage keys by generation, and the rotation from one to the next. A
 * rotation is half done from the moment that meta names its goal until the moment that it no longer
 * does; in between each row says by itself under which of the two keys it is, so that whoever goes
 * on after a crash needs nothing else.
 */
#include "daemon/store/store_wrap.h"

#include <inttypes.h>
#include <string.h>

#include "conf/cli.h"
#include "daemon/store/store_sqlite.h"

#define META_GENERATION KL_META_GENERATION /* number; none = 1 */
#define META_ROTATION "rotation-to"        /* label; "" or none = no rotation */
#define META_LABEL "storage-key-"          /* and the generation: label */
#define NAME_MAX_LEN 40

/* ---- Meta ---- */

/* "" for what is not there. */
static enum kl_rc meta(struct kl_store *store, const char *name, char *out, size_t max,
                       struct kl_err *err)
{
    char value[KL_META_MAX + 1];
    struct kl_err looked = KL_ERR_INIT;
    enum kl_rc rc = kl_store_meta_get(store, name, value, &looked);

    if (rc == KL_ERR_NOT_FOUND) {
        out[0] = '\0';
        return KL_OK;
    }
    if (rc != KL_OK) {
        *err = looked;
        return rc;
    }
    if (strlen(value) > max) {
        return kl_sql_damaged(store, "meta", err);
    }
    memcpy(out, value, strlen(value) + 1);
    return KL_OK;
}

static void label_name(uint32_t generation, char out[NAME_MAX_LEN])
{
    snprintf(out, NAME_MAX_LEN, META_LABEL "%" PRIu32, generation);
}

static enum kl_rc put_label(struct kl_store *store, uint32_t generation, const char *label,
                            struct kl_err *err)
{
    char name[NAME_MAX_LEN];

    label_name(generation, name);
    return kl_store_meta_put(store, name, label, err);
}

enum kl_rc kl_store_wrap_label(struct kl_store *store, uint32_t generation,
                               char out[KL_KEY_LABEL_MAX + 1], struct kl_err *err)
{
    char name[NAME_MAX_LEN], label[KL_KEY_LABEL_MAX + 1];
    enum kl_rc rc;

    label_name(generation, name);
    if ((rc = meta(store, name, label, KL_KEY_LABEL_MAX, err)) != KL_OK) {
        return rc;
    }
    if (!label[0]) {
        return kl_err_set(err, KL_ERR_NOT_FOUND, "the store has no storage key of generation %u",
                          (unsigned)generation);
    }
    memcpy(out, label, sizeof(label));
    return KL_OK;
}

enum kl_rc kl_store_wrap_state(struct kl_store *store, struct kl_wrap_state *out,
                               struct kl_err *err)
{
    struct kl_wrap_state state = {.generation = 1};
    struct kl_err bad = KL_ERR_INIT;
    char number[16], name[NAME_MAX_LEN];
    uint64_t generation = 1;
    enum kl_rc rc = meta(store, META_GENERATION, number, sizeof(number) - 1, err);

    if (rc == KL_OK && number[0] &&
        kl_parse_number(number, 1, KL_GENERATION_MAX, &generation, &bad) != KL_OK) {
        rc = kl_sql_damaged(store, "meta", err);
    }
    state.generation = (uint32_t)generation;
    label_name(state.generation, name);
    if (rc != KL_OK || (rc = meta(store, name, state.label, KL_KEY_LABEL_MAX, err)) != KL_OK ||
        (rc = meta(store, META_ROTATION, state.to, KL_KEY_LABEL_MAX, err)) != KL_OK) {
        return rc;
    }
    *out = state;
    return KL_OK;
}

static enum kl_rc check_state(const struct kl_store *store, const struct kl_wrap_state *state,
                              const char *label, struct kl_err *err)
{
    if (state->to[0]) {
        return kl_err_set(err, KL_ERR_STORE,
                          "%s: the rotation to storage key \"%s\" is half done; finish it: "
                          "keyloaderctl store rotate-key --to %s",
                          store->path, state->to, state->to);
    }
    if (state->label[0] && strcmp(state->label, label) != 0) {
        return kl_err_set(
            err, KL_ERR_CONFIG,
            "%s: its keys are under storage key \"%s\", and [hsm] storage-key says "
            "\"%s\"; set that to %s, or, to a key that this store has never had, rotate "
            "(keyloaderctl store rotate-key --to %s)",
            store->path, state->label, label, state->label, label);
    }
    return KL_OK;
}

enum kl_rc kl_store_wrap_check(struct kl_store *store, const char *label, struct kl_err *err)
{
    struct kl_wrap_state state;
    enum kl_rc rc = kl_store_wrap_state(store, &state, err);

    return rc == KL_OK ? check_state(store, &state, label, err) : rc;
}

enum kl_rc kl_store_wrap_adopt(struct kl_store *store, const char *label, struct kl_err *err)
{
    struct kl_wrap_state state;
    enum kl_rc rc = kl_store_wrap_state(store, &state, err);

    if (rc == KL_OK) {
        rc = check_state(store, &state, label, err);
    }
    return rc == KL_OK && !state.label[0] ? put_label(store, state.generation, label, err) : rc;
}

enum kl_rc kl_store_wrap_start(struct kl_store *store, const char *label, struct kl_err *err)
{
    struct kl_wrap_state state;
    enum kl_rc rc = kl_store_wrap_state(store, &state, err);

    if (rc != KL_OK || state.label[0]) {
        return rc == KL_OK ? check_state(store, &state, label, err) : rc;
    }
    if ((rc = kl_store_begin(store, err)) != KL_OK) {
        return rc;
    }
    if ((rc = kl_store_wrap_adopt(store, label, err)) == KL_OK) {
        return kl_store_commit(store, err);
    }
    kl_store_rollback(store);
    return rc;
}

/* ---- Rows ---- */

enum kl_binding_kind kl_wrapped_kind(const struct kl_wrapped *row, size_t i)
{
    return row->kind == KL_BINDING_PIK && i == 1 ? KL_BINDING_MAK : row->kind;
}

/* Which rows a table has: the same columns of each. Two keys stand in a row of working keys. */
struct source {
    enum kl_binding_kind kind;
    const char *list, *count, *update;
};
#define LIST(columns, table, version, live) \
    "SELECT serial, " version ", wrap, " columns " FROM " table " WHERE " live \
    " AND (?3 = 0 OR wrap = ?3) AND (serial, " version ") > (?1, ?2)" \
    " ORDER BY 1, 2 LIMIT ?4"
#define COUNT(table, live) "SELECT count(*) FROM " table " WHERE " live " AND (?1 = 0 OR wrap = ?1)"
static const struct source sources[] = {
    {KL_BINDING_TMK, LIST("alg, cryptogram, kcv, binding", "tmk", "version", "cryptogram != x''"),
     COUNT("tmk", "cryptogram != x''"),
     "UPDATE tmk SET wrap = ?3, cryptogram = ?4, binding = ?5, digest = ?6"
     " WHERE serial = ?1 AND version = ?2 AND wrap = ?3 - 1 AND cryptogram = ?7"},
    {KL_BINDING_PIK,
     LIST("pik_alg, pik_cryptogram, pik_kcv, pik_binding, mak_alg, mak_cryptogram, mak_kcv,"
          " mak_binding",
          "working", "tmk_version", "1"),
     COUNT("working", "1"),
     "UPDATE working SET wrap = ?3, pik_cryptogram = ?4, pik_binding = ?5, mak_cryptogram = ?8,"
     " mak_binding = ?9 WHERE serial = ?1 AND tmk_version = ?2 AND wrap = ?3 - 1"
     " AND pik_cryptogram = ?7"},
    /* A waiting one has no version: the column is 0. */
    {KL_BINDING_IMPORT, LIST("alg, cryptogram, kcv, binding", "imported", "0", "1"),
     COUNT("imported", "1"),
     "UPDATE imported SET wrap = ?3, cryptogram = ?4, binding = ?5"
     " WHERE serial = ?1 AND ?2 = 0 AND wrap = ?3 - 1 AND cryptogram = ?7"},
};
#define SOURCES (sizeof(sources) / sizeof(sources[0]))

static enum kl_rc read_wrapped(struct kl_store *store, sqlite3_stmt *stmt,
                               enum kl_binding_kind kind, struct kl_wrapped *out,
                               struct kl_err *err)
{
    struct kl_wrapped row = {.kind = kind, .count = kind == KL_BINDING_PIK ? 2 : 1};
    int64_t version, generation;
    int ok = kl_sql_text(stmt, 0, row.serial, KL_SERIAL_MAX) &&
             kl_sql_number(stmt, 1, 0, KL_VERSION_MAX, &version) &&
             kl_sql_number(stmt, 2, 1, KL_GENERATION_MAX, &generation);

    for (size_t i = 0; ok && i < row.count; i++) {
        ok = kl_sql_stored_key(stmt, 3 + 4 * (int)i, &row.keys[i]);
    }
    if (!ok) {
        return kl_sql_damaged(store,
                              kind == KL_BINDING_TMK   ? "tmk"
                              : kind == KL_BINDING_PIK ? "working"
                                                       : "imported",
                              err);
    }
    row.version = (uint32_t)version;
    row.generation = (uint32_t)generation;
    *out = row;
    return KL_OK;
}

/* Those of one table. */
static enum kl_rc list_some(struct kl_store *store, const struct source *source,
                            uint32_t generation, const struct kl_wrapped *after,
                            struct kl_wrapped *out, size_t max, size_t *count, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = KL_OK;
    int code = SQLITE_DONE;
    size_t n = 0;

    if (sqlite3_prepare_v2(store->db, source->list, -1, &stmt, NULL) != SQLITE_OK) {
        return kl_sql_err(store, "sqlite3_prepare_v2", err);
    }
    kl_sql_bind_text(stmt, 1, after ? after->serial : "");
    sqlite3_bind_int64(stmt, 2, after ? (int64_t)after->version : -1);
    sqlite3_bind_int64(stmt, 3, generation);
    sqlite3_bind_int64(stmt, 4, (int64_t)max);
    while (rc == KL_OK && n < max && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        rc = read_wrapped(store, stmt, source->kind, &out[n++], err);
    }
    if (rc == KL_OK && code != SQLITE_ROW && code != SQLITE_DONE) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    sqlite3_finalize(stmt);
    *count = n;
    return rc;
}

enum kl_rc kl_store_wrapped(struct kl_store *store, uint32_t generation,
                            const struct kl_wrapped *after, struct kl_wrapped *out, size_t max,
                            size_t *count, struct kl_err *err)
{
    struct kl_wrapped last;
    size_t total = 0, n = 0;
    enum kl_rc rc = KL_OK;

    if (after) {
        last = *after; /* which may be in out */
    }
    for (size_t i = 0; i < SOURCES && rc == KL_OK && total < max; i++) {
        if (!after || sources[i].kind >= last.kind) {
            rc = list_some(store, &sources[i], generation,
                           after && sources[i].kind == last.kind ? &last : NULL, out + total,
                           max - total, &n, err);
            total += n;
        }
    }
    if (rc == KL_OK) {
        *count = total;
    }
    return rc;
}

/* A statement with one number for an answer; ?1 is `number`. */
static enum kl_rc number_of(struct kl_store *store, const char *sql, int64_t number, uint64_t *out,
                            struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = KL_OK;

    if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_bind_int64(stmt, 1, number) != SQLITE_OK || sqlite3_step(stmt) != SQLITE_ROW) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    } else {
        *out = (uint64_t)sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return rc;
}

enum kl_rc kl_store_wrapped_count(struct kl_store *store, uint32_t generation, uint64_t *out,
                                  struct kl_err *err)
{
    uint64_t total = 0, n = 0;
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < SOURCES && rc == KL_OK; i++) {
        rc = number_of(store, sources[i].count, generation, &n, err);
        total += n;
    }
    if (rc == KL_OK) {
        *out = total;
    }
    return rc;
}

/* ---- Who needs which key ---- */

static const char digests_sql[] = "SELECT count(*) FROM tmk WHERE cryptogram = x'' AND wrap = ?1";

enum kl_rc kl_store_wrap_needs(struct kl_store *store, const char *label, struct kl_wrap_needs *out,
                               struct kl_err *err)
{
    struct kl_wrap_needs needs = {0};
    struct kl_wrap_state state;
    char of[KL_KEY_LABEL_MAX + 1], name[NAME_MAX_LEN];
    uint64_t live, digests;
    enum kl_rc rc = kl_store_wrap_state(store, &state, err);

    if (rc != KL_OK) {
        return rc;
    }
    needs.rotating =
        state.to[0] && (strcmp(state.to, label) == 0 || strcmp(state.label, label) == 0);
    needs.current = strcmp(state.label, label) == 0;
    /* The goal of a rotation is the next generation's. */
    for (uint32_t g = 1; g <= state.generation + 1; g++) {
        memcpy(of, state.to, sizeof(of));
        label_name(g, name);
        if (g <= state.generation && (rc = meta(store, name, of, KL_KEY_LABEL_MAX, err)) != KL_OK) {
            return rc;
        }
        if (strcmp(of, label) != 0) {
            continue;
        }
        if ((rc = kl_store_wrapped_count(store, g, &live, err)) != KL_OK ||
            (rc = number_of(store, digests_sql, g, &digests, err)) != KL_OK) {
            return rc;
        }
        needs.known = 1;
        needs.live += live;
        needs.digests += digests;
    }
    *out = needs;
    return KL_OK;
}

enum kl_rc kl_store_wrap_retired(struct kl_store *store, uint32_t *out, size_t max, size_t *count,
                                 struct kl_err *err)
{
    struct kl_wrap_state state;
    uint64_t digests = 0;
    size_t n = 0;
    enum kl_rc rc = kl_store_wrap_state(store, &state, err);

    for (uint32_t g = state.generation; rc == KL_OK && g > 1 && n < max; g--) {
        rc = number_of(store, digests_sql, g - 1, &digests, err);
        if (rc == KL_OK && digests > 0) {
            out[n++] = g - 1;
        }
    }
    if (rc == KL_OK) {
        *count = n;
    }
    return rc;
}

/* ---- Rotation ---- */

/* A key that was left once is not come back to: whoever left it had a reason. */
static enum kl_rc check_new(struct kl_store *store, const struct kl_wrap_state *state,
                            const char *to, struct kl_err *err)
{
    char label[KL_KEY_LABEL_MAX + 1], name[NAME_MAX_LEN];
    enum kl_rc rc = KL_OK;

    for (uint32_t g = 1; g <= state->generation && rc == KL_OK; g++) {
        label_name(g, name);
        rc = meta(store, name, label, KL_KEY_LABEL_MAX, err);
        if (rc == KL_OK && strcmp(label, to) == 0) {
            rc = kl_err_set(err, KL_ERR_REFUSED, "\"%s\" %s", to,
                            g == state->generation
                                ? "is the storage key of this store"
                                : "was once the storage key of this store: rotate to a new one");
        }
    }
    return rc;
}

enum kl_rc kl_store_rotation_begin(struct kl_store *store, const char *from, const char *to,
                                   struct kl_err *err)
{
    struct kl_wrap_state state;
    enum kl_rc rc = kl_store_wrap_state(store, &state, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (state.to[0]) {
        return strcmp(state.to, to) == 0
                   ? KL_OK
                   : kl_err_set(err, KL_ERR_REFUSED,
                                "a rotation to \"%s\" is half done: finish that first", state.to);
    }
    if (state.generation >= KL_GENERATION_MAX) {
        return kl_err_set(err, KL_ERR_REFUSED, "this store has had %d storage keys",
                          KL_GENERATION_MAX);
    }
    if (!state.label[0] && (rc = put_label(store, state.generation, from, err)) != KL_OK) {
        return rc;
    }
    if ((rc = check_new(store, &state, to, err)) != KL_OK) {
        return rc;
    }
    return kl_store_meta_put(store, META_ROTATION, to, err);
}

static const struct source *source_of(enum kl_binding_kind kind)
{
    for (size_t i = 0; i < SOURCES; i++) {
        if (sources[i].kind == kind) {
            return &sources[i];
        }
    }
    return NULL;
}

static void bind_row(sqlite3_stmt *stmt, const struct kl_wrapped *before,
                     const struct kl_wrapped *after, const uint8_t digest[KL_HASH_LEN])
{
    kl_sql_bind_text(stmt, 1, before->serial);
    sqlite3_bind_int64(stmt, 2, before->version);
    sqlite3_bind_int64(stmt, 3, before->generation + 1);
    kl_sql_bind_blob(stmt, 4, after->keys[0].cryptogram, after->keys[0].cryptogram_len);
    kl_sql_bind_blob(stmt, 5, after->keys[0].binding, KL_MAC_LEN);
    if (before->kind == KL_BINDING_TMK) {
        kl_sql_bind_blob(stmt, 6, digest, KL_HASH_LEN);
    }
    kl_sql_bind_blob(stmt, 7, before->keys[0].cryptogram, before->keys[0].cryptogram_len);
    if (before->count == 2) {
        kl_sql_bind_blob(stmt, 8, after->keys[1].cryptogram, after->keys[1].cryptogram_len);
        kl_sql_bind_blob(stmt, 9, after->keys[1].binding, KL_MAC_LEN);
    }
}

enum kl_rc kl_store_rotation_put(struct kl_store *store, const struct kl_wrapped *before,
                                 const struct kl_wrapped *after, int *done, struct kl_err *err)
{
    static const enum kl_sql kept[] = {[KL_BINDING_TMK] = KL_SQL_REWRAP_TMK,
                                       [KL_BINDING_PIK] = KL_SQL_REWRAP_WORKING,
                                       [KL_BINDING_IMPORT] = KL_SQL_REWRAP_IMPORT};
    const struct source *source = source_of(before->kind);
    uint8_t digest[KL_HASH_LEN];
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc =
        kl_sql_digest(after->keys[0].cryptogram, after->keys[0].cryptogram_len, digest, err);

    if (rc != KL_OK ||
        (rc = kl_sql_writer(store, kept[before->kind], source->update, &stmt, err)) != KL_OK) {
        return rc;
    }
    bind_row(stmt, before, after, digest);
    if ((rc = kl_sql_write(store, stmt, err)) == KL_OK) {
        *done = sqlite3_changes(store->db) == 1;
    }
    return rc;
}

enum kl_rc kl_store_rotation_end(struct kl_store *store, struct kl_err *err)
{
    struct kl_wrap_state state;
    char number[16];
    uint64_t all = 0, fresh = 0;
    enum kl_rc rc = kl_store_wrap_state(store, &state, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (!state.to[0]) {
        return kl_err_set(err, KL_ERR_INTERNAL, "there is no rotation to end");
    }
    if ((rc = kl_store_wrapped_count(store, 0, &all, err)) != KL_OK ||
        (rc = kl_store_wrapped_count(store, state.generation + 1, &fresh, err)) != KL_OK) {
        return rc;
    }
    if (all != fresh) {
        return kl_err_set(err, KL_ERR_STORE, "%" PRIu64 " rows are not under \"%s\" yet",
                          all - fresh, state.to);
    }
    snprintf(number, sizeof(number), "%" PRIu32, state.generation + 1);
    if ((rc = put_label(store, state.generation + 1, state.to, err)) != KL_OK ||
        (rc = kl_store_meta_put(store, META_GENERATION, number, err)) != KL_OK) {
        return rc;
    }
    return kl_store_meta_put(store, META_ROTATION, "", err);
}
