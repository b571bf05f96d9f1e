/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl key delete: destroys a key that nothing needs any more. What is in use is refused,
 * when it is asked and again when it is done; what cannot be told not to be is as well.
 */
#include <inttypes.h>
#include <string.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_dual.h"
#include "daemon/ctl/ctl_key.h"
#include "daemon/ctl/ctl_store.h"
#include "daemon/store/store_wrap.h"
#include "pkcs11/keys.h"

/* What a label stands for. */
struct victim {
    const char *label;
    const char *role;        /* "work", "transport", "zmk", "storage" */
    int of_this_store;       /* the store has had it as its storage key */
    CK_OBJECT_HANDLE secret; /* of a zmk, or a storage key */
};

/* One of the keys that the configuration names is in use whatever else is true. */
static enum kl_rc check_config(const struct kl_config *config, const char *label,
                               struct kl_err *err)
{
    const struct {
        const char *label, *role, *user;
    } keys[] = {{config->storage_key, "storage", "the store"},
                {config->binding_key, "binding", "the store"},
                {config->audit_key, "audit", "the audit trail"}};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(label, keys[i].label) == 0) {
            return kl_err_set(err, KL_ERR_REFUSED,
                              "\"%s\" is the %s key of the configuration: %s needs it", label,
                              keys[i].role, keys[i].user);
        }
    }
    return KL_OK;
}

static enum kl_rc check_certificate(const struct kl_config *config, const char *label,
                                    struct kl_err *err)
{
    struct kl_err why = KL_ERR_INIT;
    STACK_OF(X509) *chain = NULL;
    enum kl_rc rc = kl_ctl_installed(config, label, &chain, &why);

    if (rc == KL_ERR_NOT_FOUND) {
        return KL_OK;
    }
    /* One that cannot be read is one as well. */
    sk_X509_pop_free(chain, X509_free);
    return kl_err_set(err, KL_ERR_REFUSED,
                      "a certificate is installed for \"%s\": `cert remove` it, and reload "
                      "keyloaderd, first",
                      label);
}

static enum kl_rc needed(const char *label, const struct kl_wrap_needs *needs, struct kl_err *err)
{
    if (needs->rotating || needs->current || needs->live > 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "\"%s\" is the store's storage key%s: %" PRIu64 " rows are under it",
                          label, needs->rotating ? ", or becomes it" : "", needs->live);
    }
    if (needs->digests > 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "\"%s\" was the store's storage key, and without it %" PRIu64
                          " destroyed TMKs would not be recognised if they were imported again",
                          label, needs->digests);
    }
    return KL_OK;
}

static enum kl_rc check_store(const struct kl_config *config, struct victim *victim,
                              struct kl_err *err)
{
    struct kl_store *store = NULL;
    struct kl_wrap_needs needs;
    enum kl_rc rc;

    if ((rc = kl_ctl_store_open(config, KL_STORE_READ, &store, err)) == KL_OK &&
        (rc = kl_store_wrap_needs(store, victim->label, &needs, err)) == KL_OK) {
        victim->of_this_store = needs.known;
        rc = needed(victim->label, &needs, err);
    }
    kl_store_free(store);
    return rc;
}

/* All that can be said without the HSM. */
static enum kl_rc check(const struct kl_config *config, struct victim *victim, struct kl_err *err)
{
    enum kl_rc rc;

    if ((rc = check_config(config, victim->label, err)) != KL_OK ||
        (rc = check_certificate(config, victim->label, err)) != KL_OK) {
        return rc;
    }
    return check_store(config, victim, err);
}

static enum kl_rc found_storage_key(struct victim *victim, struct kl_err *err)
{
    victim->role = "storage";
    return victim->of_this_store
               ? KL_OK
               : kl_err_set(err, KL_ERR_REFUSED,
                            "this store has never had the storage key \"%s\": another may need it",
                            victim->label);
}

static enum kl_rc find(struct kl_session *session, struct victim *victim, struct kl_err *err)
{
    const char *label = victim->label;
    struct kl_err none = KL_ERR_INIT;
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *key = NULL;
    enum kl_suite suite;
    unsigned bits;

    if (kl_pair_find_work(session, label, &suite, &handle, &key, &none) == KL_OK) {
        EVP_PKEY_free(key);
        victim->role = "work";
        return KL_OK;
    }
    if (kl_pair_find(session, KL_PAIR_TRANSPORT, label, &handle, &key, &none) == KL_OK) {
        EVP_PKEY_free(key);
        victim->role = "transport";
        return KL_OK;
    }
    if (kl_zmk_find(session, KL_ZMK_IMPORT, label, &victim->secret, &bits, &none) == KL_OK ||
        kl_zmk_find(session, KL_ZMK_EXPORT, label, &victim->secret, &bits, &none) == KL_OK) {
        victim->role = "zmk";
        return KL_OK;
    }
    if (kl_storage_key_find(session, label, &victim->secret, &none) == KL_OK) {
        return found_storage_key(victim, err);
    }
    return kl_err_set(err, none.rc == KL_ERR_KEY ? KL_ERR_NOT_FOUND : none.rc,
                      "there is no work, transport, zone or storage key \"%s\" (%s)", label,
                      none.text);
}

static enum kl_rc destroy(struct kl_ctl *ctl, struct kl_session *session,
                          const struct victim *victim, struct kl_err *err)
{
    const struct kl_log_field fields[] = {KL_STR("label", victim->label),
                                          KL_STR("role", victim->role)};
    enum kl_rc rc;

    /* On record first: a key that is gone without a record is worse than the reverse. */
    if ((rc = kl_ctl_audit(&ctl->config, "key-deleted", "", fields, 2, err)) != KL_OK) {
        return rc;
    }
    return victim->secret ? kl_key_destroy(session, victim->secret, victim->label, err)
                          : kl_pair_destroy(session, victim->label, err);
}

static enum kl_rc delete_key(struct kl_ctl *ctl, struct victim *victim, struct kl_ctl_dual *dual,
                             struct kl_err *err)
{
    struct kl_hsm *hsm = NULL;
    enum kl_rc rc;

    if ((rc = check(&ctl->config, victim, err)) != KL_OK ||
        (rc = kl_ctl_dual_begin(ctl, dual, err)) != KL_OK ||
        (rc = kl_ctl_hsm_open(&ctl->config, 1, &hsm, err)) != KL_OK) {
        return rc;
    }
    if ((rc = find(kl_hsm_session(hsm), victim, err)) == KL_OK &&
        (rc = kl_ctl_dual_use(ctl, dual, err)) == KL_OK) {
        rc = destroy(ctl, kl_hsm_session(hsm), victim, err);
    }
    kl_hsm_free(hsm);
    return rc;
}

enum kl_rc kl_ctl_key_delete(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct kl_ctl_dual dual = {.kind = "key-delete"};
    const struct kl_option options[] = {{"--request", .number = &dual.request, .min = 1,
                                         .max = INT32_MAX},
                                        {0}};
    struct victim victim = {0};
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, options, "LABEL", err)) != KL_OK ||
        (rc = kl_ctl_label(argv[optind], err)) != KL_OK) {
        return rc;
    }
    victim.label = argv[optind];
    dual.params = json_pack("{s:s}", "label", victim.label);
    rc = delete_key(ctl, &victim, &dual, err);
    if ((rc = kl_ctl_dual_end(ctl, &dual, rc, err)) != KL_OK) {
        return rc;
    }
    return kl_report_print(json_pack("{s:s, s:s, s:b}", "label", victim.label, "role", victim.role,
                                     "deleted", 1),
                           ctl->json, err);
}
