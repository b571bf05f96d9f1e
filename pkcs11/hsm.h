/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From "where the keys are" to a session there: which module, which token, whose PIN. The only
 * way by which the programs reach a token that exists; kl_ceremony_init_token makes new ones.
 */
#ifndef KL_PKCS11_HSM_H
#define KL_PKCS11_HSM_H

#include "pkcs11/token.h"
#include "pkcs11/uri.h"
#include "proto/err.h"

/* As configured; all borrowed. Every member but token may be NULL or "". */
struct kl_hsm_where {
    const char *module;        /* path of the PKCS#11 module; none: the URI's module-path */
    const char *init_reserved; /* see kl_module_load */
    const char *token;         /* RFC 7512 URI */
    const char *pin_source;    /* see kl_pin_read; none: the URI's pin-source, else prompt */
    const char *prompt;        /* what is asked for; none: "PIN of token LABEL" */
};

/* ---- What where says, with the URI in it ---- */

/* KL_ERR_CONFIG unless the URI is right and there is a path of a module. Opens nothing. */
enum kl_rc kl_hsm_check(const struct kl_hsm_where *where, struct kl_err *err) KL_MUST_CHECK;

/* 1 if kl_hsm_open would ask for the PIN on the terminal. */
int kl_hsm_prompts(const struct kl_hsm_where *where);

/* Both take where->token as parsed already. Borrowed from where or uri. */
enum kl_rc kl_hsm_module_path(const struct kl_hsm_where *where, const struct kl_uri *uri,
                              const char **out, struct kl_err *err) KL_MUST_CHECK;
const char *kl_hsm_pin_source(const struct kl_hsm_where *where,
                              const struct kl_uri *uri); /* NULL: prompt */

/* ---- The open token ---- */

struct kl_hsm; /* module, token with its login, and perhaps a session; one in a process */

/* Reads the PIN, then loads the module (without a PIN nothing is loaded), finds the token, logs
 * in once (a wrong PIN, KL_ERR_PIN, is never tried again) and opens a session. read_write for
 * ceremonies. KL_ERR_CONFIG, KL_ERR_MODULE; KL_ERR_TOKEN names the URI; and what kl_pin_read
 * returns. Keeps nothing of where. */
enum kl_rc kl_hsm_open(const struct kl_hsm_where *where, int read_write, struct kl_hsm **out,
                       struct kl_err *err) KL_MUST_CHECK;
/* The same without a session, for who opens sessions on the token himself. */
enum kl_rc kl_hsm_open_token(const struct kl_hsm_where *where, int read_write, struct kl_hsm **out,
                             struct kl_err *err) KL_MUST_CHECK;
/* Ends session, token and module, and with them whatever was opened on the token; takes NULL. */
void kl_hsm_free(struct kl_hsm *hsm);

struct kl_token *kl_hsm_token(const struct kl_hsm *hsm);     /* borrowed */
struct kl_session *kl_hsm_session(const struct kl_hsm *hsm); /* borrowed; kl_hsm_open only */

#endif
