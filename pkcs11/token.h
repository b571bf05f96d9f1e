/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Modules, tokens and sessions. A process loads one module, finds one token in it by RFC 7512
 * URI, logs in once and keeps that login session open for life; work runs in sessions opened
 * from it. Not thread-safe: one thread for each session, opened and closed by one owner.
 */
#ifndef KL_PKCS11_TOKEN_H
#define KL_PKCS11_TOKEN_H

#include <p11-kit/pkcs11.h>
#include <stddef.h>

#include "proto/err.h"
#include "proto/secret.h"

#define KL_TOKEN_LABEL_MAX 32 /* bytes: CK_TOKEN_INFO.label */

/* ---- Where: a parsed `pkcs11:` URI ---- */

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

/* ---- PIN ---- */

/* Reads a PIN. source is NULL or "prompt" (asks on the terminal without echo, "PROMPT: "),
 * "file:PATH" or an absolute path (regular file, owned by root or us, no permission for group or
 * others; a trailing newline is cut), or "credential:NAME" (a file in $CREDENTIALS_DIRECTORY as
 * systemd's LoadCredential= makes it). 4 to 255 bytes. Never argv, never environment. */
enum kl_rc kl_pin_read(const char *source, const char *prompt, struct kl_secret **out,
                       struct kl_err *err) KL_MUST_CHECK;

/* ---- Module and token ---- */

struct kl_module;

/* Loads a PKCS#11 module through p11-kit and calls C_Initialize (CKF_OS_LOCKING_OK). Never fork
 * afterwards. KL_ERR_MODULE names the path. init_reserved: NULL, or the module's own parameter
 * string for CK_C_INITIALIZE_ARGS.pReserved. */
enum kl_rc kl_module_load(const char *path, const char *init_reserved, struct kl_module **out,
                          struct kl_err *err) KL_MUST_CHECK;
/* The same over a function list that is already there (tests); borrowed. */
enum kl_rc kl_module_wrap(CK_FUNCTION_LIST *functions, struct kl_module **out,
                          struct kl_err *err) KL_MUST_CHECK;
void kl_module_free(struct kl_module *module); /* C_Finalize and unload; takes NULL */

/* For the other files of this room. */
CK_FUNCTION_LIST *kl_module_functions(const struct kl_module *module);

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
