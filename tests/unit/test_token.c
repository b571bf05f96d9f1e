/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/rv, module and token: return values in our terms, modules, tokens, login, sessions. */
#include "pkcs11/token.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "pkcs11/rv.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;

/* ---- CK_RV ---- */

static const struct {
    CK_RV rv;
    enum kl_rc rc, peer_rc;
    const char *name;
} mappings[] = {
    {CKR_PIN_INCORRECT, KL_ERR_PIN, KL_ERR_PIN, "CKR_PIN_INCORRECT"},
    {CKR_PIN_LOCKED, KL_ERR_PIN, KL_ERR_PIN, "CKR_PIN_LOCKED"},
    {CKR_TOKEN_NOT_PRESENT, KL_ERR_TOKEN, KL_ERR_TOKEN, "CKR_TOKEN_NOT_PRESENT"},
    {CKR_DEVICE_REMOVED, KL_ERR_TOKEN, KL_ERR_TOKEN, "CKR_DEVICE_REMOVED"},
    {CKR_DEVICE_ERROR, KL_ERR_TOKEN, KL_ERR_TOKEN, "CKR_DEVICE_ERROR"},
    {CKR_FUNCTION_NOT_SUPPORTED, KL_ERR_HSM_LACKS, KL_ERR_HSM_LACKS, "CKR_FUNCTION_NOT_SUPPORTED"},
    {CKR_MECHANISM_INVALID, KL_ERR_HSM_LACKS, KL_ERR_VERIFY, "CKR_MECHANISM_INVALID"},
    {CKR_HOST_MEMORY, KL_ERR_MEMORY, KL_ERR_MEMORY, "CKR_HOST_MEMORY"},
    {CKR_SESSION_HANDLE_INVALID, KL_ERR_HSM, KL_ERR_HSM, "CKR_SESSION_HANDLE_INVALID"},
    {CKR_KEY_HANDLE_INVALID, KL_ERR_HSM, KL_ERR_HSM, "CKR_KEY_HANDLE_INVALID"},
    {CKR_WRAPPED_KEY_INVALID, KL_ERR_VERIFY, KL_ERR_VERIFY, "CKR_WRAPPED_KEY_INVALID"},
    {CKR_WRAPPED_KEY_LEN_RANGE, KL_ERR_VERIFY, KL_ERR_VERIFY, "CKR_WRAPPED_KEY_LEN_RANGE"},
    {CKR_ENCRYPTED_DATA_INVALID, KL_ERR_VERIFY, KL_ERR_VERIFY, "CKR_ENCRYPTED_DATA_INVALID"},
    {CKR_GENERAL_ERROR, KL_ERR_HSM, KL_ERR_VERIFY, "CKR_GENERAL_ERROR"},
    {CKR_FUNCTION_FAILED, KL_ERR_HSM, KL_ERR_VERIFY, "CKR_FUNCTION_FAILED"},
    {CKR_ARGUMENTS_BAD, KL_ERR_HSM, KL_ERR_VERIFY, "CKR_ARGUMENTS_BAD"},
    {CKR_PUBLIC_KEY_INVALID, KL_ERR_HSM, KL_ERR_VERIFY, "CKR_PUBLIC_KEY_INVALID"},
    {CKR_VENDOR_DEFINED + 5, KL_ERR_HSM, KL_ERR_HSM, "CKR_?"},
    {0x9999, KL_ERR_HSM, KL_ERR_HSM, "CKR_?"},
};
#define MAPPINGS (int)(sizeof(mappings) / sizeof(mappings[0]))

