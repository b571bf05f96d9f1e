/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TMKs that are in use no more: kept for the grace time after another has taken their place, then
 * destroyed; revoked by the operator; and the report that no two terminals have the same one. The
 * store is reached behind the daemon's back where time, or chance, would have to be waited for.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/lab_keys.h"
#include "tests/support/suite.h"

static struct lab lab;

static void found(void)
{
    lab_found(&lab, 2048);
    lab_certify(&lab, "acquire-ec", "hardened-ec", "p-256", "ca");
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void end(void)
{
    lab_end(&lab);
}

static void load(const char *serial)
{
    lab_arm(&lab, serial, 3);
    ck_assert_int_eq(lab_load(&lab, serial, lab.port), 0);
}

static void sql(const char *statement)
{
    ck_assert_int_eq(lab_sql(lab.store, statement), 1);
}

static void state_is(const char *serial, unsigned version, enum kl_tmk_state expected)
{
    const struct kl_tmk row = lab_tmk_row(&lab, serial, version);

    ck_assert_msg(row.state == expected, "%s, version %u: %s, not %s", serial, version,
                  kl_tmk_state_name(row.state), kl_tmk_state_name(expected));
    /* Only the live ones have a cryptogram. */
    ck_assert_int_eq(row.cryptogram_len > 0,
                     expected == KL_TMK_ACTIVE || expected == KL_TMK_SUPERSEDED);
}

/* How many audit records there are of that event whose detail contains a text. */
static int audited(const char *event, const char *serial, const char *detail)
{
    json_t *records = lab_ctl_json(&lab, "audit", "list", NULL), *record;
    size_t i;
    int count = 0;

    json_array_foreach(records, i, record)
    {
        count += strcmp(lab_text(record, "event"), event) == 0 &&
                 strcmp(lab_text(record, "serial"), serial) == 0 &&
                 strstr(lab_text(record, "detail"), detail) != NULL;
    }
    json_decref(records);
    return count;
}

/* Whether a row's cryptogram stands in any file of the store, deleted or not. */
struct search {
    const struct kl_tmk *row;
    int found;
};

static void search_file(const char *path, void *arg)
{
    struct search *search = arg;
    size_t len;
    char *data = file_read(path, &len);

    search->found |=
        memmem(data, len, search->row->cryptogram, search->row->cryptogram_len) != NULL;
    free(data);
}

static int in_files(const struct kl_tmk *row)
{
    struct search search = {row, 0};
    char dir[PATH_MAX];

    file_walk(file_path(dir, lab.run, "store"), search_file, &search);
    return search.found;
}

/* ---- Grace ---- */

START_TEST(grace_ends)
{
    lab_begin(&lab, "grace");
    lab_set(&lab, "store", "superseded-grace", "60s");
    lab_start(&lab);
    lab_terminal(&lab, "T", "aes128");
    load("T");
    state_is("T", 1, KL_TMK_ACTIVE);
    const struct kl_tmk old = lab_tmk_row(&lab, "T", 1);
    load("T");
    state_is("T", 1, KL_TMK_SUPERSEDED);
    lab_stop(&lab);
    ck_assert(in_files(&old));

    /* Half of it. */
    sql("UPDATE tmk SET superseded = superseded - 30 WHERE version = 1");
    lab_start(&lab);
    ck_assert_int_eq(lab_sign_in(&lab, "T", lab.port, "keys", NULL), 0);
    state_is("T", 1, KL_TMK_SUPERSEDED);
    lab_stop(&lab);

    sql("UPDATE tmk SET superseded = superseded - 31 WHERE version = 1");
    lab_start(&lab);
    ck_assert(lab_logged(&lab, "event=tmk-retired", 10));
    state_is("T", 1, KL_TMK_DESTROYED);
    state_is("T", 2, KL_TMK_ACTIVE);
    ck_assert_int_eq(audited("tmk-destroyed", "T", "grace-over"), 1);
    ck_assert_int_eq(lab_sign_in(&lab, "T", lab.port, "keys", NULL), 0);
    lab_settled(&lab, "T", 2);
    lab_stop(&lab);
    ck_assert(!in_files(&old));
    lab_start(&lab); /* and once is enough */
    ck_assert_int_eq(lab_sign_in(&lab, "T", lab.port, "keys", NULL), 0);
    ck_assert_int_eq(audited("tmk-destroyed", "T", "grace-over"), 1);
}
END_TEST

START_TEST(no_grace)
{
    lab_begin(&lab, "no-grace");
    lab_set(&lab, "store", "superseded-grace", "0s");
    lab_start(&lab);
    lab_terminal(&lab, "T", "tdes2");
    for (int i = 0; i < 3; i++) {
        load("T");
    }
    lab_stop(&lab);
    lab_start(&lab);
    ck_assert(lab_logged(&lab, "event=tmk-retired", 10));
    state_is("T", 1, KL_TMK_DESTROYED);
    state_is("T", 2, KL_TMK_DESTROYED);
    state_is("T", 3, KL_TMK_ACTIVE);
    ck_assert_int_eq(audited("tmk-destroyed", "T", "grace-over"), 2);
    lab_settled(&lab, "T", 3);
}
END_TEST

/* ---- Revocation ---- */

START_TEST(revoked)
{
    char reason[200];

    lab_begin(&lab, "revoked");
    lab_start(&lab);
    lab_terminal(&lab, "T", "aes128");
    load("T");
    load("T");
    ck_assert_int_eq(lab_sign_in(&lab, "T", lab.port, "keys", NULL), 0);
    const struct kl_tmk old = lab_tmk_row(&lab, "T", 1), new = lab_tmk_row(&lab, "T", 2);

    char *before = lab_store_dump(&lab);
    memset(reason, 'x', sizeof(reason));
    reason[129] = '\0';
    lab_ctl_ends(&lab, 65, "reason", "tmk", "revoke", "T", "--reason", reason, NULL);
    lab_ctl_ends(&lab, 65, "reason", "tmk", "revoke", "T", "--reason", "", NULL);
    lab_ctl_ends(&lab, 65, "reason", "tmk", "revoke", "T", "--reason", "two\nlines", NULL);
    lab_ctl_ends(&lab, 64, "--reason", "tmk", "revoke", "T", NULL);
    lab_ctl_ends(&lab, 64, "--version", "tmk", "revoke", "T", "--reason", "x", "--version", "0",
                 NULL);
    lab_ctl_ends(&lab, 66, NULL, "tmk", "revoke", "T", "--reason", "x", "--version", "3", NULL);
    lab_ctl_ends(&lab, 66, NULL, "tmk", "revoke", "U", "--reason", "x", NULL);
    char *after = lab_store_dump(&lab);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);

    /* The old one alone: what is in use goes on. */
    free(lab_ctl(&lab, "tmk", "revoke", "T", "--version", "1", "--reason", "seen outside", NULL));
    state_is("T", 1, KL_TMK_REVOKED);
    state_is("T", 2, KL_TMK_ACTIVE);
    ck_assert_int_eq(audited("tmk-revoked", "T", "seen outside"), 1);
    lab_ctl_ends(&lab, 77, "revoked", "tmk", "revoke", "T", "--version", "1", "--reason", "x",
                 NULL);
    lab_pairs_agree(&lab, "T");
    ck_assert_int_eq(lab_sign_in(&lab, "T", lab.port, "keys", NULL), 0);

    /* All: neither sign-in nor, until it is armed again, a load. */
    lab_arm(&lab, "T", 3);
    free(lab_ctl(&lab, "tmk", "revoke", "T", "--reason", "stolen", NULL));
    state_is("T", 2, KL_TMK_REVOKED);
    ck_assert_int_eq(audited("tmk-revoked", "T", "stolen"), 1);
    ck_assert_uint_eq(lab_store_pair(&lab, "T").tmk_version, 0);
    lab_ctl_ends(&lab, 66, NULL, "tmk", "revoke", "T", "--reason", "x", NULL);
    ck_assert_int_eq(lab_sign_in(&lab, "T", lab.port, "keys", NULL), 76);
    ck_assert_int_eq(lab_load(&lab, "T", lab.port), 76);
    load("T");
    state_is("T", 3, KL_TMK_ACTIVE);
    lab_settled(&lab, "T", 3);
    ck_assert_int_eq(lab_sign_in(&lab, "T", lab.port, "keys", NULL), 0);
    lab_stop(&lab);
    ck_assert(!in_files(&old) && !in_files(&new));
}
END_TEST

