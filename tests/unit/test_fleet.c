/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a fleet that need no loader: times, chance, arrivals, mixes, addresses, reports. */
#include <arpa/inet.h>
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/secret.h"
#include "proto/suite.h"
#include "terminal-sim/fleet/fleet_latency.h"
#include "terminal-sim/fleet/fleet_options.h"
#include "terminal-sim/fleet/fleet_plot.h"
#include "terminal-sim/fleet/fleet_report.h"
#include "terminal-sim/fleet/fleet_schedule.h"
#include "terminal-sim/fleet/fleet_source.h"
#include "terminal-sim/fleet/fleet_values.h"
#include "tests/support/suite.h"

static struct kl_err err;

#define ok(call) ck_assert_msg((call) == KL_OK, "%s", err.text)

/* ---- Latency ---- */

START_TEST(test_percentiles_are_within_a_bucket)
{
    static const double shares[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    struct kl_latency latency = {0};
    const int64_t count = 200000;

    /* The i-th smallest of these is known: i * i. */
    for (int64_t i = count; i >= 1; i--) {
        kl_latency_add(&latency, i * i / 16);
    }
    ck_assert_uint_eq(latency.count, (uint64_t)count);
    ck_assert_int_eq(latency.min, 0);
    ck_assert_int_eq(latency.max, count * count / 16);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        double rank = ceil(shares[i] * (double)count), exact = floor(rank * rank / 16);
        double got = (double)kl_latency_quantile(&latency, shares[i]);

        ck_assert_msg(got >= exact && got <= exact * (1 + 1.0 / 64) + 1, "%g: %g, not %g",
                      shares[i], got, exact);
    }
}
END_TEST

START_TEST(test_latency_at_its_ends)
{
    struct kl_latency latency = {0};

    ck_assert_int_eq(kl_latency_quantile(&latency, 0.99), 0);
    ck_assert(kl_latency_mean(&latency) == 0);
    kl_latency_add(&latency, -5);
    ck_assert_int_eq(kl_latency_quantile(&latency, 1), 0);
    kl_latency_add(&latency, INT64_MAX);
    ck_assert_int_eq(latency.max, KL_LATENCY_TOP);
    ck_assert_int_eq(kl_latency_quantile(&latency, 1), KL_LATENCY_TOP);
    ck_assert_int_eq(kl_latency_quantile(&latency, 0.5), 0);
    struct kl_latency single = {0};
    kl_latency_add(&single, 1000001);
    ck_assert_int_eq(kl_latency_quantile(&single, 0.5), 1000001); /* never more than the longest */
    /* Each time at which the width of buckets changes is in the bucket that ends at or after it. */
    for (int bit = 0; bit < 32; bit++) {
        struct kl_latency one = {0};
        int64_t us = INT64_C(1) << bit;

        kl_latency_add(&one, us - 1);
        kl_latency_add(&one, us);
        kl_latency_add(&one, us + us / 2);
        ck_assert_int_ge(kl_latency_quantile(&one, 0.5), us);
        ck_assert_int_le(kl_latency_quantile(&one, 0.5), us + us / 64);
    }
}
END_TEST

/* ---- Arrivals ---- */

START_TEST(test_constant_arrivals)
{
    struct kl_fleet_schedule schedule;
    int64_t at = -1;

    kl_fleet_schedule_rate(&schedule, 250, KL_FLEET_FIXED, 3, 7);
    for (int i = 1; i <= 3; i++) {
        ck_assert(kl_fleet_schedule_next(&schedule, &at));
        ck_assert_int_eq(at, i * 4000);
    }
    ck_assert(!kl_fleet_schedule_next(&schedule, &at));
    ck_assert_int_eq(at, 12000);
}
END_TEST

