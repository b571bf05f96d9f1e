/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages to bytes: the C value is checked, copied into the templates' structures and encoded.
 * After the check the only thing that can fail is memory.
 */
#include <openssl/asn1t.h>
#include <string.h>

#include "proto/message_impl.h"
#include "proto/secret.h"

/* The putters return 1, or 0 when out of memory. */

static int put_bytes(ASN1_STRING *out, const void *data, size_t len)
{
    return ASN1_STRING_set(out, data, (int)len);
}

static int put_text(ASN1_STRING *out, const char *text)
{
    return put_bytes(out, text, strlen(text));
}

/* An OPTIONAL member, left out if there is nothing to put. */
static int put_optional(ASN1_OCTET_STRING **out, const void *data, size_t len)
{
    if (len == 0) {
        return 1;
    }
    *out = ASN1_OCTET_STRING_new();
    return *out && put_bytes(*out, data, len);
}

static int put_offer(STACK_OF(ASN1_INTEGER) * out, const uint8_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ASN1_INTEGER *integer = ASN1_INTEGER_new();

        if (!integer || !ASN1_INTEGER_set_uint64(integer, values[i]) ||
            !sk_ASN1_INTEGER_push(out, integer)) {
            ASN1_INTEGER_free(integer);
            return 0;
        }
    }
    return 1;
}

static int put_anchors(STACK_OF(ASN1_OCTET_STRING) * *out,
                       const uint8_t anchors[KL_ANCHOR_MAX][KL_HASH_LEN], size_t count)
{
    if (count == 0) {
        return 1;
    }
    *out = sk_ASN1_OCTET_STRING_new_null();
    for (size_t i = 0; *out && i < count; i++) {
        ASN1_OCTET_STRING *anchor = NULL;

        if (!put_optional(&anchor, anchors[i], KL_HASH_LEN) ||
            !sk_ASN1_OCTET_STRING_push(*out, anchor)) {
            ASN1_OCTET_STRING_free(anchor);
            return 0;
        }
    }
    return *out != NULL;
}

/* A whole DER SEQUENCE, byte for byte; NULL when out of memory. */
static ASN1_TYPE *new_any(struct kl_bytes bytes)
{
    ASN1_STRING *der = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
    ASN1_TYPE *element = ASN1_TYPE_new();

    if (!der || !element || !put_bytes(der, bytes.data, bytes.len)) {
        ASN1_STRING_free(der);
        ASN1_TYPE_free(element);
        return NULL;
    }
    ASN1_TYPE_set(element, V_ASN1_SEQUENCE, der); /* takes der */
    return element;
}

static int put_chain(STACK_OF(ASN1_TYPE) * out, const struct kl_bytes *chain, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ASN1_TYPE *element = new_any(chain[i]);

        if (!element || !sk_ASN1_TYPE_push(out, element)) {
            ASN1_TYPE_free(element);
            return 0;
        }
    }
    return 1;
}

static int put_hello(struct kl_asn1_hello *out, const struct kl_hello *in)
{
    out->version = in->version;
    if (in->chain_count > 0) {
        out->chain = sk_ASN1_TYPE_new_null();
        if (!out->chain || !put_chain(out->chain, in->chain, in->chain_count)) {
            return 0;
        }
    }
    return put_offer(out->suites, in->suites, in->suite_count) &&
           put_offer(out->algs, in->algs, in->alg_count) && put_text(out->serial, in->serial) &&
           put_text(out->pinpad_serial, in->pinpad_serial) &&
           put_anchors(&out->anchors, in->anchors, in->anchor_count);
}

static int put_certificate(struct kl_asn1_certificate *out, const struct kl_certificate *in)
{
    out->suite = in->suite;
    out->oaep_hash = in->oaep_hash;
    if (in->crl.len > 0) {
        out->crl = new_any(in->crl);
        if (!out->crl) {
            return 0;
        }
    }
    return put_bytes(out->nonce, in->nonce, sizeof(in->nonce)) &&
           put_chain(out->chain, in->chain, in->chain_count);
}

