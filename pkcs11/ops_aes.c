/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rnd1 and the single-use AES keys derived from it: generating, deriving, GCM for Rnd2 and CMAC
 * for Loaded and Done; and the ECDH secret, which derives likewise.
 */
#include "pkcs11/ops.h"

#include <string.h>

#include "pkcs11/object.h"
#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"
#include "proto/pubkey.h"
#include "proto/secret.h"

/* Longest message to or from GCM here, tag included; Rnd2 needs 48. */
#define GCM_MAX 256

/* An AES session key of so many bytes with one use; the caller seals it. */
static void session_key(struct kl_tmpl *tmpl, size_t len, int extractable, enum kl_key_use use)
{
    kl_tmpl_init(tmpl);
    kl_tmpl_number(tmpl, CKA_CLASS, CKO_SECRET_KEY);
    kl_tmpl_number(tmpl, CKA_KEY_TYPE, CKK_AES);
    kl_tmpl_number(tmpl, CKA_VALUE_LEN, (CK_ULONG)len);
    kl_tmpl_bool(tmpl, CKA_TOKEN, 0);
    kl_tmpl_bool(tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(tmpl, CKA_EXTRACTABLE, extractable);
    kl_tmpl_can(tmpl, CKO_SECRET_KEY, kl_op_can(use, 1));
}

enum kl_rc kl_op_generate_base(struct kl_session *session, size_t len, CK_OBJECT_HANDLE *out,
                               struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    CK_RV rv;

    /* Extractable only so that it can be wrapped for the other side. */
    session_key(&tmpl, len, 1, KL_USE_DERIVE);
    kl_tmpl_bool(&tmpl, CKA_WRAP_WITH_TRUSTED, 0);
    kl_tmpl_seal(&tmpl);
    rv = kl_session_functions(session)->C_GenerateKey(kl_session_handle(session), &mechanism,
                                                      tmpl.attrs, tmpl.count, &made);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GenerateKey(CKM_AES_KEY_GEN)",
                         "no key of %zu bytes can be drawn", len);
    }
    *out = made;
    return KL_OK;
}

enum kl_rc kl_op_generate_rnd1(struct kl_session *session, CK_OBJECT_HANDLE *rnd1,
                               struct kl_err *err)
{
    return kl_op_generate_base(session, KL_RND1_LEN, rnd1, err);
}

/* Derives an AES-256 key. The input is the peer's choice: a base of a length that AES does not
 * have, say, fails only here. */
static enum kl_rc derive(struct kl_session *session, CK_MECHANISM *mechanism, const char *name,
                         CK_OBJECT_HANDLE base, enum kl_key_use use, CK_OBJECT_HANDLE *out,
                         struct kl_err *err)
{
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    CK_RV rv;

    session_key(&tmpl, KL_RND1_LEN, 0, use);
    kl_tmpl_seal(&tmpl);
    rv = kl_session_functions(session)->C_DeriveKey(kl_session_handle(session), mechanism, base,
                                                    tmpl.attrs, tmpl.count, &made);
    if (rv != CKR_OK) {
        return kl_rv_err_peer(err, rv, name, "no key can be derived");
    }
    *out = made;
    return KL_OK;
}

enum kl_rc kl_op_derive(struct kl_session *session, CK_OBJECT_HANDLE base,
                        const uint8_t label[KL_HASH_LEN], enum kl_key_use use,
                        CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE_PTR)label, KL_HASH_LEN};
    CK_MECHANISM mechanism = {CKM_AES_ECB_ENCRYPT_DATA, &data, sizeof(data)};

    return derive(session, &mechanism, "C_DeriveKey(CKM_AES_ECB_ENCRYPT_DATA)", base, use, out,
                  err);
}

static enum kl_rc ecdh(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                       const uint8_t *data, size_t len, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    CK_ECDH1_DERIVE_PARAMS params = {
        .kdf = CKD_NULL,
        .public_data_len = (CK_ULONG)len,
        .public_data = (CK_BYTE_PTR)data,
    };
    CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &params, sizeof(params)};

    return derive(session, &mechanism, "C_DeriveKey(CKM_ECDH1_DERIVE)", private_key, KL_USE_DERIVE,
                  out, err);
}

