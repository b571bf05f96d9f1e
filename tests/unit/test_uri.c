/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/uri and pkcs11/pin: where a token is and where its PIN comes from. */
#include "pkcs11/uri.h"

#include <check.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "pkcs11/pin.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;
static char dir[PATH_MAX], path[PATH_MAX + 16];

/* ---- URIs ---- */

START_TEST(uri_with_everything)
{
    struct kl_uri *uri = NULL;

    ck_assert_int_eq(kl_uri_parse("pkcs11:token=My%20token;serial=1;manufacturer=m;model=x;"
                                  "slot-id=3;object=k;id=%01;type=private"
                                  "?module-path=/usr/lib/m.so&pin-source=file:/run/pin",
                                  &uri, &err),
                     KL_OK);
    ck_assert_str_eq(kl_uri_token(uri), "My token");
    ck_assert_str_eq(kl_uri_module_path(uri), "/usr/lib/m.so");
    ck_assert_str_eq(kl_uri_pin_source(uri), "file:/run/pin");
    kl_uri_free(uri);
}
END_TEST

START_TEST(uri_with_nothing)
{
    struct kl_uri *uri = NULL;

    ck_assert_int_eq(kl_uri_parse("pkcs11:", &uri, &err), KL_OK);
    ck_assert_ptr_null(kl_uri_token(uri));
    ck_assert_ptr_null(kl_uri_module_path(uri));
    ck_assert_ptr_null(kl_uri_pin_source(uri));
    kl_uri_free(uri);
    kl_uri_free(NULL);
}
END_TEST

static const struct {
    const char *text, *says;
} bad_uris[] = {
    {"", "pkcs11:"},
    {"token=x", "pkcs11:"},
    {"http:token=x", "pkcs11:"},
    {"pkcs11:token=x?pin-value=1234", "pin-value"},
    {"pkcs11:pin-value=1234", "pin-value"},
    {"pkcs11:token=x;colour=red", "colour"},
    {"pkcs11:token=x?x-thing=1", "x-thing"},
    {"pkcs11:token=x?token=y", "token"},
    {"pkcs11:token=x;token=y", "twice"},
    {"pkcs11:token=x?pin-source=a&pin-source=b", "twice"},
    {"pkcs11:token", "name=value"},
    {"pkcs11:token=x;;serial=1", "name=value"},
    {"pkcs11:token=%4", "token URI"},
    {"pkcs11:type=sandwich", "token URI"},
    {"pkcs11:slot-id=x", "token URI"},
    {"pkcs11:token=0123456789012345678901234567890123", "token URI"},
};
#define BAD_URIS (int)(sizeof(bad_uris) / sizeof(bad_uris[0]))

START_TEST(bad_uri)
{
    struct kl_uri *uri = NULL;

    ck_assert_msg(kl_uri_parse(bad_uris[_i].text, &uri, &err) == KL_ERR_CONFIG, "%s",
                  bad_uris[_i].text);
    ck_assert_ptr_null(uri);
    ck_assert_msg(strstr(err.text, bad_uris[_i].says) != NULL, "%s: %s", bad_uris[_i].text,
                  err.text);
    ck_assert_ptr_null(strstr(err.text, "1234"));
}
END_TEST

static int names(const char *text, const char *label, CK_SLOT_ID slot)
{
    CK_TOKEN_INFO info;
    struct kl_uri *uri = NULL;
    int result;

    memset(&info, ' ', sizeof(info));
    memcpy(info.label, label, strlen(label));
    memcpy(info.serialNumber, "0a1b", 4);
    ck_assert_int_eq(kl_uri_parse(text, &uri, &err), KL_OK);
    result = kl_uri_names(uri, slot, &info);
    kl_uri_free(uri);
    return result;
}

START_TEST(uri_names_a_token)
{
    ck_assert(names("pkcs11:", "A", 1));
    ck_assert(names("pkcs11:token=A", "A", 1));
    ck_assert(!names("pkcs11:token=A", "AB", 1));
    ck_assert(!names("pkcs11:token=AB", "A", 1));
    ck_assert(names("pkcs11:token=A;slot-id=1", "A", 1));
    ck_assert(!names("pkcs11:token=A;slot-id=1", "A", 2));
    ck_assert(names("pkcs11:serial=0a1b", "A", 2));
    ck_assert(!names("pkcs11:serial=0a1c", "A", 2));
}
END_TEST

/* ---- PINs ---- */

