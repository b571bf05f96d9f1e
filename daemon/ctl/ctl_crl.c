/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl crl: the roots' CRLs, of work certificates (which are stapled to them) and of
 * terminals' certificates. A file holds one for each root.
 */
#include "daemon/ctl/ctl_crl.h"

#include <openssl/pem.h>
#include <string.h>
#include <time.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "conf/log.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/loader/trust.h"

/* A scope's files and names. */
struct scope {
    const char *name, *uri;
    const char *root, *root_key, *crl, *crl_key;
};

static enum kl_rc find_scope(const struct kl_config *config, const char *name, struct scope *out,
                             struct kl_err *err)
{
    const struct scope scopes[] = {
        {"loader", KL_CRL_SCOPE_LOADER, config->root, "root", config->crl, "crl"},
        {"terminal", KL_CRL_SCOPE_TERMINAL, config->terminal_root, "terminal-root",
         config->terminal_crl, "terminal-crl"},
    };

    for (size_t i = 0; i < 2; i++) {
        if (strcmp(scopes[i].name, name) == 0) {
            *out = scopes[i];
            if (out->root[0] == '\0' || out->crl[0] == '\0') {
                return kl_err_set(err, KL_ERR_CONFIG, "[certificates] %s is not set",
                                  out->root[0] == '\0' ? out->root_key : out->crl_key);
            }
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_USAGE, "--scope: loader or terminal, not %.40s", name);
}

/* --scope and the operands. */
static enum kl_rc parse(struct kl_ctl *ctl, int argc, char **argv, const char *operands,
                        struct scope *out, struct kl_err *err)
{
    const char *scope = "loader";
    const struct kl_option options[] = {{"--scope", .text = &scope}, {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, operands, err);

    return rc == KL_OK ? find_scope(&ctl->config, scope, out, err) : rc;
}

/* Those that are installed; none if there is no file. */
static enum kl_rc installed(const struct scope *scope, STACK_OF(X509_CRL) * *out,
                            struct kl_err *err)
{
    enum kl_rc rc = kl_trust_crls(scope->crl, out, err);

    return rc == KL_ERR_NO_FILE ? kl_trust_crls("", out, err) : rc;
}

static ASN1_INTEGER *crl_number(const X509_CRL *crl)
{
    return X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
}

/* crl against the one that it is to replace: KL_ERR_REFUSED if it is no newer. *same: it is that
 * one. */
static enum kl_rc compare(const X509_CRL *crl, const X509_CRL *old, int *same, struct kl_err *err)
{
    ASN1_INTEGER *number = crl_number(crl), *old_number = crl_number(old);
    int order = number != NULL && old_number != NULL ? ASN1_INTEGER_cmp(number, old_number) : -1;
    enum kl_rc rc = KL_OK;

    *same = X509_CRL_match(crl, old) == 0;
    if (!*same && order <= 0) {
        rc = kl_err_set(err, KL_ERR_REFUSED,
                        "the CRL is not newer than the installed one of the same root (by its CRL "
                        "number): nothing is changed");
    }
    ASN1_INTEGER_free(number);
    ASN1_INTEGER_free(old_number);
    return rc;
}

/* Those that stay, and crl at the end. */
static enum kl_rc write_all(const struct scope *scope, STACK_OF(X509_CRL) * crls,
                            const X509_CRL *replaced, X509_CRL *crl, struct kl_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int ok = bio != NULL;
    char *pem;
    enum kl_rc rc;

    for (int i = 0; ok && i < sk_X509_CRL_num(crls); i++) {
        X509_CRL *kept = sk_X509_CRL_value(crls, i);
        ok = kept == replaced || PEM_write_bio_X509_CRL(bio, kept) == 1;
    }
    if (!ok || PEM_write_bio_X509_CRL(bio, crl) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "PEM_write_bio_X509_CRL", "%s", scope->crl);
    } else {
        long len = BIO_get_mem_data(bio, &pem);
        rc = kl_file_write(scope->crl, pem, (size_t)len, 0644, 1, err);
    }
    BIO_free(bio);
    return rc;
}

/* CRLs of roots that are no longer configured, which would stop the daemon. */
static void drop_foreign(STACK_OF(X509_CRL) * crls, STACK_OF(X509) * roots)
{
    for (int i = sk_X509_CRL_num(crls) - 1; i >= 0; i--) {
        if (kl_trust_crl_issuer(sk_X509_CRL_value(crls, i), roots) == NULL) {
            X509_CRL_free(sk_X509_CRL_delete(crls, i));
        }
    }
}

static json_t *describe(const X509_CRL *crl)
{
    char issuer[KL_NAME_MAX] = "";
    ASN1_INTEGER *number = crl_number(crl);
    struct kl_err ignored = KL_ERR_INIT;
    STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED((X509_CRL *)(uintptr_t)crl);
    int64_t from = 0, until = 0;
    json_t *report;

    X509_NAME_oneline(X509_CRL_get_issuer(crl), issuer, sizeof(issuer));
    if (kl_asn1_time_unix(X509_CRL_get0_lastUpdate(crl), &from, &ignored) != KL_OK ||
        kl_asn1_time_unix(X509_CRL_get0_nextUpdate(crl), &until, &ignored) != KL_OK) {
        until = 0; /* shown as none */
    }
    report = json_pack("{s:s, s:I, s:o, s:o, s:i}", "issuer", issuer, "number",
                       (json_int_t)(number != NULL ? ASN1_INTEGER_get(number) : -1), "this_update",
                       kl_report_time(from), "next_update", kl_report_time(until), "revoked",
                       revoked != NULL ? sk_X509_REVOKED_num(revoked) : 0);
    ASN1_INTEGER_free(number);
    return report;
}

/* Puts crl in its place among those that are there. *same: it is installed already. */
static enum kl_rc put(const struct scope *scope, X509_CRL *crl, X509 *issuer,
                      STACK_OF(X509) * roots, int *same, struct kl_err *err)
{
    STACK_OF(X509_CRL) *crls = NULL;
    X509_CRL *old;
    enum kl_rc rc = installed(scope, &crls, err);

    if (rc == KL_ERR_CERT) {
        return kl_err_context(err, "remove what is installed, then install every root's CRL anew");
    }
    if (rc != KL_OK) {
        return rc;
    }
    drop_foreign(crls, roots);
    old = kl_trust_crl_of(crls, issuer);
    if (old != NULL) {
        rc = compare(crl, old, same, err);
    }
    if (rc == KL_OK && !*same) {
        rc = write_all(scope, crls, old, crl, err);
    }
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
    return rc;
}

static enum kl_rc check(const struct scope *scope, X509_CRL *crl, X509 *issuer, struct kl_err *err)
{
    if (issuer == NULL) {
        return kl_err_set(err, KL_ERR_CERT, "is of none of the roots in %s", scope->root);
    }
    return kl_crl_verify(crl, issuer, scope->uri, time(NULL), err);
}

static enum kl_rc audit_installed(const struct kl_config *config, const struct scope *scope,
                                  const X509_CRL *crl, struct kl_err *err)
{
    ASN1_INTEGER *number = crl_number(crl); /* there is one: kl_crl_verify has seen it */
    const struct kl_log_field fields[] = {KL_STR("scope", scope->name),
                                          KL_NUM("number", number ? ASN1_INTEGER_get(number) : -1)};

    ASN1_INTEGER_free(number);
    return kl_ctl_audit(config, "crl-installed", "", fields, sizeof(fields) / sizeof(fields[0]),
                        err);
}

static enum kl_rc install(const struct kl_ctl *ctl, const struct scope *scope, const char *file,
                          struct kl_err *err)
{
    STACK_OF(X509) *roots = NULL;
    X509_CRL *crl = NULL;
    X509 *issuer;
    int same = 0;
    enum kl_rc rc = kl_crl_load(file, &crl, err);

