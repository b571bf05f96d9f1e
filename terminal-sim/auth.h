/* SPDX-License-Identifier: BSD-2-Clause */
/* Module 101, authentication (S4): is this AcquireWCRT a key loader's of our acquirer? */
#ifndef KL_TERMINAL_SIM_AUTH_H
#define KL_TERMINAL_SIM_AUTH_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <time.h>

#include "proto/cert.h"
#include "proto/err.h"
#include "proto/message.h"

struct kl_auth_work {
    EVP_PKEY *key; /* AcquireWCRT_Pu; owned: EVP_PKEY_free */
    enum kl_key_type type;
    unsigned bits;
    char subject[KL_NAME_MAX];
    char anchor[KL_NAME_MAX]; /* subject of the root that it chains to */
    int has_crl;              /* 1: a CRL was stapled, and says that it is not revoked */
};

/* Verifies the chain in msg, and the CRL that is stapled to it, against `roots` (AcquireRCRT, 1 to
 * KL_ANCHOR_MAX, the only trust anchors; borrowed) at `now`, as kl_cert_verify_loader, and extracts
 * AcquireWCRT_Pu. KL_ERR_CERT says which check failed, KL_ERR_REVOKED. */
enum kl_rc kl_auth_verify(const struct kl_certificate *msg, STACK_OF(X509) * roots, time_t now,
                          struct kl_auth_work *out, struct kl_err *err) KL_MUST_CHECK;

#endif
