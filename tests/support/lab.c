/* SPDX-License-Identifier: BSD-2-Clause */
/* The key loading centre of the tests: ceremony, daemon, terminals, and what they hold. */
#include "tests/support/lab.h"

#include <check.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/lab_hsm.h"

#define RUN_SECONDS 60 /* one command of the ceremony; RSA-3072 keys take a while */
#define PIN_DIGITS 12

/* ---- Small things ---- */

const char *lab_built(const char *name)
{
    static char paths[4][PATH_MAX]; /* as many as one command line uses */
    static unsigned next;
    const char *build = getenv("KL_BUILD");
    char *out = paths[next++ % 4];
    proc_text(out, PATH_MAX, "%s/%s", build != NULL ? build : "build", name);
    return out;
}

static void write_pin(const char *dir, const char *name)
{
    char path[PATH_MAX], pin[PIN_DIGITS + 1];
    uint8_t random[PIN_DIGITS];
    ck_assert_int_eq(getrandom(random, sizeof random, 0), PIN_DIGITS);
    for (int i = 0; i < PIN_DIGITS; i++) {
        pin[i] = (char)('0' + random[i] % 10);
    }
    pin[PIN_DIGITS] = '\n';
    file_write(file_path(path, dir, name), pin, sizeof pin, 0600);
}

/* Runs one of our programs with the SoftHSM of `role` (a directory). */
static void spawn_as(struct lab *lab, const char *role, struct proc *proc, const char *const *argv)
{
    char conf[PATH_MAX + 32];
    const char *env[10] = {conf};
    proc_text(conf, sizeof conf, "SOFTHSM2_CONF=%s/softhsm2.conf", role);
    for (size_t i = 0; lab->env[i] != NULL; i++) {
        env[i + 1] = lab->env[i];
    }
    proc_spawn(proc, lab->logs, env, argv);
}

static void must_run(struct lab *lab, const char *role, const char *const *argv)
{
    struct proc proc;
    spawn_as(lab, role, &proc, argv);
    int status = proc_wait(&proc, RUN_SECONDS);
    if (status != 0) {
        ck_abort_msg("%s %s: status %d: %s", argv[0], argv[1], status, file_read(proc.err, NULL));
    }
}
#define MUST_RUN(lab, role, ...) must_run(lab, role, (const char *const[]){__VA_ARGS__, NULL})

/* ---- Configuration ---- */

static int is_first_of_section(const struct lab *lab, size_t setting)
{
    for (size_t i = 0; i < setting; i++) {
        if (strcmp(lab->settings[i].section, lab->settings[setting].section) == 0) {
            return 0;
        }
    }
    return 1;
}

static void write_conf(struct lab *lab)
{
    FILE *f = fopen(lab->conf, "we");
    ck_assert_ptr_nonnull(f);
    for (size_t s = 0; s < lab->setting_count; s++) {
        if (!is_first_of_section(lab, s)) {
            continue;
        }
        fprintf(f, "[%s]\n", lab->settings[s].section);
        for (size_t i = s; i < lab->setting_count; i++) {
            if (strcmp(lab->settings[i].section, lab->settings[s].section) == 0) {
                fprintf(f, "%s = %s\n", lab->settings[i].key, lab->settings[i].value);
            }
        }
    }
    ck_assert_int_eq(fclose(f), 0);
}

void lab_set(struct lab *lab, const char *section, const char *key, const char *value)
{
    struct lab_setting *at = lab->settings;
    for (size_t i = 0; i < lab->setting_count; i++, at++) {
        if (strcmp(at->section, section) == 0 && strcmp(at->key, key) == 0) {
            break;
        }
    }
    if (at == lab->settings + lab->setting_count) {
        ck_assert_uint_lt(lab->setting_count, LAB_SETTINGS);
        lab->setting_count++;
    }
    proc_text(at->section, sizeof at->section, "%s", section);
    proc_text(at->key, sizeof at->key, "%s", key);
    proc_text(at->value, sizeof at->value, "%s", value);
    if (lab->conf[0] != '\0') {
        write_conf(lab);
    }
}

