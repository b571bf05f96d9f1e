/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations that belong to no kind of key: random bytes, and the end of an object. */
#include "pkcs11/ops.h"

#include "pkcs11/rv.h"

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
