/* SPDX-License-Identifier: BSD-2-Clause */
/* Histograms, what is counted of sessions and refusals, and the census of the store. */
#include <math.h>
#include <sqlite3.h>

#include "daemon/monitor/metrics.h"
#include "tests/unit/store_fixture.h"

/* ---- Histograms ---- */

START_TEST(buckets)
{
    static const struct {
        int64_t value;
        size_t bucket;
    } rows[] = {{-5, 0},
                {0, 0},
                {500, 0},
                {501, 1},
                {1000, 1},
                {60000000, KL_HISTOGRAM_BOUNDS - 1},
                {60000001, KL_HISTOGRAM_BOUNDS},
                {INT64_MAX, KL_HISTOGRAM_BOUNDS}};
    size_t count;

    ck_assert_uint_eq(kl_histogram_bounds(KL_HISTOGRAM_TIME, &count)[0], 500);
    ck_assert_uint_eq(count, KL_HISTOGRAM_BOUNDS);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kl_histogram h = {0};
        kl_histogram_add(&h, KL_HISTOGRAM_TIME, rows[i].value);
        ck_assert_msg(h.bucket[rows[i].bucket] == 1, "row %zu", i);
        ck_assert_uint_eq(h.count, 1);
        ck_assert_uint_eq(h.sum, rows[i].value > 0 ? (uint64_t)rows[i].value : 0);
    }
}
END_TEST

/* Beyond the last of fewer bounds comes the one bucket without. */
START_TEST(fewer_bounds)
{
    struct kl_histogram h = {0};
    size_t count;

    kl_histogram_bounds(KL_HISTOGRAM_COUNT, &count);
    ck_assert_uint_lt(count, KL_HISTOGRAM_BOUNDS);
    kl_histogram_add(&h, KL_HISTOGRAM_COUNT, 513);
    ck_assert_uint_eq(h.bucket[count], 1);
}
END_TEST

START_TEST(quantiles)
{
    struct kl_histogram h = {0};

    ck_assert(kl_histogram_quantile(&h, KL_HISTOGRAM_TIME, 0.5) == 0);
    for (int i = 0; i < 99; i++) {
        kl_histogram_add(&h, KL_HISTOGRAM_TIME, 700);
    }
    kl_histogram_add(&h, KL_HISTOGRAM_TIME, 90000);
    ck_assert(fabs(kl_histogram_quantile(&h, KL_HISTOGRAM_TIME, 0.5) - 752.5) < 5);
    ck_assert(fabs(kl_histogram_quantile(&h, KL_HISTOGRAM_TIME, 0.99) - 1000) < 1);
    ck_assert(kl_histogram_quantile(&h, KL_HISTOGRAM_TIME, 1) > 50000);
    kl_histogram_add(&h, KL_HISTOGRAM_TIME, INT64_MAX);
    ck_assert(kl_histogram_quantile(&h, KL_HISTOGRAM_TIME, 1) == 60000000);
}
END_TEST

/* ---- Sessions and refusals ---- */

START_TEST(outcomes)
{
    static const struct {
        enum kl_rc rc;
        enum kl_outcome outcome;
    } rows[] = {{KL_ERR_UNARMED, KL_OUTCOME_REFUSED},  {KL_ERR_VERIFY, KL_OUTCOME_REFUSED},
                {KL_ERR_PROTOCOL, KL_OUTCOME_REFUSED}, {KL_ERR_BUSY, KL_OUTCOME_BUSY},
                {KL_ERR_FULL, KL_OUTCOME_BUSY},        {KL_ERR_TIMEOUT, KL_OUTCOME_TIMEOUT},
                {KL_ERR_HSM, KL_OUTCOME_ERROR},        {KL_ERR_STORE, KL_OUTCOME_ERROR}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_msg(kl_outcome_of(rows[i].rc) == rows[i].outcome, "row %zu", i);
    }
    for (int outcome = 0; outcome < KL_OUTCOMES; outcome++) {
        ck_assert_ptr_nonnull(kl_outcome_name((enum kl_outcome)outcome));
    }
    for (int why = 0; why < KL_AWAYS; why++) {
        ck_assert_ptr_nonnull(kl_turned_away_name((enum kl_turned_away)why));
    }
}
END_TEST

/* Only what was done says how long it takes: a peer that waits for its time-out must not. */
START_TEST(time_of_what_is_done)
{
    static struct kl_metrics metrics;

    kl_metrics_init(&metrics);
    kl_metrics_session(&metrics, KL_SESSION_LOAD, KL_OUTCOME_DONE, KL_SUITE_HARDENED_EC, 900);
    kl_metrics_session(&metrics, KL_SESSION_LOAD, KL_OUTCOME_TIMEOUT, 0, 30000000);
    ck_assert_uint_eq(metrics.session_time[KL_SESSION_LOAD].count, 1);
    ck_assert_uint_eq(metrics.sessions[KL_SESSION_LOAD][KL_OUTCOME_DONE][KL_SUITE_HARDENED_EC], 1);
    ck_assert_uint_eq(metrics.sessions[KL_SESSION_LOAD][KL_OUTCOME_TIMEOUT][0], 1);
}
END_TEST

