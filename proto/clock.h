/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock that deadlines and ages are measured with. */
#ifndef KL_PROTO_CLOCK_H
#define KL_PROTO_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC: only differences mean anything. Any thread; cannot fail. */
int64_t kl_clock_ms(void);
/* The same in microseconds. */
int64_t kl_clock_us(void);

#endif
