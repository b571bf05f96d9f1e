/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Record and PIN pad when they do not fit: TMKs that are out of sight for a while, strays, a record
 * that is gone, damaged, full, or changes while it is looked at. Nothing is ever in use but what
 * the record names, nothing is destroyed on the strength of what is missing, and it is always said.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/pinpad/pinpad_backend.h"
#include "tests/support/objects.h"
#include "tests/support/stand.h"
#include "tests/support/suite.h"

/* ---- Out of sight ---- */

struct hidden {
    char file[PATH_MAX], away[PATH_MAX + 8];
};

/* Of the TMK that was written last; the terminal is off. */
static void find(struct stand *b, struct hidden *hidden)
{
    ck_assert_uint_gt(objects_newest(b->dir, hidden->file), 0);
    snprintf(hidden->away, sizeof(hidden->away), "%s.away", hidden->file);
}

static void hide(struct hidden *hidden)
{
    ck_assert_int_eq(rename(hidden->file, hidden->away), 0);
}

static void bring_back(struct hidden *hidden)
{
    ck_assert_int_eq(rename(hidden->away, hidden->file), 0);
}

static void start_again(struct stand *b)
{
    stand_ok(b, kl_terminal_open(b->home, 1, &b->home_open, &b->err));
    stand_ok(b, kl_terminal_open_pinpad(b->home_open, &b->pad, &b->err));
}

/* A command of terminal-sim, with no loader behind the address. The stand is closed. */
static enum kl_rc command(struct stand *b, int load, const char *option)
{
    const char *argv[] = {
        load ? "load" : "confirm", "--dir", b->home, "--connect", "127.0.0.1:1", option, NULL};
    int status = 0, argc = option ? 6 : 5;

    return load ? kl_terminal_cmd_load(argc, (char **)argv, &status, &b->err)
                : kl_terminal_cmd_confirm(argc, (char **)argv, &status, &b->err);
}

/* The candidate's object is out of sight for one start: its record is not, and once it is back the
 * loader's word decides as ever. */
START_TEST(test_candidate_hidden)
{
    const struct kl_candidate *next;
    struct hidden two;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    stand_close(&b);
    find(&b, &two);
    hide(&two);
    stand_restart(&b);
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_LOST);
    ck_assert_int_eq(kl_terminal_next(b.home_open, b.pad, &next, &b.err), KL_ERR_KEY);
    stand_close(&b);
    bring_back(&two);
    stand_restart(&b);
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    stand_confirm(&b, _i ? KL_VERDICT_DROP : KL_VERDICT_ACTIVE);
    stand_settle(&b);
    stand_restart(&b);
    stand_expect_tmks(&b, 1, _i ? 1 : 2, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

/* The commands' words: 69 until a load is asked for explicitly. */
START_TEST(test_candidate_lost_is_said)
{
    struct hidden two;
    struct stand b;
    int load;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    stand_close(&b);
    find(&b, &two);
    hide(&two);
    for (load = 0; load < 4; load++) {
        ck_assert_int_eq(command(&b, load % 2, NULL), KL_ERR_KEY);
        ck_assert_ptr_nonnull(strstr(b.err.text, "may count TMK version 2 as active"));
        ck_assert_ptr_nonnull(strstr(b.err.text, "--fresh"));
    }
    ck_assert_int_ne(command(&b, 1, "--fresh"), KL_ERR_KEY); /* it went as far as the loader */
    ck_assert_ptr_nonnull(strstr(b.err.text, "127.0.0.1"));
    stand_restart(&b);
    b.loader.version = 3;
    stand_whole_load(&b);
    stand_close(&b);
    bring_back(&two);
    ck_assert_int_eq(command(&b, 0, NULL), KL_OK);
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 3, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

/* The TMK in use is out of sight: nothing takes its place, a load is possible, and where that got
 * no further (0) it is in use again, else (1) it is a stray. */
START_TEST(test_active_hidden)
{
    struct hidden one;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    stand_close(&b);
    find(&b, &one);
    hide(&one);
    ck_assert_int_eq(command(&b, 0, NULL), KL_ERR_KEY);
    ck_assert_ptr_nonnull(strstr(b.err.text, "the TMK in use, version 1"));
    ck_assert_int_ne(command(&b, 1, NULL), KL_ERR_KEY);
    ck_assert_ptr_nonnull(strstr(b.err.text, "127.0.0.1"));
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_MISSING, 0, 0);
    b.loader.version = 2;
    stand_to_loaded(&b);
    stand_restart(&b);
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_MISSING, 2, KL_TERMINAL_UNCONFIRMED);
    if (_i) {
        stand_confirm(&b, KL_VERDICT_ACTIVE);
        stand_settle(&b);
        stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    }
    stand_close(&b);
    bring_back(&one);
    start_again(&b);
    if (_i) {
        stand_expect_tmks(&b, 2, 1, KL_TERMINAL_STRAY, 2, KL_TERMINAL_ACTIVE);
        stand_restart(&b);
        stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    } else {
        stand_restart(&b);
        stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    }
    stand_end(&b);
}
END_TEST

