/* SPDX-License-Identifier: BSD-2-Clause */
/* The terminal's protocol engine: S4, S5, S8, S9 and Confirm, as in load.h. */
#include "terminal-sim/load.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/secret.h"
#include "proto/transcript.h"
#include "terminal-sim/ack.h"
#include "terminal-sim/auth.h"
#include "terminal-sim/judge.h"
#include "terminal-sim/pinpad/random.h"
#include "terminal-sim/refusal.h"
#include "terminal-sim/suite.h"

enum state {
    STATE_NEW,
    STATE_WAIT_CERTIFICATE,
    STATE_WAIT_MASTER_KEY,
    STATE_WAIT_DONE, /* after Loaded or Confirm */
    STATE_OVER,
};

struct kl_terminal_load {
    struct kl_terminal_load_params params;
    enum state state;
    struct kl_transcript *transcript;
    const struct kl_terminal_suite *suite; /* the chosen one */
    struct kl_auth_work work;              /* AcquireWCRT, verified */
    struct kl_terminal_load_facts facts;
    uint8_t rnd2[KL_RND2_LEN];
    uint8_t t1[KL_HASH_LEN];
    uint32_t version_floor;
    int has_candidate;
    struct kl_candidate candidate;
    enum kl_verdict verdict;
};

__attribute__((format(printf, 2, 3))) static void trace(const struct kl_terminal_load *load,
                                                        const char *fmt, ...)
{
    char line[2 * KL_NAME_MAX + 128];
    va_list args;

    if (!load->params.trace) {
        return;
    }
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    load->params.trace(load->params.arg, line);
}

/* Encodes a message that belongs to the transcript. */
static enum kl_rc emit(struct kl_terminal_load *load, const struct kl_msg *msg,
                       uint8_t out[KL_MSG_MAX], size_t *out_len, struct kl_err *err)
{
    size_t len;
    enum kl_rc rc = kl_msg_encode(msg, out, &len, err);

    if (!rc) {
        rc = kl_transcript_add(load->transcript, out, len, err);
    }
    if (!rc) {
        *out_len = len;
    }
    return rc;
}

/* ---- S4 and S5: Certificate in, Randoms out ---- */

