/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests (PKCS#10) and the conditions that one must meet before the CA signs a certificate for
 * it. Proof that the requester holds the key is the request's own signature.
 */
#ifndef KL_CA_REQUEST_H
#define KL_CA_REQUEST_H

#include <openssl/x509.h>

#include "proto/err.h"

/* One PEM PKCS#10 request in a file of at most 64 KiB. The caller frees with X509_REQ_free. */
enum kl_rc kl_request_load(const char *path, X509_REQ **out, struct kl_err *err) KL_MUST_CHECK;

/* Refuses a request whose signature is wrong (KL_ERR_VERIFY) or made with anything but RSA or ECDSA
 * and SHA-256, SHA-384 or SHA-512, whose key kl_pubkey_type refuses, whose subject is empty or the
 * CA's own, whose key is the CA's own, which asks to be a CA, or which demands (critically) an
 * extension that we do not grant (KL_ERR_CERT). */
enum kl_rc kl_request_check(X509_REQ *request, const X509 *root, struct kl_err *err) KL_MUST_CHECK;

/* Besides, for a terminal's: the one serialNumber attribute of its subject (KL_ERR_CERT without)
 * must be `serial`, as the operator typed it: KL_ERR_REFUSED. */
enum kl_rc kl_request_check_terminal(X509_REQ *request, const char *serial,
                                     struct kl_err *err) KL_MUST_CHECK;

/* Calls `tell` with the name of each extension or attribute that the request asks for: none is
 * taken over, as the profiles are fixed. */
void kl_request_each_ignored(X509_REQ *request, void (*tell)(const char *name, void *arg),
                             void *arg);

#endif
