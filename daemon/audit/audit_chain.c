/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hashes of the audit trail. Every field has its length before it, so that no two records have
 * the same bytes.
 */
#include "daemon/audit/audit_chain.h"

#include <openssl/evp.h>
#include <string.h>

/* With their NUL: labels of equal start stay apart. */
static const char genesis_label[] = "keyloader audit genesis 1";
static const char record_label[] = "keyloader audit record 1";
static const char checkpoint_label[] = "keyloader audit checkpoint 1";

static int put(EVP_MD_CTX *ctx, const void *data, size_t len)
{
    return EVP_DigestUpdate(ctx, data, len) == 1;
}

static void big_endian(uint64_t number, uint8_t *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
    }
}

static int put_number(EVP_MD_CTX *ctx, uint64_t number, size_t bytes)
{
    uint8_t out[8];

    big_endian(number, out, bytes);
    return put(ctx, out, bytes);
}

static int put_text(EVP_MD_CTX *ctx, const char *text)
{
    size_t len = strlen(text);

    return put_number(ctx, len, 4) && put(ctx, text, len);
}

enum kl_rc kl_audit_genesis(const uint8_t store_id[KL_STORE_ID_LEN], uint8_t out[KL_HASH_LEN],
                            struct kl_err *err)
{
    uint8_t data[sizeof(genesis_label) + KL_STORE_ID_LEN];

    memcpy(data, genesis_label, sizeof(genesis_label));
    memcpy(data + sizeof(genesis_label), store_id, KL_STORE_ID_LEN);
    if (EVP_Digest(data, sizeof(data), out, NULL, EVP_sha256(), NULL) != 1) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_Digest", "audit trail");
    }
    return KL_OK;
}

enum kl_rc kl_audit_hash(const uint8_t before[KL_HASH_LEN], const struct kl_audit *record,
                         uint8_t out[KL_HASH_LEN], struct kl_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t hash[KL_HASH_LEN];
    enum kl_rc rc = KL_OK;

    if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1 ||
        !put(ctx, record_label, sizeof(record_label)) || !put(ctx, before, KL_HASH_LEN) ||
        !put_number(ctx, record->id, 8) || !put_number(ctx, (uint64_t)record->time, 8) ||
        !put_text(ctx, record->event) || !put_text(ctx, record->serial) ||
        !put_text(ctx, record->detail) || !put_text(ctx, record->actor) ||
        EVP_DigestFinal_ex(ctx, hash, NULL) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_Digest", "audit trail");
    } else {
        memcpy(out, hash, KL_HASH_LEN);
    }
    EVP_MD_CTX_free(ctx);
    return rc;
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
