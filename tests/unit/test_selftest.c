/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkcs11/loader's opening and self-test: keys that are missing or wrong, and tokens that lack an
 * operation, are told by name before anybody is served.
 */
#include "pkcs11/loader.h"

#include <check.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_loader *loader;
static struct kl_err err = KL_ERR_INIT;

static void setup(void)
{
    p11_open();
    p11_make_keys(2048);
}

static void teardown(void)
{
    kl_loader_free(loader);
    p11_close();
}

static void open_fails(enum kl_rc rc, const char *text)
{
    ck_rc(kl_loader_open(hsm.token, &p11_config, &loader, &err), rc);
    ck_assert_ptr_null(loader);
    ck_says(text);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}

START_TEST(missing_work_key)
{
    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    open_fails(KL_ERR_KEY, "work key \"work\": not on the token");
}
END_TEST

START_TEST(missing_storage_key)
{
    CK_OBJECT_HANDLE handle;

    ck_ok(kl_storage_key_find(hsm.session, "storage", &handle, &err));
    kl_op_destroy(hsm.session, &handle);
    open_fails(KL_ERR_KEY, "storage key \"storage\": not on the token");
}
END_TEST

/* A pair made by hand, as another program might. */
static void generate_by_hand(CK_BBOOL decrypt)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG bits = 2048;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_TOKEN, &yes, 1},
                             {CKA_MODULUS_BITS, &bits, sizeof(bits)},
                             {CKA_PUBLIC_EXPONENT, (uint8_t[]){1, 0, 1}, 3}};
    CK_ATTRIBUTE private[] = {
        {CKA_TOKEN, &yes, 1},      {CKA_PRIVATE, &yes, 1},     {CKA_LABEL, (char[]){"work"}, 4},
        {CKA_SENSITIVE, &yes, 1},  {CKA_SIGN, &yes, 1},        {CKA_UNWRAP, &yes, 1},
        {CKA_EXTRACTABLE, &no, 1}, {CKA_DECRYPT, &decrypt, 1}, {CKA_SIGN_RECOVER, &no, 1},
        {CKA_DERIVE, &no, 1},
    };
    CK_OBJECT_HANDLE handles[2];

    ck_assert_uint_eq(hsm.f->C_GenerateKeyPair(hsm.s, &mechanism, public, 3, private, 10,
                                               &handles[0], &handles[1]),
                      CKR_OK);
}

START_TEST(work_key_that_decrypts)
{
    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    generate_by_hand(CK_TRUE);
    open_fails(KL_ERR_KEY, "CKA_DECRYPT is true, must be false");
}
END_TEST

START_TEST(work_key_without_unwrap_template)
{
    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    generate_by_hand(CK_FALSE);
    open_fails(KL_ERR_KEY, "CKA_UNWRAP_TEMPLATE does not bind");
}
END_TEST

/* A template that lacks the nth of the demands; the caller's buffers hold it. */
static void template_without(const struct kl_demands *demands, size_t nth, struct kl_tmpl *out)
{
    struct kl_demand list[KL_TMPL_MAX];
    struct kl_demands rest = {list, 0};

    for (size_t i = 0; i < demands->count; i++) {
        if (i != nth) {
            list[rest.count++] = demands->list[i];
        }
    }
    kl_tmpl_init(out);
    kl_demands_add(&rest, out);
}

/* A template with one demand too few is found out, and the attribute named. The class (0) is not
 * tried: SoftHSM unwraps nothing else by these mechanisms. */
START_TEST(work_key_whose_template_lacks_one)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG bits = 2048;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_TOKEN, &yes, 1},
                             {CKA_MODULUS_BITS, &bits, sizeof(bits)},
                             {CKA_PUBLIC_EXPONENT, (uint8_t[]){1, 0, 1}, 3}};
    struct kl_tmpl unwrap;

    template_without(&kl_rnd1_demands, (size_t)_i, &unwrap);
    CK_ATTRIBUTE private[] = {
        {CKA_TOKEN, &yes, 1},
        {CKA_PRIVATE, &yes, 1},
        {CKA_LABEL, (char[]){"work"}, 4},
        {CKA_SENSITIVE, &yes, 1},
        {CKA_SIGN, &yes, 1},
        {CKA_UNWRAP, &yes, 1},
        {CKA_EXTRACTABLE, &no, 1},
        {CKA_DECRYPT, &no, 1},
        {CKA_SIGN_RECOVER, &no, 1},
        {CKA_DERIVE, &no, 1},
        {CKA_UNWRAP_TEMPLATE, unwrap.attrs, unwrap.count * sizeof(CK_ATTRIBUTE)},
    };
    CK_OBJECT_HANDLE handles[2];

    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    ck_assert_uint_eq(hsm.f->C_GenerateKeyPair(hsm.s, &mechanism, public, 3, private, 11,
                                               &handles[0], &handles[1]),
                      CKR_OK);
    open_fails(KL_ERR_KEY, "work key's CKA_UNWRAP_TEMPLATE does not bind");
    ck_says(kl_rnd1_demands.list[_i].name);
}
END_TEST

