/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates from files. */
#include "conf/certfile.h"

#include <stdlib.h>

#include "conf/cli.h"
#include "proto/cert.h"

enum kl_rc kl_cert_load_pem(const char *path, STACK_OF(X509) * *out, struct kl_err *err)
{
    char *text = NULL;
    size_t len = 0;
    enum kl_rc rc = kl_file_read(path, KL_CERT_PEM_MAX, &text, &len, err);

    if (rc == KL_OK) {
        rc = kl_cert_from_pem(text, len, out, err);
        if (rc != KL_OK) {
            (void)kl_err_context(err, "certificate file %s", path);
        }
    }
    free(text);
    return rc;
}

enum kl_rc kl_cert_load_one(const char *path, X509 **out, struct kl_err *err)
{
    STACK_OF(X509) *chain = NULL;
    enum kl_rc rc = kl_cert_load_pem(path, &chain, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (sk_X509_num(chain) == 1) {
        *out = sk_X509_pop(chain);
    } else {
        rc = kl_err_set(err, KL_ERR_CERT, "%s holds %d certificates: must hold one alone", path,
                        sk_X509_num(chain));
    }
    sk_X509_pop_free(chain, X509_free);
    return rc;
}
