/* SPDX-License-Identifier: BSD-2-Clause */
/* A run as JSON. */
#include "terminal-sim/fleet/fleet_report.h"

#include <stdio.h>

#include "conf/cli.h"
#include "proto/suite.h"

static const char *const modes[] = {
    [KL_FLEET_CLOSED] = "closed-loop",
    [KL_FLEET_OPEN] = "open-loop",
    [KL_FLEET_STORM] = "storm",
    [KL_FLEET_SILENT] = "idle",
};
static const char *const spacings[] = {
    [KL_FLEET_FIXED] = "constant",
    [KL_FLEET_UNIFORM] = "uniform",
    [KL_FLEET_EXPONENTIAL] = "exponential",
};

static int allowed(const struct kl_fleet_request *request, enum kl_fleet_kind kind)
{
    return (request->allowed >> kind & 1) != 0;
}

/* The failures of a kind: of loads, sign-ins and idle connections, what a second signal cut off, or
 * TMKs that are left in doubt. */
static uint64_t failures(const struct kl_fleet_stats *stats, const struct kl_fleet_result *result,
                         enum kl_fleet_kind kind)
{
    switch (kind) {
    case KL_FLEET_IN_DOUBT:
        return result->in_doubt;
    case KL_FLEET_CUT_OFF:
        return result->unfinished;
    default:
        return kl_fleet_stats_ended(stats, kind) + result->idle_failed[kind];
    }
}

uint64_t kl_fleet_unexpected(const struct kl_fleet_request *request,
                             const struct kl_fleet_stats *stats,
                             const struct kl_fleet_result *result)
{
    uint64_t sum = 0;

    for (unsigned i = KL_FLEET_OK + 1; i < KL_FLEET_KIND_COUNT; i++) {
        if (!allowed(request, (enum kl_fleet_kind)i)) {
            sum += failures(stats, result, (enum kl_fleet_kind)i);
        }
    }
    return sum;
}

/* ---- Parts; each may be NULL for want of memory, which json_pack passes on ---- */

static double ms(double us)
{
    return us / 1000;
}

static json_t *latency_json(const struct kl_latency *latency)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "count",
                     (json_int_t)latency->count, "min", ms((double)latency->min), "mean",
                     ms(kl_latency_mean(latency)), "p50",
                     ms((double)kl_latency_quantile(latency, 0.5)), "p90",
                     ms((double)kl_latency_quantile(latency, 0.9)), "p99",
                     ms((double)kl_latency_quantile(latency, 0.99)), "p99.9",
                     ms((double)kl_latency_quantile(latency, 0.999)), "max",
                     ms((double)latency->max));
}

static json_t *work_json(const struct kl_fleet_stats *stats, enum kl_fleet_action action,
                         double seconds)
{
    uint64_t ended = 0, good = stats->ended[action][KL_FLEET_OK];

    for (size_t i = 0; i < KL_FLEET_KIND_COUNT; i++) {
        ended += stats->ended[action][i];
    }
    return json_pack("{s:I, s:I, s:I, s:f}", "started", (json_int_t)stats->started[action], "good",
                     (json_int_t)good, "failed", (json_int_t)(ended - good), "good-per-second",
                     seconds > 0 ? (double)good / seconds : 0);
}

/* As the option takes it: "aes128=9,tdes2=1". */
static json_t *mix_json(const struct kl_fleet_mix *mix, const char *(*name_of)(unsigned value))
{
    char text[KL_FLEET_MIX_MAX * 40] = "";
    size_t len = 0;

    for (size_t i = 0; i < mix->count; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s=%u", i > 0 ? "," : "",
                                name_of(mix->value[i]), mix->weight[i]);
    }
    return json_string(text);
}

static const char *alg_name(unsigned alg)
{
    return kl_alg_info((enum kl_alg)alg)->name;
}

static json_t *settings_json(const struct kl_fleet_config *config)
{
    json_t *settings =
        json_pack("{s:s, s:s, s:I, s:s, s:I, s:o, s:o, s:f, s:I, s:I, s:s, s:I, s:I, s:i, s:I}",
                  "loader", config->connect, "mode", modes[config->mode], "terminals",
                  (json_int_t)config->terminals, "serial-prefix", config->prefix, "first",
                  (json_int_t)config->first, "suites", mix_json(&config->suites, kl_suite_name),
                  "algorithms", mix_json(&config->algs, alg_name), "duration-seconds",
                  (double)config->duration_us / 1e6, "count", (json_int_t)config->count,
                  "timeout-seconds", (json_int_t)config->timeout_s, "source",
                  config->source ? config->source : "chosen by the system", "retries-at-most",
                  (json_int_t)config->retries, "rounds", (json_int_t)config->rounds,
                  "sign-in-percent", (int)config->sign_in, "seed", (json_int_t)config->seed);
    int bad = !settings;

    if (!bad && config->mode == KL_FLEET_CLOSED) {
        bad = json_object_update_new(settings,
                                     json_pack("{s:I, s:f, s:s}", "concurrency",
                                               (json_int_t)config->concurrency, "think-seconds",
                                               (double)config->think_us / 1e6, "think-time",
                                               spacings[config->think]));
    } else if (!bad && config->mode == KL_FLEET_OPEN) {
        bad = json_object_update_new(
            settings, json_pack("{s:f, s:s}", "rate-per-second", config->rate, "arrivals",
                                config->arrivals == KL_FLEET_FIXED ? "constant" : "poisson"));
    } else if (!bad && config->mode == KL_FLEET_STORM) {
        bad = json_object_set_new(settings, "spread-seconds",
                                  json_real((double)config->spread_us / 1e6));
    }
    if (bad) {
        json_decref(settings);
        return NULL;
    }
    return settings;
}

