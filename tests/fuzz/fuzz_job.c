/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What passes between the network process and an HSM worker, either of which may be captured: the
 * bytes of a message as they are, or, if the first byte is the number of a kind, a good message of
 * that kind with what a script does to it. What is taken can be used, and is sent as it was.
 */
#include <string.h>
#include <sys/socket.h>

#include "daemon/hsm/job.h"
#include "tests/fuzz/input.h"

static int fds[2] = {-1, -1};

static void put_key(struct kl_stored_key *key)
{
    key->alg = KL_ALG_TDES2;
    key->cryptogram_len = 24;
    key->kcv_len = 3;
}

static void put_load(struct kl_job_load *load)
{
    strcpy(load->work_key, "work");
    load->alg = KL_ALG_TDES2;
    load->tmk_version = 1;
    load->kcv_len = 3;
    load->hello_len = load->certificate_len = load->randoms_len = 16;
}

static void put_result(struct kl_job *job)
{
    struct kl_job_result *result = &job->u.result;

    if (job->kind == KL_JOB_RESULT) {
        result->out.load.master_key_len = 16;
        result->out.load.cryptogram_len = 24;
        result->out.load.kcv_len = 3;
    } else if (job->kind == KL_JOB_KEYS) {
        result->out.keys.message_len = 16;
        put_key(&result->out.keys.pik);
        put_key(&result->out.keys.mak);
    } else {
        result->out.signature.len = 256;
    }
}

static void put_sample(struct kl_job *job, uint32_t kind)
{
    memset(job, 0, sizeof(*job));
    job->kind = kind;
    switch (kind) {
    case KL_JOB_SETUP:
        strcpy(job->u.setup.storage_key, "storage");
        job->u.setup.work_keys.count = 1;
        strcpy(job->u.setup.work_keys.want[0].label, "work");
        break;
    case KL_JOB_READY:
        job->u.ready.count = 1;
        strcpy(job->u.ready.key[0].label, "work");
        job->u.ready.key[0].suite = KL_SUITE_HARDENED_RSA;
        job->u.ready.key[0].oaep_hash = KL_OAEP_SHA1;
        job->u.ready.key[0].spki_len = 16;
        break;
    case KL_JOB_FAILED:
        (void)kl_err_set(&job->u.failed, KL_ERR_HSM, "ill");
        break;
    case KL_JOB_LOAD:
        put_load(&job->u.load);
        break;
    case KL_JOB_SIGN_IN:
        job->u.sign_in.tmk_version = 1;
        job->u.sign_in.kcv_len = 3;
        put_key(&job->u.sign_in.tmk);
        job->u.sign_in.sign_in_len = 16;
        break;
    case KL_JOB_CHECKPOINT:
        job->u.checkpoint.record = 1;
        break;
    case KL_JOB_RESULT:
    case KL_JOB_KEYS:
    case KL_JOB_SIGNED:
        put_result(job);
        break;
    default:
        break;
    }
}

/* Every text ends, every length is within its array. */
static void check_setup(const struct kl_job_setup *setup)
{
    const char *const texts[] = {setup->module,     setup->init_reserved, setup->token,
                                 setup->pin_source, setup->storage_key,   setup->binding_key,
                                 setup->audit_key};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        require(strnlen(texts[i], KL_JOB_TEXT_MAX) < KL_JOB_TEXT_MAX);
    }
    require(setup->work_keys.count >= 1 && setup->work_keys.count <= KL_LOADER_KEYS_MAX);
}

static void check_key(const struct kl_stored_key *key)
{
    require(key->cryptogram_len <= sizeof(key->cryptogram) && key->kcv_len <= sizeof(key->kcv));
}

/* Its numbers index tables, its texts are logged. */
static void check_err(const struct kl_err *err)
{
    require((unsigned)err->rc < KL_RC_COUNT && (unsigned)err->source <= KL_ERR_SOURCE_SQLITE);
    require(strnlen(err->text, sizeof(err->text)) < sizeof(err->text));
    require(strnlen(err->op, sizeof(err->op)) < sizeof(err->op));
}

