/* SPDX-License-Identifier: BSD-2-Clause */
/* The device key's request and certificate: see device.h. */
#include "terminal-sim/pinpad/device.h"

#include <string.h>

#include "proto/cert.h"

/* Byte for byte: a PrintableString where it can be one ('_' is no character of that). */
static int add_name(X509_NAME *name, int nid, const char *text)
{
    int type = strchr(text, '_') ? V_ASN1_UTF8STRING : V_ASN1_PRINTABLESTRING;

    return X509_NAME_add_entry_by_NID(name, nid, type, (const uint8_t *)text, -1, -1, 0);
}

static enum kl_rc fill(X509_REQ *req, const char *serial, EVP_PKEY *key, struct kl_err *err)
{
    X509_NAME *name = X509_REQ_get_subject_name(req);

    if (!X509_REQ_set_version(req, X509_REQ_VERSION_1) || !add_name(name, NID_commonName, serial) ||
        !add_name(name, NID_serialNumber, serial) || !X509_REQ_set_pubkey(req, key)) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "X509_REQ_set_pubkey", "request");
    }
    return KL_OK;
}

enum kl_rc kl_device_request(struct kl_pinpad *pad, const char *serial, X509_REQ **out,
                             struct kl_err *err)
{
    EVP_PKEY *key = NULL;
    X509_REQ *req = NULL;
    enum kl_rc rc = kl_pinpad_device_public(pad, &key, err);

    if (rc) {
        return rc;
    }
    kl_err_openssl_clear();
    req = X509_REQ_new();
    rc = req ? fill(req, serial, key, err)
             : kl_err_openssl(err, KL_ERR_MEMORY, "X509_REQ_new", "request");
    if (!rc) {
        rc = kl_pinpad_device_request(pad, req, err);
    }
    EVP_PKEY_free(key);
    if (rc) {
        X509_REQ_free(req);
    } else {
        *out = req;
    }
    return rc;
}

enum kl_rc kl_device_check(struct kl_pinpad *pad, const char *serial, const X509 *leaf,
                           struct kl_err *err)
{
    char named[KL_SERIAL_MAX + 1];
    EVP_PKEY *key = NULL;
    enum kl_rc rc = kl_cert_terminal_serial(X509_get_subject_name(leaf), named, err);

    if (!rc && strcmp(named, serial) != 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "the certificate is of terminal %s, not %s", named,
                        serial);
    }
    if (!rc) {
        rc = kl_pinpad_device_public(pad, &key, err);
    }
    if (!rc && EVP_PKEY_eq(key, X509_get0_pubkey(leaf)) != 1) {
        kl_err_openssl_clear();
        rc = kl_err_set(err, KL_ERR_CERT,
                        "the certificate is of another key than the PIN pad's device key");
    }
    EVP_PKEY_free(key);
    return rc;
}
