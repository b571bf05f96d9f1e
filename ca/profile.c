/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificate profiles of the CA centre.
 */
#include "ca/profile.h"

#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "conf/report.h"
#include "proto/cert.h"

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

/* ---- Leaves ---- */

static const struct kl_leaf leaves[] = {
    [KL_LEAF_LOADER] = {"loader", KL_OID_EKU_LOADER, KL_CRL_SCOPE_LOADER},
    [KL_LEAF_TERMINAL] = {"terminal", KL_OID_EKU_TERMINAL, KL_CRL_SCOPE_TERMINAL},
};
#define LEAF_COUNT (sizeof leaves / sizeof leaves[0])

const struct kl_leaf *kl_leaf(enum kl_leaf_kind kind)
{
    return &leaves[kind];
}

const struct kl_leaf *kl_leaf_by_name(const char *name)
{
    for (size_t i = 0; i < LEAF_COUNT; i++) {
        if (strcmp(leaves[i].name, name) == 0) {
            return &leaves[i];
        }
    }
    return NULL;
}

const struct kl_leaf *kl_leaf_of(const X509 *cert)
{
    EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    const struct kl_leaf *found = NULL;
    char oid[80] = "";

    if (usages && sk_ASN1_OBJECT_num(usages) == 1) {
        OBJ_obj2txt(oid, sizeof oid, sk_ASN1_OBJECT_value(usages, 0), 1);
    }
    for (size_t i = 0; i < LEAF_COUNT; i++) {
        if (strcmp(leaves[i].eku, oid) == 0) {
            found = &leaves[i];
        }
    }
    sk_ASN1_OBJECT_pop_free(usages, ASN1_OBJECT_free);
    kl_err_openssl_clear();
    return found;
}

int kl_leaf_has(int nid)
{
    static const int nids[] = {NID_basic_constraints,
                               NID_key_usage,
                               NID_ext_key_usage,
                               NID_subject_key_identifier,
                               NID_authority_key_identifier,
                               NID_crl_distribution_points};

    for (size_t i = 0; i < sizeof nids / sizeof nids[0]; i++) {
        if (nids[i] == nid) {
            return 1;
        }
    }
    return 0;
}

enum kl_rc kl_profile_days_left(const X509 *root, int64_t now, int *days, struct kl_err *err)
{
    int64_t from = 0, to = 0;
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
    *days = (int)((to - now) / DAY);
    return KL_OK;
}

/* What a key of that kind does as that leaf. */
static const char *key_usage(const struct kl_leaf *leaf, const EVP_PKEY *key)
{
    if (leaf == &leaves[KL_LEAF_TERMINAL]) {
        return "critical,digitalSignature";
    }
    return EVP_PKEY_is_a(key, "EC") ? "critical,digitalSignature,keyAgreement"
                                    : "critical,digitalSignature,keyEncipherment";
}

/* The extensions that depend on the leaf, then those that all have. */
static enum kl_rc add_leaf_extensions(X509 *cert, X509 *root, const struct kl_leaf *leaf,
                                      int with_crl, struct kl_err *err)
{
    char eku[128], point[128];
    const struct extension list[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, key_usage(leaf, X509_get0_pubkey(cert))},
        {NID_ext_key_usage, eku},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
        {NID_crl_distribution_points, with_crl ? point : NULL},
        {NID_undef, NULL},
    };

    snprintf(eku, sizeof eku, "critical,%s", leaf->eku);
    snprintf(point, sizeof point, "URI:%s", leaf->scope);
    return add_extensions(cert, root, list, err);
}

enum kl_rc kl_profile_leaf(const struct kl_leaf *leaf, X509_REQ *request, X509 *root, int days,
                           int with_crl, int64_t now, X509 **out, struct kl_err *err)
{
    int left = 0;
    X509 *cert = NULL;
    enum kl_rc rc = kl_profile_days_left(root, now, &left, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (days > left) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "%d days would outlive the root certificate; at most %d days are left",
                          days, left);
    }
    rc = new_cert(X509_REQ_get_subject_name(request), X509_get_subject_name(root),
                  X509_REQ_get0_pubkey(request), days, now, &cert, err);
    if (rc == KL_OK) {
        rc = add_leaf_extensions(cert, root, leaf, with_crl, err);
    }
    if (rc == KL_OK) {
        *out = cert;
        cert = NULL;
    }
    X509_free(cert);
    return rc;
}
