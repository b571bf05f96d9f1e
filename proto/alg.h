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

/* Public keys, work keys and the like, by kind and size. */
enum kl_key_type {
    KL_KEY_RSA = 1, /* bits is the modulus length: see kl_rsa_bits_ok */
    KL_KEY_EC = 2,  /* bits is the size of the field: 256 (P-256), 384 (P-384) or 521 (P-521) */
    KL_KEY_AES = 3, /* bits is the key length: 128, 192 or 256. A zone key; no work key */
};

/* 1 if RSA keys may have that size (2048, 3072 or 4096 bits), else 0. */
int kl_rsa_bits_ok(unsigned bits);

/* The NIST curves that work keys may have; values for `bits` of KL_KEY_EC. */
struct kl_curve {
    unsigned bits;
    int nid;            /* OpenSSL's */
    const char *name;   /* "P-256", "P-384", "P-521" */
    const char *group;  /* OpenSSL's OSSL_PKEY_PARAM_GROUP_NAME: "P-256", ... */
    size_t field_len;   /* bytes of a coordinate, and of each half of a signature: 32, 48, 66 */
    size_t point_len;   /* bytes of an uncompressed point: 1 + 2 * field_len */
    const char *hash;   /* OpenSSL's name of the SHA-2 that ECDSA on it uses: "SHA256", ... */
    const uint8_t *oid; /* DER of the namedCurve OBJECT IDENTIFIER: CKA_EC_PARAMS */
    size_t oid_len;
};
const struct kl_curve *kl_curve_by_bits(unsigned bits); /* NULL if unknown */
const struct kl_curve *kl_curve_by_nid(int nid);        /* NULL if unknown */
#define KL_EC_FIELD_MAX 66                              /* bytes: P-521 */
#define KL_EC_POINT_MAX 133                             /* bytes: P-521, uncompressed */

/* A key's kind for people and command lines: "RSA-3072", "P-384", "AES-256". out holds
 * KL_KEY_NAME_TEXT bytes. */
#define KL_KEY_NAME_TEXT 16
void kl_key_name(enum kl_key_type type, unsigned bits, char out[KL_KEY_NAME_TEXT]);
/* The reverse, in any case, RSA also as "rsa3072", curves also as "p384". KL_ERR_INPUT lists what
 * there is. Only asymmetric keys. */
enum kl_rc kl_key_parse(const char *text, enum kl_key_type *type, unsigned *bits,
                        struct kl_err *err) KL_MUST_CHECK;

/* KL_OK if a key of that type and size may carry a TMK of that algorithm, else KL_ERR_STRENGTH
 * with a text that names both and the smallest keys of that kind that would do. RSA-2048: TDES.
 * RSA-3072, RSA-4096, P-256, AES-128: also AES-128. P-384, AES-192: also AES-192. P-521, AES-256:
 * all. */
enum kl_rc kl_alg_strength(enum kl_key_type type, unsigned bits, enum kl_alg alg,
                           struct kl_err *err) KL_MUST_CHECK;

/* Writes a KCV of len bytes (KL_KCV_LEN_MIN to _MAX) as upper-case hex, e.g. "CA3F9B". */
void kl_kcv_format(const uint8_t *kcv, size_t len, char out[KL_KCV_TEXT]);

#endif
