/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificate files: a chain, or the one certificate that is expected. */
#ifndef KL_CONF_CERTFILE_H
#define KL_CONF_CERTFILE_H

#include <openssl/x509.h>

#include "proto/err.h"

/* PEM file of 1 to KL_CHAIN_MAX certificates (kl_cert_from_pem). The caller frees with
 * sk_X509_pop_free(chain, X509_free). Errors name the file. */
enum kl_rc kl_cert_load_pem(const char *path, STACK_OF(X509) * *out,
                            struct kl_err *err) KL_MUST_CHECK;

/* PEM file of exactly one certificate; KL_ERR_CERT if it holds several. The caller frees with
 * X509_free. */
enum kl_rc kl_cert_load_one(const char *path, X509 **out, struct kl_err *err) KL_MUST_CHECK;

#endif
