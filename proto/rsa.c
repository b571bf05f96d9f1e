/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RSA public key operations.
 */
#include "proto/rsa.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

enum kl_rc kl_rsa_oaep_encrypt(EVP_PKEY *key, enum kl_oaep_hash hash, const uint8_t *in,
                               size_t in_len, uint8_t out[KL_RSA_MAX], size_t *len,
                               struct kl_err *err)
{
    const EVP_MD *md = hash == KL_OAEP_SHA256 ? EVP_sha256() : EVP_sha1();
    uint8_t encrypted[KL_RSA_MAX];
    size_t n = sizeof(encrypted);
    enum kl_rc rc = KL_OK;
    EVP_PKEY_CTX *ctx;

    ERR_clear_error();
    ctx = EVP_PKEY_CTX_new(key, NULL);
    if (!ctx || EVP_PKEY_encrypt_init(ctx) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) != 1 || EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) != 1 ||
        EVP_PKEY_encrypt(ctx, encrypted, &n, in, in_len) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_PKEY_encrypt", "RSA-OAEP encryption failed");
    } else {
        memcpy(out, encrypted, n);
        *len = n;
    }
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

enum kl_rc kl_rsa_pss_verify(EVP_PKEY *key, const uint8_t *sig, size_t sig_len, const uint8_t *in,
                             size_t in_len, struct kl_err *err)
{
    EVP_PKEY_CTX *pctx = NULL; /* owned by ctx */
    enum kl_rc rc = KL_OK;
    EVP_MD_CTX *ctx;

    ERR_clear_error();
    ctx = EVP_MD_CTX_new();
    if (!ctx || EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, key) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, EVP_sha256()) != 1 ||
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, KL_HASH_LEN) != 1 ||
        EVP_DigestVerify(ctx, sig, sig_len, in, in_len) != 1) {
        rc = kl_err_openssl(err, KL_ERR_VERIFY, "EVP_DigestVerify",
                            "RSA-PSS signature does not verify");
    }
    EVP_MD_CTX_free(ctx);
    return rc;
}
