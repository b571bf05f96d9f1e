/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca sign: the other half of step S2, AcquireWCRT for a loader's request.
 */
#include <getopt.h>
#include <limits.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ca/ca.h"
#include "ca/cakey.h"
#include "ca/home.h"
#include "ca/profile.h"
#include "conf/options.h"
#include "conf/report.h"

struct sign_args {
    const char *dir, *csr, *out, *days;
    char *pin_source;
    int force, json;
};

static enum kl_rc parse(int argc, char **argv, struct sign_args *args, struct kl_err *err)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'}, {"csr", required_argument, NULL, 'c'},
        {"out", required_argument, NULL, 'o'}, {"days", required_argument, NULL, 'n'},
        {"force", no_argument, NULL, 'f'},     {"pin-source", required_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},      {0},
    };
    int c;

    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        switch (c) {
        case 'd':
            args->dir = optarg;
            break;
        case 'c':
            args->csr = optarg;
            break;
        case 'o':
            args->out = optarg;
            break;
        case 'n':
            args->days = optarg;
            break;
        case 'p':
            args->pin_source = optarg;
            break;
        case 'f':
            args->force = 1;
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

static void tell_ignored(const char *name, void *arg)
{
    (void)arg;
    fprintf(stderr, "acquire-ca: ignored: the request asks for %s; the profile is fixed\n", name);
}

/* Signs within the token (or with the PEM key). The PIN is asked for only once all else is
 * found to be in order. */
static enum kl_rc sign(const struct sign_args *args, X509 *root, X509 *cert, struct kl_err *err)
{
    struct kl_ca_conf conf = {0};
    struct kl_cakey *key = NULL;
    enum kl_rc rc = kl_home_load_conf(args->dir, &conf, err);

    if (rc != KL_OK) {
        return rc;
    }
    struct kl_ca_conf effective = conf; /* borrows conf's strings */
    if (args->pin_source) {
        effective.pin_source = args->pin_source;
    }
    rc = kl_cakey_open(&effective, args->dir, root, &key, err);
    if (rc == KL_OK) {
        rc = kl_sign_certificate(kl_cakey_signer(key), cert, KL_SIG_RSA_PKCS1_SHA256, err);
    }
    kl_cakey_free(key);
    kl_home_wipe_conf(&conf);
    return rc;
}

static int to_stdout(const struct sign_args *args)
{
    return strcmp(args->out, "-") == 0;
}

/* Before anything is signed: --out must be able to take it. */
static enum kl_rc check_out(const struct sign_args *args, struct kl_err *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(args->out, '/');
    struct stat st;

    if (to_stdout(args)) {
        return args->json
                   ? kl_err_set(err, KL_ERR_USAGE, "--json and --out - both want standard output")
                   : KL_OK;
    }
    if (stat(args->out, &st) == 0 && S_ISDIR(st.st_mode)) {
        return kl_err_set(err, KL_ERR_INPUT, "--out %s is a directory; name a file in it",
                          args->out);
    }
    if (!args->force && access(args->out, F_OK) == 0) {
        return kl_err_set(err, KL_ERR_EXISTS, "%s exists; --force overwrites it", args->out);
    }
    if (!slash) {
        strcpy(dir, ".");
    } else if (snprintf(dir, sizeof dir, "%.*s", slash == args->out ? 1 : (int)(slash - args->out),
                        args->out) >= (int)sizeof dir) {
        return kl_err_set(err, KL_ERR_INPUT, "--out: path is too long");
    }
    if (access(dir, W_OK | X_OK) != 0) {
        return kl_err_errno(err, "access", "--out %s: no file can be made in %s", args->out, dir);
    }
    return KL_OK;
}

/* Writes --out. When that fails the certificate exists all the same, and can be had. */
static enum kl_rc hand_out(const struct sign_args *args, X509 *cert, struct kl_err *err)
{
    enum kl_rc rc = kl_home_write_cert(args->out, cert, args->force, err);

    if (rc != KL_OK) {
        kl_err_context(err, "the certificate is signed and kept in %s/issued, but", args->dir);
    }
    return rc;
}

enum kl_rc kl_ca_cmd_sign(int argc, char **argv, struct kl_err *err)
{
    struct sign_args args = {0};
    unsigned days = 0;
    X509_REQ *request = NULL;
    X509 *root = NULL, *cert = NULL;
    json_t *report;
    enum kl_rc rc = parse(argc, argv, &args, err);

    if (rc != KL_OK || (rc = kl_options_require("--dir", args.dir, err)) != KL_OK ||
        (rc = kl_options_require("--csr", args.csr, err)) != KL_OK ||
        (rc = kl_options_require("--out", args.out, err)) != KL_OK ||
        (rc = kl_options_require("--days", args.days, err)) != KL_OK ||
        (rc = kl_options_number("--days", args.days, 1, KL_DAYS_MAX, &days, err)) != KL_OK) {
        return rc;
    }
    rc = check_out(&args, err);
    if (rc == KL_OK) {
        rc = kl_home_load_root(args.dir, &root, err);
    }
    if (rc == KL_OK) {
        rc = kl_profile_load_request(args.csr, &request, err);
    }
    if (rc == KL_OK && (rc = kl_profile_check_request(request, root, err)) != KL_OK) {
        kl_err_context(err, "%s", args.csr);
    }
    if (rc == KL_OK) {
        rc = kl_profile_work(request, root, (int)days, (int64_t)time(NULL), &cert, err);
    }
    if (rc == KL_OK) {
        kl_profile_each_ignored(request, tell_ignored, NULL);
        rc = sign(&args, root, cert, err);
    }
    if (rc == KL_OK) {
        rc = kl_home_record(args.dir, cert, err);
    }
    if (rc == KL_OK) {
        rc = hand_out(&args, cert, err);
    }
    if (rc == KL_OK && !to_stdout(&args)) {
        rc = kl_report_cert(cert, &report, err);
        if (rc == KL_OK) {
            rc = kl_report_print(report, args.json, err);
        }
    }
    X509_free(cert);
    X509_REQ_free(request);
    X509_free(root);
    return rc;
}
