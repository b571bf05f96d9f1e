/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PIN pad's own operations on SoftHSM; and TDES-ECB unwrapping on a token that does it, which
 * is SoftHSM with that one call made for it.
 */
#include <check.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/ops_pinpad.h"
#include "tests/support/fake_p11.h"
#include "tests/support/fakeloader.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

static const uint8_t tmk[16] = {0xca, 0x5d, 0x92, 0x59, 0x8d, 0xca, 0x48, 0xce,
                                0x8a, 0x4c, 0x76, 0x36, 0x1a, 0x92, 0x69, 0xe9};
static const uint8_t pik[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
static struct kl_err err;
static struct test_token token;
static CK_FUNCTION_LIST list; /* SoftHSM's, perhaps with an unwrap of its own */
static CK_FUNCTION_LIST *soft;
static unsigned unwrapped;

/* What a token does inside that unwraps by TDES-ECB, with the one TMK that there is. */
static CK_RV unwrap_tdes(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek,
                         unsigned char *wrapped, CK_ULONG len, CK_ATTRIBUTE *attrs, CK_ULONG count,
                         CK_OBJECT_HANDLE *out)
{
    CK_ATTRIBUTE all[32];
    uint8_t value[24];

    if (mechanism->mechanism != CKM_DES3_ECB) {
        return soft->C_UnwrapKey(session, mechanism, kek, wrapped, len, attrs, count, out);
    }
    unwrapped++;
    fake_block(KL_ALG_TDES2, 0, tmk, wrapped, len, value);
    memcpy(all + 1, attrs, count * sizeof(all[0]));
    all[0] = (CK_ATTRIBUTE){CKA_VALUE, value, len};
    return soft->C_CreateObject(session, all, count + 1, out);
}

static void open_token(int unwraps)
{
    unwrapped = 0;
    soft = fake_p11(test_softhsm_path());
    list = *soft;
    if (unwraps) {
        list.C_UnwrapKey = unwrap_tdes;
    }
    test_token_open(&token, &list);
}

static CK_OBJECT_HANDLE put_tmk(int decrypts)
{
    const struct kl_pad_key key = {.alg = KL_ALG_TDES2,
                                   .use = KL_PAD_TMK,
                                   .tdes_decrypts = decrypts};
    CK_OBJECT_HANDLE handle = 0;

    ck_assert_msg(kl_pad_import(token.session, &key, tmk, &handle, &err) == KL_OK, "%s", err.text);
    return handle;
}

START_TEST(test_open_tdes)
{
    const struct kl_pad_key key = {.alg = KL_ALG_TDES2, .use = KL_PAD_KCV};
    CK_OBJECT_HANDLE kek, handle = 0;
    uint8_t wrapped[16], kcv[4], want[8];
    int yes = -1;

    open_token(_i);
    ck_assert_msg(kl_pad_tdes_unwraps(token.session, &yes, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(yes, _i);
    ck_assert_uint_eq(test_session_objects(token.session), 0); /* the try leaves nothing */
    kek = put_tmk(!yes);
    fake_block(KL_ALG_TDES2, 1, tmk, pik, 16, wrapped);
    fake_p11_reset();
    unwrapped = 0;
    ck_assert_msg(kl_pad_open_tdes(token.session, kek, yes, &key, wrapped, 16, &handle, &err) ==
                      KL_OK,
                  "%s", err.text);
    ck_assert_uint_eq(unwrapped,
                      (unsigned)_i); /* and the clear key in host memory only if it must */
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Decrypt), (unsigned)!_i);
    ck_assert_int_eq(kl_op_kcv(token.session, handle, KL_ALG_TDES2, 4, kcv, &err), KL_OK);
    fake_block(KL_ALG_TDES2, 1, pik, (const uint8_t[8]){0}, 8, want);
    ck_assert_mem_eq(kcv, want, 4);
    for (size_t len = 0; len < 24; len += 8) { /* the algorithm's length, and no other */
        if (len != 16) {
            ck_assert_int_eq(kl_pad_open_tdes(token.session, kek, yes, &key, wrapped, len, &handle,
                                              &err),
                             KL_ERR_VERIFY);
        }
    }
    test_token_close(&token);
}
END_TEST

START_TEST(test_decrypt_fails)
{
    const struct kl_pad_key key = {.alg = KL_ALG_TDES2, .use = KL_PAD_PIN};
    CK_OBJECT_HANDLE kek, handle = 0;
    uint8_t wrapped[16] = {0};

    open_token(0);
    kek = put_tmk(1);
    fake_p11_fail(FAKE_C_DecryptInit, 1, CKR_GENERAL_ERROR);
    ck_assert_int_eq(kl_pad_open_tdes(token.session, kek, 0, &key, wrapped, 16, &handle, &err),
                     KL_ERR_VERIFY);
    fake_p11_fail(FAKE_C_CreateObject, 1, CKR_DEVICE_MEMORY);
    ck_assert_int_ne(kl_pad_open_tdes(token.session, kek, 0, &key, wrapped, 16, &handle, &err),
                     KL_OK);
    ck_assert_uint_eq(handle, 0);
    ck_assert_uint_eq(test_session_objects(token.session), 1); /* the TMK */
    test_token_close(&token);
}
END_TEST

static size_t probes(void)
{
    CK_OBJECT_HANDLE handle;
    size_t count = 0;

    ck_assert_int_eq(kl_object_find(token.session, CKO_SECRET_KEY, "keyloader-probe", &handle, 1,
                                    &count, &err),
                     KL_OK);
    return count;
}

/* A token that cannot hold CKA_COPYABLE says no more than that something is wrong: it is left out
 * only where a key of our own is refused with it and taken without. */
START_TEST(test_cannot_hold_copyable)
{
    const struct kl_pad_key key = {.alg = KL_ALG_AES128, .use = KL_PAD_KCV, .label = "k"};
    static const CK_RV vague[] = {CKR_GENERAL_ERROR, CKR_ATTRIBUTE_TYPE_INVALID};
    CK_OBJECT_HANDLE handle = 0;

    open_token(0);
    for (size_t i = 0; i < 2; i++) {
        fake_p11_reset(); /* this token takes it: so that was not the cause */
        fake_p11_fail(FAKE_C_CreateObject, 1, vague[i]);
        ck_assert_int_ne(kl_pad_import(token.session, &key, tmk, &handle, &err), KL_OK);
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_CreateObject), 1);
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKey), 1);

        fake_p11_reset(); /* this one takes nothing at all */
        fake_p11_fail(FAKE_C_CreateObject, 1, vague[i]);
        fake_p11_fail(FAKE_C_GenerateKey, 0, vague[i]);
        ck_assert_int_ne(kl_pad_import(token.session, &key, tmk, &handle, &err), KL_OK);
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_CreateObject), 1);

        fake_p11_reset();
        fake_p11_fail(FAKE_C_CreateObject, 1, vague[i]);
        fake_p11_fail(FAKE_C_GenerateKey, 1, vague[i]);
        ck_assert_int_eq(kl_pad_import(token.session, &key, tmk, &handle, &err), KL_OK);
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_CreateObject), 2);
        ck_assert_uint_eq(fake_p11_calls(FAKE_C_DestroyObject), 1); /* our own */
        kl_op_destroy(token.session, &handle);

        fake_p11_reset(); /* one that cannot be destroyed now is, before the next */
        fake_p11_fail(FAKE_C_CreateObject, 1, vague[i]);
        fake_p11_fail(FAKE_C_DestroyObject, 1, CKR_DEVICE_ERROR);
        ck_assert_int_ne(kl_pad_import(token.session, &key, tmk, &handle, &err), KL_OK);
        ck_assert_uint_eq(probes(), 1);
        fake_p11_fail(FAKE_C_CreateObject, 1, vague[i]);
        ck_assert_int_ne(kl_pad_import(token.session, &key, tmk, &handle, &err), KL_OK);
        ck_assert_uint_eq(probes(), 0);
    }
    test_token_close(&token);
}
END_TEST

