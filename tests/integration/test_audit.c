/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit trail of a running centre: the HSM signs checkpoints, a killed daemon leaves the chain
 * whole, archives are made while it serves, and syslog gets every record.
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf/cli.h"
#include "tests/support/control.h"
#include "tests/support/lab.h"
#include "tests/support/lab_keys.h"
#include "tests/support/suite.h"

static struct lab lab;
static char key_path[PATH_MAX];

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void begin(const char *name)
{
    lab_begin(&lab, name);
    lab_terminal(&lab, "T1", "tdes2");
    free(lab_ctl(&lab, "audit", "key", "export", "--out", file_path(key_path, lab.run, "key.pem"),
                 "--force", NULL));
}

static void load_once(const char *serial)
{
    lab_arm(&lab, serial, 1);
    ck_assert_int_eq(lab_load(&lab, serial, lab.port), 0);
}

static int64_t number_of(json_t *report, const char *name)
{
    json_t *value = json_object_get(report, name);

    ck_assert_msg(json_is_integer(value), "%s", name);
    return json_integer_value(value);
}

/* Verified with the key; how far it goes, and how far it is signed. */
static void verified(int64_t *last, int64_t *covered)
{
    json_t *report =
        lab_ctl_json(&lab, "audit", "verify", "--store", lab.store, "--key", key_path, NULL);

    ck_assert(json_is_true(json_object_get(report, "whole")));
    *last = number_of(report, "last");
    *covered = number_of(report, "covered_to");
    json_decref(report);
}

/* Waits until fewer than `few` records at the end are not signed yet. */
static void wait_signed(int64_t few, int64_t *last, int64_t *covered)
{
    for (int i = 0; i < 40; i++) {
        proc_sleep_ms(500);
        if (lab_ctl_status(&lab, "audit", "verify", "--store", lab.store, "--key", key_path,
                           NULL) == 0) {
            verified(last, covered);
            if (*last - *covered < few) {
                return;
            }
        }
    }
    ck_abort_msg("no checkpoint came");
}

/* ---- Checkpoints ---- */

START_TEST(checkpoints)
{
    int64_t last, covered;

    begin("checkpoints");
    lab_set(&lab, "audit", "checkpoint-every", "3");
    lab_start(&lab);
    load_once("T1");
    load_once("T1");
    wait_signed(3, &last, &covered);
    ck_assert_int_ge(last, 6);
    load_once("T1");
    lab_stop(&lab);
    verified(&last, &covered); /* all of it, once the daemon has ended */
    ck_assert_int_eq(last, covered);
    lab_end(&lab);
}
END_TEST

/* An auditor has the store's file and the key, and neither configuration nor HSM. */
START_TEST(offline)
{
    char program[PATH_MAX], *head = NULL, *colon;
    struct proc proc;
    int64_t last, covered;

    begin("offline");
    lab_start(&lab);
    load_once("T1");
    lab_stop(&lab);
    verified(&last, &covered);
    head = lab_ctl(&lab, "audit", "head", NULL);
    head[strcspn(head, "\n")] = '\0';
    ck_assert_ptr_nonnull(colon = strchr(head, ':'));
    ck_assert_int_eq(strtoll(head, NULL, 10), last);
    snprintf(program, sizeof(program), "%s", lab_built("bin/keyloaderctl"));
    for (int i = 0; i < 2; i++) {
        const char *const argv[] = {program,  "-c",       "/nonexistent", "audit",
                                    "verify", "--store",  lab.store,      "--key",
                                    key_path, "--expect", head,           NULL};
        const char *const env[] = {"SOFTHSM2_CONF=/nonexistent", NULL};
        proc_spawn(&proc, lab.logs, env, argv);
        ck_assert_int_eq(proc_wait(&proc, 20), i == 0 ? 0 : 76);
        colon[1] = colon[1] == '0' ? '1' : '0'; /* another head than there is */
    }
    free(head);
    lab_end(&lab);
}
END_TEST

/* Without the key terminals are served all the same, and it is said; made while the daemon runs, it
 * is found. */
