/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes to messages. OpenSSL parses by the templates, which is BER-tolerant; encoding what it
 * understood and comparing refuses everything but DER. Then the C value is filled and checked.
 */
#include <openssl/asn1t.h>
#include <string.h>

#include "proto/message_impl.h"

/* Copies a string of min to max bytes; the number of bytes copied. */
static size_t take_bytes(struct kl_check *check, const char *field, const ASN1_STRING *in,
                         size_t min, size_t max, void *out)
{
    size_t len = (size_t)ASN1_STRING_length(in);

    if (len < min || len > max) {
        if (min == max) {
            kl_check_refuse(check, "%s has %zu bytes: must have %zu", field, len, min);
        } else {
            kl_check_refuse(check, "%s has %zu bytes: must have %zu to %zu", field, len, min, max);
        }
        return 0;
    }
    if (len > 0) {
        memcpy(out, ASN1_STRING_get0_data(in), len);
    }
    return len;
}

/* The same for an OPTIONAL one, which is not empty if it is there; 0 if it is not. */
static size_t take_optional(struct kl_check *check, const char *field, const ASN1_STRING *in,
                            size_t min, size_t max, void *out)
{
    return in ? take_bytes(check, field, in, min, max, out) : 0;
}

static uint8_t take_small(struct kl_check *check, const char *field, uint32_t in)
{
    if (in > UINT8_MAX) {
        kl_check_refuse(check, "%s is %lu: must be 0 to 255", field, (unsigned long)in);
    }
    return (uint8_t)in;
}

/* A NUL inside would end the C string early: refused, since nobody would see what follows. */
static void take_serial(struct kl_check *check, const char *field, const ASN1_STRING *in,
                        char out[KL_SERIAL_MAX + 1])
{
    size_t len = take_bytes(check, field, in, 1, KL_SERIAL_MAX, out);

    out[len] = '\0';
    if (strlen(out) != len) {
        kl_check_refuse(check, "%s holds a NUL", field);
    }
}

static size_t take_offer(struct kl_check *check, const char *field,
                         const STACK_OF(ASN1_INTEGER) * in, uint8_t out[KL_OFFER_MAX])
{
    int count = sk_ASN1_INTEGER_num(in);

    if (count < 1 || count > KL_OFFER_MAX) {
        kl_check_refuse(check, "%s holds %d values: must hold 1 to %d", field, count, KL_OFFER_MAX);
        return 0;
    }
    for (int i = 0; i < count; i++) {
        uint64_t value;

        if (!ASN1_INTEGER_get_uint64(&value, sk_ASN1_INTEGER_value(in, i)) || value > UINT8_MAX) {
            kl_check_refuse(check, "value %d of %s is not within 0 to 255", i + 1, field);
        } else {
            out[i] = (uint8_t)value;
        }
    }
    return (size_t)count;
}

static void take_anchors(struct kl_check *check, const STACK_OF(ASN1_OCTET_STRING) * in,
                         struct kl_hello *out)
{
    int count = in ? sk_ASN1_OCTET_STRING_num(in) : 0;

    if (in && (count < 1 || count > KL_ANCHOR_MAX)) {
        kl_check_refuse(check, "anchors holds %d values: must hold 1 to %d", count, KL_ANCHOR_MAX);
        return;
    }
    for (int i = 0; i < count; i++) {
        take_bytes(check, "an anchor", sk_ASN1_OCTET_STRING_value(in, i), KL_HASH_LEN, KL_HASH_LEN,
                   out->anchors[i]);
    }
    out->anchor_count = (size_t)count;
}

/* The certificates are the last bytes before end; returns how many there are. */
static size_t take_chain(struct kl_check *check, const STACK_OF(ASN1_TYPE) * in, const uint8_t *end,
                         struct kl_bytes out[KL_CHAIN_MAX])
{
    int count = sk_ASN1_TYPE_num(in);

