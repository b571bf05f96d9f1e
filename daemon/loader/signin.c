/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sign-in: a terminal that has an active TMK gets working keys under it. Nothing but the TMK
 * authenticates either side: WorkingKeys is of use only to who has it, and only its holder can
 * answer with the right Loaded. Until that has come and is durable, the keys of before stay
 * current.
 */
#include <openssl/crypto.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "conf/log.h"
#include "daemon/loader/conn_impl.h"
#include "proto/secret.h"

struct kl_conn_signin {
    struct kl_sign_in msg;
    struct kl_working working; /* what becomes current */
    uint8_t ack_mac[KL_MAC_LEN], active_mac[KL_MAC_LEN];
    uint64_t number; /* of the WorkingKeys that were sent */
    size_t der_len;
    uint8_t der[KL_MSG_MAX]; /* of SignIn */
};

void kl_conn_signin_free(struct kl_conn_signin *signing)
{
    if (signing != NULL) {
        kl_wipe(signing, sizeof(*signing));
        free(signing);
    }
}

/* What peers can cause is an alarm as well, and a store that somebody else has written. */
static void report(struct kl_conn *conn, const struct kl_err *err)
{
    kl_step_report(conn->service, KL_STEP_FAILED, KL_ALARM_SIGN_IN, conn->serial, err);
}

/* ---- Loaded, then Done ---- */

static void on_taken(struct kl_step *step, void *owner)
{
    struct kl_conn *conn = owner;
    const struct kl_conn_signin *signing = conn->signing;
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg = {.type = KL_MSG_DONE};

    if (kl_conn_step_refused(conn, step)) {
        return;
    }
    msg.u.done.verdict = KL_VERDICT_ACTIVE;
    msg.u.done.tmk_version = signing->msg.tmk_version;
    memcpy(msg.u.done.mac, signing->active_mac, KL_MAC_LEN);
    if (kl_conn_send(conn, &msg, &err) != KL_OK) {
        kl_conn_refuse(conn, &err);
        return;
    }
    kl_log(KL_LOG_INFO, "signed-in", KL_STR("address", conn->address),
           KL_STR("serial", conn->serial), KL_NUM("version", signing->msg.tmk_version),
           KL_NUM("ms", kl_conn_age_ms(conn)));
    kl_conn_over(conn, KL_OUTCOME_DONE);
    kl_conn_finish(conn);
}

static enum kl_rc check_loaded(const struct kl_conn_signin *signing, const struct kl_loaded *loaded,
                               struct kl_err *err)
{
    const struct kl_stored_key *pik = &signing->working.pik;

    if (loaded->kcv_len != pik->kcv_len ||
        CRYPTO_memcmp(loaded->kcv, pik->kcv, pik->kcv_len) != 0) {
        return kl_err_set(err, KL_ERR_VERIFY, "the terminal's KCV of the PIK is another");
    }
    if (CRYPTO_memcmp(loaded->mac, signing->ack_mac, KL_MAC_LEN) != 0) {
        return kl_err_set(err, KL_ERR_VERIFY, "the MAC of the sign-in's Loaded is wrong");
    }
    return KL_OK;
}

/* A terminal has one sign-in at a time: this good Loaded says that it has given up those before. A
 * Loaded of one of them, held back on its way, would make the loader's keys others than the
 * terminal's. */
static void end_older(const struct kl_conn *conn)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_conn *other = NULL;

    (void)kl_err_set(&err, KL_ERR_REFUSED, "a later sign-in of this terminal came first");
    while ((other = kl_conn_other(conn, other)) != NULL) {
        if (other->state == KL_CONN_KEYS_SENT && other->signing->number < conn->signing->number) {
            kl_conn_refuse(other, &err);
        }
    }
}

enum kl_rc kl_conn_signin_loaded(struct kl_conn *conn, const struct kl_loaded *loaded,
                                 struct kl_err *err)
{
    const struct kl_conn_signin *signing = conn->signing;
    struct kl_step *step;

    if (check_loaded(signing, loaded, err) != KL_OK) {
        report(conn, err);
        return err->rc;
    }
    end_older(conn);
    step = kl_step_new(KL_STEP_SIGNED_IN, conn->service, on_taken, conn);
    if (step == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "store step");
    }
    memcpy(step->serial, conn->serial, sizeof(step->serial));
    step->working = signing->working;
    return kl_conn_submit(conn, step, KL_CONN_KEYS_TAKING, err);
}

