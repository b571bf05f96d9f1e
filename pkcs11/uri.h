/* SPDX-License-Identifier: BSD-2-Clause */
/* Which token: a parsed `pkcs11:` URI (RFC 7512). */
#ifndef KL_PKCS11_URI_H
#define KL_PKCS11_URI_H

#include <p11-kit/pkcs11.h>

#include "proto/err.h"

#define KL_TOKEN_LABEL_MAX 32 /* bytes: CK_TOKEN_INFO.label */

struct kl_uri; /* immutable */

/* Takes token, serial, manufacturer, model, slot-id, object, id, type, module-path, pin-source.
 * A pin-value is refused (a PIN in a configuration file or argument list is not a secret), and
 * so is a URI with an attribute unknown to RFC 7512. KL_ERR_CONFIG says what is wrong. */
enum kl_rc kl_uri_parse(const char *text, struct kl_uri **out, struct kl_err *err) KL_MUST_CHECK;
void kl_uri_free(struct kl_uri *uri);                  /* takes NULL */
const char *kl_uri_module_path(const struct kl_uri *); /* borrowed; NULL if not given */
const char *kl_uri_pin_source(const struct kl_uri *);  /* borrowed; NULL if not given */
const char *kl_uri_token(const struct kl_uri *);       /* borrowed label; NULL if not given */

/* For the other files of this room: 1 if uri names the token of that slot, else 0. */
int kl_uri_names(const struct kl_uri *uri, CK_SLOT_ID slot, const CK_TOKEN_INFO *info);

#endif
