/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkcs11/loader on a failing HSM: every call of a load fails in turn, a token that refuses
 * everything is told from a bad peer, and nothing is left behind.
 */
#include <check.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "tests/support/fake_p11.h"
#include "tests/support/host_terminal.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static const struct ht_key keys[] = {{KL_SUITE_HARDENED_RSA, 2048},
                                     {KL_SUITE_CLASSIC, 2048},
                                     {KL_SUITE_HARDENED_EC, 256}};

/* Answers that a peer's bytes may cause, but that this token gives to everything. */
static const CK_RV lost_answers[] = {CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_ARGUMENTS_BAD,
                                     CKR_MECHANISM_INVALID};

/* classic's S6 begins with a C_Decrypt, which must reach the module, or its operation would stay
 * active: what it says is replaced. */
static CK_RV (*real_decrypt)(CK_SESSION_HANDLE, unsigned char *, CK_ULONG, unsigned char *,
                             CK_ULONG *);
static CK_RV decrypt_says;
static unsigned decrypt_times;
static CK_RV decrypt_fails(CK_SESSION_HANDLE s, unsigned char *in, CK_ULONG in_len,
                           unsigned char *out, CK_ULONG *out_len)
{
    CK_RV rv = real_decrypt(s, in, in_len, out, out_len);

    return decrypt_times > 0 && decrypt_times-- ? decrypt_says : rv;
}

/* The next calls with which the suite's S6 begins say that. */
static void s6_fails(enum kl_suite suite, unsigned times, CK_RV rv)
{
    if (suite == KL_SUITE_CLASSIC) {
        decrypt_says = rv;
        decrypt_times = times;
    } else {
        fake_p11_fail(suite == KL_SUITE_HARDENED_EC ? FAKE_C_DeriveKey : FAKE_C_UnwrapKey,
                      times == 1 ? 1 : 0, rv);
    }
}

START_TEST(a_token_that_refuses_everything_is_no_bad_peer)
{
    const struct ht_key key = keys[_i % 3];
    CK_RV rv = lost_answers[_i / 3];

    ht_setup(key);
    real_decrypt = hsm.f->C_Decrypt;
    hsm.f->C_Decrypt = decrypt_fails;
    s6_fails(key.suite, 99, rv);
    ck_rc(ht_run(), KL_ERR_HSM);
    ck_assert_int_eq(err.rc, KL_ERR_HSM);
    ck_assert(kl_rc_is_hsm_trouble(err.rc));
    ck_says("known answer");
    ck_assert_uint_eq(err.native, rv);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    /* The same answer to a peer only: the next load is served. */
    decrypt_times = 0;
    fake_p11_reset();
    ht_open(&p11_config);
    ht_choose("work");
    ht_messages(KL_ALG_TDES2);
    s6_fails(key.suite, 1, rv);
    ht_refused(KL_ERR_VERIFY);
    ck_assert_ptr_null(strstr(err.text, "known answer"));
    ck_ok(ht_run());
}
END_TEST

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Bad peers in a row cost one known answer a second, and a loss in between is found out then. */
START_TEST(the_known_answer_is_tried_once_a_second)
{
    double start;
    unsigned bad = 8, extra;

    ht_setup(keys[0]);
    start = seconds();
    term->msg.u.randoms.c_rnd2[0] ^= 1;
    ht_encode_randoms();
    fake_p11_reset();
    for (unsigned i = 0; i < bad; i++) {
        ck_rc(ht_run(), KL_ERR_VERIFY);
    }
    extra = fake_p11_calls(FAKE_C_UnwrapKey) - bad;
    ck_assert_uint_ge(extra, 1);
    ck_assert_uint_le(extra, 1 + (unsigned)(seconds() - start));
    usleep(1100 * 1000);
    fake_p11_fail(FAKE_C_UnwrapKey, 0, CKR_GENERAL_ERROR);
    ck_rc(ht_run(), KL_ERR_HSM);
}
END_TEST

/* How often these bytes are on the heap, freed memory included; 0 if that is not where malloc
 * allocates (sanitizers). */
