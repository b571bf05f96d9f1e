/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl terminal: the registry, and the windows in which a terminal may load.
 */
#include "daemon/ctl/ctl_terminal.h"

#include <time.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/control/admin_terminal.h"
#include "daemon/ctl/ctl_channel.h"

/* ---- What is shown ---- */

static void next_version(json_t *params, const json_t *last)
{
    (void)json_object_set(params, "after_version", json_object_get(last, "version"));
}

static enum kl_rc append_tmk(json_t *row, void *arg, struct kl_err *err)
{
    (void)json_object_del(row, "serial");
    return json_array_append_new(arg, row) == 0
               ? KL_OK
               : kl_err_set(err, KL_ERR_MEMORY, "building the report");
}

enum kl_rc kl_ctl_terminal_print(struct kl_ctl *ctl, json_t *report, struct kl_err *err)
{
    const char *serial = json_string_value(json_object_get(report, "serial"));
    json_t *tmks = json_array();
    enum kl_rc rc = KL_OK;

    if (serial) {
        rc = kl_ctl_each(ctl, "tmk-list", json_pack("{s:s}", "serial", serial), "tmks",
                         next_version, append_tmk, tmks, err);
        if (rc == KL_OK && json_object_set(report, "tmks", tmks) != 0) {
            rc = kl_err_set(err, KL_ERR_MEMORY, "building the report");
        }
    }
    json_decref(tmks);
    if (rc != KL_OK) {
        json_decref(report);
        return rc;
    }
    return kl_ctl_print_result(ctl, report, err);
}

/* ---- What changes terminals ---- */

/* Has one thing done to every serial on the command line, or to none of them; then shows them.
 * Takes params. */
static enum kl_rc change_each(struct kl_ctl *ctl, const char *op, json_t *params, int argc,
                              char **argv, struct kl_err *err)
{
    json_t *serials = json_array(), *result;
    enum kl_rc rc;

    for (int i = optind; i < argc; i++) {
        if (json_array_append_new(serials, json_string(argv[i])) != 0) {
            json_decref(params);
            json_decref(serials);
            return kl_err_set(err, KL_ERR_INPUT, "'%.40s' is no serial", argv[i]);
        }
    }
    if (json_object_set_new(params, "serials", serials) != 0) {
        json_decref(params);
        return kl_err_set(err, KL_ERR_MEMORY, "parameters");
    }
    rc = kl_ctl_call(ctl, op, params, &result, err);
    return rc == KL_OK ? kl_ctl_print_result(ctl, result, err) : rc;
}

static enum kl_rc take_for(const char *value, void *seconds, struct kl_err *err)
{
    return kl_parse_duration(value, KL_ADMIN_ARM_MIN, KL_ADMIN_ARM_MAX, seconds, err);
}

static enum kl_rc take_until(const char *value, void *until, struct kl_err *err)
{
    int64_t now = (int64_t)time(NULL), when = 0;
    enum kl_rc rc = kl_time_parse(value, &when, err);

    if (rc == KL_OK && (when <= now || when > now + KL_ADMIN_ARM_MAX)) {
        rc = kl_err_set(err, KL_ERR_USAGE, "must be in the future, by 30 days at most");
    }
    if (rc == KL_OK) {
        *(int64_t *)until = when;
    }
    return rc;
}

struct arming {
    uint64_t seconds;
    int64_t until;
    unsigned attempts;
};
#define ARMING_OPTIONS(arming) \
    {"--for", .take = take_for, .out = &(arming)->seconds}, \
        {"--until", .take = take_until, .out = &(arming)->until}, \
    { \
        "--attempts", .number = &(arming)->attempts, .min = 1, .max = 100 \
    }

/* *out: the parameters that an arming is told by. */
static enum kl_rc arming_params(const struct arming *arming, json_t **out, struct kl_err *err)
{
    json_t *params = json_object();
    int bad = 0;

    if (arming->seconds && arming->until) {
        json_decref(params);
        return kl_err_set(err, KL_ERR_USAGE, "--for and --until exclude each other");
    }
    if (arming->seconds) {
        bad |= json_object_set_new(params, "for", json_integer((json_int_t)arming->seconds));
    }
    if (arming->until) {
        bad |= json_object_set_new(params, "until", json_integer(arming->until));
    }
    if (arming->attempts) {
        bad |= json_object_set_new(params, "attempts", json_integer(arming->attempts));
    }
    *out = params;
    return bad ? kl_err_set(err, KL_ERR_MEMORY, "parameters") : KL_OK;
}

static enum kl_rc arm(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct arming arming = {0};
    const struct kl_option options[] = {ARMING_OPTIONS(&arming), {0}};
    json_t *params;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, options, "SERIAL...", err)) != KL_OK ||
        (rc = arming_params(&arming, &params, err)) != KL_OK) {
        return rc;
    }
    return change_each(ctl, "terminal-arm", params, argc, argv, err);
}

/* A step at a time; over the socket others' work goes between. All until the same time. */
static enum kl_rc arm_steps(struct kl_ctl *ctl, json_t *params, struct kl_err *err)
{
    struct kl_progress progress = {0};
    json_int_t armed = 0;
    json_t *result = NULL;
    int more = 1;
    enum kl_rc rc = KL_OK;

    while (rc == KL_OK && more) {
        rc = kl_ctl_call(ctl, "terminal-arm-all", json_incref(params), &result, err);
        if (rc == KL_OK && json_object_get(result, "request")) {
            json_decref(params);
            return kl_ctl_print_result(ctl, result, err);
        }
        more = json_is_true(json_object_get(result, "more"));
        armed += json_integer_value(json_object_get(result, "armed"));
        if (rc == KL_OK && more) {
            (void)json_object_set(params, "after", json_object_get(result, "after"));
        }
        kl_progress(&progress, "terminals armed", (uint64_t)armed, more ? 0 : (uint64_t)armed);
        json_decref(result);
    }
    json_decref(params);
    return rc == KL_OK ? kl_report_print(json_pack("{s:I}", "armed", armed), ctl->json, err)
                       : kl_err_context(err, "after %lld terminals", (long long)armed);
}

