/* SPDX-License-Identifier: BSD-2-Clause */
/* What the operations on terminals share. */
#ifndef KL_DAEMON_CONTROL_ADMIN_TERMINAL_H
#define KL_DAEMON_CONTROL_ADMIN_TERMINAL_H

#include "daemon/control/admin.h"
#include "daemon/control/params.h"

#define KL_ADMIN_ARM_MIN 60               /* seconds */
#define KL_ADMIN_ARM_MAX (30 * 24 * 3600) /* longer is no window but a habit */
#define KL_ADMIN_ARM_FOR (2 * 3600)

/* How long and how often terminals may load: "for" in seconds, or "until" as Unix time. */
struct kl_admin_arming {
    int64_t seconds, until, attempts; /* seconds, until: 0 = not said */
};
#define KL_ADMIN_ARMING_INIT \
    { \
        0, 0, 3 \
    }
#define KL_ADMIN_ARMING_PARAMS(arming) \
    {"for", KL_PARAM_NUMBER, 0, &(arming)->seconds, KL_ADMIN_ARM_MIN, KL_ADMIN_ARM_MAX}, \
        {"until", KL_PARAM_NUMBER, 0, &(arming)->until, 1, INT64_MAX / 2}, \
    { \
        "attempts", KL_PARAM_NUMBER, 0, &(arming)->attempts, 1, 100 \
    }
/* Sets until; KL_ERR_INPUT if it is not in the future, or too far. */
enum kl_rc kl_admin_arming_settle(struct kl_admin_arming *arming, int64_t now,
                                  struct kl_err *err) KL_MUST_CHECK;

/* A terminal, what waits for it and its working keys; without its TMKs. The caller frees with
 * json_decref. */
enum kl_rc kl_admin_terminal_report(struct kl_store *store, const char *serial, int64_t now,
                                    json_t **out, struct kl_err *err) KL_MUST_CHECK;

/* ---- All terminals that are neither blocked nor armed: admin_arm_all.c ---- */

/* Params: as of an arming, "filter": {"algorithm", "prefix"}, and "after", where the last step
 * ended. One step: {"armed": how many, "after": SERIAL, "more": BOOL}. */
enum kl_rc kl_admin_arm_all(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                            struct kl_err *err) KL_MUST_CHECK;
/* Of a request: "for" counts from its approval. */
enum kl_rc kl_admin_arm_all_canon(const json_t *params, json_t **out,
                                  struct kl_err *err) KL_MUST_CHECK;

#endif
