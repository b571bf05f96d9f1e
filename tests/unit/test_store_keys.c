/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SQLite store's keys: imported TMKs that wait, working keys, who has which key, and what the
 * database itself refuses of them.
 */
#include "tests/unit/store_fixture.h"

static struct kl_stored_key a_key(uint8_t n)
{
    struct kl_stored_key key = {.alg = KL_ALG_AES128, .cryptogram_len = 24, .kcv_len = 3};

    memset(key.cryptogram, n, 24);
    memset(key.kcv, n, 3);
    memset(key.binding, n + 0x40, sizeof(key.binding));
    return key;
}

static struct kl_import an_import(const char *serial, uint8_t n)
{
    struct kl_import import = {.key = a_key(n), .created = 11, .origin = "transport:T1"};

    snprintf(import.serial, sizeof(import.serial), "%s", serial);
    return import;
}

static struct kl_tmk a_keyed_tmk(const char *serial, uint32_t version, uint8_t n)
{
    struct kl_tmk tmk = a_tmk(serial, version);

    memset(tmk.cryptogram, n, sizeof(tmk.cryptogram));
    tmk.cryptogram_len = 24;
    tmk.alg = KL_ALG_AES128;
    memset(tmk.kcv, n, 4);
    return tmk;
}

static void same_key(const struct kl_stored_key *got, const struct kl_stored_key *want)
{
    ck_assert_int_eq(got->alg, want->alg);
    ck_assert_uint_eq(got->cryptogram_len, want->cryptogram_len);
    ck_assert_mem_eq(got->cryptogram, want->cryptogram, want->cryptogram_len);
    ck_assert_uint_eq(got->kcv_len, want->kcv_len);
    ck_assert_mem_eq(got->kcv, want->kcv, want->kcv_len);
    ck_assert_mem_eq(got->binding, want->binding, sizeof(want->binding));
}

static void has_import(const struct kl_import *want)
{
    struct kl_import got;

    OK(kl_store_import_get(store, want->serial, &got, &err));
    ck_assert_str_eq(got.serial, want->serial);
    ck_assert_str_eq(got.origin, want->origin);
    ck_assert_int_eq(got.created, want->created);
    same_key(&got.key, &want->key);
}

static void has_working(const struct kl_working *want)
{
    struct kl_working got;

    OK(kl_store_working_get(store, want->serial, &got, &err));
    ck_assert_str_eq(got.serial, want->serial);
    ck_assert_uint_eq(got.tmk_version, want->tmk_version);
    ck_assert_int_eq(got.created, want->created);
    same_key(&got.pik, &want->pik);
    same_key(&got.mak, &want->mak);
}

static void begin_with_terminals(void)
{
    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    OK(add_terminal(store, "B"));
    OK(add_terminal(store, "C"));
}

/* ---- Columns of terminals and TMKs ---- */

START_TEST(device_keys)
{
    struct kl_terminal t, got;
    char owner[KL_SERIAL_MAX + 1] = "none";
    uint8_t key[KL_HASH_LEN];

    begin_with_terminals();
    memset(key, 7, sizeof(key));
    FAILS(kl_store_device_key_owner(store, key, owner, &err), KL_ERR_NOT_FOUND);
    ck_assert_str_eq(owner, "none");
    t = a_terminal("B");
    t.accept_imported = 1;
    t.has_device_key = 1;
    memcpy(t.device_key, key, sizeof(key));
    OK(kl_store_terminal_update(store, &t, &err));
    OK(kl_store_terminal_get(store, "B", &got, &err));
    ck_assert_mem_eq(&got, &t, sizeof(got));
    OK(kl_store_device_key_owner(store, key, owner, &err));
    ck_assert_str_eq(owner, "B");
    snprintf(t.serial, sizeof(t.serial), "C");
    FAILS(kl_store_terminal_update(store, &t, &err), KL_ERR_STORE); /* one terminal's only */
    SAYS("rules");
    t.has_device_key = 0; /* none is nobody's, whatever is in the bytes */
    OK(kl_store_terminal_update(store, &t, &err));
    memset(key, 0, sizeof(key));
    FAILS(kl_store_device_key_owner(store, key, owner, &err), KL_ERR_NOT_FOUND);
}
END_TEST

