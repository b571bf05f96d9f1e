/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificate revocation lists (RFC 5280 section 5), one scope each, numbered by one sequence.
 *
 * A number is taken by writing DIR/crls/NUMBER.pem, which never replaces a file, after the CRL is
 * signed and before it is handed out. So no number names two CRLs, whatever crashes or runs at the
 * same time; and as a CRL collects what is revoked after its number was looked up, a higher number
 * never lists less.
 */
#ifndef KL_CA_CRL_H
#define KL_CA_CRL_H

#include <openssl/x509.h>
#include <stdint.h>

#include "ca/profile.h"
#include "proto/err.h"

#define KL_CRL_DAYS_DEFAULT 90
#define KL_CRL_DAYS_MAX 366 /* one that is good for years keeps a revocation from being seen */

/* The number that the next CRL gets: one more than the highest written, from 1. */
enum kl_rc kl_crlnumber_next(const char *dir, uint32_t *number, struct kl_err *err) KL_MUST_CHECK;

/* Takes the number by writing the signed CRL to DIR/crls, durably. KL_ERR_BUSY if another run took
 * it meanwhile: this CRL must not be handed out then. */
enum kl_rc kl_crlnumber_take(const char *dir, uint32_t number, X509_CRL *crl,
                             struct kl_err *err) KL_MUST_CHECK;

/* A CRL to be signed: version 2, issuer the root, from now for `days`, every revoked and unexpired
 * certificate of that kind with date and reason, CRL number, AKI, critical issuingDistributionPoint
 * with the leaf's scope. KL_ERR_REFUSED if the root is not valid now; KL_ERR_INPUT if anything
 * revoked cannot be read. The caller frees with X509_CRL_free. */
enum kl_rc kl_profile_crl(const char *dir, const struct kl_leaf *leaf, X509 *root, uint32_t number,
                          int days, int64_t now, X509_CRL **out, struct kl_err *err) KL_MUST_CHECK;

#endif
