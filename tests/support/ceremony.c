/* SPDX-License-Identifier: BSD-2-Clause */
/* Two CAs and a loader's token, and the programs run on them. */
#include "tests/support/ceremony.h"

#include <check.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/hsm.h"
#include "tests/support/lab.h"
#include "tests/support/proc.h"

struct ceremony ceremony;

const char *ceremony_program(const char *name)
{
    static char path[PATH_MAX];
    const char *dir = getenv("KL_BIN_DIR");
    char relative[64];

    if (dir) {
        return file_path(path, dir, name);
    }
    snprintf(relative, sizeof relative, "bin/%s", name);
    return lab_built(relative);
}

static int run(const char *env, const char *const *argv)
{
    struct proc proc;
    const char *envs[] = {env, NULL};

    proc_spawn(&proc, ceremony.logs, envs, argv);
    int status = proc_wait(&proc, CEREMONY_SECONDS);
    free(ceremony.last_out);
    free(ceremony.last_err);
    ceremony.last_out = file_read(proc.out, NULL);
    ceremony.last_err = file_read(proc.err, NULL);
    return status;
}

void ceremony_must_end(int status, const char *words, const char *env, const char *const *argv)
{
    int got = run(env, argv);

    ck_assert_msg(got == status, "%s %s: status %d, not %d: %s", argv[0], argv[1], got, status,
                  ceremony.last_err);
    if (words) {
        ck_assert_msg(strstr(ceremony.last_err, words) != NULL, "\"%s\" is not in: %s", words,
                      ceremony.last_err);
    }
}

char *ceremony_path(char out[PATH_MAX], const char *name)
{
    return file_path(out, ceremony.top, name);
}

void ceremony_softhsm(const char *name, char env[PATH_MAX + 32])
{
    char dir[PATH_MAX], tokens[PATH_MAX], path[PATH_MAX], conf[PATH_MAX + 128];

    file_mkdir(ceremony_path(dir, name));
    file_mkdir(file_path(tokens, dir, "tokens"));
    int len = snprintf(conf, sizeof conf,
                       "directories.tokendir = %s\nobjectstore.backend = file\n"
                       "log.level = ERROR\n",
                       tokens);
    file_write(file_path(path, dir, "softhsm2.conf"), conf, (size_t)len, 0600);
    snprintf(env, PATH_MAX + 32, "SOFTHSM2_CONF=%.4000s", path);
}

void ceremony_secret_file(const char *name, const char *text, unsigned mode, char source[])
{
    char path[PATH_MAX];

    file_write(ceremony_path(path, name), text, strlen(text), mode);
    chmod(path, mode);
    snprintf(source, PATH_MAX + 8, "file:%s", path);
}

char *ceremony_config(char out[PATH_MAX], const char *name, const char *module, const char *token,
                      const char *pin, const char *root)
{
    char file[64];
    FILE *f;

    snprintf(file, sizeof file, "%s.conf", name);
    f = fopen(ceremony_path(out, file), "we");
    ck_assert_ptr_nonnull(f);
    fprintf(f,
            "[hsm]\nmodule = %s\ntoken = %s\npin-source = %s\n"
            "[certificates]\nroot = %s\nwork = %s/%s\ncrl = %s\n[store]\npath = %s/%s.db\n"
            "[control]\ndual-control = none\n", /* the tests are one person */
            module, token, pin, root, ceremony.top, name,
            strcmp(root, ceremony.b_root) == 0 ? ceremony.b_crl : ceremony.a_crl, ceremony.top,
            name);
    ck_assert_int_eq(fclose(f), 0);
    return out;
}

char *ceremony_plain_config(char out[PATH_MAX], const char *name)
{
    return ceremony_config(out, name, test_softhsm_path(), "pkcs11:token=loader",
                           ceremony.pin_source, ceremony.a_root);
}

X509 *ceremony_read_cert(const char *path)
{
    FILE *f = fopen(path, "re");
    ck_assert_msg(f != NULL, "cannot open %s", path);
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    ck_assert_ptr_nonnull(cert);
    return cert;
}

void ceremony_ground(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(ceremony.top, sizeof ceremony.top, "%s/kl-ceremony.XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(ceremony.top));
    file_mkdir(ceremony_path(ceremony.logs, "log"));
    ceremony_path(ceremony.a_home, "A");
    ceremony_path(ceremony.b_home, "B");
    file_path(ceremony.a_root, ceremony.a_home, "root.pem");
    file_path(ceremony.b_root, ceremony.b_home, "root.pem");
    ceremony_path(ceremony.a_crl, "a-crl.pem");
    ceremony_path(ceremony.b_crl, "b-crl.pem");
    ceremony_path(ceremony.csr, "work.csr");
    ceremony_path(ceremony.good, "good.pem");
    ceremony_path(ceremony.other_acquirer, "other.pem");
    ceremony_softhsm("hsm", ceremony.loader_env);
    ceremony_softhsm("ca", ceremony.ca_env);
    ceremony_secret_file("pin", PIN "\n", 0600, ceremony.pin_source);
    ceremony_secret_file("so-pin", "5550" PIN "\n", 0600, ceremony.so_source);
    ceremony_secret_file("passphrase", PASSPHRASE "\n", 0600, ceremony.pass_source);
}

void ceremony_found(void)
{
    const char *module = test_softhsm_path();
    char conf[PATH_MAX];

    ceremony_ground();
    CA(0, NULL, "init", "--dir", ceremony.a_home, "--subject", "/C=CN/O=Bank A/CN=Root", "--days",
       "3650", "--key", "rsa-2048", "--pem", "--pin-source", ceremony.pass_source);
    CA(0, NULL, "token-init", "--module", module, "--label", "ca", "--so-pin-source",
       ceremony.so_source, "--pin-source", ceremony.pin_source);
    CA(0, NULL, "init", "--dir", ceremony.b_home, "--subject", "CN=Root,O=Bank B,C=CN", "--days",
       "3650", "--key", "rsa-2048", "--token", "pkcs11:token=ca", "--module", module,
       "--pin-source", ceremony.pin_source);

    CA(0, NULL, "crl", "--dir", ceremony.a_home, "--scope", "loader", "--out", ceremony.a_crl);
    CA(0, NULL, "crl", "--dir", ceremony.b_home, "--scope", "loader", "--out", ceremony.b_crl);

    ceremony_plain_config(conf, "founder");
    CTL(0, NULL, conf, "token", "init", "--so-pin-source", ceremony.so_source);
    CTL(0, NULL, conf, "key", "generate", "--key", "rsa-2048");
    CTL(0, NULL, conf, "key", "csr", "--subject", "/O=Bank A/CN=Loader 1", "--out", ceremony.csr);
    CA(0, NULL, "sign", "--dir", ceremony.a_home, "--csr", ceremony.csr, "--out", ceremony.good,
       "--days", "365");
    CA(0, NULL, "sign", "--dir", ceremony.b_home, "--csr", ceremony.csr, "--out",
       ceremony.other_acquirer, "--days", "365");
}

void ceremony_abandon(void)
{
    file_remove_tree(ceremony.top);
}

static void has_no_secret(const char *path, void *arg)
{
    char *text = file_read(path, NULL);

    (void)arg;
    ck_assert_msg(!strstr(text, PIN) && !strstr(text, PASSPHRASE) && !strstr(text, WRONG_PIN),
                  "a secret stands in %s", path);
    free(text);
}

void ceremony_no_secret(void)
{
    file_walk(ceremony.logs, has_no_secret, NULL);
    file_walk(ceremony.a_home, has_no_secret, NULL);
    file_walk(ceremony.b_home, has_no_secret, NULL);
}
