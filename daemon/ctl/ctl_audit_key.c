/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl audit key: the key in the HSM that signs the audit trail's checkpoints, and its
 * public half, which is what auditors need of it.
 */
#include "daemon/ctl/ctl_audit_key.h"

#include <string.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_key.h"
#include "pkcs11/auditkey.h"
#include "proto/cert.h"

enum kl_rc kl_ctl_audit_key_make(const struct kl_config *config, struct kl_session *session,
                                 int *made, struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT];
    struct kl_audit_key *key = NULL;
    EVP_PKEY *public_key = NULL;
    enum kl_rc rc = kl_audit_key_generate(session, config->audit_key, &public_key, err);

    *made = rc == KL_OK;
    if (rc == KL_ERR_EXISTS) {
        rc = kl_audit_key_open(session, config->audit_key, &key, err);
        kl_audit_key_close(key);
        return rc;
    }
    if (rc == KL_OK) {
        rc = kl_pubkey_fingerprint(public_key, fingerprint, err);
    }
    if (rc == KL_OK) {
        rc =
            kl_ctl_audit_key(config, "key-generated", "audit", config->audit_key, fingerprint, err);
    }
    EVP_PKEY_free(public_key);
    return rc;
}

struct wish {
    int generate, export_it, force;
    const char *path;
};

/* ---- What it is ---- */

static enum kl_rc report(const struct kl_ctl *ctl, const EVP_PKEY *key, const char *file, int made,
                         struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT], name[KL_KEY_NAME_TEXT];
    enum kl_rc rc = kl_ctl_describe_public(key, name, fingerprint, err);

    if (rc != KL_OK) {
        return rc;
    }
    return kl_report_print(json_pack("{s:s, s:s, s:s, s:s*, s:b}", "label", ctl->config.audit_key,
                                     "key", name, "spki_sha256", fingerprint, "file", file, "made",
                                     made),
                           ctl->json, err);
}

static enum kl_rc write_public(const struct kl_ctl *ctl, EVP_PKEY *key, const struct wish *wish,
                               struct kl_err *err)
{
    enum kl_rc rc = kl_ctl_write_public(key, wish->path, wish->force, err);

    return rc == KL_OK && !kl_ctl_is_stdout(wish->path) ? report(ctl, key, wish->path, 0, err) : rc;
}

/* ---- audit key ---- */

static enum kl_rc parse(int argc, char **argv, struct wish *wish, struct kl_err *err)
{
    const struct kl_option options[] = {{"--out", .text = &wish->path},
                                        {"--force", .flag = &wish->force},
                                        {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "ACTION", err);

    if (rc != KL_OK) {
        return rc;
    }
    wish->generate = strcmp(argv[optind], "generate") == 0;
    wish->export_it = strcmp(argv[optind], "export") == 0;
    if (!wish->generate && !wish->export_it && strcmp(argv[optind], "show") != 0) {
        return kl_err_set(err, KL_ERR_USAGE, "'%.40s' must be generate, show or export",
                          argv[optind]);
    }
    if (wish->export_it != (wish->path != NULL) || (wish->force && !wish->export_it)) {
        return kl_err_set(err, KL_ERR_USAGE, "--out FILE goes with export, and only with that");
    }
    return KL_OK;
}

static enum kl_rc run(const struct kl_ctl *ctl, struct kl_session *session, const struct wish *wish,
                      struct kl_err *err)
{
    struct kl_audit_key *key = NULL;
    int made = 0;
    enum kl_rc rc = KL_OK;

    if (wish->generate) {
        rc = kl_ctl_audit_key_make(&ctl->config, session, &made, err);
    }
    if (rc == KL_OK) {
        rc = kl_audit_key_open(session, ctl->config.audit_key, &key, err);
    }
    if (rc == KL_OK && wish->export_it) {
        rc = write_public(ctl, kl_audit_key_public(key), wish, err);
    } else if (rc == KL_OK) {
        rc = report(ctl, kl_audit_key_public(key), NULL, made, err);
    }
    kl_audit_key_close(key);
    return rc;
}

enum kl_rc kl_ctl_audit_key_command(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct wish wish = {0};
    struct kl_hsm *hsm = NULL;
    enum kl_rc rc = parse(argc, argv, &wish, err);

    if (rc == KL_OK && wish.generate) {
        rc = kl_ctl_audit_ready(&ctl->config, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_hsm_open(&ctl->config, wish.generate, &hsm, err);
    }
    if (rc == KL_OK) {
        rc = run(ctl, kl_hsm_session(hsm), &wish, err);
    }
    kl_hsm_free(hsm);
    return rc;
}
