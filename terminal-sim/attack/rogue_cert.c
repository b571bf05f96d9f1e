/* SPDX-License-Identifier: BSD-2-Clause */
/* The rogue loader's certificates and CRLs: as they should be, but for what a profile says. */
#include <openssl/x509v3.h>
#include <stdio.h>

#include "proto/cert.h"
#include "terminal-sim/attack/rogue.h"

/* Of a certificate or of a CRL; the other is NULL. */
static X509_EXTENSION *make_ext(X509 *issuer, X509 *cert, X509_CRL *crl, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, crl, 0);
    return X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
}

static int add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *ext = make_ext(issuer, cert, NULL, nid, value);
    int done = ext && X509_add_ext(cert, ext, -1);

    X509_EXTENSION_free(ext);
    return done;
}

static int add_root_exts(X509 *cert)
{
    return add_ext(cert, cert, NID_basic_constraints, "critical,CA:TRUE") &&
           add_ext(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_ext(cert, cert, NID_subject_key_identifier, "hash");
}

static int add_leaf_exts(X509 *cert, X509 *issuer, int is_ec,
                         const struct kl_rogue_profile *profile)
{
    const char *usage = is_ec ? "critical,digitalSignature,keyAgreement"
                              : "critical,digitalSignature,keyEncipherment";
    char uri[128];
    int done =
        add_ext(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
        add_ext(cert, issuer, NID_key_usage, profile->key_usage ? profile->key_usage : usage) &&
        add_ext(cert, issuer, NID_ext_key_usage,
                profile->eku ? profile->eku : "critical," KL_OID_EKU_LOADER) &&
        add_ext(cert, issuer, NID_subject_key_identifier, "hash") &&
        add_ext(cert, issuer, NID_authority_key_identifier, "keyid:always");

    if (done && profile->crl_scope) {
        snprintf(uri, sizeof(uri), "URI:%s", profile->crl_scope);
        done = add_ext(cert, issuer, NID_crl_distribution_points, uri);
    }
    return done;
}

X509 *kl_rogue_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                    const struct kl_rogue_profile *profile)
{
    static const struct kl_rogue_profile plain;
    X509 *cert = X509_new();
    X509_NAME *subject = cert ? X509_get_subject_name(cert) : NULL;
    const struct kl_rogue_profile *p = profile ? profile : &plain;
    int done =
        cert && X509_set_version(cert, X509_VERSION_3) &&
        ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer ? 2 : 1) &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0) &&
        X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject) &&
        X509_gmtime_adj(X509_getm_notBefore(cert),
                        p->from_days ? p->from_days * KL_ROGUE_DAY : -KL_ROGUE_DAY) &&
        X509_gmtime_adj(X509_getm_notAfter(cert), (p->to_days ? p->to_days : 30) * KL_ROGUE_DAY) &&
        X509_set_pubkey(cert, key) &&
        (issuer ? add_leaf_exts(cert, issuer, EVP_PKEY_is_a(key, "EC"), p) : add_root_exts(cert)) &&
        X509_sign(cert, issuer_key, EVP_sha256()) > 0;

    if (!done) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

static int add_crl_ext(X509_CRL *crl, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *ext = make_ext(issuer, NULL, crl, nid, value);
    int done = ext && X509_CRL_add_ext(crl, ext, -1);

    X509_EXTENSION_free(ext);
    return done;
}

static int add_revoked(X509_CRL *crl, const X509 *cert, ASN1_TIME *time)
{
    X509_REVOKED *revoked = X509_REVOKED_new();

    if (!revoked ||
        !X509_REVOKED_set_serialNumber(revoked, (ASN1_INTEGER *)X509_get0_serialNumber(cert)) ||
        !X509_gmtime_adj(time, -KL_ROGUE_DAY) || !X509_REVOKED_set_revocationDate(revoked, time) ||
        !X509_CRL_add0_revoked(crl, revoked)) {
        X509_REVOKED_free(revoked);
        return 0;
    }
    return 1;
}

X509_CRL *kl_rogue_crl(X509 *issuer, EVP_PKEY *issuer_key,
                       const struct kl_rogue_crl_profile *profile)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *time = ASN1_TIME_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    char scope[160];
    int done;

    snprintf(scope, sizeof(scope), "critical,fullname:URI:%s",
             profile->scope ? profile->scope : KL_CRL_SCOPE_LOADER);
    done = crl && time && number && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
           X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer)) &&
           X509_gmtime_adj(time, (profile->from_days ? profile->from_days : -1) * KL_ROGUE_DAY) &&
           X509_CRL_set1_lastUpdate(crl, time) &&
           X509_gmtime_adj(time, (profile->to_days ? profile->to_days : 7) * KL_ROGUE_DAY) &&
           X509_CRL_set1_nextUpdate(crl, time) &&
           (!profile->revoked || add_revoked(crl, profile->revoked, time)) &&
           add_crl_ext(crl, issuer, NID_issuing_distribution_point, scope) &&
           add_crl_ext(crl, issuer, NID_authority_key_identifier, "keyid:always") &&
           ASN1_INTEGER_set(number, 1) &&
           X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) && X509_CRL_sort(crl) &&
           X509_CRL_sign(crl, issuer_key, EVP_sha256()) > 0;
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(time);
    if (!done) {
        X509_CRL_free(crl);
        return NULL;
    }
    return crl;
}