/* ---- Strays ---- */

/* A TMK that a kill left, younger than the one in use, and out of sight while its record went. */
START_TEST(test_stray_younger)
{
    struct hidden two;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    b.fault = STAND_DEATH_WRITTEN;
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
    stand_close(&b);
    find(&b, &two);
    hide(&two);
    stand_restart(&b);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_close(&b);
    bring_back(&two);
    start_again(&b);
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_STRAY);
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

/* The record names one that is out of sight: the superseded one that is still there stays there. */
START_TEST(test_stray_is_all)
{
    char path[PATH_MAX + 32], later[PATH_MAX + 40];
    struct hidden two;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    snprintf(path, sizeof(path), "%s/record", b.home);
    snprintf(later, sizeof(later), "%s.later", path);
    b.loader.version = 2;
    stand_to_loaded(&b);
    stand_close(&b);
    find(&b, &two);
    /* What a Done, active that was cut off right after the record's rewriting leaves. */
    FILE *in = fopen(path, "r"), *out = fopen(later, "w");
    char word[16], alg[16], kcv[40];
    unsigned version;
    while (fscanf(in, "%15s %u %15s %39s%*[^\n]", word, &version, alg, kcv) == 4) {
        if (version == 2) {
            fprintf(out, "active 2 %s %s\nend\n", alg, kcv);
        }
    }
    fclose(in);
    fclose(out);
    ck_assert_int_eq(rename(later, path), 0);
    hide(&two);
    stand_restart(&b);
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_STRAY, 2, KL_TERMINAL_MISSING);
    stand_close(&b);
    bring_back(&two);
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

/* Of the same version as the one in use, but another key: not it. */
START_TEST(test_stray_of_that_version)
{
    struct kl_terminal_tmk tmks[KL_TERMINAL_TMK_MAX];
    char path[PATH_MAX];
    size_t i, count;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    stand_close(&b);
    stand_write_file(b.home, "record", "active 1 tdes2 00112A\nend\n", path);
    stand_restart(&b);
    stand_ok(&b, kl_terminal_list(b.home_open, b.pad, tmks, &count, &b.err));
    ck_assert_uint_eq(count, 2);
    ck_assert_int_ne(tmks[0].state, tmks[1].state);
    for (i = 0; i < 2; i++) {
        ck_assert_uint_eq(tmks[i].tmk.version, 1);
        ck_assert(tmks[i].state == KL_TERMINAL_STRAY || tmks[i].state == KL_TERMINAL_MISSING);
    }
    ck_assert_int_eq(kl_terminal_check(b.home_open, b.pad, &b.err), KL_ERR_KEY);
    stand_end(&b);
}
END_TEST

/* Without a record nothing is in use, nothing is destroyed; a load mends it. */
START_TEST(test_record_gone)
{
    char path[PATH_MAX + 32];
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    stand_close(&b);
    snprintf(path, sizeof(path), "%s/record", b.home);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(command(&b, 0, NULL), KL_ERR_KEY);
    ck_assert_ptr_nonnull(strstr(b.err.text, "knows of none in use"));
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_STRAY, 0, 0);
    b.loader.version = 2;
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

