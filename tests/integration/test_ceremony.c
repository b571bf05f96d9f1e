/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * S1 and S2 by the real programs, acquire-ca and keyloaderctl, on SoftHSM tokens: the ceremony from
 * end to end, and everything that they must refuse, with the exit status and the words for it.
 *
 * Two acquirers: A keeps its key in an encrypted file, so that the test can sign with it what
 * acquire-ca never would; B keeps it in a token. The loader of most tests belongs to A.
 */
#include <check.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/cert.h"
#include "tests/support/hsm.h"
#include "tests/support/lab.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#define SECONDS 60
#define PIN "739251860"
#define WRONG_PIN "184029375"
#define PASSPHRASE "correct-horse-battery-staple"

static char top[PATH_MAX], logs[PATH_MAX];
static char a_home[PATH_MAX], b_home[PATH_MAX], a_root[PATH_MAX], b_root[PATH_MAX];
static char loader_env[PATH_MAX + 32], ca_env[PATH_MAX + 32]; /* SOFTHSM2_CONF=... */
static char pin_source[PATH_MAX + 8], so_source[PATH_MAX + 8], pass_source[PATH_MAX + 8];
static char csr[PATH_MAX];                            /* of the loader's work key */
static char good[PATH_MAX], other_acquirer[PATH_MAX]; /* that request, signed by A and by B */

/* ---- Running programs ---- */

static const char *program(const char *name)
{
    static char path[PATH_MAX];
    const char *dir = getenv("KL_BIN_DIR");
    char relative[64];

    if (dir)
        return file_path(path, dir, name);
    snprintf(relative, sizeof relative, "bin/%s", name);
    return lab_built(relative);
}

static char *last_out, *last_err; /* of the last run */

static int run(const char *env, const char *const *argv)
{
    struct proc proc;
    const char *envs[] = {env, NULL};

    proc_spawn(&proc, logs, envs, argv);
    int status = proc_wait(&proc, SECONDS);
    free(last_out);
    free(last_err);
    last_out = file_read(proc.out, NULL);
    last_err = file_read(proc.err, NULL);
    return status;
}

/* The program must end with that status and, unless it is 0, say `words` on stderr. */
static void must_end(int status, const char *words, const char *env, const char *const *argv)
{
    int got = run(env, argv);

    ck_assert_msg(got == status, "%s %s: status %d, not %d: %s", argv[0], argv[1], got, status,
                  last_err);
    if (words)
        ck_assert_msg(strstr(last_err, words) != NULL, "\"%s\" is not in: %s", words, last_err);
}
#define CA(status, words, ...) \
    must_end(status, words, ca_env, (const char *const[]){program("acquire-ca"), __VA_ARGS__, NULL})
#define CTL(status, words, conf, ...) \
    must_end(status, words, loader_env, \
             (const char *const[]){program("keyloaderctl"), "-c", conf, __VA_ARGS__, NULL})

/* ---- Files ---- */

static char *in_top(char out[PATH_MAX], const char *name)
{
    return file_path(out, top, name);
}

static void softhsm_home(const char *name, char env[PATH_MAX + 32])
{
    char dir[PATH_MAX], tokens[PATH_MAX], path[PATH_MAX], conf[PATH_MAX + 128];

    file_mkdir(in_top(dir, name));
    file_mkdir(file_path(tokens, dir, "tokens"));
    int len = snprintf(conf, sizeof conf,
                       "directories.tokendir = %s\nobjectstore.backend = file\n"
                       "log.level = ERROR\n",
                       tokens);
    file_write(file_path(path, dir, "softhsm2.conf"), conf, (size_t)len, 0600);
    snprintf(env, PATH_MAX + 32, "SOFTHSM2_CONF=%.4000s", path);
}

static void secret_file(const char *name, const char *text, unsigned mode, char source[])
{
    char path[PATH_MAX];

    file_write(in_top(path, name), text, strlen(text), mode);
    chmod(path, mode);
    snprintf(source, PATH_MAX + 8, "file:%s", path);
}

