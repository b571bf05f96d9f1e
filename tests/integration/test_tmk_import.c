/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl tmk import and export by the real program: TMKs under a transport key, under zone
 * keys and in components, one or many; out again for the host; and all that is refused.
 */
#include <check.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/report.h"
#include "daemon/config.h"
#include "daemon/store/store.h"
#include "pkcs11/binding.h"
#include "pkcs11/keys.h"
#include "proto/alg.h"
#include "proto/pubkey.h"
#include "tests/support/ceremony.h"
#include "tests/support/hsm.h"
#include "tests/support/keywrap.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#define A "0123456789ABCDEFFEDCBA9876543210"
#define B "1058A42C46E3F8A1CE3BB5A87F0B9D51"

static char conf[PATH_MAX], conf_warn[PATH_MAX];
static struct kl_err err = KL_ERR_INIT;

/* The sum of A and B: AES-128 zone keys "zin" and "zout"; as TDES, parity set odd. */
static const uint8_t zmk[16] = {0x11, 0x7b, 0xe1, 0x4b, 0xcf, 0x48, 0x35, 0x4e,
                                0x30, 0xe7, 0x0f, 0x30, 0x09, 0x5f, 0xaf, 0x41};
static uint8_t tmk[32] = {0x13, 0x34, 0x57, 0x79, 0x9b, 0xbc, 0xdf, 0xf1, 0x0e, 0x32, 0x92,
                          0x32, 0xea, 0x6d, 0x0d, 0x73, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
                          0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};

static const struct kl_alg_info *alg(const char *name)
{
    return kl_alg_by_name(name);
}

static void make_zmk(const char *label, const char *use)
{
    char a[PATH_MAX + 8], b[PATH_MAX + 8], kcvs[3][KL_KCV_TEXT];
    uint8_t value[16];

    ceremony_secret_file("a", A "\n", 0600, a);
    ceremony_secret_file("b", B "\n", 0600, b);
    ck_assert(OPENSSL_hexstr2buf_ex(value, 16, NULL, A, '\0'));
    keywrap_kcv_text(alg("aes128"), value, kcvs[0]);
    ck_assert(OPENSSL_hexstr2buf_ex(value, 16, NULL, B, '\0'));
    keywrap_kcv_text(alg("aes128"), value, kcvs[1]);
    keywrap_kcv_text(alg("aes128"), zmk, kcvs[2]);
    CTL(0, NULL, conf, "zmk", "import", "--label", label, "--for", use, "--algorithm", "aes128",
        "--components", "2", "--component", a, "--component", b, "--component-kcv", kcvs[0],
        "--component-kcv", kcvs[1], "--expect-kcv", kcvs[2]);
}

static void found(void)
{
    char *text;
    FILE *f;

    ceremony_ground();
    test_secrets();
    ceremony_plain_config(conf, "loader");
    text = file_read(conf, NULL);
    f = fopen(ceremony_path(conf_warn, "warn.conf"), "we");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "%s[policy]\nstrength-policy = warn\n", text);
    ck_assert_int_eq(fclose(f), 0);
    free(text);
    CTL(0, NULL, conf, "token", "init", "--so-pin-source", ceremony.so_source);
    CTL(0, NULL, conf, "key", "generate", "--key", "p-256");
    make_zmk("zin", "import");
    make_zmk("zout", "export");
    for (char serial[] = "T1"; serial[1] <= '4'; serial[1]++) {
        CTL(0, NULL, conf, "terminal", "add", serial, "--algorithm", "tdes2");
    }
    CTL(0, NULL, conf, "terminal", "add", "T5", "--algorithm", "aes256");
}

static json_t *last_json(void)
{
    json_error_t error;
    json_t *value = json_loads(ceremony.last_out, 0, &error);

    ck_assert_msg(value != NULL, "%s in: %s", error.text, ceremony.last_out);
    return value;
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    ck_assert_msg(text != NULL, "no %s in: %s", key, ceremony.last_out);
    return text;
}

static size_t waiting(void)
{
    CTL(0, NULL, conf, "--json", "tmk", "waiting");
    json_t *list = last_json();
    size_t count = json_array_size(list);

    json_decref(list);
    return count;
}

/* The TMK of algorithm name, with n as its first byte, under zmk; its KCV. */
static const char *wrapped(const char *name, uint8_t n, int padded, char kcv[KL_KCV_TEXT])
{
    static char hex[4][2 * 64 + 1];
    static int next;
    uint8_t key[32], out[64];
    size_t len = alg(name)->key_len;

    memcpy(key, tmk, sizeof(key));
    key[0] = n;
    keywrap_kcv_text(alg(name), key, kcv);
    next = (next + 1) % 4;
    return keywrap_hex(out, keywrap_aes(zmk, sizeof(zmk), padded, key, len, out), hex[next]);
}

