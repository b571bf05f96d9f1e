/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules of a TMK's life: every state against every Loaded, the bounds of an arming, and a long
 * random run against a model.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/life.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

#define NOW 1700000000
#define LIFETIME 1000
#define T "T-1"
#define PAD "PAD-1"

static const struct kl_life_policy policy = {LIFETIME};
static char dir[64], path[80];
static struct kl_store *store;
static struct kl_err err;

#define OK(call) ck_assert_msg((call) == KL_OK, "%s: %s", #call, err.text)
#define FAILS(call, want) \
    do { \
        enum kl_rc rc_ = (call); \
        ck_assert_msg(rc_ == (want), "%s: %s (%s)", #call, kl_rc_name(rc_), err.text); \
    } while (0)

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-life-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/store.db", dir);
    OK(kl_store_open(path, KL_STORE_CREATE, &store, &err));
    OK(kl_store_begin(store, &err));
}

static void teardown(void)
{
    kl_store_free(store);
    test_rm_rf(dir);
}

static void reopen(void)
{
    OK(kl_store_commit(store, &err));
    kl_store_free(store);
    OK(kl_store_open(path, KL_STORE_WRITE, &store, &err));
    OK(kl_store_begin(store, &err));
}

static void register_terminal(const char *serial, const char *pad)
{
    struct kl_terminal t = {.alg = KL_ALG_TDES2};

    snprintf(t.serial, sizeof(t.serial), "%s", serial);
    snprintf(t.pinpad_serial, sizeof(t.pinpad_serial), "%s", pad);
    OK(kl_life_register(store, &t, NOW, &err));
}

static void ready(void)
{
    register_terminal(T, "");
    OK(kl_life_arm(store, T, NOW + 100, 3, NOW, &err));
}

/* A candidate whose every secret follows from its version. */
static struct kl_tmk candidate(const char *serial, uint32_t version)
{
    struct kl_tmk tmk = {.version = version,
                         .alg = KL_ALG_TDES2,
                         .kcv_len = 3,
                         .cryptogram_len = 24};

    snprintf(tmk.serial, sizeof(tmk.serial), "%s", serial);
    memset(tmk.kcv, (int)version, sizeof(tmk.kcv));
    memset(tmk.cryptogram, (int)(version ^ 0x55), 24);
    memset(tmk.ack_mac, (int)(version + 1), KL_MAC_LEN);
    memset(tmk.active_mac, (int)(version + 2), KL_MAC_LEN);
    memset(tmk.drop_mac, (int)(version + 3), KL_MAC_LEN);
    return tmk;
}

static struct kl_loaded loaded(uint32_t version)
{
    struct kl_tmk tmk = candidate(T, version);
    struct kl_loaded l = {.kcv_len = tmk.kcv_len};

    memcpy(l.kcv, tmk.kcv, sizeof(l.kcv));
    memcpy(l.mac, tmk.ack_mac, KL_MAC_LEN);
    return l;
}

static enum kl_rc pend(uint32_t version, int64_t now)
{
    struct kl_tmk tmk = candidate(T, version);

    return kl_life_pend(store, &policy, &tmk, PAD, now, &err);
}

static enum kl_rc confirm(uint32_t version, int64_t now, struct kl_answer *answer)
{
    struct kl_loaded l = loaded(version);

    return kl_life_confirm(store, T, version, &l, now, answer, &err);
}

static struct kl_tmk stored(uint32_t version)
{
    struct kl_tmk tmk;

    OK(kl_store_tmk_get(store, T, version, &tmk, &err));
    return tmk;
}

static struct kl_terminal terminal(void)
{
    struct kl_terminal t;

    OK(kl_store_terminal_get(store, T, &t, &err));
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

    OK(kl_store_audit_each(store, 0, count_audit, &n, &err));
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

    OK(kl_store_audit_each(store, 1, copy_audit, &record, &err));
    return record;
}

/* ---- Admission ---- */

