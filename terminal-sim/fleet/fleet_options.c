/* SPDX-License-Identifier: BSD-2-Clause */
/* The options of a fleet, and which of them go together. */
#include "terminal-sim/fleet/fleet_options.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "proto/clock.h"
#include "terminal-sim/folder.h"
#include "terminal-sim/transceiver.h"

#define DAY_US (INT64_C(86400) * 1000000)
#define RATE_MAX 100000
#define RETRIES_MAX 1000

/* ---- Values ---- */

static unsigned alg_by_name(const char *name)
{
    const struct kl_alg_info *info = kl_alg_by_name(name);

    return info ? info->alg : 0;
}

static enum kl_rc take_suites(const char *value, void *out, struct kl_err *err)
{
    return kl_fleet_mix_parse(value, kl_suite_by_name, "hardened-ec, hardened-rsa, classic", out,
                              err);
}

static enum kl_rc take_algs(const char *value, void *out, struct kl_err *err)
{
    return kl_fleet_mix_parse(value, alg_by_name, "tdes2, tdes3, aes128, aes192, aes256", out, err);
}

enum kl_rc kl_fleet_parse_time(const char *text, int64_t *us, struct kl_err *err)
{
    static const struct {
        const char *name;
        int64_t us;
    } units[] = {{"us", 1},     {"ms", 1000},    {"s", 1000000},
                 {"", 1000000}, {"m", 60000000}, {"h", 3600000000}};
    char digits[16];
    size_t len = strspn(text, "0123456789");
    uint64_t value;

    if (len > 0 && len < sizeof(digits)) {
        memcpy(digits, text, len);
        digits[len] = '\0';
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            if (strcmp(text + len, units[i].name) == 0 &&
                !kl_parse_number(digits, 0, (uint64_t)(DAY_US / units[i].us), &value, err)) {
                *us = (int64_t)value * units[i].us;
                return KL_OK;
            }
        }
    }
    return kl_err_set(
        err, KL_ERR_INPUT,
        "'%.40s' must be a time up to a day: a number and us, ms, s, m or h (without: "
        "seconds)",
        text);
}

enum kl_rc kl_fleet_parse_rate(const char *text, double *rate, struct kl_err *err)
{
    size_t whole = strspn(text, "0123456789"), part = 0;
    double value = 0, unit = 1;

    if (text[whole] == '.') {
        part = strspn(text + whole + 1, "0123456789");
    }
    if (whole == 0 || whole > 6 || part > 3 || (text[whole] == '.' && part == 0) ||
        text[whole + part + (part > 0)] != '\0') {
        goto malformed;
    }
    for (const char *at = text; *at; at++) {
        if (isdigit((unsigned char)*at)) {
            value = value * 10 + (*at - '0');
        }
    }
    for (size_t i = 0; i < part; i++) {
        unit *= 10;
    }
    value /= unit;
    if (value <= 0 || value > RATE_MAX) {
        goto malformed;
    }
    *rate = value;
    return KL_OK;

malformed:
    return kl_err_set(err, KL_ERR_INPUT, "'%.40s' must be a number a second, 0.001 to %d", text,
                      RATE_MAX);
}

static enum kl_rc take_time(const char *value, void *out, struct kl_err *err)
{
    return kl_fleet_parse_time(value, out, err);
}

static enum kl_rc take_rate(const char *value, void *out, struct kl_err *err)
{
    return kl_fleet_parse_rate(value, out, err);
}

static enum kl_rc take_spacing(const char *value, void *out, struct kl_err *err)
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

static enum kl_rc take_arrivals(const char *value, void *out, struct kl_err *err)
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

static enum kl_rc take_number(const char *value, void *out, struct kl_err *err)
{
    return kl_parse_number(value, 0, UINT64_MAX, out, err);
}

static enum kl_rc take_concurrency(const char *value, void *out, struct kl_err *err)
{
    return kl_parse_number(value, 1, KL_FLEET_CONNECTIONS_MAX, out, err);
}

static enum kl_rc take_allowed(const char *value, void *out, struct kl_err *err)
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

struct root_files {
    const char *path[KL_ANCHOR_MAX];
    size_t count;
};

static enum kl_rc take_root(const char *value, void *out, struct kl_err *err)
{
    struct root_files *files = out;

    if (files->count == KL_ANCHOR_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "%s is one too many: a terminal trusts at most %d",
                          value, KL_ANCHOR_MAX);
    }
    files->path[files->count++] = value;
    return KL_OK;
}

static enum kl_rc load_roots(const struct root_files *files, STACK_OF(X509) * *out,
                             struct kl_err *err)
{
    STACK_OF(X509) *roots = sk_X509_new_null();
    enum kl_rc rc = roots ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for certificates");

