/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/audit/audit_follow.h"

#include <inttypes.h>
#include <string.h>

struct follower {
    struct kl_audit_place seen;
    uint64_t left; /* records that may still be taken */
    int at_start;  /* 1: the next record must be `seen` itself */
};

static enum kl_rc differs(uint64_t id, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_VERIFY,
                      "record %" PRIu64 " of the audit trail is not the one that was seen before:"
                      " the store has been rewritten or put back; run keyloaderctl audit verify",
                      id);
}

static enum kl_rc take_record(const struct kl_audit *record, void *arg, struct kl_err *err)
{
    struct follower *f = arg;
    uint8_t hash[KL_HASH_LEN];
    enum kl_rc rc;

    if (f->at_start) {
        f->at_start = 0;
        return record->id == f->seen.id && memcmp(record->hash, f->seen.hash, KL_HASH_LEN) == 0
                   ? KL_OK
                   : differs(f->seen.id, err);
    }
    if (f->left == 0) {
        return kl_err_set(err, KL_ERR_BUSY, "enough for one look");
    }
    if ((rc = kl_audit_hash(f->seen.hash, record, hash, err)) != KL_OK) {
        return rc;
    }
    if (record->id != f->seen.id + 1 || memcmp(record->hash, hash, KL_HASH_LEN) != 0) {
        return kl_err_set(err, KL_ERR_VERIFY,
                          "record %" PRIu64 " of the audit trail does not follow record %" PRIu64
                          ": run keyloaderctl audit verify",
                          record->id, f->seen.id);
    }
    f->seen.id = record->id;
    memcpy(f->seen.hash, hash, KL_HASH_LEN);
    f->left--;
    return KL_OK;
}

static enum kl_rc take_damaged(const char *table, uint64_t id, void *arg, struct kl_err *err)
{
    (void)arg;
    return kl_err_set(err, KL_ERR_VERIFY,
                      "row %" PRIu64 " of table %s is damaged: run keyloaderctl audit verify", id,
                      table);
}

void kl_audit_follow_begin(const struct kl_audit_state *state,
                           const struct kl_checkpoint *checkpoint, struct kl_audit_place *place)
{
    place->id = checkpoint->id > 0 ? checkpoint->id : state->archived_to;
    memcpy(place->hash, checkpoint->id > 0 ? checkpoint->hash : state->archived_hash, KL_HASH_LEN);
}

enum kl_rc kl_audit_follow(struct kl_store *store, const struct kl_audit_state *state,
                           struct kl_audit_place *place, uint64_t most, struct kl_err *err)
{
    struct follower f = {.seen = *place, .left = most};
    const struct kl_audit_walk walk = {.record = take_record, .damaged = take_damaged, .arg = &f};
    enum kl_rc rc;

    if (place->id == state->archived_to) { /* what follows is in the store, it itself is not */
        if (memcmp(place->hash, state->archived_hash, KL_HASH_LEN) != 0) {
            return differs(place->id, err);
        }
    } else {
        f.at_start = 1;
    }
    rc = kl_store_audit_walk(store, place->id - (f.at_start ? 1 : 0), &walk, err);
    if (rc == KL_ERR_BUSY && f.left == 0) {
        rc = KL_OK;
    }
    if (rc == KL_OK && f.at_start) {
        rc = differs(place->id, err); /* it is not there at all */
    }
    if (rc == KL_OK) {
        *place = f.seen;
    }
    return rc;
}
