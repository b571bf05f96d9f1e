/* SPDX-License-Identifier: BSD-2-Clause */
/* Encrypted private keys: see pkcs8.h. */
#include "pkcs11/pkcs8.h"

#include <ctype.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <string.h>

#define ENCRYPT_IT \
    "encrypt it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -scrypt -in KEY -out FILE`"

/* The one PEM block, as DER: *der is the caller's to OPENSSL_free. */
static enum kl_rc read_pem(const char *text, size_t len, uint8_t **der, long *der_len,
                           struct kl_err *err)
{
    static const char begin[] = "-----BEGIN ";
    char *name = NULL, *header = NULL, *rest;
    uint8_t *data = NULL;
    long data_len = 0, rest_len;
    BIO *bio;
    enum kl_rc rc = KL_OK;

    if (len < sizeof(begin) - 1 || len > KL_PKCS8_FILE_MAX || memchr(text, '\0', len) ||
        memcmp(text, begin, sizeof(begin) - 1) != 0) {
        return kl_err_set(err, KL_ERR_INPUT, "not a PEM file that begins with a key");
    }
    kl_err_openssl_clear();
    bio = BIO_new_mem_buf(text, (int)len);
    if (!bio || PEM_read_bio(bio, &name, &header, &data, &data_len) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INPUT, "PEM_read_bio", "not a whole PEM file");
        goto out;
    }
    if (strstr(name, "PRIVATE KEY") && (strcmp(name, PEM_STRING_PKCS8) != 0 || *header)) {
        rc = kl_err_set(err, KL_ERR_INPUT,
                        "a private key that is not encrypted PKCS#8: " ENCRYPT_IT);
        goto out;
    }
    if (strcmp(name, PEM_STRING_PKCS8) != 0) {
        rc = kl_err_set(err, KL_ERR_INPUT, "holds a %.40s, not an encrypted private key", name);
        goto out;
    }
    rest_len = BIO_get_mem_data(bio, &rest);
    for (long i = 0; rc == KL_OK && i < rest_len; i++) {
        if (!isspace((unsigned char)rest[i])) {
            rc = kl_err_set(err, KL_ERR_INPUT, "something follows the key");
        }
    }
    if (rc == KL_OK) {
        *der = data;
        *der_len = data_len;
        data = NULL;
    }
out:
    OPENSSL_clear_free(data, data ? (size_t)data_len : 0);
    OPENSSL_free(header);
    OPENSSL_free(name);
    BIO_free(bio);
    return rc;
}

static enum kl_rc read_sealed(const char *text, size_t len, X509_SIG **out, struct kl_err *err)
{
    const X509_ALGOR *algor;
    const ASN1_OBJECT *oid;
    const uint8_t *at;
    X509_SIG *sealed = NULL;
    uint8_t *der = NULL;
    long der_len = 0;
    enum kl_rc rc = read_pem(text, len, &der, &der_len, err);

    if (rc != KL_OK) {
        return rc;
    }
    at = der;
    sealed = d2i_X509_SIG(NULL, &at, der_len);
    if (!sealed) {
        rc = kl_err_openssl(err, KL_ERR_INPUT, "d2i_X509_SIG", "not encrypted PKCS#8");
    } else if (at != der + der_len) {
        rc = kl_err_set(err, KL_ERR_INPUT, "something follows the key within its PEM block");
    } else {
        X509_SIG_get0(sealed, &algor, NULL);
        X509_ALGOR_get0(&oid, NULL, NULL, algor);
        if (OBJ_obj2nid(oid) != NID_pbes2) {
            rc = kl_err_set(
                err, KL_ERR_INPUT,
                "encrypted by an outdated scheme, must be PBES2: decrypt it, then " ENCRYPT_IT);
        }
    }
    if (rc == KL_OK) {
        *out = sealed;
        sealed = NULL;
    }
    X509_SIG_free(sealed);
    OPENSSL_free(der);
    return rc;
}

enum kl_rc kl_pkcs8_check(const char *text, size_t len, struct kl_err *err)
{
    X509_SIG *sealed = NULL;
    enum kl_rc rc = read_sealed(text, len, &sealed, err);

    X509_SIG_free(sealed);
    return rc;
}

/* clear, to its last byte, is a private key. */
static enum kl_rc decode(const uint8_t *clear, int len, EVP_PKEY **out, struct kl_err *err)
{
    const uint8_t *at = clear;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, len);
    EVP_PKEY *key = NULL;
    enum kl_rc rc = KL_OK;

    if (!info) {
        /* What a wrong passphrase that happens to unpad looks like, too. */
        rc = kl_err_openssl(err, KL_ERR_PIN, "d2i_PKCS8_PRIV_KEY_INFO",
                            "the passphrase does not open it");
    } else if (at != clear + len) {
        rc = kl_err_set(err, KL_ERR_INPUT, "something follows the key within its encryption");
    } else if (!(key = EVP_PKCS82PKEY(info))) {
        rc = kl_err_openssl(err, KL_ERR_INPUT, "EVP_PKCS82PKEY", "not a private key that is known");
    } else {
        *out = key;
    }
    PKCS8_PRIV_KEY_INFO_free(info);
    return rc;
}

enum kl_rc kl_pkcs8_open(const char *text, size_t len, struct kl_secret *passphrase, EVP_PKEY **out,
                         struct kl_err *err)
{
    const ASN1_OCTET_STRING *sealed_key;
    const X509_ALGOR *algor;
    X509_SIG *sealed = NULL;
    uint8_t *clear = NULL;
    int clear_len = 0;
    enum kl_rc rc = read_sealed(text, len, &sealed, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_err_openssl_clear();
    X509_SIG_get0(sealed, &algor, &sealed_key);
    if (!PKCS12_pbe_crypt(algor, (const char *)kl_secret_data(passphrase),
                          (int)kl_secret_len(passphrase), ASN1_STRING_get0_data(sealed_key),
                          ASN1_STRING_length(sealed_key), &clear, &clear_len, 0)) {
        rc = kl_err_openssl(err, KL_ERR_PIN, "PKCS12_pbe_crypt", "the passphrase does not open it");
    } else {
        rc = decode(clear, clear_len, out, err);
        OPENSSL_clear_free(clear, (size_t)clear_len);
    }
    X509_SIG_free(sealed);
    return rc;
}
