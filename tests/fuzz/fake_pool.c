/* SPDX-License-Identifier: BSD-2-Clause */
/* HSM workers that answer when and as a script says: see fake_pool.h. */
#include "tests/fuzz/fake_pool.h"

#include <string.h>
#include <sys/socket.h>

#include "tests/fuzz/input.h"
#include "tests/support/messages.h"

struct kl_ticket {
    kl_pool_done_fn done;
    void *arg;
};

static struct fake_job jobs[FAKE_JOBS];
static struct kl_ticket tickets[FAKE_JOBS];
static size_t count;

void fake_pool_begin(void)
{
    memset(jobs, 0, count * sizeof(*jobs));
    count = 0;
}

size_t fake_pool_count(void)
{
    return count;
}

struct fake_job *fake_pool_job(size_t i)
{
    require(i < count);
    return &jobs[i];
}

void fake_pool_start(size_t i)
{
    if (!jobs[i].cancelled) {
        jobs[i].started = 1;
    }
}

/* Every value of this job alone. */
static void fill(uint8_t *out, size_t len, size_t i, uint8_t what)
{
    memset(out, what, len);
    out[0] = (uint8_t)i;
}

static void put_key(struct kl_stored_key *key, enum kl_alg alg, size_t i, uint8_t what)
{
    key->alg = alg;
    key->cryptogram_len = kl_alg_info(alg)->key_len + 8;
    key->kcv_len = 3;
    fill(key->cryptogram, key->cryptogram_len, i, what);
    fill(key->kcv, key->kcv_len, i, what);
    fill(key->binding, sizeof(key->binding), i, what);
}

static void put_master_key(const struct kl_job_load *job, size_t i, struct kl_load_out *out)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_stored_key key = {0};
    struct kl_msg msg;

    test_sample(KL_MSG_MASTER_KEY, &msg);
    msg.u.master_key.tbs.version = job->tmk_version;
    memset(msg.u.master_key.tbs.rnd2, 0, KL_RND2_LEN);
    msg.u.master_key.tbs.rnd2[0] = (uint8_t)i;
    test_sample_seal(&msg);
    require(kl_msg_encode_into(&msg, out->master_key, sizeof(out->master_key), &out->master_key_len,
                               &err) == KL_OK);
    put_key(&key, (enum kl_alg)job->alg, i, 0xa0);
    out->cryptogram_len = key.cryptogram_len;
    memcpy(out->cryptogram, key.cryptogram, key.cryptogram_len);
    out->kcv_len = key.kcv_len;
    memcpy(out->kcv, key.kcv, key.kcv_len);
    memcpy(out->binding, key.binding, sizeof(key.binding));
    fill(out->ack_mac, KL_MAC_LEN, i, 0xa1);
    fill(out->active_mac, KL_MAC_LEN, i, 0xa2);
    fill(out->drop_mac, KL_MAC_LEN, i, 0xa3);
}

static void put_working_keys(const struct kl_job_sign_in *job, size_t i, struct kl_sign_in_out *out)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;
    uint8_t der[KL_MSG_MAX];

    test_sample(KL_MSG_WORKING_KEYS, &msg);
    msg.u.working_keys.tmk_version = job->tmk_version;
    msg.u.working_keys.c_session[0] = (uint8_t)i;
    test_sample_seal(&msg);
    require(kl_msg_encode(&msg, der, &out->message_len, &err) == KL_OK);
    require(out->message_len <= sizeof(out->message));
    memcpy(out->message, der, out->message_len);
    put_key(&out->pik, job->tmk.alg, i, 0xb0);
    put_key(&out->mak, job->tmk.alg, i, 0xb1);
    fill(out->ack_mac, KL_MAC_LEN, i, 0xb2);
    fill(out->active_mac, KL_MAC_LEN, i, 0xb3);
}

static struct kl_job_result good_answer(size_t i)
{
    struct kl_job_result result = {.id = i};

    if (jobs[i].job.kind == KL_JOB_LOAD) {
        put_master_key(&jobs[i].job.u.load, i, &result.out.load);
    } else {
        put_working_keys(&jobs[i].job.u.sign_in, i, &result.out.keys);
    }
    return result;
}

static void give(size_t i, const struct kl_job_result *result)
{
    jobs[i].answered = 1;
    jobs[i].well = result->err.rc == KL_OK;
    jobs[i].result = *result;
    if (tickets[i].done) {
        tickets[i].done(result, tickets[i].arg);
    }
}

static int may_answer(size_t i)
{
    fake_pool_start(i);
    return jobs[i].started && !jobs[i].answered;
}

void fake_pool_answer(size_t i, enum kl_rc rc)
{
    struct kl_job_result result = {.id = i};

    if (!may_answer(i)) {
        return;
    }
    if (rc == KL_OK) {
        result = good_answer(i);
    } else {
        (void)kl_err_set(&result.err, rc, "the script says so");
    }
    give(i, &result);
}

int fake_pool_answer_edited(size_t i, struct script *script)
{
    static int fds[2] = {-1, -1};
    static struct kl_job job;
    struct kl_err err = KL_ERR_INIT;
    uint32_t kind = jobs[i].job.kind == KL_JOB_LOAD ? KL_JOB_RESULT : KL_JOB_KEYS;
    size_t size;

    if (!may_answer(i)) {
        return 0;
    }
    if (fds[0] < 0) {
        require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) == 0);
    }
    job.kind = kind;
    job.u.result = good_answer(i);
    require(kl_job_send(fds[0], &job, &err) == KL_OK);
    size = (size_t)recv(fds[1], &job, sizeof(job), 0);
    for (int n = 0; n < 4; n++) {
        (void)script_edit(script, (uint8_t *)&job, size, size);
    }
    require(send(fds[0], &job, size, 0) == (ssize_t)size);
    if (kl_job_receive(fds[1], &job, &err) != KL_OK || job.kind != kind) {
        return 0;
    }
    give(i, &job.u.result);
    return 1;
}

enum kl_rc kl_pool_room(const struct kl_pool *pool, enum kl_job_kind kind, size_t coming,
                        struct kl_err *err)
{
    (void)pool;
    (void)kind;
    (void)coming;
    return count < FAKE_JOBS ? KL_OK : kl_err_set(err, KL_ERR_BUSY, "the queue is full");
}

enum kl_rc kl_pool_submit(struct kl_pool *pool, const struct kl_job *job, kl_pool_done_fn done,
                          void *arg, struct kl_ticket **ticket, struct kl_err *err)
{
    size_t size = kl_job_size(job);

    require(size > 0 && size <= sizeof(*job)); /* its lengths are within bounds */
    if (kl_pool_room(pool, job->kind, 0, err) != KL_OK) {
        return err->rc;
    }
    memset(&jobs[count], 0, sizeof(jobs[count]));
    memcpy(&jobs[count].job, job, size);
    jobs[count].owner = arg;
    tickets[count] = (struct kl_ticket){done, arg};
    *ticket = &tickets[count++];
    return KL_OK;
}

int kl_pool_cancel(struct kl_ticket *ticket)
{
    struct fake_job *job = &jobs[ticket - tickets];

    require(ticket->done != NULL && !job->answered && !job->cancelled);
    ticket->done = NULL;
    job->cancelled = 1;
    return job->started;
}

int64_t kl_pool_wait_us(const struct kl_pool *pool)
{
    (void)pool;
    return 0;
}
