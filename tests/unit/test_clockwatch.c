/* SPDX-License-Identifier: BSD-2-Clause */
/* What looks like a clock that was set, and what does not. */
#include <check.h>

#include "daemon/process/clockwatch.h"
#include "tests/support/suite.h"

#define START 1700000000000LL /* ms of the wall clock */

static const struct {
    int64_t real_ms, boot_ms, step;
} rows[] = {
    {1000, 1000, 0},                       /* time goes by */
    {1999, 1000, 0},                       /* less than a step */
    {3000, 1000, 2},                       /* forward */
    {-1000, 1000, -2},                     /* back */
    {-3600LL * 1000, 1000, -3601},         /* an hour */
    {864000LL * 1000, 864000LL * 1000, 0}, /* suspended for ten days: both go on */
    {864000LL * 1000, 1000, 863999},       /* set by ten days */
};

START_TEST(step)
{
    struct kl_clock_offset offset = {0};

    ck_assert_int_eq(kl_clock_step(&offset, START, 5000), 0); /* nothing to hold it against */
    ck_assert_int_eq(kl_clock_step(&offset, START + rows[_i].real_ms, 5000 + rows[_i].boot_ms),
                     rows[_i].step);
    /* It is told once. */
    ck_assert_int_eq(kl_clock_step(&offset, START + rows[_i].real_ms + 1000,
                                   5000 + rows[_i].boot_ms + 1000),
                     0);
}
END_TEST

/* A clock that is slewed at the kernel's fastest for a day never looks like one that was set. */
START_TEST(slew)
{
    struct kl_clock_offset offset = {0};

    for (int64_t s = 0; s < 86400; s++) {
        ck_assert_int_eq(kl_clock_step(&offset, START + s * 1000 + s / 2, s * 1000), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clockwatch");
    TCase *tcase = tcase_create("clockwatch");

    tcase_add_loop_test(tcase, step, 0, (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_test(tcase, slew);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