START_TEST(tmk_columns)
{
    struct kl_tmk want = a_tmk("A", 1), got, few[2];
    size_t n;

    begin_with_terminals();
    want.imported = 1;
    want.has_device_key = 1;
    memset(want.device_key, 9, sizeof(want.device_key));
    want.superseded = 33;
    want.state = KL_TMK_SUPERSEDED;
    OK(kl_store_tmk_add(store, &want, &err));
    OK(kl_store_tmk_get(store, "A", 1, &got, &err));
    ck_assert_mem_eq(&got, &want, sizeof(got));
    want = a_tmk("B", 1);
    OK(kl_store_tmk_add(store, &want, &err)); /* is not superseded at all */
    want = a_tmk("C", 4);
    OK(kl_store_tmk_add(store, &want, &err));
    OK(kl_store_tmk_set_state(store, "C", 4, KL_TMK_SUPERSEDED, 20, 30, &err));
    OK(kl_store_tmk_superseded(store, 29, few, 2, &n, &err));
    ck_assert_uint_eq(n, 0);
    OK(kl_store_tmk_superseded(store, 33, few, 2, &n, &err));
    ck_assert_uint_eq(n, 2);
    ck_assert_str_eq(few[0].serial, "C");
    ck_assert_int_eq(few[0].activated, 20);
    ck_assert_str_eq(few[1].serial, "A");
    OK(kl_store_tmk_set_state(store, "C", 4, KL_TMK_REVOKED, 20, 30, &err));
    OK(kl_store_tmk_get(store, "C", 4, &got, &err));
    ck_assert_uint_eq(got.cryptogram_len, 0);
    ck_assert_str_eq(kl_tmk_state_name(got.state), "revoked");
}
END_TEST

/* ---- Imported TMKs ---- */

static enum kl_rc collect_import(const struct kl_import *import, void *arg, struct kl_err *e)
{
    (void)e;
    strcat(arg, import->serial);
    return import->serial[0] == 'B' ? kl_err_set(e, KL_ERR_REFUSED, "enough") : KL_OK;
}

START_TEST(imports)
{
    struct kl_import want = an_import("A", 1), got;
    char all[10] = "";

    FAILS(kl_store_import_put(store, &want, &err), KL_ERR_STORE); /* outside of a transaction */
    FAILS(kl_store_import_remove(store, "A", &err), KL_ERR_STORE);
    OK(kl_store_begin(store, &err));
    FAILS(kl_store_import_put(store, &want, &err), KL_ERR_NOT_FOUND); /* for no terminal */
    kl_store_rollback(store);
    begin_with_terminals();
    FAILS(kl_store_import_get(store, "A", &got, &err), KL_ERR_NOT_FOUND);
    OK(kl_store_import_put(store, &want, &err));
    has_import(&want);
    want = an_import("A", 2); /* takes the other's place */
    want.created = 12;
    snprintf(want.origin, sizeof(want.origin), "components");
    OK(kl_store_import_put(store, &want, &err));
    has_import(&want);
    want = an_import("C", 3);
    OK(kl_store_import_put(store, &want, &err));
    OK(kl_store_import_each(store, collect_import, all, &err));
    ck_assert_str_eq(all, "AC");
    want = an_import("B", 4);
    OK(kl_store_import_put(store, &want, &err));
    FAILS(kl_store_import_each(store, collect_import, all, &err), KL_ERR_REFUSED);
    ck_assert_str_eq(all, "ACAB");
    want = an_import("B", 3); /* no key waits for two */
    FAILS(kl_store_import_put(store, &want, &err), KL_ERR_STORE);
    OK(kl_store_import_remove(store, "A", &err));
    FAILS(kl_store_import_remove(store, "A", &err), KL_ERR_NOT_FOUND);
    FAILS(kl_store_import_get(store, "A", &got, &err), KL_ERR_NOT_FOUND);
}
END_TEST