/* What every daemon of the lab is told. */
static void basic_settings(struct lab *lab)
{
    char path[PATH_MAX], source[PATH_MAX + 8], role[PATH_MAX];
    lab_set(lab, "listen", "port", "0");
    lab_set(lab, "hsm", "module", lab->module);
    lab_set(lab, "hsm", "init-reserved",
            lab_init_reserved(lab, file_path(role, lab->dir, "hsm"), "loader", path));
    lab_set(lab, "hsm", "session-copies", lab->nss ? "yes" : "no");
    lab_set(lab, "hsm", "accept", lab->nss ? LAB_NSS_ACCEPT : "none");
    lab_set(lab, "hsm", "token", "pkcs11:token=loader");
    proc_text(source, sizeof source, "file:%s", file_path(path, lab->dir, "loader.pin"));
    lab_set(lab, "hsm", "pin-source", source);
    lab_set(lab, "hsm", "workers", "1");
    lab_set(lab, "hsm", "work-key", LAB_WORK_KEY);
    lab_set(lab, "certificates", "root", file_path(path, lab->dir, "root.pem"));
    lab_set(lab, "certificates", "work", file_path(path, lab->dir, "work"));
    lab_set(lab, "certificates", "crl", file_path(path, lab->dir, "crl.pem"));
    lab_set(lab, "store", "path", lab->store);
    lab_set(lab, "control", "dual-control", "none"); /* one test is one operator */
    lab_set(lab, "log", "level", "debug");
}

/* ---- Ceremony ---- */

/* Where a CA is, and what its programs are told. */
struct ca_paths {
    char role[PATH_MAX], home[PATH_MAX], pin[PATH_MAX], token[64];
};

static void ca_paths(const struct lab *lab, const char *name, struct ca_paths *out)
{
    file_path(out->role, lab->dir, name);
    file_path(out->home, out->role, "home");
    proc_text(out->pin, sizeof out->pin, "file:%s/ca.pin", lab->dir);
    proc_text(out->token, sizeof out->token, "pkcs11:token=%s", name);
}

/* Appends file FROM to file TO, which need not be there. */
static void append_file(const char *from, const char *to)
{
    size_t old_len, len;
    char *old = file_read(to, &old_len), *more = file_read(from, &len);
    char *both = malloc(old_len + len);
    ck_assert_ptr_nonnull(both);
    memcpy(both, old, old_len);
    memcpy(both + old_len, more, len);
    file_write(to, both, old_len + len, 0644);
    free(old);
    free(more);
    free(both);
}

void lab_found_ca(struct lab *lab, const char *name)
{
    struct ca_paths ca;
    char so[PATH_MAX], subject[128], root[PATH_MAX], roots[PATH_MAX];
    char pin[PATH_MAX], reserved[PATH_MAX];
    const char *program = lab_built("bin/acquire-ca");
    ca_paths(lab, name, &ca);
    lab_make_hsm(lab, ca.role, file_path(pin, lab->dir, "ca.pin"));
    lab_init_reserved(lab, ca.role, name, reserved);
    proc_text(so, sizeof so, "file:%s/ca-so.pin", lab->dir);
    proc_text(subject, sizeof subject, "/O=Test Acquirer/CN=AcquireRCRT %s", name);
    if (!lab->nss) {
        MUST_RUN(lab, ca.role, program, "token-init", "--module", lab->module, "--label", name,
                 "--so-pin-source", so, "--pin-source", ca.pin);
    }
    MUST_RUN(lab, ca.role, program, "init", "--dir", ca.home, "--subject", subject, "--days",
             "3650", "--key", "rsa-2048", "--token", ca.token, "--module", lab->module,
             "--init-reserved", reserved, "--pin-source", ca.pin);
    append_file(file_path(root, ca.home, "root.pem"), file_path(roots, lab->dir, "root.pem"));
}

