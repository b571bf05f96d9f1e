/* SPDX-License-Identifier: BSD-2-Clause */
/* The status page: conf/status.html, in the program. */
#ifndef KL_DAEMON_MONITOR_STATUS_PAGE_H
#define KL_DAEMON_MONITOR_STATUS_PAGE_H

#include <stddef.h>

#include "proto/err.h"

extern const char kl_status_page[]; /* not terminated */
extern const size_t kl_status_page_len;

/* The Content-Security-Policy under which it works, and nothing else does: its one script and one
 * style by their hashes, and requests to where it came from. */
#define KL_STATUS_PAGE_POLICY_MAX 512
enum kl_rc kl_status_page_policy(char out[KL_STATUS_PAGE_POLICY_MAX],
                                 struct kl_err *err) KL_MUST_CHECK;

#endif
