/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificates: reading them strictly, and judging whether one is a key loader's. OpenSSL builds
 * and checks the path (RFC 5280, strict), with one trust anchor and no trust store; the profile's
 * own demands are checked here, one by one, so that each refusal can be told in words.
 */
#include "proto/cert.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

#define RSA_EXPONENT 65537

enum kl_rc kl_cert_from_der(const uint8_t *der, size_t len, X509 **out, struct kl_err *err)
{
    const unsigned char *p = der;
    unsigned char *again = NULL;
    X509 *cert = NULL;
    enum kl_rc rc;
    int again_len;

    if (len == 0 || len > KL_CERT_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "certificate has %zu bytes: must have 1 to %d", len,
                          KL_CERT_MAX);
    }
    ERR_clear_error();
    cert = d2i_X509(NULL, &p, (long)len);
    if (!cert) {
        return kl_err_openssl(err, KL_ERR_CERT, "d2i_X509", "certificate is malformed");
    }
    /* Encodes it afresh from its fields; without the first call OpenSSL would give back the signed
     * part's bytes as they came. Still as they came are names, booleans, and what extensions and
     * the key hold inside: there the signature alone vouches for the bytes. */
    again_len = i2d_re_X509_tbs(cert, NULL) < 0 ? -1 : i2d_X509(cert, &again);
    if (p != der + len) {
        rc = kl_err_set(err, KL_ERR_CERT, "%zu bytes follow the certificate",
                        (size_t)(der + len - p));
    } else if (again_len < 0) {
        rc = kl_err_openssl(err, KL_ERR_CERT, "i2d_X509", "certificate cannot be encoded again");
    } else if ((size_t)again_len != len || memcmp(again, der, len) != 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "certificate is not DER");
    } else {
        rc = KL_OK;
    }
    OPENSSL_free(again);
    if (rc == KL_OK) {
        *out = cert;
    } else {
        X509_free(cert);
    }
    return rc;
}

/* The next certificate of a PEM file; *out stays NULL at the end of the file. */
static enum kl_rc next_pem(BIO *bio, X509 **out, struct kl_err *err)
{
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long len = 0;
    enum kl_rc rc;

    ERR_clear_error();
    if (!PEM_read_bio(bio, &name, &header, &data, &len)) {
        if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
            return kl_err_openssl(err, KL_ERR_CERT, "PEM_read_bio", "PEM is damaged");
        }
        ERR_clear_error();
        return KL_OK;
    }
    if (strcmp(name, PEM_STRING_X509) != 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "holds a \"%s\": only certificates belong here", name);
    } else {
        rc = kl_cert_from_der(data, (size_t)len, out, err);
    }
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, (size_t)len); /* a key may have been put there by mistake */
    return rc;
}

static enum kl_rc read_chain(BIO *bio, STACK_OF(X509) * chain, struct kl_err *err)
{
    for (;;) {
        X509 *cert = NULL;
        enum kl_rc rc = next_pem(bio, &cert, err);

        if (rc != KL_OK) {
            return rc;
        }
        if (!cert) {
            break;
        }
        if (sk_X509_num(chain) == KL_CHAIN_MAX) {
            X509_free(cert);
            return kl_err_set(err, KL_ERR_CERT, "holds more than %d certificates", KL_CHAIN_MAX);
        }
        if (!sk_X509_push(chain, cert)) {
            X509_free(cert);
            return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a certificate chain");
        }
    }
    if (sk_X509_num(chain) == 0) {
        return kl_err_set(err, KL_ERR_CERT, "holds no certificate in PEM form");
    }
    return KL_OK;
}

enum kl_rc kl_cert_from_pem(const char *text, size_t len, STACK_OF(X509) * *out, struct kl_err *err)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    BIO *bio = len <= KL_CERT_PEM_MAX ? BIO_new_mem_buf(text, (int)len) : NULL;
    enum kl_rc rc;

    if (!bio || !chain) {
        rc = len > KL_CERT_PEM_MAX
                 ? kl_err_set(err, KL_ERR_CERT, "is longer than %d bytes", KL_CERT_PEM_MAX)
                 : kl_err_set(err, KL_ERR_MEMORY, "out of memory for a certificate chain");
        goto out;
    }
    rc = read_chain(bio, chain, err);
    if (rc == KL_OK) {
        *out = chain;
        chain = NULL;
    }
out:
    sk_X509_pop_free(chain, X509_free);
    BIO_free(bio);
    return rc;
}

enum kl_rc kl_pubkey_type(const EVP_PKEY *key, enum kl_key_type *type, unsigned *bits,
                          struct kl_err *err)
{
    BIGNUM *exponent = NULL;
    int size, good_exponent;

    if (!EVP_PKEY_is_a(key, "RSA")) {
        return kl_err_set(err, KL_ERR_CERT, "public key is %s: must be RSA",
                          EVP_PKEY_get0_type_name(key) ? EVP_PKEY_get0_type_name(key)
                                                       : "of an unknown type");
    }
    ERR_clear_error();
    size = EVP_PKEY_get_bits(key);
    if (size < 0 || !kl_rsa_bits_ok((unsigned)size)) {
        return kl_err_set(err, KL_ERR_CERT,
                          "public key is RSA of %d bits: must have 2048, 3072 or 4096", size);
    }
    if (!EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent)) {
        return kl_err_openssl(err, KL_ERR_CERT, "EVP_PKEY_get_bn_param",
                              "public key's exponent cannot be read");
    }
    good_exponent = BN_is_word(exponent, RSA_EXPONENT);
    BN_free(exponent);
    if (!good_exponent) {
        return kl_err_set(err, KL_ERR_CERT, "public key's RSA exponent is not %d", RSA_EXPONENT);
    }
    *type = KL_KEY_RSA;
    *bits = (unsigned)size;
    return KL_OK;
}

