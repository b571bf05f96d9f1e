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
};

/* Verifies the chain in msg against `root` (AcquireRCRT, the only trust anchor) at `now` and
 * extracts AcquireWCRT_Pu. KL_ERR_CERT says which check failed. */
enum kl_rc kl_auth_verify(const struct kl_certificate *msg, X509 *root, time_t now,
                          struct kl_auth_work *out, struct kl_err *err) KL_MUST_CHECK;

#endif
