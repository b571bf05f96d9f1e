/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Secret token keys: storage key and binding key, drawn on the token and never outside of it, and
 * zone keys, whose values two parties share.
 */
#include <string.h>

#include "pkcs11/key_policy.h"
#include "pkcs11/keys.h"
#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"

#define STORE_KEY_LEN 32 /* bytes */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A secret token key of ours: all but its length or value, its uses and its mechanisms. */
static void secret_template(struct kl_tmpl *tmpl, const char *label,
                            const uint8_t id[KL_KEY_ID_LEN])
{
    kl_tmpl_init(tmpl);
    kl_tmpl_number(tmpl, CKA_CLASS, CKO_SECRET_KEY);
    kl_tmpl_number(tmpl, CKA_KEY_TYPE, CKK_AES);
    kl_tmpl_bool(tmpl, CKA_TOKEN, 1);
    kl_tmpl_bool(tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(tmpl, CKA_EXTRACTABLE, 0);
    kl_tmpl_bool(tmpl, CKA_MODIFIABLE, 0);
    kl_tmpl_bytes(tmpl, CKA_LABEL, label, strlen(label));
    kl_tmpl_bytes(tmpl, CKA_ID, id, KL_KEY_ID_LEN);
}

/* Makes what it unwraps a TMK: inner is borrowed by tmpl. */
static void unwraps_tmks(struct kl_tmpl *tmpl, struct kl_tmpl *inner)
{
    kl_tmpl_init(inner);
    kl_demands_add(&kl_tmk_demands, inner);
    kl_tmpl_nested(tmpl, CKA_UNWRAP_TEMPLATE, inner);
}

/* An AES token key of ours with these uses and no others. */
static enum kl_rc demand_secret(struct kl_session *session, CK_OBJECT_HANDLE handle, unsigned can,
                                const char *what, struct kl_err *err)
{
    const struct kl_demand demands[] = {
        KL_DEMAND_NUMBER(CKA_KEY_TYPE, CKK_AES),
        KL_DEMAND_BOOL(CKA_PRIVATE, 1),
        KL_DEMAND_BOOL(CKA_SENSITIVE, 1),
        KL_DEMAND_BOOL(CKA_EXTRACTABLE, 0),
        KL_DEMAND_BOOL(CKA_WRAP, (can & KL_CAN_WRAP) != 0),
        KL_DEMAND_BOOL(CKA_UNWRAP, (can & KL_CAN_UNWRAP) != 0),
        KL_DEMAND_BOOL(CKA_SIGN, (can & KL_CAN_SIGN) != 0),
        KL_DEMAND_BOOL(CKA_ENCRYPT, 0),
        KL_DEMAND_BOOL(CKA_DECRYPT, 0),
        KL_DEMAND_BOOL(CKA_VERIFY, 0),
        KL_DEMAND_BOOL(CKA_DERIVE, 0),
    };

    return kl_object_demand(session, handle, demands, COUNT(demands), what, err);
}

/* ---- The storage key and the binding key: what the store needs ---- */

static const CK_MECHANISM_TYPE storage_list[] = {CKM_AES_KEY_WRAP};
static const CK_MECHANISM_TYPE binding_list[] = {CKM_AES_CMAC};

struct store_key {
    const char *name;
    unsigned can;
    struct kl_mechanisms mechanisms;
};
static const struct store_key storage = {"storage key",
                                         KL_CAN_WRAP | KL_CAN_UNWRAP,
                                         {storage_list, 1, "CKM_AES_KEY_WRAP"}};
static const struct store_key binding = {"binding key",
                                         KL_CAN_SIGN,
                                         {binding_list, 1, "CKM_AES_CMAC"}};

static enum kl_rc find_store_key(struct kl_session *session, const struct store_key *key,
                                 const char *label, CK_OBJECT_HANDLE *handle, struct kl_err *err)
{
    static const struct kl_demand length = KL_DEMAND_NUMBER(CKA_VALUE_LEN, STORE_KEY_LEN);
    CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
    char what[KL_KEY_WHAT_MAX];
    enum kl_rc rc;

    kl_key_what(key->name, label, what);
    if ((rc = kl_key_find_one(session, CKO_SECRET_KEY, label, what, &found, err)) != KL_OK ||
        (rc = demand_secret(session, found, key->can, what, err)) != KL_OK ||
        (rc = kl_object_demand(session, found, &length, 1, what, err)) != KL_OK ||
        (rc = kl_key_never_outside(session, found, what, err)) != KL_OK ||
        (rc = kl_key_check_mechanisms(session, found, &key->mechanisms, what, err)) != KL_OK) {
        return rc;
    }
    *handle = found;
    return KL_OK;
}

static enum kl_rc generate_store_key(struct kl_session *session, const struct store_key *key,
                                     const char *label, struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE, found;
    struct kl_tmpl tmpl, unwrap;
    uint8_t id[KL_KEY_ID_LEN];
    enum kl_rc rc;
    CK_RV rv;

    if ((rc = kl_key_check_free(session, label, err)) != KL_OK ||
        (rc = kl_op_random(session, id, sizeof(id), err)) != KL_OK) {
        return rc;
    }
    secret_template(&tmpl, label, id);
    kl_tmpl_number(&tmpl, CKA_VALUE_LEN, STORE_KEY_LEN);
    kl_tmpl_can(&tmpl, CKO_SECRET_KEY, key->can);
    if (key->can & KL_CAN_UNWRAP) {
        unwraps_tmks(&tmpl, &unwrap);
    }
    kl_mechanisms_add(&key->mechanisms, &tmpl);
    do {
        rv = kl_session_functions(session)->C_GenerateKey(kl_session_handle(session), &mechanism,
                                                          tmpl.attrs, tmpl.count, &handle);
    } while (kl_mechanisms_drop(session, rv, &tmpl));
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GenerateKey", "%s \"%s\" cannot be generated", key->name,
                         label);
    }
    rc = find_store_key(session, key, label, &found, err);
    if (rc != KL_OK) {
        kl_op_destroy(session, &handle);
        return kl_err_context(err, "the token made a key that is not as asked, removed again");
    }
    return KL_OK;
}