static unsigned count_on_heap(const void *bytes, size_t len)
{
    unsigned long start = 0, end = 0;
    unsigned count = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        if (strstr(line, "[heap]")) {
            ck_assert_int_eq(sscanf(line, "%lx-%lx", &start, &end), 2);
        }
    }
    fclose(maps);
    for (const uint8_t *p = (const uint8_t *)start;
         start && (p = memmem(p, end - (uintptr_t)p, bytes, len)); p++) {
        count++;
    }
    return count;
}

START_TEST(a_load_leaves_nothing_on_the_heap)
{
    unsigned t0_before;

    ht_setup(keys[_i]);
    t0_before = count_on_heap(term->t0, sizeof(term->t0));
    if (t0_before == 0) {
        return;
    }
    ck_ok(ht_run());
    ck_assert_uint_eq(count_on_heap(term->t0, sizeof(term->t0)), t0_before);
    ck_assert_uint_eq(count_on_heap(term->out.active_mac, KL_MAC_LEN), 1);
    ck_assert_uint_eq(count_on_heap(term->rnd1, 32), 1); /* the terminal's own */
    ck_assert_uint_eq(count_on_heap(term->rnd2, 32), keys[_i].suite == KL_SUITE_CLASSIC ? 1 : 2);
}
END_TEST

/* Each call of a load fails in turn: an error, nothing written, nothing left behind. The last suite
 * is tried with an imported TMK, too. */
START_TEST(every_failing_call_is_cleaned_up)
{
    static const enum fake_p11_fn fns[] = {
        FAKE_C_UnwrapKey, FAKE_C_GetAttributeValue, FAKE_C_DeriveKey, FAKE_C_DecryptInit,
        FAKE_C_Decrypt,   FAKE_C_GenerateKey,       FAKE_C_WrapKey,   FAKE_C_EncryptInit,
        FAKE_C_Encrypt,   FAKE_C_SignInit,          FAKE_C_Sign,      FAKE_C_CreateObject,
    };
    enum fake_p11_fn fn = fns[_i % 12];
    struct kl_load_out untouched;
    struct kl_stored_key imported_tmk;
    int imported = _i / 12 == 3;
    unsigned calls;

    ht_setup(keys[imported ? 2 : _i / 12]);
    ck_ok(ht_run());
    if (imported) {
        imported_tmk = p11_stored_key(term->in.alg, NULL, KL_BINDING_IMPORT, "T-0001", 0);
        term->in.tmk = &imported_tmk;
    }
    fake_p11_reset();
    ck_ok(ht_run());
    calls = fake_p11_calls(fn);
    memset(&untouched, 0xee, sizeof(untouched));
    for (unsigned nth = 1; nth <= calls; nth++) {
        memset(&term->out, 0xee, sizeof(term->out));
        fake_p11_reset();
        fake_p11_fail(fn, nth, CKR_DEVICE_REMOVED);
        ck_rc(ht_run(), KL_ERR_TOKEN);
        ck_says("CKR_DEVICE_REMOVED");
        ck_assert_mem_eq(&term->out, &untouched, sizeof(untouched));
        ck_assert_uint_eq(test_session_objects(hsm.session), 0);
        /* As a worker does: no session is used after an error of the HSM. */
        ht_open(&p11_config);
    }
}
END_TEST

static Suite *hsm_suite(void)
{
    Suite *suite = suite_create("loader: bad HSM");
    TCase *bad = tcase_create("bad HSM");

    tcase_add_checked_fixture(bad, NULL, ht_teardown);
    tcase_set_timeout(bad, 60);
    suite_add_tcase(suite, bad);
    tcase_add_loop_test(bad, a_token_that_refuses_everything_is_no_bad_peer, 0, 12);
    tcase_add_test(bad, the_known_answer_is_tried_once_a_second);
    tcase_add_loop_test(bad, a_load_leaves_nothing_on_the_heap, 0, 3);
    tcase_add_loop_test(bad, every_failing_call_is_cleaned_up, 0, 48);
    return suite;
}

int main(void)
{
    return test_run(hsm_suite());
}
