/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Certificate message in front of a terminal: chain and stapled CRL against the roots of the
 * vectors. Nothing but what those roots signed passes, and that to the byte. The same chain as a
 * terminal's is for no loader, and the other way round.
 */
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cert.h"
#include "proto/message.h"
#include "terminal-sim/auth.h"
#include "tests/fuzz/input.h"

#define NOW 1800000000

static STACK_OF(X509) * roots;
/* What the roots have signed, as DER. */
static struct kl_bytes good[6];
static size_t good_count;

static FILE *open_vector(const char *name)
{
    const char *support = getenv("KL_SUPPORT");
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/../data/vector-%s.pem", support ? support : "tests/support",
             name);
    file = fopen(path, "r");
    require(file != NULL);
    return file;
}

static X509 *read_cert(const char *name)
{
    FILE *file = open_vector(name);
    X509 *cert = PEM_read_X509(file, NULL, NULL, NULL);

    fclose(file);
    require(cert != NULL);
    return cert;
}

static void add_good(uint8_t *der, int len)
{
    require(len > 0);
    good[good_count++] = (struct kl_bytes){der, (size_t)len};
}

static void read_crl(void)
{
    FILE *file = open_vector("crl");
    X509_CRL *crl = PEM_read_X509_CRL(file, NULL, NULL, NULL);
    uint8_t *der = NULL;
    int len;

    fclose(file);
    len = i2d_X509_CRL(crl, &der);
    add_good(der, len);
    X509_CRL_free(crl);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const names[] = {"work-2048", "work-3072", "work-p256", "work-p521",
                                        "device-p256"};

    (void)argc;
    (void)argv;
    roots = sk_X509_new_null();
    require(roots && sk_X509_push(roots, read_cert("root")) > 0 &&
            sk_X509_push(roots, read_cert("root-ec")) > 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        X509 *cert = read_cert(names[i]);
        uint8_t *der = NULL;
        int len = i2d_X509(cert, &der);

        add_good(der, len);
        X509_free(cert);
    }
    read_crl();
    return 0;
}

static int is_good(const struct kl_bytes *der)
{
    for (size_t i = 0; i < good_count; i++) {
        if (der->len == good[i].len && memcmp(der->data, good[i].data, der->len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* As the loader looks at the chain of a terminal. */
static void as_terminal(const struct kl_certificate *certificate)
{
    char serial[KL_SERIAL_MAX + 1] = "";
    struct kl_err err = KL_ERR_INIT;
    STACK_OF(X509) *chain = sk_X509_new_null();
    int whole = 1;

    for (size_t i = 0; i < certificate->chain_count; i++) {
        X509 *cert = NULL;

        whole &= kl_cert_from_der(certificate->chain[i].data, certificate->chain[i].len, &cert,
                                  &err) == KL_OK &&
                 sk_X509_push(chain, cert) > 0;
    }
    if (whole && kl_cert_terminal_serial(X509_get_subject_name(sk_X509_value(chain, 0)), serial,
                                         &err) == KL_OK) {
        if (kl_cert_verify_terminal(chain, roots, NULL, NOW, serial, &err) == KL_OK) {
            require(is_good(&certificate->chain[0]));
        } else {
            fuzz_failed_well(err.rc, &err);
        }
    }
    sk_X509_pop_free(chain, X509_free);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_auth_work work = {0};
    struct kl_msg msg;

    if (kl_msg_decode(data, size, &msg, &err) != KL_OK || msg.type != KL_MSG_CERTIFICATE) {
        return 0;
    }
    if (kl_auth_verify(&msg.u.certificate, roots, NOW, &work, &err) == KL_OK) {
        require(work.key != NULL && is_good(&msg.u.certificate.chain[0]));
        require(work.has_crl == (msg.u.certificate.crl.len > 0));
        require(!work.has_crl || is_good(&msg.u.certificate.crl));
        kl_pubkey_free(work.key);
    } else {
        fuzz_failed_well(err.rc, &err);
        require(work.key == NULL);
    }
    as_terminal(&msg.u.certificate);
    return 0;
}
