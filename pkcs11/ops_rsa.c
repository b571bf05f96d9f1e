/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RSA: the public half that a terminal's PIN pad imports, OAEP under it (S5), and signatures (S7;
 * ops_ec.c has ECDSA).
 */
#include "pkcs11/ops.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <string.h>

#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"

enum kl_rc kl_op_import_rsa_public(struct kl_session *session, const EVP_PKEY *key,
                                   CK_OBJECT_HANDLE *handle, struct kl_err *err)
{
    uint8_t modulus[KL_RSA_MAX], exponent[8];
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    BIGNUM *n = NULL, *e = NULL;
    struct kl_tmpl tmpl;
    enum kl_rc rc;
    CK_RV rv;

    kl_err_openssl_clear();
    if (!EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) ||
        !EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e)) {
        rc = kl_err_openssl(err, KL_ERR_CERT, "EVP_PKEY_get_bn_param", "not an RSA public key");
        goto out;
    }
    if (BN_num_bytes(n) > (int)sizeof(modulus) || BN_num_bytes(e) > (int)sizeof(exponent)) {
        rc = kl_err_set(err, KL_ERR_CERT, "RSA public key of %d bits is too large", BN_num_bits(n));
        goto out;
    }
    kl_tmpl_init(&tmpl);
    kl_tmpl_number(&tmpl, CKA_CLASS, CKO_PUBLIC_KEY);
    kl_tmpl_number(&tmpl, CKA_KEY_TYPE, CKK_RSA);
    kl_tmpl_bool(&tmpl, CKA_TOKEN, 0);
    kl_tmpl_bool(&tmpl, CKA_PRIVATE, 0);
    kl_tmpl_can(&tmpl, CKO_PUBLIC_KEY, KL_CAN_WRAP);
    kl_tmpl_bytes(&tmpl, CKA_MODULUS, modulus, (size_t)BN_bn2bin(n, modulus));
    kl_tmpl_bytes(&tmpl, CKA_PUBLIC_EXPONENT, exponent, (size_t)BN_bn2bin(e, exponent));
    kl_tmpl_seal(&tmpl);
    rv = kl_session_functions(session)->C_CreateObject(kl_session_handle(session), tmpl.attrs,
                                                       tmpl.count, &made);
    if (rv != CKR_OK) {
        rc = kl_rv_err(err, rv, "C_CreateObject", "public key cannot be imported");
        goto out;
    }
    *handle = made;
    rc = KL_OK;
out:
    BN_free(e);
    BN_free(n);
    return rc;
}

/* Hands out what a call gave, into result. Its length is the module's word only. */
static enum kl_rc hand_out(const uint8_t result[KL_RSA_MAX], CK_ULONG n, const char *name,
                           uint8_t *out, size_t capacity, size_t *len, struct kl_err *err)
{
    if (n > KL_RSA_MAX || n > capacity) {
        return kl_err_set(err, KL_ERR_HSM, "%s claims to give %lu bytes: at most %zu fit", name, n,
                          capacity < KL_RSA_MAX ? capacity : KL_RSA_MAX);
    }
    memcpy(out, result, n);
    *len = n;
    return KL_OK;
}

/* No label (source data): SoftHSM takes none, and the transcript is bound elsewhere. */
CK_RSA_PKCS_OAEP_PARAMS kl_op_oaep_params(enum kl_oaep_hash hash)
{
    int sha256 = hash == KL_OAEP_SHA256;

    return (CK_RSA_PKCS_OAEP_PARAMS){
        .hashAlg = sha256 ? CKM_SHA256 : CKM_SHA_1,
        .mgf = sha256 ? CKG_MGF1_SHA256 : CKG_MGF1_SHA1,
        .source = CKZ_DATA_SPECIFIED,
    };
}

enum kl_rc kl_op_wrap_oaep(struct kl_session *session, CK_OBJECT_HANDLE public_key,
                           CK_OBJECT_HANDLE key, enum kl_oaep_hash hash, uint8_t *out,
                           size_t capacity, size_t *len, struct kl_err *err)
{
    CK_RSA_PKCS_OAEP_PARAMS params = kl_op_oaep_params(hash);
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_OAEP, &params, sizeof(params)};
    uint8_t wrapped[KL_RSA_MAX];
    CK_ULONG n = sizeof(wrapped);
    CK_RV rv = kl_session_functions(session)->C_WrapKey(kl_session_handle(session), &mechanism,
                                                        public_key, key, wrapped, &n);

    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_WrapKey(CKM_RSA_PKCS_OAEP)", "Rnd1 cannot be encrypted");
    }
    return hand_out(wrapped, n, "C_WrapKey(CKM_RSA_PKCS_OAEP)", out, capacity, len, err);
}

enum kl_rc kl_op_sign(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                      CK_MECHANISM *mechanism, const char *name, const uint8_t *in, size_t in_len,
                      uint8_t *out, size_t capacity, size_t *len, struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    uint8_t signature[KL_RSA_MAX];
    CK_ULONG n = sizeof(signature);
    CK_RV rv = f->C_SignInit(s, mechanism, private_key);

    if (rv == CKR_OK) {
        rv = f->C_Sign(s, (CK_BYTE_PTR)in, (CK_ULONG)in_len, signature, &n);
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, name, "signing failed");
    }
    return hand_out(signature, n, name, out, capacity, len, err);
}

enum kl_rc kl_op_sign_pss(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                          const uint8_t *in, size_t in_len, uint8_t *out, size_t capacity,
                          size_t *len, struct kl_err *err)
{
    CK_RSA_PKCS_PSS_PARAMS params = {.hashAlg = CKM_SHA256,
                                     .mgf = CKG_MGF1_SHA256,
                                     .sLen = KL_HASH_LEN};
    CK_MECHANISM mechanism = {CKM_SHA256_RSA_PKCS_PSS, &params, sizeof(params)};

    return kl_op_sign(session, private_key, &mechanism, "C_Sign(CKM_SHA256_RSA_PKCS_PSS)", in,
                      in_len, out, capacity, len, err);
}

enum kl_rc kl_op_sign_pkcs1(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                            const uint8_t *in, size_t in_len, uint8_t *out, size_t capacity,
                            size_t *len, struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_SHA256_RSA_PKCS, NULL, 0};

    return kl_op_sign(session, private_key, &mechanism, "C_Sign(CKM_SHA256_RSA_PKCS)", in, in_len,
                      out, capacity, len, err);
}

enum kl_rc kl_op_sign_recover(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                              const uint8_t *in, size_t in_len, uint8_t *out, size_t capacity,
                              size_t *len, struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};

    return kl_op_sign(session, private_key, &mechanism, "C_Sign(CKM_RSA_PKCS)", in, in_len, out,
                      capacity, len, err);
}
