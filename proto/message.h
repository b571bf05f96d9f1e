/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The messages of docs/protocol.md as C values, and their strict DER coding (OpenSSL ASN.1
 * templates). Decoding accepts exactly one DER value with nothing after it, every field within
 * the bounds below; whatever would encode differently is refused.
 */
#ifndef KL_PROTO_MESSAGE_H
#define KL_PROTO_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/alg.h"
#include "proto/err.h"
#include "proto/suite.h"

#define KL_PROTOCOL_VERSION 1
#define KL_MSG_MAX 16384          /* bytes of DER in one message */
#define KL_SERIAL_MAX 32          /* characters A-Z a-z 0-9 '-' '.' '_', at least 1 */
#define KL_OFFER_MAX 8            /* suites or algorithms in one Hello */
#define KL_CHAIN_MAX 4            /* certificates in one chain, work certificate first */
#define KL_CERT_MAX 4096          /* bytes of DER in one certificate */
#define KL_RSA_MAX 512            /* bytes: RSA-4096 */
#define KL_ERROR_TEXT_MAX 128     /* bytes of UTF-8 */
#define KL_RETRY_AFTER_MAX 86400  /* seconds */
#define KL_VERSION_MAX 0x7fffffff /* TMK version number, from 1 */

/* Tags of the Message CHOICE. */
enum kl_msg_type {
    KL_MSG_HELLO = 0,
    KL_MSG_CERTIFICATE = 1,
    KL_MSG_RANDOMS = 2,
    KL_MSG_MASTER_KEY = 3,
    KL_MSG_LOADED = 4,
    KL_MSG_FAILED = 5,
    KL_MSG_DONE = 6,
    KL_MSG_CONFIRM = 7,
    KL_MSG_ERROR = 8,
};
#define KL_MSG_TYPE_COUNT 9
const char *kl_msg_name(unsigned type); /* "Hello", ...; "?" if unknown */

/* OAEP hash and MGF1 hash, both the same; values are those of OaepHash. */
enum kl_oaep_hash {
    KL_OAEP_SHA1 = 1,
    KL_OAEP_SHA256 = 2,
};

/* What the TMK may do; values are those of KeyUsage. */
enum kl_usage {
    KL_USAGE_KEK = 1, /* wraps the terminal's working keys, nothing else (TR-31 usage K0) */
};

struct kl_bytes {
    const uint8_t *data; /* borrowed */
    size_t len;
};

struct kl_hello {
    uint32_t version; /* KL_PROTOCOL_VERSION; others decode, so that the receiver can refuse */
    size_t suite_count;
    uint8_t suites[KL_OFFER_MAX]; /* preferred first; unknown values are kept */
    size_t alg_count;
    uint8_t algs[KL_OFFER_MAX];
    char serial[KL_SERIAL_MAX + 1];        /* SN */
    char pinpad_serial[KL_SERIAL_MAX + 1]; /* SNpinpad */
};

struct kl_certificate {
    uint8_t suite; /* unknown values decode, so that the receiver can refuse */
    uint8_t oaep_hash;
    uint8_t nonce[KL_HASH_LEN]; /* fresh for each session */
    size_t chain_count;
    struct kl_bytes chain[KL_CHAIN_MAX]; /* X.509 DER, AcquireWCRT first, root left out */
};

struct kl_randoms { /* C_rnd1_rnd2 of hardened-rsa */
    size_t c_rnd1_len;
    uint8_t c_rnd1[KL_RSA_MAX]; /* RSA-OAEP(AcquireWCRT_Pu, Rnd1) */
    uint8_t iv[KL_GCM_IV_LEN];
    uint8_t c_rnd2[KL_RND2_LEN + KL_GCM_TAG_LEN]; /* AES-256-GCM(K_nonce, iv, T0, Rnd2) */
};

