/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a token can do is learnt by doing it: mechanism lists promise what calls refuse. Before a
 * loader serves anybody it recovers, with each work key, randoms that OpenSSL has enclosed, and
 * compares what comes of them with OpenSSL's; performs whole loads with itself as the terminal
 * (selftest_load.c), and sign-ins (selftest_signin.c); and checks that the CKA_UNWRAP_TEMPLATE of
 * every key that has one binds.
 */
#include "pkcs11/suite.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "proto/pubkey.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Known answers: no secrets, these keys protect nothing ---- */

static const uint8_t known_rnd1[KL_RND1_LEN] = "keyloader self-test: known Rnd1";
static const uint8_t known_rnd2[KL_RND2_LEN] = "keyloader self-test: known Rnd2";
static const uint8_t known_t0[KL_HASH_LEN] = "keyloader self-test: a known T0";
static const uint8_t known_text[] = "keyloader self-test";

/* AES-CMAC of known_text under known_rnd1's K_ack, as OpenSSL sees it. */
static enum kl_rc known_mac(uint8_t mac[KL_MAC_LEN], struct kl_err *err)
{
    uint8_t label[KL_HASH_LEN], key[KL_HASH_LEN];
    size_t mac_len = 0;
    enum kl_rc rc;

    if ((rc = kl_suite_label(KL_PURPOSE_ACK, known_t0, label, err)) != KL_OK ||
        (rc = kl_known_encrypt("AES-256-ECB", known_rnd1, label, sizeof(label), key, err)) !=
            KL_OK) {
        return rc;
    }
    ERR_clear_error();
    if (!EVP_Q_mac(NULL, "CMAC", NULL, "AES-256-CBC", NULL, key, sizeof(key), known_text,
                   sizeof(known_text), mac, KL_MAC_LEN, &mac_len)) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_Q_mac", "known answer");
    }
    return KL_OK;
}

/* The same from Rnd1' in the token. */
static enum kl_rc token_mac(struct kl_loader *loader, struct kl_load_keys *keys,
                            uint8_t mac[KL_MAC_LEN], struct kl_err *err)
{
    enum kl_rc rc =
        kl_loader_derive(loader, keys->rnd1, known_t0, KL_PURPOSE_ACK, KL_USE_MAC, &keys->ack, err);

    return rc != KL_OK
               ? rc
               : kl_op_cmac(loader->session, keys->ack, known_text, sizeof(known_text), mac, err);
}

enum kl_rc kl_loader_known_answer(struct kl_loader *loader, const struct kl_work *work,
                                  struct kl_err *err)
{
    struct kl_randoms randoms = {.suite = work->suite->id};
    struct kl_load_keys keys = {CK_INVALID_HANDLE};
    uint8_t expected[KL_MAC_LEN], mac[KL_MAC_LEN], rnd2[KL_RND2_LEN];
    enum kl_rc rc;

    if ((rc = work->suite->enclose_known(work, known_t0, known_rnd1, known_rnd2, &randoms, err)) !=
            KL_OK ||
        (rc = known_mac(expected, err)) != KL_OK ||
        (rc = work->suite->recover(loader, work, &randoms, known_t0, &keys, rnd2, err)) != KL_OK ||
        (rc = token_mac(loader, &keys, mac, err)) != KL_OK) {
        goto out;
    }
    if (CRYPTO_memcmp(mac, expected, KL_MAC_LEN) != 0 ||
        CRYPTO_memcmp(rnd2, known_rnd2, KL_RND2_LEN) != 0) {
        rc = kl_err_set(err, KL_ERR_HSM_LACKS,
                        "%s, CKM_AES_ECB_ENCRYPT_DATA or CKM_AES_CMAC gives a wrong result",
                        work->type == KL_KEY_EC ? "CKM_ECDH1_DERIVE" : "OAEP");
    }
out:
    kl_op_destroy(loader->session, &keys.ack);
    kl_op_destroy(loader->session, &keys.wrap);
    kl_op_destroy(loader->session, &keys.rnd1);
    return rc;
}

/* Finds out which of its suite's ways this token and key take. */
static enum kl_rc learn(struct kl_loader *loader, struct kl_work *work, struct kl_err *err)
{
    enum kl_rc rc = KL_ERR_HSM_LACKS;

    for (unsigned nth = 0; work->suite->choose(work, nth); nth++) {
        rc = kl_loader_known_answer(loader, work, err);
        if (rc == KL_OK || rc == KL_ERR_TOKEN || rc == KL_ERR_MEMORY) {
            break;
        }
    }
    return rc;
}

/* ---- CKA_UNWRAP_TEMPLATE ---- */

/* A wrapped key, the key that unwraps it, and what that one's template demands of the result. */
struct bound {
    const char *whose;
    CK_OBJECT_HANDLE key;
    CK_MECHANISM mechanism;
    const uint8_t *wrapped;
    size_t len;
    const struct kl_demands *demands;
    struct kl_demands rest; /* what C_UnwrapKey must be asked for besides */
};

static CK_ULONG another_value(const struct kl_demand *demand)
{
    if (!demand->is_number) {
        return !demand->value;
    }
    return demand->type == CKA_CLASS ? CKO_PRIVATE_KEY : CKK_GENERIC_SECRET;
}

/* Asks C_UnwrapKey for a key that the template forbids, in its nth point only, so that nothing else
 * can be why it is refused. A token may also make a key that obeys nevertheless. */
