/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/pkcs8 and kl_pair_import: key pairs from encrypted files, and all that is refused. */
#include <check.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/pkcs8.h"
#include "proto/pubkey.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

#define PASSPHRASE "a passphrase"

static struct kl_err err = KL_ERR_INIT;

/* ---- Keys ---- */

static EVP_PKEY *rsa(unsigned bits, unsigned exponent, int primes)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    BIGNUM *e = BN_new();
    EVP_PKEY *key = NULL;

    ck_assert_int_eq(BN_set_word(e, exponent), 1);
    ck_assert_int_eq(EVP_PKEY_keygen_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_keygen_primes(ctx, primes), 1);
    ck_assert_int_eq(EVP_PKEY_generate(ctx, &key), 1);
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *from_data(const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY *key = NULL;

    ck_assert_int_eq(EVP_PKEY_fromdata_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params), 1);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* An RSA key of these primes; d is made too large by `wrong`. */
static EVP_PKEY *rsa_of(const BIGNUM *p, const BIGNUM *q, unsigned wrong)
{
    static const char *const names[] = {
        OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
    };
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *v[8], *p1 = BN_dup(p), *q1 = BN_dup(q), *phi = BN_new();
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *key;

    for (int i = 0; i < 8; i++) {
        v[i] = BN_new();
    }
    ck_assert(BN_sub_word(p1, 1) && BN_sub_word(q1, 1) && BN_mul(phi, p1, q1, ctx));
    ck_assert(BN_mul(v[0], p, q, ctx) && BN_set_word(v[1], 65537));
    ck_assert_ptr_nonnull(BN_mod_inverse(v[2], v[1], phi, ctx));
    ck_assert(BN_copy(v[3], p) && BN_copy(v[4], q));
    ck_assert(BN_mod(v[5], v[2], p1, ctx) && BN_mod(v[6], v[2], q1, ctx));
    ck_assert_ptr_nonnull(BN_mod_inverse(v[7], q, p, ctx));
    ck_assert(BN_add_word(v[2], wrong));
    for (int i = 0; i < 8; i++) {
        ck_assert(OSSL_PARAM_BLD_push_BN(builder, names[i], v[i]));
    }
    key = from_data("RSA", builder);
    for (int i = 0; i < 8; i++) {
        BN_free(v[i]);
    }
    BN_free(phi);
    BN_free(q1);
    BN_free(p1);
    BN_CTX_free(ctx);
    return key;
}

/* The next usable prime from `from` on. */
static BIGNUM *prime_from(const BIGNUM *from)
{
    BIGNUM *prime = BN_dup(from), *less = BN_new();
    BN_CTX *ctx = BN_CTX_new();

    for (;;) {
        ck_assert(BN_add_word(prime, BN_is_odd(prime) ? 2 : 1));
        if (BN_check_prime(prime, ctx, NULL) == 1 && BN_copy(less, prime) && BN_sub_word(less, 1) &&
            BN_mod_word(less, 65537) != 0) {
            break;
        }
    }
    BN_CTX_free(ctx);
    BN_free(less);
    return prime;
}

static EVP_PKEY *rsa_with_primes_near(unsigned wrong, int distance_bits)
{
    BIGNUM *p = BN_new(), *start = BN_new(), *q;
    EVP_PKEY *key;

    do {
        ck_assert(BN_generate_prime_ex(p, 1024, 0, NULL, NULL, NULL));
        ck_assert(BN_one(start) && BN_lshift(start, start, distance_bits) &&
                  BN_add(start, start, p));
    } while (BN_num_bits(start) != 1024 || BN_mod_word(p, 65537) == 1);
    q = prime_from(start);
    key = rsa_of(p, q, wrong);
    BN_free(q);
    BN_free(start);
    BN_free(p);
    return key;
}

/* An EC key whose public half is another's. */
static EVP_PKEY *ec_mismatched(void)
{
    EVP_PKEY *one = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256"), *key;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *d = NULL;
    uint8_t point[KL_EC_POINT_MAX];
    size_t len = 0;

    ck_assert(EVP_PKEY_get_bn_param(one, OSSL_PKEY_PARAM_PRIV_KEY, &d));
    ck_ok(kl_ec_to_point(other, point, &len, &err));
    ck_assert(OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0));
    ck_assert(OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, len));
    ck_assert(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, d));
    key = from_data("EC", builder);
    BN_free(d);
    EVP_PKEY_free(other);
    EVP_PKEY_free(one);
    return key;
}

/* ---- Files ---- */

