/* SPDX-License-Identifier: BSD-2-Clause */
/* A fresh SoftHSM for a test. Everything here ends the test program when it fails. */
#ifndef KL_TESTS_SUPPORT_HSM_H
#define KL_TESTS_SUPPORT_HSM_H

#include <limits.h>
#include <p11-kit/pkcs11.h>

#include "pkcs11/token.h"
#include "proto/secret.h"

#define TEST_SO_PIN "so-12345678"
#define TEST_PIN "1234"
#define TEST_LABEL "kl test"

/* Where libsofthsm2.so is; static storage. */
const char *test_softhsm_path(void);

/* Makes a temporary directory (its name into dir_out, PATH_MAX bytes) with a softhsm2.conf and a
 * token directory, points SOFTHSM2_CONF at it, and initialises a token of that label and user PIN;
 * label NULL: no token yet. Call again for other, independent directories: the last one counts. */
void test_softhsm_dir(char *dir_out, const char *label, const char *pin);

/* One more token in the directory that SOFTHSM2_CONF points at. */
void test_softhsm_token(const char *label, const char *pin);

/* kl_secret_setup(). */
void test_secrets(void);

/* A secret of that text; the caller frees it. */
struct kl_secret *test_secret(const char *text);

/* A fresh directory with one token (TEST_LABEL, TEST_PIN), opened read-write and logged in. */
struct test_token {
    char dir[PATH_MAX];
    struct kl_module *module;
    struct kl_token *token;
    struct kl_session *session;
    CK_FUNCTION_LIST *f; /* the session's own two, for calls past our code */
    CK_SESSION_HANDLE s;
};
/* functions NULL: SoftHSM itself; else a list in front of it (fake_p11.h). */
void test_token_open(struct test_token *token, CK_FUNCTION_LIST *functions);
void test_token_close(struct test_token *token);

/* How many session objects there are on the token (at most 64 are counted). */
unsigned test_session_objects(struct kl_session *session);

/* Removes a directory and all that is in it. */
void test_rm_rf(const char *dir);

#endif
