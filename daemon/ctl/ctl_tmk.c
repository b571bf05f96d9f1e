/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl tmk: what the store holds, and TMKs that are to be used no more.
 */
#include <string.h>

#include "conf/options.h"
#include "daemon/ctl/ctl_channel.h"
#include "daemon/ctl/ctl_terminal.h"

/* ---- list ---- */

static enum kl_rc take_state(const char *value, void *out, struct kl_err *err)
{
    for (int state = KL_TMK_PENDING; state <= KL_TMK_REVOKED; state++) {
        if (strcmp(value, kl_tmk_state_name((enum kl_tmk_state)state)) == 0) {
            *(const char **)out = value;
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_USAGE,
                      "'%.40s' must be pending, active, superseded, destroyed, expired or revoked",
                      value);
}

static void next_tmk(json_t *params, const json_t *last)
{
    (void)json_object_set(params, "after", json_object_get(last, "serial"));
    (void)json_object_set(params, "after_version", json_object_get(last, "version"));
}

static enum kl_rc tmk_list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {16, 7, 10, 9, 8, 9, 20, 20, 20, 20};
    const char *serial = NULL, *state = NULL;
    const struct kl_option options[] = {{"--serial", .text = &serial},
                                        {"--state", .take = take_state, .out = &state},
                                        {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    return rc == KL_OK
               ? kl_ctl_print_each(ctl, "tmk-list",
                                   json_pack("{s:s*, s:s*}", "serial", serial, "state", state),
                                   "tmks", next_tmk, widths, err)
               : rc;
}

static enum kl_rc tmk_waiting(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {16, 9, 8, 20, 0};
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "", err);

    return rc == KL_OK ? kl_ctl_print_each(ctl, "tmk-waiting", json_object(), "waiting",
                                           kl_ctl_next_serial, widths, err)
                       : rc;
}

/* ---- What changes a terminal's keys: then it is shown ---- */

static enum kl_rc change_keys(struct kl_ctl *ctl, const char *op, json_t *params,
                              struct kl_err *err)
{
    json_t *report;
    enum kl_rc rc = kl_ctl_call(ctl, op, params, &report, err);

    return rc == KL_OK ? kl_ctl_terminal_print(ctl, report, err) : rc;
}

static enum kl_rc tmk_cancel(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "SERIAL", err);

    return rc == KL_OK
               ? change_keys(ctl, "tmk-cancel", json_pack("{s:s}", "serial", argv[optind]), err)
               : rc;
}

static enum kl_rc tmk_revoke(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    unsigned version = 0;
    const char *reason = NULL;
    const struct kl_option options[] = {
        {"--version", .number = &version, .min = 1, .max = KL_VERSION_MAX},
        {"--reason", 1, .text = &reason},
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "SERIAL", err);

    return rc == KL_OK ? change_keys(ctl, "tmk-revoke",
                                     json_pack("{s:s, s:I, s:s}", "serial", argv[optind], "version",
                                               (json_int_t)version, "reason", reason),
                                     err)
                       : rc;
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
