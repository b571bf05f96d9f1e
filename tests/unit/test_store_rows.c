/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SQLite store's contents: transactions, two connections, what a kill leaves, and rows.
 */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/store_fixture.h"

/* ---- Transactions ---- */

START_TEST(transactions)
{
    FAILS(add_terminal(store, "A"), KL_ERR_STORE); /* never by itself */
    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    kl_store_rollback(store);
    FAILS(get(store, "A"), KL_ERR_NOT_FOUND);
    FAILS(kl_store_commit(store, &err), KL_ERR_STORE);
    FAILS(kl_store_savepoint(store, &err), KL_ERR_STORE);
    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    kl_store_free(store); /* undoes what is open */
    OK(kl_store_open(path, KL_STORE_WRITE, &store, &err));
    FAILS(get(store, "A"), KL_ERR_NOT_FOUND);
}
END_TEST

START_TEST(savepoints)
{
    OK(kl_store_begin(store, &err));
    OK(kl_store_savepoint(store, &err));
    OK(add_terminal(store, "A"));
    OK(kl_store_release(store, &err));
    OK(kl_store_savepoint(store, &err));
    OK(add_terminal(store, "B"));
    OK(kl_store_undo(store, &err));
    OK(kl_store_savepoint(store, &err)); /* the undone one is gone: this is a new one */
    OK(add_terminal(store, "C"));
    OK(kl_store_release(store, &err));
    FAILS(kl_store_release(store, &err), KL_ERR_STORE);
    OK(kl_store_commit(store, &err));
    reopen(KL_STORE_WRITE);
    OK(get(store, "A"));
    FAILS(get(store, "B"), KL_ERR_NOT_FOUND);
    OK(get(store, "C"));
}
END_TEST

/* Killed right after commit has returned, and with a transaction open. */
START_TEST(kill_keeps_what_was_committed)
{
    pid_t child = fork();
    int status;

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct kl_store *mine = NULL;

        if (kl_store_open(path, KL_STORE_WRITE, &mine, &err) != KL_OK ||
            kl_store_begin(mine, &err) != KL_OK || add_terminal(mine, "A") != KL_OK ||
            kl_store_commit(mine, &err) != KL_OK || kl_store_begin(mine, &err) != KL_OK ||
            add_terminal(mine, "B") != KL_OK) {
            _exit(1);
        }
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    reopen(KL_STORE_WRITE);
    OK(get(store, "A"));
    FAILS(get(store, "B"), KL_ERR_NOT_FOUND);
    add_committed("B"); /* and its lock is gone */
}
END_TEST

START_TEST(two_connections)
{
    struct kl_store *other = NULL;
    struct timespec before, after;

    OK(kl_store_open(path, KL_STORE_WRITE, &other, &err));
    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    FAILS(get(other, "A"),
          KL_ERR_NOT_FOUND); /* readers wait for nobody and see what is committed */
    sqlite3_busy_timeout(other->db, 100);
    clock_gettime(CLOCK_MONOTONIC, &before);
    FAILS(kl_store_begin(other, &err), KL_ERR_BUSY);
    clock_gettime(CLOCK_MONOTONIC, &after);
    ck_assert_int_lt(after.tv_sec - before.tv_sec, 3);
    SAYS("another program");
    OK(kl_store_commit(store, &err));
    OK(get(other, "A"));
    OK(kl_store_begin(other, &err));
    FAILS(add_terminal(other, "A"), KL_ERR_EXISTS);
    OK(add_terminal(other, "B")); /* the failure undid itself alone */
    OK(kl_store_commit(other, &err));
    OK(get(store, "B"));
    kl_store_free(other);
}
END_TEST

/* ---- Rows ---- */

static enum kl_rc nth_terminal(const struct kl_terminal *t, void *arg, struct kl_err *e)
{
    int *n = arg;

    ck_assert_int_eq(t->serial[0], 'A' + *n);
    ++*n;
    return *n == 3 ? kl_err_set(e, KL_ERR_REFUSED, "enough") : KL_OK;
}

