/* SPDX-License-Identifier: BSD-2-Clause */
/* The options of a fleet, and which of them go together. */
#include "terminal-sim/fleet/fleet_options.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "conf/options.h"
#include "proto/clock.h"
#include "terminal-sim/fleet/fleet_values.h"
#include "terminal-sim/folder.h"
#include "terminal-sim/transceiver.h"

#define RETRIES_MAX 1000

/* ---- Roots ---- */

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
static enum kl_rc check_csv(const struct kl_fleet_request *request, const struct root_files *files,
                            int storm, struct kl_err *err)
{
    const struct kl_fleet_config *config = &request->config;
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

static enum kl_rc check_run(struct kl_fleet_config *config, const struct root_files *files,
                            int storm, struct kl_err *err)
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

/* ---- All of it ---- */

static enum kl_rc set_defaults(struct kl_fleet_config *config, struct kl_err *err)
{
    enum kl_rc rc;

    *config = (struct kl_fleet_config){
        .prefix = "F",
        .first = 1,
        .terminals = 1000,
        .rounds = 1,
        .timeout_s = KL_TRANSCEIVER_SECONDS,
        .think = KL_FLEET_EXPONENTIAL,
        .arrivals = KL_FLEET_EXPONENTIAL,
        .seed = ((uint64_t)kl_clock_us() ^ (uint64_t)time(NULL) << 20) % 1000000000,
    };
    rc = kl_fleet_take_suites("hardened-ec", &config->suites, err);
    return rc ? rc : kl_fleet_take_algs("aes128", &config->algs, err);
}

/* The command line as it is, into request, files and storm. */
static enum kl_rc read_options(int argc, char **argv, struct kl_fleet_request *request,
                               struct root_files *files, int *storm, struct kl_err *err)
{
    struct kl_fleet_config *config = &request->config;
    const struct kl_option options[] = {
        {"--connect", .text = &config->connect},
        {"--root", .take = take_root, .out = files},
        {"--serial-prefix", .text = &config->prefix},
        {"--first", .take = kl_fleet_take_number, .out = &config->first},
        {"--terminals", .take = kl_fleet_take_number, .out = &config->terminals},
        {"--suite", .take = kl_fleet_take_suites, .out = &config->suites},
        {"--algorithm", .take = kl_fleet_take_algs, .out = &config->algs},
        {"--write-csv", .text = &request->csv},
        {"--concurrency", .take = kl_fleet_take_concurrency, .out = &config->concurrency},
        {"--think", .take = kl_fleet_take_time, .out = &config->think_us},
        {"--think-time", .take = kl_fleet_take_spacing, .out = &config->think},
        {"--rate", .take = kl_fleet_take_rate, .out = &config->rate},
        {"--arrivals", .take = kl_fleet_take_arrivals, .out = &config->arrivals},
        {"--storm", .flag = storm},
        {"--spread", .take = kl_fleet_take_time, .out = &config->spread_us},
        {"--duration", .take = kl_fleet_take_time, .out = &config->duration_us},
        {"--count", .take = kl_fleet_take_number, .out = &config->count},
        {"--rounds", .number = &config->rounds, .min = 0, .max = 1000000},
        {"--sign-in", .number = &config->sign_in, .min = 0, .max = 100},
        {"--idle", .take = kl_fleet_take_number, .out = &config->idle},
        {"--connections", .take = kl_fleet_take_number, .out = &config->connections},
        {"--source", .text = &config->source},
        {"--timeout", .take = kl_transceiver_take_timeout, .out = &config->timeout_s},
        {"--retry", .number = &config->retries, .min = 0, .max = RETRIES_MAX},
        {"--seed", .take = kl_fleet_take_number, .out = &config->seed},
        {"--allow", .take = kl_fleet_take_allowed, .out = &request->allowed},
        {"--max-errors", .take = kl_fleet_take_number, .out = &request->max_errors},
        {"--kcv-out", .text = &request->kcv},
        {"--html", .text = &request->html},
        {"--json", .flag = &request->json},
        {0},
    };

    return kl_options_parse(argc, argv, options, "", err);
}

enum kl_rc kl_fleet_request_parse(int argc, char **argv, struct kl_fleet_request *out,
                                  struct kl_err *err)
{
    struct kl_fleet_request request = {0};
    struct root_files files = {0};
    int storm = 0;
    enum kl_rc rc = set_defaults(&request.config, err);

    if (!rc) {
        rc = read_options(argc, argv, &request, &files, &storm, err);
    }
    if (!rc) {
        rc = check_names(&request.config, err);
    }
    if (!rc && request.csv) {
        rc = check_csv(&request, &files, storm, err);
    } else if (!rc) {
        rc = check_run(&request.config, &files, storm, err);
    }
    if (!rc && !request.csv) {
        rc = load_roots(&files, &request.config.roots, err);
    }
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
