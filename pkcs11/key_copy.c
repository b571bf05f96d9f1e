/* SPDX-License-Identifier: BSD-2-Clause */
/* Session copies: see key_copy.h. */
#include "pkcs11/key_copy.h"

#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct kl_demand secret[] = {
    KL_DEMAND_BOOL(CKA_TOKEN, 0),
    KL_DEMAND_BOOL(CKA_PRIVATE, 1),
    KL_DEMAND_BOOL(CKA_SENSITIVE, 1),
    KL_DEMAND_BOOL(CKA_EXTRACTABLE, 0),
};
static const struct kl_demand useless[] = {
    KL_DEMAND_BOOL(CKA_ENCRYPT, 0), KL_DEMAND_BOOL(CKA_DECRYPT, 0),
    KL_DEMAND_BOOL(CKA_SIGN, 0),    KL_DEMAND_BOOL(CKA_VERIFY, 0),
    KL_DEMAND_BOOL(CKA_WRAP, 0),    KL_DEMAND_BOOL(CKA_UNWRAP, 0),
    KL_DEMAND_BOOL(CKA_DERIVE, 0),  KL_DEMAND_BOOL(CKA_SIGN_RECOVER, 0),
};

/* What the key does not do, the copy must not. */
static enum kl_rc check_uses(struct kl_session *session, CK_OBJECT_HANDLE key,
                             CK_OBJECT_HANDLE copy, const char *what, struct kl_err *err)
{
    struct kl_err ignored = KL_ERR_INIT;

    for (size_t i = 0; i < COUNT(useless); i++) {
        enum kl_rc rc = kl_object_demand(session, key, &useless[i], 1, what, &ignored);

        if (rc == KL_OK) {
            rc = kl_object_demand(session, copy, &useless[i], 1, what, err);
            if (rc != KL_OK) {
                return rc;
            }
        } else if (rc != KL_ERR_KEY) {
            *err = ignored;
            return rc;
        }
    }
    return KL_OK;
}

enum kl_rc kl_key_copy(struct kl_session *session, CK_OBJECT_HANDLE key, const char *what,
                       CK_OBJECT_HANDLE *copy, struct kl_err *err)
{
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct kl_tmpl tmpl;
    enum kl_rc rc;
    CK_RV rv;

    kl_tmpl_init(&tmpl);
    kl_tmpl_bool(&tmpl, CKA_TOKEN, 0);
    rv = kl_session_functions(session)->C_CopyObject(kl_session_handle(session), key, tmpl.attrs,
                                                     tmpl.count, &made);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_CopyObject",
                         "%s cannot be copied: [hsm] session-copies must be no", what);
    }
    rc = kl_object_demand(session, made, secret, COUNT(secret), what, err);
    if (rc == KL_OK) {
        rc = check_uses(session, key, made, what, err);
    }
    if (rc != KL_OK) {
        kl_op_destroy(session, &made);
        return kl_err_context(err, "session copy");
    }
    *copy = made;
    return KL_OK;
}
