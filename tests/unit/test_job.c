/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages between the network process and an HSM worker. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/hsm/job.h"
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

static struct kl_stored_key a_key(void)
{
    struct kl_stored_key key = {.alg = KL_ALG_TDES2, .cryptogram_len = 24, .kcv_len = 4};

    memset(key.cryptogram, 0x31, sizeof(key.cryptogram));
    memset(key.kcv, 0x32, sizeof(key.kcv));
    memset(key.binding, 0x33, sizeof(key.binding));
    return key;
}

static void same_key(const struct kl_stored_key *got, const struct kl_stored_key *want)
{
    ck_assert_int_eq(got->alg, want->alg);
    ck_assert_uint_eq(got->cryptogram_len, want->cryptogram_len);
    ck_assert_mem_eq(got->cryptogram, want->cryptogram, want->cryptogram_len);
    ck_assert_uint_eq(got->kcv_len, want->kcv_len);
    ck_assert_mem_eq(got->kcv, want->kcv, want->kcv_len);
    ck_assert_mem_eq(got->binding, want->binding, sizeof(want->binding));
}

static void fill_load(struct kl_job *job)
{
    job->kind = KL_JOB_LOAD;
    job->u.load.id = 7;
    strcpy(job->u.load.work_key, "work");
    job->u.load.alg = KL_ALG_AES128;
    job->u.load.tmk_version = 1;
    job->u.load.kcv_len = 3;
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

static void fill_import(struct kl_job *job)
{
    fill_load(job);
    job->u.load.tmk = a_key();
}

/* The imported TMK comes with its KCV and binding. */
START_TEST(import_round_trip)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_stored_key key = a_key();

    fill_import(out);
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    same_key(&in->u.load.tmk, &key);
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
    out->u.result.out.load.kcv_len = 3;
    out->u.result.out.load.master_key_len = KL_MASTER_KEY_MAX;
    memset(out->u.result.out.load.binding, 0x44, KL_MAC_LEN);
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_uint_eq(in->u.result.id, 9);
    ck_assert_uint_eq(in->u.result.out.load.master_key_len, KL_MASTER_KEY_MAX);
    ck_assert_mem_eq(in->u.result.out.load.binding, out->u.result.out.load.binding, KL_MAC_LEN);
}
END_TEST

static void fill_sign_in(struct kl_job *job)
{
    job->kind = KL_JOB_SIGN_IN;
    memset(&job->u.sign_in, 0, sizeof(job->u.sign_in));
    job->u.sign_in.id = 8;
    job->u.sign_in.tmk = a_key();
    job->u.sign_in.tmk_version = KL_VERSION_MAX;
    job->u.sign_in.kcv_len = 4;
    job->u.sign_in.sign_in_len = 5;
    memcpy(job->u.sign_in.bytes, "abcde", 5);
}

START_TEST(sign_in_round_trip)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_stored_key key = a_key();

    fill_sign_in(out);
    ck_assert_uint_eq(kl_job_size(out),
                      offsetof(struct kl_job, u) + offsetof(struct kl_job_sign_in, bytes) + 5);
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_int_eq(in->kind, KL_JOB_SIGN_IN);
    ck_assert_uint_eq(in->u.sign_in.id, 8);
    ck_assert_mem_eq(in->u.sign_in.bytes, "abcde", 5);
    same_key(&in->u.sign_in.tmk, &key);
    memset(out, 0, sizeof(*out));
    out->kind = KL_JOB_KEYS;
    out->u.result.id = 8;
    out->u.result.out.keys.message_len = 300;
    out->u.result.out.keys.pik = out->u.result.out.keys.mak = key;
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_int_eq(in->kind, KL_JOB_KEYS);
    ck_assert_uint_eq(in->u.result.out.keys.message_len, 300);
    same_key(&in->u.result.out.keys.mak, &key);
}
END_TEST

static void fill_ready(struct kl_job *job)
{
    job->kind = KL_JOB_READY;
    memset(&job->u.ready, 0, sizeof(job->u.ready));
    job->u.ready.count = 2;
    for (unsigned i = 0; i < 2; i++) {
        job->u.ready.key[i].label[0] = (char)('a' + i);
        job->u.ready.key[i].suite = KL_SUITE_HARDENED_EC;
        job->u.ready.key[i].oaep_hash = KL_OAEP_SHA1;
        job->u.ready.key[i].spki_len = KL_JOB_SPKI_MAX;
    }
}

