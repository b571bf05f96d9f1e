/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A configuration that changes while the daemon serves: read whole, checked whole, then in force
 * for what begins from then on; workers stay unless their keys or policy change; and whatever is
 * wrong with it changes nothing.
 */
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/lab.h"
#include "tests/support/lab_trust.h"
#include "tests/support/peer.h"
#include "tests/support/suite.h"

static struct lab lab;

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

/* SIGHUP, until the log has `event` once more. */
static void reload(const char *event)
{
    unsigned before = lab_log_count(&lab, event);

    kill(lab.daemon.pid, SIGHUP);
    for (int ms = 0; lab_log_count(&lab, event) == before && ms < proc_seconds(30) * 1000;
         ms += 5) {
        proc_sleep_ms(5);
    }
    ck_assert_msg(lab_log_count(&lab, event) == before + 1, "no %s: %s", event,
                  file_read(lab.daemon.err, NULL));
}

static void load_ok(const char *serial)
{
    lab_arm(&lab, serial, 1);
    ck_assert_int_eq(lab_load(&lab, serial, lab.port), 0);
}

static pid_t worker(void)
{
    pid_t pids[8] = {0};

    for (int ms = 0; ms < proc_seconds(10) * 1000; ms += 20) {
        if (proc_children(lab.daemon.pid, pids, 8) == 1) {
            return pids[0];
        }
        proc_sleep_ms(20); /* one that was replaced is on its way out */
    }
    ck_abort_msg("not one worker");
}

