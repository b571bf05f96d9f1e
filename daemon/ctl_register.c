/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl terminal add and import: terminals enter the registry, one or many.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/csv.h"
#include "daemon/ctl_store.h"
#include "daemon/ctl_terminal.h"
#include "daemon/life.h"
#include "daemon/trust.h"
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

static enum kl_rc parse_alg(struct carriers *carriers, const char *name, enum kl_alg *out,
                            struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_by_name(name);

    if (!info) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "algorithm: '%.40s' must be tdes2, tdes3, aes128, aes192 or aes256",
                          name);
    }
    warn_strength(carriers, info->alg);
    *out = info->alg;
    return KL_OK;
}

static enum kl_rc copy_serial(const char *what, const char *text, char out[KL_SERIAL_MAX + 1],
                              struct kl_err *err)
{
    enum kl_rc rc = kl_serial_check(what, text, err);

    if (rc != KL_OK) {
        return rc;
    }
    memcpy(out, text, strlen(text) + 1);
    return KL_OK;
}

/* ---- add ---- */

enum kl_rc kl_ctl_terminal_add(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct kl_terminal terminal = {0};
    const char *alg = "tdes2", *pinpad = NULL;
    const struct kl_option options[] = {{"--algorithm", .text = &alg},
                                        {"--pinpad", .text = &pinpad},
                                        {0}};
    struct kl_store *store = NULL;
    struct carriers carriers;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, options, "SERIAL", err)) != KL_OK ||
        (rc = copy_serial("serial", argv[optind], terminal.serial, err)) != KL_OK) {
        return rc;
    }
    find_carriers(&ctl->config, &carriers);
    if ((rc = parse_alg(&carriers, alg, &terminal.alg, err)) != KL_OK) {
        return rc;
    }
    if (pinpad &&
        (rc = copy_serial("PIN pad serial", pinpad, terminal.pinpad_serial, err)) != KL_OK) {
        return rc;
    }
    if ((rc = kl_ctl_store_open(&ctl->config, KL_STORE_CREATE, &store, err)) != KL_OK) {
        return rc;
    }
    terminal.created = (int64_t)time(NULL);
    if ((rc = kl_store_begin(store, err)) == KL_OK) {
        rc = kl_ctl_finish(store, kl_life_register(store, &terminal, terminal.created, err), err);
    }
    kl_store_free(store);
    return rc == KL_OK
               ? kl_report_print(kl_ctl_terminal_json(&terminal, terminal.created), ctl->json, err)
               : rc;
}

/* ---- import ---- */

struct import {
    struct kl_store *store;
    struct kl_csv csv;
    struct carriers carriers;
    int64_t now;
    unsigned long added, known;
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

static enum kl_rc parse_row(struct import *import, struct kl_terminal *out, struct kl_err *err)
{
    const struct kl_csv *csv = &import->csv;
    enum kl_rc rc;

    if (csv->count != 3) {
        return kl_err_set(err, KL_ERR_INPUT, "has %zu fields, must have 3", csv->count);
    }
    if ((rc = copy_serial("serial", csv->field[0], out->serial, err)) != KL_OK ||
        (rc = parse_alg(&import->carriers, csv->field[1], &out->alg, err)) != KL_OK) {
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

static enum kl_rc import_rows(struct import *import, struct kl_err *err)
{
    struct kl_progress progress = {0};
    int more = 1;
    enum kl_rc rc;

    if ((rc = import_header(import, err)) != KL_OK) {
        return rc;
    }
    while ((rc = kl_csv_next(&import->csv, &more, err)) == KL_OK && more) {
        if ((rc = import_row(import, err)) != KL_OK) {
            return kl_err_context(err, "line %lu", import->csv.line);
        }
        kl_progress(&progress, "bytes imported", kl_csv_offset(&import->csv), import->csv.size);
    }
    return rc;
}

static enum kl_rc import_file(struct kl_ctl *ctl, struct import *import, const char *path,
                              struct kl_err *err)
{
    enum kl_rc rc;

    find_carriers(&ctl->config, &import->carriers);
    if ((rc = kl_ctl_store_open(&ctl->config, KL_STORE_CREATE, &import->store, err)) != KL_OK ||
        (rc = kl_store_begin(import->store, err)) != KL_OK) {
        return rc;
    }
    if ((rc = import_rows(import, err)) != KL_OK) {
        kl_err_context(err, "%s (nothing was imported)", path);
    }
    return kl_ctl_finish(import->store, rc, err);
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
    import->now = (int64_t)time(NULL);
    if ((rc = kl_csv_open(&import->csv, argv[optind], IMPORT_MAX, err)) != KL_OK) {
        goto out;
    }
    if ((rc = import_file(ctl, import, argv[optind], err)) == KL_OK) {
        rc = kl_report_print(json_pack("{s:I, s:I}", "registered", (json_int_t)import->added,
                                       "registered_already", (json_int_t)import->known),
                             ctl->json, err);
    }
    kl_csv_close(&import->csv);
out:
    kl_store_free(import->store);
    free(import);
    return rc;
}