static void fill_setup(struct kl_job *job)
{
    job->kind = KL_JOB_SETUP;
    memset(&job->u.setup, 0, sizeof(job->u.setup));
    job->u.setup.work_keys.count = 2;
    strcpy(job->u.setup.work_keys.want[0].label, "new");
    strcpy(job->u.setup.work_keys.want[1].label, "old");
    job->u.setup.work_keys.want[1].optional = 1;
}

START_TEST(setup_and_ready_round_trip)
{
    struct kl_err err = KL_ERR_INIT;

    fill_setup(out);
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_str_eq(in->u.setup.work_keys.want[1].label, "old");
    ck_assert_uint_eq(in->u.setup.work_keys.want[1].optional, 1);
    fill_ready(out);
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_str_eq(in->u.ready.key[1].label, "b");
}
END_TEST

/* The oldest that has not been read, by its job's id; what is none of those has no id. */
START_TEST(unread_is_taken_back)
{
    struct kl_err err = KL_ERR_INIT;
    uint64_t id = 99;

    ck_assert_int_eq(kl_job_take_back(fds[1], &id), 0);
    fill_load(out);
    for (uint64_t i = 11; i <= 13; i++) {
        out->u.load.id = i;
        ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    }
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_int_eq(kl_job_take_back(fds[1], &id), 1);
    ck_assert_uint_eq(id, 12);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_uint_eq(in->u.load.id, 13);
    memset(out, 0, sizeof(*out));
    out->kind = KL_JOB_PING;
    out->u.ping.id = 14;
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_take_back(fds[1], &id), 1);
    ck_assert_uint_eq(id, 0);
    close(fds[0]);
    ck_assert_int_eq(kl_job_take_back(fds[1], &id), 0);
    fds[0] = dup(fds[1]); /* for teardown */
}
END_TEST