/* 1 if the daemon has closed fd within ms. */
static int closed_within(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

/* Settings alone: in force at once for what is new, and the workers are not touched. */
START_TEST(settings_alone)
{
    pid_t before;
    int early, fd;

    lab_begin(&lab, "settings");
    lab_start(&lab);
    before = worker();
    early = peer_dial(lab.port);
    lab_set(&lab, "limits", "handshake-timeout", "1s");
    lab_set(&lab, "limits", "idle-timeout", "1s");
    lab_set(&lab, "hsm", "recycle-after", "50");
    lab_set(&lab, "hsm", "job-timeout", "9s");
    lab_set(&lab, "log", "level", "debug");
    reload("event=reloaded");
    ck_assert_int_eq(worker(), before);
    fd = peer_dial(lab.port);
    ck_assert(closed_within(fd, proc_seconds(3) * 1000)); /* the new limit */
    ck_assert(!closed_within(early, 0));                  /* what began before keeps its own */
    close(fd);
    close(early);
    lab_terminal(&lab, "S1", "tdes2");
    lab_set(&lab, "limits", "handshake-timeout", "30s");
    lab_set(&lab, "limits", "idle-timeout", "10s");
    reload("event=reloaded");
    load_ok("S1");
    ck_assert_int_eq(worker(), before);
    ck_assert_uint_eq(lab_log_count(&lab, "event=worker-ready"), 1);
}
END_TEST

/* Who may connect is asked at accept; a session that is open goes on. */
START_TEST(allow_list)
{
    int early, fd;

    lab_begin(&lab, "allow");
    lab_start(&lab);
    lab_terminal(&lab, "A1", "tdes2");
    early = peer_dial(lab.port);
    ck_assert(!closed_within(early, 100)); /* by now it is accepted */
    lab_set(&lab, "listen", "allow", "10.0.0.0/8, fd00::/8");
    reload("event=reloaded");
    ck_assert(!closed_within(early, 300));
    fd = peer_dial(lab.port);
    ck_assert_int_eq(peer_hear(fd, NULL), PEER_CLOSED); /* without a word */
    close(fd);
    ck_assert(lab_logged(&lab, "event=not-allowed address=127.0.0.1", 5));
    lab_arm(&lab, "A1", 1);
    ck_assert_int_ne(lab_load(&lab, "A1", lab.port), 0);
    lab_set(&lab, "listen", "allow", "10.0.0.0/8, 127.0.0.0/31");
    reload("event=reloaded");
    ck_assert_int_eq(lab_load(&lab, "A1", lab.port), 0);
    close(early);
}
END_TEST

/* A policy that the workers enforce as well reaches them: they are replaced. A CRL does not. */
START_TEST(policy_rolls)
{
    pid_t before;

    lab_begin(&lab, "policy");
    lab_start(&lab);
    before = worker();
    lab_publish_crl(&lab, "ca", "loader");
    reload("event=reloaded");
    ck_assert_int_eq(worker(), before);
    lab_set(&lab, "policy", "strength-policy", "warn");
    reload("event=reloaded");
    ck_assert_int_ne(worker(), before);
    ck_assert(lab_logged(&lab, "event=strength-not-enforced", 1));
    ck_assert_uint_eq(lab_log_count(&lab, "event=worker-lost"), 0);
}
END_TEST

/* What needs a restart stays as it is, and is named; the rest is in force. */
START_TEST(restart_needed)
{
    char elsewhere[PATH_MAX + 8];

    lab_begin(&lab, "restart");
    lab_start(&lab);
    lab_terminal(&lab, "N1", "tdes2");
    snprintf(elsewhere, sizeof elsewhere, "%s.other", lab.store);
    lab_set(&lab, "listen", "port", "1");
    lab_set(&lab, "hsm", "workers", "3");
    lab_set(&lab, "store", "path", elsewhere);
    lab_set(&lab, "limits", "queue", "7");
    reload("event=reloaded");
    ck_assert(lab_logged(&lab,
                         "event=restart-needed keys=\"[listen] port, [hsm] workers, [store] path\"",
                         1));
    lab_set(&lab, "store", "path", lab.store);
    load_ok("N1");
    ck_assert_int_ne(worker(), 0);
    ck_assert_int_ne(access(elsewhere, F_OK), 0);
    lab_set(&lab, "listen", "port", "0");
    lab_set(&lab, "hsm", "workers", "1");
    reload("event=reloaded");
    ck_assert_uint_eq(lab_log_count(&lab, "event=restart-needed"), 1);
}
END_TEST

/* A file that somebody is still writing: cut anywhere, it is refused as a whole or it is a whole
 * configuration by chance; the daemon serves on. */
START_TEST(half_written)
{
    size_t len, refused = 0;
    char *whole;

    lab_begin(&lab, "half");
    lab_start(&lab);
    lab_terminal(&lab, "H1", "tdes2");
    whole = file_read(lab.conf, &len);
    for (size_t cut = 0; cut < len; cut += 3) {
        char *at;
        unsigned before = lab_log_count(&lab, "event=reloading");
        unsigned failed = lab_log_count(&lab, "event=reload-failed");

        file_write(lab.conf, whole, cut, 0600);
        kill(lab.daemon.pid, SIGHUP);
        for (int ms = 0; ms < proc_seconds(30) * 1000; ms++) {
            if (lab_log_count(&lab, "event=reload-failed") +
                    lab_log_count(&lab, "event=reloaded") ==
                before + 1) {
                break;
            }
            proc_sleep_ms(1);
        }
        ck_assert_uint_eq(lab_log_count(&lab, "event=reloading"), before + 1);
        refused += lab_log_count(&lab, "event=reload-failed") - failed;
        /* The rest of the file is left out, so a cut in a [certificates] path names a file that is
         * not there, and one before it falls back to /etc/keyloader's, which are not there. */
        at = strstr(whole, "crl = ");
        ck_assert_ptr_nonnull(at);
        if (cut < (size_t)(at - whole)) {
            ck_assert_uint_eq(refused, cut / 3 + 1);
        }
    }
    ck_assert_uint_gt(refused, 50);
    file_write(lab.conf, whole, len, 0600);
    load_ok("H1");
    reload("event=reloaded");
    load_ok("H1");
    free(whole);
}
END_TEST

static const struct {
    const char *section, *key, *value, *says;
} faults[] = {
    {"certificates", "root", "/nonexistent/root.pem", "/nonexistent/root.pem"},
    {"certificates", "work", "/nonexistent", "/nonexistent"},
    {"certificates", "crl", "/nonexistent/crl.pem", "/nonexistent/crl.pem"},
    {"certificates", "terminal-root", "/nonexistent/t.pem", "/nonexistent/t.pem"},
    {"policy", "terminal-auth", "certificate", "terminal-root"},
    {"policy", "suites", "classic", "[policy] suites"},
    {"listen", "allow", "10.0.0.1/8", "[listen] allow"},
    {"limits", "queue", "0", "queue"},
    {"hsm", "pin-source", "prompt", "pin-source"},
    {"nowhere", "x", "y", "unknown section"},
};

/* Whatever is wrong: nothing of it is in force, not even what was right. */
START_TEST(fault)
{
    char name[16];
    int fd;

    snprintf(name, sizeof name, "fault%d", _i);
    lab_begin(&lab, name);
    lab_start(&lab);
    lab_set(&lab, "limits", "handshake-timeout", "1s");
    lab_set(&lab, "limits", "idle-timeout", "1s");
    lab_set(&lab, faults[_i].section, faults[_i].key, faults[_i].value);
    reload("event=reload-failed");
    ck_assert_msg(lab_logged(&lab, faults[_i].says, 1), "%s", file_read(lab.daemon.err, NULL));
    ck_assert(lab_logged(&lab, "configuration and certificates stay as they were", 1));
    fd = peer_dial(lab.port);
    /* Not scaled to a sanitizer's pace: the timeout in force would close it in the end. */
    ck_assert(!closed_within(fd, 2000));
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("settings");
    TCase *tc = tcase_create("settings");

    tcase_set_timeout(tc, 180);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_test(tc, settings_alone);
    tcase_add_test(tc, allow_list);
    tcase_add_test(tc, policy_rolls);
    tcase_add_test(tc, restart_needed);
    tcase_add_test(tc, half_written);
    tcase_add_loop_test(tc, fault, 0, (int)(sizeof faults / sizeof faults[0]));
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