START_TEST(last_refusals)
{
    static struct kl_metrics metrics;
    char serial[8];

    kl_metrics_init(&metrics);
    ck_assert_ptr_null(kl_metrics_refusal(&metrics, 0));
    for (int i = 0; i < KL_METRICS_REFUSALS + 5; i++) {
        snprintf(serial, sizeof(serial), "T%d", i);
        kl_metrics_refused(&metrics, KL_ERR_UNARMED, serial, "192.0.2.1");
    }
    ck_assert_uint_eq(metrics.refusals[KL_ERR_UNARMED], KL_METRICS_REFUSALS + 5);
    for (int i = 0; i < KL_METRICS_REFUSALS; i++) {
        snprintf(serial, sizeof(serial), "T%d", KL_METRICS_REFUSALS + 4 - i);
        ck_assert_str_eq(kl_metrics_refusal(&metrics, (size_t)i)->serial, serial);
    }
    ck_assert_ptr_null(kl_metrics_refusal(&metrics, KL_METRICS_REFUSALS));
}
END_TEST

/* ---- Census ---- */

static void put_terminal(const char *serial, int blocked, int64_t armed_until, uint32_t attempts)
{
    struct kl_terminal t = a_terminal(serial);

    t.blocked = blocked;
    t.armed_until = armed_until;
    t.attempts_left = attempts;
    OK(kl_store_terminal_add(store, &t, &err));
}

static void put_tmk(const char *serial, uint32_t version, enum kl_tmk_state state)
{
    struct kl_tmk tmk = a_tmk(serial, version);

    memset(tmk.cryptogram, (int)version, sizeof(tmk.cryptogram));
    OK(kl_store_tmk_add(store, &tmk, &err));
    if (state != KL_TMK_PENDING) {
        OK(kl_store_tmk_set_state(store, serial, version, state, 3, 4, &err));
    }
}

START_TEST(census)
{
    struct kl_store_census n;

    OK(kl_store_census(store, 100, &n, &err));
    ck_assert_uint_eq(n.idle + n.armed + n.blocked + n.pending + n.active + n.ended, 0);
    OK(kl_store_begin(store, &err));
    put_terminal("A", 0, 200, 1);
    put_terminal("B", 0, 100, 1); /* its window is over */
    put_terminal("C", 0, 200, 0); /* its attempts are used up */
    put_terminal("D", 1, 200, 1);
    put_terminal("E", 0, 0, 0);
    put_tmk("A", 1, KL_TMK_SUPERSEDED);
    put_tmk("A", 2, KL_TMK_ACTIVE);
    put_tmk("A", 3, KL_TMK_PENDING);
    put_tmk("A", 4, KL_TMK_PENDING);
    put_tmk("B", 5, KL_TMK_EXPIRED);
    put_tmk("B", 6, KL_TMK_REVOKED);
    put_tmk("B", 7, KL_TMK_DESTROYED);
    OK(kl_store_commit(store, &err));
    OK(kl_store_census(store, 100, &n, &err));
    ck_assert_uint_eq(n.armed, 1);
    ck_assert_uint_eq(n.blocked, 1);
    ck_assert_uint_eq(n.idle, 3);
    ck_assert_uint_eq(n.pending, 2);
    ck_assert_uint_eq(n.active, 1);
    ck_assert_uint_eq(n.superseded, 1);
    ck_assert_uint_eq(n.ended, 3);
    ck_assert_uint_eq(n.imported + n.working + n.requests, 0);
}
END_TEST

START_TEST(space)
{
    uint64_t bytes = 0, room = 0, disk = 0;

    OK(kl_store_space(store, &bytes, &room, &disk, &err));
    ck_assert_uint_ge(bytes, 4096);
    ck_assert_uint_ge(disk, room);
    ck_assert_uint_gt(disk, 0);
}
END_TEST

/* It must not read the rows of the TMKs, of which there may be millions. */
START_TEST(census_counts_in_indices)
{
    sqlite3_stmt *stmt = NULL;
    char sql[2048];
    struct kl_store_census n;
    unsigned scans = 0;

    OK(kl_store_census(store, 1, &n, &err));
    snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", sqlite3_sql(store->kept[KL_SQL_CENSUS]));
    ck_assert_int_eq(sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *step = (const char *)sqlite3_column_text(stmt, 3);
        if (strstr(step, " tmk") != NULL) {
            ck_assert_msg(strstr(step, "INDEX") != NULL, "%s", step);
            scans++;
        }
    }
    sqlite3_finalize(stmt);
    ck_assert_uint_eq(scans, 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *tcase = tcase_create("metrics"), *rows = tcase_create("census");

    tcase_add_test(tcase, buckets);
    tcase_add_test(tcase, fewer_bounds);
    tcase_add_test(tcase, quantiles);
    tcase_add_test(tcase, outcomes);
    tcase_add_test(tcase, time_of_what_is_done);
    tcase_add_test(tcase, last_refusals);
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(rows, setup, teardown);
    tcase_add_test(rows, census);
    tcase_add_test(rows, space);
    tcase_add_test(rows, census_counts_in_indices);
    suite_add_tcase(suite, rows);
    return test_run(suite);
}
