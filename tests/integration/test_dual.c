/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What takes two operators: over a real socket, by real users, with real keys, across a restart of
 * the daemon. Needs root, to be two people.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/control.h"
#include "tests/support/lab.h"
#include "tests/support/lab_keys.h"
#include "tests/support/suite.h"

#define OPERATORS 64001
#define AUDITORS 64002

static struct lab lab;
static char sock[CONTROL_PATH];

static const struct control_who alice = {7001, OPERATORS, {0}, 0}, bob = {7002, OPERATORS, {0}, 0},
                                audrey = {7003, AUDITORS, {0}, 0};

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* A scratch folder's file system need not have access lists, by which auditors get in. */
static void start(void)
{
    lab_start(&lab);
    if (lab_log_count(&lab, "event=control-no-access-list") > 0) {
        ck_assert_int_eq(chmod(sock, 0666), 0);
    }
}

static void begin(const char *name)
{
    lab_begin(&lab, name);
    control_begin(&lab, sock);
    lab_set(&lab, "control", "operators", "64001");
    lab_set(&lab, "control", "auditors", "64002");
    lab_set(&lab, "control", "dual-control", "arm-all, export, revoke, key-delete");
    lab_terminal(&lab, "T1", "tdes2");
    lab_arm(&lab, "T1", 5);
    start();
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
}

static void end(void)
{
    lab_end(&lab);
    control_end(sock);
}

/* What that user asks: its rc. */
static const char *as(const struct control_who *who, const char *op, const char *params)
{
    char line[1024];

    snprintf(line, sizeof line, "{\"do\":\"%s\",\"params\":%s}\n", op, params);
    return control_rc(control_ask(sock, who, line));
}

static const char *state_of(int id)
{
    static char state[32];
    char line[128];
    json_t *answer;

    snprintf(line, sizeof line, "{\"do\":\"request-show\",\"params\":{\"id\":%d}}\n", id);
    answer = control_ask(sock, &audrey, line);
    snprintf(state, sizeof state, "%s",
             json_string_value(json_object_get(json_object_get(answer, "result"), "state")));
    json_decref(answer);
    return state;
}

static void wait_done(int id)
{
    for (int i = 0; i < 250 && strcmp(state_of(id), "approved") == 0; i++) {
        proc_sleep_ms(20);
    }
    ck_assert_str_eq(state_of(id), "done");
}

static int active(void)
{
    struct lab_tmk list[LAB_TMK_MAX];

    return lab_active(list, lab_store(&lab, "T1", list)) != NULL;
}

#define ID(n) "{\"id\":" #n "}"

START_TEST(test_revoke)
{
    static const char revoke[] = "{\"serial\":\"T1\",\"reason\":\"stolen\"}";
    begin("revoke");

    /* Root is one person as well, and the command says that nothing is done. */
    ck_assert_int_eq(lab_ctl_status(&lab, "tmk", "revoke", "T1", "--reason", "x", NULL), 75);
    ck_assert_str_eq(as(&alice, "tmk-revoke", revoke), "ok");
    ck_assert(active());
    ck_assert_str_eq(as(&alice, "request-approve", ID(2)), "refused");
    ck_assert_str_eq(as(&audrey, "request-approve", ID(2)), "permission");
    ck_assert(active());
    ck_assert_int_eq(lab_ctl_status(&lab, "request", "approve", "2", NULL), 77); /* as root */
    ck_assert(active());
    lab_stop(&lab); /* requests outlive the daemon */
    start();
    ck_assert_str_eq(as(&bob, "request-approve", ID(2)), "ok");
    ck_assert_str_eq(state_of(2), "done");
    ck_assert(!active());
    ck_assert_str_eq(as(&bob, "request-approve", ID(2)), "refused");
    ck_assert_str_eq(as(&bob, "request-reject", ID(1)), "ok");
    end();
}
END_TEST

START_TEST(test_arm_all)
{
    char serial[16];
    char *text;
    begin("arm-all");

    for (int i = 0; i < 20; i++) {
        snprintf(serial, sizeof serial, "A%02d", i);
        free(lab_ctl(&lab, "terminal", "add", serial, NULL));
    }
    ck_assert_str_eq(as(&alice, "terminal-arm-all", "{\"filter\":{\"prefix\":\"A\"}}"), "ok");
    ck_assert_str_eq(as(&bob, "request-approve", ID(1)), "ok");
    wait_done(1);
    text = lab_ctl(&lab, "--json", "request", "show", "1", NULL);
    ck_assert_ptr_nonnull(strstr(text, "armed 20"));
    free(text);
    end();
}
END_TEST

