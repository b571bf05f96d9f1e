/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hash functions, fetched from OpenSSL once for the process: a fetch for each hash costs more than
 * hashing a label does.
 */
#ifndef KL_PROTO_DIGEST_H
#define KL_PROTO_DIGEST_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

/* "SHA256", "SHA384" or "SHA512", as kl_curve.hash has it: any other name is a mistake of the
 * program's, and aborts. NULL if OpenSSL does not give it (its error queue says why). Never freed.
 * Any thread. */
const EVP_MD *kl_digest(const char *name);

/* The hash of len bytes, by name as above. out holds EVP_MAX_MD_SIZE bytes, or as many as that hash
 * has; out_len may be NULL. Any thread. KL_ERR_INTERNAL, KL_ERR_MEMORY. */
enum kl_rc kl_digest_of(const char *name, const void *in, size_t len, uint8_t *out, size_t *out_len,
                        struct kl_err *err) KL_MUST_CHECK;

#endif
