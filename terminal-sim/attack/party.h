/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two who talk in a session of a scenario, as one who stands between them sees them: each says
 * messages and hears bytes. Terminals: our own state machine (load.h, signin.h), or one at the
 * other end of a connection. Loaders: the rogue one (rogue.h), or one at the other end of a
 * connection.
 */
#ifndef KL_TERMINAL_SIM_ATTACK_PARTY_H
#define KL_TERMINAL_SIM_ATTACK_PARTY_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"
#include "terminal-sim/attack/rogue.h"
#include "terminal-sim/load.h"
#include "terminal-sim/signin.h"
#include "terminal-sim/transceiver.h"

struct kl_party;

/* A load, or the Confirm of a candidate if that is not NULL. params is borrowed. */
enum kl_rc kl_party_load(const struct kl_terminal_load_params *params,
                         const struct kl_candidate *confirm, struct kl_party **out,
                         struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_party_sign_in(const struct kl_signin_params *params, struct kl_party **out,
                            struct kl_err *err) KL_MUST_CHECK;
/* loader is borrowed. One that has had its Loaded checks that, and says Done. */
enum kl_rc kl_party_rogue(struct kl_rogue *loader, struct kl_party **out,
                          struct kl_err *err) KL_MUST_CHECK;
/* Whoever is at the other end, of which it takes the ownership (also on failure). */
enum kl_rc kl_party_remote(struct kl_transceiver *transceiver, struct kl_party **out,
                           struct kl_err *err) KL_MUST_CHECK;
void kl_party_free(struct kl_party *party); /* takes NULL */

/* Its next message, as DER. KL_ERR_NOT_FOUND: it has nothing to say, and waits or is done;
 * KL_ERR_CLOSED, KL_ERR_TIMEOUT. */
enum kl_rc kl_party_say(struct kl_party *party, uint8_t der[KL_MSG_MAX], size_t *len,
                        struct kl_err *err) KL_MUST_CHECK;
/* Gives it bytes: a frame, more than one, or none that is whole. drip_ms as for
 * kl_transceiver_send_bytes. KL_ERR_CLOSED: it has closed; what it said before can still be had. */
enum kl_rc kl_party_hear(struct kl_party *party, const uint8_t *bytes, size_t len, unsigned drip_ms,
                         struct kl_err *err) KL_MUST_CHECK;

/* What became of a terminal that is ours. why, borrowed: of one that refused. */
enum kl_party_state { KL_PARTY_ON, KL_PARTY_DONE, KL_PARTY_REFUSED };
enum kl_party_state kl_party_state(const struct kl_party *party, enum kl_verdict *verdict,
                                   const struct kl_err **why);
/* The candidate that awaits its Done, or has had it: 1, else 0. */
int kl_party_candidate(const struct kl_party *party, struct kl_candidate *out);

#endif
