/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Conditions on certification requests.
 */
#include "ca/request.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "ca/profile.h"
#include "conf/cli.h"
#include "proto/cert.h"

#define REQUEST_FILE_MAX 65536

enum kl_rc kl_request_load(const char *path, X509_REQ **out, struct kl_err *err)
{
    char *text = NULL;
    size_t len;
    BIO *bio = NULL;
    X509_REQ *request = NULL, *second = NULL;
    enum kl_rc rc = kl_file_read(path, REQUEST_FILE_MAX, &text, &len, err);

    if (rc != KL_OK) {
        return rc;
    }
    bio = BIO_new_mem_buf(text, (int)len);
    if (!bio) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "BIO_new_mem_buf", "reading %s", path);
        goto out;
    }
    request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    if (!request) {
        rc = kl_err_openssl(err, KL_ERR_INPUT, "PEM_read_bio_X509_REQ",
                            "%s is not a PEM certification request (PKCS#10)", path);
        goto out;
    }
    second = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    kl_err_openssl_clear();
    if (second) {
        rc = kl_err_set(err, KL_ERR_INPUT, "%s holds more than one request; sign them one by one",
                        path);
        goto out;
    }
    *out = request;
    request = NULL;
out:
    X509_REQ_free(second);
    X509_REQ_free(request);
    BIO_free(bio);
    free(text);
    return rc;
}

static enum kl_rc check_signature(X509_REQ *request, EVP_PKEY *key, struct kl_err *err)
{
    const X509_ALGOR *alg;

    X509_REQ_get0_signature(request, NULL, &alg);
    if (kl_sigalg_check(alg, err) != KL_OK) {
        return kl_err_context(err, "request");
    }
    if (X509_REQ_verify(request, key) != 1) {
        return kl_err_openssl(err, KL_ERR_VERIFY, "X509_REQ_verify",
                              "request's own signature is wrong: it was changed on its way, or its "
                              "maker does not hold the key; get it again");
    }
    return KL_OK;
}

static enum kl_rc check_extensions(STACK_OF(X509_EXTENSION) * list, struct kl_err *err)
{
    for (int i = 0; i < sk_X509_EXTENSION_num(list); i++) {
        X509_EXTENSION *ext = sk_X509_EXTENSION_value(list, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(ext));
        if (nid == NID_basic_constraints) {
            BASIC_CONSTRAINTS *bc = X509V3_EXT_d2i(ext);
            int bad = !bc || bc->ca;
            BASIC_CONSTRAINTS_free(bc);
            kl_err_openssl_clear();
            if (bad) {
                return kl_err_set(err, KL_ERR_CERT, "request asks to be a CA; refused");
            }
        }
        if (X509_EXTENSION_get_critical(ext) && !kl_leaf_has(nid)) {
            char name[80];
            OBJ_obj2txt(name, sizeof name, X509_EXTENSION_get_object(ext), 0);
            return kl_err_set(err, KL_ERR_CERT,
                              "request demands the critical extension %s, which our certificates "
                              "do not have",
                              name);
        }
    }
    return KL_OK;
}

enum kl_rc kl_request_check(X509_REQ *request, const X509 *root, struct kl_err *err)
{
    EVP_PKEY *key = X509_REQ_get0_pubkey(request);
    X509_NAME *subject = X509_REQ_get_subject_name(request);
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc;

    if (!key) {
        return kl_err_openssl(err, KL_ERR_CERT, "X509_REQ_get0_pubkey",
                              "request's public key cannot be read");
    }
    if (X509_REQ_get_version(request) != X509_REQ_VERSION_1) {
        return kl_err_set(err, KL_ERR_CERT, "request is not of version 1 (RFC 2986)");
    }
    rc = kl_pubkey_type(key, &type, &bits, err);
    if (rc != KL_OK) {
        return kl_err_context(err, "request's key");
    }
    rc = check_signature(request, key, err);
    if (rc != KL_OK) {
        return rc;
    }
    if (X509_NAME_entry_count(subject) == 0) {
        return kl_err_set(err, KL_ERR_CERT, "request has no subject");
    }
    if (X509_NAME_cmp(subject, X509_get_subject_name(root)) == 0) {
        return kl_err_set(err, KL_ERR_CERT, "request's subject is the CA's own");
    }
    if (EVP_PKEY_eq(key, X509_get0_pubkey(root)) == 1) {
        return kl_err_set(err, KL_ERR_CERT, "request's key is the CA's own");
    }

    STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(request);
    rc = check_extensions(list, err);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    return rc;
}

void kl_request_each_ignored(X509_REQ *request, void (*tell)(const char *name, void *arg),
                             void *arg)
{
    STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(request);
    char name[80];

    for (int i = 0; i < sk_X509_EXTENSION_num(list); i++) {
        X509_EXTENSION *ext = sk_X509_EXTENSION_value(list, i);
        OBJ_obj2txt(name, sizeof name, X509_EXTENSION_get_object(ext), 0);
        tell(name, arg);
    }
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    for (int i = 0; i < X509_REQ_get_attr_count(request); i++) {
        ASN1_OBJECT *object = X509_ATTRIBUTE_get0_object(X509_REQ_get_attr(request, i));
        if (X509_REQ_extension_nid(OBJ_obj2nid(object))) {
            continue; /* the extensions, told above */
        }
        OBJ_obj2txt(name, sizeof name, object, 0);
        tell(name, arg);
    }
    kl_err_openssl_clear();
}

enum kl_rc kl_request_check_terminal(X509_REQ *request, const char *serial, struct kl_err *err)
{
    char named[KL_SERIAL_MAX + 1];
    enum kl_rc rc = kl_cert_terminal_serial(X509_REQ_get_subject_name(request), named, err);

    if (rc != KL_OK) {
        return kl_err_context(err, "request's subject");
    }
    if (strcmp(named, serial) != 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "request is of terminal %s, not of %.*s as --serial says", named,
                          KL_SERIAL_MAX, serial);
    }
    return KL_OK;
}
