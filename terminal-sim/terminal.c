/* SPDX-License-Identifier: BSD-2-Clause */
/* The terminal's folder in use: opening it, its PIN pad, and the record. */
#include "terminal-sim/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "conf/cli.h"
#include "terminal-sim/folder.h"

#define LOOKS_MAX 8 /* at a pad and a record that another command changes */

struct kl_terminal_home {
    char dir[PATH_MAX];
    int lock; /* terminal.conf, flock()ed; -1 = not exclusive */
    struct kl_folder_conf conf;
    STACK_OF(X509) * roots;       /* AcquireRCRT */
    struct kl_folder_chain chain; /* the terminal's own */
    struct kl_record record;
};

static enum kl_rc take_lock(struct kl_terminal_home *t, const char *path, struct kl_err *err)
{
    t->lock = open(path, O_RDONLY | O_CLOEXEC);
    if (t->lock < 0) {
        return kl_err_errno(err, "open", "%s", path);
    }
    if (flock(t->lock, LOCK_EX | LOCK_NB) == 0) {
        return KL_OK;
    }
    if (errno == EWOULDBLOCK) {
        return kl_err_set(err, KL_ERR_BUSY, "another command works in %s; wait for its end",
                          t->dir);
    }
    return kl_err_errno(err, "flock", "%s", path);
}

/* What killed commands have left of files that are written by who has the lock. */
static enum kl_rc sweep(const struct kl_terminal_home *t, struct kl_err *err)
{
    static const char *const files[] = {KL_FOLDER_RECORD, KL_FOLDER_ROOT, KL_FOLDER_DEVICE};
    char path[PATH_MAX];
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; !rc && i < sizeof(files) / sizeof(files[0]); i++) {
        rc = kl_folder_path(t->dir, files[i], path, err);
        if (!rc) {
            kl_file_sweep(path, kl_file_unfinished);
        }
    }
    return rc;
}

static enum kl_rc read_record(const struct kl_terminal_home *t, struct kl_record *out,
                              struct kl_err *err)
{
    char path[PATH_MAX], *text = NULL;
    size_t len;
    enum kl_rc rc = kl_folder_path(t->dir, KL_FOLDER_RECORD, path, err);

    if (rc) {
        return rc;
    }
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        memset(out, 0, sizeof(*out));
        return KL_OK; /* anything else is an error: nothing on record must be forgotten */
    }
    rc = kl_file_read(path, KL_RECORD_TEXT_MAX, &text, &len, err);
    if (!rc && strlen(text) != len) {
        rc = kl_err_set(err, KL_ERR_INPUT, "it holds a NUL");
    }
    if (!rc) {
        rc = kl_record_parse(text, out, err);
    }
    free(text);
    return rc ? kl_err_context(err, "%s", path) : KL_OK;
}

static enum kl_rc write_record(const struct kl_terminal_home *t, const struct kl_record *record,
                               struct kl_err *err)
{
    char path[PATH_MAX], text[KL_RECORD_TEXT_MAX];
    size_t len = kl_record_format(record, text);
    enum kl_rc rc = kl_folder_path(t->dir, KL_FOLDER_RECORD, path, err);

    if (rc) {
        return rc;
    }
    return len ? kl_file_write(path, text, len, 0600, 1, err) : kl_file_remove(path, err);
}

enum kl_rc kl_terminal_open(const char *dir, int exclusive, struct kl_terminal_home **out,
                            struct kl_err *err)
{
    struct kl_terminal_home *t = calloc(1, sizeof(*t));
    char path[PATH_MAX];
    enum kl_rc rc;

