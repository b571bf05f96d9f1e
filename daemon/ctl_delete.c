/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl key delete: destroys a key that nothing needs any more. What is in use is refused;
 * what cannot be told not to be is as well.
 */
#include <string.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl.h"
#include "daemon/ctl_dual.h"
#include "daemon/ctl_hsm.h"
#include "daemon/ctl_key.h"
#include "pkcs11/keys.h"

/* What a label stands for. */
struct victim {
    const char *label;
    const char *role;        /* "work", "transport", "zmk" */
    CK_OBJECT_HANDLE secret; /* of a zmk */
};

/* One of the keys that the configuration names is in use whatever else is true. */
static enum kl_rc check_config(const struct kl_config *config, const char *label,
                               struct kl_err *err)
{
    if (strcmp(label, config->storage_key) == 0 || strcmp(label, config->binding_key) == 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "\"%s\" is the %s key of the configuration: the store needs it", label,
                          strcmp(label, config->storage_key) == 0 ? "storage" : "binding");
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

static enum kl_rc find(const struct kl_config *config, struct kl_session *session,
                       struct victim *victim, struct kl_err *err)
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
        return check_certificate(config, label, err);
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
    return kl_err_set(err, none.rc == KL_ERR_KEY ? KL_ERR_NOT_FOUND : none.rc,
                      "there is no work, transport or zone key \"%s\" (%s)", label, none.text);
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

    if ((rc = check_config(&ctl->config, victim->label, err)) != KL_OK ||
        (rc = kl_ctl_dual_begin(ctl, dual, err)) != KL_OK ||
        (rc = kl_ctl_hsm_open(&ctl->config, 1, &hsm, err)) != KL_OK) {
        return rc;
    }
    if ((rc = find(&ctl->config, kl_hsm_session(hsm), victim, err)) == KL_OK &&
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
