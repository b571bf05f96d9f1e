/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl tmk and audit: what the store holds and what has happened to it. Reads only.
 */
#include "daemon/ctl_tmk.h"

#include <string.h>

#include "conf/options.h"
#include "daemon/ctl.h"
#include "daemon/ctl_list.h"

json_t *kl_ctl_tmk_json(const struct kl_tmk *tmk, int with_serial)
{
    char kcv[KL_KCV_TEXT];

    kl_kcv_format(tmk->kcv, tmk->kcv_len, kcv);
    return json_pack("{s:s*, s:i, s:s, s:s, s:s, s:o, s:o, s:o}", "serial",
                     with_serial ? tmk->serial : NULL, "version", (int)tmk->version, "state",
                     kl_tmk_state_name(tmk->state), "algorithm", kl_alg_info(tmk->alg)->name, "kcv",
                     kcv, "created", kl_ctl_time(tmk->created), "expires",
                     kl_ctl_time(tmk->state == KL_TMK_PENDING ? tmk->expires : 0), "activated",
                     kl_ctl_time(tmk->activated));
}

static enum kl_rc tmk_row(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    return kl_ctl_list_row(arg, kl_ctl_tmk_json(tmk, 1), err);
}

static enum kl_rc parse_state(const char *text, enum kl_tmk_state *out, struct kl_err *err)
{
    for (int state = KL_TMK_PENDING; state <= KL_TMK_EXPIRED; state++) {
        if (strcmp(text, kl_tmk_state_name((enum kl_tmk_state)state)) == 0) {
            *out = (enum kl_tmk_state)state;
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_USAGE,
                      "--state: '%.40s' must be pending, active, superseded, destroyed or expired",
                      text);
}

static enum kl_rc tmk_list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {{"serial", required_argument, NULL, 's'},
                                            {"state", required_argument, NULL, 't'},
                                            {0}};
    static const int widths[] = {16, 7, 10, 9, 8, 20, 20, 20};
    struct kl_ctl_list list = {ctl->json, widths, 0};
    enum kl_tmk_state state = 0;
    const char *serial = NULL;
    struct kl_store *store = NULL;
    struct kl_terminal terminal;
    int c;
    enum kl_rc rc;

    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        if (c == 's') {
            serial = optarg;
        } else if (c != 't') {
            return kl_options_error(c, argv, err);
        } else if ((rc = parse_state(optarg, &state, err)) != KL_OK) {
            return rc;
        }
    }
    if ((rc = kl_options_operands(argc, argv, 0, "", err)) != KL_OK ||
        (rc = kl_store_open(ctl->config.store, KL_STORE_READ, &store, err)) != KL_OK) {
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

static enum kl_rc audit_row(const struct kl_audit *record, void *arg, struct kl_err *err)
{
    return kl_ctl_list_row(arg,
                           json_pack("{s:I, s:o, s:s, s:s, s:s}", "id", (json_int_t)record->id,
                                     "time", kl_ctl_time(record->time), "event", record->event,
                                     "serial", record->serial, "detail", record->detail),
                           err);
}

static enum kl_rc audit_list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {{"last", required_argument, NULL, 'l'}, {0}};
    static const int widths[] = {8, 20, 20, 16, 0};
    struct kl_ctl_list list = {ctl->json, widths, 0};
    struct kl_store *store = NULL;
    unsigned last = 0;
    int c;
    enum kl_rc rc;

    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        if (c != 'l') {
            return kl_options_error(c, argv, err);
        } else if ((rc = kl_options_number("--last", optarg, 1, 1000000000, &last, err)) != KL_OK) {
            return rc;
        }
    }
    if ((rc = kl_options_operands(argc, argv, 0, "", err)) != KL_OK ||
        (rc = kl_store_open(ctl->config.store, KL_STORE_READ, &store, err)) != KL_OK) {
        return rc;
    }
    rc = kl_store_audit_each(store, last, audit_row, &list, err);
    if (rc == KL_OK) {
        rc = kl_ctl_list_end(&list, err);
    }
    kl_store_free(store);
    return rc;
}

const struct kl_ctl_command kl_ctl_tmk_commands[] = {
    {"tmk", "list", tmk_list, "[--serial SERIAL] [--state STATE]",
     "TMKs with version, state, KCV and times; STATE is pending, active, superseded, destroyed or "
     "expired"},
    {"audit", "list", audit_list, "[--last N]",
     "what has happened to terminals and TMKs, oldest first; the last N records (default all)"},
    {0},
};