/* ---- The first load ever ---- */

START_TEST(test_first_load)
{
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_to_loaded(&b);
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_UNCONFIRMED, 0, 0);
    stand_ok(&b, kl_terminal_check(b.home_open, b.pad, &b.err));
    stand_confirm(&b, _i ? KL_VERDICT_DROP : KL_VERDICT_ACTIVE);
    stand_settle(&b);
    stand_restart(&b);
    stand_expect_tmks(&b, !_i, 1, KL_TERMINAL_ACTIVE, 0, 0);
    stand_ok(&b, kl_terminal_check(b.home_open, b.pad, &b.err));
    stand_end(&b);
}
END_TEST

/* ---- No room ---- */

/* Every place taken: no more loads, and nothing is lost, unless the oldest candidate is given up.
 */
START_TEST(test_full)
{
    const struct kl_candidate *next;
    uint32_t version;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    for (version = 2; version <= KL_PINPAD_TMK_MAX; version++) {
        stand_ok(&b, kl_terminal_room(b.home_open, b.pad, &b.err));
        b.loader.version = version;
        stand_to_loaded(&b);
    }
    kl_terminal_load_free(b.load);
    b.load = NULL;
    stand_ok(&b, kl_terminal_load_new(&b.params, &b.load, &b.err));
    ck_assert_int_eq(kl_terminal_load_hello(b.load, b.buf, &b.len, &b.err), KL_ERR_REFUSED);
    ck_assert_int_eq(kl_terminal_room(b.home_open, b.pad, &b.err), KL_ERR_REFUSED);
    ck_assert_ptr_nonnull(strstr(b.err.text, "--abandon-candidate"));
    ck_assert_ptr_nonnull(strstr(b.err.text, "TMK version 2"));
    stand_close(&b);
    ck_assert_int_ne(command(&b, 1, "--abandon-candidate"), KL_ERR_REFUSED);
    ck_assert_ptr_nonnull(strstr(b.err.text, "127.0.0.1"));
    stand_restart(&b);
    stand_expect_tmks(&b, 3, 1, KL_TERMINAL_ACTIVE, 3, KL_TERMINAL_UNCONFIRMED);
    stand_ok(&b, kl_terminal_room(b.home_open, b.pad, &b.err));
    /* The loader may have had the one that was given up: said once the others are settled. */
    stand_ok(&b, kl_terminal_settle(b.home_open, b.pad, 4, KL_VERDICT_DROP, &b.err));
    stand_ok(&b, kl_terminal_settle(b.home_open, b.pad, 3, KL_VERDICT_DROP, &b.err));
    stand_restart(&b);
    ck_assert_int_eq(kl_terminal_next(b.home_open, b.pad, &next, &b.err), KL_ERR_KEY);
    ck_assert_ptr_nonnull(strstr(b.err.text, "may count TMK version 2 as active"));
    b.loader.version = 5;
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 5, KL_TERMINAL_ACTIVE, 0, 0);
    stand_restart(&b);
    stand_ok(&b, kl_terminal_next(b.home_open, b.pad, &next, &b.err));
    stand_end(&b);
}
END_TEST

