/* SPDX-License-Identifier: BSD-2-Clause */
/* Token objects: see object.h. */
#include "pkcs11/object.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <string.h>

#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"
#include "proto/message.h"
#include "proto/pubkey.h"

enum kl_rc kl_object_find(struct kl_session *session, CK_OBJECT_CLASS class, const char *label,
                          CK_OBJECT_HANDLE *handles, size_t max, size_t *count, struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_OBJECT_HANDLE handle;
    struct kl_tmpl tmpl;
    size_t found = 0;
    CK_ULONG got = 0;
    CK_RV rv;

    kl_tmpl_init(&tmpl);
    kl_tmpl_number(&tmpl, CKA_CLASS, class);
    kl_tmpl_bool(&tmpl, CKA_TOKEN, 1);
    kl_tmpl_bytes(&tmpl, CKA_LABEL, label, strlen(label));
    rv = f->C_FindObjectsInit(s, tmpl.attrs, tmpl.count);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_FindObjectsInit", "looking for \"%s\"", label);
    }
    while ((rv = f->C_FindObjects(s, &handle, 1, &got)) == CKR_OK && got == 1) {
        if (found < max) {
            handles[found] = handle;
        }
        if (found++ == max) {
            break;
        }
    }
    (void)f->C_FindObjectsFinal(s);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_FindObjects", "looking for \"%s\"", label);
    }
    *count = found;
    return KL_OK;
}

/* ---- Attributes that no token object holds ---- */

#define PROBE "keyloader-probe" /* label and CKA_ID: it can be told, should it be left */

/* And no key that somebody calls so: the CKA_ID of ours is drawn. */
static int is_probe(struct kl_session *session, CK_OBJECT_HANDLE object)
{
    char id[sizeof(PROBE)];
    CK_ATTRIBUTE attr = {CKA_ID, id, sizeof(id)};

    return kl_session_functions(session)->C_GetAttributeValue(kl_session_handle(session), object,
                                                              &attr, 1) == CKR_OK &&
           attr.ulValueLen == strlen(PROBE) && memcmp(id, PROBE, strlen(PROBE)) == 0;
}

/* What could not be destroyed at once. */
static void destroy_left(struct kl_session *session)
{
    struct kl_err ignored = KL_ERR_INIT;
    CK_OBJECT_HANDLE handle;
    size_t count = 0;

    if (kl_object_find(session, CKO_SECRET_KEY, PROBE, &handle, 1, &count, &ignored) == KL_OK &&
        count > 0 && is_probe(session, handle)) {
        (void)kl_session_functions(session)->C_DestroyObject(kl_session_handle(session), handle);
    }
}