/* Of exponential gaps mean and deviation are equal, and 1/e of them are longer than the mean. */
START_TEST(test_poisson_arrivals)
{
    enum { COUNT = 100000 };
    struct kl_fleet_schedule schedule;
    double sum = 0, squares = 0;
    int64_t last = 0, at = 0;
    int longer = 0;

    kl_fleet_schedule_rate(&schedule, 1000, KL_FLEET_EXPONENTIAL, COUNT, 42);
    for (int i = 0; i < COUNT; i++) {
        ck_assert(kl_fleet_schedule_next(&schedule, &at));
        ck_assert_int_ge(at, last);
        double gap = (double)(at - last);
        sum += gap;
        squares += gap * gap;
        longer += gap > 1000;
        last = at;
    }
    ck_assert(!kl_fleet_schedule_next(&schedule, &at));
    double mean = sum / COUNT;
    ck_assert_double_eq_tol(mean, 1000, 15);
    ck_assert_double_eq_tol(sqrt(squares / COUNT - mean * mean), 1000, 30);
    ck_assert_double_eq_tol((double)longer / COUNT, exp(-1), 0.01);
}
END_TEST

START_TEST(test_storm)
{
    enum { COUNT = 20000 };
    struct kl_fleet_schedule schedule;
    int64_t last = 0, at = 1;
    int quarter[4] = {0};

    kl_fleet_schedule_storm(&schedule, 0, 2, 1);
    ck_assert(kl_fleet_schedule_next(&schedule, &at));
    ck_assert_int_eq(at, 0);
    ck_assert(kl_fleet_schedule_next(&schedule, &at));
    ck_assert_int_eq(at, 0);
    ck_assert(!kl_fleet_schedule_next(&schedule, &at));

    kl_fleet_schedule_storm(&schedule, 4e6, COUNT, 1);
    for (int i = 0; i < COUNT; i++) {
        ck_assert(kl_fleet_schedule_next(&schedule, &at));
        ck_assert_int_ge(at, last);
        ck_assert_int_le(at, 4000000);
        quarter[at < 4000000 ? at / 1000000 : 3]++;
        last = at;
    }
    ck_assert(!kl_fleet_schedule_next(&schedule, &at));
    for (int i = 0; i < 4; i++) {
        ck_assert_int_gt(quarter[i], COUNT / 4 - 500);
    }
}
END_TEST

START_TEST(test_same_seed_same_run)
{
    struct kl_fleet_random a = {5}, b = {5}, c = {6};
    int differs = 0;

    for (int i = 0; i < 100; i++) {
        double x = kl_fleet_random_spacing(&a, KL_FLEET_UNIFORM, 10);
        ck_assert(x == kl_fleet_random_spacing(&b, KL_FLEET_UNIFORM, 10));
        ck_assert(x > 0 && x <= 20);
        differs += x != kl_fleet_random_spacing(&c, KL_FLEET_UNIFORM, 10);
    }
    ck_assert_int_eq(differs, 100);
    ck_assert(kl_fleet_random_spacing(&a, KL_FLEET_FIXED, 10) == 10);
}
END_TEST

/* ---- Mixes ---- */

static unsigned letter(const char *name)
{
    return name[0] >= 'a' && name[0] <= 'j' && !name[1] ? (unsigned)(name[0] - 'a') + 1 : 0;
}

START_TEST(test_mix)
{
    enum { COUNT = 100000 };
    struct kl_fleet_mix mix;
    int seen[4] = {0}, both = 0;

    ok(kl_fleet_mix_parse("a=6,b,c=3", letter, "a to j", &mix, &err));
    ck_assert_uint_eq(mix.total, 10);
    for (uint64_t i = 0; i < COUNT; i++) {
        unsigned value = kl_fleet_mix_pick(&mix, KL_FLEET_SALT_SUITE, i);

        ck_assert_uint_eq(value, kl_fleet_mix_pick(&mix, KL_FLEET_SALT_SUITE, i));
        seen[value]++;
        both += value == 1 && kl_fleet_mix_pick(&mix, KL_FLEET_SALT_ALG, i) == 1;
    }
    ck_assert_int_eq(seen[0], 0);
    ck_assert_double_eq_tol((double)seen[1] / COUNT, 0.6, 0.01);
    ck_assert_double_eq_tol((double)seen[2] / COUNT, 0.1, 0.01);
    ck_assert_double_eq_tol((double)seen[3] / COUNT, 0.3, 0.01);
    ck_assert_double_eq_tol((double)both / COUNT, 0.36, 0.01); /* independent */
}
END_TEST

