/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkcs11/ops of classic, hardened-ec and sign-in: known answers against OpenSSL and published ones,
 * and keys that can do one thing.
 */
#include <check.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "proto/pubkey.h"
#include "tests/support/host_terminal.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static const unsigned curves[] = {256, 384, 521};
static const uint8_t label[KL_HASH_LEN] = {1, 2, 3};
static const uint8_t text[] = "some text";

static CK_OBJECT_HANDLE make_pair(enum kl_pair_role role, unsigned bits, EVP_PKEY **public_key)
{
    enum kl_key_type type = role == KL_PAIR_WORK_EC ? KL_KEY_EC : KL_KEY_RSA;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;

    ck_ok(kl_pair_generate(hsm.session, role, "k", type, bits, public_key, &err));
    EVP_PKEY_free(*public_key);
    ck_ok(kl_pair_find(hsm.session, role, "k", &handle, public_key, &err));
    return handle;
}

/* Sensitive, unextractable, of the session, and with these uses. */
static void check_session_key(CK_OBJECT_HANDLE key, unsigned uses)
{
    ck_assert_uint_eq(p11_uses(key), uses);
    ck_assert(p11_flag(key, CKA_SENSITIVE) && p11_flag(key, CKA_PRIVATE));
    ck_assert(!p11_flag(key, CKA_EXTRACTABLE) && !p11_flag(key, CKA_TOKEN));
    p11_check_sealed(key);
}

/* ---- ECDH ---- */

/* CMAC of text under AES-ECB(secret, label): once by the token, once by OpenSSL. */
static void check_secret(CK_OBJECT_HANDLE secret, const uint8_t *expected)
{
    uint8_t key[32], mac[16], expected_mac[16];
    CK_OBJECT_HANDLE handle;

    check_session_key(secret, KL_CAN_DERIVE);
    ck_ok(kl_op_derive(hsm.session, secret, label, KL_USE_MAC, &handle, &err));
    ck_ok(kl_op_cmac(hsm.session, handle, text, sizeof(text), mac, &err));
    ck_assert_uint_eq(ht_pass("AES-256-ECB", 1, expected, label, 32, key), 32);
    ht_cmac(key, 32, text, sizeof(text), expected_mac);
    ck_assert_mem_eq(mac, expected_mac, 16);
}

/* On every curve the trailing 32 bytes of X; SoftHSM takes the point in both forms. */
START_TEST(ecdh_is_openssls)
{
    const struct kl_curve *curve = kl_curve_by_bits(curves[_i]);
    EVP_PKEY *work = NULL, *own = EVP_EC_gen(curve->group);
    CK_OBJECT_HANDLE private_key = make_pair(KL_PAIR_WORK_EC, curves[_i], &work), secret;
    uint8_t point[KL_EC_POINT_MAX], x[66];
    size_t len = 0;

    ck_ok(kl_ec_to_point(own, point, &len, &err));
    ck_assert_uint_eq(ht_ecdh(own, work, x), curve->field_len);
    for (int form = KL_POINT_RAW; form <= KL_POINT_DER; form++) {
        ck_ok(kl_op_ecdh(hsm.session, private_key, curve, (enum kl_point_form)form, point, len,
                         &secret, &err));
        check_secret(secret, x + curve->field_len - 32);
        kl_op_destroy(hsm.session, &secret);
    }
    EVP_PKEY_free(own);
    EVP_PKEY_free(work);
}
END_TEST

static void from_hex(const char *hex, uint8_t *out)
{
    size_t len;

    ck_assert(OPENSSL_hexstr2buf_ex(out, 66, &len, hex, '\0') == 1);
}

/* NIST CAVP, ECC CDH Primitive (SP 800-56A), P-256, COUNT = 0: dIUT is the work key, QCAVS the
 * ephemeral point, ZIUT the shared secret. */
