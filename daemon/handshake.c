/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loader's side of the protocol: what each message of the terminal does, and what comes back
 * from the store thread and the HSM workers. Read it from the end: Hello, Randoms, Loaded.
 */
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/log.h"
#include "daemon/conn_impl.h"

void kl_exchange_free(struct kl_exchange *x)
{
    if (x != NULL) {
        free(x->hello_der);
        free(x->certificate_der);
        free(x->master_key_der);
        free(x);
    }
}

static uint8_t *copy_bytes(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len);

    if (copy != NULL) {
        memcpy(copy, data, len);
    }
    return copy;
}

/* The step that conn waited for is back: 1, and the peer has its answer, if it was refused. */
static int step_refused(struct kl_conn *conn, const struct kl_step *step)
{
    const struct kl_err *err = step->unit.rc != KL_OK ? &step->unit.err : &step->refusal_err;

    conn->step = NULL;
    if (err->rc == KL_OK) {
        return 0;
    }
    kl_conn_refuse(conn, err);
    return 1;
}

/* Hands a step to the store thread and waits for it. */
static enum kl_rc submit(struct kl_conn *conn, struct kl_step *step, enum kl_conn_state state,
                         struct kl_err *err)
{
    enum kl_rc rc = kl_step_submit(step, err);

    if (rc == KL_OK) {
        conn->step = step;
        kl_conn_enter(conn, state);
    }
    return rc;
}

/* ---- Confirming: Loaded or Confirm, then Done ---- */

static void on_confirmed(struct kl_step *step, void *owner)
{
    struct kl_conn *conn = owner;
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg = {.type = KL_MSG_DONE};

    if (step_refused(conn, step)) {
        return;
    }
    msg.u.done.verdict = (uint8_t)step->answer.verdict;
    msg.u.done.tmk_version = step->answer.tmk_version;
    memcpy(msg.u.done.mac, step->answer.mac, KL_MAC_LEN);
    if (kl_conn_send(conn, &msg, &err) != KL_OK) {
        kl_conn_refuse(conn, &err);
        return;
    }
    kl_log(KL_LOG_INFO, step->answer.changed ? "tmk-active" : "tmk-confirmed-again",
           KL_STR("address", conn->address), KL_STR("serial", conn->serial),
           KL_NUM("version", step->answer.tmk_version),
           KL_STR("verdict", step->answer.verdict == KL_VERDICT_ACTIVE ? "active" : "drop"),
           KL_NUM("ms", kl_conn_age_ms(conn)));
    kl_conn_finish(conn);
}

static enum kl_rc confirm(struct kl_conn *conn, uint32_t tmk_version,
                          const struct kl_loaded *loaded, struct kl_err *err)
{
    struct kl_step *step = kl_step_new(KL_STEP_CONFIRM, conn->service, on_confirmed, conn);

    if (step == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "store step");
    }
    memcpy(step->serial, conn->serial, sizeof(step->serial));
    step->tmk_version = tmk_version;
    step->loaded = *loaded;
    return submit(conn, step, KL_CONN_CONFIRMING, err);
}

static enum kl_rc got_confirm(struct kl_conn *conn, const struct kl_confirm *msg,
                              struct kl_err *err)
{
    memcpy(conn->serial, msg->serial, sizeof(conn->serial));
    if (msg->version != KL_PROTOCOL_VERSION) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "Confirm of protocol version %u", msg->version);
    }
    return confirm(conn, msg->tmk_version, &msg->loaded, err);
}

/* ---- The candidate: HSM, then store, then MasterKey ---- */

static void on_pending(struct kl_step *step, void *owner)
{
    struct kl_conn *conn = owner;
    struct kl_exchange *x = conn->exchange;
    struct kl_err err = KL_ERR_INIT;

    if (step_refused(conn, step)) {
        return;
    }
    if (kl_conn_send_der(conn, x->master_key_der, x->master_key_len, &err) != KL_OK) {
        kl_conn_refuse(conn, &err);
        return;
    }
    kl_conn_release_serial(conn);
    kl_log(KL_LOG_DEBUG, "tmk-pending", KL_STR("serial", conn->serial),
           KL_NUM("version", x->admission.version));
    kl_conn_enter(conn, KL_CONN_LOADED);
}

static enum kl_rc pend(struct kl_conn *conn, const struct kl_load_out *out, struct kl_err *err)
{
    struct kl_exchange *x = conn->exchange;
    struct kl_step *step;
    struct kl_tmk *tmk;

