/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/ops and tmpl: session keys, what they cannot do, and known answers. */
#include "pkcs11/ops.h"

#include <check.h>
#include <openssl/evp.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/object.h"
#include "pkcs11/tmpl.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static CK_OBJECT_HANDLE create(CK_KEY_TYPE type, const uint8_t *value, size_t len,
                               CK_ATTRIBUTE_TYPE use)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE attrs[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE, (void *)value, len},
        {CKA_TOKEN, (void *)&no, 1},
        {CKA_SENSITIVE, (void *)&yes, 1},
        {CKA_EXTRACTABLE, (void *)&yes, 1},
        {use, (void *)&yes, 1},
    };
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;

    ck_assert_uint_eq(hsm.f->C_CreateObject(hsm.s, attrs, 7, &handle), CKR_OK);
    return handle;
}

/* ---- Known answers ---- */

struct vector {
    enum kl_alg alg;
    CK_KEY_TYPE type;
    size_t len;
    uint8_t key[32];
    uint8_t kcv[4];
};
/* Keys: the TMK of a public worked example of a Chinese network's sign-in; FIPS 197 and SP 800-38B
 * example keys; a TDES3 key of SP 800-67's examples. KCVs by `openssl enc -des-ede[3]` over 8 zero
 * bytes and `openssl mac CMAC` over 16. */
static const struct vector vectors[] = {
    {KL_ALG_TDES2,
     CKK_DES2,
     16,
     {0xCA, 0x5D, 0x92, 0x59, 0x8D, 0xCA, 0x48, 0xCE, 0x8A, 0x4C, 0x76, 0x36, 0x1A, 0x92, 0x69,
      0xE9},
     {0x43, 0xc6, 0xcc, 0xcb}},
    {KL_ALG_TDES3,
     CKK_DES3,
     24,
     {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x23, 0x45, 0x67, 0x89,
      0xAB, 0xCD, 0xEF, 0x01, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x23},
     {0x4e, 0xba, 0x73, 0x9c}},
    {KL_ALG_AES128,
     CKK_AES,
     16,
     {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f,
      0x3c},
     {0x7a, 0xd3, 0x86, 0xc3}},
    {KL_ALG_AES256,
     CKK_AES,
     32,
     {0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe, 0x2b, 0x73, 0xae,
      0xf0, 0x85, 0x7d, 0x77, 0x81, 0x1f, 0x35, 0x2c, 0x07, 0x3b, 0x61,
      0x08, 0xd7, 0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4},
     {0x1a, 0x0b, 0x2d, 0xf2}},
};

START_TEST(kcv_known_answers)
{
    const struct vector *v = &vectors[_i];
    CK_OBJECT_HANDLE key =
        create(v->type, v->key, v->len, v->type == CKK_AES ? CKA_SIGN : CKA_ENCRYPT);
    uint8_t kcv[5] = {0, 0, 0, 0, 0x77};

    ck_ok(kl_op_kcv(hsm.session, key, v->alg, 4, kcv, &err));
    ck_assert_mem_eq(kcv, v->kcv, 4);
    ck_assert_uint_eq(kcv[4], 0x77);
    memset(kcv, 0x77, sizeof(kcv));
    ck_ok(kl_op_kcv(hsm.session, key, v->alg, 3, kcv, &err));
    ck_assert_mem_eq(kcv, v->kcv, 3);
    ck_assert_uint_eq(kcv[3], 0x77);
    ck_rc(kl_op_kcv(hsm.session, key, v->alg, 2, kcv, &err), KL_ERR_INTERNAL);
    ck_rc(kl_op_kcv(hsm.session, key, v->alg, 5, kcv, &err), KL_ERR_INTERNAL);
    kl_op_destroy(hsm.session, &key);
    ck_assert_uint_eq(key, CK_INVALID_HANDLE);
}
END_TEST

