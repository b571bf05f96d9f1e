/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/keys: storage key, binding key and zone keys, how they are made, and which are refused. */
#include <check.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static int is_there(const char *name)
{
    CK_ATTRIBUTE query = {CKA_LABEL, (void *)name, strlen(name)};
    CK_OBJECT_HANDLE handle;
    CK_ULONG count = 0;

    ck_assert_uint_eq(hsm.f->C_FindObjectsInit(hsm.s, &query, 1), CKR_OK);
    ck_assert_uint_eq(hsm.f->C_FindObjects(hsm.s, &handle, 1, &count), CKR_OK);
    ck_assert_uint_eq(hsm.f->C_FindObjectsFinal(hsm.s), CKR_OK);
    return count > 0;
}

/* ---- The storage key ---- */

/* A storage key made by hand with one attribute other than ours. */
START_TEST(storage_keys_made_wrong)
{
    static const struct {
        int index; /* in attrs; 0 = the length */
        const char *says;
    } wrong[] = {{0, "CKA_VALUE_LEN is 16"},    {1, "CKA_ENCRYPT is true"},
                 {2, "CKA_DECRYPT is true"},    {3, "CKA_SIGN is true"},
                 {4, "CKA_VERIFY is true"},     {5, "CKA_DERIVE is true"},
                 {6, "CKA_WRAP is false"},      {7, "CKA_UNWRAP is false"},
                 {8, "CKA_SENSITIVE is false"}, {9, "CKA_EXTRACTABLE is true"},
                 {10, "CKA_PRIVATE is false"}};
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG len = wrong[_i].index == 0 ? 16 : 32;
    CK_BBOOL values[] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1};
    CK_ATTRIBUTE attrs[] = {
        {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_ENCRYPT, &values[1], 1},
        {CKA_DECRYPT, &values[2], 1},       {CKA_SIGN, &values[3], 1},
        {CKA_VERIFY, &values[4], 1},        {CKA_DERIVE, &values[5], 1},
        {CKA_WRAP, &values[6], 1},          {CKA_UNWRAP, &values[7], 1},
        {CKA_SENSITIVE, &values[8], 1},     {CKA_EXTRACTABLE, &values[9], 1},
        {CKA_PRIVATE, &values[10], 1},      {CKA_TOKEN, (void *)&yes, 1},
        {CKA_LABEL, (char[]){"s"}, 1},
    };
    CK_OBJECT_HANDLE handle;

    values[wrong[_i].index] ^= 1;
    ck_assert_uint_eq(hsm.f->C_GenerateKey(hsm.s, &mechanism, attrs, 13, &handle), CKR_OK);
    ck_rc(kl_storage_key_find(hsm.session, "s", &handle, &err), KL_ERR_KEY);
    ck_says(wrong[_i].says);
    ck_says("storage key \"s\"");
}
END_TEST

START_TEST(storage_key)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;

    ck_rc(kl_storage_key_find(hsm.session, "s", &handle, &err), KL_ERR_KEY);
    ck_ok(kl_storage_key_generate(hsm.session, "s", &err));
    ck_ok(kl_storage_key_find(hsm.session, "s", &handle, &err));
    ck_assert_uint_eq(p11_uses(handle), KL_CAN_WRAP | KL_CAN_UNWRAP);
    ck_assert(!p11_flag(handle, CKA_MODIFIABLE));
    ck_rc(kl_storage_key_generate(hsm.session, "s", &err), KL_ERR_EXISTS);
}
END_TEST

