/* SPDX-License-Identifier: BSD-2-Clause */
/* Alarms in the audit trail, within a budget. */
#include "daemon/alarm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/life.h"

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

/* 1 if this alarm of a registered serial is the first of its kind in the window. */
static int take_first(struct kl_alarms *alarms, const char *serial, enum kl_rc reason)
{
    for (unsigned i = 0; i < alarms->seen_quota.used; i++) {
        if (alarms->seen[i].reason == reason && strcmp(alarms->seen[i].serial, serial) == 0) {
            alarms->seen_quota.suppressed++;
            return 0;
        }
    }
    if (!kl_quota_take(&alarms->seen_quota, KL_ALARM_MAX_SEEN)) {
        return 0;
    }
    snprintf(alarms->seen[alarms->seen_quota.used - 1].serial, KL_SERIAL_MAX + 1, "%s", serial);
    alarms->seen[alarms->seen_quota.used - 1].reason = reason;
    return 1;
}

enum kl_rc kl_alarm_record(struct kl_alarms *alarms, struct kl_store *store, const char *serial,
                           enum kl_rc reason, const char *detail, int64_t now, struct kl_err *err)
{
    int unknown = reason == KL_ERR_UNKNOWN_TERMINAL || reason == KL_ERR_NOT_FOUND;
    uint64_t suppressed =
        kl_quota_roll(&alarms->unknown, now) + kl_quota_roll(&alarms->seen_quota, now);
    enum kl_rc rc = record_suppressed(store, suppressed, now, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (!(unknown ? kl_quota_take(&alarms->unknown, KL_ALARM_MAX_UNKNOWN)
                  : take_first(alarms, serial, reason))) {
        return KL_OK;
    }
    return kl_life_alarm(store, serial, reason, detail, now, err);
}
