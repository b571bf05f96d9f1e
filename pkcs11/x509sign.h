/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X.509 objects signed by a key that OpenSSL cannot reach: certification requests and
 * certificates, signed inside a token, or with an OpenSSL key for a CA kept in an encrypted PEM.
 */
#ifndef KL_PKCS11_X509SIGN_H
#define KL_PKCS11_X509SIGN_H

#include <openssl/x509.h>
#include <p11-kit/pkcs11.h>

#include "pkcs11/token.h"
#include "proto/err.h"

/* How an X.509 object is signed. RSA-PSS (SHA-256, salt 32) for a request, so that a work key
 * never does PKCS#1 v1.5; sha256WithRSAEncryption for certificates, which every terminal reads. */
enum kl_sig_alg { KL_SIG_RSA_PSS_SHA256, KL_SIG_RSA_PKCS1_SHA256 };

struct kl_signer; /* borrows what it was made from */
enum kl_rc kl_signer_token(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                           EVP_PKEY *public_key, struct kl_signer **out,
                           struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_signer_pkey(EVP_PKEY *private_key, struct kl_signer **out,
                          struct kl_err *err) KL_MUST_CHECK;
void kl_signer_free(struct kl_signer *signer);              /* takes NULL */
EVP_PKEY *kl_signer_public(const struct kl_signer *signer); /* borrowed */

/* Sets algorithm and signature of a request or certificate whose other fields are complete, and
 * verifies the result with the public key before returning it. */
enum kl_rc kl_sign_request(struct kl_signer *signer, X509_REQ *req, enum kl_sig_alg alg,
                           struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_sign_certificate(struct kl_signer *signer, X509 *cert, enum kl_sig_alg alg,
                               struct kl_err *err) KL_MUST_CHECK;

#endif
