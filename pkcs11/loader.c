/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One load, S6 and S7, in the HSM. What the network process says is checked again here: this
 * process holds the login, so it decides by itself from the exact messages.
 */
#include "pkcs11/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkcs11/binding.h"
#include "pkcs11/key_check.h"
#include "pkcs11/key_copy.h"
#include "pkcs11/keys.h"
#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "pkcs11/suite.h"
#include "proto/clock.h"
#include "proto/pubkey.h"
#include "proto/secret.h"
#include "proto/transcript.h"

#define CHECK_INTERVAL_MS 1000

static const struct kl_suite_loader *const suites[] = {
    &kl_suite_loader_hardened_rsa,
    &kl_suite_loader_classic,
    &kl_suite_loader_hardened_ec,
};

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

/* Only nothing at all is absent: a key that is not as it must be is an error. */
static enum kl_rc is_absent(struct kl_loader *loader, const char *label, int *absent,
                            struct kl_err *err)
{
    CK_OBJECT_HANDLE handle;
    size_t count = 0;
    enum kl_rc rc =
        kl_object_find(loader->session, CKO_PRIVATE_KEY, label, &handle, 1, &count, err);

    if (rc == KL_OK) {
        *absent = count == 0;
    }
    return rc;
}

static enum kl_rc add_work_key(struct kl_loader *loader, const struct kl_loader_want *want,
                               struct kl_err *err)
{
    struct kl_work *work = &loader->work[loader->work_count];
    size_t len = strlen(want->label);
    enum kl_suite suite;
    int absent = 0;
    enum kl_rc rc;

    if (len > KL_KEY_LABEL_MAX) {
        return kl_err_set(err, KL_ERR_KEY, "work key \"%s\": a label has at most %d bytes",
                          want->label, KL_KEY_LABEL_MAX);
    }
    if (want->optional) {
        rc = is_absent(loader, want->label, &absent, err);
        if (rc != KL_OK || absent) {
            return rc;
        }
    }
    rc = kl_pair_find_work(loader->session, want->label, &suite, &work->handle, &work->public_key,
                           err);
    if (rc != KL_OK) {
        return rc;
    }
    loader->work_count++; /* so that its public key is freed */
    work->token_key = work->handle;
    memcpy(work->label, want->label, len + 1);
    work->suite = find_suite(suite);
    if (!work->suite) {
        return kl_err_set(err, KL_ERR_INTERNAL, "work key \"%s\" is of suite %d", want->label,
                          suite);
    }
    return kl_pubkey_type(work->public_key, &work->type, &work->bits, err);
}

static enum kl_rc open_keys(struct kl_loader *loader, const struct kl_loader_config *config,
                            struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    if (config->work_key_count == 0 || config->work_key_count > KL_LOADER_KEYS_MAX) {
        return kl_err_set(err, KL_ERR_INTERNAL, "%zu work keys", config->work_key_count);
    }
    for (size_t i = 0; rc == KL_OK && i < config->work_key_count; i++) {
        rc = add_work_key(loader, &config->work_keys[i], err);
    }
    if (rc == KL_OK && loader->work_count == 0) {
        rc = kl_err_set(err, KL_ERR_KEY, "none of the work keys is on the token");
    }
    if (rc == KL_OK) {
        rc = kl_storage_key_find(loader->session, config->storage_key, &loader->storage_key, err);
    }
    if (rc == KL_OK) {
        rc = kl_binding_key_find(loader->session, config->binding_key, &loader->binding_key, err);
    }
    loader->storage_token_key = loader->storage_key;
    loader->binding_token_key = loader->binding_key;
    return rc;
}

/* From here on the loader works with copies. */
static enum kl_rc copy_keys(struct kl_loader *loader, struct kl_err *err)
{
    char what[KL_KEY_LABEL_MAX + 16];
    enum kl_rc rc =
        kl_key_copy(loader->session, loader->storage_key, "storage key", &loader->storage_key, err);

