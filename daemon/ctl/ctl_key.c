/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl key: step S1. Makes work keys, AcquireWCRT_Prk and AcquireWCRT_Pu, and the keys of
 * the store and its audit trail, and shows them.
 */
#include "daemon/ctl/ctl_key.h"

#include <stdio.h>
#include <stdlib.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl_audit_key.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_terminal.h"
#include "daemon/store/store.h"
#include "pkcs11/auditkey.h"
#include "pkcs11/keys.h"
#include "proto/cert.h"

#define RSA_BITS_DEFAULT 3072
#define EC_BITS_DEFAULT 256

/* ---- Shared ---- */

enum kl_rc kl_ctl_audit_key(const struct kl_config *config, const char *event, const char *role,
                            const char *label, const char *fingerprint, struct kl_err *err)
{
    const struct kl_log_field fields[] = {KL_STR("role", role), KL_STR("label", label),
                                          KL_STR("spki_sha256", fingerprint)};
    enum kl_rc rc = kl_ctl_audit(config, event, "", fields, *fingerprint ? 3 : 2, err);

    return rc == KL_OK ? rc
                       : kl_err_context(err,
                                        "done in the HSM (%s \"%s\"), and not in the audit "
                                        "trail",
                                        event, label);
}

/* One of the store's keys: made if there is none, else checked. *made: it was. */
static enum kl_rc store_key(
    const struct kl_config *config, struct kl_session *session, const char *role, const char *label,
    enum kl_rc (*generate_key)(struct kl_session *, const char *, struct kl_err *),
    enum kl_rc (*find_key)(struct kl_session *, const char *, CK_OBJECT_HANDLE *, struct kl_err *),
    int *made, struct kl_err *err)
{
    CK_OBJECT_HANDLE handle;
    enum kl_rc rc = generate_key(session, label, err);

    *made = rc == KL_OK;
    if (rc == KL_ERR_EXISTS) {
        return find_key(session, label, &handle, err);
    }
    return rc == KL_OK ? kl_ctl_audit_key(config, "key-generated", role, label, "", err) : rc;
}

enum kl_rc kl_ctl_store_keys(const struct kl_config *config, struct kl_session *session,
                             struct kl_ctl_made *made, struct kl_err *err)
{
    struct kl_ctl_made fresh = {0};
    enum kl_rc rc = store_key(config, session, "storage", config->storage_key,
                              kl_storage_key_generate, kl_storage_key_find, &fresh.storage, err);

    if (rc == KL_OK) {
        rc = store_key(config, session, "binding", config->binding_key, kl_binding_key_generate,
                       kl_binding_key_find, &fresh.binding, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_audit_key_make(config, session, &fresh.audit, err);
    }
    *made = fresh;
    return rc;
}

enum kl_rc kl_ctl_take_suite(const char *name, void *out, struct kl_err *err)
{
    unsigned suite = kl_suite_by_name(name);

    if (suite == 0) {
        return kl_err_set(err, KL_ERR_USAGE, "'%.40s' must be hardened-rsa, hardened-ec or classic",
                          name);
    }
    *(enum kl_suite *)out = (enum kl_suite)suite;
    return KL_OK;
}

void kl_ctl_warn_suite(const struct kl_config *config, enum kl_suite suite)
{
    for (size_t i = 0; i < config->suites.count; i++) {
        if (config->suites.items[i] + 1 == (uint64_t)suite) {
            return;
        }
    }
    fprintf(stderr,
            "keyloaderctl: warning: [policy] suites does not list %s: the key is of no use "
            "until it does\n",
            kl_suite_name(suite));
}

void kl_ctl_warn_mechanisms(struct kl_session *session, CK_OBJECT_HANDLE key, const char *label)
{
    if (!kl_key_names_mechanisms(session, key)) {
        fprintf(
            stderr,
            "keyloaderctl: warning: the token holds no CKA_ALLOWED_MECHANISMS of \"%s\": who has "
            "the PIN can use it by every mechanism that its usage flags allow\n",
            label);
    }
}

/* 1 if the certificate that is installed under that label is for this key. */
static int is_certified(const struct kl_config *config, const char *label, const EVP_PKEY *key)
{
    struct kl_err ignored = KL_ERR_INIT;
    STACK_OF(X509) *chain = NULL;
    int same = kl_ctl_installed(config, label, &chain, &ignored) == KL_OK &&
               EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(chain, 0)), key) == 1;

    sk_X509_pop_free(chain, X509_free);
    return same;
}

