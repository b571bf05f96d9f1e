/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a module can and cannot do of all that keyloader asks of one, as the self-test sees it: with
 * keys of every kind, made on the token for this and destroyed again.
 */
#ifndef KL_PKCS11_MODULE_CHECK_H
#define KL_PKCS11_MODULE_CHECK_H

#include "pkcs11/hsm.h"
#include "proto/err.h"

/* One capability. Figures (a speed, in ms) differ from run to run; nothing else does. Both strings
 * are the callee's to copy. */
typedef void (*kl_module_check_fn)(const char *what, const char *answer, void *arg);

/* Tells each row. hsm is opened read-write (kl_hsm_open). What a module cannot do is an answer;
 * errors are what keeps us from asking: KL_ERR_KEY, KL_ERR_MEMORY, and trouble with the token. */
enum kl_rc kl_module_check(struct kl_hsm *hsm, kl_module_check_fn row, void *arg,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
