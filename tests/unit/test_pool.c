/* SPDX-License-Identifier: BSD-2-Clause */
/* Which job the HSM workers' pool sends to whom, what it sends ahead and takes back. */
#include "tests/unit/pool_fixture.h"

START_TEST(one_job_is_ahead)
{
    begin("workers = 1\n");
    submit_all(3);
    ck_assert_uint_eq(report().queued, 2);
    ck_assert_uint_eq(pool->ahead, 1);
    ck_assert_uint_eq(reads(1), 1);
    answers(1, KL_OK, 0);
    ck_assert_uint_eq(reads(1), 2); /* before we know of the answer */
    ck_assert_uint_eq(workers[0].job, 2);
    workers[0].job = 0;
    ck_assert_uint_eq(reads(1), 0);
    turn();
    workers[0].job = 2;
    answers(1, KL_OK, 0);
    ck_assert_uint_eq(report().queued, 1);
    turn();
    ck_assert_uint_eq(report().queued, 0);
    does(1, 3);
    ck_assert_uint_eq(report().hsm[0].idle, 1);
    nothing_left();
}
END_TEST

/* A small net.core.wmem_max costs no worker: what has no room ahead waits in the queue. */
START_TEST(no_room_ahead)
{
    begin("workers = 1\n");
    submit_all(1);
    no_room = 1;
    submit_all(2);
    ck_assert_uint_eq(report().queued, 2);
    ck_assert_uint_eq(pool->ahead, 0);
    no_room = 0;
    does(1, 1);
    does(1, 2);
    does(1, 3);
    ck_assert_int_eq(started, 1);
    nothing_left();
}
END_TEST

START_TEST(who_is_idle_takes_it)
{
    begin("workers = 2\n");
    submit_all(1);
    now_ms += 10;
    submit_all(2); /* the third is behind the first */
    ck_assert_uint_eq(reads(1), 1);
    does(2, 2);
    does(2, 3);
    ck_assert_uint_eq(reads(1), 0);
    answers(1, KL_OK, 0);
    turn();
    nothing_left();
}
END_TEST

/* A worker that has not begun keeps what it has not begun, and loses what is behind. */
START_TEST(who_is_idle_takes_what_is_last)
{
    begin("workers = 2\n");
    submit_all(1);
    now_ms += 10;
    submit_all(2);
    does(2, 2);
    does(2, 3);
    does(1, 1);
    nothing_left();
}
END_TEST

START_TEST(of_several_the_oldest)
{
    begin("workers = 3\n");
    submit_all(3);
    now_ms += 10;
    submit_all(3); /* one ahead of each */
    ck_assert_uint_eq(reads(1), 1);
    ck_assert_uint_eq(reads(2), 2);
    does(3, 3); /* 6 is its own */
    ck_assert_uint_eq(reads(3), 6);
    answers(3, KL_OK, 0);
    turn();
    ck_assert_uint_eq(reads(3), 4);
    answers(3, KL_OK, 0);
    answers(1, KL_OK, 0);
    answers(2, KL_OK, 0);
    turn();
    for (int i = 1; i <= 3; i++) {
        if (reads(i) != 0) {
            answers(i, KL_OK, 0);
        }
    }
    turn();
    nothing_left();
}
END_TEST

/* What felled the worker may be what it did, not what waited. */
START_TEST(loss_costs_the_one_job)
{
    begin("workers = 1\n");
    submit_all(2);
    ck_assert_uint_eq(reads(1), 1);
    dies(1);
    ck_assert_int_eq(jobs[1].ends, 1);
    ck_assert_int_eq(jobs[1].rc, KL_ERR_HSM);
    await_workers(2);
    does(2, 2);
    nothing_left();
}
END_TEST

START_TEST(loss_of_who_has_begun_nothing)
{
    begin("workers = 1\n");
    submit_all(3);
    dies(1);
    await_workers(2);
    for (uint64_t i = 1; i <= 3; i++) {
        does(2, i);
    }
    nothing_left();
}
END_TEST

/* Nor what is cancelled by whoever is told. */
START_TEST(trouble_costs_the_one_job)
{
    begin("workers = 1\n");
    submit_all(3);
    ck_assert_uint_eq(reads(1), 1);
    answers(1, KL_ERR_HSM, 0);
    cancel_at_end = 2;
    turn();
    ck_assert_int_eq(jobs[1].rc, KL_ERR_HSM);
    ck_assert_int_eq(jobs[2].recalled, 1);
    ck_assert_uint_eq(reads(1), 0);
    await_workers(2);
    does(2, 3);
    nothing_left();
}
END_TEST

START_TEST(lost_session_costs_none)
{
    begin("workers = 1\n");
    submit_all(3);
    ck_assert_uint_eq(reads(1), 1);
    answers(1, KL_ERR_HSM, CKR_SESSION_HANDLE_INVALID);
    turn();
    await_workers(2);
    for (uint64_t i = 1; i <= 3; i++) {
        does(2, i);
    }
    nothing_left();
}
END_TEST

