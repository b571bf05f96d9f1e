/* SPDX-License-Identifier: BSD-2-Clause */
/* keyloaderd.conf: defaults, every bound, what must hold between keys, and the token it names. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"
#include "conf/log.h"
#include "daemon/config.h"
#include "pkcs11/token.h"
#include "proto/message.h"
#include "proto/suite.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

#define BASE "[hsm]\nmodule = /lib/x.so\ntoken = pkcs11:token=t\n"

static char dir[64], path[80];
static struct kl_config config;
static struct kl_err err;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-config-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/c", dir);
}

static void teardown(void)
{
    kl_config_wipe(&config);
    test_rm_rf(dir);
}

static enum kl_rc load(const char *text)
{
    ck_assert_int_eq(kl_file_write(path, text, strlen(text), 0600, 1, &err), KL_OK);
    return kl_config_load(path, &config, &err);
}

START_TEST(defaults)
{
    ck_assert_msg(load(BASE) == KL_OK, "%s", err.text);
    ck_assert_str_eq(config.address, "127.0.0.1");
    ck_assert_uint_eq(config.port, 4770);
    ck_assert_uint_eq(config.hsm[0].workers, 2);
    ck_assert_uint_eq(config.recycle_after, 100000);
    ck_assert_uint_eq(config.job_timeout, 10);
    ck_assert_uint_eq(config.candidate_lifetime, 7 * 86400);
    ck_assert_uint_eq(config.strength_enforce, 1);
    ck_assert_uint_eq(config.kcv_length, 3);
    ck_assert_uint_eq(config.connections, 1024);
    ck_assert_uint_eq(config.connections_per_address, 64);
    ck_assert_uint_eq(config.message_size, 8192);
    ck_assert_str_eq(config.root, "/etc/keyloader/root.pem");
    ck_assert_str_eq(config.work, "/etc/keyloader/work");
    ck_assert_str_eq(config.crl, "/etc/keyloader/crl.pem");
    ck_assert_str_eq(config.terminal_root, "");
    ck_assert_str_eq(config.terminal_crl, "");
    ck_assert_uint_eq(config.superseded_grace, 30 * 86400);
    ck_assert_uint_eq(config.terminal_auth, KL_TERMINAL_REGISTERED);
    ck_assert_uint_eq(config.host_fallback, 0);
    ck_assert_uint_eq(config.oaep_hash, 0);
    ck_assert_uint_eq(config.suites.count, 2);
    ck_assert_uint_eq(config.suites.items[0] + 1, KL_SUITE_HARDENED_EC);
    ck_assert_uint_eq(config.suites.items[1] + 1, KL_SUITE_HARDENED_RSA);
    ck_assert_uint_eq(config.handshake_timeout, 30);
    ck_assert_uint_eq(config.idle_timeout, 10);
    ck_assert_uint_eq(config.queue, 256);
    ck_assert_uint_eq(config.retry_after, 5);
    ck_assert_uint_eq(config.drain_timeout, 30);
    ck_assert_uint_eq(config.log_level, KL_LOG_INFO);
    ck_assert_uint_eq(config.log_target, KL_LOG_STDERR);
    ck_assert_str_eq(config.hsm[0].pin_source, "");
    ck_assert_str_eq(config.store, "/var/lib/keyloader/store.db");
}
END_TEST

START_TEST(choices)
{
    ck_assert_msg(load(BASE
                       "[policy]\nstrength-policy = warn\nkcv-length = 4\n"
                       "[log]\nlevel = error\ntarget = syslog\n[listen]\naddress = ::1\n") == KL_OK,
                  "%s", err.text);
    ck_assert_uint_eq(config.strength_enforce, 0);
    ck_assert_uint_eq(config.kcv_length, 4);
    ck_assert_uint_eq(config.log_level, KL_LOG_ERROR);
    ck_assert_uint_eq(config.log_target, KL_LOG_SYSLOG);
}
END_TEST

/* Classic is spoken only if it is named; a name is the one that logs and messages use. */
START_TEST(suites)
{
    ck_assert_msg(load(BASE "[policy]\nsuites = classic,hardened-rsa , hardened-ec\n") == KL_OK,
                  "%s", err.text);
    ck_assert_uint_eq(config.suites.count, 3);
    ck_assert_uint_eq(config.suites.items[0] + 1, kl_suite_by_name("classic"));
    ck_assert_uint_eq(config.suites.items[1] + 1, kl_suite_by_name("hardened-rsa"));
    ck_assert_uint_eq(config.suites.items[2] + 1, kl_suite_by_name("hardened-ec"));
}
END_TEST

