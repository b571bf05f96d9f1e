/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a command tells its operator, built once as a JSON value and printed either as JSON or as
 * lines "name: value", so that the two can never disagree; and a certificate in those terms.
 */
#ifndef KL_CONF_REPORT_H
#define KL_CONF_REPORT_H

#include <jansson.h>
#include <openssl/x509.h>
#include <stdint.h>

#include "proto/err.h"

#define KL_FINGERPRINT_TEXT 65 /* SHA-256 in hex with NUL */

/* SHA-256 over the DER of the SubjectPublicKeyInfo, in lower-case hex. */
enum kl_rc kl_pubkey_fingerprint(const EVP_PKEY *key, char out[KL_FINGERPRINT_TEXT],
                                 struct kl_err *err) KL_MUST_CHECK;

/* Serial, names, validity, key, the CRL it is to be looked up in, identifiers and fingerprints of a
 * certificate as an object. The caller frees with json_decref. */
enum kl_rc kl_report_cert(const X509 *cert, json_t **out, struct kl_err *err) KL_MUST_CHECK;

/* Serial number in upper-case hex. out holds KL_SERIAL_HEX bytes. */
#define KL_SERIAL_HEX 43 /* 20 bytes (RFC 5280), a sign and a NUL */
enum kl_rc kl_cert_serial_hex(const X509 *cert, char out[KL_SERIAL_HEX],
                              struct kl_err *err) KL_MUST_CHECK;

/* A time of a certificate as Unix time. */
enum kl_rc kl_asn1_time_unix(const ASN1_TIME *time, int64_t *out, struct kl_err *err) KL_MUST_CHECK;

/* A time as JSON: "2026-01-31T12:34:56Z", or null for 0; NULL when out of memory. The caller frees.
 */
json_t *kl_report_time(int64_t unix_time);

/* Prints report to stdout and frees it. NULL (a failed json_pack) is KL_ERR_MEMORY; a stdout that
 * does not take it, KL_ERR_IO. */
enum kl_rc kl_report_print(json_t *report, int as_json, struct kl_err *err) KL_MUST_CHECK;

#endif
