/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor of a real daemon: numbers that follow from what it did, readiness, the form of
 * /metrics, what alert rules and dashboard need of it, and that clients of the monitor cost
 * terminals nothing.
 */
#include <check.h>
#include <ctype.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/http.h"
#include "tests/support/lab_keys.h"
#include "tests/support/suite.h"

#define UNARMED_STATUS 76 /* of terminal-sim, refused */
#define BUSY_STATUS 75

static struct lab lab;
static uint16_t port;

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void start(void)
{
    lab_set(&lab, "monitor", "listen", "127.0.0.1:0");
    lab_start(&lab);
    port = lab_monitor_port(&lab);
}

/* The value that a line of /metrics begins with; -1 if there is none. */
static double value(const char *text, const char *series)
{
    size_t len = strlen(series);

    for (const char *at = text; (at = strstr(at, series)) != NULL; at += len) {
        if ((at == text || at[-1] == '\n') && at[len] == ' ') {
            return atof(at + len);
        }
    }
    return -1;
}

/* Waits until a series has that value: a view is made each second, a census each ten. */
static void shows(const char *series, double wanted)
{
    double got = -1;

    for (int i = 0; i < 15 * 10; i++) {
        char *answer = http_get(port, "/metrics");
        got = value(http_body(answer), series);
        free(answer);
        if (got == wanted) {
            return;
        }
        proc_sleep_ms(100);
    }
    ck_abort_msg("%s is %g, not %g", series, got, wanted);
}

static int status_of(const char *path)
{
    char *answer = http_get(port, path);
    int status = http_status(answer);

    free(answer);
    return status;
}

/* So that a shell's prompt begins a line of its own. */
static void ends_with_a_line(const char *path)
{
    char *answer = http_get(port, path);

    ck_assert_str_eq(answer + strlen(answer) - 2, "}\n");
    free(answer);
}

/* ---- Numbers ---- */

START_TEST(numbers)
{
    json_t *status;
    char *answer;

    lab_begin(&lab, "numbers");
    lab_terminal(&lab, "A", "tdes2");
    lab_terminal(&lab, "B", "tdes2");
    lab_set(&lab, "policy", "host-fallback", "yes");
    start();
    shows("keyloader_ready", 1);
    shows("keyloader_loads_total{outcome=\"done\",suite=\"hardened-rsa\"}", 0);
    lab_arm(&lab, "A", 3);
    ck_assert_int_eq(lab_load(&lab, "A", lab.port), 0);
    ck_assert_int_eq(lab_sign_in(&lab, "A", lab.port, "keys", NULL), 0);
    ck_assert_int_eq(lab_load(&lab, "B", lab.port), UNARMED_STATUS);
    shows("keyloader_loads_total{outcome=\"done\",suite=\"hardened-rsa\"}", 1);
    shows("keyloader_loads_total{outcome=\"refused\",suite=\"none\"}", 1);
    shows("keyloader_sign_ins_total{outcome=\"done\"}", 1);
    shows("keyloader_refusals_total{reason=\"unarmed\"}", 1);
    shows("keyloader_alarms_total{of=\"load\",reason=\"unarmed\"}", 1);
    shows("keyloader_load_duration_seconds_count", 1);
    shows("keyloader_step_duration_seconds_count{step=\"hsm\"}", 1);
    shows("keyloader_step_duration_seconds_count{step=\"pending\"}", 1);
    shows("keyloader_hsm_job_duration_seconds_count{hsm=\"hsm\",kind=\"load\"}", 1);
    shows("keyloader_hsm_job_duration_seconds_count{hsm=\"hsm\",kind=\"sign-in\"}", 1);
    shows("keyloader_hsm_state{hsm=\"hsm\",state=\"up\"}", 1);
    shows("keyloader_hsm_workers{hsm=\"hsm\",state=\"idle\"}", 1);
    shows("keyloader_queue_limit", 256);
    shows("keyloader_tmks{state=\"active\"}", 1);
    shows("keyloader_terminals{state=\"idle\"}", 2);
    shows("keyloader_store_state{state=\"ok\"}", 1);
    answer = http_get(port, "/status.json");
    status = json_loads(http_body(answer), 0, NULL);
    ck_assert_ptr_nonnull(status);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(status, "loads"), "done")),
                     1);
    ck_assert_str_eq(lab_text(json_array_get(json_object_get(status, "refusals"), 0), "serial"),
                     "B");
    json_decref(status);
    free(answer);
    lab_end(&lab);
}
END_TEST

