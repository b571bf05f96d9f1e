/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reports: JSON or lines, from one value.
 */
#include "conf/report.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conf/cli.h"
#include "proto/cert.h"

#define REAL_DIGITS 12 /* of a number: microseconds in hours, and 0.005 stays that */

enum kl_rc kl_pubkey_fingerprint(const EVP_PKEY *key, char out[KL_FINGERPRINT_TEXT],
                                 struct kl_err *err)
{
    uint8_t hash[KL_HASH_LEN];
    enum kl_rc rc = kl_pubkey_hash(key, hash, err);

    if (rc == KL_OK) {
        kl_hex_format(hash, sizeof hash, out);
    }
    return rc;
}

enum kl_rc kl_cert_serial_hex(const X509 *cert, char out[KL_SERIAL_HEX], struct kl_err *err)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *hex = number ? BN_bn2hex(number) : NULL;
    enum kl_rc rc = KL_OK;

    if (!hex) {
        rc = kl_err_openssl(err, KL_ERR_CERT, "BN_bn2hex", "certificate's serial number");
    } else if (strlen(hex) >= KL_SERIAL_HEX) {
        rc = kl_err_set(err, KL_ERR_CERT, "certificate's serial number is longer than 20 bytes");
    } else {
        memcpy(out, hex, strlen(hex) + 1);
    }
    OPENSSL_free(hex);
    BN_free(number);
    return rc;
}

enum kl_rc kl_asn1_time_unix(const ASN1_TIME *time, int64_t *out, struct kl_err *err)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(time, &tm) != 1) {
        return kl_err_openssl(err, KL_ERR_CERT, "ASN1_TIME_to_tm", "certificate's time is invalid");
    }
    *out = (int64_t)timegm(&tm);
    return KL_OK;
}

static enum kl_rc time_text(const ASN1_TIME *time, char out[KL_TIME_TEXT], struct kl_err *err)
{
    int64_t seconds = 0;
    enum kl_rc rc = kl_asn1_time_unix(time, &seconds, err);

    if (rc == KL_OK) {
        kl_time_format(seconds, out);
    }
    return rc;
}

/* A key identifier, or "" if the certificate has none (or an absurdly long one). */
static void key_id_text(const ASN1_OCTET_STRING *id, char out[KL_FINGERPRINT_TEXT])
{
    int len = id ? ASN1_STRING_length(id) : 0;

    kl_hex_format(id ? ASN1_STRING_get0_data(id) : NULL, len <= 32 ? (size_t)len : 0, out);
}

/* What kind of key it is; one that no work key may be is told by OpenSSL's name for it. */
static void key_kind_text(EVP_PKEY *key, char out[KL_KEY_NAME_TEXT])
{
    struct kl_err ignored = KL_ERR_INIT;
    enum kl_key_type type;
    unsigned bits;

    if (kl_pubkey_type(key, &type, &bits, &ignored) == KL_OK) {
        kl_key_name(type, bits, out);
    } else {
        const char *name = EVP_PKEY_get0_type_name(key);

        snprintf(out, KL_KEY_NAME_TEXT, "other (%.7s)", name ? name : "?");
    }
}

/* The CRL that the certificate is to be looked up in; null if it names none. */
static json_t *crl_scope(const X509 *cert)
{
    struct kl_err ignored = KL_ERR_INIT;
    char scope[KL_CRL_SCOPE_TEXT];

    if (kl_cert_crl_scope(cert, scope, &ignored) != KL_OK) {
        return json_string("other"); /* a foreign certificate's: a verdict says what is wrong */
    }
    return scope[0] == '\0' ? json_null() : json_string(scope);
}

enum kl_rc kl_report_cert(const X509 *cert, json_t **out, struct kl_err *err)
{
    char serial[KL_SERIAL_HEX], subject[KL_NAME_MAX], issuer[KL_NAME_MAX];
    char from[KL_TIME_TEXT], to[KL_TIME_TEXT];
    char ski[KL_FINGERPRINT_TEXT], aki[KL_FINGERPRINT_TEXT], spki[KL_FINGERPRINT_TEXT];
    char whole[KL_FINGERPRINT_TEXT], kind[KL_KEY_NAME_TEXT];
    unsigned char hash[32];
    unsigned hash_len = sizeof hash;
    X509 *c = (X509 *)cert; /* these getters cache, and so are not const in OpenSSL 3.0 */
    EVP_PKEY *key = X509_get0_pubkey(cert);
    enum kl_rc rc;