enum kl_rc kl_ctl_describe_public(const EVP_PKEY *key, char name[KL_KEY_NAME_TEXT],
                                  char fingerprint[KL_FINGERPRINT_TEXT], struct kl_err *err)
{
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = kl_pubkey_type(key, &type, &bits, err);

    if (rc == KL_OK) {
        kl_key_name(type, bits, name);
        rc = kl_pubkey_fingerprint(key, fingerprint, err);
    }
    return rc;
}

enum kl_rc kl_ctl_work_json(const struct kl_config *config, const char *label, enum kl_suite suite,
                            const EVP_PKEY *key, json_t **out, struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT], name[KL_KEY_NAME_TEXT];
    enum kl_rc rc = kl_ctl_describe_public(key, name, fingerprint, err);

    if (rc != KL_OK) {
        return rc;
    }
    *out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "label", label, "suite",
                     kl_suite_name(suite), "key", name, "attributes", "ok", "spki_sha256",
                     fingerprint, "certificate_installed", is_certified(config, label, key));
    return *out ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "report of a key");
}

enum kl_rc kl_ctl_made_json(const struct kl_config *config, json_t *work,
                            const struct kl_ctl_made *made, struct kl_err *err)
{
    if (json_object_set_new(work, "storage_key", json_string(config->storage_key)) != 0 ||
        json_object_set_new(work, "storage_key_made", json_boolean(made->storage)) != 0 ||
        json_object_set_new(work, "binding_key", json_string(config->binding_key)) != 0 ||
        json_object_set_new(work, "binding_key_made", json_boolean(made->binding)) != 0 ||
        json_object_set_new(work, "audit_key", json_string(config->audit_key)) != 0 ||
        json_object_set_new(work, "audit_key_made", json_boolean(made->audit)) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "report of a key");
    }
    return KL_OK;
}

/* ---- key generate ---- */

struct wish {
    const char *label;
    enum kl_suite suite;   /* 0 = by the kind of key */
    enum kl_key_type type; /* with bits 0: by the suite */
    unsigned bits;
    int replace;
};

/* Fills in what was not said; whether it goes together, kl_pair_generate sees. */
static void settle(struct wish *wish)
{
    if (!wish->suite) {
        wish->suite =
            wish->bits && wish->type == KL_KEY_EC ? KL_SUITE_HARDENED_EC : KL_SUITE_HARDENED_RSA;
    }
    if (!wish->bits) {
        wish->type = kl_suite_key_type(wish->suite);
        wish->bits = wish->type == KL_KEY_EC ? EC_BITS_DEFAULT : RSA_BITS_DEFAULT;
    }
}

/* Destroys the pair that is there, if any, and tells what that was: "" if there was none. */
static enum kl_rc destroy_old(const struct kl_config *config, struct kl_session *session,
                              const char *label, char fingerprint[KL_FINGERPRINT_TEXT],
                              int *certified, struct kl_err *err)
{
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *old = NULL;
    enum kl_suite suite;
    enum kl_rc rc = kl_pair_find(session, KL_PAIR_TRANSPORT, label, &handle, &old, err);

    *certified = 0;
    *fingerprint = '\0';
    if (rc == KL_OK) {
        EVP_PKEY_free(old);
        return kl_err_set(err, KL_ERR_EXISTS,
                          "\"%s\" is a transport key: it is not replaced by a work key", label);
    }
    rc = kl_pair_find_work(session, label, &suite, &handle, &old, err);
    if (rc == KL_OK) {
        rc = kl_pubkey_fingerprint(old, fingerprint, err);
        *certified = is_certified(config, label, old);
    } else if (rc == KL_ERR_KEY) { /* none, or one that is not as it must be */
        rc = KL_OK;
    }
    EVP_PKEY_free(old);
    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_pair_destroy(session, label, err);
    if (rc == KL_ERR_KEY && *fingerprint == '\0') {
        return KL_OK; /* there is none */
    }
    if (rc == KL_OK && *fingerprint == '\0') {
        snprintf(fingerprint, KL_FINGERPRINT_TEXT, "unusable-pair");
    }
    return rc;
}