static int put_randoms(struct kl_asn1_randoms *out, const struct kl_randoms *in)
{
    int classic = in->suite == KL_SUITE_CLASSIC;

    return put_bytes(out->c_rnd1, in->c_rnd1, in->c_rnd1_len) &&
           put_optional(&out->point, in->point, in->point_len) &&
           put_optional(&out->iv, in->iv, classic ? 0 : sizeof(in->iv)) &&
           put_optional(&out->c_rnd2, in->c_rnd2, classic ? 0 : sizeof(in->c_rnd2)) &&
           put_optional(&out->sig, in->sig, in->sig_len);
}

static int put_tbs(struct kl_asn1_tbs *out, const struct kl_tbs *in)
{
    out->usage = in->usage;
    out->alg = in->alg;
    out->version = in->version;
    out->kcv_method = in->kcv_method;
    return put_bytes(out->t1, in->t1, sizeof(in->t1)) &&
           put_optional(&out->rnd2, in->rnd2, in->ctmk_len > 0 ? sizeof(in->rnd2) : 0) &&
           put_optional(&out->ctmk, in->ctmk, in->ctmk_len) && put_text(out->serial, in->serial) &&
           put_bytes(out->kcv, in->kcv, in->kcv_len);
}

/* body has been checked to be the encoding of the fields. */
static int put_sealed(struct kl_asn1_sealed *out, struct kl_bytes body, const uint8_t *proof,
                      size_t proof_len)
{
    ASN1_TYPE_free(out->body);
    out->body = new_any(body);
    return out->body && put_bytes(out->proof, proof, proof_len);
}

static int put_master_key(struct kl_asn1_sealed *out, const struct kl_master_key *in)
{
    return put_sealed(out, in->tbs_der, in->sig, in->sig_len) &&
           put_optional(&out->mac, in->mac, in->tbs.ctmk_len > 0 ? 0 : sizeof(in->mac));
}

static int put_loaded(struct kl_asn1_loaded *out, const struct kl_loaded *in)
{
    return put_bytes(out->kcv, in->kcv, in->kcv_len) &&
           put_bytes(out->mac, in->mac, sizeof(in->mac));
}

static int put_done(struct kl_asn1_done *out, const struct kl_done *in)
{
    out->verdict = in->verdict;
    out->tmk_version = in->tmk_version;
    return put_bytes(out->mac, in->mac, sizeof(in->mac));
}

static int put_confirm(struct kl_asn1_confirm *out, const struct kl_confirm *in)
{
    out->version = in->version;
    out->tmk_version = in->tmk_version;
    return put_text(out->serial, in->serial) && put_text(out->pinpad_serial, in->pinpad_serial) &&
           put_loaded(out->loaded, &in->loaded);
}

static int put_error(struct kl_asn1_error *out, const struct kl_error_msg *in)
{
    out->code = in->code;
    out->retry_after = in->retry_after;
    return put_text(out->text, in->text);
}

static int put_sign_in(struct kl_asn1_sign_in *out, const struct kl_sign_in *in)
{
    out->version = in->version;
    out->tmk_version = in->tmk_version;
    out->format = in->format;
    return put_text(out->serial, in->serial) && put_text(out->pinpad_serial, in->pinpad_serial) &&
           put_bytes(out->nonce, in->nonce, sizeof(in->nonce));
}

static int put_wrapped_key(struct kl_asn1_wrapped_key **out, const struct kl_wrapped_key *in)
{
    *out = (void *)ASN1_item_new(ASN1_ITEM_rptr(kl_asn1_wrapped_key));
    return *out && put_bytes((*out)->data, in->data, in->len) &&
           put_bytes((*out)->kcv, in->kcv, in->kcv_len);
}

