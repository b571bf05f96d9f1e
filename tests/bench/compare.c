/* SPDX-License-Identifier: BSD-2-Clause */
/* Reports compared: see compare.h. */
#include "tests/bench/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"

#define FILE_MAX (8 << 20) /* bytes; a report has some 100,000 */

/* What is compared of a figure; borrowed from its JSON. */
struct side {
    const char *name, *unit;
    double median, low, high;
    json_int_t repeats;
    int at_least, at_most; /* 1: it has such a target */
};

static int read_side(const json_t *json, struct side *out)
{
    json_t *figure = (json_t *)(uintptr_t)json; /* json_unpack does not change it */

    if (json_unpack(figure, "{s:s, s:s, s:F, s:F, s:F, s:I}", "name", &out->name, "unit",
                    &out->unit, "median", &out->median, "low", &out->low, "high", &out->high,
                    "repeats", &out->repeats) != 0) {
        return 0;
    }
    out->at_least = json_object_get(json, "at-least") != NULL;
    out->at_most = json_object_get(json, "at-most") != NULL;
    return 1;
}

static enum kl_rc check(const json_t *report, const char *which, struct kl_err *err)
{
    const json_t *list = json_object_get(report, "figures");
    struct side side;

    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!read_side(json_array_get(list, i), &side)) {
            return kl_err_set(err, KL_ERR_INPUT,
                              "the %s report: figure %zu lacks a name, unit, median, low, high or "
                              "repeats",
                              which, i + 1);
        }
    }
    return json_array_size(list) > 0
               ? KL_OK
               : kl_err_set(err, KL_ERR_INPUT, "the %s report has no figures", which);
}

static int find(const json_t *report, const char *name, struct side *out)
{
    const json_t *list = json_object_get(report, "figures");

    for (size_t i = 0; i < json_array_size(list); i++) {
        if (read_side(json_array_get(list, i), out) && strcmp(out->name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static const char *meaning(const struct side *before, const struct side *after)
{
    int higher = after->low > before->high, lower = after->high < before->low;

    if (before->repeats < 2 || after->repeats < 2) {
        return "one sample: no spread";
    }
    if (!higher && !lower) {
        return "within the spread";
    }
    if (!after->at_least && !after->at_most) {
        return "beyond the spread";
    }
    return higher == after->at_least ? "better" : "WORSE";
}

enum kl_rc compare_reports(const json_t *before, const json_t *after, FILE *out, unsigned *worse,
                           struct kl_err *err)
{
    const json_t *list = json_object_get(after, "figures"),
                 *old = json_object_get(before, "figures");
    struct side a, b;
    enum kl_rc rc = check(before, "first", err);

    if (rc == KL_OK) {
        rc = check(after, "second", err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    *worse = 0;
    fprintf(out, "%-36s %12s %12s %-9s %8s  %s\n", "figure", "before", "after", "unit", "change",
            "meaning");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text;

        (void)read_side(json_array_get(list, i), &b);
        if (!find(before, b.name, &a)) {
            fprintf(out, "%-36s %12s %12.6g %-9s %8s  only after\n", b.name, "-", b.median, b.unit,
                    "");
            continue;
        }
        text = meaning(&a, &b);
        *worse += strcmp(text, "WORSE") == 0;
        fprintf(out, "%-36s %12.6g %12.6g %-9s", b.name, a.median, b.median, b.unit);
        if (a.median != 0) {
            fprintf(out, " %+7.1f%%  %s\n", 100 * (b.median - a.median) / fabs(a.median), text);
        } else {
            fprintf(out, " %8s  %s\n", "", text);
        }
    }
    for (size_t i = 0; i < json_array_size(old); i++) {
        (void)read_side(json_array_get(old, i), &a);
        if (!find(after, a.name, &b)) {
            fprintf(out, "%-36s %12.6g %12s %-9s %8s  only before\n", a.name, a.median, "-", a.unit,
                    "");
        }
    }
    return KL_OK;
}

static enum kl_rc load(const char *path, json_t **out, struct kl_err *err)
{
    json_error_t error;
    char *text = NULL;
    size_t len;
    enum kl_rc rc = kl_file_read(path, FILE_MAX, &text, &len, err);

    if (rc != KL_OK) {
        return rc;
    }
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    free(text);
    return *out ? KL_OK
                : kl_err_set(err, KL_ERR_INPUT, "%s: line %d: %s", path, error.line, error.text);
}

int compare_files(const char *before, const char *after)
{
    struct kl_err err = KL_ERR_INIT;
    json_t *a = NULL, *b = NULL;
    unsigned worse = 0;
    enum kl_rc rc = load(before, &a, &err);

    if (rc == KL_OK) {
        rc = load(after, &b, &err);
    }
    if (rc == KL_OK) {
        rc = compare_reports(a, b, stdout, &worse, &err);
    }
    json_decref(a);
    json_decref(b);
    return rc != KL_OK ? kl_cli_fail("bench", &err) : worse > 0;
}
