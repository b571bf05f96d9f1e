/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca init and token-init: the CA's half of step S2, AcquireRCRT and AcquireRCRT_Prk.
 */
#include <getopt.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ca/ca.h"
#include "ca/cakey.h"
#include "ca/home.h"
#include "ca/profile.h"
#include "conf/options.h"
#include "conf/report.h"
#include "pkcs11/ceremony.h"
#include "pkcs11/hsm.h"
#include "proto/alg.h"
#include "proto/name.h"

struct init_args {
    const char *dir, *subject, *days, *key;
    int pem, json;
    struct kl_ca_conf conf; /* members borrowed from argv */
};

struct key_kind {
    enum kl_key_type type;
    unsigned bits;
};

static enum kl_rc parse_init(int argc, char **argv, struct init_args *args, struct kl_err *err)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"subject", required_argument, NULL, 's'},
        {"days", required_argument, NULL, 'n'},
        {"key", required_argument, NULL, 'k'},
        {"token", required_argument, NULL, 't'},
        {"module", required_argument, NULL, 'm'},
        {"init-reserved", required_argument, NULL, 'r'},
        {"pin-source", required_argument, NULL, 'p'},
        {"key-label", required_argument, NULL, 'l'},
        {"pem", no_argument, NULL, 'e'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    int c;

    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        switch (c) {
        case 'd':
            args->dir = optarg;
            break;
        case 's':
            args->subject = optarg;
            break;
        case 'n':
            args->days = optarg;
            break;
        case 'k':
            args->key = optarg;
            break;
        case 't':
            args->conf.token = optarg;
            break;
        case 'm':
            args->conf.module = optarg;
            break;
        case 'r':
            args->conf.init_reserved = optarg;
            break;
        case 'p':
            args->conf.pin_source = optarg;
            break;
        case 'l':
            args->conf.key_label = optarg;
            break;
        case 'e':
            args->pem = 1;
            break;
        case 'j':
            args->json = 1;
            break;
        default:
            return kl_options_error(c, argv, err);
        }
    }
    return kl_options_operands(argc, argv, 0, "", err);
}

/* Completes args->conf: what is not said is empty, the label of a key in a token has a default.
 * A URI that is wrong, or carries a PIN, is refused before anything is written. */
static enum kl_rc complete_conf(struct init_args *args, struct kl_err *err)
{
    static char none[] = "", label[] = KL_CA_KEY_LABEL, file[] = KL_CA_PEM_FILE;
    struct kl_ca_conf *conf = &args->conf;

    if (args->pem == (conf->token != NULL)) {
        return kl_err_set(err, KL_ERR_USAGE, "give either --token URI or --pem");
    }
    if (args->pem && (conf->module || conf->key_label || conf->init_reserved)) {
        return kl_err_set(err, KL_ERR_USAGE,
                          "--module, --init-reserved and --key-label go with --token");
    }
    if (!args->pem && !conf->key_label) {
        conf->key_label = label;
    }
    conf->pem = args->pem ? file : none;
    char **members[] = {&conf->token, &conf->module, &conf->init_reserved, &conf->key_label,
                        &conf->pin_source};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (!*members[i]) {
            *members[i] = none;
        }
    }
    const struct kl_hsm_where where = kl_cakey_where(conf);
    return args->pem ? KL_OK : kl_hsm_check(&where, err);
}

/* Makes the key and then the certificate; root.pem, which makes it a CA, comes last. */
static enum kl_rc found_ca(const struct init_args *args, const X509_NAME *subject, unsigned days,
                           const struct key_kind *kind, X509 **out, struct kl_err *err)
{
    struct kl_cakey *key = NULL;
    X509 *root = NULL;
    enum kl_rc rc = kl_home_prepare(args->dir, err);

    if (rc == KL_OK) {
        rc = kl_home_save_conf(args->dir, &args->conf, err);
    }
    if (rc == KL_OK) {
        rc = kl_cakey_generate(&args->conf, args->dir, kind->type, kind->bits, &key, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_profile_root(subject, kl_signer_public(kl_cakey_signer(key)), (int)days,
                         (int64_t)time(NULL), &root, err);
    if (rc == KL_OK) {
        rc = kl_sign_certificate(kl_cakey_signer(key), root, err);
    }
    if (rc == KL_OK) {
        rc = kl_home_save_root(args->dir, root, err);
    }
    if (rc == KL_OK) {
        kl_cakey_free(key);
        *out = root;
    } else {
        kl_cakey_discard(key, err);
        X509_free(root);
    }
    return rc;
}

enum kl_rc kl_ca_cmd_init(int argc, char **argv, struct kl_err *err)
{
    struct init_args args = {0};
    struct key_kind kind = {KL_KEY_RSA, 3072};
    unsigned days = 0;
    X509_NAME *subject = NULL;
    X509 *root = NULL;
    json_t *report;
    enum kl_rc rc = parse_init(argc, argv, &args, err);

    if (rc != KL_OK || (rc = kl_options_require("--dir", args.dir, err)) != KL_OK ||
        (rc = kl_options_require("--subject", args.subject, err)) != KL_OK ||
        (rc = kl_options_require("--days", args.days, err)) != KL_OK ||
        (rc = kl_options_number("--days", args.days, 1, KL_DAYS_MAX, &days, err)) != KL_OK ||
        (args.key &&
         (rc = kl_options_key_type("--key", args.key, &kind.type, &kind.bits, err)) != KL_OK) ||
        (rc = complete_conf(&args, err)) != KL_OK) {
        return rc;
    }
    rc = kl_name_parse(args.subject, &subject, err);
    if (rc == KL_OK) {
        rc = found_ca(&args, subject, days, &kind, &root, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_cert(root, &report, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(report, args.json, err);
    }
    X509_free(root);
    X509_NAME_free(subject);
    return rc;
}

enum kl_rc kl_ca_cmd_token_init(int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {
        {"module", required_argument, NULL, 'm'},
        {"init-reserved", required_argument, NULL, 'r'},
        {"label", required_argument, NULL, 'l'},
        {"so-pin-source", required_argument, NULL, 's'},
        {"pin-source", required_argument, NULL, 'p'},
        {0},
    };
    const char *module = NULL, *reserved = NULL, *label = NULL, *so_source = NULL, *source = NULL;
    int c;
    enum kl_rc rc;

    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        switch (c) {
        case 'm':
            module = optarg;
            break;
        case 'r':
            reserved = optarg;
            break;
        case 'l':
            label = optarg;
            break;
        case 's':
            so_source = optarg;
            break;
        case 'p':
            source = optarg;
            break;
        default:
            return kl_options_error(c, argv, err);
        }
    }
    if ((rc = kl_options_operands(argc, argv, 0, "", err)) != KL_OK ||
        (rc = kl_options_require("--module", module, err)) != KL_OK ||
        (rc = kl_options_require("--label", label, err)) != KL_OK) {
        return rc;
    }
    rc = kl_ceremony_init_token(module, reserved, label, so_source, source, err);
    if (rc == KL_OK) {
        printf("token \"%s\" is initialised\n", label);
    }
    return rc;
}
