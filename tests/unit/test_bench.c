/* SPDX-License-Identifier: BSD-2-Clause */
/* The figures of make bench: medians, spread, verdicts, and how they are told. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"
#include "tests/bench/bench.h"
#include "tests/bench/compare.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

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
    struct curve *curve = curve_new(figures, "A plot", "x", "loads/s", 2);
    json_t *json, *first, *line;

    curve->line[0] = "this";
    curve->line[1] = "that";
    curve_point(curve, "1");
    curve_add(curve, 0, 10);
    curve_add(curve, 1, 20);
    curve_point(curve, "4096");
    curve_add(curve, 0, 30);
    curve_add(curve, 1, 40);
    curve_add(curve, 1, 60);
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
    ck_assert_str_eq(json_string_value(json_object_get(first, "y-label")), "loads/s");
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(first, "x"), 1)), "4096");
    line = json_object_get(json_object_get(first, "lines"), "that");
    ck_assert_double_eq(json_real_value(json_array_get(json_object_get(line, "median"), 1)), 50);
    ck_assert_double_eq(json_real_value(json_array_get(json_object_get(line, "low"), 1)), 40);
    ck_assert_double_eq(json_real_value(json_array_get(json_object_get(line, "high"), 1)), 60);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(json, "facts"), "cpus")),
                     "2");
    json_decref(json);
}
END_TEST

static unsigned times(const char *text, const char *part)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) {
        count++;
    }
    return count;
}

START_TEST(as_page)
{
    char *text;

    figures_section(figures, "first");
    FIGURE("good", FIGURE_AT_LEAST, 0.5, 1);
    FIGURE("bad<x>", FIGURE_AT_LEAST, 5, 1);
    figures_section(figures, "second");
    FIGURE("told", FIGURE_NO_TARGET, 0, -1, 2);
    FIGURE("zero", FIGURE_NO_TARGET, 0, 0, 0);
    figures_fact(figures, "cpus", "<script>");
    text = told(figures_page);
    ck_assert_ptr_nonnull(strstr(text, "<td class=\"as-expected\">met</td>"));
    ck_assert_ptr_nonnull(strstr(text, "<td class=\"failed\">MISSED</td>"));
    ck_assert_ptr_nonnull(strstr(text, "bad&lt;x&gt;"));
    ck_assert_uint_eq(times(text, "<th colspan=\"7\">first</th>"), 1);
    ck_assert_uint_eq(times(text, "<th colspan=\"7\">second</th>"), 1);
    ck_assert_uint_eq(times(text, "<svg "), 3);            /* not where all samples are 0 */
    ck_assert_uint_eq(times(text, "stroke-dasharray"), 2); /* the targets */
    ck_assert_uint_eq(times(text, "<circle "), 1 + 1 + 2); /* the samples */
    ck_assert_ptr_nonnull(strstr(text, "cx=\"4.0\""));     /* -1 is the lowest */
    ck_assert_ptr_nonnull(strstr(text, "default-src 'none'"));
    ck_assert_ptr_null(strstr(text, "<script"));
    ck_assert_ptr_null(strstr(text, "nan"));
    ck_assert_ptr_null(strstr(text, "http:"));
    ck_assert_ptr_nonnull(strstr(text, "</html>"));
    free(text);
}
END_TEST

START_TEST(as_plot)
{
    struct curve *curve = curve_new(figures, "A plot", "workers", "loads/s", 2);
    char *text;

    curve->line[0] = "this";
    curve->line[1] = "that";
    curve_point(curve, "1");
    curve_add(curve, 0, 10);
    curve_add(curve, 0, 30);
    curve_point(curve, "<4>");
    curve_add(curve, 0, 40);
    curve_add(curve, 1, 50);
    text = told(figures_page);
    ck_assert_uint_eq(times(text, ">workers</text>"), 1);
    ck_assert_uint_eq(times(text, ">loads/s</text>"), 1);
    ck_assert_uint_eq(times(text, ">this</text>"), 1);
    ck_assert_uint_eq(times(text, ">that</text>"), 1);
    ck_assert_uint_eq(times(text, "&lt;4&gt;"), 1);
    ck_assert_uint_eq(times(text, ">50</text>"), 1);
    ck_assert_uint_eq(times(text, "this: 20 (10 to 30)"), 1);
    /* Two lines; a whisker where there are two samples; nothing where there is none. */
    ck_assert_uint_eq(times(text, "<polyline class=\"c0\""), 1 + 1);
    ck_assert_uint_eq(times(text, "<polyline class=\"c1\""), 1);
    ck_assert_uint_eq(times(text, "<circle "), 3);
    ck_assert_ptr_null(strstr(text, "nan"));
    free(text);
}
END_TEST

/* ---- Two reports ---- */

/* A report of the figures that are there now, which are forgotten. */
static json_t *report(void)
{
    json_t *json = figures_json(figures);

    figures_free(figures);
    figures = figures_new();
    return json;
}

