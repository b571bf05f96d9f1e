/* SPDX-License-Identifier: BSD-2-Clause */
/* Weighted mixes. */
#include "terminal-sim/fleet/fleet_mix.h"

#include <stdio.h>
#include <string.h>

#include "conf/cli.h"
#include "terminal-sim/fleet/fleet_random.h"

#define TEXT_MAX 256

static int has(const struct kl_fleet_mix *mix, unsigned value)
{
    for (size_t i = 0; i < mix->count; i++) {
        if (mix->value[i] == value) {
            return 1;
        }
    }
    return 0;
}

static enum kl_rc add(struct kl_fleet_mix *mix, char *item, unsigned (*by_name)(const char *name),
                      const char *known, struct kl_err *err)
{
    char *equals = strchr(item, '=');
    uint64_t weight = 1;
    unsigned value;

    if (equals) {
        *equals = '\0';
        if (kl_parse_number(equals + 1, 1, KL_FLEET_WEIGHT_MAX, &weight, err)) {
            return kl_err_context(err, "weight of %s", item);
        }
    }
    value = by_name(item);
    if (value == 0) {
        return kl_err_set(err, KL_ERR_INPUT, "\"%s\" is unknown; there are %s", item, known);
    }
    if (has(mix, value) || mix->count == KL_FLEET_MIX_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "\"%s\" is one too many", item);
    }
    mix->value[mix->count] = value;
    mix->weight[mix->count++] = (unsigned)weight;
    mix->total += (unsigned)weight;
    return KL_OK;
}

enum kl_rc kl_fleet_mix_parse(const char *text, unsigned (*by_name)(const char *name),
                              const char *known, struct kl_fleet_mix *out, struct kl_err *err)
{
    struct kl_fleet_mix mix = {0};
    char copy[TEXT_MAX], *item, *rest = copy;
    enum kl_rc rc = KL_OK;

    if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy)) {
        return kl_err_set(err, KL_ERR_INPUT, "the list is too long");
    }
    while (!rc && (item = strsep(&rest, ",")) != NULL) {
        rc = add(&mix, item, by_name, known, err);
    }
    if (!rc) {
        *out = mix;
    }
    return rc;
}

unsigned kl_fleet_mix_pick(const struct kl_fleet_mix *mix, enum kl_fleet_salt salt, uint64_t index)
{
    unsigned at = (unsigned)(kl_fleet_random_hash((uint64_t)salt, index) % mix->total);
    size_t i = 0;

    while (at >= mix->weight[i]) {
        at -= mix->weight[i++];
    }
    return mix->value[i];
}
