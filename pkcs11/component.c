/* SPDX-License-Identifier: BSD-2-Clause */
/* Key components: see component.h. */
#include "pkcs11/component.h"

#include <string.h>

#include "pkcs11/ops.h"

#define DES_LEN 8          /* bytes of one DES key */
#define DES_KEY_BITS 0xfeu /* of each of them; the last one is parity */

/* The value of a hex digit, or -1. */
static int digit(int c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum kl_rc kl_kcv_parse(const char *text, uint8_t kcv[KL_KCV_LEN_MAX], size_t *len,
                        struct kl_err *err)
{
    size_t digits = strlen(text);
    uint8_t value[KL_KCV_LEN_MAX];

    if (digits < 2 * KL_KCV_LEN_MIN || digits > 2 * KL_KCV_LEN_MAX || digits % 2 != 0) {
        return kl_err_set(err, KL_ERR_INPUT, "a KCV must have %d or %d hex digits, not %zu",
                          2 * KL_KCV_LEN_MIN, 2 * KL_KCV_LEN_MAX, digits);
    }
    for (size_t i = 0; i < digits / 2; i++) {
        int high = digit((unsigned char)text[2 * i]), low = digit((unsigned char)text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return kl_err_set(err, KL_ERR_INPUT, "a KCV must have hex digits only");
        }
        value[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(kcv, value, digits / 2);
    *len = digits / 2;
    return KL_OK;
}

/* ---- One component ---- */

/* Hex from text into out, which has room for len bytes; KL_ERR_INPUT if it is not exactly that. */
static enum kl_rc decode(struct kl_secret *text, uint8_t *out, size_t len, struct kl_err *err)
{
    const uint8_t *in = kl_secret_data(text);
    size_t digits = 0;

    for (size_t i = 0; i < kl_secret_len(text); i++) {
        int value = digit(in[i]);

        if (in[i] == ' ' && digits % 2 == 0) {
            continue;
        }
        if (value < 0) {
            return kl_err_set(err, KL_ERR_INPUT, "must be hex digits, two for each byte");
        }
        if (digits / 2 < len) {
            out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | value);
        }
        digits++;
    }
    if (digits != 2 * len) {
        return kl_err_set(err, KL_ERR_INPUT, "has %zu hex digits, must have %zu", digits, 2 * len);
    }
    return KL_OK;
}

/* The bits that a key of that algorithm uses of each byte. */
static uint8_t mask_of(const struct kl_alg_info *info)
{
    return info->is_aes ? 0xff : DES_KEY_BITS;
}

static int is_zero(const uint8_t *data, size_t len, uint8_t mask)
{
    uint8_t all = 0;

    for (size_t i = 0; i < len; i++) {
        all |= data[i] & mask;
    }
    return all == 0;
}

static int is_equal(const uint8_t *a, const uint8_t *b, size_t len, uint8_t mask)
{
    uint8_t all = 0;

    for (size_t i = 0; i < len; i++) {
        all |= (uint8_t)((a[i] ^ b[i]) & mask);
    }
    return all == 0;
}

/* The byte with its parity bit set so that the number of ones is odd. */
static uint8_t odd(uint8_t byte)
{
    uint8_t bits = byte & DES_KEY_BITS;
    uint8_t fold = bits ^ (uint8_t)(bits >> 4);

    fold ^= (uint8_t)(fold >> 2);
    fold ^= (uint8_t)(fold >> 1);
    return (uint8_t)(bits | (~fold & 1));
}

static int has_odd_parity(const uint8_t *data, size_t len)
{
    uint8_t wrong = 0;

    for (size_t i = 0; i < len; i++) {
        wrong |= (uint8_t)(data[i] ^ odd(data[i]));
    }
    return wrong == 0;
}

enum kl_rc kl_component_parse(const struct kl_alg_info *info, enum kl_parity parity,
                              struct kl_secret *text, struct kl_secret **out, struct kl_err *err)
{
    struct kl_secret *value = NULL;
    enum kl_rc rc = kl_secret_new(info->key_len, &value, err);

    if (rc == KL_OK) {
        kl_secret_set_len(value, info->key_len);
        rc = decode(text, kl_secret_data(value), info->key_len, err);
    }
    if (rc == KL_OK && is_zero(kl_secret_data(value), info->key_len, mask_of(info))) {
        rc = kl_err_set(err, KL_ERR_INPUT, "is all zeros: no component");
    }
    if (rc == KL_OK && !info->is_aes && parity == KL_PARITY_ODD &&
        !has_odd_parity(kl_secret_data(value), info->key_len)) {
        rc = kl_err_set(err, KL_ERR_INPUT,
                        "is not of odd parity: mistyped, or made without (--parity ignore)");
    }
    if (rc == KL_OK) {
        *out = value;
        value = NULL;
    }
    kl_secret_free(value);
    return rc;
}

/* ---- Their sum ---- */

/* A TDES key that is really a shorter one (NIST SP 800-67 rev. 2, 3.3.2). */
static enum kl_rc check_parts(const struct kl_alg_info *info, const uint8_t *key,
                              struct kl_err *err)
{
    const uint8_t *k1 = key, *k2 = key + DES_LEN, *k3 = key + 2 * (size_t)DES_LEN;
    int three = info->key_len == 3 * (size_t)DES_LEN;

    if (info->is_aes) {
        return KL_OK;
    }
    if (is_equal(k1, k2, DES_LEN, DES_KEY_BITS) ||
        (three && is_equal(k2, k3, DES_LEN, DES_KEY_BITS))) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "the key is weak: two parts of it that follow each "
                          "other are equal, which makes it single DES");
    }
    if (three && is_equal(k1, k3, DES_LEN, DES_KEY_BITS)) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "the key is weak: its first and last part are equal, so it is no tdes3");
    }
    return KL_OK;
}

