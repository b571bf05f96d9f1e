/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests, from the first operator to the second and on. */
#include "daemon/control/admin_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/control/admin_json.h"
#include "daemon/control/params.h"

#define BATCH 32

const char *kl_admin_request_state(const struct kl_request *r, int64_t now)
{
    int open = r->state == KL_REQUEST_PENDING || r->state == KL_REQUEST_APPROVED;

    return kl_request_state_name(open && r->expires <= now ? KL_REQUEST_EXPIRED : r->state);
}

static enum kl_rc audit(struct kl_store *store, const char *event, const struct kl_request *r,
                        const char *why, int64_t now, struct kl_err *err)
{
    char detail[KL_AUDIT_DETAIL_MAX + 1];
    const struct kl_log_field fields[] = {KL_NUM("request", r->id), KL_STR("kind", r->kind),
                                          KL_STR("requester", r->requester), KL_STR("why", why),
                                          KL_STR("params", r->params)};

    kl_log_format(detail, sizeof(detail), fields, sizeof(fields) / sizeof(fields[0]));
    return kl_store_audit(store, now, event, "", detail, err);
}

/* ---- Making one ---- */

static enum kl_rc count_one(const struct kl_request *request, void *arg, struct kl_err *err)
{
    (void)request;
    (void)err;
    *(size_t *)arg += 1;
    return KL_OK;
}

static enum kl_rc fill(const struct kl_admin_op *op, const struct kl_admin_ask *ask,
                       struct kl_request *r, struct kl_err *err)
{
    json_t *canon = NULL;
    char *text;
    enum kl_rc rc = op->canon(ask->params, &canon, err);

    if (rc != KL_OK) {
        return rc;
    }
    text = kl_params_text(canon);
    json_decref(canon);
    if (!text || strlen(text) > KL_REQUEST_PARAMS_MAX) {
        rc = kl_err_set(err, KL_ERR_INPUT, "parameters are too long for a request");
    } else {
        memcpy(r->params, text, strlen(text) + 1);
    }
    free(text);
    snprintf(r->kind, sizeof(r->kind), "%s", op->name);
    snprintf(r->requester, sizeof(r->requester), "%s", ask->actor);
    r->requester_uid = ask->uid;
    r->created = ask->now;
    r->expires = ask->now + (int64_t)ask->request_lifetime;
    r->state = KL_REQUEST_PENDING;
    return rc;
}

enum kl_rc kl_admin_request_make(const struct kl_admin_op *op, struct kl_store *store,
                                 const struct kl_admin_ask *ask, json_t **out, struct kl_err *err)
{
    struct kl_request r = {.approver_uid = -1};
    size_t pending = 0;
    enum kl_rc rc;

    if ((rc = fill(op, ask, &r, err)) != KL_OK ||
        (rc = kl_admin_request_expire(store, ask->now, err)) != KL_OK ||
        (rc = kl_store_request_each(store, KL_REQUEST_PENDING, 0, count_one, &pending, err)) !=
            KL_OK) {
        return rc;
    }
    if (pending >= KL_ADMIN_REQUESTS) {
        return kl_err_set(err, KL_ERR_BUSY, "%zu requests are pending already", pending);
    }
    if ((rc = kl_store_request_add(store, &r, &r.id, err)) != KL_OK ||
        (rc = audit(store, "request-made", &r, "", ask->now, err)) != KL_OK) {
        return rc;
    }
    return kl_admin_give(json_pack("{s:o}", "request", kl_admin_request_json(&r, ask->now)), out,
                         err);
}

/* ---- From state to state ---- */

static enum kl_rc move(struct kl_store *store, struct kl_request *r, enum kl_request_state to,
                       const char *event, const char *outcome, int64_t now, struct kl_err *err)
{
    enum kl_request_state from = r->state;
    enum kl_rc rc;

    r->state = to;
    snprintf(r->outcome, sizeof(r->outcome), "%s", outcome);
    rc = kl_store_request_update(store, r, from, err);
    return rc == KL_OK ? audit(store, event, r, outcome, now, err) : rc;
}

/* An iteration must not write: first they are gathered, some at a time. */
struct batch {
    struct kl_request r[BATCH];
    size_t count;
    int64_t now;
    const char *kind; /* NULL: those that have expired */
};

static enum kl_rc gather(const struct kl_request *r, void *arg, struct kl_err *err)
{
    struct batch *batch = arg;
    int take = batch->kind ? strcmp(r->kind, batch->kind) == 0 : r->expires <= batch->now;