/* What a storage key unwraps is sensitive and for the session, and it wraps by RFC 3394 only. */
START_TEST(storage_key_is_bound)
{
    CK_MECHANISM kw = {CKM_AES_KEY_WRAP, NULL, 0}, pad = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_DES2;
    CK_ATTRIBUTE attrs[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, (void *)&no, 1},        {CKA_PRIVATE, (void *)&yes, 1},
        {CKA_SENSITIVE, (void *)&yes, 1},   {CKA_DECRYPT, (void *)&no, 1},
        {CKA_UNWRAP, (void *)&no, 1},       {CKA_VERIFY, (void *)&no, 1},
        {CKA_DERIVE, (void *)&no, 1},       {CKA_EXTRACTABLE, (void *)&yes, 1},
    };
    CK_OBJECT_HANDLE key, tmk, out = CK_INVALID_HANDLE;
    uint8_t wrapped[64];
    CK_ULONG len = sizeof(wrapped);

    ck_ok(kl_storage_key_generate(hsm.session, "s", &err));
    ck_ok(kl_storage_key_find(hsm.session, "s", &key, &err));
    ck_ok(kl_op_generate_tmk(hsm.session, KL_ALG_TDES2, &tmk, &err));
    ck_assert_uint_eq(hsm.f->C_WrapKey(hsm.s, &pad, key, tmk, wrapped, &len),
                      CKR_MECHANISM_INVALID);
    len = sizeof(wrapped);
    ck_assert_uint_eq(hsm.f->C_WrapKey(hsm.s, &kw, key, tmk, wrapped, &len), CKR_OK);
    /* To be wrapped under another key some day, a TMK may come out extractable. */
    ck_assert_uint_eq(hsm.f->C_UnwrapKey(hsm.s, &kw, key, wrapped, len, attrs, 10, &out), CKR_OK);
    ck_assert(p11_flag(out, CKA_SENSITIVE));
    for (int i = 2; i < 9; i++) {
        void *demanded = attrs[i].pValue;

        attrs[i].pValue = (void *)(demanded == &yes ? &no : &yes);
        ck_assert_msg(hsm.f->C_UnwrapKey(hsm.s, &kw, key, wrapped, len, attrs, 10, &out) != CKR_OK,
                      "attribute 0x%lx", attrs[i].type);
        attrs[i].pValue = demanded;
    }
}
END_TEST

START_TEST(storage_key_without_allowed_mechanisms)
{
    fake_p11_fail(FAKE_C_GenerateKey, 1, CKR_ATTRIBUTE_TYPE_INVALID);
    ck_ok(kl_storage_key_generate(hsm.session, "s", &err));
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKey), 2);
    fake_p11_reset();
    fake_p11_fail(FAKE_C_GenerateKey, 1, CKR_TEMPLATE_INCONSISTENT);
    ck_rc(kl_storage_key_generate(hsm.session, "s2", &err), KL_ERR_HSM);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKey), 1);
    fake_p11_reset();
    fake_p11_fail(FAKE_C_GenerateKey, 0, CKR_ATTRIBUTE_TYPE_INVALID);
    ck_rc(kl_storage_key_generate(hsm.session, "s2", &err), KL_ERR_HSM_LACKS);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKey), 2);
}
END_TEST

START_TEST(storage_key_with_other_mechanisms)
{
    static const CK_MECHANISM_TYPE list[] = {CKM_AES_KEY_WRAP, CKM_AES_CBC_PAD};
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG len = 32;
    CK_ATTRIBUTE attrs[] = {
        {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_ENCRYPT, (void *)&no, 1},
        {CKA_DECRYPT, (void *)&no, 1},      {CKA_SIGN, (void *)&no, 1},
        {CKA_VERIFY, (void *)&no, 1},       {CKA_DERIVE, (void *)&no, 1},
        {CKA_WRAP, (void *)&yes, 1},        {CKA_UNWRAP, (void *)&yes, 1},
        {CKA_SENSITIVE, (void *)&yes, 1},   {CKA_EXTRACTABLE, (void *)&no, 1},
        {CKA_PRIVATE, (void *)&yes, 1},     {CKA_TOKEN, (void *)&yes, 1},
        {CKA_LABEL, (char[]){"s"}, 1},      {CKA_ALLOWED_MECHANISMS, (void *)list, sizeof(list)},
    };
    CK_OBJECT_HANDLE handle;

    ck_assert_uint_eq(hsm.f->C_GenerateKey(hsm.s, &mechanism, attrs, 14, &handle), CKR_OK);
    ck_rc(kl_storage_key_find(hsm.session, "s", &handle, &err), KL_ERR_KEY);
    ck_says("CKA_ALLOWED_MECHANISMS must be exactly CKM_AES_KEY_WRAP");
}
END_TEST

START_TEST(a_failed_generation_leaves_nothing)
{
    fake_p11_fail(FAKE_C_GetAttributeValue, (unsigned)_i + 1, CKR_GENERAL_ERROR);
    ck_rc(kl_storage_key_generate(hsm.session, "s", &err), KL_ERR_HSM);
    ck_assert(!is_there("s"));
    ck_rc(kl_storage_key_generate(hsm.session, "", &err), KL_ERR_INPUT);
}
END_TEST

/* ---- The binding key ---- */