enum kl_rc kl_cert_key_type(const X509 *cert, enum kl_key_type *type, unsigned *bits,
                            struct kl_err *err)
{
    const EVP_PKEY *key;

    ERR_clear_error();
    key = X509_get0_pubkey(cert);
    if (!key) {
        return kl_err_openssl(err, KL_ERR_CERT, "X509_get0_pubkey",
                              "certificate's public key cannot be read");
    }
    return kl_pubkey_type(key, type, bits, err);
}

static void name_line(const X509_NAME *name, char out[KL_NAME_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());
    int len = -1;

    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        len = BIO_read(bio, out, KL_NAME_MAX - 1);
    }
    out[len > 0 ? len : 0] = '\0';
    BIO_free(bio);
}

void kl_cert_subject(const X509 *cert, char out[KL_NAME_MAX])
{
    name_line(X509_get_subject_name(cert), out);
}

void kl_cert_issuer(const X509 *cert, char out[KL_NAME_MAX])
{
    name_line(X509_get_issuer_name(cert), out);
}

/* What every certificate of the path must be, the root included. */
static enum kl_rc check_strength(X509 *cert, struct kl_err *err)
{
    enum kl_key_type type;
    int hash = NID_undef;
    unsigned bits;
    enum kl_rc rc;

    rc = kl_cert_key_type(cert, &type, &bits, err);
    if (rc != KL_OK) {
        return rc;
    }
    if (!X509_get_signature_info(cert, &hash, NULL, NULL, NULL) ||
        (hash != NID_sha256 && hash != NID_sha384 && hash != NID_sha512)) {
        ERR_clear_error();
        return kl_err_set(err, KL_ERR_CERT, "is signed over %s: must be SHA-256, -384 or -512",
                          hash == NID_undef ? "an unknown hash" : OBJ_nid2sn(hash));
    }
    return KL_OK;
}

static int is_critical(const X509 *cert, int nid)
{
    const X509_EXTENSION *extension = X509_get_ext(cert, X509_get_ext_by_NID(cert, nid, -1));

    return extension && X509_EXTENSION_get_critical(extension);
}

static enum kl_rc check_key_usage(X509 *leaf, struct kl_err *err)
{
    uint32_t usage = X509_get_key_usage(leaf); /* UINT32_MAX if there is none */

    if (usage == UINT32_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "has no keyUsage");
    }
    if (usage != (KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT)) {
        return kl_err_set(err, KL_ERR_CERT,
                          "keyUsage is not exactly digitalSignature and keyEncipherment");
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

static enum kl_rc check_eku(X509 *leaf, struct kl_err *err)
{
    ASN1_OBJECT *wanted = NULL;
    EXTENDED_KEY_USAGE *eku = NULL;
    enum kl_rc rc;
    int critical = -1;

    ERR_clear_error();
    wanted = OBJ_txt2obj(KL_OID_EKU_LOADER, 1);
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
        rc = kl_err_set(err, KL_ERR_CERT, "extendedKeyUsage is not the key loader's (%s)",
                        KL_OID_EKU_LOADER);
    } else {
        rc = KL_OK;
    }
    EXTENDED_KEY_USAGE_free(eku);
    ASN1_OBJECT_free(wanted);
    ERR_clear_error();
    return rc;
}

static enum kl_rc check_leaf(X509 *leaf, X509 *root, struct kl_err *err)
{
    enum kl_rc rc;

    if (X509_cmp(leaf, root) == 0) {
        return kl_err_set(err, KL_ERR_CERT, "is the root itself");
    }
    if (X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_issuer_name(leaf)) == 0) {
        return kl_err_set(err, KL_ERR_CERT, "is self-issued: subject and issuer are the same");
    }
    rc = check_basic_constraints(leaf, err);
    if (rc == KL_OK) {
        rc = check_key_usage(leaf, err);
    }
    if (rc == KL_OK) {
        rc = check_eku(leaf, err);
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
                          "chain is not the work certificate and then each one's issuer, the root "
                          "left out");
    }
    return KL_OK;
}

static enum kl_rc verify_path(STACK_OF(X509) * chain, X509 *root, time_t now, struct kl_err *err)
{
    X509_STORE *store;
    X509_STORE_CTX *ctx;
    X509_VERIFY_PARAM *param;
    enum kl_rc rc;

    ERR_clear_error();
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

        ERR_clear_error();
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

enum kl_rc kl_cert_verify_loader(STACK_OF(X509) * chain, X509 *root, time_t now, struct kl_err *err)
{
    int count = sk_X509_num(chain);
    X509 *leaf;

    if (count < 1 || count > KL_CHAIN_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "chain holds %d certificates: must hold 1 to %d",
                          count < 0 ? 0 : count, KL_CHAIN_MAX);
    }
    leaf = sk_X509_value(chain, 0);
    if (check_leaf(leaf, root, err) != KL_OK) {
        return blame(leaf, err);
    }
    if (check_root(root, err) != KL_OK) {
        return blame(root, err);
    }
    for (int i = 0; i <= count; i++) {
        X509 *cert = i < count ? sk_X509_value(chain, i) : root;

        if (check_strength(cert, err) != KL_OK) {
            return blame(cert, err);
        }
    }
    return verify_path(chain, root, now, err);
}
