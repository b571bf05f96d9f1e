/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to cert*.c and crl.c: what reading and judging certificates and CRLs have in common. */
#ifndef KL_PROTO_CERT_IMPL_H
#define KL_PROTO_CERT_IMPL_H

#include <openssl/bio.h>
#include <openssl/x509v3.h>

#include "proto/cert.h"
#include "proto/err.h"

/* The next block of a PEM file, which must be of that kind (PEM_STRING_X509, ...); the caller frees
 * with OPENSSL_free. *data is NULL at the end of the file. plural is for the message that refuses
 * another kind, "certificates belong". KL_ERR_CERT. */
enum kl_rc kl_pem_next(BIO *bio, const char *kind, const char *plural, unsigned char **data,
                       long *len, struct kl_err *err) KL_MUST_CHECK;

/* 1 if a distribution point's name is a full name of one URI that may be a scope, which is then in
 * out; else 0 (also if name is NULL). */
int kl_dist_point_scope(const DIST_POINT_NAME *name, char out[KL_CRL_SCOPE_TEXT]);

#endif
