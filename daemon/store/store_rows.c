/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: rows of terminals and of TMKs.
 */
#include <string.h>

#include "daemon/store/store_sqlite.h"
#include "proto/digest.h"

/* ---- Terminals ---- */

#define TERMINAL_COLUMNS \
    "serial, pinpad, alg, blocked, armed_until, attempts_left, accept_imported, device_key, " \
    "created"
/* Written by kl_store_terminal_floor only. */
#define TERMINAL_ALL_COLUMNS TERMINAL_COLUMNS ", version_floor"

/* Empty = none. */
static void bind_device_key(sqlite3_stmt *stmt, int column, int has,
                            const uint8_t device_key[KL_HASH_LEN])
{
    kl_sql_bind_blob(stmt, column, device_key, has ? KL_HASH_LEN : 0);
}

static int get_device_key(sqlite3_stmt *stmt, int column, int *has, uint8_t device_key[KL_HASH_LEN])
{
    size_t len;

    if (!kl_sql_blob(stmt, column, device_key, 0, KL_HASH_LEN, &len) ||
        (len > 0 && len != KL_HASH_LEN)) {
        return 0;
    }
    *has = len > 0;
    return 1;
}

static enum kl_rc read_terminal(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                                struct kl_err *err)
{
    struct kl_terminal t = {0};
    int64_t alg, blocked, attempts, accept, floor;

    if (!kl_sql_text(stmt, 0, t.serial, KL_SERIAL_MAX) ||
        !kl_sql_text(stmt, 1, t.pinpad_serial, KL_SERIAL_MAX) ||
        !kl_sql_number(stmt, 2, 1, KL_ALG_COUNT, &alg) || !kl_sql_number(stmt, 3, 0, 1, &blocked) ||
        !kl_sql_number(stmt, 4, 0, INT64_MAX, &t.armed_until) ||
        !kl_sql_number(stmt, 5, 0, UINT32_MAX, &attempts) ||
        !kl_sql_number(stmt, 6, 0, 1, &accept) ||
        !get_device_key(stmt, 7, &t.has_device_key, t.device_key) ||
        !kl_sql_number(stmt, 8, INT64_MIN, INT64_MAX, &t.created) ||
        !kl_sql_number(stmt, 9, 0, KL_VERSION_MAX, &floor)) {
        return kl_sql_damaged(store, "terminal", err);
    }
    t.version_floor = (uint32_t)floor;
    t.alg = (enum kl_alg)alg;
    t.blocked = (int)blocked;
    t.attempts_left = (uint32_t)attempts;
    t.accept_imported = (int)accept;
    *(struct kl_terminal *)out = t;
    return KL_OK;
}

static void bind_terminal(sqlite3_stmt *stmt, const struct kl_terminal *terminal)
{
    kl_sql_bind_text(stmt, 1, terminal->serial);
    kl_sql_bind_text(stmt, 2, terminal->pinpad_serial);
    sqlite3_bind_int64(stmt, 3, terminal->alg);
    sqlite3_bind_int64(stmt, 4, terminal->blocked != 0);
    sqlite3_bind_int64(stmt, 5, terminal->armed_until);
    sqlite3_bind_int64(stmt, 6, terminal->attempts_left);
    sqlite3_bind_int64(stmt, 7, terminal->accept_imported != 0);
    bind_device_key(stmt, 8, terminal->has_device_key, terminal->device_key);
}

enum kl_rc kl_store_terminal_add(struct kl_store *store, const struct kl_terminal *terminal,
                                 struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_TERMINAL_ADD,
                                  "INSERT INTO terminal (" TERMINAL_COLUMNS ")"
                                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                                  &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    bind_terminal(stmt, terminal);
    sqlite3_bind_int64(stmt, 9, terminal->created);
    rc = kl_sql_write(store, stmt, err);
    if (rc == KL_ERR_EXISTS) {
        kl_err_set(err, rc, "terminal %s is registered already", terminal->serial);
    }
    return rc;
}

static enum kl_rc no_terminal(const char *serial, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_NOT_FOUND, "terminal %.32s is not registered", serial);
}

enum kl_rc kl_store_terminal_get(struct kl_store *store, const char *serial,
                                 struct kl_terminal *out, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc =
        kl_sql_keep(store, KL_SQL_TERMINAL_GET,
                    "SELECT " TERMINAL_ALL_COLUMNS " FROM terminal WHERE serial = ?1", &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, serial);
    rc = kl_sql_get(store, stmt, read_terminal, out, &found, err);
    return rc == KL_OK && !found ? no_terminal(serial, err) : rc;
}