static void setup(void)
{
    test_secrets();
    test_softhsm_dir(dir, NULL, NULL);
    (void)snprintf(path, sizeof(path), "%s/pin", dir);
}

static void teardown(void)
{
    test_rm_rf(dir);
}

static void write_pin(const char *text, size_t len, unsigned mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void pin_is(const char *source, const char *expected)
{
    struct kl_secret *pin = NULL;
    enum kl_rc rc = kl_pin_read(source, "PIN", &pin, &err);

    ck_assert_msg(rc == KL_OK, "%s", err.text);
    ck_assert_uint_eq(kl_secret_len(pin), strlen(expected));
    ck_assert_mem_eq(kl_secret_data(pin), expected, strlen(expected));
    kl_secret_free(pin);
}

static void pin_fails(const char *source, enum kl_rc rc)
{
    struct kl_secret *pin = NULL;
    enum kl_rc got = kl_pin_read(source, "PIN", &pin, &err);

    ck_assert_msg(got == rc, "%s: %s: %s", source, kl_rc_name(got), err.text);
    ck_assert_ptr_null(pin);
}

START_TEST(pin_file)
{
    char uri[PATH_MAX + 32];

    write_pin("1234", 4, 0600);
    pin_is(path, "1234");
    write_pin("1234\n", 5, 0400);
    pin_is(path, "1234");
    write_pin("12 34\r\n", 7, 0400);
    pin_is(path, "12 34");
    (void)snprintf(uri, sizeof(uri), "file:%s", path);
    pin_is(uri, "12 34");
}
END_TEST

START_TEST(pin_length)
{
    char text[300];

    memset(text, '7', sizeof(text));
    write_pin(text, 3, 0600);
    pin_fails(path, KL_ERR_INPUT);
    write_pin(text, 255, 0600);
    text[255] = '\0';
    pin_is(path, text);
    text[255] = '7';
    write_pin(text, 256, 0600);
    pin_fails(path, KL_ERR_INPUT);
    write_pin(text, 300, 0600);
    pin_fails(path, KL_ERR_INPUT);
    write_pin("", 0, 0600);
    pin_fails(path, KL_ERR_INPUT);
    write_pin("12\n34\n", 6, 0600);
    pin_fails(path, KL_ERR_INPUT);
    write_pin("12\00034", 5, 0600);
    pin_fails(path, KL_ERR_INPUT);
}
END_TEST

/* The same ways for what is no PIN: other lengths, and other words. */
START_TEST(passphrases_and_components)
{
    static const struct {
        enum kl_typed what;
        size_t len;
        enum kl_rc rc;
        const char *says;
    } cases[] = {
        {KL_TYPED_PASSPHRASE, 1000, KL_OK, NULL},
        {KL_TYPED_PASSPHRASE, 1001, KL_ERR_INPUT, "passphrase from"},
        {KL_TYPED_PASSPHRASE, 1003, KL_ERR_INPUT, "passphrase file"},
        {KL_TYPED_PASSPHRASE, 3, KL_ERR_INPUT, "passphrase from"},
        {KL_TYPED_COMPONENT, 64, KL_OK, NULL},
        {KL_TYPED_COMPONENT, 256, KL_ERR_INPUT, "key component from"},
        {KL_TYPED_PIN, 256, KL_ERR_INPUT, "PIN from"},
    };
    struct kl_secret *secret = NULL;
    char text[1004];

    memset(text, 'a', sizeof(text));
    write_pin(text, cases[_i].len, 0600);
    ck_assert_int_eq(kl_typed_read(cases[_i].what, path, "it", &secret, &err), cases[_i].rc);
    if (cases[_i].says) {
        ck_assert_msg(strstr(err.text, cases[_i].says) != NULL, "%s", err.text);
    } else {
        ck_assert_uint_eq(kl_secret_len(secret), cases[_i].len);
    }
    kl_secret_free(secret);
}
END_TEST

START_TEST(pin_file_permissions)
{
    static const unsigned modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644};

    write_pin("1234", 4, modes[_i]);
    pin_fails(path, KL_ERR_PERMISSION);
}
END_TEST

START_TEST(pin_file_of_somebody_else)
{
    if (geteuid() != 0) {
        return;
    }
    write_pin("1234", 4, 0600);
    ck_assert_int_eq(chown(path, 12345, 12345), 0);
    pin_fails(path, KL_ERR_PERMISSION);
}
END_TEST

