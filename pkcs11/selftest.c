/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a token can do is learnt by doing it: mechanism lists promise what calls refuse. Before a
 * loader serves anybody it unwraps a known key by OAEP and compares the result with OpenSSL's,
 * performs whole loads with itself as the terminal (selftest_load.c), and checks that the
 * CKA_UNWRAP_TEMPLATE of both keys binds.
 */
#include "pkcs11/suite.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "proto/rsa.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Known answers: no secrets, these keys protect nothing ---- */

static const uint8_t known_rnd1[KL_RND1_LEN] = "keyloader self-test: known Rnd1";
static const uint8_t known_label[KL_HASH_LEN] = "keyloader self-test: the label.";
static const uint8_t known_text[] = "keyloader self-test";

static enum kl_rc encrypt_known(struct kl_loader *loader, enum kl_oaep_hash hash,
                                uint8_t out[KL_RSA_MAX], size_t *len, struct kl_err *err)
{
    return kl_rsa_oaep_encrypt(loader->public_key, hash, known_rnd1, sizeof(known_rnd1), out, len,
                               err);
}

/* AES-CMAC of known_text under AES-256-ECB(known_rnd1, known_label), as OpenSSL sees it. */
static enum kl_rc known_mac(uint8_t mac[KL_MAC_LEN], struct kl_err *err)
{
    EVP_CIPHER_CTX *cipher;
    uint8_t key[KL_HASH_LEN];
    enum kl_rc rc = KL_OK;
    size_t mac_len = 0;
    int len = 0;

    ERR_clear_error();
    cipher = EVP_CIPHER_CTX_new();
    if (!cipher || EVP_EncryptInit_ex2(cipher, EVP_aes_256_ecb(), known_rnd1, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(cipher, 0) != 1 ||
        EVP_EncryptUpdate(cipher, key, &len, known_label, sizeof(known_label)) != 1 ||
        !EVP_Q_mac(NULL, "CMAC", NULL, "AES-256-CBC", NULL, key, sizeof(key), known_text,
                   sizeof(known_text), mac, KL_MAC_LEN, &mac_len)) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_Q_mac", "known answer");
    }
    EVP_CIPHER_CTX_free(cipher);
    return rc;
}

/* Does the token take Rnd1 by OAEP with that hash, and derive and MAC as everybody does? */
enum kl_rc kl_loader_known_answer(struct kl_loader *loader, enum kl_oaep_hash hash,
                                  struct kl_err *err)
{
    CK_OBJECT_HANDLE rnd1 = CK_INVALID_HANDLE, key = CK_INVALID_HANDLE;
    uint8_t c_rnd1[KL_RSA_MAX], expected[KL_MAC_LEN], mac[KL_MAC_LEN];
    size_t len = 0;
    enum kl_rc rc;

    if ((rc = encrypt_known(loader, hash, c_rnd1, &len, err)) != KL_OK ||
        (rc = known_mac(expected, err)) != KL_OK ||
        (rc = kl_op_unwrap_rnd1(loader->session, loader->work_key, hash, c_rnd1, len, &rnd1,
                                err)) != KL_OK ||
        (rc = kl_op_derive(loader->session, rnd1, known_label, KL_USE_MAC, &key, err)) != KL_OK ||
        (rc = kl_op_cmac(loader->session, key, known_text, sizeof(known_text), mac, err)) !=
            KL_OK) {
        goto out;
    }
    if (CRYPTO_memcmp(mac, expected, KL_MAC_LEN) != 0) {
        rc = kl_err_set(err, KL_ERR_HSM_LACKS,
                        "OAEP, CKM_AES_ECB_ENCRYPT_DATA or CKM_AES_CMAC gives a wrong result");
    }
out:
    kl_op_destroy(loader->session, &key);
    kl_op_destroy(loader->session, &rnd1);
    return rc;
}

static enum kl_rc choose_oaep(struct kl_loader *loader, struct kl_err *err)
{
    static const enum kl_oaep_hash strongest_first[] = {KL_OAEP_SHA256, KL_OAEP_SHA1};
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < COUNT(strongest_first); i++) {
        rc = kl_loader_known_answer(loader, strongest_first[i], err);
        if (rc == KL_OK) {
            loader->oaep_hash = strongest_first[i];
            return KL_OK;
        }
        if (rc == KL_ERR_TOKEN || rc == KL_ERR_MEMORY) {
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

static enum kl_rc check_work_key(struct kl_loader *loader, struct kl_err *err)
{
    CK_RSA_PKCS_OAEP_PARAMS params = kl_op_oaep_params(loader->oaep_hash);
    uint8_t c_rnd1[KL_RSA_MAX];
    struct bound bound = {
        .whose = "work key",
        .key = loader->work_key,
        .mechanism = {CKM_RSA_PKCS_OAEP, &params, sizeof(params)},
        .wrapped = c_rnd1,
        .demands = &kl_rnd1_demands,
    };
    enum kl_rc rc = encrypt_known(loader, loader->oaep_hash, c_rnd1, &bound.len, err);

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

enum kl_rc kl_loader_selftest(struct kl_loader *loader, struct kl_err *err)
{
    enum kl_rc rc = choose_oaep(loader, err);

    if (rc == KL_OK) {
        rc = check_work_key(loader, err);
    }
    if (rc == KL_OK) {
        rc = kl_loader_selftest_loads(loader, err);
    }
    if (rc == KL_OK) {
        rc = check_storage_key(loader, err);
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
