/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The texts of the present schema (store_schema.c), for what brings an older one up to date
 * (store_migrate.c).
 */
#ifndef KL_DAEMON_STORE_STORE_SCHEMA_H
#define KL_DAEMON_STORE_STORE_SCHEMA_H

#include "daemon/store/store_sqlite.h"

/* Columns that came with version 3: last in their tables, where ALTER TABLE puts them. */
#define KL_SCHEMA_FLOOR_COLUMN \
    "version_floor INTEGER NOT NULL DEFAULT 0 CHECK (version_floor BETWEEN 0 AND 2147483647)"
#define KL_SCHEMA_WRAP_COLUMN "wrap INTEGER NOT NULL DEFAULT 1 CHECK (wrap >= 1)"

/* Statements of SQL: CREATE TABLE tmk, its indices, CREATE TABLE audit, and what came with version
 * 3 (triggers, checkpoints, requests, meta). */
extern const char kl_schema_tmk[], kl_schema_tmk_indices[], kl_schema_audit[],
    kl_schema_audit_rules[];
extern const char kl_schema_version[]; /* makes the file one of this version */

/* The one number that a statement has. */
enum kl_rc kl_schema_number(struct kl_store *store, const char *sql, int64_t *out,
                            struct kl_err *err) KL_MUST_CHECK;
/* In a transaction: a new id for the store, and the state of an audit trail from which nothing is
 * archived. genesis gets what stands before its first record. */
enum kl_rc kl_schema_begin_trail(struct kl_store *store, uint8_t genesis[KL_HASH_LEN],
                                 struct kl_err *err) KL_MUST_CHECK;
/* Ends a transaction the way its work went: KL_OK commits it, else it is undone, and rc handed on.
 */
enum kl_rc kl_schema_finish(struct kl_store *store, enum kl_rc rc,
                            struct kl_err *err) KL_MUST_CHECK;

#endif
