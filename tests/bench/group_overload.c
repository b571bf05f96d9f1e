/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What comes of more terminals than the HSM has operations for: an open loop at five times the rate
 * that a closed one reaches. And how long a load takes while there is room: at 70 % of that rate,
 * against one at a time. What depends on the peak is measured next to it, in short turns, as the
 * machine's speed may change.
 */
#include "tests/bench/bench.h"

#define TIMES 5
#define SHARE 0.7
#define TURNS 4       /* of latencies, in a repeat; each takes one measurement's time */
#define PEAKS 1       /* measurements' time that the two peaks beside a flood take */
#define RATE_MAX 2500 /* loads a second that this kind does not reach: terminals for as many */

/* Terminals for so many measurements' time, of those for a repeat. */
static unsigned share_of(const struct rig *rig, double measurements)
{
    return (unsigned)(rig->terminals / (double)(TURNS + PEAKS + TIMES) * measurements);
}

static json_t *closed(const struct bench *bench, struct rig *rig, unsigned under_way, double part)
{
    return rig_fleet_next(rig, share_of(rig, part), "--concurrency %u --duration %.0fms", under_way,
                          part * bench->seconds * 1000);
}

/* Releases the report. */
static double number_of(json_t *report, const char *path)
{
    double number = rig_number(report, path);

    json_decref(report);
    return number;
}

static double peak_of(const struct bench *bench, struct rig *rig, double part)
{
    return number_of(closed(bench, rig, RIG_IN_FLIGHT * rig->workers, part),
                     "loads/good-per-second");
}

static void add(struct bench *bench, const char *name, const char *unit, double sample)
{
    figure_add(figure_of(bench->figures, name, unit, FIGURE_NO_TARGET, 0), sample);
}

static void latency(struct bench *bench, struct rig *rig)
{
    double alone = number_of(closed(bench, rig, 1, 0.25), "load-ms/p50");
    double peak = peak_of(bench, rig, 0.25);
    double loaded =
        number_of(rig_fleet_next(rig, share_of(rig, 0.5), "--rate %.3f --duration %.0fms",
                                 SHARE * peak, 0.5 * bench->seconds * 1000),
                  "load-ms/p99");

    add(bench, "latency_alone_p50", "ms", alone);
    add(bench, "latency_at_70_percent_p99", "ms", loaded);
    figure_add(figure_of(bench->figures, "latency_at_70_percent_vs_alone", "ratio", FIGURE_AT_MOST,
                         5),
               loaded / alone);
}

static void flood(struct bench *bench, struct rig *rig)
{
    double peak = peak_of(bench, rig, 0.5);
    json_t *report = rig_fleet_next(rig, share_of(rig, TIMES),
                                    "--rate %.3f --duration %.0fms --allow busy,unstarted,timeout",
                                    TIMES * peak, bench->seconds * 1000);
    double hung =
        rig_number(report, "errors/timeout/failed") + rig_number(report, "candidates-in-doubt");

    peak = (peak + peak_of(bench, rig, 0.5)) / 2;
    add(bench, "overload_peak", "loads/s", peak);
    figure_add(figure_of(bench->figures, "overload_goodput", "ratio", FIGURE_AT_LEAST, 0.95),
               rig_number(report, "loads/good-per-second") / peak);
    add(bench, "overload_busy", "answers", rig_number(report, "busy-answer-ms/count"));
    if (rig_number(report, "busy-answer-ms/count") > 0) { /* else the queue did not fill */
        figure_add(figure_of(bench->figures, "overload_busy_p50", "ms", FIGURE_AT_MOST, 50),
                   rig_number(report, "busy-answer-ms/p50"));
    }
    figure_add(figure_of(bench->figures, "overload_hung", "loads", FIGURE_AT_MOST, 0), hung);
    add(bench, "overload_offered", "loads/s",
        rig_number(report, "loads/started") / rig_number(report, "seconds"));
    json_decref(report);
}

void group_overload(struct bench *bench)
{
    struct rig rig;

    rig_begin(&rig, NULL, &bench->lab, "overload", &kinds[KIND_RSA2048], bench->cpus,
              (unsigned)(bench->seconds * RATE_MAX * (TURNS + PEAKS + TIMES)));
    rig_register(&rig);
    rig_start(&rig);
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        bench_progress("overload: %u of %u", repeat + 1, bench->repeats);
        rig_arm(&rig);
        for (int turn = 0; turn < TURNS; turn++) {
            latency(bench, &rig);
        }
        flood(bench, &rig);
    }
    rig_end(&rig);
}
