/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sending, receiving and checking the messages between the network process and its HSM workers.
 * A worker is trusted less than it looks: a PKCS#11 module runs inside it.
 */
#include "daemon/hsm/job.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "pkcs11/binding.h"

#define JOB_MAGIC 0x4b4c4a42u /* "KLJB" */
#define JOB_VERSION 4u
#define JOB_HEADER offsetof(struct kl_job, u)

size_t kl_job_size(const struct kl_job *job)
{
    switch (job->kind) {
    case KL_JOB_SETUP:
        return JOB_HEADER + sizeof(job->u.setup);
    case KL_JOB_READY:
        return JOB_HEADER + sizeof(job->u.ready);
    case KL_JOB_FAILED:
        return JOB_HEADER + sizeof(job->u.failed);
    case KL_JOB_LOAD:
        return JOB_HEADER + offsetof(struct kl_job_load, bytes) + job->u.load.hello_len +
               job->u.load.certificate_len + job->u.load.randoms_len;
    case KL_JOB_SIGN_IN:
        return JOB_HEADER + offsetof(struct kl_job_sign_in, bytes) + job->u.sign_in.sign_in_len;
    case KL_JOB_CHECKPOINT:
        return JOB_HEADER + sizeof(job->u.checkpoint);
    case KL_JOB_RESULT:
    case KL_JOB_KEYS:
    case KL_JOB_SIGNED:
        return JOB_HEADER + sizeof(job->u.result);
    case KL_JOB_PING:
        return JOB_HEADER + sizeof(job->u.ping);
    case KL_JOB_PONG:
        return JOB_HEADER + sizeof(job->u.pong);
    default:
        return 0;
    }
}

/* Bytes before those that kl_job_size takes the lengths of. */
static size_t fixed_size(const struct kl_job *job)
{
    switch (job->kind) {
    case KL_JOB_LOAD:
        return JOB_HEADER + offsetof(struct kl_job_load, bytes);
    case KL_JOB_SIGN_IN:
        return JOB_HEADER + offsetof(struct kl_job_sign_in, bytes);
    default:
        return JOB_HEADER;
    }
}

static int text_ok(const char *text, size_t capacity)
{
    return memchr(text, '\0', capacity) != NULL;
}

static int label_ok(const char label[KL_KEY_LABEL_MAX + 1])
{
    return label[0] != '\0' && text_ok(label, KL_KEY_LABEL_MAX + 1);
}

/* Its numbers index tables. */
static int err_ok(const struct kl_err *err)
{
    return (unsigned)err->rc < KL_RC_COUNT && (unsigned)err->source <= KL_ERR_SOURCE_SQLITE &&
           text_ok(err->op, sizeof(err->op)) && text_ok(err->text, sizeof(err->text));
}

static int setup_ok(const struct kl_job_setup *setup)
{
    const struct kl_job_wants *wants = &setup->work_keys;

    if (wants->count < 1 || wants->count > KL_LOADER_KEYS_MAX) {
        return 0;
    }
    for (uint32_t i = 0; i < wants->count; i++) {
        if (!label_ok(wants->want[i].label) || wants->want[i].optional > 1) {
            return 0;
        }
    }
    return text_ok(setup->module, KL_JOB_TEXT_MAX) &&
           text_ok(setup->init_reserved, KL_JOB_TEXT_MAX) &&
           text_ok(setup->token, KL_JOB_TEXT_MAX) && text_ok(setup->pin_source, KL_JOB_TEXT_MAX) &&
           text_ok(setup->storage_key, KL_JOB_TEXT_MAX) &&
           text_ok(setup->binding_key, KL_JOB_TEXT_MAX) &&
           text_ok(setup->audit_key, KL_JOB_TEXT_MAX) && setup->strength_enforce <= 1 &&
           setup->host_fallback <= 1 && setup->session_copies <= 1 &&
           setup->oaep_hash <= KL_OAEP_SHA256 && (setup->accept & ~KL_WEAK_ALL) == 0;
}

