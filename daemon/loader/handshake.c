/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loader's side of a load: what each message of the terminal does, and what comes back from the
 * store thread and the HSM workers. Read it from the end: Hello, Randoms, Loaded.
 */
#include <openssl/rand.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/log.h"
#include "daemon/loader/conn_impl.h"
#include "proto/pubkey.h"
#include "proto/transcript.h"

void kl_exchange_free(struct kl_exchange *x)
{
    if (x != NULL) {
        EVP_PKEY_free(x->device_key);
        kl_trust_free(x->trust);
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

/* Who the terminal says it is, for a step that admits it. */
static void put_claim(const struct kl_conn *conn, struct kl_step *step)
{
    const struct kl_exchange *x = conn->exchange;

    memcpy(step->serial, conn->serial, sizeof(step->serial));
    memcpy(step->pinpad_serial, x->hello.pinpad_serial, sizeof(step->pinpad_serial));
    step->authenticated = x->device_key != NULL;
    memcpy(step->device_key, x->device_key_hash, sizeof(step->device_key));
}

/* A refusal that is an alarm as well. */
static void report(struct kl_conn *conn, enum kl_step_kind kind, const struct kl_err *err)
{
    kl_step_report(conn->service, kind, KL_ALARM_LOAD, conn->serial, err);
}

/* ---- Confirming: Loaded or Confirm, then Done ---- */

static void on_confirmed(struct kl_step *step, void *owner)
{
    struct kl_conn *conn = owner;
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg = {.type = KL_MSG_DONE};

    if (kl_conn_step_refused(conn, step)) {
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
    kl_conn_over(conn,
                 step->answer.verdict == KL_VERDICT_ACTIVE ? KL_OUTCOME_DONE : KL_OUTCOME_DROPPED);
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
    return kl_conn_submit(conn, step, KL_CONN_CONFIRMING, err);
}

static enum kl_rc got_confirm(struct kl_conn *conn, const struct kl_confirm *msg,
                              struct kl_err *err)
{
    kl_conn_name(conn, msg->serial);
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

    if (kl_conn_step_refused(conn, step)) {
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
    put_claim(conn, step);
    step->policy.candidate_lifetime = conn->config->candidate_lifetime;
    tmk = &step->candidate;
    tmk->version = x->admission.version;
    tmk->imported = x->admission.imported;
    tmk->alg = x->admission.alg;
    tmk->kcv_len = out->kcv_len;
    memcpy(tmk->kcv, out->kcv, sizeof(tmk->kcv));
    tmk->cryptogram_len = out->cryptogram_len;
    memcpy(tmk->cryptogram, out->cryptogram, sizeof(tmk->cryptogram));
    memcpy(tmk->binding, out->binding, KL_MAC_LEN);
    memcpy(tmk->ack_mac, out->ack_mac, KL_MAC_LEN);
    memcpy(tmk->active_mac, out->active_mac, KL_MAC_LEN);
    memcpy(tmk->drop_mac, out->drop_mac, KL_MAC_LEN);
    return kl_conn_submit(conn, step, KL_CONN_PENDING, err);
}

static void on_hsm_done(const struct kl_job_result *result, void *arg)
{
    struct kl_conn *conn = arg;
    struct kl_err err = result->err;

    conn->ticket = NULL;
    kl_conn_end_admitted(conn);
    if (err.rc == KL_OK && pend(conn, &result->out.load, &err) == KL_OK) {
        return;
    }
    if (err.rc == KL_ERR_VERIFY) {
        report(conn, KL_STEP_SPOILT, &err);
    } else if (err.rc == KL_ERR_PROTOCOL || result->err.rc == KL_ERR_STORE) {
        /* Randoms for another Certificate than ours; a store that somebody else has written. */
        report(conn, KL_STEP_FAILED, &err);
    }
    kl_conn_refuse(conn, &err);
}

/* Randoms.signature by the device key of the certificate that Hello showed. */
static enum kl_rc check_proof(const struct kl_exchange *x, const struct kl_randoms *randoms,
                              struct kl_err *err)
{
    struct kl_msg bare = {.type = KL_MSG_RANDOMS};
    struct kl_transcript *transcript = NULL;
    uint8_t t0[KL_HASH_LEN], der[KL_MSG_MAX], input[KL_PROOF_INPUT_MAX];
    size_t len = 0;
    enum kl_rc rc;

    if (randoms->sig_len == 0) {
        return kl_err_set(err, KL_ERR_VERIFY, "Randoms is not signed by the device key");
    }
    bare.u.randoms = *randoms;
    bare.u.randoms.sig_len = 0;
    rc = kl_msg_encode(&bare, der, &len, err);
    if (rc == KL_OK) {
        rc = kl_transcript_new(&transcript, err);
    }
    if (rc == KL_OK) {
        rc = kl_transcript_add(transcript, x->hello_der, x->hello_len, err);
    }
    if (rc == KL_OK) {
        rc = kl_transcript_add(transcript, x->certificate_der, x->certificate_len, err);
    }
    if (rc == KL_OK) {
        rc = kl_transcript_hash(transcript, t0, err);
    }
    if (rc == KL_OK) {
        len = kl_suite_proof_input(t0, der, len, input);
        rc = kl_pubkey_verify(x->device_key, randoms->sig, randoms->sig_len, input, len, err);
    }
    kl_transcript_free(transcript);
    return rc == KL_OK ? rc : kl_err_context(err, "the device key's signature");
}

static enum kl_rc ask_for_master_key(struct kl_conn *conn, const uint8_t *der, size_t len,
                                     struct kl_err *err)
{
    const struct kl_exchange *x = conn->exchange;
    struct kl_job job;
    struct kl_job_load *load = &job.u.load;
    uint8_t *to = load->bytes;

    memset(&job, 0, offsetof(struct kl_job, u.load.bytes)); /* what follows is 48 KiB */
    job.kind = KL_JOB_LOAD;
    memcpy(load->work_key, x->chain->label, sizeof(load->work_key));
    load->alg = x->admission.alg;
    load->tmk_version = x->admission.version;
    load->kcv_len = (uint32_t)conn->config->kcv_length;
    if (x->admission.imported) {
        load->tmk = x->admission.key;
    }
    load->hello_len = (uint32_t)x->hello_len;
    load->certificate_len = (uint32_t)x->certificate_len;
    load->randoms_len = (uint32_t)len;
    memcpy(to, x->hello_der, x->hello_len);
    to += x->hello_len;
    memcpy(to, x->certificate_der, x->certificate_len);
    to += x->certificate_len;
    memcpy(to, der, len);
    return kl_pool_submit(conn->service->pool, &job, on_hsm_done, conn, &conn->ticket, err);
}

static enum kl_rc got_randoms(struct kl_conn *conn, const struct kl_randoms *randoms,
                              const uint8_t *der, size_t len, struct kl_err *err)
{
    const struct kl_exchange *x = conn->exchange;

    if (x->device_key != NULL && check_proof(x, randoms, err) != KL_OK) {
        report(conn, KL_STEP_FAILED, err);
        return err->rc;
    }
    if (!kl_conn_claim_serial(conn)) {
        (void)kl_err_set(err, KL_ERR_BUSY, "another load of this terminal is with the HSM");
        report(conn, KL_STEP_FAILED, err);
        return err->rc;
    }
    kl_conn_enter(conn, KL_CONN_HSM);
    return ask_for_master_key(conn, der, len, err);
}

/* ---- Hello, then Certificate ---- */

static enum kl_rc send_certificate(struct kl_conn *conn, struct kl_err *err)
{
    struct kl_exchange *x = conn->exchange;
    const struct kl_trust_entry *chain = x->chain;
    struct kl_msg msg = {.type = KL_MSG_CERTIFICATE};
    uint8_t der[KL_MSG_MAX];
    size_t len;
    enum kl_rc rc;

    msg.u.certificate.suite = (uint8_t)chain->suite;
    msg.u.certificate.oaep_hash = (uint8_t)chain->oaep_hash;
    msg.u.certificate.chain_count = chain->chain_count;
    memcpy(msg.u.certificate.chain, chain->chain, sizeof(chain->chain));
    msg.u.certificate.crl = chain->crl;
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

/* The registered algorithm: does the PIN pad take it, and which chain may carry it? */
static enum kl_rc pick_chain(struct kl_conn *conn, struct kl_err *err)
{
    struct kl_exchange *x = conn->exchange;
    enum kl_alg alg = x->admission.alg;

    if (memchr(x->hello.algs, (int)alg, x->hello.alg_count) == NULL) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED,
                          "the PIN pad does not take %s, which is registered for the terminal",
                          kl_alg_info(alg)->name);
    }
    return kl_trust_pick(x->trust, conn->config, &x->hello, alg, time(NULL), &x->chain, err);
}

static void on_admitted(struct kl_step *step, void *owner)
{
    struct kl_conn *conn = owner;
    struct kl_err err = KL_ERR_INIT;

    if (kl_conn_step_refused(conn, step)) {
        return;
    }
    conn->exchange->admission = step->admission;
    if (pick_chain(conn, &err) != KL_OK) {
        if (err.rc != KL_ERR_UNAVAILABLE) { /* which is our own trouble */
            report(conn, KL_STEP_FAILED, &err);
        }
        kl_conn_refuse(conn, &err);
        return;
    }
    if (send_certificate(conn, &err) != KL_OK) {
        kl_conn_refuse(conn, &err);
        return;
    }
    kl_conn_enter(conn, KL_CONN_RANDOMS);
}

/* The terminal's certificate, if it needs one or shows one that we can verify. */
static enum kl_rc check_terminal(struct kl_conn *conn, struct kl_err *err)
{
    struct kl_exchange *x = conn->exchange;
    int needed = conn->config->terminal_auth == KL_TERMINAL_CERTIFICATE;
    enum kl_rc rc;

    if (!needed && (x->hello.chain_count == 0 || !kl_trust_knows_terminals(x->trust))) {
        return KL_OK;
    }
    rc = kl_trust_terminal(x->trust, &x->hello, time(NULL), &x->device_key, err);
    if (rc == KL_OK) {
        rc = kl_pubkey_hash(x->device_key, x->device_key_hash, err);
    }
    if (rc != KL_OK) {
        report(conn, KL_STEP_FAILED, err);
    }
    return rc;
}

/* Keeps the message, and hello as what it says: its slices must borrow from what is kept. */
static enum kl_rc keep_hello(struct kl_exchange *x, const struct kl_hello *hello,
                             const uint8_t *der, size_t len, struct kl_err *err)
{
    x->hello_der = copy_bytes(der, len);
    if (x->hello_der == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "load state");
    }
    x->hello_len = len;
    x->hello = *hello;
    for (size_t i = 0; i < hello->chain_count; i++) {
        x->hello.chain[i].data = x->hello_der + (hello->chain[i].data - der);
    }
    return KL_OK;
}

static enum kl_rc got_hello(struct kl_conn *conn, const struct kl_hello *hello, const uint8_t *der,
                            size_t len, struct kl_err *err)
{
    struct kl_exchange *x;
    struct kl_step *step;

    kl_conn_name(conn, hello->serial);
    if (hello->version != KL_PROTOCOL_VERSION) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "Hello of protocol version %u", hello->version);
    }
    conn->exchange = x = calloc(1, sizeof(*x));
    if (x == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "load state");
    }
    if (kl_pool_room(conn->service->pool, KL_JOB_LOAD, conn->service->coming, err) != KL_OK) {
        return err->rc;
    }
    x->trust = kl_trust_ref(conn->service->trust);
    if (keep_hello(x, hello, der, len, err) != KL_OK || check_terminal(conn, err) != KL_OK) {
        return err->rc;
    }
    step = kl_step_new(KL_STEP_ADMIT, conn->service, on_admitted, conn);
    if (step == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "store step");
    }
    put_claim(conn, step);
    return kl_conn_submit(conn, step, KL_CONN_ADMITTING, err);
}