#define IMPORT(status, words, serial, name, hex, kcv, ...) \
    CTL(status, words, conf, "tmk", "import", serial, "--algorithm", name, "--cryptogram", hex, \
        "--kcv", kcv, __VA_ARGS__)

/* ---- One ---- */

START_TEST(under_a_zone_key)
{
    char kcv[KL_KCV_TEXT], other[KL_KCV_TEXT], bad[80];
    const char *hex = wrapped("tdes2", 0x13, 0, kcv), *second;

    IMPORT(0, "1 of what waits is for terminals that do not prove", "T1", "tdes2", hex, kcv,
           "--under-zmk", "zin", "--json");
    json_t *made = last_json();
    ck_assert_str_eq(text_at(made, "origin"), "zmk:zin");
    ck_assert_str_eq(text_at(made, "kcv"), kcv);
    json_decref(made);
    CTL(0, NULL, conf, "terminal", "accept-imported", "T1");
    IMPORT(0, NULL, "T1", "tdes2", hex, kcv, "--under-zmk", "zin"); /* again */
    ck_assert_ptr_null(strstr(ceremony.last_err, "what waits"));
    CTL(0, NULL, conf, "terminal", "accept-imported", "T1", "--no");
    ck_assert_uint_eq(waiting(), 1);
    /* Nobody else's, and another only in its place. */
    IMPORT(77, "T1", "T2", "tdes2", hex, kcv, "--under-zmk", "zin");
    second = wrapped("tdes2", 0x15, 1, other);
    IMPORT(73, "--replace", "T1", "tdes2", second, other, "--under-zmk", "zin", "--wrap", "kwp");
    IMPORT(0, NULL, "T1", "tdes2", second, other, "--under-zmk", "zin", "--wrap", "kwp",
           "--replace");
    ck_assert_uint_eq(waiting(), 1);
    IMPORT(76, "the key has KCV", "T2", "tdes2", hex, other, "--under-zmk", "zin");
    IMPORT(65, "a KCV must have", "T2", "tdes2", hex, "12345", "--under-zmk", "zin");
    IMPORT(65, "hex digits", "T2", "tdes2", "12x4", kcv, "--under-zmk", "zin");
    IMPORT(65, "hex digits", "T2", "tdes2", "", kcv, "--under-zmk", "zin");
    IMPORT(65, "hex digits", "T2", "tdes2", "123", kcv, "--under-zmk", "zin");
    snprintf(bad, sizeof(bad), "%.40s", hex);
    IMPORT(65, "has 20 bytes", "T2", "tdes2", bad, kcv, "--under-zmk", "zin");
    snprintf(bad, sizeof(bad), "%s", hex);
    bad[3] = bad[3] == '0' ? '1' : '0';
    IMPORT(76, "cannot be unwrapped", "T2", "tdes2", bad, kcv, "--under-zmk", "zin");
    IMPORT(76, "cannot be unwrapped", "T2", "tdes2", hex, kcv, "--under-zmk", "zin", "--wrap",
           "kwp");
    IMPORT(69, "zone key for import \"zout\"", "T2", "tdes2", hex, kcv, "--under-zmk", "zout");
    IMPORT(69, "not on the token", "T2", "tdes2", hex, kcv, "--under-zmk", "none");
    IMPORT(66, "T9", "T9", "tdes2", hex, kcv, "--under-zmk", "zin");
    IMPORT(65, "registered with tdes2", "T2", "aes128", hex, kcv, "--under-zmk", "zin");
    IMPORT(65, "must be tdes2", "T2", "des", hex, kcv, "--under-zmk", "zin");
    /* An AES-128 key carries no AES-256 one, unless nobody minds. */
    hex = wrapped("aes256", 0x13, 0, kcv);
    IMPORT(77, "AES-128", "T5", "aes256", hex, kcv, "--under-zmk", "zin");
    CTL(0, "warning", conf_warn, "tmk", "import", "T5", "--algorithm", "aes256", "--cryptogram",
        hex, "--kcv", kcv, "--under-zmk", "zin");
    ck_assert_uint_eq(waiting(), 2);
}
END_TEST