START_TEST(pin_file_must_be_a_file)
{
    char link[PATH_MAX + 32];

    pin_fails(path, KL_ERR_NO_FILE);
    write_pin("1234", 4, 0600);
    (void)snprintf(link, sizeof(link), "%s.link", path);
    ck_assert_int_eq(symlink(path, link), 0);
    pin_fails(link, KL_ERR_PERMISSION);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    pin_fails(path, KL_ERR_PERMISSION);
    ck_assert_int_eq(chmod(dir, 0700), 0);
    pin_fails(dir, KL_ERR_PERMISSION);
}
END_TEST

START_TEST(pin_credential)
{
    unsetenv("CREDENTIALS_DIRECTORY");
    pin_fails("credential:pin", KL_ERR_CONFIG);
    write_pin("1234\n", 5, 0440); /* as systemd's access list shows */
    ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
    pin_is("credential:pin", "1234");
    pin_fails("credential:", KL_ERR_CONFIG);
    pin_fails("credential:../pin", KL_ERR_CONFIG);
    pin_fails("credential:none", KL_ERR_NO_FILE);
    write_pin("1234\n", 5, 0444);
    pin_fails("credential:pin", KL_ERR_PERMISSION);
}
END_TEST

START_TEST(pin_sources_that_are_none)
{
    pin_fails("1234", KL_ERR_CONFIG);
    ck_assert_ptr_null(strstr(err.text, "1234"));
    pin_fails("env:PIN", KL_ERR_CONFIG);
    pin_fails("file:pin", KL_ERR_CONFIG);
    pin_fails("", KL_ERR_CONFIG);
}
END_TEST

START_TEST(prompt_needs_a_terminal)
{
    /* A new session has no controlling terminal. */
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct kl_secret *pin = NULL;
        (void)setsid();
        _exit(kl_pin_read("prompt", "PIN", &pin, &err) == KL_ERR_CONFIG ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* OpenSSL prompts first and turns the echo off a moment later; for ever is not waited. */
static void wait_for_echo_off(int master)
{
    struct termios term;

    for (int i = 0; i < 200; i++) {
        ck_assert_int_eq(tcgetattr(master, &term), 0);
        if (!(term.c_lflag & ECHO)) {
            return;
        }
        usleep(10 * 1000);
    }
}

START_TEST(prompt_reads_without_echo)
{
    char seen[512];
    size_t len = 0;
    ssize_t got;
    int master, status = -1, typed = 0;
    pid_t child = forkpty(&master, NULL, NULL, NULL);

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct kl_secret *pin = NULL;
        enum kl_rc rc = kl_pin_read(NULL, "User PIN", &pin, &err);
        _exit(rc == KL_OK && kl_secret_len(pin) == 6 &&
                      memcmp(kl_secret_data(pin), "987654", 6) == 0
                  ? 0
                  : 1);
    }
    while ((got = read(master, seen + len, sizeof(seen) - 1 - len)) > 0) {
        len += (size_t)got;
        seen[len] = '\0';
        if (!typed && strstr(seen, "User PIN: ")) {
            wait_for_echo_off(master);
            typed = write(master, "987654\n", 7) == 7;
        }
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert(typed);
    ck_assert_ptr_null(strstr(seen, "987654"));
    close(master);
}
END_TEST

static Suite *uri_suite(void)
{
    Suite *suite = suite_create("uri and pin");
    TCase *uri = tcase_create("uri"), *pin = tcase_create("pin");

    tcase_add_test(uri, uri_with_everything);
    tcase_add_test(uri, uri_with_nothing);
    tcase_add_loop_test(uri, bad_uri, 0, BAD_URIS);
    tcase_add_test(uri, uri_names_a_token);
    suite_add_tcase(suite, uri);
    tcase_add_checked_fixture(pin, setup, teardown);
    tcase_add_test(pin, pin_file);
    tcase_add_test(pin, pin_length);
    tcase_add_loop_test(pin, passphrases_and_components, 0, 7);
    tcase_add_loop_test(pin, pin_file_permissions, 0, 7);
    tcase_add_test(pin, pin_file_of_somebody_else);
    tcase_add_test(pin, pin_file_must_be_a_file);
    tcase_add_test(pin, pin_credential);
    tcase_add_test(pin, pin_sources_that_are_none);
    tcase_add_test(pin, prompt_needs_a_terminal);
    tcase_add_test(pin, prompt_reads_without_echo);
    suite_add_tcase(suite, pin);
    return suite;
}

int main(void)
{
    return test_run(uri_suite());
}
