/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a TMK: the rules, over the store's primitives. Each function is one unit of work
 * inside a transaction that the caller has begun, reads what it needs, writes what follows and
 * appends the audit record; when it fails, the caller undoes it.
 *
 *   registered terminal -> armed -> pending -> active -> superseded
 *                                      \-> destroyed | expired
 */
#ifndef KL_DAEMON_LIFE_H
#define KL_DAEMON_LIFE_H

#include <stdint.h>

#include "daemon/store.h"
#include "proto/err.h"

/* What life needs of the operator's policy. */
struct kl_life_policy {
    uint64_t candidate_lifetime; /* seconds a pending TMK may wait for its Confirm */
};

/* May this terminal load now? On KL_OK: which algorithm (the registry's) and which version the new
 * TMK gets. KL_ERR_UNKNOWN_TERMINAL, KL_ERR_BLOCKED, KL_ERR_UNARMED, KL_ERR_REFUSED if the PIN pad
 * is not the registered one. Read-only: changes nothing. */
struct kl_admission {
    enum kl_alg alg;
    uint32_t version;
};
enum kl_rc kl_life_admit(struct kl_store *store, const char *serial, const char *pinpad_serial,
                         int64_t now, struct kl_admission *out, struct kl_err *err) KL_MUST_CHECK;

/* Records a refusal or failed check as an alarm: event, serial (as offered), reason. */
enum kl_rc kl_life_alarm(struct kl_store *store, const char *serial, enum kl_rc reason,
                         const char *detail, int64_t now, struct kl_err *err) KL_MUST_CHECK;

/* Before MasterKey is sent: admits again (the world may have changed while the HSM worked; if the
 * version is no longer the next one, another load came first: KL_ERR_BUSY), stores the candidate as
 * pending, takes one from the arming's attempts. Of candidate, state, created, expires and
 * activated are set here, the rest is read. */
enum kl_rc kl_life_pend(struct kl_store *store, const struct kl_life_policy *policy,
                        const struct kl_tmk *candidate, int64_t now,
                        struct kl_err *err) KL_MUST_CHECK;

/* A C_rnd1_rnd2 that failed its checks costs an attempt as well, so that an arming bounds what
 * anybody can have the HSM decrypt. */
enum kl_rc kl_life_spend(struct kl_store *store, const char *serial, int64_t now,
                         struct kl_err *err) KL_MUST_CHECK;

/* On Loaded or Confirm. What to answer in Done. Idempotent:
 *   pending, not overdue, terminal not blocked, MAC right -> active (the old one superseded,
 *                               other candidates destroyed, arming used up), verdict ACTIVE;
 *   active, MAC right        -> verdict ACTIVE again, nothing changes;
 *   pending, but overdue or the terminal is blocked; MAC right -> expired or destroyed, and
 *                               verdict DROP (once told to drop, it can never become active);
 *   superseded, destroyed, expired; MAC right -> verdict DROP again, nothing changes.
 * The first TMK to become active binds its PIN pad to a terminal that had none registered.
 * KL_ERR_VERIFY: MAC or KCV is wrong; err says which. KL_ERR_NOT_FOUND: no such candidate. In
 * both cases nothing changes, nothing is told but "refused", and the caller raises the alarm
 * (kl_life_alarm), in whatever transaction will be committed.
 * MACs and KCVs are compared in constant time. */
struct kl_answer {
    enum kl_verdict verdict;
    uint32_t tmk_version;
    uint8_t mac[KL_MAC_LEN]; /* for Done */
    int changed;             /* 1: this call made it active */
};
enum kl_rc kl_life_confirm(struct kl_store *store, const char *serial, uint32_t tmk_version,
                           const struct kl_loaded *loaded, int64_t now, struct kl_answer *out,
                           struct kl_err *err) KL_MUST_CHECK;

/* Expires up to 256 overdue candidates, each with an audit record. *count: how many. */
enum kl_rc kl_life_expire(struct kl_store *store, int64_t now, size_t *count,
                          struct kl_err *err) KL_MUST_CHECK;

/* ---- What operators do; KL_ERR_NOT_FOUND for a terminal that is not there ---- */

enum kl_rc kl_life_register(struct kl_store *store, const struct kl_terminal *terminal, int64_t now,
                            struct kl_err *err) KL_MUST_CHECK;
/* attempts 1 to 100; replaces an arming that is there, and destroys candidates that are still
 * pending from it. KL_ERR_BLOCKED for a blocked terminal. */
enum kl_rc kl_life_arm(struct kl_store *store, const char *serial, int64_t until, uint32_t attempts,
                       int64_t now, struct kl_err *err) KL_MUST_CHECK;
/* Ends an arming and destroys the candidates that are still pending. */
enum kl_rc kl_life_disarm(struct kl_store *store, const char *serial, int64_t now,
                          struct kl_err *err) KL_MUST_CHECK;
/* Registers another PIN pad, or none ("": the next one to load), and destroys the candidates that
 * are still pending. */
enum kl_rc kl_life_pinpad(struct kl_store *store, const char *serial, const char *pinpad_serial,
                          int64_t now, struct kl_err *err) KL_MUST_CHECK;
/* Blocking also disarms. */
enum kl_rc kl_life_block(struct kl_store *store, const char *serial, int blocked, int64_t now,
                         struct kl_err *err) KL_MUST_CHECK;

#endif
