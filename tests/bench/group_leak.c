/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What memory grows by for each load, in the daemon and in the workers, and what it costs to
 * replace a worker. SoftHSM loses some bytes of every session object (docs/reliability.md), hence
 * recycling. What one replacement costs at the default of [hsm] recycle-after is too little to be
 * seen against noise: so workers are replaced very often here, what one of that costs in CPU
 * follows, and from it the share at the default.
 *
 * A worker that is replaced may hold what it began with and what it loses until then: its memory
 * is held against that, as how much it has grown between two moments says only when it was
 * replaced last.
 */
#include <math.h>
#include <stdio.h>

#include "tests/bench/bench.h"

#define OFTEN 500      /* loads, then the worker is replaced */
#define DEFAULT 100000 /* of [hsm] recycle-after */
#define RATE_MAX 6000
#define LONGER 2
/* Bytes a load: half of malloc's smallest chunk, so that whatever is lost in every load is seen. */
#define FLAT 16

struct spent {
    double loads, cpu;      /* CPU seconds, of daemon and workers, those that are gone included */
    double daemon, workers; /* bytes that they grew by */
};

static double workers_private(const struct rig *rig)
{
    pid_t workers[64];
    size_t count = proc_children(rig->lab.daemon.pid, workers, 64);
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += rig_private(workers[i]);
    }
    return sum;
}

static double largest_worker(const struct rig *rig)
{
    pid_t workers[64];
    size_t count = proc_children(rig->lab.daemon.pid, workers, 64);
    double largest = 0;

    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, rig_private(workers[i]));
    }
    return largest;
}

static struct spent run(struct rig *rig, double seconds)
{
    double daemon = rig_private(rig->lab.daemon.pid), workers = workers_private(rig);
    double cpu = rig_cpu_of_all(rig);
    json_t *report = rig_fleet(rig, "--concurrency %u --duration %.0fms",
                               RIG_IN_FLIGHT * rig->workers, seconds * 1000);
    struct spent spent = {.loads = rig_number(report, "loads/good"),
                          .cpu = rig_cpu_of_all(rig) - cpu,
                          .daemon = rig_private(rig->lab.daemon.pid) - daemon,
                          .workers = workers_private(rig) - workers};

    json_decref(report);
    return spent;
}

static void begin(struct bench *bench, struct rig *rig, const char *name, unsigned recycle)
{
    char count[16];

    rig_begin(rig, NULL, &bench->lab, name, &kinds[KIND_P256], bench->workers,
              (unsigned)(bench->seconds * LONGER * RATE_MAX));
    snprintf(count, sizeof(count), "%u", recycle);
    lab_set(&rig->lab, "hsm", "recycle-after", count);
    rig_register(rig);
    rig_start(rig);
}

static void tell(struct bench *bench, const struct spent *without, const struct spent *with)
{
    struct figures *figures = bench->figures;
    double each = without->cpu / without->loads;

    figure_add(figure_of(figures, "leak_daemon", "bytes/load", FIGURE_AT_MOST, FLAT),
               without->daemon / without->loads);
    figure_add(figure_of(figures, "leak_daemon_recycling", "bytes/load", FIGURE_AT_MOST, FLAT),
               with->daemon / with->loads);
    figure_add(figure_of(figures, "leak_workers", "bytes/load", FIGURE_NO_TARGET, 0),
               without->workers / without->loads);
    figure_add(figure_of(figures, "recycle_cost", "percent", FIGURE_AT_MOST, 1),
               100 * (with->cpu / with->loads / each - 1) * OFTEN / DEFAULT);
}

void group_leak(struct bench *bench)
{
    double seconds = bench->seconds * LONGER, begins_with = 0, loads = 0;
    struct rig kept, replaced;
    struct spent first;

    begin(bench, &kept, "kept", 1000000000);
    begin(bench, &replaced, "replaced", OFTEN);
    bench_progress("leak: caches and heaps come to their size");
    first = run(&kept, seconds);
    (void)run(&replaced, seconds);
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        double worker = workers_private(&kept) / kept.workers, lost;
        struct spent without, with;

        bench_progress("leak: %u of %u", repeat + 1, bench->repeats);
        without = run(&kept, seconds);
        with = run(&replaced, seconds);
        tell(bench, &without, &with);
        lost = without.workers / without.loads;
        if (repeat == 0) {
            begins_with = worker - lost * first.loads / kept.workers;
        }
        loads += without.loads;
        figure_add(figure_of(bench->figures, "leak_recycled_vs_bound", "ratio", FIGURE_AT_MOST,
                             1.1),
                   largest_worker(&replaced) / (begins_with + OFTEN * lost));
    }
    figure_add(figure_of(bench->figures, "leak_loads", "loads", FIGURE_NO_TARGET, 0), loads);
    rig_end(&kept);
    rig_end(&replaced);
}
