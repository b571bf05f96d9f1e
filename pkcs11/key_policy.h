/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each role of a key pair means in attributes, and the looking up, checking and making that
 * all our token keys share: keys.c, keys_import.c and keys_secret.c are written in these terms. For
 * this room only.
 */
#ifndef KL_PKCS11_KEY_POLICY_H
#define KL_PKCS11_KEY_POLICY_H

#include <p11-kit/pkcs11.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11/keys.h"
#include "pkcs11/object.h"
#include "pkcs11/tmpl.h"

#define KL_KEY_ID_LEN 20   /* bytes of the CKA_ID of keys that we make */
#define KL_KEY_WHAT_MAX 96 /* bytes of "work key \"LABEL\"", with NUL */

/* CKA_ALLOWED_MECHANISMS. */
struct kl_mechanisms {
    const CK_MECHANISM_TYPE *list;
    size_t count;
    const char *words;
};

/* A role. A NULL list in rsa or ec: keys of that type cannot have the role. unbound 1: the role
 * sets no bounds (a CA's key, RSA or EC), and neither is looked at. */
struct kl_pair_policy {
    const char *name;                /* "work key" */
    unsigned private_can;            /* KL_CAN_ bits of the private key: these and no others */
    unsigned public_can;             /* and of the public key */
    const struct kl_demands *unwrap; /* CKA_UNWRAP_TEMPLATE; NULL = none */
    struct kl_mechanisms rsa, ec;
    int unbound;
};
const struct kl_pair_policy *kl_pair_policy(enum kl_pair_role role);

/* The mechanisms of the role's keys of that type; NULL: sets no bounds. KL_ERR_INPUT if no key of
 * that type and size may have the role. */
enum kl_rc kl_pair_mechanisms(const struct kl_pair_policy *policy, enum kl_key_type type,
                              unsigned bits, const struct kl_mechanisms **out,
                              struct kl_err *err) KL_MUST_CHECK;

/* The attributes of both halves but those that make the key itself. The templates borrow label, id
 * and unwrap, which is filled here if the role has an unwrap template. CKA_CLASS and CKA_KEY_TYPE
 * are not among them. */
void kl_pair_private_template(struct kl_tmpl *tmpl, const struct kl_pair_policy *policy,
                              const struct kl_mechanisms *mechanisms, const char *label,
                              const uint8_t id[KL_KEY_ID_LEN], struct kl_tmpl *unwrap);
void kl_pair_public_template(struct kl_tmpl *tmpl, const struct kl_pair_policy *policy,
                             const char *label, const uint8_t id[KL_KEY_ID_LEN]);

/* The name under which errors speak of it: NAME "LABEL". */
void kl_key_what(const char *name, const char *label, char out[KL_KEY_WHAT_MAX]);

/* KL_ERR_INPUT if label has not 1 to KL_KEY_LABEL_MAX bytes. */
enum kl_rc kl_key_check_label(const char *label, struct kl_err *err) KL_MUST_CHECK;

/* The same, and KL_ERR_EXISTS if a key on the token has it. */
enum kl_rc kl_key_check_free(struct kl_session *session, const char *label,
                             struct kl_err *err) KL_MUST_CHECK;

/* Exactly one token object of that class and label, or KL_ERR_KEY. */
enum kl_rc kl_key_find_one(struct kl_session *session, CK_OBJECT_CLASS class, const char *label,
                           const char *what, CK_OBJECT_HANDLE *handle,
                           struct kl_err *err) KL_MUST_CHECK;

/* A key born on the token (an imported one is not CKA_LOCAL) has never been outside: KL_ERR_KEY. */
enum kl_rc kl_key_never_outside(struct kl_session *session, CK_OBJECT_HANDLE handle,
                                const char *what, struct kl_err *err) KL_MUST_CHECK;

/* A key that has CKA_ALLOWED_MECHANISMS must have exactly these; a token that does not know it, or
 * holds nothing in it, sets no bounds. KL_ERR_KEY. */
enum kl_rc kl_key_check_mechanisms(struct kl_session *session, CK_OBJECT_HANDLE handle,
                                   const struct kl_mechanisms *ours, const char *what,
                                   struct kl_err *err) KL_MUST_CHECK;

/* Adds them to a template. */
void kl_mechanisms_add(const struct kl_mechanisms *mechanisms, struct kl_tmpl *tmpl);

/* 1 if a token has just said that it does not know an attribute, or says CKR_GENERAL_ERROR to any
 * token object that has it, and the template can be tried once more without CKA_ALLOWED_MECHANISMS.
 * There is no doing without CKA_UNWRAP_TEMPLATE. */
int kl_mechanisms_drop(struct kl_session *session, CK_RV rv, struct kl_tmpl *tmpl);

#endif