START_TEST(no_key)
{
    int64_t last, covered;

    begin("no-key");
    lab_set(&lab, "hsm", "audit-key", "late-audit-key");
    lab_set(&lab, "audit", "checkpoint-every", "1");
    lab_start(&lab);
    load_once("T1");
    ck_assert(lab_logged(&lab, "audit-unsigned", 20));
    ck_assert_int_eq(lab_ctl_status(&lab, "audit", "key", "show", NULL), 69);
    free(lab_ctl(&lab, "audit", "key", "generate", NULL));
    free(lab_ctl(&lab, "audit", "key", "export", "--out", key_path, "--force", NULL));
    load_once("T1");
    ck_assert(lab_logged(&lab, "audit-signed", 40));
    lab_stop(&lab);
    verified(&last, &covered);
    ck_assert_int_eq(last, covered);
    lab_end(&lab);
}
END_TEST

/* ---- Killed at any instant ---- */

START_TEST(killed)
{
    int64_t last, covered, before = 0;
    struct proc terminal;

    begin("killed");
    lab_set(&lab, "audit", "checkpoint-every", "1");
    lab_start(&lab);
    load_once("T1");
    lab_stop(&lab);
    for (unsigned i = 0; i < 12; i++) {
        lab_start(&lab);
        lab_arm(&lab, "T1", 2);
        lab_load_start(&lab, "T1", lab.port, NULL, &terminal);
        proc_sleep_ms((i * 137) % 400);
        lab_kill(&lab);
        (void)proc_wait(&terminal, LAB_LOAD_SECONDS);
        verified(&last, &covered);
        ck_assert_int_gt(last, before); /* the arming, at least */
        before = last;
    }
    lab_start(&lab);
    lab_stop(&lab);
    verified(&last, &covered);
    ck_assert_int_eq(last, covered);
    lab_end(&lab);
}
END_TEST

/* ---- Rewritten under the daemon's eyes ---- */

/* A signature over what somebody put in its place would make it true. */
START_TEST(rewritten)
{
    char sock[CONTROL_PATH];
    int64_t last, covered;
    json_t *report, *trail;

    begin("rewritten");
    control_begin(&lab, sock);
    lab_set(&lab, "control", "operators", "");
    lab_set(&lab, "control", "auditors", "");
    lab_set(&lab, "audit", "checkpoint-every", "1");
    lab_start(&lab);
    load_once("T1");
    wait_signed(1, &last, &covered);
    ck_assert_int_eq(lab_sql(lab.store, "DROP TRIGGER audit_no_update;"
                                        "UPDATE audit SET hash = zeroblob(32)"
                                        " WHERE id = (SELECT max(id) FROM audit)"),
                     1);
    ck_assert(lab_logged(&lab, "is not the one that was seen before", 20));
    load_once("T1"); /* terminals are served all the same */
    report = lab_ctl_json(&lab, "status", NULL);
    trail = json_object_get(report, "audit");
    ck_assert(json_is_false(json_object_get(trail, "signed")));
    ck_assert_int_eq(number_of(trail, "checkpoint"), covered);
    json_decref(report);
    lab_stop(&lab);
    ck_assert_int_eq(lab_ctl_status(&lab, "audit", "verify", "--store", lab.store, NULL), 76);
    control_end(sock);
    lab_end(&lab);
}
END_TEST

/* ---- Archives ---- */

START_TEST(archived_while_serving)
{
    char one[PATH_MAX], two[PATH_MAX];
    json_t *report;
    struct proc terminal;
    int64_t last, covered, archived;

    begin("archive");
    file_path(one, lab.run, "audit-1");
    file_path(two, lab.run, "audit-2");
    lab_set(&lab, "audit", "checkpoint-every", "2");
    lab_start(&lab);
    load_once("T1");
    wait_signed(2, &last, &covered);
    lab_arm(&lab, "T1", 1);
    lab_load_start(&lab, "T1", lab.port, NULL, &terminal);
    report = lab_ctl_json(&lab, "audit", "archive", "--out", one, "--key", key_path, NULL);
    archived = number_of(report, "records");
    ck_assert_int_ge(archived, 3);
    json_decref(report);
    ck_assert_int_eq(proc_wait(&terminal, LAB_LOAD_SECONDS), 0);
    load_once("T1");
    wait_signed(2, &last, &covered);
    ck_assert_int_eq(lab_ctl_status(&lab, "audit", "archive", "--out", one, NULL), 73);
    free(lab_ctl(&lab, "audit", "archive", "--out", two, NULL));
    load_once("T1");
    lab_stop(&lab);
    report = lab_ctl_json(&lab, "audit", "verify", "--archive", one, "--archive", two, "--store",
                          lab.store, "--key", key_path, NULL);
    ck_assert_int_eq(number_of(report, "first"), 1);
    ck_assert_int_eq(number_of(report, "records"), number_of(report, "last"));
    ck_assert_int_eq(number_of(report, "last"), number_of(report, "covered_to"));
    json_decref(report);
    verified(&last, &covered); /* the store alone: from the archives' end on */
    ck_assert_int_eq(lab_ctl_status(&lab, "audit", "verify", "--archive", one, "--store", lab.store,
                                    NULL),
                     76);
    lab_settled(&lab, "T1", 4);
    lab_end(&lab);
}
END_TEST

