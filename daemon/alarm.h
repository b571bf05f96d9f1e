/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Alarms in the audit trail, bounded in rate. Unknown serials and TMK versions, which anybody can
 * make up, share a budget. Of a registered serial the first alarm of its kind in a minute is always
 * recorded, so that no noise can hide a stolen serial. What is left out is counted, and recorded as
 * a number.
 */
#ifndef KL_DAEMON_ALARM_H
#define KL_DAEMON_ALARM_H

#include <stdint.h>

#include "daemon/quota.h"
#include "daemon/store.h"
#include "proto/err.h"

#define KL_ALARM_MAX_UNKNOWN 60 /* records in a window */
#define KL_ALARM_MAX_SEEN 1024  /* registered serials times reasons in a window */

/* Store thread only; start it zeroed. */
struct kl_alarms {
    struct kl_quota unknown;
    struct kl_quota seen_quota;
    struct {
        char serial[KL_SERIAL_MAX + 1];
        enum kl_rc reason;
    } seen[KL_ALARM_MAX_SEEN]; /* in the present window; seen_quota.used of them */
};

/* Records an alarm if the budget allows. Runs inside a unit of work. */
enum kl_rc kl_alarm_record(struct kl_alarms *alarms, struct kl_store *store, const char *serial,
                           enum kl_rc reason, const char *detail, int64_t now,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
