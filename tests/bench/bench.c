/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * make bench: every group of figures in one go, a table, a line for each figure, JSON and a page.
 * Options and environment: --help.
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
#include "proto/clock.h"
#include "tests/bench/bench.h"
#include "tests/bench/compare.h"

#define SECONDS_DEFAULT 2
#define REPEATS_DEFAULT 3
#define WORKERS_MAX 64 /* of one HSM */

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
    snprintf(text, sizeof(text), "%u (%u in overload and figures in _full), not pinned",
             bench.workers, bench.cpus);
    figures_fact(bench.figures, "workers", text);
    free(average);
}

/* ---- What it takes ---- */

/* What all of it took, and each group; and what of the CPU time meanwhile the host gave to others.
 */
static char took[1024], stolen[1024];

/* When what is told of began. */
struct begun {
    int64_t ms;
    struct bench_cpu cpu;
};

static struct begun begin(void)
{
    struct begun begun = {.ms = kl_clock_ms()};

    bench_cpu_read(&begun.cpu);
    return begun;
}

static void tell_end(const char *what, const struct begun *begun)
{
    size_t taken = strlen(took), gone = strlen(stolen);
    struct bench_cpu now;

    bench_cpu_read(&now);
    snprintf(took + taken, sizeof(took) - taken, "%s%s %.0f s", taken > 0 ? ", " : "", what,
             (double)(kl_clock_ms() - begun->ms) / 1000);
    snprintf(stolen + gone, sizeof(stolen) - gone, "%s%s %.0f %%", gone > 0 ? ", " : "", what,
             100 * (now.stolen - begun->cpu.stolen) / (now.all - begun->cpu.all));
}

/* ---- Running ---- */

static struct begun all;

static void found(void)
{
    const char *dir = getenv("BENCH_OUT");

    proc_text(out_dir, sizeof(out_dir), "%s", dir ? dir : lab_built("."));
    all = begin();
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
    tell_end("all", &all);
    lab_abandon(&bench.lab);
}

/* Tells of the groups from that one on. */
static void tell_group(size_t i)
{
    const struct choice *choice = &bench.choice;
    double left = 0;
    unsigned number = 0, count = 0;

    for (size_t k = 0; k < BENCH_GROUPS; k++) {
        left += k >= i ? choice_seconds(choice, k, bench.seconds, bench.repeats) : 0;
        number += k <= i && choice->group[k];
        count += (unsigned)choice->group[k];
    }
    bench_progress_group(number, count, left,
                         choice_seconds(choice, i, bench.seconds, bench.repeats));
}

START_TEST(measure)
{
    struct begun begun = begin();

    tell_group((size_t)_i);
    figures_section(bench.figures, bench_groups[_i].about);
    bench_groups[_i].run(&bench);
    for (size_t i = 0; i < bench.figures->count; i++) {
        ck_assert_msg(choice_has(bench.figures->list[i].name), "%s is not in tests/bench/choice.c",
                      bench.figures->list[i].name);
    }
    tell_end(bench_groups[_i].name, &begun);
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
    for (int i = 0; i < BENCH_GROUPS; i++) {
        if (bench.choice.group[i]) {
            tcase_add_loop_test(tcase, measure, i, i + 1);
        }
    }
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_SILENT);
    bench_progress_end();
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

static double number_of(const char *name, double otherwise, double min, double max)
{
    const char *text = getenv(name);
    char *end;
    double value;

    if (!text || !*text) {
        return otherwise;
    }
    value = strtod(text, &end);
    if (*end != '\0' || !(value >= min) || value > max) {
        fprintf(stderr, "bench: %s=%s must be a number from %g to %g\n", name, text, min, max);
        exit(64);
    }
    return value;
}

static unsigned count_of(const char *name, unsigned otherwise, unsigned max)
{
    return (unsigned)number_of(name, otherwise, 1, max);
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

static void print_help(void)
{
    fputs(
        "usage: bench [--list | --help]\n"
        "       bench --compare OLD.json NEW.json\n"
        "\n"
        "Measures what docs/performance.md describes: prints a table and a line for each figure,\n"
        "and writes bench.json and bench.html. `make bench` builds all that it needs.\n"
        "\n"
        "  --list       the groups of figures, and the figures of each\n"
        "  --compare    what two bench.json differ by, and whether that is more than their\n"
        "               spread; status 1 if a figure with a target is worse by more than that\n"
        "  -h, --help   this text\n"
        "\n"
        "Environment; lists are separated by spaces or commas:\n"
        "  BENCH          only these: names of groups or figures, or what figures begin with\n"
        "  BENCH_KINDS    of load_vs_bare: only these kinds of work key (rsa2048, p256, ...)\n"
        "  BENCH_SECONDS  of one measurement (default 2)\n"
        "  BENCH_REPEATS  of each (default 3)\n"
        "  BENCH_WORKERS  worker processes, and those of the bare loop, but in overload (default:\n"
        "                 one CPU is left over for all else)\n"
        "  BENCH_OUT      where the files go (default: the build directory)\n"
        "  KL_BUILD       the build directory (default: build)\n"
        "\n"
        "Status: 0 all was measured, whether targets are met or not; 1 a group could not be\n"
        "measured; 64 usage; 65, 66 a file that is no report, or not there; 74 a file could not\n"
        "be written\n",
        stdout);
}

static int measure_all(void)
{
    unsigned online = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    unsigned cpus = online < WORKERS_MAX ? online : WORKERS_MAX;
    char unknown[64];
    int failed;

    bench =
        (struct bench){.figures = figures_new(),
                       .seconds = number_of("BENCH_SECONDS", SECONDS_DEFAULT, 0.1, 600),
                       .repeats = count_of("BENCH_REPEATS", REPEATS_DEFAULT, 50),
                       .workers = count_of("BENCH_WORKERS", cpus > 1 ? cpus - 1 : 1, WORKERS_MAX),
                       .cpus = cpus};
    if (!choice_make(getenv("BENCH"), getenv("BENCH_KINDS"), &bench.choice, unknown)) {
        fprintf(stderr,
                "bench: there is no group, figure or kind of key \"%s\" (BENCH, BENCH_KINDS): "
                "there are\n",
                unknown);
        choice_print(stderr);
        return 64;
    }
    find_build();
    failed = run_all();
    figures_fact(bench.figures, "took", took);
    figures_fact(bench.figures, "taken by the host (steal)", stolen);
    figures_table(bench.figures, stdout);
    putchar('\n');
    figures_lines(bench.figures, stdout);
    write_file("bench.json", write_json);
    write_file("bench.html", figures_page);
    figures_free(bench.figures);
    return failed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        return measure_all();
    }
    if (argc == 2 && strcmp(argv[1], "--" KL_WORKER_OPTION) == 0) { /* of signer.c's pool */
        return kl_worker_main();
    }
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        choice_print(stdout);
        return 0;
    }
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_help();
        return 0;
    }
    if (strcmp(argv[1], "--compare") == 0) {
        return argc == 4 ? compare_files(argv[2], argv[3])
                         : kl_cli_usage("bench", "--compare takes two reports, of before and of "
                                                 "after: OLD.json NEW.json");
    }
    return kl_cli_usage("bench", "%s: no such option, or it takes no operands", argv[1]);
}
