/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rnd1 and the single-use AES keys derived from it: generating, deriving, GCM for Rnd2 and CMAC
 * for Loaded and Done.
 */
#include "pkcs11/ops.h"

#include <string.h>

#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"
#include "proto/secret.h"

/* Longest message to or from GCM here, tag included; Rnd2 needs 48. */
#define GCM_MAX 256

static unsigned can_of(enum kl_key_use use)
{
    switch (use) {
    case KL_USE_DERIVE:
        return KL_CAN_DERIVE;
    case KL_USE_WRAP:
        return KL_CAN_WRAP;
    case KL_USE_UNWRAP:
        return KL_CAN_UNWRAP;
    case KL_USE_ENCRYPT:
        return KL_CAN_ENCRYPT;
    case KL_USE_DECRYPT:
        return KL_CAN_DECRYPT;
    case KL_USE_MAC:
        return KL_CAN_SIGN;
    case KL_USE_KCV: /* of an AES key; ops_tmk.c knows TDES */
        return KL_CAN_SIGN;
    }
    return 0;
}

/* An AES-256 session key with one use; the caller seals it. */
static void session_key(struct kl_tmpl *tmpl, int extractable, enum kl_key_use use)
{
    kl_tmpl_init(tmpl);
    kl_tmpl_number(tmpl, CKA_CLASS, CKO_SECRET_KEY);
    kl_tmpl_number(tmpl, CKA_KEY_TYPE, CKK_AES);
    kl_tmpl_number(tmpl, CKA_VALUE_LEN, KL_RND1_LEN);
    kl_tmpl_bool(tmpl, CKA_TOKEN, 0);
    kl_tmpl_bool(tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(tmpl, CKA_EXTRACTABLE, extractable);
    kl_tmpl_can(tmpl, CKO_SECRET_KEY, can_of(use));
}

enum kl_rc kl_op_generate_rnd1(struct kl_session *session, CK_OBJECT_HANDLE *rnd1,
                               struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    struct kl_tmpl tmpl;
    CK_RV rv;

    /* Extractable only so that it can be wrapped under the loader's public key. */
    session_key(&tmpl, 1, KL_USE_DERIVE);
    kl_tmpl_bool(&tmpl, CKA_WRAP_WITH_TRUSTED, 0);
    kl_tmpl_seal(&tmpl);
    rv = kl_session_functions(session)->C_GenerateKey(kl_session_handle(session), &mechanism,
                                                      tmpl.attrs, tmpl.count, rnd1);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GenerateKey(CKM_AES_KEY_GEN)", "Rnd1 cannot be drawn");
    }
    return KL_OK;
}

enum kl_rc kl_op_derive(struct kl_session *session, CK_OBJECT_HANDLE base,
                        const uint8_t label[KL_HASH_LEN], enum kl_key_use use,
                        CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE_PTR)label, KL_HASH_LEN};
    CK_MECHANISM mechanism = {CKM_AES_ECB_ENCRYPT_DATA, &data, sizeof(data)};
    struct kl_tmpl tmpl;
    CK_RV rv;

    /* The base is the peer's choice: one of a length that AES does not have fails only here. */
    session_key(&tmpl, 0, use);
    kl_tmpl_seal(&tmpl);
    rv = kl_session_functions(session)->C_DeriveKey(kl_session_handle(session), &mechanism, base,
                                                    tmpl.attrs, tmpl.count, out);
    if (rv != CKR_OK) {
        return kl_rv_err_peer(err, rv, "C_DeriveKey(CKM_AES_ECB_ENCRYPT_DATA)",
                              "no key can be derived from Rnd1");
    }
    return KL_OK;
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
