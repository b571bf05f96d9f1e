/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkcs11/hsm: which module and PIN, and opening a token by them. kl_module_load takes paths alone,
 * so p11-kit's loader is ours here: the path FAKE is SoftHSM behind fake_p11.h.
 */
#include "pkcs11/hsm.h"

#include <check.h>
#include <dlfcn.h>
#include <p11-kit/p11-kit.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/cli.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

#define FAKE "/test/fake-p11.so"
#define URI "pkcs11:token=kl%20test"

static struct kl_err err = KL_ERR_INIT;
static char dir[PATH_MAX], pin[PATH_MAX + 10]; /* "file:PATH" */
static CK_FUNCTION_LIST *list;
static unsigned loads; /* of FAKE */

CK_FUNCTION_LIST *p11_kit_module_load(const char *path, int flags)
{
    CK_FUNCTION_LIST *(*load)(const char *, int);

    if (list && strcmp(path, FAKE) == 0) {
        loads++;
        return list;
    }
    *(void **)&load = dlsym(RTLD_NEXT, "p11_kit_module_load");
    return load(path, flags);
}

void p11_kit_module_release(CK_FUNCTION_LIST *module)
{
    void (*release)(CK_FUNCTION_LIST *);

    if (module != list) {
        *(void **)&release = dlsym(RTLD_NEXT, "p11_kit_module_release");
        release(module);
    }
}

static void write_pin(const char *text)
{
    ck_ok(kl_file_write(pin + strlen("file:"), text, strlen(text), 0600, 1, &err));
}

static void setup(void)
{
    test_secrets();
    test_softhsm_dir(dir, TEST_LABEL, TEST_PIN);
    snprintf(pin, sizeof pin, "file:%s/pin", dir);
    write_pin(TEST_PIN);
    list = fake_p11(test_softhsm_path());
}

static void teardown(void)
{
    test_rm_rf(dir);
}

static struct kl_hsm_where here(void)
{
    return (struct kl_hsm_where){.module = FAKE, .token = URI, .pin_source = pin};
}

/* Opening fails, and leaves nothing behind. */
static void fails(const struct kl_hsm_where *where, enum kl_rc rc)
{
    struct kl_hsm *hsm_out = NULL;

    ck_rc(kl_hsm_open(where, 0, &hsm_out, &err), rc);
    ck_assert_ptr_null(hsm_out);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Finalize), loads);
}

/* ---- What is chosen ---- */

static const struct {
    const char *module, *pin_source, *token; /* given */
    const char *path, *source;               /* chosen; NULL: none */
    int prompts;
} choices[] = {
    {"/a.so", "file:/a", URI, "/a.so", "file:/a", 0},
    {"/a.so", "file:/a", URI "?module-path=/u.so&pin-source=file:/u", "/a.so", "file:/a", 0},
    {"", "", URI "?module-path=/u.so&pin-source=file:/u", "/u.so", "file:/u", 0},
    {NULL, NULL, URI "?module-path=/u.so&pin-source=file:/u", "/u.so", "file:/u", 0},
    {"", "prompt", URI "?module-path=/u.so&pin-source=file:/u", "/u.so", "prompt", 1},
    {"/a.so", "", URI "?pin-source=prompt", "/a.so", "prompt", 1},
    {"", "", URI, NULL, NULL, 1},
    {NULL, NULL, URI, NULL, NULL, 1},
};

START_TEST(choice)
{
    const struct kl_hsm_where where = {.module = choices[_i].module,
                                       .pin_source = choices[_i].pin_source,
                                       .token = choices[_i].token};
    enum kl_rc expected = choices[_i].path ? KL_OK : KL_ERR_CONFIG;
    const char *path = NULL, *source;
    struct kl_uri *uri = NULL;

    ck_ok(kl_uri_parse(where.token, &uri, &err));
    ck_rc(kl_hsm_module_path(&where, uri, &path, &err), expected);
    ck_assert_pstr_eq(path, choices[_i].path);
    source = kl_hsm_pin_source(&where, uri);
    ck_assert_pstr_eq(source, choices[_i].source);
    kl_uri_free(uri);
    ck_rc(kl_hsm_check(&where, &err), expected);
    ck_assert_int_eq(kl_hsm_prompts(&where), choices[_i].prompts);
}
END_TEST

START_TEST(uri_that_is_wrong)
{
    struct kl_hsm_where where = here();

    where.token = URI "?pin-value=9876";
    ck_rc(kl_hsm_check(&where, &err), KL_ERR_CONFIG);
    fails(&where, KL_ERR_CONFIG);
    ck_says("pin-value");
    ck_assert_ptr_null(strstr(err.text, "9876"));
    ck_assert_uint_eq(loads, 0);
}
END_TEST

/* ---- Opening ---- */

static CK_STATE state_of(struct kl_session *session)
{
    CK_SESSION_INFO info = {0};

    ck_assert_uint_eq(kl_session_functions(session)->C_GetSessionInfo(kl_session_handle(session),
                                                                      &info),
                      CKR_OK);
    return info.state;
}