/* A loader's configuration in top/NAME.conf, its work certificate being top/NAME.pem. */
static char *config(char out[PATH_MAX], const char *name, const char *module, const char *token,
                    const char *pin, const char *root)
{
    char file[64];
    FILE *f;

    snprintf(file, sizeof file, "%s.conf", name);
    f = fopen(in_top(out, file), "we");
    ck_assert_ptr_nonnull(f);
    fprintf(f,
            "[hsm]\nmodule = %s\ntoken = %s\npin-source = %s\n"
            "[certificates]\nroot = %s\nwork = %s/%s.pem\n",
            module, token, pin, root, top, name);
    ck_assert_int_eq(fclose(f), 0);
    return out;
}

static char *plain_config(char out[PATH_MAX], const char *name)
{
    return config(out, name, test_softhsm_path(), "pkcs11:token=loader", pin_source, a_root);
}

static X509 *read_cert(const char *path)
{
    FILE *f = fopen(path, "re");
    ck_assert_msg(f != NULL, "cannot open %s", path);
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    ck_assert_ptr_nonnull(cert);
    return cert;
}

static void same_files(const char *a, const char *b)
{
    char *one = file_read(a, NULL), *two = file_read(b, NULL);
    ck_assert_str_eq(one, two);
    free(one);
    free(two);
}

static json_t *last_json(void)
{
    json_t *value = json_loads(last_out, 0, NULL);
    ck_assert_msg(value != NULL, "not JSON: %s", last_out);
    return value;
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    ck_assert_msg(text != NULL, "no string \"%s\"", key);
    return text;
}

/* ---- Once: two CAs, a loader's token with its keys, its request and A's certificate ---- */

