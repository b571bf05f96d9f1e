/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PIN blocks and MACs by published vectors: the formatting alone, and enciphered by working keys
 * that came to PIN pads of both kinds in a sign-in.
 */
#include <check.h>
#include <openssl/crypto.h>
#include <string.h>

#include "terminal-sim/pinpad/working.h"
#include "terminal-sim/signin.h"
#include "tests/support/hsm.h"
#include "tests/support/stand.h"
#include "tests/support/suite.h"

static void from_hex(const char *hex, uint8_t *out, size_t want)
{
    size_t len;

    ck_assert(OPENSSL_hexstr2buf_ex(out, want, &len, hex, '\0'));
    ck_assert_uint_eq(len, want);
}

/* ---- Formatting ---- */

/* The first is the much-quoted example of format 0 (EFTlab, "Complete list of PIN-blocks in
 * payments"); the others are worked by hand after ISO 9564-1:2017, 9.3.1. */
static const struct {
    const char *pin, *pan, *block;
} format0[] = {
    {"1234", "43219876543210987", "0412AC89ABCDEF67"},
    {"1234", "5432101234567891", "041215FEDCBA9876"},
    {"123456", "43219876543210987", "0612AC20ABCDEF67"},
    {"123456789012", "4111111111111111", "0C122547698103EE"},
    {"9876", "12345678", "049876FFFEDCBA98"}, /* zeros before a short PAN */
};

START_TEST(test_format0)
{
    struct kl_secret *pin = test_secret(format0[_i].pin);
    struct kl_err err = KL_ERR_INIT;
    uint8_t block[KL_PINBLOCK0_LEN], want[KL_PINBLOCK0_LEN];

    ck_assert_int_eq(kl_pin_check(pin, &err), KL_OK);
    ck_assert_int_eq(kl_pan_check(format0[_i].pan, &err), KL_OK);
    kl_pinblock0(pin, format0[_i].pan, block);
    from_hex(format0[_i].block, want, sizeof(want));
    ck_assert_mem_eq(block, want, sizeof(want));
    kl_secret_free(pin);
}
END_TEST

/* PAN fields after ISO 9564-1:2017, 9.4.2.3; the first is ASC X9.24-3-2017's. */
static const struct {
    const char *pan, *field;
} format4_pan[] = {
    {"4111111111111111", "44111111111111111000000000000000"},
    {"1234567890123456789", "71234567890123456789000000000000"},
    {"123456789012", "01234567890120000000000000000000"},
    {"12345678", "00000123456780000000000000000000"},
};

START_TEST(test_format4_pan)
{
    uint8_t field[KL_PINBLOCK4_LEN], want[KL_PINBLOCK4_LEN];

    kl_pinblock4_pan(format4_pan[_i].pan, field);
    from_hex(format4_pan[_i].field, want, sizeof(want));
    ck_assert_mem_eq(field, want, sizeof(want));
}
END_TEST

START_TEST(test_bad_pin)
{
    static const char *const bad[] = {"123",
                                      "1234567890123",
                                      "12a4",
                                      "12 4",
                                      "-123",
                                      "1234\n",
                                      "\xd9\xa1\xd9\xa2\xd9\xa3\xd9\xa4"};
    struct kl_secret *pin = test_secret(bad[_i]);
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_pin_check(pin, &err), KL_ERR_INPUT);
    ck_assert_ptr_null(strstr(err.text, bad[_i])); /* never repeated */
    kl_secret_free(pin);
}
END_TEST

START_TEST(test_bad_pan)
{
    static const char *const bad[] = {"",           "1234567",           "12345678901234567890",
                                      "41111111x1", "4111 1111 1111 11", "-4111111111"};
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_pan_check(bad[_i], &err), KL_ERR_INPUT);
    ck_assert(!bad[_i][0] || !strstr(err.text, bad[_i]));
}
END_TEST

/* ISO/IEC 9797-1:2011, 6.3.2 and 6.3.3. */
START_TEST(test_padding)
{
    static const struct {
        enum kl_mac_padding method;
        size_t len, padded;
    } cases[] = {{KL_MAC_PADDING_1, 0, 8},  {KL_MAC_PADDING_1, 1, 8},  {KL_MAC_PADDING_1, 8, 8},
                 {KL_MAC_PADDING_1, 9, 16}, {KL_MAC_PADDING_2, 0, 8},  {KL_MAC_PADDING_2, 7, 8},
                 {KL_MAC_PADDING_2, 8, 16}, {KL_MAC_PADDING_2, 15, 16}};
    uint8_t buffer[16];

    memset(buffer, 0xee, sizeof(buffer));
    ck_assert_uint_eq(kl_mac_padded_len(cases[_i].method, cases[_i].len), cases[_i].padded);
    kl_mac_pad(cases[_i].method, buffer, cases[_i].len);
    for (size_t i = 0; i < cases[_i].padded; i++) {
        int mark = cases[_i].method == KL_MAC_PADDING_2 && i == cases[_i].len;

        ck_assert_uint_eq(buffer[i], i < cases[_i].len ? 0xee : mark ? 0x80 : 0);
    }
}
END_TEST

