/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The wall clock's steps: certificates, armings and the audit trail go by CLOCK_REALTIME, which
 * somebody may set. Once a second it is held against CLOCK_BOOTTIME, which nobody can; a clock that
 * is slewed (at most 500 ppm) never looks like one that was set. Loop thread only.
 */
#ifndef KL_DAEMON_PROCESS_CLOCKWATCH_H
#define KL_DAEMON_PROCESS_CLOCKWATCH_H

#include <event2/event.h>
#include <stdint.h>

#include "proto/err.h"

#define KL_CLOCK_STEP_MIN 2 /* seconds from which on it is a step */

/* How far the one clock is ahead of the other; begins zeroed. */
struct kl_clock_offset {
    int known;
    int64_t ms;
};
/* By how many seconds the wall clock has been set since the last call, forward or (negative) back;
 * 0 if it has not. Pure. */
int64_t kl_clock_step(struct kl_clock_offset *offset, int64_t real_ms, int64_t boot_ms);

struct kl_clockwatch;

/* stepped is called from the loop, within a second or so. */
enum kl_rc kl_clockwatch_new(struct event_base *base, void (*stepped)(int64_t seconds, void *arg),
                             void *arg, struct kl_clockwatch **out,
                             struct kl_err *err) KL_MUST_CHECK;
void kl_clockwatch_free(struct kl_clockwatch *watch); /* takes NULL */

#endif
