/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificates: a small CA in memory issues good ones and, one flaw at a time, bad ones.
 */
#include <check.h>
#include <limits.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "proto/cert.h"
#include "tests/support/suite.h"

#define NOW ((time_t)1800000000)
#define DAY 86400

/* Made once, before check forks. */
static EVP_PKEY *root_key, *other_key, *inter_key, *leaf_key, *weak_key, *ec_key, *e3_key;

static EVP_PKEY *make_rsa(size_t bits, unsigned exponent)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    BIGNUM *e = BN_new();
    EVP_PKEY *key = NULL;

    if (!ctx || !e || !BN_set_word(e, exponent) || EVP_PKEY_keygen_init(ctx) <= 0 ||
        EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits) <= 0 ||
        EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) <= 0 || EVP_PKEY_generate(ctx, &key) <= 0) {
        abort();
    }
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void make_keys(void)
{
    root_key = make_rsa(2048, 65537);
    other_key = make_rsa(2048, 65537);
    inter_key = make_rsa(3072, 65537);
    leaf_key = make_rsa(2048, 65537);
    weak_key = make_rsa(1024, 65537);
    e3_key = make_rsa(2048, 3);
    ec_key = EVP_EC_gen("P-256");
    if (!ec_key) {
        abort();
    }
}

static void free_keys(void)
{
    EVP_PKEY *keys[] = {root_key, other_key, inter_key, leaf_key, weak_key, ec_key, e3_key};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        EVP_PKEY_free(keys[i]);
    }
}

/* What a certificate is to say; extensions as in openssl.cnf, NULL = left out. */
struct spec {
    const char *subject, *issuer;
    EVP_PKEY *key, *signer;
    const char *basic_constraints, *key_usage, *eku, *ski, *aki;
    long from, to; /* seconds from NOW */
    const EVP_MD *md;
    int odd_extension; /* 1 = a critical one that nobody knows */
};

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *extension;
    X509V3_CTX ctx;

    if (!value) {
        return;
    }
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ck_assert_msg(extension != NULL, "%s", value);
    ck_assert_int_eq(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void add_odd_extension(X509 *cert)
{
    ASN1_OBJECT *oid = OBJ_txt2obj("2.25.1.2.3", 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension;

    ck_assert(oid && value && ASN1_OCTET_STRING_set(value, (const uint8_t *)"\5\0", 2));
    extension = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, value);
    ck_assert_int_eq(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
}

static void set_name(X509_NAME *name, const char *common_name)
{
    ck_assert(
        X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const uint8_t *)"Bank", -1, -1, 0));
    ck_assert(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)common_name, -1,
                                         -1, 0));
}

/* issuer NULL = itself. */
static X509 *issue(const struct spec *spec, X509 *issuer)
{
    static long serial = 1;
    X509 *cert = X509_new();

    ck_assert(cert && X509_set_version(cert, X509_VERSION_3));
    ck_assert(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++));
    set_name(X509_get_subject_name(cert), spec->subject);
    set_name(X509_get_issuer_name(cert), spec->issuer);
    ck_assert(ASN1_TIME_set(X509_getm_notBefore(cert), NOW + spec->from) != NULL);
    ck_assert(ASN1_TIME_set(X509_getm_notAfter(cert), NOW + spec->to) != NULL);
    ck_assert(X509_set_pubkey(cert, spec->key));
    add_extension(cert, cert, NID_basic_constraints, spec->basic_constraints);
    add_extension(cert, cert, NID_key_usage, spec->key_usage);
    add_extension(cert, cert, NID_ext_key_usage, spec->eku);
    add_extension(cert, cert, NID_subject_key_identifier, spec->ski);
    add_extension(cert, issuer ? issuer : cert, NID_authority_key_identifier, spec->aki);
    if (spec->odd_extension) {
        add_odd_extension(cert);
    }
    ck_assert_int_gt(X509_sign(cert, spec->signer, spec->md), 0);
    return cert;
}

