/* SPDX-License-Identifier: BSD-2-Clause */
/* What a restored store forgets, and what it must not do again. */
#include "daemon/life/life_restore.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/life.h"
#include "tests/support/suite.h"

#define LATER (KL_RESTORE_EPOCH + 20000000) /* by which time counts for 10,000,000 versions */

static struct kl_restored restored;

static enum kl_rc restore_at(int64_t now)
{
    const struct kl_restore_past past = {NULL, "store.db.before"};

    return kl_life_restored(life.store, &past, now, &restored, &life.err);
}

static void arm(const char *serial)
{
    OK(kl_life_arm(life.store, serial, NOW + 100, 5, NOW, &life.err));
}

static void pend(const char *serial, uint32_t version)
{
    struct kl_tmk tmk = life_candidate(serial, version);
    struct kl_claim claim = life_claim(serial, PAD);

    OK(kl_life_pend(life.store, &life_policy, &claim, &tmk, NOW, &life.err));
}

static struct kl_answer confirm(const char *serial, uint32_t version)
{
    struct kl_loaded loaded = life_loaded(version);
    struct kl_answer answer;

    OK(kl_life_confirm(life.store, serial, version, &loaded, NOW, &answer, &life.err));
    return answer;
}

static uint32_t next_version(const char *serial)
{
    struct kl_claim claim = life_claim(serial, PAD);
    struct kl_admission admission;

    OK(kl_life_arm(life.store, serial, LATER + 100, 5, LATER, &life.err));
    OK(kl_life_admit(life.store, &claim, LATER, &admission, &life.err));
    return admission.version;
}

static void sign_in(const char *serial, uint32_t version)
{
    struct kl_tmk tmk = life_candidate(serial, version);
    struct kl_working working = {.tmk_version = version,
                                 .pik = kl_tmk_key(&tmk),
                                 .mak = kl_tmk_key(&tmk)};

    snprintf(working.serial, sizeof(working.serial), "%s", serial);
    OK(kl_life_signed_in(life.store, &working, NOW, &life.err));
}

/* ---- What it forgets ---- */

START_TEST(no_window_and_no_candidate)
{
    struct kl_claim claim = life_claim(T, PAD);
    struct kl_admission admission;
    struct kl_working working;

    life_register(T, "");
    arm(T);
    pend(T, 1);
    confirm(T, 1);
    sign_in(T, 1);
    arm(T);
    pend(T, 2);
    OK(restore_at(LATER));
    ck_assert_uint_eq(restored.terminals, 1);
    ck_assert_uint_eq(restored.disarmed, 1);
    ck_assert_uint_eq(restored.candidates, 1);
    ck_assert_uint_eq(restored.working, 1);
    FAILS(kl_life_admit(life.store, &claim, NOW, &admission, &life.err), KL_ERR_UNARMED);
    FAILS(kl_store_working_get(life.store, T, &working, &life.err), KL_ERR_NOT_FOUND);
    ck_assert_int_eq(confirm(T, 2).verdict, KL_VERDICT_DROP); /* an authentic word */
    ck_assert_int_eq(confirm(T, 1).verdict, KL_VERDICT_ACTIVE);
}
END_TEST

/* ---- Versions ---- */

static enum kl_rc last_detail(const struct kl_audit *record, void *arg, struct kl_err *err)
{
    (void)err;
    if (strcmp(record->event, "store-restored") == 0) {
        snprintf(arg, KL_AUDIT_DETAIL_MAX + 1, "%s", record->detail);
    }
    return KL_OK;
}

START_TEST(versions_go_on_above)
{
    char detail[KL_AUDIT_DETAIL_MAX + 1] = "";

    life_register(T, "");
    life_register("T-2", "");
    arm(T);
    pend(T, 1);
    confirm(T, 1);
    OK(restore_at(NOW + 5)); /* before the epoch: time counts for nothing */
    ck_assert_uint_eq(restored.floor, 1 + KL_RESTORE_LEAP);
    OK(restore_at(LATER));
    ck_assert_uint_eq(restored.floor, 10000000);
    ck_assert_uint_eq(next_version(T), 10000001);
    ck_assert_uint_eq(next_version("T-2"), 10000001);
    life_register("T-3", ""); /* of whom the backup knew nothing */
    ck_assert_uint_eq(next_version("T-3"), 10000001);
    OK(restore_at(LATER)); /* at once again */
    ck_assert_uint_eq(restored.floor, 10000000 + KL_RESTORE_LEAP);
    OK(restore_at(NOW)); /* by a clock that was set back */
    ck_assert_uint_eq(restored.floor, 10000000 + 2 * KL_RESTORE_LEAP);
    OK(kl_store_audit_each(life.store, 0, last_detail, detail, &life.err));
    ck_assert_ptr_nonnull(strstr(detail, "floor=12000000"));
    ck_assert_ptr_nonnull(strstr(detail, "replaced=unreadable"));
    ck_assert_ptr_nonnull(strstr(detail, "kept=store.db.before"));
}
END_TEST

