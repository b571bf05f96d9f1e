/* SPDX-License-Identifier: BSD-2-Clause */
/* Attribute templates: see tmpl.h. */
#include "pkcs11/tmpl.h"

#include <stdlib.h>

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

/* Templates are written down in this room, not read from anywhere: one too long is our mistake. */
static void add(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    if (tmpl->count == KL_TMPL_MAX) {
        abort();
    }
    tmpl->attrs[tmpl->count++] = (CK_ATTRIBUTE){type, (void *)value, (CK_ULONG)len};
}

void kl_tmpl_init(struct kl_tmpl *tmpl)
{
    tmpl->count = 0;
    tmpl->number_count = 0;
}

void kl_tmpl_bool(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type, int value)
{
    add(tmpl, type, value ? &yes : &no, sizeof(CK_BBOOL));
}

void kl_tmpl_number(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    CK_ULONG *number;

    if (tmpl->number_count == KL_TMPL_MAX) {
        abort();
    }
    number = &tmpl->numbers[tmpl->number_count++];
    *number = value;
    add(tmpl, type, number, sizeof(*number));
}

void kl_tmpl_bytes(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type, const void *data, size_t len)
{
    add(tmpl, type, data, len);
}

void kl_tmpl_nested(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type, const struct kl_tmpl *inner)
{
    add(tmpl, type, inner->attrs, inner->count * sizeof(CK_ATTRIBUTE));
}

void kl_tmpl_seal(struct kl_tmpl *tmpl)
{
    kl_tmpl_bool(tmpl, CKA_COPYABLE, 0);
    kl_tmpl_bool(tmpl, CKA_MODIFIABLE, 0);
}

int kl_tmpl_drop(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type)
{
    CK_ULONG kept = 0, count = tmpl->count;

    for (CK_ULONG i = 0; i < tmpl->count; i++) {
        if (tmpl->attrs[i].type != type) {
            tmpl->attrs[kept++] = tmpl->attrs[i];
        }
    }
    tmpl->count = kept;
    return kept < count;
}

void kl_tmpl_can(struct kl_tmpl *tmpl, CK_OBJECT_CLASS class, unsigned can)
{
    int is_public = class == CKO_PUBLIC_KEY, is_private = class == CKO_PRIVATE_KEY;

    if (!is_private) {
        kl_tmpl_bool(tmpl, CKA_ENCRYPT, can & KL_CAN_ENCRYPT);
        kl_tmpl_bool(tmpl, CKA_VERIFY, can & KL_CAN_VERIFY);
        kl_tmpl_bool(tmpl, CKA_WRAP, can & KL_CAN_WRAP);
    }
    if (!is_public) {
        kl_tmpl_bool(tmpl, CKA_DECRYPT, can & KL_CAN_DECRYPT);
        kl_tmpl_bool(tmpl, CKA_SIGN, can & KL_CAN_SIGN);
        kl_tmpl_bool(tmpl, CKA_UNWRAP, can & KL_CAN_UNWRAP);
    }
    if (is_public) {
        kl_tmpl_bool(tmpl, CKA_VERIFY_RECOVER, 0);
    }
    if (is_private) {
        kl_tmpl_bool(tmpl, CKA_SIGN_RECOVER, 0);
    }
    kl_tmpl_bool(tmpl, CKA_DERIVE, can & KL_CAN_DERIVE);
}