/* A whole little PKI, good until a flaw is put in. */
struct pki {
    struct spec root, inter, leaf;
    int use_inter;
    X509 *root_cert, *inter_cert, *leaf_cert;
    STACK_OF(X509) * chain; /* borrows */
};

static void pki_plan(struct pki *pki)
{
    memset(pki, 0, sizeof(*pki));
    pki->root = (struct spec){.subject = "Root",
                              .issuer = "Root",
                              .key = root_key,
                              .signer = root_key,
                              .basic_constraints = "critical,CA:TRUE",
                              .key_usage = "critical,keyCertSign,cRLSign",
                              .ski = "hash",
                              .from = -DAY,
                              .to = DAY,
                              .md = EVP_sha256()};
    pki->inter = pki->root;
    pki->inter.subject = "Intermediate";
    pki->inter.key = inter_key;
    pki->inter.aki = "keyid";
    pki->leaf = (struct spec){.subject = "Loader",
                              .issuer = "Root",
                              .key = leaf_key,
                              .signer = root_key,
                              .basic_constraints = "critical,CA:FALSE",
                              .key_usage = "critical,digitalSignature,keyEncipherment",
                              .eku = "critical," KL_OID_EKU_LOADER,
                              .ski = "hash",
                              .aki = "keyid",
                              .from = -DAY,
                              .to = DAY,
                              .md = EVP_sha256()};
}

static void pki_use_inter(struct pki *pki)
{
    pki->use_inter = 1;
    pki->leaf.issuer = "Intermediate";
    pki->leaf.signer = inter_key;
}

static void pki_make(struct pki *pki)
{
    pki->root_cert = issue(&pki->root, NULL);
    pki->inter_cert = issue(&pki->inter, pki->root_cert);
    pki->leaf_cert = issue(&pki->leaf, pki->use_inter ? pki->inter_cert : pki->root_cert);
    pki->chain = sk_X509_new_null();
    ck_assert_ptr_nonnull(pki->chain);
    sk_X509_push(pki->chain, pki->leaf_cert);
    if (pki->use_inter) {
        sk_X509_push(pki->chain, pki->inter_cert);
    }
}

static void pki_wipe(struct pki *pki)
{
    sk_X509_free(pki->chain);
    X509_free(pki->leaf_cert);
    X509_free(pki->inter_cert);
    X509_free(pki->root_cert);
}

