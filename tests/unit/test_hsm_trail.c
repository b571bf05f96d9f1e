/* SPDX-License-Identifier: BSD-2-Clause */
/* Accepted weaknesses in the audit trail: each once, however often a commit fails. */
#include "daemon/audit/hsm_trail.h"
#include "daemon/store/committer.h"
#include "pkcs11/weakness.h"
#include "tests/unit/store_fixture.h"

/* ---- In the place of the pool, and of the store thread ---- */

static unsigned weak;
static struct kl_unit *waiting;
static unsigned submitted;
static int busy;

void kl_pool_report(const struct kl_pool *pool, struct kl_pool_report *out)
{
    (void)pool;
    memset(out, 0, sizeof(*out));
    out->hsm_count = 2;
    out->hsm[0].name = "hsm";
    out->hsm[1].name = "hsm.second";
    out->hsm[1].weak = weak;
}

enum kl_rc kl_committer_submit(struct kl_committer *committer, struct kl_unit *unit,
                               struct kl_err *e)
{
    (void)committer;
    if (busy) {
        return kl_err_set(e, KL_ERR_BUSY, "enough");
    }
    ck_assert_ptr_null(waiting);
    waiting = unit;
    submitted++;
    return KL_OK;
}

/* The unit comes back, done or undone. */
static void commit(enum kl_rc rc)
{
    struct kl_unit *unit = waiting;

    ck_assert_ptr_nonnull(unit);
    waiting = NULL;
    unit->rc = rc;
    if (rc == KL_OK) {
        OK(kl_store_begin(store, &err));
        OK(unit->run(unit, store, &err));
        OK(kl_store_commit(store, &err));
    } else {
        (void)kl_err_set(&unit->err, rc, "no room");
    }
    unit->done(unit);
}

static enum kl_rc count(const struct kl_audit *record, void *arg, struct kl_err *e)
{
    (void)e;
    *(unsigned *)arg += strcmp(record->event, "hsm-weakness-accepted") == 0 &&
                        strstr(record->detail, "hsm=hsm.second weaknesses=no-usage") != NULL;
    return KL_OK;
}

static unsigned records(void)
{
    unsigned n = 0;

    OK(kl_store_audit_each(store, 0, count, &n, &err));
    return n;
}

START_TEST(recorded_once_it_is_durable)
{
    static const struct kl_service service;
    struct kl_hsm_trail trail = {0};

    kl_hsm_trail_look(&trail, &service);
    ck_assert_uint_eq(submitted, 0);
    weak = KL_WEAK_BIT(KL_WEAK_USAGE);
    busy = 1; /* not even queued */
    kl_hsm_trail_look(&trail, &service);
    busy = 0;
    for (unsigned i = 1; i <= 2; i++) { /* queued once at a time, and lost */
        kl_hsm_trail_look(&trail, &service);
        kl_hsm_trail_look(&trail, &service);
        ck_assert_uint_eq(submitted, i);
        commit(KL_ERR_FULL);
    }
    ck_assert_uint_eq(records(), 0);
    kl_hsm_trail_look(&trail, &service);
    commit(KL_OK);
    ck_assert_uint_eq(records(), 1);
    kl_hsm_trail_look(&trail, &service);
    ck_assert_uint_eq(submitted, 3);
    weak = 0; /* another module, say */
    kl_hsm_trail_look(&trail, &service);
    commit(KL_OK);
    ck_assert_uint_eq(submitted, 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hsm-trail");
    TCase *tcase = tcase_create("hsm-trail");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, recorded_once_it_is_durable);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
