/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What keyloaderd asks of the operating system for itself before it serves: a place in the
 * background, a pid file, a user, descriptors, and memory that is not swapped out. All of it in the
 * one thread there is at the start.
 */
#ifndef KL_DAEMON_PROCESS_PROCESS_H
#define KL_DAEMON_PROCESS_PROCESS_H

#include <stdint.h>

#include "proto/err.h"

/* ---- The background ---- */

/* Goes on in a child in a session of its own, in the folder "/"; the parent waits, and exits with 0
 * once the child has called kl_process_ready, else with the child's exit status (128 + signal).
 * Standard input is /dev/null. KL_ERR_SYSTEM, in the parent. */
enum kl_rc kl_process_detach(struct kl_err *err) KL_MUST_CHECK;
/* It serves: lets the parent go, and the terminal. Nothing to do if it was not detached. */
void kl_process_ready(void);

/* ---- The pid file ---- */

struct kl_pidfile;

/* Makes and locks path, and writes our pid into it; one that nobody holds locked is stale, and
 * taken over. KL_ERR_BUSY names the pid of the daemon that has it; KL_ERR_SYSTEM: what is there is
 * no regular file of ours, or cannot be made. uid, gid: whose it becomes. */
enum kl_rc kl_pidfile_new(const char *path, uint32_t uid, uint32_t gid, struct kl_pidfile **out,
                          struct kl_err *err) KL_MUST_CHECK;
/* Removes it, or empties it where the directory does not let us; takes NULL. */
void kl_pidfile_free(struct kl_pidfile *pidfile);

/* ---- The user ---- */

struct kl_user {
    char name[64];
    uint32_t uid, gid;
};

/* KL_ERR_USAGE if there is no such user, or it is root. */
enum kl_rc kl_user_find(const char *name, struct kl_user *out, struct kl_err *err) KL_MUST_CHECK;
/* Becomes that user for good, with its groups alone, and makes sure that there is no way back.
 * Nothing to do for who is that user already; KL_ERR_PERMISSION for who may not. */
enum kl_rc kl_user_become(const struct kl_user *user, struct kl_err *err) KL_MUST_CHECK;

/* ---- Descriptors ---- */

/* Descriptors that are not for connections: store, workers, certificates, control, monitoring. */
#define KL_PROCESS_RESERVE 96
/* Raises the limit of descriptors to what `connections` and `workers` need, as far as it goes. How
 * many connections there is room for, at most `connections`; logs event=descriptors if fewer. */
uint64_t kl_process_connections(uint64_t connections, uint64_t workers);

/* While still root: raises what an ordinary user may not, the limits of descriptors and, for
 * lock_memory, of locked memory. */
void kl_process_raise_limits(uint64_t connections, uint64_t workers, int lock_memory);

/* ---- Memory ---- */

/* [process] lock-memory */
enum kl_lock_memory { KL_LOCK_MEMORY_NO, KL_LOCK_MEMORY_TRY, KL_LOCK_MEMORY_YES };

/* Locks all that this process has and will have into memory; only where RLIMIT_MEMLOCK does not
 * stand in the way later, when an allocation would fail. TRY logs event=memory-not-locked with what
 * to do, YES is KL_ERR_PERMISSION then. */
enum kl_rc kl_process_lock_memory(enum kl_lock_memory how, struct kl_err *err) KL_MUST_CHECK;

/* ---- What workers inherit ---- */

/* environ without what the service manager tells the daemon alone (NOTIFY_SOCKET, WATCHDOG_*,
 * LISTEN_*), and with GLIBC_TUNABLES for a PKCS#11 module's many small allocations unless it is set
 * already; an array of pointers that stay environ's and ours, the caller frees it. NULL: out of
 * memory. */
char **kl_process_worker_environ(void);

#endif
