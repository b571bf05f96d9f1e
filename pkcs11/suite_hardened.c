/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the hardened suites share once Rnd1' is there: K_wrap, and Rnd2 by AES-256-GCM under
 * K_nonce; and the terminal's half of that, for the self-test.
 */
#include "pkcs11/suite.h"

#include <string.h>

#include "proto/pubkey.h"

enum kl_rc kl_hardened_recover(struct kl_loader *loader, const struct kl_randoms *randoms,
                               const uint8_t t0[KL_HASH_LEN], struct kl_load_keys *keys,
                               uint8_t rnd2[KL_RND2_LEN], struct kl_err *err)
{
    CK_OBJECT_HANDLE nonce_key = CK_INVALID_HANDLE;
    enum kl_rc rc =
        kl_loader_derive(loader, keys->rnd1, t0, KL_PURPOSE_NONCE, KL_USE_DECRYPT, &nonce_key, err);

    if (rc == KL_OK) {
        rc = kl_op_gcm_decrypt(loader->session, nonce_key, randoms->iv, t0, KL_HASH_LEN,
                               randoms->c_rnd2, sizeof(randoms->c_rnd2), rnd2, err);
    }
    kl_op_destroy(loader->session, &nonce_key);
    if (rc == KL_OK) {
        rc = kl_loader_derive(loader, keys->rnd1, t0, KL_PURPOSE_WRAP, KL_USE_WRAP, &keys->wrap,
                              err);
    }
    return rc;
}

/* ---- The terminal, for the self-test ---- */

enum kl_rc kl_known_encrypt(const char *cipher, const uint8_t *key, const uint8_t *in, size_t len,
                            uint8_t *out, struct kl_err *err)
{
    EVP_CIPHER *type;
    EVP_CIPHER_CTX *ctx;
    enum kl_rc rc = KL_OK;
    int n = 0;

    kl_err_openssl_clear();
    type = EVP_CIPHER_fetch(NULL, cipher, NULL);
    ctx = EVP_CIPHER_CTX_new();
    if (ctx) {
        EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    }
    if (!type || !ctx || EVP_EncryptInit_ex2(ctx, type, key, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(ctx, 0) != 1 ||
        EVP_EncryptUpdate(ctx, out, &n, in, (int)len) != 1) {
        rc =
            kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_EncryptUpdate", "known answer by %s", cipher);
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(type);
    return rc;
}

static enum kl_rc known_gcm(const uint8_t key[KL_HASH_LEN], const uint8_t iv[KL_GCM_IV_LEN],
                            const uint8_t t0[KL_HASH_LEN], const uint8_t rnd2[KL_RND2_LEN],
                            uint8_t out[KL_RND2_LEN + KL_GCM_TAG_LEN], struct kl_err *err)
{
    EVP_CIPHER_CTX *ctx;
    enum kl_rc rc = KL_OK;
    int n = 0;

    kl_err_openssl_clear();
    ctx = EVP_CIPHER_CTX_new();
    if (!ctx || EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key, iv, NULL) != 1 ||
        EVP_EncryptUpdate(ctx, NULL, &n, t0, KL_HASH_LEN) != 1 ||
        EVP_EncryptUpdate(ctx, out, &n, rnd2, KL_RND2_LEN) != 1 ||
        EVP_EncryptFinal_ex(ctx, out + KL_RND2_LEN, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, KL_GCM_TAG_LEN, out + KL_RND2_LEN) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_EncryptUpdate", "known answer by GCM");
    }
    EVP_CIPHER_CTX_free(ctx);
    return rc;
}

enum kl_rc kl_hardened_enclose_known(const uint8_t t0[KL_HASH_LEN], const uint8_t rnd1[KL_RND1_LEN],
                                     const uint8_t rnd2[KL_RND2_LEN], struct kl_randoms *out,
                                     struct kl_err *err)
{
    uint8_t label[KL_HASH_LEN], key[KL_HASH_LEN];
    enum kl_rc rc = kl_suite_label(KL_PURPOSE_NONCE, t0, label, err);

    memset(out->iv, 0x6b, sizeof(out->iv));
    if (rc == KL_OK) {
        rc = kl_known_encrypt("AES-256-ECB", rnd1, label, sizeof(label), key, err);
    }
    return rc != KL_OK ? rc : known_gcm(key, out->iv, t0, rnd2, out->c_rnd2, err);
}

enum kl_rc kl_hardened_enclose(struct kl_loader *loader, const uint8_t t0[KL_HASH_LEN],
                               struct kl_self_pad *pad, struct kl_randoms *out, struct kl_err *err)
{
    struct kl_session *session = loader->session;
    CK_OBJECT_HANDLE nonce = CK_INVALID_HANDLE;
    enum kl_rc rc;

    if ((rc = kl_op_random(session, pad->rnd2, sizeof(pad->rnd2), err)) == KL_OK &&
        (rc = kl_op_random(session, out->iv, sizeof(out->iv), err)) == KL_OK &&
        (rc = kl_loader_derive(loader, pad->rnd1, t0, KL_PURPOSE_NONCE, KL_USE_ENCRYPT, &nonce,
                               err)) == KL_OK &&
        (rc = kl_op_gcm_encrypt(session, nonce, out->iv, t0, KL_HASH_LEN, pad->rnd2,
                                sizeof(pad->rnd2), out->c_rnd2, err)) == KL_OK) {
        rc = kl_loader_derive(loader, pad->rnd1, t0, KL_PURPOSE_WRAP, KL_USE_UNWRAP, &pad->unwrap,
                              err);
    }
    kl_op_destroy(session, &nonce);
    return rc;
}

enum kl_rc kl_hardened_open(const struct kl_work *work, struct kl_master_key *master_key,
                            struct kl_err *err)
{
    return kl_pubkey_verify(work->public_key, master_key->sig, master_key->sig_len,
                            master_key->tbs_der.data, master_key->tbs_der.len, err);
}
