/* SPDX-License-Identifier: BSD-2-Clause */
/* A run as one page of HTML: tables, and plots in SVG. No script, and nothing from elsewhere. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conf/markup.h"
#include "conf/page.h"
#include "terminal-sim/fleet/fleet_plot.h"
#include "terminal-sim/fleet/fleet_report.h"

/* ---- What the report has ---- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static double number_of(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

/* A value as a cell. */
static void cell(FILE *out, const json_t *value)
{
    if (json_is_integer(value)) {
        fprintf(out, "<td class=\"n\">%" JSON_INTEGER_FORMAT "</td>", json_integer_value(value));
    } else if (json_is_real(value)) {
        fprintf(out, "<td class=\"n\">%.2f</td>", json_real_value(value));
    } else if (json_is_boolean(value)) {
        fprintf(out, "<td>%s</td>", json_is_true(value) ? "yes" : "no");
    } else {
        fputs("<td>", out);
        kl_markup_text(out, json_is_string(value) ? json_string_value(value) : "");
        fputs("</td>", out);
    }
}

/* Name and value, of all members that are no objects or lists. */
static void facts(FILE *out, const char *title, const json_t *object)
{
    const char *name;
    json_t *value;

    fprintf(out, "<h2>%s</h2>\n<table>\n", title);
    json_object_foreach((json_t *)object, name, value)
    {
        if (json_is_object(value) || json_is_array(value)) {
            continue;
        }
        fputs("<tr><th>", out);
        kl_markup_text(out, name);
        fputs("</th>", out);
        cell(out, value);
        fputs("</tr>\n", out);
    }
    fputs("</table>\n", out);
}

/* A row for each member of `object` that is itself an object, a column for each of theirs. */
static void rows(FILE *out, const char *first, const json_t *object)
{
    const char *name, *column;
    json_t *row, *value;
    int heading = 0;

    json_object_foreach((json_t *)object, name, row)
    {
        if (!heading) {
            fprintf(out, "<table>\n<tr><th>%s</th>", first);
            json_object_foreach(row, column, value)
            {
                fprintf(out, "<th%s>", json_is_number(value) ? " class=\"n\"" : "");
                kl_markup_text(out, column);
                fputs("</th>", out);
            }
            fputs("</tr>\n", out);
            heading = 1;
        }
        fputs("<tr><th>", out);
        kl_markup_text(out, name);
        fputs("</th>", out);
        json_object_foreach(row, column, value)
        {
            cell(out, value);
        }
        fputs("</tr>\n", out);
    }
    fputs(heading ? "</table>\n" : "<p>none</p>\n", out);
}

/* ---- Plots ---- */

static double *column_of(const json_t *series, const char *name, size_t *count)
{
    const json_t *list = json_object_get(series, name);
    double *values;

    *count = json_array_size(list);
    values = calloc(*count + 1, sizeof(*values));
    for (size_t i = 0; values && i < *count; i++) {
        values[i] = json_number_value(json_array_get(list, i));
    }
    return values;
}

struct column {
    const char *name, *label;
};

/* How long the last of n points lasted, which may have been cut short. */
static double last_length(const json_t *report, double each, size_t n)
{
    double left = number_of(report, "seconds") - (double)(n - 1) * each;

    return fmin(fmax(left, 0), each);
}

/* A last point of less than half the usual length tells of chance: it becomes part of the one
 * before it. sum: what is counted; else the greater value. */
static void merge_last(double *values, size_t n, int sum)
{
    values[n - 2] = sum ? values[n - 2] + values[n - 1] : fmax(values[n - 2], values[n - 1]);
}

