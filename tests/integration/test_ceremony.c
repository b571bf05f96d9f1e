/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * S1 and S2 by the real programs, acquire-ca and keyloaderctl: the ceremony from end to end, and
 * their command lines. Certificates, requests and PINs that they must refuse are in
 * test_refusals.c.
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "daemon/store/store.h"
#include "proto/cert.h"
#include "tests/support/ceremony.h"
#include "tests/support/hsm.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

static void same_files(const char *a, const char *b)
{
    char *one = file_read(a, NULL), *two = file_read(b, NULL);
    ck_assert_str_eq(one, two);
    free(one);
    free(two);
}

static json_t *last_json(void)
{
    json_t *value = json_loads(ceremony.last_out, 0, NULL);
    ck_assert_msg(value != NULL, "not JSON: %s", ceremony.last_out);
    return value;
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    ck_assert_msg(text != NULL, "no string \"%s\"", key);
    return text;
}

/* ---- The audit trail ---- */

/* The events recorded, oldest first, parted by blanks; who did each is said. */
static void recorded(const char *conf, const char *want)
{
    char got[1000] = "", us[32];
    json_t *list, *record;
    size_t i;

    snprintf(us, sizeof(us), "(%lu)", (unsigned long)getuid());
    CTL(0, NULL, conf, "--json", "audit", "list");
    list = last_json();
    json_array_foreach(list, i, record)
    {
        size_t used = strlen(got);
        snprintf(got + used, sizeof(got) - used, "%s%s", used ? " " : "", text_at(record, "event"));
        ck_assert_msg(strstr(text_at(record, "actor"), us) != NULL, "actor %s",
                      text_at(record, "actor"));
    }
    ck_assert_str_eq(got, want);
    json_decref(list);
}

/* ---- The ceremony ---- */

START_TEST(end_to_end)
{
    char conf[PATH_MAX], work[PATH_MAX], path[PATH_MAX], name[64];
    struct kl_err err = KL_ERR_INIT;
    STACK_OF(X509) *chain = NULL;
    X509 *root = ceremony_read_cert(ceremony.a_root);
    STACK_OF(X509) *roots = sk_X509_new_null();
    X509_CRL *crl = NULL;

    sk_X509_push(roots, root);
    ck_assert_int_eq(kl_crl_load(ceremony.a_crl, &crl, &err), KL_OK);
    ceremony_plain_config(conf, "e2e");
    CTL(66, "no certificate is installed", conf, "cert", "show");
    CTL(0, NULL, conf, "cert", "install", ceremony.good);
    same_files(ceremony_path(work, "e2e/acquire-work.pem"), ceremony.good);
    ck_assert_int_eq(kl_cert_load_pem(work, &chain, &err), KL_OK);
    ck_assert_msg(kl_cert_verify_loader(chain, roots, crl, time(NULL), NULL, &err) == KL_OK, "%s",
                  err.text);
    X509_CRL_free(crl);
    sk_X509_free(roots);
    CTL(0, NULL, conf, "--json", "cert", "show");
    json_t *shown = last_json();
    ck_assert_str_eq(text_at(shown, "status"), "ok");
    ck_assert_str_eq(text_at(shown, "key"), "ok");

    CA(0, NULL, "list", "--dir", ceremony.a_home, "--json");
    json_t *list = last_json();
    size_t at = json_array_size(list);
    const char *serial = text_at(json_object_get(shown, "certificate"), "serial");
    while (at > 0 && strcmp(text_at(json_array_get(list, at - 1), "serial"), serial) != 0) {
        at--;
    }
    ck_assert_msg(at > 0, "serial %s is not listed", serial);
    snprintf(name, sizeof name, "issued/%s.pem", serial);
    same_files(file_path(path, ceremony.a_home, name), ceremony.good);
    CA(0, NULL, "show", "--dir", ceremony.a_home, serial);
    CA(0, NULL, "show", "--dir", ceremony.a_home, "root");
    CA(66, "no certificate of serial 00FF", "show", "--dir", ceremony.a_home, "00ff");
    CA(65, "neither a serial", "show", "--dir", ceremony.a_home, "../root");
    json_decref(list);
    json_decref(shown);
    sk_X509_pop_free(chain, X509_free);
    X509_free(root);
}
END_TEST

