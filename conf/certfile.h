/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificate files: a chain, the one certificate that is expected, roots; and CRL files. */
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

/* PEM file of 1 to KL_ANCHOR_MAX roots, none twice, each self-signed. The caller frees with
 * sk_X509_pop_free(roots, X509_free). Errors name the file. */
enum kl_rc kl_cert_load_roots(const char *path, STACK_OF(X509) * *out,
                              struct kl_err *err) KL_MUST_CHECK;

/* PEM or DER file of one CRL, at most KL_CRL_FILE_MAX bytes (kl_crl_from_pem, kl_crl_from_der). The
 * caller frees with X509_CRL_free. Errors name the file. */
enum kl_rc kl_crl_load(const char *path, X509_CRL **out, struct kl_err *err) KL_MUST_CHECK;

#endif
