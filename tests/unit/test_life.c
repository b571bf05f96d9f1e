/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules of a TMK's life: every state against every Loaded, and the bounds of an arming. A long
 * random run of them is in test_life_model.c.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "daemon/life/life.h"
#include "tests/support/life.h"
#include "tests/support/suite.h"

static void ready(void)
{
    life_register(T, "");
    OK(kl_life_arm(life.store, T, NOW + 100, 3, NOW, &life.err));
}

static enum kl_rc admit(const char *pad, int64_t now, struct kl_admission *out)
{
    struct kl_claim claim = life_claim(T, pad);

    return kl_life_admit(life.store, &claim, now, out, &life.err);
}

static enum kl_rc pend_tmk(const char *pad, const struct kl_tmk *tmk, int64_t now)
{
    struct kl_claim claim = life_claim(T, pad);

    return kl_life_pend(life.store, &life_policy, &claim, tmk, now, &life.err);
}

static enum kl_rc pend_from(const char *pad, uint32_t version, int64_t now)
{
    struct kl_tmk tmk = life_candidate(T, version);

    return pend_tmk(pad, &tmk, now);
}

static enum kl_rc pend(uint32_t version, int64_t now)
{
    return pend_from(PAD, version, now);
}

static enum kl_rc confirm(uint32_t version, int64_t now, struct kl_answer *answer)
{
    struct kl_loaded l = life_loaded(version);

    return kl_life_confirm(life.store, T, version, &l, now, answer, &life.err);
}

static struct kl_tmk stored(uint32_t version)
{
    struct kl_tmk tmk;

    OK(kl_store_tmk_get(life.store, T, version, &tmk, &life.err));
    return tmk;
}

static struct kl_terminal terminal(void)
{
    struct kl_terminal t;

    OK(kl_store_terminal_get(life.store, T, &t, &life.err));
    return t;
}

static enum kl_rc count_audit(const struct kl_audit *record, void *arg, struct kl_err *e)
{
    (void)record;
    (void)e;
    (*(size_t *)arg)++;
    return KL_OK;
}

static size_t audit_count(void)
{
    size_t n = 0;

    OK(kl_store_audit_each(life.store, 0, count_audit, &n, &life.err));
    return n;
}

static enum kl_rc copy_audit(const struct kl_audit *record, void *arg, struct kl_err *e)
{
    (void)e;
    *(struct kl_audit *)arg = *record;
    return KL_OK;
}

static struct kl_audit last_audit(void)
{
    struct kl_audit record;

    OK(kl_store_audit_each(life.store, 1, copy_audit, &record, &life.err));
    return record;
}

/* ---- Admission ---- */

START_TEST(admission)
{
    struct kl_admission a = {0};

    FAILS(admit(PAD, NOW, &a), KL_ERR_UNKNOWN_TERMINAL);
    life_register(T, PAD);
    FAILS(admit(PAD, NOW, &a), KL_ERR_UNARMED);
    OK(kl_life_arm(life.store, T, NOW + 100, 1, NOW, &life.err));
    FAILS(admit("PAD-2", NOW, &a), KL_ERR_REFUSED);
    ck_assert_int_eq(a.version, 0); /* a refusal writes no output */
    OK(admit(PAD, NOW, &a));
    ck_assert_int_eq(a.version, 1);
    ck_assert_int_eq(a.alg, KL_ALG_TDES2);
    OK(kl_life_block(life.store, T, 1, NOW, &life.err));
    FAILS(admit(PAD, NOW, &a), KL_ERR_BLOCKED);
    FAILS(kl_life_arm(life.store, T, NOW + 100, 1, NOW, &life.err), KL_ERR_BLOCKED);
    OK(kl_life_block(life.store, T, 0, NOW, &life.err));
    FAILS(admit(PAD, NOW, &a), KL_ERR_UNARMED); /* blocking disarmed */
}
END_TEST

