/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca init, sign and terminal sign: roots of every kind of key in a SoftHSM token and in an
 * encrypted file, what they sign, and which requests they refuse.
 */
#include <check.h>
#include <limits.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ca/claims.h"
#include "ca/home.h"
#include "ca/profile.h"
#include "conf/report.h"
#include "proto/cert.h"
#include "tests/support/cahome.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#define DAY 86400
#define OK(call) ck_assert_msg((call) == KL_OK, "%s", err.text)

#define SIGN(rc, words, csr, out, ...) \
    CA_RUN(rc, words, "sign", "--dir", ca_home, "--csr", csr, "--out", out, "--days", "10", \
           ##__VA_ARGS__)
#define TERMINAL(rc, words, csr, serial, out, ...) \
    CA_RUN(rc, words, "terminal", "sign", csr, "--dir", ca_home, "--serial", serial, "--out", out, \
           ##__VA_ARGS__)

static enum kl_rc count(X509 *cert, void *arg, struct kl_err *err)
{
    (void)cert;
    (void)err;
    ++*(int *)arg;
    return KL_OK;
}

static int issued(void)
{
    struct kl_err err = KL_ERR_INIT;
    int n = 0;

    OK(kl_home_each(ca_home, count, &n, &err));
    return n;
}

/* A request of a fresh key in a file. */
static const char *fresh_request(const char *name, const char *kind, const char *subject)
{
    const char *path = ca_path(name);
    EVP_PKEY *key = ca_key(kind);

    ca_request_file(path, key, subject);
    EVP_PKEY_free(key);
    return path;
}

/* ---- Roots ---- */

static const struct {
    const char *key;
    int nid; /* signature */
} root_cases[] = {
    {"rsa-2048", NID_sha256WithRSAEncryption}, {"rsa-3072", NID_sha256WithRSAEncryption},
    {"rsa-4096", NID_sha256WithRSAEncryption}, {"p-256", NID_ecdsa_with_SHA256},
    {"p-384", NID_ecdsa_with_SHA384},          {"p-521", NID_ecdsa_with_SHA512},
};
#define ROOTS (sizeof root_cases / sizeof root_cases[0])

/* _i: the case, twice: key in a file, in a token. Leaves of both kinds verify under it. */
START_TEST(root_kinds)
{
    struct kl_err err = KL_ERR_INIT;
    const char *csr = fresh_request("w.csr", "P-256", "/CN=Loader"), *out = ca_path("w.pem");
    const char *device = fresh_request("t.csr", "P-256", "/CN=T/serialNumber=SN-1");
    STACK_OF(X509) *chain = sk_X509_new_null(), *roots = sk_X509_new_null();
    char root_path[PATH_MAX];

    ca_found(root_cases[_i / 2].key, _i % 2);
    X509 *root = ca_load_cert(file_path(root_path, ca_home, "root.pem"));
    ck_assert_int_eq(X509_get_signature_nid(root), root_cases[_i / 2].nid);
    ck_assert_int_eq(X509_verify(root, X509_get0_pubkey(root)), 1);
    sk_X509_push(roots, root);

    SIGN(KL_OK, NULL, csr, out, "--no-crl");
    X509 *leaf = ca_load_cert(out);
    sk_X509_push(chain, leaf);
    OK(kl_cert_verify_loader(chain, roots, NULL, time(NULL), NULL, &err));
    ck_assert_int_eq(X509_get_signature_nid(leaf), root_cases[_i / 2].nid);
    X509_free(sk_X509_pop(chain));

    TERMINAL(KL_OK, NULL, device, "SN-1", ca_path("t.pem"), "--no-crl");
    sk_X509_push(chain, ca_load_cert(ca_path("t.pem")));
    OK(kl_cert_verify_terminal(chain, roots, NULL, time(NULL), "SN-1", &err));
    ck_assert_int_eq(issued(), 2);
    sk_X509_pop_free(chain, X509_free);
    sk_X509_pop_free(roots, X509_free);
}
END_TEST

START_TEST(init_keys_refused)
{
    static const char *const bad[] = {"p-192", "rsa-1024", "rsa", "2048", "", "ed25519"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CA_RUN(KL_ERR_USAGE, "--key: ", "init", "--dir", ca_home, "--subject", "/CN=R", "--days",
               "9", "--key", bad[i], "--pem");
        ck_assert_int_ne(access(ca_home, F_OK), 0);
    }
}
END_TEST

/* ---- sign ---- */

/* --out that cannot take the certificate is refused before there is one. */
START_TEST(sign_out)
{
    const char *csr = fresh_request("one.csr", "RSA-2048", "/CN=Loader");

    ca_found("rsa-2048", 0);
    SIGN(KL_ERR_NO_FILE, NULL, csr, ca_path("none/w.pem"));
    SIGN(KL_ERR_INPUT, "is a directory", csr, ca_top, "--force");
    SIGN(KL_ERR_EXISTS, NULL, csr, ca_path("pin"));
    SIGN(KL_ERR_USAGE, NULL, csr, "-", "--json");
    ck_assert_int_eq(issued(), 0);
    SIGN(KL_OK, NULL, csr, ca_path("w.pem"));
    ck_assert_int_eq(issued(), 1);
    SIGN(KL_OK, NULL, csr, "-"); /* its own key again: a renewal */
    ck_assert_int_eq(issued(), 2);
    ck_assert_int_eq(strncmp(ca_out, "-----BEGIN CERTIFICATE-----", 27), 0);
    ck_assert_str_eq(strstr(ca_out, "-----END"), "-----END CERTIFICATE-----\n");
}
END_TEST

/* A loader's certificate names its CRL, unless the operator said otherwise. */
START_TEST(sign_crl_option)
{
    const char *csr = fresh_request("one.csr", "P-256", "/CN=Loader");

    ca_found("p-256", 0);
    SIGN(KL_OK, NULL, csr, ca_path("w.pem"));
    SIGN(KL_OK, NULL, csr, ca_path("n.pem"), "--no-crl");
    X509 *with = ca_load_cert(ca_path("w.pem")), *without = ca_load_cert(ca_path("n.pem"));
    ck_assert_int_ge(X509_get_ext_by_NID(with, NID_crl_distribution_points, -1), 0);
    ck_assert_int_lt(X509_get_ext_by_NID(without, NID_crl_distribution_points, -1), 0);
    X509_free(with);
    X509_free(without);
}
END_TEST

START_TEST(weaker_root)
{
    ca_found("rsa-2048", 0);
    SIGN(KL_OK, "the root's key (RSA-2048) is weaker than the certified key (P-521)",
         fresh_request("a.csr", "P-521", "/CN=Loader"), ca_path("a.pem"));
    SIGN(KL_OK, NULL, fresh_request("b.csr", "RSA-2048", "/CN=Loader"), ca_path("b.pem"));
    ck_assert_ptr_null(strstr(ca_err, "weaker"));
    SIGN(KL_ERR_CERT, "request's key", fresh_request("c.csr", "P-192", "/CN=Loader"),
         ca_path("c.pem"));
    ck_assert_int_ne(access(ca_path("c.pem"), F_OK), 0);
}
END_TEST

/* A wrong passphrase signs nothing, and binds the key to nobody. */
START_TEST(wrong_pin)
{
    const char *csr = fresh_request("a.csr", "P-256", "/CN=T/serialNumber=SN-1");

    ca_found("p-256", 0);
    file_write(ca_path("pin"), "twelve-bytez", 12, 0600);
    SIGN(KL_ERR_PIN, NULL, csr, ca_path("a.pem"));
    ck_assert_int_eq(issued(), 0);
    file_write(ca_path("pin"), "twelve-bytes", 12, 0600);
    TERMINAL(KL_OK, NULL, csr, "SN-1", ca_path("a.pem"));
}
END_TEST

/* ---- terminal sign ---- */

static int64_t end_of(const char *path)
{
    struct kl_err err = KL_ERR_INIT;
    X509 *cert = ca_load_cert(path);
    int64_t to = 0;

    OK(kl_asn1_time_unix(X509_get0_notAfter(cert), &to, &err));
    X509_free(cert);
    return to;
}

START_TEST(terminal_days)
{
    const char *csr = fresh_request("a.csr", "P-256", "/CN=T/serialNumber=SN-1");
    char source[PATH_MAX + 8];
    int64_t now = (int64_t)time(NULL);

    ca_found("p-256", 0); /* of 99 days: the usual 5 years are not to be had */
    TERMINAL(KL_OK, NULL, csr, "SN-1", ca_path("a.pem"));
    ck_assert_int_ge(end_of(ca_path("a.pem")), now + 98 * DAY);
    TERMINAL(KL_OK, NULL, csr, "SN-1", ca_path("b.pem"), "--days", "3");
    ck_assert_int_le(end_of(ca_path("b.pem")), now + 3 * DAY + 60);
    TERMINAL(KL_ERR_REFUSED, "would outlive", csr, "SN-1", ca_path("c.pem"), "--days", "100");
    TERMINAL(KL_ERR_USAGE, "--days", csr, "SN-1", ca_path("c.pem"), "--days", "0");

    snprintf(source, sizeof source, "file:%s", ca_path("pin"));
    file_path(ca_home, ca_top, "other");
    CA_RUN(KL_OK, NULL, "init", "--dir", ca_home, "--subject", "CN=R", "--days", "4000", "--key",
           "p-256", "--pem", "--pin-source", source);
    TERMINAL(KL_OK, NULL, csr, "SN-1", ca_path("d.pem"));
    ck_assert_int_le(end_of(ca_path("d.pem")), now + 1825 * DAY + 60);
    ck_assert_int_ge(end_of(ca_path("d.pem")), now + 1825 * DAY);

    file_path(ca_home, ca_top, "last"); /* a root in its last day */
    CA_RUN(KL_OK, NULL, "init", "--dir", ca_home, "--subject", "CN=R", "--days", "1", "--key",
           "p-256", "--pem", "--pin-source", source);
    proc_sleep_ms(1100);
    TERMINAL(KL_ERR_REFUSED, "ends within a day", csr, "SN-1", ca_path("e.pem"));
}
END_TEST

START_TEST(terminal_refused)
{
    const char *csr = fresh_request("a.csr", "P-256", "/CN=T/serialNumber=SN-1");
    const char *nameless = fresh_request("b.csr", "P-256", "/CN=SN-1");
    const char *out = ca_path("out.pem");

    ca_found("p-256", 0);
    TERMINAL(KL_ERR_REFUSED, "is of terminal SN-1, not of SN-2", csr, "SN-2", out);
    TERMINAL(KL_ERR_CERT, "subject", nameless, "SN-1", out);
    CA_RUN(KL_ERR_USAGE, "--serial is missing", "terminal", "sign", csr, "--dir", ca_home, "--out",
           out);
    CA_RUN(KL_ERR_USAGE, "--out is missing", "terminal", "sign", csr, "--dir", ca_home, "--serial",
           "SN-1");
    CA_RUN(KL_ERR_USAGE, "sign is missing", "terminal", "--dir", ca_home);
    CA_RUN(KL_ERR_USAGE, "REQUEST is missing", "terminal", "sign", "--dir", ca_home);
    CA_RUN(KL_ERR_USAGE, "\"arm\" is unknown", "terminal", "arm", csr);
    TERMINAL(KL_ERR_USAGE, "unknown option --csr", csr, "SN-1", out, "--csr", csr);
    ck_assert_int_eq(issued(), 0);
    ck_assert_int_ne(access(out, F_OK), 0);
}
END_TEST

/* PCI PIN 20-1: no key for two terminals, nor for a loader and a terminal; the same one again is a
 * renewal. Both orders; and no expiry or revocation frees a key. */
START_TEST(keys_are_unique)
{
    EVP_PKEY *a = ca_key("P-256"), *b = ca_key("RSA-2048");
    const char *a1 = ca_path("a1.csr"), *a2 = ca_path("a2.csr"), *al = ca_path("al.csr"),
               *bl = ca_path("bl.csr");
    char out[PATH_MAX];

    ca_request_file(a1, a, "/CN=T/serialNumber=SN-1");
    ca_request_file(a2, a, "/CN=T/serialNumber=SN-2");
    ca_request_file(al, a, "/CN=Loader");
    ca_request_file(bl, b, "/CN=Loader/serialNumber=SN-1");
    file_path(out, ca_top, "out.pem");
    ca_found("p-256", 0);
    TERMINAL(KL_OK, NULL, a1, "SN-1", out, "--force");
    TERMINAL(KL_ERR_REFUSED, "belongs to another holder already (terminal SN-1)", a2, "SN-2", out,
             "--force");
    SIGN(KL_ERR_REFUSED, "(terminal SN-1)", al, out, "--force");
    TERMINAL(KL_OK, NULL, a1, "SN-1", out, "--force");
    SIGN(KL_OK, NULL, bl, out, "--force");
    TERMINAL(KL_ERR_REFUSED, "(loader)", bl, "SN-1", out, "--force");
    SIGN(KL_OK, NULL, bl, out, "--force");
    ck_assert_int_eq(issued(), 4);
    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
}
END_TEST

START_TEST(compromised_key)
{
    struct kl_err err = KL_ERR_INIT;
    EVP_PKEY *a = ca_key("P-256");

    OK(kl_home_prepare(ca_home, &err));
    OK(kl_claim_key(ca_home, a, "SN-1", &err));
    OK(kl_claim_compromised(ca_home, a, &err));
    OK(kl_claim_compromised(ca_home, a, &err));
    ck_assert_int_eq(kl_claim_key(ca_home, a, "SN-1", &err), KL_ERR_REFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, "compromised"));
    EVP_PKEY_free(a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ca_sign");
    TCase *tc = tcase_create("sign");

    tcase_add_checked_fixture(tc, ca_begin, ca_end);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, root_kinds, 0, 2 * ROOTS);
    tcase_add_test(tc, init_keys_refused);
    tcase_add_test(tc, sign_out);
    tcase_add_test(tc, sign_crl_option);
    tcase_add_test(tc, weaker_root);
    tcase_add_test(tc, wrong_pin);
    tcase_add_test(tc, terminal_days);
    tcase_add_test(tc, terminal_refused);
    tcase_add_test(tc, keys_are_unique);
    tcase_add_test(tc, compromised_key);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
