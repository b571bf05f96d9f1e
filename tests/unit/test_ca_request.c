/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certification requests and what becomes of them: the conditions that the CA makes, and the
 * profiles of its two kinds of leaf.
 */
#include <check.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ca/profile.h"
#include "ca/request.h"
#include "conf/report.h"
#include "proto/cert.h"
#include "tests/support/cahome.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#define DAY 86400
#define OK(call) ck_assert_msg((call) == KL_OK, "%s", err.text)

static const struct kl_leaf *loader, *terminal;
static EVP_PKEY *root_key, *work_key;
static X509 *root;

static void once(void)
{
    loader = kl_leaf(KL_LEAF_LOADER);
    terminal = kl_leaf(KL_LEAF_TERMINAL);
    root_key = EVP_RSA_gen(2048);
    work_key = EVP_RSA_gen(2048);
    root = ca_root(root_key, 100, (int64_t)time(NULL) - 60);
}

static void forget(void)
{
    X509_free(root);
    EVP_PKEY_free(work_key);
    EVP_PKEY_free(root_key);
}

/* ---- Leaves ---- */

START_TEST(leaf_names)
{
    ck_assert_ptr_eq(kl_leaf_by_name("loader"), loader);
    ck_assert_ptr_eq(kl_leaf_by_name("terminal"), terminal);
    ck_assert_ptr_null(kl_leaf_by_name("Loader"));
    ck_assert_ptr_null(kl_leaf_by_name(""));
    ck_assert_ptr_null(kl_leaf_of(root));
    ck_assert_str_eq(loader->scope, KL_CRL_SCOPE_LOADER);
    ck_assert_str_eq(terminal->scope, KL_CRL_SCOPE_TERMINAL);
}
END_TEST

static int is_critical(const X509 *cert, int nid)
{
    int at = X509_get_ext_by_NID(cert, nid, -1);
    return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(cert, at));
}

/* The one full name of cRLDistributionPoints is that URI. */
static void check_distribution_point(const X509 *cert, const char *scope)
{
    CRL_DIST_POINTS *points = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);
    const DIST_POINT *point;
    const GENERAL_NAME *name;

    ck_assert_int_eq(sk_DIST_POINT_num(points), 1);
    point = sk_DIST_POINT_value(points, 0);
    ck_assert(!point->reasons && !point->CRLissuer && point->distpoint->type == 0);
    ck_assert_int_eq(sk_GENERAL_NAME_num(point->distpoint->name.fullname), 1);
    name = sk_GENERAL_NAME_value(point->distpoint->name.fullname, 0);
    ck_assert_int_eq(name->type, GEN_URI);
    ck_assert_uint_eq((size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier), strlen(scope));
    ck_assert_mem_eq(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), scope,
                     strlen(scope));
    CRL_DIST_POINTS_free(points);
}

static const struct {
    const char *key;
    enum kl_leaf_kind kind;
    int with_crl;
    uint32_t usage;
} leaf_cases[] = {
    {"RSA-2048", KL_LEAF_LOADER, 0, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT},
    {"RSA-2048", KL_LEAF_LOADER, 1, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT},
    {"P-256", KL_LEAF_LOADER, 0, KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT},
    {"P-384", KL_LEAF_LOADER, 0, KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT},
    {"P-521", KL_LEAF_LOADER, 1, KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT},
    {"RSA-2048", KL_LEAF_TERMINAL, 0, KU_DIGITAL_SIGNATURE},
    {"P-256", KL_LEAF_TERMINAL, 0, KU_DIGITAL_SIGNATURE},
    {"P-256", KL_LEAF_TERMINAL, 1, KU_DIGITAL_SIGNATURE},
};

