/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trouble with the HSM and with the store: refused at the start with a message that says what is
 * wrong, or survived at run time. A PIN is tried once only, ever.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/lab.h"
#include "tests/support/suite.h"

static struct lab lab;
static char module_env[PATH_MAX + 32], log_env[PATH_MAX + 32], trap_env[PATH_MAX + 32];
static char log_path[PATH_MAX], trap_path[PATH_MAX];

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* A lab whose loader reaches its token through the proxy, which counts logins and has a trap. */
static void begin_with_proxy(const char *name)
{
    lab_begin(&lab, name);
    snprintf(module_env, sizeof module_env, "KL_PROXY_MODULE=%s", lab.module);
    snprintf(log_env, sizeof log_env, "KL_PROXY_LOG=%s", file_path(log_path, lab.run, "logins"));
    snprintf(trap_env, sizeof trap_env, "KL_PROXY_TRAP=%s", file_path(trap_path, lab.run, "trap"));
    lab.env[0] = module_env;
    lab.env[1] = log_env;
    lab.env[2] = trap_env;
    lab_set(&lab, "hsm", "module", lab_built("tests/tools/proxy_p11.so"));
}

/* It does not start, ends with that status, and says `why`. */
static void expect_refusal(int status, const char *why)
{
    ck_assert_int_eq(lab_start_fails(&lab), status);
    char *said = file_read(lab.daemon.err, NULL);
    ck_assert_msg(strstr(said, why) != NULL, "no '%s' in: %s", why, said);
    free(said);
}

/* ---- At the start ---- */

START_TEST(test_wrong_pin_is_tried_once)
{
    char path[PATH_MAX], source[PATH_MAX + 8];
    begin_with_proxy("pin");
    lab_set(&lab, "hsm", "workers", "2");
    file_write(file_path(path, lab.run, "wrong.pin"), "00000000\n", 9, 0600);
    snprintf(source, sizeof source, "file:%s", path);
    lab_set(&lab, "hsm", "pin-source", source);
    expect_refusal(77, "PIN");
    char *logins = file_read(log_path, NULL);
    ck_assert_str_eq(logins, "C_Login 0xa0\n"); /* CKR_PIN_INCORRECT, once */
    free(logins);

    snprintf(source, sizeof source, "file:%s", file_path(path, lab.dir, "loader.pin"));
    lab_set(&lab, "hsm", "pin-source", source);
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab); /* the token is not locked */
    lab_arm(&lab, "T1", 1);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_settled(&lab, "T1", 1);
    lab_end(&lab);
}
END_TEST

START_TEST(test_pin_file_for_all_to_read)
{
    char path[PATH_MAX], source[PATH_MAX + 8], copy[PATH_MAX];
    size_t len;
    begin_with_proxy("open-pin");
    char *pin = file_read(file_path(path, lab.dir, "loader.pin"), &len);
    file_write(file_path(copy, lab.run, "open.pin"), pin, len, 0600);
    ck_assert_int_eq(chmod(copy, 0644), 0);
    free(pin);
    snprintf(source, sizeof source, "file:%s", copy);
    lab_set(&lab, "hsm", "pin-source", source);
    ck_assert_int_ne(lab_start_fails(&lab), 0);
    char *logins = file_read(log_path, NULL);
    ck_assert_str_eq(logins, ""); /* never got as far */
    free(logins);
}
END_TEST

START_TEST(test_missing_module)
{
    lab_begin(&lab, "module");
    lab_set(&lab, "hsm", "module", "/nonexistent/module.so");
    expect_refusal(69, "/nonexistent/module.so");
}
END_TEST

START_TEST(test_missing_token)
{
    lab_begin(&lab, "token");
    lab_set(&lab, "hsm", "token", "pkcs11:token=nowhere");
    expect_refusal(69, "no token matches");
}
END_TEST

