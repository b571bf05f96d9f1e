/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of `terminal-sim fleet`. */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_OPTIONS_H
#define KL_TERMINAL_SIM_FLEET_FLEET_OPTIONS_H

#include <stdint.h>

#include "proto/err.h"
#include "terminal-sim/fleet/fleet.h"

struct kl_fleet_request {          /* strings are borrowed from argv */
    struct kl_fleet_config config; /* with roots; wiped by kl_fleet_request_wipe */
    const char *csv;               /* --write-csv: nothing else is done */
    const char *html, *kcv;
    int json;
    uint32_t allowed; /* bit of each enum kl_fleet_kind whose failures are as expected */
    uint64_t max_errors;
};

/* KL_ERR_USAGE, or what is wrong with the roots. */
enum kl_rc kl_fleet_request_parse(int argc, char **argv, struct kl_fleet_request *out,
                                  struct kl_err *err) KL_MUST_CHECK;
void kl_fleet_request_wipe(struct kl_fleet_request *request);

#endif
