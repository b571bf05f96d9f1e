/* SPDX-License-Identifier: BSD-2-Clause */
/* A budget a minute. */
#include "daemon/loader/quota.h"

uint64_t kl_quota_roll(struct kl_quota *quota, int64_t now)
{
    uint64_t suppressed = quota->suppressed;

    /* A clock set back begins a new window too, rather than a very long one. */
    if (now >= quota->window && now < quota->window + KL_QUOTA_WINDOW) {
        return 0;
    }
    *quota = (struct kl_quota){.window = now};
    return suppressed;
}

int kl_quota_take(struct kl_quota *quota, unsigned max)
{
    if (quota->used >= max) {
        quota->suppressed++;
        return 0;
    }
    quota->used++;
    return 1;
}
