/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store is backed up while the daemon serves, lost, and restored; each terminal, whatever it
 * did in the meantime, is refused cleanly where it has to be, and recovers by a new load. Backups
 * and stores that are damaged are told so; and kill -9 at any instant leaves the old or the new.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/lab_keys.h"
#include "tests/support/lab_trust.h"
#include "tests/support/suite.h"

#define LEAP 1000000u
#define LOADED_MESSAGE 4
#define DONE_MESSAGE 5
#define KILLS 15

static struct lab lab;

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* ---- Small things ---- */

static const char *in_run(const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;

    return file_path(paths[next++ % 4], lab.run, name);
}

static void ctl(int status, const char *words, const char *a, const char *b, const char *c,
                const char *d)
{
    lab_ctl_ends(&lab, status, words, a, b, c, d, NULL);
}

static void backup(const char *file)
{
    lab_ctl_ends(&lab, 0, NULL, "store", "backup", "--out", file, NULL);
}

static void verify(int status, const char *words, const char *file)
{
    ctl(status, words, "store", "verify", file, NULL);
}

static void load(const char *serial)
{
    lab_arm(&lab, serial, 3);
    ck_assert_int_eq(lab_load(&lab, serial, lab.port), 0);
    lab_agree(&lab, serial);
}

/* A load in which that message never arrives. */
static void cut_load(const char *serial, unsigned message)
{
    const struct relay_plan plan = {.act = RELAY_CUT, .message = message};
    struct relay *relay = relay_start(0, lab.port, &plan);

    lab_arm(&lab, serial, 3);
    ck_assert_ptr_nonnull(relay);
    ck_assert_int_ne(lab_load(&lab, serial, relay_port(relay)), 0);
    relay_stop(relay);
}

static int sign_in(const char *serial)
{
    return lab_sign_in(&lab, serial, lab.port, "keys", NULL);
}

static unsigned active_version(const char *serial)
{
    struct lab_tmk tmks[LAB_TMK_MAX];
    size_t count = lab_store(&lab, serial, tmks);
    const struct lab_tmk *active = lab_active(tmks, count);

    return active ? active->version : 0;
}

static int has_terminal(const char *serial)
{
    return lab_ctl_status(&lab, "terminal", "show", serial, NULL) == 0;
}

/* What `report restore` says of a terminal. */
static void since(const char *serial, const char *expected)
{
    json_t *rows = lab_ctl_json(&lab, "report", "restore", NULL), *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (strcmp(lab_text(row, "serial"), serial) == 0) {
            ck_assert_str_eq(lab_text(row, "since"), expected);
            json_decref(rows);
            return;
        }
    }
    ck_abort_msg("%s is not in the report", serial);
}

static void terminals(const char *const *serials)
{
    for (; *serials; serials++) {
        lab_terminal(&lab, *serials, "tdes2");
    }
}

/* ---- Backup ---- */

START_TEST(while_it_serves)
{
    const char *file;
    struct proc loads[3];
    struct stat st;

    lab_begin(&lab, "serving");
    file = in_run("b.db");
    terminals((const char *const[]){"A", "B", "C", NULL});
    lab_start(&lab);
    for (int i = 0; i < 3; i++) {
        const char *serial = (const char *const[]){"A", "B", "C"}[i];
        lab_arm(&lab, serial, 3);
        lab_load_start(&lab, serial, lab.port, NULL, &loads[i]);
    }
    backup(file);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(proc_wait(&loads[i], LAB_LOAD_SECONDS), 0);
    }
    verify(0, NULL, file);
    ck_assert_int_eq(stat(file, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    lab_ctl_ends(&lab, 73, "--force", "store", "backup", "--out", file, NULL);
    lab_ctl_ends(&lab, 0, NULL, "store", "backup", "--out", file, "--force", NULL);
    verify(0, NULL, file);
    ctl(0, NULL, "store", "verify", file, "--keys");
    ctl(0, NULL, "store", "verify", "--keys", NULL);
    verify(66, NULL, in_run("none.db"));
    lab_ctl_ends(&lab, 66, NULL, "store", "backup", "--out", in_run("no/such/b.db"), NULL);
    lab_end(&lab);
}
END_TEST

/* A limit on the size of files is a full disk, and kills nobody. */
START_TEST(without_room)
{
    struct rlimit limit = {32 * 1024, RLIM_INFINITY};
    const char *file;
    char pattern[PATH_MAX + 32];
    int status;

    lab_begin(&lab, "room");
    file = in_run("b.db");
    terminals((const char *const[]){"A", NULL});
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0); /* of the programs that it starts */
    status = lab_ctl_status(&lab, "store", "backup", "--out", file, NULL);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(status, 74);
    ck_assert_int_ne(access(file, F_OK), 0);
    snprintf(pattern, sizeof(pattern), "test $(ls '%s' | grep -c part) = 0", lab.run);
    ck_assert_int_eq(system(pattern), 0);
    backup(file);
    lab_end(&lab);
}
END_TEST