static void storage_key_by_hand(struct kl_tmpl *unwrap)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE handle;
    struct kl_tmpl tmpl;

    ck_ok(kl_storage_key_find(hsm.session, "storage", &handle, &err));
    kl_op_destroy(hsm.session, &handle);
    kl_tmpl_init(&tmpl);
    kl_tmpl_number(&tmpl, CKA_VALUE_LEN, 32);
    kl_tmpl_bool(&tmpl, CKA_TOKEN, 1);
    kl_tmpl_bool(&tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(&tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(&tmpl, CKA_EXTRACTABLE, 0);
    kl_tmpl_bytes(&tmpl, CKA_LABEL, "storage", 7);
    kl_tmpl_can(&tmpl, CKO_SECRET_KEY, KL_CAN_WRAP | KL_CAN_UNWRAP);
    if (unwrap) {
        kl_tmpl_nested(&tmpl, CKA_UNWRAP_TEMPLATE, unwrap);
    }
    ck_assert_uint_eq(hsm.f->C_GenerateKey(hsm.s, &mechanism, tmpl.attrs, tmpl.count, &handle),
                      CKR_OK);
}

START_TEST(storage_key_without_unwrap_template)
{
    storage_key_by_hand(NULL);
    open_fails(KL_ERR_KEY, "storage key's CKA_UNWRAP_TEMPLATE does not bind");
}
END_TEST

START_TEST(storage_key_whose_template_lacks_one)
{
    struct kl_tmpl unwrap;

    template_without(&kl_tmk_demands, (size_t)_i, &unwrap);
    storage_key_by_hand(&unwrap);
    open_fails(KL_ERR_KEY, "storage key's CKA_UNWRAP_TEMPLATE does not bind");
    ck_says(kl_tmk_demands.list[_i].name);
}
END_TEST

START_TEST(two_work_keys)
{
    generate_by_hand(CK_FALSE);
    open_fails(KL_ERR_KEY, "several");
}
END_TEST

/* A token that lacks an operation: told by name, whatever it answers. */
START_TEST(selftest_names_what_is_missing)
{
    static const struct {
        enum fake_p11_fn fn;
        CK_RV rv;
        const char *text;
    } lacks[] = {
        {FAKE_C_UnwrapKey, CKR_MECHANISM_INVALID, "C_UnwrapKey(CKM_RSA_PKCS_OAEP)"},
        {FAKE_C_DeriveKey, CKR_MECHANISM_INVALID, "C_DeriveKey(CKM_AES_ECB_ENCRYPT_DATA)"},
        {FAKE_C_DeriveKey, CKR_GENERAL_ERROR, "C_DeriveKey(CKM_AES_ECB_ENCRYPT_DATA)"},
        {FAKE_C_WrapKey, CKR_FUNCTION_FAILED, "C_WrapKey(CKM_RSA_PKCS_OAEP)"},
        {FAKE_C_GenerateKey, CKR_MECHANISM_INVALID, "C_GenerateKey(CKM_AES_KEY_GEN)"},
        {FAKE_C_Decrypt, CKR_FUNCTION_FAILED, "C_Decrypt(CKM_AES_GCM)"},
        {FAKE_C_EncryptInit, CKR_MECHANISM_INVALID, "C_Encrypt(CKM_AES_GCM)"},
        {FAKE_C_SignInit, CKR_MECHANISM_INVALID, "C_Sign(CKM_AES_CMAC)"},
        {FAKE_C_GenerateRandom, CKR_RANDOM_NO_RNG, "C_GenerateRandom"},
    };

    fake_p11_fail(lacks[_i].fn, 0, lacks[_i].rv);
    open_fails(KL_ERR_HSM_LACKS, lacks[_i].text);
    ck_assert_int_eq(strncmp(err.text, "self-test: ", 11), 0);
}
END_TEST

START_TEST(selftest_passes_on_a_lost_token)
{
    fake_p11_fail(FAKE_C_UnwrapKey, 0, CKR_DEVICE_REMOVED);
    open_fails(KL_ERR_TOKEN, "CKR_DEVICE_REMOVED");
}
END_TEST

/* The same keys on the same token, once nothing is in the way. */
START_TEST(good_token_opens)
{
    ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
    ck_assert_int_eq(EVP_PKEY_get_bits(kl_loader_public(loader)), 2048);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

static Suite *selftest_suite(void)
{
    Suite *suite = suite_create("selftest");
    TCase *cases = tcase_create("open");

    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, good_token_opens);
    tcase_add_test(cases, missing_work_key);
    tcase_add_test(cases, missing_storage_key);
    tcase_add_test(cases, work_key_that_decrypts);
    tcase_add_test(cases, work_key_without_unwrap_template);
    tcase_add_loop_test(cases, work_key_whose_template_lacks_one, 1, (int)kl_rnd1_demands.count);
    tcase_add_test(cases, storage_key_without_unwrap_template);
    tcase_add_loop_test(cases, storage_key_whose_template_lacks_one, 1, (int)kl_tmk_demands.count);
    tcase_add_test(cases, two_work_keys);
    tcase_add_test(cases, selftest_passes_on_a_lost_token);
    tcase_add_loop_test(cases, selftest_names_what_is_missing, 0, 9);
    suite_add_tcase(suite, cases);
    return suite;
}

int main(void)
{
    return test_run(selftest_suite());
}
