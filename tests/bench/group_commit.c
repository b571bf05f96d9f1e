/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What group commit is worth: how many loads share a transaction, that is one fsync, while a daemon
 * is under load; and units of work a second of the store thread alone, when many wait at a time and
 * when each is alone, as it would be with one commit for each. A load is three units: it is
 * admitted, its TMK becomes pending, then active.
 */
#include <check.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/committer.h"
#include "proto/clock.h"
#include "tests/bench/bench.h"
#include "tests/support/http.h"

#define RATE_MAX 6000
#define MANY 64

/* ---- The daemon ---- */

/* Transactions that it has made durable. */
static double commits(uint16_t port)
{
    static const char name[] = "\nkeyloader_store_commit_units_count ";
    char *answer, *at;
    double count;

    proc_sleep_ms(1500); /* views are made once a second */
    answer = http_get(port, "/metrics");
    at = strstr(answer, name);
    ck_assert_msg(at != NULL, "no%s in the metrics", name);
    count = strtod(at + sizeof(name) - 1, NULL);
    free(answer);
    return count;
}

static void under_load(struct bench *bench, struct rig *rig, uint16_t port)
{
    double before = commits(port);
    json_t *report =
        rig_fleet(rig, "--concurrency %d --duration %.0fms", MANY, bench->seconds * 1000);

    figure_add(figure_of(bench->figures, "loads_per_fsync", "loads", FIGURE_NO_TARGET, 0),
               rig_number(report, "loads/good") / (commits(port) - before));
    json_decref(report);
}

/* ---- The store thread alone ---- */

struct alone {
    struct event_base *base;
    struct kl_committer *committer;
    int64_t until; /* us */
    unsigned done, next;
};

struct unit {
    struct kl_unit unit;
    struct alone *alone;
    struct kl_terminal terminal;
};

static void submit(struct unit *unit);

static enum kl_rc run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    const struct unit *mine = (struct unit *)unit;
    enum kl_rc rc = kl_store_terminal_add(store, &mine->terminal, err);

    return rc == KL_OK
               ? kl_store_audit(store, 1, "terminal-disarmed", mine->terminal.serial, "", err)
               : rc;
}

static void done(struct kl_unit *unit)
{
    struct unit *mine = (struct unit *)unit;

    ck_assert_msg(unit->rc == KL_OK, "%.500s", unit->err.text);
    mine->alone->done++;
    if (kl_clock_us() < mine->alone->until) {
        submit(mine);
    } else {
        free(mine);
    }
}

static void submit(struct unit *unit)
{
    struct kl_err err = KL_ERR_INIT;

    unit->unit = (struct kl_unit){.run = run, .done = done};
    unit->terminal = (struct kl_terminal){.alg = KL_ALG_AES128, .created = 1};
    snprintf(unit->terminal.serial, sizeof(unit->terminal.serial), "U%u", unit->alone->next++);
    ck_assert_int_eq(kl_committer_submit(unit->alone->committer, &unit->unit, &err), KL_OK);
}

/* Units a second with so many waiting at a time, in a store of their own. */
static double units(struct bench *bench, const char *name, unsigned at_a_time)
{
    struct alone alone = {.base = event_base_new()};
    struct kl_store *store = NULL;
    struct kl_err err = KL_ERR_INIT;
    char path[PATH_MAX + 32];
    int64_t begun;

    snprintf(path, sizeof(path), "%s/%s.db", bench->lab.dir, name);
    ck_assert_msg(kl_store_open(path, KL_STORE_CREATE, &store, &err) == KL_OK &&
                      kl_committer_new(alone.base, store, &alone.committer, &err) == KL_OK,
                  "%.500s", err.text);
    begun = kl_clock_us();
    alone.until = begun + (int64_t)(bench->seconds * 1e6);
    for (unsigned i = 0; i < at_a_time; i++) {
        struct unit *unit = calloc(1, sizeof(*unit));

        ck_assert_ptr_nonnull(unit);
        unit->alone = &alone;
        submit(unit);
    }
    while (alone.done < alone.next) {
        ck_assert_int_eq(event_base_loop(alone.base, EVLOOP_ONCE), 0);
    }
    begun = kl_clock_us() - begun;
    kl_committer_free(alone.committer);
    event_base_free(alone.base);
    return alone.done / ((double)begun / 1e6);
}

void group_commit(struct bench *bench)
{
    struct rig rig;
    uint16_t port;

    rig_begin(&rig, NULL, &bench->lab, "commit", &kinds[KIND_P256], bench->workers,
              (unsigned)(bench->seconds * RATE_MAX));
    lab_set(&rig.lab, "monitor", "listen", "127.0.0.1:0");
    rig_register(&rig);
    rig_start(&rig);
    port = lab_monitor_port(&rig.lab);
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        char name[32];
        double single, grouped;

        bench_progress("store_commit: %u of %u", repeat + 1, bench->repeats);
        under_load(bench, &rig, port);
        snprintf(name, sizeof(name), "single-%u", repeat);
        single = units(bench, name, 1);
        snprintf(name, sizeof(name), "grouped-%u", repeat);
        grouped = units(bench, name, MANY);
        figure_add(figure_of(bench->figures, "store_single", "units/s", FIGURE_NO_TARGET, 0),
                   single);
        figure_add(figure_of(bench->figures, "store_grouped", "units/s", FIGURE_NO_TARGET, 0),
                   grouped);
        figure_add(figure_of(bench->figures, "store_group_vs_single", "ratio", FIGURE_NO_TARGET, 0),
                   grouped / single);
    }
    rig_end(&rig);
}
