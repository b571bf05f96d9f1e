/* SPDX-License-Identifier: BSD-2-Clause */
/* All that is counted, and how things stand, as Prometheus reads it. Loop thread only. */
#ifndef KL_DAEMON_MONITOR_METRICS_TEXT_H
#define KL_DAEMON_MONITOR_METRICS_TEXT_H

#include <stddef.h>

#include "daemon/service.h"

/* Text of *len bytes, malloc'ed; NULL: out of memory. Its metrics are those that
 * docs/operations.md, section 8, lists. */
char *kl_metrics_text(const struct kl_service *service, size_t *len);

#endif
