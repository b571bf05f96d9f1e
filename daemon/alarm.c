/* SPDX-License-Identifier: BSD-2-Clause */
/* Alarms in the audit trail, within a budget. */
#include "daemon/alarm.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "conf/log.h"
#include "daemon/life.h"

struct alarm_unit {
    struct kl_unit unit;
    struct kl_alarms *alarms;
    char serial[KL_SERIAL_MAX + 1];
    enum kl_rc reason;
    char detail[201];
};

/* A new window begins: say how much the last one left out. */
static enum kl_rc roll_over(struct kl_alarms *alarms, struct kl_store *store, int64_t now,
                            struct kl_err *err)
{
    char detail[64];
    enum kl_rc rc = KL_OK;

    if (now >= alarms->window && now < alarms->window + KL_ALARM_WINDOW) {
        return KL_OK;
    }
    if (alarms->suppressed > 0) {
        snprintf(detail, sizeof(detail), "suppressed=%llu", (unsigned long long)alarms->suppressed);
        rc = kl_store_audit(store, now, "alarms-suppressed", "", detail, err);
    }
    alarms->window = now;
    alarms->registered = 0;
    alarms->unknown = 0;
    alarms->suppressed = 0;
    return rc;
}

enum kl_rc kl_alarm_record(struct kl_alarms *alarms, struct kl_store *store, const char *serial,
                           enum kl_rc reason, const char *detail, int64_t now, struct kl_err *err)
{
    int unknown = reason == KL_ERR_UNKNOWN_TERMINAL || reason == KL_ERR_NOT_FOUND;
    unsigned *used = unknown ? &alarms->unknown : &alarms->registered;
    enum kl_rc rc = roll_over(alarms, store, now, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (*used >= (unknown ? KL_ALARM_MAX_UNKNOWN : KL_ALARM_MAX_REGISTERED)) {
        alarms->suppressed++;
        return KL_OK;
    }
    (*used)++;
    return kl_life_alarm(store, serial, reason, detail, now, err);
}

static enum kl_rc alarm_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct alarm_unit *alarm = (struct alarm_unit *)unit;

    return kl_alarm_record(alarm->alarms, store, alarm->serial, alarm->reason, alarm->detail,
                           (int64_t)time(NULL), err);
}

static void alarm_done(struct kl_unit *unit)
{
    if (unit->rc != KL_OK) {
        kl_log(KL_LOG_ERROR, "alarm-not-recorded", KL_LOG_ERR(&unit->err));
    }
    free(unit);
}

void kl_alarm_submit(struct kl_committer *committer, struct kl_alarms *alarms, const char *serial,
                     enum kl_rc reason, const char *detail)
{
    struct alarm_unit *alarm = calloc(1, sizeof(*alarm));

    if (alarm == NULL) {
        kl_log(KL_LOG_ERROR, "alarm-not-recorded", KL_STR("detail", "out of memory"));
        return;
    }
    alarm->unit.run = alarm_run;
    alarm->unit.done = alarm_done;
    alarm->alarms = alarms;
    alarm->reason = reason;
    snprintf(alarm->serial, sizeof(alarm->serial), "%s", serial);
    snprintf(alarm->detail, sizeof(alarm->detail), "%s", detail);
    kl_committer_submit(committer, &alarm->unit);
}