static json_t *steps_json(const struct kl_fleet_stats *stats)
{
    json_t *steps = json_object();

    for (unsigned i = 0; steps && i < KL_FLEET_STEP_COUNT; i++) {
        if (json_object_set_new(steps, kl_fleet_step_name((enum kl_fleet_step)i),
                                latency_json(&stats->step[i]))) {
            json_decref(steps);
            return NULL;
        }
    }
    return steps;
}

/* Only kinds that there were. */
static json_t *errors_json(const struct kl_fleet_request *request,
                           const struct kl_fleet_stats *stats, const struct kl_fleet_result *result)
{
    json_t *errors = json_object();

    for (unsigned i = KL_FLEET_OK + 1; errors && i < KL_FLEET_KIND_COUNT; i++) {
        enum kl_fleet_kind kind = (enum kl_fleet_kind)i;
        uint64_t failed = failures(stats, result, kind);
        const char *meaning = kl_fleet_kind_meaning(kind);

        if (failed == 0 && stats->attempts[i] == 0) {
            continue;
        }
        if (json_object_set_new(errors, kl_fleet_kind_name(kind),
                                json_pack("{s:I, s:I, s:b, s:s, s:s}", "failed", (json_int_t)failed,
                                          "attempts", (json_int_t)stats->attempts[i], "allowed",
                                          allowed(request, kind), "meaning", meaning, "example",
                                          stats->sample[i][0] ? stats->sample[i] : meaning))) {
            json_decref(errors);
            return NULL;
        }
    }
    return errors;
}

static json_t *idle_json(const struct kl_fleet_result *result)
{
    uint64_t failed = 0;

    for (size_t i = 0; i < KL_FLEET_KIND_COUNT; i++) {
        failed += result->idle_failed[i];
    }
    return json_pack("{s:I, s:I, s:I, s:I}", "connected-at-the-end", (json_int_t)result->idle_open,
                     "opened", (json_int_t)result->idle_opened, "closed-by-the-loader",
                     (json_int_t)result->idle_closed, "not-opened", (json_int_t)failed);
}

/* Columns, since a page and a spreadsheet want them so. */
static json_t *series_json(const struct kl_fleet_stats *stats)
{
    static const char *const names[] = {"good", "failed", "open", "p50-ms", "p99-ms", "max-ms"};
    size_t count = stats->points + (stats->ticks > 0);
    json_t *column[6], *series = json_pack("{s:i}", "seconds-each", (int)stats->every);
    int bad = !series;

    for (size_t c = 0; c < 6; c++) {
        column[c] = json_array();
        bad |= !column[c];
    }
    for (size_t i = 0; !bad && i < count; i++) {
        const struct kl_fleet_point *point = &stats->point[i];

        bad = json_array_append_new(column[0], json_integer((json_int_t)point->good)) ||
              json_array_append_new(column[1], json_integer((json_int_t)point->failed)) ||
              json_array_append_new(column[2], json_integer((json_int_t)point->open)) ||
              json_array_append_new(column[3], json_real(ms((double)point->p50))) ||
              json_array_append_new(column[4], json_real(ms((double)point->p99))) ||
              json_array_append_new(column[5], json_real(ms((double)point->max)));
    }
    for (size_t c = 0; c < 6; c++) {
        if (bad) {
            json_decref(column[c]);
        } else {
            bad = json_object_set_new(series, names[c], column[c]);
        }
    }
    if (bad) {
        json_decref(series);
        return NULL;
    }
    return series;
}

/* The loads' times at shares that come ever closer to 1, by halves. */
static json_t *distribution_json(const struct kl_latency *latency)
{
    json_t *list = json_array();
    double beyond = 1;

    for (int i = 0; list && i <= 40 && beyond * (double)latency->count >= 0.5; i++) {
        if (json_array_append_new(list, json_pack("[f, f]", 1 - beyond,
                                                  ms((double)kl_latency_quantile(latency,
                                                                                 1 - beyond))))) {
            json_decref(list);
            return NULL;
        }
        beyond /= i % 2 ? 1.5 : 4.0 / 3;
    }
    return list;
}