    x->master_key_der = copy_bytes(out->master_key, out->master_key_len);
    x->master_key_len = out->master_key_len;
    step = kl_step_new(KL_STEP_PEND, conn->service, on_pending, conn);
    if (x->master_key_der == NULL || step == NULL) {
        free(step);
        return kl_err_set(err, KL_ERR_MEMORY, "store step");
    }
    memcpy(step->serial, conn->serial, sizeof(step->serial));
    tmk = &step->candidate;
    memcpy(tmk->serial, conn->serial, sizeof(tmk->serial));
    memcpy(tmk->pinpad_serial, x->hello.pinpad_serial, sizeof(tmk->pinpad_serial));
    tmk->version = x->admission.version;
    tmk->alg = x->admission.alg;
    tmk->kcv_len = out->kcv_len;
    memcpy(tmk->kcv, out->kcv, sizeof(tmk->kcv));
    tmk->cryptogram_len = out->cryptogram_len;
    memcpy(tmk->cryptogram, out->cryptogram, sizeof(tmk->cryptogram));
    memcpy(tmk->ack_mac, out->ack_mac, KL_MAC_LEN);
    memcpy(tmk->active_mac, out->active_mac, KL_MAC_LEN);
    memcpy(tmk->drop_mac, out->drop_mac, KL_MAC_LEN);
    return submit(conn, step, KL_CONN_PENDING, err);
}

static void on_hsm_done(const struct kl_job_result *result, void *arg)
{
    struct kl_conn *conn = arg;
    struct kl_err err = result->err;

    conn->ticket = NULL;
    if (err.rc == KL_OK && pend(conn, &result->out, &err) == KL_OK) {
        return;
    }
    if (err.rc == KL_ERR_VERIFY) {
        kl_step_report(conn->service, KL_STEP_SPOILT, conn->serial, &err);
    }
    kl_conn_refuse(conn, &err);
}

static enum kl_rc got_randoms(struct kl_conn *conn, const uint8_t *der, size_t len,
                              struct kl_err *err)
{
    struct kl_exchange *x = conn->exchange;
    struct kl_job_load load;
    uint8_t *to = load.bytes;

    load.suite = KL_SUITE_HARDENED_RSA;
    load.alg = x->admission.alg;
    load.tmk_version = x->admission.version;
    load.kcv_len = (uint32_t)conn->service->config->kcv_length;
    load.hello_len = (uint32_t)x->hello_len;
    load.certificate_len = (uint32_t)x->certificate_len;
    load.randoms_len = (uint32_t)len;
    memcpy(to, x->hello_der, x->hello_len);
    to += x->hello_len;
    memcpy(to, x->certificate_der, x->certificate_len);
    to += x->certificate_len;
    memcpy(to, der, len);
    if (!kl_conn_claim_serial(conn)) {
        (void)kl_err_set(err, KL_ERR_BUSY, "another load of this terminal is with the HSM");
        kl_step_report(conn->service, KL_STEP_FAILED, conn->serial, err);
        return err->rc;
    }
    kl_conn_enter(conn, KL_CONN_HSM);
    return kl_pool_submit(conn->service->pool, &load, on_hsm_done, conn, &conn->ticket, err);
}

/* ---- Hello, then Certificate ---- */

static enum kl_rc send_certificate(struct kl_conn *conn, struct kl_err *err)
{
    const struct kl_service *service = conn->service;
    struct kl_exchange *x = conn->exchange;
    struct kl_msg msg = {.type = KL_MSG_CERTIFICATE};
    uint8_t der[KL_MSG_MAX];
    size_t len;
    enum kl_rc rc;

    msg.u.certificate.suite = KL_SUITE_HARDENED_RSA;
    msg.u.certificate.oaep_hash = (uint8_t)service->oaep_hash;
    msg.u.certificate.chain_count = service->chain_count;
    memcpy(msg.u.certificate.chain, service->chain, sizeof(service->chain));
    if (RAND_bytes(msg.u.certificate.nonce, KL_HASH_LEN) != 1) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "RAND_bytes", "session nonce");
    }
    rc = kl_msg_encode(&msg, der, &len, err);
    if (rc != KL_OK) {
        return rc;
    }
    x->certificate_der = copy_bytes(der, len);
    x->certificate_len = len;
    if (x->certificate_der == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "Certificate message");
    }
    return kl_conn_send_der(conn, der, len, err);
}

