/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TMK algorithms, how their key check values are computed, and which work key may carry which
 * TMK (PCI PIN v3.1 requirement 21-1; the table of NIST SP 800-57 part 1 as read by payment
 * key services: see docs/security.md, "Strength").
 */
#ifndef KL_PROTO_ALG_H
#define KL_PROTO_ALG_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

/* Values are those of Algorithm in docs/protocol.md. */
enum kl_alg {
    KL_ALG_TDES2 = 1, /* 2-key TDES, 16 bytes */
    KL_ALG_TDES3 = 2, /* 3-key TDES, 24 bytes */
    KL_ALG_AES128 = 3,
    KL_ALG_AES192 = 4,
    KL_ALG_AES256 = 5,
};
#define KL_ALG_COUNT 5

/* Values are those of KcvMethod in docs/protocol.md. */
enum kl_kcv_method {
    KL_KCV_TDES_ZEROS = 1, /* leading bytes of TDES-ECB over 8 zero bytes */
    KL_KCV_AES_CMAC = 2,   /* leading bytes of AES-CMAC over 16 zero bytes (X9.24-1 annex A) */
};
#define KL_KCV_LEN_MIN 3 /* bytes */
#define KL_KCV_LEN_MAX 4
#define KL_KCV_TEXT (KL_KCV_LEN_MAX * 2 + 1) /* as hex, with its NUL */

#define KL_TMK_LEN_MAX 32  /* bytes */
#define KL_WRAP_OVERHEAD 8 /* bytes that RFC 3394 adds */
#define KL_CTMK_LEN_MAX (KL_TMK_LEN_MAX + KL_WRAP_OVERHEAD)

struct kl_alg_info {
    enum kl_alg alg;
    const char *name; /* "tdes2", "tdes3", "aes128", "aes192", "aes256" */
    size_t key_len;   /* bytes */
    int is_aes;
    enum kl_kcv_method kcv_method;
};

const struct kl_alg_info *kl_alg_info(unsigned alg);        /* NULL if unknown */
const struct kl_alg_info *kl_alg_by_name(const char *name); /* NULL if unknown */

/* Bytes of a key of that algorithm under RFC 3394: at most KL_CTMK_LEN_MAX. */
size_t kl_alg_wrapped_len(const struct kl_alg_info *info);

/* Work keys by kind and size. */
enum kl_key_type {
    KL_KEY_RSA = 1, /* bits is the modulus length: see kl_rsa_bits_ok */
};

/* 1 if RSA keys may have that size (2048, 3072 or 4096 bits), else 0. */
int kl_rsa_bits_ok(unsigned bits);

/* KL_OK if a work key of that type and size may carry a TMK of that algorithm, else
 * KL_ERR_STRENGTH with a text that names both and the smallest key that would do.
 * RSA-2048: TDES. RSA-3072 and RSA-4096: also AES-128. */
enum kl_rc kl_alg_strength(enum kl_key_type type, unsigned bits, enum kl_alg alg,
                           struct kl_err *err) KL_MUST_CHECK;

/* Writes a KCV of len bytes (KL_KCV_LEN_MIN to _MAX) as upper-case hex, e.g. "CA3F9B". */
void kl_kcv_format(const uint8_t *kcv, size_t len, char out[KL_KCV_TEXT]);

#endif