/* ---- Restore: the drill ---- */

/* What each terminal did before (b) and after (a) the backup. */
static void the_past(const char *file)
{
    terminals((const char *const[]){"SAME", "NEWER", "CUT", "PEND", "HELD", "ARMED", NULL});
    lab_start(&lab);
    load("SAME");
    load("NEWER");
    load("CUT");
    ck_assert_int_eq(sign_in("NEWER"), 0);
    cut_load("PEND", LOADED_MESSAGE); /* b: pending here, unconfirmed there */
    cut_load("HELD", LOADED_MESSAGE); /* b: the same, */
    lab_arm(&lab, "ARMED", 3);        /* b: an open window */
    backup(file);
    load("NEWER");                                         /* a: another TMK, */
    cut_load("CUT", DONE_MESSAGE);                         /* a: active here, unconfirmed there */
    ck_assert_int_eq(lab_load(&lab, "PEND", lab.port), 0); /* a: its Confirm */
    terminals((const char *const[]){"LATE", NULL});
    load("LATE"); /* a: registered, and loaded */
    ck_assert_int_eq(active_version("PEND"), 1);
}

START_TEST(every_terminal_recovers)
{
    static const char *const abandon_all[] = {"--abandon-all", NULL};
    const char *file;
    struct lab_tmk none[LAB_TMK_MAX];
    struct proc proc;
    unsigned first;
    char *said;

    lab_begin(&lab, "drill");
    file = in_run("b.db");
    lab_set(&lab, "policy", "host-fallback", "yes"); /* for sign-ins under TDES */
    the_past(file);
    ctl(75, "stop it first", "store", "restore", file, NULL);
    lab_stop(&lab);
    said = lab_ctl(&lab, "store", "restore", file, NULL);
    ck_assert_ptr_nonnull(strstr(said, "before-restore-"));
    free(said);
    verify(0, NULL, NULL);
    ctl(0, NULL, "store", "verify", "--keys", NULL);
    ck_assert(!has_terminal("LATE"));
    since("SAME", "unheard");
    since("NEWER", "behind"); /* the store of before could be read */
    since("PEND", "behind");
    said = lab_ctl(&lab, "audit", "list", NULL);
    ck_assert_ptr_nonnull(strstr(said, "store-restored"));
    free(said);

    lab_start(&lab);
    ck_assert_int_eq(sign_in("SAME"), 0);
    since("SAME", "signed-in");
    ck_assert_int_ne(sign_in("NEWER"), 0);
    lab_await_alarm(&lab, "NEWER", "not-found", 1);
    /* No window of before is open. */
    ck_assert_int_ne(lab_load(&lab, "ARMED", lab.port), 0);
    ck_assert_uint_eq(lab_store(&lab, "ARMED", none), 0);
    load("ARMED");
    load("NEWER");
    first = active_version("NEWER");
    ck_assert_uint_gt(first, LEAP);
    ck_assert_int_eq(sign_in("NEWER"), 0);
    since("NEWER", "loaded");
    /* What was pending is answered "drop", and the same command goes on with a load. */
    lab_arm(&lab, "HELD", 3);
    ck_assert_int_eq(lab_load(&lab, "HELD", lab.port), 0);
    lab_agree(&lab, "HELD");
    load("PEND");
    /* A candidate that the store knows nothing of cannot be dropped by its word; an operator can.
     */
    lab_arm(&lab, "CUT", 3);
    ck_assert_int_ne(lab_load(&lab, "CUT", lab.port), 0);
    lab_load_start(&lab, "CUT", lab.port, abandon_all, &proc);
    ck_assert_int_eq(proc_wait(&proc, LAB_LOAD_SECONDS), 0);
    lab_agree(&lab, "CUT");
    ck_assert_uint_gt(active_version("CUT"), LEAP);
    /* Registered again, it goes on above what its PIN pad remembers. */
    lab_register(&lab, "LATE", "tdes2");
    load("LATE");
    ck_assert_uint_gt(active_version("LATE"), LEAP);
    lab_stop(&lab);

    /* The same backup once more: what was given out since is not given out again. */
    free(lab_ctl(&lab, "store", "restore", file, NULL));
    lab_start(&lab);
    ck_assert_int_ne(sign_in("NEWER"), 0);
    load("NEWER");
    ck_assert_uint_gt(active_version("NEWER"), first + LEAP / 2);
    lab_end(&lab);
}
END_TEST

