/* SPDX-License-Identifier: BSD-2-Clause */
/* Records in the scratch store, and what somebody who has its file can do to them. */
#ifndef KL_TESTS_UNIT_AUDIT_FIXTURE_H
#define KL_TESTS_UNIT_AUDIT_FIXTURE_H

#include "daemon/audit/audit_chain.h"
#include "tests/unit/store_fixture.h"

#define RECORDS 10 /* at most */

static inline void add_records(int count)
{
    char detail[40];

    for (int i = 0; i < count; i++) {
        snprintf(detail, sizeof(detail), "n=%d", i);
        kl_store_set_actor(store, i % 2 ? "alice(1001)" : "");
        OK(kl_store_audit(store, 1000 + i, i % 3 ? "alarm" : "tmk-active", "T1", detail, &err));
    }
}

/* Whoever has the file can take the rules away, and put them back. */
static inline void tamper(const char *sql)
{
    static char rules[20000];
    sqlite3_stmt *stmt;
    char drop[200];
    size_t used = 0;

    ck_assert_int_eq(sqlite3_prepare_v2(store->db,
                                        "SELECT sql, name FROM sqlite_schema WHERE type = "
                                        "'trigger'",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    char drops[4000] = "";
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        used += (size_t)snprintf(rules + used, sizeof(rules) - used, "%s;",
                                 (const char *)sqlite3_column_text(stmt, 0));
        snprintf(drop, sizeof(drop), "DROP TRIGGER %s;",
                 (const char *)sqlite3_column_text(stmt, 1));
        strncat(drops, drop, sizeof(drops) - strlen(drops) - 1);
    }
    sqlite3_finalize(stmt);
    raw(drops);
    raw("PRAGMA ignore_check_constraints = 1");
    raw(sql);
    raw("PRAGMA ignore_check_constraints = 0");
    raw(rules);
}

static inline enum kl_rc gather(const struct kl_audit *record, void *arg, struct kl_err *e)
{
    struct kl_audit *all = arg;

    (void)e;
    all[record->id - 1] = *record;
    return KL_OK;
}

/* Makes the chain fit again. */
static inline void recompute(void)
{
    static struct kl_audit all[RECORDS + 1];
    char id_text[KL_META_MAX + 1], hex[2 * KL_HASH_LEN + 1], sql[200];
    uint8_t id[KL_STORE_ID_LEN], before[KL_HASH_LEN];

    OK(kl_store_meta_get(store, KL_META_STORE_ID, id_text, &err));
    ck_assert(kl_hex_parse(id_text, id, sizeof(id)));
    OK(kl_audit_genesis(id, before, &err));
    memset(all, 0, sizeof(all));
    OK(kl_store_audit_each(store, 0, gather, all, &err));
    for (size_t i = 0; all[i].id > 0; i++) {
        OK(kl_audit_hash(before, &all[i], before, &err));
        kl_hex_format(before, sizeof(before), hex);
        snprintf(sql, sizeof(sql), "UPDATE audit SET hash = x'%s' WHERE id = %d", hex,
                 (int)all[i].id);
        tamper(sql);
    }
}

#endif
