/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which certificates are in force: read at the start, and again on SIGHUP without a load failing.
 * A reload reads and checks the files, has the pool roll its workers to the new set of keys (the
 * old ones stay open as well, for sessions under way), and only when every worker has them puts the
 * new certificates in force for new sessions. Whatever fails leaves the old ones in force, but for
 * one thing: if all that is installed is revoked, none is in force. Loop thread only.
 */
#ifndef KL_DAEMON_RELOAD_H
#define KL_DAEMON_RELOAD_H

#include "daemon/job.h"
#include "daemon/service.h"
#include "daemon/trust.h"
#include "proto/err.h"

struct kl_reload;

/* Takes over service->trust (set, not yet bound), and is there before service->pool. */
enum kl_rc kl_reload_new(struct kl_service *service, struct kl_reload **out,
                         struct kl_err *err) KL_MUST_CHECK;
void kl_reload_free(struct kl_reload *reload); /* takes NULL; service->trust stays */

/* SIGHUP: begins a reload, or lets one follow that under way. */
void kl_reload_request(struct kl_reload *reload);

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
