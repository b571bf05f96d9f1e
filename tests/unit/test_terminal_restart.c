/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A terminal that dies between any two steps: what it comes back to is a TMK that the loader knows,
 * and nothing is settled but by a Done that proves itself.
 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "terminal-sim/pinpad/pinpad_backend.h"
#include "tests/support/objects.h"
#include "tests/support/stand.h"
#include "tests/support/suite.h"

/* ---- A disk that fails ---- */

static int good_syncs;       /* so many fsyncs of a directory still succeed */
static int failing_syncs;    /* and so many fail then */
static const char *unsynced; /* kept as UNSYNCED.crash, as it is at the first of them */

/* In place of libc's: the program's own definition comes first. */
int fsync(int fd)
{
    struct stat st;

    if (failing_syncs > 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && good_syncs-- <= 0) {
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
static size_t recorded(struct stand *b)
{
    struct kl_terminal_home *second;
    const struct kl_candidate *list;
    size_t count;

    stand_ok(b, kl_terminal_open(b->home, 0, &second, &b->err));
    count = kl_terminal_candidates(second, &list);
    kl_terminal_free(second);
    return count;
}

/* ---- Death at every step ---- */

START_TEST(test_restart_before_loaded)
{
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_certificate(&b);
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    stand_to_master_key(&b);
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

START_TEST(test_record_is_private)
{
    char path[PATH_MAX + 32];
    struct stat st;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_to_loaded(&b);
    snprintf(path, sizeof(path), "%s/record", b.home);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    stand_end(&b);
}
END_TEST

START_TEST(test_record_fails)
{
    struct stand b;

    stand_init(&b, _i / 2);
    stand_whole_load(&b);
    b.loader.version = 2;
    b.fault = _i % 2 ? STAND_FAULT_COMPLETE : STAND_FAULT_BEGIN;
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(recorded(&b), 0);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_end(&b);
}
END_TEST

/* The record of version 3, as it is begun (0) or completed (1), is in place but its directory's
 * fsync failed: there is no such TMK, and whatever a crash leaves of the record goes at the start.
 */
START_TEST(test_record_not_synced)
{
    int older = _i % 2, completing = _i / 2 % 2;
    struct stand b;

    stand_init(&b, _i / 4);
    stand_whole_load(&b);
    if (older) {
        b.loader.version = 2;
        stand_to_loaded(&b);
    }
    b.loader.version = 3;
    stand_to_master_key(&b);
    good_syncs = completing;
    failing_syncs = 1;
    stand_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
    ck_assert_int_eq(failing_syncs, 0);
    ck_assert_uint_eq(stand_candidates(&b), older);
    stand_expect_tmks(&b, 1 + older, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    if (b.kind == STAND_TOKEN) {
        stand_restart(&b);
        ck_assert_uint_eq(recorded(&b), older);
        stand_expect_tmks(&b, 1 + older, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    }
    stand_end(&b);
}
END_TEST

/* The record can neither be completed nor, after that, say that the TMK is to go: the TMK stays,
 * and a crash leaves one (0) or the other (1). A completed one is confirmed like any other. */
START_TEST(test_record_stuck)
{
    char path[PATH_MAX + 32], crash[PATH_MAX + 40];
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_master_key(&b);
    snprintf(path, sizeof(path), "%s/record", b.home);
    snprintf(crash, sizeof(crash), "%s.crash", path);
    unsynced = path;
    good_syncs = 1;
    failing_syncs = 2;
    stand_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
    ck_assert_int_eq(failing_syncs, 0);
    ck_assert_ptr_nonnull(strstr(b.traced, "left to the next start"));
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    ck_assert_int_eq(_i ? rename(crash, path) : unlink(crash), 0);
    stand_restart(&b);
    stand_expect_tmks(&b, _i ? 2 : 1, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    ck_assert_uint_eq(recorded(&b), (unsigned)_i);
    if (_i) {
        stand_confirm(&b, KL_VERDICT_ACTIVE);
        stand_settle(&b);
        stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    }
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_end(&b);
}
END_TEST

/* ---- A PIN pad that fails ---- */

static enum kl_rc failing_destroy(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                  struct kl_err *err)
{
    (void)pad;
    return kl_err_set(err, KL_ERR_HSM, "version %u stays", (unsigned)tmk->version);
}

static int good_destroys; /* so many still succeed */
static enum kl_rc (*real_destroy)(struct kl_pinpad *, const struct kl_pinpad_tmk *,
                                  struct kl_err *);

static enum kl_rc mortal_destroy(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                 struct kl_err *err)
{
    return good_destroys-- > 0 ? real_destroy(pad, tmk, err) : failing_destroy(pad, tmk, err);
}

/* Killed just after it. */
static enum kl_rc last_destroy(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                               struct kl_err *err)
{
    enum kl_rc rc = real_destroy(pad, tmk, err);

    return rc ? rc : kl_err_set(err, KL_ERR_HSM, "killed");
}

static enum kl_rc failing_keep(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                               const uint8_t *ctmk, size_t ctmk_len, struct kl_err *err)
{
    (void)pad;
    (void)ctmk;
    (void)ctmk_len;
    return kl_err_set(err, KL_ERR_HSM, "version %u is not written", (unsigned)tmk->version);
}

START_TEST(test_keep_fails)
{
    struct kl_pinpad_ops broken;
    struct stand b;

    stand_init(&b, _i);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_master_key(&b);
    broken = *b.pad->ops;
    broken.keep = failing_keep;
    b.pad->ops = &broken;
    stand_expect_refusal(&b, KL_ERR_HSM, KL_WIRE_REFUSED);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(recorded(&b), 0);
    stand_end(&b);
}
END_TEST

/* A TMK that stays keeps its record, and the next start destroys it. At Done, drop (0); in a load
 * that fails (1). */
START_TEST(test_destroy_fails)
{
    struct kl_pinpad_ops broken;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    if (_i == 0) {
        stand_to_loaded(&b);
    } else {
        stand_to_master_key(&b);
    }
    broken = *b.pad->ops;
    broken.destroy = failing_destroy;
    b.pad->ops = &broken;
    if (_i == 0) {
        ck_assert_int_eq(kl_terminal_settle(b.home_open, b.pad, 2, KL_VERDICT_DROP, &b.err),
                         KL_ERR_HSM);
    } else {
        b.fault = STAND_FAULT_COMPLETE;
        stand_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
        ck_assert_ptr_nonnull(strstr(b.traced, "left to the next start"));
    }
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    stand_restart(&b);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

/* ---- Death in a load ---- */

START_TEST(test_killed_in_a_load)
{
    static const enum stand_fault deaths[] = {STAND_DEATH_BEGUN, STAND_DEATH_WRITTEN,
                                              STAND_DEATH_COMPLETED};
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    b.fault = deaths[_i];
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED); /* that nobody hears */
    ck_assert_uint_eq(recorded(&b), 1);
    stand_restart(&b);
    b.fault = STAND_FAULT_NONE;
    if (deaths[_i] == STAND_DEATH_COMPLETED) {
        stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
        stand_confirm(&b, KL_VERDICT_ACTIVE);
        stand_settle(&b);
        stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    } else {
        stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
        ck_assert_uint_eq(stand_candidates(&b), 0);
    }
    ck_assert_uint_eq(recorded(&b), 0);
    b.loader.version = 3;
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 3, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

/* The object of version 2 as a token may leave it: cut at any length. SoftHSM takes some of these
 * for a key, label and all, but without a value. */
START_TEST(test_killed_in_an_object)
{
    char file[PATH_MAX];
    size_t len, size;
    int seen = 0;
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    b.fault = STAND_DEATH_WRITTEN;
    for (len = 0, size = 1; len < size; len += 40, b.loader.version++) {
        stand_to_master_key(&b);
        stand_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
        stand_close(&b);
        size = objects_newest(b.dir, file);
        ck_assert_int_eq(truncate(file, (off_t)len), 0);
        stand_ok(&b, kl_terminal_open(b.home, 1, &b.home_open, &b.err));
        stand_ok(&b, kl_terminal_open_pinpad(b.home_open, &b.pad, &b.err));
        size_t count;
        stand_ok(&b, kl_pinpad_list(b.pad, tmks, &count, &b.err));
        ck_assert_uint_ge(count, 1);
        seen += count == 2;
        stand_restart(&b);
        stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
        ck_assert_uint_eq(recorded(&b), 0);
    }
    ck_assert_int_gt(seen, 0); /* so a record must say whether its key is whole */
    b.fault = STAND_FAULT_NONE;
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, b.loader.version, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

/* The record is complete, but the disk lost what the token had not synced: the loader may count it
 * as active, so that it is told until a fresh load is. */
START_TEST(test_object_lost)
{
    const struct kl_candidate *next;
    char file[PATH_MAX];
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    stand_close(&b);
    ck_assert_uint_gt(objects_newest(b.dir, file), 0);
    ck_assert_int_eq(truncate(file, 0), 0);
    stand_restart(&b);
    ck_assert_uint_eq(recorded(&b), 1);
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_LOST);
    ck_assert_int_eq(kl_terminal_next(b.home_open, b.pad, &next, &b.err), KL_ERR_KEY);
    ck_assert_ptr_nonnull(strstr(b.err.text, "may count TMK version 2 as active"));
    b.loader.version = 3;
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 3, KL_TERMINAL_ACTIVE, 0, 0);
    stand_ok(&b, kl_terminal_next(b.home_open, b.pad, &next, &b.err));
    ck_assert_ptr_null(next);
    stand_end(&b);
}
END_TEST

/* The disk is full: the new record never came there, the old one is as it was and needs no writing.
 */
START_TEST(test_record_never_written)
{
    struct rlimit limit = {0, RLIM_INFINITY};
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_to_loaded(&b);
    b.loader.version = 2;
    stand_to_master_key(&b);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    stand_expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_UNCONFIRMED, 0, 0);
    ck_assert_uint_eq(recorded(&b), 1);
    ck_assert_uint_eq(stand_candidates(&b), 1);
    stand_end(&b);
}
END_TEST

/* A record that a start found may still be in memory only: nothing is confirmed before it is not.
 */
START_TEST(test_recover_makes_durable)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_to_loaded(&b);
    failing_syncs = 1;
    ck_assert_int_eq(kl_terminal_recover(b.home_open, b.pad, &b.err), KL_ERR_IO);
    stand_ok(&b, kl_terminal_recover(b.home_open, b.pad, &b.err));
    ck_assert_uint_eq(stand_candidates(&b), 1);
    stand_end(&b);
}
END_TEST

/* Of three candidates the PIN pad lost one: every record stays, and the youngest is confirmed
 * unless it is the lost one. */
START_TEST(test_record_without_key)
{
    uint32_t lost = 1 + (uint32_t)_i, version;
    const struct kl_candidate *next = NULL;
    struct stand b;
    enum kl_rc rc;

    stand_init(&b, STAND_MEMORY);
    for (version = 1; version <= 3; version++) {
        b.loader.version = version;
        stand_to_loaded(&b);
    }
    stand_ok(&b, kl_pinpad_destroy(b.pad, lost, &b.err));
    stand_ok(&b, kl_terminal_recover(b.home_open, b.pad, &b.err));
    ck_assert_uint_eq(recorded(&b), 3);
    stand_expect_tmks(&b, 3, 1, lost == 1 ? KL_TERMINAL_LOST : KL_TERMINAL_UNCONFIRMED, 2,
                      lost == 2 ? KL_TERMINAL_LOST : KL_TERMINAL_UNCONFIRMED);
    rc = kl_terminal_next(b.home_open, b.pad, &next, &b.err);
    ck_assert_int_eq(rc, lost == 3 ? KL_ERR_KEY : KL_OK);
    if (!rc) {
        ck_assert_uint_eq(next->version, 3);
    }
    stand_end(&b);
}
END_TEST

/* Whoever drives the machine: no Confirm comes out of it without the key. */
START_TEST(test_confirm_needs_key)
{
    const struct kl_candidate *list;
    struct stand b;

    stand_init(&b, _i);
    stand_to_loaded(&b);
    ck_assert_uint_eq(kl_terminal_candidates(b.home_open, &list), 1);
    kl_terminal_load_free(b.load);
    b.load = NULL;
    stand_ok(&b, kl_pinpad_destroy(b.pad, 1, &b.err));
    stand_ok(&b, kl_terminal_load_new(&b.params, &b.load, &b.err));
    b.len = 0;
    ck_assert_int_eq(kl_terminal_load_confirm(b.load, &list[0], b.buf, &b.len, &b.err), KL_ERR_KEY);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_int_eq(kl_terminal_load_has_candidate(b.load), 0);
    stand_end(&b);
}
END_TEST

START_TEST(test_restart_after_loaded)
{
    enum kl_verdict verdict = _i ? KL_VERDICT_DROP : KL_VERDICT_ACTIVE;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    stand_restart(&b);
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    stand_confirm(&b, verdict);
    stand_restart(&b); /* the verdict is forgotten, nothing else */
    stand_confirm(&b, verdict);
    stand_settle(&b);
    stand_restart(&b);
    stand_expect_tmks(&b, 1, _i ? 1 : 2, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_end(&b);
}
END_TEST

/* Within the settlement of version 3, with 2 abandoned: the record is rewritten (0), and of the
 * superseded ones none, the first or both are destroyed. */
START_TEST(test_restart_in_settlement)
{
    struct kl_pinpad_ops broken;
    uint32_t version;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    for (version = 2; version <= 3; version++) {
        b.loader.version = version;
        stand_to_loaded(&b);
    }
    broken = *b.pad->ops;
    good_destroys = _i;
    real_destroy = broken.destroy;
    broken.destroy = mortal_destroy;
    b.pad->ops = &broken;
    ck_assert_int_eq(kl_terminal_settle(b.home_open, b.pad, 3, KL_VERDICT_ACTIVE, &b.err),
                     _i < 2 ? KL_ERR_HSM : KL_OK);
    if (_i == 0) {
        stand_expect_tmks(&b, 3, 1, KL_TERMINAL_STRAY, 2, KL_TERMINAL_STRAY);
    } else if (_i == 1) {
        stand_expect_tmks(&b, 2, 2, KL_TERMINAL_STRAY, 3, KL_TERMINAL_ACTIVE);
    }
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 3, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_end(&b);
}
END_TEST

/* The record's rewriting failed at its last step: there is always a TMK in use, and with either
 * record (0 the new, 1 the old one) the terminal ends where the loader is. */
START_TEST(test_settlement_not_synced)
{
    char path[PATH_MAX + 32], kept[PATH_MAX + 40];
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    snprintf(path, sizeof(path), "%s/record", b.home);
    snprintf(kept, sizeof(kept), "%s.kept", path);
    ck_assert_int_eq(link(path, kept), 0);
    failing_syncs = 1;
    ck_assert_int_eq(kl_terminal_settle(b.home_open, b.pad, 2, KL_VERDICT_ACTIVE, &b.err),
                     KL_ERR_IO);
    ck_assert_int_eq(failing_syncs, 0);
    ck_assert_int_eq(_i ? rename(kept, path) : unlink(kept), 0);
    stand_expect_tmks(&b, 2, 1, _i ? KL_TERMINAL_ACTIVE : KL_TERMINAL_STRAY, 2,
                      _i ? KL_TERMINAL_UNCONFIRMED : KL_TERMINAL_ACTIVE);
    stand_restart(&b);
    if (_i) {
        stand_confirm(&b, KL_VERDICT_ACTIVE);
        stand_settle(&b);
    }
    stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_end(&b);
}
END_TEST

/* A younger candidate survives the settlement of an older one; a lost one takes nothing along. */
START_TEST(test_settle_one_of_two)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    b.loader.version = 3;
    stand_to_loaded(&b);
    if (_i == 0) {
        stand_ok(&b, kl_terminal_settle(b.home_open, b.pad, 2, KL_VERDICT_ACTIVE, &b.err));
        stand_expect_tmks(&b, 2, 2, KL_TERMINAL_ACTIVE, 3, KL_TERMINAL_UNCONFIRMED);
    } else {
        stand_ok(&b, kl_pinpad_destroy(b.pad, 3, &b.err));
        ck_assert_int_eq(kl_terminal_settle(b.home_open, b.pad, 3, KL_VERDICT_ACTIVE, &b.err),
                         KL_ERR_KEY);
        stand_expect_tmks(&b, 3, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    }
    ck_assert_uint_eq(recorded(&b), _i ? 2 : 1);
    stand_end(&b);
}
END_TEST

/* DROP: destroyed in the pad, but still on record. That must not pass for a TMK that was lost. */
START_TEST(test_restart_in_drop)
{
    struct kl_pinpad_ops broken;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    broken = *b.pad->ops;
    real_destroy = broken.destroy;
    broken.destroy = last_destroy;
    b.pad->ops = &broken;
    ck_assert_int_eq(kl_terminal_settle(b.home_open, b.pad, 2, KL_VERDICT_DROP, &b.err),
                     KL_ERR_HSM);
    ck_assert_uint_eq(recorded(&b), 1);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    stand_restart(&b);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(stand_candidates(&b), 0); /* there is nothing to ask about any more */
    ck_assert_uint_eq(recorded(&b), 0);
    stand_end(&b);
}
END_TEST

/* DROP cannot be put on record: before the disk has it the TMK stays (0); taken off, it is gone
 * (1). A crash leaves the record before the failed step, or (2, 3) the one after it. */
START_TEST(test_drop_not_synced)
{
    char path[PATH_MAX + 32], crash[PATH_MAX + 40];
    int step = _i % 2, newer = _i / 2;
    struct stand b;

    stand_init(&b, STAND_TOKEN);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    snprintf(path, sizeof(path), "%s/record", b.home);
    snprintf(crash, sizeof(crash), "%s.crash", path);
    if (step == 0) {
        ck_assert_int_eq(link(path, crash), 0);
    } else { /* the record that says so, of a DROP that got no further */
        struct kl_pinpad_ops broken = *b.pad->ops;
        const struct kl_pinpad_ops *good = b.pad->ops;

        broken.destroy = failing_destroy;
        b.pad->ops = &broken;
        ck_assert_int_eq(kl_terminal_settle(b.home_open, b.pad, 2, KL_VERDICT_DROP, &b.err),
                         KL_ERR_HSM);
        b.pad->ops = good;
        ck_assert_int_eq(link(path, crash), 0);
    }
    good_syncs = step;
    failing_syncs = 1;
    ck_assert_int_eq(kl_terminal_settle(b.home_open, b.pad, 2, KL_VERDICT_DROP, &b.err), KL_ERR_IO);
    stand_expect_tmks(&b, step ? 1 : 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    ck_assert_int_eq(newer ? unlink(crash) : rename(crash, path), 0);
    stand_restart(&b);
    if (step == 0 && !newer) {
        stand_confirm(&b, KL_VERDICT_DROP);
        stand_settle(&b);
    }
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_end(&b);
}
END_TEST

/* The key is lost between Confirm and Done: ACTIVE then is bad news, until a fresh load. */
START_TEST(test_confirmed_key_missing)
{
    const struct kl_candidate *next;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_to_loaded(&b);
    stand_confirm(&b, KL_VERDICT_ACTIVE);
    stand_ok(&b, kl_pinpad_destroy(b.pad, 1, &b.err));
    ck_assert_int_eq(kl_terminal_settle(b.home_open, b.pad, 1, KL_VERDICT_ACTIVE, &b.err),
                     KL_ERR_KEY);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_LOST, 0, 0);
    ck_assert_int_eq(kl_terminal_next(b.home_open, b.pad, &next, &b.err), KL_ERR_KEY);
    stand_end(&b);
}
END_TEST

/* A candidate that nobody settled, and a fresh load beside it. */
START_TEST(test_abandoned)
{
    struct stand b;

    stand_init(&b, _i);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    b.loader.version = 3;
    stand_to_loaded(&b);
    ck_assert_uint_eq(stand_candidates(&b), 2);
    if (b.kind == STAND_TOKEN) {
        stand_restart(&b);
    }
    ck_assert_uint_eq(stand_candidates(&b), 2);
    b.loader.version = 4;
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 4, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_end(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("terminal-restart");
    TCase *tc = tcase_create("restart");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_test(tc, test_restart_before_loaded);
    tcase_add_test(tc, test_record_is_private);
    tcase_add_loop_test(tc, test_record_fails, 0, 2 * STAND_KINDS);
    tcase_add_loop_test(tc, test_record_not_synced, 0, 4 * STAND_KINDS);
    tcase_add_loop_test(tc, test_record_stuck, 0, 2);
    tcase_add_test(tc, test_record_never_written);
    tcase_add_test(tc, test_recover_makes_durable);
    tcase_add_loop_test(tc, test_record_without_key, 0, 3);
    tcase_add_loop_test(tc, test_confirm_needs_key, 0, STAND_KINDS);
    tcase_add_loop_test(tc, test_restart_after_loaded, 0, 2);
    tcase_add_loop_test(tc, test_keep_fails, 0, STAND_KINDS);
    tcase_add_loop_test(tc, test_destroy_fails, 0, 2);
    tcase_add_loop_test(tc, test_killed_in_a_load, 0, 3);
    tcase_add_test(tc, test_killed_in_an_object);
    tcase_add_test(tc, test_object_lost);
    tcase_add_loop_test(tc, test_restart_in_settlement, 0, 3);
    tcase_add_loop_test(tc, test_settlement_not_synced, 0, 2);
    tcase_add_loop_test(tc, test_settle_one_of_two, 0, 2);
    tcase_add_test(tc, test_restart_in_drop);
    tcase_add_loop_test(tc, test_drop_not_synced, 0, 4);
    tcase_add_test(tc, test_confirmed_key_missing);
    tcase_add_loop_test(tc, test_abandoned, 0, STAND_KINDS);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