START_TEST(rv_in_our_terms)
{
    CK_RV rv = mappings[_i].rv;

    ck_assert_int_eq(kl_rv_err(&err, rv, "C_Foo", "doing %d", 7), mappings[_i].rc);
    ck_assert_int_eq(err.rc, mappings[_i].rc);
    ck_assert_int_eq(err.source, KL_ERR_SOURCE_PKCS11);
    ck_assert_uint_eq(err.native, rv);
    ck_assert_str_eq(err.op, "C_Foo");
    ck_says("doing 7");
    ck_says("C_Foo");
    ck_says(mappings[_i].name);
    ck_assert_int_eq(kl_rv_err_peer(&err, rv, "C_Foo", "doing"), mappings[_i].peer_rc);
}
END_TEST

START_TEST(rv_that_end_a_worker)
{
    ck_assert(kl_rc_is_hsm_trouble(KL_ERR_TOKEN));
    ck_assert(kl_rc_is_hsm_trouble(KL_ERR_HSM));
    ck_assert(kl_rc_is_hsm_trouble(KL_ERR_HSM_LACKS));
    ck_assert(!kl_rc_is_hsm_trouble(KL_ERR_VERIFY));
    ck_assert(!kl_rc_is_hsm_trouble(KL_ERR_STRENGTH));
    ck_assert(!kl_rc_is_hsm_trouble(KL_ERR_PROTOCOL));
    ck_assert(!kl_rc_is_hsm_trouble(KL_ERR_UNSUPPORTED));
    ck_assert(!kl_rc_is_hsm_trouble(KL_OK));
}
END_TEST

/* ---- Modules ---- */

START_TEST(module_that_is_not_there)
{
    struct kl_module *module = NULL;

    ck_rc(kl_module_load("/nonexistent/libp11.so", NULL, &module, &err), KL_ERR_MODULE);
    ck_says("/nonexistent/libp11.so");
    ck_assert_ptr_null(module);
}
END_TEST

START_TEST(module_that_is_no_module)
{
    struct kl_module *module = NULL;

    ck_rc(kl_module_load("/etc/passwd", NULL, &module, &err), KL_ERR_MODULE);
    ck_assert_ptr_null(module);
    kl_module_free(NULL);
}
END_TEST

START_TEST(module_that_does_not_start)
{
    struct kl_module *module = NULL;
    CK_FUNCTION_LIST *list = fake_p11(NULL);

    fake_p11_fail(FAKE_C_Initialize, 1, CKR_GENERAL_ERROR);
    ck_rc(kl_module_wrap(list, &module, &err), KL_ERR_MODULE);
    ck_says("CKR_GENERAL_ERROR");
    ck_assert_ptr_null(module);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Finalize), 0);

    ck_ok(kl_module_wrap(list, &module, &err));
    kl_module_free(module);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Finalize), 1);
}
END_TEST

/* What a module is told when it starts. */
static CK_C_INITIALIZE_ARGS seen_args;
static CK_RV spy_initialize(void *args)
{
    seen_args = *(CK_C_INITIALIZE_ARGS *)args;
    return CKR_OK;
}

START_TEST(module_locks_by_the_system)
{
    CK_FUNCTION_LIST list = *fake_p11(NULL);
    struct kl_module *module = NULL;

    list.C_Initialize = spy_initialize;
    ck_ok(kl_module_wrap(&list, &module, &err));
    ck_assert_uint_eq(seen_args.flags, CKF_OS_LOCKING_OK);
    ck_assert_ptr_null(seen_args.pReserved);
    kl_module_free(module);
}
END_TEST

/* NSS softokn does not start without its parameter string: so it must have got there. */
START_TEST(module_gets_its_parameters)
{
    struct kl_module *module = NULL;
    const char *path = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so";
    FILE *file = fopen(path, "r");

    if (!file) {
        return;
    }
    fclose(file);
    ck_rc(kl_module_load(path, NULL, &module, &err), KL_ERR_MODULE);
    ck_ok(kl_module_load(path,
                         "configdir='' certPrefix='' keyPrefix='' secmod='' flags=noCertDB,noModDB",
                         &module, &err));
    kl_module_free(module);
}
END_TEST

/* ---- Tokens ---- */

static char dir[PATH_MAX];
static struct kl_module *module;
static struct kl_secret *pin;

