/* SPDX-License-Identifier: BSD-2-Clause */
/* CK_RV in words and in our terms. */
#ifndef KL_PKCS11_RV_H
#define KL_PKCS11_RV_H

#include <p11-kit/pkcs11.h>

#include "proto/err.h"

/* Fills err from a failed call: PIN codes -> KL_ERR_PIN, token or device gone -> KL_ERR_TOKEN,
 * mechanism or function missing -> KL_ERR_HSM_LACKS, host memory -> KL_ERR_MEMORY, corrupt
 * wrapped or encrypted data -> KL_ERR_VERIFY, stale session or handle and the rest -> KL_ERR_HSM.
 * Returns the rc. rv must not be CKR_OK. */
enum kl_rc kl_rv_err(struct kl_err *err, CK_RV rv, const char *op, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* For calls whose input came from a peer: as kl_rv_err, but every code by which some module
 * reports corrupt input (GENERAL_ERROR, FUNCTION_FAILED, WRAPPED_KEY_INVALID, ...) counts as
 * KL_ERR_VERIFY. PKCS#11 v2.40 lets modules choose; see docs/architecture.md, "PKCS#11". */
enum kl_rc kl_rv_err_peer(struct kl_err *err, CK_RV rv, const char *op, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* 1 if rv says that session, login or token is gone: which no input of a peer's can cause, and
 * before which nothing came out of the call. */
int kl_rv_is_loss(unsigned long rv);

/* 1 if rc is the HSM's trouble (token gone, HSM failed), after which the session must be thrown
 * away and the worker started afresh; 0 if the failure is the input's or the caller's. */
int kl_rc_is_hsm_trouble(enum kl_rc rc);

#endif
