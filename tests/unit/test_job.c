/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages between the network process and an HSM worker. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/job.h"
#include "tests/support/suite.h"

static int fds[2];
static struct kl_job *out, *in;

static void setup(void)
{
    int size = 4 * (int)sizeof(struct kl_job);

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    ck_assert_int_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    out = calloc(1, sizeof(*out));
    in = calloc(1, sizeof(*in));
}

static void teardown(void)
{
    close(fds[0]);
    close(fds[1]);
    free(out);
    free(in);
}

static void fill_load(struct kl_job *job)
{
    job->kind = KL_JOB_LOAD;
    job->u.load.id = 7;
    job->u.load.hello_len = 3;
    job->u.load.certificate_len = 4;
    job->u.load.randoms_len = 5;
    memcpy(job->u.load.bytes, "abcdefghijkl", 12);
}

START_TEST(load_round_trip)
{
    struct kl_err err = KL_ERR_INIT;

    fill_load(out);
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_int_eq(in->kind, KL_JOB_LOAD);
    ck_assert_uint_eq(in->u.load.id, 7);
    ck_assert_mem_eq(in->u.load.bytes, "abcdefghijkl", 12);
}
END_TEST

START_TEST(largest_load_round_trip)
{
    struct kl_err err = KL_ERR_INIT;

    fill_load(out);
    out->u.load.hello_len = out->u.load.certificate_len = out->u.load.randoms_len = KL_MSG_MAX;
    memset(out->u.load.bytes, 0x5a, sizeof(out->u.load.bytes));
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_mem_eq(in->u.load.bytes, out->u.load.bytes, sizeof(out->u.load.bytes));
}
END_TEST

START_TEST(result_round_trip)
{
    struct kl_err err = KL_ERR_INIT;

    out->kind = KL_JOB_RESULT;
    out->u.result.id = 9;
    out->u.result.out.kcv_len = 3;
    out->u.result.out.master_key_len = KL_MSG_MAX;
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_uint_eq(in->u.result.id, 9);
    ck_assert_uint_eq(in->u.result.out.master_key_len, KL_MSG_MAX);
}
END_TEST

START_TEST(nothing_there_is_busy_and_end_is_closed)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_ERR_BUSY);
    close(fds[0]);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_ERR_CLOSED);
    fds[0] = dup(fds[1]);
    ck_assert_int_eq(kl_job_send(fds[1], out, &err), KL_ERR_INTERNAL); /* kind 0 */
    fill_load(out);
    ck_assert_int_eq(kl_job_send(fds[1], out, &err), KL_ERR_CLOSED);
}
END_TEST

/* Each row damages a message that was good; the receiver must refuse it. */
struct damage {
    const char *what;
    void (*apply)(struct kl_job *job, size_t *size);
};

static void bad_magic(struct kl_job *job, size_t *size)
{
    (void)size;
    job->magic ^= 1;
}
static void bad_version(struct kl_job *job, size_t *size)
{
    (void)size;
    job->version++;
}
static void bad_kind(struct kl_job *job, size_t *size)
{
    (void)size;
    job->kind = 99;
}
static void cut_short(struct kl_job *job, size_t *size)
{
    (void)job;
    *size -= 1;
}
static void trailing(struct kl_job *job, size_t *size)
{
    (void)job;
    *size += 1;
}
static void header_only(struct kl_job *job, size_t *size)
{
    (void)job;
    *size = offsetof(struct kl_job, u);
}
static void long_hello(struct kl_job *job, size_t *size)
{
    job->u.load.hello_len = KL_MSG_MAX + 1;
    *size += KL_MSG_MAX + 1 - 3;
}
static void wrapping_lengths(struct kl_job *job, size_t *size)
{
    (void)size;
    job->u.load.hello_len = UINT32_MAX;
    job->u.load.certificate_len = 4 + 3 + 1;
}
static void unterminated_text(struct kl_job *job, size_t *size)
{
    job->kind = KL_JOB_FAILED;
    memset(&job->u.failed, 'x', sizeof(job->u.failed));
    *size = offsetof(struct kl_job, u) + sizeof(job->u.failed);
}
static void long_master_key(struct kl_job *job, size_t *size)
{
    job->kind = KL_JOB_RESULT;
    memset(&job->u.result, 0, sizeof(job->u.result));
    job->u.result.out.master_key_len = KL_MSG_MAX + 1;
    *size = offsetof(struct kl_job, u) + sizeof(job->u.result);
}
static void long_spki(struct kl_job *job, size_t *size)
{
    job->kind = KL_JOB_READY;
    job->u.ready.spki_len = KL_JOB_SPKI_MAX + 1;
    *size = offsetof(struct kl_job, u) + sizeof(job->u.ready);
}

static const struct damage damages[] = {
    {"magic", bad_magic},
    {"version", bad_version},
    {"kind", bad_kind},
    {"one byte short", cut_short},
    {"one byte over", trailing},
    {"header only", header_only},
    {"hello over its bound", long_hello},
    {"lengths that wrap", wrapping_lengths},
    {"text without end", unterminated_text},
    {"MasterKey over its bound", long_master_key},
    {"public key over its bound", long_spki},
};

START_TEST(damaged_is_refused)
{
    const struct damage *damage = &damages[_i];
    size_t size = offsetof(struct kl_job, u) + offsetof(struct kl_job_load, bytes) + 12;
    struct kl_err err = KL_ERR_INIT;

    /* Send a good one first, to learn magic and version. */
    fill_load(out);
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    damage->apply(out, &size);
    ck_assert_int_eq(send(fds[0], out, size, 0), (ssize_t)size);
    ck_assert_msg(kl_job_receive(fds[1], in, &err) == KL_ERR_PROTOCOL, "%s was taken",
                  damage->what);
}
END_TEST

START_TEST(setup_from_config_is_bounded)
{
    struct kl_err err = KL_ERR_INIT;
    char empty[] = "", label[] = "work";
    char *longest = malloc(KL_JOB_TEXT_MAX + 1);
    struct kl_config config = {.module = empty,
                               .init_reserved = empty,
                               .token = empty,
                               .pin_source = empty,
                               .work_key = label,
                               .storage_key = empty};

    ck_assert_int_eq(kl_job_from_config(&config, out, &err), KL_OK);
    ck_assert_str_eq(out->u.setup.work_key, "work");
    memset(longest, 'a', KL_JOB_TEXT_MAX);
    longest[KL_JOB_TEXT_MAX] = '\0';
    config.token = longest;
    ck_assert_int_eq(kl_job_from_config(&config, out, &err), KL_ERR_CONFIG);
    longest[KL_JOB_TEXT_MAX - 1] = '\0';
    ck_assert_int_eq(kl_job_from_config(&config, out, &err), KL_OK);
    free(longest);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("job");
    TCase *tc = tcase_create("job");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, load_round_trip);
    tcase_add_test(tc, largest_load_round_trip);
    tcase_add_test(tc, result_round_trip);
    tcase_add_test(tc, nothing_there_is_busy_and_end_is_closed);
    tcase_add_loop_test(tc, damaged_is_refused, 0, (int)(sizeof(damages) / sizeof(damages[0])));
    tcase_add_test(tc, setup_from_config_is_bounded);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
