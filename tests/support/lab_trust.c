/* SPDX-License-Identifier: BSD-2-Clause */
/* CAs that a test signs with, the man in the middle, and the loader's alarms: see lab_trust.h. */
#include "tests/support/lab_trust.h"

#include <check.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/report.h"
#include "proto/cert.h"
#include "proto/frame.h"
#include "tests/support/fakeloader.h"
#include "tests/support/proc.h"

#define CA_SUBJECT "/O=Test Acquirer/CN=AcquireRCRT"
#define CA_SECONDS 60

/* ---- CAs ---- */

static char *ca_home(const struct lab *lab, const char *name, char home[PATH_MAX])
{
    char dir[PATH_MAX];

    return file_path(home, file_path(dir, lab->dir, name), "home");
}

static void run_ca(struct lab *lab, const char *name, const char *const *argv)
{
    char conf[PATH_MAX + 64];
    const char *env[] = {conf, NULL};
    struct proc proc;
    int status;

    proc_text(conf, sizeof conf, "SOFTHSM2_CONF=%s/%s/softhsm2.conf", lab->dir, name);
    proc_spawn(&proc, lab->logs, env, argv);
    status = proc_wait(&proc, CA_SECONDS);
    if (status != 0) {
        ck_abort_msg("acquire-ca %s: status %d: %s", argv[1], status, file_read(proc.err, NULL));
    }
}

void lab_found_file_ca(struct lab *lab, const char *name, const char *key)
{
    char dir[PATH_MAX], home[PATH_MAX], pin[PATH_MAX];

    file_mkdir(file_path(dir, lab->dir, name));
    proc_text(pin, sizeof pin, "file:%s/ca.pin", lab->dir);
    run_ca(lab, name,
           (const char *const[]){lab_built("bin/acquire-ca"), "init", "--dir",
                                 ca_home(lab, name, home), "--subject", CA_SUBJECT, "--days",
                                 "3650", "--key", key, "--pem", "--pin-source", pin, NULL});
}

char *lab_ca_root(const struct lab *lab, const char *name, char path[PATH_MAX])
{
    char home[PATH_MAX];

    return file_path(path, ca_home(lab, name, home), "root.pem");
}

void lab_found_trust(struct lab *lab, const char *ca_key, const char *suite, const char *key)
{
    char from[PATH_MAX], to[PATH_MAX];

    lab_lay_out(lab);
    lab_found_file_ca(lab, "ca", ca_key);
    lab_copy_file(lab_ca_root(lab, "ca", from), file_path(to, lab->dir, "root.pem"));
    lab_set(lab, "policy", "terminal-auth", "certificate");
    lab_set(lab, "certificates", "terminal-root", to);
    lab_set(lab, "certificates", "terminal-crl", file_path(to, lab->dir, "terminal-crl.pem"));
    lab_publish_crl(lab, "ca", "loader");
    lab_publish_crl(lab, "ca", "terminal");
    lab_certify(lab, LAB_WORK_KEY, suite, key, "ca");
}

void lab_ca(struct lab *lab, const char *name, ...)
{
    const char *argv[PROC_ARGS] = {lab_built("bin/acquire-ca")};
    char home[PATH_MAX];
    va_list ap;
    size_t n = 1;

    va_start(ap, name);
    while ((argv[n] = va_arg(ap, const char *)) != NULL) {
        ck_assert_uint_lt(++n, PROC_ARGS - 3);
    }
    va_end(ap);
    argv[n++] = "--dir";
    argv[n++] = ca_home(lab, name, home);
    argv[n] = NULL;
    run_ca(lab, name, argv);
}

void lab_revoke(struct lab *lab, const char *ca, const X509 *cert)
{
    char serial[KL_SERIAL_HEX];
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_cert_serial_hex(cert, serial, &err), KL_OK);
    lab_ca(lab, ca, "revoke", serial, NULL);
}

