/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Figures of a benchmark: what was measured several times, its median and spread, and whether that
 * meets its target. Told as a table, as lines "bench NAME VALUE UNIT", as JSON and as a page of
 * HTML. One thread; running out of room ends the program.
 */
#ifndef KL_TESTS_BENCH_FIGURES_H
#define KL_TESTS_BENCH_FIGURES_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#define FIGURES_MAX 128
#define FIGURE_SAMPLES_MAX 64
#define FIGURE_NAME_MAX 64

enum figure_rule {
    FIGURE_NO_TARGET, /* it is told, and that is all */
    FIGURE_AT_LEAST,
    FIGURE_AT_MOST,
};

struct figure {
    char name[FIGURE_NAME_MAX];
    const char *unit;    /* static; one word, so that a line has four */
    const char *section; /* figures_section's */
    enum figure_rule rule;
    double target;
    size_t count;
    double sample[FIGURE_SAMPLES_MAX]; /* in the order in which they were taken */
};

#define CURVE_POINTS_MAX 16
#define CURVE_LINES_MAX 3

/* Something against something else: a plot, whose points are figures without a name. */
struct curve {
    const char *title, *x_label, *y_label; /* static */
    const char *line[CURVE_LINES_MAX];     /* what they are called: static */
    int apart;                             /* 1: no lines between points, which have no order */
    size_t lines, points;
    char x[CURVE_POINTS_MAX][16]; /* what stands at the axis, in equal steps: "4096" */
    struct figure y[CURVE_LINES_MAX][CURVE_POINTS_MAX];
};

#define CURVES_MAX 8
struct figures {
    size_t count, curve_count;
    struct figure list[FIGURES_MAX];
    struct curve curve[CURVES_MAX];
    const char *section;
    json_t *facts; /* an object of strings: what it was measured on; owned */
};

/* An empty one, and its end. */
struct figures *figures_new(void);
void figures_free(struct figures *figures);

/* What figures that are made from now on belong to: a heading on the page. Static. */
void figures_section(struct figures *figures, const char *name);
/* The figure of that name, which is made if there is none. */
struct figure *figure_of(struct figures *figures, const char *name, const char *unit,
                         enum figure_rule rule, double target);
void figure_add(struct figure *figure, double sample);

/* NAN without samples. */
double figure_median(const struct figure *figure);
double figure_low(const struct figure *figure);
double figure_high(const struct figure *figure);
/* From the lowest to the highest, in percent of the median; 0 if the median is 0. */
double figure_spread(const struct figure *figure);

enum figure_verdict { FIGURE_MET, FIGURE_MISSED, FIGURE_TOLD };
enum figure_verdict figure_judge(const struct figure *figure); /* by its median */

/* A plot with so many lines; their names are the caller's to set. Labels say units. */
struct curve *curve_new(struct figures *figures, const char *title, const char *x_label,
                        const char *y_label, size_t lines);
void curve_point(struct curve *curve, const char *x);            /* one more place, of all lines */
void curve_add(struct curve *curve, size_t line, double sample); /* at the newest place */

/* Something that was so: "cpu", "2 x ...". */
void figures_fact(struct figures *figures, const char *name, const char *value);

/* ---- Telling ---- */

const char *figure_verdict_text(const struct figure *figure);              /* "met"; static */
const char *figure_target_text(const struct figure *figure, char out[32]); /* "at least 2", "" */

void figures_table(const struct figures *figures, FILE *out);
void figures_lines(const struct figures *figures, FILE *out);
/* The caller owns it. Ends the program if there is no memory. */
json_t *figures_json(const struct figures *figures);
void figures_page(const struct figures *figures, FILE *out);

#endif
