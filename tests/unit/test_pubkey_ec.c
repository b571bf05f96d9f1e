/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EC public keys: signatures in both forms, and points. Hostile ones are built by hand, after what
 * is known to have passed elsewhere: zeros, the order and its neighbours, needless bytes, other
 * curves.
 */
#include <check.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <string.h>

#include "proto/pubkey.h"
#include "tests/support/pki.h"
#include "tests/support/suite.h"

static const uint8_t text[] = "a text of no importance";
static struct kl_err err = KL_ERR_INIT;

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

/* ---- ECDSA ---- */

static EVP_PKEY *ec_key(int nth)
{
    EVP_PKEY *keys[] = {pki_keys.p256, pki_keys.p384, pki_keys.p521};

    return keys[nth];
}

static const struct kl_curve *curve_of(int nth)
{
    static const unsigned bits[] = {256, 384, 521};

    return kl_curve_by_bits(bits[nth]);
}

/* As r || s; md NULL = the curve's own hash. */
static size_t sign_ec(int nth, const EVP_MD *md, uint8_t raw[2 * KL_EC_FIELD_MAX])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t der[KL_ECDSA_DER_MAX];
    size_t len = sizeof(der), raw_len = 0;

    ck_assert_int_eq(EVP_DigestSignInit(ctx, NULL,
                                        md ? md : EVP_get_digestbyname(curve_of(nth)->hash), NULL,
                                        ec_key(nth)),
                     1);
    ck_assert_int_eq(EVP_DigestSign(ctx, der, &len, text, sizeof(text)), 1);
    ck_assert_msg(kl_ecdsa_from_der(curve_of(nth), der, len, raw, &raw_len, &err) == KL_OK, "%s",
                  err.text);
    ck_assert_uint_eq(raw_len, 2 * curve_of(nth)->field_len);
    EVP_MD_CTX_free(ctx);
    return raw_len;
}

START_TEST(ecdsa_good)
{
    uint8_t raw[2 * KL_EC_FIELD_MAX], back[2 * KL_EC_FIELD_MAX], der[KL_ECDSA_DER_MAX];

    for (int i = 0; i < 40; i++) { /* of every length that r and s come in */
        size_t len = sign_ec(_i, NULL, raw), der_len = 0, back_len = 0;

        ck_assert_msg(kl_pubkey_verify(ec_key(_i), raw, len, text, sizeof(text), &err) == KL_OK,
                      "%s", err.text);
        ck_assert_int_eq(kl_ecdsa_to_der(curve_of(_i), raw, len, der, &der_len, &err), KL_OK);
        ck_assert_int_eq(kl_ecdsa_from_der(curve_of(_i), der, der_len, back, &back_len, &err),
                         KL_OK);
        ck_assert_uint_eq(back_len, len);
        ck_assert_mem_eq(back, raw, len);
    }
}
END_TEST

/* What a kept key did before changes nothing of what it does next. */
START_TEST(kept_key)
{
    uint8_t raw[2 * KL_EC_FIELD_MAX], bad[2 * KL_EC_FIELD_MAX];
    struct kl_pubkey *kept = NULL;

    ck_assert_int_eq(kl_pubkey_new(ec_key(_i), &kept, &err), KL_OK);
    ck_assert_int_eq(kl_pubkey_is(kept), KL_KEY_EC);
    ck_assert_uint_eq(kl_pubkey_bits(kept), curve_of(_i)->bits);
    for (int i = 0; i < 3; i++) {
        size_t len = sign_ec(_i, NULL, raw);

        memcpy(bad, raw, len);
        bad[len - 1] ^= 1;
        ck_assert_int_eq(kl_pubkey_check(kept, raw, len, text, sizeof(text), &err), KL_OK);
        ck_assert_int_eq(kl_pubkey_check(kept, bad, len, text, sizeof(text), &err), KL_ERR_VERIFY);
        ck_assert_int_eq(kl_pubkey_check(kept, raw, len - 1, text, sizeof(text), &err),
                         KL_ERR_VERIFY);
        ck_assert_int_eq(kl_pubkey_check(kept, raw, len, text, 1, &err), KL_ERR_VERIFY);
    }
    kl_pubkey_free(kept);
}
END_TEST

