/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The X.509 profile: which certificate is an AcquireRCRT, which an AcquireWCRT, and the checks
 * that the terminal (S4) and `keyloaderctl cert install` (S2) make of one.
 */
#ifndef KL_PROTO_CERT_H
#define KL_PROTO_CERT_H

#include <openssl/x509.h>
#include <stddef.h>
#include <time.h>

#include "proto/alg.h"
#include "proto/err.h"
#include "proto/message.h"

/* Extended key usages, critical in every certificate we issue. Under the UUID arc 2.25 of
 * ITU-T X.667, so that they collide with nobody's; values in docs/protocol.md. */
#define KL_OID_EKU_LOADER "2.25.205694318947120558813702195013366287361.1"
#define KL_OID_EKU_TERMINAL "2.25.205694318947120558813702195013366287361.2"

#define KL_NAME_MAX 256 /* bytes of a one-line RFC 2253 name, with NUL */

/* One certificate from DER: nothing after it. The caller frees with X509_free. */
enum kl_rc kl_cert_from_der(const uint8_t *der, size_t len, X509 **out,
                            struct kl_err *err) KL_MUST_CHECK;

/* PEM text of 1 to KL_CHAIN_MAX certificates and nothing else. The caller frees with
 * sk_X509_pop_free(chain, X509_free). KL_ERR_CERT says what is wrong with it. */
#define KL_CERT_PEM_MAX (64 * 1024) /* bytes */
enum kl_rc kl_cert_from_pem(const char *text, size_t len, STACK_OF(X509) * *out,
                            struct kl_err *err) KL_MUST_CHECK;

/* Checks chain (AcquireWCRT first, then intermediates; borrowed) as a key loader's: up to `root`
 * and no other trust anchor, every signature, validity at `now`, CA flags and path length, no
 * SHA-1 or MD5 signature, RSA of 2048 bits or more, keyUsage of the leaf = digitalSignature and
 * keyEncipherment, its EKU exactly KL_OID_EKU_LOADER; these and basicConstraints critical, as in
 * the root. KL_ERR_CERT with a text that says which check failed. */
enum kl_rc kl_cert_verify_loader(STACK_OF(X509) * chain, X509 *root, time_t now,
                                 struct kl_err *err) KL_MUST_CHECK;

/* Type and size of the certificate's public key; KL_ERR_CERT if it is neither RSA 2048, 3072 nor
 * 4096 with public exponent 65537. */
enum kl_rc kl_cert_key_type(const X509 *cert, enum kl_key_type *type, unsigned *bits,
                            struct kl_err *err) KL_MUST_CHECK;

/* The same for a bare public key. */
enum kl_rc kl_pubkey_type(const EVP_PKEY *key, enum kl_key_type *type, unsigned *bits,
                          struct kl_err *err) KL_MUST_CHECK;

/* Subject as one RFC 2253 line, control characters escaped; always NUL-terminated. */
void kl_cert_subject(const X509 *cert, char out[KL_NAME_MAX]);
void kl_cert_issuer(const X509 *cert, char out[KL_NAME_MAX]);

#endif