/* Columns of the series over time. divide: by the seconds of each point. */
static void over_time(FILE *out, const json_t *report, const char *title,
                      const struct column *columns, size_t count, int divide, int log_y)
{
    const json_t *series = json_object_get(report, "series");
    double each = number_of(series, "seconds-each"), *x, *y[KL_PLOT_LINES_MAX] = {NULL};
    struct kl_plot plot = {.title = title, .x_label = "seconds", .log_y = log_y};
    size_t n = json_array_size(json_object_get(series, columns[0].name)), ignored;
    double last = n > 0 ? last_length(report, each, n) : 0;
    int whole = 1, merge = n > 1 && last < each / 2;

    n -= (size_t)merge;
    last = merge ? last + each : last > 0 ? last : each;
    for (size_t i = 0; i < count; i++) {
        y[i] = column_of(series, columns[i].name, &ignored);
        whole &= y[i] != NULL;
        if (merge && y[i]) {
            merge_last(y[i], n + 1, divide);
        }
        for (size_t k = 0; divide && y[i] && k < n; k++) {
            y[i][k] /= k + 1 == n ? last : each;
        }
        plot.line[plot.lines++] = (struct kl_plot_line){columns[i].label, y[i]};
    }
    x = calloc(n + 1, sizeof(*x));
    for (size_t i = 0; x && i < n; i++) {
        x[i] = (double)i * each + (i + 1 == n ? last : each);
    }
    if (x && whole) {
        plot.x = x;
        plot.points = n;
        kl_plot(&plot, out);
    }
    free(x);
    for (size_t i = 0; i < count; i++) {
        free(y[i]);
    }
}

/* Times against shares, of which each mark is ten times closer to all than the last one. */
static void distribution(FILE *out, const json_t *report)
{
    const json_t *list = json_object_get(report, "distribution");
    size_t n = json_array_size(list);
    double *x = calloc(n + 1, sizeof(*x)), *y = calloc(n + 1, sizeof(*y));
    struct kl_plot plot = {.title = "Load times by percentile, ms",
                           .x_label = "nines: 1 = 90 %, 2 = 99 %, 3 = 99.9 %",
                           .log_y = 1,
                           .x = x,
                           .points = n,
                           .lines = 1,
                           .line = {{"ms", y}}};

    for (size_t i = 0; x && y && i < n; i++) {
        const json_t *pair = json_array_get(list, i);

        x[i] = -log10(1 - json_number_value(json_array_get(pair, 0)));
        y[i] = json_number_value(json_array_get(pair, 1));
    }
    if (x && y) {
        kl_plot(&plot, out);
    }
    free(x);
    free(y);
}

/* ---- The page ---- */

static void latencies(FILE *out, const json_t *report)
{
    static const struct column names[] = {{"load-ms", "load"},
                                          {"load-last-attempt-ms", "its last attempt"},
                                          {"busy-answer-ms", "answers that say busy"},
                                          {"sign-in-ms", "sign-in"},
                                          {"start-lag-ms", "late starts"}};
    json_t *table = json_object();

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_object_set(table, names[i].label, json_object_get(report, names[i].name));
    }
    json_object_update(table, json_object_get(report, "load-steps-ms"));
    fputs("<h2>Times, ms</h2>\n<p>Measured from ", out);
    kl_markup_text(out, text_of(report, "times-measured-from"));
    fputs(".</p>\n", out);
    rows(out, "of", table);
    json_decref(table);
}

void kl_fleet_html(const json_t *report, FILE *out)
{
    static const struct column rates[] = {{"good", "good"}, {"failed", "failed"}},
                               times[] = {{"p50-ms", "p50"}, {"p99-ms", "p99"}, {"max-ms", "max"}},
                               open[] = {{"open", "connections"}};
    const char *verdict = text_of(report, "verdict");
    int good = strcmp(verdict, "as-expected") == 0;

    kl_page_begin("terminal-sim fleet", out);
    fprintf(out, "<h1>Fleet run: <span class=\"%s\">%s</span></h1>\n<p>",
            good ? "as-expected" : "failed", good ? "as expected" : "failed");
    kl_markup_text(out, text_of(json_object_get(report, "settings"), "loader"));
    fputs(", ", out);
    kl_markup_text(out, text_of(report, "started"));
    fputs("</p>\n", out);
    over_time(out, report, "Loads and sign-ins a second", rates, 2, 1, 0);
    over_time(out, report, "Load times, ms", times, 3, 0, 1);
    over_time(out, report, "Connections at once", open, 1, 0, 0);
    distribution(out, report);
    latencies(out, report);
    fputs("<h2>Failures</h2>\n", out);
    rows(out, "kind", json_object_get(report, "errors"));
    facts(out, "Loads", json_object_get(report, "loads"));
    facts(out, "Sign-ins", json_object_get(report, "sign-ins"));
    facts(out, "Idle connections", json_object_get(report, "idle-connections"));
    facts(out, "Run", report);
    facts(out, "Settings", json_object_get(report, "settings"));
    kl_page_end(out);
}
