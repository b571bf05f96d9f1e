/* SPDX-License-Identifier: BSD-2-Clause */
/* The events of the audit trail, by name. */
#include "daemon/audit/audit_event.h"

#include <stddef.h>
#include <string.h>

int kl_audit_event_known(const char *name)
{
#define NAME(name, meaning) name,
    static const char *const names[] = {KL_AUDIT_EVENTS(NAME)};
#undef NAME

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}