START_TEST(under_a_transport_key)
{
    char path[PATH_MAX], hex[1025], kcv[KL_KCV_TEXT];
    uint8_t out[KL_RSA_MAX];
    size_t len = 0;
    EVP_PKEY *key;
    FILE *f;

    CTL(0, NULL, conf, "transport", "generate", "--label", "t", "--key", "rsa-2048");
    CTL(0, NULL, conf, "transport", "show", "--label", "t", "--out", ceremony_path(path, "t.pem"));
    f = fopen(path, "re");
    key = PEM_read_PUBKEY(f, NULL, NULL, NULL);
    fclose(f);
    ck_assert_int_eq(kl_rsa_oaep_encrypt(key, KL_OAEP_SHA1, tmk, 16, out, &len, &err), KL_OK);
    keywrap_hex(out, len, hex);
    keywrap_kcv_text(alg("tdes2"), tmk, kcv);
    IMPORT(0, NULL, "T1", "tdes2", hex, kcv, "--under-transport", "t", "--json");
    json_t *made = last_json();
    ck_assert_str_eq(text_at(made, "origin"), "transport:t");
    json_decref(made);
    hex[5] = hex[5] == '0' ? '1' : '0';
    IMPORT(76, "cannot be unwrapped", "T2", "tdes2", hex, kcv, "--under-transport", "t");
    hex[510] = '\0';
    IMPORT(65, "has 255 bytes", "T2", "tdes2", hex, kcv, "--under-transport", "t");
    IMPORT(69, "transport key \"none\"", "T2", "tdes2", hex, kcv, "--under-transport", "none");
    IMPORT(69, "transport key \"acquire-work\"", "T2", "tdes2", hex, kcv, "--under-transport",
           "acquire-work");
    /* A key of 24 bytes in the place of one of 16. */
    ck_assert_int_eq(kl_rsa_oaep_encrypt(key, KL_OAEP_SHA1, tmk, 24, out, &len, &err), KL_OK);
    IMPORT(65, "the key has 24 bytes", "T2", "tdes2", keywrap_hex(out, len, hex), kcv,
           "--under-transport", "t");
    ck_assert_uint_eq(waiting(), 1);
    EVP_PKEY_free(key);
}
END_TEST

START_TEST(in_components)
{
    const struct kl_alg_info *tdes = alg("tdes2");
    char a[PATH_MAX + 8], b[PATH_MAX + 8], even[PATH_MAX + 8], kcvs[3][KL_KCV_TEXT];
    uint8_t value[16];

    ceremony_secret_file("a", A "\n", 0600, a);
    ceremony_secret_file("b", B "\n", 0600, b);
    ck_assert(OPENSSL_hexstr2buf_ex(value, 16, NULL, A, '\0'));
    keywrap_kcv_text(tdes, value, kcvs[0]);
    ck_assert(OPENSSL_hexstr2buf_ex(value, 16, NULL, B, '\0'));
    keywrap_kcv_text(tdes, value, kcvs[1]);
    keywrap_kcv_text(tdes, zmk, kcvs[2]);
#define TYPED(status, words, serial, one, other, ...) \
    CTL(status, words, conf, "tmk", "import", serial, "--algorithm", "tdes2", "--components", "2", \
        "--component", one, "--component", other, "--component-kcv", kcvs[0], "--component-kcv", \
        kcvs[1], __VA_ARGS__)
    TYPED(0, NULL, "T1", a, b, "--kcv", kcvs[2], "--json");
    json_t *made = last_json();
    ck_assert_str_eq(text_at(made, "origin"), "components");
    ck_assert_str_eq(text_at(made, "kcv"), kcvs[2]);
    json_decref(made);
    TYPED(76, "the key: has KCV", "T2", a, b, "--kcv", kcvs[1]);
    TYPED(76, "component 1: has KCV", "T2", b, a, "--kcv", kcvs[2]);
    TYPED(66, "T9", "T9", a, b, "--kcv", kcvs[2]);
    TYPED(77, "T1", "T2", a, b, "--kcv", kcvs[2]); /* the same key for another terminal */
    ceremony_secret_file("even", "0022446688AACCEEFFDDBB9977553311\n", 0600, even);
    TYPED(65, "odd parity", "T2", even, b, "--kcv", kcvs[2]);
    TYPED(77, "T1", "T2", even, b, "--kcv", kcvs[2], "--parity", "ignore"); /* is that very key */
    TYPED(0, NULL, "T1", even, b, "--kcv", kcvs[2], "--parity", "ignore");
    TYPED(64, "exclude", "T2", a, b, "--under-zmk", "zin");
    TYPED(64, "exclude", "T2", a, b, "--csv", "x");
    TYPED(64, "--parity", "T2", a, b, "--parity", "even");
    ck_assert_uint_eq(waiting(), 1);
}
END_TEST

