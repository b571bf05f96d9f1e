/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store thread: order, durability before report, isolation of units, stop with work queued,
 * and a queue with an end.
 */
#include <check.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemon/store/committer.h"
#include "proto/clock.h"
#include "tests/support/hsm.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

static struct event_base *base;
static struct kl_committer *committer;
static char dir[] = "/tmp/kl-committer-XXXXXX";
static char path[64];
static int reported;

struct add {
    struct kl_unit unit;
    int number;
    int spoil; /* write, then fail: the write must be undone */
    int stays; /* and cannot be */
    int order; /* when it was reported */
    int64_t ran_us;
    char pad[401]; /* of an audit record, to need room */
};

static enum kl_rc add_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct add *add = (struct add *)unit;
    struct kl_terminal terminal = {.alg = KL_ALG_TDES2, .created = 1};
    enum kl_rc rc;

    add->ran_us = kl_clock_us();
    snprintf(terminal.serial, sizeof(terminal.serial), "T%d", add->number);
    rc = kl_store_terminal_add(store, &terminal, err);
    for (int i = 0; rc == KL_OK && add->pad[0] && i < 4; i++) {
        rc = kl_store_audit(store, 1, "alarm", terminal.serial, add->pad, err);
    }
    if (rc == KL_OK && add->stays) {
        rc = kl_store_release(store, err); /* there is nothing to go back to */
    }
    if (rc == KL_OK && add->spoil) {
        rc = kl_err_set(err, KL_ERR_REFUSED, "spoilt on purpose");
    }
    return rc;
}

static void add_done(struct kl_unit *unit)
{
    ((struct add *)unit)->order = ++reported;
}

static int is_stored(int number)
{
    struct kl_store *store = NULL;
    struct kl_terminal terminal;
    struct kl_err err = KL_ERR_INIT;
    char serial[KL_SERIAL_MAX + 1];
    enum kl_rc rc;

    snprintf(serial, sizeof(serial), "T%d", number);
    ck_assert_int_eq(kl_store_open(path, KL_STORE_READ, &store, &err), KL_OK);
    rc = kl_store_terminal_get(store, serial, &terminal, &err);
    kl_store_free(store);
    ck_assert(rc == KL_OK || rc == KL_ERR_NOT_FOUND);
    return rc == KL_OK;
}

static enum kl_rc try_submit(struct add *add)
{
    struct kl_err err = KL_ERR_INIT;

    add->unit.run = add_run;
    add->unit.done = add_done;
    return kl_committer_submit(committer, &add->unit, &err);
}

static void submit(struct add *add)
{
    ck_assert_int_eq(try_submit(add), KL_OK);
}

static void wait_for(int count)
{
    while (reported < count) {
        ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
    }
}

static void setup(void)
{
    struct kl_store *store = NULL;
    struct kl_err err = KL_ERR_INIT;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/store.db", dir);
    base = event_base_new();
    ck_assert_int_eq(kl_store_open(path, KL_STORE_CREATE, &store, &err), KL_OK);
    ck_assert_int_eq(kl_committer_new(base, store, &committer, &err), KL_OK);
}

static void teardown(void)
{
    kl_committer_free(committer);
    event_base_free(base);
    test_rm_rf(dir);
}

START_TEST(reports_in_order_after_commit)
{
    enum { COUNT = 2000 };
    struct add *adds = calloc(COUNT, sizeof(*adds));

    for (int i = 0; i < COUNT; i++) {
        adds[i].number = i;
        submit(&adds[i]);
    }
    wait_for(COUNT);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(adds[i].unit.rc, KL_OK);
        ck_assert_int_eq(adds[i].order, i + 1);
    }
    ck_assert(is_stored(0) && is_stored(COUNT - 1));
    free(adds);
}
END_TEST

START_TEST(a_failing_unit_spoils_no_other)
{
    struct add adds[3] = {{.number = 1}, {.number = 2, .spoil = 1}, {.number = 3}};

    for (int i = 0; i < 3; i++) {
        submit(&adds[i]);
    }
    wait_for(3);
    ck_assert_int_eq(adds[0].unit.rc, KL_OK);
    ck_assert_int_eq(adds[1].unit.rc, KL_ERR_REFUSED);
    ck_assert_str_eq(adds[1].unit.err.text, "spoilt on purpose");
    ck_assert_int_eq(adds[2].unit.rc, KL_OK);
    ck_assert(is_stored(1) && !is_stored(2) && is_stored(3));
}
END_TEST

START_TEST(free_finishes_what_is_queued)
{
    enum { COUNT = 700 }; /* more than one batch */
    struct add *adds = calloc(COUNT, sizeof(*adds));

    for (int i = 0; i < COUNT; i++) {
        adds[i].number = i;
        submit(&adds[i]);
    }
    kl_committer_free(committer);
    committer = NULL;
    ck_assert_int_eq(reported, COUNT);
    ck_assert(is_stored(COUNT - 1));
    free(adds);
}
END_TEST

