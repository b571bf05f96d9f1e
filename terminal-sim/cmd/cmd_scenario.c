/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim scenario: attacks from files. */
#include <stdlib.h>
#include <string.h>

#include "conf/options.h"
#include "terminal-sim/attack/tamper.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/cmd/cmd_attack_work.h"
#include "terminal-sim/transceiver.h"

static enum kl_rc run_files(struct kl_attack_work *work, char *const *paths, struct kl_err *err)
{
    struct kl_scenario *scenario = calloc(1, sizeof(*scenario));
    struct kl_attack_result result;
    enum kl_rc rc = scenario ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for a scenario");

    for (; !rc && *paths; paths++) {
        rc = kl_scenario_read(*paths, scenario, err);
        if (!rc) {
            kl_attack_run(work->attack, scenario, &result);
            rc = kl_attack_work_tell(work, &result, err);
        }
    }
    free(scenario);
    return rc ? rc : kl_attack_work_load(work, err);
}

static enum kl_rc check_files(char *const *paths, struct kl_err *err)
{
    struct kl_scenario *scenario = calloc(1, sizeof(*scenario));
    struct kl_err first = KL_ERR_INIT, one = KL_ERR_INIT;

    if (!scenario) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a scenario");
    }
    for (; *paths; paths++) {
        if (kl_scenario_read(*paths, scenario, &one) == KL_OK &&
            kl_tamper_check(scenario, *paths, &one) == KL_OK) {
            printf("%s: good\n", *paths);
        } else if (first.rc == KL_OK) {
            first = one;
        } else {
            fprintf(stderr, "terminal-sim: %s\n", one.text);
        }
    }
    free(scenario);
    *err = first;
    return first.rc;
}

static enum kl_rc show(const char *name, struct kl_err *err)
{
    size_t i = kl_scenario_find(name);

    if (i == kl_scenario_count) {
        return kl_err_set(err, KL_ERR_NOT_FOUND,
                          "no scenario \"%s\" is built in: see 'terminal-sim scenario list'", name);
    }
    return fputs(kl_scenarios[i].text, stdout) == EOF || fflush(stdout) != 0
               ? kl_err_errno(err, "fputs", "the scenario cannot be written")
               : KL_OK;
}

static enum kl_rc run(int argc, char **argv, int *status, struct kl_err *err)
{
    struct kl_attack_work work = {.request = {.seconds = KL_TRANSCEIVER_SECONDS}};
    enum kl_rc rc = kl_attack_request_parse(argc, argv, 0, "FILE...", &work.request, err);

    if (!rc) {
        rc = kl_attack_work_begin(&work, err);
    }
    if (!rc) {
        work.planned = (size_t)(argc - optind) + (size_t)kl_attack_work_loads(&work);
        rc = run_files(&work, argv + optind, err);
    }
    if (!rc) {
        rc = kl_attack_work_finish(&work, status, err);
    }
    kl_attack_work_wipe(&work);
    return rc;
}

enum kl_rc kl_terminal_cmd_scenario(int argc, char **argv, int *status, struct kl_err *err)
{
    const char *verb = argc > 1 ? argv[1] : "";
    int json = 0;
    enum kl_rc rc;

    if (strcmp(verb, "run") == 0) {
        return run(argc - 1, argv + 1, status, err);
    }
    if (strcmp(verb, "list") == 0) {
        rc = kl_options_take(&argc, argv, "json", '\0', NULL, &json, err);
        if (!rc) {
            rc = kl_options_parse(argc - 1, argv + 1, NULL, "", err);
        }
        return rc ? rc : kl_attack_list(json, 0, err);
    }
    if (strcmp(verb, "check") == 0) {
        rc = kl_options_parse(argc - 1, argv + 1, NULL, "FILE...", err);
        return rc ? rc : check_files(argv + 1 + optind, err);
    }
    if (strcmp(verb, "show") == 0) {
        rc = kl_options_parse(argc - 1, argv + 1, NULL, "NAME", err);
        return rc ? rc : show(argv[1 + optind], err);
    }
    return kl_err_set(err, KL_ERR_USAGE, "run, check, list or show?");
}
