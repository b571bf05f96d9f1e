/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl terminal: the registry, and the windows in which a terminal may load.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/csv.h"
#include "daemon/ctl.h"
#include "daemon/ctl_list.h"
#include "daemon/ctl_tmk.h"
#include "daemon/life.h"

#define ARM_MIN 60               /* seconds */
#define ARM_MAX (30 * 24 * 3600) /* longer is no window but a habit */
#define ARM_FOR (2 * 3600)
#define ARM_ATTEMPTS 3
#define IMPORT_MAX (64 * 1024 * 1024) /* bytes */

static int64_t now_seconds(void)
{
    return (int64_t)time(NULL);
}

/* Ends a transaction the way its work went. */
static enum kl_rc finish(struct kl_store *store, enum kl_rc rc, struct kl_err *err)
{
    if (rc == KL_OK) {
        return kl_store_commit(store, err);
    }
    kl_store_rollback(store);
    return rc;
}

/* ---- Algorithms ---- */

/* No RSA work key carries an AES-192 or AES-256 TMK: better said now than at the first load. A
 * test lab's policy may be to warn only, once. */
static enum kl_rc check_strength(const struct kl_config *config, enum kl_alg alg, int *warned,
                                 struct kl_err *err)
{
    enum kl_rc rc = kl_alg_strength(KL_KEY_RSA, 4096, alg, err);

    if (rc != KL_ERR_STRENGTH) {
        return rc;
    }
    if (config->strength_enforce) {
        return kl_err_context(err, "strength-policy is enforce");
    }
    if (!*warned) {
        fprintf(stderr, "keyloaderctl: warning: %s\n", err->text);
    }
    *warned = 1;
    return KL_OK;
}

static enum kl_rc parse_alg(const struct kl_config *config, const char *name, int *warned,
                            enum kl_alg *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_by_name(name);
    enum kl_rc rc;

    if (!info) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "'%.40s' must be tdes2, tdes3, aes128, aes192 or aes256", name);
    }
    if ((rc = check_strength(config, info->alg, warned, err)) == KL_OK) {
        *out = info->alg;
    }
    return rc;
}

static enum kl_rc copy_serial(const char *what, const char *text, char out[KL_SERIAL_MAX + 1],
                              struct kl_err *err)
{
    if (!kl_serial_ok(text)) {
        return kl_err_set(err, KL_ERR_INPUT, "'%.40s' is no %s: 1 to %d of A-Z a-z 0-9 - . _", text,
                          what, KL_SERIAL_MAX);
    }
    memcpy(out, text, strlen(text) + 1);
    return KL_OK;
}

/* ---- What is shown ---- */

static const char *terminal_state(const struct kl_terminal *t, int64_t now)
{
    if (t->blocked) {
        return "blocked";
    }
    return t->armed_until >= now && t->attempts_left > 0 ? "armed" : "registered";
}

static json_t *terminal_json(const struct kl_terminal *t)
{
    const char *state = terminal_state(t, now_seconds());
    int armed = strcmp(state, "armed") == 0;

    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:i, s:o}", "serial", t->serial, "state", state,
                     "algorithm", kl_alg_info(t->alg)->name, "pinpad",
                     t->pinpad_serial[0] ? t->pinpad_serial : NULL, "armed_until",
                     kl_ctl_time(armed ? t->armed_until : 0), "attempts_left",
                     armed ? (int)t->attempts_left : 0, "created", kl_ctl_time(t->created));
}

/* ---- add ---- */