START_TEST(cmac_of_rfc_4493)
{
    static const uint8_t text[16] = {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96,
                                     0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a};
    static const uint8_t expected[16] = {0x07, 0x0a, 0x16, 0xb4, 0x6b, 0x4d, 0x41, 0x44,
                                         0xf7, 0x9b, 0xdd, 0x9d, 0xd0, 0x4a, 0x28, 0x7c};
    CK_OBJECT_HANDLE key = create(CKK_AES, vectors[2].key, 16, CKA_SIGN);
    uint8_t mac[16];

    ck_ok(kl_op_cmac(hsm.session, key, text, 16, mac, &err));
    ck_assert_mem_eq(mac, expected, 16);
}
END_TEST

/* RFC 3394, 4.6: 256 bits of key data under a 256-bit KEK. */
START_TEST(key_wrap_of_rfc_3394)
{
    static const uint8_t expected[40] = {0x28, 0xC9, 0xF4, 0x04, 0xC4, 0xB8, 0x10, 0xF4,
                                         0xCB, 0xCC, 0xB3, 0x5C, 0xFB, 0x87, 0xF8, 0x26,
                                         0x3F, 0x57, 0x86, 0xE2, 0xD8, 0x0E, 0xD3, 0x26,
                                         0xCB, 0xC7, 0xF0, 0xE7, 0x1A, 0x99, 0xF4, 0x3B,
                                         0xFB, 0x98, 0x8B, 0x9B, 0x7A, 0x02, 0xDD, 0x21};
    uint8_t kek[32], data[32], out[KL_CTMK_LEN_MAX];
    CK_OBJECT_HANDLE wrapping, key;
    size_t len = 0;

    for (unsigned i = 0; i < 32; i++) {
        kek[i] = (uint8_t)i;
        data[i] = (uint8_t)(i < 16 ? i * 0x11 : i - 16);
    }
    wrapping = create(CKK_AES, kek, 32, CKA_WRAP);
    key = create(CKK_AES, data, 32, CKA_SIGN);
    ck_ok(kl_op_wrap(hsm.session, wrapping, key, out, &len, &err));
    ck_assert_uint_eq(len, 40);
    ck_assert_mem_eq(out, expected, 40);
}
END_TEST

/* ---- Session keys: one use each, nothing readable ---- */

static const uint8_t label[KL_HASH_LEN] = {1, 2, 3};

START_TEST(derived_keys_have_one_use)
{
    static const struct {
        enum kl_key_use use;
        unsigned set;
    } table[] = {{KL_USE_DERIVE, KL_CAN_DERIVE},   {KL_USE_WRAP, KL_CAN_WRAP},
                 {KL_USE_UNWRAP, KL_CAN_UNWRAP},   {KL_USE_ENCRYPT, KL_CAN_ENCRYPT},
                 {KL_USE_DECRYPT, KL_CAN_DECRYPT}, {KL_USE_MAC, KL_CAN_SIGN}};
    CK_OBJECT_HANDLE rnd1, key;

    ck_ok(kl_op_generate_rnd1(hsm.session, &rnd1, &err));
    ck_assert_uint_eq(p11_uses(rnd1), KL_CAN_DERIVE);
    ck_assert(p11_flag(rnd1, CKA_SENSITIVE));
    ck_ok(kl_op_derive(hsm.session, rnd1, label, table[_i].use, &key, &err));
    ck_assert_uint_eq(p11_uses(key), table[_i].set);
    ck_assert(p11_flag(key, CKA_SENSITIVE));
    ck_assert(!p11_flag(key, CKA_EXTRACTABLE));
    ck_assert(!p11_flag(key, CKA_TOKEN));
    ck_assert(p11_flag(key, CKA_PRIVATE));
    p11_check_sealed(rnd1);
    p11_check_sealed(key);
}
END_TEST

