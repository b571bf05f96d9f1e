/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl cert: the loader's half of step S2. Installs AcquireWCRT, and only one that a
 * configured root signed for a work key that is in the HSM; the key's label names its file.
 */
#include <errno.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "conf/log.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_crl.h"
#include "daemon/ctl/ctl_list.h"
#include "daemon/loader/trust.h"
#include "pkcs11/keys.h"
#include "pkcs11/labels.h"
#include "proto/cert.h"

/* ---- Is a chain good? ---- */

/* What its certificates are held against. */
struct against {
    STACK_OF(X509) * roots;
    STACK_OF(X509_CRL) * crls;
};

static void against_free(struct against *against)
{
    sk_X509_pop_free(against->roots, X509_free);
    sk_X509_CRL_pop_free(against->crls, X509_CRL_free);
}

static enum kl_rc against_load(const struct kl_config *config, struct against *out,
                               struct kl_err *err)
{
    struct against against = {NULL, NULL};
    enum kl_rc rc = kl_cert_load_roots(config->root, &against.roots, err);

    if (rc == KL_OK) {
        rc = kl_trust_crls(config->crl, &against.crls, err);
    }
    if (rc == KL_ERR_NO_FILE && against.roots != NULL) {
        rc = kl_trust_crls("", &against.crls, err); /* a chain that needs one says so */
    }
    if (rc != KL_OK) {
        against_free(&against);
        return rc;
    }
    *out = against;
    return KL_OK;
}

static enum kl_rc verify(STACK_OF(X509) * chain, const struct against *against, struct kl_err *err)
{
    const X509 *issuer = kl_trust_issuer(chain, against->roots);

    return kl_cert_verify_loader(chain, against->roots,
                                 issuer != NULL ? kl_trust_crl_of(against->crls, issuer) : NULL,
                                 time(NULL), NULL, err);
}

/* Says it better when the whole chain is another acquirer's. */
static enum kl_rc verify_new(const struct kl_config *config, STACK_OF(X509) * chain,
                             const struct against *against, struct kl_err *err)
{
    X509 *last = sk_X509_value(chain, sk_X509_num(chain) - 1);
    int known = 0;
    enum kl_rc rc = verify(chain, against, err);

    for (int i = 0; i < sk_X509_num(against->roots); i++) {
        known |= X509_check_issued(sk_X509_value(against->roots, i), last) == X509_V_OK;
    }
    if (rc == KL_ERR_CERT && !known) {
        rc = kl_err_set(err, KL_ERR_CERT, "not issued under [certificates] root %s", config->root);
    }
    return rc;
}

/* The chain in a file without the root at its end, which terminals have. */
static enum kl_rc load_chain(const char *path, STACK_OF(X509) * roots, STACK_OF(X509) * *out,
                             struct kl_err *err)
{
    STACK_OF(X509) *chain = NULL;
    enum kl_rc rc = kl_cert_load_pem(path, &chain, err);

    if (rc != KL_OK) {
        return rc;
    }
    for (int i = 0, last = sk_X509_num(chain) - 1; last > 0 && i < sk_X509_num(roots); i++) {
        if (X509_cmp(sk_X509_value(chain, last), sk_X509_value(roots, i)) == 0) {
            X509_free(sk_X509_pop(chain));
            break;
        }
    }
    *out = chain;
    return KL_OK;
}

/* ---- Whose is it? ---- */

/* *same: the leaf is of the work key of that label. */
static enum kl_rc compare_key(struct kl_session *session, const char *label, const X509 *leaf,
                              int *same, struct kl_err *err)
{
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *key = NULL;
    enum kl_suite suite;
    enum kl_rc rc = kl_pair_find_work(session, label, &suite, &handle, &key, err);

    if (rc == KL_OK) {
        *same = EVP_PKEY_eq(X509_get0_pubkey(leaf), key) == 1;
    }
    EVP_PKEY_free(key);
    return rc;
}

static enum kl_rc another_key(const char *label, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_CERT,
                      "the certificate is for another key than \"%s\" in the HSM; have a fresh "
                      "`key csr` signed",
                      label);
}

