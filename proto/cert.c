/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificates: reading them strictly, and what they say of themselves.
 */
#include "proto/cert.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "proto/cert_impl.h"

enum kl_rc kl_cert_from_der(const uint8_t *der, size_t len, X509 **out, struct kl_err *err)
{
    const unsigned char *p = der;
    unsigned char *again = NULL;
    X509 *cert = NULL;
    enum kl_rc rc;
    int again_len;

    if (len == 0 || len > KL_CERT_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "certificate has %zu bytes: must have 1 to %d", len,
                          KL_CERT_MAX);
    }
    kl_err_openssl_clear();
    cert = d2i_X509(NULL, &p, (long)len);
    if (!cert) {
        return kl_err_openssl(err, KL_ERR_CERT, "d2i_X509", "certificate is malformed");
    }
    /* Encodes it afresh from its fields; without the first call OpenSSL would give back the signed
     * part's bytes as they came. Still as they came are names, booleans, and what extensions and
     * the key hold inside: there the signature alone vouches for the bytes. */
    again_len = i2d_re_X509_tbs(cert, NULL) < 0 ? -1 : i2d_X509(cert, &again);
    if (p != der + len) {
        rc = kl_err_set(err, KL_ERR_CERT, "%zu bytes follow the certificate",
                        (size_t)(der + len - p));
    } else if (again_len < 0) {
        rc = kl_err_openssl(err, KL_ERR_CERT, "i2d_X509", "certificate cannot be encoded again");
    } else if ((size_t)again_len != len || memcmp(again, der, len) != 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "certificate is not DER");
    } else {
        rc = KL_OK;
    }
    OPENSSL_free(again);
    if (rc == KL_OK) {
        *out = cert;
    } else {
        X509_free(cert);
    }
    return rc;
}

enum kl_rc kl_pem_next(BIO *bio, const char *kind, const char *plural, unsigned char **data,
                       long *len, struct kl_err *err)
{
    char *name = NULL, *header = NULL;
    unsigned char *found = NULL;
    long found_len = 0;
    enum kl_rc rc = KL_OK;

    kl_err_openssl_clear();
    if (!PEM_read_bio(bio, &name, &header, &found, &found_len)) {
        if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
            return kl_err_openssl(err, KL_ERR_CERT, "PEM_read_bio", "PEM is damaged");
        }
        kl_err_openssl_clear();
        *data = NULL;
        return KL_OK;
    }
    if (strcmp(name, kind) != 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "holds a \"%s\": only %s here", name, plural);
        OPENSSL_clear_free(found, (size_t)found_len); /* a key may have been put there by mistake */
    } else {
        *data = found;
        *len = found_len;
    }
    OPENSSL_free(name);
    OPENSSL_free(header);
    return rc;
}

static enum kl_rc read_chain(BIO *bio, STACK_OF(X509) * chain, struct kl_err *err)
{
    for (;;) {
        unsigned char *der = NULL;
        X509 *cert = NULL;
        long len = 0;
        enum kl_rc rc = kl_pem_next(bio, PEM_STRING_X509, "certificates belong", &der, &len, err);

        if (rc != KL_OK) {
            return rc;
        }
        if (!der) {
            break;
        }
        rc = kl_cert_from_der(der, (size_t)len, &cert, err);
        OPENSSL_free(der);
        if (rc != KL_OK) {
            return rc;
        }
        if (sk_X509_num(chain) == KL_CHAIN_MAX) {
            X509_free(cert);
            return kl_err_set(err, KL_ERR_CERT, "holds more than %d certificates", KL_CHAIN_MAX);
        }
        if (!sk_X509_push(chain, cert)) {
            X509_free(cert);
            return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a certificate chain");
        }
    }
    if (sk_X509_num(chain) == 0) {
        return kl_err_set(err, KL_ERR_CERT, "holds no certificate in PEM form");
    }
    return KL_OK;
}

enum kl_rc kl_cert_from_pem(const char *text, size_t len, STACK_OF(X509) * *out, struct kl_err *err)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    BIO *bio = len <= KL_CERT_PEM_MAX ? BIO_new_mem_buf(text, (int)len) : NULL;
    enum kl_rc rc;

    if (!bio || !chain) {
        rc = len > KL_CERT_PEM_MAX
                 ? kl_err_set(err, KL_ERR_CERT, "is longer than %d bytes", KL_CERT_PEM_MAX)
                 : kl_err_set(err, KL_ERR_MEMORY, "out of memory for a certificate chain");
        goto out;
    }
    rc = read_chain(bio, chain, err);
    if (rc == KL_OK) {
        *out = chain;
        chain = NULL;
    }
