/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A module that fails, and has written a handle all the same: it is another object's, and nothing
 * may take it for what was to be made.
 */
#include <check.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "pkcs11/import.h"
#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/ops_pinpad.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

#define OTHERS 12345 /* a handle that is not ours */

static struct kl_err err = KL_ERR_INIT;
static CK_FUNCTION_LIST real;
static unsigned destroyed;

static CK_RV generate(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_ATTRIBUTE *attrs, CK_ULONG n,
                      CK_OBJECT_HANDLE *out)
{
    (void)s, (void)mechanism, (void)attrs, (void)n;
    *out = OTHERS;
    return CKR_DEVICE_ERROR;
}

static CK_RV create(CK_SESSION_HANDLE s, CK_ATTRIBUTE *attrs, CK_ULONG n, CK_OBJECT_HANDLE *out)
{
    (void)s, (void)attrs, (void)n;
    *out = OTHERS;
    return CKR_DEVICE_ERROR;
}

static CK_RV copy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs, CK_ULONG n,
                  CK_OBJECT_HANDLE *out)
{
    (void)s, (void)object, (void)attrs, (void)n;
    *out = OTHERS;
    return CKR_FUNCTION_REJECTED;
}

static CK_RV unwrap(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                    unsigned char *wrapped, CK_ULONG len, CK_ATTRIBUTE *attrs, CK_ULONG n,
                    CK_OBJECT_HANDLE *out)
{
    (void)s, (void)mechanism, (void)key, (void)wrapped, (void)len, (void)attrs, (void)n;
    *out = OTHERS;
    return CKR_DEVICE_ERROR;
}

static CK_RV derive(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *attrs, CK_ULONG n, CK_OBJECT_HANDLE *out)
{
    (void)s, (void)mechanism, (void)base, (void)attrs, (void)n;
    *out = OTHERS;
    return CKR_DEVICE_ERROR;
}

static CK_RV destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object)
{
    destroyed += object == OTHERS;
    return real.C_DestroyObject(s, object);
}

static void open_token(void)
{
    p11_open();
    real = *hsm.f;
    destroyed = 0;
    hsm.f->C_DestroyObject = destroy;
}

static void close_token(void)
{
    *hsm.f = real;
    p11_close();
}

static void fail_all(void)
{
    hsm.f->C_GenerateKey = generate;
    hsm.f->C_CreateObject = create;
    hsm.f->C_UnwrapKey = unwrap;
    hsm.f->C_DeriveKey = derive;
}

#define ck_unmade(call) \
    do { \
        ck_assert_int_ne((call), KL_OK); \
        ck_assert_uint_eq(out, CK_INVALID_HANDLE); \
    } while (0)

START_TEST(nothing_is_handed_out)
{
    const struct kl_pad_key tmk = {.alg = KL_ALG_AES128, .use = KL_PAD_TMK};
    static const uint8_t bytes[KL_CTMK_LEN_MAX], label[KL_HASH_LEN];
    CK_OBJECT_HANDLE out = CK_INVALID_HANDLE;
    EVP_PKEY *rsa = EVP_RSA_gen(2048);

    fail_all();
    ck_unmade(kl_op_generate_tmk(hsm.session, KL_ALG_AES128, &out, &err));
    ck_unmade(kl_op_generate_rnd1(hsm.session, &out, &err));
    ck_unmade(kl_op_import_rsa_public(hsm.session, rsa, &out, &err));
    ck_unmade(kl_op_unwrap_rnd1(hsm.session, 1, KL_OAEP_SHA256, bytes, sizeof(bytes), &out, &err));
    ck_unmade(kl_op_derive(hsm.session, 1, label, KL_USE_MAC, &out, &err));
    ck_unmade(kl_op_unwrap_tmk(hsm.session, 1, KL_ALG_AES128, bytes, 24, KL_USE_KCV, &out, &err));
    ck_unmade(
        kl_op_unwrap_stored(hsm.session, 1, KL_ALG_AES128, bytes, 24, KL_USE_KCV, &out, &err));
    ck_unmade(kl_op_import_value(hsm.session, KL_ALG_AES128, bytes, KL_USE_KCV, &out, &err));
    ck_unmade(kl_pad_import(hsm.session, &tmk, bytes, &out, &err));
    ck_unmade(kl_pad_unwrap(hsm.session, 1, &tmk, bytes, 24, &out, &err));
    ck_assert_uint_eq(destroyed, 0);
    EVP_PKEY_free(rsa);
}
END_TEST

START_TEST(a_carried_tmk)
{
    struct kl_carrier carrier;
    CK_OBJECT_HANDLE out = CK_INVALID_HANDLE;
    static const uint8_t cryptogram[256];
    EVP_PKEY *key = NULL;

    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_TRANSPORT, "t", KL_KEY_RSA, 2048, &key, &err));
    EVP_PKEY_free(key);
    ck_ok(kl_carrier_transport(hsm.session, "t", &carrier, &err));
    hsm.f->C_UnwrapKey = unwrap;
    ck_unmade(kl_tmk_unwrap(hsm.session, &carrier, 0, KL_ALG_AES128, cryptogram, sizeof(cryptogram),
                            &out, &err));
}
END_TEST

/* Where a failure cleans up what was made, it cleans up nothing else. */
START_TEST(nothing_else_is_destroyed)
{
    EVP_PKEY *rsa = EVP_RSA_gen(2048);

    hsm.f->C_CreateObject = create;
    ck_assert_int_ne(kl_pair_import(hsm.session, KL_PAIR_WORK, "w", rsa, &err), KL_OK);
    ck_assert_uint_eq(destroyed, 0);
    EVP_PKEY_free(rsa);
}
END_TEST

START_TEST(nor_by_the_self_test)
{
    struct kl_loader *loader = NULL;

    p11_make_keys(2048);
    hsm.f->C_CopyObject = copy;
    ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
    kl_loader_free(loader);
    ck_assert_uint_eq(destroyed, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ops-failed");
    TCase *tc = tcase_create("outputs");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, open_token, close_token);
    tcase_add_test(tc, nothing_is_handed_out);
    tcase_add_test(tc, a_carried_tmk);
    tcase_add_test(tc, nothing_else_is_destroyed);
    tcase_add_test(tc, nor_by_the_self_test);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
