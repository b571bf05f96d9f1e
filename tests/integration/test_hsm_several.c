/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two HSMs with the same keys (a token and a copy of it): used together, and each does the
 * other's work when that one is out. One with other keys is never used.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "tests/support/control.h"
#include "tests/support/fault.h"
#include "tests/support/lab_hsm.h"
#include "tests/support/suite.h"

static struct lab lab;
static struct fault fault;
static char second_rules[PATH_MAX], second_dir[PATH_MAX];

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* Copies the loader's token, as a vendor's tool would clone an HSM. */
static void clone_token(void)
{
    char hsm[PATH_MAX], from[PATH_MAX], to[PATH_MAX], path[PATH_MAX], conf[PATH_MAX + 64];
    const char *what = lab.nss ? "nss" : "tokens";
    struct proc copy;

    file_path(second_dir, lab.run, "second");
    file_mkdir(second_dir);
    const char *argv[] = {"/bin/cp", "-a", file_path(from, file_path(hsm, lab.dir, "hsm"), what),
                          file_path(to, second_dir, what), NULL};
    proc_spawn(&copy, lab.logs, NULL, argv);
    ck_assert_int_eq(proc_wait(&copy, 20), 0);
    snprintf(conf, sizeof conf, "directories.tokendir = %s\nlog.level = ERROR\n", to);
    file_write(file_path(path, second_dir, "softhsm2.conf"), conf, strlen(conf), 0600);
}

static void set_second(const char *rules)
{
    char next[PATH_MAX + 8];

    snprintf(next, sizeof next, "%s.next", second_rules);
    file_write(next, rules, strlen(rules), 0600);
    ck_assert_int_eq(rename(next, second_rules), 0);
}

/* The second HSM is the one in that directory. */
static void set_second_dir(const char *dir)
{
    char reserved[3 * PATH_MAX], own[PATH_MAX];

    snprintf(reserved, sizeof reserved, "rules=%s softhsm2=%s/softhsm2.conf %s", second_rules, dir,
             lab_init_reserved(&lab, dir, "loader", own));
    lab_set(&lab, "hsm-2", "init-reserved", reserved);
}

static void begin(const char *name)
{
    char source[PATH_MAX + 8], pin[PATH_MAX];

    fault_begin(&fault, &lab, name);
    clone_token();
    file_path(second_rules, second_dir, "rules");
    set_second("");
    snprintf(source, sizeof source, "file:%s", file_path(pin, lab.dir, "loader.pin"));
    lab_set(&lab, "hsm", "workers", "1");
    lab_set(&lab, "hsm", "job-timeout", "1s");
    lab_set(&lab, "hsm-2", "workers", "1");
    lab_set(&lab, "hsm-2", "module", lab_built("tests/tools/fault_p11.so"));
    lab_set(&lab, "hsm-2", "token", "pkcs11:token=loader");
    lab_set(&lab, "hsm-2", "pin-source", source);
    set_second_dir(second_dir);
    lab_set(&lab, "hsm-2", "session-copies", lab.nss ? "yes" : "no");
    lab_set(&lab, "hsm-2", "accept", lab.nss ? LAB_NSS_ACCEPT : "none");
}

static void start(void)
{
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    ck_assert(lab_logged(&lab, "event=worker-ready hsm=hsm-2", 20));
    ck_assert(lab_logged(&lab, "event=worker-ready hsm=hsm ", 20));
}

static void load(unsigned version)
{
    lab_arm(&lab, "T1", 90);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_settled(&lab, "T1", version);
}

/* One load costs a C_WrapKey or more in the HSM that does it. */
START_TEST(both_are_used)
{
    begin("both");
    start();
    fault_set(&fault, "C_WrapKey always log\n");
    for (unsigned i = 1; i <= 4; i++) {
        load(i);
    }
    size_t all = fault_count(&fault, "C_WrapKey 0x0");
    ck_assert_uint_gt(all, 0);
    set_second("C_WrapKey always log\n"); /* to the same log */
    for (unsigned i = 5; i <= 8; i++) {
        load(i);
    }
    ck_assert_uint_gt(fault_count(&fault, "C_WrapKey 0x0") - all, all);
    lab_end(&lab);
}
END_TEST

static const char *const outages[] = {
    "* always absent\n",
    "C_UnwrapKey always hang\n",
    "* always rv:CKR_DEVICE_ERROR\n",
    "C_Sign always crash\n",
};

/* Whichever is out: at most the loads that it had are lost, the other goes on, and when it is back
 * it is used again. */
