/* SPDX-License-Identifier: BSD-2-Clause */
/* What an option of `terminal-sim fleet` may say. */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_VALUES_H
#define KL_TERMINAL_SIM_FLEET_FLEET_VALUES_H

#include <stdint.h>

#include "proto/err.h"

/* Microseconds: a whole number and us, ms, s, m or h, without one seconds; at most a day.
 * KL_ERR_INPUT. */
enum kl_rc kl_fleet_parse_time(const char *text, int64_t *us, struct kl_err *err) KL_MUST_CHECK;

/* A second's arrivals: up to three decimals, 0.001 to 100000. KL_ERR_INPUT. */
enum kl_rc kl_fleet_parse_rate(const char *text, double *rate, struct kl_err *err) KL_MUST_CHECK;

/* For a table of struct kl_option; what `out` is stands behind. */
enum kl_rc kl_fleet_take_time(const char *value, void *out, struct kl_err *err); /* int64_t */
enum kl_rc kl_fleet_take_rate(const char *value, void *out, struct kl_err *err); /* double */
/* uint64_t: any, and 1 to KL_FLEET_CONNECTIONS_MAX. */
enum kl_rc kl_fleet_take_number(const char *value, void *out, struct kl_err *err);
enum kl_rc kl_fleet_take_concurrency(const char *value, void *out, struct kl_err *err);
/* struct kl_fleet_mix. */
enum kl_rc kl_fleet_take_suites(const char *value, void *out, struct kl_err *err);
enum kl_rc kl_fleet_take_algs(const char *value, void *out, struct kl_err *err);
/* enum kl_fleet_spacing: of pauses by its name; of arrivals "constant" or "poisson". */
enum kl_rc kl_fleet_take_spacing(const char *value, void *out, struct kl_err *err);
enum kl_rc kl_fleet_take_arrivals(const char *value, void *out, struct kl_err *err);
/* uint32_t: bits of enum kl_fleet_kind, which are added. */
enum kl_rc kl_fleet_take_allowed(const char *value, void *out, struct kl_err *err);

#endif
