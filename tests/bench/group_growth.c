/* SPDX-License-Identifier: BSD-2-Clause */
/* How loads a second grow with workers, with loads under way at once, and with the key. */
#include <math.h>
#include <stdio.h>

#include "tests/bench/bench.h"

static const enum kind_id both[] = {KIND_RSA2048, KIND_P256};
#define RATE_MAX 6000
#define CONCURRENCY_MAX 4096

static struct curve *curve_of_both(struct bench *bench, const char *title, const char *x_label)
{
    struct curve *curve = curve_new(bench->figures, title, x_label);

    curve->lines = 2;
    curve->line[0] = kinds[both[0]].name;
    curve->line[1] = kinds[both[1]].name;
    return curve;
}

static void begin(struct bench *bench, struct rig *rig, enum kind_id kind, unsigned workers)
{
    char name[32];

    snprintf(name, sizeof(name), "growth-%s-%u", kinds[kind].name, workers);
    rig_begin(rig, &bench->lab, name, &kinds[kind], workers,
              (unsigned)(bench->seconds * RATE_MAX) + CONCURRENCY_MAX);
    lab_set(&rig->lab, "limits", "connections", "10000");
    lab_set(&rig->lab, "limits", "queue", "10000");
    rig_register(rig);
    rig_start(rig);
}

static double rate(struct bench *bench, struct rig *rig, unsigned concurrency)
{
    json_t *report = rig_fleet(rig, 0,
                               "--concurrency %u --duration %.0fms "
                               "--allow busy,timeout", /* thousands at once may wait too long */
                               concurrency, bench->seconds * 1000);
    double per_second = rig_number(report, "loads/good-per-second");

    json_decref(report);
    return per_second;
}

static void by_workers(struct bench *bench)
{
    struct curve *curve = curve_of_both(bench, "Loads a second by workers", "workers");

    for (unsigned workers = 1; workers <= 8; workers *= 2) {
        double y[2];

        for (size_t i = 0; i < 2; i++) {
            struct rig rig;

            bench_progress("growth: %u workers, %s", workers, kinds[both[i]].name);
            begin(bench, &rig, both[i], workers);
            y[i] = rate(bench, &rig, 4 * workers);
            rig_end(&rig);
        }
        curve_add(curve, workers, y);
    }
}

static void by_concurrency(struct bench *bench)
{
    struct curve *curve = curve_of_both(bench, "Loads a second by loads under way at once",
                                        "log2 of the loads under way: 12 is 4096");
    struct rig rigs[2];

    for (size_t i = 0; i < 2; i++) {
        begin(bench, &rigs[i], both[i], bench->workers);
    }
    for (unsigned at_once = 1; at_once <= CONCURRENCY_MAX; at_once *= 4) {
        double y[2];

        bench_progress("growth: %u at once", at_once);
        for (size_t i = 0; i < 2; i++) {
            y[i] = rate(bench, &rigs[i], at_once);
        }
        curve_add(curve, log2(at_once), y);
    }
    rig_end(&rigs[0]);
    rig_end(&rigs[1]);
}

/* Bare only: whole loads of each key are figures of load_vs_bare. */
static void by_key(struct bench *bench)
{
    struct curve *curve = curve_new(bench->figures, "CPU of one load's PKCS#11 calls, us",
                                    "1 rsa2048, 2 classic, 3 rsa3072, 4 p256, 5 p521");
    struct rig rig;

    curve->lines = 1;
    curve->line[0] = "us";
    for (size_t i = 0; i < KIND_COUNT; i++) {
        double y;

        bench_progress("growth: the bare loop of %s", kinds[i].name);
        rig_begin(&rig, &bench->lab, kinds[i].name, &kinds[i], 1, 1);
        y = rig_bare(&rig, 1, bench->seconds / 2).cpu_us;
        curve_add(curve, (double)i + 1, &y);
    }
}

void group_growth(struct bench *bench)
{
    by_workers(bench);
    by_concurrency(bench);
    by_key(bench);
}
