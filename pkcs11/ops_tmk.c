/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A TMK inside the HSM: drawn, wrapped (RFC 3394) for the terminal and for the store, unwrapped,
 * its key check value, and what is put under it at a sign-in.
 */
#include "pkcs11/ops.h"

#include <string.h>

#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"

/* PKCS#11's names for an algorithm. */
CK_KEY_TYPE kl_op_key_type(enum kl_alg alg)
{
    switch (alg) {
    case KL_ALG_TDES2:
        return CKK_DES2;
    case KL_ALG_TDES3:
        return CKK_DES3;
    default:
        return CKK_AES;
    }
}

static CK_MECHANISM_TYPE generation(enum kl_alg alg, const char **name)
{
    switch (alg) {
    case KL_ALG_TDES2:
        *name = "C_GenerateKey(CKM_DES2_KEY_GEN)";
        return CKM_DES2_KEY_GEN;
    case KL_ALG_TDES3:
        *name = "C_GenerateKey(CKM_DES3_KEY_GEN)";
        return CKM_DES3_KEY_GEN;
    default:
        *name = "C_GenerateKey(CKM_AES_KEY_GEN)";
        return CKM_AES_KEY_GEN;
    }
}

/* The caller adds what is its own, and seals it. */
static void session_template(struct kl_tmpl *tmpl, const struct kl_alg_info *info, int extractable,
                             enum kl_key_use use)
{
    kl_tmpl_init(tmpl);
    kl_tmpl_number(tmpl, CKA_CLASS, CKO_SECRET_KEY);
    kl_tmpl_number(tmpl, CKA_KEY_TYPE, kl_op_key_type(info->alg));
    kl_tmpl_bool(tmpl, CKA_TOKEN, 0);
    kl_tmpl_bool(tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(tmpl, CKA_EXTRACTABLE, extractable);
    kl_tmpl_can(tmpl, CKO_SECRET_KEY, kl_op_can(use, info->is_aes));
}

enum kl_rc kl_op_generate_tmk(struct kl_session *session, enum kl_alg alg, CK_OBJECT_HANDLE *out,
                              struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    const char *name;
    CK_MECHANISM mechanism = {generation(alg, &name), NULL, 0};
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    CK_RV rv;

    if (!info) {
        return kl_err_set(err, KL_ERR_INTERNAL, "unknown TMK algorithm %d", alg);
    }
    /* Extractable, as it is about to be wrapped twice; the storage key is nobody's CKA_TRUSTED. */
    session_template(&tmpl, info, 1, KL_USE_KCV);
    kl_tmpl_bool(&tmpl, CKA_WRAP_WITH_TRUSTED, 0);
    if (info->is_aes) {
        kl_tmpl_number(&tmpl, CKA_VALUE_LEN, (CK_ULONG)info->key_len);
    }
    kl_tmpl_seal(&tmpl);
    rv = kl_session_functions(session)->C_GenerateKey(kl_session_handle(session), &mechanism,
                                                      tmpl.attrs, tmpl.count, &made);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, name, "no %s key can be drawn", info->name);
    }
    *out = made;
    return KL_OK;
}

static enum kl_rc wrap(struct kl_session *session, CK_MECHANISM_TYPE type, const char *name,
                       CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key,
                       uint8_t out[KL_CTMK_LEN_MAX], size_t *len, struct kl_err *err)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    uint8_t wrapped[KL_CTMK_LEN_MAX];
    CK_ULONG n = sizeof(wrapped);
    CK_RV rv = kl_session_functions(session)->C_WrapKey(kl_session_handle(session), &mechanism,
                                                        wrapping_key, key, wrapped, &n);

    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, name, "key cannot be wrapped");
    }
    if (n > sizeof(wrapped)) {
        return kl_err_set(err, KL_ERR_HSM, "%s claims to give %lu bytes", name, n);
    }
    memcpy(out, wrapped, n);
    *len = n;
    return KL_OK;
}

enum kl_rc kl_op_wrap(struct kl_session *session, CK_OBJECT_HANDLE wrapping_key,
                      CK_OBJECT_HANDLE key, uint8_t out[KL_CTMK_LEN_MAX], size_t *len,
                      struct kl_err *err)
{
    return wrap(session, CKM_AES_KEY_WRAP, "C_WrapKey(CKM_AES_KEY_WRAP)", wrapping_key, key, out,
                len, err);
}

enum kl_rc kl_op_wrap_tdes(struct kl_session *session, CK_OBJECT_HANDLE tmk, CK_OBJECT_HANDLE key,
                           uint8_t out[KL_CTMK_LEN_MAX], size_t *len, struct kl_err *err)
{
    return wrap(session, CKM_DES3_ECB, "C_WrapKey(CKM_DES3_ECB)", tmk, key, out, len, err);
}

/* C_UnwrapKey by AES key wrap; the caller has filled and sealed the template. */
static enum kl_rc unwrap(struct kl_session *session, CK_OBJECT_HANDLE unwrapping_key,
                         const struct kl_alg_info *info, const uint8_t *wrapped, size_t len,
                         struct kl_tmpl *tmpl, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    CK_RV rv;

    /* RFC 3394 keeps the length, so this is the length of what comes out, too. */
    if (len != kl_alg_wrapped_len(info)) {
        return kl_err_set(err, KL_ERR_VERIFY, "wrapped %s key has %zu bytes instead of %zu",
                          info->name, len, kl_alg_wrapped_len(info));
    }
    rv = kl_session_functions(session)->C_UnwrapKey(kl_session_handle(session), &mechanism,
                                                    unwrapping_key, (CK_BYTE_PTR)wrapped,
                                                    (CK_ULONG)len, tmpl->attrs, tmpl->count, &made);
    if (rv != CKR_OK) {
        return kl_rv_err_peer(err, rv, "C_UnwrapKey(CKM_AES_KEY_WRAP)", "TMK cannot be unwrapped");
    }
    *out = made;
    return KL_OK;
}

