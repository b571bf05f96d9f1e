/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CA centre's parts: names, the root certificate, its directory and its key in an encrypted
 * file. The programs as a whole are in integration/test_ceremony.c.
 */
#include <check.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ca/cakey.h"
#include "ca/home.h"
#include "ca/profile.h"
#include "conf/certfile.h"
#include "conf/report.h"
#include "proto/cert.h"
#include "proto/name.h"
#include "tests/support/cahome.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#define OK(call) ck_assert_msg((call) == KL_OK, "%s", err.text)

/* ---- Names ---- */

static const struct {
    const char *text, *rfc2253;
} name_cases[] = {
    {"/C=CN/O=Bank/CN=Root", "CN=Root,O=Bank,C=CN"},
    {"CN=Root,O=Bank,C=CN", "CN=Root,O=Bank,C=CN"},
    {"CN=Root, O=Bank ,C=CN", "CN=Root,O=Bank,C=CN"},
    {"/CN=a\\/b", "CN=a/b"},
    {"/CN=a,b+c", "CN=a\\,b\\+c"},
    {"CN=a\\,b\\+c", "CN=a\\,b\\+c"},
    {"CN=a\\2Cb", "CN=a\\,b"},
    {"CN=a\\ ", "CN=a\\ "},
    {"/2.5.4.3=x", "CN=x"},
    {"/CN=\xe9\x93\xb6\xe8\xa1\x8c", "CN=\\E9\\93\\B6\\E8\\A1\\8C"},
    /* refused */
    {"CN = Root", NULL}, /* RFC 4514 has no blanks before "=" */
    {"", NULL},
    {"/", NULL},
    {"Root", NULL},
    {"/O=Bank", NULL},
    {"/CN=", NULL},
    {"/CN=x/", NULL},
    {"CN=x,", NULL},
    {"CN=a+O=b", NULL},
    {"/CN=a\nb", NULL},
    {"/CN=a\\0ab", NULL},
    {"/CN=a\\00", NULL},
    {"/CN=a\\", NULL},
    {"/CN=a\\zb", NULL},
    {"/C=CHN/CN=x", NULL},
    {"/NOSUCH=a/CN=x", NULL},
    {"/CN=\xff\xfe", NULL},
};

START_TEST(names)
{
    struct kl_err err = KL_ERR_INIT;
    const char *expected = name_cases[_i].rfc2253, *text = name_cases[_i].text;
    X509_NAME *name = NULL;
    enum kl_rc rc = kl_name_parse(text, &name, &err);

    if (!expected) {
        ck_assert_msg(rc == KL_ERR_INPUT, "\"%s\" was taken", text);
        ck_assert_ptr_null(name);
        ck_assert_str_ne(err.text, "");
        return;
    }
    ck_assert_msg(rc == KL_OK, "\"%s\": %s", text, err.text);
    X509 *cert = X509_new();
    char line[KL_NAME_MAX];
    X509_set_subject_name(cert, name);
    kl_cert_subject(cert, line);
    ck_assert_str_eq(line, expected);
    X509_free(cert);
    X509_NAME_free(name);
}
END_TEST

START_TEST(name_too_long)
{
    struct kl_err err = KL_ERR_INIT;
    char text[KL_NAME_MAX + 1];
    X509_NAME *name = NULL;

    memset(text, 'x', sizeof text);
    memcpy(text, "/CN=", 4);
    text[KL_NAME_MAX] = '\0';
    ck_assert_int_eq(kl_name_parse(text, &name, &err), KL_ERR_INPUT);
    text[4 + 65] = '\0'; /* ub-common-name is 64 */
    ck_assert_int_eq(kl_name_parse(text, &name, &err), KL_ERR_INPUT);
    text[4 + 64] = '\0';
    OK(kl_name_parse(text, &name, &err));
    X509_NAME_free(name);
}
END_TEST

/* ---- The root ---- */

static EVP_PKEY *root_key;
static X509 *root;

