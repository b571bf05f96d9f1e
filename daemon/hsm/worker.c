/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The HSM worker process. After HSM trouble it reports the result and exits: the network process
 * starts a fresh one, which finds token and keys again, rather than nursing stale handles here.
 */
#include "daemon/hsm/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/audit/audit_chain.h"
#include "daemon/process/process.h"
#include "pkcs11/hsm.h"
#include "pkcs11/rv.h"
#include "proto/secret.h"

/* The descriptors that the worker gets; above those that it gets them as. */
struct ends {
    int jobs, answers;
};

static int add_actions(posix_spawn_file_actions_t *actions, const struct ends *ends)
{
    int fail = posix_spawn_file_actions_adddup2(actions, ends->jobs, KL_WORKER_JOBS_FD);

    if (fail == 0) {
        fail = posix_spawn_file_actions_adddup2(actions, ends->answers, KL_WORKER_ANSWERS_FD);
    }
    return fail != 0 ? fail
                     : posix_spawn_file_actions_addclosefrom_np(actions, KL_WORKER_ANSWERS_FD + 1);
}

/* Re-executes this binary with its ends and nothing else beyond stderr. */
static enum kl_rc execute(const struct ends *ends, pid_t *pid, struct kl_err *err)
{
    char arg0[] = "keyloaderd", arg1[] = "--" KL_WORKER_OPTION;
    char *argv[] = {arg0, arg1, NULL}, **env = kl_process_worker_environ();
    posix_spawn_file_actions_t actions;
    int fail = env == NULL ? ENOMEM : posix_spawn_file_actions_init(&actions);

    if (fail == 0) {
        fail = add_actions(&actions, ends);
        if (fail == 0) {
            fail = posix_spawn(pid, "/proc/self/exe", &actions, NULL, argv, env);
        }
        posix_spawn_file_actions_destroy(&actions);
    }
    free(env);
    if (fail != 0) {
        errno = fail;
        return kl_err_errno(err, "posix_spawn", "cannot start an HSM worker");
    }
    return KL_OK;
}