START_TEST(test_missing_keys)
{
    char work[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
    size_t len;
    lab_begin(&lab, "keys");
    file_mkdir(file_path(work, lab.run, "work"));
    file_path(from, lab.dir, "work/" LAB_WORK_KEY ".pem");
    char *pem = file_read(from, &len);
    file_write(file_path(to, work, "no-such-work-key.pem"), pem, len, 0644);
    free(pem);
    lab_set(&lab, "certificates", "work", work);
    expect_refusal(69, "no-such-work-key");
    lab_set(&lab, "certificates", "work", file_path(work, lab.dir, "work"));
    lab_set(&lab, "hsm", "storage-key", "no-such-storage-key");
    expect_refusal(69, "no-such-storage-key");
}
END_TEST

START_TEST(test_missing_certificate)
{
    lab_begin(&lab, "certificate");
    lab_set(&lab, "certificates", "work", "/nonexistent/work");
    expect_refusal(66, "/nonexistent/work");
}
END_TEST

/* ---- At run time ---- */

static void set_trap(const char *what)
{
    if (what != NULL) {
        file_write(trap_path, what, 1, 0600);
    } else {
        ck_assert_int_eq(unlink(trap_path), 0);
    }
}

/* The HSM hangs, its module crashes, the device goes: the load fails, the daemon lives, and when
 * the HSM is well again the next load goes through without anyone's help. */
START_TEST(test_hsm_trouble)
{
    static const char *const traps[] = {"h", "c", "e"};
    char name[32];
    snprintf(name, sizeof name, "trap-%s", traps[_i]);
    begin_with_proxy(name);
    lab_set(&lab, "hsm", "job-timeout", "1s");
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "T1", 50);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_settled(&lab, "T1", 1);
    lab_arm(&lab, "T1", 50);
    set_trap(traps[_i]);
    ck_assert_int_ne(lab_load(&lab, "T1", lab.port), 0);
    ck_assert(lab_logged(&lab, "event=worker-lost", 5));
    set_trap(NULL);
    int status = 1;
    for (int tries = 0; tries < proc_seconds(30) * 5 && status != 0; tries++) {
        status = lab_load(&lab, "T1", lab.port);
        if (status != 0) {
            proc_sleep_ms(200);
        }
    }
    ck_assert_int_eq(status, 0);
    lab_agree(&lab, "T1");
    lab_end(&lab);
}
END_TEST

/* The PIN was changed behind the daemon's back: the one who notices tries it once; the daemon lives
 * as long as it has a worker, and ends when it can have no other. */
START_TEST(test_pin_changed_at_run_time)
{
    char path[PATH_MAX], right[PATH_MAX], source[PATH_MAX + 8];
    pid_t workers[8];
    size_t len;
    begin_with_proxy("pin-changed");
    char *pin = file_read(file_path(right, lab.dir, "loader.pin"), &len);
    file_write(file_path(path, lab.run, "loader.pin"), pin, len, 0600);
    free(pin);
    snprintf(source, sizeof source, "file:%s", path);
    lab_set(&lab, "hsm", "pin-source", source);
    lab_set(&lab, "hsm", "workers", "1");
    lab_start(&lab);
    file_write(path, "00000000\n", 9, 0600);
    ck_assert_uint_eq(proc_children(lab.daemon.pid, workers, 8), 1);
    ck_assert_int_eq(kill(workers[0], SIGKILL), 0);
    ck_assert_int_eq(proc_wait(&lab.daemon, 20), 77);
    char *logins = file_read(log_path, NULL);
    ck_assert_str_eq(logins, "C_Login 0x0\nC_Login 0xa0\n");
    free(logins);
    lab_end(&lab);
}
END_TEST

/* SoftHSM rewrites the token's own file in C_Login, and loses every key of the token if the process
 * is killed in the middle: however the daemon ends, a worker finishes its login first. */
