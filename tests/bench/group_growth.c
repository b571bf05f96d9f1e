/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How loads a second grow with workers, with loads under way at once, with connections that say
 * nothing, and what the key costs. Plots only; each point is measured twice, with an RSA and an EC
 * key in turn, half as long as a figure is.
 */
#include <stdio.h>

#include "tests/bench/bench.h"

static const enum kind_id both[] = {KIND_RSA2048, KIND_P256};
#define RATE_MAX 6000
#define CONCURRENCY_MAX 4096
#define REPEATS 2
#define REPEATED_MAX 256 /* loads under way: with more, it takes long until the last have ended */

static struct curve *curve_of_both(struct bench *bench, const char *title, const char *x_label)
{
    struct curve *curve = curve_new(bench->figures, title, x_label, "loads/s", 2);

    curve->line[0] = kinds[both[0]].name;
    curve->line[1] = kinds[both[1]].name;
    return curve;
}

static void point(struct curve *curve, unsigned x)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", x);
    curve_point(curve, text);
}

static void begin(struct bench *bench, struct rig *rig, const char *what, enum kind_id kind,
                  unsigned workers)
{
    char name[64];

    snprintf(name, sizeof(name), "growth%s-%s-%u", what, kinds[kind].name, workers);
    rig_begin(rig, NULL, &bench->lab, name, &kinds[kind], workers,
              (unsigned)(bench->seconds / REPEATS * RATE_MAX) + CONCURRENCY_MAX);
    rig_keep_idle(rig);
    lab_set(&rig->lab, "limits", "queue", "10000");
    rig_register(rig);
    rig_start(rig);
}

static double rate(struct bench *bench, struct rig *rig, unsigned concurrency)
{
    json_t *report = rig_fleet(rig,
                               "--concurrency %u --duration %.0fms "
                               "--allow busy,timeout", /* thousands at once may wait too long */
                               concurrency, bench->seconds * 1000 / REPEATS);
    double per_second = rig_number(report, "loads/good-per-second");

    json_decref(report);
    return per_second;
}

/* Both rigs in turn, at the curve's newest place. */
static void measure(struct bench *bench, struct curve *curve, struct rig rigs[2],
                    unsigned concurrency)
{
    for (unsigned repeat = 0; repeat < (concurrency <= REPEATED_MAX ? REPEATS : 1); repeat++) {
        for (size_t i = 0; i < 2; i++) {
            curve_add(curve, i, rate(bench, &rigs[i], concurrency));
        }
    }
}

static void begin_both(struct bench *bench, struct rig rigs[2], const char *what, unsigned workers)
{
    for (size_t i = 0; i < 2; i++) {
        begin(bench, &rigs[i], what, both[i], workers);
    }
}

static void end_both(struct rig rigs[2])
{
    rig_end(&rigs[0]);
    rig_end(&rigs[1]);
}

static void by_workers(struct bench *bench)
{
    struct curve *curve = curve_of_both(bench, "Loads a second by workers",
                                        "workers (four loads under way for each)");

    for (unsigned workers = 1; workers <= 8; workers *= 2) {
        struct rig rigs[2];

        bench_progress("growth: %u workers", workers);
        begin_both(bench, rigs, "-workers", workers);
        point(curve, workers);
        measure(bench, curve, rigs, RIG_IN_FLIGHT * workers);
        end_both(rigs);
    }
}

static void by_concurrency(struct bench *bench, struct rig rigs[2])
{
    struct curve *curve = curve_of_both(bench, "Loads a second by loads under way at once",
                                        "loads under way at once");

    for (unsigned at_once = 1; at_once <= CONCURRENCY_MAX; at_once *= 4) {
        bench_progress("growth: %u at once", at_once);
        point(curve, at_once);
        measure(bench, curve, rigs, at_once);
    }
}

/* As many as descriptors allow: then the last point says how many that were. */
static void by_connections(struct bench *bench, struct rig rigs[2])
{
    static const unsigned wanted[] = {0, 100, 1000, 5000, 10000};
    enum { STEPS = sizeof(wanted) / sizeof(wanted[0]) };
    struct curve *curve = curve_of_both(bench, "Loads a second beside silent connections",
                                        "connected terminals that say nothing");
    struct proc silent[2][STEPS] = {0};
    unsigned connected = 0;

    for (size_t step = 0; step < STEPS; step++) {
        unsigned idle = rig_idle_max(wanted[step]);

        if (step > 0 && idle <= connected) {
            break;
        }
        bench_progress("growth: %u connections", idle);
        for (size_t i = 0; idle > 0 && i < 2; i++) {
            rig_idle(&rigs[i], &silent[i][step], idle - connected, idle);
        }
        connected = idle;
        point(curve, idle);
        measure(bench, curve, rigs, 4 * bench->workers);
    }
    for (size_t step = 1; step < STEPS; step++) {
        proc_kill(&silent[0][step]);
        proc_kill(&silent[1][step]);
    }
}

/* Bare only: whole loads of each key are figures of load_vs_bare. */
static void by_key(struct bench *bench)
{
    struct curve *curve = curve_new(bench->figures, "CPU of one load's PKCS#11 calls by key",
                                    "work key", "us of CPU for a load", 1);
    struct rig rig;

    curve->line[0] = "bare loop";
    curve->apart = 1;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        bench_progress("growth: the bare loop of %s", kinds[i].name);
        rig_begin(&rig, NULL, &bench->lab, kinds[i].name, &kinds[i], 1, 1);
        curve_point(curve, kinds[i].name);
        for (unsigned repeat = 0; repeat < REPEATS; repeat++) {
            curve_add(curve, 0, rig_bare(&rig, 1, bench->seconds / 4).cpu_us);
        }
    }
}

void group_growth(struct bench *bench)
{
    struct rig rigs[2];

    by_workers(bench);
    begin_both(bench, rigs, "", bench->workers);
    by_concurrency(bench, rigs);
    by_connections(bench, rigs);
    end_both(rigs);
    by_key(bench);
}
