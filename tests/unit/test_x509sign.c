/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/x509sign: requests and certificates signed by a token or by OpenSSL, read back as DER. */
#include "pkcs11/x509sign.h"

#include <check.h>
#include <openssl/rsa.h>

#include "pkcs11/keys.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static EVP_PKEY *public_key, *software_key;
static CK_OBJECT_HANDLE private_key;
static struct kl_err err = KL_ERR_INIT;

static void setup(void)
{
    EVP_PKEY *same = NULL;

    p11_open();
    software_key = EVP_RSA_gen(2048);
    /* A CA key has no CKA_ALLOWED_MECHANISMS: it signs in both ways. */
    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_CA, "ca", 2048, &public_key, &err));
    ck_ok(kl_pair_find(hsm.session, KL_PAIR_CA, "ca", &private_key, &same, &err));
    EVP_PKEY_free(same);
}

static void teardown(void)
{
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(software_key);
    p11_close();
}

static struct kl_signer *signer_of(int software)
{
    struct kl_signer *signer = NULL;

    if (software) {
        ck_ok(kl_signer_pkey(software_key, &signer, &err));
    } else {
        ck_ok(kl_signer_token(hsm.session, private_key, public_key, &signer, &err));
    }
    ck_assert_ptr_eq(kl_signer_public(signer), software ? software_key : public_key);
    return signer;
}

static X509_NAME *name_of(const char *text)
{
    X509_NAME *name = X509_NAME_new();

    ck_assert(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, -1,
                                         -1, 0));
    return name;
}

static X509_REQ *new_request(EVP_PKEY *key)
{
    X509_REQ *req = X509_REQ_new();
    X509_NAME *name = name_of("request");

    ck_assert(X509_REQ_set_version(req, X509_REQ_VERSION_1) && X509_REQ_set_pubkey(req, key) &&
              X509_REQ_set_subject_name(req, name));
    X509_NAME_free(name);
    return req;
}

static X509 *new_certificate(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    X509_NAME *name = name_of("certificate");

    ck_assert(X509_set_version(cert, X509_VERSION_3) && X509_set_pubkey(cert, key) &&
              ASN1_INTEGER_set(X509_get_serialNumber(cert), 77) &&
              X509_gmtime_adj(X509_getm_notBefore(cert), 0) &&
              X509_gmtime_adj(X509_getm_notAfter(cert), 3600) &&
              X509_set_subject_name(cert, name) && X509_set_issuer_name(cert, name));
    X509_NAME_free(name);
    return cert;
}

/* AlgorithmIdentifier as it must stand: RFC 4055, every PSS parameter explicit. */
static const uint8_t pss_der[] = {0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d,
                                  0x01, 0x01, 0x0a, 0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d, 0x06,
                                  0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
                                  0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86,
                                  0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06,
                                  0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
                                  0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x20};
static const uint8_t pkcs1_der[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                    0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00};

static void check_algorithm(const X509_ALGOR *algorithm, enum kl_sig_alg alg)
{
    const uint8_t *expected = alg == KL_SIG_RSA_PSS_SHA256 ? pss_der : pkcs1_der;
    size_t expected_len = alg == KL_SIG_RSA_PSS_SHA256 ? sizeof(pss_der) : sizeof(pkcs1_der);
    uint8_t *der = NULL;
    int len = i2d_X509_ALGOR((X509_ALGOR *)algorithm, &der);

    ck_assert_int_eq(len, (int)expected_len);
    ck_assert_mem_eq(der, expected, expected_len);
    OPENSSL_free(der);
}

