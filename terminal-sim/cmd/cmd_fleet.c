/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim fleet: very many terminals at once, and what became of them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/cli.h"
#include "conf/report.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/fleet/fleet_report.h"

#define FAILED 1 /* exit status */

/* Writes a file that `fill` fills, whole or not at all. */
static enum kl_rc write_out(const char *path, void (*fill)(const void *what, FILE *out),
                            const void *what, struct kl_err *err)
{
    char *data = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&data, &len);
    int bad;
    enum kl_rc rc;

    if (!out) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for %s", path);
    }
    fill(what, out);
    bad = ferror(out);
    bad |= fclose(out) != 0;
    rc = bad ? kl_err_set(err, KL_ERR_MEMORY, "no memory for %s", path)
             : kl_file_write(path, data, len, 0644, 1, err);
    free(data);
    return rc;
}

/* As `keyloaderctl terminal import` takes it. */
static void fill_csv(const void *what, FILE *out)
{
    const struct kl_fleet_config *config = what;
    char serial[KL_SERIAL_MAX + 1], pinpad_serial[KL_SERIAL_MAX + 1];

    fputs("serial,algorithm,pinpad\n", out);
    for (uint64_t i = 0; i < config->terminals; i++) {
        kl_fleet_serial(config->prefix, config->first + i, serial, pinpad_serial);
        fprintf(out, "%s,%s,%s\n", serial, kl_alg_info(kl_fleet_alg(config, i))->name,
                pinpad_serial);
    }
}

struct outcome {
    const struct kl_fleet_request *request;
    const struct kl_fleet *fleet;
};

static void kcv_line(FILE *out, const char *serial, const char *state, uint32_t version,
                     enum kl_alg alg, const uint8_t *kcv, size_t kcv_len)
{
    char text[KL_KCV_TEXT];

    kl_kcv_format(kcv, kcv_len, text);
    fprintf(out, "%s,%s,%" PRIu32 ",%s,%s\n", serial, state, version, kl_alg_info(alg)->name, text);
}

/* What the PIN pads hold at the end: what is in use, and what awaits the loader's word. */
static void fill_kcv(const void *what, FILE *out)
{
    const struct outcome *outcome = what;
    const struct kl_fleet_config *config = &outcome->request->config;
    char serial[KL_SERIAL_MAX + 1], pinpad_serial[KL_SERIAL_MAX + 1];

    fputs("serial,state,version,algorithm,kcv\n", out);
    for (uint64_t i = 0; i < config->terminals; i++) {
        const struct kl_fleet_terminal *terminal = kl_fleet_terminal_at(outcome->fleet, i);
        const struct kl_pinpad_tmk *active = &terminal->active;
        const struct kl_candidate *candidate = terminal->candidate;

        kl_fleet_serial(config->prefix, config->first + i, serial, pinpad_serial);
        if (active->version) {
            kcv_line(out, serial, "active", active->version, active->alg, active->kcv,
                     active->kcv_len);
        }
        if (candidate) {
            kcv_line(out, serial, "in-doubt", candidate->version, candidate->alg,
                     candidate->loaded.kcv, candidate->loaded.kcv_len);
        }
    }
}

static void fill_html(const void *what, FILE *out)
{
    kl_fleet_html(what, out);
}

/* Files first: they are whole, or the command fails. */
static enum kl_rc tell(const struct kl_fleet_request *request, const struct kl_fleet *fleet,
                       int *status, struct kl_err *err)
{
    const struct outcome outcome = {request, fleet};
    const struct kl_fleet_stats *stats = kl_fleet_stats_of(fleet);
    const struct kl_fleet_result *result = kl_fleet_result_of(fleet);
    json_t *report = NULL;
    enum kl_rc rc = request->kcv ? write_out(request->kcv, fill_kcv, &outcome, err) : KL_OK;

    if (!rc) {
        rc = kl_fleet_report(request, stats, result, &report, err);
    }
    if (!rc && request->html) {
        rc = write_out(request->html, fill_html, report, err);
    }
    if (rc) {
        json_decref(report);
        return rc;
    }
    if (kl_fleet_unexpected(request, stats, result) > request->max_errors) {
        *status = FAILED;
    }
    if (!request->json && !kl_fleet_report_shorten(report)) {
        json_decref(report);
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for the report");
    }
    return kl_report_print(report, request->json, err);
}

enum kl_rc kl_terminal_cmd_fleet(int argc, char **argv, int *status, struct kl_err *err)
{
    struct kl_fleet_request request = {0};
    struct kl_fleet *fleet = NULL;
    enum kl_rc rc = kl_fleet_request_parse(argc, argv, &request, err);

    if (rc) {
        return rc;
    }
    if (request.csv) {
        rc = write_out(request.csv, fill_csv, &request.config, err);
        if (!rc) {
            rc = kl_report_print(json_pack("{s:I, s:s}", "terminals",
                                           (json_int_t)request.config.terminals, "file",
                                           request.csv),
                                 request.json, err);
        }
        goto out;
    }
    rc = kl_fleet_new(&request.config, &fleet, err);
    if (!rc) {
        rc = kl_fleet_run(fleet, err);
    }
    if (!rc) {
        rc = tell(&request, fleet, status, err);
    }
out:
    kl_fleet_free(fleet);
    kl_fleet_request_wipe(&request);
    return rc;
}
