/* SPDX-License-Identifier: BSD-2-Clause */
/* What peers can make us write: the budget, and which alarms it must never swallow. */
#include "daemon/audit/alarm.h"
#include "daemon/loader/quota.h"
#include "tests/unit/store_fixture.h"

#define NOW 1700000000

static struct kl_alarms alarms;

struct tally {
    const char *event, *serial, *in_detail;
    unsigned count;
};

static enum kl_rc add_up(const struct kl_audit *record, void *arg, struct kl_err *e)
{
    struct tally *tally = arg;

    (void)e;
    tally->count += strcmp(record->event, tally->event) == 0 &&
                    strcmp(record->serial, tally->serial) == 0 &&
                    strstr(record->detail, tally->in_detail) != NULL;
    return KL_OK;
}

static unsigned recorded(const char *event, const char *serial, const char *in_detail)
{
    struct tally tally = {event, serial, in_detail, 0};

    OK(kl_store_audit_each(store, 0, add_up, &tally, &err));
    return tally.count;
}

static void alarm_at(const char *serial, enum kl_rc reason, int64_t now)
{
    OK(kl_alarm_record(&alarms, store, KL_ALARM_LOAD, serial, reason, "x", now, &err));
}

static void begin(void)
{
    setup();
    memset(&alarms, 0, sizeof(alarms));
    OK(kl_store_begin(store, &err));
}

/* ---- Quota ---- */

START_TEST(quota_counts)
{
    struct kl_quota quota = {0};

    ck_assert_uint_eq(kl_quota_roll(&quota, NOW), 0);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(kl_quota_take(&quota, 3), i < 3);
    }
    ck_assert_uint_eq(kl_quota_roll(&quota, NOW + KL_QUOTA_WINDOW - 1), 0); /* the same window */
    ck_assert_int_eq(kl_quota_take(&quota, 3), 0);
    ck_assert_uint_eq(kl_quota_roll(&quota, NOW + KL_QUOTA_WINDOW), 3);
    ck_assert_uint_eq(kl_quota_roll(&quota, NOW + KL_QUOTA_WINDOW), 0); /* told once */
    ck_assert_int_eq(kl_quota_take(&quota, 3), 1);
}
END_TEST

/* A window that began in what is now the future must not last until then. */
START_TEST(quota_clock_set_back)
{
    struct kl_quota quota = {0};

    kl_quota_roll(&quota, NOW);
    ck_assert_int_eq(kl_quota_take(&quota, 1), 1);
    ck_assert_int_eq(kl_quota_take(&quota, 1), 0);
    ck_assert_uint_eq(kl_quota_roll(&quota, NOW - 1), 1);
    ck_assert_int_eq(kl_quota_take(&quota, 1), 1);
    ck_assert_uint_eq(kl_quota_roll(&quota, NOW - 1 + KL_QUOTA_WINDOW), 0);
    ck_assert_uint_eq(quota.used, 0);
}
END_TEST

/* ---- Alarms ---- */

START_TEST(first_of_a_kind_in_a_flood)
{
    for (int i = 0; i < 5000; i++) {
        alarm_at("NOISY", KL_ERR_UNARMED, NOW);
    }
    alarm_at("STOLEN", KL_ERR_UNARMED, NOW);
    alarm_at("NOISY", KL_ERR_VERIFY, NOW); /* another reason is another matter */
    alarm_at("STOLEN", KL_ERR_UNARMED, NOW + 1);
    ck_assert_uint_eq(recorded("alarm", "NOISY", "reason=unarmed"), 1);
    ck_assert_uint_eq(recorded("alarm", "NOISY", "reason=verify"), 1);
    ck_assert_uint_eq(recorded("alarm", "STOLEN", "reason=unarmed"), 1);
    alarm_at("STOLEN", KL_ERR_UNARMED, NOW + KL_QUOTA_WINDOW);
    ck_assert_uint_eq(recorded("alarm", "STOLEN", "reason=unarmed"), 2);
    ck_assert_uint_eq(recorded("alarms-suppressed", "", "count=5000"), 1);
}
END_TEST

