/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CA centre's parts: names, certificate profiles, conditions on requests, its directory and
 * its key in an encrypted file. The programs as a whole are in integration/test_ceremony.c.
 */
#include <check.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ca/ca.h"
#include "ca/cakey.h"
#include "ca/home.h"
#include "ca/profile.h"
#include "conf/certfile.h"
#include "conf/report.h"
#include "proto/cert.h"
#include "proto/name.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#define DAY 86400
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

/* ---- Profiles ---- */

static EVP_PKEY *root_key, *work_key;
static X509 *root;
static char dir[PATH_MAX];

static X509_NAME *name_of(const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    X509_NAME *name = NULL;
    OK(kl_name_parse(text, &name, &err));
    return name;
}

static X509 *make_root(EVP_PKEY *key, int days, int64_t now)
{
    struct kl_err err = KL_ERR_INIT;
    X509_NAME *name = name_of("/O=Bank/CN=Root");
    X509 *cert = NULL;
    OK(kl_profile_root(name, key, days, now, &cert, &err));
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    X509_NAME_free(name);
    return cert;
}

static X509_REQ *make_request(EVP_PKEY *key, const char *subject)
{
    X509_REQ *request = X509_REQ_new();
    X509_NAME *name = name_of(subject);
    X509_REQ_set_version(request, X509_REQ_VERSION_1);
    X509_REQ_set_subject_name(request, name);
    X509_REQ_set_pubkey(request, key);
    X509_NAME_free(name);
    return request;
}

static void sign_pss(X509_REQ *request, EVP_PKEY *key, const EVP_MD *hash, const EVP_MD *mgf)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx;
    ck_assert_int_eq(EVP_DigestSignInit(ctx, &pctx, hash, NULL, key), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, mgf), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
    ck_assert_int_gt(X509_REQ_sign_ctx(request, ctx), 0);
    EVP_MD_CTX_free(ctx);
}

