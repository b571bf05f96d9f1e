/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the real programs, acquire-ca and keyloaderctl, must refuse in S1 and S2: certificates,
 * requests, tokens and PINs, with the exit status and the words for it.
 */
#include <check.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/cert.h"
#include "tests/support/ceremony.h"
#include "tests/support/hsm.h"
#include "tests/support/lab.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

/* ---- Certificates that are refused ---- */

static EVP_PKEY *a_key(void)
{
    char path[PATH_MAX], passphrase[] = PASSPHRASE;
    FILE *f = fopen(file_path(path, ceremony.a_home, "root-key.pem"), "re");
    ck_assert_ptr_nonnull(f);
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, passphrase);
    fclose(f);
    ck_assert_ptr_nonnull(key);
    return key;
}

static void expire(X509 *cert)
{
    X509_gmtime_adj(X509_getm_notBefore(cert), -7200);
    X509_gmtime_adj(X509_getm_notAfter(cert), -3600);
}

static void begin_later(X509 *cert)
{
    X509_gmtime_adj(X509_getm_notBefore(cert), 3600);
}

static void set_eku(X509 *cert, const char *value)
{
    int at = X509_get_ext_by_NID(cert, NID_ext_key_usage, -1);
    ck_assert_int_ge(at, 0);
    X509_EXTENSION_free(X509_delete_ext(cert, at));
    if (!value) {
        return;
    }
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, value);
    ck_assert_ptr_nonnull(ext);
    ck_assert_int_eq(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static void eku_terminal(X509 *cert)
{
    set_eku(cert, "critical," KL_OID_EKU_TERMINAL);
}

static void eku_both(X509 *cert)
{
    set_eku(cert, "critical," KL_OID_EKU_LOADER "," KL_OID_EKU_TERMINAL);
}

static void eku_uncritical(X509 *cert)
{
    set_eku(cert, KL_OID_EKU_LOADER);
}

static void eku_none(X509 *cert)
{
    set_eku(cert, NULL);
}

/* Each is A's good certificate for the loader's own key, changed and signed by A again. */
static const struct {
    const char *name;
    void (*change)(X509 *cert);
    const char *words;
} bad_certs[] = {
    {"expired", expire, "expired"},
    {"later", begin_later, "not yet valid"},
    {"eku-terminal", eku_terminal, "extendedKeyUsage is not the key loader's"},
    {"eku-both", eku_both, "extendedKeyUsage holds 2"},
    {"eku-uncritical", eku_uncritical, "extendedKeyUsage is not critical"},
    {"eku-none", eku_none, "no (or no valid) extendedKeyUsage"},
};

static void write_cert(const char *path, X509 *cert)
{
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(PEM_write_X509(f, cert), 1);
    ck_assert_int_eq(fclose(f), 0);
}

/* Refused with and without --force, and nothing is written. */
static void refuse_install(const char *conf, const char *cert, const char *words, const char *work)
{
    char path[PATH_MAX];

    CTL(76, words, conf, "cert", "install", cert);
    CTL(76, words, conf, "cert", "install", cert, "--force");
    ck_assert_msg(access(ceremony_path(path, work), F_OK) != 0, "%s was written", work);
}

START_TEST(bad_certificate)
{
    char conf[PATH_MAX], path[PATH_MAX], work[64];
    X509 *cert = ceremony_read_cert(ceremony.good);
    EVP_PKEY *key = a_key();

    snprintf(work, sizeof work, "%s-bad.pem", bad_certs[_i].name);
    ceremony_path(path, work);
    bad_certs[_i].change(cert);
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    write_cert(path, cert);
    snprintf(work, sizeof work, "%s/acquire-work.pem", bad_certs[_i].name);
    refuse_install(ceremony_plain_config(conf, bad_certs[_i].name), path, bad_certs[_i].words,
                   work);
    EVP_PKEY_free(key);
    X509_free(cert);
}
END_TEST

START_TEST(certificate_of_another_acquirer)
{
    char conf[PATH_MAX], words[PATH_MAX + 100];

    ceremony_plain_config(conf, "acquirer");
    snprintf(words, sizeof words, "is not installed: not issued under [certificates] root %s",
             ceremony.a_root);
    refuse_install(conf, ceremony.other_acquirer, words, "acquirer/acquire-work.pem");
    /* It is the acquirer, and nothing else, that is wrong with it. */
    ceremony_config(conf, "acquirer", test_softhsm_path(), "pkcs11:token=loader",
                    ceremony.pin_source, ceremony.b_root);
    CTL(0, NULL, conf, "cert", "install", ceremony.other_acquirer);
}
END_TEST

START_TEST(self_signed_certificate)
{
    char conf[PATH_MAX], path[PATH_MAX];
    X509 *cert = ceremony_read_cert(ceremony.good);
    EVP_PKEY *key = EVP_RSA_gen(2048);

    ck_assert_int_eq(X509_set_pubkey(cert, key), 1);
    ck_assert_int_eq(X509_set_issuer_name(cert, X509_get_subject_name(cert)), 1);
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    write_cert(ceremony_path(path, "selfsigned-bad.pem"), cert);
    refuse_install(ceremony_plain_config(conf, "selfsigned"), path, "is not installed",
                   "selfsigned/acquire-work.pem");
    refuse_install(conf, ceremony.a_root, "is the root itself", "selfsigned/acquire-work.pem");
    EVP_PKEY_free(key);
    X509_free(cert);
}
END_TEST

/* ---- Requests that are refused ---- */

static void write_request(const char *path, X509_REQ *request)
{
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(PEM_write_X509_REQ(f, request), 1);
    ck_assert_int_eq(fclose(f), 0);
}

/* A request of a fresh key. ext: NULL, or the value of an extension `nid` that it asks for. */
static void make_request(const char *path, unsigned bits, const EVP_MD *hash, int nid,
                         const char *ext)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);
    X509_REQ *request = X509_REQ_new();
    X509_NAME *name = X509_REQ_get_subject_name(request);

    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"Loader 2", -1, -1,
                               0);
    ck_assert_int_eq(X509_REQ_set_version(request, X509_REQ_VERSION_1), 1);
    ck_assert_int_eq(X509_REQ_set_pubkey(request, key), 1);
    if (ext) {
        STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
        sk_X509_EXTENSION_push(list, X509V3_EXT_conf_nid(NULL, NULL, nid, ext));
        ck_assert_int_eq(X509_REQ_add_extensions(request, list), 1);
        sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    }
    ck_assert_int_gt(X509_REQ_sign(request, key, hash), 0);
    write_request(path, request);
    X509_REQ_free(request);
    EVP_PKEY_free(key);
}

