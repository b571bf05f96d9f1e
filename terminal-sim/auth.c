/* SPDX-License-Identifier: BSD-2-Clause */
/* Module 101: S4, from the DER in the Certificate message to a public key that may be used. */
#include "terminal-sim/auth.h"

static enum kl_rc decode_chain(const struct kl_certificate *msg, STACK_OF(X509) * *out,
                               struct kl_err *err)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509 *cert;
    size_t i;
    enum kl_rc rc = KL_OK;

    if (!chain) {
        return kl_err_openssl(err, KL_ERR_MEMORY, "sk_X509_new_null", "certificate chain");
    }
    for (i = 0; !rc && i < msg->chain_count; i++) {
        rc = kl_cert_from_der(msg->chain[i].data, msg->chain[i].len, &cert, err);
        if (!rc && !sk_X509_push(chain, cert)) {
            X509_free(cert);
            rc = kl_err_openssl(err, KL_ERR_MEMORY, "sk_X509_push", "certificate chain");
        }
    }
    if (!rc && sk_X509_num(chain) == 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "the loader sent no certificate");
    }
    if (rc) {
        sk_X509_pop_free(chain, X509_free);
    } else {
        *out = chain;
    }
    return rc;
}

enum kl_rc kl_auth_verify(const struct kl_certificate *msg, STACK_OF(X509) * roots, time_t now,
                          struct kl_auth_work *out, struct kl_err *err)
{
    STACK_OF(X509) *chain = NULL;
    struct kl_auth_work work = {.has_crl = msg->crl.len > 0};
    X509_CRL *crl = NULL;
    X509 *anchor = NULL, *leaf;
    enum kl_rc rc = decode_chain(msg, &chain, err);

    if (rc) {
        return rc;
    }
    leaf = sk_X509_value(chain, 0);
    if (work.has_crl) {
        rc = kl_crl_from_der(msg->crl.data, msg->crl.len, &crl, err);
    }
    if (!rc) {
        rc = kl_cert_verify_loader(chain, roots, crl, now, &anchor, err);
    }
    if (!rc) {
        rc = kl_cert_key_type(leaf, &work.type, &work.bits, err);
    }
    if (!rc) {
        work.key = X509_get_pubkey(leaf);
        if (!work.key) {
            rc = kl_err_openssl(err, KL_ERR_CERT, "X509_get_pubkey", "AcquireWCRT_Pu");
        }
    }
    if (!rc) {
        kl_cert_subject(leaf, work.subject);
        kl_cert_subject(anchor, work.anchor);
        *out = work;
    }
    X509_CRL_free(crl);
    sk_X509_pop_free(chain, X509_free);
    return rc;
}