static void begin(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/kl-ca.XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void end(void)
{
    file_remove_tree(dir);
}

static void once(void)
{
    root_key = EVP_RSA_gen(2048);
    work_key = EVP_RSA_gen(2048);
    root = make_root(root_key, 100, (int64_t)time(NULL) - 60);
}

static void forget(void)
{
    X509_free(root);
    EVP_PKEY_free(work_key);
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

START_TEST(work_profile)
{
    struct kl_err err = KL_ERR_INIT;
    int64_t now = (int64_t)time(NULL), from, to;
    X509_REQ *request = make_request(work_key, "/O=Bank/CN=Loader");
    X509 *cert = NULL;
    STACK_OF(X509) *chain = sk_X509_new_null();

    sign_pss(request, work_key, EVP_sha256(), EVP_sha256());
    OK(kl_profile_check_request(request, root, &err));
    OK(kl_profile_work(request, root, 30, now, &cert, &err));
    ck_assert_int_gt(X509_sign(cert, root_key, EVP_sha256()), 0);
    sk_X509_push(chain, cert);
    OK(kl_cert_verify_loader(chain, root, (time_t)now, &err)); /* usages, exactly and critical */
    ck_assert(is_critical(cert, NID_basic_constraints) && is_critical(cert, NID_key_usage));
    ck_assert_int_eq(ASN1_OCTET_STRING_cmp(X509_get0_subject_key_id(root),
                                           X509_get0_authority_key_id(cert)),
                     0);
    ck_assert_int_eq(X509_get_ext_count(cert), 5);
    OK(kl_asn1_time_unix(X509_get0_notBefore(cert), &from, &err));
    OK(kl_asn1_time_unix(X509_get0_notAfter(cert), &to, &err));
    ck_assert_int_eq(from, now);
    ck_assert_int_eq(to, now + 30 * DAY);
    sk_X509_pop_free(chain, X509_free);
    X509_REQ_free(request);
}
END_TEST

START_TEST(serials)
{
    struct kl_err err = KL_ERR_INIT;
    X509_REQ *request = make_request(work_key, "/CN=Loader");
    char serial[KL_SERIAL_HEX], previous[KL_SERIAL_HEX] = "";

    for (int i = 0; i < 64; i++) {
        X509 *cert = NULL;
        OK(kl_profile_work(request, root, 1, (int64_t)time(NULL), &cert, &err));
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
    X509_REQ *request = make_request(work_key, "/CN=Loader");
    X509 *cert = NULL;

    ck_assert_int_eq(kl_profile_work(request, root, 100, now, &cert, &err), KL_ERR_REFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, "at most 99 days"));
    ck_assert_int_eq(kl_profile_work(request, root, 1, now + 101 * DAY, &cert, &err),
                     KL_ERR_REFUSED);
    ck_assert_int_eq(kl_profile_work(request, root, 1, now - 2 * DAY, &cert, &err), KL_ERR_REFUSED);
    ck_assert_ptr_null(cert);
    OK(kl_profile_work(request, root, 99, now, &cert, &err));
    X509_free(cert);
    X509_REQ_free(request);
}
END_TEST

/* ---- Requests ---- */

static void refused(X509_REQ *request, enum kl_rc rc, const char *words)
{
    struct kl_err err = KL_ERR_INIT;
    ck_assert_int_eq(kl_profile_check_request(request, root, &err), rc);
    ck_assert_msg(strstr(err.text, words) != NULL, "\"%s\" is not in: %s", words, err.text);
    X509_REQ_free(request);
}

START_TEST(request_hashes)
{
    struct kl_err err = KL_ERR_INIT;
    X509_REQ *request = make_request(work_key, "/CN=Loader");

    X509_REQ_sign(request, work_key, EVP_sha384());
    OK(kl_profile_check_request(request, root, &err));
    sign_pss(request, work_key, EVP_sha512(), EVP_sha256());
    OK(kl_profile_check_request(request, root, &err));
    X509_REQ_free(request);
    /* SHA-1 is what absent fields mean; SHA-224 stands there in full. */
    const EVP_MD *const weak[] = {EVP_sha1(), EVP_sha224()};
    for (size_t i = 0; i < 2; i++) {
        request = make_request(work_key, "/CN=Loader");
        sign_pss(request, work_key, weak[i], EVP_sha256());
        refused(request, KL_ERR_CERT, "RSA-PSS with a hash other than SHA-2");
        request = make_request(work_key, "/CN=Loader");
        sign_pss(request, work_key, EVP_sha256(), weak[i]);
        refused(request, KL_ERR_CERT, "RSA-PSS with a hash other than SHA-2");
    }
    request = make_request(work_key, "/CN=Loader");
    X509_REQ_sign(request, work_key, EVP_sha1());
    refused(request, KL_ERR_CERT, "sha1");
    request = make_request(work_key, "/CN=Loader");
    X509_REQ_sign(request, work_key, EVP_sha224());
    refused(request, KL_ERR_CERT, "sha224");
}
END_TEST

START_TEST(request_keys_and_names)
{
    X509_REQ *request = make_request(work_key, "/CN=Loader");
    EVP_PKEY *ec = EVP_EC_gen("P-256"), *weak = EVP_RSA_gen(1024);

    sign_pss(request, root_key, EVP_sha256(), EVP_sha256()); /* somebody else's signature */
    refused(request, KL_ERR_VERIFY, "own signature is wrong");
    request = make_request(weak, "/CN=Loader");
    X509_REQ_sign(request, weak, EVP_sha256());
    refused(request, KL_ERR_CERT, "1024");
    request = make_request(ec, "/CN=Loader");
    X509_REQ_sign(request, ec, EVP_sha256());
    refused(request, KL_ERR_CERT, "must be RSA");
    request = make_request(work_key, "/O=Bank/CN=Root");
    sign_pss(request, work_key, EVP_sha256(), EVP_sha256());
    refused(request, KL_ERR_CERT, "subject is the CA's own");
    request = make_request(root_key, "/CN=Loader");
    sign_pss(request, root_key, EVP_sha256(), EVP_sha256());
    refused(request, KL_ERR_CERT, "key is the CA's own");
    request = X509_REQ_new();
    X509_REQ_set_version(request, X509_REQ_VERSION_1);
    X509_REQ_set_pubkey(request, work_key);
    sign_pss(request, work_key, EVP_sha256(), EVP_sha256());
    refused(request, KL_ERR_CERT, "no subject");
    request = make_request(work_key, "/CN=Loader");
    X509_REQ_set_version(request, 1);
    sign_pss(request, work_key, EVP_sha256(), EVP_sha256());
    refused(request, KL_ERR_CERT, "not of version 1");
    EVP_PKEY_free(ec);
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
    X509_REQ *request = make_request(work_key, "/CN=Loader");
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    X509 *cert = NULL;

    sk_X509_EXTENSION_push(list, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:x"));
    sk_X509_EXTENSION_push(list, X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage,
                                                     "critical," KL_OID_EKU_TERMINAL));
    ck_assert_int_eq(X509_REQ_add_extensions(request, list), 1);
    X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword, MBSTRING_ASC,
                              (const unsigned char *)"x", 1);
    X509_REQ_sign(request, work_key, EVP_sha256());
    OK(kl_profile_check_request(request, root, &err));
    kl_profile_each_ignored(request, collect, told);
    ck_assert_str_eq(told, "X509v3 Subject Alternative Name;X509v3 Extended Key Usage;"
                           "challengePassword;");
    OK(kl_profile_work(request, root, 1, (int64_t)time(NULL), &cert, &err));
    ck_assert_int_eq(X509_get_ext_count(cert), 5);
    X509_free(cert);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    X509_REQ_free(request);
}
END_TEST

START_TEST(request_file)
{
    struct kl_err err = KL_ERR_INIT;
    char path[PATH_MAX];
    X509_REQ *request = make_request(work_key, "/CN=Loader"), *loaded = NULL;
    FILE *f = fopen(file_path(path, dir, "two.csr"), "we");

    X509_REQ_sign(request, work_key, EVP_sha256());
    PEM_write_X509_REQ(f, request);
    fflush(f);
    OK(kl_profile_load_request(path, &loaded, &err));
    X509_REQ_free(loaded);
    loaded = NULL;
    PEM_write_X509_REQ(f, request);
    fclose(f);
    ck_assert_int_eq(kl_profile_load_request(path, &loaded, &err), KL_ERR_INPUT);
    ck_assert_ptr_null(loaded);
    ck_assert_int_eq(kl_profile_load_request("/nonexistent", &loaded, &err), KL_ERR_NO_FILE);
    X509_REQ_free(request);
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

    OK(kl_home_save_conf(dir, &in, &err));
    OK(kl_home_load_conf(dir, &out, &err));
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
        ck_assert_msg(kl_home_save_conf(dir, &in, &err) == KL_ERR_INPUT, "\"%s\"", bad[i]);
        ck_assert_int_ne(access(file_path(path, dir, "ca.conf"), F_OK), 0);
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
        file_write(file_path(path, dir, "ca.conf"), bad[i], strlen(bad[i]), 0644);
        ck_assert_msg(kl_home_load_conf(dir, &out, &err) == KL_ERR_CONFIG, "%s", bad[i]);
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

    ck_assert_int_eq(kl_home_each(dir, count, &n, &err), KL_ERR_NO_FILE); /* not a CA's directory */
    OK(kl_home_prepare(dir, &err));
    OK(kl_home_record(dir, root, &err));
    ck_assert_int_eq(kl_home_record(dir, root, &err), KL_ERR_EXISTS);
    OK(kl_home_each(dir, count, &n, &err));
    ck_assert_int_eq(n, 1);
    OK(kl_cert_serial_hex(root, serial, &err));
    for (char *p = serial; *p; p++) {
        *p = (char)(*p >= 'A' ? *p + 32 : *p);
    }
    OK(kl_home_find(dir, serial, &found, &err));
    ck_assert_int_eq(X509_cmp(found, root), 0);
    X509_free(found);
    ck_assert_int_eq(kl_home_find(dir, "01", &found, &err), KL_ERR_NOT_FOUND);
    ck_assert_int_eq(kl_home_find(dir, "../root", &found, &err), KL_ERR_INPUT);
    ck_assert_int_eq(kl_home_find(dir, "", &found, &err), KL_ERR_INPUT);

    OK(kl_home_save_root(dir, root, &err));
    ck_assert_int_eq(kl_home_save_root(dir, root, &err), KL_ERR_EXISTS);
    ck_assert_int_eq(kl_home_prepare(dir, &err), KL_ERR_EXISTS);
}
END_TEST

START_TEST(one_certificate)
{
    struct kl_err err = KL_ERR_INIT;
    char path[PATH_MAX];
    X509 *loaded = NULL;
    FILE *f = fopen(file_path(path, dir, "root.pem"), "we");

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

/* ---- sign --out ---- */

static int issued(void)
{
    struct kl_err err = KL_ERR_INIT;
    int n = 0;

    OK(kl_home_each(dir, count, &n, &err));
    return n;
}

static enum kl_rc sign_to(const char *csr, const char *out, const char *more, struct kl_err *err)
{
    const char *argv[] = {"sign", "--dir",  dir,  "--csr", csr, "--out",
                          out,    "--days", "10", more,    NULL};

    return kl_ca_cmd_sign(more ? 10 : 9, (char **)argv, err);
}

/* --out that cannot take the certificate is refused before there is one. */
START_TEST(sign_out)
{
    struct kl_err err = KL_ERR_INIT;
    char pass[PATH_MAX], source[PATH_MAX + 8], csr[PATH_MAX], out[PATH_MAX], *text;
    const char *init[] = {"init",   "--dir", dir,     "--subject", "CN=Root",      "--days", "99",
                          "--bits", "2048",  "--pem", "--json",    "--pin-source", source,   NULL};
    X509_REQ *request = make_request(work_key, "/CN=Loader");
    FILE *f = fopen(file_path(csr, dir, "one.csr"), "we");

    X509_REQ_sign(request, work_key, EVP_sha256());
    PEM_write_X509_REQ(f, request);
    fclose(f);
    X509_REQ_free(request);
    file_write(file_path(pass, dir, "pass"), "twelve-bytes\n", 13, 0600);
    snprintf(source, sizeof source, "file:%s", pass);
    ck_assert_ptr_nonnull(freopen(file_path(out, dir, "stdout"), "we", stdout));
    OK(kl_ca_cmd_init(13, (char **)init, &err));

    ck_assert_int_eq(sign_to(csr, file_path(out, dir, "none/w.pem"), NULL, &err), KL_ERR_NO_FILE);
    ck_assert_int_eq(sign_to(csr, dir, "--force", &err), KL_ERR_INPUT);
    ck_assert_int_eq(sign_to(csr, pass, NULL, &err), KL_ERR_EXISTS);
    ck_assert_int_eq(sign_to(csr, "-", "--json", &err), KL_ERR_USAGE);
    ck_assert_int_eq(issued(), 0);
    OK(sign_to(csr, file_path(out, dir, "w.pem"), NULL, &err));
    ck_assert_int_eq(issued(), 1);

    ck_assert_ptr_nonnull(freopen(file_path(out, dir, "piped.pem"), "we", stdout));
    OK(sign_to(csr, "-", NULL, &err));
    ck_assert_int_eq(issued(), 2);
    text = file_read(out, NULL);
    ck_assert_int_eq(strncmp(text, "-----BEGIN CERTIFICATE-----", 27), 0);
    ck_assert_str_eq(strstr(text, "-----END"), "-----END CERTIFICATE-----\n");
    free(text);
}
END_TEST

/* ---- The key in a file ---- */

START_TEST(key_file)
{
    struct kl_err err = KL_ERR_INIT;
    char pass[PATH_MAX], source[PATH_MAX + 8], path[PATH_MAX];
    struct kl_ca_conf conf;
    struct kl_cakey *key = NULL;
    struct stat st;

    file_write(file_path(pass, dir, "pass"), "twelve-bytes\n", 13, 0600);
    snprintf(source, sizeof source, "file:%s", pass);
    conf = pem_conf(source);
    OK(kl_cakey_generate(&conf, dir, 2048, &key, &err));
    X509 *certified = make_root(root_key, 1, 0);
    X509_set_pubkey(certified, kl_signer_public(kl_cakey_signer(key)));
    kl_cakey_free(key);
    key = NULL;

    ck_assert_int_eq(stat(file_path(path, dir, "root-key.pem"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777u, 0600);
    char *text = file_read(path, NULL);
    ck_assert_ptr_nonnull(strstr(text, "-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    free(text);
    ck_assert_int_eq(kl_cakey_generate(&conf, dir, 2048, &key, &err), KL_ERR_EXISTS);

    OK(kl_cakey_open(&conf, dir, certified, &key, &err));
    kl_cakey_free(key);
    key = NULL;
    ck_assert_int_eq(kl_cakey_open(&conf, dir, root, &key, &err), KL_ERR_KEY);
    file_write(pass, "twelve-bytes2\n", 14, 0600);
    ck_assert_int_eq(kl_cakey_open(&conf, dir, certified, &key, &err), KL_ERR_PIN);
    file_write(path, "x\n", 2, 0600);
    ck_assert_int_eq(kl_cakey_open(&conf, dir, certified, &key, &err), KL_ERR_KEY);
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

    file_write(file_path(pass, dir, "pass"), "elevenbytes\n", 12, 0600);
    snprintf(source, sizeof source, "file:%s", pass);
    conf = pem_conf(source);
    ck_assert_int_eq(kl_cakey_generate(&conf, dir, 2048, &key, &err), KL_ERR_REFUSED);
    ck_assert_int_ne(access(file_path(path, dir, "root-key.pem"), F_OK), 0);
    file_write(pass, "twelve-bytes\n", 13, 0600);
    OK(kl_cakey_generate(&conf, dir, 2048, &key, &err));
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
    tcase_add_checked_fixture(tc, begin, end);
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, names, 0, sizeof name_cases / sizeof name_cases[0]);
    tcase_add_test(tc, name_too_long);
    tcase_add_test(tc, root_profile);
    tcase_add_test(tc, work_profile);
    tcase_add_test(tc, serials);
    tcase_add_test(tc, validity_within_root);
    tcase_add_test(tc, request_hashes);
    tcase_add_test(tc, request_keys_and_names);
    tcase_add_test(tc, request_extensions);
    tcase_add_test(tc, request_file);
    tcase_add_test(tc, conf_round_trip);
    tcase_add_test(tc, conf_values_refused);
    tcase_add_test(tc, conf_file_refused);
    tcase_add_test(tc, records);
    tcase_add_test(tc, one_certificate);
    tcase_add_test(tc, sign_out);
    tcase_add_test(tc, key_file);
    tcase_add_test(tc, key_file_discard);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
