/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/import: TMKs in and out under transport keys, zone keys and hosts' keys. */
#include "pkcs11/import.h"

#include <check.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>

#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "proto/pubkey.h"
#include "tests/support/fake_p11.h"
#include "tests/support/keywrap.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;

static const uint8_t zmk_value[32] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

/* The beginning of it is the TMK of every algorithm. */
static const uint8_t tmk[KL_TMK_LEN_MAX] = {
    0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10,
    0x13, 0x34, 0x57, 0x79, 0x9b, 0xbc, 0xdf, 0xf1, 0x0e, 0x32, 0x92, 0x32, 0xea, 0x6d, 0x0d, 0x73,
};

static void kcv_of(const struct kl_alg_info *info, uint8_t kcv[KL_KCV_LEN_MAX])
{
    keywrap_kcv(info, tmk, kcv);
}

static size_t aes_wrap(size_t kek_len, enum kl_wrap wrap, const uint8_t *key, size_t len,
                       uint8_t *out)
{
    return keywrap_aes(zmk_value, kek_len, wrap == KL_WRAP_KWP, key, len, out);
}

static CK_OBJECT_HANDLE storage_key(void)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;

    enum kl_rc rc = kl_storage_key_generate(hsm.session, "storage", &err);

    ck_assert_msg(rc == KL_OK || rc == KL_ERR_EXISTS, "%s", err.text);
    ck_ok(kl_storage_key_find(hsm.session, "storage", &handle, &err));
    return handle;
}

static void make_zmk(enum kl_zmk_use use, size_t len)
{
    struct kl_secret *value = NULL;

    ck_ok(kl_secret_new(32, &value, &err));
    memcpy(kl_secret_data(value), zmk_value, len);
    kl_secret_set_len(value, len);
    ck_ok(kl_zmk_create(hsm.session, use, use == KL_ZMK_IMPORT ? "in" : "out", value, &err));
    kl_secret_free(value);
}

static EVP_PKEY *make_transport(unsigned bits)
{
    EVP_PKEY *key = NULL;

    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_TRANSPORT, "t", KL_KEY_RSA, bits, &key, &err));
    return key;
}

static const struct kl_alg_info *alg_at(int i)
{
    return kl_alg_info((unsigned)i + 1);
}

/* What was taken is the TMK itself: out of the store its KCV is right. */
static void check_stored(const struct kl_stored_key *key, const struct kl_alg_info *info,
                         const uint8_t *kcv, size_t kcv_len)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t got[KL_KCV_LEN_MAX];

    ck_assert_int_eq(key->alg, info->alg);
    ck_assert_uint_eq(key->cryptogram_len, kl_alg_wrapped_len(info));
    ck_assert_uint_eq(key->kcv_len, kcv_len);
    ck_assert_mem_eq(key->kcv, kcv, kcv_len);
    ck_ok(kl_op_unwrap_stored(hsm.session, storage_key(), info->alg, key->cryptogram,
                              key->cryptogram_len, KL_USE_KCV, &handle, &err));
    ck_ok(kl_op_kcv(hsm.session, handle, info->alg, 4, got, &err));
    ck_assert_mem_eq(got, kcv, 4);
    kl_op_destroy(hsm.session, &handle);
}

/* ---- In ---- */

