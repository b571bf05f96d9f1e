/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates and CRLs from files. */
#include "conf/certfile.h"

#include <stdlib.h>

#include "conf/cli.h"
#include "proto/cert.h"

enum kl_rc kl_cert_load_pem(const char *path, STACK_OF(X509) * *out, struct kl_err *err)
{
    char *text = NULL;
    size_t len = 0;
    enum kl_rc rc = kl_file_read(path, KL_CERT_PEM_MAX, &text, &len, err);

    if (rc == KL_OK) {
        rc = kl_cert_from_pem(text, len, out, err);
        if (rc != KL_OK) {
            (void)kl_err_context(err, "certificate file %s", path);
        }
    }
    free(text);
    return rc;
}

enum kl_rc kl_cert_load_one(const char *path, X509 **out, struct kl_err *err)
{
    STACK_OF(X509) *chain = NULL;
    enum kl_rc rc = kl_cert_load_pem(path, &chain, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (sk_X509_num(chain) == 1) {
        *out = sk_X509_pop(chain);
    } else {
        rc = kl_err_set(err, KL_ERR_CERT, "%s holds %d certificates: must hold one alone", path,
                        sk_X509_num(chain));
    }
    sk_X509_pop_free(chain, X509_free);
    return rc;
}

static enum kl_rc check_root(STACK_OF(X509) * roots, int nth, struct kl_err *err)
{
    X509 *root = sk_X509_value(roots, nth);
    char subject[KL_NAME_MAX];

    kl_cert_subject(root, subject);
    if (X509_self_signed(root, 1) != 1) {
        kl_err_openssl_clear();
        return kl_err_set(err, KL_ERR_CERT, "\"%s\" is no root: it is not self-signed", subject);
    }
    for (int i = 0; i < nth; i++) {
        if (X509_cmp(sk_X509_value(roots, i), root) == 0) {
            return kl_err_set(err, KL_ERR_CERT, "root \"%s\" is there twice", subject);
        }
    }
    return KL_OK;
}

enum kl_rc kl_cert_load_roots(const char *path, STACK_OF(X509) * *out, struct kl_err *err)
{
    STACK_OF(X509) *roots = NULL;
    enum kl_rc rc = kl_cert_load_pem(path, &roots, err);

    if (rc != KL_OK) {
        return rc;
    }
    for (int i = 0; i < sk_X509_num(roots) && rc == KL_OK; i++) {
        rc = check_root(roots, i, err);
    }
    if (rc != KL_OK) {
        sk_X509_pop_free(roots, X509_free);
        return kl_err_context(err, "root file %s", path);
    }
    *out = roots;
    return KL_OK;
}

#define DER_SEQUENCE 0x30 /* how every CRL begins in DER, and none in PEM */

enum kl_rc kl_crl_load(const char *path, X509_CRL **out, struct kl_err *err)
{
    char *data = NULL;
    size_t len = 0;
    enum kl_rc rc = kl_file_read(path, KL_CRL_FILE_MAX, &data, &len, err);

    if (rc == KL_OK) {
        rc = len > 0 && data[0] == DER_SEQUENCE
                 ? kl_crl_from_der((const uint8_t *)data, len, out, err)
                 : kl_crl_from_pem(data, len, out, err);
        if (rc != KL_OK) {
            (void)kl_err_context(err, "CRL file %s", path);
        }
    }
    free(data);
    return rc;
}
