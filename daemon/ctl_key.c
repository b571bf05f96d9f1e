/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl token and key: step S1. Makes the token, AcquireWCRT_Prk/Pu and the storage key,
 * and the request that the CA signs into AcquireWCRT.
 */
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl.h"
#include "daemon/ctl_hsm.h"
#include "daemon/store.h"
#include "pkcs11/ceremony.h"
#include "pkcs11/keys.h"
#include "pkcs11/x509sign.h"
#include "proto/cert.h"
#include "proto/name.h"

/* ---- token init ---- */

static enum kl_rc token_init(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {{"so-pin-source", required_argument, NULL, 's'}, {0}};
    const struct kl_hsm_where where = kl_config_hsm(&ctl->config);
    const char *so_source = NULL, *module, *label;
    struct kl_uri *uri = NULL;
    int c;
    enum kl_rc rc;

    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        if (c != 's') {
            return kl_options_error(c, argv, err);
        }
        so_source = optarg;
    }
    rc = kl_options_operands(argc, argv, 0, "", err);
    if (rc == KL_OK) {
        rc = kl_uri_parse(where.token, &uri, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    label = kl_uri_token(uri);
    if (!label) {
        rc = kl_err_set(err, KL_ERR_CONFIG,
                        "[hsm] token: the URI must have token=LABEL for a token to be made");
    } else if ((rc = kl_hsm_module_path(&where, uri, &module, err)) == KL_OK) {
        rc = kl_ceremony_init_token(module, where.init_reserved, label, so_source,
                                    kl_hsm_pin_source(&where, uri), err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(json_pack("{s:s, s:b}", "token", label, "initialised", 1), ctl->json,
                             err);
    }
    kl_uri_free(uri);
    return rc;
}

/* ---- key generate ---- */

/* The storage key wraps every stored TMK: it is made once and never destroyed here. */
static enum kl_rc ensure_storage_key(struct kl_session *session, const char *label, int *made,
                                     struct kl_err *err)
{
    CK_OBJECT_HANDLE handle;
    enum kl_rc rc = kl_storage_key_generate(session, label, err);

    *made = rc == KL_OK;
    return rc == KL_ERR_EXISTS ? kl_storage_key_find(session, label, &handle, err) : rc;
}

/* 1 if the certificate that is installed is for this key. */
static int is_certified(const struct kl_config *config, const EVP_PKEY *key)
{
    struct kl_err ignored = KL_ERR_INIT;
    STACK_OF(X509) *chain = NULL;
    int same = kl_ctl_installed(config, &chain, &ignored) == KL_OK &&
               EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(chain, 0)), key) == 1;

    sk_X509_pop_free(chain, X509_free);
    return same;
}

/* Destroys the pair that is there, if any, and tells what that was: "" if there was none. */
static enum kl_rc destroy_old(const struct kl_config *config, struct kl_session *session,
                              char fingerprint[KL_FINGERPRINT_TEXT], int *certified,
                              struct kl_err *err)
{
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *old = NULL;
    enum kl_rc rc = kl_pair_find(session, KL_PAIR_WORK, config->work_key, &handle, &old, err);

    *certified = 0;
    *fingerprint = '\0';
    if (rc == KL_OK) {
        rc = kl_pubkey_fingerprint(old, fingerprint, err);
        *certified = is_certified(config, old);
    } else if (rc == KL_ERR_KEY) { /* none, or one that is not as it must be */
        rc = KL_OK;
    }
    EVP_PKEY_free(old);
    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_pair_destroy(session, config->work_key, err);
    if (rc == KL_ERR_KEY && *fingerprint == '\0') {
        return KL_OK; /* there is none */
    }
    if (rc == KL_OK && *fingerprint == '\0') {
        snprintf(fingerprint, KL_FINGERPRINT_TEXT, "unusable-pair");
    }
    return rc;
}

static void tell_destroyed(const struct kl_config *config, const char *fingerprint, int certified)
{
    if (*fingerprint) {
        fprintf(stderr, "keyloaderctl: destroyed the work key \"%s\", SPKI SHA-256 %s\n",
                config->work_key, fingerprint);
    }
    if (certified) {
        fprintf(stderr,
                "keyloaderctl: the installed certificate %s was for the destroyed key and is "
                "useless now: no terminal can be loaded until `key csr` has been signed by the CA "
                "and `cert install --force` has installed the new one\n",
                config->work);
    }
}

