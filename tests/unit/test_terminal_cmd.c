/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands of terminal-sim that need no loader: roots, device key, what pin-block and mac say
 * when there are no working keys, and what is refused on their command lines.
 */
#include <check.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"
#include "pkcs11/object.h"
#include "proto/cert.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/folder.h"
#include "terminal-sim/pinpad/pinpad_token.h"
#include "tests/support/hsm.h"
#include "tests/support/stand.h"
#include "tests/support/suite.h"

#define WORDS_MAX 16

typedef enum kl_rc command_fn(int argc, char **argv, int *status, struct kl_err *err);

static struct kl_err err;

/* Runs a command on words that end with NULL. */
static enum kl_rc run(command_fn *command, const char *const *words)
{
    char *argv[WORDS_MAX + 1] = {NULL};
    int argc = 0, status = 0;
    enum kl_rc rc;

    while (words[argc]) {
        argv[argc] = strdup(words[argc]);
        argc++;
    }
    err = (struct kl_err)KL_ERR_INIT;
    {
        char *copy[WORDS_MAX + 1];

        memcpy(copy, argv, sizeof(copy));
        rc = command(argc, copy, &status, &err);
    }
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
    return rc;
}
#define RUN(command, ...) run(command, (const char *const[]){__VA_ARGS__, NULL})

static void write_cert(const char *path, const X509 *cert)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(PEM_write_X509(file, cert), 1);
    ck_assert_int_eq(fclose(file), 0);
}

static int root_count(const char *home)
{
    STACK_OF(X509) *roots = NULL;
    int count;

    ck_assert_msg(kl_folder_load_roots(home, &roots, &err) == KL_OK, "%s", err.text);
    count = sk_X509_num(roots);
    sk_X509_pop_free(roots, X509_free);
    return count;
}

/* ---- root ---- */

START_TEST(test_roots)
{
    char file[PATH_MAX + 16], fingerprint[2 * KL_HASH_LEN + 1];
    uint8_t hash[KL_HASH_LEN];
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_close(&b);
    snprintf(file, sizeof(file), "%s/other.pem", b.dir);
    write_cert(file, fake_other_root);
    ck_assert_int_eq(RUN(kl_terminal_cmd_root, "root", "add", "--dir", b.home, file), KL_OK);
    ck_assert_int_eq(root_count(b.home), 2);
    ck_assert_int_eq(RUN(kl_terminal_cmd_root, "root", "add", "--dir", b.home, file),
                     KL_ERR_EXISTS);
    ck_assert_int_eq(RUN(kl_terminal_cmd_root, "root", "list", "--dir", b.home, "--json"), KL_OK);
    stand_ok(&b, kl_pubkey_hash(fake_root_key, hash, &b.err));
    for (size_t i = 0; i < sizeof(hash); i++) {
        snprintf(fingerprint + 2 * i, 3, "%02x", hash[i]);
    }
    ck_assert_int_eq(RUN(kl_terminal_cmd_root, "root", "remove", "--dir", b.home, "00112233"),
                     KL_ERR_NOT_FOUND);
    fingerprint[7] = '\0'; /* too short to name one */
    ck_assert_int_eq(RUN(kl_terminal_cmd_root, "root", "remove", "--dir", b.home, fingerprint),
                     KL_ERR_INPUT);
    snprintf(fingerprint, sizeof(fingerprint), "%02X%02X%02X%02X", hash[0], hash[1], hash[2],
             hash[3]);
    ck_assert_int_eq(RUN(kl_terminal_cmd_root, "root", "remove", "--dir", b.home, fingerprint),
                     KL_OK);
    ck_assert_int_eq(root_count(b.home), 1);
    stand_ok(&b, kl_pubkey_hash(fake_other_key, hash, &b.err));
    snprintf(fingerprint, sizeof(fingerprint), "%02X%02X%02X%02X", hash[0], hash[1], hash[2],
             hash[3]);
    ck_assert_int_eq(RUN(kl_terminal_cmd_root, "root", "remove", "--dir", b.home, fingerprint),
                     KL_ERR_REFUSED); /* the last one stays */
    ck_assert_int_eq(root_count(b.home), 1);
    stand_end(&b);
}
END_TEST

