/* SPDX-License-Identifier: BSD-2-Clause */
/* How long the commit of a load's or sign-in's step may wait for others. */
#include <check.h>
#include <stdlib.h>

#include "daemon/life/step.h"
#include "tests/support/suite.h"

/* ---- In the place of the pool, and of the store thread ---- */

static int64_t ahead_us, patience_us;

int64_t kl_pool_wait_us(const struct kl_pool *pool)
{
    (void)pool;
    return ahead_us;
}

enum kl_rc kl_committer_ready(struct kl_committer *committer, struct kl_err *err)
{
    (void)committer;
    (void)err;
    return KL_OK;
}

enum kl_rc kl_committer_submit(struct kl_committer *committer, struct kl_unit *unit,
                               struct kl_err *err)
{
    (void)committer;
    (void)err;
    patience_us = unit->patience_us;
    unit->done(unit);
    return KL_OK;
}

static int64_t patience_of(enum kl_step_kind kind, struct kl_pool *pool)
{
    struct kl_service service = {.pool = pool};
    struct kl_step *step = kl_step_new(kind, &service, NULL, NULL);
    struct kl_err err = KL_ERR_INIT;

    ck_assert_ptr_nonnull(step);
    ck_assert_int_eq(kl_step_submit(step, &err), KL_OK);
    return patience_us;
}

/* ---- Tests ---- */

static char memory; /* at whose address a pool might be */
static struct kl_pool *const pool = (struct kl_pool *)&memory;

START_TEST(nothing_waits_for_the_hsm)
{
    ahead_us = 0;
    for (enum kl_step_kind kind = KL_STEP_ADMIT; kind <= KL_STEP_FAILED; kind++) {
        ck_assert_int_eq(patience_of(kind, pool), 0);
    }
    ahead_us = 5000;
    ck_assert_int_eq(patience_of(KL_STEP_ADMIT, NULL), 0);
}
END_TEST

START_TEST(a_queue_gives_patience)
{
    ahead_us = 4000;
    ck_assert_int_eq(patience_of(KL_STEP_ADMIT, pool), 2000);
    ck_assert_int_eq(patience_of(KL_STEP_SIGN_IN, pool), 2000);
    ck_assert_int_eq(patience_of(KL_STEP_PEND, pool), 1000);
    ck_assert_int_eq(patience_of(KL_STEP_CONFIRM, pool), 1000);
    ck_assert_int_eq(patience_of(KL_STEP_SIGNED_IN, pool), 1000);
}
END_TEST

START_TEST(which_has_an_end)
{
    ahead_us = INT64_MAX;
    for (enum kl_step_kind kind = KL_STEP_ADMIT; kind <= KL_STEP_FAILED; kind++) {
        ck_assert_int_eq(patience_of(kind, pool), 32000);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("step");
    TCase *tc = tcase_create("patience");

    tcase_add_test(tc, nothing_waits_for_the_hsm);
    tcase_add_test(tc, a_queue_gives_patience);
    tcase_add_test(tc, which_has_an_end);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
