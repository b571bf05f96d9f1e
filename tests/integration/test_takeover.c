/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An upgrade without downtime: a new daemon takes port and store over from the one that serves, and
 * no load fails for it. Whatever goes wrong with the new one, the old one serves on.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/process/handover_impl.h"
#include "tests/support/lab.h"
#include "tests/support/lab_loads.h"
#include "tests/support/peer.h"
#include "tests/support/suite.h"

#define NOBODY 65534

static struct lab lab;
static struct kl_err err;

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void end(void)
{
    lab_end(&lab);
}

static const char *const take_over[] = {"--take-over", NULL};

static void begin(const char *name)
{
    lab_begin(&lab, name);
    lab_start(&lab);
    lab_terminal(&lab, "T", "tdes2");
}

/* Until the log of that process has `text`. */
static int logged(const struct proc *proc, const char *text)
{
    for (int ms = 0; ms < proc_seconds(30) * 1000; ms += 20) {
        char *log = file_read(proc->err, NULL);
        int found = strstr(log, text) != NULL;
        free(log);
        if (found) {
            return 1;
        }
        proc_sleep_ms(20);
    }
    return 0;
}

static void still_serves(void)
{
    lab_arm(&lab, "T", 1);
    ck_assert_int_eq(lab_load(&lab, "T", lab.port), 0);
}

/* ---- While they load ---- */

static struct lab_loads loads;

/* Another daemon takes over, and is the lab's from then on. */
static void replace_daemon(void)
{
    struct proc next = {0};
    int status = -1;

    lab.daemon_args = take_over;
    lab_spawn_another(&lab, &next);
    lab.daemon_args = NULL;
    for (int ms = 0; status == -1 && ms < proc_seconds(40) * 1000; ms += 10) {
        status = proc_poll(&lab.daemon);
        lab_loads_go_on(&loads, 1);
        proc_sleep_ms(10);
    }
    ck_assert_msg(status == 0, "the old one: %d: %s", status, file_read(next.err, NULL));
    ck_assert_uint_eq(lab_log_count(&lab, "event=refused"), 0);
    ck_assert_uint_eq(lab_log_count(&lab, "event=handed-over"), 1);
    lab.daemon = next;
    ck_assert(lab_logged(&lab, "event=taken-over", 5));
}

START_TEST(three_in_a_row)
{
    lab_begin(&lab, "three");
    lab_set(&lab, "hsm", "workers", "2");
    lab_start(&lab);
    lab_loads_make(&loads, &lab, NULL);
    lab_loads_begin(&loads);
    for (int i = 0; i < 3; i++) {
        unsigned before = loads.terminals[0].loads;
        replace_daemon();
        for (int ms = 0; loads.terminals[0].loads == before && ms < proc_seconds(30) * 1000;
             ms += 10) {
            lab_loads_go_on(&loads, 1);
            proc_sleep_ms(10);
        }
    }
    lab_loads_end(&loads, 3);
    ck_assert_uint_eq(lab_log_count(&lab, "event=refused"), 0);
}
END_TEST

/* Who connects while nobody accepts waits; a peer that says nothing holds nobody up. */
START_TEST(waits_in_the_backlog)
{
    struct proc next = {0};
    int idle;

    begin("backlog");
    idle = peer_dial(lab.port);
    proc_sleep_ms(200);
    lab.daemon_args = take_over;
    lab_spawn_another(&lab, &next);
    lab.daemon_args = NULL;
    ck_assert(lab_logged(&lab, "event=handover pid", 30));
    still_serves(); /* begun in the old one's second for idle peers, served by the new one */
    ck_assert_int_eq(proc_wait(&lab.daemon, 20), 0);
    lab.daemon = next;
    close(idle);
    still_serves();
}
END_TEST

/* ---- A new one that does not get there ---- */

static int dial_handover(void)
{
    struct kl_handover_place place;
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(kl_handover_place(lab.store, &place, &err), KL_OK);
    ck_assert_int_eq(kl_handover_address(&place, place.name, &address, &err), KL_OK);
    ck_assert_msg(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "%s", place.name);
    close(place.dir);
    return fd;
}

static void say(int fd, enum kl_handover_kind kind)
{
    const struct kl_handover_msg msg = kl_handover_msg(kind);

    ck_assert_int_eq(kl_handover_send(fd, &msg, NULL, &err), KL_OK);
}

