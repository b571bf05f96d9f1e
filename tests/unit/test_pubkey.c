/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Public keys: which ones are ours, what is encrypted to one its owner can read, and no signature
 * passes but the one that is asked for. Hostile input is built by hand.
 */
#include "proto/pubkey.h"

#include <check.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "tests/support/pki.h"
#include "tests/support/suite.h"

static const uint8_t text[] = "a text of no importance";
static EVP_PKEY *key, *other; /* RSA */
static struct kl_err err = KL_ERR_INIT;

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

/* ---- Kinds ---- */

/* A public key as others get it. */
static EVP_PKEY *reread(const EVP_PKEY *from)
{
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(from, &der);
    const uint8_t *p = der;
    EVP_PKEY *out = d2i_PUBKEY(NULL, &p, len);

    OPENSSL_free(der);
    return out;
}

/* P-256, encoded otherwise. */
static EVP_PKEY *encoded(const char *param, const char *value)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                                            (char *)"P-256", 0),
                           OSSL_PARAM_construct_utf8_string(param, (char *)value, 0),
                           OSSL_PARAM_construct_end()};
    EVP_PKEY *made = NULL, *out;

    ck_assert_int_eq(EVP_PKEY_keygen_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_params(ctx, params), 1);
    ck_assert_int_eq(EVP_PKEY_generate(ctx, &made), 1);
    (void)EVP_PKEY_set_utf8_string_param(made, param, value);
    out = reread(made);
    ck_assert_ptr_nonnull(out);
    EVP_PKEY_free(made);
    EVP_PKEY_CTX_free(ctx);
    return out;
}

/* RSA of another size or exponent. */
static EVP_PKEY *rsa_2056(void)
{
    return pki_make_rsa(2056, 65537);
}
static EVP_PKEY *rsa_pss(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
    EVP_PKEY *out = NULL;

    ck_assert_int_eq(EVP_PKEY_keygen_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_generate(ctx, &out), 1);
    EVP_PKEY_CTX_free(ctx);
    return out;
}
static EVP_PKEY *compressed(void)
{
    return encoded(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                   OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_COMPRESSED);
}
static EVP_PKEY *hybrid(void)
{
    return encoded(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                   OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_HYBRID);
}
static EVP_PKEY *explicit_curve(void)
{
    return encoded(OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_EXPLICIT);
}
static EVP_PKEY *p224(void)
{
    return EVP_EC_gen("P-224");
}
static EVP_PKEY *sm2(void)
{
    return EVP_PKEY_Q_keygen(NULL, NULL, "SM2");
}
/* The point at infinity, as d2i_PUBKEY takes it. */
static EVP_PKEY *infinity(void)
{
    static const uint8_t der[] = {0x30, 0x19, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48,
                                  0xce, 0x3d, 2,    1,    6, 8, 0x2a, 0x86, 0x48,
                                  0xce, 0x3d, 3,    1,    7, 3, 2,    0,    0};
    const uint8_t *p = der;

    return d2i_PUBKEY(NULL, &p, sizeof(der));
}
static EVP_PKEY *weak(void)
{
    return reread(pki_keys.weak);
}
static EVP_PKEY *e3(void)
{
    return reread(pki_keys.e3);
}
static EVP_PKEY *k256(void)
{
    return reread(pki_keys.k256);
}
static EVP_PKEY *ed25519(void)
{
    return EVP_PKEY_dup(pki_keys.ed25519);
}

static const struct {
    EVP_PKEY *(*make)(void);
    const char *text;
} strangers[] = {
    {weak, "RSA of 1024 bits"},
    {rsa_2056, "RSA of 2056 bits"},
    {e3, "RSA exponent is not 65537"},
    {rsa_pss, "public key is RSA-PSS"},
    {p224, "EC on secp224r1"},
    {k256, "EC on secp256k1"},
    {sm2, "public key is SM2"},
    {ed25519, "public key is ED25519"},
    {explicit_curve, "EC on a curve of its own"},
    {compressed, "not written uncompressed"},
    {hybrid, "not written uncompressed"},
    {infinity, "not written uncompressed"},
};

