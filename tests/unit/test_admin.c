/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations for people: who may have them run, what they are told, and the life of a request that
 * takes two operators.
 */
#include <jansson.h>

#include "daemon/control/admin.h"
#include "daemon/control/admin_request.h"
#include "daemon/control/params.h"
#include "daemon/control/roles.h"
#include "daemon/life/life.h"
#include "tests/unit/store_fixture.h"

#define NOW 1000000
#define ALICE 7001
#define BOB 7002

/* Runs an operation as the daemon would, for that user; *out may be NULL. */
static enum kl_rc ask_at(uid_t uid, enum kl_role role, int by_socket, int64_t now, const char *op,
                         const char *text, json_t **out)
{
    char actor[32];
    struct kl_admin_ask ask = {.now = now,
                               .uid = uid,
                               .role = role,
                               .by_socket = by_socket,
                               .actor = actor,
                               .dual = {1, 1, 1, 1},
                               .request_lifetime = 3600};
    json_t *params = NULL, *result = NULL;
    enum kl_rc rc;

    snprintf(actor, sizeof(actor), "u(%u)", (unsigned)uid);
    ck_assert_msg(kl_params_parse(text, strlen(text), &params, &err) == KL_OK, "%s", err.text);
    ask.params = params;
    OK(kl_store_begin(store, &err));
    rc = kl_admin_run(kl_admin_find(op), store, &ask, &result, &err);
    if (rc == KL_OK) {
        OK(kl_store_commit(store, &err));
    } else {
        kl_store_rollback(store);
    }
    json_decref(params);
    if (out) {
        *out = result;
    } else {
        json_decref(result);
    }
    return rc;
}

static enum kl_rc ask(uid_t uid, const char *op, const char *text)
{
    return ask_at(uid, KL_ROLE_OPERATOR, 1, NOW, op, text, NULL);
}

static json_int_t number(const char *op, const char *name)
{
    json_t *result = NULL;
    json_int_t got;

    OK(ask_at(ALICE, KL_ROLE_OPERATOR, 1, NOW, op, "{}", &result));
    got = json_is_array(json_object_get(result, name))
              ? (json_int_t)json_array_size(json_object_get(result, name))
              : json_integer_value(json_object_get(result, name));
    json_decref(result);
    return got;
}

static const char *state_of(int64_t now, const char *id)
{
    static char state[16];
    json_t *result = NULL;

    OK(ask_at(ALICE, KL_ROLE_AUDITOR, 1, now, "request-show", id, &result));
    snprintf(state, sizeof(state), "%s", json_string_value(json_object_get(result, "state")));
    json_decref(result);
    return state;
}

struct tally {
    const char *event;
    size_t count;
};

static enum kl_rc count_event(const struct kl_audit *record, void *arg, struct kl_err *e)
{
    struct tally *tally = arg;

    (void)e;
    tally->count += strcmp(record->event, tally->event) == 0;
    return KL_OK;
}

static size_t recorded(const char *event)
{
    struct tally tally = {event, 0};

    OK(kl_store_audit_each(store, 0, count_event, &tally, &err));
    return tally.count;
}

/* A terminal with an active TMK. */
static void add_active(const char *serial)
{
    struct kl_tmk tmk = a_tmk(serial, 1);

    add_committed(serial);
    tmk.state = KL_TMK_ACTIVE;
    OK(kl_store_begin(store, &err));
    OK(kl_store_tmk_add(store, &tmk, &err));
    OK(kl_store_commit(store, &err));
}

/* ---- Parameters ---- */

static const struct {
    const char *text;
    enum kl_rc rc;
} texts[] = {
    {"{}", KL_OK},
    {"", KL_ERR_INPUT},
    {"{", KL_ERR_INPUT},
    {"{}{}", KL_ERR_INPUT},
    {"{\"a\":1,\"a\":2}", KL_ERR_INPUT},
    {"{\"a\":\"\\u0000\"}", KL_ERR_INPUT},
    {"{\"a\":\"\xff\"}", KL_ERR_INPUT},
    {"[[[[[[[[1]]]]]]]]", KL_OK},
    {"[[[[[[[[[1]]]]]]]]]", KL_ERR_INPUT},
    {"[\"[[[[[[[[[[[[\\\"[[[[[\"]", KL_OK}, /* in a text, they are none */
};