START_TEST(cancelled_ahead)
{
    begin("workers = 1\n");
    submit_all(4);
    ck_assert_uint_eq(reads(1), 1);
    ck_assert_int_eq(cancel(2), 0);
    ck_assert_uint_eq(pool->ahead, 1); /* the third, in its place */
    ck_assert_int_eq(cancel(4), 0);
    ck_assert_int_eq(cancel(1), 1);
    answers(1, KL_OK, 0);
    turn();
    does(1, 3);
    nothing_left();
}
END_TEST

START_TEST(cancelled_ahead_of_who_has_begun_nothing)
{
    begin("workers = 1\n");
    submit_all(3);
    ck_assert_int_eq(cancel(2), 0);
    ck_assert_uint_eq(report().queued, 1);
    does(1, 1);
    does(1, 3);
    nothing_left();
}
END_TEST

/* It has been read before we know of the answer to the one before it. */
START_TEST(cancelled_too_late)
{
    begin("workers = 1\n");
    submit_all(3);
    ck_assert_uint_eq(reads(1), 1);
    answers(1, KL_OK, 0);
    ck_assert_uint_eq(reads(1), 2);
    ck_assert_int_eq(cancel(2), 1);
    turn();
    answers(1, KL_OK, 0);
    turn();
    does(1, 3);
    nothing_left();
}
END_TEST

/* It reads it while we take it back. */
START_TEST(cancelled_just_too_late)
{
    begin("workers = 1\n");
    submit_all(2);
    between = 1;
    ck_assert_int_eq(cancel(2), 1);
    ck_assert_uint_eq(workers[0].job, 2);
    answers(1, KL_OK, 0);
    turn();
    does(1, 1);
    nothing_left();
}
END_TEST

START_TEST(who_takes_long_keeps_nothing)
{
    begin("workers = 2\n");
    submit_all(5); /* 3 and 4 ahead */
    ck_assert_uint_eq(reads(1), 1);
    now_ms += 600;
    does(2, 2); /* 4 is begun, 5 ahead */
    submit_all(1);
    now_ms += KL_POOL_AHEAD_MS - 500;
    while (pool->ahead == 2) {
        event_base_loop(base, EVLOOP_ONCE); /* it is looked for once a second */
    }
    ck_assert_uint_eq(report().queued, 3);
    ck_assert_uint_eq(reads(2), 4);
    workers[0].job = 0;
    ck_assert_uint_eq(reads(1), 0);
    workers[0].job = 1;
    answers(2, KL_OK, 0);
    turn();
    does(2, 5);
    does(2, 3);
    does(2, 6);
    answers(1, KL_OK, 0);
    turn();
    nothing_left();
}
END_TEST

/* Nobody is up any more who could do it. */
START_TEST(nor_does_the_queue_when_all_are_out)
{
    begin("workers = 2\n");
    submit_all(3);
    ck_assert_uint_eq(reads(1), 1);
    ck_assert_uint_eq(reads(2), 2);
    for (int failing = 2; failing <= 4; failing++) {
        while (started < failing) {
            now_ms += 250;
            event_base_loop(base, EVLOOP_ONCE);
        }
        dies(failing);
    }
    ck_assert_int_eq(pool->hsms[0].breaker.state, KL_BREAKER_OPEN);
    ck_assert_int_eq(jobs[3].ends, 0);
    now_ms += KL_POOL_AHEAD_MS + 1;
    while (pool->ahead > 0) {
        event_base_loop(base, EVLOOP_ONCE);
    }
    ck_assert_int_eq(jobs[3].ends, 1);
    ck_assert_int_eq(jobs[3].rc, KL_ERR_UNAVAILABLE);
}
END_TEST

/* The slow HSM is busy for longer, but is not done first. Its worker is the second here. */
START_TEST(ahead_of_who_is_done_first)
{
    begin("workers = 1\n[hsm-2]\nmodule = /y.so\ntoken = pkcs11:token=u\nworkers = 1\n");
    ck_assert_int_eq(submit_as(KL_JOB_LOAD), KL_OK);
    ck_assert_int_eq(submit_as(KL_JOB_LOAD), KL_OK);
    now_ms += 20;
    does(1, 2);
    now_ms += 480;
    does(2, 1);
    pool->next_slot = 0;
    submit_all(1);
    now_ms += 10;
    submit_all(2);
    ck_assert_uint_eq(reads(1), 4);
    workers[0].job = 0;
    ck_assert_uint_eq(reads(1), 5);
    ck_assert_uint_eq(reads(2), 3);
}
END_TEST

START_TEST(who_is_due_is_sent_nothing_ahead)
{
    begin("workers = 1\nrecycle-after = 2\n");
    submit_all(4);
    does(1, 1);
    ck_assert_uint_eq(pool->ahead, 0);
    ck_assert_uint_eq(reads(1), 2);
    answers(1, KL_OK, 0);
    turn(); /* its replacement is ready */
    ck_assert_int_eq(started, 2);
    ck_assert_uint_eq(jobs[2].ends, 1);
    if (reads(1) == 3) {
        answers(1, KL_OK, 0);
        turn();
    } else {
        does(2, 3);
    }
    does(2, 4);
    nothing_left();
}
END_TEST

