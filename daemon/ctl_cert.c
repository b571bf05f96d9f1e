/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl cert: the loader's half of step S2. Installs AcquireWCRT, and only one that the
 * configured root signed for the key that is in the HSM.
 */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl.h"
#include "daemon/ctl_hsm.h"
#include "daemon/store.h"
#include "pkcs11/keys.h"
#include "proto/cert.h"

/* The chain in a file without the root at its end, which terminals have. */
static enum kl_rc load_chain(const char *path, X509 *root, STACK_OF(X509) * *out,
                             struct kl_err *err)
{
    STACK_OF(X509) *chain = NULL;
    enum kl_rc rc = kl_cert_load_pem(path, &chain, err);

    if (rc != KL_OK) {
        return rc;
    }
    int last = sk_X509_num(chain) - 1;
    if (last > 0 && X509_cmp(sk_X509_value(chain, last), root) == 0) {
        X509_free(sk_X509_pop(chain));
    }
    *out = chain;
    return KL_OK;
}

/* Whether the certificate's key is the one in the HSM; an error if that cannot be seen. */
static enum kl_rc compare_key(const struct kl_config *config, X509 *leaf, int *same,
                              struct kl_err *err)
{
    struct kl_hsm *hsm = NULL;
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *key = NULL;
    enum kl_rc rc = kl_ctl_hsm_open(config, 0, &hsm, err);

    if (rc == KL_OK) {
        rc = kl_pair_find(kl_hsm_session(hsm), KL_PAIR_WORK, config->work_key, &handle, &key, err);
    }
    if (rc == KL_OK) {
        *same = EVP_PKEY_eq(X509_get0_pubkey(leaf), key) == 1;
    }
    EVP_PKEY_free(key);
    kl_hsm_free(hsm);
    return rc;
}

static enum kl_rc another_key(const struct kl_config *config, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_CERT,
                      "the certificate is for another key than \"%s\" in the HSM; have a fresh "
                      "`key csr` signed",
                      config->work_key);
}

/* Nothing overrides these checks. */
static enum kl_rc check_chain(const struct kl_config *config, STACK_OF(X509) * chain, X509 *root,
                              struct kl_err *err)
{
    X509 *last = sk_X509_value(chain, sk_X509_num(chain) - 1);
    char subject[KL_NAME_MAX];
    int same = 0;
    enum kl_rc rc = kl_cert_verify_loader(chain, root, time(NULL), err);