START_TEST(parse)
{
    json_t *json = NULL;
    enum kl_rc rc = kl_params_parse(texts[_i].text, strlen(texts[_i].text), &json, &err);

    ck_assert_msg(rc == texts[_i].rc, "%s: %s", texts[_i].text, kl_rc_name(rc));
    json_decref(json);
}
END_TEST

START_TEST(canonical)
{
    json_t *one = json_pack("{s:i, s:s}", "b", 1, "a", "x"),
           *two = json_pack("{s:s, s:i}", "a", "x", "b", 1);
    char *first = kl_params_text(one), *second = kl_params_text(two);

    ck_assert_str_eq(first, second);
    ck_assert_str_eq(first, "{\"a\":\"x\",\"b\":1}");
    free(first);
    free(second);
    json_decref(one);
    json_decref(two);
}
END_TEST

/* ---- Roles ---- */

START_TEST(roles)
{
    gid_t groups[] = {50, 60, 70};
    struct kl_peer_id peer = {.uid = 7009, .groups = groups, .group_count = 3};
    const struct kl_roles none = {0}, both = {1, 1, 60, 70}, audit = {0, 1, 0, 70};

    ck_assert_int_eq(kl_role_of(&none, &peer), KL_ROLE_NONE);
    ck_assert_int_eq(kl_role_of(&both, &peer), KL_ROLE_OPERATOR);
    ck_assert_int_eq(kl_role_of(&audit, &peer), KL_ROLE_AUDITOR);
    peer.group_count = 1;
    ck_assert_int_eq(kl_role_of(&both, &peer), KL_ROLE_NONE);
    groups[0] = 0; /* a role that no group has is not group 0's */
    ck_assert_int_eq(kl_role_of(&none, &peer), KL_ROLE_NONE);
    peer.uid = 0;
    ck_assert_int_eq(kl_role_of(&none, &peer), KL_ROLE_OPERATOR);
    peer.uid = geteuid();
    ck_assert_int_eq(kl_role_of(&none, &peer), KL_ROLE_OPERATOR);
}
END_TEST

START_TEST(auditors_change_nothing)
{
    static const char *const ops[] = {
        "terminal-add",    "terminal-import", "terminal-arm",    "terminal-arm-all",
        "terminal-disarm", "terminal-block",  "terminal-pinpad", "tmk-cancel",
        "tmk-revoke",      "request-approve", "request-reject",  "request-use",
        "request-failed",  "tmk-export",      "key-delete",      "terminal-accept-imported"};

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        FAILS(ask_at(ALICE, KL_ROLE_AUDITOR, 1, NOW, ops[i], "{}", NULL), KL_ERR_PERMISSION);
        FAILS(ask_at(ALICE, KL_ROLE_NONE, 1, NOW, ops[i], "{}", NULL), KL_ERR_PERMISSION);
    }
    FAILS(ask_at(ALICE, KL_ROLE_NONE, 1, NOW, "terminal-list", "{}", NULL), KL_ERR_PERMISSION);
    OK(ask_at(ALICE, KL_ROLE_AUDITOR, 1, NOW, "terminal-list", "{}", NULL));
}
END_TEST

/* ---- Requests ---- */

#define REVOKE "{\"serial\":\"T1\",\"reason\":\"stolen\"}"

START_TEST(approved)
{
    add_active("T1");
    OK(ask(ALICE, "tmk-revoke", REVOKE));
    ck_assert_int_eq(number("request-list", "requests"), 1);
    ck_assert_str_eq(state_of(NOW, "{\"id\":1}"), "pending");
    FAILS(ask(ALICE, "request-approve", "{\"id\":1}"), KL_ERR_REFUSED);
    SAYS("your own");
    ck_assert_int_eq(number("tmk-list", "tmks"), 1);
    ck_assert_uint_eq(recorded("tmk-revoked"), 0);
    OK(ask(BOB, "request-approve", "{\"id\":1}"));
    ck_assert_str_eq(state_of(NOW, "{\"id\":1}"), "done");
    ck_assert_uint_eq(recorded("tmk-revoked"), 1);
    FAILS(ask(BOB, "request-approve", "{\"id\":1}"), KL_ERR_REFUSED); /* once */
    FAILS(ask(BOB, "request-reject", "{\"id\":1}"), KL_ERR_REFUSED);
    ck_assert_uint_eq(recorded("tmk-revoked"), 1);
    ck_assert_uint_eq(recorded("request-made"), 1);
    ck_assert_uint_eq(recorded("request-approved"), 1);
    ck_assert_uint_eq(recorded("request-done"), 1);
}
END_TEST

