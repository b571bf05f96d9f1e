/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads beside the loop's. */
#ifndef KL_DAEMON_PROCESS_THREAD_H
#define KL_DAEMON_PROCESS_THREAD_H

#include <pthread.h>

#include "proto/err.h"

/* Starts one in which no signal arrives, since signals are the loop's business. what: for the
 * error, KL_ERR_SYSTEM. Any thread. */
enum kl_rc kl_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg, const char *what,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
