/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What both sides of a suite compute from public inputs: algorithms and strength, labels, MAC
 * inputs, the transcript.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/alg.h"
#include "proto/suite.h"
#include "proto/transcript.h"
#include "tests/support/suite.h"

static void to_hex(const uint8_t *in, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        snprintf(out + 2 * i, 3, "%02x", in[i]);
    }
}

START_TEST(test_alg_table)
{
    static const struct {
        const char *name;
        size_t len;
        int is_aes;
    } want[KL_ALG_COUNT] = {
        {"tdes2", 16, 0}, {"tdes3", 24, 0}, {"aes128", 16, 1}, {"aes192", 24, 1}, {"aes256", 32, 1},
    };

    for (unsigned i = 0; i < KL_ALG_COUNT; i++) {
        const struct kl_alg_info *info = kl_alg_info(i + 1);

        ck_assert_ptr_nonnull(info);
        ck_assert_ptr_eq(kl_alg_by_name(want[i].name), info);
        ck_assert_uint_eq(info->alg, i + 1);
        ck_assert_str_eq(info->name, want[i].name);
        ck_assert_uint_eq(info->key_len, want[i].len);
        ck_assert_int_eq(info->is_aes, want[i].is_aes);
        ck_assert_int_eq(info->kcv_method, want[i].is_aes ? KL_KCV_AES_CMAC : KL_KCV_TDES_ZEROS);
    }
    ck_assert_ptr_null(kl_alg_info(0));
    ck_assert_ptr_null(kl_alg_info(KL_ALG_COUNT + 1));
    ck_assert_ptr_null(kl_alg_info((unsigned)-1));
    ck_assert_ptr_null(kl_alg_by_name("aes"));
    ck_assert_ptr_null(kl_alg_by_name("AES128"));
    ck_assert_ptr_null(kl_alg_by_name(""));
}
END_TEST

START_TEST(test_sizes)
{
    static const unsigned good[] = {2048, 3072, 4096};
    static const unsigned bad[] = {0, 1024, 2047, 2049, 2056, 3071, 3073, 4095, 4097, 8192};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(kl_rsa_bits_ok(good[i]) == 1, "%u", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(kl_rsa_bits_ok(bad[i]) == 0, "%u", bad[i]);
    }
    ck_assert_uint_eq(kl_alg_wrapped_len(kl_alg_info(KL_ALG_TDES2)), 24);
    ck_assert_uint_eq(kl_alg_wrapped_len(kl_alg_info(KL_ALG_AES256)), KL_CTMK_LEN_MAX);
}
END_TEST

/* design: RSA-2048 carries TDES; RSA-3072 and -4096 also AES-128; no RSA key carries more. */
static const struct {
    unsigned bits;
    enum kl_alg alg;
    const char *smallest; /* NULL = may carry */
} strengths[] = {
    {2048, KL_ALG_TDES2, NULL},        {2048, KL_ALG_TDES3, NULL},
    {2048, KL_ALG_AES128, "RSA-3072"}, {2048, KL_ALG_AES192, "P-384"},
    {2048, KL_ALG_AES256, "P-521"},    {3072, KL_ALG_TDES3, NULL},
    {3072, KL_ALG_AES128, NULL},       {3072, KL_ALG_AES192, "P-384"},
    {4096, KL_ALG_AES128, NULL},       {4096, KL_ALG_AES192, "P-384"},
    {4096, KL_ALG_AES256, "P-521"},    {1024, KL_ALG_TDES2, "RSA-2048"},
    {2047, KL_ALG_TDES2, "RSA-2048"},  {3071, KL_ALG_AES128, "RSA-3072"},
};

START_TEST(test_strength)
{
    struct kl_err err = KL_ERR_INIT;
    const char *smallest = strengths[_i].smallest;
    char key[16];

    ck_assert_int_eq(kl_alg_strength(KL_KEY_RSA, strengths[_i].bits, strengths[_i].alg, &err),
                     smallest ? KL_ERR_STRENGTH : KL_OK);
    if (!smallest) {
        return;
    }
    snprintf(key, sizeof(key), "RSA-%u", strengths[_i].bits);
    ck_assert_ptr_nonnull(strstr(err.text, key));
    ck_assert_ptr_nonnull(strstr(err.text, kl_alg_info(strengths[_i].alg)->name));
    ck_assert_ptr_nonnull(strstr(err.text, smallest));
}
END_TEST

START_TEST(test_strength_unknown)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_alg_strength(KL_KEY_RSA, 4096, (enum kl_alg)0, &err), KL_ERR_STRENGTH);
    ck_assert_int_eq(kl_alg_strength(KL_KEY_RSA, 4096, (enum kl_alg)6, &err), KL_ERR_STRENGTH);
    ck_assert_int_eq(kl_alg_strength((enum kl_key_type)2, 4096, KL_ALG_TDES2, &err),
                     KL_ERR_STRENGTH);
}
END_TEST

START_TEST(test_kcv_format)
{
    static const uint8_t kcv[] = {0xca, 0x3f, 0x9b, 0x04};
    char out[KL_KCV_TEXT];

    kl_kcv_format(kcv, 3, out);
    ck_assert_str_eq(out, "CA3F9B");
    kl_kcv_format(kcv, 4, out);
    ck_assert_str_eq(out, "CA3F9B04");
}
END_TEST

START_TEST(test_kcv_too_long)
{
    static const uint8_t kcv[KL_KCV_LEN_MAX + 1];
    char out[32];

    kl_kcv_format(kcv, sizeof(kcv), out); /* aborts */
}
END_TEST

