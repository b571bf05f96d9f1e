/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl key import: S1's "or imports". A work key that was made elsewhere comes in an
 * encrypted file; while it is in clear, all memory of this process is locked.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_key.h"
#include "pkcs11/ceremony.h"
#include "pkcs11/keys.h"
#include "pkcs11/pin.h"
#include "pkcs11/pkcs8.h"

struct wish {
    const char *file, *label, *passphrase_source;
    enum kl_suite suite; /* 0 = by the kind of key */
};

/* The file is looked at before anybody types a passphrase for it. */
static enum kl_rc open_file(const struct wish *wish, EVP_PKEY **out, struct kl_err *err)
{
    struct kl_secret *passphrase = NULL;
    char *text = NULL;
    size_t len = 0;
    enum kl_rc rc = kl_file_read(wish->file, KL_PKCS8_FILE_MAX, &text, &len, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_pkcs8_check(text, len, err);
    if (rc == KL_OK) {
        rc = kl_typed_read(KL_TYPED_PASSPHRASE, wish->passphrase_source, "Passphrase of the key",
                           &passphrase, err);
    }
    if (rc == KL_OK) {
        rc = kl_pkcs8_open(text, len, passphrase, out, err);
    }
    kl_secret_free(passphrase);
    free(text);
    return rc == KL_OK ? KL_OK : kl_err_context(err, "%s", wish->file);
}

static enum kl_rc import(const struct kl_ctl *ctl, const struct wish *wish, enum kl_suite suite,
                         EVP_PKEY *key, struct kl_err *err)
{
    struct kl_hsm *hsm = NULL;
    json_t *work = NULL;
    struct kl_ctl_made made;
    char fingerprint[KL_FINGERPRINT_TEXT];
    enum kl_rc rc = kl_ctl_hsm_open(&ctl->config, 1, &hsm, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_ctl_store_keys(&ctl->config, kl_hsm_session(hsm), &made, err);
    if (rc == KL_OK) {
        rc = kl_pair_import(kl_hsm_session(hsm), kl_pair_role_of(suite), wish->label, key, err);
    }
    if (rc == KL_OK) {
        rc = kl_pubkey_fingerprint(key, fingerprint, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_audit_key(&ctl->config, "key-imported", kl_suite_name(suite), wish->label,
                              fingerprint, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_work_json(&ctl->config, wish->label, suite, key, &work, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_made_json(&ctl->config, work, &made, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(work, ctl->json, err);
        work = NULL;
    }
    json_decref(work);
    kl_hsm_free(hsm);
    return rc;
}

static enum kl_rc parse(int argc, char **argv, struct wish *wish, struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--label", .text = &wish->label},
        {"--suite", .take = kl_ctl_take_suite, .out = &wish->suite},
        {"--passphrase-source", .text = &wish->passphrase_source},
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "FILE", err);

    if (rc == KL_OK) {
        wish->file = argv[optind];
        rc = kl_ctl_label(wish->label, err);
    }
    return rc;
}

enum kl_rc kl_ctl_key_import(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct wish wish = {.label = ctl->config.work_key};
    enum kl_suite suite;
    EVP_PKEY *key = NULL;
    enum kl_rc rc = parse(argc, argv, &wish, err);

    if (rc != KL_OK || (rc = kl_ctl_audit_ready(&ctl->config, err)) != KL_OK ||
        (rc = kl_ceremony_lock(err)) != KL_OK || (rc = open_file(&wish, &key, err)) != KL_OK) {
        return rc;
    }
    suite = wish.suite;
    if (!suite) {
        suite = EVP_PKEY_is_a(key, "EC") ? KL_SUITE_HARDENED_EC : KL_SUITE_HARDENED_RSA;
    }
    kl_ctl_warn_suite(&ctl->config, suite);
    rc = import(ctl, &wish, suite, key, err);
    EVP_PKEY_free(key);
    return rc;
}
