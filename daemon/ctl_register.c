/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl terminal add and import: terminals enter the registry, one or many.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/csv.h"
#include "daemon/ctl_hsm.h"
#include "daemon/ctl_terminal.h"
#include "daemon/life.h"
#include "proto/cert.h"

#define IMPORT_MAX (64 * 1024 * 1024) /* bytes */
#define RSA_BITS_MAX 4096             /* of a work key */

/* ---- Algorithms ---- */

/* The work key that is to carry the TMKs, as far as it is known. */
struct carrier {
    const struct kl_config *config;
    unsigned bits; /* of the installed certificate's RSA key; 0 = none is installed */
    int warned;    /* bit set of algorithms: once each is enough */
};

static void find_carrier(const struct kl_config *config, struct carrier *out)
{
    struct kl_err ignored = KL_ERR_INIT;
    STACK_OF(X509) *chain = NULL;
    enum kl_key_type type;

    *out = (struct carrier){.config = config};
    /* One that cannot be read is `cert show`'s to complain of. */
    if (kl_ctl_installed(config, &chain, &ignored) != KL_OK ||
        kl_cert_key_type(sk_X509_value(chain, 0), &type, &out->bits, &ignored) != KL_OK) {
        out->bits = 0;
    }
    sk_X509_pop_free(chain, X509_free);
}

static void warn(struct carrier *carrier, enum kl_alg alg, const char *text)
{
    if (!(carrier->warned & 1 << alg)) {
        fprintf(stderr, "keyloaderctl: warning: %s\n", text);
    }
    carrier->warned |= 1 << alg;
}

/* Can a TMK of that algorithm be loaded at all? Better said now than at the first load. One that
 * no RSA work key may carry is refused, unless the policy is to warn only; one that merely needs a
 * better work key than is installed today is not. */
static enum kl_rc check_strength(struct carrier *carrier, enum kl_alg alg, struct kl_err *err)
{
    struct kl_err finding = KL_ERR_INIT;
    int never = kl_alg_strength(KL_KEY_RSA, RSA_BITS_MAX, alg, &finding) != KL_OK;

    if (carrier->bits > 0 && kl_alg_strength(KL_KEY_RSA, carrier->bits, alg, &finding) != KL_OK) {
        kl_err_context(&finding, "the installed certificate");
    } else if (!never) {
        return KL_OK;
    } else {
        kl_err_set(&finding, KL_ERR_STRENGTH, "no RSA work key may carry a TMK of algorithm %s",
                   kl_alg_info(alg)->name);
    }
    if (never && carrier->config->strength_enforce) {
        *err = finding;
        return kl_err_context(err, "strength-policy is enforce");
    }
    warn(carrier, alg, finding.text);
    return KL_OK;
}

static enum kl_rc parse_alg(struct carrier *carrier, const char *name, enum kl_alg *out,
                            struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_by_name(name);
    enum kl_rc rc;

    if (!info) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "'%.40s' must be tdes2, tdes3, aes128, aes192 or aes256", name);
    }
    if ((rc = check_strength(carrier, info->alg, err)) == KL_OK) {
        *out = info->alg;
    }
    return rc;
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
    static const struct option options[] = {{"algorithm", required_argument, NULL, 'a'},
                                            {"pinpad", required_argument, NULL, 'p'},
                                            {0}};
    struct kl_terminal terminal = {0};
    const char *alg = "tdes2", *pinpad = NULL;
    struct kl_store *store = NULL;
    struct carrier carrier;
    int c;
    enum kl_rc rc;

    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        if (c == 'a') {
            alg = optarg;
        } else if (c == 'p') {
            pinpad = optarg;
        } else {
            return kl_options_error(c, argv, err);
        }
    }
    if ((rc = kl_options_operands(argc, argv, 1, "SERIAL", err)) != KL_OK ||
        (rc = copy_serial("serial", argv[optind], terminal.serial, err)) != KL_OK) {
        return rc;
    }
    find_carrier(&ctl->config, &carrier);
    if ((rc = parse_alg(&carrier, alg, &terminal.alg, err)) != KL_OK) {
        return rc;
    }
    if (pinpad &&
        (rc = copy_serial("PIN pad serial", pinpad, terminal.pinpad_serial, err)) != KL_OK) {
        return rc;
    }
    if ((rc = kl_store_open(ctl->config.store, KL_STORE_CREATE, &store, err)) != KL_OK) {
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
    struct carrier carrier;
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
        (rc = parse_alg(&import->carrier, csv->field[1], &out->alg, err)) != KL_OK) {
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

enum kl_rc kl_ctl_terminal_import(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const struct option options[] = {{0}};
    struct import import = {.now = (int64_t)time(NULL)};
    char *text = NULL;
    size_t len = 0;
    int c;
    enum kl_rc rc;

    kl_options_begin();
    if ((c = kl_options_next(argc, argv, options)) != -1) {
        return kl_options_error(c, argv, err);
    }
    if ((rc = kl_options_operands(argc, argv, 1, "FILE", err)) != KL_OK ||
        (rc = kl_file_read(argv[optind], IMPORT_MAX, &text, &len, err)) != KL_OK) {
        return rc;
    }
    find_carrier(&ctl->config, &import.carrier);
    if ((rc = kl_store_open(ctl->config.store, KL_STORE_CREATE, &import.store, err)) != KL_OK ||
        (rc = kl_store_begin(import.store, err)) != KL_OK) {
        goto out;
    }
    if ((rc = import_rows(&import, text, len, err)) != KL_OK) {
        kl_err_context(err, "%s (nothing was imported)", argv[optind]);
    }
    rc = kl_ctl_finish(import.store, rc, err);
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