START_TEST(command_lines)
{
    static const struct {
        const char *says, *args[10];
    } lines[] = {
        {"is missing", {"T1", "--algorithm", "tdes2"}},
        {"--cryptogram is missing", {"T1", "--algorithm", "tdes2", "--under-zmk", "zin"}},
        {"--kcv is missing",
         {"T1", "--algorithm", "tdes2", "--under-zmk", "zin", "--cryptogram", "00"}},
        {"--algorithm is missing", {"T1", "--under-zmk", "zin", "--cryptogram", "00"}},
        {"exclude each other",
         {"T1", "--algorithm", "tdes2", "--under-zmk", "zin", "--under-transport", "t"}},
        {"--wrap goes with", {"T1", "--under-transport", "t", "--wrap", "kw"}},
        {"--wrap: 'aes'", {"T1", "--under-zmk", "zin", "--wrap", "aes"}},
        {"--csv has", {"--csv", "x", "--under-zmk", "zin", "--kcv", "001122"}},
        {"--keep-going goes with", {"T1", "--under-zmk", "zin", "--keep-going"}},
        {"--parity goes with", {"T1", "--under-zmk", "zin", "--parity", "ignore"}},
        {"--components is missing", {"T1", "--component-kcv", "001122"}},
        {"is missing", {"--csv", "x"}},
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *argv[16] = {ceremony_program("keyloaderctl"), "-c", conf, "tmk", "import"};

        memcpy(argv + 5, lines[i].args, sizeof(lines[i].args));
        ceremony_must_end(64, lines[i].says, ceremony.loader_env, argv);
    }
}
END_TEST

/* ---- Many ---- */

static char csv_path[PATH_MAX];

static FILE *csv_begin(void)
{
    FILE *f = fopen(ceremony_path(csv_path, "tmks.csv"), "we");

    ck_assert_ptr_nonnull(f);
    fprintf(f, "serial,algorithm,cryptogram,kcv\n");
    return f;
}

static void csv_row(FILE *f, const char *serial, uint8_t n)
{
    char kcv[KL_KCV_TEXT];
    const char *hex = wrapped("tdes2", n, 0, kcv);

    fprintf(f, "%s,tdes2,%s,%s\n", serial, hex, kcv);
}

#define CSV(status, words, ...) \
    CTL(status, words, conf, "tmk", "import", "--csv", csv_path, "--under-zmk", "zin", __VA_ARGS__)

START_TEST(a_file_of_them)
{
    FILE *f = csv_begin();

    csv_row(f, "T1", 0x13);
    csv_row(f, "T2", 0x15);
    csv_row(f, "T3", 0x16);
    fclose(f);
    CSV(0, "3 of what waits", "--json");
    json_t *report = last_json();
    ck_assert_int_eq(json_integer_value(json_object_get(report, "imported")), 3);
    ck_assert_int_eq(json_integer_value(json_object_get(report, "refused")), 0);
    json_decref(report);
    ck_assert_uint_eq(waiting(), 3);
    CSV(0, NULL, "--json"); /* again: nothing changes */
    ck_assert_uint_eq(waiting(), 3);
    f = csv_begin();
    csv_row(f, "T1", 0x19);
    fclose(f);
    CSV(65, "line 2: ", "--json");
    CSV(0, NULL, "--replace");
}
END_TEST

START_TEST(a_file_with_bad_rows)
{
    char kcv[KL_KCV_TEXT];
    const char *hex;
    FILE *f = csv_begin();

    csv_row(f, "T1", 0x13); /* line 2 */
    hex = wrapped("tdes2", 0x15, 0, kcv);
    fprintf(f, "T2,tdes2,%s,000000\n", hex);     /* 3 */
    fprintf(f, "T3,tdes2,%.20s,%s\n", hex, kcv); /* 4 */
    fprintf(f, "T3,tdes7,%s,%s\n", hex, kcv);    /* 5 */
    csv_row(f, "T9", 0x16);                      /* 6 */
    fprintf(f, "T4,tdes2,%s\n", hex);            /* 7 */
    fprintf(f, ",tdes2,%s,%s\n", hex, kcv);      /* 8 */
    hex = wrapped("aes256", 0x13, 0, kcv);
    fprintf(f, "T5,aes256,%s,%s\n", hex, kcv); /* 9 */
    fclose(f);
    CSV(65, "nothing was imported", "--json");
    for (int line = 3; line <= 9; line++) {
        char what[24];

        snprintf(what, sizeof(what), "line %d: ", line);
        ck_assert_msg(strstr(ceremony.last_err, what) != NULL, "%s", ceremony.last_err);
    }
    ck_assert_ptr_null(strstr(ceremony.last_err, "line 2: "));
    ck_assert_uint_eq(waiting(), 0);
    CSV(65, "7 of 8 rows were not imported", "--json", "--keep-going");
    json_t *report = last_json();
    ck_assert_int_eq(json_integer_value(json_object_get(report, "imported")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(report, "refused")), 7);
    json_decref(report);
    ck_assert_uint_eq(waiting(), 1);
}
END_TEST