void lab_publish_crl(struct lab *lab, const char *ca_name, const char *scope)
{
    struct ca_paths ca;
    char role[PATH_MAX], out[PATH_MAX];
    ca_paths(lab, ca_name, &ca);
    file_path(out, lab->dir, "issued-crl.pem");
    MUST_RUN(lab, ca.role, lab_built("bin/acquire-ca"), "crl", "--dir", ca.home, "--scope", scope,
             "--days", "90", "--out", out, "--force", "--pin-source", ca.pin);
    MUST_RUN(lab, file_path(role, lab->dir, "hsm"), lab_built("bin/keyloaderctl"), "-c", lab->conf,
             "crl", "install", out, "--scope", scope);
}

void lab_certify_key(struct lab *lab, const char *label, const char *ca_name)
{
    struct ca_paths ca;
    char hsm[PATH_MAX], csr[PATH_MAX], cert[PATH_MAX];
    const char *ctl = lab_built("bin/keyloaderctl");
    ca_paths(lab, ca_name, &ca);
    file_path(hsm, lab->dir, "hsm");
    file_path(csr, lab->dir, "work.csr");
    file_path(cert, lab->dir, "issued.pem");
    MUST_RUN(lab, hsm, ctl, "-c", lab->conf, "key", "csr", "--label", label, "--subject",
             "/O=Test Acquirer/CN=AcquireWCRT", "--out", csr, "--force");
    MUST_RUN(lab, ca.role, lab_built("bin/acquire-ca"), "sign", "--dir", ca.home, "--csr", csr,
             "--out", cert, "--days", "365", "--force", "--pin-source", ca.pin);
    MUST_RUN(lab, hsm, ctl, "-c", lab->conf, "cert", "install", cert);
}

void lab_certify(struct lab *lab, const char *label, const char *suite, const char *key,
                 const char *ca_name)
{
    char hsm[PATH_MAX];
    MUST_RUN(lab, file_path(hsm, lab->dir, "hsm"), lab_built("bin/keyloaderctl"), "-c", lab->conf,
             "key", "generate", "--label", label, "--suite", suite, "--key", key);
    lab_certify_key(lab, label, ca_name);
}

static void init_token(struct lab *lab)
{
    char hsm[PATH_MAX], so[PATH_MAX], pin[PATH_MAX];
    lab_make_hsm(lab, file_path(hsm, lab->dir, "hsm"), file_path(pin, lab->dir, "loader.pin"));
    if (lab->nss) {
        return;
    }
    proc_text(so, sizeof so, "file:%s/loader-so.pin", lab->dir);
    MUST_RUN(lab, hsm, lab_built("bin/keyloaderctl"), "-c", lab->conf, "token", "init",
             "--so-pin-source", so);
}

void lab_lay_out(struct lab *lab)
{
    static const char *const pins[] = {"ca.pin",        "ca-so.pin",  "loader.pin",
                                       "loader-so.pin", "pinpad.pin", "pinpad-so.pin"};
    const char *tmp = getenv("TMPDIR"), *proxy = getenv("KL_PROXY_MODULE");
    memset(lab, 0, sizeof *lab);
    proc_text(lab->dir, sizeof lab->dir, "%s/kl-lab.XXXXXX", tmp != NULL ? tmp : "/tmp");
    ck_assert_msg(mkdtemp(lab->dir) != NULL, "cannot make %s", lab->dir);
    ck_assert_msg(proxy == NULL, "KL_PROXY_MODULE is set");
    lab_find_modules(lab);
    for (size_t i = 0; i < sizeof pins / sizeof pins[0]; i++) {
        write_pin(lab->dir, pins[i]);
    }
    file_mkdir(file_path(lab->logs, lab->dir, "log"));
    file_path(lab->store, lab->dir, "ceremony.db");
    basic_settings(lab);
    file_path(lab->conf, lab->dir, "ceremony.conf");
    write_conf(lab);
    init_token(lab);
}

void lab_found(struct lab *lab, unsigned bits)
{
    char key[16];
    lab_lay_out(lab);
    lab_found_ca(lab, "ca");
    lab_publish_crl(lab, "ca", "loader");
    proc_text(key, sizeof key, "rsa-%u", bits);
    lab_certify(lab, LAB_WORK_KEY, "hardened-rsa", key, "ca");
}

