/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A CRL, in DER or PEM: whatever parses must encode to the same bytes and be fit to be judged and
 * searched; of an issuer of its own name, with a key that signed nothing, it must never be good.
 */
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cert.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EVP_PKEY *key;
static X509 *issuer;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    X509_EXTENSION *usage =
        X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, "critical,keyCertSign,cRLSign");

    (void)argc;
    (void)argv;
    key = EVP_EC_gen("P-256");
    issuer = X509_new();
    if (!usage || !key || !issuer || !X509_set_version(issuer, X509_VERSION_3) ||
        !X509_set_pubkey(issuer, key) || !ASN1_TIME_set(X509_getm_notBefore(issuer), 0) ||
        !ASN1_TIME_set(X509_getm_notAfter(issuer), 0) || !X509_add_ext(issuer, usage, -1)) {
        abort();
    }
    X509_EXTENSION_free(usage);
    return 0;
}

static void judge(X509_CRL *crl)
{
    static const char *const scopes[] = {KL_CRL_SCOPE_LOADER, KL_CRL_SCOPE_TERMINAL};
    struct kl_err err = KL_ERR_INIT;
    const ASN1_TIME *from = X509_CRL_get0_lastUpdate(crl);
    time_t now = 1800000000;
    int days = 0, seconds = 0;

    /* Of its own time and name, so that the checks behind these are reached. */
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    if (epoch && ASN1_TIME_diff(&days, &seconds, epoch, from) == 1) {
        now = (time_t)days * 86400 + seconds;
    }
    ASN1_TIME_free(epoch);
    if (!X509_set_subject_name(issuer, X509_CRL_get_issuer(crl)) ||
        !X509_sign(issuer, key, EVP_sha256())) { /* else OpenSSL finds no keyUsage in it */
        abort();
    }
    for (size_t i = 0; i < 2; i++) {
        if (kl_crl_verify(crl, issuer, scopes[i], now, &err) == KL_OK || err.text[0] == '\0') {
            abort();
        }
    }
    (void)kl_crl_lists(crl, issuer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t *again = NULL;
    X509_CRL *crl = NULL;
    int len;

    if (kl_crl_from_pem((const char *)data, size, &crl, &err) == KL_OK) {
        judge(crl);
        X509_CRL_free(crl);
        crl = NULL;
    }
    if (kl_crl_from_der(data, size, &crl, &err) != KL_OK) {
        if ((err.rc != KL_ERR_CERT && err.rc != KL_ERR_MEMORY) || err.text[0] == '\0') {
            abort();
        }
        return 0;
    }
    len = i2d_X509_CRL(crl, &again);
    if (len < 0 || (size_t)len != size || memcmp(again, data, size) != 0) {
        abort();
    }
    judge(crl);
    OPENSSL_free(again);
    X509_CRL_free(crl);
    return 0;
}
