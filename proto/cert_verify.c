/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Judging whether a certificate is a key loader's or a terminal's. OpenSSL builds and checks the
 * path (RFC 5280, strict), to one trust anchor at a time and with no trust store; the profile's own
 * demands are checked here, one by one, so that each refusal can be told in words.
 */
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "proto/cert.h"

/* ---- Signature algorithms ---- */

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
    kl_err_openssl_clear();
    return ok;
}

enum kl_rc kl_sigalg_check(const X509_ALGOR *alg, struct kl_err *err)
{
    const ASN1_OBJECT *object;
    int hash = NID_undef, pkey = NID_undef, nid;

    X509_ALGOR_get0(&object, NULL, NULL, alg);
    nid = OBJ_obj2nid(object);
    if (nid == NID_rsassaPss
            ? pss_is_sha2(alg)
            : OBJ_find_sigid_algs(nid, &hash, &pkey) == 1 && is_sha2(hash) &&
                  (pkey == NID_rsaEncryption || pkey == NID_X9_62_id_ecPublicKey)) {
        return KL_OK;
    }
    kl_err_openssl_clear();
    return kl_err_set(err, KL_ERR_CERT,
                      "is signed with %s: must be RSA or ECDSA with SHA-256, -384 or -512",
                      nid == NID_undef       ? "an unknown algorithm"
                      : nid == NID_rsassaPss ? "RSA-PSS over another hash"
                                             : OBJ_nid2ln(nid));
}

/* ---- The profile ---- */

/* What makes a leaf a key loader's, or a terminal's. */
struct profile {
    const char *whose;
    const char *eku;
    const char *scope;
    uint32_t usage_rsa, usage_ec;
    const char *usage_rsa_text, *usage_ec_text;
};

static const struct profile loader = {
    .whose = "key loader's",
    .eku = KL_OID_EKU_LOADER,
    .scope = KL_CRL_SCOPE_LOADER,
    .usage_rsa = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
    .usage_ec = KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT,
    .usage_rsa_text = "digitalSignature and keyEncipherment",
    .usage_ec_text = "digitalSignature and keyAgreement",
};
static const struct profile terminal = {
    .whose = "terminal's",
    .eku = KL_OID_EKU_TERMINAL,
    .scope = KL_CRL_SCOPE_TERMINAL,
    .usage_rsa = KU_DIGITAL_SIGNATURE,
    .usage_ec = KU_DIGITAL_SIGNATURE,
    .usage_rsa_text = "digitalSignature",
    .usage_ec_text = "digitalSignature",
};

/* What every certificate of the path must be, the root included. */
static enum kl_rc check_strength(X509 *cert, struct kl_err *err)
{
    const X509_ALGOR *alg;
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = kl_cert_key_type(cert, &type, &bits, err);

    if (rc != KL_OK) {
        return rc;
    }
    X509_get0_signature(NULL, &alg, cert);
    return kl_sigalg_check(alg, err);
}

static int is_critical(const X509 *cert, int nid)
{
    const X509_EXTENSION *extension = X509_get_ext(cert, X509_get_ext_by_NID(cert, nid, -1));

    return extension && X509_EXTENSION_get_critical(extension);
}

static enum kl_rc check_key_usage(X509 *leaf, const struct profile *profile, struct kl_err *err)
{
    uint32_t usage = X509_get_key_usage(leaf); /* UINT32_MAX if there is none */
    int is_rsa = EVP_PKEY_is_a(X509_get0_pubkey(leaf), "RSA");

    if (usage == UINT32_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "has no keyUsage");
    }
    if (usage != (is_rsa ? profile->usage_rsa : profile->usage_ec)) {
        return kl_err_set(err, KL_ERR_CERT, "keyUsage is not exactly %s",
                          is_rsa ? profile->usage_rsa_text : profile->usage_ec_text);
    }
    if (!is_critical(leaf, NID_key_usage)) {
        return kl_err_set(err, KL_ERR_CERT, "keyUsage is not critical");
    }
    return KL_OK;
}

static enum kl_rc check_basic_constraints(X509 *leaf, struct kl_err *err)
{
    BASIC_CONSTRAINTS *constraints;
    int is_ca;