/* The record is full of what the pad has lost: there is room in the pad, but not on record. */
START_TEST(test_full_of_lost)
{
    uint32_t version;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    for (version = 1; version <= KL_CANDIDATES_MAX; version++) {
        b.loader.version = version;
        stand_to_loaded(&b);
        stand_ok(&b, kl_pinpad_destroy(b.pad, version, &b.err));
    }
    ck_assert_int_eq(kl_terminal_room(b.home_open, b.pad, &b.err), KL_ERR_REFUSED);
    stand_ok(&b, kl_terminal_abandon(b.home_open, b.pad, &version, &b.err));
    ck_assert_uint_eq(version, 1);
    b.loader.version = 9;
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 9, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

/* A loader that was set back to an old store issues lower versions: a candidate that it does not
 * know keeps its loads out, until all candidates are given up. */
START_TEST(test_version_out_of_reach)
{
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    b.loader.version = KL_VERSION_MAX;
    stand_to_loaded(&b);
    b.loader.version = 4;
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    stand_close(&b);
    ck_assert_int_ne(command(&b, 1, "--abandon-candidate"), KL_OK);
    stand_restart(&b);
    ck_assert_uint_eq(stand_candidates(&b), 2);
    stand_close(&b);
    ck_assert_int_ne(command(&b, 1, "--abandon-all"), KL_OK); /* there is nobody at the address */
    ck_assert_ptr_nonnull(strstr(b.err.text, "127.0.0.1"));
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(kl_terminal_abandoned(b.home_open), KL_VERSION_MAX);
    b.loader.version = 5;
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 5, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(kl_terminal_abandoned(b.home_open), 0);
    stand_end(&b);
}
END_TEST

START_TEST(test_nothing_to_abandon)
{
    uint32_t version = 7;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_whole_load(&b);
    ck_assert_int_eq(kl_terminal_abandon(b.home_open, b.pad, &version, &b.err), KL_ERR_NOT_FOUND);
    ck_assert_uint_eq(version, 7);
    stand_end(&b);
}
END_TEST

/* A version that the record has had is not loaded again, though the pad has lost it. */
START_TEST(test_version_on_record)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.loader.version = 2;
    stand_whole_load(&b);
    stand_ok(&b, kl_pinpad_destroy(b.pad, 2, &b.err));
    b.loader.version = 1 + (uint32_t)_i;
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_EXISTS, KL_WIRE_REFUSED);
    stand_expect_tmks(&b, 1, 2, KL_TERMINAL_MISSING, 0, 0);
    stand_end(&b);
}
END_TEST

/* ---- A record that changes meanwhile ---- */

static struct stand *busy;
static int changes; /* of the record, one while each listing runs */
static const struct kl_pinpad_ops *real_ops;

static enum kl_rc list_and_change(struct kl_pinpad *pad, struct kl_pinpad_tmk *out, size_t *count,
                                  struct kl_err *err)
{
    enum kl_rc rc = real_ops->list(pad, out, count, err);
    char path[PATH_MAX], text[48];

    if (changes == 1) { /* another command settles version 2 */
        changes = 0;
        stand_ok(busy, kl_terminal_settle(busy->home_open, pad, 2, KL_VERDICT_ACTIVE, &busy->err));
    } else if (changes > 1) {
        snprintf(text, sizeof(text), "active %d tdes2 00112A\nend\n", changes--);
        stand_write_file(busy->home, "record", text, path);
    }
    return rc;
}

START_TEST(test_list_meanwhile)
{
    struct kl_terminal_tmk tmks[KL_TERMINAL_TMK_MAX];
    struct kl_pinpad_ops ops;
    size_t count;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    busy = &b;
    real_ops = b.pad->ops;
    ops = *real_ops;
    ops.list = list_and_change;
    b.pad->ops = &ops;
    changes = _i ? 1000 : 1;
    if (_i) {
        ck_assert_int_eq(kl_terminal_list(b.home_open, b.pad, tmks, &count, &b.err), KL_ERR_BUSY);
        ck_assert_int_gt(changes, 900);
    } else {
        stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    }
    b.pad->ops = real_ops;
    stand_end(&b);
}
END_TEST

/* ---- The file ---- */

#define MAC "00112233445566778899aabbccddeeff"
#define MACS MAC " " MAC " " MAC "\n"

