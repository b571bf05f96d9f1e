/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of key components. */
#include "daemon/ctl/ctl_components.h"

#include <string.h>

#include "conf/options.h"

static enum kl_rc append(const char *value, const char **list, size_t *count, struct kl_err *err)
{
    if (*count == KL_COMPONENTS_MAX) {
        return kl_err_set(err, KL_ERR_USAGE, "at most %d times", KL_COMPONENTS_MAX);
    }
    list[(*count)++] = value;
    return KL_OK;
}

enum kl_rc kl_ctl_take_component(const char *value, void *components, struct kl_err *err)
{
    struct kl_ctl_components *out = components;

    return append(value, out->sources, &out->source_count, err);
}

enum kl_rc kl_ctl_take_component_kcv(const char *value, void *components, struct kl_err *err)
{
    struct kl_ctl_components *out = components;

    return append(value, out->kcvs, &out->kcv_count, err);
}

enum kl_rc kl_ctl_take_parity(const char *value, void *parity, struct kl_err *err)
{
    enum kl_parity *out = parity;

    if (strcmp(value, "odd") != 0 && strcmp(value, "ignore") != 0) {
        return kl_err_set(err, KL_ERR_USAGE, "'%.40s' must be odd or ignore", value);
    }
    *out = strcmp(value, "ignore") == 0 ? KL_PARITY_IGNORE : KL_PARITY_ODD;
    return KL_OK;
}

enum kl_rc kl_ctl_components_wish(const struct kl_ctl_components *given,
                                  const struct kl_alg_info *info, const char *kcv,
                                  struct kl_components_wish *out, struct kl_err *err)
{
    if (given->source_count && given->source_count != given->count) {
        return kl_err_set(err, KL_ERR_USAGE, "--component must be given %u times, or not at all",
                          given->count);
    }
    if (given->kcv_count && given->kcv_count != given->count) {
        return kl_err_set(err, KL_ERR_USAGE,
                          "--component-kcv must be given %u times, or not at all", given->count);
    }
    *out = (struct kl_components_wish){.info = info,
                                       .parity = given->parity,
                                       .count = given->count,
                                       .kcv = kcv};
    memcpy(out->sources, given->sources, sizeof(out->sources));
    memcpy(out->kcvs, given->kcvs, sizeof(out->kcvs));
    return KL_OK;
}