static void flaw_none(struct pki *pki)
{
    (void)pki;
}
static void flaw_expired(struct pki *pki)
{
    pki->leaf.to = -1;
}
static void flaw_early(struct pki *pki)
{
    pki->leaf.from = 1;
}
static void flaw_root_expired(struct pki *pki)
{
    pki->root.to = -1;
}
static void flaw_eku_terminal(struct pki *pki)
{
    pki->leaf.eku = "critical," KL_OID_EKU_TERMINAL;
}
static void flaw_eku_tls(struct pki *pki)
{
    pki->leaf.eku = "critical,serverAuth";
}
static void flaw_eku_any(struct pki *pki)
{
    pki->leaf.eku = "critical,anyExtendedKeyUsage";
}
static void flaw_eku_uncritical(struct pki *pki)
{
    pki->leaf.eku = KL_OID_EKU_LOADER;
}
static void flaw_eku_extra(struct pki *pki)
{
    pki->leaf.eku = "critical," KL_OID_EKU_LOADER "," KL_OID_EKU_TERMINAL;
}
static void flaw_eku_none(struct pki *pki)
{
    pki->leaf.eku = NULL;
}
static void flaw_self_signed(struct pki *pki)
{
    pki->leaf.issuer = pki->leaf.subject;
    pki->leaf.signer = leaf_key;
}
static void flaw_named_as_root(struct pki *pki)
{
    pki->leaf.subject = pki->root.subject;
}
static void flaw_forged(struct pki *pki)
{
    pki->leaf.signer = other_key;
}
static void flaw_root_forged(struct pki *pki)
{
    pki->root.signer = other_key;
}
static void flaw_sha1_leaf(struct pki *pki)
{
    pki->leaf.md = EVP_sha1();
}
static void flaw_sha1_inter(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.md = EVP_sha1();
}
static void flaw_sha1_root(struct pki *pki)
{
    pki->root.md = EVP_sha1();
}
static void flaw_md5_leaf(struct pki *pki)
{
    pki->leaf.md = EVP_md5();
}
static void flaw_sha224_leaf(struct pki *pki)
{
    pki->leaf.md = EVP_sha224();
}
static void flaw_weak_leaf(struct pki *pki)
{
    pki->leaf.key = weak_key;
}
static void flaw_weak_inter(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.key = pki->leaf.signer = weak_key;
}
static void flaw_weak_root(struct pki *pki)
{
    pki->root.key = pki->root.signer = pki->leaf.signer = weak_key;
}
static void flaw_ec_leaf(struct pki *pki)
{
    pki->leaf.key = ec_key;
}
static void flaw_exponent(struct pki *pki)
{
    pki->leaf.key = e3_key;
}
static void flaw_usage_sign_only(struct pki *pki)
{
    pki->leaf.key_usage = "critical,digitalSignature";
}
static void flaw_usage_encipher_only(struct pki *pki)
{
    pki->leaf.key_usage = "critical,keyEncipherment";
}
static void flaw_usage_extra(struct pki *pki)
{
    pki->leaf.key_usage = "critical,digitalSignature,keyEncipherment,dataEncipherment";
}
static void flaw_usage_none(struct pki *pki)
{
    pki->leaf.key_usage = NULL;
}
static void flaw_usage_uncritical(struct pki *pki)
{
    pki->leaf.key_usage = "digitalSignature,keyEncipherment";
}
static void flaw_leaf_constraints_uncritical(struct pki *pki)
{
    pki->leaf.basic_constraints = "CA:FALSE";
}
static void flaw_root_constraints_uncritical(struct pki *pki)
{
    pki->root.basic_constraints = "CA:TRUE";
}
static void flaw_root_usage_uncritical(struct pki *pki)
{
    pki->root.key_usage = "keyCertSign,cRLSign";
}
static void flaw_root_usage_none(struct pki *pki)
{
    pki->root.key_usage = NULL;
}
static void flaw_leaf_ca(struct pki *pki)
{
    pki->leaf.basic_constraints = "critical,CA:TRUE";
}
static void flaw_leaf_no_constraints(struct pki *pki)
{
    pki->leaf.basic_constraints = NULL;
}
static void flaw_inter_no_ca(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.basic_constraints = "critical,CA:FALSE";
}
static void flaw_inter_no_constraints(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.basic_constraints = NULL;
}
static void flaw_inter_uncritical(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.basic_constraints = "CA:TRUE";
}
static void flaw_inter_usage(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.key_usage = "critical,digitalSignature";
}
static void flaw_path_length(struct pki *pki)
{
    pki_use_inter(pki);
    pki->root.basic_constraints = "critical,CA:TRUE,pathlen:0";
}
static void flaw_no_aki(struct pki *pki)
{
    pki->leaf.aki = NULL;
}
static void flaw_odd_extension(struct pki *pki)
{
    pki->leaf.odd_extension = 1;
}