void lab_issuer_open(const struct lab *lab, const char *name, struct lab_issuer *out)
{
    char home[PATH_MAX], path[PATH_MAX], pin[PATH_MAX], *passphrase;
    FILE *f = fopen(file_path(path, ca_home(lab, name, home), "root-key.pem"), "re");

    ck_assert_ptr_nonnull(f);
    passphrase = file_read(file_path(pin, lab->dir, "ca.pin"), NULL);
    passphrase[strcspn(passphrase, "\n")] = '\0';
    out->key = PEM_read_PrivateKey(f, NULL, NULL, passphrase);
    ck_assert_ptr_nonnull(out->key);
    free(passphrase);
    fclose(f);
    out->root = lab_read_cert(lab_ca_root(lab, name, path));
}

void lab_issuer_close(struct lab_issuer *issuer)
{
    EVP_PKEY_free(issuer->key);
    X509_free(issuer->root);
}

X509 *lab_terminal_cert(const struct lab_issuer *issuer, const char *serial, EVP_PKEY *key,
                        const struct kl_rogue_profile *profile)
{
    struct kl_rogue_profile full = *profile;
    X509 *cert;

    if (full.eku == NULL) {
        full.eku = "critical," KL_OID_EKU_TERMINAL;
    }
    if (full.key_usage == NULL) {
        full.key_usage = "critical,digitalSignature";
    }
    cert = fake_new_cert(serial, key, issuer->root, issuer->key, &full);
    ck_assert_int_eq(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "serialNumber",
                                                MBSTRING_ASC, (const unsigned char *)serial, -1, -1,
                                                0),
                     1);
    ck_assert_int_gt(X509_sign(cert, issuer->key, EVP_sha256()), 0);
    return cert;
}

/* ---- Files ---- */

X509 *lab_read_cert(const char *path)
{
    FILE *f = fopen(path, "re");
    X509 *cert;

    ck_assert_msg(f != NULL, "%s", path);
    cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    ck_assert_msg(cert != NULL, "%s", path);
    return cert;
}

void lab_write_cert(const char *path, X509 *cert)
{
    FILE *f = fopen(path, "we");

    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_int_eq(PEM_write_X509(f, cert), 1);
    ck_assert_int_eq(fclose(f), 0);
}

void lab_write_crl(const char *path, X509_CRL *crl)
{
    FILE *f = fopen(path, "we");

    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_int_eq(PEM_write_X509_CRL(f, crl), 1);
    ck_assert_int_eq(fclose(f), 0);
}

static char *terminal_dir(const struct lab *lab, const char *serial, char dir[PATH_MAX])
{
    proc_text(dir, PATH_MAX, "%s/term-%s", lab->run, serial);
    return dir;
}

char *lab_terminal_file(const struct lab *lab, const char *serial, const char *name,
                        char path[PATH_MAX])
{
    char role[PATH_MAX], dir[PATH_MAX];

    return file_path(path, file_path(dir, terminal_dir(lab, serial, role), "terminal"), name);
}

void lab_copy_file(const char *from, const char *to)
{
    size_t len;
    char *data = file_read(from, &len);

    ck_assert_msg(len > 0, "%s", from);
    file_write(to, data, len, 0600);
    free(data);
}

/* `text` with every `from` replaced; malloc'ed. */
static char *replaced(const char *in, const char *from, const char *to)
{
    size_t count = 0, used = 0;
    char *out;

    for (const char *at = in; (at = strstr(at, from)) != NULL; at += strlen(from)) {
        count++;
    }
    out = malloc(strlen(in) + count * strlen(to) + 1);
    ck_assert_ptr_nonnull(out);
    for (const char *at; (at = strstr(in, from)) != NULL; in = at + strlen(from)) {
        memcpy(out + used, in, (size_t)(at - in));
        used += (size_t)(at - in);
        memcpy(out + used, to, strlen(to));
        used += strlen(to);
    }
    memcpy(out + used, in, strlen(in) + 1);
    return out;
}

static void edit_file(const char *path, const char *from, const char *to)
{
    char *before = file_read(path, NULL), *after = replaced(before, from, to);

    ck_assert_str_ne(before, after);
    file_write(path, after, strlen(after), 0600);
    free(before);
    free(after);
}

