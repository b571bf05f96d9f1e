/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca revoke and crl: what was signed too much, and telling the world.
 */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ca/ca.h"
#include "ca/cakey.h"
#include "ca/claims.h"
#include "ca/crl.h"
#include "ca/describe.h"
#include "ca/home.h"
#include "ca/output.h"
#include "ca/profile.h"
#include "ca/revoked.h"
#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "proto/cert.h"
#include "proto/message.h"

#define COMPROMISE "keyCompromise"

/* ---- revoke ---- */

struct revoke_args {
    const char *dir, *reason, *serial;
    int json;
};

static enum kl_rc parse_revoke(int argc, char **argv, struct revoke_args *args, struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--dir", 1, .text = &args->dir},
        {"--reason", .text = &args->reason},
        {"--json", .flag = &args->json},
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "SERIAL", err);

    if (rc == KL_OK && kl_reason_code(args->reason) < 0) {
        rc = kl_err_set(err, KL_ERR_USAGE, "--reason: " KL_REASONS ", not %.40s", args->reason);
    }
    if (rc == KL_OK) {
        args->serial = argv[optind];
    }
    return rc;
}

static void tell(X509 *cert, const struct revoke_args *args, const struct kl_revocation *standing,
                 int already)
{
    if (already && strcmp(standing->reason, args->reason) != 0) {
        fprintf(stderr, "acquire-ca: note: it was revoked before, as %s; that stands\n",
                standing->reason);
    }
    if (X509_get_ext_by_NID(cert, NID_crl_distribution_points, -1) < 0) {
        fprintf(stderr, "acquire-ca: note: it was signed with --no-crl: only who has a CRL will "
                        "know of this\n");
    }
    if (!already) {
        fprintf(stderr, "acquire-ca: note: now make and install a new CRL (acquire-ca crl)\n");
    }
}

/* A key that leaked is struck off first: if the second step fails, the command has failed and will
 * be repeated, and meanwhile nothing is worse than before. */
static enum kl_rc revoke(const struct revoke_args *args, X509 *cert, struct kl_err *err)
{
    const struct kl_revocation wanted = {(int64_t)time(NULL), args->reason};
    struct kl_revocation standing = {0};
    char serial[KL_SERIAL_HEX];
    int already = 0;
    enum kl_rc rc = kl_cert_serial_hex(cert, serial, err);

    if (rc == KL_OK && strcmp(args->reason, COMPROMISE) == 0) {
        rc = kl_claim_compromised(args->dir, X509_get0_pubkey(cert), err);
    }
    if (rc == KL_OK) {
        rc = kl_revoked_add(args->dir, serial, &wanted, &standing, &already, err);
    }
    if (rc == KL_OK) {
        tell(cert, args, &standing, already);
    }
    return rc;
}

enum kl_rc kl_ca_cmd_revoke(int argc, char **argv, struct kl_err *err)
{
    struct revoke_args args = {.reason = "unspecified"};
    json_t *report = NULL;
    X509 *cert = NULL;
    enum kl_rc rc = parse_revoke(argc, argv, &args, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (strcmp(args.serial, "root") == 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "a root cannot revoke itself: take it out of every loader and terminal "
                          "that trusts it");
    }
    rc = kl_home_find(args.dir, args.serial, &cert, err);
    if (rc == KL_OK) {
        rc = revoke(&args, cert, err);
    }
    if (rc == KL_OK) {
        rc = kl_ca_describe(args.dir, cert, &report, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(report, args.json, err);
    }
    X509_free(cert);
    return rc;
}

/* ---- crl ---- */

struct crl_args {
    const char *dir, *pin_source;
    const struct kl_leaf *leaf;
    unsigned days;
    struct kl_ca_output out;
};

static enum kl_rc take_scope(const char *value, void *out, struct kl_err *err)
{
    const struct kl_leaf **leaf = out;

