/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim attack and scenario: which ones, against whom, and what is said of it. */
#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "terminal-sim/attack/attack.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/attack/results.h"
#include "terminal-sim/attack/tamper.h"
#include "terminal-sim/terminal.h"
#include "terminal-sim/transceiver.h"

struct request { /* the command line */
    const char *loader, *dir, *serial, *pinpad_serial, *root, *arm, *junit, *serve, *root_out;
    uint64_t seconds;
    int list, all, tap, json, strict, no_load;
};

struct work {
    struct request request;
    struct kl_attack_target target;
    struct kl_attack *attack;
    struct kl_results results;
    struct kl_progress progress;
    size_t planned;
    char scratch[PATH_MAX]; /* a folder of ours; "" = none */
    FILE *junit;
};

static enum kl_rc parse(int argc, char **argv, int serves, const char *operands,
                        struct request *request, struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--loader", .text = &request->loader},
        {"--terminal", .text = &request->dir},
        {"--serial", .text = &request->serial},
        {"--pinpad-serial", .text = &request->pinpad_serial},
        {"--root", .text = &request->root},
        {"--arm", .text = &request->arm},
        {"--timeout", .take = kl_cmd_take_timeout, .out = &request->seconds},
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
static enum kl_rc make_terminal(struct work *work, struct kl_err *err)
{
    const char *tmp = getenv("TMPDIR");
    struct kl_terminal_setup setup = {.serial = work->request.serial,
                                      .pinpad_serial = work->request.pinpad_serial,
                                      .roots = {work->request.root},
                                      .root_count = 1,
                                      .kind = KL_PINPAD_MEMORY};
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/terminal-sim.XXXXXX", tmp ? tmp : "/tmp") >=
            (int)sizeof(path) - 8 ||
        !mkdtemp(path)) {
        return kl_err_errno(err, "mkdtemp", "a folder for the terminal");
    }
    strcpy(work->scratch, path);
    strcat(path, "/term");
    setup.dir = work->request.dir = strdup(path);
    return setup.dir ? kl_terminal_init(&setup, err)
                     : kl_err_set(err, KL_ERR_MEMORY, "no memory for a path");
}

