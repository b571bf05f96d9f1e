/* SPDX-License-Identifier: BSD-2-Clause */
/* See fleet_values.h. */
#include "terminal-sim/fleet/fleet_values.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "conf/cli.h"
#include "terminal-sim/fleet/fleet.h"
#include "terminal-sim/offer.h"

#define DAY_US (INT64_C(86400) * 1000000)
#define RATE_MAX 100000

enum kl_rc kl_fleet_take_suites(const char *value, void *out, struct kl_err *err)
{
    return kl_fleet_mix_parse(value, kl_suite_by_name, KL_OFFER_SUITES, out, err);
}

enum kl_rc kl_fleet_take_algs(const char *value, void *out, struct kl_err *err)
{
    return kl_fleet_mix_parse(value, kl_offer_alg, KL_OFFER_ALGS, out, err);
}

enum kl_rc kl_fleet_take_time(const char *value, void *out, struct kl_err *err)
{
    static const struct {
        const char *name;
        int64_t us;
    } units[] = {{"us", 1},     {"ms", 1000},    {"s", 1000000},
                 {"", 1000000}, {"m", 60000000}, {"h", 3600000000}};
    char digits[16];
    size_t len = strspn(value, "0123456789");
    int64_t *us = out;
    uint64_t number;

    if (len > 0 && len < sizeof(digits)) {
        memcpy(digits, value, len);
        digits[len] = '\0';
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            if (strcmp(value + len, units[i].name) == 0 &&
                !kl_parse_number(digits, 0, (uint64_t)(DAY_US / units[i].us), &number, err)) {
                *us = (int64_t)number * units[i].us;
                return KL_OK;
            }
        }
    }
    return kl_err_set(
        err, KL_ERR_INPUT,
        "'%.40s' must be a time up to a day: a number and us, ms, s, m or h (without: "
        "seconds)",
        value);
}

enum kl_rc kl_fleet_take_rate(const char *value, void *out, struct kl_err *err)
{
    size_t whole = strspn(value, "0123456789"), part = 0;
    double *rate = out, number = 0, unit = 1;

    if (value[whole] == '.') {
        part = strspn(value + whole + 1, "0123456789");
    }
    if (whole == 0 || whole > 6 || part > 3 || (value[whole] == '.' && part == 0) ||
        value[whole + part + (part > 0)] != '\0') {
        goto malformed;
    }
    for (const char *at = value; *at; at++) {
        if (isdigit((unsigned char)*at)) {
            number = number * 10 + (*at - '0');
        }
    }
    for (size_t i = 0; i < part; i++) {
        unit *= 10;
    }
    number /= unit;
    if (number <= 0 || number > RATE_MAX) {
        goto malformed;
    }
    *rate = number;
    return KL_OK;

malformed:
    return kl_err_set(err, KL_ERR_INPUT, "'%.40s' must be a number a second, 0.001 to %d", value,
                      RATE_MAX);
}

enum kl_rc kl_fleet_take_spacing(const char *value, void *out, struct kl_err *err)
{
    static const char *const names[] = {
        [KL_FLEET_FIXED] = "fixed",
        [KL_FLEET_UNIFORM] = "uniform",
        [KL_FLEET_EXPONENTIAL] = "exponential",
    };
    enum kl_fleet_spacing *spacing = out;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(value, names[i]) == 0) {
            *spacing = (enum kl_fleet_spacing)i;
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_INPUT, "must be fixed, uniform or exponential");
}

enum kl_rc kl_fleet_take_arrivals(const char *value, void *out, struct kl_err *err)
{
    enum kl_fleet_spacing *spacing = out;

    if (strcmp(value, "constant") == 0) {
        *spacing = KL_FLEET_FIXED;
    } else if (strcmp(value, "poisson") == 0) {
        *spacing = KL_FLEET_EXPONENTIAL;
    } else {
        return kl_err_set(err, KL_ERR_INPUT, "must be constant or poisson");
    }
    return KL_OK;
}

enum kl_rc kl_fleet_take_number(const char *value, void *out, struct kl_err *err)
{
    return kl_parse_number(value, 0, UINT64_MAX, out, err);
}

enum kl_rc kl_fleet_take_concurrency(const char *value, void *out, struct kl_err *err)
{
    return kl_parse_number(value, 1, KL_FLEET_CONNECTIONS_MAX, out, err);
}

enum kl_rc kl_fleet_take_allowed(const char *value, void *out, struct kl_err *err)
{
    char copy[160], *name, *rest = copy;
    uint32_t *allowed = out;

    if (snprintf(copy, sizeof(copy), "%s", value) >= (int)sizeof(copy)) {
        return kl_err_set(err, KL_ERR_INPUT, "the list is too long");
    }
    while ((name = strsep(&rest, ",")) != NULL) {
        unsigned kind = kl_fleet_kind_by_name(name);

        if (kind == 0) {
            return kl_err_set(err, KL_ERR_INPUT, "\"%s\" is no kind of failure; see --help", name);
        }
        *allowed |= UINT32_C(1) << kind;
    }
    return KL_OK;
}
