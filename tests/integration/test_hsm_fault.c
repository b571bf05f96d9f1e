/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An HSM that falls ill while the daemon serves, and gets well again: no terminal hangs, nothing is
 * lost, nobody has to restart anything, and a PIN is tried once.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/clock.h"
#include "tests/support/fault.h"
#include "tests/support/lab_keys.h"
#include "tests/support/suite.h"

#define BUSY_STATUS 75 /* of terminal-sim: told to try again later */

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

/* A terminal that has loaded once, and may do so again. */
static void begin(const char *name, const char *workers)
{
    fault_begin(&fault, &lab, name);
    lab_set(&lab, "hsm", "workers", workers);
    lab_set(&lab, "hsm", "job-timeout", "1s");
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "T1", 90);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_settled(&lab, "T1", 1);
    lab_arm(&lab, "T1", 90);
}

static void loads_again(void)
{
    int status = 1;

    for (int tries = 0; tries < proc_seconds(30) * 5 && status != 0; tries++) {
        status = lab_load(&lab, "T1", lab.port);
        if (status != 0) {
            proc_sleep_ms(200);
        }
    }
    ck_assert_int_eq(status, 0);
    lab_agree(&lab, "T1");
}

static const struct {
    const char *name, *rules;
} troubles[] = {
    {"hang", "C_UnwrapKey always hang\n"},
    {"crash", "C_UnwrapKey always crash\n"},
    {"session-handle", "C_UnwrapKey always rv:CKR_SESSION_HANDLE_INVALID\n"},
    {"session-closed", "C_UnwrapKey always rv:CKR_SESSION_CLOSED\n"},
    {"device-removed", "C_UnwrapKey always rv:CKR_DEVICE_REMOVED\n"},
    {"device-error", "C_UnwrapKey always rv:CKR_DEVICE_ERROR\n"},
    {"logged-out", "C_UnwrapKey always rv:CKR_USER_NOT_LOGGED_IN\n"},
    {"not-initialized", "C_UnwrapKey always rv:CKR_CRYPTOKI_NOT_INITIALIZED\n"},
    {"stale-handle", "C_UnwrapKey always rv:CKR_UNWRAPPING_KEY_HANDLE_INVALID\n"},
    {"general", "C_UnwrapKey always rv:CKR_GENERAL_ERROR\n"},
    {"failed", "C_UnwrapKey always rv:CKR_FUNCTION_FAILED\n"},
    {"memory", "C_Sign always rv:CKR_DEVICE_MEMORY\n"},
    {"vendor", "C_GenerateKey always rv:0x80000666\n"},
    {"absent", "* always absent\n"},
};

/* The load that meets it fails within its time, the daemon lives, and when the HSM is well again
 * the next load goes through without anyone's help. */
START_TEST(trouble_costs_a_load_and_no_more)
{
    begin(troubles[_i].name, "2");
    fault_set(&fault, troubles[_i].rules);
    int64_t began = kl_clock_ms();
    ck_assert_int_ne(lab_load(&lab, "T1", lab.port), 0);
    ck_assert_int_lt(kl_clock_ms() - began, proc_seconds(12) * 1000);
    ck_assert(lab_logged(&lab, "event=worker-lost", 5));
    fault_set(&fault, "");
    loads_again();
    lab_end(&lab);
}
END_TEST

/* Everybody is told so at once, and not after a job-timeout each. */
START_TEST(busy_at_once_while_it_is_out)
{
    begin("out", "2");
    lab_terminal(&lab, "T2", "tdes2");
    lab_arm(&lab, "T2", 1);
    fault_set(&fault, "* always absent\n");
    for (int tries = 0; tries < 50 && !lab_logged(&lab, "state=open", 1); tries++) {
        (void)lab_load(&lab, "T1", lab.port);
    }
    ck_assert(lab_logged(&lab, "event=hsm-state hsm=hsm state=open", 1));
    for (int i = 0; i < 5; i++) {
        int64_t began = kl_clock_ms();
        ck_assert_int_eq(lab_load(&lab, "T2", lab.port), BUSY_STATUS);
        ck_assert_int_lt(kl_clock_ms() - began, proc_seconds(1) * 1000);
    }
    fault_set(&fault, "");
    ck_assert(lab_logged(&lab, "event=hsm-state hsm=hsm state=up detail=\"in use\"", 15));
    loads_again();
    ck_assert_int_eq(lab_load(&lab, "T2", lab.port), 0); /* its one attempt was never spent */
    lab_settled(&lab, "T2", 1);
    lab_end(&lab);
}
END_TEST

