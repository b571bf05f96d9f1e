/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/binding: what the MAC is over, byte by byte, and that every part of it counts. */
#include <check.h>
#include <string.h>

#include "pkcs11/binding.h"
#include "pkcs11/keys.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;

static CK_OBJECT_HANDLE binding;

static void setup(void)
{
    p11_open();
    p11_make_store_keys();
    ck_ok(kl_binding_key_find(hsm.session, p11_config.binding_key, &binding, &err));
}

static struct kl_stored_key a_key(void)
{
    struct kl_stored_key key = {.alg = KL_ALG_AES128,
                                .kcv_len = 3,
                                .kcv = {0xa1, 0xa2, 0xa3, 0xa4},
                                .cryptogram_len = 24};

    for (size_t i = 0; i < sizeof(key.cryptogram); i++) {
        key.cryptogram[i] = (uint8_t)(0x10 + i);
    }
    return key;
}

/* ---- The input ---- */

START_TEST(input_as_written_down)
{
    static const uint8_t expected[] =
        "keyloader/1 stored\0"
        "\x02"
        "\x01\x02\x03\x04"
        "\x03"
        "\x03\xa1\xa2\xa3"
        "\x18\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
        "\x20\x21\x22\x23\x24\x25\x26\x27"
        "T-1";
    struct kl_stored_key key = a_key();
    const struct kl_binding_of what = {KL_BINDING_PIK, "T-1", 0x01020304, &key};
    uint8_t input[KL_BINDING_INPUT_MAX];
    size_t len = 0;

    ck_assert_int_eq(KL_ALG_AES128, 3);
    ck_ok(kl_binding_input(&what, input, &len, &err));
    ck_assert_uint_eq(len, sizeof(expected) - 1);
    ck_assert_mem_eq(input, expected, len);
}
END_TEST

START_TEST(the_longest_input_fits)
{
    struct kl_stored_key key = a_key();
    const struct kl_binding_of what = {KL_BINDING_TMK, "0123456789ABCDEF0123456789ABCDEF",
                                       KL_VERSION_MAX, &key};
    uint8_t input[KL_BINDING_INPUT_MAX];
    size_t len = 0;

    key.kcv_len = KL_KCV_LEN_MAX;
    key.cryptogram_len = KL_CTMK_LEN_MAX;
    ck_ok(kl_binding_input(&what, input, &len, &err));
    ck_assert_uint_eq(len, KL_BINDING_INPUT_MAX);
}
END_TEST

/* Two keys whose parts, one after another, are the same bytes. */
START_TEST(parts_do_not_run_into_each_other)
{
    static const struct {
        uint8_t kcv_len, kcv[4], cryptogram_len, cryptogram[4];
        const char *serial;
    } pairs[][2] = {
        {{3, "123", 4, "4567", "A"}, {4, "1234", 3, "567", "A"}},
        {{3, "123", 3, "456", "A"}, {3, "123", 2, "45", "6A"}},
        {{3, "123", 2, "45", "6A"}, {3, "123", 4, "456A", "B"}},
    };
    uint8_t mac[2][KL_MAC_LEN];

    for (int n = 0; n < 2; n++) {
        struct kl_stored_key key = {.alg = KL_ALG_TDES2,
                                    .kcv_len = pairs[_i][n].kcv_len,
                                    .cryptogram_len = pairs[_i][n].cryptogram_len};
        const struct kl_binding_of what = {KL_BINDING_MAK, pairs[_i][n].serial, 1, &key};

        memcpy(key.kcv, pairs[_i][n].kcv, 4);
        memcpy(key.cryptogram, pairs[_i][n].cryptogram, 4);
        ck_ok(kl_binding_compute(hsm.session, binding, &what, mac[n], &err));
    }
    ck_assert_mem_ne(mac[0], mac[1], KL_MAC_LEN);
}
END_TEST

START_TEST(out_of_bounds)
{
    struct kl_stored_key key = a_key();
    struct kl_binding_of what = {KL_BINDING_TMK, "T-1", 1, &key};
    uint8_t mac[KL_MAC_LEN] = "untouched", untouched[KL_MAC_LEN] = "untouched";

    switch (_i) {
    case 0:
        key.alg = KL_ALG_COUNT + 1;
        break;
    case 1:
        key.kcv_len = KL_KCV_LEN_MIN - 1;
        break;
    case 2:
        key.kcv_len = KL_KCV_LEN_MAX + 1;
        break;
    case 3:
        key.cryptogram_len = 0;
        break;
    case 4:
        key.cryptogram_len = KL_CTMK_LEN_MAX + 1;
        break;
    case 5:
        what.kind = 0;
        break;
    case 6:
        what.kind = KL_BINDING_IMPORT + 1;
        break;
    case 7:
        what.version = 0;
        break;
    case 8:
        what.version = KL_VERSION_MAX + 1u;
        break;
    case 9:
        what.kind = KL_BINDING_IMPORT; /* has no version */
        break;
    case 10:
        what.serial = "";
        break;
    case 11:
        what.serial = "0123456789ABCDEF0123456789ABCDEF0";
        break;
    default:
        what.serial = "T 1";
    }
    ck_rc(kl_binding_compute(hsm.session, binding, &what, mac, &err), KL_ERR_INTERNAL);
    ck_assert_mem_eq(mac, untouched, sizeof(mac));
    ck_rc(kl_binding_verify(hsm.session, binding, &what, &err), KL_ERR_INTERNAL);
}
END_TEST

/* ---- Verifying ---- */

