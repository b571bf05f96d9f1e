/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules of a TMK's life in a long random run, against a model of them: generated and imported
 * TMKs, superseded ones that are retired, revocation. No two terminals ever share a live key.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/life/life.h"
#include "tests/support/life.h"
#include "tests/support/suite.h"

#define TERMINALS 5
#define OPERATIONS 20000
#define VERSIONS 4000 /* most that one terminal can reach here */
#define IMPORTS 300   /* keys that may be imported, few enough to meet again */
#define GRACE 4000    /* seconds that a superseded TMK is kept */

struct model {
    char serial[16];
    int blocked, accepts, was_dropped[VERSIONS];
    int64_t armed_until;
    uint32_t attempts, last;
    uint32_t waiting; /* number of the imported key; 0 = none */
    uint32_t working; /* version that the working keys are under; 0 = none */
    uint8_t state[VERSIONS];
    uint32_t key[VERSIONS]; /* number of the imported key; 0 = generated */
    int64_t expires[VERSIONS], superseded[VERSIONS];
};
static struct model models[TERMINALS];

static void model_expire(struct model *m, int64_t now)
{
    for (uint32_t v = 1; v <= m->last; v++) {
        if (m->state[v] == KL_TMK_PENDING && m->expires[v] <= now) {
            m->state[v] = KL_TMK_EXPIRED;
        }
    }
}

static void model_retire(struct model *m, int64_t now)
{
    for (uint32_t v = 1; v <= m->last; v++) {
        if (m->state[v] == KL_TMK_SUPERSEDED && m->superseded[v] + GRACE <= now) {
            m->state[v] = KL_TMK_DESTROYED;
        }
    }
}

static void model_destroy(struct model *m)
{
    for (uint32_t v = 1; v <= m->last; v++) {
        if (m->state[v] == KL_TMK_PENDING) {
            m->state[v] = KL_TMK_DESTROYED;
        }
    }
}

/* Any, but mostly a late one; 0 if there is none. */
static uint32_t some_version(const struct model *m)
{
    uint32_t among = m->last > 4 && random() % 4 ? 4 : m->last;

    return among ? m->last - (uint32_t)random() % among : 0;
}

static void model_drop_import(struct model *m)
{
    for (uint32_t v = 1; v <= m->last; v++) {
        if (m->state[v] == KL_TMK_PENDING && m->key[v]) {
            m->state[v] = KL_TMK_DESTROYED;
        }
    }
    m->waiting = 0;
}

static int is_live(uint8_t state)
{
    return state >= KL_TMK_PENDING && state <= KL_TMK_SUPERSEDED;
}

/* In which state the terminal has the imported key live; 0 = not. */
static uint8_t model_has(const struct model *m, uint32_t key)
{
    for (uint32_t v = 1; v <= m->last; v++) {
        if (m->key[v] == key && is_live(m->state[v])) {
            return m->state[v];
        }
    }
    return 0;
}

/* Whether the imported key was ever sent to the terminal. */
static int model_had(const struct model *m, uint32_t key)
{
    for (uint32_t v = 1; v <= m->last; v++) {
        if (m->key[v] == key) {
            return 1;
        }
    }
    return 0;
}

/* Whether it was in use and is destroyed, or is revoked. */
static int model_past(const struct model *m, uint32_t key)
{
    for (uint32_t v = 1; v <= m->last; v++) {
        if (m->key[v] == key && (m->state[v] == KL_TMK_REVOKED ||
                                 (m->state[v] == KL_TMK_DESTROYED && m->superseded[v]))) {
            return 1;
        }
    }
    return 0;
}

static enum kl_rc model_may_import(struct model *m, uint32_t key, int replace)
{
    for (int i = 0; i < TERMINALS; i++) {
        if (&models[i] != m && (models[i].waiting == key || model_had(&models[i], key))) {
            return KL_ERR_REFUSED;
        }
    }
    if (m->waiting == key) {
        return KL_OK;
    }
    if (m->waiting && !replace) {
        return KL_ERR_EXISTS;
    }
    return model_has(m, key) == KL_TMK_SUPERSEDED || (!model_has(m, key) && model_past(m, key))
               ? KL_ERR_REFUSED
               : KL_OK;
}

