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
#include "proto/pubkey.h"

/* Extended key usages, critical in every certificate we issue. Under the UUID arc 2.25 of
 * ITU-T X.667, so that they collide with nobody's; values in docs/protocol.md. */
#define KL_OID_EKU_LOADER "2.25.205694318947120558813702195013366287361.1"
#define KL_OID_EKU_TERMINAL "2.25.205694318947120558813702195013366287361.2"

/* The scope of a CRL: the one full name (a URI) of its critical issuingDistributionPoint, and of
 * the cRLDistributionPoints of a certificate that is to be looked up in it. A certificate that has
 * that extension is refused without a CRL of its scope: whether one is needed is the CA's word, and
 * nobody can take it away. */
#define KL_CRL_SCOPE_LOADER "urn:keyloader:crl:loader"
#define KL_CRL_SCOPE_TERMINAL "urn:keyloader:crl:terminal"
#define KL_CRL_SCOPE_TEXT 64 /* bytes of a scope, with NUL */

#define KL_NAME_MAX 256 /* bytes of a one-line RFC 2253 name, with NUL */

/* One certificate from DER: nothing after it. The caller frees with X509_free. */
enum kl_rc kl_cert_from_der(const uint8_t *der, size_t len, X509 **out,
                            struct kl_err *err) KL_MUST_CHECK;

/* PEM text of 1 to KL_CHAIN_MAX certificates and nothing else. The caller frees with
 * sk_X509_pop_free(chain, X509_free). KL_ERR_CERT says what is wrong with it. */
#define KL_CERT_PEM_MAX (64 * 1024) /* bytes */
enum kl_rc kl_cert_from_pem(const char *text, size_t len, STACK_OF(X509) * *out,
                            struct kl_err *err) KL_MUST_CHECK;

/* Checks chain (AcquireWCRT first, then intermediates; borrowed) as a key loader's: up to one of
 * `roots` (1 to KL_ANCHOR_MAX; borrowed) and no other trust anchor, every signature, validity at
 * `now`, CA flags and path length, no SHA-1 or MD5 signature, keys that kl_pubkey_type takes, no
 * intermediate that has an EKU without this one, keyUsage of the leaf = digitalSignature and
 * keyEncipherment (RSA) or digitalSignature and keyAgreement (EC), its EKU exactly
 * KL_OID_EKU_LOADER; these and basicConstraints critical, as in the root. If the leaf has
 * cRLDistributionPoints, or there is a crl (NULL = none): it must be the leaf's issuer's, signed by
 * it, of scope KL_CRL_SCOPE_LOADER, in force at `now`, and not list the leaf. *anchor, if not NULL,
 * gets the root that it chains to (borrowed from roots). KL_ERR_CERT with a text that says which
 * check failed; KL_ERR_REVOKED if the leaf is listed. */
enum kl_rc kl_cert_verify_loader(STACK_OF(X509) * chain, STACK_OF(X509) * roots, X509_CRL *crl,
                                 time_t now, X509 **anchor, struct kl_err *err) KL_MUST_CHECK;

/* The same for a terminal's chain: keyUsage of the leaf = digitalSignature, EKU exactly
 * KL_OID_EKU_TERMINAL, scope KL_CRL_SCOPE_TERMINAL, and its subject's one serialNumber attribute
 * (X.520) the terminal's serial, byte for byte. */
enum kl_rc kl_cert_verify_terminal(STACK_OF(X509) * chain, STACK_OF(X509) * roots, X509_CRL *crl,
                                   time_t now, const char *serial,
                                   struct kl_err *err) KL_MUST_CHECK;

/* KL_OK if a signature algorithm (of a certificate, a CRL or a request) is RSA (PKCS #1 v1.5 or
 * PSS) or ECDSA over SHA-256, SHA-384 or SHA-512, with PSS also in MGF1; else KL_ERR_CERT with "is
 * signed with ...". */
enum kl_rc kl_sigalg_check(const X509_ALGOR *alg, struct kl_err *err) KL_MUST_CHECK;

/* ---- CRLs ---- */

/* One CRL from DER (nothing after it), or from PEM text that holds it alone. The caller frees with
 * X509_CRL_free. One that is to be stapled must also fit KL_CRL_MAX. */
#define KL_CRL_FILE_MAX (1 << 20) /* bytes, of either form: some 20,000 terminals */
enum kl_rc kl_crl_from_der(const uint8_t *der, size_t len, X509_CRL **out,
                           struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_crl_from_pem(const char *text, size_t len, X509_CRL **out,
                           struct kl_err *err) KL_MUST_CHECK;

/* Checks a CRL as its issuer's: the issuer's name, its keyUsage cRLSign, the signature (no SHA-1 or
 * MD5), version 2, a crlNumber, the critical issuingDistributionPoint with `scope` as its one full
 * name and nothing else, no other critical extension of the CRL or of an entry, no delta CRL, and
 * `now` from thisUpdate to nextUpdate, which must be there. KL_ERR_CERT says what is wrong. */
enum kl_rc kl_crl_verify(X509_CRL *crl, X509 *issuer, const char *scope, time_t now,
                         struct kl_err *err) KL_MUST_CHECK;

/* 1 if the CRL lists the certificate's serial number, for whatever reason; else 0. Means something
 * only once kl_crl_verify has taken the CRL as the certificate's issuer's. Any number of threads
 * may ask at once. */
int kl_crl_lists(X509_CRL *crl, const X509 *cert);

/* ---- What a certificate says ---- */

/* kl_pubkey_type of the certificate's public key. */
enum kl_rc kl_cert_key_type(const X509 *cert, enum kl_key_type *type, unsigned *bits,
                            struct kl_err *err) KL_MUST_CHECK;

/* The one serialNumber attribute of a subject or request; KL_ERR_CERT if there is none, several, or
 * one that is no well-formed serial. */
enum kl_rc kl_cert_terminal_serial(const X509_NAME *subject, char out[KL_SERIAL_MAX + 1],
                                   struct kl_err *err) KL_MUST_CHECK;

/* The one URI of the certificate's cRLDistributionPoints: the scope of the CRL that it is to be
 * looked up in; "" if it has no such extension. KL_ERR_CERT if the extension says anything else. */
enum kl_rc kl_cert_crl_scope(const X509 *cert, char out[KL_CRL_SCOPE_TEXT],
                             struct kl_err *err) KL_MUST_CHECK;

/* Subject as one RFC 2253 line, control characters escaped; always NUL-terminated. */
void kl_cert_subject(const X509 *cert, char out[KL_NAME_MAX]);
void kl_cert_issuer(const X509 *cert, char out[KL_NAME_MAX]);

#endif