void lab_abandon(struct lab *lab)
{
    proc_kill(&lab->daemon);
    if (getenv("KL_KEEP") == NULL) { /* for a look at what a failed test left */
        file_remove_tree(lab->dir);
    }
}

void lab_begin(struct lab *lab, const char *name)
{
    char path[PATH_MAX];
    file_mkdir(file_path(lab->run, lab->dir, name));
    file_mkdir(file_path(lab->logs, lab->run, "log"));
    file_mkdir(file_path(path, lab->run, "store"));
    file_path(lab->store, path, "store.db");
    file_path(lab->conf, lab->run, "keyloaderd.conf");
    basic_settings(lab);
}

void lab_end(struct lab *lab)
{
    if (lab->daemon.pid != 0) {
        lab_stop(lab);
    }
}

/* ---- Daemon ---- */

void lab_spawn_another(struct lab *lab, struct proc *proc)
{
    char role[PATH_MAX];
    const char *argv[PROC_ARGS];
    size_t n = 0;
    for (; lab->daemon_prefix != NULL && lab->daemon_prefix[n] != NULL; n++) {
        argv[n] = lab->daemon_prefix[n];
    }
    argv[n++] = lab_built("bin/keyloaderd");
    argv[n++] = "-c";
    argv[n++] = lab->conf;
    for (size_t i = 0; lab->daemon_args != NULL && lab->daemon_args[i] != NULL; i++) {
        argv[n++] = lab->daemon_args[i];
    }
    argv[n] = NULL;
    write_conf(lab);
    spawn_as(lab, file_path(role, lab->dir, "hsm"), proc, argv);
}

void lab_spawn(struct lab *lab)
{
    ck_assert_int_eq(lab->daemon.pid, 0);
    lab_spawn_another(lab, &lab->daemon);
}

void lab_start(struct lab *lab)
{
    lab_spawn(lab);
    for (int ms = 0; ms < proc_seconds(20) * 1000; ms += 20) {
        char *log = file_read(lab->daemon.err, NULL);
        char *line = strstr(log, "event=listening "), *port = line;
        if (line != NULL && strchr(line, '\n') != NULL && (port = strstr(line, " port=")) != NULL) {
            lab->port = (uint16_t)strtoul(port + 6, NULL, 10);
        }
        int status = proc_poll(&lab->daemon);
        if (status != -1) {
            ck_abort_msg("keyloaderd ended with status %d: %s", status, log);
        }
        free(log);
        if (port != NULL) {
            return;
        }
        proc_sleep_ms(20);
    }
    proc_kill(&lab->daemon);
    ck_abort_msg("keyloaderd does not listen; see %s", lab->daemon.err);
}

int lab_start_fails(struct lab *lab)
{
    lab_spawn(lab);
    return proc_wait(&lab->daemon, 60);
}

void lab_stop(struct lab *lab)
{
    kill(lab->daemon.pid, SIGTERM);
    int status = proc_wait(&lab->daemon, 60);
    if (status != 0) {
        ck_abort_msg("keyloaderd ended with status %d: %s", status,
                     file_read(lab->daemon.err, NULL));
    }
}

void lab_kill(struct lab *lab)
{
    proc_kill(&lab->daemon);
}

int lab_logged(struct lab *lab, const char *wanted, int seconds)
{
    for (int ms = 0; ms < proc_seconds(seconds) * 1000; ms += 20) {
        char *log = file_read(lab->daemon.err, NULL);
        int found = strstr(log, wanted) != NULL;
        free(log);
        if (found) {
            return 1;
        }
        proc_sleep_ms(20);
    }
    return 0;
}

uint16_t lab_monitor_port(struct lab *lab)
{
    static const char said[] = "event=monitoring address=127.0.0.1 port=";
    char *log, *at;
    uint16_t port;

    ck_assert(lab_logged(lab, said, 10));
    log = file_read(lab->daemon.err, NULL);
    at = strstr(log, said);
    port = (uint16_t)strtoul(at + sizeof(said) - 1, NULL, 10);
    free(log);
    return port;
}

