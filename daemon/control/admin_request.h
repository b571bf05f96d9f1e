/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dual control: what one operator requests and a second one approves.
 *
 *   pending -> approved -> done | failed      pending -> rejected      pending, approved -> expired
 *
 * A request keeps what is to be done in a canonical form; what is approved is that, to the letter,
 * and once. What the store alone can do is done at the approval; what needs the HSM is left to
 * keyloaderctl, which uses the request up before it acts.
 */
#ifndef KL_DAEMON_CONTROL_ADMIN_REQUEST_H
#define KL_DAEMON_CONTROL_ADMIN_REQUEST_H

#include "daemon/control/admin.h"

#define KL_ADMIN_REQUESTS 100 /* that may be pending at once */

/* Makes a request of what ask wants of op; *out = {"request": ...}. */
enum kl_rc kl_admin_request_make(const struct kl_admin_op *op, struct kl_store *store,
                                 const struct kl_admin_ask *ask, json_t **out,
                                 struct kl_err *err) KL_MUST_CHECK;

/* Its state's name; what is past its time is expired, whether that is on record yet or not. */
const char *kl_admin_request_state(const struct kl_request *request, int64_t now);

/* Puts on record which requests have expired. */
enum kl_rc kl_admin_request_expire(struct kl_store *store, int64_t now,
                                   struct kl_err *err) KL_MUST_CHECK;

/* An approved request that takes many steps (terminal-arm-all), a unit of work each. */
struct kl_admin_work {
    uint64_t id;
    char after[KL_SERIAL_MAX + 1]; /* where the last step ended */
    uint64_t armed;                /* so far */
    int more;                      /* 1: there is another step */
};
/* Does the next step; with the last one the request is done. */
enum kl_rc kl_admin_request_step(struct kl_store *store, struct kl_admin_work *work, int64_t now,
                                 struct kl_err *err) KL_MUST_CHECK;
/* Puts on record that it failed, and why. */
enum kl_rc kl_admin_request_fail(struct kl_store *store, uint64_t id, const char *why, int64_t now,
                                 struct kl_err *err) KL_MUST_CHECK;
/* At the daemon's start: what it was in the midst of when it ended has failed. */
enum kl_rc kl_admin_request_interrupted(struct kl_store *store, int64_t now,
                                        struct kl_err *err) KL_MUST_CHECK;

#endif
