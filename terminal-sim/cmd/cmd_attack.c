/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim attack: which ones, of those that are built in, and --serve. */
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/options.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/cmd/cmd_attack_work.h"
#include "terminal-sim/transceiver.h"

/* ---- Built-in attacks ---- */

static int is_asked_for(const struct kl_attack_work *work, char *const *names, const char *name)
{
    for (; !work->request.all && *names && strcmp(*names, name) != 0; names++) {
    }
    return work->request.all || *names;
}

static enum kl_rc check_names(char *const *names, struct kl_err *err)
{
    for (; *names; names++) {
        if (kl_scenario_find(*names) == kl_scenario_count && strcmp(*names, KL_FLOOD_NAME) != 0) {
            return kl_err_set(err, KL_ERR_USAGE,
                              "there is no attack \"%s\": see 'terminal-sim attack --list'",
                              *names);
        }
    }
    return KL_OK;
}

/* Of all attacks, without a loader: only terminals are cheated. */
static int leaves_out(const struct kl_attack_work *work, int needs_loader)
{
    return work->request.all && !work->request.loader && needs_loader;
}

static enum kl_rc leave_out(struct kl_attack_work *work, const char *name, const char *tries,
                            struct kl_err *err)
{
    struct kl_attack_result result = {.outcome = KL_ATTACK_NOT_TRIED,
                                      .detail = "it needs a loader (--loader)"};

    snprintf(result.name, sizeof(result.name), "%s", name);
    snprintf(result.tries, sizeof(result.tries), "%s", tries);
    return kl_attack_work_tell(work, &result, err);
}

static enum kl_rc run_built_in(struct kl_attack_work *work, char *const *names, struct kl_err *err)
{
    struct kl_scenario *scenario = calloc(1, sizeof(*scenario));
    struct kl_attack_result result;
    enum kl_rc rc = scenario ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for a scenario");

    for (size_t i = 0; !rc && i < kl_scenario_count; i++) {
        if (is_asked_for(work, names, kl_scenarios[i].name)) {
            rc = kl_scenario_built_in(i, scenario, err);
            if (!rc && leaves_out(work, kl_scenario_needs_loader(scenario))) {
                rc = leave_out(work, scenario->name, scenario->tries, err);
            } else if (!rc) {
                kl_attack_run(work->attack, scenario, &result);
                rc = kl_attack_work_tell(work, &result, err);
            }
        }
    }
    if (!rc && leaves_out(work, 1)) {
        rc = leave_out(work, KL_FLOOD_NAME, KL_FLOOD_TRIES, err);
    } else if (!rc && is_asked_for(work, names, KL_FLOOD_NAME)) {
        kl_attack_flood(work->attack, &result);
        rc = kl_attack_work_tell(work, &result, err);
    }
    free(scenario);
    return rc ? rc : kl_attack_work_load(work, err);
}

static size_t count_built_in(const struct kl_attack_work *work, char *const *names)
{
    size_t count = is_asked_for(work, names, KL_FLOOD_NAME) + (size_t)kl_attack_work_loads(work);

    for (size_t i = 0; i < kl_scenario_count; i++) {
        count += is_asked_for(work, names, kl_scenarios[i].name);
    }
    return count;
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

static enum kl_rc serve(struct kl_attack_work *work, const char *name, struct kl_err *err)
{
    struct kl_scenario *scenario = calloc(1, sizeof(*scenario));
    struct kl_attack_result result;
    size_t i = kl_scenario_find(name);
    int fd = -1;
    enum kl_rc rc = scenario ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for a scenario");

    if (!rc) {
        rc = i < kl_scenario_count ? kl_scenario_built_in(i, scenario, err)
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
        rc = kl_attack_work_tell(work, &result, err);
    }
    free(scenario);
    return rc;
}

/* ---- The command ---- */

enum kl_rc kl_terminal_cmd_attack(int argc, char **argv, int *status, struct kl_err *err)
{
    struct kl_attack_work work = {.request = {.seconds = KL_TRANSCEIVER_SECONDS}};
    struct kl_attack_request *request = &work.request;
    enum kl_rc rc = kl_options_take(&argc, argv, "list", '\0', NULL, &request->list, err);

    if (!rc) {
        rc = kl_options_take(&argc, argv, "all", '\0', NULL, &request->all, err);
    }
    if (!rc) {
        rc = kl_attack_request_parse(argc, argv, 1, request->list || request->all ? "" : "NAME...",
                                     request, err);
    }
    if (!rc && request->list) {
        return kl_attack_list(request->json, 1, err);
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
        rc = kl_attack_work_begin(&work, err);
    }
    if (!rc) {
        work.planned = request->serve ? 1 : count_built_in(&work, argv + optind);
        rc = request->serve ? serve(&work, argv[optind], err)
                            : run_built_in(&work, argv + optind, err);
    }
    if (!rc) {
        rc = kl_attack_work_finish(&work, status, err);
    }
    kl_attack_work_wipe(&work);
    return rc;
}