START_TEST(leaf_profile)
{
    struct kl_err err = KL_ERR_INIT;
    const struct kl_leaf *leaf = kl_leaf(leaf_cases[_i].kind);
    int with_crl = leaf_cases[_i].with_crl;
    int64_t now = (int64_t)time(NULL), from, to;
    EVP_PKEY *key = ca_key(leaf_cases[_i].key);
    X509_REQ *request = ca_request(key, "/O=Bank/CN=x/serialNumber=SN-1");
    X509 *cert = NULL;
    STACK_OF(X509) *chain = sk_X509_new_null(), *roots = sk_X509_new_null();

    sk_X509_push(roots, root);
    ck_assert_int_gt(X509_REQ_sign(request, key, EVP_sha256()), 0);
    OK(kl_request_check(request, root, &err));
    OK(kl_profile_leaf(leaf, request, root, 30, with_crl, now, &cert, &err));
    ck_assert_int_gt(X509_sign(cert, root_key, EVP_sha256()), 0);
    sk_X509_push(chain, cert);
    ck_assert_uint_eq(X509_get_key_usage(cert), leaf_cases[_i].usage);
    ck_assert_ptr_eq(kl_leaf_of(cert), leaf);
    ck_assert(is_critical(cert, NID_basic_constraints) && is_critical(cert, NID_key_usage) &&
              is_critical(cert, NID_ext_key_usage));
    ck_assert_int_eq(ASN1_OCTET_STRING_cmp(X509_get0_subject_key_id(root),
                                           X509_get0_authority_key_id(cert)),
                     0);
    ck_assert_int_eq(X509_get_ext_count(cert), 5 + with_crl);
    /* As its readers see it: the other's kind is refused, and so is one that needs a CRL. */
    enum kl_rc as_loader = kl_cert_verify_loader(chain, roots, NULL, (time_t)now, NULL, &err);
    enum kl_rc as_terminal = kl_cert_verify_terminal(chain, roots, NULL, (time_t)now, "SN-1", &err);
    ck_assert_int_eq(as_loader, leaf == loader && !with_crl ? KL_OK : KL_ERR_CERT);
    ck_assert_int_eq(as_terminal, leaf == terminal && !with_crl ? KL_OK : KL_ERR_CERT);
    if (with_crl) {
        check_distribution_point(cert, leaf->scope);
    }
    OK(kl_asn1_time_unix(X509_get0_notBefore(cert), &from, &err));
    OK(kl_asn1_time_unix(X509_get0_notAfter(cert), &to, &err));
    ck_assert_int_eq(from, now);
    ck_assert_int_eq(to, now + 30 * DAY);
    sk_X509_pop_free(chain, X509_free);
    sk_X509_free(roots);
    X509_REQ_free(request);
    EVP_PKEY_free(key);
}
END_TEST

START_TEST(serials)
{
    struct kl_err err = KL_ERR_INIT;
    X509_REQ *request = ca_request(work_key, "/CN=Loader");
    char serial[KL_SERIAL_HEX], previous[KL_SERIAL_HEX] = "";

    for (int i = 0; i < 64; i++) {
        X509 *cert = NULL;
        OK(kl_profile_leaf(loader, request, root, 1, 1, (int64_t)time(NULL), &cert, &err));
        OK(kl_cert_serial_hex(cert, serial, &err));
        ck_assert_uint_eq(strlen(serial), 32); /* 16 bytes; not "-..." */
        ck_assert_msg(serial[0] >= '4' && serial[0] <= '7', "%s", serial);
        ck_assert_str_ne(serial, previous);
        memcpy(previous, serial, sizeof previous);
        X509_free(cert);
    }
    X509_REQ_free(request);
}
END_TEST

START_TEST(validity_within_root)
{
    struct kl_err err = KL_ERR_INIT;
    int64_t now = (int64_t)time(NULL);
    X509_REQ *request = ca_request(work_key, "/CN=Loader");
    X509 *cert = NULL;

    ck_assert_int_eq(kl_profile_leaf(loader, request, root, 100, 1, now, &cert, &err),
                     KL_ERR_REFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, "at most 99 days"));
    ck_assert_int_eq(kl_profile_leaf(loader, request, root, 1, 1, now + 101 * DAY, &cert, &err),
                     KL_ERR_REFUSED);
    ck_assert_int_eq(kl_profile_leaf(loader, request, root, 1, 1, now - 2 * DAY, &cert, &err),
                     KL_ERR_REFUSED);
    ck_assert_ptr_null(cert);
    OK(kl_profile_leaf(loader, request, root, 99, 1, now, &cert, &err));
    X509_free(cert);
    int left = 0;
    OK(kl_profile_days_left(root, now, &left, &err));
    ck_assert_int_eq(left, 99);
    ck_assert_int_eq(kl_profile_days_left(root, now + 101 * DAY, &left, &err), KL_ERR_REFUSED);
    X509_REQ_free(request);
}
END_TEST

/* ---- Requests ---- */

static void refused(X509_REQ *request, enum kl_rc rc, const char *words)
{
    struct kl_err err = KL_ERR_INIT;
    ck_assert_int_eq(kl_request_check(request, root, &err), rc);
    ck_assert_msg(strstr(err.text, words) != NULL, "\"%s\" is not in: %s", words, err.text);
    X509_REQ_free(request);
}