START_TEST(keys_are_shown)
{
    char conf[PATH_MAX];

    CTL(0, NULL, ceremony_plain_config(conf, "show"), "--json", "key", "show");
    json_t *shown = last_json(), *work = json_object_get(shown, "work_key");
    X509 *cert = ceremony_read_cert(ceremony.good);
    ck_assert_str_eq(text_at(work, "attributes"), "ok");
    ck_assert_str_eq(text_at(work, "key"), "RSA-2048");
    ck_assert_str_eq(text_at(work, "suite"), "hardened-rsa");
    ck_assert_str_eq(text_at(json_object_get(shown, "storage_key"), "attributes"), "ok");
    ck_assert_str_eq(text_at(json_object_get(shown, "binding_key"), "attributes"), "ok");
    json_decref(shown);
    X509_free(cert);

    CTL(0, NULL, conf, "key", "csr", "--subject", "CN=x", "--out", "-");
    ck_assert_int_eq(strncmp(ceremony.last_out, "-----BEGIN CERTIFICATE REQUEST-----", 35), 0);
}
END_TEST

/* In a token of its own, since it destroys a key. */
START_TEST(replace)
{
    char conf[PATH_MAX], request[PATH_MAX], cert[PATH_MAX], *before;

    ceremony_softhsm("hsm-replace", ceremony.loader_env);
    ceremony_plain_config(conf, "replace");
    CTL(0, NULL, conf, "token", "init", "--so-pin-source", ceremony.so_source);
    CTL(73, "there is a token", conf, "token", "init", "--so-pin-source", ceremony.so_source);
    /* Nothing to replace is no reason to fail, and nothing is said to be destroyed. */
    CTL(0, NULL, conf, "--json", "key", "generate", "--key", "rsa-2048", "--replace");
    json_t *first = last_json();
    ck_assert_str_eq(text_at(first, "destroyed"), "none");
    ck_assert(json_is_true(json_object_get(first, "storage_key_made")));
    ck_assert(json_is_true(json_object_get(first, "binding_key_made")));
    recorded(conf, "key-generated key-generated key-generated key-generated");

    CTL(0, NULL, conf, "key", "csr", "--subject", "/CN=R", "--out",
        ceremony_path(request, "r.csr"));
    CTL(73, "--force", conf, "key", "csr", "--subject", "/CN=R", "--out", request);
    CTL(0, NULL, conf, "key", "csr", "--subject", "/CN=R", "--out", request, "--force");
    CA(0, NULL, "sign", "--dir", ceremony.a_home, "--csr", request, "--out",
       ceremony_path(cert, "r-cert.pem"), "--days", "30");
    CTL(0, NULL, conf, "cert", "install", cert);

    CTL(73, "--replace", conf, "key", "generate");
    CTL(64, "--key", conf, "key", "generate", "--replace", "--key", "rsa-1024");
    CTL(0, NULL, conf, "--json", "key", "show");
    json_t *kept = last_json();
    ck_assert_str_eq(text_at(json_object_get(kept, "work_key"), "spki_sha256"),
                     text_at(first, "spki_sha256"));

    CTL(0, "is useless now", conf, "--json", "key", "generate", "--key", "rsa-2048", "--replace");
    ck_assert_ptr_nonnull(strstr(ceremony.last_err, text_at(first, "spki_sha256")));
    json_t *second = last_json();
    ck_assert_str_eq(text_at(second, "destroyed"), text_at(first, "spki_sha256"));
    ck_assert(json_is_false(json_object_get(second, "storage_key_made")));
    ck_assert(json_is_false(json_object_get(second, "binding_key_made")));
    ck_assert_str_ne(text_at(second, "spki_sha256"), text_at(first, "spki_sha256"));
    recorded(conf,
             "key-generated key-generated key-generated key-generated csr-made csr-made csr-made "
             "certificate-installed key-destroyed key-generated");
    /* The old certificate is of another key now. */
    CTL(76, "no work key in the HSM", conf, "cert", "install", cert, "--force");
    CTL(76, "another key", conf, "cert", "show", "--json");
    json_t *shown = last_json();
    ck_assert_str_eq(text_at(shown, "status"), "ok"); /* it is a good certificate, of no use here */
    ck_assert_str_eq(text_at(shown, "key"), "another than the HSM's");
    json_decref(shown);

    before = file_read(cert, NULL);
    CTL(0, NULL, conf, "key", "csr", "--subject", "/CN=R", "--out", request, "--force");
    CA(73, "--force", "sign", "--dir", ceremony.a_home, "--csr", request, "--out", cert, "--days",
       "30");
    char *after = file_read(cert, NULL);
    ck_assert_str_eq(before, after);
    CA(0, NULL, "sign", "--dir", ceremony.a_home, "--csr", request, "--out", cert, "--days", "30",
       "--force");
    CTL(73, "--force", conf, "cert", "install", cert);
    CTL(0, NULL, conf, "cert", "install", cert, "--force");
    CTL(0, NULL, conf, "cert", "install", cert); /* again, the same: nothing to do */
    free(before);
    free(after);
    json_decref(first);
    json_decref(kept);
    json_decref(second);
}
END_TEST

