/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store's part of a load or sign-in: the units of work that a connection submits. It waits for
 * most of them, one at a time; the last two only leave a trace. A refusal is a durable result,
 * alarm included, not a failure of the unit.
 */
#ifndef KL_DAEMON_LIFE_STEP_H
#define KL_DAEMON_LIFE_STEP_H

#include "daemon/life/life.h"
#include "daemon/service.h"
#include "daemon/store/committer.h"

enum kl_step_kind {
    KL_STEP_ADMIT,     /* after Hello: may it load, which version */
    KL_STEP_PEND,      /* before MasterKey: the candidate is pending */
    KL_STEP_CONFIRM,   /* after Loaded, or on Confirm: what Done says */
    KL_STEP_SIGN_IN,   /* after SignIn: may it have working keys */
    KL_STEP_SIGNED_IN, /* after its Loaded: the working keys are current */
    KL_STEP_SPOILT,    /* C_rnd1_rnd2 was bad: an attempt is spent, an alarm raised */
    KL_STEP_FAILED,    /* the terminal gave up: an alarm */
};

struct kl_step {
    struct kl_unit unit; /* first: the committer's view of this */
    enum kl_step_kind kind;
    struct kl_service *service;
    /* In the loop: called once, then the step is freed by step.c. owner NULL = nobody waits. */
    void (*done)(struct kl_step *step, void *owner);
    void *owner;
    /* In */
    char serial[KL_SERIAL_MAX + 1];
    char pinpad_serial[KL_SERIAL_MAX + 1]; /* ADMIT, PEND, SIGN_IN */
    int authenticated;                     /* ADMIT, PEND: as in struct kl_claim */
    uint8_t device_key[KL_HASH_LEN];       /* ADMIT, PEND; if authenticated */
    struct kl_tmk candidate;               /* PEND */
    struct kl_life_policy policy;          /* PEND */
    struct kl_working working;             /* SIGNED_IN */
    uint32_t tmk_version;                  /* CONFIRM, SIGN_IN */
    struct kl_loaded loaded;               /* CONFIRM */
    struct kl_err trouble;                 /* SPOILT, FAILED: reason and detail of the alarm */
    enum kl_alarm_of alarm_of;             /* set by kl_step_new, but for FAILED */
    /* Out, valid when unit.rc is KL_OK */
    enum kl_rc refusal; /* KL_OK, or why the rules said no */
    struct kl_err refusal_err;
    struct kl_admission admission; /* ADMIT */
    struct kl_answer answer;       /* CONFIRM */
    struct kl_tmk tmk;             /* SIGN_IN */
};

/* A zeroed step of that kind, to be filled in and submitted; NULL when out of memory. */
struct kl_step *kl_step_new(enum kl_step_kind kind, struct kl_service *service,
                            void (*done)(struct kl_step *step, void *owner), void *owner);
/* Takes step, and frees it when this fails: KL_ERR_BUSY, too much waits for the store already;
 * KL_ERR_FULL or KL_ERR_IO, the disk has no room or fails, and the step would begin a load or
 * sign-in. */
enum kl_rc kl_step_submit(struct kl_step *step, struct kl_err *err) KL_MUST_CHECK;

/* Submits a SPOILT or FAILED step that nobody waits for; what cannot be is logged. */
void kl_step_report(struct kl_service *service, enum kl_step_kind kind, enum kl_alarm_of alarm_of,
                    const char *serial, const struct kl_err *trouble);

#endif
