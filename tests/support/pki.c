/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates and CRLs for tests, by OpenSSL's own building functions. */
#include "tests/support/pki.h"

#include <check.h>
#include <openssl/conf.h>
#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cert.h"

struct pki_keys pki_keys;

/* ---- Keys ---- */

EVP_PKEY *pki_make_rsa(size_t bits, unsigned exponent)
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

void pki_make_keys(void)
{
    pki_keys = (struct pki_keys){
        .root = pki_make_rsa(2048, 65537),
        .other = pki_make_rsa(2048, 65537),
        .inter = pki_make_rsa(3072, 65537),
        .leaf = pki_make_rsa(2048, 65537),
        .weak = pki_make_rsa(1024, 65537),
        .e3 = pki_make_rsa(2048, 3),
        .ec_root = EVP_EC_gen("P-384"),
        .p256 = EVP_EC_gen("P-256"),
        .p384 = EVP_EC_gen("P-384"),
        .p521 = EVP_EC_gen("P-521"),
        .k256 = EVP_EC_gen("secp256k1"),
        .ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
    };
    if (!pki_keys.ec_root || !pki_keys.p256 || !pki_keys.p384 || !pki_keys.p521 || !pki_keys.k256 ||
        !pki_keys.ed25519) {
        abort();
    }
}

void pki_free_keys(void)
{
    EVP_PKEY *keys[] = {pki_keys.root,    pki_keys.other, pki_keys.inter, pki_keys.leaf,
                        pki_keys.weak,    pki_keys.e3,    pki_keys.p256,  pki_keys.p384,
                        pki_keys.ec_root, pki_keys.p521,  pki_keys.k256,  pki_keys.ed25519};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        EVP_PKEY_free(keys[i]);
    }
}

/* ---- Extensions and names ---- */

/* What no single line of openssl.cnf can say; "urn:x" stands for a scope that is none of ours. */
static const char sections[] = "[two_names]\n"
                               "fullname = URI:" KL_CRL_SCOPE_LOADER ",URI:urn:x\n"
                               "[reasons]\n"
                               "fullname = URI:" KL_CRL_SCOPE_LOADER "\n"
                               "reasons = keyCompromise\n"
                               "[issuer]\n"
                               "fullname = URI:" KL_CRL_SCOPE_LOADER "\n"
                               "CRLissuer = dirName:name\n"
                               "[relative]\n"
                               "relativename = name\n"
                               "[name]\n"
                               "CN = x\n"
                               "[some_reasons]\n"
                               "fullname = URI:" KL_CRL_SCOPE_LOADER "\n"
                               "onlysomereasons = keyCompromise\n";

static X509_EXTENSION *make_extension(X509 *subject, X509 *issuer, int nid, const char *value)
{
    CONF *conf = NCONF_new(NULL);
    BIO *bio = BIO_new_mem_buf(sections, -1);
    X509_EXTENSION *extension;
    X509V3_CTX ctx;

    ck_assert(conf && bio && NCONF_load_bio(conf, bio, NULL) > 0);
    X509V3_set_ctx(&ctx, issuer, subject, NULL, NULL, 0);
    X509V3_set_nconf(&ctx, conf);
    extension = X509V3_EXT_nconf_nid(conf, &ctx, nid, value);
    ck_assert_msg(extension != NULL, "%s", value);
    BIO_free(bio);
    NCONF_free(conf);
    return extension;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *extension;

    if (!value) {
        return;
    }
    extension = make_extension(cert, issuer, nid, value);
    ck_assert_int_eq(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509_EXTENSION *odd_extension(int critical)
{
    ASN1_OBJECT *oid = OBJ_txt2obj("2.25.1.2.3", 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension;

    ck_assert(oid && value && ASN1_OCTET_STRING_set(value, (const uint8_t *)"\5\0", 2));
    extension = X509_EXTENSION_create_by_OBJ(NULL, oid, critical, value);
    ck_assert_ptr_nonnull(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
    return extension;
}

static void add_name(X509_NAME *name, const char *type, const char *value)
{
    if (value) {
        ck_assert(X509_NAME_add_entry_by_txt(name, type, MBSTRING_ASC, (const uint8_t *)value, -1,
                                             -1, 0));
    }
}

static void set_name(X509_NAME *name, const char *common_name)
{
    add_name(name, "O", "Bank");
    add_name(name, "CN", common_name);
}

/* ---- Certificates ---- */

static void sign(X509 *cert, const struct pki_spec *spec)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;

    ck_assert(EVP_DigestSignInit(ctx, &pctx, spec->md, NULL, spec->signer));
    if (spec->pss) {
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, spec->mgf ? spec->mgf : spec->md), 1);
    }
    ck_assert_int_gt(X509_sign_ctx(cert, ctx), 0);
    EVP_MD_CTX_free(ctx);
}

X509 *pki_issue(const struct pki_spec *spec, X509 *issuer)
{
    static long serial = 1000;
    X509 *cert = X509_new();

    ck_assert(cert && X509_set_version(cert, X509_VERSION_3));
    ck_assert(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++));
    set_name(X509_get_subject_name(cert), spec->subject);
    add_name(X509_get_subject_name(cert), "serialNumber", spec->serial[0]);
    add_name(X509_get_subject_name(cert), "serialNumber", spec->serial[1]);
    set_name(X509_get_issuer_name(cert), spec->issuer);
    ck_assert(ASN1_TIME_set(X509_getm_notBefore(cert), PKI_NOW + spec->from) != NULL);
    ck_assert(ASN1_TIME_set(X509_getm_notAfter(cert), PKI_NOW + spec->to) != NULL);
    ck_assert(X509_set_pubkey(cert, spec->key));
    add_extension(cert, cert, NID_basic_constraints, spec->basic_constraints);
    add_extension(cert, cert, NID_key_usage, spec->key_usage);
    add_extension(cert, cert, NID_ext_key_usage, spec->eku);
    add_extension(cert, cert, NID_subject_key_identifier, spec->ski);
    add_extension(cert, issuer ? issuer : cert, NID_authority_key_identifier, spec->aki);
    add_extension(cert, cert, NID_crl_distribution_points, spec->cdp);
    if (spec->twice_cdp) {
        add_extension(cert, cert, NID_crl_distribution_points, spec->cdp);
    }
    if (spec->odd_extension) {
        X509_EXTENSION *extension = odd_extension(1);

        ck_assert_int_eq(X509_add_ext(cert, extension, -1), 1);
        X509_EXTENSION_free(extension);
    }
    sign(cert, spec);
    return cert;
}

