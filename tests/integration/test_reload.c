/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * New keys, certificates and roots while the daemon serves: no load may fail for it, what is wrong
 * with the files changes nothing, and what is new serves from then on.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/lab.h"
#include "tests/support/lab_loads.h"
#include "tests/support/lab_trust.h"
#include "tests/support/suite.h"

static struct lab lab;
static char root[PATH_MAX]; /* of the first CA alone */

static struct lab_loads loads;

/* ---- Reloads ---- */

/* SIGHUP, to the workers as well, as a shell sends it to a job; and loads that go on until the log
 * has `event` once more, and a little longer. */
static void reload(const char *event, int loading)
{
    unsigned before = lab_log_count(&lab, event);
    pid_t workers[8];
    size_t count = proc_children(lab.daemon.pid, workers, 8);
    int ms = 0;

    for (size_t i = 0; i < count; i++) {
        kill(workers[i], SIGHUP);
    }
    kill(lab.daemon.pid, SIGHUP);
    for (; lab_log_count(&lab, event) == before && ms < proc_seconds(30) * 1000; ms += 20) {
        proc_sleep_ms(20);
        if (loading) {
            lab_loads_go_on(&loads, 1);
        }
    }
    ck_assert_msg(lab_log_count(&lab, event) > before, "no %s: %s", event,
                  file_read(lab.daemon.err, NULL));
    ck_assert_uint_eq(lab_log_count(&lab, "event=worker-lost"), 0);
    for (ms = 0; loading && ms < 1000; ms += 20) {
        proc_sleep_ms(20);
        lab_loads_go_on(&loads, 1);
    }
}

static void remove_chain(const char *label)
{
    free(lab_ctl(&lab, "cert", "remove", "--label", label, NULL));
}

static void found(void)
{
    size_t len;
    char *pem, path[PATH_MAX];

    lab_found(&lab, 2048);
    pem = file_read(file_path(path, lab.dir, "root.pem"), &len);
    file_write(file_path(root, lab.dir, "first-root.pem"), pem, len, 0644);
    free(pem);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void end(void)
{
    lab_end(&lab);
}

/* A new key and its certificate: both serve, then the new one alone. */
START_TEST(rotation)
{
    lab_begin(&lab, "rotation");
    lab_set(&lab, "hsm", "workers", "2");
    lab_loads_make(&loads, &lab, root);
    lab_start(&lab);
    lab_loads_begin(&loads);
    lab_certify(&lab, "acquire-work-2", "hardened-rsa", "rsa-2048", "ca");
    reload("event=reloaded chains=2", 1);
    remove_chain(LAB_WORK_KEY);
    reload("event=reloaded chains=1", 1);
    lab_loads_end(&loads, 1);
    ck_assert_uint_eq(lab_log_count(&lab, "event=worker-lost"), 0);
    ck_assert_uint_eq(lab_log_count(&lab, "event=refused"), 0);
}
END_TEST

/* A new root: terminals that hold both roots move to the new chain, one that holds the old root
 * alone is served by the old chain as long as that is there. */
START_TEST(root_rollover)
{
    char both[PATH_MAX];

    lab_begin(&lab, "rollover");
    lab_set(&lab, "hsm", "workers", "2");
    lab_start(&lab);
    lab_found_ca(&lab, "ca2");
    lab_publish_crl(&lab, "ca2", "loader");
    lab_loads_make(&loads, &lab, file_path(both, lab.dir, "root.pem"));
    lab_register(&lab, "OLD", "tdes2");
    lab_make_terminal(&lab, "OLD", root);
    lab_loads_begin(&loads);
    lab_certify(&lab, "acquire-work-ca2", "hardened-rsa", "rsa-2048", "ca2");
    reload("event=reloaded chains=2", 1);
    lab_arm(&lab, "OLD", 1);
    ck_assert_int_eq(lab_load(&lab, "OLD", lab.port), 0);
    remove_chain(LAB_WORK_KEY);
    reload("event=reloaded chains=1", 1);
    lab_arm(&lab, "OLD", 1);
    ck_assert_int_ne(lab_load(&lab, "OLD", lab.port), 0);
    ck_assert(lab_logged(&lab, "the terminal trusts none of the roots", 5));
    lab_loads_end(&loads, 1);
    lab_agree(&lab, "OLD");
}
END_TEST

/* When all that is installed is revoked, nothing is served until there is another. */
START_TEST(all_revoked)
{
    char work[PATH_MAX], path[PATH_MAX];

    lab_begin(&lab, "all-revoked");
    lab_start(&lab);
    lab_terminal(&lab, "T", "tdes2");
    X509 *cert =
        lab_read_cert(file_path(path, file_path(work, lab.dir, "work"), LAB_WORK_KEY ".pem"));
    lab_revoke(&lab, "ca", cert);
    X509_free(cert);
    lab_publish_crl(&lab, "ca", "loader");
    reload("event=reload-failed", 0);
    ck_assert(lab_logged(&lab, "no new load is served", 1));
    lab_arm(&lab, "T", 2);
    ck_assert_int_ne(lab_load(&lab, "T", lab.port), 0);
    ck_assert(lab_logged(&lab, "rc=unavailable", 5));
    lab_certify(&lab, "acquire-work-2", "hardened-rsa", "rsa-2048", "ca");
    reload("event=reloaded chains=1", 0);
    ck_assert_int_eq(lab_load(&lab, "T", lab.port), 0);
    lab_settled(&lab, "T", 1);
}
END_TEST

static void chain_path(const char *label, char path[PATH_MAX])
{
    char work[PATH_MAX], name[64];

    snprintf(name, sizeof name, "%s.pem", label);
    file_path(path, file_path(work, lab.dir, "work"), name);
}

/* A copy of the installed file under another name, or with other content. */
static void copy_chain(const char *to, const char *other)
{
    char from[PATH_MAX], path[PATH_MAX];
    size_t len;
    char *pem;

    chain_path(LAB_WORK_KEY, from);
    chain_path(to, path);
    pem = file_read(from, &len);
    file_write(path, other != NULL ? other : pem, other != NULL ? strlen(other) : len, 0644);
    free(pem);
}

static void remove_copy(const char *name)
{
    char path[PATH_MAX];

    chain_path(name, path);
    ck_assert_int_eq(unlink(path), 0);
}

/* What is wrong with the files, or with the HSM's keys, leaves the old certificates in force. */
START_TEST(failures_change_nothing)
{
    static const struct {
        const char *name, *text, *says;
    } rows[] = {
        {"broken", "no certificate\n", "broken.pem"},
        {"ghost", NULL, "ghost"}, /* the HSM has no such key */
    };

    lab_begin(&lab, "failures");
    lab_loads_make(&loads, &lab, root);
    lab_start(&lab);
    lab_loads_begin(&loads);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        copy_chain(rows[i].name, rows[i].text);
        reload("event=reload-failed", 1);
        ck_assert(lab_logged(&lab, rows[i].says, 1));
        remove_copy(rows[i].name);
    }
    reload("event=reloaded chains=1", 1);
    lab_loads_end(&loads, 1);
    ck_assert_uint_eq(lab_log_count(&lab, "event=refused"), 0);
}
END_TEST

