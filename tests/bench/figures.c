/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures, and what they come to: see figures.h. */
#include "tests/bench/figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(70);
}

struct figures *figures_new(void)
{
    struct figures *figures = calloc(1, sizeof(*figures));

    if (!figures || !(figures->facts = json_object())) {
        die("no memory for figures");
    }
    return figures;
}

void figures_free(struct figures *figures)
{
    json_decref(figures->facts);
    free(figures);
}

void figures_section(struct figures *figures, const char *name)
{
    figures->section = name;
}

struct figure *figure_of(struct figures *figures, const char *name, const char *unit,
                         enum figure_rule rule, double target)
{
    struct figure *figure;

    for (size_t i = 0; i < figures->count; i++) {
        if (strcmp(figures->list[i].name, name) == 0) {
            return &figures->list[i];
        }
    }
    if (figures->count == FIGURES_MAX || strlen(name) >= FIGURE_NAME_MAX) {
        die("too many figures, or too long a name");
    }
    figure = &figures->list[figures->count++];
    *figure =
        (struct figure){.unit = unit, .section = figures->section, .rule = rule, .target = target};
    strcpy(figure->name, name);
    return figure;
}

void figure_add(struct figure *figure, double sample)
{
    if (figure->count == FIGURE_SAMPLES_MAX) {
        die("too many samples of a figure");
    }
    figure->sample[figure->count++] = sample;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The sample at that place among the sorted ones; between two, their mean. */
static double at(const struct figure *figure, double share)
{
    double sorted[FIGURE_SAMPLES_MAX], place;
    size_t below;

    if (figure->count == 0) {
        return NAN;
    }
    memcpy(sorted, figure->sample, figure->count * sizeof(sorted[0]));
    qsort(sorted, figure->count, sizeof(sorted[0]), by_value);
    place = share * (double)(figure->count - 1);
    below = (size_t)place;
    return place > (double)below ? (sorted[below] + sorted[below + 1]) / 2 : sorted[below];
}

double figure_median(const struct figure *figure)
{
    return at(figure, 0.5);
}

double figure_low(const struct figure *figure)
{
    return at(figure, 0);
}

double figure_high(const struct figure *figure)
{
    return at(figure, 1);
}

double figure_spread(const struct figure *figure)
{
    double median = figure_median(figure);

    return figure->count == 0 || median == 0
               ? 0
               : 100 * (figure_high(figure) - figure_low(figure)) / fabs(median);
}

enum figure_verdict figure_judge(const struct figure *figure)
{
    double median = figure_median(figure);

    switch (figure->rule) {
    case FIGURE_AT_LEAST:
        return median >= figure->target ? FIGURE_MET : FIGURE_MISSED;
    case FIGURE_AT_MOST:
        return median <= figure->target ? FIGURE_MET : FIGURE_MISSED;
    default:
        return FIGURE_TOLD;
    }
}

struct curve *curve_new(struct figures *figures, const char *title, const char *x_label,
                        const char *y_label, size_t lines)
{
    struct curve *curve;

    if (figures->curve_count == CURVES_MAX || lines > CURVE_LINES_MAX) {
        die("too many plots, or lines of one");
    }
    curve = &figures->curve[figures->curve_count++];
    *curve = (struct curve){.title = title, .x_label = x_label, .y_label = y_label, .lines = lines};
    return curve;
}

void curve_point(struct curve *curve, const char *x)
{
    if (curve->points == CURVE_POINTS_MAX || strlen(x) >= sizeof(curve->x[0])) {
        die("too many points of a plot, or too long a name of one");
    }
    strcpy(curve->x[curve->points++], x);
}

void curve_add(struct curve *curve, size_t line, double sample)
{
    if (line >= curve->lines || curve->points == 0) {
        die("a plot has no such line, or no point");
    }
    figure_add(&curve->y[line][curve->points - 1], sample);
}

void figures_fact(struct figures *figures, const char *name, const char *value)
{
    if (json_object_set_new(figures->facts, name, json_string(value))) {
        die("a fact is no text");
    }
}