/* A load whose session is lost under it is done again by a fresh worker. */
START_TEST(lost_session_costs_no_load)
{
    struct proc load;

    begin("lost", "1");
    fault_set(&fault, "C_UnwrapKey always lost\n");
    lab_load_start(&lab, "T1", lab.port, NULL, &load);
    ck_assert(lab_logged(&lab, "event=worker-lost", 10));
    fault_set(&fault, "");
    ck_assert_int_eq(proc_wait(&load, LAB_LOAD_SECONDS), 0);
    lab_settled(&lab, "T1", 2);
    lab_end(&lab);
}
END_TEST

static const struct {
    const char *name, *rules, *says;
} idle[] = {
    {"idle-lost", "C_GetSessionInfo always lost\n", "event=worker-lost"},
    {"idle-hang", "C_GetSessionInfo always hang\n", "did not answer in time"},
};

/* Idle workers are asked, so that it is not a load that finds the session lost. */
START_TEST(keep_alive_finds_it_first)
{
    fault_begin(&fault, &lab, idle[_i].name);
    lab_set(&lab, "hsm", "workers", "1");
    lab_set(&lab, "hsm", "keep-alive", "1s");
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    fault_set(&fault, idle[_i].rules);
    ck_assert(lab_logged(&lab, idle[_i].says, 15));
    fault_set(&fault, "");
    for (int tries = 0; tries < proc_seconds(10) * 50; tries++) {
        if (fault_count(&fault, "C_Login 0x0") > 1) {
            break; /* its replacement's */
        }
        proc_sleep_ms(20);
    }
    ck_assert_uint_gt(fault_count(&fault, "C_Login 0x0"), 1);
    lab_arm(&lab, "T1", 1);
    loads_again();
    lab_settled(&lab, "T1", 1);
    lab_end(&lab);
}
END_TEST

/* The PIN was changed behind the daemon's back. It is tried once; the daemon stays, and says busy;
 * with the right PIN in place, SIGHUP is the operator's word to try again, once more. */
START_TEST(changed_pin_is_tried_once_for_each_word)
{
    char path[PATH_MAX], right[PATH_MAX], source[PATH_MAX + 8];
    pid_t workers[8];
    size_t len;

    fault_begin(&fault, &lab, "pin-changed");
    char *pin = file_read(file_path(right, lab.dir, "loader.pin"), &len);
    file_write(file_path(path, lab.run, "loader.pin"), pin, len, 0600);
    snprintf(source, sizeof source, "file:%s", path);
    lab_set(&lab, "hsm", "pin-source", source);
    lab_set(&lab, "hsm", "workers", "1");
    lab_terminal(&lab, "T1", "tdes2");
    lab_arm(&lab, "T1", 5);
    lab_start(&lab);
    file_write(path, "00000000\n", 9, 0600);
    ck_assert_uint_eq(proc_children(lab.daemon.pid, workers, 8), 1);
    ck_assert_int_eq(kill(workers[0], SIGKILL), 0);
    ck_assert(lab_logged(&lab, "state=barred", 10));
    proc_sleep_ms(500);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(lab_load(&lab, "T1", lab.port), BUSY_STATUS);
    }
    ck_assert_uint_eq(fault_count(&fault, "C_Login 0xa0"), 1);

    ck_assert_int_eq(kill(lab.daemon.pid, SIGHUP), 0); /* the PIN is still the wrong one */
    for (int tries = 0; tries < 100 && fault_count(&fault, "C_Login 0xa0") < 2; tries++) {
        proc_sleep_ms(50);
    }
    proc_sleep_ms(500);
    ck_assert_uint_eq(fault_count(&fault, "C_Login 0xa0"), 2);

    file_write(path, pin, len, 0600);
    ck_assert_int_eq(kill(lab.daemon.pid, SIGHUP), 0);
    loads_again();
    ck_assert_uint_eq(fault_count(&fault, "C_Login 0xa0"), 2);
    free(pin);
    lab_end(&lab);
}
END_TEST

