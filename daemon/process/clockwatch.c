/* SPDX-License-Identifier: BSD-2-Clause */
/* The wall clock held against one that nobody sets. */
#include "daemon/process/clockwatch.h"

#include <stdlib.h>
#include <time.h>

struct kl_clockwatch {
    struct kl_clock_offset offset;
    struct event *tick;
    void (*stepped)(int64_t seconds, void *arg);
    void *arg;
};

int64_t kl_clock_step(struct kl_clock_offset *offset, int64_t real_ms, int64_t boot_ms)
{
    int64_t now = real_ms - boot_ms, by = now - offset->ms;
    int known = offset->known;

    offset->ms = now; /* also where it is slewed, so that a drift never adds up to a step */
    offset->known = 1;
    return known && (by >= KL_CLOCK_STEP_MIN * 1000 || by <= -KL_CLOCK_STEP_MIN * 1000) ? by / 1000
                                                                                        : 0;
}

static int64_t clock_ms(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts); /* cannot fail for these */
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void look(struct kl_clockwatch *watch)
{
    int64_t by = kl_clock_step(&watch->offset, clock_ms(CLOCK_REALTIME), clock_ms(CLOCK_BOOTTIME));

    if (by != 0) {
        watch->stepped(by, watch->arg);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    look(arg);
}

enum kl_rc kl_clockwatch_new(struct event_base *base, void (*stepped)(int64_t seconds, void *arg),
                             void *arg, struct kl_clockwatch **out, struct kl_err *err)
{
    struct kl_clockwatch *watch = calloc(1, sizeof(*watch));
    const struct timeval period = {.tv_sec = 1};

    if (watch == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "clock");
    }
    watch->stepped = stepped;
    watch->arg = arg;
    watch->tick = event_new(base, -1, EV_PERSIST, on_tick, watch);
    if (watch->tick == NULL || event_add(watch->tick, &period) != 0) {
        kl_clockwatch_free(watch);
        return kl_err_set(err, KL_ERR_MEMORY, "clock");
    }
    look(watch);
    *out = watch;
    return KL_OK;
}

void kl_clockwatch_free(struct kl_clockwatch *watch)
{
    if (watch == NULL) {
        return;
    }
    if (watch->tick != NULL) {
        event_free(watch->tick);
    }
    free(watch);
}
