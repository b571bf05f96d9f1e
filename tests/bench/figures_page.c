/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Figures as a page: a table in which each figure's samples are drawn against its target, and
 * plots.
 */
#include <math.h>
#include <string.h>

#include "conf/markup.h"
#include "conf/page.h"
#include "tests/bench/figures.h"

/* ---- A figure's samples on a line, from 0 or what is less ---- */

#define STRIP_WIDTH 130.0
#define STRIP_HEIGHT 16.0

struct scale {
    double low, high, from, to; /* of values; where they are drawn */
};

static double place(const struct scale *scale, double value)
{
    return scale->from +
           (value - scale->low) / (scale->high - scale->low) * (scale->to - scale->from);
}

static void strip(const struct figure *figure, FILE *out)
{
    struct scale x = {fmin(0, figure_low(figure)), figure_high(figure), 4, STRIP_WIDTH - 4};
    double middle = STRIP_HEIGHT / 2;

    if (figure->rule != FIGURE_NO_TARGET) {
        x.high = fmax(x.high, figure->target);
    }
    if (figure->count == 0 || x.high - x.low < 1e-12) {
        return; /* all of it is 0 */
    }
    fprintf(out,
            "<svg style=\"width:%.0fpx;margin:0\" viewBox=\"0 0 %.0f %.0f\">"
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
            STRIP_WIDTH, STRIP_WIDTH, STRIP_HEIGHT, place(&x, 0), x.to, middle, middle);
    fprintf(out,
            "<line class=\"c0\" stroke-width=\"3\" stroke-opacity=\"0.5\" x1=\"%.1f\" "
            "x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
            place(&x, figure_low(figure)), place(&x, figure_high(figure)), middle, middle);
    for (size_t i = 0; i < figure->count; i++) {
        fprintf(out, "<circle class=\"c0\" cx=\"%.1f\" cy=\"%.1f\" r=\"2\"/>",
                place(&x, figure->sample[i]), middle);
    }
    if (figure->rule != FIGURE_NO_TARGET) {
        double at = place(&x, figure->target);

        fprintf(out,
                "<line class=\"c1\" stroke-width=\"2\" stroke-dasharray=\"3 2\" x1=\"%.1f\" "
                "x2=\"%.1f\" y1=\"0\" y2=\"%.1f\"/>",
                at, at, STRIP_HEIGHT);
    }
    fputs("</svg>", out);
}

/* ---- The table ---- */

#define COLUMNS 7

static void row(const struct figure *figure, FILE *out)
{
    static const char *const classes[] = {
        [FIGURE_MET] = "as-expected", [FIGURE_MISSED] = "failed", [FIGURE_TOLD] = ""};
    char target[32];

    fputs("<tr><td>", out);
    kl_markup_text(out, figure->name);
    fprintf(out, "</td><td class=\"n\">%.4g</td><td>%s</td><td class=\"n\">%.0f %%</td><td>",
            figure_median(figure), figure->unit, figure_spread(figure));
    strip(figure, out);
    fprintf(out, "</td><td style=\"white-space:nowrap\">%s</td><td class=\"%s\">%s</td></tr>\n",
            figure_target_text(figure, target), classes[figure_judge(figure)],
            figure_verdict_text(figure));
}

static void table(const struct figures *figures, FILE *out)
{
    const char *section = NULL;

    fputs("<table style=\"font-size:13px\">\n<tr><th>figure</th><th class=\"n\">median</th>"
          "<th>unit</th><th class=\"n\">spread</th><th>samples</th><th>target</th>"
          "<th>verdict</th></tr>\n",
          out);
    for (size_t i = 0; i < figures->count; i++) {
        const struct figure *figure = &figures->list[i];

        if (figure->section && figure->section != section) {
            fprintf(out, "<tr><th colspan=\"%d\">", COLUMNS);
            kl_markup_text(out, figure->section);
            fputs("</th></tr>\n", out);
        }
        section = figure->section;
        row(figure, out);
    }
    fputs("</table>\n", out);
}

/* ---- Plots ---- */

