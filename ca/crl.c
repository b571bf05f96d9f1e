/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Building CRLs, and their numbers.
 */
#include "ca/crl.h"

#include <limits.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "ca/home.h"
#include "ca/revoked.h"
#include "conf/cli.h"
#include "conf/report.h"

#define NUMBER_DIGITS 10 /* of UINT32_MAX: so that alphabetical order is that of the numbers */

/* ---- Numbers ---- */

static enum kl_rc keep_highest(const char *name, void *arg, struct kl_err *err)
{
    uint32_t *highest = arg;
    unsigned long long number;
    char *end;

    number = strtoull(name, &end, 10);
    if (end - name != NUMBER_DIGITS || *end != '.' || number > UINT32_MAX) {
        return kl_err_set(err, KL_ERR_INPUT,
                          KL_HOME_CRLS "/%.60s: not a CRL number; what is this file?", name);
    }
    if ((uint32_t)number > *highest) {
        *highest = (uint32_t)number;
    }
    return KL_OK;
}

enum kl_rc kl_crlnumber_next(const char *dir, uint32_t *number, struct kl_err *err)
{
    uint32_t highest = 0;
    enum kl_rc rc = kl_home_names(dir, KL_HOME_CRLS, kl_home_is_pem, keep_highest, &highest, err);

    if (rc == KL_OK && highest == UINT32_MAX) {
        rc = kl_err_set(err, KL_ERR_REFUSED, "CRL numbers are used up");
    }
    if (rc == KL_OK) {
        *number = highest + 1;
    }
    return rc;
}

enum kl_rc kl_crlnumber_take(const char *dir, uint32_t number, X509_CRL *crl, struct kl_err *err)
{
    char name[NUMBER_DIGITS + 1], path[PATH_MAX];
    enum kl_rc rc;

    snprintf(name, sizeof name, "%0*u", NUMBER_DIGITS, (unsigned)number);
    rc = kl_home_path_in(dir, KL_HOME_CRLS, name, KL_HOME_PEM, path, err);
    if (rc == KL_OK) {
        rc = kl_home_write_crl(path, crl, 0, err);
    }
    if (rc == KL_ERR_EXISTS) {
        rc = kl_err_set(err, KL_ERR_BUSY,
                        "another run made CRL number %u meanwhile; run this one again",
                        (unsigned)number);
    }
    return rc;
}

/* ---- Entries ---- */

struct collect {
    const char *dir;
    const struct kl_leaf *leaf;
    int64_t now;
    X509_CRL *crl;
};

static int set_reason(X509_REVOKED *entry, int code)
{
    ASN1_ENUMERATED *value;
    int ok;

    if (code == CRL_REASON_UNSPECIFIED) {
        return 1; /* RFC 5280 section 5.3.1: SHOULD be absent */
    }
    value = ASN1_ENUMERATED_new();
    ok = value && ASN1_ENUMERATED_set(value, code) &&
         X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, value, 0, 0) == 1;
    ASN1_ENUMERATED_free(value);
    return ok;
}

static enum kl_rc add_entry(X509_CRL *crl, const X509 *cert, const struct kl_revocation *revocation,
                            struct kl_err *err)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)revocation->time);
    int ok =
        entry && when && X509_REVOKED_set_revocationDate(entry, when) == 1 &&
        X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)X509_get0_serialNumber(cert)) == 1 &&
        set_reason(entry, kl_reason_code(revocation->reason)) && X509_CRL_add0_revoked(crl, entry);

    ASN1_TIME_free(when);
    if (!ok) {
        X509_REVOKED_free(entry);
        return kl_err_openssl(err, KL_ERR_INTERNAL, "X509_CRL_add0_revoked", "entry of a CRL");
    }
    return KL_OK;
}

static enum kl_rc collect_one(const char *serial, const struct kl_revocation *revocation, void *arg,
                              struct kl_err *err)
{
    const struct collect *c = arg;
    X509 *cert = NULL;
    int64_t to = 0;
    enum kl_rc rc = kl_home_find(c->dir, serial, &cert, err);

    if (rc == KL_OK) {
        rc = kl_asn1_time_unix(X509_get0_notAfter(cert), &to, err);
    }
    if (rc == KL_OK && c->now <= to && kl_leaf_of(cert) == c->leaf) {
        rc = add_entry(c->crl, cert, revocation, err);
    }
    X509_free(cert);
    return rc == KL_OK ? rc : kl_err_context(err, "revoked certificate %s", serial);
}

/* ---- The whole ---- */

static int add_number(X509_CRL *crl, uint32_t number)
{
    ASN1_INTEGER *value = ASN1_INTEGER_new();
    int ok = value && ASN1_INTEGER_set_uint64(value, number) == 1 &&
             X509_CRL_add1_ext_i2d(crl, NID_crl_number, value, 0, 0) == 1;

    ASN1_INTEGER_free(value);
    return ok;
}

static int add_by_text(X509_CRL *crl, X509 *root, int nid, const char *text)
{
    X509_EXTENSION *ext;
    X509V3_CTX ctx;
    int ok;

    X509V3_set_ctx(&ctx, root, NULL, NULL, crl, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, text);
    ok = ext && X509_CRL_add_ext(crl, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static enum kl_rc add_extensions(X509_CRL *crl, X509 *root, const struct kl_leaf *leaf,
                                 uint32_t number, struct kl_err *err)
{
    char point[128];

    snprintf(point, sizeof point, "critical,fullname:URI:%s", leaf->scope);
    if (!add_by_text(crl, root, NID_authority_key_identifier, "keyid:always") ||
        !add_number(crl, number) ||
        !add_by_text(crl, root, NID_issuing_distribution_point, point)) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "X509_CRL_add_ext", "extensions of a CRL");
    }
    return KL_OK;
}

static enum kl_rc new_crl(X509 *root, int days, int64_t now, X509_CRL **out, struct kl_err *err)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)now);
    ASN1_TIME *to = ASN1_TIME_adj(NULL, (time_t)now, days, 0);
    enum kl_rc rc = KL_OK;

    if (!crl || !from || !to || X509_CRL_set_version(crl, X509_CRL_VERSION_2) != 1 ||
        X509_CRL_set_issuer_name(crl, X509_get_subject_name(root)) != 1 ||
        X509_CRL_set1_lastUpdate(crl, from) != 1 || X509_CRL_set1_nextUpdate(crl, to) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "X509_CRL_new", "building a CRL");
        X509_CRL_free(crl);
    } else {
        *out = crl;
    }
    ASN1_TIME_free(to);
    ASN1_TIME_free(from);
    return rc;
}

enum kl_rc kl_profile_crl(const char *dir, const struct kl_leaf *leaf, X509 *root, uint32_t number,
                          int days, int64_t now, X509_CRL **out, struct kl_err *err)
{
    X509_CRL *crl = NULL;
    int left = 0;
    enum kl_rc rc = kl_profile_days_left(root, now, &left, err);

    if (rc == KL_OK) {
        rc = new_crl(root, days, now, &crl, err);
    }
    if (rc == KL_OK) {
        rc = add_extensions(crl, root, leaf, number, err);
    }
    if (rc == KL_OK) {
        struct collect collect = {dir, leaf, now, crl};
        rc = kl_revoked_each(dir, collect_one, &collect, err);
    }
    if (rc == KL_OK) {
        *out = crl;
        crl = NULL;
    }
    X509_CRL_free(crl);
    return rc;
}
