/* SPDX-License-Identifier: BSD-2-Clause */
/* The options by which a key's components come in: the same for zone keys and TMKs. */
#ifndef KL_DAEMON_CTL_COMPONENTS_H
#define KL_DAEMON_CTL_COMPONENTS_H

#include "pkcs11/ceremony.h"
#include "proto/err.h"

struct kl_ctl_components {
    unsigned count;                 /* --components; 0 = not given */
    size_t source_count, kcv_count; /* --component SRC, --component-kcv HEX, in order */
    const char *sources[KL_COMPONENTS_MAX], *kcvs[KL_COMPONENTS_MAX];
    enum kl_parity parity; /* --parity */
};

/* For a table of struct option; kl_ctl_components_option takes what they yield. */
#define KL_CTL_COMPONENTS_OPTIONS \
    {"components", required_argument, NULL, 'C'}, {"component", required_argument, NULL, 'S'}, \
        {"component-kcv", required_argument, NULL, 'V'}, \
    { \
        "parity", required_argument, NULL, 'P' \
    }
#define KL_CTL_COMPONENTS_SYNOPSIS "--components 2|3 [--component SRC]... [--component-kcv HEX]..."

/* One option. *taken 0: it is none of these. KL_ERR_USAGE. */
enum kl_rc kl_ctl_components_option(int c, const char *value, struct kl_ctl_components *out,
                                    int *taken, struct kl_err *err) KL_MUST_CHECK;

/* What kl_ceremony_components needs; kcv (NULL = to be confirmed) is the key's. KL_ERR_USAGE if
 * sources or KCVs are there for some components only. */
enum kl_rc kl_ctl_components_wish(const struct kl_ctl_components *given,
                                  const struct kl_alg_info *info, const char *kcv,
                                  struct kl_components_wish *out, struct kl_err *err) KL_MUST_CHECK;

#endif