static enum kl_rc find_suite(struct kl_terminal_load *load, unsigned id, struct kl_err *err)
{
    for (size_t i = 0; i < load->params.suite_count; i++) {
        if (load->params.suites[i] == id) {
            load->suite = kl_terminal_suite_of(id); /* kl_terminal_load_new has seen it */
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_UNSUPPORTED, "S4: the loader chose suite %u, not offered", id);
}

/* S4: AcquireWCRT, and a suite that is ours and its key's. */
static enum kl_rc authenticate(struct kl_terminal_load *load,
                               const struct kl_certificate *certificate, struct kl_err *err)
{
    struct kl_auth_work *work = &load->work;
    struct kl_terminal_load_facts *facts = &load->facts;
    char key[KL_KEY_NAME_TEXT];
    const struct kl_terminal_load_params *params = &load->params;
    enum kl_rc rc = find_suite(load, certificate->suite, err);

    if (!rc && params->memo) {
        rc = kl_auth_verify_once(params->memo, certificate, params->now, work, err);
    } else if (!rc) {
        rc = kl_auth_verify(certificate, params->roots, params->now, work, err);
    }
    if (rc) {
        return rc;
    }
    kl_key_name(kl_pubkey_is(work->key), kl_pubkey_bits(work->key), key);
    if (kl_suite_key_type(load->suite->id) != kl_pubkey_is(work->key)) {
        return kl_err_set(err, KL_ERR_CERT, "S4: the loader chose %s, but AcquireWCRT's key is %s",
                          kl_suite_name(load->suite->id), key);
    }
    facts->suite = load->suite->id;
    facts->has_crl = work->has_crl;
    memcpy(facts->subject, work->subject, sizeof(facts->subject));
    memcpy(facts->anchor, work->anchor, sizeof(facts->anchor));
    trace(load,
          "S4 verified AcquireWCRT subject=\"%s\" key=%s chain=%zu suite=%s anchor=\"%s\" crl=%s",
          work->subject, key, certificate->chain_count, kl_suite_name(certificate->suite),
          work->anchor, work->has_crl ? "stapled" : "none");
    return KL_OK;
}

/* With a certificate of our own: proof that C_rnd1_rnd2 is from its owner. */
static enum kl_rc prove(struct kl_terminal_load *load, struct kl_msg *msg,
                        const uint8_t t0[KL_HASH_LEN], struct kl_err *err)
{
    struct kl_randoms *randoms = &msg->u.randoms;
    uint8_t der[KL_MSG_MAX], in[KL_PROOF_INPUT_MAX];
    size_t len;
    enum kl_rc rc;

    if (load->params.chain_count == 0) {
        return KL_OK;
    }
    rc = kl_msg_encode(msg, der, &len, err);
    if (!rc) {
        len = kl_suite_proof_input(t0, der, len, in);
        rc = kl_pinpad_device_sign(load->params.pad, in, len, randoms->sig, &randoms->sig_len, err);
    }
    return rc;
}

static enum kl_rc on_certificate(struct kl_terminal_load *load, const struct kl_msg *in,
                                 uint8_t out[KL_MSG_MAX], size_t *out_len, struct kl_err *err)
{
    const struct kl_certificate *certificate = &in->u.certificate;
    struct kl_msg randoms = {.type = KL_MSG_RANDOMS};
    uint8_t t0[KL_HASH_LEN];
    enum kl_rc rc = authenticate(load, certificate, err);

    if (rc) {
        return rc;
    }
    randoms.u.randoms.suite = load->suite->id;
    rc = kl_transcript_hash(load->transcript, t0, err);
    if (!rc) {
        rc = kl_random_rnd2(load->params.pad, load->rnd2, err);
    }
    if (!rc) {
        rc = load->suite->randoms(load->params.pad, &load->work, certificate, t0, load->rnd2,
                                  &randoms.u.randoms, err);
    }
    if (!rc) {
        rc = prove(load, &randoms, t0, err);
    }
    if (!rc) {
        rc = emit(load, &randoms, out, out_len, err);
    }
    if (!rc) {
        rc = kl_transcript_hash(load->transcript, load->t1, err);
    }
    if (rc) {
        return rc;
    }
    trace(load, "S5 C_rnd1_rnd2 suite=%s c_rnd1=%zu bytes ephemeral=%zu bytes proof=%zu bytes",
          kl_suite_name(load->suite->id), randoms.u.randoms.c_rnd1_len, randoms.u.randoms.point_len,
          randoms.u.randoms.sig_len);
    load->state = STATE_WAIT_MASTER_KEY;
    return KL_OK;
}

/* ---- S8 and S9: MasterKey in, Loaded out ---- */

static enum kl_rc check_master_key(struct kl_terminal_load *load, struct kl_master_key *msg,
                                   uint8_t kcv[KL_KCV_LEN_MAX], struct kl_err *err)
{
    const struct kl_judge judge = {
        .t1 = load->t1,
        .rnd2 = load->rnd2,
        .serial = load->params.serial,
        .algs = load->params.algs,
        .alg_count = load->params.alg_count,
        .work_type = kl_pubkey_is(load->work.key),
        .work_bits = kl_pubkey_bits(load->work.key),
        .version_floor = load->version_floor,
    };
    const struct kl_terminal_suite *suite = load->suite;
    enum kl_rc rc = suite->check_mac ? suite->check_mac(load->params.pad, msg, err) : KL_OK;

    if (!rc) {
        rc = suite->verify(&load->work, msg, err);
    }
    if (!rc) {
        rc = kl_judge_tbs(&judge, &msg->tbs, err);
    }
    if (rc) {
        return rc;
    }
    trace(load,
          "S8 C_ctmk_rnd2 signature=%zu bytes good, Rnd2'=Rnd2, ctmk=%zu bytes version=%" PRIu32,
          msg->sig_len, msg->tbs.ctmk_len, msg->tbs.version);
    rc = kl_pinpad_kcv(load->params.pad, (enum kl_alg)msg->tbs.alg, msg->tbs.ctmk,
                       msg->tbs.ctmk_len, msg->tbs.kcv_len, kcv, err);
    if (!rc) {
        rc = kl_judge_kcv(&msg->tbs, kcv, err);
    }
    return rc;
}

/* The candidate's Loaded and the MACs of its Dones, as long as the load's keys are there. */
static enum kl_rc make_candidate(struct kl_terminal_load *load, const struct kl_tbs *tbs,
                                 const uint8_t *kcv, struct kl_candidate *out, struct kl_err *err)
{
    uint8_t t2[KL_HASH_LEN];
    struct kl_pinpad *pad = load->params.pad;
    enum kl_rc rc = kl_transcript_hash(load->transcript, t2, err);

    out->version = tbs->version;
    out->alg = (enum kl_alg)tbs->alg;
    if (!rc) {
        rc = kl_ack_loaded(pad, t2, kcv, tbs->kcv_len, &out->loaded, err);
    }
    if (!rc) {
        rc = kl_ack_done_mac(pad, t2, KL_VERDICT_ACTIVE, out->active_mac, err);
    }
    if (!rc) {
        rc = kl_ack_done_mac(pad, t2, KL_VERDICT_DROP, out->drop_mac, err);
    }
    return rc;
}

static enum kl_rc put_on_record(struct kl_terminal_load *load, const struct kl_candidate *candidate,
                                struct kl_err *err)
{
    return load->params.record ? load->params.record(load->params.arg, candidate, err) : KL_OK;
}

/* The record, then the TMK, then the record that says it is whole, then (by returning) Loaded.
 * Without a record a TMK is a stray, so there must be one first; and it must not be confirmed on
 * the strength of a key that a crash cut short. */
static enum kl_rc write_candidate(struct kl_terminal_load *load, const struct kl_tbs *tbs,
                                  struct kl_candidate *candidate, struct kl_err *err)
{
    struct kl_err ignored = KL_ERR_INIT;
    struct kl_pinpad_tmk tmk = {.version = tbs->version,
                                .alg = candidate->alg,
                                .kcv_len = tbs->kcv_len};
    enum kl_rc rc = kl_pinpad_room(load->params.pad, tbs->version, err);