/* Somebody's key of the probe's label is nobody's to destroy. */
START_TEST(test_no_probe)
{
    const struct kl_pad_key key = {.alg = KL_ALG_AES128, .use = KL_PAD_KCV, .label = "k"};
    CK_OBJECT_HANDLE handle = 0;

    open_token(0);
    ck_assert_int_eq(kl_storage_key_generate(token.session, "keyloader-probe", &err), KL_OK);
    fake_p11_fail(FAKE_C_CreateObject, 1, CKR_GENERAL_ERROR);
    ck_assert_int_ne(kl_pad_import(token.session, &key, tmk, &handle, &err), KL_OK);
    ck_assert_int_eq(kl_storage_key_find(token.session, "keyloader-probe", &handle, &err), KL_OK);
    test_token_close(&token);
}
END_TEST

/* A TMK on a token that unwraps by itself deciphers nothing, and an AES one never does. */
START_TEST(test_tmk_uses)
{
    static const struct {
        enum kl_alg alg;
        int decrypts;
        CK_BBOOL want;
    } cases[] = {{KL_ALG_TDES2, 1, CK_TRUE},
                 {KL_ALG_TDES2, 0, CK_FALSE},
                 {KL_ALG_AES128, 1, CK_FALSE}};
    const struct kl_pad_key key = {.alg = cases[_i].alg,
                                   .use = KL_PAD_TMK,
                                   .tdes_decrypts = cases[_i].decrypts};
    CK_OBJECT_HANDLE handle = 0;
    CK_BBOOL value = 2;
    CK_ATTRIBUTE attr = {CKA_DECRYPT, &value, sizeof(value)};

    open_token(0);
    ck_assert_int_eq(kl_pad_import(token.session, &key, tmk, &handle, &err), KL_OK);
    ck_assert_uint_eq(token.f->C_GetAttributeValue(token.s, handle, &attr, 1), CKR_OK);
    ck_assert_uint_eq(value, cases[_i].want);
    test_token_close(&token);
}
END_TEST