START_TEST(test_mix_malformed)
{
    static const char *const bad[] = {"",      "a,", "a=0",   "a=1001", "a=x", "a=-1",
                                      "a,a=2", "z",  "a=1=2", " a",     "=1",  "a,b,c,d,e,f,g,h,i"};
    struct kl_fleet_mix mix = {.total = 99};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(kl_fleet_mix_parse(bad[i], letter, "a to j", &mix, &err) == KL_ERR_INPUT,
                      "%s", bad[i]);
    }
    ck_assert_uint_eq(mix.total, 99);
}
END_TEST

/* ---- Source addresses ---- */

static struct sockaddr_in loader(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET};

    ck_assert_int_eq(inet_pton(AF_INET, address, &to.sin_addr), 1);
    return to;
}

static const char *picked(const struct kl_fleet_source *source, uint64_t index)
{
    static char text[INET_ADDRSTRLEN];
    struct sockaddr_in from;

    ck_assert(kl_fleet_source_pick(source, index, &from));
    return inet_ntop(AF_INET, &from.sin_addr, text, sizeof text);
}

START_TEST(test_sources_of_loopback)
{
    struct sockaddr_in to = loader("127.0.0.1");
    struct kl_fleet_source source = {0};
    struct sockaddr_in from;

    ck_assert(!kl_fleet_source_pick(&source, 3, &from)); /* the system chooses */
    ok(kl_fleet_source_parse("127.0.0.0/8", (struct sockaddr *)&to, &source, &err));
    ck_assert_str_eq(picked(&source, 0), "127.0.0.1");
    ck_assert_str_eq(picked(&source, 256), "127.0.1.1");
    ck_assert_str_eq(picked(&source, 0xfffffd), "127.255.255.254");
    ck_assert_str_eq(picked(&source, 0xfffffe), "127.0.0.1");
    ok(kl_fleet_source_parse("127.9.0.4/30", (struct sockaddr *)&to, &source, &err));
    ck_assert_str_eq(picked(&source, 1), "127.9.0.6");
    ck_assert_str_eq(picked(&source, 2), "127.9.0.5");
    ok(kl_fleet_source_parse("127.0.0.77", (struct sockaddr *)&to, &source, &err));
    ck_assert_str_eq(picked(&source, 5), "127.0.0.77");
}
END_TEST

START_TEST(test_sources_refused)
{
    static const char *const malformed[] = {
        "",           "127.0.0.0/7", "127.0.0.0/33",
        "127.0.0/8",  "::1",         "127.0.0.0/8x",
        "127.0.0.0/", "localhost",   "127.000000000000000.0.0/8"};
    struct sockaddr_in to = loader("127.0.0.1"), far = loader("192.0.2.1");
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct kl_fleet_source source = {0};

    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        ck_assert_msg(kl_fleet_source_parse(malformed[i], (struct sockaddr *)&to, &source, &err) ==
                          KL_ERR_INPUT,
                      "%s", malformed[i]);
    }
    ck_assert_int_eq(kl_fleet_source_parse("127.0.0.0/8", (struct sockaddr *)&far, &source, &err),
                     KL_ERR_INPUT);
    ck_assert_int_eq(kl_fleet_source_parse("127.0.0.0/8", (struct sockaddr *)&six, &source, &err),
                     KL_ERR_INPUT);
    /* TEST-NET-3 is nobody's. */
    ck_assert_int_eq(kl_fleet_source_parse("203.0.113.0/24", (struct sockaddr *)&far, &source,
                                           &err),
                     KL_ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.text, "no address"));
}
END_TEST

/* ---- Command line ---- */