/* *ours non-blocking, *theirs of no number that a worker has for its ends. */
static enum kl_rc open_pair(int *ours, int *theirs, struct kl_err *err)
{
    int size = 4 * (int)sizeof(struct kl_job); /* a packet is a whole message, of which two wait */
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
        return kl_err_errno(err, "socketpair", "HSM worker");
    }
    *ours = fds[0];
    *theirs = fcntl(fds[1], F_DUPFD_CLOEXEC, KL_WORKER_ANSWERS_FD + 1);
    close(fds[1]);
    if (*theirs < 0 || fcntl(*ours, F_SETFL, O_NONBLOCK) != 0) {
        return kl_err_errno(err, "fcntl", "HSM worker");
    }
    (void)setsockopt(*ours, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    (void)setsockopt(*theirs, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return KL_OK;
}

static void close_if_open(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void kl_worker_hang_up(struct kl_worker_link *link)
{
    close_if_open(&link->jobs);
    close_if_open(&link->unread);
    close_if_open(&link->answers);
}

enum kl_rc kl_worker_spawn(struct kl_worker_link *link, pid_t *pid, struct kl_err *err)
{
    struct ends ends = {-1, -1};
    enum kl_rc rc = open_pair(&link->jobs, &link->unread, err);

    if (rc == KL_OK) {
        rc = open_pair(&link->answers, &ends.answers, err);
    }
    if (rc == KL_OK) {
        ends.jobs = link->unread;
        rc = execute(&ends, pid, err);
    }
    close_if_open(&ends.answers);
    return rc;
}

/* The loader at its token. */
struct station {
    struct kl_hsm *hsm;
    struct kl_loader *loader;
    struct kl_session *audit_session;
    struct kl_audit_key *audit_key; /* NULL: there was none when it was looked for */
    char audit_label[KL_JOB_TEXT_MAX];
};

static void station_close(struct station *station)
{
    kl_audit_key_close(station->audit_key);
    kl_session_free(station->audit_session);
    kl_loader_free(station->loader);
    kl_hsm_free(station->hsm);
}

/* Without the audit key a worker works on: an audit trail that is not signed stops no terminal. It
 * looks again when it is to sign. */
static enum kl_rc find_audit_key(struct station *station, struct kl_err *err)
{
    return station->audit_key != NULL
               ? KL_OK
               : kl_audit_key_open(station->audit_session, station->audit_label,
                                   &station->audit_key, err);
}

static enum kl_rc open_audit(struct station *station, const char *label, struct kl_err *err)
{
    struct kl_err why = KL_ERR_INIT;
    enum kl_rc rc = kl_session_open(kl_hsm_token(station->hsm), &station->audit_session, err);

    if (rc != KL_OK) {
        return rc;
    }
    snprintf(station->audit_label, sizeof(station->audit_label), "%s", label);
    rc = find_audit_key(station, &why);
    if (rc == KL_ERR_KEY) {
        kl_log(KL_LOG_WARN, "no-audit-key", KL_LOG_ERR(&why));
        return KL_OK;
    }
    if (rc != KL_OK) {
        *err = why;
    }
    return rc;
}

/* What the operator has accepted, each time anew: and what he need not have. */
static void log_weaknesses(const struct kl_weaknesses *weak, unsigned accept)
{
    for (enum kl_weakness i = 0; i < KL_WEAK_COUNT; i++) {
        if (weak->found & KL_WEAK_BIT(i)) {
            kl_log(KL_LOG_WARN, "hsm-weakness-accepted", KL_STR("weakness", kl_weakness_name(i)),
                   KL_STR("detail", weak->where[i]));
        } else if (accept & KL_WEAK_BIT(i)) {
            kl_log(KL_LOG_WARN, "hsm-accept-needless", KL_STR("weakness", kl_weakness_name(i)),
                   KL_STR("detail", "this module does not have it: take it out of accept"));
        }
    }
}

/* The loader opens the one session that it needs. */
static enum kl_rc station_open(struct station *station, const struct kl_job_setup *setup,
                               struct kl_err *err)
{
    const struct kl_hsm_where where = {
        .module = setup->module,
        .init_reserved = setup->init_reserved,
        .token = setup->token,
        .pin_source = setup->pin_source,
    };
    struct kl_loader_config loader = {
        .work_key_count = setup->work_keys.count,
        .storage_key = setup->storage_key,
        .binding_key = setup->binding_key,
        .audit_key = setup->audit_key,
        .strength_enforce = setup->strength_enforce != 0,
        .host_fallback = setup->host_fallback != 0,
        .session_copies = setup->session_copies != 0,
        .oaep_hash = setup->oaep_hash,
        .accept = setup->accept,
    };
    enum kl_rc rc = kl_hsm_open_token(&where, 0, &station->hsm, err);

    if (rc != KL_OK) {
        return rc;
    }
    for (uint32_t i = 0; i < setup->work_keys.count; i++) {
        loader.work_keys[i].label = setup->work_keys.want[i].label;
        loader.work_keys[i].optional = setup->work_keys.want[i].optional != 0;
    }
    rc = kl_loader_open(kl_hsm_token(station->hsm), &loader, &station->loader, err);
    if (rc != KL_OK) {
        return rc;
    }
    log_weaknesses(kl_loader_weaknesses(station->loader), setup->accept);
    return open_audit(station, setup->audit_key, err);
}

static enum kl_rc describe_key(const struct kl_loader_key *key, struct kl_job_key *out,
                               struct kl_err *err)
{
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(key->public_key, &der);

    if (len <= 0 || len > KL_JOB_SPKI_MAX) {
        OPENSSL_free(der);
        return kl_err_openssl(err, KL_ERR_INTERNAL, "i2d_PUBKEY", "public half of \"%s\"",
                              key->label);
    }
    snprintf(out->label, sizeof(out->label), "%s", key->label);
    out->suite = key->suite;
    out->oaep_hash = key->oaep_hash;
    out->spki_len = (uint32_t)len;
    memcpy(out->spki, der, (size_t)len);
    OPENSSL_free(der);
    return KL_OK;
}

static enum kl_rc describe(const struct station *station, struct kl_job_ready *out,
                           struct kl_err *err)
{
    struct kl_loader_key keys[KL_LOADER_KEYS_MAX];
    size_t count = kl_loader_keys(station->loader, keys);

    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < count; i++) {
        if (describe_key(&keys[i], &out->key[i], err) != KL_OK) {
            return err->rc;
        }
        out->count++;
    }
    out->weak = kl_loader_weaknesses(station->loader)->found;
    return kl_loader_check_values(station->loader, out->storage_check, out->binding_check, err);
}

enum kl_rc kl_worker_check(const struct kl_config *config, size_t hsm,
                           const struct kl_job_wants *work_keys, struct kl_job_ready *ready,
                           struct kl_err *err)
{
    struct station station = {0};
    struct kl_job *job = calloc(1, sizeof(*job));
    enum kl_rc rc;

    if (job == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "job buffer");
    }
    rc = kl_job_from_config(config, hsm, work_keys, job, err);
    if (rc == KL_OK) {
        rc = station_open(&station, &job->u.setup, err);
    }
    if (rc == KL_OK) {
        rc = describe(&station, ready, err);
    }
    station_close(&station);
    free(job);
    return rc;
}

