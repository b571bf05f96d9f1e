/* SPDX-License-Identifier: BSD-2-Clause */
/* Line plots. */
#include "terminal-sim/fleet/fleet_plot.h"

#include <math.h>

#define WIDTH 900.0
#define HEIGHT 260.0
#define LEFT 70.0
#define RIGHT 10.0
#define TOP 24.0 /* the lines' names stand above */
#define BOTTOM 34.0
#define MARKS 5 /* about so many on an axis, at most twice */
#define FEW 3   /* points that a line alone would hardly show */
#define LABEL_WIDTH 110.0

struct range {
    double low, high;
};

/* On the axis: the value, or its logarithm. */
static double on_axis(const struct kl_plot *plot, double y)
{
    return plot->log_y ? log10(y) : y;
}

static int drawn(const struct kl_plot *plot, double y)
{
    return !plot->log_y || y > 0;
}

static struct range range_of(const struct kl_plot *plot)
{
    struct range range = {plot->log_y ? INFINITY : 0, plot->log_y ? -INFINITY : 0};

    for (size_t l = 0; l < plot->lines; l++) {
        for (size_t i = 0; i < plot->points; i++) {
            double y = plot->line[l].y[i];

            if (drawn(plot, y)) {
                range.low = fmin(range.low, on_axis(plot, y));
                range.high = fmax(range.high, on_axis(plot, y));
            }
        }
    }
    if (!(range.low <= range.high)) {
        return (struct range){0, 1};
    }
    if (plot->log_y) { /* whole decades */
        range = (struct range){floor(range.low), ceil(range.high)};
    }
    if (range.high - range.low < 1e-9) {
        range.high = range.low + 1;
    }
    return range;
}

/* 1, 2 or 5 times a power of ten, so that about MARKS of them are in the range. */
static double step_of(struct range range)
{
    double raw = (range.high - range.low) / MARKS, unit = pow(10, floor(log10(raw)));
    double times = raw / unit;

    return unit * (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10);
}

static double place(double value, struct range range, double from, double to)
{
    return from + (value - range.low) / (range.high - range.low) * (to - from);
}

static void mark_y(double at, double value, FILE *out)
{
    fprintf(out,
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.6g</text>\n",
            LEFT, WIDTH - RIGHT, at, at, LEFT - 6, at + 4, value);
}

/* Of a logarithmic axis: decades, and between few of them 2 and 5. */
static void decades(struct range y, FILE *out)
{
    static const double between[] = {1, 2, 5};
    size_t each = y.high - y.low <= 2 ? 3 : 1;
    int step = (int)ceil((y.high - y.low) / (2 * MARKS));

    for (int decade = (int)y.low; decade <= (int)y.high; decade += step) {
        for (size_t i = 0; i < each; i++) {
            double value = pow(10, decade) * between[i];

            if (log10(value) <= y.high + 1e-9) {
                mark_y(place(log10(value), y, HEIGHT - BOTTOM, TOP), value, out);
            }
        }
    }
}

static void axes(const struct kl_plot *plot, struct range x, struct range y, FILE *out)
{
    double step = step_of(y);

    if (plot->log_y) {
        decades(y, out);
    } else {
        for (int i = 0; i * step <= y.high * (1 + 1e-9); i++) { /* y.low is 0 */
            mark_y(place(i * step, y, HEIGHT - BOTTOM, TOP), i * step, out);
        }
    }
    step = step_of(x);
    for (int i = 0; i * step <= x.high * (1 + 1e-9); i++) { /* and so is x.low */
        fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.6g</text>\n",
                place(i * step, x, LEFT, WIDTH - RIGHT - 12), HEIGHT - BOTTOM + 14, i * step);
    }
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, plot->x_label);
}

static void line(const struct kl_plot *plot, size_t l, struct range x, struct range y, FILE *out)
{
    const double *values = plot->line[l].y;

    fprintf(out, "<polyline class=\"c%zu\" points=\"", l);
    for (size_t i = 0; i < plot->points; i++) {
        if (drawn(plot, values[i])) {
            fprintf(out, "%.1f,%.1f ", place(plot->x[i], x, LEFT, WIDTH - RIGHT - 12),
                    place(on_axis(plot, values[i]), y, HEIGHT - BOTTOM, TOP));
        }
    }
    fputs("\"/>", out);
    for (size_t i = 0; plot->points < FEW && i < plot->points; i++) {
        if (drawn(plot, values[i])) {
            fprintf(out, "<circle class=\"c%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>", l,
                    place(plot->x[i], x, LEFT, WIDTH - RIGHT - 12),
                    place(on_axis(plot, values[i]), y, HEIGHT - BOTTOM, TOP));
        }
    }
    fprintf(out, "<text class=\"c%zu\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", l,
            LEFT + 8 + (double)l * LABEL_WIDTH, TOP - 10, plot->line[l].label);
}

void kl_plot(const struct kl_plot *plot, FILE *out)
{
    struct range x, y;

    fprintf(out, "<h2>%s</h2>\n", plot->title);
    if (plot->points == 0) {
        fputs("<p>nothing was measured</p>\n", out);
        return;
    }
    x = (struct range){0, plot->x[plot->points - 1]};
    if (x.high < 1e-9) {
        x.high = 1;
    }
    y = range_of(plot);
    fprintf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n<title>%s</title>\n", WIDTH, HEIGHT,
            plot->title);
    axes(plot, x, y, out);
    for (size_t l = 0; l < plot->lines; l++) {
        line(plot, l, x, y, out);
    }
    fputs("</svg>\n", out);
}
