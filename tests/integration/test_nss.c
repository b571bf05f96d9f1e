/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loader, and its CA, on NSS softokn: another module than the one everything is developed on.
 * It does OAEP with SHA-256 and ignores key policy, which the operator must have accepted.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/lab.h"
#include "tests/support/lab_hsm.h"
#include "tests/support/lab_keys.h"
#include "tests/support/suite.h"

static struct lab lab;

static void found(void)
{
    ck_assert_int_eq(setenv("KL_TEST_MODULE", "nss", 1), 0);
    lab_found(&lab, 2048);
    lab_certify(&lab, "acquire-ec", "hardened-ec", "p-256", "ca");
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* A token that is there, and is not made by token init. */
START_TEST(token_init_says_what_to_do)
{
    char so[PATH_MAX + 8], path[PATH_MAX];

    lab_begin(&lab, "init");
    snprintf(so, sizeof so, "file:%s", file_path(path, lab.dir, "loader-so.pin"));
    ck_assert_int_eq(lab_ctl_status(&lab, "token", "init", "--so-pin-source", so, NULL), 73);
}
END_TEST

static void first_load(const char *serial, const char *alg, const char *suites)
{
    lab_set(&lab, "policy", "suites", suites);
    lab_set(&lab, "policy", "host-fallback", "yes");
    lab_terminal(&lab, serial, alg);
    lab_start(&lab);
    lab_arm(&lab, serial, 1);
    ck_assert_int_eq(lab_load(&lab, serial, lab.port), 0);
    lab_settled(&lab, serial, 1);
}

static const char *connect_to(const struct lab *to)
{
    static char where[32];

    snprintf(where, sizeof where, "127.0.0.1:%u", to->port);
    return where;
}

/* Loads with either suite, over a kill: what was loaded is still known, and signs in. */
START_TEST(load_kill_and_sign_in)
{
    static const struct {
        const char *suites, *alg;
    } runs[] = {{"hardened-rsa", "tdes2"}, {"hardened-ec", "aes128"}};
    char name[16], serial[8];

    snprintf(name, sizeof name, "load-%d", _i);
    snprintf(serial, sizeof serial, "N%d", _i);
    lab_begin(&lab, name);
    first_load(serial, runs[_i].alg, runs[_i].suites);
    lab_kill(&lab);
    lab_start(&lab);
    lab_settled(&lab, serial, 1);
    ck_assert_int_eq(lab_terminal_sim(&lab, serial, "sign-in", "--connect", connect_to(&lab), NULL),
                     0);
    lab_arm(&lab, serial, 1);
    ck_assert_int_eq(lab_load(&lab, serial, lab.port), 0);
    lab_settled(&lab, serial, 2);
    lab_end(&lab);
}
END_TEST

/* A PIN pad on SoftHSM, which does OAEP with SHA-1 only. */
static void softhsm_terminal(const char *serial)
{
    struct lab pad = lab;

    ck_assert_int_eq(setenv("KL_TEST_MODULE", "softhsm", 1), 0);
    lab_find_modules(&pad);
    lab_terminal(&pad, serial, "tdes2");
    ck_assert_int_eq(setenv("KL_TEST_MODULE", "nss", 1), 0);
}

/* It says what the loader needs; and with that it loads, as does a PIN pad that has both. */
START_TEST(pin_pad_with_sha1_only)
{
    static const char *const serials[] = {"SOFTHSM", "NSS"};
    struct proc proc;
    char to[32];

    lab_begin(&lab, "oaep");
    lab_set(&lab, "policy", "suites", "hardened-rsa");
    softhsm_terminal(serials[0]);
    lab_terminal(&lab, serials[1], "tdes2");
    lab_start(&lab);
    lab_arm(&lab, serials[0], 3);
    snprintf(to, sizeof to, "%s", connect_to(&lab));
    ck_assert_int_ne(lab_sim(&lab, serials[0], &proc, "load", "--connect", to, NULL), 0);
    char *said = file_read(proc.err, NULL);
    ck_assert_msg(strstr(said, "needs [policy] oaep-hash = sha1, or suite hardened-ec"), "%s",
                  said);
    free(said);
    lab_stop(&lab);

    lab_set(&lab, "policy", "oaep-hash", "sha1");
    lab_start(&lab);
    for (int i = 0; i < 2; i++) {
        lab_arm(&lab, serials[i], 1);
        ck_assert_int_eq(lab_load(&lab, serials[i], lab.port), 0);
        lab_settled(&lab, serials[i], 1);
    }
    lab_end(&lab);
}
END_TEST

/* What is accepted is logged, and recorded. */
START_TEST(acceptance_is_said)
{
    lab_begin(&lab, "said");
    lab_start(&lab);
    ck_assert_int_eq(lab_logged(&lab, "event=hsm-weakness-accepted weakness=no-unwrap-template", 1),
                     1);
    ck_assert_int_eq(lab_logged(&lab, "work key's CKA_UNWRAP_TEMPLATE does not bind CKA_KEY_TYPE, ",
                                1),
                     1);
    ck_assert_int_eq(lab_logged(&lab, "storage key's CKA_UNWRAP_TEMPLATE does not bind ", 1), 1);
    ck_assert_uint_eq(lab_log_count(&lab, "hsm-accept-needless"), 0);
    lab_stop(&lab);

    char *records = lab_ctl(&lab, "audit", "list", NULL);
    ck_assert_ptr_nonnull(strstr(records, "hsm-weakness-accepted"));
    ck_assert_ptr_nonnull(strstr(records, LAB_NSS_ACCEPT));
    free(records);
}
END_TEST

/* Without, or with one name too few, nothing starts; and it says which. */
START_TEST(no_start_without_acceptance)
{
    static const struct {
        const char *accept, *missing;
    } runs[] = {
        {"none", "not in [hsm] accept: " LAB_NSS_ACCEPT "; binding key's CKA_EXTRACTABLE"},
        {"no-extractable, no-unwrap-template, no-copyable, no-copy-limits",
         "not in [hsm] accept: no-allowed-mechanisms; work key's "},
    };
    char name[16];

    snprintf(name, sizeof name, "none-%d", _i);
    lab_begin(&lab, name);
    lab_set(&lab, "hsm", "accept", runs[_i].accept);
    ck_assert_int_ne(lab_start_fails(&lab), 0);
    char *log = file_read(lab.daemon.err, NULL);
    ck_assert_msg(strstr(log, runs[_i].missing) != NULL, "\"%s\" is not in: %s", runs[_i].missing,
                  log);
    free(log);
}
END_TEST

/* A name that this module gives no reason for is a warning. */
START_TEST(needless_acceptance)
{
    lab_begin(&lab, "needless");
    lab_set(&lab, "hsm", "accept", LAB_NSS_ACCEPT ", no-modifiable");
    lab_start(&lab);
    ck_assert_int_eq(lab_logged(&lab, "event=hsm-accept-needless weakness=no-modifiable", 1), 1);
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nss");
    TCase *tc = tcase_create("nss");

    if (!lab_nss_installed()) {
        puts("nothing was tested: NSS softokn (libnss3, libnss3-tools) is not installed");
        return 69; /* counted as a failure, as whatever runs nothing is */
    }
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, token_init_says_what_to_do);
    tcase_add_loop_test(tc, load_kill_and_sign_in, 0, 2);
    tcase_add_test(tc, pin_pad_with_sha1_only);
    tcase_add_test(tc, acceptance_is_said);
    tcase_add_loop_test(tc, no_start_without_acceptance, 0, 2);
    tcase_add_test(tc, needless_acceptance);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
