/* SPDX-License-Identifier: BSD-2-Clause */
/* The store's part of a load or sign-in, run in the store thread. */
#include "daemon/life/step.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "conf/log.h"
#include "proto/secret.h"

#define PATIENCE_MAX_US 32000

/* Is this the rules' answer (to be told to the peer and alarmed), or trouble of our own? */
static int is_refusal(enum kl_step_kind kind, enum kl_rc rc)
{
    switch (rc) {
    case KL_ERR_UNKNOWN_TERMINAL:
    case KL_ERR_BLOCKED:
    case KL_ERR_UNARMED:
    case KL_ERR_REFUSED:
    case KL_ERR_VERIFY:
    case KL_ERR_NOT_FOUND:
    case KL_ERR_PEER:
    case KL_ERR_STRENGTH:
    case KL_ERR_UNSUPPORTED:
        return 1;
    case KL_ERR_CERT:
    case KL_ERR_REVOKED:
    case KL_ERR_BUSY:
    case KL_ERR_PROTOCOL:
    case KL_ERR_STORE:
        return kind == KL_STEP_FAILED; /* else it is the store's trouble */
    default:
        return 0;
    }
}

static enum kl_rc apply(struct kl_step *step, struct kl_store *store, int64_t now,
                        struct kl_err *err)
{
    const struct kl_claim claim = {
        .serial = step->serial,
        .pinpad_serial = step->pinpad_serial,
        .authenticated = step->authenticated,
        .device_key = step->authenticated ? step->device_key : NULL,
    };

    switch (step->kind) {
    case KL_STEP_ADMIT:
        return kl_life_admit(store, &claim, now, &step->admission, err);
    case KL_STEP_PEND:
        return kl_life_pend(store, &step->policy, &claim, &step->candidate, now, err);
    case KL_STEP_SIGN_IN:
        return kl_life_sign_in_admit(store, &claim, step->tmk_version, now, &step->tmk, err);
    case KL_STEP_SIGNED_IN:
        return kl_life_signed_in(store, &step->working, now, err);
    case KL_STEP_CONFIRM:
        return kl_life_confirm(store, step->serial, step->tmk_version, &step->loaded, now,
                               &step->answer, err);
    case KL_STEP_SPOILT:
        if (kl_life_spend(store, step->serial, now, err) != KL_OK) {
            return err->rc;
        }
        break;
    case KL_STEP_FAILED:
        break;
    }
    *err = step->trouble;
    return err->rc;
}

static enum kl_rc step_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct kl_step *step = (struct kl_step *)unit;
    int64_t now = (int64_t)time(NULL);
    enum kl_rc rc = apply(step, store, now, err);

    if (rc == KL_OK || !is_refusal(step->kind, rc)) {
        return rc;
    }
    /* A refusal by the rules has changed nothing (life.h): the alarm is all that is written. */
    step->refusal = rc;
    step->refusal_err = *err;
    return kl_alarm_record(&step->service->alarms, store, step->alarm_of, step->serial, rc,
                           err->text, now, err);
}

static void step_free(struct kl_step *step)
{
    kl_wipe(step, sizeof(*step));
    free(step);
}

static void step_done(struct kl_unit *unit)
{
    struct kl_step *step = (struct kl_step *)unit;

    if (unit->rc == KL_OK && step->refusal != KL_OK) {
        step->service->metrics.alarms[step->alarm_of][step->refusal]++;
    }
    if (step->owner != NULL) {
        step->done(step, step->owner);
    } else if (unit->rc != KL_OK && unit->rc != KL_ERR_FULL && unit->rc != KL_ERR_IO) {
        kl_log(KL_LOG_ERROR, "step-failed", KL_STR("serial", step->serial), KL_LOG_ERR(&unit->err));
    }
    step_free(step);
}

struct kl_step *kl_step_new(enum kl_step_kind kind, struct kl_service *service,
                            void (*done)(struct kl_step *step, void *owner), void *owner)
{
    struct kl_step *step = calloc(1, sizeof(*step));

    if (step != NULL) {
        step->unit.run = step_run;
        step->unit.done = step_done;
        step->kind = kind;
        step->alarm_of =
            kind == KL_STEP_SIGN_IN || kind == KL_STEP_SIGNED_IN ? KL_ALARM_SIGN_IN : KL_ALARM_LOAD;
        step->service = service;
        step->done = done;
        step->owner = owner;
    }
    return step;
}

/* How long the commit may wait for others to share it. What begins a load: half of the time that
 * the queue will take the HSM, for which it would wait anyway. What a terminal is answered after: a
 * quarter.
 */
static int64_t patience(const struct kl_step *step, int begins)
{
    const struct kl_pool *pool = step->service->pool;
    int64_t wait = pool != NULL ? kl_pool_wait_us(pool) : 0, share = wait / (begins ? 2 : 4);

    return share < PATIENCE_MAX_US ? share : PATIENCE_MAX_US;
}

enum kl_rc kl_step_submit(struct kl_step *step, struct kl_err *err)
{
    struct kl_committer *committer = step->service->committer;
    /* What only begins can wait; what ends a load or sign-in is tried whatever the state. */
    int begins = step->kind == KL_STEP_ADMIT || step->kind == KL_STEP_SIGN_IN;
    enum kl_rc rc = begins ? kl_committer_ready(committer, err) : KL_OK;

    if (rc == KL_OK) {
        step->unit.patience_us = patience(step, begins);
        rc = kl_committer_submit(committer, &step->unit, err);
    }
    if (rc != KL_OK) {
        step_free(step);
    }
    return rc;
}

void kl_step_report(struct kl_service *service, enum kl_step_kind kind, enum kl_alarm_of alarm_of,
                    const char *serial, const struct kl_err *trouble)
{
    struct kl_step *step = kl_step_new(kind, service, NULL, NULL);
    struct kl_err err = KL_ERR_INIT;

    if (step == NULL) {
        kl_log(KL_LOG_ERROR, "step-failed", KL_STR("detail", "out of memory"));
        return;
    }
    snprintf(step->serial, sizeof(step->serial), "%s", serial);
    step->trouble = *trouble;
    step->alarm_of = alarm_of;
    if (kl_step_submit(step, &err) != KL_OK) {
        kl_log(KL_LOG_ERROR, "step-failed", KL_STR("serial", serial), KL_LOG_ERR(&err));
    }
}