/* ---- Syslog ---- */

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = 10};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)unlink(path);
    ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    return fd;
}

/* Reads until record `last`; each must follow the one before it, or come again. Returns the last
 * line. */
static void receive(int fd, int64_t from, int64_t last, char line[2048])
{
    int64_t next = from;

    while (next <= last) {
        ssize_t n = recv(fd, line, 2047, 0);
        ck_assert_msg(n > 0, "record %d did not come", (int)next);
        line[n] = '\0';
        const char *at = strstr(line, " id=");
        ck_assert_msg(at != NULL, "%s", line);
        int64_t id = strtoll(at + 4, NULL, 10);
        ck_assert_msg(id <= next, "record %d came before %d", (int)id, (int)next);
        ck_assert_ptr_nonnull(strstr(line, " hash="));
        ck_assert_int_eq(strncmp(line, "<85>", 4), 0); /* authpriv.notice */
        next = id == next ? next + 1 : next;
    }
}

static int64_t head_id(char hash[80])
{
    char *head = lab_ctl(&lab, "audit", "head", NULL), *colon = strchr(head, ':');
    int64_t id = strtoll(head, NULL, 10);

    ck_assert_ptr_nonnull(colon);
    snprintf(hash, 80, "hash=%.64s", colon + 1);
    free(head);
    return id;
}

START_TEST(to_syslog)
{
    char path[PATH_MAX], line[2048], hash[80];
    int64_t last, from;
    int fd;

    begin("syslog");
    file_path(path, lab.run, "s");
    fd = listen_at(path);
    lab_set(&lab, "audit", "syslog", "yes");
    lab_set(&lab, "audit", "syslog-socket", path);
    lab_start(&lab);
    load_once("T1");
    last = head_id(hash);
    receive(fd, 1, last, line); /* what keyloaderctl wrote, too */
    ck_assert_msg(strstr(line, hash) != NULL, "%s", line);
    ck_assert_ptr_nonnull(strstr(line, "audit=tmk-active"));
    /* A checkpoint that cannot be read ends signing, not this. */
    wait_signed(1000, &last, &from);
    last = head_id(hash);
    ck_assert_int_gt(lab_sql(lab.store, "PRAGMA ignore_check_constraints = 1;"
                                        "DROP TRIGGER checkpoint_no_update;"
                                        "UPDATE audit_checkpoint SET key = x'00'"),
                     0);
    ck_assert(lab_logged(&lab, "checkpoint of the audit trail is damaged", 20));
    /* Nobody there: terminals are served, and later all arrives. */
    close(fd);
    ck_assert_int_eq(unlink(path), 0);
    load_once("T1");
    ck_assert(lab_logged(&lab, "audit-syslog-unreachable", 10));
    from = last + 1;
    last = head_id(hash);
    fd = listen_at(path);
    receive(fd, from, last, line);
    /* Nobody reads: the socket's buffer fills up, and loads go on. */
    for (int i = 0; i < 3; i++) {
        load_once("T1");
    }
    lab_stop(&lab);
    from = last + 1;
    last = head_id(hash);
    lab_start(&lab);
    receive(fd, from, last, line);
    ck_assert_msg(strstr(line, hash) != NULL, "%s", line);
    lab_stop(&lab);
    close(fd);
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit");
    TCase *tc = tcase_create("audit");

    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_set_timeout(tc, 180);
    tcase_add_test(tc, checkpoints);
    tcase_add_test(tc, offline);
    tcase_add_test(tc, no_key);
    tcase_add_test(tc, killed);
    tcase_add_test(tc, rewritten);
    tcase_add_test(tc, archived_while_serving);
    tcase_add_test(tc, to_syslog);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
