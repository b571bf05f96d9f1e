/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Field 62: the place of every byte, and that keys under a TDES TMK come out of it with their KCVs.
 */
#include <check.h>
#include <openssl/evp.h>
#include <string.h>

#include "proto/field62.h"
#include "tests/support/suite.h"

/* Written by hand from the layout. */
static const struct kl_field62 parts = {
    {0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e,
     0x1f},
    {0x8d, 0x0a, 0x74, 0xb8},
    {0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27},
    {0xab, 0x71, 0x53, 0xca},
};
static const uint8_t whole[KL_FIELD62_LEN] = {
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d,
    0x1e, 0x1f, 0x8d, 0x0a, 0x74, 0xb8, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xab, 0x71, 0x53, 0xca,
};

START_TEST(test_format)
{
    uint8_t out[KL_FIELD62_LEN];

    memset(out, 0xee, sizeof(out));
    kl_field62_format(&parts, out);
    ck_assert_mem_eq(out, whole, sizeof(whole));
}
END_TEST

START_TEST(test_parse)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_field62 out;

    memset(&out, 0xee, sizeof(out));
    ck_assert_int_eq(kl_field62_parse(whole, &out, &err), KL_OK);
    ck_assert_mem_eq(&out, &parts, sizeof(out));
}
END_TEST

/* Every bit of every byte that must be zero. */
START_TEST(test_not_zero)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t in[KL_FIELD62_LEN];
    struct kl_field62 out, before;

    memset(&out, 0x5a, sizeof(out));
    before = out;
    memcpy(in, whole, sizeof(in));
    in[28 + _i / 8] = (uint8_t)(1u << _i % 8);
    ck_assert_int_eq(kl_field62_parse(in, &out, &err), KL_ERR_PROTOCOL);
    ck_assert_str_eq(err.text, "field 62 holds something in bytes 29 to 36, which must be zero");
    ck_assert_mem_eq(&out, &before, sizeof(out));
}
END_TEST

/* TDES-ECB under a key of 16 bytes. */
static void tdes(const uint8_t key[16], int encrypt, const uint8_t *in, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int out_len = 0;

    ck_assert_ptr_nonnull(ctx);
    ck_assert_int_eq(EVP_CipherInit_ex(ctx, EVP_des_ede(), NULL, key, NULL, encrypt), 1);
    ck_assert_int_eq(EVP_CIPHER_CTX_set_padding(ctx, 0), 1);
    ck_assert_int_eq(EVP_CipherUpdate(ctx, out, &out_len, in, (int)len), 1);
    ck_assert_int_eq(out_len, (int)len);
    EVP_CIPHER_CTX_free(ctx);
}

/* Computed with the openssl command: PIK 0123456789ABCDEFFEDCBA9876543210 and MAK 1122334455667788
 * under the TMK below; KCVs are `openssl enc -des-ede` of 8 zero bytes, for the MAK under it
 * twice. */
START_TEST(test_keys)
{
    static const uint8_t tmk[16] = {0xca, 0x5d, 0x92, 0x59, 0x8d, 0xca, 0x48, 0xce,
                                    0x8a, 0x4c, 0x76, 0x36, 0x1a, 0x92, 0x69, 0xe9};
    static const uint8_t field[KL_FIELD62_LEN] = {
        0xaa, 0x3a, 0x8e, 0x05, 0x52, 0xe7, 0x55, 0xbd, 0xa9, 0xd6, 0xa7, 0xb8, 0xb6, 0x36,
        0x71, 0x74, 0x08, 0xd7, 0xb4, 0xfb, 0xee, 0xb7, 0x61, 0xa2, 0x74, 0xa2, 0x50, 0xbf,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x6f, 0xb2, 0x3e, 0xad,
    };
    static const uint8_t zeros[8];
    struct kl_err err = KL_ERR_INIT;
    struct kl_field62 out;
    uint8_t pik[16], mak[16], kcv[8];

    ck_assert_int_eq(kl_field62_parse(field, &out, &err), KL_OK);
    tdes(tmk, 0, out.pik, sizeof(out.pik), pik);
    ck_assert_mem_eq(pik, "\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10", 16);
    tdes(pik, 1, zeros, sizeof(zeros), kcv);
    ck_assert_mem_eq(kcv, out.pik_kcv, sizeof(out.pik_kcv));
    tdes(tmk, 0, out.mak, sizeof(out.mak), mak);
    ck_assert_mem_eq(mak, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
    memcpy(mak + 8, mak, 8); /* single length: both halves alike */
    tdes(mak, 1, zeros, sizeof(zeros), kcv);
    ck_assert_mem_eq(kcv, out.mak_kcv, sizeof(out.mak_kcv));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("field62");
    TCase *tcase = tcase_create("field62");

    tcase_add_test(tcase, test_format);
    tcase_add_test(tcase, test_parse);
    tcase_add_loop_test(tcase, test_not_zero, 0, 64);
    tcase_add_test(tcase, test_keys);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
