/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca init and token-init: the CA's half of step S2, AcquireRCRT and AcquireRCRT_Prk.
 */
#include <openssl/x509.h>
#include <stdio.h>
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
    const char *dir, *subject, *token, *module, *init_reserved, *key_label, *pin_source;
    unsigned days;
    struct key_kind {
        enum kl_key_type type;
        unsigned bits;
    } key;
    int pem, json;
};

static enum kl_rc take_key(const char *value, void *out, struct kl_err *err)
{
    struct key_kind *kind = out;

    return kl_key_parse(value, &kind->type, &kind->bits, err);
}

static enum kl_rc parse_init(int argc, char **argv, struct init_args *args, struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--dir", 1, .text = &args->dir},
        {"--subject", 1, .text = &args->subject},
        {"--days", 1, .number = &args->days, .min = 1, .max = KL_DAYS_MAX},
        {"--key", .take = take_key, .out = &args->key},
        {"--token", .text = &args->token},
        {"--module", .text = &args->module},
        {"--init-reserved", .text = &args->init_reserved},
        {"--key-label", .text = &args->key_label},
        {"--pem", .flag = &args->pem},
        {"--pin-source", .text = &args->pin_source},
        {"--json", .flag = &args->json},
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc != KL_OK) {
        return rc;
    }
    if (args->pem == (args->token != NULL)) {
        return kl_err_set(err, KL_ERR_USAGE, "give either --token URI or --pem");
    }
    if (args->pem && (args->module || args->key_label || args->init_reserved)) {
        return kl_err_set(err, KL_ERR_USAGE,
                          "--module, --init-reserved and --key-label go with --token");
    }
    if (!args->pem && !args->key_label) {
        args->key_label = KL_CA_KEY_LABEL;
    }
    return KL_OK;
}

/* A member of a configuration that is only read; what was not said is empty. */
static char *member(const char *text)
{
    return (char *)(text ? text : "");
}

/* What ca.conf is to say; its members are borrowed. A URI that is wrong, or carries a PIN, is
 * refused before anything is written. */
static enum kl_rc settle_conf(const struct init_args *args, struct kl_ca_conf *conf,
                              struct kl_err *err)
{
    *conf = (struct kl_ca_conf){
        .token = member(args->token),
        .module = member(args->module),
        .init_reserved = member(args->init_reserved),
        .key_label = member(args->key_label),
        .pin_source = member(args->pin_source),
        .pem = member(args->pem ? KL_CA_PEM_FILE : NULL),
    };
    const struct kl_hsm_where where = kl_cakey_where(conf);
    return args->pem ? KL_OK : kl_hsm_check(&where, err);
}

/* Makes the key and then the certificate; root.pem, which makes it a CA, comes last. */
static enum kl_rc found_ca(const struct init_args *args, const struct kl_ca_conf *conf,
                           const X509_NAME *subject, X509 **out, struct kl_err *err)
{
    struct kl_cakey *key = NULL;
    X509 *root = NULL;
    enum kl_rc rc = kl_home_prepare(args->dir, err);

    if (rc == KL_OK) {
        rc = kl_home_save_conf(args->dir, conf, err);
    }
    if (rc == KL_OK) {
        rc = kl_cakey_generate(conf, args->dir, args->key.type, args->key.bits, &key, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_profile_root(subject, kl_signer_public(kl_cakey_signer(key)), (int)args->days,
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
    struct init_args args = {.key = {KL_KEY_RSA, 3072}};
    struct kl_ca_conf conf;
    X509_NAME *subject = NULL;
    X509 *root = NULL;
    json_t *report;
    enum kl_rc rc = parse_init(argc, argv, &args, err);

    if (rc == KL_OK) {
        rc = settle_conf(&args, &conf, err);
    }
    if (rc == KL_OK) {
        rc = kl_name_parse(args.subject, &subject, err);
    }
    if (rc == KL_OK) {
        rc = found_ca(&args, &conf, subject, &root, err);
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
    const char *module = NULL, *reserved = NULL, *label = NULL, *so_source = NULL, *source = NULL;
    const struct kl_option options[] = {
        {"--module", 1, .text = &module},  {"--init-reserved", .text = &reserved},
        {"--label", 1, .text = &label},    {"--so-pin-source", .text = &so_source},
        {"--pin-source", .text = &source}, {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_ceremony_init_token(module, reserved, label, so_source, source, err);
    if (rc == KL_OK) {
        printf("token \"%s\" is initialised\n", label);
    }
    return rc;
}