unsigned lab_log_count(struct lab *lab, const char *wanted)
{
    char *log = file_read(lab->daemon.err, NULL);
    unsigned count = 0;

    for (const char *at = log; (at = strstr(at, wanted)) != NULL; at++) {
        count++;
    }
    free(log);
    return count;
}

/* ---- keyloaderctl ---- */

static void start_ctl(struct lab *lab, va_list ap, struct proc *proc)
{
    char role[PATH_MAX];
    const char *argv[PROC_ARGS] = {lab_built("bin/keyloaderctl"), "-c", lab->conf};
    for (size_t n = 3; (argv[n] = va_arg(ap, const char *)) != NULL; n++) {
        ck_assert_uint_lt(n, PROC_ARGS - 1);
    }
    spawn_as(lab, file_path(role, lab->dir, "hsm"), proc, argv);
}

static int run_ctl(struct lab *lab, va_list ap, struct proc *proc)
{
    start_ctl(lab, ap, proc);
    return proc_wait(proc, RUN_SECONDS);
}

void lab_ctl_start(struct lab *lab, struct proc *proc, ...)
{
    va_list ap;
    va_start(ap, proc);
    start_ctl(lab, ap, proc);
    va_end(ap);
}

char *lab_ctl(struct lab *lab, ...)
{
    struct proc proc;
    va_list ap;
    va_start(ap, lab);
    int status = run_ctl(lab, ap, &proc);
    va_end(ap);
    if (status != 0) {
        ck_abort_msg("keyloaderctl: status %d: %s", status, file_read(proc.err, NULL));
    }
    return file_read(proc.out, NULL);
}

int lab_ctl_status(struct lab *lab, ...)
{
    struct proc proc;
    va_list ap;
    va_start(ap, lab);
    int status = run_ctl(lab, ap, &proc);
    va_end(ap);
    return status;
}

void lab_register(struct lab *lab, const char *serial, const char *alg)
{
    free(lab_ctl(lab, "terminal", "add", serial, "--algorithm", alg, NULL));
}

void lab_arm(struct lab *lab, const char *serial, unsigned attempts)
{
    char count[16];
    proc_text(count, sizeof count, "%u", attempts);
    free(lab_ctl(lab, "terminal", "arm", serial, "--for", "1h", "--attempts", count, NULL));
}

/* ---- Terminals ---- */

/* The SoftHSM of a terminal's PIN pad, and the terminal's own directory in it. */
static void terminal_dirs(const struct lab *lab, const char *serial, char role[PATH_MAX],
                          char dir[PATH_MAX])
{
    proc_text(role, PATH_MAX, "%s/term-%s", lab->run, serial);
    file_path(dir, role, "terminal");
}

void lab_make_pinpad(struct lab *lab, const char *serial)
{
    char role[PATH_MAX], dir[PATH_MAX], pin[PATH_MAX];
    terminal_dirs(lab, serial, role, dir);
    lab_make_hsm(lab, role, file_path(pin, lab->dir, "pinpad.pin"));
}

int lab_init_terminal(struct lab *lab, const char *serial, const char *root)
{
    char role[PATH_MAX], dir[PATH_MAX], pin[PATH_MAX], so[PATH_MAX], pinpad[64];
    char reserved[PATH_MAX];
    terminal_dirs(lab, serial, role, dir);
    proc_text(pin, sizeof pin, "file:%s/pinpad.pin", lab->dir);
    proc_text(so, sizeof so, "file:%s/pinpad-so.pin", lab->dir);
    proc_text(pinpad, sizeof pinpad, "P%s", serial);
    return lab_terminal_sim(lab, serial, "init", "--serial", serial, "--pinpad-serial", pinpad,
                            "--root", root, "--pinpad", "token", "--module", lab->module,
                            "--init-reserved", lab_init_reserved(lab, role, pinpad, reserved),
                            "--pin-source", pin, lab->nss ? "--existing-token" : "--so-pin-source",
                            lab->nss ? NULL : so, NULL);
}

void lab_make_terminal(struct lab *lab, const char *serial, const char *root)
{
    lab_make_pinpad(lab, serial);
    ck_assert_int_eq(lab_init_terminal(lab, serial, root), 0);
}

