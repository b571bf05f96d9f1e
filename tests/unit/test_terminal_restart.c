/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A terminal that dies between any two steps, and its folder: what it comes back to is a TMK that
 * the loader knows, and nothing is settled but by a Done that proves itself.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/cli.h"
#include "tests/support/bench.h"
#include "tests/support/suite.h"

/* ---- Death at every step ---- */

/* Redelivers the only candidate, checks Confirm as a loader would, answers with `verdict`. */
static void confirm(struct bench *b, enum kl_verdict verdict)
{
    const struct kl_candidate *list;
    struct kl_msg msg;
    uint8_t mac[16];

    ck_assert_uint_eq(kl_terminal_candidates(b->home_open, &list), 1);
    kl_terminal_load_free(b->load);
    b->load = NULL;
    ok(b, kl_terminal_load_new(&b->params, &b->load, &b->err));
    ok(b, kl_terminal_confirm(b->load, &list[0], b->buf, &b->len, &b->err));
    ok(b, kl_msg_decode(b->buf, b->len, &msg, &b->err));
    ck_assert_int_eq(msg.type, KL_MSG_CONFIRM);
    ck_assert_str_eq(msg.u.confirm.serial, FAKE_SERIAL);
    ck_assert_str_eq(msg.u.confirm.pinpad_serial, PINPAD);
    ck_assert_uint_eq(msg.u.confirm.tmk_version, b->loader.version);
    fake_ack_mac(&b->loader, mac);
    ck_assert_mem_eq(msg.u.confirm.loaded.mac, mac, 16);
    fake_say_done(&b->loader, verdict, &msg);
    ok(b, bench_give(b, &msg));
    ck_assert_uint_eq(b->len, 0);
}

START_TEST(test_restart_before_loaded)
{
    struct bench b;

    bench_init(&b, TOKEN);
    bench_whole_load(&b);
    b.loader.version = 2;
    bench_to_certificate(&b);
    bench_restart(&b);
    bench_expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    bench_to_master_key(&b);
    bench_restart(&b);
    bench_expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    bench_whole_load(&b);
    bench_expect_tmks(&b, 1, 2, KL_PINPAD_ACTIVE, 0, 0);
    bench_end(&b);
}
END_TEST

/* Between the token object and the candidate file. */
START_TEST(test_restart_before_record)
{
    char path[PATH_MAX + 32];
    struct bench b;

    bench_init(&b, TOKEN);
    bench_whole_load(&b);
    b.loader.version = 2;
    bench_to_loaded(&b);
    snprintf(path, sizeof(path), "%s/candidate", b.home);
    ck_assert_int_eq(unlink(path), 0);
    bench_restart(&b);
    bench_expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    bench_end(&b);
}
END_TEST

START_TEST(test_record_is_private)
{
    char path[PATH_MAX + 32];
    struct stat st;
    struct bench b;

    bench_init(&b, MEMORY);
    bench_to_loaded(&b);
    snprintf(path, sizeof(path), "%s/candidate", b.home);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    bench_end(&b);
}
END_TEST

START_TEST(test_record_fails)
{
    struct bench b;

    bench_init(&b, _i);
    b.keep_fails = 1;
    bench_to_master_key(&b);
    bench_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
    bench_expect_tmks(&b, 0, 0, 0, 0, 0);
    bench_end(&b);
}
END_TEST

