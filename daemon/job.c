/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sending, receiving and checking the messages between the network process and its HSM workers.
 * A worker is trusted less than it looks: a PKCS#11 module runs inside it.
 */
#include "daemon/job.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define JOB_MAGIC 0x4b4c4a42u /* "KLJB" */
#define JOB_VERSION 1u
#define JOB_HEADER offsetof(struct kl_job, u)

/* Bytes on the wire of a message whose lengths are right; 0 for a kind there is not. */
static size_t job_size(const struct kl_job *job)
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
    case KL_JOB_RESULT:
        return JOB_HEADER + sizeof(job->u.result);
    default:
        return 0;
    }
}

static int text_ok(const char *text, size_t capacity)
{
    return memchr(text, '\0', capacity) != NULL;
}

static int err_ok(const struct kl_err *err)
{
    return text_ok(err->op, sizeof(err->op)) && text_ok(err->text, sizeof(err->text));
}

static int setup_ok(const struct kl_job_setup *setup)
{
    return text_ok(setup->module, KL_JOB_TEXT_MAX) &&
           text_ok(setup->init_reserved, KL_JOB_TEXT_MAX) &&
           text_ok(setup->token, KL_JOB_TEXT_MAX) && text_ok(setup->pin_source, KL_JOB_TEXT_MAX) &&
           text_ok(setup->work_key, KL_JOB_TEXT_MAX) &&
           text_ok(setup->storage_key, KL_JOB_TEXT_MAX);
}

static int load_ok(const struct kl_job_load *load)
{
    return load->hello_len <= KL_MSG_MAX && load->certificate_len <= KL_MSG_MAX &&
           load->randoms_len <= KL_MSG_MAX;
}

static int result_ok(const struct kl_job_result *result)
{
    const struct kl_load_out *out = &result->out;
    return err_ok(&result->err) && out->master_key_len <= sizeof(out->master_key) &&
           out->cryptogram_len <= sizeof(out->cryptogram) && out->kcv_len <= sizeof(out->kcv);
}

static int job_ok(const struct kl_job *job)
{
    switch (job->kind) {
    case KL_JOB_SETUP:
        return setup_ok(&job->u.setup);
    case KL_JOB_READY:
        return job->u.ready.spki_len <= KL_JOB_SPKI_MAX;
    case KL_JOB_FAILED:
        return err_ok(&job->u.failed);
    case KL_JOB_LOAD:
        return load_ok(&job->u.load);
    case KL_JOB_RESULT:
        return result_ok(&job->u.result);
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
        n = send(fd, job, job_size(job), MSG_NOSIGNAL);
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
    /* A LOAD's fixed part must be there before its lengths can be believed. */
    if (job->kind == KL_JOB_LOAD && (size_t)n < JOB_HEADER + offsetof(struct kl_job_load, bytes)) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "job message of %zd bytes is cut short", n);
    }
    if (job_size(job) != (size_t)n || !job_ok(job)) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "job message of kind %u is malformed", job->kind);
    }
    return KL_OK;
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

enum kl_rc kl_job_from_config(const struct kl_config *config, struct kl_job *job,
                              struct kl_err *err)
{
    struct kl_job_setup *setup = &job->u.setup;
    const struct {
        char *out;
        const char *text, *what;
    } texts[] = {
        {setup->module, config->module, "module"},
        {setup->init_reserved, config->init_reserved, "init-reserved"},
        {setup->token, config->token, "token"},
        {setup->pin_source, config->pin_source, "pin-source"},
        {setup->work_key, config->work_key, "work-key"},
        {setup->storage_key, config->storage_key, "storage-key"},
    };

    memset(job, 0, sizeof(*job));
    job->kind = KL_JOB_SETUP;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        enum kl_rc rc = put_text(texts[i].out, texts[i].text, texts[i].what, err);
        if (rc != KL_OK) {
            return rc;
        }
    }
    setup->strength_enforce = (uint32_t)config->strength_enforce;
    setup->log_level = (uint32_t)config->log_level;
    setup->log_target = (uint32_t)config->log_target;
    return KL_OK;
}
