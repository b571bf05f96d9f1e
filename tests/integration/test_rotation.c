/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The storage key is rotated: every stored key goes under the new one and works from there, keys
 * that were destroyed before are still recognised, and nobody uses the store under the wrong key or
 * in the middle of it, wherever that is cut off.
 */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "tests/support/lab_trust.h"
#include "tests/support/party.h"
#include "tests/support/suite.h"
#include "tests/support/tokens.h"

#define OLD "tmk-storage" /* the default */
#define KILLS 15
#define MORE 25 /* terminals */

static void end(void)
{
    lab_end(&party.lab);
}

static void rotate(int status, const char *words, const char *to, const char *option)
{
    lab_ctl_ends(&party.lab, status, words, "store", "rotate-key", "--to", to, option, NULL);
}

static void configure(const char *label)
{
    lab_set(&party.lab, "hsm", "storage-key", label);
}

static void load(const char *serial)
{
    lab_arm(&party.lab, serial, 3);
    ck_assert_int_eq(lab_load(&party.lab, serial, party.lab.port), 0);
}

static int sign_in(const char *serial)
{
    return lab_sign_in(&party.lab, serial, party.lab.port, "keys", NULL);
}

static void waiting(const struct party_tmk *key, int status, const char *words)
{
    PARTY_IMPORT(status, words, key, "--under-zmk", "zin");
}

static void draw(const char *serial, struct party_tmk *key)
{
    party_draw(serial, "aes128", key);
    party_under_zmk(key, party.zone, sizeof(party.zone), 0);
}

