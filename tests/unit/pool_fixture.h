/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The HSM workers' pool, with workers that the test plays, for the suites of it. In the place of
 * the real ones are the clock, the spawning of workers, and what a socket takes and gives.
 */
#ifndef KL_TESTS_UNIT_POOL_FIXTURE_H
#define KL_TESTS_UNIT_POOL_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/hsm/pool_impl.h"
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

static inline void live(int answers)
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

static inline void close_end(int *fd)
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

static inline enum kl_rc check(const struct kl_job_ready *ready, void *arg, struct kl_err *why)
{
    (void)ready;
    (void)arg;
    (void)why;
    return KL_OK;
}

static inline void up(void *arg)
{
    (void)arg;
}

static inline void down(const struct kl_err *why, void *arg)
{
    (void)arg;
    ck_abort_msg("%s", why->text);
}

static inline void on_rolled(const struct kl_err *why, void *arg)
{
    (void)arg;
    ck_assert_ptr_null(why);
    rolled++;
}

static inline const struct kl_config *read_config(const char *text)
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

static inline void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-pool-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    base = event_base_new();
    message = calloc(1, sizeof(*message));
    wants.count = 1;
    strcpy(wants.want[0].label, "work");
}

static inline void teardown(void)
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

static inline struct kl_pool_report report(void)
{
    struct kl_pool_report out;

    kl_pool_report(pool, &out);
    return out;
}

static inline void answer_setup(struct worker *worker)
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
static inline void turn(void)
{
    for (int i = 0; i < 4; i++) {
        for (int n = started - 1; n >= 0 && n >= started - 4; n--) {
            answer_setup(&workers[n]);
        }
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
}

/* Until so many workers have been started, and the last is ready. */
static inline void await_workers(int count)
{
    while (started < count) {
        now_ms += 250; /* longer than the pause after a failure */
        ck_assert_int_eq(kl_pool_retry(pool, NULL, &err), KL_OK);
        event_base_loop(base, EVLOOP_ONCE);
    }
    turn();
}

/* In the order of their places, in which they get their first jobs. */
static inline void begin(const char *text)
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

static inline int cancel(uint64_t id)
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

static inline void on_done(const struct kl_job_result *result, void *arg)
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

static inline enum kl_rc submit_as(enum kl_job_kind kind)
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

static inline enum kl_rc submit(void)
{
    return submit_as(KL_JOB_CHECKPOINT);
}

static inline void submit_all(int count)
{
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(submit(), KL_OK);
    }
}

/* The next job in the worker's socket, 0 if there is none. */
static inline uint64_t reads(int number)
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

static inline void answers(int number, enum kl_rc rc, unsigned long native)
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
static inline void does(int number, uint64_t id)
{
    ck_assert_uint_eq(reads(number), id);
    answers(number, KL_OK, 0);
    turn();
    ck_assert_int_eq(jobs[id].ends, 1);
    ck_assert_int_eq(jobs[id].rc, KL_OK);
}

static inline void dies(int number)
{
    struct worker *worker = &workers[number - 1];

    ck_assert_int_eq(shutdown(worker->answers, SHUT_RDWR), 0);
    close_end(&worker->jobs);
    close_end(&worker->answers);
    turn();
}

static inline void nothing_left(void)
{
    ck_assert_uint_eq(pool->queued, 0);
    ck_assert_uint_eq(pool->ahead, 0);
    for (uint64_t i = 1; i <= submitted; i++) {
        ck_assert_msg(jobs[i].ends == !jobs[i].cancelled, "job %d", (int)i);
    }
}

#endif
