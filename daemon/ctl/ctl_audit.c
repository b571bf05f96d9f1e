/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl audit: what has happened, and proof that nobody has tampered with the record of it.
 * `verify` needs neither HSM nor configuration where files are named.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/audit/audit_archive.h"
#include "daemon/audit/audit_check.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_audit_key.h"
#include "daemon/ctl/ctl_channel.h"
#include "daemon/ctl/ctl_store.h"
#include "daemon/ctl/ctl_terminal.h"
#include "daemon/life/life_impl.h"

#define FINDINGS_SHOWN 1000
#define ARCHIVES_MAX 1000
#define ARCHIVE_RECORDS 50000 /* in one archive, about: removing them keeps the daemon waiting */

/* ---- list ---- */

static void next_record(json_t *params, const json_t *last)
{
    (void)json_object_del(params, "last");
    kl_ctl_next_id(params, last);
}

static enum kl_rc audit_list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {8, 20, 16, 20, 16, 0};
    unsigned last = 0;
    const struct kl_option options[] = {{"--last", .number = &last, .min = 1, .max = 1000000000},
                                        {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    return rc == KL_OK
               ? kl_ctl_print_each(ctl, "audit-list",
                                   last ? json_pack("{s:i}", "last", (int)last) : json_object(),
                                   "records", next_record, widths, err)
               : rc;
}

/* ---- head ---- */

static enum kl_rc audit_head(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    char text[KL_AUDIT_HEAD_TEXT];
    uint8_t hash[KL_HASH_LEN];
    struct kl_store *store = NULL;
    uint64_t id = 0;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, NULL, "", err)) == KL_OK &&
        (rc = kl_ctl_store_open(&ctl->config, KL_STORE_READ, &store, err)) == KL_OK &&
        (rc = kl_store_audit_head(store, &id, hash, err)) == KL_OK) {
        kl_audit_head_format(id, hash, text);
        if (ctl->json) {
            rc = kl_report_print(json_pack("{s:s}", "head", text), 1, err);
        } else {
            puts(text);
        }
    }
    kl_store_free(store);
    return rc;
}

/* ---- verify ---- */

struct verify {
    const char *store, *archives[ARCHIVES_MAX];
    size_t archive_count;
    const char *keys[KL_AUDIT_KEYS_MAX];
    size_t key_count;
    struct kl_audit_known known;
    json_t *findings;
    char first[300]; /* the first finding, for the error */
};

static enum kl_rc take_archive(const char *value, void *out, struct kl_err *err)
{
    struct verify *v = out;

    if (v->archive_count == ARCHIVES_MAX) {
        return kl_err_set(err, KL_ERR_USAGE, "more than %d archives", ARCHIVES_MAX);
    }
    v->archives[v->archive_count++] = value;
    return KL_OK;
}

static enum kl_rc take_key(const char *value, void *out, struct kl_err *err)
{
    struct verify *v = out;

    if (v->key_count == KL_AUDIT_KEYS_MAX) {
        return kl_err_set(err, KL_ERR_USAGE, "more than %d keys", KL_AUDIT_KEYS_MAX);
    }
    v->keys[v->key_count++] = value;
    return KL_OK;
}

static enum kl_rc load_keys(struct verify *v, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < v->key_count && rc == KL_OK; i++) {
        rc = kl_audit_known_keys(&v->known, v->keys[i], err);
    }
    return rc;
}

static enum kl_rc take_head(const char *value, void *out, struct kl_err *err)
{
    return kl_audit_known_head(&((struct verify *)out)->known, value, err);
}

static void on_finding(const char *source, uint64_t id, const char *what, void *arg)
{
    struct verify *v = arg;

    if (json_array_size(v->findings) >= FINDINGS_SHOWN) {
        return;
    }
    if (!v->first[0] && id > 0) {
        snprintf(v->first, sizeof(v->first), "record %" PRIu64 " %.250s", id, what);
    } else if (!v->first[0]) {
        snprintf(v->first, sizeof(v->first), "%.290s", what);
    }
    (void)json_array_append_new(v->findings,
                                json_pack("{s:s, s:o, s:s}", "file", source, "record",
                                          id > 0 ? json_integer((json_int_t)id) : json_null(),
                                          "what", what));
}

static enum kl_rc verify_files(struct verify *v, struct kl_audit_check *check, struct kl_err *err)
{
    struct kl_store *store = NULL;
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < v->archive_count && rc == KL_OK; i++) {
        rc = kl_audit_archive_read(v->archives[i], check, err);
    }
    if (rc == KL_OK && v->store &&
        (rc = kl_store_open(v->store, KL_STORE_READ, &store, err)) == KL_OK) {
        rc = kl_audit_check_store(check, v->store, store, err);
    }
    kl_store_free(store);
    return rc;
}

