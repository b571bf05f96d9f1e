/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TMK algorithms, kinds of keys, curves, and the strength table.
 */
#include "proto/alg.h"

#include <openssl/obj_mac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- TMK algorithms ---- */

/* How strong a key is. Either kind of TDES counts alike: its effective strength, not its length,
 * is what a weaker wrapping key would take away from. */
enum grade {
    GRADE_NONE, /* good for nothing */
    GRADE_TDES,
    GRADE_128,
    GRADE_192,
    GRADE_256,
};

struct alg {
    struct kl_alg_info info;
    enum grade grade;
};

static const struct alg algs[KL_ALG_COUNT] = {
    {{KL_ALG_TDES2, "tdes2", 16, 0, KL_KCV_TDES_ZEROS}, GRADE_TDES},
    {{KL_ALG_TDES3, "tdes3", 24, 0, KL_KCV_TDES_ZEROS}, GRADE_TDES},
    {{KL_ALG_AES128, "aes128", 16, 1, KL_KCV_AES_CMAC}, GRADE_128},
    {{KL_ALG_AES192, "aes192", 24, 1, KL_KCV_AES_CMAC}, GRADE_192},
    {{KL_ALG_AES256, "aes256", 32, 1, KL_KCV_AES_CMAC}, GRADE_256},
};

static const struct alg *find(unsigned value)
{
    return value >= KL_ALG_TDES2 && value <= KL_ALG_COUNT ? &algs[value - KL_ALG_TDES2] : NULL;
}

const struct kl_alg_info *kl_alg_info(unsigned alg)
{
    const struct alg *found = find(alg);

    return found ? &found->info : NULL;
}

const struct kl_alg_info *kl_alg_by_name(const char *name)
{
    for (size_t i = 0; i < KL_ALG_COUNT; i++) {
        if (strcmp(algs[i].info.name, name) == 0) {
            return &algs[i].info;
        }
    }
    return NULL;
}

size_t kl_alg_wrapped_len(const struct kl_alg_info *info)
{
    return info->key_len + KL_WRAP_OVERHEAD;
}

/* ---- Curves ---- */

/* 1.2.840.10045.3.1.7, 1.3.132.0.34 and 1.3.132.0.35 (RFC 5480 section 2.1.1.1). */
static const uint8_t oid_p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
static const uint8_t oid_p384[] = {6, 5, 0x2b, 0x81, 4, 0, 34};
static const uint8_t oid_p521[] = {6, 5, 0x2b, 0x81, 4, 0, 35};

static const struct kl_curve curves[] = {
    {256, NID_X9_62_prime256v1, "P-256", "P-256", 32, 65, "SHA256", oid_p256, sizeof(oid_p256)},
    {384, NID_secp384r1, "P-384", "P-384", 48, 97, "SHA384", oid_p384, sizeof(oid_p384)},
    {521, NID_secp521r1, "P-521", "P-521", 66, 133, "SHA512", oid_p521, sizeof(oid_p521)},
};
#define CURVE_COUNT (sizeof(curves) / sizeof(curves[0]))

const struct kl_curve *kl_curve_by_bits(unsigned bits)
{
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        if (curves[i].bits == bits) {
            return &curves[i];
        }
    }
    return NULL;
}

const struct kl_curve *kl_curve_by_nid(int nid)
{
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        if (curves[i].nid == nid) {
            return &curves[i];
        }
    }
    return NULL;
}

/* ---- Kinds of keys ---- */

int kl_rsa_bits_ok(unsigned bits)
{
    return bits == 2048 || bits == 3072 || bits == 4096;
}

void kl_key_name(enum kl_key_type type, unsigned bits, char out[KL_KEY_NAME_TEXT])
{
    static const char *const prefixes[] = {
        [KL_KEY_RSA] = "RSA", [KL_KEY_EC] = "P", [KL_KEY_AES] = "AES"};
    size_t i = (size_t)type;
    const char *prefix = i < sizeof(prefixes) / sizeof(prefixes[0]) ? prefixes[i] : NULL;

    snprintf(out, KL_KEY_NAME_TEXT, "%s-%u", prefix ? prefix : "?", bits);
}

