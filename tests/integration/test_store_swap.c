/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Somebody who can write the store, and no more, moves keys in it: between terminals, versions and
 * roles, with their bindings and without. What reads them back refuses them and raises an alarm;
 * whoever was not touched goes on working, and so does the HSM worker.
 */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/lab_trust.h"
#include "tests/support/party.h"
#include "tests/support/suite.h"

static void end(void)
{
    lab_end(&party.lab);
}

static void begin(const char *name)
{
    lab_begin(&party.lab, name);
    lab_start(&party.lab);
}

/* ---- The attacker ---- */

static void sql(const char *text)
{
    sqlite3 *db = NULL;
    char *message = NULL;

    ck_assert_int_eq(sqlite3_open_v2(party.lab.store, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    ck_assert_msg(sqlite3_exec(db, text, NULL, NULL, &message) == SQLITE_OK, "%s: %s", text,
                  message);
    ck_assert_int_gt(sqlite3_changes(db), 0);
    sqlite3_close(db);
}

/* Those columns (NULL-terminated, the cryptogram first) of two rows of a table change places; a row
 * is a serial's newest. Done again, it is undone. */
static void exchange(const char *table, const char *const *columns, const char *one,
                     const char *other)
{
    char text[4096];
    int n = snprintf(text, sizeof(text),
                     "BEGIN IMMEDIATE; CREATE TEMP TABLE t AS SELECT * FROM %s"
                     " WHERE serial IN ('%s', '%s');"
                     "UPDATE %s SET %s = randomblob(24) WHERE serial IN ('%s', '%s');"
                     "UPDATE %s SET",
                     table, one, other, table, columns[0], one, other, table);

    for (size_t i = 0; columns[i]; i++) {
        n += snprintf(text + n, sizeof(text) - (size_t)n,
                      "%s %s = (SELECT t.%s FROM t WHERE t.serial != %s.serial)", i ? "," : "",
                      columns[i], columns[i], table);
    }
    n += snprintf(text + n, sizeof(text) - (size_t)n, " WHERE serial IN ('%s', '%s'); COMMIT;", one,
                  other);
    ck_assert_int_lt(n, (int)sizeof(text));
    sql(text);
}

/* Cryptogram and KCV alone; and all that goes with them. */
static const char *const keys[2][4] = {{"cryptogram", "kcv", NULL},
                                       {"cryptogram", "kcv", "binding", NULL}};
static const char *const piks[2][4] = {{"pik_cryptogram", "pik_kcv", NULL},
                                       {"pik_cryptogram", "pik_kcv", "pik_binding", NULL}};

/* ---- The loader ---- */

static int load(const char *serial)
{
    lab_arm(&party.lab, serial, 3);
    return lab_load(&party.lab, serial, party.lab.port);
}

static int sign_in(const char *serial)
{
    return lab_sign_in(&party.lab, serial, party.lab.port, "keys", NULL);
}

static void terminal(const char *serial)
{
    lab_terminal(&party.lab, serial, "aes128");
}

/* One with an active TMK and working keys. */
static void working_terminal(const char *serial)
{
    terminal(serial);
    ck_assert_int_eq(load(serial), 0);
    ck_assert_int_eq(sign_in(serial), 0);
}

static void waiting(const char *serial)
{
    struct party_tmk key;

    party_draw(serial, "aes128", &key);
    party_under_zmk(&key, party.zone, sizeof(party.zone), 0);
    PARTY_IMPORT(0, NULL, &key, "--under-zmk", "zin");
}

/* One for which an imported TMK waits. */
static void waiting_terminal(const char *serial)
{
    terminal(serial);
    free(lab_ctl(&party.lab, "terminal", "accept-imported", serial, NULL));
    waiting(serial);
}

static void export(const char *serial, const char *which, int status)
{
    lab_ctl_ends(&party.lab, status, status ? "changed from outside" : NULL, "tmk", "export",
                 serial, "--under-zmk", "zout", "--key", which, NULL);
}

/* The refusal is an alarm that says why, and no worker fell over it. */
static void alarmed(const char *serial, const char *says)
{
    char *log;

    lab_await_alarm(&party.lab, serial, "store", 1);
    char *report = lab_ctl(&party.lab, "audit", "list", "--last", "50", NULL);
    ck_assert_msg(strstr(report, says) != NULL, "\"%s\" is not in: %s", says, report);
    free(report);
    log = file_read(party.lab.daemon.err, NULL);
    ck_assert_msg(strstr(log, says) != NULL, "\"%s\" is not in: %s", says, log);
    ck_assert_ptr_null(strstr(log, "worker-lost"));
    ck_assert_ptr_null(strstr(log, "worker-exit"));
    free(log);
}

/* ---- Imported TMKs ---- */

/* _i: 1 with their bindings. */
START_TEST(imports_of_two_terminals)
{
    struct lab_tmk none[LAB_TMK_MAX];

    begin(_i ? "imports-bound" : "imports");
    waiting_terminal("A");
    waiting_terminal("B");
    waiting_terminal("C");
    exchange("imported", keys[_i], "A", "B");
    ck_assert_int_ne(load("A"), 0);
    alarmed("A", "the imported key that waits for terminal A is not as keyloader wrote it");
    ck_assert_int_ne(load("B"), 0);
    alarmed("B", "the imported key that waits for terminal B is not as keyloader wrote it");
    ck_assert_uint_eq(lab_store(&party.lab, "A", none), 0);
    ck_assert_uint_eq(lab_pinpad(&party.lab, "B", none), 0);
    ck_assert_int_eq(load("C"), 0);
    lab_settled(&party.lab, "C", 1);
    exchange("imported", keys[_i], "A", "B"); /* it was that, and nothing else */
    ck_assert_int_eq(load("A"), 0);
    lab_settled(&party.lab, "A", 1);
    ck_assert_int_eq(load("B"), 0);
    ck_assert_uint_eq(party_waiting(), 0);
}
END_TEST

/* A terminal's own active TMK, whole, as one that waits for it; and what then? The operator lets it
 * wait no longer. */
START_TEST(a_tmk_is_no_import)
{
    begin("role");
    waiting_terminal("A");
    ck_assert_int_eq(load("A"), 0);
    waiting("A");
    sql("UPDATE imported SET (cryptogram, kcv, binding) ="
        " (SELECT cryptogram, kcv, binding FROM tmk WHERE serial = 'A' AND version = 1)");
    ck_assert_int_ne(load("A"), 0);
    alarmed("A", "the imported key that waits for terminal A");
    free(lab_ctl(&party.lab, "tmk", "cancel", "A", NULL));
    ck_assert_int_eq(load("A"), 0);
    lab_settled(&party.lab, "A", 2);
}
END_TEST

/* ---- Sign-in ---- */

START_TEST(tmks_of_two_terminals)
{
    struct lab_pair before, after;

    begin(_i ? "tmks-bound" : "tmks");
    working_terminal("A");
    working_terminal("B");
    working_terminal("C");
    before = lab_store_pair(&party.lab, "A");
    exchange("tmk", keys[_i], "A", "B");
    ck_assert_int_ne(sign_in("A"), 0);
    alarmed("A", "the stored key of terminal A, version 1, is not as keyloader wrote it");
    ck_assert_int_ne(sign_in("B"), 0);
    alarmed("B", "the stored key of terminal B, version 1, is not as keyloader wrote it");
    after = lab_store_pair(&party.lab, "A");
    ck_assert(lab_same_pair(&before, &after));
    export("A", "tmk", 74);
    export("B", "tmk", 74);
    ck_assert_int_eq(sign_in("C"), 0);
    lab_keys_work(&party.lab, "C");
    export("C", "tmk", 0);
    exchange("tmk", keys[_i], "A", "B");
    ck_assert_int_eq(sign_in("A"), 0);
    lab_keys_work(&party.lab, "A");
    export("B", "tmk", 0);
}
END_TEST

/* The superseded TMK in the place of the active one. */
START_TEST(tmks_of_two_versions)
{
    begin("versions");
    working_terminal("A");
    ck_assert_int_eq(load("A"), 0);
    ck_assert_int_eq(sign_in("A"), 0);
    sql("UPDATE tmk SET (cryptogram, kcv, binding) ="
        " (SELECT o.cryptogram, o.kcv, o.binding FROM tmk o WHERE o.serial = 'A' AND o.version = 1)"
        " WHERE serial = 'A' AND version = 2");
    ck_assert_int_ne(sign_in("A"), 0);
    alarmed("A", "the stored key of terminal A, version 2, is not as keyloader wrote it");
    export("A", "tmk", 74);
    lab_ctl_ends(&party.lab, 0, NULL, "tmk", "export", "A", "--under-zmk", "zout", "--version", "1",
                 NULL);
}
END_TEST

/* ---- Export ---- */

START_TEST(working_keys)
{
    unsigned alarms;

    begin(_i ? "working-bound" : "working");
    working_terminal("A");
    working_terminal("B");
    working_terminal("C");
    exchange("working", piks[_i], "A", "B");
    export("A", "pik", 74);
    alarms = lab_alarms(&party.lab, "A", "store");
    ck_assert_uint_eq(alarms, 1);
    export("B", "pik", 74);
    ck_assert_uint_eq(lab_alarms(&party.lab, "B", "store"), 1);
    export("A", "mak", 0);
    export("C", "pik", 0);
    /* A PIK is no MAK, not even with all that belongs to it. */
    sql("UPDATE working SET mak_cryptogram = pik_cryptogram, mak_kcv = pik_kcv,"
        " mak_binding = pik_binding WHERE serial = 'C'");
    export("C", "mak", 74);
    export("C", "pik", 0);
    /* Nor is it one of another TMK's. */
    sql("UPDATE tmk SET version = 2 WHERE serial = 'C';"
        "UPDATE working SET tmk_version = 2 WHERE serial = 'C'");
    export("C", "pik", 74);
    ck_assert_uint_eq(lab_alarms(&party.lab, "C", "store"), 2);
    ck_assert_int_eq(sign_in("B"), 0); /* fresh ones */
    export("B", "pik", 0);
}
END_TEST

static Suite *swap_suite(void)
{
    Suite *suite = suite_create("store swaps");
    TCase *cases = tcase_create("swaps");

    tcase_add_unchecked_fixture(cases, party_found, party_abandon);
    tcase_add_checked_fixture(cases, NULL, end);
    tcase_set_timeout(cases, 180);
    suite_add_tcase(suite, cases);
    tcase_add_loop_test(cases, imports_of_two_terminals, 0, 2);
    tcase_add_test(cases, a_tmk_is_no_import);
    tcase_add_loop_test(cases, tmks_of_two_terminals, 0, 2);
    tcase_add_test(cases, tmks_of_two_versions);
    tcase_add_loop_test(cases, working_keys, 0, 2);
    return suite;
}

int main(void)
{
    return test_run(swap_suite());
}
