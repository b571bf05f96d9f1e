/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificate profiles of the CA centre.
 */
#include "ca/profile.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "conf/cli.h"
#include "conf/report.h"
#include "proto/cert.h"

#define REQUEST_FILE_MAX 65536
#define SERIAL_LEN 16
#define DAY 86400

struct extension {
    int nid;
    const char *value; /* as X509V3_EXT_conf_nid reads it */
};

/* AKI comes after SKI: for the root it is copied from there. */
static const struct extension root_extensions[] = {
    {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
    {NID_key_usage, "critical,keyCertSign,cRLSign"},
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid:always"},
    {NID_undef, NULL},
};
static const struct extension work_extensions[] = {
    {NID_basic_constraints, "critical,CA:FALSE"},
    {NID_key_usage, "critical,digitalSignature,keyEncipherment"},
    {NID_ext_key_usage, "critical," KL_OID_EKU_LOADER},
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid:always"},
    {NID_undef, NULL},
};

static enum kl_rc add_extensions(X509 *cert, X509 *issuer, const struct extension *list,
                                 struct kl_err *err)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    for (; list->value; list++) {
        X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, list->nid, list->value);
        int added = ext && X509_add_ext(cert, ext, -1) == 1;
        X509_EXTENSION_free(ext);
        if (!added) {
            return kl_err_openssl(err, KL_ERR_INTERNAL, "X509_add_ext", "extension %s",
                                  OBJ_nid2sn(list->nid));
        }
    }
    return KL_OK;
}

/* 16 random bytes that begin with the bits 01: positive, never zero, always the same length. */
static enum kl_rc set_serial(X509 *cert, struct kl_err *err)
{
    unsigned char bytes[SERIAL_LEN];
    BIGNUM *number = NULL;
    int ok = RAND_bytes(bytes, sizeof bytes) == 1;

    if (ok) {
        bytes[0] = (unsigned char)((bytes[0] & 0x3f) | 0x40);
        number = BN_bin2bn(bytes, sizeof bytes, NULL);
        ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    }
    BN_free(number);
    return ok ? KL_OK : kl_err_openssl(err, KL_ERR_INTERNAL, "RAND_bytes", "serial number");
}

/* Everything but the extensions. */
static enum kl_rc new_cert(const X509_NAME *subject, const X509_NAME *issuer, EVP_PKEY *key,
                           int days, int64_t now, X509 **out, struct kl_err *err)
{
    X509 *cert = X509_new();
    enum kl_rc rc;

    if (!cert || X509_set_version(cert, X509_VERSION_3) != 1 ||
        X509_set_subject_name(cert, subject) != 1 || X509_set_issuer_name(cert, issuer) != 1 ||
        X509_set_pubkey(cert, key) != 1 || !ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)now) ||
        !ASN1_TIME_adj(X509_getm_notAfter(cert), (time_t)now, days, 0)) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "X509_new", "building a certificate");
    } else {
        rc = set_serial(cert, err);
    }
    if (rc == KL_OK) {
        *out = cert;
        cert = NULL;
    }
    X509_free(cert);
    return rc;
}

enum kl_rc kl_profile_root(const X509_NAME *subject, EVP_PKEY *key, int days, int64_t now,
                           X509 **out, struct kl_err *err)
{
    X509 *cert = NULL;
    enum kl_rc rc = new_cert(subject, subject, key, days, now, &cert, err);

    if (rc == KL_OK) {
        rc = add_extensions(cert, cert, root_extensions, err);
    }
    if (rc == KL_OK) {
        *out = cert;
        cert = NULL;
    }
    X509_free(cert);
    return rc;
}

/* ---- Requests ---- */

enum kl_rc kl_profile_load_request(const char *path, X509_REQ **out, struct kl_err *err)
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
    ERR_clear_error();
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

static int is_sha2(int nid)
{
    return nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512;
}