/* ---- Working keys ---- */

START_TEST(working_keys)
{
    struct kl_working want = {.serial = "A",
                              .tmk_version = 1,
                              .pik = a_key(1),
                              .mak = a_key(2),
                              .created = 5},
                      got;
    struct kl_tmk tmk = a_tmk("A", 1);

    begin_with_terminals();
    FAILS(kl_store_working_put(store, &want, &err), KL_ERR_NOT_FOUND); /* under no TMK */
    OK(kl_store_tmk_add(store, &tmk, &err));
    FAILS(kl_store_working_get(store, "A", &got, &err), KL_ERR_NOT_FOUND);
    OK(kl_store_working_put(store, &want, &err));
    has_working(&want);
    want.pik = a_key(3);
    want.created = 6;
    OK(kl_store_working_put(store, &want, &err));
    has_working(&want);
    OK(kl_store_working_remove(store, "A", &err));
    OK(kl_store_working_remove(store, "A", &err));
    FAILS(kl_store_working_get(store, "A", &got, &err), KL_ERR_NOT_FOUND);
    OK(kl_store_commit(store, &err));
    FAILS(kl_store_working_put(store, &want, &err), KL_ERR_STORE);
    FAILS(kl_store_working_remove(store, "A", &err), KL_ERR_STORE);
}
END_TEST

/* What no program of ours writes, but a damaged or exchanged file may hold. */
START_TEST(damaged)
{
    static const char *const sql[] = {
        "UPDATE imported SET cryptogram = zeroblob(20)",
        "UPDATE imported SET kcv = zeroblob(2)",
        "UPDATE imported SET alg = 9",
        "UPDATE imported SET origin = replace(hex(zeroblob(60)), '0', 'x')",
        "UPDATE imported SET binding = zeroblob(17)",
        "UPDATE imported SET binding = x''",
    };
    struct kl_import import = an_import("A", 1), got;

    begin_with_terminals();
    OK(kl_store_import_put(store, &import, &err));
    OK(kl_store_commit(store, &err));
    raw("PRAGMA ignore_check_constraints = ON");
    raw(sql[_i]);
    FAILS(kl_store_import_get(store, "A", &got, &err), KL_ERR_STORE);
    SAYS("a row of imported is damaged");
}
END_TEST

START_TEST(damaged_working_keys)
{
    static const char *const sql[] = {
        "UPDATE working SET pik_binding = zeroblob(15)",
        "UPDATE working SET mak_binding = zeroblob(17)",
        "UPDATE working SET mak_kcv = zeroblob(2)",
    };
    struct kl_working working = {.serial = "A", .tmk_version = 1, .pik = a_key(1), .mak = a_key(2)},
                      got;
    struct kl_tmk tmk = a_tmk("A", 1);

    begin_with_terminals();
    OK(kl_store_tmk_add(store, &tmk, &err));
    OK(kl_store_working_put(store, &working, &err));
    OK(kl_store_commit(store, &err));
    raw("PRAGMA ignore_check_constraints = ON");
    raw(sql[_i]);
    FAILS(kl_store_working_get(store, "A", &got, &err), KL_ERR_STORE);
    SAYS("a row of working is damaged");
}
END_TEST

/* ---- Who has which key ---- */

static enum kl_rc holder_of(const char *serial, int others, uint8_t n, struct kl_holder *out)
{
    struct kl_stored_key key = a_key(n);

    return kl_store_key_holder(store, serial, others, key.cryptogram, key.cryptogram_len, out,
                               &err);
}

