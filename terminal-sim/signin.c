/* SPDX-License-Identifier: BSD-2-Clause */
/* The sign-in's state machine: see signin.h. */
#include "terminal-sim/signin.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/field62.h"
#include "proto/secret.h"
#include "proto/transcript.h"
#include "terminal-sim/ack.h"
#include "terminal-sim/refusal.h"

#define DES_LEN 8

enum state { STATE_NEW, STATE_WAIT_KEYS, STATE_WAIT_DONE, STATE_OVER };

struct kl_signin {
    struct kl_signin_params params;
    enum state state;
    uint8_t sent[KL_MSG_MAX]; /* SignIn */
    size_t sent_len;
    struct kl_pinpad_pair pair;
    uint8_t active_mac[KL_MAC_LEN]; /* of the Done that makes it current */
};

__attribute__((format(printf, 2, 3))) static void trace(const struct kl_signin *sign_in,
                                                        const char *fmt, ...)
{
    char line[256];
    va_list args;

    if (!sign_in->params.trace) {
        return;
    }
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    sign_in->params.trace(sign_in->params.arg, line);
}

/* SHA-256 over SignIn and what follows it (len 0: nothing). */
static enum kl_rc hash_from_sign_in(const struct kl_signin *sign_in, const uint8_t *next,
                                    size_t len, uint8_t out[KL_HASH_LEN], struct kl_err *err)
{
    struct kl_transcript *transcript = NULL;
    enum kl_rc rc = kl_transcript_new(&transcript, err);

    if (!rc) {
        rc = kl_transcript_add(transcript, sign_in->sent, sign_in->sent_len, err);
    }
    if (!rc && len > 0) {
        rc = kl_transcript_add(transcript, next, len, err);
    }
    if (!rc) {
        rc = kl_transcript_hash(transcript, out, err);
    }
    kl_transcript_free(transcript);
    return rc;
}

/* ---- WorkingKeys in, Loaded out ---- */

/* Whether these are the keys that were asked for, and the loader's. Afterwards the PIN pad has the
 * session's keys. */
static enum kl_rc authenticate(const struct kl_signin *sign_in, const struct kl_working_keys *keys,
                               struct kl_err *err)
{
    const struct kl_signin_params *params = &sign_in->params;
    uint8_t hash[KL_HASH_LEN], mac[KL_MAC_LEN];
    enum kl_rc rc;

    if (keys->tmk_version != params->tmk.version || keys->alg != params->tmk.alg) {
        return kl_err_set(err, KL_ERR_VERIFY,
                          "WorkingKeys is for a TMK version %" PRIu32 " of algorithm %u",
                          keys->tmk_version, (unsigned)keys->alg);
    }
    if ((keys->has_field62 != 0) != (params->format == KL_FORMAT_FIELD62)) {
        return kl_err_set(err, KL_ERR_VERIFY, "WorkingKeys has another format than asked for");
    }
    rc = hash_from_sign_in(sign_in, NULL, 0, hash, err);
    if (!rc) {
        rc = kl_pinpad_start_session(params->pad, params->tmk.version, hash, keys->c_session,
                                     keys->c_session_len, err);
    }
    if (!rc) {
        rc = hash_from_sign_in(sign_in, keys->body_der.data, keys->body_der.len, hash, err);
    }
    if (!rc) {
        rc = kl_pinpad_mac(params->pad, KL_PURPOSE_KEYS, hash, sizeof(hash), mac, err);
    }
    if (!rc && CRYPTO_memcmp(mac, keys->mac, KL_MAC_LEN) != 0) {
        rc = kl_err_set(err, KL_ERR_VERIFY,
                        "WorkingKeys' MAC is wrong: it answers another SignIn, or is not from the "
                        "loader");
    }
    return rc;
}

/* PIK and MAK as the PIN pad takes them. The MAK of FIELD62 is of single length, the TDES key
 * K || K: in ECB its cryptogram is that of K twice. */
static enum kl_rc extract(const struct kl_working_keys *keys, struct kl_wrapped_key *pik,
                          struct kl_wrapped_key *mak, enum kl_alg *alg, struct kl_err *err)
{
    struct kl_field62 field;
    enum kl_rc rc;