START_TEST(test_times_and_rates)
{
    static const struct {
        const char *text;
        int64_t us;
    } times[] = {{"0s", 0},  {"250ms", 250000}, {"7", 7000000},
                 {"3us", 3}, {"2m", 120000000}, {"24h", INT64_C(86400000000)}};
    static const char *const no_times[] = {"",    "ms",  "-1s", "1.5s",
                                           "25h", "1 s", "1d",  "99999999999999999s"};
    static const char *const no_rates[] = {"",   "0",      "0.0",    "-1",    "1e3", ".5",
                                           "5.", "1.2345", "100001", "1.2.3", "5 "};
    int64_t us;
    double rate;

    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        ok(kl_fleet_take_time(times[i].text, &us, &err));
        ck_assert_int_eq(us, times[i].us);
    }
    for (size_t i = 0; i < sizeof no_times / sizeof no_times[0]; i++) {
        ck_assert_msg(kl_fleet_take_time(no_times[i], &us, &err) == KL_ERR_INPUT, "%s",
                      no_times[i]);
    }
    ok(kl_fleet_take_rate("12.5", &rate, &err));
    ck_assert(rate == 12.5);
    ok(kl_fleet_take_rate("0.001", &rate, &err));
    ck_assert(rate == 0.001);
    ok(kl_fleet_take_rate("100000", &rate, &err));
    ck_assert(rate == 100000);
    for (size_t i = 0; i < sizeof no_rates / sizeof no_rates[0]; i++) {
        ck_assert_msg(kl_fleet_take_rate(no_rates[i], &rate, &err) == KL_ERR_INPUT, "%s",
                      no_rates[i]);
    }
}
END_TEST

static enum kl_rc parse(const char *line, struct kl_fleet_request *request)
{
    static char copy[512];
    char *argv[40], *rest = copy;
    int argc = 0;

    snprintf(copy, sizeof copy, "%s", line);
    while ((argv[argc] = strsep(&rest, " ")) != NULL) {
        argc++;
    }
    return kl_fleet_request_parse(argc, argv, request, &err);
}

START_TEST(test_what_goes_together)
{
    static const char *const bad[] = {
        "--write-csv f --terminals 0",
        "--write-csv f --terminals 1000001",
        "--write-csv f --serial-prefix abcdefghijklmnopq",
        "--write-csv f --serial-prefix a/b",
        "--write-csv f --suite none",
        "--write-csv f --algorithm des",
        "--write-csv f --allow busy,ok",
        "--write-csv f --sign-in 101",
        "--connect h:1 --concurrency 1",
        "--root r --concurrency 1",
        "--connect h:1 --root r",
        "--connect h:1 --root r --concurrency 1 --rate 1",
        "--connect h:1 --root r --storm --rate 1",
        "--connect h:1 --root r --storm --think 1s",
        "--connect h:1 --root r --rate 1 --spread 1s",
        "--connect h:1 --root r --concurrency 1 --connections 3",
        "--connect h:1 --root r --rate 1 --rounds 0",
        "--connect h:1 --root r --concurrency 60001",
        "--connect h:1 --root r --concurrency 0",
        "--write-csv f --connect h:1",
        "--write-csv f --rate 5",
        "--write-csv f --html f",
        "--connect h:1 --root r --rate 1 --arrivals uniform",
        "--connect h:1 --root r --concurrency 1 --think-time poisson",
    };
    struct kl_fleet_request request = {0};
    char line[400];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(line, sizeof line, "fleet %s", bad[i]);
        ck_assert_msg(parse(line, &request) == KL_ERR_USAGE, "%s", bad[i]);
    }
    ck_assert_int_eq(parse("fleet --connect h:1 --root r --concurrency 0", &request), KL_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "from 1 to 60000"));
    ck_assert_int_eq(parse("fleet --write-csv f --serial-prefix a/b", &request), KL_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "1 to 16"));
    ok(parse("fleet --write-csv f --serial-prefix Q- --terminals 7 --first 12", &request));
    ck_assert_uint_eq(request.config.terminals, 7);
    ck_assert_int_eq(parse("fleet --connect h:1 --root /nowhere --rate 1", &request),
                     KL_ERR_NO_FILE);
}
END_TEST

