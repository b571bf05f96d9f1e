/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Judging certificates: a small CA issues good ones and, one flaw at a time, bad ones.
 */
#include <check.h>
#include <openssl/objects.h>
#include <string.h>

#include "proto/cert.h"
#include "tests/support/pki.h"
#include "tests/support/suite.h"

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
    pki->leaf.signer = pki_keys.leaf;
}
static void flaw_named_as_root(struct pki *pki)
{
    pki->leaf.subject = pki->root.subject;
}
static void flaw_forged(struct pki *pki)
{
    pki->leaf.signer = pki_keys.other;
}
static void flaw_root_forged(struct pki *pki)
{
    pki->root.signer = pki_keys.other;
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
    pki->leaf.key = pki_keys.weak;
}
static void flaw_weak_inter(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.key = pki->leaf.signer = pki_keys.weak;
}
static void flaw_weak_root(struct pki *pki)
{
    pki->root.key = pki->root.signer = pki->leaf.signer = pki_keys.weak;
}
static void flaw_weak_curve(struct pki *pki)
{
    pki->leaf.key = pki_keys.k256;
}
static void flaw_other_kind(struct pki *pki)
{
    pki->leaf.key = pki_keys.ed25519;
}
static void flaw_signed_otherwise(struct pki *pki)
{
    pki->root.key = pki->root.signer = pki->leaf.signer = pki_keys.ed25519;
    pki->root.md = pki->leaf.md = NULL;
}
static void flaw_pss_sha1(struct pki *pki)
{
    pki->leaf.pss = 1;
    pki->leaf.md = EVP_sha1();
}
static void flaw_pss_mgf1_sha1(struct pki *pki)
{
    pki->leaf.pss = 1;
    pki->leaf.mgf = EVP_sha1();
}
static void flaw_pss_sha224(struct pki *pki)
{
    pki->leaf.pss = 1;
    pki->leaf.md = EVP_sha224();
    pki->leaf.mgf = EVP_sha256();
}
static void flaw_pss_mgf1_sha224(struct pki *pki)
{
    pki->leaf.pss = 1;
    pki->leaf.mgf = EVP_sha224();
}
static void flaw_ecdsa_sha1(struct pki *pki)
{
    pki_use_ec(pki, pki_keys.p256);
    pki->leaf.md = EVP_sha1();
}
static void flaw_ecdsa_forged(struct pki *pki)
{
    pki_use_ec(pki, pki_keys.p256);
    pki->leaf.signer = pki_keys.p384;
}
static void flaw_exponent(struct pki *pki)
{
    pki->leaf.key = pki_keys.e3;
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
static void flaw_inter_for_terminals(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.eku = KL_OID_EKU_TERMINAL;
}
static void flaw_inter_odd_eku(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.eku = "DER:0500";
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

/* ---- What is good too ---- */

static void good_ec256(struct pki *pki)
{
    pki_use_ec(pki, pki_keys.p256);
}
static void good_ec384_inter(struct pki *pki)
{
    pki_use_ec(pki, pki_keys.p384);
    pki->inter.key = pki_keys.p256;
    pki_use_inter(pki);
}
static void good_ec521_under_rsa(struct pki *pki)
{
    pki->leaf.key = pki_keys.p521;
    pki->leaf.key_usage = "critical,digitalSignature,keyAgreement";
}
static void good_rsa_under_ec(struct pki *pki)
{
    pki_use_ec(pki, pki_keys.leaf);
    pki->leaf.key_usage = "critical,digitalSignature,keyEncipherment";
}
static void good_sha512(struct pki *pki)
{
    pki->leaf.md = EVP_sha512();
}
static void good_pss(struct pki *pki)
{
    pki->leaf.pss = 1;
}
static void good_ecdsa_sha256(struct pki *pki)
{
    good_ec256(pki);
    pki->root.md = EVP_sha256();
    pki->leaf.md = EVP_sha512();
}

static void good_inter_for_both(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.eku = KL_OID_EKU_TERMINAL "," KL_OID_EKU_LOADER;
}
static void good_inter_for_any(struct pki *pki)
{
    pki_use_inter(pki);
    pki->inter.eku = "anyExtendedKeyUsage";
}

/* ---- Key usages of EC ---- */

static void flaw_ec_usage_of_rsa(struct pki *pki)
{
    good_ec256(pki);
    pki->leaf.key_usage = "critical,digitalSignature,keyEncipherment";
}
static void flaw_ec_usage_sign_only(struct pki *pki)
{
    good_ec256(pki);
    pki->leaf.key_usage = "critical,digitalSignature";
}
static void flaw_ec_usage_extra(struct pki *pki)
{
    good_ec256(pki);
    pki->leaf.key_usage = "critical,digitalSignature,keyAgreement,encipherOnly";
}
static void flaw_rsa_usage_of_ec(struct pki *pki)
{
    pki->leaf.key_usage = "critical,digitalSignature,keyAgreement";
}

static const struct {
    void (*put)(struct pki *pki);
    const char *text; /* of the refusal; NULL = good */
} flaws[] = {
    {flaw_none, NULL},
    {pki_use_inter, NULL},
    {good_inter_for_both, NULL},
    {good_inter_for_any, NULL},
    {flaw_inter_for_terminals, "extendedKeyUsage is without the key loader's"},
    {flaw_inter_odd_eku, "extendedKeyUsage is without the key loader's"},
    {good_ec256, NULL},
    {good_ec384_inter, NULL},
    {good_ec521_under_rsa, NULL},
    {good_rsa_under_ec, NULL},
    {good_sha512, NULL},
    {good_pss, NULL},
    {good_ecdsa_sha256, NULL},
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
    {flaw_sha1_leaf, "certificate \"CN=Loader,O=Bank\": is signed with sha1WithRSAEncryption"},
    {flaw_sha1_inter,
     "certificate \"CN=Intermediate,O=Bank\": is signed with sha1WithRSAEncryption"},
    {flaw_sha1_root, "certificate \"CN=Root,O=Bank\": is signed with sha1WithRSAEncryption"},
    {flaw_md5_leaf, "is signed with md5WithRSAEncryption"},
    {flaw_sha224_leaf, "is signed with sha224WithRSAEncryption"},
    {flaw_weak_leaf, "certificate \"CN=Loader,O=Bank\": public key is RSA of 1024 bits"},
    {flaw_weak_inter, "certificate \"CN=Intermediate,O=Bank\": public key is RSA of 1024 bits"},
    {flaw_weak_root, "certificate \"CN=Root,O=Bank\": public key is RSA of 1024 bits"},
    {flaw_weak_curve, "public key is EC on secp256k1: must be on P-256, P-384 or P-521"},
    {flaw_other_kind, "public key is ED25519: must be RSA or EC"},
    {flaw_signed_otherwise, "is signed with ED25519"},
    {flaw_pss_sha1, "is signed with RSA-PSS over another hash"},
    {flaw_pss_mgf1_sha1, "is signed with RSA-PSS over another hash"},
    {flaw_pss_sha224, "is signed with RSA-PSS over another hash"},
    {flaw_pss_mgf1_sha224, "is signed with RSA-PSS over another hash"},
    {flaw_ecdsa_sha1, "is signed with ecdsa-with-SHA1"},
    {flaw_ecdsa_forged, "certificate \"CN=Loader,O=Bank\": certificate signature failure"},
    {flaw_ec_usage_of_rsa, "keyUsage is not exactly digitalSignature and keyAgreement"},
    {flaw_ec_usage_sign_only, "keyUsage is not exactly digitalSignature and keyAgreement"},
    {flaw_ec_usage_extra, "keyUsage is not exactly digitalSignature and keyAgreement"},
    {flaw_rsa_usage_of_ec, "keyUsage is not exactly digitalSignature and keyEncipherment"},
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

static void assert_refused(STACK_OF(X509) * chain, STACK_OF(X509) * roots, const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    X509 *anchor = NULL;

    ck_assert_msg(kl_cert_verify_loader(chain, roots, NULL, PKI_NOW, &anchor, &err) == KL_ERR_CERT,
                  "accepted: %s", text);
    ck_assert_msg(strstr(err.text, text), "\"%s\" lacks \"%s\"", err.text, text);
    ck_assert_ptr_null(anchor);
}

START_TEST(test_verify)
{
    struct kl_err err = KL_ERR_INIT;
    X509 *anchor = NULL;
    struct pki pki;

    pki_plan(&pki);
    flaws[_i].put(&pki);
    pki_make(&pki);
    if (flaws[_i].text) {
        assert_refused(pki.chain, pki.roots, flaws[_i].text);
    } else {
        ck_assert_msg(kl_cert_verify_loader(pki.chain, pki.roots, NULL, PKI_NOW, &anchor, &err) ==
                          KL_OK,
                      "%s", err.text);
        ck_assert_ptr_eq(anchor, pki.root_cert);
    }
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
    if (_i == 1) {
        pki_use_ec(&pki, pki_keys.p256);
    }
    pki_make(&pki);
    len = i2d_X509(pki.leaf_cert, &der);
    ck_assert_int_gt(len, 0);
    for (int bit = 0; bit < len * 8; bit++) {
        X509 *cert = NULL;

        der[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (kl_cert_from_der(der, (size_t)len, &cert, &err) == KL_OK) {
            sk_X509_push(chain, cert);
            ck_assert_msg(kl_cert_verify_loader(chain, pki.roots, NULL, PKI_NOW, NULL, &err) ==
                              KL_ERR_CERT,
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

/* ---- Signature algorithms ---- */

static const struct {
    int nid;
    enum kl_rc rc;
} sigalgs[] = {
    {NID_sha256WithRSAEncryption, KL_OK},
    {NID_sha384WithRSAEncryption, KL_OK},
    {NID_sha512WithRSAEncryption, KL_OK},
    {NID_ecdsa_with_SHA256, KL_OK},
    {NID_ecdsa_with_SHA384, KL_OK},
    {NID_ecdsa_with_SHA512, KL_OK},
    {NID_sha1WithRSAEncryption, KL_ERR_CERT},
    {NID_sha224WithRSAEncryption, KL_ERR_CERT},
    {NID_md5WithRSAEncryption, KL_ERR_CERT},
    {NID_RSA_SHA3_256, KL_ERR_CERT},
    {NID_ecdsa_with_SHA1, KL_ERR_CERT},
    {NID_ecdsa_with_SHA224, KL_ERR_CERT},
    {NID_dsa_with_SHA256, KL_ERR_CERT},
    {NID_rsassaPss, KL_ERR_CERT}, /* without parameters: SHA-1 */
    {NID_rsaEncryption, KL_ERR_CERT},
    {NID_ED25519, KL_ERR_CERT},
    {NID_undef, KL_ERR_CERT},
};

START_TEST(test_sigalg)
{
    struct kl_err err = KL_ERR_INIT;
    X509_ALGOR *alg = X509_ALGOR_new();

    ck_assert_int_eq(X509_ALGOR_set0(alg, OBJ_nid2obj(sigalgs[_i].nid), V_ASN1_UNDEF, NULL), 1);
    ck_assert_int_eq(kl_sigalg_check(alg, &err), sigalgs[_i].rc);
    if (sigalgs[_i].rc != KL_OK) {
        ck_assert_ptr_eq(strstr(err.text, "is signed with "), err.text);
    }
    X509_ALGOR_free(alg);
}
END_TEST

/* ---- Terminals ---- */

static void terminal_ec(struct pki *pki)
{
    pki_use_ec(pki, pki_keys.p256);
    pki->leaf.key_usage = "critical,digitalSignature";
}
static void terminal_usage_of_loader(struct pki *pki)
{
    pki->leaf.key_usage = "critical,digitalSignature,keyEncipherment";
}
static void terminal_ec_usage_of_loader(struct pki *pki)
{
    pki_use_ec(pki, pki_keys.p256);
}
static void terminal_is_loader(struct pki *pki)
{
    pki->leaf.eku = "critical," KL_OID_EKU_LOADER;
}
static void terminal_both(struct pki *pki)
{
    pki->leaf.eku = "critical," KL_OID_EKU_TERMINAL "," KL_OID_EKU_LOADER;
}
static void terminal_other_serial(struct pki *pki)
{
    pki->leaf.serial[0] = "SN-2";
}
static void terminal_serial_in_other_case(struct pki *pki)
{
    pki->leaf.serial[0] = "sn-1";
}
static void terminal_longer_serial(struct pki *pki)
{
    pki->leaf.serial[0] = "SN-11";
}
static void terminal_no_serial(struct pki *pki)
{
    pki->leaf.serial[0] = NULL;
}
static void terminal_two_serials(struct pki *pki)
{
    pki->leaf.serial[1] = "SN-2";
}

static const struct {
    void (*put)(struct pki *pki);
    const char *text; /* of the refusal; NULL = good */
} terminals[] = {
    {flaw_none, NULL},
    {pki_use_inter, NULL},
    {flaw_inter_for_terminals, NULL},
    {terminal_ec, NULL},
    {terminal_usage_of_loader, "keyUsage is not exactly digitalSignature"},
    {terminal_ec_usage_of_loader, "keyUsage is not exactly digitalSignature"},
    {terminal_is_loader, "extendedKeyUsage is not the terminal's"},
    {terminal_both, "extendedKeyUsage holds 2 usages"},
    {flaw_eku_none, "has no (or no valid) extendedKeyUsage"},
    {terminal_other_serial, "certificate \"serialNumber=SN-2,CN=Terminal,O=Bank\": is terminal "
                            "SN-2's, not SN-1's"},
    {terminal_serial_in_other_case, "is terminal sn-1's"},
    {terminal_longer_serial, "is terminal SN-11's"},
    {terminal_no_serial, "has no serialNumber"},
    {terminal_two_serials, "has several serialNumbers"},
    {flaw_expired, "certificate has expired"},
    {flaw_forged, "certificate signature failure"},
    {flaw_sha1_leaf, "is signed with sha1WithRSAEncryption"},
    {flaw_weak_leaf, "public key is RSA of 1024 bits"},
    {flaw_leaf_ca, "is a CA's"},
};

START_TEST(test_terminal)
{
    struct kl_err err = KL_ERR_INIT;
    struct pki pki;

    pki_plan_terminal(&pki);
    terminals[_i].put(&pki);
    pki_make(&pki);
    if (terminals[_i].text) {
        ck_assert_int_eq(kl_cert_verify_terminal(pki.chain, pki.roots, NULL, PKI_NOW, "SN-1", &err),
                         KL_ERR_CERT);
        ck_assert_msg(strstr(err.text, terminals[_i].text), "\"%s\" lacks \"%s\"", err.text,
                      terminals[_i].text);
    } else {
        ck_assert_msg(kl_cert_verify_terminal(pki.chain, pki.roots, NULL, PKI_NOW, "SN-1", &err) ==
                          KL_OK,
                      "%s", err.text);
        /* It is no key loader for that. */
        ck_assert_int_eq(kl_cert_verify_loader(pki.chain, pki.roots, NULL, PKI_NOW, NULL, &err),
                         KL_ERR_CERT);
    }
    pki_wipe(&pki);
}
END_TEST

int main(void)
{
    int status;
    Suite *suite = suite_create("cert_verify");
    TCase *tcase = tcase_create("cert_verify");

    pki_make_keys();
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_verify, 0, sizeof(flaws) / sizeof(flaws[0]));
    tcase_add_loop_test(tcase, test_flipped, 0, 2);
    tcase_add_loop_test(tcase, test_sigalg, 0, sizeof(sigalgs) / sizeof(sigalgs[0]));
    tcase_add_loop_test(tcase, test_terminal, 0, sizeof(terminals) / sizeof(terminals[0]));
    suite_add_tcase(suite, tcase);
    status = test_run(suite);
    pki_free_keys();
    return status;
}