void lab_terminal(struct lab *lab, const char *serial, const char *alg)
{
    char root[PATH_MAX];
    lab_register(lab, serial, alg);
    lab_make_terminal(lab, serial, file_path(root, lab->dir, "root.pem"));
}

void lab_load_start(struct lab *lab, const char *serial, uint16_t port, const char *const *extra,
                    struct proc *proc)
{
    char role[PATH_MAX], dir[PATH_MAX], to[32];
    const char *argv[PROC_ARGS] = {
        lab_built("bin/terminal-sim"), "load", "--dir", dir, "--connect", to, "--verbose"};
    terminal_dirs(lab, serial, role, dir);
    proc_text(to, sizeof to, "127.0.0.1:%u", port);
    for (size_t n = 7; extra != NULL && *extra != NULL; n++) {
        argv[n] = *extra++;
    }
    spawn_as(lab, role, proc, argv);
}

void lab_terminal_spawn(struct lab *lab, const char *serial, struct proc *proc,
                        const char *const *argv)
{
    char role[PATH_MAX], dir[PATH_MAX];
    terminal_dirs(lab, serial, role, dir);
    spawn_as(lab, role, proc, argv);
}

int lab_load(struct lab *lab, const char *serial, uint16_t port)
{
    struct proc proc;
    lab_load_start(lab, serial, port, NULL, &proc);
    return proc_wait(&proc, LAB_LOAD_SECONDS);
}

int lab_terminal_sim(struct lab *lab, const char *serial, ...)
{
    char role[PATH_MAX], dir[PATH_MAX];
    const char *argv[PROC_ARGS] = {lab_built("bin/terminal-sim")};
    struct proc proc;
    va_list ap;
    size_t n = 1;
    terminal_dirs(lab, serial, role, dir);
    va_start(ap, serial);
    while ((argv[n] = va_arg(ap, const char *)) != NULL) {
        ck_assert_uint_lt(++n, PROC_ARGS - 3);
    }
    va_end(ap);
    argv[n++] = "--dir";
    argv[n++] = dir;
    argv[n] = NULL;
    spawn_as(lab, role, &proc, argv);
    return proc_wait(&proc, LAB_LOAD_SECONDS);
}

void lab_device_certificate(struct lab *lab, const char *serial, const char *ca_name)
{
    struct ca_paths ca;
    char csr[PATH_MAX], cert[PATH_MAX];
    ca_paths(lab, ca_name, &ca);
    file_path(csr, lab->run, "device.csr");
    file_path(cert, lab->run, "device.pem");
    unlink(csr);
    ck_assert_int_eq(lab_terminal_sim(lab, serial, "device-key", "generate", NULL), 0);
    ck_assert_int_eq(lab_terminal_sim(lab, serial, "device-key", "csr", "--out", csr, NULL), 0);
    MUST_RUN(lab, ca.role, lab_built("bin/acquire-ca"), "terminal", "sign", "--dir", ca.home,
             "--serial", serial, "--out", cert, "--force", "--pin-source", ca.pin, csr);
    ck_assert_int_eq(lab_terminal_sim(lab, serial, "device-key", "install", cert, NULL), 0);
}

/* ---- What they hold ---- */

static const char *string_of(json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "";
}

/* Takes every TMK of `serial` (or of no serial: a PIN pad's) found anywhere in the report. */
static void collect(json_t *at, const char *serial, struct lab_tmk *out, size_t *count)
{
    const char *key;
    size_t i;
    json_t *value, *version = json_object_get(at, "version");
    if (json_is_integer(version) && json_object_get(at, "kcv") != NULL) {
        if (json_object_get(at, "serial") != NULL && strcmp(string_of(at, "serial"), serial) != 0) {
            return;
        }
        ck_assert_uint_lt(*count, LAB_TMK_MAX);
        struct lab_tmk *tmk = &out[(*count)++];
        tmk->version = (unsigned)json_integer_value(version);
        proc_text(tmk->state, sizeof tmk->state, "%s", string_of(at, "state"));
        proc_text(tmk->kcv, sizeof tmk->kcv, "%s", string_of(at, "kcv"));
        proc_text(tmk->alg, sizeof tmk->alg, "%s", string_of(at, "algorithm"));
        return;
    }
    json_object_foreach(at, key, value) collect(value, serial, out, count);
    json_array_foreach(at, i, value) collect(value, serial, out, count);
}

