/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hashes of the audit trail. Every field has its length before it, so that no two records have
 * the same bytes.
 */
#include "daemon/audit/audit_chain.h"

#include <string.h>

#include "proto/digest.h"

/* With their NUL: labels of equal start stay apart. */
static const char genesis_label[] = "keyloader audit genesis 1";
static const char record_label[] = "keyloader audit record 1";
static const char checkpoint_label[] = "keyloader audit checkpoint 1";

/* All that a record's hash covers, at its longest. */
#define RECORD_MAX \
    (sizeof(record_label) + KL_HASH_LEN + 8 + 8 + 4 + KL_AUDIT_EVENT_MAX + 4 + KL_SERIAL_MAX + 4 + \
     KL_AUDIT_DETAIL_MAX + 4 + KL_AUDIT_ACTOR_MAX)

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
    memcpy(at, data, len);
    return at + len;
}

static void big_endian(uint64_t number, uint8_t *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
    }
}

static uint8_t *put_number(uint8_t *at, uint64_t number, size_t bytes)
{
    big_endian(number, at, bytes);
    return at + bytes;
}

/* max: of the field, which ends with a NUL. */
static uint8_t *put_text(uint8_t *at, const char *text, size_t max)
{
    size_t len = strnlen(text, max);

    return put(put_number(at, len, 4), text, len);
}

enum kl_rc kl_audit_genesis(const uint8_t store_id[KL_STORE_ID_LEN], uint8_t out[KL_HASH_LEN],
                            struct kl_err *err)
{
    uint8_t data[sizeof(genesis_label) + KL_STORE_ID_LEN];

    memcpy(data, genesis_label, sizeof(genesis_label));
    memcpy(data + sizeof(genesis_label), store_id, KL_STORE_ID_LEN);
    return kl_digest_of("SHA256", data, sizeof(data), out, NULL, err);
}

enum kl_rc kl_audit_hash(const uint8_t before[KL_HASH_LEN], const struct kl_audit *record,
                         uint8_t out[KL_HASH_LEN], struct kl_err *err)
{
    uint8_t data[RECORD_MAX], *at = data;

    at = put(at, record_label, sizeof(record_label));
    at = put(at, before, KL_HASH_LEN);
    at = put_number(at, record->id, 8);
    at = put_number(at, (uint64_t)record->time, 8);
    at = put_text(at, record->event, KL_AUDIT_EVENT_MAX);
    at = put_text(at, record->serial, KL_SERIAL_MAX);
    at = put_text(at, record->detail, KL_AUDIT_DETAIL_MAX);
    at = put_text(at, record->actor, KL_AUDIT_ACTOR_MAX);
    return kl_digest_of("SHA256", data, (size_t)(at - data), out, NULL, err);
}

void kl_audit_tbs(const uint8_t store_id[KL_STORE_ID_LEN], const struct kl_checkpoint *checkpoint,
                  uint8_t out[KL_AUDIT_TBS_LEN])
{
    uint8_t *at = out;

    memcpy(at, checkpoint_label, sizeof(checkpoint_label));
    at += sizeof(checkpoint_label);
    memcpy(at, store_id, KL_STORE_ID_LEN);
    at += KL_STORE_ID_LEN;
    big_endian(checkpoint->id, at, 8);
    big_endian((uint64_t)checkpoint->time, at + 8, 8);
    memcpy(at + 16, checkpoint->hash, KL_HASH_LEN);
}
