/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on the registry, and on the windows in which terminals may load. */
#include "daemon/control/admin_terminal.h"

#include <string.h>

#include "daemon/control/admin.h"
#include "daemon/control/admin_json.h"
#include "daemon/life/life.h"

/* ---- Registering ---- */

struct registration {
    const char *serial, *alg, *pinpad;
};

static enum kl_rc read_terminal(const json_t *params, struct kl_terminal *out, struct kl_err *err)
{
    struct registration r = {.alg = "tdes2", .pinpad = ""};
    const struct kl_param table[] = {
        {"serial", KL_PARAM_SERIAL, 1, &r.serial, 0, 0},
        {"algorithm", KL_PARAM_TEXT, 0, &r.alg, 0, 16},
        {"pinpad", KL_PARAM_TEXT, 0, &r.pinpad, 0, KL_SERIAL_MAX},
        {0},
    };
    const struct kl_alg_info *info;
    enum kl_rc rc = kl_params_read(params, table, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (!(info = kl_alg_by_name(r.alg))) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "algorithm: '%.40s' must be tdes2, tdes3, aes128, aes192 or aes256",
                          r.alg);
    }
    *out = (struct kl_terminal){.alg = info->alg};
    memcpy(out->serial, r.serial, strlen(r.serial) + 1);
    memcpy(out->pinpad_serial, r.pinpad, strlen(r.pinpad) + 1);
    return KL_OK;
}

static enum kl_rc add(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                      struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = read_terminal(ask->params, &terminal, err);

    if (rc == KL_OK) {
        terminal.created = ask->now;
        rc = kl_life_register(store, &terminal, ask->now, err);
    }
    return rc == KL_OK ? kl_admin_give(kl_admin_terminal_json(&terminal, ask->now), out, err) : rc;
}

/* A terminal that is there already must be the same. No PIN pad in the list goes with any in the
 * registry: the first load has bound it. */
static enum kl_rc import_one(struct kl_store *store, const struct kl_terminal *wanted, int64_t now,
                             json_int_t *added, struct kl_err *err)
{
    struct kl_err unknown = KL_ERR_INIT;
    struct kl_terminal known;
    enum kl_rc rc = kl_store_terminal_get(store, wanted->serial, &known, &unknown);

    if (rc == KL_ERR_NOT_FOUND) {
        *added += 1;
        return kl_life_register(store, wanted, now, err);
    }
    if (rc != KL_OK) {
        *err = unknown;
        return rc;
    }
    if (known.alg != wanted->alg ||
        (wanted->pinpad_serial[0] && strcmp(known.pinpad_serial, wanted->pinpad_serial) != 0)) {
        return kl_err_set(err, KL_ERR_EXISTS,
                          "terminal %s is registered already, with %s and PIN pad %s",
                          wanted->serial, kl_alg_info(known.alg)->name,
                          known.pinpad_serial[0] ? known.pinpad_serial : "unknown");
    }
    return KL_OK;
}

/* "first" is how the caller counts the list's first terminal, for messages: a line of its file. */
static enum kl_rc import(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                         struct kl_err *err)
{
    json_t *terminals = NULL;
    json_int_t added = 0;
    int64_t first = 1;
    const struct kl_param table[] = {
        {"terminals", KL_PARAM_ARRAY, 1, &terminals, 0, KL_ADMIN_STEP},
        {"first", KL_PARAM_NUMBER, 0, &first, 0, INT32_MAX},
        {0},
    };
    struct kl_terminal wanted;
    enum kl_rc rc = kl_params_read(ask->params, table, err);

    for (size_t i = 0; rc == KL_OK && i < json_array_size(terminals); i++) {
        if ((rc = read_terminal(json_array_get(terminals, i), &wanted, err)) == KL_OK) {
            rc = import_one(store, &wanted, ask->now, &added, err);
        }
        if (rc != KL_OK) {
            return kl_err_context(err, "line %lld", (long long)first + (long long)i);
        }
    }
    return rc == KL_OK
               ? kl_admin_give(json_pack("{s:I, s:I}", "registered", added, "registered_already",
                                         (json_int_t)json_array_size(terminals) - added),
                               out, err)
               : rc;
}

/* ---- What changes terminals: all that are named, or none; then they are shown ---- */

typedef enum kl_rc (*change_fn)(struct kl_store *store, const char *serial, int64_t now,
                                const void *arg, struct kl_err *err);

