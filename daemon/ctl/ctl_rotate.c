/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl store rotate-key: every stored key out of one storage key and into another, inside
 * the HSM. Some rows at a time go through it and are then committed together, each saying under
 * which key it is; so what a kill cuts off, the next run goes on with.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conf/log.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl_backup.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_store.h"
#include "daemon/ctl/ctl_terminal.h"
#include "daemon/life/life_impl.h"
#include "daemon/store/store_sqlite.h"
#include "daemon/store/store_wrap.h"
#include "pkcs11/keys.h"
#include "pkcs11/stored.h"

#define ROWS 16 /* in one transaction: what a kill may cost is done again */

struct rotation {
    const struct kl_config *config;
    const char *to;
    int dry_run, made; /* made: the new key, by this run */
    struct kl_store *store;
    struct kl_hsm *hsm;
    CK_OBJECT_HANDLE from_key, to_key, binding_key;
    struct kl_wrap_state state; /* as it was found */
    char from[KL_KEY_LABEL_MAX + 1];
    struct kl_check check; /* rows that are not as keyloader wrote them */
    uint64_t total, done, rewrapped;
};

/* ---- Keys ---- */

/* KL_ERR_EXISTS says that there is one of that label: then it must be as ours are. */
static enum kl_rc find_new_key(struct rotation *r, struct kl_err *err)
{
    struct kl_session *session = kl_hsm_session(r->hsm);
    struct kl_err looked = KL_ERR_INIT;
    enum kl_rc rc;

    if (r->dry_run || r->state.to[0]) {
        return kl_storage_key_find(session, r->to, &r->to_key, err);
    }
    rc = kl_storage_key_generate(session, r->to, &looked);
    r->made = rc == KL_OK;
    if (rc != KL_OK && rc != KL_ERR_EXISTS) {
        *err = looked;
        return rc;
    }
    return kl_storage_key_find(session, r->to, &r->to_key, err);
}

static enum kl_rc find_keys(struct rotation *r, struct kl_err *err)
{
    struct kl_session *session;
    enum kl_rc rc = kl_ctl_hsm_open(r->config, !r->dry_run, &r->hsm, err);

    if (rc != KL_OK) {
        return rc;
    }
    session = kl_hsm_session(r->hsm);
    if ((rc = kl_binding_key_find(session, r->config->binding_key, &r->binding_key, err)) !=
            KL_OK ||
        (rc = kl_storage_key_find(session, r->from, &r->from_key, err)) != KL_OK) {
        return rc;
    }
    rc = find_new_key(r, err);
    if (r->dry_run && rc == KL_ERR_KEY) {
        rc = KL_OK; /* it would be made; what is there can be looked at all the same */
        r->to_key = CK_INVALID_HANDLE;
    }
    return rc;
}

/* ---- Begin and end ---- */

static enum kl_rc audit(const struct rotation *r, const char *event, struct kl_err *err)
{
    return kl_life_audit(r->store, (int64_t)time(NULL), event, "",
                         KL_LIFE_FIELDS(KL_STR("from", r->from), KL_STR("to", r->to),
                                        KL_NUM("rows", r->total),
                                        KL_STR("made", r->made ? "yes" : "no")),
                         err);
}

/* From its commit on nobody else may use the stored keys. */
static enum kl_rc begin(struct rotation *r, struct kl_err *err)
{
    enum kl_rc rc;

    if (r->dry_run) {
        return KL_OK;
    }
    if ((rc = kl_store_begin(r->store, err)) != KL_OK) {
        return rc;
    }
    rc = kl_store_rotation_begin(r->store, r->from, r->to, err);
    if (rc == KL_OK && !r->state.to[0]) {
        rc = audit(r, "storage-key-rotation", err);
    }
    return kl_ctl_finish(r->store, rc, err);
}

static enum kl_rc end(struct rotation *r, struct kl_err *err)
{
    enum kl_rc rc = kl_store_begin(r->store, err);

    if (rc != KL_OK) {
        return rc;
    }
    if ((rc = kl_store_rotation_end(r->store, err)) == KL_OK) {
        rc = audit(r, "storage-key-rotated", err);
    }
    if ((rc = kl_ctl_finish(r->store, rc, err)) == KL_OK) {
        /* The old cryptograms are not to lie in the write-ahead log. */
        rc = kl_sql_exec(r->store, "PRAGMA wal_checkpoint(TRUNCATE)", "wal_checkpoint", err);
    }
    return rc;
}

/* ---- Rows ---- */

/* *good 0: it is not as keyloader wrote it, which is a finding. */
static enum kl_rc rewrap(struct rotation *r, const struct kl_wrapped *row, struct kl_wrapped *out,
                         int *good, struct kl_err *err)
{
    struct kl_session *session = kl_hsm_session(r->hsm);
    enum kl_rc rc = KL_OK;

    *out = *row;
    *good = 1;
    for (size_t i = 0; i < row->count && rc == KL_OK; i++) {
        const struct kl_binding_of what = {kl_wrapped_kind(row, i), row->serial, row->version,
                                           &row->keys[i]};

        rc = r->to_key == CK_INVALID_HANDLE
                 ? kl_stored_key_check(session, r->from_key, r->binding_key, &what, err)
                 : kl_stored_key_rewrap(session, r->from_key, r->to_key, r->binding_key, &what,
                                        &out->keys[i], err);
        if (rc == KL_ERR_STORE) {
            kl_check_found(&r->check, KL_ERR_VERIFY, "%s", err->text);
            *good = 0;
            return KL_OK;
        }
    }
    return rc;
}

