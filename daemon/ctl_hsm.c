/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The HSM and the certificates as the ceremony commands see them.
 */
#include "daemon/ctl_hsm.h"

#include <errno.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "proto/cert.h"

enum kl_rc kl_ctl_hsm_open(const struct kl_config *config, int read_write, struct kl_hsm **out,
                           struct kl_err *err)
{
    const struct kl_hsm_where where = kl_config_hsm(config);

    return kl_hsm_open(&where, read_write, out, err);
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
    enum kl_rc rc = kl_cert_load_one(config->root, out, err);

    return rc == KL_OK ? KL_OK : kl_err_context(err, "[certificates] root");
}