static enum kl_rc send_ready(const struct station *station, struct kl_job *job, struct kl_err *err)
{
    memset(job, 0, sizeof(*job));
    job->kind = KL_JOB_READY;
    if (describe(station, &job->u.ready, err) != KL_OK) {
        return err->rc;
    }
    return kl_job_send(KL_WORKER_ANSWERS_FD, job, err);
}

static enum kl_rc send_failed(struct kl_job *job, const struct kl_err *cause, struct kl_err *err)
{
    memset(job, 0, sizeof(*job));
    job->kind = KL_JOB_FAILED;
    job->u.failed = *cause;
    return kl_job_send(KL_WORKER_ANSWERS_FD, job, err);
}

static enum kl_rc load(struct station *station, const struct kl_job_load *job,
                       struct kl_load_out *out, struct kl_err *err)
{
    const struct kl_load_in in = {
        .work_key = job->work_key,
        .hello = {job->bytes, job->hello_len},
        .certificate = {job->bytes + job->hello_len, job->certificate_len},
        .randoms = {job->bytes + job->hello_len + job->certificate_len, job->randoms_len},
        .alg = (enum kl_alg)job->alg,
        .tmk_version = job->tmk_version,
        .kcv_len = job->kcv_len,
        .tmk = job->tmk.cryptogram_len > 0 ? &job->tmk : NULL,
    };

    return kl_loader_run(station->loader, &in, out, err);
}

static enum kl_rc sign_in(struct station *station, const struct kl_job_sign_in *job,
                          struct kl_sign_in_out *out, struct kl_err *err)
{
    const struct kl_sign_in_in in = {
        .sign_in = {job->bytes, job->sign_in_len},
        .tmk_version = job->tmk_version,
        .tmk = &job->tmk,
        .kcv_len = job->kcv_len,
    };

    return kl_loader_sign_in(station->loader, &in, out, err);
}

static enum kl_rc sign_checkpoint(struct station *station, const struct kl_job_checkpoint *job,
                                  struct kl_job_signature *out, struct kl_err *err)
{
    struct kl_checkpoint checkpoint = {.id = job->record, .time = job->time};
    uint8_t tbs[KL_AUDIT_TBS_LEN];
    size_t len = 0;
    enum kl_rc rc = find_audit_key(station, err);

    if (rc != KL_OK) {
        return rc;
    }
    memcpy(checkpoint.hash, job->hash, sizeof(checkpoint.hash));
    kl_audit_tbs(job->store_id, &checkpoint, tbs);
    rc = kl_audit_key_sign(station->audit_key, tbs, sizeof(tbs), out->bytes, &len, err);
    if (rc == KL_OK) {
        memcpy(out->key, kl_audit_key_hash(station->audit_key), sizeof(out->key));
        out->len = (uint32_t)len;
    }
    return rc;
}

/* Does what *job says and sends the result; *fatal says that the HSM is in trouble. */
static enum kl_rc serve(struct station *station, const struct kl_job *job, struct kl_job *reply,
                        int *fatal, struct kl_err *err)
{
    struct kl_job_result *result = &reply->u.result;
    enum kl_rc rc;

    memset(result, 0, sizeof(*result));
    if (job->kind == KL_JOB_LOAD) {
        reply->kind = KL_JOB_RESULT;
        result->id = job->u.load.id;
        rc = load(station, &job->u.load, &result->out.load, &result->err);
    } else if (job->kind == KL_JOB_CHECKPOINT) {
        reply->kind = KL_JOB_SIGNED;
        result->id = job->u.checkpoint.id;
        rc = sign_checkpoint(station, &job->u.checkpoint, &result->out.signature, &result->err);
    } else {
        reply->kind = KL_JOB_KEYS;
        result->id = job->u.sign_in.id;
        rc = sign_in(station, &job->u.sign_in, &result->out.keys, &result->err);
    }
    /* That there is no audit key is no trouble. */
    *fatal = rc != KL_OK && kl_rc_is_hsm_trouble(rc) &&
             !(job->kind == KL_JOB_CHECKPOINT && rc == KL_ERR_KEY);
    result->fatal = (uint32_t)*fatal;
    rc = kl_job_send(KL_WORKER_ANSWERS_FD, reply, err);
    kl_wipe(result, sizeof(*result));
    return rc;
}