/* ---- Which message where ---- */

/* The terminal gave up: no reply. Its reason is a hint and nothing more; the candidate, if there
 * is one, stays pending until it expires, since anybody on the LAN could have sent this. */
static void got_failed(struct kl_conn *conn, const struct kl_failed *failed)
{
    struct kl_err err = KL_ERR_INIT;

    (void)kl_err_set(&err, KL_ERR_PEER, "terminal reports %s", kl_wire_name(failed->reason));
    kl_service_log_peer(conn->service, "terminal-failed", conn->address, conn->serial, &err);
    kl_step_report(conn->service, KL_STEP_FAILED,
                   conn->signing != NULL ? KL_ALARM_SIGN_IN : KL_ALARM_LOAD, conn->serial, &err);
    kl_conn_over(conn, KL_OUTCOME_FAILED);
    kl_conn_finish(conn);
}

enum kl_rc kl_handshake_message(struct kl_conn *conn, const uint8_t *der, size_t len,
                                struct kl_err *err)
{
    struct kl_msg msg;
    enum kl_rc rc = kl_msg_decode(der, len, &msg, err);

    if (rc != KL_OK) {
        conn->service->metrics.malformed++;
        return rc;
    }
    switch (conn->state) {
    case KL_CONN_FIRST:
        if (msg.type == KL_MSG_HELLO) {
            return got_hello(conn, &msg.u.hello, der, len, err);
        }
        if (msg.type == KL_MSG_CONFIRM) {
            return got_confirm(conn, &msg.u.confirm, err);
        }
        if (msg.type == KL_MSG_SIGN_IN) {
            return kl_conn_signin_begin(conn, &msg.u.sign_in, der, len, err);
        }
        break;
    case KL_CONN_RANDOMS:
        if (msg.type == KL_MSG_RANDOMS) {
            return got_randoms(conn, &msg.u.randoms, der, len, err);
        }
        break;
    case KL_CONN_LOADED:
        if (msg.type == KL_MSG_LOADED) {
            return confirm(conn, conn->exchange->admission.version, &msg.u.loaded, err);
        }
        break;
    case KL_CONN_KEYS_SENT:
        if (msg.type == KL_MSG_LOADED) {
            return kl_conn_signin_loaded(conn, &msg.u.loaded, err);
        }
        break;
    default:
        break;
    }
    if (conn->state != KL_CONN_FIRST && msg.type == KL_MSG_FAILED) {
        got_failed(conn, &msg.u.failed);
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_PROTOCOL, "%s is out of order here", kl_msg_name(msg.type));
}
