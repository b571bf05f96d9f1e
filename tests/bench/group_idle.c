/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Terminals that are connected and say nothing: what memory of the daemon each takes, and what
 * loads lose by them. As many as there are descriptors for.
 */
#include "tests/bench/bench.h"

#define WANTED 20000
#define RATE_MAX 2500 /* loads a second that this kind does not reach: terminals for as many */

static void begin(struct bench *bench, struct rig *rig, const char *name)
{
    rig_begin(rig, NULL, &bench->lab, name, &kinds[KIND_RSA2048], bench->workers,
              (unsigned)(bench->seconds * RATE_MAX));
    rig_keep_idle(rig);
    rig_register(rig);
    rig_start(rig);
    (void)rig_rate(rig, bench->seconds); /* so that caches are warm before memory is looked at */
}

/* Two daemons, so that loads with and without can be measured in turn. */
void group_idle(struct bench *bench)
{
    unsigned idle = rig_idle_max(WANTED);
    struct proc silent;
    struct rig without, with;
    double before;

    bench_progress("idle_sessions: two daemons");
    begin(bench, &without, "without");
    begin(bench, &with, "idle");
    before = rig_private(with.lab.daemon.pid);
    bench_progress("idle_sessions: %u connect", idle);
    rig_idle(&with, &silent, idle, idle);
    figure_add(figure_of(bench->figures, "idle_sessions", "sessions", FIGURE_NO_TARGET, 0), idle);
    figure_add(figure_of(bench->figures, "idle_session_bytes", "bytes", FIGURE_AT_MOST, 4096),
               (rig_private(with.lab.daemon.pid) - before) / idle);
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        double alone;

        bench_progress("idle_sessions: %u of %u", repeat + 1, bench->repeats);
        alone = rig_rate(&without, bench->seconds);
        figure_add(figure_of(bench->figures, "idle_sessions_loads_ratio", "ratio", FIGURE_AT_LEAST,
                             0.95),
                   rig_rate(&with, bench->seconds) / alone);
    }
    proc_kill(&silent);
    rig_end(&without);
    rig_end(&with);
}