static enum kl_rc change_each(struct kl_store *store, const json_t *serials, int64_t now,
                              change_fn change, const void *arg, json_t **out, struct kl_err *err)
{
    json_t *shown = json_array();
    struct kl_terminal terminal;
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < json_array_size(serials) && rc == KL_OK; i++) {
        const char *serial = json_string_value(json_array_get(serials, i));

        if ((rc = change(store, serial, now, arg, err)) == KL_OK &&
            (rc = kl_store_terminal_get(store, serial, &terminal, err)) == KL_OK &&
            json_array_append_new(shown, kl_admin_terminal_json(&terminal, now)) != 0) {
            rc = kl_err_set(err, KL_ERR_MEMORY, "building the report");
        }
    }
    if (rc == KL_OK) {
        rc = kl_admin_give(json_pack("{s:O}", "terminals", shown), out, err);
    }
    json_decref(shown);
    return rc;
}

#define SERIALS_PARAM(out) \
    { \
        "serials", KL_PARAM_SERIALS, 1, (out), 0, KL_ADMIN_SERIALS \
    }

static enum kl_rc arm_one(struct kl_store *store, const char *serial, int64_t now, const void *arg,
                          struct kl_err *err)
{
    const struct kl_admin_arming *arming = arg;

    return kl_life_arm(store, serial, arming->until, (uint32_t)arming->attempts, now, err);
}

static enum kl_rc arm(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                      struct kl_err *err)
{
    struct kl_admin_arming arming = KL_ADMIN_ARMING_INIT;
    json_t *serials = NULL;
    const struct kl_param table[] = {SERIALS_PARAM(&serials), KL_ADMIN_ARMING_PARAMS(&arming), {0}};
    enum kl_rc rc;

    if ((rc = kl_params_read(ask->params, table, err)) != KL_OK ||
        (rc = kl_admin_arming_settle(&arming, ask->now, err)) != KL_OK) {
        return rc;
    }
    return change_each(store, serials, ask->now, arm_one, &arming, out, err);
}

static enum kl_rc disarm_one(struct kl_store *store, const char *serial, int64_t now,
                             const void *arg, struct kl_err *err)
{
    (void)arg;
    return kl_life_disarm(store, serial, now, err);
}

static enum kl_rc disarm(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                         struct kl_err *err)
{
    json_t *serials = NULL;
    const struct kl_param table[] = {SERIALS_PARAM(&serials), {0}};
    enum kl_rc rc = kl_params_read(ask->params, table, err);

    return rc == KL_OK ? change_each(store, serials, ask->now, disarm_one, NULL, out, err) : rc;
}

/* What is switched on or off for each terminal. */
static enum kl_rc switch_each(struct kl_store *store, const struct kl_admin_ask *ask,
                              const char *name, change_fn change, json_t **out, struct kl_err *err)
{
    json_t *serials = NULL;
    int on = 0;
    const struct kl_param table[] = {SERIALS_PARAM(&serials),
                                     {name, KL_PARAM_BOOL, 1, &on, 0, 0},
                                     {0}};
    enum kl_rc rc = kl_params_read(ask->params, table, err);

    return rc == KL_OK ? change_each(store, serials, ask->now, change, &on, out, err) : rc;
}

static enum kl_rc block_one(struct kl_store *store, const char *serial, int64_t now,
                            const void *arg, struct kl_err *err)
{
    const int *blocked = arg;

    return kl_life_block(store, serial, *blocked, now, err);
}

static enum kl_rc block(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                        struct kl_err *err)
{
    return switch_each(store, ask, "blocked", block_one, out, err);
}

static enum kl_rc accept_one(struct kl_store *store, const char *serial, int64_t now,
                             const void *arg, struct kl_err *err)
{
    const int *accept = arg;

    return kl_life_accept_imported(store, serial, *accept, now, err);
}

static enum kl_rc accept_imported(struct kl_store *store, const struct kl_admin_ask *ask,
                                  json_t **out, struct kl_err *err)
{
    return switch_each(store, ask, "accept", accept_one, out, err);
}

static enum kl_rc pinpad_one(struct kl_store *store, const char *serial, int64_t now,
                             const void *arg, struct kl_err *err)
{
    return kl_life_pinpad(store, serial, arg, now, err);
}

/* PIN pad "": any. */
static enum kl_rc pinpad(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                         struct kl_err *err)
{
    const char *serial = NULL;
    json_t *serials = NULL;
    const struct kl_param table[] = {SERIALS_PARAM(&serials),
                                     {"pinpad", KL_PARAM_TEXT, 1, &serial, 0, KL_SERIAL_MAX},
                                     {0}};
    enum kl_rc rc = kl_params_read(ask->params, table, err);

