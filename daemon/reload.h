/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which configuration and certificates are in force: read at the start, and again on SIGHUP or an
 * operator's word without a load failing. A reload reads and checks the configuration and all files
 * that it names. If the workers need other keys, or another policy, than they have, the pool rolls
 * them (the old keys stay open as well, for sessions under way). Only then the new configuration
 * and the new certificates are put in force together, for what begins from then on. Keys of the
 * configuration that need a restart keep their value, and are named. Whatever fails leaves all as
 * it was, but for one thing: if all that is installed is revoked, none is in force. Loop thread
 * only.
 */
#ifndef KL_DAEMON_RELOAD_H
#define KL_DAEMON_RELOAD_H

#include "daemon/hsm/job.h"
#include "daemon/loader/trust.h"
#include "daemon/service.h"
#include "proto/err.h"

struct kl_reload;

/* Takes over service->config and service->trust (set, not yet bound); is there before
 * service->pool. */
enum kl_rc kl_reload_new(struct kl_service *service, struct kl_reload **out,
                         struct kl_err *err) KL_MUST_CHECK;
void kl_reload_free(struct kl_reload *reload); /* takes NULL; config and trust stay */

/* How it went: err NULL and what was left as it was, or why nothing has changed. */
typedef void (*kl_reload_done_fn)(const struct kl_err *err, const struct kl_config_kept *kept,
                                  void *arg);
/* Begins a reload, or lets one follow that under way. done (may be NULL) is called once, from the
 * loop, unless the daemon ends before; at once with KL_ERR_BUSY if KL_RELOAD_WAIT_MAX wait already,
 * KL_ERR_UNAVAILABLE while it drains. */
#define KL_RELOAD_WAIT_MAX 32
void kl_reload_request(struct kl_reload *reload, kl_reload_done_fn done, void *arg);
/* Whoever waits with that arg does not any more. */
void kl_reload_forget(struct kl_reload *reload, const void *arg);

/* "[section] key, [section] key", for people; cut if it does not fit. */
void kl_reload_kept_text(const struct kl_config_kept *kept, char *out, size_t capacity);

/* The pool's events: `check` and `rolled`, and that the first worker is up. */
enum kl_rc kl_reload_check(struct kl_reload *reload, const struct kl_job_ready *ready,
                           struct kl_err *err) KL_MUST_CHECK;
void kl_reload_rolled(struct kl_reload *reload, const struct kl_err *err);
void kl_reload_up(struct kl_reload *reload);

/* The keys that a worker opens for `next`: those of its chains, and as optional ones, as far as
 * there is room, those of the chains of `old` (may be NULL). */
void kl_reload_wants(const struct kl_trust *next, const struct kl_trust *old,
                     struct kl_job_wants *out);
/* kl_trust_bind with what a worker says of its keys. */
enum kl_rc kl_reload_bind(struct kl_trust *trust, const struct kl_config *config,
                          const struct kl_job_ready *ready, struct kl_err *err) KL_MUST_CHECK;

#endif