START_TEST(no_more_versions)
{
    life_register(T, "");
    OK(kl_store_terminal_floor(life.store, T, KL_VERSION_MAX - 10, &life.err));
    FAILS(restore_at(LATER), KL_ERR_REFUSED);
    OK(kl_store_meta_put(life.store, KL_META_FLOOR, "twelve", &life.err));
    FAILS(restore_at(LATER), KL_ERR_STORE);
}
END_TEST

/* ---- What is known afterwards ---- */

static enum kl_rc tell(const struct kl_terminal *terminal, enum kl_since_restore since, void *arg,
                       struct kl_err *err)
{
    size_t len = strlen(arg);

    (void)err;
    snprintf((char *)arg + len, 200 - len, "%s:%s ", terminal->serial,
             kl_since_restore_name(since));
    return KL_OK;
}

START_TEST(how_terminals_are_doing)
{
    static const char *const serials[] = {"ALARM", "BEHIND", "LOADED", "NONE", "QUIET", "SIGNED"};
    char path[96], told[200] = "";
    struct kl_store *replaced = NULL;
    struct kl_restore_past past = {NULL, "kept"};
    uint32_t version;

    FAILS(kl_life_since_restore(life.store, tell, told, &life.err), KL_ERR_NOT_FOUND);
    for (size_t i = 0; i < 6; i++) {
        life_register(serials[i], "");
        if (strcmp(serials[i], "NONE") != 0) {
            arm(serials[i]);
            pend(serials[i], 1);
            confirm(serials[i], 1);
        }
    }
    life_reopen();
    snprintf(path, sizeof(path), "%s/other.db", life.dir);
    OK(kl_store_copy(life.store, path, &life.err));
    OK(kl_store_open(path, KL_STORE_WRITE, &replaced, &life.err));
    OK(kl_store_begin(replaced, &life.err));
    {
        struct kl_tmk tmk = life_candidate("BEHIND", 2);
        struct kl_claim claim = life_claim("BEHIND", PAD);
        struct kl_loaded loaded = life_loaded(2);
        struct kl_answer answer;

        OK(kl_life_arm(replaced, "BEHIND", NOW + 100, 5, NOW, &life.err));
        OK(kl_life_pend(replaced, &life_policy, &claim, &tmk, NOW, &life.err));
        OK(kl_life_confirm(replaced, "BEHIND", 2, &loaded, NOW, &answer, &life.err));
    }
    OK(kl_store_commit(replaced, &life.err));
    past.replaced = replaced;
    OK(kl_life_restored(life.store, &past, LATER, &restored, &life.err));
    kl_store_free(replaced);
    ck_assert_uint_eq(restored.behind, 1);
    OK(kl_life_alarm(life.store, "ALARM", KL_ERR_NOT_FOUND, "no TMK of version 2", NOW, &life.err));
    version = next_version("LOADED");
    pend("LOADED", version);
    confirm("LOADED", version);
    sign_in("SIGNED", 1);
    OK(kl_life_since_restore(life.store, tell, told, &life.err));
    ck_assert_str_eq(told, "ALARM:behind BEHIND:behind LOADED:loaded NONE:no-tmk QUIET:unheard "
                           "SIGNED:signed-in ");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("life after a restore");
    TCase *tcase = tcase_create("restore");

    tcase_add_checked_fixture(tcase, life_setup, life_teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, no_window_and_no_candidate);
    tcase_add_test(tcase, versions_go_on_above);
    tcase_add_test(tcase, no_more_versions);
    tcase_add_test(tcase, how_terminals_are_doing);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