static enum kl_rc add(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {{"algorithm", required_argument, NULL, 'a'},
                                            {"pinpad", required_argument, NULL, 'p'},
                                            {0}};
    struct kl_terminal terminal = {0};
    const char *alg = "tdes2", *pinpad = NULL;
    struct kl_store *store = NULL;
    int c, warned = 0;
    enum kl_rc rc;

    kl_options_begin();
    while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (c == 'a') {
            alg = optarg;
        } else if (c == 'p') {
            pinpad = optarg;
        } else {
            return kl_options_error(c, argv, err);
        }
    }
    if ((rc = kl_options_operands(argc, argv, 1, "SERIAL", err)) != KL_OK ||
        (rc = copy_serial("serial", argv[optind], terminal.serial, err)) != KL_OK ||
        (rc = parse_alg(&ctl->config, alg, &warned, &terminal.alg, err)) != KL_OK) {
        return rc;
    }
    if (pinpad &&
        (rc = copy_serial("PIN pad serial", pinpad, terminal.pinpad_serial, err)) != KL_OK) {
        return rc;
    }
    if ((rc = kl_store_open(ctl->config.store, KL_STORE_CREATE, &store, err)) != KL_OK) {
        return rc;
    }
    terminal.created = now_seconds();
    if ((rc = kl_store_begin(store, err)) == KL_OK) {
        rc = finish(store, kl_life_register(store, &terminal, terminal.created, err), err);
    }
    kl_store_free(store);
    return rc == KL_OK ? kl_report_print(terminal_json(&terminal), ctl->json, err) : rc;
}

/* ---- import ---- */

struct import {
    struct kl_ctl *ctl;
    struct kl_store *store;
    struct kl_csv csv;
    int64_t now;
    unsigned long added, known;
    int warned;
};

static enum kl_rc import_header(struct import *import, struct kl_err *err)
{
    static const char *const names[] = {"serial", "algorithm", "pinpad"};
    const struct kl_csv *csv = &import->csv;
    int more = 0, same;
    enum kl_rc rc = kl_csv_next(&import->csv, &more, err);

    if (rc != KL_OK) {
        return rc;
    }
    same = more && csv->count == 3;
    for (size_t i = 0; same && i < 3; i++) {
        same = strcmp(csv->field[i], names[i]) == 0;
    }
    return same ? KL_OK
                : kl_err_set(err, KL_ERR_INPUT, "line 1: must be 'serial,algorithm,pinpad'");
}

static enum kl_rc parse_row(struct import *import, struct kl_terminal *out, struct kl_err *err)
{
    const struct kl_csv *csv = &import->csv;
    enum kl_rc rc;

    if (csv->count != 3) {
        return kl_err_set(err, KL_ERR_INPUT, "has %zu fields, must have 3", csv->count);
    }
    if ((rc = copy_serial("serial", csv->field[0], out->serial, err)) != KL_OK ||
        (rc = parse_alg(&import->ctl->config, csv->field[1], &import->warned, &out->alg, err)) !=
            KL_OK) {
        return rc;
    }
    return csv->field[2][0] ? copy_serial("PIN pad serial", csv->field[2], out->pinpad_serial, err)
                            : KL_OK;
}

/* A terminal that is there already must be the same. No PIN pad in the file goes with any in the
 * registry: the first load has bound it. */
static enum kl_rc import_row(struct import *import, struct kl_err *err)
{
    struct kl_terminal wanted = {0}, known;
    struct kl_err unknown = KL_ERR_INIT;
    enum kl_rc rc;

    if ((rc = parse_row(import, &wanted, err)) != KL_OK) {
        return rc;
    }
    rc = kl_store_terminal_get(import->store, wanted.serial, &known, &unknown);
    if (rc == KL_ERR_NOT_FOUND) {
        import->added++;
        return kl_life_register(import->store, &wanted, import->now, err);
    }
    if (rc != KL_OK) {
        *err = unknown;
        return rc;
    }
    if (known.alg != wanted.alg ||
        (wanted.pinpad_serial[0] && strcmp(known.pinpad_serial, wanted.pinpad_serial) != 0)) {
        return kl_err_set(err, KL_ERR_EXISTS,
                          "terminal %s is registered already, with %s and PIN pad %s",
                          wanted.serial, kl_alg_info(known.alg)->name,
                          known.pinpad_serial[0] ? known.pinpad_serial : "unknown");
    }
    import->known++;
    return KL_OK;
}

static enum kl_rc import_rows(struct import *import, const char *text, size_t len,
                              struct kl_err *err)
{
    struct kl_progress progress = {0};
    int more = 1;
    enum kl_rc rc;