static int ready_ok(const struct kl_job_ready *ready)
{
    if (ready->count < 1 || ready->count > KL_LOADER_KEYS_MAX ||
        (ready->weak & ~KL_WEAK_ALL) != 0) {
        return 0;
    }
    for (uint32_t i = 0; i < ready->count; i++) {
        const struct kl_job_key *key = &ready->key[i];
        if (!label_ok(key->label) || kl_suite_name(key->suite) == NULL ||
            (key->oaep_hash != KL_OAEP_SHA1 && key->oaep_hash != KL_OAEP_SHA256) ||
            key->spki_len > KL_JOB_SPKI_MAX) {
            return 0;
        }
    }
    return 1;
}

/* What a LOAD and a SIGN_IN say of the TMK. */
static int version_ok(uint32_t version, uint32_t kcv_len)
{
    return version >= 1 && version <= KL_VERSION_MAX && kcv_len >= KL_KCV_LEN_MIN &&
           kcv_len <= KL_KCV_LEN_MAX;
}

static int no_key(const struct kl_stored_key *key)
{
    return key->alg == 0 && key->cryptogram_len == 0 && key->kcv_len == 0;
}

static int load_ok(const struct kl_job_load *load)
{
    return label_ok(load->work_key) && kl_alg_info(load->alg) != NULL &&
           version_ok(load->tmk_version, load->kcv_len) &&
           (no_key(&load->tmk) || kl_stored_key_whole(&load->tmk)) &&
           load->hello_len <= KL_MSG_MAX && load->certificate_len <= KL_MSG_MAX &&
           load->randoms_len <= KL_MSG_MAX;
}

static int sign_in_ok(const struct kl_job_sign_in *job)
{
    return version_ok(job->tmk_version, job->kcv_len) && kl_stored_key_whole(&job->tmk) &&
           job->sign_in_len <= KL_MSG_MAX;
}

/* A key that a result holds, if it holds one: rc says so. */
static int key_ok(const struct kl_stored_key *key, enum kl_rc rc)
{
    return rc == KL_OK ? kl_stored_key_whole(key) : no_key(key);
}

static int result_ok(const struct kl_job *job)
{
    const struct kl_job_result *result = &job->u.result;
    const struct kl_load_out *load = &result->out.load;
    const struct kl_sign_in_out *keys = &result->out.keys;

    if (result->fatal > 1 || !err_ok(&result->err)) {
        return 0;
    }
    if (job->kind == KL_JOB_SIGNED) {
        return result->out.signature.len <= sizeof(result->out.signature.bytes);
    }
    if (job->kind == KL_JOB_KEYS) {
        return keys->message_len <= sizeof(keys->message) && key_ok(&keys->pik, result->err.rc) &&
               key_ok(&keys->mak, result->err.rc);
    }
    return load->master_key_len <= sizeof(load->master_key) &&
           load->cryptogram_len <= sizeof(load->cryptogram) && load->kcv_len <= sizeof(load->kcv);
}

static int job_ok(const struct kl_job *job)
{
    switch (job->kind) {
    case KL_JOB_SETUP:
        return setup_ok(&job->u.setup);
    case KL_JOB_READY:
        return ready_ok(&job->u.ready);
    case KL_JOB_FAILED:
        return err_ok(&job->u.failed) && job->u.failed.rc != KL_OK;
    case KL_JOB_LOAD:
        return load_ok(&job->u.load);
    case KL_JOB_SIGN_IN:
        return sign_in_ok(&job->u.sign_in);
    case KL_JOB_CHECKPOINT:
        return job->u.checkpoint.record >= 1 && job->u.checkpoint.record <= INT64_MAX;
    case KL_JOB_RESULT:
    case KL_JOB_KEYS:
    case KL_JOB_SIGNED:
        return result_ok(job);
    case KL_JOB_PING:
        return 1;
    case KL_JOB_PONG:
        return err_ok(&job->u.pong.err);
    default:
        return 0;
    }
}

enum kl_rc kl_job_send(int fd, struct kl_job *job, struct kl_err *err)
{
    ssize_t n;

    job->magic = JOB_MAGIC;
    job->version = JOB_VERSION;
    job->reserved = 0;
    if (!job_ok(job)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "job message of kind %u is malformed", job->kind);
    }
    do {
        n = send(fd, job, kl_job_size(job), MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) {
        return KL_OK;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return kl_err_set(err, KL_ERR_BUSY, "HSM worker does not read its jobs");
    }
    if (errno == EPIPE || errno == ECONNRESET) {
        return kl_err_set(err, KL_ERR_CLOSED, "the other process is gone");
    }
    return kl_err_errno(err, "send", "job message");
}

