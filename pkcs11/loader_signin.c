/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One sign-in in the HSM: PIK and MAK drawn and put under the terminal's TMK, and the session key,
 * drawn likewise or, under TDES, what the TMK makes of the transcript. Under an AES TMK, and under
 * a TDES one where the token wraps and unwraps by TDES-ECB, none of them is ever in host memory;
 * else, if the operator allows it, they stand in locked memory while the token works on them. The
 * TMK itself never leaves the token.
 */
#include "pkcs11/loader.h"

#include <stdlib.h>
#include <string.h>

#include "pkcs11/binding.h"
#include "pkcs11/ops.h"
#include "pkcs11/suite.h"
#include "proto/field62.h"
#include "proto/secret.h"
#include "proto/transcript.h"

#define FIELD62_KCV 4
#define FIELD62_MAK 8

/* A working key on its way out. */
struct fresh {
    enum kl_binding_kind kind;
    enum kl_alg alg;
    CK_OBJECT_HANDLE handle;
    struct kl_wrapped_key wrapped;
    struct kl_stored_key *stored; /* in the result */
};

struct sign_in {
    const struct kl_sign_in_in *in;
    const struct kl_alg_info *info; /* of the TMK */
    char serial[KL_SERIAL_MAX + 1];
    int field62, on_host;
    size_t kcv_len;
    struct kl_msg msg; /* SignIn, then WorkingKeys */
    struct kl_transcript *transcript;
    uint8_t t0[KL_HASH_LEN];
    CK_OBJECT_HANDLE tmk;     /* puts keys under itself */
    CK_OBJECT_HANDLE opening; /* the same one, TDES: opens the session key */
    CK_OBJECT_HANDLE session, keys, ack, done;
    struct fresh pik, mak;
    struct kl_sign_in_out out;
};

enum kl_rc kl_loader_turn_tmk(struct kl_loader *loader, CK_OBJECT_HANDLE tmk, enum kl_alg alg,
                              const uint8_t t0[KL_HASH_LEN], enum kl_key_use use,
                              CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    struct kl_session *session = loader->session;
    CK_OBJECT_HANDLE base = 0, wraps = 0, unwraps = 0;
    uint8_t wrapped[KL_CTMK_LEN_MAX];
    size_t len = 0;
    enum kl_rc rc;

    if ((rc = kl_op_generate_rnd1(session, &base, err)) == KL_OK &&
        (rc = kl_loader_derive(loader, base, t0, KL_PURPOSE_WRAP, KL_USE_WRAP, &wraps, err)) ==
            KL_OK &&
        (rc = kl_loader_derive(loader, base, t0, KL_PURPOSE_WRAP, KL_USE_UNWRAP, &unwraps, err)) ==
            KL_OK &&
        (rc = kl_op_wrap(session, wraps, tmk, wrapped, &len, err)) == KL_OK) {
        rc = kl_op_unwrap_tmk(session, unwraps, alg, wrapped, len, use, out, err);
    }
    kl_op_destroy(session, &unwraps);
    kl_op_destroy(session, &wraps);
    kl_op_destroy(session, &base);
    return rc;
}

/* ---- What is asked for ---- */

static enum kl_rc check_format(const struct kl_loader *loader, struct sign_in *job,
                               struct kl_err *err)
{
    job->field62 = job->msg.u.sign_in.format == KL_FORMAT_FIELD62;
    if (job->field62 && job->info->is_aes) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "field 62 is for TDES; the TMK is %s",
                          job->info->name);
    }
    job->on_host = !job->info->is_aes && (job->field62 || !loader->wraps_tdes);
    if (job->on_host && !loader->host_fallback) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED,
                          "%s: only with host memory's help, which [policy] host-fallback forbids",
                          job->field62 ? "no token makes the MAK of field 62 as a key of its own"
                                       : "this token does not wrap and unwrap under a TDES TMK");
    }
    return KL_OK;
}

/* Is the TMK that terminal's, and of that version? */
static enum kl_rc check_binding(const struct kl_loader *loader, const struct sign_in *job,
                                struct kl_err *err)
{
    const struct kl_binding_of what = {
        .kind = KL_BINDING_TMK,
        .serial = job->serial,
        .version = job->in->tmk_version,
        .key = job->in->tmk,
    };