/* Keep-alive. */
static enum kl_rc answer_ping(struct station *station, const struct kl_job *job,
                              struct kl_job *reply, int *fatal, struct kl_err *err)
{
    memset(&reply->u.pong, 0, sizeof(reply->u.pong));
    reply->kind = KL_JOB_PONG;
    reply->u.pong.id = job->u.ping.id;
    *fatal = kl_loader_alive(station->loader, &reply->u.pong.err) != KL_OK;
    return kl_job_send(KL_WORKER_ANSWERS_FD, reply, err);
}

static enum kl_rc work(struct station *station, struct kl_job *job, struct kl_job *reply,
                       struct kl_err *err)
{
    int fatal = 0;

    while (!fatal) {
        enum kl_rc rc = kl_job_receive(KL_WORKER_JOBS_FD, job, err);
        if (rc != KL_OK) {
            return rc;
        }
        switch (job->kind) {
        case KL_JOB_LOAD:
        case KL_JOB_SIGN_IN:
        case KL_JOB_CHECKPOINT:
            rc = serve(station, job, reply, &fatal, err);
            break;
        case KL_JOB_PING:
            rc = answer_ping(station, job, reply, &fatal, err);
            break;
        default:
            rc = kl_err_set(err, KL_ERR_PROTOCOL, "unexpected job of kind %u", job->kind);
        }
        if (rc != KL_OK) {
            return rc;
        }
    }
    return KL_OK;
}

static enum kl_rc run(struct station *station, struct kl_job *job, struct kl_job *reply,
                      struct kl_err *err)
{
    enum kl_rc rc = kl_job_receive(KL_WORKER_JOBS_FD, job, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (job->kind != KL_JOB_SETUP) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "first job is of kind %u, not SETUP", job->kind);
    }
    kl_log_setup("keyloaderd", (enum kl_log_level)job->u.setup.log_level,
                 (enum kl_log_target)job->u.setup.log_target);
    rc = station_open(station, &job->u.setup, err);
    if (rc != KL_OK) {
        struct kl_err cause = *err;
        return send_failed(job, &cause, err); /* the network process logs it */
    }
    /* Only now: killed while it logs in, a worker can take the whole token along (pool_worker.c).
     * Until here the end of the network process is noticed at the next read of the socket. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    rc = send_ready(station, job, err);
    return rc == KL_OK ? work(station, job, reply, err) : rc;
}

int kl_worker_main(void)
{
    struct kl_err err = KL_ERR_INIT;
    struct station station = {0};
    struct kl_job *job = NULL, *reply = NULL;
    enum kl_rc rc;

    /* The network process decides what to do; a signal to the whole group is its. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (fcntl(KL_WORKER_JOBS_FD, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(KL_WORKER_ANSWERS_FD, F_SETFD, FD_CLOEXEC) != 0) {
        return kl_rc_exit_status(KL_ERR_USAGE);
    }
    rc = kl_secret_setup(&err);
    if (rc != KL_OK) {
        goto out;
    }
    job = calloc(1, sizeof(*job));
    reply = calloc(1, sizeof(*reply));
    if (job == NULL || reply == NULL) {
        rc = kl_err_set(&err, KL_ERR_MEMORY, "job buffers");
        goto out;
    }
    rc = run(&station, job, reply, &err);
    if (rc == KL_ERR_CLOSED) {
        rc = KL_OK; /* the usual end: the network process let go */
    }
out:
    if (rc != KL_OK) {
        kl_log(KL_LOG_ERROR, "worker-exit", KL_LOG_ERR(&err));
    }
    station_close(&station);
    free(job);
    free(reply);
    return kl_rc_exit_status(rc);
}