    (void)err;
    if (take && batch->count < BATCH) {
        batch->r[batch->count++] = *r;
    }
    return KL_OK;
}

static enum kl_rc move_all(struct kl_store *store, enum kl_request_state from, const char *kind,
                           enum kl_request_state to, const char *event, const char *outcome,
                           int64_t now, struct kl_err *err)
{
    struct batch *batch = calloc(1, sizeof(*batch));
    enum kl_rc rc;

    if (!batch) {
        return kl_err_set(err, KL_ERR_MEMORY, "requests");
    }
    batch->now = now;
    batch->kind = kind;
    rc = kl_store_request_each(store, from, 0, gather, batch, err);
    for (size_t i = 0; i < batch->count && rc == KL_OK; i++) {
        rc = move(store, &batch->r[i], to, event, outcome, now, err);
    }
    free(batch);
    return rc;
}

enum kl_rc kl_admin_request_expire(struct kl_store *store, int64_t now, struct kl_err *err)
{
    enum kl_rc rc = move_all(store, KL_REQUEST_PENDING, NULL, KL_REQUEST_EXPIRED, "request-expired",
                             "nobody decided in time", now, err);

    return rc == KL_OK
               ? move_all(store, KL_REQUEST_APPROVED, NULL, KL_REQUEST_EXPIRED, "request-expired",
                          "approved, and not carried out in time", now, err)
               : rc;
}

enum kl_rc kl_admin_request_interrupted(struct kl_store *store, int64_t now, struct kl_err *err)
{
    return move_all(store, KL_REQUEST_APPROVED, "terminal-arm-all", KL_REQUEST_FAILED,
                    "request-failed", "the daemon ended before all was done", now, err);
}

enum kl_rc kl_admin_request_fail(struct kl_store *store, uint64_t id, const char *why, int64_t now,
                                 struct kl_err *err)
{
    struct kl_request r;
    enum kl_rc rc = kl_store_request_get(store, id, &r, err);

    return rc == KL_OK ? move(store, &r, KL_REQUEST_FAILED, "request-failed", why, now, err) : rc;
}

/* Reads {"id": N} and more, and the request, which must be in that state and in time. */
static enum kl_rc get_in_state(struct kl_store *store, int64_t id, enum kl_request_state state,
                               int64_t now, struct kl_request *out, struct kl_err *err)
{
    enum kl_rc rc = kl_store_request_get(store, (uint64_t)id, out, err);

    if (rc == KL_OK && (out->state != state || out->expires <= now)) {
        rc = kl_err_set(err, KL_ERR_REFUSED, "request %" PRId64 " is %s, not %s", id,
                        kl_admin_request_state(out, now), kl_request_state_name(state));
    }
    return rc;
}

#define ID_PARAM(out) \
    { \
        "id", KL_PARAM_NUMBER, 1, (out), 1, INT64_MAX \
    }

/* ---- Approving ---- */

/* Done by both; their names as far as there is room. */
static void act_as_both(struct kl_store *store, const struct kl_request *r)
{
    char actor[2 * KL_AUDIT_ACTOR_MAX + 8];

    snprintf(actor, sizeof(actor), "%s and %s", r->requester, r->approver);
    kl_store_set_actor(store, actor);
}

/* In a part of its own: what fails has changed nothing, and the request says why. */
static enum kl_rc run_part(struct kl_store *store, const struct kl_request *r,
                           const struct kl_admin_ask *ask, int *failed, struct kl_err *why,
                           struct kl_err *err)
{
    struct kl_admin_ask act = *ask;
    json_t *params = NULL, *ignored = NULL;
    enum kl_rc rc = kl_store_savepoint(store, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_params_parse(r->params, strlen(r->params), &params, why);
    if (rc == KL_OK) {
        act.params = params;
        rc = kl_admin_find(r->kind)->run(store, &act, &ignored, why);
    }
    json_decref(ignored);
    json_decref(params);
    *failed = rc != KL_OK;
    if (*failed && (rc == KL_ERR_FULL || rc == KL_ERR_IO)) {
        *err = *why; /* the disk: nothing of this is kept, the approval neither */
        return rc;
    }
    return *failed ? kl_store_undo(store, err) : kl_store_release(store, err);
}

static enum kl_rc carry_out_now(struct kl_store *store, struct kl_request *r,
                                const struct kl_admin_ask *ask, struct kl_err *err)
{
    struct kl_err why = KL_ERR_INIT;
    int failed = 0;
    enum kl_rc rc;

    act_as_both(store, r);
    rc = run_part(store, r, ask, &failed, &why, err);
    if (rc == KL_OK) {
        rc = failed ? move(store, r, KL_REQUEST_FAILED, "request-failed", why.text, ask->now, err)
                    : move(store, r, KL_REQUEST_DONE, "request-done", "", ask->now, err);
    }
    return rc;
}

static enum kl_rc decide(struct kl_store *store, const struct kl_admin_ask *ask, int64_t id,
                         struct kl_request *r, struct kl_err *err)
{
    enum kl_rc rc = get_in_state(store, id, KL_REQUEST_PENDING, ask->now, r, err);

