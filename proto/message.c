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
        [KL_MSG_HELLO] = "Hello",     [KL_MSG_CERTIFICATE] = "Certificate",
        [KL_MSG_RANDOMS] = "Randoms", [KL_MSG_MASTER_KEY] = "MasterKey",
        [KL_MSG_LOADED] = "Loaded",   [KL_MSG_FAILED] = "Failed",
        [KL_MSG_DONE] = "Done",       [KL_MSG_CONFIRM] = "Confirm",
        [KL_MSG_ERROR] = "Error",
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
    if (len < min || len > max) {
        kl_check_refuse(check, "%s has %zu bytes: must have %zu to %zu", field, len, min, max);
    }
}

static void check_rsa_block(struct kl_check *check, const char *field, size_t len)
{
    if (len > KL_RSA_MAX || !kl_rsa_bits_ok((unsigned)len * 8)) {
        kl_check_refuse(check, "%s has %zu bytes: must have 256, 384 or 512", field, len);
    }
}

static void check_serial(struct kl_check *check, const char *field, const char *serial)
{
    if (!kl_serial_ok(serial)) {
        kl_check_refuse(check, "%s is malformed: must be " SERIAL_RULE, field, KL_SERIAL_MAX);
    }
}

static void check_hello(struct kl_check *check, const struct kl_hello *hello)
{
    check_number(check, "version", hello->version, 0, NUMBER_MAX);
    check_number(check, "number of suites", hello->suite_count, 1, KL_OFFER_MAX);
    check_number(check, "number of algorithms", hello->alg_count, 1, KL_OFFER_MAX);
    check_serial(check, "serial", hello->serial);
    check_serial(check, "pinpadSerial", hello->pinpad_serial);
}

/* A chain element must be one SEQUENCE with a DER header; its inside is the certificate parser's
 * to judge. */
static int is_sequence(struct kl_bytes element)
{
    const unsigned char *p = element.data;
    long content;
    int tag, tag_class, info;

    info = ASN1_get_object(&p, &content, &tag, &tag_class, (long)element.len);
    return info == V_ASN1_CONSTRUCTED && tag == V_ASN1_SEQUENCE && tag_class == V_ASN1_UNIVERSAL &&
           ASN1_object_size(1, (int)content, V_ASN1_SEQUENCE) == (int)element.len;
}

static void check_certificate(struct kl_check *check, const struct kl_certificate *certificate)
{
    check_number(check, "oaepHash", certificate->oaep_hash, KL_OAEP_SHA1, KL_OAEP_SHA256);
    check_number(check, "number of certificates", certificate->chain_count, 1, KL_CHAIN_MAX);
    for (size_t i = 0; check->rc == KL_OK && i < certificate->chain_count; i++) {
        check_length(check, "a certificate of the chain", certificate->chain[i].len, 1,
                     KL_CERT_MAX);
        if (check->rc == KL_OK && !is_sequence(certificate->chain[i])) {
            kl_check_refuse(check, "certificate %zu of the chain is not a DER SEQUENCE", i + 1);
        }
    }
}

void kl_tbs_check(struct kl_check *check, const struct kl_tbs *tbs)
{
    if (tbs->ctmk_len != 24 && tbs->ctmk_len != 32 && tbs->ctmk_len != 40) {
        kl_check_refuse(check, "ctmk has %zu bytes: must have 24, 32 or 40", tbs->ctmk_len);
    }
    check_serial(check, "serial", tbs->serial);
    check_number(check, "usage", tbs->usage, KL_USAGE_KEK, KL_USAGE_KEK);
    check_number(check, "algorithm", tbs->alg, KL_ALG_TDES2, KL_ALG_AES256);
    check_number(check, "TMK version", tbs->version, 1, KL_VERSION_MAX);
    check_number(check, "kcvMethod", tbs->kcv_method, KL_KCV_TDES_ZEROS, KL_KCV_AES_CMAC);
    check_length(check, "kcv", tbs->kcv_len, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX);
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
        check_rsa_block(check, "cRnd1", msg->u.randoms.c_rnd1_len);
        break;
    case KL_MSG_MASTER_KEY:
        kl_tbs_check(check, &msg->u.master_key.tbs);
        check_rsa_block(check, "signature", msg->u.master_key.sig_len);
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
    default:
        kl_check_refuse(check, "message type %u is unknown", (unsigned)msg->type);
    }
}