START_TEST(arming_bounds)
{
    struct kl_admission a;

    FAILS(kl_life_arm(life.store, T, NOW + 1, 1, NOW, &life.err), KL_ERR_NOT_FOUND);
    life_register(T, "");
    FAILS(kl_life_arm(life.store, T, NOW + 1, 0, NOW, &life.err), KL_ERR_INPUT);
    FAILS(kl_life_arm(life.store, T, NOW + 1, 101, NOW, &life.err), KL_ERR_INPUT);
    FAILS(kl_life_arm(life.store, T, NOW, 1, NOW, &life.err), KL_ERR_INPUT);
    OK(kl_life_arm(life.store, T, NOW + 1, 100, NOW, &life.err));
    OK(kl_life_arm(life.store, T, NOW + 10, 2, NOW, &life.err)); /* replaces */
    OK(admit(PAD, NOW + 10, &a));
    FAILS(admit(PAD, NOW + 11, &a), KL_ERR_UNARMED);
    OK(pend(1, NOW));
    OK(pend(2, NOW + 10));
    ck_assert_int_eq(terminal().attempts_left, 0);
    FAILS(pend(3, NOW + 10), KL_ERR_UNARMED);
}
END_TEST

/* ---- Candidates ---- */

START_TEST(pending)
{
    struct kl_tmk tmk;

    ready();
    OK(pend(1, NOW));
    tmk = stored(1);
    ck_assert_int_eq(tmk.state, KL_TMK_PENDING);
    ck_assert_int_eq(tmk.expires, NOW + LIFETIME);
    ck_assert_int_eq(tmk.created, NOW);
    ck_assert_int_eq(tmk.activated, 0);
    ck_assert_int_eq(terminal().attempts_left, 2);
    ck_assert_str_eq(tmk.pinpad_serial, PAD);
    ck_assert_str_eq(last_audit().event, "tmk-pending");
}
END_TEST

START_TEST(pend_refusals)
{
    struct kl_tmk tmk;
    size_t records;

    ready();
    records = audit_count();
    FAILS(pend(2, NOW), KL_ERR_BUSY); /* not the next version */
    FAILS(pend(0, NOW), KL_ERR_BUSY);
    tmk = life_candidate(T, 1);
    tmk.alg = KL_ALG_TDES3;
    FAILS(pend_tmk(PAD, &tmk, NOW), KL_ERR_REFUSED);
    tmk = life_candidate(T, 1);
    tmk.cryptogram_len = 23;
    FAILS(pend_tmk(PAD, &tmk, NOW), KL_ERR_INTERNAL);
    tmk = life_candidate(T, 1);
    tmk.kcv_len = 2;
    FAILS(pend_tmk(PAD, &tmk, NOW), KL_ERR_INTERNAL);
    tmk = life_candidate(T, 1);
    tmk.imported = 1; /* of which nobody knows */
    FAILS(pend_tmk(PAD, &tmk, NOW), KL_ERR_BUSY);
    FAILS(pend_from("bad pad", 1, NOW), KL_ERR_INTERNAL);
    FAILS(pend_from("", 1, NOW), KL_ERR_INTERNAL);
    ck_assert_int_eq(terminal().attempts_left, 3);
    ck_assert_uint_eq(audit_count(), records);
    OK(pend(1, NOW));
    FAILS(pend(1, NOW), KL_ERR_BUSY); /* two loads were admitted with one version */
    ck_assert_int_eq(stored(1).state, KL_TMK_PENDING);
    ck_assert_int_eq(terminal().attempts_left, 2);
}
END_TEST

START_TEST(versions_run_out)
{
    struct kl_tmk tmk = life_candidate(T, KL_VERSION_MAX);
    struct kl_admission a;

    ready();
    tmk.state = KL_TMK_PENDING;
    OK(kl_store_tmk_add(life.store, &tmk, &life.err));
    FAILS(admit(PAD, NOW, &a), KL_ERR_REFUSED);
}
END_TEST