/* The key as encrypted PKCS#8, in PEM; the caller frees. */
static char *pem_of(EVP_PKEY *key, const char *passphrase)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text, *copy;
    long len;

    ck_assert_int_eq(PEM_write_bio_PKCS8PrivateKey(bio, key, passphrase ? EVP_aes_256_cbc() : NULL,
                                                   passphrase,
                                                   passphrase ? (int)strlen(passphrase) : 0, NULL,
                                                   NULL),
                     1);
    len = BIO_get_mem_data(bio, &text);
    copy = strndup(text, (size_t)len);
    BIO_free(bio);
    return copy;
}

static enum kl_rc open_text(const char *text, size_t len, const char *passphrase, EVP_PKEY **key)
{
    struct kl_secret *secret = test_secret(passphrase);
    enum kl_rc rc = kl_pkcs8_open(text, len, secret, key, &err);

    kl_secret_free(secret);
    return rc;
}

START_TEST(a_file_opens_under_its_passphrase)
{
    EVP_PKEY *key = EVP_EC_gen("P-256"), *same = NULL;
    char *text = pem_of(key, PASSPHRASE);
    size_t len = strlen(text);

    ck_ok(kl_pkcs8_check(text, len, &err));
    ck_ok(open_text(text, len, PASSPHRASE, &same));
    ck_assert_int_eq(EVP_PKEY_eq(key, same), 1);
    EVP_PKEY_free(same);
    same = NULL;
    ck_rc(open_text(text, len, PASSPHRASE "x", &same), KL_ERR_PIN);
    ck_says("the passphrase does not open it");
    ck_assert(!strstr(err.text, PASSPHRASE));
    ck_assert_ptr_null(same);
    /* Cut anywhere. */
    for (size_t cut = 0; cut + 1 < len; cut += 7) {
        char *copy = strndup(text, cut);
        enum kl_rc rc = open_text(copy, cut, PASSPHRASE, &same);

        ck_assert_msg(rc == KL_ERR_INPUT || rc == KL_ERR_PIN, "cut at %zu: %s", cut,
                      kl_rc_name(rc));
        free(copy);
    }
    free(text);
    EVP_PKEY_free(key);
}
END_TEST

START_TEST(files_that_are_something_else)
{
    EVP_PKEY *key = EVP_EC_gen("P-256"), *none = NULL;
    char *text = pem_of(key, PASSPHRASE), *clear = pem_of(key, NULL), bad[4096];
    X509_SIG *old;
    BIO *bio = BIO_new(BIO_s_mem());
    char *old_text;
    long old_len;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);

    ck_rc(kl_pkcs8_check(clear, strlen(clear), &err), KL_ERR_INPUT);
    ck_says("openssl pkcs8 -topk8");
    snprintf(bad, sizeof(bad), "%s%s", text, "x");
    ck_rc(open_text(bad, strlen(bad), PASSPHRASE, &none), KL_ERR_INPUT);
    ck_says("something follows the key");
    snprintf(bad, sizeof(bad), "%s\n \n", text);
    ck_ok(kl_pkcs8_check(bad, strlen(bad), &err));
    snprintf(bad, sizeof(bad), "%s%s", text, text);
    ck_rc(kl_pkcs8_check(bad, strlen(bad), &err), KL_ERR_INPUT);
    snprintf(bad, sizeof(bad), "x%s", text);
    ck_rc(kl_pkcs8_check(bad, strlen(bad), &err), KL_ERR_INPUT);
    ck_rc(kl_pkcs8_check(text, strlen(text) + 1, &err), KL_ERR_INPUT); /* with its NUL */
    ck_rc(kl_pkcs8_check("", 0, &err), KL_ERR_INPUT);
    /* PBES1, as PKCS#12 had it. */
    old = PKCS8_encrypt(NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NULL, PASSPHRASE,
                        (int)strlen(PASSPHRASE), NULL, 8, 2048, info);
    ck_assert_ptr_nonnull(old);
    ck_assert_int_eq(PEM_write_bio_PKCS8(bio, old), 1);
    old_len = BIO_get_mem_data(bio, &old_text);
    ck_rc(kl_pkcs8_check(old_text, (size_t)old_len, &err), KL_ERR_INPUT);
    ck_says("PBES2");
    PKCS8_PRIV_KEY_INFO_free(info);
    X509_SIG_free(old);
    BIO_free(bio);
    free(clear);
    free(text);
    EVP_PKEY_free(key);
}
END_TEST

