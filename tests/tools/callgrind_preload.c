/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For programs whose instructions are counted (tests/bench/instructions.sh). Under valgrind
 * /proc/self/exe is valgrind: a process that re-executes itself gets KL_CALLGRIND_EXE instead. And
 * a program is so slow there that what it does once a second would be counted as often as the
 * machine is busy: the monotonic clock goes slower by SLOWER, and time() says KL_CALLGRIND_TIME if
 * that is set.
 */
#include <dlfcn.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLOWER 100
#define SECOND 1000000000

typedef int spawn_fn(pid_t *, const char *, const posix_spawn_file_actions_t *,
                     const posix_spawnattr_t *, char *const *, char *const *);

static time_t fixed; /* 0: it is the time */

static __attribute__((constructor)) void read_environment(void)
{
    const char *text = getenv("KL_CALLGRIND_TIME");

    fixed = text ? (time_t)strtoll(text, NULL, 10) : 0;
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    void *next = dlsym(RTLD_NEXT, "posix_spawn");
    const char *exe = getenv("KL_CALLGRIND_EXE");
    spawn_fn *real;

    memcpy(&real, &next, sizeof(real));
    return real(pid, exe && strcmp(path, "/proc/self/exe") == 0 ? exe : path, actions, attributes,
                argv, envp);
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, out);
    int64_t ns;

    if (rc == 0 && (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE)) {
        ns = ((int64_t)out->tv_sec * SECOND + out->tv_nsec) / SLOWER;
        *out = (struct timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
    }
    return rc;
}

time_t time(time_t *out)
{
    struct timespec now = {.tv_sec = fixed};

    if (!fixed) {
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    }
    if (out) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}
