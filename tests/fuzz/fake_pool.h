/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In the place of the HSM workers (daemon/hsm/pool.c): jobs wait until the script has a worker take
 * and answer them, in any order. What a good answer holds follows from the job's number, so that
 * each is another's.
 */
#ifndef KL_TESTS_FUZZ_FAKE_POOL_H
#define KL_TESTS_FUZZ_FAKE_POOL_H

#include "daemon/hsm/pool.h"
#include "tests/fuzz/input.h"

#define FAKE_JOBS 32 /* of one input; then the pool is busy */

struct fake_job {
    struct kl_job job;
    struct kl_job_result result; /* once it was answered well */
    const void *owner;           /* who asked */
    int started, answered, well, cancelled;
};

void fake_pool_begin(void);
size_t fake_pool_count(void);
struct fake_job *fake_pool_job(size_t i);
/* A worker takes it, if none has. */
void fake_pool_start(size_t i);
/* And answers: KL_OK with the answer that its number gives; anything else as an error. Once only,
 * and to nobody if it was cancelled. */
void fake_pool_answer(size_t i, enum kl_rc rc);
/* A captured worker answers: a good answer's bytes, edited as the script says, if the network
 * process takes them as a message at all. 1: it did. */
int fake_pool_answer_edited(size_t i, struct script *script);

#endif