START_TEST(terminal_certificates)
{
    ck_assert_msg(load(BASE "[certificates]\ncrl =\nterminal-root = /t\nterminal-crl = /c\n"
                            "[policy]\nterminal-auth = certificate\nhost-fallback = yes\n"
                            "oaep-hash = sha1\n"
                            "[store]\nsuperseded-grace = 0\n") == KL_OK,
                  "%s", err.text);
    ck_assert_uint_eq(config.terminal_auth, KL_TERMINAL_CERTIFICATE);
    ck_assert_uint_eq(config.host_fallback, 1);
    ck_assert_uint_eq(config.oaep_hash, KL_OAEP_SHA1);
    ck_assert_uint_eq(config.superseded_grace, 0);
    ck_assert_str_eq(config.crl, "");
    ck_assert_str_eq(config.terminal_root, "/t");
    ck_assert_str_eq(config.terminal_crl, "/c");
}
END_TEST

static const struct {
    const char *text, *says;
} faults[] = {
    {"[hsm]\nmodule = /x\n", "[hsm] token must be set"},
    {"[hsm]\ntoken = pkcs11:token=t\n", "module must be set"},
    {"[hsm]\nmodule = x.so\ntoken = pkcs11:token=t\n", "absolute"},
    {"[hsm]\nmodule = /x\ntoken = token=t;x\n", "[hsm] token"},
    {"[hsm]\nmodule = /x\ntoken = pkcs11:token=t?pin-value=1234\n", "[hsm] token"},
    {BASE "work-key = k\nstorage-key = k\n", "must differ"},
    {BASE "work-key = k\nbinding-key = k\n", "must differ"},
    {BASE "storage-key = k\nbinding-key = k\n", "must differ"},
    {BASE "binding-key =\n", "binding-key"},
    {BASE "[hsm-3]\nmodule = /x\ntoken = pkcs11:token=u\n", "[hsm-3] is there"},
    {BASE "[hsm-2]\nmodule = /x\n", "[hsm-2] token: must be set"},
    {BASE "[hsm-2]\nmodule = x\ntoken = pkcs11:token=u\n", "[hsm-2] module"},
    {BASE "[hsm-2]\ntoken = pkcs11:token=u\n", "[hsm-2] token"},
    {BASE "[hsm-2]\nmodule = /lib/x.so\ntoken = pkcs11:token=t\n", "that of [hsm] already"},
    {BASE "workers = 0\n", "1 to 64"},
    {BASE "workers = 65\n", "1 to 64"},
    {BASE "recycle-after = 0\n", "recycle-after"},
    {BASE "job-timeout = 0\n", "job-timeout"},
    {BASE "[listen]\naddress = localhost\n", "numeric address"},
    {BASE "[listen]\naddress = 127.0.0.256\n", "numeric address"},
    {BASE "[listen]\nport = 65536\n", "0 to 65535"},
    {BASE "[listen]\nallow = 10.0.0.0/8, nowhere\n", "[listen] allow: 'nowhere'"},
    {BASE "[store]\ncandidate-lifetime = 59\n", "1m to 365d"},
    {BASE "[store]\ncandidate-lifetime = 366d\n", "1m to 365d"},
    {BASE "[store]\npath = store.db\n", "absolute"},
    {BASE "[policy]\nkcv-length = 2\n", "3 to 4"},
    {BASE "[policy]\nkcv-length = 5\n", "3 to 4"},
    {BASE "[policy]\nstrength-policy = off\n", "warn, enforce"},
    {BASE "[policy]\nsuites = hardened\n", "hardened-rsa, classic, hardened-ec"},
    {BASE "[policy]\nsuites = classic, classic\n", "twice"},
    {BASE "[policy]\nsuites =\n", "must be one of"},
    {BASE "[policy]\nterminal-auth = none\n", "registered, certificate"},
    {BASE "[policy]\nterminal-auth = certificate\n", "terminal-root"},
    {BASE "[policy]\nhost-fallback = maybe\n", "no, yes"},
    {BASE "[policy]\noaep-hash = md5\n", "strongest, sha1, sha256"},
    {BASE "[certificates]\nterminal-crl = /c\n", "without terminal-root"},
    {BASE "[certificates]\nterminal-root = t.pem\n", "absolute"},
    {BASE "[certificates]\nwork =\n", "characters"},
    {BASE "[store]\nsuperseded-grace = 3651d\n", "0s to 3650d"},
    {BASE "[limits]\nmessage-size = 4095\n", "4096 to 16384"},
    {BASE "[limits]\nmessage-size = 16385\n", "4096 to 16384"},
    {BASE "[limits]\nconnections = 100001\n", "1 to 100000"},
    {BASE "[limits]\nhandshake-timeout = 9s\n", "idle-timeout must not exceed"},
    {BASE "[limits]\nqueue = 0\n", "queue"},
    {BASE "[log]\nlevel = trace\n", "debug, info, warn, error"},
    {BASE "[log]\ntarget = file\n", "stderr, syslog"},
};

