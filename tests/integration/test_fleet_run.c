/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terminal-sim fleet against a real daemon: what it reports is what the store has, and each kind of
 * trouble is counted as what it is.
 */
#include <check.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/lab.h"
#include "tests/support/lab_keys.h"
#include "tests/support/lab_trust.h"
#include "tests/support/suite.h"

#define FLEET_SECONDS 60
#define ARGS_MAX 32

static struct lab lab;
static json_t *report;

static void found(void)
{
    lab_found(&lab, 2048);
    lab_certify(&lab, "ec", "hardened-ec", "p-256", "ca");
    lab_found_file_ca(&lab, "other", "p-256");
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* ---- The fleet ---- */

/* Starts it on that port, with the lab's root and words of `line` besides. */
static void spawn(struct proc *proc, uint16_t port, const char *root, const char *line)
{
    static char words[512], address[32], path[PATH_MAX];
    const char *argv[ARGS_MAX] = {lab_built("bin/terminal-sim"),
                                  "fleet",
                                  "--connect",
                                  address,
                                  "--root",
                                  root ? root : file_path(path, lab.dir, "root.pem"),
                                  "--json"};
    char *rest = words, *word;
    size_t n = 7;

    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    ck_assert_uint_lt((size_t)snprintf(words, sizeof words, "%s", line), sizeof words);
    while ((word = strsep(&rest, " ")) != NULL) {
        ck_assert_uint_lt(n, ARGS_MAX - 1);
        argv[n++] = word;
    }
    proc_spawn(proc, lab.logs, lab.env, argv);
}

static void read_report(const struct proc *proc)
{
    char *text = file_read(proc->out, NULL);
    json_error_t error;

    json_decref(report);
    report = json_loads(text, 0, &error);
    ck_assert_msg(report != NULL, "%s: %s %s", error.text, text, file_read(proc->err, NULL));
    free(text);
}

static int finish(struct proc *proc)
{
    int status = proc_wait(proc, FLEET_SECONDS);

    read_report(proc);
    return status;
}

static int run(const char *line)
{
    struct proc proc;

    spawn(&proc, lab.port, NULL, line);
    return finish(&proc);
}

/* The number at a path of members, "loads/good"; 0 of a kind of error that there was none of. */
static double number(const char *path)
{
    char copy[128], *rest = copy, *name;
    const json_t *at = report;

    snprintf(copy, sizeof copy, "%s", path);
    while ((name = strsep(&rest, "/")) != NULL) {
        at = json_object_get(at, name);
    }
    ck_assert_msg(json_is_number(at) || strncmp(path, "errors/", 7) == 0, "no %s in the report",
                  path);
    return json_number_value(at);
}

#define is(path, value) \
    ck_assert_msg(number(path) == (value), "%s is %g; %s", path, number(path), \
                  json_dumps(report, JSON_INDENT(1)))

/* Registers and arms what the fleet itself says its terminals are. */
static void begin(const char *name, const char *which)
{
    char csv[PATH_MAX], line[PATH_MAX + 128];
    struct proc proc;
    char *words[ARGS_MAX], *rest = line;
    const char *argv[ARGS_MAX] = {lab_built("bin/terminal-sim"), "fleet"};
    size_t n = 0;

    lab_begin(&lab, name);
    file_path(csv, lab.run, "fleet.csv");
    snprintf(line, sizeof line, "--write-csv %s %s", csv, which);
    while ((words[n] = strsep(&rest, " ")) != NULL) {
        argv[2 + n] = words[n];
        n++;
    }
    proc_spawn(&proc, lab.logs, lab.env, argv);
    ck_assert_int_eq(proc_wait(&proc, FLEET_SECONDS), 0);
    free(lab_ctl(&lab, "terminal", "import", csv, NULL));
    free(lab_ctl(&lab, "terminal", "arm-all", "--for", "1h", "--attempts", "100", NULL));
}

static void end(void)
{
    lab_end(&lab);
    json_decref(report);
    report = NULL;
}

/* The PIN pads' CSV, line by line, against the store; how many TMKs are in that state. */
static unsigned compare(const char *path, const char *wanted)
{
    char *text = file_read(path, NULL), *rest = text, *line;
    struct lab_tmk tmks[LAB_TMK_MAX];
    unsigned count = 0;

    ck_assert_str_eq(strsep(&rest, "\n"), "serial,state,version,algorithm,kcv");
    while ((line = strsep(&rest, "\n")) != NULL && *line) {
        char serial[64], state[16], alg[16], kcv[16];
        unsigned version;

        ck_assert_int_eq(sscanf(line, "%63[^,],%15[^,],%u,%15[^,],%15s", serial, state, &version,
                                alg, kcv),
                         5);
        if (strcmp(state, wanted) != 0) {
            continue;
        }
        count++;
        size_t n = lab_store(&lab, serial, tmks), i = 0;
        while (i < n && tmks[i].version != version) {
            i++;
        }
        ck_assert_msg(i < n, "%s: the store has no version %u", serial, version);
        ck_assert_str_eq(tmks[i].kcv, kcv);
        ck_assert_str_eq(tmks[i].alg, alg);
        ck_assert_str_eq(tmks[i].state, strcmp(wanted, "active") == 0 ? "active" : "pending");
    }
    free(text);
    return count;
}

#define TERMINALS "--serial-prefix Q --algorithm tdes2=2,tdes3 --terminals "

/* ---- What goes well ---- */

START_TEST(test_closed_loop_with_sign_ins)
{
    char kcv[PATH_MAX], html[PATH_MAX], line[3 * PATH_MAX];

    begin("closed", TERMINALS "12");
    lab_set(&lab, "policy", "host-fallback", "yes");
    lab_start(&lab);
    file_path(kcv, lab.run, "kcv.csv");
    file_path(html, lab.run, "report.html");
    snprintf(line, sizeof line,
             TERMINALS
             "12 --concurrency 4 --suite hardened-ec,hardened-rsa --sign-in 40 --count 30 "
             "--think 1ms --source 127.0.0.0/8 --kcv-out %s --html %s",
             kcv, html);
    ck_assert_int_eq(run(line), 0);
    is("loads/good", 12);
    is("sign-ins/good", 18);
    is("loads/failed", 0);
    is("terminals-with-tmk", 12);
    is("load-ms/count", 12);
    is("sign-in-ms/count", 18);
    is("load-steps-ms/done/count", 12);
    ck_assert_uint_eq(compare(kcv, "active"), 12);
    /* Each from its own address. */
    ck_assert_uint_ge(lab_log_count(&lab, "event=tmk-active address=127.0.0.2 serial=Q000002"), 1);
    ck_assert_uint_ge(lab_log_count(&lab, "event=tmk-active address=127.0.0.12 serial=Q000012"), 1);
    char *page = file_read(html, NULL);
    ck_assert_ptr_nonnull(strstr(page, "as expected"));
    free(page);
    end();
}
END_TEST

START_TEST(test_second_round_supersedes)
{
    char kcv[PATH_MAX], line[2 * PATH_MAX];

    begin("rounds", TERMINALS "2");
    lab_start(&lab);
    file_path(kcv, lab.run, "kcv.csv");
    snprintf(line, sizeof line,
             TERMINALS "2 --concurrency 1 --suite hardened-rsa --rounds 2 --kcv-out %s", kcv);
    /* The second loads are refused: the first have used the arming up. */
    ck_assert_int_eq(run(line), 1);
    is("loads/good", 2);
    is("errors/refused/failed", 2);
    is("unexpected-failures", 2);
    ck_assert_uint_eq(compare(kcv, "active"), 2);
    snprintf(line, sizeof line, TERMINALS "2 --concurrency 1 --suite hardened-rsa --allow refused");
    ck_assert_int_eq(run(line), 0);
    is("errors/refused/failed", 2);
    end();
}
END_TEST

START_TEST(test_storm)
{
    begin("storm", TERMINALS "20");
    lab_start(&lab);
    ck_assert_int_eq(run(TERMINALS "20 --storm --spread 20ms --suite hardened-rsa --idle 3"), 0);
    is("loads/started", 20);
    is("loads/good", 20);
    is("idle-connections/opened", 3);
    ck_assert(number("connections-at-once") > 1);
    end();
}
END_TEST

/* How many established connections there are to that port of loopback. */
static unsigned established(uint16_t port)
{
    char *table = file_read("/proc/net/tcp", NULL), *rest = table, *line;
    unsigned count = 0, remote, state;

    while ((line = strsep(&rest, "\n")) != NULL) {
        if (sscanf(line, " %*u: %*x:%*x %*x:%x %x", &remote, &state) == 2) {
            count += remote == port && state == 1;
        }
    }
    free(table);
    return count;
}

/* The loader stands still for a second. All loads are due in the first milliseconds, one connection
 * is all there is: each has taken a second then, however quick its own attempt was. */
START_TEST(test_open_loop_measures_from_the_intended_start)
{
    struct proc proc;

    begin("open", TERMINALS "5");
    lab_start(&lab);
    ck_assert_int_eq(kill(lab.daemon.pid, SIGSTOP), 0);
    spawn(&proc, lab.port, NULL,
          TERMINALS "5 --rate 1000 --arrivals constant --connections 1 --timeout 60s "
                    "--suite hardened-rsa");
    for (int i = 0; i < proc_seconds(20) * 20 && established(lab.port) == 0; i++) {
        proc_sleep_ms(50);
    }
    proc_sleep_ms(1000);
    ck_assert_int_eq(kill(lab.daemon.pid, SIGCONT), 0);
    ck_assert_int_eq(finish(&proc), 0);
    is("loads/good", 5);
    is("connections-at-once", 1);
    ck_assert_msg(number("load-ms/min") > 900, "%g ms", number("load-ms/min"));
    ck_assert_msg(number("start-lag-ms/max") > 900, "%g ms", number("start-lag-ms/max"));
    ck_assert(number("load-last-attempt-ms/min") < number("load-ms/min"));
    end();
}
END_TEST

START_TEST(test_idle_alone)
{
    begin("idle", TERMINALS "1");
    lab_set(&lab, "limits", "connections", "4");
    lab_start(&lab);
    ck_assert_int_eq(run(TERMINALS "1 --idle 6 --duration 500ms --source 127.0.0.0/8"), 0);
    ck_assert(number("idle-connections/opened") >= 4);
    ck_assert(number("idle-connections/closed-by-the-loader") >= 2); /* turned away */
    ck_assert(number("idle-connections/connected-at-the-end") <= 4);
    is("loads/started", 0);
    end();
}
END_TEST

/* ---- What does not ---- */

/* Four loads and a stopped worker: one job is with it, one waits, the others are turned away. Its
 * exit status. */
static int while_worker_is_stopped(const char *line)
{
    unsigned before = lab_log_count(&lab, "rc=busy");
    struct proc proc;
    pid_t workers[2];

    ck_assert_uint_eq(proc_children(lab.daemon.pid, workers, 2), 1);
    ck_assert_int_eq(kill(workers[0], SIGSTOP), 0);
    spawn(&proc, lab.port, NULL, line);
    for (int i = 0; i < proc_seconds(10) * 20 && lab_log_count(&lab, "rc=busy") < before + 2; i++) {
        proc_sleep_ms(50);
    }
    ck_assert_int_eq(kill(workers[0], SIGCONT), 0);
    return finish(&proc);
}

START_TEST(test_busy_is_counted_and_retried)
{
    begin("busy", TERMINALS "4");
    lab_set(&lab, "limits", "queue", "1");
    lab_set(&lab, "limits", "retry-after", "1s");
    lab_set(&lab, "hsm", "job-timeout", "60s");
    lab_start(&lab);
    lab_wait_checkpoint(&lab);
    ck_assert_int_eq(while_worker_is_stopped(TERMINALS "4 --storm --suite hardened-rsa"), 1);
    is("loads/good", 2);
    is("errors/busy/failed", 2);
    is("errors/busy/attempts", 2);
    is("retries", 0);
    free(lab_ctl(&lab, "terminal", "arm-all", "--for", "1h", "--attempts", "100", NULL));
    int status = while_worker_is_stopped(TERMINALS "4 --storm --suite hardened-rsa --retry 60");
    is("loads/good", 4);
    ck_assert_int_eq(status, 0);
    ck_assert(number("retries") >= 2);
    is("errors/busy/failed", 0);
    is("errors/busy/attempts", number("retries"));
    /* It came again when it was told to, and a load's time has its pauses. */
    ck_assert_msg(number("load-ms/max") > 1000, "%g ms", number("load-ms/max"));
    end();
}
END_TEST

START_TEST(test_foreign_root)
{
    char root[PATH_MAX];
    struct proc proc;

    begin("root", TERMINALS "3");
    lab_start(&lab);
    spawn(&proc, lab.port, lab_ca_root(&lab, "other", root),
          TERMINALS "3 --concurrency 1 --suite hardened-rsa");
    ck_assert_int_eq(finish(&proc), 1);
    is("errors/refused/failed", 3); /* Hello names the root: the loader has nothing under it */
    is("terminals-with-tmk", 0);
    spawn(&proc, lab.port, root, TERMINALS "3 --concurrency 1 --suite hardened-rsa --max-errors 3");
    ck_assert_int_eq(finish(&proc), 0);
    is("unexpected-failures", 3);
    end();
}
END_TEST

/* A flipped bit of MasterKey. */
START_TEST(test_failed_check)
{
    const struct relay_plan plan = {.act = RELAY_FLIP, .message = 3, .byte = 30};
    struct proc proc;

    begin("check", TERMINALS "2");
    lab_start(&lab);
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    spawn(&proc, relay_port(relay), NULL,
          TERMINALS "2 --concurrency 1 --suite hardened-rsa --retry 3");
    ck_assert_int_eq(finish(&proc), 1);
    is("errors/check/failed", 2);
    is("errors/check/attempts", 2); /* not tried again */
    is("terminals-with-tmk", 0);
    is("candidates-in-doubt", 0);
    relay_stop(relay);
    end();
}
END_TEST

START_TEST(test_nobody_listens)
{
    struct proc proc;

    begin("nobody", TERMINALS "2");
    lab_start(&lab);
    lab_stop(&lab);
    spawn(&proc, lab.port, NULL, TERMINALS "2 --concurrency 2 --retry 1");
    ck_assert_int_eq(finish(&proc), 1);
    is("errors/connect/failed", 2);
    is("errors/connect/attempts", 4);
    spawn(&proc, lab.port, NULL, TERMINALS "2 --idle 3 --duration 100ms");
    ck_assert_int_eq(finish(&proc), 1);
    ck_assert(number("errors/connect/failed") >= 3);
    is("unexpected-failures", number("idle-connections/not-opened"));
    spawn(&proc, lab.port, NULL, TERMINALS "2 --idle 3 --duration 100ms --allow connect");
    ck_assert_int_eq(finish(&proc), 0);
    end();
}
END_TEST

/* Done does not arrive, and the loader has made the TMK active: a Confirm at the end settles it. */
START_TEST(test_lost_done_is_confirmed)
{
    const struct relay_plan plan = {.act = RELAY_CUT, .message = 5};
    char kcv[PATH_MAX], line[2 * PATH_MAX];
    struct proc proc;

    begin("lost", TERMINALS "2");
    lab_start(&lab);
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    file_path(kcv, lab.run, "kcv.csv");
    snprintf(line, sizeof line,
             TERMINALS "1 --concurrency 1 --suite hardened-rsa --kcv-out %s --allow reset", kcv);
    spawn(&proc, relay_port(relay), NULL, line);
    ck_assert_int_eq(finish(&proc), 0);
    is("errors/reset/failed", 1);
    is("candidates-confirmed-at-the-end", 1);
    is("candidates-in-doubt", 0);
    ck_assert_uint_eq(compare(kcv, "active"), 1);
    /* With a retry the load itself ends by a Confirm. */
    spawn(&proc, relay_port(relay), NULL,
          TERMINALS "1 --first 2 --concurrency 1 --suite hardened-rsa --retry 1");
    ck_assert_int_eq(finish(&proc), 0);
    is("loads/good", 1);
    is("loads-ended-by-confirm", 1);
    relay_stop(relay);
    end();
}
END_TEST

/* Loaded is lost with the daemon: what became of the TMK nobody can say. */
START_TEST(test_candidate_in_doubt_is_reported)
{
    const struct relay_plan plan = {.act = RELAY_HOLD_BEFORE, .message = 4};
    char kcv[PATH_MAX], line[2 * PATH_MAX];
    struct proc proc;

    begin("doubt", TERMINALS "1");
    lab_start(&lab);
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    file_path(kcv, lab.run, "kcv.csv");
    snprintf(line, sizeof line,
             TERMINALS "1 --concurrency 1 --suite hardened-rsa --kcv-out %s --allow reset,connect",
             kcv);
    spawn(&proc, relay_port(relay), NULL, line);
    ck_assert(relay_wait_hold(relay, proc_seconds(20) * 1000));
    lab_kill(&lab);
    relay_release(relay);
    ck_assert_int_eq(finish(&proc), 1);
    is("candidates-in-doubt", 1);
    is("errors/in-doubt/failed", 1);
    is("terminals-with-tmk", 0);
    relay_stop(relay);
    ck_assert_uint_eq(compare(kcv, "in-doubt"), 1);
    end();
}
END_TEST

/* SIGINT ends arrivals, and the report says so. */
START_TEST(test_interrupted)
{
    struct proc proc;

    begin("interrupt", TERMINALS "5");
    lab_start(&lab);
    spawn(&proc, lab.port, NULL,
          TERMINALS
          "5 --concurrency 1 --think 1h --think-time fixed --suite hardened-rsa --idle 1 --seed 5");
    for (int i = 0; i < proc_seconds(20) * 20 && established(lab.port) == 0; i++) {
        proc_sleep_ms(50);
    }
    ck_assert_int_eq(kill(proc.pid, SIGINT), 0);
    ck_assert_int_eq(finish(&proc), 0);
    ck_assert(json_is_true(json_object_get(report, "interrupted")));
    is("loads/started", 0); /* the first pause was still on */
    is("cut-off", 0);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fleet_run");
    TCase *fleet = tcase_create("fleet");

    tcase_set_timeout(fleet, 120);
    tcase_add_unchecked_fixture(fleet, found, abandon);
    tcase_add_test(fleet, test_closed_loop_with_sign_ins);
    tcase_add_test(fleet, test_second_round_supersedes);
    tcase_add_test(fleet, test_storm);
    tcase_add_test(fleet, test_open_loop_measures_from_the_intended_start);
    tcase_add_test(fleet, test_idle_alone);
    tcase_add_test(fleet, test_busy_is_counted_and_retried);
    tcase_add_test(fleet, test_foreign_root);
    tcase_add_test(fleet, test_failed_check);
    tcase_add_test(fleet, test_nobody_listens);
    tcase_add_test(fleet, test_lost_done_is_confirmed);
    tcase_add_test(fleet, test_candidate_in_doubt_is_reported);
    tcase_add_test(fleet, test_interrupted);
    suite_add_tcase(suite, fleet);
    return test_run(suite);
}