START_TEST(a_file_with_doubles)
{
    FILE *f = csv_begin();

    csv_row(f, "T1", 0x13);
    csv_row(f, "T2", 0x15);
    csv_row(f, "T1", 0x16); /* which one? */
    csv_row(f, "T3", 0x19);
    csv_row(f, "T4", 0x19); /* the same key for two */
    fclose(f);
    CSV(65, "line 4: serial T1 stands in line 2 already", "--json");
    ck_assert_uint_eq(waiting(), 0);
    CSV(65, "3 of 5 rows", "--json", "--keep-going");
    CTL(0, NULL, conf, "--json", "tmk", "waiting");
    json_t *list = last_json();
    ck_assert_uint_eq(json_array_size(list), 2);
    ck_assert_str_eq(text_at(json_array_get(list, 0), "serial"), "T2");
    ck_assert_str_eq(text_at(json_array_get(list, 1), "serial"), "T3");
    json_decref(list);
}
END_TEST

/* Files that no row can be had from: nothing is imported, whatever was asked for. */
START_TEST(hostile_files)
{
    static const struct {
        const char *text;
        size_t len; /* 0 = strlen */
        const char *says;
    } files[] = {
        {"", 0, "header"},
        {"serial,algorithm,kcv,cryptogram\n", 0, "header"},
        {"serial,algorithm,cryptogram\n", 0, "header"},
        {"T1,tdes2,00,112233\n", 0, "header"},
        {"serial,algorithm,cryptogram,kcv\nT1,\"tdes2,00,112233\n", 0, "line 2: "},
        {"serial,algorithm,cryptogram,kcv\nT1,td\"es2,00,112233\n", 0, "line 2: "},
        {"serial,algorithm,cryptogram,kcv\nT1,tdes2,00,11\000233\n", 51, "line 2: "},
        {"serial,algorithm,cryptogram,kcv\nT1,tdes2,0,0,0,0,0,0,0,0,0\n", 0, "line 2: "},
    };
    char *big;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        file_write(ceremony_path(csv_path, "hostile.csv"), files[i].text,
                   files[i].len ? files[i].len : strlen(files[i].text), 0600);
        CSV(65, files[i].says, "--keep-going");
    }
    big = malloc(1 << 20);
    ck_assert_ptr_nonnull(big);
    memset(big, '0', 1 << 20);
    memcpy(big, "serial,algorithm,cryptogram,kcv\n", 32);
    file_write(csv_path, big, 1 << 20, 0600);
    free(big);
    CSV(65, "line 2: ", "--keep-going");
    ck_assert_int_eq(truncate(csv_path, 1L << 30), 0);
    CSV(65, "hostile.csv", "--keep-going");
    CTL(66, "none.csv", conf, "tmk", "import", "--csv", "/none.csv", "--under-zmk", "zin");
    ck_assert_uint_eq(waiting(), 0);
}
END_TEST

/* Only the first faults are told one by one. */
START_TEST(many_bad_rows)
{
    FILE *f = csv_begin();

    for (int i = 0; i < 50; i++) {
        fprintf(f, "B%d,tdes2,00,112233\n", i);
    }
    fclose(f);
    CSV(65, "50 of 50 rows are bad", "--json");
    ck_assert_ptr_nonnull(strstr(ceremony.last_err, "line 21: "));
    ck_assert_ptr_null(strstr(ceremony.last_err, "line 22: "));
    ck_assert_ptr_nonnull(strstr(ceremony.last_err, "there is more wrong"));
}
END_TEST

/* ---- Out ---- */

#define OK(call) ck_assert_msg((call) == KL_OK, "%s", err.text)