START_TEST(ecdh_of_nist)
{
    const struct kl_curve *curve = kl_curve_by_bits(256);
    uint8_t d[66], q[66], point[66] = {4}, z[66];
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *pair = NULL, *found = NULL;
    CK_OBJECT_HANDLE handle, secret;
    OSSL_PARAM *params;
    BIGNUM *number;

    from_hex("7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534", d);
    q[0] = 4;
    from_hex("ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230", q + 1);
    from_hex("28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141", q + 33);
    from_hex("700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287", point + 1);
    from_hex("db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac", point + 33);
    from_hex("46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b", z);
    number = BN_bin2bn(d, 32, NULL);
    ck_assert(OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0));
    ck_assert(OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, q, 65));
    ck_assert(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, number));
    params = OSSL_PARAM_BLD_to_param(build);
    ck_assert(EVP_PKEY_fromdata_init(ctx) == 1 &&
              EVP_PKEY_fromdata(ctx, &pair, EVP_PKEY_KEYPAIR, params) == 1);
    ck_ok(kl_pair_import(hsm.session, KL_PAIR_WORK_EC, "nist", pair, &err));
    ck_ok(kl_pair_find(hsm.session, KL_PAIR_WORK_EC, "nist", &handle, &found, &err));
    ck_ok(kl_op_ecdh(hsm.session, handle, curve, KL_POINT_RAW, point, 65, &secret, &err));
    check_secret(secret, z);
    EVP_PKEY_free(found);
    EVP_PKEY_free(pair);
    OSSL_PARAM_free(params);
    BN_free(number);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_BLD_free(build);
}
END_TEST

START_TEST(ecdh_refuses_what_is_no_point)
{
    const struct kl_curve *curve = kl_curve_by_bits(256);
    EVP_PKEY *work = NULL;
    CK_OBJECT_HANDLE private_key = make_pair(KL_PAIR_WORK_EC, 256, &work), secret = 0;
    uint8_t point[KL_EC_POINT_MAX];
    size_t len = 0;

    ck_ok(kl_ec_to_point(work, point, &len, &err));
    EVP_PKEY_free(work);
    ck_rc(kl_op_ecdh(hsm.session, private_key, curve, KL_POINT_RAW, point, len - 1, &secret, &err),
          KL_ERR_VERIFY);
    ck_rc(kl_op_ecdh(hsm.session, private_key, curve, KL_POINT_RAW, point, 0, &secret, &err),
          KL_ERR_VERIFY);
    ck_rc(kl_op_ecdh(hsm.session, private_key, curve, KL_POINT_RAW, (const uint8_t[]){0}, 1,
                     &secret, &err), /* infinity */
          KL_ERR_VERIFY);
    point[64] ^= 1;
    ck_rc(kl_op_ecdh(hsm.session, private_key, curve, KL_POINT_RAW, point, len, &secret, &err),
          KL_ERR_VERIFY);
    ck_assert_uint_eq(secret, CK_INVALID_HANDLE);
}
END_TEST

START_TEST(an_ephemeral_key_only_derives)
{
    const struct kl_curve *curve = kl_curve_by_bits(curves[_i]);
    uint8_t point[KL_EC_POINT_MAX], other[KL_EC_POINT_MAX];
    CK_OBJECT_HANDLE key, second;
    EVP_PKEY *public_key = NULL;
    size_t len = 0;

    ck_ok(kl_op_generate_ephemeral(hsm.session, curve, &key, point, &len, &err));
    ck_assert_uint_eq(len, curve->point_len);
    ck_ok(kl_ec_from_point(curve, point, len, &public_key, &err));
    EVP_PKEY_free(public_key);
    ck_assert(p11_flag(key, CKA_DERIVE) && p11_flag(key, CKA_SENSITIVE));
    ck_assert(!p11_flag(key, CKA_SIGN) && !p11_flag(key, CKA_DECRYPT));
    ck_assert(!p11_flag(key, CKA_UNWRAP) && !p11_flag(key, CKA_SIGN_RECOVER));
    ck_assert(!p11_flag(key, CKA_EXTRACTABLE) && !p11_flag(key, CKA_TOKEN));
    p11_check_sealed(key);
    ck_assert_uint_eq(test_session_objects(hsm.session), 1);
    ck_ok(kl_op_generate_ephemeral(hsm.session, curve, &second, other, &len, &err));
    ck_assert_mem_ne(point, other, len);
}
END_TEST

