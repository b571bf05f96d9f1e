/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The roles as a table, and what all token keys share: see key_policy.h. Nothing is left to a
 * module's defaults.
 */
#include "pkcs11/key_policy.h"

#include <stdio.h>
#include <string.h>

#include "pkcs11/loader.h"
#include "pkcs11/rv.h"

#define MECHANISMS_MAX 16 /* more than this is not ours */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Roles ---- */

static const CK_MECHANISM_TYPE work_list[] = {CKM_RSA_PKCS_OAEP, CKM_SHA256_RSA_PKCS_PSS};
static const CK_MECHANISM_TYPE classic_list[] = {CKM_RSA_PKCS_OAEP, CKM_RSA_PKCS,
                                                 CKM_SHA256_RSA_PKCS};
static const CK_MECHANISM_TYPE work_ec_list[] = {CKM_ECDH1_DERIVE, CKM_ECDSA};
static const CK_MECHANISM_TYPE transport_list[] = {CKM_RSA_PKCS_OAEP};
static const CK_MECHANISM_TYPE device_list[] = {CKM_SHA256_RSA_PKCS_PSS};
static const CK_MECHANISM_TYPE device_ec_list[] = {CKM_ECDSA};

#define MECHANISMS(list, words) \
    { \
        list, COUNT(list), words \
    }
#define NO_KEYS \
    { \
        NULL, 0, NULL \
    }

static const struct kl_pair_policy policies[] = {
    [KL_PAIR_WORK] = {"work key", KL_CAN_UNWRAP | KL_CAN_SIGN, KL_CAN_WRAP | KL_CAN_VERIFY,
                      &kl_rnd1_demands,
                      MECHANISMS(work_list, "CKM_RSA_PKCS_OAEP and CKM_SHA256_RSA_PKCS_PSS"),
                      NO_KEYS, 0},
    [KL_PAIR_WORK_CLASSIC] = {"work key of classic", KL_CAN_DECRYPT | KL_CAN_SIGN,
                              KL_CAN_ENCRYPT | KL_CAN_VERIFY, NULL,
                              MECHANISMS(classic_list, "CKM_RSA_PKCS_OAEP, CKM_RSA_PKCS and "
                                                       "CKM_SHA256_RSA_PKCS"),
                              NO_KEYS, 0},
    [KL_PAIR_WORK_EC] = {"work key of hardened-ec", KL_CAN_DERIVE | KL_CAN_SIGN, KL_CAN_VERIFY,
                         NULL, NO_KEYS, MECHANISMS(work_ec_list, "CKM_ECDH1_DERIVE and CKM_ECDSA"),
                         0},
    [KL_PAIR_CA] = {"CA key", KL_CAN_SIGN, KL_CAN_VERIFY, NULL, NO_KEYS, NO_KEYS, 1},
    [KL_PAIR_TRANSPORT] = {"transport key", KL_CAN_UNWRAP, KL_CAN_WRAP, &kl_tmk_demands,
                           MECHANISMS(transport_list, "CKM_RSA_PKCS_OAEP"), NO_KEYS, 0},
    [KL_PAIR_DEVICE] = {"device key", KL_CAN_SIGN, KL_CAN_VERIFY, NULL,
                        MECHANISMS(device_list, "CKM_SHA256_RSA_PKCS_PSS"),
                        MECHANISMS(device_ec_list, "CKM_ECDSA"), 0},
    [KL_PAIR_AUDIT] = {"audit key", KL_CAN_SIGN, KL_CAN_VERIFY, NULL,
                       MECHANISMS(device_list, "CKM_SHA256_RSA_PKCS_PSS"),
                       MECHANISMS(device_ec_list, "CKM_ECDSA"), 0},
};

const struct kl_pair_policy *kl_pair_policy(enum kl_pair_role role)
{
    return &policies[role];
}

enum kl_pair_role kl_pair_role_of(enum kl_suite suite)
{
    switch (suite) {
    case KL_SUITE_CLASSIC:
        return KL_PAIR_WORK_CLASSIC;
    case KL_SUITE_HARDENED_EC:
        return KL_PAIR_WORK_EC;
    case KL_SUITE_HARDENED_RSA:
        break;
    }
    return KL_PAIR_WORK;
}