    memcpy(tmk.kcv, candidate->loaded.kcv, tbs->kcv_len);
    if (!rc) {
        rc = put_on_record(load, candidate, err);
    }
    if (rc) {
        return rc; /* a record that got through nevertheless lacks its TMK: a start drops it */
    }
    rc = kl_pinpad_keep(load->params.pad, &tmk, tbs->ctmk, tbs->ctmk_len, err);
    if (!rc) {
        candidate->whole = 1;
        rc = put_on_record(load, candidate, err);
    }
    if (rc && load->params.forget &&
        load->params.forget(load->params.arg, tbs->version, &ignored)) {
        trace(load, "S9 the refused TMK version=%" PRIu32 " is left to the next start: %s",
              tbs->version, ignored.text);
    }
    return rc;
}

static enum kl_rc on_master_key(struct kl_terminal_load *load, struct kl_msg *in,
                                uint8_t out[KL_MSG_MAX], size_t *out_len, struct kl_err *err)
{
    const struct kl_tbs *tbs = &in->u.master_key.tbs;
    struct kl_candidate candidate = {0};
    struct kl_msg loaded = {.type = KL_MSG_LOADED};
    uint8_t kcv[KL_KCV_LEN_MAX] = {0};
    char kcv_text[KL_KCV_TEXT];
    size_t len;
    enum kl_rc rc = check_master_key(load, &in->u.master_key, kcv, err);

    if (!rc) {
        rc = make_candidate(load, tbs, kcv, &candidate, err);
    }
    if (rc) {
        return rc;
    }
    /* Everything that can fail comes before the key is written. */
    loaded.u.loaded = candidate.loaded;
    rc = kl_msg_encode(&loaded, out, &len, err);
    if (!rc) {
        rc = write_candidate(load, tbs, &candidate, err);
    }
    if (rc) {
        return rc;
    }
    kl_kcv_format(kcv, tbs->kcv_len, kcv_text);
    trace(load,
          "S9 TMK written to the PIN pad: version=%" PRIu32 " algorithm=%s kcv=%s unconfirmed",
          tbs->version, kl_alg_info(tbs->alg)->name, kcv_text);
    kl_pinpad_end(load->params.pad);
    load->candidate = candidate;
    load->has_candidate = 1;
    load->state = STATE_WAIT_DONE;
    *out_len = len;
    return KL_OK;
}

static enum kl_rc on_done(struct kl_terminal_load *load, const struct kl_msg *in,
                          struct kl_err *err)
{
    enum kl_rc rc = kl_candidate_judge(&load->candidate, &in->u.done, &load->verdict, err);