static enum kl_rc generate(const struct kl_ctl *ctl, struct kl_session *session, unsigned bits,
                           int replace, struct kl_err *err)
{
    const struct kl_config *config = &ctl->config;
    char old[KL_FINGERPRINT_TEXT] = "", fresh[KL_FINGERPRINT_TEXT];
    int storage_made, certified = 0;
    EVP_PKEY *key = NULL;
    /* First, so that a storage key that is not as it must be stops us before any harm. */
    enum kl_rc rc = ensure_storage_key(session, config->storage_key, &storage_made, err);

    if (rc == KL_OK && replace) {
        rc = destroy_old(config, session, old, &certified, err);
        if (rc == KL_OK) {
            tell_destroyed(config, old, certified);
        }
    }
    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_pair_generate(session, KL_PAIR_WORK, config->work_key, bits, &key, err);
    if (rc == KL_ERR_EXISTS && !replace) {
        return kl_err_set(err, KL_ERR_EXISTS,
                          "there is a work key \"%s\" already; --replace destroys it and the use "
                          "of its certificate",
                          config->work_key);
    }
    if (rc != KL_OK) {
        return *old ? kl_err_context(err, "the old work key is destroyed and there is no new one")
                    : rc;
    }
    rc = kl_pubkey_fingerprint(key, fresh, err);
    if (rc == KL_OK) {
        rc = kl_report_print(json_pack("{s:s, s:s, s:i, s:s, s:s, s:b, s:s}", "work_key",
                                       config->work_key, "type", EVP_PKEY_get0_type_name(key),
                                       "bits", EVP_PKEY_get_bits(key), "spki_sha256", fresh,
                                       "storage_key", config->storage_key, "storage_key_made",
                                       storage_made, "destroyed", *old ? old : "none"),
                             ctl->json, err);
    }
    EVP_PKEY_free(key);
    return rc;
}

/* Its workers would go on with handles of a key that is no more. */
static enum kl_rc refuse_while_serving(const struct kl_config *config, struct kl_err *err)
{
    int serving = 0;
    enum kl_rc rc = kl_store_claimed(config->store, &serving, err);

    if (rc == KL_OK && serving) {
        rc = kl_err_set(err, KL_ERR_BUSY,
                        "a daemon serves %s with the key to be replaced: stop keyloaderd first",
                        config->store);
    }
    return rc;
}

static enum kl_rc key_generate(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {
        {"bits", required_argument, NULL, 'b'},
        {"replace", no_argument, NULL, 'r'},
        {0},
    };
    struct kl_hsm *hsm = NULL;
    unsigned bits = 3072;
    int c, replace = 0;
    enum kl_rc rc = KL_OK;

    kl_options_begin();
    while (rc == KL_OK && (c = kl_options_next(argc, argv, options)) != -1) {
        if (c == 'b') {
            rc = kl_options_bits(optarg, &bits, err);
        } else if (c == 'r') {
            replace = 1;
        } else {
            rc = kl_options_error(c, argv, err);
        }
    }
    if (rc == KL_OK) {
        rc = kl_options_operands(argc, argv, 0, "", err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (replace && (rc = refuse_while_serving(&ctl->config, err)) != KL_OK) {
        return rc;
    }
    rc = kl_ctl_hsm_open(&ctl->config, 1, &hsm, err);
    if (rc == KL_OK) {
        rc = generate(ctl, kl_hsm_session(hsm), bits, replace, err);
    }
    kl_hsm_free(hsm);
    return rc;
}

/* ---- key show ---- */

static enum kl_rc describe_work(const struct kl_config *config, const EVP_PKEY *key, json_t **out,
                                struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT];
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = kl_pubkey_type(key, &type, &bits, err);

    if (rc == KL_OK) {
        rc = kl_pubkey_fingerprint(key, fingerprint, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    *out = json_pack("{s:s, s:s, s:s, s:i, s:s, s:b}", "label", config->work_key, "attributes",
                     "ok", "type", EVP_PKEY_get0_type_name(key), "bits", (int)bits, "spki_sha256",
                     fingerprint, "certificate_installed", is_certified(config, key));
    return KL_OK;
}

/* A key that cannot be used: what is wrong with it. */
static json_t *describe_bad(const char *label, const struct kl_err *err)
{
    return json_pack("{s:s, s:s}", "label", label, "attributes", err->text);
}

static enum kl_rc key_show(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {{0}};
    const struct kl_config *config = &ctl->config;
    struct kl_err storage_err = KL_ERR_INIT, print_err = KL_ERR_INIT;
    struct kl_hsm *hsm = NULL;
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *key = NULL;
    json_t *work = NULL, *storage = NULL;
    int c;
    enum kl_rc rc, storage_rc;

    kl_options_begin();
    if ((c = kl_options_next(argc, argv, options)) != -1) {
        return kl_options_error(c, argv, err);
    }
    if ((rc = kl_options_operands(argc, argv, 0, "", err)) != KL_OK) {
        return rc;
    }
    rc = kl_ctl_hsm_open(config, 0, &hsm, err);
    if (rc != KL_OK) {
        goto out;
    }
    rc = kl_pair_find(kl_hsm_session(hsm), KL_PAIR_WORK, config->work_key, &handle, &key, err);
    if (rc == KL_OK) {
        rc = describe_work(config, key, &work, err);
    }
    if (rc != KL_OK) {
        work = describe_bad(config->work_key, err);
    }
    storage_rc =
        kl_storage_key_find(kl_hsm_session(hsm), config->storage_key, &handle, &storage_err);
    storage = storage_rc == KL_OK
                  ? json_pack("{s:s, s:s}", "label", config->storage_key, "attributes", "ok")
                  : describe_bad(config->storage_key, &storage_err);
    /* "o" takes both, also on failure. */
    if (kl_report_print(json_pack("{s:s, s:o, s:o}", "token", kl_token_label(kl_hsm_token(hsm)),
                                  "work_key", work, "storage_key", storage),
                        ctl->json, &print_err) != KL_OK &&
        rc == KL_OK && storage_rc == KL_OK) {
        *err = print_err;
        rc = err->rc;
    } else if (rc == KL_OK && storage_rc != KL_OK) {
        *err = storage_err;
        rc = storage_rc;
    }
out:
    EVP_PKEY_free(key);
    kl_hsm_free(hsm);
    return rc;
}

/* ---- key csr ---- */

static enum kl_rc build_request(struct kl_session *session, const char *label, X509_NAME *subject,
                                X509_REQ **out, struct kl_err *err)
{
    struct kl_signer *signer = NULL;
    X509_REQ *req = NULL;
    EVP_PKEY *key = NULL;
    CK_OBJECT_HANDLE handle;
    enum kl_rc rc = kl_pair_find(session, KL_PAIR_WORK, label, &handle, &key, err);

    if (rc == KL_OK) {
        rc = kl_signer_token(session, handle, key, &signer, err);
    }
    if (rc != KL_OK) {
        goto out;
    }
    req = X509_REQ_new();
    if (!req || X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_subject_name(req, subject) != 1 || X509_REQ_set_pubkey(req, key) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "X509_REQ_new", "building the request");
        goto out;
    }
    rc = kl_sign_request(signer, req, KL_SIG_RSA_PSS_SHA256, err);
    if (rc == KL_OK) {
        *out = req;
        req = NULL;
    }
out:
    X509_REQ_free(req);
    kl_signer_free(signer);
    EVP_PKEY_free(key);
    return rc;
}

/* Writes the request to a file, with a report, or to stdout alone. */
static enum kl_rc write_request(X509_REQ *req, const char *path, int force, int as_json,
                                struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT];
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    long len;
    enum kl_rc rc = KL_OK;

    if (!bio || PEM_write_bio_X509_REQ(bio, req) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "PEM_write_bio_X509_REQ", "encoding");
        goto out;
    }
    len = BIO_get_mem_data(bio, &pem);
    if (strcmp(path, "-") == 0) {
        if (fwrite(pem, 1, (size_t)len, stdout) != (size_t)len || fflush(stdout) != 0) {
            rc = kl_err_errno(err, "fwrite", "cannot write to standard output");
        }
        goto out;
    }
    rc = kl_file_write(path, pem, (size_t)len, 0644, force, err);
    if (rc == KL_ERR_EXISTS) {
        rc = kl_err_set(err, KL_ERR_EXISTS, "%s exists; --force overwrites it", path);
    }
    if (rc == KL_OK) {
        rc = kl_pubkey_fingerprint(X509_REQ_get0_pubkey(req), fingerprint, err);
    }
    if (rc != KL_OK) {
        goto out;
    }
    rc = kl_report_print(json_pack("{s:s, s:s}", "file", path, "spki_sha256", fingerprint), as_json,
                         err);
out:
    BIO_free(bio);
    return rc;
}

