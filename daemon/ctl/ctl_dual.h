/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What keyloaderctl does itself, with the HSM, and may not do for one operator alone: it is
 * requested, approved, and then done once by the same command with --request ID.
 */
#ifndef KL_DAEMON_CTL_CTL_DUAL_H
#define KL_DAEMON_CTL_CTL_DUAL_H

#include <jansson.h>

#include "daemon/ctl/ctl.h"
#include "proto/err.h"

struct kl_ctl_dual {
    const char *kind; /* the operation: "tmk-export" */
    json_t *params;   /* what is to be done, in full */
    unsigned request; /* --request; 0 = not given */
    int used;
};

/* Before the HSM is opened, without --request: KL_OK where one operator is enough; else a request
 * is made and shown, and KL_ERR_BUSY says how to go on. */
enum kl_rc kl_ctl_dual_begin(struct kl_ctl *ctl, const struct kl_ctl_dual *dual,
                             struct kl_err *err) KL_MUST_CHECK;
/* Right before it is done: uses the request up. */
enum kl_rc kl_ctl_dual_use(struct kl_ctl *ctl, struct kl_ctl_dual *dual,
                           struct kl_err *err) KL_MUST_CHECK;
/* Ends it, and puts on record if what the request was used up for has failed; returns rc. */
enum kl_rc kl_ctl_dual_end(struct kl_ctl *ctl, struct kl_ctl_dual *dual, enum kl_rc rc,
                           const struct kl_err *err) KL_MUST_CHECK;

#endif