enum kl_rc kl_fleet_report(const struct kl_fleet_request *request,
                           const struct kl_fleet_stats *stats, const struct kl_fleet_result *result,
                           json_t **out, struct kl_err *err)
{
    const struct kl_fleet_config *config = &request->config;
    double seconds = (double)result->elapsed_us / 1e6;
    uint64_t unexpected = kl_fleet_unexpected(request, stats, result);
    int intended = config->mode == KL_FLEET_OPEN || config->mode == KL_FLEET_STORM;
    char started[KL_TIME_TEXT];
    json_t *report;

    kl_time_format(result->started, started);
    report = json_pack(
        "{s:s, s:I, s:I, s:s, s:f, s:b, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, "
        "s:I, s:I,"
        " s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:I, s:o, s:o}",
        "verdict", unexpected <= request->max_errors ? "as-expected" : "failed",
        "unexpected-failures", (json_int_t)unexpected, "max-errors",
        (json_int_t)request->max_errors, "started", started, "seconds", seconds, "interrupted",
        result->interrupted, "settings", settings_json(config), "loads",
        work_json(stats, KL_FLEET_LOAD, seconds), "sign-ins",
        work_json(stats, KL_FLEET_SIGN_IN, seconds), "retries", (json_int_t)stats->retries,
        "loads-ended-by-confirm", (json_int_t)stats->confirmed, "cut-off",
        (json_int_t)result->unfinished, "connections-at-once", (json_int_t)result->open_max,
        "connections-at-most", (json_int_t)result->connections, "errors",
        errors_json(request, stats, result), "terminals-with-tmk", (json_int_t)result->active,
        "candidates-in-doubt", (json_int_t)result->in_doubt, "candidates-confirmed-at-the-end",
        (json_int_t)result->settled_active, "candidates-dropped-at-the-end",
        (json_int_t)result->settled_dropped, "idle-connections", idle_json(result),
        "times-measured-from",
        intended ? "the intended start of each load" : "the actual start of each load", "load-ms",
        latency_json(&stats->whole[KL_FLEET_LOAD]), "sign-in-ms",
        latency_json(&stats->whole[KL_FLEET_SIGN_IN]), "load-last-attempt-ms",
        latency_json(&stats->attempt), "busy-answer-ms", latency_json(&stats->busy),
        "load-steps-ms", steps_json(stats), "start-lag-ms", latency_json(&stats->lag),
        "simulator-cpu-percent",
        result->elapsed_us > 0 ? 100 * (double)result->cpu_us / (double)result->elapsed_us : 0,
        "simulator-peak-kib", (json_int_t)result->peak_rss_kib, "series", series_json(stats),
        "distribution", distribution_json(&stats->whole[KL_FLEET_LOAD]));
    if (!report) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for the report");
    }
    *out = report;
    return KL_OK;
}

/* ---- For people ---- */

static double number_of(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

/* A latency or a kind of error as a line; NULL if it is neither. */
static json_t *line_of(const json_t *value)
{
    if (json_object_get(value, "p50")) {
        return json_sprintf("p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f  mean %.1f  (%.0f)",
                            number_of(value, "p50"), number_of(value, "p90"),
                            number_of(value, "p99"), number_of(value, "p99.9"),
                            number_of(value, "max"), number_of(value, "mean"),
                            number_of(value, "count"));
    }
    if (json_object_get(value, "meaning")) {
        return json_sprintf("%.0f failed, %.0f attempts%s: %s", number_of(value, "failed"),
                            number_of(value, "attempts"),
                            json_is_true(json_object_get(value, "allowed")) ? ", allowed" : "",
                            json_string_value(json_object_get(value, "example")));
    }
    return NULL;
}

/* What there was none of. */
static void leave_out(json_t *report)
{
    const json_t *idle = json_object_get(report, "idle-connections");

    if (number_of(json_object_get(report, "sign-ins"), "started") == 0) {
        json_object_del(report, "sign-ins");
        json_object_del(report, "sign-in-ms");
    }
    if (number_of(idle, "opened") + number_of(idle, "not-opened") == 0) {
        json_object_del(report, "idle-connections");
    }
    if (json_object_size(json_object_get(report, "errors")) == 0) {
        json_object_del(report, "errors");
    }
}

int kl_fleet_report_shorten(json_t *report)
{
    const char *name;
    json_t *value, *line;
    void *next;

    json_object_del(report, "series");
    json_object_del(report, "distribution");
    leave_out(report);
    json_object_foreach_safe(report, next, name, value)
    {
        if (!json_is_object(value)) {
            continue;
        }
        line = line_of(value);
        if (line ? json_object_set_new(report, name, line) : !kl_fleet_report_shorten(value)) {
            return 0;
        }
    }
    return 1;
}