/* ---- Restore: what is there ---- */

static void overwrite(const char *path, off_t at, size_t len, char with)
{
    char junk[8192];
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    memset(junk, with, sizeof(junk));
    ck_assert_uint_le(len, sizeof(junk));
    ck_assert_int_eq(pwrite(fd, junk, len, at), (ssize_t)len);
    close(fd);
}

/* _i: nothing there; a header that is none, and a WAL beside it; pages that are none; cut off. */
START_TEST(over_a_damaged_store)
{
    const char *file;
    char name[32], wal[PATH_MAX + 8], says[PATH_MAX + 64];
    struct stat st;

    snprintf(name, sizeof(name), "damaged-%d", _i);
    lab_begin(&lab, name);
    file = in_run("b.db");
    terminals((const char *const[]){"A", NULL});
    lab_start(&lab);
    load("A");
    backup(file);
    load("A");
    snprintf(wal, sizeof(wal), "%s-wal", lab.store);
    if (_i == 1) {
        lab_kill(&lab); /* leaves its WAL */
        ck_assert_int_eq(access(wal, F_OK), 0);
        overwrite(lab.store, 0, 100, 'x');
        overwrite(wal, 0, 100, 'x');
    } else {
        lab_stop(&lab);
    }
    if (_i == 0) {
        ck_assert_uint_eq(lab_log_count(&lab, "event=store-made"), 0);
        ck_assert_int_eq(unlink(lab.store), 0);
        lab_start(&lab);
        ck_assert_uint_eq(lab_log_count(&lab, "event=store-made"), 1);
        lab_stop(&lab);
        ck_assert_int_eq(unlink(lab.store), 0);
    } else if (_i == 2) {
        overwrite(lab.store, 4096, 8192, 'x');
        snprintf(says, sizeof(says), "keyloaderctl: %s: the store is damaged", lab.store);
        verify(74, says, NULL);
    } else if (_i == 3) {
        ck_assert_int_eq(truncate(lab.store, 5000), 0);
    }
    free(lab_ctl(&lab, "store", "restore", file, NULL));
    verify(0, NULL, NULL);
    ck_assert(stat(wal, &st) != 0 || st.st_size == 0); /* nothing of before is left in it */
    lab_start(&lab);
    ck_assert_int_ne(sign_in("A"), 0);
    load("A");
    ck_assert_uint_gt(active_version("A"), LEAP);
    lab_end(&lab);
}
END_TEST

/* ---- The way back to an older keyloader ---- */

/* The newer one was killed, and has left its WAL. What makes a store one of schema 3 is here its
 * number alone. */
