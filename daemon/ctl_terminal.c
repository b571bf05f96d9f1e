/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl terminal: the registry, and the windows in which a terminal may load.
 */
#include "daemon/ctl_terminal.h"

#include <string.h>
#include <time.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl_list.h"
#include "daemon/ctl_store.h"
#include "daemon/ctl_tmk.h"
#include "daemon/life.h"

#define ARM_MIN 60               /* seconds */
#define ARM_MAX (30 * 24 * 3600) /* longer is no window but a habit */
#define ARM_FOR (2 * 3600)
#define ARM_ATTEMPTS 3

static int64_t now_seconds(void)
{
    return (int64_t)time(NULL);
}

enum kl_rc kl_ctl_finish(struct kl_store *store, enum kl_rc rc, struct kl_err *err)
{
    if (rc == KL_OK) {
        return kl_store_commit(store, err);
    }
    kl_store_rollback(store);
    return rc;
}

/* ---- What is shown ---- */

static const char *terminal_state(const struct kl_terminal *t, int64_t now)
{
    if (t->blocked) {
        return "blocked";
    }
    return t->armed_until >= now && t->attempts_left > 0 ? "armed" : "registered";
}

static json_t *device_key_json(const struct kl_terminal *t)
{
    char text[2 * KL_HASH_LEN + 1];

    kl_hex_format(t->device_key, KL_HASH_LEN, text);
    return t->has_device_key ? json_string(text) : json_null();
}

json_t *kl_ctl_terminal_json(const struct kl_terminal *t, int64_t now)
{
    const char *state = terminal_state(t, now);
    int armed = strcmp(state, "armed") == 0;

    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:i, s:o, s:b, s:o}", "serial", t->serial, "state",
                     state, "algorithm", kl_alg_info(t->alg)->name, "pinpad",
                     t->pinpad_serial[0] ? t->pinpad_serial : NULL, "armed_until",
                     kl_ctl_time(armed ? t->armed_until : 0), "attempts_left",
                     armed ? (int)t->attempts_left : 0, "created", kl_ctl_time(t->created),
                     "accept_imported", t->accept_imported, "device_key", device_key_json(t));
}

static enum kl_rc append_tmk(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    if (json_array_append_new(arg, kl_ctl_tmk_json(tmk, 0)) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "building the report");
    }
    return KL_OK;
}

static json_t *working_json(const struct kl_working *working)
{
    char pik[KL_KCV_TEXT], mak[KL_KCV_TEXT];

    kl_kcv_format(working->pik.kcv, working->pik.kcv_len, pik);
    kl_kcv_format(working->mak.kcv, working->mak.kcv_len, mak);
    return json_pack("{s:i, s:s, s:s, s:o}", "tmk_version", (int)working->tmk_version, "pik_kcv",
                     pik, "mak_kcv", mak, "created", kl_ctl_time(working->created));
}

/* Adds what waits and what is in use; null where there is none. */
static enum kl_rc add_keys(struct kl_store *store, const char *serial, json_t *report,
                           struct kl_err *err)
{
    struct kl_err missing = KL_ERR_INIT;
    struct kl_working working;
    struct kl_import import;
    enum kl_rc waits = kl_store_import_get(store, serial, &import, &missing), has;

    if (waits != KL_OK && waits != KL_ERR_NOT_FOUND) {
        *err = missing;
        return waits;
    }
    has = kl_store_working_get(store, serial, &working, &missing);
    if (has != KL_OK && has != KL_ERR_NOT_FOUND) {
        *err = missing;
        return has;
    }
    if (json_object_set_new(report, "waiting",
                            waits == KL_OK ? kl_ctl_import_json(&import, 0) : json_null()) != 0 ||
        json_object_set_new(report, "working_keys",
                            has == KL_OK ? working_json(&working) : json_null()) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "building the report");
    }
    return KL_OK;
}

enum kl_rc kl_ctl_terminal_report(struct kl_store *store, const char *serial, json_t **out,
                                  struct kl_err *err)
{
    struct kl_terminal terminal;
    json_t *tmks = json_array(), *report = NULL;
    enum kl_rc rc;