START_TEST(terminals)
{
    struct kl_terminal want = a_terminal("A"), got;
    int n = 0;

    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "D"));
    OK(add_terminal(store, "C"));
    OK(add_terminal(store, "B"));
    OK(kl_store_terminal_add(store, &want, &err));
    OK(kl_store_terminal_get(store, "A", &got, &err));
    ck_assert_mem_eq(&got, &want, sizeof(got));
    want.alg = KL_ALG_AES128;
    want.blocked = 0;
    want.armed_until = 0;
    want.attempts_left = 0;
    want.pinpad_serial[0] = '\0';
    OK(kl_store_terminal_update(store, &want, &err));
    OK(kl_store_terminal_get(store, "A", &got, &err));
    ck_assert_str_eq(got.pinpad_serial, "");
    ck_assert_int_eq(got.alg, KL_ALG_AES128);
    ck_assert_int_eq(got.blocked, 0);
    ck_assert_int_eq(got.created, 17);
    snprintf(want.serial, sizeof(want.serial), "Z");
    FAILS(kl_store_terminal_update(store, &want, &err), KL_ERR_NOT_FOUND);
    FAILS(kl_store_terminal_each(store, nth_terminal, &n, &err), KL_ERR_REFUSED);
    ck_assert_int_eq(n, 3);
    FAILS(get(store, "A' OR '1'='1"), KL_ERR_NOT_FOUND);
}
END_TEST

static enum kl_rc count_tmk(const struct kl_tmk *tmk, void *arg, struct kl_err *e)
{
    struct kl_tmk ignored;

    /* Reading more within an iteration is allowed. */
    OK(kl_store_tmk_get(store, tmk->serial, tmk->version, &ignored, e));
    ++*(int *)arg;
    return KL_OK;
}

static int tmk_count(const char *serial, enum kl_tmk_state state)
{
    int n = 0;

    OK(kl_store_tmk_each(store, serial, state, count_tmk, &n, &err));
    return n;
}

