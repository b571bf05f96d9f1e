/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/component and the ceremony that gathers components. */
#include "pkcs11/component.h"

#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pkcs11/ceremony.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;

static const struct kl_alg_info *alg(const char *name)
{
    return kl_alg_by_name(name);
}

static struct kl_secret *parse(const char *name, const char *text)
{
    struct kl_secret *typed = test_secret(text), *out = NULL;

    ck_ok(kl_component_parse(alg(name), KL_PARITY_ODD, typed, &out, &err));
    kl_secret_free(typed);
    return out;
}

/* ---- KCVs ---- */

START_TEST(kcvs_in_hex)
{
    static const struct {
        const char *text;
        size_t len; /* 0 = refused */
    } kcvs[] = {{"08D7B4", 3},   {"08d7b4", 3},
                {"8D0A74B8", 4}, {"", 0},
                {"08D7B", 0},    {"08D7B4F", 0},
                {"08D7", 0},     {"08D7B4F0AA", 0},
                {"08D7G4", 0},   {" 08D7B4", 0},
                {"08 D7B4", 0},  {"0x08D7", 0},
                {"08D7B4\n", 0}, {"\xe9\xe9\xe9\xe9\xe9\xe9", 0}};
    uint8_t kcv[KL_KCV_LEN_MAX] = {0};
    size_t len = 0;

    for (size_t i = 0; i < sizeof(kcvs) / sizeof(kcvs[0]); i++) {
        ck_rc(kl_kcv_parse(kcvs[i].text, kcv, &len, &err), kcvs[i].len ? KL_OK : KL_ERR_INPUT);
        if (kcvs[i].len) {
            ck_assert_uint_eq(len, kcvs[i].len);
        }
    }
    ck_assert_mem_eq(kcv, "\x8d\x0a\x74\xb8", 4);
}
END_TEST

/* ---- One component ---- */

static const struct {
    const char *alg, *text;
    enum kl_parity parity;
    const char *says; /* NULL = taken */
} components[] = {
    {"tdes2", "0123456789ABCDEFFEDCBA9876543210", KL_PARITY_ODD, NULL},
    {"tdes2", "0123 4567 89ab cdef fedc ba98 7654 3210", KL_PARITY_ODD, NULL},
    {"tdes2", " 01 23456789ABCDEFFEDCBA9876543210 ", KL_PARITY_ODD, NULL},
    {"tdes2", "0123456789ABCDEFFEDCBA9876543211", KL_PARITY_ODD, "odd parity"},
    {"tdes2", "0023456789ABCDEFFEDCBA9876543210", KL_PARITY_ODD, "odd parity"},
    {"tdes2", "0123456789ABCDEFFEDCBA9876543211", KL_PARITY_IGNORE, NULL},
    {"aes128", "0123456789ABCDEFFEDCBA9876543211", KL_PARITY_ODD, NULL},
    {"tdes2", "0123456789ABCDEFFEDCBA98765432", KL_PARITY_ODD, "30 hex digits, must have 32"},
    {"tdes2", "0123456789ABCDEFFEDCBA9876543", KL_PARITY_ODD, "29 hex digits"},
    {"tdes2", "0123456789ABCDEFFEDCBA987654321001", KL_PARITY_ODD, "34 hex digits"},
    {"tdes3", "0123456789ABCDEFFEDCBA9876543210", KL_PARITY_ODD, "must have 48"},
    {"aes256", "0123456789ABCDEFFEDCBA9876543210", KL_PARITY_ODD, "must have 64"},
    {"tdes2", "0123456789ABCDEFFEDCBA987654321G", KL_PARITY_ODD, "hex digits"},
    {"tdes2", "0 123456789ABCDEFFEDCBA9876543210", KL_PARITY_ODD, "hex digits"},
    {"tdes2", "0123-4567-89AB-CDEF-FEDC-BA98-7654-3210", KL_PARITY_ODD, "hex digits"},
    {"tdes2", "0123456789ABCDEFFEDCBA9876543210\t", KL_PARITY_ODD, "hex digits"},
    {"tdes2", "    ", KL_PARITY_ODD, "0 hex digits"},
    {"aes128", "00000000000000000000000000000000", KL_PARITY_ODD, "all zeros"},
    {"tdes2", "01010101010101010101010101010101", KL_PARITY_ODD, "all zeros"},
    {"tdes2", "00000000000000000000000000000000", KL_PARITY_IGNORE, "all zeros"},
    {"aes128", "00000000000000000000000000000001", KL_PARITY_ODD, NULL},
};
#define COMPONENTS ((int)(sizeof(components) / sizeof(components[0])))

START_TEST(components_as_typed)
{
    struct kl_secret *typed = test_secret(components[_i].text), *out = NULL;
    const struct kl_alg_info *info = alg(components[_i].alg);

    ck_rc(kl_component_parse(info, components[_i].parity, typed, &out, &err),
          components[_i].says ? KL_ERR_INPUT : KL_OK);
    if (components[_i].says) {
        ck_says(components[_i].says);
        ck_assert_ptr_null(out);
        ck_assert(!strstr(err.text, "3456789") && !strstr(err.text, "ABCD"));
    } else {
        ck_assert_uint_eq(kl_secret_len(out), info->key_len);
    }
    kl_secret_free(out);
    kl_secret_free(typed);
}
END_TEST

