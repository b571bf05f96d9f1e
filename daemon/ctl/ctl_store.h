/* SPDX-License-Identifier: BSD-2-Clause */
/* The store as keyloaderctl's commands open it. */
#ifndef KL_DAEMON_CTL_CTL_STORE_H
#define KL_DAEMON_CTL_CTL_STORE_H

#include "daemon/config.h"
#include "daemon/store/store.h"
#include "proto/err.h"

/* The configured store; audit records name who runs this program (kl_actor_self). The caller frees
 * with kl_store_free. */
enum kl_rc kl_ctl_store_open(const struct kl_config *config, enum kl_store_mode mode,
                             struct kl_store **out, struct kl_err *err) KL_MUST_CHECK;

#endif
