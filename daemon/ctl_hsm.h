/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyloaderctl's ceremony commands share: the HSM session, and the installed certificate. */
#ifndef KL_DAEMON_CTL_HSM_H
#define KL_DAEMON_CTL_HSM_H

#include <openssl/x509.h>

#include "daemon/config.h"
#include "pkcs11/hsm.h"
#include "proto/err.h"

/* Opens the configured token (asking for its PIN once) and a session. The caller frees with
 * kl_hsm_free. */
enum kl_rc kl_ctl_hsm_open(const struct kl_config *config, int read_write, struct kl_hsm **out,
                           struct kl_err *err) KL_MUST_CHECK;

/* The chain in config->work; KL_ERR_NOT_FOUND if there is no such file. The caller frees with
 * sk_X509_pop_free(chain, X509_free). */
enum kl_rc kl_ctl_installed(const struct kl_config *config, STACK_OF(X509) * *out,
                            struct kl_err *err) KL_MUST_CHECK;

/* AcquireRCRT from config->root, one certificate. The caller frees with X509_free. */
enum kl_rc kl_ctl_root(const struct kl_config *config, X509 **out,
                       struct kl_err *err) KL_MUST_CHECK;

#endif