    if (rc == KL_OK) {
        rc = kl_key_copy(loader->session, loader->binding_key, "binding key", &loader->binding_key,
                         err);
    }
    for (size_t i = 0; rc == KL_OK && i < loader->work_count; i++) {
        struct kl_work *work = &loader->work[i];

        (void)snprintf(what, sizeof(what), "work key \"%s\"", work->label);
        rc = kl_key_copy(loader->session, work->token_key, what, &work->handle, err);
    }
    return rc;
}

enum kl_rc kl_loader_open(struct kl_token *token, const struct kl_loader_config *config,
                          struct kl_loader **out, struct kl_err *err)
{
    struct kl_loader *loader = calloc(1, sizeof(*loader));
    enum kl_rc rc;

    if (!loader) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a loader");
    }
    loader->strength_enforce = config->strength_enforce;
    loader->host_fallback = config->host_fallback;
    loader->oaep_hash = config->oaep_hash;
    loader->accept = config->accept;
    loader->audit_key = config->audit_key;
    if ((rc = kl_session_open(token, &loader->session, err)) != KL_OK ||
        (rc = open_keys(loader, config, err)) != KL_OK ||
        (config->session_copies && (rc = copy_keys(loader, err)) != KL_OK) ||
        (rc = kl_loader_selftest(loader, err)) != KL_OK) {
        kl_loader_free(loader);
        return rc;
    }
    loader->audit_key = NULL; /* it was the caller's */
    *out = loader;
    return KL_OK;
}

void kl_loader_free(struct kl_loader *loader)
{
    if (!loader) {
        return;
    }
    for (size_t i = 0; i < loader->work_count; i++) {
        EVP_PKEY_free(loader->work[i].public_key);
    }
    kl_session_free(loader->session);
    free(loader);
}

size_t kl_loader_keys(const struct kl_loader *loader, struct kl_loader_key out[KL_LOADER_KEYS_MAX])
{
    for (size_t i = 0; i < loader->work_count; i++) {
        const struct kl_work *work = &loader->work[i];

        out[i] = (struct kl_loader_key){
            .label = work->label,
            .suite = work->suite->id,
            .oaep_hash = work->oaep_hash,
            .public_key = work->public_key,
        };
    }
    return loader->work_count;
}

const struct kl_weaknesses *kl_loader_weaknesses(const struct kl_loader *loader)
{
    return &loader->weak;
}

enum kl_rc kl_loader_check_values(struct kl_loader *loader, uint8_t storage[KL_MAC_LEN],
                                  uint8_t binding[KL_MAC_LEN], struct kl_err *err)
{
    enum kl_rc rc = kl_storage_key_check(loader->session, loader->storage_key, storage, err);

    return rc == KL_OK ? kl_binding_key_check(loader->session, loader->binding_key, binding, err)
                       : rc;
}

enum kl_rc kl_loader_alive(struct kl_loader *loader, struct kl_err *err)
{
    const struct kl_work *work = &loader->work[0];
    CK_SESSION_INFO info = {0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    size_t count = 0;
    CK_RV rv = kl_session_functions(loader->session)
                   ->C_GetSessionInfo(kl_session_handle(loader->session), &info);
    enum kl_rc rc;

    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GetSessionInfo", "the session of an idle worker");
    }
    if (info.state != CKS_RO_USER_FUNCTIONS && info.state != CKS_RW_USER_FUNCTIONS) {
        return kl_err_set(err, KL_ERR_TOKEN, "the token has logged out an idle worker");
    }
    rc = kl_object_find(loader->session, CKO_PRIVATE_KEY, work->label, &handle, 1, &count, err);
    if (rc == KL_OK && (count == 0 || handle != work->token_key)) {
        rc = kl_err_set(err, KL_ERR_KEY, "work key \"%s\" is not where it was", work->label);
    }
    return rc;
}

static const struct kl_work *find_work(const struct kl_loader *loader, const char *label)
{
    for (size_t i = 0; i < loader->work_count; i++) {
        if (strcmp(loader->work[i].label, label) == 0) {
            return &loader->work[i];
        }
    }
    return NULL;
}