    if (rc != KL_OK) {
        return rc;
    }
    r->approver_uid = ask->uid;
    snprintf(r->approver, sizeof(r->approver), "%s", ask->actor);
    r->decided = ask->now;
    return KL_OK;
}

/* Root and the daemon's own account are whoever may become them, and so no second person. */
static int is_nobody_in_particular(int64_t uid)
{
    return uid == 0 || uid == (int64_t)geteuid();
}

static enum kl_rc approve(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                          struct kl_err *err)
{
    int64_t id = 0;
    const struct kl_param table[] = {ID_PARAM(&id), {0}};
    struct kl_request r;
    enum kl_rc rc;

    if ((rc = kl_params_read(ask->params, table, err)) != KL_OK ||
        (rc = decide(store, ask, id, &r, err)) != KL_OK) {
        return rc;
    }
    if (r.requester_uid == (int64_t)ask->uid) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "request %" PRId64 " is your own: another operator must approve it", id);
    }
    if (is_nobody_in_particular((int64_t)ask->uid)) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "request %" PRId64 ": root and the daemon's own account do not approve; "
                          "an operator with an account of his own must",
                          id);
    }
    if ((rc = move(store, &r, KL_REQUEST_APPROVED, "request-approved", "", ask->now, err)) !=
        KL_OK) {
        return rc;
    }
    if (strcmp(r.kind, "tmk-revoke") == 0 && (rc = carry_out_now(store, &r, ask, err)) != KL_OK) {
        return rc;
    }
    return kl_admin_give(kl_admin_request_json(&r, ask->now), out, err);
}

static enum kl_rc reject(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                         struct kl_err *err)
{
    const char *reason = "";
    int64_t id = 0;
    const struct kl_param table[] = {ID_PARAM(&id),
                                     {"reason", KL_PARAM_TEXT, 0, &reason, 0, 128},
                                     {0}};
    struct kl_request r;
    enum kl_rc rc;

    /* The requester may take it back so. */
    if ((rc = kl_params_read(ask->params, table, err)) != KL_OK ||
        (rc = decide(store, ask, id, &r, err)) != KL_OK ||
        (rc = move(store, &r, KL_REQUEST_REJECTED, "request-rejected", reason, ask->now, err)) !=
            KL_OK) {
        return rc;
    }
    return kl_admin_give(kl_admin_request_json(&r, ask->now), out, err);
}

enum kl_rc kl_admin_request_step(struct kl_store *store, struct kl_admin_work *work, int64_t now,
                                 struct kl_err *err)
{
    struct kl_request r;
    struct kl_admin_ask ask = {.now = now};
    json_t *params = NULL, *result = NULL, *length;
    char outcome[64];
    int bad = 0;
    /* Once begun it goes on to its end. */
    enum kl_rc rc = kl_store_request_get(store, work->id, &r, err);

    if (rc == KL_OK && r.state != KL_REQUEST_APPROVED) {
        rc = kl_err_set(err, KL_ERR_REFUSED, "request %" PRIu64 " is %s", work->id,
                        kl_admin_request_state(&r, now));
    }
    if (rc != KL_OK || (rc = kl_params_parse(r.params, strlen(r.params), &params, err)) != KL_OK) {
        return rc;
    }
    /* All are armed until the same time, and "for" counts from the approval. */
    if ((length = json_object_get(params, "for")) != NULL) {
        bad = json_object_set_new(params, "until",
                                  json_integer(r.decided + json_integer_value(length)));
        bad |= json_object_del(params, "for");
    }
    if (work->after[0]) {
        bad |= json_object_set_new(params, "after", json_string(work->after));
    }
    if (bad) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "request");
        goto out;
    }
    ask.params = params;
    act_as_both(store, &r);
    if ((rc = kl_admin_find(r.kind)->run(store, &ask, &result, err)) != KL_OK) {
        goto out;
    }
    work->armed += (uint64_t)json_integer_value(json_object_get(result, "armed"));
    work->more = json_is_true(json_object_get(result, "more"));
    snprintf(work->after, sizeof(work->after), "%s",
             json_string_value(json_object_get(result, "after")));
    if (!work->more) {
        snprintf(outcome, sizeof(outcome), "armed %" PRIu64, work->armed);
        rc = move(store, &r, KL_REQUEST_DONE, "request-done", outcome, now, err);
    }
