/* SPDX-License-Identifier: BSD-2-Clause */
/* What a run comes to: as JSON, from which the lines for people and the page are made as well. */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_REPORT_H
#define KL_TERMINAL_SIM_FLEET_FLEET_REPORT_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/err.h"
#include "terminal-sim/fleet/fleet_options.h"

/* How many failures there were of kinds that are not allowed: loads, sign-ins, TMKs in doubt, and
 * what was cut off. */
uint64_t kl_fleet_unexpected(const struct kl_fleet_request *request,
                             const struct kl_fleet_stats *stats,
                             const struct kl_fleet_result *result);

/* The whole of it; docs/simulator.md has the members. The caller frees with json_decref. */
enum kl_rc kl_fleet_report(const struct kl_fleet_request *request,
                           const struct kl_fleet_stats *stats, const struct kl_fleet_result *result,
                           json_t **out, struct kl_err *err) KL_MUST_CHECK;

/* Makes it short enough to read as lines: a line for each latency and each kind of error, no
 * series. 0: out of memory. */
int kl_fleet_report_shorten(json_t *report);

/* The same as one page of HTML with plots, which asks for nothing from anywhere. Whatever the
 * report has from outside is escaped. Writing errors show in ferror(out). */
void kl_fleet_html(const json_t *report, FILE *out);

#endif
