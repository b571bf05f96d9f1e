/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Our token keys, each with exactly the attributes that its role needs: what is generated here is
 * what the find functions accept. Nothing is left to a module's defaults.
 */
#include "pkcs11/keys.h"

#include <stdio.h>
#include <string.h>

#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"
#include "proto/cert.h"

#define ID_LEN 20
#define LABEL_MAX 64
#define WHAT_MAX 96
#define STORAGE_KEY_LEN 32
#define MECHANISMS_MAX 16 /* more than this is not ours */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *role_name(enum kl_pair_role role)
{
    return role == KL_PAIR_WORK ? "work key" : "CA key";
}

static enum kl_rc check_label(const char *label, struct kl_err *err)
{
    size_t len = strlen(label);

    if (len == 0 || len > LABEL_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "a key's label must have 1 to %d bytes", LABEL_MAX);
    }
    return KL_OK;
}

/* KL_ERR_EXISTS if a token object of one of these classes has that label. */
static enum kl_rc check_free(struct kl_session *session, const char *label, struct kl_err *err)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_SECRET_KEY};
    CK_OBJECT_HANDLE handle;
    enum kl_rc rc = check_label(label, err);
    size_t count = 0;

    for (size_t i = 0; rc == KL_OK && i < COUNT(classes); i++) {
        rc = kl_object_find(session, classes[i], label, &handle, 1, &count, err);
        if (rc == KL_OK && count > 0) {
            rc = kl_err_set(err, KL_ERR_EXISTS, "the token has a key \"%s\" already", label);
        }
    }
    return rc;
}