static enum kl_rc unwrap_against(struct kl_loader *loader, const struct bound *bound, size_t nth,
                                 struct kl_err *err)
{
    struct kl_demand list[KL_TMPL_MAX];
    const struct kl_demands changed = {list, bound->demands->count};
    CK_MECHANISM mechanism = bound->mechanism;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    char what[128];
    enum kl_rc rc;
    CK_RV rv;

    memcpy(list, bound->demands->list, changed.count * sizeof(list[0]));
    list[nth].value = another_value(&list[nth]);
    kl_tmpl_init(&tmpl);
    kl_demands_add(&bound->rest, &tmpl);
    kl_demands_add(&changed, &tmpl);
    rv = kl_session_functions(loader->session)
             ->C_UnwrapKey(kl_session_handle(loader->session), &mechanism, bound->key,
                           (CK_BYTE_PTR)bound->wrapped, (CK_ULONG)bound->len, tmpl.attrs,
                           tmpl.count, &key);
    if (rv != CKR_OK) {
        return KL_OK; /* refused, as it should be */
    }
    (void)snprintf(what, sizeof(what),
                   "the %s's CKA_UNWRAP_TEMPLATE does not bind: a key unwrapped by it",
                   bound->whose);
    rc = kl_object_demand(loader->session, key, bound->demands->list, bound->demands->count, what,
                          err);
    kl_op_destroy(loader->session, &key);
    return rc;
}

/* That the same without the change does get a key, the known answer or the loads have shown. */
static enum kl_rc check_binds(struct kl_loader *loader, const struct bound *bound,
                              struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; rc == KL_OK && i < bound->demands->count; i++) {
        rc = unwrap_against(loader, bound, i, err);
    }
    return rc;
}

static enum kl_rc check_work_template(struct kl_loader *loader, const struct kl_work *work,
                                      struct kl_err *err)
{
    CK_RSA_PKCS_OAEP_PARAMS params = kl_op_oaep_params(work->oaep_hash);
    uint8_t c_rnd1[KL_RSA_MAX];
    struct bound bound = {
        .whose = "work key",
        .key = work->handle,
        .mechanism = {CKM_RSA_PKCS_OAEP, &params, sizeof(params)},
        .wrapped = c_rnd1,
        .demands = &kl_rnd1_demands,
    };
    enum kl_rc rc = kl_rsa_oaep_encrypt(work->public_key, work->oaep_hash, known_rnd1,
                                        sizeof(known_rnd1), c_rnd1, &bound.len, err);

    return rc != KL_OK ? rc : check_binds(loader, &bound, err);
}

/* The same for the store's cryptograms, with a TMK that is nobody's. */
static enum kl_rc check_storage_key(struct kl_loader *loader, struct kl_err *err)
{
    static const struct kl_demand rest[] = {
        KL_DEMAND_NUMBER(CKA_KEY_TYPE, CKK_DES3),
        KL_DEMAND_BOOL(CKA_EXTRACTABLE, 0),
        KL_DEMAND_BOOL(CKA_ENCRYPT, 1),
        KL_DEMAND_BOOL(CKA_SIGN, 0),
        KL_DEMAND_BOOL(CKA_WRAP, 0),
    };
    CK_OBJECT_HANDLE tmk = CK_INVALID_HANDLE;
    uint8_t cryptogram[KL_CTMK_LEN_MAX];
    struct bound bound = {
        .whose = "storage key",
        .key = loader->storage_key,
        .mechanism = {CKM_AES_KEY_WRAP, NULL, 0},
        .wrapped = cryptogram,
        .demands = &kl_tmk_demands,
        .rest = {rest, COUNT(rest)},
    };
    enum kl_rc rc = kl_op_generate_tmk(loader->session, KL_ALG_TDES3, &tmk, err);

    if (rc == KL_OK) {
        rc = kl_op_wrap(loader->session, loader->storage_key, tmk, cryptogram, &bound.len, err);
    }
    if (rc == KL_OK) {
        rc = check_binds(loader, &bound, err);
    }
    kl_op_destroy(loader->session, &tmk);
    return rc;
}

/* ---- All of it ---- */

static enum kl_rc check_work_key(struct kl_loader *loader, struct kl_work *work, struct kl_err *err)
{
    enum kl_rc rc = learn(loader, work, err);

    if (rc == KL_OK && work->suite->unwraps) {
        rc = check_work_template(loader, work, err);
    }
    if (rc == KL_OK) {
        rc = kl_loader_selftest_loads(loader, work, err);
    }
    return rc != KL_OK ? kl_err_context(err, "work key \"%s\" (%s)", work->label,
                                        kl_suite_name(work->suite->id))
                       : KL_OK;
}

enum kl_rc kl_loader_selftest(struct kl_loader *loader, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; rc == KL_OK && i < loader->work_count; i++) {
        rc = check_work_key(loader, &loader->work[i], err);
    }
    if (rc == KL_OK) {
        rc = check_storage_key(loader, err);
    }
    if (rc == KL_OK) {
        rc = kl_loader_selftest_sign_in(loader, err);
    }
    switch (rc) {
    case KL_OK:
        return KL_OK;
    case KL_ERR_KEY:
    case KL_ERR_TOKEN:
    case KL_ERR_MEMORY:
        break;
    default:
        /* However a module says that it cannot: here it was no peer that gave the input. */
        err->rc = KL_ERR_HSM_LACKS;
    }
    return kl_err_context(err, "self-test");
}