START_TEST(test_suite_names)
{
    ck_assert_str_eq(kl_suite_name(KL_SUITE_HARDENED_RSA), "hardened-rsa");
    ck_assert_ptr_null(kl_suite_name(0));
    ck_assert_ptr_null(kl_suite_name(2));
}
END_TEST

/* Computed with Python's hashlib: sha256(b"keyloader/1 wrap\0" + bytes(range(32))), and so on. */
static const struct {
    enum kl_purpose purpose;
    const char *hex;
} labels[] = {
    {KL_PURPOSE_WRAP, "ad83ee237f4cbbfb7f66323aec466209152609dd874789e3a263301ae3ecc980"},
    {KL_PURPOSE_NONCE, "6e0fc29e77a07723617135742bdd8909ef432b1fcfcf01918cde5047f9c4ddb4"},
    {KL_PURPOSE_ACK, "439ce63cdbe238102466cf2b03c1ab13fb2bd4ff7a470643ba60450ff2737a33"},
    {KL_PURPOSE_DONE, "58de3d8dc61cb9ae44329c2c9c538a3cc445ba64b4baed366feda0184d27a00e"},
};

START_TEST(test_label)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t t0[KL_HASH_LEN], label[KL_HASH_LEN];
    char hex[2 * KL_HASH_LEN + 1];

    for (size_t i = 0; i < sizeof(t0); i++) {
        t0[i] = (uint8_t)i;
    }
    ck_assert_int_eq(kl_suite_label(labels[_i].purpose, t0, label, &err), KL_OK);
    to_hex(label, sizeof(label), hex);
    ck_assert_str_eq(hex, labels[_i].hex);
}
END_TEST

START_TEST(test_label_unknown)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t t0[KL_HASH_LEN] = {0}, label[KL_HASH_LEN];
    enum kl_rc rc = kl_suite_label((enum kl_purpose)9, t0, label, &err); /* aborts */

    ck_abort_msg("came back with %d", (int)rc);
}
END_TEST

START_TEST(test_mac_inputs)
{
    static const uint8_t kcv[] = {0xa1, 0xa2, 0xa3, 0xa4};
    uint8_t t2[KL_HASH_LEN], ack[KL_ACK_INPUT_MAX], done[KL_DONE_INPUT_LEN];

    memset(t2, 0x77, sizeof(t2));
    memset(ack, 0, sizeof(ack));
    ck_assert_uint_eq(kl_suite_ack_input(t2, kcv, 3, ack), 36);
    ck_assert_mem_eq(ack, t2, 32);
    ck_assert_mem_eq(ack + 32, "\x01\xa1\xa2\xa3\x00", 5);
    ck_assert_uint_eq(kl_suite_ack_input(t2, kcv, 4, ack), 37);
    ck_assert_mem_eq(ack + 32, "\x01\xa1\xa2\xa3\xa4", 5);
    kl_suite_done_input(t2, KL_VERDICT_ACTIVE, done);
    ck_assert_mem_eq(done, t2, 32);
    ck_assert_uint_eq(done[32], 1);
    kl_suite_done_input(t2, KL_VERDICT_DROP, done);
    ck_assert_uint_eq(done[32], 2);
}
END_TEST

/* FIPS 180-2 appendix B: SHA-256 of "abc" and of nothing. */
START_TEST(test_transcript)
{
    static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct kl_transcript *transcript = NULL;
    struct kl_err err = KL_ERR_INIT;
    uint8_t hash[KL_HASH_LEN];
    char hex[2 * KL_HASH_LEN + 1];

    ck_assert_int_eq(kl_transcript_new(&transcript, &err), KL_OK);
    ck_assert_int_eq(kl_transcript_hash(transcript, hash, &err), KL_OK);
    to_hex(hash, sizeof(hash), hex);
    ck_assert_str_eq(hex, empty);
    ck_assert_int_eq(kl_transcript_add(transcript, (const uint8_t *)"a", 1, &err), KL_OK);
    ck_assert_int_eq(kl_transcript_hash(transcript, hash, &err), KL_OK);
    ck_assert_int_eq(kl_transcript_add(transcript, (const uint8_t *)"bc", 2, &err), KL_OK);
    for (int i = 0; i < 2; i++) { /* reading it changes nothing */
        ck_assert_int_eq(kl_transcript_hash(transcript, hash, &err), KL_OK);
        to_hex(hash, sizeof(hash), hex);
        ck_assert_str_eq(hex, abc);
    }
    kl_transcript_free(transcript);
    kl_transcript_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("suite");
    TCase *tcase = tcase_create("suite");

    tcase_add_test(tcase, test_alg_table);
    tcase_add_loop_test(tcase, test_strength, 0, sizeof(strengths) / sizeof(strengths[0]));
    tcase_add_test(tcase, test_sizes);
    tcase_add_test(tcase, test_strength_unknown);
    tcase_add_test(tcase, test_kcv_format);
    tcase_add_test_raise_signal(tcase, test_kcv_too_long, SIGABRT);
    tcase_add_test(tcase, test_suite_names);
    tcase_add_loop_test(tcase, test_label, 0, sizeof(labels) / sizeof(labels[0]));
    tcase_add_test_raise_signal(tcase, test_label_unknown, SIGABRT);
    tcase_add_test(tcase, test_mac_inputs);
    tcase_add_test(tcase, test_transcript);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