/* Refused, and neither handed out nor recorded. */
static void refuse_request(const char *path, int status, const char *words)
{
    char out[PATH_MAX];

    CA(0, NULL, "list", "--dir", ceremony.a_home);
    char *before = strdup(ceremony.last_out);
    CA(status, words, "sign", "--dir", ceremony.a_home, "--csr", path, "--out",
       ceremony_path(out, "never.pem"), "--days", "30");
    ck_assert_int_ne(access(out, F_OK), 0);
    CA(0, NULL, "list", "--dir", ceremony.a_home);
    ck_assert_str_eq(before, ceremony.last_out);
    free(before);
}

START_TEST(bad_request)
{
    static const struct {
        unsigned bits;
        const EVP_MD *(*hash)(void);
        int nid;
        const char *ext, *words;
    } cases[] = {
        {1024, EVP_sha256, 0, NULL, "RSA of 1024 bits"},
        {2048, EVP_sha1, 0, NULL, "sha1WithRSAEncryption"},
        {2048, EVP_md5, 0, NULL, "md5WithRSAEncryption"},
        {2048, EVP_sha256, NID_basic_constraints, "CA:TRUE", "asks to be a CA"},
        {2048, EVP_sha256, NID_subject_alt_name, "critical,DNS:x", "critical extension"},
    };
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_request(ceremony_path(path, "bad.csr"), cases[i].bits, cases[i].hash(), cases[i].nid,
                     cases[i].ext);
        refuse_request(path, 76, cases[i].words);
    }
    file_write(path, "hello\n", 6, 0644);
    refuse_request(path, 65, "not a PEM certification request");
}
END_TEST

START_TEST(tampered_request)
{
    char path[PATH_MAX];
    FILE *f = fopen(ceremony.csr, "re");
    X509_REQ *request = PEM_read_X509_REQ(f, NULL, NULL, NULL);
    unsigned char *der = NULL;
    fclose(f);

    /* "Loader 1" becomes "Loader 9": still well-formed, but not what the HSM signed. */
    int len = i2d_X509_REQ(request, &der);
    unsigned char *subject = memmem(der, (size_t)len, "Loader 1", 8);
    ck_assert_ptr_nonnull(subject);
    subject[7] = '9';
    X509_REQ_free(request);
    const unsigned char *p = der;
    request = d2i_X509_REQ(NULL, &p, len);
    write_request(ceremony_path(path, "tampered.csr"), request);
    refuse_request(path, 76, "own signature is wrong");
    X509_REQ_free(request);
    OPENSSL_free(der);
}
END_TEST

