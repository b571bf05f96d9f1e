/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkcs11/loader against bad peers, and against a network process that says what is not so: every
 * bad input of every suite is refused, nothing is written, and the HSM is not blamed.
 */
#include <check.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <string.h>

#include "tests/support/fake_p11.h"
#include "tests/support/host_terminal.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct ht_key keys[] = {{KL_SUITE_HARDENED_RSA, 2048},
                                     {KL_SUITE_CLASSIC, 2048},
                                     {KL_SUITE_HARDENED_EC, 256}};
#define EC_KEY (&keys[2])

/* ---- Corrupted bytes ---- */

START_TEST(flipped_bits_are_refused)
{
    struct kl_randoms *randoms;

    ht_setup(keys[_i]);
    randoms = &term->msg.u.randoms;
    uint8_t *const places[][11] = {
        {&randoms->c_rnd1[0], &randoms->c_rnd1[255], &randoms->c_rnd2[0], &randoms->c_rnd2[31],
         &randoms->c_rnd2[32], &randoms->c_rnd2[47], &randoms->iv[0], &randoms->iv[11]},
        {&randoms->c_rnd1[0], &randoms->c_rnd1[1], &randoms->c_rnd1[128], &randoms->c_rnd1[255]},
        {&randoms->point[1], &randoms->point[32], &randoms->point[64], &randoms->c_rnd1[0],
         &randoms->c_rnd1[39], &randoms->c_rnd2[0], &randoms->c_rnd2[31], &randoms->c_rnd2[32],
         &randoms->c_rnd2[47], &randoms->iv[0], &randoms->iv[11]},
    };
    for (size_t i = 0; i < COUNT(places[0]) && places[_i][i]; i++) {
        *places[_i][i] ^= 1;
        ht_encode_randoms();
        ht_refused(KL_ERR_VERIFY);
        *places[_i][i] ^= 1;
    }
    ht_encode_randoms();
    ck_ok(ht_run()); /* as it was */
}
END_TEST

/* (In hardened-ec the message itself has no room for another length.) */
START_TEST(rnd1_of_another_length_is_refused)
{
    static const size_t lens[] = {1, 8, 15, 31, 33, 16};

    ht_setup(keys[_i]);
    /* 16 bytes make an AES key, too: see below for hardened-rsa. */
    for (size_t i = 0; i < COUNT(lens) - (keys[_i].suite == KL_SUITE_HARDENED_RSA); i++) {
        ht_randoms(lens[i]);
        ht_refused(KL_ERR_VERIFY);
    }
}
END_TEST

/* A token that knows the length of what it unwrapped (SoftHSM says 0). */
static unsigned told;
static CK_RV tells_16_bytes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *attr, CK_ULONG n)
{
    (void)s;
    (void)o;
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(attr->type, CKA_VALUE_LEN);
    *(CK_ULONG *)attr->pValue = told++ == 0 ? 16 : 32; /* the second is the known answer's */
    return CKR_OK;
}

START_TEST(rnd1_of_16_bytes_is_refused_where_the_token_tells)
{
    ht_setup(keys[0]);
    ht_randoms(16);
    hsm.f->C_GetAttributeValue = tells_16_bytes;
    ht_refused(KL_ERR_VERIFY);
    ck_says("16 bytes");
}
END_TEST

START_TEST(c_rnd1_of_wrong_length_is_refused)
{
    ht_setup(keys[_i]);
    term->msg.u.randoms.c_rnd1_len = 384; /* of an RSA-3072 key */
    ht_encode_randoms();
    ht_refused(KL_ERR_VERIFY);
    ck_says("c_rnd1 has 384 bytes; the work key has 2048 bits");
}
END_TEST

/* ---- hardened-ec: the ephemeral point ---- */

/* After this, the once-a-second known answer does not disturb the counting of calls. */
static void spend_known_answer(void)
{
    term->msg.u.randoms.c_rnd2[0] ^= 1;
    ht_encode_randoms();
    ht_refused(KL_ERR_VERIFY);
    term->msg.u.randoms.c_rnd2[0] ^= 1;
}

/* No such point ever reaches the module with the private key. */
START_TEST(a_point_off_the_curve_is_refused_here)
{
    struct kl_randoms *randoms;
    uint8_t point[KL_EC_POINT_MAX];

    ht_setup(*EC_KEY);
    randoms = &term->msg.u.randoms;
    spend_known_answer();
    memcpy(point, randoms->point, sizeof(point));
    for (int i = 0; i < 4; i++) {
        memcpy(randoms->point, point, sizeof(point));
        if (i == 0) {
            randoms->point[64] ^= 1; /* off the curve */
        } else if (i == 1) {
            memset(randoms->point + 1, 0, 64); /* X = Y = 0 */
        } else if (i == 2) {
            memset(randoms->point + 1, 0xff, 32); /* X not below p */
        } else {
            memset(randoms->point + 33, 0xff, 32); /* nor Y */
        }
        ht_encode_randoms();
        fake_p11_reset();
        ht_refused(KL_ERR_VERIFY);
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_DeriveKey), 0);
    }
}
END_TEST

