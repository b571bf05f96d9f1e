/* SPDX-License-Identifier: BSD-2-Clause */
/* The store's part of a load, run in the store thread. */
#include "daemon/step.h"

#include <stdlib.h>
#include <time.h>

/* Is this the rules' answer (to be told to the peer and alarmed), or trouble of our own? */
static int is_refusal(enum kl_rc rc)
{
    switch (rc) {
    case KL_ERR_UNKNOWN_TERMINAL:
    case KL_ERR_BLOCKED:
    case KL_ERR_UNARMED:
    case KL_ERR_REFUSED:
    case KL_ERR_VERIFY:
    case KL_ERR_NOT_FOUND:
        return 1;
    default:
        return 0;
    }
}

static enum kl_rc apply(struct kl_step *step, struct kl_store *store, int64_t now,
                        struct kl_err *err)
{
    switch (step->kind) {
    case KL_STEP_ADMIT:
        return kl_life_admit(store, step->serial, step->pinpad_serial, now, &step->admission, err);
    case KL_STEP_PEND:
        return kl_life_pend(store, &step->service->policy, &step->candidate, step->pinpad_serial,
                            now, err);
    case KL_STEP_CONFIRM:
        return kl_life_confirm(store, step->serial, step->tmk_version, &step->loaded, now,
                               &step->answer, err);
    }
    abort();
}

static enum kl_rc step_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct kl_step *step = (struct kl_step *)unit;
    int64_t now = (int64_t)time(NULL);
    enum kl_rc rc = apply(step, store, now, err);

    if (rc == KL_OK || !is_refusal(rc)) {
        return rc;
    }
    /* The rules changed nothing (life.h), so the alarm is all that this unit writes. */
    step->refusal = rc;
    step->refusal_err = *err;
    return kl_alarm_record(&step->service->alarms, store, step->serial, rc, err->text, now, err);
}

static void step_done(struct kl_unit *unit)
{
    struct kl_step *step = (struct kl_step *)unit;

    if (step->owner != NULL) {
        step->done(step, step->owner);
    }
    free(step);
}

struct kl_step *kl_step_new(enum kl_step_kind kind, struct kl_service *service,
                            void (*done)(struct kl_step *step, void *owner), void *owner)
{
    struct kl_step *step = calloc(1, sizeof(*step));

    if (step != NULL) {
        step->unit.run = step_run;
        step->unit.done = step_done;
        step->kind = kind;
        step->service = service;
        step->done = done;
        step->owner = owner;
    }
    return step;
}

void kl_step_submit(struct kl_step *step)
{
    kl_committer_submit(step->service->committer, &step->unit);
}
