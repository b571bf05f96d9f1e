/* SPDX-License-Identifier: BSD-2-Clause */
/* Who did something, as audit records name people: "alice(1001)". */
#ifndef KL_DAEMON_CONTROL_ACTOR_H
#define KL_DAEMON_CONTROL_ACTOR_H

#include <sys/types.h>

#include "daemon/audit/audit_chain.h"

/* A user by name and number; one without a name, or with one that is not plain ASCII, is
 * "?(1001)". */
void kl_actor_format(uid_t uid, char out[KL_AUDIT_ACTOR_MAX + 1]);

/* Who runs this program: its real user; and after "for", if that is another, who logged in (the
 * kernel's login uid, which sudo and su leave alone): "keyloader(998) for alice(1001)". */
void kl_actor_self(char out[KL_AUDIT_ACTOR_MAX + 1]);

#endif