START_TEST(unwrapped_rnd1_is_as_demanded)
{
    CK_OBJECT_HANDLE public_key, private_key, rnd1, again;
    uint8_t c_rnd1[KL_RSA_MAX];
    EVP_PKEY *key = NULL;
    size_t len = 0;

    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k", KL_KEY_RSA, 2048, &key, &err));
    EVP_PKEY_free(key);
    ck_ok(kl_pair_find(hsm.session, KL_PAIR_WORK, "k", &private_key, &key, &err));
    ck_ok(kl_op_import_rsa_public(hsm.session, key, &public_key, &err));
    EVP_PKEY_free(key);
    ck_assert(p11_flag(public_key, CKA_WRAP) && !p11_flag(public_key, CKA_TOKEN));
    p11_check_sealed(public_key);
    ck_ok(kl_op_generate_rnd1(hsm.session, &rnd1, &err));
    ck_ok(kl_op_wrap_oaep(hsm.session, public_key, rnd1, KL_OAEP_SHA1, c_rnd1, sizeof(c_rnd1), &len,
                          &err));
    ck_ok(kl_op_unwrap_rnd1(hsm.session, private_key, KL_OAEP_SHA1, c_rnd1, len, &again, &err));
    ck_ok(kl_object_demand(hsm.session, again, kl_rnd1_demands.list, kl_rnd1_demands.count, "Rnd1'",
                           &err));
    ck_assert_uint_eq(p11_uses(again), KL_CAN_DERIVE);
    p11_check_sealed(again);
}
END_TEST

START_TEST(gcm_both_ways)
{
    static const uint8_t iv[12] = {9}, aad[32] = {8}, text[32] = "two and thirty bytes of nonce..";
    CK_OBJECT_HANDLE rnd1, sealing, opening;
    uint8_t sealed[48], opened[32];

    ck_ok(kl_op_generate_rnd1(hsm.session, &rnd1, &err));
    ck_ok(kl_op_derive(hsm.session, rnd1, label, KL_USE_ENCRYPT, &sealing, &err));
    ck_ok(kl_op_derive(hsm.session, rnd1, label, KL_USE_DECRYPT, &opening, &err));
    ck_ok(kl_op_gcm_encrypt(hsm.session, sealing, iv, aad, 32, text, 32, sealed, &err));
    ck_ok(kl_op_gcm_decrypt(hsm.session, opening, iv, aad, 32, sealed, 48, opened, &err));
    ck_assert_mem_eq(opened, text, 32);
    ck_rc(kl_op_gcm_decrypt(hsm.session, opening, iv, aad, 31, sealed, 48, opened, &err),
          KL_ERR_VERIFY);
    ck_rc(kl_op_gcm_decrypt(hsm.session, opening, iv, aad, 32, sealed, 47, opened, &err),
          KL_ERR_VERIFY);
    ck_rc(kl_op_gcm_decrypt(hsm.session, opening, iv, aad, 0, sealed, 48, opened, &err),
          KL_ERR_INTERNAL);
    ck_rc(kl_op_gcm_encrypt(hsm.session, sealing, iv, aad, 0, text, 32, sealed, &err),
          KL_ERR_INTERNAL);
    ck_rc(kl_op_gcm_decrypt(hsm.session, opening, iv, aad, 32, sealed, 16, opened, &err),
          KL_ERR_INTERNAL);
    /* Single use: the opening key does not seal. */
    ck_rc(kl_op_gcm_encrypt(hsm.session, opening, iv, aad, 32, text, 32, sealed, &err), KL_ERR_HSM);
}
END_TEST

