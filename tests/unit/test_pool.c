/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The HSM workers' pool, with workers that the test plays: which job is sent to whom, what is sent
 * ahead and taken back, and that each job ends once, whatever happens to workers and terminals.
 */
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/hsm/pool_impl.h"
#include <p11-kit/pkcs11.h>
#include "proto/clock.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

/* ---- In the place of the clock and of worker processes ---- */

static int64_t now_ms = 1000000;

int64_t kl_clock_ms(void)
{
    return now_ms;
}

int64_t kl_clock_us(void)
{
    return now_ms * 1000;
}

enum { WORKERS_MAX = 4000, JOBS_MAX = 8000 };

/* A worker's own ends, which the test holds; its process only lives, until it is hung up on. */
static struct worker {
    int jobs, answers; /* -1: it has ended */
    int ready, load;
    uint64_t job; /* that it has read and not answered; 0: none */
} workers[WORKERS_MAX];
static int started;

static struct outcome {
    struct kl_ticket *ticket; /* NULL once it has ended or was cancelled */
    int reads, ends;
    int cancelled, recalled;
    enum kl_rc rc;
} jobs[JOBS_MAX]; /* by their ids, which the pool gives from 1 */
static uint64_t submitted, cancel_at_end;

static void live(int answers)
{
    char byte;

    close_range(3, (unsigned)answers - 1, 0);
    close_range((unsigned)answers + 1, ~0u, 0);
    while (read(answers, &byte, 1) > 0 || errno == EINTR) {
        errno = 0;
    }
    _exit(0);
}

enum kl_rc kl_worker_spawn(struct kl_worker_link *link, pid_t *pid, struct kl_err *err)
{
    struct worker *worker = &workers[started];
    int size = 4 * (int)sizeof(struct kl_job), to[2], from[2];