/* The file that is installed to is the configuration's; the CA's own are installed from. */
static void crl_config(char conf[PATH_MAX], const char *more)
{
    FILE *f;
    char *text;
    char path[PATH_MAX];

    ceremony_plain_config(conf, "crls");
    text = file_read(conf, NULL);
    char *at = strstr(text, "crl = ");
    ck_assert_ptr_nonnull(at);
    ck_assert_ptr_nonnull(f = fopen(conf, "we"));
    fprintf(f, "%.*scrl = %s\n%s%s", (int)(at - text), text, ceremony_path(path, "crls.pem"), more,
            strchr(at, '\n') + 1);
    ck_assert_int_eq(fclose(f), 0);
    free(text);
}

/* A CRL is installed only if a root signed it for this scope, and never an older one. */
START_TEST(crls)
{
    char conf[PATH_MAX], newer[PATH_MAX], scoped[PATH_MAX], roots[PATH_MAX + 64], path[PATH_MAX];

    crl_config(conf, "");
    ceremony_path(newer, "newer.pem");
    ceremony_path(scoped, "scoped.pem");
    CA(0, NULL, "crl", "--dir", ceremony.a_home, "--scope", "loader", "--out", newer);
    CA(0, NULL, "crl", "--dir", ceremony.a_home, "--scope", "terminal", "--out", scoped);
    CTL(66, "no CRL is installed", conf, "crl", "show");
    CTL(76, "CRL", conf, "cert", "install", ceremony.good); /* it names one */
    CTL(76, "none of the roots", conf, "crl", "install", ceremony.b_crl);
    CTL(76, "is not installed", conf, "crl", "install", scoped);
    CTL(76, "CRL file", conf, "crl", "install", ceremony.csr);
    CTL(64, "loader or terminal", conf, "crl", "install", scoped, "--scope", "both");
    CTL(78, "terminal-root is not set", conf, "crl", "install", scoped, "--scope", "terminal");
    CTL(0, NULL, conf, "crl", "install", ceremony.a_crl);
    CTL(0, NULL, conf, "cert", "install", ceremony.good);
    CTL(0, NULL, conf, "--json", "crl", "install", newer);
    json_t *report = last_json();
    ck_assert(json_is_true(json_object_get(report, "changed")));
    json_decref(report);
    CTL(0, NULL, conf, "--json", "crl", "install", newer);
    report = last_json();
    ck_assert(json_is_false(json_object_get(report, "changed")));
    json_decref(report);
    CTL(77, "not newer", conf, "crl", "install", ceremony.a_crl);
    CTL(0, NULL, conf, "--json", "audit", "list", "--last", "1");
    report = last_json();
    ck_assert_str_eq(text_at(json_array_get(report, 0), "event"), "crl-installed");
    json_decref(report);
    CTL(0, NULL, conf, "--json", "crl", "show");
    report = last_json();
    ck_assert_uint_eq(json_array_size(json_object_get(report, "crls")), 1);
    ck_assert_str_eq(text_at(json_array_get(json_object_get(report, "crls"), 0), "status"), "ok");
    json_decref(report);

    snprintf(roots, sizeof roots, "terminal-root = %s\nterminal-crl = %s\n", ceremony.a_root,
             ceremony_path(path, "terminals.pem"));
    crl_config(conf, roots);
    CTL(76, "is not installed", conf, "crl", "install", newer, "--scope", "terminal");
    CTL(0, NULL, conf, "crl", "install", scoped, "--scope", "terminal");
    CTL(0, NULL, conf, "crl", "show", "--scope", "terminal");
    file_write(path, "x", 1, 0644);
    CTL(76, "remove what is installed", conf, "crl", "install", scoped, "--scope", "terminal");
}
END_TEST

