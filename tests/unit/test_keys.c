/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/keys: the keys that stay on the token, how they are made, and which are refused. */
#include "pkcs11/keys.h"

#include <check.h>
#include <openssl/evp.h>
#include <string.h>

#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static CK_OBJECT_HANDLE find(CK_OBJECT_CLASS class, const char *name)
{
    CK_ATTRIBUTE query[] = {{CKA_CLASS, &class, sizeof(class)},
                            {CKA_LABEL, (void *)name, strlen(name)}};
    CK_OBJECT_HANDLE handles[2] = {CK_INVALID_HANDLE, CK_INVALID_HANDLE};
    CK_ULONG count = 0;

    ck_assert_uint_eq(hsm.f->C_FindObjectsInit(hsm.s, query, 2), CKR_OK);
    ck_assert_uint_eq(hsm.f->C_FindObjects(hsm.s, handles, 2, &count), CKR_OK);
    ck_assert_uint_eq(hsm.f->C_FindObjectsFinal(hsm.s), CKR_OK);
    ck_assert_uint_le(count, 1);
    return handles[0];
}

START_TEST(pairs_are_made_by_role)
{
    enum kl_pair_role role = _i == 0 ? KL_PAIR_WORK : KL_PAIR_CA;
    EVP_PKEY *key = NULL, *found_key = NULL;
    CK_OBJECT_HANDLE private, public, found;
    CK_BBOOL value = CK_TRUE;
    CK_ATTRIBUTE decrypt = {CKA_DECRYPT, &value, 1};

    ck_ok(kl_pair_generate(hsm.session, role, "k", 2048, &key, &err));
    ck_ok(kl_pair_find(hsm.session, role, "k", &found, &found_key, &err));
    ck_assert_int_eq(EVP_PKEY_eq(key, found_key), 1);
    ck_assert_int_eq(EVP_PKEY_get_bits(key), 2048);
    private = find(CKO_PRIVATE_KEY, "k");
    public = find(CKO_PUBLIC_KEY, "k");
    ck_assert_uint_eq(private, found);
    ck_assert(p11_flag(private, CKA_SENSITIVE) && p11_flag(private, CKA_PRIVATE));
    ck_assert(p11_flag(private, CKA_SIGN) && !p11_flag(private, CKA_EXTRACTABLE));
    ck_assert(!p11_flag(private, CKA_DECRYPT) && !p11_flag(private, CKA_SIGN_RECOVER));
    ck_assert(!p11_flag(private, CKA_DERIVE) && !p11_flag(private, CKA_MODIFIABLE));
    ck_assert_int_eq(p11_flag(private, CKA_UNWRAP), role == KL_PAIR_WORK);
    ck_assert_int_eq(p11_flag(public, CKA_WRAP), role == KL_PAIR_WORK);
    ck_assert(p11_flag(public, CKA_VERIFY) && !p11_flag(public, CKA_ENCRYPT));
    ck_assert(!p11_flag(public, CKA_PRIVATE));
    /* Powers cannot be added afterwards. */
    ck_assert_uint_ne(hsm.f->C_SetAttributeValue(hsm.s, private, &decrypt, 1), CKR_OK);
    /* Either role's key is refused as the other. */
    ck_rc(kl_pair_find(hsm.session, role == KL_PAIR_WORK ? KL_PAIR_CA : KL_PAIR_WORK, "k", &found,
                       &found_key, &err),
          KL_ERR_KEY);
    ck_says("CKA_UNWRAP");
    ck_rc(kl_pair_generate(hsm.session, role, "k", 2048, &found_key, &err), KL_ERR_EXISTS);
    ck_ok(kl_pair_destroy(hsm.session, "k", &err));
    ck_assert_uint_eq(find(CKO_PRIVATE_KEY, "k"), CK_INVALID_HANDLE);
    ck_assert_uint_eq(find(CKO_PUBLIC_KEY, "k"), CK_INVALID_HANDLE);
    ck_rc(kl_pair_destroy(hsm.session, "k", &err), KL_ERR_KEY);
    EVP_PKEY_free(found_key);
    EVP_PKEY_free(key);
}
END_TEST