/* ---- Memory ---- */

/* More secrets than the usual heap has room for; it grows only while nobody uses it. */
START_TEST(test_heap_for_many_secrets)
{
    enum { COUNT = 40, EACH = 65536 };
    struct kl_secret *secrets[COUNT];

    ok(kl_secret_reserve((size_t)COUNT * EACH, &err));
    for (int i = 0; i < COUNT; i++) {
        ok(kl_secret_new(EACH, &secrets[i], &err));
    }
    ok(kl_secret_reserve(1, &err)); /* there is as much already */
    ck_assert_int_eq(kl_secret_reserve((size_t)COUNT * EACH * 2, &err), KL_ERR_INTERNAL);
    for (int i = 0; i < COUNT; i++) {
        kl_secret_free(secrets[i]);
    }
    ck_assert_int_eq(kl_secret_reserve(KL_SECRET_HEAP_MAX + 1, &err), KL_ERR_INTERNAL);
}
END_TEST

/* ---- Report ---- */

static struct kl_fleet_request request;
static struct kl_fleet_result result;
static struct kl_fleet_stats *stats;

static void begin_report(void)
{
    request = (struct kl_fleet_request){.config = {.connect = "lab:1\"><script>alert(1)</script>",
                                                   .mode = KL_FLEET_OPEN,
                                                   .rate = 10,
                                                   .prefix = "Q",
                                                   .first = 12,
                                                   .duration_us = 90500000,
                                                   .count = 34,
                                                   .terminals = 5}};
    result = (struct kl_fleet_result){.started = 1700000000, .elapsed_us = 2500000};
    stats = kl_fleet_stats_new(&err);
    ck_assert_ptr_nonnull(stats);
}

static void end_report(void)
{
    free(stats);
}

static json_t *report(void)
{
    json_t *made = NULL;

    ok(kl_fleet_report(&request, stats, &result, &made, &err));
    return made;
}

static double at(const json_t *object, const char *name, const char *member)
{
    const json_t *found = json_object_get(object, name);

    ck_assert_ptr_nonnull(found);
    found = member ? json_object_get(found, member) : found;
    ck_assert_ptr_nonnull(found);
    return json_number_value(found);
}

START_TEST(test_report_counts)
{
    json_t *made;

    stats->started[KL_FLEET_LOAD] = 5;
    for (int i = 1; i <= 4; i++) {
        kl_fleet_stats_attempt(stats, KL_FLEET_OK, "");
        kl_fleet_stats_end(stats, KL_FLEET_LOAD, KL_FLEET_OK, i * 1000);
    }
    kl_fleet_stats_attempt(stats, KL_FLEET_BUSY, "first");
    kl_fleet_stats_attempt(stats, KL_FLEET_BUSY, "second");
    kl_fleet_stats_end(stats, KL_FLEET_LOAD, KL_FLEET_BUSY, 99);
    kl_fleet_stats_tick(stats, 3);
    kl_fleet_stats_end(stats, KL_FLEET_SIGN_IN, KL_FLEET_OK, 500);
    kl_fleet_stats_tick(stats, 1);
    made = report();
    ck_assert_str_eq(json_string_value(json_object_get(made, "verdict")), "failed");
    ck_assert_double_eq(at(made, "unexpected-failures", NULL), 1);
    ck_assert_double_eq(at(made, "loads", "good"), 4);
    ck_assert_double_eq(at(made, "loads", "failed"), 1);
    ck_assert_double_eq_tol(at(made, "loads", "good-per-second"), 1.6, 1e-9);
    ck_assert_double_eq(at(made, "sign-ins", "good"), 1);
    ck_assert_double_eq(at(made, "load-ms", "count"), 4); /* failures have no time */
    ck_assert_double_eq(at(made, "load-ms", "max"), 4);
    ck_assert_double_eq_tol(at(made, "load-ms", "p50"), 2, 0.05);
    const json_t *busy = json_object_get(json_object_get(made, "errors"), "busy");
    ck_assert_double_eq(at(busy, "failed", NULL), 1);
    ck_assert_double_eq(at(busy, "attempts", NULL), 2);
    ck_assert_str_eq(json_string_value(json_object_get(busy, "example")), "first");
    const json_t *series = json_object_get(made, "series");
    const json_t *good = json_object_get(series, "good");
    ck_assert_uint_eq(json_array_size(good), 2);
    ck_assert_int_eq(json_integer_value(json_array_get(good, 0)), 4);
    ck_assert_int_eq(json_integer_value(json_array_get(good, 1)), 1);
    ck_assert_int_eq(json_integer_value(json_array_get(json_object_get(series, "open"), 0)), 3);
    json_decref(made);
}
END_TEST