START_TEST(under_a_zone_key)
{
    const struct kl_alg_info *info = alg_at(_i % KL_ALG_COUNT);
    enum kl_wrap wrap = _i < KL_ALG_COUNT ? KL_WRAP_KW : KL_WRAP_KWP;
    struct kl_carrier carrier;
    struct kl_stored_key key;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t wrapped[64], kcv[KL_KCV_LEN_MAX];
    size_t len = aes_wrap(32, wrap, tmk, info->key_len, wrapped);

    kcv_of(info, kcv);
    make_zmk(KL_ZMK_IMPORT, 32);
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", wrap, &carrier, &err));
    ck_ok(kl_tmk_unwrap(hsm.session, &carrier, 1, info->alg, wrapped, len, &handle, &err));
    /* As docs/security.md has it: sensitive, of this session, and it wraps or decrypts nothing. */
    ck_assert(p11_flag(handle, CKA_SENSITIVE) && p11_flag(handle, CKA_PRIVATE));
    ck_assert(!p11_flag(handle, CKA_TOKEN) && !p11_flag(handle, CKA_COPYABLE));
    ck_assert_uint_eq(p11_uses(handle), info->is_aes ? KL_CAN_SIGN : KL_CAN_ENCRYPT);
    ck_ok(kl_tmk_take(hsm.session, storage_key(), handle, info->alg, kcv, 4, 3, &key, &err));
    check_stored(&key, info, kcv, 3);
    kl_op_destroy(hsm.session, &handle);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

START_TEST(under_a_transport_key)
{
    const struct kl_alg_info *info = alg_at(_i);
    EVP_PKEY *public_key = make_transport(2048);
    struct kl_carrier carrier;
    struct kl_stored_key key;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t wrapped[KL_RSA_MAX], kcv[KL_KCV_LEN_MAX];
    size_t len = 0;

    kcv_of(info, kcv);
    ck_ok(kl_carrier_transport(hsm.session, "t", &carrier, &err));
    ck_ok(kl_rsa_oaep_encrypt(public_key, carrier.oaep_hash, tmk, info->key_len, wrapped, &len,
                              &err));
    /* Strength: RSA-2048 carries TDES only, unless nobody minds. */
    ck_rc(kl_tmk_unwrap(hsm.session, &carrier, 1, info->alg, wrapped, len, &handle, &err),
          info->is_aes ? KL_ERR_STRENGTH : KL_OK);
    kl_op_destroy(hsm.session, &handle);
    ck_ok(kl_tmk_unwrap(hsm.session, &carrier, 0, info->alg, wrapped, len, &handle, &err));
    ck_ok(kl_tmk_take(hsm.session, storage_key(), handle, info->alg, kcv, 3, 4, &key, &err));
    check_stored(&key, info, kcv, 4);
    kl_op_destroy(hsm.session, &handle);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    EVP_PKEY_free(public_key);
}
END_TEST

START_TEST(from_a_value)
{
    const struct kl_alg_info *info = alg_at(_i);
    struct kl_secret *value = NULL;
    struct kl_stored_key key = {.alg = 77};
    uint8_t kcv[KL_KCV_LEN_MAX];

    kcv_of(info, kcv);
    ck_ok(kl_secret_new(64, &value, &err));
    memcpy(kl_secret_data(value), tmk, info->key_len);
    kl_secret_set_len(value, info->key_len);
    ck_ok(kl_tmk_take_value(hsm.session, storage_key(), info->alg, value, kcv, 4, 4, &key, &err));
    check_stored(&key, info, kcv, 4);
    kcv[2] ^= 1;
    key.alg = 77;
    ck_rc(kl_tmk_take_value(hsm.session, storage_key(), info->alg, value, kcv, 3, 3, &key, &err),
          KL_ERR_VERIFY);
    ck_assert_int_eq(key.alg, 77);
    kl_secret_set_len(value, info->key_len - 1);
    ck_rc(kl_tmk_take_value(hsm.session, storage_key(), info->alg, value, kcv, 3, 3, &key, &err),
          KL_ERR_INTERNAL);
    kl_secret_free(value);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

/* A KCV whose first bytes are right is not right. */
START_TEST(a_wrong_kcv)
{
    const struct kl_alg_info *info = kl_alg_info(_i < 4 ? KL_ALG_TDES2 : KL_ALG_AES128);
    struct kl_carrier carrier;
    struct kl_stored_key key = {.alg = 77};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t wrapped[64], kcv[KL_KCV_LEN_MAX];
    size_t len = aes_wrap(32, KL_WRAP_KW, tmk, info->key_len, wrapped);

    kcv_of(info, kcv);
    kcv[_i % 4] ^= 0x80;
    make_zmk(KL_ZMK_IMPORT, 32);
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KW, &carrier, &err));
    ck_ok(kl_tmk_unwrap(hsm.session, &carrier, 1, info->alg, wrapped, len, &handle, &err));
    ck_rc(kl_tmk_take(hsm.session, storage_key(), handle, info->alg, kcv, 4, 3, &key, &err),
          KL_ERR_VERIFY);
    ck_says("the key has KCV ");
    ck_assert_int_eq(key.alg, 77);
    if (_i % 4 == 3) { /* only the fourth byte, and three were told */
        ck_ok(kl_tmk_take(hsm.session, storage_key(), handle, info->alg, kcv, 3, 3, &key, &err));
    }
    kl_op_destroy(hsm.session, &handle);
}
END_TEST

