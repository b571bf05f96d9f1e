/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys from elsewhere that are cut short, garbled, or too strong for what carries them: each is
 * refused with an exit status and a text that say why, and changes neither store nor token.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/party.h"
#include "tests/support/suite.h"

/* ---- Work keys ---- */

static char *key_list(void)
{
    return lab_ctl(&party.lab, "--json", "key", "list", NULL);
}

/* Cut short anywhere, or with a character of its base64 changed, a file brings nothing. */
START_TEST(malformed_work_keys)
{
    char file[PATH_MAX], bad[PATH_MAX], pass[PATH_MAX + 8];
    size_t len;

    lab_begin(&party.lab, "malformed-keys");
    snprintf(pass, sizeof(pass), "%s", party_source("pass", PARTY_PASSPHRASE "\n"));
    snprintf(file, sizeof(file), "%s", party_at("whole.p8"));
    snprintf(bad, sizeof(bad), "%s", party_at("bad.p8"));
    PARTY_OPENSSL("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                  "-aes-256-cbc", "-pass", pass, "-out", file);
    char *text = file_read(file, &len), *before = key_list();
    for (size_t cut = 0; cut < len - 2; cut += 41) {
        file_write(bad, text, cut, 0600);
        lab_ctl_ends(&party.lab, 65, bad, "key", "import", bad, "--label", "x",
                     "--passphrase-source", pass, NULL);
    }
    const size_t begins = strcspn(text, "\n") + 1;
    for (size_t i = begins + 3; i < len - 60; i += 47) {
        char *copy = strdup(text);

        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        file_write(bad, copy, len, 0600);
        free(copy);
        int status = lab_ctl_status(&party.lab, "key", "import", bad, "--label", "x",
                                    "--passphrase-source", pass, NULL);
        /* Which of the two depends on whether salt and key, or the structure around, is hit. */
        ck_assert_msg(status == 65 || status == 77, "byte %zu: status %d", i, status);
    }
    char *after = key_list();
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
    free(text);
}
END_TEST

/* ---- TMKs ---- */

/* One import that must fail and leave the store as it is. */
static void refused(const struct party_tmk *key, const char *option, const char *label, size_t len,
                    int status)
{
    struct party_tmk bad = *key;

    bad.cryptogram[len] = '\0';
    PARTY_IMPORT(status, "keyloaderctl: ", &bad, option, label);
}

static void garbled(const struct party_tmk *key, const char *option, const char *label)
{
    const size_t len = strlen(key->cryptogram);
    const size_t cuts[] = {0, 1, 2, 16, len / 2, len - 2, len - 1};
    const size_t flips[] = {0, 15, len / 2, len - 1};

    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        refused(key, option, label, cuts[i], 65);
    }
    for (size_t i = 0; i < sizeof(flips) / sizeof(flips[0]); i++) {
        struct party_tmk bad = *key;

        bad.cryptogram[flips[i]] = bad.cryptogram[flips[i]] == '4' ? '5' : '4';
        refused(&bad, option, label, len, 76);
    }
}

START_TEST(garbled_cryptograms)
{
    struct party_tmk key;

    lab_begin(&party.lab, "garbled");
    lab_register(&party.lab, "T", "tdes2");
    party_draw("T", "tdes2", &key);
    char *before = lab_store_dump(&party.lab);
    party_under_zmk(&key, party.zone, sizeof(party.zone), 0);
    garbled(&key, "--under-zmk", "zin");
    PARTY_IMPORT(76, NULL, &key, "--under-zmk", "zin128"); /* another zone's key */
    PARTY_IMPORT(69, NULL, &key, "--under-zmk", "zout");   /* not in that direction */
    party_under_transport(&key);
    garbled(&key, "--under-transport", "t");
    char *after = lab_store_dump(&party.lab);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
}
END_TEST

/* What stands in a component's file, for a tdes2 key, and how it ends. */
static const struct {
    const char *text;
    int status;
} bad_components[] = {
    {"", 65},
    {"\n", 65},
    {"0", 65},
    {"0123456789ABCDEFFEDCBA987654321\n", 65},    /* a digit short */
    {"0123456789ABCDEFFEDCBA98765432\n", 65},     /* a byte short */
    {"0123456789ABCDEFFEDCBA987654321001\n", 65}, /* a byte more */
    {"0123456789ABCDEFFEDCBA9876543210X\n", 65},
    {"0x0123456789ABCDEFFEDCBA9876543210\n", 65},
    {"0123456789ABCDEGFEDCBA9876543210\n", 65},
    {"0022446688AACCEEFFDDBB9977553311\n", 65}, /* even parity */
    {"00000000000000000000000000000000\n", 65},
    {"0123456789ABCDEF FEDCBA9876543210\n0123\n", 65},
};