/* The registered algorithm: does the PIN pad take it, may our work key carry it? */
static enum kl_rc check_algorithm(const struct kl_conn *conn, struct kl_err *err)
{
    const struct kl_service *service = conn->service;
    const struct kl_hello *hello = &conn->exchange->hello;
    enum kl_alg alg = conn->exchange->admission.alg;

    if (memchr(hello->algs, (int)alg, hello->alg_count) == NULL) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED,
                          "the PIN pad does not take %s, which is registered for the terminal",
                          kl_alg_info(alg)->name);
    }
    if (service->config->strength_enforce) {
        return kl_alg_strength(service->key_type, service->key_bits, alg, err);
    }
    return KL_OK;
}

static void on_admitted(struct kl_step *step, void *owner)
{
    struct kl_conn *conn = owner;
    struct kl_exchange *x = conn->exchange;
    struct kl_err err = KL_ERR_INIT;

    if (step_refused(conn, step)) {
        return;
    }
    x->admission = step->admission;
    if (check_algorithm(conn, &err) != KL_OK) {
        kl_step_report(conn->service, KL_STEP_FAILED, conn->serial, &err);
        kl_conn_refuse(conn, &err);
        return;
    }
    if (send_certificate(conn, &err) != KL_OK) {
        kl_conn_refuse(conn, &err);
        return;
    }
    kl_conn_enter(conn, KL_CONN_RANDOMS);
}

static enum kl_rc got_hello(struct kl_conn *conn, const struct kl_hello *hello, const uint8_t *der,
                            size_t len, struct kl_err *err)
{
    struct kl_exchange *x;
    struct kl_step *step;

    memcpy(conn->serial, hello->serial, sizeof(conn->serial));
    if (hello->version != KL_PROTOCOL_VERSION) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "Hello of protocol version %u", hello->version);
    }
    if (memchr(hello->suites, KL_SUITE_HARDENED_RSA, hello->suite_count) == NULL) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "no suite in common; this loader has %s",
                          kl_suite_name(KL_SUITE_HARDENED_RSA));
    }
    conn->exchange = x = calloc(1, sizeof(*x));
    if (x == NULL || (x->hello_der = copy_bytes(der, len)) == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "load state");
    }
    x->hello = *hello;
    x->hello_len = len;
    step = kl_step_new(KL_STEP_ADMIT, conn->service, on_admitted, conn);
    if (step == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "store step");
    }
    memcpy(step->serial, hello->serial, sizeof(step->serial));
    memcpy(step->pinpad_serial, hello->pinpad_serial, sizeof(step->pinpad_serial));
    return submit(conn, step, KL_CONN_ADMITTING, err);
}

/* ---- Which message where ---- */

/* The terminal gave up: no reply. Its reason is a hint and nothing more; the candidate, if there
 * is one, stays pending until it expires, since anybody on the LAN could have sent this. */
static void got_failed(struct kl_conn *conn, const struct kl_failed *failed)
{
    struct kl_err err = KL_ERR_INIT;

    (void)kl_err_set(&err, KL_ERR_PEER, "terminal reports %s", kl_wire_name(failed->reason));
    kl_service_log_peer(conn->service, "terminal-failed", conn->address, conn->serial, &err);
    kl_step_report(conn->service, KL_STEP_FAILED, conn->serial, &err);
    kl_conn_finish(conn);
}

enum kl_rc kl_handshake_message(struct kl_conn *conn, const uint8_t *der, size_t len,
                                struct kl_err *err)
{
    struct kl_msg msg;
    enum kl_rc rc = kl_msg_decode(der, len, &msg, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (conn->state == KL_CONN_FIRST && msg.type == KL_MSG_HELLO) {
        return got_hello(conn, &msg.u.hello, der, len, err);
    }
    if (conn->state == KL_CONN_FIRST && msg.type == KL_MSG_CONFIRM) {
        return got_confirm(conn, &msg.u.confirm, err);
    }
    if (conn->state == KL_CONN_RANDOMS && msg.type == KL_MSG_RANDOMS) {
        return got_randoms(conn, der, len, err);
    }
    if (conn->state == KL_CONN_LOADED && msg.type == KL_MSG_LOADED) {
        return confirm(conn, conn->exchange->admission.version, &msg.u.loaded, err);
    }
    if ((conn->state == KL_CONN_RANDOMS || conn->state == KL_CONN_LOADED) &&
        msg.type == KL_MSG_FAILED) {
        got_failed(conn, &msg.u.failed);
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_PROTOCOL, "%s is out of order here", kl_msg_name(msg.type));
}
