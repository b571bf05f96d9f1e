/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X.509 objects signed by a key that OpenSSL cannot reach: certification requests, certificates
 * and CRLs, signed inside a token, or with an OpenSSL key for a CA kept in an encrypted PEM.
 */
#ifndef KL_PKCS11_X509SIGN_H
#define KL_PKCS11_X509SIGN_H

#include <openssl/x509.h>
#include <p11-kit/pkcs11.h>

#include "pkcs11/keys.h"
#include "pkcs11/token.h"
#include "proto/err.h"

/* A private key and the one way in which it signs, which its role and type decide:
 *   EC keys                             ecdsa-with-SHA256, -SHA384 or -SHA512, by the curve
 *   RSA: KL_PAIR_WORK, KL_PAIR_DEVICE   RSASSA-PSS, SHA-256, salt of 32 bytes: such a key never
 *                                       does PKCS #1 v1.5
 *   RSA: KL_PAIR_WORK_CLASSIC           sha256WithRSAEncryption, as the key may do no other
 *   RSA: KL_PAIR_CA                     sha256WithRSAEncryption, which every terminal reads
 * KL_ERR_KEY if the role has no such key, or signs no X.509 object. */
struct kl_signer; /* borrows what it was made from */
enum kl_rc kl_signer_token(struct kl_session *session, enum kl_pair_role role,
                           CK_OBJECT_HANDLE private_key, EVP_PKEY *public_key,
                           struct kl_signer **out, struct kl_err *err) KL_MUST_CHECK;
/* The same with a private key of OpenSSL's. */
enum kl_rc kl_signer_pkey(enum kl_pair_role role, EVP_PKEY *private_key, struct kl_signer **out,
                          struct kl_err *err) KL_MUST_CHECK;
void kl_signer_free(struct kl_signer *signer);              /* takes NULL */
EVP_PKEY *kl_signer_public(const struct kl_signer *signer); /* borrowed */

/* Sets algorithm and signature of a request or certificate whose other fields are complete, and
 * verifies the result with the public key before returning it. Only a CA's key signs certificates
 * and CRLs: KL_ERR_KEY. */
enum kl_rc kl_sign_request(struct kl_signer *signer, X509_REQ *req,
                           struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_sign_certificate(struct kl_signer *signer, X509 *cert,
                               struct kl_err *err) KL_MUST_CHECK;
/* The same of a CRL, as a new object, since OpenSSL has no setter for a CRL's algorithm: draft is
 * complete but for algorithm and signature. The caller frees *out with X509_CRL_free. */
enum kl_rc kl_sign_crl(struct kl_signer *signer, X509_CRL *draft, X509_CRL **out,
                       struct kl_err *err) KL_MUST_CHECK;

#endif
