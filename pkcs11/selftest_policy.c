/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The self-test of key policy: what the attributes of our keys forbid is asked for, and must be
 * refused. Each try differs from what is allowed in one point only, and the allowed one has been
 * seen to work by the rest of the self-test, so nothing else can be why it is refused.
 */
#include "pkcs11/suite.h"

#include <stdio.h>
#include <string.h>

#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "proto/pubkey.h"
#include "proto/secret.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static CK_BBOOL yes = CK_TRUE;

/* ---- CKA_UNWRAP_TEMPLATE ---- */

/* A wrapped key, the key that unwraps it, and what that one's template demands of the result. */
struct bound {
    const char *whose;
    CK_OBJECT_HANDLE key;
    CK_MECHANISM mechanism;
    const uint8_t *wrapped;
    size_t len;
    const struct kl_demands *demands;
    struct kl_demands rest; /* what C_UnwrapKey must be asked for besides */
};

static CK_ULONG another_value(const struct kl_demand *demand)
{
    if (!demand->is_number) {
        return !demand->value;
    }
    return demand->type == CKA_CLASS ? CKO_PRIVATE_KEY : CKK_GENERIC_SECRET;
}

/* Asks C_UnwrapKey for a key that the template forbids, in its nth point only. A token may also
 * make a key that obeys nevertheless. KL_ERR_KEY: it made one that does not. */
static enum kl_rc unwrap_against(struct kl_loader *loader, const struct bound *bound, size_t nth,
                                 struct kl_err *err)
{
    struct kl_demand list[KL_TMPL_MAX];
    const struct kl_demands changed = {list, bound->demands->count};
    CK_MECHANISM mechanism = bound->mechanism;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    enum kl_rc rc;
    CK_RV rv;

    memcpy(list, bound->demands->list, changed.count * sizeof(list[0]));
    list[nth].value = another_value(&list[nth]);
    kl_tmpl_init(&tmpl);
    kl_demands_add(&bound->rest, &tmpl);
    kl_demands_add(&changed, &tmpl);
    rv = kl_session_functions(loader->session)
             ->C_UnwrapKey(kl_session_handle(loader->session), &mechanism, bound->key,
                           (CK_BYTE_PTR)bound->wrapped, (CK_ULONG)bound->len, tmpl.attrs,
                           tmpl.count, &key);
    if (rv != CKR_OK) {
        return KL_OK; /* refused, as it should be */
    }
    rc = kl_object_demand(loader->session, key, &bound->demands->list[nth], 1, bound->whose, err);
    kl_op_destroy(loader->session, &key);
    return rc;
}

/* Appends; cut off where it does not fit. */
static void append(char where[KL_WEAK_WHERE_MAX], const char *separator, const char *text)
{
    size_t len = strlen(where);

    (void)snprintf(where + len, KL_WEAK_WHERE_MAX - len, "%s%s", separator, text);
}

/* That the same without the change does get a key, the known answer or the loads have shown. */
static enum kl_rc check_binds(struct kl_loader *loader, const struct bound *bound,
                              struct kl_err *err)
{
    struct kl_err why = KL_ERR_INIT;
    char where[KL_WEAK_WHERE_MAX] = "";
    int loose = 0;

    append(where, bound->whose, "'s CKA_UNWRAP_TEMPLATE does not bind");
    for (size_t i = 0; i < bound->demands->count; i++) {
        enum kl_rc rc = unwrap_against(loader, bound, i, &why);

        if (rc == KL_ERR_KEY) {
            append(where, loose++ ? ", " : " ", bound->demands->list[i].name);
        } else if (rc != KL_OK) {
            *err = why;
            return rc;
        }
    }
    if (loose) {
        kl_weakness_add(&loader->weak, KL_WEAK_UNWRAP_TEMPLATE, where);
    }
    return KL_OK;
}

static enum kl_rc check_work_template(struct kl_loader *loader, const struct kl_work *work,
                                      struct kl_err *err)
{
    CK_RSA_PKCS_OAEP_PARAMS params = kl_op_oaep_params(work->oaep_hash);
    uint8_t c_rnd1[KL_RSA_MAX], rnd1[KL_RND1_LEN] = {0};
    struct bound bound = {
        .whose = "work key",
        .key = work->handle,
        .mechanism = {CKM_RSA_PKCS_OAEP, &params, sizeof(params)},
        .wrapped = c_rnd1,
        .demands = &kl_rnd1_demands,
    };
    enum kl_rc rc = kl_rsa_oaep_encrypt(work->public_key, work->oaep_hash, rnd1, sizeof(rnd1),
                                        c_rnd1, &bound.len, err);