START_TEST(reports_compared)
{
    struct kl_err err = KL_ERR_INIT;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    json_t *before, *after;
    unsigned worse = 7;

    FIGURE("up", FIGURE_AT_LEAST, 1, 10, 11, 12);
    FIGURE("down", FIGURE_AT_LEAST, 1, 10, 11, 12);
    FIGURE("less", FIGURE_AT_MOST, 1, 10, 11, 12);
    FIGURE("more", FIGURE_AT_MOST, 1, 10, 11, 12);
    FIGURE("touches", FIGURE_AT_LEAST, 1, 10, 11, 12);
    FIGURE("told", FIGURE_NO_TARGET, 1, 10, 11, 12);
    FIGURE("once", FIGURE_AT_LEAST, 1, 10, 11, 12);
    FIGURE("zero", FIGURE_AT_MOST, 1, 0, 0);
    FIGURE("old", FIGURE_NO_TARGET, 1, 5);
    before = report();
    FIGURE("up", FIGURE_AT_LEAST, 1, 13, 22, 24);
    FIGURE("down", FIGURE_AT_LEAST, 1, 1, 2.2, 9);
    FIGURE("less", FIGURE_AT_MOST, 1, 1, 2.2, 9);
    FIGURE("more", FIGURE_AT_MOST, 1, 13, 22, 24);
    FIGURE("touches", FIGURE_AT_LEAST, 1, 1, 5.5, 10);
    FIGURE("told", FIGURE_NO_TARGET, 1, 13, 22, 24);
    FIGURE("once", FIGURE_AT_LEAST, 1, 1);
    FIGURE("zero", FIGURE_AT_MOST, 1, 0, 0);
    FIGURE("new", FIGURE_NO_TARGET, 1, 6);
    after = report();
    ck_assert_int_eq(compare_reports(before, after, out, &worse, &err), KL_OK);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_uint_eq(worse, 2);
    ck_assert_str_eq(
        text,
        "figure                                     before        after unit        change  "
        "meaning\n"
        "up                                             11           22 loads/s    +100.0%  "
        "better\n"
        "down                                           11          2.2 loads/s     -80.0%  WORSE\n"
        "less                                           11          2.2 loads/s     -80.0%  "
        "better\n"
        "more                                           11           22 loads/s    +100.0%  WORSE\n"
        "touches                                        11          5.5 loads/s     -50.0%  within "
        "the spread\n"
        "told                                           11           22 loads/s    +100.0%  beyond "
        "the spread\n"
        "once                                           11            1 loads/s     -90.9%  one "
        "sample: no spread\n"
        "zero                                            0            0 loads/s             within "
        "the spread\n"
        "new                                             -            6 loads/s             only "
        "after\n"
        "old                                             5            - loads/s             only "
        "before\n");
    free(text);
    json_decref(before);
    json_decref(after);
}
END_TEST

START_TEST(no_reports)
{
    static const char *const wrong[] = {
        "{}",
        "[]",
        "{\"figures\": []}",
        "{\"figures\": 1}",
        "{\"figures\": [{\"name\": \"a\", \"unit\": \"s\", \"median\": 1, \"low\": 1, \"high\": "
        "1}]}",
        "{\"figures\": [{\"name\": 1, \"unit\": \"s\", \"median\": 1, \"low\": 1, \"high\": 1, "
        "\"repeats\": 1}]}"};
    struct kl_err err = KL_ERR_INIT;
    json_t *good, *bad;
    unsigned worse;

    FIGURE("a", FIGURE_AT_LEAST, 1, 1);
    good = report();
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        bad = json_loads(wrong[i], 0, NULL);
        ck_assert_ptr_nonnull(bad);
        ck_assert_int_eq(compare_reports(good, bad, stderr, &worse, &err), KL_ERR_INPUT);
        ck_assert_ptr_nonnull(strstr(err.text, "second"));
        ck_assert_int_eq(compare_reports(bad, good, stderr, &worse, &err), KL_ERR_INPUT);
        ck_assert_ptr_nonnull(strstr(err.text, "first"));
        json_decref(bad);
    }
    json_decref(good);
}
END_TEST

/* ---- What is to be measured ---- */

/* Names of the groups that are chosen, and of the kinds; "?WORD": there is no such name. */
static const char *chosen(const char *words, const char *kind_words)
{
    static char out[512];
    char unknown[64];
    struct choice choice;
    size_t len = 0;

    if (!choice_make(words, kind_words, &choice, unknown)) {
        snprintf(out, sizeof(out), "?%s", unknown);
        return out;
    }
    ck_assert_str_eq(unknown, "");
    out[0] = '\0';
    for (size_t i = 0; i < BENCH_GROUPS; i++) {
        if (choice.group[i]) {
            len += (size_t)snprintf(out + len, sizeof(out) - len, "%s ", bench_groups[i].name);
        }
    }
    for (size_t i = 0; choice.group[0] && i < KIND_COUNT; i++) {
        if (choice.kind[i]) {
            len += (size_t)snprintf(out + len, sizeof(out) - len, "+%s", kinds[i].name);
        }
    }
    return out;
}

