/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ASN.1 module of docs/protocol.md as OpenSSL templates. A member's position here is its
 * position on the wire.
 */
#include <openssl/asn1t.h>
#include <stdlib.h>

#include "proto/message_impl.h"

const ASN1_ITEM *kl_msg_item(enum kl_msg_type type)
{
    switch (type) {
    case KL_MSG_HELLO:
        return ASN1_ITEM_rptr(kl_asn1_hello);
    case KL_MSG_CERTIFICATE:
        return ASN1_ITEM_rptr(kl_asn1_certificate);
    case KL_MSG_RANDOMS:
        return ASN1_ITEM_rptr(kl_asn1_randoms);
    case KL_MSG_MASTER_KEY:
        return ASN1_ITEM_rptr(kl_asn1_master_key);
    case KL_MSG_LOADED:
        return ASN1_ITEM_rptr(kl_asn1_loaded);
    case KL_MSG_FAILED:
        return ASN1_ITEM_rptr(kl_asn1_failed);
    case KL_MSG_DONE:
        return ASN1_ITEM_rptr(kl_asn1_done);
    case KL_MSG_CONFIRM:
        return ASN1_ITEM_rptr(kl_asn1_confirm);
    case KL_MSG_ERROR:
        return ASN1_ITEM_rptr(kl_asn1_error);
    }
    abort(); /* callers have checked the type */
}

/* INTEGER (0..4294967295) held in place; message.c narrows the range. */
#define NUMBER(type, field) ASN1_EMBED(type, field, UINT32)

/* To the end: clang-format takes these macros for nested blocks. */
/* clang-format off */
ASN1_SEQUENCE(kl_asn1_hello) = {
    NUMBER(struct kl_asn1_hello, version),
    ASN1_SEQUENCE_OF(struct kl_asn1_hello, suites, ASN1_INTEGER),
    ASN1_SEQUENCE_OF(struct kl_asn1_hello, algs, ASN1_INTEGER),
    ASN1_SIMPLE(struct kl_asn1_hello, serial, ASN1_IA5STRING),
    ASN1_SIMPLE(struct kl_asn1_hello, pinpad_serial, ASN1_IA5STRING),
} ASN1_SEQUENCE_END_name(struct kl_asn1_hello, kl_asn1_hello)

ASN1_SEQUENCE(kl_asn1_certificate) = {
    NUMBER(struct kl_asn1_certificate, suite),
    NUMBER(struct kl_asn1_certificate, oaep_hash),
    ASN1_SIMPLE(struct kl_asn1_certificate, nonce, ASN1_OCTET_STRING),
    ASN1_SEQUENCE_OF(struct kl_asn1_certificate, chain, ASN1_ANY),
} ASN1_SEQUENCE_END_name(struct kl_asn1_certificate, kl_asn1_certificate)

ASN1_SEQUENCE(kl_asn1_randoms) = {
    ASN1_SIMPLE(struct kl_asn1_randoms, c_rnd1, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct kl_asn1_randoms, iv, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct kl_asn1_randoms, c_rnd2, ASN1_OCTET_STRING),
} ASN1_SEQUENCE_END_name(struct kl_asn1_randoms, kl_asn1_randoms)

ASN1_SEQUENCE(kl_asn1_tbs) = {
    ASN1_SIMPLE(struct kl_asn1_tbs, t1, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct kl_asn1_tbs, rnd2, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct kl_asn1_tbs, ctmk, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct kl_asn1_tbs, serial, ASN1_IA5STRING),
    NUMBER(struct kl_asn1_tbs, usage),
    NUMBER(struct kl_asn1_tbs, alg),
    NUMBER(struct kl_asn1_tbs, version),
    NUMBER(struct kl_asn1_tbs, kcv_method),
    ASN1_SIMPLE(struct kl_asn1_tbs, kcv, ASN1_OCTET_STRING),
} ASN1_SEQUENCE_END_name(struct kl_asn1_tbs, kl_asn1_tbs)

ASN1_SEQUENCE(kl_asn1_master_key) = {
    ASN1_SIMPLE(struct kl_asn1_master_key, tbs, kl_asn1_tbs),
    ASN1_SIMPLE(struct kl_asn1_master_key, sig, ASN1_OCTET_STRING),
} ASN1_SEQUENCE_END_name(struct kl_asn1_master_key, kl_asn1_master_key)

ASN1_SEQUENCE(kl_asn1_loaded) = {
    ASN1_SIMPLE(struct kl_asn1_loaded, kcv, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct kl_asn1_loaded, mac, ASN1_OCTET_STRING),
} ASN1_SEQUENCE_END_name(struct kl_asn1_loaded, kl_asn1_loaded)

ASN1_SEQUENCE(kl_asn1_failed) = {
    NUMBER(struct kl_asn1_failed, reason),
} ASN1_SEQUENCE_END_name(struct kl_asn1_failed, kl_asn1_failed)

ASN1_SEQUENCE(kl_asn1_done) = {
    NUMBER(struct kl_asn1_done, verdict),
    NUMBER(struct kl_asn1_done, tmk_version),
    ASN1_SIMPLE(struct kl_asn1_done, mac, ASN1_OCTET_STRING),
} ASN1_SEQUENCE_END_name(struct kl_asn1_done, kl_asn1_done)

ASN1_SEQUENCE(kl_asn1_confirm) = {
    NUMBER(struct kl_asn1_confirm, version),
    ASN1_SIMPLE(struct kl_asn1_confirm, serial, ASN1_IA5STRING),
    ASN1_SIMPLE(struct kl_asn1_confirm, pinpad_serial, ASN1_IA5STRING),
    NUMBER(struct kl_asn1_confirm, tmk_version),
    ASN1_SIMPLE(struct kl_asn1_confirm, loaded, kl_asn1_loaded),
} ASN1_SEQUENCE_END_name(struct kl_asn1_confirm, kl_asn1_confirm)

ASN1_SEQUENCE(kl_asn1_error) = {
    NUMBER(struct kl_asn1_error, code),
    NUMBER(struct kl_asn1_error, retry_after),
    ASN1_SIMPLE(struct kl_asn1_error, text, ASN1_UTF8STRING),
} ASN1_SEQUENCE_END_name(struct kl_asn1_error, kl_asn1_error)

ASN1_CHOICE(kl_asn1_msg) = {
    ASN1_IMP(struct kl_asn1_msg, u.hello, kl_asn1_hello, KL_MSG_HELLO),
    ASN1_IMP(struct kl_asn1_msg, u.certificate, kl_asn1_certificate, KL_MSG_CERTIFICATE),
    ASN1_IMP(struct kl_asn1_msg, u.randoms, kl_asn1_randoms, KL_MSG_RANDOMS),
    ASN1_IMP(struct kl_asn1_msg, u.master_key, kl_asn1_master_key, KL_MSG_MASTER_KEY),
    ASN1_IMP(struct kl_asn1_msg, u.loaded, kl_asn1_loaded, KL_MSG_LOADED),
    ASN1_IMP(struct kl_asn1_msg, u.failed, kl_asn1_failed, KL_MSG_FAILED),
    ASN1_IMP(struct kl_asn1_msg, u.done, kl_asn1_done, KL_MSG_DONE),
    ASN1_IMP(struct kl_asn1_msg, u.confirm, kl_asn1_confirm, KL_MSG_CONFIRM),
    ASN1_IMP(struct kl_asn1_msg, u.error, kl_asn1_error, KL_MSG_ERROR),
} ASN1_CHOICE_END_selector(struct kl_asn1_msg, kl_asn1_msg, type)
