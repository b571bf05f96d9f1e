/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is well-formed: names, and the bounds on every field, the same whether a message is about
 * to be sent or has just been decoded.
 */
#include "proto/message.h"

#include <openssl/asn1.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/message_impl.h"

#define NUMBER_MAX 0x7fffffff /* of an INTEGER with no narrower bound */
#define SERIAL_RULE "1 to %d of A-Z a-z 0-9 - . _"

const char *kl_msg_name(unsigned type)
{
    static const char *const names[KL_MSG_TYPE_COUNT] = {
        [KL_MSG_HELLO] = "Hello",
        [KL_MSG_CERTIFICATE] = "Certificate",
        [KL_MSG_RANDOMS] = "Randoms",
        [KL_MSG_MASTER_KEY] = "MasterKey",
        [KL_MSG_LOADED] = "Loaded",
        [KL_MSG_FAILED] = "Failed",
        [KL_MSG_DONE] = "Done",
        [KL_MSG_CONFIRM] = "Confirm",
        [KL_MSG_ERROR] = "Error",
        [KL_MSG_SIGN_IN] = "SignIn",
        [KL_MSG_WORKING_KEYS] = "WorkingKeys",
    };

    return type < KL_MSG_TYPE_COUNT ? names[type] : "?";
}

int kl_serial_ok(const char *s)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789-._";
    size_t len = strnlen(s, KL_SERIAL_MAX + 1);

    return len >= 1 && len <= KL_SERIAL_MAX && strspn(s, allowed) == len;
}

enum kl_rc kl_serial_check(const char *what, const char *text, struct kl_err *err)
{
    if (!kl_serial_ok(text)) {
        return kl_err_set(err, KL_ERR_INPUT, "'%.40s' is no %s: " SERIAL_RULE, text, what,
                          KL_SERIAL_MAX);
    }
    return KL_OK;
}

void kl_check_refuse(struct kl_check *check, const char *fmt, ...)
{
    char text[256];
    va_list args;

    if (check->rc != KL_OK) {
        return;
    }
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    check->rc = kl_err_set(check->err, check->fail, "%s", text);
}

static void check_number(struct kl_check *check, const char *field, size_t value, size_t min,
                         size_t max)
{
    if (value < min || value > max) {
        kl_check_refuse(check, "%s is %zu: must be %zu to %zu", field, value, min, max);
    }
}

static void check_length(struct kl_check *check, const char *field, size_t len, size_t min,
                         size_t max)
{
    if (min == max && len != min) {
        kl_check_refuse(check, "%s has %zu bytes: must have %zu", field, len, min);
    } else if (len < min || len > max) {
        kl_check_refuse(check, "%s has %zu bytes: must have %zu to %zu", field, len, min, max);
    }
}

static int is_rsa_block(size_t len)
{
    return len <= KL_RSA_MAX && kl_rsa_bits_ok((unsigned)len * 8);
}

static void check_rsa_block(struct kl_check *check, const char *field, size_t len)
{
    if (!is_rsa_block(len)) {
        kl_check_refuse(check, "%s has %zu bytes: must have 256, 384 or 512", field, len);
    }
}

/* Of whichever key: RSA, or ECDSA as r || s. */
static void check_signature(struct kl_check *check, size_t len)
{
    if (!is_rsa_block(len) && len != 64 && len != 96 && len != 132) {
        kl_check_refuse(check, "signature has %zu bytes: must have 64, 96, 132, 256, 384 or 512",
                        len);
    }
}

/* A field that is not sent must not hold anything: it would be lost. */
static void check_unused(struct kl_check *check, const char *field, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != 0) {
            kl_check_refuse(check, "%s is not sent here and must be empty", field);
            return;
        }
    }
}

static void check_serial(struct kl_check *check, const char *field, const char *serial)
{
    if (!kl_serial_ok(serial)) {
        kl_check_refuse(check, "%s is malformed: must be " SERIAL_RULE, field, KL_SERIAL_MAX);
    }
}

/* Certificates and CRLs must be one SEQUENCE with a DER header; its inside is the certificate
 * parser's to judge. */
static int is_sequence(struct kl_bytes element)
{
    const unsigned char *p = element.data;
    long content;
    int tag, tag_class, info;

    info = ASN1_get_object(&p, &content, &tag, &tag_class, (long)element.len);
    return info == V_ASN1_CONSTRUCTED && tag == V_ASN1_SEQUENCE && tag_class == V_ASN1_UNIVERSAL &&
           ASN1_object_size(1, (int)content, V_ASN1_SEQUENCE) == (int)element.len;
}