START_TEST(tmk_goes_out_and_comes_back)
{
    const struct kl_alg_info *info = kl_alg_info((unsigned)_i + 1);
    CK_OBJECT_HANDLE rnd1, wrap, unwrap, tmk, back, pad;
    uint8_t wrapped[KL_CTMK_LEN_MAX], kcv[4], kcv_back[4];
    size_t len = 0;

    ck_ok(kl_op_generate_rnd1(hsm.session, &rnd1, &err));
    ck_ok(kl_op_derive(hsm.session, rnd1, label, KL_USE_WRAP, &wrap, &err));
    ck_ok(kl_op_derive(hsm.session, rnd1, label, KL_USE_UNWRAP, &unwrap, &err));
    ck_ok(kl_op_generate_tmk(hsm.session, info->alg, &tmk, &err));
    ck_assert_uint_eq(p11_uses(tmk), info->is_aes ? KL_CAN_SIGN : KL_CAN_ENCRYPT);
    ck_assert(p11_flag(tmk, CKA_SENSITIVE));
    ck_assert(!p11_flag(tmk, CKA_TOKEN));
    ck_assert(!p11_flag(tmk, CKA_WRAP_WITH_TRUSTED));
    p11_check_sealed(tmk);
    ck_ok(kl_op_kcv(hsm.session, tmk, info->alg, 4, kcv, &err));
    ck_ok(kl_op_wrap(hsm.session, wrap, tmk, wrapped, &len, &err));
    ck_assert_uint_eq(len, kl_alg_wrapped_len(info));

    ck_ok(kl_op_unwrap_tmk(hsm.session, unwrap, info->alg, wrapped, len, KL_USE_KCV, &back, &err));
    ck_ok(kl_op_kcv(hsm.session, back, info->alg, 4, kcv_back, &err));
    ck_assert_mem_eq(kcv, kcv_back, 4);
    ck_assert(!p11_flag(back, CKA_EXTRACTABLE));
    ck_assert(!p11_flag(back, CKA_TOKEN));
    p11_check_sealed(back);

    ck_ok(
        kl_op_unwrap_tmk(hsm.session, unwrap, info->alg, wrapped, len, KL_USE_UNWRAP, &pad, &err));
    ck_assert_uint_eq(p11_uses(pad), KL_CAN_UNWRAP);
    ck_assert(!p11_flag(pad, CKA_TOKEN));
    ck_assert(p11_flag(pad, CKA_PRIVATE));
    ck_assert(p11_flag(pad, CKA_SENSITIVE));
    ck_assert(!p11_flag(pad, CKA_EXTRACTABLE));
    p11_check_sealed(pad);
}
END_TEST

START_TEST(bad_cryptograms_are_the_peers_fault)
{
    CK_OBJECT_HANDLE rnd1, wrap, unwrap, tmk, out = CK_INVALID_HANDLE;
    uint8_t wrapped[KL_CTMK_LEN_MAX];
    size_t len = 0;

    ck_ok(kl_op_generate_rnd1(hsm.session, &rnd1, &err));
    ck_ok(kl_op_derive(hsm.session, rnd1, label, KL_USE_WRAP, &wrap, &err));
    ck_ok(kl_op_derive(hsm.session, rnd1, label, KL_USE_UNWRAP, &unwrap, &err));
    ck_ok(kl_op_generate_tmk(hsm.session, KL_ALG_TDES3, &tmk, &err));
    ck_ok(kl_op_wrap(hsm.session, wrap, tmk, wrapped, &len, &err));
    ck_rc(kl_op_unwrap_tmk(hsm.session, unwrap, KL_ALG_TDES2, wrapped, len, KL_USE_KCV, &out, &err),
          KL_ERR_VERIFY);
    ck_rc(kl_op_unwrap_tmk(hsm.session, unwrap, KL_ALG_TDES2, wrapped, 24, KL_USE_KCV, &out, &err),
          KL_ERR_VERIFY);
    ck_rc(kl_op_unwrap_tmk(hsm.session, unwrap, KL_ALG_TDES3, wrapped, len, KL_USE_MAC, &out, &err),
          KL_ERR_INTERNAL);
    wrapped[5] ^= 1;
    ck_rc(kl_op_unwrap_tmk(hsm.session, unwrap, KL_ALG_TDES3, wrapped, len, KL_USE_KCV, &out, &err),
          KL_ERR_VERIFY);
    ck_assert_uint_eq(out, CK_INVALID_HANDLE);
}
END_TEST

START_TEST(random_bytes)
{
    uint8_t a[32] = {0}, b[32] = {0};

    ck_ok(kl_op_random(hsm.session, a, sizeof(a), &err));
    ck_ok(kl_op_random(hsm.session, b, sizeof(b), &err));
    ck_assert_mem_ne(a, b, sizeof(a));
}
END_TEST

/* ---- Lengths that a module claims ---- */

static CK_ULONG claimed;