    if (rc == KL_OK && json_array_size(serials) != 1) {
        rc = kl_err_set(err, KL_ERR_INPUT, "a PIN pad is one terminal's");
    }
    return rc == KL_OK ? change_each(store, serials, ask->now, pinpad_one, serial, out, err) : rc;
}

/* ---- What reads ---- */

struct rows {
    struct kl_admin_page page;
    int64_t now;
};

static enum kl_rc terminal_row(const struct kl_terminal *terminal, void *arg, struct kl_err *err)
{
    struct rows *rows = arg;

    return kl_admin_page_add(&rows->page, kl_admin_terminal_json(terminal, rows->now), err);
}

static enum kl_rc list(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                       struct kl_err *err)
{
    const char *after = "";
    const struct kl_param table[] = {{"after", KL_PARAM_SERIAL, 0, &after, 0, 0}, {0}};
    struct rows rows = {.now = ask->now};
    enum kl_rc rc = kl_params_read(ask->params, table, err);

    if (rc != KL_OK) {
        return rc;
    }
    rows.page.rows = json_array();
    rc = kl_store_terminal_from(store, after, terminal_row, &rows, err);
    return kl_admin_page_end(&rows.page, "terminals", rc, out, err);
}

/* Adds what waits and what is in use; null where there is none. */
static enum kl_rc add_keys(struct kl_store *store, const char *serial, json_t *report,
                           struct kl_err *err)
{
    struct kl_err missing = KL_ERR_INIT;
    struct kl_working working;
    struct kl_import waits;
    enum kl_rc has = kl_store_import_get(store, serial, &waits, &missing);
    int bad = 0;

    if (has == KL_OK || has == KL_ERR_NOT_FOUND) {
        bad = json_object_set_new(report, "waiting",
                                  has == KL_OK ? kl_admin_import_json(&waits, 0) : json_null());
        has = kl_store_working_get(store, serial, &working, &missing);
    }
    if (has != KL_OK && has != KL_ERR_NOT_FOUND) {
        *err = missing;
        return has;
    }
    bad |= json_object_set_new(report, "working_keys",
                               has == KL_OK ? kl_admin_working_json(&working) : json_null());
    return bad ? kl_err_set(err, KL_ERR_MEMORY, "building the report") : KL_OK;
}

enum kl_rc kl_admin_terminal_report(struct kl_store *store, const char *serial, int64_t now,
                                    json_t **out, struct kl_err *err)
{
    struct kl_terminal terminal;
    json_t *report = NULL;
    enum kl_rc rc;

    if ((rc = kl_store_terminal_get(store, serial, &terminal, err)) != KL_OK ||
        (rc = kl_admin_give(kl_admin_terminal_json(&terminal, now), &report, err)) != KL_OK) {
        return rc;
    }
    if ((rc = add_keys(store, serial, report, err)) != KL_OK) {
        json_decref(report);
        return rc;
    }
    *out = report;
    return KL_OK;
}

/* Without its TMKs, of which there may be many: those are tmk-list's. */
static enum kl_rc show(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                       struct kl_err *err)
{
    const char *serial = NULL;
    const struct kl_param table[] = {{"serial", KL_PARAM_SERIAL, 1, &serial, 0, 0}, {0}};
    enum kl_rc rc = kl_params_read(ask->params, table, err);

    return rc == KL_OK ? kl_admin_terminal_report(store, serial, ask->now, out, err) : rc;
}

const struct kl_admin_op kl_admin_terminal_ops[] = {
    {"terminal-add", KL_ADMIN_REGISTER, add, 0, NULL},
    {"terminal-import", KL_ADMIN_REGISTER, import, 0, NULL},
    {"terminal-arm", KL_ADMIN_WRITE, arm, 0, NULL},
    {"terminal-arm-all", KL_ADMIN_WRITE, kl_admin_arm_all, KL_DUAL_ARM_ALL, kl_admin_arm_all_canon},
    {"terminal-disarm", KL_ADMIN_WRITE, disarm, 0, NULL},
    {"terminal-block", KL_ADMIN_WRITE, block, 0, NULL},
    {"terminal-pinpad", KL_ADMIN_WRITE, pinpad, 0, NULL},
    {"terminal-accept-imported", KL_ADMIN_WRITE, accept_imported, 0, NULL},
    {"terminal-list", KL_ADMIN_READ, list, 0, NULL},
    {"terminal-show", KL_ADMIN_READ, show, 0, NULL},
    {0},
};