    if (!t) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a terminal");
    }
    t->lock = -1;
    rc = kl_folder_path(dir, KL_FOLDER_CONF, path, err); /* checks the length */
    if (!rc) {
        strcpy(t->dir, dir);
    }
    if (!rc && exclusive) {
        rc = take_lock(t, path, err);
        rc = rc ? rc : sweep(t, err);
    }
    if (!rc) {
        rc = kl_folder_load_conf(path, &t->conf, err);
    }
    if (!rc) {
        rc = kl_folder_load_roots(dir, &t->roots, err);
    }
    if (!rc) {
        rc = kl_folder_load_chain(dir, &t->chain, err);
    }
    if (!rc) {
        rc = read_record(t, &t->record, err);
    }
    if (rc) {
        kl_terminal_free(t);
    } else {
        *out = t;
    }
    return rc;
}

void kl_terminal_free(struct kl_terminal_home *t)
{
    if (!t) {
        return;
    }
    kl_folder_wipe_chain(&t->chain);
    sk_X509_pop_free(t->roots, X509_free);
    kl_folder_wipe_conf(&t->conf);
    if (t->lock >= 0) {
        close(t->lock);
    }
    free(t);
}

const char *kl_terminal_serial(const struct kl_terminal_home *t)
{
    return t->conf.serial;
}

const char *kl_terminal_pinpad_serial(const struct kl_terminal_home *t)
{
    return t->conf.pinpad_serial;
}

enum kl_pinpad_kind kl_terminal_pinpad_kind(const struct kl_terminal_home *t)
{
    return (enum kl_pinpad_kind)t->conf.kind;
}

STACK_OF(X509) * kl_terminal_roots(const struct kl_terminal_home *t)
{
    return t->roots;
}

size_t kl_terminal_chain(const struct kl_terminal_home *t, struct kl_bytes out[KL_CHAIN_MAX])
{
    memcpy(out, t->chain.der, sizeof(t->chain.der));
    return t->chain.count;
}

const struct kl_pinpad_tmk *kl_terminal_active(const struct kl_terminal_home *t)
{
    return &t->record.active;
}

const struct kl_pinpad_pair *kl_terminal_keys(const struct kl_terminal_home *t)
{
    return &t->record.keys;
}

int kl_terminal_keys_in_doubt(const struct kl_terminal_home *t)
{
    return t->record.keys_in_doubt;
}

enum kl_rc kl_terminal_usable_keys(const struct kl_terminal_home *t, struct kl_pinpad_pair *out,
                                   struct kl_err *err)
{
    struct kl_record record;
    enum kl_rc rc = read_record(t, &record, err);

    if (rc) {
        return rc;
    }
    if (record.keys_in_doubt) {
        return kl_err_set(err, KL_ERR_BUSY,
                          "the last sign-in did not end: sign in again, since the loader may have "
                          "other working keys as current");
    }
    if (record.keys.number == 0) {
        return kl_err_set(err, KL_ERR_KEY, "the terminal has no working keys: run 'sign-in' first");
    }
    *out = record.keys;
    return KL_OK;
}

enum kl_rc kl_terminal_open_pinpad(const struct kl_terminal_home *t, struct kl_pinpad **out,
                                   struct kl_err *err)
{
    if (t->conf.kind == KL_PINPAD_MEMORY) {
        return kl_pinpad_memory_new(out, err);
    }
    return kl_pinpad_token_open(t->conf.module, t->conf.init_reserved, t->conf.token,
                                t->conf.pin_source, out, err);
}

/* Makes this the record, durably, and only then ours. */
static enum kl_rc replace_record(struct kl_terminal_home *t, const struct kl_record *record,
                                 struct kl_err *err)
{
    enum kl_rc rc = write_record(t, record, err);

    if (!rc) {
        t->record = *record;
    }
    return rc;
}

/* ---- Record and PIN pad side by side ---- */

struct held { /* what the PIN pad holds, lowest version first */
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t count;
};

static enum kl_rc look(struct kl_pinpad *pad, struct held *out, struct kl_err *err)
{
    size_t i;
    enum kl_rc rc = kl_pinpad_list(pad, out->tmks, &out->count, err);

    /* TMKs are destroyed by version: of two, it might be the wrong one. */
    for (i = 1; !rc && i < out->count; i++) {
        if (out->tmks[i].version == out->tmks[i - 1].version) {
            rc = kl_err_set(err, KL_ERR_KEY,
                            "the PIN pad holds two TMKs of version %" PRIu32
                            "; remove the one that is not this terminal's",
                            out->tmks[i].version);
        }
    }
    return rc;
}