static CK_RV make_probe(struct kl_session *session, const CK_ATTRIBUTE *extra)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    CK_RV rv;

    kl_tmpl_init(&tmpl);
    kl_tmpl_number(&tmpl, CKA_CLASS, CKO_SECRET_KEY);
    kl_tmpl_number(&tmpl, CKA_KEY_TYPE, CKK_AES);
    kl_tmpl_number(&tmpl, CKA_VALUE_LEN, 16);
    kl_tmpl_bool(&tmpl, CKA_TOKEN, 1);
    kl_tmpl_bool(&tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(&tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(&tmpl, CKA_EXTRACTABLE, 0);
    kl_tmpl_can(&tmpl, CKO_SECRET_KEY, KL_CAN_ENCRYPT);
    kl_tmpl_bytes(&tmpl, CKA_LABEL, PROBE, strlen(PROBE));
    kl_tmpl_bytes(&tmpl, CKA_ID, PROBE, strlen(PROBE));
    if (extra) {
        kl_tmpl_bytes(&tmpl, extra->type, extra->pValue, extra->ulValueLen);
    }
    rv = f->C_GenerateKey(s, &mechanism, tmpl.attrs, tmpl.count, &handle);
    if (rv == CKR_OK) {
        (void)f->C_DestroyObject(s, handle);
    }
    return rv;
}

int kl_object_cannot_hold(struct kl_session *session, const CK_ATTRIBUTE *attr)
{
    CK_RV rv;

    destroy_left(session);
    rv = make_probe(session, attr);
    return (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_GENERAL_ERROR) &&
           make_probe(session, NULL) == CKR_OK;
}

/* ---- Demands ---- */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* All of Rnd1': C_UnwrapKey is asked for exactly this. CKA_MODIFIABLE last: see kl_tmpl_seal. */
static const struct kl_demand rnd1_list[] = {
    KL_DEMAND_NUMBER(CKA_CLASS, CKO_SECRET_KEY),
    KL_DEMAND_NUMBER(CKA_KEY_TYPE, CKK_AES),
    KL_DEMAND_BOOL(CKA_TOKEN, 0),
    KL_DEMAND_BOOL(CKA_PRIVATE, 1),
    KL_DEMAND_BOOL(CKA_SENSITIVE, 1),
    KL_DEMAND_BOOL(CKA_EXTRACTABLE, 0),
    KL_DEMAND_BOOL(CKA_ENCRYPT, 0),
    KL_DEMAND_BOOL(CKA_DECRYPT, 0),
    KL_DEMAND_BOOL(CKA_SIGN, 0),
    KL_DEMAND_BOOL(CKA_VERIFY, 0),
    KL_DEMAND_BOOL(CKA_WRAP, 0),
    KL_DEMAND_BOOL(CKA_UNWRAP, 0),
    KL_DEMAND_BOOL(CKA_DERIVE, 1),
    KL_DEMAND_BOOL(CKA_COPYABLE, 0),
    KL_DEMAND_BOOL(CKA_MODIFIABLE, 0),
};
const struct kl_demands kl_rnd1_demands = {rnd1_list, COUNT(rnd1_list)};

/* What all TMKs share. Not their type, nor CKA_EXTRACTABLE: one that is to be wrapped under another
 * key must be extractable for that; nor encrypting and signing, which make its KCV. */
static const struct kl_demand tmk_list[] = {
    KL_DEMAND_NUMBER(CKA_CLASS, CKO_SECRET_KEY),
    KL_DEMAND_BOOL(CKA_TOKEN, 0),
    KL_DEMAND_BOOL(CKA_PRIVATE, 1),
    KL_DEMAND_BOOL(CKA_SENSITIVE, 1),
    KL_DEMAND_BOOL(CKA_DECRYPT, 0),
    KL_DEMAND_BOOL(CKA_UNWRAP, 0),
    KL_DEMAND_BOOL(CKA_VERIFY, 0),
    KL_DEMAND_BOOL(CKA_DERIVE, 0),
};
const struct kl_demands kl_tmk_demands = {tmk_list, COUNT(tmk_list)};

void kl_demands_add(const struct kl_demands *demands, struct kl_tmpl *tmpl)
{
    for (size_t i = 0; i < demands->count; i++) {
        const struct kl_demand *demand = &demands->list[i];

        if (demand->is_number) {
            kl_tmpl_number(tmpl, demand->type, demand->value);
        } else {
            kl_tmpl_bool(tmpl, demand->type, demand->value != 0);
        }
    }
}

/* Reads one number or boolean; an attribute that the token does not know reads as 0. */
static enum kl_rc read_value(struct kl_session *session, CK_OBJECT_HANDLE object,
                             const struct kl_demand *demand, CK_ULONG *value, const char *what,
                             struct kl_err *err)
{
    CK_BBOOL flag = CK_FALSE;
    CK_ULONG number = 0;
    CK_ATTRIBUTE attr = {demand->type, &flag, sizeof(flag)};
    CK_RV rv;

    if (demand->is_number) {
        attr = (CK_ATTRIBUTE){demand->type, &number, sizeof(number)};
    }
    rv = kl_session_functions(session)->C_GetAttributeValue(kl_session_handle(session), object,
                                                            &attr, 1);
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID) {
        *value = 0;
        return KL_OK;
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GetAttributeValue", "%s: %s", what, demand->name);
    }
    *value = demand->is_number ? number : flag != CK_FALSE;
    return KL_OK;
}