START_TEST(rejected)
{
    add_active("T1");
    OK(ask(ALICE, "tmk-revoke", REVOKE));
    OK(ask(ALICE, "request-reject", "{\"id\":1}")); /* taken back */
    FAILS(ask(BOB, "request-approve", "{\"id\":1}"), KL_ERR_REFUSED);
    ck_assert_str_eq(state_of(NOW, "{\"id\":1}"), "rejected");
    ck_assert_uint_eq(recorded("tmk-revoked"), 0);
}
END_TEST

START_TEST(expired)
{
    int64_t late = NOW + 3600;

    add_active("T1");
    OK(ask(ALICE, "tmk-revoke", REVOKE));
    ck_assert_str_eq(state_of(late - 1, "{\"id\":1}"), "pending");
    ck_assert_str_eq(state_of(late, "{\"id\":1}"), "expired");
    FAILS(ask_at(BOB, KL_ROLE_OPERATOR, 1, late, "request-approve", "{\"id\":1}", NULL),
          KL_ERR_REFUSED);
    OK(kl_store_begin(store, &err));
    OK(kl_admin_request_expire(store, late, &err));
    OK(kl_store_commit(store, &err));
    ck_assert_uint_eq(recorded("request-expired"), 1);
    /* A clock that is set back makes it good no more. */
    FAILS(ask(BOB, "request-approve", "{\"id\":1}"), KL_ERR_REFUSED);
}
END_TEST

/* What fails when it is carried out has changed nothing, and says why. */
START_TEST(failed)
{
    add_committed("T1"); /* without a TMK */
    OK(ask(ALICE, "tmk-revoke", REVOKE));
    OK(ask(BOB, "request-approve", "{\"id\":1}"));
    ck_assert_str_eq(state_of(NOW, "{\"id\":1}"), "failed");
    ck_assert_uint_eq(recorded("request-failed"), 1);
}
END_TEST

#define EXPORT \
    "{\"serial\":\"T1\",\"key\":\"tmk\",\"version\":0,\"under\":\"zmk:z\",\"wrap\":\"kw\"}"
#define USE(kind, params) "{\"id\":1,\"kind\":\"" kind "\",\"params\":" params "}"

START_TEST(used_once)
{
    OK(ask(ALICE, "tmk-export", EXPORT));
    FAILS(ask(ALICE, "request-use", USE("tmk-export", EXPORT)), KL_ERR_REFUSED); /* pending */
    OK(ask(BOB, "request-approve", "{\"id\":1}"));
    ck_assert_str_eq(state_of(NOW, "{\"id\":1}"), "approved");
    FAILS(ask(ALICE, "request-use", USE("key-delete", "{\"label\":\"z\"}")), KL_ERR_REFUSED);
    FAILS(ask(ALICE, "request-use",
              USE("tmk-export", "{\"serial\":\"T2\",\"key\":\"tmk\",\"version\":0,\"under\":"
                                "\"zmk:z\",\"wrap\":\"kw\"}")),
          KL_ERR_REFUSED);
    SAYS("something else");
    FAILS(ask(ALICE, "request-use",
              USE("tmk-export", "{\"serial\":\"T1\",\"key\":\"tmk\",\"version\":0,\"under\":"
                                "\"zmk:y\",\"wrap\":\"kw\"}")),
          KL_ERR_REFUSED);
    FAILS(ask(7003, "request-use", USE("tmk-export", EXPORT)), KL_ERR_REFUSED); /* whose? */
    FAILS(ask_at(ALICE, KL_ROLE_OPERATOR, 1, NOW + 3600, "request-use", USE("tmk-export", EXPORT),
                 NULL),
          KL_ERR_REFUSED);
    OK(ask(ALICE, "request-use", USE("tmk-export", EXPORT)));
    FAILS(ask(ALICE, "request-use", USE("tmk-export", EXPORT)), KL_ERR_REFUSED);
    SAYS("is done");
    FAILS(ask(BOB, "request-failed", "{\"id\":1,\"reason\":\"x\"}"), KL_ERR_REFUSED);
    OK(ask(ALICE, "request-failed", "{\"id\":1,\"reason\":\"x\"}"));
    ck_assert_str_eq(state_of(NOW, "{\"id\":1}"), "failed");
}
END_TEST

