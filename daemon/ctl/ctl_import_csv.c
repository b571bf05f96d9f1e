/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl tmk import --csv: many TMKs. First all rows go through the HSM, which takes its
 * time; then what has come of them goes into the store in one short transaction, whole or, with
 * --keep-going, all that is good.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/cli.h"
#include "conf/report.h"
#include "daemon/ctl/csv.h"
#include "daemon/ctl/ctl_import.h"
#include "daemon/ctl/ctl_store.h"
#include "daemon/ctl/ctl_terminal.h"
#include "daemon/life/life.h"
#include "pkcs11/rv.h"

#define FILE_MAX ((uint64_t)128 * 1024 * 1024) /* bytes */
#define ROWS_MAX 200000
#define FAULTS_SHOWN 20
#define COLUMNS 4

/* A row: its TMK, or only its serial when there is something wrong with it. */
struct row {
    unsigned long line;
    int bad;
    struct kl_import import;
};

struct job {
    const struct kl_ctl *ctl;
    const struct kl_ctl_csv *wish;
    struct kl_ctl_importer importer;
    struct kl_csv csv;
    struct row *rows;
    size_t count, capacity;
    unsigned long good, told; /* rows imported; faults, told or kept back */
    size_t gated;             /* see kl_ctl_import_put */
};

/* ---- Faults ---- */

/* Tells of a bad row, of the first ones that there are. */
static void fault(struct job *job, struct row *row, const char *text)
{
    row->bad = 1;
    if (job->told++ < FAULTS_SHOWN) {
        fprintf(stderr, "keyloaderctl: %s: line %lu: %s\n", job->wish->path, row->line, text);
    } else if (job->told == FAULTS_SHOWN + 1) {
        fprintf(stderr, "keyloaderctl: there is more wrong\n");
    }
}

/* What only this row is to blame for. */
static int is_rows_fault(enum kl_rc rc)
{
    switch (rc) {
    case KL_ERR_INPUT:
    case KL_ERR_VERIFY:
    case KL_ERR_STRENGTH:
    case KL_ERR_REFUSED:
    case KL_ERR_EXISTS:
    case KL_ERR_NOT_FOUND:
    case KL_ERR_UNKNOWN_TERMINAL:
        return 1;
    default:
        return 0;
    }
}

/* ---- Reading ---- */

static enum kl_rc read_header(struct job *job, struct kl_err *err)
{
    static const char *const names[COLUMNS] = {"serial", "algorithm", "cryptogram", "kcv"};
    const struct kl_csv *csv = &job->csv;
    int more = 0, same;
    enum kl_rc rc = kl_csv_next(&job->csv, &more, err);

    if (rc != KL_OK) {
        return rc;
    }
    same = more && csv->count == COLUMNS;
    for (size_t i = 0; same && i < COLUMNS; i++) {
        same = strcmp(csv->field[i], names[i]) == 0;
    }
    return same ? KL_OK
                : kl_err_set(err, KL_ERR_INPUT,
                             "line 1: the header line must be 'serial,algorithm,cryptogram,kcv'");
}

static enum kl_rc add_row(struct job *job, struct row **out, struct kl_err *err)
{
    struct row *rows;
    size_t capacity = job->capacity ? 2 * job->capacity : 256;

    if (job->count == ROWS_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "line %lu: at most %d rows at once", job->csv.line,
                          ROWS_MAX);
    }
    if (job->count == job->capacity) {
        if (!(rows = realloc(job->rows, capacity * sizeof(*rows)))) {
            return kl_err_set(err, KL_ERR_MEMORY, "rows of %s", job->wish->path);
        }
        job->rows = rows;
        job->capacity = capacity;
    }
    *out = &job->rows[job->count++];
    **out = (struct row){.line = job->csv.line};
    return KL_OK;
}

static enum kl_rc import_row(struct job *job, struct kl_import *out, struct kl_err *err)
{
    const struct kl_csv *csv = &job->csv;
    const struct kl_alg_info *info = NULL;
    enum kl_rc rc;

    if (csv->count != COLUMNS) {
        return kl_err_set(err, KL_ERR_INPUT, "has %zu fields, must have %d", csv->count, COLUMNS);
    }
    if ((rc = kl_ctl_import_alg(csv->field[1], &info, err)) != KL_OK) {
        return rc;
    }
    return kl_ctl_import_wrapped(&job->importer, csv->field[0], info, csv->field[2], csv->field[3],
                                 out, err);
}

/* Every row through the HSM. A bad one does not stop this, so that all are told at once. */
static enum kl_rc read_rows(struct job *job, struct kl_err *err)
{
    struct kl_progress progress = {0};
    struct kl_err why = KL_ERR_INIT;
    struct row *row = NULL;
    int more = 1;
    enum kl_rc rc = read_header(job, err);

    while (rc == KL_OK && (rc = kl_csv_next(&job->csv, &more, err)) == KL_OK && more) {
        enum kl_rc row_rc;

        if ((rc = add_row(job, &row, err)) != KL_OK) {
            break;
        }
        row_rc = import_row(job, &row->import, &why);
        if (row_rc != KL_OK && !is_rows_fault(row_rc)) {
            *err = why;
            rc = kl_err_context(err, "line %lu", row->line);
        } else if (row_rc != KL_OK) {
            snprintf(row->import.serial, sizeof(row->import.serial), "%.*s", KL_SERIAL_MAX,
                     job->csv.field[0]);
            fault(job, row, why.text);
        }
        kl_progress(&progress, "bytes read", kl_csv_offset(&job->csv), job->csv.size);
    }
    return rc;
}

