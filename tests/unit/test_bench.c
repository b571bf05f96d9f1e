/* SPDX-License-Identifier: BSD-2-Clause */
/* The figures of make bench: medians, spread, verdicts, and how they are told. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "tests/support/suite.h"

static struct figures *figures;

static void begin(void)
{
    figures = figures_new();
}

static void end(void)
{
    figures_free(figures);
}

static struct figure *figure(const char *name, enum figure_rule rule, double target, size_t count,
                             const double *samples)
{
    struct figure *made = figure_of(figures, name, "loads/s", rule, target);

    for (size_t i = 0; i < count; i++) {
        figure_add(made, samples[i]);
    }
    return made;
}
#define FIGURE(name, rule, target, ...) \
    figure(name, rule, target, sizeof((double[]){__VA_ARGS__}) / sizeof(double), \
           (double[]){__VA_ARGS__})

/* What a teller writes; the caller frees. */
static char *told(void (*tell)(const struct figures *, FILE *))
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    tell(figures, out);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

START_TEST(medians_and_spread)
{
    const struct figure *odd = FIGURE("odd", FIGURE_NO_TARGET, 0, 9, 1, 5);
    const struct figure *even = FIGURE("even", FIGURE_NO_TARGET, 0, 4, 10, 2, 6);
    const struct figure *zero = FIGURE("zero", FIGURE_NO_TARGET, 0, -1, 0, 1);

    ck_assert_double_eq(figure_median(odd), 5);
    ck_assert_double_eq(figure_low(odd), 1);
    ck_assert_double_eq(figure_high(odd), 9);
    ck_assert_double_eq(figure_spread(odd), 160);
    ck_assert_double_eq(figure_median(even), 5);
    ck_assert_double_eq(figure_spread(even), 160);
    ck_assert_double_eq(figure_median(FIGURE("one", FIGURE_NO_TARGET, 0, 7)), 7);
    ck_assert_double_eq(figure_spread(FIGURE("one", FIGURE_NO_TARGET, 0, 7)), 0);
    ck_assert_double_eq(figure_spread(zero), 0);
    ck_assert(isnan(figure_median(figure_of(figures, "none", "s", FIGURE_NO_TARGET, 0))));
    /* Samples stay in the order in which they were taken. */
    ck_assert_double_eq(odd->sample[0], 9);
}
END_TEST

START_TEST(verdicts)
{
    ck_assert_int_eq(figure_judge(FIGURE("a", FIGURE_AT_LEAST, 0.85, 0.85)), FIGURE_MET);
    ck_assert_int_eq(figure_judge(FIGURE("b", FIGURE_AT_LEAST, 0.85, 0.8499)), FIGURE_MISSED);
    ck_assert_int_eq(figure_judge(FIGURE("c", FIGURE_AT_MOST, 1.1, 1.1)), FIGURE_MET);
    ck_assert_int_eq(figure_judge(FIGURE("d", FIGURE_AT_MOST, 1.1, 1.11)), FIGURE_MISSED);
    ck_assert_int_eq(figure_judge(FIGURE("e", FIGURE_NO_TARGET, 0, 1)), FIGURE_TOLD);
    /* It is the median that counts. */
    ck_assert_int_eq(figure_judge(FIGURE("f", FIGURE_AT_LEAST, 2, 1, 1, 100)), FIGURE_MISSED);
    /* What was not measured has met nothing. */
    ck_assert_int_eq(figure_judge(figure_of(figures, "g", "s", FIGURE_AT_MOST, 1)), FIGURE_MISSED);
    ck_assert_int_eq(figure_judge(figure_of(figures, "h", "s", FIGURE_AT_LEAST, 1)), FIGURE_MISSED);
}
END_TEST

START_TEST(lines_and_table)
{
    FIGURE("good", FIGURE_AT_LEAST, 0.5, 1.25, 0.75);
    FIGURE("bad", FIGURE_AT_MOST, 10, 1234.5);
    char *lines = told(figures_lines), *table = told(figures_table);

    ck_assert_str_eq(lines, "bench good 1 loads/s\nbench bad 1234.5 loads/s\n");
    ck_assert_ptr_nonnull(strstr(table, " at least 0.5    met\n"));
    ck_assert_ptr_nonnull(strstr(table, " at most 10      MISSED\n"));
    ck_assert_ptr_nonnull(strstr(table, " 50.0% "));
    free(lines);
    free(table);
}
END_TEST

