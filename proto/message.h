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
#define KL_CRL_MAX 8192           /* bytes of DER of a stapled CRL */
#define KL_ANCHOR_MAX 4           /* roots that a terminal names in Hello */
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
    KL_MSG_SIGN_IN = 9,
    KL_MSG_WORKING_KEYS = 10,
};
#define KL_MSG_TYPE_COUNT 11
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
    /* Which roots the terminal trusts: SHA-256 of each one's SubjectPublicKeyInfo, so that a loader
     * that has work certificates under several picks one. 0 = not said. */
    size_t anchor_count;
    uint8_t anchors[KL_ANCHOR_MAX][KL_HASH_LEN];
    /* The terminal's own certificate and what is above it, root left out; 0 = it has none. */
    size_t chain_count;
    struct kl_bytes chain[KL_CHAIN_MAX];
};

struct kl_certificate {
    uint8_t suite;              /* unknown values decode, so that the receiver can refuse */
    uint8_t oaep_hash;          /* 1 in hardened-ec, where it means nothing */
    uint8_t nonce[KL_HASH_LEN]; /* fresh for each session */
    size_t chain_count;
    struct kl_bytes chain[KL_CHAIN_MAX]; /* X.509 DER, AcquireWCRT first, root left out */
    struct kl_bytes crl; /* DER of AcquireWCRT's issuer's CRL, stapled; len 0 = none */
};

/* C_rnd1_rnd2. Which suite it is of shows in which fields are there; one that is not is all zero
 * with length 0.
 *   hardened-rsa  c_rnd1 = RSA-OAEP(AcquireWCRT_Pu, Rnd1); iv; c_rnd2 = GCM(K_nonce, iv, T0, Rnd2)
 *   classic       c_rnd1 = RSA-OAEP(AcquireWCRT_Pu, Rnd1 || Rnd2)
 *   hardened-ec   point = the ephemeral key; c_rnd1 = AES-KW(K_ecies, Rnd1); iv; c_rnd2 */
#define KL_SIG_MAX KL_RSA_MAX /* bytes: RSA-4096; ECDSA is r || s, at most 132 */
struct kl_randoms {
    enum kl_suite suite; /* set by decode, needed by encode */
    size_t point_len;
    uint8_t point[KL_EC_POINT_MAX]; /* uncompressed */
    size_t c_rnd1_len;
    uint8_t c_rnd1[KL_RSA_MAX];
    uint8_t iv[KL_GCM_IV_LEN];
    uint8_t c_rnd2[KL_RND2_LEN + KL_GCM_TAG_LEN];
    /* The device key's signature over kl_suite_proof_input (kl_pubkey_verify); 0 = none. */
    size_t sig_len;
    uint8_t sig[KL_SIG_MAX];
};

/* What AcquireWCRT_Prk signs. In classic rnd2 and ctmk are not in here but in the signature, which
 * gives them back (ctmk_len 0, rnd2 zero in the encoding; the terminal fills them in once it has
 * recovered them), and this is not signed but has a MAC. */
struct kl_tbs {
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
    /* hardened-rsa: RSASSA-PSS-SHA-256, MGF1-SHA-256, salt 32 bytes, over tbs_der.
     * hardened-ec: ECDSA with the curve's SHA-2 over tbs_der, as r || s.
     * classic: RSASSA-PKCS1-v1_5 with message recovery of Ctmk || Rnd2' (CKM_RSA_PKCS). */
    uint8_t sig[KL_SIG_MAX];
    uint8_t mac[KL_MAC_LEN]; /* classic: AES-CMAC(K_keys, tbs_der); else zero, and not sent */
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

/* ---- Sign-in: working keys under the TMK ---- */

struct kl_sign_in {
    uint32_t version; /* protocol version */
    char serial[KL_SERIAL_MAX + 1];
    char pinpad_serial[KL_SERIAL_MAX + 1];
    uint32_t tmk_version;       /* of the terminal's TMK in use */
    uint8_t format;             /* enum kl_key_format */
    uint8_t nonce[KL_HASH_LEN]; /* fresh for each sign-in */
};

/* How the working keys travel; values are those of KeyFormat. */
enum kl_key_format {
    KL_FORMAT_KEYS = 1,    /* PIK and MAK each as a key of the TMK's algorithm */
    KL_FORMAT_FIELD62 = 2, /* TDES: the 40 bytes of proto/field62.h, MAK of single length */
};

/* A key under the TMK: AES key wrap (RFC 3394) under an AES TMK, TDES-ECB under a TDES one. */
struct kl_wrapped_key {
    size_t len; /* AES: 24, 32 or 40; TDES: 16 or 24 */
    uint8_t data[KL_CTMK_LEN_MAX];
    size_t kcv_len;
    uint8_t kcv[KL_KCV_LEN_MAX];
};

/* The part that K_keys authenticates. KL_FORMAT_KEYS: pik and mak; KL_FORMAT_FIELD62: field62, and
 * both lengths 0. */
#define KL_FIELD62_LEN 40
struct kl_working_keys {
    uint32_t tmk_version;
    uint8_t alg;                        /* of PIK and MAK: the TMK's own */
    size_t c_session_len;               /* kl_suite_c_session_len */
    uint8_t c_session[KL_CTMK_LEN_MAX]; /* what the session key is under the TMK */
    struct kl_wrapped_key pik, mak;
    int has_field62;
    uint8_t field62[KL_FIELD62_LEN];
    struct kl_bytes body_der; /* the bytes that mac covers: as tbs_der of kl_master_key */
    uint8_t mac[KL_MAC_LEN];  /* AES-CMAC(K_keys, SHA-256(SignIn || body_der)) */
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
        struct kl_sign_in sign_in;
        struct kl_working_keys working_keys;
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
/* The same into capacity bytes: KL_ERR_INTERNAL if it takes more. */
enum kl_rc kl_msg_encode_into(const struct kl_msg *msg, uint8_t *out, size_t capacity,
                              size_t *out_len, struct kl_err *err) KL_MUST_CHECK;

/* Encodes the part of MasterKey that is signed. out holds KL_TBS_MAX bytes. */
#define KL_TBS_MAX 512
#define KL_MASTER_KEY_MAX (KL_TBS_MAX + KL_SIG_MAX + 64) /* bytes of DER of the whole message */
enum kl_rc kl_tbs_encode(const struct kl_tbs *tbs, uint8_t out[KL_TBS_MAX], size_t *out_len,
                         struct kl_err *err) KL_MUST_CHECK;

/* Encodes the part of WorkingKeys that is authenticated. */
#define KL_KEYS_BODY_MAX 512
#define KL_WORKING_KEYS_MAX (KL_KEYS_BODY_MAX + 64) /* bytes of DER of the whole message */
enum kl_rc kl_keys_body_encode(const struct kl_working_keys *keys, uint8_t out[KL_KEYS_BODY_MAX],
                               size_t *out_len, struct kl_err *err) KL_MUST_CHECK;

/* 1 if s is a well-formed serial (1 to KL_SERIAL_MAX of A-Z a-z 0-9 - . _), else 0. */
int kl_serial_ok(const char *s);

/* KL_ERR_INPUT with a text that quotes the rule if text is no well-formed serial. what says which
 * serial it is, e.g. "PIN pad serial". */
enum kl_rc kl_serial_check(const char *what, const char *text, struct kl_err *err) KL_MUST_CHECK;

#endif
