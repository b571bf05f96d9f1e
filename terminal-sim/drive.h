/* SPDX-License-Identifier: BSD-2-Clause */
/* The thin driver: a load's, a Confirm's or a sign-in's state machine over one blocking connection.
 */
#ifndef KL_TERMINAL_SIM_DRIVE_H
#define KL_TERMINAL_SIM_DRIVE_H

#include <stdint.h>
#include <stdio.h>

#include "proto/err.h"
#include "terminal-sim/load.h"
#include "terminal-sim/signin.h"

struct kl_drive {
    const char *address; /* of the loader */
    uint64_t seconds;    /* for the whole connection */
    FILE *record;        /* NULL = none */
};

/* Runs the machine to its end: a load, or the Confirm of `confirm` if that is not NULL. KL_OK: a
 * verdict is proven, and is in *verdict; it has yet to be settled. *out_candidate, if not NULL, is
 * the candidate that it is about, *facts what S4 found. */
enum kl_rc kl_drive_run(const struct kl_drive *drive, const struct kl_terminal_load_params *params,
                        const struct kl_candidate *confirm, enum kl_verdict *verdict,
                        struct kl_candidate *out_candidate, struct kl_terminal_load_facts *facts,
                        struct kl_err *err) KL_MUST_CHECK;

/* Runs a sign-in to its end. KL_OK: *pair is in the PIN pad, and the loader has made it current; it
 * has yet to be taken (kl_terminal_take_keys). */
enum kl_rc kl_drive_signin(const struct kl_drive *drive, const struct kl_signin_params *params,
                           struct kl_pinpad_pair *pair, struct kl_err *err) KL_MUST_CHECK;

#endif