static CK_RV wrap_claims(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                         CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key, unsigned char *out,
                         CK_ULONG *len)
{
    (void)session, (void)mechanism, (void)wrapping, (void)key;
    memset(out, 0x77, *len);
    *len = claimed;
    return CKR_OK;
}

static CK_RV sign_claims(CK_SESSION_HANDLE session, unsigned char *in, CK_ULONG in_len,
                         unsigned char *out, CK_ULONG *len)
{
    (void)session, (void)in, (void)in_len;
    memset(out, 0x77, *len);
    *len = claimed;
    return CKR_OK;
}

static CK_RV cipher_claims(CK_SESSION_HANDLE session, unsigned char *in, CK_ULONG in_len,
                           unsigned char *out, CK_ULONG *len)
{
    return sign_claims(session, in, in_len, out, len);
}

static CK_RV init_is_fine(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    (void)session, (void)mechanism, (void)key;
    return CKR_OK;
}

static CK_ULONG claimed_exponent;

static CK_RV attributes_claim(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                              CK_ATTRIBUTE *attrs, CK_ULONG count)
{
    (void)session, (void)object;
    ck_assert_uint_eq(count, 2);
    memset(attrs[0].pValue, 0x77, attrs[0].ulValueLen);
    memset(attrs[1].pValue, 0x01, attrs[1].ulValueLen);
    attrs[0].ulValueLen = claimed;
    attrs[1].ulValueLen = claimed_exponent;
    return CKR_OK;
}

/* A module may say that it gave more than there is room for: nothing of that is believed, and
 * nothing handed out. As much as there is room for is no mistake. */
START_TEST(claimed_lengths)
{
    static const struct {
        CK_ULONG claim;
        size_t capacity;
        enum kl_rc rc;
    } cases[] = {
        {256, 256, KL_OK},
        {257, 256, KL_ERR_HSM},
        {KL_RSA_MAX, KL_RSA_MAX, KL_OK},
        {KL_RSA_MAX + 1, KL_RSA_MAX, KL_ERR_HSM},
        {KL_RSA_MAX + 1, KL_RSA_MAX + 100, KL_ERR_HSM},
        {CK_UNAVAILABLE_INFORMATION, KL_RSA_MAX, KL_ERR_HSM},
    };
    const size_t capacity = cases[_i].capacity;
    const enum kl_rc expected = cases[_i].rc;
    uint8_t out[KL_RSA_MAX + 100], untouched[sizeof(out)];

    hsm.f->C_WrapKey = wrap_claims;
    hsm.f->C_SignInit = init_is_fine;
    hsm.f->C_Sign = sign_claims;
    claimed = cases[_i].claim;
    memset(untouched, 0x5a, sizeof(untouched));
    for (int op = 0; op < 3; op++) {
        size_t len = 99;

        memset(out, 0x5a, sizeof(out));
        if (op == 0) {
            ck_rc(kl_op_wrap_oaep(hsm.session, 1, 2, KL_OAEP_SHA1, out, capacity, &len, &err),
                  expected);
        } else if (op == 1) {
            ck_rc(kl_op_sign_pss(hsm.session, 1, label, 32, out, capacity, &len, &err), expected);
        } else {
            ck_rc(kl_op_sign_pkcs1(hsm.session, 1, label, 32, out, capacity, &len, &err), expected);
        }
        ck_assert_uint_eq(len, expected == KL_OK ? claimed : 99);
        if (expected != KL_OK) {
            ck_assert_mem_eq(out, untouched, sizeof(out));
            ck_says("claims to give");
        }
    }
}
END_TEST

START_TEST(claimed_length_of_a_cryptogram)
{
    uint8_t out[KL_CTMK_LEN_MAX], untouched[KL_CTMK_LEN_MAX];
    size_t len = 99;

    hsm.f->C_WrapKey = wrap_claims;
    memset(out, 0x5a, sizeof(out));
    memset(untouched, 0x5a, sizeof(untouched));
    claimed = KL_CTMK_LEN_MAX + 1;
    ck_rc(kl_op_wrap(hsm.session, 1, 2, out, &len, &err), KL_ERR_HSM);
    ck_says("claims to give 41 bytes");
    ck_assert_uint_eq(len, 99);
    ck_assert_mem_eq(out, untouched, sizeof(out));
    claimed = KL_CTMK_LEN_MAX;
    ck_ok(kl_op_wrap(hsm.session, 1, 2, out, &len, &err));
    ck_assert_uint_eq(len, KL_CTMK_LEN_MAX);
}
END_TEST