START_TEST(opens)
{
    const struct kl_hsm_where where = here();
    struct kl_hsm *opened = NULL;

    ck_ok(kl_hsm_open(&where, _i, &opened, &err));
    ck_assert_str_eq(kl_token_label(kl_hsm_token(opened)), TEST_LABEL);
    ck_assert_uint_eq(state_of(kl_hsm_session(opened)),
                      _i ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 1);
    kl_hsm_free(opened);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_CloseSession), 1);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_CloseAllSessions), 1);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Finalize), 1);
    kl_hsm_free(NULL);
}
END_TEST

START_TEST(opens_by_uri_alone)
{
    struct kl_hsm_where where = {.module = "", .init_reserved = "", .pin_source = ""};
    struct kl_hsm *opened = NULL;
    char uri[2 * PATH_MAX];

    snprintf(uri, sizeof uri, "%s?module-path=%s&pin-source=%s", URI, FAKE, pin);
    where.token = uri;
    ck_ok(kl_hsm_open(&where, 0, &opened, &err));
    ck_assert_uint_eq(loads, 1);
    ck_assert_uint_eq(state_of(kl_hsm_session(opened)), CKS_RO_USER_FUNCTIONS);
    kl_hsm_free(opened);
}
END_TEST

START_TEST(opens_without_session)
{
    const struct kl_hsm_where where = here();
    struct kl_session *session = NULL;
    struct kl_hsm *opened = NULL;

    ck_ok(kl_hsm_open_token(&where, 0, &opened, &err));
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_OpenSession), 1); /* the login's */
    ck_ok(kl_session_open(kl_hsm_token(opened), &session, &err));
    ck_assert_uint_eq(state_of(session), CKS_RO_USER_FUNCTIONS);
    kl_session_free(session);
    kl_hsm_free(opened);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Finalize), 1);
}
END_TEST

START_TEST(module_that_is_missing)
{
    struct kl_hsm_where where = here();

    where.module = "";
    fails(&where, KL_ERR_CONFIG);
    ck_says("module must be set");
    where.module = "/nonexistent/p11.so";
    fails(&where, KL_ERR_MODULE);
    ck_says("/nonexistent/p11.so");
}
END_TEST

START_TEST(pin_comes_first)
{
    struct kl_hsm_where where = here();

    where.pin_source = "file:/nonexistent/pin";
    fails(&where, KL_ERR_NO_FILE);
    ck_assert_uint_eq(loads, 0);
}
END_TEST

static const struct {
    const char *prompt, *says;
} prompts[] = {
    {NULL, "PIN of token " TEST_LABEL ":"},
    {"", "PIN of token " TEST_LABEL ":"},
    {"PIN of the test", "PIN of the test:"},
};

START_TEST(prompt_without_terminal)
{
    struct kl_hsm_where where = here();
    int status = -1;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) { /* a new session has no controlling terminal */
        struct kl_hsm *opened = NULL;
        enum kl_rc rc;

        (void)setsid();
        where.pin_source = NULL;
        where.prompt = prompts[_i].prompt;
        rc = kl_hsm_open(&where, 0, &opened, &err);
        if (rc != KL_ERR_CONFIG || strstr(err.text, prompts[_i].says) != err.text || loads != 0) {
            fprintf(stderr, "%s: %s\n", kl_rc_name(rc), err.text);
            _exit(1);
        }
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(wrong_pin_is_tried_once)
{
    const struct kl_hsm_where where = here();

    write_pin("987654");
    fails(&where, KL_ERR_PIN);
    ck_says(TEST_LABEL);
    ck_assert_ptr_null(strstr(err.text, "987654"));
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 1);
}
END_TEST

START_TEST(token_that_is_not_there)
{
    struct kl_hsm_where where = here();

    where.token = "pkcs11:token=other";
    fails(&where, KL_ERR_TOKEN);
    ck_says("pkcs11:token=other: no token matches");
    ck_says("\"" TEST_LABEL "\"");
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 0);
}
END_TEST

START_TEST(session_that_fails)
{
    const struct kl_hsm_where where = here();

    fake_p11_fail(FAKE_C_OpenSession, 2, CKR_SESSION_COUNT);
    fails(&where, KL_ERR_HSM);
    ck_says("CKR_SESSION_COUNT");
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_CloseAllSessions), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hsm");
    TCase *tcase = tcase_create("hsm");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, choice, 0, (int)(sizeof choices / sizeof choices[0]));
    tcase_add_test(tcase, uri_that_is_wrong);
    tcase_add_loop_test(tcase, opens, 0, 2);
    tcase_add_test(tcase, opens_by_uri_alone);
    tcase_add_test(tcase, opens_without_session);
    tcase_add_test(tcase, module_that_is_missing);
    tcase_add_test(tcase, pin_comes_first);
    tcase_add_loop_test(tcase, prompt_without_terminal, 0,
                        (int)(sizeof prompts / sizeof prompts[0]));
    tcase_add_test(tcase, wrong_pin_is_tried_once);
    tcase_add_test(tcase, token_that_is_not_there);
    tcase_add_test(tcase, session_that_fails);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
