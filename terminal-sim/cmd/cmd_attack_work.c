/* SPDX-License-Identifier: BSD-2-Clause */
/* See cmd_attack_work.h. */
#include "terminal-sim/cmd/cmd_attack_work.h"

#include <ftw.h>
#include <stdlib.h>

#include "conf/options.h"
#include "conf/report.h"
#include "terminal-sim/terminal.h"
#include "terminal-sim/transceiver.h"

enum kl_rc kl_attack_request_parse(int argc, char **argv, int serves, const char *operands,
                                   struct kl_attack_request *request, struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--loader", .text = &request->loader},
        {"--terminal", .text = &request->dir},
        {"--serial", .text = &request->serial},
        {"--pinpad-serial", .text = &request->pinpad_serial},
        {"--root", .text = &request->root},
        {"--arm", .text = &request->arm},
        {"--timeout", .take = kl_transceiver_take_timeout, .out = &request->seconds},
        {"--no-load", .flag = &request->no_load},
        {"--strict", .flag = &request->strict},
        {"--tap", .flag = &request->tap},
        {"--json", .flag = &request->json},
        {"--junit", .text = &request->junit},
        {serves ? "--serve" : NULL, .text = &request->serve}, /* there it ends for scenario */
        {"--root-out", .text = &request->root_out},
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, operands, err);

    if (!rc && request->tap && request->json) {
        rc = kl_err_set(err, KL_ERR_USAGE, "--tap or --json, not both");
    }
    if (!rc && request->serial && (request->dir || !request->pinpad_serial || !request->root)) {
        rc = kl_err_set(err, KL_ERR_USAGE,
                        "--serial, --pinpad-serial and --root go together, in place of --terminal");
    }
    if (!rc && !request->serial && (request->pinpad_serial || request->root)) {
        rc = kl_err_set(err, KL_ERR_USAGE, "--pinpad-serial and --root need --serial");
    }
    if (!rc && request->loader && !request->serve && !request->dir && !request->serial) {
        rc = kl_err_set(err, KL_ERR_USAGE,
                        "--loader needs a terminal that it knows: --terminal, or --serial");
    }
    return rc;
}

/* ---- The terminal under test ---- */

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* A folder for a terminal that is given by its serials and root. */
static enum kl_rc make_terminal(struct kl_attack_work *work, struct kl_err *err)
{
    const char *tmp = getenv("TMPDIR");
    struct kl_terminal_setup setup = {.serial = work->request.serial,
                                      .pinpad_serial = work->request.pinpad_serial,
                                      .roots = {work->request.root},
                                      .root_count = 1,
                                      .kind = KL_PINPAD_MEMORY};

    if (snprintf(work->scratch, sizeof(work->scratch), "%s/terminal-sim.XXXXXX",
                 tmp ? tmp : "/tmp") >= (int)sizeof(work->scratch) ||
        !mkdtemp(work->scratch)) {
        work->scratch[0] = '\0';
        return kl_err_errno(err, "mkdtemp", "a folder for the terminal");
    }
    snprintf(work->scratch_terminal, sizeof(work->scratch_terminal), "%s/term", work->scratch);
    setup.dir = work->request.dir = work->scratch_terminal;
    return kl_terminal_init(&setup, err);
}

enum kl_rc kl_attack_work_begin(struct kl_attack_work *work, struct kl_err *err)
{
    const struct kl_attack_request *request = &work->request;
    enum kl_rc rc = request->serial ? make_terminal(work, err) : KL_OK;

    if (!rc && request->junit && !(work->junit = fopen(request->junit, "we"))) {
        rc = kl_err_errno(err, "fopen", "--junit %s", request->junit);
    }
    work->target = (struct kl_attack_target){.loader = request->loader,
                                             .dir = work->request.dir,
                                             .arm = request->arm,
                                             .seconds = (unsigned)request->seconds};
    work->results.strict = request->strict;
    if (!rc) {
        rc = kl_attack_new(&work->target, &work->attack, err);
    }
    return rc;
}

