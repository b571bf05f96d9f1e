/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages to bytes: the C value is checked, copied into the templates' structures and encoded.
 * After the check the only thing that can fail is memory.
 */
#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <string.h>

#include "proto/message_impl.h"

/* The putters return 1, or 0 when out of memory. */

static int put_bytes(ASN1_STRING *out, const void *data, size_t len)
{
    return ASN1_STRING_set(out, data, (int)len);
}

static int put_text(ASN1_STRING *out, const char *text)
{
    return put_bytes(out, text, strlen(text));
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

static int put_hello(struct kl_asn1_hello *out, const struct kl_hello *in)
{
    out->version = in->version;
    return put_offer(out->suites, in->suites, in->suite_count) &&
           put_offer(out->algs, in->algs, in->alg_count) && put_text(out->serial, in->serial) &&
           put_text(out->pinpad_serial, in->pinpad_serial);
}

static int put_chain(STACK_OF(ASN1_TYPE) * out, const struct kl_bytes *chain, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ASN1_STRING *der = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
        ASN1_TYPE *element = ASN1_TYPE_new();

        if (!der || !element || !put_bytes(der, chain[i].data, chain[i].len)) {
            ASN1_STRING_free(der);
            ASN1_TYPE_free(element);
            return 0;
        }
        ASN1_TYPE_set(element, V_ASN1_SEQUENCE, der); /* takes der */
        if (!sk_ASN1_TYPE_push(out, element)) {
            ASN1_TYPE_free(element);
            return 0;
        }
    }
    return 1;
}

static int put_certificate(struct kl_asn1_certificate *out, const struct kl_certificate *in)
{
    out->suite = in->suite;
    out->oaep_hash = in->oaep_hash;
    return put_bytes(out->nonce, in->nonce, sizeof(in->nonce)) &&
           put_chain(out->chain, in->chain, in->chain_count);
}

static int put_randoms(struct kl_asn1_randoms *out, const struct kl_randoms *in)
{
    return put_bytes(out->c_rnd1, in->c_rnd1, in->c_rnd1_len) &&
           put_bytes(out->iv, in->iv, sizeof(in->iv)) &&
           put_bytes(out->c_rnd2, in->c_rnd2, sizeof(in->c_rnd2));
}

static int put_tbs(struct kl_asn1_tbs *out, const struct kl_tbs *in)
{
    out->usage = in->usage;
    out->alg = in->alg;
    out->version = in->version;
    out->kcv_method = in->kcv_method;
    return put_bytes(out->t1, in->t1, sizeof(in->t1)) &&
           put_bytes(out->rnd2, in->rnd2, sizeof(in->rnd2)) &&
           put_bytes(out->ctmk, in->ctmk, in->ctmk_len) && put_text(out->serial, in->serial) &&
           put_bytes(out->kcv, in->kcv, in->kcv_len);
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

static int put_msg(struct kl_asn1_msg *out, const struct kl_msg *in)
{
    void *body = ASN1_item_new(kl_msg_item(in->type));

    if (!body) {
        return 0;
    }
    out->type = (int)in->type;
    switch (in->type) {
    case KL_MSG_HELLO:
        return put_hello(out->u.hello = body, &in->u.hello);
    case KL_MSG_CERTIFICATE:
        return put_certificate(out->u.certificate = body, &in->u.certificate);
    case KL_MSG_RANDOMS:
        return put_randoms(out->u.randoms = body, &in->u.randoms);
    case KL_MSG_MASTER_KEY:
        out->u.master_key = body;
        return put_tbs(out->u.master_key->tbs, &in->u.master_key.tbs) &&
               put_bytes(out->u.master_key->sig, in->u.master_key.sig, in->u.master_key.sig_len);
    case KL_MSG_LOADED:
        return put_loaded(out->u.loaded = body, &in->u.loaded);
    case KL_MSG_FAILED:
        out->u.failed = body;
        out->u.failed->reason = in->u.failed.reason;
        return 1;
    case KL_MSG_DONE:
        return put_done(out->u.done = body, &in->u.done);
    case KL_MSG_CONFIRM:
        return put_confirm(out->u.confirm = body, &in->u.confirm);
    case KL_MSG_ERROR:
        return put_error(out->u.error = body, &in->u.error);
    }
    return 0;
}

/* Encodes a filled structure into out, which is left alone on failure. */
static enum kl_rc encode(const void *value, const ASN1_ITEM *item, const char *name, uint8_t *out,
                         size_t capacity, size_t *out_len, struct kl_err *err)
{
    int len = ASN1_item_i2d(value, NULL, item);
    unsigned char *p = out;

    if (len < 0) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "ASN1_item_i2d", "%s: cannot be encoded", name);
    }
    if ((size_t)len > capacity) {
        return kl_err_set(err, KL_ERR_INTERNAL, "%s: takes %d bytes: at most %zu may be sent", name,
                          len, capacity);
    }
    *out_len = (size_t)ASN1_item_i2d(value, &p, item);
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
    ERR_clear_error();
    built = (void *)ASN1_item_new(item);
    if (built && put_tbs(built, tbs)) {
        rc = encode(built, item, "signed part of MasterKey", out, KL_TBS_MAX, out_len, err);
    } else {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "ASN1_item_new", "cannot build a MasterKey");
    }
    ASN1_item_free((ASN1_VALUE *)built, item);
    return rc;
}

/* The signature is over tbs_der but tbs is what gets encoded: they must say the same. */
static void check_signed_bytes(struct kl_check *check, const struct kl_master_key *master_key)
{
    uint8_t tbs[KL_TBS_MAX];
    size_t len;

    if (check->rc != KL_OK) {
        return;
    }
    check->rc = kl_tbs_encode(&master_key->tbs, tbs, &len, check->err);
    if (check->rc == KL_OK && (master_key->tbs_der.len != len || !master_key->tbs_der.data ||
                               memcmp(master_key->tbs_der.data, tbs, len) != 0)) {
        kl_check_refuse(check, "the signed bytes are not the encoding of the fields");
    }
}

enum kl_rc kl_msg_encode(const struct kl_msg *msg, uint8_t out[KL_MSG_MAX], size_t *out_len,
                         struct kl_err *err)
{
    struct kl_check check = {KL_ERR_INTERNAL, KL_OK, err};
    const ASN1_ITEM *item = ASN1_ITEM_rptr(kl_asn1_msg);
    const char *name = kl_msg_name(msg->type);
    struct kl_asn1_msg *built;
    enum kl_rc rc;

    kl_msg_check(&check, msg);
    if (msg->type == KL_MSG_MASTER_KEY) {
        check_signed_bytes(&check, &msg->u.master_key);
    }
    if (check.rc != KL_OK) {
        return kl_err_context(err, "%s", name);
    }
    ERR_clear_error();
    built = (void *)ASN1_item_new(item);
    if (built && put_msg(built, msg)) {
        rc = encode(built, item, name, out, KL_MSG_MAX, out_len, err);
    } else {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "ASN1_item_new", "cannot build a %s", name);
    }
    ASN1_item_free((ASN1_VALUE *)built, item);
    return rc;
}
