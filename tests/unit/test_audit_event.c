/* SPDX-License-Identifier: BSD-2-Clause */
/* The events of the audit trail: a table in order, and the same in docs/operations.md. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"
#include "daemon/audit/audit_chain.h"
#include "daemon/audit/audit_event.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

#define ROW(name, meaning) {name, meaning},
static const struct event {
    const char *name, *meaning;
} events[] = {KL_AUDIT_EVENTS(ROW)};
#undef ROW

#define COUNT (sizeof(events) / sizeof(events[0]))

START_TEST(in_order)
{
    const struct event *event, *before = NULL;

    for (size_t i = 0; i < COUNT; i++) {
        event = &events[i];
        ck_assert_uint_ge(strlen(event->name), 1);
        ck_assert_uint_le(strlen(event->name), KL_AUDIT_EVENT_MAX);
        ck_assert_msg(strspn(event->name, "abcdefghijklmnopqrstuvwxyz0123456789-") ==
                          strlen(event->name),
                      "%s", event->name);
        ck_assert_msg(strchr(event->meaning, '|') == NULL, "%s", event->meaning);
        ck_assert_msg(!before || strcmp(before->name, event->name) < 0, "%s: out of order",
                      event->name);
        ck_assert_int_eq(kl_audit_event_known(event->name), 1);
        before = event;
    }
    ck_assert_uint_gt(COUNT, 30);
    ck_assert_int_eq(kl_audit_event_known("alar"), 0);
    ck_assert_int_eq(kl_audit_event_known(""), 0);
}
END_TEST

/* Each event's row, "| `name` | meaning |", one after another and no others. */
START_TEST(documented)
{
    struct kl_err err = KL_ERR_INIT;
    char *text = NULL, *at, row[200];
    size_t len;

    ck_assert_int_eq(kl_file_read(vec_in_tree("docs/operations.md"), 1 << 20, &text, &len, &err),
                     KL_OK);
    at = strstr(text, "| event | meaning |\n|---|---|\n");
    ck_assert_ptr_nonnull(at);
    at = strstr(at, "|---|---|\n") + strlen("|---|---|\n");
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(row, sizeof(row), "| `%s` | %s |\n", events[i].name, events[i].meaning);
        ck_assert_msg(strncmp(at, row, strlen(row)) == 0,
                      "docs/operations.md, the table of events: want %s found %.80s", row, at);
        at += strlen(row);
    }
    ck_assert_msg(*at != '|', "an event that there is not: %.40s", at);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit-event");
    TCase *tcase = tcase_create("events");

    tcase_add_test(tcase, in_order);
    tcase_add_test(tcase, documented);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
