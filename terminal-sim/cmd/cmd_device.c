/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim device-key: the key by which a terminal proves who it is, and its certificate. */
#include <jansson.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "proto/cert.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/folder.h"
#include "terminal-sim/pinpad/device.h"

#define KEY_DEFAULT "p-256"

/* A pad that forgets its keys at exit is no place for one that a certificate will name. The caller
 * frees both, also if that is refused. */
static enum kl_rc open_token(const char *dir, int exclusive, struct kl_terminal_home **terminal,
                             struct kl_pinpad **pad, struct kl_err *err)
{
    enum kl_rc rc = kl_cmd_open(dir, exclusive, terminal, pad, err);

    if (!rc && kl_terminal_pinpad_kind(*terminal) == KL_PINPAD_MEMORY) {
        rc = kl_err_set(err, KL_ERR_UNSUPPORTED,
                        "the PIN pad is in memory: it cannot keep a device key");
    }
    return rc;
}

static enum kl_rc report(EVP_PKEY *key, int json, struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT], name[KL_KEY_NAME_TEXT];
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = kl_pubkey_type(key, &type, &bits, err);

    if (!rc) {
        rc = kl_pubkey_fingerprint(key, fingerprint, err);
    }
    if (rc) {
        return rc;
    }
    kl_key_name(type, bits, name);
    return kl_report_print(json_pack("{s:s, s:s}", "device-key", name, "fingerprint", fingerprint),
                           json, err);
}

static enum kl_rc generate(int argc, char **argv, int json, struct kl_err *err)
{
    const char *dir = NULL, *text = KEY_DEFAULT;
    int replace = 0;
    const struct kl_option options[] = {{"--dir", 1, .text = &dir},
                                        {"--key", .text = &text},
                                        {"--replace", .flag = &replace},
                                        {0}};
    struct kl_terminal_home *terminal = NULL;
    struct kl_pinpad *pad = NULL;
    EVP_PKEY *key = NULL;
    char path[PATH_MAX];
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (!rc) {
        rc = kl_key_parse(text, &type, &bits, err);
    }
    if (!rc) {
        rc = open_token(dir, 1, &terminal, &pad, err);
    }
    if (!rc) {
        rc = kl_folder_path(dir, KL_FOLDER_DEVICE, path, err);
    }
    if (!rc && replace) { /* the old key's, of no use without it */
        rc = kl_file_remove(path, err);
    }
    if (!rc) {
        rc = kl_pinpad_device_generate(pad, type, bits, replace, &key, err);
    }
    if (!rc) {
        rc = report(key, json, err);
    }
    EVP_PKEY_free(key);
    kl_pinpad_free(pad);
    kl_terminal_free(terminal);
    return rc;
}

static enum kl_rc write_request(const char *path, X509_REQ *req, struct kl_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum kl_rc rc;

    if (!bio || !PEM_write_bio_X509_REQ(bio, req)) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "PEM_write_bio_X509_REQ", "%s", path);
    } else {
        long len = BIO_get_mem_data(bio, &text);

        rc = kl_file_write(path, text, (size_t)len, 0644, 0, err);
    }
    BIO_free(bio);
    return rc;
}

static enum kl_rc csr(int argc, char **argv, struct kl_err *err)
{
    const char *dir = NULL, *out = NULL;
    const struct kl_option options[] = {{"--dir", 1, .text = &dir},
                                        {"--out", 1, .text = &out},
                                        {0}};
    struct kl_terminal_home *terminal = NULL;
    struct kl_pinpad *pad = NULL;
    X509_REQ *req = NULL;
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (!rc) {
        rc = open_token(dir, 0, &terminal, &pad, err);
    }
    if (!rc) {
        rc = kl_device_request(pad, kl_terminal_serial(terminal), &req, err);
    }
    if (!rc) {
        rc = write_request(out, req, err);
    }
    X509_REQ_free(req);
    kl_pinpad_free(pad);
    kl_terminal_free(terminal);
    return rc;
}

static enum kl_rc install(int argc, char **argv, struct kl_err *err)
{
    const char *dir = NULL;
    const struct kl_option options[] = {{"--dir", 1, .text = &dir}, {0}};
    struct kl_terminal_home *terminal = NULL;
    struct kl_pinpad *pad = NULL;
    STACK_OF(X509) *chain = NULL;
    char subject[KL_NAME_MAX];
    enum kl_rc rc = kl_options_parse(argc, argv, options, "FILE", err);

    if (!rc) {
        rc = kl_cert_load_pem(argv[optind], &chain, err);
    }
    if (!rc) {
        rc = open_token(dir, 1, &terminal, &pad, err);
    }
    if (!rc) {
        rc = kl_device_check(pad, kl_terminal_serial(terminal), sk_X509_value(chain, 0), err);
        if (rc) {
            kl_err_context(err, "%s", argv[optind]);
        }
    }
    if (!rc) {
        rc = kl_folder_save_pem(dir, KL_FOLDER_DEVICE, chain, err);
    }
    if (!rc) {
        kl_cert_subject(sk_X509_value(chain, 0), subject);
        printf("installed: %s\n", subject);
    }
    sk_X509_pop_free(chain, X509_free);
    kl_pinpad_free(pad);
    kl_terminal_free(terminal);
    return rc;
}

enum kl_rc kl_terminal_cmd_device_key(int argc, char **argv, int *status, struct kl_err *err)
{
    int json = 0;
    const char *verb;
    enum kl_rc rc = kl_options_take(&argc, argv, "json", '\0', NULL, &json, err);

    (void)status;
    if (rc) {
        return rc;
    }
    verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "generate") == 0) {
        return generate(argc - 1, argv + 1, json, err);
    }
    if (json) {
        return kl_err_set(err, KL_ERR_USAGE, "only generate takes --json");
    }
    if (strcmp(verb, "csr") == 0) {
        return csr(argc - 1, argv + 1, err);
    }
    if (strcmp(verb, "install") == 0) {
        return install(argc - 1, argv + 1, err);
    }
    return kl_err_set(err, KL_ERR_USAGE, "generate, csr or install?");
}