    for (size_t i = 0; !rc && i < files->count; i++) {
        rc = kl_folder_add_roots(roots, files->path[i], err);
    }
    *out = roots; /* the caller's, whatever became of it */
    return rc;
}

/* ---- What goes together ---- */

struct limit {
    const char *name;
    uint64_t value, min, max;
};

static enum kl_rc check_limits(const struct limit *limits, size_t count, struct kl_err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (limits[i].value < limits[i].min || limits[i].value > limits[i].max) {
            return kl_err_set(err, KL_ERR_USAGE, "%s must be a number from %" PRIu64 " to %" PRIu64,
                              limits[i].name, limits[i].min, limits[i].max);
        }
    }
    return KL_OK;
}

static enum kl_rc check_names(const struct kl_fleet_config *config, struct kl_err *err)
{
    char serial[KL_SERIAL_MAX + 1], pinpad_serial[KL_SERIAL_MAX + 1];
    const struct limit limits[] = {
        {"--terminals", config->terminals, 1, KL_FLEET_TERMINALS_MAX},
        {"--first", config->first, 0, 999999999 - KL_FLEET_TERMINALS_MAX},
    };

    enum kl_rc rc = check_limits(limits, sizeof(limits) / sizeof(limits[0]), err);
    size_t len = strlen(config->prefix);

    if (rc) {
        return rc;
    }
    if (len > 0 && len <= KL_FLEET_PREFIX_MAX) {
        kl_fleet_serial(config->prefix, config->first, serial, pinpad_serial);
        if (kl_serial_check("serial", serial, err) == KL_OK) {
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_USAGE,
                      "--serial-prefix '%.40s' must be 1 to %d of A-Z a-z 0-9 - . _",
                      config->prefix, KL_FLEET_PREFIX_MAX);
}

static enum kl_rc choose_mode(struct kl_fleet_config *config, int storm, struct kl_err *err)
{
    int chosen = (config->concurrency > 0) + (config->rate > 0) + storm;

    if (chosen > 1) {
        return kl_err_set(err, KL_ERR_USAGE,
                          "--concurrency, --rate and --storm exclude each other");
    }
    if (chosen == 0 && config->idle == 0) {
        return kl_err_set(err, KL_ERR_USAGE,
                          "say what terminals do: --concurrency, --rate, --storm or --idle");
    }
    config->mode = config->concurrency > 0 ? KL_FLEET_CLOSED
                   : config->rate > 0      ? KL_FLEET_OPEN
                   : storm                 ? KL_FLEET_STORM
                                           : KL_FLEET_SILENT;
    if (config->think_us > 0 && config->mode != KL_FLEET_CLOSED) {
        return kl_err_set(err, KL_ERR_USAGE, "--think goes with --concurrency");
    }
    if (config->connections > 0 && config->mode == KL_FLEET_CLOSED) {
        return kl_err_set(err, KL_ERR_USAGE, "--connections is --concurrency in a closed loop");
    }
    if (config->spread_us > 0 && config->mode != KL_FLEET_STORM) {
        return kl_err_set(err, KL_ERR_USAGE, "--spread goes with --storm");
    }
    if (config->rounds == 0 && config->duration_us == 0 && config->count == 0) {
        return kl_err_set(err, KL_ERR_USAGE,
                          "--rounds 0 needs --duration or --count, or it never ends");
    }
    return KL_OK;
}

/* What is about a run, and would be passed over in silence. */
static enum kl_rc check_csv(const struct kl_fleet_request *request,
                            const struct kl_fleet_config *config, const struct root_files *files,
                            int storm, struct kl_err *err)
{
    const struct {
        const char *name;
        int given;
    } of_runs[] = {
        {"--connect", config->connect != NULL},
        {"--root", files->count > 0},
        {"--concurrency", config->concurrency > 0},
        {"--think", config->think_us > 0},
        {"--rate", config->rate > 0},
        {"--storm", storm},
        {"--spread", config->spread_us > 0},
        {"--duration", config->duration_us > 0},
        {"--count", config->count > 0},
        {"--rounds", config->rounds != 1},
        {"--sign-in", config->sign_in > 0},
        {"--idle", config->idle > 0},
        {"--connections", config->connections > 0},
        {"--source", config->source != NULL},
        {"--retry", config->retries > 0},
        {"--allow", request->allowed != 0},
        {"--max-errors", request->max_errors > 0},
        {"--kcv-out", request->kcv != NULL},
        {"--html", request->html != NULL},
    };

    for (size_t i = 0; i < sizeof(of_runs) / sizeof(of_runs[0]); i++) {
        if (of_runs[i].given) {
            return kl_err_set(err, KL_ERR_USAGE,
                              "--write-csv only writes a file: %s goes with the run that comes "
                              "after",
                              of_runs[i].name);
        }
    }
    return KL_OK;
}

static enum kl_rc check(struct kl_fleet_config *config, const struct root_files *files, int storm,
                        struct kl_err *err)
{
    const struct limit limits[] = {
        {"--connections", config->connections, 0, KL_FLEET_CONNECTIONS_MAX},
        {"--idle", config->idle, 0, KL_FLEET_CONNECTIONS_MAX},
        {"--seed", config->seed, 0, INT64_MAX},
    };
    enum kl_rc rc = check_limits(limits, sizeof(limits) / sizeof(limits[0]), err);

