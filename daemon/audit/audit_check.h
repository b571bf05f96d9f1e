/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Verifies an audit trail, from archives and a store or any of them, without HSM or configuration.
 * Records are told in the order in which they must be; whatever does not fit becomes a finding that
 * names the record, and verification goes on behind it.
 *
 * The chain alone shows what was changed by who did not recompute it. Checkpoints (with the audit
 * key's public half) show what was rewritten up to the last of them; a head that somebody wrote
 * down, or that syslog has, shows what was cut off after it.
 */
#ifndef KL_DAEMON_AUDIT_AUDIT_CHECK_H
#define KL_DAEMON_AUDIT_AUDIT_CHECK_H

#include <openssl/evp.h>
#include <stdint.h>

#include "daemon/audit/audit_chain.h"
#include "daemon/store/store.h"
#include "proto/err.h"

/* ---- What is known from elsewhere ---- */

#define KL_AUDIT_KEYS_MAX 8
#define KL_AUDIT_EXPECT_MAX 16
struct kl_audit_known {
    size_t key_count; /* 0: signatures are not checked */
    EVP_PKEY *key[KL_AUDIT_KEYS_MAX];
    uint8_t key_hash[KL_AUDIT_KEYS_MAX][KL_HASH_LEN];
    size_t expect_count; /* heads, as `audit head` printed them */
    struct kl_audit_expect {
        uint64_t id;
        uint8_t hash[KL_HASH_LEN];
        int seen; /* for audit_check.c */
    } expect[KL_AUDIT_EXPECT_MAX];
};
/* Adds the public keys (PEM) of a file, one or several. */
enum kl_rc kl_audit_known_keys(struct kl_audit_known *known, const char *path,
                               struct kl_err *err) KL_MUST_CHECK;
/* Adds "ID:HASH"; KL_ERR_USAGE. */
enum kl_rc kl_audit_known_head(struct kl_audit_known *known, const char *text,
                               struct kl_err *err) KL_MUST_CHECK;
void kl_audit_known_wipe(struct kl_audit_known *known);

/* "ID:HASH" of a record; out holds KL_AUDIT_HEAD_TEXT bytes. */
#define KL_AUDIT_HEAD_TEXT (20 + 1 + 2 * KL_HASH_LEN + 1)
void kl_audit_head_format(uint64_t id, const uint8_t hash[KL_HASH_LEN],
                          char out[KL_AUDIT_HEAD_TEXT]);

/* ---- Verification ---- */

/* id 0: of the whole. what: no content of a record is in it. */
typedef void (*kl_audit_finding_fn)(const char *source, uint64_t id, const char *what, void *arg);

struct kl_audit_result {
    char store_id[KL_STORE_ID_TEXT]; /* "" = nothing was read */
    uint64_t first, last;            /* records; first > last: none */
    uint8_t hash[KL_HASH_LEN];       /* of the last */
    uint64_t records, checkpoints, findings;
    uint64_t signed_to; /* the last record that a checkpoint covers whose signature is good */
    int64_t signed_at;
};

struct kl_audit_check;
/* known is borrowed. */
enum kl_rc kl_audit_check_new(struct kl_audit_known *known, kl_audit_finding_fn fn, void *arg,
                              struct kl_audit_check **out, struct kl_err *err) KL_MUST_CHECK;
void kl_audit_check_free(struct kl_audit_check *check); /* takes NULL */

/* A file begins that holds the records from `from`, before the first of which stands `before`. name
 * is borrowed until the next begins. Of several they come in the order of their records. */
enum kl_rc kl_audit_check_source(struct kl_audit_check *check, const char *name,
                                 const uint8_t store_id[KL_STORE_ID_LEN], uint64_t from,
                                 const uint8_t before[KL_HASH_LEN],
                                 struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_audit_check_record(struct kl_audit_check *check, const struct kl_audit *record,
                                 struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_audit_check_checkpoint(struct kl_audit_check *check,
                                     const struct kl_checkpoint *checkpoint,
                                     struct kl_err *err) KL_MUST_CHECK;
void kl_audit_check_finding(struct kl_audit_check *check, uint64_t id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A store as a source, the last one. */
enum kl_rc kl_audit_check_store(struct kl_audit_check *check, const char *name,
                                struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;
/* After the last source: what was expected and did not come. */
void kl_audit_check_end(struct kl_audit_check *check);
const struct kl_audit_result *kl_audit_check_result(const struct kl_audit_check *check);

#endif