enum kl_rc kl_object_demand(struct kl_session *session, CK_OBJECT_HANDLE object,
                            const struct kl_demand *demands, size_t count, const char *what,
                            struct kl_err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct kl_demand *demand = &demands[i];
        CK_ULONG value = 0;
        enum kl_rc rc = read_value(session, object, demand, &value, what, err);

        if (rc != KL_OK) {
            return rc;
        }
        if (value != demand->value && demand->is_number) {
            return kl_err_set(err, KL_ERR_KEY, "%s: %s is %lu, must be %lu", what, demand->name,
                              value, demand->value);
        }
        if (value != demand->value) {
            return kl_err_set(err, KL_ERR_KEY, "%s: %s is %s, must be %s", what, demand->name,
                              value ? "true" : "false", demand->value ? "true" : "false");
        }
    }
    return KL_OK;
}

enum kl_rc kl_object_number(struct kl_session *session, CK_OBJECT_HANDLE object,
                            CK_ATTRIBUTE_TYPE type, const char *name, const char *what,
                            CK_ULONG *out, struct kl_err *err)
{
    CK_ULONG number = 0;
    CK_ATTRIBUTE attr = {type, &number, sizeof(number)};
    CK_RV rv = kl_session_functions(session)->C_GetAttributeValue(kl_session_handle(session),
                                                                  object, &attr, 1);

    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GetAttributeValue", "%s: %s", what, name);
    }
    *out = number;
    return KL_OK;
}

/* ---- Public keys ---- */

static enum kl_rc rsa_public(const BIGNUM *n, const BIGNUM *e, EVP_PKEY **out, struct kl_err *err)
{
    OSSL_PARAM_BLD *builder;
    EVP_PKEY_CTX *ctx;
    OSSL_PARAM *params = NULL;
    EVP_PKEY *key = NULL;
    enum kl_rc rc = KL_OK;

    kl_err_openssl_clear(); /* a module may use this very queue */
    builder = OSSL_PARAM_BLD_new();
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    if (!builder || !ctx || !OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) ||
        !OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) ||
        !(params = OSSL_PARAM_BLD_to_param(builder)) || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        rc = kl_err_openssl(err, KL_ERR_KEY, "EVP_PKEY_fromdata", "not an RSA public key");
    } else {
        *out = key;
    }
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_BLD_free(builder);
    return rc;
}

enum kl_rc kl_object_rsa_public(struct kl_session *session, CK_OBJECT_HANDLE object, EVP_PKEY **out,
                                struct kl_err *err)
{
    uint8_t modulus[KL_RSA_MAX], exponent[8];
    CK_ATTRIBUTE attrs[] = {
        {CKA_MODULUS, modulus, sizeof(modulus)},
        {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)},
    };
    BIGNUM *n = NULL, *e = NULL;
    enum kl_rc rc;
    CK_RV rv = kl_session_functions(session)->C_GetAttributeValue(kl_session_handle(session),
                                                                  object, attrs, 2);

    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GetAttributeValue", "RSA public key cannot be read");
    }
    if (attrs[0].ulValueLen > sizeof(modulus) || attrs[1].ulValueLen > sizeof(exponent)) {
        return kl_err_set(
            err, KL_ERR_HSM,
            "C_GetAttributeValue claims to give %lu and %lu bytes of an RSA public key",
            attrs[0].ulValueLen, attrs[1].ulValueLen);
    }
    kl_err_openssl_clear();
    n = BN_bin2bn(modulus, (int)attrs[0].ulValueLen, NULL);
    e = BN_bin2bn(exponent, (int)attrs[1].ulValueLen, NULL);
    if (!n || !e) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "BN_bin2bn", "RSA public key");
    } else {
        rc = rsa_public(n, e, out, err);
    }
    BN_free(e);
    BN_free(n);
    return rc;
}

