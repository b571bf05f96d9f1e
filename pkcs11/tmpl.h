/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attribute templates, built up attribute by attribute. Values are kept inside, so that a
 * template can be built by a function and used by its caller; every usage flag is named, since
 * what a template leaves out is the module's to choose. For this room only.
 */
#ifndef KL_PKCS11_TMPL_H
#define KL_PKCS11_TMPL_H

#include <p11-kit/pkcs11.h>
#include <stddef.h>

#define KL_TMPL_MAX 28

/* What a key may do, as a set. */
enum kl_can {
    KL_CAN_ENCRYPT = 1 << 0,
    KL_CAN_DECRYPT = 1 << 1,
    KL_CAN_SIGN = 1 << 2,
    KL_CAN_VERIFY = 1 << 3,
    KL_CAN_WRAP = 1 << 4,
    KL_CAN_UNWRAP = 1 << 5,
    KL_CAN_DERIVE = 1 << 6,
};

struct kl_tmpl {
    CK_ATTRIBUTE attrs[KL_TMPL_MAX];
    CK_ULONG count;
    /* What number attributes point to: so a template is passed by pointer, never copied. */
    CK_ULONG numbers[KL_TMPL_MAX];
    CK_ULONG number_count;
};

void kl_tmpl_init(struct kl_tmpl *tmpl);
void kl_tmpl_bool(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type, int value);
void kl_tmpl_number(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
/* Bytes are borrowed until the template has been used. */
void kl_tmpl_bytes(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type, const void *data, size_t len);
/* Another template as the value; borrowed likewise. */
void kl_tmpl_nested(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type, const struct kl_tmpl *inner);

/* Names CKA_COPYABLE and CKA_MODIFIABLE, both false. To be called last: SoftHSM 2.6.1 sets a
 * derived or unwrapped key's attributes one by one, and refuses any (CKR_ATTRIBUTE_READ_ONLY) that
 * comes after CKA_MODIFIABLE = false. */
void kl_tmpl_seal(struct kl_tmpl *tmpl);

/* Takes the attribute out again; 1 if it was there. */
int kl_tmpl_drop(struct kl_tmpl *tmpl, CK_ATTRIBUTE_TYPE type);

/* Names every usage flag of a key of that class: those in `can` true, the others false. */
void kl_tmpl_can(struct kl_tmpl *tmpl, CK_OBJECT_CLASS class, unsigned can);

#endif