/* Over the store's file one is alone. */
START_TEST(not_alone)
{
    static const char *const ops[][2] = {{"tmk-revoke", REVOKE},
                                         {"tmk-export", EXPORT},
                                         {"key-delete", "{\"label\":\"z\"}"},
                                         {"terminal-arm-all", "{}"},
                                         {"request-approve", "{\"id\":1}"}};

    add_active("T1");
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        FAILS(ask_at(0, KL_ROLE_OPERATOR, 0, NOW, ops[i][0], ops[i][1], NULL), KL_ERR_REFUSED);
    }
    ck_assert_uint_eq(recorded("tmk-revoked"), 0);
}
END_TEST

START_TEST(bounded)
{
    for (int i = 0; i < KL_ADMIN_REQUESTS; i++) {
        OK(ask(ALICE, "key-delete", "{\"label\":\"z\"}"));
    }
    FAILS(ask(ALICE, "key-delete", "{\"label\":\"z\"}"), KL_ERR_BUSY);
}
END_TEST

/* A step at a time, and nobody twice. */
START_TEST(arm_all)
{
    struct kl_admin_work work = {.id = 1};
    struct kl_terminal terminal;
    char serial[16];
    int steps = 0;

    OK(kl_store_begin(store, &err));
    for (int i = 0; i < 2 * KL_ADMIN_STEP + 5; i++) {
        snprintf(serial, sizeof(serial), "S%05d", i);
        terminal = (struct kl_terminal){.alg = KL_ALG_AES128, .created = 1};
        snprintf(terminal.serial, sizeof(terminal.serial), "%s", serial);
        terminal.blocked = i == 7;
        OK(kl_store_terminal_add(store, &terminal, &err));
    }
    OK(kl_store_commit(store, &err));
    OK(ask(ALICE, "terminal-arm-all", "{\"for\":600}"));
    FAILS(ask(ALICE, "terminal-arm-all", "{\"for\":600,\"after\":\"S00001\"}"), KL_ERR_INPUT);
    OK(ask(BOB, "request-approve", "{\"id\":1}"));
    do {
        OK(kl_store_begin(store, &err));
        OK(kl_admin_request_step(store, &work, NOW + 60, &err));
        OK(kl_store_commit(store, &err));
        steps++;
    } while (work.more);
    ck_assert_int_eq(steps, 3);
    ck_assert_uint_eq(work.armed, 2 * KL_ADMIN_STEP + 4);
    ck_assert_uint_eq(recorded("terminal-armed"), 2 * KL_ADMIN_STEP + 4);
    OK(kl_store_terminal_get(store, "S00516", &terminal, &err));
    ck_assert_int_eq(terminal.armed_until, NOW + 600); /* from the approval */
    ck_assert_str_eq(state_of(NOW, "{\"id\":1}"), "done");
    OK(kl_store_begin(store, &err));
    FAILS(kl_admin_request_step(store, &work, NOW, &err), KL_ERR_REFUSED);
    kl_store_rollback(store);
}
END_TEST

START_TEST(interrupted)
{
    add_committed("T1");
    OK(ask(ALICE, "terminal-arm-all", "{}"));
    OK(ask(BOB, "request-approve", "{\"id\":1}"));
    OK(kl_store_begin(store, &err));
    OK(kl_admin_request_interrupted(store, NOW, &err));
    OK(kl_store_commit(store, &err));
    ck_assert_str_eq(state_of(NOW, "{\"id\":1}"), "failed");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("admin");
    TCase *tcase = group(suite, "params");

    tcase_add_loop_test(tcase, parse, 0, (int)(sizeof(texts) / sizeof(texts[0])));
    tcase_add_test(tcase, canonical);
    tcase = group(suite, "roles");
    tcase_add_test(tcase, roles);
    tcase_add_test(tcase, auditors_change_nothing);
    tcase = group(suite, "requests");
    tcase_add_test(tcase, approved);
    tcase_add_test(tcase, rejected);
    tcase_add_test(tcase, expired);
    tcase_add_test(tcase, failed);
    tcase_add_test(tcase, used_once);
    tcase_add_test(tcase, not_alone);
    tcase_add_test(tcase, bounded);
    tcase_add_test(tcase, arm_all);
    tcase_add_test(tcase, interrupted);
    return test_run(suite);
}
