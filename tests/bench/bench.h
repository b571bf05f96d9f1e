/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every group of figures is given. A group sets up what it needs, measures it several times,
 * interleaved with what it is compared with, adds its samples to its figures, and puts all away.
 */
#ifndef KL_TESTS_BENCH_BENCH_H
#define KL_TESTS_BENCH_BENCH_H

#include "tests/bench/choice.h"
#include "tests/bench/figures.h"
#include "tests/bench/rig.h"

struct bench {
    struct figures *figures;
    struct lab lab;   /* the ceremony: rig_begin takes it */
    double seconds;   /* of one measurement: BENCH_SECONDS */
    unsigned repeats; /* of each: BENCH_REPEATS */
    unsigned workers; /* BENCH_WORKERS: if it is not set, one CPU is left for all else */
    unsigned cpus;    /* workers of overload and of figures in BENCH_FULL */
    struct choice choice;
};

/* A group begins that is the `number`th of `count`; all of it is going to take about so many more
 * seconds, of which `group_seconds` are this group's. */
void bench_progress_group(unsigned number, unsigned count, double seconds, double group_seconds);
/* On a terminal: what is being done now, and for how long all of it will still. */
void bench_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void bench_progress_end(void);

/* Time of all CPUs since the machine's start, and what of it a virtual machine's host gave to
 * others; in ticks. */
struct bench_cpu {
    double all, stolen;
};
void bench_cpu_read(struct bench_cpu *out);

/* The figure PREFIX_NAME, which is made if there is none. */
struct figure *bench_figure(struct bench *bench, const char *prefix, const char *name,
                            const char *unit, enum figure_rule rule, double target);

void group_load_vs_bare(struct bench *bench);
void group_overload(struct bench *bench);
void group_idle(struct bench *bench);
void group_scale(struct bench *bench);
void group_slow_hsm(struct bench *bench);
void group_commit(struct bench *bench);
void group_leak(struct bench *bench);
void group_growth(struct bench *bench);
void group_peers(struct bench *bench);

#endif