/* ---- Signatures ---- */

START_TEST(ecdsa_verifies)
{
    const struct kl_curve *curve = kl_curve_by_bits(curves[_i]);
    uint8_t sig[KL_SIG_MAX], small[100];
    EVP_PKEY *work = NULL;
    CK_OBJECT_HANDLE key = make_pair(KL_PAIR_WORK_EC, curves[_i], &work);
    size_t len = 0;

    ck_ok(kl_op_sign_ecdsa(hsm.session, key, curve, text, sizeof(text), sig, sizeof(sig), &len,
                           &err));
    ck_assert_uint_eq(len, 2 * curve->field_len);
    ck_ok(kl_pubkey_verify(work, sig, len, text, sizeof(text), &err));
    ck_rc(kl_pubkey_verify(work, sig, len, text, sizeof(text) - 1, &err), KL_ERR_VERIFY);
    len = 99;
    ck_rc(kl_op_sign_ecdsa(hsm.session, key, curve, text, sizeof(text), small,
                           2 * curve->field_len - 1, &len, &err),
          KL_ERR_HSM);
    ck_assert_uint_eq(len, 99);
    EVP_PKEY_free(work);
}
END_TEST

START_TEST(a_signature_gives_its_message_back)
{
    uint8_t sig[KL_SIG_MAX], back[KL_RSA_MAX];
    EVP_PKEY *work = NULL;
    CK_OBJECT_HANDLE key = make_pair(KL_PAIR_WORK_CLASSIC, 2048, &work);
    size_t len = 0;

    ck_ok(kl_op_sign_recover(hsm.session, key, text, sizeof(text), sig, sizeof(sig), &len, &err));
    ck_assert_uint_eq(len, 256);
    ck_ok(kl_rsa_recover(work, sig, len, back, sizeof(back), &len, &err));
    ck_assert_uint_eq(len, sizeof(text));
    ck_assert_mem_eq(back, text, len);
    EVP_PKEY_free(work);
}
END_TEST

/* ---- classic's C_Decrypt ---- */

START_TEST(oaep_into_a_secret)
{
    uint8_t block[64], c_rnd1[KL_RSA_MAX];
    struct kl_secret *secret = NULL, *small = NULL;
    EVP_PKEY *work = NULL;
    CK_OBJECT_HANDLE key = make_pair(KL_PAIR_WORK_CLASSIC, 2048, &work);
    size_t len = 0;

    memset(block, 0x42, sizeof(block));
    ck_ok(kl_secret_new(KL_RSA_MAX, &secret, &err));
    ck_ok(kl_secret_new(KL_RSA_MAX - 1, &small, &err));
    ck_ok(kl_rsa_oaep_encrypt(work, KL_OAEP_SHA1, block, sizeof(block), c_rnd1, &len, &err));
    ck_ok(kl_op_decrypt_oaep(hsm.session, key, KL_OAEP_SHA1, c_rnd1, len, 64, secret, &err));
    ck_assert_uint_eq(kl_secret_len(secret), 64);
    ck_assert_mem_eq(kl_secret_data(secret), block, 64);
    ck_rc(kl_op_decrypt_oaep(hsm.session, key, KL_OAEP_SHA1, c_rnd1, len, 64, small, &err),
          KL_ERR_INTERNAL);
    /* Whatever is wrong with it: one answer. */
    ck_rc(kl_op_decrypt_oaep(hsm.session, key, KL_OAEP_SHA1, c_rnd1, len, 63, secret, &err),
          KL_ERR_VERIFY);
    ck_rc(kl_op_decrypt_oaep(hsm.session, key, KL_OAEP_SHA1, c_rnd1, len, 65, secret, &err),
          KL_ERR_VERIFY);
    ck_rc(kl_op_decrypt_oaep(hsm.session, key, KL_OAEP_SHA1, c_rnd1, len - 1, 64, secret, &err),
          KL_ERR_VERIFY);
    c_rnd1[200] ^= 1;
    ck_rc(kl_op_decrypt_oaep(hsm.session, key, KL_OAEP_SHA1, c_rnd1, len, 64, secret, &err),
          KL_ERR_VERIFY);
    kl_secret_free(small);
    kl_secret_free(secret);
    EVP_PKEY_free(work);
}
END_TEST

