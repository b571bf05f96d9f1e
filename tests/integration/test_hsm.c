/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trouble with the HSM and with the store that is there at the start: refused with a message that
 * says what is wrong. A PIN is tried once only, ever. What happens later is in test_hsm_fault.c.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/fault.h"
#include "tests/support/lab.h"
#include "tests/support/suite.h"

static struct lab lab;
static struct fault fault;

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
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
    fault_begin(&fault, &lab, "pin");
    lab_set(&lab, "hsm", "workers", "2");
    file_write(file_path(path, lab.run, "wrong.pin"), "00000000\n", 9, 0600);
    snprintf(source, sizeof source, "file:%s", path);
    lab_set(&lab, "hsm", "pin-source", source);
    expect_refusal(77, "PIN");
    ck_assert_uint_eq(fault_count(&fault, "C_Login 0xa0"), 1); /* CKR_PIN_INCORRECT, once */
    ck_assert_uint_eq(fault_count(&fault, "C_Login 0x0"), 0);

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
    fault_begin(&fault, &lab, "open-pin");
    char *pin = file_read(file_path(path, lab.dir, "loader.pin"), &len);
    file_write(file_path(copy, lab.run, "open.pin"), pin, len, 0600);
    ck_assert_int_eq(chmod(copy, 0644), 0);
    free(pin);
    snprintf(source, sizeof source, "file:%s", copy);
    lab_set(&lab, "hsm", "pin-source", source);
    ck_assert_int_ne(lab_start_fails(&lab), 0);
    ck_assert_uint_eq(fault_count(&fault, "C_Login 0x0"), 0); /* never got as far */
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
}
END_TEST

/* With a store that is new: one that knows its storage key is refused before the HSM is asked. */
START_TEST(test_missing_storage_key)
{
    lab_begin(&lab, "storage-key");
    lab_set(&lab, "hsm", "storage-key", "no-such-storage-key");
    expect_refusal(69, "no-such-storage-key");
    lab_set(&lab, "hsm", "storage-key", "another-storage-key");
    expect_refusal(78, "no-such-storage-key");
}
END_TEST

START_TEST(test_missing_certificate)
{
    lab_begin(&lab, "certificate");
    lab_set(&lab, "certificates", "work", "/nonexistent/work");
    expect_refusal(66, "/nonexistent/work");
}
END_TEST

/* SoftHSM rewrites the token's own file in C_Login, and loses every key of the token if the process
 * is killed in the middle: however the daemon ends, a worker finishes its login first. */
START_TEST(test_login_is_never_cut_off)
{
    fault_begin(&fault, &lab, _i ? "login-kill" : "login-term");
    fault_set(&fault, "C_Login always delay:1500\n");
    lab_spawn(&lab);
    ck_assert_msg(fault_logged(&fault, "C_Login begins", 20), "no worker has tried to log in");
    if (_i) {
        lab_kill(&lab);
    } else {
        lab_stop(&lab);
    }
    ck_assert_msg(fault_logged(&fault, "C_Login 0x0", 10),
                  "the worker was killed while it logged in");
    fault_set(&fault, "");
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
    ck_assert(lab_logged(&lab, "rc=full", 5));
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
    tcase_add_test(tcase, test_missing_storage_key);
    tcase_add_test(tcase, test_missing_certificate);
    tcase_add_loop_test(tcase, test_login_is_never_cut_off, 0, 2);
    tcase_add_test(tcase, test_full_store);
    tcase_add_test(tcase, test_read_only_store);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
