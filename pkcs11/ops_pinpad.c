/* SPDX-License-Identifier: BSD-2-Clause */
/* The PIN pad's own operations: see ops_pinpad.h. */
#include "pkcs11/ops_pinpad.h"

#include <string.h>

#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"
#include "proto/secret.h"

#define CHUNK 1024 /* bytes that one C_Encrypt takes, a whole number of blocks */
#define TDES_BLOCK 8
#define AES_BLOCK 16

/* ---- Templates ---- */

static unsigned can_of(const struct kl_alg_info *info, const struct kl_pad_key *key)
{
    switch (key->use) {
    case KL_PAD_TMK:
        return info->is_aes || !key->tdes_decrypts ? KL_CAN_UNWRAP : KL_CAN_UNWRAP | KL_CAN_DECRYPT;
    case KL_PAD_SESSION:
        return KL_CAN_DERIVE;
    case KL_PAD_PIN:
        return KL_CAN_ENCRYPT;
    case KL_PAD_KCV:
    case KL_PAD_MAC:
        return info->is_aes ? KL_CAN_SIGN : KL_CAN_ENCRYPT;
    }
    return 0;
}

/* Everything but the value; the label is borrowed by the template. The caller seals it. */
static void fill(struct kl_tmpl *tmpl, const struct kl_alg_info *info, const struct kl_pad_key *key)
{
    kl_tmpl_init(tmpl);
    kl_tmpl_number(tmpl, CKA_CLASS, CKO_SECRET_KEY);
    kl_tmpl_number(tmpl, CKA_KEY_TYPE, kl_op_key_type(info->alg));
    kl_tmpl_bool(tmpl, CKA_TOKEN, key->label != NULL);
    kl_tmpl_bool(tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(tmpl, CKA_EXTRACTABLE, 0);
    kl_tmpl_can(tmpl, CKO_SECRET_KEY, can_of(info, key));
    if (key->label) {
        kl_tmpl_bytes(tmpl, CKA_LABEL, key->label, strlen(key->label));
        /* NSS takes two objects of one class and CKA_ID for one, and writes over the first. */
        kl_tmpl_bytes(tmpl, CKA_ID, key->label, strlen(key->label));
    }
}

/* 1 if a module that has just refused does not know CKA_COPYABLE of a token object (NSS:
 * CKR_GENERAL_ERROR); the template is then without it. */
static int drop_copyable(struct kl_session *session, CK_RV rv, struct kl_tmpl *tmpl)
{
    CK_BBOOL no = CK_FALSE;
    const CK_ATTRIBUTE copyable = {CKA_COPYABLE, &no, sizeof(no)};

    return (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_GENERAL_ERROR) &&
           kl_tmpl_drop(tmpl, CKA_COPYABLE) && kl_object_cannot_hold(session, &copyable);
}

/* ---- Keys from outside ---- */

enum kl_rc kl_pad_import(struct kl_session *session, const struct kl_pad_key *key,
                         const uint8_t *value, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(key->alg);
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    CK_RV rv;

    if (!info) {
        return kl_err_set(err, KL_ERR_INTERNAL, "a key of unknown algorithm %d", key->alg);
    }
    fill(&tmpl, info, key);
    kl_tmpl_bytes(&tmpl, CKA_VALUE, value, info->key_len);
    kl_tmpl_seal(&tmpl);
    do {
        rv = kl_session_functions(session)->C_CreateObject(kl_session_handle(session), tmpl.attrs,
                                                           tmpl.count, &made);
    } while (key->label && drop_copyable(session, rv, &tmpl));
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_CreateObject", "the key cannot be put into the PIN pad");
    }
    *out = made;
    return KL_OK;
}

static enum kl_rc unwrap(struct kl_session *session, CK_MECHANISM_TYPE type, const char *op,
                         CK_OBJECT_HANDLE kek, const struct kl_pad_key *key, const uint8_t *wrapped,
                         size_t len, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    CK_RV rv;

    fill(&tmpl, kl_alg_info(key->alg), key);
    kl_tmpl_seal(&tmpl);
    do {
        rv = kl_session_functions(session)->C_UnwrapKey(kl_session_handle(session), &mechanism, kek,
                                                        (CK_BYTE_PTR)wrapped, (CK_ULONG)len,
                                                        tmpl.attrs, tmpl.count, &made);
    } while (key->label && drop_copyable(session, rv, &tmpl));
    if (rv != CKR_OK) {
        return kl_rv_err_peer(err, rv, op, "the key cannot be unwrapped");
    }
    *out = made;
    return KL_OK;
}

enum kl_rc kl_pad_unwrap(struct kl_session *session, CK_OBJECT_HANDLE kek,
                         const struct kl_pad_key *key, const uint8_t *wrapped, size_t len,
                         CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(key->alg);

    if (!info || len != kl_alg_wrapped_len(info)) {
        return kl_err_set(err, KL_ERR_VERIFY, "a wrapped key of %zu bytes is none of algorithm %d",
                          len, key->alg);
    }
    return unwrap(session, CKM_AES_KEY_WRAP, "C_UnwrapKey(CKM_AES_KEY_WRAP)", kek, key, wrapped,
                  len, out, err);
}