/* Cryptograms cut, too long, changed, of another zone key, or of another kind of key. */
START_TEST(bad_cryptograms)
{
    struct kl_carrier carrier;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t wrapped[80] = {0};
    size_t len = aes_wrap(32, KL_WRAP_KW, tmk, 16, wrapped);

    make_zmk(KL_ZMK_IMPORT, 32);
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KW, &carrier, &err));
    for (size_t cut = 0; cut < sizeof(wrapped); cut++) {
        if (cut != len) {
            ck_rc(kl_tmk_unwrap(hsm.session, &carrier, 1, KL_ALG_TDES2, wrapped, cut, &handle,
                                &err),
                  KL_ERR_INPUT);
        }
    }
    ck_says("it must have 24");
    /* Not of the algorithm that is claimed. */
    ck_rc(kl_tmk_unwrap(hsm.session, &carrier, 1, KL_ALG_TDES3, wrapped, len, &handle, &err),
          KL_ERR_INPUT);
    for (size_t i = 0; i < len; i++) {
        wrapped[i] ^= 1;
        ck_rc(kl_tmk_unwrap(hsm.session, &carrier, 1, KL_ALG_TDES2, wrapped, len, &handle, &err),
              KL_ERR_VERIFY);
        wrapped[i] ^= 1;
    }
    len = aes_wrap(16, KL_WRAP_KW, tmk, 16, wrapped); /* the first half of the zone key */
    ck_rc(kl_tmk_unwrap(hsm.session, &carrier, 1, KL_ALG_TDES2, wrapped, len, &handle, &err),
          KL_ERR_VERIFY);
    /* Padded where it should not be, and the reverse. */
    len = aes_wrap(32, KL_WRAP_KWP, tmk, 16, wrapped);
    ck_rc(kl_tmk_unwrap(hsm.session, &carrier, 1, KL_ALG_TDES2, wrapped, len, &handle, &err),
          KL_ERR_VERIFY);
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KWP, &carrier, &err));
    len = aes_wrap(32, KL_WRAP_KW, tmk, 16, wrapped);
    ck_rc(kl_tmk_unwrap(hsm.session, &carrier, 1, KL_ALG_TDES2, wrapped, len, &handle, &err),
          KL_ERR_VERIFY);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

/* OAEP and KWP keep no length that shows outside: a key of another length comes in, and goes no
 * further. */
START_TEST(keys_of_another_length_inside)
{
    static const struct {
        enum kl_alg alg;
        size_t len;
        int padded; /* 1: by KWP, the cryptogram as long as that of a good one */
    } lengths[] = {
        {KL_ALG_TDES2, 24, 0},  {KL_ALG_TDES2, 8, 0},   {KL_ALG_TDES2, 32, 0},
        {KL_ALG_TDES3, 16, 0},  {KL_ALG_AES128, 32, 0}, {KL_ALG_AES256, 16, 0},
        {KL_ALG_AES128, 15, 0}, {KL_ALG_AES128, 64, 0}, {KL_ALG_TDES2, 1, 0},
        {KL_ALG_AES128, 15, 1}, {KL_ALG_TDES2, 9, 1},   {KL_ALG_AES256, 31, 1},
    };
    const struct kl_alg_info *info = kl_alg_info(lengths[_i].alg);
    struct kl_carrier carrier;
    struct kl_stored_key key = {.alg = 77};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t value[64] = {0}, wrapped[KL_RSA_MAX], kcv[KL_KCV_LEN_MAX];
    size_t len = 0;
    EVP_PKEY *public_key = NULL;
    enum kl_rc rc;

    memcpy(value, tmk, sizeof(tmk));
    kcv_of(info, kcv);
    if (lengths[_i].padded) {
        make_zmk(KL_ZMK_IMPORT, 32);
        len = aes_wrap(32, KL_WRAP_KWP, value, lengths[_i].len, wrapped);
        ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KWP, &carrier, &err));
    } else {
        public_key = make_transport(2048);
        ck_ok(kl_carrier_transport(hsm.session, "t", &carrier, &err));
        ck_ok(kl_rsa_oaep_encrypt(public_key, carrier.oaep_hash, value, lengths[_i].len, wrapped,
                                  &len, &err));
    }
    rc = kl_tmk_unwrap(hsm.session, &carrier, 0, info->alg, wrapped, len, &handle, &err);
    if (rc == KL_OK) {
        rc = kl_tmk_take(hsm.session, storage_key(), handle, info->alg, kcv, 3, 3, &key, &err);
    }
    ck_assert_msg(rc == KL_ERR_INPUT || rc == KL_ERR_VERIFY, "%s: %s", kl_rc_name(rc), err.text);
    ck_assert_int_eq(key.alg, 77);
    kl_op_destroy(hsm.session, &handle);
    EVP_PKEY_free(public_key);
}
END_TEST