struct kl_tbs { /* what AcquireWCRT_Prk signs */
    uint8_t t1[KL_HASH_LEN];
    uint8_t rnd2[KL_RND2_LEN];
    size_t ctmk_len;
    uint8_t ctmk[KL_CTMK_LEN_MAX];
    char serial[KL_SERIAL_MAX + 1];
    uint8_t usage;
    uint8_t alg;
    uint32_t version; /* of the TMK, from 1 */
    uint8_t kcv_method;
    size_t kcv_len;
    uint8_t kcv[KL_KCV_LEN_MAX];
};

struct kl_master_key { /* C_ctmk_rnd2 */
    struct kl_tbs tbs;
    struct kl_bytes tbs_der; /* the signed bytes: set by decode (borrowed from the input),
                                and needed by encode */
    size_t sig_len;
    uint8_t sig[KL_RSA_MAX]; /* RSASSA-PSS-SHA-256, MGF1-SHA-256, salt 32 bytes, over tbs_der */
};

struct kl_loaded {
    size_t kcv_len;
    uint8_t kcv[KL_KCV_LEN_MAX]; /* as the PIN pad computed it */
    uint8_t mac[KL_MAC_LEN];     /* AES-CMAC(K_ack, kl_suite_ack_input) */
};

struct kl_failed {
    uint32_t reason; /* enum kl_wire; a hint for the loader's log, never authenticated */
};

struct kl_done {
    uint8_t verdict; /* enum kl_verdict */
    uint32_t tmk_version;
    uint8_t mac[KL_MAC_LEN]; /* AES-CMAC(K_done, kl_suite_done_input) */
};

struct kl_confirm {
    uint32_t version; /* protocol version */
    char serial[KL_SERIAL_MAX + 1];
    char pinpad_serial[KL_SERIAL_MAX + 1];
    uint32_t tmk_version;
    struct kl_loaded loaded; /* exactly as it was or would have been sent */
};

struct kl_error_msg {
    uint32_t code;                    /* enum kl_wire; others decode */
    uint32_t retry_after;             /* seconds; 0 = do not say */
    char text[KL_ERROR_TEXT_MAX + 1]; /* printable ASCII once decoded */
};

struct kl_msg {
    enum kl_msg_type type;
    union {
        struct kl_hello hello;
        struct kl_certificate certificate;
        struct kl_randoms randoms;
        struct kl_master_key master_key;
        struct kl_loaded loaded;
        struct kl_failed failed;
        struct kl_done done;
        struct kl_confirm confirm;
        struct kl_error_msg error;
    } u;
};

/* Decodes one message of len bytes (1 to KL_MSG_MAX). Slices in *out borrow from der, which must
 * outlive it. KL_ERR_PROTOCOL says what is wrong; *out is written only on success. */
enum kl_rc kl_msg_decode(const uint8_t *der, size_t len, struct kl_msg *out,
                         struct kl_err *err) KL_MUST_CHECK;

/* Encodes into out (KL_MSG_MAX bytes), writing *out_len. KL_ERR_INTERNAL if a field is out of
 * bounds (a caller's mistake), KL_ERR_MEMORY. */
enum kl_rc kl_msg_encode(const struct kl_msg *msg, uint8_t out[KL_MSG_MAX], size_t *out_len,
                         struct kl_err *err) KL_MUST_CHECK;

/* Encodes the part of MasterKey that is signed. out holds KL_TBS_MAX bytes. */
#define KL_TBS_MAX 512
enum kl_rc kl_tbs_encode(const struct kl_tbs *tbs, uint8_t out[KL_TBS_MAX], size_t *out_len,
                         struct kl_err *err) KL_MUST_CHECK;

/* 1 if s is a well-formed serial (1 to KL_SERIAL_MAX of A-Z a-z 0-9 - . _), else 0. */
int kl_serial_ok(const char *s);

/* KL_ERR_INPUT with a text that quotes the rule if text is no well-formed serial. what says which
 * serial it is, e.g. "PIN pad serial". */
enum kl_rc kl_serial_check(const char *what, const char *text, struct kl_err *err) KL_MUST_CHECK;

#endif