static int same_tmk(const struct kl_pinpad_tmk *a, const struct kl_pinpad_tmk *b)
{
    return a->version == b->version && a->alg == b->alg && a->kcv_len == b->kcv_len &&
           memcmp(a->kcv, b->kcv, a->kcv_len) == 0;
}

static int holds(const struct held *held, const struct kl_pinpad_tmk *tmk)
{
    size_t i;

    for (i = 0; i < held->count; i++) {
        if (same_tmk(&held->tmks[i], tmk)) {
            return 1;
        }
    }
    return 0;
}

static struct kl_pinpad_tmk tmk_of(const struct kl_candidate *candidate)
{
    struct kl_pinpad_tmk tmk = {.version = candidate->version,
                                .alg = candidate->alg,
                                .kcv_len = candidate->loaded.kcv_len};

    memcpy(tmk.kcv, candidate->loaded.kcv, tmk.kcv_len);
    return tmk;
}

static int holds_candidate(const struct held *held, const struct kl_candidate *candidate)
{
    const struct kl_pinpad_tmk tmk = tmk_of(candidate);

    return holds(held, &tmk);
}

/* What the record says of a TMK that the pad holds. */
static enum kl_terminal_state judge(const struct kl_record *record, const struct kl_pinpad_tmk *tmk)
{
    size_t i;

    if (same_tmk(&record->active, tmk)) {
        return KL_TERMINAL_ACTIVE;
    }
    for (i = 0; i < record->count; i++) {
        const struct kl_pinpad_tmk candidate = tmk_of(&record->candidates[i]);

        if (same_tmk(&candidate, tmk)) {
            return KL_TERMINAL_UNCONFIRMED;
        }
    }
    return KL_TERMINAL_STRAY;
}

/* Without the TMK in use before our eyes something is wrong with the pad, or with the record, and a
 * stray may be all that the terminal has: it is left alone then. */
static enum kl_rc destroy_strays(const struct kl_terminal_home *t, struct kl_pinpad *pad,
                                 struct kl_err *err)
{
    struct held held;
    size_t i;
    enum kl_rc rc = look(pad, &held, err);

    if (rc || !holds(&held, &t->record.active)) {
        return rc;
    }
    for (i = 0; !rc && i < held.count; i++) {
        if (judge(&t->record, &held.tmks[i]) == KL_TERMINAL_STRAY) {
            rc = kl_pinpad_destroy(pad, held.tmks[i].version, err);
        }
    }
    return rc ? rc : kl_pinpad_prune(pad, t->record.keys.number, err);
}

/* What the pad holds of a candidate that came to nothing. */
static enum kl_rc destroy_candidate(struct kl_pinpad *pad, uint32_t version, struct kl_err *err)
{
    enum kl_rc rc = kl_pinpad_destroy(pad, version, err);

    return rc == KL_ERR_NOT_FOUND ? KL_OK : rc; /* never written, or destroyed before a crash */
}

/* Takes off a candidate and what is left of it. The record first says that the TMK is to go: one
 * that is whole and missing is one that the loader may count as active. */
static enum kl_rc discard(struct kl_terminal_home *t, struct kl_pinpad *pad, uint32_t version,
                          uint32_t abandoned, struct kl_err *err)
{
    struct kl_record record = t->record;
    size_t i = 0;
    enum kl_rc rc;

    while (i < record.count && record.candidates[i].version != version) {
        i++;
    }
    if (i == record.count) {
        return KL_OK; /* done already */
    }
    record.candidates[i].whole = 0;
    record.abandoned = abandoned;
    rc = replace_record(t, &record, err);
    if (!rc) {
        rc = destroy_candidate(pad, version, err);
    }
    if (rc) {
        return rc;
    }
    for (record.count--; i < record.count; i++) {
        record.candidates[i] = record.candidates[i + 1];
    }
    return replace_record(t, &record, err);
}

