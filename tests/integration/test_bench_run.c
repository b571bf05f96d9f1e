/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * make bench, short: that it still measures and tells, never how fast anything is.
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* The figure of that name in bench.json. */
static const json_t *figure(const json_t *report, const char *name)
{
    const json_t *list = json_object_get(report, "figures");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *at = json_array_get(list, i);

        if (strcmp(json_string_value(json_object_get(at, "name")), name) == 0) {
            return at;
        }
    }
    ck_abort_msg("no figure %s", name);
}

START_TEST(test_loads_and_bare_loop)
{
    static const char *const names[] = {"load_vs_bare_p256", "cpu_per_load_vs_bare_p256",
                                        "bare_loads_p256", "cpu_daemon_p256"};
    char out_env[PATH_MAX + 16], path[PATH_MAX], line[96];
    const char *env[] = {
        out_env, "BENCH=load_vs_bare", "BENCH_KINDS=p256", "BENCH_SECONDS=0.5", "BENCH_REPEATS=1",
        NULL};
    struct proc proc;
    json_t *report;

    snprintf(out_env, sizeof(out_env), "BENCH_OUT=%s", dir);
    proc_spawn(&proc, dir, env, (const char *const[]){lab_built("tests/bench/bench"), NULL});
    int status = proc_wait(&proc, RUN_SECONDS);
    char *lines = file_read(proc.out, NULL), *page;
    ck_assert_msg(status == 0, "status %d: %s", status, file_read(proc.err, NULL));
    report = json_load_file(file_path(path, dir, "bench.json"), 0, NULL);
    ck_assert_ptr_nonnull(report);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const json_t *at = figure(report, names[i]);

        ck_assert_int_eq(json_integer_value(json_object_get(at, "repeats")), 1);
        ck_assert_msg(json_real_value(json_object_get(at, "median")) > 0, "%s is 0", names[i]);
        snprintf(line, sizeof(line), "\nbench %s ", names[i]);
        ck_assert_msg(strstr(lines, line) != NULL, "no line for %s: %s", names[i], lines);
    }
    page = file_read(file_path(path, dir, "bench.html"), NULL);
    ck_assert_ptr_nonnull(strstr(page, "load_vs_bare_p256"));
    ck_assert_ptr_nonnull(strstr(page, "</html>"));
    free(page);
    free(lines);
    json_decref(report);
}
END_TEST

/* A group that cannot be measured is said to be so, in words and by the status. */
START_TEST(test_what_cannot_be_measured)
{
    const char *const env[] = {"BENCH=load_vs_bare", "KL_TEST_MODULE=none", NULL};
    char out_env[PATH_MAX + 16];
    const char *all[] = {env[0], env[1], out_env, NULL};
    struct proc proc;

    snprintf(out_env, sizeof(out_env), "BENCH_OUT=%s", dir);
    proc_spawn(&proc, dir, all, (const char *const[]){lab_built("tests/bench/bench"), NULL});
    ck_assert_int_eq(proc_wait(&proc, RUN_SECONDS), 1);
    char *said = file_read(proc.err, NULL);
    ck_assert_ptr_nonnull(strstr(said, "not measured: "));
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
    tcase_add_test(tcase, test_what_cannot_be_measured);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