    if (!key) {
        return kl_err_openssl(err, KL_ERR_CERT, "X509_get0_pubkey", "certificate's public key");
    }
    if (X509_digest(cert, EVP_sha256(), hash, &hash_len) != 1) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "X509_digest", "certificate's fingerprint");
    }
    kl_hex_format(hash, sizeof hash, whole);
    kl_cert_subject(cert, subject);
    kl_cert_issuer(cert, issuer);
    key_kind_text(key, kind);
    key_id_text(X509_get0_subject_key_id(c), ski);
    key_id_text(X509_get0_authority_key_id(c), aki);
    if ((rc = kl_cert_serial_hex(cert, serial, err)) != KL_OK ||
        (rc = time_text(X509_get0_notBefore(cert), from, err)) != KL_OK ||
        (rc = time_text(X509_get0_notAfter(cert), to, err)) != KL_OK ||
        (rc = kl_pubkey_fingerprint(key, spki, err)) != KL_OK) {
        return rc;
    }

    json_t *report =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:o, s:s, s:s, s:s, s:s}",
                  "serial", serial, "subject", subject, "issuer", issuer, "not_before", from,
                  "not_after", to, "key", kind, "key_type", EVP_PKEY_get0_type_name(key),
                  "key_bits", EVP_PKEY_get_bits(key), "ca", X509_check_ca(c) == 1, "crl",
                  crl_scope(cert), "subject_key_id", ski, "authority_key_id", aki, "spki_sha256",
                  spki, "sha256", whole);
    if (!report) {
        return kl_err_set(err, KL_ERR_MEMORY, "report of a certificate");
    }
    *out = report;
    return KL_OK;
}

static void print_lines(json_t *value, const char *name, int depth)
{
    size_t count = json_is_array(value) ? json_array_size(value) : 0;

    if (name) {
        printf("%*s%s:", depth > 0 ? (depth - 1) * 2 : 0, "", name);
    }
    if (json_is_object(value)) {
        if (name) {
            putchar('\n');
        }
        for (void *i = json_object_iter(value); i; i = json_object_iter_next(value, i)) {
            print_lines(json_object_iter_value(i), json_object_iter_key(i), depth + 1);
        }
    } else if (json_is_array(value)) {
        if (name) {
            printf("%s\n", count > 0 ? "" : " none");
        }
        for (size_t i = 0; i < count; i++) {
            print_lines(json_array_get(value, i), NULL, depth);
            if (i + 1 < count) {
                putchar('\n');
            }
        }
    } else if (json_is_string(value)) {
        printf(" %s\n", json_string_value(value));
    } else if (json_is_integer(value)) {
        printf(" %" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
    } else if (json_is_real(value)) {
        printf(" %.1f\n", json_real_value(value));
    } else if (json_is_null(value)) {
        printf(" -\n"); /* nothing is known; "no" would be an answer */
    } else {
        printf(" %s\n", json_is_true(value) ? "yes" : "no");
    }
}

json_t *kl_report_time(int64_t unix_time)
{
    char text[KL_TIME_TEXT];

    if (unix_time == 0) {
        return json_null();
    }
    kl_time_format(unix_time, text);
    return json_string(text);
}

enum kl_rc kl_report_print(json_t *report, int as_json, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    if (!report) {
        return kl_err_set(err, KL_ERR_MEMORY, "building the report");
    }
    if (!as_json) {
        print_lines(report, NULL, 0);
    } else if (json_dumpf(report, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(REAL_DIGITS)) != 0 ||
               putchar('\n') == EOF) {
        rc = kl_err_set(err, KL_ERR_IO, "cannot write to standard output");
    }
    json_decref(report);
    if (rc == KL_OK && (fflush(stdout) != 0 || ferror(stdout))) {
        rc = kl_err_set(err, KL_ERR_IO, "cannot write to standard output");
    }
    return rc;
}