START_TEST(another_key)
{
    char path[PATH_MAX], cert[PATH_MAX], conf[PATH_MAX];

    make_request(ceremony_path(path, "ignored.csr"), 2048, EVP_sha256(), NID_subject_alt_name,
                 "DNS:x");
    CA(0, "ignored: the request asks for X509v3 Subject Alternative Name", "sign", "--dir",
       ceremony.a_home, "--csr", path, "--out", ceremony_path(cert, "other-key.pem"), "--days",
       "30");
    X509 *made = ceremony_read_cert(cert);
    ck_assert_int_eq(X509_get_ext_by_NID(made, NID_subject_alt_name, -1), -1);
    X509_free(made);
    refuse_install(ceremony_plain_config(conf, "otherkey"), cert, "no work key in the HSM",
                   "otherkey/acquire-work.pem");
    CTL(76, "another key than \"acquire-work\"", conf, "cert", "install", cert, "--label",
        "acquire-work");
    CTL(69, "nobody", conf, "cert", "install", cert, "--label", "nobody");
    CTL(65, "cannot name a file", conf, "cert", "remove", "--label", "../x");
    CTL(66, "no certificate is installed", conf, "cert", "remove", "--label", "acquire-work");
}
END_TEST

START_TEST(too_long)
{
    char out[PATH_MAX];

    CA(77, "would outlive the root", "sign", "--dir", ceremony.a_home, "--csr", ceremony.csr,
       "--out", ceremony_path(out, "long.pem"), "--days", "3651");
    CA(64, "--days", "sign", "--dir", ceremony.a_home, "--csr", ceremony.csr, "--out", out,
       "--days", "0");
}
END_TEST

START_TEST(ca_is_never_overwritten)
{
    char *before = file_read(ceremony.a_root, NULL), dir[PATH_MAX], path[PATH_MAX];

    CA(73, "there is a CA in this directory", "init", "--dir", ceremony.a_home, "--subject",
       "/CN=x", "--days", "10", "--pem", "--pin-source", ceremony.pass_source);
    char *after = file_read(ceremony.a_root, NULL);
    ck_assert_str_eq(before, after);
    /* Nor is a key, even where the certificate is gone. */
    CA(73, "already", "init", "--dir", ceremony_path(dir, "C"), "--subject", "/CN=x", "--days",
       "10", "--token", "pkcs11:token=ca", "--module", test_softhsm_path(), "--pin-source",
       ceremony.pin_source);
    ck_assert_int_ne(access(file_path(path, dir, "root.pem"), F_OK), 0);
    CA(77, "at least 12 bytes", "init", "--dir", ceremony_path(dir, "D"), "--subject", "/CN=x",
       "--days", "10", "--pem", "--pin-source", ceremony.pin_source);
    ck_assert_int_ne(access(file_path(path, dir, "root-key.pem"), F_OK), 0);
    free(before);
    free(after);
}
END_TEST

/* ---- Tokens and PINs ---- */

START_TEST(missing_token)
{
    char conf[PATH_MAX];

    ceremony_config(conf, "absent", test_softhsm_path(), "pkcs11:token=absent", ceremony.pin_source,
                    ceremony.a_root);
    CTL(69, "no token matches", conf, "key", "show");
    ceremony_config(conf, "absent", "/nonexistent.so", "pkcs11:token=loader", ceremony.pin_source,
                    ceremony.a_root);
    CTL(69, "/nonexistent.so", conf, "key", "show");
    CTL(66, "nowhere.conf", "/nowhere.conf", "key", "show");
}
END_TEST