    if (rc) {
        return kl_err_context(err, "the candidate is kept");
    }
    trace(load, "Done version=%" PRIu32 " verdict=%s", load->candidate.version,
          load->verdict == KL_VERDICT_ACTIVE ? "active" : "drop");
    load->state = STATE_OVER;
    return KL_OK;
}

/* ---- Public ---- */

static enum kl_rc check_suites(const struct kl_terminal_load_params *params, struct kl_err *err)
{
    if (params->suite_count == 0 || params->suite_count > KL_OFFER_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "offer 1 to %d suites", KL_OFFER_MAX);
    }
    for (size_t i = 0; i < params->suite_count; i++) {
        if (!kl_terminal_suite_of(params->suites[i])) {
            return kl_err_set(err, KL_ERR_INPUT, "suite %u is unknown",
                              (unsigned)params->suites[i]);
        }
    }
    return KL_OK;
}

enum kl_rc kl_terminal_load_new(const struct kl_terminal_load_params *params,
                                struct kl_terminal_load **out, struct kl_err *err)
{
    struct kl_terminal_load *load;
    enum kl_rc rc;

    if ((rc = kl_serial_check("serial", params->serial, err)) ||
        (rc = kl_serial_check("PIN pad serial", params->pinpad_serial, err))) {
        return rc;
    }
    if (params->alg_count == 0 || params->alg_count > KL_OFFER_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "offer 1 to %d algorithms", KL_OFFER_MAX);
    }
    if ((rc = check_suites(params, err))) {
        return rc;
    }
    load = calloc(1, sizeof(*load));
    if (!load) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a load");
    }
    rc = kl_transcript_new(&load->transcript, err);
    if (rc) {
        free(load);
        return rc;
    }
    load->params = *params;
    *out = load;
    return KL_OK;
}

void kl_terminal_load_free(struct kl_terminal_load *load)
{
    if (!load) {
        return;
    }
    if (load->state != STATE_NEW) {
        kl_pinpad_end(load->params.pad);
    }
    kl_pubkey_free(load->work.key);
    kl_transcript_free(load->transcript);
    kl_wipe(load, sizeof(*load));
    free(load);
}

/* Which roots we trust, so that a loader that has certificates under several picks the right one.
 */
static enum kl_rc name_anchors(const struct kl_terminal_load_params *params, struct kl_hello *hello,
                               struct kl_err *err)
{
    struct kl_auth_anchors anchors = {.count = 0};
    enum kl_rc rc = KL_OK;

    if (params->memo) {
        anchors = *kl_auth_memo_anchors(params->memo);
    } else {
        rc = kl_auth_anchors(params->roots, &anchors, err);
    }
    if (!rc) {
        memcpy(hello->anchors, anchors.hash, sizeof(hello->anchors));
        hello->anchor_count = anchors.count;
    }
    return rc;
}

static enum kl_rc make_hello(const struct kl_terminal_load_params *params, struct kl_hello *hello,
                             struct kl_err *err)
{
    hello->version = KL_PROTOCOL_VERSION;
    hello->suite_count = params->suite_count;
    memcpy(hello->suites, params->suites, sizeof(hello->suites));
    hello->alg_count = params->alg_count;
    for (size_t i = 0; i < hello->alg_count; i++) {
        hello->algs[i] = (uint8_t)params->algs[i];
    }
    strcpy(hello->serial, params->serial);
    strcpy(hello->pinpad_serial, params->pinpad_serial);
    hello->chain_count = params->chain_count;
    memcpy(hello->chain, params->chain, sizeof(hello->chain));
    return name_anchors(params, hello, err);
}

enum kl_rc kl_terminal_load_hello(struct kl_terminal_load *load, uint8_t out[KL_MSG_MAX],
                                  size_t *out_len, struct kl_err *err)
{
    struct kl_msg msg = {.type = KL_MSG_HELLO};
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t count;
    enum kl_rc rc;

    if (load->state != STATE_NEW) {
        return kl_err_set(err, KL_ERR_INTERNAL, "this load has begun already");
    }
    rc = kl_pinpad_list(load->params.pad, tmks, &count, err);
    if (rc) {
        return rc;
    }
    if (count == KL_PINPAD_TMK_MAX) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "the PIN pad has no room for another TMK; run 'confirm' first");
    }
    load->version_floor = count ? tmks[count - 1].version : 0;
    rc = make_hello(&load->params, &msg.u.hello, err);
    if (!rc) {
        rc = emit(load, &msg, out, out_len, err);
    }
    if (!rc) {
        load->state = STATE_WAIT_CERTIFICATE;
    }
    return rc;
}

