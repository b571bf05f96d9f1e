/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * make bench: every group of figures in one go, a table, a line for each figure, JSON and a page.
 *
 *   BENCH="NAME ..."    only those groups (bench --list)
 *   BENCH_KINDS="NAME ..."  of load_vs_bare: only those work keys (rsa2048, classic, ...)
 *   BENCH_SECONDS=N     of one measurement (default 2)
 *   BENCH_REPEATS=N     of each (default 3)
 *   BENCH_WORKERS=N     processes on both sides (default: one less than there are CPUs)
 *   BENCH_OUT=DIR       where bench.json and bench.html go (default: the build directory)
 *
 * Status 0 when all could be measured, whether or not targets are met: the table says so. A group
 * runs as a test of libcheck without a process of its own, so that a failure in any support
 * function ends the group, with its message, and the others still run.
 */
#include <check.h>
#include <linux/magic.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conf/cli.h"
#include "daemon/hsm/worker.h"
#include "tests/bench/bench.h"

#define SECONDS_DEFAULT 2
#define REPEATS_DEFAULT 3

static const struct bench_group groups[] = {
    {"load_vs_bare", "whole loads over the bare PKCS#11 loop, and CPU; EC over RSA",
     group_load_vs_bare},
    {"overload", "five times more terminals than there is room for; latency at 70 %",
     group_overload},
    {"idle_sessions", "20,000 silent connections: memory, and loads beside them", group_idle},
    {"registry_scale", "a million registered terminals against a thousand", group_scale},
    {"slow_hsm", "64 sessions of an HSM that takes 10 ms for every call", group_slow_hsm},
    {"store_commit", "loads for each fsync; group commit against one at a time", group_commit},
    {"leak", "memory by load, and what it costs to replace workers", group_leak},
    {"peers", "p11-kit server and openssl s_server with the same key", group_peers},
    {"growth", "plots: workers, loads at once, keys", group_growth},
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

static struct bench bench;
static char out_dir[PATH_MAX];

/* ---- What it ran on ---- */

static void cpu_model(char *out, size_t size)
{
    char *text = file_read("/proc/cpuinfo", NULL), *at = strstr(text, "model name");

    at = at ? strchr(at, ':') : NULL;
    snprintf(out, size, "%ld x %.*s", sysconf(_SC_NPROCESSORS_ONLN),
             at ? (int)strcspn(at + 1, "\n") - 1 : 7, at ? at + 2 : "unknown");
    free(text);
}

/* Within the suite, as all that asserts must be. */
static void facts(void)
{
    char text[256], started[KL_TIME_TEXT], load[64];
    struct utsname kernel;
    struct statfs scratch;
    char *average = file_read("/proc/loadavg", NULL);

    kl_time_format((int64_t)time(NULL), started);
    figures_fact(bench.figures, "started", started);
    figures_fact(bench.figures, "version", KL_VERSION);
    cpu_model(text, sizeof(text));
    figures_fact(bench.figures, "cpus", text);
    uname(&kernel);
    snprintf(text, sizeof(text), "%s %.100s", kernel.sysname, kernel.release);
    figures_fact(bench.figures, "kernel", text);
    figures_fact(bench.figures, "openssl", OpenSSL_version(OPENSSL_VERSION));
    ck_assert_int_eq(statfs(bench.lab.dir, &scratch), 0);
    figures_fact(bench.figures, "scratch directory",
                 scratch.f_type == TMPFS_MAGIC ? "tmpfs: an fsync costs nothing" : "on a disk");
    snprintf(load, sizeof(load), "%.*s", (int)strcspn(average, "\n"), average);
    figures_fact(bench.figures, "load average at the start", load);
    snprintf(text, sizeof(text), "%g seconds each, %u repeats", bench.seconds, bench.repeats);
    figures_fact(bench.figures, "measurements", text);
    snprintf(text, sizeof(text), "%u (%u of figures in _full), not pinned", bench.workers,
             bench.cpus);
    figures_fact(bench.figures, "workers", text);
    free(average);
}

/* ---- Running ---- */

static void found(void)
{
    const char *dir = getenv("BENCH_OUT");

    proc_text(out_dir, sizeof(out_dir), "%s", dir ? dir : lab_built("."));
    bench_progress("keys and certificates");
    rig_found(&bench.lab);
    facts();
}

/* What a group that failed has left. */
static void end_children(void)
{
    pid_t children[256];
    size_t count = proc_children(getpid(), children, 256);

    for (size_t i = 0; i < count; i++) {
        kill(children[i], SIGKILL);
        (void)waitpid(children[i], NULL, 0);
    }
}

static void abandon(void)
{
    lab_abandon(&bench.lab);
}

START_TEST(measure)
{
    groups[_i].run(&bench);
}
END_TEST

/* How many groups could not be measured. */
static int run_all(void)
{
    Suite *suite = suite_create("bench");
    TCase *tcase = tcase_create("groups");
    SRunner *runner;
    TestResult **failures;
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 0);
    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_add_checked_fixture(tcase, NULL, end_children);
    for (int i = 0; i < (int)GROUPS; i++) {
        if (bench_wants("BENCH", groups[i].name)) {
            tcase_add_loop_test(tcase, measure, i, i + 1);
        }
    }
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_SILENT);
    bench_progress("%s", "");
    failed = srunner_ntests_failed(runner);
    failures = srunner_failures(runner);
    for (int i = 0; i < failed; i++) {
        fprintf(stderr, "bench: not measured: %s:%d: %s\n", tr_lfile(failures[i]),
                tr_lno(failures[i]), tr_msg(failures[i]));
    }
    free(failures);
    srunner_free(runner);
    return failed;
}