enum kl_rc kl_storage_key_generate(struct kl_session *session, const char *label,
                                   struct kl_err *err)
{
    return generate_store_key(session, &storage, label, err);
}

enum kl_rc kl_storage_key_find(struct kl_session *session, const char *label,
                               CK_OBJECT_HANDLE *handle, struct kl_err *err)
{
    return find_store_key(session, &storage, label, handle, err);
}

enum kl_rc kl_binding_key_generate(struct kl_session *session, const char *label,
                                   struct kl_err *err)
{
    return generate_store_key(session, &binding, label, err);
}

enum kl_rc kl_binding_key_find(struct kl_session *session, const char *label,
                               CK_OBJECT_HANDLE *handle, struct kl_err *err)
{
    return find_store_key(session, &binding, label, handle, err);
}

/* ---- Zone keys ---- */

static const CK_MECHANISM_TYPE zmk_list[] = {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD};
static const struct kl_mechanisms zmk_mechanisms = {zmk_list, COUNT(zmk_list),
                                                    "CKM_AES_KEY_WRAP and CKM_AES_KEY_WRAP_PAD"};

static int is_aes_len(size_t len)
{
    return len == 16 || len == 24 || len == 32;
}

/* Its CKA_UNWRAP_TEMPLATE or nothing: a key that only wraps has none. */
static void zmk_template(struct kl_tmpl *tmpl, enum kl_zmk_use use, const char *label,
                         const uint8_t id[KL_KEY_ID_LEN], struct kl_secret *value,
                         struct kl_tmpl *unwrap)
{
    secret_template(tmpl, label, id);
    kl_tmpl_can(tmpl, CKO_SECRET_KEY, use == KL_ZMK_IMPORT ? KL_CAN_UNWRAP : KL_CAN_WRAP);
    if (use == KL_ZMK_IMPORT) {
        unwraps_tmks(tmpl, unwrap);
    }
    kl_mechanisms_add(&zmk_mechanisms, tmpl);
    kl_tmpl_bytes(tmpl, CKA_VALUE, kl_secret_data(value), kl_secret_len(value));
}

enum kl_rc kl_zmk_create(struct kl_session *session, enum kl_zmk_use use, const char *label,
                         struct kl_secret *value, struct kl_err *err)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE, found;
    struct kl_tmpl tmpl, unwrap;
    uint8_t id[KL_KEY_ID_LEN];
    unsigned bits;
    enum kl_rc rc;
    CK_RV rv;

    if (!is_aes_len(kl_secret_len(value))) {
        return kl_err_set(err, KL_ERR_INPUT, "a zone key of %zu bytes: must have 16, 24 or 32",
                          kl_secret_len(value));
    }
    if ((rc = kl_key_check_free(session, label, err)) != KL_OK ||
        (rc = kl_op_random(session, id, sizeof(id), err)) != KL_OK) {
        return rc;
    }
    zmk_template(&tmpl, use, label, id, value, &unwrap);
    do {
        rv = kl_session_functions(session)->C_CreateObject(kl_session_handle(session), tmpl.attrs,
                                                           tmpl.count, &handle);
    } while (kl_mechanisms_drop(session, rv, &tmpl));
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_CreateObject", "zone key \"%s\" cannot be made", label);
    }
    rc = kl_zmk_find(session, use, label, &found, &bits, err);
    if (rc != KL_OK) {
        kl_op_destroy(session, &handle);
        return kl_err_context(err, "the token made a key that is not as asked, removed again");
    }
    return KL_OK;
}

enum kl_rc kl_zmk_find(struct kl_session *session, enum kl_zmk_use use, const char *label,
                       CK_OBJECT_HANDLE *handle, unsigned *bits, struct kl_err *err)
{
    const unsigned can = use == KL_ZMK_IMPORT ? KL_CAN_UNWRAP : KL_CAN_WRAP;
    CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
    char what[KL_KEY_WHAT_MAX];
    CK_ULONG len = 0;
    enum kl_rc rc;

    kl_key_what(use == KL_ZMK_IMPORT ? "zone key for import" : "zone key for export", label, what);
    if ((rc = kl_key_find_one(session, CKO_SECRET_KEY, label, what, &found, err)) != KL_OK ||
        (rc = demand_secret(session, found, can, what, err)) != KL_OK ||
        (rc = kl_key_check_mechanisms(session, found, &zmk_mechanisms, what, err)) != KL_OK ||
        (rc = kl_object_number(session, found, CKA_VALUE_LEN, "CKA_VALUE_LEN", what, &len, err)) !=
            KL_OK) {
        return rc;
    }
    if (!is_aes_len(len)) {
        return kl_err_set(err, KL_ERR_KEY, "%s: CKA_VALUE_LEN is %lu, must be 16, 24 or 32", what,
                          len);
    }
    *handle = found;
    *bits = (unsigned)len * 8;
    return KL_OK;
}
