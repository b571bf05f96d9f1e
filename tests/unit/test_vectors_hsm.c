/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vectors of docs/protocol.md against the loader's part, on a SoftHSM that holds the vectors'
 * work key; and published vectors that pin down which algorithms the document's words mean.
 */
#include <check.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/loader.h"
#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "terminal-sim/suite.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

static struct kl_err err = KL_ERR_INIT;

/* ---- The loader, on a SoftHSM ---- */

static struct test_token hsm;

static void open_hsm(void)
{
    test_token_open(&hsm, NULL);
}

static void close_hsm(void)
{
    test_token_close(&hsm);
}

static void set_number(CK_ATTRIBUTE *attr, CK_ATTRIBUTE_TYPE type, EVP_PKEY *key, const char *param,
                       uint8_t *buffer)
{
    BIGNUM *number = NULL;

    ck_assert(EVP_PKEY_get_bn_param(key, param, &number) == 1);
    *attr = (CK_ATTRIBUTE){type, buffer, (CK_ULONG)BN_bn2bin(number, buffer)};
    BN_clear_free(number);
}

/* AcquireWCRT_Prk as `keyloaderctl key generate` would have made it, but for its origin. */
static void import_work_key(EVP_PKEY *key)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE rsa = CKK_RSA;
    CK_OBJECT_HANDLE handle;
    uint8_t numbers[8][KL_RSA_MAX];
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *param;
    } parts[8] = {
        {CKA_MODULUS, OSSL_PKEY_PARAM_RSA_N},
        {CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E},
        {CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D},
        {CKA_PRIME_1, OSSL_PKEY_PARAM_RSA_FACTOR1},
        {CKA_PRIME_2, OSSL_PKEY_PARAM_RSA_FACTOR2},
        {CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1},
        {CKA_EXPONENT_2, OSSL_PKEY_PARAM_RSA_EXPONENT2},
        {CKA_COEFFICIENT, OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
    };
    struct kl_tmpl unwrap;

    kl_tmpl_init(&unwrap);
    kl_demands_add(&kl_rnd1_demands, &unwrap);
    CK_ATTRIBUTE attrs[15 + 8] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_KEY_TYPE, &rsa, sizeof(rsa)},
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_EXTRACTABLE, &no, sizeof(no)},
        {CKA_MODIFIABLE, &no, sizeof(no)},
        {CKA_LABEL, (char *)"work", 4},
        {CKA_SIGN, &yes, sizeof(yes)},
        {CKA_SIGN_RECOVER, &no, sizeof(no)},
        {CKA_UNWRAP, &yes, sizeof(yes)},
        {CKA_DECRYPT, &no, sizeof(no)},
        {CKA_DERIVE, &no, sizeof(no)},
        {CKA_UNWRAP_TEMPLATE, unwrap.attrs, unwrap.count * sizeof(CK_ATTRIBUTE)},
        {CKA_ID, (char *)"vector", 6},
    };

    for (size_t n = 0; n < 8; n++) {
        set_number(&attrs[15 + n], parts[n].type, key, parts[n].param, numbers[n]);
    }
    ck_assert_uint_eq(hsm.f->C_CreateObject(hsm.s, attrs, 15 + 8, &handle), CKR_OK);
}

static struct kl_loader *open_loader(int i)
{
    const struct kl_loader_config config = {"work", "storage", 1};
    struct kl_loader *loader = NULL;