/* ---- In a PIN pad ---- */

/* Of a key that is not what a test is about: no two may be the same. */
#define OTHER "8A98B6A4C2D0EEFC0B19273543516D7F"
#define OTHER_TDES3 OTHER "8391A1B3C4D6E0F2"

/* A terminal that has signed in and got these working keys. */
static void sign_in(struct stand *b, int kind, enum kl_alg alg, const char *pik_hex,
                    const char *mak_hex)
{
    struct kl_signin_params params = {.serial = FAKE_SERIAL,
                                      .pinpad_serial = STAND_PINPAD,
                                      .format = KL_FORMAT_KEYS};
    struct kl_signin *machine = NULL;
    uint8_t pik[32], mak[32], in[KL_MSG_MAX], out[KL_MSG_MAX];
    struct kl_msg done;
    size_t in_len, out_len;

    stand_init(b, kind);
    b->loader.alg = alg;
    fake_loader_ec(&b->loader, fake_ec_key, fake_ec_work);
    stand_whole_load(b);
    from_hex(pik_hex, pik, kl_alg_info(alg)->key_len);
    from_hex(mak_hex, mak, kl_alg_info(alg)->key_len);
    b->loader.fixed_pik = pik;
    b->loader.fixed_mak = mak;
    params.pad = b->pad;
    params.tmk = *kl_terminal_active(b->home_open);
    stand_ok(b, kl_signin_new(&params, &machine, &b->err));
    stand_ok(b, kl_signin_begin(machine, out, &out_len, &b->err));
    fake_say_keys(&b->loader, out, out_len, in, &in_len);
    stand_ok(b, kl_signin_step(machine, in, in_len, out, &out_len, &b->err));
    fake_say_done(&b->loader, KL_VERDICT_ACTIVE, &done);
    fake_encode(&done, in, &in_len);
    stand_ok(b, kl_signin_step(machine, in, in_len, out, &out_len, &b->err));
    stand_ok(b, kl_terminal_take_keys(b->home_open, b->pad, kl_signin_pair(machine), &b->err));
    kl_signin_free(machine);
}

/* Format 4 as in ASC X9.24-3-2017's test vectors: PIN key, PIN field with these random bytes, PAN
 * field, enciphered PIN block. */
START_TEST(test_format4_vector)
{
    const char *key = "AF8CB133A78F8DC2D1359F18527593FB";
    struct kl_secret *pin = test_secret("1234");
    uint8_t random[KL_PINBLOCK4_RANDOM], block[KL_PINBLOCK4_LEN], pan[KL_PINBLOCK4_LEN],
        want[KL_PINBLOCK4_LEN];
    struct stand b;

    sign_in(&b, _i, KL_ALG_AES128, key, OTHER);
    from_hex("2F69ADDE2E9E7ACE", random, sizeof(random));
    kl_pinblock4_pin(pin, random, block);
    from_hex("441234AAAAAAAAAA2F69ADDE2E9E7ACE", want, sizeof(want));
    ck_assert_mem_eq(block, want, sizeof(want));
    kl_pinblock4_pan("4111111111111111", pan);
    stand_ok(&b, kl_pinpad_encrypt_pin(b.pad, kl_terminal_keys(b.home_open), block, block, &b.err));
    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] ^= pan[i];
    }
    stand_ok(&b, kl_pinpad_encrypt_pin(b.pad, kl_terminal_keys(b.home_open), block, block, &b.err));
    from_hex("A912150391AB65A67E52883D81CE2D15", want, sizeof(want));
    ck_assert_mem_eq(block, want, sizeof(want));
    kl_secret_free(pin);
    stand_end(&b);
}
END_TEST

/* No two of format 4 are the same, and all of format 0 are. */
START_TEST(test_random_part)
{
    const char *key = "0123456789ABCDEFFEDCBA9876543210";
    struct kl_secret *pin = test_secret("1234");
    uint8_t first[KL_PINBLOCK4_LEN], second[KL_PINBLOCK4_LEN], key_bytes[16], clear[8], want[8];
    struct stand b;
    size_t len;

    sign_in(&b, STAND_MEMORY, _i ? KL_ALG_AES128 : KL_ALG_TDES2, key, OTHER);
    stand_ok(&b, kl_working_pin_block(b.pad, kl_terminal_keys(b.home_open), _i ? 4 : 0, pin,
                                      "43219876543210987", first, &len, &b.err));
    stand_ok(&b, kl_working_pin_block(b.pad, kl_terminal_keys(b.home_open), _i ? 4 : 0, pin,
                                      "43219876543210987", second, &len, &b.err));
    ck_assert_int_eq(memcmp(first, second, len) == 0, _i == 0);
    if (_i == 0) {
        from_hex(key, key_bytes, 16);
        fake_block(KL_ALG_TDES2, 0, key_bytes, first, 8, clear);
        from_hex("0412AC89ABCDEF67", want, 8);
        ck_assert_mem_eq(clear, want, 8);
    }
    kl_secret_free(pin);
    stand_end(&b);
}
END_TEST