static json_t *verdict(const struct verify *v, const struct kl_audit_result *r)
{
    char head[KL_AUDIT_HEAD_TEXT];

    kl_audit_head_format(r->last, r->hash, head);
    return json_pack("{s:b, s:s, s:I, s:I, s:I, s:s, s:I, s:b, s:I, s:o, s:I, s:O}", "whole",
                     r->findings == 0, "store_id", r->store_id, "first", (json_int_t)r->first,
                     "last", (json_int_t)r->last, "records", (json_int_t)r->records, "head", head,
                     "checkpoints", (json_int_t)r->checkpoints, "signatures_checked",
                     v->known.key_count > 0, "covered_to", (json_int_t)r->signed_to, "covered_at",
                     kl_report_time(r->signed_at), "problems", (json_int_t)r->findings, "findings",
                     v->findings);
}

static enum kl_rc verify(struct verify *v, int as_json, struct kl_err *err)
{
    struct kl_audit_check *check = NULL;
    const struct kl_audit_result *result;
    enum kl_rc rc = kl_audit_check_new(&v->known, on_finding, v, &check, err);

    if (rc != KL_OK) {
        return rc;
    }
    result = kl_audit_check_result(check);
    if ((rc = verify_files(v, check, err)) == KL_OK) {
        kl_audit_check_end(check);
        rc = kl_report_print(verdict(v, result), as_json, err);
    }
    if (rc == KL_OK && result->findings > 0) {
        rc = kl_err_set(err, KL_ERR_VERIFY, "the audit trail is not whole (%" PRIu64 " %s): %s",
                        result->findings, result->findings == 1 ? "problem" : "problems, first",
                        v->first);
    }
    kl_audit_check_free(check);
    return rc;
}

