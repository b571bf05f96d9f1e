/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A terminal that dies between any two steps, and its folder: what it comes back to is a TMK that
 * the loader knows, and nothing is settled but by a Done that proves itself.
 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "conf/cli.h"
#include "tests/support/bench.h"
#include "tests/support/suite.h"

/* ---- A disk that fails ---- */

static int failing_syncs;    /* so many fsyncs of a directory are still to fail */
static const char *unsynced; /* kept as UNSYNCED.crash, as it is at the first of them */

/* In place of libc's: the program's own definition comes first. */
int fsync(int fd)
{
    struct stat st;

    if (failing_syncs > 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        char kept[PATH_MAX + 40];

        if (unsynced) {
            snprintf(kept, sizeof(kept), "%s.crash", unsynced);
            ck_assert_int_eq(link(unsynced, kept), 0);
            unsynced = NULL;
        }
        failing_syncs--;
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

/* Candidates in the file, whatever the open terminal believes. */
static size_t recorded(struct bench *b)
{
    struct kl_terminal_home *second;
    const struct kl_candidate *list;
    size_t count;

    ok(b, kl_terminal_open(b->home, 0, &second, &b->err));
    count = kl_terminal_candidates(second, &list);
    kl_terminal_free(second);
    return count;
}

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

/* The record of version 3 is in place but its directory's fsync failed: version 2's, or none, is
 * back before the key goes. */
START_TEST(test_record_not_synced)
{
    int older = _i % 2;
    struct bench b;

    bench_init(&b, _i / 2);
    bench_whole_load(&b);
    if (older) {
        b.loader.version = 2;
        bench_to_loaded(&b);
    }
    b.loader.version = 3;
    bench_to_master_key(&b);
    failing_syncs = 1;
    bench_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
    ck_assert_int_eq(failing_syncs, 0);
    ck_assert_uint_eq(recorded(&b), older);
    ck_assert_uint_eq(bench_candidates(&b), older);
    bench_expect_tmks(&b, 1 + older, 1, KL_PINPAD_ACTIVE, 2, KL_PINPAD_UNCONFIRMED);
    if (b.kind == TOKEN) {
        bench_restart(&b);
        ck_assert_uint_eq(bench_candidates(&b), older);
        bench_expect_tmks(&b, 1 + older, 1, KL_PINPAD_ACTIVE, 2, KL_PINPAD_UNCONFIRMED);
    }
    bench_end(&b);
}
END_TEST

/* Nor can the old list (here: none) be put back durably: the key stays, and whichever list the
 * crash leaves decides, the old one (0) or the new one (1). */
START_TEST(test_record_stuck)
{
    char path[PATH_MAX + 32], crash[PATH_MAX + 40];
    struct bench b;

    bench_init(&b, TOKEN);
    bench_whole_load(&b);
    b.loader.version = 2;
    bench_to_master_key(&b);
    snprintf(path, sizeof(path), "%s/candidate", b.home);
    snprintf(crash, sizeof(crash), "%s.crash", path);
    unsynced = path;
    failing_syncs = 2;
    bench_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
    ck_assert_int_eq(failing_syncs, 0);
    ck_assert_ptr_nonnull(strstr(b.err.text, "run 'confirm'"));
    ck_assert_ptr_nonnull(strstr(b.traced, "the next start decides"));
    ck_assert_uint_eq(bench_candidates(&b), 0); /* this start does not confirm it */
    bench_expect_tmks(&b, 2, 1, KL_PINPAD_ACTIVE, 2, KL_PINPAD_UNCONFIRMED);
    ck_assert_int_eq(_i ? rename(crash, path) : unlink(crash), 0);
    bench_restart(&b);
    if (_i) {
        ck_assert_uint_eq(bench_candidates(&b), 1);
        bench_expect_tmks(&b, 2, 1, KL_PINPAD_ACTIVE, 2, KL_PINPAD_UNCONFIRMED);
        confirm(&b, KL_VERDICT_ACTIVE);
        bench_settle(&b);
    }
    bench_expect_tmks(&b, 1, _i ? 2 : 1, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(bench_candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* The disk is full: the new record never came there, the old one is as it was and needs no writing.
 */
START_TEST(test_record_never_written)
{
    struct rlimit limit = {0, RLIM_INFINITY};
    struct bench b;

    bench_init(&b, MEMORY);
    bench_to_loaded(&b);
    b.loader.version = 2;
    bench_to_master_key(&b);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    bench_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    bench_expect_tmks(&b, 1, 1, KL_PINPAD_UNCONFIRMED, 0, 0);
    ck_assert_uint_eq(recorded(&b), 1);
    ck_assert_uint_eq(bench_candidates(&b), 1);
    bench_end(&b);
}
END_TEST

/* A record that a start found may still be in memory only: nothing is confirmed before it is not.
 */
START_TEST(test_recover_makes_durable)
{
    struct bench b;

    bench_init(&b, MEMORY);
    bench_to_loaded(&b);
    failing_syncs = 1;
    ck_assert_int_eq(kl_terminal_recover(b.home_open, b.pad, &b.err), KL_ERR_IO);
    ok(&b, kl_terminal_recover(b.home_open, b.pad, &b.err));
    ck_assert_uint_eq(bench_candidates(&b), 1);
    bench_end(&b);
}
END_TEST

/* Of three candidates the PIN pad lost one: its record goes, the others stay. */
START_TEST(test_record_without_key)
{
    uint32_t lost = 1 + (uint32_t)_i, version;
    const struct kl_candidate *list;
    struct bench b;

    bench_init(&b, MEMORY);
    for (version = 1; version <= 3; version++) {
        b.loader.version = version;
        bench_to_loaded(&b);
    }
    ok(&b, kl_pinpad_destroy(b.pad, lost, &b.err));
    ok(&b, kl_terminal_recover(b.home_open, b.pad, &b.err));
    ck_assert_uint_eq(recorded(&b), 2);
    ck_assert_uint_eq(kl_terminal_candidates(b.home_open, &list), 2);
    ck_assert_uint_eq(list[0].version, lost == 1 ? 2 : 1);
    ck_assert_uint_eq(list[1].version, lost == 3 ? 2 : 3);
    bench_end(&b);
}
END_TEST

/* Whoever drives the machine: no Confirm comes out of it without the key. */
START_TEST(test_confirm_needs_key)
{
    const struct kl_candidate *list;
    struct bench b;

    bench_init(&b, _i);
    bench_to_loaded(&b);
    ck_assert_uint_eq(kl_terminal_candidates(b.home_open, &list), 1);
    kl_terminal_load_free(b.load);
    b.load = NULL;
    ok(&b, kl_pinpad_destroy(b.pad, 1, &b.err));
    ok(&b, kl_terminal_load_new(&b.params, &b.load, &b.err));
    b.len = 0;
    ck_assert_int_eq(kl_terminal_confirm(b.load, &list[0], b.buf, &b.len, &b.err), KL_ERR_KEY);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_int_eq(kl_terminal_has_candidate(b.load), 0);
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
    if (_i == 1) {
        ok(&b, kl_pinpad_destroy(b.pad, 1, &b.err));
    }
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
    bench_expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(bench_candidates(&b), 0); /* there is nothing to ask about any more */
    ck_assert_uint_eq(recorded(&b), 0);
    bench_end(&b);
}
END_TEST

/* The key is lost between Confirm and Done: ACTIVE then is bad news, said once. */
START_TEST(test_confirmed_key_missing)
{
    struct bench b;

    bench_init(&b, MEMORY);
    bench_to_loaded(&b);
    confirm(&b, KL_VERDICT_ACTIVE);
    ok(&b, kl_pinpad_destroy(b.pad, 1, &b.err));
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
    if (b.kind == TOKEN) {
        bench_restart(&b);
    }
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
    tcase_add_loop_test(tc, test_record_not_synced, 0, 2 * PAD_KINDS);
    tcase_add_loop_test(tc, test_record_stuck, 0, 2);
    tcase_add_test(tc, test_record_never_written);
    tcase_add_test(tc, test_recover_makes_durable);
    tcase_add_loop_test(tc, test_record_without_key, 0, 3);
    tcase_add_loop_test(tc, test_confirm_needs_key, 0, PAD_KINDS);
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
