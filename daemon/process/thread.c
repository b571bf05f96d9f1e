/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads without signals. */
#include "daemon/process/thread.h"

#include <errno.h>
#include <signal.h>

enum kl_rc kl_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg, const char *what,
                           struct kl_err *err)
{
    sigset_t all, old;
    int fail;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    fail = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (fail == 0) {
        return KL_OK;
    }
    errno = fail;
    return kl_err_errno(err, "pthread_create", "%s", what);
}
