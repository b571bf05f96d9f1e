/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What encoding a MasterKey leaves behind: nothing of Rnd2', which is nobody's before MasterKey is
 * sent, nor of a signature, which in classic encloses it. Neither in memory that is given back nor
 * on the stack.
 */
#include <check.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/messages.h"
#include "tests/support/suite.h"

#define STACK (2 * 1024 * 1024) /* ThreadSanitizer takes most of one MiB */
/* Bytes of a secret in a row that are found. On the stack more than a register has, since registers
 * are saved there where a function is bound late. */
#define PIECE 16
#define PIECE_ON_STACK (2 + KL_RND2_LEN)

static struct {
    const uint8_t *data;
    size_t len;
} secret;
static int looking;
static unsigned freed; /* blocks with a piece of it */

static int has_piece(const uint8_t *data, size_t len, size_t piece)
{
    for (size_t i = 0; i + piece <= secret.len; i += piece) {
        if (memmem(data, len, secret.data + i, piece)) {
            return 1;
        }
    }
    return 0;
}

static void *give(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(len);
}

static void take_back(void *data, const char *file, int line)
{
    (void)file;
    (void)line;
    if (looking && data) {
        freed += (unsigned)has_piece(data, malloc_usable_size(data), PIECE);
    }
    free(data);
}

static void *move(void *data, size_t len, const char *file, int line)
{
    void *moved = give(len, file, line);

    if (data && moved) {
        size_t old = malloc_usable_size(data);

        memcpy(moved, data, old < len ? old : len);
        take_back(data, file, line);
    }
    return moved;
}

static struct kl_msg msg;
static uint8_t out[KL_MASTER_KEY_MAX];

static void *encode(void *arg)
{
    struct kl_err err = KL_ERR_INIT;
    size_t len = 0;

    (void)arg;
    ck_assert_int_eq(kl_msg_encode_into(&msg, out, sizeof(out), &len, &err), KL_OK);
    return NULL;
}

/* In a thread, whose stack can be looked at when it has ended. */
static void encode_and_look(const void *data, size_t len)
{
    uint8_t *stack = aligned_alloc(4096, STACK);
    pthread_attr_t attr;
    pthread_t thread;

    secret.data = data;
    secret.len = len;
    memset(stack, 0, STACK);
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstack(&attr, stack, STACK), 0);
    freed = 0;
    looking = 1;
    ck_assert_int_eq(pthread_create(&thread, &attr, encode, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    looking = 0;
    pthread_attr_destroy(&attr);
    ck_assert(has_piece(out, sizeof(out), PIECE_ON_STACK)); /* it has been there */
    ck_assert_uint_eq(freed, 0);
    ck_assert(!has_piece(stack, STACK, PIECE_ON_STACK));
    free(stack);
}

START_TEST(nothing_of_rnd2)
{
    const struct kl_bytes *body;
    const uint8_t *rnd2;

    test_sample(_i ? TEST_MASTER_KEY_EC : KL_MSG_MASTER_KEY, &msg);
    for (size_t i = 0; i < KL_RND2_LEN; i++) {
        msg.u.master_key.tbs.rnd2[i] = (uint8_t)(0x5a ^ i * 37);
    }
    test_sample_seal(&msg);
    body = &msg.u.master_key.tbs_der;
    rnd2 = memmem(body->data, body->len, msg.u.master_key.tbs.rnd2, KL_RND2_LEN);
    ck_assert_ptr_nonnull(rnd2);
    encode_and_look(rnd2 - 2, 2 + KL_RND2_LEN); /* with tag and length */
}
END_TEST

START_TEST(nothing_of_a_signature)
{
    test_sample(TEST_MASTER_KEY_CLASSIC, &msg);
    for (size_t i = 0; i < msg.u.master_key.sig_len; i++) {
        msg.u.master_key.sig[i] = (uint8_t)(0x5a ^ i * 37);
    }
    encode_and_look(msg.u.master_key.sig, msg.u.master_key.sig_len);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("message-wipe");
    TCase *tcase = tcase_create("MasterKey");

    if (CRYPTO_set_mem_functions(give, move, take_back) != 1) {
        abort(); /* OpenSSL has allocated something already */
    }
    tcase_add_loop_test(tcase, nothing_of_rnd2, 0, 2);
    tcase_add_test(tcase, nothing_of_a_signature);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