    constraints = X509_get_ext_d2i(leaf, NID_basic_constraints, NULL, NULL);
    if (!constraints) {
        return kl_err_set(err, KL_ERR_CERT, "has no (or no valid) basicConstraints");
    }
    is_ca = constraints->ca;
    BASIC_CONSTRAINTS_free(constraints);
    if (is_ca) {
        return kl_err_set(err, KL_ERR_CERT, "is a CA's (basicConstraints)");
    }
    if (!is_critical(leaf, NID_basic_constraints)) {
        return kl_err_set(err, KL_ERR_CERT, "basicConstraints is not critical");
    }
    return KL_OK;
}

static enum kl_rc check_eku(X509 *leaf, const struct profile *profile, struct kl_err *err)
{
    ASN1_OBJECT *wanted = NULL;
    EXTENDED_KEY_USAGE *eku = NULL;
    enum kl_rc rc;
    int critical = -1;

    kl_err_openssl_clear();
    wanted = OBJ_txt2obj(profile->eku, 1);
    if (!wanted) {
        return kl_err_openssl(err, KL_ERR_MEMORY, "OBJ_txt2obj", "cannot name a key usage");
    }
    eku = X509_get_ext_d2i(leaf, NID_ext_key_usage, &critical, NULL);
    if (!eku) {
        rc = kl_err_set(err, KL_ERR_CERT, "has no (or no valid) extendedKeyUsage");
    } else if (!critical) {
        rc = kl_err_set(err, KL_ERR_CERT, "extendedKeyUsage is not critical");
    } else if (sk_ASN1_OBJECT_num(eku) != 1) {
        rc = kl_err_set(err, KL_ERR_CERT, "extendedKeyUsage holds %d usages: must hold one",
                        sk_ASN1_OBJECT_num(eku));
    } else if (OBJ_cmp(sk_ASN1_OBJECT_value(eku, 0), wanted) != 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "extendedKeyUsage is not the %s (%s)", profile->whose,
                        profile->eku);
    } else {
        rc = KL_OK;
    }
    EXTENDED_KEY_USAGE_free(eku);
    ASN1_OBJECT_free(wanted);
    kl_err_openssl_clear();
    return rc;
}

/* A CA below the root that says what it issues for issues for nothing else: one for terminals makes
 * no key loaders. */
static enum kl_rc check_ca_eku(X509 *ca, const struct profile *profile, struct kl_err *err)
{
    EXTENDED_KEY_USAGE *eku;
    int found = 0;
    char oid[80];

    if (X509_get_ext_by_NID(ca, NID_ext_key_usage, -1) < 0) {
        return KL_OK;
    }
    eku = X509_get_ext_d2i(ca, NID_ext_key_usage, NULL, NULL);
    for (int i = 0; i < sk_ASN1_OBJECT_num(eku) && !found; i++) {
        const ASN1_OBJECT *usage = sk_ASN1_OBJECT_value(eku, i);
        int len = OBJ_obj2txt(oid, sizeof(oid), usage, 1);

        found = OBJ_obj2nid(usage) == NID_anyExtendedKeyUsage ||
                (len > 0 && strcmp(oid, profile->eku) == 0);
    }
    EXTENDED_KEY_USAGE_free(eku);
    kl_err_openssl_clear();
    return found ? KL_OK
                 : kl_err_set(err, KL_ERR_CERT, "extendedKeyUsage is without the %s (%s)",
                              profile->whose, profile->eku);
}

static enum kl_rc check_leaf(X509 *leaf, const struct profile *profile, STACK_OF(X509) * roots,
                             struct kl_err *err)
{
    enum kl_rc rc;

    for (int i = 0; i < sk_X509_num(roots); i++) {
        if (X509_cmp(leaf, sk_X509_value(roots, i)) == 0) {
            return kl_err_set(err, KL_ERR_CERT, "is the root itself");
        }
    }
    if (X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_issuer_name(leaf)) == 0) {
        return kl_err_set(err, KL_ERR_CERT, "is self-issued: subject and issuer are the same");
    }
    rc = check_strength(leaf, err); /* so that the key can be asked for below */
    if (rc == KL_OK) {
        rc = check_basic_constraints(leaf, err);
    }
    if (rc == KL_OK) {
        rc = check_key_usage(leaf, profile, err);
    }
    if (rc == KL_OK) {
        rc = check_eku(leaf, profile, err);
    }
    return rc;
}

