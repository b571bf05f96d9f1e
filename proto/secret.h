/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The only place where a secret (a PIN; the simulator's software PIN pad's keys) may stand in
 * host memory: OpenSSL's secure heap, which is locked, left out of core files, guarded by
 * unmapped pages and wiped on release.
 */
#ifndef KL_PROTO_SECRET_H
#define KL_PROTO_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

struct kl_secret;

/* Sets the secure heap up (1 MiB) and forbids core files and ptrace for this process
 * (RLIMIT_CORE 0, PR_SET_DUMPABLE 0). Call once, first thing in main(). Fails with
 * KL_ERR_SYSTEM if memory cannot be locked: raise RLIMIT_MEMLOCK. */
enum kl_rc kl_secret_setup(struct kl_err *err) KL_MUST_CHECK;

/* Makes that heap hold at least `bytes` (up to KL_SECRET_HEAP_MAX), for a program with very many
 * secrets. Before the first secret and the first random number. KL_ERR_SYSTEM as above;
 * KL_ERR_INTERNAL if the heap is in use already. */
#define KL_SECRET_HEAP_MAX ((size_t)1 << 30)
enum kl_rc kl_secret_reserve(size_t bytes, struct kl_err *err) KL_MUST_CHECK;

/* A zeroed buffer of `capacity` bytes, 1 to 65536; its length starts at 0. The caller owns it. */
enum kl_rc kl_secret_new(size_t capacity, struct kl_secret **out, struct kl_err *err) KL_MUST_CHECK;
void kl_secret_free(struct kl_secret *secret); /* wipes; takes NULL */

uint8_t *kl_secret_data(struct kl_secret *secret); /* borrowed; capacity bytes */
size_t kl_secret_len(const struct kl_secret *secret);
size_t kl_secret_capacity(const struct kl_secret *secret);
void kl_secret_set_len(struct kl_secret *secret, size_t len); /* aborts if len > capacity */

/* Wipes non-secret-buffer scratch (stack arrays) in a way the compiler keeps. */
void kl_wipe(void *data, size_t len);

#endif