enum kl_rc kl_op_ecdh(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                      const struct kl_curve *curve, enum kl_point_form form, const uint8_t *point,
                      size_t point_len, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    uint8_t der[KL_EC_POINT_DER_MAX];
    /* A point off the curve would have the private key answer on another, weaker one. */
    enum kl_rc rc = kl_ec_point_check(curve, point, point_len, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (form == KL_POINT_DER) {
        return ecdh(session, private_key, der, kl_ec_point_der(point, point_len, der), out, err);
    }
    return ecdh(session, private_key, point, point_len, out, err);
}

static CK_GCM_PARAMS gcm_params(const uint8_t iv[KL_GCM_IV_LEN], const uint8_t *aad, size_t aad_len)
{
    return (CK_GCM_PARAMS){
        .iv_ptr = (CK_BYTE_PTR)iv,
        .iv_len = KL_GCM_IV_LEN,
        .iv_bits = KL_GCM_IV_LEN * 8,
        .aad_ptr = (CK_BYTE_PTR)aad,
        .aad_len = (CK_ULONG)aad_len,
        .tag_bits = KL_GCM_TAG_LEN * 8,
    };
}

enum kl_rc kl_op_gcm_encrypt(struct kl_session *session, CK_OBJECT_HANDLE key,
                             const uint8_t iv[KL_GCM_IV_LEN], const uint8_t *aad, size_t aad_len,
                             const uint8_t *in, size_t in_len, uint8_t *out, struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_GCM_PARAMS params = gcm_params(iv, aad, aad_len);
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    uint8_t sealed[GCM_MAX];
    CK_ULONG n = sizeof(sealed);
    CK_RV rv;

    if (aad_len == 0 || in_len == 0 || in_len > GCM_MAX - KL_GCM_TAG_LEN) {
        return kl_err_set(err, KL_ERR_INTERNAL, "GCM over %zu bytes with %zu of AAD", in_len,
                          aad_len);
    }
    rv = f->C_EncryptInit(s, &mechanism, key);
    if (rv == CKR_OK) {
        rv = f->C_Encrypt(s, (CK_BYTE_PTR)in, (CK_ULONG)in_len, sealed, &n);
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_Encrypt(CKM_AES_GCM)", "Rnd2 cannot be encrypted");
    }
    if (n != in_len + KL_GCM_TAG_LEN) {
        return kl_err_set(err, KL_ERR_HSM, "C_Encrypt(CKM_AES_GCM) gave %lu bytes for %zu", n,
                          in_len);
    }
    memcpy(out, sealed, n);
    return KL_OK;
}

enum kl_rc kl_op_gcm_decrypt(struct kl_session *session, CK_OBJECT_HANDLE key,
                             const uint8_t iv[KL_GCM_IV_LEN], const uint8_t *aad, size_t aad_len,
                             const uint8_t *in, size_t in_len, uint8_t *out, struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_GCM_PARAMS params = gcm_params(iv, aad, aad_len);
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    /* Some modules want room for the tag as well while they decrypt. */
    uint8_t opened[GCM_MAX];
    CK_ULONG n = sizeof(opened);
    enum kl_rc rc = KL_OK;
    CK_RV rv;

    if (aad_len == 0 || in_len <= KL_GCM_TAG_LEN || in_len > GCM_MAX) {
        return kl_err_set(err, KL_ERR_INTERNAL, "GCM over %zu bytes with %zu of AAD", in_len,
                          aad_len);
    }
    rv = f->C_DecryptInit(s, &mechanism, key);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_DecryptInit(CKM_AES_GCM)", "c_rnd2 cannot be decrypted");
    }
    rv = f->C_Decrypt(s, (CK_BYTE_PTR)in, (CK_ULONG)in_len, opened, &n);
    if (rv != CKR_OK) {
        rc = kl_rv_err_peer(err, rv, "C_Decrypt(CKM_AES_GCM)", "c_rnd2 cannot be decrypted");
    } else if (n != in_len - KL_GCM_TAG_LEN) {
        rc =
            kl_err_set(err, KL_ERR_HSM, "C_Decrypt(CKM_AES_GCM) gave %lu bytes for %zu", n, in_len);
    } else {
        memcpy(out, opened, n);
    }
    kl_wipe(opened, sizeof(opened));
    return rc;
}

enum kl_rc kl_op_cmac(struct kl_session *session, CK_OBJECT_HANDLE key, const uint8_t *in,
                      size_t len, uint8_t mac[KL_MAC_LEN], struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_MECHANISM mechanism = {CKM_AES_CMAC, NULL, 0};
    uint8_t full[KL_MAC_LEN];
    CK_ULONG n = sizeof(full);
    CK_RV rv = f->C_SignInit(s, &mechanism, key);

    if (rv == CKR_OK) {
        rv = f->C_Sign(s, (CK_BYTE_PTR)in, (CK_ULONG)len, full, &n);
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_Sign(CKM_AES_CMAC)", "no MAC");
    }
    if (n != KL_MAC_LEN) {
        return kl_err_set(err, KL_ERR_HSM, "C_Sign(CKM_AES_CMAC) gave %lu bytes", n);
    }
    memcpy(mac, full, KL_MAC_LEN);
    return KL_OK;
}