/* One byte less, too, would leave bytes that nobody has computed in a MAC or a nonce. */
START_TEST(claimed_lengths_that_are_known)
{
    static const uint8_t iv[KL_GCM_IV_LEN], in[32 + KL_GCM_TAG_LEN];
    uint8_t out[64], untouched[sizeof(out)];
    const int op = _i / 2;
    const CK_ULONG right[] = {32 + KL_GCM_TAG_LEN, 32, KL_MAC_LEN, 8};
    enum kl_rc rc = KL_OK;

    hsm.f->C_EncryptInit = hsm.f->C_DecryptInit = hsm.f->C_SignInit = init_is_fine;
    hsm.f->C_Encrypt = hsm.f->C_Decrypt = cipher_claims;
    hsm.f->C_Sign = sign_claims;
    claimed = _i % 2 ? right[op] + 1 : right[op] - 1;
    memset(out, 0x5a, sizeof(out));
    memset(untouched, 0x5a, sizeof(untouched));
    switch (op) {
    case 0:
        rc = kl_op_gcm_encrypt(hsm.session, 1, iv, label, 32, in, 32, out, &err);
        break;
    case 1:
        rc = kl_op_gcm_decrypt(hsm.session, 1, iv, label, 32, in, sizeof(in), out, &err);
        break;
    case 2:
        rc = kl_op_cmac(hsm.session, 1, in, 32, out, &err);
        break;
    default:
        rc = kl_op_kcv(hsm.session, 1, KL_ALG_TDES2, 3, out, &err);
    }
    ck_rc(rc, KL_ERR_HSM);
    ck_says("bytes");
    ck_assert_mem_eq(out, untouched, sizeof(out));
}
END_TEST

START_TEST(claimed_length_of_a_public_key)
{
    static const CK_ULONG claims[][2] = {
        {KL_RSA_MAX + 1, 3},
        {256, 9},
        {CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION},
    };
    EVP_PKEY *key = NULL;

    hsm.f->C_GetAttributeValue = attributes_claim;
    claimed = claims[_i][0];
    claimed_exponent = claims[_i][1];
    ck_rc(kl_object_rsa_public(hsm.session, 1, &key, &err), KL_ERR_HSM);
    ck_says("claims to give");
    ck_assert_ptr_null(key);
}
END_TEST

static Suite *ops_suite(void)
{
    Suite *suite = suite_create("ops");
    TCase *ops = tcase_create("ops");

    tcase_add_checked_fixture(ops, p11_open, p11_close);
    tcase_add_loop_test(ops, kcv_known_answers, 0, 4);
    tcase_add_test(ops, cmac_of_rfc_4493);
    tcase_add_test(ops, key_wrap_of_rfc_3394);
    tcase_add_loop_test(ops, derived_keys_have_one_use, 0, 6);
    tcase_add_test(ops, unwrapped_rnd1_is_as_demanded);
    tcase_add_test(ops, gcm_both_ways);
    tcase_add_loop_test(ops, tmk_goes_out_and_comes_back, 0, KL_ALG_COUNT);
    tcase_add_test(ops, bad_cryptograms_are_the_peers_fault);
    tcase_add_loop_test(ops, claimed_lengths, 0, 6);
    tcase_add_test(ops, claimed_length_of_a_cryptogram);
    tcase_add_loop_test(ops, claimed_lengths_that_are_known, 0, 8);
    tcase_add_loop_test(ops, claimed_length_of_a_public_key, 0, 3);
    tcase_add_test(ops, random_bytes);
    suite_add_tcase(suite, ops);
    return suite;
}

int main(void)
{
    return test_run(ops_suite());
}
