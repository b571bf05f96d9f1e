/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bare loop of make bench makes the PKCS#11 calls of a worker's load: all of them, the same,
 * and no other. What they are is written down here for each suite, so that a change of what a load
 * costs the HSM shows in a review.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/record.h"
#include "tests/support/fake_p11.h"
#include "tests/support/host_terminal.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

#define DERIVE "C_DeriveKey AES_ECB_ENCRYPT_DATA 16 attributes\n"
#define CMAC "C_SignInit AES_CMAC\nC_Sign\n"
#define SIGN(mechanism) "C_SignInit " mechanism "\nC_Sign\n"
#define DESTROY "C_DestroyObject\n"
#define UNWRAP(mechanism) "C_UnwrapKey " mechanism " 15 attributes\n"
#define LENGTH "C_GetAttributeValue 1 attributes\n" /* of what came out */

/* S6, given Rnd1': Rnd2' by K_nonce, K_wrap, K_ack and K_done. */
#define HARDENED DERIVE "C_DecryptInit AES_GCM\nC_Decrypt\n" DESTROY DERIVE DERIVE DERIVE
/* S7: the TMK, wrapped for the store, its KCV, wrapped for the terminal, bound. */
#define TMK_TDES2 \
    "C_GenerateKey DES2_KEY_GEN 16 attributes\nC_WrapKey AES_KEY_WRAP\n" \
    "C_EncryptInit DES3_ECB\nC_Encrypt\nC_WrapKey AES_KEY_WRAP\n" CMAC
#define TMK_AES \
    "C_GenerateKey AES_KEY_GEN 17 attributes\nC_WrapKey AES_KEY_WRAP\n" CMAC \
    "C_WrapKey AES_KEY_WRAP\n" CMAC
/* The MACs of Loaded and of either Done; then all keys go. */
#define END CMAC CMAC CMAC DESTROY DESTROY DESTROY DESTROY DESTROY

#define RSA(tmk) UNWRAP("RSA_PKCS_OAEP") LENGTH HARDENED tmk SIGN("SHA256_RSA_PKCS_PSS") END
#define EC \
    "C_DeriveKey ECDH1_DERIVE 16 attributes\n" DERIVE DESTROY UNWRAP("AES_KEY_WRAP") \
        DESTROY HARDENED TMK_AES SIGN("ECDSA") END
#define CLASSIC \
    "C_DecryptInit RSA_PKCS_OAEP\nC_Decrypt\nC_CreateObject 16 attributes\n" \
    "C_CreateObject 16 attributes\n" DERIVE DERIVE TMK_TDES2 SIGN("RSA_PKCS") \
        DERIVE CMAC DESTROY END

#define CLASSIC_KIND 2
static const struct {
    struct ht_key key;
    enum kl_alg alg;
    const char *calls;
} kinds[] = {
    {{KL_SUITE_HARDENED_RSA, 2048}, KL_ALG_TDES2, RSA(TMK_TDES2)},
    {{KL_SUITE_HARDENED_RSA, 3072}, KL_ALG_AES128, RSA(TMK_AES)},
    [CLASSIC_KIND] = {{KL_SUITE_CLASSIC, 2048}, KL_ALG_TDES2, CLASSIC},
    {{KL_SUITE_HARDENED_EC, 256}, KL_ALG_AES128, EC},
    {{KL_SUITE_HARDENED_EC, 521}, KL_ALG_AES128, EC},
};

/* As ht_setup, with the recorder in front. */
static void set_up(int kind)
{
    test_secrets();
    test_token_open(&hsm, record_in_front_of(fake_p11(test_softhsm_path())));
    ht_make_key("work", kinds[kind].key);
    p11_make_store_keys();
    ht_open(&p11_config);
    term = calloc(1, sizeof(*term));
    ht_choose("work");
    ht_messages(kinds[kind].alg);
    fake_p11_reset();
    record_begin();
    ck_ok(ht_run());
    record_end();
}

START_TEST(a_load_makes_these_calls)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    set_up(_i);
    record_print(out);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_str_eq(text, kinds[_i].calls);
    free(text);
}
END_TEST

