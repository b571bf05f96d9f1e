/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Follows the audit trail as it grows, so that a checkpoint endorses nothing but what continues the
 * trail that its signer has seen: who rewrites the store does not get a signature over it.
 */
#ifndef KL_DAEMON_AUDIT_AUDIT_FOLLOW_H
#define KL_DAEMON_AUDIT_AUDIT_FOLLOW_H

#include <stdint.h>

#include "daemon/audit/audit_chain.h"
#include "daemon/store/store.h"
#include "proto/err.h"

struct kl_audit_place { /* a record that has been seen; id 0: what stands before the first */
    uint64_t id;
    uint8_t hash[KL_HASH_LEN];
};

/* Where who has seen nothing yet begins: at the last checkpoint (id 0: there is none), else behind
 * what is archived. */
void kl_audit_follow_begin(const struct kl_audit_state *state,
                           const struct kl_checkpoint *checkpoint, struct kl_audit_place *place);

/* Moves *place on by up to `most` records of the store, whose state that is. KL_ERR_VERIFY: the
 * record there is not what it was, or one behind it does not follow from the one before; *place
 * stays. */
enum kl_rc kl_audit_follow(struct kl_store *store, const struct kl_audit_state *state,
                           struct kl_audit_place *place, uint64_t most,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
