/* SPDX-License-Identifier: BSD-2-Clause */
/* What an option of `terminal-sim fleet` may say. */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_VALUES_H
#define KL_TERMINAL_SIM_FLEET_FLEET_VALUES_H

#include "proto/err.h"

/* For a table of struct kl_option; what `out` is stands behind. KL_ERR_INPUT. */

/* int64_t, microseconds: a whole number and us, ms, s, m or h, without one seconds; at most a
 * day. */
enum kl_rc kl_fleet_take_time(const char *value, void *out, struct kl_err *err) KL_MUST_CHECK;
/* double, a second's arrivals: up to three decimals, 0.001 to 100000. */
enum kl_rc kl_fleet_take_rate(const char *value, void *out, struct kl_err *err) KL_MUST_CHECK;
/* uint64_t: any, and 1 to KL_FLEET_CONNECTIONS_MAX. */
enum kl_rc kl_fleet_take_number(const char *value, void *out, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_fleet_take_concurrency(const char *value, void *out,
                                     struct kl_err *err) KL_MUST_CHECK;
/* struct kl_fleet_mix. */
enum kl_rc kl_fleet_take_suites(const char *value, void *out, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_fleet_take_algs(const char *value, void *out, struct kl_err *err) KL_MUST_CHECK;
/* enum kl_fleet_spacing: of pauses by its name; of arrivals "constant" or "poisson". */
enum kl_rc kl_fleet_take_spacing(const char *value, void *out, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_fleet_take_arrivals(const char *value, void *out, struct kl_err *err) KL_MUST_CHECK;
/* uint32_t: bits of enum kl_fleet_kind, which are added. */
enum kl_rc kl_fleet_take_allowed(const char *value, void *out, struct kl_err *err) KL_MUST_CHECK;

#endif