/* ---- The HSM, then WorkingKeys ---- */

static void on_keys(const struct kl_job_result *result, void *arg)
{
    struct kl_conn *conn = arg;
    struct kl_conn_signin *signing = conn->signing;
    const struct kl_sign_in_out *out = &result->out.keys;
    struct kl_err err = result->err;

    conn->ticket = NULL;
    kl_conn_release_serial(conn);
    if (err.rc == KL_OK && kl_conn_send_der(conn, out->message, out->message_len, &err) == KL_OK) {
        memcpy(signing->working.serial, conn->serial, sizeof(signing->working.serial));
        signing->working.tmk_version = signing->msg.tmk_version;
        signing->working.pik = out->pik;
        signing->working.mak = out->mak;
        memcpy(signing->ack_mac, out->ack_mac, KL_MAC_LEN);
        memcpy(signing->active_mac, out->active_mac, KL_MAC_LEN);
        signing->number = ++conn->service->working_keys_sent;
        kl_conn_enter(conn, KL_CONN_KEYS_SENT);
        return;
    }
    if (err.rc == KL_ERR_UNSUPPORTED || err.rc == KL_ERR_VERIFY || err.rc == KL_ERR_STORE) {
        report(conn, &err);
    }
    kl_conn_refuse(conn, &err);
}

static enum kl_rc ask_for_working_keys(struct kl_conn *conn, const struct kl_tmk *tmk,
                                       struct kl_err *err)
{
    const struct kl_conn_signin *signing = conn->signing;
    struct kl_job job;
    struct kl_job_sign_in *in = &job.u.sign_in;

    memset(&job, 0, offsetof(struct kl_job, u.sign_in.bytes)); /* what follows is long */
    job.kind = KL_JOB_SIGN_IN;
    in->tmk_version = tmk->version;
    in->kcv_len = signing->msg.format == KL_FORMAT_FIELD62 ? KL_KCV_LEN_MAX
                                                           : (uint32_t)conn->config->kcv_length;
    in->tmk = kl_tmk_key(tmk);
    in->sign_in_len = (uint32_t)signing->der_len;
    memcpy(in->bytes, signing->der, signing->der_len);
    if (!kl_conn_claim_serial(conn)) {
        (void)kl_err_set(err, KL_ERR_BUSY, "another sign-in of this terminal is with the HSM");
        report(conn, err);
        return err->rc;
    }
    kl_conn_enter(conn, KL_CONN_KEYS_HSM);
    return kl_pool_submit(conn->service->pool, &job, on_keys, conn, &conn->ticket, err);
}

/* ---- SignIn ---- */

static void on_admitted(struct kl_step *step, void *owner)
{
    struct kl_conn *conn = owner;
    struct kl_err err = KL_ERR_INIT;

    if (!kl_conn_step_refused(conn, step) &&
        ask_for_working_keys(conn, &step->tmk, &err) != KL_OK) {
        kl_conn_refuse(conn, &err);
    }
}

enum kl_rc kl_conn_signin_begin(struct kl_conn *conn, const struct kl_sign_in *msg,
                                const uint8_t *der, size_t len, struct kl_err *err)
{
    struct kl_conn_signin *signing;
    struct kl_step *step;

    kl_conn_name(conn, msg->serial);
    if (msg->version != KL_PROTOCOL_VERSION) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "SignIn of protocol version %u", msg->version);
    }
    conn->signing = signing = calloc(1, sizeof(*signing));
    if (signing == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "sign-in");
    }
    if (kl_pool_room(conn->service->pool, KL_JOB_SIGN_IN, 0, err) != KL_OK) {
        return err->rc;
    }
    step = kl_step_new(KL_STEP_SIGN_IN, conn->service, on_admitted, conn);
    if (step == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "store step");
    }
    signing->msg = *msg;
    signing->der_len = len;
    memcpy(signing->der, der, len);
    memcpy(step->serial, msg->serial, sizeof(step->serial));
    memcpy(step->pinpad_serial, msg->pinpad_serial, sizeof(step->pinpad_serial));
    step->tmk_version = msg->tmk_version;
    return kl_conn_submit(conn, step, KL_CONN_KEYS_ADMITTING, err);
}