static void check_chain(struct kl_check *check, const struct kl_bytes *chain, size_t count,
                        size_t min)
{
    check_number(check, "number of certificates", count, min, KL_CHAIN_MAX);
    for (size_t i = 0; check->rc == KL_OK && i < count; i++) {
        check_length(check, "a certificate of the chain", chain[i].len, 1, KL_CERT_MAX);
        if (check->rc == KL_OK && !is_sequence(chain[i])) {
            kl_check_refuse(check, "certificate %zu of the chain is not a DER SEQUENCE", i + 1);
        }
    }
}

static void check_hello(struct kl_check *check, const struct kl_hello *hello)
{
    check_number(check, "version", hello->version, 0, NUMBER_MAX);
    check_number(check, "number of suites", hello->suite_count, 1, KL_OFFER_MAX);
    check_number(check, "number of algorithms", hello->alg_count, 1, KL_OFFER_MAX);
    check_serial(check, "serial", hello->serial);
    check_serial(check, "pinpadSerial", hello->pinpad_serial);
    check_number(check, "number of anchors", hello->anchor_count, 0, KL_ANCHOR_MAX);
    check_chain(check, hello->chain, hello->chain_count, 0);
}

static void check_certificate(struct kl_check *check, const struct kl_certificate *certificate)
{
    check_number(check, "oaepHash", certificate->oaep_hash, KL_OAEP_SHA1, KL_OAEP_SHA256);
    check_chain(check, certificate->chain, certificate->chain_count, 1);
    if (certificate->crl.len > 0) {
        check_length(check, "crl", certificate->crl.len, 1, KL_CRL_MAX);
        if (check->rc == KL_OK && !is_sequence(certificate->crl)) {
            kl_check_refuse(check, "crl is not a DER SEQUENCE");
        }
    }
}

static void check_randoms_ec(struct kl_check *check, const struct kl_randoms *randoms)
{
    if (randoms->c_rnd1_len != KL_C_RND1_EC_LEN) {
        kl_check_refuse(check, "cRnd1 has %zu bytes: must have %d with a point",
                        randoms->c_rnd1_len, KL_C_RND1_EC_LEN);
    }
    if (randoms->point_len != 65 && randoms->point_len != 97 && randoms->point_len != 133) {
        kl_check_refuse(check, "point has %zu bytes: must have 65, 97 or 133", randoms->point_len);
    }
}

static void check_randoms(struct kl_check *check, const struct kl_randoms *randoms)
{
    switch (randoms->suite) {
    case KL_SUITE_HARDENED_EC:
        check_randoms_ec(check, randoms);
        break;
    case KL_SUITE_CLASSIC:
        check_unused(check, "iv", randoms->iv, sizeof(randoms->iv));
        check_unused(check, "cRnd2", randoms->c_rnd2, sizeof(randoms->c_rnd2));
        check_rsa_block(check, "cRnd1", randoms->c_rnd1_len);
        check_length(check, "point", randoms->point_len, 0, 0);
        break;
    case KL_SUITE_HARDENED_RSA:
        check_rsa_block(check, "cRnd1", randoms->c_rnd1_len);
        check_length(check, "point", randoms->point_len, 0, 0);
        break;
    default:
        kl_check_refuse(check, "suite %u is unknown", (unsigned)randoms->suite);
    }
    if (randoms->sig_len > 0) {
        check_signature(check, randoms->sig_len);
    }
}

void kl_tbs_check(struct kl_check *check, const struct kl_tbs *tbs)
{
    if (tbs->ctmk_len == 0) {
        check_unused(check, "rnd2", tbs->rnd2, sizeof(tbs->rnd2));
    } else if (tbs->ctmk_len != 24 && tbs->ctmk_len != 32 && tbs->ctmk_len != 40) {
        kl_check_refuse(check, "ctmk has %zu bytes: must have 24, 32 or 40", tbs->ctmk_len);
    }
    check_serial(check, "serial", tbs->serial);
    check_number(check, "usage", tbs->usage, KL_USAGE_KEK, KL_USAGE_KEK);
    check_number(check, "algorithm", tbs->alg, KL_ALG_TDES2, KL_ALG_AES256);
    check_number(check, "TMK version", tbs->version, 1, KL_VERSION_MAX);
    check_number(check, "kcvMethod", tbs->kcv_method, KL_KCV_TDES_ZEROS, KL_KCV_AES_CMAC);
    check_length(check, "kcv", tbs->kcv_len, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX);
}

static void check_master_key(struct kl_check *check, const struct kl_master_key *master_key)
{
    kl_tbs_check(check, &master_key->tbs);
    if (master_key->tbs.ctmk_len == 0) {
        check_rsa_block(check, "signature", master_key->sig_len); /* it gives Ctmk back */
    } else {
        check_signature(check, master_key->sig_len);
        check_unused(check, "mac", master_key->mac, sizeof(master_key->mac));
    }
}

static void check_loaded(struct kl_check *check, const struct kl_loaded *loaded)
{
    check_length(check, "kcv", loaded->kcv_len, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX);
}

