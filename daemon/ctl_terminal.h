/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyloaderctl's commands on terminals and their keys share. */
#ifndef KL_DAEMON_CTL_TERMINAL_H
#define KL_DAEMON_CTL_TERMINAL_H

#include <jansson.h>

#include "daemon/ctl.h"
#include "daemon/store.h"
#include "proto/err.h"

/* Commands, in ctl_register.c. */
enum kl_rc kl_ctl_terminal_add(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);
enum kl_rc kl_ctl_terminal_import(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);

/* A terminal as operators see it at that time. NULL if memory is short; the caller frees with
 * json_decref. */
json_t *kl_ctl_terminal_json(const struct kl_terminal *terminal, int64_t now);

/* The same with its TMKs, the imported one that waits and its working keys, without keys. The
 * caller frees with json_decref. */
enum kl_rc kl_ctl_terminal_report(struct kl_store *store, const char *serial, json_t **out,
                                  struct kl_err *err) KL_MUST_CHECK;

/* Ends a transaction the way its work went: commits if rc is KL_OK, else rolls back. */
enum kl_rc kl_ctl_finish(struct kl_store *store, enum kl_rc rc, struct kl_err *err) KL_MUST_CHECK;

#endif
