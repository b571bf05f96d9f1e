/* SPDX-License-Identifier: BSD-2-Clause */
/* A CA's directory and its commands: see cahome.h. */
#include "tests/support/cahome.h"

#include <check.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ca/ca.h"
#include "ca/profile.h"
#include "conf/report.h"
#include "proto/name.h"
#include "tests/support/hsm.h"
#include "tests/support/proc.h"

#define PATHS 32

char ca_top[PATH_MAX], ca_home[PATH_MAX];
char *ca_out, *ca_err;
static char hsm_dir[PATH_MAX];

void ca_begin(void)
{
    const char *tmp = getenv("TMPDIR");

    test_secrets();
    snprintf(ca_top, sizeof ca_top, "%s/kl-ca.XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(ca_top));
    file_path(ca_home, ca_top, "home");
}

void ca_end(void)
{
    free(ca_out);
    free(ca_err);
    ca_out = ca_err = NULL;
    file_remove_tree(ca_top);
    if (*hsm_dir) {
        test_rm_rf(hsm_dir);
        *hsm_dir = '\0';
    }
}

const char *ca_path(const char *name)
{
    static char paths[PATHS][PATH_MAX];
    static unsigned next;

    return file_path(paths[next++ % PATHS], ca_top, name);
}

X509_NAME *ca_name(const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    X509_NAME *name = NULL;

    ck_assert_msg(kl_name_parse(text, &name, &err) == KL_OK, "%s", err.text);
    return name;
}

EVP_PKEY *ca_key(const char *kind)
{
    EVP_PKEY *key =
        strncmp(kind, "RSA-", 4) == 0 ? EVP_RSA_gen((unsigned)atoi(kind + 4)) : EVP_EC_gen(kind);

    ck_assert_msg(key != NULL, "%s", kind);
    return key;
}

X509 *ca_root(EVP_PKEY *key, int days, int64_t now)
{
    struct kl_err err = KL_ERR_INIT;
    X509_NAME *name = ca_name("/O=Bank/CN=Root");
    X509 *cert = NULL;

    ck_assert_msg(kl_profile_root(name, key, days, now, &cert, &err) == KL_OK, "%s", err.text);
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    X509_NAME_free(name);
    return cert;
}

X509_REQ *ca_request(EVP_PKEY *key, const char *subject)
{
    X509_REQ *request = X509_REQ_new();
    X509_NAME *name = ca_name(subject);

    ck_assert(X509_REQ_set_version(request, X509_REQ_VERSION_1) &&
              X509_REQ_set_subject_name(request, name) && X509_REQ_set_pubkey(request, key));
    X509_NAME_free(name);
    return request;
}

void ca_sign_pss(X509_REQ *request, EVP_PKEY *key, const EVP_MD *hash, const EVP_MD *mgf)
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

static void write_request(const char *path, X509_REQ *request)
{
    FILE *f = fopen(path, "we");

    ck_assert(f && PEM_write_X509_REQ(f, request) == 1 && fclose(f) == 0);
}

void ca_request_file(const char *path, EVP_PKEY *key, const char *subject)
{
    X509_REQ *request = ca_request(key, subject);

    ck_assert_int_gt(X509_REQ_sign(request, key, EVP_sha256()), 0);
    write_request(path, request);
    X509_REQ_free(request);
}

/* ---- Commands ---- */

/* Turns a standard stream into the file and returns what it was. */
static int divert(FILE *stream, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), saved;

    fflush(stream);
    saved = fcntl(fileno(stream), F_DUPFD_CLOEXEC, 3);
    ck_assert(fd >= 0 && saved >= 0 && dup2(fd, fileno(stream)) >= 0);
    close(fd);
    return saved;
}

static void restore(FILE *stream, int saved)
{
    fflush(stream);
    ck_assert_int_ge(dup2(saved, fileno(stream)), 0);
    close(saved);
}

static enum kl_rc call(int argc, const char *const *argv, struct kl_err *err)
{
    static const struct {
        const char *name;
        enum kl_rc (*fn)(int argc, char **argv, struct kl_err *err);
    } commands[] = {
        {"init", kl_ca_cmd_init},     {"sign", kl_ca_cmd_sign}, {"terminal", kl_ca_cmd_terminal},
        {"revoke", kl_ca_cmd_revoke}, {"crl", kl_ca_cmd_crl},   {"list", kl_ca_cmd_list},
        {"show", kl_ca_cmd_show},
    };
    char *args[PROC_ARGS]; /* getopt moves them */

    ck_assert_int_lt(argc, PROC_ARGS);
    memcpy(args, argv, (size_t)(argc + 1) * sizeof *args);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, argv[0]) == 0) {
            return commands[i].fn(argc, args, err);
        }
    }
    ck_abort_msg("no command %s", argv[0]);
    return KL_ERR_INTERNAL;
}

void ca_must_end(enum kl_rc rc, const char *words, const char *const *argv)
{
    struct kl_err err = KL_ERR_INIT;
    char out[PATH_MAX], notes[PATH_MAX];
    int argc = 0, saved_out, saved_err;
    enum kl_rc got;

    while (argv[argc]) {
        argc++;
    }
    saved_out = divert(stdout, file_path(out, ca_top, "stdout"));
    saved_err = divert(stderr, file_path(notes, ca_top, "stderr"));
    got = call(argc, argv, &err);
    restore(stderr, saved_err);
    restore(stdout, saved_out);
    free(ca_out);
    free(ca_err);
    ca_out = file_read(out, NULL);
    ca_err = file_read(notes, NULL);
    ck_assert_msg(got == rc, "%s: %s, not %s: %s", argv[0], kl_rc_name(got), kl_rc_name(rc),
                  got == KL_OK ? "" : err.text);
    ck_assert_msg(!words || strstr(err.text, words) || strstr(ca_err, words),
                  "\"%s\" is not in: %s%s", words, err.text, ca_err);
}

void ca_found(const char *kind, int in_token)
{
    char source[PATH_MAX + 8];
    const char *pin = in_token ? TEST_PIN : "twelve-bytes";

    snprintf(source, sizeof source, "file:%s", ca_path("pin"));
    file_write(ca_path("pin"), pin, strlen(pin), 0600);
    if (in_token) {
        test_softhsm_dir(hsm_dir, "ca", TEST_PIN);
        CA_RUN(KL_OK, NULL, "init", "--dir", ca_home, "--subject", "/O=Bank/CN=Root", "--days",
               "99", "--key", kind, "--token", "pkcs11:token=ca", "--module", test_softhsm_path(),
               "--pin-source", source);
    } else {
        CA_RUN(KL_OK, NULL, "init", "--dir", ca_home, "--subject", "/O=Bank/CN=Root", "--days",
               "99", "--key", kind, "--pem", "--pin-source", source);
    }
}

X509 *ca_load_cert(const char *path)
{
    FILE *f = fopen(path, "re");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

    ck_assert_msg(cert != NULL, "%s", path);
    fclose(f);
    return cert;
}

X509_CRL *ca_load_crl(const char *path)
{
    FILE *f = fopen(path, "re");
    X509_CRL *crl = f ? PEM_read_X509_CRL(f, NULL, NULL, NULL) : NULL;

    ck_assert_msg(crl != NULL, "%s", path);
    fclose(f);
    return crl;
}

const char *ca_serial(const X509 *cert)
{
    static char serial[KL_SERIAL_HEX];
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_cert_serial_hex(cert, serial, &err) == KL_OK, "%s", err.text);
    return serial;
}