START_TEST(test_login_is_never_cut_off)
{
    char *log = NULL;
    int done = 0;
    begin_with_proxy(_i ? "login-kill" : "login-term");
    lab.env[3] = "KL_PROXY_LOGIN_MS=1500";
    lab_spawn(&lab);
    for (int tries = 0; tries < proc_seconds(20) * 50 && !done; tries++) {
        proc_sleep_ms(20);
        log = file_read(log_path, NULL);
        done = strstr(log, "login begins") != NULL;
        free(log);
    }
    ck_assert_msg(done, "no worker has tried to log in");
    if (_i) {
        lab_kill(&lab);
    } else {
        lab_stop(&lab);
    }
    done = 0;
    for (int tries = 0; tries < proc_seconds(10) * 50 && !done; tries++) {
        log = file_read(log_path, NULL);
        done = strstr(log, "C_Login 0x0") != NULL;
        free(log);
        proc_sleep_ms(20);
    }
    ck_assert_msg(done, "the worker was killed while it logged in");
    lab.env[3] = NULL;
    lab_start(&lab);
    lab_end(&lab);
}
END_TEST

/* ---- The store ---- */

START_TEST(test_read_only_store)
{
    /* root may write anywhere, unless it lacks that capability */
    static const char *const bounded[] = {"/usr/bin/setpriv",
                                          "--bounding-set=-dac_override,-dac_read_search", NULL};
    char dir[PATH_MAX];
    lab_begin(&lab, "read-only");
    file_path(dir, lab.run, "store");
    if (geteuid() == 0) {
        lab.daemon_prefix = bounded;
    }
    ck_assert_int_eq(chmod(dir, 0500), 0);
    expect_refusal(77, lab.store);
    ck_assert_int_eq(chmod(dir, 0700), 0);
    lab_start(&lab); /* and it was that and nothing else */
    lab_end(&lab);
}
END_TEST

/* No room for another commit: no TMK is sent that is not in the store. */
START_TEST(test_full_store)
{
    /* Bounds the size of every file it writes; SIGXFSZ ignored, so that write() says EFBIG. */
    static const char *const bounded[] = {"/bin/sh", "-c",
                                          "trap '' XFSZ; ulimit -f 256; exec \"$@\"", "sh", NULL};
    struct lab_tmk store[LAB_TMK_MAX];
    int loads = 0;
    lab_begin(&lab, "full");
    lab_set(&lab, "log", "level", "error"); /* its log must not be what grows */
    lab_terminal(&lab, "T1", "tdes2");
    lab_set(&lab, "log", "level", "info");
    lab.daemon_prefix = bounded;
    lab_start(&lab);
    do {
        lab_arm(&lab, "T1", 1);
    } while (loads++ < 60 && lab_load(&lab, "T1", lab.port) == 0);
    ck_assert_msg(loads < 60, "the store never became full");
    ck_assert(lab_logged(&lab, "rc=store", 5));
    size_t stored = lab_store(&lab, "T1", store);
    ck_assert_uint_ge(stored, 1);
    lab_stop(&lab);

    lab.daemon_prefix = NULL; /* room again */
    lab_start(&lab);
    lab_arm(&lab, "T1", 5);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_agree(&lab, "T1");
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hsm");
    TCase *tcase = tcase_create("trouble");
    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 90);
    tcase_add_test(tcase, test_wrong_pin_is_tried_once);
    tcase_add_test(tcase, test_pin_file_for_all_to_read);
    tcase_add_test(tcase, test_missing_module);
    tcase_add_test(tcase, test_missing_token);
    tcase_add_test(tcase, test_missing_keys);
    tcase_add_test(tcase, test_missing_certificate);
    tcase_add_loop_test(tcase, test_hsm_trouble, 0, 3);
    tcase_add_test(tcase, test_pin_changed_at_run_time);
    tcase_add_loop_test(tcase, test_login_is_never_cut_off, 0, 2);
    tcase_add_test(tcase, test_full_store);
    tcase_add_test(tcase, test_read_only_store);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
