/* SPDX-License-Identifier: BSD-2-Clause */
/* Mixes: which of several values a terminal has, by weights, e.g. "hardened-ec=3,hardened-rsa=1".
 */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_MIX_H
#define KL_TERMINAL_SIM_FLEET_FLEET_MIX_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

#define KL_FLEET_MIX_MAX 8
#define KL_FLEET_WEIGHT_MAX 1000

struct kl_fleet_mix {
    size_t count;
    unsigned total; /* of the weights */
    unsigned value[KL_FLEET_MIX_MAX], weight[KL_FLEET_MIX_MAX];
};

/* NAME[=WEIGHT],...: each name once, weights 1 (also where none is given) to KL_FLEET_WEIGHT_MAX.
 * by_name gives 0 for a name that is unknown; `known` lists those there are. KL_ERR_INPUT. */
enum kl_rc kl_fleet_mix_parse(const char *text, unsigned (*by_name)(const char *name),
                              const char *known, struct kl_fleet_mix *out,
                              struct kl_err *err) KL_MUST_CHECK;

/* Mixes that a terminal has one value of each of. */
enum kl_fleet_salt { KL_FLEET_SALT_SUITE = 1, KL_FLEET_SALT_ALG };

/* The value of the index-th terminal: always the same; over many, in proportion to the weights.
 * Mixes of different salts are independent of each other. */
unsigned kl_fleet_mix_pick(const struct kl_fleet_mix *mix, enum kl_fleet_salt salt, uint64_t index);

#endif
