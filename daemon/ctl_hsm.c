/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The HSM and the certificates as the ceremony commands see them.
 */
#include "daemon/ctl_hsm.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "proto/cert.h"

enum kl_rc kl_ctl_hsm_open(const struct kl_config *config, int read_write, struct kl_ctl_hsm *hsm,
                           struct kl_err *err)
{
    enum kl_rc rc;

    memset(hsm, 0, sizeof *hsm);
    rc = kl_config_open_token(config, read_write, &hsm->module, &hsm->token, err);
    return rc == KL_OK ? kl_session_open(hsm->token, &hsm->session, err) : rc;
}

void kl_ctl_hsm_close(struct kl_ctl_hsm *hsm)
{
    kl_session_free(hsm->session);
    kl_token_free(hsm->token);
    kl_module_free(hsm->module);
    memset(hsm, 0, sizeof *hsm);
}

int kl_ctl_hsm_prompts(const struct kl_config *config)
{
    struct kl_err ignored = KL_ERR_INIT;
    struct kl_uri *uri = NULL;
    const char *source = config->pin_source;
    int prompts;

    if (!*source && kl_uri_parse(config->token, &uri, &ignored) == KL_OK) {
        source = kl_uri_pin_source(uri);
    }
    prompts = !source || !*source || strcmp(source, "prompt") == 0;
    kl_uri_free(uri);
    return prompts;
}

enum kl_rc kl_ctl_installed(const struct kl_config *config, STACK_OF(X509) * *out,
                            struct kl_err *err)
{
    if (access(config->work, F_OK) != 0 && errno == ENOENT) {
        return kl_err_set(err, KL_ERR_NOT_FOUND,
                          "no work certificate is installed: there is no %s; `cert install` one",
                          config->work);
    }
    return kl_cert_load_pem(config->work, out, err);
}

enum kl_rc kl_ctl_root(const struct kl_config *config, X509 **out, struct kl_err *err)
{
    STACK_OF(X509) *chain = NULL;
    enum kl_rc rc = kl_cert_load_pem(config->root, &chain, err);

    if (rc != KL_OK) {
        return kl_err_context(err, "root certificate");
    }
    if (sk_X509_num(chain) == 1) {
        *out = sk_X509_pop(chain);
    } else {
        rc =
            kl_err_set(err, KL_ERR_CERT, "%s must hold one certificate, AcquireRCRT", config->root);
    }
    sk_X509_pop_free(chain, X509_free);
    return rc;
}