static const struct {
    void (*put)(struct pki *pki);
    const char *text; /* of the refusal; NULL = good */
} flaws[] = {
    {flaw_none, NULL},
    {pki_use_inter, NULL},
    {flaw_expired, "certificate \"CN=Loader,O=Bank\": certificate has expired"},
    {flaw_early, "certificate \"CN=Loader,O=Bank\": certificate is not yet valid"},
    {flaw_root_expired, "certificate \"CN=Root,O=Bank\": certificate has expired"},
    {flaw_eku_terminal, "extendedKeyUsage is not the key loader's"},
    {flaw_eku_tls, "extendedKeyUsage is not the key loader's"},
    {flaw_eku_any, "extendedKeyUsage is not the key loader's"},
    {flaw_eku_uncritical, "extendedKeyUsage is not critical"},
    {flaw_eku_extra, "extendedKeyUsage holds 2 usages"},
    {flaw_eku_none, "has no (or no valid) extendedKeyUsage"},
    {flaw_self_signed, "is self-issued"},
    {flaw_named_as_root, "is self-issued"},
    {flaw_forged, "certificate \"CN=Loader,O=Bank\": certificate signature failure"},
    {flaw_root_forged, "certificate \"CN=Root,O=Bank\": certificate signature failure"},
    {flaw_sha1_leaf, "certificate \"CN=Loader,O=Bank\": is signed over SHA1"},
    {flaw_sha1_inter, "certificate \"CN=Intermediate,O=Bank\": is signed over SHA1"},
    {flaw_sha1_root, "certificate \"CN=Root,O=Bank\": is signed over SHA1"},
    {flaw_md5_leaf, "is signed over MD5"},
    {flaw_sha224_leaf, "is signed over SHA224"},
    {flaw_weak_leaf, "certificate \"CN=Loader,O=Bank\": public key is RSA of 1024 bits"},
    {flaw_weak_inter, "certificate \"CN=Intermediate,O=Bank\": public key is RSA of 1024 bits"},
    {flaw_weak_root, "certificate \"CN=Root,O=Bank\": public key is RSA of 1024 bits"},
    {flaw_ec_leaf, "public key is EC: must be RSA"},
    {flaw_exponent, "RSA exponent is not 65537"},
    {flaw_usage_sign_only, "keyUsage is not exactly digitalSignature and keyEncipherment"},
    {flaw_usage_encipher_only, "keyUsage is not exactly digitalSignature and keyEncipherment"},
    {flaw_usage_extra, "keyUsage is not exactly digitalSignature and keyEncipherment"},
    {flaw_usage_none, "has no keyUsage"},
    {flaw_usage_uncritical, "certificate \"CN=Loader,O=Bank\": keyUsage is not critical"},
    {flaw_leaf_constraints_uncritical,
     "certificate \"CN=Loader,O=Bank\": basicConstraints is not critical"},
    {flaw_root_constraints_uncritical,
     "certificate \"CN=Root,O=Bank\": Basic Constraints of CA cert not marked critical"},
    {flaw_root_usage_uncritical, "certificate \"CN=Root,O=Bank\": has no critical keyUsage"},
    {flaw_root_usage_none, "certificate \"CN=Root,O=Bank\": has no critical keyUsage"},
    {flaw_leaf_ca, "is a CA's"},
    {flaw_leaf_no_constraints, "has no (or no valid) basicConstraints"},
    {flaw_inter_no_ca, "certificate \"CN=Intermediate,O=Bank\": invalid CA certificate"},
    {flaw_inter_no_constraints, "certificate \"CN=Intermediate,O=Bank\": "},
    {flaw_inter_uncritical, "Basic Constraints of CA cert not marked critical"},
    {flaw_inter_usage, "certificate \"CN=Intermediate,O=Bank\": "},
    {flaw_path_length, "path length constraint exceeded"},
    {flaw_no_aki, "Missing Authority Key Identifier"},
    {flaw_odd_extension, "unhandled critical extension"},
};

static void assert_refused(STACK_OF(X509) * chain, X509 *root, const char *text)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_cert_verify_loader(chain, root, NOW, &err) == KL_ERR_CERT, "accepted: %s",
                  text);
    ck_assert_msg(strstr(err.text, text), "\"%s\" lacks \"%s\"", err.text, text);
}

START_TEST(test_verify)
{
    struct kl_err err = KL_ERR_INIT;
    struct pki pki;

    pki_plan(&pki);
    flaws[_i].put(&pki);
    pki_make(&pki);
    if (flaws[_i].text) {
        assert_refused(pki.chain, pki.root_cert, flaws[_i].text);
    } else {
        ck_assert_msg(kl_cert_verify_loader(pki.chain, pki.root_cert, NOW, &err) == KL_OK, "%s",
                      err.text);
    }
    pki_wipe(&pki);
}
END_TEST

static void write_pem(char path[PATH_MAX], X509 *const *certs, size_t count, const char *tail)
{
    FILE *file;
    int fd;

    snprintf(path, PATH_MAX, "%s/kl-cert-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    fd = mkstemp(path);
    file = fdopen(fd, "w");
    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < count; i++) {
        ck_assert(PEM_write_X509(file, certs[i]));
    }
    fputs(tail, file);
    fclose(file);
}

