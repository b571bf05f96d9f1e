/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRLs: reading them strictly, and judging whether one may be relied on (RFC 5280 sections 5 and
 * 6.3.3, narrowed to one complete CRL of one issuer for one scope). OpenSSL's own lookup is not
 * used: it sorts the list, which is neither for several threads nor for a signature checked later.
 */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "proto/cert_impl.h"

/* ---- Reading ---- */

enum kl_rc kl_crl_from_der(const uint8_t *der, size_t len, X509_CRL **out, struct kl_err *err)
{
    const unsigned char *p = der;
    unsigned char *again = NULL;
    X509_CRL *crl = NULL;
    enum kl_rc rc;
    int again_len;

    if (len == 0 || len > KL_CRL_FILE_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "CRL has %zu bytes: must have 1 to %d", len,
                          KL_CRL_FILE_MAX);
    }
    kl_err_openssl_clear();
    crl = d2i_X509_CRL(NULL, &p, (long)len);
    if (!crl) {
        return kl_err_openssl(err, KL_ERR_CERT, "d2i_X509_CRL", "CRL is malformed");
    }
    /* As in kl_cert_from_der: the first call makes the second encode it afresh. */
    again_len = i2d_re_X509_CRL_tbs(crl, NULL) < 0 ? -1 : i2d_X509_CRL(crl, &again);
    if (p != der + len) {
        rc = kl_err_set(err, KL_ERR_CERT, "%zu bytes follow the CRL", (size_t)(der + len - p));
    } else if (again_len < 0) {
        rc = kl_err_openssl(err, KL_ERR_CERT, "i2d_X509_CRL", "CRL cannot be encoded again");
    } else if ((size_t)again_len != len || memcmp(again, der, len) != 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "CRL is not DER");
    } else {
        rc = KL_OK;
    }
    OPENSSL_free(again);
    if (rc == KL_OK) {
        *out = crl;
    } else {
        X509_CRL_free(crl);
    }
    return rc;
}

enum kl_rc kl_crl_from_pem(const char *text, size_t len, X509_CRL **out, struct kl_err *err)
{
    unsigned char *der = NULL, *second = NULL;
    long der_len = 0, second_len = 0;
    BIO *bio = NULL;
    enum kl_rc rc;

    if (len > KL_CRL_FILE_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "is longer than %d bytes", KL_CRL_FILE_MAX);
    }
    bio = BIO_new_mem_buf(text, (int)len);
    if (!bio) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a CRL");
    }
    rc = kl_pem_next(bio, PEM_STRING_X509_CRL, "a CRL belongs", &der, &der_len, err);
    if (rc == KL_OK && !der) {
        rc = kl_err_set(err, KL_ERR_CERT, "holds no CRL in PEM form");
    }
    if (rc == KL_OK) {
        rc = kl_pem_next(bio, PEM_STRING_X509_CRL, "a CRL belongs", &second, &second_len, err);
    }
    if (rc == KL_OK && second) {
        rc = kl_err_set(err, KL_ERR_CERT, "holds several CRLs: must hold one alone");
    }
    if (rc == KL_OK) {
        rc = kl_crl_from_der(der, (size_t)der_len, out, err);
    }
    OPENSSL_free(second);
    OPENSSL_free(der);
    BIO_free(bio);
    return rc;
}

/* ---- Judging ---- */

/* No extension is critical but the issuing distribution point, and no entry's at all: one that says
 * whose certificate it lists (an indirect CRL's) among them. */
static enum kl_rc check_critical(X509_CRL *crl, struct kl_err *err)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    char name[80];

    for (int i = 0; i < X509_CRL_get_ext_count(crl); i++) {
        X509_EXTENSION *extension = X509_CRL_get_ext(crl, i);
        const ASN1_OBJECT *object = X509_EXTENSION_get_object(extension);

        if (X509_EXTENSION_get_critical(extension) &&
            OBJ_obj2nid(object) != NID_issuing_distribution_point) {
            OBJ_obj2txt(name, sizeof(name), object, 0);
            return kl_err_set(err, KL_ERR_CERT, "has the critical extension %s", name);
        }
    }
    for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) {
        const X509_REVOKED *entry = sk_X509_REVOKED_value(entries, i);

        if (X509_REVOKED_get_ext_by_critical(entry, 1, -1) >= 0) {
            return kl_err_set(err, KL_ERR_CERT, "has an entry with a critical extension");
        }
    }
    return KL_OK;
}

static enum kl_rc check_number(const X509_CRL *crl, struct kl_err *err)
{
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    int ok = number && ASN1_STRING_type(number) == V_ASN1_INTEGER; /* and not V_ASN1_NEG_INTEGER */