/* By a worker's end that blocks, too. */
START_TEST(nothing_to_take_back_does_not_block)
{
    uint64_t id;

    ck_assert_int_eq(kl_job_take_back(fds[0], &id), 0);
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

/* What is refused for one number or text in it, everything else being good. */
#define DAMAGE(name, fill, member, change) \
    static void name(struct kl_job *job, size_t *size) \
    { \
        fill(job); \
        job->u.member change; \
        *size = kl_job_size(job); \
    }
static void fill_result(struct kl_job *job)
{
    job->kind = KL_JOB_RESULT;
    memset(&job->u.result, 0, sizeof(job->u.result));
}
static void fill_keys(struct kl_job *job)
{
    fill_result(job);
    job->kind = KL_JOB_KEYS;
    job->u.result.out.keys.pik = job->u.result.out.keys.mak = a_key();
}
static void fill_failed(struct kl_job *job)
{
    struct kl_err *failed = &job->u.failed;

    job->kind = KL_JOB_FAILED;
    memset(failed, 0, sizeof(*failed));
    failed->rc = KL_ERR_HSM;
}
static void fill_pong(struct kl_job *job)
{
    job->kind = KL_JOB_PONG;
    memset(&job->u.pong, 0, sizeof(job->u.pong));
}
DAMAGE(no_keys_wanted, fill_setup, setup.work_keys.count, = 0)
DAMAGE(many_keys_wanted, fill_setup, setup.work_keys.count, = KL_LOADER_KEYS_MAX + 1)
DAMAGE(no_label_wanted, fill_setup, setup.work_keys.want[1].label[0], = 0)
DAMAGE(odd_optional, fill_setup, setup.work_keys.want[1].optional, = 2)
DAMAGE(odd_enforce, fill_setup, setup.strength_enforce, = 2)
DAMAGE(odd_fallback, fill_setup, setup.host_fallback, = 2)
DAMAGE(odd_oaep, fill_setup, setup.oaep_hash, = KL_OAEP_SHA256 + 1)
DAMAGE(no_keys_found, fill_ready, ready.count, = 0)
DAMAGE(many_keys_found, fill_ready, ready.count, = KL_LOADER_KEYS_MAX + 1)
DAMAGE(no_label_found, fill_ready, ready.key[1].label[0], = 0)
DAMAGE(unknown_suite, fill_ready, ready.key[1].suite, = KL_SUITE_COUNT + 1)
DAMAGE(unknown_hash, fill_ready, ready.key[1].oaep_hash, = 3)
DAMAGE(long_spki, fill_ready, ready.key[1].spki_len, = KL_JOB_SPKI_MAX + 1)
DAMAGE(no_work_key, fill_load, load.work_key[0], = 0)
DAMAGE(unknown_alg, fill_load, load.alg, = KL_ALG_COUNT + 1)
DAMAGE(version_zero, fill_load, load.tmk_version, = 0)
DAMAGE(version_over, fill_load, load.tmk_version, = KL_VERSION_MAX + 1u)
DAMAGE(short_kcv, fill_load, load.kcv_len, = KL_KCV_LEN_MIN - 1)
DAMAGE(long_kcv, fill_load, load.kcv_len, = KL_KCV_LEN_MAX + 1)
DAMAGE(long_tmk, fill_import, load.tmk.cryptogram_len, = 32)
DAMAGE(tmk_without_cryptogram, fill_import, load.tmk.cryptogram_len, = 0)
DAMAGE(tmk_without_kcv, fill_import, load.tmk.kcv_len, = 0)
DAMAGE(tmk_of_long_kcv, fill_import, load.tmk.kcv_len, = KL_KCV_LEN_MAX + 1)
DAMAGE(tmk_of_no_alg, fill_import, load.tmk.alg, = 0)
DAMAGE(tmk_of_unknown_alg, fill_import, load.tmk.alg, = KL_ALG_COUNT + 1)
DAMAGE(alg_without_tmk, fill_load, load.tmk.alg, = KL_ALG_TDES2)
DAMAGE(kcv_without_tmk, fill_load, load.tmk.kcv_len, = 3)
DAMAGE(no_tmk, fill_sign_in, sign_in.tmk, = (struct kl_stored_key){0})
DAMAGE(long_sign_in_tmk, fill_sign_in, sign_in.tmk.cryptogram_len, = KL_CTMK_LEN_MAX + 1)
DAMAGE(short_sign_in_kcv, fill_sign_in, sign_in.tmk.kcv_len, = KL_KCV_LEN_MIN - 1)
DAMAGE(unknown_sign_in_alg, fill_sign_in, sign_in.tmk.alg, = KL_ALG_COUNT + 1)
DAMAGE(long_sign_in, fill_sign_in, sign_in.sign_in_len, = KL_MSG_MAX + 1)
DAMAGE(long_master_key, fill_result, result.out.load.master_key_len, = KL_MASTER_KEY_MAX + 1)
DAMAGE(long_cryptogram, fill_result, result.out.load.cryptogram_len, = KL_CTMK_LEN_MAX + 1)
DAMAGE(long_result_kcv, fill_result, result.out.load.kcv_len, = KL_KCV_LEN_MAX + 1)
DAMAGE(odd_fatal, fill_result, result.fatal, = 2)
DAMAGE(long_working_keys, fill_keys, result.out.keys.message_len, = KL_MSG_MAX)
DAMAGE(long_pik, fill_keys, result.out.keys.pik.cryptogram_len, = KL_CTMK_LEN_MAX + 1)
DAMAGE(long_mak_kcv, fill_keys, result.out.keys.mak.kcv_len, = KL_KCV_LEN_MAX + 1)
DAMAGE(short_pik, fill_keys, result.out.keys.pik.cryptogram_len, = 16)
DAMAGE(mak_of_no_alg, fill_keys, result.out.keys.mak.alg, = (enum kl_alg)0)
DAMAGE(keys_of_a_failure, fill_keys, result.err.rc, = KL_ERR_HSM)
DAMAGE(unknown_rc, fill_result, result.err.rc, = (enum kl_rc)KL_RC_COUNT)
DAMAGE(negative_rc, fill_result, result.err.rc, = (enum kl_rc) - 1)
DAMAGE(unknown_source, fill_result, result.err.source, = (enum kl_err_source)99)
DAMAGE(failed_well, fill_failed, failed.rc, = KL_OK)
DAMAGE(pong_of_unknown_rc, fill_pong, pong.err.rc, = (enum kl_rc)0x10000)
static void fill_checkpoint(struct kl_job *job)
{
    job->kind = KL_JOB_CHECKPOINT;
    memset(&job->u.checkpoint, 0, sizeof(job->u.checkpoint));
    job->u.checkpoint.id = 8;
    job->u.checkpoint.record = 77;
    job->u.checkpoint.time = -5;
}
static void fill_signed(struct kl_job *job)
{
    fill_result(job);
    job->kind = KL_JOB_SIGNED;
}
DAMAGE(no_record, fill_checkpoint, checkpoint.record, = 0)
DAMAGE(record_over, fill_checkpoint, checkpoint.record, = (uint64_t)INT64_MAX + 1)
DAMAGE(long_signature, fill_signed, result.out.signature.len, = KL_AUDIT_SIGNATURE_MAX + 1)
DAMAGE(odd_signed, fill_signed, result.fatal, = 2)
static void cut_checkpoint(struct kl_job *job, size_t *size)
{
    fill_checkpoint(job);
    *size = kl_job_size(job) - 1;
}

START_TEST(checkpoint_round_trip)
{
    struct kl_err err = KL_ERR_INIT;

    fill_checkpoint(out);
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_int_eq(in->kind, KL_JOB_CHECKPOINT);
    ck_assert_uint_eq(in->u.checkpoint.record, 77);
    ck_assert_int_eq(in->u.checkpoint.time, -5);
    fill_signed(out);
    out->u.result.id = 8;
    out->u.result.out.signature.len = KL_AUDIT_SIGNATURE_MAX;
    out->u.result.out.signature.bytes[KL_AUDIT_SIGNATURE_MAX - 1] = 9;
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_int_eq(in->kind, KL_JOB_SIGNED);
    ck_assert_uint_eq(in->u.result.id, 8);
    ck_assert_int_eq(in->u.result.out.signature.bytes[KL_AUDIT_SIGNATURE_MAX - 1], 9);
}
END_TEST

static void endless_label(struct kl_job *job, size_t *size)
{
    fill_setup(job);
    memset(job->u.setup.work_keys.want[0].label, 'x', KL_KEY_LABEL_MAX + 1);
    *size = kl_job_size(job);
}
static void endless_audit_key(struct kl_job *job, size_t *size)
{
    fill_setup(job);
    memset(job->u.setup.audit_key, 'x', KL_JOB_TEXT_MAX);
    *size = kl_job_size(job);
}
static void endless_binding_key(struct kl_job *job, size_t *size)
{
    fill_setup(job);
    memset(job->u.setup.binding_key, 'x', KL_JOB_TEXT_MAX);
    *size = kl_job_size(job);
}
static void cut_sign_in(struct kl_job *job, size_t *size)
{
    fill_sign_in(job);
    *size = offsetof(struct kl_job, u) + 12;
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
    {"no keys wanted", no_keys_wanted},
    {"too many keys wanted", many_keys_wanted},
    {"key without a label wanted", no_label_wanted},
    {"label without end", endless_label},
    {"optional neither 0 nor 1", odd_optional},
    {"enforce neither 0 nor 1", odd_enforce},
    {"fallback neither 0 nor 1", odd_fallback},
    {"an OAEP hash that there is not", odd_oaep},
    {"no keys found", no_keys_found},
    {"too many keys found", many_keys_found},
    {"key without a label found", no_label_found},
    {"unknown suite", unknown_suite},
    {"unknown hash", unknown_hash},
    {"load without a work key", no_work_key},
    {"unknown algorithm", unknown_alg},
    {"version 0", version_zero},
    {"version over its bound", version_over},
    {"KCV under its bound", short_kcv},
    {"KCV over its bound", long_kcv},
    {"TMK over its bound", long_tmk},
    {"TMK without cryptogram", tmk_without_cryptogram},
    {"TMK without KCV", tmk_without_kcv},
    {"TMK's KCV over its bound", tmk_of_long_kcv},
    {"TMK of no algorithm", tmk_of_no_alg},
    {"TMK of an unknown algorithm", tmk_of_unknown_alg},
    {"algorithm of no TMK", alg_without_tmk},
    {"KCV of no TMK", kcv_without_tmk},
    {"sign-in without a TMK", no_tmk},
    {"sign-in's TMK over its bound", long_sign_in_tmk},
    {"sign-in's TMK's KCV under its bound", short_sign_in_kcv},
    {"sign-in's TMK of an unknown algorithm", unknown_sign_in_alg},
    {"binding key's label without end", endless_binding_key},
    {"audit key's label without end", endless_audit_key},
    {"checkpoint of no record", no_record},
    {"checkpoint of a record past the last", record_over},
    {"checkpoint cut short", cut_checkpoint},
    {"signature over its bound", long_signature},
    {"fatal of a signature neither 0 nor 1", odd_signed},
    {"SignIn over its bound", long_sign_in},
    {"sign-in cut short", cut_sign_in},
    {"cryptogram over its bound", long_cryptogram},
    {"result's KCV over its bound", long_result_kcv},
    {"fatal neither 0 nor 1", odd_fatal},
    {"WorkingKeys over its bound", long_working_keys},
    {"PIK over its bound", long_pik},
    {"MAK's KCV over its bound", long_mak_kcv},
    {"PIK of another length", short_pik},
    {"MAK of no algorithm", mak_of_no_alg},
    {"keys of a failure", keys_of_a_failure},
    {"unknown result code", unknown_rc},
    {"negative result code", negative_rc},
    {"unknown source of an error", unknown_source},
    {"FAILED without failure", failed_well},
    {"keep-alive's unknown result code", pong_of_unknown_rc},
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

START_TEST(ping_and_pong_round_trip)
{
    struct kl_err err = KL_ERR_INIT;

    memset(out, 0, sizeof(*out));
    out->kind = KL_JOB_PING;
    out->u.ping.id = 77;
    ck_assert_int_eq(kl_job_send(fds[0], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[1], in, &err), KL_OK);
    ck_assert_uint_eq(in->u.ping.id, 77);
    memset(out, 0, sizeof(*out));
    out->kind = KL_JOB_PONG;
    out->u.pong.id = 77;
    (void)kl_err_set(&out->u.pong.err, KL_ERR_TOKEN, "gone");
    ck_assert_int_eq(kl_job_send(fds[1], out, &err), KL_OK);
    ck_assert_int_eq(kl_job_receive(fds[0], in, &err), KL_OK);
    ck_assert_int_eq(in->u.pong.err.rc, KL_ERR_TOKEN);
    memset(out->u.pong.err.text, 'x', sizeof(out->u.pong.err.text)); /* no end */
    ck_assert_int_eq(kl_job_send(fds[1], out, &err), KL_ERR_INTERNAL);
}
END_TEST

START_TEST(store_keys_are_compared)
{
    struct kl_job_ready *first = calloc(1, sizeof(*first)), *other = calloc(1, sizeof(*other));
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_job_same_store_keys(first, other, &err), KL_OK);
    other->storage_check[KL_KEY_CHECK_LEN - 1] = 1;
    ck_assert_int_eq(kl_job_same_store_keys(first, other, &err), KL_ERR_KEY);
    ck_assert_ptr_nonnull(strstr(err.text, "storage key"));
    other->storage_check[KL_KEY_CHECK_LEN - 1] = 0;
    other->binding_check[0] = 1;
    ck_assert_int_eq(kl_job_same_store_keys(first, other, &err), KL_ERR_KEY);
    ck_assert_ptr_nonnull(strstr(err.text, "binding key"));
    free(first);
    free(other);
}
END_TEST

START_TEST(setup_from_config_is_bounded)
{
    struct kl_err err = KL_ERR_INIT;
    char empty[] = "", binding[] = "b", audit[] = "a";
    const struct kl_job_wants wants = {1, {{"work", 0}}};
    char *longest = malloc(KL_JOB_TEXT_MAX + 1);
    struct kl_config config = {
        .hsm = {{.module = empty, .init_reserved = empty, .token = empty, .pin_source = empty}},
        .storage_key = empty,
        .binding_key = binding,
        .audit_key = audit};

    config.host_fallback = 1;
    config.oaep_hash = KL_OAEP_SHA256;
    ck_assert_int_eq(kl_job_from_config(&config, 0, &wants, out, &err), KL_OK);
    ck_assert_str_eq(out->u.setup.work_keys.want[0].label, "work");
    ck_assert_str_eq(out->u.setup.binding_key, "b");
    ck_assert_str_eq(out->u.setup.audit_key, "a");
    ck_assert_uint_eq(out->u.setup.host_fallback, 1);
    ck_assert_uint_eq(out->u.setup.oaep_hash, KL_OAEP_SHA256);
    memset(longest, 'a', KL_JOB_TEXT_MAX);
    longest[KL_JOB_TEXT_MAX] = '\0';
    config.hsm[0].token = longest;
    ck_assert_int_eq(kl_job_from_config(&config, 0, &wants, out, &err), KL_ERR_CONFIG);
    longest[KL_JOB_TEXT_MAX - 1] = '\0';
    ck_assert_int_eq(kl_job_from_config(&config, 0, &wants, out, &err), KL_OK);
    free(longest);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("job");
    TCase *tc = tcase_create("job");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, load_round_trip);
    tcase_add_test(tc, import_round_trip);
    tcase_add_test(tc, largest_load_round_trip);
    tcase_add_test(tc, result_round_trip);
    tcase_add_test(tc, sign_in_round_trip);
    tcase_add_test(tc, checkpoint_round_trip);
    tcase_add_test(tc, setup_and_ready_round_trip);
    tcase_add_test(tc, ping_and_pong_round_trip);
    tcase_add_test(tc, store_keys_are_compared);
    tcase_add_test(tc, unread_is_taken_back);
    tcase_add_test(tc, nothing_to_take_back_does_not_block);
    tcase_add_test(tc, nothing_there_is_busy_and_end_is_closed);
    tcase_add_loop_test(tc, damaged_is_refused, 0, (int)(sizeof(damages) / sizeof(damages[0])));
    tcase_add_test(tc, setup_from_config_is_bounded);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
