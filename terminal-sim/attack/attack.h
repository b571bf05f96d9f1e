/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs scenarios against a loader and against our own terminal, and says how each ended. "Held" is
 * said only where the refusal that was due was seen, and where, before and after, an honest session
 * went as it should: who is not there, or refuses everything, has defended nothing.
 */
#ifndef KL_TERMINAL_SIM_ATTACK_ATTACK_H
#define KL_TERMINAL_SIM_ATTACK_ATTACK_H

#include "proto/err.h"
#include "terminal-sim/attack/scenario.h"

struct kl_attack_target { /* borrowed until kl_attack_free */
    const char *loader;   /* HOST:PORT; NULL = there is none, only terminals can be cheated */
    const char *dir;      /* the terminal's folder, as `init` makes it; NULL = none */
    const char *arm;      /* a program that arms the terminal whose serial is its argument; NULL
                             = the operator has armed it, for long enough */
    unsigned seconds;     /* for each session */
};

enum kl_attack_outcome {
    KL_ATTACK_HELD,
    KL_ATTACK_BROKEN,
    KL_ATTACK_INCONCLUSIVE,
    KL_ATTACK_NOT_TRIED /* of all, as no loader was given */
};
const char *kl_attack_outcome_name(enum kl_attack_outcome outcome);

struct kl_attack_result {
    char name[KL_SC_NAME_MAX];
    char tries[KL_SC_TEXT_MAX];
    enum kl_attack_outcome outcome;
    char detail[400];  /* what was seen; for INCONCLUSIVE why, and what to do */
    unsigned variants; /* of a sweep that were tried; else 1 */
    double seconds;
};

struct kl_attack;

/* Opens the terminal's folder (its PIN pad only if it has a device key, which then signs; nothing
 * else of it is used or changed). */
enum kl_rc kl_attack_new(const struct kl_attack_target *target, struct kl_attack **out,
                         struct kl_err *err) KL_MUST_CHECK;
void kl_attack_free(struct kl_attack *attack); /* takes NULL */

/* Never fails: what keeps it from running is the outcome INCONCLUSIVE. */
void kl_attack_run(struct kl_attack *attack, const struct kl_scenario *scenario,
                   struct kl_attack_result *out);

/* The one attack that no scenario can say: many connections that are silent, at once. */
#define KL_FLOOD_NAME "connection-flood"
#define KL_FLOOD_TRIES "takes up every connection that the loader has, and says nothing on any"
#define KL_FLOOD_EXPECTS "the loader serves others, or sheds them, and serves afterwards"
#define KL_FLOOD_CONNECTIONS 128
void kl_attack_flood(struct kl_attack *attack, struct kl_attack_result *out);

/* An honest load by the terminal itself, `PROGRAM load --dir DIR --connect LOADER`, after the arm
 * program, if there is one. It uses up the arming. */
void kl_attack_load(struct kl_attack *attack, const char *program, struct kl_attack_result *out);

/* Makes a scenario of one session with the one terminal that connects to fd, a listening socket:
 * with the rogue loader, or between it and the loader under test. What the terminal found wrong,
 * only it knows: any refusal of it is the one that was expected. */
void kl_attack_serve(struct kl_attack *attack, const struct kl_scenario *scenario, int fd,
                     struct kl_attack_result *out);
/* The root under which the rogue loader's good certificates are, as PEM, so that a terminal can be
 * made to trust it. */
enum kl_rc kl_attack_write_root(struct kl_attack *attack, const char *path,
                                struct kl_err *err) KL_MUST_CHECK;

#endif