/* ---- Keys made from values, and out of the store ---- */

START_TEST(imported_values_have_one_use)
{
    static const struct {
        enum kl_alg alg;
        enum kl_key_use use;
        unsigned set;
    } table[] = {{KL_ALG_AES256, KL_USE_DERIVE, KL_CAN_DERIVE},
                 {KL_ALG_AES256, KL_USE_WRAP, KL_CAN_WRAP},
                 {KL_ALG_AES256, KL_USE_UNWRAP, KL_CAN_UNWRAP},
                 {KL_ALG_AES128, KL_USE_DERIVE, KL_CAN_DERIVE},
                 {KL_ALG_TDES3, KL_USE_ENCRYPT, KL_CAN_ENCRYPT},
                 {KL_ALG_TDES2, KL_USE_KCV, KL_CAN_ENCRYPT},
                 {KL_ALG_AES192, KL_USE_KCV, KL_CAN_SIGN}};
    const uint8_t value[32] = {0xCA, 0x5D, 0x92, 0x59, 0x8D, 0xCA, 0x48, 0xCE, 0x8A};
    uint8_t kcv[4], expected[4];
    CK_OBJECT_HANDLE key;

    ck_ok(kl_op_import_value(hsm.session, table[_i].alg, value, table[_i].use, &key, &err));
    if (table[_i].use != KL_USE_KCV) {
        check_session_key(key, table[_i].set);
        return;
    }
    ck_assert_uint_eq(p11_uses(key), table[_i].set);
    ck_assert(p11_flag(key, CKA_EXTRACTABLE) && p11_flag(key, CKA_SENSITIVE));
    p11_check_sealed(key);
    ck_ok(kl_op_kcv(hsm.session, key, table[_i].alg, 4, kcv, &err));
    ht_kcv(table[_i].alg, value, expected);
    ck_assert_mem_eq(kcv, expected, 4);
}
END_TEST

START_TEST(stored_tmks_have_one_use)
{
    const struct kl_alg_info *info = kl_alg_info((unsigned)_i + 1);
    uint8_t cryptogram[KL_CTMK_LEN_MAX];
    CK_OBJECT_HANDLE storage, tmk, key = CK_INVALID_HANDLE;
    size_t len = 0;

    ck_ok(kl_storage_key_generate(hsm.session, "storage", &err));
    ck_ok(kl_storage_key_find(hsm.session, "storage", &storage, &err));
    ck_ok(kl_op_generate_tmk(hsm.session, info->alg, &tmk, &err));
    ck_ok(kl_op_wrap(hsm.session, storage, tmk, cryptogram, &len, &err));
    ck_ok(kl_op_unwrap_stored(hsm.session, storage, info->alg, cryptogram, len, KL_USE_KCV, &key,
                              &err));
    ck_assert_uint_eq(p11_uses(key), info->is_aes ? KL_CAN_SIGN : KL_CAN_ENCRYPT);
    ck_assert(p11_flag(key, CKA_EXTRACTABLE) && p11_flag(key, CKA_SENSITIVE));
    ck_assert(!p11_flag(key, CKA_TOKEN));
    p11_check_sealed(key);
    ck_ok(kl_op_unwrap_stored(hsm.session, storage, info->alg, cryptogram, len, KL_USE_WRAP, &key,
                              &err));
    check_session_key(key, KL_CAN_WRAP);
    ck_ok(kl_op_unwrap_stored(hsm.session, storage, info->alg, cryptogram, len, KL_USE_ENCRYPT,
                              &key, &err));
    check_session_key(key, KL_CAN_ENCRYPT);
    ck_rc(kl_op_unwrap_stored(hsm.session, storage, info->alg, cryptogram, len, KL_USE_UNWRAP, &key,
                              &err),
          KL_ERR_INTERNAL);
    ck_rc(kl_op_unwrap_stored(hsm.session, storage, info->alg, cryptogram, len - 8, KL_USE_KCV,
                              &key, &err),
          KL_ERR_STORE);
    cryptogram[0] ^= 1;
    ck_rc(kl_op_unwrap_stored(hsm.session, storage, info->alg, cryptogram, len, KL_USE_KCV, &key,
                              &err),
          KL_ERR_STORE);
}
END_TEST

