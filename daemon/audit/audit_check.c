/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The verifier of audit trails. State is the place in the chain; a record is compared with what
 * must stand there, and then believed, so that one wrong record makes one finding and not one for
 * each that follows.
 */
#include "daemon/audit/audit_check.h"

#include <inttypes.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"
#include "proto/pubkey.h"

#define KEYS_FILE_MAX 65536
#define WHAT_MAX 320

struct kl_audit_check {
    struct kl_audit_known *known;
    kl_audit_finding_fn fn;
    void *arg;
    const char *source;
    int begun;
    uint8_t store_id[KL_STORE_ID_LEN];
    uint64_t next;               /* the id that must come */
    uint8_t before[KL_HASH_LEN]; /* its predecessor's hash */
    int lost;                    /* 1: before is not known, after a gap or a damaged record */
    uint64_t unanchored;         /* the record before the first; 0: that is the trail's beginning,
                                    or a checkpoint has vouched for it */
    struct kl_audit_result result;
};

/* ---- What is known ---- */

static enum kl_rc add_key(struct kl_audit_known *known, EVP_PKEY *key, const char *path,
                          struct kl_err *err)
{
    enum kl_rc rc;

    if (known->key_count == KL_AUDIT_KEYS_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "%s: more than %d audit keys", path,
                          KL_AUDIT_KEYS_MAX);
    }
    if ((rc = kl_pubkey_hash(key, known->key_hash[known->key_count], err)) == KL_OK) {
        known->key[known->key_count++] = key;
    }
    return rc;
}

enum kl_rc kl_audit_known_keys(struct kl_audit_known *known, const char *path, struct kl_err *err)
{
    size_t before = known->key_count, len;
    char *text = NULL;
    EVP_PKEY *key;
    BIO *bio;
    enum kl_rc rc = kl_file_read(path, KEYS_FILE_MAX, &text, &len, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (!(bio = BIO_new_mem_buf(text, (int)len))) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", path);
    }
    while (rc == KL_OK && (key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL)) != NULL) {
        if ((rc = add_key(known, key, path, err)) != KL_OK) {
            EVP_PKEY_free(key);
        }
    }
    kl_err_openssl_clear();
    if (rc == KL_OK && known->key_count == before) {
        rc = kl_err_set(err, KL_ERR_INPUT, "%s: no public key (PEM) in it", path);
    }
    BIO_free(bio);
    free(text);
    return rc;
}

enum kl_rc kl_audit_known_head(struct kl_audit_known *known, const char *text, struct kl_err *err)
{
    struct kl_audit_expect *expect = &known->expect[known->expect_count];
    const char *colon = strchr(text, ':');
    char id[24] = "";

    if (known->expect_count == KL_AUDIT_EXPECT_MAX) {
        return kl_err_set(err, KL_ERR_USAGE, "more than %d heads", KL_AUDIT_EXPECT_MAX);
    }
    if (!colon || (size_t)(colon - text) >= sizeof(id)) {
        return kl_err_set(err, KL_ERR_USAGE, "'%.100s' must be ID:HASH, as audit head prints it",
                          text);
    }
    memcpy(id, text, (size_t)(colon - text));
    if (kl_parse_number(id, 0, INT64_MAX, &expect->id, err) != KL_OK ||
        !kl_hex_parse(colon + 1, expect->hash, KL_HASH_LEN)) {
        return kl_err_set(err, KL_ERR_USAGE, "'%.100s' must be ID:HASH, as audit head prints it",
                          text);
    }
    expect->seen = 0;
    known->expect_count++;
    return KL_OK;
}

void kl_audit_known_wipe(struct kl_audit_known *known)
{
    for (size_t i = 0; i < known->key_count; i++) {
        EVP_PKEY_free(known->key[i]);
    }
    memset(known, 0, sizeof(*known));
}

