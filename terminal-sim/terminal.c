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

#include "conf/cli.h"
#include "conf/ini.h"
#include "proto/cert.h"
#include "terminal-sim/folder.h"

struct kl_terminal_home {
    char dir[PATH_MAX];
    int lock; /* terminal.conf, flock()ed; -1 = not exclusive */
    struct kl_folder_conf conf;
    STACK_OF(X509) * roots; /* exactly one: AcquireRCRT */
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
        rc = kl_folder_load_root(path, &t->roots, err);
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

X509 *kl_terminal_root(const struct kl_terminal_home *t)
{
    return sk_X509_value(t->roots, 0);
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

/* Drops the records that lack their key. Written even if none does: a record that was read may be
 * one whose writing failed at the last step, and be gone after the next crash. */
static enum kl_rc clean_record(struct kl_terminal_home *t, const struct kl_pinpad_tmk *tmks,
                               size_t tmk_count, struct kl_err *err)
{
    struct kl_candidate left[KL_CANDIDATES_MAX];
    size_t i, count = 0;

    if (t->candidate_count == 0) {
        return KL_OK;
    }
    for (i = 0; i < t->candidate_count; i++) {
        if (holds(tmks, tmk_count, t->candidates[i].version)) {
            left[count++] = t->candidates[i];
        }
    }
    return replace_candidates(t, left, count, err);
}

enum kl_rc kl_terminal_recover(struct kl_terminal_home *t, struct kl_pinpad *pad,
                               struct kl_err *err)
{
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t i, count;
    uint32_t settled = 0;
    enum kl_rc rc = kl_pinpad_list(pad, tmks, &count, err);

    if (!rc) {
        rc = clean_record(t, tmks, count, err);
    }
    for (i = 0; !rc && i < count; i++) {
        int recorded = on_record(t->candidates, t->candidate_count, tmks[i].version);

        if (tmks[i].state == KL_PINPAD_ACTIVE && recorded) {
            settled = tmks[i].version; /* ends at the highest: they are sorted */
        } else if (tmks[i].state == KL_PINPAD_UNCONFIRMED && !recorded) {
            rc = kl_pinpad_destroy(pad, tmks[i].version, err);
        }
    }
    if (!rc && settled) {
        rc = kl_terminal_settle(t, pad, settled, KL_VERDICT_ACTIVE, err);
    }
    return rc;
}

size_t kl_terminal_candidates(const struct kl_terminal_home *t, const struct kl_candidate **out)
{
    *out = t->candidates;
    return t->candidate_count;
}

/* After a write that failed: takes the version off the record, unless it never came there. */
static enum kl_rc take_back(const struct kl_terminal_home *t, uint32_t version, struct kl_err *err)
{
    struct kl_candidate found[KL_CANDIDATES_MAX];
    size_t count;
    enum kl_rc rc = read_candidates(t, found, &count, err);

    if (rc || !on_record(found, count, version)) {
        return rc;
    }
    return write_candidates(t, t->candidates, t->candidate_count, err);
}

enum kl_rc kl_terminal_keep(struct kl_terminal_home *t, const struct kl_candidate *candidate,
                            int *left, struct kl_err *err)
{
    struct kl_err second = KL_ERR_INIT;
    enum kl_rc rc;

    if (t->candidate_count == KL_CANDIDATES_MAX) {
        return kl_err_set(err, KL_ERR_REFUSED, "%d candidates await the loader's word already",
                          KL_CANDIDATES_MAX);
    }
    t->candidates[t->candidate_count] = *candidate;
    rc = write_candidates(t, t->candidates, t->candidate_count + 1, err);
    if (!rc) {
        t->candidate_count++;
    } else if (take_back(t, candidate->version, &second)) {
        *left = 1;
        kl_err_context(err, "TMK version %" PRIu32 " is kept, as its record may be; run 'confirm'",
                       candidate->version);
    }
    return rc;
}

enum kl_rc kl_terminal_settle(struct kl_terminal_home *t, struct kl_pinpad *pad, uint32_t version,
                              enum kl_verdict verdict, struct kl_err *err)
{
    struct kl_candidate left[KL_CANDIDATES_MAX];
    struct kl_err second = KL_ERR_INIT;
    size_t i, count = 0;
    enum kl_rc rc = kl_candidate_settle(pad, version, verdict, err), written;

    if (rc && rc != KL_ERR_KEY) {
        return rc;
    }
    for (i = 0; i < t->candidate_count; i++) {
        if (t->candidates[i].version > version ||
            (verdict == KL_VERDICT_DROP && t->candidates[i].version != version)) {
            left[count++] = t->candidates[i];
        }
    }
    written = replace_candidates(t, left, count, &second);
    if (written) {
        *err = second;
        return written;
    }
    return rc;
}