START_TEST(to_an_older_one)
{
    const char *file;
    char wal[PATH_MAX + 8];
    char *said;

    lab_begin(&lab, "older");
    file = in_run("b.db");
    terminals((const char *const[]){"A", NULL});
    lab_start(&lab);
    backup(file);
    terminals((const char *const[]){"B", NULL});
    ctl(75, "stop it first", "store", "restore", "--keep-schema", file);
    lab_kill(&lab);
    snprintf(wal, sizeof(wal), "%s-wal", lab.store);
    ck_assert_int_eq(access(wal, F_OK), 0);
    ctl(65, "not of an older one", "store", "restore", "--keep-schema", file);
    ck_assert(has_terminal("B"));
    (void)lab_sql(file, "PRAGMA user_version = 3");
    verify(74, "keyloaderctl store restore", file);
    said = lab_ctl(&lab, "store", "restore", "--keep-schema", file, NULL);
    ck_assert_ptr_nonnull(strstr(said, "before-restore-"));
    free(said);
    ck_assert_int_ne(access(wal, F_OK), 0);
    verify(74, "schema version 3", NULL);
    ctl(0, "event=store-migrated", "store", "migrate", NULL, NULL);
    verify(0, NULL, NULL);
    ck_assert(has_terminal("A") && !has_terminal("B"));
    lab_end(&lab);
}
END_TEST

/* ---- Bad backups ---- */

static const struct {
    const char *sql, *says;
    int status;
} bad[] = {
    {"DROP TRIGGER audit_no_update; UPDATE audit SET detail = 'x' WHERE id = 2", "audit trail", 76},
    {"DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE id = 2", "audit trail", 76},
    {"DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
     "the end was cut off", 76},
    {"DROP INDEX tmk_one_active", "schema", 76},
    {"CREATE TRIGGER mine AFTER INSERT ON tmk BEGIN DELETE FROM working; END", "schema", 76},
    {"UPDATE tmk SET cryptogram = randomblob(24)", "digest", 76},
    {"UPDATE tmk SET wrap = 2", "another storage key", 76},
    {"PRAGMA foreign_keys = OFF; DELETE FROM terminal", "is not there", 74},
    {"UPDATE terminal SET attempts_left = 1000", "armed as none", 76},
    {"PRAGMA application_id = 1", "is not a keyloader store", 74},
    {"PRAGMA user_version = 99", "schema version 99", 74},
};

START_TEST(bad_backups)
{
    const char *good, *file;
    char name[32], *before, *after;

    snprintf(name, sizeof(name), "bad-%d", _i);
    lab_begin(&lab, name);
    good = in_run("good.db");
    file = in_run("bad.db");
    terminals((const char *const[]){"A", NULL});
    lab_start(&lab);
    load("A");
    lab_stop(&lab);
    backup(good);
    before = lab_store_dump(&lab);
    lab_copy_file(good, file);
    ck_assert_int_eq(chmod(file, 0600), 0);
    (void)lab_sql(file, bad[_i].sql);
    verify(bad[_i].status, bad[_i].says, file);
    ctl(bad[_i].status, bad[_i].says, "store", "restore", file, NULL);
    after = lab_store_dump(&lab);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
    ctl(66, NULL, "store", "restore", in_run("none.db"), NULL);
    lab_end(&lab);
}
END_TEST

/* A backup with damaged bytes anywhere is seen to be so, or is still whole in all that counts. */
START_TEST(damaged_backups)
{
    const char *good, *file;
    struct stat st;

    lab_begin(&lab, "flips");
    good = in_run("good.db");
    file = in_run("bad.db");
    terminals((const char *const[]){"A", NULL});
    lab_start(&lab);
    load("A");
    lab_stop(&lab);
    backup(good);
    ck_assert_int_eq(stat(good, &st), 0);
    for (off_t at = 0; at < st.st_size; at += 4096) {
        lab_copy_file(good, file);
        ck_assert_int_eq(chmod(file, 0600), 0);
        overwrite(file, at + (at == 0 ? 100 : 0), 64, 'x');
        int status = lab_ctl_status(&lab, "store", "verify", file, NULL);
        ck_assert_msg(status == 74 || status == 76, "page %ld: %d", (long)(at / 4096), status);
    }
    lab_copy_file(good, file);
    ck_assert_int_eq(chmod(file, 0600), 0);
    ck_assert_int_eq(truncate(file, st.st_size / 2), 0);
    verify(74, NULL, file);
    ck_assert_int_eq(chmod(good, 0644), 0);
    verify(74, "chmod 600", good);
    lab_end(&lab);
}
END_TEST

