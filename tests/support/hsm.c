/* SPDX-License-Identifier: BSD-2-Clause */
/* A fresh SoftHSM for a test: see hsm.h. */
#include "tests/support/hsm.h"

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/err.h"

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "test HSM: %s: %s\n", what, detail);
    exit(1);
}

const char *test_softhsm_path(void)
{
    static const char *const paths[] = {
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
    };

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (access(paths[i], R_OK) == 0) {
            return paths[i];
        }
    }
    die("libsofthsm2.so", "not found; install softhsm2");
    return NULL;
}

static void path_in(char *out, const char *dir, const char *name)
{
    int len = snprintf(out, PATH_MAX, "%s/%s", dir, name);

    if (len < 0 || len >= PATH_MAX) {
        die(dir, "path too long");
    }
}

void test_secrets(void)
{
    struct kl_err err = KL_ERR_INIT;

    if (kl_secret_setup(&err) != KL_OK) {
        die("secrets", err.text);
    }
}

struct kl_secret *test_secret(const char *text)
{
    struct kl_secret *out = NULL;
    struct kl_err err = KL_ERR_INIT;

    if (kl_secret_new(strlen(text), &out, &err) != KL_OK) {
        die("secret", err.text);
    }
    memcpy(kl_secret_data(out), text, strlen(text));
    kl_secret_set_len(out, strlen(text));
    return out;
}

void test_softhsm_token(const char *label, const char *pin)
{
    struct kl_secret *so_pin = test_secret(TEST_SO_PIN), *user_pin = test_secret(pin);
    struct kl_module *module = NULL;
    struct kl_err err = KL_ERR_INIT;

    if (kl_module_load(test_softhsm_path(), NULL, &module, &err) != KL_OK ||
        kl_token_init(module, label, so_pin, user_pin, &err) != KL_OK) {
        die(label, err.text);
    }
    kl_module_free(module);
    kl_secret_free(user_pin);
    kl_secret_free(so_pin);
}

void test_softhsm_dir(char *dir_out, const char *label, const char *pin)
{
    char path[PATH_MAX], tokens[PATH_MAX];
    const char *tmp = getenv("TMPDIR");
    FILE *file;

    path_in(dir_out, tmp ? tmp : "/tmp", "kl-test-XXXXXX");
    if (!mkdtemp(dir_out)) {
        die(dir_out, "mkdtemp failed");
    }
    path_in(tokens, dir_out, "tokens");
    if (mkdir(tokens, 0700) != 0) {
        die(tokens, "mkdir failed");
    }
    path_in(path, dir_out, "softhsm2.conf");
    if (!(file = fopen(path, "w"))) {
        die(path, "cannot be written");
    }
    fprintf(file,
            "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n"
            "slots.removable = false\n",
            tokens);
    if (fclose(file) != 0 || setenv("SOFTHSM2_CONF", path, 1) != 0) {
        die(path, "cannot be written");
    }
    if (label) {
        test_softhsm_token(label, pin);
    }
}

void test_token_open(struct test_token *token, CK_FUNCTION_LIST *functions)
{
    struct kl_secret *pin = test_secret(TEST_PIN);
    struct kl_err err = KL_ERR_INIT;
    struct kl_uri *uri = NULL;
    enum kl_rc rc;

    *token = (struct test_token){.dir = ""};
    test_softhsm_dir(token->dir, TEST_LABEL, TEST_PIN);
    rc = functions ? kl_module_wrap(functions, &token->module, &err)
                   : kl_module_load(test_softhsm_path(), NULL, &token->module, &err);
    if (rc != KL_OK || kl_uri_parse("pkcs11:token=kl%20test", &uri, &err) != KL_OK ||
        kl_token_open(token->module, uri, pin, 1, &token->token, &err) != KL_OK ||
        kl_session_open(token->token, &token->session, &err) != KL_OK) {
        die("token", err.text);
    }
    token->f = kl_session_functions(token->session);
    token->s = kl_session_handle(token->session);
    kl_uri_free(uri);
    kl_secret_free(pin);
}

void test_token_close(struct test_token *token)
{
    kl_session_free(token->session);
    kl_token_free(token->token);
    kl_module_free(token->module);
    test_rm_rf(token->dir);
}

unsigned test_session_objects(struct kl_session *session)
{
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE query = {CKA_TOKEN, &no, sizeof(no)};
    CK_OBJECT_HANDLE handles[64];
    CK_ULONG count = 0;

    if (f->C_FindObjectsInit(s, &query, 1) != CKR_OK ||
        f->C_FindObjects(s, handles, 64, &count) != CKR_OK || f->C_FindObjectsFinal(s) != CKR_OK) {
        die("session objects", "cannot be counted");
    }
    return (unsigned)count;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void test_rm_rf(const char *dir)
{
    if (nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        die(dir, "cannot be removed");
    }
}