/* Wrapped by AES key wrap: one bit wrong, or another length, and there is no key. */
START_TEST(test_unwrap)
{
    const struct kl_pad_key kek_key = {.alg = KL_ALG_AES128, .use = KL_PAD_TMK},
                            key = {.alg = KL_ALG_AES128, .use = KL_PAD_SESSION};
    /* RFC 3394, 4.1: 128 bits of key data with a 128-bit KEK. */
    static const uint8_t kek_value[16] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
                                          0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f};
    uint8_t wrapped[24] = {0x1f, 0xa6, 0x8b, 0x0a, 0x81, 0x12, 0xb4, 0x47, 0xae, 0xf3, 0x4b, 0xd8,
                           0xfb, 0x5a, 0x7b, 0x82, 0x9d, 0x3e, 0x86, 0x23, 0x71, 0xd2, 0xcf, 0xe5};
    CK_OBJECT_HANDLE kek = 0, handle = 0;

    open_token(0);
    ck_assert_int_eq(kl_pad_import(token.session, &kek_key, kek_value, &kek, &err), KL_OK);
    ck_assert_msg(kl_pad_unwrap(token.session, kek, &key, wrapped, 24, &handle, &err) == KL_OK,
                  "%s", err.text);
    ck_assert_int_eq(kl_pad_unwrap(token.session, kek, &key, wrapped, 16, &handle, &err),
                     KL_ERR_VERIFY);
    wrapped[23] ^= 1;
    ck_assert_int_eq(kl_pad_unwrap(token.session, kek, &key, wrapped, 24, &handle, &err),
                     KL_ERR_VERIFY);
    test_token_close(&token);
}
END_TEST

START_TEST(test_bounds)
{
    const struct kl_pad_key key = {.alg = (enum kl_alg)9, .use = KL_PAD_PIN};
    CK_OBJECT_HANDLE handle = 0;
    uint8_t bytes[32] = {0};

    open_token(0);
    ck_assert_int_eq(kl_pad_import(token.session, &key, bytes, &handle, &err), KL_ERR_INTERNAL);
    ck_assert_int_eq(kl_pad_unwrap(token.session, 1, &key, bytes, 24, &handle, &err),
                     KL_ERR_VERIFY);
    ck_assert_int_eq(kl_pad_open_tdes(token.session, 1, 0, &key, bytes, 16, &handle, &err),
                     KL_ERR_VERIFY);
    ck_assert_int_eq(kl_pad_chain_tdes(token.session, 1, bytes, 12, bytes, &err), KL_ERR_INTERNAL);
    test_token_close(&token);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ops-pinpad");
    TCase *tc = tcase_create("ops");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_open_tdes, 0, 2);
    tcase_add_test(tc, test_decrypt_fails);
    tcase_add_loop_test(tc, test_tmk_uses, 0, 3);
    tcase_add_test(tc, test_unwrap);
    tcase_add_test(tc, test_bounds);
    tcase_add_test(tc, test_cannot_hold_copyable);
    tcase_add_test(tc, test_no_probe);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