static const struct {
    const char *text; /* as people are told of it, then without the hyphen */
    const char *short_text;
    enum kl_key_type type;
    unsigned bits;
} key_names[] = {
    {"rsa-2048", "rsa2048", KL_KEY_RSA, 2048}, {"rsa-3072", "rsa3072", KL_KEY_RSA, 3072},
    {"rsa-4096", "rsa4096", KL_KEY_RSA, 4096}, {"p-256", "p256", KL_KEY_EC, 256},
    {"p-384", "p384", KL_KEY_EC, 384},         {"p-521", "p521", KL_KEY_EC, 521},
};

enum kl_rc kl_key_parse(const char *text, enum kl_key_type *type, unsigned *bits,
                        struct kl_err *err)
{
    for (size_t i = 0; i < sizeof(key_names) / sizeof(key_names[0]); i++) {
        if (strcasecmp(text, key_names[i].text) == 0 ||
            strcasecmp(text, key_names[i].short_text) == 0) {
            *type = key_names[i].type;
            *bits = key_names[i].bits;
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_INPUT,
                      "\"%.40s\" is no kind of key: rsa-2048, rsa-3072, rsa-4096, p-256, p-384 or "
                      "p-521",
                      text);
}

/* ---- Strength ---- */

/* What a key of that type and size may carry at most. */
static enum grade grade_of(enum kl_key_type type, unsigned bits)
{
    switch (type) {
    case KL_KEY_RSA:
        if (bits >= 3072) {
            return GRADE_128; /* 4096 bits are not worth 192 either */
        }
        return bits >= 2048 ? GRADE_TDES : GRADE_NONE;
    case KL_KEY_EC:
        return bits == 521   ? GRADE_256
               : bits == 384 ? GRADE_192
               : bits == 256 ? GRADE_128
                             : GRADE_NONE;
    case KL_KEY_AES:
        return bits == 256   ? GRADE_256
               : bits == 192 ? GRADE_192
               : bits == 128 ? GRADE_128
                             : GRADE_NONE;
    }
    return GRADE_NONE;
}

enum kl_rc kl_alg_strength(enum kl_key_type type, unsigned bits, enum kl_alg alg,
                           struct kl_err *err)
{
    /* The smallest that would do, by grade: of key pairs, of AES keys. */
    static const char *const remedies[][2] = {
        [GRADE_TDES] = {"RSA-2048 or P-256", "AES-128"},
        [GRADE_128] = {"RSA-3072 or P-256", "AES-128"},
        [GRADE_192] = {"P-384 (no RSA key is enough)", "AES-192"},
        [GRADE_256] = {"P-521 (no RSA key is enough)", "AES-256"},
    };
    const struct alg *found = find(alg);
    char name[KL_KEY_NAME_TEXT];

    if (!found) {
        return kl_err_set(err, KL_ERR_STRENGTH, "TMK algorithm %u is unknown", (unsigned)alg);
    }
    if (grade_of(type, bits) < found->grade) {
        kl_key_name(type, bits, name);
        return kl_err_set(err, KL_ERR_STRENGTH,
                          "a key of %s is too weak to carry a TMK of algorithm %s: the smallest "
                          "that may is %s",
                          name, found->info.name, remedies[found->grade][type == KL_KEY_AES]);
    }
    return KL_OK;
}

/* ---- Key check values ---- */

void kl_kcv_format(const uint8_t *kcv, size_t len, char out[KL_KCV_TEXT])
{
    static const char digits[] = "0123456789ABCDEF";

    if (len > KL_KCV_LEN_MAX) {
        abort();
    }
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[kcv[i] >> 4];
        out[2 * i + 1] = digits[kcv[i] & 15];
    }
    out[2 * len] = '\0';
}