    if (!keys->has_field62) {
        *pik = keys->pik;
        *mak = keys->mak;
        *alg = (enum kl_alg)keys->alg;
        return pik->kcv_len == mak->kcv_len
                   ? KL_OK
                   : kl_err_set(err, KL_ERR_PROTOCOL, "PIK and MAK have KCVs of two lengths");
    }
    rc = kl_field62_parse(keys->field62, &field, err);
    if (rc) {
        return rc;
    }
    pik->len = mak->len = sizeof(field.pik);
    memcpy(pik->data, field.pik, sizeof(field.pik));
    memcpy(mak->data, field.mak, DES_LEN);
    memcpy(mak->data + DES_LEN, field.mak, DES_LEN);
    pik->kcv_len = mak->kcv_len = sizeof(field.pik_kcv);
    memcpy(pik->kcv, field.pik_kcv, sizeof(field.pik_kcv));
    memcpy(mak->kcv, field.mak_kcv, sizeof(field.mak_kcv));
    *alg = KL_ALG_TDES2;
    return KL_OK;
}

/* A second line, behind what the PIN pad demands of cSession: the same key in two places, and, in
 * TDES-ECB, a block twice, which is single DES in disguise. What the loader sends is drawn, or a
 * hash, and so differs. */
static enum kl_rc check_blocks(const struct kl_working_keys *keys, const struct kl_wrapped_key *pik,
                               const struct kl_wrapped_key *mak, struct kl_err *err)
{
    const struct kl_bytes parts[] = {
        {keys->c_session, keys->c_session_len},
        {pik->data, pik->len},
        {mak->data, keys->has_field62 ? DES_LEN : mak->len},
    };
    uint8_t all[3 * KL_CTMK_LEN_MAX];
    size_t len = 0;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        memcpy(all + len, parts[i].data, parts[i].len);
        len += parts[i].len;
    }
    for (size_t i = 0; i < len; i += DES_LEN) {
        for (size_t j = i + DES_LEN; j < len; j += DES_LEN) {
            if (memcmp(all + i, all + j, DES_LEN) == 0) {
                return kl_err_set(err, KL_ERR_VERIFY, "WorkingKeys holds the same block twice");
            }
        }
    }
    return KL_OK;
}

static enum kl_rc check_kcv(const struct kl_signin *sign_in, const char *name, enum kl_alg alg,
                            const struct kl_wrapped_key *key, struct kl_err *err)
{
    uint8_t kcv[KL_KCV_LEN_MAX];
    char ours[KL_KCV_TEXT], theirs[KL_KCV_TEXT];
    enum kl_rc rc = kl_pinpad_working_kcv(sign_in->params.pad, sign_in->params.tmk.version, alg,
                                          key->data, key->len, key->kcv_len, kcv, err);

    if (rc) {
        return kl_err_context(err, "%s", name);
    }
    if (CRYPTO_memcmp(kcv, key->kcv, key->kcv_len) == 0) {
        return KL_OK;
    }
    kl_kcv_format(kcv, key->kcv_len, ours);
    kl_kcv_format(key->kcv, key->kcv_len, theirs);
    return kl_err_set(err, KL_ERR_VERIFY, "the KCV of %s is %s, WorkingKeys says %s", name, ours,
                      theirs);
}

/* Loaded and the MAC of the Done that is due, as long as the session's keys are there. */
static enum kl_rc make_loaded(struct kl_signin *sign_in, const uint8_t *in, size_t in_len,
                              const struct kl_wrapped_key *pik, struct kl_loaded *out,
                              struct kl_err *err)
{
    struct kl_pinpad *pad = sign_in->params.pad;
    uint8_t t2[KL_HASH_LEN];
    enum kl_rc rc = hash_from_sign_in(sign_in, in, in_len, t2, err);