START_TEST(ecdsa_by_another)
{
    uint8_t raw[2 * KL_EC_FIELD_MAX];
    EVP_PKEY *stranger = EVP_EC_gen(curve_of(_i)->name);
    size_t len = sign_ec(_i, _i == 0 ? EVP_sha384() : EVP_sha256(), raw);

    ck_assert_int_eq(kl_pubkey_verify(ec_key(_i), raw, len, text, sizeof(text), &err),
                     KL_ERR_VERIFY); /* another hash */
    len = sign_ec(_i, NULL, raw);
    ck_assert_int_eq(kl_pubkey_verify(stranger, raw, len, text, sizeof(text), &err), KL_ERR_VERIFY);
    ck_assert_ptr_nonnull(strstr(err.text, "ECDSA signature does not verify"));
    ck_assert_int_eq(kl_pubkey_verify(ec_key((_i + 1) % 3), raw, len, text, sizeof(text), &err),
                     KL_ERR_VERIFY);
    ck_assert_int_eq(kl_pubkey_verify(pki_keys.root, raw, len, text, sizeof(text), &err),
                     KL_ERR_VERIFY);
    ck_assert_int_eq(kl_pubkey_verify(ec_key(_i), raw, len, text, sizeof(text) - 1, &err),
                     KL_ERR_VERIFY);
    raw[10] ^= 1;
    ck_assert_int_eq(kl_pubkey_verify(ec_key(_i), raw, len, text, sizeof(text), &err),
                     KL_ERR_VERIFY);
    EVP_PKEY_free(stranger);
}
END_TEST

/* What stands for r or s: the curve's order and its neighbours, and what no half may be. */
enum half {
    HALF_OWN,       /* as signed */
    HALF_ZERO,      /* 0 */
    HALF_ONE,       /* 1 */
    HALF_ORDER,     /* n */
    HALF_BELOW,     /* n - 1 */
    HALF_OWN_ABOVE, /* its own + n, where that fits */
    HALF_ALL_ONES,  /* the high bits that no number of P-521 has among them */
};
static const struct {
    enum half r, s;
    int length; /* bytes more or less than there should be */
} halves[] = {
    {HALF_ZERO, HALF_ZERO, 0},     {HALF_ZERO, HALF_OWN, 0},      {HALF_OWN, HALF_ZERO, 0},
    {HALF_ONE, HALF_ONE, 0},       {HALF_ONE, HALF_ZERO, 0},      {HALF_ZERO, HALF_ONE, 0},
    {HALF_ORDER, HALF_OWN, 0},     {HALF_OWN, HALF_ORDER, 0},     {HALF_ORDER, HALF_ORDER, 0},
    {HALF_BELOW, HALF_OWN, 0},     {HALF_OWN, HALF_BELOW, 0},     {HALF_OWN, HALF_OWN_ABOVE, 0},
    {HALF_OWN_ABOVE, HALF_OWN, 0}, {HALF_ALL_ONES, HALF_OWN, 0},  {HALF_OWN, HALF_ALL_ONES, 0},
    {HALF_OWN, HALF_OWN, -1},      {HALF_OWN, HALF_OWN, 1},       {HALF_OWN, HALF_OWN, 2},
    {HALF_OWN, HALF_OWN, -2},      {HALF_ALL_ONES, HALF_ZERO, 0}, {HALF_OWN, HALF_OWN, -1000},
};

static void put_half(int nth, enum half half, uint8_t *at)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(curve_of(nth)->nid);
    const int len = (int)curve_of(nth)->field_len;
    BIGNUM *n = BN_dup(EC_GROUP_get0_order(group)), *own = BN_bin2bn(at, len, NULL);

    switch (half) {
    case HALF_OWN:
        ck_assert(BN_copy(n, own) != NULL);
        break;
    case HALF_ZERO:
        BN_zero(n);
        break;
    case HALF_ONE:
        ck_assert(BN_one(n));
        break;
    case HALF_ORDER:
        break;
    case HALF_BELOW:
        ck_assert(BN_sub_word(n, 1));
        break;
    case HALF_OWN_ABOVE:
        ck_assert(BN_add(n, n, own));
        if (BN_num_bytes(n) > len) {
            ck_assert(BN_mask_bits(n, len * 8));
        }
        break;
    case HALF_ALL_ONES:
        ck_assert(BN_one(n) && BN_lshift(n, n, len * 8) && BN_sub_word(n, 1));
        break;
    }
    ck_assert_int_eq(BN_bn2binpad(n, at, len), len);
    BN_free(own);
    BN_free(n);
    EC_GROUP_free(group);
}

