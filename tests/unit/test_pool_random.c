/* SPDX-License-Identifier: BSD-2-Clause */
/* That each job ends once, whatever happens to workers and terminals, and in which order. */
#include "tests/unit/pool_fixture.h"

static unsigned dice; /* of a seed, so that it can be seen again */

static unsigned draw(unsigned below)
{
    dice = dice * 1103515245u + 12345u;
    return (dice >> 16) % below;
}

/* One of those that have not ended; 0: none. */
static int some_worker(void)
{
    int alive[8], count = 0;

    for (int i = started; i > 0 && count < 8; i--) {
        if (workers[i - 1].ready && workers[i - 1].jobs >= 0) {
            alive[count++] = i;
        }
    }
    return count > 0 ? alive[draw((unsigned)count)] : 0;
}

/* A worker reads only once it has answered. */
static void work(int number, int trouble)
{
    struct worker *worker = &workers[number - 1];

    if (worker->job == 0) {
        (void)reads(number);
        return;
    }
    answers(number, trouble ? KL_ERR_HSM : KL_OK, 0);
    if (trouble) {
        close_end(&worker->jobs); /* and reads nothing more */
    }
}

static void cancel_some(void)
{
    uint64_t id = submitted - draw(8);

    if (id >= 1 && id <= submitted && jobs[id].ticket != NULL) {
        int read = jobs[id].reads > 0;
        ck_assert(cancel(id) || !read);
    }
}

static void replace_lost(void)
{
    int up_now;

    turn();
    up_now = (int)(report().hsm[0].idle + report().hsm[0].busy);
    for (int want = started + 3 - up_now; started < want;) {
        await_workers(started + 1);
    }
}

static int is_busy(void)
{
    return pool->queued > 0 || report().hsm[0].busy > 0;
}

static void step(void)
{
    unsigned what = draw(100);
    int number = some_worker();

    now_ms += draw(5);
    if (what < 30) {
        (void)submit();
    } else if (what < 80 && number > 0) {
        work(number, draw(100) == 0);
    } else if (what < 90) {
        cancel_some();
    } else if (what == 90 && number > 0 && draw(3) == 0) {
        dies(number);
    } else if (what == 91) {
        replace_lost();
    } else {
        turn();
    }
}

START_TEST(at_random)
{
    dice = (unsigned)_i + 1;
    begin("workers = 3\njob-timeout = 300s\n[limits]\nqueue = 6\n");
    for (int i = 0; i < 6000; i++) {
        step();
    }
    for (int tries = 0; is_busy(); tries++) {
        int number;
        ck_assert_int_lt(tries, 1000);
        replace_lost();
        number = some_worker();
        if (number > 0) {
            work(number, 0);
        }
    }
    nothing_left();
    for (uint64_t i = 1; i <= submitted; i++) {
        ck_assert_int_le(jobs[i].reads, 1);
        if (jobs[i].ends && jobs[i].rc != KL_ERR_UNAVAILABLE) {
            ck_assert_int_eq(jobs[i].reads, 1);
        }
    }
    ck_assert_uint_gt(report().hsm[0].lost, 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool at random");
    TCase *tc = tcase_create("random");

    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, at_random, 0, 4);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
