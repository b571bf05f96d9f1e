/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * make bench, short: that it still measures and tells, never how fast anything is.
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/lab.h"
#include "tests/support/suite.h"

#define RUN_SECONDS 120

static char dir[PATH_MAX];

static void make_dir(void)
{
    const char *tmp = getenv("TMPDIR");

    proc_text(dir, sizeof(dir), "%s/kl-bench.XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
    file_remove_tree(dir);
}

/* The figure of that name in bench.json; NULL if there is none. */
static const json_t *figure_or_none(const json_t *report, const char *name)
{
    const json_t *list = json_object_get(report, "figures");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *at = json_array_get(list, i);

        if (strcmp(json_string_value(json_object_get(at, "name")), name) == 0) {
            return at;
        }
    }
    return NULL;
}

static const json_t *figure(const json_t *report, const char *name)
{
    const json_t *at = figure_or_none(report, name);

    ck_assert_msg(at != NULL, "no figure %s", name);
    return at;
}

/* bench with that option (may be NULL): its exit status, and what it said on stdout and stderr;
 * the caller frees both. */
static int bench(const char *const *env, const char *option, char **out, char **said)
{
    struct proc proc;
    int status;

    proc_spawn(&proc, dir, env,
               (const char *const[]){lab_built("tests/bench/bench"), option, NULL});
    status = proc_wait(&proc, RUN_SECONDS);
    *out = file_read(proc.out, NULL);
    *said = file_read(proc.err, NULL);
    return status;
}

/* Measures what `wanted` ("BENCH=...") says, once and short: all `names` are there and above 0, in
 * the report, which is returned and the caller releases, and in a line each. */
static json_t *measured(const char *wanted, const char *const *names, size_t count)
{
    char out_env[PATH_MAX + 16], path[PATH_MAX], line[96], *lines, *said;
    const char *env[] = {out_env,           wanted, "BENCH_SECONDS=0.5", "BENCH_REPEATS=1",
                         "BENCH_WORKERS=1", NULL};
    json_t *report;
    int status;

    snprintf(out_env, sizeof(out_env), "BENCH_OUT=%s", dir);
    status = bench(env, NULL, &lines, &said);
    ck_assert_msg(status == 0, "status %d: %s", status, said);
    report = json_load_file(file_path(path, dir, "bench.json"), 0, NULL);
    ck_assert_ptr_nonnull(report);
    for (size_t i = 0; i < count; i++) {
        const json_t *at = figure(report, names[i]);

        ck_assert_int_eq(json_integer_value(json_object_get(at, "repeats")), 1);
        ck_assert_msg(json_real_value(json_object_get(at, "median")) > 0, "%s is 0", names[i]);
        snprintf(line, sizeof(line), "\nbench %s ", names[i]);
        ck_assert_msg(strstr(lines, line) != NULL, "no line for %s: %s", names[i], lines);
    }
    free(lines);
    free(said);
    return report;
}
#define MEASURED(wanted, names) measured(wanted, names, sizeof(names) / sizeof((names)[0]))

START_TEST(test_loads_and_bare_loop)
{
    static const char *const names[] = {"load_vs_bare_p256", "cpu_per_load_vs_bare_p256",
                                        "bare_loads_p256", "cpu_daemon_p256"};
    json_t *report = MEASURED("BENCH=load_vs_bare_p256", names);
    char path[PATH_MAX], *page;

    if (sysconf(_SC_NPROCESSORS_ONLN) > 1) {
        (void)figure(report, "load_vs_bare_p256_full");
    }
    ck_assert_ptr_null(figure_or_none(report, "loads_rsa2048"));
    page = file_read(file_path(path, dir, "bench.html"), NULL);
    ck_assert_ptr_nonnull(strstr(page, "load_vs_bare_p256"));
    ck_assert_ptr_nonnull(strstr(page, "</html>"));
    free(page);
    json_decref(report);
}
END_TEST

/* Single operations by a pool of workers; what of p11-kit and openssl is there. */
START_TEST(test_peers)
{
    static const char *const alone[] = {"ops_ours", "ops_module"};
    static const char *const p11_kit[] = {"ops_workers", "ours_vs_p11_kit_ops",
                                          "peer_loads_p11_kit", "ours_vs_p11_kit_loads"};
    json_t *report = MEASURED("BENCH=peers", alone);

    for (size_t i = 0; figure_or_none(report, "ops_p11_kit") && i < 4; i++) {
        ck_assert(json_real_value(json_object_get(figure(report, p11_kit[i]), "median")) > 0);
    }
    json_decref(report);
}
END_TEST

START_TEST(test_command_line)
{
    static const struct {
        const char *option, *wanted;
        int status;
        const char *out, *said; /* words of either; NULL: it says nothing there */
    } lines[] = {
        {"--help", "BENCH=", 0, "BENCH_REPEATS", NULL},
        {"-h", "BENCH=", 0, "--compare", NULL},
        {"--list", "BENCH=", 0, "overload_goodput", NULL},
        {"--lists", "BENCH=", 64, NULL, "--lists: no such option"},
        {"--compare", "BENCH=", 64, NULL, "two reports, of before and of after"},
        {NULL, "BENCH=leak,leaky", 64, NULL, "\"leaky\""},
        {NULL, "BENCH=leaky", 64, NULL, "latency_alone_p50"}, /* the names there are */
        {NULL, "BENCH_KINDS=p384", 64, NULL, "\"p384\""},
        {NULL, "BENCH_SECONDS=0", 64, NULL, "BENCH_SECONDS=0 must be"},
        {NULL, "BENCH_REPEATS=3x", 64, NULL, "BENCH_REPEATS=3x must be"},
        {NULL, "BENCH_WORKERS=65", 64, NULL, "from 1 to 64"},
    };
    const char *env[] = {lines[_i].wanted, NULL};
    char *out, *said;

    ck_assert_int_eq(bench(env, lines[_i].option, &out, &said), lines[_i].status);
    ck_assert_msg(lines[_i].out ? strstr(out, lines[_i].out) != NULL : *out == '\0', "%s", out);
    ck_assert_msg(lines[_i].said ? strstr(said, lines[_i].said) != NULL : *said == '\0', "%s",
                  said);
    free(out);
    free(said);
}
END_TEST

/* A group that cannot be measured is said to be so, in words and by the status. */
START_TEST(test_what_cannot_be_measured)
{
    char out_env[PATH_MAX + 16], *out, *said;
    const char *env[] = {"BENCH=load_vs_bare", "KL_TEST_MODULE=none", out_env, NULL};

    snprintf(out_env, sizeof(out_env), "BENCH_OUT=%s", dir);
    ck_assert_int_eq(bench(env, NULL, &out, &said), 1);
    ck_assert_ptr_nonnull(strstr(said, "not measured: "));
    free(out);
    free(said);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bench_run");
    TCase *tcase = tcase_create("run");

    tcase_add_checked_fixture(tcase, make_dir, remove_dir);
    tcase_set_timeout(tcase, RUN_SECONDS + 30);
    tcase_add_test(tcase, test_loads_and_bare_loop);
    tcase_add_test(tcase, test_peers);
    tcase_add_loop_test(tcase, test_command_line, 0, 11);
    tcase_add_test(tcase, test_what_cannot_be_measured);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