    if ((rc = kl_store_terminal_get(store, serial, &terminal, err)) != KL_OK ||
        (rc = kl_store_tmk_each(store, serial, 0, append_tmk, tmks, err)) != KL_OK) {
        goto out;
    }
    report = kl_ctl_terminal_json(&terminal, now_seconds());
    if (json_object_set(report, "tmks", tmks) != 0) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "building the report");
        goto out;
    }
    if ((rc = add_keys(store, serial, report, err)) == KL_OK) {
        *out = report;
        report = NULL;
    }
out:
    json_decref(report);
    json_decref(tmks);
    return rc;
}

/* ---- What changes terminals ---- */

struct arming {
    int64_t until;
    unsigned attempts;
};

static enum kl_rc take_for(const char *value, void *seconds, struct kl_err *err)
{
    return kl_parse_duration(value, ARM_MIN, ARM_MAX, seconds, err);
}

static enum kl_rc take_until(const char *value, void *until, struct kl_err *err)
{
    return kl_time_parse(value, until, err);
}

static enum kl_rc parse_arming(int argc, char **argv, int64_t now, struct arming *out,
                               struct kl_err *err)
{
    uint64_t seconds = 0;
    int64_t until = -1;
    const struct kl_option options[] = {
        {"--for", .take = take_for, .out = &seconds},
        {"--until", .take = take_until, .out = &until},
        {"--attempts", .number = &out->attempts, .min = 1, .max = 100},
        {0},
    };
    enum kl_rc rc;

    out->attempts = ARM_ATTEMPTS;
    if ((rc = kl_options_parse(argc, argv, options, "SERIAL...", err)) != KL_OK) {
        return rc;
    }
    if (seconds && until >= 0) {
        return kl_err_set(err, KL_ERR_USAGE, "--for and --until exclude each other");
    }
    out->until = until >= 0 ? until : now + (int64_t)(seconds ? seconds : ARM_FOR);
    if (out->until <= now || out->until > now + ARM_MAX) {
        return kl_err_set(err, KL_ERR_USAGE, "--until: must be in the future, by 30 days at most");
    }
    return KL_OK;
}

/* Does one thing to every serial on the command line, or to none of them; then shows them. */
static enum kl_rc change_each(struct kl_ctl *ctl, int argc, char **argv,
                              enum kl_rc (*change)(struct kl_store *store, const char *serial,
                                                   int64_t now, const void *arg,
                                                   struct kl_err *err),
                              const void *arg, struct kl_err *err)
{
    struct kl_store *store = NULL;
    struct kl_terminal terminal;
    json_t *shown = json_array();
    int64_t now = now_seconds();
    enum kl_rc rc;

    if ((rc = kl_ctl_store_open(&ctl->config, KL_STORE_WRITE, &store, err)) != KL_OK ||
        (rc = kl_store_begin(store, err)) != KL_OK) {
        goto out;
    }
    for (int i = optind; i < argc && rc == KL_OK; i++) {
        rc = change(store, argv[i], now, arg, err);
        if (rc == KL_OK) {
            rc = kl_store_terminal_get(store, argv[i], &terminal, err);
        }
        if (rc == KL_OK &&
            json_array_append_new(shown, kl_ctl_terminal_json(&terminal, now)) != 0) {
            rc = kl_err_set(err, KL_ERR_MEMORY, "building the report");
        }
    }
    rc = kl_ctl_finish(store, rc, err);
    if (rc == KL_OK) {
        rc = kl_report_print(json_pack("{s:O}", "terminals", shown), ctl->json, err);
    }
out:
    json_decref(shown);
    kl_store_free(store);
    return rc;
}

static enum kl_rc arm_one(struct kl_store *store, const char *serial, int64_t now, const void *arg,
                          struct kl_err *err)
{
    const struct arming *arming = arg;

    return kl_life_arm(store, serial, arming->until, arming->attempts, now, err);
}

static enum kl_rc arm(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct arming arming;
    enum kl_rc rc = parse_arming(argc, argv, now_seconds(), &arming, err);

    return rc == KL_OK ? change_each(ctl, argc, argv, arm_one, &arming, err) : rc;
}