    return rc != KL_OK ? rc : check_binds(loader, &bound, err);
}

/* The same for the store's cryptograms, with a TMK that is nobody's. */
static enum kl_rc check_storage_template(struct kl_loader *loader, struct kl_err *err)
{
    static const struct kl_demand rest[] = {
        KL_DEMAND_NUMBER(CKA_KEY_TYPE, CKK_DES3),
        KL_DEMAND_BOOL(CKA_EXTRACTABLE, 0),
        KL_DEMAND_BOOL(CKA_ENCRYPT, 1),
        KL_DEMAND_BOOL(CKA_SIGN, 0),
        KL_DEMAND_BOOL(CKA_WRAP, 0),
    };
    CK_OBJECT_HANDLE tmk = CK_INVALID_HANDLE;
    uint8_t cryptogram[KL_CTMK_LEN_MAX];
    struct bound bound = {
        .whose = "storage key",
        .key = loader->storage_key,
        .mechanism = {CKM_AES_KEY_WRAP, NULL, 0},
        .wrapped = cryptogram,
        .demands = &kl_tmk_demands,
        .rest = {rest, COUNT(rest)},
    };
    enum kl_rc rc = kl_op_generate_tmk(loader->session, KL_ALG_TDES3, &tmk, err);

    if (rc == KL_OK) {
        rc = kl_op_wrap(loader->session, loader->storage_key, tmk, cryptogram, &bound.len, err);
    }
    if (rc == KL_OK) {
        rc = check_binds(loader, &bound, err);
    }
    kl_op_destroy(loader->session, &tmk);
    return rc;
}

/* ---- CKA_ALLOWED_MECHANISMS ---- */

/* 1 if the key signs by that mechanism; what was begun is ended. */
static int signs_by(const struct kl_loader *loader, CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type)
{
    CK_FUNCTION_LIST *f = kl_session_functions(loader->session);
    CK_SESSION_HANDLE s = kl_session_handle(loader->session);
    CK_MECHANISM mechanism = {type, NULL, 0};
    uint8_t in[KL_HASH_LEN] = {0}, out[KL_SIG_MAX];
    CK_ULONG len = sizeof(out);

    return f->C_SignInit(s, &mechanism, key) == CKR_OK &&
           f->C_Sign(s, in, sizeof(in), out, &len) == CKR_OK;
}

/* 1 if the storage key wraps that key by the mechanism. */
static int wraps_by(const struct kl_loader *loader, CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    uint8_t out[KL_CTMK_LEN_MAX + 16];
    CK_ULONG len = sizeof(out);

    return kl_session_functions(loader->session)
               ->C_WrapKey(kl_session_handle(loader->session), &mechanism, loader->storage_key, key,
                           out, &len) == CKR_OK;
}

static void mechanism_is_loose(struct kl_loader *loader, const char *whose, const char *mechanism)
{
    char where[KL_WEAK_WHERE_MAX];

    (void)snprintf(where, sizeof(where), "%s's CKA_ALLOWED_MECHANISMS does not keep it from %s",
                   whose, mechanism);
    kl_weakness_add(&loader->weak, KL_WEAK_ALLOWED_MECHANISMS, where);
}

/* By what its usage flags allow and its list does not. */
static void check_work_mechanisms(struct kl_loader *loader, const struct kl_work *work)
{
    CK_MECHANISM_TYPE type = CKM_RSA_PKCS;
    const char *name = "CKM_RSA_PKCS";

    if (work->type == KL_KEY_EC) {
        type = CKM_ECDSA_SHA256;
        name = "CKM_ECDSA_SHA256";
    } else if (work->suite->id == KL_SUITE_CLASSIC) {
        type = CKM_SHA512_RSA_PKCS;
        name = "CKM_SHA512_RSA_PKCS";
    }
    if (signs_by(loader, work->handle, type)) {
        mechanism_is_loose(loader, "work key", name);
    }
}

enum kl_rc kl_loader_selftest_work_policy(struct kl_loader *loader, const struct kl_work *work,
                                          struct kl_err *err)
{
    check_work_mechanisms(loader, work);
    return work->suite->unwraps ? check_work_template(loader, work, err) : KL_OK;
}