enum kl_rc kl_ctl_audit_verify(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct verify v = {.findings = json_array()};
    const struct kl_option options[] = {{"--store", .text = &v.store},
                                        {"--archive", .take = take_archive, .out = &v},
                                        {"--key", .take = take_key, .out = &v},
                                        {"--expect", .take = take_head, .out = &v},
                                        {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc == KL_OK) {
        rc = load_keys(&v, err);
    }
    if (rc == KL_OK && !v.store && v.archive_count == 0 &&
        (rc = kl_config_load(ctl->config_path, &ctl->config, err)) == KL_OK) {
        v.store = ctl->config.store;
    }
    if (rc == KL_OK) {
        rc = verify(&v, ctl->json, err);
    }
    kl_audit_known_wipe(&v.known);
    json_decref(v.findings);
    return rc;
}

/* ---- archive ---- */

/* Up to which checkpoint: the last one (of those that syslog has, if it is to have all), or the
 * last of as many records as one archive takes. */
static enum kl_rc choose(struct kl_store *store, int syslog, struct kl_checkpoint *out, int *more,
                         struct kl_err *err)
{
    struct kl_audit_state state;
    struct kl_checkpoint last = {0};
    enum kl_rc rc = kl_store_audit_state(store, &state, err);

    if (rc == KL_OK) {
        rc = syslog && state.forwarded == 0
                 ? KL_ERR_NOT_FOUND
                 : kl_store_checkpoint_last(store, syslog ? state.forwarded : 0, &last, err);
    }
    if (rc == KL_ERR_NOT_FOUND || (rc == KL_OK && last.id <= state.archived_to)) {
        return kl_err_set(err, KL_ERR_NOT_FOUND,
                          "there is nothing to archive: no checkpoint covers records that are not "
                          "in an archive yet%s; the daemon sees to that",
                          syslog ? " and have gone to syslog" : "");
    }
    if (rc != KL_OK) {
        return rc;
    }
    *out = last;
    *more = 0;
    if (last.id - state.archived_to > ARCHIVE_RECORDS) {
        rc = kl_store_checkpoint_last(store, state.archived_to + ARCHIVE_RECORDS, out, err);
        if (rc == KL_OK && out->id <= state.archived_to) {
            *out = last;
        }
        *more = out->id < last.id;
    }
    return rc;
}

static enum kl_rc write_archive(struct kl_store *store, int syslog, const char *path,
                                struct kl_checkpoint *to, int *more, struct kl_err *err)
{
    enum kl_rc rc = kl_store_begin(store, err);

    if (rc == KL_OK) {
        rc = choose(store, syslog, to, more, err);
        if (rc == KL_OK) {
            rc = kl_audit_archive_write(store, to, path, err);
        }
        kl_store_rollback(store);
    }
    return rc;
}

/* What the disk holds now, not what was meant to be written. */
static enum kl_rc verify_archive(struct verify *v, const char *path, uint64_t to,
                                 struct kl_err *err)
{
    struct kl_audit_check *check = NULL;
    enum kl_rc rc = kl_audit_check_new(&v->known, on_finding, v, &check, err);

    if (rc == KL_OK && (rc = kl_audit_archive_read(path, check, err)) == KL_OK) {
        kl_audit_check_end(check);
        if (kl_audit_check_result(check)->findings > 0) {
            rc = kl_err_set(err, KL_ERR_VERIFY, "%s: nothing is archived: %s", path, v->first);
        } else if (kl_audit_check_result(check)->last != to) {
            rc = kl_err_set(err, KL_ERR_VERIFY, "%s: nothing is archived: it ends too early", path);
        }
    }
    kl_audit_check_free(check);
    return rc;
}

static enum kl_rc remove_archived(struct kl_store *store, const struct kl_checkpoint *to,
                                  const char *path, uint64_t *count, struct kl_err *err)
{
    char head[KL_AUDIT_HEAD_TEXT];
    enum kl_rc rc = kl_store_begin(store, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_audit_head_format(to->id, to->hash, head);
    rc = kl_store_audit_archived(store, to, count, err);
    if (rc == KL_OK) {
        rc = kl_life_audit(store, (int64_t)time(NULL), "audit-archived", "",
                           KL_LIFE_FIELDS(KL_STR("to", head), KL_NUM("records", *count),
                                          KL_STR("file", kl_file_name(path))),
                           err);
    }
    return kl_ctl_finish(store, rc, err);
}

static enum kl_rc archive(struct kl_ctl *ctl, struct verify *v, const char *path,
                          struct kl_err *err)
{
    struct kl_checkpoint to = {0};
    struct kl_store *store = NULL;
    char head[KL_AUDIT_HEAD_TEXT];
    uint64_t count = 0;
    int more = 0;
    enum kl_rc rc = kl_ctl_store_open(&ctl->config, KL_STORE_WRITE, &store, err);

    if (rc == KL_OK && (rc = write_archive(store, ctl->config.audit_syslog != 0, path, &to, &more,
                                           err)) == KL_OK) {
        rc = verify_archive(v, path, to.id, err);
        if (rc != KL_OK) {
            (void)unlink(path);
        } else { /* from here on it may be all that there is of them */
            rc = remove_archived(store, &to, path, &count, err);
        }
    }
    kl_store_free(store);
    if (rc != KL_OK) {
        return rc;
    }
    kl_audit_head_format(to.id, to.hash, head);
    return kl_report_print(json_pack("{s:s, s:I, s:s, s:b}", "file", path, "records",
                                     (json_int_t)count, "to", head, "more", more),
                           ctl->json, err);
}

static enum kl_rc audit_archive(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct verify v = {.findings = json_array()};
    const char *path = NULL;
    const struct kl_option options[] = {{"--out", 1, .text = &path},
                                        {"--key", .take = take_key, .out = &v},
                                        {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc == KL_OK) {
        rc = load_keys(&v, err);
    }
    if (rc == KL_OK) {
        rc = archive(ctl, &v, path, err);
    }
    kl_audit_known_wipe(&v.known);
    json_decref(v.findings);
    return rc;
}

const struct kl_ctl_command kl_ctl_audit_commands[] = {
    {"audit", "list", audit_list, "[--last N]",
     "what has happened to terminals and TMKs, oldest first; the last N records (default all)"},
    {"audit", "head", audit_head, "",
     "the last record's ID:HASH: who keeps that elsewhere can prove later what was there"},
    {"audit", "verify", kl_ctl_audit_verify,
     "[--archive FILE]... [--store FILE] [--key FILE]... [--expect ID:HASH]...",
     "checks that no record was changed, removed, put in or cut off; with --key (PEM) that the\n"
     "      checkpoints are the audit key's, with --expect that a head is there. Without files:\n"
     "      of the configured store; with them, without configuration and HSM"},
    {"audit", "key", kl_ctl_audit_key_command, "generate|show|export [--out FILE|-] [--force]",
     "the key in the HSM that signs checkpoints: makes it if there is none, shows it, or writes\n"
     "      its public half (PEM), which is what audit verify --key takes"},
    {"audit", "archive", audit_archive, "--out FILE [--key FILE]...",
     "moves the records up to the last checkpoint out of the store into a file, verified first"},
    {0},
};