enum kl_rc kl_pair_mechanisms(const struct kl_pair_policy *policy, enum kl_key_type type,
                              unsigned bits, const struct kl_mechanisms **out, struct kl_err *err)
{
    const struct kl_mechanisms *mechanisms = type == KL_KEY_RSA ? &policy->rsa : &policy->ec;
    char name[KL_KEY_NAME_TEXT];

    if (type == KL_KEY_RSA && !kl_rsa_bits_ok(bits)) {
        return kl_err_set(err, KL_ERR_INPUT, "an RSA key of %u bits: must be 2048, 3072 or 4096",
                          bits);
    }
    if (type != KL_KEY_RSA && (type != KL_KEY_EC || !kl_curve_by_bits(bits))) {
        return kl_err_set(err, KL_ERR_INPUT, "an EC key of %u bits: must be P-256, P-384 or P-521",
                          bits);
    }
    if (policy->unbound) {
        *out = NULL;
        return KL_OK;
    }
    if (!mechanisms->list) {
        kl_key_name(type, bits, name);
        return kl_err_set(err, KL_ERR_INPUT, "%s cannot be a %s: that must be %s", name,
                          policy->name, type == KL_KEY_RSA ? "EC" : "RSA");
    }
    *out = mechanisms;
    return KL_OK;
}

void kl_pair_public_template(struct kl_tmpl *tmpl, const struct kl_pair_policy *policy,
                             const char *label, const uint8_t id[KL_KEY_ID_LEN])
{
    kl_tmpl_init(tmpl);
    kl_tmpl_bool(tmpl, CKA_TOKEN, 1);
    kl_tmpl_bool(tmpl, CKA_PRIVATE, 0);
    kl_tmpl_bool(tmpl, CKA_MODIFIABLE, 0);
    kl_tmpl_bytes(tmpl, CKA_LABEL, label, strlen(label));
    kl_tmpl_bytes(tmpl, CKA_ID, id, KL_KEY_ID_LEN);
    kl_tmpl_can(tmpl, CKO_PUBLIC_KEY, policy->public_can);
}

void kl_pair_private_template(struct kl_tmpl *tmpl, const struct kl_pair_policy *policy,
                              const struct kl_mechanisms *mechanisms, const char *label,
                              const uint8_t id[KL_KEY_ID_LEN], struct kl_tmpl *unwrap)
{
    kl_tmpl_init(tmpl);
    kl_tmpl_bool(tmpl, CKA_TOKEN, 1);
    kl_tmpl_bool(tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(tmpl, CKA_EXTRACTABLE, 0);
    kl_tmpl_bool(tmpl, CKA_MODIFIABLE, 0);
    kl_tmpl_bytes(tmpl, CKA_LABEL, label, strlen(label));
    kl_tmpl_bytes(tmpl, CKA_ID, id, KL_KEY_ID_LEN);
    kl_tmpl_can(tmpl, CKO_PRIVATE_KEY, policy->private_can);
    if (policy->unwrap) {
        kl_tmpl_init(unwrap);
        kl_demands_add(policy->unwrap, unwrap);
        kl_tmpl_nested(tmpl, CKA_UNWRAP_TEMPLATE, unwrap);
    }
    if (mechanisms) {
        kl_mechanisms_add(mechanisms, tmpl);
    }
}

/* ---- Lookups ---- */

void kl_key_what(const char *name, const char *label, char out[KL_KEY_WHAT_MAX])
{
    (void)snprintf(out, KL_KEY_WHAT_MAX, "%s \"%s\"", name, label);
}

enum kl_rc kl_key_check_label(const char *label, struct kl_err *err)
{
    size_t len = strlen(label);

    if (len == 0 || len > KL_KEY_LABEL_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "a key's label must have 1 to %d bytes",
                          KL_KEY_LABEL_MAX);
    }
    return KL_OK;
}

enum kl_rc kl_key_check_free(struct kl_session *session, const char *label, struct kl_err *err)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_SECRET_KEY};
    CK_OBJECT_HANDLE handle;
    enum kl_rc rc = kl_key_check_label(label, err);
    size_t count = 0;

    for (size_t i = 0; rc == KL_OK && i < COUNT(classes); i++) {
        rc = kl_object_find(session, classes[i], label, &handle, 1, &count, err);
        if (rc == KL_OK && count > 0) {
            rc = kl_err_set(err, KL_ERR_EXISTS, "the token has a key \"%s\" already", label);
        }
    }
    return rc;
}