static void tell_destroyed(const char *label, const char *fingerprint, int certified)
{
    if (*fingerprint) {
        fprintf(stderr, "keyloaderctl: destroyed the work key \"%s\", SPKI SHA-256 %s\n", label,
                fingerprint);
    }
    if (certified) {
        fprintf(stderr,
                "keyloaderctl: the certificate that is installed for \"%s\" was for the destroyed "
                "key and is useless now: no terminal can be loaded with it until `key csr` has "
                "been signed by the CA and `cert install --force` has installed the new one\n",
                label);
    }
}

static enum kl_rc report_key(const struct kl_ctl *ctl, const struct wish *wish, const EVP_PKEY *key,
                             const struct kl_ctl_made *made, const char *destroyed,
                             struct kl_err *err)
{
    json_t *work = NULL;
    enum kl_rc rc = kl_ctl_work_json(&ctl->config, wish->label, wish->suite, key, &work, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_ctl_made_json(&ctl->config, work, made, err);
    if (rc == KL_OK &&
        json_object_set_new(work, "destroyed", json_string(*destroyed ? destroyed : "none")) != 0) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "report of a key");
    }
    if (rc != KL_OK) {
        json_decref(work);
        return rc;
    }
    return kl_report_print(work, ctl->json, err);
}

static enum kl_rc generate(const struct kl_ctl *ctl, struct kl_session *session,
                           const struct wish *wish, struct kl_err *err)
{
    char old[KL_FINGERPRINT_TEXT] = "", fingerprint[KL_FINGERPRINT_TEXT];
    struct kl_ctl_made made;
    int certified = 0;
    EVP_PKEY *key = NULL;
    /* First, so that one of them that is not as it must be stops us before any harm. */
    enum kl_rc rc = kl_ctl_store_keys(&ctl->config, session, &made, err);

    if (rc == KL_OK && wish->replace) {
        rc = destroy_old(&ctl->config, session, wish->label, old, &certified, err);
        if (rc == KL_OK) {
            tell_destroyed(wish->label, old, certified);
        }
        if (rc == KL_OK && *old) {
            rc = kl_ctl_audit_key(&ctl->config, "key-destroyed", "work", wish->label, old, err);
        }
    }
    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_pair_generate(session, kl_pair_role_of(wish->suite), wish->label, wish->type,
                          wish->bits, &key, err);
    if (rc == KL_ERR_EXISTS && !wish->replace) {
        return kl_err_set(err, KL_ERR_EXISTS,
                          "there is a work key \"%s\" already; --replace destroys it and the use "
                          "of its certificate",
                          wish->label);
    }
    if (rc != KL_OK) {
        return *old ? kl_err_context(err, "the old work key is destroyed and there is no new one")
                    : rc;
    }
    rc = kl_pubkey_fingerprint(key, fingerprint, err);
    if (rc == KL_OK) {
        rc = kl_ctl_audit_key(&ctl->config, "key-generated", kl_suite_name(wish->suite),
                              wish->label, fingerprint, err);
    }
    if (rc == KL_OK) {
        rc = report_key(ctl, wish, key, &made, old, err);
    }
    EVP_PKEY_free(key);
    return rc;
}

/* Its workers would go on with handles of a key that is no more. */
static enum kl_rc refuse_while_serving(const struct kl_config *config, struct kl_err *err)
{
    int serving = 0;
    enum kl_rc rc = kl_store_claimed(config->store, &serving, err);

    if (rc == KL_OK && serving) {
        rc = kl_err_set(err, KL_ERR_BUSY,
                        "a daemon serves %s with the key to be replaced: stop keyloaderd first",
                        config->store);
    }
    return rc;
}

