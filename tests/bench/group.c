/* SPDX-License-Identifier: BSD-2-Clause */
/* What groups share: see bench.h. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/clock.h"
#include "tests/bench/bench.h"

/* Where the run is: what bench_progress puts before its words. */
static struct {
    unsigned number, count;
    double left, group_left; /* seconds when the group began */
    int64_t begun_ms;
} now;

void bench_progress_group(unsigned number, unsigned count, double seconds, double group_seconds)
{
    now.number = number;
    now.count = count;
    now.left = seconds;
    now.group_left = group_seconds;
    now.begun_ms = kl_clock_ms();
}

/* Of a group that takes longer than was thought, the others remain. */
static double seconds_left(void)
{
    double spent = (double)(kl_clock_ms() - now.begun_ms) / 1000;

    return now.left - (spent < now.group_left ? spent : now.group_left);
}

void bench_progress(const char *fmt, ...)
{
    va_list args;

    if (!isatty(STDERR_FILENO)) {
        return;
    }
    fputs("\r\033[K", stderr);
    if (now.count > 0) {
        int left = (int)seconds_left();

        fprintf(stderr, "[%u/%u, about %d min %02d s left] ", now.number, now.count, left / 60,
                left % 60);
    }
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fflush(stderr);
}

void bench_progress_end(void)
{
    if (isatty(STDERR_FILENO)) {
        fputs("\r\033[K", stderr);
    }
}

/* user, nice, system, idle, iowait, irq, softirq and steal, of all CPUs, in ticks: proc(5) */
#define STAT_FIELDS 8

void bench_cpu_read(struct bench_cpu *out)
{
    char *text = file_read("/proc/stat", NULL), *at = text + strlen("cpu");

    ck_assert_msg(strncmp(text, "cpu ", 4) == 0, "/proc/stat begins with %.20s", text);
    *out = (struct bench_cpu){0};
    for (int i = 0; i < STAT_FIELDS; i++) {
        out->stolen = strtod(at, &at); /* the last one */
        out->all += out->stolen;
    }
    free(text);
}

struct figure *bench_figure(struct bench *b, const char *prefix, const char *name, const char *unit,
                            enum figure_rule rule, double target)
{
    char whole[FIGURE_NAME_MAX];

    proc_text(whole, sizeof(whole), "%s_%s", prefix, name);
    return figure_of(b->figures, whole, unit, rule, target);
}