START_TEST(test_what_is_allowed)
{
    stats->started[KL_FLEET_LOAD] = 3;
    kl_fleet_stats_end(stats, KL_FLEET_LOAD, KL_FLEET_BUSY, 0);
    kl_fleet_stats_end(stats, KL_FLEET_SIGN_IN, KL_FLEET_BUSY, 0);
    kl_fleet_stats_end(stats, KL_FLEET_LOAD, KL_FLEET_CHECK, 0);
    result.in_doubt = 2;
    result.unfinished = 1;
    result.idle_failed[KL_FLEET_CONNECT] = 3;
    ck_assert_uint_eq(kl_fleet_unexpected(&request, stats, &result), 9);
    request.allowed = UINT32_C(1) << KL_FLEET_CONNECT;
    ck_assert_uint_eq(kl_fleet_unexpected(&request, stats, &result), 6);
    request.allowed |= UINT32_C(1) << KL_FLEET_BUSY;
    ck_assert_uint_eq(kl_fleet_unexpected(&request, stats, &result), 4);
    request.allowed |= UINT32_C(1) << KL_FLEET_IN_DOUBT;
    ck_assert_uint_eq(kl_fleet_unexpected(&request, stats, &result), 2);
    request.max_errors = 2;
    json_t *made = report();
    ck_assert_str_eq(json_string_value(json_object_get(made, "verdict")), "as-expected");
    ck_assert_double_eq(at(json_object_get(made, "errors"), "cut-off", "failed"), 1);
    ck_assert_double_eq(at(made, "idle-connections", "not-opened"), 3);
    json_decref(made);
}
END_TEST

START_TEST(test_settings)
{
    static const struct {
        const char *name, *text;
    } told[] = {{"serial-prefix", "Q"},
                {"suites", "hardened-ec=3,hardened-rsa=1"},
                {"algorithms", "tdes2=1,aes256=9"}};

    ok(kl_fleet_mix_parse("hardened-ec=3,hardened-rsa", kl_suite_by_name, "",
                          &request.config.suites, &err));
    request.config.algs = (struct kl_fleet_mix){.value = {KL_ALG_TDES2, KL_ALG_AES256},
                                                .weight = {1, 9},
                                                .count = 2,
                                                .total = 10};
    json_t *made = report(), *settings = json_object_get(made, "settings");
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        ck_assert_str_eq(json_string_value(json_object_get(settings, told[i].name)), told[i].text);
    }
    ck_assert_double_eq(at(settings, "first", NULL), 12);
    ck_assert_double_eq(at(settings, "duration-seconds", NULL), 90.5);
    ck_assert_double_eq(at(settings, "count", NULL), 34);
    json_decref(made);
}
END_TEST

