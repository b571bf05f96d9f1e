/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The chain of the audit trail: each record's hash covers the record and the hash before it, the
 * first one's a hash that is the store's own. Whoever holds records and hashes can check them with
 * SHA-256 alone; docs/operations.md says how.
 */
#ifndef KL_DAEMON_AUDIT_AUDIT_CHAIN_H
#define KL_DAEMON_AUDIT_AUDIT_CHAIN_H

#include <stddef.h>
#include <stdint.h>

#include "pkcs11/auditkey.h"
#include "proto/err.h"
#include "proto/message.h"

#define KL_STORE_ID_LEN 16 /* bytes: random, drawn when the store is made */
#define KL_STORE_ID_TEXT (2 * KL_STORE_ID_LEN + 1)

#define KL_AUDIT_EVENT_MAX 32   /* characters */
#define KL_AUDIT_DETAIL_MAX 480 /* bytes; what is longer is cut */
#define KL_AUDIT_ACTOR_MAX 96   /* bytes; what is longer is cut */

struct kl_audit {
    uint64_t id; /* 1, 2, ... without reuse and without gaps */
    int64_t time;
    char event[KL_AUDIT_EVENT_MAX + 1];
    char serial[KL_SERIAL_MAX + 1]; /* "" = of no terminal */
    char detail[KL_AUDIT_DETAIL_MAX + 1];
    char actor[KL_AUDIT_ACTOR_MAX + 1]; /* "" = the daemon itself; "alice(1001)" */
    uint8_t hash[KL_HASH_LEN];          /* over all above and the hash before it */
};

/* What stands before the first record: SHA-256 over a label and the store's id. */
enum kl_rc kl_audit_genesis(const uint8_t store_id[KL_STORE_ID_LEN], uint8_t out[KL_HASH_LEN],
                            struct kl_err *err) KL_MUST_CHECK;

/* SHA-256 over a label, `before`, and the record's fields in the order above: numbers as 8 bytes,
 * texts after their length in 4 bytes, big-endian. record->hash is not read, and may be out. */
enum kl_rc kl_audit_hash(const uint8_t before[KL_HASH_LEN], const struct kl_audit *record,
                         uint8_t out[KL_HASH_LEN], struct kl_err *err) KL_MUST_CHECK;

/* ---- Checkpoints: what a key in the HSM signs ---- */

struct kl_checkpoint {
    uint64_t id; /* of the last record that it covers */
    int64_t time;
    uint8_t hash[KL_HASH_LEN]; /* that record's */
    uint8_t key[KL_HASH_LEN];  /* SHA-256 of the audit key's SubjectPublicKeyInfo */
    size_t signature_len;
    uint8_t signature[KL_AUDIT_SIGNATURE_MAX]; /* as kl_pubkey_verify takes it */
};

/* What is signed: a label, the store's id, id and time as 8 bytes each, hash. */
#define KL_AUDIT_TBS_LEN \
    (sizeof("keyloader audit checkpoint 1") + KL_STORE_ID_LEN + 8 + 8 + KL_HASH_LEN)
void kl_audit_tbs(const uint8_t store_id[KL_STORE_ID_LEN], const struct kl_checkpoint *checkpoint,
                  uint8_t out[KL_AUDIT_TBS_LEN]);

#endif