    if (count < 1 || count > KL_CHAIN_MAX) {
        kl_check_refuse(check, "chain holds %d certificates: must hold 1 to %d", count,
                        KL_CHAIN_MAX);
        return 0;
    }
    for (int i = count - 1; i >= 0; i--) {
        const ASN1_TYPE *element = sk_ASN1_TYPE_value(in, i);

        if (ASN1_TYPE_get(element) != V_ASN1_SEQUENCE) {
            kl_check_refuse(check, "certificate %d of the chain is not a SEQUENCE", i + 1);
            return 0;
        }
        out[i].len = (size_t)ASN1_STRING_length(element->value.sequence);
        end -= out[i].len;
        out[i].data = end;
    }
    return (size_t)count;
}

/* The chain is the last thing in the message, if it is there. */
static void take_hello(struct kl_check *check, const struct kl_asn1_hello *in, const uint8_t *der,
                       size_t len, struct kl_hello *out)
{
    out->version = in->version;
    out->suite_count = take_offer(check, "suites", in->suites, out->suites);
    out->alg_count = take_offer(check, "algorithms", in->algs, out->algs);
    take_serial(check, "serial", in->serial, out->serial);
    take_serial(check, "pinpadSerial", in->pinpad_serial, out->pinpad_serial);
    take_anchors(check, in->anchors, out);
    if (in->chain) {
        out->chain_count = take_chain(check, in->chain, der + len, out->chain);
    }
}

/* The CRL is the last thing in the message, if it is there, within its explicit tag; the chain is
 * what comes before. */
static void take_certificate(struct kl_check *check, const struct kl_asn1_certificate *in,
                             const uint8_t *der, size_t len, struct kl_certificate *out)
{
    const uint8_t *end = der + len;

    out->suite = take_small(check, "suite", in->suite);
    out->oaep_hash = take_small(check, "oaepHash", in->oaep_hash);
    take_bytes(check, "nonce", in->nonce, KL_HASH_LEN, KL_HASH_LEN, out->nonce);
    if (in->crl) {
        if (ASN1_TYPE_get(in->crl) != V_ASN1_SEQUENCE) {
            kl_check_refuse(check, "crl is not a SEQUENCE");
            return;
        }
        out->crl.len = (size_t)ASN1_STRING_length(in->crl->value.sequence);
        out->crl.data = end - out->crl.len;
        end -= ASN1_object_size(1, (int)out->crl.len, 0);
    }
    out->chain_count = take_chain(check, in->chain, end, out->chain);
}

/* Which suite the message is of shows in what is there. */
static void take_randoms(struct kl_check *check, const struct kl_asn1_randoms *in,
                         struct kl_randoms *out)
{
    if (!in->iv != !in->c_rnd2 || (in->point && !in->iv)) {
        kl_check_refuse(check, "point, iv and cRnd2 are of no suite together");
        return;
    }
    out->suite = in->point ? KL_SUITE_HARDENED_EC
                 : in->iv  ? KL_SUITE_HARDENED_RSA
                           : KL_SUITE_CLASSIC;
    out->c_rnd1_len = take_bytes(check, "cRnd1", in->c_rnd1, 1, sizeof(out->c_rnd1), out->c_rnd1);
    out->point_len = take_optional(check, "point", in->point, 1, sizeof(out->point), out->point);
    take_optional(check, "iv", in->iv, sizeof(out->iv), sizeof(out->iv), out->iv);
    take_optional(check, "cRnd2", in->c_rnd2, sizeof(out->c_rnd2), sizeof(out->c_rnd2),
                  out->c_rnd2);
    out->sig_len = take_optional(check, "signature", in->sig, 1, sizeof(out->sig), out->sig);
}