/* When the commit cannot be made durable, every unit of the batch must hear so. */
START_TEST(a_failed_commit_is_reported_to_all)
{
    struct add first = {.number = 1}, second = {.number = 2};
    struct kl_store *other = NULL;
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_store_open(path, KL_STORE_WRITE, &other, &err), KL_OK);
    ck_assert_int_eq(kl_store_begin(other, &err), KL_OK); /* holds the write lock too long */
    submit(&first);
    submit(&second);
    wait_for(2);
    ck_assert_int_ne(first.unit.rc, KL_OK);
    ck_assert_int_ne(second.unit.rc, KL_OK);
    kl_store_free(other);
    ck_assert(!is_stored(1) && !is_stored(2));
}
END_TEST

/* While the store takes nothing, no more than KL_COMMITTER_MAX units wait; then it goes on. */
START_TEST(a_full_queue_refuses)
{
    enum { COUNT = KL_COMMITTER_MAX + 1000 }; /* more than the batch that is under way besides */
    struct add *adds = calloc(COUNT, sizeof(*adds)), late = {.number = COUNT};
    struct kl_store *other = NULL;
    struct kl_err err = KL_ERR_INIT;
    int accepted = 0;

    ck_assert_int_eq(kl_store_open(path, KL_STORE_WRITE, &other, &err), KL_OK);
    ck_assert_int_eq(kl_store_begin(other, &err), KL_OK); /* takes the write lock */
    for (; accepted < COUNT; accepted++) {
        adds[accepted].number = accepted;
        if (try_submit(&adds[accepted]) != KL_OK) {
            break;
        }
    }
    ck_assert_int_ge(accepted, KL_COMMITTER_MAX);
    ck_assert_int_lt(accepted, COUNT);
    ck_assert_int_eq(try_submit(&late), KL_ERR_BUSY);
    ck_assert_ptr_null(late.unit.link.tqe_prev); /* it is still ours */
    kl_store_free(other);
    wait_for(accepted);
    for (int i = 0; i < accepted; i++) {
        ck_assert_int_eq(adds[i].unit.rc, KL_OK);
    }
    submit(&late);
    wait_for(accepted + 1);
    ck_assert(is_stored(COUNT) && is_stored(accepted - 1) && !is_stored(accepted));
    free(adds);
}
END_TEST

/* ---- A disk without room ---- */

#define ROOM (256 * 1024) /* bytes that a file may have: also check's own, which stay far below */

