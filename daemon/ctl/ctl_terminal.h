/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyloaderctl's commands on terminals and their keys share. */
#ifndef KL_DAEMON_CTL_CTL_TERMINAL_H
#define KL_DAEMON_CTL_CTL_TERMINAL_H

#include <jansson.h>

#include "daemon/ctl/ctl.h"
#include "daemon/store/store.h"
#include "proto/err.h"

/* Commands, in ctl_register.c. */
enum kl_rc kl_ctl_terminal_add(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);
enum kl_rc kl_ctl_terminal_import(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);

/* Prints a terminal's report, which it takes, with its TMKs, or a request in its place. */
enum kl_rc kl_ctl_terminal_print(struct kl_ctl *ctl, json_t *report, struct kl_err *err);

/* Ends a transaction the way its work went: commits if rc is KL_OK, else rolls back. */
enum kl_rc kl_ctl_finish(struct kl_store *store, enum kl_rc rc, struct kl_err *err) KL_MUST_CHECK;

#endif