/* The kind of the next message, or 0 if the daemon hangs up. */
static uint32_t hear(int fd, struct kl_handover_msg *msg, struct kl_sockets *sockets)
{
    enum kl_rc rc = KL_ERR_BUSY;

    for (int ms = 0; rc == KL_ERR_BUSY && ms < proc_seconds(20) * 1000; ms += 10) {
        rc = kl_handover_receive(fd, msg, sockets, &err);
        proc_sleep_ms(rc == KL_ERR_BUSY ? 10 : 0);
    }
    ck_assert_msg(rc == KL_OK || rc == KL_ERR_CLOSED, "%s", err.text);
    return rc == KL_OK ? msg->kind : 0;
}

/* The operators' socket and the monitor's are the new one's, and the old one does not remove them;
 * nor are they lost by a hand-over that comes to nothing. */
START_TEST(other_sockets)
{
    char control[PATH_MAX], monitor[PATH_MAX], listen_at[PATH_MAX + 8];
    struct kl_handover_msg msg;
    struct kl_sockets none = KL_SOCKETS_NONE;
    int fd;

    lab_begin(&lab, "operators");
    lab_set(&lab, "control", "socket", file_path(control, lab.run, "control"));
    snprintf(listen_at, sizeof listen_at, "unix:%s", file_path(monitor, lab.run, "monitor"));
    lab_set(&lab, "monitor", "listen", listen_at);
    lab_start(&lab);
    lab_terminal(&lab, "T", "tdes2");
    fd = dial_handover();
    say(fd, KL_HANDOVER_TAKE);
    ck_assert_uint_eq(hear(fd, &msg, &none), KL_HANDOVER_SOCKETS);
    kl_sockets_wipe(&none);
    say(fd, KL_HANDOVER_COMMIT);
    ck_assert_uint_eq(hear(fd, &msg, &none), KL_HANDOVER_RELEASED);
    ck_assert_int_ne(access(control, F_OK), 0);
    ck_assert_int_ne(access(monitor, F_OK), 0);
    close(fd);
    ck_assert(lab_logged(&lab, "event=handover-failed", 10));
    for (int ms = 0; access(monitor, F_OK) != 0 && ms < proc_seconds(10) * 1000; ms += 20) {
        proc_sleep_ms(20);
    }
    still_serves(); /* the arming goes by the operators' socket */
    replace_daemon();
    ck_assert_int_eq(access(control, F_OK), 0);
    ck_assert_int_eq(access(monitor, F_OK), 0);
    still_serves();
}
END_TEST

/* How far it gets before it is gone. */
START_TEST(dies_before_claim)
{
    static const char *const names[] = {"connected", "asked", "committed", "released"};
    struct kl_handover_msg msg;
    struct kl_sockets sockets = KL_SOCKETS_NONE, none = KL_SOCKETS_NONE;
    int fd;

    begin(names[_i]);
    for (int again = 0; again < 2; again++) {
        fd = dial_handover();
        if (_i >= 1) {
            say(fd, KL_HANDOVER_TAKE);
            ck_assert_uint_eq(hear(fd, &msg, &sockets), KL_HANDOVER_SOCKETS);
            ck_assert_int_ge(sockets.fd[0], 0);
            kl_sockets_wipe(&sockets);
        }
        if (_i >= 2) {
            say(fd, KL_HANDOVER_COMMIT);
        }
        if (_i >= 3) {
            ck_assert_uint_eq(hear(fd, &msg, &none), KL_HANDOVER_RELEASED);
        }
        close(fd);
        if (_i >= 1) {
            ck_assert(lab_logged(&lab, "event=handover-failed", 10));
        }
        still_serves();
    }
}
END_TEST