static enum kl_rc parse_generate(int argc, char **argv, struct wish *wish, struct kl_err *err)
{
    const char *kind = NULL;
    const struct kl_option options[] = {
        {"--label", .text = &wish->label},
        {"--suite", .take = kl_ctl_take_suite, .out = &wish->suite},
        {"--key", .text = &kind},
        {"--replace", .flag = &wish->replace},
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc == KL_OK && kind) {
        rc = kl_options_key_type("--key", kind, &wish->type, &wish->bits, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_label(wish->label, err);
    }
    if (rc == KL_OK) {
        settle(wish);
    }
    return rc;
}

static enum kl_rc key_generate(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct wish wish = {.label = ctl->config.work_key};
    struct kl_hsm *hsm = NULL;
    enum kl_rc rc = parse_generate(argc, argv, &wish, err);

    if (rc == KL_OK && wish.replace && kl_config_dual(&ctl->config, KL_DUAL_KEY_DELETE)) {
        rc = kl_err_set(err, KL_ERR_REFUSED,
                        "--replace: deleting a key takes two operators ([control] dual-control "
                        "names key-delete): `key delete` it first");
    }
    if (rc == KL_OK && wish.replace) {
        rc = refuse_while_serving(&ctl->config, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    kl_ctl_warn_suite(&ctl->config, wish.suite);
    rc = kl_ctl_audit_ready(&ctl->config, err);
    if (rc == KL_OK) {
        rc = kl_ctl_hsm_open(&ctl->config, 1, &hsm, err);
    }
    if (rc == KL_OK) {
        rc = generate(ctl, kl_hsm_session(hsm), &wish, err);
    }
    kl_hsm_free(hsm);
    return rc;
}

/* ---- key show ---- */

/* A key that cannot be used: what is wrong with it. */
static json_t *describe_bad(const char *label, const struct kl_err *err)
{
    return json_pack("{s:s, s:s}", "label", label, "attributes", err->text);
}

/* The work key of that label, whole or not, into *out; returns what is wrong with it. */
static enum kl_rc describe(const struct kl_config *config, struct kl_session *session,
                           const char *label, json_t **out, struct kl_err *err)
{
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *key = NULL;
    enum kl_suite suite;
    enum kl_rc rc = kl_pair_find_work(session, label, &suite, &handle, &key, err);

    if (rc == KL_OK) {
        rc = kl_ctl_work_json(config, label, suite, key, out, err);
    }
    if (rc != KL_OK) {
        *out = describe_bad(label, err);
    }
    EVP_PKEY_free(key);
    return rc;
}

/* A key of the store, whole or not, into *out; returns what is wrong with it. */
static enum kl_rc describe_store_key(enum kl_rc found, const char *label, const struct kl_err *err,
                                     json_t **out)
{
    *out = found == KL_OK ? json_pack("{s:s, s:s}", "label", label, "attributes", "ok")
                          : describe_bad(label, err);
    return found;
}

/* The audit key can be made later: that there is none is no error. */
static enum kl_rc find_audit_key(const struct kl_config *config, struct kl_session *session,
                                 json_t **out, struct kl_err *err)
{
    struct kl_audit_key *key = NULL;
    enum kl_rc rc = kl_audit_key_open(session, config->audit_key, &key, err);

    kl_audit_key_close(key);
    rc = describe_store_key(rc, config->audit_key, err, out);
    return rc == KL_ERR_KEY ? KL_OK : rc;
}

/* All of them, and the first thing that is wrong. */
static enum kl_rc show(const struct kl_ctl *ctl, struct kl_hsm *hsm, const char *label,
                       struct kl_err *err)
{
    const struct kl_config *config = &ctl->config;
    struct kl_session *session = kl_hsm_session(hsm);
    struct kl_err errs[] = {KL_ERR_INIT, KL_ERR_INIT, KL_ERR_INIT, KL_ERR_INIT, KL_ERR_INIT};
    json_t *work = NULL, *storage = NULL, *binding = NULL, *audit = NULL;
    CK_OBJECT_HANDLE handle;
    enum kl_rc rcs[5];

    rcs[0] = describe(config, session, label, &work, &errs[0]);
    rcs[1] =
        describe_store_key(kl_storage_key_find(session, config->storage_key, &handle, &errs[1]),
                           config->storage_key, &errs[1], &storage);
    rcs[2] =
        describe_store_key(kl_binding_key_find(session, config->binding_key, &handle, &errs[2]),
                           config->binding_key, &errs[2], &binding);
    /* "o" takes them all, also on failure. */
    rcs[3] = find_audit_key(config, session, &audit, &errs[3]);
    rcs[4] = kl_report_print(json_pack("{s:s, s:o, s:o, s:o, s:o}", "token",
                                       kl_token_label(kl_hsm_token(hsm)), "work_key", work,
                                       "storage_key", storage, "binding_key", binding, "audit_key",
                                       audit),
                             ctl->json, &errs[4]);
    for (size_t i = 0; i < sizeof(rcs) / sizeof(rcs[0]); i++) {
        if (rcs[i] != KL_OK) {
            *err = errs[i];
            return rcs[i];
        }
    }
    return KL_OK;
}

static enum kl_rc key_show(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *label = ctl->config.work_key;
    const struct kl_option options[] = {{"--label", .text = &label}, {0}};
    struct kl_hsm *hsm = NULL;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, options, "", err)) != KL_OK ||
        (rc = kl_ctl_hsm_open(&ctl->config, 0, &hsm, err)) != KL_OK) {
        return rc;
    }
    rc = show(ctl, hsm, label, err);
    kl_hsm_free(hsm);
    return rc;
}

