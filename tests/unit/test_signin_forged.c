/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sign-in with somebody who has no TMK, but knows a working key that was under it, and has its
 * cryptogram from the wire: with it as the session key he can make every MAC. A MAK of field 62 is
 * single DES, which can be broken, and in ECB its block twice is such a key.
 */
#include <check.h>
#include <string.h>

#include "terminal-sim/signin.h"
#include "tests/support/bench.h"
#include "tests/support/suite.h"

#define BLOCK 8
#define PIK_AT 0 /* in field 62 */
#define PIK_KCV_AT 16
#define MAK_AT 20
#define MAK_KCV_AT 36

/* ---- Field 62 ---- */

/* What he has. */
static struct {
    uint8_t field62[KL_FIELD62_LEN];
    uint8_t mak[2 * BLOCK]; /* twice */
} broken;

/* The PIK is the broken MAK, too. */
static void known_pik(struct fake_loader *l, struct kl_working_keys *k)
{
    memcpy(l->rnd1, broken.mak, sizeof(broken.mak));
    memcpy(k->field62, broken.field62, sizeof(k->field62));
    for (size_t i = 0; i < 2; i++) {
        memcpy(k->c_session + i * BLOCK, broken.field62 + MAK_AT, BLOCK);
        memcpy(k->field62 + PIK_AT + i * BLOCK, broken.field62 + MAK_AT, BLOCK);
    }
    memcpy(k->field62 + PIK_KCV_AT, broken.field62 + MAK_KCV_AT, 4);
}

/* The PIK is that of the recorded sign-in, which he does not know. */
static void old_pik(struct fake_loader *l, struct kl_working_keys *k)
{
    known_pik(l, k);
    memcpy(k->field62, broken.field62, sizeof(k->field62));
}

/* Only the PIK is his: the session key is the loader's. It is single DES, all the same. */
static void weak_pik(struct fake_loader *l, struct kl_working_keys *k)
{
    (void)l;
    memcpy(k->field62 + PIK_AT + BLOCK, k->field62 + PIK_AT, BLOCK);
}

/* ---- AES ---- */

static struct kl_wrapped_key old_key;
static uint8_t old_value[16];

static void leaked_pik(struct fake_loader *l, struct kl_working_keys *k)
{
    memcpy(l->rnd1, old_value, sizeof(old_value));
    memcpy(k->c_session, old_key.data, old_key.len);
    k->pik = old_key;
}

/* ---- The walk ---- */

/* A sign-in up to the terminal's answer to WorkingKeys, which is in buf. */
static enum kl_rc sign_in(struct bench *b, enum kl_key_format format, struct kl_msg *working_keys,
                          uint8_t working_keys_der[KL_MSG_MAX])
{
    const struct kl_signin_params params = {.serial = FAKE_SERIAL,
                                            .pinpad_serial = PINPAD,
                                            .pad = b->pad,
                                            .tmk = *kl_terminal_active(b->home_open),
                                            .format = format};
    struct kl_signin *machine = NULL;
    size_t len;
    enum kl_rc rc;

    ok(b, kl_signin_new(&params, &machine, &b->err));
    ok(b, kl_signin_begin(machine, b->buf, &b->len, &b->err));
    fake_say_keys(&b->loader, b->buf, b->len, working_keys_der, &len);
    ok(b, kl_msg_decode(working_keys_der, len, working_keys, &b->err));
    rc = kl_signin_step(machine, working_keys_der, len, b->buf, &b->len, &b->err);
    kl_signin_free(machine);
    return rc;
}

static void begin(struct bench *b, int kind, enum kl_alg alg)
{
    bench_init(b, kind);
    b->loader.alg = alg;
    fake_loader_ec(&b->loader, fake_ec_key, fake_ec_work);
    bench_whole_load(b);
}

static void expect_refused(struct bench *b, enum kl_key_format format)
{
    uint8_t der[KL_MSG_MAX];
    struct kl_msg msg;

    ck_assert_int_eq(sign_in(b, format, &msg, der), KL_ERR_VERIFY);
    ck_assert_msg(strstr(b->err.text, "the same block twice"), "%s", b->err.text);
    ok(b, kl_msg_decode(b->buf, b->len, &msg, &b->err));
    ck_assert_int_eq(msg.type, KL_MSG_FAILED);
}

START_TEST(test_broken_mak)
{
    static void (*const forgeries[])(struct fake_loader *,
                                     struct kl_working_keys *) = {known_pik, old_pik, weak_pik};
    uint8_t der[KL_MSG_MAX];
    struct kl_msg msg;
    struct bench b;

    begin(&b, _i / 3, KL_ALG_TDES2);
    ok(&b, sign_in(&b, KL_FORMAT_FIELD62, &msg, der));
    memcpy(broken.field62, msg.u.working_keys.field62, sizeof(broken.field62));
    memcpy(broken.mak, b.loader.mak, sizeof(broken.mak));
    b.loader.spoil_keys = forgeries[_i % 3];
    expect_refused(&b, KL_FORMAT_FIELD62);
    bench_end(&b);
}
END_TEST

START_TEST(test_leaked_pik)
{
    uint8_t der[KL_MSG_MAX];
    struct kl_msg msg;
    struct bench b;

    begin(&b, _i / 2, _i % 2 ? KL_ALG_TDES2 : KL_ALG_AES128);
    ok(&b, sign_in(&b, KL_FORMAT_KEYS, &msg, der));
    old_key = msg.u.working_keys.pik;
    memcpy(old_value, b.loader.pik, sizeof(old_value));
    b.loader.spoil_keys = leaked_pik;
    expect_refused(&b, KL_FORMAT_KEYS);
    bench_end(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("signin_forged");
    TCase *tc = tcase_create("forged");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_loop_test(tc, test_broken_mak, 0, 3 * PAD_KINDS);
    tcase_add_loop_test(tc, test_leaked_pik, 0, 2 * PAD_KINDS);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
