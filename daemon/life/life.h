/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a TMK: the rules, over the store's primitives. Each function is one unit of work
 * inside a transaction that the caller has begun, reads what it needs, writes what follows and
 * appends the audit record; when it fails, the caller undoes it.
 *
 *   registered terminal -> armed -> pending -> active -> superseded -> destroyed
 *                                      \-> destroyed | expired
 *   and pending, active, superseded -> revoked
 *
 * No two terminals ever get the same TMK, or have the same device key (PCI PIN v3.1, 20-1).
 */
#ifndef KL_DAEMON_LIFE_LIFE_H
#define KL_DAEMON_LIFE_LIFE_H

#include <stdint.h>

#include "daemon/store/store.h"
#include "proto/err.h"

/* What life needs of the operator's policy. */
struct kl_life_policy {
    uint64_t candidate_lifetime; /* seconds a pending TMK may wait for its Confirm */
};

/* Who a terminal says it is, and what of that it has proved. All borrowed. */
struct kl_claim {
    const char *serial, *pinpad_serial;
    int authenticated;         /* 1: it holds the device key of a good certificate for serial */
    const uint8_t *device_key; /* KL_HASH_LEN bytes, as in struct kl_terminal; NULL = none */
};

/* May this terminal load now? On KL_OK: which algorithm (the registry's), which version the new
 * TMK gets, and the imported TMK that it must be, if one waits. KL_ERR_UNKNOWN_TERMINAL,
 * KL_ERR_BLOCKED, KL_ERR_UNARMED; KL_ERR_REFUSED if the PIN pad is not the registered one, if the
 * device key is another terminal's, or if an imported TMK waits for a terminal that is not
 * authenticated and for which the operator has not accepted that (kl_life_accept_imported).
 * Read-only: changes nothing. */
struct kl_admission {
    enum kl_alg alg;
    uint32_t version;
    int imported;             /* 1: send `key`; 0: generate one */
    struct kl_stored_key key; /* zero if not imported */
};
enum kl_rc kl_life_admit(struct kl_store *store, const struct kl_claim *claim, int64_t now,
                         struct kl_admission *out, struct kl_err *err) KL_MUST_CHECK;

/* The wall clock has been set, by that many seconds (negative: back), and says `now`. Set back, it
 * would lengthen every arming, and revive some that are over: they end that much earlier, and
 * *armings is how many. One that begins in the moment between is cut short, which is safe. */
enum kl_rc kl_life_clock_stepped(struct kl_store *store, int64_t seconds, int64_t now,
                                 size_t *armings, struct kl_err *err) KL_MUST_CHECK;

/* Records a refusal or failed check as an alarm: event, serial (as offered), reason. */
enum kl_rc kl_life_alarm(struct kl_store *store, const char *serial, enum kl_rc reason,
                         const char *detail, int64_t now, struct kl_err *err) KL_MUST_CHECK;

/* Before MasterKey is sent: admits again (the world may have changed while the HSM worked: if the
 * version is no longer the next one, another load came first, and if the imported TMK that waits is
 * not the one in the candidate, an operator did; both are KL_ERR_BUSY), stores the candidate as
 * pending, takes one from the arming's attempts. Of candidate, version, imported, alg, KCV,
 * cryptogram and MACs are read; who it is for follows from the claim, the rest is set here.
 * KL_ERR_HSM: a generated TMK that somebody has already. */
enum kl_rc kl_life_pend(struct kl_store *store, const struct kl_life_policy *policy,
                        const struct kl_claim *claim, const struct kl_tmk *candidate, int64_t now,
                        struct kl_err *err) KL_MUST_CHECK;

/* A C_rnd1_rnd2 that failed its checks costs an attempt as well, so that an arming bounds what
 * anybody can have the HSM decrypt. */
enum kl_rc kl_life_spend(struct kl_store *store, const char *serial, int64_t now,
                         struct kl_err *err) KL_MUST_CHECK;