/* Which chains there are; one that is served no longer. */
START_TEST(chains)
{
    char conf[PATH_MAX], installed[PATH_MAX];

    ceremony_plain_config(conf, "chains");
    CTL(0, NULL, conf, "--json", "cert", "list");
    json_t *list = last_json();
    ck_assert_uint_eq(json_array_size(list), 0);
    json_decref(list);
    CTL(0, NULL, conf, "cert", "install", ceremony.good, "--label", "acquire-work");
    CTL(0, NULL, conf, "--json", "cert", "list");
    list = last_json();
    ck_assert_uint_eq(json_array_size(list), 1);
    ck_assert_str_eq(text_at(json_array_get(list, 0), "label"), "acquire-work");
    ck_assert_str_eq(text_at(json_array_get(list, 0), "key"), "RSA-2048");
    ck_assert_str_eq(text_at(json_array_get(list, 0), "status"), "ok");
    json_decref(list);
    /* Which one is no good is said, whatever is wrong with it. */
    ck_assert_int_lt(snprintf(installed, sizeof(installed), "%s/chains/acquire-work.pem",
                              ceremony.top),
                     (int)sizeof(installed));
    file_write(installed, "x", 1, 0644);
    CTL(76, "acquire-work: ", conf, "--json", "cert", "list");
    list = last_json();
    ck_assert_str_eq(text_at(json_array_get(list, 0), "status"), "bad");
    json_decref(list);
    CTL(64, "--label is missing", conf, "cert", "remove");
    CTL(0, NULL, conf, "cert", "remove", "--label", "acquire-work");
    CTL(66, "no certificate is installed", conf, "cert", "remove", "--label", "acquire-work");
    CTL(66, "no certificate is installed", conf, "cert", "show", "--label", "acquire-work");
    CTL(0, NULL, conf, "--json", "audit", "list");
    list = last_json();
    ck_assert_str_eq(text_at(json_array_get(list, 0), "event"), "certificate-installed");
    ck_assert_str_eq(text_at(json_array_get(list, 1), "event"), "certificate-removed");
    json_decref(list);
}
END_TEST

/* What a running daemon would be hurt by, and what it does not know of. Its part is played by the
 * lock that it holds. */
START_TEST(while_a_daemon_runs)
{
    char conf[PATH_MAX], path[PATH_MAX];
    struct kl_err err = KL_ERR_INIT;
    struct kl_store *store = NULL;

    ceremony_plain_config(conf, "serving");
    ck_assert_int_eq(kl_store_open(ceremony_path(path, "serving.db"), KL_STORE_CREATE, &store,
                                   &err),
                     KL_OK);
    ck_assert_int_eq(kl_store_claim(store, &err), KL_OK);
    CTL(75, "stop keyloaderd first", conf, "key", "generate", "--replace");
    CTL(73, "--replace", conf, "key", "generate"); /* the key is still there */
    CTL(0, "SIGHUP", conf, "cert", "install", ceremony.good, "--json");
    json_t *report = last_json();
    ck_assert(json_is_true(json_object_get(report, "reload_needed")));
    json_decref(report);
    CTL(0, NULL, conf, "--json", "cert", "install", ceremony.good);
    report = last_json();
    ck_assert(json_is_false(json_object_get(report, "reload_needed"))); /* nothing has changed */
    json_decref(report);
    kl_store_free(store);
    ck_assert_int_eq(unlink(ceremony_path(path, "serving/acquire-work.pem")), 0);
    CTL(0, NULL, conf, "cert", "--json", "install", ceremony.good);
    report = last_json();
    ck_assert(json_is_false(json_object_get(report, "reload_needed")));
    ck_assert_str_eq(ceremony.last_err, "");
    json_decref(report);
}
END_TEST