static int put_keys_body(struct kl_asn1_keys_body *out, const struct kl_working_keys *in)
{
    out->tmk_version = in->tmk_version;
    out->alg = in->alg;
    if (!put_bytes(out->c_session, in->c_session, in->c_session_len)) {
        return 0;
    }
    if (in->has_field62) {
        return put_optional(&out->field62, in->field62, sizeof(in->field62));
    }
    return put_wrapped_key(&out->pik, &in->pik) && put_wrapped_key(&out->mak, &in->mak);
}

/* body is a structure of kl_msg_item. */
static int put_msg(void *body, const struct kl_msg *in)
{
    switch (in->type) {
    case KL_MSG_HELLO:
        return put_hello(body, &in->u.hello);
    case KL_MSG_CERTIFICATE:
        return put_certificate(body, &in->u.certificate);
    case KL_MSG_RANDOMS:
        return put_randoms(body, &in->u.randoms);
    case KL_MSG_MASTER_KEY:
        return put_master_key(body, &in->u.master_key);
    case KL_MSG_LOADED:
        return put_loaded(body, &in->u.loaded);
    case KL_MSG_FAILED:
        ((struct kl_asn1_failed *)body)->reason = in->u.failed.reason;
        return 1;
    case KL_MSG_DONE:
        return put_done(body, &in->u.done);
    case KL_MSG_CONFIRM:
        return put_confirm(body, &in->u.confirm);
    case KL_MSG_ERROR:
        return put_error(body, &in->u.error);
    case KL_MSG_SIGN_IN:
        return put_sign_in(body, &in->u.sign_in);
    case KL_MSG_WORKING_KEYS:
        return put_sealed(body, in->u.working_keys.body_der, in->u.working_keys.mac,
                          sizeof(in->u.working_keys.mac));
    }
    return 0;
}

/* Of Rnd2', which is nobody's before MasterKey is sent; in classic the signature encloses it. */
static void wipe_string(const ASN1_STRING *string)
{
    if (string) {
        kl_wipe((void *)ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
    }
}

static void wipe_sealed(const struct kl_asn1_sealed *sealed)
{
    if (sealed->body && ASN1_TYPE_get(sealed->body) == V_ASN1_SEQUENCE) {
        wipe_string(sealed->body->value.sequence);
    }
    wipe_string(sealed->proof);
}

/* Encodes a filled structure into out, which is left alone on failure. tag: as that alternative of
 * Message; -1: by itself. */
static enum kl_rc encode(const void *structure, const ASN1_ITEM *item, int tag, const char *name,
                         uint8_t *out, size_t capacity, size_t *out_len, struct kl_err *err)
{
    const ASN1_VALUE *value = structure;
    int len = ASN1_item_ex_i2d(&value, NULL, item, tag, V_ASN1_CONTEXT_SPECIFIC);
    unsigned char *p = out;

    if (len < 0) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "ASN1_item_ex_i2d", "%s: cannot be encoded",
                              name);
    }
    if ((size_t)len > capacity) {
        return kl_err_set(err, KL_ERR_INTERNAL, "%s: takes %d bytes: at most %zu may be sent", name,
                          len, capacity);
    }
    *out_len = (size_t)ASN1_item_ex_i2d(&value, &p, item, tag, V_ASN1_CONTEXT_SPECIFIC);
    return KL_OK;
}

enum kl_rc kl_tbs_encode(const struct kl_tbs *tbs, uint8_t out[KL_TBS_MAX], size_t *out_len,
                         struct kl_err *err)
{
    struct kl_check check = {KL_ERR_INTERNAL, KL_OK, err};
    const ASN1_ITEM *item = ASN1_ITEM_rptr(kl_asn1_tbs);
    struct kl_asn1_tbs *built;
    enum kl_rc rc;

    kl_tbs_check(&check, tbs);
    if (check.rc != KL_OK) {
        return kl_err_context(err, "signed part of MasterKey");
    }
    kl_err_openssl_clear();
    built = (void *)ASN1_item_new(item);
    if (built && put_tbs(built, tbs)) {
        rc = encode(built, item, -1, "signed part of MasterKey", out, KL_TBS_MAX, out_len, err);
    } else {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "ASN1_item_new", "cannot build a MasterKey");
    }
    if (built) {
        wipe_string(built->rnd2);
    }
    ASN1_item_free((ASN1_VALUE *)built, item);
    return rc;
}