/* Strength: no zone key carries what is stronger than itself. */
START_TEST(weak_zone_keys)
{
    const struct kl_alg_info *info = alg_at(_i % KL_ALG_COUNT);
    size_t len = 16 + 8 * ((size_t)_i / KL_ALG_COUNT);
    int enough = !info->is_aes || info->key_len <= len;
    struct kl_carrier in, out;
    struct kl_stored_key key;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t wrapped[KL_WRAPPED_MAX], kcv[KL_KCV_LEN_MAX];
    size_t n = aes_wrap(len, KL_WRAP_KW, tmk, info->key_len, wrapped);

    kcv_of(info, kcv);
    make_zmk(KL_ZMK_IMPORT, len);
    make_zmk(KL_ZMK_EXPORT, len);
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KW, &in, &err));
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_EXPORT, "out", KL_WRAP_KW, &out, &err));
    ck_rc(kl_tmk_unwrap(hsm.session, &in, 1, info->alg, wrapped, n, &handle, &err),
          enough ? KL_OK : KL_ERR_STRENGTH);
    kl_op_destroy(hsm.session, &handle);
    ck_ok(kl_tmk_unwrap(hsm.session, &in, 0, info->alg, wrapped, n, &handle, &err));
    ck_ok(kl_tmk_take(hsm.session, storage_key(), handle, info->alg, kcv, 3, 3, &key, &err));
    ck_rc(kl_tmk_export(hsm.session, storage_key(), &out, 1, &key, wrapped, &n, &err),
          enough ? KL_OK : KL_ERR_STRENGTH);
    kl_op_destroy(hsm.session, &handle);
}
END_TEST

START_TEST(carriers_that_are_not_there_or_the_wrong_way)
{
    struct kl_carrier carrier = {.bits = 77};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    struct kl_stored_key key = {.alg = KL_ALG_TDES2};
    uint8_t out[KL_WRAPPED_MAX] = {0};
    size_t len;
    EVP_PKEY *work = NULL;

    ck_rc(kl_carrier_transport(hsm.session, "t", &carrier, &err), KL_ERR_KEY);
    ck_says("transport key \"t\": not on the token");
    ck_rc(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KW, &carrier, &err), KL_ERR_KEY);
    make_zmk(KL_ZMK_IMPORT, 32);
    ck_rc(kl_carrier_zmk(hsm.session, KL_ZMK_EXPORT, "in", KL_WRAP_KW, &carrier, &err), KL_ERR_KEY);
    ck_says("zone key for export");
    /* A work key is no transport key, though it unwraps. */
    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, "w", KL_KEY_RSA, 2048, &work, &err));
    ck_rc(kl_carrier_transport(hsm.session, "w", &carrier, &err), KL_ERR_KEY);
    ck_assert_uint_eq(carrier.bits, 77);
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KW, &carrier, &err));
    ck_rc(kl_tmk_export(hsm.session, storage_key(), &carrier, 1, &key, out, &len, &err),
          KL_ERR_INTERNAL);
    carrier.outward = 1;
    ck_rc(kl_tmk_unwrap(hsm.session, &carrier, 1, KL_ALG_TDES2, out, 24, &handle, &err),
          KL_ERR_INTERNAL);
    EVP_PKEY_free(work);
}
END_TEST