START_TEST(a_point_of_another_curve_is_refused_here)
{
    static const unsigned own[] = {256, 384, 521, 521};
    static const char *const groups[] = {"P-384", "P-256", "P-256", "P-384"};
    EVP_PKEY *key = EVP_EC_gen(groups[_i]);
    struct kl_randoms *randoms;

    ht_setup((struct ht_key){KL_SUITE_HARDENED_EC, own[_i]});
    randoms = &term->msg.u.randoms;
    spend_known_answer();
    memset(randoms->point, 0, sizeof(randoms->point));
    ck_assert(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, randoms->point,
                                              sizeof(randoms->point), &randoms->point_len) == 1);
    EVP_PKEY_free(key);
    ht_encode_randoms();
    fake_p11_reset();
    ht_refused(KL_ERR_VERIFY);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_DeriveKey), 0);
}
END_TEST

/* The point (X, -Y) has the same shared X: only the label tells them apart. */
START_TEST(the_mirrored_point_is_refused)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = EC_POINT_new(group);
    struct kl_randoms *randoms;

    ht_setup(*EC_KEY);
    randoms = &term->msg.u.randoms;
    ck_assert(EC_POINT_oct2point(group, point, randoms->point, randoms->point_len, NULL) == 1);
    ck_assert(EC_POINT_invert(group, point, NULL) == 1);
    ck_assert_uint_eq(EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED,
                                         randoms->point, sizeof(randoms->point), NULL),
                      65);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    ht_encode_randoms();
    ht_refused(KL_ERR_VERIFY);
}
END_TEST

/* ---- What was agreed ---- */

/* T0 is bound: the same Randoms under another Hello are refused. (classic binds it only later.) */
START_TEST(another_hello_is_refused)
{
    static const uint8_t algs[] = {1, 2};

    ht_setup(keys[_i]);
    ht_hello(algs, 2);
    ht_refused(KL_ERR_VERIFY);
}
END_TEST

START_TEST(unoffered_algorithm_is_refused)
{
    static const uint8_t algs[] = {KL_ALG_TDES3};

    ht_setup(keys[_i]);
    ht_hello(algs, 1);
    ht_randoms(32);
    ht_refused(KL_ERR_UNSUPPORTED);
}
END_TEST

START_TEST(unoffered_suite_is_refused)
{
    ht_setup(keys[_i]);
    for (uint8_t suite = 1; suite <= 9; suite++) {
        ck_ok(kl_msg_decode(term->hello, term->hello_len, &term->msg, &err));
        term->msg.u.hello.suites[0] = suite;
        ht_encode_hello();
        ht_randoms(32);
        if (suite == keys[_i].suite) {
            ck_ok(ht_run());
        } else {
            ht_refused(KL_ERR_UNSUPPORTED);
        }
    }
}
END_TEST

START_TEST(another_protocol_version_is_refused)
{
    ht_setup(keys[_i]);
    ck_ok(kl_msg_decode(term->hello, term->hello_len, &term->msg, &err));
    term->msg.u.hello.version = 2;
    ht_encode_hello();
    ht_randoms(32);
    ht_refused(KL_ERR_UNSUPPORTED);
}
END_TEST

START_TEST(certificate_with_another_oaep_hash_is_refused)
{
    ht_setup(keys[_i]);
    ht_certificate(term->suite, KL_OAEP_SHA256);
    ht_randoms(32);
    ht_refused(KL_ERR_PROTOCOL);
    ck_says("OAEP hash 2");
}
END_TEST

/* ---- Suite downgrade inside the job ---- */

START_TEST(certificate_of_another_suite_is_refused)
{
    ht_setup(keys[_i]);
    for (enum kl_suite suite = 1; suite <= KL_SUITE_COUNT; suite++) {
        if (suite == keys[_i].suite) {
            continue;
        }
        /* The Hello offers all, as an honest terminal's may. */
        ck_ok(kl_msg_decode(term->hello, term->hello_len, &term->msg, &err));
        term->msg.u.hello.suite_count = 3;
        memcpy(term->msg.u.hello.suites, (const uint8_t[]){1, 2, 3}, 3);
        ht_encode_hello();
        ht_certificate(suite, KL_OAEP_SHA1);
        ht_randoms(32);
        fake_p11_reset();
        ht_refused(KL_ERR_PROTOCOL);
        ck_says("Certificate announces suite");
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_UnwrapKey), 0);
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_DecryptInit), 0);
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_DeriveKey), 0);
    }
}
END_TEST