START_TEST(test_kinds)
{
    ck_assert_int_eq(kl_fleet_kind_of(KL_ERR_BUSY), KL_FLEET_BUSY);
    ck_assert_int_eq(kl_fleet_kind_of(KL_ERR_PEER), KL_FLEET_REFUSED);
    ck_assert_int_eq(kl_fleet_kind_of(KL_ERR_CERT), KL_FLEET_CHECK);
    ck_assert_int_eq(kl_fleet_kind_of(KL_ERR_CLOSED), KL_FLEET_RESET);
    ck_assert_int_eq(kl_fleet_kind_of(KL_ERR_UNAVAILABLE), KL_FLEET_CONNECT);
    ck_assert_int_eq(kl_fleet_kind_of(KL_ERR_SYSTEM), KL_FLEET_OWN);
    ck_assert_uint_eq(kl_fleet_kind_by_name("in-doubt"), KL_FLEET_IN_DOUBT);
    ck_assert_uint_eq(kl_fleet_kind_by_name("ok"), 0);
}
END_TEST

/* However long a run is: nothing is lost by merging, and the number of points stays bounded. */
START_TEST(test_series_is_bounded)
{
    const uint64_t seconds = 5000;
    uint64_t good = 0;
    int64_t max = 0;

    for (uint64_t i = 0; i < seconds; i++) {
        kl_fleet_stats_end(stats, KL_FLEET_LOAD, KL_FLEET_OK, (int64_t)i);
        kl_fleet_stats_end(stats, KL_FLEET_LOAD, KL_FLEET_TIMEOUT, 0);
        kl_fleet_stats_tick(stats, 1);
        ck_assert_uint_lt(stats->points, KL_FLEET_SERIES_MAX);
    }
    ck_assert_uint_eq(stats->every, 16);
    json_t *made = report();
    const json_t *series = json_object_get(made, "series"),
                 *column = json_object_get(series, "good");
    ck_assert_uint_eq(json_array_size(column), (seconds + 15) / 16);
    for (size_t i = 0; i < json_array_size(column); i++) {
        good += (uint64_t)json_integer_value(json_array_get(column, i));
    }
    ck_assert_uint_eq(good, seconds);
    column = json_object_get(series, "max-ms");
    max = (int64_t)(json_number_value(json_array_get(column, json_array_size(column) - 1)) * 1000 +
                    0.5);
    ck_assert_int_eq(max, (int64_t)seconds - 1);
    json_decref(made);
}
END_TEST

static char *page_of(const json_t *made)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    kl_fleet_html(made, out);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

START_TEST(test_page_escapes)
{
    kl_fleet_stats_attempt(stats, KL_FLEET_REFUSED, "it's <b>&\"bad\"");
    kl_fleet_stats_end(stats, KL_FLEET_LOAD, KL_FLEET_REFUSED, 0);
    kl_fleet_stats_end(stats, KL_FLEET_LOAD, KL_FLEET_OK, 1000);
    kl_fleet_stats_tick(stats, 1);
    json_t *made = report();
    char *page = page_of(made);
    ck_assert_ptr_null(strstr(page, "<script"));
    ck_assert_ptr_null(strstr(page, "<b>"));
    ck_assert_ptr_nonnull(strstr(page, "lab:1&quot;&gt;&lt;script&gt;"));
    ck_assert_ptr_nonnull(strstr(page, "it&#39;s &lt;b&gt;&amp;&quot;bad&quot;"));
    ck_assert_ptr_nonnull(strstr(page, "<polyline"));
    /* Nothing from elsewhere. */
    ck_assert_ptr_null(strstr(page, "http:"));
    ck_assert_ptr_null(strstr(page, "https:"));
    ck_assert_ptr_null(strstr(page, "src="));
    ck_assert_ptr_null(strstr(page, "href="));
    ck_assert_ptr_null(strstr(page, "nan"));
    ck_assert_ptr_null(strstr(page, "inf\""));
    free(page);
    json_decref(made);
}
END_TEST

