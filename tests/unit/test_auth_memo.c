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
static struct kl_pubkey *keys[128]; /* of all that went well */
static size_t key_count;
static time_t now;

static void begin(void)
{
    stand_init(&stand, STAND_MEMORY);
    stand_to_certificate(&stand);
    stand_ok(&stand, kl_msg_decode(stand.buf, stand.len, &msg, &stand.err));
    stand_ok(&stand, kl_auth_memo_new(stand.params.roots, &memo, &stand.err));
    now = stand.params.now;
}

static void end(void)
{
    while (key_count > 0) {
        kl_pubkey_free(keys[--key_count]);
    }
    kl_auth_memo_free(memo);
    memo = NULL;
    stand_end(&stand);
}

static enum kl_rc verify_once(struct kl_auth_work *found)
{
    return kl_auth_verify_once(memo, certificate, now, found, &stand.err);
}

/* Goes well, and what comes out is that of kl_auth_verify. The key lives until end(): another one
 * tells another verification. */
static const struct kl_pubkey *good(void)
{
    struct kl_auth_work found, plain;

    stand_ok(&stand, verify_once(&found));
    stand_ok(&stand, kl_auth_verify(certificate, stand.params.roots, now, &plain, &stand.err));
    ck_assert_int_eq(EVP_PKEY_eq(kl_pubkey_evp(found.key), kl_pubkey_evp(plain.key)), 1);
    ck_assert_int_eq(kl_pubkey_is(found.key), kl_pubkey_is(plain.key));
    ck_assert_uint_eq(kl_pubkey_bits(found.key), kl_pubkey_bits(plain.key));
    ck_assert_str_eq(found.subject, plain.subject);
    ck_assert_str_eq(found.anchor, plain.anchor);
    ck_assert_int_eq(found.has_crl, plain.has_crl);
    kl_pubkey_free(plain.key);
    ck_assert_uint_lt(key_count, sizeof(keys) / sizeof(keys[0]));
    keys[key_count++] = found.key;
    return found.key;
}

static void bad(void)
{
    struct kl_auth_work found;

    ck_assert_int_eq(verify_once(&found), KL_ERR_CERT);
}

START_TEST(test_same_bytes_same_second)
{
    const struct kl_pubkey *first, *later;

    begin();
    first = good();
    ck_assert_ptr_eq(good(), first);
    now++;
    later = good();
    ck_assert_ptr_ne(later, first);
    ck_assert_ptr_eq(good(), later);
    now--;
    ck_assert_ptr_eq(good(), first); /* both are known */
    end();
}
END_TEST

START_TEST(test_validity_is_looked_at_again)
{
    begin();
    good();
    now += 20 * 365 * (time_t)KL_ROGUE_DAY;
    bad();
    bad(); /* a refusal does not make it known */
    end();
}
END_TEST

START_TEST(test_every_byte_counts)
{
    struct kl_bytes chain = {0};
    const struct kl_pubkey *key;
    uint8_t *copy;

    begin();
    key = good();
    chain = certificate->chain[0];
    copy = malloc(chain.len);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, chain.data, chain.len);
    certificate->chain[0].data = copy;
    ck_assert_ptr_eq(good(), key); /* wherever they stand */
    copy[chain.len - 1] ^= 1;
    bad();
    certificate->chain[0] = chain;
    ck_assert_ptr_eq(good(), key);
    certificate->crl = chain; /* no CRL at all */
    bad();
    certificate->crl.len = 0;
    certificate->chain[1] = chain;
    certificate->chain_count++;
    bad();
    free(copy);
    end();
}
END_TEST

START_TEST(test_forgets)
{
    const struct kl_pubkey *first, *last, *key;

    begin();
    first = last = good();
    for (unsigned i = 0; i < 100; i++) {
        now++;
        key = good();
        ck_assert_ptr_ne(key, last);
        last = key;
    }
    now -= 100;
    ck_assert_ptr_ne(good(), first);
    end();
}
END_TEST

/* A load with a memo names the memo's roots in its Hello, and verifies by it: it has no others. */
START_TEST(test_load)
{
    STACK_OF(X509) *none = sk_X509_new_null();
    uint8_t hello[KL_MSG_MAX];
    size_t len;

    begin();
    stand_begin(&stand);
    len = stand.len;
    memcpy(hello, stand.buf, len);
    stand.params.memo = memo;
    stand.params.roots = none;
    stand_begin(&stand);
    ck_assert_uint_eq(stand.len, len);
    ck_assert_mem_eq(stand.buf, hello, len);
    stand_whole_load(&stand);
    stand.loader.version++;
    stand_whole_load(&stand);
    end();
    sk_X509_free(none);
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