static void make_zmk(const char *label)
{
    static const uint8_t value[KL_TMK_LEN_MAX] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct lab_components s;

    lab_components(&lab, kl_alg_by_name("aes128"), value, &s);
    free(lab_ctl(&lab, "zmk", "import", "--label", label, "--for", "export", "--algorithm",
                 "aes128", "--components", "2", "--component", s.sources[0], "--component",
                 s.sources[1], "--component-kcv", s.kcvs[0], "--component-kcv", s.kcvs[1],
                 "--expect-kcv", s.kcv, NULL));
}

START_TEST(test_export)
{
    begin("export");

    make_zmk("host");
    ck_assert_int_eq(lab_ctl_status(&lab, "tmk", "export", "T1", "--under-zmk", "host", NULL), 75);
    ck_assert_int_eq(lab_ctl_status(&lab, "tmk", "export", "T1", "--under-zmk", "host", "--request",
                                    "1", NULL),
                     77); /* not approved */
    ck_assert_str_eq(as(&alice, "request-approve", ID(1)), "ok");
    ck_assert_int_eq(lab_ctl_status(&lab, "tmk", "export", "T1", "--under-zmk", "host", "--wrap",
                                    "kwp", "--request", "1", NULL),
                     77); /* something else was */
    ck_assert_int_eq(lab_ctl_status(&lab, "tmk", "export", "T1", "--under-zmk", "none", "--request",
                                    "1", NULL),
                     77);
    ck_assert_str_eq(state_of(1), "approved");
    free(lab_ctl(&lab, "tmk", "export", "T1", "--under-zmk", "host", "--request", "1", NULL));
    ck_assert_str_eq(state_of(1), "done");
    ck_assert_int_eq(lab_ctl_status(&lab, "tmk", "export", "T1", "--under-zmk", "host", "--request",
                                    "1", NULL),
                     77); /* once */
    lab_stop(&lab);
    /* Without a daemon nobody knows who asks. */
    ck_assert_int_eq(lab_ctl_status(&lab, "tmk", "export", "T1", "--under-zmk", "host", NULL), 77);
    ck_assert_int_eq(lab_ctl_status(&lab, "tmk", "revoke", "T1", "--reason", "x", NULL), 77);
    ck_assert_int_eq(lab_ctl_status(&lab, "terminal", "arm-all", NULL), 77);
    ck_assert_int_eq(lab_ctl_status(&lab, "key", "generate", "--replace", NULL), 77);
    lab_start(&lab);
    end();
}
END_TEST

START_TEST(test_key_delete)
{
    begin("delete");

    free(lab_ctl(&lab, "transport", "generate", "--label", "carrier", "--key", "rsa-2048", NULL));
    lab_ctl_ends(&lab, 77, "storage key", "key", "delete", "tmk-storage", NULL);
    lab_ctl_ends(&lab, 77, "audit key", "key", "delete", "audit-checkpoint", NULL);
    lab_ctl_ends(&lab, 77, "certificate is installed", "key", "delete", LAB_WORK_KEY, NULL);
    ck_assert_int_eq(lab_ctl_status(&lab, "key", "delete", "carrier", NULL), 75);
    ck_assert_str_eq(as(&bob, "request-approve", ID(1)), "ok");
    ck_assert_int_eq(lab_ctl_status(&lab, "key", "delete", LAB_WORK_KEY, "--request", "1", NULL),
                     77); /* in use */
    free(lab_ctl(&lab, "key", "delete", "carrier", "--request", "1", NULL));
    ck_assert_int_eq(lab_ctl_status(&lab, "key", "delete", "carrier", "--request", "1", NULL), 66);
    end();
}
END_TEST

/* Nothing to do for one user alone. */
START_TEST(test_as_root_only)
{
    ck_assert_uint_ne(geteuid(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dual");
    TCase *tcase = tcase_create("dual");

    if (geteuid() != 0) {
        tcase_add_test(tcase, test_as_root_only);
        suite_add_tcase(suite, tcase);
        return test_run(suite);
    }
    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, test_revoke);
    tcase_add_test(tcase, test_arm_all);
    tcase_add_test(tcase, test_export);
    tcase_add_test(tcase, test_key_delete);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