enum kl_rc kl_op_unwrap_tmk(struct kl_session *session, CK_OBJECT_HANDLE unwrapping_key,
                            enum kl_alg alg, const uint8_t *wrapped, size_t len,
                            enum kl_key_use use, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    struct kl_tmpl tmpl;

    if (!info || (use != KL_USE_KCV && use != KL_USE_UNWRAP && use != KL_USE_DECRYPT)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "TMK of algorithm %d for use %d", alg, use);
    }
    session_template(&tmpl, info, 0, use);
    kl_tmpl_seal(&tmpl);
    return unwrap(session, unwrapping_key, info, wrapped, len, &tmpl, out, err);
}

enum kl_rc kl_op_unwrap_stored(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                               enum kl_alg alg, const uint8_t *wrapped, size_t len,
                               enum kl_key_use use, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    struct kl_tmpl tmpl;
    enum kl_rc rc;

    if (!info || (use != KL_USE_KCV && use != KL_USE_WRAP && use != KL_USE_ENCRYPT)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "stored TMK of algorithm %d for use %d", alg, use);
    }
    session_template(&tmpl, info, use == KL_USE_KCV, use);
    kl_tmpl_seal(&tmpl);
    rc = unwrap(session, storage_key, info, wrapped, len, &tmpl, out, err);
    if (rc == KL_ERR_VERIFY) {
        err->rc = rc = KL_ERR_STORE;
    }
    return rc == KL_OK ? KL_OK : kl_err_context(err, "the store's cryptogram of a TMK");
}

enum kl_rc kl_op_import_value(struct kl_session *session, enum kl_alg alg, const uint8_t *value,
                              enum kl_key_use use, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    CK_RV rv;

    if (!info) {
        return kl_err_set(err, KL_ERR_INTERNAL, "key of unknown algorithm %d", alg);
    }
    session_template(&tmpl, info, use == KL_USE_KCV, use);
    kl_tmpl_bytes(&tmpl, CKA_VALUE, value, info->key_len);
    kl_tmpl_seal(&tmpl);
    rv = kl_session_functions(session)->C_CreateObject(kl_session_handle(session), tmpl.attrs,
                                                       tmpl.count, &made);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_CreateObject", "no %s key can be made", info->name);
    }
    *out = made;
    return KL_OK;
}

enum kl_rc kl_op_encrypt_tdes(struct kl_session *session, CK_OBJECT_HANDLE tmk, const uint8_t *in,
                              size_t len, uint8_t *out, struct kl_err *err)
{
    static const char name[] = "C_Encrypt(CKM_DES3_ECB)";
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
    uint8_t encrypted[KL_TMK_LEN_MAX];
    CK_ULONG n = sizeof(encrypted);
    CK_RV rv;

    if (len == 0 || len % 8 != 0 || len > sizeof(encrypted)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "%s over %zu bytes", name, len);
    }
    rv = f->C_EncryptInit(s, &mechanism, tmk);
    if (rv == CKR_OK) {
        rv = f->C_Encrypt(s, (CK_BYTE_PTR)in, (CK_ULONG)len, encrypted, &n);
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, name, "key of %zu bytes", len);
    }
    if (n != len) {
        return kl_err_set(err, KL_ERR_HSM, "%s gave %lu bytes for %zu", name, n, len);
    }
    memcpy(out, encrypted, n);
    return KL_OK;
}

enum kl_rc kl_op_decrypt_tdes(struct kl_session *session, CK_OBJECT_HANDLE tmk, const uint8_t *in,
                              size_t len, uint8_t *out, struct kl_err *err)
{
    static const char name[] = "C_Decrypt(CKM_DES3_ECB)";
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
    CK_ULONG n = (CK_ULONG)len;
    CK_RV rv = f->C_DecryptInit(s, &mechanism, tmk);

    if (rv == CKR_OK) {
        rv = f->C_Decrypt(s, (CK_BYTE_PTR)in, (CK_ULONG)len, out, &n);
    }
    if (rv != CKR_OK) {
        return kl_rv_err_peer(err, rv, name, "the key cannot be deciphered");
    }
    return n == len ? KL_OK
                    : kl_err_set(err, KL_ERR_HSM, "%s gave %lu bytes for %zu", name, n, len);
}

enum kl_rc kl_op_kcv(struct kl_session *session, CK_OBJECT_HANDLE key, enum kl_alg alg,
                     size_t kcv_len, uint8_t *kcv, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    const uint8_t zeros[16] = {0};
    uint8_t block[KL_MAC_LEN];
    enum kl_rc rc;

    if (!info || kcv_len < KL_KCV_LEN_MIN || kcv_len > KL_KCV_LEN_MAX) {
        return kl_err_set(err, KL_ERR_INTERNAL, "KCV of %zu bytes, algorithm %d", kcv_len, alg);
    }
    rc = info->is_aes ? kl_op_cmac(session, key, zeros, sizeof(zeros), block, err)
                      : kl_op_encrypt_tdes(session, key, zeros, 8, block, err);
    if (rc != KL_OK) {
        return kl_err_context(err, "KCV");
    }
    memcpy(kcv, block, kcv_len);
    return KL_OK;
}