enum kl_rc kl_store_terminal_update(struct kl_store *store, const struct kl_terminal *terminal,
                                    struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_TERMINAL_UPDATE,
                                  "UPDATE terminal SET pinpad = ?2, alg = ?3, blocked = ?4,"
                                  " armed_until = ?5, attempts_left = ?6, accept_imported = ?7,"
                                  " device_key = ?8 WHERE serial = ?1",
                                  &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    bind_terminal(stmt, terminal);
    rc = kl_sql_write(store, stmt, err);
    if (rc == KL_OK && sqlite3_changes(store->db) == 0) {
        rc = no_terminal(terminal->serial, err);
    }
    return rc;
}

enum kl_rc kl_store_armings_shorten(struct kl_store *store, int64_t since, int64_t by,
                                    size_t *count, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_ARMINGS_SHORTEN,
                                  "UPDATE terminal SET armed_until = max(armed_until - ?2, 0)"
                                  " WHERE armed_until >= ?1",
                                  &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, since);
    sqlite3_bind_int64(stmt, 2, by);
    rc = kl_sql_write(store, stmt, err);
    if (rc == KL_OK) {
        *count = (size_t)sqlite3_changes(store->db);
    }
    return rc;
}

enum kl_rc kl_store_terminal_floor(struct kl_store *store, const char *serial, uint32_t version,
                                   struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_writer(store, KL_SQL_TERMINAL_FLOOR,
                                  "UPDATE terminal SET version_floor = max(version_floor, ?2)"
                                  " WHERE serial = ?1",
                                  &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, serial);
    sqlite3_bind_int64(stmt, 2, version);
    rc = kl_sql_write(store, stmt, err);
    if (rc == KL_OK && sqlite3_changes(store->db) == 0) {
        rc = no_terminal(serial, err);
    }
    return rc;
}

static enum kl_rc take_terminal(struct kl_store *store, sqlite3_stmt *stmt,
                                const struct kl_sql_row *row, struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = read_terminal(store, stmt, &terminal, err);

    return rc == KL_OK ? row->fn.terminal(&terminal, row->arg, err) : rc;
}

enum kl_rc kl_store_terminal_from(struct kl_store *store, const char *after, kl_terminal_fn fn,
                                  void *arg, struct kl_err *err)
{
    struct kl_sql_row row = {.take = take_terminal, .fn.terminal = fn, .arg = arg};

    return kl_sql_each(store, KL_SQL_TERMINAL_EACH,
                       "SELECT " TERMINAL_ALL_COLUMNS " FROM terminal WHERE serial > ?1"
                       " ORDER BY serial",
                       after, 0, &row, err);
}

enum kl_rc kl_store_terminal_each(struct kl_store *store, kl_terminal_fn fn, void *arg,
                                  struct kl_err *err)
{
    return kl_store_terminal_from(store, "", fn, arg, err);
}

