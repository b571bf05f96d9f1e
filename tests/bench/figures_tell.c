/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures told: as a table, as lines and as JSON. */
#include <stdlib.h>

#include "tests/bench/figures.h"

const char *figure_verdict_text(const struct figure *figure)
{
    switch (figure_judge(figure)) {
    case FIGURE_MET:
        return "met";
    case FIGURE_MISSED:
        return "MISSED";
    default:
        return "-";
    }
}

const char *figure_target_text(const struct figure *figure, char out[32])
{
    out[0] = '\0';
    if (figure->rule != FIGURE_NO_TARGET) {
        (void)snprintf(out, 32, "at %s %.4g", figure->rule == FIGURE_AT_LEAST ? "least" : "most",
                       figure->target);
    }
    return out;
}

void figures_table(const struct figures *figures, FILE *out)
{
    char target[32];

    fprintf(out, "%-36s %12s %-9s %7s %7s  %-15s %s\n", "figure", "median", "unit", "spread",
            "repeats", "target", "verdict");
    for (size_t i = 0; i < figures->count; i++) {
        const struct figure *figure = &figures->list[i];

        fprintf(out, "%-36s %12.6g %-9s %6.1f%% %7zu  %-15s %s\n", figure->name,
                figure_median(figure), figure->unit, figure_spread(figure), figure->count,
                figure_target_text(figure, target), figure_verdict_text(figure));
    }
}

void figures_lines(const struct figures *figures, FILE *out)
{
    for (size_t i = 0; i < figures->count; i++) {
        const struct figure *figure = &figures->list[i];

        fprintf(out, "bench %s %.6g %s\n", figure->name, figure_median(figure), figure->unit);
    }
}

/* ---- JSON ---- */

static void need(int ok)
{
    if (!ok) {
        fputs("bench: no memory for JSON, or a figure that is no number\n", stderr);
        exit(70);
    }
}

static json_t *numbers(const double *values, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        need(json_array_append_new(list, json_real(values[i])) == 0);
    }
    return list;
}

static json_t *figure_json(const struct figure *figure)
{
    json_t *out = json_pack("{s:s, s:f, s:s, s:i, s:f, s:f, s:f, s:s, s:o}", "name", figure->name,
                            "median", figure_median(figure), "unit", figure->unit, "repeats",
                            (int)figure->count, "low", figure_low(figure), "high",
                            figure_high(figure), "spread-percent", figure_spread(figure), "verdict",
                            figure_judge(figure) == FIGURE_TOLD  ? "told"
                            : figure_judge(figure) == FIGURE_MET ? "met"
                                                                 : "missed",
                            "samples", numbers(figure->sample, figure->count));

    need(out != NULL);
    if (figure->rule != FIGURE_NO_TARGET) {
        need(json_object_set_new(out, figure->rule == FIGURE_AT_LEAST ? "at-least" : "at-most",
                                 json_real(figure->target)) == 0);
    }
    return out;
}

/* One value of each point. */
static json_t *points(const struct figure *figure, size_t count,
                      double (*value)(const struct figure *))
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        need(json_array_append_new(list, json_real(value(&figure[i]))) == 0);
    }
    return list;
}

static json_t *curve_json(const struct curve *curve)
{
    json_t *lines = json_object(), *x = json_array(), *out;

    for (size_t i = 0; i < curve->points; i++) {
        need(json_array_append_new(x, json_string(curve->x[i])) == 0);
    }
    for (size_t i = 0; i < curve->lines; i++) {
        json_t *line = json_pack("{s:o, s:o, s:o}", "median",
                                 points(curve->y[i], curve->points, figure_median), "low",
                                 points(curve->y[i], curve->points, figure_low), "high",
                                 points(curve->y[i], curve->points, figure_high));

        need(json_object_set_new(lines, curve->line[i], line) == 0);
    }
    out = json_pack("{s:s, s:s, s:s, s:o, s:o}", "title", curve->title, "x-label", curve->x_label,
                    "y-label", curve->y_label, "x", x, "lines", lines);
    need(out != NULL);
    return out;
}

json_t *figures_json(const struct figures *figures)
{
    json_t *list = json_array(), *curves = json_array(), *out;

    for (size_t i = 0; i < figures->count; i++) {
        need(json_array_append_new(list, figure_json(&figures->list[i])) == 0);
    }
    for (size_t i = 0; i < figures->curve_count; i++) {
        need(json_array_append_new(curves, curve_json(&figures->curve[i])) == 0);
    }
    out = json_pack("{s:O, s:o, s:o}", "facts", figures->facts, "figures", list, "curves", curves);
    need(out != NULL);
    return out;
}
