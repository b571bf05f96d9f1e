/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyloaderctl's ceremony commands share: the HSM session, and the installed certificates. */
#ifndef KL_DAEMON_CTL_CTL_CEREMONY_H
#define KL_DAEMON_CTL_CTL_CEREMONY_H

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/x509.h>

#include "conf/log.h"
#include "daemon/config.h"
#include "pkcs11/hsm.h"
#include "proto/err.h"

/* Opens the configured token (asking for its PIN once) and a session. The caller frees with
 * kl_hsm_free. */
enum kl_rc kl_ctl_hsm_open(const struct kl_config *config, int read_write, struct kl_hsm **out,
                           struct kl_err *err) KL_MUST_CHECK;

/* The chain that is installed for the key of that label; KL_ERR_NOT_FOUND if there is none. The
 * caller frees with sk_X509_pop_free(chain, X509_free). */
enum kl_rc kl_ctl_installed(const struct kl_config *config, const char *label,
                            STACK_OF(X509) * *out, struct kl_err *err) KL_MUST_CHECK;

/* For a report: whether a daemon runs that is yet to read what has been `changed`, which is said on
 * stderr as well. null: cannot be seen. */
json_t *kl_ctl_reload_needed(const struct kl_config *config, int changed);

/* One audit record of logfmt fields, in a transaction of its own; the store is made if there is
 * none yet. serial "" = of no terminal. */
enum kl_rc kl_ctl_audit(const struct kl_config *config, const char *event, const char *serial,
                        const struct kl_log_field *fields, size_t count,
                        struct kl_err *err) KL_MUST_CHECK;

/* The same where there is a store already; where there is none, nothing. */
enum kl_rc kl_ctl_audit_if_there(const struct kl_config *config, const char *event,
                                 const struct kl_log_field *fields, size_t count,
                                 struct kl_err *err) KL_MUST_CHECK;

/* That it can be written, before anything is done that is to be recorded. */
enum kl_rc kl_ctl_audit_ready(const struct kl_config *config, struct kl_err *err) KL_MUST_CHECK;

/* KL_ERR_INPUT if keys of ours cannot have that label (kl_trust_label_ok). */
enum kl_rc kl_ctl_label(const char *label, struct kl_err *err) KL_MUST_CHECK;

/* Writes what a memory BIO holds to --out: path, or standard output if that is "-". KL_ERR_EXISTS
 * if it is there, unless force. */
int kl_ctl_is_stdout(const char *path);
enum kl_rc kl_ctl_write_out(BIO *bio, const char *path, int force,
                            struct kl_err *err) KL_MUST_CHECK;

/* The same with a public key as PEM. */
enum kl_rc kl_ctl_write_public(const EVP_PKEY *key, const char *path, int force,
                               struct kl_err *err) KL_MUST_CHECK;

#endif