    *leaf = kl_leaf_by_name(value);
    return *leaf ? KL_OK : kl_err_set(err, KL_ERR_USAGE, "loader or terminal, not %.40s", value);
}

static enum kl_rc parse_crl(int argc, char **argv, struct crl_args *args, struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--dir", 1, .text = &args->dir},
        {"--scope", 1, .take = take_scope, .out = &args->leaf},
        {"--out", 1, .text = &args->out.path},
        {"--days", .number = &args->days, .min = 1, .max = KL_CRL_DAYS_MAX},
        {"--pin-source", .text = &args->pin_source},
        {"--force", .flag = &args->out.force},
        {"--json", .flag = &args->out.json},
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    return rc == KL_OK ? kl_ca_output_check(&args->out, err) : rc;
}

/* Readers take so many bytes and no more: terminals of what a loader staples, loaders of a file. */
static enum kl_rc check_size(const struct crl_args *args, X509_CRL *crl, struct kl_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int der = i2d_X509_CRL(crl, NULL);
    char *unused;
    size_t pem;
    enum kl_rc rc = KL_OK;

    if (!bio || der <= 0 || PEM_write_bio_X509_CRL(bio, crl) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "PEM_write_bio_X509_CRL", "CRL");
        goto out;
    }
    pem = (size_t)BIO_get_mem_data(bio, &unused);
    if (pem > KL_CRL_FILE_MAX || (args->leaf == kl_leaf(KL_LEAF_LOADER) && der > KL_CRL_MAX)) {
        rc = kl_err_set(err, KL_ERR_REFUSED,
                        "the CRL of scope %s has grown to %d bytes, more than its readers take: "
                        "wait for revoked certificates to expire, or roll over to a new root",
                        args->leaf->name, der);
    }
out:
    BIO_free(bio);
    return rc;
}

/* Signs, and looks at the result as a loader or terminal will. */
static enum kl_rc sign(const struct crl_args *args, X509 *root, X509_CRL *draft, int64_t now,
                       X509_CRL **out, struct kl_err *err)
{
    struct kl_cakey *key = NULL;
    X509_CRL *crl = NULL;
    enum kl_rc rc = kl_cakey_open_home(args->dir, args->pin_source, root, &key, err);

    if (rc == KL_OK) {
        rc = kl_sign_crl(kl_cakey_signer(key), draft, &crl, err);
    }
    if (rc == KL_OK) {
        rc = kl_crl_verify(crl, root, args->leaf->scope, (time_t)now, err);
    }
    if (rc == KL_OK) {
        rc = check_size(args, crl, err);
    }
    if (rc == KL_OK) {
        *out = crl;
        crl = NULL;
    }
    X509_CRL_free(crl);
    kl_cakey_free(key);
    return rc;
}

static enum kl_rc hand_out(const struct crl_args *args, uint32_t number, X509_CRL *crl, int64_t now,
                           struct kl_err *err)
{
    char from[KL_TIME_TEXT], to[KL_TIME_TEXT];
    STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(crl);
    enum kl_rc rc = kl_home_write_crl(args->out.path, crl, args->out.force, err);

    if (rc != KL_OK) {
        return kl_err_context(err, "the CRL is signed and kept in %s/" KL_HOME_CRLS ", but",
                              args->dir);
    }
    if (kl_ca_output_is_stdout(&args->out)) {
        return KL_OK;
    }
    kl_time_format(now, from);
    kl_time_format(now + (int64_t)args->days * 86400, to);
    return kl_report_print(json_pack("{s:s, s:I, s:s, s:s, s:i}", "scope", args->leaf->name,
                                     "number", (json_int_t)number, "this_update", from,
                                     "next_update", to, "revoked",
                                     revoked ? sk_X509_REVOKED_num(revoked) : 0),
                           args->out.json, err);
}

enum kl_rc kl_ca_cmd_crl(int argc, char **argv, struct kl_err *err)
{
    const int64_t now = (int64_t)time(NULL);
    struct crl_args args = {.days = KL_CRL_DAYS_DEFAULT};
    X509_CRL *draft = NULL, *crl = NULL;
    X509 *root = NULL;
    uint32_t number = 0;
    enum kl_rc rc = parse_crl(argc, argv, &args, err);

    if (rc == KL_OK) {
        rc = kl_home_load_root(args.dir, &root, err);
    }
    if (rc == KL_OK) {
        rc = kl_crlnumber_next(args.dir, &number, err);
    }
    if (rc == KL_OK) { /* after the number is looked up: see ca/crl.h */
        rc = kl_profile_crl(args.dir, args.leaf, root, number, (int)args.days, now, &draft, err);
    }
    if (rc == KL_OK) {
        rc = sign(&args, root, draft, now, &crl, err);
    }
    if (rc == KL_OK) {
        rc = kl_crlnumber_take(args.dir, number, crl, err);
    }
    if (rc == KL_OK) {
        rc = hand_out(&args, number, crl, now, err);
    }
    X509_CRL_free(crl);
    X509_CRL_free(draft);
    X509_free(root);
    return rc;
}
