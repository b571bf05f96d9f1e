/* SPDX-License-Identifier: BSD-2-Clause */
/* Which keys a token holds. */
#ifndef KL_PKCS11_LABELS_H
#define KL_PKCS11_LABELS_H

#include <stddef.h>

#include "pkcs11/loader.h"
#include "pkcs11/token.h"
#include "proto/err.h"

#define KL_LABELS_MAX 256 /* keys of one kind that are looked at */

struct kl_labels {
    size_t count;
    char label[KL_LABELS_MAX][KL_KEY_LABEL_MAX + 1];
};

/* The labels of the token's private keys, in the token's order; keys whose label is empty, too long
 * or holds a NUL are left out, they are none of ours. KL_ERR_KEY if there are more than
 * KL_LABELS_MAX. */
enum kl_rc kl_labels_read(struct kl_session *session, struct kl_labels *out,
                          struct kl_err *err) KL_MUST_CHECK;

/* The same of its secret keys. */
enum kl_rc kl_labels_secret(struct kl_session *session, struct kl_labels *out,
                            struct kl_err *err) KL_MUST_CHECK;

#endif