START_TEST(either_does_without_the_other)
{
    int first = _i % 2 == 0;
    const char *rules = outages[_i / 2], *name = first ? "hsm" : "hsm-2";
    char up[96], dir[32];
    unsigned failed = 0;

    snprintf(dir, sizeof dir, "either-%d", _i);
    begin(dir);
    start();
    load(1);
    lab_arm(&lab, "T1", 90);
    if (first) {
        fault_set(&fault, rules);
    } else {
        set_second(rules);
    }
    for (int i = 0; i < 8; i++) {
        int64_t began = kl_clock_ms();
        if (lab_load(&lab, "T1", lab.port) != 0) {
            failed++;
        } else {
            lab_arm(&lab, "T1", 90);
        }
        ck_assert_int_lt(kl_clock_ms() - began, proc_seconds(6) * 1000);
    }
    ck_assert_uint_le(failed, 4);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    fault_set(&fault, "");
    set_second("");
    snprintf(up, sizeof up, "event=hsm-state hsm=%s state=up", name);
    ck_assert(lab_logged(&lab, up, 20));
    lab_arm(&lab, "T1", 90);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_agree(&lab, "T1");
    lab_end(&lab);
}
END_TEST

/* `hsm retry SECTION` (NULL: of all), and what it answers. */
static void retry(const char *section, const char *tried, const char *up)
{
    char *answer = lab_ctl(&lab, "--json", "hsm", "retry", section, NULL), words[64];

    snprintf(words, sizeof words, "\"tried\": %s", tried);
    ck_assert_msg(strstr(answer, words) != NULL, "%s", answer);
    snprintf(words, sizeof words, "\"up_and_left_alone\": \"%s\"", up);
    ck_assert_msg(strstr(answer, words) != NULL, "%s", answer);
    free(answer);
}

/* The wrong PIN bars the one that refused it, and only that. */
START_TEST(wrong_pin_bars_one)
{
    char wrong[PATH_MAX], source[PATH_MAX + 8], sock[CONTROL_PATH];

    begin("one-pin");
    control_begin(&lab, sock);
    file_write(file_path(wrong, lab.run, "wrong.pin"), "00000000\n", 9, 0600);
    snprintf(source, sizeof source, "file:%s", wrong);
    lab_set(&lab, "hsm-2", "pin-source", source);
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    ck_assert(lab_logged(&lab, "hsm=hsm-2 state=barred", 20));
    for (unsigned i = 1; i <= 3; i++) {
        load(i);
    }
    retry("hsm", "false", "hsm");
    retry(NULL, "true", "hsm");
    lab_end(&lab);
    control_end(sock);
}
END_TEST

/* A token of that name and PIN, with keys of its own. */
START_TEST(other_keys_are_refused)
{
    char other[PATH_MAX], path[PATH_MAX], so[PATH_MAX + 8];

    begin("other-keys");
    /* Its keys are made with the first HSM's settings, in a token directory of its own. */
    lab_make_hsm(&lab, file_path(other, second_dir, "others"),
                 file_path(path, lab.dir, "loader.pin"));
    set_second_dir(other);
    if (!lab.nss) {
        snprintf(so, sizeof so, "file:%s", file_path(path, lab.dir, "loader-so.pin"));
        free(lab_ctl(&lab, "--hsm", "2", "token", "init", "--so-pin-source", so, NULL));
    }
    free(lab_ctl(&lab, "--hsm", "2", "key", "generate", "--label", LAB_WORK_KEY, "--key",
                 "rsa-2048", NULL));
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    ck_assert(lab_logged(&lab, "event=worker-start-failed hsm=hsm-2", 20));
    for (unsigned i = 1; i <= 3; i++) {
        load(i);
    }
    ck_assert(!lab_logged(&lab, "event=worker-ready hsm=hsm-2", 0));
    lab_end(&lab);
}
END_TEST

/* New certificates while one HSM is out: the other has them; the one gets them when it is back. */
START_TEST(reload_does_not_wait_for_one_that_is_out)
{
    begin("reload");
    start();
    load(1);
    set_second("* always absent\n");
    for (unsigned i = 0; i < 20 && !lab_logged(&lab, "hsm=hsm-2 state=open", 0); i++) {
        lab_arm(&lab, "T1", 90);
        (void)lab_load(&lab, "T1", lab.port);
    }
    lab_certify(&lab, "second-key", "hardened-rsa", "rsa-2048", "ca");
    ck_assert_int_eq(kill(lab.daemon.pid, SIGHUP), 0);
    ck_assert(lab_logged(&lab, "event=reloaded", 30));
    lab_arm(&lab, "T1", 90);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_agree(&lab, "T1");
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hsm_several");
    TCase *tc = tcase_create("hsm_several");

    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_test(tc, both_are_used);
    tcase_add_loop_test(tc, either_does_without_the_other, 0,
                        2 * sizeof outages / sizeof outages[0]);
    tcase_add_test(tc, wrong_pin_bars_one);
    tcase_add_test(tc, other_keys_are_refused);
    tcase_add_test(tc, reload_does_not_wait_for_one_that_is_out);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