/* Nobody is asked for a PIN, nor must the HSM be there, to look at a certificate. */
START_TEST(key_is_not_checked)
{
    char conf[PATH_MAX], source[PATH_MAX + 32];

    CTL(0, NULL, ceremony_plain_config(conf, "unchecked"), "cert", "install", ceremony.good);
    ceremony_config(conf, "unchecked", test_softhsm_path(), "pkcs11:token=loader", "prompt",
                    ceremony.a_root);
    CTL(0, NULL, conf, "cert", "show");
    ck_assert_ptr_nonnull(strstr(ceremony.last_out, "\nkey: not checked\n"));
    ceremony_config(conf, "unchecked", test_softhsm_path(), "pkcs11:token=loader", "",
                    ceremony.a_root);
    CTL(0, NULL, conf, "cert", "show");
    ck_assert_ptr_nonnull(strstr(ceremony.last_out, "\nkey: not checked\n"));
    snprintf(source, sizeof source, "file:%s/no-such-pin", ceremony.top);
    ceremony_config(conf, "unchecked", test_softhsm_path(), "pkcs11:token=loader", source,
                    ceremony.a_root);
    CTL(0, NULL, conf, "cert", "show");
    ck_assert_ptr_nonnull(strstr(ceremony.last_out, "\nkey: not checked: PIN file"));
}
END_TEST

/* ---- Command lines, and mistakes with them ---- */

START_TEST(command_line)
{
    char conf[PATH_MAX];

    ceremony_plain_config(conf, "cli");
    CA(0, NULL, "--help");
    CA(0, NULL, "--version");
    CA(64, "unknown command", "frobnicate");
    CA(64, "--subject is missing", "init", "--dir", "x");
    CA(64, "either --token URI or --pem", "init", "--dir", "x", "--subject", "/CN=x", "--days",
       "1");
    CA(65, "no common name", "init", "--dir", "x", "--subject", "/O=x", "--days", "1", "--pem");
    CTL(64, "unknown command \"key frobnicate\"", conf, "key", "frobnicate");
    CTL(64, "unknown command \"frobnicate\"", conf, "frobnicate");
    CTL(64, "FILE is missing", conf, "cert", "install");
    CTL(64, "one operand too many", conf, "key", "show", "x");
    CTL(64, "unknown option --frobnicate", conf, "key", "show", "--frobnicate");
    CTL(64, "key: unknown option --frobnicate", conf, "key", "--frobnicate");
    CTL(64, "unknown option --conf", conf, "--conf", conf, "key", "show");
    CTL(64, "unknown option --out-file", conf, "key", "csr", "--out-file", "x");
    CTL(64, "unknown option --sub", conf, "key", "csr", "--sub", "/CN=x", "--out", "-");
    CTL(64, "option --replace takes no value", conf, "key", "generate", "--replace=yes");
    CTL(64, "option --key needs a value", conf, "key", "generate", "--key");
    CTL(64, "option --json takes no value", conf, "key", "show", "--json=yes");
    CTL(64, "option --config needs a value", conf, "key", "show", "--config");
}
END_TEST

START_TEST(options_anywhere)
{
    char conf[PATH_MAX];

    ceremony_plain_config(conf, "anywhere");
    CTL_ALONE(0, NULL, "key", "show", "--json", "-c", conf);
    json_decref(last_json());
    CTL_ALONE(0, NULL, "key", "--config", conf, "show");
    CTL_ALONE(0, NULL, "--config=/nowhere.conf", "key", "show", "--json", "--config", conf);
    json_decref(last_json());
    CTL_ALONE(66, "/nowhere.conf", "key", "show", "-c", "/nowhere.conf");
    CTL_ALONE(64, "one operand too many", "key", "show", "-c", conf, "--", "--json");
}
END_TEST

static void has_words(const char *text, const char *words)
{
    ck_assert_msg(strstr(text, words) != NULL, "\"%s\" is not in: %s", words, text);
}