static int by_version(const void *a, const void *b)
{
    const struct lab_tmk *x = a, *y = b;
    return (x->version > y->version) - (x->version < y->version);
}

static size_t parse_tmks(const char *report, const char *serial, struct lab_tmk *out)
{
    json_error_t why;
    size_t count = 0;
    json_t *json = json_loads(report, 0, &why);
    ck_assert_msg(json != NULL, "no JSON: %s: %s", why.text, report);
    collect(json, serial, out, &count);
    json_decref(json);
    qsort(out, count, sizeof out[0], by_version);
    return count;
}

size_t lab_store(struct lab *lab, const char *serial, struct lab_tmk out[LAB_TMK_MAX])
{
    char *report = lab_ctl(lab, "--json", "tmk", "list", NULL);
    size_t count = parse_tmks(report, serial, out);
    free(report);
    return count;
}

size_t lab_pinpad(struct lab *lab, const char *serial, struct lab_tmk out[LAB_TMK_MAX])
{
    char role[PATH_MAX], dir[PATH_MAX];
    struct proc proc;
    terminal_dirs(lab, serial, role, dir);
    spawn_as(lab, role, &proc,
             (const char *const[]){lab_built("bin/terminal-sim"), "pinpad", "show", "--dir", dir,
                                   "--json", NULL});
    int status = proc_wait(&proc, RUN_SECONDS);
    if (status != 0) {
        ck_abort_msg("pinpad show: status %d: %s", status, file_read(proc.err, NULL));
    }
    char *report = file_read(proc.out, NULL);
    size_t count = parse_tmks(report, serial, out);
    free(report);
    return count;
}

const struct lab_tmk *lab_active(const struct lab_tmk *list, size_t count)
{
    const struct lab_tmk *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].state, "active") != 0) {
            continue;
        }
        ck_assert_msg(found == NULL, "two active TMKs: versions %u and %u",
                      found != NULL ? found->version : 0, list[i].version);
        found = &list[i];
    }
    return found;
}

void lab_agree(struct lab *lab, const char *serial)
{
    struct lab_tmk store[LAB_TMK_MAX], pad[LAB_TMK_MAX];
    size_t stored = lab_store(lab, serial, store), held = lab_pinpad(lab, serial, pad);
    const struct lab_tmk *ours = lab_active(store, stored), *theirs = lab_active(pad, held);
    ck_assert_msg((ours == NULL) == (theirs == NULL), "%s: active in the store: %s, PIN pad: %s",
                  serial, ours != NULL ? ours->kcv : "none", theirs != NULL ? theirs->kcv : "none");
    if (ours != NULL && theirs != NULL) {
        ck_assert_uint_eq(ours->version, theirs->version);
        ck_assert_str_eq(ours->kcv, theirs->kcv);
    }
    for (size_t i = 0; i < held; i++) {
        int known = 0;
        for (size_t k = 0; k < stored; k++) {
            known |= store[k].version == pad[i].version && strcmp(store[k].kcv, pad[i].kcv) == 0;
        }
        ck_assert_msg(known, "%s: the PIN pad's version %u, KCV %s, is not in the store", serial,
                      pad[i].version, pad[i].kcv);
    }
}

void lab_settled(struct lab *lab, const char *serial, unsigned version)
{
    struct lab_tmk pad[LAB_TMK_MAX];
    lab_agree(lab, serial);
    size_t held = lab_pinpad(lab, serial, pad);
    const struct lab_tmk *active = lab_active(pad, held);
    ck_assert_msg(active != NULL, "%s: no active TMK", serial);
    ck_assert_uint_eq(active->version, version);
    ck_assert_uint_eq(held, 1);
}