/* ---- Serials that stand there twice ---- */

static int by_line(const void *a, const void *b)
{
    const struct row *one = a, *other = b;

    return (one->line > other->line) - (one->line < other->line);
}

static int by_serial(const void *a, const void *b)
{
    const struct row *one = a, *other = b;
    int order = strcmp(one->import.serial, other->import.serial);

    return order ? order : by_line(a, b);
}

/* Nobody can say which of them is meant: none is. */
static void refuse_doubles(struct job *job)
{
    struct row *rows = job->rows;
    struct kl_err text = KL_ERR_INIT;

    if (job->count < 2) {
        return;
    }
    qsort(rows, job->count, sizeof(*rows), by_serial);
    for (size_t i = 1, first = 0; i < job->count; i++) {
        if (strcmp(rows[i].import.serial, rows[first].import.serial) != 0) {
            first = i;
            continue;
        }
        kl_err_set(&text, KL_ERR_INPUT, "serial %s stands in line %lu already",
                   rows[i].import.serial, rows[first].line);
        fault(job, &rows[i], text.text);
        rows[first].bad = 1;
    }
    qsort(rows, job->count, sizeof(*rows), by_line);
}

/* ---- Into the store ---- */

static enum kl_rc put_row(struct job *job, struct kl_store *store, struct row *row, int64_t now,
                          struct kl_err *err)
{
    struct kl_err why = KL_ERR_INIT;
    enum kl_rc rc = kl_store_savepoint(store, err), row_rc;

    if (rc != KL_OK) {
        return rc;
    }
    row_rc = kl_ctl_import_put(&job->ctl->config, store, &row->import, job->wish->replace, now,
                               &job->gated, &why);
    if (row_rc == KL_OK) {
        job->good++;
        return kl_store_release(store, err);
    }
    if (!is_rows_fault(row_rc)) {
        *err = why;
        return kl_err_context(err, "line %lu", row->line);
    }
    fault(job, row, why.text);
    return kl_store_undo(store, err);
}

static enum kl_rc put_rows(struct job *job, struct kl_store *store, struct kl_err *err)
{
    struct kl_progress progress = {0};
    int64_t now = (int64_t)time(NULL);
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; rc == KL_OK && i < job->count; i++) {
        if (!job->rows[i].bad) {
            rc = put_row(job, store, &job->rows[i], now, err);
        }
        kl_progress(&progress, "TMKs stored", i + 1, job->count);
    }
    if (rc == KL_OK && job->good < job->count && !job->wish->keep_going) {
        rc = kl_err_set(err, KL_ERR_INPUT, "%zu of %zu rows are bad; nothing was imported",
                        job->count - job->good, job->count);
    }
    return rc;
}

static enum kl_rc store_rows(struct job *job, struct kl_err *err)
{
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_ctl_store_open(&job->ctl->config, KL_STORE_WRITE, &store, err);

    if (rc == KL_OK && (rc = kl_store_begin(store, err)) == KL_OK) {
        rc = kl_ctl_finish(store, put_rows(job, store, err), err);
    }
    if (rc == KL_OK) {
        kl_ctl_import_note(job->gated);
    }
    kl_store_free(store);
    return rc;
}

static enum kl_rc report(const struct job *job, struct kl_err *err)
{
    enum kl_rc rc = kl_report_print(json_pack("{s:I, s:I}", "imported", (json_int_t)job->good,
                                              "refused", (json_int_t)(job->count - job->good)),
                                    job->ctl->json, err);

    if (rc == KL_OK && job->good < job->count) {
        rc = kl_err_set(err, KL_ERR_INPUT, "%s: %zu of %zu rows were not imported", job->wish->path,
                        job->count - job->good, job->count);
    }
    return rc;
}

static enum kl_rc run(struct job *job, const struct kl_ctl_under *under, struct kl_err *err)
{
    enum kl_rc rc = kl_ctl_importer_open(&job->ctl->config, under, &job->importer, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = read_rows(job, err);
    kl_ctl_importer_close(&job->importer);
    if (rc == KL_OK) {
        refuse_doubles(job);
        rc = store_rows(job, err);
    }
    if (rc != KL_OK) {
        return kl_err_context(err, "%s", job->wish->path);
    }
    return report(job, err);
}

enum kl_rc kl_ctl_import_csv(const struct kl_ctl *ctl, const struct kl_ctl_under *under,
                             const struct kl_ctl_csv *csv, struct kl_err *err)
{
    struct job *job = calloc(1, sizeof(*job));
    enum kl_rc rc;

    if (!job) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory");
    }
    job->ctl = ctl;
    job->wish = csv;
    if ((rc = kl_csv_open(&job->csv, csv->path, FILE_MAX, err)) == KL_OK) {
        rc = run(job, under, err);
        kl_csv_close(&job->csv);
    }
    free(job->rows);
    free(job);
    return rc;
}