static void take_tbs(struct kl_check *check, const struct kl_asn1_tbs *in, struct kl_tbs *out)
{
    if (!in->rnd2 != !in->ctmk) {
        kl_check_refuse(check, "rnd2 and ctmk must both be there, or neither");
        return;
    }
    take_bytes(check, "t1", in->t1, sizeof(out->t1), sizeof(out->t1), out->t1);
    take_optional(check, "rnd2", in->rnd2, sizeof(out->rnd2), sizeof(out->rnd2), out->rnd2);
    out->ctmk_len = take_optional(check, "ctmk", in->ctmk, 1, sizeof(out->ctmk), out->ctmk);
    take_serial(check, "serial", in->serial, out->serial);
    out->usage = take_small(check, "usage", in->usage);
    out->alg = take_small(check, "algorithm", in->alg);
    out->version = in->version;
    out->kcv_method = take_small(check, "kcvMethod", in->kcv_method);
    out->kcv_len = take_bytes(check, "kcv", in->kcv, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX, out->kcv);
}

/* The authenticated bytes as they were received: the first value inside the message. */
static struct kl_bytes find_first(const uint8_t *der, size_t len)
{
    const unsigned char *p = der, *first;
    long content;
    int tag, tag_class;

    ASN1_get_object(&p, &content, &tag, &tag_class, (long)len); /* known good: it was parsed */
    first = p;
    ASN1_get_object(&p, &content, &tag, &tag_class, (long)len - (p - der));
    return (struct kl_bytes){first, (size_t)(p - first) + (size_t)content};
}

static void take_master_key(struct kl_check *check, const struct kl_asn1_master_key *in,
                            const uint8_t *der, size_t len, struct kl_master_key *out)
{
    take_tbs(check, in->tbs, &out->tbs);
    if (!in->mac == !in->tbs->ctmk) {
        kl_check_refuse(check, "mac must be there where ctmk is not, and only there");
    }
    out->tbs_der = find_first(der, len);
    out->sig_len = take_bytes(check, "signature", in->sig, 1, sizeof(out->sig), out->sig);
    take_optional(check, "mac", in->mac, sizeof(out->mac), sizeof(out->mac), out->mac);
}

static void take_loaded(struct kl_check *check, const struct kl_asn1_loaded *in,
                        struct kl_loaded *out)
{
    out->kcv_len = take_bytes(check, "kcv", in->kcv, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX, out->kcv);
    take_bytes(check, "mac", in->mac, sizeof(out->mac), sizeof(out->mac), out->mac);
}

static void take_done(struct kl_check *check, const struct kl_asn1_done *in, struct kl_done *out)
{
    out->verdict = take_small(check, "verdict", in->verdict);
    out->tmk_version = in->tmk_version;
    take_bytes(check, "mac", in->mac, sizeof(out->mac), sizeof(out->mac), out->mac);
}

static void take_confirm(struct kl_check *check, const struct kl_asn1_confirm *in,
                         struct kl_confirm *out)
{
    out->version = in->version;
    take_serial(check, "serial", in->serial, out->serial);
    take_serial(check, "pinpadSerial", in->pinpad_serial, out->pinpad_serial);
    out->tmk_version = in->tmk_version;
    take_loaded(check, in->loaded, &out->loaded);
}

/* What a peer wrote for people goes to logs and screens, so only printable ASCII passes; every
 * other character, of however many bytes, becomes one '?'. */
static void take_error(struct kl_check *check, const struct kl_asn1_error *in,
                       struct kl_error_msg *out)
{
    const unsigned char *text = ASN1_STRING_get0_data(in->text);
    int left = ASN1_STRING_length(in->text), used;
    size_t count = 0;
    unsigned long c;

    out->code = in->code;
    out->retry_after = in->retry_after;
    if (left > KL_ERROR_TEXT_MAX) {
        kl_check_refuse(check, "text has %d bytes: must have at most %d", left, KL_ERROR_TEXT_MAX);
        return;
    }
    for (; left > 0; left -= used, text += used) {
        used = UTF8_getc(text, left, &c);
        if (used <= 0) {
            kl_check_refuse(check, "text is not UTF-8");
            return;
        }
        out->text[count++] = c >= 0x20 && c <= 0x7e ? (char)c : '?';
    }
    out->text[count] = '\0';
}