START_TEST(admission)
{
    struct kl_admission a = {0};

    FAILS(kl_life_admit(store, T, PAD, NOW, &a, &err), KL_ERR_UNKNOWN_TERMINAL);
    register_terminal(T, PAD);
    FAILS(kl_life_admit(store, T, PAD, NOW, &a, &err), KL_ERR_UNARMED);
    OK(kl_life_arm(store, T, NOW + 100, 1, NOW, &err));
    FAILS(kl_life_admit(store, T, "PAD-2", NOW, &a, &err), KL_ERR_REFUSED);
    ck_assert_int_eq(a.version, 0); /* a refusal writes no output */
    OK(kl_life_admit(store, T, PAD, NOW, &a, &err));
    ck_assert_int_eq(a.version, 1);
    ck_assert_int_eq(a.alg, KL_ALG_TDES2);
    OK(kl_life_block(store, T, 1, NOW, &err));
    FAILS(kl_life_admit(store, T, PAD, NOW, &a, &err), KL_ERR_BLOCKED);
    FAILS(kl_life_arm(store, T, NOW + 100, 1, NOW, &err), KL_ERR_BLOCKED);
    OK(kl_life_block(store, T, 0, NOW, &err));
    FAILS(kl_life_admit(store, T, PAD, NOW, &a, &err), KL_ERR_UNARMED); /* blocking disarmed */
}
END_TEST

START_TEST(arming_bounds)
{
    struct kl_admission a;

    FAILS(kl_life_arm(store, T, NOW + 1, 1, NOW, &err), KL_ERR_UNKNOWN_TERMINAL);
    register_terminal(T, "");
    FAILS(kl_life_arm(store, T, NOW + 1, 0, NOW, &err), KL_ERR_INPUT);
    FAILS(kl_life_arm(store, T, NOW + 1, 101, NOW, &err), KL_ERR_INPUT);
    FAILS(kl_life_arm(store, T, NOW, 1, NOW, &err), KL_ERR_INPUT);
    OK(kl_life_arm(store, T, NOW + 1, 100, NOW, &err));
    OK(kl_life_arm(store, T, NOW + 10, 2, NOW, &err)); /* replaces */
    OK(kl_life_admit(store, T, PAD, NOW + 10, &a, &err));
    FAILS(kl_life_admit(store, T, PAD, NOW + 11, &a, &err), KL_ERR_UNARMED);
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
    ck_assert_str_eq(terminal().pinpad_serial, PAD);
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
    tmk = candidate(T, 1);
    tmk.alg = KL_ALG_TDES3;
    FAILS(kl_life_pend(store, &policy, &tmk, PAD, NOW, &err), KL_ERR_REFUSED);
    tmk = candidate(T, 1);
    tmk.cryptogram_len = 23;
    FAILS(kl_life_pend(store, &policy, &tmk, PAD, NOW, &err), KL_ERR_INTERNAL);
    tmk = candidate(T, 1);
    tmk.kcv_len = 2;
    FAILS(kl_life_pend(store, &policy, &tmk, PAD, NOW, &err), KL_ERR_INTERNAL);
    tmk = candidate(T, 1);
    FAILS(kl_life_pend(store, &policy, &tmk, "bad pad", NOW, &err), KL_ERR_INTERNAL);
    ck_assert_int_eq(terminal().attempts_left, 3);
    ck_assert_uint_eq(audit_count(), records);
    OK(pend(1, NOW));
    FAILS(pend(1, NOW), KL_ERR_BUSY); /* two loads were admitted with one version */
    ck_assert_int_eq(stored(1).state, KL_TMK_PENDING);
    ck_assert_int_eq(terminal().attempts_left, 2);
    tmk = candidate(T, 2);
    FAILS(kl_life_pend(store, &policy, &tmk, "PAD-2", NOW, &err), KL_ERR_REFUSED); /* bound now */
}
END_TEST