    import_work_key(vec_keys[i]);
    ck_assert_msg(kl_storage_key_generate(hsm.session, "storage", &err) == KL_OK, "%s", err.text);
    ck_assert_msg(kl_loader_open(hsm.token, &config, &loader, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(kl_loader_oaep_hash(loader), KL_OAEP_SHA1);
    return loader;
}

static enum kl_rc run(struct kl_loader *loader, struct vec_set *set, int i, struct kl_load_out *out)
{
    const struct kl_load_in in = {.suite = KL_SUITE_HARDENED_RSA,
                                  .hello = vec_bytes(set, "hello"),
                                  .certificate = vec_bytes(set, "certificate"),
                                  .randoms = vec_bytes(set, "randoms"),
                                  .alg = vec_expected[i].alg,
                                  .tmk_version = vec_expected[i].version,
                                  .kcv_len = vec_get(set, "kcv")->len};

    return kl_loader_run(loader, &in, out, &err);
}

/* The TMK is the loader's own; everything else of its answer is determined by the vector. */
static void check_output(struct vec_set *set, int i, const struct kl_load_out *out)
{
    static const uint8_t active[] = {1}, drop[] = {2};
    const struct kl_bytes parts[] = {vec_bytes(set, "hello"),
                                     vec_bytes(set, "certificate"),
                                     vec_bytes(set, "randoms"),
                                     {out->master_key, out->master_key_len}};
    struct kl_auth_work work = {.key = vec_keys[i]};
    uint8_t tmk[64], block[16], input[40], mac[16];
    struct kl_msg msg;
    const struct kl_tbs *tbs = &msg.u.master_key.tbs;

    ck_assert(kl_msg_decode(out->master_key, out->master_key_len, &msg, &err) == KL_OK);
    ck_assert(vec_is(set, "t1", tbs->t1, 32));
    ck_assert(vec_is(set, "rnd2", tbs->rnd2, 32));
    ck_assert_uint_eq(tbs->alg, vec_expected[i].alg);
    ck_assert_uint_eq(tbs->version, vec_expected[i].version);
    ck_assert(kl_terminal_suite_hardened_rsa.verify(&work, &msg.u.master_key, &err) == KL_OK);
    ck_assert_uint_eq(vec_pass("AES256-WRAP", 0, vec_get(set, "k_wrap")->data,
                               (struct kl_bytes){tbs->ctmk, tbs->ctmk_len}, tmk),
                      kl_alg_info(vec_expected[i].alg)->key_len);
    vec_kcv(vec_expected[i].alg, tmk, block);
    ck_assert_mem_eq(tbs->kcv, block, tbs->kcv_len);
    ck_assert_mem_eq(out->kcv, block, out->kcv_len);
    vec_digest(EVP_sha256(), parts, 4, input);
    memcpy(input + 32, active, 1);
    memcpy(input + 33, block, out->kcv_len);
    vec_cmac(vec_bytes(set, "k_ack"), (struct kl_bytes){input, 33 + out->kcv_len}, mac);
    ck_assert_mem_eq(out->ack_mac, mac, 16);
    vec_cmac(vec_bytes(set, "k_done"), (struct kl_bytes){input, 33}, mac);
    ck_assert_mem_eq(out->active_mac, mac, 16);
    memcpy(input + 32, drop, 1);
    vec_cmac(vec_bytes(set, "k_done"), (struct kl_bytes){input, 33}, mac);
    ck_assert_mem_eq(out->drop_mac, mac, 16);
}

/* SoftHSM does OAEP with SHA-1 only: the first two loads. */
START_TEST(test_loader_accepts)
{
    struct kl_loader *loader = open_loader(_i);
    struct kl_load_out out;

    ck_assert_msg(run(loader, &vec_loads[_i], _i, &out) == KL_OK, "%s", err.text);
    check_output(&vec_loads[_i], _i, &out);
    kl_loader_free(loader);
}
END_TEST

/* 1 if that byte of that message is one of C_rnd1_rnd2, none of the DER around it. */
static int secret(struct vec_set *set, const char *message, size_t at)
{
    static const char *const names[] = {"c_rnd1", "iv", "c_rnd2"};
    const struct vec_value *randoms = vec_get(set, "randoms");

    for (size_t n = 0; strcmp(message, "randoms") == 0 && n < 3; n++) {
        const struct vec_value *part = vec_get(set, names[n]);
        const uint8_t *from = memmem(randoms->data, randoms->len, part->data, part->len);

        ck_assert(from != NULL);
        if (randoms->data + at >= from && randoms->data + at < from + part->len) {
            return 1;
        }
    }
    return 0;
}

START_TEST(test_loader_refuses)
{
    static const struct {
        const char *name;
        size_t step; /* every how manieth byte */
    } fields[] = {{"randoms", 1}, {"certificate", 29}, {"hello", 1}};
    struct kl_loader *loader = open_loader(0);
    struct vec_set *set = &vec_loads[0];
    struct kl_load_out out;

    for (size_t n = 0; n < sizeof(fields) / sizeof(fields[0]); n++) {
        struct vec_value *value = vec_get(set, fields[n].name);

        for (size_t at = 0; at < value->len; at += fields[n].step) {
            enum kl_rc rc;

            value->data[at] ^= 1;
            rc = run(loader, set, 0, &out);
            value->data[at] ^= 1;
            /* Headers and choices break the protocol; all else is found by decrypting. */
            ck_assert_msg(rc == KL_ERR_VERIFY ||
                              (!secret(set, fields[n].name, at) &&
                               (rc == KL_ERR_PROTOCOL || rc == KL_ERR_UNSUPPORTED)),
                          "byte %zu of %s: %s", at, fields[n].name, kl_rc_name(rc));
        }
    }
    ck_assert_msg(run(loader, set, 0, &out) == KL_OK, "%s", err.text);
    kl_loader_free(loader);
}
END_TEST

/* ---- Published vectors: which algorithms our words mean ---- */

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t len = 0;

    ck_assert(OPENSSL_hexstr2buf_ex(out, 64, &len, hex, '\0') == 1);
    return len;
}

/* A session key on the token, with one use. */
static CK_OBJECT_HANDLE import_key(CK_KEY_TYPE type, CK_ATTRIBUTE_TYPE use, const char *hex)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_OBJECT_HANDLE handle;
    uint8_t key[64];
    CK_ATTRIBUTE attrs[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &no, sizeof(no)},       {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)}, {CKA_EXTRACTABLE, &no, sizeof(no)},
        {use, &yes, sizeof(yes)},           {CKA_VALUE, key, from_hex(hex, key)},
    };

    ck_assert_uint_eq(hsm.f->C_CreateObject(hsm.s, attrs, 8, &handle), CKR_OK);
    return handle;
}