START_TEST(test_restart_after_loaded)
{
    enum kl_verdict verdict = _i ? KL_VERDICT_DROP : KL_VERDICT_ACTIVE;
    struct bench b;

    bench_init(&b, TOKEN);
    bench_whole_load(&b);
    b.loader.version = 2;
    bench_to_loaded(&b);
    bench_restart(&b);
    bench_expect_tmks(&b, 2, 1, KL_PINPAD_ACTIVE, 2, KL_PINPAD_UNCONFIRMED);
    confirm(&b, verdict);
    bench_restart(&b); /* the verdict is forgotten, nothing else */
    confirm(&b, verdict);
    bench_settle(&b);
    bench_restart(&b);
    bench_expect_tmks(&b, 1, _i ? 1 : 2, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(bench_candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* Within the settlement: relabelled only (0), old one destroyed, too (1). */
START_TEST(test_restart_in_settlement)
{
    struct bench b;

    bench_init(&b, TOKEN);
    bench_whole_load(&b);
    b.loader.version = 2;
    bench_to_loaded(&b);
    ok(&b, kl_pinpad_activate(b.pad, 2, &b.err));
    if (_i == 1)
        ok(&b, kl_pinpad_destroy(b.pad, 1, &b.err));
    bench_restart(&b);
    bench_expect_tmks(&b, 1, 2, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(bench_candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* DROP: destroyed in the pad, but still on record. */
START_TEST(test_restart_in_drop)
{
    struct bench b;

    bench_init(&b, TOKEN);
    bench_whole_load(&b);
    b.loader.version = 2;
    bench_to_loaded(&b);
    ok(&b, kl_pinpad_destroy(b.pad, 2, &b.err));
    bench_restart(&b);
    confirm(&b, KL_VERDICT_DROP);
    bench_settle(&b);
    bench_expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(bench_candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* A memory pad loses its key: ACTIVE then is bad news, said once. */
START_TEST(test_confirmed_key_missing)
{
    struct bench b;

    bench_init(&b, MEMORY);
    bench_to_loaded(&b);
    bench_restart(&b);
    confirm(&b, KL_VERDICT_ACTIVE);
    ck_assert_int_eq(kl_terminal_settle(b.home_open, b.pad, 1, KL_VERDICT_ACTIVE, &b.err),
                     KL_ERR_KEY);
    ck_assert_uint_eq(bench_candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* A candidate that nobody settled, and a fresh load beside it. */
START_TEST(test_abandoned)
{
    struct bench b;

    bench_init(&b, _i);
    bench_whole_load(&b);
    b.loader.version = 2;
    bench_to_loaded(&b);
    b.loader.version = 3;
    bench_to_loaded(&b);
    ck_assert_uint_eq(bench_candidates(&b), 2);
    if (b.kind == TOKEN)
        bench_restart(&b);
    ck_assert_uint_eq(bench_candidates(&b), 2);
    b.loader.version = 4;
    bench_whole_load(&b);
    bench_expect_tmks(&b, 1, 4, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(bench_candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* Every place taken: no more loads, and nothing is lost. */
START_TEST(test_full)
{
    struct bench b;
    uint32_t version;

    bench_init(&b, MEMORY);
    bench_whole_load(&b);
    for (version = 2; version <= KL_PINPAD_TMK_MAX; version++) {
        b.loader.version = version;
        bench_to_loaded(&b);
    }
    kl_terminal_load_free(b.load);
    b.load = NULL;
    ok(&b, kl_terminal_load_new(&b.params, &b.load, &b.err));
    ck_assert_int_eq(kl_terminal_hello(b.load, b.buf, &b.len, &b.err), KL_ERR_REFUSED);
    bench_end(&b);
}
END_TEST

/* ---- The folder ---- */

START_TEST(test_record_damaged)
{
    static const char *const bad[] = {
        "1 tdes2 CA3F9B\n",
        "0 tdes2 CA3F9B 00112233445566778899AABBCCDDEEFF 00112233445566778899AABBCCDDEEFF "
        "00112233445566778899AABBCCDDEEFF\n",
        "1 des CA3F9B 00112233445566778899AABBCCDDEEFF 00112233445566778899AABBCCDDEEFF "
        "00112233445566778899AABBCCDDEEFF\n",
        "1 tdes2 CA3F 00112233445566778899AABBCCDDEEFF 00112233445566778899AABBCCDDEEFF "
        "00112233445566778899AABBCCDDEEFF\n",
        "1 tdes2 CA3F9B 00112233445566778899AABBCCDDEE 00112233445566778899AABBCCDDEEFF "
        "00112233445566778899AABBCCDDEEFF\n",
        "1 tdes2 CA3F9B 00112233445566778899AABBCCDDEEFF 00112233445566778899AABBCCDDEEFF "
        "00112233445566778899AABBCCDDEEFF 00\n",
    };
    struct kl_terminal_home *home;
    char path[PATH_MAX];
    struct bench b;

    bench_init(&b, MEMORY);
    kl_terminal_free(b.home_open);
    b.home_open = NULL;
    bench_write_file(b.home, "candidate", bad[_i], path);
    ck_assert_int_eq(kl_terminal_open(b.home, 1, &home, &b.err), KL_ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(b.err.text, path));
    bench_end(&b);
}
END_TEST

START_TEST(test_one_at_a_time)
{
    struct kl_terminal_home *second;
    struct bench b;

    bench_init(&b, MEMORY);
    ck_assert_int_eq(kl_terminal_open(b.home, 1, &second, &b.err), KL_ERR_BUSY);
    ok(&b, kl_terminal_open(b.home, 0, &second, &b.err)); /* `pinpad show` may look */
    kl_terminal_free(second);
    bench_end(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("terminal-restart");
    TCase *tc = tcase_create("restart");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, NULL);
    tcase_add_test(tc, test_restart_before_loaded);
    tcase_add_test(tc, test_restart_before_record);
    tcase_add_test(tc, test_record_is_private);
    tcase_add_loop_test(tc, test_record_fails, 0, PAD_KINDS);
    tcase_add_loop_test(tc, test_restart_after_loaded, 0, 2);
    tcase_add_loop_test(tc, test_restart_in_settlement, 0, 2);
    tcase_add_test(tc, test_restart_in_drop);
    tcase_add_test(tc, test_confirmed_key_missing);
    tcase_add_loop_test(tc, test_abandoned, 0, PAD_KINDS);
    tcase_add_test(tc, test_full);
    tcase_add_loop_test(tc, test_record_damaged, 0, 6);
    tcase_add_test(tc, test_one_at_a_time);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    int status = test_run(suite());

    fake_free_keys();
    return status;
}
