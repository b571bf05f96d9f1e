/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl report: what auditors ask for. Reads only.
 */
#include <time.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl.h"
#include "daemon/ctl_list.h"
#include "daemon/ctl_store.h"
#include "daemon/ctl_terminal.h"
#include "daemon/store.h"

/* ---- unique: no two terminals have the same key (PCI PIN v3.1, 20-1) ---- */

#define FINDINGS_MAX 10000 /* listed; all are counted */

struct unique {
    json_int_t terminals, device_keys, tmks, waiting; /* what has been compared */
    json_int_t shared, possible;
    json_t *findings;
};

static enum kl_rc count_terminal(const struct kl_terminal *terminal, void *arg, struct kl_err *err)
{
    struct unique *unique = arg;

    (void)err;
    unique->terminals++;
    unique->device_keys += terminal->has_device_key;
    return KL_OK;
}

static enum kl_rc count_tmk(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    struct unique *unique = arg;

    (void)err;
    unique->tmks += tmk->cryptogram_len > 0;
    return KL_OK;
}

static enum kl_rc count_import(const struct kl_import *import, void *arg, struct kl_err *err)
{
    struct unique *unique = arg;

    (void)import;
    (void)err;
    unique->waiting++;
    return KL_OK;
}

static const char *share_name(enum kl_share share)
{
    switch (share) {
    case KL_SHARE_TMK:
        return "tmk";
    case KL_SHARE_DEVICE_KEY:
        return "device-key";
    case KL_SHARE_KCV:
        return "kcv";
    }
    return "?";
}

/* Which of a terminal's TMKs: null for the one that waits, or for a device key. */
static json_t *version_json(uint32_t version)
{
    return version ? json_integer((json_int_t)version) : json_null();
}

static enum kl_rc add_finding(enum kl_share share, const struct kl_holder *one,
                              const struct kl_holder *other, void *arg, struct kl_err *err)
{
    struct unique *unique = arg;
    int certain = share != KL_SHARE_KCV;

    *(certain ? &unique->shared : &unique->possible) += 1;
    if (json_array_size(unique->findings) == FINDINGS_MAX) {
        return KL_OK;
    }
    if (json_array_append_new(unique->findings,
                              json_pack("{s:s, s:s, s:s, s:o, s:s, s:o}", "finding",
                                        certain ? "shared" : "possible", "what", share_name(share),
                                        "serial", one->serial, "version",
                                        version_json(one->version), "other_serial", other->serial,
                                        "other_version", version_json(other->version))) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "building the report");
    }
    return KL_OK;
}

/* All of it in one transaction, so that what is counted is what was compared. */
static enum kl_rc compare_keys(struct kl_store *store, struct unique *unique, struct kl_err *err)
{
    enum kl_rc rc = kl_store_begin(store, err);

    if (rc != KL_OK) {
        return rc;
    }
    if ((rc = kl_store_terminal_each(store, count_terminal, unique, err)) == KL_OK &&
        (rc = kl_store_tmk_each(store, NULL, 0, count_tmk, unique, err)) == KL_OK &&
        (rc = kl_store_import_each(store, count_import, unique, err)) == KL_OK) {
        rc = kl_store_share_each(store, add_finding, unique, err);
    }
    kl_store_rollback(store);
    return rc;
}

static enum kl_rc report_unique(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct unique unique = {.findings = json_array()};
    struct kl_store *store = NULL;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, NULL, "", err)) != KL_OK ||
        (rc = kl_ctl_store_open(&ctl->config, KL_STORE_READ, &store, err)) != KL_OK ||
        (rc = compare_keys(store, &unique, err)) != KL_OK) {
        goto out;
    }
    rc = kl_report_print(json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "time",
                                   kl_ctl_time((int64_t)time(NULL)), "terminals", unique.terminals,
                                   "device_keys", unique.device_keys, "live_tmks", unique.tmks,
                                   "waiting", unique.waiting, "shared", unique.shared, "possible",
                                   unique.possible, "findings", unique.findings),
                         ctl->json, err);
    if (rc == KL_OK && unique.shared > 0) {
        rc = kl_err_set(err, KL_ERR_REFUSED,
                        "%" JSON_INTEGER_FORMAT " time(s) a terminal has a key of another's",
                        unique.shared);
    }
out:
    json_decref(unique.findings);
    kl_store_free(store);
    return rc;
}

const struct kl_ctl_command kl_ctl_report_commands[] = {
    {"report", "unique", report_unique, "",
     "what has been compared, and terminals that have a TMK or a device key in common, each with\n"
     "      the first of those that do (exit status 77 if there are any); as \"possible\" those "
     "whose\n"
     "      TMKs merely have the same KCV"},
    {0},
};
