/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to message*.c: the ASN.1 module of docs/protocol.md as OpenSSL sees it (every item is
 * the C image of the type of that name), and the bounds that both directions check.
 */
#ifndef KL_PROTO_MESSAGE_IMPL_H
#define KL_PROTO_MESSAGE_IMPL_H

#include <openssl/asn1.h>
#include <openssl/safestack.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"

DEFINE_STACK_OF(ASN1_OCTET_STRING) /* the one string type that OpenSSL has no stack of */

struct kl_asn1_hello {
    uint32_t version;
    STACK_OF(ASN1_INTEGER) * suites;
    STACK_OF(ASN1_INTEGER) * algs;
    ASN1_IA5STRING *serial;
    ASN1_IA5STRING *pinpad_serial;
    STACK_OF(ASN1_OCTET_STRING) * anchors; /* OPTIONAL */
    STACK_OF(ASN1_TYPE) * chain;           /* OPTIONAL; as in kl_asn1_certificate */
};

struct kl_asn1_certificate {
    uint32_t suite;
    uint32_t oaep_hash;
    ASN1_OCTET_STRING *nonce;
    STACK_OF(ASN1_TYPE) * chain; /* of V_ASN1_SEQUENCE: whole certificates, byte for byte */
    ASN1_TYPE *crl;              /* OPTIONAL; V_ASN1_SEQUENCE too */
};

struct kl_asn1_randoms {
    ASN1_OCTET_STRING *c_rnd1;
    ASN1_OCTET_STRING *point; /* OPTIONAL, like all that follow */
    ASN1_OCTET_STRING *iv;
    ASN1_OCTET_STRING *c_rnd2;
    ASN1_OCTET_STRING *sig;
};

struct kl_asn1_tbs {
    ASN1_OCTET_STRING *t1;
    ASN1_OCTET_STRING *rnd2; /* OPTIONAL: both or neither */
    ASN1_OCTET_STRING *ctmk; /* OPTIONAL */
    ASN1_IA5STRING *serial;
    uint32_t usage;
    uint32_t alg;
    uint32_t version;
    uint32_t kcv_method;
    ASN1_OCTET_STRING *kcv;
};

struct kl_asn1_master_key {
    struct kl_asn1_tbs *tbs;
    ASN1_OCTET_STRING *sig;
    ASN1_OCTET_STRING *mac; /* OPTIONAL: just where tbs has no ctmk */
};

struct kl_asn1_loaded {
    ASN1_OCTET_STRING *kcv;
    ASN1_OCTET_STRING *mac;
};

struct kl_asn1_failed {
    uint32_t reason;
};

struct kl_asn1_done {
    uint32_t verdict;
    uint32_t tmk_version;
    ASN1_OCTET_STRING *mac;
};

struct kl_asn1_confirm {
    uint32_t version;
    ASN1_IA5STRING *serial;
    ASN1_IA5STRING *pinpad_serial;
    uint32_t tmk_version;
    struct kl_asn1_loaded *loaded;
};

struct kl_asn1_error {
    uint32_t code;
    uint32_t retry_after;
    ASN1_UTF8STRING *text;
};

struct kl_asn1_sign_in {
    uint32_t version;
    ASN1_IA5STRING *serial;
    ASN1_IA5STRING *pinpad_serial;
    uint32_t tmk_version;
    uint32_t format;
    ASN1_OCTET_STRING *nonce;
};

struct kl_asn1_wrapped_key {
    ASN1_OCTET_STRING *data;
    ASN1_OCTET_STRING *kcv;
};

struct kl_asn1_keys_body {
    uint32_t tmk_version;
    uint32_t alg;
    ASN1_OCTET_STRING *c_session;
    struct kl_asn1_wrapped_key *pik; /* OPTIONAL: both, or field62 */
    struct kl_asn1_wrapped_key *mak; /* OPTIONAL */
    ASN1_OCTET_STRING *field62;      /* OPTIONAL */
};

struct kl_asn1_working_keys {
    struct kl_asn1_keys_body *body;
    ASN1_OCTET_STRING *mac;
};

/* MasterKey and WorkingKeys on their way out: the authenticated bytes as they are. */
struct kl_asn1_sealed {
    ASN1_TYPE *body;          /* of V_ASN1_SEQUENCE */
    ASN1_OCTET_STRING *proof; /* signature or MAC */
    ASN1_OCTET_STRING *mac;   /* OPTIONAL; as in kl_asn1_master_key */
};

struct kl_asn1_msg {
    int type; /* enum kl_msg_type: alternatives stand in the order of their tags */
    union {
        struct kl_asn1_hello *hello;
        struct kl_asn1_certificate *certificate;
        struct kl_asn1_randoms *randoms;
        struct kl_asn1_master_key *master_key;
        struct kl_asn1_loaded *loaded;
        struct kl_asn1_failed *failed;
        struct kl_asn1_done *done;
        struct kl_asn1_confirm *confirm;
        struct kl_asn1_error *error;
        struct kl_asn1_sign_in *sign_in;
        struct kl_asn1_working_keys *working_keys;
    } u;
};

DECLARE_ASN1_ITEM(kl_asn1_hello)
DECLARE_ASN1_ITEM(kl_asn1_certificate)
DECLARE_ASN1_ITEM(kl_asn1_randoms)
DECLARE_ASN1_ITEM(kl_asn1_tbs)
DECLARE_ASN1_ITEM(kl_asn1_master_key)
DECLARE_ASN1_ITEM(kl_asn1_loaded)
DECLARE_ASN1_ITEM(kl_asn1_failed)
DECLARE_ASN1_ITEM(kl_asn1_done)
DECLARE_ASN1_ITEM(kl_asn1_confirm)
DECLARE_ASN1_ITEM(kl_asn1_error)
DECLARE_ASN1_ITEM(kl_asn1_sign_in)
DECLARE_ASN1_ITEM(kl_asn1_wrapped_key)
DECLARE_ASN1_ITEM(kl_asn1_keys_body)
DECLARE_ASN1_ITEM(kl_asn1_working_keys)
DECLARE_ASN1_ITEM(kl_asn1_sealed)
DECLARE_ASN1_ITEM(kl_asn1_msg)

/* The item by which a type is encoded; aborts on a value that is no type. */
const ASN1_ITEM *kl_msg_item(enum kl_msg_type type);

/* A check that remembers the first refusal; what follows it is ignored. fail is what a refusal
 * means here: KL_ERR_PROTOCOL when decoding, KL_ERR_INTERNAL when encoding. */
struct kl_check {
    enum kl_rc fail;
    enum kl_rc rc; /* KL_OK so far, or what the first refusal returned */
    struct kl_err *err;
};
void kl_check_refuse(struct kl_check *check, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The bounds of message.h on every field of a C value. */
void kl_tbs_check(struct kl_check *check, const struct kl_tbs *tbs);
void kl_keys_body_check(struct kl_check *check, const struct kl_working_keys *keys);
void kl_msg_check(struct kl_check *check, const struct kl_msg *msg);

#endif