START_TEST(wrong_pin_is_tried_once)
{
    char conf[PATH_MAX], proxy[PATH_MAX], wrong[PATH_MAX + 8], log[PATH_MAX];
    char variable[PATH_MAX + 16], rules[PATH_MAX], rules_variable[PATH_MAX + 16];
    static const char log_logins[] = "C_Login always log\n";
    struct proc proc;

    snprintf(proxy, sizeof proxy, "%s", lab_built("tests/tools/fault_p11.so"));
    ck_assert_msg(realpath(proxy, log) != NULL, "%s is not built", proxy);
    ceremony_secret_file("wrong-pin", WRONG_PIN "\n", 0600, wrong);
    ceremony_config(conf, "wrongpin", log, "pkcs11:token=loader", wrong, ceremony.a_root);
    snprintf(variable, sizeof variable, "KL_FAULT_LOG=%s", ceremony_path(log, "logins"));
    char module[PATH_MAX + 24];
    snprintf(module, sizeof module, "KL_FAULT_MODULE=%s", test_softhsm_path());
    file_write(ceremony_path(rules, "log-logins"), log_logins, sizeof log_logins - 1, 0600);
    snprintf(rules_variable, sizeof rules_variable, "KL_FAULT_RULES=%s", rules);
    const char *env[] = {ceremony.loader_env, variable, module, rules_variable, NULL};
    proc_spawn(&proc, ceremony.logs, env,
               (const char *const[]){ceremony_program("keyloaderctl"), "-c", conf, "key", "show",
                                     NULL});
    ck_assert_int_eq(proc_wait(&proc, CEREMONY_SECONDS), 77);
    char *said = file_read(proc.err, NULL), *logins = file_read(log, NULL);
    ck_assert_ptr_nonnull(strstr(said, "login failed, not tried again"));
    char *line = strchr(logins, '\n');
    ck_assert_msg(line != NULL && line[1] == '\0', "logins: %s", logins);
    free(said);
    free(logins);
}
END_TEST

START_TEST(wrong_passphrase)
{
    char wrong[PATH_MAX + 8], out[PATH_MAX];

    ceremony_secret_file("wrong-pass", "not-the-passphrase\n", 0600, wrong);
    CA(77, "does not open", "sign", "--dir", ceremony.a_home, "--csr", ceremony.csr, "--out",
       ceremony_path(out, "w.pem"), "--days", "30", "--pin-source", wrong);
    ck_assert_int_ne(access(out, F_OK), 0);
}
END_TEST

START_TEST(open_pin_file)
{
    char conf[PATH_MAX], open_source[PATH_MAX + 8], out[PATH_MAX];

    ceremony_secret_file("open-pin", PIN "\n", 0644, open_source);
    ceremony_config(conf, "openpin", test_softhsm_path(), "pkcs11:token=loader", open_source,
                    ceremony.a_root);
    CTL(77, "lets others at it", conf, "key", "show");
    CA(77, "lets others at it", "sign", "--dir", ceremony.b_home, "--csr", ceremony.csr, "--out",
       ceremony_path(out, "o.pem"), "--days", "30", "--pin-source", open_source);
}
END_TEST

START_TEST(pin_in_uri)
{
    char conf[PATH_MAX], dir[PATH_MAX];
    const char *uri = "pkcs11:token=loader?pin-value=" PIN;

    CTL(78, "pin-value",
        ceremony_config(conf, "pinuri", test_softhsm_path(), uri, ceremony.pin_source,
                        ceremony.a_root),
        "key", "show");
    ck_assert_ptr_null(strstr(ceremony.last_err, PIN));
    CA(78, "pin-value", "init", "--dir", ceremony_path(dir, "E"), "--subject", "/CN=x", "--days",
       "10", "--token", uri, "--module", test_softhsm_path());
    ck_assert_ptr_null(strstr(ceremony.last_err, PIN));
    ck_assert_int_ne(access(dir, F_OK), 0);
}
END_TEST

/* Run last: what everything above has printed, and the CAs' directories. */
START_TEST(no_secret_anywhere)
{
    ceremony_no_secret();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("refusals");
    TCase *tc = tcase_create("refusals");

    tcase_add_unchecked_fixture(tc, ceremony_found, ceremony_abandon);
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, bad_certificate, 0, sizeof bad_certs / sizeof bad_certs[0]);
    tcase_add_test(tc, certificate_of_another_acquirer);
    tcase_add_test(tc, self_signed_certificate);
    tcase_add_test(tc, bad_request);
    tcase_add_test(tc, tampered_request);
    tcase_add_test(tc, another_key);
    tcase_add_test(tc, too_long);
    tcase_add_test(tc, ca_is_never_overwritten);
    tcase_add_test(tc, missing_token);
    tcase_add_test(tc, wrong_pin_is_tried_once);
    tcase_add_test(tc, wrong_passphrase);
    tcase_add_test(tc, open_pin_file);
    tcase_add_test(tc, pin_in_uri);
    tcase_add_test(tc, no_secret_anywhere);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