    return kl_binding_verify(loader->session, loader->binding_key, &what, err);
}

static enum kl_rc read_message(const struct kl_loader *loader, struct sign_in *job,
                               struct kl_err *err)
{
    const struct kl_sign_in_in *in = job->in;
    const struct kl_sign_in *message = &job->msg.u.sign_in;
    enum kl_rc rc;

    job->info = kl_alg_info(in->tmk->alg);
    if (!job->info || in->kcv_len < KL_KCV_LEN_MIN || in->kcv_len > KL_KCV_LEN_MAX) {
        return kl_err_set(err, KL_ERR_INTERNAL,
                          "sign-in job: algorithm %d or KCV length %zu is out of bounds",
                          in->tmk->alg, in->kcv_len);
    }
    if ((rc = kl_loader_decode(in->sign_in, KL_MSG_SIGN_IN, &job->msg, err)) != KL_OK) {
        return rc;
    }
    if (message->version != KL_PROTOCOL_VERSION) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "SignIn has protocol version %lu",
                          (unsigned long)message->version);
    }
    if (message->tmk_version != in->tmk_version) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "SignIn names TMK version %lu; the job has %lu",
                          (unsigned long)message->tmk_version, (unsigned long)in->tmk_version);
    }
    memcpy(job->serial, message->serial, sizeof(job->serial));
    if ((rc = check_format(loader, job, err)) != KL_OK ||
        (rc = check_binding(loader, job, err)) != KL_OK ||
        (rc = kl_transcript_new(&job->transcript, err)) != KL_OK ||
        (rc = kl_transcript_add(job->transcript, in->sign_in.data, in->sign_in.len, err)) !=
            KL_OK) {
        return rc;
    }
    job->kcv_len = job->field62 ? FIELD62_KCV : in->kcv_len;
    return kl_transcript_hash(job->transcript, job->t0, err);
}

/* ---- Inside the token ---- */

/* A key of that algorithm under the TMK. What the token gives must be as long as that makes it. */
static enum kl_rc wrap(const struct kl_loader *loader, const struct sign_in *job, enum kl_alg alg,
                       CK_OBJECT_HANDLE key, uint8_t out[KL_CTMK_LEN_MAX], size_t *len,
                       struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    size_t want = job->info->is_aes ? kl_alg_wrapped_len(info) : info->key_len, got = 0;
    enum kl_rc rc = job->info->is_aes
                        ? kl_op_wrap(loader->session, job->tmk, key, out, &got, err)
                        : kl_op_wrap_tdes(loader->session, job->tmk, key, out, &got, err);

    if (rc == KL_OK && got != want) {
        rc = kl_err_set(err, KL_ERR_HSM,
                        "the token wrapped a key %s under the TMK into %zu bytes, not %zu",
                        info->name, got, want);
    }
    if (rc == KL_OK) {
        *len = want;
    }
    return rc;
}

/* Under an AES TMK: drawn. */
static enum kl_rc draw_session(struct kl_loader *loader, struct sign_in *job,
                               struct kl_working_keys *keys, struct kl_err *err)
{
    enum kl_alg alg = kl_suite_session_alg(job->info->alg);
    enum kl_rc rc =
        kl_op_generate_base(loader->session, kl_alg_info(alg)->key_len, &job->session, err);

    return rc != KL_OK
               ? rc
               : wrap(loader, job, alg, job->session, keys->c_session, &keys->c_session_len, err);
}

static enum kl_rc draw_inside(struct kl_loader *loader, struct sign_in *job, struct kl_err *err)
{
    struct fresh *const both[] = {&job->pik, &job->mak};
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; rc == KL_OK && i < 2; i++) {
        rc = kl_op_generate_tmk(loader->session, both[i]->alg, &both[i]->handle, err);
        if (rc == KL_OK) {
            rc = wrap(loader, job, both[i]->alg, both[i]->handle, both[i]->wrapped.data,
                      &both[i]->wrapped.len, err);
        }
    }
    return rc;
}

/* ---- With host memory's help ---- */

/* Each byte's lowest bit is set so that the number of ones is odd (FIPS 46-3). */
static void set_odd_parity(uint8_t *key, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned byte = key[i] & 0xfeU;
        key[i] = (uint8_t)(byte | !(__builtin_popcount(byte) & 1));
    }
}