/* Puts TMK 1 into a state, by the rules where they can. */
static void bring_into(enum kl_tmk_state state)
{
    struct kl_answer answer;
    size_t n;

    ready();
    OK(pend(1, NOW));
    switch (state) {
    case KL_TMK_PENDING:
        break;
    case KL_TMK_ACTIVE:
        OK(confirm(1, NOW, &answer));
        break;
    case KL_TMK_SUPERSEDED:
        OK(confirm(1, NOW, &answer));
        OK(kl_life_arm(life.store, T, NOW + 100, 1, NOW, &life.err));
        OK(pend(2, NOW));
        OK(confirm(2, NOW, &answer));
        break;
    case KL_TMK_DESTROYED:
        OK(pend(2, NOW));
        OK(confirm(2, NOW, &answer));
        break;
    case KL_TMK_EXPIRED:
        OK(kl_life_expire(life.store, NOW + LIFETIME, &n, &life.err));
        ck_assert_uint_eq(n, 1);
        break;
    case KL_TMK_REVOKED:
        OK(kl_life_revoke(life.store, T, 1, "lost", NOW, &life.err));
        break;
    }
    ck_assert_int_eq(stored(1).state, state);
}

enum { LOADED_RIGHT, LOADED_WRONG_MAC, LOADED_WRONG_KCV, LOADED_SHORT_KCV, LOADED_KINDS };

/* Every state against every Loaded, twice each: the second answer must be the first. */
START_TEST(confirm_table)
{
    static const struct {
        enum kl_tmk_state before, after;
        enum kl_verdict verdict;
        int changed;
    } rows[] = {
        {KL_TMK_PENDING, KL_TMK_ACTIVE, KL_VERDICT_ACTIVE, 1},
        {KL_TMK_ACTIVE, KL_TMK_ACTIVE, KL_VERDICT_ACTIVE, 0},
        {KL_TMK_SUPERSEDED, KL_TMK_SUPERSEDED, KL_VERDICT_DROP, 0},
        {KL_TMK_DESTROYED, KL_TMK_DESTROYED, KL_VERDICT_DROP, 0},
        {KL_TMK_EXPIRED, KL_TMK_EXPIRED, KL_VERDICT_DROP, 0},
        {KL_TMK_REVOKED, KL_TMK_REVOKED, KL_VERDICT_DROP, 0},
    };
    int kind = _i % LOADED_KINDS, row = _i / LOADED_KINDS;
    struct kl_loaded l = life_loaded(1);
    struct kl_tmk expected = life_candidate(T, 1);

    bring_into(rows[row].before);
    if (kind == LOADED_WRONG_MAC) {
        l.mac[KL_MAC_LEN - 1] ^= 1;
    }
    if (kind == LOADED_WRONG_KCV) {
        l.kcv[0] ^= 1;
    }
    if (kind == LOADED_SHORT_KCV) {
        l.kcv_len = 4; /* the same three bytes and one more */
    }
    for (int again = 0; again < 2; again++) {
        struct kl_answer answer = {.changed = -1};
        size_t records = audit_count();
        enum kl_rc rc = kl_life_confirm(life.store, T, 1, &l, NOW + 1, &answer, &life.err);

        if (kind != LOADED_RIGHT) {
            ck_assert_int_eq(rc, KL_ERR_VERIFY);
            ck_assert_ptr_nonnull(strstr(life.err.text, kind == LOADED_WRONG_MAC ? "MAC" : "KCV"));
            ck_assert_int_eq(answer.changed, -1);
            ck_assert_int_eq(stored(1).state, rows[row].before);
            ck_assert_uint_eq(audit_count(), records);
            continue;
        }
        ck_assert_int_eq(rc, KL_OK);
        ck_assert_int_eq(answer.verdict, rows[row].verdict);
        ck_assert_uint_eq(answer.tmk_version, 1);
        ck_assert_int_eq(answer.changed, again ? 0 : rows[row].changed);
        ck_assert_mem_eq(answer.mac,
                         answer.verdict == KL_VERDICT_ACTIVE ? expected.active_mac
                                                             : expected.drop_mac,
                         KL_MAC_LEN);
        ck_assert_int_eq(stored(1).state, rows[row].after);
        ck_assert_uint_eq(audit_count(), records + (answer.changed ? 1 : 0));
        life_reopen(); /* the answer must outlive a restart */
    }
}
END_TEST

START_TEST(confirm_unknown)
{
    struct kl_answer answer;

    FAILS(confirm(1, NOW, &answer), KL_ERR_NOT_FOUND);
    ready();
    FAILS(confirm(1, NOW, &answer), KL_ERR_NOT_FOUND);
}
END_TEST