static void check_done(struct kl_check *check, const struct kl_done *done)
{
    check_number(check, "verdict", done->verdict, KL_VERDICT_ACTIVE, KL_VERDICT_DROP);
    check_number(check, "TMK version", done->tmk_version, 1, KL_VERSION_MAX);
}

static void check_confirm(struct kl_check *check, const struct kl_confirm *confirm)
{
    check_number(check, "version", confirm->version, 0, NUMBER_MAX);
    check_serial(check, "serial", confirm->serial);
    check_serial(check, "pinpadSerial", confirm->pinpad_serial);
    check_number(check, "TMK version", confirm->tmk_version, 1, KL_VERSION_MAX);
    check_loaded(check, &confirm->loaded);
}

static void check_error(struct kl_check *check, const struct kl_error_msg *error)
{
    size_t len = strnlen(error->text, sizeof(error->text));

    check_number(check, "code", error->code, 0, NUMBER_MAX);
    check_number(check, "retryAfter", error->retry_after, 0, KL_RETRY_AFTER_MAX);
    check_length(check, "text", len, 0, KL_ERROR_TEXT_MAX);
    for (size_t i = 0; i < len; i++) {
        if (error->text[i] < 0x20 || error->text[i] > 0x7e) {
            kl_check_refuse(check, "text is not printable ASCII at byte %zu", i + 1);
        }
    }
}

static void check_sign_in(struct kl_check *check, const struct kl_sign_in *sign_in)
{
    check_number(check, "version", sign_in->version, 0, NUMBER_MAX);
    check_serial(check, "serial", sign_in->serial);
    check_serial(check, "pinpadSerial", sign_in->pinpad_serial);
    check_number(check, "TMK version", sign_in->tmk_version, 1, KL_VERSION_MAX);
    check_number(check, "format", sign_in->format, KL_FORMAT_KEYS, KL_FORMAT_FIELD62);
}

static void check_wrapped_key(struct kl_check *check, const char *field, const char *kcv_field,
                              const struct kl_wrapped_key *key, size_t len)
{
    check_length(check, field, key->len, len, len);
    check_length(check, kcv_field, key->kcv_len, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX);
}

void kl_keys_body_check(struct kl_check *check, const struct kl_working_keys *keys)
{
    const struct kl_alg_info *info = kl_alg_info(keys->alg);
    size_t session_len;

    check_number(check, "TMK version", keys->tmk_version, 1, KL_VERSION_MAX);
    if (!info) {
        check_number(check, "algorithm", keys->alg, KL_ALG_TDES2, KL_ALG_AES256);
        return;
    }
    session_len = kl_suite_c_session_len(info->alg);
    check_length(check, "cSession", keys->c_session_len, session_len, session_len);
    if (!keys->has_field62) {
        size_t len = info->is_aes ? kl_alg_wrapped_len(info) : info->key_len;

        check_wrapped_key(check, "pik", "pik kcv", &keys->pik, len);
        check_wrapped_key(check, "mak", "mak kcv", &keys->mak, len);
        check_unused(check, "field62", keys->field62, sizeof(keys->field62));
    } else if (info->is_aes) {
        kl_check_refuse(check, "field62 cannot hold keys under a TMK of algorithm %s", info->name);
    } else {
        check_length(check, "pik beside field62", keys->pik.len, 0, 0);
        check_length(check, "mak beside field62", keys->mak.len, 0, 0);
    }
}

void kl_msg_check(struct kl_check *check, const struct kl_msg *msg)
{
    switch (msg->type) {
    case KL_MSG_HELLO:
        check_hello(check, &msg->u.hello);
        break;
    case KL_MSG_CERTIFICATE:
        check_certificate(check, &msg->u.certificate);
        break;
    case KL_MSG_RANDOMS:
        check_randoms(check, &msg->u.randoms);
        break;
    case KL_MSG_MASTER_KEY:
        check_master_key(check, &msg->u.master_key);
        break;
    case KL_MSG_LOADED:
        check_loaded(check, &msg->u.loaded);
        break;
    case KL_MSG_FAILED:
        check_number(check, "reason", msg->u.failed.reason, 0, NUMBER_MAX);
        break;
    case KL_MSG_DONE:
        check_done(check, &msg->u.done);
        break;
    case KL_MSG_CONFIRM:
        check_confirm(check, &msg->u.confirm);
        break;
    case KL_MSG_ERROR:
        check_error(check, &msg->u.error);
        break;
    case KL_MSG_SIGN_IN:
        check_sign_in(check, &msg->u.sign_in);
        break;
    case KL_MSG_WORKING_KEYS:
        kl_keys_body_check(check, &msg->u.working_keys);
        break;
    default:
        kl_check_refuse(check, "message type %u is unknown", (unsigned)msg->type);
    }
}