static void limit_files(rlim_t size)
{
    const struct rlimit limit = {size, RLIM_INFINITY};

    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static struct kl_store_health health(void)
{
    struct kl_store_health out;

    kl_committer_health(committer, &out);
    return out;
}

static void add_one(struct add *add, int number)
{
    memset(add, 0, sizeof(*add));
    add->number = number;
    submit(add);
    wait_for(reported + 1);
}

static enum kl_rc count_recovery(const struct kl_audit *record, void *arg, struct kl_err *err)
{
    (void)err;
    *(unsigned *)arg += strcmp(record->event, "store-recovered") == 0;
    return KL_OK;
}

/* Standard error goes to a file of the test's from now on; what is there so far. */
static void catch_log(void)
{
    char name[128];

    snprintf(name, sizeof(name), "%s/log", dir);
    ck_assert_ptr_nonnull(freopen(name, "a", stderr));
}

static char *caught_log(void)
{
    char name[128];

    snprintf(name, sizeof(name), "%s/log", dir);
    return file_read(name, NULL);
}

static unsigned occurrences(const char *text, const char *what)
{
    unsigned count = 0;

    for (; (text = strstr(text, what)) != NULL; text++) {
        count++;
    }
    return count;
}

static unsigned recoveries(void)
{
    struct kl_store *reader = NULL;
    struct kl_err err = KL_ERR_INIT;
    unsigned count = 0;

    ck_assert_int_eq(kl_store_open(path, KL_STORE_READ, &reader, &err), KL_OK);
    ck_assert_int_eq(kl_store_audit_each(reader, 0, count_recovery, &count, &err), KL_OK);
    kl_store_free(reader);
    return count;
}

/* Everything that was said to be durable is; what failed left nothing; and it goes on by itself
 * once there is room. */
START_TEST(a_full_disk)
{
    struct kl_err err = KL_ERR_INIT;
    struct add add;
    int stored = 0, failed;
    char *log;

    signal(SIGXFSZ, SIG_IGN);
    catch_log();
    ck_assert_int_eq(health().state, KL_STORE_OK);
    ck_assert_int_eq(kl_committer_ready(committer, &err), KL_OK);
    limit_files(ROOM);
    for (add_one(&add, 0); add.unit.rc == KL_OK && stored < 1000; add_one(&add, stored)) {
        stored++;
    }
    ck_assert_int_lt(stored, 1000);
    ck_assert_int_eq(add.unit.rc, KL_ERR_FULL);
    ck_assert_int_eq(health().state, KL_STORE_FULL);
    ck_assert_int_eq(kl_committer_ready(committer, &err), KL_ERR_FULL);
    failed = 1;
    for (int64_t until = (int64_t)time(NULL) + 3; (int64_t)time(NULL) < until; failed++) {
        add_one(&add, stored); /* and the committer's own tries in between */
        ck_assert_int_eq(add.unit.rc, KL_ERR_FULL);
        usleep(50000);
    }
    ck_assert_uint_ge(health().failed, (unsigned)failed);
    limit_files(RLIM_INFINITY);
    while (health().state != KL_STORE_OK) {
        ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
    }
    ck_assert_int_eq(kl_committer_ready(committer, &err), KL_OK);
    for (int i = 0; i < stored; i++) {
        ck_assert(is_stored(i));
    }
    ck_assert(!is_stored(stored));
    add_one(&add, stored);
    ck_assert_int_eq(add.unit.rc, KL_OK);
    ck_assert(is_stored(stored));
    ck_assert_uint_eq(recoveries(), 1);
    log = caught_log();
    ck_assert_uint_eq(occurrences(log, "event=store-trouble state=full"), 1);
    ck_assert_uint_eq(occurrences(log, "event=store-recovered was=full"), 1);
    free(log);
}
END_TEST

/* All that wait in one transaction hear the cause, whichever of them met it. */
START_TEST(a_full_disk_undoes_the_batch)
{
    enum { COUNT = 512 };
    struct add *adds = calloc(COUNT, sizeof(*adds));
    int good = 0;

    signal(SIGXFSZ, SIG_IGN);
    limit_files(ROOM);
    for (int i = 0; i < COUNT; i++) {
        adds[i].number = i;
        memset(adds[i].pad, 'P', sizeof(adds[i].pad) - 1);
        submit(&adds[i]);
    }
    wait_for(COUNT);
    limit_files(RLIM_INFINITY);
    for (int i = 0; i < COUNT; i++) {
        ck_assert(adds[i].unit.rc == KL_OK || adds[i].unit.rc == KL_ERR_FULL);
        ck_assert_int_eq(is_stored(i), adds[i].unit.rc == KL_OK);
        good += adds[i].unit.rc == KL_OK;
    }
    ck_assert_int_lt(good, COUNT);
    free(adds);
}
END_TEST

/* A unit that hangs until it is let go. */
struct hang {
    struct kl_unit unit;
    int fds[2], done;
    _Atomic int running;
};

static enum kl_rc hang_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    char byte;

    (void)store;
    ((struct hang *)unit)->running = 1;
    return read(((struct hang *)unit)->fds[0], &byte, 1) == 1 ? KL_OK
                                                              : kl_err_errno(err, "read", "hang");
}

static void hang_done(struct kl_unit *unit)
{
    ((struct hang *)unit)->done = 1;
}

/* Once this is over it runs, and nothing else does. */
static void hang_begin(struct hang *hang)
{
    struct kl_err err = KL_ERR_INIT;

    hang->unit = (struct kl_unit){.run = hang_run, .done = hang_done};
    ck_assert_int_eq(pipe(hang->fds), 0);
    ck_assert_int_eq(kl_committer_submit(committer, &hang->unit, &err), KL_OK);
    while (!hang->running) {
        sched_yield();
    }
}

static void hang_end(struct hang *hang)
{
    ck_assert_int_eq(write(hang->fds[1], "", 1), 1);
    while (!hang->done) {
        ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
    }
    close(hang->fds[0]);
    close(hang->fds[1]);
}

/* What cannot be undone must not be committed, and nobody is told that it was. */
START_TEST(a_unit_that_stays_fails_the_batch)
{
    struct add adds[3] = {{.number = 1}, {.number = 2, .spoil = 1, .stays = 1}, {.number = 3}};
    struct add later = {.number = 4};
    struct hang hang = {.done = 0};

    hang_begin(&hang); /* so that the three are one batch */
    for (int i = 0; i < 3; i++) {
        submit(&adds[i]);
    }
    hang_end(&hang);
    wait_for(3);
    ck_assert_int_eq(adds[0].unit.rc, KL_ERR_STORE);
    ck_assert_int_eq(adds[1].unit.rc, KL_ERR_REFUSED);
    ck_assert_int_eq(adds[2].unit.rc, KL_ERR_STORE);
    ck_assert(!is_stored(1) && !is_stored(2) && !is_stored(3));
    submit(&later);
    wait_for(4);
    ck_assert(later.unit.rc == KL_OK && is_stored(4));
}
END_TEST

