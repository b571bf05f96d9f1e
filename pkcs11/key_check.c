/* SPDX-License-Identifier: BSD-2-Clause */
/* Check values of the keys of the store. */
#include "pkcs11/key_check.h"

#include <string.h>

#include "pkcs11/ops.h"
#include "proto/digest.h"

enum kl_rc kl_storage_key_check(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                                uint8_t out[KL_KEY_CHECK_LEN], struct kl_err *err)
{
    static const uint8_t known[16] = "keyloader/1 chk"; /* no secret: it is here to read */
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    uint8_t cryptogram[KL_CTMK_LEN_MAX], digest[KL_HASH_LEN];
    size_t len = 0;
    enum kl_rc rc = kl_op_import_value(session, KL_ALG_AES128, known, KL_USE_KCV, &key, err);

    if (rc == KL_OK) {
        rc = kl_op_wrap(session, storage_key, key, cryptogram, &len, err);
    }
    kl_op_destroy(session, &key);
    if (rc == KL_OK) {
        rc = kl_digest_of("SHA256", cryptogram, len, digest, NULL, err);
    }
    if (rc != KL_OK) {
        return kl_err_context(err, "check value of the storage key");
    }
    memcpy(out, digest, KL_KEY_CHECK_LEN);
    return KL_OK;
}

enum kl_rc kl_binding_key_check(struct kl_session *session, CK_OBJECT_HANDLE binding_key,
                                uint8_t out[KL_KEY_CHECK_LEN], struct kl_err *err)
{
    static const uint8_t text[] = "keyloader/1 check";

    return kl_op_cmac(session, binding_key, text, sizeof(text), out, err) == KL_OK
               ? KL_OK
               : kl_err_context(err, "check value of the binding key");
}