/* A base key goes out under AES key wrap, and comes back with its length. */
START_TEST(base_keys_derive)
{
    static const size_t lens[] = {16, 24, 32};
    uint8_t kek[32], wrapped[KL_CTMK_LEN_MAX], value[32], key[32], mac[16], expected[16];
    CK_OBJECT_HANDLE wraps, unwraps, base, back = CK_INVALID_HANDLE, handle;
    size_t len = 0;

    memset(kek, 7, sizeof(kek));
    ck_ok(kl_op_import_value(hsm.session, KL_ALG_AES256, kek, KL_USE_WRAP, &wraps, &err));
    ck_ok(kl_op_import_value(hsm.session, KL_ALG_AES256, kek, KL_USE_UNWRAP, &unwraps, &err));
    ck_ok(kl_op_generate_base(hsm.session, lens[_i], &base, &err));
    ck_assert_uint_eq(p11_uses(base), KL_CAN_DERIVE);
    ck_assert(p11_flag(base, CKA_SENSITIVE) && !p11_flag(base, CKA_TOKEN));
    p11_check_sealed(base);
    ck_ok(kl_op_wrap(hsm.session, wraps, base, wrapped, &len, &err));
    ck_assert_uint_eq(len, lens[_i] + 8);
    ck_rc(kl_op_unwrap_base(hsm.session, unwraps, lens[_i] ^ 8, wrapped, len, &back, &err),
          KL_ERR_VERIFY);
    ck_ok(kl_op_unwrap_base(hsm.session, unwraps, lens[_i], wrapped, len, &back, &err));
    check_session_key(back, KL_CAN_DERIVE);
    ck_ok(kl_op_derive(hsm.session, back, label, KL_USE_MAC, &handle, &err));
    ck_ok(kl_op_cmac(hsm.session, handle, text, sizeof(text), mac, &err));
    ck_assert_uint_eq(ht_pass("AES-256-WRAP", 0, kek, wrapped, len, value), lens[_i]);
    const char *names[] = {"AES-128-ECB", "AES-192-ECB", "AES-256-ECB"};
    ck_assert_uint_eq(ht_pass(names[_i], 1, value, label, 32, key), 32);
    ht_cmac(key, 32, text, sizeof(text), expected);
    ck_assert_mem_eq(mac, expected, 16);
    wrapped[0] ^= 1;
    ck_rc(kl_op_unwrap_base(hsm.session, unwraps, lens[_i], wrapped, len, &back, &err),
          KL_ERR_VERIFY);
}
END_TEST

/* The PIK of test_loader_signin.c's published sign-in. */
START_TEST(tdes_encryption_as_published)
{
    static const uint8_t tmk[] = {0xCA, 0x5D, 0x92, 0x59, 0x8D, 0xCA, 0x48, 0xCE,
                                  0x8A, 0x4C, 0x76, 0x36, 0x1A, 0x92, 0x69, 0xE9};
    static const uint8_t pik[] = {0x80, 0x7A, 0x23, 0xAD, 0x32, 0xB3, 0x6D, 0x45,
                                  0x7A, 0xE9, 0x1F, 0xDF, 0x92, 0x75, 0x70, 0xEA};
    static const uint8_t expected[] = {0x67, 0x01, 0xEA, 0xD6, 0xA9, 0xAD, 0x51, 0xE5,
                                       0x1A, 0xA4, 0x06, 0xE2, 0xC2, 0x7F, 0xCF, 0xA9};
    uint8_t out[KL_CTMK_LEN_MAX], zeros[40] = {0};
    CK_OBJECT_HANDLE key, wraps, data;
    size_t len = 0;

    ck_ok(kl_op_import_value(hsm.session, KL_ALG_TDES2, tmk, KL_USE_ENCRYPT, &key, &err));
    ck_ok(kl_op_encrypt_tdes(hsm.session, key, pik, sizeof(pik), out, &err));
    ck_assert_mem_eq(out, expected, sizeof(expected));
    ck_rc(kl_op_encrypt_tdes(hsm.session, key, zeros, 0, out, &err), KL_ERR_INTERNAL);
    ck_rc(kl_op_encrypt_tdes(hsm.session, key, zeros, 12, out, &err), KL_ERR_INTERNAL);
    ck_rc(kl_op_encrypt_tdes(hsm.session, key, zeros, 40, out, &err), KL_ERR_INTERNAL);
    /* SoftHSM lists CKM_DES3_ECB, and wraps nothing by it. */
    ck_ok(kl_op_import_value(hsm.session, KL_ALG_TDES2, tmk, KL_USE_WRAP, &wraps, &err));
    ck_ok(kl_op_import_value(hsm.session, KL_ALG_TDES2, pik, KL_USE_KCV, &data, &err));
    ck_rc(kl_op_wrap_tdes(hsm.session, wraps, data, out, &len, &err), KL_ERR_HSM_LACKS);
}
END_TEST