static enum kl_rc check_distinct(const struct kl_alg_info *info,
                                 struct kl_secret *const *components, size_t count,
                                 struct kl_err *err)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            if (is_equal(kl_secret_data(components[i]), kl_secret_data(components[j]),
                         info->key_len, mask_of(info))) {
                return kl_err_set(err, KL_ERR_INPUT, "components %zu and %zu are equal", i + 1,
                                  j + 1);
            }
        }
    }
    return KL_OK;
}

enum kl_rc kl_components_sum(const struct kl_alg_info *info, struct kl_secret *const *components,
                             size_t count, struct kl_secret **out, struct kl_err *err)
{
    struct kl_secret *sum = NULL;
    uint8_t *key;
    enum kl_rc rc;

    if (count < KL_COMPONENTS_MIN || count > KL_COMPONENTS_MAX) {
        return kl_err_set(err, KL_ERR_INTERNAL, "%zu components", count);
    }
    if ((rc = check_distinct(info, components, count, err)) != KL_OK ||
        (rc = kl_secret_new(info->key_len, &sum, err)) != KL_OK) {
        return rc;
    }
    kl_secret_set_len(sum, info->key_len);
    key = kl_secret_data(sum);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *component = kl_secret_data(components[i]);

        for (size_t j = 0; j < info->key_len; j++) {
            key[j] ^= component[j];
        }
    }
    for (size_t j = 0; !info->is_aes && j < info->key_len; j++) {
        key[j] = odd(key[j]);
    }
    if (is_zero(key, info->key_len, mask_of(info))) {
        rc = kl_err_set(err, KL_ERR_INPUT, "the components cancel each other out");
    } else {
        rc = check_parts(info, key, err);
    }
    if (rc == KL_OK) {
        *out = sum;
        sum = NULL;
    }
    kl_secret_free(sum);
    return rc;
}

enum kl_rc kl_component_kcv(struct kl_session *session, const struct kl_alg_info *info,
                            struct kl_secret *value, size_t kcv_len, uint8_t *kcv,
                            struct kl_err *err)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    enum kl_rc rc =
        kl_op_import_value(session, info->alg, kl_secret_data(value), KL_USE_KCV, &key, err);

    if (rc == KL_OK) {
        rc = kl_op_kcv(session, key, info->alg, kcv_len, kcv, err);
    }
    kl_op_destroy(session, &key);
    return rc;
}