/* CKA_ALLOWED_MECHANISMS binds on SoftHSM: a work key does no PKCS#1 v1.5, either way. */
START_TEST(work_key_has_two_mechanisms)
{
    CK_MECHANISM pkcs1 = {CKM_RSA_PKCS, NULL, 0};
    uint8_t sig[KL_RSA_MAX], in[256] = {1};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE attrs[] = {{CKA_CLASS, &class, sizeof(class)},
                            {CKA_KEY_TYPE, &type, sizeof(type)}};
    CK_OBJECT_HANDLE key, out;
    EVP_PKEY *public = NULL;
    size_t len = 0;

    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k", 2048, &public, &err));
    key = find(CKO_PRIVATE_KEY, "k");
    EVP_PKEY_free(public);
    ck_ok(kl_op_sign_pss(hsm.session, key, in, 32, sig, sizeof(sig), &len, &err));
    ck_assert_uint_eq(len, 256);
    ck_rc(kl_op_sign_pkcs1(hsm.session, key, in, 32, sig, sizeof(sig), &len, &err),
          KL_ERR_HSM_LACKS);
    ck_assert_uint_eq(hsm.f->C_SignInit(hsm.s, &pkcs1, key), CKR_MECHANISM_INVALID);
    ck_assert_uint_eq(hsm.f->C_UnwrapKey(hsm.s, &pkcs1, key, in, 256, attrs, 2, &out),
                      CKR_MECHANISM_INVALID);
}
END_TEST

START_TEST(allowed_mechanisms_are_optional_the_rest_is_not)
{
    EVP_PKEY *key = NULL;

    fake_p11_fail(FAKE_C_GenerateKeyPair, 1, CKR_ATTRIBUTE_TYPE_INVALID);
    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k", 2048, &key, &err));
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKeyPair), 2);
    EVP_PKEY_free(key);
    fake_p11_reset();
    fake_p11_fail(FAKE_C_GenerateKeyPair, 1, CKR_TEMPLATE_INCONSISTENT);
    ck_rc(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k2", 2048, &key, &err), KL_ERR_HSM);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKeyPair), 1);
    fake_p11_reset();
    fake_p11_fail(FAKE_C_GenerateKeyPair, 0, CKR_ATTRIBUTE_TYPE_INVALID);
    ck_rc(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k2", 2048, &key, &err), KL_ERR_HSM_LACKS);
}
END_TEST

START_TEST(a_failed_generation_leaves_nothing)
{
    EVP_PKEY *key = NULL;

    fake_p11_fail(FAKE_C_GetAttributeValue, (unsigned)_i + 1, CKR_GENERAL_ERROR);
    ck_rc(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k", 2048, &key, &err), KL_ERR_HSM);
    ck_assert_ptr_null(key);
    ck_assert_uint_eq(find(CKO_PRIVATE_KEY, "k"), CK_INVALID_HANDLE);
    ck_assert_uint_eq(find(CKO_PUBLIC_KEY, "k"), CK_INVALID_HANDLE);
    fake_p11_fail(FAKE_C_GetAttributeValue, 1, CKR_GENERAL_ERROR);
    ck_rc(kl_storage_key_generate(hsm.session, "s", &err), KL_ERR_HSM);
    ck_assert_uint_eq(find(CKO_SECRET_KEY, "s"), CK_INVALID_HANDLE);
}
END_TEST

START_TEST(bad_key_requests)
{
    static const unsigned sizes[] = {0, 1024, 2047, 8192};
    EVP_PKEY *key = NULL;
    char long_label[80];

    for (int i = 0; i < 4; i++) {
        ck_rc(kl_pair_generate(hsm.session, KL_PAIR_CA, "k", sizes[i], &key, &err), KL_ERR_INPUT);
    }
    memset(long_label, 'k', sizeof(long_label));
    long_label[65] = '\0';
    ck_rc(kl_pair_generate(hsm.session, KL_PAIR_CA, "", 2048, &key, &err), KL_ERR_INPUT);
    ck_rc(kl_pair_generate(hsm.session, KL_PAIR_CA, long_label, 2048, &key, &err), KL_ERR_INPUT);
    ck_rc(kl_storage_key_generate(hsm.session, "", &err), KL_ERR_INPUT);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKeyPair), 0);
}
END_TEST

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