/* ISO/IEC 9797-1:1999, annex B.4 (MAC algorithm 3; the first is ANSI X9.19's example, too). */
static const struct {
    const char *text;
    enum kl_mac_padding padding;
    const char *mac;
} retail[] = {
    {"Now is the time for all ", KL_MAC_PADDING_1, "A1C72E74EA3FA9B6"},
    {"Now is the time for all ", KL_MAC_PADDING_2, "E9086230CA3BE796"},
    {"Now is the time for it", KL_MAC_PADDING_1, "2E2B1428CC78254F"},
    {"Now is the time for it", KL_MAC_PADDING_2, "5A692CE64F404145"},
};
#define RETAIL ((int)(sizeof(retail) / sizeof(retail[0])))

START_TEST(test_retail_mac)
{
    const char *key = "0123456789ABCDEFFEDCBA9876543210";
    uint8_t mac[KL_MAC_LEN], want[8];
    struct stand b;
    size_t len;

    sign_in(&b, _i, KL_ALG_TDES2, OTHER, key);
    for (int i = 0; i < RETAIL; i++) {
        stand_ok(&b, kl_working_mac(b.pad, kl_terminal_keys(b.home_open), retail[i].padding,
                                    (const uint8_t *)retail[i].text, strlen(retail[i].text), mac,
                                    &len, &b.err));
        ck_assert_uint_eq(len, 8);
        from_hex(retail[i].mac, want, 8);
        ck_assert_mem_eq(mac, want, 8);
    }
    stand_end(&b);
}
END_TEST

/* RFC 4493, section 4 (and SP 800-38B, D.1). */
static const struct {
    size_t len;
    const char *mac;
} cmac[] = {
    {0, "BB1D6929E95937287FA37D129B756746"},
    {16, "070A16B46B4D4144F79BDD9DD04A287C"},
    {40, "DFA66747DE9AE63030CA32611497C827"},
    {64, "51F0BEBF7E3B9D92FC49741779363CFE"},
};

START_TEST(test_cmac)
{
    const char *key = "2B7E151628AED2A6ABF7158809CF4F3C";
    uint8_t message[64], mac[KL_MAC_LEN], want[KL_MAC_LEN];
    struct stand b;
    size_t len;

    from_hex("6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E51"
             "30C81C46A35CE411E5FBC1191A0A52EFF69F2445DF4F9B17AD2B417BE66C3710",
             message, sizeof(message));
    sign_in(&b, _i, KL_ALG_AES128, OTHER, key);
    for (size_t i = 0; i < sizeof(cmac) / sizeof(cmac[0]); i++) {
        stand_ok(&b, kl_working_mac(b.pad, kl_terminal_keys(b.home_open), KL_MAC_PADDING_1, message,
                                    cmac[i].len, mac, &len, &b.err));
        ck_assert_uint_eq(len, 16);
        from_hex(cmac[i].mac, want, 16);
        ck_assert_mem_eq(mac, want, 16);
    }
    stand_end(&b);
}
END_TEST

/* Longer than one call to the token takes, and of three keys. */
START_TEST(test_long_message)
{
    const char *key = "0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123";
    uint8_t message[5000], mac[KL_MAC_LEN], want[8], key_bytes[24];
    struct stand b;
    size_t len;

    for (size_t i = 0; i < sizeof(message); i++) {
        message[i] = (uint8_t)(i * 31);
    }
    sign_in(&b, _i, KL_ALG_TDES3, OTHER_TDES3, key);
    from_hex(key, key_bytes, sizeof(key_bytes));
    stand_ok(&b, kl_working_mac(b.pad, kl_terminal_keys(b.home_open), KL_MAC_PADDING_1, message,
                                sizeof(message), mac, &len, &b.err));
    fake_retail_mac(key_bytes, 24, message, sizeof(message), want);
    ck_assert_mem_eq(mac, want, 8);
    stand_end(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("pinblock");
    TCase *tc = tcase_create("pinblock");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_loop_test(tc, test_format0, 0, (int)(sizeof(format0) / sizeof(format0[0])));
    tcase_add_loop_test(tc, test_format4_pan, 0,
                        (int)(sizeof(format4_pan) / sizeof(format4_pan[0])));
    tcase_add_loop_test(tc, test_bad_pin, 0, 7);
    tcase_add_loop_test(tc, test_bad_pan, 0, 6);
    tcase_add_loop_test(tc, test_padding, 0, 8);
    tcase_add_loop_test(tc, test_format4_vector, 0, STAND_KINDS);
    tcase_add_loop_test(tc, test_random_part, 0, 2);
    tcase_add_loop_test(tc, test_retail_mac, 0, STAND_KINDS);
    tcase_add_loop_test(tc, test_cmac, 0, STAND_KINDS);
    tcase_add_loop_test(tc, test_long_message, 0, STAND_KINDS);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
