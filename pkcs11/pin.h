/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a PIN, a passphrase or a key component comes from: never argv, never the environment. */
#ifndef KL_PKCS11_PIN_H
#define KL_PKCS11_PIN_H

#include "proto/err.h"
#include "proto/secret.h"

/* What is read: for the messages, and for how long it may be. */
enum kl_typed {
    KL_TYPED_PIN,        /* 4 to 255 bytes */
    KL_TYPED_PASSPHRASE, /* 4 to 1000 bytes */
    KL_TYPED_COMPONENT,  /* of a key, in hex: 4 to 255 bytes */
};

/* 1 if something from that source would be asked for on the terminal: NULL or "prompt". */
int kl_pin_is_prompt(const char *source);

/* Reads one line. source is NULL or "prompt" (asks on the terminal without echo, "PROMPT: "),
 * "file:PATH" or an absolute path (regular file, owned by root or us, no permission for group or
 * others; a trailing newline is cut), or "credential:NAME" (a file in $CREDENTIALS_DIRECTORY as
 * systemd's LoadCredential= makes it). KL_ERR_REFUSED for Ctrl-C at the prompt. The caller frees
 * with kl_secret_free. */
enum kl_rc kl_typed_read(enum kl_typed what, const char *source, const char *prompt,
                         struct kl_secret **out, struct kl_err *err) KL_MUST_CHECK;

/* The same of a PIN. */
enum kl_rc kl_pin_read(const char *source, const char *prompt, struct kl_secret **out,
                       struct kl_err *err) KL_MUST_CHECK;

#endif