/* ---- CRLs ---- */

static void add_revoked(X509_CRL *crl, const ASN1_INTEGER *serial, const ASN1_TIME *when, int kind)
{
    X509_REVOKED *entry = X509_REVOKED_new();

    ck_assert(X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)serial));
    ck_assert(X509_REVOKED_set_revocationDate(entry, (ASN1_TIME *)when));
    if (kind == 2) {
        ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();

        ck_assert(ASN1_ENUMERATED_set(reason, CRL_REASON_REMOVE_FROM_CRL));
        ck_assert_int_eq(X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0), 1);
        ASN1_ENUMERATED_free(reason);
    } else if (kind == 3) {
        X509_EXTENSION *extension = odd_extension(1);

        ck_assert_int_eq(X509_REVOKED_add_ext(entry, extension, -1), 1);
        X509_EXTENSION_free(extension);
    }
    ck_assert_int_eq(X509_CRL_add0_revoked(crl, entry), 1);
}

static void add_nobody(X509_CRL *crl, int count, long first, const ASN1_TIME *when)
{
    ASN1_INTEGER *serial = ASN1_INTEGER_new();

    for (long i = 0; i < count; i++) {
        ck_assert(ASN1_INTEGER_set(serial, first + i));
        add_revoked(crl, serial, when, 0);
    }
    ASN1_INTEGER_free(serial);
}

static void add_crl_integer(X509_CRL *crl, int nid, long value, int critical)
{
    ASN1_INTEGER *integer = ASN1_INTEGER_new();

    ck_assert(ASN1_INTEGER_set(integer, value));
    ck_assert_int_eq(X509_CRL_add1_ext_i2d(crl, nid, integer, critical, 0), 1);
    ASN1_INTEGER_free(integer);
}

static void add_crl_extensions(X509_CRL *crl, const struct pki_crl_spec *spec)
{
    X509_EXTENSION *extension;

    if (spec->number > -2) {
        add_crl_integer(crl, NID_crl_number, spec->number, 0);
    }
    for (int i = 0; spec->idp && i <= spec->twice_idp; i++) {
        extension = make_extension(NULL, NULL, NID_issuing_distribution_point, spec->idp);
        ck_assert_int_eq(X509_CRL_add_ext(crl, extension, -1), 1);
        X509_EXTENSION_free(extension);
    }
    if (spec->delta) {
        add_crl_integer(crl, NID_delta_crl, 1, spec->delta == 2);
    }
    if (spec->odd_extension) {
        extension = odd_extension(spec->odd_extension == 1);
        ck_assert_int_eq(X509_CRL_add_ext(crl, extension, -1), 1);
        X509_EXTENSION_free(extension);
    }
}