enum kl_rc kl_pad_tdes_unwraps(struct kl_session *session, int *yes, struct kl_err *err)
{
    const struct kl_pad_key kek = {.alg = KL_ALG_TDES2, .use = KL_PAD_TMK},
                            probe = {.alg = KL_ALG_TDES2, .use = KL_PAD_KCV};
    struct kl_err ignored = KL_ERR_INIT;
    CK_MECHANISM mechanism = {CKM_DES2_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE kek_handle = 0, probe_handle = 0;
    struct kl_tmpl tmpl;
    uint8_t wrapped[16];
    enum kl_rc rc;
    CK_RV rv;

    fill(&tmpl, kl_alg_info(KL_ALG_TDES2), &kek);
    kl_tmpl_seal(&tmpl);
    rv = kl_session_functions(session)->C_GenerateKey(kl_session_handle(session), &mechanism,
                                                      tmpl.attrs, tmpl.count, &kek_handle);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GenerateKey(CKM_DES2_KEY_GEN)", "no TDES key can be drawn");
    }
    rc = kl_op_random(session, wrapped, sizeof(wrapped), err);
    if (!rc) {
        *yes = unwrap(session, CKM_DES3_ECB, "C_UnwrapKey(CKM_DES3_ECB)", kek_handle, &probe,
                      wrapped, sizeof(wrapped), &probe_handle, &ignored) == KL_OK;
    }
    kl_op_destroy(session, &probe_handle);
    kl_op_destroy(session, &kek_handle);
    return rc;
}

/* The clear key stands in locked memory between two calls. */
static enum kl_rc decrypt_and_import(struct kl_session *session, CK_OBJECT_HANDLE tmk,
                                     const struct kl_pad_key *key, const uint8_t *wrapped,
                                     size_t len, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    struct kl_secret *clear = NULL;
    enum kl_rc rc = kl_secret_new(len, &clear, err);

    if (!rc) {
        rc = kl_op_decrypt_tdes(session, tmk, wrapped, len, kl_secret_data(clear), err);
    }
    if (!rc) {
        rc = kl_pad_import(session, key, kl_secret_data(clear), out, err);
    }
    kl_secret_free(clear);
    return rc;
}

enum kl_rc kl_pad_open_tdes(struct kl_session *session, CK_OBJECT_HANDLE tmk, int unwraps,
                            const struct kl_pad_key *key, const uint8_t *wrapped, size_t len,
                            CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(key->alg);

    if (!info || len != info->key_len || len % TDES_BLOCK != 0) {
        return kl_err_set(err, KL_ERR_VERIFY,
                          "an enciphered key of %zu bytes is none of algorithm %d", len, key->alg);
    }
    if (!unwraps) {
        return decrypt_and_import(session, tmk, key, wrapped, len, out, err);
    }
    return unwrap(session, CKM_DES3_ECB, "C_UnwrapKey(CKM_DES3_ECB)", tmk, key, wrapped, len, out,
                  err);
}

/* ---- Blocks ---- */

static enum kl_rc encrypt(struct kl_session *session, CK_OBJECT_HANDLE key, CK_MECHANISM *mechanism,
                          const char *op, const uint8_t *in, size_t len, uint8_t *out,
                          struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_ULONG n = (CK_ULONG)len;
    CK_RV rv = f->C_EncryptInit(s, mechanism, key);

    if (rv == CKR_OK) {
        rv = f->C_Encrypt(s, (CK_BYTE_PTR)in, (CK_ULONG)len, out, &n);
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, op, "the PIN pad cannot encipher");
    }
    return n == len ? KL_OK : kl_err_set(err, KL_ERR_HSM, "%s gave %lu bytes for %zu", op, n, len);
}

enum kl_rc kl_pad_encrypt_block(struct kl_session *session, CK_OBJECT_HANDLE key, enum kl_alg alg,
                                const uint8_t *in, uint8_t *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    int is_aes = info && info->is_aes;
    CK_MECHANISM mechanism = {is_aes ? CKM_AES_ECB : CKM_DES3_ECB, NULL, 0};
    uint8_t block[AES_BLOCK];
    size_t len = is_aes ? AES_BLOCK : TDES_BLOCK;
    enum kl_rc rc =
        encrypt(session, key, &mechanism,
                is_aes ? "C_Encrypt(CKM_AES_ECB)" : "C_Encrypt(CKM_DES3_ECB)", in, len, block, err);

    if (!rc) {
        memcpy(out, block, len);
    }
    return rc;
}

enum kl_rc kl_pad_chain_tdes(struct kl_session *session, CK_OBJECT_HANDLE key, const uint8_t *in,
                             size_t len, uint8_t chain[8], struct kl_err *err)
{
    uint8_t iv[TDES_BLOCK], out[CHUNK];
    CK_MECHANISM mechanism = {CKM_DES3_CBC, iv, sizeof(iv)};
    enum kl_rc rc = KL_OK;

    if (len % TDES_BLOCK != 0) {
        return kl_err_set(err, KL_ERR_INTERNAL, "%zu bytes are not whole blocks", len);
    }
    memcpy(iv, chain, sizeof(iv));
    while (!rc && len > 0) {
        size_t n = len < CHUNK ? len : CHUNK;

        rc = encrypt(session, key, &mechanism, "C_Encrypt(CKM_DES3_CBC)", in, n, out, err);
        if (!rc) {
            memcpy(iv, out + n - TDES_BLOCK, sizeof(iv));
        }
        in += n;
        len -= n;
    }
    if (!rc) {
        memcpy(chain, iv, sizeof(iv));
    }
    kl_wipe(out, sizeof(out));
    return rc;
}

enum kl_rc kl_pad_has_pair(struct kl_session *session, const char *label, int *yes,
                           struct kl_err *err)
{
    CK_OBJECT_HANDLE handle;
    size_t count = 0;
    enum kl_rc rc = kl_object_find(session, CKO_PRIVATE_KEY, label, &handle, 1, &count, err);

    if (!rc) {
        *yes = count > 0;
    }
    return rc;
}
