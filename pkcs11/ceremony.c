/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ceremonies: PINs that people choose, and the tokens they are for.
 */
#include "pkcs11/ceremony.h"

#include <openssl/crypto.h>

#include "pkcs11/module.h"
#include "pkcs11/pin.h"
#include "pkcs11/token.h"

static int same(struct kl_secret *a, struct kl_secret *b)
{
    return kl_secret_len(a) == kl_secret_len(b) &&
           CRYPTO_memcmp(kl_secret_data(a), kl_secret_data(b), kl_secret_len(a)) == 0;
}

enum kl_rc kl_pin_choose(const char *source, const char *prompt, struct kl_secret **out,
                         struct kl_err *err)
{
    struct kl_secret *first = NULL, *again = NULL;
    enum kl_rc rc = kl_pin_read(source, prompt, &first, err);

    if (rc == KL_OK && kl_pin_is_prompt(source)) {
        rc = kl_pin_read(source, "Once more", &again, err);
        if (rc == KL_OK && !same(first, again)) {
            rc = kl_err_set(err, KL_ERR_INPUT, "%s: the two entries differ; nothing was done",
                            prompt);
        }
    }
    if (rc == KL_OK) {
        *out = first;
        first = NULL;
    }
    kl_secret_free(again);
    kl_secret_free(first);
    return rc;
}

enum kl_rc kl_ceremony_init_token(const char *module_path, const char *init_reserved,
                                  const char *label, const char *so_pin_source,
                                  const char *pin_source, struct kl_err *err)
{
    struct kl_secret *so_pin = NULL, *pin = NULL;
    struct kl_module *module = NULL;
    enum kl_rc rc = kl_pin_choose(so_pin_source, "Security officer's PIN", &so_pin, err);

    if (rc == KL_OK) {
        rc = kl_pin_choose(pin_source, "User PIN", &pin, err);
    }
    if (rc == KL_OK) {
        rc = kl_module_load(module_path, init_reserved, &module, err);
    }
    if (rc == KL_OK) {
        rc = kl_token_init(module, label, so_pin, pin, err);
    }
    kl_module_free(module);
    kl_secret_free(pin);
    kl_secret_free(so_pin);
    return rc;
}