/* ---- kill -9 ---- */

/* Runs keyloaderctl and kills it after some time below that; 1 if it had ended by itself. */
static int killed(unsigned below_us, const char *const *args)
{
    const char *argv[PROC_ARGS] = {lab_built("bin/keyloaderctl"), "-c", lab.conf};
    char env[PATH_MAX + 32];
    struct proc proc;
    unsigned random;
    int status;

    for (size_t i = 0; args[i]; i++) {
        argv[3 + i] = args[i];
    }
    snprintf(env, sizeof(env), "SOFTHSM2_CONF=%s/hsm/softhsm2.conf", lab.dir);
    ck_assert_int_eq(getrandom(&random, sizeof(random), 0), sizeof(random));
    proc_spawn(&proc, lab.logs, (const char *const[]){env, NULL}, argv);
    usleep(random % below_us);
    status = proc_poll(&proc);
    proc_kill(&proc);
    return status >= 0;
}

START_TEST(backup_killed)
{
    const char *file;
    struct stat st;

    lab_begin(&lab, "kill-backup");
    file = in_run("b.db");
    terminals((const char *const[]){"A", "B", NULL});
    for (int i = 0; i < KILLS; i++) {
        (void)unlink(file);
        (void)killed(60000, (const char *const[]){"store", "backup", "--out", file, NULL});
        if (stat(file, &st) == 0) {
            verify(0, NULL, file);
        }
        verify(0, NULL, NULL);
    }
    (void)unlink(file);
    backup(file); /* and what was left lying is gone */
    char pattern[PATH_MAX + 32];
    snprintf(pattern, sizeof(pattern), "test $(ls '%s' | grep -c part) = 0", lab.run);
    ck_assert_int_eq(system(pattern), 0);
    lab_end(&lab);
}
END_TEST

/* _i 1: the store is one that SQLite cannot write to. */
START_TEST(restore_killed)
{
    const char *file;
    int whole, was = 0, is_new = 0;

    lab_begin(&lab, _i ? "kill-restore-damaged" : "kill-restore");
    file = in_run("b.db");
    terminals((const char *const[]){"A", "B", NULL});
    backup(file);
    for (int i = 0; i < KILLS; i++) {
        if (_i == 0 && !has_terminal("NEW")) {
            lab_register(&lab, "NEW", "aes128");
        }
        if (_i == 1) {
            overwrite(lab.store, 0, 100, 'x');
        }
        (void)killed(60000, (const char *const[]){"store", "restore", file, NULL});
        whole = lab_ctl_status(&lab, "store", "verify", NULL) == 0;
        ck_assert(whole || _i == 1);
        is_new += whole && !has_terminal("NEW");
        was += !whole || has_terminal("NEW");
    }
    ck_assert_int_eq(was + is_new, KILLS);
    free(lab_ctl(&lab, "store", "restore", file, NULL));
    verify(0, NULL, NULL);
    ck_assert(!has_terminal("NEW"));
    lab_start(&lab);
    load("A");
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("backup");
    TCase *tcase = tcase_create("backup");

    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, while_it_serves);
    tcase_add_test(tcase, without_room);
    tcase_add_test(tcase, every_terminal_recovers);
    tcase_add_loop_test(tcase, over_a_damaged_store, 0, 4);
    tcase_add_test(tcase, to_an_older_one);
    tcase_add_loop_test(tcase, bad_backups, 0, (int)(sizeof(bad) / sizeof(bad[0])));
    tcase_add_test(tcase, damaged_backups);
    tcase_add_test(tcase, backup_killed);
    tcase_add_loop_test(tcase, restore_killed, 0, 2);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
