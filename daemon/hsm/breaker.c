/* SPDX-License-Identifier: BSD-2-Clause */
/* The circuit breaker of one HSM. */
#include "daemon/hsm/breaker.h"

static void enter(struct kl_breaker *breaker, enum kl_breaker_state state, int64_t now)
{
    if (breaker->state != state) {
        breaker->trips += state == KL_BREAKER_OPEN && breaker->state == KL_BREAKER_UP;
        breaker->state = state;
        breaker->since = now;
    }
}

const char *kl_breaker_name(enum kl_breaker_state state)
{
    static const char *const names[] = {
        [KL_BREAKER_UP] = "up",
        [KL_BREAKER_OPEN] = "open",
        [KL_BREAKER_PROBING] = "probing",
        [KL_BREAKER_BARRED] = "barred",
    };

    return names[state];
}

void kl_breaker_init(struct kl_breaker *breaker, int64_t now)
{
    *breaker = (struct kl_breaker){.state = KL_BREAKER_PROBING, .until = now, .since = now};
}

void kl_breaker_good(struct kl_breaker *breaker, int64_t now)
{
    if (breaker->state != KL_BREAKER_BARRED) {
        breaker->failures = 0;
        breaker->until = now;
        enter(breaker, KL_BREAKER_UP, now);
    }
}

static int64_t pause_ms(unsigned failures, uint32_t random)
{
    int64_t pause = KL_BREAKER_PAUSE_MIN;

    for (unsigned i = 1; i < failures && pause < KL_BREAKER_PAUSE_MAX; i++) {
        pause *= 2;
    }
    if (pause > KL_BREAKER_PAUSE_MAX) {
        pause = KL_BREAKER_PAUSE_MAX;
    }
    return pause / 2 + (int64_t)(random % (uint32_t)(pause / 2 + 1));
}

void kl_breaker_bad(struct kl_breaker *breaker, int64_t now, uint32_t random)
{
    if (breaker->state == KL_BREAKER_BARRED) {
        return;
    }
    breaker->failures++;
    breaker->until = now + pause_ms(breaker->failures, random);
    if (breaker->state != KL_BREAKER_UP || breaker->failures >= KL_BREAKER_TRIP) {
        enter(breaker, KL_BREAKER_OPEN, now);
    }
}

void kl_breaker_bar(struct kl_breaker *breaker, int64_t now)
{
    enter(breaker, KL_BREAKER_BARRED, now);
}

void kl_breaker_reset(struct kl_breaker *breaker, int64_t now)
{
    breaker->failures = 0;
    breaker->until = now;
    if (breaker->state != KL_BREAKER_UP) {
        enter(breaker, KL_BREAKER_PROBING, now);
    }
}

void kl_breaker_tick(struct kl_breaker *breaker, int64_t now)
{
    if (breaker->state == KL_BREAKER_OPEN && now >= breaker->until) {
        enter(breaker, KL_BREAKER_PROBING, now);
    }
}

int64_t kl_breaker_wait(const struct kl_breaker *breaker, int64_t now)
{
    if (breaker->state == KL_BREAKER_BARRED) {
        return -1;
    }
    return breaker->until > now ? breaker->until - now : 0;
}