/* On Loaded or Confirm. What to answer in Done. Idempotent:
 *   pending, not overdue, terminal not blocked, device key not another's by now, MAC right
 *                            -> active (the old one superseded, its working keys removed, other
 *                               candidates destroyed, arming used up, the imported TMK that it was
 *                               no longer waiting), verdict ACTIVE;
 *   active, MAC right        -> verdict ACTIVE again, nothing changes;
 *   pending, but not all of that; MAC right -> expired or destroyed, and
 *                               verdict DROP (once told to drop, it can never become active);
 *   superseded, destroyed, expired, revoked; MAC right -> verdict DROP again, nothing changes.
 * The first TMK to become active binds its PIN pad to a terminal that had none registered; each
 * records the device key that asked for it, if one did.
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

/* Destroys up to 256 TMKs that have been superseded for `grace` seconds or longer, each with an
 * audit record. *count: how many. */
enum kl_rc kl_life_retire(struct kl_store *store, uint64_t grace, int64_t now, size_t *count,
                          struct kl_err *err) KL_MUST_CHECK;

/* ---- Sign-in ---- */

/* May this terminal have working keys under that TMK now? On KL_OK: the TMK's row. Only under an
 * active one, in the PIN pad that loaded it, which must be the registered one.
 * KL_ERR_UNKNOWN_TERMINAL, KL_ERR_BLOCKED; KL_ERR_NOT_FOUND: has not loaded a TMK, or none of that
 * version; KL_ERR_REFUSED: it is pending, superseded, revoked, ..., or the PIN pad is another.
 * Read-only: changes nothing. */
enum kl_rc kl_life_sign_in_admit(struct kl_store *store, const struct kl_claim *claim,
                                 uint32_t tmk_version, int64_t now, struct kl_tmk *out,
                                 struct kl_err *err) KL_MUST_CHECK;

/* On a verified Loaded: admits again, as above, and makes the working keys the current ones; the
 * caller answers Done once that is durable. working->created is set here. */
enum kl_rc kl_life_signed_in(struct kl_store *store, const struct kl_working *working, int64_t now,
                             struct kl_err *err) KL_MUST_CHECK;

/* ---- Keys in operators' hands; KL_ERR_NOT_FOUND for a terminal that is not there ---- */

/* Lets an imported TMK wait for its terminal's next load. import->created is set here. Again the
 * key that waits already or is active: KL_OK, and nothing changes, so that an import can be run
 * again. Another one waits: KL_ERR_EXISTS, or, with replace, it makes way, and candidates made
 * from it are destroyed. KL_ERR_INPUT: not of the terminal's registered algorithm. KL_ERR_REFUSED:
 * another terminal has that key waiting, or it was ever sent there; or this one had it in use until
 * it was superseded, or it was revoked. */
enum kl_rc kl_life_import(struct kl_store *store, const struct kl_import *import, int replace,
                          int64_t now, struct kl_err *err) KL_MUST_CHECK;
/* It waits no longer; candidates made from it are destroyed. KL_ERR_NOT_FOUND: none waits. */
enum kl_rc kl_life_import_cancel(struct kl_store *store, const char *serial, int64_t now,
                                 struct kl_err *err) KL_MUST_CHECK;
/* Whether imported TMKs may go to a terminal of that serial unauthenticated. Taking it back
 * destroys candidates that are imported. */
enum kl_rc kl_life_accept_imported(struct kl_store *store, const char *serial, int accept,
                                   int64_t now, struct kl_err *err) KL_MUST_CHECK;

/* Revokes one live TMK, or (version 0) all of a terminal and what waits for it; also a waiting
 * import of the same key goes. Working keys are removed when the active one is revoked; the
 * terminal is disarmed. why: 1 to KL_REASON_MAX bytes of text without control characters
 * (KL_ERR_INPUT). KL_ERR_NOT_FOUND: no such TMK, or (0) nothing to revoke. KL_ERR_REFUSED: it is
 * not live any more. */
#define KL_REASON_MAX 128
enum kl_rc kl_life_revoke(struct kl_store *store, const char *serial, uint32_t version,
                          const char *why, int64_t now, struct kl_err *err) KL_MUST_CHECK;

/* ---- The registry; KL_ERR_NOT_FOUND for a terminal that is not there ---- */

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
 * are still pending; the working keys are removed if the PIN pad is another now. */
enum kl_rc kl_life_pinpad(struct kl_store *store, const char *serial, const char *pinpad_serial,
                          int64_t now, struct kl_err *err) KL_MUST_CHECK;
/* Blocking also disarms. */
enum kl_rc kl_life_block(struct kl_store *store, const char *serial, int blocked, int64_t now,
                         struct kl_err *err) KL_MUST_CHECK;

#endif