/* ---- Public ---- */

enum kl_rc kl_terminal_recover(struct kl_terminal_home *t, struct kl_pinpad *pad,
                               struct kl_err *err)
{
    struct kl_record left = t->record;
    struct held held;
    size_t i;
    enum kl_rc rc = look(pad, &held, err);

    /* Written even if nothing changes: a record that was read may be one whose writing failed at
     * the last step, and be gone after the next crash. */
    if (!rc) {
        rc = replace_record(t, &t->record, err);
    }
    left.count = 0;
    for (i = 0; !rc && i < t->record.count; i++) {
        if (t->record.candidates[i].whole) {
            left.candidates[left.count++] = t->record.candidates[i];
        } else {
            rc = destroy_candidate(pad, t->record.candidates[i].version, err);
        }
    }
    if (!rc && left.count != t->record.count) {
        rc = replace_record(t, &left, err);
    }
    return rc ? rc : destroy_strays(t, pad, err);
}

uint32_t kl_terminal_abandoned(const struct kl_terminal_home *t)
{
    return t->record.abandoned;
}

size_t kl_terminal_candidates(const struct kl_terminal_home *t, const struct kl_candidate **out)
{
    *out = t->record.candidates;
    return t->record.count;
}

enum kl_rc kl_terminal_next(const struct kl_terminal_home *t, struct kl_pinpad *pad,
                            const struct kl_candidate **out, struct kl_err *err)
{
    const struct kl_candidate *youngest = NULL;
    uint32_t version = t->record.abandoned;
    struct held held;
    enum kl_rc rc = look(pad, &held, err);

    if (rc) {
        return rc;
    }
    if (t->record.count > 0) {
        youngest = &t->record.candidates[t->record.count - 1];
        version = holds_candidate(&held, youngest) ? 0 : youngest->version;
    }
    if (version) {
        return kl_err_set(err, KL_ERR_KEY,
                          "the loader may count TMK version %" PRIu32 " as active, but the PIN pad "
                          "does not hold it: arm the terminal and load afresh (--fresh)",
                          version);
    }
    *out = youngest;
    return KL_OK;
}

enum kl_rc kl_terminal_check(const struct kl_terminal_home *t, struct kl_pinpad *pad,
                             struct kl_err *err)
{
    struct held held;
    size_t i;
    enum kl_rc rc = look(pad, &held, err);

    if (rc) {
        return rc;
    }
    if (t->record.active.version) {
        return holds(&held, &t->record.active)
                   ? KL_OK
                   : kl_err_set(err, KL_ERR_KEY,
                                "the PIN pad does not hold the TMK in use, version %" PRIu32
                                ": bring it back, or arm the terminal and load afresh",
                                t->record.active.version);
    }
    for (i = 0; i < held.count; i++) {
        if (judge(&t->record, &held.tmks[i]) == KL_TERMINAL_STRAY) {
            return kl_err_set(err, KL_ERR_KEY,
                              "the PIN pad holds TMK version %" PRIu32 ", but %s/" KL_FOLDER_RECORD
                              " knows of none in use: bring the record back, or arm the terminal "
                              "and load afresh",
                              held.tmks[i].version, t->dir);
        }
    }
    return KL_OK;
}

enum kl_rc kl_terminal_room(const struct kl_terminal_home *t, struct kl_pinpad *pad,
                            struct kl_err *err)
{
    struct held held;
    enum kl_rc rc = look(pad, &held, err);

    if (rc || (t->record.count < KL_CANDIDATES_MAX && held.count < KL_PINPAD_TMK_MAX)) {
        return rc;
    }
    if (t->record.count == 0) {
        return kl_err_set(
            err, KL_ERR_REFUSED,
            "the PIN pad is full of %zu TMKs that are not on record; remove them from "
            "its token",
            held.count);
    }
    return kl_err_set(err, KL_ERR_REFUSED,
                      "there is no room for another candidate: %zu await the loader's word; run "
                      "'confirm', or load with --abandon-candidate, which destroys the oldest, TMK "
                      "version %" PRIu32,
                      t->record.count, t->record.candidates[0].version);
}