START_TEST(activation)
{
    struct kl_answer answer;

    bring_into(KL_TMK_ACTIVE);
    ck_assert_int_eq(stored(1).activated, NOW);
    ck_assert_int_eq(terminal().armed_until, 0); /* the arming is used up, with its attempts */
    ck_assert_int_eq(terminal().attempts_left, 0);
    FAILS(pend(2, NOW), KL_ERR_UNARMED);
    OK(kl_life_arm(life.store, T, NOW + 100, 100, NOW, &life.err));
    for (uint32_t v = 2; v <= 100; v++) { /* more than one batch of candidates */
        OK(pend(v, NOW));
    }
    OK(confirm(50, NOW + 5, &answer));
    ck_assert_int_eq(stored(1).state, KL_TMK_SUPERSEDED);
    ck_assert_int_eq(stored(1).activated, NOW);
    ck_assert_int_eq(stored(1).superseded, NOW + 5);
    ck_assert_uint_eq(stored(1).cryptogram_len, 24); /* still needed until the terminal is Done */
    for (uint32_t v = 2; v <= 100; v++) {
        ck_assert_int_eq(stored(v).state, v == 50 ? KL_TMK_ACTIVE : KL_TMK_DESTROYED);
        ck_assert_uint_eq(stored(v).cryptogram_len, v == 50 ? 24 : 0);
    }
    ck_assert_int_eq(stored(50).activated, NOW + 5);
    ck_assert_str_eq(last_audit().event, "tmk-active");
}
END_TEST

/* Told to drop, a candidate never becomes active, whatever gets better afterwards. */
START_TEST(dropped_for_ever)
{
    struct kl_answer answer;

    ready();
    OK(pend(1, NOW));
    OK(pend(2, NOW));
    OK(kl_life_block(life.store, T, 1, NOW, &life.err));
    OK(confirm(1, NOW, &answer));
    ck_assert_int_eq(answer.verdict, KL_VERDICT_DROP);
    ck_assert_int_eq(stored(1).state, KL_TMK_DESTROYED);
    OK(kl_life_block(life.store, T, 0, NOW, &life.err));
    OK(confirm(1, NOW, &answer));
    ck_assert_int_eq(answer.verdict, KL_VERDICT_DROP);

    OK(confirm(2, NOW + LIFETIME, &answer)); /* overdue */
    ck_assert_int_eq(answer.verdict, KL_VERDICT_DROP);
    ck_assert_int_eq(answer.changed, 0);
    ck_assert_int_eq(stored(2).state, KL_TMK_EXPIRED);
    OK(confirm(2, NOW, &answer)); /* the clock is set back */
    ck_assert_int_eq(answer.verdict, KL_VERDICT_DROP);
    ck_assert_int_eq(stored(2).state, KL_TMK_EXPIRED);
}
END_TEST

START_TEST(last_second)
{
    struct kl_answer answer;

    ready();
    OK(pend(1, NOW));
    OK(confirm(1, NOW + LIFETIME - 1, &answer));
    ck_assert_int_eq(answer.verdict, KL_VERDICT_ACTIVE);
}
END_TEST

/* An active TMK is answered for even when the terminal has been blocked since. */
START_TEST(active_though_blocked)
{
    struct kl_answer answer;

    bring_into(KL_TMK_ACTIVE);
    OK(kl_life_block(life.store, T, 1, NOW, &life.err));
    OK(confirm(1, NOW + 10 * LIFETIME, &answer));
    ck_assert_int_eq(answer.verdict, KL_VERDICT_ACTIVE);
}
END_TEST

START_TEST(expiry)
{
    size_t n = 99, records;

    life_register(T, "");
    for (uint32_t v = 1; v <= 300; v++) { /* more than an arming allows */
        struct kl_tmk tmk = life_candidate(T, v);

        tmk.state = KL_TMK_PENDING;
        tmk.expires = NOW + LIFETIME + (v == 300);
        OK(kl_store_tmk_add(life.store, &tmk, &life.err));
    }
    OK(kl_life_expire(life.store, NOW + LIFETIME - 1, &n, &life.err));
    ck_assert_uint_eq(n, 0);
    records = audit_count();
    OK(kl_life_expire(life.store, NOW + LIFETIME, &n, &life.err));
    ck_assert_uint_eq(n, 256);
    ck_assert_uint_eq(audit_count(), records + 256);
    OK(kl_life_expire(life.store, NOW + LIFETIME, &n, &life.err));
    ck_assert_uint_eq(n, 43);
    ck_assert_int_eq(stored(300).state, KL_TMK_PENDING);
    ck_assert_int_eq(stored(1).state, KL_TMK_EXPIRED);
    ck_assert_uint_eq(stored(1).cryptogram_len, 0);
    ck_assert_str_eq(last_audit().event, "tmk-expired");
}
END_TEST