static enum kl_rc draw_on_host(struct kl_loader *loader, struct sign_in *job, struct kl_err *err)
{
    struct kl_session *session = loader->session;
    size_t pik_len = kl_alg_info(job->pik.alg)->key_len,
           mak_len = kl_alg_info(job->mak.alg)->key_len;
    struct kl_secret *values = NULL;
    uint8_t *pik, *mak;
    enum kl_rc rc = kl_secret_new(pik_len + mak_len, &values, err);

    if (rc != KL_OK) {
        return rc;
    }
    pik = kl_secret_data(values);
    mak = pik + pik_len;
    rc = kl_op_random(session, pik, pik_len + mak_len, err);
    set_odd_parity(pik, pik_len + mak_len);
    if (job->field62) {
        memcpy(mak + FIELD62_MAK, mak, FIELD62_MAK);
    }
    if (rc != KL_OK ||
        (rc = kl_op_import_value(session, job->pik.alg, pik, KL_USE_KCV, &job->pik.handle, err)) !=
            KL_OK ||
        (rc = kl_op_import_value(session, job->mak.alg, mak, KL_USE_KCV, &job->mak.handle, err)) !=
            KL_OK ||
        (rc = kl_op_encrypt_tdes(session, job->tmk, pik, pik_len, job->pik.wrapped.data, err)) !=
            KL_OK ||
        (rc = kl_op_encrypt_tdes(session, job->tmk, mak, mak_len, job->mak.wrapped.data, err)) !=
            KL_OK) {
        goto out;
    }
    job->pik.wrapped.len = pik_len;
    job->mak.wrapped.len = mak_len;
out:
    kl_secret_free(values);
    return rc;
}

/* ---- The session key under a TDES TMK ---- */

/* The TMK once more, for this alone. */
static enum kl_rc turn_tmk(struct kl_loader *loader, struct sign_in *job, struct kl_err *err)
{
    const struct kl_stored_key *tmk = job->in->tmk;
    CK_OBJECT_HANDLE wrappable = CK_INVALID_HANDLE;
    enum kl_rc rc =
        kl_op_unwrap_stored(loader->session, loader->storage_key, tmk->alg, tmk->cryptogram,
                            tmk->cryptogram_len, KL_USE_KCV, &wrappable, err);

    if (rc == KL_OK) {
        rc = kl_loader_turn_tmk(loader, wrappable, tmk->alg, job->t0,
                                job->on_host ? KL_USE_DECRYPT : KL_USE_UNWRAP, &job->opening, err);
    }
    kl_op_destroy(loader->session, &wrappable);
    return rc;
}

static enum kl_rc open_on_host(struct kl_loader *loader, struct sign_in *job,
                               const uint8_t input[KL_SESSION_INPUT_LEN], struct kl_err *err)
{
    struct kl_secret *value = NULL;
    enum kl_rc rc = kl_secret_new(KL_SESSION_INPUT_LEN, &value, err);

    if (rc == KL_OK) {
        rc = kl_op_decrypt_tdes(loader->session, job->opening, input, KL_SESSION_INPUT_LEN,
                                kl_secret_data(value), err);
    }
    if (rc == KL_OK) {
        rc = kl_op_import_value(loader->session, KL_ALG_AES128, kl_secret_data(value),
                                KL_USE_DERIVE, &job->session, err);
    }
    kl_secret_free(value);
    return rc;
}

/* What has no type under the TMK must at least be nobody's choice. */
static enum kl_rc open_session(struct kl_loader *loader, struct sign_in *job,
                               struct kl_working_keys *keys, struct kl_err *err)
{
    enum kl_rc rc = kl_suite_session_input(job->t0, keys->c_session, err);

    if (rc == KL_OK) {
        rc = turn_tmk(loader, job, err);
    }
    if (rc == KL_OK) {
        rc = job->on_host ? open_on_host(loader, job, keys->c_session, err)
                          : kl_op_unwrap_base_tdes(loader->session, job->opening, keys->c_session,
                                                   &job->session, err);
    }
    kl_op_destroy(loader->session, &job->opening);
    if (rc == KL_OK) {
        keys->c_session_len = KL_SESSION_INPUT_LEN;
    }
    return rc;
}