START_TEST(holders)
{
    struct kl_import import = an_import("A", 5);
    struct kl_holder holder = {.version = 77};
    struct kl_tmk tmk;

    begin_with_terminals();
    FAILS(holder_of("A", 1, 5, &holder), KL_ERR_NOT_FOUND);
    ck_assert_uint_eq(holder.version, 77);
    OK(kl_store_import_put(store, &import, &err));
    FAILS(holder_of("A", 1, 5, &holder), KL_ERR_NOT_FOUND); /* its own */
    OK(holder_of("A", 0, 5, &holder));
    OK(holder_of("B", 1, 5, &holder));
    ck_assert_str_eq(holder.serial, "A");
    ck_assert_uint_eq(holder.version, 0);
    FAILS(holder_of("B", 0, 5, &holder), KL_ERR_NOT_FOUND);
    FAILS(holder_of("B", 1, 6, &holder), KL_ERR_NOT_FOUND);
    for (int state = KL_TMK_PENDING; state <= KL_TMK_REVOKED; state++) {
        int live = state <= KL_TMK_SUPERSEDED;
        uint8_t n = (uint8_t)(100 + state);

        tmk = a_keyed_tmk("C", (uint32_t)state, n);
        OK(kl_store_tmk_add(store, &tmk, &err));
        OK(kl_store_tmk_set_state(store, "C", (uint32_t)state, (enum kl_tmk_state)state, 1, 1,
                                  &err));
        ck_assert_int_eq(holder_of("C", 0, n, &holder), live ? KL_OK : KL_ERR_NOT_FOUND);
        ck_assert_int_eq(holder_of("C", 1, n, &holder), KL_ERR_NOT_FOUND);
        OK(holder_of("B", 1, n, &holder)); /* also when the cryptogram is gone */
        ck_assert_str_eq(holder.serial, "C");
        ck_assert_uint_eq(holder.version, (uint32_t)state);
        OK(holder_of("", 1, n, &holder)); /* of all terminals */
        ck_assert_str_eq(holder.serial, "C");
    }
}
END_TEST

static enum kl_rc collect_share(enum kl_share share, const struct kl_holder *one,
                                const struct kl_holder *other, void *arg, struct kl_err *e)
{
    char *all = arg;
    size_t used = strlen(all);

    (void)e;
    snprintf(all + used, 200 - used, "%d:%s%u-%s%u ", share, one->serial, one->version,
             other->serial, other->version);
    return KL_OK;
}

static const char *shares(void)
{
    static char all[200];

    all[0] = '\0';
    OK(kl_store_share_each(store, collect_share, all, &err));
    return all;
}

START_TEST(shared_keys)
{
    struct kl_import import = an_import("B", 1);
    struct kl_terminal t;
    struct kl_tmk tmk;

    begin_with_terminals();
    ck_assert_str_eq(shares(), "");
    tmk = a_keyed_tmk("A", 1, 1);
    OK(kl_store_tmk_add(store, &tmk, &err));
    tmk = a_keyed_tmk("A", 2, 1); /* a terminal does not share with itself */
    OK(kl_store_tmk_add(store, &tmk, &err));
    tmk = a_keyed_tmk("C", 1, 2);
    OK(kl_store_tmk_add(store, &tmk, &err));
    ck_assert_str_eq(shares(), "");
    OK(kl_store_import_put(store, &import, &err)); /* waits for B, and A has it */
    ck_assert_str_eq(shares(), "1:A1-B0 ");
    tmk = a_keyed_tmk("C", 7, 1);
    OK(kl_store_tmk_add(store, &tmk, &err));
    ck_assert_str_eq(shares(), "1:A1-B0 1:A1-C7 ");
    OK(kl_store_tmk_set_state(store, "C", 7, KL_TMK_DESTROYED, 0, 0, &err));
    OK(kl_store_import_remove(store, "B", &err));
    ck_assert_str_eq(shares(), "");
    /* The same KCV to 3 bytes, of another key; not if the algorithm is another. */
    tmk = a_keyed_tmk("B", 3, 2);
    memset(tmk.cryptogram, 3, sizeof(tmk.cryptogram));
    tmk.kcv_len = 3;
    OK(kl_store_tmk_add(store, &tmk, &err));
    tmk = a_keyed_tmk("A", 3, 2);
    memset(tmk.cryptogram, 4, sizeof(tmk.cryptogram));
    tmk.alg = KL_ALG_TDES2;
    OK(kl_store_tmk_add(store, &tmk, &err));
    ck_assert_str_eq(shares(), "3:B3-C1 ");
    tmk = a_keyed_tmk("A", 9, 2); /* what is certain is not also possible */
    OK(kl_store_tmk_add(store, &tmk, &err));
    ck_assert_str_eq(shares(), "1:A9-C1 3:A9-B3 ");
    OK(kl_store_tmk_set_state(store, "A", 9, KL_TMK_EXPIRED, 0, 0, &err));
    /* The database refuses this one; a report must not rely on that. */
    raw("DROP INDEX terminal_device_key");
    for (int i = 0; i < 2; i++) {
        t = a_terminal(i ? "C" : "B");
        t.has_device_key = 1;
        OK(kl_store_terminal_update(store, &t, &err));
    }
    ck_assert_str_eq(shares(), "2:B0-C0 3:B3-C1 ");
    /* A TDES key of two parts is one of three whose last is the first again. */
    tmk = a_keyed_tmk("C", 5, 2);
    memset(tmk.cryptogram, 5, sizeof(tmk.cryptogram));
    tmk.alg = KL_ALG_TDES3;
    OK(kl_store_tmk_add(store, &tmk, &err));
    ck_assert_str_eq(shares(), "2:B0-C0 3:A3-C5 3:B3-C1 ");
}
END_TEST

