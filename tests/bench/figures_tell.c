/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures told: as a table, as lines, as JSON and as a page. */
#include <stdlib.h>

#include "conf/markup.h"
#include "conf/page.h"
#include "terminal-sim/fleet/fleet_plot.h"
#include "tests/bench/figures.h"

static const char *const verdicts[] = {
    [FIGURE_MET] = "met",
    [FIGURE_MISSED] = "MISSED",
    [FIGURE_TOLD] = "-",
};

/* "at least 0.85"; "" without one. */
static const char *target_text(const struct figure *figure, char out[32])
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
                target_text(figure, target), verdicts[figure_judge(figure)]);
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

static json_t *curve_json(const struct curve *curve)
{
    json_t *lines = json_object(), *out;

    for (size_t i = 0; i < curve->lines; i++) {
        need(json_object_set_new(lines, curve->line[i], numbers(curve->y[i], curve->points)) == 0);
    }
    out = json_pack("{s:s, s:s, s:o, s:o}", "title", curve->title, "x-label", curve->x_label, "x",
                    numbers(curve->x, curve->points), "lines", lines);
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

/* ---- HTML ---- */

static void row(const struct figure *figure, FILE *out)
{
    enum figure_verdict verdict = figure_judge(figure);
    char target[32];

    fputs("<tr><th>", out);
    kl_markup_text(out, figure->name);
    fprintf(out,
            "</th><td class=\"n\">%.6g</td><td>%s</td><td class=\"n\">%.6g</td>"
            "<td class=\"n\">%.6g</td><td class=\"n\">%zu</td><td>%s</td><td class=\"%s\">%s</td>"
            "</tr>\n",
            figure_median(figure), figure->unit, figure_low(figure), figure_high(figure),
            figure->count, target_text(figure, target),
            verdict == FIGURE_MET      ? "as-expected"
            : verdict == FIGURE_MISSED ? "failed"
                                       : "",
            verdicts[verdict]);
}

static void plot(const struct curve *curve, FILE *out)
{
    struct kl_plot plot = {.title = curve->title,
                           .x_label = curve->x_label,
                           .x = curve->x,
                           .points = curve->points,
                           .lines = curve->lines};

    for (size_t i = 0; i < curve->lines; i++) {
        plot.line[i] = (struct kl_plot_line){curve->line[i], curve->y[i]};
    }
    kl_plot(&plot, out);
}

void figures_page(const struct figures *figures, FILE *out)
{
    const char *name;
    json_t *value;

    kl_page_begin("keyloader: make bench", out);
    fputs("<h1>make bench</h1>\n<table>\n<tr><th>figure</th><th class=\"n\">median</th>"
          "<th>unit</th><th class=\"n\">lowest</th><th class=\"n\">highest</th>"
          "<th class=\"n\">repeats</th><th>target</th><th>verdict</th></tr>\n",
          out);
    for (size_t i = 0; i < figures->count; i++) {
        row(&figures->list[i], out);
    }
    fputs("</table>\n", out);
    for (size_t i = 0; i < figures->curve_count; i++) {
        plot(&figures->curve[i], out);
    }
    fputs("<h2>Measured on</h2>\n<table>\n", out);
    json_object_foreach(figures->facts, name, value)
    {
        fputs("<tr><th>", out);
        kl_markup_text(out, name);
        fputs("</th><td>", out);
        kl_markup_text(out, json_string_value(value));
        fputs("</td></tr>\n", out);
    }
    fputs("</table>\n", out);
    kl_page_end(out);
}