    kl_csv_init(&import->csv, text, len);
    if ((rc = import_header(import, err)) != KL_OK) {
        return rc;
    }
    while ((rc = kl_csv_next(&import->csv, &more, err)) == KL_OK && more) {
        if ((rc = import_row(import, err)) != KL_OK) {
            return kl_err_context(err, "line %lu", import->csv.line);
        }
        kl_progress(&progress, "bytes imported", (uint64_t)(import->csv.at - text), len);
    }
    return rc;
}

static enum kl_rc import(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {{0}};
    struct import import = {.ctl = ctl, .now = now_seconds()};
    char *text = NULL;
    size_t len = 0;
    int c;
    enum kl_rc rc;

    kl_options_begin();
    if ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        return kl_options_error(c, argv, err);
    }
    if ((rc = kl_options_operands(argc, argv, 1, "FILE", err)) != KL_OK ||
        (rc = kl_file_read(argv[optind], IMPORT_MAX, &text, &len, err)) != KL_OK) {
        return rc;
    }
    if ((rc = kl_store_open(ctl->config.store, KL_STORE_CREATE, &import.store, err)) != KL_OK ||
        (rc = kl_store_begin(import.store, err)) != KL_OK) {
        goto out;
    }
    if ((rc = import_rows(&import, text, len, err)) != KL_OK) {
        kl_err_context(err, "%s (nothing was imported)", argv[optind]);
    }
    rc = finish(import.store, rc, err);
    if (rc == KL_OK) {
        rc = kl_report_print(json_pack("{s:I, s:I}", "registered", (json_int_t)import.added,
                                       "registered_already", (json_int_t)import.known),
                             ctl->json, err);
    }
out:
    kl_store_free(import.store);
    free(text);
    return rc;
}

/* ---- arm, block, unblock ---- */

struct arming {
    int64_t until;
    unsigned attempts;
};

static enum kl_rc parse_arming(int argc, char **argv, int64_t now, struct arming *out,
                               struct kl_err *err)
{
    static const struct option options[] = {{"for", required_argument, NULL, 'f'},
                                            {"until", required_argument, NULL, 'u'},
                                            {"attempts", required_argument, NULL, 'n'},
                                            {0}};
    const char *lasts = NULL, *until = NULL;
    uint64_t seconds = ARM_FOR;
    int c;
    enum kl_rc rc = KL_OK;

    out->attempts = ARM_ATTEMPTS;
    kl_options_begin();
    while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (c == 'f') {
            lasts = optarg;
        } else if (c == 'u') {
            until = optarg;
        } else if (c != 'n') {
            return kl_options_error(c, argv, err);
        } else if ((rc = kl_options_number("--attempts", optarg, 1, 100, &out->attempts, err)) !=
                   KL_OK) {
            return rc;
        }
    }
    if (lasts && until) {
        return kl_err_set(err, KL_ERR_USAGE, "--for and --until exclude each other");
    }
    if (lasts) {
        rc = kl_parse_duration(lasts, ARM_MIN, ARM_MAX, &seconds, err);
    }
    out->until = now + (int64_t)seconds;
    if (until) {
        rc = kl_time_parse(until, &out->until, err);
    }
    if (rc != KL_OK) {
        err->rc = KL_ERR_USAGE;
        return kl_err_context(err, "%s", lasts ? "--for" : "--until");
    }
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

    if (optind == argc) {
        rc = kl_err_set(err, KL_ERR_USAGE, "SERIAL is missing");
        goto out;
    }
    if ((rc = kl_store_open(ctl->config.store, KL_STORE_WRITE, &store, err)) != KL_OK ||
        (rc = kl_store_begin(store, err)) != KL_OK) {
        goto out;
    }
    for (int i = optind; i < argc && rc == KL_OK; i++) {
        rc = change(store, argv[i], now, arg, err);
        if (rc == KL_OK) {
            rc = kl_store_terminal_get(store, argv[i], &terminal, err);
        }
        if (rc == KL_OK && json_array_append_new(shown, terminal_json(&terminal)) != 0) {
            rc = kl_err_set(err, KL_ERR_MEMORY, "building the report");
        }
    }
    rc = finish(store, rc, err);
    if (rc == KL_OK) {
        rc = kl_report_print(argc - optind == 1 ? json_incref(json_array_get(shown, 0))
                                                : json_pack("{s:O}", "terminals", shown),
                             ctl->json, err);
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

static enum kl_rc block_one(struct kl_store *store, const char *serial, int64_t now,
                            const void *arg, struct kl_err *err)
{
    const int *blocked = arg;

    return kl_life_block(store, serial, *blocked, now, err);
}

static enum kl_rc block_each(struct kl_ctl *ctl, int argc, char **argv, int blocked,
                             struct kl_err *err)
{
    static const struct option options[] = {{0}};
    int c;

    kl_options_begin();
    if ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        return kl_options_error(c, argv, err);
    }
    return change_each(ctl, argc, argv, block_one, &blocked, err);
}

