/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sign-in with somebody who has no TMK, but knows a working key that was under it, and has its
 * cryptogram from the wire: if it could be the session key, he could make every MAC. A MAK of field
 * 62 is single DES, which can be broken, and in ECB its block twice is such a key.
 */
#include <check.h>
#include <string.h>

#include "terminal-sim/signin.h"
#include "tests/support/stand.h"
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
static void known_pik(struct kl_rogue *l, struct kl_working_keys *k)
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
static void old_pik(struct kl_rogue *l, struct kl_working_keys *k)
{
    known_pik(l, k);
    memcpy(k->field62, broken.field62, sizeof(k->field62));
}

/* Only the PIK is his: the session key is the loader's. It is single DES, all the same. */
static void weak_pik(struct kl_rogue *l, struct kl_working_keys *k)
{
    (void)l;
    memcpy(k->field62 + PIK_AT + BLOCK, k->field62 + PIK_AT, BLOCK);
}

/* ---- Format keys ---- */

static struct kl_working_keys old;
static uint8_t old_pik_value[16], old_session[24];

/* Under TDES a PIK fits where the session key does. */
static void leaked_pik(struct kl_rogue *l, struct kl_working_keys *k)
{
    memcpy(l->rnd1, old_pik_value, sizeof(old_pik_value));
    memcpy(k->c_session, old.pik.data, sizeof(old_pik_value));
}

/* The session key of another sign-in. */
static void leaked_session(struct kl_rogue *l, struct kl_working_keys *k)
{
    memcpy(l->rnd1, old_session, sizeof(old_session));
    memcpy(k->c_session, old.c_session, old.c_session_len);
}

/* ---- The walk ---- */

/* A sign-in up to the terminal's answer to WorkingKeys, which is in buf. */
static enum kl_rc sign_in(struct stand *b, enum kl_key_format format, struct kl_msg *working_keys,
                          uint8_t working_keys_der[KL_MSG_MAX])
{
    const struct kl_signin_params params = {.serial = FAKE_SERIAL,
                                            .pinpad_serial = STAND_PINPAD,
                                            .pad = b->pad,
                                            .tmk = *kl_terminal_active(b->home_open),
                                            .format = format};
    struct kl_signin *machine = NULL;
    size_t len;
    enum kl_rc rc;

    stand_ok(b, kl_signin_new(&params, &machine, &b->err));
    stand_ok(b, kl_signin_begin(machine, b->buf, &b->len, &b->err));
    fake_say_keys(&b->loader, b->buf, b->len, working_keys_der, &len);
    stand_ok(b, kl_msg_decode(working_keys_der, len, working_keys, &b->err));
    rc = kl_signin_step(machine, working_keys_der, len, b->buf, &b->len, &b->err);
    kl_signin_free(machine);
    return rc;
}

static void begin(struct stand *b, int kind, enum kl_alg alg)
{
    stand_init(b, kind);
    b->loader.alg = alg;
    fake_loader_ec(&b->loader, fake_ec_key, fake_ec_work);
    stand_whole_load(b);
}

static void expect_refused(struct stand *b, enum kl_key_format format, const char *why)
{
    uint8_t der[KL_MSG_MAX];
    struct kl_msg msg;

    ck_assert_int_eq(sign_in(b, format, &msg, der), KL_ERR_VERIFY);
    ck_assert_msg(strstr(b->err.text, why), "%s", b->err.text);
    stand_ok(b, kl_msg_decode(b->buf, b->len, &msg, &b->err));
    ck_assert_int_eq(msg.type, KL_MSG_FAILED);
}

START_TEST(test_broken_mak)
{
    static void (*const forgeries[])(struct kl_rogue *,
                                     struct kl_working_keys *) = {known_pik, old_pik, weak_pik};
    uint8_t der[KL_MSG_MAX];
    struct kl_msg msg;
    struct stand b;

    begin(&b, _i / 3, KL_ALG_TDES2);
    stand_ok(&b, sign_in(&b, KL_FORMAT_FIELD62, &msg, der));
    memcpy(broken.field62, msg.u.working_keys.field62, sizeof(broken.field62));
    memcpy(broken.mak, b.loader.mak, sizeof(broken.mak));
    b.loader.spoil_keys = forgeries[_i % 3];
    expect_refused(&b, KL_FORMAT_FIELD62,
                   _i % 3 == 2 ? "the same block twice" : "cSession is not this sign-in's");
    stand_end(&b);
}
END_TEST

/* The work key is strong enough for every TMK. */
static void begin_leak(struct stand *b, int kind, enum kl_alg alg)
{
    EVP_PKEY *key = EVP_EC_gen("P-521");
    X509 *cert = fake_new_cert("Loader P-521", key, root, fake_root_key, NULL);
    uint8_t der[KL_MSG_MAX];
    struct kl_msg msg;

    stand_init(b, kind);
    b->params.algs[0] = b->loader.alg = alg;
    b->params.alg_count = 1;
    fake_loader_ec(&b->loader, key, cert);
    stand_whole_load(b);
    X509_free(cert);
    EVP_PKEY_free(key);
    stand_ok(b, sign_in(b, KL_FORMAT_KEYS, &msg, der));
    old = msg.u.working_keys;
    memcpy(old_pik_value, b->loader.pik, sizeof(old_pik_value));
    memcpy(old_session, b->loader.rnd1, sizeof(old_session));
}

START_TEST(test_leaked_tdes_key)
{
    static void (*const forgeries[])(struct kl_rogue *,
                                     struct kl_working_keys *) = {leaked_pik, leaked_session};
    struct stand b;

    begin_leak(&b, _i / 4, KL_ALG_TDES2 + (enum kl_alg)(_i % 2));
    b.loader.spoil_keys = forgeries[_i / 2 % 2];
    expect_refused(&b, KL_FORMAT_KEYS, "cSession is not this sign-in's");
    stand_end(&b);
}
END_TEST

/* Under AES it does not fit: neither in the message nor in the PIN pad. */
START_TEST(test_leaked_aes_key)
{
    static const size_t session_lens[] = {32, 24, 24};
    struct kl_working_keys forged;
    uint8_t body[KL_KEYS_BODY_MAX];
    size_t len;
    struct stand b;

    begin_leak(&b, _i / 3, KL_ALG_AES128 + (enum kl_alg)(_i % 3));
    ck_assert_uint_eq(old.c_session_len, session_lens[_i % 3]);
    forged = old;
    forged.c_session_len = old.pik.len;
    memcpy(forged.c_session, old.pik.data, old.pik.len);
    ck_assert_int_eq(kl_keys_body_encode(&forged, body, &len, &b.err), KL_ERR_INTERNAL);
    ck_assert_msg(strstr(b.err.text, "cSession has"), "%s", b.err.text);
    ck_assert_int_eq(kl_pinpad_start_session(b.pad, b.loader.version, b.loader.t0, old.pik.data,
                                             old.pik.len, &b.err),
                     KL_ERR_VERIFY);
    ck_assert_msg(strstr(b.err.text, "a wrapped session key of"), "%s", b.err.text);
    stand_ok(&b, kl_pinpad_start_session(b.pad, b.loader.version, b.loader.t0, old.c_session,
                                         old.c_session_len, &b.err));
    stand_end(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("signin_forged");
    TCase *tc = tcase_create("forged");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_loop_test(tc, test_broken_mak, 0, 3 * STAND_KINDS);
    tcase_add_loop_test(tc, test_leaked_tdes_key, 0, 4 * STAND_KINDS);
    tcase_add_loop_test(tc, test_leaked_aes_key, 0, 3 * STAND_KINDS);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