/* As ours, but for one attribute; the last one has nothing wrong but CKA_ALLOWED_MECHANISMS. */
START_TEST(binding_keys_made_wrong)
{
    static const char *const says[] = {
        "CKA_VALUE_LEN is 16",    "CKA_ENCRYPT is true",
        "CKA_DECRYPT is true",    "CKA_SIGN is false",
        "CKA_VERIFY is true",     "CKA_DERIVE is true",
        "CKA_WRAP is true",       "CKA_UNWRAP is true",
        "CKA_SENSITIVE is false", "CKA_EXTRACTABLE is true",
        "CKA_PRIVATE is false",   "CKA_ALLOWED_MECHANISMS must be exactly CKM_AES_CMAC"};
    CK_MECHANISM_TYPE list[] = {CKM_AES_CMAC, CKM_AES_MAC};
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG len = _i == 0 ? 16 : 32;
    CK_BBOOL values[] = {0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0};
    CK_ATTRIBUTE attrs[] = {
        {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_ENCRYPT, &values[1], 1},
        {CKA_DECRYPT, &values[2], 1},       {CKA_SIGN, &values[3], 1},
        {CKA_VERIFY, &values[4], 1},        {CKA_DERIVE, &values[5], 1},
        {CKA_WRAP, &values[6], 1},          {CKA_UNWRAP, &values[7], 1},
        {CKA_SENSITIVE, &values[8], 1},     {CKA_EXTRACTABLE, &values[9], 1},
        {CKA_PRIVATE, &values[10], 1},      {CKA_TOKEN, (void *)&yes, 1},
        {CKA_LABEL, (char[]){"b"}, 1},      {CKA_ALLOWED_MECHANISMS, list, sizeof(list[0])},
    };
    CK_OBJECT_HANDLE handle;

    values[_i] ^= 1;
    attrs[13].ulValueLen *= _i == 11 ? 2 : 1;
    ck_assert_uint_eq(hsm.f->C_GenerateKey(hsm.s, &mechanism, attrs, 14, &handle), CKR_OK);
    ck_rc(kl_binding_key_find(hsm.session, "b", &handle, &err), KL_ERR_KEY);
    ck_says(says[_i]);
    ck_says("binding key \"b\"");
}
END_TEST

