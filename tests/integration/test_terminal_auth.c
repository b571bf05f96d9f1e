/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Terminals' certificates, between the real programs: who is let in with one, without one, with a
 * revoked one and with another acquirer's. And the suites, each with a key of its own.
 */
#include <check.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/report.h"
#include "tests/support/lab.h"
#include "tests/support/peer.h"
#include "tests/support/suite.h"

static struct lab lab;

static void found(void)
{
    char path[PATH_MAX], copy[PATH_MAX];
    size_t len;
    char *pem;

    lab_found(&lab, 2048);
    pem = file_read(file_path(path, lab.dir, "root.pem"), &len);
    file_write(file_path(copy, lab.dir, "terminal-root.pem"), pem, len, 0644);
    free(pem);
    lab_set(&lab, "certificates", "terminal-root", copy);
    lab_set(&lab, "certificates", "terminal-crl", file_path(path, lab.dir, "terminal-crl.pem"));
    lab_publish_crl(&lab, "ca", "terminal");
    lab_found_ca(&lab, "ca2"); /* a root of loaders, but not of terminals */
    lab_publish_crl(&lab, "ca2", "loader");
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void end(void)
{
    lab_end(&lab);
}

static void begin(const char *name, const char *auth)
{
    lab_begin(&lab, name);
    lab_set(&lab, "policy", "terminal-auth", auth);
    lab_start(&lab);
}

static int load(const char *serial)
{
    lab_arm(&lab, serial, 3);
    return lab_load(&lab, serial, lab.port);
}

static int alarmed(const char *serial)
{
    char wanted[64], *audit = lab_ctl(&lab, "--json", "audit", "list", "--last", "1", NULL);
    int found;

    snprintf(wanted, sizeof wanted, "\"serial\": \"%s\"", serial);
    found = strstr(audit, "\"event\": \"alarm\"") != NULL && strstr(audit, wanted) != NULL;
    free(audit);
    return found;
}

static void expect_refused(const char *serial, const char *says)
{
    int ms = 0;

    ck_assert_int_eq(load(serial), 76);
    ck_assert_msg(lab_logged(&lab, says, 5), "%s: %s", says, file_read(lab.daemon.err, NULL));
    while (!alarmed(serial) && ms < proc_seconds(5) * 1000) { /* it is written in its own time */
        proc_sleep_ms(100);
        ms += 100;
    }
    ck_assert_msg(alarmed(serial), "no alarm for %s", serial);
    lab_agree(&lab, serial);
}

START_TEST(certificate_is_needed)
{
    begin("needed", "certificate");
    lab_terminal(&lab, "WITH", "tdes2");
    lab_device_certificate(&lab, "WITH", "ca");
    ck_assert_int_eq(load("WITH"), 0);
    lab_settled(&lab, "WITH", 1);
    lab_terminal(&lab, "WITHOUT", "tdes2");
    expect_refused("WITHOUT", "shows no certificate");
    lab_terminal(&lab, "FOREIGN", "tdes2");
    lab_device_certificate(&lab, "FOREIGN", "ca2");
    expect_refused("FOREIGN", "the terminal's certificate");
}
END_TEST

/* Where none is needed, one that is shown must be good all the same. */
START_TEST(certificate_is_optional)
{
    begin("optional", "registered");
    lab_terminal(&lab, "WITH", "tdes2");
    lab_device_certificate(&lab, "WITH", "ca");
    ck_assert_int_eq(load("WITH"), 0);
    lab_terminal(&lab, "WITHOUT", "tdes2");
    ck_assert_int_eq(load("WITHOUT"), 0);
    lab_terminal(&lab, "FOREIGN", "tdes2");
    lab_device_certificate(&lab, "FOREIGN", "ca2");
    expect_refused("FOREIGN", "the terminal's certificate");
}
END_TEST

static X509 *device_certificate(void)
{
    char path[PATH_MAX];
    FILE *f = fopen(file_path(path, lab.run, "device.pem"), "re");
    X509 *cert;

    ck_assert_ptr_nonnull(f);
    cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    ck_assert_ptr_nonnull(cert);
    return cert;
}

/* Somebody who shows the terminal's certificate, which is no secret, but has not its key: the HSM
 * is not asked, and no attempt is spent. */
START_TEST(certificate_of_another)
{
    struct kl_msg hello = {.type = KL_MSG_HELLO}, randoms = {.type = KL_MSG_RANDOMS}, msg;
    uint8_t *der = NULL;
    X509 *cert;

    begin("another", "certificate");
    lab_terminal(&lab, "OWNER", "tdes2");
    lab_device_certificate(&lab, "OWNER", "ca");
    lab_arm(&lab, "OWNER", 1);
    cert = device_certificate();
    hello.u.hello.version = KL_PROTOCOL_VERSION;
    hello.u.hello.suite_count = hello.u.hello.alg_count = hello.u.hello.chain_count = 1;
    hello.u.hello.suites[0] = KL_SUITE_HARDENED_RSA;
    hello.u.hello.algs[0] = KL_ALG_TDES2;
    strcpy(hello.u.hello.serial, "OWNER");
    strcpy(hello.u.hello.pinpad_serial, "POWNER");
    hello.u.hello.chain[0].len = (size_t)i2d_X509(cert, &der);
    hello.u.hello.chain[0].data = der;
    randoms.u.randoms.suite = KL_SUITE_HARDENED_RSA;
    randoms.u.randoms.c_rnd1_len = 256;
    for (size_t sig_len = 0; sig_len <= 64; sig_len += 64) {
        int fd = peer_dial(lab.port);
        randoms.u.randoms.sig_len = sig_len;
        memset(randoms.u.randoms.sig, 0x5a, sig_len);
        peer_say_msg(fd, &hello);
        ck_assert_int_eq(peer_hear(fd, &msg), KL_MSG_CERTIFICATE);
        peer_say_msg(fd, &randoms);
        peer_expect_error(fd, KL_WIRE_REFUSED);
        ck_assert(lab_logged(
            &lab, sig_len == 0 ? "not signed by the device key" : "the device key's signature", 5));
    }
    ck_assert_int_eq(lab_load(&lab, "OWNER", lab.port), 0);
    lab_settled(&lab, "OWNER", 1);
    OPENSSL_free(der);
    X509_free(cert);
}
END_TEST

static void revoke_last(void)
{
    char path[PATH_MAX], home[PATH_MAX], conf[PATH_MAX + 32], serial[KL_SERIAL_HEX];
    const char *env[] = {conf, NULL};
    struct kl_err err = KL_ERR_INIT;
    struct proc proc;
    X509 *cert = device_certificate();

    ck_assert_int_eq(kl_cert_serial_hex(cert, serial, &err), KL_OK);
    X509_free(cert);
    file_path(path, lab.dir, "ca");
    ck_assert_int_lt(snprintf(conf, sizeof conf, "SOFTHSM2_CONF=%s/softhsm2.conf", path),
                     (int)sizeof conf);
    proc_spawn(&proc, lab.logs, env,
               (const char *const[]){lab_built("bin/acquire-ca"), "revoke", "--dir",
                                     file_path(home, path, "home"), serial, NULL});
    ck_assert_int_eq(proc_wait(&proc, 30), 0);
}

/* The CRL that says so is read on SIGHUP. */
START_TEST(revoked)
{
    begin("revoked", "certificate");
    lab_terminal(&lab, "REVOKED", "tdes2");
    lab_device_certificate(&lab, "REVOKED", "ca");
    ck_assert_int_eq(load("REVOKED"), 0);
    revoke_last();
    lab_publish_crl(&lab, "ca", "terminal");
    kill(lab.daemon.pid, SIGHUP);
    ck_assert(lab_logged(&lab, "event=reloaded", 20));
    expect_refused("REVOKED", "rc=revoked");
    lab_settled(&lab, "REVOKED", 1);
}
END_TEST

/* Every suite by its own key, several of them at once; which one is policy. */
START_TEST(suites)
{
    static const struct {
        const char *suites, *offered, *alg;
        int status;
    } rows[] = {
        {"hardened-ec, hardened-rsa", "hardened-rsa,hardened-ec", "aes128", 0},
        {"hardened-ec, hardened-rsa", "hardened-rsa,hardened-ec", "aes192", 76}, /* P-256 */
        {"hardened-rsa, hardened-ec", "hardened-rsa,hardened-ec", "tdes2", 0},
        {"classic", "classic", "tdes3", 0},
        {"hardened-ec, hardened-rsa", "classic", "tdes2", 76},
    };
    const char *extra[] = {"--suites", NULL, NULL};

    lab_begin(&lab, "suites");
    lab_certify(&lab, "work-ec", "hardened-ec", "p-256", "ca");
    lab_certify(&lab, "work-classic", "classic", "rsa-2048", "ca");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char serial[16];
        struct proc proc;

        snprintf(serial, sizeof serial, "S%zu", i);
        lab_set(&lab, "policy", "suites", rows[i].suites);
        lab_start(&lab);
        lab_terminal(&lab, serial, rows[i].alg);
        lab_arm(&lab, serial, 1);
        extra[1] = rows[i].offered;
        lab_load_start(&lab, serial, lab.port, extra, &proc);
        ck_assert_msg(proc_wait(&proc, LAB_LOAD_SECONDS) == rows[i].status, "row %zu: %s", i,
                      file_read(proc.err, NULL));
        lab_agree(&lab, serial);
        lab_stop(&lab);
    }
    lab_set(&lab, "policy", "suites", "hardened-ec, hardened-rsa");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("terminal-auth");
    TCase *tc = tcase_create("terminal-auth");

    tcase_set_timeout(tc, 180);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_test(tc, certificate_is_needed);
    tcase_add_test(tc, certificate_is_optional);
    tcase_add_test(tc, certificate_of_another);
    tcase_add_test(tc, revoked);
    tcase_add_test(tc, suites);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
