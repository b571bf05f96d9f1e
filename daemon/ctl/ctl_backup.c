/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl store backup and restore. A backup is looked through before it gets its name, so
 * that a file of that name is a whole and good one.
 */
#include "daemon/ctl/ctl_backup.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/control/actor.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_store.h"
#include "daemon/store/store_restore.h"
#include "daemon/store/store_sqlite.h"

void kl_ctl_found(enum kl_rc kind, const char *text, void *findings)
{
    struct kl_ctl_findings *f = findings;
    size_t name = strlen(f->file);

    (void)kind;
    if (strncmp(text, f->file, name) == 0 && strncmp(text + name, ": ", 2) == 0) {
        text += name + 2; /* an error of the store's, which names it */
    }
    fprintf(stderr, "keyloaderctl: %s: %s\n", f->file, text);
    (void)json_array_append_new(f->list, json_string(text));
}

static void tell_copying(uint64_t done, uint64_t total, void *arg)
{
    kl_progress(arg, "pages", done, total);
}

/* ---- backup ---- */

/* All cryptograms leave the store: that is recorded first, and is in the backup, too. A store that
 * takes no records (its disk is full) is backed up all the same. */
static void record(const struct kl_config *config, const char *out)
{
    struct kl_err err = KL_ERR_INIT;
    const struct kl_log_field fields[] = {KL_STR("file", out)};

    if (kl_ctl_audit(config, "store-backup", "", fields, 1, &err) != KL_OK) {
        fprintf(stderr, "keyloaderctl: warning: no audit record of this backup: %s\n", err.text);
    }
}

struct work {
    struct kl_progress progress;
    struct kl_check check;
};

static void tell_backup(uint64_t done, uint64_t total, void *work)
{
    tell_copying(done, total, &((struct work *)work)->progress);
}

static enum kl_rc look_through(const char *file, void *arg, struct kl_err *err)
{
    struct kl_check *check = &((struct work *)arg)->check;
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_store_open(file, KL_STORE_READ, &store, err);

    if (rc == KL_OK && (rc = kl_store_check(store, check, err)) == KL_OK && check->findings > 0) {
        *err = check->first;
        err->rc = rc = check->worst;
        (void)kl_err_context(err, "the store is not good, and no backup was made");
    }
    kl_store_free(store);
    return rc;
}

static enum kl_rc make_backup(const struct kl_config *config, const char *out, int force,
                              struct work *work, struct kl_err *err)
{
    const struct kl_store_copying what = {.from = config->store,
                                          .path = out,
                                          .replace = force,
                                          .tell = tell_backup,
                                          .approve = look_through,
                                          .arg = work};
    enum kl_rc rc = KL_ERR_EXISTS;

    if (force || access(out, F_OK) != 0) {
        record(config, out);
        rc = kl_store_copy_file(&what, err);
    }
    return rc == KL_ERR_EXISTS ? kl_err_set(err, rc, "%s exists; --force overwrites it", out) : rc;
}

static enum kl_rc backup(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *out = NULL;
    int force = 0;
    const struct kl_option options[] = {{"--out", 1, .text = &out},
                                        {"--force", .flag = &force},
                                        {0}};
    struct kl_ctl_findings findings = {0};
    struct work work = {.check = {.tell = kl_ctl_found, .arg = &findings}};
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc != KL_OK ||
        (rc = kl_store_open(ctl->config.store, KL_STORE_READ, &store, err)) != KL_OK) {
        return rc; /* what is no store of this version is not copied */
    }
    kl_store_free(store);
    findings.file = out;
    if (!(findings.list = json_array())) {
        return kl_err_set(err, KL_ERR_MEMORY, "report of a backup");
    }
    rc = make_backup(&ctl->config, out, force, &work, err);
    if (rc == KL_OK) {
        rc = kl_report_print(json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "store", ctl->config.store,
                                       "backup", out, "terminals", (json_int_t)work.check.terminals,
                                       "tmks", (json_int_t)work.check.tmks, "audit_records",
                                       (json_int_t)work.check.records, "verified", 1),
                             ctl->json, err);
    }
    json_decref(findings.list);
    return rc;
}