enum kl_rc kl_job_receive(int fd, struct kl_job *job, struct kl_err *err)
{
    ssize_t n;

    do {
        n = recv(fd, job, sizeof(*job), MSG_TRUNC);
    } while (n < 0 && errno == EINTR);
    if (n == 0 || (n < 0 && errno == ECONNRESET)) {
        return kl_err_set(err, KL_ERR_CLOSED, "the other process is gone");
    }
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return kl_err_set(err, KL_ERR_BUSY, "no job message");
        }
        return kl_err_errno(err, "recv", "job message");
    }
    if ((size_t)n < JOB_HEADER || (size_t)n > sizeof(*job) || job->magic != JOB_MAGIC ||
        job->version != JOB_VERSION) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "job message of %zd bytes is not ours", n);
    }
    /* The fixed part must be there before the lengths in it can be believed. */
    if ((size_t)n < fixed_size(job)) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "job message of %zd bytes is cut short", n);
    }
    if (kl_job_size(job) != (size_t)n || !job_ok(job)) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "job message of kind %u is malformed", job->kind);
    }
    return KL_OK;
}

int kl_job_take_back(int fd, uint64_t *id)
{
    struct {
        uint32_t magic, version, kind, reserved;
        uint64_t id; /* where each kind of job has its own */
    } head = {0};
    ssize_t n;

    do {
        n = recv(fd, &head, sizeof(head), MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    *id = head.kind == KL_JOB_LOAD || head.kind == KL_JOB_SIGN_IN || head.kind == KL_JOB_CHECKPOINT
              ? head.id
              : 0;
    return n > 0;
}

enum kl_rc kl_job_same_store_keys(const struct kl_job_ready *first,
                                  const struct kl_job_ready *other, struct kl_err *err)
{
    const char *differs = NULL;

    if (memcmp(first->storage_check, other->storage_check, KL_KEY_CHECK_LEN) != 0) {
        differs = "storage";
    } else if (memcmp(first->binding_check, other->binding_check, KL_KEY_CHECK_LEN) != 0) {
        differs = "binding";
    }
    return differs == NULL
               ? KL_OK
               : kl_err_set(err, KL_ERR_KEY,
                            "the %s key of this token is another one than that in use so far",
                            differs);
}

static enum kl_rc put_text(char out[KL_JOB_TEXT_MAX], const char *text, const char *what,
                           struct kl_err *err)
{
    size_t len = strlen(text);

    if (len >= KL_JOB_TEXT_MAX) {
        return kl_err_set(err, KL_ERR_CONFIG, "[hsm] %s has %zu bytes; at most %d", what, len,
                          KL_JOB_TEXT_MAX - 1);
    }
    memcpy(out, text, len + 1);
    return KL_OK;
}

enum kl_rc kl_job_from_config(const struct kl_config *config, size_t hsm,
                              const struct kl_job_wants *work_keys, struct kl_job *job,
                              struct kl_err *err)
{
    const struct kl_config_hsm *where = &config->hsm[hsm];
    struct kl_job_setup *setup = &job->u.setup;
    const struct {
        char *out;
        const char *text, *what;
    } texts[] = {
        {setup->module, where->module, "module"},
        {setup->init_reserved, where->init_reserved, "init-reserved"},
        {setup->token, where->token, "token"},
        {setup->pin_source, where->pin_source, "pin-source"},
        {setup->storage_key, config->storage_key, "storage-key"},
        {setup->binding_key, config->binding_key, "binding-key"},
        {setup->audit_key, config->audit_key, "audit-key"},
    };

    memset(job, 0, sizeof(*job));
    job->kind = KL_JOB_SETUP;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        enum kl_rc rc = put_text(texts[i].out, texts[i].text, texts[i].what, err);
        if (rc != KL_OK) {
            return rc;
        }
    }
    setup->work_keys = *work_keys;
    setup->strength_enforce = (uint32_t)config->strength_enforce;
    setup->host_fallback = (uint32_t)config->host_fallback;
    setup->session_copies = (uint32_t)where->session_copies;
    setup->oaep_hash = (uint32_t)config->oaep_hash;
    setup->accept = kl_config_accept(config, hsm);
    setup->log_level = (uint32_t)config->log_level;
    setup->log_target = (uint32_t)config->log_target;
    return KL_OK;
}