START_TEST(they_are_made_again_and_no_other)
{
    unsigned calls[FAKE_P11_COUNT], sum = 0;

    set_up(_i);
    for (int fn = 0; fn < FAKE_P11_COUNT; fn++) {
        sum += calls[fn] = fake_p11_calls((enum fake_p11_fn)fn);
    }
    ck_assert_uint_eq(record_count(), sum);
    for (int round = 0; round < 3; round++) {
        fake_p11_reset();
        ck_assert_uint_eq(record_play(NULL), CKR_OK);
        for (int fn = 0; fn < FAKE_P11_COUNT; fn++) {
            ck_assert_msg(fake_p11_calls((enum fake_p11_fn)fn) == calls[fn], "%s: %u, not %u",
                          fake_p11_name((enum fake_p11_fn)fn), fake_p11_calls((enum fake_p11_fn)fn),
                          calls[fn]);
        }
        ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    }
}
END_TEST

/* A load can be recorded anew, and one that fails ends the loop with what failed. */
START_TEST(what_fails_is_named)
{
    const char *which = "";
    size_t count;

    set_up(_i);
    count = record_count();
    fake_p11_fail(FAKE_C_WrapKey, 2, CKR_DEVICE_ERROR);
    ck_assert_uint_eq(record_play(&which), CKR_DEVICE_ERROR);
    ck_assert_str_eq(which, "C_WrapKey");
    ht_messages(kinds[_i].alg);
    record_begin();
    ck_ok(ht_run());
    record_end();
    ck_assert_uint_eq(record_count(), count);
    ck_assert_uint_eq(record_play(NULL), CKR_OK);
}
END_TEST

/* ---- Through another module ---- */

START_TEST(a_module_that_carries_all_is_given_all)
{
    size_t count;

    set_up(_i);
    count = record_count();
    ck_assert_uint_eq(record_move(fake_p11(test_softhsm_path()), hsm.s), 0);
    ck_assert_uint_eq(record_count(), count);
    ck_assert_uint_eq(record_play(NULL), CKR_OK);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

/* As p11-kit 0.24's client module does not know them. */
static CK_RV no_derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                       CK_ATTRIBUTE *attrs, CK_ULONG n, CK_OBJECT_HANDLE *made)
{
    (void)session, (void)mechanism, (void)key, (void)attrs, (void)n, (void)made;
    return CKR_MECHANISM_INVALID;
}

static CK_RV no_wrap(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE with,
                     CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *len)
{
    (void)session, (void)mechanism, (void)with, (void)key, (void)out, (void)len;
    return CKR_MECHANISM_INVALID;
}

static CK_FUNCTION_LIST *softhsm;

static CK_RV no_cmac(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return mechanism->mechanism == CKM_AES_CMAC ? CKR_MECHANISM_INVALID
                                                : softhsm->C_SignInit(session, mechanism, key);
}

#define INSTEAD_OF_DERIVE "C_GenerateKey AES_KEY_GEN 16 attributes\n"

START_TEST(what_is_not_carried_is_replaced_or_left_out)
{
    CK_FUNCTION_LIST less;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    set_up(CLASSIC_KIND);
    softhsm = fake_p11(test_softhsm_path());
    less = *softhsm;
    less.C_DeriveKey = no_derive;
    less.C_WrapKey = no_wrap;
    less.C_SignInit = no_cmac;
    ck_assert_uint_eq(record_move(&less, hsm.s), 3 + 2 + 5); /* keys derived, wraps, MACs */
    ck_assert_uint_eq(record_count(), 30 - 2 - 2 * 5);
    record_print(out);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_str_eq(text, "C_DecryptInit RSA_PKCS_OAEP\nC_Decrypt\n"
                           "C_CreateObject 16 attributes\nC_CreateObject 16 attributes\n" //
                     INSTEAD_OF_DERIVE INSTEAD_OF_DERIVE
                           "C_GenerateKey DES2_KEY_GEN 16 attributes\n"
                           "C_EncryptInit DES3_ECB\nC_Encrypt\n" SIGN("RSA_PKCS")
                               INSTEAD_OF_DERIVE DESTROY DESTROY DESTROY DESTROY DESTROY DESTROY);
    free(text);
    fake_p11_reset();
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(record_play(NULL), CKR_OK);
        ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    }
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKey), 2 * 4);
}
END_TEST

int main(void)
{
    const int count = sizeof(kinds) / sizeof(kinds[0]);
    Suite *suite = suite_create("bench_calls");
    TCase *tcase = tcase_create("calls");

    tcase_add_checked_fixture(tcase, NULL, ht_teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_load_makes_these_calls, 0, count);
    tcase_add_loop_test(tcase, they_are_made_again_and_no_other, 0, count);
    tcase_add_loop_test(tcase, what_fails_is_named, 0, count);
    tcase_add_loop_test(tcase, a_module_that_carries_all_is_given_all, 0, count);
    tcase_add_test(tcase, what_is_not_carried_is_replaced_or_left_out);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