START_TEST(ecdsa_halves)
{
    uint8_t raw[2 * KL_EC_FIELD_MAX + 2] = {0};
    int row = _i / 3, nth = _i % 3, length = halves[row].length;
    size_t len = sign_ec(nth, NULL, raw);

    put_half(nth, halves[row].r, raw);
    put_half(nth, halves[row].s, raw + curve_of(nth)->field_len);
    len = length == -1000 ? 0 : (size_t)((int)len + length);
    ck_assert_int_eq(kl_pubkey_verify(ec_key(nth), raw, len, text, sizeof(text), &err),
                     KL_ERR_VERIFY);
}
END_TEST

/* What is not even worth converting, so that nobody signs or stores it either. */
START_TEST(ecdsa_to_der_refuses)
{
    uint8_t raw[2 * KL_EC_FIELD_MAX], der[KL_ECDSA_DER_MAX];
    const struct kl_curve *curve = curve_of(_i);
    size_t len = 2 * curve->field_len, der_len = 99;

    memset(raw, 0, sizeof(raw));
    raw[len - 1] = 1;
    ck_assert_int_eq(kl_ecdsa_to_der(curve, raw, len, der, &der_len, &err), KL_ERR_VERIFY);
    raw[0] = 1;
    raw[len - 1] = 0;
    ck_assert_int_eq(kl_ecdsa_to_der(curve, raw, len, der, &der_len, &err), KL_ERR_VERIFY);
    memset(raw, 1, sizeof(raw));
    ck_assert_int_eq(kl_ecdsa_to_der(curve, raw, len - 1, der, &der_len, &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_ecdsa_to_der(curve, raw, len + 1, der, &der_len, &err), KL_ERR_VERIFY);
    if (curve->bits == 521) { /* 522 bits */
        raw[0] = 2;
        ck_assert_int_eq(kl_ecdsa_to_der(curve, raw, len, der, &der_len, &err), KL_ERR_VERIFY);
        raw[0] = 1;
        raw[curve->field_len] = 2;
        ck_assert_int_eq(kl_ecdsa_to_der(curve, raw, len, der, &der_len, &err), KL_ERR_VERIFY);
    }
    ck_assert_uint_eq(der_len, 99);
}
END_TEST

#define BYTES(...) {__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
static const struct {
    const char *why; /* NULL = good */
    uint8_t der[48];
    size_t len;
} ders[] = {
    {NULL, BYTES(0x30, 6, 2, 1, 1, 2, 1, 0x7f)},
    {NULL, BYTES(0x30, 7, 2, 2, 0, 0x80, 2, 1, 1)},
    {"r is zero", BYTES(0x30, 6, 2, 1, 0, 2, 1, 1)},
    {"s is zero", BYTES(0x30, 6, 2, 1, 1, 2, 1, 0)},
    {"r is negative", BYTES(0x30, 6, 2, 1, 0x80, 2, 1, 1)},
    {"s is negative", BYTES(0x30, 6, 2, 1, 1, 2, 1, 0xff)},
    {"a needless zero", BYTES(0x30, 7, 2, 2, 0, 1, 2, 1, 1)},
    {"a length in two bytes", BYTES(0x30, 0x81, 6, 2, 1, 1, 2, 1, 1)},
    {"an indefinite length", BYTES(0x30, 0x80, 2, 1, 1, 2, 1, 1, 0, 0)},
    {"a byte follows", BYTES(0x30, 6, 2, 1, 1, 2, 1, 1, 0)},
    {"three numbers", BYTES(0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1)},
    {"one number", BYTES(0x30, 3, 2, 1, 1)},
    {"a set", BYTES(0x31, 6, 2, 1, 1, 2, 1, 1)},
    {"an octet string", BYTES(0x30, 6, 4, 1, 1, 2, 1, 1)},
    {"cut off", BYTES(0x30, 6, 2, 1, 1, 2, 1)},
    {"nothing", {0}, 0},
    {"r has 257 bits", BYTES(0x30, 38, 2, 33, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                             1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1)},
};

START_TEST(ecdsa_from_der)
{
    uint8_t raw[2 * KL_EC_FIELD_MAX];
    size_t len = 99;
    enum kl_rc rc = kl_ecdsa_from_der(curve_of(0), ders[_i].der, ders[_i].len, raw, &len, &err);

    ck_assert_msg(rc == (ders[_i].why ? KL_ERR_VERIFY : KL_OK), "%s",
                  ders[_i].why ? ders[_i].why : err.text);
    ck_assert_uint_eq(len, ders[_i].why ? 99 : 64);
}
END_TEST

START_TEST(ecdsa_from_long_der)
{
    uint8_t der[KL_ECDSA_DER_MAX + 1] = {0x30, 0x81, KL_ECDSA_DER_MAX - 2}, raw[132];
    size_t len;

    ck_assert_int_eq(kl_ecdsa_from_der(curve_of(2), der, sizeof(der), raw, &len, &err),
                     KL_ERR_VERIFY);
    ck_assert_ptr_nonnull(strstr(err.text, "must have 1 to 144"));
}
END_TEST

/* ---- Points ---- */

/* Checked alone, and on the way to a key. */
static void refuse_point(const struct kl_curve *curve, const uint8_t *point, size_t len)
{
    EVP_PKEY *made = NULL;

    ck_assert_int_eq(kl_ec_from_point(curve, point, len, &made, &err), KL_ERR_VERIFY);
    ck_assert_ptr_null(made);
    ck_assert_int_eq(kl_ec_point_check(curve, point, len, &err), KL_ERR_VERIFY);
}

START_TEST(points)
{
    const struct kl_curve *curve = curve_of(_i);
    uint8_t point[KL_EC_POINT_MAX + 1] = {0}, again[KL_EC_POINT_MAX];
    size_t len = 0, len_again = 0;
    EVP_PKEY *made = NULL;

    ck_assert_int_eq(kl_ec_to_point(ec_key(_i), point, &len, &err), KL_OK);
    ck_assert_uint_eq(len, curve->point_len);
    ck_assert_uint_eq(point[0], 4);
    ck_assert_msg(kl_ec_point_check(curve, point, len, &err) == KL_OK, "%s", err.text);
    ck_assert_msg(kl_ec_from_point(curve, point, len, &made, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(EVP_PKEY_eq(made, ec_key(_i)), 1);
    ck_assert_int_eq(kl_ec_to_point(made, again, &len_again, &err), KL_OK);
    ck_assert_uint_eq(len_again, len);
    ck_assert_mem_eq(again, point, len);
    EVP_PKEY_free(made);
    ck_assert_int_eq(kl_ec_to_point(pki_keys.root, again, &len_again, &err), KL_ERR_VERIFY);
    ck_assert_ptr_nonnull(strstr(err.text, "must be EC"));

    /* Hostile ones. */
    refuse_point(curve, point, len - 1);
    refuse_point(curve, point, len + 1);
    ck_assert_ptr_nonnull(strstr(err.text, "is not an uncompressed one of"));
    refuse_point(curve, point, 0);
    refuse_point(curve_of((_i + 1) % 3), point, len);
    point[len - 1] ^= 1; /* off the curve */
    refuse_point(curve, point, len);
    ck_assert_ptr_nonnull(strstr(err.text, "is not on"));
    point[len - 1] ^= 1;
    for (int first = 0; first < 8; first++) { /* infinity, compressed, hybrid, none */
        point[0] = (uint8_t)first;
        if (first != 4) {
            refuse_point(curve, point, len);
            refuse_point(curve, point, 1 + curve->field_len);
            refuse_point(curve, point, 1);
        }
    }
    memset(point, 0, sizeof(point)); /* (0, 0), which some take for infinity */
    point[0] = 4;
    refuse_point(curve, point, len);
    memset(point + 1, 0xff, len - 1); /* coordinates that are not below the prime */
    refuse_point(curve, point, len);
}
END_TEST

/* The same point of another curve of the same size. */
START_TEST(point_of_a_twin)
{
    uint8_t point[65];
    size_t len = 0;

    ck_assert(EVP_PKEY_get_octet_string_param(pki_keys.k256, OSSL_PKEY_PARAM_PUB_KEY, point,
                                              sizeof(point), &len));
    ck_assert_uint_eq(len, 65);
    refuse_point(curve_of(0), point, len);
}
END_TEST

int main(void)
{
    int status;
    Suite *suite = suite_create("pubkey_ec");
    TCase *tcase = tcase_create("pubkey_ec");

    pki_make_keys();
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, ecdsa_good, 0, 3);
    tcase_add_loop_test(tcase, ecdsa_by_another, 0, 3);
    tcase_add_loop_test(tcase, kept_key, 0, 3);
    tcase_add_loop_test(tcase, ecdsa_halves, 0, 3 * COUNT(halves));
    tcase_add_loop_test(tcase, ecdsa_to_der_refuses, 0, 3);
    tcase_add_loop_test(tcase, ecdsa_from_der, 0, COUNT(ders));
    tcase_add_test(tcase, ecdsa_from_long_der);
    tcase_add_loop_test(tcase, points, 0, 3);
    tcase_add_test(tcase, point_of_a_twin);
    suite_add_tcase(suite, tcase);
    status = test_run(suite);
    pki_free_keys();
    return status;
}