/* ---- CKA_COPYABLE, CKA_MODIFIABLE; uses and secrecy ---- */

/* A TMK that could be copied, or changed, into one that decrypts. */
static void check_sealed(struct kl_loader *loader, CK_OBJECT_HANDLE tmk)
{
    static const struct kl_demand decrypts = KL_DEMAND_BOOL(CKA_DECRYPT, 1);
    CK_FUNCTION_LIST *f = kl_session_functions(loader->session);
    CK_SESSION_HANDLE s = kl_session_handle(loader->session);
    CK_ATTRIBUTE change = {CKA_DECRYPT, &yes, sizeof(yes)};
    CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
    struct kl_err ignored = KL_ERR_INIT;

    if (f->C_CopyObject(s, tmk, &change, 1, &copy) == CKR_OK) {
        kl_weakness_add(&loader->weak, KL_WEAK_COPYABLE,
                        "a TMK's CKA_COPYABLE does not keep it from being copied, with CKA_DECRYPT "
                        "true");
    } else if (f->C_CopyObject(s, tmk, NULL, 0, &copy) == CKR_OK) {
        kl_weakness_add(&loader->weak, KL_WEAK_COPYABLE,
                        "a TMK's CKA_COPYABLE does not keep it from being copied, as it is");
    } else {
        copy = CK_INVALID_HANDLE; /* whatever the module has written there */
    }
    kl_op_destroy(loader->session, &copy);
    if (f->C_SetAttributeValue(s, tmk, &change, 1) == CKR_OK &&
        kl_object_demand(loader->session, tmk, &decrypts, 1, "TMK", &ignored) == KL_OK) {
        kl_weakness_add(&loader->weak, KL_WEAK_MODIFIABLE,
                        "a TMK's CKA_MODIFIABLE does not keep its CKA_DECRYPT from being changed");
    }
}

/* What nobody may accept. */
static enum kl_rc check_secrecy(struct kl_loader *loader, CK_OBJECT_HANDLE tmk, struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_session_functions(loader->session);
    CK_SESSION_HANDLE s = kl_session_handle(loader->session);
    uint8_t value[KL_TMK_LEN_MAX] = {0};
    CK_ATTRIBUTE read = {CKA_VALUE, value, sizeof(value)};
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    CK_RV rv = f->C_GetAttributeValue(s, tmk, &read, 1);
    CK_ULONG len = sizeof(value);

    if (rv == CKR_OK) {
        kl_wipe(value, sizeof(value));
        return kl_err_set(err, KL_ERR_HSM_LACKS,
                          "CKA_SENSITIVE of a TMK does not keep its value from being read");
    }
    if (f->C_EncryptInit(s, &ecb, loader->storage_key) == CKR_OK) {
        (void)f->C_Encrypt(s, value, 16, value, &len); /* ends it */
        return kl_err_set(err, KL_ERR_HSM_LACKS,
                          "CKA_ENCRYPT of the storage key does not keep it from encrypting");
    }
    return KL_OK;
}

enum kl_rc kl_loader_selftest_policy(struct kl_loader *loader, struct kl_err *err)
{
    CK_OBJECT_HANDLE tmk = CK_INVALID_HANDLE;
    enum kl_rc rc = check_storage_template(loader, err);

    if (rc == KL_OK) {
        rc = kl_op_generate_tmk(loader->session, KL_ALG_AES256, &tmk, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (wraps_by(loader, tmk, CKM_AES_KEY_WRAP_PAD)) {
        mechanism_is_loose(loader, "storage key", "CKM_AES_KEY_WRAP_PAD");
    }
    if (signs_by(loader, loader->binding_key, CKM_AES_MAC)) {
        mechanism_is_loose(loader, "binding key", "CKM_AES_MAC");
    }
    if (wraps_by(loader, loader->binding_key, CKM_AES_KEY_WRAP)) {
        kl_weakness_add(&loader->weak, KL_WEAK_EXTRACTABLE,
                        "binding key's CKA_EXTRACTABLE does not keep it from being wrapped");
    }
    rc = check_secrecy(loader, tmk, err);
    if (rc == KL_OK) {
        check_sealed(loader, tmk);
    }
    kl_op_destroy(loader->session, &tmk);
    return rc;
}