/* ---- A load ---- */

/* The messages of one load, and what follows from them. */
struct load {
    const struct kl_load_in *in;
    const struct kl_work *work;
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

enum kl_rc kl_loader_decode(struct kl_bytes der, enum kl_msg_type type, struct kl_msg *out,
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

/* Are the messages of the suite that the work key is for? A key serves one suite only, so that no
 * peer, and no network process, can have it used as another's. */
static enum kl_rc check_suite(const struct load *load, struct kl_err *err)
{
    const struct kl_work *work = load->work;
    const struct kl_hello *hello = &load->hello.u.hello;
    const struct kl_certificate *certificate = &load->certificate.u.certificate;
    enum kl_suite suite = work->suite->id;

    if (!offers(hello->suites, hello->suite_count, suite)) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "suite %s is not in the Hello",
                          kl_suite_name(suite));
    }
    if (certificate->suite != suite || certificate->oaep_hash != work->oaep_hash) {
        return kl_err_set(err, KL_ERR_PROTOCOL,
                          "Certificate announces suite %u and OAEP hash %u; work key \"%s\" is for "
                          "suite %d and OAEP hash %d",
                          certificate->suite, certificate->oaep_hash, work->label, suite,
                          work->oaep_hash);
    }
    if (load->randoms.u.randoms.suite != suite) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "Randoms of suite %d; work key \"%s\" is for %s",
                          load->randoms.u.randoms.suite, work->label, kl_suite_name(suite));
    }
    return KL_OK;
}

/* Do the messages allow what is asked for? */
static enum kl_rc check(const struct kl_loader *loader, const struct load *load, struct kl_err *err)
{
    const struct kl_load_in *in = load->in;
    const struct kl_hello *hello = &load->hello.u.hello;
    const struct kl_alg_info *info = kl_alg_info(in->alg);
    enum kl_rc rc;

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
    if ((rc = check_suite(load, err)) != KL_OK) {
        return rc;
    }
    if (!offers(hello->algs, hello->alg_count, in->alg)) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "algorithm %s is not in the Hello", info->name);
    }
    return loader->strength_enforce
               ? kl_alg_strength(load->work->type, load->work->bits, in->alg, err)
               : KL_OK;
}

/* Is the imported TMK that terminal's? Before the work key does anything for it. */
static enum kl_rc check_imported(const struct kl_loader *loader, const struct load *load,
                                 struct kl_err *err)
{
    const struct kl_stored_key *tmk = load->in->tmk;
    const struct kl_binding_of what = {
        .kind = KL_BINDING_IMPORT,
        .serial = load->hello.u.hello.serial,
        .key = tmk,
    };

    if (!tmk) {
        return KL_OK;
    }
    if (tmk->alg != load->in->alg) {
        return kl_err_set(err, KL_ERR_STORE, "the imported TMK is of algorithm %d, not %d",
                          tmk->alg, load->in->alg);
    }
    return kl_binding_verify(loader->session, loader->binding_key, &what, err);
}

/* Decodes and checks the messages; T0 and T1 from their exact bytes. */
static enum kl_rc read_messages(const struct kl_loader *loader, struct load *load,
                                struct kl_err *err)
{
    const struct kl_load_in *in = load->in;
    enum kl_rc rc;

