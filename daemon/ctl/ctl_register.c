/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl terminal add and import: terminals enter the registry, one or many.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/control/admin.h"
#include "daemon/ctl/csv.h"
#include "daemon/ctl/ctl_channel.h"
#include "daemon/ctl/ctl_terminal.h"
#include "daemon/loader/trust.h"
#include "proto/cert.h"

#define IMPORT_MAX (64 * 1024 * 1024) /* bytes */

/* ---- Algorithms ---- */

/* The work keys that are to carry the TMKs, as far as they are known. */
struct carriers {
    size_t count; /* installed certificates; 0 = nothing is known */
    struct {
        enum kl_key_type type;
        unsigned bits;
    } keys[KL_TRUST_MAX];
    int warned; /* bit set of algorithms: once each is enough */
};

static void add_carrier(const char *path, struct carriers *out)
{
    struct kl_err ignored = KL_ERR_INIT;
    STACK_OF(X509) *chain = NULL;
    size_t n = out->count;

    if (kl_cert_load_pem(path, &chain, &ignored) == KL_OK &&
        kl_cert_key_type(sk_X509_value(chain, 0), &out->keys[n].type, &out->keys[n].bits,
                         &ignored) == KL_OK) {
        out->count++;
    }
    sk_X509_pop_free(chain, X509_free);
}

/* What cannot be read is `cert show`'s to complain of. */
static void find_carriers(const struct kl_config *config, struct carriers *out)
{
    struct kl_err ignored = KL_ERR_INIT;
    struct kl_trust_labels labels;
    char path[PATH_MAX];

    *out = (struct carriers){0};
    if (kl_trust_labels(config, &labels, &ignored) != KL_OK) {
        return;
    }
    for (size_t i = 0; i < labels.count; i++) {
        if (kl_trust_path(config, labels.label[i], path, &ignored) == KL_OK) {
            add_carrier(path, out);
        }
    }
}

/* Can a TMK of that algorithm be loaded with what is installed today? Better said now than at the
 * first load; a better work key may come before it. */
static void warn_strength(struct carriers *carriers, enum kl_alg alg)
{
    struct kl_err finding = KL_ERR_INIT;
    int may = 0;

    for (size_t i = 0; i < carriers->count && !may; i++) {
        may =
            kl_alg_strength(carriers->keys[i].type, carriers->keys[i].bits, alg, &finding) == KL_OK;
    }
    if (!may && carriers->count > 0 && !(carriers->warned & 1 << alg)) {
        fprintf(stderr, "keyloaderctl: warning: no installed work key may carry it: %s\n",
                finding.text);
        carriers->warned |= 1 << alg;
    }
}

static enum kl_rc check_alg(struct carriers *carriers, const char *name, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_by_name(name);

    if (!info) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "algorithm: '%.40s' must be tdes2, tdes3, aes128, aes192 or aes256",
                          name);
    }
    warn_strength(carriers, info->alg);
    return KL_OK;
}

/* ---- add ---- */

enum kl_rc kl_ctl_terminal_add(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *alg = "tdes2", *pinpad = NULL;
    const struct kl_option options[] = {{"--algorithm", .text = &alg},
                                        {"--pinpad", .text = &pinpad},
                                        {0}};
    struct carriers carriers;
    json_t *result;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, options, "SERIAL", err)) != KL_OK ||
        (rc = kl_serial_check("serial", argv[optind], err)) != KL_OK) {
        return rc;
    }
    find_carriers(&ctl->config, &carriers);
    if ((rc = check_alg(&carriers, alg, err)) != KL_OK ||
        (pinpad && (rc = kl_serial_check("PIN pad serial", pinpad, err)) != KL_OK) ||
        (rc = kl_ctl_call(ctl, "terminal-add",
                          json_pack("{s:s, s:s, s:s*}", "serial", argv[optind], "algorithm", alg,
                                    "pinpad", pinpad),
                          &result, err)) != KL_OK) {
        return rc;
    }
    return kl_ctl_print_result(ctl, result, err);
}

/* ---- import ---- */

struct import {
    struct kl_ctl *ctl;
    struct kl_csv csv;
    struct carriers carriers;
    json_t *terminals;   /* that are yet to be handed on */
    unsigned long first; /* the line of the first of them */
    json_int_t added, known;
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
                : kl_err_set(err, KL_ERR_INPUT,
                             "line 1: the header line must be 'serial,algorithm,pinpad'");
}

static enum kl_rc check_row(struct import *import, struct kl_err *err)
{
    const struct kl_csv *csv = &import->csv;
    enum kl_rc rc;

