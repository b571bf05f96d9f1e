/* SPDX-License-Identifier: BSD-2-Clause */
/* conf/scenarios/ as it is built in; the build makes scenarios.inc of the files. */
#include <string.h>

#include "terminal-sim/attack/scenario.h"

const struct kl_scenario_text kl_scenarios[] = {
#include "scenarios.inc"
};
const size_t kl_scenario_count = sizeof(kl_scenarios) / sizeof(kl_scenarios[0]);

size_t kl_scenario_find(const char *name)
{
    size_t i = 0;

    while (i < kl_scenario_count && strcmp(kl_scenarios[i].name, name) != 0) {
        i++;
    }
    return i;
}

enum kl_rc kl_scenario_built_in(size_t i, struct kl_scenario *out, struct kl_err *err)
{
    return kl_scenario_parse(kl_scenarios[i].name, kl_scenarios[i].text,
                             strlen(kl_scenarios[i].text), out, err);
}
