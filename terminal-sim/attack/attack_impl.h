/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of attack.h share; only attack*.c include this. */
#ifndef KL_TERMINAL_SIM_ATTACK_ATTACK_IMPL_H
#define KL_TERMINAL_SIM_ATTACK_ATTACK_IMPL_H

#include "terminal-sim/attack/attack.h"
#include "terminal-sim/attack/party.h"
#include "terminal-sim/attack/rogue_pki.h"
#include "terminal-sim/attack/tamper.h"
#include "terminal-sim/terminal.h"

struct kl_attack {
    const struct kl_attack_target *target;
    struct kl_terminal_home *home; /* NULL = none */
    struct kl_pinpad *signer;      /* whose device key signs; NULL = none */
    struct kl_rogue_pki pki;
    struct kl_err control_failed; /* rc KL_OK: our own terminal loads from an honest loader */
};

enum kl_end_kind { /* of a session */
                   KL_END_NOT_YET,
                   KL_END_DONE,     /* our terminal has an authentic Done: verdict */
                   KL_END_ERROR,    /* the loader said Error: code */
                   KL_END_CLOSED,   /* the loader closed */
                   KL_END_TERMINAL, /* the terminal refused, or closed: err */
                   KL_END_STOPPED,  /* by a rule */
                   KL_END_SILENCE,  /* each waits for the other, or time ran out */
                   KL_END_UNSEEN,   /* a terminal that is not ours closed after Done */
                   KL_END_TROUBLE,  /* err: no connection, or a rule that cannot be carried out */
};

struct kl_end {
    enum kl_end_kind kind;
    enum kl_verdict verdict;
    unsigned code;
    struct kl_err err;
    int breached; /* the message came that must not come */
};
#define KL_END_TEXT_MAX 360

struct kl_run { /* of one session */
    const struct kl_sc_session *session;
    struct kl_run **all; /* by session */
    struct kl_pinpad *pad;
    struct kl_terminal_load_params params;
    struct kl_signin_params signin;
    struct kl_rogue rogue; /* of loader = rogue; kl_rogue_drop */
    struct kl_kept *kept;
    struct kl_tampering tampering;
    int remote_terminal; /* the terminal is not ours */
    int has_candidate, done_heard;
    struct kl_candidate candidate;
    size_t held_before, held_after; /* TMKs in the pad */
    struct kl_end end;
};

struct kl_runs {
    struct kl_run of[KL_SC_SESSIONS_MAX];
    struct kl_run *all[KL_SC_SESSIONS_MAX];
    struct kl_kept *kept[KL_SC_SESSIONS_MAX];
};

/* What our terminal is, and offers, in that session. */
void kl_attack_params(const struct kl_attack *attack, const struct kl_sc_session *s,
                      struct kl_pinpad *pad, struct kl_terminal_load_params *out);
enum kl_rc kl_attack_open_loader(struct kl_attack *attack, struct kl_run *run,
                                 struct kl_party **out, struct kl_err *err) KL_MUST_CHECK;
/* The two talk, with run->tampering in between, until run->end. */
void kl_attack_converse(struct kl_run *run, struct kl_party *terminal, struct kl_party *loader);
/* The whole session, with our terminal; again, if the loader is busy. */
void kl_attack_session(struct kl_attack *attack, struct kl_run *run);
#define KL_ATTACK_BUSY_TRIES 40 /* also of a probe */
#define KL_ATTACK_BUSY_WAIT_MS 100
void kl_attack_judge(const struct kl_run *run, struct kl_attack_result *out);

/* A load of our terminal from the rogue loader, without any attack. */
enum kl_rc kl_attack_control(struct kl_attack *attack, struct kl_err *err) KL_MUST_CHECK;

void kl_attack_begin(struct kl_attack_result *out, const char *name, const char *tries);
void kl_attack_say(struct kl_attack_result *out, enum kl_attack_outcome outcome, const char *fmt,
                   ...) __attribute__((format(printf, 3, 4)));
void kl_attack_pause(unsigned ms);

/* 1 if loader and terminal are there, the terminal armed and served; else *out says why not. */
int kl_attack_ready(struct kl_attack *attack, struct kl_attack_result *out);
/* Makes of HELD what it is worth once the loader is seen to serve, or not to serve, afterwards. */
void kl_attack_still_serves(struct kl_attack *attack, int rearm, struct kl_attack_result *out);
enum kl_rc kl_attack_probe(struct kl_attack *attack, struct kl_err *err) KL_MUST_CHECK;
/* Runs the arm program, if there is one. */
enum kl_rc kl_attack_arm(struct kl_attack *attack, struct kl_err *err) KL_MUST_CHECK;

#endif
