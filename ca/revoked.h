/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What this CA has revoked: one file a certificate, DIR/revoked/SERIAL, that says when and why
 * ("2026-01-31T12:34:56Z keyCompromise"). Written once, never changed or removed.
 */
#ifndef KL_CA_REVOKED_H
#define KL_CA_REVOKED_H

#include <stdint.h>

#include "proto/err.h"

struct kl_revocation {
    int64_t time;       /* Unix seconds */
    const char *reason; /* static storage; a name that kl_reason_code knows */
};

/* The reasons of RFC 5280 section 5.3.1 that we give: keyCompromise, superseded,
 * cessationOfOperation and unspecified. Their CRLReason value, or -1. */
int kl_reason_code(const char *name);
#define KL_REASONS "keyCompromise, superseded, cessationOfOperation or unspecified"

/* Revokes durably. serial is in upper-case hex, of an issued certificate. If it was revoked before,
 * that stands: *already is 1 and *standing how it was. */
enum kl_rc kl_revoked_add(const char *dir, const char *serial, const struct kl_revocation *wanted,
                          struct kl_revocation *standing, int *already,
                          struct kl_err *err) KL_MUST_CHECK;

/* *found is 0 if the certificate is not revoked. KL_ERR_INPUT if its file is damaged. */
enum kl_rc kl_revoked_find(const char *dir, const char *serial, struct kl_revocation *out,
                           int *found, struct kl_err *err) KL_MUST_CHECK;

/* Calls fn for each revoked serial, in order, until it fails. */
typedef enum kl_rc (*kl_revoked_fn)(const char *serial, const struct kl_revocation *revocation,
                                    void *arg, struct kl_err *err);
enum kl_rc kl_revoked_each(const char *dir, kl_revoked_fn fn, void *arg,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