enum kl_rc kl_keys_body_encode(const struct kl_working_keys *keys, uint8_t out[KL_KEYS_BODY_MAX],
                               size_t *out_len, struct kl_err *err)
{
    struct kl_check check = {KL_ERR_INTERNAL, KL_OK, err};
    const ASN1_ITEM *item = ASN1_ITEM_rptr(kl_asn1_keys_body);
    struct kl_asn1_keys_body *built;
    enum kl_rc rc;

    kl_keys_body_check(&check, keys);
    if (check.rc != KL_OK) {
        return kl_err_context(err, "body of WorkingKeys");
    }
    kl_err_openssl_clear();
    built = (void *)ASN1_item_new(item);
    if (built && put_keys_body(built, keys)) {
        rc = encode(built, item, -1, "body of WorkingKeys", out, KL_KEYS_BODY_MAX, out_len, err);
    } else {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "ASN1_item_new", "cannot build a WorkingKeys");
    }
    ASN1_item_free((ASN1_VALUE *)built, item);
    return rc;
}

/* Signature or MAC is over tbs_der or body_der, but the fields are what gets encoded: both must say
 * the same. */
static void check_same(struct kl_check *check, struct kl_bytes given, const uint8_t *der,
                       size_t len)
{
    if (check->rc == KL_OK &&
        (given.len != len || !given.data || memcmp(given.data, der, len) != 0)) {
        kl_check_refuse(check, "the authenticated bytes are not the encoding of the fields");
    }
}

static void check_authenticated(struct kl_check *check, const struct kl_msg *msg)
{
    uint8_t der[KL_TBS_MAX > KL_KEYS_BODY_MAX ? KL_TBS_MAX : KL_KEYS_BODY_MAX];
    size_t len = 0;

    if (check->rc != KL_OK) {
        return;
    }
    if (msg->type == KL_MSG_MASTER_KEY) {
        check->rc = kl_tbs_encode(&msg->u.master_key.tbs, der, &len, check->err);
        check_same(check, msg->u.master_key.tbs_der, der, len);
    } else if (msg->type == KL_MSG_WORKING_KEYS) {
        check->rc = kl_keys_body_encode(&msg->u.working_keys, der, &len, check->err);
        check_same(check, msg->u.working_keys.body_der, der, len);
    }
    kl_wipe(der, len); /* Rnd2' */
}

enum kl_rc kl_msg_encode_into(const struct kl_msg *msg, uint8_t *out, size_t capacity,
                              size_t *out_len, struct kl_err *err)
{
    struct kl_check check = {KL_ERR_INTERNAL, KL_OK, err};
    const char *name = kl_msg_name(msg->type);
    const ASN1_ITEM *item;
    ASN1_VALUE *built;
    enum kl_rc rc;

    kl_msg_check(&check, msg);
    check_authenticated(&check, msg);
    if (check.rc != KL_OK) {
        return kl_err_context(err, "%s", name);
    }
    kl_err_openssl_clear();
    item = kl_msg_item(msg->type);
    built = ASN1_item_new(item);
    if (built && put_msg(built, msg)) {
        rc = encode(built, item, (int)msg->type, name, out, capacity, out_len, err);
    } else {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "ASN1_item_new", "cannot build a %s", name);
    }
    if (built && item == ASN1_ITEM_rptr(kl_asn1_sealed)) {
        wipe_sealed((const struct kl_asn1_sealed *)built);
    }
    ASN1_item_free(built, item);
    return rc;
}

enum kl_rc kl_msg_encode(const struct kl_msg *msg, uint8_t out[KL_MSG_MAX], size_t *out_len,
                         struct kl_err *err)
{
    return kl_msg_encode_into(msg, out, KL_MSG_MAX, out_len, err);
}
