/* SPDX-License-Identifier: BSD-2-Clause */
/* An old store in the place of the fixture's, and what is in it. */
#ifndef KL_TESTS_UNIT_STORE_OLD_H
#define KL_TESTS_UNIT_STORE_OLD_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>

#include "tests/unit/store_fixture.h"
#include "tests/unit/store_v2.h"
#include "tests/unit/store_v3.h"

#define AUDIT_ROWS 4

static int from = 2; /* its version */

static inline void exec_at(const char *file, const char *sql)
{
    sqlite3 *db = NULL;
    char *text = NULL;

    ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
    sqlite3_exec(db, sql, NULL, NULL, &text);
    ck_assert_msg(text == NULL, "%.60s: %s", sql, text);
    sqlite3_close(db);
}

static inline void exec_all_at(const char *file, const char *const *sql, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        exec_at(file, sql[i]);
    }
}

/* The records of version 2, in a chain. */
static inline void make_v3_trail(const char *file)
{
    static const struct kl_audit records[AUDIT_ROWS] = {
        {.id = 1, .time = 1, .event = "terminal-registered", .serial = "T1", .actor = "a(1)"},
        {.id = 2, .time = 2, .event = "alarm", .detail = "reason=x detail=\"a b\""},
        {.id = 3, .time = -3, .event = "tmk-active", .serial = "T1"},
        {.id = 4, .time = 4, .event = "alarm", .serial = "T2", .actor = "b(2)"},
    };
    static const uint8_t id[KL_STORE_ID_LEN] = {1, 2, 3};
    char text[2 * KL_HASH_LEN + 1], sql[600];
    uint8_t hash[KL_HASH_LEN];

    kl_hex_format(id, sizeof(id), text);
    snprintf(sql, sizeof(sql), "INSERT INTO meta VALUES ('" KL_META_STORE_ID "', '%s')", text);
    exec_at(file, sql);
    OK(kl_audit_genesis(id, hash, &err));
    kl_hex_format(hash, sizeof(hash), text);
    snprintf(sql, sizeof(sql), "INSERT INTO audit_state VALUES (1, 0, x'%s', 3)", text);
    exec_at(file, sql);
    for (size_t i = 0; i < AUDIT_ROWS; i++) {
        const struct kl_audit *r = &records[i];

        OK(kl_audit_hash(hash, r, hash, &err));
        kl_hex_format(hash, sizeof(hash), text);
        snprintf(sql, sizeof(sql),
                 "INSERT INTO audit VALUES (%d, %d, '%s', '%s', '%s', '%s', x'%s')", (int)r->id,
                 (int)r->time, r->event, r->serial, r->detail, r->actor, text);
        exec_at(file, sql);
    }
    exec_at(file, "UPDATE terminal SET version_floor = 7; UPDATE tmk SET wrap = 10 + version;"
                  "UPDATE working SET wrap = 3; UPDATE imported SET wrap = 4");
}

static inline void make_old(const char *more)
{
    char name[100];

    kl_store_free(store);
    store = NULL;
    ck_assert_int_eq(unlink(path), 0);
    snprintf(name, sizeof(name), "%s-wal", path);
    (void)unlink(name);
    snprintf(name, sizeof(name), "%s-shm", path);
    (void)unlink(name);
    ck_assert_int_eq(close(open(path, O_RDWR | O_CREAT | O_EXCL, 0600)), 0);
    exec_at(path, "PRAGMA journal_mode = WAL");
    exec_at(path, from == 2 ? v2_schema : v3_schema);
    exec_all_at(path, key_rows, sizeof(key_rows) / sizeof(key_rows[0]));
    if (from == 2) {
        exec_all_at(path, v2_audit_rows, sizeof(v2_audit_rows) / sizeof(v2_audit_rows[0]));
    } else {
        make_v3_trail(path);
    }
    if (more) {
        exec_at(path, more);
    }
}

/* What the old version has in its columns, of whichever version the file is. */
static const char *const dumps[] = {
    "SELECT serial, pinpad, alg, blocked, armed_until, attempts_left, accept_imported,"
    " quote(device_key), created FROM terminal ORDER BY 1",
    "SELECT serial, version, state, pinpad, alg, quote(kcv), quote(cryptogram), quote(ack_mac),"
    " quote(active_mac), quote(drop_mac), created, expires, activated, imported,"
    " quote(device_key), superseded, quote(binding), quote(digest) FROM tmk ORDER BY 1, 2",
    "SELECT serial, alg, quote(kcv), quote(cryptogram), quote(binding), created, origin"
    " FROM imported ORDER BY 1",
    "SELECT serial, tmk_version, pik_alg, quote(pik_cryptogram), quote(pik_kcv),"
    " quote(pik_binding), mak_alg, quote(mak_cryptogram), quote(mak_kcv), quote(mak_binding),"
    " created FROM working ORDER BY 1",
    "SELECT id, time, event, serial, detail FROM audit WHERE id <= 4 ORDER BY 1",
    /* Version 3 only: */
    "SELECT serial, version_floor FROM terminal ORDER BY 1",
    "SELECT serial, version, wrap FROM tmk UNION ALL SELECT serial, 0, wrap FROM working"
    " UNION ALL SELECT serial, 0, wrap FROM imported ORDER BY 1, 2, 3",
    "SELECT id, actor, quote(hash) FROM audit WHERE id <= 4 ORDER BY 1",
    "SELECT archived_to, quote(archived_hash), forwarded FROM audit_state",
    "SELECT name, value FROM meta ORDER BY 1",
};
#define V3_DUMPS 5

#define DUMP_MAX 16384
static inline int dump_row(void *arg, int columns, char **values, char **names)
{
    char *out = arg;
    size_t used = strlen(out);

    (void)names;
    for (int i = 0; i < columns && used < DUMP_MAX; i++) {
        used += (size_t)snprintf(out + used, DUMP_MAX - used, "%s|", values[i] ? values[i] : "-");
    }
    return used >= DUMP_MAX;
}

static inline char *dump(const char *file, const char *const *queries, size_t count)
{
    char *out = calloc(1, DUMP_MAX), *text = NULL;
    sqlite3 *db = NULL;

    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    for (size_t i = 0; i < count; i++) {
        sqlite3_exec(db, queries[i], dump_row, out, &text);
        ck_assert_msg(text == NULL, "%s: %s", queries[i], text);
    }
    sqlite3_close(db);
    return out;
}
#define DUMP(file) dump(file, dumps, sizeof(dumps) / sizeof(dumps[0]) - (from == 2 ? V3_DUMPS : 0))

/* The copies beside the store: how many, and the name of one. */
static inline int copies(char out[PATH_MAX])
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    char prefix[32];
    int count = 0;

    snprintf(prefix, sizeof(prefix), "store.db.schema-%d.", from);

    ck_assert_ptr_nonnull(d);
    while ((entry = readdir(d)) != NULL) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            snprintf(out, PATH_MAX, "%s/%s", dir, entry->d_name);
            count++;
        }
    }
    closedir(d);
    return count;
}

#endif