static X509_CRL *make_crl(const struct pki_crl_spec *spec, const X509 *leaf)
{
    X509_CRL *crl = X509_CRL_new();
    X509_NAME *name = X509_NAME_new();
    ASN1_TIME *time = ASN1_TIME_new();

    ck_assert(crl && name && time);
    ck_assert_int_eq(X509_CRL_set_version(crl, spec->version), 1);
    set_name(name, spec->issuer);
    ck_assert_int_eq(X509_CRL_set_issuer_name(crl, name), 1);
    ck_assert(ASN1_TIME_set(time, PKI_NOW + spec->from) != NULL);
    if (spec->odd_time) {
        ck_assert(ASN1_STRING_set(time, spec->odd_time, -1));
    }
    ck_assert_int_eq(X509_CRL_set1_lastUpdate(crl, time), 1);
    ck_assert(ASN1_TIME_set(time, PKI_NOW + spec->to) != NULL);
    if (spec->to != 0) {
        ck_assert_int_eq(X509_CRL_set1_nextUpdate(crl, time), 1);
    }
    add_nobody(crl, spec->others, 2000000, time);
    if (spec->lists_leaf) {
        add_revoked(crl, X509_get0_serialNumber(leaf), time, spec->lists_leaf);
    }
    add_nobody(crl, spec->others, 1, time);
    add_crl_extensions(crl, spec);
    ck_assert_int_gt(X509_CRL_sign(crl, spec->signer, spec->md), 0);
    ASN1_TIME_free(time);
    X509_NAME_free(name);
    return crl;
}

/* ---- A whole PKI ---- */

void pki_plan(struct pki *pki)
{
    memset(pki, 0, sizeof(*pki));
    pki->root = (struct pki_spec){.subject = "Root",
                                  .issuer = "Root",
                                  .key = pki_keys.root,
                                  .signer = pki_keys.root,
                                  .basic_constraints = "critical,CA:TRUE",
                                  .key_usage = "critical,keyCertSign,cRLSign",
                                  .ski = "hash",
                                  .from = -PKI_DAY,
                                  .to = PKI_DAY,
                                  .md = EVP_sha256()};
    pki->inter = pki->root;
    pki->inter.subject = "Intermediate";
    pki->inter.key = pki_keys.inter;
    pki->inter.aki = "keyid";
    pki->leaf = (struct pki_spec){.subject = "Loader",
                                  .issuer = "Root",
                                  .key = pki_keys.leaf,
                                  .signer = pki_keys.root,
                                  .basic_constraints = "critical,CA:FALSE",
                                  .key_usage = "critical,digitalSignature,keyEncipherment",
                                  .eku = "critical," KL_OID_EKU_LOADER,
                                  .ski = "hash",
                                  .aki = "keyid",
                                  .from = -PKI_DAY,
                                  .to = PKI_DAY,
                                  .md = EVP_sha256()};
    pki->crl = (struct pki_crl_spec){.issuer = "Root",
                                     .signer = pki_keys.root,
                                     .idp = "critical,fullname:URI:" KL_CRL_SCOPE_LOADER,
                                     .md = EVP_sha256(),
                                     .version = X509_CRL_VERSION_2,
                                     .number = 7,
                                     .from = -PKI_DAY,
                                     .to = PKI_DAY,
                                     .others = 3};
}

void pki_plan_terminal(struct pki *pki)
{
    pki_plan(pki);
    pki->leaf.subject = "Terminal";
    pki->leaf.serial[0] = "SN-1";
    pki->leaf.key_usage = "critical,digitalSignature";
    pki->leaf.eku = "critical," KL_OID_EKU_TERMINAL;
    pki->crl.idp = "critical,fullname:URI:" KL_CRL_SCOPE_TERMINAL;
}

void pki_use_inter(struct pki *pki)
{
    pki->use_inter = 1;
    pki->leaf.issuer = pki->crl.issuer = "Intermediate";
    pki->leaf.signer = pki->crl.signer = pki->inter.key;
}

void pki_use_ec(struct pki *pki, EVP_PKEY *leaf)
{
    pki->root.key = pki->root.signer = pki->inter.signer = pki->leaf.signer = pki->crl.signer =
        pki_keys.ec_root;
    pki->root.md = pki->leaf.md = pki->crl.md = EVP_sha384();
    pki->leaf.key = leaf;
    pki->leaf.key_usage = "critical,digitalSignature,keyAgreement";
}

void pki_use_crl(struct pki *pki)
{
    pki->leaf.cdp = pki->leaf.serial[0] ? "URI:" KL_CRL_SCOPE_TERMINAL : "URI:" KL_CRL_SCOPE_LOADER;
}

void pki_make(struct pki *pki)
{
    pki->root_cert = pki_issue(&pki->root, NULL);
    pki->inter_cert = pki_issue(&pki->inter, pki->root_cert);
    pki->leaf_cert = pki_issue(&pki->leaf, pki->use_inter ? pki->inter_cert : pki->root_cert);
    pki->leaf_crl = make_crl(&pki->crl, pki->leaf_cert);
    pki->chain = sk_X509_new_null();
    pki->roots = sk_X509_new_null();
    ck_assert(pki->chain && pki->roots);
    sk_X509_push(pki->chain, pki->leaf_cert);
    if (pki->use_inter) {
        sk_X509_push(pki->chain, pki->inter_cert);
    }
    sk_X509_push(pki->roots, pki->root_cert);
}

void pki_wipe(struct pki *pki)
{
    sk_X509_free(pki->chain);
    sk_X509_free(pki->roots);
    X509_CRL_free(pki->leaf_crl);
    X509_free(pki->leaf_cert);
    X509_free(pki->inter_cert);
    X509_free(pki->root_cert);
}