    if (!rc) {
        rc = kl_ack_loaded(pad, t2, pik->kcv, pik->kcv_len, out, err);
    }
    if (!rc) {
        rc = kl_ack_done_mac(pad, t2, KL_VERDICT_ACTIVE, sign_in->active_mac, err);
    }
    return rc;
}

static enum kl_rc keep(struct kl_signin *sign_in, enum kl_alg alg, const struct kl_wrapped_key *pik,
                       const struct kl_wrapped_key *mak, struct kl_err *err)
{
    const struct kl_bytes pik_bytes = {pik->data, pik->len}, mak_bytes = {mak->data, mak->len};
    struct kl_pinpad_pair pair = {.tmk_version = sign_in->params.tmk.version,
                                  .alg = alg,
                                  .kcv_len = pik->kcv_len};
    enum kl_rc rc = kl_pinpad_next_pair(sign_in->params.pad, &pair.number, err);

    memcpy(pair.pik_kcv, pik->kcv, pik->kcv_len);
    memcpy(pair.mak_kcv, mak->kcv, mak->kcv_len);
    if (!rc) {
        rc = kl_pinpad_keep_pair(sign_in->params.pad, &pair, &pik_bytes, &mak_bytes, err);
    }
    if (!rc) {
        sign_in->pair = pair;
    }
    return rc;
}

static enum kl_rc on_keys(struct kl_signin *sign_in, const struct kl_working_keys *keys,
                          const uint8_t *in, size_t in_len, uint8_t out[KL_MSG_MAX],
                          size_t *out_len, struct kl_err *err)
{
    struct kl_msg loaded = {.type = KL_MSG_LOADED};
    struct kl_wrapped_key pik = {0}, mak = {0};
    char pik_kcv[KL_KCV_TEXT], mak_kcv[KL_KCV_TEXT];
    enum kl_alg alg;
    size_t len;
    enum kl_rc rc = authenticate(sign_in, keys, err);

    if (!rc) {
        rc = extract(keys, &pik, &mak, &alg, err);
    }
    if (!rc) {
        rc = check_blocks(keys, &pik, &mak, err);
    }
    if (!rc) {
        rc = check_kcv(sign_in, "PIK", alg, &pik, err);
    }
    if (!rc) {
        rc = check_kcv(sign_in, "MAK", alg, &mak, err);
    }
    if (!rc) {
        rc = make_loaded(sign_in, in, in_len, &pik, &loaded.u.loaded, err);
    }
    if (!rc) {
        rc = kl_msg_encode(&loaded, out, &len, err);
    }
    if (!rc) {
        rc = keep(sign_in, alg, &pik, &mak, err);
    }
    if (!rc && sign_in->params.doubt) {
        rc = sign_in->params.doubt(sign_in->params.arg, err);
    }
    if (rc) {
        return rc;
    }
    kl_pinpad_end(sign_in->params.pad);
    kl_kcv_format(pik.kcv, pik.kcv_len, pik_kcv);
    kl_kcv_format(mak.kcv, mak.kcv_len, mak_kcv);
    trace(sign_in, "WorkingKeys good: algorithm=%s PIK kcv=%s MAK kcv=%s", kl_alg_info(alg)->name,
          pik_kcv, mak_kcv);
    sign_in->state = STATE_WAIT_DONE;
    *out_len = len;
    return KL_OK;
}

static enum kl_rc on_done(struct kl_signin *sign_in, const struct kl_done *done, struct kl_err *err)
{
    if (done->verdict != KL_VERDICT_ACTIVE || done->tmk_version != sign_in->params.tmk.version ||
        CRYPTO_memcmp(done->mac, sign_in->active_mac, KL_MAC_LEN) != 0) {
        return kl_err_set(err, KL_ERR_VERIFY,
                          "Done is not the loader's word on these working keys");
    }
    trace(sign_in, "Done: the working keys are current");
    sign_in->state = STATE_OVER;
    return KL_OK;
}

/* ---- Public ---- */

enum kl_rc kl_signin_new(const struct kl_signin_params *params, struct kl_signin **out,
                         struct kl_err *err)
{
    const struct kl_alg_info *alg = kl_alg_info(params->tmk.alg);
    struct kl_signin *sign_in;
    enum kl_rc rc;