enum kl_rc kl_key_find_one(struct kl_session *session, CK_OBJECT_CLASS class, const char *label,
                           const char *what, CK_OBJECT_HANDLE *handle, struct kl_err *err)
{
    size_t count = 0;
    enum kl_rc rc = kl_key_check_label(label, err);

    if (rc == KL_OK) {
        rc = kl_object_find(session, class, label, handle, 1, &count, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (count == 0) {
        return kl_err_set(err, KL_ERR_KEY, "%s: not on the token, or not of this kind", what);
    }
    if (count > 1) {
        return kl_err_set(err, KL_ERR_KEY, "%s: the token has several; remove all but one", what);
    }
    return KL_OK;
}

enum kl_rc kl_key_never_outside(struct kl_session *session, CK_OBJECT_HANDLE handle,
                                const char *what, struct kl_err *err)
{
    static const struct kl_demand local = KL_DEMAND_BOOL(CKA_LOCAL, 1);
    static const struct kl_demand never[] = {
        KL_DEMAND_BOOL(CKA_ALWAYS_SENSITIVE, 1),
        KL_DEMAND_BOOL(CKA_NEVER_EXTRACTABLE, 1),
    };
    enum kl_rc rc = kl_object_demand(session, handle, &local, 1, what, err);

    if (rc == KL_ERR_KEY) {
        return KL_OK;
    }
    if (rc == KL_OK) {
        rc = kl_object_demand(session, handle, never, COUNT(never), what, err);
    }
    return rc;
}

/* ---- Mechanisms ---- */

void kl_mechanisms_add(const struct kl_mechanisms *mechanisms, struct kl_tmpl *tmpl)
{
    kl_tmpl_bytes(tmpl, CKA_ALLOWED_MECHANISMS, mechanisms->list,
                  mechanisms->count * sizeof(mechanisms->list[0]));
}

int kl_mechanisms_drop(struct kl_session *session, CK_RV rv, struct kl_tmpl *tmpl)
{
    static const CK_MECHANISM_TYPE list[] = {CKM_AES_CBC};
    const CK_ATTRIBUTE some = {CKA_ALLOWED_MECHANISMS, (void *)list, sizeof(list)};

    return (rv == CKR_ATTRIBUTE_TYPE_INVALID ||
            (rv == CKR_GENERAL_ERROR && kl_object_cannot_hold(session, &some))) &&
           kl_tmpl_drop(tmpl, CKA_ALLOWED_MECHANISMS);
}

int kl_key_names_mechanisms(struct kl_session *session, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM_TYPE got[MECHANISMS_MAX];
    CK_ATTRIBUTE attr = {CKA_ALLOWED_MECHANISMS, got, sizeof(got)};

    return kl_session_functions(session)->C_GetAttributeValue(kl_session_handle(session), key,
                                                              &attr, 1) == CKR_OK &&
           attr.ulValueLen > 0;
}

static int holds(const CK_MECHANISM_TYPE *list, size_t count, CK_MECHANISM_TYPE wanted)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == wanted) {
            return 1;
        }
    }
    return 0;
}

enum kl_rc kl_key_check_mechanisms(struct kl_session *session, CK_OBJECT_HANDLE handle,
                                   const struct kl_mechanisms *ours, const char *what,
                                   struct kl_err *err)
{
    CK_MECHANISM_TYPE got[MECHANISMS_MAX];
    CK_ATTRIBUTE attr = {CKA_ALLOWED_MECHANISMS, got, sizeof(got)};
    CK_RV rv = kl_session_functions(session)->C_GetAttributeValue(kl_session_handle(session),
                                                                  handle, &attr, 1);
    int same = rv == CKR_OK && attr.ulValueLen == ours->count * sizeof(got[0]);

    if (rv == CKR_ATTRIBUTE_TYPE_INVALID || (rv == CKR_OK && attr.ulValueLen == 0)) {
        return KL_OK;
    }
    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) {
        return kl_rv_err(err, rv, "C_GetAttributeValue", "%s: CKA_ALLOWED_MECHANISMS", what);
    }
    for (size_t i = 0; same && i < ours->count; i++) {
        same = holds(got, ours->count, ours->list[i]);
    }
    if (!same) {
        return kl_err_set(err, KL_ERR_KEY, "%s: CKA_ALLOWED_MECHANISMS must be exactly %s", what,
                          ours->words);
    }
    return KL_OK;
}