static void take_sign_in(struct kl_check *check, const struct kl_asn1_sign_in *in,
                         struct kl_sign_in *out)
{
    out->version = in->version;
    take_serial(check, "serial", in->serial, out->serial);
    take_serial(check, "pinpadSerial", in->pinpad_serial, out->pinpad_serial);
    out->tmk_version = in->tmk_version;
    out->format = take_small(check, "format", in->format);
    take_bytes(check, "nonce", in->nonce, sizeof(out->nonce), sizeof(out->nonce), out->nonce);
}

static void take_wrapped_key(struct kl_check *check, const char *field, const char *kcv_field,
                             const struct kl_asn1_wrapped_key *in, struct kl_wrapped_key *out)
{
    out->len = take_bytes(check, field, in->data, 1, sizeof(out->data), out->data);
    out->kcv_len = take_bytes(check, kcv_field, in->kcv, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX, out->kcv);
}

static void take_keys_body(struct kl_check *check, const struct kl_asn1_keys_body *in,
                           struct kl_working_keys *out)
{
    out->tmk_version = in->tmk_version;
    out->alg = take_small(check, "algorithm", in->alg);
    out->c_session_len =
        take_bytes(check, "cSession", in->c_session, 1, sizeof(out->c_session), out->c_session);
    if (in->field62 && !in->pik && !in->mak) {
        out->has_field62 = 1;
        take_bytes(check, "field62", in->field62, sizeof(out->field62), sizeof(out->field62),
                   out->field62);
    } else if (!in->field62 && in->pik && in->mak) {
        take_wrapped_key(check, "pik", "pik kcv", in->pik, &out->pik);
        take_wrapped_key(check, "mak", "mak kcv", in->mak, &out->mak);
    } else {
        kl_check_refuse(check, "either pik and mak must be there, or field62");
    }
}

static void take_working_keys(struct kl_check *check, const struct kl_asn1_working_keys *in,
                              const uint8_t *der, size_t len, struct kl_working_keys *out)
{
    take_keys_body(check, in->body, out);
    out->body_der = find_first(der, len);
    take_bytes(check, "mac", in->mac, sizeof(out->mac), sizeof(out->mac), out->mac);
}

static void take_msg(struct kl_check *check, const struct kl_asn1_msg *in, const uint8_t *der,
                     size_t len, struct kl_msg *out)
{
    out->type = (enum kl_msg_type)in->type;
    switch (out->type) {
    case KL_MSG_HELLO:
        take_hello(check, in->u.hello, der, len, &out->u.hello);
        break;
    case KL_MSG_CERTIFICATE:
        take_certificate(check, in->u.certificate, der, len, &out->u.certificate);
        break;
    case KL_MSG_RANDOMS:
        take_randoms(check, in->u.randoms, &out->u.randoms);
        break;
    case KL_MSG_MASTER_KEY:
        take_master_key(check, in->u.master_key, der, len, &out->u.master_key);
        break;
    case KL_MSG_LOADED:
        take_loaded(check, in->u.loaded, &out->u.loaded);
        break;
    case KL_MSG_FAILED:
        out->u.failed.reason = in->u.failed->reason;
        break;
    case KL_MSG_DONE:
        take_done(check, in->u.done, &out->u.done);
        break;
    case KL_MSG_CONFIRM:
        take_confirm(check, in->u.confirm, &out->u.confirm);
        break;
    case KL_MSG_ERROR:
        take_error(check, in->u.error, &out->u.error);
        break;
    case KL_MSG_SIGN_IN:
        take_sign_in(check, in->u.sign_in, &out->u.sign_in);
        break;
    case KL_MSG_WORKING_KEYS:
        take_working_keys(check, in->u.working_keys, der, len, &out->u.working_keys);
        break;
    }
}

