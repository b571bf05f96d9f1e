/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of key components. */
#include "daemon/ctl_components.h"

#include <string.h>

#include "conf/options.h"

static enum kl_rc append(const char *name, const char *value, const char **list, size_t *count,
                         struct kl_err *err)
{
    if (*count == KL_COMPONENTS_MAX) {
        return kl_err_set(err, KL_ERR_USAGE, "%s: at most %d times", name, KL_COMPONENTS_MAX);
    }
    list[(*count)++] = value;
    return KL_OK;
}

enum kl_rc kl_ctl_components_option(int c, const char *value, struct kl_ctl_components *out,
                                    int *taken, struct kl_err *err)
{
    *taken = 1;
    switch (c) {
    case 'C':
        return kl_options_number("--components", value, KL_COMPONENTS_MIN, KL_COMPONENTS_MAX,
                                 &out->count, err);
    case 'S':
        return append("--component", value, out->sources, &out->source_count, err);
    case 'V':
        return append("--component-kcv", value, out->kcvs, &out->kcv_count, err);
    case 'P':
        if (strcmp(value, "odd") != 0 && strcmp(value, "ignore") != 0) {
            return kl_err_set(err, KL_ERR_USAGE, "--parity: '%.40s' must be odd or ignore", value);
        }
        out->parity = strcmp(value, "ignore") == 0 ? KL_PARITY_IGNORE : KL_PARITY_ODD;
        return KL_OK;
    default:
        *taken = 0;
        return KL_OK;
    }
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