static void once(void)
{
    root_key = ca_key("RSA-2048");
    root = ca_root(root_key, 100, (int64_t)time(NULL) - 60);
}

static void forget(void)
{
    X509_free(root);
    EVP_PKEY_free(root_key);
}

static int is_critical(const X509 *cert, int nid)
{
    int at = X509_get_ext_by_NID(cert, nid, -1);
    return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(cert, at));
}

START_TEST(root_profile)
{
    ck_assert_int_eq(X509_get_version(root), X509_VERSION_3);
    ck_assert_int_eq(X509_check_ca(root), 1);
    ck_assert_int_eq(X509_get_pathlen(root), 0);
    ck_assert_uint_eq(X509_get_key_usage(root), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    ck_assert(is_critical(root, NID_basic_constraints) && is_critical(root, NID_key_usage));
    ck_assert_ptr_nonnull(X509_get0_subject_key_id(root));
    ck_assert_int_eq(ASN1_OCTET_STRING_cmp(X509_get0_subject_key_id(root),
                                           X509_get0_authority_key_id(root)),
                     0);
    ck_assert_int_eq(X509_verify(root, root_key), 1);
    ck_assert_int_eq(X509_get_ext_count(root), 4);
}
END_TEST

/* ---- The directory ---- */

static struct kl_ca_conf pem_conf(char *pin_source)
{
    static char none[] = "", file[] = "root-key.pem";
    return (struct kl_ca_conf){none, none, none, none, file, pin_source};
}

START_TEST(conf_round_trip)
{
    struct kl_err err = KL_ERR_INIT;
    char module[] = "/usr/lib/m.so", token[] = "pkcs11:token=a;serial=1", label[] = "L 1\t2;3",
         none[] = "";
    struct kl_ca_conf in = {module, none, token, label, none, none}, out = {0};

    OK(kl_home_save_conf(ca_top, &in, &err));
    OK(kl_home_load_conf(ca_top, &out, &err));
    ck_assert_str_eq(out.module, module);
    ck_assert_str_eq(out.token, token);
    ck_assert_str_eq(out.key_label, label);
    ck_assert_str_eq(out.pem, "");
    ck_assert_str_eq(out.pin_source, "");
    kl_home_wipe_conf(&out);
}
END_TEST

START_TEST(conf_values_refused)
{
    static const char *const bad[] = {"a\npem = x", " a", "a ", "a ;b", "a #b", ";a", "a\rb"};
    struct kl_err err = KL_ERR_INIT;
    char none[] = "", token[] = "pkcs11:token=a", path[PATH_MAX], value[32];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(value, sizeof value, "%s", bad[i]);
        struct kl_ca_conf in = {none, none, token, value, none, none};
        ck_assert_msg(kl_home_save_conf(ca_top, &in, &err) == KL_ERR_INPUT, "\"%s\"", bad[i]);
        ck_assert_int_ne(access(file_path(path, ca_top, "ca.conf"), F_OK), 0);
    }
}
END_TEST

START_TEST(conf_file_refused)
{
    static const char *const bad[] = {
        "[ca]\n",
        "[ca]\ntoken = pkcs11:token=a\npem = k.pem\n",
        "[ca]\npem = ../k.pem\n",
        "[ca]\npem = k.pem\npin = 1234\n",
    };
    struct kl_err err = KL_ERR_INIT;
    struct kl_ca_conf out = {0};
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        file_write(file_path(path, ca_top, "ca.conf"), bad[i], strlen(bad[i]), 0644);
        ck_assert_msg(kl_home_load_conf(ca_top, &out, &err) == KL_ERR_CONFIG, "%s", bad[i]);
        ck_assert_ptr_null(out.pem);
    }
}
END_TEST

static enum kl_rc count(X509 *cert, void *arg, struct kl_err *err)
{
    (void)cert;
    (void)err;
    ++*(int *)arg;
    return KL_OK;
}

