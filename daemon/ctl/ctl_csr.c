/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl key csr: the request that the CA signs into AcquireWCRT (S1).
 */
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_key.h"
#include "pkcs11/keys.h"
#include "pkcs11/x509sign.h"
#include "proto/name.h"

static enum kl_rc build_request(struct kl_session *session, const char *label, X509_NAME *subject,
                                X509_REQ **out, struct kl_err *err)
{
    struct kl_signer *signer = NULL;
    X509_REQ *req = NULL;
    EVP_PKEY *key = NULL;
    CK_OBJECT_HANDLE handle;
    enum kl_suite suite;
    enum kl_rc rc = kl_pair_find_work(session, label, &suite, &handle, &key, err);

    if (rc == KL_OK) {
        rc = kl_signer_token(session, kl_pair_role_of(suite), handle, key, &signer, err);
    }
    if (rc != KL_OK) {
        goto out;
    }
    req = X509_REQ_new();
    if (!req || X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_subject_name(req, subject) != 1 || X509_REQ_set_pubkey(req, key) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "X509_REQ_new", "building the request");
        goto out;
    }
    rc = kl_sign_request(signer, req, err);
    if (rc == KL_OK) {
        *out = req;
        req = NULL;
    }
out:
    X509_REQ_free(req);
    kl_signer_free(signer);
    EVP_PKEY_free(key);
    return rc;
}

/* Whoever can have a key certified can have it served. */
static enum kl_rc audit_request(const struct kl_config *config, X509_REQ *req, const char *label,
                                const char *subject, struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT];
    enum kl_rc rc = kl_pubkey_fingerprint(X509_REQ_get0_pubkey(req), fingerprint, err);
    const struct kl_log_field fields[] = {KL_STR("label", label),
                                          KL_STR("spki_sha256", fingerprint),
                                          KL_STR("subject", subject)};

    return rc == KL_OK ? kl_ctl_audit(config, "csr-made", "", fields,
                                      sizeof(fields) / sizeof(fields[0]), err)
                       : rc;
}

/* Writes the request to a file, with a report, or to stdout alone. */
static enum kl_rc write_request(X509_REQ *req, const char *label, const char *path, int force,
                                int as_json, struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT];
    BIO *bio = BIO_new(BIO_s_mem());
    enum kl_rc rc = KL_OK;

    kl_err_openssl_clear();
    if (!bio || PEM_write_bio_X509_REQ(bio, req) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "PEM_write_bio_X509_REQ", "encoding");
    }
    if (rc == KL_OK) {
        rc = kl_ctl_write_out(bio, path, force, err);
    }
    if (rc == KL_OK) {
        rc = kl_pubkey_fingerprint(X509_REQ_get0_pubkey(req), fingerprint, err);
    }
    if (rc == KL_OK && !kl_ctl_is_stdout(path)) {
        rc = kl_report_print(json_pack("{s:s, s:s, s:s}", "label", label, "file", path,
                                       "spki_sha256", fingerprint),
                             as_json, err);
    }
    BIO_free(bio);
    return rc;
}

enum kl_rc kl_ctl_key_csr(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *text = NULL, *path = NULL, *label = ctl->config.work_key;
    int force = 0;
    const struct kl_option options[] = {
        {"--subject", 1, .text = &text},
        {"--out", 1, .text = &path},
        {"--label", .text = &label},
        {"--force", .flag = &force},
        {0},
    };
    struct kl_hsm *hsm = NULL;
    X509_NAME *subject = NULL;
    X509_REQ *req = NULL;
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_name_parse(text, &subject, err);
    if (rc == KL_OK) {
        rc = kl_ctl_audit_ready(&ctl->config, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_hsm_open(&ctl->config, 0, &hsm, err);
    }
    if (rc == KL_OK) {
        rc = build_request(kl_hsm_session(hsm), label, subject, &req, err);
    }
    if (rc == KL_OK) {
        rc = audit_request(&ctl->config, req, label, text, err);
    }
    if (rc == KL_OK) {
        rc = write_request(req, label, path, force, ctl->json, err);
    }
    X509_REQ_free(req);
    X509_NAME_free(subject);
    kl_hsm_free(hsm);
    return rc;
}