void kl_audit_head_format(uint64_t id, const uint8_t hash[KL_HASH_LEN],
                          char out[KL_AUDIT_HEAD_TEXT])
{
    int len = snprintf(out, KL_AUDIT_HEAD_TEXT, "%" PRIu64 ":", id);

    kl_hex_format(hash, KL_HASH_LEN, out + len);
}

/* ---- Findings ---- */

void kl_audit_check_finding(struct kl_audit_check *check, uint64_t id, const char *fmt, ...)
{
    char what[WHAT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    check->result.findings++;
    check->fn(check->source, id, what, check->arg);
}

/* The records that must come before `id` and have not. */
static void find_missing(struct kl_audit_check *check, uint64_t id, const char *more)
{
    if (id == check->next + 1) {
        kl_audit_check_finding(check, check->next, "is missing%s", more);
    } else {
        kl_audit_check_finding(check, check->next,
                               "is missing, and so is every one up to %" PRIu64 "%s", id - 1, more);
    }
}

/* ---- Expected heads ---- */

static void compare_heads(struct kl_audit_check *check, uint64_t id,
                          const uint8_t hash[KL_HASH_LEN])
{
    for (size_t i = 0; i < check->known->expect_count; i++) {
        struct kl_audit_expect *expect = &check->known->expect[i];
        if (expect->id != id || expect->seen) {
            continue;
        }
        expect->seen = 1;
        if (memcmp(expect->hash, hash, KL_HASH_LEN) != 0) {
            kl_audit_check_finding(check, id,
                                   "has another hash than the head that you expect: it, or one "
                                   "before it, was rewritten");
        }
    }
}

/* ---- Sources ---- */

static enum kl_rc begin(struct kl_audit_check *check, uint64_t from,
                        const uint8_t before[KL_HASH_LEN], struct kl_err *err)
{
    uint8_t genesis[KL_HASH_LEN];
    enum kl_rc rc = kl_audit_genesis(check->store_id, genesis, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (from == 1 && memcmp(before, genesis, KL_HASH_LEN) != 0) {
        kl_audit_check_finding(check, 0,
                               "does not begin as a trail of this store must: it is "
                               "spliced from two stores, or its id was changed");
    }
    kl_hex_format(check->store_id, KL_STORE_ID_LEN, check->result.store_id);
    check->result.first = from;
    check->result.last = from - 1;
    memcpy(check->result.hash, before, KL_HASH_LEN);
    check->unanchored = from - 1;
    return KL_OK;
}

enum kl_rc kl_audit_check_source(struct kl_audit_check *check, const char *name,
                                 const uint8_t store_id[KL_STORE_ID_LEN], uint64_t from,
                                 const uint8_t before[KL_HASH_LEN], struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    check->source = name;
    if (!check->begun) {
        check->begun = 1;
        memcpy(check->store_id, store_id, KL_STORE_ID_LEN);
        rc = begin(check, from, before, err);
    } else if (memcmp(check->store_id, store_id, KL_STORE_ID_LEN) != 0) {
        kl_audit_check_finding(check, 0, "is of another store than the file before it");
    } else if (from > check->next) {
        find_missing(check, from, ": an archive is not given");
    } else if (from < check->next) {
        kl_audit_check_finding(check, from,
                               "was in a file before this one: give archives once, in the order "
                               "of their records");
    } else if (!check->lost && memcmp(check->before, before, KL_HASH_LEN) != 0) {
        kl_audit_check_finding(check, from,
                               "does not follow from the file before this one: it "
                               "begins behind another record");
    }
    check->next = from;
    check->lost = 0;
    memcpy(check->before, before, KL_HASH_LEN);
    compare_heads(check, from - 1, before);
    return rc;
}

/* ---- Records ---- */

enum kl_rc kl_audit_check_record(struct kl_audit_check *check, const struct kl_audit *record,
                                 struct kl_err *err)
{
    uint8_t hash[KL_HASH_LEN];
    enum kl_rc rc;

    if (record->id < check->next) {
        kl_audit_check_finding(check, record->id,
                               "is out of its place: it was put in, or is here "
                               "twice");
        return KL_OK;
    }
    if (record->id > check->next) {
        find_missing(check, record->id, "");
        check->lost = 1;
    }
    if ((rc = kl_audit_hash(check->before, record, hash, err)) != KL_OK) {
        return rc;
    }
    if (!check->lost && memcmp(hash, record->hash, KL_HASH_LEN) != 0) {
        kl_audit_check_finding(check, record->id,
                               "does not match its hash: it was changed, or the one before it was "
                               "changed along with its hash");
    }
    check->lost = 0;
    memcpy(check->before, record->hash, KL_HASH_LEN);
    check->next = record->id + 1;
    check->result.records++;
    check->result.last = record->id;
    memcpy(check->result.hash, record->hash, KL_HASH_LEN);
    compare_heads(check, record->id, record->hash);
    return KL_OK;
}

/* A row that is there, and is no record. */
static void damaged_record(struct kl_audit_check *check, uint64_t id)
{
    if (id > check->next) {
        find_missing(check, id, "");
    }
    kl_audit_check_finding(check, id, "is damaged: a field has not the form of one");
    if (id >= check->next) {
        check->next = id + 1;
        check->lost = 1;
    }
}

/* ---- Checkpoints ---- */

static EVP_PKEY *find_key(const struct kl_audit_known *known, const uint8_t hash[KL_HASH_LEN])
{
    for (size_t i = 0; i < known->key_count; i++) {
        if (memcmp(known->key_hash[i], hash, KL_HASH_LEN) == 0) {
            return known->key[i];
        }
    }
    return NULL;
}

/* 1: its signature is good, or cannot be checked. */
static int signature_ok(struct kl_audit_check *check, const struct kl_checkpoint *checkpoint)
{
    char name[2 * KL_HASH_LEN + 1];
    uint8_t tbs[KL_AUDIT_TBS_LEN];
    struct kl_err why = KL_ERR_INIT;
    EVP_PKEY *key;

    if (check->known->key_count == 0) {
        return 1;
    }
    if (!(key = find_key(check->known, checkpoint->key))) {
        kl_hex_format(checkpoint->key, KL_HASH_LEN, name);
        kl_audit_check_finding(check, checkpoint->id,
                               "has a checkpoint by a key that is not given (SPKI SHA-256 %s)",
                               name);
        return 0;
    }
    kl_audit_tbs(check->store_id, checkpoint, tbs);
    if (kl_pubkey_verify(key, checkpoint->signature, checkpoint->signature_len, tbs, sizeof(tbs),
                         &why) != KL_OK) {
        kl_audit_check_finding(check, checkpoint->id,
                               "has a checkpoint whose signature is not "
                               "good: it is forged, or was changed");
        return 0;
    }
    return 1;
}

enum kl_rc kl_audit_check_checkpoint(struct kl_audit_check *check,
                                     const struct kl_checkpoint *checkpoint, struct kl_err *err)
{
    (void)err;
    check->result.checkpoints++;
    if (!signature_ok(check, checkpoint)) {
        return KL_OK;
    }
    if (checkpoint->id + 1 != check->next) {
        kl_audit_check_finding(check, checkpoint->id,
                               checkpoint->id + 1 > check->next
                                   ? "was covered by a checkpoint, and is missing"
                                   : "has a checkpoint that is out of its place");
        return KL_OK;
    }
    if (check->lost || memcmp(checkpoint->hash, check->before, KL_HASH_LEN) != 0) {
        kl_audit_check_finding(check, checkpoint->id,
                               "is not the record that the checkpoint covers: the trail was "
                               "rewritten after record %" PRIu64,
                               check->result.signed_to);
        return KL_OK;
    }
    if (check->unanchored == checkpoint->id) {
        check->unanchored = 0;
    }
    check->result.signed_to = checkpoint->id;
    check->result.signed_at = checkpoint->time;
    return KL_OK;
}

/* ---- A store ---- */

static enum kl_rc on_record(const struct kl_audit *record, void *arg, struct kl_err *err)
{
    return kl_audit_check_record(arg, record, err);
}

static enum kl_rc on_checkpoint(const struct kl_checkpoint *checkpoint, void *arg,
                                struct kl_err *err)
{
    return kl_audit_check_checkpoint(arg, checkpoint, err);
}

static enum kl_rc on_damaged(const char *table, uint64_t id, void *arg, struct kl_err *err)
{
    (void)err;
    if (strcmp(table, "audit") == 0) {
        damaged_record(arg, id);
    } else {
        kl_audit_check_finding(arg, id, "has a checkpoint that is damaged");
    }
    return KL_OK;
}

static enum kl_rc check_store(struct kl_audit_check *check, const char *name,
                              struct kl_store *store, struct kl_err *err)
{
    const struct kl_audit_walk walk = {on_record, on_checkpoint, on_damaged, check};
    char id_text[KL_META_MAX + 1];
    uint8_t id[KL_STORE_ID_LEN];
    struct kl_audit_state state;
    enum kl_rc rc = kl_store_audit_rules(store, err);

    check->source = name;
    if (rc == KL_ERR_VERIFY) {
        kl_audit_check_finding(check, 0, "%s", err->text);
    } else if (rc != KL_OK) {
        return rc;
    }
    if ((rc = kl_store_meta_get(store, KL_META_STORE_ID, id_text, err)) != KL_OK ||
        (rc = kl_store_audit_state(store, &state, err)) != KL_OK) {
        return rc;
    }
    if (!kl_hex_parse(id_text, id, sizeof(id))) {
        return kl_err_set(err, KL_ERR_VERIFY, "%s: the store's id is none", name);
    }
    if ((rc = kl_audit_check_source(check, name, id, state.archived_to + 1, state.archived_hash,
                                    err)) != KL_OK ||
        (rc = kl_store_audit_walk(store, 0, &walk, err)) != KL_OK) {
        return rc;
    }
    if (state.given >= check->next) {
        find_missing(check, state.given + 1, ": the end was cut off");
    }
    return KL_OK;
}

enum kl_rc kl_audit_check_store(struct kl_audit_check *check, const char *name,
                                struct kl_store *store, struct kl_err *err)
{
    enum kl_rc rc = kl_store_begin(store, err); /* one state of it, whoever writes meanwhile */

    if (rc == KL_OK) {
        rc = check_store(check, name, store, err);
        kl_store_rollback(store);
    }
    return rc;
}

/* ---- The whole ---- */

enum kl_rc kl_audit_check_new(struct kl_audit_known *known, kl_audit_finding_fn fn, void *arg,
                              struct kl_audit_check **out, struct kl_err *err)
{
    struct kl_audit_check *check = calloc(1, sizeof(*check));

    if (!check) {
        return kl_err_set(err, KL_ERR_MEMORY, "verification of an audit trail");
    }
    check->known = known;
    check->fn = fn;
    check->arg = arg;
    check->source = "";
    check->result.first = 1;
    *out = check;
    return KL_OK;
}

void kl_audit_check_free(struct kl_audit_check *check)
{
    free(check);
}

void kl_audit_check_end(struct kl_audit_check *check)
{
    const struct kl_audit_known *known = check->known;

    for (size_t i = 0; i < known->expect_count; i++) {
        if (!known->expect[i].seen) {
            kl_audit_check_finding(check, known->expect[i].id,
                                   "is the head that you expect, and is not here");
        }
    }
    if (known->key_count > 0 && check->unanchored > 0) {
        kl_audit_check_finding(check, check->unanchored + 1,
                               "is the first here, and no checkpoint vouches for the one before "
                               "it");
    }
    if (known->key_count > 0 && check->result.records > 0 && check->result.signed_to == 0) {
        kl_audit_check_finding(check, 0, "has no good checkpoint: nothing in it is signed");
    }
}

const struct kl_audit_result *kl_audit_check_result(const struct kl_audit_check *check)
{
    return &check->result;
}