    if (csv->count != 3) {
        return kl_err_set(err, KL_ERR_INPUT, "has %zu fields, must have 3", csv->count);
    }
    if ((rc = kl_serial_check("serial", csv->field[0], err)) != KL_OK ||
        (rc = check_alg(&import->carriers, csv->field[1], err)) != KL_OK) {
        return rc;
    }
    return csv->field[2][0] ? kl_serial_check("PIN pad serial", csv->field[2], err) : KL_OK;
}

/* Hands on what has gathered. */
static enum kl_rc flush(struct import *import, struct kl_err *err)
{
    json_t *result;
    enum kl_rc rc;

    if (json_array_size(import->terminals) == 0) {
        return KL_OK;
    }
    rc = kl_ctl_call(import->ctl, "terminal-import",
                     json_pack("{s:O, s:I}", "terminals", import->terminals, "first",
                               (json_int_t)import->first),
                     &result, err);
    if (rc != KL_OK) {
        return rc;
    }
    import->added += json_integer_value(json_object_get(result, "registered"));
    import->known += json_integer_value(json_object_get(result, "registered_already"));
    json_decref(result);
    json_array_clear(import->terminals);
    return KL_OK;
}

static enum kl_rc gather_row(struct import *import, struct kl_err *err)
{
    const struct kl_csv *csv = &import->csv;
    json_t *row = json_pack("{s:s, s:s, s:s*}", "serial", csv->field[0], "algorithm", csv->field[1],
                            "pinpad", csv->field[2][0] ? csv->field[2] : NULL);

    if (json_array_size(import->terminals) == 0) {
        import->first = csv->line;
    }
    if (json_array_append_new(import->terminals, row) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "terminals");
    }
    return json_array_size(import->terminals) == KL_ADMIN_STEP ? flush(import, err) : KL_OK;
}

/* Goes through the whole file; apply 0: only looks at it. */
static enum kl_rc go_through(struct import *import, const char *path, int apply, struct kl_err *err)
{
    struct kl_progress progress = {0};
    int more = 1;
    enum kl_rc rc = kl_csv_open(&import->csv, path, IMPORT_MAX, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = import_header(import, err);
    while (rc == KL_OK && (rc = kl_csv_next(&import->csv, &more, err)) == KL_OK && more) {
        if ((rc = check_row(import, err)) != KL_OK) {
            kl_err_context(err, "line %lu", import->csv.line);
        } else if (apply) {
            rc = gather_row(import, err);
            kl_progress(&progress, "bytes imported", kl_csv_offset(&import->csv), import->csv.size);
        }
    }
    if (rc == KL_OK && apply) {
        rc = flush(import, err);
    }
    kl_csv_close(&import->csv);
    return rc;
}

/* All or nothing: in one transaction; over the socket, after the whole file has been looked at, and
 * what a terminal that is there already may still refuse is said with what has been done. */
static enum kl_rc import_file(struct import *import, const char *path, struct kl_err *err)
{
    int daemon = 0;
    enum kl_rc rc = kl_ctl_has_daemon(import->ctl, &daemon, err);

    if (rc != KL_OK) {
        return rc;
    }
    find_carriers(&import->ctl->config, &import->carriers);
    if (daemon && (rc = go_through(import, path, 0, err)) != KL_OK) {
        return kl_err_context(err, "%s (nothing was imported)", path);
    }
    if ((rc = kl_ctl_begin(import->ctl, err)) != KL_OK) {
        return rc;
    }
    if ((rc = go_through(import, path, 1, err)) != KL_OK && import->added > 0 && daemon) {
        kl_err_context(err,
                       "%s (the %lld terminals before are registered; mend it and run it again)",
                       path, (long long)import->added);
    } else if (rc != KL_OK) {
        kl_err_context(err, "%s (nothing was imported)", path);
    }
    return kl_ctl_end(import->ctl, rc, err);
}

enum kl_rc kl_ctl_terminal_import(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct import *import;
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "FILE", err);

    if (rc != KL_OK) {
        return rc;
    }
    if (!(import = calloc(1, sizeof(*import)))) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory");
    }
    import->ctl = ctl;
    import->terminals = json_array();
    if ((rc = import_file(import, argv[optind], err)) == KL_OK) {
        rc = kl_report_print(json_pack("{s:I, s:I}", "registered", import->added,
                                       "registered_already", import->known),
                             ctl->json, err);
    }
    json_decref(import->terminals);
    free(import);
    return rc;
}
