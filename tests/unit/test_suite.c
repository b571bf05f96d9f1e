/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What both sides of a suite compute from public inputs: algorithms and strength, labels, MAC
 * inputs, the transcript.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
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

static const struct {
    enum kl_suite suite;
    const char *name;
    enum kl_key_type key_type;
} suites[KL_SUITE_COUNT] = {
    {KL_SUITE_HARDENED_RSA, "hardened-rsa", KL_KEY_RSA},
    {KL_SUITE_CLASSIC, "classic", KL_KEY_RSA},
    {KL_SUITE_HARDENED_EC, "hardened-ec", KL_KEY_EC},
};

START_TEST(test_suites)
{
    ck_assert_str_eq(kl_suite_name(suites[_i].suite), suites[_i].name);
    ck_assert_uint_eq(kl_suite_by_name(suites[_i].name), suites[_i].suite);
    ck_assert_int_eq(kl_suite_key_type(suites[_i].suite), suites[_i].key_type);
}
END_TEST

START_TEST(test_suite_unknown)
{
    static const char *const names[] = {"", "hardened", "hardened-rsa ", "Classic", "4"};

    ck_assert_ptr_null(kl_suite_name(0));
    ck_assert_ptr_null(kl_suite_name(KL_SUITE_COUNT + 1));
    ck_assert_ptr_null(kl_suite_name((unsigned)-1));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ck_assert_uint_eq(kl_suite_by_name(names[i]), 0);
    }
}
END_TEST

START_TEST(test_key_type_unknown)
{
    kl_suite_key_type((enum kl_suite)_i); /* aborts */
    ck_abort_msg("came back");
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
    {KL_PURPOSE_KEYS, "3ef4cd93d2bf02e64e5a9ebb8c0e76e3fbaf998ed75d1abb0b46bf0999426b79"},
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

/* Likewise: sha256(b"keyloader/1 session\0" + bytes(range(32)))[:16]. */
START_TEST(test_session_input)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t t0[KL_HASH_LEN], input[KL_SESSION_INPUT_LEN];
    char hex[2 * KL_SESSION_INPUT_LEN + 1];

    for (size_t i = 0; i < sizeof(t0); i++) {
        t0[i] = (uint8_t)i;
    }
    ck_assert_int_eq(kl_suite_session_input(t0, input, &err), KL_OK);
    to_hex(input, sizeof(input), hex);
    ck_assert_str_eq(hex, "1cd32d88cc0a07319494d90fa61aaafd");
}
END_TEST

/* Under an AES TMK a session key and a working key differ in length. */
START_TEST(test_session_lengths)
{
    static const struct {
        enum kl_alg tmk, session;
        size_t c_session_len;
    } table[] = {{KL_ALG_TDES2, KL_ALG_AES128, 16},
                 {KL_ALG_TDES3, KL_ALG_AES128, 16},
                 {KL_ALG_AES128, KL_ALG_AES192, 32},
                 {KL_ALG_AES192, KL_ALG_AES128, 24},
                 {KL_ALG_AES256, KL_ALG_AES128, 24}};

    ck_assert_int_eq(kl_suite_session_alg(table[_i].tmk), table[_i].session);
    ck_assert_uint_eq(kl_suite_c_session_len(table[_i].tmk), table[_i].c_session_len);
}
END_TEST

/* Likewise: sha256(b"keyloader/1 ecies\0" + bytes(range(32)) + b"\4" + bytes(range(1, length))). */
static const struct {
    size_t point_len;
    const char *hex;
} ecies_labels[] = {
    {65, "0fb985d55277e30b110ef61718b94ca9fb3f014343c9bbba76a44e18fc4614be"},
    {97, "26a82c04b63798773a1ba65cd7ae20727f40e9946b1b4238f04ae6d109c22330"},
    {133, "7c7452eeadfe996fc86f710e4a49695f5f786b6c991c071bdaae0bc98be96a96"},
};

START_TEST(test_ecies_label)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t t0[KL_HASH_LEN], label[KL_HASH_LEN], point[KL_EC_POINT_MAX];
    char hex[2 * KL_HASH_LEN + 1];

    for (size_t i = 0; i < sizeof(point); i++) {
        point[i] = (uint8_t)i;
    }
    memcpy(t0, point, sizeof(t0));
    point[0] = 4;
    ck_assert_int_eq(kl_suite_ecies_label(t0, point, ecies_labels[_i].point_len, label, &err),
                     KL_OK);
    to_hex(label, sizeof(label), hex);
    ck_assert_str_eq(hex, ecies_labels[_i].hex);
}
END_TEST

START_TEST(test_ecies_label_too_long)
{
    static const uint8_t point[KL_EC_POINT_MAX + 1];
    struct kl_err err = KL_ERR_INIT;
    uint8_t t0[KL_HASH_LEN] = {0}, label[KL_HASH_LEN];
    enum kl_rc rc = kl_suite_ecies_label(t0, point, sizeof(point), label, &err); /* aborts */

    ck_abort_msg("came back with %d", (int)rc);
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

START_TEST(test_proof_input)
{
    static uint8_t der[1024], out[KL_PROOF_INPUT_MAX];
    uint8_t t0[KL_HASH_LEN];

    memset(t0, 0x77, sizeof(t0));
    memset(der, 0xdd, sizeof(der));
    ck_assert_uint_eq(kl_suite_proof_input(t0, der, 3, out), 55);
    ck_assert_mem_eq(out, "keyloader/1 randoms\0", 20);
    ck_assert_mem_eq(out + 20, t0, sizeof(t0));
    ck_assert_mem_eq(out + 52, "\xdd\xdd\xdd\0", 4);
    ck_assert_uint_eq(kl_suite_proof_input(t0, der, sizeof(der), out), 1076);
    ck_assert_mem_eq(out + 52, der, sizeof(der));
}
END_TEST

START_TEST(test_proof_input_too_long)
{
    static uint8_t der[1025], out[KL_PROOF_INPUT_MAX];
    uint8_t t0[KL_HASH_LEN] = {0};

    kl_suite_proof_input(t0, der, sizeof(der), out); /* aborts */
    ck_abort_msg("came back");
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

    tcase_add_loop_test(tcase, test_suites, 0, KL_SUITE_COUNT);
    tcase_add_test(tcase, test_suite_unknown);
    tcase_add_loop_test_raise_signal(tcase, test_key_type_unknown, SIGABRT, 0, 1);
    tcase_add_loop_test_raise_signal(tcase, test_key_type_unknown, SIGABRT, KL_SUITE_COUNT + 1,
                                     KL_SUITE_COUNT + 2);
    tcase_add_loop_test(tcase, test_label, 0, sizeof(labels) / sizeof(labels[0]));
    tcase_add_test_raise_signal(tcase, test_label_unknown, SIGABRT);
    tcase_add_test(tcase, test_session_input);
    tcase_add_loop_test(tcase, test_session_lengths, 0, KL_ALG_COUNT);
    tcase_add_loop_test(tcase, test_ecies_label, 0, sizeof(ecies_labels) / sizeof(ecies_labels[0]));
    tcase_add_test_raise_signal(tcase, test_ecies_label_too_long, SIGABRT);
    tcase_add_test(tcase, test_proof_input);
    tcase_add_test_raise_signal(tcase, test_proof_input_too_long, SIGABRT);
    tcase_add_test(tcase, test_mac_inputs);
    tcase_add_test(tcase, test_transcript);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
