/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca sign: the other half of step S2, AcquireWCRT for a loader's request; and
 * acquire-ca terminal sign: a terminal's device certificate.
 */
#include <openssl/x509.h>
#include <stdio.h>
#include <time.h>

#include "ca/ca.h"
#include "ca/cakey.h"
#include "ca/claims.h"
#include "ca/describe.h"
#include "ca/home.h"
#include "ca/output.h"
#include "ca/profile.h"
#include "ca/request.h"
#include "conf/options.h"
#include "conf/report.h"
#include "proto/alg.h"
#include "proto/cert.h"

#define TERMINAL_DAYS 1825 /* 5 years: about how long a terminal serves */

struct sign_args {
    const struct kl_leaf *leaf;
    const char *dir, *csr, *pin_source;
    unsigned days;      /* 0: not given */
    const char *serial; /* a terminal's; NULL for a loader */
    struct kl_ca_output out;
    int no_crl;
};

static enum kl_rc parse(int argc, char **argv, struct sign_args *args, const char *operands,
                        struct kl_err *err)
{
    const int terminal = args->leaf == kl_leaf(KL_LEAF_TERMINAL);
    const struct kl_option options[] = {
        {"--dir", 1, .text = &args->dir},
        {terminal ? "--serial" : "--csr", 1, .text = terminal ? &args->serial : &args->csr},
        {"--out", 1, .text = &args->out.path},
        {"--days", !terminal, .number = &args->days, .min = 1, .max = KL_DAYS_MAX},
        {"--pin-source", .text = &args->pin_source},
        {"--force", .flag = &args->out.force},
        {"--json", .flag = &args->out.json},
        {"--no-crl", .flag = &args->no_crl},
        {0},
    };

    return kl_options_parse(argc, argv, options, operands, err);
}

/* ---- Checks ---- */

static void tell_ignored(const char *name, void *arg)
{
    (void)arg;
    fprintf(stderr, "acquire-ca: ignored: the request asks for %s; the profile is fixed\n", name);
}

/* A chain is as strong as its weakest key: worth knowing, but a root's strength is policy. */
static void tell_if_root_is_weaker(X509_REQ *request, const X509 *root)
{
    const EVP_PKEY *key = X509_REQ_get0_pubkey(request), *above = X509_get0_pubkey(root);
    char below_name[KL_KEY_NAME_TEXT] = "", root_name[KL_KEY_NAME_TEXT] = "";
    struct kl_err ignored = KL_ERR_INIT;
    enum kl_key_type type;
    unsigned bits;

    if (EVP_PKEY_get_security_bits(above) >= EVP_PKEY_get_security_bits(key) ||
        kl_pubkey_type(key, &type, &bits, &ignored) != KL_OK) {
        return;
    }
    kl_key_name(type, bits, below_name);
    if (kl_pubkey_type(above, &type, &bits, &ignored) == KL_OK) {
        kl_key_name(type, bits, root_name);
        fprintf(stderr,
                "acquire-ca: note: the root's key (%s) is weaker than the certified key (%s)\n",
                root_name, below_name);
    }
}

static enum kl_rc check_request(const struct sign_args *args, X509_REQ *request, const X509 *root,
                                struct kl_err *err)
{
    enum kl_rc rc = kl_request_check(request, root, err);

    if (rc == KL_OK && args->serial) {
        rc = kl_request_check_terminal(request, args->serial, err);
    }
    return rc == KL_OK ? rc : kl_err_context(err, "%s", args->csr);
}

/* --days, or for a terminal, unless said, what is usual or what the root has left. */
static enum kl_rc choose_days(const struct sign_args *args, const X509 *root, int64_t now,
                              int *days, struct kl_err *err)
{
    int left = 0;
    enum kl_rc rc;

    if (args->days != 0) {
        *days = (int)args->days;
        return KL_OK;
    }
    rc = kl_profile_days_left(root, now, &left, err);
    *days = left < TERMINAL_DAYS ? left : TERMINAL_DAYS;
    if (rc == KL_OK && left < 1) {
        rc = kl_err_set(err, KL_ERR_REFUSED, "the root certificate ends within a day");
    }
    return rc;
}