/* What it cannot read of a peer is counted, and never becomes a label. */
START_TEST(peers_choose_no_label)
{
    char *answer;
    int fd;

    lab_begin(&lab, "labels");
    lab_terminal(&lab, "SERIAL-7", "tdes2");
    start();
    fd = http_connect(lab.port);
    ck_assert(http_send(fd, "GET /metrics HTTP/1.1\r\n\r\n"));
    free(http_rest(fd));
    ck_assert_int_eq(lab_load(&lab, "SERIAL-7", lab.port), UNARMED_STATUS);
    shows("keyloader_messages_malformed_total", 1);
    shows("keyloader_refusals_total{reason=\"unarmed\"}", 1);
    answer = http_get(port, "/metrics");
    ck_assert_ptr_null(strstr(http_body(answer), "SERIAL-7"));
    free(answer);
    lab_end(&lab);
}
END_TEST

/* ---- The form of /metrics ---- */

/* A line is "# HELP name text", "# TYPE name type" or "name{labels} value", HELP and TYPE before
 * the values, units of what is a time or a size in the name, no metric twice. */
static void check_line(const char *line, char current[80], char *seen, size_t size)
{
    char name[80], kind[16];

    ck_assert_uint_lt(strlen(line), 512);
    if (sscanf(line, "# HELP %79s", name) == 1) {
        char mark[84];
        snprintf(mark, sizeof(mark), " %s ", name);
        ck_assert_msg(strstr(seen, mark) == NULL, "%s is there twice", name);
        ck_assert_uint_lt(strlen(seen) + strlen(mark), size);
        strcat(seen, mark);
        ck_assert_int_eq(strncmp(name, "keyloader_", 10), 0);
        snprintf(current, 80, "%s", name);
    } else if (sscanf(line, "# TYPE %79s %15s", name, kind) == 2) {
        ck_assert_str_eq(name, current);
        ck_assert(strcmp(kind, "gauge") == 0 || strcmp(kind, "counter") == 0 ||
                  strcmp(kind, "histogram") == 0);
        ck_assert_msg((strcmp(kind, "counter") == 0) ==
                          (strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0),
                      "%s is a %s", name, kind);
    } else {
        ck_assert_msg(sscanf(line, "%79[a-z0-9_]", name) == 1, "%s", line);
        ck_assert_msg(strncmp(name, current, strlen(current)) == 0, "%s after %s", line, current);
        ck_assert_msg(isdigit((unsigned char)line[strlen(line) - 1]), "%s", line);
    }
}

START_TEST(form)
{
    static char seen[64 * 1024];
    char current[80] = "?", *answer, *line, *rest;

    lab_begin(&lab, "form");
    start();
    answer = http_get(port, "/metrics");
    ck_assert_int_eq(http_status(answer), 200);
    rest = strstr(answer, "\r\n\r\n") + 4;
    while ((line = strsep(&rest, "\n")) != NULL && rest != NULL) {
        check_line(line, current, seen, sizeof(seen));
    }
    free(answer);
    lab_end(&lab);
}
END_TEST

/* ---- What is made of it ---- */

static char *source_file(const char *name)
{
    char path[PATH_MAX];
    const char *support = getenv("KL_SUPPORT");

    snprintf(path, sizeof(path), "%s/../../%s", support != NULL ? support : "tests/support", name);
    return file_read(path, NULL);
}

/* Each keyloader_name in text must be a series of metrics. How many there are. */
static unsigned names_exist(const char *text, const char *metrics, const char *file)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, "keyloader_")) != NULL; count++) {
        size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");
        char brace[128], space[128];
        snprintf(brace, sizeof(brace), "\n%.*s{", (int)len, at);
        snprintf(space, sizeof(space), "\n%.*s ", (int)len, at);
        ck_assert_msg(strstr(metrics, brace) != NULL || strstr(metrics, space) != NULL,
                      "%s: there is no metric %.*s", file, (int)len, at);
        at += len;
    }
    return count;
}

