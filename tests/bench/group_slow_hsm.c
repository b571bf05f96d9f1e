/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An HSM across a network: every PKCS#11 call takes 10 ms longer (tests/tools/fault_p11.h). What
 * such an HSM lacks in speed it has in sessions, so there are 64 workers, as many as one HSM may
 * have. The ideal is what 64 sessions could do if a load were nothing but its calls' waiting.
 */
#include "tests/bench/bench.h"

#define SESSIONS 64
#define DELAY_S 0.010
#define IN_FLIGHT 3 /* loads for each session, so that none waits for the next one */
#define LONGER 4    /* a measurement than others, as a load takes a third of a second */

void group_slow_hsm(struct bench *bench)
{
    struct fault fault;
    struct rig rig;
    double ideal, loop;

    rig_begin(&rig, &fault, &bench->lab, "slow-hsm", &kinds[KIND_P256], SESSIONS,
              (unsigned)(bench->seconds * LONGER * 500) + SESSIONS * IN_FLIGHT);
    rig_register(&rig);
    bench_progress("slow_hsm: starting %d workers", SESSIONS);
    rig_start(&rig);
    ideal = SESSIONS / (DELAY_S * rig_bare(&rig, 1, 0.1).calls);
    fault_set(&fault, "* always delay:10\n");
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        struct proc proc;
        json_t *report;

        bench_progress("slow_hsm: %u of %u", repeat + 1, bench->repeats);
        rig_arm(&rig);
        rig_fleet_start(&rig, &proc, rig.terminals, "--concurrency %d --duration %.0fms",
                        SESSIONS * IN_FLIGHT, bench->seconds * LONGER * 1000);
        loop = rig_loop_cpu(&rig);
        report = rig_fleet_end(&proc);
        loop = rig_loop_cpu(&rig) - loop;
        figure_add(figure_of(bench->figures, "slow_hsm", "ratio", FIGURE_AT_LEAST, 0.90),
                   rig_number(report, "loads/good-per-second") / ideal);
        figure_add(figure_of(bench->figures, "slow_hsm_loop_cpu", "percent", FIGURE_AT_MOST, 20),
                   100 * loop / rig_number(report, "seconds"));
        figure_add(figure_of(bench->figures, "slow_hsm_loads", "loads/s", FIGURE_NO_TARGET, 0),
                   rig_number(report, "loads/good-per-second"));
        json_decref(report);
    }
    figure_add(figure_of(bench->figures, "slow_hsm_ideal", "loads/s", FIGURE_NO_TARGET, 0), ideal);
    fault_set(&fault, "");
    rig_end(&rig);
}