/* Two seconds of 100 loads each, and 0.1 s with 20: no rate of 200 a second. */
START_TEST(test_last_point_is_no_peak)
{
    static const int good[] = {100, 100, 20};

    for (size_t i = 0; i < 3; i++) {
        for (int k = 0; k < good[i]; k++) {
            kl_fleet_stats_end(stats, KL_FLEET_LOAD, KL_FLEET_OK, 1000);
        }
        kl_fleet_stats_tick(stats, 1);
    }
    result.elapsed_us = 2100000;
    json_t *made = report();
    char *page = page_of(made), *rates = strstr(page, "<h2>Loads and"),
         *end = strstr(rates, "</svg");
    *end = '\0';
    /* Marks: up to 100 (109.1 is the most), in steps of 50; of time from 0 to 2. */
    ck_assert_ptr_nonnull(strstr(rates, ">100</text>"));
    ck_assert_ptr_null(strstr(rates, ">150</text>"));
    ck_assert_ptr_null(strstr(rates, ">200</text>"));
    ck_assert_ptr_nonnull(strstr(rates, ">0.5</text>"));
    ck_assert_ptr_nonnull(strstr(rates, ">2</text>"));
    free(page);
    json_decref(made);
}
END_TEST

/* A run of less than a second has one point, of which no line is drawn. */
START_TEST(test_short_run_is_drawn)
{
    kl_fleet_stats_end(stats, KL_FLEET_LOAD, KL_FLEET_OK, 1000);
    kl_fleet_stats_tick(stats, 1);
    result.elapsed_us = 400000;
    json_t *made = report();
    char *page = page_of(made);
    ck_assert_ptr_nonnull(strstr(page, "<circle class=\"c0\""));
    ck_assert_ptr_nonnull(strstr(page, ">2.5</text>")); /* a second */
    free(page);
    json_decref(made);
}
END_TEST

START_TEST(test_page_of_nothing)
{
    json_t *made = report();
    char *page = page_of(made);

    ck_assert_ptr_null(strstr(page, "nan"));
    ck_assert_ptr_nonnull(strstr(page, "nothing was measured"));
    free(page);
    json_decref(made);
}
END_TEST

START_TEST(test_lines_for_people)
{
    kl_fleet_stats_attempt(stats, KL_FLEET_BUSY, "why");
    json_t *made = report();
    ck_assert(kl_fleet_report_shorten(made));
    ck_assert_ptr_null(json_object_get(made, "series"));
    ck_assert(json_is_string(json_object_get(made, "load-ms")));
    ck_assert(json_is_string(json_object_get(json_object_get(made, "load-steps-ms"), "done")));
    const char *busy = json_string_value(json_object_get(json_object_get(made, "errors"), "busy"));
    ck_assert_str_eq(busy, "0 failed, 1 attempts: why");
    json_decref(made);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fleet");
    TCase *pure = tcase_create("pure"), *reports = tcase_create("reports");

    tcase_add_test(pure, test_percentiles_are_within_a_bucket);
    tcase_add_test(pure, test_latency_at_its_ends);
    tcase_add_test(pure, test_constant_arrivals);
    tcase_add_test(pure, test_poisson_arrivals);
    tcase_add_test(pure, test_storm);
    tcase_add_test(pure, test_same_seed_same_run);
    tcase_add_test(pure, test_mix);
    tcase_add_test(pure, test_mix_malformed);
    tcase_add_test(pure, test_sources_of_loopback);
    tcase_add_test(pure, test_sources_refused);
    tcase_add_test(pure, test_times_and_rates);
    tcase_add_test(pure, test_what_goes_together);
    tcase_add_test(pure, test_heap_for_many_secrets);
    tcase_add_checked_fixture(reports, begin_report, end_report);
    tcase_add_test(reports, test_report_counts);
    tcase_add_test(reports, test_what_is_allowed);
    tcase_add_test(reports, test_settings);
    tcase_add_test(reports, test_kinds);
    tcase_add_test(reports, test_series_is_bounded);
    tcase_add_test(reports, test_page_escapes);
    tcase_add_test(reports, test_last_point_is_no_peak);
    tcase_add_test(reports, test_short_run_is_drawn);
    tcase_add_test(reports, test_page_of_nothing);
    tcase_add_test(reports, test_lines_for_people);
    suite_add_tcase(suite, pure);
    suite_add_tcase(suite, reports);
    return test_run(suite);
}
