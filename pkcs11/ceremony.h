/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What key ceremonies do: PINs that people choose, tokens that are made, questions on the terminal,
 * and keys that custodians bring in components.
 */
#ifndef KL_PKCS11_CEREMONY_H
#define KL_PKCS11_CEREMONY_H

#include <stddef.h>

#include "pkcs11/component.h"
#include "pkcs11/token.h"
#include "proto/alg.h"
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

/* Locks all memory of this process, present and future, before a key is in it that OpenSSL or a
 * module keeps where it likes. KL_ERR_SYSTEM: raise RLIMIT_MEMLOCK. */
enum kl_rc kl_ceremony_lock(struct kl_err *err) KL_MUST_CHECK;

/* How the components of a key come in. All borrowed. */
struct kl_components_wish {
    const struct kl_alg_info *info; /* of the key */
    enum kl_parity parity;
    size_t count;                           /* KL_COMPONENTS_MIN to _MAX */
    const char *sources[KL_COMPONENTS_MAX]; /* see kl_typed_read */
    const char *kcvs[KL_COMPONENTS_MAX];    /* in hex; NULL = asked for on the terminal */
    const char *kcv; /* of the key, in hex; NULL = shown, and to be confirmed by "yes" */
};

/* Reads the components one by one, checks each against its KCV (one that was typed may be typed up
 * to three times) and the key against its own. KL_ERR_VERIFY: a KCV is another. KL_ERR_REFUSED: the
 * key's was not confirmed. KL_ERR_INPUT as in component.h. *kcv (with *kcv_len) is the key's; the
 * caller frees *key with kl_secret_free. */
enum kl_rc kl_ceremony_components(struct kl_session *session, const struct kl_components_wish *wish,
                                  struct kl_secret **key, uint8_t kcv[KL_KCV_LEN_MAX],
                                  size_t *kcv_len, struct kl_err *err) KL_MUST_CHECK;

#endif
