/* SPDX-License-Identifier: BSD-2-Clause */
/* A stored TMK as operators may see it. */
#ifndef KL_DAEMON_CTL_TMK_H
#define KL_DAEMON_CTL_TMK_H

#include <jansson.h>

#include "daemon/store.h"

/* Version, state, algorithm, KCV and times; never the cryptogram or a MAC. with_serial 0 leaves
 * the serial out. NULL if memory is short; the caller frees with json_decref. */
json_t *kl_ctl_tmk_json(const struct kl_tmk *tmk, int with_serial);

#endif