/* Bytes after the key, inside the block and inside the encryption. */
START_TEST(files_with_something_after_the_key)
{
    X509_ALGOR *pbe = PKCS5_pbe2_set(EVP_aes_128_cbc(), 1000, NULL, 0);
    EVP_PKEY *key = EVP_EC_gen("P-256"), *none = NULL;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    ASN1_OCTET_STRING *sealed_key;
    X509_SIG *sealed = X509_SIG_new();
    uint8_t *der = NULL, longer[512] = {0}, *crypt = NULL;
    X509_ALGOR *algor;
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der), crypt_len = 0;

    memcpy(longer, der, (size_t)len);
    ck_assert_ptr_nonnull(PKCS12_pbe_crypt(pbe, PASSPHRASE, (int)strlen(PASSPHRASE), longer,
                                           len + (_i == 0 ? 3 : 0), &crypt, &crypt_len, 1));
    X509_SIG_getm(sealed, &algor, &sealed_key);
    ck_assert_int_eq(X509_ALGOR_copy(algor, pbe), 1);
    ck_assert_int_eq(ASN1_OCTET_STRING_set(sealed_key, crypt, crypt_len), 1);
    OPENSSL_free(der);
    der = NULL;
    len = i2d_X509_SIG(sealed, &der);
    memset(longer, 0, sizeof(longer));
    memcpy(longer, der, (size_t)len);
    ck_assert_int_gt(PEM_write_bio(bio, PEM_STRING_PKCS8, "", longer, len + (_i == 1 ? 2 : 0)), 0);
    len = (int)BIO_get_mem_data(bio, &text);
    ck_rc(open_text(text, (size_t)len, PASSPHRASE, &none), _i == 2 ? KL_OK : KL_ERR_INPUT);
    if (_i < 2) {
        ck_says(_i == 0 ? "within its encryption" : "within its PEM block");
    }
    EVP_PKEY_free(none);
    BIO_free(bio);
    OPENSSL_free(der);
    OPENSSL_free(crypt);
    X509_SIG_free(sealed);
    PKCS8_PRIV_KEY_INFO_free(info);
    EVP_PKEY_free(key);
    X509_ALGOR_free(pbe);
}
END_TEST

/* ---- Into the token ---- */

static const struct {
    enum kl_pair_role role;
    enum kl_key_type type;
    unsigned bits;
    const char *group;
} good[] = {
    {KL_PAIR_WORK, KL_KEY_RSA, 2048, NULL},     {KL_PAIR_WORK_CLASSIC, KL_KEY_RSA, 3072, NULL},
    {KL_PAIR_WORK_EC, KL_KEY_EC, 256, "P-256"}, {KL_PAIR_WORK_EC, KL_KEY_EC, 384, "P-384"},
    {KL_PAIR_WORK_EC, KL_KEY_EC, 521, "P-521"}, {KL_PAIR_TRANSPORT, KL_KEY_RSA, 2048, NULL},
};

/* The token signs as the public half verifies; what it holds is as generated, but for its past. */
static void use_pair(EVP_PKEY *key, enum kl_pair_role role, enum kl_key_type type, unsigned bits)
{
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *public_key = NULL;
    const uint8_t in[32] = {1};
    uint8_t sig[KL_RSA_MAX];
    size_t len = 0;

    ck_ok(kl_pair_find(hsm.session, role, "k", &handle, &public_key, &err));
    ck_assert_int_eq(EVP_PKEY_eq(key, public_key), 1);
    ck_assert(p11_flag(handle, CKA_SENSITIVE) && !p11_flag(handle, CKA_EXTRACTABLE));
    ck_assert(!p11_flag(handle, CKA_MODIFIABLE) && !p11_flag(handle, CKA_LOCAL));
    ck_assert(!p11_flag(handle, CKA_ALWAYS_SENSITIVE) && !p11_flag(handle, CKA_NEVER_EXTRACTABLE));
    if (type == KL_KEY_EC) {
        ck_ok(kl_op_sign_ecdsa(hsm.session, handle, kl_curve_by_bits(bits), in, sizeof(in), sig,
                               sizeof(sig), &len, &err));
    } else if (role == KL_PAIR_WORK) {
        ck_ok(kl_op_sign_pss(hsm.session, handle, in, sizeof(in), sig, sizeof(sig), &len, &err));
    }
    if (len > 0) {
        ck_ok(kl_pubkey_verify(public_key, sig, len, in, sizeof(in), &err));
    }
    EVP_PKEY_free(public_key);
}