static void setup(void)
{
    test_secrets();
    test_softhsm_dir(dir, TEST_LABEL, TEST_PIN);
    ck_ok(kl_module_wrap(fake_p11(test_softhsm_path()), &module, &err));
    pin = test_secret(TEST_PIN);
}

static void teardown(void)
{
    kl_secret_free(pin);
    kl_module_free(module);
    test_rm_rf(dir);
}

static enum kl_rc open_token(const char *text, struct kl_secret *with, struct kl_token **out)
{
    struct kl_uri *uri = NULL;
    enum kl_rc rc;

    *out = NULL;
    ck_ok(kl_uri_parse(text, &uri, &err));
    rc = kl_token_open(module, uri, with, 0, out, &err);
    kl_uri_free(uri);
    return rc;
}

START_TEST(token_opens)
{
    struct kl_token *token;
    struct kl_session *session = NULL;
    CK_SESSION_INFO info;

    ck_ok(open_token("pkcs11:token=kl%20test", pin, &token));
    ck_assert_str_eq(kl_token_label(token), TEST_LABEL);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 1);
    ck_ok(kl_session_open(token, &session, &err));
    /* Logged in, although the login was another session's, which stays open. */
    ck_assert_uint_eq(kl_session_functions(session)->C_GetSessionInfo(kl_session_handle(session),
                                                                      &info),
                      CKR_OK);
    ck_assert_uint_eq(info.state, CKS_RO_USER_FUNCTIONS);
    kl_session_free(session);
    ck_ok(kl_session_open(token, &session, &err));
    ck_assert_uint_eq(kl_session_functions(session)->C_GetSessionInfo(kl_session_handle(session),
                                                                      &info),
                      CKR_OK);
    ck_assert_uint_eq(info.state, CKS_RO_USER_FUNCTIONS);
    kl_session_free(session);
    kl_session_free(NULL);
    kl_token_free(token);
    kl_token_free(NULL);
}
END_TEST

START_TEST(token_without_login)
{
    struct kl_token *token;

    ck_ok(open_token("pkcs11:token=kl%20test", NULL, &token));
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 0);
    kl_token_free(token);
}
END_TEST

START_TEST(token_that_is_not_there)
{
    struct kl_token *token;

    ck_rc(open_token("pkcs11:token=other", pin, &token), KL_ERR_TOKEN);
    ck_says("\"kl test\"");
    ck_assert_ptr_null(token);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 0);
}
END_TEST

START_TEST(token_that_is_not_the_only_one)
{
    struct kl_token *token;

    kl_module_free(module);
    test_softhsm_token("second", TEST_PIN);
    ck_ok(kl_module_wrap(fake_p11(test_softhsm_path()), &module, &err));
    ck_rc(open_token("pkcs11:", pin, &token), KL_ERR_TOKEN);
    ck_says("2 tokens");
    ck_says("\"second\"");
    ck_assert_ptr_null(token);
    ck_ok(open_token("pkcs11:token=second", pin, &token));
    ck_assert_str_eq(kl_token_label(token), "second");
    kl_token_free(token);
}
END_TEST

START_TEST(wrong_pin_is_tried_once)
{
    struct kl_secret *wrong = test_secret("4321");
    struct kl_token *token;

    ck_rc(open_token("pkcs11:token=kl%20test", wrong, &token), KL_ERR_PIN);
    ck_assert_ptr_null(token);
    ck_says("CKR_PIN_INCORRECT");
    ck_assert_ptr_null(strstr(err.text, "4321"));
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 1);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_CloseAllSessions), 1);
    kl_secret_free(wrong);
}
END_TEST

/* A token that has one try left, or none. */
static CK_FLAGS tries_left;
static CK_RV (*real_token_info)(CK_SLOT_ID slot, CK_TOKEN_INFO *info);
static CK_RV few_tries_left(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = real_token_info(slot, info);

    info->flags |= tries_left;
    return rv;
}

