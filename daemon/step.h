/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store's part of a load: the three units of work that a connection submits, one at a time.
 * A refusal is a durable result, alarm included, not a failure of the unit.
 */
#ifndef KL_DAEMON_STEP_H
#define KL_DAEMON_STEP_H

#include "daemon/committer.h"
#include "daemon/life.h"
#include "daemon/service.h"

enum kl_step_kind {
    KL_STEP_ADMIT,   /* after Hello: may it load, which version */
    KL_STEP_PEND,    /* before MasterKey: the candidate is pending */
    KL_STEP_CONFIRM, /* after Loaded, or on Confirm: what Done says */
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
    char pinpad_serial[KL_SERIAL_MAX + 1];
    struct kl_tmk candidate; /* PEND */
    uint32_t tmk_version;    /* CONFIRM */
    struct kl_loaded loaded; /* CONFIRM */
    /* Out, valid when unit.rc is KL_OK */
    enum kl_rc refusal; /* KL_OK, or why the rules said no */
    struct kl_err refusal_err;
    struct kl_admission admission; /* ADMIT */
    struct kl_answer answer;       /* CONFIRM */
};

/* A zeroed step of that kind, to be filled in and submitted; NULL when out of memory. */
struct kl_step *kl_step_new(enum kl_step_kind kind, struct kl_service *service,
                            void (*done)(struct kl_step *step, void *owner), void *owner);
void kl_step_submit(struct kl_step *step); /* takes step */

#endif
