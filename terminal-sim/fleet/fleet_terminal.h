/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One terminal of a fleet: its PIN pad and its record, both in memory for as long as the run. The
 * rules are those of a terminal with a folder (terminal.h): a candidate is used only after the
 * loader's Done, and one whose Done did not come is confirmed before anything else is loaded; so
 * there is never more than one. One thread.
 */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_TERMINAL_H
#define KL_TERMINAL_SIM_FLEET_FLEET_TERMINAL_H

#include <stdint.h>

#include "proto/err.h"
#include "terminal-sim/candidate.h"
#include "terminal-sim/pinpad/pinpad.h"

struct kl_fleet_terminal {                     /* all zero: a new one */
    struct kl_pinpad *pad;                     /* NULL before its first load */
    struct kl_pinpad_tmk active;               /* version 0 = none */
    struct kl_candidate *candidate;            /* awaits its Done; NULL = none */
    uint32_t pair;                             /* number of the working keys in use; 0 = none */
    uint32_t rounds;                           /* loads that it has ended */
    uint8_t busy, queued_load, queued_sign_in; /* the fleet's */
};

/* Bytes of the heap for secrets: for each terminal its TMK, for each that may sign in its working
 * keys, and for each connection what a load or sign-in takes besides. */
#define KL_FLEET_SECRETS_TMK 32
#define KL_FLEET_SECRETS_PAIR 64
#define KL_FLEET_SECRETS_CONNECTION 192

/* Gives it its PIN pad, if it has none yet. */
enum kl_rc kl_fleet_terminal_prepare(struct kl_fleet_terminal *terminal,
                                     struct kl_err *err) KL_MUST_CHECK;
void kl_fleet_terminal_wipe(struct kl_fleet_terminal *terminal);

/* record and forget of kl_terminal_load_params; arg is the terminal. */
enum kl_rc kl_fleet_terminal_record(void *arg, const struct kl_candidate *candidate,
                                    struct kl_err *err);
enum kl_rc kl_fleet_terminal_forget(void *arg, uint32_t version, struct kl_err *err);

/* Carries out the loader's proven word on the candidate: it is the TMK in use from now on, and the
 * pad holds no other; or it is destroyed. */
enum kl_rc kl_fleet_terminal_settle(struct kl_fleet_terminal *terminal, enum kl_verdict verdict,
                                    struct kl_err *err) KL_MUST_CHECK;

/* After a sign-in: pair is in use (NULL: none came of it), and the pad holds no other. */
enum kl_rc kl_fleet_terminal_keys(struct kl_fleet_terminal *terminal,
                                  const struct kl_pinpad_pair *pair,
                                  struct kl_err *err) KL_MUST_CHECK;

/* ---- Names ---- */

/* PREFIX and at least six digits, and the same after "P". PREFIX has at most
 * KL_FLEET_PREFIX_MAX characters of a serial, and is not empty. */
#define KL_FLEET_PREFIX_MAX 16
void kl_fleet_serial(const char *prefix, uint64_t number, char serial[KL_SERIAL_MAX + 1],
                     char pinpad_serial[KL_SERIAL_MAX + 1]);

#endif
