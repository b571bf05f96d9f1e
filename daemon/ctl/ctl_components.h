/* SPDX-License-Identifier: BSD-2-Clause */
/* The options by which a key's components come in: the same for zone keys and TMKs. */
#ifndef KL_DAEMON_CTL_CTL_COMPONENTS_H
#define KL_DAEMON_CTL_CTL_COMPONENTS_H

#include "pkcs11/ceremony.h"
#include "proto/err.h"

struct kl_ctl_components {
    unsigned count;                 /* --components; 0 = not given */
    size_t source_count, kcv_count; /* --component SRC, --component-kcv HEX, in order */
    const char *sources[KL_COMPONENTS_MAX], *kcvs[KL_COMPONENTS_MAX];
    enum kl_parity parity; /* --parity */
};

/* For a table of struct kl_option, with what comes into a struct kl_ctl_components. */
#define KL_CTL_COMPONENTS_OPTIONS(components) \
    {"--components", .number = &(components)->count, .min = KL_COMPONENTS_MIN, \
     .max = KL_COMPONENTS_MAX}, \
        {"--component", .take = kl_ctl_take_component, .out = (components)}, \
        {"--component-kcv", .take = kl_ctl_take_component_kcv, .out = (components)}, \
    { \
        "--parity", .take = kl_ctl_take_parity, .out = &(components)->parity \
    }
enum kl_rc kl_ctl_take_component(const char *value, void *components, struct kl_err *err);
enum kl_rc kl_ctl_take_component_kcv(const char *value, void *components, struct kl_err *err);
enum kl_rc kl_ctl_take_parity(const char *value, void *parity, struct kl_err *err);
#define KL_CTL_COMPONENTS_SYNOPSIS "--components 2|3 [--component SRC]... [--component-kcv HEX]..."

/* What kl_ceremony_components needs; kcv (NULL = to be confirmed) is the key's. KL_ERR_USAGE if
 * sources or KCVs are there for some components only. */
enum kl_rc kl_ctl_components_wish(const struct kl_ctl_components *given,
                                  const struct kl_alg_info *info, const char *kcv,
                                  struct kl_components_wish *out, struct kl_err *err) KL_MUST_CHECK;

#endif
