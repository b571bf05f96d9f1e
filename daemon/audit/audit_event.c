/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of the audit trail's events. */
#include "daemon/audit/audit_event.h"

#include <string.h>

#define ROW(name, meaning) {name, meaning},
static const struct kl_audit_event events[] = {KL_AUDIT_EVENTS(ROW)};
#undef ROW

const struct kl_audit_event *kl_audit_event_at(size_t i)
{
    return i < sizeof(events) / sizeof(events[0]) ? &events[i] : NULL;
}

const struct kl_audit_event *kl_audit_event_find(const char *name)
{
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (strcmp(events[i].name, name) == 0) {
            return &events[i];
        }
    }
    return NULL;
}