START_TEST(the_last_try_is_not_ours)
{
    CK_FUNCTION_LIST *f = kl_module_functions(module);
    struct kl_token *token;

    real_token_info = f->C_GetTokenInfo;
    f->C_GetTokenInfo = few_tries_left;
    tries_left = _i ? CKF_USER_PIN_LOCKED : CKF_USER_PIN_FINAL_TRY;
    ck_rc(open_token("pkcs11:token=kl%20test", pin, &token), KL_ERR_PIN);
    ck_assert_ptr_null(token);
    ck_says(_i ? "\"kl test\": the user PIN is locked"
               : "\"kl test\": only one try of the user PIN is left");
    ck_says(_i ? "set a new one" : "resets the counter");
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 0);
    ck_ok(open_token("pkcs11:token=kl%20test", NULL, &token)); /* nothing is tried here */
    kl_token_free(token);
    f->C_GetTokenInfo = real_token_info;
    ck_ok(open_token("pkcs11:token=kl%20test", pin, &token));
    kl_token_free(token);
}
END_TEST

/* A module that says there are more than it was given room for: at once, or in the list itself. */
static CK_RV (*real_slot_list)(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count);
static int in_list;
static CK_RV many_slots(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    CK_RV rv = real_slot_list(present, slots, count);

    if ((slots != NULL) == in_list) {
        *count = 65;
    }
    return rv;
}

START_TEST(more_slots_than_fit)
{
    CK_FUNCTION_LIST *f = kl_module_functions(module);
    struct kl_token *token;

    real_slot_list = f->C_GetSlotList;
    f->C_GetSlotList = many_slots;
    in_list = _i;
    ck_rc(open_token("pkcs11:token=kl%20test", pin, &token), KL_ERR_TOKEN);
    ck_says("module has 65 slots; 64 is the limit");
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GetTokenInfo), 0);
    f->C_GetSlotList = real_slot_list;
}
END_TEST

/* Whatever C_Login answers, it is called once. */
START_TEST(login_is_never_retried)
{
    static const struct {
        CK_RV rv;
        enum kl_rc rc;
    } answers[] = {
        {CKR_PIN_LOCKED, KL_ERR_PIN},
        {CKR_PIN_EXPIRED, KL_ERR_PIN},
        {CKR_DEVICE_REMOVED, KL_ERR_TOKEN},
        {CKR_GENERAL_ERROR, KL_ERR_HSM},
        {CKR_FUNCTION_FAILED, KL_ERR_HSM},
        {CKR_USER_PIN_NOT_INITIALIZED, KL_ERR_PIN},
        {CKR_SESSION_HANDLE_INVALID, KL_ERR_HSM},
    };
    struct kl_token *token;

    fake_p11_fail(FAKE_C_Login, 1, answers[_i].rv);
    ck_rc(open_token("pkcs11:token=kl%20test", pin, &token), answers[_i].rc);
    ck_assert_ptr_null(token);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 1);
}
END_TEST

START_TEST(failures_on_the_way_to_a_token)
{
    static const struct {
        enum fake_p11_fn fn;
        CK_RV rv;
        enum kl_rc rc;
    } failures[] = {
        {FAKE_C_GetSlotList, CKR_DEVICE_ERROR, KL_ERR_TOKEN},
        {FAKE_C_GetTokenInfo, CKR_TOKEN_NOT_PRESENT, KL_ERR_TOKEN},
        {FAKE_C_OpenSession, CKR_SESSION_COUNT, KL_ERR_HSM},
        {FAKE_C_OpenSession, CKR_TOKEN_NOT_PRESENT, KL_ERR_TOKEN},
    };
    struct kl_token *token;

    fake_p11_fail(failures[_i].fn, 1, failures[_i].rv);
    ck_rc(open_token("pkcs11:token=kl%20test", pin, &token), failures[_i].rc);
    ck_assert_ptr_null(token);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 0);
}
END_TEST