/* Each bit of what is variable in length, and each other part, to another value. */
START_TEST(every_part_counts)
{
    struct kl_stored_key key = a_key(), good;
    struct kl_binding_of what = {KL_BINDING_TMK, "T-1", 258, &key};
    const struct kl_binding_of others[] = {
        {KL_BINDING_PIK, "T-1", 258, &key},  {KL_BINDING_MAK, "T-1", 258, &key},
        {KL_BINDING_IMPORT, "T-1", 0, &key}, {KL_BINDING_TMK, "T-2", 258, &key},
        {KL_BINDING_TMK, "T-10", 258, &key}, {KL_BINDING_TMK, "T-", 258, &key},
        {KL_BINDING_TMK, "t-1", 258, &key},  {KL_BINDING_TMK, "T-1", 2, &key},
        {KL_BINDING_TMK, "T-1", 259, &key},  {KL_BINDING_TMK, "T-1", 258u << 16, &key},
    };

    p11_bind(&key, what.kind, what.serial, what.version);
    good = key;
    ck_ok(kl_binding_verify(hsm.session, binding, &what, &err));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ck_rc(kl_binding_verify(hsm.session, binding, &others[i], &err), KL_ERR_STORE);
        ck_says("changed from outside");
        ck_says(others[i].serial);
    }
    for (size_t bit = 0; bit < 8 * 24; bit++) {
        key.cryptogram[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_rc(kl_binding_verify(hsm.session, binding, &what, &err), KL_ERR_STORE);
        key = good;
    }
    for (size_t bit = 0; bit < 8 * 3; bit++) {
        key.kcv[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_rc(kl_binding_verify(hsm.session, binding, &what, &err), KL_ERR_STORE);
        key = good;
    }
    for (size_t bit = 0; bit < 8 * KL_MAC_LEN; bit++) {
        key.binding[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_rc(kl_binding_verify(hsm.session, binding, &what, &err), KL_ERR_STORE);
        key = good;
    }
    key.alg = KL_ALG_TDES2;
    ck_rc(kl_binding_verify(hsm.session, binding, &what, &err), KL_ERR_STORE);
    key = good;
    key.kcv_len = 4;
    ck_rc(kl_binding_verify(hsm.session, binding, &what, &err), KL_ERR_STORE);
    key = good;
    key.cryptogram_len = 23;
    ck_rc(kl_binding_verify(hsm.session, binding, &what, &err), KL_ERR_STORE);
    key = good;
    key.kcv[3] ^= 1; /* beyond its length */
    key.cryptogram[24] ^= 1;
    ck_ok(kl_binding_verify(hsm.session, binding, &what, &err));
}
END_TEST

START_TEST(texts_say_whose_key_it_is)
{
    struct kl_stored_key key = a_key();
    const struct kl_binding_of tmk = {KL_BINDING_TMK, "T-1", 12, &key};
    const struct kl_binding_of import = {KL_BINDING_IMPORT, "T-1", 0, &key};

    ck_rc(kl_binding_verify(hsm.session, binding, &tmk, &err), KL_ERR_STORE);
    ck_assert_str_eq(err.text, "the stored key of terminal T-1, version 12, is not as keyloader "
                               "wrote it: the store was changed from outside");
    ck_rc(kl_binding_verify(hsm.session, binding, &import, &err), KL_ERR_STORE);
    ck_assert_str_eq(err.text, "the imported key that waits for terminal T-1 is not as keyloader "
                               "wrote it: the store was changed from outside");
}
END_TEST

/* Another binding key, as of another installation, binds otherwise. */
START_TEST(bindings_are_of_their_key)
{
    struct kl_stored_key key = a_key();
    const struct kl_binding_of what = {KL_BINDING_TMK, "T-1", 1, &key};
    CK_OBJECT_HANDLE other;

    p11_bind(&key, what.kind, what.serial, what.version);
    ck_ok(kl_binding_key_generate(hsm.session, "other", &err));
    ck_ok(kl_binding_key_find(hsm.session, "other", &other, &err));
    ck_rc(kl_binding_verify(hsm.session, other, &what, &err), KL_ERR_STORE);
    ck_ok(kl_binding_verify(hsm.session, binding, &what, &err));
}
END_TEST

/* A failing HSM is its own fault, not the store's. */
START_TEST(a_failing_token)
{
    struct kl_stored_key key = a_key();
    const struct kl_binding_of what = {KL_BINDING_TMK, "T-1", 1, &key};

    p11_bind(&key, what.kind, what.serial, what.version);
    fake_p11_reset();
    fake_p11_fail(FAKE_C_Sign, 1, CKR_DEVICE_REMOVED);
    ck_rc(kl_binding_verify(hsm.session, binding, &what, &err), KL_ERR_TOKEN);
}
END_TEST

static Suite *binding_suite(void)
{
    Suite *suite = suite_create("binding");
    TCase *cases = tcase_create("cases");

    tcase_add_checked_fixture(cases, setup, p11_close);
    tcase_set_timeout(cases, 60);
    suite_add_tcase(suite, cases);
    tcase_add_test(cases, input_as_written_down);
    tcase_add_test(cases, the_longest_input_fits);
    tcase_add_loop_test(cases, parts_do_not_run_into_each_other, 0, 3);
    tcase_add_loop_test(cases, out_of_bounds, 0, 13);
    tcase_add_test(cases, every_part_counts);
    tcase_add_test(cases, texts_say_whose_key_it_is);
    tcase_add_test(cases, bindings_are_of_their_key);
    tcase_add_test(cases, a_failing_token);
    return suite;
}

int main(void)
{
    return test_run(binding_suite());
}