/* ---- The answer ---- */

/* KCV, and for the store the cryptogram and its binding. */
static enum kl_rc finish_key(struct kl_loader *loader, const struct sign_in *job,
                             struct fresh *fresh, struct kl_err *err)
{
    struct kl_stored_key *stored = fresh->stored;
    const struct kl_binding_of what = {
        .kind = fresh->kind,
        .serial = job->serial,
        .version = job->in->tmk_version,
        .key = stored,
    };
    enum kl_rc rc =
        kl_op_kcv(loader->session, fresh->handle, fresh->alg, job->kcv_len, stored->kcv, err);

    if (rc == KL_OK) {
        rc = kl_op_wrap(loader->session, loader->storage_key, fresh->handle, stored->cryptogram,
                        &stored->cryptogram_len, err);
    }
    if (rc == KL_OK) {
        stored->alg = fresh->alg;
        stored->kcv_len = job->kcv_len;
        memcpy(fresh->wrapped.kcv, stored->kcv, job->kcv_len);
        fresh->wrapped.kcv_len = job->kcv_len;
        rc = kl_stored_key_whole(stored)
                 ? kl_binding_compute(loader->session, loader->binding_key, &what, stored->binding,
                                      err)
                 : kl_err_set(err, KL_ERR_HSM, "the token wrapped a working key into %zu bytes",
                              stored->cryptogram_len);
    }
    return rc;
}

static enum kl_rc draw_keys(struct kl_loader *loader, struct sign_in *job,
                            struct kl_working_keys *keys, struct kl_err *err)
{
    const struct kl_stored_key *tmk = job->in->tmk;
    enum kl_rc rc =
        kl_op_unwrap_stored(loader->session, loader->storage_key, tmk->alg, tmk->cryptogram,
                            tmk->cryptogram_len, job->on_host ? KL_USE_ENCRYPT : KL_USE_WRAP,
                            &job->tmk, err);

    if (rc != KL_OK) {
        return rc;
    }
    job->pik.kind = KL_BINDING_PIK;
    job->mak.kind = KL_BINDING_MAK;
    job->pik.alg = job->mak.alg = job->field62 ? KL_ALG_TDES2 : tmk->alg;
    job->pik.stored = &job->out.pik;
    job->mak.stored = &job->out.mak;
    rc = job->info->is_aes ? draw_session(loader, job, keys, err)
                           : open_session(loader, job, keys, err);
    if (rc == KL_OK) {
        rc = job->on_host ? draw_on_host(loader, job, err) : draw_inside(loader, job, err);
    }
    if (rc == KL_OK) {
        rc = finish_key(loader, job, &job->pik, err);
    }
    return rc != KL_OK ? rc : finish_key(loader, job, &job->mak, err);
}

/* K || K by ECB is the same block twice: the first one is the MAK of single length. */
static void format_field62(const struct sign_in *job, struct kl_working_keys *keys)
{
    struct kl_field62 field;

    memcpy(field.pik, job->pik.wrapped.data, sizeof(field.pik));
    memcpy(field.pik_kcv, job->pik.wrapped.kcv, sizeof(field.pik_kcv));
    memcpy(field.mak, job->mak.wrapped.data, sizeof(field.mak));
    memcpy(field.mak_kcv, job->mak.wrapped.kcv, sizeof(field.mak_kcv));
    kl_field62_format(&field, keys->field62);
    keys->has_field62 = 1;
}

/* The MAC covers the transcript of SignIn and body. */
static enum kl_rc compute_mac(struct kl_loader *loader, struct sign_in *job,
                              struct kl_working_keys *keys, struct kl_err *err)
{
    struct kl_transcript *covered = NULL;
    uint8_t hash[KL_HASH_LEN];
    enum kl_rc rc;

    if ((rc = kl_transcript_new(&covered, err)) == KL_OK &&
        (rc = kl_transcript_add(covered, job->in->sign_in.data, job->in->sign_in.len, err)) ==
            KL_OK &&
        (rc = kl_transcript_add(covered, keys->body_der.data, keys->body_der.len, err)) == KL_OK &&
        (rc = kl_transcript_hash(covered, hash, err)) == KL_OK &&
        (rc = kl_loader_derive(loader, job->session, job->t0, KL_PURPOSE_KEYS, KL_USE_MAC,
                               &job->keys, err)) == KL_OK) {
        rc = kl_op_cmac(loader->session, job->keys, hash, sizeof(hash), keys->mac, err);
    }
    kl_transcript_free(covered);
    return rc;
}

