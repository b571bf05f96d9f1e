/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whole loads over the bare loop, for each kind of work key: the daemon with SQLite's full
 * durability and the simulator on the same CPUs against as many processes that only make the
 * PKCS#11 calls, in short turns, so that a machine which becomes faster or slower meanwhile does so
 * for both. One daemon for each kind stands ready, and one kind is taken after the other before it
 * is the first one's turn again.
 *
 * Twice, as everything else of a load runs somewhere: with a CPU left for it, which is how one
 * would size a software token, and with as many processes as there are CPUs ("_full"), where it
 * has to come off the HSM's part, however little it is.
 */

#include "tests/bench/bench.h"

#define IN_FLIGHT 16 /* loads for each worker, so that it need not wait for a disk */
#define SIDES_MAX (2 * KIND_COUNT)
#define TURNS 4       /* of a measurement, for each side; the order is bare, whole, whole, bare */
#define RATE_MAX 6000 /* loads a second that no kind comes near: an arming is for one load */

/* Means of turns. */
struct whole {
    double rate, daemon_us, workers_us, simulator_us;
};
struct sample {
    struct bare bare;
    struct whole whole;
};

static void add_whole(struct rig *rig, double seconds, struct whole *mean)
{
    struct usage before, after;
    struct proc proc;
    double shares; /* loads of a turn, and what makes a mean of turns */

    rig_fleet_start(rig, &proc, rig->terminals / TURNS, "--concurrency %u --duration %.0fms",
                    IN_FLIGHT * rig->workers, seconds * 1000);
    before = rig_usage(rig);
    json_t *report = rig_fleet_end(&proc);
    after = rig_usage(rig);
    shares = rig_number(report, "loads/good") * TURNS;
    mean->rate += rig_number(report, "loads/good-per-second") / TURNS;
    mean->daemon_us += (after.daemon - before.daemon) * 1e6 / shares;
    mean->workers_us += (after.workers - before.workers) * 1e6 / shares;
    mean->simulator_us += rig_number(report, "simulator-cpu-percent") / 100 *
                          rig_number(report, "seconds") * 1e6 / shares;
    json_decref(report);
}

static void add_bare(const struct rig *rig, double seconds, struct bare *mean)
{
    struct bare bare = rig_bare(rig, rig->workers, seconds);

    mean->rate += bare.rate / TURNS;
    mean->cpu_us += bare.cpu_us / TURNS;
}

static struct sample run(struct rig *rig, double seconds)
{
    struct sample mean = {0};

    rig_arm(rig);
    for (int turn = 0; turn < TURNS; turn++) {
        int whole_first = turn % 2;
        if (whole_first) {
            add_whole(rig, seconds / TURNS, &mean.whole);
        }
        add_bare(rig, seconds / TURNS, &mean.bare);
        if (!whole_first) {
            add_whole(rig, seconds / TURNS, &mean.whole);
        }
    }
    return mean;
}

/* A daemon that is compared with the bare loop. */
struct side {
    struct rig rig;
    char name[32]; /* of its figures: the kind, and BENCH_FULL */
};

static void add(struct bench *bench, const char *prefix, const struct side *side, const char *unit,
                enum figure_rule rule, double target, double sample)
{
    figure_add(bench_figure(bench, prefix, side->name, unit, rule, target), sample);
}

static void once(struct bench *bench, struct side *side)
{
    struct rig *rig = &side->rig;
    int is_ec = rig->kind->is_ec;
    struct sample sample = run(rig, bench->seconds);
    struct whole whole = sample.whole;
    struct bare bare = sample.bare;

    add(bench, "load_vs_bare", side, "ratio", FIGURE_AT_LEAST, is_ec ? 0.50 : 0.85,
        whole.rate / bare.rate);
    add(bench, "cpu_per_load_vs_bare", side, "ratio", FIGURE_AT_MOST, is_ec ? 1.6 : 1.10,
        (whole.daemon_us + whole.workers_us) / bare.cpu_us);
    add(bench, "loads", side, "loads/s", FIGURE_NO_TARGET, 0, whole.rate);
    add(bench, "bare_loads", side, "loads/s", FIGURE_NO_TARGET, 0, bare.rate);
    add(bench, "cpu_bare", side, "us/load", FIGURE_NO_TARGET, 0, bare.cpu_us);
    add(bench, "cpu_workers", side, "us/load", FIGURE_NO_TARGET, 0, whole.workers_us);
    add(bench, "cpu_daemon", side, "us/load", FIGURE_NO_TARGET, 0, whole.daemon_us);
    add(bench, "cpu_simulator", side, "us/load", FIGURE_NO_TARGET, 0, whole.simulator_us);
}

/* The newest sample: of this repeat. */
static double last(struct bench *bench, const char *prefix, enum kind_id id)
{
    const struct figure *figure =
        bench_figure(bench, prefix, kinds[id].name, "loads/s", FIGURE_NO_TARGET, 0);

    return figure->sample[figure->count - 1];
}

static void compare_kinds(struct bench *bench)
{
    figure_add(figure_of(bench->figures, "ec_vs_rsa", "ratio", FIGURE_AT_LEAST, 3),
               last(bench, "loads", KIND_P256) / last(bench, "loads", KIND_RSA2048));
    figure_add(figure_of(bench->figures, "ec_vs_rsa_bare", "ratio", FIGURE_NO_TARGET, 0),
               last(bench, "bare_loads", KIND_P256) / last(bench, "bare_loads", KIND_RSA2048));
}

static void begin(struct bench *bench, struct side *side, const struct kind *kind,
                  const char *suffix, unsigned workers)
{
    proc_text(side->name, sizeof(side->name), "%s%s", kind->name, suffix);
    bench_progress("load_vs_bare: a daemon for %s", side->name);
    rig_begin(&side->rig, NULL, &bench->lab, side->name, kind, workers,
              (unsigned)(bench->seconds * RATE_MAX));
    rig_register(&side->rig);
    rig_start(&side->rig);
}

void group_load_vs_bare(struct bench *bench)
{
    struct side sides[SIDES_MAX];
    size_t count = 0;
    int comparable = bench->choice.kind[KIND_P256] && bench->choice.kind[KIND_RSA2048];

    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (bench->choice.kind[i]) {
            begin(bench, &sides[count++], &kinds[i], "", bench->workers);
            if (bench->workers < bench->cpus && choice_both((enum kind_id)i)) {
                begin(bench, &sides[count++], &kinds[i], BENCH_FULL, bench->cpus);
            }
        }
    }
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        for (size_t i = 0; i < count; i++) {
            bench_progress("load_vs_bare: %s, %u of %u", sides[i].name, repeat + 1, bench->repeats);
            once(bench, &sides[i]);
        }
        if (comparable) {
            compare_kinds(bench);
        }
    }
    for (size_t i = 0; i < count; i++) {
        rig_end(&sides[i].rig);
    }
}