/* What an operator changed in between stays as it is now, and is met again if it needs to be. */
static enum kl_rc put_all(struct rotation *r, const struct kl_wrapped *before,
                          const struct kl_wrapped *after, const int *good, size_t count,
                          struct kl_err *err)
{
    enum kl_rc rc = kl_store_begin(r->store, err);
    int done = 0;

    if (rc != KL_OK) {
        return rc;
    }
    for (size_t i = 0; i < count && rc == KL_OK; i++) {
        if (good[i] &&
            (rc = kl_store_rotation_put(r->store, &before[i], &after[i], &done, err)) == KL_OK) {
            r->rewrapped += done != 0;
        }
    }
    return kl_ctl_finish(r->store, rc, err);
}

static enum kl_rc one_batch(struct rotation *r, const struct kl_wrapped *rows, size_t count,
                            struct kl_progress *progress, struct kl_err *err)
{
    struct kl_wrapped fresh[ROWS];
    int good[ROWS];
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < count && rc == KL_OK; i++) {
        rc = rewrap(r, &rows[i], &fresh[i], &good[i], err);
        kl_progress(progress, "rows", ++r->done, r->total);
    }
    return rc == KL_OK && !r->dry_run ? put_all(r, rows, fresh, good, count, err) : rc;
}

static enum kl_rc all_batches(struct rotation *r, struct kl_err *err)
{
    struct kl_progress progress = {0};
    struct kl_wrapped rows[ROWS];
    size_t count = 0;
    enum kl_rc rc = kl_store_wrapped(r->store, r->state.generation, NULL, rows, ROWS, &count, err);

    while (rc == KL_OK && count > 0) {
        if ((rc = one_batch(r, rows, count, &progress, err)) == KL_OK) {
            rc = kl_store_wrapped(r->store, r->state.generation, &rows[count - 1], rows, ROWS,
                                  &count, err);
        }
    }
    return rc;
}

/* ---- The command ---- */

static enum kl_rc check_wish(const struct rotation *r, struct kl_err *err)
{
    if (r->state.to[0] && strcmp(r->state.to, r->to) != 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "a rotation to \"%s\" is half done: finish that first", r->state.to);
    }
    if (strcmp(r->from, r->to) == 0) {
        return kl_err_set(err, KL_ERR_REFUSED, "\"%s\" is the storage key of this store", r->to);
    }
    return KL_OK;
}

/* Looking needs no claim, changing does. */
static enum kl_rc open_store(struct rotation *r, struct kl_err *err)
{
    enum kl_rc rc =
        kl_ctl_store_open(r->config, r->dry_run ? KL_STORE_READ : KL_STORE_WRITE, &r->store, err);

    if (rc == KL_OK && !r->dry_run && (rc = kl_store_claim(r->store, err)) == KL_ERR_BUSY) {
        return kl_err_set(err, rc,
                          "keyloaderd serves this store: let it finish and stop it first "
                          "(systemctl stop keyloaderd, or SIGTERM)");
    }
    if (rc != KL_OK || (rc = kl_store_wrap_state(r->store, &r->state, err)) != KL_OK) {
        return rc;
    }
    snprintf(r->from, sizeof(r->from), "%s",
             r->state.label[0] ? r->state.label : r->config->storage_key);
    if ((rc = check_wish(r, err)) != KL_OK) {
        return rc;
    }
    return kl_store_wrapped_count(r->store, r->state.generation, &r->total, err);
}

static enum kl_rc work(struct rotation *r, struct kl_err *err)
{
    enum kl_rc rc;

    if ((rc = open_store(r, err)) != KL_OK || (rc = find_keys(r, err)) != KL_OK ||
        (rc = begin(r, err)) != KL_OK || (rc = all_batches(r, err)) != KL_OK) {
        return rc;
    }
    if (r->check.findings > 0) {
        *err = r->check.first;
        (void)kl_err_context(err,
                             "%" PRIu64 " keys are not as keyloader wrote them, and stay under "
                             "\"%s\"; revoke those TMKs (tmk revoke), cancel those imports (tmk "
                             "cancel)%s; the first",
                             r->check.findings, r->from, r->dry_run ? "" : ", and run this again");
        return err->rc;
    }
    return r->dry_run ? KL_OK : end(r, err);
}

static enum kl_rc report(const struct rotation *r, int json, struct kl_err *err)
{
    if (!r->dry_run && strcmp(r->config->storage_key, r->to) != 0) {
        fprintf(stderr,
                "keyloaderctl: now set [hsm] storage-key = %s; keyloaderd does not start before. "
                "Keep \"%s\" in the HSM: backups of before need it\n",
                r->to, r->from);
    }
    return kl_report_print(json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:b}", "store",
                                     r->config->store, "from", r->from, "to", r->to, "rows",
                                     (json_int_t)r->total, "rewrapped", (json_int_t)r->rewrapped,
                                     "key_made", r->made, "dry_run", r->dry_run),
                           json, err);
}

enum kl_rc kl_ctl_store_rotate(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct kl_ctl_findings findings = {.file = ctl->config.store};
    struct rotation r = {.config = &ctl->config, .check = {.tell = kl_ctl_found, .arg = &findings}};
    const struct kl_option options[] = {{"--to", 1, .text = &r.to},
                                        {"--dry-run", .flag = &r.dry_run},
                                        {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc != KL_OK || (rc = kl_ctl_label(r.to, err)) != KL_OK) {
        return rc;
    }
    if (!(findings.list = json_array())) {
        return kl_err_set(err, KL_ERR_MEMORY, "report of a rotation");
    }
    rc = work(&r, err);
    if (rc == KL_OK) {
        rc = report(&r, ctl->json, err);
    }
    kl_hsm_free(r.hsm);
    kl_store_free(r.store);
    json_decref(findings.list);
    return rc;
}
