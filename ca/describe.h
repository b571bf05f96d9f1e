/* SPDX-License-Identifier: BSD-2-Clause */
/* What this CA knows of a certificate of its own, for people and programs. */
#ifndef KL_CA_DESCRIBE_H
#define KL_CA_DESCRIBE_H

#include <jansson.h>
#include <openssl/x509.h>

#include "proto/err.h"

/* kl_report_cert and besides "kind" ("root", "loader", "terminal" or "unknown"), "status"
 * ("revoked", "expired", "not-yet-valid" or "valid") and, of a revoked one, "revoked_at" and
 * "reason". The caller frees with json_decref. */
enum kl_rc kl_ca_describe(const char *dir, X509 *cert, json_t **out,
                          struct kl_err *err) KL_MUST_CHECK;

#endif
