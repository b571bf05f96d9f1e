/* SPDX-License-Identifier: BSD-2-Clause */
/* conf/scenarios/ as it is built in; the build makes scenarios.inc of the files. */
#include "terminal-sim/attack/scenario.h"

const struct kl_scenario_text kl_scenarios[] = {
#include "scenarios.inc"
};
const size_t kl_scenario_count = sizeof(kl_scenarios) / sizeof(kl_scenarios[0]);