START_TEST(records)
{
    struct kl_err err = KL_ERR_INIT;
    X509 *found = NULL;
    char serial[KL_SERIAL_HEX];
    int n = 0;

    ck_assert_int_eq(kl_home_each(ca_top, count, &n, &err),
                     KL_ERR_NO_FILE); /* not a CA's directory */
    OK(kl_home_prepare(ca_top, &err));
    OK(kl_home_record(ca_top, root, &err));
    ck_assert_int_eq(kl_home_record(ca_top, root, &err), KL_ERR_EXISTS);
    OK(kl_home_each(ca_top, count, &n, &err));
    ck_assert_int_eq(n, 1);
    OK(kl_cert_serial_hex(root, serial, &err));
    for (char *p = serial; *p; p++) {
        *p = (char)(*p >= 'A' ? *p + 32 : *p);
    }
    OK(kl_home_find(ca_top, serial, &found, &err));
    ck_assert_int_eq(X509_cmp(found, root), 0);
    X509_free(found);
    ck_assert_int_eq(kl_home_find(ca_top, "01", &found, &err), KL_ERR_NOT_FOUND);
    ck_assert_int_eq(kl_home_find(ca_top, "../root", &found, &err), KL_ERR_INPUT);
    ck_assert_int_eq(kl_home_find(ca_top, "", &found, &err), KL_ERR_INPUT);

    OK(kl_home_save_root(ca_top, root, &err));
    ck_assert_int_eq(kl_home_save_root(ca_top, root, &err), KL_ERR_EXISTS);
    ck_assert_int_eq(kl_home_prepare(ca_top, &err), KL_ERR_EXISTS);
}
END_TEST

/* The first text stands, whole; what a crash left beside it is nobody's. */
START_TEST(write_once)
{
    struct kl_err err = KL_ERR_INIT;
    char *standing = NULL, *text, path[PATH_MAX];

    ck_assert_int_eq(kl_home_write_once(ca_top, KL_HOME_KEYS, "k", "one\n", &standing, &err),
                     KL_ERR_NO_FILE); /* not a CA's directory */
    OK(kl_home_prepare(ca_top, &err));
    OK(kl_home_write_once(ca_top, KL_HOME_KEYS, "k", "one\n", &standing, &err));
    ck_assert_ptr_null(standing);
    OK(kl_home_write_once(ca_top, KL_HOME_KEYS, "k", "two\n", &standing, &err));
    ck_assert_str_eq(standing, "one\n");
    free(standing);
    OK(kl_home_write_once(ca_top, KL_HOME_KEYS, "k", "three\n", NULL, &err));
    text = file_read(file_path(path, ca_top, KL_HOME_KEYS "/k"), NULL);
    ck_assert_str_eq(text, "one\n");
    free(text);

    char long_name[PATH_MAX];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    ck_assert_int_eq(kl_home_write_once(ca_top, KL_HOME_KEYS, long_name, "x", NULL, &err),
                     KL_ERR_INPUT);
}
END_TEST

