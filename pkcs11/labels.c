/* SPDX-License-Identifier: BSD-2-Clause */
/* The labels of a token's keys. */
#include "pkcs11/labels.h"

#include <string.h>

#include "pkcs11/rv.h"

static enum kl_rc find_keys(struct kl_session *session, CK_OBJECT_CLASS class,
                            CK_OBJECT_HANDLE keys[KL_LABELS_MAX + 1], CK_ULONG *count,
                            struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_TOKEN, &yes, sizeof(yes)}};
    CK_ULONG total = 0, got = 0;
    CK_RV rv = f->C_FindObjectsInit(s, wanted, 2);

    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_FindObjectsInit", "looking for keys");
    }
    do {
        rv = f->C_FindObjects(s, keys + total, KL_LABELS_MAX + 1 - total, &got);
        total += rv == CKR_OK ? got : 0;
    } while (rv == CKR_OK && got > 0 && total <= KL_LABELS_MAX);
    (void)f->C_FindObjectsFinal(s);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_FindObjects", "looking for keys");
    }
    if (total > KL_LABELS_MAX) {
        return kl_err_set(err, KL_ERR_KEY, "the token holds more than %d such keys", KL_LABELS_MAX);
    }
    *count = total;
    return KL_OK;
}

static enum kl_rc read_labels(struct kl_session *session, CK_OBJECT_CLASS class,
                              struct kl_labels *out, struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_OBJECT_HANDLE keys[KL_LABELS_MAX + 1];
    CK_ULONG count = 0;
    enum kl_rc rc = find_keys(session, class, keys, &count, err);

    if (rc != KL_OK) {
        return rc;
    }
    memset(out, 0, sizeof(*out));
    for (CK_ULONG i = 0; i < count; i++) {
        char label[KL_KEY_LABEL_MAX + 1] = "";
        CK_ATTRIBUTE wanted = {CKA_LABEL, label, KL_KEY_LABEL_MAX};
        CK_RV rv = f->C_GetAttributeValue(kl_session_handle(session), keys[i], &wanted, 1);
        if (rv == CKR_OK && wanted.ulValueLen > 0 && wanted.ulValueLen <= KL_KEY_LABEL_MAX &&
            strlen(label) == wanted.ulValueLen) {
            memcpy(out->label[out->count++], label, sizeof(label));
        }
    }
    return KL_OK;
}

enum kl_rc kl_labels_read(struct kl_session *session, struct kl_labels *out, struct kl_err *err)
{
    return read_labels(session, CKO_PRIVATE_KEY, out, err);
}

enum kl_rc kl_labels_secret(struct kl_session *session, struct kl_labels *out, struct kl_err *err)
{
    return read_labels(session, CKO_SECRET_KEY, out, err);
}