/* ---- PIN pads, spent attempts, armings that end ---- */

/* Whoever merely asked has bound nothing; the TMK that became active has. */
START_TEST(pinpad_is_bound_when_active)
{
    struct kl_answer answer;

    ready();
    OK(pend_from("PAD-X", 1, NOW));
    ck_assert_str_eq(terminal().pinpad_serial, "");
    OK(pend_from("PAD-2", 2, NOW)); /* so the real one still may */
    OK(confirm(2, NOW, &answer));
    ck_assert_int_eq(answer.verdict, KL_VERDICT_ACTIVE);
    ck_assert_str_eq(terminal().pinpad_serial, "PAD-2");
    OK(kl_life_arm(life.store, T, NOW + 100, 3, NOW, &life.err));
    FAILS(pend_from("PAD-X", 3, NOW), KL_ERR_REFUSED);
    OK(pend_from("PAD-2", 3, NOW));
    OK(confirm(3, NOW, &answer));
    ck_assert_str_eq(terminal().pinpad_serial, "PAD-2");
}
END_TEST

START_TEST(pinpad_is_changed)
{
    struct kl_admission a;

    life_register(T, PAD);
    OK(kl_life_arm(life.store, T, NOW + 100, 3, NOW, &life.err));
    FAILS(kl_life_pinpad(life.store, T, "a b", NOW, &life.err), KL_ERR_INPUT);
    OK(kl_life_pinpad(life.store, T, "PAD-2", NOW, &life.err));
    ck_assert_str_eq(last_audit().event, "terminal-pinpad");
    ck_assert_str_eq(last_audit().detail, "pinpad=PAD-2 before=PAD-1");
    FAILS(admit(PAD, NOW, &a), KL_ERR_REFUSED);
    OK(admit("PAD-2", NOW, &a));
    OK(kl_life_pinpad(life.store, T, "", NOW, &life.err));
    OK(admit(PAD, NOW, &a));
    ck_assert_int_eq(terminal().attempts_left, 3); /* and the arming is as it was */
}
END_TEST

START_TEST(spent_attempts)
{
    struct kl_admission a;
    size_t records;

    FAILS(kl_life_spend(life.store, T, NOW, &life.err), KL_ERR_UNKNOWN_TERMINAL);
    ready();
    for (int left = 2; left >= 0; left--) {
        OK(kl_life_spend(life.store, T, NOW, &life.err));
        ck_assert_int_eq(terminal().attempts_left, left);
        ck_assert_str_eq(last_audit().event, "attempt-spent");
    }
    ck_assert_str_eq(last_audit().detail, "attempts_left=0");
    FAILS(admit(PAD, NOW, &a), KL_ERR_UNARMED);
    records = audit_count();
    OK(kl_life_spend(life.store, T, NOW, &life.err)); /* nothing is left to spend */
    ck_assert_int_eq(terminal().attempts_left, 0);
    ck_assert_uint_eq(audit_count(), records);
}
END_TEST