static enum kl_rc set_up(struct work *work, struct kl_err *err)
{
    const struct request *request = &work->request;
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

static void tear_down(struct work *work)
{
    kl_attack_free(work->attack);
    kl_results_wipe(&work->results);
    if (work->junit) {
        fclose(work->junit);
    }
    if (work->scratch[0]) {
        nftw(work->scratch, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
        free((char *)work->request.dir);
    }
}

/* ---- Results ---- */

static enum kl_rc tell(struct work *work, const struct kl_attack_result *result, struct kl_err *err)
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

static enum kl_rc finish(struct work *work, int *status, struct kl_err *err)
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

/* The honest load that shows, in the end, that the terminal is none the worse. */
static int loads_in_the_end(const struct work *work)
{
    return work->request.loader && !work->request.no_load;
}

static enum kl_rc load_in_the_end(struct work *work, struct kl_err *err)
{
    struct kl_attack_result result;

    if (!loads_in_the_end(work)) {
        return KL_OK;
    }
    kl_attack_load(work->attack, "/proc/self/exe", &result);
    return tell(work, &result, err);
}

/* ---- Built-in attacks ---- */

static enum kl_rc read_built_in(size_t i, struct kl_scenario *out, struct kl_err *err)
{
    return kl_scenario_parse(kl_scenarios[i].name, kl_scenarios[i].text,
                             strlen(kl_scenarios[i].text), out, err);
}

static int is_asked_for(const struct work *work, char *const *names, const char *name)
{
    for (; !work->request.all && *names && strcmp(*names, name) != 0; names++) {
    }
    return work->request.all || *names;
}

/* kl_scenario_count: none of that name is built in. */
static size_t find_built_in(const char *name)
{
    size_t i = 0;

    while (i < kl_scenario_count && strcmp(kl_scenarios[i].name, name) != 0) {
        i++;
    }
    return i;
}

static enum kl_rc check_names(char *const *names, struct kl_err *err)
{
    for (; *names; names++) {
        if (find_built_in(*names) == kl_scenario_count && strcmp(*names, KL_FLOOD_NAME) != 0) {
            return kl_err_set(err, KL_ERR_USAGE,
                              "there is no attack \"%s\": see 'terminal-sim attack --list'",
                              *names);
        }
    }
    return KL_OK;
}

/* Of all attacks, without a loader: only terminals are cheated. */
static int leaves_out(const struct work *work, int needs_loader)
{
    return work->request.all && !work->request.loader && needs_loader;
}

static enum kl_rc leave_out(struct work *work, const char *name, const char *tries,
                            struct kl_err *err)
{
    struct kl_attack_result result = {.outcome = KL_ATTACK_NOT_TRIED,
                                      .detail = "it needs a loader (--loader)"};

    snprintf(result.name, sizeof(result.name), "%s", name);
    snprintf(result.tries, sizeof(result.tries), "%s", tries);
    return tell(work, &result, err);
}

static enum kl_rc run_built_in(struct work *work, char *const *names, struct kl_err *err)
{
    struct kl_scenario *scenario = calloc(1, sizeof(*scenario));
    struct kl_attack_result result;
    enum kl_rc rc = scenario ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for a scenario");

    for (size_t i = 0; !rc && i < kl_scenario_count; i++) {
        if (is_asked_for(work, names, kl_scenarios[i].name)) {
            rc = read_built_in(i, scenario, err);
            if (!rc && leaves_out(work, kl_scenario_needs_loader(scenario))) {
                rc = leave_out(work, scenario->name, scenario->tries, err);
            } else if (!rc) {
                kl_attack_run(work->attack, scenario, &result);
                rc = tell(work, &result, err);
            }
        }
    }
    if (!rc && leaves_out(work, 1)) {
        rc = leave_out(work, KL_FLOOD_NAME, KL_FLOOD_TRIES, err);
    } else if (!rc && is_asked_for(work, names, KL_FLOOD_NAME)) {
        kl_attack_flood(work->attack, &result);
        rc = tell(work, &result, err);
    }
    free(scenario);
    return rc ? rc : load_in_the_end(work, err);
}

static size_t count_built_in(const struct work *work, char *const *names)
{
    size_t count = is_asked_for(work, names, KL_FLOOD_NAME) + (size_t)loads_in_the_end(work);

    for (size_t i = 0; i < kl_scenario_count; i++) {
        count += is_asked_for(work, names, kl_scenarios[i].name);
    }
    return count;
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

/* with_flood: also the attack that is no scenario. */
static enum kl_rc list(int as_json, int with_flood, struct kl_err *err)
{
    struct kl_scenario *s = calloc(1, sizeof(*s));
    char expects[KL_SC_TEXT_MAX];
    json_t *rows = json_array();
    enum kl_rc rc = s && rows ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "the list of attacks");

    for (size_t i = 0; !rc && i < kl_scenario_count; i++) {
        rc = read_built_in(i, s, err);
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

/* ---- --serve ---- */

static enum kl_rc listen_on(const char *address, int *out, struct kl_err *err)
{
    struct addrinfo *list = NULL;
    const int on = 1;
    int fd;
    enum kl_rc rc = kl_transceiver_resolve(address, &list, err);

    if (rc) {
        return rc;
    }
    fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    }
    if (fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, 1) != 0) {
        rc = kl_err_errno(err, "listen", "--serve %s", address);
        if (fd >= 0) {
            close(fd);
        }
    } else {
        *out = fd;
    }
    freeaddrinfo(list);
    return rc;
}

static enum kl_rc serve(struct work *work, const char *name, struct kl_err *err)
{
    struct kl_scenario *scenario = calloc(1, sizeof(*scenario));
    struct kl_attack_result result;
    size_t i = find_built_in(name);
    int fd = -1;
    enum kl_rc rc = scenario ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for a scenario");

    if (!rc) {
        rc = i < kl_scenario_count ? read_built_in(i, scenario, err)
                                   : kl_scenario_read(name, scenario, err);
    }
    if (!rc && work->request.root_out) {
        rc = kl_attack_write_root(work->attack, work->request.root_out, err);
    }
    if (!rc) {
        rc = listen_on(work->request.serve, &fd, err);
    }
    if (!rc) {
        fprintf(stderr, "terminal-sim: listening on %s for one terminal\n", work->request.serve);
        kl_attack_serve(work->attack, scenario, fd, &result);
        close(fd);
        rc = tell(work, &result, err);
    }
    free(scenario);
    return rc;
}

/* ---- Commands ---- */

enum kl_rc kl_terminal_cmd_attack(int argc, char **argv, int *status, struct kl_err *err)
{
    struct work work = {.request = {.seconds = KL_TERMINAL_TIMEOUT_DEFAULT}};
    struct request *request = &work.request;
    enum kl_rc rc = kl_options_take(&argc, argv, "list", '\0', NULL, &request->list, err);

    if (!rc) {
        rc = kl_options_take(&argc, argv, "all", '\0', NULL, &request->all, err);
    }
    if (!rc) {
        rc = parse(argc, argv, 1, request->list || request->all ? "" : "NAME...", request, err);
    }
    if (!rc && request->list) {
        return list(request->json, 1, err);
    }
    if (!rc && !request->serve) {
        rc = check_names(argv + optind, err);
    }
    if (!rc && request->serve && (request->all || argv[optind + 1])) {
        rc = kl_err_set(err, KL_ERR_USAGE, "--serve takes one attack");
    }
    if (!rc && request->root_out && !request->serve) {
        rc = kl_err_set(err, KL_ERR_USAGE, "--root-out goes with --serve");
    }
    if (!rc) {
        rc = set_up(&work, err);
    }
    if (!rc) {
        work.planned = request->serve ? 1 : count_built_in(&work, argv + optind);
        rc = request->serve ? serve(&work, argv[optind], err)
                            : run_built_in(&work, argv + optind, err);
    }
    if (!rc) {
        rc = finish(&work, status, err);
    }
    tear_down(&work);
    return rc;
}

static enum kl_rc run_files(struct work *work, char *const *paths, struct kl_err *err)
{
    struct kl_scenario *scenario = calloc(1, sizeof(*scenario));
    struct kl_attack_result result;
    enum kl_rc rc = scenario ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for a scenario");

    for (; !rc && *paths; paths++) {
        rc = kl_scenario_read(*paths, scenario, err);
        if (!rc) {
            kl_attack_run(work->attack, scenario, &result);
            rc = tell(work, &result, err);
        }
    }
    free(scenario);
    return rc ? rc : load_in_the_end(work, err);
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
    size_t i = find_built_in(name);

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
    struct work work = {.request = {.seconds = KL_TERMINAL_TIMEOUT_DEFAULT}};
    enum kl_rc rc = parse(argc, argv, 0, "FILE...", &work.request, err);

    if (!rc) {
        rc = set_up(&work, err);
    }
    if (!rc) {
        work.planned = (size_t)(argc - optind) + (size_t)loads_in_the_end(&work);
        rc = run_files(&work, argv + optind, err);
    }
    if (!rc) {
        rc = finish(&work, status, err);
    }
    tear_down(&work);
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
        return rc ? rc : list(json, 0, err);
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