START_TEST(fault)
{
    ck_assert_int_eq(load(faults[_i].text), KL_ERR_CONFIG);
    ck_assert_msg(strstr(err.text, faults[_i].says) != NULL, "%s", err.text);
    ck_assert_msg(strncmp(err.text, path, strlen(path)) == 0, "%s", err.text);
    ck_assert_ptr_null(config.hsm[0].token);
}
END_TEST

/* The sample in the tree is what --help-config prints, and loads once its token is set. */
START_TEST(sample_file)
{
    char *sample = NULL, *help = NULL, *token, *text = NULL;
    size_t sample_len, help_len;
    FILE *out = open_memstream(&help, &help_len);
    char name[300];

    kl_config_print_help(out);
    fclose(out);
    snprintf(name, sizeof(name), "%.*sconf/keyloaderd.conf",
             (int)(strstr(__FILE__, "tests/unit/") - __FILE__), __FILE__);
    ck_assert_msg(kl_file_read(name, 65536, &sample, &sample_len, &err) == KL_OK, "%s", err.text);
    ck_assert_str_eq(sample, help);
    ck_assert_int_eq(load(sample), KL_ERR_CONFIG);
    token = strstr(sample, "\ntoken =");
    ck_assert_ptr_nonnull(token);
    ck_assert_int_gt(asprintf(&text, "%.*s%s%s", (int)(token + 8 - sample), sample,
                              " pkcs11:token=t?module-path=/lib/x.so", token + 8),
                     0);
    ck_assert_msg(load(text) == KL_OK, "%s", err.text);
    free(sample);
    free(help);
    free(text);
}
END_TEST

/* A reload: what needs a restart stays as it is and is named, the rest is new. */
START_TEST(again)
{
    const struct kl_config *running = NULL, *next = NULL;
    struct kl_config_kept kept;

    ck_assert_int_eq(load(BASE "workers = 3\n[limits]\nqueue = 5\n"), KL_OK);
    ck_assert_msg(kl_config_new(path, &running, &err) == KL_OK, "%s", err.text);
    kl_config_wipe(&config);
    ck_assert_int_eq(load("[hsm]\nmodule = /lib/y.so\ntoken = pkcs11:token=t\n"
                          "[listen]\nallow = 10.0.0.0/8\n[limits]\nqueue = 6\n"),
                     KL_OK);
    ck_assert_msg(kl_config_again(path, running, &next, &kept, &err) == KL_OK, "%s", err.text);
    ck_assert_uint_eq(kept.count, 2);
    ck_assert_str_eq(kept.keys[0]->key, "module");
    ck_assert_str_eq(kept.keys[1]->key, "workers");
    ck_assert_str_eq(next->hsm[0].module, "/lib/x.so");
    ck_assert_uint_eq(next->hsm[0].workers, 3);
    ck_assert_uint_eq(next->queue, 6);
    ck_assert_uint_eq(next->allow.count, 1);
    ck_assert_uint_eq(running->queue, 5);
    kl_config_unref(kl_config_ref(running));
    ck_assert_uint_eq(running->queue, 5);
    kl_config_unref(running);
    kl_config_unref(next);
}
END_TEST