START_TEST(binding_key)
{
    CK_MECHANISM ecb = {CKM_AES_ECB_ENCRYPT_DATA, NULL, 0}, mac = {CKM_AES_MAC, NULL, 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t first[KL_MAC_LEN], again[KL_MAC_LEN];

    ck_rc(kl_binding_key_find(hsm.session, "b", &handle, &err), KL_ERR_KEY);
    ck_ok(kl_binding_key_generate(hsm.session, "b", &err));
    ck_ok(kl_binding_key_find(hsm.session, "b", &handle, &err));
    ck_assert_uint_eq(p11_uses(handle), KL_CAN_SIGN);
    ck_assert(p11_flag(handle, CKA_TOKEN) && p11_flag(handle, CKA_SENSITIVE));
    ck_assert(!p11_flag(handle, CKA_MODIFIABLE) && !p11_flag(handle, CKA_EXTRACTABLE));
    ck_ok(kl_op_cmac(hsm.session, handle, (const uint8_t *)"x", 1, first, &err));
    ck_ok(kl_op_cmac(hsm.session, handle, (const uint8_t *)"x", 1, again, &err));
    ck_assert_mem_eq(first, again, sizeof(first));
    ck_assert_uint_ne(hsm.f->C_SignInit(hsm.s, &mac, handle), CKR_OK);
    ck_assert_uint_ne(hsm.f->C_EncryptInit(hsm.s, &ecb, handle), CKR_OK);
    ck_rc(kl_binding_key_generate(hsm.session, "b", &err), KL_ERR_EXISTS);
}
END_TEST

/* Neither stands in for the other. */
START_TEST(binding_key_is_no_storage_key)
{
    CK_OBJECT_HANDLE handle;

    ck_ok(kl_storage_key_generate(hsm.session, "s", &err));
    ck_ok(kl_binding_key_generate(hsm.session, "b", &err));
    ck_rc(kl_storage_key_find(hsm.session, "b", &handle, &err), KL_ERR_KEY);
    ck_rc(kl_binding_key_find(hsm.session, "s", &handle, &err), KL_ERR_KEY);
}
END_TEST

/* ---- Zone keys ---- */

static struct kl_secret *value_of(size_t len, uint8_t first)
{
    struct kl_secret *value = NULL;

    ck_ok(kl_secret_new(64, &value, &err));
    memset(kl_secret_data(value), 0x3c, len);
    kl_secret_data(value)[0] = first;
    kl_secret_set_len(value, len);
    return value;
}

/* Each direction, each length: it does that one thing, and cannot be found as the other. */
START_TEST(zone_keys_have_one_direction)
{
    enum kl_zmk_use use = _i % 2 ? KL_ZMK_EXPORT : KL_ZMK_IMPORT;
    enum kl_zmk_use other = _i % 2 ? KL_ZMK_IMPORT : KL_ZMK_EXPORT;
    size_t len = 16 + 8 * ((size_t)_i / 2);
    struct kl_secret *value = value_of(len, 1);
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    unsigned bits = 0;

    ck_ok(kl_zmk_create(hsm.session, use, "z", value, &err));
    ck_ok(kl_zmk_find(hsm.session, use, "z", &key, &bits, &err));
    ck_assert_uint_eq(bits, len * 8);
    ck_assert_uint_eq(p11_uses(key), use == KL_ZMK_IMPORT ? KL_CAN_UNWRAP : KL_CAN_WRAP);
    ck_assert(p11_flag(key, CKA_SENSITIVE) && p11_flag(key, CKA_PRIVATE));
    ck_assert(!p11_flag(key, CKA_EXTRACTABLE) && !p11_flag(key, CKA_MODIFIABLE));
    ck_assert(p11_flag(key, CKA_TOKEN) && !p11_flag(key, CKA_LOCAL));
    ck_rc(kl_zmk_find(hsm.session, other, "z", &key, &bits, &err), KL_ERR_KEY);
    ck_says(use == KL_ZMK_IMPORT ? "zone key for export \"z\": CKA_WRAP is false"
                                 : "zone key for import \"z\": CKA_WRAP is true");
    ck_rc(kl_storage_key_find(hsm.session, "z", &key, &err), KL_ERR_KEY);
    ck_rc(kl_zmk_create(hsm.session, other, "z", value, &err), KL_ERR_EXISTS);
    kl_secret_free(value);
}
END_TEST

START_TEST(zone_keys_of_other_lengths)
{
    static const size_t bad[] = {0, 8, 15, 17, 33, 64};
    struct kl_secret *value = value_of(bad[_i], 1);

    ck_rc(kl_zmk_create(hsm.session, KL_ZMK_IMPORT, "z", value, &err), KL_ERR_INPUT);
    ck_assert(!is_there("z"));
    kl_secret_free(value);
}
END_TEST

/* A storage key is no zone key of either direction. */
START_TEST(storage_key_is_no_zone_key)
{
    CK_OBJECT_HANDLE key;
    unsigned bits;

    ck_ok(kl_storage_key_generate(hsm.session, "s", &err));
    ck_rc(kl_zmk_find(hsm.session, KL_ZMK_IMPORT, "s", &key, &bits, &err), KL_ERR_KEY);
    ck_rc(kl_zmk_find(hsm.session, KL_ZMK_EXPORT, "s", &key, &bits, &err), KL_ERR_KEY);
    ck_rc(kl_zmk_find(hsm.session, KL_ZMK_EXPORT, "none", &key, &bits, &err), KL_ERR_KEY);
    ck_says("zone key for export \"none\": not on the token");
}
END_TEST

/* What comes in under a zone key is a sensitive session key, and only key wrap brings it in. */
START_TEST(zone_key_is_bound)
{
    CK_MECHANISM kw = {CKM_AES_KEY_WRAP, NULL, 0}, cbc = {CKM_AES_CBC_PAD, (uint8_t[16]){0}, 16};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE attrs[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, (void *)&no, 1},        {CKA_SENSITIVE, (void *)&no, 1},
        {CKA_EXTRACTABLE, (void *)&yes, 1}, {CKA_PRIVATE, (void *)&yes, 1},
        {CKA_DECRYPT, (void *)&no, 1},      {CKA_UNWRAP, (void *)&no, 1},
        {CKA_VERIFY, (void *)&no, 1},       {CKA_DERIVE, (void *)&no, 1},
    };
    uint8_t wrapped[KL_CTMK_LEN_MAX];
    struct kl_secret *value = value_of(32, 1);
    CK_OBJECT_HANDLE in, out, key, got;
    size_t len = 0;
    unsigned bits;

    ck_ok(kl_zmk_create(hsm.session, KL_ZMK_IMPORT, "i", value, &err));
    ck_ok(kl_zmk_create(hsm.session, KL_ZMK_EXPORT, "e", value, &err));
    ck_ok(kl_zmk_find(hsm.session, KL_ZMK_IMPORT, "i", &in, &bits, &err));
    ck_ok(kl_zmk_find(hsm.session, KL_ZMK_EXPORT, "e", &out, &bits, &err));
    ck_ok(kl_op_generate_tmk(hsm.session, KL_ALG_AES128, &key, &err));
    ck_ok(kl_op_wrap(hsm.session, out, key, wrapped, &len, &err));
    ck_assert_uint_ne(hsm.f->C_UnwrapKey(hsm.s, &kw, in, wrapped, len, attrs, 10, &got), CKR_OK);
    attrs[3].pValue = (void *)&yes;
    ck_assert_uint_eq(hsm.f->C_UnwrapKey(hsm.s, &kw, in, wrapped, len, attrs, 10, &got), CKR_OK);
    ck_assert_uint_eq(hsm.f->C_UnwrapKey(hsm.s, &cbc, in, wrapped, 16, attrs, 10, &got),
                      CKR_MECHANISM_INVALID);
    ck_assert_uint_eq(hsm.f->C_UnwrapKey(hsm.s, &kw, out, wrapped, len, attrs, 10, &got),
                      CKR_KEY_FUNCTION_NOT_PERMITTED);
    kl_secret_free(value);
}
END_TEST

