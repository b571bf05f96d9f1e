/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on TMKs, on imports that wait, and on the audit trail. */
#include <string.h>

#include "daemon/control/admin.h"
#include "daemon/control/admin_json.h"
#include "daemon/control/admin_terminal.h"
#include "daemon/control/params.h"
#include "daemon/life/life.h"

/* ---- What reads ---- */

static enum kl_rc tmk_row(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    return kl_admin_page_add(arg, kl_admin_tmk_json(tmk, 1), err);
}

static enum kl_rc read_state(const char *name, enum kl_tmk_state *out, struct kl_err *err)
{
    for (int state = KL_TMK_PENDING; state <= KL_TMK_REVOKED; state++) {
        if (strcmp(name, kl_tmk_state_name((enum kl_tmk_state)state)) == 0) {
            *out = (enum kl_tmk_state)state;
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_INPUT, "\"state\": '%.20s' is not known", name);
}

static enum kl_rc tmk_list(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                           struct kl_err *err)
{
    const char *serial = NULL, *state_name = NULL, *after_serial = "";
    int64_t after_version = 0;
    const struct kl_param table[] = {
        {"serial", KL_PARAM_SERIAL, 0, &serial, 0, 0},
        {"state", KL_PARAM_TEXT, 0, &state_name, 0, 16},
        {"after", KL_PARAM_SERIAL, 0, &after_serial, 0, 0},
        {"after_version", KL_PARAM_NUMBER, 0, &after_version, 0, KL_VERSION_MAX},
        {0},
    };
    struct kl_admin_page page = {0};
    struct kl_terminal terminal;
    struct kl_holder after = {"", 0};
    enum kl_tmk_state state = 0;
    enum kl_rc rc;

    if ((rc = kl_params_read(ask->params, table, err)) != KL_OK ||
        (state_name && (rc = read_state(state_name, &state, err)) != KL_OK) ||
        /* A mistyped serial is not a terminal without TMKs. */
        (serial && (rc = kl_store_terminal_get(store, serial, &terminal, err)) != KL_OK)) {
        return rc;
    }
    memcpy(after.serial, after_serial, strlen(after_serial) + 1);
    after.version = (uint32_t)after_version;
    page.rows = json_array();
    rc = kl_store_tmk_from(store, serial, state, &after, tmk_row, &page, err);
    return kl_admin_page_end(&page, "tmks", rc, out, err);
}

static enum kl_rc import_row(const struct kl_import *import, void *arg, struct kl_err *err)
{
    return kl_admin_page_add(arg, kl_admin_import_json(import, 1), err);
}

static enum kl_rc waiting(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                          struct kl_err *err)
{
    const char *after = "";
    const struct kl_param table[] = {{"after", KL_PARAM_SERIAL, 0, &after, 0, 0}, {0}};
    struct kl_admin_page page = {0};
    enum kl_rc rc = kl_params_read(ask->params, table, err);

    if (rc != KL_OK) {
        return rc;
    }
    page.rows = json_array();
    rc = kl_store_import_from(store, after, import_row, &page, err);
    return kl_admin_page_end(&page, "waiting", rc, out, err);
}

static enum kl_rc audit_row(const struct kl_audit *record, void *arg, struct kl_err *err)
{
    return kl_admin_page_add(arg, kl_admin_audit_json(record), err);
}

/* The records after id "after"; or, to begin with, the last "last" of them. */
static enum kl_rc audit_list(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                             struct kl_err *err)
{
    int64_t after = 0, last = 0;
    const struct kl_param table[] = {
        {"after", KL_PARAM_NUMBER, 0, &after, 0, INT64_MAX - 1},
        {"last", KL_PARAM_NUMBER, 0, &last, 1, 1000000000},
        {0},
    };
    struct kl_admin_page page = {0};
    uint8_t hash[KL_HASH_LEN];
    uint64_t head = 0;
    enum kl_rc rc = kl_params_read(ask->params, table, err);

    if (rc == KL_OK && last) {
        rc = kl_store_audit_head(store, &head, hash, err);
        after = rc == KL_OK && (int64_t)head > last ? (int64_t)head - last : 0;
    }
    if (rc != KL_OK) {
        return rc;
    }
    page.rows = json_array();
    rc = kl_store_audit_from(store, (uint64_t)after, audit_row, &page, err);
    return kl_admin_page_end(&page, "records", rc, out, err);
}

/* ---- What changes a terminal's keys: then it is shown ---- */

static enum kl_rc cancel(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                         struct kl_err *err)
{
    const char *serial = NULL;
    const struct kl_param table[] = {{"serial", KL_PARAM_SERIAL, 1, &serial, 0, 0}, {0}};
    enum kl_rc rc;

    if ((rc = kl_params_read(ask->params, table, err)) != KL_OK ||
        (rc = kl_life_import_cancel(store, serial, ask->now, err)) != KL_OK) {
        return rc;
    }
    return kl_admin_terminal_report(store, serial, ask->now, out, err);
}

struct revocation {
    const char *serial, *reason;
    int64_t version; /* 0 = all */
};

static enum kl_rc read_revocation(const json_t *params, struct revocation *out, struct kl_err *err)
{
    const struct kl_param table[] = {
        {"serial", KL_PARAM_SERIAL, 1, &out->serial, 0, 0},
        {"version", KL_PARAM_NUMBER, 0, &out->version, 0, KL_VERSION_MAX},
        {"reason", KL_PARAM_TEXT, 1, &out->reason, 0, KL_REASON_MAX},
        {0},
    };

    *out = (struct revocation){0};
    return kl_params_read(params, table, err);
}

static enum kl_rc revoke(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                         struct kl_err *err)
{
    struct revocation r;
    enum kl_rc rc;

    if ((rc = read_revocation(ask->params, &r, err)) != KL_OK ||
        (rc = kl_life_revoke(store, r.serial, (uint32_t)r.version, r.reason, ask->now, err)) !=
            KL_OK) {
        return rc;
    }
    return kl_admin_terminal_report(store, r.serial, ask->now, out, err);
}

static enum kl_rc revoke_canon(const json_t *params, json_t **out, struct kl_err *err)
{
    struct revocation r;
    enum kl_rc rc = read_revocation(params, &r, err);

    return rc == KL_OK ? kl_admin_give(json_pack("{s:s, s:I, s:s}", "serial", r.serial, "version",
                                                 (json_int_t)r.version, "reason", r.reason),
                                       out, err)
                       : rc;
}

const struct kl_admin_op kl_admin_tmk_ops[] = {
    {"tmk-list", KL_ADMIN_READ, tmk_list, 0, NULL},
    {"tmk-waiting", KL_ADMIN_READ, waiting, 0, NULL},
    {"tmk-cancel", KL_ADMIN_WRITE, cancel, 0, NULL},
    {"tmk-revoke", KL_ADMIN_WRITE, revoke, KL_DUAL_REVOKE, revoke_canon},
    {"audit-list", KL_ADMIN_READ, audit_list, 0, NULL},
    {0},
};