/* Another bank's root of the very same name, and the machine's own trust: neither counts. */
START_TEST(test_other_root)
{
    struct pki pki, other;
    char path[PATH_MAX];

    pki_plan(&pki);
    pki_make(&pki);
    pki_plan(&other);
    other.root.key = other.root.signer = other.inter.signer = other.leaf.signer = other_key;
    pki_make(&other);
    write_pem(path, &pki.root_cert, 1, "");
    ck_assert_int_eq(setenv("SSL_CERT_FILE", path, 1), 0);
    assert_refused(pki.chain, other.root_cert, "unable to get local issuer certificate");
    assert_refused(other.chain, pki.root_cert, "unable to get local issuer certificate");
    unlink(path);
    pki_wipe(&other);
    pki_wipe(&pki);
}
END_TEST

START_TEST(test_chain_shape)
{
    struct pki pki;

    pki_plan(&pki);
    pki_use_inter(&pki);
    pki_make(&pki);
    sk_X509_push(pki.chain, pki.root_cert);
    assert_refused(pki.chain, pki.root_cert, "the root left out");
    sk_X509_pop(pki.chain);
    sk_X509_push(pki.chain, pki.inter_cert);
    assert_refused(pki.chain, pki.root_cert, "the root left out"); /* one twice */
    sk_X509_pop(pki.chain);
    sk_X509_pop(pki.chain);
    assert_refused(pki.chain, pki.root_cert, "unable to get local issuer certificate");
    sk_X509_pop(pki.chain);
    assert_refused(pki.chain, pki.root_cert, "chain holds 0 certificates");
    for (int i = 0; i <= KL_CHAIN_MAX; i++) {
        sk_X509_push(pki.chain, pki.leaf_cert);
    }
    assert_refused(pki.chain, pki.root_cert, "chain holds 5 certificates");
    pki_wipe(&pki);
}
END_TEST

START_TEST(test_root_as_leaf)
{
    struct pki pki;

    pki_plan(&pki);
    pki_make(&pki);
    sk_X509_set(pki.chain, 0, pki.root_cert);
    assert_refused(pki.chain, pki.root_cert, "is the root itself");
    /* A trust anchor that would pass as a leaf in all else. */
    sk_X509_set(pki.chain, 0, pki.leaf_cert);
    assert_refused(pki.chain, pki.leaf_cert, "is the root itself");
    pki_wipe(&pki);
}
END_TEST

