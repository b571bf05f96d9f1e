/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl tmk: what the store holds, and TMKs that are to be used no more.
 */
#include "daemon/ctl_tmk.h"

#include <string.h>
#include <time.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl.h"
#include "daemon/ctl_list.h"
#include "daemon/ctl_store.h"
#include "daemon/ctl_terminal.h"
#include "daemon/life.h"

json_t *kl_ctl_tmk_json(const struct kl_tmk *tmk, int with_serial)
{
    char kcv[KL_KCV_TEXT];

    kl_kcv_format(tmk->kcv, tmk->kcv_len, kcv);
    return json_pack("{s:s*, s:i, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "serial",
                     with_serial ? tmk->serial : NULL, "version", (int)tmk->version, "state",
                     kl_tmk_state_name(tmk->state), "algorithm", kl_alg_info(tmk->alg)->name, "kcv",
                     kcv, "origin", tmk->imported ? "imported" : "generated", "created",
                     kl_ctl_time(tmk->created), "expires",
                     kl_ctl_time(tmk->state == KL_TMK_PENDING ? tmk->expires : 0), "activated",
                     kl_ctl_time(tmk->activated), "superseded", kl_ctl_time(tmk->superseded));
}

json_t *kl_ctl_import_json(const struct kl_import *import, int with_serial)
{
    char kcv[KL_KCV_TEXT];

    kl_kcv_format(import->key.kcv, import->key.kcv_len, kcv);
    return json_pack("{s:s*, s:s, s:s, s:o, s:s}", "serial", with_serial ? import->serial : NULL,
                     "algorithm", kl_alg_info(import->key.alg)->name, "kcv", kcv, "created",
                     kl_ctl_time(import->created), "origin", import->origin);
}

/* ---- list ---- */

static enum kl_rc tmk_row(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    return kl_ctl_list_row(arg, kl_ctl_tmk_json(tmk, 1), err);
}

static enum kl_rc take_state(const char *value, void *out, struct kl_err *err)
{
    for (int state = KL_TMK_PENDING; state <= KL_TMK_REVOKED; state++) {
        if (strcmp(value, kl_tmk_state_name((enum kl_tmk_state)state)) == 0) {
            *(enum kl_tmk_state *)out = (enum kl_tmk_state)state;
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_USAGE,
                      "'%.40s' must be pending, active, superseded, destroyed, expired or revoked",
                      value);
}

static enum kl_rc tmk_list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {16, 7, 10, 9, 8, 9, 20, 20, 20, 20};
    struct kl_ctl_list list = {ctl->json, widths, 0};
    enum kl_tmk_state state = 0;
    const char *serial = NULL;
    const struct kl_option options[] = {{"--serial", .text = &serial},
                                        {"--state", .take = take_state, .out = &state},
                                        {0}};
    struct kl_store *store = NULL;
    struct kl_terminal terminal;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, options, "", err)) != KL_OK ||
        (rc = kl_ctl_store_open(&ctl->config, KL_STORE_READ, &store, err)) != KL_OK) {
        return rc;
    }
    /* A mistyped serial is not a terminal without TMKs. */
    if (serial) {
        rc = kl_store_terminal_get(store, serial, &terminal, err);
    }
    if (rc == KL_OK) {
        rc = kl_store_tmk_each(store, serial, state, tmk_row, &list, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_list_end(&list, err);
    }
    kl_store_free(store);
    return rc;
}

/* ---- Imported TMKs that wait ---- */

static enum kl_rc import_row(const struct kl_import *import, void *arg, struct kl_err *err)
{
    return kl_ctl_list_row(arg, kl_ctl_import_json(import, 1), err);
}

static enum kl_rc tmk_waiting(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {16, 9, 8, 20, 0};
    struct kl_ctl_list list = {ctl->json, widths, 0};
    struct kl_store *store = NULL;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, NULL, "", err)) != KL_OK ||
        (rc = kl_ctl_store_open(&ctl->config, KL_STORE_READ, &store, err)) != KL_OK) {
        return rc;
    }
    rc = kl_store_import_each(store, import_row, &list, err);
    if (rc == KL_OK) {
        rc = kl_ctl_list_end(&list, err);
    }
    kl_store_free(store);
    return rc;
}

/* ---- What changes a terminal's keys: then it is shown ---- */

struct change {
    int cancel; /* of what waits; else revoke */
    uint32_t version;
    const char *reason;
};

static enum kl_rc apply(struct kl_store *store, const struct change *change, const char *serial,
                        struct kl_err *err)
{
    int64_t now = (int64_t)time(NULL);

    return change->cancel
               ? kl_life_import_cancel(store, serial, now, err)
               : kl_life_revoke(store, serial, change->version, change->reason, now, err);
}

static enum kl_rc change_keys(struct kl_ctl *ctl, const char *serial, const struct change *change,
                              struct kl_err *err)
{
    struct kl_store *store = NULL;
    json_t *report = NULL;
    enum kl_rc rc;

    if ((rc = kl_ctl_store_open(&ctl->config, KL_STORE_WRITE, &store, err)) != KL_OK) {
        return rc;
    }
    if ((rc = kl_store_begin(store, err)) == KL_OK) {
        rc = kl_ctl_finish(store, apply(store, change, serial, err), err);
    }
    if (rc == KL_OK && (rc = kl_ctl_terminal_report(store, serial, &report, err)) == KL_OK) {
        rc = kl_report_print(report, ctl->json, err);
    }
    kl_store_free(store);
    return rc;
}

static enum kl_rc tmk_cancel(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const struct change change = {.cancel = 1};
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "SERIAL", err);

    return rc == KL_OK ? change_keys(ctl, argv[optind], &change, err) : rc;
}

static enum kl_rc tmk_revoke(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct change change = {0};
    const struct kl_option options[] = {
        {"--version", .number = &change.version, .min = 1, .max = KL_VERSION_MAX},
        {"--reason", 1, .text = &change.reason},
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "SERIAL", err);

    return rc == KL_OK ? change_keys(ctl, argv[optind], &change, err) : rc;
}

const struct kl_ctl_command kl_ctl_tmk_commands[] = {
    {"tmk", "list", tmk_list, "[--serial SERIAL] [--state STATE]",
     "TMKs with version, state, KCV, origin and times; STATE is pending, active, superseded,\n"
     "      destroyed, expired or revoked"},
    {"tmk", "waiting", tmk_waiting, "", "imported TMKs that wait for their terminals' next load"},
    {"tmk", "cancel", tmk_cancel, "SERIAL",
     "drops the imported TMK that waits, and what is pending of it"},
    {"tmk", "revoke", tmk_revoke, "SERIAL [--version N] --reason TEXT",
     "revokes a terminal's TMK of that version, or all and what waits; it is disarmed, and its\n"
     "      working keys go with the TMK in use"},
    {0},
};