    if (!(load->work = find_work(loader, in->work_key))) {
        return kl_err_set(err, KL_ERR_UNAVAILABLE, "load job: no work key \"%s\" is served here",
                          in->work_key);
    }
    if ((rc = kl_loader_decode(in->hello, KL_MSG_HELLO, &load->hello, err)) != KL_OK ||
        (rc = kl_loader_decode(in->certificate, KL_MSG_CERTIFICATE, &load->certificate, err)) !=
            KL_OK ||
        (rc = kl_loader_decode(in->randoms, KL_MSG_RANDOMS, &load->randoms, err)) != KL_OK ||
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
    enum kl_rc rc = load->work->suite->recover(loader, load->work, &load->randoms.u.randoms,
                                               load->t0, keys, load->tbs.rnd2, err);

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

/* A fresh TMK and its cryptogram for the store. */
static enum kl_rc draw_tmk(struct kl_loader *loader, struct load *load, struct kl_load_out *out,
                           struct kl_err *err)
{
    enum kl_rc rc = kl_op_generate_tmk(loader->session, load->in->alg, &load->keys.tmk, err);

    return rc != KL_OK ? rc
                       : kl_op_wrap(loader->session, loader->storage_key, load->keys.tmk,
                                    out->cryptogram, &out->cryptogram_len, err);
}

/* The imported TMK; the cryptogram stays what it is. */
static enum kl_rc fetch_tmk(struct kl_loader *loader, struct load *load, struct kl_load_out *out,
                            struct kl_err *err)
{
    const struct kl_stored_key *stored = load->in->tmk;
    enum kl_rc rc =
        kl_op_unwrap_stored(loader->session, loader->storage_key, stored->alg, stored->cryptogram,
                            stored->cryptogram_len, KL_USE_KCV, &load->keys.tmk, err);

    if (rc == KL_OK) {
        memcpy(out->cryptogram, stored->cryptogram, sizeof(out->cryptogram));
        out->cryptogram_len = stored->cryptogram_len;
    }
    return rc;
}

/* To the terminal and the version under which it is about to be stored. */
static enum kl_rc bind_tmk(struct kl_loader *loader, const struct load *load,
                           struct kl_load_out *out, struct kl_err *err)
{
    struct kl_stored_key key = {.alg = load->in->alg,
                                .cryptogram_len = out->cryptogram_len,
                                .kcv_len = out->kcv_len};
    const struct kl_binding_of what = {
        .kind = KL_BINDING_TMK,
        .serial = load->hello.u.hello.serial,
        .version = load->in->tmk_version,
        .key = &key,
    };

    memcpy(key.cryptogram, out->cryptogram, sizeof(key.cryptogram));
    memcpy(key.kcv, out->kcv, sizeof(key.kcv));
    if (!kl_stored_key_whole(&key)) { /* nobody could unwrap it again */
        return kl_err_set(err, KL_ERR_HSM, "the token wrapped the TMK into %zu bytes",
                          key.cryptogram_len);
    }
    return kl_binding_compute(loader->session, loader->binding_key, &what, out->binding, err);
}

/* S7, first half: the TMK, its KCV, its two cryptograms and its binding. */
static enum kl_rc provide_tmk(struct kl_loader *loader, struct load *load, struct kl_load_out *out,
                              struct kl_err *err)
{
    const struct kl_load_in *in = load->in;
    struct kl_load_keys *keys = &load->keys;
    struct kl_tbs *tbs = &load->tbs;
    enum kl_rc rc = in->tmk ? fetch_tmk(loader, load, out, err) : draw_tmk(loader, load, out, err);

    if (rc != KL_OK ||
        (rc = kl_op_kcv(loader->session, keys->tmk, in->alg, in->kcv_len, tbs->kcv, err)) !=
            KL_OK ||
        (rc = kl_op_wrap(loader->session, keys->wrap, keys->tmk, tbs->ctmk, &tbs->ctmk_len, err)) !=
            KL_OK) {
        return rc;
    }
    if (tbs->ctmk_len != kl_alg_wrapped_len(kl_alg_info(in->alg))) {
        return kl_err_set(err, KL_ERR_HSM, "the token wrapped the TMK into %zu bytes",
                          tbs->ctmk_len);
    }
    memcpy(tbs->serial, load->hello.u.hello.serial, sizeof(tbs->serial));
    tbs->usage = KL_USAGE_KEK;
    tbs->alg = (uint8_t)in->alg;
    tbs->version = in->tmk_version;
    tbs->kcv_method = (uint8_t)kl_alg_info(in->alg)->kcv_method;
    tbs->kcv_len = in->kcv_len;
    memcpy(out->kcv, tbs->kcv, tbs->kcv_len);
    out->kcv_len = tbs->kcv_len;
    return bind_tmk(loader, load, out, err);
}

/* S7, second half: the MasterKey message. */
static enum kl_rc seal(struct kl_loader *loader, struct load *load, struct kl_load_out *out,
                       struct kl_err *err)
{
    const struct kl_suite_loader *suite = load->work->suite;
    struct kl_msg msg = {.type = KL_MSG_MASTER_KEY};
    struct kl_master_key *master_key = &msg.u.master_key;
    uint8_t tbs_der[KL_TBS_MAX];
    size_t tbs_len = 0;
    enum kl_rc rc;

    master_key->tbs = load->tbs;
    if (suite->recovers) {
        memset(master_key->tbs.rnd2, 0, sizeof(master_key->tbs.rnd2));
        memset(master_key->tbs.ctmk, 0, sizeof(master_key->tbs.ctmk));
        master_key->tbs.ctmk_len = 0;
    }
    if ((rc = kl_tbs_encode(&master_key->tbs, tbs_der, &tbs_len, err)) != KL_OK) {
        goto out;
    }
    master_key->tbs_der = (struct kl_bytes){tbs_der, tbs_len};
    rc = suite->sign(loader, load->work, &load->tbs, master_key->tbs_der, master_key->sig,
                     &master_key->sig_len, err);
    if (rc == KL_OK && suite->mac) {
        rc = suite->mac(loader, load->keys.rnd1, load->t0, master_key->tbs_der, master_key->mac,
                        err);
    }
    if (rc == KL_OK) {
        rc = kl_msg_encode_into(&msg, out->master_key, sizeof(out->master_key),
                                &out->master_key_len, err);
    }
out:
    kl_wipe(&master_key->tbs, sizeof(master_key->tbs)); /* Rnd2' */
    kl_wipe(master_key->sig, master_key->sig_len);      /* in classic it encloses that */
    kl_wipe(tbs_der, tbs_len);
    return rc;
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
    struct load load = {.in = in};
    struct kl_load_out result = {0};
    enum kl_rc rc;

    if ((rc = read_messages(loader, &load, err)) == KL_OK &&
        (rc = check_imported(loader, &load, err)) == KL_OK &&
        (rc = recover(loader, &load, err)) == KL_OK &&
        (rc = provide_tmk(loader, &load, &result, err)) == KL_OK &&
        (rc = seal(loader, &load, &result, err)) == KL_OK &&
        (rc = compute_macs(loader, &load, &result, err)) == KL_OK) {
        *out = result;
    }
    destroy_keys(loader, &load.keys);
    kl_transcript_free(load.transcript);
    /* Rnd2', and MACs that authorise what has not been decided yet. */
    kl_wipe(&load.tbs, sizeof(load.tbs));
    kl_wipe(&result, sizeof(result));
    return rc;
}

/* ---- Bad bytes or a lost token ---- */

/* Modules give the same answers (CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, ...) to both. Once in an
 * interval only, so that bad peers do not double the token's work. */
enum kl_rc kl_loader_blame(struct kl_loader *loader, const struct kl_work *work, enum kl_rc rc,
                           struct kl_err *err)
{
    struct kl_err cause = KL_ERR_INIT;
    int64_t now = kl_clock_ms();

    if ((rc != KL_ERR_VERIFY && rc != KL_ERR_STORE) || now < loader->next_check) {
        return rc;
    }
    loader->next_check = now + CHECK_INTERVAL_MS;
    if (kl_loader_known_answer(loader, work, &cause) == KL_OK) {
        return rc;
    }
    return kl_err_native(err, KL_ERR_HSM, cause.source, cause.native, cause.op,
                         "the token fails on a known answer, too: %s", cause.text);
}

enum kl_rc kl_loader_run(struct kl_loader *loader, const struct kl_load_in *in,
                         struct kl_load_out *out, struct kl_err *err)
{
    enum kl_rc rc = kl_loader_load(loader, in, out, err);

    return rc == KL_OK ? KL_OK : kl_loader_blame(loader, find_work(loader, in->work_key), rc, err);
}