/* Keys whose CKA_ALLOWED_MECHANISMS were chosen by hand. */
static const struct {
    size_t count;
    enum kl_rc rc;
    CK_MECHANISM_TYPE list[20];
} work_mechanisms[] = {
    {2, KL_OK, {CKM_RSA_PKCS_OAEP, CKM_SHA256_RSA_PKCS_PSS}},
    {2, KL_OK, {CKM_SHA256_RSA_PKCS_PSS, CKM_RSA_PKCS_OAEP}},
    {0, KL_OK, {0}}, /* no bounds */
    {1, KL_ERR_KEY, {CKM_RSA_PKCS_OAEP}},
    {2, KL_ERR_KEY, {CKM_RSA_PKCS_OAEP, CKM_SHA256_RSA_PKCS}},
    {3, KL_ERR_KEY, {CKM_RSA_PKCS_OAEP, CKM_SHA256_RSA_PKCS_PSS, CKM_RSA_PKCS}},
    {17, KL_ERR_KEY, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}},
};

START_TEST(work_key_with_other_mechanisms)
{
    CK_ULONG bits = 2048;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)},
                             {CKA_PUBLIC_EXPONENT, (uint8_t[]){1, 0, 1}, 3}};
    CK_ATTRIBUTE private[] = {
        {CKA_TOKEN, (void *)&yes, 1},
        {CKA_PRIVATE, (void *)&yes, 1},
        {CKA_LABEL, (char[]){"k"}, 1},
        {CKA_SENSITIVE, (void *)&yes, 1},
        {CKA_SIGN, (void *)&yes, 1},
        {CKA_UNWRAP, (void *)&yes, 1},
        {CKA_EXTRACTABLE, (void *)&no, 1},
        {CKA_DECRYPT, (void *)&no, 1},
        {CKA_SIGN_RECOVER, (void *)&no, 1},
        {CKA_ALLOWED_MECHANISMS, (void *)work_mechanisms[_i].list,
         work_mechanisms[_i].count * sizeof(CK_MECHANISM_TYPE)},
    };
    CK_OBJECT_HANDLE handles[2], found;
    EVP_PKEY *key = NULL;

    ck_assert_uint_eq(hsm.f->C_GenerateKeyPair(hsm.s, &mechanism, public, 2, private,
                                               work_mechanisms[_i].count ? 10 : 9, &handles[0],
                                               &handles[1]),
                      CKR_OK);
    ck_rc(kl_pair_find(hsm.session, KL_PAIR_WORK, "k", &found, &key, &err), work_mechanisms[_i].rc);
    if (work_mechanisms[_i].rc != KL_OK) {
        ck_says("work key \"k\": CKA_ALLOWED_MECHANISMS");
    }
    EVP_PKEY_free(key);
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

static Suite *keys_suite(void)
{
    Suite *suite = suite_create("keys");
    TCase *keys = tcase_create("keys");

    tcase_add_checked_fixture(keys, p11_open, p11_close);
    tcase_set_timeout(keys, 60);
    tcase_add_loop_test(keys, pairs_are_made_by_role, 0, 2);
    tcase_add_test(keys, work_key_has_two_mechanisms);
    tcase_add_test(keys, allowed_mechanisms_are_optional_the_rest_is_not);
    tcase_add_loop_test(keys, a_failed_generation_leaves_nothing, 0, 15);
    tcase_add_test(keys, bad_key_requests);
    tcase_add_loop_test(keys, storage_keys_made_wrong, 0, 11);
    tcase_add_test(keys, storage_key);
    tcase_add_test(keys, storage_key_is_bound);
    tcase_add_test(keys, storage_key_without_allowed_mechanisms);
    tcase_add_loop_test(keys, work_key_with_other_mechanisms, 0, 7);
    tcase_add_test(keys, storage_key_with_other_mechanisms);
    suite_add_tcase(suite, keys);
    return suite;
}

int main(void)
{
    return test_run(keys_suite());
}