/* ---- Sums ---- */

#define A "0123456789ABCDEFFEDCBA9876543210"
#define B "1058A42C46E3F8A1CE3BB5A87F0B9D51"

static const struct {
    const char *alg;
    const char *parts[3];
    const char *sum, *says;
} sums[] = {
    /* Parity of the sum of two is even throughout: set odd. */
    {"tdes2", {A, B}, "107AE04ACE49344F31E60E31085EAE40", NULL},
    {"aes128", {A, B}, "117BE14BCF48354E30E70F30095FAF41", NULL},
    {"aes128",
     {A, B, "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"},
     "EE841EB430B7CAB1CF18F0CFF6A050BE",
     NULL},
    {"tdes2", {A, A}, NULL, "components 1 and 2 are equal"},
    {"tdes2", {A, B, A}, NULL, "components 1 and 3 are equal"},
    {"aes128", {B, A, A}, NULL, "components 2 and 3 are equal"},
    {"aes128", {A, B, "117BE14BCF48354E30E70F30095FAF41"}, NULL, "cancel each other out"},
    /* Halves of the sum are equal. */
    {"tdes2",
     {"0123456789ABCDEF0123456789ABCDEF", "1058A42C46E3F8A11058A42C46E3F8A1"},
     NULL,
     "single DES"},
    {"tdes3",
     {"0123456789ABCDEFFEDCBA9876543210FEDCBA9876543210",
      "1058A42C46E3F8A1CE3BB5A87F0B9D51CE3BB5A87F0B9D51"},
     NULL,
     "single DES"},
    {"tdes3",
     {"0123456789ABCDEFFEDCBA98765432100123456789ABCDEF",
      "1058A42C46E3F8A1CE3BB5A87F0B9D511058A42C46E3F8A1"},
     NULL,
     "no tdes3"},
    {"tdes3",
     {"0123456789ABCDEFFEDCBA98765432101376456789ABCDEF",
      "1058A42C46E3F8A1CE3BB5A87F0B9D511058A42C46E3F8A1"},
     "107AE04ACE49344F31E60E31085EAE40022FE04ACE49344F",
     NULL},
};
#define SUMS ((int)(sizeof(sums) / sizeof(sums[0])))

START_TEST(components_add_up)
{
    struct kl_secret *parts[3] = {NULL}, *sum = NULL;
    size_t count = 0;

    for (; count < 3 && sums[_i].parts[count]; count++) {
        struct kl_secret *typed = test_secret(sums[_i].parts[count]);

        ck_ok(kl_component_parse(alg(sums[_i].alg), KL_PARITY_IGNORE, typed, &parts[count], &err));
        kl_secret_free(typed);
    }
    ck_rc(kl_components_sum(alg(sums[_i].alg), parts, count, &sum, &err),
          sums[_i].says ? KL_ERR_INPUT : KL_OK);
    if (sums[_i].says) {
        ck_says(sums[_i].says);
        ck_assert_ptr_null(sum);
    } else {
        char hex[2 * KL_TMK_LEN_MAX + 1] = "";

        for (size_t i = 0; i < kl_secret_len(sum); i++) {
            snprintf(hex + 2 * i, 3, "%02X", kl_secret_data(sum)[i]);
        }
        ck_assert_str_eq(hex, sums[_i].sum);
    }
    kl_secret_free(sum);
    for (size_t i = 0; i < count; i++) {
        kl_secret_free(parts[i]);
    }
}
END_TEST

/* ---- KCVs of values ---- */

/* TDES: a widely printed test key. AES: RFC 4493's key; that CMAC over a zero block by OpenSSL. */
START_TEST(kcvs_of_values)
{
    static const struct {
        const char *alg, *value, *kcv;
    } values[] = {
        {"tdes2", "0123456789ABCDEFFEDCBA9876543210", "08D7B4FB"},
        {"tdes2", "0022446688AACCEEFFDDBB9977553311", "08D7B4FB"}, /* parity is nothing */
        {"aes128", "2B7E151628AED2A6ABF7158809CF4F3C", "7AD386C3"},
    };

    for (int i = 0; i < 3; i++) {
        struct kl_secret *typed = test_secret(values[i].value), *value = NULL;
        uint8_t kcv[KL_KCV_LEN_MAX];
        char text[KL_KCV_TEXT];

        ck_ok(kl_component_parse(alg(values[i].alg), KL_PARITY_IGNORE, typed, &value, &err));
        ck_ok(kl_component_kcv(hsm.session, alg(values[i].alg), value, 4, kcv, &err));
        kl_kcv_format(kcv, 4, text);
        ck_assert_str_eq(text, values[i].kcv);
        kl_secret_free(value);
        kl_secret_free(typed);
    }
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

/* ---- The ceremony, from files ---- */

static char sources[3][PATH_MAX + 32];

static const char *source(int i, const char *text)
{
    FILE *f;

    snprintf(sources[i], sizeof(sources[i]), "file:%s/component%d", hsm.dir, i);
    f = fopen(sources[i] + 5, "we");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "%s\n", text);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(sources[i] + 5, 0600), 0);
    return sources[i];
}

