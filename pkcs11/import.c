/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TMKs under foreign keys: unwrapped into the store's form, and wrapped out of it.
 */
#include "pkcs11/import.h"

#include <openssl/crypto.h>
#include <string.h>

#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "pkcs11/stored.h"
#include "pkcs11/tmpl.h"

void kl_carrier_end(struct kl_session *session, struct kl_carrier *carrier)
{
    /* A host's key alone is ours to destroy: the others are token objects. */
    if (carrier->type == KL_KEY_RSA && carrier->outward) {
        kl_op_destroy(session, &carrier->handle);
    }
}

/* ---- In ---- */

/* What comes in is as kl_tmk_demands has it (the carriers' own CKA_UNWRAP_TEMPLATE), may be wrapped
 * under the storage key, and computes its KCV. CKA_VALUE_LEN is not a template's to say: what came
 * in, kl_tmk_take measures. */
static void incoming_template(struct kl_tmpl *tmpl, const struct kl_alg_info *info)
{
    static const CK_KEY_TYPE tdes[] = {[KL_ALG_TDES2] = CKK_DES2, [KL_ALG_TDES3] = CKK_DES3};

    kl_tmpl_init(tmpl);
    kl_demands_add(&kl_tmk_demands, tmpl);
    kl_tmpl_number(tmpl, CKA_KEY_TYPE, info->is_aes ? CKK_AES : tdes[info->alg]);
    kl_tmpl_bool(tmpl, CKA_EXTRACTABLE, 1);
    kl_tmpl_bool(tmpl, CKA_ENCRYPT, !info->is_aes);
    kl_tmpl_bool(tmpl, CKA_SIGN, info->is_aes);
    kl_tmpl_bool(tmpl, CKA_WRAP, 0);
    kl_tmpl_seal(tmpl);
}

static size_t wrapped_len(const struct kl_carrier *carrier, const struct kl_alg_info *info)
{
    return carrier->type == KL_KEY_RSA ? carrier->bits / 8 : kl_alg_wrapped_len(info);
}

/* The mechanism of a carrier; params is scratch that it points to. */
static CK_MECHANISM mechanism_of(const struct kl_carrier *carrier, CK_RSA_PKCS_OAEP_PARAMS *params,
                                 const char **name)
{
    if (carrier->type == KL_KEY_RSA) {
        *params = kl_op_oaep_params(carrier->oaep_hash);
        *name = "CKM_RSA_PKCS_OAEP";
        return (CK_MECHANISM){CKM_RSA_PKCS_OAEP, params, sizeof(*params)};
    }
    *name = carrier->wrap == KL_WRAP_KWP ? "CKM_AES_KEY_WRAP_PAD" : "CKM_AES_KEY_WRAP";
    return (CK_MECHANISM){carrier->wrap == KL_WRAP_KWP ? CKM_AES_KEY_WRAP_PAD : CKM_AES_KEY_WRAP,
                          NULL, 0};
}

enum kl_rc kl_tmk_unwrap(struct kl_session *session, const struct kl_carrier *carrier, int enforce,
                         enum kl_alg alg, const uint8_t *cryptogram, size_t len,
                         CK_OBJECT_HANDLE *tmk, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    CK_RSA_PKCS_OAEP_PARAMS params;
    const char *name;
    CK_MECHANISM mechanism = mechanism_of(carrier, &params, &name);
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    enum kl_rc rc;
    CK_RV rv;

    if (!info || carrier->outward) {
        return kl_err_set(err, KL_ERR_INTERNAL, "TMK of algorithm %d, outward %d", alg,
                          carrier->outward);
    }
    if (enforce && (rc = kl_alg_strength(carrier->type, carrier->bits, alg, err)) != KL_OK) {
        return rc;
    }
    if (len != wrapped_len(carrier, info)) {
        return kl_err_set(err, KL_ERR_INPUT, "the cryptogram has %zu bytes; of %s it must have %zu",
                          len, info->name, wrapped_len(carrier, info));
    }
    incoming_template(&tmpl, info);
    rv = kl_session_functions(session)->C_UnwrapKey(kl_session_handle(session), &mechanism,
                                                    carrier->handle, (CK_BYTE_PTR)cryptogram,
                                                    (CK_ULONG)len, tmpl.attrs, tmpl.count, &made);
    if (rv != CKR_OK) {
        return kl_rv_err_peer(err, rv, "C_UnwrapKey",
                              "the cryptogram cannot be unwrapped (%s): damaged, or made under "
                              "another key or in another way",
                              name);
    }
    *tmk = made;
    return KL_OK;
}

/* The key under the storage key, and with it the key's length: unwrapped keys need not know theirs
 * (SoftHSM 2.6: 0), and RFC 3394 adds 8 bytes, always. A length that is no multiple of 8 may pass
 * here (SoftHSM 2.6 adds zeros); no module computes a KCV with such a key. */
