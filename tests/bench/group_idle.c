/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Terminals that are connected and say nothing: what memory of the daemon each takes, and what
 * loads lose by them. As many as there are descriptors for, in the daemon and in the simulator,
 * which both raise their own limit as far as the system lets them.
 */
#include <check.h>
#include <sys/resource.h>

#include "tests/bench/bench.h"

#define WANTED 20000
#define SPARE 512       /* descriptors for all else, and for loads */
#define PER_SECOND 1000 /* connections that come so fast at the least */

static unsigned reachable(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY ||
        limit.rlim_max >= WANTED + SPARE) {
        return WANTED;
    }
    return (unsigned)limit.rlim_max - SPARE;
}

static double rate(struct rig *rig, double seconds)
{
    json_t *report =
        rig_fleet(rig, 0, "--concurrency %u --duration %.0fms", 4 * rig->workers, seconds * 1000);
    double per_second = rig_number(report, "loads/good-per-second");

    json_decref(report);
    return per_second;
}

/* Waits until the daemon has about as many: its descriptors tell. */
static void connected(struct rig *rig, unsigned idle)
{
    for (unsigned tries = 0; proc_descriptors(rig->lab.daemon.pid) < idle; tries++) {
        bench_progress("idle_sessions: %u of %u connected", proc_descriptors(rig->lab.daemon.pid),
                       idle);
        ck_assert_msg(tries < idle / PER_SECOND * 20 + 1200, "not all idle terminals connected");
        proc_sleep_ms(50);
    }
}

void group_idle(struct bench *bench)
{
    unsigned idle = reachable();
    struct proc silent;
    struct rig rig;
    double before, without[FIGURE_SAMPLES_MAX];

    rig_begin(&rig, &bench->lab, "idle", &kinds[KIND_RSA2048], bench->workers,
              (unsigned)(bench->seconds * 2500));
    lab_set(&rig.lab, "limits", "connections", "100000");
    lab_set(&rig.lab, "limits", "idle-timeout", "1h");
    lab_set(&rig.lab, "limits", "handshake-timeout", "1h");
    rig_register(&rig);
    rig_start(&rig);
    bench_progress("idle_sessions: without");
    (void)rate(&rig, bench->seconds); /* so that caches are warm before memory is looked at */
    before = rig_private(rig.lab.daemon.pid);
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        without[repeat] = rate(&rig, bench->seconds);
    }
    rig_fleet_start(&rig, &silent, "--idle %u --duration 1h --allow connect", idle);
    connected(&rig, idle);
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
