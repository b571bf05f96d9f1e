/* SPDX-License-Identifier: BSD-2-Clause */
/* Stored keys: unwrapped, checked, wrapped again. */
#include "pkcs11/stored.h"

#include <openssl/crypto.h>
#include <string.h>

#include "pkcs11/ops.h"

static enum kl_rc check_kcv(struct kl_session *session, CK_OBJECT_HANDLE handle,
                            const struct kl_stored_key *key, struct kl_err *err)
{
    uint8_t kcv[KL_KCV_LEN_MAX];
    enum kl_rc rc = kl_op_kcv(session, handle, key->alg, key->kcv_len, kcv, err);

    if (rc == KL_OK && CRYPTO_memcmp(kcv, key->kcv, key->kcv_len) != 0) {
        rc = kl_err_set(err, KL_ERR_STORE,
                        "the stored key has another KCV than the store says: damaged or swapped");
    }
    return rc;
}

enum kl_rc kl_stored_key_open(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                              const struct kl_stored_key *key, CK_OBJECT_HANDLE *handle,
                              struct kl_err *err)
{
    CK_OBJECT_HANDLE opened = CK_INVALID_HANDLE;
    enum kl_rc rc = kl_op_unwrap_stored(session, storage_key, key->alg, key->cryptogram,
                                        key->cryptogram_len, KL_USE_KCV, &opened, err);

    if (rc == KL_OK && (rc = check_kcv(session, opened, key, err)) != KL_OK) {
        kl_op_destroy(session, &opened);
    }
    if (rc == KL_OK) {
        *handle = opened;
    }
    return rc;
}

/* Whose it is, for what does not say so itself. */
static enum kl_rc open_of(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                          const struct kl_binding_of *what, CK_OBJECT_HANDLE *handle,
                          struct kl_err *err)
{
    enum kl_rc rc = kl_stored_key_open(session, storage_key, what->key, handle, err);

    return rc == KL_OK ? rc
                       : kl_err_context(err, "terminal %s, version %u", what->serial,
                                        (unsigned)what->version);
}

enum kl_rc kl_stored_key_check(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                               CK_OBJECT_HANDLE binding_key, const struct kl_binding_of *what,
                               struct kl_err *err)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    enum kl_rc rc = kl_binding_verify(session, binding_key, what, err);

    if (rc == KL_OK) {
        rc = open_of(session, storage_key, what, &handle, err);
    }
    kl_op_destroy(session, &handle);
    return rc;
}

static enum kl_rc wrap_under(struct kl_session *session, CK_OBJECT_HANDLE to,
                             CK_OBJECT_HANDLE handle, struct kl_stored_key *key, struct kl_err *err)
{
    size_t len = 0;
    enum kl_rc rc = kl_op_wrap(session, to, handle, key->cryptogram, &len, err);

    if (rc == KL_OK && len != key->cryptogram_len) {
        rc = kl_err_set(err, KL_ERR_HSM, "a key of %zu bytes was wrapped into %zu bytes",
                        key->cryptogram_len - KL_WRAP_OVERHEAD, len);
    }
    memset(key->binding, 0, sizeof(key->binding));
    return rc;
}

enum kl_rc kl_stored_key_rewrap(struct kl_session *session, CK_OBJECT_HANDLE from,
                                CK_OBJECT_HANDLE to, CK_OBJECT_HANDLE binding_key,
                                const struct kl_binding_of *what, struct kl_stored_key *out,
                                struct kl_err *err)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    struct kl_stored_key key = *what->key;
    struct kl_binding_of fresh = *what;
    enum kl_rc rc = kl_binding_verify(session, binding_key, what, err);

    fresh.key = &key;
    if (rc == KL_OK) {
        rc = open_of(session, from, what, &handle, err);
    }
    if (rc == KL_OK) {
        rc = wrap_under(session, to, handle, &key, err);
    }
    if (rc == KL_OK) {
        rc = kl_binding_compute(session, binding_key, &fresh, key.binding, err);
    }
    kl_op_destroy(session, &handle);
    if (rc == KL_OK) {
        *out = key;
    }
    return rc;
}

enum kl_rc kl_stored_key_under(struct kl_session *session, CK_OBJECT_HANDLE from,
                               CK_OBJECT_HANDLE to, const struct kl_stored_key *key,
                               struct kl_stored_key *out, struct kl_err *err)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    struct kl_stored_key other = *key;
    enum kl_rc rc = kl_stored_key_open(session, from, key, &handle, err);

    if (rc == KL_OK) {
        rc = wrap_under(session, to, handle, &other, err);
    }
    kl_op_destroy(session, &handle);
    if (rc == KL_OK) {
        *out = other;
    }
    return rc;
}