static void model_import(struct model *m, int64_t now)
{
    uint32_t key = 1 + (uint32_t)random() % IMPORTS;
    struct kl_import import = life_import(m->serial, key);
    int replace = random() % 2 == 0;
    enum kl_rc want = model_may_import(m, key, replace);

    ck_assert_int_eq(kl_life_import(life.store, &import, replace, now, &life.err), want);
    if (want != KL_OK || m->waiting == key) {
        return;
    }
    if (m->waiting) {
        model_drop_import(m);
    }
    m->waiting = model_has(m, key) ? 0 : key;
}

static void model_cancel(struct model *m, int64_t now)
{
    ck_assert_int_eq(kl_life_import_cancel(life.store, m->serial, now, &life.err),
                     m->waiting ? KL_OK : KL_ERR_NOT_FOUND);
    if (m->waiting) {
        model_drop_import(m);
    }
}

static void model_accept(struct model *m, int64_t now)
{
    uint32_t waiting = m->waiting;
    int accept = random() % 3 != 0;

    OK(kl_life_accept_imported(life.store, m->serial, accept, now, &life.err));
    if (m->accepts && !accept) {
        model_drop_import(m);
        m->waiting = waiting;
    }
    m->accepts = accept;
}

static void model_revoke(struct model *m, int64_t now)
{
    uint32_t version = random() % 4 ? some_version(m) : 0;
    enum kl_rc want = version && !is_live(m->state[version]) ? KL_ERR_REFUSED : KL_OK;
    int any = m->waiting != 0;

    for (uint32_t v = 1; v <= m->last; v++) {
        any |= is_live(m->state[v]);
    }
    if (version == 0 && !any) {
        want = KL_ERR_NOT_FOUND;
    }
    ck_assert_int_eq(kl_life_revoke(life.store, m->serial, version, "why", now, &life.err), want);
    if (want != KL_OK) {
        return;
    }
    for (uint32_t v = 1; v <= m->last; v++) {
        if ((version == 0 || v == version) && is_live(m->state[v])) {
            m->state[v] = KL_TMK_REVOKED;
            m->working = m->working == v ? 0 : m->working;
        }
    }
    if (version == 0 || (m->waiting && m->waiting == m->key[version])) {
        m->waiting = 0;
    }
    model_destroy(m);
    m->armed_until = m->attempts = 0;
}

static void model_sign_in(struct model *m, int64_t now)
{
    struct kl_stored_key key = life_import(m->serial, 5000).key;
    struct kl_working working = {.pik = key, .mak = key};
    int may;

    if (!m->last) {
        return;
    }
    snprintf(working.serial, sizeof(working.serial), "%s", m->serial);
    working.tmk_version = some_version(m);
    may = !m->blocked && m->state[working.tmk_version] == KL_TMK_ACTIVE;
    ck_assert_int_eq(kl_life_signed_in(life.store, &working, now, &life.err) == KL_OK, may);
    if (may) {
        m->working = working.tmk_version;
    }
}

static void model_spend(struct model *m, int64_t now)
{
    OK(kl_life_spend(life.store, m->serial, now, &life.err));
    m->attempts -= m->attempts > 0;
}

static void model_pend(struct model *m, int64_t now)
{
    struct kl_claim claim = life_claim(m->serial, PAD);
    uint32_t sent = random() % 8 ? m->waiting : 1 + (uint32_t)random() % IMPORTS;
    struct kl_tmk tmk =
        sent ? life_imported(m->serial, m->last + 1, sent) : life_candidate(m->serial, m->last + 1);
    int may = !m->blocked && m->armed_until >= now && m->attempts > 0 && sent == m->waiting;
    enum kl_rc rc;

    claim.authenticated = random() % 2 == 0;
    may = may && (!m->waiting || claim.authenticated || m->accepts);
    rc = kl_life_pend(life.store, &life_policy, &claim, &tmk, now, &life.err);
    ck_assert_int_eq(rc == KL_OK, may);
    if (!may) {
        return;
    }
    m->last++;
    m->attempts--;
    m->state[m->last] = KL_TMK_PENDING;
    m->key[m->last] = sent;
    m->expires[m->last] = now + LIFETIME;
}

