/* SPDX-License-Identifier: BSD-2-Clause */
/* The terminal's folder in use: opening it, its PIN pad, and the record of candidates. */
#include "terminal-sim/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "terminal-sim/folder.h"

struct kl_terminal_home {
    char dir[PATH_MAX];
    int lock; /* terminal.conf, flock()ed; -1 = not exclusive */
    struct kl_folder_conf conf;
    X509 *root; /* AcquireRCRT */
    size_t candidate_count;
    struct kl_candidate candidates[KL_CANDIDATES_MAX];
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

static enum kl_rc read_candidates(const struct kl_terminal_home *t,
                                  struct kl_candidate list[KL_CANDIDATES_MAX], size_t *count,
                                  struct kl_err *err)
{
    char path[PATH_MAX], *text = NULL;
    size_t len;
    enum kl_rc rc = kl_folder_path(t->dir, KL_FOLDER_CANDIDATE, path, err);

    if (rc) {
        return rc;
    }
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        *count = 0;
        return KL_OK; /* anything else is an error: a candidate must not be forgotten */
    }
    rc = kl_file_read(path, KL_CANDIDATE_TEXT_MAX, &text, &len, err);
    if (!rc && strlen(text) != len) {
        rc = kl_err_set(err, KL_ERR_INPUT, "it holds a NUL");
    }
    if (!rc) {
        rc = kl_candidate_parse(text, list, count, err);
    }
    free(text);
    return rc ? kl_err_context(err, "%s", path) : KL_OK;
}

static enum kl_rc write_candidates(const struct kl_terminal_home *t,
                                   const struct kl_candidate *list, size_t count,
                                   struct kl_err *err)
{
    char path[PATH_MAX], text[KL_CANDIDATE_TEXT_MAX];
    size_t len;
    enum kl_rc rc = kl_folder_path(t->dir, KL_FOLDER_CANDIDATE, path, err);

    if (rc) {
        return rc;
    }
    if (count == 0) {
        return kl_file_remove(path, err);
    }
    len = kl_candidate_format(list, count, text);
    return kl_file_write(path, text, len, 0600, 1, err);
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
    }
    if (!rc) {
        rc = kl_folder_load_conf(path, &t->conf, err);
    }
    if (!rc) {
        rc = kl_folder_path(dir, KL_FOLDER_ROOT, path, err);
    }
    if (!rc) {
        rc = kl_cert_load_one(path, &t->root, err);
    }
    if (!rc) {
        rc = read_candidates(t, t->candidates, &t->candidate_count, err);
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
    X509_free(t->root);
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

X509 *kl_terminal_root(const struct kl_terminal_home *t)
{
    return t->root;
}

enum kl_rc kl_terminal_open_pinpad(const struct kl_terminal_home *t, struct kl_pinpad **out,
                                   struct kl_err *err)
{
    if (t->conf.kind == KL_PINPAD_MEMORY) {
        return kl_pinpad_memory_new(out, err);
    }
    return kl_pinpad_token_open(t->conf.module, t->conf.token, t->conf.pin_source, out, err);
}

/* Makes the list the record, durably, and only then ours. */
static enum kl_rc replace_candidates(struct kl_terminal_home *t, const struct kl_candidate *list,
                                     size_t count, struct kl_err *err)
{
    enum kl_rc rc = write_candidates(t, list, count, err);

    if (!rc) {
        memcpy(t->candidates, list, count * sizeof(list[0]));
        t->candidate_count = count;
    }
    return rc;
}

static int holds(const struct kl_pinpad_tmk *tmks, size_t count, uint32_t version)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (tmks[i].version == version) {
            return 1;
        }
    }
    return 0;
}

static int on_record(const struct kl_candidate *list, size_t count, uint32_t version)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (list[i].version == version) {
            return 1;
        }
    }
    return 0;
}

/* The highest version that is in use: held, and not on record. 0 if there is none. */
static uint32_t in_use(const struct kl_pinpad_tmk *tmks, size_t count,
                       const struct kl_candidate *list, size_t list_count)
{
    size_t i = count;

    while (i > 0 && on_record(list, list_count, tmks[i - 1].version)) {
        i--;
    }
    return i > 0 ? tmks[i - 1].version : 0;
}

/* Destroys what the TMK in use has superseded: what is of a lower version and not on record. */
static enum kl_rc destroy_superseded(const struct kl_terminal_home *t, struct kl_pinpad *pad,
                                     struct kl_err *err)
{
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t i, count = 0;
    uint32_t used = 0;
    enum kl_rc rc = kl_pinpad_list(pad, tmks, &count, err);

    if (!rc) {
        used = in_use(tmks, count, t->candidates, t->candidate_count);
    }
    for (i = 0; !rc && i < count && tmks[i].version < used; i++) {
        if (!on_record(t->candidates, t->candidate_count, tmks[i].version)) {
            rc = kl_pinpad_destroy(pad, tmks[i].version, err);
        }
    }
    return rc;
}

/* The candidates but this one. */
static enum kl_rc take_off(struct kl_terminal_home *t, uint32_t version, struct kl_err *err)
{
    struct kl_candidate left[KL_CANDIDATES_MAX];
    size_t i, count = 0;

    for (i = 0; i < t->candidate_count; i++) {
        if (t->candidates[i].version != version) {
            left[count++] = t->candidates[i];
        }
    }
    return replace_candidates(t, left, count, err);
}

/* What the pad holds of a candidate that came to nothing. */
static enum kl_rc destroy_candidate(struct kl_pinpad *pad, uint32_t version, struct kl_err *err)
{
    enum kl_rc rc = kl_pinpad_destroy(pad, version, err);