START_TEST(test_record_damaged)
{
    static const char *const bad[] = {
        "written 1 tdes2 CA3F9B\n",
        "written 0 tdes2 CA3F9B " MACS,
        "written 1 des CA3F9B " MACS,
        "written 1 tdes2 CA3F " MACS,
        "written 1 tdes2 CA3F9B 00112233445566778899AABBCCDDEE " MAC " " MAC "\n",
        "written 1 tdes2 CA3F9B " MAC " " MAC " " MAC " 00\n",
        "1 tdes2 CA3F9B " MACS,
        "wrote 1 tdes2 CA3F9B " MACS,
        "written 1 tdes2 CA3F9B " MACS "writing 1 tdes2 CA3F9B " MACS,
        "active 1 tdes2\n",
        "active 0 tdes2 CA3F9B\n",
        "active 1 des CA3F9B\n",
        "active 1 tdes2 CA3F\n",
        "active 1 tdes2 CA3F9B 00\n",
        "active 1 tdes2 CA3F9B\nactive 2 tdes2 CA3F9B\n",
        "active 2 tdes2 CA3F9B\nwritten 2 tdes2 CA3F9B " MACS,
        "written 1 tdes2 CA3F9B " MACS "active 2 tdes2 CA3F9B\n",
        "abandoned 0\n",
        "abandoned 1\nabandoned 2\n",
        "active 2 tdes2 CA3F9B\nabandoned 2\n",
        "written 1 tdes2 CA3F9B " MACS "abandoned 2\n",
        "written 1 tdes2 CA3F9B " MACS "written 2 tdes2 CA3F9B " MACS "written 3 tdes2 CA3F9B " MACS
        "written 4 tdes2 CA3F9B " MACS,
    };
    /* Whole lines, but not all of them, or more. */
    static const char *const cut[] = {"", "active 1 tdes2 CA3F9B\n",
                                      "active 1 tdes2 CA3F9B\nend\nwritten 2 tdes2 CA3F9B " MACS,
                                      "end\nend\n"};
    const size_t bad_count = sizeof(bad) / sizeof(bad[0]);
    struct kl_terminal_home *home;
    char path[PATH_MAX], text[1024];
    struct stand b;

    ck_assert_uint_eq(bad_count + sizeof(cut) / sizeof(cut[0]), 26);
    snprintf(text, sizeof(text), "%s%s",
             (size_t)_i < bad_count ? bad[_i] : cut[_i - (int)bad_count],
             (size_t)_i < bad_count ? "end\n" : "");
    stand_init(&b, STAND_MEMORY);
    kl_terminal_free(b.home_open);
    b.home_open = NULL;
    stand_write_file(b.home, "record", text, path);
    ck_assert_int_eq(kl_terminal_open(b.home, 1, &home, &b.err), KL_ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(b.err.text, path));
    stand_end(&b);
}
END_TEST

START_TEST(test_record_round_trip)
{
    static const char text[] =
        "active 1 aes256 0011AABB\nabandoned 2\n"
        "writing 2 tdes2 CA3F9B " MACS "written 3 aes128 CA3F9BAA " MACS "end\n";
    struct kl_record record;
    struct kl_err err = KL_ERR_INIT;
    char again[KL_RECORD_TEXT_MAX];

    ck_assert_int_eq(kl_record_parse(text, &record, &err), KL_OK);
    ck_assert_uint_eq(kl_record_format(&record, again), sizeof(text) - 1);
    ck_assert_str_eq(again, text);
    ck_assert_uint_eq(record.active.version, 1);
    ck_assert_uint_eq(record.abandoned, 2);
    ck_assert_uint_eq(record.count, 2);
    ck_assert_int_eq(record.candidates[0].whole, 0);
    ck_assert_int_eq(record.candidates[1].whole, 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("terminal-record");
    TCase *tc = tcase_create("record");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_loop_test(tc, test_candidate_hidden, 0, 2);
    tcase_add_test(tc, test_candidate_lost_is_said);
    tcase_add_loop_test(tc, test_active_hidden, 0, 2);
    tcase_add_test(tc, test_stray_younger);
    tcase_add_test(tc, test_stray_is_all);
    tcase_add_test(tc, test_stray_of_that_version);
    tcase_add_test(tc, test_record_gone);
    tcase_add_loop_test(tc, test_first_load, 0, 2);
    tcase_add_test(tc, test_full);
    tcase_add_test(tc, test_full_of_lost);
    tcase_add_test(tc, test_version_out_of_reach);
    tcase_add_test(tc, test_nothing_to_abandon);
    tcase_add_loop_test(tc, test_version_on_record, 0, 2);
    tcase_add_loop_test(tc, test_list_meanwhile, 0, 2);
    tcase_add_loop_test(tc, test_record_damaged, 0, 26);
    tcase_add_test(tc, test_record_round_trip);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
