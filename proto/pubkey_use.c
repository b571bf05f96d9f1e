/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is done with a public key: encrypting to its owner and verifying the owner's signatures.
 * Setting OpenSSL up for that costs as much as a third of an RSA operation itself, so that who uses
 * a key more than once keeps it set up.
 */
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "proto/digest.h"
#include "proto/pubkey.h"

struct kl_pubkey {
    EVP_PKEY *key;
    enum kl_key_type type;
    unsigned bits;
    unsigned references;
    /* Made when first needed. */
    EVP_PKEY_CTX *verify, *oaep;
    enum kl_oaep_hash oaep_hash; /* that oaep was made for */
};

static void wipe(struct kl_pubkey *key)
{
    EVP_PKEY_CTX_free(key->verify);
    EVP_PKEY_CTX_free(key->oaep);
}

enum kl_rc kl_pubkey_new(EVP_PKEY *key, struct kl_pubkey **out, struct kl_err *err)
{
    struct kl_pubkey *made = calloc(1, sizeof(*made));
    enum kl_rc rc;

    if (!made) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a public key");
    }
    rc = kl_pubkey_type(key, &made->type, &made->bits, err);
    if (rc) {
        free(made);
        return rc;
    }
    EVP_PKEY_up_ref(key);
    made->key = key;
    made->references = 1;
    *out = made;
    return KL_OK;
}

struct kl_pubkey *kl_pubkey_ref(struct kl_pubkey *key)
{
    key->references++;
    return key;
}

void kl_pubkey_free(struct kl_pubkey *key)
{
    if (key && --key->references == 0) {
        wipe(key);
        EVP_PKEY_free(key->key);
        free(key);
    }
}

EVP_PKEY *kl_pubkey_evp(const struct kl_pubkey *key)
{
    return key->key;
}

enum kl_key_type kl_pubkey_is(const struct kl_pubkey *key)
{
    return key->type;
}

unsigned kl_pubkey_bits(const struct kl_pubkey *key)
{
    return key->bits;
}

/* ---- Encrypting ---- */

static int make_oaep(struct kl_pubkey *key, enum kl_oaep_hash hash)
{
    const EVP_MD *md = hash == KL_OAEP_SHA256 ? EVP_sha256() : EVP_sha1();

    if (key->oaep && key->oaep_hash == hash) {
        return 1;
    }
    EVP_PKEY_CTX_free(key->oaep);
    key->oaep = EVP_PKEY_CTX_new(key->key, NULL);
    key->oaep_hash = hash;
    return key->oaep && EVP_PKEY_encrypt_init(key->oaep) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(key->oaep, RSA_PKCS1_OAEP_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(key->oaep, md) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(key->oaep, md) == 1;
}

enum kl_rc kl_pubkey_oaep(struct kl_pubkey *key, enum kl_oaep_hash hash, const uint8_t *in,
                          size_t in_len, uint8_t out[KL_RSA_MAX], size_t *len, struct kl_err *err)
{
    uint8_t encrypted[KL_RSA_MAX];
    size_t n = sizeof(encrypted);

    kl_err_openssl_clear();
    if (!make_oaep(key, hash) || EVP_PKEY_encrypt(key->oaep, encrypted, &n, in, in_len) != 1) {
        kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_PKEY_encrypt", "RSA-OAEP encryption failed");
        EVP_PKEY_CTX_free(key->oaep); /* it may be half made */
        key->oaep = NULL;
        return err->rc;
    }
    memcpy(out, encrypted, n);
    *len = n;
    return KL_OK;
}

enum kl_rc kl_rsa_oaep_encrypt(EVP_PKEY *key, enum kl_oaep_hash hash, const uint8_t *in,
                               size_t in_len, uint8_t out[KL_RSA_MAX], size_t *len,
                               struct kl_err *err)
{
    struct kl_pubkey once = {.key = key};
    enum kl_rc rc = kl_pubkey_oaep(&once, hash, in, in_len, out, len, err);

    wipe(&once);
    return rc;
}

/* ---- Verifying ---- */

static int make_verify(struct kl_pubkey *key, const char *hash)
{
    int is_rsa = key->type == KL_KEY_RSA;
    const EVP_MD *md;

    if (key->verify) {
        return 1;
    }
    md = kl_digest(hash);
    key->verify = md ? EVP_PKEY_CTX_new(key->key, NULL) : NULL;
    return key->verify && EVP_PKEY_verify_init(key->verify) == 1 &&
           (!is_rsa || EVP_PKEY_CTX_set_rsa_padding(key->verify, RSA_PKCS1_PSS_PADDING) == 1) &&
           EVP_PKEY_CTX_set_signature_md(key->verify, md) == 1 &&
           (!is_rsa || (EVP_PKEY_CTX_set_rsa_mgf1_md(key->verify, md) == 1 &&
                        EVP_PKEY_CTX_set_rsa_pss_saltlen(key->verify, KL_HASH_LEN) == 1));
}

static enum kl_rc verify_with(struct kl_pubkey *key, const uint8_t *sig, size_t sig_len,
                              const uint8_t *in, size_t in_len, struct kl_err *err)
{
    const char *name = key->type == KL_KEY_RSA ? "SHA256" : kl_curve_by_bits(key->bits)->hash;
    uint8_t hash[EVP_MAX_MD_SIZE];
    size_t hash_len = 0;
    enum kl_rc rc = kl_digest_of(name, in, in_len, hash, &hash_len, err);

    if (rc) {
        return rc;
    }
    if (!make_verify(key, name)) {
        kl_err_openssl(err, KL_ERR_VERIFY, "EVP_PKEY_verify_init", "cannot verify a signature");
        EVP_PKEY_CTX_free(key->verify); /* it may be half made */
        key->verify = NULL;
        return err->rc;
    }
    if (EVP_PKEY_verify(key->verify, sig, sig_len, hash, hash_len) != 1) {
        return kl_err_openssl(err, KL_ERR_VERIFY, "EVP_PKEY_verify",
                              key->type == KL_KEY_RSA ? "RSA-PSS signature does not verify"
                                                      : "ECDSA signature does not verify");
    }
    return KL_OK;
}

enum kl_rc kl_pubkey_check(struct kl_pubkey *key, const uint8_t *sig, size_t sig_len,
                           const uint8_t *in, size_t in_len, struct kl_err *err)
{
    uint8_t der[KL_ECDSA_DER_MAX];
    size_t der_len = 0;
    enum kl_rc rc;

    if (key->type == KL_KEY_RSA) {
        return verify_with(key, sig, sig_len, in, in_len, err);
    }
    rc = kl_ecdsa_to_der(kl_curve_by_bits(key->bits), sig, sig_len, der, &der_len, err);
    return rc ? rc : verify_with(key, der, der_len, in, in_len, err);
}

enum kl_rc kl_pubkey_verify(EVP_PKEY *key, const uint8_t *sig, size_t sig_len, const uint8_t *in,
                            size_t in_len, struct kl_err *err)
{
    struct kl_pubkey once = {.key = key};
    enum kl_rc rc = kl_pubkey_type(key, &once.type, &once.bits, err);

    if (rc) {
        return err->rc = rc == KL_ERR_MEMORY ? rc : KL_ERR_VERIFY;
    }
    rc = kl_pubkey_check(&once, sig, sig_len, in, in_len, err);
    wipe(&once);
    return rc;
}
