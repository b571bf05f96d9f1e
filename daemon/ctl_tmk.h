/* SPDX-License-Identifier: BSD-2-Clause */
/* Stored keys as operators may see them: never a cryptogram or a MAC. */
#ifndef KL_DAEMON_CTL_TMK_H
#define KL_DAEMON_CTL_TMK_H

#include <jansson.h>

#include "daemon/store.h"

/* Version, state, algorithm, KCV, origin and times. with_serial 0 leaves the serial out. NULL if
 * memory is short; the caller frees with json_decref. */
json_t *kl_ctl_tmk_json(const struct kl_tmk *tmk, int with_serial);

/* An imported TMK that waits: algorithm, KCV, origin, time. As above. */
json_t *kl_ctl_import_json(const struct kl_import *import, int with_serial);

#endif
