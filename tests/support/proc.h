/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Child processes and files for tests: programs run with a time limit, their output in files that
 * stay for a look afterwards. Every failure here is the test's (ck_abort_msg), so nothing returns
 * an error. Only children started here are ever killed.
 */
#ifndef KL_TESTS_SUPPORT_PROC_H
#define KL_TESTS_SUPPORT_PROC_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#define PROC_ARGS 40

struct proc {
    pid_t pid; /* 0 once it has been waited for */
    char out[PATH_MAX], err[PATH_MAX];
};

/* Starts argv (NULL-terminated; argv[0] is a path). env: NULL-terminated "NAME=value" that are
 * added to ours; may be NULL. Output goes to LOGS/NNN-name.out and .err. */
void proc_spawn(struct proc *proc, const char *logs, const char *const *env,
                const char *const *argv);
/* Exit status, or 128 + signal; after `seconds` (times the sanitizers' factor) it is killed and
 * the test fails. */
int proc_wait(struct proc *proc, int seconds);
/* Its status if it has ended, else -1. */
int proc_poll(struct proc *proc);
void proc_kill(struct proc *proc); /* SIGKILL and wait; nothing if it has ended */

/* The children of pid, up to max: how many. */
size_t proc_children(pid_t pid, pid_t *out, size_t max);
/* How many descriptors it has open; of our own process the one that looks is among them. */
unsigned proc_descriptors(pid_t pid);

/* `seconds` times CK_TIMEOUT_MULTIPLIER. */
int proc_seconds(int seconds);
void proc_sleep_ms(int ms);

/* Whole file, malloc'ed, NUL-terminated; "" if it is not there. len may be NULL. */
char *file_read(const char *path, size_t *len);
void file_write(const char *path, const void *data, size_t len, unsigned mode);
void file_mkdir(const char *path);
/* snprintf that fails the test at what is too long. */
void proc_text(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Joins with '/' into out (PATH_MAX). Returns out. */
char *file_path(char *out, const char *dir, const char *name);
/* Calls fn for every regular file under dir. */
void file_walk(const char *dir, void (*fn)(const char *path, void *arg), void *arg);
void file_remove_tree(const char *dir);

#endif