    return rc == KL_ERR_NOT_FOUND ? KL_OK : rc; /* never written, or destroyed before a crash */
}

enum kl_rc kl_terminal_recover(struct kl_terminal_home *t, struct kl_pinpad *pad,
                               struct kl_err *err)
{
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    struct kl_candidate left[KL_CANDIDATES_MAX];
    size_t i, count = 0, left_count = 0;
    enum kl_rc rc = kl_pinpad_list(pad, tmks, &count, err);

    for (i = 0; !rc && i < t->candidate_count; i++) {
        const struct kl_candidate *candidate = &t->candidates[i];

        if (!candidate->whole) {
            rc = destroy_candidate(pad, candidate->version, err);
        } else if (holds(tmks, count, candidate->version)) {
            left[left_count++] = *candidate;
        }
    }
    /* Written even if nothing changed: a record that was read may be one whose writing failed at
     * the last step, and be gone after the next crash. */
    if (!rc && t->candidate_count > 0) {
        rc = replace_candidates(t, left, left_count, err);
    }
    return rc ? rc : destroy_superseded(t, pad, err);
}

size_t kl_terminal_candidates(const struct kl_terminal_home *t, const struct kl_candidate **out)
{
    *out = t->candidates;
    return t->candidate_count;
}

const char *kl_terminal_state_name(enum kl_terminal_state state)
{
    static const char *const names[] = {
        [KL_TERMINAL_UNCONFIRMED] = "unconfirmed",
        [KL_TERMINAL_ACTIVE] = "active",
        [KL_TERMINAL_SUPERSEDED] = "superseded",
    };

    return names[state];
}

enum kl_rc kl_terminal_list(const struct kl_terminal_home *t, struct kl_pinpad *pad,
                            struct kl_terminal_tmk out[KL_PINPAD_TMK_MAX], size_t *count,
                            struct kl_err *err)
{
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    struct kl_candidate list[KL_CANDIDATES_MAX];
    size_t i, n = 0, list_count = 0;
    uint32_t used;
    enum kl_rc rc = kl_pinpad_list(pad, tmks, &n, err);

    /* In this order: a load under way meanwhile makes its record before its TMK. */
    if (!rc) {
        rc = read_candidates(t, list, &list_count, err);
    }
    if (rc) {
        return rc;
    }
    used = in_use(tmks, n, list, list_count);
    for (i = 0; i < n; i++) {
        out[i].tmk = tmks[i];
        if (on_record(list, list_count, tmks[i].version)) {
            out[i].state = KL_TERMINAL_UNCONFIRMED;
        } else {
            out[i].state = tmks[i].version == used ? KL_TERMINAL_ACTIVE : KL_TERMINAL_SUPERSEDED;
        }
    }
    *count = n;
    return KL_OK;
}

enum kl_rc kl_terminal_record(struct kl_terminal_home *t, const struct kl_candidate *candidate,
                              struct kl_err *err)
{
    struct kl_candidate list[KL_CANDIDATES_MAX];
    size_t count = t->candidate_count;

    memcpy(list, t->candidates, sizeof(list));
    if (count > 0 && list[count - 1].version == candidate->version && !list[count - 1].whole) {
        count--; /* it is whole now */
    }
    if (count == KL_CANDIDATES_MAX) {
        return kl_err_set(err, KL_ERR_REFUSED, "%d candidates await the loader's word already",
                          KL_CANDIDATES_MAX);
    }
    if (count > 0 && list[count - 1].version >= candidate->version) {
        return kl_err_set(err, KL_ERR_EXISTS,
                          "a candidate of TMK version %" PRIu32 " awaits the loader's word already",
                          list[count - 1].version);
    }
    list[count++] = *candidate;
    return replace_candidates(t, list, count, err);
}

/* The record decides: the moment it is rewritten, the candidate is the TMK in use. */
static enum kl_rc activate(struct kl_terminal_home *t, struct kl_pinpad *pad, uint32_t version,
                           struct kl_err *err)
{
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    struct kl_candidate left[KL_CANDIDATES_MAX];
    size_t i, count = 0, left_count = 0;
    enum kl_rc rc = kl_pinpad_list(pad, tmks, &count, err);

    if (rc) {
        return rc;
    }
    if (!holds(tmks, count, version)) {
        rc = take_off(t, version, err);
        return rc ? rc
                  : kl_err_set(err, KL_ERR_KEY,
                               "the loader counts TMK version %" PRIu32 " as active, but the PIN "
                               "pad does not hold it: arm the terminal and load afresh",
                               version);
    }
    /* A younger candidate may still be confirmed. A younger one in use would win over this one. */
    for (i = 0; !rc && i < count; i++) {
        if (tmks[i].version > version &&
            !on_record(t->candidates, t->candidate_count, tmks[i].version)) {
            rc = kl_pinpad_destroy(pad, tmks[i].version, err);
        }
    }
    for (i = 0; i < t->candidate_count; i++) {
        if (t->candidates[i].version > version) {
            left[left_count++] = t->candidates[i];
        }
    }
    if (!rc) {
        rc = replace_candidates(t, left, left_count, err);
    }
    return rc ? rc : destroy_superseded(t, pad, err);
}

enum kl_rc kl_terminal_settle(struct kl_terminal_home *t, struct kl_pinpad *pad, uint32_t version,
                              enum kl_verdict verdict, struct kl_err *err)
{
    enum kl_rc rc;

    if (verdict == KL_VERDICT_ACTIVE) {
        return activate(t, pad, version, err);
    }
    /* The record last: without it the TMK would be in use. */
    rc = destroy_candidate(pad, version, err);
    return rc ? rc : take_off(t, version, err);
}
