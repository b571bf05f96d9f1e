/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyloaderctl's commands on the store as a whole share. */
#ifndef KL_DAEMON_CTL_CTL_BACKUP_H
#define KL_DAEMON_CTL_CTL_BACKUP_H

#include <jansson.h>

#include "conf/cli.h"
#include "daemon/ctl/ctl.h"
#include "daemon/store/store_check.h"
#include "proto/err.h"

/* Findings, said on stderr one by one as they come, and kept for a report. */
struct kl_ctl_findings {
    json_t *list; /* of texts; json_array() */
    const char *file;
};
void kl_ctl_found(enum kl_rc kind, const char *text, void *findings);

/* store verify and report restore, in ctl_verify.c. */
enum kl_rc kl_ctl_store_verify(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);
enum kl_rc kl_ctl_report_restore(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);
/* store rotate-key, in ctl_rotate.c. */
enum kl_rc kl_ctl_store_rotate(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);

#endif
