/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyloaderctl's commands on the store as a whole share. */
#ifndef KL_DAEMON_CTL_BACKUP_H
#define KL_DAEMON_CTL_BACKUP_H

#include <jansson.h>

#include "conf/cli.h"
#include "daemon/ctl.h"
#include "daemon/store_check.h"
#include "proto/err.h"

/* Findings, said on stderr one by one as they come, and kept for a report. */
struct kl_ctl_findings {
    json_t *list; /* of texts; json_array() */
    const char *file;
};
void kl_ctl_found(enum kl_rc kind, const char *text, void *findings);

/* kl_copy_fn: progress on a terminal; arg is a zeroed struct kl_progress. */
void kl_ctl_copying(uint64_t done, uint64_t total, void *arg);

/* Every cryptogram of the store, by the HSM: bindings, keys and KCVs; those that are not right are
 * findings. *checked: how many keys. */
enum kl_rc kl_ctl_check_keys(const struct kl_config *config, struct kl_store *store,
                             struct kl_check *check, uint64_t *checked,
                             struct kl_err *err) KL_MUST_CHECK;

/* store verify and report restore, in ctl_verify.c. */
enum kl_rc kl_ctl_store_verify(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);
enum kl_rc kl_ctl_report_restore(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);
/* store rotate-key, in ctl_rotate.c. */
enum kl_rc kl_ctl_store_rotate(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);

#endif