/* Binds a key to T1, as a load or a sign-in would. */
static void bind(struct kl_stored_key *key, enum kl_binding_kind kind, uint32_t version)
{
    const struct kl_binding_of what = {kind, "T1", version, key};
    CK_OBJECT_HANDLE binding;
    struct kl_config config;
    struct kl_hsm *hsm = NULL;

    ck_assert_int_eq(setenv("SOFTHSM2_CONF", strchr(ceremony.loader_env, '=') + 1, 1), 0);
    OK(kl_config_load(conf, &config, &err));
    const struct kl_hsm_where where = kl_config_hsm(&config, 0);
    OK(kl_hsm_open(&where, 0, &hsm, &err));
    OK(kl_binding_key_find(kl_hsm_session(hsm), config.binding_key, &binding, &err));
    OK(kl_binding_compute(kl_hsm_session(hsm), binding, &what, key->binding, &err));
    kl_hsm_free(hsm);
    kl_config_wipe(&config);
}

/* Makes T1's waiting TMK its TMK of that version and state, as a load would. */
static void loaded(uint32_t version, enum kl_tmk_state state)
{
    char path[PATH_MAX];
    struct kl_store *store = NULL;
    struct kl_import import;
    struct kl_tmk row = {.serial = "T1",
                         .pinpad_serial = "P1",
                         .version = version,
                         .state = KL_TMK_PENDING,
                         .alg = KL_ALG_TDES2,
                         .created = 1000,
                         .expires = 2000};

    OK(kl_store_open(ceremony_path(path, "loader.db"), KL_STORE_WRITE, &store, &err));
    OK(kl_store_begin(store, &err));
    OK(kl_store_import_get(store, "T1", &import, &err));
    row.cryptogram_len = import.key.cryptogram_len;
    memcpy(row.cryptogram, import.key.cryptogram, row.cryptogram_len);
    row.kcv_len = import.key.kcv_len;
    memcpy(row.kcv, import.key.kcv, row.kcv_len);
    bind(&import.key, KL_BINDING_TMK, version);
    memcpy(row.binding, import.key.binding, sizeof(row.binding));
    OK(kl_store_tmk_add(store, &row, &err));
    if (state != KL_TMK_PENDING) {
        OK(kl_store_tmk_set_state(store, "T1", version, state, 1500, 0, &err));
    }
    OK(kl_store_import_remove(store, "T1", &err));
    OK(kl_store_commit(store, &err));
    kl_store_free(store);
}

START_TEST(out_under_a_zone_key_and_in_again)
{
    char kcv[KL_KCV_TEXT], plain[128], padded[128];
    const char *hex = wrapped("tdes2", 0x13, 0, kcv);

    snprintf(plain, sizeof(plain), "%s", hex);
    snprintf(padded, sizeof(padded), "%s", wrapped("tdes2", 0x13, 1, kcv));
    IMPORT(0, NULL, "T1", "tdes2", hex, kcv, "--under-zmk", "zin");
    CTL(66, "no active TMK", conf, "tmk", "export", "T1", "--under-zmk", "zout");
    loaded(1, KL_TMK_ACTIVE);
    CTL(0, NULL, conf, "--json", "tmk", "export", "T1", "--under-zmk", "zout");
    json_t *out = last_json();
    ck_assert_str_eq(text_at(out, "cryptogram"), plain);
    ck_assert_str_eq(text_at(out, "kcv"), kcv);
    ck_assert_str_eq(text_at(out, "method"), "kw");
    ck_assert_int_eq(json_integer_value(json_object_get(out, "version")), 1);
    json_decref(out);
    CTL(0, NULL, conf, "--json", "tmk", "export", "T1", "--under-zmk", "zout", "--wrap", "kwp",
        "--version", "1");
    out = last_json();
    ck_assert_str_eq(text_at(out, "cryptogram"), padded);
    /* What went out comes in as the key that is there already. */
    IMPORT(0, NULL, "T1", "tdes2", text_at(out, "cryptogram"), kcv, "--under-zmk", "zin", "--wrap",
           "kwp");
    json_decref(out);
    /* Both have been recorded, never the cryptogram. */
    CTL(0, NULL, conf, "--json", "audit", "list");
    ck_assert_ptr_nonnull(strstr(ceremony.last_out, "key-exported"));
    ck_assert_ptr_nonnull(strstr(ceremony.last_out, "zmk:zout"));
    ck_assert_ptr_null(strstr(ceremony.last_out, plain));
    ck_assert_ptr_null(strstr(ceremony.last_out, padded));

    CTL(69, "zone key for export \"zin\"", conf, "tmk", "export", "T1", "--under-zmk", "zin");
    CTL(66, "T9", conf, "tmk", "export", "T9", "--under-zmk", "zout");
    CTL(66, NULL, conf, "tmk", "export", "T1", "--under-zmk", "zout", "--version", "7");
    CTL(66, NULL, conf, "tmk", "export", "T1", "--under-zmk", "zout", "--key", "pik");
    CTL(64, "--version goes with", conf, "tmk", "export", "T1", "--under-zmk", "zout", "--key",
        "mak", "--version", "1");
    CTL(64, "--key", conf, "tmk", "export", "T1", "--under-zmk", "zout", "--key", "kek");
    CTL(64, "must be given", conf, "tmk", "export", "T1");
    CTL(64, "go together", conf, "tmk", "export", "T1", "--under-cert", "x");
    CTL(64, "must be given", conf, "tmk", "export", "T1", "--under-cert", "x", "--under-zmk",
        "zout");
}
END_TEST