void kl_attack_work_wipe(struct kl_attack_work *work)
{
    kl_attack_free(work->attack);
    kl_results_wipe(&work->results);
    if (work->junit) {
        fclose(work->junit);
    }
    if (work->scratch[0]) {
        nftw(work->scratch, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
}

/* ---- Results ---- */

enum kl_rc kl_attack_work_tell(struct kl_attack_work *work, const struct kl_attack_result *result,
                               struct kl_err *err)
{
    enum kl_rc rc = kl_results_add(&work->results, result, err);

    if (rc) {
        return rc;
    }
    if (work->request.json) { /* otherwise the lines themselves tell */
        kl_progress(&work->progress, "attacks", work->results.count, work->planned);
    }
    if (work->request.tap) {
        if (work->results.count == 1) {
            kl_results_tap_begin(stdout, work->planned);
        }
        kl_results_tap(stdout, &work->results, work->results.count - 1);
    } else if (!work->request.json) {
        kl_results_text(stdout, result);
    }
    return fflush(stdout) == 0 ? KL_OK : kl_err_errno(err, "fflush", "results cannot be written");
}

enum kl_rc kl_attack_work_finish(struct kl_attack_work *work, int *status, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    if (work->request.json) {
        rc = kl_results_json(&work->results, err);
    } else if (!work->request.tap) {
        kl_results_text_end(stdout, &work->results);
    }
    if (!rc && work->junit) {
        kl_results_junit(work->junit, &work->results);
        if (fflush(work->junit) != 0) {
            rc = kl_err_errno(err, "fflush", "--junit %s", work->request.junit);
        }
    }
    *status = kl_results_status(&work->results);
    return rc;
}

int kl_attack_work_loads(const struct kl_attack_work *work)
{
    return work->request.loader && !work->request.no_load;
}

enum kl_rc kl_attack_work_load(struct kl_attack_work *work, struct kl_err *err)
{
    struct kl_attack_result result;

    if (!kl_attack_work_loads(work)) {
        return KL_OK;
    }
    kl_attack_load(work->attack, "/proc/self/exe", &result);
    return kl_attack_work_tell(work, &result, err);
}

/* ---- Lists ---- */

static enum kl_rc add_row(json_t *list, int as_json, const char *name, const char *cheats,
                          const char *needs, const char *tries, const char *expects,
                          struct kl_err *err)
{
    if (!as_json) {
        printf("%s (cheats the %s; needs %s)\n    %s\n    expected: %s\n", name, cheats, needs,
               tries, expects);
        return KL_OK;
    }
    return json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", name,
                                                 "cheats", cheats, "needs", needs, "tries", tries,
                                                 "expected", expects)) == 0
               ? KL_OK
               : kl_err_set(err, KL_ERR_MEMORY, "the list of attacks");
}

enum kl_rc kl_attack_list(int as_json, int with_flood, struct kl_err *err)
{
    struct kl_scenario *s = calloc(1, sizeof(*s));
    char expects[KL_SC_TEXT_MAX];
    json_t *rows = json_array();
    enum kl_rc rc = s && rows ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "the list of attacks");

    for (size_t i = 0; !rc && i < kl_scenario_count; i++) {
        rc = kl_scenario_built_in(i, s, err);
        if (!rc) {
            kl_scenario_expects(s, expects);
            rc = add_row(rows, as_json, s->name, s->cheats_terminal ? "terminal" : "loader",
                         s->needs_certificate          ? "a loader and a certificate"
                         : s->needs_arm                ? "a loader and --arm"
                         : kl_scenario_needs_loader(s) ? "a loader"
                                                       : "nothing",
                         s->tries, expects, err);
        }
    }
    if (!rc && with_flood) {
        rc = add_row(rows, as_json, KL_FLOOD_NAME, "loader", "a loader", KL_FLOOD_TRIES,
                     KL_FLOOD_EXPECTS, err);
    }
    free(s);
    if (rc || !as_json) {
        json_decref(rows);
        return rc;
    }
    return kl_report_print(json_pack("{s:o}", "attacks", rows), 1, err);
}