/* ---- Lengths that a module claims ---- */

static CK_ULONG claimed;

static CK_RV init_is_fine(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    (void)s, (void)mechanism, (void)key;
    return CKR_OK;
}

static CK_RV claims(CK_SESSION_HANDLE s, unsigned char *in, CK_ULONG in_len, unsigned char *out,
                    CK_ULONG *len)
{
    (void)s, (void)in, (void)in_len;
    memset(out, 0x77, *len);
    *len = claimed;
    return CKR_OK;
}

START_TEST(claimed_lengths_are_not_believed)
{
    static const CK_ULONG claim[] = {0, 63, 65, 133, CK_UNAVAILABLE_INFORMATION};
    struct kl_secret *secret = NULL;
    uint8_t out[KL_SIG_MAX];
    size_t len = 99;

    hsm.f->C_SignInit = hsm.f->C_EncryptInit = hsm.f->C_DecryptInit = init_is_fine;
    hsm.f->C_Sign = hsm.f->C_Encrypt = hsm.f->C_Decrypt = claims;
    claimed = claim[_i];
    ck_ok(kl_secret_new(KL_RSA_MAX, &secret, &err));
    ck_rc(kl_op_sign_ecdsa(hsm.session, 1, kl_curve_by_bits(256), text, 4, out, sizeof(out), &len,
                           &err),
          KL_ERR_HSM);
    ck_rc(kl_op_encrypt_tdes(hsm.session, 1, label, 16, out, &err), KL_ERR_HSM);
    ck_rc(kl_op_decrypt_oaep(hsm.session, 1, KL_OAEP_SHA1, out, 256, 64, secret, &err),
          KL_ERR_VERIFY);
    ck_assert_uint_eq(kl_secret_len(secret), 0);
    ck_assert_uint_eq(len, 99);
    kl_secret_free(secret);
}
END_TEST

static Suite *ops_suite(void)
{
    Suite *suite = suite_create("ops of the suites");
    TCase *ops = tcase_create("ops");

    tcase_add_checked_fixture(ops, p11_open, p11_close);
    tcase_add_loop_test(ops, ecdh_is_openssls, 0, 3);
    tcase_add_test(ops, ecdh_of_nist);
    tcase_add_test(ops, ecdh_refuses_what_is_no_point);
    tcase_add_loop_test(ops, an_ephemeral_key_only_derives, 0, 3);
    tcase_add_loop_test(ops, ecdsa_verifies, 0, 3);
    tcase_add_test(ops, a_signature_gives_its_message_back);
    tcase_add_test(ops, oaep_into_a_secret);
    tcase_add_loop_test(ops, imported_values_have_one_use, 0, 7);
    tcase_add_loop_test(ops, stored_tmks_have_one_use, 0, KL_ALG_COUNT);
    tcase_add_loop_test(ops, base_keys_derive, 0, 3);
    tcase_add_test(ops, tdes_encryption_as_published);
    tcase_add_loop_test(ops, claimed_lengths_are_not_believed, 0, 5);
    suite_add_tcase(suite, ops);
    return suite;
}

int main(void)
{
    return test_run(ops_suite());
}
