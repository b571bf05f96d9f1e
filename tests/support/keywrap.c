/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys in the other party's hands: see keywrap.h. */
#include "tests/support/keywrap.h"

#include <check.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

void keywrap_kcv(const struct kl_alg_info *info, const uint8_t *key, uint8_t kcv[KL_KCV_LEN_MAX])
{
    static const char *const ciphers[] = {"AES-128-CBC", "AES-192-CBC", "AES-256-CBC"};
    uint8_t zeros[16] = {0}, out[32];
    size_t len = 0;
    int n = 0;

    if (info->is_aes) {
        ck_assert_ptr_nonnull(EVP_Q_mac(NULL, "CMAC", NULL, ciphers[info->key_len / 8 - 2], NULL,
                                        key, info->key_len, zeros, 16, out, sizeof(out), &len));
    } else {
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        const EVP_CIPHER *cipher = info->key_len == 16 ? EVP_des_ede_ecb() : EVP_des_ede3_ecb();

        ck_assert_int_eq(EVP_EncryptInit_ex(ctx, cipher, NULL, key, NULL), 1);
        ck_assert_int_eq(EVP_EncryptUpdate(ctx, out, &n, zeros, 8), 1);
        EVP_CIPHER_CTX_free(ctx);
    }
    memcpy(kcv, out, KL_KCV_LEN_MAX);
}

void keywrap_kcv_text(const struct kl_alg_info *info, const uint8_t *key, char out[KL_KCV_TEXT])
{
    uint8_t kcv[KL_KCV_LEN_MAX];

    keywrap_kcv(info, key, kcv);
    kl_kcv_format(kcv, 3, out);
}

size_t keywrap_aes(const uint8_t *kek, size_t kek_len, int padded, const uint8_t *key, size_t len,
                   uint8_t *out)
{
    static const EVP_CIPHER *(*const ciphers[])(void) = {
        EVP_aes_128_wrap,     EVP_aes_192_wrap,     EVP_aes_256_wrap,
        EVP_aes_128_wrap_pad, EVP_aes_192_wrap_pad, EVP_aes_256_wrap_pad,
    };
    const EVP_CIPHER *cipher = ciphers[(kek_len - 16) / 8 + (padded ? 3 : 0)]();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ck_assert_int_eq(EVP_EncryptInit_ex(ctx, cipher, NULL, kek, NULL), 1);
    ck_assert_int_eq(EVP_EncryptUpdate(ctx, out, &n, key, (int)len), 1);
    EVP_CIPHER_CTX_free(ctx);
    return (size_t)n;
}

void keywrap_aes_open(const uint8_t *kek, size_t kek_len, const uint8_t *wrapped, size_t len,
                      uint8_t *out)
{
    static const EVP_CIPHER *(*const ciphers[])(void) = {EVP_aes_128_wrap, EVP_aes_192_wrap,
                                                         EVP_aes_256_wrap};
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ck_assert_int_eq(EVP_DecryptInit_ex(ctx, ciphers[(kek_len - 16) / 8](), NULL, kek, NULL), 1);
    ck_assert_int_eq(EVP_DecryptUpdate(ctx, out, &n, wrapped, (int)len), 1);
    ck_assert_int_eq(n, (int)len - 8);
    EVP_CIPHER_CTX_free(ctx);
}

char *keywrap_hex(const uint8_t *data, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        snprintf(out + 2 * i, 3, "%02X", data[i]);
    }
    out[2 * len] = '\0';
    return out;
}
