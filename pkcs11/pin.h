/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a PIN comes from. */
#ifndef KL_PKCS11_PIN_H
#define KL_PKCS11_PIN_H

#include "proto/err.h"
#include "proto/secret.h"

/* 1 if a PIN from that source would be asked for on the terminal: NULL or "prompt". */
int kl_pin_is_prompt(const char *source);

/* Reads a PIN. source is NULL or "prompt" (asks on the terminal without echo, "PROMPT: "),
 * "file:PATH" or an absolute path (regular file, owned by root or us, no permission for group or
 * others; a trailing newline is cut), or "credential:NAME" (a file in $CREDENTIALS_DIRECTORY as
 * systemd's LoadCredential= makes it). 4 to 255 bytes. Never argv, never environment. */
enum kl_rc kl_pin_read(const char *source, const char *prompt, struct kl_secret **out,
                       struct kl_err *err) KL_MUST_CHECK;

#endif
