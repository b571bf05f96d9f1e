/* SPDX-License-Identifier: BSD-2-Clause */
/* The circuit breaker: states, pauses, and what ends a bar. */
#include <check.h>
#include <stdlib.h>

#include "daemon/hsm/breaker.h"
#include "tests/support/suite.h"

static struct kl_breaker breaker;

static void setup(void)
{
    kl_breaker_init(&breaker, 1000);
}

static void up(void)
{
    kl_breaker_good(&breaker, 1000);
}

START_TEST(begins_by_probing_at_once)
{
    ck_assert_int_eq(breaker.state, KL_BREAKER_PROBING);
    ck_assert_int_eq(kl_breaker_wait(&breaker, 1000), 0);
    kl_breaker_good(&breaker, 1500);
    ck_assert_int_eq(breaker.state, KL_BREAKER_UP);
    ck_assert_int_eq(breaker.since, 1500);
    ck_assert_uint_eq(breaker.trips, 0);
}
END_TEST

START_TEST(opens_at_failures_in_a_row_only)
{
    up();
    for (int i = 0; i < 10; i++) { /* never so many in a row */
        for (int n = 1; n < KL_BREAKER_TRIP; n++) {
            kl_breaker_bad(&breaker, 2000, 0);
            ck_assert_int_eq(breaker.state, KL_BREAKER_UP);
        }
        kl_breaker_good(&breaker, 2000);
    }
    for (int n = 0; n < KL_BREAKER_TRIP; n++) {
        kl_breaker_bad(&breaker, 3000, 0);
    }
    ck_assert_int_eq(breaker.state, KL_BREAKER_OPEN);
    ck_assert_uint_eq(breaker.trips, 1);
}
END_TEST

/* 100 ms, twice as much for each failure, 10 s at most; from half of that on, as is drawn. */
START_TEST(pauses_grow_and_are_spread)
{
    int64_t longest = KL_BREAKER_PAUSE_MIN, now = 5000;

    for (int n = 1; n < 40; n++) {
        struct kl_breaker other = breaker;
        kl_breaker_bad(&breaker, now, 0);
        kl_breaker_bad(&other, now, (uint32_t)(longest / 2));
        ck_assert_int_eq(kl_breaker_wait(&breaker, now), longest / 2);
        ck_assert_int_eq(kl_breaker_wait(&other, now), longest);
        ck_assert_int_eq(kl_breaker_wait(&breaker, now + longest / 2 - 1), 1);
        ck_assert_int_eq(kl_breaker_wait(&breaker, now + longest / 2), 0);
        longest = longest * 2 < KL_BREAKER_PAUSE_MAX ? longest * 2 : KL_BREAKER_PAUSE_MAX;
    }
    for (uint32_t random = 0; random < 100000; random += 37) {
        struct kl_breaker other = breaker;
        kl_breaker_bad(&other, now, random);
        ck_assert_int_le(kl_breaker_wait(&other, now), KL_BREAKER_PAUSE_MAX);
        ck_assert_int_ge(kl_breaker_wait(&other, now), KL_BREAKER_PAUSE_MAX / 2);
    }
}
END_TEST

START_TEST(probes_when_its_time_is_over)
{
    up();
    for (int n = 0; n < KL_BREAKER_TRIP; n++) {
        kl_breaker_bad(&breaker, 2000, 0);
    }
    kl_breaker_tick(&breaker, breaker.until - 1);
    ck_assert_int_eq(breaker.state, KL_BREAKER_OPEN);
    kl_breaker_tick(&breaker, breaker.until);
    ck_assert_int_eq(breaker.state, KL_BREAKER_PROBING);
    kl_breaker_bad(&breaker, 9000, 0); /* one failure is enough now */
    ck_assert_int_eq(breaker.state, KL_BREAKER_OPEN);
    ck_assert_uint_eq(breaker.trips, 1); /* it has not been up in between */
    kl_breaker_tick(&breaker, breaker.until);
    kl_breaker_good(&breaker, 20000);
    ck_assert_int_eq(breaker.state, KL_BREAKER_UP);
    ck_assert_uint_eq(breaker.failures, 0);
}
END_TEST

START_TEST(barred_until_reset)
{
    up();
    kl_breaker_bar(&breaker, 2000);
    kl_breaker_bad(&breaker, 3000, 7);
    kl_breaker_good(&breaker, 3000); /* an old worker still answers */
    kl_breaker_tick(&breaker, 1000000000);
    ck_assert_int_eq(breaker.state, KL_BREAKER_BARRED);
    ck_assert_int_eq(kl_breaker_wait(&breaker, 1000000000), -1);
    ck_assert_int_eq(breaker.since, 2000);
    kl_breaker_reset(&breaker, 5000);
    ck_assert_int_eq(breaker.state, KL_BREAKER_PROBING);
    ck_assert_int_eq(kl_breaker_wait(&breaker, 5000), 0);
}
END_TEST

START_TEST(reset_leaves_one_that_is_up)
{
    up();
    kl_breaker_bad(&breaker, 2000, 0);
    kl_breaker_reset(&breaker, 2001);
    ck_assert_int_eq(breaker.state, KL_BREAKER_UP);
    ck_assert_int_eq(breaker.since, 1000);
    ck_assert_int_eq(kl_breaker_wait(&breaker, 2001), 0);
}
END_TEST

START_TEST(states_have_names)
{
    ck_assert_str_eq(kl_breaker_name(KL_BREAKER_UP), "up");
    ck_assert_str_eq(kl_breaker_name(KL_BREAKER_OPEN), "open");
    ck_assert_str_eq(kl_breaker_name(KL_BREAKER_PROBING), "probing");
    ck_assert_str_eq(kl_breaker_name(KL_BREAKER_BARRED), "barred");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("breaker");
    TCase *tc = tcase_create("breaker");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, begins_by_probing_at_once);
    tcase_add_test(tc, opens_at_failures_in_a_row_only);
    tcase_add_test(tc, pauses_grow_and_are_spread);
    tcase_add_test(tc, probes_when_its_time_is_over);
    tcase_add_test(tc, barred_until_reset);
    tcase_add_test(tc, reset_leaves_one_that_is_up);
    tcase_add_test(tc, states_have_names);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