/* ---- Out, and in again ---- */

static struct kl_stored_key stored(const struct kl_alg_info *info)
{
    struct kl_secret *value = NULL;
    struct kl_stored_key key = {0};
    uint8_t kcv[KL_KCV_LEN_MAX];

    kcv_of(info, kcv);
    ck_ok(kl_secret_new(info->key_len, &value, &err));
    memcpy(kl_secret_data(value), tmk, info->key_len);
    kl_secret_set_len(value, info->key_len);
    ck_ok(kl_tmk_take_value(hsm.session, storage_key(), info->alg, value, kcv, 3, 3, &key, &err));
    kl_secret_free(value);
    return key;
}

START_TEST(out_under_a_zone_key_and_in_again)
{
    const struct kl_alg_info *info = alg_at(_i % KL_ALG_COUNT);
    enum kl_wrap wrap = _i < KL_ALG_COUNT ? KL_WRAP_KW : KL_WRAP_KWP;
    struct kl_stored_key key = stored(info), again;
    struct kl_carrier in, out;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t wrapped[KL_WRAPPED_MAX], expected[64];
    size_t len = 0, expected_len = aes_wrap(32, wrap, tmk, info->key_len, expected);

    make_zmk(KL_ZMK_IMPORT, 32);
    make_zmk(KL_ZMK_EXPORT, 32);
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", wrap, &in, &err));
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_EXPORT, "out", wrap, &out, &err));
    ck_ok(kl_tmk_export(hsm.session, storage_key(), &out, 1, &key, wrapped, &len, &err));
    ck_assert_uint_eq(len, expected_len);
    ck_assert_mem_eq(wrapped, expected, len);
    ck_ok(kl_tmk_unwrap(hsm.session, &in, 1, info->alg, wrapped, len, &handle, &err));
    ck_ok(kl_tmk_take(hsm.session, storage_key(), handle, info->alg, key.kcv, 3, 3, &again, &err));
    ck_assert_mem_eq(again.cryptogram, key.cryptogram, key.cryptogram_len);
    kl_op_destroy(hsm.session, &handle);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

static size_t host_decrypt(EVP_PKEY *host, enum kl_oaep_hash hash, const uint8_t *in, size_t len,
                           uint8_t *out, size_t capacity)
{
    const EVP_MD *md = hash == KL_OAEP_SHA256 ? EVP_sha256() : EVP_sha1();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, host, NULL);

    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md), 1);
    ck_assert_int_eq(EVP_PKEY_decrypt(ctx, out, &capacity, in, len), 1);
    EVP_PKEY_CTX_free(ctx);
    return capacity;
}

START_TEST(out_under_a_hosts_key)
{
    const struct kl_alg_info *info = alg_at(_i);
    struct kl_stored_key key = stored(info);
    EVP_PKEY *host = EVP_RSA_gen(3072), *curve = EVP_EC_gen("P-521");
    struct kl_carrier out;
    uint8_t wrapped[KL_WRAPPED_MAX], opened[KL_RSA_MAX];
    size_t len = 0;
    int enough = !info->is_aes || info->key_len == 16;

    ck_rc(kl_carrier_host(hsm.session, curve, &out, &err), KL_ERR_CERT);
    ck_ok(kl_carrier_host(hsm.session, host, &out, &err));
    ck_rc(kl_tmk_export(hsm.session, storage_key(), &out, 1, &key, wrapped, &len, &err),
          enough ? KL_OK : KL_ERR_STRENGTH);
    ck_ok(kl_tmk_export(hsm.session, storage_key(), &out, 0, &key, wrapped, &len, &err));
    ck_assert_uint_eq(len, 3072 / 8);
    ck_assert_uint_eq(host_decrypt(host, out.oaep_hash, wrapped, len, opened, sizeof(opened)),
                      info->key_len);
    ck_assert_mem_eq(opened, tmk, info->key_len);
    kl_carrier_end(hsm.session, &out);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    EVP_PKEY_free(curve);
    EVP_PKEY_free(host);
}
END_TEST