#define AN_HOUR INT64_C(3600000000) /* of us: longer than a test may take */
#define BATCH 512                   /* is not waited for more than that */

/* Alone, it runs when its time is over, and not sooner. */
START_TEST(a_patient_unit_waits_for_others)
{
    for (int i = 0; i < 20; i++) {
        struct add alone = {.unit.patience_us = 2000, .number = i};

        submit(&alone);
        wait_for(i + 1);
        ck_assert_int_eq(alone.unit.rc, KL_OK);
        ck_assert_int_ge(alone.ran_us - alone.unit.queued_us, 2000);
    }
}
END_TEST

/* However late the other one comes; the one without patience ends it. */
START_TEST(an_urgent_unit_takes_all_along)
{
    struct add patient = {.unit.patience_us = AN_HOUR, .number = 1}, urgent = {.number = 2};
    struct kl_store_times times;

    submit(&patient);
    proc_sleep_ms(50); /* it would have run */
    submit(&urgent);
    wait_for(2);
    ck_assert(patient.unit.rc == KL_OK && urgent.unit.rc == KL_OK);
    kl_committer_times(committer, &times);
    ck_assert_uint_eq(times.batch.count, 1);
    ck_assert_uint_eq(times.batch.sum, 2);
}
END_TEST

START_TEST(a_batch_of_patient_units_is_enough)
{
    struct add *adds = calloc(BATCH, sizeof(*adds));

    for (int i = 0; i < BATCH; i++) {
        adds[i].number = i;
        adds[i].unit.patience_us = AN_HOUR;
        submit(&adds[i]);
    }
    wait_for(BATCH);
    free(adds);
}
END_TEST

START_TEST(the_end_has_no_patience)
{
    struct add last = {.unit.patience_us = AN_HOUR, .number = 1};

    submit(&last);
    kl_committer_free(committer);
    committer = NULL;
    ck_assert_int_eq(last.unit.rc, KL_OK);
    ck_assert(is_stored(1));
}
END_TEST

/* Many of both kinds at once, so that each is at every place in a batch: all are done. */
START_TEST(patient_and_urgent_units)
{
    enum { COUNT = 1500 };
    struct add *adds = calloc(COUNT, sizeof(*adds));

    for (int i = 0; i < COUNT; i++) {
        adds[i].number = i;
        adds[i].unit.patience_us = i % 7 * 500;
        submit(&adds[i]);
    }
    wait_for(COUNT);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(adds[i].unit.rc, KL_OK);
        ck_assert_int_eq(adds[i].order, i + 1);
    }
    free(adds);
}
END_TEST

/* What the service manager's watchdog goes by: a store thread that does not get on shows. */
START_TEST(stuck)
{
    const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    struct hang hang = {.done = 0};

    ck_assert_int_eq(kl_committer_stuck_ms(NULL), 0);
    ck_assert_int_eq(kl_committer_stuck_ms(committer), 0);
    hang_begin(&hang);
    nanosleep(&pause, NULL);
    ck_assert_int_ge(kl_committer_stuck_ms(committer), 40);
    nanosleep(&pause, NULL);
    ck_assert_int_ge(kl_committer_stuck_ms(committer), 90);
    hang_end(&hang);
    ck_assert_int_eq(kl_committer_stuck_ms(committer), 0);
}
END_TEST

/* While the store is another daemon's there is no committer. */
START_TEST(no_committer)
{
    struct hang hang = {.unit = {.run = hang_run, .done = hang_done}};
    struct kl_store_health health;
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_committer_submit(NULL, &hang.unit, &err), KL_ERR_UNAVAILABLE);
    ck_assert_int_eq(kl_committer_ready(NULL, &err), KL_ERR_UNAVAILABLE);
    kl_committer_health(NULL, &health);
    ck_assert_int_eq(health.state, KL_STORE_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("committer");
    TCase *tc = tcase_create("committer");

    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, reports_in_order_after_commit);
    tcase_add_test(tc, a_failing_unit_spoils_no_other);
    tcase_add_test(tc, free_finishes_what_is_queued);
    tcase_add_test(tc, a_patient_unit_waits_for_others);
    tcase_add_test(tc, an_urgent_unit_takes_all_along);
    tcase_add_test(tc, a_batch_of_patient_units_is_enough);
    tcase_add_test(tc, the_end_has_no_patience);
    tcase_add_test(tc, patient_and_urgent_units);
    tcase_add_test(tc, a_failed_commit_is_reported_to_all);
    tcase_add_test(tc, a_full_queue_refuses);
    tcase_add_test(tc, a_full_disk);
    tcase_add_test(tc, a_full_disk_undoes_the_batch);
    tcase_add_test(tc, a_unit_that_stays_fails_the_batch);
    tcase_add_test(tc, stuck);
    tcase_add_test(tc, no_committer);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
