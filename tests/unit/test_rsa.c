/* SPDX-License-Identifier: BSD-2-Clause */
/* proto/rsa: what it encrypts its owner can read, and no signature passes but the one it asks for.
 */
#include "proto/rsa.h"

#include <check.h>
#include <openssl/rsa.h>
#include <string.h>

#include "tests/support/suite.h"

static const uint8_t text[] = "a text of no importance";
static EVP_PKEY *key, *other;
static struct kl_err err = KL_ERR_INIT;

static void setup(void)
{
    key = EVP_RSA_gen(2048);
    other = EVP_RSA_gen(2048);
    ck_assert(key && other);
}

static void teardown(void)
{
    EVP_PKEY_free(other);
    EVP_PKEY_free(key);
}

/* ---- OAEP ---- */

/* What the owner reads; 0 if nothing. */
static size_t decrypt(const EVP_MD *md, const EVP_MD *mgf1, const uint8_t *in, size_t in_len,
                      uint8_t out[KL_RSA_MAX])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    size_t len = KL_RSA_MAX;

    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, mgf1), 1);
    if (EVP_PKEY_decrypt(ctx, out, &len, in, in_len) != 1) {
        len = 0;
    }
    EVP_PKEY_CTX_free(ctx);
    return len;
}

START_TEST(oaep_reaches_the_owner)
{
    enum kl_oaep_hash hash = _i == 0 ? KL_OAEP_SHA1 : KL_OAEP_SHA256;
    const EVP_MD *right = _i == 0 ? EVP_sha1() : EVP_sha256();
    const EVP_MD *wrong = _i == 0 ? EVP_sha256() : EVP_sha1();
    uint8_t encrypted[KL_RSA_MAX], again[KL_RSA_MAX], back[KL_RSA_MAX];
    size_t len = 0, len_again = 0;

    ck_assert_int_eq(kl_rsa_oaep_encrypt(key, hash, text, sizeof(text), encrypted, &len, &err),
                     KL_OK);
    ck_assert_uint_eq(len, 256);
    ck_assert_uint_eq(decrypt(right, right, encrypted, len, back), sizeof(text));
    ck_assert_mem_eq(back, text, sizeof(text));
    ck_assert_uint_eq(decrypt(wrong, wrong, encrypted, len, back), 0);
    ck_assert_uint_eq(decrypt(right, wrong, encrypted, len, back), 0);
    ck_assert_int_eq(kl_rsa_oaep_encrypt(key, hash, text, sizeof(text), again, &len_again, &err),
                     KL_OK);
    ck_assert_mem_ne(encrypted, again, len);
}
END_TEST

START_TEST(oaep_of_too_much)
{
    static const uint8_t in[256];
    uint8_t out[KL_RSA_MAX], untouched[KL_RSA_MAX];
    size_t len = 99;

    memset(out, 0x5a, sizeof(out));
    memset(untouched, 0x5a, sizeof(untouched));
    ck_assert_int_eq(kl_rsa_oaep_encrypt(key, KL_OAEP_SHA256, in, sizeof(in), out, &len, &err),
                     KL_ERR_INTERNAL);
    ck_assert_str_eq(err.op, "EVP_PKEY_encrypt");
    ck_assert_uint_eq(len, 99);
    ck_assert_mem_eq(out, untouched, sizeof(out));
}
END_TEST

/* ---- PSS ---- */

static const struct {
    int padding;
    const EVP_MD *(*md)(void);
    const EVP_MD *(*mgf1)(void);
    int salt_len;
    enum kl_rc rc;
} signatures[] = {
    {RSA_PKCS1_PSS_PADDING, EVP_sha256, EVP_sha256, 32, KL_OK},
    {RSA_PKCS1_PSS_PADDING, EVP_sha256, EVP_sha256, 31, KL_ERR_VERIFY},
    {RSA_PKCS1_PSS_PADDING, EVP_sha256, EVP_sha256, 33, KL_ERR_VERIFY},
    {RSA_PKCS1_PSS_PADDING, EVP_sha256, EVP_sha256, 0, KL_ERR_VERIFY},
    {RSA_PKCS1_PSS_PADDING, EVP_sha256, EVP_sha256, RSA_PSS_SALTLEN_MAX, KL_ERR_VERIFY},
    {RSA_PKCS1_PSS_PADDING, EVP_sha256, EVP_sha1, 32, KL_ERR_VERIFY},
    {RSA_PKCS1_PSS_PADDING, EVP_sha384, EVP_sha384, 32, KL_ERR_VERIFY},
    {RSA_PKCS1_PSS_PADDING, EVP_sha512_256, EVP_sha256, 32, KL_ERR_VERIFY},
    {RSA_PKCS1_PADDING, EVP_sha256, NULL, 0, KL_ERR_VERIFY},
};

static size_t sign(int nth, uint8_t sig[KL_RSA_MAX])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    size_t len = KL_RSA_MAX;

    ck_assert_int_eq(EVP_DigestSignInit(ctx, &pctx, signatures[nth].md(), NULL, key), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, signatures[nth].padding), 1);
    if (signatures[nth].mgf1) {
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, signatures[nth].mgf1()), 1);
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, signatures[nth].salt_len), 1);
    }
    ck_assert_int_eq(EVP_DigestSign(ctx, sig, &len, text, sizeof(text)), 1);
    EVP_MD_CTX_free(ctx);
    return len;
}

START_TEST(pss_of_one_kind_only)
{
    uint8_t sig[KL_RSA_MAX];
    size_t len = sign(_i, sig);

    ck_assert_int_eq(kl_rsa_pss_verify(key, sig, len, text, sizeof(text), &err), signatures[_i].rc);
    if (signatures[_i].rc != KL_OK) {
        ck_assert_ptr_nonnull(strstr(err.text, "does not verify"));
    }
}
END_TEST

START_TEST(pss_of_this_text_by_this_key)
{
    uint8_t sig[KL_RSA_MAX];
    size_t len = sign(0, sig);

    ck_assert_int_eq(kl_rsa_pss_verify(other, sig, len, text, sizeof(text), &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_rsa_pss_verify(key, sig, len, text, sizeof(text) - 1, &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_rsa_pss_verify(key, sig, len - 1, text, sizeof(text), &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_rsa_pss_verify(key, sig, 0, text, sizeof(text), &err), KL_ERR_VERIFY);
    sig[100] ^= 1;
    ck_assert_int_eq(kl_rsa_pss_verify(key, sig, len, text, sizeof(text), &err), KL_ERR_VERIFY);
}
END_TEST

static Suite *rsa_suite(void)
{
    Suite *suite = suite_create("rsa");
    TCase *tcase = tcase_create("rsa");

    tcase_add_unchecked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, oaep_reaches_the_owner, 0, 2);
    tcase_add_test(tcase, oaep_of_too_much);
    tcase_add_loop_test(tcase, pss_of_one_kind_only, 0, sizeof(signatures) / sizeof(signatures[0]));
    tcase_add_test(tcase, pss_of_this_text_by_this_key);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return test_run(rsa_suite());
}