out:
    sk_X509_pop_free(chain, X509_free);
    BIO_free(bio);
    return rc;
}

enum kl_rc kl_cert_key_type(const X509 *cert, enum kl_key_type *type, unsigned *bits,
                            struct kl_err *err)
{
    const EVP_PKEY *key;

    kl_err_openssl_clear();
    key = X509_get0_pubkey(cert);
    if (!key) {
        return kl_err_openssl(err, KL_ERR_CERT, "X509_get0_pubkey",
                              "certificate's public key cannot be read");
    }
    return kl_pubkey_type(key, type, bits, err);
}

static void name_line(const X509_NAME *name, char out[KL_NAME_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());
    int len = -1;

    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        len = BIO_read(bio, out, KL_NAME_MAX - 1);
    }
    out[len > 0 ? len : 0] = '\0';
    BIO_free(bio);
}

void kl_cert_subject(const X509 *cert, char out[KL_NAME_MAX])
{
    name_line(X509_get_subject_name(cert), out);
}

void kl_cert_issuer(const X509 *cert, char out[KL_NAME_MAX])
{
    name_line(X509_get_issuer_name(cert), out);
}

enum kl_rc kl_cert_terminal_serial(const X509_NAME *subject, char out[KL_SERIAL_MAX + 1],
                                   struct kl_err *err)
{
    int at = X509_NAME_get_index_by_NID(subject, NID_serialNumber, -1);
    char serial[KL_SERIAL_MAX + 1];
    const ASN1_STRING *value;
    size_t len;

    if (at < 0) {
        return kl_err_set(err, KL_ERR_CERT,
                          "subject has no serialNumber: it would be the "
                          "terminal's serial");
    }
    if (X509_NAME_get_index_by_NID(subject, NID_serialNumber, at) >= 0) {
        return kl_err_set(err, KL_ERR_CERT, "subject has several serialNumbers: must have one");
    }
    value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    len = (size_t)ASN1_STRING_length(value);
    if ((ASN1_STRING_type(value) != V_ASN1_PRINTABLESTRING &&
         ASN1_STRING_type(value) != V_ASN1_UTF8STRING) ||
        len > KL_SERIAL_MAX) {
        return kl_err_set(err, KL_ERR_CERT,
                          "subject's serialNumber is not a string of at most %d characters",
                          KL_SERIAL_MAX);
    }
    memcpy(serial, ASN1_STRING_get0_data(value), len);
    serial[len] = '\0';
    if (strlen(serial) != len || !kl_serial_ok(serial)) {
        return kl_err_set(err, KL_ERR_CERT, "subject's serialNumber is no terminal's serial");
    }
    memcpy(out, serial, len + 1);
    return KL_OK;
}

int kl_dist_point_scope(const DIST_POINT_NAME *name, char out[KL_CRL_SCOPE_TEXT])
{
    const GENERAL_NAME *full;
    const unsigned char *text;
    int len;

    if (!name || name->type != 0 || sk_GENERAL_NAME_num(name->name.fullname) != 1) {
        return 0;
    }
    full = sk_GENERAL_NAME_value(name->name.fullname, 0);
    if (full->type != GEN_URI) {
        return 0;
    }
    text = ASN1_STRING_get0_data(full->d.uniformResourceIdentifier);
    len = ASN1_STRING_length(full->d.uniformResourceIdentifier);
    if (len < 1 || len >= KL_CRL_SCOPE_TEXT) {
        return 0;
    }
    for (int i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return 0;
        }
    }
    memcpy(out, text, (size_t)len);
    out[len] = '\0';
    return 1;
}

enum kl_rc kl_cert_crl_scope(const X509 *cert, char out[KL_CRL_SCOPE_TEXT], struct kl_err *err)
{
    CRL_DIST_POINTS *points = NULL;
    const DIST_POINT *point;
    int ok = 0;

    if (X509_get_ext_by_NID(cert, NID_crl_distribution_points, -1) < 0) {
        out[0] = '\0';
        return KL_OK;
    }
    points = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);
    if (points && sk_DIST_POINT_num(points) == 1) {
        point = sk_DIST_POINT_value(points, 0);
        ok = !point->reasons && !point->CRLissuer && kl_dist_point_scope(point->distpoint, out);
    }
    CRL_DIST_POINTS_free(points);
    kl_err_openssl_clear();
    return ok ? KL_OK
              : kl_err_set(err, KL_ERR_CERT,
                           "cRLDistributionPoints is not one point with one URI and nothing else");
}