static void model_confirm(struct model *m, int64_t now)
{
    uint32_t version = some_version(m);
    struct kl_answer answer;
    struct kl_loaded l;
    struct kl_tmk tmk;
    int was_pending;

    if (!version) {
        return;
    }
    OK(kl_store_tmk_get(life.store, m->serial, version, &tmk, &life.err));
    l = life_loaded_of(&tmk);
    if (random() % 8 == 0) {
        l.mac[random() % KL_MAC_LEN] ^= (uint8_t)(1 + random() % 255);
        FAILS(kl_life_confirm(life.store, m->serial, version, &l, now, &answer, &life.err),
              KL_ERR_VERIFY);
        return;
    }
    OK(kl_life_confirm(life.store, m->serial, version, &l, now, &answer, &life.err));
    was_pending = m->state[version] == KL_TMK_PENDING;
    if (was_pending && m->blocked) {
        m->state[version] = KL_TMK_DESTROYED;
    } else if (was_pending && m->expires[version] <= now) {
        m->state[version] = KL_TMK_EXPIRED;
    } else if (was_pending) {
        for (uint32_t v = 1; v <= m->last; v++) {
            if (m->state[v] == KL_TMK_ACTIVE) {
                m->state[v] = KL_TMK_SUPERSEDED;
                m->superseded[v] = now;
            }
            if (m->state[v] == KL_TMK_PENDING) {
                m->state[v] = KL_TMK_DESTROYED;
            }
        }
        m->state[version] = KL_TMK_ACTIVE;
        m->armed_until = 0;
        m->attempts = 0;
        m->working = 0;
        m->waiting = m->key[version] ? 0 : m->waiting;
    }
    ck_assert_int_eq(answer.verdict,
                     m->state[version] == KL_TMK_ACTIVE ? KL_VERDICT_ACTIVE : KL_VERDICT_DROP);
    if (answer.verdict == KL_VERDICT_DROP) {
        m->was_dropped[version] = 1;
    }
    ck_assert(!(answer.verdict == KL_VERDICT_ACTIVE && m->was_dropped[version]));
}

/* How often the run met what it is meant to meet: [imported][state]. */
static unsigned met[2][KL_TMK_REVOKED + 1], met_waiting, met_working;

struct seen {
    struct model *model;
    uint32_t count, active;
};

static enum kl_rc compare(const struct kl_tmk *tmk, void *arg, struct kl_err *e)
{
    struct seen *seen = arg;
    int gone = !is_live((uint8_t)tmk->state);

    (void)e;
    ck_assert_int_eq(tmk->imported, seen->model->key[tmk->version] != 0);
    ck_assert_uint_eq(tmk->version, ++seen->count); /* 1, 2, ... none left out, none twice */
    ck_assert_int_eq(tmk->state, seen->model->state[tmk->version]);
    ck_assert_uint_eq(tmk->cryptogram_len, gone ? 0 : 24);
    seen->active += tmk->state == KL_TMK_ACTIVE;
    met[tmk->imported][tmk->state]++;
    return KL_OK;
}

static void check_keys(const struct model *m)
{
    struct kl_import want = life_import(m->serial, m->waiting), import;
    struct kl_working working;
    enum kl_rc waits = kl_store_import_get(life.store, m->serial, &import, &life.err);
    enum kl_rc has = kl_store_working_get(life.store, m->serial, &working, &life.err);

    ck_assert_int_eq(waits, m->waiting ? KL_OK : KL_ERR_NOT_FOUND);
    ck_assert(!m->waiting || memcmp(import.key.cryptogram, want.key.cryptogram, 24) == 0);
    ck_assert_int_eq(has, m->working ? KL_OK : KL_ERR_NOT_FOUND);
    met_waiting += m->waiting != 0;
    met_working += m->working != 0;
    ck_assert(!m->working || working.tmk_version == m->working);
    ck_assert(!m->working || m->state[m->working] == KL_TMK_ACTIVE);
    for (uint32_t v = 1; v <= m->last; v++) { /* what is pending of an import still waits */
        ck_assert(m->state[v] != KL_TMK_PENDING || !m->key[v] || m->key[v] == m->waiting);
    }
}

