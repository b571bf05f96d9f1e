/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the CA puts its name to: the root certificate, the work certificate, and the conditions a
 * request must meet. Building only; signing is pkcs11/x509sign.h. Times are Unix seconds.
 */
#ifndef KL_CA_PROFILE_H
#define KL_CA_PROFILE_H

#include <openssl/x509.h>
#include <stdint.h>

#include "proto/err.h"

#define KL_DAYS_MAX 10950 /* 30 years */

/* AcquireRCRT for key, unsigned: version 3, basicConstraints critical CA:TRUE with path length 0
 * (it signs work certificates and nothing below), keyUsage critical keyCertSign and cRLSign, SKI,
 * AKI, valid for `days` from now. The caller frees with X509_free. */
enum kl_rc kl_profile_root(const X509_NAME *subject, EVP_PKEY *key, int days, int64_t now,
                           X509 **out, struct kl_err *err) KL_MUST_CHECK;

/* One PEM PKCS#10 request in a file of at most 64 KiB. The caller frees with X509_REQ_free. */
enum kl_rc kl_profile_load_request(const char *path, X509_REQ **out,
                                   struct kl_err *err) KL_MUST_CHECK;

/* Refuses a request whose signature is wrong (KL_ERR_VERIFY) or made with anything but RSA and
 * SHA-256, SHA-384 or SHA-512, whose key kl_pubkey_type refuses, whose subject is empty or the
 * CA's own, whose key is the CA's own, which asks to be a CA, or which demands (critically) an
 * extension that we do not grant (KL_ERR_CERT). */
enum kl_rc kl_profile_check_request(X509_REQ *request, const X509 *root,
                                    struct kl_err *err) KL_MUST_CHECK;

/* Calls `tell` with the name of each extension or attribute that the request asks for: none is
 * taken over, as the profile below is fixed. */
void kl_profile_each_ignored(X509_REQ *request, void (*tell)(const char *name, void *arg),
                             void *arg);

/* AcquireWCRT for a checked request, unsigned: subject and key of the request, issuer the root,
 * random serial of 16 bytes, basicConstraints critical CA:FALSE, keyUsage critical
 * digitalSignature and keyEncipherment, extendedKeyUsage critical KL_OID_EKU_LOADER, SKI, AKI.
 * KL_ERR_REFUSED if the root is not valid now or would end before it. */
enum kl_rc kl_profile_work(X509_REQ *request, X509 *root, int days, int64_t now, X509 **out,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