/* Hash of RSA-PSS and of its MGF1; absent fields mean SHA-1 (RFC 8017, A.2.3). */
static int pss_is_sha2(const X509_ALGOR *alg)
{
    const ASN1_OBJECT *object;
    const void *parameter;
    int type, ok = 0;
    X509_ALGOR *mgf_hash = NULL;
    RSA_PSS_PARAMS *pss = NULL;

    X509_ALGOR_get0(&object, &type, &parameter, alg);
    if (type == V_ASN1_SEQUENCE) {
        pss = ASN1_item_unpack(parameter, ASN1_ITEM_rptr(RSA_PSS_PARAMS));
    }
    if (!pss || !pss->hashAlgorithm || !pss->maskGenAlgorithm) {
        goto out;
    }
    X509_ALGOR_get0(&object, NULL, NULL, pss->hashAlgorithm);
    if (!is_sha2(OBJ_obj2nid(object))) {
        goto out;
    }
    X509_ALGOR_get0(&object, &type, &parameter, pss->maskGenAlgorithm);
    if (OBJ_obj2nid(object) != NID_mgf1 || type != V_ASN1_SEQUENCE) {
        goto out;
    }
    mgf_hash = ASN1_item_unpack(parameter, ASN1_ITEM_rptr(X509_ALGOR));
    if (mgf_hash) {
        X509_ALGOR_get0(&object, NULL, NULL, mgf_hash);
        ok = is_sha2(OBJ_obj2nid(object));
    }
out:
    X509_ALGOR_free(mgf_hash);
    RSA_PSS_PARAMS_free(pss);
    ERR_clear_error();
    return ok;
}

static enum kl_rc check_signature(X509_REQ *request, EVP_PKEY *key, struct kl_err *err)
{
    const X509_ALGOR *alg;
    const ASN1_OBJECT *object;
    int hash = NID_undef, pkey = NID_undef, nid;

    X509_REQ_get0_signature(request, NULL, &alg);
    X509_ALGOR_get0(&object, NULL, NULL, alg);
    nid = OBJ_obj2nid(object);
    if (nid == NID_rsassaPss) {
        if (!pss_is_sha2(alg)) {
            return kl_err_set(err, KL_ERR_CERT,
                              "request is signed by RSA-PSS with a hash other than SHA-2");
        }
    } else if (OBJ_find_sigid_algs(nid, &hash, &pkey) != 1 || pkey != NID_rsaEncryption ||
               !is_sha2(hash)) {
        return kl_err_set(err, KL_ERR_CERT,
                          "request is signed with %s; only RSA with SHA-256, SHA-384 or SHA-512 "
                          "is accepted",
                          nid == NID_undef ? "an unknown algorithm" : OBJ_nid2ln(nid));
    }
    if (X509_REQ_verify(request, key) != 1) {
        return kl_err_openssl(err, KL_ERR_VERIFY, "X509_REQ_verify",
                              "request's own signature is wrong: it was changed on its way, or its "
                              "maker does not hold the key; get it again");
    }
    return KL_OK;
}

static int is_ours(int nid)
{
    for (const struct extension *e = work_extensions; e->value; e++) {
        if (e->nid == nid) {
            return 1;
        }
    }
    return 0;
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
            ERR_clear_error();
            if (bad) {
                return kl_err_set(err, KL_ERR_CERT, "request asks to be a CA; refused");
            }
        }
        if (X509_EXTENSION_get_critical(ext) && !is_ours(nid)) {
            char name[80];
            OBJ_obj2txt(name, sizeof name, X509_EXTENSION_get_object(ext), 0);
            return kl_err_set(err, KL_ERR_CERT,
                              "request demands the critical extension %s, which work certificates "
                              "do not have",
                              name);
        }
    }
    return KL_OK;
}

enum kl_rc kl_profile_check_request(X509_REQ *request, const X509 *root, struct kl_err *err)
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

void kl_profile_each_ignored(X509_REQ *request, void (*tell)(const char *name, void *arg),
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
    ERR_clear_error();
}

enum kl_rc kl_profile_work(X509_REQ *request, X509 *root, int days, int64_t now, X509 **out,
                           struct kl_err *err)
{
    int64_t from = 0, to = 0;
    X509 *cert = NULL;
    enum kl_rc rc = kl_asn1_time_unix(X509_get0_notBefore(root), &from, err);

    if (rc == KL_OK) {
        rc = kl_asn1_time_unix(X509_get0_notAfter(root), &to, err);
    }
    if (rc != KL_OK) {
        return kl_err_context(err, "root certificate");
    }
    if (now < from || now > to) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "the root certificate is not valid now; is the clock right?");
    }
    if ((int64_t)days * DAY > to - now) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "%d days would outlive the root certificate; at most %lld days are left",
                          days, (long long)((to - now) / DAY));
    }
    rc = new_cert(X509_REQ_get_subject_name(request), X509_get_subject_name(root),
                  X509_REQ_get0_pubkey(request), days, now, &cert, err);
    if (rc == KL_OK) {
        rc = add_extensions(cert, root, work_extensions, err);
    }
    if (rc == KL_OK) {
        *out = cert;
        cert = NULL;
    }
    X509_free(cert);
    return rc;
}
