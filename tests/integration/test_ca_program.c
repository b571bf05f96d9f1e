/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca as a program: its help, its exit statuses, two-word commands, and its CRLs and
 * certificates as the openssl program sees them.
 */
#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cahome.h"
#include "tests/support/lab.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

static char *said; /* standard output and error of the last program */

static void end(void)
{
    free(said);
    said = NULL;
    ca_end();
}

/* Runs a program, which must end with that status and say those words (NULL: anything). */
static void must_end(int status, const char *words, const char *const *argv)
{
    struct proc proc;
    char *out, *err;

    proc_spawn(&proc, ca_top, NULL, argv);
    int got = proc_wait(&proc, 60);
    out = file_read(proc.out, NULL);
    err = file_read(proc.err, NULL);
    free(said);
    ck_assert_int_ge(asprintf(&said, "%s%s", out, err), 0);
    free(out);
    free(err);
    ck_assert_msg(got == status, "%s %s: %d, not %d: %s", argv[0], argv[1], got, status, said);
    ck_assert_msg(!words || strstr(said, words), "\"%s\" is not in: %s", words, said);
}
#define PROGRAM(status, words, ...) \
    must_end(status, words, (const char *const[]){lab_built("bin/acquire-ca"), __VA_ARGS__, NULL})
#define OPENSSL(status, words, ...) \
    must_end(status, words, (const char *const[]){"/usr/bin/openssl", __VA_ARGS__, NULL})

START_TEST(help)
{
    static const char *const commands[] = {"token-init", "init", "sign", "terminal",
                                           "revoke",     "crl",  "list", "show"};

    PROGRAM(0, "To roll over to a new root", "--help");
    PROGRAM(0, "terminal sign --dir DIR --serial SN", "--help");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        char line[32];
        snprintf(line, sizeof line, "\n%s ", commands[i]);
        PROGRAM(0, line, commands[i], "--help");
        ck_assert_ptr_null(strstr(said, "roll over"));
    }
    PROGRAM(0, "--serial SN", "terminal", "sign", "--help");
    ck_assert_ptr_null(strstr(said, "--csr"));
}
END_TEST

START_TEST(statuses)
{
    const char *csr = ca_path("t.csr"), *out = ca_path("t.pem");
    EVP_PKEY *key = ca_key("P-384");

    ca_request_file(csr, key, "/CN=T/serialNumber=SN-1");
    EVP_PKEY_free(key);
    ca_found("p-384", 0);
    PROGRAM(64, "unknown command", "terminals", "sign");
    PROGRAM(64, "sign is missing", "terminal");
    PROGRAM(64, "--serial is missing", "terminal", "sign", csr, "--dir", ca_home, "--out", out);
    PROGRAM(77, "not of SN-2", "terminal", "sign", csr, "--dir", ca_home, "--out", out, "--serial",
            "SN-2");
    PROGRAM(0, "\"kind\": \"terminal\"", "--json", "terminal", "sign", csr, "--dir", ca_home,
            "--out", out, "--serial", "SN-1");
    PROGRAM(73, "--force overwrites it", "terminal", "sign", csr, "--dir", ca_home, "--out", out,
            "--serial", "SN-1");
    PROGRAM(66, "no certificate of serial", "revoke", "--dir", ca_home, "01");
    PROGRAM(77, "a root cannot revoke itself", "revoke", "--dir", ca_home, "root");
    PROGRAM(64, "--scope", "crl", "--dir", ca_home, "--scope", "x", "--out", "-");
}
END_TEST

/* The openssl program verifies signature and revocation of what we made. */
START_TEST(as_openssl_sees_it)
{
    static const char *const kinds[] = {"rsa-2048", "p-256", "p-521"};
    const char *csr = ca_path("w.csr"), *cert = ca_path("w.pem"), *crl = ca_path("l.crl");
    EVP_PKEY *key = ca_key("P-256");
    char root[PATH_MAX];

    ca_request_file(csr, key, "/CN=Loader");
    EVP_PKEY_free(key);
    ca_found(kinds[_i], 0);
    file_path(root, ca_home, "root.pem");
    PROGRAM(0, NULL, "sign", "--dir", ca_home, "--csr", csr, "--out", cert, "--days", "9");
    X509 *leaf = ca_load_cert(cert);

    PROGRAM(0, "number: 1\n", "crl", "--dir", ca_home, "--scope", "loader", "--out", crl);
    OPENSSL(0, "verify OK", "crl", "-in", crl, "-CAfile", root, "-noout");
    OPENSSL(0, "URI:urn:keyloader:crl:loader", "crl", "-in", crl, "-noout", "-text");
    OPENSSL(0, ": OK", "verify", "-ignore_critical", "-crl_check", "-CAfile", root, "-CRLfile", crl,
            cert);
    PROGRAM(0, "reason: keyCompromise\n", "revoke", "--dir", ca_home, "--reason", "keyCompromise",
            ca_serial(leaf));
    PROGRAM(0, "revoked: 1\n", "crl", "--dir", ca_home, "--scope", "loader", "--out", crl,
            "--force");
    OPENSSL(0, "Key Compromise", "crl", "-in", crl, "-CAfile", root, "-noout", "-text");
    OPENSSL(2, "certificate revoked", "verify", "-ignore_critical", "-crl_check", "-CAfile", root,
            "-CRLfile", crl, cert);
    X509_free(leaf);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ca_program");
    TCase *tc = tcase_create("program");

    tcase_add_checked_fixture(tc, ca_begin, end);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, help);
    tcase_add_test(tc, statuses);
    tcase_add_loop_test(tc, as_openssl_sees_it, 0, 3);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