START_TEST(one_certificate)
{
    struct kl_err err = KL_ERR_INIT;
    char path[PATH_MAX];
    X509 *loaded = NULL;
    FILE *f = fopen(file_path(path, ca_top, "root.pem"), "we");

    PEM_write_X509(f, root);
    fflush(f);
    OK(kl_cert_load_one(path, &loaded, &err));
    ck_assert_int_eq(X509_cmp(loaded, root), 0);
    X509_free(loaded);
    loaded = NULL;
    PEM_write_X509(f, root);
    fclose(f);
    ck_assert_int_eq(kl_cert_load_one(path, &loaded, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_int_eq(kl_cert_load_one("/nonexistent", &loaded, &err), KL_ERR_NO_FILE);
    ck_assert_ptr_null(loaded);
}
END_TEST

/* ---- The key in a file ---- */

static const struct {
    enum kl_key_type type;
    unsigned bits;
} key_kinds[] = {
    {KL_KEY_RSA, 2048}, {KL_KEY_RSA, 3072}, {KL_KEY_EC, 256}, {KL_KEY_EC, 384}, {KL_KEY_EC, 521}};

START_TEST(key_file)
{
    enum kl_key_type type = key_kinds[_i].type, is_type;
    unsigned bits = key_kinds[_i].bits, is_bits;
    struct kl_err err = KL_ERR_INIT;
    char pass[PATH_MAX], source[PATH_MAX + 8], path[PATH_MAX];
    struct kl_ca_conf conf;
    struct kl_cakey *key = NULL;
    struct stat st;

    file_write(file_path(pass, ca_top, "pass"), "twelve-bytes\n", 13, 0600);
    snprintf(source, sizeof source, "file:%s", pass);
    conf = pem_conf(source);
    OK(kl_cakey_generate(&conf, ca_top, type, bits, &key, &err));
    OK(kl_pubkey_type(kl_signer_public(kl_cakey_signer(key)), &is_type, &is_bits, &err));
    ck_assert(is_type == type && is_bits == bits);
    X509 *certified = ca_root(root_key, 1, 0);
    X509_set_pubkey(certified, kl_signer_public(kl_cakey_signer(key)));
    kl_cakey_free(key);
    key = NULL;

    ck_assert_int_eq(stat(file_path(path, ca_top, "root-key.pem"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777u, 0600);
    char *text = file_read(path, NULL);
    ck_assert_ptr_nonnull(strstr(text, "-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    free(text);
    ck_assert_int_eq(kl_cakey_generate(&conf, ca_top, type, bits, &key, &err), KL_ERR_EXISTS);

    OK(kl_cakey_open(&conf, ca_top, certified, &key, &err));
    kl_cakey_free(key);
    key = NULL;
    ck_assert_int_eq(kl_cakey_open(&conf, ca_top, root, &key, &err), KL_ERR_KEY);
    file_write(pass, "twelve-bytes2\n", 14, 0600);
    ck_assert_int_eq(kl_cakey_open(&conf, ca_top, certified, &key, &err), KL_ERR_PIN);
    file_write(path, "x\n", 2, 0600);
    ck_assert_int_eq(kl_cakey_open(&conf, ca_top, certified, &key, &err), KL_ERR_INPUT);
    ck_assert_ptr_null(key);
    X509_free(certified);
}
END_TEST

START_TEST(key_file_discard)
{
    struct kl_err err = KL_ERR_INIT;
    char pass[PATH_MAX], source[PATH_MAX + 8], path[PATH_MAX];
    struct kl_ca_conf conf;
    struct kl_cakey *key = NULL;

    file_write(file_path(pass, ca_top, "pass"), "elevenbytes\n", 12, 0600);
    snprintf(source, sizeof source, "file:%s", pass);
    conf = pem_conf(source);
    ck_assert_int_eq(kl_cakey_generate(&conf, ca_top, KL_KEY_RSA, 2048, &key, &err),
                     KL_ERR_REFUSED);
    ck_assert_int_ne(access(file_path(path, ca_top, "root-key.pem"), F_OK), 0);
    file_write(pass, "twelve-bytes\n", 13, 0600);
    OK(kl_cakey_generate(&conf, ca_top, KL_KEY_RSA, 2048, &key, &err));
    ck_assert_int_eq(access(path, F_OK), 0);
    kl_cakey_discard(key, &err);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ca");
    TCase *tc = tcase_create("ca");

    tcase_add_unchecked_fixture(tc, once, forget);
    tcase_add_checked_fixture(tc, ca_begin, ca_end);
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, names, 0, sizeof name_cases / sizeof name_cases[0]);
    tcase_add_test(tc, name_too_long);
    tcase_add_test(tc, root_profile);
    tcase_add_test(tc, conf_round_trip);
    tcase_add_test(tc, conf_values_refused);
    tcase_add_test(tc, conf_file_refused);
    tcase_add_test(tc, records);
    tcase_add_test(tc, write_once);
    tcase_add_test(tc, one_certificate);
    tcase_add_loop_test(tc, key_file, 0, sizeof key_kinds / sizeof key_kinds[0]);
    tcase_add_test(tc, key_file_discard);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
