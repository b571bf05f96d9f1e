/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One load, S6 and S7, in the HSM. What the network process says is checked again here: this
 * process holds the login, so it decides by itself from the exact messages.
 */
#include "pkcs11/loader.h"

#include <stdlib.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/suite.h"
#include "proto/cert.h"
#include "proto/clock.h"
#include "proto/secret.h"
#include "proto/transcript.h"

#define CHECK_INTERVAL_MS 1000

static const struct kl_suite_loader *const suites[] = {&kl_suite_loader_hardened_rsa};

static const struct kl_suite_loader *find_suite(enum kl_suite suite)
{
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        if (suites[i]->id == suite) {
            return suites[i];
        }
    }
    return NULL;
}

/* ---- Opening ---- */

enum kl_rc kl_loader_open(struct kl_token *token, const struct kl_loader_config *config,
                          struct kl_loader **out, struct kl_err *err)
{
    struct kl_loader *loader = calloc(1, sizeof(*loader));
    enum kl_rc rc;

    if (!loader) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a loader");
    }
    loader->strength_enforce = config->strength_enforce;
    if ((rc = kl_session_open(token, &loader->session, err)) != KL_OK ||
        (rc = kl_pair_find(loader->session, KL_PAIR_WORK, config->work_key, &loader->work_key,
                           &loader->public_key, err)) != KL_OK ||
        (rc = kl_pubkey_type(loader->public_key, &loader->key_type, &loader->key_bits, err)) !=
            KL_OK ||
        (rc = kl_storage_key_find(loader->session, config->storage_key, &loader->storage_key,
                                  err)) != KL_OK ||
        (rc = kl_loader_selftest(loader, err)) != KL_OK) {
        kl_loader_free(loader);
        return rc;
    }
    *out = loader;
    return KL_OK;
}

void kl_loader_free(struct kl_loader *loader)
{
    if (!loader) {
        return;
    }
    EVP_PKEY_free(loader->public_key);
    kl_session_free(loader->session);
    free(loader);
}

EVP_PKEY *kl_loader_public(const struct kl_loader *loader)
{
    return loader->public_key;
}

enum kl_oaep_hash kl_loader_oaep_hash(const struct kl_loader *loader)
{
    return loader->oaep_hash;
}

/* ---- A load ---- */

/* The messages of one load, and what follows from them. */
struct load {
    const struct kl_load_in *in;
    const struct kl_suite_loader *suite;
    struct kl_transcript *transcript;
    struct kl_msg hello, certificate, randoms;
    uint8_t t0[KL_HASH_LEN];
    struct kl_load_keys keys;
    struct kl_tbs tbs;
};

static int offers(const uint8_t *offer, size_t count, unsigned value)
{
    for (size_t i = 0; i < count; i++) {
        if (offer[i] == value) {
            return 1;
        }
    }
    return 0;
}

static enum kl_rc decode_as(struct kl_bytes der, enum kl_msg_type type, struct kl_msg *out,
                            struct kl_err *err)
{
    enum kl_rc rc = kl_msg_decode(der.data, der.len, out, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (out->type != type) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "%s where %s should be", kl_msg_name(out->type),
                          kl_msg_name(type));
    }
    return KL_OK;
}

/* Do the messages allow what is asked for? */
static enum kl_rc check(const struct kl_loader *loader, const struct load *load, struct kl_err *err)
{
    const struct kl_load_in *in = load->in;
    const struct kl_hello *hello = &load->hello.u.hello;
    const struct kl_certificate *certificate = &load->certificate.u.certificate;
    const struct kl_alg_info *info = kl_alg_info(in->alg);
    enum kl_rc rc = KL_OK;

    if (!info || in->tmk_version == 0 || in->tmk_version > KL_VERSION_MAX ||
        in->kcv_len < KL_KCV_LEN_MIN || in->kcv_len > KL_KCV_LEN_MAX) {
        return kl_err_set(err, KL_ERR_INTERNAL,
                          "load job: algorithm %d, version %lu or KCV length %zu is out of bounds",
                          in->alg, (unsigned long)in->tmk_version, in->kcv_len);
    }
    if (hello->version != KL_PROTOCOL_VERSION) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "Hello has protocol version %lu",
                          (unsigned long)hello->version);
    }
    if (!offers(hello->suites, hello->suite_count, in->suite)) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "suite %s is not in the Hello",
                          kl_suite_name(in->suite));
    }
    if (!offers(hello->algs, hello->alg_count, in->alg)) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "algorithm %s is not in the Hello", info->name);
    }
    if (certificate->suite != in->suite || certificate->oaep_hash != loader->oaep_hash) {
        return kl_err_set(err, KL_ERR_PROTOCOL,
                          "Certificate announces suite %u and OAEP hash %u; the job has suite %d, "
                          "the token OAEP hash %d",
                          certificate->suite, certificate->oaep_hash, in->suite, loader->oaep_hash);
    }
    if (loader->strength_enforce) {
        rc = load->suite->strength(loader, in->alg, err);
    }
    return rc;
}