size_t kl_ec_point_der(const uint8_t *point, size_t len, uint8_t out[KL_EC_POINT_DER_MAX])
{
    size_t at = 0;

    out[at++] = V_ASN1_OCTET_STRING;
    if (len > 127) { /* P-521 */
        out[at++] = 0x81;
    }
    out[at++] = (uint8_t)len;
    memcpy(out + at, point, len);
    return at + len;
}

static const struct kl_curve *curve_of(const uint8_t *params, size_t len)
{
    static const unsigned sizes[] = {256, 384, 521};

    for (size_t i = 0; i < COUNT(sizes); i++) {
        const struct kl_curve *curve = kl_curve_by_bits(sizes[i]);

        if (curve && curve->oid_len == len && memcmp(curve->oid, params, len) == 0) {
            return curve;
        }
    }
    return NULL;
}

/* The point within CKA_EC_POINT; its length alone tells the two forms apart, as both begin with
 * 04. NULL if it is neither. */
static const uint8_t *bare_point(const struct kl_curve *curve, const uint8_t *value, size_t len)
{
    uint8_t wrapped[KL_EC_POINT_DER_MAX];
    const uint8_t *point = len > curve->point_len ? value + (len - curve->point_len) : value;

    if (len == curve->point_len) {
        return value;
    }
    return len > curve->point_len && kl_ec_point_der(point, curve->point_len, wrapped) == len &&
                   memcmp(wrapped, value, len) == 0
               ? point
               : NULL;
}

enum kl_rc kl_object_ec_public(struct kl_session *session, CK_OBJECT_HANDLE object, EVP_PKEY **out,
                               struct kl_err *err)
{
    uint8_t params[32], value[KL_EC_POINT_DER_MAX];
    CK_ATTRIBUTE params_attr = {CKA_EC_PARAMS, params, sizeof(params)};
    CK_ATTRIBUTE point_attr = {CKA_EC_POINT, value, sizeof(value)};
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    const struct kl_curve *curve;
    const uint8_t *point;
    enum kl_rc rc;
    CK_RV rv = f->C_GetAttributeValue(s, object, &params_attr, 1);

    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) {
        return kl_rv_err(err, rv, "C_GetAttributeValue", "CKA_EC_PARAMS cannot be read");
    }
    curve = rv == CKR_OK && params_attr.ulValueLen <= sizeof(params)
                ? curve_of(params, params_attr.ulValueLen)
                : NULL;
    if (!curve) {
        return kl_err_set(err, KL_ERR_KEY, "EC key: CKA_EC_PARAMS must name P-256, P-384 or P-521");
    }
    rv = f->C_GetAttributeValue(s, object, &point_attr, 1);
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID || (rv == CKR_OK && point_attr.ulValueLen == 0)) {
        return kl_err_set(err, KL_ERR_NOT_FOUND, "EC key: there is no CKA_EC_POINT");
    }
    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) {
        return kl_rv_err(err, rv, "C_GetAttributeValue", "CKA_EC_POINT cannot be read");
    }
    point = rv == CKR_OK && point_attr.ulValueLen <= sizeof(value)
                ? bare_point(curve, value, point_attr.ulValueLen)
                : NULL;
    if (!point) {
        return kl_err_set(err, KL_ERR_KEY, "EC key: CKA_EC_POINT is no uncompressed point of %s",
                          curve->name);
    }
    rc = kl_ec_from_point(curve, point, curve->point_len, out, err);
    if (rc == KL_ERR_VERIFY) {
        err->rc = rc = KL_ERR_KEY;
    }
    return rc;
}
