/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TMK algorithms and the strength table.
 */
#include "proto/alg.h"

#include <stdlib.h>
#include <string.h>

struct alg {
    struct kl_alg_info info;
    unsigned rsa_bits;  /* smallest RSA work key that may carry it; 0 = none of at most 4096 */
    const char *remedy; /* the smallest work key that would do, in words */
};

static const struct alg algs[KL_ALG_COUNT] = {
    {{KL_ALG_TDES2, "tdes2", 16, 0, KL_KCV_TDES_ZEROS}, 2048, "RSA-2048"},
    {{KL_ALG_TDES3, "tdes3", 24, 0, KL_KCV_TDES_ZEROS}, 2048, "RSA-2048"},
    {{KL_ALG_AES128, "aes128", 16, 1, KL_KCV_AES_CMAC}, 3072, "RSA-3072"},
    {{KL_ALG_AES192, "aes192", 24, 1, KL_KCV_AES_CMAC}, 0, "EC P-384 (no RSA key is enough)"},
    {{KL_ALG_AES256, "aes256", 32, 1, KL_KCV_AES_CMAC}, 0, "EC P-521 (no RSA key is enough)"},
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

int kl_rsa_bits_ok(unsigned bits)
{
    return bits == 2048 || bits == 3072 || bits == 4096;
}

enum kl_rc kl_alg_strength(enum kl_key_type type, unsigned bits, enum kl_alg alg,
                           struct kl_err *err)
{
    const struct alg *found = find(alg);

    if (!found) {
        return kl_err_set(err, KL_ERR_STRENGTH, "TMK algorithm %u is unknown", (unsigned)alg);
    }
    if (type != KL_KEY_RSA) {
        return kl_err_set(err, KL_ERR_STRENGTH, "work key type %u is unknown", (unsigned)type);
    }
    if (found->rsa_bits == 0 || bits < found->rsa_bits) {
        return kl_err_set(err, KL_ERR_STRENGTH,
                          "an RSA-%u work key is too weak to carry a TMK of algorithm %s: the "
                          "smallest work key that may is %s",
                          bits, found->info.name, found->remedy);
    }
    return KL_OK;
}

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