START_TEST(versions_run_out)
{
    struct kl_tmk tmk = candidate(T, KL_VERSION_MAX);
    struct kl_admission a;

    ready();
    tmk.state = KL_TMK_PENDING;
    OK(kl_store_tmk_add(store, &tmk, &err));
    FAILS(kl_life_admit(store, T, PAD, NOW, &a, &err), KL_ERR_REFUSED);
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
        OK(kl_life_arm(store, T, NOW + 100, 1, NOW, &err));
        OK(pend(2, NOW));
        OK(confirm(2, NOW, &answer));
        break;
    case KL_TMK_DESTROYED:
        OK(pend(2, NOW));
        OK(confirm(2, NOW, &answer));
        break;
    case KL_TMK_EXPIRED:
        OK(kl_life_expire(store, NOW + LIFETIME, &n, &err));
        ck_assert_uint_eq(n, 1);
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
    };
    int kind = _i % LOADED_KINDS, row = _i / LOADED_KINDS;
    struct kl_loaded l = loaded(1);
    struct kl_tmk expected = candidate(T, 1);

    bring_into(rows[row].before);
    if (kind == LOADED_WRONG_MAC)
        l.mac[KL_MAC_LEN - 1] ^= 1;
    if (kind == LOADED_WRONG_KCV)
        l.kcv[0] ^= 1;
    if (kind == LOADED_SHORT_KCV)
        l.kcv_len = 4; /* the same three bytes and one more */
    for (int again = 0; again < 2; again++) {
        struct kl_answer answer = {.changed = -1};
        size_t records = audit_count();
        enum kl_rc rc = kl_life_confirm(store, T, 1, &l, NOW + 1, &answer, &err);

        if (kind != LOADED_RIGHT) {
            ck_assert_int_eq(rc, KL_ERR_VERIFY);
            ck_assert_ptr_nonnull(strstr(err.text, kind == LOADED_WRONG_MAC ? "MAC" : "KCV"));
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
        reopen(); /* the answer must outlive a restart */
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
    OK(kl_life_arm(store, T, NOW + 100, 100, NOW, &err));
    for (uint32_t v = 2; v <= 100; v++) /* more than one batch of candidates */
        OK(pend(v, NOW));
    OK(confirm(50, NOW + 5, &answer));
    ck_assert_int_eq(stored(1).state, KL_TMK_SUPERSEDED);
    ck_assert_int_eq(stored(1).activated, NOW);
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
    OK(kl_life_block(store, T, 1, NOW, &err));
    OK(confirm(1, NOW, &answer));
    ck_assert_int_eq(answer.verdict, KL_VERDICT_DROP);
    ck_assert_int_eq(stored(1).state, KL_TMK_DESTROYED);
    OK(kl_life_block(store, T, 0, NOW, &err));
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
    OK(kl_life_block(store, T, 1, NOW, &err));
    OK(confirm(1, NOW + 10 * LIFETIME, &answer));
    ck_assert_int_eq(answer.verdict, KL_VERDICT_ACTIVE);
}
END_TEST

START_TEST(expiry)
{
    size_t n = 99, records;

    register_terminal(T, "");
    for (uint32_t v = 1; v <= 300; v++) {
        OK(kl_life_arm(store, T, NOW + 100, 1, NOW, &err));
        OK(pend(v, v == 300 ? NOW + 1 : NOW));
    }
    OK(kl_life_expire(store, NOW + LIFETIME - 1, &n, &err));
    ck_assert_uint_eq(n, 0);
    records = audit_count();
    OK(kl_life_expire(store, NOW + LIFETIME, &n, &err));
    ck_assert_uint_eq(n, 256);
    ck_assert_uint_eq(audit_count(), records + 256);
    OK(kl_life_expire(store, NOW + LIFETIME, &n, &err));
    ck_assert_uint_eq(n, 43);
    ck_assert_int_eq(stored(300).state, KL_TMK_PENDING);
    ck_assert_int_eq(stored(1).state, KL_TMK_EXPIRED);
    ck_assert_uint_eq(stored(1).cryptogram_len, 0);
    ck_assert_str_eq(last_audit().event, "tmk-expired");
}
END_TEST

/* ---- Operators ---- */

START_TEST(registration)
{
    static const char *const bad[] = {"", "a b", "a\"b", "caf\xc3\xa9"};
    struct kl_terminal t = {.alg = KL_ALG_AES128, .blocked = 1, .armed_until = NOW + 5};

    for (size_t i = 0; i < 4; i++) {
        snprintf(t.serial, sizeof(t.serial), "%s", bad[i]);
        FAILS(kl_life_register(store, &t, NOW, &err), KL_ERR_INPUT);
    }
    snprintf(t.serial, sizeof(t.serial), T);
    snprintf(t.pinpad_serial, sizeof(t.pinpad_serial), "a b");
    FAILS(kl_life_register(store, &t, NOW, &err), KL_ERR_INPUT);
    t.pinpad_serial[0] = '\0';
    t.alg = 9;
    FAILS(kl_life_register(store, &t, NOW, &err), KL_ERR_INPUT);
    t.alg = KL_ALG_AES128;
    OK(kl_life_register(store, &t, NOW, &err));
    ck_assert_int_eq(terminal().blocked, 0); /* nobody is born armed or blocked */
    ck_assert_int_eq(terminal().armed_until, 0);
    ck_assert_int_eq(terminal().created, NOW);
    FAILS(kl_life_register(store, &t, NOW, &err), KL_ERR_EXISTS);
}
END_TEST

START_TEST(every_change_is_recorded)
{
    size_t n = audit_count();

    register_terminal(T, PAD);
    ck_assert_str_eq(last_audit().event, "terminal-registered");
    ck_assert_str_eq(last_audit().detail, "alg=tdes2 pinpad=PAD-1");
    OK(kl_life_arm(store, T, NOW + 60, 2, NOW, &err));
    ck_assert_str_eq(last_audit().event, "terminal-armed");
    ck_assert_str_eq(last_audit().detail, "until=2023-11-14T22:14:20Z attempts=2");
    OK(pend(1, NOW));
    ck_assert_str_eq(last_audit().detail, "version=1 alg=tdes2 kcv=010101 why=load");
    OK(kl_life_block(store, T, 1, NOW, &err));
    ck_assert_str_eq(last_audit().event, "terminal-blocked");
    OK(kl_life_block(store, T, 1, NOW, &err)); /* changes nothing, records nothing */
    OK(kl_life_block(store, T, 0, NOW, &err));
    ck_assert_str_eq(last_audit().event, "terminal-unblocked");
    OK(kl_life_alarm(store, T, KL_ERR_UNARMED, "x=\"1\"\nforged", NOW, &err));
    ck_assert_str_eq(last_audit().event, "alarm");
    ck_assert_str_eq(last_audit().detail, "reason=unarmed detail=\"x=\\\"1\\\"\\nforged\"");
    ck_assert_str_eq(last_audit().serial, T);
    ck_assert_uint_eq(audit_count(), n + 6);
    FAILS(kl_life_block(store, "T-2", 1, NOW, &err), KL_ERR_UNKNOWN_TERMINAL);
}
END_TEST

/* ---- A long run against a model ---- */

#define TERMINALS 5
#define OPERATIONS 20000
#define VERSIONS 4000 /* most that one terminal can reach here */

struct model {
    char serial[16];
    int blocked, was_dropped[VERSIONS];
    int64_t armed_until;
    uint32_t attempts, last;
    uint8_t state[VERSIONS];
    int64_t expires[VERSIONS];
};
static struct model models[TERMINALS];

static void model_expire(struct model *m, int64_t now)
{
    for (uint32_t v = 1; v <= m->last; v++)
        if (m->state[v] == KL_TMK_PENDING && m->expires[v] <= now)
            m->state[v] = KL_TMK_EXPIRED;
}

static void model_pend(struct model *m, int64_t now)
{
    struct kl_tmk tmk = candidate(m->serial, m->last + 1);
    int may = !m->blocked && m->armed_until >= now && m->attempts > 0;
    enum kl_rc rc = kl_life_pend(store, &policy, &tmk, PAD, now, &err);

    ck_assert_int_eq(rc == KL_OK, may);
    if (!may)
        return;
    m->last++;
    m->attempts--;
    m->state[m->last] = KL_TMK_PENDING;
    m->expires[m->last] = now + LIFETIME;
}

static void model_confirm(struct model *m, int64_t now)
{
    uint32_t version = m->last ? 1 + (uint32_t)random() % m->last : 0;
    struct kl_loaded l = loaded(version);
    struct kl_answer answer;
    int was_pending;

    if (!version)
        return;
    if (random() % 8 == 0) {
        l.mac[random() % KL_MAC_LEN] ^= (uint8_t)(1 + random() % 255);
        FAILS(kl_life_confirm(store, m->serial, version, &l, now, &answer, &err), KL_ERR_VERIFY);
        return;
    }
    OK(kl_life_confirm(store, m->serial, version, &l, now, &answer, &err));
    was_pending = m->state[version] == KL_TMK_PENDING;
    if (was_pending && m->blocked) {
        m->state[version] = KL_TMK_DESTROYED;
    } else if (was_pending && m->expires[version] <= now) {
        m->state[version] = KL_TMK_EXPIRED;
    } else if (was_pending) {
        for (uint32_t v = 1; v <= m->last; v++) {
            if (m->state[v] == KL_TMK_ACTIVE)
                m->state[v] = KL_TMK_SUPERSEDED;
            if (m->state[v] == KL_TMK_PENDING)
                m->state[v] = KL_TMK_DESTROYED;
        }
        m->state[version] = KL_TMK_ACTIVE;
        m->armed_until = 0;
        m->attempts = 0;
    }
    ck_assert_int_eq(answer.verdict,
                     m->state[version] == KL_TMK_ACTIVE ? KL_VERDICT_ACTIVE : KL_VERDICT_DROP);
    if (answer.verdict == KL_VERDICT_DROP)
        m->was_dropped[version] = 1;
    ck_assert(!(answer.verdict == KL_VERDICT_ACTIVE && m->was_dropped[version]));
}

struct seen {
    struct model *model;
    uint32_t count, active;
};

static enum kl_rc compare(const struct kl_tmk *tmk, void *arg, struct kl_err *e)
{
    struct seen *seen = arg;
    int gone = tmk->state == KL_TMK_DESTROYED || tmk->state == KL_TMK_EXPIRED;

    (void)e;
    ck_assert_uint_eq(tmk->version, ++seen->count); /* 1, 2, ... none left out, none twice */
    ck_assert_int_eq(tmk->state, seen->model->state[tmk->version]);
    ck_assert_uint_eq(tmk->cryptogram_len, gone ? 0 : 24);
    seen->active += tmk->state == KL_TMK_ACTIVE;
    return KL_OK;
}

static void check_models(void)
{
    for (int i = 0; i < TERMINALS; i++) {
        struct seen seen = {&models[i], 0, 0};

        OK(kl_store_tmk_each(store, models[i].serial, 0, compare, &seen, &err));
        ck_assert_uint_eq(seen.count, models[i].last);
        ck_assert_uint_le(seen.active, 1);
    }
}

static void model_step(struct model *m, int64_t now)
{
    size_t n;

    switch (random() % 12) {
    case 0:
        m->blocked = random() % 3 == 0;
        OK(kl_life_block(store, m->serial, m->blocked, now, &err));
        if (m->blocked)
            m->armed_until = m->attempts = 0;
        break;
    case 1:
    case 2:
    case 3:
        if (m->blocked) {
            FAILS(kl_life_arm(store, m->serial, now + 50, 1, now, &err), KL_ERR_BLOCKED);
            break;
        }
        m->attempts = 1 + (uint32_t)random() % 4;
        m->armed_until = now + 1 + random() % 200;
        OK(kl_life_arm(store, m->serial, m->armed_until, m->attempts, now, &err));
        break;
    case 4:
        OK(kl_life_expire(store, now, &n, &err));
        for (int i = 0; i < TERMINALS; i++)
            model_expire(&models[i], now);
        break;
    case 5:
    case 6:
    case 7:
        model_confirm(m, now);
        break;
    default:
        model_pend(m, now);
    }
}

START_TEST(random_life)
{
    int64_t now = NOW;

    srandom(20240229);
    for (int i = 0; i < TERMINALS; i++) {
        snprintf(models[i].serial, sizeof(models[i].serial), "T%d", i);
        register_terminal(models[i].serial, "");
    }
    for (int op = 0; op < OPERATIONS; op++) {
        struct model *m = &models[random() % TERMINALS], before = *m;

        now += random() % 20;
        OK(kl_store_savepoint(store, &err));
        if (random() % 10 == 0 && m->last + 1 < VERSIONS) {
            /* A unit of a group that fails afterwards: as if it had never been. */
            model_pend(m, now);
            OK(kl_store_undo(store, &err));
            *m = before;
            continue;
        }
        model_step(m, now);
        OK(kl_store_release(store, &err));
        if (op % 500 == 0) {
            reopen();
            check_models();
        }
    }
    check_models();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("life");
    TCase *rules = tcase_create("rules"), *run = tcase_create("random");

    tcase_add_checked_fixture(rules, setup, teardown);
    tcase_add_test(rules, admission);
    tcase_add_test(rules, arming_bounds);
    tcase_add_test(rules, pending);
    tcase_add_test(rules, pend_refusals);
    tcase_add_test(rules, versions_run_out);
    tcase_add_loop_test(rules, confirm_table, 0, 5 * LOADED_KINDS);
    tcase_add_test(rules, confirm_unknown);
    tcase_add_test(rules, activation);
    tcase_add_test(rules, dropped_for_ever);
    tcase_add_test(rules, last_second);
    tcase_add_test(rules, active_though_blocked);
    tcase_add_test(rules, expiry);
    tcase_add_test(rules, registration);
    tcase_add_test(rules, every_change_is_recorded);
    suite_add_tcase(suite, rules);
    tcase_add_checked_fixture(run, setup, teardown);
    tcase_set_timeout(run, 120);
    tcase_add_test(run, random_life);
    suite_add_tcase(suite, run);
    return test_run(suite);
}
