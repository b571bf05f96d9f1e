/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What anybody can do with an RSA public key: encrypt to its owner, and verify the owner's
 * signatures. Mechanisms and their parameters are those of docs/protocol.md.
 */
#ifndef KL_PROTO_RSA_H
#define KL_PROTO_RSA_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"

/* RSA-OAEP with that hash, MGF1 with the same, no label. *len is the modulus length.
 * KL_ERR_INTERNAL. */
enum kl_rc kl_rsa_oaep_encrypt(EVP_PKEY *key, enum kl_oaep_hash hash, const uint8_t *in,
                               size_t in_len, uint8_t out[KL_RSA_MAX], size_t *len,
                               struct kl_err *err) KL_MUST_CHECK;

/* RSASSA-PSS, SHA-256, MGF1-SHA-256, a salt of exactly 32 bytes. KL_ERR_VERIFY. */
enum kl_rc kl_rsa_pss_verify(EVP_PKEY *key, const uint8_t *sig, size_t sig_len, const uint8_t *in,
                             size_t in_len, struct kl_err *err) KL_MUST_CHECK;

#endif
