/* SPDX-License-Identifier: BSD-2-Clause */
/* What terminals share of S4: only the very same bytes, at the very same second, go unverified. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "terminal-sim/auth.h"
#include "tests/support/stand.h"
#include "tests/support/suite.h"

static struct stand stand;
static struct kl_msg msg; /* Certificate; borrows from stand.buf */
static struct kl_certificate *certificate = &msg.u.certificate;
static struct kl_auth_memo *memo;
static struct kl_auth_work found;
static time_t now;

static void begin(void)
{
    stand_init(&stand, MEMORY);
    stand_to_certificate(&stand);
    ok(&stand, kl_msg_decode(stand.buf, stand.len, &msg, &stand.err));
    ok(&stand, kl_auth_memo_new(stand.params.roots, &memo, &stand.err));
    now = stand.params.now;
}

static void end(void)
{
    kl_auth_memo_free(memo);
    memo = NULL;
    stand_end(&stand);
}

static enum kl_rc verify_once(void)
{
    return kl_auth_verify_once(memo, certificate, now, &found, &stand.err);
}

/* Goes well, and that was the n-th verification. */
static void good(uint64_t n)
{
    struct kl_auth_work plain;

    ok(&stand, verify_once());
    ck_assert_uint_eq(kl_auth_memo_verified(memo), n);
    ok(&stand, kl_auth_verify(certificate, stand.params.roots, now, &plain, &stand.err));
    ck_assert_int_eq(EVP_PKEY_eq(kl_pubkey_evp(found.key), kl_pubkey_evp(plain.key)), 1);
    ck_assert_int_eq(kl_pubkey_is(found.key), kl_pubkey_is(plain.key));
    ck_assert_uint_eq(kl_pubkey_bits(found.key), kl_pubkey_bits(plain.key));
    ck_assert_str_eq(found.subject, plain.subject);
    ck_assert_str_eq(found.anchor, plain.anchor);
    ck_assert_int_eq(found.has_crl, plain.has_crl);
    kl_pubkey_free(plain.key);
    kl_pubkey_free(found.key);
}

/* Is refused, by a verification that was the n-th. */
static void bad(uint64_t n)
{
    ck_assert_int_eq(verify_once(), KL_ERR_CERT);
    ck_assert_uint_eq(kl_auth_memo_verified(memo), n);
}

START_TEST(test_same_bytes_same_second)
{
    begin();
    good(1);
    good(1);
    now++;
    good(2);
    now--;
    good(2); /* both are known */
    end();
}
END_TEST

START_TEST(test_validity_is_looked_at_again)
{
    begin();
    good(1);
    now += 20 * 365 * (time_t)KL_ROGUE_DAY;
    bad(2);
    bad(3); /* a refusal is not kept */
    end();
}
END_TEST

START_TEST(test_every_byte_counts)
{
    struct kl_bytes chain = {0};
    uint8_t *copy;

    begin();
    good(1);
    chain = certificate->chain[0];
    copy = malloc(chain.len);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, chain.data, chain.len);
    certificate->chain[0].data = copy;
    good(1); /* wherever they stand */
    copy[chain.len - 1] ^= 1;
    bad(2);
    certificate->chain[0] = chain;
    good(2);
    certificate->crl = chain; /* no CRL at all */
    bad(3);
    certificate->crl.len = 0;
    certificate->chain[1] = chain;
    certificate->chain_count++;
    bad(4);
    free(copy);
    end();
}
END_TEST

START_TEST(test_forgets)
{
    begin();
    good(1);
    for (unsigned i = 0; i < 100; i++) {
        now++;
        good(2 + i);
    }
    now -= 100;
    good(102);
    end();
}
END_TEST

/* A load with a memo names the same roots in its Hello, and is as whole. */
START_TEST(test_load)
{
    uint8_t hello[KL_MSG_MAX];
    size_t len;

    begin();
    stand_begin(&stand);
    len = stand.len;
    memcpy(hello, stand.buf, len);
    stand.params.memo = memo;
    stand_begin(&stand);
    ck_assert_uint_eq(stand.len, len);
    ck_assert_mem_eq(stand.buf, hello, len);
    stand_whole_load(&stand);
    stand.loader.version++;
    stand_whole_load(&stand);
    ck_assert_uint_eq(kl_auth_memo_verified(memo), 1);
    end();
}
END_TEST

START_TEST(test_needs_roots)
{
    STACK_OF(X509) *none = sk_X509_new_null();
    struct kl_auth_memo *unmade = NULL;
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_auth_memo_new(none, &unmade, &err), KL_ERR_INPUT);
    ck_assert_ptr_null(unmade);
    sk_X509_free(none);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("auth_memo");
    TCase *tc = tcase_create("memo");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_test(tc, test_same_bytes_same_second);
    tcase_add_test(tc, test_validity_is_looked_at_again);
    tcase_add_test(tc, test_every_byte_counts);
    tcase_add_test(tc, test_forgets);
    tcase_add_test(tc, test_load);
    tcase_add_test(tc, test_needs_roots);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