    ASN1_INTEGER_free(number);
    kl_err_openssl_clear();
    return ok ? KL_OK : kl_err_set(err, KL_ERR_CERT, "has no (or no valid) crlNumber");
}

static enum kl_rc check_scope(const X509_CRL *crl, const char *scope, struct kl_err *err)
{
    char found[KL_CRL_SCOPE_TEXT] = "";
    ISSUING_DIST_POINT *point;
    enum kl_rc rc = KL_OK;
    int critical = -1;

    point = X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &critical, NULL);
    if (!point) {
        rc = kl_err_set(err, KL_ERR_CERT, "has no (or no valid) issuingDistributionPoint");
    } else if (!critical) {
        rc = kl_err_set(err, KL_ERR_CERT, "issuingDistributionPoint is not critical");
    } else if (point->onlyuser > 0 || point->onlyCA > 0 || point->onlyattr > 0 ||
               point->indirectCRL > 0 || point->onlysomereasons ||
               !kl_dist_point_scope(point->distpoint, found)) {
        rc = kl_err_set(err, KL_ERR_CERT,
                        "issuingDistributionPoint is not one URI and nothing else");
    } else if (strcmp(found, scope) != 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "is for %s: must be for %s", found, scope);
    }
    ISSUING_DIST_POINT_free(point);
    kl_err_openssl_clear();
    return rc;
}

static enum kl_rc check_times(const X509_CRL *crl, time_t now, struct kl_err *err)
{
    const ASN1_TIME *from = X509_CRL_get0_lastUpdate(crl), *to = X509_CRL_get0_nextUpdate(crl);
    time_t before = now - 1; /* X509_cmp_time takes an equal time for an earlier one */

    if (!to) {
        return kl_err_set(err, KL_ERR_CERT, "has no nextUpdate");
    }
    if (X509_cmp_time(from, &now) == 0 || X509_cmp_time(to, &before) == 0) {
        kl_err_openssl_clear();
        return kl_err_set(err, KL_ERR_CERT, "has a malformed time");
    }
    if (X509_cmp_time(from, &now) > 0) {
        return kl_err_set(err, KL_ERR_CERT, "is not yet in force (thisUpdate)");
    }
    if (X509_cmp_time(to, &before) < 0) {
        return kl_err_set(err, KL_ERR_CERT,
                          "is out of date (nextUpdate): have the CA issue another");
    }
    return KL_OK;
}

static enum kl_rc check_issuer(X509_CRL *crl, X509 *issuer, struct kl_err *err)
{
    uint32_t usage = X509_get_key_usage(issuer); /* UINT32_MAX if there is none */
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    const X509_ALGOR *alg;
    enum kl_rc rc;

    if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(issuer)) != 0) {
        return kl_err_set(err, KL_ERR_CERT, "is another issuer's");
    }
    if (usage == UINT32_MAX || !(usage & KU_CRL_SIGN)) {
        return kl_err_set(err, KL_ERR_CERT, "is of an issuer that may not sign CRLs (keyUsage)");
    }
    X509_CRL_get0_signature(crl, NULL, &alg);
    rc = kl_sigalg_check(alg, err);
    if (rc != KL_OK) {
        return rc;
    }
    kl_err_openssl_clear();
    if (!key || X509_CRL_verify(crl, key) != 1) {
        return kl_err_openssl(err, KL_ERR_CERT, "X509_CRL_verify", "signature does not verify");
    }
    return KL_OK;
}

enum kl_rc kl_crl_verify(X509_CRL *crl, X509 *issuer, const char *scope, time_t now,
                         struct kl_err *err)
{
    enum kl_rc rc;

    if (X509_CRL_get_version(crl) != X509_CRL_VERSION_2) {
        rc = kl_err_set(err, KL_ERR_CERT, "is not of version 2");
    } else if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "is a delta CRL: must be a complete one");
    } else {
        rc = check_critical(crl, err);
    }
    if (rc == KL_OK) {
        rc = check_number(crl, err);
    }
    if (rc == KL_OK) {
        rc = check_scope(crl, scope, err);
    }
    if (rc == KL_OK) {
        rc = check_times(crl, now, err);
    }
    if (rc == KL_OK) {
        rc = check_issuer(crl, issuer, err);
    }
    return rc == KL_OK ? KL_OK : kl_err_context(err, "CRL");
}

int kl_crl_lists(X509_CRL *crl, const X509 *cert)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);

    for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) {
        const X509_REVOKED *entry = sk_X509_REVOKED_value(entries, i);

        if (ASN1_INTEGER_cmp(X509_REVOKED_get0_serialNumber(entry), serial) == 0) {
            return 1;
        }
    }
    return 0;
}