/* Among all work keys in the HSM the one that the leaf is for. */
static enum kl_rc find_label(struct kl_session *session, const X509 *leaf,
                             char out[KL_KEY_LABEL_MAX + 1], struct kl_err *err)
{
    struct kl_labels *labels = calloc(1, sizeof(*labels));
    struct kl_err ignored = KL_ERR_INIT;
    int same = 0;
    enum kl_rc rc;

    if (labels == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "labels of the HSM's keys");
    }
    rc = kl_labels_read(session, labels, err);
    for (size_t i = 0; rc == KL_OK && i < labels->count && !same; i++) {
        if (compare_key(session, labels->label[i], leaf, &same, &ignored) == KL_OK && same) {
            memcpy(out, labels->label[i], sizeof(labels->label[i]));
        }
    }
    free(labels);
    if (rc == KL_OK && !same) {
        rc = kl_err_set(err, KL_ERR_CERT,
                        "the certificate is for no work key in the HSM; have a fresh `key csr` "
                        "signed");
    }
    return rc;
}

/* wanted NULL: whichever it is. */
static enum kl_rc settle_label(const struct kl_config *config, const char *wanted, const X509 *leaf,
                               char out[KL_KEY_LABEL_MAX + 1], struct kl_err *err)
{
    struct kl_hsm *hsm = NULL;
    int same = 0;
    enum kl_rc rc = kl_ctl_hsm_open(config, 0, &hsm, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (wanted == NULL) {
        rc = find_label(kl_hsm_session(hsm), leaf, out, err);
    } else {
        rc = compare_key(kl_hsm_session(hsm), wanted, leaf, &same, err);
        if (rc == KL_OK && !same) {
            rc = another_key(wanted, err);
        }
        if (rc == KL_OK) {
            snprintf(out, KL_KEY_LABEL_MAX + 1, "%s", wanted);
        }
    }
    kl_hsm_free(hsm);
    return rc;
}

/* ---- cert install ---- */

static int same_chain(STACK_OF(X509) * a, STACK_OF(X509) * b)
{
    if (sk_X509_num(a) != sk_X509_num(b)) {
        return 0;
    }
    for (int i = 0; i < sk_X509_num(a); i++) {
        if (X509_cmp(sk_X509_value(a, i), sk_X509_value(b, i)) != 0) {
            return 0;
        }
    }
    return 1;
}

/* 1 if exactly this chain is installed already. */
static int is_installed(const struct kl_config *config, const char *label, STACK_OF(X509) * chain)
{
    struct kl_err ignored = KL_ERR_INIT;
    STACK_OF(X509) *installed = NULL;
    int same = kl_ctl_installed(config, label, &installed, &ignored) == KL_OK &&
               same_chain(chain, installed);

    sk_X509_pop_free(installed, X509_free);
    return same;
}

static enum kl_rc write_chain(const char *path, STACK_OF(X509) * chain, int force,
                              struct kl_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int ok = bio != NULL;
    char *pem;
    enum kl_rc rc;

    for (int i = 0; ok && i < sk_X509_num(chain); i++) {
        ok = PEM_write_bio_X509(bio, sk_X509_value(chain, i)) == 1;
    }
    if (!ok) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "PEM_write_bio_X509", "%s", path);
    } else {
        long len = BIO_get_mem_data(bio, &pem);
        rc = kl_file_write(path, pem, (size_t)len, 0644, force, err);
    }
    if (rc == KL_ERR_EXISTS) {
        rc = kl_err_set(err, KL_ERR_EXISTS,
                        "another certificate is installed in %s; --force replaces it", path);
    }
    BIO_free(bio);
    return rc;
}

