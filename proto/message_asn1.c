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
    case KL_MSG_WORKING_KEYS:
        return ASN1_ITEM_rptr(kl_asn1_sealed);
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
    case KL_MSG_SIGN_IN:
        return ASN1_ITEM_rptr(kl_asn1_sign_in);
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
    ASN1_IMP_SEQUENCE_OF_OPT(struct kl_asn1_hello, anchors, ASN1_OCTET_STRING, 0),
    ASN1_IMP_SEQUENCE_OF_OPT(struct kl_asn1_hello, chain, ASN1_ANY, 1),
} ASN1_SEQUENCE_END_name(struct kl_asn1_hello, kl_asn1_hello)

ASN1_SEQUENCE(kl_asn1_certificate) = {
    NUMBER(struct kl_asn1_certificate, suite),
    NUMBER(struct kl_asn1_certificate, oaep_hash),
    ASN1_SIMPLE(struct kl_asn1_certificate, nonce, ASN1_OCTET_STRING),
    ASN1_SEQUENCE_OF(struct kl_asn1_certificate, chain, ASN1_ANY),
    ASN1_EXP_OPT(struct kl_asn1_certificate, crl, ASN1_ANY, 0), /* an ANY takes no other tag */
} ASN1_SEQUENCE_END_name(struct kl_asn1_certificate, kl_asn1_certificate)

ASN1_SEQUENCE(kl_asn1_randoms) = {
    ASN1_SIMPLE(struct kl_asn1_randoms, c_rnd1, ASN1_OCTET_STRING),
    ASN1_IMP_OPT(struct kl_asn1_randoms, point, ASN1_OCTET_STRING, 0),
    ASN1_IMP_OPT(struct kl_asn1_randoms, iv, ASN1_OCTET_STRING, 1),
    ASN1_IMP_OPT(struct kl_asn1_randoms, c_rnd2, ASN1_OCTET_STRING, 2),
    ASN1_IMP_OPT(struct kl_asn1_randoms, sig, ASN1_OCTET_STRING, 3),
} ASN1_SEQUENCE_END_name(struct kl_asn1_randoms, kl_asn1_randoms)

ASN1_SEQUENCE(kl_asn1_tbs) = {
    ASN1_SIMPLE(struct kl_asn1_tbs, t1, ASN1_OCTET_STRING),
    ASN1_IMP_OPT(struct kl_asn1_tbs, rnd2, ASN1_OCTET_STRING, 0),
    ASN1_IMP_OPT(struct kl_asn1_tbs, ctmk, ASN1_OCTET_STRING, 1),
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
    ASN1_IMP_OPT(struct kl_asn1_master_key, mac, ASN1_OCTET_STRING, 0),
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

ASN1_SEQUENCE(kl_asn1_sign_in) = {
    NUMBER(struct kl_asn1_sign_in, version),
    ASN1_SIMPLE(struct kl_asn1_sign_in, serial, ASN1_IA5STRING),
    ASN1_SIMPLE(struct kl_asn1_sign_in, pinpad_serial, ASN1_IA5STRING),
    NUMBER(struct kl_asn1_sign_in, tmk_version),
    NUMBER(struct kl_asn1_sign_in, format),
    ASN1_SIMPLE(struct kl_asn1_sign_in, nonce, ASN1_OCTET_STRING),
} ASN1_SEQUENCE_END_name(struct kl_asn1_sign_in, kl_asn1_sign_in)

ASN1_SEQUENCE(kl_asn1_wrapped_key) = {
    ASN1_SIMPLE(struct kl_asn1_wrapped_key, data, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct kl_asn1_wrapped_key, kcv, ASN1_OCTET_STRING),
} ASN1_SEQUENCE_END_name(struct kl_asn1_wrapped_key, kl_asn1_wrapped_key)

ASN1_SEQUENCE(kl_asn1_keys_body) = {
    NUMBER(struct kl_asn1_keys_body, tmk_version),
    NUMBER(struct kl_asn1_keys_body, alg),
    ASN1_SIMPLE(struct kl_asn1_keys_body, c_session, ASN1_OCTET_STRING),
    ASN1_IMP_OPT(struct kl_asn1_keys_body, pik, kl_asn1_wrapped_key, 0),
    ASN1_IMP_OPT(struct kl_asn1_keys_body, mak, kl_asn1_wrapped_key, 1),
    ASN1_IMP_OPT(struct kl_asn1_keys_body, field62, ASN1_OCTET_STRING, 2),
} ASN1_SEQUENCE_END_name(struct kl_asn1_keys_body, kl_asn1_keys_body)

ASN1_SEQUENCE(kl_asn1_working_keys) = {
    ASN1_SIMPLE(struct kl_asn1_working_keys, body, kl_asn1_keys_body),
    ASN1_SIMPLE(struct kl_asn1_working_keys, mac, ASN1_OCTET_STRING),
} ASN1_SEQUENCE_END_name(struct kl_asn1_working_keys, kl_asn1_working_keys)

ASN1_SEQUENCE(kl_asn1_sealed) = {
    ASN1_SIMPLE(struct kl_asn1_sealed, body, ASN1_ANY),
    ASN1_SIMPLE(struct kl_asn1_sealed, proof, ASN1_OCTET_STRING),
    ASN1_IMP_OPT(struct kl_asn1_sealed, mac, ASN1_OCTET_STRING, 0),
} ASN1_SEQUENCE_END_name(struct kl_asn1_sealed, kl_asn1_sealed)

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
    ASN1_IMP(struct kl_asn1_msg, u.sign_in, kl_asn1_sign_in, KL_MSG_SIGN_IN),
    ASN1_IMP(struct kl_asn1_msg, u.working_keys, kl_asn1_working_keys, KL_MSG_WORKING_KEYS),
} ASN1_CHOICE_END_selector(struct kl_asn1_msg, kl_asn1_msg, type)