/* What does not belong there ends the conversation, and nothing else. */
START_TEST(hostile_taker)
{
    struct kl_handover_msg msg = kl_handover_msg(KL_HANDOVER_TAKE);
    struct kl_sockets none = KL_SOCKETS_NONE;
    int fd;

    begin("hostile");
    fd = dial_handover(); /* out of turn */
    say(fd, KL_HANDOVER_CLAIMED);
    ck_assert_uint_eq(hear(fd, &msg, &none), 0);
    close(fd);
    fd = dial_handover(); /* of another version */
    msg = kl_handover_msg(KL_HANDOVER_TAKE);
    msg.version++;
    ck_assert_int_eq(kl_handover_send(fd, &msg, NULL, &err), KL_OK);
    ck_assert_uint_eq(hear(fd, &msg, &none), 0);
    close(fd);
    fd = dial_handover(); /* a part of a message */
    ck_assert_int_eq(send(fd, &msg, 10, MSG_NOSIGNAL), 10);
    ck_assert_uint_eq(hear(fd, &msg, &none), 0);
    close(fd);
    fd = dial_handover(); /* a second one at the same time */
    say(fd, KL_HANDOVER_TAKE);
    ck_assert_uint_eq(hear(fd, &msg, &none), KL_HANDOVER_SOCKETS);
    kl_sockets_wipe(&none);
    int second = dial_handover();
    ck_assert_uint_eq(hear(second, &msg, &none), KL_HANDOVER_REFUSED);
    ck_assert_ptr_nonnull(strstr(msg.text, "takes over already"));
    close(second);
    close(fd);
    still_serves();
}
END_TEST

/* Of another user: it gets to know that. The file's mode would keep it out as well. */
START_TEST(foreign_user)
{
    char path[PATH_MAX + 16], dir[PATH_MAX];
    struct stat st;
    pid_t child;
    int status, fd;

    if (geteuid() != 0) {
        return; /* takes two users */
    }
    begin("foreign");
    snprintf(path, sizeof path, "%s-handover", lab.store);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    snprintf(dir, sizeof dir, "%s", lab.store);
    *strrchr(dir, '/') = '\0';
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(chmod(path, 0777), 0);
    ck_assert_int_eq(chmod(dir, 0777), 0);
    child = fork();
    if (child == 0) {
        struct kl_handover_msg msg;
        struct kl_sockets none = KL_SOCKETS_NONE;
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "store.db-handover"};
        int peer = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        int ok = fchdir(fd) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0 &&
                 connect(peer, (struct sockaddr *)&address, sizeof address) == 0 &&
                 hear(peer, &msg, &none) == KL_HANDOVER_REFUSED &&
                 strstr(msg.text, "not of ours") != NULL;
        _exit(ok ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(fd);
    ck_assert(lab_logged(&lab, "event=handover-refused rc=permission", 5));
    still_serves();
}
END_TEST

/* A new daemon whose configuration is of another port is told so, and ends. */
START_TEST(another_port)
{
    struct proc next = {0};
    char port[12];

    begin("port");
    snprintf(port, sizeof port, "%u", lab.port == 1 ? 2 : lab.port - 1u);
    lab_set(&lab, "listen", "port", port);
    lab.daemon_args = take_over;
    lab_spawn_another(&lab, &next);
    lab.daemon_args = NULL;
    ck_assert_int_eq(proc_wait(&next, 30), 78);
    lab_set(&lab, "listen", "port", "0");
    ck_assert(logged(&next, "is not [listen] address"));
    still_serves();
}
END_TEST

START_TEST(nobody_to_take_over_from)
{
    lab_begin(&lab, "nobody");
    lab.daemon_args = take_over;
    ck_assert_int_eq(lab_start_fails(&lab), 66);
    lab.daemon_args = NULL;
    ck_assert(logged(&lab.daemon, "no daemon serves"));
}
END_TEST

/* The old one is killed while the new one gets ready: that one goes on alone. */
START_TEST(old_one_killed)
{
    struct proc next = {0};

    begin("killed");
    lab.daemon_args = take_over;
    lab_spawn_another(&lab, &next);
    lab.daemon_args = NULL;
    ck_assert(logged(&next, "event=taking-over"));
    lab_kill(&lab);
    ck_assert(logged(&next, "event=listening"));
    lab.daemon = next;
    for (char *log = file_read(next.err, NULL), *at = strstr(log, " port="); at != NULL;
         at = NULL, free(log)) {
        lab.port = (uint16_t)strtoul(at + 6, NULL, 10);
    }
    still_serves();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("takeover");
    TCase *tc = tcase_create("takeover");

    tcase_set_timeout(tc, 240);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_test(tc, three_in_a_row);
    tcase_add_test(tc, other_sockets);
    tcase_add_test(tc, waits_in_the_backlog);
    tcase_add_loop_test(tc, dies_before_claim, 0, 4);
    tcase_add_test(tc, hostile_taker);
    tcase_add_test(tc, foreign_user);
    tcase_add_test(tc, another_port);
    tcase_add_test(tc, nobody_to_take_over_from);
    tcase_add_test(tc, old_one_killed);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