enum kl_rc kl_terminal_abandon(struct kl_terminal_home *t, struct kl_pinpad *pad, uint32_t *version,
                               struct kl_err *err)
{
    uint32_t oldest = t->record.candidates[0].version;
    enum kl_rc rc;

    if (t->record.count == 0) {
        return kl_err_set(err, KL_ERR_NOT_FOUND, "there is no candidate to give up");
    }
    rc = discard(t, pad, oldest, oldest, err);
    if (!rc) {
        *version = oldest;
    }
    return rc;
}

const char *kl_terminal_state_name(enum kl_terminal_state state)
{
    static const char *const names[] = {
        [KL_TERMINAL_UNCONFIRMED] = "unconfirmed",
        [KL_TERMINAL_ACTIVE] = "active",
        [KL_TERMINAL_STRAY] = "stray",
        [KL_TERMINAL_MISSING] = "missing",
        [KL_TERMINAL_LOST] = "lost",
    };

    return names[state];
}

/* The pad's TMKs, and a record that was the same before and after they were listed: a load may be
 * under way meanwhile. */
static enum kl_rc look_twice(const struct kl_terminal_home *t, struct kl_pinpad *pad,
                             struct kl_record *record, struct held *held, struct kl_err *err)
{
    char before[KL_RECORD_TEXT_MAX], after[KL_RECORD_TEXT_MAX];
    int tries;
    enum kl_rc rc = read_record(t, record, err);

    for (tries = 0; !rc && tries < LOOKS_MAX; tries++) {
        kl_record_format(record, before);
        rc = look(pad, held, err);
        if (!rc) {
            rc = read_record(t, record, err);
        }
        if (rc) {
            break;
        }
        kl_record_format(record, after);
        if (strcmp(before, after) == 0) {
            return KL_OK;
        }
    }
    return rc ? rc : kl_err_set(err, KL_ERR_BUSY, "another command works in %s; try again", t->dir);
}

static int by_version(const void *a, const void *b)
{
    uint32_t left = ((const struct kl_terminal_tmk *)a)->tmk.version,
             right = ((const struct kl_terminal_tmk *)b)->tmk.version;

    return (left > right) - (left < right);
}

enum kl_rc kl_terminal_list(const struct kl_terminal_home *t, struct kl_pinpad *pad,
                            struct kl_terminal_tmk out[KL_TERMINAL_TMK_MAX], size_t *count,
                            struct kl_err *err)
{
    struct kl_record record;
    struct held held;
    size_t i, n = 0;
    enum kl_rc rc = look_twice(t, pad, &record, &held, err);

    if (rc) {
        return rc;
    }
    for (i = 0; i < held.count; i++) {
        out[n].tmk = held.tmks[i];
        out[n++].state = judge(&record, &held.tmks[i]);
    }
    if (record.active.version && !holds(&held, &record.active)) {
        out[n].tmk = record.active;
        out[n++].state = KL_TERMINAL_MISSING;
    }
    for (i = 0; i < record.count; i++) {
        /* One that is not whole was never there, or is meant to be gone. */
        if (record.candidates[i].whole && !holds_candidate(&held, &record.candidates[i])) {
            out[n].tmk = tmk_of(&record.candidates[i]);
            out[n++].state = KL_TERMINAL_LOST;
        }
    }
    qsort(out, n, sizeof(*out), by_version);
    *count = n;
    return KL_OK;
}

/* The highest version of a TMK on record; 0 if there is none. Not that of one that was given up:
 * the loader may have been set back to a store that never goes so far. */
static uint32_t highest(const struct kl_record *record)
{
    return record->count > 0 ? record->candidates[record->count - 1].version
                             : record->active.version;
}

enum kl_rc kl_terminal_record(struct kl_terminal_home *t, const struct kl_candidate *candidate,
                              struct kl_err *err)
{
    struct kl_record record = t->record;