START_TEST(refuses_strangers)
{
    enum kl_key_type type = (enum kl_key_type)99;
    uint8_t buffer[KL_RSA_MAX] = {0};
    EVP_PKEY *stranger = strangers[_i].make();
    unsigned bits = 7;
    size_t len = 7;

    ck_assert_ptr_nonnull(stranger);
    ck_assert_int_eq(kl_pubkey_type(stranger, &type, &bits, &err), KL_ERR_CERT);
    ck_assert_msg(strstr(err.text, strangers[_i].text), "%s", err.text);
    ck_assert(type == (enum kl_key_type)99 && bits == 7);
    /* Nor is anything done with it. */
    ck_assert_int_eq(kl_pubkey_verify(stranger, buffer, 64, text, sizeof(text), &err),
                     KL_ERR_VERIFY);
    ck_assert_msg(strstr(err.text, strangers[_i].text), "%s", err.text);
    ck_assert_int_eq(kl_rsa_recover(stranger, buffer, 256, buffer, sizeof(buffer), &len, &err),
                     KL_ERR_VERIFY);
    ck_assert_msg(strstr(err.text, strangers[_i].text), "%s", err.text);
    ck_assert_int_eq(kl_ec_to_point(stranger, buffer, &len, &err), KL_ERR_VERIFY);
    ck_assert_msg(strstr(err.text, strangers[_i].text), "%s", err.text);
    ck_assert_uint_eq(len, 7);
    EVP_PKEY_free(stranger);
}
END_TEST

START_TEST(kinds)
{
    EVP_PKEY *big = pki_make_rsa(4096, 65537);
    const struct {
        EVP_PKEY *key;
        enum kl_key_type type;
        unsigned bits;
    } rows[] = {
        {pki_keys.root, KL_KEY_RSA, 2048}, {pki_keys.inter, KL_KEY_RSA, 3072},
        {big, KL_KEY_RSA, 4096},           {pki_keys.p256, KL_KEY_EC, 256},
        {pki_keys.p384, KL_KEY_EC, 384},   {pki_keys.p521, KL_KEY_EC, 521},
    };

    for (int i = 0; i < COUNT(rows); i++) {
        EVP_PKEY *decoded = reread(rows[i].key);
        enum kl_key_type type = (enum kl_key_type)0;
        unsigned bits = 0;

        ck_assert_msg(kl_pubkey_type(rows[i].key, &type, &bits, &err) == KL_OK, "%s", err.text);
        ck_assert(type == rows[i].type && bits == rows[i].bits);
        ck_assert_msg(kl_pubkey_type(decoded, &type, &bits, &err) == KL_OK, "%s", err.text);
        ck_assert(type == rows[i].type && bits == rows[i].bits);
        EVP_PKEY_free(decoded);
    }
    EVP_PKEY_free(big);
}
END_TEST

START_TEST(hash_of_key)
{
    uint8_t one[KL_HASH_LEN], two[KL_HASH_LEN], want[KL_HASH_LEN], *der = NULL;
    int len = i2d_PUBKEY(pki_keys.p256, &der);
    EVP_PKEY *decoded = reread(pki_keys.p256);

    ck_assert(EVP_Digest(der, (size_t)len, want, NULL, EVP_sha256(), NULL));
    ck_assert_int_eq(kl_pubkey_hash(pki_keys.p256, one, &err), KL_OK);
    ck_assert_mem_eq(one, want, sizeof(want));
    ck_assert_int_eq(kl_pubkey_hash(decoded, one, &err), KL_OK);
    ck_assert_mem_eq(one, want, sizeof(want));
    ck_assert_int_eq(kl_pubkey_hash(pki_keys.root, two, &err), KL_OK);
    ck_assert_mem_ne(one, two, sizeof(one));
    EVP_PKEY_free(decoded);
    OPENSSL_free(der);
}
END_TEST

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

    ck_assert_int_eq(kl_pubkey_verify(key, sig, len, text, sizeof(text), &err), signatures[_i].rc);
    if (signatures[_i].rc != KL_OK) {
        ck_assert_ptr_nonnull(strstr(err.text, "does not verify"));
    }
}
END_TEST