static enum kl_rc disarm_one(struct kl_store *store, const char *serial, int64_t now,
                             const void *arg, struct kl_err *err)
{
    (void)arg;
    return kl_life_disarm(store, serial, now, err);
}

static enum kl_rc block_one(struct kl_store *store, const char *serial, int64_t now,
                            const void *arg, struct kl_err *err)
{
    const int *blocked = arg;

    return kl_life_block(store, serial, *blocked, now, err);
}

static enum kl_rc disarm(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "SERIAL...", err);

    return rc == KL_OK ? change_each(ctl, argc, argv, disarm_one, NULL, err) : rc;
}

static enum kl_rc block_each(struct kl_ctl *ctl, int argc, char **argv, int blocked,
                             struct kl_err *err)
{
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "SERIAL...", err);

    return rc == KL_OK ? change_each(ctl, argc, argv, block_one, &blocked, err) : rc;
}

static enum kl_rc block(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    return block_each(ctl, argc, argv, 1, err);
}

static enum kl_rc unblock(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    return block_each(ctl, argc, argv, 0, err);
}

static enum kl_rc pinpad_one(struct kl_store *store, const char *serial, int64_t now,
                             const void *arg, struct kl_err *err)
{
    return kl_life_pinpad(store, serial, arg, now, err);
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
    return change_each(ctl, argc, argv, pinpad_one, any ? "" : serial, err);
}

static enum kl_rc accept_one(struct kl_store *store, const char *serial, int64_t now,
                             const void *arg, struct kl_err *err)
{
    const int *accept = arg;

    return kl_life_accept_imported(store, serial, *accept, now, err);
}

static enum kl_rc accept_imported(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    int no = 0;
    const struct kl_option options[] = {{"--no", .flag = &no}, {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "SERIAL...", err);
    int accept = !no;

    return rc == KL_OK ? change_each(ctl, argc, argv, accept_one, &accept, err) : rc;
}

/* ---- list, show ---- */

static enum kl_rc terminal_row(const struct kl_terminal *terminal, void *arg, struct kl_err *err)
{
    return kl_ctl_list_row(arg, kl_ctl_terminal_json(terminal, now_seconds()), err);
}

static enum kl_rc list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {16, 10, 9, 16, 20, 13, 20, 15, 0};
    struct kl_ctl_list rows = {ctl->json, widths, 0};
    struct kl_store *store = NULL;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, NULL, "", err)) != KL_OK ||
        (rc = kl_ctl_store_open(&ctl->config, KL_STORE_READ, &store, err)) != KL_OK) {
        return rc;
    }
    rc = kl_store_terminal_each(store, terminal_row, &rows, err);
    if (rc == KL_OK) {
        rc = kl_ctl_list_end(&rows, err);
    }
    kl_store_free(store);
    return rc;
}

static enum kl_rc show(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct kl_store *store = NULL;
    json_t *report = NULL;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, NULL, "SERIAL", err)) != KL_OK ||
        (rc = kl_ctl_store_open(&ctl->config, KL_STORE_READ, &store, err)) != KL_OK) {
        return rc;
    }
    if ((rc = kl_ctl_terminal_report(store, argv[optind], &report, err)) == KL_OK) {
        rc = kl_report_print(report, ctl->json, err);
    }
    kl_store_free(store);
    return rc;
}

const struct kl_ctl_command kl_ctl_terminal_commands[] = {
    {"terminal", "add", kl_ctl_terminal_add, "SERIAL [--algorithm ALG] [--pinpad SNPINPAD]",
     "registers a terminal; ALG of its TMK is tdes2 (default), tdes3, aes128, aes192 or aes256"},
    {"terminal", "import", kl_ctl_terminal_import, "FILE",
     "registers all terminals of a CSV file (header serial,algorithm,pinpad), or none of them"},
    {"terminal", "arm", arm, "SERIAL... [--for TIME | --until WHEN] [--attempts N]",
     "lets terminals load one TMK each, for TIME (default 2h, at most 30d) or until WHEN (UTC,\n"
     "      like 2026-01-31T12:00:00Z), within N attempts (default 3, at most 100)"},
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