/* What the store says is not believed. */
START_TEST(a_stored_key_that_is_another)
{
    struct kl_stored_key key = stored(kl_alg_info(KL_ALG_TDES2));
    struct kl_carrier out;
    uint8_t wrapped[KL_WRAPPED_MAX];
    size_t len = 77;

    make_zmk(KL_ZMK_EXPORT, 32);
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_EXPORT, "out", KL_WRAP_KW, &out, &err));
    if (_i == 0) {
        key.kcv[2] ^= 1;
    } else if (_i == 1) {
        key.cryptogram[5] ^= 1;
    } else {
        key.cryptogram_len = 0; /* destroyed */
    }
    ck_rc(kl_tmk_export(hsm.session, storage_key(), &out, 1, &key, wrapped, &len, &err),
          KL_ERR_STORE);
    ck_assert_uint_eq(len, 77);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

/* ---- Tokens that do not do it ---- */

START_TEST(kwp_is_proven_first)
{
    struct kl_carrier carrier = {.bits = 77};

    make_zmk(KL_ZMK_IMPORT, 32);
    make_zmk(KL_ZMK_EXPORT, 32);
    fake_p11_fail(FAKE_C_UnwrapKey, 0, CKR_MECHANISM_INVALID);
    ck_rc(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KWP, &carrier, &err),
          KL_ERR_HSM_LACKS);
    ck_says("use --wrap kw");
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KW, &carrier, &err));
    fake_p11_fail(FAKE_C_WrapKey, 0, CKR_MECHANISM_INVALID);
    ck_rc(kl_carrier_zmk(hsm.session, KL_ZMK_EXPORT, "out", KL_WRAP_KWP, &carrier, &err),
          KL_ERR_HSM_LACKS);
    fake_p11_reset();
    fake_p11_fail(FAKE_C_WrapKey, 0, CKR_DEVICE_REMOVED);
    ck_rc(kl_carrier_zmk(hsm.session, KL_ZMK_EXPORT, "out", KL_WRAP_KWP, &carrier, &err),
          KL_ERR_TOKEN);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

/* SHA-256 where the token does it, else SHA-1; SoftHSM 2.6 does not. */
START_TEST(the_hash_is_found_by_trying)
{
    EVP_PKEY *public_key = make_transport(2048), *host = EVP_RSA_gen(2048);
    struct kl_carrier carrier;

    fake_p11_fail(FAKE_C_UnwrapKey, 1, CKR_MECHANISM_PARAM_INVALID);
    ck_ok(kl_carrier_transport(hsm.session, "t", &carrier, &err));
    ck_assert_int_eq(carrier.oaep_hash, KL_OAEP_SHA1);
    fake_p11_fail(FAKE_C_UnwrapKey, 0, CKR_FUNCTION_FAILED);
    ck_rc(kl_carrier_transport(hsm.session, "t", &carrier, &err), KL_ERR_HSM_LACKS);
    ck_says("cannot unwrap under the transport key \"t\"");
    fake_p11_fail(FAKE_C_UnwrapKey, 1, CKR_DEVICE_REMOVED);
    ck_rc(kl_carrier_transport(hsm.session, "t", &carrier, &err), KL_ERR_TOKEN);
    fake_p11_fail(FAKE_C_WrapKey, 1, CKR_ARGUMENTS_BAD);
    ck_ok(kl_carrier_host(hsm.session, host, &carrier, &err));
    ck_assert_int_eq(carrier.oaep_hash, KL_OAEP_SHA1);
    kl_carrier_end(hsm.session, &carrier);
    fake_p11_fail(FAKE_C_WrapKey, 0, CKR_MECHANISM_INVALID);
    ck_rc(kl_carrier_host(hsm.session, host, &carrier, &err), KL_ERR_HSM_LACKS);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    EVP_PKEY_free(host);
    EVP_PKEY_free(public_key);
}
END_TEST

/* A module that means something else by what it is asked for. */
static CK_RV (*real_wrap)(CK_SESSION_HANDLE, CK_MECHANISM *, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE,
                          unsigned char *, CK_ULONG *);
static CK_RV (*real_unwrap)(CK_SESSION_HANDLE, CK_MECHANISM *, CK_OBJECT_HANDLE, unsigned char *,
                            CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_OBJECT_HANDLE *);

