/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Module 103, crypto: a suite on the terminal's side, as one table of functions. What is the same
 * in every suite (S4, the transcript, the judgement) is load.c's.
 */
#ifndef KL_TERMINAL_SIM_SUITE_H
#define KL_TERMINAL_SIM_SUITE_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"
#include "proto/suite.h"
#include "terminal-sim/auth.h"
#include "terminal-sim/pinpad.h"

struct kl_terminal_suite {
    enum kl_suite id;

    /* S5: starts a load in the PIN pad and makes C_rnd1_rnd2. KL_ERR_UNSUPPORTED if the loader
     * announced what the suite does not know. */
    enum kl_rc (*randoms)(struct kl_pinpad *pad, const struct kl_auth_work *work,
                          const struct kl_certificate *certificate, const uint8_t t0[KL_HASH_LEN],
                          const uint8_t rnd2[KL_RND2_LEN], struct kl_randoms *out,
                          struct kl_err *err);

    /* S8: the signature over msg->tbs_der, before anything in it is believed. */
    enum kl_rc (*verify)(const struct kl_auth_work *work, const struct kl_master_key *msg,
                         struct kl_err *err);

    /* S9: Loaded for a TMK of that KCV, and the MACs of the two Dones that may follow. */
    enum kl_rc (*loaded)(struct kl_pinpad *pad, const uint8_t t2[KL_HASH_LEN], const uint8_t *kcv,
                         size_t kcv_len, struct kl_loaded *out, struct kl_err *err);
    enum kl_rc (*done_mac)(struct kl_pinpad *pad, const uint8_t t2[KL_HASH_LEN],
                           enum kl_verdict verdict, uint8_t mac[KL_MAC_LEN], struct kl_err *err);
};

extern const struct kl_terminal_suite kl_terminal_suite_hardened_rsa;

#endif
