/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * S6: C_rnd1_rnd2 opened. Rnd1' goes by C_UnwrapKey straight into a session key; only classic,
 * which has Rnd1 and Rnd2 in one block, has them in host memory.
 */
#include "pkcs11/ops.h"

#include "pkcs11/object.h"
#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"

/* A short Rnd1 would make an AES-128 or AES-192 key. SoftHSM 2.6 does not know the length of a key
 * that it unwrapped (0), nor does it take CKA_VALUE_LEN in the template; there a length that is
 * none of AES fails in the derivation, and 16 or 24 bytes pass, which is still no weaker than the
 * RSA key that carried them. */
static enum kl_rc check_length(struct kl_session *session, CK_OBJECT_HANDLE key, size_t want_len,
                               struct kl_err *err)
{
    CK_ULONG key_len = 0;
    CK_ATTRIBUTE query = {CKA_VALUE_LEN, &key_len, sizeof(key_len)};
    CK_RV rv = kl_session_functions(session)->C_GetAttributeValue(kl_session_handle(session), key,
                                                                  &query, 1);

    if (rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID) {
        return kl_rv_err(err, rv, "C_GetAttributeValue", "length of a key cannot be read");
    }
    if (rv == CKR_OK && key_len != 0 && key_len != want_len) {
        return kl_err_set(err, KL_ERR_VERIFY, "a key of %lu bytes was wrapped; it must have %zu",
                          key_len, want_len);
    }
    return KL_OK;
}

/* key_len: bytes that the key must have; 0 = len has told already. */
static enum kl_rc unwrap(struct kl_session *session, CK_MECHANISM *mechanism, const char *name,
                         CK_OBJECT_HANDLE key, size_t key_len, const uint8_t *wrapped, size_t len,
                         CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    enum kl_rc rc = KL_OK;
    struct kl_tmpl tmpl;
    CK_RV rv;

    /* Tokens compare this with the work key's CKA_UNWRAP_TEMPLATE: the same list made both. */
    kl_tmpl_init(&tmpl);
    kl_demands_add(&kl_rnd1_demands, &tmpl);
    rv = kl_session_functions(session)->C_UnwrapKey(kl_session_handle(session), mechanism, key,
                                                    (CK_BYTE_PTR)wrapped, (CK_ULONG)len, tmpl.attrs,
                                                    tmpl.count, &handle);
    if (rv != CKR_OK) {
        return kl_rv_err_peer(err, rv, name, "key cannot be unwrapped");
    }
    if (key_len > 0) {
        rc = check_length(session, handle, key_len, err);
    }
    if (rc != KL_OK) {
        kl_op_destroy(session, &handle);
        return rc;
    }
    *out = handle;
    return KL_OK;
}

enum kl_rc kl_op_unwrap_rnd1(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                             enum kl_oaep_hash hash, const uint8_t *c_rnd1, size_t len,
                             CK_OBJECT_HANDLE *rnd1, struct kl_err *err)
{
    CK_RSA_PKCS_OAEP_PARAMS params = kl_op_oaep_params(hash);
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_OAEP, &params, sizeof(params)};

    return unwrap(session, &mechanism, "C_UnwrapKey(CKM_RSA_PKCS_OAEP)", private_key, KL_RND1_LEN,
                  c_rnd1, len, rnd1, err);
}

enum kl_rc kl_op_unwrap_base(struct kl_session *session, CK_OBJECT_HANDLE unwrapping_key,
                             size_t key_len, const uint8_t *wrapped, size_t len,
                             CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};

    /* RFC 3394 keeps the length, so this is the length of what comes out, too, and need not be
     * asked for; nor is there, for a module that takes padding (RFC 5649), another length of AES's
     * in it. */
    if (len != key_len + KL_WRAP_OVERHEAD) {
        return kl_err_set(err, KL_ERR_VERIFY, "wrapped key has %zu bytes instead of %zu", len,
                          key_len + KL_WRAP_OVERHEAD);
    }
    return unwrap(session, &mechanism, "C_UnwrapKey(CKM_AES_KEY_WRAP)", unwrapping_key, 0, wrapped,
                  len, out, err);
}

enum kl_rc kl_op_unwrap_base_tdes(struct kl_session *session, CK_OBJECT_HANDLE unwrapping_key,
                                  const uint8_t wrapped[KL_SESSION_INPUT_LEN],
                                  CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};

    return unwrap(session, &mechanism, "C_UnwrapKey(CKM_DES3_ECB)", unwrapping_key,
                  KL_SESSION_INPUT_LEN, wrapped, KL_SESSION_INPUT_LEN, out, err);
}

enum kl_rc kl_op_decrypt_oaep(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                              enum kl_oaep_hash hash, const uint8_t *in, size_t len,
                              size_t want_len, struct kl_secret *out, struct kl_err *err)
{
    static const char name[] = "C_Decrypt(CKM_RSA_PKCS_OAEP)";
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_RSA_PKCS_OAEP_PARAMS params = kl_op_oaep_params(hash);
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_OAEP, &params, sizeof(params)};
    CK_ULONG n = KL_RSA_MAX; /* some modules want room for the whole block */
    CK_RV rv;

    if (kl_secret_capacity(out) < KL_RSA_MAX) {
        return kl_err_set(err, KL_ERR_INTERNAL, "%s into %zu bytes", name, kl_secret_capacity(out));
    }
    rv = f->C_DecryptInit(s, &mechanism, private_key);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, name, "c_rnd1 cannot be decrypted");
    }
    rv = f->C_Decrypt(s, (CK_BYTE_PTR)in, (CK_ULONG)len, kl_secret_data(out), &n);
    if (rv != CKR_OK) {
        return kl_rv_err_peer(err, rv, name, "c_rnd1 cannot be decrypted");
    }
    if (n != want_len) {
        return kl_err_set(err, KL_ERR_VERIFY, "c_rnd1 holds %lu bytes; %zu are expected", n,
                          want_len);
    }
    kl_secret_set_len(out, want_len);
    return KL_OK;
}