static CK_RV sloppy_wrap(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek,
                         CK_OBJECT_HANDLE key, unsigned char *out, CK_ULONG *len)
{
    CK_RSA_PKCS_OAEP_PARAMS params = kl_op_oaep_params(KL_OAEP_SHA1);
    CK_MECHANISM other = *mechanism;

    if (other.mechanism == CKM_AES_KEY_WRAP_PAD) {
        other.mechanism = CKM_AES_KEY_WRAP;
    } else if (other.mechanism == CKM_RSA_PKCS_OAEP) {
        other.pParameter = &params;
    }
    return real_wrap(s, &other, kek, key, out, len);
}

static CK_RV sloppy_unwrap(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek,
                           unsigned char *in, CK_ULONG len, CK_ATTRIBUTE *attrs, CK_ULONG count,
                           CK_OBJECT_HANDLE *out)
{
    CK_MECHANISM other = *mechanism;

    if (other.mechanism == CKM_AES_KEY_WRAP_PAD) {
        other.mechanism = CKM_AES_KEY_WRAP;
    }
    return real_unwrap(s, &other, kek, in, len, attrs, count, out);
}

START_TEST(modules_that_mean_something_else)
{
    EVP_PKEY *host = EVP_RSA_gen(2048);
    struct kl_carrier carrier;

    make_zmk(KL_ZMK_IMPORT, 32);
    make_zmk(KL_ZMK_EXPORT, 32);
    real_wrap = hsm.f->C_WrapKey;
    real_unwrap = hsm.f->C_UnwrapKey;
    hsm.f->C_WrapKey = sloppy_wrap;
    hsm.f->C_UnwrapKey = sloppy_unwrap;
    ck_rc(kl_carrier_zmk(hsm.session, KL_ZMK_EXPORT, "out", KL_WRAP_KWP, &carrier, &err),
          KL_ERR_HSM_LACKS);
    ck_says("another scheme");
    ck_rc(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KWP, &carrier, &err),
          KL_ERR_HSM_LACKS);
    ck_says("not RFC 5649");
    ck_ok(kl_carrier_zmk(hsm.session, KL_ZMK_IMPORT, "in", KL_WRAP_KW, &carrier, &err));
    /* It takes SHA-256, and does SHA-1. */
    ck_ok(kl_carrier_host(hsm.session, host, &carrier, &err));
    ck_assert_int_eq(carrier.oaep_hash, KL_OAEP_SHA1);
    kl_carrier_end(hsm.session, &carrier);
    hsm.f->C_WrapKey = real_wrap;
    hsm.f->C_UnwrapKey = real_unwrap;
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    EVP_PKEY_free(host);
}
END_TEST

static Suite *import_suite(void)
{
    Suite *suite = suite_create("import");
    TCase *keys = tcase_create("keys");

    tcase_add_checked_fixture(keys, p11_open, p11_close);
    tcase_set_timeout(keys, 60);
    tcase_add_loop_test(keys, under_a_zone_key, 0, 2 * KL_ALG_COUNT);
    tcase_add_loop_test(keys, under_a_transport_key, 0, KL_ALG_COUNT);
    tcase_add_loop_test(keys, from_a_value, 0, KL_ALG_COUNT);
    tcase_add_loop_test(keys, a_wrong_kcv, 0, 8);
    tcase_add_test(keys, bad_cryptograms);
    tcase_add_loop_test(keys, keys_of_another_length_inside, 0, 12);
    tcase_add_loop_test(keys, weak_zone_keys, 0, 3 * KL_ALG_COUNT);
    tcase_add_test(keys, carriers_that_are_not_there_or_the_wrong_way);
    tcase_add_loop_test(keys, out_under_a_zone_key_and_in_again, 0, 2 * KL_ALG_COUNT);
    tcase_add_loop_test(keys, out_under_a_hosts_key, 0, KL_ALG_COUNT);
    tcase_add_loop_test(keys, a_stored_key_that_is_another, 0, 3);
    tcase_add_test(keys, kwp_is_proven_first);
    tcase_add_test(keys, the_hash_is_found_by_trying);
    tcase_add_test(keys, modules_that_mean_something_else);
    suite_add_tcase(suite, keys);
    return suite;
}

int main(void)
{
    return test_run(import_suite());
}