/* ---- No two have the same ---- */

/* `report unique` ends so, having found so many. */
static void report_says(int status, int shared, int possible)
{
    json_error_t why;
    struct proc proc;
    int ended = lab_ctl_run(&lab, &proc, "--json", "report", "unique", NULL);
    char *out = file_read(proc.out, NULL);
    ck_assert_msg(ended == status, "status %d, not %d: %s", ended, status, out);
    json_t *report = json_loads(out, 0, &why);
    ck_assert_msg(report != NULL, "%s in: %s", why.text, out);
    ck_assert_int_eq(json_integer_value(json_object_get(report, "terminals")), 3);
    ck_assert_int_eq(json_integer_value(json_object_get(report, "shared")), shared);
    ck_assert_int_eq(json_integer_value(json_object_get(report, "possible")), possible);
    json_decref(report);
    free(out);
}

START_TEST(nobody_has_anothers)
{
    static const char *const serials[] = {"A", "B", "C"};

    lab_begin(&lab, "unique");
    lab_start(&lab);
    for (int i = 0; i < 3; i++) {
        lab_terminal(&lab, serials[i], "aes128");
        load(serials[i]);
    }
    load("A");
    report_says(0, 0, 0);
    /* The same KCV of different keys is chance, and no finding that counts. */
    sql("UPDATE tmk SET kcv = (SELECT kcv FROM tmk WHERE serial = 'C') WHERE serial = 'B'");
    report_says(0, 0, 1);
    /* The same key, though it is one that A had before. */
    sql("UPDATE tmk SET cryptogram = (SELECT cryptogram FROM tmk WHERE serial = 'A' AND version = "
        "1) WHERE serial = 'B'");
    report_says(77, 1, 1);
    free(lab_ctl(&lab, "tmk", "revoke", "B", "--reason", "shared", NULL));
    report_says(0, 0, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("old TMKs");
    TCase *tc = tcase_create("old TMKs");

    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_test(tc, grace_ends);
    tcase_add_test(tc, no_grace);
    tcase_add_test(tc, revoked);
    tcase_add_test(tc, nobody_has_anothers);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