/* The lookups of every load must not read a whole table. */
START_TEST(lookups_go_by_index)
{
    static const struct {
        enum kl_sql which;
        const char *index;
    } rows[] = {
        {KL_SQL_KEY_HOLDER, "INDEX tmk_digest"},
        {KL_SQL_KEY_HOLDER_OTHER, "INDEX tmk_digest"},
        {KL_SQL_DEVICE_KEY_OWNER, "INDEX terminal_device_key"},
        {KL_SQL_TMK_SUPERSEDED, "INDEX tmk_superseded"},
        {KL_SQL_TMK_EXPIRED, "INDEX tmk_pending"},
    };
    char sql[1000], plan[1000] = "";
    struct kl_holder holder;
    struct kl_tmk tmk;
    sqlite3_stmt *stmt;
    size_t n;

    FAILS(holder_of("A", 0, 1, &holder), KL_ERR_NOT_FOUND);
    FAILS(holder_of("A", 1, 1, &holder), KL_ERR_NOT_FOUND);
    FAILS(kl_store_device_key_owner(store, a_tmk("A", 1).device_key, sql, &err), KL_ERR_NOT_FOUND);
    OK(kl_store_tmk_superseded(store, 1, &tmk, 1, &n, &err));
    OK(kl_store_tmk_expired(store, 1, &tmk, 1, &n, &err));
    snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", sqlite3_sql(store->kept[rows[_i].which]));
    ck_assert_int_eq(sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        size_t used = strlen(plan);

        snprintf(plan + used, sizeof(plan) - used, "%s; ", sqlite3_column_text(stmt, 3));
    }
    sqlite3_finalize(stmt);
    ck_assert_msg(strstr(plan, rows[_i].index) != NULL && !strstr(plan, "SCAN"), "%s", plan);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store-keys");
    TCase *keys = group(suite, "keys");

    tcase_add_test(keys, device_keys);
    tcase_add_test(keys, tmk_columns);
    tcase_add_test(keys, imports);
    tcase_add_test(keys, working_keys);
    tcase_add_loop_test(keys, damaged, 0, 6);
    tcase_add_loop_test(keys, damaged_working_keys, 0, 3);
    tcase_add_test(keys, holders);
    tcase_add_test(keys, shared_keys);
    tcase_add_loop_test(keys, lookups_go_by_index, 0, 5);
    return test_run(suite);
}