/* Candidates of an arming end with it: whoever holds one is told to drop it. */
START_TEST(arming_ends_candidates)
{
    struct kl_answer answer;
    enum { ARMED, DISARMED, PINPAD_CHANGED } how = (unsigned)_i;

    ready();
    OK(pend(1, NOW));
    OK(pend(2, NOW));
    if (how == PINPAD_CHANGED) {
        OK(kl_life_pinpad(life.store, T, "PAD-2", NOW, &life.err));
    } else if (how == DISARMED) {
        OK(kl_life_disarm(life.store, T, NOW, &life.err));
        ck_assert_str_eq(last_audit().event, "terminal-disarmed");
        ck_assert_int_eq(terminal().armed_until, 0);
        ck_assert_int_eq(terminal().attempts_left, 0);
        FAILS(pend(3, NOW), KL_ERR_UNARMED);
    } else {
        OK(kl_life_arm(life.store, T, NOW + 50, 1, NOW, &life.err));
        ck_assert_int_eq(terminal().attempts_left, 1);
    }
    for (uint32_t v = 1; v <= 2; v++) {
        ck_assert_int_eq(stored(v).state, KL_TMK_DESTROYED);
        ck_assert_uint_eq(stored(v).cryptogram_len, 0);
        OK(confirm(v, NOW, &answer));
        ck_assert_int_eq(answer.verdict, KL_VERDICT_DROP);
        ck_assert_int_eq(answer.changed, 0);
    }
}
END_TEST

/* An active TMK is no candidate. */
START_TEST(disarm_leaves_the_active)
{
    bring_into(KL_TMK_ACTIVE);
    OK(kl_life_arm(life.store, T, NOW + 100, 3, NOW, &life.err));
    OK(kl_life_disarm(life.store, T, NOW, &life.err));
    ck_assert_int_eq(stored(1).state, KL_TMK_ACTIVE);
}
END_TEST

/* A candidate that is confirmed when the window is over becomes active, and the trail says so. */
START_TEST(confirmed_late)
{
    struct kl_answer answer;

    ready();
    OK(pend(1, NOW));
    OK(confirm(1, NOW + 101, &answer));
    ck_assert_int_eq(answer.verdict, KL_VERDICT_ACTIVE);
    ck_assert_str_eq(last_audit().detail,
                     "version=1 alg=tdes2 kcv=010101 origin=generated why=confirmed-late");
    OK(kl_life_arm(life.store, T, NOW + 300, 1, NOW + 200, &life.err));
    OK(pend(2, NOW + 200));
    OK(confirm(2, NOW + 300, &answer));
    ck_assert_str_eq(last_audit().detail,
                     "version=2 alg=tdes2 kcv=020202 origin=generated why=confirmed");
}
END_TEST

/* ---- Operators ---- */

START_TEST(registration)
{
    static const char *const bad[] = {"", "a b", "a\"b", "caf\xc3\xa9"};
    struct kl_terminal t = {.alg = KL_ALG_AES128, .blocked = 1, .armed_until = NOW + 5};

    for (size_t i = 0; i < 4; i++) {
        snprintf(t.serial, sizeof(t.serial), "%s", bad[i]);
        FAILS(kl_life_register(life.store, &t, NOW, &life.err), KL_ERR_INPUT);
    }
    snprintf(t.serial, sizeof(t.serial), T);
    snprintf(t.pinpad_serial, sizeof(t.pinpad_serial), "a b");
    FAILS(kl_life_register(life.store, &t, NOW, &life.err), KL_ERR_INPUT);
    t.pinpad_serial[0] = '\0';
    t.alg = 9;
    FAILS(kl_life_register(life.store, &t, NOW, &life.err), KL_ERR_INPUT);
    t.alg = KL_ALG_AES128;
    OK(kl_life_register(life.store, &t, NOW, &life.err));
    ck_assert_int_eq(terminal().blocked, 0); /* nobody is born armed or blocked */
    ck_assert_int_eq(terminal().armed_until, 0);
    ck_assert_int_eq(terminal().created, NOW);
    FAILS(kl_life_register(life.store, &t, NOW, &life.err), KL_ERR_EXISTS);
}
END_TEST

