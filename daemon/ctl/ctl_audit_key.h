/* SPDX-License-Identifier: BSD-2-Clause */
/* The audit key as keyloaderctl's commands make it. */
#ifndef KL_DAEMON_CTL_CTL_AUDIT_KEY_H
#define KL_DAEMON_CTL_CTL_AUDIT_KEY_H

#include "daemon/ctl/ctl.h"
#include "pkcs11/token.h"
#include "proto/err.h"

/* Makes it, with an audit record, if there is none, else checks it. *made: it was made. */
enum kl_rc kl_ctl_audit_key_make(const struct kl_config *config, struct kl_session *session,
                                 int *made, struct kl_err *err) KL_MUST_CHECK;

/* audit key generate|show|export, in the table of ctl_audit.c. */
enum kl_rc kl_ctl_audit_key_command(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);

#endif
