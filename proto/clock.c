/* SPDX-License-Identifier: BSD-2-Clause */
/* The monotonic clock. */
#include "proto/clock.h"

#include <time.h>

int64_t kl_clock_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t kl_clock_ms(void)
{
    return kl_clock_us() / 1000;
}