START_TEST(test_from_der)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t *der = NULL, *copy;
    X509 *cert = NULL;
    struct pki pki;
    size_t len;
    int n;

    pki_plan(&pki);
    pki_make(&pki);
    n = i2d_X509(pki.leaf_cert, &der);
    ck_assert_int_gt(n, 0);
    len = (size_t)n;
    ck_assert_msg(kl_cert_from_der(der, len, &cert, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(X509_cmp(cert, pki.leaf_cert), 0);
    X509_free(cert);
    cert = NULL;
    for (size_t cut = 0; cut < len; cut++) {
        copy = malloc(cut + 1);
        memcpy(copy, der, cut);
        ck_assert_int_eq(kl_cert_from_der(copy, cut, &cert, &err), KL_ERR_CERT);
        free(copy);
    }
    copy = calloc(1, KL_CERT_MAX + 1);
    memcpy(copy, der, len);
    ck_assert_int_eq(kl_cert_from_der(copy, len + 1, &cert, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "1 bytes follow the certificate"));
    ck_assert_int_eq(kl_cert_from_der(copy, KL_CERT_MAX + 1, &cert, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "must have 1 to 4096"));
    copy[1] = 0x80; /* 30 82 xx xx becomes indefinite length */
    memmove(copy + 2, der + 4, len - 4);
    memset(copy + len - 2, 0, 2);
    ck_assert_int_eq(kl_cert_from_der(copy, len, &cert, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "is not DER"));
    ck_assert_ptr_null(cert);
    /* 30 82 xx xx 30 82 xx xx a0 03: a length of 3 in two bytes, inside what is signed. */
    memcpy(copy, der, 9);
    ck_assert(copy[3] < 0xff && copy[7] < 0xff && der[9] == 3);
    copy[3]++;
    copy[7]++;
    copy[9] = 0x81;
    memcpy(copy + 10, der + 9, len - 9);
    ck_assert_int_eq(kl_cert_from_der(copy, len + 1, &cert, &err), KL_ERR_CERT);
    ck_assert_msg(strstr(err.text, "is not DER"), "%s", err.text);
    ck_assert_ptr_null(cert);
    /* Its own cause is told, and none from before. */
    ERR_raise_data(ERR_LIB_CRYPTO, ERR_R_INTERNAL_ERROR, "stale");
    ck_assert_int_eq(kl_cert_from_der(der, len - 1, &cert, &err), KL_ERR_CERT);
    ck_assert_msg(!strstr(err.text, "stale"), "%s", err.text);
    free(copy);
    OPENSSL_free(der);
    pki_wipe(&pki);
}
END_TEST

/* Every bit of a work certificate matters: none can be flipped without a refusal. */
START_TEST(test_flipped)
{
    struct kl_err err = KL_ERR_INIT;
    STACK_OF(X509) *chain = sk_X509_new_null();
    uint8_t *der = NULL;
    struct pki pki;
    int len;

    pki_plan(&pki);
    pki_make(&pki);
    len = i2d_X509(pki.leaf_cert, &der);
    ck_assert_int_gt(len, 0);
    for (int bit = 0; bit < len * 8; bit++) {
        X509 *cert = NULL;

        der[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (kl_cert_from_der(der, (size_t)len, &cert, &err) == KL_OK) {
            sk_X509_push(chain, cert);
            ck_assert_msg(kl_cert_verify_loader(chain, pki.root_cert, NOW, &err) == KL_ERR_CERT,
                          "bit %d flipped, and accepted", bit);
            sk_X509_pop(chain);
        }
        X509_free(cert);
        der[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    OPENSSL_free(der);
    sk_X509_free(chain);
    pki_wipe(&pki);
}
END_TEST

START_TEST(test_key_types)
{
    struct kl_err err = KL_ERR_INIT;
    EVP_PKEY *big = make_rsa(4096, 65537), *odd = make_rsa(2056, 65537);
    enum kl_key_type type = (enum kl_key_type)99;
    unsigned bits = 0;
    struct pki pki;

    ck_assert_int_eq(kl_pubkey_type(ec_key, &type, &bits, &err), KL_ERR_CERT);
    ck_assert_int_eq(kl_pubkey_type(weak_key, &type, &bits, &err), KL_ERR_CERT);
    ck_assert_int_eq(kl_pubkey_type(odd, &type, &bits, &err), KL_ERR_CERT);
    ck_assert_int_eq(kl_pubkey_type(e3_key, &type, &bits, &err), KL_ERR_CERT);
    ck_assert_int_eq(type, 99);
    ck_assert_uint_eq(bits, 0);
    ck_assert_int_eq(kl_pubkey_type(leaf_key, &type, &bits, &err), KL_OK);
    ck_assert_int_eq(type, KL_KEY_RSA);
    ck_assert_uint_eq(bits, 2048);
    ck_assert_int_eq(kl_pubkey_type(big, &type, &bits, &err), KL_OK);
    ck_assert_uint_eq(bits, 4096);
    pki_plan(&pki);
    pki_make(&pki);
    ck_assert_int_eq(kl_cert_key_type(pki.inter_cert, &type, &bits, &err), KL_OK);
    ck_assert_uint_eq(bits, 3072);
    pki_wipe(&pki);
    EVP_PKEY_free(big);
    EVP_PKEY_free(odd);
}
END_TEST

START_TEST(test_name_lines)
{
    char line[KL_NAME_MAX];
    struct pki pki;
    X509_NAME *name;

    pki_plan(&pki);
    pki.leaf.subject = "a\nb\x1b[2J";
    pki_make(&pki);
    kl_cert_subject(pki.leaf_cert, line);
    ck_assert_str_eq(line, "CN=a\\0Ab\\1B[2J,O=Bank");
    kl_cert_issuer(pki.leaf_cert, line);
    ck_assert_str_eq(line, "CN=Root,O=Bank");
    name = X509_get_subject_name(pki.leaf_cert);
    for (int i = 0; i < 6; i++) {
        ck_assert(
            X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_ASC,
                                       (const uint8_t *)"a name of some forty characters, or so",
                                       -1, -1, 0));
    }
    memset(line, 'x', sizeof(line));
    kl_cert_subject(pki.leaf_cert, line);
    ck_assert_uint_eq(strnlen(line, sizeof(line)), KL_NAME_MAX - 1);
    pki_wipe(&pki);
}
END_TEST

static void assert_pem(size_t count, const char *tail, enum kl_rc want, const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    STACK_OF(X509) *chain = NULL;
    X509 *certs[5];
    char path[PATH_MAX];
    struct pki pki;

    pki_plan(&pki);
    pki_make(&pki);
    for (size_t i = 0; i < 5; i++) {
        certs[i] = i == 0 ? pki.leaf_cert : pki.inter_cert;
    }
    write_pem(path, certs, count, tail);
    ck_assert_msg(kl_cert_load_pem(path, &chain, &err) == want, "%zu certificates: %s", count,
                  err.text);
    if (want == KL_OK) {
        ck_assert_int_eq(sk_X509_num(chain), (int)count);
        ck_assert_int_eq(X509_cmp(sk_X509_value(chain, 0), pki.leaf_cert), 0);
    } else {
        ck_assert_ptr_null(chain);
        ck_assert_ptr_nonnull(strstr(err.text, path));
        ck_assert_msg(strstr(err.text, text), "\"%s\" lacks \"%s\"", err.text, text);
    }
    unlink(path);
    sk_X509_pop_free(chain, X509_free);
    pki_wipe(&pki);
}

START_TEST(test_load_pem)
{
    struct kl_err err = KL_ERR_INIT;
    STACK_OF(X509) *chain = NULL;

    assert_pem(1, "", KL_OK, NULL);
    assert_pem(4, "a remark\n", KL_OK, NULL);
    assert_pem(5, "", KL_ERR_CERT, "holds more than 4 certificates");
    assert_pem(0, "", KL_ERR_CERT, "holds no certificate in PEM form");
    assert_pem(0, "nothing of the kind\n", KL_ERR_CERT, "holds no certificate in PEM form");
    assert_pem(1, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", KL_ERR_CERT,
               "holds a \"PRIVATE KEY\": only certificates belong here");
    assert_pem(1, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", KL_ERR_CERT,
               "certificate is malformed");
    assert_pem(1, "-----BEGIN CERTIFICATE-----\nAAAA\n", KL_ERR_CERT, "PEM is damaged");
    assert_pem(1, "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", KL_ERR_CERT,
               "PEM is damaged");
    ck_assert_int_eq(kl_cert_load_pem("/nonexistent/x.pem", &chain, &err), KL_ERR_NO_FILE);
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/x.pem"));
    ck_assert_int_eq(kl_cert_load_pem("/", &chain, &err), KL_ERR_NO_FILE);
}
END_TEST

int main(void)
{
    int status;
    Suite *suite = suite_create("cert");
    TCase *tcase = tcase_create("cert");

    make_keys();
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_verify, 0, sizeof(flaws) / sizeof(flaws[0]));
    tcase_add_test(tcase, test_other_root);
    tcase_add_test(tcase, test_chain_shape);
    tcase_add_test(tcase, test_root_as_leaf);
    tcase_add_test(tcase, test_from_der);
    tcase_add_test(tcase, test_flipped);
    tcase_add_test(tcase, test_key_types);
    tcase_add_test(tcase, test_name_lines);
    tcase_add_test(tcase, test_load_pem);
    suite_add_tcase(suite, tcase);
    status = test_run(suite);
    free_keys();
    return status;
}
