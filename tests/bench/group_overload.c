/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What comes of more terminals than the HSM has operations for: an open loop at five times the rate
 * that a closed one reaches. And how long a load takes while there is room: at 70 % of that rate,
 * against one at a time.
 */
#include "tests/bench/bench.h"

#define TIMES 5
#define SHARE 0.7
#define RATE_MAX 2500 /* loads a second that this kind does not reach: terminals for as many */

static double latency(struct rig *rig, double seconds, double rate, const char *path)
{
    json_t *report = rate > 0
                         ? rig_fleet(rig, 0, "--rate %.3f --duration %.0fms", rate, seconds * 1000)
                         : rig_fleet(rig, 0, "--concurrency 1 --duration %.0fms", seconds * 1000);
    double ms = rig_number(report, path);

    json_decref(report);
    return ms;
}

static void flood(struct bench *bench, struct rig *rig, double peak)
{
    json_t *report =
        rig_fleet(rig, 0, "--rate %.3f --duration %.0fms --allow busy,unstarted,timeout",
                  TIMES * peak, bench->seconds * 1000);
    double hung =
        rig_number(report, "errors/timeout/failed") + rig_number(report, "candidates-in-doubt");

    figure_add(figure_of(bench->figures, "overload_goodput", "ratio", FIGURE_AT_LEAST, 0.95),
               rig_number(report, "loads/good-per-second") / peak);
    figure_add(figure_of(bench->figures, "overload_busy", "answers", FIGURE_NO_TARGET, 0),
               rig_number(report, "busy-answer-ms/count"));
    if (rig_number(report, "busy-answer-ms/count") > 0) { /* else the queue did not fill */
        figure_add(figure_of(bench->figures, "overload_busy_p50", "ms", FIGURE_AT_MOST, 50),
                   rig_number(report, "busy-answer-ms/p50"));
    }
    figure_add(figure_of(bench->figures, "overload_hung", "loads", FIGURE_AT_MOST, 0), hung);
    figure_add(figure_of(bench->figures, "overload_offered", "loads/s", FIGURE_NO_TARGET, 0),
               rig_number(report, "loads/started") / rig_number(report, "seconds"));
    json_decref(report);
}

void group_overload(struct bench *bench)
{
    struct rig rig;

    rig_begin(&rig, NULL, &bench->lab, "overload", &kinds[KIND_RSA2048], bench->cpus,
              (unsigned)(bench->seconds * RATE_MAX * TIMES));
    rig_register(&rig);
    rig_start(&rig);
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        double peak, alone, loaded;

        bench_progress("overload: %u of %u", repeat + 1, bench->repeats);
        /* What depends on the peak is measured next to it, as the machine's speed may change. */
        alone = latency(&rig, bench->seconds, 0, "load-ms/p50");
        peak = rig_rate(&rig, bench->seconds);
        loaded = latency(&rig, bench->seconds, SHARE * peak, "load-ms/p99");
        flood(bench, &rig, peak);
        figure_add(figure_of(bench->figures, "overload_peak", "loads/s", FIGURE_NO_TARGET, 0),
                   peak);
        figure_add(figure_of(bench->figures, "latency_alone_p50", "ms", FIGURE_NO_TARGET, 0),
                   alone);
        figure_add(figure_of(bench->figures, "latency_at_70_percent_p99", "ms", FIGURE_NO_TARGET,
                             0),
                   loaded);
        figure_add(figure_of(bench->figures, "latency_at_70_percent_vs_alone", "ratio",
                             FIGURE_AT_MOST, 5),
                   loaded / alone);
    }
    rig_end(&rig);
}