/* One that comes while another is under way follows it. */
START_TEST(one_at_a_time)
{
    lab_begin(&lab, "queued");
    lab_start(&lab);
    kill(lab.daemon.pid, SIGHUP);
    ck_assert(lab_logged(&lab, "event=reloading", 5));
    kill(lab.daemon.pid, SIGHUP);
    for (int ms = 0; lab_log_count(&lab, "event=reloaded") < 2 && ms < proc_seconds(30) * 1000;
         ms += 20) {
        proc_sleep_ms(20);
    }
    ck_assert_uint_eq(lab_log_count(&lab, "event=reloaded"), 2);
    ck_assert_uint_eq(lab_log_count(&lab, "event=reloading"), 2);
}
END_TEST

/* keyloaderd -t reads what a reload would. */
START_TEST(test_option)
{
    char conf[PATH_MAX + 32], hsm[PATH_MAX];
    const char *env[] = {conf, NULL};
    const char *argv[] = {lab_built("bin/keyloaderd"), "-t", "-c", NULL, NULL};
    struct proc proc;

    lab_begin(&lab, "test-option");
    lab_start(&lab); /* makes the store */
    lab_stop(&lab);
    snprintf(conf, sizeof conf, "SOFTHSM2_CONF=%s/softhsm2.conf", file_path(hsm, lab.dir, "hsm"));
    argv[3] = lab.conf;
    proc_spawn(&proc, lab.logs, env, argv);
    ck_assert_int_eq(proc_wait(&proc, 30), 0);
    copy_chain("ghost", NULL);
    proc_spawn(&proc, lab.logs, env, argv);
    ck_assert_int_eq(proc_wait(&proc, 30), 69);
    remove_copy("ghost");
}
END_TEST

int main(void)
{
    const struct {
        const char *name;
        const TTest *test;
    } changing[] = {{"rotation", rotation},
                    {"rollover", root_rollover},
                    {"all-revoked", all_revoked}};
    Suite *suite = suite_create("reload");
    TCase *tc = tcase_create("reload");

    tcase_set_timeout(tc, 180);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_test(tc, failures_change_nothing);
    tcase_add_test(tc, one_at_a_time);
    tcase_add_test(tc, test_option);
    suite_add_tcase(suite, tc);
    /* These change what is installed: each has a centre of its own. */
    for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++) {
        tc = tcase_create(changing[i].name);
        tcase_set_timeout(tc, 180);
        tcase_add_unchecked_fixture(tc, found, abandon);
        tcase_add_checked_fixture(tc, NULL, end);
        tcase_add_test(tc, changing[i].test);
        suite_add_tcase(suite, tc);
    }
    return test_run(suite);
}
