/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store's disk is full, or the log's, while the daemon serves. New loads are told to try again
 * before anything is spent or sent; what was under way is confirmed later; nothing that was durable
 * is lost; and with room it goes on by itself. By a limit on the size of files, which a running
 * daemon can be given, and, where we may mount one, by a small file system of its own.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/lab_keys.h"
#include "tests/support/suite.h"

#define BUSY_STATUS 75 /* of terminal-sim: told to try again later */
#define LOADED_MESSAGE 4

static struct lab lab;

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static int attempts_left(const char *serial)
{
    json_t *shown = lab_ctl_json(&lab, "terminal", "show", serial, NULL);
    int left = atoi(lab_text(shown, "attempts_left"));

    json_decref(shown);
    return left;
}

/* ---- Two ways of having no room ---- */

static void limit_daemon(rlim_t bytes)
{
    const struct rlimit limit = {bytes, RLIM_INFINITY};

    ck_assert_int_eq(prlimit(lab.daemon.pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* What the write-ahead log has now is all that it may have. */
static void no_room_by_limit(void)
{
    char wal[PATH_MAX + 8];
    struct stat st;

    snprintf(wal, sizeof(wal), "%s-wal", lab.store);
    ck_assert_int_eq(stat(wal, &st), 0);
    limit_daemon((rlim_t)st.st_size);
}

static void room_by_limit(void)
{
    limit_daemon(RLIM_INFINITY);
}

static void filler(char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%.4000s.filler", lab.store);
}

static void no_room_by_file(void)
{
    char path[PATH_MAX], block[4096] = "filler";
    int fd;

    filler(path);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    while (write(fd, block, sizeof(block)) > 0) {
    }
    ck_assert_int_eq(errno, ENOSPC);
    close(fd);
}

static void room_by_file(void)
{
    char path[PATH_MAX];

    filler(path);
    ck_assert_int_eq(unlink(path), 0);
}

/* In a mount namespace of this test's own, which ends with it. 0: we may not. */
static int mount_small(const char *dir)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=0700") == 0;
}

/* ---- The store's disk ---- */

/* A load whose TMK is pending when there is no room any more, one that is to begin then, and one
 * that was done before. */
static void outage(void (*no_room)(void), void (*room)(void))
{
    const struct relay_plan plan = {.act = RELAY_HOLD_BEFORE, .message = LOADED_MESSAGE};
    struct lab_tmk tmks[LAB_TMK_MAX];
    struct proc cut;
    struct relay *relay;

    lab_terminal(&lab, "DONE", "tdes2");
    lab_terminal(&lab, "CUT", "tdes2");
    lab_terminal(&lab, "NEW", "tdes2");
    lab_start(&lab);
    for (int i = 0; i < 3; i++) {
        lab_arm(&lab, (const char *const[]){"DONE", "CUT", "NEW"}[i], 3);
    }
    ck_assert_int_eq(lab_load(&lab, "DONE", lab.port), 0);
    relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    lab_load_start(&lab, "CUT", relay_port(relay), NULL, &cut);
    ck_assert(relay_wait_hold(relay, proc_seconds(20) * 1000));
    no_room();
    relay_release(relay);
    ck_assert_int_eq(proc_wait(&cut, LAB_LOAD_SECONDS), BUSY_STATUS);
    relay_stop(relay);
    ck_assert(lab_logged(&lab, "event=store-trouble state=full", 10));
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(lab_load(&lab, "NEW", lab.port), BUSY_STATUS);
    }
    ck_assert_int_eq(lab_sign_in(&lab, "DONE", lab.port, "keys", NULL), BUSY_STATUS);
    ck_assert_uint_eq(lab_log_count(&lab, "event=store-trouble"), 1);
    ck_assert_uint_eq(lab_log_count(&lab, "level=warn event=refused"), 0);
    ck_assert_uint_eq(lab_store(&lab, "NEW", tmks), 0);
    ck_assert_uint_eq(lab_pinpad(&lab, "NEW", tmks), 0);
    ck_assert_int_eq(attempts_left("NEW"), 3);
    ck_assert_uint_eq(lab_store(&lab, "CUT", tmks), 1);
    ck_assert_str_eq(tmks[0].state, "pending");
    room();
    ck_assert(lab_logged(&lab, "event=store-recovered was=full", 70));
    ck_assert_int_eq(lab_load(&lab, "CUT", lab.port), 0); /* its Confirm */
    ck_assert_int_eq(lab_load(&lab, "NEW", lab.port), 0);
    lab_settled(&lab, "DONE", 1);
    lab_settled(&lab, "CUT", 1);
    lab_settled(&lab, "NEW", 1);
    lab_end(&lab);
}

START_TEST(a_limit)
{
    lab_begin(&lab, "limit");
    outage(no_room_by_limit, room_by_limit);
}
END_TEST

START_TEST(a_small_file_system)
{
    char dir[PATH_MAX];

    lab_begin(&lab, "small");
    if (!mount_small(file_path(dir, lab.run, "store"))) {
        printf("a small file system: not allowed to mount one here\n");
        return;
    }
    outage(no_room_by_file, room_by_file);
}
END_TEST

/* A daemon that is killed while it has no room has lost nothing either. */
START_TEST(killed_without_room)
{
    lab_begin(&lab, "killed");
    lab_terminal(&lab, "A", "tdes2");
    lab_terminal(&lab, "B", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "A", 3);
    lab_arm(&lab, "B", 3);
    ck_assert_int_eq(lab_load(&lab, "A", lab.port), 0);
    no_room_by_limit();
    ck_assert_int_eq(lab_load(&lab, "B", lab.port), BUSY_STATUS);
    lab_kill(&lab);
    lab_start(&lab);
    lab_settled(&lab, "A", 1);
    ck_assert_int_eq(lab_load(&lab, "B", lab.port), 0);
    lab_settled(&lab, "B", 1);
    lab_end(&lab);
}
END_TEST

/* ---- The log's disk ---- */

/* Both at once, which is one disk for both: the log says afterwards how much it lacks. */
START_TEST(nor_room_for_the_log)
{
    lab_begin(&lab, "log-full");
    lab_terminal(&lab, "A", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "A", 3);
    limit_daemon(1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(lab_load(&lab, "A", lab.port), BUSY_STATUS);
    }
    limit_daemon(RLIM_INFINITY);
    ck_assert(lab_logged(&lab, "event=log-lines-lost count=", 70));
    ck_assert(lab_logged(&lab, "event=store-recovered was=full", 70));
    ck_assert_int_eq(lab_load(&lab, "A", lab.port), 0);
    lab_settled(&lab, "A", 1);
    lab_end(&lab);
}
END_TEST

/* A log that takes nothing at all, ever: loads go on. */
START_TEST(a_log_that_takes_nothing)
{
    static const char *const prefix[] = {"/bin/sh", "-c", "exec \"$@\" 2>/dev/full", "sh", NULL};

    lab_begin(&lab, "log-dead");
    lab_set(&lab, "listen", "port", "0");
    lab_terminal(&lab, "A", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "A", 3);
    ck_assert_int_eq(lab_load(&lab, "A", lab.port), 0);
    lab_stop(&lab);
    /* The port is in the log: so it must be one that is known, that of before. */
    char port[8];
    snprintf(port, sizeof(port), "%u", lab.port);
    lab_set(&lab, "listen", "port", port);
    lab.daemon_prefix = prefix;
    lab_spawn(&lab);
    lab_arm(&lab, "A", 3);
    int status = -1;
    for (int tries = 0; tries < 100 && status != 0; tries++) {
        proc_sleep_ms(100);
        status = lab_load(&lab, "A", lab.port);
    }
    ck_assert_int_eq(status, 0);
    lab_settled(&lab, "A", 2);
    lab_end(&lab);
    lab.daemon_prefix = NULL;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("disk full");
    TCase *tcase = tcase_create("full");

    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, a_limit);
    tcase_add_test(tcase, a_small_file_system);
    tcase_add_test(tcase, killed_without_room);
    tcase_add_test(tcase, nor_room_for_the_log);
    tcase_add_test(tcase, a_log_that_takes_nothing);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