START_TEST(test_roots_bounded)
{
    char file[PATH_MAX + 16];
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_close(&b);
    snprintf(file, sizeof(file), "%s/more.pem", b.dir);
    write_cert(file, work); /* no CA's */
    ck_assert_int_eq(RUN(kl_terminal_cmd_root, "root", "add", "--dir", b.home, file), KL_ERR_CERT);
    for (int i = 2; i <= KL_ANCHOR_MAX + 1; i++) {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *cert = fake_new_cert("Root", key, NULL, key, NULL);

        write_cert(file, cert);
        ck_assert_int_eq(RUN(kl_terminal_cmd_root, "root", "add", "--dir", b.home, file),
                         i <= KL_ANCHOR_MAX ? KL_OK : KL_ERR_REFUSED);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    ck_assert_int_eq(root_count(b.home), KL_ANCHOR_MAX);
    stand_end(&b);
}
END_TEST

/* A file of several, and --root more than once. */
START_TEST(test_init_roots)
{
    char file[PATH_MAX + 16], home[PATH_MAX + 16];
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    snprintf(file, sizeof(file), "%s/other.pem", b.dir);
    snprintf(home, sizeof(home), "%s/two", b.dir);
    write_cert(file, fake_other_root);
    {
        char first[PATH_MAX + 16];

        snprintf(first, sizeof(first), "%s/root.pem", b.dir);
        ck_assert_int_eq(RUN(kl_terminal_cmd_init, "init", "--dir", home, "--serial", "T-2",
                             "--pinpad-serial", "P-2", "--root", first, "--root", file, "--pinpad",
                             "memory"),
                         KL_OK);
    }
    ck_assert_int_eq(root_count(home), 2);
    stand_end(&b);
}
END_TEST

/* ---- device-key ---- */

/* Signs the request as a CA of terminals would, into file. */
static void issue(const char *csr, const char *file, const char *serial)
{
    static const struct kl_rogue_profile profile = {.eku = "critical," KL_OID_EKU_TERMINAL,
                                                    .key_usage = "critical,digitalSignature"};
    FILE *in = fopen(csr, "r");
    X509_REQ *req;
    X509 *cert;
    X509_NAME *name;

    ck_assert_ptr_nonnull(in);
    req = PEM_read_X509_REQ(in, NULL, NULL, NULL);
    fclose(in);
    ck_assert_ptr_nonnull(req);
    ck_assert_int_eq(X509_REQ_verify(req, X509_REQ_get0_pubkey(req)), 1);
    cert = fake_new_cert(serial, X509_REQ_get0_pubkey(req), root, fake_root_key, &profile);
    name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "serialNumber", MBSTRING_ASC, (const uint8_t *)serial, -1, -1,
                               0);
    ck_assert_int_gt(X509_sign(cert, fake_root_key, EVP_sha256()), 0);
    write_cert(file, cert);
    X509_free(cert);
    X509_REQ_free(req);
}

static void expect_chain(const char *home, size_t count)
{
    struct kl_folder_chain chain;

    ck_assert_msg(kl_folder_load_chain(home, &chain, &err) == KL_OK, "%s", err.text);
    ck_assert_uint_eq(chain.count, count);
    kl_folder_wipe_chain(&chain);
}