START_TEST(working_keys_go_out)
{
    char path[PATH_MAX], kcv[KL_KCV_TEXT], pik_kcv[KL_KCV_TEXT], plain[128];
    const char *hex = wrapped("tdes2", 0x13, 0, kcv);
    struct kl_working working = {.serial = "T1", .tmk_version = 1, .created = 1500};
    struct kl_store *store = NULL;
    struct kl_import import;

    /* What comes in as another terminal's TMK serves as PIK. */
    IMPORT(0, NULL, "T1", "tdes2", hex, kcv, "--under-zmk", "zin");
    loaded(1, KL_TMK_ACTIVE);
    snprintf(plain, sizeof(plain), "%s", wrapped("tdes2", 0x15, 0, pik_kcv));
    IMPORT(0, NULL, "T2", "tdes2", plain, pik_kcv, "--under-zmk", "zin");
    OK(kl_store_open(ceremony_path(path, "loader.db"), KL_STORE_WRITE, &store, &err));
    OK(kl_store_begin(store, &err));
    OK(kl_store_import_get(store, "T2", &import, &err));
    working.pik = working.mak = import.key;
    bind(&working.pik, KL_BINDING_PIK, 1);
    bind(&working.mak, KL_BINDING_MAK, 1);
    OK(kl_store_working_put(store, &working, &err));
    OK(kl_store_commit(store, &err));
    kl_store_free(store);
    for (int i = 0; i < 2; i++) {
        const char *which = i ? "mak" : "pik";

        CTL(0, NULL, conf, "--json", "tmk", "export", "T1", "--under-zmk", "zout", "--key", which);
        json_t *out = last_json();
        ck_assert_str_eq(text_at(out, "key"), which);
        ck_assert_str_eq(text_at(out, "kcv"), pik_kcv);
        ck_assert_str_eq(text_at(out, "cryptogram"), plain);
        json_decref(out);
    }
    CTL(0, NULL, conf, "audit", "list");
    ck_assert_ptr_nonnull(strstr(ceremony.last_out, "key=pik"));
    ck_assert_ptr_nonnull(strstr(ceremony.last_out, "key=mak"));
}
END_TEST

START_TEST(only_what_is_in_use_goes_out)
{
    char kcv[KL_KCV_TEXT];
    const char *hex = wrapped("tdes2", 0x13, 0, kcv);

    IMPORT(0, NULL, "T1", "tdes2", hex, kcv, "--under-zmk", "zin");
    loaded(1, KL_TMK_PENDING);
    CTL(77, "is pending", conf, "tmk", "export", "T1", "--under-zmk", "zout", "--version", "1");
    CTL(66, "no active TMK", conf, "tmk", "export", "T1", "--under-zmk", "zout");
    CTL(0, NULL, conf, "tmk", "revoke", "T1", "--reason", "test");
    CTL(77, "is revoked", conf, "tmk", "export", "T1", "--under-zmk", "zout", "--version", "1");
    CTL(0, NULL, conf, "audit", "list");
    ck_assert_ptr_null(strstr(ceremony.last_out, "key-exported"));
}
END_TEST

/* A host's certificate, from `from` to `until` seconds from now. */
static void host_cert(const char *name, EVP_PKEY *key, long from, long until, const char *usage,
                      char path[PATH_MAX])
{
    X509 *cert = X509_new();
    FILE *f = fopen(ceremony_path(path, name), "we");

    ck_assert(X509_set_version(cert, X509_VERSION_3) && X509_set_pubkey(cert, key));
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"Host", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_gmtime_adj(X509_getm_notBefore(cert), from);
    X509_gmtime_adj(X509_getm_notAfter(cert), until);
    if (usage) {
        X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, usage);

        ck_assert(X509_add_ext(cert, ext, -1));
        X509_EXTENSION_free(ext);
    }
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    ck_assert(f && PEM_write_X509(f, cert));
    fclose(f);
    X509_free(cert);
}