/* _i: bit 0 software key, bit 1 PKCS#1. */
START_TEST(request_is_signed)
{
    enum kl_sig_alg alg = _i & 2 ? KL_SIG_RSA_PKCS1_SHA256 : KL_SIG_RSA_PSS_SHA256;
    struct kl_signer *signer = signer_of(_i & 1);
    X509_REQ *req = new_request(kl_signer_public(signer)), *read;
    const X509_ALGOR *algorithm;
    uint8_t *der = NULL;
    int len;

    ck_ok(kl_sign_request(signer, req, alg, &err));
    len = i2d_X509_REQ(req, &der);
    const uint8_t *p = der;
    ck_assert_ptr_nonnull(read = d2i_X509_REQ(NULL, &p, len));
    ck_assert_int_eq(X509_REQ_verify(read, kl_signer_public(signer)), 1);
    X509_REQ_get0_signature(read, NULL, &algorithm);
    check_algorithm(algorithm, alg);
    X509_REQ_free(read);
    OPENSSL_free(der);
    X509_REQ_free(req);
    kl_signer_free(signer);
}
END_TEST

START_TEST(certificate_is_signed)
{
    enum kl_sig_alg alg = _i & 2 ? KL_SIG_RSA_PKCS1_SHA256 : KL_SIG_RSA_PSS_SHA256;
    struct kl_signer *signer = signer_of(_i & 1);
    X509 *cert = new_certificate(kl_signer_public(signer)), *read;
    const X509_ALGOR *algorithm;
    uint8_t *der = NULL;
    int len;

    ck_ok(kl_sign_certificate(signer, cert, alg, &err));
    len = i2d_X509(cert, &der);
    const uint8_t *p = der;
    ck_assert_ptr_nonnull(read = d2i_X509(NULL, &p, len));
    ck_assert_int_eq(X509_verify(read, kl_signer_public(signer)), 1);
    X509_get0_signature(NULL, &algorithm, read);
    check_algorithm(algorithm, alg);
    check_algorithm(X509_get0_tbs_sigalg(read), alg);
    X509_free(read);
    OPENSSL_free(der);
    X509_free(cert);
    kl_signer_free(signer);
}
END_TEST

/* The result is verified with the key that the signer says is its public one. */
START_TEST(wrong_signature_does_not_get_out)
{
    struct kl_signer *signer = NULL;
    X509_REQ *req = new_request(software_key);
    X509 *cert = new_certificate(software_key);

    ck_ok(kl_signer_token(hsm.session, private_key, software_key, &signer, &err));
    ck_assert_int_eq(kl_sign_request(signer, req, KL_SIG_RSA_PSS_SHA256, &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_sign_certificate(signer, cert, KL_SIG_RSA_PKCS1_SHA256, &err),
                     KL_ERR_VERIFY);
    kl_signer_free(signer);
    X509_free(cert);
    X509_REQ_free(req);
}
END_TEST

START_TEST(failing_token)
{
    struct kl_signer *signer = signer_of(0);
    X509 *cert = new_certificate(public_key);

    fake_p11_fail(FAKE_C_SignInit, 1, CKR_DEVICE_REMOVED);
    ck_assert_int_eq(kl_sign_certificate(signer, cert, KL_SIG_RSA_PKCS1_SHA256, &err),
                     KL_ERR_TOKEN);
    X509_free(cert);
    kl_signer_free(signer);
    kl_signer_free(NULL);
}
END_TEST

START_TEST(only_rsa_keys_sign)
{
    EVP_PKEY *ec = EVP_EC_gen("P-256");
    struct kl_signer *signer = NULL;

    ck_assert_int_eq(kl_signer_pkey(ec, &signer, &err), KL_ERR_KEY);
    ck_assert_ptr_null(signer);
    EVP_PKEY_free(ec);
}
END_TEST

static Suite *x509sign_suite(void)
{
    Suite *suite = suite_create("x509sign");
    TCase *cases = tcase_create("sign");

    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, request_is_signed, 0, 4);
    tcase_add_loop_test(cases, certificate_is_signed, 0, 4);
    tcase_add_test(cases, wrong_signature_does_not_get_out);
    tcase_add_test(cases, failing_token);
    tcase_add_test(cases, only_rsa_keys_sign);
    suite_add_tcase(suite, cases);
    return suite;
}

int main(void)
{
    return test_run(x509sign_suite());
}
