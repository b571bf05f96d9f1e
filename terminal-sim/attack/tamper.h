/* SPDX-License-Identifier: BSD-2-Clause */
/* What the rules of a scenario do to a message on its way: a message in, bytes and orders out. */
#ifndef KL_TERMINAL_SIM_ATTACK_TAMPER_H
#define KL_TERMINAL_SIM_ATTACK_TAMPER_H

#include "proto/frame.h"
#include "terminal-sim/attack/scenario.h"
#include "terminal-sim/pinpad/pinpad.h"

struct kl_kept { /* the messages of a session as they were said; len 0 = has not come yet */
    struct kl_tampered_message {
        size_t len;
        uint8_t der[KL_MSG_MAX];
    } of[KL_MSG_TYPE_COUNT];
};

#define KL_PARCEL_MAX \
    70000 /* bytes: the longest frame that a header can claim, and one behind it */
struct kl_parcel {
    size_t len;
    uint8_t bytes[KL_PARCEL_MAX];
    unsigned delay_ms, drip_ms;
    int dropped, closed, reflected;
};

struct kl_tampering { /* borrowed, all of it */
    const struct kl_sc_session *session;
    struct kl_kept *const *kept; /* by session; a NULL one has not been run */
    size_t self;                 /* which is ours */
    struct kl_pinpad *signer;    /* signs a Randoms that was signed, when it is made anew */
    size_t variant;              /* of a sweep, from 0 */
    size_t variants;             /* out: how many there are, once the swept message has passed */
    char changed[80];            /* out: what the sweep did, for people */
};

/* KL_ERR_NOT_FOUND, KL_ERR_INPUT, KL_ERR_NO_FILE: a rule cannot be carried out on this message. */
enum kl_rc kl_tamper(struct kl_tampering *t, enum kl_msg_type type, const uint8_t *der, size_t len,
                     struct kl_parcel *out, struct kl_err *err) KL_MUST_CHECK;

/* Whether the recordings that its rules name are there, with those messages: KL_ERR_NO_FILE,
 * KL_ERR_IO or KL_ERR_INPUT with the line of the scenario, which was read from path. */
enum kl_rc kl_tamper_check(const struct kl_scenario *scenario, const char *path,
                           struct kl_err *err) KL_MUST_CHECK;

/* For kl_rogue.edit_tbs: the rules that come before the signature; arg is a kl_tampering. */
int kl_tamper_tbs(void *arg, uint8_t der[KL_TBS_MAX], size_t *len);

#endif