/* Slow, but within job-timeout: nothing is lost. */
START_TEST(slow_is_not_ill)
{
    enum { LOADS = 6 };
    struct proc loads[LOADS];
    char serial[] = "T0";

    fault_begin(&fault, &lab, "slow");
    lab_start(&lab);
    for (int i = 0; i < LOADS; i++) {
        serial[1] = (char)('1' + i);
        lab_terminal(&lab, serial, "tdes2");
        lab_arm(&lab, serial, 1);
    }
    fault_set(&fault, "* always delay:5-20\n");
    for (int i = 0; i < LOADS; i++) {
        serial[1] = (char)('1' + i);
        lab_load_start(&lab, serial, lab.port, NULL, &loads[i]);
    }
    for (int i = 0; i < LOADS; i++) {
        serial[1] = (char)('1' + i);
        ck_assert_int_eq(proc_wait(&loads[i], LAB_LOAD_SECONDS), 0);
        lab_settled(&lab, serial, 1);
    }
    ck_assert(!lab_logged(&lab, "event=worker-lost", 0));
    lab_end(&lab);
}
END_TEST

/* Loads for as long as faults come and go at random: whatever fails is refused in time, and in the
 * end store and PIN pad agree. */
START_TEST(random_faults)
{
    static const char *const rules[] = {
        "* chance:2 rv:CKR_DEVICE_ERROR\n", "C_Sign chance:30 crash\n",
        "C_UnwrapKey chance:30 lost\n",     "* chance:1 rv:CKR_SESSION_HANDLE_INVALID\n",
        "C_WrapKey chance:30 hang\n",       "* chance:3 delay:50-200\n",
    };

    begin("random", "2");
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        fault_set(&fault, rules[i]);
        for (int n = 0; n < 3; n++) {
            int64_t start = kl_clock_ms();
            if (lab_load(&lab, "T1", lab.port) == 0) {
                lab_arm(&lab, "T1", 90);
            }
            ck_assert_int_lt(kl_clock_ms() - start, proc_seconds(12) * 1000);
        }
    }
    fault_set(&fault, "");
    lab_arm(&lab, "T1", 90);
    loads_again();
    lab_end(&lab);
}
END_TEST

/* A token that knows no CKA_ALLOWED_MECHANISMS (CKR_ATTRIBUTE_TYPE_INVALID is 0x12): whoever makes
 * a key there that no self-test looks at is told. */
START_TEST(keys_without_mechanisms_are_told)
{
    static const uint8_t value[KL_TMK_LEN_MAX] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct lab_components s;

    fault_begin(&fault, &lab, "mechanisms");
    for (size_t i = 0; lab.env[i]; i++) {
        ck_assert_int_eq(putenv((char *)lab.env[i]), 0); /* keyloaderctl's as well */
    }
    fault_set(&fault, "C_GenerateKeyPair nth:1 rv:0x12\n");
    lab_ctl_ends(&lab, 0, "no CKA_ALLOWED_MECHANISMS of \"carrier\"", "transport", "generate",
                 "--label", "carrier", "--key", "rsa-2048", NULL);
    /* The first three are to compute KCVs, of each component and of their sum. */
    fault_set(&fault, "C_CreateObject nth:4 rv:0x12\n");
    lab_components(&lab, kl_alg_by_name("aes128"), value, &s);
    lab_ctl_ends(&lab, 0, "no CKA_ALLOWED_MECHANISMS of \"zone\"", "zmk", "import", "--label",
                 "zone", "--for", "export", "--algorithm", "aes128", "--components", "2",
                 "--component", s.sources[0], "--component", s.sources[1], "--component-kcv",
                 s.kcvs[0], "--component-kcv", s.kcvs[1], "--expect-kcv", s.kcv, NULL);
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hsm_fault");
    TCase *tc = tcase_create("hsm_fault"), *quick = tcase_create("keys");

    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_loop_test(tc, trouble_costs_a_load_and_no_more, 0,
                        sizeof troubles / sizeof troubles[0]);
    tcase_add_test(tc, busy_at_once_while_it_is_out);
    tcase_add_test(tc, lost_session_costs_no_load);
    tcase_add_loop_test(tc, keep_alive_finds_it_first, 0, sizeof idle / sizeof idle[0]);
    tcase_add_test(tc, changed_pin_is_tried_once_for_each_word);
    tcase_add_test(tc, slow_is_not_ill);
    tcase_add_test(tc, random_faults);
    suite_add_tcase(suite, tc);
    tcase_set_timeout(quick, 120);
    tcase_add_unchecked_fixture(quick, found, abandon);
    tcase_add_test(quick, keys_without_mechanisms_are_told);
    suite_add_tcase(suite, quick);
    return test_run(suite);
}