/* ---- key list ---- */

enum kl_rc kl_ctl_list_keys(struct kl_ctl *ctl, kl_ctl_labels_fn read, kl_ctl_list_key_fn row,
                            const int *widths, struct kl_err *err)
{
    struct kl_ctl_list list = {ctl->json, widths, 0};
    struct kl_labels *labels = NULL;
    struct kl_hsm *hsm = NULL;
    enum kl_rc rc = kl_ctl_hsm_open(&ctl->config, 0, &hsm, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (!(labels = calloc(1, sizeof(*labels)))) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "labels of the HSM's keys");
    } else {
        rc = read(kl_hsm_session(hsm), labels, err);
    }
    for (size_t i = 0; rc == KL_OK && i < labels->count; i++) {
        rc = row(&ctl->config, kl_hsm_session(hsm), labels->label[i], &list, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_list_end(&list, err);
    }
    free(labels);
    kl_hsm_free(hsm);
    return rc;
}

/* One row for a work key; keys of other roles are passed over. */
static enum kl_rc list_key(const struct kl_config *config, struct kl_session *session,
                           const char *label, struct kl_ctl_list *list, struct kl_err *err)
{
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *key = NULL;
    enum kl_suite suite;
    json_t *row = NULL;
    enum kl_rc rc = kl_pair_find_work(session, label, &suite, &handle, &key, err);

    if (rc == KL_ERR_KEY) {
        return KL_OK;
    }
    if (rc == KL_OK) {
        rc = kl_ctl_work_json(config, label, suite, key, &row, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_list_row(list, row, err);
    }
    EVP_PKEY_free(key);
    return rc;
}

static enum kl_rc key_list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {24, 13, 9, 10, 64, 0};
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "", err);

    return rc == KL_OK ? kl_ctl_list_keys(ctl, kl_labels_read, list_key, widths, err) : rc;
}

const struct kl_ctl_command kl_ctl_key_commands[] = {
    {"key", "generate", key_generate,
     "[--label LABEL] [--suite SUITE] [--key rsa-2048|rsa-3072|rsa-4096|p-256|p-384|p-521] "
     "[--replace]",
     "Make a work key pair (default hardened-rsa with rsa-3072; hardened-ec with p-256), and\n"
     "      storage, binding and audit key if there are none; --replace destroys the old pair"},
    {"key", "import", kl_ctl_key_import,
     "FILE [--label LABEL] [--suite SUITE] [--passphrase-source SRC]",
     "Take a work key pair that was made elsewhere, from encrypted PKCS#8 (PEM), and make "
     "storage,\n"
     "      binding and audit key if there are none; its passphrase is asked for, or comes from "
     "SRC"},
    {"key", "show", key_show, "[--label LABEL]",
     "Show a work key (default: [hsm] work-key), storage, binding and audit key, and check them"},
    {"key", "list", key_list, "", "The work keys in the HSM"},
    {"key", "delete", kl_ctl_key_delete, "LABEL [--request ID]",
     "Destroy a work key without certificate, a transport key, a zone key or a storage key that\n"
     "      the store has left and needs no more; takes two operators unless [control]\n"
     "      dual-control says otherwise: ID is their request"},
    {"key", "csr", kl_ctl_key_csr, "--subject NAME --out FILE|- [--label LABEL] [--force]",
     "Write a certification request (PKCS#10, PEM) for a work key, for the CA to sign"},
    {0},
};
