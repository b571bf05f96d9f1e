/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Module 103, crypto: a suite on the terminal's side, as one table of functions. What is the same
 * in every suite (S4, the transcript, the judgement, Loaded and Done) is load.c's.
 */
#ifndef KL_TERMINAL_SIM_SUITE_H
#define KL_TERMINAL_SIM_SUITE_H

#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"
#include "proto/suite.h"
#include "terminal-sim/auth.h"
#include "terminal-sim/pinpad/pinpad.h"

struct kl_terminal_suite {
    enum kl_suite id;

    /* S5: starts a load in the PIN pad and makes C_rnd1_rnd2 (*out is zero before, but for its
     * suite). KL_ERR_UNSUPPORTED if the loader announced what the suite does not know. */
    enum kl_rc (*randoms)(struct kl_pinpad *pad, const struct kl_auth_work *work,
                          const struct kl_certificate *certificate, const uint8_t t0[KL_HASH_LEN],
                          const uint8_t rnd2[KL_RND2_LEN], struct kl_randoms *out,
                          struct kl_err *err);

    /* S8, first of all, where the signature does not cover tbs: its MAC, by the PIN pad's key of
     * this load. KL_ERR_VERIFY. NULL in the other suites. */
    enum kl_rc (*check_mac)(struct kl_pinpad *pad, const struct kl_master_key *msg,
                            struct kl_err *err);

    /* S8: the signature, before anything in msg->tbs is believed. Where it gives Ctmk and Rnd2'
     * back, puts them into msg->tbs. KL_ERR_VERIFY. */
    enum kl_rc (*verify)(const struct kl_auth_work *work, struct kl_master_key *msg,
                         struct kl_err *err);
};

extern const struct kl_terminal_suite kl_terminal_suite_hardened_rsa, kl_terminal_suite_classic,
    kl_terminal_suite_hardened_ec;

/* The table of a suite; NULL if there is none. */
const struct kl_terminal_suite *kl_terminal_suite_of(unsigned id);

/* For the tables. An OAEP hash that the loader announced, if we know it: KL_ERR_UNSUPPORTED. */
enum kl_rc kl_terminal_suite_oaep(const struct kl_certificate *certificate, enum kl_oaep_hash *hash,
                                  struct kl_err *err) KL_MUST_CHECK;
/* What hardened-rsa and hardened-ec share: Rnd2 under K_nonce, and the signature over tbs. */
enum kl_rc kl_terminal_suite_seal(struct kl_pinpad *pad, const uint8_t t0[KL_HASH_LEN],
                                  const uint8_t rnd2[KL_RND2_LEN], struct kl_randoms *out,
                                  struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_terminal_suite_verify(const struct kl_auth_work *work, struct kl_master_key *msg,
                                    struct kl_err *err) KL_MUST_CHECK;

#endif