#define WIDTH 900.0
#define HEIGHT 280.0
#define LEFT 70.0
#define RIGHT 40.0
#define TOP 40.0 /* names of the axis and of the lines stand above */
#define BOTTOM 40.0
#define MARKS 5 /* about so many on the axis, at most twice */
#define CAP 4.0
#define NAME_WIDTH 90.0

static double highest(const struct curve *curve)
{
    double high = 0;

    for (size_t l = 0; l < curve->lines; l++) {
        for (size_t i = 0; i < curve->points; i++) {
            high = fmax(high, figure_high(&curve->y[l][i]));
        }
    }
    return high > 0 ? high : 1;
}

/* 1, 2 or 5 times a power of ten. */
static double step_of(double high)
{
    double raw = high / MARKS, unit = pow(10, floor(log10(raw))), times = raw / unit;

    return unit * (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10);
}

static double across(const struct curve *curve, size_t i)
{
    double room = WIDTH - LEFT - RIGHT;

    return LEFT + room * ((double)i + 0.5) / (double)curve->points;
}

static void axes(const struct curve *curve, const struct scale *y, FILE *out)
{
    double step = step_of(y->high);

    for (int i = 0; i * step <= y->high * (1 + 1e-9); i++) {
        double at = place(y, i * step);

        fprintf(out,
                "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.6g</text>\n",
                LEFT, WIDTH - RIGHT, at, at, LEFT - 6, at + 4, i * step);
    }
    for (size_t i = 0; i < curve->points; i++) {
        fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", across(curve, i),
                HEIGHT - BOTTOM + 16);
        kl_markup_text(out, curve->x[i]);
        fputs("</text>\n", out);
    }
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, curve->x_label);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n", 4.0, TOP - 16, curve->y_label);
}

/* From the lowest to the highest sample. */
static void whisker(const struct figure *point, size_t l, double x, const struct scale *y,
                    FILE *out)
{
    double low = place(y, figure_low(point)), high = place(y, figure_high(point));

    fprintf(out,
            "<polyline class=\"c%zu\" points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f "
            "%.1f,%.1f\"/>",
            l, x - CAP, low, x + CAP, low, x, low, x, high, x - CAP, high, x + CAP, high);
}

static void line(const struct curve *curve, size_t l, const struct scale *y, FILE *out)
{
    fprintf(out, "<polyline class=\"c%zu\" points=\"", l);
    for (size_t i = 0; !curve->apart && i < curve->points; i++) {
        if (curve->y[l][i].count > 0) {
            fprintf(out, "%.1f,%.1f ", across(curve, i), place(y, figure_median(&curve->y[l][i])));
        }
    }
    fputs("\"/>\n", out);
    for (size_t i = 0; i < curve->points; i++) {
        const struct figure *point = &curve->y[l][i];

        if (point->count > 1) {
            whisker(point, l, across(curve, i), y, out);
        }
        if (point->count > 0) {
            fprintf(out,
                    "<circle class=\"c%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%s: %.6g "
                    "(%.6g to %.6g)</title></circle>\n",
                    l, across(curve, i), place(y, figure_median(point)), curve->line[l],
                    figure_median(point), figure_low(point), figure_high(point));
        }
    }
    fprintf(out, "<text class=\"c%zu\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", l,
            WIDTH - RIGHT - (double)(curve->lines - 1 - l) * NAME_WIDTH, TOP - 16, curve->line[l]);
}

static void plot(const struct curve *curve, FILE *out)
{
    const struct scale y = {0, highest(curve), HEIGHT - BOTTOM, TOP};

    fprintf(out, "<h2>%s</h2>\n<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n<title>%s</title>\n",
            curve->title, WIDTH, HEIGHT, curve->title);
    axes(curve, &y, out);
    for (size_t l = 0; l < curve->lines; l++) {
        line(curve, l, &y, out);
    }
    fputs("</svg>\n", out);
}

/* ---- All of it ---- */

void figures_page(const struct figures *figures, FILE *out)
{
    const char *name;
    json_t *value;

    kl_page_begin("keyloader: make bench", out);
    fputs("<h1>make bench</h1>\n<p>Medians; spread is from the lowest to the highest sample, in "
          "percent of the median. Samples are drawn from 0 on, and the target as a dashed line. "
          "docs/performance.md says what is measured.</p>\n",
          out);
    table(figures, out);
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
