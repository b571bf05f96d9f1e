/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Result codes and error detail, and the buffers that secrets live in.
 */
#include <check.h>
#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/secret.h"
#include "tests/support/suite.h"

START_TEST(test_rc_table)
{
    static const enum kl_rc codes[] = {
#define CODE(code, name, text, wire, status) code,
        KL_RC_LIST(CODE)
#undef CODE
    };
    size_t count = sizeof(codes) / sizeof(codes[0]);

    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(codes[i], (int)i);
        ck_assert_int_ne(kl_rc_name(codes[i])[0], '\0');
        ck_assert_int_ne(kl_rc_text(codes[i])[0], '\0');
        for (size_t k = 0; k < i; k++) {
            ck_assert_str_ne(kl_rc_name(codes[i]), kl_rc_name(codes[k]));
        }
        if (i > 0) {
            ck_assert_int_ge(kl_rc_exit_status(codes[i]), 64);
        }
    }
    ck_assert_int_eq(kl_rc_exit_status(KL_OK), 0);
    ck_assert_str_eq(kl_rc_name(KL_ERR_UNARMED), "unarmed");
    ck_assert_str_eq(kl_rc_text(KL_ERR_UNARMED), "terminal is not armed");
    ck_assert_int_eq(kl_rc_wire(KL_ERR_VERIFY), KL_WIRE_REFUSED);
    ck_assert_int_eq(kl_rc_wire(KL_ERR_UNKNOWN_TERMINAL), KL_WIRE_REFUSED);
    ck_assert_str_eq(kl_rc_name(KL_ERR_REVOKED), "revoked");
    ck_assert_str_eq(kl_rc_text(KL_ERR_REVOKED), "the certificate is revoked");
    ck_assert_int_eq(kl_rc_wire(KL_ERR_REVOKED), KL_WIRE_REFUSED); /* as any bad certificate */
    ck_assert_int_eq(kl_rc_exit_status(KL_ERR_REVOKED), kl_rc_exit_status(KL_ERR_CERT));
    ck_assert_int_eq(kl_rc_wire(KL_ERR_BUSY), KL_WIRE_BUSY);
    ck_assert_int_eq(kl_rc_exit_status(KL_ERR_USAGE), 64);
    ck_assert_str_eq(kl_rc_name((enum kl_rc)count), "internal");
    ck_assert_str_eq(kl_rc_text((enum kl_rc) - 1), "internal error");
    ck_assert_int_eq(kl_rc_wire((enum kl_rc)9999), KL_WIRE_INTERNAL);
    ck_assert_int_eq(kl_rc_exit_status((enum kl_rc) - 1), 70);
}
END_TEST

START_TEST(test_wire_names)
{
    ck_assert_str_eq(kl_wire_name(KL_WIRE_INTERNAL), "internal");
    ck_assert_str_eq(kl_wire_name(KL_WIRE_REFUSED), "refused");
    ck_assert_str_eq(kl_wire_name(KL_WIRE_TIMEOUT), "timeout");
    ck_assert_str_eq(kl_wire_name(0), "unknown");
    ck_assert_str_eq(kl_wire_name(7), "unknown");
    ck_assert_str_eq(kl_wire_name((unsigned)-1), "unknown");
}
END_TEST

START_TEST(test_err_set)
{
    struct kl_err err = KL_ERR_INIT;
    char big[600];

    ck_assert_int_eq(kl_err_set(&err, KL_ERR_CONFIG, "line %d", 7), KL_ERR_CONFIG);
    ck_assert_int_eq(err.rc, KL_ERR_CONFIG);
    ck_assert_int_eq(err.source, KL_ERR_SOURCE_SELF);
    ck_assert_str_eq(err.text, "line 7");
    ck_assert_int_eq(kl_err_context(&err, "file %s", "x.conf"), KL_ERR_CONFIG);
    ck_assert_str_eq(err.text, "file x.conf: line 7");
    kl_err_set(&err, KL_ERR_STORE, "again: %s", err.text); /* its own text as an argument */
    ck_assert_str_eq(err.text, "again: file x.conf: line 7");

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    kl_err_set(&err, KL_ERR_IO, "%s", big);
    ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
    kl_err_context(&err, "head");
    ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
    ck_assert_int_eq(strncmp(err.text, "head: xxx", 9), 0);
    kl_err_context(&err, "%s", big);
    ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
}
END_TEST

START_TEST(test_err_native)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_err_native(&err, KL_ERR_HSM, KL_ERR_SOURCE_PKCS11, 5,
                                   "C_AnOperationWithAVeryLongNameIndeed", "slot %d", 3),
                     KL_ERR_HSM);
    ck_assert_int_eq(err.source, KL_ERR_SOURCE_PKCS11);
    ck_assert_uint_eq(err.native, 5);
    ck_assert_str_eq(err.op, "C_AnOperationWithAVeryLongNameI");
    ck_assert_str_eq(err.text, "slot 3");
}
END_TEST