static enum kl_rc make_message(struct kl_loader *loader, struct sign_in *job, struct kl_err *err)
{
    struct kl_working_keys *keys = &job->msg.u.working_keys;
    uint8_t body[KL_KEYS_BODY_MAX];
    size_t body_len = 0;
    enum kl_rc rc;

    memset(&job->msg, 0, sizeof(job->msg));
    job->msg.type = KL_MSG_WORKING_KEYS;
    if ((rc = draw_keys(loader, job, keys, err)) != KL_OK) {
        return rc;
    }
    keys->tmk_version = job->in->tmk_version;
    keys->alg = (uint8_t)job->in->tmk->alg;
    if (job->field62) {
        format_field62(job, keys);
    } else {
        keys->pik = job->pik.wrapped;
        keys->mak = job->mak.wrapped;
    }
    if ((rc = kl_keys_body_encode(keys, body, &body_len, err)) != KL_OK) {
        return rc;
    }
    keys->body_der = (struct kl_bytes){body, body_len};
    rc = compute_mac(loader, job, keys, err);
    return rc != KL_OK ? rc
                       : kl_msg_encode_into(&job->msg, job->out.message, sizeof(job->out.message),
                                            &job->out.message_len, err);
}

/* What a good Loaded must say, and what our Done will. */
static enum kl_rc compute_answers(struct kl_loader *loader, struct sign_in *job, struct kl_err *err)
{
    uint8_t t2[KL_HASH_LEN], ack[KL_ACK_INPUT_MAX], done[KL_DONE_INPUT_LEN];
    struct kl_sign_in_out *out = &job->out;
    size_t ack_len;
    enum kl_rc rc;

    if ((rc = kl_transcript_add(job->transcript, out->message, out->message_len, err)) != KL_OK ||
        (rc = kl_transcript_hash(job->transcript, t2, err)) != KL_OK ||
        (rc = kl_loader_derive(loader, job->session, job->t0, KL_PURPOSE_ACK, KL_USE_MAC, &job->ack,
                               err)) != KL_OK ||
        (rc = kl_loader_derive(loader, job->session, job->t0, KL_PURPOSE_DONE, KL_USE_MAC,
                               &job->done, err)) != KL_OK) {
        return rc;
    }
    ack_len = kl_suite_ack_input(t2, out->pik.kcv, out->pik.kcv_len, ack);
    kl_suite_done_input(t2, KL_VERDICT_ACTIVE, done);
    rc = kl_op_cmac(loader->session, job->ack, ack, ack_len, out->ack_mac, err);
    return rc != KL_OK
               ? rc
               : kl_op_cmac(loader->session, job->done, done, sizeof(done), out->active_mac, err);
}

enum kl_rc kl_loader_sign_in(struct kl_loader *loader, const struct kl_sign_in_in *in,
                             struct kl_sign_in_out *out, struct kl_err *err)
{
    struct sign_in *job = calloc(1, sizeof(*job));
    enum kl_rc rc;

    if (!job) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a sign-in");
    }
    job->in = in;
    if ((rc = read_message(loader, job, err)) == KL_OK &&
        (rc = make_message(loader, job, err)) == KL_OK &&
        (rc = compute_answers(loader, job, err)) == KL_OK) {
        *out = job->out;
    }
    kl_op_destroy(loader->session, &job->mak.handle);
    kl_op_destroy(loader->session, &job->pik.handle);
    kl_op_destroy(loader->session, &job->done);
    kl_op_destroy(loader->session, &job->ack);
    kl_op_destroy(loader->session, &job->keys);
    kl_op_destroy(loader->session, &job->session);
    kl_op_destroy(loader->session, &job->tmk);
    kl_transcript_free(job->transcript);
    kl_wipe(job, sizeof(*job)); /* MACs that authorise what has not been decided yet */
    free(job);
    return rc == KL_OK ? KL_OK : kl_loader_blame(loader, &loader->work[0], rc, err);
}