START_TEST(garbled_components)
{
    struct party_tmk key;
    struct lab_components s;

    lab_begin(&party.lab, "components");
    lab_register(&party.lab, "T", "tdes2");
    party_draw("T", "tdes2", &key);
    lab_components(&party.lab, key.info, key.value, &s);
    char *before = lab_store_dump(&party.lab);
#define TYPED(status, words, one, other, ...) \
    lab_ctl_ends(&party.lab, status, words, "tmk", "import", "T", "--algorithm", "tdes2", \
                 "--components", "2", "--component", one, "--component", other, "--component-kcv", \
                 s.kcvs[0], "--component-kcv", s.kcvs[1], __VA_ARGS__, NULL)
    for (size_t i = 0; i < sizeof(bad_components) / sizeof(bad_components[0]); i++) {
        TYPED(bad_components[i].status, "component 2", s.sources[0],
              party_source("bad", bad_components[i].text), "--kcv", s.kcv);
    }
    TYPED(76, "component 1", s.sources[1], s.sources[0], "--kcv", s.kcv);
    TYPED(76, "component 2", s.sources[0], s.sources[0], "--kcv", s.kcv);
    TYPED(76, "the key", s.sources[0], s.sources[1], "--kcv", s.kcvs[0]);
    TYPED(65, "KCV", s.sources[0], s.sources[1], "--kcv", "12345");
    TYPED(66, NULL, s.sources[0], "file:/none", "--kcv", s.kcv);
    char *after = lab_store_dump(&party.lab);
    ck_assert_str_eq(before, after);
    TYPED(0, NULL, s.sources[0], s.sources[1], "--kcv", s.kcv); /* it was not all in vain */
    ck_assert_uint_eq(party_waiting(), 1);
    free(before);
    free(after);
}
END_TEST

/* A file of two rows, cut short within the second one. */
START_TEST(truncated_files)
{
    struct party_tmk keys[2];
    char text[512], row[256];

    lab_begin(&party.lab, "truncated");
    for (int i = 0; i < 2; i++) {
        party_draw(i == 0 ? "T1" : "T2", "aes128", &keys[i]);
        party_under_zmk(&keys[i], party.zone, sizeof(party.zone), 0);
        lab_register(&party.lab, keys[i].serial, "aes128");
    }
    char *before = lab_store_dump(&party.lab);
    const size_t head =
        (size_t)snprintf(text, sizeof(text), "serial,algorithm,cryptogram,kcv\nT1,aes128,%s,%s\n",
                         keys[0].cryptogram, keys[0].kcv);
    const size_t len =
        (size_t)snprintf(row, sizeof(row), "T2,aes128,%s,%s", keys[1].cryptogram, keys[1].kcv);
    const size_t cuts[] = {1, 2, 3, 6, 9, 10, 11, 12, 40, len - 7, len - 6, len - 1};
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        memcpy(text + head, row, cuts[i]);
        file_write(party_at("cut.csv"), text, head + cuts[i], 0600);
        lab_ctl_ends(&party.lab, 65, "line 3: ", "tmk", "import", "--csv", party_at("cut.csv"),
                     "--under-zmk", "zin", NULL);
    }
    for (size_t cut = 0; cut < 31; cut += 10) { /* within the header */
        file_write(party_at("cut.csv"), text, cut, 0600);
        lab_ctl_ends(&party.lab, 65, "header", "tmk", "import", "--csv", party_at("cut.csv"),
                     "--under-zmk", "zin", NULL);
    }
    char *after = lab_store_dump(&party.lab);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
    memcpy(text + head, row, len);
    file_write(party_at("cut.csv"), text, head + len, 0600); /* whole, but for its newline */
    lab_ctl_ends(&party.lab, 0, NULL, "tmk", "import", "--csv", party_at("cut.csv"), "--under-zmk",
                 "zin", NULL);
    ck_assert_uint_eq(party_waiting(), 2);
}
END_TEST

/* ---- Strength ---- */

START_TEST(too_strong_for_the_carrier)
{
    struct party_tmk key;

    lab_begin(&party.lab, "strength");
    lab_register(&party.lab, "A", "aes128");
    lab_register(&party.lab, "B", "aes192");
    lab_register(&party.lab, "C", "tdes3");
    char *before = lab_store_dump(&party.lab);
    party_draw("A", "aes128", &key);
    party_under_transport(&key);
    PARTY_IMPORT(77, "RSA-2048", &key, "--under-transport", "t");
    party_draw("B", "aes192", &key);
    party_under_zmk(&key, party.short_zone, sizeof(party.short_zone), 0);
    PARTY_IMPORT(77, "AES-128", &key, "--under-zmk", "zin128");
    char *after = lab_store_dump(&party.lab);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
    party_draw("A", "aes128", &key); /* what is just strong enough */
    party_under_zmk(&key, party.short_zone, sizeof(party.short_zone), 0);
    PARTY_IMPORT(0, NULL, &key, "--under-zmk", "zin128");
    party_draw("C", "tdes3", &key);
    party_under_transport(&key);
    PARTY_IMPORT(0, NULL, &key, "--under-transport", "t");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("malformed imports");
    TCase *tc = tcase_create("malformed imports");

    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, party_found, party_abandon);
    tcase_add_test(tc, malformed_work_keys);
    tcase_add_test(tc, garbled_cryptograms);
    tcase_add_test(tc, garbled_components);
    tcase_add_test(tc, truncated_files);
    tcase_add_test(tc, too_strong_for_the_carrier);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