static int64_t number(const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t value;

    ck_assert_int_eq(sqlite3_open_v2(party.lab.store, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    value = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

static void refuses_to_start(int status)
{
    ck_assert_int_eq(lab_start_fails(&party.lab), status);
}

static void verify_keys(void)
{
    lab_ctl_ends(&party.lab, 0, NULL, "store", "verify", "--keys", NULL);
}

/* W works, and had another TMK before; P's is pending; I's is imported and waits; R's was imported,
 * sent, and is revoked. */
static void populate(const char *name, struct party_tmk *revoked)
{
    const struct relay_plan plan = {.act = RELAY_CUT, .message = 4};
    static const char *const serials[] = {"W", "P", "I", "R", "N"};
    struct party_tmk key;
    struct relay *relay;

    lab_begin(&party.lab, name);
    for (size_t i = 0; i < sizeof(serials) / sizeof(serials[0]); i++) {
        lab_terminal(&party.lab, serials[i], "aes128");
    }
    free(lab_ctl(&party.lab, "terminal", "accept-imported", "I", "R", "N", NULL));
    lab_start(&party.lab);
    load("W");
    load("W");
    ck_assert_int_eq(sign_in("W"), 0);
    relay = relay_start(0, party.lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    lab_arm(&party.lab, "P", 3);
    ck_assert_int_ne(lab_load(&party.lab, "P", relay_port(relay)), 0);
    relay_stop(relay);
    draw("I", &key);
    waiting(&key, 0, NULL);
    draw("R", revoked);
    waiting(revoked, 0, NULL);
    load("R");
    free(lab_ctl(&party.lab, "tmk", "revoke", "R", "--reason", "test", NULL));
}

START_TEST(all_goes_on)
{
    struct party_tmk revoked, again;
    char *before;

    populate("rotate", &revoked);
    rotate(75, "stop it first", "store-2", NULL);
    rotate(0, NULL, "store-2", "--dry-run"); /* it only looks */
    lab_stop(&party.lab);
    before = lab_store_dump(&party.lab);
    rotate(0, NULL, "store-2", "--dry-run");
    char *after = lab_store_dump(&party.lab);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
    rotate(77, "is the storage key", OLD, NULL);
    rotate(0, "set [hsm] storage-key = store-2", "store-2", NULL);
    verify_keys();
    ck_assert_int_eq(number("SELECT count(*) FROM tmk WHERE cryptogram != x'' AND wrap != 2"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM tmk WHERE cryptogram = x'' AND wrap = 1"), 1);
    ck_assert_int_eq(number("SELECT wrap FROM working"), 2);
    ck_assert_int_eq(number("SELECT wrap FROM imported"), 2);

    /* Nobody goes on under the old key. */
    refuses_to_start(78);
    draw("N", &again);
    waiting(&again, 78, "under storage key \"store-2\"");
    lab_ctl_ends(&party.lab, 78, NULL, "tmk", "export", "W", "--under-zmk", "zout", NULL);
    rotate(77, "was once", OLD, NULL);

    configure("store-2");
    lab_start(&party.lab);
    ck_assert_int_eq(sign_in("W"), 0);
    lab_keys_work(&party.lab, "W");
    ck_assert_int_eq(lab_load(&party.lab, "P", party.lab.port), 0); /* its Confirm */
    lab_settled(&party.lab, "P", 1);
    ck_assert_int_eq(sign_in("P"), 0);
    load("I");
    lab_settled(&party.lab, "I", 1);
    load("W");
    lab_agree(&party.lab, "W");
    lab_ctl_ends(&party.lab, 0, NULL, "tmk", "export", "W", "--under-zmk", "zout", NULL);
    ck_assert_int_eq(number("SELECT wrap FROM tmk WHERE serial = 'W' AND version = 3"), 2);

    /* A key that R's PIN pad may hold is no other terminal's, though its cryptogram here was under
     * the old key, and is gone. */
    revoked.serial = "N";
    waiting(&revoked, 77, "the same key is terminal R's TMK version 1");
    waiting(&again, 0, NULL);
    load("N");
    verify_keys();
}
END_TEST

static void key_delete(int status, const char *words, const char *label)
{
    lab_ctl_ends(&party.lab, status, words, "key", "delete", label, NULL);
}

/* A key that was left may be destroyed once nothing can need it. */
START_TEST(left_keys)
{
    struct party_tmk revoked;

    populate("left", &revoked);
    lab_stop(&party.lab);
    rotate(0, NULL, "store-2", NULL);
    key_delete(77, "is the storage key of the configuration", OLD);
    key_delete(77, "is the store's storage key", "store-2"); /* whatever the configuration says */
    configure("store-2");
    key_delete(77, "1 destroyed TMKs would not be recognised", OLD);
    rotate(0, NULL, "store-3", NULL);
    configure("another-store");
    free(lab_ctl(&party.lab, "key", "generate", "--label", "w", "--suite", "hardened-ec", NULL));
    configure("store-3");
    key_delete(77, "never had the storage key", "another-store");
    key_delete(0, NULL, "store-2");
    key_delete(66, "there is no", "store-2");
    verify_keys();
    lab_start(&party.lab);
    ck_assert_int_eq(sign_in("W"), 0);
}
END_TEST

/* ---- kill -9 ---- */

static int half_done(void)
{
    return number("SELECT count(*) FROM meta WHERE name = 'rotation-to' AND value != ''") == 1;
}

/* At some instant after its start, or (aimed) after it has begun to change the store. */
static void killed_rotation(const char *to, int aimed)
{
    const char *const argv[] = {lab_built("bin/keyloaderctl"),
                                "-c",
                                party.lab.conf,
                                "store",
                                "rotate-key",
                                "--to",
                                to,
                                NULL};
    char env[PATH_MAX + 32];
    struct tokens tokens = {0};
    struct proc proc;
    unsigned random;

    tokens_keep(&tokens, &party.lab);
    snprintf(env, sizeof(env), "SOFTHSM2_CONF=%s/hsm/softhsm2.conf", party.lab.dir);
    ck_assert_int_eq(getrandom(&random, sizeof(random), 0), sizeof(random));
    proc_spawn(&proc, party.lab.logs, (const char *const[]){env, NULL}, argv);
    if (aimed) {
        while (proc_poll(&proc) < 0 && !half_done()) {
        }
        usleep(random % 15000);
    } else {
        usleep(random % 150000);
    }
    proc_kill(&proc);
    tokens_mend(&tokens, "hsm");
    tokens_forget(&tokens);
}

/* Rotations one after another, each cut off some times before it is let through. */
START_TEST(killed)
{
    struct party_tmk revoked;
    char label[32] = OLD, next[32];
    int halves = 0;

    populate("killed", &revoked);
    for (int i = 0; i < MORE; i++) { /* so that there is something to do */
        snprintf(next, sizeof(next), "MORE-%d", i);
        lab_terminal(&party.lab, next, "aes128");
        load(next);
        ck_assert_int_eq(sign_in(next), 0);
    }
    lab_stop(&party.lab);
    for (int i = 0; i < KILLS; i++) {
        snprintf(next, sizeof(next), "k-%d", i / 3);
        killed_rotation(next, i % 3 < 2);
        verify_keys();
        if (half_done()) {
            halves++;
            refuses_to_start(74);
            rotate(77, "is half done", "another", NULL);
            lab_ctl_ends(&party.lab, 74, "half done", "tmk", "export", "W", "--under-zmk", "zout",
                         NULL);
        }
        if (i % 3 == 2) {
            if (lab_ctl_status(&party.lab, "store", "rotate-key", "--to", next, NULL) != 0) {
                rotate(77, "is the storage key", next, NULL); /* the last kill came too late */
            }
            ck_assert(!half_done());
            snprintf(label, sizeof(label), "%s", next);
            configure(label);
            verify_keys();
        }
    }
    ck_assert_int_gt(halves, 0);
    printf("rotations found half done: %d of %d\n", halves, KILLS);
    lab_start(&party.lab);
    ck_assert_int_eq(sign_in("W"), 0);
    ck_assert_int_eq(lab_load(&party.lab, "P", party.lab.port), 0);
    lab_settled(&party.lab, "P", 1);
    load("I");
    revoked.serial = "N";
    waiting(&revoked, 77, "the same key is terminal R's");
}
END_TEST

/* ---- Rows that are not as keyloader wrote them ---- */

START_TEST(a_swapped_row)
{
    struct party_tmk revoked;

    populate("swapped", &revoked);
    lab_stop(&party.lab);
    (void)number("UPDATE tmk SET kcv = x'000000' WHERE serial = 'W' AND state = 2");
    rotate(76, "not as keyloader wrote", "s-2", "--dry-run");
    ck_assert(!half_done());
    rotate(76, "not as keyloader wrote", "s-2", NULL);
    ck_assert(half_done());
    lab_ctl_ends(&party.lab, 76, "terminal W, version 2", "store", "verify", "--keys", NULL);
    refuses_to_start(74);
    free(lab_ctl(&party.lab, "tmk", "revoke", "W", "--reason", "swapped", NULL));
    rotate(0, NULL, "s-2", NULL);
    configure("s-2");
    verify_keys();
    lab_start(&party.lab);
    load("W");
    lab_agree(&party.lab, "W");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("storage-key rotation");
    TCase *cases = tcase_create("rotation");

    tcase_add_unchecked_fixture(cases, party_found, party_abandon);
    tcase_add_checked_fixture(cases, NULL, end);
    tcase_set_timeout(cases, 180);
    tcase_add_test(cases, all_goes_on);
    tcase_add_test(cases, left_keys);
    tcase_add_test(cases, killed);
    tcase_add_test(cases, a_swapped_row);
    suite_add_tcase(suite, cases);
    return test_run(suite);
}