static enum kl_rc arm_all(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct arming arming = {0};
    const char *alg = NULL, *prefix = NULL;
    const struct kl_option options[] = {ARMING_OPTIONS(&arming),
                                        {"--algorithm", .text = &alg},
                                        {"--prefix", .text = &prefix},
                                        {0}};
    json_t *params, *filter;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, options, "", err)) != KL_OK ||
        (rc = arming_params(&arming, &params, err)) != KL_OK) {
        return rc;
    }
    filter = json_pack("{s:s*, s:s*}", "algorithm", alg, "prefix", prefix);
    if (json_object_set_new(params, "filter", filter) != 0) {
        json_decref(params);
        return kl_err_set(err, KL_ERR_INPUT, "--algorithm, --prefix: no text");
    }
    return arm_steps(ctl, params, err);
}

static enum kl_rc disarm(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "SERIAL...", err);

    return rc == KL_OK ? change_each(ctl, "terminal-disarm", json_object(), argc, argv, err) : rc;
}

static enum kl_rc block_each(struct kl_ctl *ctl, int argc, char **argv, int blocked,
                             struct kl_err *err)
{
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "SERIAL...", err);

    return rc == KL_OK ? change_each(ctl, "terminal-block", json_pack("{s:b}", "blocked", blocked),
                                     argc, argv, err)
                       : rc;
}

static enum kl_rc block(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    return block_each(ctl, argc, argv, 1, err);
}

static enum kl_rc unblock(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    return block_each(ctl, argc, argv, 0, err);
}

static enum kl_rc pinpad(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *serial = NULL;
    int any = 0;
    const struct kl_option options[] = {{"--set", .text = &serial}, {"--any", .flag = &any}, {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "SERIAL", err);

    if (rc != KL_OK) {
        return rc;
    }
    if (any == (serial != NULL)) {
        return kl_err_set(err, KL_ERR_USAGE, "either --set SNPINPAD or --any must be given");
    }
    /* Any is told as "", which is no serial that somebody may have meant to type. */
    if (serial && serial[0] == '\0') {
        return kl_err_set(err, KL_ERR_USAGE, "--set: a PIN pad serial is not empty; see --any");
    }
    return change_each(ctl, "terminal-pinpad", json_pack("{s:s}", "pinpad", any ? "" : serial),
                       argc, argv, err);
}

static enum kl_rc accept_imported(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    int no = 0;
    const struct kl_option options[] = {{"--no", .flag = &no}, {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "SERIAL...", err);

    return rc == KL_OK ? change_each(ctl, "terminal-accept-imported",
                                     json_pack("{s:b}", "accept", !no), argc, argv, err)
                       : rc;
}

/* ---- list, show ---- */

static enum kl_rc list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {16, 10, 9, 16, 20, 13, 20, 15, 0};
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "", err);

    return rc == KL_OK ? kl_ctl_print_each(ctl, "terminal-list", json_object(), "terminals",
                                           kl_ctl_next_serial, widths, err)
                       : rc;
}

static enum kl_rc show(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    json_t *report;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, NULL, "SERIAL", err)) != KL_OK ||
        (rc = kl_ctl_call(ctl, "terminal-show", json_pack("{s:s}", "serial", argv[optind]), &report,
                          err)) != KL_OK) {
        return rc;
    }
    return kl_ctl_terminal_print(ctl, report, err);
}

const struct kl_ctl_command kl_ctl_terminal_commands[] = {
    {"terminal", "add", kl_ctl_terminal_add, "SERIAL [--algorithm ALG] [--pinpad SNPINPAD]",
     "registers a terminal; ALG of its TMK is tdes2 (default), tdes3, aes128, aes192 or aes256"},
    {"terminal", "import", kl_ctl_terminal_import, "FILE",
     "registers all terminals of a CSV file (header serial,algorithm,pinpad), or none of them"},
    {"terminal", "arm", arm, "SERIAL... [--for TIME | --until WHEN] [--attempts N]",
     "lets terminals load one TMK each, for TIME (default 2h, at most 30d) or until WHEN (UTC,\n"
     "      like 2026-01-31T12:00:00Z), within N attempts (default 3, at most 100)"},
    {"terminal", "arm-all", arm_all,
     "[--for TIME | --until WHEN] [--attempts N] [--algorithm ALG] [--prefix SERIAL]",
     "does that to every terminal that is neither blocked nor armed; only those with that\n"
     "      algorithm, or whose serials begin so; takes two operators unless [control]\n"
     "      dual-control says otherwise"},
    {"terminal", "disarm", disarm, "SERIAL...",
     "ends armings, and destroys the TMKs that are still pending"},
    {"terminal", "pinpad", pinpad, "SERIAL --set SNPINPAD | --any",
     "registers another PIN pad for a terminal, or whichever loads next"},
    {"terminal", "block", block, "SERIAL...", "refuses terminals every load until unblocked"},
    {"terminal", "unblock", unblock, "SERIAL...", "lets blocked terminals be armed again"},
    {"terminal", "accept-imported", accept_imported, "SERIAL... [--no]",
     "accepts that imported TMKs go to terminals that cannot prove who they are, whoever asks\n"
     "      under that serial while it is armed; --no: accepts it no longer"},
    {"terminal", "list", list, "", "all terminals"},
    {"terminal", "show", show, "SERIAL", "one terminal and its keys"},
    {0},
};
