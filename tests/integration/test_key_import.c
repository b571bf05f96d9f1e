/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl's keys by the real program: work keys of every suite, generated and imported;
 * transport keys; zone keys from components in files and typed at a terminal.
 */
#include <check.h>
#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "proto/alg.h"
#include "tests/support/ceremony.h"
#include "tests/support/hsm.h"
#include "tests/support/keywrap.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#define A "0123456789ABCDEFFEDCBA9876543210"
#define B "1058A42C46E3F8A1CE3BB5A87F0B9D51"

static char conf[PATH_MAX];

static void found(void)
{
    ceremony_ground();
    ceremony_plain_config(conf, "loader");
    CTL(0, NULL, conf, "token", "init", "--so-pin-source", ceremony.so_source);
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

/* ---- Work keys ---- */

START_TEST(work_keys_of_every_suite)
{
    static const struct {
        const char *option, *value, *label, *suite, *key;
    } keys[] = {
        {"--suite", "hardened-ec", "e256", "hardened-ec", "P-256"},
        {"--key", "p-384", "e384", "hardened-ec", "P-384"},
        {"--key", "P521", "e521", "hardened-ec", "P-521"},
        {"--suite", "classic", "c", "classic", "RSA-3072"},
        {"--key", "rsa-2048", "r", "hardened-rsa", "RSA-2048"},
    };
    char request[PATH_MAX];

    for (int i = 0; i < 5; i++) {
        CTL(0, NULL, conf, "--json", "key", "generate", "--label", keys[i].label, keys[i].option,
            keys[i].value);
        json_t *made = last_json();
        ck_assert_str_eq(text_at(made, "suite"), keys[i].suite);
        ck_assert_str_eq(text_at(made, "key"), keys[i].key);
        ck_assert_int_eq(json_is_true(json_object_get(made, "storage_key_made")), i == 0);
        ck_assert_int_eq(json_is_true(json_object_get(made, "binding_key_made")), i == 0);
        json_decref(made);
        CTL(0, NULL, conf, "key", "show", "--label", keys[i].label);
        CTL(0, NULL, conf, "key", "csr", "--label", keys[i].label, "--subject", "CN=x", "--out",
            ceremony_path(request, keys[i].label));
    }
    CTL(0, "does not list classic", conf, "key", "generate", "--label", "c2", "--suite", "classic",
        "--key", "rsa-2048");
    CTL(0, NULL, conf, "--json", "key", "list");
    json_t *list = last_json();
    ck_assert_uint_eq(json_array_size(list), 6);
    json_decref(list);
    CTL(73, "--replace", conf, "key", "generate", "--label", "r");
    CTL(65, "must be RSA", conf, "key", "generate", "--label", "x", "--suite", "classic", "--key",
        "p-256");
    CTL(65, "must be EC", conf, "key", "generate", "--label", "x", "--suite", "hardened-ec",
        "--key", "rsa-3072");
    CTL(64, "--suite", conf, "key", "generate", "--suite", "hardened");
    CTL(64, "--key", conf, "key", "generate", "--key", "p-192");
    CTL(65, "label", conf, "key", "generate", "--label", "../x");
    CTL(69, "not on the token", conf, "key", "csr", "--label", "none", "--subject", "CN=x", "--out",
        "-");
}
END_TEST

static void write_key(const char *name, EVP_PKEY *key, const char *passphrase, char path[PATH_MAX])
{
    FILE *f = fopen(ceremony_path(path, name), "we");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(PEM_write_PKCS8PrivateKey(f, key, passphrase ? EVP_aes_256_cbc() : NULL,
                                               passphrase, passphrase ? (int)strlen(passphrase) : 0,
                                               NULL, NULL),
                     1);
    ck_assert_int_eq(fclose(f), 0);
    EVP_PKEY_free(key);
}

START_TEST(a_work_key_is_imported)
{
    char file[PATH_MAX], clear[PATH_MAX], small[PATH_MAX], curve[PATH_MAX], other[PATH_MAX + 8];
    char *text;
    size_t len = 0;

    write_key("rsa.pem", EVP_RSA_gen(2048), PASSPHRASE, file);
    write_key("clear.pem", EVP_RSA_gen(2048), NULL, clear);
    write_key("small.pem", EVP_RSA_gen(1024), PASSPHRASE, small);
    write_key("curve.pem", EVP_EC_gen("P-384"), PASSPHRASE, curve);
    ceremony_secret_file("other", WRONG_PIN "\n", 0600, other);

    CTL(77, "the passphrase does not open it", conf, "key", "import", file, "--passphrase-source",
        other);
    CTL(65, "openssl pkcs8 -topk8", conf, "key", "import", clear, "--passphrase-source",
        ceremony.pass_source);
    CTL(65, "2048, 3072 or 4096", conf, "key", "import", small, "--passphrase-source",
        ceremony.pass_source);
    CTL(65, "must be EC", conf, "key", "import", file, "--suite", "hardened-ec",
        "--passphrase-source", ceremony.pass_source);
    CTL(65, "must be RSA", conf, "key", "import", curve, "--suite", "classic",
        "--passphrase-source", ceremony.pass_source);
    CTL(66, "no-such", conf, "key", "import", "/no-such-file", "--passphrase-source",
        ceremony.pass_source);
    CTL(78, "passphrase source", conf, "key", "import", file, "--passphrase-source", PASSPHRASE);
    text = file_read(file, &len);
    file_write(ceremony_path(small, "cut.pem"), text, len / 2, 0600);
    free(text);
    CTL(65, "not a whole PEM file", conf, "key", "import", small, "--passphrase-source",
        ceremony.pass_source);

    CTL(0, NULL, conf, "--json", "key", "import", file, "--passphrase-source",
        ceremony.pass_source);
    json_t *made = last_json();
    ck_assert_str_eq(text_at(made, "suite"), "hardened-rsa");
    ck_assert_str_eq(text_at(made, "key"), "RSA-2048");
    json_decref(made);
    CTL(0, NULL, conf, "key", "import", curve, "--label", "e", "--passphrase-source",
        ceremony.pass_source);
    CTL(73, "under another label", conf, "key", "import", file, "--label", "again",
        "--passphrase-source", ceremony.pass_source);
    CTL(73, "already", conf, "key", "import", file, "--passphrase-source", ceremony.pass_source);
    CTL(0, NULL, conf, "key", "csr", "--label", "e", "--subject", "CN=x", "--out", "-");
    CTL(0, NULL, conf, "key", "csr", "--subject", "CN=x", "--out", "-");
}
END_TEST

/* ---- Transport keys ---- */

START_TEST(transport_keys)
{
    char path[PATH_MAX], *text;
    EVP_PKEY *key;
    FILE *f;

    CTL(64, "--label is missing", conf, "transport", "generate");
    CTL(65, "must be RSA", conf, "transport", "generate", "--label", "t", "--key", "p-256");
    CTL(0, NULL, conf, "--json", "transport", "generate", "--label", "t", "--key", "rsa-2048");
    json_t *made = last_json();
    ck_assert_str_eq(text_at(made, "key"), "RSA-2048");
    ck_assert_str_eq(text_at(made, "oaep_hash"), "sha1"); /* SoftHSM 2.6 takes no other */
    CTL(73, "already", conf, "transport", "generate", "--label", "t");
    CTL(0, NULL, conf, "--json", "transport", "show", "--label", "t", "--out",
        ceremony_path(path, "t.pem"));
    json_t *shown = last_json();
    ck_assert_str_eq(text_at(shown, "spki_sha256"), text_at(made, "spki_sha256"));
    CTL(73, "--force", conf, "transport", "show", "--label", "t", "--out", path);
    f = fopen(path, "re");
    key = PEM_read_PUBKEY(f, NULL, NULL, NULL);
    fclose(f);
    ck_assert_int_eq(EVP_PKEY_get_bits(key), 2048);
    EVP_PKEY_free(key);
    text = file_read(path, NULL);
    CTL(0, NULL, conf, "transport", "show", "--label", "t", "--out", "-");
    ck_assert_str_eq(ceremony.last_out, text);
    free(text);
    /* It is no work key, and a work key is not one; nor does one take the other's place. */
    CTL(69, "work key \"t\"", conf, "key", "show", "--label", "t");
    CTL(73, "is a transport key", conf, "key", "generate", "--label", "t", "--replace");
    CTL(0, NULL, conf, "key", "generate", "--label", "w", "--key", "rsa-2048");
    CTL(69, "transport key \"w\"", conf, "transport", "show", "--label", "w");
    json_decref(shown);
    json_decref(made);
}
END_TEST

/* ---- Zone keys ---- */

static char sources[3][PATH_MAX + 8], kcvs[3][KL_KCV_TEXT];
static const uint8_t a_value[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                  0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
static const uint8_t b_value[] = {0x10, 0x58, 0xa4, 0x2c, 0x46, 0xe3, 0xf8, 0xa1,
                                  0xce, 0x3b, 0xb5, 0xa8, 0x7f, 0x0b, 0x9d, 0x51};

/* A, B and the KCVs of both and of the key, as AES-128. */
static void components(void)
{
    const struct kl_alg_info *info = kl_alg_info(KL_ALG_AES128);
    uint8_t sum[16];

    for (int i = 0; i < 16; i++) {
        sum[i] = a_value[i] ^ b_value[i];
    }
    ceremony_secret_file("a", A "\n", 0600, sources[0]);
    ceremony_secret_file("b", B "\r\n", 0600, sources[1]);
    keywrap_kcv_text(info, a_value, kcvs[0]);
    keywrap_kcv_text(info, b_value, kcvs[1]);
    keywrap_kcv_text(info, sum, kcvs[2]);
}

#define ZMK(status, words, label, use, ...) \
    CTL(status, words, conf, "zmk", "import", "--label", label, "--for", use, "--algorithm", \
        "aes128", "--components", "2", "--component", sources[0], "--component", sources[1], \
        __VA_ARGS__)

START_TEST(zone_keys_from_files)
{
    char open[PATH_MAX + 8];

    components();
    ZMK(76, "component 2: has KCV", "z", "import", "--component-kcv", kcvs[0], "--component-kcv",
        kcvs[0], "--expect-kcv", kcvs[2]);
    ZMK(76, "the key: has KCV", "z", "import", "--component-kcv", kcvs[0], "--component-kcv",
        kcvs[1], "--expect-kcv", kcvs[0]);
    ZMK(78, "there is no terminal", "z", "import", "--component-kcv", kcvs[0], "--component-kcv",
        kcvs[1]);
    ZMK(64, "--component-kcv must be given 2 times", "z", "import", "--component-kcv", kcvs[0]);
    ZMK(64, "--component must be given 2 times", "z", "import", "--component", sources[0]);
    ZMK(64, "--for", "z", "both", "--component-kcv", kcvs[0], "--component-kcv", kcvs[1]);
    CTL(64, "--algorithm", conf, "zmk", "import", "--label", "z", "--for", "import", "--algorithm",
        "tdes2", "--components", "2");
    CTL(64, "--components", conf, "zmk", "import", "--label", "z", "--for", "import", "--algorithm",
        "aes128", "--components", "4");
    CTL(64, "--components is missing", conf, "zmk", "import", "--label", "z", "--for", "import",
        "--algorithm", "aes128");
    ceremony_secret_file("open", B "\n", 0644, open);
    CTL(77, "key component file", conf, "zmk", "import", "--label", "z", "--for", "import",
        "--algorithm", "aes128", "--components", "2", "--component", sources[0], "--component",
        open, "--component-kcv", kcvs[0], "--component-kcv", kcvs[1]);
    CTL(0, NULL, conf, "--json", "zmk", "list");
    ck_assert_str_eq(ceremony.last_out, "[]\n");

    ZMK(0, NULL, "zin", "import", "--component-kcv", kcvs[0], "--component-kcv", kcvs[1],
        "--expect-kcv", kcvs[2], "--json");
    json_t *made = last_json();
    ck_assert_str_eq(text_at(made, "kcv"), kcvs[2]);
    ck_assert_str_eq(text_at(made, "for"), "import");
    json_decref(made);
    ZMK(73, "already", "zin", "export", "--component-kcv", kcvs[0], "--component-kcv", kcvs[1],
        "--expect-kcv", kcvs[2]);
    ZMK(0, NULL, "zout", "export", "--component-kcv", kcvs[0], "--component-kcv", kcvs[1],
        "--expect-kcv", kcvs[2]);
    CTL(0, NULL, conf, "key", "generate", "--key", "rsa-2048"); /* the store's keys, too */
    CTL(0, NULL, conf, "--json", "zmk", "list");
    json_t *list = last_json();
    ck_assert_uint_eq(json_array_size(list), 2);
    ck_assert_str_eq(text_at(json_array_get(list, 0), "key"), "AES-128");
    json_decref(list);
    CTL(0, NULL, conf, "audit", "list");
    ck_assert_ptr_nonnull(strstr(ceremony.last_out, "zmk-imported"));
    ck_assert_ptr_nonnull(strstr(ceremony.last_out, kcvs[2]));
}
END_TEST

/* What cannot be recorded is not done. */
START_TEST(zone_keys_need_an_audit_trail)
{
    char other[PATH_MAX], *text = file_read(conf, NULL), *store;
    FILE *f = fopen(ceremony_path(other, "other.conf"), "we");

    components();
    store = strstr(text, "[store]");
    ck_assert(f != NULL && store != NULL);
    fprintf(f, "%.*s[store]\npath = %s/none/loader.db\n", (int)(store - text), text, ceremony.top);
    ck_assert_int_eq(fclose(f), 0);
    free(text);
    CTL(66, "none/loader.db", other, "zmk", "import", "--label", "z", "--for", "import",
        "--algorithm", "aes128", "--components", "2", "--component", sources[0], "--component",
        sources[1], "--component-kcv", kcvs[0], "--component-kcv", kcvs[1], "--expect-kcv",
        kcvs[2]);
    CTL(0, NULL, conf, "--json", "zmk", "list");
    ck_assert_str_eq(ceremony.last_out, "[]\n");
}
END_TEST

/* What stands on the terminal after the program has been given these lines. */
static char screen[8192];

/* A prompt stands there before echo is off. */
static void wait_for_no_echo(int fd)
{
    struct termios state;

    for (int i = 0; i < proc_seconds(5) * 100; i++) {
        ck_assert_int_eq(tcgetattr(fd, &state), 0);
        if (!(state.c_lflag & ECHO)) {
            return;
        }
        proc_sleep_ms(10);
    }
    ck_abort_msg("echo is on: %s", screen);
}

static int at_terminal(const char *const *lines, const char *const *argv)
{
    size_t shown = 0;
    int fd, status;
    ssize_t got;
    pid_t pid = forkpty(&fd, NULL, NULL, NULL);

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        putenv(ceremony.loader_env);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    for (;;) {
        got = read(fd, screen + shown, sizeof(screen) - 1 - shown);
        if (got <= 0) {
            break;
        }
        shown += (size_t)got;
        screen[shown] = '\0';
        if (shown > 1 && strcmp(screen + shown - 2, ": ") == 0 && *lines) {
            if (shown > 12 && strcmp(screen + shown - 12, "hex digits: ") == 0) {
                wait_for_no_echo(fd);
            }
            ck_assert_int_gt(write(fd, *lines, strlen(*lines)), 0);
            lines++;
        }
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    close(fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

START_TEST(zone_keys_typed)
{
    char first[16], second[16];
    const char *argv[] = {ceremony_program("keyloaderctl"),
                          "-c",
                          conf,
                          "zmk",
                          "import",
                          "--label",
                          "z",
                          "--for",
                          "export",
                          "--algorithm",
                          "aes128",
                          "--components",
                          "2",
                          NULL};
    const char *no[] = {A "\n", first, B "\n", second, "no\n", NULL};
    const char *mistyped[] = {A "0\n", A "\n", "000000\n", A "\n", first,
                              B "\n",  second, "yes\n",    NULL};
    const char *hopeless[] = {"1\n", "x\n", "1234\n", NULL};
    const char *given_up[] = {A "\n", first, "\003", NULL}; /* Ctrl-C */

    components();
    snprintf(first, sizeof(first), "%s\n", kcvs[0]);
    snprintf(second, sizeof(second), "%s\n", kcvs[1]);
    ck_assert_int_eq(at_terminal(no, argv), 77);
    ck_assert_msg(strstr(screen, "not confirmed") != NULL, "%s", screen);
    ck_assert_ptr_nonnull(strstr(screen, kcvs[2])); /* with a fourth byte */
    ck_assert_int_eq(at_terminal(hopeless, argv), 65);
    ck_assert_int_eq(at_terminal(given_up, argv), 77);
    ck_assert_msg(strstr(screen, "interrupted; nothing was done") != NULL, "%s", screen);
    ck_assert_int_eq(at_terminal(mistyped, argv), 0);
    ck_assert_ptr_nonnull(strstr(screen, "once more"));
    /* What was typed without echo does not stand there. */
    ck_assert_msg(!strstr(screen, A) && !strstr(screen, B), "%s", screen);
    CTL(0, NULL, conf, "zmk", "list");
    ck_assert_ptr_nonnull(strstr(ceremony.last_out, "export"));
}
END_TEST

/* Nothing of what was brought in stands in what the programs have said. */
static void has_no_component(const char *path, void *arg)
{
    char *text = file_read(path, NULL);

    (void)arg;
    ck_assert_msg(!strstr(text, A) && !strstr(text, B) && !strstr(text, PASSPHRASE) &&
                      !strstr(text, PIN),
                  "a secret stands in %s", path);
    free(text);
}

static void abandon(void)
{
    file_walk(ceremony.logs, has_no_component, NULL);
    ceremony_abandon();
}

static Suite *key_suite(void)
{
    Suite *suite = suite_create("key import");
    TCase *keys = tcase_create("keys");

    tcase_add_checked_fixture(keys, found, abandon);
    tcase_set_timeout(keys, 180);
    tcase_add_test(keys, work_keys_of_every_suite);
    tcase_add_test(keys, a_work_key_is_imported);
    tcase_add_test(keys, transport_keys);
    tcase_add_test(keys, zone_keys_from_files);
    tcase_add_test(keys, zone_keys_need_an_audit_trail);
    tcase_add_test(keys, zone_keys_typed);
    suite_add_tcase(suite, keys);
    return suite;
}

int main(void)
{
    return test_run(key_suite());
}
