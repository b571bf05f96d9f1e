/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tokens and sessions. A process loads one module, finds one token in it by RFC 7512 URI, logs in
 * once and keeps that login session open for life; work runs in sessions opened from it. Not
 * thread-safe: one thread for each session, opened and closed by one owner.
 */
#ifndef KL_PKCS11_TOKEN_H
#define KL_PKCS11_TOKEN_H

#include <p11-kit/pkcs11.h>

#include "pkcs11/module.h"
#include "pkcs11/uri.h"
#include "proto/err.h"
#include "proto/secret.h"

struct kl_token;

/* Finds the one token that uri names (KL_ERR_TOKEN if none or several) and logs in as user once;
 * a wrong PIN is KL_ERR_PIN and never tried again. pin NULL: no login (public objects only).
 * Borrows module; read_write for ceremonies. */
enum kl_rc kl_token_open(struct kl_module *module, const struct kl_uri *uri, struct kl_secret *pin,
                         int read_write, struct kl_token **out, struct kl_err *err) KL_MUST_CHECK;
void kl_token_free(struct kl_token *token); /* closes every session of it; takes NULL */
const char *kl_token_label(const struct kl_token *token); /* trimmed; borrowed */

/* Initialises the first uninitialised token of the module: label, SO PIN, user PIN.
 * KL_ERR_EXISTS if a token of that label is there already. */
enum kl_rc kl_token_init(struct kl_module *module, const char *label, struct kl_secret *so_pin,
                         struct kl_secret *user_pin, struct kl_err *err) KL_MUST_CHECK;

/* ---- Session ---- */

struct kl_session;

/* Session objects live and die with the session that made them. Borrows token. */
enum kl_rc kl_session_open(struct kl_token *token, struct kl_session **out,
                           struct kl_err *err) KL_MUST_CHECK;
void kl_session_free(struct kl_session *session); /* takes NULL */

/* For the other files of this room. */
CK_FUNCTION_LIST *kl_session_functions(const struct kl_session *session);
CK_SESSION_HANDLE kl_session_handle(const struct kl_session *session);

#endif