START_TEST(session_that_does_not_open)
{
    struct kl_token *token;
    struct kl_session *session = NULL;

    ck_ok(open_token("pkcs11:token=kl%20test", pin, &token));
    fake_p11_fail(FAKE_C_OpenSession, 1, CKR_DEVICE_REMOVED);
    ck_rc(kl_session_open(token, &session, &err), KL_ERR_TOKEN);
    ck_assert_ptr_null(session);
    kl_token_free(token);
}
END_TEST

/* ---- New tokens ---- */

START_TEST(token_init)
{
    struct kl_secret *so_pin = test_secret("security"), *user_pin = test_secret("876543");
    struct kl_token *token;

    ck_ok(kl_token_init(module, "made here", so_pin, user_pin, &err));
    ck_ok(open_token("pkcs11:token=made%20here", user_pin, &token));
    kl_token_free(token);
    ck_rc(open_token("pkcs11:token=made%20here", so_pin, &token), KL_ERR_PIN);
    ck_rc(kl_token_init(module, "made here", so_pin, user_pin, &err), KL_ERR_EXISTS);
    kl_secret_free(user_pin);
    kl_secret_free(so_pin);
}
END_TEST

START_TEST(token_init_refuses_bad_labels)
{
    static const char *const labels[] = {"", "blank ", "0123456789012345678901234567890123"};

    ck_rc(kl_token_init(module, labels[_i], pin, pin, &err), KL_ERR_INPUT);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_InitToken), 0);
}
END_TEST

START_TEST(token_init_failures)
{
    struct kl_secret *short_pin = test_secret("1");

    fake_p11_fail(FAKE_C_InitToken, 1, CKR_TOKEN_WRITE_PROTECTED);
    ck_rc(kl_token_init(module, "new", pin, pin, &err), KL_ERR_TOKEN);
    fake_p11_fail(FAKE_C_InitPIN, 1, CKR_PIN_TOO_WEAK);
    ck_rc(kl_token_init(module, "new", pin, pin, &err), KL_ERR_PIN);
    ck_says("user PIN is not set");
    ck_rc(kl_token_init(module, "new2", short_pin, pin, &err), KL_ERR_PIN);
    kl_secret_free(short_pin);
}
END_TEST

static Suite *token_suite(void)
{
    Suite *suite = suite_create("token");
    TCase *rv = tcase_create("rv and module"), *token = tcase_create("token");

    tcase_add_loop_test(rv, rv_in_our_terms, 0, MAPPINGS);
    tcase_add_test(rv, rv_that_end_a_worker);
    tcase_add_test(rv, module_that_is_not_there);
    tcase_add_test(rv, module_that_is_no_module);
    tcase_add_test(rv, module_that_does_not_start);
    tcase_add_test(rv, module_locks_by_the_system);
    tcase_add_test(rv, module_gets_its_parameters);
    suite_add_tcase(suite, rv);
    tcase_add_checked_fixture(token, setup, teardown);
    tcase_add_test(token, token_opens);
    tcase_add_test(token, token_without_login);
    tcase_add_test(token, token_that_is_not_there);
    tcase_add_test(token, token_that_is_not_the_only_one);
    tcase_add_test(token, wrong_pin_is_tried_once);
    tcase_add_loop_test(token, the_last_try_is_not_ours, 0, 2);
    tcase_add_loop_test(token, more_slots_than_fit, 0, 2);
    tcase_add_loop_test(token, login_is_never_retried, 0, 7);
    tcase_add_loop_test(token, failures_on_the_way_to_a_token, 0, 4);
    tcase_add_test(token, session_that_does_not_open);
    tcase_add_test(token, token_init);
    tcase_add_loop_test(token, token_init_refuses_bad_labels, 0, 3);
    tcase_add_test(token, token_init_failures);
    suite_add_tcase(suite, token);
    return suite;
}

int main(void)
{
    return test_run(token_suite());
}