START_TEST(nothing_ahead_in_a_roll)
{
    const struct kl_config *config;

    begin("workers = 1\n");
    config = read_config("workers = 1\n");
    submit_all(1);
    ck_assert_uint_eq(reads(1), 1);
    kl_pool_roll(pool, config, &wants);
    kl_config_unref(config);
    submit_all(1);
    ck_assert_uint_eq(pool->ahead, 0);
    await_workers(2);
    submit_all(1);
    ck_assert_uint_eq(pool->ahead, 0);
    does(2, 2);
    ck_assert_int_eq(rolled, 0);
    answers(1, KL_OK, 0);
    turn();
    ck_assert_int_eq(rolled, 1);
    submit_all(1);
    ck_assert_uint_eq(pool->ahead, 1);
    does(2, 3);
    does(2, 4);
    nothing_left();
}
END_TEST

static enum kl_rc room_beside(size_t coming)
{
    return kl_pool_room(pool, KL_JOB_LOAD, coming, &err);
}

/* Else who only says that jobs are coming would keep others out. */
START_TEST(what_is_coming_counts_when_it_is_nearly_full)
{
    begin("workers = 1\n[limits]\nqueue = 8\n");
    submit_all(7); /* six wait */
    ck_assert_int_eq(room_beside(1000), KL_OK);
    submit_all(1);
    ck_assert_int_eq(room_beside(0), KL_OK);
    ck_assert_int_eq(room_beside(1), KL_ERR_BUSY);
    for (uint64_t i = 1; i <= 8; i++) {
        does(1, i);
    }
    nothing_left();
}
END_TEST

START_TEST(and_never_in_a_short_queue)
{
    begin("workers = 1\n[limits]\nqueue = 3\n");
    submit_all(3); /* two wait */
    ck_assert_int_eq(room_beside(1000), KL_OK);
    for (uint64_t i = 1; i <= 3; i++) {
        does(1, i);
    }
    nothing_left();
}
END_TEST

/* But if nobody waits, nobody would learn that it is faster by now. */
START_TEST(whose_turn_comes_too_late_is_busy)
{
    begin("workers = 1\n");
    submit_all(1);
    pool->service_us = INT64_C(1000000000);
    ck_assert_int_eq(room_beside(0), KL_OK);
    submit_all(1);
    ck_assert_int_eq(room_beside(0), KL_ERR_BUSY);
    does(1, 1);
    does(1, 2);
    nothing_left();
}
END_TEST

START_TEST(what_is_ahead_is_in_the_queue)
{
    struct kl_ticket *ticket;

    begin("workers = 1\n[limits]\nqueue = 2\n");
    submit_all(2);
    message->kind = KL_JOB_SIGN_IN;
    ck_assert_int_eq(kl_pool_submit(pool, message, on_done, NULL, &ticket, &err), KL_ERR_BUSY);
    ck_assert_int_eq(kl_pool_room(pool, KL_JOB_SIGN_IN, 0, &err), KL_ERR_BUSY);
    ck_assert_int_eq(room_beside(0), KL_OK);
    submit_all(1);
    ck_assert_int_eq(submit(), KL_ERR_BUSY);
    ck_assert_int_eq(room_beside(0), KL_ERR_BUSY);
    ck_assert_uint_eq(report().queued, 2);
    does(1, 1);
    submit_all(1);
    ck_assert_int_eq(submit(), KL_ERR_BUSY);
    for (uint64_t i = 2; i <= 4; i++) {
        does(1, i);
    }
    nothing_left();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tc = tcase_create("ahead");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, one_job_is_ahead);
    tcase_add_test(tc, no_room_ahead);
    tcase_add_test(tc, who_is_idle_takes_it);
    tcase_add_test(tc, who_is_idle_takes_what_is_last);
    tcase_add_test(tc, of_several_the_oldest);
    tcase_add_test(tc, loss_costs_the_one_job);
    tcase_add_test(tc, loss_of_who_has_begun_nothing);
    tcase_add_test(tc, trouble_costs_the_one_job);
    tcase_add_test(tc, lost_session_costs_none);
    tcase_add_test(tc, cancelled_ahead);
    tcase_add_test(tc, cancelled_ahead_of_who_has_begun_nothing);
    tcase_add_test(tc, cancelled_too_late);
    tcase_add_test(tc, cancelled_just_too_late);
    tcase_add_test(tc, who_takes_long_keeps_nothing);
    tcase_add_test(tc, nor_does_the_queue_when_all_are_out);
    tcase_add_test(tc, ahead_of_who_is_done_first);
    tcase_add_test(tc, who_is_due_is_sent_nothing_ahead);
    tcase_add_test(tc, nothing_ahead_in_a_roll);
    tcase_add_test(tc, what_is_coming_counts_when_it_is_nearly_full);
    tcase_add_test(tc, and_never_in_a_short_queue);
    tcase_add_test(tc, whose_turn_comes_too_late_is_busy);
    tcase_add_test(tc, what_is_ahead_is_in_the_queue);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
