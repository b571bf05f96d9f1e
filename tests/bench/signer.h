/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's pool of HSM workers (daemon/hsm/pool.h) without the daemon: checkpoints of an audit
 * trail, as the only job of a worker that is one private operation and no more. So it can be held
 * against others that offer single operations. The worker makes what is signed, signs by RSA-PSS,
 * and verifies. Failures are the group's own.
 */
#ifndef KL_TESTS_BENCH_SIGNER_H
#define KL_TESTS_BENCH_SIGNER_H

#include <event2/event.h>

#include "daemon/hsm/pool.h"
#include "tests/bench/rig.h"

struct signer {
    struct event_base *base;
    const struct kl_config *config;
    struct kl_pool *pool;
    int64_t until; /* us; then no more are submitted */
    unsigned waiting, done;
};

/* Makes an RSA-2048 audit key on the rig's token and starts as many workers as the rig's daemon
 * has, with the rig's settings otherwise. Once in a lab. */
void signer_begin(struct signer *signer, struct rig *rig);
/* Signatures a second, with four waiting for each worker. */
double signer_rate(struct signer *signer, const struct rig *rig, double seconds);
void signer_end(struct signer *signer);

#endif
