/* SPDX-License-Identifier: BSD-2-Clause */
/* Alarms in the audit trail, within a budget. */
#include "daemon/audit/alarm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/life/life.h"

/* A new window begins: say how much the last one left out. */
static enum kl_rc record_suppressed(struct kl_store *store, uint64_t suppressed, int64_t now,
                                    struct kl_err *err)
{
    char detail[64];

    if (suppressed == 0) {
        return KL_OK;
    }
    snprintf(detail, sizeof(detail), "count=%" PRIu64, suppressed);
    return kl_store_audit(store, now, "alarms-suppressed", "", detail, err);
}

/* 1 if this alarm is the first of its serial and reason in the window. */
static int take_first(struct kl_alarm_seen *seen, const char *serial, enum kl_rc reason)
{
    unsigned count = seen->quota.used;

    for (unsigned i = 0; i < count; i++) {
        if (seen->seen[i].reason == reason && strcmp(seen->seen[i].serial, serial) == 0) {
            seen->quota.suppressed++;
            return 0;
        }
    }
    if (!kl_quota_take(&seen->quota, KL_ALARM_MAX_SEEN)) {
        return 0;
    }
    snprintf(seen->seen[count].serial, KL_SERIAL_MAX + 1, "%s", serial);
    seen->seen[count].reason = reason;
    return 1;
}

static int take(struct kl_alarms *alarms, enum kl_alarm_of of, const char *serial,
                enum kl_rc reason)
{
    if (reason == KL_ERR_UNKNOWN_TERMINAL || reason == KL_ERR_NOT_FOUND) {
        return kl_quota_take(&alarms->unknown, KL_ALARM_MAX_UNKNOWN);
    }
    if (of == KL_ALARM_SIGN_IN) {
        return take_first(&alarms->sign_in, serial, reason);
    }
    return take_first(reason == KL_ERR_UNARMED || reason == KL_ERR_BLOCKED ? &alarms->unarmed
                                                                           : &alarms->armed,
                      serial, reason);
}

enum kl_rc kl_alarm_record(struct kl_alarms *alarms, struct kl_store *store, enum kl_alarm_of of,
                           const char *serial, enum kl_rc reason, const char *detail, int64_t now,
                           struct kl_err *err)
{
    uint64_t suppressed =
        kl_quota_roll(&alarms->unknown, now) + kl_quota_roll(&alarms->unarmed.quota, now) +
        kl_quota_roll(&alarms->sign_in.quota, now) + kl_quota_roll(&alarms->armed.quota, now);
    enum kl_rc rc = record_suppressed(store, suppressed, now, err);

    if (rc != KL_OK || !take(alarms, of, serial, reason)) {
        return rc;
    }
    return kl_life_alarm(store, serial, reason, detail, now, err);
}
