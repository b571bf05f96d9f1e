/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TMK algorithms, curves, kinds of keys, and what may carry what.
 */
#include "proto/alg.h"

#include <check.h>
#include <openssl/ec.h>
#include <openssl/objects.h>
#include <signal.h>
#include <string.h>

#include "tests/support/suite.h"

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

/* ---- Curves ---- */

START_TEST(test_curves)
{
    static const unsigned bits[] = {256, 384, 521};
    static const unsigned others[] = {0, 224, 255, 257, 512, 520, 528};

    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        const struct kl_curve *curve = kl_curve_by_bits(bits[i]);
        EC_GROUP *group;
        ASN1_OBJECT *oid;
        uint8_t *der = NULL;

        ck_assert_ptr_nonnull(curve);
        ck_assert_ptr_eq(kl_curve_by_nid(curve->nid), curve);
        group = EC_GROUP_new_by_curve_name(curve->nid);
        oid = OBJ_nid2obj(curve->nid);
        ck_assert(group && oid);
        ck_assert_uint_eq(curve->bits, bits[i]);
        ck_assert_uint_eq((unsigned)EC_GROUP_get_degree(group), bits[i]);
        ck_assert_str_eq(curve->name, EC_curve_nid2nist(curve->nid));
        ck_assert_str_eq(curve->group, curve->name);
        ck_assert_uint_eq(curve->field_len, (bits[i] + 7) / 8);
        ck_assert_uint_eq(curve->point_len, 1 + 2 * curve->field_len);
        ck_assert_uint_le(curve->field_len, KL_EC_FIELD_MAX);
        ck_assert_uint_le(curve->point_len, KL_EC_POINT_MAX);
        ck_assert_int_eq(i2d_ASN1_OBJECT(oid, &der), (int)curve->oid_len);
        ck_assert_mem_eq(der, curve->oid, curve->oid_len);
        OPENSSL_free(der);
        EC_GROUP_free(group);
    }
    ck_assert_str_eq(kl_curve_by_bits(256)->hash, "SHA256");
    ck_assert_str_eq(kl_curve_by_bits(384)->hash, "SHA384");
    ck_assert_str_eq(kl_curve_by_bits(521)->hash, "SHA512");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ck_assert_ptr_null(kl_curve_by_bits(others[i]));
    }
    ck_assert_ptr_null(kl_curve_by_nid(NID_undef));
    ck_assert_ptr_null(kl_curve_by_nid(NID_secp256k1));
    ck_assert_ptr_null(kl_curve_by_nid(NID_brainpoolP256r1));
}
END_TEST

/* ---- Kinds of keys ---- */

static const struct {
    const char *name; /* as told; NULL = not accepted */
    const char *text[3];
    enum kl_key_type type;
    unsigned bits;
} kinds[] = {
    {"RSA-2048", {"rsa-2048", "RSA2048", "RSA-2048"}, KL_KEY_RSA, 2048},
    {"RSA-3072", {"rsa-3072", "rsa3072", "Rsa-3072"}, KL_KEY_RSA, 3072},
    {"RSA-4096", {"rsa-4096", "rsa4096", "RSA4096"}, KL_KEY_RSA, 4096},
    {"P-256", {"p-256", "P-256", "p256"}, KL_KEY_EC, 256},
    {"P-384", {"p-384", "P-384", "P384"}, KL_KEY_EC, 384},
    {"P-521", {"p-521", "P-521", "p521"}, KL_KEY_EC, 521},
    {NULL, {"rsa-1024", "rsa", ""}, KL_KEY_RSA, 0},
    {NULL, {"p-224", "p-512", "p"}, KL_KEY_EC, 0},
    {NULL, {"aes-128", "aes256", "ed25519"}, KL_KEY_AES, 0},
    {NULL, {" p-256", "p-256 ", "p--256"}, KL_KEY_EC, 0},
    {NULL, {"2048", "256", "rsa-2048x"}, KL_KEY_RSA, 0},
};

START_TEST(test_kinds)
{
    char name[KL_KEY_NAME_TEXT];

    for (int i = 0; i < 3; i++) {
        struct kl_err err = KL_ERR_INIT;
        enum kl_key_type type = (enum kl_key_type)99;
        unsigned bits = 7;
        enum kl_rc rc = kl_key_parse(kinds[_i].text[i], &type, &bits, &err);

        if (kinds[_i].name) {
            ck_assert_msg(rc == KL_OK, "%s", err.text);
            ck_assert(type == kinds[_i].type && bits == kinds[_i].bits);
            kl_key_name(type, bits, name);
            ck_assert_str_eq(name, kinds[_i].name);
        } else {
            ck_assert_int_eq(rc, KL_ERR_INPUT);
            ck_assert_ptr_nonnull(strstr(err.text, kinds[_i].text[i]));
            ck_assert_ptr_nonnull(
                strstr(err.text, "rsa-2048, rsa-3072, rsa-4096, p-256, p-384 or p-521"));
            ck_assert(type == (enum kl_key_type)99 && bits == 7);
        }
    }
}
END_TEST