static enum kl_rc block(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    return block_each(ctl, argc, argv, 1, err);
}

static enum kl_rc unblock(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    return block_each(ctl, argc, argv, 0, err);
}

/* ---- list, show ---- */

static enum kl_rc parse_json_only(struct kl_ctl *ctl, int argc, char **argv, int operands,
                                  struct kl_err *err)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
    int c;

    kl_options_begin();
    while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (c != 'j') {
            return kl_options_error(c, argv, err);
        }
        ctl->json = 1;
    }
    return kl_options_operands(argc, argv, operands, "SERIAL", err);
}

static enum kl_rc terminal_row(const struct kl_terminal *terminal, void *arg, struct kl_err *err)
{
    return kl_ctl_list_row(arg, terminal_json(terminal), err);
}

static enum kl_rc list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {16, 10, 9, 16, 20, 13, 20};
    struct kl_ctl_list rows = {0, widths, 0};
    struct kl_store *store = NULL;
    enum kl_rc rc;

    if ((rc = parse_json_only(ctl, argc, argv, 0, err)) != KL_OK ||
        (rc = kl_store_open(ctl->config.store, KL_STORE_READ, &store, err)) != KL_OK) {
        return rc;
    }
    rows.json = ctl->json;
    rc = kl_store_terminal_each(store, terminal_row, &rows, err);
    if (rc == KL_OK) {
        rc = kl_ctl_list_end(&rows, err);
    }
    kl_store_free(store);
    return rc;
}

static enum kl_rc append_tmk(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    if (json_array_append_new(arg, kl_ctl_tmk_json(tmk, 0)) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "building the report");
    }
    return KL_OK;
}

static enum kl_rc show(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct kl_store *store = NULL;
    struct kl_terminal terminal;
    json_t *tmks = json_array(), *report = NULL;
    enum kl_rc rc;

    if ((rc = parse_json_only(ctl, argc, argv, 1, err)) != KL_OK ||
        (rc = kl_store_open(ctl->config.store, KL_STORE_READ, &store, err)) != KL_OK ||
        (rc = kl_store_terminal_get(store, argv[optind], &terminal, err)) != KL_OK ||
        (rc = kl_store_tmk_each(store, terminal.serial, 0, append_tmk, tmks, err)) != KL_OK) {
        goto out;
    }
    report = terminal_json(&terminal);
    if (json_object_set(report, "tmks", tmks) != 0) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "building the report");
    } else {
        rc = kl_report_print(json_incref(report), ctl->json, err);
    }
out:
    json_decref(report);
    json_decref(tmks);
    kl_store_free(store);
    return rc;
}

const struct kl_ctl_command kl_ctl_terminal_commands[] = {
    {"terminal", "add", add, "SERIAL [--algorithm ALG] [--pinpad SERIAL]",
     "registers a terminal; ALG of its TMK is tdes2 (default), tdes3, aes128, aes192 or aes256"},
    {"terminal", "import", import, "FILE",
     "registers all terminals of a CSV file (serial,algorithm,pinpad), or none of them"},
    {"terminal", "arm", arm, "SERIAL... [--for 2h | --until TIME] [--attempts N]",
     "lets terminals load one TMK each, within that time and N (default 3) attempts"},
    {"terminal", "block", block, "SERIAL...", "refuses terminals every load until unblocked"},
    {"terminal", "unblock", unblock, "SERIAL...", "lets blocked terminals be armed again"},
    {"terminal", "list", list, "[--json]", "all terminals"},
    {"terminal", "show", show, "SERIAL [--json]", "one terminal and its TMKs"},
    {0},
};