/* RFC 3394, 4.6: 256 bits of key data with a 256-bit KEK. */
START_TEST(test_aes_key_wrap)
{
    const char *kek = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t key[64], data[64], wrapped[64], out[64], kcv[4], block[16];

    from_hex(kek, key);
    ck_assert_uint_eq(from_hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
                               data),
                      32);
    ck_assert_uint_eq(from_hex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326"
                               "cbc7f0e71a99f43bfb988b9b7a02dd21",
                               wrapped),
                      40);
    ck_assert_uint_eq(vec_pass("AES256-WRAP", 1, key, (struct kl_bytes){data, 32}, out), 40);
    ck_assert_mem_eq(out, wrapped, 40);
    /* The same on the token, seen by the KCV of what comes out. */
    ck_assert_msg(kl_op_unwrap_tmk(hsm.session, import_key(CKK_AES, CKA_UNWRAP, kek), KL_ALG_AES256,
                                   wrapped, 40, KL_USE_KCV, NULL, 1, &handle, &err) == KL_OK,
                  "%s", err.text);
    ck_assert(kl_op_kcv(hsm.session, handle, KL_ALG_AES256, 4, kcv, &err) == KL_OK);
    vec_kcv(KL_ALG_AES256, data, block);
    ck_assert_mem_eq(kcv, block, 4);
}
END_TEST

/* RFC 4493, section 4, and NIST SP 800-38B, D.3: subkey K1 turns a whole block's CMAC into one
 * AES encryption, so the KCV of the RFC's key follows from the RFC's own K1. */
START_TEST(test_cmac_and_kcv)
{
    static const struct {
        const char *key, *in, *mac;
    } published[] = {
        {"2b7e151628aed2a6abf7158809cf4f3c", "", "bb1d6929e95937287fa37d129b756746"},
        {"2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172a",
         "070a16b46b4d4144f79bdd9dd04a287c"},
        {"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
         "6bc1bee22e409f96e93d7e117393172a", "28a7023f452e8f82bd4bf28d8c37c35c"},
    };
    uint8_t key[64], in[64], mac[64], out[16], k1[64], kcv[4];

    for (size_t n = 0; n < sizeof(published) / sizeof(published[0]); n++) {
        size_t key_len = from_hex(published[n].key, key);
        size_t in_len = published[n].in[0] ? from_hex(published[n].in, in) : 0;

        from_hex(published[n].mac, mac);
        vec_cmac((struct kl_bytes){key, key_len}, (struct kl_bytes){in, in_len}, out);
        ck_assert_mem_eq(out, mac, 16);
    }
    from_hex(published[0].key, key);
    from_hex("fbeed618357133667c85e08f7236a8de", k1);
    vec_pass("AES-128-ECB", 1, key, (struct kl_bytes){k1, 16}, out);
    ck_assert(vec_is(&vec_loads[1], "tmk", key, 16)); /* it is the TMK of this load */
    ck_assert(vec_is(&vec_loads[1], "kcv", out, 3));
    ck_assert(kl_op_kcv(hsm.session, import_key(CKK_AES, CKA_SIGN, published[0].key), KL_ALG_AES128,
                        4, kcv, &err) == KL_OK);
    ck_assert_mem_eq(kcv, out, 4);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vectors_hsm");
    TCase *tc = tcase_create("token");

    tcase_add_unchecked_fixture(tc, vec_setup, vec_teardown);
    tcase_add_checked_fixture(tc, open_hsm, close_hsm);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_loader_accepts, 0, 2);
    tcase_add_test(tc, test_loader_refuses);
    tcase_add_test(tc, test_aes_key_wrap);
    tcase_add_test(tc, test_cmac_and_kcv);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
