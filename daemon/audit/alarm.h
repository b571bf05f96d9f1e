/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Alarms in the audit trail, bounded in rate. Unknown serials and TMK versions, which anybody can
 * make up, share a budget. Of a registered serial the first alarm of each kind in a minute is
 * recorded, for so many serials; what only takes a serial to cause (a load that is not armed) and
 * what takes an armed one have a budget each, so that the one cannot hide the other, and so have
 * sign-ins. What is left out is counted, and recorded as a number.
 */
#ifndef KL_DAEMON_AUDIT_ALARM_H
#define KL_DAEMON_AUDIT_ALARM_H

#include <stdint.h>

#include "daemon/loader/quota.h"
#include "daemon/store/store.h"
#include "proto/err.h"

#define KL_ALARM_MAX_UNKNOWN 60 /* records in a window */
#define KL_ALARM_MAX_SEEN 1024  /* serials times reasons in a window */

/* The alarms of one class in the present window; quota.used of them. */
struct kl_alarm_seen {
    struct kl_quota quota;
    struct {
        char serial[KL_SERIAL_MAX + 1];
        enum kl_rc reason;
    } seen[KL_ALARM_MAX_SEEN];
};

/* Store thread only; start it zeroed. */
struct kl_alarms {
    struct kl_quota unknown;
    struct kl_alarm_seen unarmed; /* registered, but blocked or not armed */
    struct kl_alarm_seen sign_in; /* registered, in a sign-in */
    struct kl_alarm_seen armed;   /* all else */
};

enum kl_alarm_of {
    KL_ALARM_LOAD, /* Hello to Done, and Confirm */
    KL_ALARM_SIGN_IN,
};

/* Records an alarm if the budget allows. Runs inside a unit of work. */
enum kl_rc kl_alarm_record(struct kl_alarms *alarms, struct kl_store *store, enum kl_alarm_of of,
                           const char *serial, enum kl_rc reason, const char *detail, int64_t now,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