/* Decodes and checks the messages; T0 and T1 from their exact bytes. */
static enum kl_rc read_messages(const struct kl_loader *loader, struct load *load,
                                struct kl_err *err)
{
    const struct kl_load_in *in = load->in;
    enum kl_rc rc;

    if (!(load->suite = find_suite(in->suite))) {
        return kl_err_set(err, KL_ERR_INTERNAL, "load job: unknown suite %d", in->suite);
    }
    if ((rc = decode_as(in->hello, KL_MSG_HELLO, &load->hello, err)) != KL_OK ||
        (rc = decode_as(in->certificate, KL_MSG_CERTIFICATE, &load->certificate, err)) != KL_OK ||
        (rc = decode_as(in->randoms, KL_MSG_RANDOMS, &load->randoms, err)) != KL_OK ||
        (rc = check(loader, load, err)) != KL_OK ||
        (rc = kl_transcript_new(&load->transcript, err)) != KL_OK ||
        (rc = kl_transcript_add(load->transcript, in->hello.data, in->hello.len, err)) != KL_OK ||
        (rc = kl_transcript_add(load->transcript, in->certificate.data, in->certificate.len,
                                err)) != KL_OK ||
        (rc = kl_transcript_hash(load->transcript, load->t0, err)) != KL_OK ||
        (rc = kl_transcript_add(load->transcript, in->randoms.data, in->randoms.len, err)) !=
            KL_OK) {
        return rc;
    }
    return kl_transcript_hash(load->transcript, load->tbs.t1, err);
}

enum kl_rc kl_loader_derive(struct kl_loader *loader, CK_OBJECT_HANDLE rnd1,
                            const uint8_t t0[KL_HASH_LEN], enum kl_purpose purpose,
                            enum kl_key_use use, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    uint8_t label[KL_HASH_LEN];
    enum kl_rc rc = kl_suite_label(purpose, t0, label, err);

    return rc != KL_OK ? rc : kl_op_derive(loader->session, rnd1, label, use, out, err);
}

/* S6: Rnd1', Rnd2' and the keys of this load. */
static enum kl_rc recover(struct kl_loader *loader, struct load *load, struct kl_err *err)
{
    struct kl_load_keys *keys = &load->keys;
    enum kl_rc rc =
        load->suite->recover(loader, &load->randoms.u.randoms, load->t0, keys, load->tbs.rnd2, err);

    if (rc == KL_OK) {
        rc = kl_loader_derive(loader, keys->rnd1, load->t0, KL_PURPOSE_WRAP, KL_USE_WRAP,
                              &keys->wrap, err);
    }
    if (rc == KL_OK) {
        rc = kl_loader_derive(loader, keys->rnd1, load->t0, KL_PURPOSE_ACK, KL_USE_MAC, &keys->ack,
                              err);
    }
    if (rc == KL_OK) {
        rc = kl_loader_derive(loader, keys->rnd1, load->t0, KL_PURPOSE_DONE, KL_USE_MAC,
                              &keys->done, err);
    }
    return rc;
}

/* S7, first half: the TMK, its KCV and its two cryptograms. */
static enum kl_rc draw_tmk(struct kl_loader *loader, struct load *load, struct kl_load_out *out,
                           struct kl_err *err)
{
    const struct kl_load_in *in = load->in;
    struct kl_load_keys *keys = &load->keys;
    struct kl_tbs *tbs = &load->tbs;
    enum kl_rc rc;

    if ((rc = kl_op_generate_tmk(loader->session, in->alg, &keys->tmk, err)) != KL_OK ||
        (rc = kl_op_kcv(loader->session, keys->tmk, in->alg, in->kcv_len, tbs->kcv, err)) !=
            KL_OK ||
        (rc = kl_op_wrap(loader->session, keys->wrap, keys->tmk, tbs->ctmk, &tbs->ctmk_len, err)) !=
            KL_OK ||
        (rc = kl_op_wrap(loader->session, loader->storage_key, keys->tmk, out->cryptogram,
                         &out->cryptogram_len, err)) != KL_OK) {
        return rc;
    }
    memcpy(tbs->serial, load->hello.u.hello.serial, sizeof(tbs->serial));
    tbs->usage = KL_USAGE_KEK;
    tbs->alg = (uint8_t)in->alg;
    tbs->version = in->tmk_version;
    tbs->kcv_method = (uint8_t)kl_alg_info(in->alg)->kcv_method;
    tbs->kcv_len = in->kcv_len;
    memcpy(out->kcv, tbs->kcv, tbs->kcv_len);
    out->kcv_len = tbs->kcv_len;
    return KL_OK;
}

