/* SPDX-License-Identifier: BSD-2-Clause */
/* What the store holds, as people may see it: never a cryptogram or a MAC. */
#ifndef KL_DAEMON_CONTROL_ADMIN_JSON_H
#define KL_DAEMON_CONTROL_ADMIN_JSON_H

#include <jansson.h>

#include "daemon/store/store.h"

/* All of these: NULL if memory is short; the caller frees with json_decref. */

/* A terminal at that time. */
json_t *kl_admin_terminal_json(const struct kl_terminal *terminal, int64_t now);
/* Version, state, algorithm, KCV, origin and times. with_serial 0 leaves the serial out. */
json_t *kl_admin_tmk_json(const struct kl_tmk *tmk, int with_serial);
/* An imported TMK that waits: algorithm, KCV, origin, time. */
json_t *kl_admin_import_json(const struct kl_import *import, int with_serial);
/* Working keys: the TMK's version, KCVs, time. */
json_t *kl_admin_working_json(const struct kl_working *working);
json_t *kl_admin_audit_json(const struct kl_audit *record);
/* A request as it stands at that time. */
json_t *kl_admin_request_json(const struct kl_request *request, int64_t now);

#endif