    (void)err;
    ck_assert_int_lt(started++, WORKERS_MAX);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, to), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, from), 0);
    ck_assert_int_eq(fcntl(from[0], F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(setsockopt(to[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    ck_assert_int_eq(setsockopt(from[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    *link = (struct kl_worker_link){.jobs = to[0], .unread = to[1], .answers = from[0]};
    *worker = (struct worker){.jobs = dup(to[1]), .answers = from[1]};
    *pid = fork();
    ck_assert_int_ge(*pid, 0);
    if (*pid == 0) {
        live(worker->answers);
    }
    return KL_OK;
}

static void close_end(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void kl_worker_hang_up(struct kl_worker_link *link)
{
    close_end(&link->jobs);
    close_end(&link->unread);
    close_end(&link->answers);
}

/* ---- The pool, and its loop ---- */

static char dir[64];
static struct event_base *base;
static struct kl_pool *pool;
static struct kl_job *message;
static struct kl_job_wants wants;
static int rolled;
static struct kl_err err;

static enum kl_rc check(const struct kl_job_ready *ready, void *arg, struct kl_err *why)
{
    (void)ready;
    (void)arg;
    (void)why;
    return KL_OK;
}

static void up(void *arg)
{
    (void)arg;
}

static void down(const struct kl_err *why, void *arg)
{
    (void)arg;
    ck_abort_msg("%s", why->text);
}

static void on_rolled(const struct kl_err *why, void *arg)
{
    (void)arg;
    ck_assert_ptr_null(why);
    rolled++;
}

static const struct kl_config *read_config(const char *text)
{
    const struct kl_config *config = NULL;
    char path[80], all[512];

    snprintf(path, sizeof(path), "%s/c", dir);
    snprintf(all, sizeof(all), "[hsm]\nmodule = /x.so\ntoken = pkcs11:token=t\nkeep-alive = 0s\n%s",
             text);
    file_write(path, all, strlen(all), 0600);
    ck_assert_msg(kl_config_new(path, &config, &err) == KL_OK, "%s", err.text);
    return config;
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-pool-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    base = event_base_new();
    message = calloc(1, sizeof(*message));
    wants.count = 1;
    strcpy(wants.want[0].label, "work");
}

static void teardown(void)
{
    for (int i = 0; i < started; i++) {
        close_end(&workers[i].jobs);
        close_end(&workers[i].answers);
    }
    kl_pool_free(pool);
    event_base_free(base);
    free(message);
    file_remove_tree(dir);
}

static struct kl_pool_report report(void)
{
    struct kl_pool_report out;

    kl_pool_report(pool, &out);
    return out;
}

static void answer_setup(struct worker *worker)
{
    if (worker->ready || worker->jobs < 0) {
        return;
    }
    ck_assert_int_eq(kl_job_receive(worker->jobs, message, &err), KL_OK);
    ck_assert_int_eq(message->kind, KL_JOB_SETUP);
    memset(message, 0, sizeof(*message));
    message->kind = KL_JOB_READY;
    message->u.ready.count = 1;
    strcpy(message->u.ready.key[0].label, "work");
    message->u.ready.key[0].suite = KL_SUITE_HARDENED_EC;
    message->u.ready.key[0].oaep_hash = KL_OAEP_SHA1;
    ck_assert_int_eq(kl_job_send(worker->answers, message, &err), KL_OK);
    worker->ready = 1;
}

/* Until nothing is left that can happen at this time; new workers are ready at once. */
static void turn(void)
{
    for (int i = 0; i < 4; i++) {
        for (int n = started - 1; n >= 0 && n >= started - 4; n--) {
            answer_setup(&workers[n]);
        }
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
}

/* Until so many workers have been started, and the last is ready. */
static void await_workers(int count)
{
    while (started < count) {
        now_ms += 250; /* longer than the pause after a failure */
        ck_assert_int_eq(kl_pool_retry(pool, NULL, &err), KL_OK);
        event_base_loop(base, EVLOOP_ONCE);
    }
    turn();
}

/* In the order of their places, in which they get their first jobs. */
static void begin(const char *text)
{
    const struct kl_pool_events events = {check, up, down, on_rolled, NULL, NULL};
    const struct kl_config *config = read_config(text);
    int configured = 0;

    ck_assert_int_eq(kl_pool_new(base, config, &wants, &events, &pool, &err), KL_OK);
    for (size_t i = 0; i < kl_config_hsm_count(config); i++) {
        configured += (int)config->hsm[i].workers;
    }
    kl_config_unref(config);
    for (int i = 1; i <= configured; i++) {
        await_workers(i); /* one at a time */
    }
    for (int i = 0; i < started / 2; i++) {
        struct worker worker = workers[i];
        workers[i] = workers[started - 1 - i];
        workers[started - 1 - i] = worker;
    }
    pool->next_slot = 0;
}

/* ---- Jobs ---- */

static int cancel(uint64_t id)
{
    struct outcome *job = &jobs[id];
    struct kl_ticket *ticket = job->ticket;
    int begun;

    job->ticket = NULL;
    job->cancelled = 1;
    begun = kl_pool_cancel(ticket);
    job->recalled = !begun;
    return begun;
}

static void on_done(const struct kl_job_result *result, void *arg)
{
    struct outcome *job = arg;

    ck_assert_int_eq(job->cancelled, 0);
    ck_assert_int_eq(job->ends++, 0);
    job->rc = result->err.rc;
    job->ticket = NULL;
    if (cancel_at_end != 0) {
        ck_assert_int_eq(cancel(cancel_at_end), 0);
        cancel_at_end = 0;
    }
}

static enum kl_rc submit_as(enum kl_job_kind kind)
{
    struct kl_job *job = calloc(1, sizeof(*job));
    struct outcome *outcome = &jobs[submitted + 1];
    enum kl_rc rc;

    ck_assert_uint_lt(submitted + 1, JOBS_MAX);
    job->kind = kind;
    if (kind == KL_JOB_LOAD) {
        strcpy(job->u.load.work_key, "work");
        job->u.load.alg = KL_ALG_AES128;
        job->u.load.tmk_version = 1;
        job->u.load.kcv_len = 3;
    } else {
        job->u.checkpoint.record = 1;
    }
    rc = kl_pool_submit(pool, job, on_done, outcome, &outcome->ticket, &err);
    submitted += rc == KL_OK;
    free(job);
    return rc;
}

static enum kl_rc submit(void)
{
    return submit_as(KL_JOB_CHECKPOINT);
}

static void submit_all(int count)
{
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(submit(), KL_OK);
    }
}

/* The next job in the worker's socket, 0 if there is none. */
static uint64_t reads(int number)
{
    struct worker *worker = &workers[number - 1];
    enum kl_rc rc = worker->jobs < 0 ? KL_ERR_CLOSED : kl_job_receive(worker->jobs, message, &err);
    struct outcome *job;

    if (rc == KL_ERR_CLOSED) {
        close_end(&worker->jobs);
        close_end(&worker->answers);
    }
    if (rc != KL_OK) {
        return 0;
    }
    ck_assert_uint_eq(worker->job, 0);
    worker->load = message->kind == KL_JOB_LOAD;
    ck_assert(worker->load || message->kind == KL_JOB_CHECKPOINT);
    worker->job = worker->load ? message->u.load.id : message->u.checkpoint.id;
    job = &jobs[worker->job];
    ck_assert_int_eq(job->ends, 0);
    ck_assert_int_eq(job->recalled, 0);
    job->reads++;
    return worker->job;
}

static int between; /* 1: the first worker reads after the next job that is taken back */

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    ssize_t n = recvfrom(fd, data, len, flags, NULL, NULL);

    if (between && (flags & MSG_DONTWAIT)) {
        between = 0;
        (void)reads(1);
    }
    return n;
}

static int no_room; /* 1: the system takes nothing for a socket */

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    if (no_room) {
        errno = EAGAIN;
        return -1;
    }
    return sendto(fd, data, len, flags, NULL, 0);
}

static void answers(int number, enum kl_rc rc, unsigned long native)
{
    struct worker *worker = &workers[number - 1];
    struct kl_job_result *result = &message->u.result;

    ck_assert_uint_ne(worker->job, 0);
    memset(message, 0, sizeof(*message));
    message->kind = worker->load ? KL_JOB_RESULT : KL_JOB_SIGNED;
    result->id = worker->job;
    result->fatal = rc != KL_OK;
    if (rc != KL_OK) {
        (void)kl_err_set(&result->err, rc, "trouble");
        result->err.source = native != 0 ? KL_ERR_SOURCE_PKCS11 : result->err.source;
        result->err.native = native;
    }
    ck_assert_int_eq(kl_job_send(worker->answers, message, &err), KL_OK);
    worker->job = 0;
}

/* Reads that job, and no other, and does it. */
static void does(int number, uint64_t id)
{
    ck_assert_uint_eq(reads(number), id);
    answers(number, KL_OK, 0);
    turn();
    ck_assert_int_eq(jobs[id].ends, 1);
    ck_assert_int_eq(jobs[id].rc, KL_OK);
}

static void dies(int number)
{
    struct worker *worker = &workers[number - 1];

    ck_assert_int_eq(shutdown(worker->answers, SHUT_RDWR), 0);
    close_end(&worker->jobs);
    close_end(&worker->answers);
    turn();
}

static void nothing_left(void)
{
    ck_assert_uint_eq(pool->queued, 0);
    ck_assert_uint_eq(pool->ahead, 0);
    for (uint64_t i = 1; i <= submitted; i++) {
        ck_assert_msg(jobs[i].ends == !jobs[i].cancelled, "job %d", (int)i);
    }
}

/* ---- Tests ---- */

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
    ck_assert_int_eq(kl_pool_room(pool, KL_JOB_LOAD, 0, &err), KL_OK);
    submit_all(1);
    ck_assert_int_eq(submit(), KL_ERR_BUSY);
    ck_assert_int_eq(kl_pool_room(pool, KL_JOB_LOAD, 0, &err), KL_ERR_BUSY);
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

/* ---- At random ---- */

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
    tc = tcase_create("random");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, at_random, 0, 4);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