out:
    kl_store_set_actor(store, "");
    json_decref(params);
    json_decref(result);
    return rc;
}

/* ---- What keyloaderctl carries out itself, with the HSM ---- */

/* Those who made and approved it, and who has the store's file anyway. */
static int may_use(const struct kl_request *r, uid_t uid)
{
    return uid == 0 || uid == geteuid() || r->requester_uid == (int64_t)uid ||
           r->approver_uid == (int64_t)uid;
}

static enum kl_rc same_wish(const struct kl_request *r, const char *kind, const json_t *params,
                            struct kl_err *err)
{
    const struct kl_admin_op *op = kl_admin_find(kind);
    json_t *canon = NULL;
    char *text;
    int same;
    enum kl_rc rc;

    if (!op || !op->canon || strcmp(kind, r->kind) != 0) {
        return kl_err_set(err, KL_ERR_REFUSED, "request %" PRIu64 " is for %s", r->id, r->kind);
    }
    if ((rc = op->canon(params, &canon, err)) != KL_OK) {
        return rc;
    }
    text = kl_params_text(canon);
    same = text && strcmp(text, r->params) == 0;
    free(text);
    json_decref(canon);
    return same ? KL_OK
                : kl_err_set(err, KL_ERR_REFUSED,
                             "request %" PRIu64 " was approved for something else: %.200s", r->id,
                             r->params);
}

/* Uses an approved request up: from then on it is done, and never again. */
static enum kl_rc use(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                      struct kl_err *err)
{
    const char *kind = NULL;
    json_t *params = NULL;
    char outcome[KL_REQUEST_OUTCOME_MAX + 1];
    int64_t id = 0;
    const struct kl_param table[] = {ID_PARAM(&id),
                                     {"kind", KL_PARAM_TEXT, 1, &kind, 0, KL_REQUEST_KIND_MAX},
                                     {"params", KL_PARAM_OBJECT, 1, &params, 0, 0},
                                     {0}};
    struct kl_request r;
    enum kl_rc rc;

    if ((rc = kl_params_read(ask->params, table, err)) != KL_OK ||
        (rc = get_in_state(store, id, KL_REQUEST_APPROVED, ask->now, &r, err)) != KL_OK ||
        (rc = same_wish(&r, kind, params, err)) != KL_OK) {
        return rc;
    }
    if (!may_use(&r, ask->uid)) {
        return kl_err_set(err, KL_ERR_REFUSED, "request %" PRId64 " is %s's and %s's", id,
                          r.requester, r.approver);
    }
    snprintf(outcome, sizeof(outcome), "used by %s", ask->actor);
    if ((rc = move(store, &r, KL_REQUEST_DONE, "request-done", outcome, ask->now, err)) != KL_OK) {
        return rc;
    }
    return kl_admin_give(kl_admin_request_json(&r, ask->now), out, err);
}

/* Who used it up tells that it came to nothing. */
static enum kl_rc failed(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                         struct kl_err *err)
{
    const char *reason = NULL;
    int64_t id = 0;
    const struct kl_param table[] = {ID_PARAM(&id),
                                     {"reason", KL_PARAM_TEXT, 1, &reason, 0, 400},
                                     {0}};
    char outcome[KL_REQUEST_OUTCOME_MAX + 1];
    struct kl_request r;
    enum kl_rc rc;

    if ((rc = kl_params_read(ask->params, table, err)) != KL_OK ||
        (rc = kl_store_request_get(store, (uint64_t)id, &r, err)) != KL_OK) {
        return rc;
    }
    snprintf(outcome, sizeof(outcome), "used by %s", ask->actor);
    if (r.state != KL_REQUEST_DONE || strcmp(r.outcome, outcome) != 0) {
        return kl_err_set(err, KL_ERR_REFUSED, "request %" PRId64 " was not used by you", id);
    }
    if ((rc = move(store, &r, KL_REQUEST_FAILED, "request-failed", reason, ask->now, err)) !=
        KL_OK) {
        return rc;
    }
    return kl_admin_give(kl_admin_request_json(&r, ask->now), out, err);
}

