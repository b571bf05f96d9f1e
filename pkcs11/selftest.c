/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a token can do is learnt by doing it: mechanism lists promise what calls refuse. Before a
 * loader serves anybody it recovers, with each work key, randoms that OpenSSL has enclosed, and
 * compares what comes of them with OpenSSL's; performs whole loads with itself as the terminal
 * (selftest_load.c), and sign-ins (selftest_signin.c); and tries what the attributes of its keys
 * forbid (selftest_policy.c, selftest_keys.c).
 */
#include "pkcs11/suite.h"

#include <openssl/crypto.h>

#include "pkcs11/ops.h"
#include "proto/pubkey.h"

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
    kl_err_openssl_clear();
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
        if (work->type == KL_KEY_RSA && loader->oaep_hash != 0 &&
            work->oaep_hash != loader->oaep_hash) {
            continue;
        }
        rc = kl_loader_known_answer(loader, work, err);
        if (rc == KL_OK || rc == KL_ERR_TOKEN || rc == KL_ERR_MEMORY) {
            break;
        }
    }
    if (rc != KL_OK && work->type == KL_KEY_RSA && loader->oaep_hash != 0) {
        return kl_err_context(err, "RSA-OAEP with %s, as [policy] oaep-hash wants it",
                              loader->oaep_hash == KL_OAEP_SHA256 ? "SHA-256" : "SHA-1");
    }
    return rc;
}

/* ---- All of it ---- */

static enum kl_rc check_work_key(struct kl_loader *loader, struct kl_work *work, struct kl_err *err)
{
    enum kl_rc rc = learn(loader, work, err);

    if (rc == KL_OK) {
        rc = kl_loader_selftest_work_policy(loader, work, err);
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
        rc = kl_loader_selftest_policy(loader, err);
    }
    if (rc == KL_OK) {
        rc = kl_loader_selftest_keys(loader, err);
    }
    if (rc == KL_OK) {
        rc = kl_loader_selftest_sign_in(loader, err);
    }
    if (rc == KL_OK) {
        rc = kl_weakness_judge(&loader->weak, loader->accept, err);
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
