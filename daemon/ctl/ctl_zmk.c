/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl zmk: zone keys, which custodians of both parties bring in components.
 */
#include <string.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_components.h"
#include "daemon/ctl/ctl_key.h"
#include "daemon/ctl/ctl_list.h"
#include "daemon/ctl/ctl_terminal.h"
#include "daemon/store/store.h"
#include "pkcs11/keys.h"
#include "pkcs11/labels.h"

static const char *use_name(enum kl_zmk_use use)
{
    return use == KL_ZMK_IMPORT ? "import" : "export";
}

/* ---- zmk import ---- */

struct wish {
    const char *label, *kcv;
    enum kl_zmk_use use;
    const struct kl_alg_info *info;
    struct kl_ctl_components components;
};

static enum kl_rc take_use(const char *value, void *out, struct kl_err *err)
{
    enum kl_zmk_use use = strcmp(value, "export") == 0 ? KL_ZMK_EXPORT : KL_ZMK_IMPORT;

    if (strcmp(value, use_name(use)) != 0) {
        return kl_err_set(err, KL_ERR_USAGE, "'%.40s' must be import or export", value);
    }
    *(enum kl_zmk_use *)out = use;
    return KL_OK;
}

static enum kl_rc take_algorithm(const char *value, void *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_by_name(value);

    if (!info || !info->is_aes) {
        return kl_err_set(err, KL_ERR_USAGE, "'%.40s' must be aes128, aes192 or aes256", value);
    }
    *(const struct kl_alg_info **)out = info;
    return KL_OK;
}

static enum kl_rc parse(int argc, char **argv, struct wish *wish, struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--label", 1, .text = &wish->label},
        {"--for", 1, .take = take_use, .out = &wish->use},
        {"--algorithm", 1, .take = take_algorithm, .out = &wish->info},
        {"--expect-kcv", .text = &wish->kcv},
        KL_CTL_COMPONENTS_OPTIONS(&wish->components),
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc == KL_OK) {
        rc = kl_ctl_label(wish->label, err);
    }
    return rc != KL_OK
               ? rc
               : kl_options_require("--components", wish->components.count ? "" : NULL, err);
}

static enum kl_rc record(const struct kl_ctl *ctl, const struct wish *wish, const char *kcv,
                         struct kl_err *err)
{
    const struct kl_log_field fields[] = {KL_STR("label", wish->label),
                                          KL_STR("for", use_name(wish->use)),
                                          KL_STR("alg", wish->info->name), KL_STR("kcv", kcv)};
    enum kl_rc rc = kl_ctl_audit(&ctl->config, "zmk-imported", "", fields,
                                 sizeof(fields) / sizeof(fields[0]), err);

    return rc == KL_OK ? KL_OK
                       : kl_err_context(err, "the zone key is in the HSM, but not in the audit "
                                             "trail");
}

static enum kl_rc create(const struct kl_ctl *ctl, struct kl_session *session,
                         const struct wish *wish, const struct kl_components_wish *components,
                         struct kl_err *err)
{
    struct kl_secret *key = NULL;
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    uint8_t kcv[KL_KCV_LEN_MAX];
    size_t kcv_len = 0;
    char text[KL_KCV_TEXT];
    unsigned bits;
    enum kl_rc rc = kl_ceremony_components(session, components, &key, kcv, &kcv_len, err);

    if (rc == KL_OK) {
        rc = kl_zmk_create(session, wish->use, wish->label, key, err);
    }
    kl_secret_free(key);
    if (rc != KL_OK) {
        return rc;
    }
    kl_kcv_format(kcv, kcv_len, text);
    if ((rc = record(ctl, wish, text, err)) != KL_OK) {
        return rc;
    }
    if ((rc = kl_zmk_find(session, wish->use, wish->label, &made, &bits, err)) != KL_OK) {
        return kl_err_context(err, "the zone key was made and is in the audit trail, but the HSM "
                                   "does not give it as it was made");
    }
    kl_ctl_warn_mechanisms(session, made, wish->label);
    return kl_report_print(json_pack("{s:s, s:s, s:s, s:s}", "label", wish->label, "for",
                                     use_name(wish->use), "algorithm", wish->info->name, "kcv",
                                     text),
                           ctl->json, err);
}

static enum kl_rc zmk_import(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct wish wish = {0};
    struct kl_components_wish components;
    struct kl_hsm *hsm = NULL;
    enum kl_rc rc = parse(argc, argv, &wish, err);

    if (rc == KL_OK) {
        rc = kl_ctl_components_wish(&wish.components, wish.info, wish.kcv, &components, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_audit_ready(&ctl->config, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_hsm_open(&ctl->config, 1, &hsm, err);
    }
    if (rc == KL_OK) {
        rc = create(ctl, kl_hsm_session(hsm), &wish, &components, err);
    }
    kl_hsm_free(hsm);
    return rc;
}

/* ---- zmk list ---- */

/* One row for a zone key; other secret keys are passed over. */
static enum kl_rc list_key(const struct kl_config *config, struct kl_session *session,
                           const char *label, struct kl_ctl_list *list, struct kl_err *err)
{
    char name[KL_KEY_NAME_TEXT];
    CK_OBJECT_HANDLE handle;
    enum kl_zmk_use use = KL_ZMK_IMPORT;
    unsigned bits = 0;
    enum kl_rc rc = kl_zmk_find(session, use, label, &handle, &bits, err);

    (void)config;
    if (rc == KL_ERR_KEY) {
        use = KL_ZMK_EXPORT;
        rc = kl_zmk_find(session, use, label, &handle, &bits, err);
    }
    if (rc != KL_OK) {
        return rc == KL_ERR_KEY ? KL_OK : rc;
    }
    kl_key_name(KL_KEY_AES, bits, name);
    return kl_ctl_list_row(
        list, json_pack("{s:s, s:s, s:s}", "label", label, "for", use_name(use), "key", name), err);
}

static enum kl_rc zmk_list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {24, 6, 0};
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "", err);

    return rc == KL_OK ? kl_ctl_list_keys(ctl, kl_labels_secret, list_key, widths, err) : rc;
}

const struct kl_ctl_command kl_ctl_zmk_commands[] = {
    {"zmk", "import", zmk_import,
     "--label LABEL --for import|export --algorithm "
     "aes128|aes192|aes256 " KL_CTL_COMPONENTS_SYNOPSIS " [--expect-kcv HEX]",
     "Make a zone key from its components, typed one by one (or from SRC), each with its KCV;\n"
     "      the key's KCV is to be confirmed, or is HEX. TMKs come in or go out under it, not "
     "both"},
    {"zmk", "list", zmk_list, "", "The zone keys in the HSM"},
    {0},
};