/* ---- restore ---- */

static json_t *restore_report(const struct kl_restore *restore)
{
    const struct kl_restored *r = &restore->restored;

    if (restore->keep_schema) {
        return json_pack("{s:s, s:s, s:s*}", "store", restore->path, "restored_from",
                         restore->backup, "kept", restore->kept[0] ? restore->kept : NULL);
    }
    return json_pack("{s:s, s:s, s:s*, s:I, s:I, s:I, s:I, s:I, s:I}", "store", restore->path,
                     "restored_from", restore->backup, "kept",
                     restore->kept[0] ? restore->kept : NULL, "terminals", (json_int_t)r->terminals,
                     "next_version", (json_int_t)r->floor + 1, "disarmed", (json_int_t)r->disarmed,
                     "candidates_destroyed", (json_int_t)r->candidates, "working_keys_removed",
                     (json_int_t)r->working, "terminals_behind", (json_int_t)r->behind);
}

static enum kl_rc restore(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct kl_progress progress = {0};
    struct kl_restore work = {.path = ctl->config.store, .now = (int64_t)time(NULL)};
    struct kl_ctl_findings findings = {0};
    const struct kl_option options[] = {{"--keep-schema", .flag = &work.keep_schema}, {0}};
    char actor[KL_AUDIT_ACTOR_MAX + 1];
    enum kl_rc rc = kl_options_parse(argc, argv, options, "FILE", err);

    if (rc != KL_OK) {
        return rc;
    }
    if (!(findings.list = json_array())) {
        return kl_err_set(err, KL_ERR_MEMORY, "report of a restore");
    }
    kl_actor_self(actor);
    work.backup = findings.file = argv[optind];
    work.actor = actor;
    work.tell = tell_copying;
    work.arg = &progress;
    work.check.tell = kl_ctl_found;
    work.check.arg = &findings;
    rc = kl_store_restore(&work, err);
    if (rc == KL_OK && work.unrecorded) {
        fprintf(stderr,
                "keyloaderctl: warning: the store of before took no audit record of this\n");
    }
    if (rc == KL_OK) {
        fprintf(stderr, "keyloaderctl: %s\n",
                work.keep_schema
                    ? "the store is the older keyloader's now, with every terminal armed that was: "
                      "this one brings it up to date again as soon as it writes to it"
                    : "every terminal is disarmed; `keyloaderctl report restore` shows which of "
                      "them need a load");
        rc = kl_report_print(restore_report(&work), ctl->json, err);
    }
    json_decref(findings.list);
    return rc;
}

const struct kl_ctl_command kl_ctl_backup_commands[] = {
    {"store", "backup", backup, "--out FILE [--force]",
     "a copy of the store, made while the daemon serves it, and verified; mode 0600"},
    {"store", "verify", kl_ctl_store_verify, "[FILE] [--keys]",
     "looks through the store, or a backup: the file, its schema, the audit trail's chain, the "
     "rows;\n"
     "      with --keys also every stored key, by the HSM"},
    {"store", "restore", restore, "FILE [--keep-schema]",
     "puts a backup in the store's place, which no daemon may serve meanwhile; what was there is\n"
     "      kept beside it. Every terminal is disarmed, and gets new TMK versions from then on.\n"
     "      With --keep-schema FILE is of an older keyloader, such as the copy that a migration\n"
     "      kept, and stays as it is, for going back to that keyloader"},
    {"store", "rotate-key", kl_ctl_store_rotate, "--to LABEL [--dry-run]",
     "puts every stored key under another storage key, made in the HSM if it is not there; no\n"
     "      daemon may serve the store meanwhile. Cut off, it goes on where it was when run again"},
    {"report", "restore", kl_ctl_report_restore, "",
     "after a restore: which terminals have loaded or signed in since, and which need a load"},
    {0},
};