static enum kl_rc wrap_for_store(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                                 CK_OBJECT_HANDLE tmk, const struct kl_alg_info *info,
                                 uint8_t out[KL_CTMK_LEN_MAX], struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
    uint8_t wrapped[KL_WRAPPED_MAX]; /* room for whatever RSA can carry */
    CK_ULONG n = sizeof(wrapped);
    CK_RV rv = kl_session_functions(session)->C_WrapKey(kl_session_handle(session), &mechanism,
                                                        storage_key, tmk, wrapped, &n);

    if (rv != CKR_OK) {
        return kl_rv_err_peer(err, rv, "C_WrapKey(CKM_AES_KEY_WRAP)",
                              "the key cannot be put under the storage key");
    }
    if (n != kl_alg_wrapped_len(info)) {
        return kl_err_set(err, KL_ERR_INPUT, "the key has %ld bytes; of %s it must have %zu",
                          (long)n - KL_WRAP_OVERHEAD, info->name, info->key_len);
    }
    memcpy(out, wrapped, n);
    return KL_OK;
}

enum kl_rc kl_tmk_take(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                       CK_OBJECT_HANDLE tmk, enum kl_alg alg, const uint8_t *kcv, size_t kcv_len,
                       size_t out_kcv_len, struct kl_stored_key *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    uint8_t got[KL_KCV_LEN_MAX];
    struct kl_stored_key key = {.alg = alg, .kcv_len = out_kcv_len};
    char shown[KL_KCV_TEXT], wanted[KL_KCV_TEXT];
    enum kl_rc rc;

    if (!info || kcv_len < KL_KCV_LEN_MIN || kcv_len > sizeof(got) ||
        out_kcv_len < KL_KCV_LEN_MIN || out_kcv_len > sizeof(got)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "TMK of algorithm %d, KCVs of %zu and %zu bytes",
                          alg, kcv_len, out_kcv_len);
    }
    if ((rc = wrap_for_store(session, storage_key, tmk, info, key.cryptogram, err)) != KL_OK) {
        return rc;
    }
    rc = kl_op_kcv(session, tmk, alg, sizeof(got), got, err);
    if (rc != KL_OK && err->source == KL_ERR_SOURCE_PKCS11) {
        return kl_rv_err_peer(err, err->native, "KCV",
                              "the key that came in is not usable; is it %s at all?", info->name);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (CRYPTO_memcmp(got, kcv, kcv_len) != 0) {
        kl_kcv_format(got, kcv_len, shown);
        kl_kcv_format(kcv, kcv_len, wanted);
        return kl_err_set(err, KL_ERR_VERIFY, "the key has KCV %s, not %s", shown, wanted);
    }
    key.cryptogram_len = kl_alg_wrapped_len(info);
    memcpy(key.kcv, got, out_kcv_len);
    *out = key;
    return KL_OK;
}

enum kl_rc kl_tmk_take_value(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                             enum kl_alg alg, struct kl_secret *value, const uint8_t *kcv,
                             size_t kcv_len, size_t out_kcv_len, struct kl_stored_key *out,
                             struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    CK_OBJECT_HANDLE tmk = CK_INVALID_HANDLE;
    enum kl_rc rc;

    if (!info || kl_secret_len(value) != info->key_len) {
        return kl_err_set(err, KL_ERR_INTERNAL, "TMK of algorithm %d with %zu bytes", alg,
                          kl_secret_len(value));
    }
    rc = kl_op_import_value(session, alg, kl_secret_data(value), KL_USE_KCV, &tmk, err);
    if (rc == KL_OK) {
        rc = kl_tmk_take(session, storage_key, tmk, alg, kcv, kcv_len, out_kcv_len, out, err);
    }
    kl_op_destroy(session, &tmk);
    return rc;
}

/* ---- Out ---- */

/* A key under an outward carrier, of exactly `expected` bytes. */
static enum kl_rc wrap_out(struct kl_session *session, const struct kl_carrier *carrier,
                           CK_OBJECT_HANDLE key, size_t expected, uint8_t out[KL_WRAPPED_MAX],
                           struct kl_err *err)
{
    CK_RSA_PKCS_OAEP_PARAMS params;
    const char *name;
    CK_MECHANISM mechanism = mechanism_of(carrier, &params, &name);
    uint8_t wrapped[KL_WRAPPED_MAX];
    CK_ULONG n = sizeof(wrapped);
    CK_RV rv = kl_session_functions(session)->C_WrapKey(kl_session_handle(session), &mechanism,
                                                        carrier->handle, key, wrapped, &n);

    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_WrapKey", "the key cannot be wrapped (%s)", name);
    }
    if (n != expected) {
        return kl_err_set(err, KL_ERR_HSM, "C_WrapKey(%s) gave %lu bytes instead of %zu", name, n,
                          expected);
    }
    memcpy(out, wrapped, n);
    return KL_OK;
}

enum kl_rc kl_tmk_export(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                         const struct kl_carrier *carrier, int enforce,
                         const struct kl_stored_key *key, uint8_t out[KL_WRAPPED_MAX], size_t *len,
                         struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(key->alg);
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    size_t expected;
    enum kl_rc rc;

    if (!info || !carrier->outward) {
        return kl_err_set(err, KL_ERR_INTERNAL, "key of algorithm %d, outward %d", key->alg,
                          carrier->outward);
    }
    if (enforce && (rc = kl_alg_strength(carrier->type, carrier->bits, key->alg, err)) != KL_OK) {
        return rc;
    }
    expected = wrapped_len(carrier, info);
    rc = kl_stored_key_open(session, storage_key, key, &handle, err);
    if (rc == KL_OK) {
        rc = wrap_out(session, carrier, handle, expected, out, err);
    }
    if (rc == KL_OK) {
        *len = expected;
    }
    kl_op_destroy(session, &handle);
    return rc;
}