enum kl_rc kl_store_device_key_owner(struct kl_store *store, const uint8_t device_key[KL_HASH_LEN],
                                     char serial[KL_SERIAL_MAX + 1], struct kl_err *err)
{
    struct kl_terminal owner;
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc = kl_sql_keep(store, KL_SQL_DEVICE_KEY_OWNER,
                                "SELECT " TERMINAL_ALL_COLUMNS " FROM terminal"
                                " WHERE device_key = ?1 AND device_key != x''",
                                &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_blob(stmt, 1, device_key, KL_HASH_LEN);
    if ((rc = kl_sql_get(store, stmt, read_terminal, &owner, &found, err)) != KL_OK) {
        return rc;
    }
    if (!found) {
        return kl_err_set(err, KL_ERR_NOT_FOUND, "no terminal has that device key");
    }
    memcpy(serial, owner.serial, sizeof(owner.serial));
    return KL_OK;
}

/* ---- TMKs ---- */

#define TMK_COLUMNS \
    "serial, version, state, alg, kcv, cryptogram, ack_mac, active_mac, drop_mac, created, " \
    "expires, activated, pinpad, imported, device_key, superseded, binding"
/* The digest is looked for, and never read. */
#define TMK_ALL_COLUMNS TMK_COLUMNS ", digest"

const char *kl_tmk_state_name(enum kl_tmk_state state)
{
    switch (state) {
    case KL_TMK_PENDING:
        return "pending";
    case KL_TMK_ACTIVE:
        return "active";
    case KL_TMK_SUPERSEDED:
        return "superseded";
    case KL_TMK_DESTROYED:
        return "destroyed";
    case KL_TMK_EXPIRED:
        return "expired";
    case KL_TMK_REVOKED:
        return "revoked";
    }
    return "?";
}

struct kl_stored_key kl_tmk_key(const struct kl_tmk *tmk)
{
    struct kl_stored_key key = {.alg = tmk->alg,
                                .cryptogram_len = tmk->cryptogram_len,
                                .kcv_len = tmk->kcv_len};

    memcpy(key.cryptogram, tmk->cryptogram, sizeof(key.cryptogram));
    memcpy(key.kcv, tmk->kcv, sizeof(key.kcv));
    memcpy(key.binding, tmk->binding, sizeof(key.binding));
    return key;
}

/* With a cryptogram goes a binding, without it none. */
static size_t binding_len(const struct kl_tmk *tmk)
{
    return tmk->cryptogram_len > 0 ? KL_MAC_LEN : 0;
}

static enum kl_rc read_tmk(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                           struct kl_err *err)
{
    struct kl_tmk t = {0};
    int64_t version, state, alg, imported;
    size_t len;

    if (!kl_sql_text(stmt, 0, t.serial, KL_SERIAL_MAX) ||
        !kl_sql_number(stmt, 1, 1, KL_VERSION_MAX, &version) ||
        !kl_sql_number(stmt, 2, KL_TMK_PENDING, KL_TMK_REVOKED, &state) ||
        !kl_sql_number(stmt, 3, 1, KL_ALG_COUNT, &alg) ||
        !kl_sql_blob(stmt, 4, t.kcv, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX, &t.kcv_len) ||
        !kl_sql_blob(stmt, 5, t.cryptogram, 0, sizeof(t.cryptogram), &t.cryptogram_len) ||
        !kl_sql_blob(stmt, 6, t.ack_mac, KL_MAC_LEN, KL_MAC_LEN, &len) ||
        !kl_sql_blob(stmt, 7, t.active_mac, KL_MAC_LEN, KL_MAC_LEN, &len) ||
        !kl_sql_blob(stmt, 8, t.drop_mac, KL_MAC_LEN, KL_MAC_LEN, &len) ||
        !kl_sql_number(stmt, 9, INT64_MIN, INT64_MAX, &t.created) ||
        !kl_sql_number(stmt, 10, INT64_MIN, INT64_MAX, &t.expires) ||
        !kl_sql_number(stmt, 11, INT64_MIN, INT64_MAX, &t.activated) ||
        !kl_sql_text(stmt, 12, t.pinpad_serial, KL_SERIAL_MAX) ||
        !kl_sql_number(stmt, 13, 0, 1, &imported) ||
        !get_device_key(stmt, 14, &t.has_device_key, t.device_key) ||
        !kl_sql_number(stmt, 15, INT64_MIN, INT64_MAX, &t.superseded) ||
        !kl_sql_blob(stmt, 16, t.binding, binding_len(&t), binding_len(&t), &len)) {
        return kl_sql_damaged(store, "tmk", err);
    }
    t.version = (uint32_t)version;
    t.state = (enum kl_tmk_state)state;
    t.alg = (enum kl_alg)alg;
    t.imported = (int)imported;
    *(struct kl_tmk *)out = t;
    return KL_OK;
}

enum kl_rc kl_sql_digest(const uint8_t *cryptogram, size_t len, uint8_t out[KL_HASH_LEN],
                         struct kl_err *err)
{
    return kl_digest_of("SHA256", cryptogram, len, out, NULL, err);
}

enum kl_rc kl_store_tmk_add(struct kl_store *store, const struct kl_tmk *tmk, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    uint8_t digest[KL_HASH_LEN];
    enum kl_rc rc = kl_sql_digest(tmk->cryptogram, tmk->cryptogram_len, digest, err);

    if (rc == KL_OK) {
        rc = kl_sql_writer(store, KL_SQL_TMK_ADD,
                           "INSERT INTO tmk (" TMK_ALL_COLUMNS ", wrap) VALUES (?1, ?2, ?3, ?4,"
                           " ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
                           " " KL_SQL_GENERATION ")",
                           &stmt, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, tmk->serial);
    sqlite3_bind_int64(stmt, 2, tmk->version);
    sqlite3_bind_int64(stmt, 3, tmk->state);
    sqlite3_bind_int64(stmt, 4, tmk->alg);
    kl_sql_bind_blob(stmt, 5, tmk->kcv, tmk->kcv_len);
    kl_sql_bind_blob(stmt, 6, tmk->cryptogram, tmk->cryptogram_len);
    kl_sql_bind_blob(stmt, 7, tmk->ack_mac, KL_MAC_LEN);
    kl_sql_bind_blob(stmt, 8, tmk->active_mac, KL_MAC_LEN);
    kl_sql_bind_blob(stmt, 9, tmk->drop_mac, KL_MAC_LEN);
    sqlite3_bind_int64(stmt, 10, tmk->created);
    sqlite3_bind_int64(stmt, 11, tmk->expires);
    sqlite3_bind_int64(stmt, 12, tmk->activated);
    kl_sql_bind_text(stmt, 13, tmk->pinpad_serial);
    sqlite3_bind_int64(stmt, 14, tmk->imported != 0);
    bind_device_key(stmt, 15, tmk->has_device_key, tmk->device_key);
    sqlite3_bind_int64(stmt, 16, tmk->superseded);
    kl_sql_bind_blob(stmt, 17, tmk->binding, binding_len(tmk));
    kl_sql_bind_blob(stmt, 18, digest, sizeof(digest));
    rc = kl_sql_write(store, stmt, err);
    if (rc == KL_ERR_EXISTS) {
        kl_err_set(err, rc, "terminal %s has a TMK of version %u already", tmk->serial,
                   (unsigned)tmk->version);
    }
    return rc;
}

static enum kl_rc no_tmk(const char *serial, uint32_t version, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_NOT_FOUND, "terminal %.32s has no TMK of version %u", serial,
                      (unsigned)version);
}

enum kl_rc kl_store_tmk_get(struct kl_store *store, const char *serial, uint32_t version,
                            struct kl_tmk *out, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int found = 0;
    enum kl_rc rc =
        kl_sql_keep(store, KL_SQL_TMK_GET,
                    "SELECT " TMK_COLUMNS " FROM tmk WHERE serial = ?1 AND version = ?2", &stmt,
                    err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, serial);
    sqlite3_bind_int64(stmt, 2, version);
    rc = kl_sql_get(store, stmt, read_tmk, out, &found, err);
    return rc == KL_OK && !found ? no_tmk(serial, version, err) : rc;
}

enum kl_rc kl_store_tmk_set_state(struct kl_store *store, const char *serial, uint32_t version,
                                  enum kl_tmk_state state, int64_t activated, int64_t superseded,
                                  struct kl_err *err)
{
    /* Two texts, so that a key that stays is not written again. */
    static const char live[] = "UPDATE tmk SET state = ?3, activated = ?4, superseded = ?5"
                               " WHERE serial = ?1 AND version = ?2",
                      gone[] = "UPDATE tmk SET state = ?3, activated = ?4, superseded = ?5,"
                               " cryptogram = x'', binding = x''"
                               " WHERE serial = ?1 AND version = ?2";
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = state >= KL_TMK_DESTROYED
                        ? kl_sql_writer(store, KL_SQL_TMK_SET_GONE, gone, &stmt, err)
                        : kl_sql_writer(store, KL_SQL_TMK_SET_STATE, live, &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, serial);
    sqlite3_bind_int64(stmt, 2, version);
    sqlite3_bind_int64(stmt, 3, state);
    sqlite3_bind_int64(stmt, 4, activated);
    sqlite3_bind_int64(stmt, 5, superseded);
    rc = kl_sql_write(store, stmt, err);
    if (rc == KL_OK && sqlite3_changes(store->db) == 0) {
        rc = no_tmk(serial, version, err);
    }
    return rc;
}

static enum kl_rc read_last_version(struct kl_store *store, sqlite3_stmt *stmt, void *out,
                                    struct kl_err *err)
{
    int64_t version;

    if (!kl_sql_number(stmt, 0, 0, KL_VERSION_MAX, &version)) {
        return kl_sql_damaged(store, "tmk", err);
    }
    *(uint32_t *)out = (uint32_t)version;
    return KL_OK;
}

enum kl_rc kl_store_tmk_last_version(struct kl_store *store, const struct kl_terminal *terminal,
                                     uint32_t *out, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    uint32_t last = 0;
    int found;
    enum kl_rc rc = kl_sql_keep(store, KL_SQL_TMK_LAST_VERSION,
                                "SELECT version FROM tmk WHERE serial = ?1"
                                " ORDER BY version DESC LIMIT 1",
                                &stmt, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_sql_bind_text(stmt, 1, terminal->serial);
    if ((rc = kl_sql_get(store, stmt, read_last_version, &last, &found, err)) == KL_OK) {
        *out = last > terminal->version_floor ? last : terminal->version_floor;
    }
    return rc;
}

static enum kl_rc take_tmk(struct kl_store *store, sqlite3_stmt *stmt, const struct kl_sql_row *row,
                           struct kl_err *err)
{
    struct kl_tmk tmk;
    enum kl_rc rc = read_tmk(store, stmt, &tmk, err);

    return rc == KL_OK ? row->fn.tmk(&tmk, row->arg, err) : rc;
}

/* Two texts, so that the one with a serial goes by the primary key. */
static const char of_one_sql[] = "SELECT " TMK_COLUMNS " FROM tmk WHERE serial = ?1"
                                 " AND version > ?3 AND version != ?4 AND (?2 = 0 OR state = ?2)"
                                 " ORDER BY version",
                  of_all_sql[] =
                      "SELECT " TMK_COLUMNS " FROM tmk WHERE (serial, version) > (?1, ?3)"
                      " AND (?2 = 0 OR state = ?2) ORDER BY serial, version";

enum kl_rc kl_store_tmk_from(struct kl_store *store, const char *serial, enum kl_tmk_state state,
                             const struct kl_holder *after, kl_tmk_fn fn, void *arg,
                             struct kl_err *err)
{
    struct kl_sql_row row = {.take = take_tmk, .fn.tmk = fn, .arg = arg, .after = after->version};

    return serial
               ? kl_sql_each(store, KL_SQL_TMK_EACH_OF_ONE, of_one_sql, serial, state, &row, err)
               : kl_sql_each(store, KL_SQL_TMK_EACH, of_all_sql, after->serial, state, &row, err);
}

enum kl_rc kl_store_tmk_others(struct kl_store *store, const char *serial, uint32_t but,
                               enum kl_tmk_state state, kl_tmk_fn fn, void *arg, struct kl_err *err)
{
    struct kl_sql_row row = {.take = take_tmk, .fn.tmk = fn, .arg = arg, .but = but};

    return kl_sql_each(store, KL_SQL_TMK_EACH_OF_ONE, of_one_sql, serial, state, &row, err);
}

enum kl_rc kl_store_tmk_each(struct kl_store *store, const char *serial, enum kl_tmk_state state,
                             kl_tmk_fn fn, void *arg, struct kl_err *err)
{
    static const struct kl_holder first = {"", 0};

    return kl_store_tmk_from(store, serial, state, &first, fn, arg, err);
}

/* Up to max TMKs of a kept statement that takes a time and a limit. */
static enum kl_rc few_tmks(struct kl_store *store, sqlite3_stmt *stmt, int64_t when,
                           struct kl_tmk *out, size_t max, size_t *count, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;
    int step = SQLITE_DONE;
    size_t n = 0;

    sqlite3_bind_int64(stmt, 1, when);
    sqlite3_bind_int64(stmt, 2, (int64_t)max);
    while (rc == KL_OK && n < max && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        rc = read_tmk(store, stmt, &out[n++], err);
    }
    if (rc == KL_OK && step != SQLITE_ROW && step != SQLITE_DONE) {
        rc = kl_sql_err(store, "sqlite3_step", err);
    }
    kl_sql_let_go(stmt);
    if (rc == KL_OK) {
        *count = n;
    }
    return rc;
}

enum kl_rc kl_store_tmk_expired(struct kl_store *store, int64_t now, struct kl_tmk *out, size_t max,
                                size_t *count, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_keep(store, KL_SQL_TMK_EXPIRED,
                                "SELECT " TMK_COLUMNS " FROM tmk WHERE state = 1 AND expires <= ?1"
                                " ORDER BY expires LIMIT ?2",
                                &stmt, err);

    return rc == KL_OK ? few_tmks(store, stmt, now, out, max, count, err) : rc;
}

enum kl_rc kl_store_tmk_superseded(struct kl_store *store, int64_t since, struct kl_tmk *out,
                                   size_t max, size_t *count, struct kl_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum kl_rc rc = kl_sql_keep(store, KL_SQL_TMK_SUPERSEDED,
                                "SELECT " TMK_COLUMNS " FROM tmk WHERE state = 3"
                                " AND superseded <= ?1 ORDER BY superseded LIMIT ?2",
                                &stmt, err);

    return rc == KL_OK ? few_tmks(store, stmt, since, out, max, count, err) : rc;
}