START_TEST(tmks)
{
    struct kl_tmk want, got, few[2];
    uint32_t last = 99;
    size_t n;

    OK(kl_store_begin(store, &err));
    want = a_tmk("A", 1);
    FAILS(kl_store_tmk_add(store, &want, &err), KL_ERR_NOT_FOUND); /* of no terminal */
    OK(add_terminal(store, "A"));
    OK(add_terminal(store, "B"));
    want.pinpad_serial[0] = '\0';
    FAILS(kl_store_tmk_add(store, &want, &err), KL_ERR_STORE); /* of no PIN pad */
    SAYS("rules");
    OK(last_version("A", &last));
    ck_assert_uint_eq(last, 0);
    for (uint32_t v = 1; v <= 3; v++) {
        want = a_tmk("A", v);
        want.expires = 10 + v;
        OK(kl_store_tmk_add(store, &want, &err));
    }
    OK(kl_store_tmk_get(store, "A", 3, &got, &err));
    ck_assert_mem_eq(&got, &want, sizeof(got));
    FAILS(kl_store_tmk_add(store, &want, &err), KL_ERR_EXISTS);
    FAILS(kl_store_tmk_get(store, "B", 3, &got, &err), KL_ERR_NOT_FOUND);
    FAILS(kl_store_tmk_set_state(store, "B", 3, KL_TMK_ACTIVE, 5, 0, &err), KL_ERR_NOT_FOUND);
    want = a_tmk("B", 7);
    OK(kl_store_tmk_add(store, &want, &err));
    OK(last_version("B", &last));
    ck_assert_uint_eq(last, 7);
    OK(kl_store_tmk_set_state(store, "A", 1, KL_TMK_ACTIVE, 5, 0, &err));
    OK(kl_store_tmk_get(store, "A", 1, &got, &err));
    ck_assert_int_eq(got.activated, 5);
    ck_assert_int_eq(tmk_count(NULL, 0), 4);
    ck_assert_int_eq(tmk_count("A", 0), 3);
    ck_assert_int_eq(tmk_count("A", KL_TMK_PENDING), 2);
    ck_assert_int_eq(tmk_count(NULL, KL_TMK_PENDING), 3);
    ck_assert_int_eq(tmk_count("C", 0), 0);
    OK(kl_store_tmk_expired(store, 12, few, 2, &n, &err)); /* B's 7 and A's 2; 1 is active */
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(few[0].version, 7);
    ck_assert_uint_eq(few[1].version, 2);
    OK(kl_store_tmk_expired(store, 13, few, 1, &n, &err));
    ck_assert_uint_eq(n, 1);
    OK(kl_store_tmk_expired(store, 1, few, 2, &n, &err));
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(never_two_active)
{
    struct kl_tmk one = a_tmk("A", 1), two = a_tmk("A", 2);

    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    OK(kl_store_tmk_add(store, &one, &err));
    OK(kl_store_tmk_add(store, &two, &err));
    OK(kl_store_tmk_set_state(store, "A", 1, KL_TMK_ACTIVE, 5, 0, &err));
    FAILS(kl_store_tmk_set_state(store, "A", 2, KL_TMK_ACTIVE, 5, 0, &err), KL_ERR_STORE);
    SAYS("rules");
}
END_TEST

static int file_has(const char *name, int byte, size_t times)
{
    char *text = NULL, needle[64];
    size_t len;
    int found;

    if (access(name, F_OK) != 0) {
        return 0;
    }
    memset(needle, byte, times);
    OK(kl_file_read(name, 10 << 20, &text, &len, &err));
    found = memmem(text, len, needle, times) != NULL;
    free(text);
    return found;
}

/* Out of the row, and out of the file once the write-ahead log has been folded in. */
START_TEST(destroyed_is_gone)
{
    struct kl_tmk tmk = a_tmk("A", 1), got;
    char wal[100];

    add_committed("A");
    OK(kl_store_begin(store, &err));
    OK(kl_store_tmk_add(store, &tmk, &err));
    OK(kl_store_commit(store, &err));
    reopen(KL_STORE_WRITE);
    ck_assert(file_has(path, 0xc7, 32) && file_has(path, 0xb1, 16));
    OK(kl_store_begin(store, &err));
    OK(kl_store_tmk_set_state(store, "A", 1, _i ? KL_TMK_EXPIRED : KL_TMK_DESTROYED, 0, 0, &err));
    OK(kl_store_commit(store, &err));
    OK(kl_store_tmk_get(store, "A", 1, &got, &err));
    ck_assert_uint_eq(got.cryptogram_len, 0);
    ck_assert_mem_eq(got.binding, (uint8_t[KL_MAC_LEN]){0}, KL_MAC_LEN);
    ck_assert_mem_eq(got.drop_mac, tmk.drop_mac, KL_MAC_LEN); /* Confirm must still be answered */
    reopen(KL_STORE_READ);
    snprintf(wal, sizeof(wal), "%s-wal", path);
    ck_assert(!file_has(path, 0xc7, 8) && !file_has(path, 0xb1, 8));
    ck_assert(!file_has(wal, 0xc7, 8) && !file_has(wal, 0xb1, 8));
}
END_TEST

static enum kl_rc collect_audit(const struct kl_audit *record, void *arg, struct kl_err *e)
{
    char *all = arg;
    size_t used = strlen(all);

    (void)e;
    snprintf(all + used, 100 - used, "%d:%s ", (int)record->id, record->event);
    return KL_OK;
}

START_TEST(audit)
{
    char all[100] = "", big[2000], sql[64];
    char *text = NULL;

    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    OK(kl_store_begin(store, &err));
    OK(kl_store_audit(store, 1, "alarm", "A", "", &err));
    OK(kl_store_audit(store, 2, "tmk-active", "", "a=b", &err));
    OK(kl_store_audit(store, 3, "tmk-expired", big, big, &err)); /* cut, not refused, not overrun */
    FAILS(kl_store_audit(store, 4, "no-such-event", "", "", &err), KL_ERR_INTERNAL);
    OK(kl_store_commit(store, &err));
    OK(kl_store_audit_each(store, 0, collect_audit, all, &err));
    ck_assert_str_eq(all, "1:alarm 2:tmk-active 3:tmk-expired ");
    all[0] = '\0';
    OK(kl_store_audit_each(store, 2, collect_audit, all, &err));
    ck_assert_str_eq(all, "2:tmk-active 3:tmk-expired ");
    for (int i = 0; i < 2; i++) {
        snprintf(sql, sizeof(sql), "%s", i ? "DELETE FROM audit" : "UPDATE audit SET serial = 'B'");
        ck_assert_int_ne(sqlite3_exec(store->db, sql, NULL, NULL, &text), SQLITE_OK);
        ck_assert_ptr_nonnull(strstr(text, "audit records are never"));
        sqlite3_free(text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store-rows");
    TCase *work = group(suite, "transactions"), *rows = group(suite, "rows");

    tcase_add_test(work, transactions);
    tcase_add_test(work, savepoints);
    tcase_add_test(work, kill_keeps_what_was_committed);
    tcase_add_test(work, two_connections);
    tcase_add_test(rows, terminals);
    tcase_add_test(rows, tmks);
    tcase_add_test(rows, never_two_active);
    tcase_add_loop_test(rows, destroyed_is_gone, 0, 2);
    tcase_add_test(rows, audit);
    return test_run(suite);
}