/* So that there is none to ask on, whoever runs the tests. */
static void leave_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (fd >= 0) {
        ck_assert_int_eq(ioctl(fd, TIOCNOTTY), 0);
        close(fd);
    }
}

START_TEST(gathered_from_files)
{
    static const struct {
        const char *second, *kcvs[2], *kcv;
        enum kl_rc rc;
        const char *says;
    } cases[] = {
        {B, {"08D7B4", "A3FB4F"}, NULL, KL_ERR_CONFIG, "there is no terminal"},
        {B, {"08D7B5", NULL}, NULL, KL_ERR_VERIFY, "component 1: has KCV 08D7B4, not 08D7B5"},
        {B, {"08D7B4", NULL}, NULL, KL_ERR_CONFIG, "component 2: KCV of component 2: there is no"},
        {A, {"08D7B4", "08D7B4"}, NULL, KL_ERR_INPUT, "are equal"},
        {"00" B, {"08D7B4", "000000"}, NULL, KL_ERR_INPUT, "component 2: has 34 hex digits"},
        {B, {"08D7B4", "zz"}, NULL, KL_ERR_INPUT, "component 2: a KCV must"},
    };
    struct kl_components_wish wish = {.info = alg("tdes2"),
                                      .count = 2,
                                      .kcvs = {cases[_i].kcvs[0], cases[_i].kcvs[1]},
                                      .kcv = cases[_i].kcv};
    struct kl_secret *second = parse("tdes2", B), *key = NULL;
    uint8_t kcv[KL_KCV_LEN_MAX];
    char text[KL_KCV_TEXT];
    size_t len = 0;

    leave_terminal();
    wish.sources[0] = source(0, A);
    wish.sources[1] = source(1, cases[_i].second);
    /* The right KCV of B, by the token. */
    ck_ok(kl_component_kcv(hsm.session, wish.info, second, 3, kcv, &err));
    kl_kcv_format(kcv, 3, text);
    if (wish.kcvs[1] && strcmp(wish.kcvs[1], "A3FB4F") == 0) {
        wish.kcvs[1] = text;
    }
    ck_rc(kl_ceremony_components(hsm.session, &wish, &key, kcv, &len, &err), cases[_i].rc);
    ck_says(cases[_i].says);
    ck_assert_ptr_null(key);
    ck_assert(!strstr(err.text, "0123456789"));
    kl_secret_free(second);
}
END_TEST

START_TEST(gathered_and_foretold)
{
    struct kl_components_wish wish = {.info = alg("tdes2"),
                                      .count = 2,
                                      .kcvs = {"08D7B4FB", NULL},
                                      .kcv = "000000"};
    struct kl_secret *second = parse("tdes2", B), *key = NULL;
    uint8_t kcv[KL_KCV_LEN_MAX], second_kcv[KL_KCV_LEN_MAX];
    char text[KL_KCV_TEXT], *right;
    size_t len = 0;

    wish.sources[0] = source(0, A);
    wish.sources[1] = source(1, B);
    ck_ok(kl_component_kcv(hsm.session, wish.info, second, 3, second_kcv, &err));
    kl_kcv_format(second_kcv, 3, text);
    wish.kcvs[1] = text;
    ck_rc(kl_ceremony_components(hsm.session, &wish, &key, kcv, &len, &err), KL_ERR_VERIFY);
    ck_says("the key: has KCV ");
    ck_assert_ptr_null(key);
    right = strstr(err.text, "KCV ") + 4;
    right[6] = '\0';
    char foretold[8];
    snprintf(foretold, sizeof(foretold), "%s", right);
    wish.kcv = foretold;
    ck_ok(kl_ceremony_components(hsm.session, &wish, &key, kcv, &len, &err));
    ck_assert_uint_eq(len, 3);
    ck_assert_uint_eq(kl_secret_len(key), 16);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    kl_secret_free(key);
    kl_secret_free(second);
}
END_TEST

static Suite *component_suite(void)
{
    Suite *suite = suite_create("component");
    TCase *values = tcase_create("values"), *token = tcase_create("token");

    tcase_add_checked_fixture(values, test_secrets, NULL);
    tcase_add_test(values, kcvs_in_hex);
    tcase_add_loop_test(values, components_as_typed, 0, COMPONENTS);
    tcase_add_loop_test(values, components_add_up, 0, SUMS);
    suite_add_tcase(suite, values);
    tcase_add_checked_fixture(token, p11_open, p11_close);
    tcase_add_test(token, kcvs_of_values);
    tcase_add_loop_test(token, gathered_from_files, 0, 6);
    tcase_add_test(token, gathered_and_foretold);
    suite_add_tcase(suite, token);
    return suite;
}

int main(void)
{
    return test_run(component_suite());
}