void lab_clone_terminal(struct lab *lab, const char *from, const char *to)
{
    char old[PATH_MAX], new[PATH_MAX], path[PATH_MAX], was[128], is[128];
    struct proc proc;

    terminal_dir(lab, from, old);
    terminal_dir(lab, to, new);
    proc_spawn(&proc, lab->logs, NULL,
               (const char *const[]){"/bin/cp", "-a", "--", old, new, NULL});
    ck_assert_int_eq(proc_wait(&proc, CA_SECONDS), 0);
    /* What names the PIN pad's token. */
    edit_file(lab->nss ? lab_terminal_file(lab, to, "terminal.conf", path)
                       : file_path(path, new, "softhsm2.conf"),
              old, new);
    proc_text(was, sizeof was, "serial = %s\n", from);
    proc_text(is, sizeof is, "serial = %s\n", to);
    edit_file(lab_terminal_file(lab, to, "terminal.conf", path), was, is);
}

/* ---- The man in the middle ---- */

static size_t edit_frame(void *arg, unsigned number, uint8_t *frame, size_t len)
{
    struct lab_mitm *mitm = arg;
    uint8_t der[KL_MSG_MAX], out[KL_FRAME_MAX];
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;
    size_t n = len - KL_FRAME_HEADER;

    (void)number;
    if (n > sizeof der) {
        return len;
    }
    memcpy(der, frame + KL_FRAME_HEADER, n);
    if (kl_msg_decode(der, n, &msg, &err) != KL_OK || !mitm->edit(&msg, der, n, mitm->arg)) {
        return len;
    }
    if (kl_frame_encode(&msg, out, &n, &err) != KL_OK) {
        mitm->failures++;
        return len;
    }
    mitm->edits++;
    memcpy(frame, out, n);
    return n;
}

int lab_mitm_load(struct lab *lab, const char *serial, const char *const *extra,
                  struct lab_mitm *mitm, unsigned edits, char **said)
{
    const struct relay_plan plan = {.act = RELAY_EDIT, .edit = edit_frame, .arg = mitm};
    struct relay *relay = relay_start(0, lab->port, &plan);
    struct proc proc;
    int status;

    ck_assert_ptr_nonnull(relay);
    lab_load_start(lab, serial, relay_port(relay), extra, &proc);
    status = proc_wait(&proc, LAB_LOAD_SECONDS);
    relay_stop(relay);
    ck_assert_uint_eq(mitm->failures, 0);
    ck_assert_msg(mitm->edits >= edits, "only %u changes: %s", mitm->edits,
                  file_read(proc.err, NULL));
    if (said != NULL) {
        *said = file_read(proc.err, NULL);
    }
    return status;
}

/* ---- What the loader says ---- */

unsigned lab_alarms(struct lab *lab, const char *serial, const char *reason)
{
    char *report = lab_ctl(lab, "--json", "audit", "list", "--last", "1000", NULL), wanted[64];
    json_t *events = json_loads(report, 0, NULL), *event;
    unsigned count = 0;
    size_t i;

    ck_assert_msg(json_is_array(events), "%s", report);
    proc_text(wanted, sizeof wanted, "reason=%s ", reason != NULL ? reason : "");
    json_array_foreach(events, i, event)
    {
        const char *name = NULL, *whose = NULL, *detail = NULL;

        ck_assert_int_eq(json_unpack(event, "{s:s, s?s, s?s}", "event", &name, "serial", &whose,
                                     "detail", &detail),
                         0);
        count += strcmp(name, "alarm") == 0 && whose != NULL && strcmp(whose, serial) == 0 &&
                 (reason == NULL || (detail != NULL && strstr(detail, wanted) != NULL));
    }
    json_decref(events);
    free(report);
    return count;
}

void lab_await_alarm(struct lab *lab, const char *serial, const char *reason, unsigned count)
{
    for (int ms = 0; lab_alarms(lab, serial, reason) < count; ms += 100) {
        if (ms >= proc_seconds(5) * 1000) {
            ck_abort_msg("fewer than %u alarms (%s) of %s: %s", count,
                         reason != NULL ? reason : "any", serial, file_read(lab->daemon.err, NULL));
        }
        proc_sleep_ms(100);
    }
}

unsigned lab_attempts(struct lab *lab, const char *serial)
{
    char *report = lab_ctl(lab, "--json", "terminal", "show", serial, NULL);
    json_t *shown = json_loads(report, 0, NULL);
    int left = -1;

    ck_assert_int_eq(json_unpack(shown, "{s:i}", "attempts_left", &left), 0);
    json_decref(shown);
    free(report);
    return (unsigned)left;
}