static enum kl_rc key_csr(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {
        {"subject", required_argument, NULL, 's'},
        {"out", required_argument, NULL, 'o'},
        {"force", no_argument, NULL, 'f'},
        {0},
    };
    const char *text = NULL, *path = NULL;
    int c, force = 0;
    struct kl_hsm *hsm = NULL;
    X509_NAME *subject = NULL;
    X509_REQ *req = NULL;
    enum kl_rc rc;

    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        if (c == 's') {
            text = optarg;
        } else if (c == 'o') {
            path = optarg;
        } else if (c == 'f') {
            force = 1;
        } else {
            return kl_options_error(c, argv, err);
        }
    }
    if ((rc = kl_options_operands(argc, argv, 0, "", err)) != KL_OK ||
        (rc = kl_options_require("--subject", text, err)) != KL_OK ||
        (rc = kl_options_require("--out", path, err)) != KL_OK) {
        return rc;
    }
    rc = kl_name_parse(text, &subject, err);
    if (rc == KL_OK) {
        rc = kl_ctl_hsm_open(&ctl->config, 0, &hsm, err);
    }
    if (rc == KL_OK) {
        rc = build_request(kl_hsm_session(hsm), ctl->config.work_key, subject, &req, err);
    }
    if (rc == KL_OK) {
        rc = write_request(req, path, force, ctl->json, err);
    }
    X509_REQ_free(req);
    X509_NAME_free(subject);
    kl_hsm_free(hsm);
    return rc;
}

const struct kl_ctl_command kl_ctl_key_commands[] = {
    {"token", "init", token_init, "[--so-pin-source SRC]",
     "Initialise the configured token; its PIN is read from the configured pin-source"},
    {"key", "generate", key_generate, "[--bits 2048|3072|4096] [--replace]",
     "Make the work key pair (default 3072 bits), and the storage key if there is none; --replace "
     "destroys the old pair"},
    {"key", "show", key_show, "", "Show the work key and the storage key and check both"},
    {"key", "csr", key_csr, "--subject NAME --out FILE|- [--force]",
     "Write a certification request (PKCS#10, PEM) for the work key, for the CA to sign"},
    {0},
};