/* Looks at the outer header only: exactly one value, of a type that we know. */
static enum kl_rc check_header(const uint8_t *der, size_t len, struct kl_err *err)
{
    const unsigned char *p = der;
    long content;
    int tag, tag_class, info;
    size_t total;

    if (len == 0 || len > KL_MSG_MAX) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "message has %zu bytes: must have 1 to %d", len,
                          KL_MSG_MAX);
    }
    info = ASN1_get_object(&p, &content, &tag, &tag_class, (long)len);
    if (info & 0x80) {
        return kl_err_openssl(err, KL_ERR_PROTOCOL, "ASN1_get_object",
                              "message of %zu bytes is cut short or no DER", len);
    }
    if (tag_class != V_ASN1_CONTEXT_SPECIFIC || !(info & V_ASN1_CONSTRUCTED) ||
        tag >= KL_MSG_TYPE_COUNT) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "message begins with byte %02x: tag is unknown",
                          der[0]);
    }
    if (info & 1) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "%s: indefinite length is not DER",
                          kl_msg_name((unsigned)tag));
    }
    total = (size_t)(p - der) + (size_t)content;
    if (total != len) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "%s: %zu bytes follow the message",
                          kl_msg_name((unsigned)tag), len - total);
    }
    return KL_OK;
}

static enum kl_rc parse(const uint8_t *der, size_t len, struct kl_asn1_msg **out,
                        struct kl_err *err)
{
    const ASN1_ITEM *item = ASN1_ITEM_rptr(kl_asn1_msg);
    const unsigned char *p = der;
    unsigned char again[KL_MSG_MAX], *end = again;
    enum kl_rc rc = KL_OK;
    ASN1_VALUE *value;
    int again_len;

    value = ASN1_item_d2i(NULL, &p, (long)len, item);
    if (!value) {
        return kl_err_openssl(err, KL_ERR_PROTOCOL, "ASN1_item_d2i", "%s: malformed",
                              kl_msg_name(der[0] & 0x1f));
    }
    again_len = ASN1_item_i2d(value, NULL, item);
    if (again_len < 0) {
        rc = kl_err_openssl(err, KL_ERR_PROTOCOL, "ASN1_item_i2d", "%s: cannot be encoded again",
                            kl_msg_name(der[0] & 0x1f));
    } else if ((size_t)again_len != len || ASN1_item_i2d(value, &end, item) != again_len ||
               memcmp(again, der, len) != 0) {
        rc =
            kl_err_set(err, KL_ERR_PROTOCOL, "%s: encoding is not DER", kl_msg_name(der[0] & 0x1f));
    }
    if (rc == KL_OK) {
        *out = (struct kl_asn1_msg *)value;
    } else {
        ASN1_item_free(value, item);
    }
    return rc;
}

enum kl_rc kl_msg_decode(const uint8_t *der, size_t len, struct kl_msg *out, struct kl_err *err)
{
    struct kl_check check = {KL_ERR_PROTOCOL, KL_OK, err};
    struct kl_asn1_msg *parsed = NULL;
    struct kl_msg msg;
    enum kl_rc rc;

    /* Whatever ran before in this thread, a PKCS#11 module too, may have left errors of its own. */
    kl_err_openssl_clear();
    rc = check_header(der, len, err);
    if (rc != KL_OK) {
        return rc;
    }
    rc = parse(der, len, &parsed, err);
    if (rc != KL_OK) {
        return rc;
    }
    memset(&msg, 0, sizeof(msg));
    take_msg(&check, parsed, der, len, &msg);
    kl_msg_check(&check, &msg);
    ASN1_item_free((ASN1_VALUE *)parsed, ASN1_ITEM_rptr(kl_asn1_msg));
    if (check.rc != KL_OK) {
        return kl_err_context(err, "%s", kl_msg_name(msg.type));
    }
    *out = msg;
    return KL_OK;
}
