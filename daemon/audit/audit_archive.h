/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Archives of audit records: JSON lines, one for each record and checkpoint, between a first line
 * that says where in the chain they begin and a last one that says where they end.
 */
#ifndef KL_DAEMON_AUDIT_AUDIT_ARCHIVE_H
#define KL_DAEMON_AUDIT_AUDIT_ARCHIVE_H

#include "daemon/audit/audit_check.h"
#include "daemon/store/store.h"
#include "proto/err.h"

/* Writes the records behind those that are archived already, up to that checkpoint, to a new file
 * (mode 0600), durably. The store has a transaction. KL_ERR_EXISTS; the file is removed again on
 * any other failure. */
enum kl_rc kl_audit_archive_write(struct kl_store *store, const struct kl_checkpoint *to,
                                  const char *path, struct kl_err *err) KL_MUST_CHECK;

/* Tells a verification what is in the file; what is wrong with the file itself is a finding. */
enum kl_rc kl_audit_archive_read(const char *path, struct kl_audit_check *check,
                                 struct kl_err *err) KL_MUST_CHECK;

#endif