static const struct {
    const char *words, *kinds, *chosen;
} choices[] = {
#define ALL_KINDS "+rsa2048+classic+rsa3072+p256+p521"
#define ALL_GROUPS \
    "load_vs_bare overload idle_sessions registry_scale slow_hsm store_commit leak peers growth "
    {NULL, NULL, ALL_GROUPS ALL_KINDS},
    {"", "", ALL_GROUPS ALL_KINDS},
    {" , ", NULL, ALL_GROUPS ALL_KINDS},
    {NULL, "p521 classic", ALL_GROUPS "+classic+p521"},
    {"leak", NULL, "leak "},
    {"growth,overload", NULL, "overload growth "},
    /* Of load_vs_bare, the kinds that are named. */
    {"load_vs_bare", NULL, "load_vs_bare " ALL_KINDS},
    {"load_vs_bare_rsa2048", NULL, "load_vs_bare +rsa2048"},
    {"load_vs_bare_p256_full leak", NULL, "load_vs_bare leak +p256"},
    {"leak load_vs_bare_classic,cpu_bare_p521", NULL, "load_vs_bare leak +classic+p521"},
    {"load_vs_bare", "p256", "load_vs_bare +p256"},
    {"ec_vs_rsa", NULL, "load_vs_bare +rsa2048+p256"},
    {"ec_vs_rsa_bare", NULL, "load_vs_bare +rsa2048+p256"},
    /* What figures begin with, whole words of it. */
    {"cpu_per_load_vs_bare", NULL, "load_vs_bare " ALL_KINDS},
    {"overload_goodput", NULL, "overload "},
    {"latency", NULL, "overload "},
    {"idle_sessions idle_session_bytes", NULL, "idle_sessions "},
    {"ours_vs_p11_kit_loads", NULL, "peers "},
    {"recycle_cost", NULL, "leak "},
    {"start_up", NULL, "registry_scale "},
    {"loads", NULL, "load_vs_bare store_commit " ALL_KINDS},
    /* No such name. */
    {"lea", NULL, "?lea"},
    {"leaks", NULL, "?leaks"},
    {"overload none leak", NULL, "?none"},
    {"load_vs_bare_classic_full", NULL, "?load_vs_bare_classic_full"},
    {"load_vs_bare_KIND", NULL, "?load_vs_bare_KIND"},
    {"load_vs_bare", "p384", "?p384"},
    {"_", NULL, "?_"},
};

START_TEST(only_what_is_wanted)
{
    ck_assert_str_eq(chosen(choices[_i].words, choices[_i].kinds), choices[_i].chosen);
}
END_TEST

START_TEST(known_figures)
{
    ck_assert_int_eq(choice_has("slow_hsm"), 1);
    ck_assert_int_eq(choice_has("cpu_bare_p521"), 1);
    ck_assert_int_eq(choice_has("cpu_bare_p256_full"), 1);
    ck_assert_int_eq(choice_has("cpu_bare"), 0);
    ck_assert_int_eq(choice_has("cpu_bare_classic_full"), 0);
}
END_TEST

START_TEST(every_figure_is_documented)
{
    char *text = NULL;
    size_t len;
    struct kl_err err = KL_ERR_INIT;
    char name[FIGURE_NAME_MAX + 2];

    ck_assert_int_eq(kl_file_read(vec_in_tree("docs/performance.md"), 1 << 20, &text, &len, &err),
                     KL_OK);
    for (size_t i = 0; i < BENCH_GROUPS; i++) {
        char *words = strdup(bench_groups[i].figures), *rest = words, *word;

        while ((word = strsep(&rest, " ")) != NULL) {
            snprintf(name, sizeof(name), "`%s`", word);
            ck_assert_msg(word[0] == '\0' || strstr(word, BENCH_FULL) || strstr(text, name),
                          "docs/performance.md has no %s", name);
        }
        free(words);
    }
    free(text);
}
END_TEST

START_TEST(how_long_it_takes)
{
    struct choice choice;
    char unknown[64];
    double sum = 0, all, few;

    ck_assert_int_eq(choice_make(NULL, NULL, &choice, unknown), 1);
    for (size_t i = 0; i < BENCH_GROUPS; i++) {
        sum += choice_seconds(&choice, i, 2, 3);
    }
    ck_assert_double_gt(sum, 300);
    ck_assert_double_lt(sum, 600); /* as docs/performance.md says */
    all = choice_seconds(&choice, 0, 2, 3);
    ck_assert_int_eq(choice_make("load_vs_bare_p256", NULL, &choice, unknown), 1);
    few = choice_seconds(&choice, 0, 2, 3);
    ck_assert_double_gt(few, 0);
    ck_assert_double_lt(few, all);
    ck_assert_double_gt(choice_seconds(&choice, 0, 20, 3), few);
    ck_assert_double_eq(choice_seconds(&choice, 1, 2, 3), 0);
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
    tcase_add_test(tcase, as_plot);
    tcase_add_loop_test(tcase, only_what_is_wanted, 0, sizeof(choices) / sizeof(choices[0]));
    tcase_add_test(tcase, reports_compared);
    tcase_add_test(tcase, no_reports);
    tcase_add_test(tcase, known_figures);
    tcase_add_test(tcase, every_figure_is_documented);
    tcase_add_test(tcase, how_long_it_takes);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
