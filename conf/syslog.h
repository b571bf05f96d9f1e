/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Syslog for what must arrive: datagrams to the local daemon's socket (RFC 3164's form, as libc
 * sends them) that never block, and tell whether they were taken. libc's syslog() does neither.
 * One thread.
 */
#ifndef KL_CONF_SYSLOG_H
#define KL_CONF_SYSLOG_H

#include "proto/err.h"

struct kl_syslog;

/* path: the socket's, usually /dev/log; copied, and not opened before the first line. priority:
 * facility | level, as syslog(3) has it. program is kept (not copied). KL_ERR_CONFIG: too long. */
enum kl_rc kl_syslog_new(const char *path, const char *program, int priority,
                         struct kl_syslog **out, struct kl_err *err) KL_MUST_CHECK;
void kl_syslog_free(struct kl_syslog *log); /* takes NULL */

/* One line of printable text. KL_ERR_BUSY: not now; KL_ERR_UNAVAILABLE: nobody is there. In both
 * cases it has not been taken, and may be tried again. */
enum kl_rc kl_syslog_send(struct kl_syslog *log, const char *line,
                          struct kl_err *err) KL_MUST_CHECK;

#endif