START_TEST(test_device_key)
{
    static const char *const keys[] = {"p-256", "rsa-2048"};
    char csr[PATH_MAX + 16], cert[PATH_MAX + 16], named[KL_SERIAL_MAX + 1];
    struct stand b;
    X509_REQ *req;
    FILE *file;

    stand_init(&b, STAND_TOKEN);
    stand_close(&b);
    snprintf(csr, sizeof(csr), "%s/csr.pem", b.dir);
    snprintf(cert, sizeof(cert), "%s/cert.pem", b.dir);
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "csr", "--dir", b.home, "--out",
                         csr),
                     KL_ERR_NOT_FOUND);
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "generate", "--dir", b.home,
                         "--key", keys[_i]),
                     KL_OK);
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "generate", "--dir", b.home),
                     KL_ERR_EXISTS);
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "csr", "--dir", b.home, "--out",
                         csr),
                     KL_OK);
    file = fopen(csr, "r");
    req = PEM_read_X509_REQ(file, NULL, NULL, NULL);
    fclose(file);
    ck_assert_int_eq(kl_cert_terminal_serial(X509_REQ_get_subject_name(req), named, &err), KL_OK);
    ck_assert_str_eq(named, FAKE_SERIAL);
    X509_REQ_free(req);
    issue(csr, cert, "T-0002"); /* of another terminal */
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "install", "--dir", b.home,
                         cert),
                     KL_ERR_CERT);
    expect_chain(b.home, 0);
    issue(csr, cert, FAKE_SERIAL);
    ck_assert_msg(RUN(kl_terminal_cmd_device_key, "device-key", "install", "--dir", b.home, cert) ==
                      KL_OK,
                  "%s", err.text);
    expect_chain(b.home, 1);
    ck_assert_int_eq(RUN(kl_terminal_cmd_pinpad, "pinpad", "show", "--dir", b.home), KL_OK);
    /* A new key has no certificate, and the old one's is not its. */
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "generate", "--dir", b.home,
                         "--replace"),
                     KL_OK);
    expect_chain(b.home, 0);
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "install", "--dir", b.home,
                         cert),
                     KL_ERR_CERT);
    ck_assert_msg(strstr(err.text, "another key"), "%s", err.text);
    expect_chain(b.home, 0);
    stand_end(&b);
}
END_TEST

/* Replacing the key was cut short, and one half of a pair is left: no reason to be without a device
 * key for good. */
START_TEST(test_device_key_half)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
    struct kl_session *session;
    EVP_PKEY *key = NULL;
    CK_OBJECT_HANDLE half;
    size_t count = 0;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    session = kl_token_pad_of(b.pad)->session;
    stand_ok(&b, kl_pinpad_device_generate(b.pad, KL_KEY_EC, 256, 0, &key, &b.err));
    EVP_PKEY_free(key);
    stand_ok(&b,
             kl_object_find(session, classes[_i], KL_PAD_DEVICE_LABEL, &half, 1, &count, &b.err));
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(kl_session_functions(session)->C_DestroyObject(kl_session_handle(session),
                                                                     half),
                      CKR_OK);
    stand_close(&b);
    ck_assert_int_ne(RUN(kl_terminal_cmd_device_key, "device-key", "generate", "--dir", b.home),
                     KL_OK);
    ck_assert_msg(RUN(kl_terminal_cmd_device_key, "device-key", "generate", "--dir", b.home,
                      "--replace") == KL_OK,
                  "%s", err.text);
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "generate", "--dir", b.home),
                     KL_ERR_EXISTS); /* a whole one */
    stand_end(&b);
}
END_TEST

START_TEST(test_device_key_refused)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_close(&b);
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "generate", "--dir", b.home),
                     KL_ERR_UNSUPPORTED);
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "generate", "--dir", b.home,
                         "--key", "rsa-1024"),
                     KL_ERR_INPUT);
    ck_assert_int_eq(RUN(kl_terminal_cmd_device_key, "device-key", "burn"), KL_ERR_USAGE);
    stand_end(&b);
}
END_TEST

/* ---- sign-in, pin-block, mac ---- */