    if (rc == KL_OK) {
        rc = kl_cert_load_roots(scope->root, &roots, err);
    }
    if (rc != KL_OK) {
        goto out;
    }
    issuer = kl_trust_crl_issuer(crl, roots);
    rc = check(scope, crl, issuer, err);
    if (rc == KL_OK) {
        rc = put(scope, crl, issuer, roots, &same, err);
    }
    if (rc != KL_OK) {
        (void)kl_err_context(err, "%s is not installed", file);
        goto out;
    }
    if (!same && (rc = audit_installed(&ctl->config, scope, crl, err)) != KL_OK) {
        goto out;
    }
    rc = kl_report_print(json_pack("{s:s, s:s, s:b, s:o, s:o}", "file", scope->crl, "scope",
                                   scope->name, "changed", !same, "reload_needed",
                                   kl_ctl_reload_needed(&ctl->config, !same), "crl", describe(crl)),
                         ctl->json, err);
out:
    sk_X509_pop_free(roots, X509_free);
    X509_CRL_free(crl);
    return rc;
}

enum kl_rc kl_ctl_crl_install(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct scope scope;
    enum kl_rc rc = parse(ctl, argc, argv, "FILE", &scope, err);

    return rc == KL_OK ? install(ctl, &scope, argv[optind], err) : rc;
}

/* A CRL that is not in force is shown all the same, and is a failure. */
static void show_one(X509_CRL *crl, STACK_OF(X509) * roots, const struct scope *scope, json_t *list,
                     struct kl_err *finding)
{
    struct kl_err why = KL_ERR_INIT;
    json_t *report = describe(crl);

    if (check(scope, crl, kl_trust_crl_issuer(crl, roots), &why) != KL_OK) {
        *finding = why;
    }
    (void)json_object_set_new(report, "status", json_string(why.rc == KL_OK ? "ok" : why.text));
    (void)json_array_append_new(list, report);
}

enum kl_rc kl_ctl_crl_show(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    STACK_OF(X509) *roots = NULL;
    STACK_OF(X509_CRL) *crls = NULL;
    struct scope scope;
    struct kl_err finding = KL_ERR_INIT;
    json_t *list;
    enum kl_rc rc = parse(ctl, argc, argv, "", &scope, err);

    if (rc == KL_OK) {
        rc = kl_cert_load_roots(scope.root, &roots, err);
    }
    if (rc == KL_OK) {
        rc = kl_trust_crls(scope.crl, &crls, err);
        rc = rc == KL_ERR_NO_FILE ? kl_err_set(err, KL_ERR_NOT_FOUND,
                                               "no CRL is installed: there is no %s", scope.crl)
                                  : rc;
    }
    if (rc == KL_OK) {
        list = json_array();
        for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
            show_one(sk_X509_CRL_value(crls, i), roots, &scope, list, &finding);
        }
        rc = kl_report_print(json_pack("{s:s, s:s, s:o}", "file", scope.crl, "scope", scope.name,
                                       "crls", list),
                             ctl->json, err);
    }
    if (rc == KL_OK && finding.rc != KL_OK) {
        *err = finding;
        rc = err->rc;
    }
    sk_X509_pop_free(roots, X509_free);
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
    return rc;
}
