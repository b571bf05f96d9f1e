/* SPDX-License-Identifier: BSD-2-Clause */
/* A lab with an HSM that falls ill when it is told to. */
#include "tests/support/fault.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fault_set(const struct fault *fault, const char *lines)
{
    char text[1024], next[PATH_MAX + 8];
    int len = snprintf(text, sizeof text, "C_Login always log\n%s", lines);

    ck_assert_int_lt(len, (int)sizeof text);
    /* By rename: a worker never reads half of it. */
    snprintf(next, sizeof next, "%s.next", fault->rules);
    file_write(next, text, (size_t)len, 0600);
    ck_assert_int_eq(rename(next, fault->rules), 0);
}

void fault_begin(struct fault *fault, struct lab *lab, const char *name)
{
    lab_begin(lab, name);
    file_path(fault->rules, lab->run, "rules");
    file_path(fault->log, lab->run, "calls");
    snprintf(fault->module_env, sizeof fault->module_env, "KL_FAULT_MODULE=%s", lab->module);
    snprintf(fault->rules_env, sizeof fault->rules_env, "KL_FAULT_RULES=%s", fault->rules);
    snprintf(fault->log_env, sizeof fault->log_env, "KL_FAULT_LOG=%s", fault->log);
    lab->env[0] = fault->module_env;
    lab->env[1] = fault->rules_env;
    lab->env[2] = fault->log_env;
    lab_set(lab, "hsm", "module", lab_built("tests/tools/fault_p11.so"));
    fault_set(fault, "");
}

size_t fault_count(const struct fault *fault, const char *line)
{
    size_t count = 0;
    char *log = file_read(fault->log, NULL), *save = NULL;

    for (char *at = strtok_r(log, "\n", &save); at != NULL; at = strtok_r(NULL, "\n", &save)) {
        count += strcmp(at, line) == 0;
    }
    free(log);
    return count;
}

int fault_logged(const struct fault *fault, const char *line, int seconds)
{
    for (int tries = 0; tries < proc_seconds(seconds) * 50; tries++) {
        if (fault_count(fault, line) > 0) {
            return 1;
        }
        proc_sleep_ms(20);
    }
    return 0;
}