static const struct {
    int number;
    enum kl_rc rc;
} errnos[] = {
    {ENOENT, KL_ERR_NO_FILE},   {ENOTDIR, KL_ERR_NO_FILE},  {EACCES, KL_ERR_PERMISSION},
    {EPERM, KL_ERR_PERMISSION}, {EROFS, KL_ERR_PERMISSION}, {EEXIST, KL_ERR_EXISTS},
    {EIO, KL_ERR_IO},           {ENOSPC, KL_ERR_IO},        {EDQUOT, KL_ERR_IO},
    {EFBIG, KL_ERR_IO},         {EPIPE, KL_ERR_IO},         {ECONNRESET, KL_ERR_IO},
    {ENOMEM, KL_ERR_MEMORY},    {EINVAL, KL_ERR_SYSTEM},    {EMFILE, KL_ERR_SYSTEM},
};

START_TEST(test_err_errno)
{
    struct kl_err err = KL_ERR_INIT;
    char want[200];

    snprintf(want, sizeof(want), "cannot open f: %s", strerror(errnos[_i].number));
    errno = errnos[_i].number;
    ck_assert_int_eq(kl_err_errno(&err, "open", "cannot open %s", "f"), errnos[_i].rc);
    ck_assert_int_eq(err.rc, errnos[_i].rc);
    ck_assert_int_eq(err.source, KL_ERR_SOURCE_ERRNO);
    ck_assert_uint_eq(err.native, (unsigned long)errnos[_i].number);
    ck_assert_str_eq(err.op, "open");
    ck_assert_str_eq(err.text, want);
}
END_TEST

START_TEST(test_err_openssl)
{
    struct kl_err err = KL_ERR_INIT;
    unsigned long last;

    ERR_clear_error();
    ERR_raise(ERR_LIB_ASN1, ASN1_R_WRONG_TAG);
    ERR_raise_data(ERR_LIB_ASN1, ERR_R_NESTED_ASN1_ERROR, "Field=%s", "mac");
    last = ERR_peek_last_error();
    ck_assert_int_eq(kl_err_openssl(&err, KL_ERR_CERT, "d2i_X509", "no good"), KL_ERR_CERT);
    ck_assert_int_eq(err.source, KL_ERR_SOURCE_OPENSSL);
    ck_assert_uint_eq(err.native, last);
    ck_assert_str_eq(err.op, "d2i_X509");
    ck_assert_str_eq(err.text, "no good: wrong tag: nested asn1 error (Field=mac)");
    ck_assert_uint_eq(ERR_peek_error(), 0);

    ck_assert_int_eq(kl_err_openssl(&err, KL_ERR_CERT, "f", "empty queue"), KL_ERR_CERT);
    ck_assert_uint_eq(err.native, 0);
    ck_assert_str_eq(err.text, "empty queue");

    /* Memory wins, wherever in the queue it stands. */
    ERR_raise(ERR_LIB_X509, ERR_R_MALLOC_FAILURE);
    ERR_raise(ERR_LIB_ASN1, ASN1_R_WRONG_TAG);
    ck_assert_int_eq(kl_err_openssl(&err, KL_ERR_CERT, "f", "x"), KL_ERR_MEMORY);
    ck_assert_int_eq(err.rc, KL_ERR_MEMORY);
}
END_TEST

/* What somebody else left is not told as the cause. */
START_TEST(test_err_openssl_clear)
{
    struct kl_err err = KL_ERR_INIT;

    kl_err_openssl_clear();
    ck_assert_uint_eq(ERR_peek_error(), 0);
    ERR_raise(ERR_LIB_ASN1, ASN1_R_TOO_LONG);
    ERR_raise(ERR_LIB_ASN1, ASN1_R_TOO_SMALL);
    kl_err_openssl_clear();
    ck_assert_uint_eq(ERR_peek_error(), 0);
    ck_assert_int_eq(kl_err_openssl(&err, KL_ERR_PROTOCOL, "op", "text"), KL_ERR_PROTOCOL);
    ck_assert_str_eq(err.text, "text");
}
END_TEST

/* Without kl_secret_setup, the first buffer makes the heap. */
START_TEST(test_secret_lazily)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_secret *secret = NULL;

    ck_assert(!CRYPTO_secure_malloc_initialized());
    ck_assert_msg(kl_secret_new(32, &secret, &err) == KL_OK, "%s", err.text);
    ck_assert(CRYPTO_secure_malloc_initialized());
    ck_assert(CRYPTO_secure_allocated(kl_secret_data(secret)));
    ck_assert_uint_eq(kl_secret_capacity(secret), 32);
    ck_assert_uint_eq(kl_secret_len(secret), 0);
    kl_secret_set_len(secret, 32);
    ck_assert_uint_eq(kl_secret_len(secret), 32);
    kl_secret_free(secret);
    kl_secret_free(NULL);
    ck_assert_uint_eq(CRYPTO_secure_used(), 0);
}
END_TEST