/* ---- Telling ---- */

static void write_file(const char *name, void (*write)(const struct figures *, FILE *))
{
    char path[PATH_MAX + 16];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", out_dir, name);
    file = fopen(path, "we");
    if (file) {
        write(bench.figures, file);
    }
    if (!file || ferror(file) || fclose(file) != 0) {
        fprintf(stderr, "bench: %s cannot be written\n", path);
        exit(74);
    }
}

static void write_json(const struct figures *figures, FILE *file)
{
    json_t *json = figures_json(figures);

    (void)json_dumpf(json, file, JSON_INDENT(2)); /* what fails, fails on the stream */
    json_decref(json);
}

static double number_of(const char *name, double otherwise, double max)
{
    const char *text = getenv(name);
    char *end;
    double value;

    if (!text || !*text) {
        return otherwise;
    }
    value = strtod(text, &end);
    if (*end != '\0' || !(value >= 0.1) || value > max) {
        fprintf(stderr, "bench: %s=%s must be a number from 0.1 to %g\n", name, text, max);
        exit(64);
    }
    return value;
}

/* Paths go into configurations, which want them whole. */
static void find_build(void)
{
    const char *build = getenv("KL_BUILD");
    char path[PATH_MAX];

    build = build && *build ? build : "build";
    if (!realpath(build, path) || setenv("KL_BUILD", path, 1) != 0) {
        fprintf(stderr, "bench: %s: no such build directory (KL_BUILD)\n", build);
        exit(66);
    }
}

int main(int argc, char **argv)
{
    unsigned cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    int failed;

    if (argc == 2 && strcmp(argv[1], "--" KL_WORKER_OPTION) == 0) { /* of signer.c's pool */
        return kl_worker_main();
    }

    if (argc > 1) {
        for (size_t i = 0; i < GROUPS; i++) {
            printf("%-16s %s\n", groups[i].name, groups[i].about);
        }
        return strcmp(argv[1], "--list") == 0 ? 0 : 64;
    }
    bench =
        (struct bench){.figures = figures_new(),
                       .seconds = number_of("BENCH_SECONDS", SECONDS_DEFAULT, 120),
                       .repeats = (unsigned)number_of("BENCH_REPEATS", REPEATS_DEFAULT, 50),
                       .workers = (unsigned)number_of("BENCH_WORKERS", cpus > 1 ? cpus - 1 : 1, 64),
                       .cpus = cpus};
    find_build();
    failed = run_all();
    figures_table(bench.figures, stdout);
    putchar('\n');
    figures_lines(bench.figures, stdout);
    write_file("bench.json", write_json);
    write_file("bench.html", figures_page);
    figures_free(bench.figures);
    return failed == 0 ? 0 : 1;
}