/* The new file is good by itself, but not with what is kept of the old one. */
START_TEST(again_at_odds)
{
    const struct kl_config *running = NULL, *next = NULL;
    struct kl_config_kept kept;

    ck_assert_int_eq(load(BASE "work-key = a\nstorage-key = b\n"), KL_OK);
    ck_assert_int_eq(kl_config_new(path, &running, &err), KL_OK);
    kl_config_wipe(&config);
    ck_assert_int_eq(load(BASE "work-key = b\nstorage-key = a\n"), KL_OK);
    ck_assert_int_eq(kl_config_again(path, running, &next, &kept, &err), KL_ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "only a restart changes"));
    ck_assert_ptr_null(next);
    kl_config_unref(running);
}
END_TEST

/* A file that is cut anywhere is refused, or means what the whole one means up to there: never
 * half a value. */
START_TEST(cut_anywhere)
{
    static const char text[] = BASE "[limits]\nqueue = 1234\n[log]\nlevel = error\n";
    unsigned refused = 0;

    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        enum kl_rc rc;

        ck_assert_int_eq(kl_file_write(path, text, len, 0600, 1, &err), KL_OK);
        rc = kl_config_load(path, &config, &err);
        refused += rc != KL_OK;
        if (rc == KL_OK) {
            kl_config_wipe(&config);
        } else {
            ck_assert_int_eq(rc, KL_ERR_CONFIG);
            ck_assert_msg(strncmp(err.text, path, strlen(path)) == 0, "%s", err.text);
        }
    }
    ck_assert_uint_gt(refused, 0);
}
END_TEST

static void token_config(const char *pin_file, const char *label)
{
    char text[PATH_MAX + 200];

    snprintf(text, sizeof(text), "[hsm]\nmodule = %s\ntoken = pkcs11:token=%s\npin-source = %s\n",
             test_softhsm_path(), label, pin_file);
    ck_assert_msg(load(text) == KL_OK, "%s", err.text);
}

START_TEST(open_token)
{
    struct kl_hsm_where where;
    struct kl_hsm *opened = NULL;
    char hsm[PATH_MAX], pin[100];
    enum kl_rc rc;

    test_softhsm_dir(hsm, "loader", "123456");
    snprintf(pin, sizeof(pin), "file:%s/pin", dir);
    ck_assert_int_eq(kl_file_write(pin + 5, "123456\n", 7, 0600, 1, &err), KL_OK);
    if (_i == 0) {
        token_config(pin, "loader");
        where = kl_config_hsm(&config, 0);
        rc = kl_hsm_open(&where, 0, &opened, &err);
        ck_assert_msg(rc == KL_OK, "%s", err.text);
        ck_assert_str_eq(kl_token_label(kl_hsm_token(opened)), "loader");
        kl_hsm_free(opened);
    } else {
        static const struct {
            const char *label, *pin;
            enum kl_rc rc;
        } rows[] = {{"other", "123456", KL_ERR_TOKEN}, {"loader", "654321", KL_ERR_PIN}};
        const char *text = rows[_i - 1].pin;

        ck_assert_int_eq(kl_file_write(pin + 5, text, 6, 0600, 1, &err), KL_OK);
        token_config(pin, rows[_i - 1].label);
        where = kl_config_hsm(&config, 0);
        rc = kl_hsm_open(&where, 0, &opened, &err);
        ck_assert_msg(rc == rows[_i - 1].rc, "%s: %s", kl_rc_name(rc), err.text);
        ck_assert_ptr_null(opened);
    }
    test_rm_rf(hsm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, defaults);
    tcase_add_test(tcase, choices);
    tcase_add_test(tcase, suites);
    tcase_add_test(tcase, terminal_certificates);
    tcase_add_loop_test(tcase, fault, 0, (int)(sizeof(faults) / sizeof(faults[0])));
    tcase_add_test(tcase, again);
    tcase_add_test(tcase, again_at_odds);
    tcase_add_test(tcase, cut_anywhere);
    tcase_add_test(tcase, sample_file);
    tcase_add_loop_test(tcase, open_token, 0, 3);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