START_TEST(randoms_of_another_suite_are_refused)
{
    ht_setup(keys[_i]);
    for (enum kl_suite suite = 1; suite <= KL_SUITE_COUNT; suite++) {
        struct kl_randoms *randoms = &term->msg.u.randoms;

        if (suite == keys[_i].suite) {
            continue;
        }
        term->msg = (struct kl_msg){.type = KL_MSG_RANDOMS, .u.randoms.suite = suite};
        randoms->c_rnd1_len = suite == KL_SUITE_HARDENED_EC ? KL_C_RND1_EC_LEN : 256;
        memset(randoms->c_rnd1, 0x11, randoms->c_rnd1_len);
        if (suite == KL_SUITE_HARDENED_EC) {
            randoms->point_len = 65;
            memset(randoms->point, 4, 65);
        }
        ht_encode_randoms();
        fake_p11_reset();
        ht_refused(KL_ERR_PROTOCOL);
        ck_says("Randoms of suite");
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_UnwrapKey), 0);
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_DecryptInit), 0);
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_DeriveKey), 0);
    }
}
END_TEST

/* ---- A job that is wrong in itself ---- */

START_TEST(messages_in_the_wrong_place_are_refused)
{
    ht_setup(keys[0]);
    struct kl_bytes *const places[] = {&term->in.hello, &term->in.certificate, &term->in.randoms};

    *places[_i] = _i == 0 ? term->in.certificate : term->in.hello;
    ht_refused(KL_ERR_PROTOCOL);
}
END_TEST

START_TEST(broken_messages_are_refused)
{
    ht_setup(keys[0]);
    struct kl_bytes *const places[] = {&term->in.hello, &term->in.certificate, &term->in.randoms};

    places[_i]->len--;
    ht_refused(KL_ERR_PROTOCOL);
}
END_TEST

START_TEST(jobs_out_of_bounds_are_refused)
{
    ht_setup(keys[0]);
    struct kl_load_in good = term->in;

    term->in.tmk_version = 0;
    ht_refused(KL_ERR_INTERNAL);
    term->in = good;
    term->in.kcv_len = 2;
    ht_refused(KL_ERR_INTERNAL);
    term->in = good;
    term->in.kcv_len = 5;
    ht_refused(KL_ERR_INTERNAL);
    term->in = good;
    term->in.alg = 6;
    ht_refused(KL_ERR_INTERNAL);
}
END_TEST

static Suite *peer_suite(void)
{
    Suite *suite = suite_create("loader: bad peers");
    TCase *bytes = tcase_create("bytes"), *point = tcase_create("point"),
          *agreed = tcase_create("agreed"), *jobs = tcase_create("jobs");
    TCase *const cases[] = {bytes, point, agreed, jobs};

    for (size_t i = 0; i < COUNT(cases); i++) {
        tcase_add_checked_fixture(cases[i], NULL, ht_teardown);
        tcase_set_timeout(cases[i], 60);
        suite_add_tcase(suite, cases[i]);
    }
    tcase_add_loop_test(bytes, flipped_bits_are_refused, 0, 3);
    tcase_add_loop_test(bytes, rnd1_of_another_length_is_refused, 0, 2);
    tcase_add_test(bytes, rnd1_of_16_bytes_is_refused_where_the_token_tells);
    tcase_add_loop_test(bytes, c_rnd1_of_wrong_length_is_refused, 0, 2);
    tcase_add_test(point, a_point_off_the_curve_is_refused_here);
    tcase_add_loop_test(point, a_point_of_another_curve_is_refused_here, 0, 4);
    tcase_add_test(point, the_mirrored_point_is_refused);
    tcase_add_loop_test(agreed, another_hello_is_refused, 0, 1);
    tcase_add_loop_test(agreed, another_hello_is_refused, 2, 3);
    tcase_add_loop_test(agreed, unoffered_algorithm_is_refused, 0, 3);
    tcase_add_loop_test(agreed, unoffered_suite_is_refused, 0, 3);
    tcase_add_loop_test(agreed, another_protocol_version_is_refused, 0, 3);
    tcase_add_loop_test(agreed, certificate_with_another_oaep_hash_is_refused, 0, 3);
    tcase_add_loop_test(agreed, certificate_of_another_suite_is_refused, 0, 3);
    tcase_add_loop_test(agreed, randoms_of_another_suite_are_refused, 0, 3);
    tcase_add_loop_test(jobs, messages_in_the_wrong_place_are_refused, 0, 3);
    tcase_add_loop_test(jobs, broken_messages_are_refused, 0, 3);
    tcase_add_test(jobs, jobs_out_of_bounds_are_refused);
    return suite;
}

int main(void)
{
    return test_run(peer_suite());
}