    if (!rc && !config->connect) {
        rc = kl_err_set(err, KL_ERR_USAGE, "--connect is missing");
    }
    if (!rc && files->count == 0) {
        rc = kl_err_set(err, KL_ERR_USAGE, "--root is missing");
    }
    return rc ? rc : choose_mode(config, storm, err);
}

enum kl_rc kl_fleet_request_parse(int argc, char **argv, struct kl_fleet_request *out,
                                  struct kl_err *err)
{
    struct kl_fleet_config config = {
        .prefix = "F",
        .first = 1,
        .terminals = 1000,
        .rounds = 1,
        .timeout_s = KL_TRANSCEIVER_SECONDS,
        .think = KL_FLEET_EXPONENTIAL,
        .arrivals = KL_FLEET_EXPONENTIAL,
        .seed = ((uint64_t)kl_clock_us() ^ (uint64_t)time(NULL) << 20) % 1000000000,
    };
    struct kl_fleet_request request = {0};
    struct root_files files = {0};
    int storm = 0;
    unsigned rounds = 1;
    const struct kl_option options[] = {
        {"--connect", .text = &config.connect},
        {"--root", .take = take_root, .out = &files},
        {"--serial-prefix", .text = &config.prefix},
        {"--first", .take = take_number, .out = &config.first},
        {"--terminals", .take = take_number, .out = &config.terminals},
        {"--suite", .take = take_suites, .out = &config.suites},
        {"--algorithm", .take = take_algs, .out = &config.algs},
        {"--write-csv", .text = &request.csv},
        {"--concurrency", .take = take_concurrency, .out = &config.concurrency},
        {"--think", .take = take_time, .out = &config.think_us},
        {"--think-time", .take = take_spacing, .out = &config.think},
        {"--rate", .take = take_rate, .out = &config.rate},
        {"--arrivals", .take = take_arrivals, .out = &config.arrivals},
        {"--storm", .flag = &storm},
        {"--spread", .take = take_time, .out = &config.spread_us},
        {"--duration", .take = take_time, .out = &config.duration_us},
        {"--count", .take = take_number, .out = &config.count},
        {"--rounds", .number = &rounds, .min = 0, .max = 1000000},
        {"--sign-in", .number = &config.sign_in, .min = 0, .max = 100},
        {"--idle", .take = take_number, .out = &config.idle},
        {"--connections", .take = take_number, .out = &config.connections},
        {"--source", .text = &config.source},
        {"--timeout", .take = kl_transceiver_take_timeout, .out = &config.timeout_s},
        {"--retry", .number = &config.retries, .min = 0, .max = RETRIES_MAX},
        {"--seed", .take = take_number, .out = &config.seed},
        {"--allow", .take = take_allowed, .out = &request.allowed},
        {"--max-errors", .take = take_number, .out = &request.max_errors},
        {"--kcv-out", .text = &request.kcv},
        {"--html", .text = &request.html},
        {"--json", .flag = &request.json},
        {0},
    };
    enum kl_rc rc = take_suites("hardened-ec", &config.suites, err);

    if (!rc) {
        rc = take_algs("aes128", &config.algs, err);
    }
    if (!rc) {
        rc = kl_options_parse(argc, argv, options, "", err);
    }
    config.rounds = rounds;
    if (!rc) {
        rc = check_names(&config, err);
    }
    if (!rc) {
        rc = request.csv ? check_csv(&request, &config, &files, storm, err)
                         : check(&config, &files, storm, err);
    }
    if (!rc && !request.csv) {
        rc = load_roots(&files, &config.roots, err);
    }
    request.config = config;
    if (rc) {
        kl_fleet_request_wipe(&request);
    } else {
        *out = request;
    }
    return rc;
}

void kl_fleet_request_wipe(struct kl_fleet_request *request)
{
    sk_X509_pop_free(request->config.roots, X509_free);
    request->config.roots = NULL;
}