static enum kl_rc put(const struct kl_config *config, const char *label, STACK_OF(X509) * chain,
                      int force, char path[PATH_MAX], int *already, struct kl_err *err)
{
    enum kl_rc rc = kl_trust_path(config, label, path, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (mkdir(config->work, 0755) != 0 && errno != EEXIST) {
        return kl_err_errno(err, "mkdir", "[certificates] work: %s", config->work);
    }
    *already = is_installed(config, label, chain);
    return *already ? KL_OK : write_chain(path, chain, force, err);
}

static enum kl_rc audit_installed(const struct kl_config *config, const char *label,
                                  const X509 *leaf, struct kl_err *err)
{
    char serial[KL_SERIAL_HEX], subject[KL_NAME_MAX];
    enum kl_rc rc = kl_cert_serial_hex(leaf, serial, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_cert_subject(leaf, subject);
    const struct kl_log_field fields[] = {KL_STR("label", label), KL_STR("certificate", serial),
                                          KL_STR("subject", subject)};
    return kl_ctl_audit(config, "certificate-installed", "", fields,
                        sizeof(fields) / sizeof(fields[0]), err);
}

static enum kl_rc install(const struct kl_ctl *ctl, const char *file, const char *wanted, int force,
                          struct kl_err *err)
{
    const struct kl_config *config = &ctl->config;
    struct against against = {NULL, NULL};
    STACK_OF(X509) *chain = NULL;
    json_t *report = NULL;
    char label[KL_KEY_LABEL_MAX + 1] = "", path[PATH_MAX];
    int already = 0;
    enum kl_rc rc = against_load(config, &against, err);

    if (rc == KL_OK) {
        rc = load_chain(file, against.roots, &chain, err);
    }
    if (rc != KL_OK) {
        goto out;
    }
    /* Nothing overrides these checks. */
    if ((rc = verify_new(config, chain, &against, err)) != KL_OK ||
        (rc = settle_label(config, wanted, sk_X509_value(chain, 0), label, err)) != KL_OK) {
        kl_err_context(err, "%s is not installed", file);
        goto out;
    }
    rc = put(config, label, chain, force, path, &already, err);
    if (rc == KL_OK && !already) {
        rc = audit_installed(config, label, sk_X509_value(chain, 0), err);
    }
    if (rc == KL_OK) {
        rc = kl_report_cert(sk_X509_value(chain, 0), &report, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(json_pack("{s:s, s:s, s:b, s:o, s:o}", "label", label, "file", path,
                                       "changed", !already, "reload_needed",
                                       kl_ctl_reload_needed(config, !already), "certificate",
                                       report),
                             ctl->json, err);
    }
out:
    against_free(&against);
    sk_X509_pop_free(chain, X509_free);
    return rc;
}

static enum kl_rc cert_install(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *label = NULL;
    int force = 0;
    const struct kl_option options[] = {{"--label", .text = &label},
                                        {"--force", .flag = &force},
                                        {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "FILE", err);

    return rc == KL_OK ? install(ctl, argv[optind], label, force, err) : rc;
}

/* ---- cert show, list, remove ---- */

/* Is the HSM's key the certificate's? Says so in *shown; without its answer nothing is wrong. */
static enum kl_rc show_key(const struct kl_config *config, const char *label, const X509 *leaf,
                           char *shown, size_t size, struct kl_err *err)
{
    const struct kl_hsm_where where = kl_config_hsm(config, 0);
    struct kl_err why = KL_ERR_INIT;
    struct kl_hsm *hsm = NULL;
    int same = 0;
    enum kl_rc rc;

    if (kl_hsm_prompts(&where)) {
        snprintf(shown, size, "not checked");
        return KL_OK;
    }
    rc = kl_ctl_hsm_open(config, 0, &hsm, &why);
    if (rc == KL_OK) {
        rc = compare_key(kl_hsm_session(hsm), label, leaf, &same, &why);
    }
    kl_hsm_free(hsm);
    if (rc != KL_OK) {
        snprintf(shown, size, "not checked: %s", why.text);
        return KL_OK;
    }
    snprintf(shown, size, "%s", same ? "ok" : "another than the HSM's");
    return same ? KL_OK : another_key(label, err);
}

static enum kl_rc show(const struct kl_ctl *ctl, const char *label, struct kl_err *err)
{
    struct against against = {NULL, NULL};
    STACK_OF(X509) *chain = NULL;
    json_t *report = NULL;
    struct kl_err finding = KL_ERR_INIT, key_finding = KL_ERR_INIT;
    char key[sizeof finding.text + 16], path[PATH_MAX];
    enum kl_rc verdict, key_verdict;
    enum kl_rc rc = against_load(&ctl->config, &against, err);

    if (rc == KL_OK) {
        rc = kl_ctl_installed(&ctl->config, label, &chain, err);
    }
    if (rc == KL_OK) {
        rc = kl_trust_path(&ctl->config, label, path, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_cert(sk_X509_value(chain, 0), &report, err);
    }
    if (rc != KL_OK) {
        goto out;
    }
    /* A certificate that is not acceptable is shown all the same, and is a failure. */
    verdict = verify(chain, &against, &finding);
    key_verdict =
        show_key(&ctl->config, label, sk_X509_value(chain, 0), key, sizeof key, &key_finding);
    rc = kl_report_print(json_pack("{s:s, s:s, s:s, s:s, s:o}", "label", label, "file", path,
                                   "status", verdict == KL_OK ? "ok" : finding.text, "key", key,
                                   "certificate", report),
                         ctl->json, err);
    if (rc == KL_OK && (verdict != KL_OK || key_verdict != KL_OK)) {
        *err = verdict != KL_OK ? finding : key_finding;
        rc = err->rc;
    }
out:
    against_free(&against);
    sk_X509_pop_free(chain, X509_free);
    return rc;
}

static enum kl_rc cert_show(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *label = ctl->config.work_key;
    const struct kl_option options[] = {{"--label", .text = &label}, {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    return rc == KL_OK ? show(ctl, label, err) : rc;
}

/* In a word: expired, revoked and the like have one of their own. */
static const char *status_of(enum kl_rc rc)
{
    return rc == KL_OK ? "ok" : rc == KL_ERR_CERT ? "bad" : kl_rc_name(rc);
}

/* One row; a chain that is no good is listed with what is wrong, and ends in *finding. */
static json_t *list_one(const struct kl_config *config, const char *label,
                        const struct against *against, struct kl_err *finding)
{
    STACK_OF(X509) *chain = NULL;
    struct kl_err why = KL_ERR_INIT;
    char key[KL_KEY_NAME_TEXT] = "-", subject[KL_NAME_MAX] = "-";
    enum kl_key_type type;
    unsigned bits;
    int64_t until = 0;
    json_t *row;

    if (kl_ctl_installed(config, label, &chain, &why) == KL_OK) {
        X509 *leaf = sk_X509_value(chain, 0);
        kl_cert_subject(leaf, subject);
        if (kl_cert_key_type(leaf, &type, &bits, &why) == KL_OK &&
            kl_asn1_time_unix(X509_get0_notAfter(leaf), &until, &why) == KL_OK) {
            kl_key_name(type, bits, key);
            (void)!verify(chain, against, &why);
        }
    }
    if (why.rc != KL_OK) {
        *finding = why;
        (void)!kl_err_context(finding, "%s", label);
    }
    row = json_pack("{s:s, s:s, s:o, s:s, s:s}", "label", label, "key", key, "not_after",
                    kl_report_time(until), "status", status_of(why.rc), "subject", subject);
    sk_X509_pop_free(chain, X509_free);
    return row;
}

static enum kl_rc cert_list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {24, 10, 20, 12, 0};
    struct kl_ctl_list list = {.json = ctl->json, .widths = widths};
    struct against against = {NULL, NULL};
    struct kl_trust_labels labels = {0};
    struct kl_err finding = KL_ERR_INIT;
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "", err);

    if (rc == KL_OK) {
        rc = against_load(&ctl->config, &against, err);
    }
    if (rc == KL_OK) {
        rc = kl_trust_labels(&ctl->config, &labels, err);
        rc = rc == KL_ERR_NO_FILE ? KL_OK : rc; /* nothing has been installed yet */
    }
    for (size_t i = 0; i < labels.count && rc == KL_OK; i++) {
        rc = kl_ctl_list_row(&list, list_one(&ctl->config, labels.label[i], &against, &finding),
                             err);
    }
    against_free(&against);
    if (rc == KL_OK) {
        rc = kl_ctl_list_end(&list, err);
    }
    if (rc == KL_OK && finding.rc != KL_OK) {
        *err = finding;
        rc = err->rc;
    }
    return rc;
}

static enum kl_rc cert_remove(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *label = NULL;
    const struct kl_option options[] = {{"--label", 1, .text = &label}, {0}};
    char path[PATH_MAX];
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc == KL_OK) {
        rc = kl_trust_path(&ctl->config, label, path, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (access(path, F_OK) != 0) {
        return kl_err_set(err, KL_ERR_NOT_FOUND, "no certificate is installed for \"%s\"", label);
    }
    const struct kl_log_field fields[] = {KL_STR("label", label)};
    rc = kl_file_remove(path, err);
    if (rc == KL_OK) {
        rc = kl_ctl_audit(&ctl->config, "certificate-removed", "", fields, 1, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(json_pack("{s:s, s:s, s:o}", "label", label, "file", path,
                                       "reload_needed", kl_ctl_reload_needed(&ctl->config, 1)),
                             ctl->json, err);
    }
    return rc;
}

const struct kl_ctl_command kl_ctl_cert_commands[] = {
    {"cert", "install", cert_install, "FILE [--label LABEL] [--force]",
     "Check and install a work certificate, for the HSM's key that it is of; --force replaces\n"
     "      another that is installed for that key"},
    {"cert", "show", cert_show, "[--label LABEL]",
     "Show an installed work certificate and check it, also against the HSM's key unless the\n"
     "      PIN would have to be asked for"},
    {"cert", "list", cert_list, "", "List the installed work certificates and check them"},
    {"cert", "remove", cert_remove, "--label LABEL",
     "Serve a key no longer: remove its certificate"},
    {"crl", "install", kl_ctl_crl_install, "FILE [--scope loader|terminal]",
     "Check and install a root's CRL, of work certificates or (terminal) of terminals'"},
    {"crl", "show", kl_ctl_crl_show, "[--scope loader|terminal]",
     "Show the installed CRLs and check them"},
    {0},
};