START_TEST(rules_and_dashboard)
{
    char *answer, *rules, *dashboard;
    json_t *json;

    lab_begin(&lab, "rules");
    start();
    shows("keyloader_ready", 1);
    answer = http_get(port, "/metrics");
    rules = source_file("conf/monitoring/keyloader.rules.yml");
    dashboard = source_file("conf/monitoring/keyloader-dashboard.json");
    ck_assert_uint_gt(names_exist(rules, answer, "rules"), 20);
    ck_assert_uint_gt(names_exist(dashboard, answer, "dashboard"), 50);
    json = json_loads(dashboard, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(json);
    ck_assert(json_is_array(json_object_get(json, "panels")));
    ck_assert(json_is_integer(json_object_get(json, "schemaVersion")));
    json_decref(json);
    free(answer);
    free(rules);
    free(dashboard);
    lab_end(&lab);
}
END_TEST

/* Each alert points to a heading of operations.md, and each of these is an alert's. */
START_TEST(runbooks)
{
    char *rules = source_file("conf/monitoring/keyloader.rules.yml");
    char *book = source_file("docs/operations.md");
    const char *at = rules;
    char alert[80], heading[96], anchor[128];
    unsigned alerts = 0, headings = 0;

    while ((at = strstr(at, "- alert: ")) != NULL) {
        ck_assert_int_eq(sscanf(at, "- alert: %79s", alert), 1);
        snprintf(heading, sizeof(heading), "\n### %s\n", alert);
        ck_assert_msg(strstr(book, heading) != NULL, "no runbook for %s", alert);
        for (char *c = alert; *c; c++) {
            *c = (char)tolower((unsigned char)*c);
        }
        snprintf(anchor, sizeof(anchor), "runbook: 'docs/operations.md#%s'\n", alert);
        ck_assert_msg(strstr(at, anchor) != NULL, "%s has not %s", alert, anchor);
        at++;
        alerts++;
    }
    for (at = book; (at = strstr(at, "\n### Keyloader")) != NULL; at++) {
        headings++;
    }
    ck_assert_uint_eq(alerts, headings);
    ck_assert_uint_gt(alerts, 20);
    free(rules);
    free(book);
}
END_TEST

/* ---- Health ---- */

START_TEST(not_ready_without_room)
{
    const struct rlimit full = {1, RLIM_INFINITY}, room = {RLIM_INFINITY, RLIM_INFINITY};

    lab_begin(&lab, "ready");
    lab_terminal(&lab, "A", "tdes2");
    start();
    lab_arm(&lab, "A", 3);
    shows("keyloader_ready", 1);
    ck_assert_int_eq(status_of("/readyz"), 200);
    ck_assert_int_eq(prlimit(lab.daemon.pid, RLIMIT_FSIZE, &full, NULL), 0);
    ck_assert_int_eq(lab_load(&lab, "A", lab.port), BUSY_STATUS);
    shows("keyloader_ready", 0);
    ck_assert_int_eq(status_of("/readyz"), 503);
    ends_with_a_line("/readyz");
    ends_with_a_line("/status.json");
    ck_assert_int_eq(status_of("/healthz"), 200); /* it lives */
    ck_assert_int_eq(prlimit(lab.daemon.pid, RLIMIT_FSIZE, &room, NULL), 0);
    shows("keyloader_ready", 1);
    lab_end(&lab);
}
END_TEST

START_TEST(unix_socket)
{
    char path[PATH_MAX], listen[PATH_MAX + 8];
    struct stat st;

    lab_begin(&lab, "unix");
    file_path(path, lab.run, "m");
    snprintf(listen, sizeof(listen), "unix:%s", path);
    lab_set(&lab, "monitor", "listen", listen);
    lab_start(&lab);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert(S_ISSOCK(st.st_mode));
    lab_kill(&lab);
    lab_start(&lab); /* what the killed one left makes way */
    lab_stop(&lab);
    ck_assert_int_ne(stat(path, &st), 0);
    lab_end(&lab);
}
END_TEST

/* A daemon that would show itself to others does not start, and says why. */
START_TEST(not_to_others)
{
    lab_begin(&lab, "others");
    lab_set(&lab, "monitor", "listen", "0.0.0.0:9477");
    ck_assert_int_eq(lab_start_fails(&lab), 78);
    ck_assert(lab_logged(&lab, "is no loopback address", 1));
    lab_end(&lab);
}
END_TEST

/* ---- Hostile clients ---- */

/* Slow ones on every place that there is, and one that asks without a pause: loads go on. */
START_TEST(loads_go_on)
{
    enum { SLOW = 24 };
    int fds[SLOW];
    pid_t pid;

    lab_begin(&lab, "hostile");
    lab_terminal(&lab, "A", "tdes2");
    start();
    for (int i = 0; i < SLOW; i++) {
        fds[i] = http_connect(port);
        ck_assert_int_ge(fds[i], 0);
        ck_assert(http_send(fds[i], "GET /metrics HTTP/1.1\r\nX: "));
    }
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        for (int i = 0; i < 100000; i++) { /* until it is killed; all places may be taken */
            int fd = http_connect(port);
            if (fd >= 0) {
                (void)http_send(fd, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
                free(http_rest(fd));
            }
        }
        _exit(0);
    }
    for (int i = 0; i < 10; i++) {
        lab_arm(&lab, "A", 1);
        ck_assert_int_eq(lab_load(&lab, "A", lab.port), 0);
    }
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    for (int i = 0; i < SLOW; i++) {
        close(fds[i]);
    }
    shows("keyloader_loads_total{outcome=\"done\",suite=\"hardened-rsa\"}", 10);
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("monitor");
    TCase *tcase = tcase_create("monitor");

    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, numbers);
    tcase_add_test(tcase, peers_choose_no_label);
    tcase_add_test(tcase, form);
    tcase_add_test(tcase, rules_and_dashboard);
    tcase_add_test(tcase, runbooks);
    tcase_add_test(tcase, not_ready_without_room);
    tcase_add_test(tcase, unix_socket);
    tcase_add_test(tcase, not_to_others);
    tcase_add_test(tcase, loads_go_on);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