static void found(void)
{
    const char *tmp = getenv("TMPDIR"), *module = test_softhsm_path();
    char conf[PATH_MAX];

    snprintf(top, sizeof top, "%s/kl-ceremony.XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(top));
    file_mkdir(in_top(logs, "log"));
    in_top(a_home, "A");
    in_top(b_home, "B");
    file_path(a_root, a_home, "root.pem");
    file_path(b_root, b_home, "root.pem");
    in_top(csr, "work.csr");
    in_top(good, "good.pem");
    in_top(other_acquirer, "other.pem");
    softhsm_home("hsm", loader_env);
    softhsm_home("ca", ca_env);
    secret_file("pin", PIN "\n", 0600, pin_source);
    secret_file("so-pin", "5550" PIN "\n", 0600, so_source);
    secret_file("passphrase", PASSPHRASE "\n", 0600, pass_source);

    CA(0, NULL, "init", "--dir", a_home, "--subject", "/C=CN/O=Bank A/CN=Root", "--days", "3650",
       "--bits", "2048", "--pem", "--pin-source", pass_source);
    CA(0, NULL, "token-init", "--module", module, "--label", "ca", "--so-pin-source", so_source,
       "--pin-source", pin_source);
    CA(0, NULL, "init", "--dir", b_home, "--subject", "CN=Root,O=Bank B,C=CN", "--days", "3650",
       "--bits", "2048", "--token", "pkcs11:token=ca", "--module", module, "--pin-source",
       pin_source);

    plain_config(conf, "founder");
    CTL(0, NULL, conf, "token", "init", "--so-pin-source", so_source);
    CTL(0, NULL, conf, "key", "generate", "--bits", "2048");
    CTL(0, NULL, conf, "key", "csr", "--subject", "/O=Bank A/CN=Loader 1", "--out", csr);
    CA(0, NULL, "sign", "--dir", a_home, "--csr", csr, "--out", good, "--days", "365");
    CA(0, NULL, "sign", "--dir", b_home, "--csr", csr, "--out", other_acquirer, "--days", "365");
}

static void abandon(void)
{
    file_remove_tree(top);
}

/* ---- The ceremony ---- */

START_TEST(end_to_end)
{
    char conf[PATH_MAX], work[PATH_MAX], path[PATH_MAX], name[64];
    struct kl_err err = KL_ERR_INIT;
    STACK_OF(X509) *chain = NULL;
    X509 *root = read_cert(a_root);

    plain_config(conf, "e2e");
    CTL(66, "no work certificate is installed", conf, "cert", "show");
    CTL(0, NULL, conf, "cert", "install", good);
    same_files(in_top(work, "e2e.pem"), good);
    ck_assert_int_eq(kl_cert_load_pem(work, &chain, &err), KL_OK);
    ck_assert_msg(kl_cert_verify_loader(chain, root, time(NULL), &err) == KL_OK, "%s", err.text);
    CTL(0, NULL, conf, "--json", "cert", "show");
    json_t *shown = last_json();
    ck_assert_str_eq(text_at(shown, "status"), "ok");

    CA(0, NULL, "list", "--dir", a_home, "--json");
    json_t *list = last_json();
    size_t at = json_array_size(list);
    const char *serial = text_at(json_object_get(shown, "certificate"), "serial");
    while (at > 0 && strcmp(text_at(json_array_get(list, at - 1), "serial"), serial) != 0)
        at--;
    ck_assert_msg(at > 0, "serial %s is not listed", serial);
    snprintf(name, sizeof name, "issued/%s.pem", serial);
    same_files(file_path(path, a_home, name), good);
    CA(0, NULL, "show", "--dir", a_home, serial);
    CA(0, NULL, "show", "--dir", a_home, "root");
    CA(66, "no certificate of serial 00FF", "show", "--dir", a_home, "00ff");
    CA(65, "neither a serial", "show", "--dir", a_home, "../root");
    json_decref(list);
    json_decref(shown);
    sk_X509_pop_free(chain, X509_free);
    X509_free(root);
}
END_TEST

START_TEST(keys_are_shown)
{
    char conf[PATH_MAX];

    CTL(0, NULL, plain_config(conf, "show"), "--json", "key", "show");
    json_t *shown = last_json(), *work = json_object_get(shown, "work_key");
    X509 *cert = read_cert(good);
    ck_assert_str_eq(text_at(work, "attributes"), "ok");
    ck_assert_str_eq(text_at(work, "type"), "RSA");
    ck_assert_int_eq(json_integer_value(json_object_get(work, "bits")), 2048);
    ck_assert_str_eq(text_at(json_object_get(shown, "storage_key"), "attributes"), "ok");
    json_decref(shown);
    X509_free(cert);

    CTL(0, NULL, conf, "key", "csr", "--subject", "CN=x", "--out", "-");
    ck_assert_int_eq(strncmp(last_out, "-----BEGIN CERTIFICATE REQUEST-----", 35), 0);
}
END_TEST

/* In a token of its own, since it destroys a key. */
START_TEST(replace)
{
    char conf[PATH_MAX], request[PATH_MAX], cert[PATH_MAX], *before;

    softhsm_home("hsm-replace", loader_env);
    plain_config(conf, "replace");
    CTL(0, NULL, conf, "token", "init", "--so-pin-source", so_source);
    CTL(73, "there is a token", conf, "token", "init", "--so-pin-source", so_source);
    /* Nothing to replace is no reason to fail, and nothing is said to be destroyed. */
    CTL(0, NULL, conf, "--json", "key", "generate", "--bits", "2048", "--replace");
    json_t *first = last_json();
    ck_assert_str_eq(text_at(first, "destroyed"), "none");
    ck_assert(json_is_true(json_object_get(first, "storage_key_made")));

    CTL(0, NULL, conf, "key", "csr", "--subject", "/CN=R", "--out", in_top(request, "r.csr"));
    CTL(73, "--force", conf, "key", "csr", "--subject", "/CN=R", "--out", request);
    CTL(0, NULL, conf, "key", "csr", "--subject", "/CN=R", "--out", request, "--force");
    CA(0, NULL, "sign", "--dir", a_home, "--csr", request, "--out", in_top(cert, "r-cert.pem"),
       "--days", "30");
    CTL(0, NULL, conf, "cert", "install", cert);

    CTL(73, "--replace", conf, "key", "generate");
    CTL(64, "--bits", conf, "key", "generate", "--replace", "--bits", "1024");
    CTL(0, NULL, conf, "--json", "key", "show");
    json_t *kept = last_json();
    ck_assert_str_eq(text_at(json_object_get(kept, "work_key"), "spki_sha256"),
                     text_at(first, "spki_sha256"));

    CTL(0, "is useless now", conf, "--json", "key", "generate", "--bits", "2048", "--replace");
    ck_assert_ptr_nonnull(strstr(last_err, text_at(first, "spki_sha256")));
    json_t *second = last_json();
    ck_assert_str_eq(text_at(second, "destroyed"), text_at(first, "spki_sha256"));
    ck_assert(json_is_false(json_object_get(second, "storage_key_made")));
    ck_assert_str_ne(text_at(second, "spki_sha256"), text_at(first, "spki_sha256"));
    /* The old certificate is of another key now. */
    CTL(76, "another key", conf, "cert", "install", cert, "--force");

    before = file_read(cert, NULL);
    CTL(0, NULL, conf, "key", "csr", "--subject", "/CN=R", "--out", request, "--force");
    CA(73, "--force", "sign", "--dir", a_home, "--csr", request, "--out", cert, "--days", "30");
    char *after = file_read(cert, NULL);
    ck_assert_str_eq(before, after);
    CA(0, NULL, "sign", "--dir", a_home, "--csr", request, "--out", cert, "--days", "30",
       "--force");
    CTL(73, "--force", conf, "cert", "install", cert);
    CTL(0, NULL, conf, "cert", "install", cert, "--force");
    CTL(0, NULL, conf, "cert", "install", cert); /* again, the same: nothing to do */
    free(before);
    free(after);
    json_decref(first);
    json_decref(kept);
    json_decref(second);
}
END_TEST

/* ---- Certificates that are refused ---- */

static EVP_PKEY *a_key(void)
{
    char path[PATH_MAX], passphrase[] = PASSPHRASE;
    FILE *f = fopen(file_path(path, a_home, "root-key.pem"), "re");
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
    if (!value)
        return;
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
    ck_assert_msg(access(in_top(path, work), F_OK) != 0, "%s was written", work);
}

START_TEST(bad_certificate)
{
    char conf[PATH_MAX], path[PATH_MAX], work[64];
    X509 *cert = read_cert(good);
    EVP_PKEY *key = a_key();

    snprintf(work, sizeof work, "%s-bad.pem", bad_certs[_i].name);
    in_top(path, work);
    bad_certs[_i].change(cert);
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    write_cert(path, cert);
    snprintf(work, sizeof work, "%s.pem", bad_certs[_i].name);
    refuse_install(plain_config(conf, bad_certs[_i].name), path, bad_certs[_i].words, work);
    EVP_PKEY_free(key);
    X509_free(cert);
}
END_TEST

START_TEST(certificate_of_another_acquirer)
{
    char conf[PATH_MAX];

    plain_config(conf, "acquirer");
    refuse_install(conf, other_acquirer, "is not installed", "acquirer.pem");
    /* It is the acquirer, and nothing else, that is wrong with it. */
    config(conf, "acquirer", test_softhsm_path(), "pkcs11:token=loader", pin_source, b_root);
    CTL(0, NULL, conf, "cert", "install", other_acquirer);
}
END_TEST

START_TEST(self_signed_certificate)
{
    char conf[PATH_MAX], path[PATH_MAX];
    X509 *cert = read_cert(good);
    EVP_PKEY *key = EVP_RSA_gen(2048);

    ck_assert_int_eq(X509_set_pubkey(cert, key), 1);
    ck_assert_int_eq(X509_set_issuer_name(cert, X509_get_subject_name(cert)), 1);
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    write_cert(in_top(path, "selfsigned-bad.pem"), cert);
    refuse_install(plain_config(conf, "selfsigned"), path, "is not installed", "selfsigned.pem");
    refuse_install(conf, a_root, "is the root itself", "selfsigned.pem");
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

    CA(0, NULL, "list", "--dir", a_home);
    char *before = strdup(last_out);
    CA(status, words, "sign", "--dir", a_home, "--csr", path, "--out", in_top(out, "never.pem"),
       "--days", "30");
    ck_assert_int_ne(access(out, F_OK), 0);
    CA(0, NULL, "list", "--dir", a_home);
    ck_assert_str_eq(before, last_out);
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
        make_request(in_top(path, "bad.csr"), cases[i].bits, cases[i].hash(), cases[i].nid,
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
    FILE *f = fopen(csr, "re");
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
    write_request(in_top(path, "tampered.csr"), request);
    refuse_request(path, 76, "own signature is wrong");
    X509_REQ_free(request);
    OPENSSL_free(der);
}
END_TEST

START_TEST(another_key)
{
    char path[PATH_MAX], cert[PATH_MAX], conf[PATH_MAX];

    make_request(in_top(path, "ignored.csr"), 2048, EVP_sha256(), NID_subject_alt_name, "DNS:x");
    CA(0, "ignored: the request asks for X509v3 Subject Alternative Name", "sign", "--dir", a_home,
       "--csr", path, "--out", in_top(cert, "other-key.pem"), "--days", "30");
    X509 *made = read_cert(cert);
    ck_assert_int_eq(X509_get_ext_by_NID(made, NID_subject_alt_name, -1), -1);
    X509_free(made);
    refuse_install(plain_config(conf, "otherkey"), cert, "another key", "otherkey.pem");
}
END_TEST

START_TEST(too_long)
{
    char out[PATH_MAX];

    CA(77, "would outlive the root", "sign", "--dir", a_home, "--csr", csr, "--out",
       in_top(out, "long.pem"), "--days", "3651");
    CA(64, "--days", "sign", "--dir", a_home, "--csr", csr, "--out", out, "--days", "0");
}
END_TEST

START_TEST(ca_is_never_overwritten)
{
    char *before = file_read(a_root, NULL), dir[PATH_MAX], path[PATH_MAX];

    CA(73, "there is a CA in this directory", "init", "--dir", a_home, "--subject", "/CN=x",
       "--days", "10", "--pem", "--pin-source", pass_source);
    char *after = file_read(a_root, NULL);
    ck_assert_str_eq(before, after);
    /* Nor is a key, even where the certificate is gone. */
    CA(73, "already", "init", "--dir", in_top(dir, "C"), "--subject", "/CN=x", "--days", "10",
       "--token", "pkcs11:token=ca", "--module", test_softhsm_path(), "--pin-source", pin_source);
    ck_assert_int_ne(access(file_path(path, dir, "root.pem"), F_OK), 0);
    CA(77, "at least 12 bytes", "init", "--dir", in_top(dir, "D"), "--subject", "/CN=x", "--days",
       "10", "--pem", "--pin-source", pin_source);
    ck_assert_int_ne(access(file_path(path, dir, "root-key.pem"), F_OK), 0);
    free(before);
    free(after);
}
END_TEST

/* ---- Tokens and PINs ---- */

START_TEST(missing_token)
{
    char conf[PATH_MAX];

    config(conf, "absent", test_softhsm_path(), "pkcs11:token=absent", pin_source, a_root);
    CTL(69, "no token matches", conf, "key", "show");
    config(conf, "absent", "/nonexistent.so", "pkcs11:token=loader", pin_source, a_root);
    CTL(69, "/nonexistent.so", conf, "key", "show");
    CTL(66, "nowhere.conf", "/nowhere.conf", "key", "show");
}
END_TEST

START_TEST(wrong_pin_is_tried_once)
{
    char conf[PATH_MAX], proxy[PATH_MAX], wrong[PATH_MAX + 8], log[PATH_MAX];
    char variable[PATH_MAX + 16];
    struct proc proc;

    snprintf(proxy, sizeof proxy, "%s", lab_built("tests/tools/proxy_p11.so"));
    ck_assert_msg(realpath(proxy, log) != NULL, "%s is not built", proxy);
    secret_file("wrong-pin", WRONG_PIN "\n", 0600, wrong);
    config(conf, "wrongpin", log, "pkcs11:token=loader", wrong, a_root);
    snprintf(variable, sizeof variable, "KL_PROXY_LOG=%s", in_top(log, "logins"));
    char module[PATH_MAX + 24];
    snprintf(module, sizeof module, "KL_PROXY_MODULE=%s", test_softhsm_path());
    const char *env[] = {loader_env, variable, module, NULL};
    proc_spawn(&proc, logs, env,
               (const char *const[]){program("keyloaderctl"), "-c", conf, "key", "show", NULL});
    ck_assert_int_eq(proc_wait(&proc, SECONDS), 77);
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

    secret_file("wrong-pass", "not-the-passphrase\n", 0600, wrong);
    CA(77, "does not open", "sign", "--dir", a_home, "--csr", csr, "--out", in_top(out, "w.pem"),
       "--days", "30", "--pin-source", wrong);
    ck_assert_int_ne(access(out, F_OK), 0);
}
END_TEST

START_TEST(open_pin_file)
{
    char conf[PATH_MAX], open_source[PATH_MAX + 8], out[PATH_MAX];

    secret_file("open-pin", PIN "\n", 0644, open_source);
    config(conf, "openpin", test_softhsm_path(), "pkcs11:token=loader", open_source, a_root);
    CTL(77, "lets others at it", conf, "key", "show");
    CA(77, "lets others at it", "sign", "--dir", b_home, "--csr", csr, "--out",
       in_top(out, "o.pem"), "--days", "30", "--pin-source", open_source);
}
END_TEST

START_TEST(pin_in_uri)
{
    char conf[PATH_MAX], dir[PATH_MAX];
    const char *uri = "pkcs11:token=loader?pin-value=" PIN;

    CTL(78, "pin-value", config(conf, "pinuri", test_softhsm_path(), uri, pin_source, a_root),
        "key", "show");
    ck_assert_ptr_null(strstr(last_err, PIN));
    CA(78, "pin-value", "init", "--dir", in_top(dir, "E"), "--subject", "/CN=x", "--days", "10",
       "--token", uri, "--module", test_softhsm_path());
    ck_assert_ptr_null(strstr(last_err, PIN));
    ck_assert_int_ne(access(dir, F_OK), 0);
}
END_TEST

static void has_no_secret(const char *path, void *arg)
{
    char *text = file_read(path, NULL);

    (void)arg;
    ck_assert_msg(!strstr(text, PIN) && !strstr(text, PASSPHRASE) && !strstr(text, WRONG_PIN),
                  "a secret stands in %s", path);
    free(text);
}

/* Run last: what everything above has printed, and the CAs' directories. */
START_TEST(no_secret_anywhere)
{
    file_walk(logs, has_no_secret, NULL);
    file_walk(a_home, has_no_secret, NULL);
    file_walk(b_home, has_no_secret, NULL);
}
END_TEST

START_TEST(command_line)
{
    char conf[PATH_MAX];

    plain_config(conf, "cli");
    CA(0, NULL, "--help");
    CA(0, NULL, "--version");
    CA(64, "unknown command", "frobnicate");
    CA(64, "--subject is missing", "init", "--dir", "x");
    CA(64, "either --token URI or --pem", "init", "--dir", "x", "--subject", "/CN=x", "--days",
       "1");
    CA(65, "no common name", "init", "--dir", "x", "--subject", "/O=x", "--days", "1", "--pem");
    CTL(0, NULL, conf, "--help");
    ck_assert_ptr_nonnull(strstr(last_out, "key csr --subject NAME"));
    CTL(0, NULL, conf, "key", "csr", "--help");
    CTL(64, "unknown command", conf, "key", "frobnicate");
    CTL(64, "FILE is missing", conf, "cert", "install");
    CTL(64, "one operand too many", conf, "key", "show", "x");
    CTL(64, "--frobnicate", conf, "key", "show", "--frobnicate");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ceremony");
    TCase *tc = tcase_create("ceremony");

    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, end_to_end);
    tcase_add_test(tc, keys_are_shown);
    tcase_add_test(tc, replace);
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
    tcase_add_test(tc, command_line);
    tcase_add_test(tc, no_secret_anywhere);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