START_TEST(pss_of_this_text_by_this_key)
{
    uint8_t sig[KL_RSA_MAX];
    size_t len = sign(0, sig);

    ck_assert_int_eq(kl_pubkey_verify(other, sig, len, text, sizeof(text), &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_pubkey_verify(key, sig, len, text, sizeof(text) - 1, &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_pubkey_verify(key, sig, len - 1, text, sizeof(text), &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_pubkey_verify(key, sig, 0, text, sizeof(text), &err), KL_ERR_VERIFY);
    sig[100] ^= 1;
    ck_assert_int_eq(kl_pubkey_verify(key, sig, len, text, sizeof(text), &err), KL_ERR_VERIFY);
}
END_TEST

/* What a kept key did before changes nothing of what it does next, refusals included. */
START_TEST(kept_key)
{
    static const enum kl_oaep_hash hashes[] = {KL_OAEP_SHA1, KL_OAEP_SHA256, KL_OAEP_SHA256,
                                               KL_OAEP_SHA1};
    uint8_t sig[KL_RSA_MAX], encrypted[KL_RSA_MAX], back[KL_RSA_MAX], much[256] = {0};
    struct kl_pubkey *kept = NULL;
    size_t sig_len = sign(0, sig), len = 0;

    ck_assert_int_eq(kl_pubkey_new(key, &kept, &err), KL_OK);
    ck_assert_int_eq(kl_pubkey_is(kept), KL_KEY_RSA);
    ck_assert_uint_eq(kl_pubkey_bits(kept), 2048);
    kl_pubkey_free(kl_pubkey_ref(kept));
    for (int i = 0; i < COUNT(hashes); i++) {
        const EVP_MD *md = hashes[i] == KL_OAEP_SHA1 ? EVP_sha1() : EVP_sha256();

        ck_assert_int_eq(kl_pubkey_check(kept, sig, sig_len, text, sizeof(text), &err), KL_OK);
        ck_assert_int_eq(kl_pubkey_check(kept, sig, sig_len, text, sizeof(text) - 1, &err),
                         KL_ERR_VERIFY);
        ck_assert_int_eq(kl_pubkey_check(kept, sig, 1, text, sizeof(text), &err), KL_ERR_VERIFY);
        ck_assert_int_eq(kl_pubkey_oaep(kept, hashes[i], text, sizeof(text), encrypted, &len, &err),
                         KL_OK);
        ck_assert_uint_eq(decrypt(md, md, encrypted, len, back), sizeof(text));
        ck_assert_int_eq(kl_pubkey_oaep(kept, hashes[i], much, sizeof(much), encrypted, &len, &err),
                         KL_ERR_INTERNAL);
    }
    kl_pubkey_free(kept);
    kl_pubkey_free(NULL);
}
END_TEST

START_TEST(kept_key_refuses_strangers)
{
    EVP_PKEY *stranger = strangers[_i].make();
    struct kl_pubkey *kept = NULL;

    ck_assert_int_eq(kl_pubkey_new(stranger, &kept, &err), KL_ERR_CERT);
    ck_assert_ptr_null(kept);
    EVP_PKEY_free(stranger);
}
END_TEST

/* ---- PKCS #1 v1.5 with message recovery ---- */

#define N 256 /* bytes of the modulus of key */

/* The block under the private key, whatever it is. */
static void sign_block(const uint8_t block[N], uint8_t sig[N])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    size_t len = N;

    ck_assert_int_eq(EVP_PKEY_sign_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_sign(ctx, sig, &len, block, N), 1);
    ck_assert_uint_eq(len, N);
    EVP_PKEY_CTX_free(ctx);
}

/* 00 type, then padding, then a separator, then len bytes of 0x5a. */
static void make_block(uint8_t block[N], uint8_t first, uint8_t type, uint8_t padding,
                       uint8_t separator, size_t len)
{
    memset(block, padding, N);
    block[0] = first;
    block[1] = type;
    block[N - len - 1] = separator;
    memset(block + N - len, 0x5a, len);
}

static const struct {
    uint8_t first, type, padding, separator;
    size_t len;
    size_t capacity;
    enum kl_rc rc;
} blocks[] = {
    {0, 1, 0xff, 0, 72, 72, KL_OK},
    {0, 1, 0xff, 0, 72, KL_RSA_MAX, KL_OK},
    {0, 1, 0xff, 0, 0, 72, KL_OK},
    {0, 1, 0xff, 0, N - 11, N, KL_OK},         /* 8 bytes of padding: the least */
    {0, 1, 0xff, 0, N - 10, N, KL_ERR_VERIFY}, /* 7 */
    {0, 1, 0xff, 0, N - 3, N, KL_ERR_VERIFY},  /* none */
    {0, 1, 0xff, 0, 73, 72, KL_ERR_VERIFY},    /* more than fits */
    {0, 2, 0xff, 0, 72, 72, KL_ERR_VERIFY},    /* a block of encryption */
    {0, 0, 0x00, 0, 72, 72, KL_ERR_VERIFY},    /* block type 0 */
    {1, 1, 0xff, 0, 72, 72, KL_ERR_VERIFY},
    {0, 1, 0xfe, 0, 72, 72, KL_ERR_VERIFY},
    {0, 1, 0xff, 1, 72, 72, KL_ERR_VERIFY}, /* no separator */
};

START_TEST(recover)
{
    uint8_t block[N], sig[N], out[KL_RSA_MAX], untouched[KL_RSA_MAX];
    size_t len = 999;

    memset(out, 0xa5, sizeof(out));
    memset(untouched, 0xa5, sizeof(untouched));
    make_block(block, blocks[_i].first, blocks[_i].type, blocks[_i].padding, blocks[_i].separator,
               blocks[_i].len);
    sign_block(block, sig);
    ck_assert_int_eq(kl_rsa_recover(key, sig, N, out, blocks[_i].capacity, &len, &err),
                     blocks[_i].rc);
    if (blocks[_i].rc == KL_OK) {
        ck_assert_uint_eq(len, blocks[_i].len);
        ck_assert_mem_eq(out, block + N - len, len);
    } else {
        ck_assert_uint_eq(len, 999);
        ck_assert_mem_eq(out, untouched, sizeof(out));
    }
}
END_TEST

START_TEST(recover_of_another)
{
    uint8_t block[N], sig[N + 1] = {0}, out[KL_RSA_MAX];
    BIGNUM *n = NULL;
    size_t len = 0;

    make_block(block, 0, 1, 0xff, 0, 72);
    sign_block(block, sig);
    ck_assert_int_eq(kl_rsa_recover(key, sig, N, out, sizeof(out), &len, &err), KL_OK);
    ck_assert_int_eq(kl_rsa_recover(other, sig, N, out, sizeof(out), &len, &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_rsa_recover(key, sig, N - 1, out, sizeof(out), &len, &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_rsa_recover(key, sig, N + 1, out, sizeof(out), &len, &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_rsa_recover(key, sig, 0, out, sizeof(out), &len, &err), KL_ERR_VERIFY);
    ck_assert_int_eq(kl_rsa_recover(pki_keys.p256, sig, 32, out, sizeof(out), &len, &err),
                     KL_ERR_VERIFY);
    ck_assert_ptr_nonnull(strstr(err.text, "must be an RSA key's"));
    ck_assert_int_eq(kl_rsa_recover(pki_keys.inter, sig, N, out, sizeof(out), &len, &err),
                     KL_ERR_VERIFY); /* RSA-3072 */
    sig[100] ^= 1;
    ck_assert_int_eq(kl_rsa_recover(key, sig, N, out, sizeof(out), &len, &err), KL_ERR_VERIFY);
    /* A number that is not below the modulus. */
    ck_assert(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) && BN_bn2binpad(n, sig, N));
    ck_assert_int_eq(kl_rsa_recover(key, sig, N, out, sizeof(out), &len, &err), KL_ERR_VERIFY);
    BN_free(n);
}
END_TEST

/* A signature is as long as the modulus, and so is one whose first byte is zero: without that byte
 * it is the same number. */
START_TEST(recover_without_its_zero)
{
    uint8_t block[N], sig[N] = {1}, out[KL_RSA_MAX];
    size_t len = 0;

    make_block(block, 0, 1, 0xff, 0, 72);
    for (unsigned i = 0; sig[0] != 0; i++) {
        memcpy(block + N - sizeof(i), &i, sizeof(i));
        sign_block(block, sig);
    }
    ck_assert_int_eq(kl_rsa_recover(key, sig, N, out, sizeof(out), &len, &err), KL_OK);
    ck_assert_int_eq(kl_rsa_recover(key, sig + 1, N - 1, out, sizeof(out), &len, &err),
                     KL_ERR_VERIFY);
    ck_assert_ptr_nonnull(strstr(err.text, "has 255 bytes"));
}
END_TEST

static Suite *pubkey_suite(void)
{
    Suite *suite = suite_create("pubkey");
    TCase *tcase = tcase_create("pubkey");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, refuses_strangers, 0, COUNT(strangers));
    tcase_add_test(tcase, kept_key);
    tcase_add_loop_test(tcase, kept_key_refuses_strangers, 0, COUNT(strangers));
    tcase_add_test(tcase, kinds);
    tcase_add_test(tcase, hash_of_key);
    tcase_add_loop_test(tcase, oaep_reaches_the_owner, 0, 2);
    tcase_add_test(tcase, oaep_of_too_much);
    tcase_add_loop_test(tcase, pss_of_one_kind_only, 0, COUNT(signatures));
    tcase_add_test(tcase, pss_of_this_text_by_this_key);
    tcase_add_loop_test(tcase, recover, 0, COUNT(blocks));
    tcase_add_test(tcase, recover_of_another);
    tcase_add_test(tcase, recover_without_its_zero);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    int status;

    pki_make_keys();
    key = pki_keys.leaf;
    other = pki_keys.other;
    status = test_run(pubkey_suite());
    pki_free_keys();
    return status;
}
