/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A budget for what a peer can make us write, a minute at a time: a flood of refusals must fill
 * neither the disk nor the log. Not thread-safe; start it zeroed.
 */
#ifndef KL_DAEMON_LOADER_QUOTA_H
#define KL_DAEMON_LOADER_QUOTA_H

#include <stdint.h>

#define KL_QUOTA_WINDOW 60 /* seconds */

struct kl_quota {
    int64_t window; /* when the present window began */
    unsigned used;
    uint64_t suppressed;
};

/* At the first call in a new window: begins it, and returns how many the last one left out. */
uint64_t kl_quota_roll(struct kl_quota *quota, int64_t now);

/* 1: write it. 0: the window's `max` are used up; it is counted as left out. */
int kl_quota_take(struct kl_quota *quota, unsigned max);

#endif
