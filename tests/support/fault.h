/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A lab whose loader reaches its token through the fault-injecting module
 * (tests/tools/fault_p11.h). The rules of each test are a file of its own, which may change while
 * the daemon runs. Logins are always logged.
 */
#ifndef KL_TESTS_SUPPORT_FAULT_H
#define KL_TESTS_SUPPORT_FAULT_H

#include "tests/support/lab.h"

struct fault {
    char module_env[PATH_MAX + 32], rules_env[PATH_MAX + 32], log_env[PATH_MAX + 32];
    char rules[PATH_MAX], log[PATH_MAX];
};

/* lab_begin, with the module in between; sets lab->env. fault must live as long as the lab. */
void fault_begin(struct fault *fault, struct lab *lab, const char *name);
/* From the next call on: these lines, or none ("") but that logins are logged. */
void fault_set(const struct fault *fault, const char *lines);
/* How many lines of the log are `line`. */
size_t fault_count(const struct fault *fault, const char *line);
/* Waits until that is so; 0 if it is not within `seconds`. */
int fault_logged(const struct fault *fault, const char *line, int seconds);

#endif