/* A block that is given out again holds nothing of its last owner. */
START_TEST(test_secret_wiped)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_secret *secret = NULL;
    uint8_t *first;

    ck_assert_int_eq(kl_secret_new(4096, &secret, &err), KL_OK);
    first = kl_secret_data(secret);
    memset(first, 0x5a, 4096);
    kl_secret_free(secret);
    ck_assert_int_eq(kl_secret_new(4096, &secret, &err), KL_OK);
    ck_assert_ptr_eq(kl_secret_data(secret), first);
    for (size_t i = 0; i < 4096; i++) {
        ck_assert_uint_eq(first[i], 0);
    }
    kl_secret_free(secret);
}
END_TEST

START_TEST(test_secret_bounds)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_secret *secret = NULL, *held[64];
    size_t count = 0;

    ck_assert_int_eq(kl_secret_new(0, &secret, &err), KL_ERR_INTERNAL);
    ck_assert_int_eq(kl_secret_new(65537, &secret, &err), KL_ERR_INTERNAL);
    ck_assert_ptr_null(secret);
    while (count < 64 && kl_secret_new(65536, &held[count], &err) == KL_OK) {
        count++;
    }
    ck_assert_uint_ge(count, 8);
    ck_assert_uint_lt(count, 64); /* the heap is bounded, and never spills into plain memory */
    ck_assert_int_eq(err.rc, KL_ERR_MEMORY);
    while (count > 0) {
        kl_secret_free(held[--count]);
    }
}
END_TEST

START_TEST(test_secret_overrun)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_secret *secret = NULL;

    ck_assert_int_eq(kl_secret_new(16, &secret, &err), KL_OK);
    kl_secret_set_len(secret, 17); /* aborts */
}
END_TEST

/* Leak checkers look at the process from outside once the test is over. */
static void let_checkers_in(void)
{
    ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L), 0);
}

START_TEST(test_secret_setup)
{
    struct kl_err err = KL_ERR_INIT;
    struct rlimit core;

    ck_assert_msg(kl_secret_setup(&err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE, 0L, 0L, 0L, 0L), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &core), 0);
    ck_assert_uint_eq(core.rlim_cur, 0);
    ck_assert_uint_eq(core.rlim_max, 0);
    ck_assert(CRYPTO_secure_malloc_initialized());
    let_checkers_in();
}
END_TEST

/* Memory that cannot be locked is refused, and told how to mend it. Root may lock at will, so the
 * capability goes first. */
START_TEST(test_secret_unlockable)
{
    const struct rlimit none = {0, 0};
    struct kl_err err = KL_ERR_INIT;
    struct kl_secret *secret = NULL;
    uid_t uid = geteuid();

    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    if (uid == 0) {
        ck_assert_int_eq(seteuid(65534), 0);
    }
    ck_assert_int_eq(kl_secret_setup(&err), KL_ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.text, "RLIMIT_MEMLOCK"));
    ck_assert_int_eq(kl_secret_new(16, &secret, &err), KL_ERR_SYSTEM);
    ck_assert_ptr_null(secret);
    ck_assert(!CRYPTO_secure_malloc_initialized());
    ck_assert_int_eq(seteuid(uid), 0);
    let_checkers_in();
}
END_TEST

START_TEST(test_wipe)
{
    uint8_t scratch[32];

    memset(scratch, 0x5a, sizeof(scratch));
    kl_wipe(scratch, sizeof(scratch) - 1);
    for (size_t i = 0; i < sizeof(scratch) - 1; i++) {
        ck_assert_uint_eq(scratch[i], 0);
    }
    ck_assert_uint_eq(scratch[sizeof(scratch) - 1], 0x5a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("err");
    TCase *tcase = tcase_create("err");

    tcase_add_test(tcase, test_rc_table);
    tcase_add_test(tcase, test_wire_names);
    tcase_add_test(tcase, test_err_set);
    tcase_add_test(tcase, test_err_native);
    tcase_add_loop_test(tcase, test_err_errno, 0, sizeof(errnos) / sizeof(errnos[0]));
    tcase_add_test(tcase, test_err_openssl);
    tcase_add_test(tcase, test_err_openssl_clear);
    tcase_add_test(tcase, test_secret_lazily);
    tcase_add_test(tcase, test_secret_wiped);
    tcase_add_test(tcase, test_secret_bounds);
    tcase_add_test_raise_signal(tcase, test_secret_overrun, SIGABRT);
    tcase_add_test(tcase, test_secret_setup);
    tcase_add_test(tcase, test_secret_unlockable);
    tcase_add_test(tcase, test_wipe);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
