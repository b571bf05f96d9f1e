/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `attack` and `scenario run` do alike: whom to attack, and what is said of what came of it.
 */
#ifndef KL_TERMINAL_SIM_CMD_CMD_ATTACK_WORK_H
#define KL_TERMINAL_SIM_CMD_CMD_ATTACK_WORK_H

#include <limits.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/cli.h"
#include "terminal-sim/attack/attack.h"
#include "terminal-sim/attack/results.h"

struct kl_attack_request { /* the command line; strings are borrowed from it */
    const char *loader, *dir, *serial, *pinpad_serial, *root, *arm, *junit, *serve, *root_out;
    uint64_t seconds;
    int list, all, tap, json, strict, no_load;
};

struct kl_attack_work {
    struct kl_attack_request request;
    struct kl_attack_target target;
    struct kl_attack *attack;
    struct kl_results results;
    struct kl_progress progress;
    size_t planned;                                         /* results that there will be */
    char scratch[PATH_MAX], scratch_terminal[PATH_MAX + 8]; /* folders of ours; "" = none */
    FILE *junit;
};

/* The options of both; serves: --serve and --root-out, too. KL_ERR_USAGE. */
enum kl_rc kl_attack_request_parse(int argc, char **argv, int serves, const char *operands,
                                   struct kl_attack_request *request,
                                   struct kl_err *err) KL_MUST_CHECK;

/* Makes work (zero but for its request) ready to attack; kl_attack_work_wipe is due in any case. */
enum kl_rc kl_attack_work_begin(struct kl_attack_work *work, struct kl_err *err) KL_MUST_CHECK;
/* One result: kept, and said, as far as it is said one by one. */
enum kl_rc kl_attack_work_tell(struct kl_attack_work *work, const struct kl_attack_result *result,
                               struct kl_err *err) KL_MUST_CHECK;
/* 1 if an honest load in the end is to show that the terminal is none the worse; and that load. */
int kl_attack_work_loads(const struct kl_attack_work *work);
enum kl_rc kl_attack_work_load(struct kl_attack_work *work, struct kl_err *err) KL_MUST_CHECK;
/* What is said once all is over; *status: of results.h. */
enum kl_rc kl_attack_work_finish(struct kl_attack_work *work, int *status,
                                 struct kl_err *err) KL_MUST_CHECK;
void kl_attack_work_wipe(struct kl_attack_work *work);

/* Prints the scenarios that are built in; with_flood: also the attack that is no scenario. */
enum kl_rc kl_attack_list(int as_json, int with_flood, struct kl_err *err) KL_MUST_CHECK;

#endif