START_TEST(test_key_names)
{
    char name[KL_KEY_NAME_TEXT];

    kl_key_name(KL_KEY_AES, 192, name);
    ck_assert_str_eq(name, "AES-192");
    kl_key_name((enum kl_key_type)0, 8, name);
    ck_assert_str_eq(name, "?-8");
    kl_key_name((enum kl_key_type)4, 8, name);
    ck_assert_str_eq(name, "?-8");
    kl_key_name(KL_KEY_AES, 4294967295u, name);
    ck_assert_str_eq(name, "AES-4294967295");
}
END_TEST

/* ---- Strength ---- */

/* For each key the strongest grade that it may carry: 0 none, 1 TDES, 2 AES-128, 3 AES-192, 4
 * AES-256. */
static const struct {
    enum kl_key_type type;
    unsigned bits;
    const char *name;
    int grade;
} strengths[] = {
    {KL_KEY_RSA, 1024, "RSA-1024", 0},      {KL_KEY_RSA, 2047, "RSA-2047", 0},
    {KL_KEY_RSA, 2048, "RSA-2048", 1},      {KL_KEY_RSA, 3071, "RSA-3071", 1},
    {KL_KEY_RSA, 3072, "RSA-3072", 2},      {KL_KEY_RSA, 4096, "RSA-4096", 2},
    {KL_KEY_EC, 224, "P-224", 0},           {KL_KEY_EC, 255, "P-255", 0},
    {KL_KEY_EC, 256, "P-256", 2},           {KL_KEY_EC, 384, "P-384", 3},
    {KL_KEY_EC, 521, "P-521", 4},           {KL_KEY_EC, 3072, "P-3072", 0},
    {KL_KEY_AES, 64, "AES-64", 0},          {KL_KEY_AES, 128, "AES-128", 2},
    {KL_KEY_AES, 192, "AES-192", 3},        {KL_KEY_AES, 256, "AES-256", 4},
    {KL_KEY_AES, 4096, "AES-4096", 0},      {(enum kl_key_type)0, 4096, "?-4096", 0},
    {(enum kl_key_type)4, 256, "?-256", 0},
};

START_TEST(test_strength)
{
    static const struct {
        int grade;
        const char *pair, *aes; /* the smallest that would do */
    } algs[KL_ALG_COUNT] = {
        {1, "RSA-2048 or P-256", "AES-128"},
        {1, "RSA-2048 or P-256", "AES-128"},
        {2, "RSA-3072 or P-256", "AES-128"},
        {3, "P-384 (no RSA key is enough)", "AES-192"},
        {4, "P-521 (no RSA key is enough)", "AES-256"},
    };

    for (unsigned i = 0; i < KL_ALG_COUNT; i++) {
        struct kl_err err = KL_ERR_INIT;
        enum kl_rc rc =
            kl_alg_strength(strengths[_i].type, strengths[_i].bits, (enum kl_alg)(i + 1), &err);

        if (strengths[_i].grade >= algs[i].grade) {
            ck_assert_msg(rc == KL_OK, "%s", err.text);
            continue;
        }
        ck_assert_msg(rc == KL_ERR_STRENGTH, "%s may carry algorithm %u", strengths[_i].name,
                      i + 1);
        ck_assert_ptr_nonnull(strstr(err.text, strengths[_i].name));
        ck_assert_ptr_nonnull(strstr(err.text, kl_alg_info(i + 1)->name));
        ck_assert_ptr_nonnull(
            strstr(err.text, strengths[_i].type == KL_KEY_AES ? algs[i].aes : algs[i].pair));
    }
}
END_TEST

START_TEST(test_strength_unknown)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_alg_strength(KL_KEY_EC, 521, (enum kl_alg)0, &err), KL_ERR_STRENGTH);
    ck_assert_int_eq(kl_alg_strength(KL_KEY_EC, 521, (enum kl_alg)6, &err), KL_ERR_STRENGTH);
    ck_assert_ptr_nonnull(strstr(err.text, "TMK algorithm 6 is unknown"));
}
END_TEST

/* ---- Key check values ---- */

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

int main(void)
{
    Suite *suite = suite_create("alg");
    TCase *tcase = tcase_create("alg");

    tcase_add_test(tcase, test_alg_table);
    tcase_add_test(tcase, test_sizes);
    tcase_add_test(tcase, test_curves);
    tcase_add_loop_test(tcase, test_kinds, 0, sizeof(kinds) / sizeof(kinds[0]));
    tcase_add_test(tcase, test_key_names);
    tcase_add_loop_test(tcase, test_strength, 0, sizeof(strengths) / sizeof(strengths[0]));
    tcase_add_test(tcase, test_strength_unknown);
    tcase_add_test(tcase, test_kcv_format);
    tcase_add_test_raise_signal(tcase, test_kcv_too_long, SIGABRT);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