START_TEST(a_failed_zone_key_leaves_nothing)
{
    struct kl_secret *value = value_of(16, 1);
    CK_OBJECT_HANDLE bound, unbound;
    unsigned bits;

    ck_ok(kl_zmk_create(hsm.session, KL_ZMK_EXPORT, "y", value, &err));
    ck_ok(kl_zmk_find(hsm.session, KL_ZMK_EXPORT, "y", &bound, &bits, &err));
    ck_assert_int_eq(kl_key_names_mechanisms(hsm.session, bound), 1);
    fake_p11_fail(FAKE_C_GetAttributeValue, (unsigned)_i + 1, CKR_GENERAL_ERROR);
    ck_rc(kl_zmk_create(hsm.session, KL_ZMK_EXPORT, "z", value, &err), KL_ERR_HSM);
    ck_assert(!is_there("z"));
    fake_p11_reset();
    /* CKA_ALLOWED_MECHANISMS alone may be missing. */
    fake_p11_fail(FAKE_C_CreateObject, 1, CKR_ATTRIBUTE_TYPE_INVALID);
    ck_ok(kl_zmk_create(hsm.session, KL_ZMK_EXPORT, "z", value, &err));
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_CreateObject), 2);
    ck_ok(kl_zmk_find(hsm.session, KL_ZMK_EXPORT, "z", &unbound, &bits, &err));
    ck_assert_int_eq(kl_key_names_mechanisms(hsm.session, unbound), 0);
    kl_secret_free(value);
}
END_TEST

static Suite *keys_suite(void)
{
    Suite *suite = suite_create("secret keys");
    TCase *keys = tcase_create("keys");

    tcase_add_checked_fixture(keys, p11_open, p11_close);
    tcase_set_timeout(keys, 60);
    tcase_add_loop_test(keys, storage_keys_made_wrong, 0, 11);
    tcase_add_test(keys, storage_key);
    tcase_add_test(keys, storage_key_is_bound);
    tcase_add_test(keys, storage_key_without_allowed_mechanisms);
    tcase_add_test(keys, storage_key_with_other_mechanisms);
    tcase_add_loop_test(keys, a_failed_generation_leaves_nothing, 0, 5);
    tcase_add_loop_test(keys, binding_keys_made_wrong, 0, 12);
    tcase_add_test(keys, binding_key);
    tcase_add_test(keys, binding_key_is_no_storage_key);
    tcase_add_loop_test(keys, zone_keys_have_one_direction, 0, 6);
    tcase_add_loop_test(keys, zone_keys_of_other_lengths, 0, 6);
    tcase_add_test(keys, storage_key_is_no_zone_key);
    tcase_add_test(keys, zone_key_is_bound);
    tcase_add_loop_test(keys, a_failed_zone_key_leaves_nothing, 0, 5);
    suite_add_tcase(suite, keys);
    return suite;
}

int main(void)
{
    return test_run(keys_suite());
}
