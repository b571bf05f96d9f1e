/* SPDX-License-Identifier: BSD-2-Clause */
/* What a captured HSM worker could send to the network process. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fds[2] = {-1, -1};
    static struct kl_job job;
    struct kl_err err = KL_ERR_INIT;

    if (fds[0] < 0) {
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) != 0) {
            abort();
        }
    }
    if (size == 0 || send(fds[0], data, size, 0) != (ssize_t)size) {
        return 0;
    }
    if (kl_job_receive(fds[1], &job, &err) == KL_OK) {
        /* What was taken can be used: every text ends, every length is within its array. */
        if (job.kind == KL_JOB_FAILED && strlen(job.u.failed.text) >= sizeof(job.u.failed.text)) {
            abort();
        }
        if (job.kind == KL_JOB_RESULT && job.u.result.out.load.master_key_len > KL_MSG_MAX) {
            abort();
        }
        if (job.kind == KL_JOB_KEYS &&
            job.u.result.out.keys.message_len > sizeof(job.u.result.out.keys.message)) {
            abort();
        }
        if (job.kind == KL_JOB_READY) {
            for (uint32_t i = 0; i < job.u.ready.count; i++) {
                if (strlen(job.u.ready.key[i].label) > KL_KEY_LABEL_MAX ||
                    job.u.ready.key[i].spki_len > KL_JOB_SPKI_MAX) {
                    abort();
                }
            }
        }
    }
    return 0;
}