START_TEST(out_under_a_hosts_certificate)
{
    EVP_PKEY *key = EVP_RSA_gen(2048), *curve = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    char good[PATH_MAX], late[PATH_MAX], early[PATH_MAX], signs[PATH_MAX], ec[PATH_MAX];
    char kcv[KL_KCV_TEXT], print[KL_FINGERPRINT_TEXT], ec_print[KL_FINGERPRINT_TEXT];
    const char *hex = wrapped("tdes2", 0x13, 0, kcv);
    uint8_t in[KL_RSA_MAX], opened[KL_RSA_MAX];
    size_t len = 0, opened_len = sizeof(opened);

    host_cert("good.crt", key, -60, 3600, "critical,keyEncipherment", good);
    host_cert("late.crt", key, -7200, -3600, NULL, late);
    host_cert("early.crt", key, 3600, 7200, NULL, early);
    host_cert("signs.crt", key, -60, 3600, "digitalSignature", signs);
    host_cert("ec.crt", curve, -60, 3600, NULL, ec);
    OK(kl_pubkey_fingerprint(key, print, &err));
    OK(kl_pubkey_fingerprint(curve, ec_print, &err));
    IMPORT(0, NULL, "T1", "tdes2", hex, kcv, "--under-zmk", "zin");
    loaded(1, KL_TMK_ACTIVE);
#define EXPORT(status, words, cert, fingerprint) \
    CTL(status, words, conf, "--json", "tmk", "export", "T1", "--under-cert", cert, \
        "--fingerprint", fingerprint)
    EXPORT(76, "not the --fingerprint", good, ec_print);
    EXPORT(76, "not the --fingerprint", good, "00");
    EXPORT(76, "not valid now", late, print);
    EXPORT(76, "not valid now", early, print);
    EXPORT(76, "keyEncipherment", signs, print);
    EXPORT(76, "must be RSA", ec, ec_print);
    EXPORT(66, NULL, "/none.crt", print);
    CTL(0, NULL, conf, "audit", "list");
    ck_assert_ptr_null(strstr(ceremony.last_out, "key-exported"));
    EXPORT(0, NULL, good, print);
    json_t *out = last_json();
    ck_assert_str_eq(text_at(out, "method"), "oaep-sha1"); /* SoftHSM 2.6 does no other */
    ck_assert(OPENSSL_hexstr2buf_ex(in, sizeof(in), &len, text_at(out, "cryptogram"), '\0'));
    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_decrypt(ctx, opened, &opened_len, in, len), 1);
    ck_assert_uint_eq(opened_len, 16);
    ck_assert_mem_eq(opened, tmk, 16);
    json_decref(out);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(curve);
    EVP_PKEY_free(key);
}
END_TEST

/* No key, component or PIN stands in what the programs have said. */
static void has_no_key(const char *path, void *arg)
{
    char *text = file_read(path, NULL), hex[65];

    (void)arg;
    keywrap_hex(tmk, 16, hex);
    ck_assert_msg(!strstr(text, A) && !strstr(text, B) && !strstr(text, hex) && !strstr(text, PIN),
                  "a secret stands in %s", path);
    keywrap_hex(zmk, 16, hex);
    ck_assert_msg(!strstr(text, hex), "the zone key stands in %s", path);
    free(text);
}

static void abandon(void)
{
    file_walk(ceremony.logs, has_no_key, NULL);
    ceremony_abandon();
}

static Suite *tmk_suite(void)
{
    Suite *suite = suite_create("tmk import");
    TCase *tmks = tcase_create("tmks");

    tcase_add_checked_fixture(tmks, found, abandon);
    tcase_set_timeout(tmks, 180);
    tcase_add_test(tmks, under_a_zone_key);
    tcase_add_test(tmks, under_a_transport_key);
    tcase_add_test(tmks, in_components);
    tcase_add_test(tmks, command_lines);
    tcase_add_test(tmks, a_file_of_them);
    tcase_add_test(tmks, a_file_with_bad_rows);
    tcase_add_test(tmks, a_file_with_doubles);
    tcase_add_test(tmks, hostile_files);
    tcase_add_test(tmks, many_bad_rows);
    tcase_add_test(tmks, out_under_a_zone_key_and_in_again);
    tcase_add_test(tmks, working_keys_go_out);
    tcase_add_test(tmks, only_what_is_in_use_goes_out);
    tcase_add_test(tmks, out_under_a_hosts_certificate);
    suite_add_tcase(suite, tmks);
    return suite;
}

int main(void)
{
    return test_run(tmk_suite());
}
