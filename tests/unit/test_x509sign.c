/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/x509sign: requests, certificates and CRLs signed by a token or by OpenSSL, read back as
 * DER, each by the one algorithm of its key and role. */
#include "pkcs11/x509sign.h"

#include <check.h>
#include <openssl/rsa.h>

#include "pkcs11/keys.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

/* Every kind of key that signs, and how: the AlgorithmIdentifier in DER. */
/* RFC 4055, every PSS parameter explicit. */
static const uint8_t pss_der[] = {0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d,
                                  0x01, 0x01, 0x0a, 0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d, 0x06,
                                  0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
                                  0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86,
                                  0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06,
                                  0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
                                  0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x20};
static const uint8_t pkcs1_der[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                    0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00};
/* RFC 5758 section 3.2: ecdsa-with-SHA256, -SHA384, -SHA512, no parameters. */
static const uint8_t ecdsa256_der[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                       0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
static const uint8_t ecdsa384_der[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                       0x48, 0xce, 0x3d, 0x04, 0x03, 0x03};
static const uint8_t ecdsa512_der[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                       0x48, 0xce, 0x3d, 0x04, 0x03, 0x04};

static const struct key_case {
    enum kl_pair_role role;
    enum kl_key_type type;
    unsigned bits;
    const uint8_t *algorithm; /* NULL: no such signer */
    size_t len;
} cases[] = {
    {KL_PAIR_WORK, KL_KEY_RSA, 2048, pss_der, sizeof(pss_der)},
    {KL_PAIR_WORK_CLASSIC, KL_KEY_RSA, 2048, pkcs1_der, sizeof(pkcs1_der)},
    {KL_PAIR_WORK_EC, KL_KEY_EC, 256, ecdsa256_der, sizeof(ecdsa256_der)},
    {KL_PAIR_WORK_EC, KL_KEY_EC, 384, ecdsa384_der, sizeof(ecdsa384_der)},
    {KL_PAIR_WORK_EC, KL_KEY_EC, 521, ecdsa512_der, sizeof(ecdsa512_der)},
    {KL_PAIR_DEVICE, KL_KEY_RSA, 2048, pss_der, sizeof(pss_der)},
    {KL_PAIR_DEVICE, KL_KEY_EC, 256, ecdsa256_der, sizeof(ecdsa256_der)},
    {KL_PAIR_CA, KL_KEY_RSA, 2048, pkcs1_der, sizeof(pkcs1_der)},
    {KL_PAIR_CA, KL_KEY_EC, 256, ecdsa256_der, sizeof(ecdsa256_der)},
    {KL_PAIR_CA, KL_KEY_EC, 384, ecdsa384_der, sizeof(ecdsa384_der)},
    {KL_PAIR_CA, KL_KEY_EC, 521, ecdsa512_der, sizeof(ecdsa512_der)},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static EVP_PKEY *software_key; /* RSA */
static struct kl_err err = KL_ERR_INIT;

static void setup(void)
{
    p11_open();
    software_key = EVP_RSA_gen(2048);
}

static void teardown(void)
{
    EVP_PKEY_free(software_key);
    p11_close();
}

/* A key and what signs with it. */
struct subject {
    EVP_PKEY *key; /* public half, or the pair */
    CK_OBJECT_HANDLE private_key;
    struct kl_signer *signer;
};

static void subject_make(struct subject *s, const struct key_case *c, int software)
{
    EVP_PKEY *same = NULL;

    *s = (struct subject){0};
    if (software) {
        s->key = c->type == KL_KEY_RSA ? EVP_RSA_gen(c->bits)
                                       : EVP_EC_gen(kl_curve_by_bits(c->bits)->group);
        ck_ok(kl_signer_pkey(c->role, s->key, &s->signer, &err));
    } else {
        ck_ok(kl_pair_generate(hsm.session, c->role, "k", c->type, c->bits, &s->key, &err));
        ck_ok(kl_pair_find(hsm.session, c->role, "k", &s->private_key, &same, &err));
        EVP_PKEY_free(same);
        ck_ok(kl_signer_token(hsm.session, c->role, s->private_key, s->key, &s->signer, &err));
    }
    ck_assert_ptr_eq(kl_signer_public(s->signer), s->key);
}

static void subject_free(struct subject *s)
{
    kl_signer_free(s->signer);
    EVP_PKEY_free(s->key);
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

static X509_CRL *new_crl(void)
{
    X509_CRL *crl = X509_CRL_new();
    X509_REVOKED *entry = X509_REVOKED_new();
    X509_NAME *name = name_of("certificate");
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_TIME *now = ASN1_TIME_set(NULL, 1700000000), *later = ASN1_TIME_set(NULL, 1800000000);

    ck_assert(ASN1_INTEGER_set(number, 77) && X509_REVOKED_set_serialNumber(entry, number) &&
              X509_REVOKED_set_revocationDate(entry, now) && X509_CRL_add0_revoked(crl, entry));
    ck_assert(X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
              X509_CRL_set_issuer_name(crl, name) && X509_CRL_set1_lastUpdate(crl, now) &&
              X509_CRL_set1_nextUpdate(crl, later) &&
              X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1);
    ASN1_TIME_free(later);
    ASN1_TIME_free(now);
    ASN1_INTEGER_free(number);
    X509_NAME_free(name);
    return crl;
}

static void check_algorithm(const X509_ALGOR *algorithm, const struct key_case *c)
{
    uint8_t *der = NULL;
    int len = i2d_X509_ALGOR((X509_ALGOR *)algorithm, &der);

    ck_assert_int_eq(len, (int)c->len);
    ck_assert_mem_eq(der, c->algorithm, c->len);
    OPENSSL_free(der);
}

/* _i: the case, twice: key in the token, software key. */
START_TEST(request_is_signed)
{
    const struct key_case *c = &cases[_i / 2];
    const X509_ALGOR *algorithm;
    struct subject s;
    uint8_t *der = NULL;
    X509_REQ *req, *read;
    int len;

    subject_make(&s, c, _i & 1);
    req = new_request(s.key);
    ck_ok(kl_sign_request(s.signer, req, &err));
    len = i2d_X509_REQ(req, &der);
    const uint8_t *p = der;
    ck_assert_ptr_nonnull(read = d2i_X509_REQ(NULL, &p, len));
    ck_assert_int_eq(X509_REQ_verify(read, s.key), 1);
    X509_REQ_get0_signature(read, NULL, &algorithm);
    check_algorithm(algorithm, c);
    X509_REQ_free(read);
    OPENSSL_free(der);
    X509_REQ_free(req);
    subject_free(&s);
}
END_TEST

/* A CA's key signs; any other is refused before it is used. */
START_TEST(certificate_is_signed)
{
    const struct key_case *c = &cases[_i / 2];
    const X509_ALGOR *algorithm;
    struct subject s;
    uint8_t *der = NULL;
    X509 *cert, *read;
    int len;

    subject_make(&s, c, _i & 1);
    cert = new_certificate(s.key);
    if (c->role != KL_PAIR_CA) {
        ck_rc(kl_sign_certificate(s.signer, cert, &err), KL_ERR_KEY);
        ck_says("only a CA's key");
        goto out;
    }
    ck_ok(kl_sign_certificate(s.signer, cert, &err));
    len = i2d_X509(cert, &der);
    const uint8_t *p = der;
    ck_assert_ptr_nonnull(read = d2i_X509(NULL, &p, len));
    ck_assert_int_eq(X509_verify(read, s.key), 1);
    X509_get0_signature(NULL, &algorithm, read);
    check_algorithm(algorithm, c);
    check_algorithm(X509_get0_tbs_sigalg(read), c);
    X509_free(read);
    OPENSSL_free(der);
out:
    X509_free(cert);
    subject_free(&s);
}
END_TEST

START_TEST(crl_is_signed)
{
    const struct key_case *c = &cases[_i / 2];
    X509_CRL *draft = new_crl(), *crl = NULL, *read;
    const X509_ALGOR *algorithm;
    X509_REVOKED *entry = NULL;
    struct subject s;
    uint8_t *der = NULL;
    int len;

    subject_make(&s, c, _i & 1);
    if (c->role != KL_PAIR_CA) {
        ck_rc(kl_sign_crl(s.signer, draft, &crl, &err), KL_ERR_KEY);
        ck_assert_ptr_null(crl);
        goto out;
    }
    ck_ok(kl_sign_crl(s.signer, draft, &crl, &err));
    len = i2d_X509_CRL(crl, &der);
    const uint8_t *p = der;
    ck_assert_ptr_nonnull(read = d2i_X509_CRL(NULL, &p, len));
    /* X509_CRL_verify also compares the two places where the algorithm stands */
    ck_assert_int_eq(X509_CRL_verify(read, s.key), 1);
    X509_CRL_get0_signature(read, NULL, &algorithm);
    check_algorithm(algorithm, c);
    /* all of the draft is in it */
    ck_assert_int_eq(X509_CRL_get_version(read), X509_CRL_VERSION_2);
    ck_assert_int_eq(X509_NAME_cmp(X509_CRL_get_issuer(read), X509_CRL_get_issuer(draft)), 0);
    ck_assert_int_eq(ASN1_TIME_cmp_time_t(X509_CRL_get0_lastUpdate(read), 1700000000), 0);
    ck_assert_int_eq(ASN1_TIME_cmp_time_t(X509_CRL_get0_nextUpdate(read), 1800000000), 0);
    ck_assert_int_eq(sk_X509_EXTENSION_num(X509_CRL_get0_extensions(read)), 1);
    ck_assert_int_eq(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(read)), 1);
    entry = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(read), 0);
    ck_assert_int_eq(ASN1_INTEGER_get(X509_REVOKED_get0_serialNumber(entry)), 77);
    X509_CRL_free(read);
    OPENSSL_free(der);
out:
    X509_CRL_free(crl);
    X509_CRL_free(draft);
    subject_free(&s);
}
END_TEST

/* The result is verified with the key that the signer says is its public one. */
START_TEST(wrong_signature_does_not_get_out)
{
    struct kl_signer *signer = NULL;
    struct subject s;
    X509_REQ *req = new_request(software_key);
    X509 *cert = new_certificate(software_key);
    X509_CRL *draft = new_crl(), *crl = NULL;
    const struct key_case c = {KL_PAIR_CA, KL_KEY_RSA, 2048, NULL, 0};

    subject_make(&s, &c, 0);
    ck_ok(kl_signer_token(hsm.session, KL_PAIR_CA, s.private_key, software_key, &signer, &err));
    ck_rc(kl_sign_request(signer, req, &err), KL_ERR_VERIFY);
    ck_rc(kl_sign_certificate(signer, cert, &err), KL_ERR_VERIFY);
    ck_rc(kl_sign_crl(signer, draft, &crl, &err), KL_ERR_VERIFY);
    ck_assert_ptr_null(crl);
    X509_CRL_free(draft);
    kl_signer_free(signer);
    X509_free(cert);
    X509_REQ_free(req);
    subject_free(&s);
}
END_TEST

START_TEST(failing_token)
{
    static const struct key_case both[] = {{KL_PAIR_CA, KL_KEY_RSA, 2048, NULL, 0},
                                           {KL_PAIR_CA, KL_KEY_EC, 256, NULL, 0}};
    struct subject s;
    X509_CRL *draft = new_crl(), *crl = NULL;

    subject_make(&s, &both[_i], 0);
    X509 *cert = new_certificate(s.key);
    fake_p11_fail(FAKE_C_SignInit, 1, CKR_DEVICE_REMOVED);
    ck_rc(kl_sign_certificate(s.signer, cert, &err), KL_ERR_TOKEN);
    fake_p11_fail(FAKE_C_SignInit, 1, CKR_DEVICE_REMOVED);
    ck_rc(kl_sign_crl(s.signer, draft, &crl, &err), KL_ERR_TOKEN);
    ck_assert_ptr_null(crl);
    X509_CRL_free(draft);
    X509_free(cert);
    subject_free(&s);
    kl_signer_free(NULL);
}
END_TEST

/* A key that its role has not, or that signs nothing, makes no signer. */
START_TEST(wrong_keys)
{
    static const struct key_case bad[] = {
        {KL_PAIR_WORK, KL_KEY_EC, 256, NULL, 0},
        {KL_PAIR_WORK_CLASSIC, KL_KEY_EC, 256, NULL, 0},
        {KL_PAIR_WORK_EC, KL_KEY_RSA, 2048, NULL, 0},
        {KL_PAIR_TRANSPORT, KL_KEY_RSA, 2048, NULL, 0},
        {(enum kl_pair_role)99, KL_KEY_RSA, 2048, NULL, 0},
        {KL_PAIR_CA, KL_KEY_RSA, 1024, NULL, 0},
        {KL_PAIR_CA, KL_KEY_EC, 192, NULL, 0},
    };
    struct kl_signer *signer = NULL;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        EVP_PKEY *key = bad[i].type == KL_KEY_RSA
                            ? EVP_RSA_gen(bad[i].bits)
                            : EVP_EC_gen(bad[i].bits == 256 ? "P-256" : "P-192");
        ck_assert_ptr_nonnull(key);
        ck_assert_msg(kl_signer_pkey(bad[i].role, key, &signer, &err) == KL_ERR_KEY, "case %zu", i);
        ck_assert_ptr_null(signer);
        EVP_PKEY_free(key);
    }
}
END_TEST

static Suite *x509sign_suite(void)
{
    Suite *suite = suite_create("x509sign");
    TCase *tc = tcase_create("sign");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, request_is_signed, 0, 2 * CASES);
    tcase_add_loop_test(tc, certificate_is_signed, 0, 2 * CASES);
    tcase_add_loop_test(tc, crl_is_signed, 0, 2 * CASES);
    tcase_add_test(tc, wrong_signature_does_not_get_out);
    tcase_add_loop_test(tc, failing_token, 0, 2);
    tcase_add_test(tc, wrong_keys);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    return test_run(x509sign_suite());
}