START_TEST(request_hashes)
{
    struct kl_err err = KL_ERR_INIT;
    X509_REQ *request = ca_request(work_key, "/CN=Loader");

    X509_REQ_sign(request, work_key, EVP_sha384());
    OK(kl_request_check(request, root, &err));
    ca_sign_pss(request, work_key, EVP_sha512(), EVP_sha256());
    OK(kl_request_check(request, root, &err));
    X509_REQ_free(request);
    /* SHA-1 is what absent fields mean; SHA-224 stands there in full. */
    const EVP_MD *const weak[] = {EVP_sha1(), EVP_sha224()};
    for (size_t i = 0; i < 2; i++) {
        request = ca_request(work_key, "/CN=Loader");
        ca_sign_pss(request, work_key, weak[i], EVP_sha256());
        refused(request, KL_ERR_CERT, "RSA-PSS over another hash");
        request = ca_request(work_key, "/CN=Loader");
        ca_sign_pss(request, work_key, EVP_sha256(), weak[i]);
        refused(request, KL_ERR_CERT, "RSA-PSS over another hash");
    }
    request = ca_request(work_key, "/CN=Loader");
    X509_REQ_sign(request, work_key, EVP_sha1());
    refused(request, KL_ERR_CERT, "sha1");
    request = ca_request(work_key, "/CN=Loader");
    X509_REQ_sign(request, work_key, EVP_sha224());
    refused(request, KL_ERR_CERT, "sha224");
}
END_TEST

START_TEST(request_keys_and_names)
{
    X509_REQ *request = ca_request(work_key, "/CN=Loader");
    EVP_PKEY *weak = EVP_RSA_gen(1024);

    ca_sign_pss(request, root_key, EVP_sha256(), EVP_sha256()); /* somebody else's signature */
    refused(request, KL_ERR_VERIFY, "own signature is wrong");
    request = ca_request(weak, "/CN=Loader");
    X509_REQ_sign(request, weak, EVP_sha256());
    refused(request, KL_ERR_CERT, "1024");
    request = ca_request(work_key, "/O=Bank/CN=Root");
    ca_sign_pss(request, work_key, EVP_sha256(), EVP_sha256());
    refused(request, KL_ERR_CERT, "subject is the CA's own");
    request = ca_request(root_key, "/CN=Loader");
    ca_sign_pss(request, root_key, EVP_sha256(), EVP_sha256());
    refused(request, KL_ERR_CERT, "key is the CA's own");
    request = X509_REQ_new();
    X509_REQ_set_version(request, X509_REQ_VERSION_1);
    X509_REQ_set_pubkey(request, work_key);
    ca_sign_pss(request, work_key, EVP_sha256(), EVP_sha256());
    refused(request, KL_ERR_CERT, "no subject");
    request = ca_request(work_key, "/CN=Loader");
    X509_REQ_set_version(request, 1);
    ca_sign_pss(request, work_key, EVP_sha256(), EVP_sha256());
    refused(request, KL_ERR_CERT, "not of version 1");
    EVP_PKEY_free(weak);
}
END_TEST

#define TOLD_MAX 512
static void collect(const char *name, void *arg)
{
    size_t len = strlen(arg);
    snprintf((char *)arg + len, TOLD_MAX - len, "%s;", name);
}

/* What a request asks for is told, each thing once, and nothing of it is taken over. */
START_TEST(request_extensions)
{
    struct kl_err err = KL_ERR_INIT;
    char told[TOLD_MAX] = "";
    X509_REQ *request = ca_request(work_key, "/CN=Loader");
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    X509 *cert = NULL;

    sk_X509_EXTENSION_push(list, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:x"));
    sk_X509_EXTENSION_push(list, X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage,
                                                     "critical," KL_OID_EKU_TERMINAL));
    ck_assert_int_eq(X509_REQ_add_extensions(request, list), 1);
    X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword, MBSTRING_ASC,
                              (const unsigned char *)"x", 1);
    X509_REQ_sign(request, work_key, EVP_sha256());
    OK(kl_request_check(request, root, &err));
    kl_request_each_ignored(request, collect, told);
    ck_assert_str_eq(told, "X509v3 Subject Alternative Name;X509v3 Extended Key Usage;"
                           "challengePassword;");
    OK(kl_profile_leaf(loader, request, root, 1, 1, (int64_t)time(NULL), &cert, &err));
    ck_assert_int_eq(X509_get_ext_count(cert), 6);
    X509_free(cert);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    X509_REQ_free(request);
}
END_TEST

START_TEST(request_file)
{
    struct kl_err err = KL_ERR_INIT;
    char path[PATH_MAX];
    X509_REQ *request = ca_request(work_key, "/CN=Loader"), *loaded = NULL;
    FILE *f = fopen(file_path(path, ca_top, "two.csr"), "we");

    X509_REQ_sign(request, work_key, EVP_sha256());
    PEM_write_X509_REQ(f, request);
    fflush(f);
    OK(kl_request_load(path, &loaded, &err));
    X509_REQ_free(loaded);
    loaded = NULL;
    PEM_write_X509_REQ(f, request);
    fclose(f);
    ck_assert_int_eq(kl_request_load(path, &loaded, &err), KL_ERR_INPUT);
    ck_assert_ptr_null(loaded);
    ck_assert_int_eq(kl_request_load("/nonexistent", &loaded, &err), KL_ERR_NO_FILE);
    X509_REQ_free(request);
}
END_TEST