/* Exactly one object of that class and label. */
static enum kl_rc find_one(struct kl_session *session, CK_OBJECT_CLASS class, const char *label,
                           const char *what, CK_OBJECT_HANDLE *handle, struct kl_err *err)
{
    size_t count = 0;
    enum kl_rc rc = check_label(label, err);

    if (rc == KL_OK) {
        rc = kl_object_find(session, class, label, handle, 1, &count, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (count == 0) {
        return kl_err_set(err, KL_ERR_KEY, "%s: not on the token (is the PIN's user logged in?)",
                          what);
    }
    if (count > 1) {
        return kl_err_set(err, KL_ERR_KEY, "%s: the token has several; remove all but one", what);
    }
    return KL_OK;
}

/* A key born on the token (an imported one is not CKA_LOCAL) has never been outside. */
static enum kl_rc demand_never_outside(struct kl_session *session, CK_OBJECT_HANDLE handle,
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

struct mechanisms {
    const CK_MECHANISM_TYPE *list;
    size_t count;
    const char *words;
};

static const CK_MECHANISM_TYPE work_list[] = {CKM_RSA_PKCS_OAEP, CKM_SHA256_RSA_PKCS_PSS};
static const CK_MECHANISM_TYPE storage_list[] = {CKM_AES_KEY_WRAP};
static const struct mechanisms work_mechanisms = {work_list, COUNT(work_list),
                                                  "CKM_RSA_PKCS_OAEP and CKM_SHA256_RSA_PKCS_PSS"};
static const struct mechanisms storage_mechanisms = {storage_list, COUNT(storage_list),
                                                     "CKM_AES_KEY_WRAP"};

static void allow(struct kl_tmpl *tmpl, const struct mechanisms *mechanisms)
{
    kl_tmpl_bytes(tmpl, CKA_ALLOWED_MECHANISMS, mechanisms->list,
                  mechanisms->count * sizeof(mechanisms->list[0]));
}

/* A token that says that it does not know an attribute is tried once more without this one. There
 * is no doing without CKA_UNWRAP_TEMPLATE. */
static int try_without_mechanisms(CK_RV rv, struct kl_tmpl *tmpl)
{
    return rv == CKR_ATTRIBUTE_TYPE_INVALID && kl_tmpl_drop(tmpl, CKA_ALLOWED_MECHANISMS);
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

/* A key that has CKA_ALLOWED_MECHANISMS must have exactly ours; a token that does not know it, or
 * holds nothing in it, sets no bounds. */
static enum kl_rc check_mechanisms(struct kl_session *session, CK_OBJECT_HANDLE handle,
                                   const struct mechanisms *ours, const char *what,
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

/* ---- Key pairs ---- */

static void public_template(struct kl_tmpl *tmpl, enum kl_pair_role role, const char *label,
                            const uint8_t id[ID_LEN], unsigned bits)
{
    static const uint8_t f4[] = {0x01, 0x00, 0x01};

    kl_tmpl_init(tmpl);
    kl_tmpl_bool(tmpl, CKA_TOKEN, 1);
    kl_tmpl_bool(tmpl, CKA_PRIVATE, 0);
    kl_tmpl_bool(tmpl, CKA_MODIFIABLE, 0);
    kl_tmpl_bytes(tmpl, CKA_LABEL, label, strlen(label));
    kl_tmpl_bytes(tmpl, CKA_ID, id, ID_LEN);
    kl_tmpl_number(tmpl, CKA_MODULUS_BITS, bits);
    kl_tmpl_bytes(tmpl, CKA_PUBLIC_EXPONENT, f4, sizeof(f4));
    kl_tmpl_can(tmpl, CKO_PUBLIC_KEY,
                role == KL_PAIR_WORK ? KL_CAN_VERIFY | KL_CAN_WRAP : KL_CAN_VERIFY);
}

static void private_template(struct kl_tmpl *tmpl, enum kl_pair_role role, const char *label,
                             const uint8_t id[ID_LEN], const struct kl_tmpl *unwrap)
{
    kl_tmpl_init(tmpl);
    kl_tmpl_bool(tmpl, CKA_TOKEN, 1);
    kl_tmpl_bool(tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(tmpl, CKA_EXTRACTABLE, 0);
    kl_tmpl_bool(tmpl, CKA_MODIFIABLE, 0);
    kl_tmpl_bytes(tmpl, CKA_LABEL, label, strlen(label));
    kl_tmpl_bytes(tmpl, CKA_ID, id, ID_LEN);
    if (role == KL_PAIR_WORK) {
        kl_tmpl_can(tmpl, CKO_PRIVATE_KEY, KL_CAN_UNWRAP | KL_CAN_SIGN);
        kl_tmpl_nested(tmpl, CKA_UNWRAP_TEMPLATE, unwrap);
        allow(tmpl, &work_mechanisms);
    } else {
        kl_tmpl_can(tmpl, CKO_PRIVATE_KEY, KL_CAN_SIGN);
    }
}

static CK_RV generate_pair(struct kl_session *session, const struct kl_tmpl *public,
                           struct kl_tmpl *private, CK_OBJECT_HANDLE handles[2])
{
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_RV rv;

    do {
        rv = kl_session_functions(session)->C_GenerateKeyPair(
            kl_session_handle(session), &mechanism, (CK_ATTRIBUTE *)public->attrs, public->count,
            private->attrs, private->count, &handles[0], &handles[1]);
    } while (try_without_mechanisms(rv, private));
    return rv;
}

enum kl_rc kl_pair_generate(struct kl_session *session, enum kl_pair_role role, const char *label,
                            unsigned bits, EVP_PKEY **public_key, struct kl_err *err)
{
    CK_OBJECT_HANDLE handles[2] = {CK_INVALID_HANDLE, CK_INVALID_HANDLE}, found;
    struct kl_tmpl unwrap, public, private;
    EVP_PKEY *key = NULL;
    uint8_t id[ID_LEN];
    enum kl_rc rc;
    CK_RV rv;

    if (!kl_rsa_bits_ok(bits)) {
        return kl_err_set(err, KL_ERR_INPUT, "an RSA key of %u bits: must be 2048, 3072 or 4096",
                          bits);
    }
    if ((rc = check_free(session, label, err)) != KL_OK ||
        (rc = kl_op_random(session, id, sizeof(id), err)) != KL_OK) {
        return rc;
    }
    kl_tmpl_init(&unwrap);
    kl_demands_add(&kl_rnd1_demands, &unwrap);
    public_template(&public, role, label, id, bits);
    private_template(&private, role, label, id, &unwrap);
    rv = generate_pair(session, &public, &private, handles);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GenerateKeyPair", "%s \"%s\" cannot be generated",
                         role_name(role), label);
    }
    /* Believe what the token holds, not what it was asked for. */
    rc = kl_pair_find(session, role, label, &found, &key, err);
    if (rc != KL_OK) {
        kl_op_destroy(session, &handles[1]);
        kl_op_destroy(session, &handles[0]);
        return kl_err_context(err, "the token made a key that is not as asked, removed again");
    }
    *public_key = key;
    return KL_OK;
}

enum kl_rc kl_pair_find(struct kl_session *session, enum kl_pair_role role, const char *label,
                        CK_OBJECT_HANDLE *private_key, EVP_PKEY **public_key, struct kl_err *err)
{
    const struct kl_demand demands[] = {
        KL_DEMAND_NUMBER(CKA_KEY_TYPE, CKK_RSA),
        KL_DEMAND_BOOL(CKA_PRIVATE, 1),
        KL_DEMAND_BOOL(CKA_SENSITIVE, 1),
        KL_DEMAND_BOOL(CKA_EXTRACTABLE, 0),
        KL_DEMAND_BOOL(CKA_SIGN, 1),
        KL_DEMAND_BOOL(CKA_SIGN_RECOVER, 0),
        KL_DEMAND_BOOL(CKA_DECRYPT, 0),
        KL_DEMAND_BOOL(CKA_UNWRAP, role == KL_PAIR_WORK),
        KL_DEMAND_BOOL(CKA_DERIVE, 0),
        KL_DEMAND_BOOL(CKA_ALWAYS_AUTHENTICATE, 0), /* nobody is there to type a PIN */
    };
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    enum kl_key_type type;
    EVP_PKEY *key = NULL;
    char what[WHAT_MAX];
    unsigned bits;
    enum kl_rc rc;

    (void)snprintf(what, sizeof(what), "%s \"%s\"", role_name(role), label);
    if ((rc = find_one(session, CKO_PRIVATE_KEY, label, what, &handle, err)) != KL_OK ||
        (rc = kl_object_demand(session, handle, demands, COUNT(demands), what, err)) != KL_OK ||
        (rc = demand_never_outside(session, handle, what, err)) != KL_OK) {
        return rc;
    }
    if (role == KL_PAIR_WORK &&
        (rc = check_mechanisms(session, handle, &work_mechanisms, what, err)) != KL_OK) {
        return rc;
    }
    if ((rc = kl_object_rsa_public(session, handle, &key, err)) != KL_OK) {
        return kl_err_context(err, "%s", what);
    }
    /* Size and exponent as everywhere else. */
    if (kl_pubkey_type(key, &type, &bits, err) != KL_OK) {
        EVP_PKEY_free(key);
        err->rc = KL_ERR_KEY;
        return kl_err_context(err, "%s", what);
    }
    *private_key = handle;
    *public_key = key;
    return KL_OK;
}

enum kl_rc kl_pair_destroy(struct kl_session *session, const char *label, struct kl_err *err)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_OBJECT_HANDLE handles[2];
    size_t counts[2] = {0, 0};
    enum kl_rc rc = check_label(label, err);

    /* Both halves are looked up before either is destroyed. */
    for (size_t i = 0; rc == KL_OK && i < COUNT(classes); i++) {
        rc = kl_object_find(session, classes[i], label, &handles[i], 1, &counts[i], err);
        if (rc == KL_OK && counts[i] > 1) {
            rc = kl_err_set(err, KL_ERR_KEY, "the token has several keys \"%s\"; remove by hand",
                            label);
        }
    }
    if (rc == KL_OK && counts[0] + counts[1] == 0) {
        rc = kl_err_set(err, KL_ERR_KEY, "the token has no key pair \"%s\"", label);
    }
    for (size_t i = 0; rc == KL_OK && i < COUNT(classes); i++) {
        CK_RV rv = counts[i] ? f->C_DestroyObject(kl_session_handle(session), handles[i]) : CKR_OK;
        if (rv != CKR_OK) {
            rc = kl_rv_err(err, rv, "C_DestroyObject", "key pair \"%s\"", label);
        }
    }
    return rc;
}

/* ---- The storage key ---- */

enum kl_rc kl_storage_key_generate(struct kl_session *session, const char *label,
                                   struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE, found;
    struct kl_tmpl tmpl, unwrap;
    uint8_t id[ID_LEN];
    enum kl_rc rc;
    CK_RV rv;

    if ((rc = check_free(session, label, err)) != KL_OK ||
        (rc = kl_op_random(session, id, sizeof(id), err)) != KL_OK) {
        return rc;
    }
    kl_tmpl_init(&tmpl);
    kl_tmpl_number(&tmpl, CKA_CLASS, CKO_SECRET_KEY);
    kl_tmpl_number(&tmpl, CKA_KEY_TYPE, CKK_AES);
    kl_tmpl_number(&tmpl, CKA_VALUE_LEN, STORAGE_KEY_LEN);
    kl_tmpl_bool(&tmpl, CKA_TOKEN, 1);
    kl_tmpl_bool(&tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(&tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(&tmpl, CKA_EXTRACTABLE, 0);
    kl_tmpl_bool(&tmpl, CKA_MODIFIABLE, 0);
    kl_tmpl_bytes(&tmpl, CKA_LABEL, label, strlen(label));
    kl_tmpl_bytes(&tmpl, CKA_ID, id, sizeof(id));
    kl_tmpl_can(&tmpl, CKO_SECRET_KEY, KL_CAN_WRAP | KL_CAN_UNWRAP);
    kl_tmpl_init(&unwrap);
    kl_demands_add(&kl_tmk_demands, &unwrap);
    kl_tmpl_nested(&tmpl, CKA_UNWRAP_TEMPLATE, &unwrap);
    allow(&tmpl, &storage_mechanisms);
    do {
        rv = kl_session_functions(session)->C_GenerateKey(kl_session_handle(session), &mechanism,
                                                          tmpl.attrs, tmpl.count, &handle);
    } while (try_without_mechanisms(rv, &tmpl));
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GenerateKey", "storage key \"%s\" cannot be generated", label);
    }
    rc = kl_storage_key_find(session, label, &found, err);
    if (rc != KL_OK) {
        kl_op_destroy(session, &handle);
        return kl_err_context(err, "the token made a key that is not as asked, removed again");
    }
    return KL_OK;
}

enum kl_rc kl_storage_key_find(struct kl_session *session, const char *label,
                               CK_OBJECT_HANDLE *handle, struct kl_err *err)
{
    static const struct kl_demand demands[] = {
        KL_DEMAND_NUMBER(CKA_KEY_TYPE, CKK_AES), KL_DEMAND_NUMBER(CKA_VALUE_LEN, STORAGE_KEY_LEN),
        KL_DEMAND_BOOL(CKA_PRIVATE, 1),          KL_DEMAND_BOOL(CKA_SENSITIVE, 1),
        KL_DEMAND_BOOL(CKA_EXTRACTABLE, 0),      KL_DEMAND_BOOL(CKA_WRAP, 1),
        KL_DEMAND_BOOL(CKA_UNWRAP, 1),           KL_DEMAND_BOOL(CKA_ENCRYPT, 0),
        KL_DEMAND_BOOL(CKA_DECRYPT, 0),          KL_DEMAND_BOOL(CKA_SIGN, 0),
        KL_DEMAND_BOOL(CKA_VERIFY, 0),           KL_DEMAND_BOOL(CKA_DERIVE, 0),
    };
    CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
    char what[WHAT_MAX];
    enum kl_rc rc;

    (void)snprintf(what, sizeof(what), "storage key \"%s\"", label);
    if ((rc = find_one(session, CKO_SECRET_KEY, label, what, &found, err)) != KL_OK ||
        (rc = kl_object_demand(session, found, demands, COUNT(demands), what, err)) != KL_OK ||
        (rc = demand_never_outside(session, found, what, err)) != KL_OK ||
        (rc = check_mechanisms(session, found, &storage_mechanisms, what, err)) != KL_OK) {
        return rc;
    }
    *handle = found;
    return KL_OK;
}