START_TEST(pairs_are_imported)
{
    EVP_PKEY *key = good[_i].group ? EVP_EC_gen(good[_i].group) : rsa(good[_i].bits, 65537, 2);

    ck_ok(kl_pair_import(hsm.session, good[_i].role, "k", key, &err));
    use_pair(key, good[_i].role, good[_i].type, good[_i].bits);
    /* There, under its label and under any other. */
    ck_rc(kl_pair_import(hsm.session, good[_i].role, "k", key, &err), KL_ERR_EXISTS);
    ck_rc(kl_pair_import(hsm.session, good[_i].role, "l", key, &err), KL_ERR_EXISTS);
    ck_says("under another label");
    EVP_PKEY_free(key);
    key = good[_i].group ? EVP_EC_gen(good[_i].group) : rsa(good[_i].bits, 65537, 2);
    ck_rc(kl_pair_import(hsm.session, good[_i].role, "k", key, &err), KL_ERR_EXISTS);
    EVP_PKEY_free(key);
}
END_TEST

static EVP_PKEY *bad_key(int i)
{
    switch (i) {
    case 0:
        return rsa(1024, 65537, 2);
    case 1:
        return rsa(2048, 3, 2);
    case 2:
        return rsa_with_primes_near(0, 64);
    case 3:
        return rsa_with_primes_near(2, 1000);
    case 4:
        return rsa(2048, 65537, 3);
    case 5:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    case 6:
        return EVP_EC_gen("secp256k1");
    case 7:
        return EVP_EC_gen("P-256"); /* for a role that is RSA's */
    case 8:
        return ec_mismatched(); /* to the right role: see below */
    default:
        return rsa(2560, 65537, 2);
    }
}

START_TEST(weak_and_broken_pairs_are_refused)
{
    static const char *const says[] = {
        "2048, 3072 or 4096",
        "exponent",
        "too close",
        "does not fit its public half",
        "more than two primes",
        "public key is",
        "P-256, P-384 or P-521",
        "must be RSA",
        "does not fit its public half",
        "2048, 3072 or 4096",
    };
    EVP_PKEY *key = bad_key(_i);

    ck_rc(kl_pair_import(hsm.session, _i == 8 ? KL_PAIR_WORK_EC : KL_PAIR_WORK, "k", key, &err),
          KL_ERR_INPUT);
    ck_says(says[_i]);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_CreateObject), 0);
    EVP_PKEY_free(key);
}
END_TEST

/* The control of the two above: such a key, with its primes far enough apart, is taken. */
START_TEST(a_pair_made_by_hand_is_taken)
{
    EVP_PKEY *key = rsa_with_primes_near(0, 1000);

    ck_ok(kl_pair_import(hsm.session, KL_PAIR_WORK, "k", key, &err));
    use_pair(key, KL_PAIR_WORK, KL_KEY_RSA, 2048);
    EVP_PKEY_free(key);
}
END_TEST

START_TEST(a_failed_import_leaves_nothing)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    CK_OBJECT_HANDLE handle;
    CK_ULONG count = 0;

    if (_i < 2) {
        fake_p11_fail(FAKE_C_CreateObject, (unsigned)_i + 1, CKR_GENERAL_ERROR);
    } else {
        fake_p11_fail(FAKE_C_GetAttributeValue, (unsigned)_i - 1, CKR_GENERAL_ERROR);
    }
    ck_rc(kl_pair_import(hsm.session, KL_PAIR_WORK_EC, "k", key, &err), KL_ERR_HSM);
    ck_assert_uint_eq(hsm.f->C_FindObjectsInit(hsm.s, NULL, 0), CKR_OK);
    ck_assert_uint_eq(hsm.f->C_FindObjects(hsm.s, &handle, 1, &count), CKR_OK);
    ck_assert_uint_eq(hsm.f->C_FindObjectsFinal(hsm.s), CKR_OK);
    ck_assert_uint_eq(count, 0);
    EVP_PKEY_free(key);
}
END_TEST

static Suite *import_suite(void)
{
    Suite *suite = suite_create("key import");
    TCase *files = tcase_create("files"), *pairs = tcase_create("pairs");

    tcase_add_checked_fixture(files, test_secrets, NULL);
    tcase_set_timeout(files, 60);
    tcase_add_test(files, a_file_opens_under_its_passphrase);
    tcase_add_test(files, files_that_are_something_else);
    tcase_add_loop_test(files, files_with_something_after_the_key, 0, 3);
    suite_add_tcase(suite, files);
    tcase_add_checked_fixture(pairs, p11_open, p11_close);
    tcase_set_timeout(pairs, 120);
    tcase_add_loop_test(pairs, pairs_are_imported, 0, 6);
    tcase_add_loop_test(pairs, weak_and_broken_pairs_are_refused, 0, 10);
    tcase_add_test(pairs, a_pair_made_by_hand_is_taken);
    tcase_add_loop_test(pairs, a_failed_import_leaves_nothing, 0, 8);
    suite_add_tcase(suite, pairs);
    return suite;
}

int main(void)
{
    return test_run(import_suite());
}