/* Of the root only what OpenSSL does not see to. */
static enum kl_rc check_root(const X509 *root, struct kl_err *err)
{
    if (!is_critical(root, NID_key_usage)) {
        return kl_err_set(err, KL_ERR_CERT, "has no critical keyUsage");
    }
    return KL_OK;
}

/* Puts the certificate's subject before the text. */
static enum kl_rc blame(const X509 *cert, struct kl_err *err)
{
    char subject[KL_NAME_MAX];

    kl_cert_subject(cert, subject);
    return kl_err_context(err, "certificate \"%s\"", subject);
}

/* The path that was built must be the chain as it was given, then the root: nothing left over. */
static enum kl_rc check_path(const STACK_OF(X509) * path, const STACK_OF(X509) * chain,
                             const X509 *root, struct kl_err *err)
{
    int count = sk_X509_num(chain);
    int same = sk_X509_num(path) == count + 1 && X509_cmp(sk_X509_value(path, count), root) == 0;

    for (int i = 0; same && i < count; i++) {
        same = X509_cmp(sk_X509_value(path, i), sk_X509_value(chain, i)) == 0;
    }
    if (!same) {
        return kl_err_set(err, KL_ERR_CERT,
                          "chain is not the certificate and then each one's issuer, the root left "
                          "out");
    }
    return KL_OK;
}

/* ---- The path ---- */

static enum kl_rc verify_path(STACK_OF(X509) * chain, X509 *root, time_t now, struct kl_err *err)
{
    X509_STORE *store;
    X509_STORE_CTX *ctx;
    X509_VERIFY_PARAM *param;
    enum kl_rc rc;

    kl_err_openssl_clear();
    store = X509_STORE_new(); /* empty: nobody's default trust */
    ctx = X509_STORE_CTX_new();
    if (!store || !ctx || !X509_STORE_add_cert(store, root) ||
        !X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain)) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "X509_STORE_CTX_init",
                            "cannot prepare to verify a certificate");
        goto out;
    }
    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_ANY); /* ours is checked by check_leaf */
    X509_VERIFY_PARAM_set_depth(param, KL_CHAIN_MAX);
    X509_VERIFY_PARAM_set_time(param, now);
    if (X509_verify_cert(ctx) != 1) {
        X509 *culprit = X509_STORE_CTX_get_current_cert(ctx);
        int cause = X509_STORE_CTX_get_error(ctx);

        kl_err_openssl_clear();
        rc = kl_err_set(err, cause == X509_V_ERR_OUT_OF_MEM ? KL_ERR_MEMORY : KL_ERR_CERT, "%s",
                        X509_verify_cert_error_string(cause));
        if (culprit) {
            blame(culprit, err);
        }
        goto out;
    }
    rc = check_path(X509_STORE_CTX_get0_chain(ctx), chain, root, err);
out:
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return rc;
}

/* Up to that root and no other. */
static enum kl_rc verify_under(STACK_OF(X509) * chain, X509 *root, time_t now, struct kl_err *err)
{
    enum kl_rc rc = check_root(root, err);

    if (rc == KL_OK) {
        rc = check_strength(root, err);
    }
    return rc == KL_OK ? verify_path(chain, root, now, err) : blame(root, err);
}

/* Tries one root after the other: OpenSSL, given all of them, would settle for the first that has
 * the right name. Of several refusals the one by the root that the chain claims to be under is
 * told. */
static enum kl_rc find_anchor(STACK_OF(X509) * chain, STACK_OF(X509) * roots, time_t now,
                              X509 **anchor, struct kl_err *err)
{
    X509 *last = sk_X509_value(chain, sk_X509_num(chain) - 1);
    struct kl_err told = KL_ERR_INIT;

    for (int i = 0; i < sk_X509_num(roots); i++) {
        X509 *root = sk_X509_value(roots, i);
        struct kl_err finding = KL_ERR_INIT;

        if (verify_under(chain, root, now, &finding) == KL_OK) {
            *anchor = root;
            return KL_OK;
        }
        if (i == 0 || X509_check_issued(root, last) == X509_V_OK) {
            told = finding;
        }
    }
    *err = told;
    return err->rc;
}

