/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of a TMK's life in a long random run, against a model of them. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/life.h"
#include "tests/support/life.h"
#include "tests/support/suite.h"

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
    for (uint32_t v = 1; v <= m->last; v++) {
        if (m->state[v] == KL_TMK_PENDING && m->expires[v] <= now) {
            m->state[v] = KL_TMK_EXPIRED;
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

static void model_spend(struct model *m, int64_t now)
{
    OK(kl_life_spend(life.store, m->serial, now, &life.err));
    m->attempts -= m->attempts > 0;
}

static void model_pend(struct model *m, int64_t now)
{
    struct kl_tmk tmk = life_candidate(m->serial, m->last + 1);
    int may = !m->blocked && m->armed_until >= now && m->attempts > 0;
    enum kl_rc rc = kl_life_pend(life.store, &life_policy, &tmk, now, &life.err);

    ck_assert_int_eq(rc == KL_OK, may);
    if (!may) {
        return;
    }
    m->last++;
    m->attempts--;
    m->state[m->last] = KL_TMK_PENDING;
    m->expires[m->last] = now + LIFETIME;
}

static void model_confirm(struct model *m, int64_t now)
{
    uint32_t version = m->last ? 1 + (uint32_t)random() % m->last : 0;
    struct kl_loaded l = life_loaded(version);
    struct kl_answer answer;
    int was_pending;

    if (!version) {
        return;
    }
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
            }
            if (m->state[v] == KL_TMK_PENDING) {
                m->state[v] = KL_TMK_DESTROYED;
            }
        }
        m->state[version] = KL_TMK_ACTIVE;
        m->armed_until = 0;
        m->attempts = 0;
    }
    ck_assert_int_eq(answer.verdict,
                     m->state[version] == KL_TMK_ACTIVE ? KL_VERDICT_ACTIVE : KL_VERDICT_DROP);
    if (answer.verdict == KL_VERDICT_DROP) {
        m->was_dropped[version] = 1;
    }
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

        OK(kl_store_tmk_each(life.store, models[i].serial, 0, compare, &seen, &life.err));
        ck_assert_uint_eq(seen.count, models[i].last);
        ck_assert_uint_le(seen.active, 1);
    }
}

static void model_step(struct model *m, int64_t now)
{
    size_t n;

    switch (random() % 15) {
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
        if (op % 500 == 0) {
            life_reopen();
            check_models();
        }
    }
    check_models();
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