START_TEST(unknown_serials_share_a_budget)
{
    char serial[16];
    unsigned total = 0;

    for (int i = 0; i < 1000; i++) {
        snprintf(serial, sizeof(serial), "U%d", i);
        alarm_at(serial, i % 2 ? KL_ERR_UNKNOWN_TERMINAL : KL_ERR_NOT_FOUND, NOW);
        total += recorded("alarm", serial, "");
        ck_assert_uint_eq(total, i < KL_ALARM_MAX_UNKNOWN ? (unsigned)i + 1 : KL_ALARM_MAX_UNKNOWN);
    }
    alarm_at("T1", KL_ERR_BLOCKED, NOW); /* is no part of it */
    ck_assert_uint_eq(recorded("alarm", "T1", "reason=blocked"), 1);
    alarm_at("U0", KL_ERR_UNKNOWN_TERMINAL, NOW + KL_QUOTA_WINDOW);
    ck_assert_uint_eq(recorded("alarm", "U0", ""), 2);
    ck_assert_uint_eq(recorded("alarms-suppressed", "", "count=940"), 1);
}
END_TEST

/* Nothing is left out, nothing is said. */
START_TEST(no_suppressed_record_without_cause)
{
    alarm_at("T1", KL_ERR_BLOCKED, NOW);
    alarm_at("T1", KL_ERR_BLOCKED, NOW + KL_QUOTA_WINDOW);
    ck_assert_uint_eq(recorded("alarm", "T1", ""), 2);
    ck_assert_uint_eq(recorded("alarms-suppressed", "", ""), 0);
}
END_TEST

/* More registered serials than are remembered: counted, not written past the end. */
START_TEST(more_than_remembered)
{
    char serial[16], count[32];
    const int extra = 7;

    for (int i = 0; i < KL_ALARM_MAX_SEEN + extra; i++) {
        snprintf(serial, sizeof(serial), "R%d", i);
        alarm_at(serial, KL_ERR_UNARMED, NOW);
    }
    ck_assert_uint_eq(recorded("alarm", "R1023", ""), 1);
    ck_assert_uint_eq(recorded("alarm", "R1024", ""), 0);
    alarm_at("R1024", KL_ERR_VERIFY, NOW); /* took an armed serial: not hidden by the others */
    ck_assert_uint_eq(recorded("alarm", "R1024", "reason=verify"), 1);
    alarm_at("R1024", KL_ERR_UNARMED, NOW + KL_QUOTA_WINDOW);
    ck_assert_uint_eq(recorded("alarm", "R1024", "reason=unarmed"), 1);
    snprintf(count, sizeof(count), "count=%d", extra);
    ck_assert_uint_eq(recorded("alarms-suppressed", "", count), 1);
}
END_TEST

/* A sign-in takes a serial only: it must not hide what takes an armed one. */
START_TEST(sign_ins_have_their_own)
{
    char serial[16];

    for (int i = 0; i < KL_ALARM_MAX_SEEN + 1; i++) {
        snprintf(serial, sizeof(serial), "R%d", i);
        OK(kl_alarm_record(&alarms, store, KL_ALARM_SIGN_IN, serial, KL_ERR_REFUSED, "sign-in", NOW,
                           &err));
    }
    ck_assert_uint_eq(recorded("alarm", "R0", "sign-in"), 1);
    ck_assert_uint_eq(recorded("alarm", "R1024", "sign-in"), 0);
    alarm_at("R0", KL_ERR_REFUSED, NOW);
    alarm_at("R1024", KL_ERR_REFUSED, NOW);
    ck_assert_uint_eq(recorded("alarm", "R0", "detail=x"), 1);
    ck_assert_uint_eq(recorded("alarm", "R1024", "detail=x"), 1);
    OK(kl_alarm_record(&alarms, store, KL_ALARM_SIGN_IN, "U1", KL_ERR_UNKNOWN_TERMINAL, "x", NOW,
                       &err));
    ck_assert_uint_eq(alarms.unknown.used, 1); /* as those of loads */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("alarm");
    TCase *tcase = tcase_create("alarm");

    tcase_add_checked_fixture(tcase, begin, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, quota_counts);
    tcase_add_test(tcase, quota_clock_set_back);
    tcase_add_test(tcase, first_of_a_kind_in_a_flood);
    tcase_add_test(tcase, unknown_serials_share_a_budget);
    tcase_add_test(tcase, no_suppressed_record_without_cause);
    tcase_add_test(tcase, more_than_remembered);
    tcase_add_test(tcase, sign_ins_have_their_own);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