START_TEST(request_ec)
{
    struct kl_err err = KL_ERR_INIT;
    static const char *const good[] = {"P-256", "P-384", "P-521"};
    EVP_PKEY *p256 = ca_key("P-256"), *other = ca_key("P-256");
    X509_REQ *request;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        EVP_PKEY *key = ca_key(good[i]);
        request = ca_request(key, "/CN=Loader");
        X509_REQ_sign(request, key, EVP_sha512());
        OK(kl_request_check(request, root, &err));
        X509_REQ_free(request);
        EVP_PKEY_free(key);
    }
    request = ca_request(p256, "/CN=Loader");
    X509_REQ_sign(request, p256, EVP_sha1());
    refused(request, KL_ERR_CERT, "SHA1");
    request = ca_request(p256, "/CN=Loader");
    X509_REQ_sign(request, p256, EVP_sha224());
    refused(request, KL_ERR_CERT, "SHA224");
    request = ca_request(p256, "/CN=Loader");
    X509_REQ_sign(request, other, EVP_sha256());
    refused(request, KL_ERR_VERIFY, "own signature is wrong");
    request = ca_request(p256, "/CN=Loader"); /* another kind of key signed it */
    X509_REQ_sign(request, work_key, EVP_sha256());
    refused(request, KL_ERR_VERIFY, "own signature is wrong");
    EVP_PKEY_free(other);
    EVP_PKEY_free(p256);
}
END_TEST

/* Curves that work keys may not have; and Ed25519, which is no EC key. */
START_TEST(request_other_keys)
{
    static const char *const bad[] = {"P-192", "P-224", "secp256k1", "brainpoolP256r1"};
    EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509_REQ *request;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        EVP_PKEY *key = ca_key(bad[i]);
        request = ca_request(key, "/CN=Loader");
        X509_REQ_sign(request, key, EVP_sha256());
        refused(request, KL_ERR_CERT, "request's key");
        EVP_PKEY_free(key);
    }
    request = ca_request(ed, "/CN=Loader");
    X509_REQ_sign(request, ed, NULL);
    refused(request, KL_ERR_CERT, "request's key");
    EVP_PKEY_free(ed);
}
END_TEST

static const struct {
    const char *subject, *serial;
    enum kl_rc rc;
} terminal_cases[] = {
    {"/CN=x/serialNumber=SN-1", "SN-1", KL_OK},
    {"/CN=x/serialNumber=SN-1", "SN-2", KL_ERR_REFUSED},
    {"/CN=x/serialNumber=SN-1", "sn-1", KL_ERR_REFUSED},
    {"/CN=x/serialNumber=SN-1", "SN-", KL_ERR_REFUSED},
    {"/CN=x/serialNumber=SN-1", "", KL_ERR_REFUSED},
    {"/CN=SN-1", "SN-1", KL_ERR_CERT},
    {"/CN=x/serialNumber=SN-1/serialNumber=SN-1", "SN-1", KL_ERR_CERT},
    {"/CN=x/serialNumber=SN 1", "SN 1", KL_ERR_CERT},
};

START_TEST(request_terminal)
{
    struct kl_err err = KL_ERR_INIT;
    X509_REQ *request = ca_request(work_key, terminal_cases[_i].subject);
    enum kl_rc rc = kl_request_check_terminal(request, terminal_cases[_i].serial, &err);

    ck_assert_msg(rc == terminal_cases[_i].rc, "%s: %s", kl_rc_name(rc), err.text);
    X509_REQ_free(request);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ca_request");
    TCase *tc = tcase_create("request");

    tcase_add_unchecked_fixture(tc, once, forget);
    tcase_add_checked_fixture(tc, ca_begin, ca_end);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, leaf_names);
    tcase_add_loop_test(tc, leaf_profile, 0, sizeof leaf_cases / sizeof leaf_cases[0]);
    tcase_add_test(tc, serials);
    tcase_add_test(tc, validity_within_root);
    tcase_add_test(tc, request_hashes);
    tcase_add_test(tc, request_keys_and_names);
    tcase_add_test(tc, request_extensions);
    tcase_add_test(tc, request_file);
    tcase_add_test(tc, request_ec);
    tcase_add_test(tc, request_other_keys);
    tcase_add_loop_test(tc, request_terminal, 0, sizeof terminal_cases / sizeof terminal_cases[0]);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