START_TEST(as_json)
{
    FIGURE("good", FIGURE_AT_LEAST, 0.5, 1.25, 0.75);
    struct curve *curve = curve_new(figures, "A plot", "x");
    json_t *json, *first;

    curve->lines = 2;
    curve->line[0] = "this";
    curve->line[1] = "that";
    curve_add(curve, 1, (double[]){10, 20});
    curve_add(curve, 2, (double[]){30, 40});
    figures_fact(figures, "cpus", "2");
    json = figures_json(figures);
    first = json_array_get(json_object_get(json, "figures"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(first, "name")), "good");
    ck_assert_str_eq(json_string_value(json_object_get(first, "verdict")), "met");
    ck_assert_double_eq(rig_number(first, "median"), 1);
    ck_assert_double_eq(rig_number(first, "at-least"), 0.5);
    ck_assert_ptr_null(json_object_get(first, "at-most"));
    ck_assert_double_eq(rig_number(first, "low"), 0.75);
    ck_assert_double_eq(rig_number(first, "high"), 1.25);
    ck_assert_double_eq(rig_number(first, "spread-percent"), 50);
    ck_assert_double_eq(rig_number(first, "repeats"), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(first, "samples")), 2);
    first = json_array_get(json_object_get(json, "curves"), 0);
    ck_assert_double_eq(json_real_value(
                            json_array_get(json_object_get(json_object_get(first, "lines"), "that"),
                                           1)),
                        40);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(json, "facts"), "cpus")),
                     "2");
    json_decref(json);
}
END_TEST

START_TEST(as_page)
{
    FIGURE("good", FIGURE_AT_LEAST, 0.5, 1);
    FIGURE("bad<x>", FIGURE_AT_LEAST, 5, 1);
    struct curve *curve = curve_new(figures, "A plot", "x");
    char *text;

    curve->lines = 1;
    curve->line[0] = "this";
    curve_add(curve, 1, (double[]){10});
    figures_fact(figures, "cpus", "<script>");
    text = told(figures_page);
    ck_assert_ptr_nonnull(strstr(text, "<td class=\"as-expected\">met</td>"));
    ck_assert_ptr_nonnull(strstr(text, "<td class=\"failed\">MISSED</td>"));
    ck_assert_ptr_nonnull(strstr(text, "bad&lt;x&gt;"));
    ck_assert_ptr_nonnull(strstr(text, "<svg "));
    ck_assert_ptr_nonnull(strstr(text, "default-src 'none'"));
    ck_assert_ptr_null(strstr(text, "<script"));
    ck_assert_ptr_nonnull(strstr(text, "</html>"));
    free(text);
}
END_TEST

START_TEST(only_what_is_wanted)
{
    unsetenv("KL_TEST_WANTED");
    ck_assert_int_eq(bench_wants("KL_TEST_WANTED", "leak"), 1);
    setenv("KL_TEST_WANTED", "", 1);
    ck_assert_int_eq(bench_wants("KL_TEST_WANTED", "leak"), 1);
    setenv("KL_TEST_WANTED", "overload leaking", 1);
    ck_assert_int_eq(bench_wants("KL_TEST_WANTED", "leak"), 0);
    ck_assert_int_eq(bench_wants("KL_TEST_WANTED", "overload"), 1);
    setenv("KL_TEST_WANTED", "overload,leak", 1);
    ck_assert_int_eq(bench_wants("KL_TEST_WANTED", "leak"), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bench");
    TCase *tcase = tcase_create("figures");

    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_test(tcase, medians_and_spread);
    tcase_add_test(tcase, verdicts);
    tcase_add_test(tcase, lines_and_table);
    tcase_add_test(tcase, as_json);
    tcase_add_test(tcase, as_page);
    tcase_add_test(tcase, only_what_is_wanted);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
