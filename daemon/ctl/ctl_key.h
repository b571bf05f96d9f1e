/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyloaderctl's key commands share. */
#ifndef KL_DAEMON_CTL_CTL_KEY_H
#define KL_DAEMON_CTL_CTL_KEY_H

#include <jansson.h>
#include <openssl/evp.h>

#include "conf/report.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_list.h"
#include "pkcs11/labels.h"
#include "pkcs11/token.h"
#include "proto/err.h"
#include "proto/suite.h"

/* key csr, in ctl_csr.c, and key import, in ctl_key_import.c. */
enum kl_rc kl_ctl_key_csr(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);
enum kl_rc kl_ctl_key_import(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);

/* The storage key wraps every stored key, the binding key binds it to its terminal, the audit key
 * signs the audit trail: they are made with the first work key, and never destroyed here. *made:
 * those that this call made. */
struct kl_ctl_made {
    int storage, binding, audit;
};
enum kl_rc kl_ctl_store_keys(const struct kl_config *config, struct kl_session *session,
                             struct kl_ctl_made *made, struct kl_err *err) KL_MUST_CHECK;

/* One audit record of a key in the HSM: role is a suite's name, for work keys, or "storage" and the
 * like; fingerprint "" = it has no public half. */
enum kl_rc kl_ctl_audit_key(const struct kl_config *config, const char *event, const char *role,
                            const char *label, const char *fingerprint,
                            struct kl_err *err) KL_MUST_CHECK;

/* For a table of struct kl_option: --suite NAME; out is an enum kl_suite. */
enum kl_rc kl_ctl_take_suite(const char *name, void *out, struct kl_err *err);
/* Says on stderr if [policy] suites leaves that suite out: its keys would be of no use. */
void kl_ctl_warn_suite(const struct kl_config *config, enum kl_suite suite);

/* Says on stderr if nothing but its usage flags bounds what the token does with a key: of the keys
 * that the daemon uses its self-test says so, of others nobody else. */
void kl_ctl_warn_mechanisms(struct kl_session *session, CK_OBJECT_HANDLE key, const char *label);

/* What a public key is called ("rsa-3072") and its fingerprint. */
enum kl_rc kl_ctl_describe_public(const EVP_PKEY *key, char name[KL_KEY_NAME_TEXT],
                                  char fingerprint[KL_FINGERPRINT_TEXT],
                                  struct kl_err *err) KL_MUST_CHECK;

/* A work key as operators see it. The caller frees with json_decref. */
enum kl_rc kl_ctl_work_json(const struct kl_config *config, const char *label, enum kl_suite suite,
                            const EVP_PKEY *key, json_t **out, struct kl_err *err) KL_MUST_CHECK;

/* Adds these keys to the report of a work key that has been made. work is borrowed. */
enum kl_rc kl_ctl_made_json(const struct kl_config *config, json_t *work,
                            const struct kl_ctl_made *made, struct kl_err *err) KL_MUST_CHECK;

/* Lists keys in the HSM: a look at each label that `read` gives, and a row by `row`, which passes
 * over keys of other roles. widths as in struct kl_ctl_list. */
typedef enum kl_rc (*kl_ctl_labels_fn)(struct kl_session *session, struct kl_labels *out,
                                       struct kl_err *err);
typedef enum kl_rc (*kl_ctl_list_key_fn)(const struct kl_config *config, struct kl_session *session,
                                         const char *label, struct kl_ctl_list *list,
                                         struct kl_err *err);
enum kl_rc kl_ctl_list_keys(struct kl_ctl *ctl, kl_ctl_labels_fn read, kl_ctl_list_key_fn row,
                            const int *widths, struct kl_err *err) KL_MUST_CHECK;

/* A command, in ctl_delete.c. */
enum kl_rc kl_ctl_key_delete(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);

#endif