START_TEST(every_change_is_recorded)
{
    size_t n = audit_count();

    life_register(T, PAD);
    ck_assert_str_eq(last_audit().event, "terminal-registered");
    ck_assert_str_eq(last_audit().detail, "alg=tdes2 pinpad=PAD-1");
    OK(kl_life_arm(life.store, T, NOW + 60, 2, NOW, &life.err));
    ck_assert_str_eq(last_audit().event, "terminal-armed");
    ck_assert_str_eq(last_audit().detail, "until=2023-11-14T22:14:20Z attempts=2");
    OK(pend(1, NOW));
    ck_assert_str_eq(last_audit().detail,
                     "version=1 alg=tdes2 kcv=010101 origin=generated why=load");
    OK(kl_life_block(life.store, T, 1, NOW, &life.err));
    ck_assert_str_eq(last_audit().event, "terminal-blocked");
    OK(kl_life_block(life.store, T, 1, NOW, &life.err)); /* changes nothing, records nothing */
    OK(kl_life_block(life.store, T, 0, NOW, &life.err));
    ck_assert_str_eq(last_audit().event, "terminal-unblocked");
    OK(kl_life_alarm(life.store, T, KL_ERR_UNARMED, "x=\"1\"\nforged", NOW, &life.err));
    ck_assert_str_eq(last_audit().event, "alarm");
    ck_assert_str_eq(last_audit().detail, "reason=unarmed detail=\"x=\\\"1\\\"\\nforged\"");
    ck_assert_str_eq(last_audit().serial, T);
    ck_assert_uint_eq(audit_count(), n + 6);
    FAILS(kl_life_block(life.store, "T-2", 1, NOW, &life.err), KL_ERR_NOT_FOUND);
    FAILS(kl_life_disarm(life.store, "T-2", NOW, &life.err), KL_ERR_NOT_FOUND);
    FAILS(kl_life_pinpad(life.store, "T-2", "P", NOW, &life.err), KL_ERR_NOT_FOUND);
}
END_TEST

/* A clock that is set back lengthens no arming and revives none; one that is set forward ends some
 * early, and is not made up for. */
START_TEST(clock_stepped)
{
    struct kl_admission let;
    struct kl_terminal terminal;
    size_t armings = 99;

    ready(); /* until NOW + 100 */
    OK(kl_life_clock_stepped(life.store, 3600, NOW + 3600, &armings, &life.err));
    ck_assert_uint_eq(armings, 0);
    OK(kl_store_terminal_get(life.store, T, &terminal, &life.err));
    ck_assert_int_eq(terminal.armed_until, NOW + 100);
    /* At NOW + 10 it is set back by an hour: 90 seconds are left, as before. */
    OK(kl_life_clock_stepped(life.store, -3600, NOW + 10 - 3600, &armings, &life.err));
    ck_assert_uint_eq(armings, 1);
    OK(kl_store_terminal_get(life.store, T, &terminal, &life.err));
    ck_assert_int_eq(terminal.armed_until, NOW + 100 - 3600);
    OK(admit(PAD, NOW + 99 - 3600, &let));
    ck_assert_int_eq(admit(PAD, NOW + 101 - 3600, &let), KL_ERR_UNARMED);
    /* Over by now; set back by a day, it stays over. */
    OK(kl_life_clock_stepped(life.store, -86400, NOW - 3600 + 200 - 86400, &armings, &life.err));
    ck_assert_int_eq(admit(PAD, NOW - 3600 + 200 - 86400, &let), KL_ERR_UNARMED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("life");
    TCase *rules = tcase_create("rules");

    tcase_add_checked_fixture(rules, life_setup, life_teardown);
    tcase_add_test(rules, admission);
    tcase_add_test(rules, arming_bounds);
    tcase_add_test(rules, pending);
    tcase_add_test(rules, pend_refusals);
    tcase_add_test(rules, versions_run_out);
    tcase_add_loop_test(rules, confirm_table, 0, 6 * LOADED_KINDS);
    tcase_add_test(rules, confirm_unknown);
    tcase_add_test(rules, activation);
    tcase_add_test(rules, dropped_for_ever);
    tcase_add_test(rules, last_second);
    tcase_add_test(rules, active_though_blocked);
    tcase_add_test(rules, expiry);
    tcase_add_test(rules, pinpad_is_bound_when_active);
    tcase_add_test(rules, pinpad_is_changed);
    tcase_add_test(rules, spent_attempts);
    tcase_add_loop_test(rules, arming_ends_candidates, 0, 3);
    tcase_add_test(rules, disarm_leaves_the_active);
    tcase_add_test(rules, confirmed_late);
    tcase_add_test(rules, registration);
    tcase_add_test(rules, every_change_is_recorded);
    tcase_add_test(rules, clock_stepped);
    suite_add_tcase(suite, rules);
    return test_run(suite);
}
