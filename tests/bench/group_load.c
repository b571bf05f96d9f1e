/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whole loads over the bare loop, for each kind of work key: the daemon with SQLite's full
 * durability and the simulator on the same CPUs against as many processes that only make the
 * PKCS#11 calls. One daemon for each kind stands ready, so that measurements alternate: bare,
 * whole, bare, whole, and one kind after the other before the first is taken again.
 */
#include <stdio.h>

#include "tests/bench/bench.h"

#define KINDS "BENCH_KINDS"
#define RATE_MAX 6000 /* loads a second that no kind comes near: an arming is for one load */

struct whole {
    double rate, daemon_us, workers_us, simulator_us;
};

static struct whole run(struct rig *rig, double seconds)
{
    struct usage before, after;
    struct proc proc;
    struct whole whole;
    double good;

    rig_fleet_start(rig, &proc, "--concurrency %u --duration %.0fms", 4 * rig->workers,
                    seconds * 1000);
    before = rig_usage(rig);
    json_t *report = rig_fleet_end(&proc, 0);
    after = rig_usage(rig);
    good = rig_number(report, "loads/good");
    whole = (struct whole){
        .rate = rig_number(report, "loads/good-per-second"),
        .daemon_us = (after.daemon - before.daemon) * 1e6 / good,
        .workers_us = (after.workers - before.workers) * 1e6 / good,
        .simulator_us = rig_number(report, "simulator-cpu-percent") / 100 *
                        rig_number(report, "seconds") * 1e6 / good,
    };
    json_decref(report);
    return whole;
}

static void add(struct bench *bench, const char *prefix, const struct kind *kind, const char *unit,
                enum figure_rule rule, double target, double sample)
{
    figure_add(bench_figure(bench, prefix, kind->name, unit, rule, target), sample);
}

static void once(struct bench *bench, struct rig *rig)
{
    const struct kind *kind = rig->kind;
    struct bare bare = rig_bare(rig, rig->workers, bench->seconds);
    struct whole whole = run(rig, bench->seconds);

    add(bench, "load_vs_bare", kind, "ratio", FIGURE_AT_LEAST, kind->is_ec ? 0.50 : 0.85,
        whole.rate / bare.rate);
    add(bench, "cpu_per_load_vs_bare", kind, "ratio", FIGURE_AT_MOST, kind->is_ec ? 1.6 : 1.10,
        (whole.daemon_us + whole.workers_us) / bare.cpu_us);
    add(bench, "loads", kind, "loads/s", FIGURE_NO_TARGET, 0, whole.rate);
    add(bench, "bare_loads", kind, "loads/s", FIGURE_NO_TARGET, 0, bare.rate);
    add(bench, "cpu_bare", kind, "us/load", FIGURE_NO_TARGET, 0, bare.cpu_us);
    add(bench, "cpu_workers", kind, "us/load", FIGURE_NO_TARGET, 0, whole.workers_us);
    add(bench, "cpu_daemon", kind, "us/load", FIGURE_NO_TARGET, 0, whole.daemon_us);
    add(bench, "cpu_simulator", kind, "us/load", FIGURE_NO_TARGET, 0, whole.simulator_us);
}

static double last_loads(struct bench *bench, enum kind_id id)
{
    const struct figure *figure =
        bench_figure(bench, "loads", kinds[id].name, "loads/s", FIGURE_NO_TARGET, 0);

    return figure->sample[figure->count - 1];
}

void group_load_vs_bare(struct bench *bench)
{
    unsigned terminals = (unsigned)(bench->seconds * RATE_MAX);
    struct rig rigs[KIND_COUNT];
    size_t count = 0;
    int both =
        bench_wants(KINDS, kinds[KIND_P256].name) && bench_wants(KINDS, kinds[KIND_RSA2048].name);

    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (bench_wants(KINDS, kinds[i].name)) {
            bench_progress("load_vs_bare: a daemon for %s", kinds[i].name);
            rig_begin(&rigs[count], &bench->lab, kinds[i].name, &kinds[i], bench->workers,
                      terminals);
            rig_register(&rigs[count]);
            rig_start(&rigs[count++]);
        }
    }
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        for (size_t i = 0; i < count; i++) {
            bench_progress("load_vs_bare: %s, %u of %u", rigs[i].kind->name, repeat + 1,
                           bench->repeats);
            once(bench, &rigs[i]);
        }
        if (both) {
            figure_add(figure_of(bench->figures, "ec_vs_rsa", "ratio", FIGURE_AT_LEAST, 3),
                       last_loads(bench, KIND_P256) / last_loads(bench, KIND_RSA2048));
        }
    }
    for (size_t i = 0; i < count; i++) {
        rig_end(&rigs[i]);
    }
}
