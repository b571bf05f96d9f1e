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
#define MARKS 5
#define LABEL_WIDTH 110.0

struct range {
    double low, high;
};

void kl_html_text(const char *text, FILE *out)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

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
        range = (struct range){0, 1};
    }
    if (range.high - range.low < 1e-9) {
        range.high = range.low + 1;
    }
    return range;
}

static double place(double value, struct range range, double from, double to)
{
    return from + (value - range.low) / (range.high - range.low) * (to - from);
}

static void axes(const struct kl_plot *plot, struct range x, struct range y, FILE *out)
{
    for (int i = 0; i <= MARKS; i++) {
        double share = (double)i / MARKS, value = y.low + share * (y.high - y.low);
        double at = place(value, y, HEIGHT - BOTTOM, TOP);

        fprintf(out,
                "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
                LEFT, WIDTH - RIGHT, at, at, LEFT - 6, at + 4,
                plot->log_y ? pow(10, value) : value);
        value = x.low + share * (x.high - x.low);
        fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.4g</text>\n",
                place(value, x, LEFT, WIDTH - RIGHT - 12), HEIGHT - BOTTOM + 14, value);
    }
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, plot->x_label);
}

void kl_plot(const struct kl_plot *plot, FILE *out)
{
    struct range x, y;

    fprintf(out, "<h2>%s</h2>\n", plot->title);
    if (plot->points == 0) {
        fputs("<p>nothing was measured</p>\n", out);
        return;
    }
    x = (struct range){plot->x[0], plot->x[plot->points - 1]};
    if (x.high - x.low < 1e-9) {
        x.high = x.low + 1;
    }
    y = range_of(plot);
    fprintf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n<title>%s</title>\n", WIDTH, HEIGHT,
            plot->title);
    axes(plot, x, y, out);
    for (size_t l = 0; l < plot->lines; l++) {
        fprintf(out, "<polyline class=\"c%zu\" points=\"", l);
        for (size_t i = 0; i < plot->points; i++) {
            if (drawn(plot, plot->line[l].y[i])) {
                fprintf(out, "%.1f,%.1f ", place(plot->x[i], x, LEFT, WIDTH - RIGHT - 12),
                        place(on_axis(plot, plot->line[l].y[i]), y, HEIGHT - BOTTOM, TOP));
            }
        }
        fprintf(out, "\"/><text class=\"c%zu\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", l,
                LEFT + 8 + (double)l * LABEL_WIDTH, TOP - 10, plot->line[l].label);
    }
    fputs("</svg>\n", out);
}