static enum kl_rc check_counts(int chain, int roots, struct kl_err *err)
{
    if (chain < 1 || chain > KL_CHAIN_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "chain holds %d certificates: must hold 1 to %d",
                          chain < 0 ? 0 : chain, KL_CHAIN_MAX);
    }
    if (roots < 1 || roots > KL_ANCHOR_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "there are %d roots: must be 1 to %d",
                          roots < 0 ? 0 : roots, KL_ANCHOR_MAX);
    }
    return KL_OK;
}

/* Whether a CRL is needed, the leaf says. */
static enum kl_rc check_revocation(X509 *leaf, X509 *issuer, const struct profile *profile,
                                   X509_CRL *crl, time_t now, struct kl_err *err)
{
    char scope[KL_CRL_SCOPE_TEXT];
    enum kl_rc rc = kl_cert_crl_scope(leaf, scope, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (scope[0] != '\0' && strcmp(scope, profile->scope) != 0) {
        return kl_err_set(err, KL_ERR_CERT, "is to be looked up in the CRL %s: must be %s", scope,
                          profile->scope);
    }
    if (!crl) {
        return scope[0] == '\0' ? KL_OK
                                : kl_err_set(err, KL_ERR_CERT,
                                             "needs a CRL (its cRLDistributionPoints name %s), and "
                                             "there is none",
                                             scope);
    }
    rc = kl_crl_verify(crl, issuer, profile->scope, now, err);
    if (rc == KL_OK && kl_crl_lists(crl, leaf)) {
        rc = kl_err_set(err, KL_ERR_REVOKED, "is revoked: its issuer's CRL lists it");
    }
    return rc;
}

static enum kl_rc verify(STACK_OF(X509) * chain, const struct profile *profile,
                         STACK_OF(X509) * roots, X509_CRL *crl, time_t now, X509 **anchor,
                         struct kl_err *err)
{
    int count = sk_X509_num(chain);
    X509 *leaf, *root = NULL;
    enum kl_rc rc = check_counts(count, sk_X509_num(roots), err);

    if (rc != KL_OK) {
        return rc;
    }
    leaf = sk_X509_value(chain, 0);
    if (check_leaf(leaf, profile, roots, err) != KL_OK) {
        return blame(leaf, err);
    }
    for (int i = 1; i < count; i++) {
        if (check_strength(sk_X509_value(chain, i), err) != KL_OK ||
            check_ca_eku(sk_X509_value(chain, i), profile, err) != KL_OK) {
            return blame(sk_X509_value(chain, i), err);
        }
    }
    rc = find_anchor(chain, roots, now, &root, err);
    if (rc != KL_OK) {
        return rc;
    }
    if (check_revocation(leaf, count > 1 ? sk_X509_value(chain, 1) : root, profile, crl, now,
                         err) != KL_OK) {
        return blame(leaf, err);
    }
    *anchor = root;
    return KL_OK;
}

enum kl_rc kl_cert_verify_loader(STACK_OF(X509) * chain, STACK_OF(X509) * roots, X509_CRL *crl,
                                 time_t now, X509 **anchor, struct kl_err *err)
{
    X509 *found;
    enum kl_rc rc = verify(chain, &loader, roots, crl, now, &found, err);

    if (rc == KL_OK && anchor) {
        *anchor = found;
    }
    return rc;
}

enum kl_rc kl_cert_verify_terminal(STACK_OF(X509) * chain, STACK_OF(X509) * roots, X509_CRL *crl,
                                   time_t now, const char *serial, struct kl_err *err)
{
    char named[KL_SERIAL_MAX + 1];
    X509 *leaf, *found;
    enum kl_rc rc = verify(chain, &terminal, roots, crl, now, &found, err);

    if (rc != KL_OK) {
        return rc;
    }
    leaf = sk_X509_value(chain, 0);
    rc = kl_cert_terminal_serial(X509_get_subject_name(leaf), named, err);
    if (rc == KL_OK && strcmp(named, serial) != 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "is terminal %s's, not %.*s's", named, KL_SERIAL_MAX,
                        serial);
    }
    return rc == KL_OK ? KL_OK : blame(leaf, err);
}