    if (record.count > 0) {
        const struct kl_candidate *last = &record.candidates[record.count - 1];

        record.count -= last->version == candidate->version && !last->whole; /* it is whole now */
    }
    if (record.count == KL_CANDIDATES_MAX) {
        return kl_err_set(err, KL_ERR_REFUSED, "%d candidates await the loader's word already",
                          KL_CANDIDATES_MAX);
    }
    if (highest(&record) >= candidate->version) {
        return kl_err_set(err, KL_ERR_EXISTS,
                          "TMK version %" PRIu32 " is on record already; the loader sent version "
                          "%" PRIu32,
                          highest(&record), candidate->version);
    }
    record.candidates[record.count++] = *candidate;
    return replace_record(t, &record, err);
}

/* The record decides: the moment it is rewritten, the candidate is the TMK in use. */
static enum kl_rc activate(struct kl_terminal_home *t, struct kl_pinpad *pad, uint32_t version,
                           struct kl_err *err)
{
    struct kl_record record = t->record;
    struct held held;
    size_t i;
    enum kl_rc rc = look(pad, &held, err);

    if (rc) {
        return rc;
    }
    record.count = 0;
    for (i = 0; i < t->record.count; i++) {
        const struct kl_candidate *candidate = &t->record.candidates[i];

        if (candidate->version > version) { /* it may still be confirmed */
            record.candidates[record.count++] = *candidate;
        } else if (candidate->version == version && candidate->whole) {
            record.active = tmk_of(candidate);
        }
    }
    if (record.active.version != version || !holds(&held, &record.active)) {
        return kl_err_set(err, KL_ERR_KEY,
                          "the loader counts TMK version %" PRIu32 " as active, but the PIN pad "
                          "does not hold it: arm the terminal and load afresh (--fresh)",
                          version);
    }
    if (version != t->record.active.version) { /* working keys are the old one's */
        memset(&record.keys, 0, sizeof(record.keys));
        record.keys_in_doubt = 0;
    }
    record.abandoned = 0; /* older than any candidate: superseded, if it ever was active */
    rc = replace_record(t, &record, err);
    return rc ? rc : destroy_strays(t, pad, err);
}

enum kl_rc kl_terminal_settle(struct kl_terminal_home *t, struct kl_pinpad *pad, uint32_t version,
                              enum kl_verdict verdict, struct kl_err *err)
{
    return verdict == KL_VERDICT_ACTIVE ? activate(t, pad, version, err)
                                        : discard(t, pad, version, t->record.abandoned, err);
}

enum kl_rc kl_terminal_doubt_keys(struct kl_terminal_home *t, struct kl_err *err)
{
    struct kl_record record = t->record;

    record.keys_in_doubt = 1;
    return replace_record(t, &record, err);
}

enum kl_rc kl_terminal_take_keys(struct kl_terminal_home *t, struct kl_pinpad *pad,
                                 const struct kl_pinpad_pair *pair, struct kl_err *err)
{
    struct kl_record record = t->record;
    int there = 0;
    enum kl_rc rc = kl_pinpad_has_pair(pad, pair, &there, err);

    if (!rc && !there) {
        rc = kl_err_set(err, KL_ERR_KEY, "the PIN pad does not hold the new working keys");
    }
    if (!rc && pair->tmk_version != record.active.version) {
        rc = kl_err_set(err, KL_ERR_VERIFY,
                        "the working keys are of TMK version %" PRIu32 ", not of the one in use",
                        pair->tmk_version);
    }
    if (rc) {
        return rc;
    }
    record.keys = *pair;
    record.keys_in_doubt = 0;
    rc = replace_record(t, &record, err);
    return rc ? rc : kl_pinpad_prune(pad, pair->number, err);
}

enum kl_rc kl_terminal_drop_keys(struct kl_terminal_home *t, struct kl_pinpad *pad,
                                 struct kl_err *err)
{
    return kl_pinpad_prune(pad, t->record.keys.number, err);
}