/* ---- Signing ---- */

/* The PIN is asked for only once request and options are found to be in order. The key is bound to
 * its holder before it is certified: should the rest fail, only that holder can have it certified.
 */
static enum kl_rc sign(const struct sign_args *args, X509 *root, X509 *cert, struct kl_err *err)
{
    struct kl_cakey *key = NULL;
    enum kl_rc rc = kl_cakey_open_home(args->dir, args->pin_source, root, &key, err);

    if (rc == KL_OK) {
        rc = kl_claim_key(args->dir, X509_get0_pubkey(cert), args->serial, err);
    }
    if (rc == KL_OK) {
        rc = kl_sign_certificate(kl_cakey_signer(key), cert, err);
    }
    kl_cakey_free(key);
    return rc;
}

/* Writes --out. When that fails the certificate exists all the same, and can be had. */
static enum kl_rc hand_out(const struct sign_args *args, X509 *cert, struct kl_err *err)
{
    json_t *report = NULL;
    enum kl_rc rc = kl_home_write_cert(args->out.path, cert, args->out.force, err);

    if (rc != KL_OK) {
        return kl_err_context(err,
                              "the certificate is signed and kept in %s/" KL_HOME_ISSUED ", but",
                              args->dir);
    }
    if (kl_ca_output_is_stdout(&args->out)) {
        return KL_OK;
    }
    rc = kl_ca_describe(args->dir, cert, &report, err);
    return rc == KL_OK ? kl_report_print(report, args->out.json, err) : rc;
}

static enum kl_rc issue(const struct sign_args *args, struct kl_err *err)
{
    const int64_t now = (int64_t)time(NULL);
    X509_REQ *request = NULL;
    X509 *root = NULL, *cert = NULL;
    int days = 0;
    enum kl_rc rc = kl_ca_output_check(&args->out, err);

    if (rc == KL_OK) {
        rc = kl_home_load_root(args->dir, &root, err);
    }
    if (rc == KL_OK) {
        rc = kl_request_load(args->csr, &request, err);
    }
    if (rc == KL_OK) {
        rc = check_request(args, request, root, err);
    }
    if (rc == KL_OK) {
        rc = choose_days(args, root, now, &days, err);
    }
    if (rc == KL_OK) {
        rc = kl_profile_leaf(args->leaf, request, root, days, !args->no_crl, now, &cert, err);
    }
    if (rc == KL_OK) {
        kl_request_each_ignored(request, tell_ignored, NULL);
        tell_if_root_is_weaker(request, root);
        rc = sign(args, root, cert, err);
    }
    if (rc == KL_OK) {
        rc = kl_home_record(args->dir, cert, err);
    }
    if (rc == KL_OK) {
        rc = hand_out(args, cert, err);
    }
    X509_free(cert);
    X509_REQ_free(request);
    X509_free(root);
    return rc;
}

enum kl_rc kl_ca_cmd_sign(int argc, char **argv, struct kl_err *err)
{
    struct sign_args args = {.leaf = kl_leaf(KL_LEAF_LOADER)};
    enum kl_rc rc = parse(argc, argv, &args, "", err);

    return rc == KL_OK ? issue(&args, err) : rc;
}

enum kl_rc kl_ca_cmd_terminal(int argc, char **argv, struct kl_err *err)
{
    struct sign_args args = {.leaf = kl_leaf(KL_LEAF_TERMINAL)};
    enum kl_rc rc = parse(argc, argv, &args, "sign REQUEST", err);

    if (rc == KL_OK) {
        args.csr = argv[optind + 1];
        rc = issue(&args, err);
    }
    return rc;
}