static void check_result(const struct kl_job *job)
{
    const struct kl_job_result *result = &job->u.result;

    check_err(&result->err);
    if (job->kind == KL_JOB_RESULT) {
        require(result->out.load.master_key_len <= sizeof(result->out.load.master_key));
        require(result->out.load.cryptogram_len <= sizeof(result->out.load.cryptogram));
        require(result->out.load.kcv_len <= sizeof(result->out.load.kcv));
    } else if (job->kind == KL_JOB_KEYS) {
        require(result->out.keys.message_len <= sizeof(result->out.keys.message));
        check_key(&result->out.keys.pik);
        check_key(&result->out.keys.mak);
    } else {
        require(result->out.signature.len <= sizeof(result->out.signature.bytes));
    }
}

static void check(const struct kl_job *job)
{
    const struct kl_job_load *load = &job->u.load;

    switch (job->kind) {
    case KL_JOB_SETUP:
        check_setup(&job->u.setup);
        break;
    case KL_JOB_READY:
        require(job->u.ready.count <= KL_LOADER_KEYS_MAX);
        for (uint32_t i = 0; i < job->u.ready.count; i++) {
            require(strnlen(job->u.ready.key[i].label, KL_KEY_LABEL_MAX + 1) <= KL_KEY_LABEL_MAX);
            require(job->u.ready.key[i].spki_len <= KL_JOB_SPKI_MAX);
        }
        break;
    case KL_JOB_FAILED:
        check_err(&job->u.failed);
        break;
    case KL_JOB_LOAD:
        require(strnlen(load->work_key, sizeof(load->work_key)) < sizeof(load->work_key));
        require(load->hello_len <= KL_MSG_MAX && load->certificate_len <= KL_MSG_MAX &&
                load->randoms_len <= KL_MSG_MAX);
        check_key(&load->tmk);
        break;
    case KL_JOB_SIGN_IN:
        require(job->u.sign_in.sign_in_len <= KL_MSG_MAX);
        check_key(&job->u.sign_in.tmk);
        break;
    case KL_JOB_RESULT:
    case KL_JOB_KEYS:
    case KL_JOB_SIGNED:
        check_result(job);
        break;
    case KL_JOB_PONG:
        check_err(&job->u.pong.err);
        break;
    default:
        require(job->kind == KL_JOB_CHECKPOINT || job->kind == KL_JOB_PING);
    }
}

static void take(const uint8_t *data, size_t size)
{
    static struct kl_job job, again;
    struct kl_err err = KL_ERR_INIT;

    if (size == 0 || send(fds[0], data, size, 0) != (ssize_t)size) {
        return;
    }
    if (kl_job_receive(fds[1], &job, &err) != KL_OK) {
        fuzz_failed_well(err.rc, &err);
        return;
    }
    check(&job);
    require(kl_job_size(&job) == size);
    require(kl_job_send(fds[0], &job, &err) == KL_OK);
    require(kl_job_receive(fds[1], &again, &err) == KL_OK && memcmp(&job, &again, size) == 0);
}

/* A good message's bytes with the edits of the script in them. */
static void take_edited(struct script *script)
{
    static struct kl_job job;
    static uint8_t bytes[sizeof(job) + 256];
    struct kl_err err = KL_ERR_INIT;
    size_t size;

    put_sample(&job, script_byte(script));
    require(kl_job_send(fds[0], &job, &err) == KL_OK);
    size = (size_t)recv(fds[1], bytes, sizeof(bytes), 0);
    for (int i = 0; i < 8 && script->left > 0; i++) {
        size = script_edit(script, bytes, size, sizeof(bytes));
    }
    take(bytes, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, size};
    int room = 4 * (int)sizeof(struct kl_job);

    if (fds[0] < 0) {
        require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) == 0);
        require(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) == 0);
    }
    if (size > 0 && data[0] >= KL_JOB_SETUP && data[0] <= KL_JOB_PONG) {
        take_edited(&script);
    } else {
        take(data, size);
    }
    return 0;
}
