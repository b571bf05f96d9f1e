/* SPDX-License-Identifier: BSD-2-Clause */
/* What both key ceremonies, the CA's and the loader's, do alike: initialise a token. */
#ifndef KL_PKCS11_CEREMONY_H
#define KL_PKCS11_CEREMONY_H

#include "proto/err.h"
#include "proto/secret.h"

/* Reads a secret that is about to be set, by kl_pin_read; typed ones are asked for twice.
 * KL_ERR_INPUT if the two differ. The caller frees with kl_secret_free. */
enum kl_rc kl_pin_choose(const char *source, const char *prompt, struct kl_secret **out,
                         struct kl_err *err) KL_MUST_CHECK;

/* Reads both PINs, then loads the module and initialises its first free token. */
enum kl_rc kl_ceremony_init_token(const char *module_path, const char *init_reserved,
                                  const char *label, const char *so_pin_source,
                                  const char *pin_source, struct kl_err *err) KL_MUST_CHECK;

#endif