/* ---- What reads ---- */

struct rows {
    struct kl_admin_page page;
    int64_t now;
};

static enum kl_rc request_row(const struct kl_request *r, void *arg, struct kl_err *err)
{
    struct rows *rows = arg;

    return kl_admin_page_add(&rows->page, kl_admin_request_json(r, rows->now), err);
}

static enum kl_rc list(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                       struct kl_err *err)
{
    int64_t after = 0;
    int pending = 0;
    const struct kl_param table[] = {{"after", KL_PARAM_NUMBER, 0, &after, 0, INT64_MAX - 1},
                                     {"pending", KL_PARAM_BOOL, 0, &pending, 0, 0},
                                     {0}};
    /* A request with long params is large. */
    struct rows rows = {.now = ask->now, .page.limit = 20};
    enum kl_rc rc = kl_params_read(ask->params, table, err);

    if (rc != KL_OK) {
        return rc;
    }
    rows.page.rows = json_array();
    rc = kl_store_request_each(store, pending ? KL_REQUEST_PENDING : 0, (uint64_t)after,
                               request_row, &rows, err);
    return kl_admin_page_end(&rows.page, "requests", rc, out, err);
}

static enum kl_rc show(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                       struct kl_err *err)
{
    int64_t id = 0;
    const struct kl_param table[] = {ID_PARAM(&id), {0}};
    struct kl_request r;
    enum kl_rc rc;

    if ((rc = kl_params_read(ask->params, table, err)) != KL_OK ||
        (rc = kl_store_request_get(store, (uint64_t)id, &r, err)) != KL_OK) {
        return rc;
    }
    return kl_admin_give(kl_admin_request_json(&r, ask->now), out, err);
}

/* ---- What keyloaderctl asks before it does it with the HSM ---- */

/* Where one operator is enough, there is nothing to do here. */
static enum kl_rc go_on(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                        struct kl_err *err)
{
    (void)store;
    (void)ask;
    return kl_admin_give(json_object(), out, err);
}

/* "under": "zmk:LABEL" or "host:FINGERPRINT"; "wrap": "kw", "kwp" or "oaep". */
static enum kl_rc export_canon(const json_t *params, json_t **out, struct kl_err *err)
{
    const char *serial = NULL, *key = NULL, *under = NULL, *wrap = NULL;
    int64_t version = 0;
    const struct kl_param table[] = {
        {"serial", KL_PARAM_SERIAL, 1, &serial, 0, 0},
        {"key", KL_PARAM_TEXT, 1, &key, 0, 8},
        {"version", KL_PARAM_NUMBER, 1, &version, 0, KL_VERSION_MAX},
        {"under", KL_PARAM_TEXT, 1, &under, 0, 200},
        {"wrap", KL_PARAM_TEXT, 1, &wrap, 0, 8},
        {0},
    };
    enum kl_rc rc = kl_params_read(params, table, err);

    return rc == KL_OK ? kl_admin_give(json_pack("{s:s, s:s, s:I, s:s, s:s}", "serial", serial,
                                                 "key", key, "version", (json_int_t)version,
                                                 "under", under, "wrap", wrap),
                                       out, err)
                       : rc;
}

static enum kl_rc delete_canon(const json_t *params, json_t **out, struct kl_err *err)
{
    const char *label = NULL;
    const struct kl_param table[] = {{"label", KL_PARAM_TEXT, 1, &label, 0, 128}, {0}};
    enum kl_rc rc = kl_params_read(params, table, err);

    return rc == KL_OK ? kl_admin_give(json_pack("{s:s}", "label", label), out, err) : rc;
}

const struct kl_admin_op kl_admin_request_ops[] = {
    {"request-list", KL_ADMIN_READ, list, 0, NULL},
    {"request-show", KL_ADMIN_READ, show, 0, NULL},
    {"request-approve", KL_ADMIN_DECIDE, approve, 0, NULL},
    {"request-reject", KL_ADMIN_DECIDE, reject, 0, NULL},
    {"request-use", KL_ADMIN_DECIDE, use, 0, NULL},
    {"request-failed", KL_ADMIN_DECIDE, failed, 0, NULL},
    {"tmk-export", KL_ADMIN_WRITE, go_on, KL_DUAL_EXPORT, export_canon},
    {"key-delete", KL_ADMIN_WRITE, go_on, KL_DUAL_KEY_DELETE, delete_canon},
    {0},
};
