/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A registry of a million terminals against one of a thousand: the same thousand (but one) load,
 * from both in short turns. How fast the million come in, how fast the daemon starts, and what
 * memory it takes.
 */
#include "proto/clock.h"
#include "tests/bench/bench.h"

#define SMALL 1000
#define LOAD 999     /* F000001 to F000999 */
#define ARMED "F000" /* what those begin with */
#define LARGE 1000000

static double seconds_since(int64_t us)
{
    return (double)(kl_clock_us() - us) / 1e6;
}

/* A half of them once: later runs of theirs are of terminals that have a TMK. */
static double rate(struct rig *rig)
{
    json_t *report =
        rig_fleet(rig, "--concurrency %u --count %d", RIG_IN_FLIGHT * rig->workers, LOAD / 2);
    double per_second = rig_number(report, "loads/good-per-second");

    json_decref(report);
    return per_second;
}

static void begin(struct bench *bench, struct rig *rig, const char *name, unsigned terminals,
                  const char *start_up)
{
    int64_t begun;

    bench_progress("registry_scale: %u terminals", terminals);
    rig_begin(rig, NULL, &bench->lab, name, &kinds[KIND_RSA2048], bench->workers, terminals);
    begun = kl_clock_us();
    rig_register(rig);
    if (terminals == LARGE) {
        figure_add(figure_of(bench->figures, "import_rate", "rows/s", FIGURE_NO_TARGET, 0),
                   LARGE / seconds_since(begun));
    }
    rig->terminals = LOAD;
    rig->armed = ARMED;
    begun = kl_clock_us();
    lab_start(&rig->lab);
    figure_add(figure_of(bench->figures, start_up, "s", FIGURE_AT_MOST, 1), seconds_since(begun));
    rig_wait(rig);
}

void group_scale(struct bench *bench)
{
    struct rig small, large;

    begin(bench, &small, "small", SMALL, "start_up_1k");
    begin(bench, &large, "large", LARGE, "start_up_1m");
    bench_progress("registry_scale: arming");
    (void)rate(&small);
    (void)rate(&large);
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        double few, many;

        bench_progress("registry_scale: %u of %u", repeat + 1, bench->repeats);
        few = rate(&small);
        many = rate(&large);
        many += rate(&large);
        few += rate(&small);
        figure_add(figure_of(bench->figures, "registry_scale", "ratio", FIGURE_AT_LEAST, 0.95),
                   many / few);
    }
    figure_add(figure_of(bench->figures, "registry_memory_ratio", "ratio", FIGURE_AT_MOST, 1.5),
               rig_private(large.lab.daemon.pid) / rig_private(small.lab.daemon.pid));
    rig_end(&small);
    rig_end(&large);
}