    if (rc == KL_ERR_CERT && X509_check_issued(root, last) != X509_V_OK) {
        kl_cert_subject(root, subject);
        return kl_err_set(err, KL_ERR_CERT, "not issued under [certificates] root %s (%.128s)",
                          config->root, subject);
    }
    if (rc == KL_OK) {
        rc = compare_key(config, sk_X509_value(chain, 0), &same, err);
    }
    return rc == KL_OK && !same ? another_key(config, err) : rc;
}

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
static int is_installed(const struct kl_config *config, STACK_OF(X509) * chain)
{
    struct kl_err ignored = KL_ERR_INIT;
    STACK_OF(X509) *installed = NULL;
    int same =
        kl_ctl_installed(config, &installed, &ignored) == KL_OK && same_chain(chain, installed);

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

/* A daemon reads the certificate when it starts. null: whether one runs cannot be seen. */
static json_t *restart_needed(const struct kl_config *config, int already)
{
    struct kl_err why = KL_ERR_INIT;
    int serving = 0;

    if (already) {
        return json_false();
    }
    if (kl_store_claimed(config->store, &serving, &why) != KL_OK) {
        fprintf(stderr, "keyloaderctl: warning: %s\n", why.text);
        return json_null();
    }
    if (serving) {
        fprintf(stderr, "keyloaderctl: keyloaderd runs with the certificate that it read when it "
                        "started: restart it\n");
    }
    return json_boolean(serving);
}

static enum kl_rc install(const struct kl_ctl *ctl, const char *file, int force, struct kl_err *err)
{
    const struct kl_config *config = &ctl->config;
    STACK_OF(X509) *chain = NULL;
    X509 *root = NULL;
    json_t *report = NULL;
    int already = 0;
    enum kl_rc rc = kl_ctl_root(config, &root, err);

    if (rc == KL_OK) {
        rc = load_chain(file, root, &chain, err);
    }
    if (rc != KL_OK) {
        goto out;
    }
    if ((rc = check_chain(config, chain, root, err)) != KL_OK) {
        kl_err_context(err, "%s is not installed", file);
        goto out;
    }
    already = is_installed(config, chain);
    if (!already) {
        rc = write_chain(config->work, chain, force, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_cert(sk_X509_value(chain, 0), &report, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(json_pack("{s:s, s:b, s:o, s:o}", "file", config->work, "changed",
                                       !already, "restart_needed", restart_needed(config, already),
                                       "certificate", report),
                             ctl->json, err);
    }
out:
    sk_X509_pop_free(chain, X509_free);
    X509_free(root);
    return rc;
}

static enum kl_rc cert_install(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {{"force", no_argument, NULL, 'f'}, {0}};
    int c, force = 0;
    enum kl_rc rc;

    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        if (c != 'f') {
            return kl_options_error(c, argv, err);
        }
        force = 1;
    }
    rc = kl_options_operands(argc, argv, 1, "FILE", err);
    return rc == KL_OK ? install(ctl, argv[optind], force, err) : rc;
}

/* Is the HSM's key the certificate's? Says so in *shown; without its answer nothing is wrong. */
static enum kl_rc show_key(const struct kl_config *config, X509 *leaf, char *shown, size_t size,
                           struct kl_err *err)
{
    const struct kl_hsm_where where = kl_config_hsm(config);
    struct kl_err why = KL_ERR_INIT;
    int same = 0;

    if (kl_hsm_prompts(&where)) {
        snprintf(shown, size, "not checked");
        return KL_OK;
    }
    if (compare_key(config, leaf, &same, &why) != KL_OK) {
        snprintf(shown, size, "not checked: %s", why.text);
        return KL_OK;
    }
    snprintf(shown, size, "%s", same ? "ok" : "another than the HSM's");
    return same ? KL_OK : another_key(config, err);
}

static enum kl_rc cert_show(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {{0}};
    STACK_OF(X509) *chain = NULL;
    X509 *root = NULL;
    json_t *report = NULL;
    struct kl_err finding = KL_ERR_INIT, key_finding = KL_ERR_INIT;
    char key[sizeof finding.text + 16];
    int c;
    enum kl_rc rc, verdict, key_verdict;

    kl_options_begin();
    if ((c = kl_options_next(argc, argv, options)) != -1) {
        return kl_options_error(c, argv, err);
    }
    if ((rc = kl_options_operands(argc, argv, 0, "", err)) != KL_OK) {
        return rc;
    }
    rc = kl_ctl_root(&ctl->config, &root, err);
    if (rc == KL_OK) {
        rc = kl_ctl_installed(&ctl->config, &chain, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_cert(sk_X509_value(chain, 0), &report, err);
    }
    if (rc != KL_OK) {
        goto out;
    }
    /* A certificate that is not acceptable is shown all the same, and is a failure. */
    verdict = kl_cert_verify_loader(chain, root, time(NULL), &finding);
    key_verdict = show_key(&ctl->config, sk_X509_value(chain, 0), key, sizeof key, &key_finding);
    rc = kl_report_print(json_pack("{s:s, s:s, s:s, s:o}", "file", ctl->config.work, "status",
                                   verdict == KL_OK ? "ok" : finding.text, "key", key,
                                   "certificate", report),
                         ctl->json, err);
    if (rc == KL_OK && (verdict != KL_OK || key_verdict != KL_OK)) {
        *err = verdict != KL_OK ? finding : key_finding;
        rc = err->rc;
    }
out:
    sk_X509_pop_free(chain, X509_free);
    X509_free(root);
    return rc;
}

const struct kl_ctl_command kl_ctl_cert_commands[] = {
    {"cert", "install", cert_install, "FILE [--force]",
     "Check and install the work certificate; --force replaces another that is installed"},
    {"cert", "show", cert_show, "",
     "Show the installed work certificate and check it, also against the HSM's key unless the PIN "
     "would have to be asked for"},
    {0},
};