static enum kl_rc done_mac(struct kl_loader *loader, const struct load *load,
                           const uint8_t t2[KL_HASH_LEN], enum kl_verdict verdict,
                           uint8_t mac[KL_MAC_LEN], struct kl_err *err)
{
    uint8_t input[KL_DONE_INPUT_LEN];

    kl_suite_done_input(t2, verdict, input);
    return kl_op_cmac(loader->session, load->keys.done, input, sizeof(input), mac, err);
}

/* What a good Loaded must say, and what our Done will. */
static enum kl_rc compute_macs(struct kl_loader *loader, const struct load *load,
                               struct kl_load_out *out, struct kl_err *err)
{
    uint8_t t2[KL_HASH_LEN], input[KL_ACK_INPUT_MAX];
    size_t len;
    enum kl_rc rc;

    if ((rc = kl_transcript_add(load->transcript, out->master_key, out->master_key_len, err)) !=
            KL_OK ||
        (rc = kl_transcript_hash(load->transcript, t2, err)) != KL_OK) {
        return rc;
    }
    len = kl_suite_ack_input(t2, out->kcv, out->kcv_len, input);
    rc = kl_op_cmac(loader->session, load->keys.ack, input, len, out->ack_mac, err);
    if (rc == KL_OK) {
        rc = done_mac(loader, load, t2, KL_VERDICT_ACTIVE, out->active_mac, err);
    }
    if (rc == KL_OK) {
        rc = done_mac(loader, load, t2, KL_VERDICT_DROP, out->drop_mac, err);
    }
    return rc;
}

static void destroy_keys(struct kl_loader *loader, struct kl_load_keys *keys)
{
    kl_op_destroy(loader->session, &keys->tmk);
    kl_op_destroy(loader->session, &keys->done);
    kl_op_destroy(loader->session, &keys->ack);
    kl_op_destroy(loader->session, &keys->wrap);
    kl_op_destroy(loader->session, &keys->rnd1);
}

enum kl_rc kl_loader_load(struct kl_loader *loader, const struct kl_load_in *in,
                          struct kl_load_out *out, struct kl_err *err)
{
    struct load *load = calloc(1, sizeof(*load));
    struct kl_load_out *result = calloc(1, sizeof(*result));
    enum kl_rc rc;

    if (!load || !result) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "out of memory for a load");
        goto out;
    }
    load->in = in;
    if ((rc = read_messages(loader, load, err)) != KL_OK ||
        (rc = recover(loader, load, err)) != KL_OK ||
        (rc = draw_tmk(loader, load, result, err)) != KL_OK ||
        (rc = load->suite->seal(loader, &load->tbs, result->master_key, &result->master_key_len,
                                err)) != KL_OK ||
        (rc = compute_macs(loader, load, result, err)) != KL_OK) {
        goto out;
    }
    *out = *result;
out:
    if (load) {
        destroy_keys(loader, &load->keys);
        kl_transcript_free(load->transcript);
    }
    /* Rnd2', and MACs that authorise what has not been decided yet. */
    if (result) {
        kl_wipe(result, sizeof(*result));
    }
    if (load) {
        kl_wipe(load, sizeof(*load));
    }
    free(result);
    free(load);
    return rc;
}

/* ---- A bad peer or a lost token ---- */

/* After a KL_ERR_VERIFY: is it the peer's bytes, or does this token refuse everything? Modules give
 * the same answers (CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, ...) to both. Once in an interval only,
 * so that bad peers do not double the token's work. */
static enum kl_rc blame(struct kl_loader *loader, struct kl_err *err)
{
    struct kl_err cause = KL_ERR_INIT;
    int64_t now = kl_clock_ms();

    if (now < loader->next_check) {
        return KL_ERR_VERIFY;
    }
    loader->next_check = now + CHECK_INTERVAL_MS;
    if (kl_loader_known_answer(loader, loader->oaep_hash, &cause) == KL_OK) {
        return KL_ERR_VERIFY;
    }
    return kl_err_native(err, KL_ERR_HSM, cause.source, cause.native, cause.op,
                         "the token fails on a known answer, too: %s", cause.text);
}

enum kl_rc kl_loader_run(struct kl_loader *loader, const struct kl_load_in *in,
                         struct kl_load_out *out, struct kl_err *err)
{
    enum kl_rc rc = kl_loader_load(loader, in, out, err);

    return rc == KL_ERR_VERIFY ? blame(loader, err) : rc;
}