static const struct {
    command_fn *command;
    const char *words[WORDS_MAX]; /* DIR stands for the terminal's folder */
    enum kl_rc rc;
} lines[] = {
    {kl_terminal_cmd_sign_in,
     {"sign-in", "--dir", "DIR", "--connect", "127.0.0.1:1"},
     KL_ERR_REFUSED}, /* before a load */
    {kl_terminal_cmd_sign_in, {"sign-in", "--dir", "DIR"}, KL_ERR_USAGE},
    {kl_terminal_cmd_sign_in,
     {"sign-in", "--dir", "DIR", "--connect", "127.0.0.1:1", "--format", "x"},
     KL_ERR_USAGE},
    {kl_terminal_cmd_sign_in,
     {"sign-in", "--dir", "DIR", "--connect", "127.0.0.1:1", "--timeout", "0s"},
     KL_ERR_USAGE},
    {kl_terminal_cmd_pin_block,
     {"pin-block", "--dir", "DIR", "--pan", "4111111111111111", "--format", "0"},
     KL_ERR_KEY},
    {kl_terminal_cmd_pin_block,
     {"pin-block", "--dir", "DIR", "--pan", "4111111111111111", "--format", "3"},
     KL_ERR_USAGE},
    {kl_terminal_cmd_pin_block,
     {"pin-block", "--dir", "DIR", "--pan", "41111111x1111111", "--format", "0"},
     KL_ERR_INPUT},
    {kl_terminal_cmd_pin_block,
     {"pin-block", "--dir", "DIR", "--pan", "4111", "--format", "0"},
     KL_ERR_INPUT},
    {kl_terminal_cmd_pin_block, {"pin-block", "--dir", "DIR", "--format", "0"}, KL_ERR_USAGE},
    {kl_terminal_cmd_pin_block,
     {"pin-block", "--dir", "DIR", "--pan", "4111111111111111", "--format", "0", "--pin", "1234"},
     KL_ERR_USAGE}, /* never on a command line */
    {kl_terminal_cmd_mac, {"mac", "--dir", "DIR", "--in", "/dev/null"}, KL_ERR_KEY},
    {kl_terminal_cmd_mac,
     {"mac", "--dir", "DIR", "--in", "/dev/null", "--padding", "3"},
     KL_ERR_USAGE},
    {kl_terminal_cmd_mac,
     {"mac", "--dir", "DIR", "--in", "/dev/null", "--length", "3"},
     KL_ERR_USAGE},
    {kl_terminal_cmd_mac, {"mac", "--dir", "DIR"}, KL_ERR_USAGE},
    {kl_terminal_cmd_load,
     {"load", "--dir", "DIR", "--connect", "127.0.0.1:1", "--suites", "modern"},
     KL_ERR_USAGE},
    {kl_terminal_cmd_load,
     {"load", "--dir", "DIR", "--connect", "127.0.0.1:1", "--suites", "classic,classic"},
     KL_ERR_USAGE},
    {kl_terminal_cmd_load,
     {"load", "--dir", "DIR", "--connect", "127.0.0.1:1", "--suites", ""},
     KL_ERR_USAGE},
    {kl_terminal_cmd_root, {"root", "swap", "--dir", "DIR"}, KL_ERR_USAGE},
    {kl_terminal_cmd_root, {"root", "add", "--dir", "DIR"}, KL_ERR_USAGE},
    {kl_terminal_cmd_root, {"root", "--json", "add", "--dir", "DIR", "x"}, KL_ERR_USAGE},
};
#define LINES ((int)(sizeof(lines) / sizeof(lines[0])))

START_TEST(test_lines)
{
    const char *words[WORDS_MAX + 1] = {NULL};
    struct stand b;
    enum kl_rc rc;

    stand_init(&b, STAND_MEMORY);
    stand_close(&b);
    for (size_t i = 0; i < WORDS_MAX && lines[_i].words[i]; i++) {
        words[i] = strcmp(lines[_i].words[i], "DIR") == 0 ? b.home : lines[_i].words[i];
    }
    rc = run(lines[_i].command, words);
    ck_assert_msg(rc == lines[_i].rc, "%s: %s", kl_rc_name(rc), err.text);
    stand_end(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("terminal-cmd");
    TCase *tc = tcase_create("commands");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_test(tc, test_roots);
    tcase_add_test(tc, test_roots_bounded);
    tcase_add_test(tc, test_init_roots);
    tcase_add_loop_test(tc, test_device_key, 0, 2);
    tcase_add_loop_test(tc, test_device_key_half, 0, 2);
    tcase_add_test(tc, test_device_key_refused);
    tcase_add_loop_test(tc, test_lines, 0, LINES);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