/* The loader takes a Confirm for the word of one who holds the key. */
static enum kl_rc need_key(struct kl_terminal_load *load, const struct kl_candidate *candidate,
                           struct kl_err *err)
{
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t i, count;
    enum kl_rc rc = kl_pinpad_list(load->params.pad, tmks, &count, err);

    for (i = 0; !rc && i < count; i++) {
        if (tmks[i].version == candidate->version && candidate->whole) {
            return KL_OK;
        }
    }
    return rc ? rc
              : kl_err_set(err, KL_ERR_KEY,
                           "the PIN pad does not hold TMK version %" PRIu32
                           ": it must not be confirmed",
                           candidate->version);
}

enum kl_rc kl_terminal_load_confirm(struct kl_terminal_load *load,
                                    const struct kl_candidate *candidate, uint8_t out[KL_MSG_MAX],
                                    size_t *out_len, struct kl_err *err)
{
    struct kl_msg msg = {.type = KL_MSG_CONFIRM};
    struct kl_confirm *confirm = &msg.u.confirm;
    enum kl_rc rc;

    if (load->state != STATE_NEW) {
        return kl_err_set(err, KL_ERR_INTERNAL, "this load has begun already");
    }
    rc = need_key(load, candidate, err);
    if (rc) {
        return rc;
    }
    confirm->version = KL_PROTOCOL_VERSION;
    strcpy(confirm->serial, load->params.serial);
    strcpy(confirm->pinpad_serial, load->params.pinpad_serial);
    confirm->tmk_version = candidate->version;
    confirm->loaded = candidate->loaded;
    rc = kl_msg_encode(&msg, out, out_len, err);
    if (rc) {
        return rc;
    }
    load->candidate = *candidate;
    load->has_candidate = 1;
    load->state = STATE_WAIT_DONE;
    return KL_OK;
}

static enum kl_rc dispatch(struct kl_terminal_load *load, const uint8_t *in, size_t in_len,
                           uint8_t out[KL_MSG_MAX], size_t *out_len, struct kl_err *err)
{
    static const struct {
        enum kl_msg_type expected;
        int in_transcript;
    } rule[] = {
        [STATE_WAIT_CERTIFICATE] = {KL_MSG_CERTIFICATE, 1},
        [STATE_WAIT_MASTER_KEY] = {KL_MSG_MASTER_KEY, 1},
        [STATE_WAIT_DONE] = {KL_MSG_DONE, 0},
    };
    struct kl_msg msg;
    enum kl_rc rc = kl_refusal_or(rule[load->state].expected, in, in_len, &msg, err);

    if (!rc && rule[load->state].in_transcript) {
        rc = kl_transcript_add(load->transcript, in, in_len, err);
    }
    if (rc) {
        return rc;
    }
    if (msg.type == KL_MSG_CERTIFICATE) {
        return on_certificate(load, &msg, out, out_len, err);
    }
    if (msg.type == KL_MSG_MASTER_KEY) {
        return on_master_key(load, &msg, out, out_len, err);
    }
    return on_done(load, &msg, err);
}

enum kl_rc kl_terminal_load_step(struct kl_terminal_load *load, const uint8_t *in, size_t in_len,
                                 uint8_t out[KL_MSG_MAX], size_t *out_len, struct kl_err *err)
{
    enum state before = load->state;
    enum kl_rc rc;

    *out_len = 0;
    if (before == STATE_NEW || before == STATE_OVER) {
        return kl_err_set(err, KL_ERR_INTERNAL, "no message is due in this load");
    }
    rc = dispatch(load, in, in_len, out, out_len, err);
    if (!rc) {
        return KL_OK;
    }
    load->state = STATE_OVER;
    kl_pinpad_end(load->params.pad);
    /* After Loaded or Confirm there is nothing to refuse any more. */
    *out_len = before == STATE_WAIT_DONE ? 0 : kl_refusal_answer(rc, in, in_len, out);
    return rc;
}

int kl_terminal_load_has_candidate(const struct kl_terminal_load *load)
{
    return load->has_candidate;
}

const struct kl_candidate *kl_terminal_load_candidate(const struct kl_terminal_load *load)
{
    return &load->candidate;
}

enum kl_verdict kl_terminal_load_verdict(const struct kl_terminal_load *load)
{
    return load->verdict;
}

const struct kl_terminal_load_facts *kl_terminal_load_facts(const struct kl_terminal_load *load)
{
    return &load->facts;
}
