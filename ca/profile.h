/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the CA puts its name to: the root certificate and its two kinds of leaf, the loader's work
 * certificate and a terminal's device certificate. Building only; signing is pkcs11/x509sign.h,
 * the conditions on requests ca/request.h. Times are Unix seconds.
 */
#ifndef KL_CA_PROFILE_H
#define KL_CA_PROFILE_H

#include <openssl/x509.h>
#include <stdint.h>

#include "proto/err.h"

#define KL_DAYS_MAX 10950 /* 30 years */

/* What tells the two kinds apart. Pointers to these may be compared. */
enum kl_leaf_kind { KL_LEAF_LOADER, KL_LEAF_TERMINAL };
struct kl_leaf {
    const char *name;  /* "loader", "terminal" */
    const char *eku;   /* its one extended key usage, dotted */
    const char *scope; /* of its CRL, a URI */
};
const struct kl_leaf *kl_leaf(enum kl_leaf_kind kind);
const struct kl_leaf *kl_leaf_by_name(const char *name); /* NULL if unknown */
const struct kl_leaf *kl_leaf_of(const X509 *cert);      /* NULL if it is neither, as the root */
int kl_leaf_has(int nid); /* 1 if leaves have the extension of that OpenSSL number, else 0 */

/* AcquireRCRT for key, unsigned: version 3, basicConstraints critical CA:TRUE with path length 0
 * (it signs leaves and nothing below), keyUsage critical keyCertSign and cRLSign, SKI, AKI, valid
 * for `days` from now. The caller frees with X509_free. */
enum kl_rc kl_profile_root(const X509_NAME *subject, EVP_PKEY *key, int days, int64_t now,
                           X509 **out, struct kl_err *err) KL_MUST_CHECK;

/* Whole days until the root ends; KL_ERR_REFUSED if it is not valid now. */
enum kl_rc kl_profile_days_left(const X509 *root, int64_t now, int *days,
                                struct kl_err *err) KL_MUST_CHECK;

/* A leaf for a checked request, unsigned: subject and key of the request, issuer the root, random
 * serial of 16 bytes, basicConstraints critical CA:FALSE, keyUsage critical (loader:
 * digitalSignature and, for RSA, keyEncipherment or, for EC, keyAgreement; terminal:
 * digitalSignature), extendedKeyUsage critical, the leaf's, SKI, AKI, and, with_crl,
 * cRLDistributionPoints of one full name, the leaf's scope. KL_ERR_REFUSED if the root is not valid
 * now or would end before it. */
enum kl_rc kl_profile_leaf(const struct kl_leaf *leaf, X509_REQ *request, X509 *root, int days,
                           int with_crl, int64_t now, X509 **out, struct kl_err *err) KL_MUST_CHECK;

#endif
