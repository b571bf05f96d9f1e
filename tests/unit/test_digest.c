/* SPDX-License-Identifier: BSD-2-Clause */
/* Hash functions that are fetched once: what they compute, and that there is one of each. */
#include <check.h>
#include <pthread.h>
#include <string.h>

#include "proto/digest.h"
#include "tests/support/suite.h"

/* Of "abc": the examples of FIPS 180-4 on NIST's pages. */
static const struct {
    const char *name;
    size_t len;
    uint8_t hash[8]; /* the first bytes */
} abc[] = {
    {"SHA256", 32, {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea}},
    {"SHA384", 48, {0xcb, 0x00, 0x75, 0x3f, 0x45, 0xa3, 0x5e, 0x8b}},
    {"SHA512", 64, {0xdd, 0xaf, 0x35, 0xa1, 0x93, 0x61, 0x7a, 0xba}},
};

START_TEST(known_hashes)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t out[EVP_MAX_MD_SIZE + 1];
    size_t len = 0;

    for (int again = 0; again < 2; again++) {
        memset(out, 0xee, sizeof(out));
        ck_assert_int_eq(kl_digest_of(abc[_i].name, "abc", 3, out, &len, &err), KL_OK);
        ck_assert_uint_eq(len, abc[_i].len);
        ck_assert_mem_eq(out, abc[_i].hash, sizeof(abc[_i].hash));
        ck_assert_uint_eq(out[len], 0xee);
    }
    ck_assert_int_eq(kl_digest_of(abc[_i].name, "abd", 3, out, NULL, &err), KL_OK);
    ck_assert_mem_ne(out, abc[_i].hash, sizeof(abc[_i].hash));
}
END_TEST

static void *fetch(void *arg)
{
    return (void *)kl_digest(arg);
}

START_TEST(all_threads_have_the_same)
{
    pthread_t threads[8];
    void *first = NULL;

    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fetch, (void *)abc[_i].name), 0);
    }
    for (int i = 0; i < 8; i++) {
        void *md;

        ck_assert_int_eq(pthread_join(threads[i], &md), 0);
        ck_assert_ptr_nonnull(md);
        ck_assert(first == NULL || first == md);
        first = md;
    }
    ck_assert_ptr_eq(kl_digest(abc[_i].name), first);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("digest");
    TCase *tcase = tcase_create("digest");

    tcase_add_loop_test(tcase, known_hashes, 0, 3);
    tcase_add_loop_test(tcase, all_threads_have_the_same, 0, 3);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