    if ((rc = kl_serial_check("serial", params->serial, err)) ||
        (rc = kl_serial_check("PIN pad serial", params->pinpad_serial, err))) {
        return rc;
    }
    if (params->tmk.version == 0 || !alg) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "the terminal has no TMK in use: load one before it signs in");
    }
    if (params->format == KL_FORMAT_FIELD62 && alg->is_aes) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED,
                          "field 62 carries TDES keys; the TMK in use is %s", alg->name);
    }
    sign_in = calloc(1, sizeof(*sign_in));
    if (!sign_in) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a sign-in");
    }
    sign_in->params = *params;
    *out = sign_in;
    return KL_OK;
}

void kl_signin_free(struct kl_signin *sign_in)
{
    if (!sign_in) {
        return;
    }
    if (sign_in->state != STATE_NEW) {
        kl_pinpad_end(sign_in->params.pad);
    }
    kl_wipe(sign_in, sizeof(*sign_in));
    free(sign_in);
}

enum kl_rc kl_signin_begin(struct kl_signin *sign_in, uint8_t out[KL_MSG_MAX], size_t *out_len,
                           struct kl_err *err)
{
    const struct kl_signin_params *params = &sign_in->params;
    struct kl_msg msg = {.type = KL_MSG_SIGN_IN};
    size_t len;
    enum kl_rc rc;

    if (sign_in->state != STATE_NEW) {
        return kl_err_set(err, KL_ERR_INTERNAL, "this sign-in has begun already");
    }
    msg.u.sign_in.version = KL_PROTOCOL_VERSION;
    strcpy(msg.u.sign_in.serial, params->serial);
    strcpy(msg.u.sign_in.pinpad_serial, params->pinpad_serial);
    msg.u.sign_in.tmk_version = params->tmk.version;
    msg.u.sign_in.format = (uint8_t)params->format;
    rc = kl_pinpad_random(params->pad, msg.u.sign_in.nonce, sizeof(msg.u.sign_in.nonce), err);
    if (!rc) {
        rc = kl_msg_encode(&msg, out, &len, err);
    }
    if (rc) {
        return rc;
    }
    memcpy(sign_in->sent, out, len);
    sign_in->sent_len = len;
    sign_in->state = STATE_WAIT_KEYS;
    *out_len = len;
    return KL_OK;
}

static enum kl_rc dispatch(struct kl_signin *sign_in, const uint8_t *in, size_t in_len,
                           uint8_t out[KL_MSG_MAX], size_t *out_len, struct kl_err *err)
{
    enum kl_msg_type due = sign_in->state == STATE_WAIT_KEYS ? KL_MSG_WORKING_KEYS : KL_MSG_DONE;
    struct kl_msg msg;
    enum kl_rc rc = kl_refusal_or(due, in, in_len, &msg, err);

    if (rc) {
        return rc;
    }
    return due == KL_MSG_DONE
               ? on_done(sign_in, &msg.u.done, err)
               : on_keys(sign_in, &msg.u.working_keys, in, in_len, out, out_len, err);
}

enum kl_rc kl_signin_step(struct kl_signin *sign_in, const uint8_t *in, size_t in_len,
                          uint8_t out[KL_MSG_MAX], size_t *out_len, struct kl_err *err)
{
    enum state before = sign_in->state;
    enum kl_rc rc;

    *out_len = 0;
    if (before == STATE_NEW || before == STATE_OVER) {
        return kl_err_set(err, KL_ERR_INTERNAL, "no message is due in this sign-in");
    }
    rc = dispatch(sign_in, in, in_len, out, out_len, err);
    if (!rc) {
        return KL_OK;
    }
    sign_in->state = STATE_OVER;
    kl_pinpad_end(sign_in->params.pad);
    *out_len = before == STATE_WAIT_KEYS ? kl_refusal_answer(rc, in, in_len, out) : 0;
    return rc;
}

const struct kl_pinpad_pair *kl_signin_pair(const struct kl_signin *sign_in)
{
    return &sign_in->pair;
}