static enum kl_rc no_share(enum kl_share share, const struct kl_holder *one,
                           const struct kl_holder *other, void *arg, struct kl_err *e)
{
    (void)arg;
    (void)e;
    /* Candidates of this test have KCVs that follow from their version. */
    ck_assert_msg(share == KL_SHARE_KCV, "%s and %s share", one->serial, other->serial);
    return KL_OK;
}

static void check_models(void)
{
    OK(kl_store_share_each(life.store, no_share, NULL, &life.err));
    for (int i = 0; i < TERMINALS; i++) {
        struct seen seen = {&models[i], 0, 0};

        check_keys(&models[i]);
        OK(kl_store_tmk_each(life.store, models[i].serial, 0, compare, &seen, &life.err));
        ck_assert_uint_eq(seen.count, models[i].last);
        ck_assert_uint_le(seen.active, 1);
    }
}

static void model_step(struct model *m, int64_t now)
{
    size_t n;

    switch (random() % 22) {
    case 15:
        model_import(m, now);
        break;
    case 16:
        model_cancel(m, now);
        break;
    case 17:
        model_accept(m, now);
        break;
    case 18:
        if (random() % 4 == 0) {
            model_revoke(m, now);
        }
        break;
    case 19:
    case 20:
        model_sign_in(m, now);
        break;
    case 21:
        OK(kl_life_retire(life.store, GRACE, now, &n, &life.err));
        for (int i = 0; i < TERMINALS; i++) {
            model_retire(&models[i], now);
        }
        break;
    case 12:
        OK(kl_life_disarm(life.store, m->serial, now, &life.err));
        model_destroy(m);
        m->armed_until = m->attempts = 0;
        break;
    case 13:
        model_spend(m, now);
        break;
    case 0:
        m->blocked = random() % 3 == 0;
        OK(kl_life_block(life.store, m->serial, m->blocked, now, &life.err));
        if (m->blocked) {
            m->armed_until = m->attempts = 0;
        }
        break;
    case 1:
    case 2:
    case 3:
        if (m->blocked) {
            FAILS(kl_life_arm(life.store, m->serial, now + 50, 1, now, &life.err), KL_ERR_BLOCKED);
            break;
        }
        m->attempts = 1 + (uint32_t)random() % 4;
        m->armed_until = now + 1 + random() % 200;
        OK(kl_life_arm(life.store, m->serial, m->armed_until, m->attempts, now, &life.err));
        model_destroy(m);
        break;
    case 4:
        OK(kl_life_expire(life.store, now, &n, &life.err));
        for (int i = 0; i < TERMINALS; i++) {
            model_expire(&models[i], now);
        }
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
        life_register(models[i].serial, "");
    }
    for (int op = 0; op < OPERATIONS; op++) {
        struct model *m = &models[random() % TERMINALS], before = *m;

        now += random() % 20;
        OK(kl_store_savepoint(life.store, &life.err));
        if (random() % 10 == 0 && m->last + 1 < VERSIONS) {
            /* A unit of a group that fails afterwards: as if it had never been. */
            model_pend(m, now);
            OK(kl_store_undo(life.store, &life.err));
            *m = before;
            continue;
        }
        model_step(m, now);
        OK(kl_store_release(life.store, &life.err));
        if (op % 100 == 0) {
            life_reopen();
            check_models();
        }
    }
    check_models();
    ck_assert_uint_gt(met_waiting, 10);
    ck_assert_uint_gt(met_working, 10);
    for (int state = KL_TMK_PENDING; state <= KL_TMK_REVOKED; state++) {
        ck_assert_msg(met[0][state] > 0 && met[1][state] > 0, "state %d: %u and %u", state,
                      met[0][state], met[1][state]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("life-model");
    TCase *run = tcase_create("random");

    tcase_add_checked_fixture(run, life_setup, life_teardown);
    tcase_set_timeout(run, 120);
    tcase_add_test(run, random_life);
    suite_add_tcase(suite, run);
    return test_run(suite);
}
