/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A peer's certificate: whatever parses must encode to the same bytes and be fit to be named,
 * measured and judged; as its own root it must never pass for a key loader's or a terminal's.
 */
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(X509 *cert)
{
    struct kl_err err = KL_ERR_INIT;
    STACK_OF(X509) *chain = sk_X509_new_null();
    char line[KL_NAME_MAX], serial[KL_SERIAL_MAX + 1] = "", scope[KL_CRL_SCOPE_TEXT];
    enum kl_key_type type;
    unsigned bits;

    if (!chain || !sk_X509_push(chain, cert)) {
        abort();
    }
    kl_cert_subject(cert, line);
    kl_cert_issuer(cert, line);
    if (kl_cert_key_type(cert, &type, &bits, &err) == KL_OK &&
        (type == KL_KEY_RSA ? !kl_rsa_bits_ok(bits)
                            : type != KL_KEY_EC || kl_curve_by_bits(bits) == NULL)) {
        abort();
    }
    if (kl_cert_terminal_serial(X509_get_subject_name(cert), serial, &err) == KL_OK &&
        !kl_serial_ok(serial)) {
        abort();
    }
    if (kl_cert_crl_scope(cert, scope, &err) == KL_OK && strlen(scope) >= KL_CRL_SCOPE_TEXT) {
        abort();
    }
    if (kl_cert_verify_loader(chain, chain, NULL, 1800000000, NULL, &err) == KL_OK ||
        kl_cert_verify_terminal(chain, chain, NULL, 1800000000, serial, &err) == KL_OK) {
        abort();
    }
    sk_X509_free(chain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t *again = NULL;
    X509 *cert = NULL;
    int len;

    if (kl_cert_from_der(data, size, &cert, &err) != KL_OK) {
        if ((err.rc != KL_ERR_CERT && err.rc != KL_ERR_MEMORY) || err.text[0] == '\0') {
            abort();
        }
        return 0;
    }
    len = i2d_X509(cert, &again);
    if (len < 0 || (size_t)len != size || memcmp(again, data, size) != 0) {
        abort();
    }
    judge(cert);
    OPENSSL_free(again);
    X509_free(cert);
    return 0;
}
