/* SPDX-License-Identifier: BSD-2-Clause */
/* What belongs to no kind of key: uses, random bytes, and the end of an object. */
#include "pkcs11/ops.h"

#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"

unsigned kl_op_can(enum kl_key_use use, int is_aes)
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
    case KL_USE_KCV:
        return is_aes ? KL_CAN_SIGN : KL_CAN_ENCRYPT;
    }
    return 0;
}

void kl_op_destroy(struct kl_session *session, CK_OBJECT_HANDLE *handle)
{
    if (*handle == CK_INVALID_HANDLE) {
        return;
    }
    (void)kl_session_functions(session)->C_DestroyObject(kl_session_handle(session), *handle);
    *handle = CK_INVALID_HANDLE;
}

enum kl_rc kl_op_random(struct kl_session *session, uint8_t *out, size_t len, struct kl_err *err)
{
    CK_RV rv = kl_session_functions(session)->C_GenerateRandom(kl_session_handle(session), out,
                                                               (CK_ULONG)len);

    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GenerateRandom", "no random bytes from the token");
    }
    return KL_OK;
}
