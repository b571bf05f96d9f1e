/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Terminals that are connected and say nothing: what memory of the daemon each takes, and what
 * loads lose by them. As many as there are descriptors for.
 */
#include "tests/bench/bench.h"

#define WANTED 20000

static double rate(struct rig *rig, double seconds)
{
    json_t *report =
        rig_fleet(rig, 0, "--concurrency %u --duration %.0fms", 4 * rig->workers, seconds * 1000);
    double per_second = rig_number(report, "loads/good-per-second");

    json_decref(report);
    return per_second;
}

void group_idle(struct bench *bench)
{
    unsigned idle = rig_idle_max(WANTED);
    struct proc silent;
    struct rig rig;
    double before, without[FIGURE_SAMPLES_MAX];

    rig_begin(&rig, NULL, &bench->lab, "idle", &kinds[KIND_RSA2048], bench->workers,
              (unsigned)(bench->seconds * 2500));
    rig_keep_idle(&rig);
    rig_register(&rig);
    rig_start(&rig);
    bench_progress("idle_sessions: without");
    (void)rate(&rig, bench->seconds); /* so that caches are warm before memory is looked at */
    before = rig_private(rig.lab.daemon.pid);
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        without[repeat] = rate(&rig, bench->seconds);
    }
    rig_idle(&rig, &silent, idle, idle);
    figure_add(figure_of(bench->figures, "idle_sessions", "sessions", FIGURE_NO_TARGET, 0), idle);
    figure_add(figure_of(bench->figures, "idle_session_bytes", "bytes", FIGURE_AT_MOST, 4096),
               (rig_private(rig.lab.daemon.pid) - before) / idle);
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        bench_progress("idle_sessions: %u of %u", repeat + 1, bench->repeats);
        figure_add(figure_of(bench->figures, "idle_sessions_loads_ratio", "ratio", FIGURE_AT_LEAST,
                             0.95),
                   rate(&rig, bench->seconds) / without[repeat]);
    }
    proc_kill(&silent);
    rig_end(&rig);
}