/* Help is asked of the program, a group or a command, and tells defaults and exit statuses. */
START_TEST(help)
{
    static const enum kl_rc all[] = {
#define RC(code, name, text, wire, status) code,
        KL_RC_LIST(RC)
#undef RC
    };
    char line[16];

    CTL_ALONE(0, NULL, "--help");
    has_words(ceremony.last_out, "key csr --subject NAME");
    has_words(ceremony.last_out, "terminal arm SERIAL");
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        snprintf(line, sizeof line, "\n  %2d  ", kl_rc_exit_status(all[i]));
        has_words(ceremony.last_out, line);
    }
    CTL_ALONE(0, NULL, "terminal", "--help");
    has_words(ceremony.last_out, "terminal pinpad SERIAL");
    ck_assert_ptr_null(strstr(ceremony.last_out, "key csr"));
    CTL_ALONE(0, NULL, "--help", "terminal", "arm");
    has_words(ceremony.last_out, "default 2h");
    has_words(ceremony.last_out, "default 3");
    has_words(ceremony.last_out, "2026-01-31T12:00:00Z");
    ck_assert_ptr_null(strstr(ceremony.last_out, "terminal block"));
    CTL_ALONE(0, NULL, "key", "generate", "--help");
    has_words(ceremony.last_out, "hardened-rsa with rsa-3072");
    CTL_ALONE(64, "terminal disarm SERIAL", "terminal");
    CTL_ALONE(64, "unknown command \"frobnicate\"", "frobnicate", "--help");
    CTL_ALONE(64, "unknown command \"key frobnicate\"", "key", "frobnicate", "--help");
    CTL_ALONE(64, "no command given", "--json");
    CTL_ALONE(0, NULL, "--version");
    CTL_ALONE(0, NULL, "--help-config");
}
END_TEST

/* An operator's mistakes about terminals and the store end with a status that says which. */
START_TEST(terminals)
{
    char conf[PATH_MAX], store[PATH_MAX];

    ceremony_plain_config(conf, "terminals");
    CTL(66, "there is no store yet", conf, "terminal", "list");
    CTL(0, NULL, conf, "terminal", "add", "T1", "--pinpad", "P1");
    CTL(0, NULL, conf, "cert", "install", ceremony.good);
    CTL(0, "RSA-2048", conf, "terminal", "add", "A1", "--algorithm", "aes128");
    for (size_t i = 0; i < 3; i++) {
        static const char *const commands[] = {"arm", "disarm", "block"};

        CTL(66, "T9 is not registered", conf, "terminal", commands[i], "T9");
    }
    CTL(66, "T9 is not registered", conf, "terminal", "show", "T9");
    CTL(66, "T9 is not registered", conf, "terminal", "pinpad", "T9", "--any");
    CTL(64, "unknown option --pin", conf, "terminal", "add", "T2", "--pin", "1234");
    CTL(0, NULL, conf, "terminal", "pinpad", "T1", "--set", "P2", "--json");
    json_t *report = last_json(), *list = json_object_get(report, "terminals");
    ck_assert_str_eq(text_at(json_array_get(list, 0), "pinpad"), "P2");
    json_decref(report);
    ck_assert_int_eq(chmod(ceremony_path(store, "terminals.db"), 0644), 0);
    CTL(74, "chmod 600", conf, "terminal", "list");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ceremony");
    TCase *tc = tcase_create("ceremony");

    tcase_add_unchecked_fixture(tc, ceremony_found, ceremony_abandon);
    /* After each test, since what its programs print is gone with this suite. */
    tcase_add_checked_fixture(tc, NULL, ceremony_no_secret);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, end_to_end);
    tcase_add_test(tc, keys_are_shown);
    tcase_add_test(tc, replace);
    tcase_add_test(tc, crls);
    tcase_add_test(tc, chains);
    tcase_add_test(tc, while_a_daemon_runs);
    tcase_add_test(tc, key_is_not_checked);
    tcase_add_test(tc, command_line);
    tcase_add_test(tc, options_anywhere);
    tcase_add_test(tc, help);
    tcase_add_test(tc, terminals);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
