/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A private key's file for `key import`: what is not encrypted PKCS#8 is refused before anybody is
 * asked for a passphrase, and nothing of the file is quoted. And a request (CSR), PEM as well.
 */
#include <openssl/x509.h>
#include <string.h>

#include "ca/request.h"
#include "pkcs11/pkcs8.h"
#include "tests/fuzz/input.h"
#include "tests/support/pki.h"

static X509 *ca;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct pki pki;

    (void)argc;
    (void)argv;
    pki_make_keys();
    pki_plan(&pki);
    pki_make(&pki);
    ca = X509_dup(pki.root_cert);
    pki_wipe(&pki);
    require(ca != NULL);
    return 0;
}

static void count(const char *name, void *arg)
{
    require(name[0] != '\0');
    (*(unsigned *)arg)++;
}

static void request(const uint8_t *data, size_t size)
{
    struct kl_err err = KL_ERR_INIT;
    X509_REQ *request = NULL;
    unsigned ignored = 0;

    if (kl_request_load(fuzz_file(data, size), &request, &err) != KL_OK) {
        fuzz_failed_well(err.rc, &err);
        return;
    }
    kl_request_each_ignored(request, count, &ignored);
    if (kl_request_check(request, ca, &err) == KL_OK) {
        require(X509_REQ_verify(request, X509_REQ_get0_pubkey(request)) == 1);
        if (kl_request_check_terminal(request, "SN-1", &err) != KL_OK) {
            fuzz_failed_well(err.rc, &err);
        }
    } else {
        fuzz_failed_well(err.rc, &err);
    }
    X509_REQ_free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kl_err err = KL_ERR_INIT;

    if (kl_pkcs8_check((const char *)data, size, &err) != KL_OK) {
        require(err.rc == KL_ERR_INPUT || err.rc == KL_ERR_MEMORY);
        fuzz_failed_well(err.rc, &err);
    } else {
        require(memmem(data, size, "ENCRYPTED", 9) != NULL);
    }
    request(data, size);
    return 0;
}
