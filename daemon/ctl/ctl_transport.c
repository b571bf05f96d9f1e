/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl transport: key pairs in the HSM under whose public half others send TMKs.
 */
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_key.h"
#include "pkcs11/import.h"
#include "pkcs11/keys.h"
#include "proto/cert.h"

/* Label, kind, fingerprint, and the hash that the sender's OAEP has to use. Warns. */
static enum kl_rc describe(struct kl_session *session, const char *label, const EVP_PKEY *key,
                           json_t **out, struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT], name[KL_KEY_NAME_TEXT];
    struct kl_carrier carrier;
    enum kl_rc rc = kl_carrier_transport(session, label, &carrier, err);

    if (rc == KL_OK) {
        rc = kl_pubkey_fingerprint(key, fingerprint, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    kl_ctl_warn_mechanisms(session, carrier.handle, label);
    kl_key_name(carrier.type, carrier.bits, name);
    *out =
        json_pack("{s:s, s:s, s:s, s:s}", "label", label, "key", name, "spki_sha256", fingerprint,
                  "oaep_hash", carrier.oaep_hash == KL_OAEP_SHA256 ? "sha256" : "sha1");
    return *out ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "report of a key");
}

/* ---- transport generate ---- */

static enum kl_rc transport_generate(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *label = NULL, *kind = "rsa-3072";
    char fingerprint[KL_FINGERPRINT_TEXT];
    const struct kl_option options[] = {{"--label", 1, .text = &label},
                                        {"--key", .text = &kind},
                                        {0}};
    enum kl_key_type type;
    unsigned bits;
    struct kl_hsm *hsm = NULL;
    EVP_PKEY *key = NULL;
    json_t *report = NULL;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, options, "", err)) != KL_OK ||
        (rc = kl_options_key_type("--key", kind, &type, &bits, err)) != KL_OK ||
        (rc = kl_ctl_label(label, err)) != KL_OK ||
        (rc = kl_ctl_audit_ready(&ctl->config, err)) != KL_OK ||
        (rc = kl_ctl_hsm_open(&ctl->config, 1, &hsm, err)) != KL_OK) {
        return rc;
    }
    rc = kl_pair_generate(kl_hsm_session(hsm), KL_PAIR_TRANSPORT, label, type, bits, &key, err);
    if (rc == KL_OK) {
        rc = kl_pubkey_fingerprint(key, fingerprint, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_audit_key(&ctl->config, "key-generated", "transport", label, fingerprint, err);
    }
    if (rc == KL_OK) {
        rc = describe(kl_hsm_session(hsm), label, key, &report, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(report, ctl->json, err);
    }
    EVP_PKEY_free(key);
    kl_hsm_free(hsm);
    return rc;
}

/* ---- transport show ---- */

static enum kl_rc transport_show(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *label = NULL, *path = NULL;
    int force = 0;
    const struct kl_option options[] = {{"--label", 1, .text = &label},
                                        {"--out", .text = &path},
                                        {"--force", .flag = &force},
                                        {0}};
    struct kl_hsm *hsm = NULL;
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *key = NULL;
    json_t *report = NULL;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, options, "", err)) != KL_OK ||
        (rc = kl_ctl_hsm_open(&ctl->config, 0, &hsm, err)) != KL_OK) {
        return rc;
    }
    rc = kl_pair_find(kl_hsm_session(hsm), KL_PAIR_TRANSPORT, label, &handle, &key, err);
    if (rc == KL_OK) {
        rc = describe(kl_hsm_session(hsm), label, key, &report, err);
    }
    if (rc == KL_OK && path) {
        rc = kl_ctl_write_public(key, path, force, err);
    }
    if (rc == KL_OK && !(path && kl_ctl_is_stdout(path))) {
        rc = kl_report_print(report, ctl->json, err);
        report = NULL;
    }
    json_decref(report);
    EVP_PKEY_free(key);
    kl_hsm_free(hsm);
    return rc;
}

const struct kl_ctl_command kl_ctl_transport_commands[] = {
    {"transport", "generate", transport_generate,
     "--label LABEL [--key rsa-2048|rsa-3072|rsa-4096]",
     "Make a key pair under whose public half others send TMKs (default rsa-3072)"},
    {"transport", "show", transport_show, "--label LABEL [--out FILE|-] [--force]",
     "Show a transport key, with its fingerprint and the hash that senders' RSA-OAEP must use;\n"
     "      --out writes the public key (PEM)"},
    {0},
};
