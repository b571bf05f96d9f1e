/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificates: reading them, and what they say of themselves.
 */
#include "proto/cert.h"

#include <check.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "conf/report.h"
#include "proto/name.h"
#include "tests/support/pki.h"
#include "tests/support/suite.h"

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

START_TEST(test_key_type)
{
    struct kl_err err = KL_ERR_INIT;
    enum kl_key_type type = (enum kl_key_type)99;
    unsigned bits = 0;
    struct pki pki;

    pki_plan(&pki);
    pki.leaf.key = pki_keys.p384;
    pki_make(&pki);
    ck_assert_int_eq(kl_cert_key_type(pki.inter_cert, &type, &bits, &err), KL_OK);
    ck_assert_int_eq(type, KL_KEY_RSA);
    ck_assert_uint_eq(bits, 3072);
    ck_assert_int_eq(kl_cert_key_type(pki.leaf_cert, &type, &bits, &err), KL_OK);
    ck_assert_int_eq(type, KL_KEY_EC);
    ck_assert_uint_eq(bits, 384);
    pki_wipe(&pki);
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

/* ---- The serial of a terminal ---- */

static const struct {
    const char *serial[2];
    int type; /* of the string; 0 = PrintableString */
    const char *text;
} serials[] = {
    {{"SN-1", NULL}, 0, NULL},
    {{"A.b_c-0123456789abcdefghijklmnop", NULL}, 0, NULL},
    {{"SN_1", NULL}, V_ASN1_UTF8STRING, NULL},
    {{NULL, NULL}, 0, "has no serialNumber"},
    {{"SN-1", "SN-2"}, 0, "several serialNumbers"},
    {{"SN-1", "SN-1"}, 0, "several serialNumbers"},
    {{"SN 1", NULL}, 0, "is no terminal's serial"},
    {{"A.b_c-0123456789abcdefghijklmnopq", NULL}, 0, "at most 32 characters"},
    {{"SN-1", NULL}, V_ASN1_T61STRING, "is not a string"},
    {{"SN-1", NULL}, V_ASN1_BMPSTRING, "is not a string"},
};

START_TEST(test_terminal_serial)
{
    struct kl_err err = KL_ERR_INIT;
    char serial[KL_SERIAL_MAX + 1] = "untouched";
    X509_NAME *name = X509_NAME_new();

    for (int i = 0; i < 2 && serials[_i].serial[i]; i++) {
        ck_assert(
            X509_NAME_add_entry_by_txt(name, "serialNumber",
                                       serials[_i].type ? serials[_i].type : V_ASN1_PRINTABLESTRING,
                                       (const uint8_t *)serials[_i].serial[i], -1, -1, 0));
    }
    if (serials[_i].text) {
        ck_assert_int_eq(kl_cert_terminal_serial(name, serial, &err), KL_ERR_CERT);
        ck_assert_msg(strstr(err.text, serials[_i].text), "%s", err.text);
        ck_assert_str_eq(serial, "untouched");
    } else {
        ck_assert_msg(kl_cert_terminal_serial(name, serial, &err) == KL_OK, "%s", err.text);
        ck_assert_str_eq(serial, serials[_i].serial[0]);
    }
    X509_NAME_free(name);
}
END_TEST

/* A serial with a NUL in it would read as another, shorter one. */
START_TEST(test_terminal_serial_cut_short)
{
    struct kl_err err = KL_ERR_INIT;
    char serial[KL_SERIAL_MAX + 1];
    X509_NAME *name = X509_NAME_new();

    ck_assert(X509_NAME_add_entry_by_txt(name, "serialNumber", V_ASN1_UTF8STRING,
                                         (const uint8_t *)"SN-1\0x", 6, -1, 0));
    ck_assert_int_eq(kl_cert_terminal_serial(name, serial, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "is no terminal's serial"));
    X509_NAME_free(name);
}
END_TEST

/* The way there, from what an operator types. */
START_TEST(test_terminal_serial_typed)
{
    static const struct {
        const char *text;
        const char *serial; /* NULL = not accepted as a name */
    } typed[] = {
        {"/O=Bank/CN=Till/serialNumber=SN-1", "SN-1"},
        {"serialNumber=A.b_c-0123456789abcdefghijklmnop,CN=Till",
         "A.b_c-0123456789abcdefghijklmnop"},
        {"/CN=Till/serialNumber=S\xff_1", NULL},
        {"/CN=Till/serialNumber=A.b_c-0123456789abcdefghijklmnopq", NULL},
    };
    struct kl_err err = KL_ERR_INIT;

    for (size_t i = 0; i < sizeof(typed) / sizeof(typed[0]); i++) {
        char serial[KL_SERIAL_MAX + 1] = "";
        X509_NAME *name = NULL;

        ck_assert_int_eq(kl_name_parse(typed[i].text, &name, &err),
                         typed[i].serial ? KL_OK : KL_ERR_INPUT);
        if (typed[i].serial) {
            ck_assert_int_eq(kl_cert_terminal_serial(name, serial, &err), KL_OK);
            ck_assert_str_eq(serial, typed[i].serial);
        }
        X509_NAME_free(name);
    }
}
END_TEST

/* ---- The scope of its CRL ---- */

static const struct {
    const char *cdp;
    int twice;
    const char *scope; /* NULL = refused */
} scopes[] = {
    {NULL, 0, ""},
    {"URI:" KL_CRL_SCOPE_LOADER, 0, KL_CRL_SCOPE_LOADER},
    {"critical,URI:http://example.org/x.crl", 0, "http://example.org/x.crl"},
    {"URI:urn:012345678901234567890123456789012345678901234567890123456789012", 0, NULL},
    {"URI:urn:01234567890123456789012345678901234567890123456789012345678", 0,
     "urn:01234567890123456789012345678901234567890123456789012345678"},
    {"URI:" KL_CRL_SCOPE_LOADER, 1, NULL},
    {"URI:" KL_CRL_SCOPE_LOADER ",URI:urn:x", 0, NULL}, /* two points */
    {"two_names", 0, NULL},
    {"reasons", 0, NULL},
    {"issuer", 0, NULL},
    {"relative", 0, NULL},
    {"DNS:example.org", 0, NULL},
    {"URI:urn:a b", 0, NULL},
};

START_TEST(test_crl_scope)
{
    struct kl_err err = KL_ERR_INIT;
    char scope[KL_CRL_SCOPE_TEXT] = "untouched";
    json_t *report = NULL;
    struct pki pki;

    pki_plan(&pki);
    pki.leaf.cdp = scopes[_i].cdp;
    pki.leaf.twice_cdp = scopes[_i].twice;
    pki_make(&pki);
    ck_assert_int_eq(kl_report_cert(pki.leaf_cert, &report, &err), KL_OK);
    if (scopes[_i].scope) {
        ck_assert_msg(kl_cert_crl_scope(pki.leaf_cert, scope, &err) == KL_OK, "%s", err.text);
        ck_assert_str_eq(scope, scopes[_i].scope);
        ck_assert_pstr_eq(json_string_value(json_object_get(report, "crl")),
                          scope[0] == '\0' ? NULL : scope);
    } else {
        ck_assert_int_eq(kl_cert_crl_scope(pki.leaf_cert, scope, &err), KL_ERR_CERT);
        ck_assert_ptr_nonnull(strstr(err.text, "is not one point with one URI"));
        ck_assert_str_eq(scope, "untouched");
        ck_assert_str_eq(json_string_value(json_object_get(report, "crl")), "other");
    }
    json_decref(report);
    pki_wipe(&pki);
}
END_TEST

/* ---- Reports ---- */

START_TEST(test_report)
{
    struct kl_err err = KL_ERR_INIT;
    EVP_PKEY *keys[] = {pki_keys.inter, pki_keys.p521, pki_keys.k256, pki_keys.ed25519};
    static const struct {
        const char *key, *type;
        int bits;
    } want[] = {
        {"RSA-3072", "RSA", 3072},
        {"P-521", "EC", 521},
        {"other (EC)", "EC", 256},
        {"other (ED25519)", "ED25519", 256},
    };
    char fingerprint[KL_FINGERPRINT_TEXT];
    json_t *report = NULL;
    struct pki pki;

    pki_plan(&pki);
    pki.leaf.key = keys[_i];
    pki_make(&pki);
    ck_assert_int_eq(kl_report_cert(pki.leaf_cert, &report, &err), KL_OK);
    ck_assert_str_eq(json_string_value(json_object_get(report, "key")), want[_i].key);
    ck_assert_str_eq(json_string_value(json_object_get(report, "key_type")), want[_i].type);
    ck_assert_int_eq(json_integer_value(json_object_get(report, "key_bits")), want[_i].bits);
    ck_assert_int_eq(kl_pubkey_fingerprint(keys[_i], fingerprint, &err), KL_OK);
    ck_assert_str_eq(json_string_value(json_object_get(report, "spki_sha256")), fingerprint);
    ck_assert_uint_eq(strlen(fingerprint), 64);
    json_decref(report);
    pki_wipe(&pki);
}
END_TEST

/* ---- Files ---- */

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

START_TEST(test_load_roots)
{
    struct kl_err err = KL_ERR_INIT;
    STACK_OF(X509) *roots = NULL;
    char path[PATH_MAX];
    struct pki pki, next;

    pki_plan(&pki);
    pki_make(&pki);
    pki_plan(&next);
    pki_use_ec(&next, pki_keys.p256);
    pki_make(&next);
    X509 *two[] = {pki.root_cert, next.root_cert};
    X509 *twice[] = {pki.root_cert, next.root_cert, pki.root_cert};
    X509 *no_root[] = {pki.root_cert, pki.inter_cert};
    X509 *five[] = {two[0], two[1], two[0], two[1], two[0]};

    write_pem(path, two, 2, "");
    ck_assert_msg(kl_cert_load_roots(path, &roots, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(sk_X509_num(roots), 2);
    ck_assert_int_eq(X509_cmp(sk_X509_value(roots, 1), next.root_cert), 0);
    sk_X509_pop_free(roots, X509_free);
    roots = NULL;
    unlink(path);
    write_pem(path, twice, 3, "");
    ck_assert_int_eq(kl_cert_load_roots(path, &roots, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "root \"CN=Root,O=Bank\" is there twice"));
    ck_assert_ptr_nonnull(strstr(err.text, path));
    unlink(path);
    write_pem(path, no_root, 2, "");
    ck_assert_int_eq(kl_cert_load_roots(path, &roots, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "\"CN=Intermediate,O=Bank\" is no root"));
    unlink(path);
    write_pem(path, five, 5, "");
    ck_assert_int_eq(kl_cert_load_roots(path, &roots, &err), KL_ERR_CERT);
    unlink(path);
    ck_assert_int_eq(kl_cert_load_roots(path, &roots, &err), KL_ERR_NO_FILE);
    ck_assert_ptr_null(roots);
    pki_wipe(&next);
    pki_wipe(&pki);
}
END_TEST

int main(void)
{
    int status;
    Suite *suite = suite_create("cert");
    TCase *tcase = tcase_create("cert");

    pki_make_keys();
    tcase_add_test(tcase, test_from_der);
    tcase_add_test(tcase, test_key_type);
    tcase_add_test(tcase, test_name_lines);
    tcase_add_loop_test(tcase, test_terminal_serial, 0, sizeof(serials) / sizeof(serials[0]));
    tcase_add_test(tcase, test_terminal_serial_cut_short);
    tcase_add_test(tcase, test_terminal_serial_typed);
    tcase_add_loop_test(tcase, test_crl_scope, 0, sizeof(scopes) / sizeof(scopes[0]));
    tcase_add_loop_test(tcase, test_report, 0, 4);
    tcase_add_test(tcase, test_load_pem);
    tcase_add_test(tcase, test_load_roots);
    suite_add_tcase(suite, tcase);
    status = test_run(suite);
    pki_free_keys();
    return status;
}
