/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Alarms in the audit trail, bounded in rate: whoever floods the port with refusals must not be
 * able to fill the disk. Registered serials have a budget of their own, so that noise about
 * unknown ones cannot hide a stolen one. What is suppressed is counted and recorded as a number.
 */
#ifndef KL_DAEMON_ALARM_H
#define KL_DAEMON_ALARM_H

#include <stdint.h>

#include "daemon/committer.h"
#include "daemon/store.h"
#include "proto/err.h"

#define KL_ALARM_WINDOW 60          /* seconds */
#define KL_ALARM_MAX_REGISTERED 600 /* records in a window */
#define KL_ALARM_MAX_UNKNOWN 60

/* Store thread only; start it zeroed. */
struct kl_alarms {
    int64_t window; /* when the present window began */
    unsigned registered, unknown;
    uint64_t suppressed;
};

/* Records an alarm if the budget allows. Runs inside a unit of work. */
enum kl_rc kl_alarm_record(struct kl_alarms *alarms, struct kl_store *store, const char *serial,
                           enum kl_rc reason, const char *detail, int64_t now,
                           struct kl_err *err) KL_MUST_CHECK;

/* Queues an alarm from the loop; detail is copied (cut at 200 bytes). Out of memory is logged. */
void kl_alarm_submit(struct kl_committer *committer, struct kl_alarms *alarms, const char *serial,
                     enum kl_rc reason, const char *detail);

#endif
